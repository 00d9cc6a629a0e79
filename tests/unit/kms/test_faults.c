/* A card that misbehaves: EBUSY, EACCES, EINVAL, flip events that never come or come late, monitors that come and go. */
#define LOG_MODULE "test"
#include "fake_panel.h"

START_TEST(busy)
{
	make(true);
	fake.fail = EBUSY;
	fake.fail_count = 3;
	ui_frame();
	UNTIL(ui_presented == 2);
	ck_assert_uint_eq(fake.failed, 3);
	ck_assert_uint_eq(fake.full, 1); /* no modeset because of it */
	ck_assert_uint_eq(fake.last.damage.w, W); /* nothing was dropped */
	unmake();
}
END_TEST

/* What the driver is told of damage: no less than what changed against the framebuffer before, and no more than both frames. */
START_TEST(damage_clips)
{
	make(true);
	ui_frame();
	UNTIL(ui_presented == 2);
	ui_frame_of((struct rect){1, 2, 3, 4});
	UNTIL(ui_presented == 3);
	ui_frame_of((struct rect){10, 2, 3, 4});
	UNTIL(ui_presented == 4);
	struct rect both = {1, 2, 12, 4};
	ck_assert_mem_eq(&fake.last.damage, &both, sizeof(both));
	/* kept over a commit that was not taken */
	fake.fail = EBUSY;
	fake.fail_count = 1;
	ui_frame_of((struct rect){10, 2, 3, 4});
	UNTIL(ui_presented == 5);
	struct rect last = {10, 2, 3, 4};
	ck_assert_mem_eq(&fake.last.damage, &last, sizeof(last));
	unmake();
}
END_TEST

START_TEST(denied)
{
	make(true);
	fake.fail = EACCES;
	fake.fail_count = 1;
	ui_frame();
	UNTIL(ui_presented == 2); /* answered in the dark */
	ck_assert_uint_eq(fake.commits, 1);
	UNTIL(fake.commits == 2); /* a second later */
	ck_assert_uint_eq(fake.full, 2);
	unmake();
}
END_TEST

START_TEST(refused)
{
	make(true);
	fake.fail = EINVAL;
	fake.fail_count = 1;
	ui_frame();
	UNTIL(ui_presented == 2);
	ck_assert_uint_eq(fake.failed, 1);
	ck_assert_uint_eq(fake.full, 2); /* the next rung: the whole state */
	/* refused for good: no loop */
	fake.fail_count = 1000;
	uint32_t before = fake.failed;
	ui_frame();
	settle(300);
	ck_assert_uint_eq(fake.failed - before, 2);
	fake.fail_count = 0;
	UNTIL(ui_presented == 3);
	unmake();
}
END_TEST

START_TEST(flip_lost)
{
	make(true);
	fake.hold_flips = true;
	ui_frame();
	UNTIL(fake.commits == 2);
	ui_frame();
	uint64_t start = clock_now_ns();
	UNTIL(fake.full == 2); /* the watchdog */
	fake.hold_flips = fake.pending = false;
	ck_assert_uint_ge(clock_now_ns() - start, NSEC_PER_SEC);
	UNTIL(ui_presented == 3);
	/* the lost event after all: nothing happens, and the next frame goes its way */
	fake.epoch--;
	eventfd_write(fake.base.fd, 1);
	ui_frame();
	UNTIL(ui_presented == 4);
	ck_assert_uint_eq(fake.full, 2);
	unmake();
}
END_TEST

/* The framebuffer of a flip that was never reported goes back to the worker, or its face stands still for want of one. */
START_TEST(flip_lost_behind_a_toggle)
{
	make(true);
	const struct face *face = &panel->face[PANEL_FACE_PLACEHOLDER];
	show(ui, 1, UI_BUFFER, 1, whole, whole);
	UNTIL(face->complete);
	fake.hold_flips = true;
	present(PRESENTATION_PRESENTED);
	UNTIL(fake.commits == 2);
	uint32_t lost = face->latest;
	show(ui, 1, UI_BUFFER, 2, whole, whole);
	UNTIL(face->latest != lost);
	UNTIL(fake.full == 2); /* the watchdog */
	fake.hold_flips = fake.pending = false;
	for (uint64_t number = 3; number < 6; number++) {
		show(ui, 1, UI_BUFFER, number, whole, whole);
		UNTIL(face->sequence[face->latest] == number && face->presented == number);
	}
	unmake();
}
END_TEST

