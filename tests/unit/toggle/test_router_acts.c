/* The presentation machine, and the keys that do something by themselves: what they do, when, and who sees them. */
#include "router_rig.h"
#include "toggle/presentation.h"

/* --- presentation machine --- */

START_TEST(machine_has_exactly_the_two_edges)
{
	ck_assert_int_eq(presentation_next(PRESENTATION_HIDDEN, PRESENTATION_TOGGLE), PRESENTATION_PRESENTED);
	ck_assert_int_eq(presentation_next(PRESENTATION_HIDDEN, PRESENTATION_SHOW), PRESENTATION_PRESENTED);
	ck_assert_int_eq(presentation_next(PRESENTATION_HIDDEN, PRESENTATION_HIDE), PRESENTATION_HIDDEN);
	ck_assert_int_eq(presentation_next(PRESENTATION_PRESENTED, PRESENTATION_TOGGLE), PRESENTATION_HIDDEN);
	ck_assert_int_eq(presentation_next(PRESENTATION_PRESENTED, PRESENTATION_SHOW), PRESENTATION_PRESENTED);
	ck_assert_int_eq(presentation_next(PRESENTATION_PRESENTED, PRESENTATION_HIDE), PRESENTATION_HIDDEN);
}
END_TEST

/* --- toggle keys --- */

START_TEST(seed_codes)
{
	/* The table of the seed document: scan codes 0x29, 0x57, 0x58 are these evdev codes. */
	ck_assert_int_eq(router_keys_default.act[ROUTER_TOGGLE].code, 0x29);
	ck_assert_int_eq(router_keys_default.act[ROUTER_SHOW].code, 0x57);
	ck_assert_int_eq(router_keys_default.act[ROUTER_HIDE].code, 0x58);
	ck_assert_int_eq(router_presentation(router), PRESENTATION_HIDDEN);
}
END_TEST

START_TEST(backtick_toggles_once_per_press)
{
	key(KEY_GRAVE, 1);
	expect("P ");
	key(KEY_GRAVE, 0);
	expect("");
	key(KEY_GRAVE, 1);
	expect("H ");
	key(KEY_GRAVE, 0);
	expect("");
}
END_TEST

START_TEST(repeat_never_toggles)
{
	key(KEY_GRAVE, 1);
	expect("P ");
	for (int i = 0; i < 20; i++)
		key(KEY_GRAVE, 2);
	key(KEY_F12, 2);
	key(KEY_GRAVE, 0);
	key(KEY_F11, 2);
	expect("");
	ck_assert_int_eq(router_presentation(router), PRESENTATION_PRESENTED);
}
END_TEST

START_TEST(second_press_without_release_is_no_press)
{
	key(KEY_GRAVE, 1);
	key(KEY_GRAVE, 1);
	expect("P ");
	key(KEY_A, 1);
	key(KEY_A, 1);
	key(KEY_A, 0);
	key(KEY_A, 0);
	expect("guest+30 guest-30 ");
}
END_TEST

START_TEST(f11_shows_and_f12_hides)
{
	tap(KEY_F11);
	expect("P ");
	tap(KEY_F12);
	expect("H ");
}
END_TEST

START_TEST(f11_presented_and_f12_hidden_change_nothing_and_are_consumed)
{
	tap(KEY_F12);
	expect("");
	ck_assert_int_eq(router_presentation(router), PRESENTATION_HIDDEN);
	tap(KEY_F11);
	expect("P ");
	tap(KEY_F11);
	expect("");
	ck_assert_int_eq(router_presentation(router), PRESENTATION_PRESENTED);
}
END_TEST

START_TEST(useless_show_releases_nothing)
{
	tap(KEY_F11);
	key(KEY_A, 1);
	expect("P guest+30 ");
	tap(KEY_F11);
	expect("");
	key(KEY_A, 0);
	expect("guest-30 ");
}
END_TEST

