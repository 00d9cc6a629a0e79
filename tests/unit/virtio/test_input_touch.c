/* The touch screen of virtio-input: what is declared, fingers and the pointer of the first one, lifts that are never lost (row I1). */
#include "input_fixture.h"
#include "unit.h"

static void setup(void)
{
	open_device(LINK_TOUCH);
}

START_TEST(declared_touch_screen)
{
	static const struct {
		uint16_t code;
		uint32_t max;
	} axes[] = { { ABS_X, 65535 }, { ABS_Y, 65535 }, { ABS_MT_SLOT, 9 }, { ABS_MT_POSITION_X, 65535 }, { ABS_MT_POSITION_Y, 65535 }, { ABS_MT_TRACKING_ID, 65535 } };
	uint8_t bytes[128];
	uint32_t max, set = 0;
	ck_assert_uint_eq(select_config(1, 0, bytes), strlen("rayvm touch screen"));
	ck_assert_uint_eq(select_config(3, 0, bytes), 8);
	ck_assert_uint_eq(bytes[4], 4);
	/* On the screen itself: a touch screen, no touchpad and no tablet. */
	ck_assert_uint_eq(select_config(0x10, 0, bytes), 1);
	ck_assert_uint_eq(bytes[0], 1 << INPUT_PROP_DIRECT);
	select_config(0x11, EV_KEY, bytes);
	for (uint32_t code = 0; code < 8 * sizeof(bytes); code++)
		ck_assert(bit(bytes, code) == (code == BTN_TOUCH));
	select_config(0x11, EV_ABS, bytes);
	for (uint32_t code = 0; code < 8 * sizeof(bytes); code++)
		set += bit(bytes, code);
	ck_assert_uint_eq(set, ARRAY_LEN(axes));
	for (size_t i = 0; i < ARRAY_LEN(axes); i++) {
		select_config(0x11, EV_ABS, bytes);
		ck_assert(bit(bytes, axes[i].code));
		ck_assert_uint_eq(select_config(0x12, (uint8_t)axes[i].code, bytes), 20);
		memcpy(&max, bytes + 4, 4);
		ck_assert_uint_eq(max, axes[i].max);
	}
	ck_assert_uint_eq(select_config(0x11, EV_REL, bytes), 0);
	ck_assert_uint_eq(select_config(0x11, EV_LED, bytes), 0);
}
END_TEST

#define SLOT(n) EV_ABS, ABS_MT_SLOT, n
#define DOWN(id) EV_ABS, ABS_MT_TRACKING_ID, id
#define UP EV_ABS, ABS_MT_TRACKING_ID, -1
#define AT(x, y) EV_ABS, ABS_MT_POSITION_X, x, EV_ABS, ABS_MT_POSITION_Y, y

static void expect_at(int32_t x, int32_t y, bool first)
{
	expect(EV_ABS, ABS_MT_POSITION_X, x);
	expect(EV_ABS, ABS_MT_POSITION_Y, y);
	if (first) {
		expect(EV_ABS, ABS_X, x);
		expect(EV_ABS, ABS_Y, y);
	}
}

START_TEST(fingers)
{
	give(RING);
	packet(4, SLOT(0), DOWN(7), AT(100, 200));
	expect(SLOT(0));
	expect(DOWN(7));
	expect_at(100, 200, true);
	expect_key(BTN_TOUCH, 1);
	/* The second finger is none of the pointer's. */
	packet(4, SLOT(3), DOWN(8), AT(-5, 70000));
	expect(SLOT(3));
	expect(DOWN(8));
	expect_at(0, 65535, false);
	expect(EV_SYN, SYN_REPORT, 0);
	/* What no finger does, and what is none of a touch screen's. */
	packet(3, SLOT(1), AT(1, 1));
	packet(2, SLOT(1), UP);
	packet(3, SLOT(10), DOWN(1), EV_ABS, ABS_MT_POSITION_X, 1);
	packet(3, SLOT(-1), DOWN(1), EV_ABS, ABS_MT_POSITION_X, 1);
	packet(1, DOWN(9));
	packet(2, SLOT(0), EV_KEY, BTN_TOUCH, 0);
	packet(2, EV_ABS, ABS_X, 5, EV_KEY, BTN_LEFT, 1);
	expect_nothing();
	/* The first goes: the other is the pointer from its next movement on. */
	packet(2, SLOT(0), UP);
	expect(SLOT(0));
	expect(UP);
	expect(EV_SYN, SYN_REPORT, 0);
	packet(3, SLOT(3), AT(9, 9));
	expect(SLOT(3));
	expect_at(9, 9, true);
	expect(EV_SYN, SYN_REPORT, 0);
	packet(2, SLOT(3), UP);
	expect(SLOT(3));
	expect(UP);
	expect_key(BTN_TOUCH, 0);
}
END_TEST