START_TEST(session_lost_in_flight)
{
	make(true);
	fake.hold_flips = true;
	ui_frame();
	UNTIL(fake.commits == 2);
	panel_session(panel, false);
	ui_frame();
	UNTIL(ui_presented == 3);
	ck_assert_uint_eq(fake.commits, 2);
	panel_session(panel, true);
	ck_assert_uint_eq(fake.full, 2); /* at once, everything */
	fake.hold_flips = false;
	fake.pending = false;
	/* the flip event of before the loss comes late */
	fake.epoch = 2;
	eventfd_write(fake.base.fd, 1);
	ui_frame();
	UNTIL(ui_presented == 4);
	unmake();
}
END_TEST

START_TEST(monitor_comes_and_goes)
{
	make(false);
	UNTIL(ui_presented == 1);
	hear();
	ck_assert_uint_eq(display_w, 1280); /* a size to draw for */
	ck_assert_uint_eq(fake.commits, 0);
	struct status status;
	status_board_read(board, &status);
	ck_assert_uint_eq(status.n_outputs, 0);
	ck_assert_int_eq(status.line[STATUS_DISPLAY].tag, STATUS_BUSY);

	fake.connected = true;
	eventfd_write(fake.base.hotplug_fd, 1);
	UNTIL(fake.commits == 1);
	UNTIL(display_w == W);
	status_board_read(board, &status);
	ck_assert_uint_eq(status.n_outputs, 1);
	ck_assert_int_eq(status.line[STATUS_DISPLAY].tag, STATUS_OK);

	fake.connected = false;
	eventfd_write(fake.base.hotplug_fd, 1);
	status.n_outputs = 1;
	UNTIL((status_board_read(board, &status), status.n_outputs == 0));
	uint32_t commits = fake.commits;
	ui_frame();
	UNTIL(ui_presented == ui_sequence);
	ck_assert_uint_eq(fake.commits, commits);

	/* again, larger: new framebuffers, and the old ones go after the first flip of the new */
	fake.width = 2 * W;
	fake.connected = true;
	eventfd_write(fake.base.hotplug_fd, 1);
	UNTIL(fake.commits > commits && fake.last.buffer->width == 2 * W);
	UNTIL(display_w == 2 * W);
	UNTIL(fake.freed > 0);
	ck_assert_uint_eq(stats.modesets, fake.full);
	/* a hot-plug event without a change does nothing */
	commits = fake.commits;
	eventfd_write(fake.base.hotplug_fd, 1);
	settle(100);
	ck_assert_uint_eq(fake.commits, commits);
	unmake();
}
END_TEST

static _Atomic bool worker_goes_on;

static void hold_worker(void *data, struct backend *backend)
{
	(void)data;
	(void)backend;
	while (!worker_goes_on)
		usleep(1000);
}

/* While a face is on the screen the worker says nothing of its frames, and now it is late with that: a producer whose face was just hidden is not told of an old one again. */
START_TEST(hidden_before_a_slow_worker)
{
	make(true);
	for (uint32_t i = 2; i < 6; i++) {
		ui_frame();
		UNTIL(ui_presented == ui_sequence);
	}
	worker_goes_on = false;
	ck_assert(panel_work(panel, hold_worker, NULL));
	present(PRESENTATION_PRESENTED);
	settle(100); /* several refreshes */
	ck_assert_uint_eq(ui_presented, 5);
	worker_goes_on = true;
	ui_frame();
	UNTIL(ui_presented == 6);
	unmake();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-faults");
	TCase *c = tcase_create("card");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, busy);
	tcase_add_test(c, damage_clips);
	tcase_add_test(c, denied);
	tcase_add_test(c, refused);
	tcase_add_test(c, flip_lost);
	tcase_add_test(c, flip_lost_behind_a_toggle);
	tcase_add_test(c, session_lost_in_flight);
	tcase_add_test(c, monitor_comes_and_goes);
	tcase_add_test(c, hidden_before_a_slow_worker);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
