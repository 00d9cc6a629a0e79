/* A screen that is switched off: nothing is committed, producers are answered, outputs and sessions come and go, and one commit wakes it. */
#define LOG_MODULE "test"
#include "fake_panel.h"

/* And the time to see that nothing else comes of it; what has to come is waited for. */
static void probe_again(void)
{
	eventfd_write(fake.base.hotplug_fd, 1);
	settle(50);
}

static void off(void)
{
	ck_assert_int_eq(panel_blank(panel, true), 0);
	ck_assert_uint_eq(fake.blanks, 1);
	ck_assert(fake.dark);
}

/* Frames are taken and answered at the pace of the refresh, and nothing reaches the card. */
static void answered_in_the_dark(void)
{
	uint32_t commits = fake.commits;
	for (int i = 0; i < 3; i++) {
		ui_frame();
		UNTIL(ui_presented == ui_sequence);
	}
	ck_assert_uint_eq(fake.commits, commits);
}

/* One commit, a full one. */
static void wakes(void)
{
	uint32_t commits = fake.commits, full = fake.full;
	ck_assert_int_eq(panel_blank(panel, false), 0);
	ck_assert_uint_eq(fake.commits, commits + 1);
	ck_assert_uint_eq(fake.full, full + 1);
	ck_assert(!fake.dark);
	ui_frame(); /* and flips go on */
	UNTIL(ui_presented == ui_sequence);
	ck_assert_uint_ge(fake.commits, commits + 2);
	ck_assert_uint_eq(fake.full, full + 1);
}

START_TEST(off_and_on)
{
	struct status status;
	make(true);
	off();
	ck_assert_int_eq(panel_blank(panel, true), 0);
	ck_assert_uint_eq(fake.blanks, 1); /* it is off already */
	status_board_read(board, &status);
	ck_assert(status.blanked);
	answered_in_the_dark();
	wakes();
	status_board_read(board, &status);
	ck_assert(!status.blanked);
	unmake();
}
END_TEST

START_TEST(wakes_with_the_newest_picture)
{
	make(true);
	uint64_t refresh = panel_refresh_ns(&panel->screen[0]);
	off();
	fake.last.buffer = NULL;
	answered_in_the_dark();
	settle(300); /* a picture that nobody sees is made at most 10 times a second */
	const struct scanout_buffer *newest = panel->face[PANEL_FACE_UI].buffer[panel->face[PANEL_FACE_UI].latest];
	ck_assert_int_eq(panel_blank(panel, false), 0);
	ck_assert_ptr_eq(fake.last.buffer, newest);
	ck_assert_uint_eq(fake.last.damage.w, W);
	ck_assert_uint_eq(panel_refresh_ns(&panel->screen[0]), refresh);
	unmake();
}
END_TEST

START_TEST(off_with_a_flip_in_flight)
{
	make(true);
	fake.hold_flips = true;
	ui_frame();
	UNTIL(fake.pending);
	off();
	let_flips(); /* its event comes late */
	settle(20);
	ck_assert(!fake.pending);
	answered_in_the_dark();
	wakes();
	ck_assert_uint_eq(panel->screen[0].latch.lost, 0);
	unmake();
}
END_TEST

START_TEST(a_toggle_in_the_dark_is_one_commit)
{
	make(true);
	show(ui, 1, UI_BUFFER, ++ui_sequence, whole, whole); /* the placeholder */
	UNTIL(panel->face[PANEL_FACE_PLACEHOLDER].complete);
	off();
	uint32_t commits = fake.commits;
	present(PRESENTATION_PRESENTED);
	settle(20);
	ck_assert_uint_eq(fake.commits, commits);
	ck_assert_int_eq(panel_blank(panel, false), 0);
	ck_assert_uint_eq(fake.commits, commits + 1);
	ck_assert_int_eq(panel->screen[0].now.face, PANEL_FACE_PLACEHOLDER);
	settle(20);
	ck_assert_uint_eq(fake.commits, commits + 1);
	unmake();
}
END_TEST

START_TEST(unplugged_and_plugged_in_the_dark)
{
	make(true);
	off();
	uint32_t commits = fake.commits;
	fake.connected = false;
	probe_again();
	UNTIL(!panel->screen[0].output.connected);
	answered_in_the_dark();
	fake.connected = true;
	probe_again();
	UNTIL(panel->screen[0].output.connected);
	ck_assert_uint_eq(fake.commits, commits); /* monitors that sleep leave and come back: that wakes nobody */
	wakes();
	ck_assert(fake.last.buffer->width == W);
	unmake();
}
END_TEST

START_TEST(exchanged_in_the_dark)
{
	make(true);
	off();
	uint32_t commits = fake.commits;
	fake.width = 2 * W;
	probe_again();
	UNTIL(display_w == 2 * W);
	ck_assert_uint_eq(fake.commits, commits);
	UNTIL(panel->face[PANEL_FACE_UI].complete);
	wakes();
	ck_assert_uint_eq(fake.shown.width, 2 * W);
	unmake();
}
END_TEST

START_TEST(unplugged_in_the_dark_and_woken_without)
{
	make(true);
	off();
	uint32_t commits = fake.commits;
	fake.connected = false;
	probe_again();
	UNTIL(!panel->screen[0].output.connected);
	ck_assert_int_eq(panel_blank(panel, false), 0);
	ck_assert_uint_eq(fake.commits, commits);
	fake.connected = true;
	probe_again();
	UNTIL(fake.commits == commits + 1);
	unmake();
}
END_TEST

