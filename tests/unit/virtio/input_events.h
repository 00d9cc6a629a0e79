/* The event queue of a virtio-input device as its driver uses it: buffer i of the ring is at `events` + 8 i of guest memory. */
#pragma once

#include "driver.h"

struct input_event_seen {
	uint16_t type, code;
	int32_t value;
};

/* Gives the device n event buffers. */
DRIVER_UNUSED static void give_events(struct driver *d, uint64_t events, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		driver_add(d, 0, &(struct driver_buf){ events + 8ull * d->queue[0].next_desc, 8 }, 0, 1);
	driver_kick(d, 0);
}

/* The next event the guest sees, if there is one. */
DRIVER_UNUSED static bool see_event(struct driver *d, uint64_t events, struct input_event_seen *event)
{
	uint32_t id, length;
	if (!driver_used(d, 0, &id, &length))
		return false;
	ck_assert_uint_eq(length, sizeof(*event));
	memcpy(event, driver_ptr(d, events + 8ull * id), sizeof(*event));
	return true;
}
