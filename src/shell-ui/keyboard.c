#define LOG_MODULE "ui-keyboard"
#include "shell-ui/keyboard.h"

#include <stdlib.h>
#include <string.h>

#include <linux/input-event-codes.h>
#include <xkbcommon/xkbcommon-compose.h>

#include "base/base.h"
#include "base/log.h"

#define XKB_OFFSET 8 /* X key codes are evdev's plus 8 */

struct keyboard {
	struct xkb_context *context;
	struct xkb_keymap *keymap;
	struct xkb_state *state;
	struct xkb_compose_state *compose; /* dead keys; NULL where there is no table */
	uint8_t held[(KEY_CNT + 7) / 8];
};

static void load_compose(struct keyboard *keyboard)
{
	const char *locale = getenv("LC_ALL");
	if (!locale || !*locale)
		locale = getenv("LC_CTYPE");
	if (!locale || !*locale)
		locale = getenv("LANG");
	/* The C locale's table is ASCII only; a kiosk without a locale still has dead keys. */
	if (!locale || !*locale || strcmp(locale, "C") == 0 || strcmp(locale, "POSIX") == 0)
		locale = "en_US.UTF-8";
	struct xkb_compose_table *table =
		xkb_compose_table_new_from_locale(keyboard->context, locale, XKB_COMPOSE_COMPILE_NO_FLAGS);
	if (!table)
		return;
	keyboard->compose = xkb_compose_state_new(table, XKB_COMPOSE_STATE_NO_FLAGS);
	xkb_compose_table_unref(table);
}

struct keyboard *keyboard_create(void)
{
	struct keyboard *keyboard = calloc(1, sizeof(*keyboard));
	if (!keyboard)
		return NULL;
	keyboard->context = xkb_context_new(XKB_CONTEXT_NO_FLAGS);
	if (!keyboard->context)
		goto fail;
	xkb_context_set_log_level(keyboard->context, XKB_LOG_LEVEL_CRITICAL);
	keyboard->keymap = xkb_keymap_new_from_names(keyboard->context, NULL, XKB_KEYMAP_COMPILE_NO_FLAGS);
	if (!keyboard->keymap) {
		log_warn("the keyboard layout of XKB_DEFAULT_LAYOUT and its fellows does not exist: using \"us\"");
		struct xkb_rule_names us = { .rules = "evdev", .model = "pc105", .layout = "us", .variant = "", .options = "" };
		keyboard->keymap = xkb_keymap_new_from_names(keyboard->context, &us, XKB_KEYMAP_COMPILE_NO_FLAGS);
	}
	if (!keyboard->keymap)
		goto fail;
	keyboard->state = xkb_state_new(keyboard->keymap);
	if (!keyboard->state)
		goto fail;
	load_compose(keyboard);
	return keyboard;
fail:
	keyboard_destroy(keyboard);
	return NULL;
}

void keyboard_destroy(struct keyboard *keyboard)
{
	if (!keyboard)
		return;
	xkb_compose_state_unref(keyboard->compose);
	xkb_state_unref(keyboard->state);
	xkb_keymap_unref(keyboard->keymap);
	xkb_context_unref(keyboard->context);
	free(keyboard);
}

static bool held(const struct keyboard *keyboard, uint32_t code)
{
	return keyboard->held[code / 8] >> (code % 8) & 1;
}

static bool is_active(const struct keyboard *keyboard, const char *modifier)
{
	return xkb_state_mod_name_is_active(keyboard->state, modifier, XKB_STATE_MODS_EFFECTIVE) > 0;
}

/* False when a compose sequence swallowed the key; a finished one replaces what it types. */
static bool compose(struct keyboard *keyboard, struct keypress *press)
{
	if (!keyboard->compose || xkb_compose_state_feed(keyboard->compose, press->sym) != XKB_COMPOSE_FEED_ACCEPTED)
		return true;
	switch (xkb_compose_state_get_status(keyboard->compose)) {
	case XKB_COMPOSE_COMPOSED: {
		press->sym = xkb_compose_state_get_one_sym(keyboard->compose);
		press->code = xkb_keysym_to_utf32(press->sym);
		xkb_compose_state_reset(keyboard->compose);
		return true;
	}
	case XKB_COMPOSE_COMPOSING:
		return false;
	case XKB_COMPOSE_CANCELLED:
		xkb_compose_state_reset(keyboard->compose);
		return false;
	case XKB_COMPOSE_NOTHING:
		break;
	}
	return true;
}

bool keyboard_key(struct keyboard *keyboard, uint32_t evdev_code, bool pressed, struct keypress *press)
{
	if (evdev_code >= KEY_CNT || held(keyboard, evdev_code) == pressed)
		return false;
	xkb_keycode_t key = evdev_code + XKB_OFFSET;
	if (!pressed) {
		keyboard->held[evdev_code / 8] &= (uint8_t)~(1u << (evdev_code % 8));
		xkb_state_update_key(keyboard->state, key, XKB_KEY_UP);
		return false;
	}
	keyboard->held[evdev_code / 8] |= (uint8_t)(1u << (evdev_code % 8));
	*press = (struct keypress){
		.sym = xkb_state_key_get_one_sym(keyboard->state, key),
		.code = xkb_state_key_get_utf32(keyboard->state, key),
		.control = is_active(keyboard, XKB_MOD_NAME_CTRL),
		.alt = is_active(keyboard, XKB_MOD_NAME_ALT),
		.repeats = xkb_keymap_key_repeats(keyboard->keymap, key),
	};
	xkb_state_update_key(keyboard->state, key, XKB_KEY_DOWN);
	if (press->sym == XKB_KEY_NoSymbol)
		return false;
	if (press->control) { /* the letter itself, not the control character xkbcommon makes of it */
		press->code = 0;
		if (press->sym >= XKB_KEY_A && press->sym <= XKB_KEY_Z)
			press->sym += XKB_KEY_a - XKB_KEY_A;
		return true;
	}
	return compose(keyboard, press);
}

void keyboard_release_all(struct keyboard *keyboard)
{
	struct keypress unused;
	for (uint32_t code = 0; code < KEY_CNT; code++) {
		if (held(keyboard, code))
			keyboard_key(keyboard, code, false, &unused);
	}
	if (keyboard->compose)
		xkb_compose_state_reset(keyboard->compose);
}

uint32_t keyboard_leds(const struct keyboard *keyboard)
{
	static const struct {
		const char *name;
		uint32_t led;
	} lights[] = { { XKB_LED_NAME_NUM, LED_NUML }, { XKB_LED_NAME_CAPS, LED_CAPSL }, { XKB_LED_NAME_SCROLL, LED_SCROLLL } };
	uint32_t leds = 0;
	for (size_t i = 0; i < ARRAY_LEN(lights); i++) {
		if (xkb_state_led_name_is_active(keyboard->state, lights[i].name) > 0)
			leds |= 1u << lights[i].led;
	}
	return leds;
}
