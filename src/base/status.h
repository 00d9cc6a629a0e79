/*
 * Status board: what the program knows of itself in a few fixed lines, for the status page, rayvmctl and markers.
 * Writers post, readers take snapshots; each reader gets an eventfd that becomes readable after a change.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum status_tag { STATUS_NONE, STATUS_OK, STATUS_BUSY, STATUS_OFF, STATUS_BAD }; /* "", [OK] [..] [--] [!!] */
enum status_slot { STATUS_VM, STATUS_DISPLAY, STATUS_INPUT, STATUS_DISK, STATUS_MEMORY, STATUS_PATH, STATUS_CONTROL, STATUS_SLOTS };

/* The VM's life; its order is part of no protocol. */
enum vm_state { VM_NONE, VM_STARTING, VM_RUNNING, VM_PAUSED, VM_STOPPING, VM_STOPPED, VM_CRASHED };
enum presentation { PRESENTATION_HIDDEN, PRESENTATION_PRESENTED };
enum session_state { SESSION_INACTIVE, SESSION_ACTIVE };

#define STATUS_TEXT 96

struct status_line {
	enum status_tag tag;
	char text[STATUS_TEXT];
};

#define STATUS_OUTPUT_NAME 32

struct status_output {
	char name[STATUS_OUTPUT_NAME]; /* connector */
	uint32_t width, height; /* pixels; 0 when not connected */
	uint32_t refresh_mhz;   /* millihertz */
	bool connected;
	bool mirror; /* shows what the first one shows, in its size */
};
#define STATUS_OUTPUTS 8

struct status_size {
	uint32_t width, height; /* pixels */
};
#define STATUS_SCANOUTS 4 /* LINK_MAX_HEADS */

/* How the guest's pointer is shown: not seen yet, by the card's cursor plane, drawn into the picture. */
enum status_cursor { STATUS_CURSOR_NONE, STATUS_CURSOR_PLANE, STATUS_CURSOR_SOFTWARE };

/* NONE: there is no need of one (headless). GONE: it was taken out, or lost its driver, and is waited for. */
enum status_card { STATUS_CARD_NONE, STATUS_CARD_HERE, STATUS_CARD_GONE };

struct status {
	struct status_line line[STATUS_SLOTS];
	enum presentation presentation;
	enum vm_state vm;
	enum session_state session;
	uint32_t scanout_width, scanout_height; /* the guest's picture; 0 while there is none */
	uint32_t n_scanouts;                    /* how many the guest may have; 0: no display */
	struct status_size further[STATUS_SCANOUTS - 1]; /* its pictures on those after the first */
	bool first_frame;                       /* a guest frame was on the screen since the VM's start */
	bool zero_copy;                         /* path of the guest's picture */
	bool bilinear;                          /* how it is scaled where it is: interpolated, else the nearest pixels */
	enum status_cursor cursor;              /* path of its pointer's */
	uint32_t keyboards, pointers;
	bool plugged; /* those count what is plugged in; without a seat there is rayvmctl alone */
	bool blanked; /* the screen is off: nobody was there, or it was asked for */
	enum status_card card;
	uint32_t n_outputs;
	struct status_output output[STATUS_OUTPUTS];
	uint32_t vm_generation; /* counts VM starts */
};

/* Number shown to scripts: 0 unavailable, 1 starting, 2 running hidden, 3 presented, 4 stopping, 5 presented and waiting for a scanout. */
int status_desktop_number(const struct status *status);
/* The person at the machine has nothing to type on. */
bool status_no_keyboard(const struct status *status);
const char *status_vm_name(enum vm_state state);
const char *status_tag_text(enum status_tag tag);

struct status_board;
struct status_board *status_board_create(void);
void status_board_destroy(struct status_board *board);
/* Copies the whole state. */
void status_board_read(struct status_board *board, struct status *out);
/* Runs `change` on the state under the board's lock (short; must not block), then wakes readers. */
void status_board_update(struct status_board *board, void (*change)(struct status *status, void *data), void *data);
void status_board_line(struct status_board *board, enum status_slot slot, enum status_tag tag, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* A new reader: an eventfd (caller closes it after status_board_unsubscribe), or -1 with errno. */
int status_board_subscribe(struct status_board *board);
void status_board_unsubscribe(struct status_board *board, int fd);
