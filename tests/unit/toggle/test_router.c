/* Who owns what: each rule of the router, one by one. */
#include "router_rig.h"

/* --- routing --- */

START_TEST(repeat_is_dropped_for_both_sides)
{
	key(KEY_A, 1);
	key(KEY_A, 2);
	key(KEY_A, 0);
	expect("ui+30 ui-30 ");
	tap(KEY_GRAVE);
	key(KEY_A, 1);
	key(KEY_A, 2);
	key(KEY_A, 0);
	expect("P guest+30 guest-30 ");
}
END_TEST

START_TEST(everything_goes_to_the_side_shown)
{
	tap(KEY_A);
	send(3, EV_REL, REL_X, -4, false, 5);
	send(3, EV_ABS, ABS_Y, 65535, false, 5);
	tap(BTN_LEFT);
	expect("ui+30 ui-30 uirel0=-4 uiabs1=65535 ui+272 ui-272 ");
	tap(KEY_F11);
	expect("P ");
	tap(KEY_A);
	send(3, EV_REL, REL_WHEEL, 1, false, 5);
	send(3, EV_ABS, ABS_X, 0, false, 5);
	tap(BTN_LEFT);
	expect("guest+30 guest-30 guestrel8=1 guestabs0=0 guest+272 guest-272 ");
}
END_TEST

START_TEST(events_arrive_unchanged)
{
	struct router_event event = { .time_ns = 77, .device = 5, .type = EV_REL, .code = REL_HWHEEL_HI_RES, .value = -119, .to_guest = false };
	router_handle(router, &event);
	ck_assert_int_eq(memcmp(&event, &last_event, sizeof(event)), 0);
}
END_TEST

START_TEST(nonsense_goes_nowhere)
{
	send(ROUTER_DEVICES, EV_KEY, KEY_A, 1, false, 1);
	send(0, EV_KEY, KEY_MAX + 1, 1, false, 1);
	send(0, EV_KEY, KEY_A, 3, false, 1);
	send(0, EV_KEY, KEY_A, -1, false, 1);
	send(0, EV_SYN, SYN_REPORT, 0, false, 1);
	send(0, EV_MSC, MSC_SCAN, 4, false, 1);
	send(0, EV_KEY, KEY_A, 0, false, 1);
	router_device_gone(router, ROUTER_DEVICES, 1);
	expect("");
	send(ROUTER_DEVICES - 1, EV_KEY, KEY_MAX, 1, false, 1);
	send(ROUTER_DEVICES - 1, EV_KEY, KEY_MAX, 0, false, 1);
	expect("ui+767 ui-767 ");
}
END_TEST

/* --- holds over a toggle (U-1, U-2) --- */

START_TEST(held_key_is_released_on_the_losing_side_before_the_change)
{
	key(KEY_A, 1);
	send(2, EV_KEY, BTN_LEFT, 1, false, 1000);
	expect("ui+30 ui+272 ");
	send(1, EV_KEY, KEY_GRAVE, 1, false, 4242);
	expect("ui-30 ui-272 P ");
	ck_assert_uint_eq(last_event.time_ns, 4242);
	ck_assert_uint_eq(last_event.device, 2);
	ck_assert_uint_eq(last_time, 4242);
	ck_assert_uint_eq(router_held(router, ROUTER_UI), 0);
	ck_assert_uint_eq(router_held(router, ROUTER_GUEST), 0);
	key(KEY_GRAVE, 0);
	key(KEY_A, 0);
	send(2, EV_KEY, BTN_LEFT, 0, false, 1000);
	expect("");
	tap(KEY_A);
	expect("guest+30 guest-30 ");
}
END_TEST

