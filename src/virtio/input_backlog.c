/*
 * Packets that wait for a guest which is slower than its user types: a ring before vinput_packet(), and a pace for keys.
 *
 * Room in the event queue says that the guest's kernel keeps up, not that a program does: a reader of Linux' evdev has room for 64
 * events (drivers/input/evdev.c, EVDEV_MIN_BUFFER_SIZE), 32 packets of one key, and beyond that loses all it has not read. So keys
 * go at a pace that a hand cannot tell and that lets a busy reader sleep a quarter of a second.
 */
#include "virtio/input.h"

#include "base/base.h"

#include <stdlib.h>

#define SLOTS 512 /* packets; some 200 characters typed at once, with their releases and Shift */
#define PACE_NS (10 * NSEC_PER_MSEC)
#define PACE_BURST 8 /* packets that may go at once */

struct vinput_backlog {
	struct vinput *input; /* borrowed */
	uint32_t first, count;
	uint64_t paced_until_ns; /* when all keys delivered so far would have gone, one each PACE_NS */
	struct link_message slot[SLOTS];
};

struct vinput_backlog *vinput_backlog_create(struct vinput *input)
{
	struct vinput_backlog *backlog = calloc(1, sizeof(*backlog));
	if (backlog != NULL)
		backlog->input = input;
	return backlog;
}

void vinput_backlog_destroy(struct vinput_backlog *backlog)
{
	free(backlog);
}

/* When this packet may go: now, or later. */
static uint64_t due(const struct vinput_backlog *backlog, const struct link_message *message, uint64_t now_ns)
{
	const uint64_t ahead = (PACE_BURST - 1) * PACE_NS;
	if (message->input.device != LINK_KEYBOARD || backlog->paced_until_ns <= now_ns + ahead)
		return now_ns;
	return backlog->paced_until_ns - ahead;
}

static void hand_on(struct vinput_backlog *backlog, const struct link_message *message, uint64_t now_ns)
{
	vinput_packet(backlog->input, message);
	if (backlog->paced_until_ns < now_ns)
		backlog->paced_until_ns = now_ns;
	backlog->paced_until_ns += PACE_NS;
}

static void hand_on_oldest(struct vinput_backlog *backlog, uint64_t now_ns)
{
	hand_on(backlog, &backlog->slot[backlog->first], now_ns);
	backlog->first = (backlog->first + 1) % SLOTS;
	backlog->count--;
}

uint64_t vinput_backlog_run(struct vinput_backlog *backlog, uint64_t now_ns)
{
	while (backlog->count > 0) {
		const struct link_message *oldest = &backlog->slot[backlog->first];
		uint64_t when = due(backlog, oldest, now_ns);
		if (when > now_ns)
			return when;
		if (!vinput_has_room(backlog->input, oldest))
			break; /* the guest's kick comes first */
		hand_on_oldest(backlog, now_ns);
	}
	return UINT64_MAX;
}

void vinput_backlog_packet(struct vinput_backlog *backlog, const struct link_message *message, uint64_t now_ns)
{
	vinput_backlog_run(backlog, now_ns);
	if (backlog->count == 0 && due(backlog, message, now_ns) <= now_ns && vinput_has_room(backlog->input, message)) {
		hand_on(backlog, message, now_ns);
		return;
	}
	/*
	 * Full: this guest does not read. All of it goes on in order, so that vinput_packet() drops it and remembers the
	 * releases; dropping only some here could leave a press without its release.
	 */
	if (backlog->count == SLOTS)
		while (backlog->count > 0)
			hand_on_oldest(backlog, now_ns);
	backlog->slot[(backlog->first + backlog->count) % SLOTS] = *message;
	backlog->count++;
}

void vinput_backlog_forget(struct vinput_backlog *backlog)
{
	backlog->first = backlog->count = 0;
	backlog->paced_until_ns = 0;
}
