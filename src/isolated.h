/*
 * The machine in another process, as the front thread sees it: takes the spawner's news, joins each new child's link to the panel, turns a
 * child's death into a state of the VM, does then what on-crash says, and sees to it that a VM that is off has no process. Front thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "link/link.h"

struct isolated;
struct options;
struct spawner;
struct wl_event_loop;

struct isolated_config {
	const struct options *options;
	struct spawner *spawner; /* borrowed; its first child is ready */
	struct status_board *board;
	/*
	 * A link takes the place of the last one, which is over: the callee's to destroy. NULL: no machine. True: nothing is kept of the last one's memory;
	 * else isolated_joined() follows when that is so.
	 */
	bool (*join)(void *data, struct link *link);
	/* The VM's state changed without the machine saying so. */
	void (*state)(void *data, enum vm_state state, const char *text);
	/* The on-crash policy ends the program. */
	void (*quit)(void *data, int exit_status);
	uint32_t answer_ms; /* how long the machine may take over a stop, a reset, or its end; 0: long */
	void *data;
};

/* NULL with errno. */
struct isolated *isolated_create(struct wl_event_loop *loop, const struct isolated_config *config);
void isolated_destroy(struct isolated *isolated);
/* Joins the first child and lets it boot. */
void isolated_run(struct isolated *isolated);
/* What the machine says of itself. False: it is not to be believed, and nobody is to be told. */
bool isolated_heard(struct isolated *isolated, enum vm_state state);
/* The panel keeps nothing of the links before the one it was given last. */
void isolated_joined(struct isolated *isolated);
/* The machine says that nothing but a command starts it again: its process ends. */
void isolated_off(struct isolated *isolated);
/* True when the command was dealt with here, because there is no machine to send it to. */
bool isolated_command(struct isolated *isolated, enum link_vm_command command);
