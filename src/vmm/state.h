/*
 * State: what the machine's devices are at one moment, as bytes that another process can load. Each device has one plain struct with a
 * version, without pointers and without holes; a table names all devices of a machine.
 *
 * Such bytes come out of a file, so they are as hostile as the guest: load checks every field, and what it refuses leaves the device as
 * after a reset. Guest memory, vCPUs, KVM's own devices (APICs, PIT) and its clocks are not in it.
 *
 * Saving and loading are done by the machine's thread while the vCPUs stand still and the devices are paused.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Begins each device's struct. */
struct state_head {
	uint32_t kind;    /* enum state_kind */
	uint32_t version; /* of this kind */
	uint32_t size;    /* bytes, this included */
	uint32_t zero;
};

enum state_kind {
	STATE_SERIAL = 1, STATE_RTC, STATE_ACPI_PM, STATE_PORTS, STATE_PCI, STATE_VIRTIO, STATE_GPU, STATE_INPUT, STATE_BLK, STATE_CONSOLE, STATE_NET,
};

#define STATE_DEVICES 40 /* more than there are slots on the bus and legacy devices */

struct state_device {
	const char *name;
	void *device;
	/* Returns the bytes that the state takes, written to `to` when `size` is enough; 0: it cannot be saved now (not paused). */
	uint32_t (*save)(void *device, void *to, uint32_t size);
	/* False: refused, and the device is as after a reset. */
	bool (*load)(void *device, const void *from, uint32_t size);
	void (*reset)(void *device);
};

struct state_table {
	uint32_t n;
	struct state_device device[STATE_DEVICES];
};

/* False: the table is full. */
bool state_table_add(struct state_table *table, struct state_device device);
/* All of them: returns the bytes it takes, written to `to` when `size` is enough; 0: a device cannot be saved now. */
uint64_t state_save(const struct state_table *table, void *to, uint64_t size);
/* Loads what state_save() made of an equal table. False: refused, all devices are as after a reset, and *refused names the first that does not fit. */
bool state_load(const struct state_table *table, const void *from, uint64_t size, const char **refused);

/* For the devices. The struct begins with its head; state_put() fills that in. `to` may be NULL when size is 0. */
uint32_t state_put(void *to, uint32_t size, void *state, uint32_t state_size, enum state_kind kind, uint32_t version);
/* Copies `from` to `state` when size and head are what they have to be. */
bool state_get(void *state, uint32_t state_size, enum state_kind kind, uint32_t version, const void *from, uint32_t size);
/* True when all bytes are zero: unused fields and the unused rest of arrays. */
bool state_is_zero(const void *bytes, uint64_t size);
