/*
 * kms - session, card, outputs, planes, buffers, latch, commits; headless behind the same interface. May include base
 * and link. Knows no virtio. What runs on the front thread never draws, copies, allocates framebuffers or waits.
 *
 * The panel: producers' pictures on outputs. The front thread calls everything here; a worker thread ("worker") reads
 * the links, copies pictures into scanout buffers and makes framebuffers, so that the front only commits.
 *
 * A face is what can fill a screen: the UI, the placeholder (head 1 of the UI's link: shown instead of a guest without
 * scanout), the guest. Each has its own framebuffers of the output's size; a toggle is one commit that swaps FB_ID.
 * Further outputs (extend) show further heads of the guest while it is presented, and black else: panel_further.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "link/link.h"

struct backend;
struct wl_event_loop;
struct session;
struct stats;
struct panel;

enum panel_backend { PANEL_KMS, PANEL_HEADLESS };
/* The further guest faces are its heads 1 and up, each on an output of its own; the others are on the main one. */
enum panel_face { PANEL_FACE_UI, PANEL_FACE_PLACEHOLDER, PANEL_FACE_GUEST, PANEL_FACE_GUEST_1, PANEL_FACE_GUEST_2, PANEL_FACE_GUEST_3, PANEL_FACES };

/* Rows in which the host says whose picture the rest of the panel is: kms/strip.h. */
enum panel_strip { PANEL_STRIP_OFF, PANEL_STRIP_TOP, PANEL_STRIP_BOTTOM };

struct panel_config {
	enum panel_backend backend;
	const char *card;         /* path or NULL: boot_display, then boot_vga, then the first that can */
	const char *connector;    /* name, such as HDMI-A-1, of the main one while it is connected; NULL: any. Borrowed. */
	uint32_t width, height;   /* wish for the mode; headless: size (0: 1280x800) */
	uint32_t refresh_mhz;     /* wish; 0: the mode's / 60000 */
	bool legacy_kms;          /* no atomic commits, also where the card has them */
	bool gbm_buffers;         /* framebuffers by libgbm, also where the card has dumb ones */
	bool extend;              /* further outputs show further heads of the guest's link; else they mirror the main one */
	bool bilinear;            /* pictures scaled by no whole multiple are interpolated; else the nearest pixel is taken */
	enum panel_strip strip;
	const char *strip_text[PANEL_FACES]; /* what it says over each face, capitals; where there is one. Borrowed. */
	struct session *session;  /* KMS only */
	struct status_board *board;
	struct stats *stats;
	/* A link message of a producer that is not about pictures (state, action, leds). Front thread. */
	void (*message)(void *data, enum panel_face from, const struct link_message *message);
	/* The first frame of the guest since panel_guest_started() is on the screen. Front thread. */
	void (*first_frame)(void *data, uint32_t width, uint32_t height);
	/* The guest's scanout appeared (size) or went (0, 0). Front thread. */
	void (*scanout)(void *data, uint32_t width, uint32_t height);
	/* Nothing is kept of the guest's links before the last panel_join_guest(). Front thread. May be NULL. */
	void (*joined)(void *data);
	void *data;
};

/* NULL, a line in error, exit status (base/exit_status.h) in *exit_status. Waits at most 10 s for a card. A card without a connected output succeeds. */
struct panel *panel_create(struct wl_event_loop *loop, const struct panel_config *config, char *error, size_t error_size, int *exit_status);
/* Ends the worker, restores what the card showed as far as it can, frees. */
void panel_destroy(struct panel *panel);

/* Adds a producer before panel_start(): PANEL_FACE_UI (heads 0 UI and 1 placeholder) or PANEL_FACE_GUEST (head 0). The link is borrowed. */
int panel_add_producer(struct panel *panel, enum panel_face face, struct link *link);
/*
 * After panel_start(): another link is the guest's from now on, or none (NULL). The old one counts as ended in this moment, however its machine
 * died. The link belongs to the panel, which destroys it on the worker when the next one comes, or at its own end; one that came by
 * panel_add_producer() stays the caller's.
 */
void panel_join_guest(struct panel *panel, struct link *link);
/*
 * Shows the figures over whatever face is on the panel, or shows them no longer. While they are there the guest's picture is copied: a plane of
 * their own would be the card's to have, and under a picture in the guest's own buffer nothing could be drawn.
 */
void panel_toggle_figures(struct panel *panel);
/* Starts the worker, tells producers the display's size, makes the first modeset when there is an output. */
int panel_start(struct panel *panel);

/* Shows this side from the next refresh on. event_ns: time stamp of the key event (0: none) for the toggle histograms. */
void panel_present(struct panel *panel, enum presentation presentation, uint64_t event_ns);
/* A VM was started: first_frame is due again. */
void panel_guest_started(struct panel *panel);
/* The seat was taken away / given back. */
void panel_session(struct panel *panel, bool active);
/*
 * Switches the screen off (DPMS), or on again. Off, nothing is committed, producers are paced as in the dark, and neither outputs that come and go nor a
 * session that comes back switch it on. 0; or -1 with errno when the card does not do it: it stays on. On is one commit of what is to be shown by then.
 */
int panel_blank(struct panel *panel, bool blank);
/* Sends to a producer (front thread is the only sender on the to_producer rings). False when its ring is full. */
bool panel_send(struct panel *panel, enum panel_face face, const struct link_message *message);

/* The output's size in pixels, and where the face's picture lies on it (empty while there is none). */
void panel_geometry(const struct panel *panel, enum panel_face face, uint32_t *width, uint32_t *height, struct rect *picture);

/* What a screenshot shows. */
enum panel_shot { PANEL_SHOT_SCREEN, PANEL_SHOT_UI, PANEL_SHOT_GUEST };
/*
 * Asks for a picture of an output, by its connector's name; empty: of the main one. Of the guest: what it draws for that one. done(data, pixels XRGB8888 with stride width*4, width, height) is called on the worker thread, with
 * NULL when there is none. pixels belong to the callee, which frees them with free(). Returns false when too many wait, there is no such output, or the UI
 * is not on it.
 */
bool panel_screenshot(struct panel *panel, const char *output, enum panel_shot what,
	void (*done)(void *data, uint32_t *pixels, uint32_t width, uint32_t height), void *data);
/*
 * Has the worker do something with the backend that is no picture: a measurement. Faces stand still meanwhile. It is not called when the panel ends
 * before its turn.
 */
bool panel_work(struct panel *panel, void (*run)(void *data, struct backend *backend), void *data);
