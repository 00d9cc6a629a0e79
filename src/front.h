/*
 * The front thread: devices -> router -> sides, and presentation -> panel. It only routes and commits; it never draws,
 * copies, waits for the guest, a disk, a client or a pipe. It is the program's main thread, because the seat wants that.
 */
#pragma once

#include <stddef.h>

#include "link/link.h"
#include "toggle/router.h"

struct control;
struct front;
struct options;
struct spawner;
struct stats;
struct status_board;
struct mailbox;
struct ui;

struct front_config {
	const struct options *options;
	struct status_board *board;
	struct stats *stats;
	struct mailbox *requests; /* of struct control_request */
	struct spawner *spawner;  /* the machine is another process; NULL: it is not */
};

/*
 * The event loop and, where the display needs one, the seat, which may fork a helper: nothing of the guest's may be open in this process
 * before it, and no thread run. NULL, a line in error and the program's exit status.
 */
struct front *front_create(const struct front_config *config, char *error, size_t error_size, int *exit_status);
/*
 * Card and devices, as the options say. guest: the machine's or the synthetic scanout's link, NULL: none, or it comes by the spawner. ui: NULL without
 * a display. Both are borrowed. 0; or -1, a line in error and the program's exit status.
 */
int front_open(struct front *front, struct link *guest, struct link *ui, char *error, size_t error_size, int *exit_status);
/* Control socket to answer; set before front_run(). */
void front_set_control(struct front *front, struct control *control);
/* Runs until somebody asks for the end. Returns the exit status. */
int front_run(struct front *front);
void front_destroy(struct front *front);
