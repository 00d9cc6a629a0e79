/* The latch: each rule, and the pairs of events that meet. */
#include "kms/latch.h"
#include "unit.h"

#define MS 1000000ull
#define REFRESH (10 * MS)

static struct latch latch;
static bool ours;

/* An output that is lit, with the full commit done at `now`. */
static void lit(bool vblank, uint64_t now)
{
	latch_init(&latch);
	ck_assert(latch_light(&latch, REFRESH, vblank, now));
	ck_assert(latch.full);
	ck_assert(!latch_committed(&latch, LATCH_SHOWN, now, now));
	ck_assert_int_eq(latch.state, LATCH_IDLE);
	ck_assert(!latch.full && !latch.wanted);
}

START_TEST(dark_remembers)
{
	latch_init(&latch);
	ck_assert(!latch_news(&latch, true, 1 * MS));
	ck_assert_uint_eq(latch.timer_ns, 0);
	ck_assert(latch_light(&latch, REFRESH, true, 2 * MS));
}
END_TEST

START_TEST(no_vblank_at_once_then_paced)
{
	lit(false, 100 * MS);
	ck_assert(latch_news(&latch, false, 115 * MS)); /* longer than a refresh ago: at once */
	ck_assert(!latch_committed(&latch, LATCH_ACCEPTED, 115 * MS, 115 * MS));
	ck_assert_int_eq(latch.state, LATCH_FLIP);
	ck_assert(!latch_flip(&latch, latch.epoch, 116 * MS, 116 * MS, &ours));
	ck_assert(ours);
	ck_assert(!latch_news(&latch, false, 117 * MS)); /* flips come at once: wait for the refresh */
	ck_assert_uint_eq(latch.timer_ns, 125 * MS);
	ck_assert(!latch_timer(&latch, 124 * MS));
	ck_assert(latch_timer(&latch, 125 * MS));
}
END_TEST

START_TEST(no_vblank_toggle_does_not_wait)
{
	lit(false, 100 * MS);
	ck_assert(!latch_news(&latch, false, 101 * MS));
	ck_assert(latch_news(&latch, true, 102 * MS));
	latch_committed(&latch, LATCH_ACCEPTED, 102 * MS, 102 * MS);
	/* during the flip it is remembered, and committed in the flip handler */
	ck_assert(!latch_news(&latch, true, 103 * MS));
	ck_assert(latch_flip(&latch, latch.epoch, 104 * MS, 104 * MS, &ours));
}
END_TEST

START_TEST(late_latch_waits_for_margin)
{
	lit(true, 100 * MS);
	uint64_t margin = latch_margin(&latch);
	ck_assert_uint_eq(margin, LATCH_MARGIN_NS);
	ck_assert(!latch_news(&latch, false, 103 * MS));
	ck_assert_uint_eq(latch.timer_ns, 110 * MS - margin);
	/* a toggle until then is in the same commit: nothing changes */
	ck_assert(!latch_news(&latch, true, 105 * MS));
	ck_assert_uint_eq(latch.timer_ns, 110 * MS - margin);
	ck_assert(latch_timer(&latch, 110 * MS - margin));
	latch_committed(&latch, LATCH_ACCEPTED, 109 * MS, 109 * MS);
	latch_flip(&latch, latch.epoch, 110 * MS, 110 * MS, &ours);
	/* after the margin of a refresh: at once */
	ck_assert(latch_news(&latch, false, 119 * MS));
}
END_TEST

START_TEST(margin_grows_with_slow_commits)
{
	lit(true, 100 * MS);
	latch_news(&latch, false, 101 * MS);
	latch_committed(&latch, LATCH_ACCEPTED, 101 * MS, 102 * MS);
	ck_assert_uint_eq(latch_margin(&latch), LATCH_MARGIN_NS + 1 * MS);
	latch_flip(&latch, latch.epoch, 110 * MS, 110 * MS, &ours);
	latch_news(&latch, false, 111 * MS);
	latch_committed(&latch, LATCH_ACCEPTED, 111 * MS, 119 * MS);
	ck_assert_uint_eq(latch_margin(&latch), REFRESH / 3);
	/* and forgets them after 64 */
	for (int i = 0; i < LATCH_HISTORY; i++) {
		latch_flip(&latch, latch.epoch, 120 * MS, 120 * MS, &ours);
		latch_committed(&latch, LATCH_ACCEPTED, 121 * MS, 121 * MS);
	}
	ck_assert_uint_eq(latch_margin(&latch), LATCH_MARGIN_NS);
}
END_TEST

START_TEST(one_flip_in_flight)
{
	lit(false, 100 * MS);
	latch_news(&latch, true, 120 * MS);
	latch_committed(&latch, LATCH_ACCEPTED, 120 * MS, 120 * MS);
	for (int i = 0; i < 5; i++)
		ck_assert(!latch_news(&latch, i & 1, (121 + (uint64_t)i) * MS));
	/* nothing else asked for: the flip ends it */
	ck_assert(latch.wanted);
	ck_assert(latch_flip(&latch, latch.epoch, 135 * MS, 135 * MS, &ours));
	latch_committed(&latch, LATCH_NOTHING, 135 * MS, 135 * MS);
	ck_assert(!latch.wanted);
	ck_assert_int_eq(latch.state, LATCH_IDLE);
	ck_assert_uint_eq(latch.timer_ns, 0);
}
END_TEST

