/* The machine in a process of its own (--isolate): what the spawner opens, and what its children do. */
#pragma once

#include "spawner.h"

struct console_pairs;
struct options;
struct stats;

/* What a child passes on, in this order: struct link_handles. */
enum machine_fd { MACHINE_FD_RINGS, MACHINE_FD_PIXELS, MACHINE_FD_WAKE, MACHINE_FDS };

/* Lives as long as the spawner. */
struct machine_child;

struct machine_child_config {
	const struct options *options;
	struct console_pairs *consoles; /* the control's ends are closed in the spawner and its children */
	struct stats *stats; /* in memory that is shared with the panel */
	int markers_fd;
};

/* Made before the spawner is; NULL with errno. */
struct machine_child *machine_child_create(const struct machine_child_config *config);
void machine_child_destroy(struct machine_child *machine);
/* The spawner's calls, with the machine_child as their data. */
int machine_child_open(void *machine_child, char *error, size_t error_size, int *exit_status);
int machine_child_run(void *machine_child, struct spawner_child *child);
