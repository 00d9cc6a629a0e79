/* The other end of the UI's link for tests: takes its messages through the checked table, answers frames, types keys. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <linux/input-event-codes.h>

#include "base/status.h"
#include "link/link.h"
#include "link/table.h"
#include "shell-ui/ui.h"

struct fake_panel {
	struct status_board *board;
	struct ui *ui;
	struct link *link;
	struct link_table *table;
	uint64_t frames[LINK_MAX_HEADS];   /* received */
	uint64_t refused;                  /* messages the table did not accept */
	struct rect damage[LINK_MAX_HEADS]; /* of the last frame */
	bool hold;                         /* frames are not acknowledged while set */
	struct link_message action[16];
	uint32_t n_actions;
	uint32_t leds;
	struct link_message cursor;        /* the last one, of head 0 */
	uint32_t cursors;                  /* received */
	uint32_t *cursor_image;            /* LINK_CURSOR_SIDE squared, as last read; NULL: none yet */
	uint32_t room;                     /* of the empty ring towards the UI */
};

/* Creates and starts a UI without telling it a display yet. Exits the program with a line on failure. */
void fake_panel_open(struct fake_panel *panel, uint32_t max_width, uint32_t max_height, const char *hint);
void fake_panel_close(struct fake_panel *panel);
/* Tells both heads' size. */
void fake_panel_display(struct fake_panel *panel, uint32_t width, uint32_t height);
void fake_panel_visible(struct fake_panel *panel, uint32_t head, bool visible);
void fake_panel_vm(struct fake_panel *panel, enum vm_state state);
void fake_panel_scanout(struct fake_panel *panel, uint32_t width, uint32_t height);
void fake_panel_key(struct fake_panel *panel, uint32_t code, int value);
void fake_panel_tap(struct fake_panel *panel, uint32_t code);
/* Letters, digits, blanks and + by the US layout. */
void fake_panel_type(struct fake_panel *panel, const char *text);
/* Takes what came; true when a message was among it. Acknowledges frames. */
bool fake_panel_pump(struct fake_panel *panel, int timeout_ms);
/* Pumps until the UI has read everything and nothing came for a quarter of a second. */
void fake_panel_settle(struct fake_panel *panel);
/* Waits until both heads show pictures of this size (0, 0: none), then settles. False after 30 s. */
bool fake_panel_wait_size(struct fake_panel *panel, uint32_t width, uint32_t height);
/* A copy of the head's picture, width * height pixels, to be freed; NULL without one. */
uint32_t *fake_panel_picture(struct fake_panel *panel, uint32_t head, uint32_t *width, uint32_t *height);
/* The same with the pointer over it, where it is visible, as a panel without a cursor plane shows it. */
uint32_t *fake_panel_pointed_picture(struct fake_panel *panel, uint32_t *width, uint32_t *height);
/* One packet of up to 6 events, SYN_REPORT apart. */
void fake_panel_packet(struct fake_panel *panel, enum link_device device, const struct link_event *event, uint32_t n);
/* evdev codes of a few names, as libevdev would give them. */
int fake_key_code(const char *name);
