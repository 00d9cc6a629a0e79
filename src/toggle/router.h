/*
 * toggle - presentation state, input router, devices, key configuration. May include base. Runs on the front thread.
 * Knows neither KMS nor virtio: it emits actions.
 *
 * The router: decides for each input event which side gets it. Pure: (state, event) -> deliveries, presentation change.
 *
 * The owner of a key, button or finger on a touch screen is fixed at its press (UI, guest or swallowed) and kept to its release. A toggle acts at
 * the press; what the losing side holds is released there at that moment, and the later physical release is swallowed.
 * Events addressed to the guest are apart from this: a toggle neither releases nor redirects what is held through them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "toggle/presentation.h"

enum router_sink { ROUTER_NOBODY, ROUTER_UI, ROUTER_GUEST };

/* Device numbers are the caller's; one is one physical device (or the injector). */
#define ROUTER_DEVICES 64
/* Fingers on all touch screens together; more than that are ignored. */
#define ROUTER_TOUCHES 10

struct router_event {
	uint64_t time_ns; /* CLOCK_MONOTONIC of the event */
	uint32_t device;  /* < ROUTER_DEVICES */
	uint16_t type;    /* EV_KEY, EV_REL, EV_ABS */
	uint16_t code;    /* evdev code */
	int32_t value;    /* EV_KEY: 0, 1, 2 (repeat); EV_REL: delta; EV_ABS: 0..65535 across the panel; ABS_MT_TRACKING_ID: 0 down, -1 up */
	bool to_guest;    /* addressed to the guest whatever is shown (rayvmctl --guest): never toggles */
	int32_t accelerated; /* REL_X, REL_Y: the same motion for a pointer of the host's own, pixels. One of the two may be 0, less than a unit. */
	uint32_t slot;    /* ABS_MT_*: the finger. Any number of the device's; delivered as one below ROUTER_TOUCHES, of all devices' */
};

#define ROUTER_CHORD_HELD 3

struct router_chord {
	uint16_t code;                    /* evdev; 0: none */
	uint16_t with[ROUTER_CHORD_HELD]; /* what has to be down as well; 0: nothing more */
};

/* What a key may do. ROUTER_STATS: the figures over the picture. */
enum router_act { ROUTER_TOGGLE, ROUTER_SHOW, ROUTER_HIDE, ROUTER_STATS, ROUTER_ACTS };

/* The keys that act. They do so whatever else is held, but for the pass key and for Ctrl+Alt+Fn where that switches terminals. */
struct router_keys {
	struct router_chord act[ROUTER_ACTS];
	uint16_t pass; /* while it is held those are keys like others, for the side that is shown; 0: none */
};
/* `, F11, F12, the right Ctrl key, and none for the figures. */
extern const struct router_keys router_keys_default;

/* Where decisions go. Called from within router_* on the same thread, in order; they must not call router_* that change it. */
struct router_output {
	/* Deliver to one side. Presses and releases always balance per sink and code. */
	void (*deliver)(void *data, enum router_sink sink, const struct router_event *event);
	/* The presentation changed because of the event with this time stamp. Releases for the losing side come before. */
	void (*present)(void *data, enum presentation state, uint64_t time_ns);
	/* Ctrl+Alt+Fn asks for virtual terminal n (1 to 12); neither side sees Fn. NULL: the chord is keys like others. */
	void (*switch_vt)(void *data, int vt);
	/* The key for the statistics was pressed. */
	void (*stats)(void *data);
	/* The power key was pressed; neither side sees it. NULL: it is a key like others. */
	void (*power)(void *data);
	void *data;
};

struct router; /* no allocation after create */
struct router *router_create(const struct router_keys *keys, const struct router_output *output, enum presentation initial);
void router_destroy(struct router *router);
enum presentation router_presentation(const struct router *router);

void router_handle(struct router *router, const struct router_event *event);
/* The same for what wakes a dark screen: presses are nobody's, motion is dropped; toggle keys and Ctrl+Alt+Fn act. */
void router_swallow(struct router *router, const struct router_event *event);
/* Presentation change by command (UI, rayvmctl): the same transition and releases as by key. */
void router_present(struct router *router, enum presentation_event event, uint64_t time_ns);
/* A device went away: what only it holds is released. */
void router_device_gone(struct router *router, uint32_t device, uint64_t time_ns);
/* The session went inactive (or the guest was reset, for sink GUEST): everything held is released on `sink` (NOBODY: both); later physical releases are swallowed. */
void router_release_all(struct router *router, enum router_sink sink, uint64_t time_ns);
/* Is any key or button held on this side? For tests. */
uint32_t router_held(const struct router *router, enum router_sink sink);

/* "KEY_GRAVE" (or "grave") to an evdev code, -1 when there is no such key. */
int key_code_from_name(const char *name);
/* Code to "KEY_..."; NULL when it has no name. */
const char *key_name(uint16_t code);
/* The keys whose names are most like this one that is none, "KEY_GRAVE, KEY_G"; "" when none is near. */
void key_names_like(const char *name, char *list, size_t size);
/* "KEY_LEFTCTRL+KEY_SPACE", the key that acts last. 0, or -1 and a line in error. */
int key_chord_from_name(const char *name, struct router_chord *chord, char *error, size_t error_size);
/* What people call it: "`", "F11", "LEFTCTRL+SPACE"; "" for no key. */
void key_chord_label(const struct router_chord *chord, char *text, size_t size);
/*
 * Checks a set of keys that act (0 = none), with Ctrl+Alt+Fn switching terminals or not: 0, or -1 and a line in error (same key twice, a
 * modifier, a key of Ctrl+Alt+Fn, a pass key in the way ...).
 */
int router_keys_check(const struct router_keys *keys, bool switches_vt, char *error, size_t error_size);
