/*
 * virtio-input inside: shared by input.c (the device, its queues, keys and pointers) and input_touch.c (the touch screen), nobody else.
 * What differs between keys and fingers is behind struct vinput_ops; all of it is called under the device's lock.
 */
#pragma once

#include "base/log.h"
#include "virtio/input.h"

#define EVENT_QUEUE 0
#define STATUS_QUEUE 1

struct wire_event {
	uint16_t type, code;
	uint32_t value;
};

/* A packet's events, the touch screen's additions, and SYN_REPORT. */
#define WIRE_EVENTS (LINK_EVENTS_PER_MESSAGE + 4)

/* Keys and pointers, or fingers. `event` is what filter() let pass, without the SYN_REPORT. */
struct vinput_ops {
	uint8_t properties; /* bit per INPUT_PROP_* */
	bool (*has_code)(enum link_device kind, uint32_t type, uint32_t code);
	/* What of a packet the guest gets to see: up to WIRE_EVENTS - 1 events; returns their number, without the SYN_REPORT. */
	uint32_t (*filter)(const struct vinput *input, const struct link_message *message, struct wire_event *out);
	/* The guest knows now of these events. */
	void (*told)(struct vinput *input, const struct wire_event *event, uint32_t n);
	/* They found no room: only what the guest has to learn of later is kept. */
	void (*dropped)(struct vinput *input, const struct wire_event *event, uint32_t n);
	/* Delivers what is owed, as far as there is room now. True when nothing is owed any more. */
	bool (*pay)(struct vinput *input);
};

struct vinput {
	struct virtio_device device;
	enum link_device kind;
	const struct vinput_ops *ops;
	struct stats *stats; /* borrowed, may be NULL */
	struct log_limit marker_limit;
	/* Under the device's lock. */
	bool paused;
	struct vinput_state state;
	bool leds_changed; /* since they were last asked for */
	uint32_t most_room; /* event buffers seen at once, of this driver */
	struct virtq_chain chain; /* scratch */
};

static inline bool get_bit(const uint64_t *bits, uint32_t code)
{
	return bits[code / 64] >> (code % 64) & 1;
}

static inline void set_bit(uint64_t *bits, uint32_t code, bool value)
{
	uint64_t mask = 1ull << (code % 64);
	bits[code / 64] = value ? bits[code / 64] | mask : bits[code / 64] & ~mask;
}

/* Room in the event queue for `want` events; when there is less, asks to be told of more. */
uint32_t vinput_room(struct vinput *input, uint32_t want);
/* Writes events into as many buffers of the guest. False: the guest broke its ring. There are enough buffers, says vinput_room(). */
bool vinput_write_events(struct vinput *input, const struct wire_event *event, uint32_t n);

extern const struct vinput_ops vinput_touch_ops;
/* Of a state of any kind: fingers that exist and that fit BTN_TOUCH, and none is owed a lift that does not touch. */
bool vinput_touch_state_ok(const struct vinput_state *untrusted);
