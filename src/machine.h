/*
 * The machine: a VM with its devices, as a producer on a link. One thread ("machine") owns the link's producer end, the gpu's and
 * input's queues and the VM's life; what the panel wants arrives as LINK_COMMAND, what happens leaves as LINK_VM_STATE.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "link/link.h"

struct console_pairs; /* base/console.h */
struct machine;
struct machine_files;
struct options;
struct stats;
struct status_board;

/* All of it is borrowed until machine_destroy(). */
struct machine_config {
	const struct options *options;
	const struct machine_files *files;
	const struct console_pairs *consoles; /* the machine's ends are its own from here on; NULL: nobody attaches */
	struct status_board *board;
	struct stats *stats;
	bool apart; /* the panel is another process */
};

/* VM, memory, devices; nothing runs yet. NULL, a line in error, and the program's exit status. */
struct machine *machine_create(const struct machine_config *config, char *error, size_t error_size, int *exit_status);
/* Owned by the machine, valid until machine_destroy(). */
struct link *machine_link(struct machine *machine);
/* apart: the panel's half of the link, to pass on; the machine has no more use for it and the caller closes it. */
void machine_take_handles(struct machine *machine, struct link_handles *handles);
/* Begins to load the guest, on a thread of its own until machine_start(); no guest code runs yet. Never needed, so it cannot fail. */
void machine_preload(struct machine *machine);
/* Starts the thread; autoboot: and the VM. 0 or -1 with errno. */
int machine_start(struct machine *machine, bool autoboot);
/* Stops vCPUs, flushes disks, ends the thread. */
void machine_stop(struct machine *machine);
void machine_destroy(struct machine *machine);
