/*
 * toggle - presentation state, input router, devices, key configuration. May include base. Runs on the front thread.
 * Knows neither KMS nor virtio: it emits actions.
 *
 * The router: decides for each input event which side gets it. Pure: (state, event) -> deliveries, presentation change.
 *
 * The owner of a key or button is fixed at its press (UI, guest or swallowed) and kept to its release. A toggle acts at
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

struct router_event {
	uint64_t time_ns; /* CLOCK_MONOTONIC of the event */
	uint32_t device;  /* < ROUTER_DEVICES */
	uint16_t type;    /* EV_KEY, EV_REL, EV_ABS */
	uint16_t code;    /* evdev code */
	int32_t value;    /* EV_KEY: 0, 1, 2 (repeat); EV_REL: delta; EV_ABS: 0..65535 across the panel */
	bool to_guest;    /* addressed to the guest whatever is shown (rayvmctl --guest): never toggles */
};

enum router_modifier { ROUTER_CTRL = 1, ROUTER_SHIFT = 2, ROUTER_ALT = 4, ROUTER_META = 8 };

/* A key pressed while exactly these modifiers are down, either one of each pair. */
struct router_chord {
	uint16_t key;      /* evdev code; 0: none */
	uint8_t modifiers; /* enum router_modifier */
};

struct router_keys {
	uint16_t toggle, show, hide; /* evdev codes; 0: none */
	struct router_chord stats;   /* its key reaches neither side; its modifiers were there before it and did */
};

/* Where decisions go. Called from within router_* on the same thread, in order; they must not call router_* that change it. */
struct router_output {
	/* Deliver to one side. Presses and releases always balance per sink and code. */
	void (*deliver)(void *data, enum router_sink sink, const struct router_event *event);
	/* The presentation changed because of the event with this time stamp. Releases for the losing side come before. */
	void (*present)(void *data, enum presentation state, uint64_t time_ns);
	/* Ctrl+Alt+Fn asks for virtual terminal n (1 to 10); neither side sees Fn. NULL: the chord is keys like others. */
	void (*switch_vt)(void *data, int vt);
	/* The chord for the statistics was pressed. */
	void (*stats)(void *data);
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
/* "ctrl+alt+s", "KEY_LEFTCTRL+KEY_LEFTALT+KEY_S": modifiers and one key. False when it is no chord. */
bool chord_from_text(const char *text, struct router_chord *chord);
/* Which modifier this key is; 0: none. */
uint8_t key_modifier(uint16_t code);
/* Code to "KEY_..."; NULL when it has no name. */
const char *key_name(uint16_t code);
/* Checks a set of keys (0 = none): 0, or -1 and a line in error (same key twice, a modifier, a key of Ctrl+Alt+Fn ...). */
int router_keys_check(const struct router_keys *keys, char *error, size_t error_size);