START_TEST(no_finger_stays_however_full) /* I1 */
{
	bool held[VINPUT_TOUCHES] = { false }, seen[VINPUT_TOUCHES] = { false }, pressed = false;
	uint32_t seed = 77, in_ring = 0, slot = 0;
	for (uint32_t i = 0; i < 40000; i++) {
		seed = seed * 1664525 + 1013904223;
		uint32_t finger = (seed >> 24) % VINPUT_TOUCHES, more = seed >> 16 & 7;
		bool end = i >= 39000; /* all up, and room */
		if ((end || seed >> 12 & 4) && in_ring + more <= RING) {
			give(more);
			in_ring += more;
			if (seed >> 8 & 1)
				driver_run(&d, EVENTS);
		}
		if (end)
			finger = i % VINPUT_TOUCHES;
		if (held[finger])
			packet(2, SLOT((int)finger), UP);
		else if (!end)
			packet(4, SLOT((int)finger), DOWN((int)(i & 0xffff)), AT(1, 2));
		held[finger] = !held[finger] && !end;
		struct input_event_seen event;
		while (next_event(&event)) {
			in_ring--;
			if (event.type == EV_ABS && event.code == ABS_MT_SLOT)
				slot = (uint32_t)event.value;
			if (event.type == EV_ABS && event.code == ABS_MT_TRACKING_ID) {
				ck_assert(event.value >= 0 || seen[slot]); /* lifts what it put down */
				seen[slot] = event.value >= 0;
			}
			if (event.type == EV_KEY)
				pressed = event.value;
			bool any = false;
			for (uint32_t k = 0; k < VINPUT_TOUCHES; k++)
				any |= seen[k];
			if (event.type == EV_SYN)
				ck_assert(any == pressed);
		}
	}
	ck_assert_uint_gt(stats.input_dropped, 1000);
	for (uint32_t k = 0; k < VINPUT_TOUCHES; k++)
		ck_assert_msg(!seen[k], "finger %u stays", k);
}
END_TEST

/* The driver is loaded again with a finger on the screen: the new one knows of none, and hears of none that came before its time. */
START_TEST(reload_with_a_finger_down)
{
	give(RING);
	packet(4, SLOT(0), DOWN(7), AT(100, 200));
	while (driver_used(&d, EVENTS, NULL, NULL))
		;
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	give(RING);
	packet(3, SLOT(0), AT(1, 1));
	packet(2, SLOT(0), UP);
	expect_nothing();
	packet(2, SLOT(0), DOWN(8));
	expect(SLOT(0));
	expect(DOWN(8));
	expect_key(BTN_TOUCH, 1);
}
END_TEST

/* Fingers that a saved state may not hold: where BTN_TOUCH says otherwise, beyond the last slot, owed a lift without a touch. */
START_TEST(fingers_of_a_state)
{
	static const struct {
		uint16_t touched, lifts_owed;
		bool button, ok;
	} row[] = { { 1, 0, true, true }, { 1u << 9 | 1, 1, true, true }, { 0, 0, false, true }, { 1, 0, false, false }, { 0, 0, true, false }, { 1u << 10, 0, true, false }, { 1, 2, true, false } };
	const struct virtio_device_ops *ops = vinput_device(input)->ops;
	struct vinput_state state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		ck_assert_uint_eq(ops->save(vinput_device(input), &state, sizeof(state)), sizeof(state));
		state.touched = row[i].touched;
		state.lifts_owed = row[i].lifts_owed;
		state.told[BTN_TOUCH / 64] = (uint64_t)row[i].button << BTN_TOUCH % 64;
		ck_assert_msg(ops->load(vinput_device(input), &state, sizeof(state)) == row[i].ok, "row %zu", i);
	}
	/* None on a keyboard. */
	reopen(LINK_KEYBOARD);
	ops->save(vinput_device(input), &state, sizeof(state));
	ck_assert(ops->load(vinput_device(input), &state, sizeof(state)));
	state.touched = 1;
	ck_assert(!ops->load(vinput_device(input), &state, sizeof(state)));
	state.told[BTN_TOUCH / 64] = 1ull << BTN_TOUCH % 64;
	ck_assert(!ops->load(vinput_device(input), &state, sizeof(state)));
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("input-touch");
	TCase *tc = tcase_create("touch");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, declared_touch_screen);
	tcase_add_test(tc, fingers);
	tcase_add_test(tc, no_finger_stays_however_full);
	tcase_add_test(tc, reload_with_a_finger_down);
	tcase_add_test(tc, fingers_of_a_state);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