START_TEST(toggle_key_works_with_modifiers_held)
{
	key(KEY_LEFTCTRL, 1);
	key(KEY_LEFTALT, 1);
	key(KEY_LEFTSHIFT, 1);
	expect("ui+29 ui+56 ui+42 ");
	key(KEY_GRAVE, 1);
	expect("ui-29 ui-42 ui-56 P ");
}
END_TEST

START_TEST(toggle_keys_from_two_keyboards_count_as_one_key)
{
	key_on(0, KEY_GRAVE, 1);
	key_on(1, KEY_GRAVE, 1);
	expect("P ");
	key_on(0, KEY_GRAVE, 0);
	key_on(1, KEY_GRAVE, 0);
	expect("");
	key_on(1, KEY_GRAVE, 1);
	expect("H ");
}
END_TEST

START_TEST(both_toggle_keys_down_together)
{
	key(KEY_GRAVE, 1);
	key(KEY_F12, 1);
	key(KEY_F11, 1);
	expect("P H P ");
	key(KEY_GRAVE, 0);
	key(KEY_F12, 0);
	key(KEY_F11, 0);
	expect("");
}
END_TEST

/* --- other keys, chords --- */

START_TEST(configured_keys_replace_the_defaults)
{
	struct router_keys keys = { .act = { [ROUTER_TOGGLE] = { KEY_PAUSE }, [ROUTER_HIDE] = { KEY_SCROLLLOCK } } };

	start(PRESENTATION_PRESENTED, &keys);
	tap(KEY_GRAVE);
	tap(KEY_F11);
	expect("guest+41 guest-41 guest+87 guest-87 ");
	tap(KEY_SCROLLLOCK);
	expect("H ");
	tap(KEY_PAUSE);
	expect("P ");
	/* A key that is not configured must not match code 0. */
	key(KEY_RESERVED, 1);
	key(KEY_RESERVED, 0);
	expect("guest+0 guest-0 ");
}
END_TEST

START_TEST(toggle_chords)
{
	struct router_keys keys = { .act = { { KEY_SPACE, { KEY_LEFTCTRL, KEY_LEFTALT } }, { KEY_SPACE, { KEY_LEFTMETA } }, { KEY_F12 } }, .pass = KEY_RIGHTCTRL };

	start(PRESENTATION_HIDDEN, &keys);
	tap(KEY_SPACE);
	key(KEY_LEFTCTRL, 1);
	tap(KEY_SPACE);
	expect("ui+57 ui-57 ui+29 ui+57 ui-57 ");
	key(KEY_LEFTALT, 1);
	key(KEY_LEFTSHIFT, 1); /* more than the chord needs */
	tap(KEY_SPACE);
	expect("ui+56 ui+42 ui-29 ui-42 ui-56 P ");
	tap(KEY_SPACE); /* the fingers count, not the side's keys */
	expect("H ");
	key(KEY_RIGHTCTRL, 1);
	tap(KEY_SPACE);
	expect("ui+97 ui-97 ui+57 ui-57 ");
	key(KEY_RIGHTCTRL, 0);
	key(KEY_LEFTALT, 0);
	tap(KEY_SPACE);
	expect("ui+57 ui-57 ");
	key(KEY_LEFTMETA, 1);
	tap(KEY_SPACE);
	tap(KEY_SPACE); /* shown already: consumed */
	expect("ui+125 ui-125 P ");
}
END_TEST

/* --- the pass key --- */

START_TEST(pass_key_types_a_toggle_key)
{
	static const uint16_t all[] = { KEY_GRAVE, KEY_F11, KEY_F12 };

	/* The side gets the key alone: it loses the pass key before. */
	key(KEY_RIGHTCTRL, 1);
	expect("ui+97 ");
	tap(KEY_GRAVE);
	expect("ui-97 ui+41 ui-41 ");
	/* As often as one likes while it is held; its release went before. */
	for (size_t i = 0; i < 3; i++)
		tap(all[i]);
	expect("ui+41 ui-41 ui+87 ui-87 ui+88 ui-88 ");
	key(KEY_RIGHTCTRL, 0);
	expect("");
	tap(KEY_F11);
	expect("P ");
	/* Other modifiers stay. */
	key(KEY_LEFTSHIFT, 1);
	key(KEY_RIGHTCTRL, 1);
	tap(KEY_GRAVE);
	expect("guest+42 guest+97 guest-97 guest+41 guest-41 ");
	key(KEY_RIGHTCTRL, 0);
	key(KEY_LEFTSHIFT, 0);
	expect("guest-42 ");
	/* Alone and with keys that do not toggle it is a key like others. */
	key(KEY_RIGHTCTRL, 1);
	tap(KEY_C);
	key(KEY_RIGHTCTRL, 0);
	expect("guest+97 guest+46 guest-46 guest-97 ");
}
END_TEST

