/* The pure part of the evdev backend: what a device is, and what its packets become. No device is needed: libevdev makes models. */
#include <libevdev/libevdev.h>
#include <limits.h>
#include <linux/input.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "toggle/input_backend.h"
#include "unit.h"

static struct libevdev *model;
static struct input input;
static struct evdev_packet packet;
static char trace[8192];
static int32_t fast_x; /* accelerated */
static uint64_t later_ns;

static void on_event(void *data, const struct router_event *event)
{
	size_t used = strlen(trace);

	(void)data;
	ck_assert_uint_eq(event->device, 7);
	ck_assert_uint_eq(event->time_ns, 3000000500000ull + later_ns);
	if (event->type == EV_REL && event->code == REL_X)
		fast_x += event->accelerated;
	if (event->type == EV_ABS && event->code >= ABS_MT_SLOT)
		used += (size_t)snprintf(trace + used, sizeof(trace) - used, "%u:", event->slot);
	snprintf(trace + used, sizeof(trace) - used, "%s=%d ", libevdev_event_code_get_name(event->type, event->code), event->value);
}

static void on_frame(void *data, uint32_t device, uint64_t time_ns)
{
	(void)data;
	ck_assert_uint_eq(device, 7);
	ck_assert_uint_eq(time_ns, 3000000500000ull + later_ns);
	strcat(trace, ". ");
}

static void setup(void)
{
	model = libevdev_new();
	memset(&input, 0, sizeof(input));
	input.config.event = on_event;
	input.config.frame = on_frame;
	trace[0] = '\0';
	fast_x = 0;
	later_ns = 0;
}

static void teardown(void)
{
	libevdev_free(model);
}

static void has(unsigned type, unsigned code)
{
	ck_assert_int_eq(libevdev_enable_event_code(model, type, code, NULL), 0);
}

static void has_axis(unsigned code, int min, int max, int resolution)
{
	struct input_absinfo info = { .minimum = min, .maximum = max, .resolution = resolution };
	ck_assert_int_eq(libevdev_enable_event_code(model, EV_ABS, code, &info), 0);
}

static void classified(bool wanted, bool wanted_keyboard, bool wanted_pointer)
{
	bool keyboard, pointer, used = evdev_classify(model, &keyboard, &pointer);

	ck_assert_int_eq(used, wanted);
	if (!wanted)
		return;
	ck_assert_int_eq(keyboard, wanted_keyboard);
	ck_assert_int_eq(pointer, wanted_pointer);
	input.device[7] = (struct input_device){ .input = &input, .number = 7, .used = true, .keyboard = keyboard, .pointer = pointer };
	evdev_packet_init(&packet, model, &input.device[7]);
}

static void feed(uint16_t type, uint16_t code, int32_t value)
{
	struct input_event event = { .type = type, .code = code, .value = value };

	event.input_event_sec = 3000;
	event.input_event_usec = 500 + (long)(later_ns / NSEC_PER_USEC);
	evdev_packet_event(&packet, &event);
}

static void sync_expect(const char *text)
{
	feed(EV_SYN, SYN_REPORT, 0);
	ck_assert_str_eq(trace, text);
	trace[0] = '\0';
}

static void make_keyboard(void)
{
	for (unsigned code = KEY_ESC; code <= KEY_F12; code++)
		has(EV_KEY, code);
}

static void make_mouse(void)
{
	has(EV_KEY, BTN_LEFT);
	has(EV_REL, REL_X);
	has(EV_REL, REL_Y);
	has(EV_REL, REL_WHEEL);
	has(EV_REL, REL_HWHEEL);
}

START_TEST(keyboard)
{
	make_keyboard();
	classified(true, true, false);
	feed(EV_MSC, MSC_SCAN, 0x29);
	feed(EV_KEY, KEY_GRAVE, 1);
	ck_assert_str_eq(trace, "");
	sync_expect("KEY_GRAVE=1 . ");
	feed(EV_KEY, KEY_GRAVE, 2);
	sync_expect("");
	feed(EV_KEY, KEY_GRAVE, 0);
	feed(EV_KEY, KEY_A, 1);
	sync_expect("KEY_GRAVE=0 KEY_A=1 . ");
	sync_expect("");
}
END_TEST

