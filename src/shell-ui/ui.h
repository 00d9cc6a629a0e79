/*
 * shell-ui - the native UI: banner, status lines, transcript, prompt. A producer on the link with two heads: 0 the UI, 1 the
 * placeholder for a guest without a picture. One thread ("ui") with a wl_event_loop; draws with pixman and fcft into its own
 * memfd. May include base and link. Never touches DRM, devices or the machine; what it wants it asks for with LINK_ACTION.
 *
 *   ui.c         thread, link, faces
 *   ui_input.c   keys -> prompt -> commands -> actions and answers; the pointer
 *   pointer.c    where it is and whether it is seen (pure)   cursor.c   its picture, and the link
 *   output.c     one head's buffers and frames          view.c     both faces as scenes
 *   scene.c      retained tree, damage, rendering       layout.c   where things stand (pure)
 *   text.c       fonts, cells, UTF-8                    prompt.c   line editor (pure)
 *   keyboard.c   evdev codes to characters              transcript.c  wrapped, bounded history (pure)
 *   commands.c   what a line means (pure)               answers.c  what is said
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "link/link.h"

struct ui;

struct ui_config {
	struct status_board *board;
	const char *hint;    /* how to configure a guest; shown when none is, or NULL */
	const char *toggle_key, *show_key, *hide_key; /* names for the help text, e.g. "`", "F11", "F12" */
	const char *pass_key; /* held, it types those; NULL: there is none */
	const char *way_out;  /* how the person at the machine ends this, for the status; a literal; NULL: nothing is said */
	uint32_t max_width, max_height; /* largest output to expect, pixels: sizes the memfd (sparse); 0: 3840x2160 */
	void (*keys_like)(const char *name, char *list, size_t size); /* names near a wrong one; NULL: none are told */
	int (*key_code)(const char *name); /* evdev code of "KEY_ENTER" ..., -1: none (libevdev_event_code_from_name); NULL: no `press` */
};

/* Makes the memfd and the link. NULL, and a line in error (no font found ...). */
struct ui *ui_create(const struct ui_config *config, char *error, size_t error_size);
/* The link to give to the panel; owned by the UI. */
struct link *ui_link(struct ui *ui);
/* Starts the thread. 0 or -1 with errno. */
int ui_start(struct ui *ui);
/* Ends the thread; the link stays until ui_destroy(). */
void ui_stop(struct ui *ui);
void ui_destroy(struct ui *ui);