START_TEST(session_lost_in_the_dark)
{
	make(true);
	off();
	uint32_t commits = fake.commits;
	panel_session(panel, false);
	ck_assert_uint_eq(fake.blanks, 1);
	answered_in_the_dark();
	panel_session(panel, true); /* somebody else's picture was on it meanwhile */
	ck_assert_uint_eq(fake.blanks, 2);
	ck_assert_uint_eq(fake.commits, commits);
	settle(50);
	ck_assert_uint_eq(fake.commits, commits);
	wakes();
	/* switched on while it is not ours: on when it is */
	ck_assert_int_eq(panel_blank(panel, true), 0);
	panel_session(panel, false);
	commits = fake.commits;
	ck_assert_int_eq(panel_blank(panel, false), 0);
	settle(20);
	ck_assert_uint_eq(fake.commits, commits);
	panel_session(panel, true);
	ck_assert_uint_eq(fake.commits, commits + 1);
	unmake();
}
END_TEST

START_TEST(off_without_a_session_asks_nothing)
{
	make(true);
	panel_session(panel, false);
	ck_assert_int_eq(panel_blank(panel, true), 0);
	ck_assert_uint_eq(fake.blanks, 0);
	unmake();
}
END_TEST

START_TEST(a_busy_card_is_asked_again)
{
	make(true);
	fake.fail_blank = EBUSY;
	fake.fail_blanks = 3;
	ck_assert_int_eq(panel_blank(panel, true), 0);
	ck_assert_uint_eq(fake.blanks, 0);
	uint32_t commits = fake.commits;
	for (int i = 0; i < 3; i++)
		ui_frame(); /* news do not put it off */
	UNTIL(fake.blanks == 1);
	ck_assert_uint_eq(fake.failed, 3);
	ck_assert_uint_eq(fake.commits, commits);
	wakes();
	settle(20);
	ck_assert_uint_eq(fake.blanks, 1);
	unmake();
}
END_TEST

START_TEST(woken_before_a_busy_card_took_it)
{
	make(true);
	fake.fail_blank = EBUSY;
	fake.fail_blanks = 1000;
	ck_assert_int_eq(panel_blank(panel, true), 0);
	wakes();
	uint32_t failed = fake.failed;
	settle(50);
	ck_assert_uint_eq(fake.failed, failed);
	ck_assert_uint_eq(fake.blanks, 0);
	unmake();
}
END_TEST

START_TEST(a_card_that_cannot)
{
	make(true);
	uint32_t full = fake.full;
	fake.fail_blank = EINVAL;
	fake.fail_blanks = 1;
	ck_assert_int_eq(panel_blank(panel, true), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_uint_eq(fake.full, full + 1); /* it stays on */
	ui_frame();
	UNTIL(ui_presented == ui_sequence);
	off(); /* and may be asked again */
	unmake();
}
END_TEST

/* --- more than one output ------------------------------------------------------------------------------------------------ */

static uint32_t outputs(void)
{
	struct status status;
	status_board_read(board, &status);
	for (uint32_t i = 0; i < status.n_outputs; i++)
		ck_assert(status.output[i].mirror == (i > 0) && status.output[i].width == status.output[0].width);
	return status.n_outputs;
}

START_TEST(mirrors_come_and_go)
{
	make(true);
	ck_assert_uint_eq(outputs(), 1);
	fake.mirrors = 1;
	uint32_t full = fake.full, set = panel->screen[0].set;
	probe_again();
	UNTIL(fake.full == full + 1);
	ck_assert_uint_eq(outputs(), 2);
	ck_assert_uint_eq(panel->screen[0].set, set); /* no picture is made anew for it */
	probe_again();
	ck_assert_uint_eq(fake.full, full + 1); /* nothing changed */
	fake.mirrors = 2;
	probe_again();
	UNTIL(fake.full == full + 2);
	ck_assert_uint_eq(outputs(), 3);
	fake.mirrors = 0;
	probe_again();
	UNTIL(fake.full == full + 3);
	ck_assert_uint_eq(outputs(), 1);
	fake.connected = false;
	probe_again();
	UNTIL(outputs() == 0);
	unmake();
}
END_TEST

START_TEST(leftovers_of_another_session)
{
	make(true);
	uint32_t full = fake.full;
	fake.leftovers = 2;
	probe_again();
	ck_assert_uint_eq(fake.full, full); /* our own: nobody else was there */
	panel_session(panel, false);
	panel_session(panel, true);
	ck_assert_uint_eq(fake.full, full + 1); /* at once, and again when it is known what was left */
	UNTIL(fake.full == full + 2);
	settle(50);
	probe_again();
	ck_assert_uint_eq(fake.full, full + 2); /* once */
	fake.leftovers = 0;
	panel_session(panel, false);
	panel_session(panel, true);
	settle(50);
	ck_assert_uint_eq(fake.full, full + 3);
	unmake();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-blank");
	TCase *c = tcase_create("off");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, off_and_on);
	tcase_add_test(c, wakes_with_the_newest_picture);
	tcase_add_test(c, off_with_a_flip_in_flight);
	tcase_add_test(c, a_toggle_in_the_dark_is_one_commit);
	tcase_add_test(c, unplugged_and_plugged_in_the_dark);
	tcase_add_test(c, exchanged_in_the_dark);
	tcase_add_test(c, unplugged_in_the_dark_and_woken_without);
	tcase_add_test(c, session_lost_in_the_dark);
	tcase_add_test(c, off_without_a_session_asks_nothing);
	tcase_add_test(c, a_busy_card_is_asked_again);
	tcase_add_test(c, woken_before_a_busy_card_took_it);
	tcase_add_test(c, a_card_that_cannot);
	tcase_add_test(c, mirrors_come_and_go);
	tcase_add_test(c, leftovers_of_another_session);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
