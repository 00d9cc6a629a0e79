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

const struct router_keys router_keys_default = {
	.act = { [ROUTER_TOGGLE] = { KEY_GRAVE }, [ROUTER_SHOW] = { KEY_F11 }, [ROUTER_HIDE] = { KEY_F12 } }, .pass = KEY_RIGHTCTRL,
};

/* --- names like a wrong one --- */

#define NAME_MAX_LENGTH 40
#define LIKE_MAX 5 /* names in a list */
#define FAR 100u

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static uint32_t length_of(const char *name)
{
	size_t length = strlen(name);
	return length < NAME_MAX_LENGTH ? (uint32_t)length : NAME_MAX_LENGTH;
}

/* Characters to insert, remove or replace (Levenshtein), case aside; of long names the beginning counts. */
static uint32_t distance(const char *a, const char *b)
{
	uint32_t row[NAME_MAX_LENGTH + 1];
	uint32_t a_length = length_of(a), b_length = length_of(b);

	for (uint32_t j = 0; j <= b_length; j++)
		row[j] = j;
	for (uint32_t i = 1; i <= a_length; i++) {
		uint32_t diagonal = row[0];
		row[0] = i;
		for (uint32_t j = 1; j <= b_length; j++) {
			uint32_t replace = diagonal + (upper(a[i - 1]) != upper(b[j - 1]));
			uint32_t other = min_u32(row[j], row[j - 1]) + 1;
			diagonal = row[j];
			row[j] = min_u32(replace, other);
		}
	}
	return row[b_length];
}

/* How unlike two names without their prefix are; FAR when nobody would take one for the other. */
static uint32_t unlike(const char *wrong, const char *name)
{
	size_t length = strlen(wrong), name_length = strlen(name);
	uint32_t steps;

	if (length >= 3 && name_length > length && (strncasecmp(name, wrong, length) == 0 || strcasecmp(name + name_length - length, wrong) == 0))
		return 1; /* "ctrl1" is no part of LEFTCTRL, "volume" is one of VOLUMEUP */
	steps = distance(wrong, name);
	return steps * 3 <= length + 1 ? steps : FAR;
}

void key_names_like(const char *name, char *list, size_t size)
{
	const char *wrong = strncasecmp(name, "KEY_", 4) == 0 || strncasecmp(name, "BTN_", 4) == 0 ? name + 4 : name;
	const char *best[LIKE_MAX];
	uint32_t how[LIKE_MAX], n = 0;

	list[0] = '\0';
	for (uint16_t code = KEY_RESERVED + 1; code < KEY_MAX; code++) {
		const char *other = key_name(code);
		uint32_t steps = other ? unlike(wrong, other + 4) : FAR, at = n;
		if (steps == FAR)
			continue;
		while (at > 0 && how[at - 1] > steps)
			at--;
		if (at == LIKE_MAX)
			continue;
		n += n < LIKE_MAX;
		memmove(best + at + 1, best + at, (n - at - 1) * sizeof(*best));
		memmove(how + at + 1, how + at, (n - at - 1) * sizeof(*how));
		best[at] = other;
		how[at] = steps;
	}
	size_t used = 0;
	for (uint32_t i = 0; i < n && used + 2 + strlen(best[i]) < size; i++)
		used += (size_t)snprintf(list + used, size - used, "%s%s", i > 0 ? ", " : "", best[i]);
}

/* --- chords --- */

int key_chord_from_name(const char *name, struct router_chord *chord, char *error, size_t error_size)
{
	char one[64], like[160];
	uint16_t key[ROUTER_CHORD_HELD + 1];
	uint32_t n = 0;

	for (const char *rest = name;; rest++) {
		size_t length = strcspn(rest, "+");
		snprintf(one, sizeof(one), "%.*s", (int)(length < sizeof(one) ? length : sizeof(one) - 1), rest);
		int found = key_code_from_name(one);
		if (found < 0) {
			key_names_like(one, like, sizeof(like));
			snprintf(error, error_size, "'%s' is no key name%s%s: use the names of evdev, such as KEY_GRAVE, KEY_F11, KEY_PAUSE", one,
				like[0] ? "; near are " : "", like);
			return -1;
		}
		if (n == ARRAY_LEN(key)) {
			snprintf(error, error_size, "more than %u keys at once", ROUTER_CHORD_HELD + 1);
			return -1;
		}
		key[n++] = (uint16_t)found;
		rest += length;
		if (*rest == '\0')
			break;
	}
	*chord = (struct router_chord){ .code = key[n - 1] };
	memcpy(chord->with, key, (n - 1) * sizeof(key[0]));
	return 0;
}

