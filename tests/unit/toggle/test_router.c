/* The presentation machine and each rule of the router, one by one. */
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <string.h>

#include "toggle/presentation.h"
#include "toggle/router.h"
#include "unit.h"

static const struct router_keys default_keys = { .toggle = KEY_GRAVE, .show = KEY_F11, .hide = KEY_F12, .pass = KEY_RIGHTCTRL };

/* What came out, as text: "ui+30 " is a press of code 30 for the UI, "guest-30 " a release, "P " and "H " presentation changes. */
static char trace[2048];
static uint64_t last_time;
static struct router_event last_event;
static struct router *router;

static void on_deliver(void *data, enum router_sink sink, const struct router_event *event)
{
	const char *name = sink == ROUTER_GUEST ? "guest" : sink == ROUTER_UI ? "ui" : "nobody";
	size_t used = strlen(trace);

	ck_assert_ptr_eq(data, trace);
	last_event = *event;
	last_time = event->time_ns;
	if (event->type == EV_KEY)
		snprintf(trace + used, sizeof(trace) - used, "%s%c%u ", name, event->value == 0 ? '-' : event->value == 1 ? '+' : '*', event->code);
	else if (event->code == ABS_MT_TRACKING_ID)
		snprintf(trace + used, sizeof(trace) - used, "%s%c%u ", name, event->value < 0 ? '^' : 'v', event->slot);
	else if (event->code == ABS_MT_POSITION_X || event->code == ABS_MT_POSITION_Y)
		snprintf(trace + used, sizeof(trace) - used, "%s@%u=%d ", name, event->slot, event->value);
	else
		snprintf(trace + used, sizeof(trace) - used, "%s%s%u=%d ", name, event->type == EV_REL ? "rel" : "abs", event->code, event->value);
}

static void on_present(void *data, enum presentation state, uint64_t time_ns)
{
	ck_assert_ptr_eq(data, trace);
	/* The new state is in force when it is told, so that whoever asks then gets the same answer. */
	ck_assert_int_eq(router_presentation(router), state);
	last_time = time_ns;
	strcat(trace, state == PRESENTATION_PRESENTED ? "P " : "H ");
}

static void on_switch(void *data, int vt)
{
	size_t used = strlen(trace);

	ck_assert_ptr_eq(data, trace);
	snprintf(trace + used, sizeof(trace) - used, "vt%d ", vt);
}

static void on_stats(void *data)
{
	ck_assert_ptr_eq(data, trace);
	strcat(trace, "stats ");
}

static void start(enum presentation initial, const struct router_keys *keys)
{
	struct router_output output = { .deliver = on_deliver, .present = on_present, .switch_vt = on_switch, .stats = on_stats, .data = trace };

	trace[0] = '\0';
	router = router_create(keys, &output, initial);
	ck_assert_ptr_nonnull(router);
}

static void hidden(void)
{
	start(PRESENTATION_HIDDEN, &default_keys);
}

static void teardown(void)
{
	router_destroy(router);
	router = NULL;
}

static void send(uint32_t device, uint16_t type, uint16_t code, int32_t value, bool to_guest, uint64_t time_ns)
{
	struct router_event event = { .time_ns = time_ns, .device = device, .type = type, .code = code, .value = value, .to_guest = to_guest };
	router_handle(router, &event);
}

static void key(uint16_t code, int32_t value)
{
	send(0, EV_KEY, code, value, false, 1000);
}

static void key_on(uint32_t device, uint16_t code, int32_t value)
{
	send(device, EV_KEY, code, value, false, 1000);
}

static void guest_key(uint16_t code, int32_t value)
{
	send(9, EV_KEY, code, value, true, 1000);
}

static void tap(uint16_t code)
{
	key(code, 1);
	key(code, 0);
}

static void finger(uint32_t device, uint32_t slot, uint16_t code, int32_t value)
{
	struct router_event event = { .time_ns = 1000, .device = device, .type = EV_ABS, .code = code, .value = value, .slot = slot };
	router_handle(router, &event);
}

#define DOWN(device, slot) finger(device, slot, ABS_MT_TRACKING_ID, 0)
#define UP(device, slot) finger(device, slot, ABS_MT_TRACKING_ID, -1)
#define MOVE(device, slot, x) finger(device, slot, ABS_MT_POSITION_X, x)

/* Asserts what came out since the last call. */
static void expect(const char *text)
{
	ck_assert_str_eq(trace, text);
	trace[0] = '\0';
}

/* --- presentation machine --- */

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