START_TEST(held_modifier_counts_as_up_on_the_gaining_side)
{
	tap(KEY_F11);
	key(KEY_LEFTSHIFT, 1);
	key(KEY_GRAVE, 1);
	expect("P guest+42 guest-42 H ");
	tap(KEY_A);
	key(KEY_LEFTSHIFT, 2);
	expect("ui+30 ui-30 ");
	key(KEY_LEFTSHIFT, 0);
	expect("");
	key(KEY_LEFTSHIFT, 1);
	expect("ui+42 ");
}
END_TEST

START_TEST(key_held_over_two_toggles_stays_swallowed)
{
	key(KEY_A, 1);
	tap(KEY_GRAVE);
	tap(KEY_GRAVE);
	expect("ui+30 ui-30 P H ");
	key(KEY_A, 2);
	key(KEY_A, 0);
	expect("");
}
END_TEST

START_TEST(toggle_key_released_on_the_other_side_is_swallowed)
{
	key(KEY_F11, 1);
	key(KEY_F12, 1);
	key(KEY_F11, 0);
	key(KEY_F12, 0);
	expect("P H ");
}
END_TEST

/* --- several keyboards --- */

START_TEST(two_keyboards_one_press_one_release)
{
	key_on(0, KEY_A, 1);
	key_on(1, KEY_A, 1);
	expect("ui+30 ");
	key_on(0, KEY_A, 0);
	expect("");
	ck_assert_uint_eq(router_held(router, ROUTER_UI), 1);
	key_on(1, KEY_A, 0);
	expect("ui-30 ");
	ck_assert_uint_eq(router_held(router, ROUTER_UI), 0);
}
END_TEST

START_TEST(toggle_between_the_presses_of_two_keyboards)
{
	key_on(0, KEY_A, 1);
	tap(KEY_GRAVE);
	expect("ui+30 ui-30 P ");
	/* The key is still down, so this is no first press; its owner is nobody until every finger is up. */
	key_on(1, KEY_A, 1);
	key_on(0, KEY_A, 0);
	key_on(1, KEY_A, 0);
	expect("");
	key_on(1, KEY_A, 1);
	expect("guest+30 ");
}
END_TEST

START_TEST(gone_device_releases_what_only_it_holds)
{
	key_on(0, KEY_A, 1);
	key_on(1, KEY_A, 1);
	key_on(1, KEY_B, 1);
	key_on(1, BTN_RIGHT, 1);
	expect("ui+30 ui+48 ui+273 ");
	router_device_gone(router, 1, 99);
	expect("ui-48 ui-273 ");
	ck_assert_uint_eq(last_time, 99);
	router_device_gone(router, 1, 99);
	expect("");
	router_device_gone(router, 0, 99);
	expect("ui-30 ");
}
END_TEST

START_TEST(gone_device_ends_a_swallowed_hold_silently)
{
	key_on(1, KEY_A, 1);
	tap(KEY_GRAVE);
	expect("ui+30 ui-30 P ");
	router_device_gone(router, 1, 99);
	expect("");
	tap(KEY_A);
	expect("guest+30 guest-30 ");
}
END_TEST

START_TEST(gone_device_frees_the_toggle_key)
{
	key_on(1, KEY_GRAVE, 1);
	router_device_gone(router, 1, 99);
	expect("P ");
	key_on(1, KEY_GRAVE, 1);
	expect("H ");
}
END_TEST

/* --- addressed events --- */

START_TEST(addressed_events_reach_the_guest_whatever_is_shown)
{
	guest_key(KEY_A, 1);
	guest_key(KEY_A, 0);
	send(9, EV_REL, REL_X, 3, true, 1);
	expect("guest+30 guest-30 guestrel0=3 ");
	ck_assert(last_event.to_guest);
	tap(KEY_F11);
	guest_key(KEY_A, 1);
	guest_key(KEY_A, 0);
	expect("P guest+30 guest-30 ");
}
END_TEST