START_TEST(passed_key_belongs_to_its_side_to_the_end)
{
	key_on(0, KEY_RIGHTCTRL, 1);
	key_on(1, KEY_GRAVE, 1); /* the chord may span two keyboards */
	expect("ui+97 ui-97 ui+41 ");
	key_on(0, KEY_RIGHTCTRL, 0);
	key_on(0, KEY_GRAVE, 1); /* held there already: no press, so no toggle */
	expect("");
	router_present(router, PRESENTATION_SHOW, 5);
	expect("ui-41 P ");
	key_on(0, KEY_GRAVE, 0);
	key_on(1, KEY_GRAVE, 0);
	expect("");
	tap(KEY_GRAVE);
	expect("H ");
	/* Held over a toggle it is no longer the side's, but still the finger's. */
	key(KEY_RIGHTCTRL, 1);
	router_present(router, PRESENTATION_SHOW, 5);
	expect("ui+97 ui-97 P ");
	tap(KEY_F12);
	expect("guest+88 guest-88 ");
	/* One pressed for the guest by command is none of the person's. */
	key(KEY_RIGHTCTRL, 0);
	guest_key(KEY_RIGHTCTRL, 1);
	tap(KEY_F12);
	expect("guest+97 H ");
}
END_TEST

/* --- terminals, statistics, power --- */

START_TEST(terminals)
{
	tap(KEY_F2);
	expect("ui+60 ui-60 ");
	key(KEY_LEFTCTRL, 1);
	tap(KEY_F2);
	expect("ui+29 ui+60 ui-60 ");
	key(KEY_RIGHTALT, 1);
	tap(KEY_F1);
	tap(KEY_F10);
	expect("ui+100 vt1 vt10 ");
	key(KEY_F3, 1);
	key(KEY_F3, 2); /* repeats ask once */
	expect("vt3 ");
	tap(KEY_F11); /* toggle keys else, but terminals have them as well */
	tap(KEY_F12);
	expect("vt11 vt12 ");
	tap(KEY_GRAVE);
	expect("ui-29 ui-100 P ");
	key(KEY_F3, 0);
	key(KEY_LEFTCTRL, 0);
	key(KEY_RIGHTALT, 0);
	tap(KEY_F2);
	expect("guest+60 guest-60 ");
	/* What is addressed to the guest is the guest's. */
	guest_key(KEY_LEFTCTRL, 1);
	guest_key(KEY_LEFTALT, 1);
	guest_key(KEY_F2, 1);
	expect("guest+29 guest+56 guest+60 ");
}
END_TEST

START_TEST(without_terminals_the_chord_is_keys_like_others)
{
	struct router_output output = { .deliver = on_deliver, .present = on_present, .data = trace };

	router = router_create(&router_keys_default, &output, PRESENTATION_HIDDEN);
	ck_assert_ptr_nonnull(router);
	key(KEY_LEFTCTRL, 1);
	key(KEY_LEFTALT, 1);
	tap(KEY_F2);
	expect("ui+29 ui+56 ui+60 ui-60 ");
	tap(KEY_F11);
	expect("ui-29 ui-56 P ");
}
END_TEST

