/* Key names of the settings file, the command line and rayvmctl, and what may be a toggle key. */
#include <libevdev/libevdev.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "toggle/router.h"

/* What people call keys whose evdev name is another word. */
static const struct {
	const char *name;
	uint16_t code;
} nicknames[] = {
	{ "`", KEY_GRAVE },
	{ "backtick", KEY_GRAVE },
	{ "escape", KEY_ESC },
	{ "return", KEY_ENTER },
	{ "del", KEY_DELETE },
	{ "ins", KEY_INSERT },
	{ "pgup", KEY_PAGEUP },
	{ "pgdn", KEY_PAGEDOWN },
	{ "pgdown", KEY_PAGEDOWN },
	{ "ctrl", KEY_LEFTCTRL },
	{ "control", KEY_LEFTCTRL },
	{ "shift", KEY_LEFTSHIFT },
	{ "alt", KEY_LEFTALT },
	{ "altgr", KEY_RIGHTALT },
	{ "super", KEY_LEFTMETA },
	{ "meta", KEY_LEFTMETA },
	{ "win", KEY_LEFTMETA },
	{ "caps", KEY_CAPSLOCK },
	{ "printscreen", KEY_SYSRQ },
};

static int code_of(const char *prefix, const char *name)
{
	char full[64];
	int length = snprintf(full, sizeof(full), "%s%s", prefix, name);

	if (length < 0 || (size_t)length >= sizeof(full))
		return -1;
	for (char *c = full; *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	return libevdev_event_code_from_name(EV_KEY, full);
}

int key_code_from_name(const char *name)
{
	static const char *const prefixes[] = { "", "KEY_", "BTN_" };

	for (size_t i = 0; i < ARRAY_LEN(nicknames); i++)
		if (strcasecmp(name, nicknames[i].name) == 0)
			return nicknames[i].code;
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		int code = code_of(prefixes[i], name);
		/* KEY_RESERVED and KEY_MAX have names but are no keys. */
		if (code > KEY_RESERVED && code < KEY_MAX)
			return code;
	}
	return -1;
}

const char *key_name(uint16_t code)
{
	if (code == KEY_RESERVED || code >= KEY_MAX)
		return NULL;
	return libevdev_event_code_get_name(EV_KEY, code);
}

uint8_t key_modifier(uint16_t code)
{
	switch (code) {
	case KEY_LEFTCTRL:
	case KEY_RIGHTCTRL:
		return ROUTER_CTRL;
	case KEY_LEFTSHIFT:
	case KEY_RIGHTSHIFT:
		return ROUTER_SHIFT;
	case KEY_LEFTALT:
	case KEY_RIGHTALT:
		return ROUTER_ALT;
	case KEY_LEFTMETA:
	case KEY_RIGHTMETA:
		return ROUTER_META;
	default:
		return 0;
	}
}

bool chord_from_text(const char *text, struct router_chord *chord)
{
	*chord = (struct router_chord){0};
	while (chord->key == KEY_RESERVED) {
		char name[64];
		size_t length = strcspn(text, "+");
		if (length >= sizeof(name))
			return false;
		memcpy(name, text, length);
		name[length] = '\0';
		int code = key_code_from_name(name);
		if (code < 0)
			return false;
		if (text[length] == '\0')
			chord->key = (uint16_t)code;
		else if (key_modifier((uint16_t)code))
			chord->modifiers |= key_modifier((uint16_t)code);
		else
			return false; /* the key is the last one */
		text += length + 1;
	}
	return true;
}

/* Why this key cannot be a toggle key, or complete a chord; NULL when it can. with: the chord's modifiers, all of them for a key that acts with any. */
static const char *objection(uint16_t code, uint8_t with)
{
	if (key_modifier(code) || code == KEY_FN)
		return "is a modifier; no combination with it could be typed any more";
	if (code == KEY_SYSRQ)
		return "is the kernel's SysRq key";
	if (code >= KEY_F1 && code <= KEY_F10 && with & ROUTER_CTRL && with & ROUTER_ALT)
		return "switches virtual terminals together with Ctrl+Alt";
	if (code >= BTN_MISC && code < KEY_OK)
		return "is a button, not a key";
	if (code >= KEY_MAX || !key_name(code))
		return "is not a key";
	return NULL;
}

int router_keys_check(const struct router_keys *keys, char *error, size_t error_size)
{
	const struct {
		const char *role;
		uint16_t code;
		uint8_t with;
	} key[] = { { "toggle", keys->toggle, UINT8_MAX }, { "show", keys->show, UINT8_MAX }, { "hide", keys->hide, UINT8_MAX },
		{ "statistics", keys->stats.key, keys->stats.modifiers } };

	for (size_t i = 0; i < ARRAY_LEN(key); i++) {
		if (key[i].code == KEY_RESERVED)
			continue;
		const char *why = objection(key[i].code, key[i].with);
		const char *name = key_name(key[i].code);
		if (why) {
			snprintf(error, error_size, "%s key: %s (code %u) %s; choose another key, such as KEY_GRAVE, KEY_F11 or KEY_F12",
				key[i].role, name ? name : "it", key[i].code, why);
			return -1;
		}
		for (size_t j = 0; j < i; j++) {
			if (key[j].code == key[i].code) {
				snprintf(error, error_size, "%s is both the %s key and the %s key; give each its own", name, key[j].role, key[i].role);
				return -1;
			}
		}
	}
	if (keys->toggle == KEY_RESERVED && keys->hide == KEY_RESERVED) {
		snprintf(error, error_size, "no key would lead back from the guest: set a toggle key or a hide key");
		return -1;
	}
	return 0;
}