START_TEST(busy_keeps_everything)
{
	lit(false, 100 * MS);
	ck_assert(latch_news(&latch, true, 120 * MS));
	ck_assert(!latch_committed(&latch, LATCH_BUSY, 120 * MS, 120 * MS));
	ck_assert(latch.wanted && latch.urgent && !latch.full);
	ck_assert_uint_eq(latch.timer_ns, 120 * MS + LATCH_BUSY_NS);
	ck_assert(latch_timer(&latch, latch.timer_ns));
	latch_committed(&latch, LATCH_ACCEPTED, 123 * MS, 123 * MS);
	ck_assert_int_eq(latch.state, LATCH_FLIP);
}
END_TEST

START_TEST(denied_is_dark_and_tries_again)
{
	lit(false, 100 * MS);
	latch_news(&latch, true, 120 * MS);
	ck_assert(!latch_committed(&latch, LATCH_DENIED, 120 * MS, 120 * MS));
	ck_assert_int_eq(latch.state, LATCH_DARK);
	ck_assert(!latch_news(&latch, true, 121 * MS));
	ck_assert(!latch_timer(&latch, 500 * MS));
	ck_assert(latch_timer(&latch, 120 * MS + LATCH_RETRY_NS));
	ck_assert(latch.full);
	latch_committed(&latch, LATCH_SHOWN, 1200 * MS, 1200 * MS);
	ck_assert_int_eq(latch.state, LATCH_IDLE);
	/* the seat going away ends the retries */
	latch_news(&latch, true, 1300 * MS);
	latch_committed(&latch, LATCH_DENIED, 1300 * MS, 1300 * MS);
	latch_dark(&latch);
	ck_assert_uint_eq(latch.timer_ns, 0);
	ck_assert(!latch_timer(&latch, 9000 * MS));
}
END_TEST

START_TEST(refused_tries_full_then_waits)
{
	lit(false, 100 * MS);
	latch_news(&latch, true, 120 * MS);
	ck_assert(latch_committed(&latch, LATCH_REFUSED, 120 * MS, 120 * MS)); /* next rung now */
	ck_assert(latch.full);
	ck_assert(!latch_committed(&latch, LATCH_REFUSED, 120 * MS, 120 * MS)); /* no rung left: no loop */
	ck_assert_uint_eq(latch.timer_ns, 120 * MS + LATCH_RETRY_NS);
	ck_assert(!latch_news(&latch, true, 130 * MS));
	ck_assert(latch_timer(&latch, 120 * MS + LATCH_RETRY_NS));
}
END_TEST

START_TEST(old_epochs_are_ignored)
{
	lit(true, 100 * MS);
	latch_news(&latch, false, 101 * MS);
	latch_committed(&latch, LATCH_ACCEPTED, 108 * MS, 108 * MS);
	uint32_t old = latch.epoch;
	latch_dark(&latch); /* session lost while the flip is in flight */
	ck_assert(!latch_flip(&latch, old, 110 * MS, 110 * MS, &ours));
	ck_assert(!ours);
	ck_assert(latch_light(&latch, REFRESH, true, 200 * MS));
	ck_assert(latch.full);
	ck_assert(!latch_flip(&latch, old, 210 * MS, 210 * MS, &ours));
	ck_assert(!ours);
	latch_committed(&latch, LATCH_SHOWN, 200 * MS, 201 * MS);
	ck_assert(!latch_flip(&latch, latch.epoch, 210 * MS, 210 * MS, &ours)); /* a full commit has no event */
	ck_assert(!ours);
}
END_TEST

START_TEST(lost_flip)
{
	lit(true, 100 * MS);
	latch_news(&latch, false, 101 * MS);
	latch_committed(&latch, LATCH_ACCEPTED, 108 * MS, 108 * MS);
	uint32_t old = latch.epoch;
	ck_assert_uint_eq(latch.timer_ns, 108 * MS + LATCH_WATCHDOG_NS);
	ck_assert(!latch_timer(&latch, 1000 * MS));
	ck_assert(latch_timer(&latch, 108 * MS + LATCH_WATCHDOG_NS));
	ck_assert(latch.full);
	ck_assert_uint_eq(latch.lost, 1);
	latch_committed(&latch, LATCH_SHOWN, 1700 * MS, 1700 * MS);
	/* the event comes after all: not ours any more */
	ck_assert(!latch_flip(&latch, old, 1701 * MS, 1701 * MS, &ours));
	ck_assert(!ours);
}
END_TEST

