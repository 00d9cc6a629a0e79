/* Packets that wait for a guest which is slower than its user types: a ring before vinput_packet(). */
#include "virtio/input.h"

#include <stdlib.h>

#define SLOTS 512 /* packets; some 100 characters typed at once with their releases and Shift */

struct vinput_backlog {
	struct vinput *input; /* borrowed */
	uint32_t first, count;
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

/* Hands the oldest packet on, whether or not there is room. */
static void hand_on(struct vinput_backlog *backlog)
{
	vinput_packet(backlog->input, &backlog->slot[backlog->first]);
	backlog->first = (backlog->first + 1) % SLOTS;
	backlog->count--;
}

void vinput_backlog_run(struct vinput_backlog *backlog)
{
	while (backlog->count > 0 && vinput_has_room(backlog->input, &backlog->slot[backlog->first]))
		hand_on(backlog);
}

void vinput_backlog_packet(struct vinput_backlog *backlog, const struct link_message *message)
{
	vinput_backlog_run(backlog);
	if (backlog->count == 0 && vinput_has_room(backlog->input, message)) {
		vinput_packet(backlog->input, message);
		return;
	}
	/*
	 * Full: this guest does not read. All of it goes on in order, so that vinput_packet() drops it and remembers the
	 * releases; dropping only some here could leave a press without its release.
	 */
	if (backlog->count == SLOTS)
		while (backlog->count > 0)
			hand_on(backlog);
	backlog->slot[(backlog->first + backlog->count) % SLOTS] = *message;
	backlog->count++;
}

void vinput_backlog_forget(struct vinput_backlog *backlog)
{
	backlog->first = backlog->count = 0;
}
