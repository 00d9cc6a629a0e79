/* Key names and the check of a set of toggle keys. */
#include <linux/input-event-codes.h>
#include <string.h>

#include "toggle/router.h"
#include "unit.h"

START_TEST(names_to_codes)
{
	static const struct {
		const char *name;
		int code;
	} table[] = {
		{ "KEY_GRAVE", 41 }, { "grave", 41 }, { "Grave", 41 }, { "backtick", 41 }, { "`", 41 }, { "key_grave", 41 },
		{ "KEY_F11", 87 }, { "F11", 87 }, { "f12", 88 }, { "a", KEY_A }, { "1", KEY_1 }, { "ctrl", KEY_LEFTCTRL },
		{ "Return", KEY_ENTER }, { "del", KEY_DELETE }, { "BTN_LEFT", BTN_LEFT }, { "btn_right", BTN_RIGHT },
		{ "leftmeta", KEY_LEFTMETA }, { "left", KEY_LEFT }, { "scrolllock", KEY_SCROLLLOCK },
		{ "", -1 }, { "KEY_", -1 }, { "KEY_NOSUCH", -1 }, { "KEY_RESERVED", -1 }, { "reserved", -1 }, { "KEY_MAX", -1 }, { "KEY_CNT", -1 },
		{ "REL_X", -1 }, { "41", -1 }, { "KEY_GRAVE ", -1 }, { "KEY_KEY_A", -1 }, { "ctrl+alt", -1 },
		{ "a name that is far longer than any key has and than the room there is for one, on purpose", -1 },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		ck_assert_msg(key_code_from_name(table[i].name) == table[i].code, "%s: %d", table[i].name, key_code_from_name(table[i].name));
}
END_TEST

START_TEST(codes_to_names_and_back)
{
	unsigned named = 0;

	ck_assert_str_eq(key_name(41), "KEY_GRAVE");
	ck_assert_str_eq(key_name(87), "KEY_F11");
	ck_assert_ptr_null(key_name(0));
	ck_assert_ptr_null(key_name(KEY_MAX));
	ck_assert_ptr_null(key_name(0xffff));
	for (unsigned code = 1; code < KEY_MAX; code++) {
		const char *name = key_name((uint16_t)code);
		if (!name)
			continue;
		named++;
		ck_assert_int_eq(key_code_from_name(name), (int)code);
	}
	ck_assert_uint_gt(named, 400);
}
END_TEST

static void refused(uint16_t toggle, uint16_t show, uint16_t hide, const char *word)
{
	struct router_keys keys = { .toggle = toggle, .show = show, .hide = hide };
	char error[200] = "";

	ck_assert_msg(router_keys_check(&keys, error, sizeof(error)) == -1, "accepted %u %u %u", toggle, show, hide);
	ck_assert_msg(strstr(error, word) != NULL, "\"%s\" does not say \"%s\"", error, word);
	ck_assert_ptr_null(strchr(error, '\n'));
}

static void accepted(uint16_t toggle, uint16_t show, uint16_t hide)
{
	struct router_keys keys = { .toggle = toggle, .show = show, .hide = hide };
	char error[200] = "";

	ck_assert_msg(router_keys_check(&keys, error, sizeof(error)) == 0, "%s", error);
}

START_TEST(sets_of_keys)
{
	accepted(KEY_GRAVE, KEY_F11, KEY_F12);
	accepted(KEY_GRAVE, 0, 0);
	accepted(0, KEY_F11, KEY_F12);
	accepted(KEY_PAUSE, KEY_HOME, KEY_END);
	refused(KEY_F11, KEY_F11, KEY_F12, "KEY_F11 is both the toggle key and the show key");
	refused(KEY_GRAVE, KEY_F12, KEY_F12, "KEY_F12 is both the show key and the hide key");
	refused(KEY_LEFTSHIFT, KEY_F11, KEY_F12, "KEY_LEFTSHIFT");
	refused(KEY_GRAVE, KEY_RIGHTALT, KEY_F12, "modifier");
	refused(KEY_GRAVE, KEY_F11, KEY_F1, "Ctrl+Alt");
	refused(KEY_F10, KEY_F11, KEY_F12, "virtual terminals");
	refused(KEY_SYSRQ, KEY_F11, KEY_F12, "SysRq");
	refused(BTN_LEFT, KEY_F11, KEY_F12, "button");
	refused(0x2ff, KEY_F11, KEY_F12, "not a key");
	refused(0x1000, KEY_F11, KEY_F12, "not a key");
	refused(0, 0, 0, "lead back");
	refused(0, KEY_F11, 0, "lead back");
}
END_TEST

START_TEST(chords)
{
	static const struct {
		const char *text;
		struct router_chord chord;
	} good[] = {
		{ "ctrl+alt+s", { KEY_S, ROUTER_CTRL | ROUTER_ALT } },
		{ "KEY_RIGHTALT+KEY_LEFTCTRL+KEY_S", { KEY_S, ROUTER_CTRL | ROUTER_ALT } },
		{ "super+shift+F9", { KEY_F9, ROUTER_META | ROUTER_SHIFT } },
		{ "pause", { KEY_PAUSE, 0 } },
	};
	static const char *const bad[] = { "", "+", "ctrl+", "+s", "ctrl++s", "s+ctrl+x", "ctrl+nosuch", "ctrl+alt+s ", "ctrl s" };
	struct router_chord chord;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_msg(chord_from_text(good[i].text, &chord), "refused %s", good[i].text);
		ck_assert_uint_eq(chord.key, good[i].chord.key);
		ck_assert_uint_eq(chord.modifiers, good[i].chord.modifiers);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!chord_from_text(bad[i], &chord), "accepted %s", bad[i]);
	char huge[200];
	memset(huge, 'x', sizeof(huge));
	huge[sizeof(huge) - 1] = '\0';
	ck_assert(!chord_from_text(huge, &chord));
}
END_TEST

/* What a chord may not be: a toggle key, which would act first, a modifier, a terminal's. */
START_TEST(sets_with_a_chord)
{
	static const struct {
		struct router_chord chord;
		const char *word; /* NULL: accepted */
	} cases[] = {
		{ { KEY_S, ROUTER_CTRL | ROUTER_ALT }, NULL },
		{ { KEY_F9, ROUTER_META }, NULL },
		{ { KEY_F9, ROUTER_CTRL | ROUTER_ALT | ROUTER_SHIFT }, "virtual terminals" },
		{ { KEY_F11, ROUTER_CTRL }, "KEY_F11 is both the show key and the statistics key" },
		{ { KEY_LEFTALT, ROUTER_CTRL }, "modifier" },
		{ { KEY_SYSRQ, ROUTER_ALT }, "SysRq" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct router_keys keys = { .toggle = KEY_GRAVE, .show = KEY_F11, .hide = KEY_F12, .stats = cases[i].chord };
		char error[200] = "";
		ck_assert_int_eq(router_keys_check(&keys, error, sizeof(error)), cases[i].word != NULL ? -1 : 0);
		ck_assert_msg(cases[i].word == NULL || strstr(error, cases[i].word) != NULL, "\"%s\" does not say \"%s\"", error, cases[i].word);
	}
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("keys");
	TCase *tcase = tcase_create("keys");

	tcase_add_test(tcase, names_to_codes);
	tcase_add_test(tcase, codes_to_names_and_back);
	tcase_add_test(tcase, sets_of_keys);
	tcase_add_test(tcase, chords);
	tcase_add_test(tcase, sets_with_a_chord);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