START_TEST(addressed_events_never_toggle)
{
	static const uint16_t codes[] = { KEY_GRAVE, KEY_F11, KEY_F12 };

	for (int i = 0; i < 3; i++) {
		guest_key(codes[i], 1);
		guest_key(codes[i], 2);
		guest_key(codes[i], 0);
	}
	expect("guest+41 guest-41 guest+87 guest-87 guest+88 guest-88 ");
	ck_assert_int_eq(router_presentation(router), PRESENTATION_HIDDEN);
}
END_TEST

START_TEST(addressed_key_does_not_disturb_the_same_key_of_the_ui)
{
	key(KEY_A, 1);
	guest_key(KEY_A, 1);
	key(KEY_A, 0);
	guest_key(KEY_A, 0);
	expect("ui+30 guest+30 ui-30 guest-30 ");
	/* Nor does a held addressed grave keep the physical one from toggling. */
	guest_key(KEY_GRAVE, 1);
	key(KEY_GRAVE, 1);
	expect("guest+41 P ");
}
END_TEST

START_TEST(addressed_and_routed_hold_of_one_key_are_one_press_for_the_guest)
{
	tap(KEY_F11);
	key(KEY_A, 1);
	guest_key(KEY_A, 1);
	expect("P guest+30 ");
	key(KEY_A, 0);
	expect("");
	guest_key(KEY_A, 0);
	expect("guest-30 ");
	/* The toggle ends the routed hold only; the guest learns of the release when the addressed one ends. */
	guest_key(KEY_A, 1);
	key(KEY_A, 1);
	tap(KEY_GRAVE);
	expect("guest+30 H ");
	guest_key(KEY_A, 0);
	expect("guest-30 ");
	key(KEY_A, 0);
	expect("");
}
END_TEST

START_TEST(toggle_leaves_addressed_holds_alone)
{
	/* rayvmctl type --guest "A" with a toggle in the middle still types an A. */
	tap(KEY_F11);
	guest_key(KEY_LEFTSHIFT, 1);
	tap(KEY_GRAVE);
	guest_key(KEY_A, 1);
	guest_key(KEY_A, 0);
	guest_key(KEY_LEFTSHIFT, 0);
	expect("P guest+42 H guest+30 guest-30 guest-42 ");
}
END_TEST

/* --- commands --- */

START_TEST(command_does_what_a_key_does)
{
	key(KEY_A, 1);
	router_present(router, PRESENTATION_SHOW, 7);
	expect("ui+30 ui-30 P ");
	ck_assert_uint_eq(last_time, 7);
	router_present(router, PRESENTATION_SHOW, 8);
	expect("");
	key(KEY_A, 0);
	router_present(router, PRESENTATION_TOGGLE, 9);
	expect("H ");
	router_present(router, PRESENTATION_HIDE, 9);
	expect("");
}
END_TEST

START_TEST(release_all_of_one_side)
{
	tap(KEY_F11);
	key(KEY_A, 1);
	guest_key(KEY_B, 1);
	guest_key(KEY_A, 1);
	expect("P guest+30 guest+48 ");
	router_release_all(router, ROUTER_UI, 3);
	expect("");
	router_release_all(router, ROUTER_GUEST, 3);
	expect("guest-30 guest-48 ");
	ck_assert_uint_eq(router_held(router, ROUTER_GUEST), 0);
	key(KEY_A, 0);
	guest_key(KEY_A, 0);
	guest_key(KEY_B, 0);
	expect("");
	tap(KEY_B);
	expect("guest+48 guest-48 ");
}
END_TEST

START_TEST(release_all_of_both_sides)
{
	key(KEY_A, 1);
	guest_key(KEY_B, 1);
	expect("ui+30 guest+48 ");
	router_release_all(router, ROUTER_NOBODY, 3);
	expect("ui-30 guest-48 ");
	router_release_all(router, ROUTER_NOBODY, 3);
	key(KEY_A, 0);
	guest_key(KEY_B, 0);
	expect("");
}
END_TEST

/* --- fingers --- */