/* A commit that the latch asks for at `at`; its flip comes at `flip`. */
static void commit_and_flip(uint64_t at, uint64_t flip)
{
	ck_assert(!latch_committed(&latch, LATCH_ACCEPTED, at, at));
	ck_assert(!latch_flip(&latch, latch.epoch, flip, flip, &ours));
	ck_assert(ours);
}

START_TEST(misses_are_counted)
{
	lit(true, 100 * MS);
	/* The end of a modeset says nothing of where the vblanks are: this flip is judged by nobody. */
	ck_assert(!latch_news(&latch, false, 101 * MS));
	ck_assert_uint_eq(latch.target_ns, 0);
	ck_assert(latch_timer(&latch, latch.timer_ns));
	commit_and_flip(109 * MS, 117 * MS);
	ck_assert_uint_eq(latch.missed, 0);
	/* For the vblank at 127, and in it, give or take what the clock of the monitor does. */
	ck_assert(!latch_news(&latch, false, 118 * MS));
	ck_assert_uint_eq(latch.target_ns, 127 * MS);
	ck_assert(latch_timer(&latch, latch.timer_ns));
	commit_and_flip(126 * MS, 127 * MS + MS / 10);
	ck_assert_uint_eq(latch.missed, 0);
	/* The thread wakes too late, and other news come before the timer: it was for 137 all the same. */
	ck_assert(!latch_news(&latch, false, 128 * MS));
	uint64_t target = latch.target_ns;
	ck_assert(latch_news(&latch, true, target - MS / 10));
	ck_assert_uint_eq(latch.target_ns, target);
	commit_and_flip(target, target + REFRESH);
	ck_assert_uint_eq(latch.missed, 1);
	/* News after the latch has closed are for the next one, and have not missed this. */
	uint64_t flip = latch.flip_ns;
	ck_assert(latch_news(&latch, false, flip + REFRESH - MS / 10));
	commit_and_flip(flip + REFRESH - MS / 10, flip + 2 * REFRESH);
	ck_assert_uint_eq(latch.missed, 1);
	/* Without a vblank there is none to miss; nor after so long that nobody knows where it was. */
	latch_news(&latch, false, latch.flip_ns + LATCH_GRID_NS);
	ck_assert_uint_eq(latch.target_ns, 0);
	lit(false, 100 * MS);
	ck_assert(latch_news(&latch, false, 150 * MS));
	commit_and_flip(150 * MS, 190 * MS);
	ck_assert_uint_eq(latch.missed, 0);
}
END_TEST

START_TEST(toggles_are_due)
{
	lit(true, 100 * MS);
	ck_assert_uint_eq(latch_due(&latch, 101 * MS), 0); /* no vblank was seen */
	latch_news(&latch, false, 101 * MS);
	latch_timer(&latch, latch.timer_ns);
	commit_and_flip(109 * MS, 110 * MS);
	uint64_t margin = latch_margin(&latch);
	ck_assert_uint_eq(latch_due(&latch, 111 * MS), 120 * MS);
	ck_assert_uint_eq(latch_due(&latch, 120 * MS - margin - 1), 120 * MS);
	ck_assert_uint_eq(latch_due(&latch, 120 * MS - margin), 130 * MS);
	ck_assert_uint_eq(latch_due(&latch, 145 * MS), 150 * MS);
	/* The key's time stamp may be older than the last flip. */
	ck_assert_uint_eq(latch_due(&latch, 110 * MS - margin), 120 * MS);
	ck_assert_uint_eq(latch_due(&latch, 110 * MS - margin - 1), 110 * MS);
	ck_assert_uint_eq(latch_due(&latch, 100 * MS - margin), 110 * MS);
	ck_assert_uint_eq(latch_due(&latch, 100 * MS - margin - 1), 100 * MS);
	ck_assert(latch_in_time(&latch, 120 * MS, 120 * MS + MS));
	ck_assert(latch_in_time(&latch, 120 * MS, 110 * MS));
	ck_assert(!latch_in_time(&latch, 120 * MS, 130 * MS));
	latch_dark(&latch);
	ck_assert_uint_eq(latch_due(&latch, 111 * MS), 0);
	lit(false, 100 * MS);
	ck_assert_uint_eq(latch_due(&latch, 111 * MS), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-latch");
	TCase *c = tcase_create("rules");
	tcase_add_test(c, dark_remembers);
	tcase_add_test(c, no_vblank_at_once_then_paced);
	tcase_add_test(c, no_vblank_toggle_does_not_wait);
	tcase_add_test(c, late_latch_waits_for_margin);
	tcase_add_test(c, margin_grows_with_slow_commits);
	tcase_add_test(c, one_flip_in_flight);
	tcase_add_test(c, busy_keeps_everything);
	tcase_add_test(c, denied_is_dark_and_tries_again);
	tcase_add_test(c, refused_tries_full_then_waits);
	tcase_add_test(c, old_epochs_are_ignored);
	tcase_add_test(c, lost_flip);
	tcase_add_test(c, misses_are_counted);
	tcase_add_test(c, toggles_are_due);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