void key_chord_label(const struct router_chord *chord, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t i = 0; chord->code != KEY_RESERVED && i <= ROUTER_CHORD_HELD && used < size; i++) {
		uint16_t key = i < ROUTER_CHORD_HELD ? chord->with[i] : chord->code;
		const char *name = key_name(key);
		if (key == KEY_RESERVED)
			continue;
		if (key == KEY_GRAVE)
			name = "`";
		else if (name && strncmp(name, "KEY_", 4) == 0)
			name += 4;
		used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? "+" : "", name ? name : "?");
	}
}

/* --- the check of a set --- */

static bool is_modifier(uint16_t code)
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
		return true;
	default:
		return false;
	}
}

static bool has(const struct router_chord *chord, uint16_t code)
{
	for (uint32_t i = 0; i < ROUTER_CHORD_HELD; i++)
		if (chord->with[i] == code)
			return true;
	return false;
}

/* Whatever is held for `b` is held for `a` as well: who presses a's chord has pressed b's. */
static bool includes(const struct router_chord *a, const struct router_chord *b)
{
	for (uint32_t i = 0; i < ROUTER_CHORD_HELD; i++)
		if (b->with[i] != KEY_RESERVED && !has(a, b->with[i]))
			return false;
	return true;
}

/* Why this key cannot act; NULL when it can. */
static const char *objection(const struct router_chord *chord, bool switches_vt)
{
	uint16_t code = chord->code;
	bool control = has(chord, KEY_LEFTCTRL) || has(chord, KEY_RIGHTCTRL), alt = has(chord, KEY_LEFTALT) || has(chord, KEY_RIGHTALT);
	bool alone = includes(&(struct router_chord){ 0 }, chord);

	if (is_modifier(code))
		return "is a modifier; no combination with it could be typed any more";
	if (code == KEY_SYSRQ)
		return "is the kernel's SysRq key";
	if (switches_vt && ((code >= KEY_F1 && code <= KEY_F10) || code == KEY_F11 || code == KEY_F12) && control && alt)
		return "switches virtual terminals together with Ctrl+Alt; --vt-switch off ends that";
	if (switches_vt && code >= KEY_F1 && code <= KEY_F10 && alone)
		return "switches virtual terminals together with Ctrl+Alt; --vt-switch off ends that";
	if (code >= BTN_MISC && code < KEY_OK)
		return "is a button, not a key";
	if (code >= KEY_MAX || !key_name(code))
		return "is not a key";
	return NULL;
}

static int pass_key_check(const struct router_keys *keys, char *error, size_t error_size)
{
	if (keys->pass == KEY_RESERVED)
		return 0;
	if (!key_name(keys->pass) || (keys->pass >= BTN_MISC && keys->pass < KEY_OK)) {
		snprintf(error, error_size, "pass key: code %u is not a key", keys->pass);
		return -1;
	}
	for (size_t i = 0; i < ROUTER_ACTS; i++) {
		const struct router_chord *act = &keys->act[i];
		if (keys->pass == act->code || (act->code != KEY_RESERVED && has(act, keys->pass))) {
			snprintf(error, error_size, "%s is the pass key and one of the keys it passes on; give each its own", key_name(keys->pass));
			return -1;
		}
	}
	return 0;
}

int router_keys_check(const struct router_keys *keys, bool switches_vt, char *error, size_t error_size)
{
	static const char *const role[ROUTER_ACTS] = { [ROUTER_TOGGLE] = "toggle", [ROUTER_SHOW] = "show", [ROUTER_HIDE] = "hide", [ROUTER_STATS] = "statistics" };

	for (size_t i = 0; i < ROUTER_ACTS; i++) {
		const struct router_chord *act = &keys->act[i];
		if (act->code == KEY_RESERVED)
			continue;
		const char *why = objection(act, switches_vt);
		const char *name = key_name(act->code);
		for (uint32_t k = 0; !why && k < ROUTER_CHORD_HELD; k++) {
			if (act->with[k] == KEY_RESERVED || is_modifier(act->with[k]))
				continue;
			snprintf(error, error_size, "%s key: %s in a chord is no modifier; hold Ctrl, Shift, Alt or Super keys with %s", role[i],
				key_name(act->with[k]), name);
			return -1;
		}
		if (why) {
			snprintf(error, error_size, "%s key: %s (code %u) %s; choose another key, such as KEY_GRAVE, KEY_F11 or KEY_F12", role[i],
				name ? name : "it", act->code, why);
			return -1;
		}
		for (size_t j = 0; j < i; j++) {
			const struct router_chord *other = &keys->act[j];
			if (other->code == act->code && (includes(act, other) || includes(other, act))) {
				snprintf(error, error_size, "%s is both the %s key and the %s key; give each its own", name, role[j], role[i]);
				return -1;
			}
		}
	}
	if (keys->act[ROUTER_TOGGLE].code == KEY_RESERVED && keys->act[ROUTER_HIDE].code == KEY_RESERVED) {
		snprintf(error, error_size, "no key would lead back from the guest: set a toggle key or a hide key");
		return -1;
	}
	return pass_key_check(keys, error, error_size);
}
