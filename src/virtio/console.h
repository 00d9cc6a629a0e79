/*
 * virtio-console (virtio 1.2, section 5.3), multiport: port 0 is a console (hvc0 in a Linux guest), port 1 a byte stream for an
 * agent in the guest (/dev/virtio-ports/org.rayvm.agent). A thread of its own ("console") moves the bytes between the rings and
 * base/console.h's ends.
 *
 * The guest is never held up on the console: what nobody takes in time is dropped and counted. On the agent's port bytes are not
 * dropped while somebody is attached: the guest's writer waits. While nobody is, the guest sees the port closed and what it writes
 * vanishes.
 */
#pragma once

#include <stdint.h>

#include "virtio/device.h"
#include "vmm/state.h"

#define CONSOLE_PORTS 2
#define CONSOLE_PORT_HVC0 0
#define CONSOLE_PORT_AGENT 1
#define CONSOLE_AGENT_NAME "org.rayvm.agent"

struct stats;
struct console;

/* The device's own state (vmm/state.h). */
#define CONSOLE_STATE_VERSION 1
struct console_state {
	struct state_head head;
	struct {
		uint32_t sent; /* bytes already sent of the first chain that waits in the transmit queue */
		uint8_t ready;      /* the driver has set the port up */
		uint8_t guest_open; /* somebody in the guest has it open */
		uint8_t told_open;  /* what the guest was told of this side */
		uint8_t pending;    /* control messages not delivered yet, a bit each */
	} port[CONSOLE_PORTS];
};

/* fd: the machine's end of each port's stream (base/console.h), borrowed; -1: nobody attaches. stats is borrowed and may be NULL. NULL with errno. */
struct console *console_create(const struct guest_memory *memory, const int fd[CONSOLE_PORTS], struct stats *stats);
/* Ends the thread. */
void console_destroy(struct console *console);
struct virtio_device *console_device(struct console *console);
