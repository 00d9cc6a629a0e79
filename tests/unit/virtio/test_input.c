/* virtio-input through registers and rings, keyboard and pointers: what is declared, whole packets, releases that are never lost (rows I1-I3). */
#include "input_fixture.h"
#include "unit.h"

static void setup(void)
{
	open_device(LINK_KEYBOARD);
}

static void key(uint16_t code, int value)
{
	packet(1, EV_KEY, code, value);
}

/* Whether the driver would notify (EVENT_IDX) for the last buffer it gave: what Linux' vring_need_event() decides. */
static bool would_kick(uint32_t given)
{
	uint16_t now = d.queue[EVENTS].avail[1], old = (uint16_t)(now - given);
	uint16_t event = d.queue[EVENTS].used[2 + 4 * RING];
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

/* What the guest sees of its keys, whose buffers it takes back. */
static void see_keys(bool *down, uint32_t *in_ring)
{
	struct input_event_seen event;
	while (next_event(&event)) {
		(*in_ring)--;
		if (event.type == EV_KEY)
			down[event.code] = event.value;
	}
}

START_TEST(declared)
{
	const char *const name[] = { "rayvm keyboard", "rayvm mouse", "rayvm tablet" };
	uint8_t bytes[128];
	for (uint32_t i = 0; i < 3; i++) {
		ck_assert_uint_eq(select_config(0x10, 0, bytes), 0);
		reopen((enum link_device)i);
		ck_assert_uint_eq(select_config(1, 0, bytes), strlen(name[i]));
		ck_assert_mem_eq(bytes, name[i], strlen(name[i]));
		ck_assert_uint_eq(select_config(3, 0, bytes), 8);
		ck_assert_uint_eq(bytes[0], BUS_VIRTUAL);
		ck_assert_uint_eq(bytes[4], i + 1);
		bool pointer = i != LINK_KEYBOARD;
		select_config(0x11, EV_KEY, bytes);
		/* udev calls a device a keyboard when it has all of the first 31 keys, a mouse when it has BTN_LEFT. */
		for (uint32_t code = 1; code < 32; code++)
			ck_assert(bit(bytes, code) == !pointer);
		ck_assert(bit(bytes, KEY_GRAVE) == !pointer);
		ck_assert(!bit(bytes, 0));
		ck_assert(bit(bytes, BTN_LEFT) == pointer);
		ck_assert(bit(bytes, BTN_MIDDLE) == pointer);
		ck_assert(!bit(bytes, BTN_TRIGGER));
		ck_assert(!bit(bytes, BTN_TOUCH));
		ck_assert_uint_eq(select_config(0x11, EV_REL, bytes), i == 0 ? 0 : 2);
		ck_assert(bit(bytes, REL_X) == (i == LINK_POINTER_RELATIVE));
		ck_assert(bit(bytes, REL_WHEEL) == pointer);
		ck_assert(bit(bytes, REL_WHEEL_HI_RES) == pointer);
		ck_assert_uint_eq(select_config(0x11, EV_ABS, bytes), i == LINK_POINTER_ABSOLUTE ? 1 : 0);
		ck_assert_uint_eq(bytes[0], i == LINK_POINTER_ABSOLUTE ? 3 : 0);
		ck_assert_uint_eq(select_config(0x11, EV_LED, bytes), pointer ? 0 : 1);
		ck_assert_uint_eq(bytes[0], pointer ? 0 : 7);
		ck_assert((select_config(0x11, EV_REP, bytes) > 0) == !pointer);
		ck_assert_uint_eq(select_config(0x12, ABS_Y, bytes), i == LINK_POINTER_ABSOLUTE ? 20 : 0);
		uint32_t max;
		memcpy(&max, bytes + 4, 4);
		ck_assert_uint_eq(max, i == LINK_POINTER_ABSOLUTE ? VINPUT_ABS_MAX : 0);
	}
}
END_TEST

/* The driver is unloaded and loaded, or the guest boots again, in the middle of typing. */
START_TEST(reload_with_keys_held)
{
	give(RING);
	key(KEY_LEFTSHIFT, 1);
	key(KEY_A, 1);
	expect_key(KEY_LEFTSHIFT, 1);
	expect_key(KEY_A, 1);
	driver_write(&d, d.common + R_STATUS, 0, 1);
	key(KEY_B, 1); /* nobody is there */
	key(KEY_A, 0);
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	give(RING);
	/* The new driver believes no key held, and hears of none that was pressed before its time. */
	key(KEY_LEFTSHIFT, 0);
	key(KEY_B, 0);
	expect_nothing();
	key(KEY_A, 1);
	key(KEY_A, 0);
	expect_key(KEY_A, 1);
	expect_key(KEY_A, 0);
	/* A release that was owed to the old one is not the new one's. */
	for (int i = 0; i < RING; i++)
		key(KEY_C, i % 2 == 0);
	ck_assert_uint_gt(stats.input_dropped, 0);
	while (driver_used(&d, EVENTS, NULL, NULL))
		;
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	give(RING);
	driver_run(&d, EVENTS);
	expect_nothing();
}
END_TEST

START_TEST(unknown_config) /* I3 */
{
	uint8_t bytes[128], zeros[128] = { 0 };
	uint32_t known = 0;
	for (uint32_t select = 0; select < 256; select++) {
		for (uint32_t subsel = 0; subsel < 256; subsel++) {
			driver_write(&d, d.config, select | subsel << 8, 2);
			uint64_t size = driver_read(&d, d.config + 2, 1);
			ck_assert_uint_le(size, 128);
			if (size > 0)
				known++;
			bool may = (select == 1 && subsel == 0) || (select == 3 && subsel == 0) || (select == 0x11 && subsel < 32) || select == 0x12;
			ck_assert_msg(size == 0 || may, "select %u subsel %u", select, subsel);
		}
	}
	ck_assert_uint_eq(known, 5); /* name, ids, keys, LEDs, repeat */
	ck_assert_uint_eq(select_config(0x77, 9, bytes), 0);
	ck_assert_mem_eq(bytes, zeros, 128);
	/* Nothing but the selectors can be written. */
	driver_write(&d, d.config, 1, 1);
	driver_write(&d, d.config + 1, 0, 1);
	driver_write(&d, d.config + 2, 99, 1);
	driver_write(&d, d.config + 8, UINT64_MAX, 8);
	ck_assert_uint_eq(select_config(1, 0, bytes), 14);
	ck_assert_uint_eq(bytes[0], 'r');
}
END_TEST

START_TEST(keys_arrive)
{
	give(RING);
	key(KEY_A, 1);
	expect_key(KEY_A, 1);
	ck_assert_uint_eq(driver_interrupts(&d, 1), 1);
	key(KEY_A, 2); /* the guest repeats by itself */
	expect_nothing();
	key(KEY_A, 0);
	expect_key(KEY_A, 0);
	key(KEY_B, 0); /* never pressed */
	key(BTN_LEFT, 1); /* not of a keyboard */
	packet(2, EV_REL, REL_X, 1, EV_LED, LED_NUML, 1);
	packet(1, EV_KEY, 0xffff, 1);
	packet(0);
	expect_nothing();
	packet(2, EV_KEY, KEY_C, 1, EV_KEY, KEY_C, 0);
	expect(EV_KEY, KEY_C, 1);
	expect(EV_KEY, KEY_C, 0);
	expect(EV_SYN, SYN_REPORT, 0);
	struct histogram_summary summary;
	histogram_summarise(&stats.key_guest_us, &summary);
	ck_assert_uint_eq(summary.count, 3);
	ck_assert_uint_ge(summary.max, 3000);
	ck_assert_uint_lt(summary.max, 2000000);
	ck_assert_uint_eq(stats.input_dropped, 0);
	/* Another device's packet, and a count that lies. */
	struct link_message message = { .type = LINK_INPUT };
	message.input.device = LINK_POINTER_RELATIVE;
	message.input.count = 1;
	message.input.event[0] = (struct link_event){ EV_KEY, KEY_D, 1 };
	vinput_packet(input, &message);
	expect_nothing();
	message.input.device = LINK_KEYBOARD;
	message.input.count = UINT32_MAX;
	vinput_packet(input, &message);
	expect_key(KEY_D, 1);
}
END_TEST

START_TEST(pointers)
{
	reopen(LINK_POINTER_RELATIVE);
	give(RING);
	packet(4, EV_REL, REL_X, -5, EV_REL, REL_Y, 7, EV_REL, REL_WHEEL, -1, EV_REL, REL_WHEEL_HI_RES, -120);
	expect(EV_REL, REL_X, -5);
	expect(EV_REL, REL_Y, 7);
	expect(EV_REL, REL_WHEEL, -1);
	expect(EV_REL, REL_WHEEL_HI_RES, -120);
	expect(EV_SYN, SYN_REPORT, 0);
	packet(1, EV_ABS, ABS_X, 5);
	expect_nothing();
	reopen(LINK_POINTER_ABSOLUTE);
	give(RING);
	packet(3, EV_ABS, ABS_X, -5, EV_ABS, ABS_Y, 70000, EV_KEY, BTN_LEFT, 1);
	expect(EV_ABS, ABS_X, 0);
	expect(EV_ABS, ABS_Y, VINPUT_ABS_MAX);
	expect(EV_KEY, BTN_LEFT, 1);
	expect(EV_SYN, SYN_REPORT, 0);
	packet(2, EV_REL, REL_X, 1, EV_ABS, ABS_Z, 1);
	expect_nothing();
}
END_TEST

START_TEST(whole_or_not_at_all) /* I1 */
{
	give(6);
	packet(3, EV_KEY, KEY_A, 1, EV_KEY, KEY_B, 1, EV_KEY, KEY_C, 1);
	for (int i = 0; i < 4; i++)
		ck_assert(driver_used(&d, EVENTS, NULL, NULL));
	packet(2, EV_KEY, KEY_D, 1, EV_KEY, KEY_E, 1); /* needs 3, there are 2 */
	expect_nothing();
	ck_assert_uint_eq(stats.input_dropped, 1);
	key(KEY_F, 1); /* fits */
	expect_key(KEY_F, 1);
	/* A dropped press has no release; a held key's release waits for room. */
	key(KEY_D, 0);
	key(KEY_B, 0);
	key(KEY_A, 0);
	key(KEY_G, 1);
	key(KEY_G, 0);
	key(KEY_A, 1); /* pressed again meanwhile: stays held */
	expect_nothing();
	give(1);
	ck_assert(would_kick(1));
	driver_run(&d, EVENTS);
	expect_nothing(); /* one buffer is no packet */
	give(1);
	ck_assert(would_kick(1));
	driver_run(&d, EVENTS);
	expect_key(KEY_B, 0);
	expect_nothing();
	give(2);
	driver_run(&d, EVENTS);
	expect_nothing(); /* nothing owed: the buffers stay for what comes */
	key(KEY_A, 0);
	expect_key(KEY_A, 0);
	expect_nothing();
}
END_TEST

START_TEST(no_key_stuck_however_full) /* I1 */
{
	/* Random keys, random room: at the end, with room, the guest's view equals ours. */
	bool held[256] = { false }, seen[256] = { false };
	uint32_t seed = 99, in_ring = 0;
	for (int i = 0; i < 20000; i++) {
		seed = seed * 1664525 + 1013904223;
		uint16_t code = (uint16_t)(1 + (seed >> 24) % 40);
		uint32_t more = seed >> 16 & 3;
		if (seed >> 12 & 8 && in_ring + more <= RING) {
			give(more);
			in_ring += more;
			if (seed >> 8 & 1)
				driver_run(&d, EVENTS);
		}
		held[code] = !held[code];
		key(code, held[code]);
		see_keys(seen, &in_ring);
	}
	ck_assert_uint_gt(stats.input_dropped, 1000);
	for (uint16_t code = 1; code <= 40; code++) {
		if (held[code])
			key(code, 0);
	}
	for (int round = 0; round < 50; round++) {
		give(RING - in_ring);
		in_ring = RING;
		driver_run(&d, EVENTS);
		see_keys(seen, &in_ring);
	}
	for (int code = 1; code <= 40; code++)
		ck_assert_msg(!seen[code], "key %d is stuck", code);
}
END_TEST

START_TEST(never_filled) /* I1 */
{
	for (int i = 0; i < 100000; i++)
		key((uint16_t)(1 + i % 200), i & 1);
	ck_assert_uint_gt(stats.input_dropped, 0);
	expect_nothing();
	give(4);
	driver_run(&d, EVENTS);
	expect_nothing(); /* nobody was told of a press */
}
END_TEST

START_TEST(bad_buffers)
{
	/* Too small; readable instead of writable. */
	for (int i = 0; i < 2; i++) {
		driver_start(&d, DRIVER_ALL_FEATURES, RING);
		for (int n = 0; n < 4; n++)
			driver_add(&d, EVENTS, &(struct driver_buf){ events, i == 0 ? 7 : 8 }, i, 1 - (uint32_t)i);
		key(KEY_A, 1);
		ck_assert_uint_ne(driver_status(&d) & S_NEEDS_RESET, 0);
		key(KEY_A, 0);
		driver_run(&d, EVENTS);
	}
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	d.queue[EVENTS].avail[1] = 1000;
	key(KEY_A, 1);
	ck_assert_uint_ne(driver_status(&d) & S_NEEDS_RESET, 0);
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	give(RING);
	key(KEY_A, 0); /* the reset made the guest forget it */
	expect_nothing();
	key(KEY_A, 1);
	expect_key(KEY_A, 1);
}
END_TEST

static uint64_t backlog_now = 1000 * NSEC_PER_SEC;

/* As packet(), through the backlog. */
static void type_key(struct vinput_backlog *backlog, uint16_t code, int value)
{
	struct link_message message = { .type = LINK_INPUT };
	message.input.device = kind;
	message.input.event[0] = (struct link_event){ EV_KEY, code, value };
	message.input.event[1] = (struct link_event){ EV_SYN, SYN_REPORT, 0 };
	message.input.count = 2;
	vinput_backlog_packet(backlog, &message, backlog_now);
}

START_TEST(backlog_waits_in_order)
{
	struct vinput_backlog *backlog = vinput_backlog_create(input);
	give(4);
	for (uint16_t i = 0; i < 100; i++) {
		type_key(backlog, (uint16_t)(1 + i), 1);
		type_key(backlog, (uint16_t)(1 + i), 0);
	}
	ck_assert_uint_eq(stats.input_dropped, 0);
	expect_key(1, 1);
	expect_key(1, 0);
	expect_nothing();
	for (uint16_t i = 1; i < 100; i++) {
		give(4);
		ck_assert(would_kick(4));
		driver_run(&d, EVENTS);
		backlog_now += NSEC_PER_SEC;
		vinput_backlog_run(backlog, backlog_now);
		expect_key((uint16_t)(1 + i), 1);
		expect_key((uint16_t)(1 + i), 0);
	}
	give(RING);
	vinput_backlog_run(backlog, backlog_now + NSEC_PER_SEC);
	expect_nothing();
	vinput_backlog_destroy(backlog);
}
END_TEST

START_TEST(backlog_paces_keys)
{
	struct vinput_backlog *backlog = vinput_backlog_create(input);
	uint64_t start = backlog_now, next = 0;
	give(RING);
	for (uint16_t i = 0; i < 12; i++)
		type_key(backlog, (uint16_t)(1 + i), 1);
	for (uint16_t i = 0; i < 8; i++) /* at once */
		expect_key((uint16_t)(1 + i), 1);
	expect_nothing();
	for (uint16_t i = 8; i < 12; i++) { /* then one each 10 ms */
		next = vinput_backlog_run(backlog, backlog_now);
		expect_nothing();
		ck_assert_uint_eq(next, start + (i - 7u) * 10 * NSEC_PER_MSEC);
		ck_assert_uint_eq(vinput_backlog_run(backlog, next - 1), next);
		expect_nothing();
		backlog_now = next;
		next = vinput_backlog_run(backlog, backlog_now);
		expect_key((uint16_t)(1 + i), 1);
	}
	ck_assert_uint_eq(next, UINT64_MAX);
	/* A hand is never held up. */
	give(24);
	driver_run(&d, EVENTS);
	for (uint16_t i = 0; i < 12; i++) {
		backlog_now += 15 * NSEC_PER_MSEC;
		type_key(backlog, (uint16_t)(1 + i), 0);
		expect_key((uint16_t)(1 + i), 0);
	}
	vinput_backlog_destroy(backlog);
}
END_TEST

START_TEST(backlog_does_not_fill_the_queue)
{
	struct vinput_backlog *backlog = vinput_backlog_create(input);
	give(RING);
	for (uint16_t i = 0; i < 40; i++, backlog_now += 100 * NSEC_PER_MSEC) /* typed while the guest's CPU stands still */
		type_key(backlog, (uint16_t)(1 + i), 1);
	for (uint16_t i = 0; i < 16; i++)
		expect_key((uint16_t)(1 + i), 1);
	expect_nothing();
	/* Each buffer that it gives back is room for more. */
	for (uint16_t i = 16; i < 40; i++) {
		give(2);
		ck_assert(would_kick(2));
		driver_run(&d, EVENTS);
		vinput_backlog_run(backlog, backlog_now);
		expect_key((uint16_t)(1 + i), 1);
		expect_nothing();
		backlog_now += 20 * NSEC_PER_MSEC;
	}
	ck_assert_uint_eq(stats.input_dropped, 0);
	/* The next driver has a smaller queue. */
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	give(4);
	type_key(backlog, KEY_A, 1);
	type_key(backlog, KEY_B, 1);
	expect_key(KEY_A, 1);
	expect_key(KEY_B, 1);
	vinput_backlog_destroy(backlog);
}
END_TEST

START_TEST(backlog_that_overflows_leaves_no_key_down)
{
	struct vinput_backlog *backlog = vinput_backlog_create(input);
	bool down[KEY_CNT] = { false };
	give(2);
	type_key(backlog, KEY_A, 1); /* delivered: its release must come whatever happens */
	expect_key(KEY_A, 1);
	down[KEY_A] = true;
	for (uint32_t i = 0; i < 5000; i++) {
		type_key(backlog, (uint16_t)(KEY_Z + i % 5), i / 5 % 2 == 0);
		if (i == 10)
			type_key(backlog, KEY_A, 0);
	}
	ck_assert_uint_gt(stats.input_dropped, 0);
	uint32_t in_ring = 0;
	for (int round = 0; round < 400; round++) {
		give(RING - in_ring);
		in_ring = RING;
		driver_run(&d, EVENTS);
		backlog_now += NSEC_PER_SEC;
		vinput_backlog_run(backlog, backlog_now);
		see_keys(down, &in_ring);
	}
	for (uint32_t code = 0; code < KEY_CNT; code++)
		ck_assert_msg(!down[code], "key %u is stuck", code);
	vinput_backlog_destroy(backlog);
}
END_TEST

static void status_event(uint16_t type, uint16_t code, uint32_t value, uint32_t size)
{
	uint16_t event[4] = { type, code, (uint16_t)value, (uint16_t)(value >> 16) };
	memcpy(driver_ptr(&d, leds_page), event, 8);
	driver_add(&d, STATUS, &(struct driver_buf){ leds_page, size }, 1, 0);
	driver_kick(&d, STATUS);
	ck_assert(driver_run(&d, STATUS));
	uint32_t length;
	ck_assert(driver_used(&d, STATUS, NULL, &length));
	ck_assert_uint_eq(length, 0);
}

START_TEST(lights) /* I2 */
{
	uint32_t leds = 99;
	ck_assert(!vinput_take_leds(input, &leds));
	ck_assert_uint_eq(leds, 0);
	status_event(EV_LED, LED_CAPSL, 1, 8);
	status_event(EV_LED, LED_NUML, 1, 8);
	ck_assert(vinput_take_leds(input, &leds));
	ck_assert_uint_eq(leds, 1 << LED_CAPSL | 1 << LED_NUML);
	ck_assert(!vinput_take_leds(input, &leds));
	/* Anything else must not come through. */
	status_event(EV_LED, LED_COMPOSE, 1, 8);
	status_event(EV_LED, 0x100, 1, 8);
	status_event(EV_LED, 0xffff, 1, 8);
	status_event(EV_KEY, KEY_A, 1, 8);
	status_event(EV_SND, SND_BELL, 1, 8);
	status_event(EV_REP, REP_DELAY, 1, 8);
	status_event(EV_LED, LED_SCROLLL, 1, 7);
	status_event(EV_SYN, SYN_REPORT, 0, 8);
	ck_assert(!vinput_take_leds(input, &leds));
	ck_assert_uint_eq(leds, 1 << LED_CAPSL | 1 << LED_NUML);
	status_event(EV_LED, LED_NUML, 0, 8);
	ck_assert(vinput_take_leds(input, &leds));
	ck_assert_uint_eq(leds, 1 << LED_CAPSL);
	/* A reset turns them off. */
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	ck_assert(vinput_take_leds(input, &leds));
	ck_assert_uint_eq(leds, 0);
	reopen(LINK_POINTER_RELATIVE);
	status_event(EV_LED, LED_CAPSL, 1, 8);
	ck_assert(!vinput_take_leds(input, &leds));
}
END_TEST

START_TEST(pause_keeps_releases)
{
	struct virtio_device *device = vinput_device(input);
	give(RING);
	key(KEY_A, 1);
	expect_key(KEY_A, 1);
	device->ops->pause(device);
	key(KEY_A, 0);
	key(KEY_B, 1);
	driver_run(&d, EVENTS);
	expect_nothing();
	device->ops->resume(device);
	uint64_t count;
	ck_assert_int_eq(read(device->kick_fd[EVENTS], &count, 8), 8);
	driver_run(&d, EVENTS);
	expect_key(KEY_A, 0);
	expect_nothing();
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("input");
	TCase *tc = tcase_create("input");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, declared);
	tcase_add_test(tc, reload_with_keys_held);
	tcase_add_test(tc, unknown_config);
	tcase_add_test(tc, keys_arrive);
	tcase_add_test(tc, pointers);
	tcase_add_test(tc, whole_or_not_at_all);
	tcase_add_test(tc, no_key_stuck_however_full);
	tcase_add_test(tc, never_filled);
	tcase_add_test(tc, backlog_waits_in_order);
	tcase_add_test(tc, backlog_paces_keys);
	tcase_add_test(tc, backlog_does_not_fill_the_queue);
	tcase_add_test(tc, backlog_that_overflows_leaves_no_key_down);
	tcase_add_test(tc, bad_buffers);
	tcase_add_test(tc, lights);
	tcase_add_test(tc, pause_keeps_releases);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
