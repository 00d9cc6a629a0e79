/* What is kept of late toggles, and of the turns of a loop. */
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/late.h"
#include "unit.h"

static struct late_toggles late;
static struct late_toggle out[LATE_KEPT];

static void record(uint64_t from, uint64_t until)
{
	for (uint64_t n = from; n < until; n++)
		late_record(&late, &(struct late_toggle){ .event_ns = 1000 + n, .cpu = n });
}

START_TEST(the_last_ones_are_kept)
{
	uint64_t first;
	ck_assert_uint_eq(late_read(&late, out, &first), 0);
	record(0, 3);
	ck_assert_uint_eq(late_read(&late, out, &first), 3);
	ck_assert_uint_eq(first, 0);
	ck_assert_uint_eq(out[2].event_ns, 1002);
	ck_assert_uint_eq(out[2].cpu, 2);
	record(3, 3 * LATE_KEPT + 5);
	ck_assert_uint_eq(late_read(&late, out, &first), LATE_KEPT - 1);
	ck_assert_uint_eq(first, 2 * LATE_KEPT + 6);
	for (uint64_t i = 0; i < LATE_KEPT - 1; i++)
		ck_assert_uint_eq(out[i].event_ns, 1000 + first + i);
	late_reset(&late);
	ck_assert_uint_eq(late_read(&late, out, &first), 0);
	record(0, 1);
	ck_assert_uint_eq(late_read(&late, out, &first), 1);
	ck_assert_uint_eq(out[0].event_ns, 1000);
}
END_TEST

/* Of a turn that slept, and one that worked, the CPU time tells which is which. */
START_TEST(a_long_turn_tells_its_cpu_time)
{
	struct turns turns = { 0 };
	uint64_t begin = clock_now_ns();
	turn_begins(&turns, begin);
	ck_assert(turn_ends(&turns, clock_now_ns(), 0)); /* the first look */
	turn_begins(&turns, clock_now_ns());
	usleep(20000);
	ck_assert(turn_ends(&turns, clock_now_ns(), NSEC_PER_MSEC));
	ck_assert_uint_ge(turns.stall_end_ns - turns.stall_ns, 20 * NSEC_PER_MSEC);
	ck_assert_uint_lt(turns.stall_cpu_ns, 10 * NSEC_PER_MSEC);

	uint64_t slept = turns.stall_ns, before = turns.cpu_ns;
	turn_begins(&turns, clock_now_ns());
	ck_assert(!turn_ends(&turns, turns.began_ns + TURN_LOOK_NS / 2, NSEC_PER_MSEC));
	ck_assert_uint_eq(turns.cpu_ns, before); /* not looked at for so little */
	ck_assert_uint_eq(turns.stall_ns, slept);

	turn_begins(&turns, clock_now_ns());
	struct timespec used;
	uint64_t cpu, start = before;
	do {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
		cpu = (uint64_t)used.tv_sec * NSEC_PER_SEC + (uint64_t)used.tv_nsec;
	} while (cpu < start + 30 * NSEC_PER_MSEC);
	ck_assert(turn_ends(&turns, clock_now_ns(), NSEC_PER_MSEC));
	ck_assert_uint_gt(turns.stall_ns, slept);
	ck_assert_uint_ge(turns.stall_cpu_ns, 20 * NSEC_PER_MSEC);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("late");
	TCase *c = tcase_create("late");
	tcase_add_test(c, the_last_ones_are_kept);
	tcase_add_test(c, a_long_turn_tells_its_cpu_time);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
