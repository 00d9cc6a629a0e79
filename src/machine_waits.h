/*
 * What the machine's thread waits for, registered once: poll() would look at each of a dozen queues twice for every kick, and take a page for that.
 * Machine thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "machine_devices.h"
#include "virtio/device.h"

enum { WAIT_QUIT, WAIT_LINK, WAIT_VM, WAIT_QUEUES }; /* the devices' queues are from WAIT_QUEUES on */

#define WAITS (WAIT_QUEUES + MACHINE_DEVICES * VIRTIO_MAX_QUEUES)

struct machine_waits {
	int epoll_fd; /* whoever made it closes it; its events' data.u32 is one of the above */
	int link_fd;  /* -1: none, or not any more */
	struct virtio_device *device[WAITS];
	uint32_t queue[WAITS];
};

/* Begins to wait for these descriptors (borrowed; -1: none) and for the queues of devices without a thread of their own. False with errno. */
bool machine_waits_begin(struct machine_waits *waits, const int fixed[WAIT_QUEUES], const struct machine_devices *devices);
/* The link's other end is gone, and its descriptor is readable for ever: waits for it no more. */
void machine_waits_end_link(struct machine_waits *waits);
