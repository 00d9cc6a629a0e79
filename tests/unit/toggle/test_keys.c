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

static void like(const char *wrong, const char *wanted)
{
	char list[160];

	key_names_like(wrong, list, sizeof(list));
	ck_assert_msg(wanted[0] ? strstr(list, wanted) != NULL : list[0] == '\0', "%s: \"%s\" has no \"%s\"", wrong, list, wanted);
}

START_TEST(names_near_a_wrong_one)
{
	char list[20];

	like("KEY_GRAV", "KEY_GRAVE");
	like("grve", "KEY_GRAVE");
	like("KEY_SPCAE", "KEY_SPACE");
	like("lctrl", "");
	like("leftcontrol", "KEY_LEFTCTRL");
	like("pauze", "KEY_PAUSE");
	like("volume", "KEY_VOLUMEUP");
	like("scroll", "KEY_SCROLLLOCK");
	like("KEY_F111", "KEY_F11");
	like("anykey", "");
	like("", "");
	like("a name that is far longer than any key has and than the room there is for one, on purpose", "");
	/* A list that does not fit has fewer names. */
	key_names_like("scroll", list, sizeof(list));
	ck_assert_str_eq(list, "KEY_SCROLLLOCK");
}
END_TEST

START_TEST(chords)
{
	struct router_chord chord;
	char text[80], error[320];

	ck_assert_int_eq(key_chord_from_name("KEY_F11", &chord, error, sizeof(error)), 0);
	ck_assert_uint_eq(chord.code, KEY_F11);
	ck_assert_uint_eq(chord.with[0], 0);
	ck_assert_int_eq(key_chord_from_name("ctrl+KEY_LEFTALT+shift+space", &chord, error, sizeof(error)), 0);
	ck_assert_uint_eq(chord.code, KEY_SPACE);
	ck_assert(chord.with[0] == KEY_LEFTCTRL && chord.with[1] == KEY_LEFTALT && chord.with[2] == KEY_LEFTSHIFT);
	key_chord_label(&chord, text, sizeof(text));
	ck_assert_str_eq(text, "LEFTCTRL+LEFTALT+LEFTSHIFT+SPACE");
	key_chord_label(&(struct router_chord){ KEY_GRAVE }, text, sizeof(text));
	ck_assert_str_eq(text, "`");
	key_chord_label(&(struct router_chord){ 0, { KEY_LEFTCTRL } }, text, sizeof(text));
	ck_assert_str_eq(text, "");
	key_chord_label(&chord, text, 12);
	ck_assert_str_eq(text, "LEFTCTRL+LE");
	ck_assert_int_eq(key_chord_from_name("ctrl+alt+shift+super+a", &chord, error, sizeof(error)), -1);
	ck_assert_ptr_nonnull(strstr(error, "more than 4"));
	for (const char *const *wrong = (const char *const[]){ "ctrl+", "+a", "", "ctrl++a", "ctrl+grav", NULL }; *wrong; wrong++)
		ck_assert_msg(key_chord_from_name(*wrong, &chord, error, sizeof(error)) == -1, "accepted %s", *wrong);
	ck_assert_ptr_nonnull(strstr(error, "'grav' is no key name; near are KEY_GRAVE"));
}
END_TEST

static bool switches_vt = true;
static uint16_t pass_key;
static uint16_t with[ROUTER_ACTS][ROUTER_CHORD_HELD];

static struct router_keys set_of(uint16_t toggle, uint16_t show, uint16_t hide)
{
	struct router_keys keys = { .act = { { toggle }, { show }, { hide } }, .pass = pass_key };

	for (size_t i = 0; i < ROUTER_ACTS; i++)
		memcpy(keys.act[i].with, with[i], sizeof(with[i]));
	return keys;
}

static void refused(uint16_t toggle, uint16_t show, uint16_t hide, const char *word)
{
	struct router_keys keys = set_of(toggle, show, hide);
	char error[200] = "";

	ck_assert_msg(router_keys_check(&keys, switches_vt, error, sizeof(error)) == -1, "accepted %u %u %u", toggle, show, hide);
	ck_assert_msg(strstr(error, word) != NULL, "\"%s\" does not say \"%s\"", error, word);
	ck_assert_ptr_null(strchr(error, '\n'));
}

static void accepted(uint16_t toggle, uint16_t show, uint16_t hide)
{
	struct router_keys keys = set_of(toggle, show, hide);
	char error[200] = "";

	ck_assert_msg(router_keys_check(&keys, switches_vt, error, sizeof(error)) == 0, "%s", error);
}

START_TEST(sets_with_chords_and_a_pass_key)
{
	pass_key = KEY_RIGHTCTRL;
	accepted(KEY_GRAVE, KEY_F11, KEY_F12);
	pass_key = KEY_F12;
	refused(KEY_GRAVE, KEY_F11, KEY_F12, "KEY_F12 is the pass key");
	pass_key = BTN_LEFT;
	refused(KEY_GRAVE, KEY_F11, KEY_F12, "pass key");
	pass_key = 0;
	switches_vt = false;
	accepted(KEY_F1, KEY_F2, KEY_F3);
	switches_vt = true;
	with[0][0] = KEY_LEFTMETA;
	accepted(KEY_F1, KEY_F11, KEY_F12);
	accepted(KEY_F11, KEY_F12, 0); /* the show key is another without Super */
	refused(KEY_F11, KEY_F11, KEY_F12, "KEY_F11 is both"); /* whoever presses Super+F11 presses F11 */
	with[1][0] = KEY_LEFTALT;
	accepted(KEY_F11, KEY_F11, KEY_F12);
	with[1][1] = KEY_LEFTMETA;
	refused(KEY_F11, KEY_F11, KEY_F12, "KEY_F11 is both");
	pass_key = KEY_LEFTALT;
	refused(KEY_GRAVE, KEY_F11, KEY_F12, "KEY_LEFTALT is the pass key");
	pass_key = 0;
	with[1][1] = KEY_RIGHTCTRL;
	refused(KEY_GRAVE, KEY_F11, KEY_F12, "--vt-switch off");
	switches_vt = false;
	accepted(KEY_GRAVE, KEY_F11, KEY_F12);
	with[1][1] = KEY_A;
	refused(KEY_GRAVE, KEY_F11, KEY_F12, "KEY_A in a chord is no modifier");
	with[1][1] = 0;
	refused(KEY_GRAVE, KEY_RIGHTSHIFT, KEY_F12, "modifier");
	switches_vt = true;
	memset(with, 0, sizeof(with));
}
END_TEST

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

static Suite *make_suite(void)
{
	Suite *suite = suite_create("keys");
	TCase *tcase = tcase_create("keys");

	tcase_add_test(tcase, names_to_codes);
	tcase_add_test(tcase, codes_to_names_and_back);
	tcase_add_test(tcase, names_near_a_wrong_one);
	tcase_add_test(tcase, chords);
	tcase_add_test(tcase, sets_of_keys);
	tcase_add_test(tcase, sets_with_chords_and_a_pass_key);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