START_TEST(more_keys_than_a_packet_holds_are_all_sent_in_order)
{
	char expected[4096] = "";

	make_keyboard();
	classified(true, true, false);
	for (unsigned code = KEY_ESC; code < KEY_ESC + EVDEV_PACKET_KEYS + 5; code++) {
		feed(EV_KEY, (uint16_t)code, 1);
		snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "%s=1 ", libevdev_event_code_get_name(EV_KEY, code));
	}
	strcat(expected, ". ");
	sync_expect(expected);
}
END_TEST

START_TEST(mouse)
{
	make_mouse();
	classified(true, false, true);
	feed(EV_REL, REL_X, -5);
	feed(EV_REL, REL_Y, 9);
	feed(EV_KEY, BTN_LEFT, 1);
	sync_expect("REL_X=-5 REL_Y=9 BTN_LEFT=1 . ");
	/* A kernel or device without fine wheel events: both are made. */
	feed(EV_REL, REL_WHEEL, -2);
	feed(EV_REL, REL_HWHEEL, 1);
	sync_expect("REL_WHEEL_HI_RES=-240 REL_WHEEL=-2 REL_HWHEEL_HI_RES=120 REL_HWHEEL=1 . ");
	sync_expect("");
}
END_TEST

/* The guest gets every count as it is, the host's own pointer gets more of the fast ones. */
START_TEST(motion_is_accelerated_beside)
{
	make_mouse();
	classified(true, false, true);
	for (int i = 0; i < 50; i++) { /* 1 count in 8 ms */
		later_ns += 8 * NSEC_PER_MSEC;
		feed(EV_REL, REL_X, 1);
		sync_expect("REL_X=1 . ");
	}
	ck_assert_int_eq(fast_x, 50);
	fast_x = 0;
	for (int i = 0; i < 50; i++) { /* 5 counts a millisecond */
		later_ns += 8 * NSEC_PER_MSEC;
		feed(EV_REL, REL_X, -40);
		sync_expect("REL_X=-40 . ");
	}
	ck_assert_int_eq(fast_x, -50 * 80);
	fast_x = 0;
	for (int i = 0; i < 50; i++) { /* 1.25: half way; fractions are kept */
		later_ns += 4 * NSEC_PER_MSEC;
		feed(EV_REL, REL_X, 5);
		sync_expect("REL_X=5 . ");
	}
	ck_assert_int_eq(fast_x, 50 * 15 / 2);
}
END_TEST

START_TEST(gain)
{
	ck_assert(input_pointer_gain(0, 0, 0) == 1);
	ck_assert(input_pointer_gain(4, 0, 8 * NSEC_PER_MSEC) == 1);
	ck_assert(input_pointer_gain(16, 0, 8 * NSEC_PER_MSEC) == 2);
	ck_assert(input_pointer_gain(0, -10000, 8 * NSEC_PER_MSEC) == 2);
	ck_assert(input_pointer_gain(6, 8, 8 * NSEC_PER_MSEC) == 1.5);
	/* Of packets read at once each counts as a millisecond, and the first after a rest as 20. */
	ck_assert(input_pointer_gain(1, 0, 0) == input_pointer_gain(1, 0, NSEC_PER_MSEC));
	ck_assert(input_pointer_gain(25, 0, 3600 * NSEC_PER_SEC) == 1.5);
	ck_assert(input_pointer_gain(NAN, 0, 1) == 1);
	double last = 1;
	for (int counts = 1; counts < 100; counts++) {
		double now = input_pointer_gain(counts, 0, 8 * NSEC_PER_MSEC);
		ck_assert(now >= last && now <= 2);
		last = now;
	}
}
END_TEST

START_TEST(fine_wheel_makes_whole_detents)
{
	make_mouse();
	has(EV_REL, REL_WHEEL_HI_RES);
	classified(true, false, true);
	feed(EV_REL, REL_WHEEL_HI_RES, 50);
	sync_expect("REL_WHEEL_HI_RES=50 . ");
	/* The kernel's own detents are left out: they are made of the fine ones. */
	feed(EV_REL, REL_WHEEL_HI_RES, 80);
	feed(EV_REL, REL_WHEEL, 1);
	sync_expect("REL_WHEEL_HI_RES=80 REL_WHEEL=1 . ");
	feed(EV_REL, REL_WHEEL_HI_RES, 100);
	sync_expect("REL_WHEEL_HI_RES=100 . ");
	/* Turning back starts a new detent. */
	feed(EV_REL, REL_WHEEL_HI_RES, -119);
	sync_expect("REL_WHEEL_HI_RES=-119 . ");
	feed(EV_REL, REL_WHEEL_HI_RES, -1);
	sync_expect("REL_WHEEL_HI_RES=-1 REL_WHEEL=-1 . ");
}
END_TEST

