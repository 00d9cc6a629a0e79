/* Toggles whose commit comes too late, and what is told of them: the panel in memory, and a loop that is kept from its turns. */
#include <unistd.h>

#include "producers.h"

#define SIDE 64
#define REFRESH_NS 16666666u

static const struct rect whole = {0, 0, SIDE, SIDE};

/* Both faces are there, and where the vblanks are is known. */
static void open_panel(void)
{
	panel_rig_open(NULL, &(struct panel_config){.backend = PANEL_HEADLESS, .width = SIDE, .height = SIDE, .refresh_mhz = 60000});
	producers_open(false);
	announce(ui, 1, SIDE, SIDE, DRM_FORMAT_XRGB8888);
	announce(ui, 2, SIDE, SIDE, DRM_FORMAT_XRGB8888);
	show(ui, 0, 1, 1, whole, whole);
	show(ui, 1, 2, 1, whole, whole);
	UNTIL(panel->face[PANEL_FACE_UI].complete && panel->face[PANEL_FACE_PLACEHOLDER].complete && stats.commits > 0);
	present(PRESENTATION_PRESENTED);
	UNTIL(stats.toggle_flip_us.count == 1);
}

static void close_panel(void)
{
	panel_rig_close();
	producers_close();
}

static void flip_side(void)
{
	present(panel->presentation == PRESENTATION_PRESENTED ? PRESENTATION_HIDDEN : PRESENTATION_PRESENTED);
}

/* A toggle that waits for its vblank; one that comes just before a vblank is committed at once. */
static void toggle_and_wait(void)
{
	for (;;) {
		UNTIL(panel->screen[0].latch.state == LATCH_IDLE && !panel->toggled);
		flip_side();
		if (panel->toggled)
			break;
	}
	ck_assert_uint_gt(panel->toggle.due_ns, panel->toggle.event_ns);
}

static struct late_toggle last(void)
{
	static struct late_toggle late[LATE_KEPT];
	uint64_t first;
	uint32_t n = late_read(&stats.late, late, &first);
	ck_assert_uint_gt(n, 0);
	return late[n - 1];
}

/* Nobody turns the loop for five vblanks and more. */
START_TEST(a_late_one_tells_its_steps)
{
	open_panel();
	toggle_and_wait();
	uint64_t before = stats.toggles_late, event = panel->toggle.event_ns;
	stats.turns.stall_ns = event + 1000; /* as the front would have it */
	stats.turns.stall_end_ns = event + 2000;
	stats.turns.stall_cpu_ns = 900;
	usleep(100000);
	UNTIL(stats.toggles_late == before + 1);
	struct late_toggle late = last();
	ck_assert_uint_eq(late.event_ns, event);
	ck_assert_uint_ge(late.margin_ns, LATCH_MARGIN_NS);
	ck_assert_uint_ge(late.due_ns, event + late.margin_ns);
	ck_assert_uint_le(late.due_ns, event + late.margin_ns + REFRESH_NS);
	ck_assert_uint_ge(late.commit_ns, event + 100 * NSEC_PER_MSEC);
	ck_assert_uint_ge(late.committed_ns, late.commit_ns);
	ck_assert_uint_ge(late.flip_ns, late.committed_ns);
	ck_assert_uint_ge(late.vblanks, 4);
	ck_assert_uint_eq(late.vblanks, (late.flip_ns - late.due_ns + REFRESH_NS / 2) / REFRESH_NS);
	ck_assert_uint_ge(stats.toggles_late_max, late.vblanks);
	ck_assert_uint_eq(late.ahead_commit_ns, 0);
	ck_assert_uint_eq(late.stall_ns, event + 1000);
	ck_assert_uint_eq(late.stall_end_ns, event + 2000);
	ck_assert_uint_eq(late.stall_cpu_ns, 900);
	close_panel();
}
END_TEST

/* The next toggle replaces one that should have been on the screen by then: that was late, though no flip is ever its. */
START_TEST(a_late_one_does_not_hide_behind_the_next)
{
	open_panel();
	toggle_and_wait();
	uint64_t before = stats.toggles_late, replaced = stats.toggles_replaced, event = panel->toggle.event_ns;
	usleep(50000);
	flip_side();
	/* This one, too, is there and back where a vblank is so near that its commit is due at once. */
	ck_assert_uint_ge(stats.toggles_replaced, replaced + 1);
	ck_assert_uint_le(stats.toggles_replaced, replaced + 2);
	ck_assert_uint_eq(stats.toggles_late, before + 1);
	struct late_toggle late = last();
	ck_assert_uint_eq(late.event_ns, event);
	ck_assert_uint_eq(late.flip_ns, 0);
	ck_assert_uint_ge(late.commit_ns, event + 50 * NSEC_PER_MSEC);
	ck_assert_uint_ge(late.vblanks, 2);

	/* in time for its vblank it is none */
	uint64_t due = 0;
	do {
		toggle_and_wait();
		due = panel->toggle.due_ns;
		before = stats.toggles_late;
		flip_side();
	} while (clock_now_ns() >= due);
	ck_assert_uint_eq(stats.toggles_late, before);
	close_panel();
}
END_TEST

START_TEST(the_flip_ahead_of_a_late_one_is_told)
{
	open_panel();
	toggle_and_wait();
	UNTIL(panel->screen[0].latch.state == LATCH_FLIP);
	uint64_t committed = panel->screen[0].latch.commit_ns, target = panel->screen[0].latch.target_ns;
	flip_side();
	ck_assert_uint_gt(target, 0);
	uint64_t event = panel->toggle.event_ns;
	usleep(60000);
	UNTIL(stats.toggles_late > 0 && last().event_ns == event); /* on a machine that stands still the one ahead may be late as well */
	struct late_toggle late = last();
	ck_assert_uint_eq(late.ahead_commit_ns, committed);
	ck_assert_uint_eq(late.ahead_target_ns, target);
	ck_assert_uint_gt(late.ahead_flip_ns, committed);
	ck_assert_uint_lt(late.ahead_flip_ns, late.flip_ns);
	close_panel();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("late-toggles");
	TCase *c = tcase_create("late-toggles");
	tcase_add_test(c, a_late_one_tells_its_steps);
	tcase_add_test(c, a_late_one_does_not_hide_behind_the_next);
	tcase_add_test(c, the_flip_ahead_of_a_late_one_is_told);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
