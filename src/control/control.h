/*
 * control - the control socket: one JSON object a line, see rayvm-protocol(7). A thread of its own ("control") parses,
 * answers status and stats by itself, and posts everything else to the front thread, which never waits for it.
 * May include base. The rest it gets as function pointers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/console.h"

struct backend;
struct mailbox;
struct stats;
struct status_board;
struct control;

enum control_kind {
	CONTROL_SHOW,    /* argument: enum control_show; time_ns */
	CONTROL_KEY,     /* code, value 0 or 1, to_guest */
	CONTROL_POINTER, /* x, y: 0..65535 across the panel (to_guest: across the guest's picture) */
	CONTROL_VM,      /* argument: enum control_vm; code: which disk, from 1 */
	CONTROL_QUIT,
	CONTROL_SHOT,    /* argument: enum control_shot, of `output`; the picture goes to control_shot_done(shot, ...) */
	CONTROL_DONE,    /* the end of one client's command: answer with control_done(token) */
	CONTROL_DISPLAY, /* argument: enum control_display */
	CONTROL_WORK,    /* work, data: for the panel's worker. No client asks for it: --probe-panel does. */
};

enum control_show { CONTROL_SHOW_UI, CONTROL_SHOW_GUEST, CONTROL_SHOW_TOGGLE };
enum control_display { CONTROL_DISPLAY_ON, CONTROL_DISPLAY_OFF };
enum control_vm { CONTROL_VM_START, CONTROL_VM_PAUSE, CONTROL_VM_RESUME, CONTROL_VM_POWERDOWN, CONTROL_VM_RESET, CONTROL_VM_STOP, CONTROL_VM_RESIZE_DISK };
enum control_shot { CONTROL_SHOT_SCREEN, CONTROL_SHOT_UI, CONTROL_SHOT_GUEST };

/* Slots of the front's mailbox: the longest command that is accepted (text of 1024 characters, four events each) fits. */
#define CONTROL_REQUESTS 8192

/* What the control thread asks of the front thread, by mailbox. */
struct control_request {
	uint32_t kind; /* enum control_kind */
	uint32_t argument;
	uint16_t code;
	int32_t value;
	uint32_t x, y;
	bool to_guest;
	uint64_t token;
	void *shot;
	const char *output; /* of a CONTROL_SHOT, until control_shot_done(); empty: the main one */
	uint64_t time_ns; /* when it was asked for; 0: now */
	void (*work)(void *data, struct backend *backend);
	void *data;
};

/* A key that does something by itself, and so cannot be typed. */
struct control_acting {
	uint16_t code; /* evdev; 0: none */
	bool shift;    /* only with the left Shift key */
};

#define CONTROL_ACTING 4

struct control_config {
	const char *path; /* socket, mode 0600 */
	struct status_board *board;
	struct stats *stats;
	struct mailbox *front; /* of struct control_request */
	const struct console_pairs *consoles; /* the guest's, borrowed; NULL: there is no guest */
	enum console_stream console_default;  /* for a client that names none */
	/* Text that would press one is refused. */
	struct control_acting acting[CONTROL_ACTING];
	/* evdev code of a key name, -1 unknown. */
	int (*key_code)(const char *name);
	/* Names like an unknown one, for the answer; NULL: none are told. */
	void (*keys_like)(const char *name, char *list, size_t size);
};

/* Binds the socket. NULL, and a line in error: another rayvm uses it, no right ... A stale socket is replaced. */
struct control *control_create(const struct control_config *config, char *error, size_t error_size);
int control_start(struct control *control);
/* Ends the thread and removes the socket. */
void control_destroy(struct control *control);
/* Answers the command with this token: error NULL for success. Any thread; never blocks. */
void control_done(struct control *control, uint64_t token, const char *error);
/* The picture that CONTROL_SHOT asked for: malloc'ed XRGB8888 pixels, now the control's, or NULL. Once for each request. Any thread. */
void control_shot_done(void *shot, uint32_t *pixels, uint32_t width, uint32_t height);