/* Its key reaches nobody, whichever side is shown. */
START_TEST(chord_for_the_statistics)
{
	const struct router_keys keys = { .act = { [ROUTER_TOGGLE] = { KEY_GRAVE }, [ROUTER_STATS] = { KEY_S, { KEY_LEFTCTRL, KEY_LEFTALT } } }, .pass = KEY_RIGHTCTRL };
	teardown();
	start(PRESENTATION_HIDDEN, &keys);
	tap(KEY_S);
	expect("ui+31 ui-31 ");
	key(KEY_LEFTCTRL, 1);
	tap(KEY_S);
	expect("ui+29 ui+31 ui-31 ");
	key_on(1, KEY_LEFTALT, 1); /* another keyboard's counts */
	key(KEY_S, 1);
	key(KEY_S, 2);
	key(KEY_S, 0);
	expect("ui+56 stats ");
	/* Over a toggle the key stays nobody's, and what is held makes the chord for the other side. */
	key(KEY_S, 1);
	tap(KEY_GRAVE);
	key(KEY_S, 0);
	expect("stats ui-29 ui-56 P ");
	tap(KEY_S);
	expect("stats ");
	/* The pass key makes it a key like others here as well. */
	key(KEY_RIGHTCTRL, 1);
	tap(KEY_S);
	key(KEY_RIGHTCTRL, 0);
	expect("guest+97 guest-97 guest+31 guest-31 ");
	key(KEY_LEFTCTRL, 0);
	key_on(1, KEY_LEFTALT, 0);
	tap(KEY_S);
	expect("guest+31 guest-31 ");
	/* What is addressed to the guest is the guest's. */
	guest_key(KEY_LEFTCTRL, 1);
	guest_key(KEY_LEFTALT, 1);
	guest_key(KEY_S, 1);
	expect("guest+29 guest+56 guest+31 ");
	teardown();
	/* Without one no key is it, not even that with code 0. */
	start(PRESENTATION_PRESENTED, &router_keys_default);
	tap(KEY_RESERVED);
	expect("guest+0 guest-0 ");
}
END_TEST

static void on_power(void *data)
{
	ck_assert_ptr_eq(data, trace);
	strcat(trace, "power ");
}

START_TEST(power_key)
{
	struct router_output output = { .deliver = on_deliver, .present = on_present, .power = on_power, .data = trace };

	router = router_create(&router_keys_default, &output, PRESENTATION_HIDDEN);
	ck_assert_ptr_nonnull(router);
	key(KEY_POWER, 1);
	key(KEY_POWER, 2);
	key_on(1, KEY_POWER, 1); /* a second button, while the first is held */
	key(KEY_POWER, 0);
	key_on(1, KEY_POWER, 0);
	expect("power ");
	tap(KEY_GRAVE);
	tap(KEY_POWER);
	guest_key(KEY_POWER, 1);
	expect("P power guest+116 ");
	teardown();
	/* A key like others. */
	start(PRESENTATION_PRESENTED, &router_keys_default);
	tap(KEY_POWER);
	expect("guest+116 guest-116 ");
}
END_TEST

/* --- a screen that was dark --- */

static void swallow(uint32_t device, uint16_t type, uint16_t code, int32_t value)
{
	struct router_event event = { .time_ns = 1000, .device = device, .type = type, .code = code, .value = value };
	router_swallow(router, &event);
}

START_TEST(what_wakes_the_screen_is_nobodys)
{
	swallow(0, EV_KEY, KEY_A, 1);
	key(KEY_A, 0); /* its release comes when the screen is on */
	swallow(0, EV_REL, REL_X, 5);
	swallow(0, EV_ABS, ABS_X, 5);
	expect("");
	tap(KEY_A);
	expect("ui+30 ui-30 ");
	ck_assert_uint_eq(router_held(router, ROUTER_UI), 0);
}
END_TEST

START_TEST(waking_finger_and_pass_chord_stay_swallowed)
{
	swallow(4, EV_ABS, ABS_MT_TRACKING_ID, 0);
	MOVE(4, 0, 7);
	UP(4, 0);
	expect("");
	DOWN(4, 0);
	UP(4, 0);
	expect("uiv0 ui^0 ");
	/* A toggle key toggles when it wakes; one that would be typed does neither. */
	key(KEY_RIGHTCTRL, 1);
	swallow(0, EV_KEY, KEY_GRAVE, 1);
	key(KEY_GRAVE, 0);
	key(KEY_RIGHTCTRL, 0);
	expect("ui+97 ui-97 ");
}
END_TEST

