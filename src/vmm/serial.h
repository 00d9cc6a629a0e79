/*
 * A 16550A (COM1). What the guest sends goes into a bounded ring that another thread empties, so that a slow or stuck
 * reader never holds up a vCPU; what does not fit is dropped and counted.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/state.h"

#define SERIAL_OUTPUT 65536u /* bytes, a power of two */
#define SERIAL_INPUT 4096u   /* bytes, a power of two */
#define SERIAL_STATE_VERSION 1

struct serial_host {
	void (*irq)(void *data, bool level); /* the interrupt line; under the serial port's lock */
	void (*wake)(void *data);            /* output became available; under the lock */
	void *data;
	void (*copy)(void *data, uint8_t byte); /* each byte sent, kept or not; under the lock; NULL: nobody wants it */
};

struct serial {
	pthread_mutex_t lock; /* guards all below */
	struct serial_host host;
	bool keep_output;     /* false: nobody reads, sent bytes vanish */
	uint8_t ier, lcr, mcr, scr, dll, dlm, fcr;
	bool thr_empty_pending, irq_level;
	uint32_t in_head, in_tail;   /* free-running; the ring holds tail..head */
	uint32_t out_head, out_tail;
	uint64_t dropped;            /* output bytes */
	uint8_t in[SERIAL_INPUT];
	uint8_t out[SERIAL_OUTPUT];
};

/* What waits for the reader of the output is not part of it: the guest has sent that. */
struct serial_state {
	struct state_head head;
	uint8_t ier, lcr, mcr, scr, dll, dlm, fcr;
	uint8_t thr_empty_pending; /* 0 or 1 */
	uint32_t n_in, zero;
	uint8_t in[SERIAL_INPUT];  /* n_in bytes that the guest has not read yet, then zeros */
};

void serial_init(struct serial *serial, const struct serial_host *host, bool keep_output);
void serial_finish(struct serial *serial);
/* Registers back to power-on; waiting output stays for its reader. */
void serial_reset(struct serial *serial);
/* Register 0..7; vCPU threads. */
uint8_t serial_read(struct serial *serial, uint32_t reg);
void serial_write(struct serial *serial, uint32_t reg, uint8_t value);
/* Bytes for the guest; returns how many were taken. Any thread. */
uint32_t serial_input(struct serial *serial, const void *bytes, uint32_t size);
/* How many bytes serial_input() would take now. */
uint32_t serial_input_room(struct serial *serial);
/* Copies up to `size` bytes of waiting output without taking them; serial_sent() takes the first n. One reader. */
uint32_t serial_peek(struct serial *serial, void *to, uint32_t size);
void serial_sent(struct serial *serial, uint32_t n);
/* See state.h. */
uint32_t serial_save(struct serial *serial, void *to, uint32_t size);
bool serial_load(struct serial *serial, const void *from, uint32_t size);