START_TEST(tablet)
{
	/* As QEMU's: absolute axes and mouse buttons. */
	has(EV_KEY, BTN_LEFT);
	has_axis(ABS_X, 0, 32767, 0);
	has_axis(ABS_Y, -100, 100, 0);
	classified(true, false, true);
	feed(EV_ABS, ABS_X, 0);
	feed(EV_ABS, ABS_Y, -100);
	sync_expect("ABS_X=0 ABS_Y=0 . ");
	feed(EV_ABS, ABS_X, 32767);
	feed(EV_ABS, ABS_Y, 100);
	sync_expect("ABS_X=65535 ABS_Y=65535 . ");
	feed(EV_ABS, ABS_Y, 0);
	sync_expect("ABS_Y=32767 . ");
	feed(EV_ABS, ABS_X, 40000);
	feed(EV_ABS, ABS_Y, -40000);
	sync_expect("ABS_X=65535 ABS_Y=0 . ");
}
END_TEST

START_TEST(axes_of_the_widest_range)
{
	has(EV_KEY, BTN_LEFT);
	has_axis(ABS_X, INT_MIN, INT_MAX, 0);
	has_axis(ABS_Y, 5, 6, 0);
	classified(true, false, true);
	ck_assert(!evdev_lies(model));
	feed(EV_ABS, ABS_X, INT_MAX);
	feed(EV_ABS, ABS_Y, 5);
	sync_expect("ABS_X=65535 ABS_Y=0 . ");
	feed(EV_ABS, ABS_X, INT_MIN);
	feed(EV_ABS, ABS_Y, 50);
	sync_expect("ABS_X=0 ABS_Y=65535 . ");
}
END_TEST

START_TEST(axes_without_a_range)
{
	has(EV_KEY, BTN_LEFT);
	has_axis(ABS_X, 0, 100, 0);
	has_axis(ABS_Y, 5, 5, 0);
	ck_assert(evdev_lies(model));
	classified(false, false, false);
	/* What else it has is used. */
	make_keyboard();
	has(EV_REL, REL_X);
	has(EV_REL, REL_Y);
	has_axis(ABS_MT_SLOT, 0, 9, 0);
	has_axis(ABS_MT_TRACKING_ID, 0, 9, 0);
	has_axis(ABS_MT_POSITION_X, 9, 0, 0);
	has_axis(ABS_MT_POSITION_Y, 0, 9, 0);
	ck_assert(evdev_lies(model));
	classified(true, true, true);
	feed(EV_ABS, ABS_X, 50);
	feed(EV_ABS, ABS_MT_TRACKING_ID, 3);
	feed(EV_REL, REL_X, 2);
	feed(EV_KEY, KEY_A, 1);
	sync_expect("REL_X=2 KEY_A=1 . ");
}
END_TEST

START_TEST(touch_screen)
{
	libevdev_enable_property(model, INPUT_PROP_DIRECT);
	has(EV_KEY, BTN_TOUCH);
	has_axis(ABS_X, 0, 65535, 10);
	has_axis(ABS_Y, 0, 65535, 10);
	classified(true, false, true);
	/* The button is reported first by the kernel; the position must be told first. */
	feed(EV_KEY, BTN_TOUCH, 1);
	feed(EV_ABS, ABS_X, 100);
	feed(EV_ABS, ABS_Y, 200);
	sync_expect("ABS_X=100 ABS_Y=200 BTN_LEFT=1 . ");
	feed(EV_KEY, BTN_TOUCH, 0);
	sync_expect("BTN_LEFT=0 . ");
}
END_TEST

static void make_touch_screen(void)
{
	libevdev_enable_property(model, INPUT_PROP_DIRECT);
	has(EV_KEY, BTN_TOUCH);
	has_axis(ABS_X, 0, 4095, 10);
	has_axis(ABS_Y, 0, 4095, 10);
	has_axis(ABS_MT_SLOT, 0, 15, 0);
	has_axis(ABS_MT_TRACKING_ID, 0, 65535, 0);
	has_axis(ABS_MT_POSITION_X, 0, 4095, 10);
	has_axis(ABS_MT_POSITION_Y, 0, 4095, 10);
	classified(true, false, true);
	feed(EV_ABS, ABS_MT_SLOT, 0);
}