START_TEST(waking_press_stays_swallowed_on_every_device)
{
	swallow(0, EV_KEY, KEY_A, 1);
	key_on(1, KEY_A, 1); /* the same key of another keyboard while it is held: one press of the seat */
	key_on(0, KEY_A, 0);
	key_on(1, KEY_A, 0);
	expect("");
	key_on(1, KEY_A, 1);
	key_on(1, KEY_A, 0);
	expect("ui+30 ui-30 ");
	/* the other way round: what was held before the screen went off is still released where it was pressed */
	key_on(0, KEY_A, 1);
	swallow(1, EV_KEY, KEY_A, 1);
	key_on(1, KEY_A, 0);
	expect("ui+30 ");
	key_on(0, KEY_A, 0);
	expect("ui-30 ");
}
END_TEST

START_TEST(waking_device_goes_away)
{
	swallow(3, EV_KEY, KEY_A, 1);
	router_device_gone(router, 3, 2000);
	expect("");
	key_on(4, KEY_A, 1);
	expect("ui+30 ");
}
END_TEST

START_TEST(toggle_keys_wake_and_act)
{
	swallow(0, EV_KEY, KEY_F11, 1);
	expect("P ");
	key(KEY_F11, 0);
	swallow(0, EV_KEY, KEY_GRAVE, 1);
	key(KEY_GRAVE, 0);
	expect("H ");
	swallow(0, EV_KEY, KEY_LEFTCTRL, 1); /* a chord begun in the dark */
	key(KEY_LEFTALT, 1);
	key(KEY_F2, 1);
	expect("ui+56 vt2 ");
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("router-acts");
	TCase *machine = tcase_create("presentation");
	TCase *acts = tcase_create("acts");
	TCase *configured = tcase_create("configured");

	tcase_add_test(machine, machine_has_exactly_the_two_edges);
	suite_add_tcase(suite, machine);

	tcase_add_checked_fixture(acts, hidden, teardown);
	tcase_add_test(acts, seed_codes);
	tcase_add_test(acts, backtick_toggles_once_per_press);
	tcase_add_test(acts, repeat_never_toggles);
	tcase_add_test(acts, second_press_without_release_is_no_press);
	tcase_add_test(acts, f11_shows_and_f12_hides);
	tcase_add_test(acts, f11_presented_and_f12_hidden_change_nothing_and_are_consumed);
	tcase_add_test(acts, useless_show_releases_nothing);
	tcase_add_test(acts, toggle_key_works_with_modifiers_held);
	tcase_add_test(acts, toggle_keys_from_two_keyboards_count_as_one_key);
	tcase_add_test(acts, both_toggle_keys_down_together);
	tcase_add_test(acts, pass_key_types_a_toggle_key);
	tcase_add_test(acts, passed_key_belongs_to_its_side_to_the_end);
	tcase_add_test(acts, terminals);
	tcase_add_test(acts, chord_for_the_statistics);
	tcase_add_test(acts, what_wakes_the_screen_is_nobodys);
	tcase_add_test(acts, waking_finger_and_pass_chord_stay_swallowed);
	tcase_add_test(acts, waking_press_stays_swallowed_on_every_device);
	tcase_add_test(acts, waking_device_goes_away);
	tcase_add_test(acts, toggle_keys_wake_and_act);
	suite_add_tcase(suite, acts);

	tcase_add_checked_fixture(configured, NULL, teardown);
	tcase_add_test(configured, configured_keys_replace_the_defaults);
	tcase_add_test(configured, without_terminals_the_chord_is_keys_like_others);
	tcase_add_test(configured, toggle_chords);
	tcase_add_test(configured, power_key);
	suite_add_tcase(suite, configured);
	return suite;
}

UNIT_MAIN(make_suite)
