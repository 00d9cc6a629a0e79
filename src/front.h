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
struct stats;
struct status_board;
struct mailbox;
struct ui;

struct front_config {
	const struct options *options;
	struct status_board *board;
	struct stats *stats;
	struct mailbox *requests; /* of struct control_request */
	struct link *guest;       /* the machine's or the synthetic scanout's link; NULL: there is no guest */
	struct link *ui;          /* NULL without a display */
};

/* Opens seat, card and devices as the options say. NULL, a line in error and the program's exit status. */
struct front *front_create(const struct front_config *config, char *error, size_t error_size, int *exit_status);
/* Control socket to answer; set before front_run(). */
void front_set_control(struct front *front, struct control *control);
/* Runs until somebody asks for the end. Returns the exit status. */
int front_run(struct front *front);
void front_destroy(struct front *front);
