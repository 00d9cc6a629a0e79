/*
 * Keyboard: evdev key codes to characters and editing keys, by xkbcommon. The layout is XKB_DEFAULT_LAYOUT and its
 * fellows, else "us". Knows nothing of repeat or of time; the UI's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <xkbcommon/xkbcommon.h>

struct keyboard;

struct keypress {
	xkb_keysym_t sym;
	uint32_t code;      /* code point it types; 0: none */
	bool control, alt;
	bool repeats;
};

/* NULL when xkbcommon has no layout data at all. */
struct keyboard *keyboard_create(void);
void keyboard_destroy(struct keyboard *keyboard);
/* Takes a key's change. True when it is a press that means something: *press is filled in. A press of a held key and a release of one that is not held are ignored. */
bool keyboard_key(struct keyboard *keyboard, uint32_t evdev_code, bool pressed, struct keypress *press);
/* Releases all held keys; locks (Caps Lock) stay. */
void keyboard_release_all(struct keyboard *keyboard);
/* Lights to show: bit per evdev LED_NUML, LED_CAPSL, LED_SCROLLL. */
uint32_t keyboard_leds(const struct keyboard *keyboard);
