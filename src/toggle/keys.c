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

/* Why this key cannot be a toggle key; NULL when it can. */
static const char *objection(uint16_t code)
{
	switch (code) {
	case KEY_LEFTSHIFT:
	case KEY_RIGHTSHIFT:
	case KEY_LEFTCTRL:
	case KEY_RIGHTCTRL:
	case KEY_LEFTALT:
	case KEY_RIGHTALT:
	case KEY_LEFTMETA:
	case KEY_RIGHTMETA:
	case KEY_FN:
		return "is a modifier; no combination with it could be typed any more";
	case KEY_SYSRQ:
		return "is the kernel's SysRq key";
	default:
		break;
	}
	if (code >= KEY_F1 && code <= KEY_F10)
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
	} key[] = { { "toggle", keys->toggle }, { "show", keys->show }, { "hide", keys->hide } };

	for (size_t i = 0; i < ARRAY_LEN(key); i++) {
		if (key[i].code == KEY_RESERVED)
			continue;
		const char *why = objection(key[i].code);
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