/* Its key reaches nobody, whichever side is shown. */
START_TEST(chord_for_the_statistics)
{
	const struct router_keys keys = { .toggle = KEY_GRAVE, .pass = KEY_RIGHTCTRL, .stats = KEY_S, .with = { [3] = { KEY_LEFTCTRL, KEY_LEFTALT } } };
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
	start(PRESENTATION_PRESENTED, &default_keys);
	tap(KEY_RESERVED);
	expect("guest+0 guest-0 ");
}
END_TEST

START_TEST(without_terminals_the_chord_is_keys_like_others)
{
	struct router_output output = { .deliver = on_deliver, .present = on_present, .data = trace };

	router = router_create(&default_keys, &output, PRESENTATION_HIDDEN);
	ck_assert_ptr_nonnull(router);
	key(KEY_LEFTCTRL, 1);
	key(KEY_LEFTALT, 1);
	tap(KEY_F2);
	expect("ui+29 ui+56 ui+60 ui-60 ");
	tap(KEY_F11);
	expect("ui-29 ui-56 P ");
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

	router = router_create(&default_keys, &output, PRESENTATION_HIDDEN);
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
	start(PRESENTATION_PRESENTED, &default_keys);
	tap(KEY_POWER);
	expect("guest+116 guest-116 ");
}
END_TEST

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

START_TEST(toggle_chords)
{
	struct router_keys keys = { .toggle = KEY_SPACE, .show = KEY_SPACE, .hide = KEY_F12, .pass = KEY_RIGHTCTRL,
		.with = { { KEY_LEFTCTRL, KEY_LEFTALT }, { KEY_LEFTMETA } } };

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
	ck_assert_int_eq(default_keys.toggle, 0x29);
	ck_assert_int_eq(default_keys.show, 0x57);
	ck_assert_int_eq(default_keys.hide, 0x58);
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

START_TEST(configured_keys_replace_the_defaults)
{
	struct router_keys keys = { .toggle = KEY_PAUSE, .show = 0, .hide = KEY_SCROLLLOCK };

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

/* --- routing --- */

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
	Suite *suite = suite_create("router");
	TCase *machine = tcase_create("presentation");
	TCase *rules = tcase_create("rules");

	tcase_add_test(machine, machine_has_exactly_the_two_edges);
	suite_add_tcase(suite, machine);

	tcase_add_checked_fixture(rules, hidden, teardown);
	tcase_add_test(rules, terminals);
	tcase_add_test(rules, chord_for_the_statistics);
	tcase_add_test(rules, finger_belongs_to_the_side_it_touched);
	tcase_add_test(rules, fingers_of_two_screens_have_places_of_their_own);
	tcase_add_test(rules, pass_key_types_a_toggle_key);
	tcase_add_test(rules, passed_key_belongs_to_its_side_to_the_end);
	tcase_add_test(rules, seed_codes);
	tcase_add_test(rules, backtick_toggles_once_per_press);
	tcase_add_test(rules, repeat_never_toggles);
	tcase_add_test(rules, repeat_is_dropped_for_both_sides);
	tcase_add_test(rules, second_press_without_release_is_no_press);
	tcase_add_test(rules, f11_shows_and_f12_hides);
	tcase_add_test(rules, f11_presented_and_f12_hidden_change_nothing_and_are_consumed);
	tcase_add_test(rules, useless_show_releases_nothing);
	tcase_add_test(rules, toggle_key_works_with_modifiers_held);
	tcase_add_test(rules, toggle_keys_from_two_keyboards_count_as_one_key);
	tcase_add_test(rules, both_toggle_keys_down_together);
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
	tcase_add_test(rules, what_wakes_the_screen_is_nobodys);
	tcase_add_test(rules, waking_press_stays_swallowed_on_every_device);
	tcase_add_test(rules, waking_finger_and_pass_chord_stay_swallowed);
	tcase_add_test(rules, waking_device_goes_away);
	tcase_add_test(rules, toggle_keys_wake_and_act);
	suite_add_tcase(suite, rules);

	TCase *configured = tcase_create("configured");
	tcase_add_checked_fixture(configured, NULL, teardown);
	tcase_add_test(configured, configured_keys_replace_the_defaults);
	tcase_add_test(configured, without_terminals_the_chord_is_keys_like_others);
	tcase_add_test(configured, toggle_chords);
	tcase_add_test(configured, power_key);
	suite_add_tcase(suite, configured);
	return suite;
}

UNIT_MAIN(make_suite)