static void finger(int slot, int id, int x, int y)
{
	feed(EV_ABS, ABS_MT_SLOT, slot);
	feed(EV_ABS, ABS_MT_TRACKING_ID, id);
	if (id >= 0) {
		feed(EV_ABS, ABS_MT_POSITION_X, x);
		feed(EV_ABS, ABS_MT_POSITION_Y, y);
	}
}

#define DOWN_AT(slot, x, y) #slot ":ABS_MT_TRACKING_ID=0 " #slot ":ABS_MT_POSITION_X=" #x " " #slot ":ABS_MT_POSITION_Y=" #y " "
#define UP(slot) #slot ":ABS_MT_TRACKING_ID=-1 "

START_TEST(touch_screen_with_several_fingers)
{
	make_touch_screen();
	finger(0, 11, 4095, 0);
	feed(EV_KEY, BTN_TOUCH, 1); /* repeats what the slots say */
	feed(EV_ABS, ABS_X, 4095);
	sync_expect(DOWN_AT(0, 65535, 0) ". ");
	finger(1, 12, 0, 4095);
	feed(EV_ABS, ABS_MT_SLOT, 0);
	feed(EV_ABS, ABS_MT_POSITION_Y, 4095); /* only what changes is reported */
	sync_expect("0:ABS_MT_POSITION_X=65535 0:ABS_MT_POSITION_Y=65535 " DOWN_AT(1, 0, 65535) ". ");
	finger(0, -1, 0, 0);
	sync_expect(UP(0) ". ");
	/* Another finger in a slot whose lifting was lost, or came in the same packet. */
	finger(1, 13, 0, 0);
	sync_expect(UP(1) DOWN_AT(1, 0, 0) ". ");
	finger(1, -1, 0, 0);
	finger(1, 14, 4095, 4095);
	sync_expect(UP(1) DOWN_AT(1, 65535, 65535) ". ");
	/* Touched and lifted in one packet: nothing happened. */
	finger(2, 15, 1, 1);
	finger(2, -1, 0, 0);
	sync_expect("");
	finger(1, -1, 0, 0);
	feed(EV_KEY, BTN_TOUCH, 0);
	sync_expect(UP(1) ". ");
}
END_TEST

/* The kernel keeps a slot's coordinates over our coming and going, and reports only what differs from them. */
START_TEST(finger_where_the_last_one_was)
{
	libevdev_enable_property(model, INPUT_PROP_DIRECT);
	has_axis(ABS_MT_SLOT, 0, 15, 0);
	has_axis(ABS_MT_TRACKING_ID, 0, 65535, 0);
	has_axis(ABS_MT_POSITION_X, 0, 4095, 10);
	has_axis(ABS_MT_POSITION_Y, 0, 4095, 10);
	ck_assert_int_eq(libevdev_set_slot_value(model, 0, ABS_MT_POSITION_X, 4095), 0);
	ck_assert_int_eq(libevdev_set_slot_value(model, 0, ABS_MT_POSITION_Y, 4095), 0);
	classified(true, false, true);
	feed(EV_ABS, ABS_MT_SLOT, 0);
	feed(EV_ABS, ABS_MT_TRACKING_ID, 3);
	sync_expect(DOWN_AT(0, 65535, 65535) ". ");
}
END_TEST

/* Fingers on a mouse are none on a screen. */
START_TEST(mouse_that_feels_fingers)
{
	has(EV_REL, REL_X);
	has(EV_REL, REL_Y);
	has(EV_KEY, BTN_LEFT);
	has_axis(ABS_MT_SLOT, 0, 15, 0);
	has_axis(ABS_MT_TRACKING_ID, 0, 65535, 0);
	has_axis(ABS_MT_POSITION_X, -1100, 1258, 26);
	has_axis(ABS_MT_POSITION_Y, -1589, 2047, 70);
	classified(true, false, true);
	finger(0, 1, 10, 10);
	sync_expect("");
	feed(EV_REL, REL_X, 3);
	sync_expect("REL_X=3 . ");
}
END_TEST

START_TEST(touch_screen_with_slots_that_do_not_exist)
{
	make_touch_screen();
	for (int slot = -1; slot < 40; slot += slot == -1 ? 11 : 1) {
		finger(slot, 20 + slot, 1, 1);
		sync_expect("");
	}
	finger(INT_MAX, 1, 1, 1);
	sync_expect("");
	finger(9, 5, 0, 0);
	sync_expect(DOWN_AT(9, 0, 0) ". ");
	finger(9, INT_MIN, 0, 0);
	sync_expect(UP(9) ". ");
}
END_TEST

