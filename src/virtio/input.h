/* virtio-input (virtio 1.2, section 5.8): keyboard, relative pointer, absolute pointer, touch screen. Machine thread. */
#pragma once

#include <stdint.h>

#include "link/link.h"
#include "virtio/device.h"
#include "vmm/state.h"

/* Largest ABS_X and ABS_Y that the guest is told of and that vinput_packet() takes (the range of the router's events); 0 is the left, upper edge. */
#define VINPUT_ABS_MAX 65535
/* Fingers of the touch screen. Its packets begin with ABS_MT_SLOT; what a pointer would be told is added by the device. */
#define VINPUT_TOUCHES 10

struct stats;
struct vinput;

/* The device's own state (vmm/state.h). Bitmaps hold one bit per KEY_* code. */
#define VINPUT_KEY_WORDS 12
#define VINPUT_STATE_VERSION 2
struct vinput_state {
	struct state_head head;
	uint32_t kind; /* enum link_device */
	uint8_t select, subsel; /* config space registers */
	uint8_t zero[2];
	uint64_t told[VINPUT_KEY_WORDS]; /* keys the guest believes held */
	uint64_t owed[VINPUT_KEY_WORDS]; /* of these, the ones whose release waits for room */
	uint32_t leds; /* bit per LED_* */
	uint16_t touched; /* fingers the guest believes on the screen, bit per slot */
	uint16_t lifts_owed; /* of these, the ones whose lifting waits for room */
};

/* One device; the caller's thread polls its kick_fds and calls ops->run. stats is borrowed and may be NULL. NULL with errno. */
struct vinput *vinput_create(const struct guest_memory *memory, enum link_device kind, struct stats *stats);
void vinput_destroy(struct vinput *input);
struct virtio_device *vinput_device(struct vinput *input);
/*
 * Delivers one LINK_INPUT packet, whole or not at all. When the guest gave no room the packet is dropped and counted, but
 * releases of keys (and fingers) it believes held are remembered (one bit each) and delivered as soon as there is room.
 */
void vinput_packet(struct vinput *input, const struct link_message *message);
/*
 * Whether this packet's turn is now: vinput_packet() would deliver it (or, without a driver and while paused, has nothing to wait for), and the guest
 * has taken what came before, but for as many keys as its readers have room for. If not, the guest is asked to kick the event queue when it has given more buffers.
 */
bool vinput_has_room(struct vinput *input, const struct link_message *message);
/* LEDs the guest asked for since the last call (bit per LED_*); false when nothing changed. */
bool vinput_take_leds(struct vinput *input, uint32_t *leds);

/*
 * Packets before a device, for a guest that falls behind: a line that a program types at once is more than the 64 events its
 * queue holds, and more than its readers can take in one gulp. In order, keys at 100 a second once 8 went at once; 512 wait at most,
 * beyond that they are dropped as vinput_packet() does. All by the machine thread; times are clock_now_ns().
 */
struct vinput_backlog;
struct vinput_backlog *vinput_backlog_create(struct vinput *input); /* input is borrowed; NULL with errno */
void vinput_backlog_destroy(struct vinput_backlog *backlog);
void vinput_backlog_packet(struct vinput_backlog *backlog, const struct link_message *message, uint64_t now_ns);
/* Delivers what may go now: after each run of the event queue, and at the time it returns (UINT64_MAX: nothing is waited for but the guest). */
uint64_t vinput_backlog_run(struct vinput_backlog *backlog, uint64_t now_ns);
/* The guest is gone: nothing of this is for the next one. */
void vinput_backlog_forget(struct vinput_backlog *backlog);
