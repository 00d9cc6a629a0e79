/*
 * The machine's virtio devices: which there are, where each sits on the bus, and who runs its queues. One row of the table in
 * machine_devices.c per kind; a new kind is a row, its create function and its destroy function.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/gpu.h"
#include "virtio/input.h"
#include "virtio/net.h"
#include "virtio/rng.h"

#define MACHINE_INPUTS 4
#define MACHINE_DEVICES (1 + MACHINE_INPUTS + OPTIONS_DISKS + 3)

struct console_pairs;
struct machine_files;
struct status_board;

/* What the devices are made from; all of it is borrowed. */
struct machine_parts {
	const struct options *options;
	const struct machine_files *files;
	const struct console_pairs *consoles; /* NULL: nobody attaches */
	struct guest_memory *memory;
	struct pci_bus *bus;
	struct link *link;
	struct stats *stats;
	struct status_board *board;
};

struct machine_device {
	struct virtio_device *device;
	struct virtio_pci *transport;
	bool own_thread; /* false: the machine's thread waits for its kicks and runs its queues */
};

struct machine_devices {
	struct machine_device device[MACHINE_DEVICES];
	uint32_t n;
	/* What somebody talks to beyond the device contract; NULL where there is none. */
	struct gpu *gpu;
	struct vinput *input[MACHINE_INPUTS];
	struct vinput_backlog *backlog[MACHINE_INPUTS];
	uint32_t n_inputs;
	struct blk *disk[OPTIONS_DISKS];
	struct rng *rng;
	struct console *console;
	struct net *net;
};

/*
 * Makes all that the options ask for and puts it on the bus. 0; or -1, a line in error, and the program's exit status: what
 * was made so far is left for machine_devices_destroy(). `devices` is zeroed by the caller.
 */
int machine_devices_create(struct machine_devices *devices, const struct machine_parts *parts, char *error, size_t error_size, int *exit_status);
/* All of them, as after power-on; no vCPU runs. What some wait for, the host's answers, they wait for at the same time. */
void machine_devices_reset(struct machine_devices *devices);
void machine_devices_destroy(struct machine_devices *devices);