START_TEST(pen)
{
	has(EV_KEY, BTN_TOOL_PEN);
	has(EV_KEY, BTN_TOUCH);
	has(EV_KEY, BTN_STYLUS);
	has_axis(ABS_X, 0, 65535, 10);
	has_axis(ABS_Y, 0, 65535, 10);
	classified(true, false, true);
	feed(EV_KEY, BTN_TOOL_PEN, 1);
	feed(EV_ABS, ABS_X, 9);
	sync_expect("ABS_X=9 . ");
	feed(EV_KEY, BTN_TOUCH, 1);
	feed(EV_KEY, BTN_STYLUS, 1);
	sync_expect("BTN_LEFT=1 BTN_RIGHT=1 . ");
}
END_TEST

START_TEST(touchpad_is_a_mouse)
{
	libevdev_enable_property(model, INPUT_PROP_POINTER);
	has(EV_KEY, BTN_TOOL_FINGER);
	has(EV_KEY, BTN_TOUCH);
	has(EV_KEY, BTN_LEFT);
	has_axis(ABS_X, 0, 5000, 48); /* 12 pixels in a millimetre of 48 units: 4 units a pixel */
	has_axis(ABS_Y, 0, 2000, 0);  /* 1000 pixels over the pad: 2 units a pixel */
	classified(true, false, true);
	feed(EV_KEY, BTN_TOUCH, 1);
	feed(EV_KEY, BTN_TOOL_FINGER, 1);
	feed(EV_ABS, ABS_X, 1000);
	feed(EV_ABS, ABS_Y, 1000);
	sync_expect("");
	feed(EV_ABS, ABS_X, 1006);
	feed(EV_ABS, ABS_Y, 990);
	sync_expect("REL_X=1 REL_Y=-5 . ");
	/* The half pixel left over is not lost. */
	feed(EV_ABS, ABS_X, 1008);
	sync_expect("REL_X=1 . ");
	/* Finger up and down elsewhere: no jump. */
	feed(EV_KEY, BTN_TOUCH, 0);
	sync_expect("");
	feed(EV_KEY, BTN_TOUCH, 1);
	feed(EV_ABS, ABS_X, 4000);
	sync_expect("");
	feed(EV_KEY, BTN_LEFT, 1);
	sync_expect("BTN_LEFT=1 . ");
}
END_TEST

START_TEST(others)
{
	/* A power button has a key and is no keyboard. */
	has(EV_KEY, KEY_POWER);
	classified(true, false, false);
}
END_TEST

START_TEST(joystick)
{
	has(EV_KEY, BTN_TRIGGER);
	has(EV_KEY, BTN_GAMEPAD);
	has_axis(ABS_X, 0, 255, 0);
	has_axis(ABS_Y, 0, 255, 0);
	classified(false, false, false);
}
END_TEST

START_TEST(accelerometer)
{
	libevdev_enable_property(model, INPUT_PROP_ACCELEROMETER);
	has(EV_KEY, BTN_LEFT);
	has_axis(ABS_X, 0, 255, 0);
	has_axis(ABS_Y, 0, 255, 0);
	classified(false, false, false);
}
END_TEST

START_TEST(lid)
{
	has(EV_SW, SW_LID);
	classified(false, false, false);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("evdev-packet");
	TCase *tcase = tcase_create("packets");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, keyboard);
	tcase_add_test(tcase, more_keys_than_a_packet_holds_are_all_sent_in_order);
	tcase_add_test(tcase, mouse);
	tcase_add_test(tcase, motion_is_accelerated_beside);
	tcase_add_test(tcase, gain);
	tcase_add_test(tcase, fine_wheel_makes_whole_detents);
	tcase_add_test(tcase, tablet);
	tcase_add_test(tcase, axes_of_the_widest_range);
	tcase_add_test(tcase, axes_without_a_range);
	tcase_add_test(tcase, touch_screen);
	tcase_add_test(tcase, touch_screen_with_several_fingers);
	tcase_add_test(tcase, finger_where_the_last_one_was);
	tcase_add_test(tcase, mouse_that_feels_fingers);
	tcase_add_test(tcase, touch_screen_with_slots_that_do_not_exist);
	tcase_add_test(tcase, pen);
	tcase_add_test(tcase, touchpad_is_a_mouse);
	tcase_add_test(tcase, others);
	tcase_add_test(tcase, joystick);
	tcase_add_test(tcase, accelerometer);
	tcase_add_test(tcase, lid);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