START_TEST(finger_belongs_to_the_side_it_touched)
{
	DOWN(4, 0);
	MOVE(4, 0, 70);
	expect("uiv0 ui@0=70 ");
	tap(KEY_GRAVE);
	expect("ui^0 P ");
	MOVE(4, 0, 80); /* it stays on the screen, for nobody */
	DOWN(4, 1);
	MOVE(4, 1, 90);
	expect("guestv1 guest@1=90 ");
	UP(4, 0);
	DOWN(4, 0);
	expect("guestv0 ");
	router_release_all(router, ROUTER_GUEST, 5);
	expect("guest^0 guest^1 ");
	UP(4, 0);
	UP(4, 1);
	UP(4, 1);
	MOVE(4, 1, 3);
	expect("");
}
END_TEST

START_TEST(fingers_of_two_screens_have_places_of_their_own)
{
	DOWN(4, 0);
	DOWN(5, 0);
	DOWN(5, 0); /* there already */
	MOVE(5, 0, 7);
	expect("uiv0 uiv1 ui@1=7 ");
	ck_assert_uint_eq(router_held(router, ROUTER_UI), 2);
	router_device_gone(router, 4, 9);
	expect("ui^0 ");
	DOWN(5, 4000000000u); /* a device may count as it likes */
	expect("uiv0 ");
	for (uint32_t slot = 1; slot < 12; slot++)
		DOWN(5, slot);
	expect("uiv2 uiv3 uiv4 uiv5 uiv6 uiv7 uiv8 uiv9 ");
	MOVE(5, 10, 1); /* the eleventh finger */
	UP(5, 10);
	expect("");
	router_device_gone(router, 5, 9);
	expect("ui^0 ui^1 ui^2 ui^3 ui^4 ui^5 ui^6 ui^7 ui^8 ui^9 ");
	ck_assert_uint_eq(router_held(router, ROUTER_UI), 0);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("router");
	TCase *rules = tcase_create("rules");

	tcase_add_checked_fixture(rules, hidden, teardown);
	tcase_add_test(rules, repeat_is_dropped_for_both_sides);
	tcase_add_test(rules, everything_goes_to_the_side_shown);
	tcase_add_test(rules, events_arrive_unchanged);
	tcase_add_test(rules, nonsense_goes_nowhere);
	tcase_add_test(rules, held_key_is_released_on_the_losing_side_before_the_change);
	tcase_add_test(rules, held_modifier_counts_as_up_on_the_gaining_side);
	tcase_add_test(rules, key_held_over_two_toggles_stays_swallowed);
	tcase_add_test(rules, toggle_key_released_on_the_other_side_is_swallowed);
	tcase_add_test(rules, two_keyboards_one_press_one_release);
	tcase_add_test(rules, toggle_between_the_presses_of_two_keyboards);
	tcase_add_test(rules, gone_device_releases_what_only_it_holds);
	tcase_add_test(rules, gone_device_ends_a_swallowed_hold_silently);
	tcase_add_test(rules, gone_device_frees_the_toggle_key);
	tcase_add_test(rules, addressed_events_reach_the_guest_whatever_is_shown);
	tcase_add_test(rules, addressed_events_never_toggle);
	tcase_add_test(rules, addressed_key_does_not_disturb_the_same_key_of_the_ui);
	tcase_add_test(rules, addressed_and_routed_hold_of_one_key_are_one_press_for_the_guest);
	tcase_add_test(rules, toggle_leaves_addressed_holds_alone);
	tcase_add_test(rules, command_does_what_a_key_does);
	tcase_add_test(rules, release_all_of_one_side);
	tcase_add_test(rules, release_all_of_both_sides);
	tcase_add_test(rules, finger_belongs_to_the_side_it_touched);
	tcase_add_test(rules, fingers_of_two_screens_have_places_of_their_own);
	suite_add_tcase(suite, rules);
	return suite;
}

UNIT_MAIN(make_suite)
