/* When a lid was closed or opened, and when it only is. */
#include "toggle/lid.h"
#include "unit.h"

static struct lid lid;

static void setup(void)
{
	lid_lost(&lid);
}

/* Closed, opened, told again. */
START_TEST(moves)
{
	lid_learned(&lid);
	for (int i = 0; i < 2; i++) {
		ck_assert(!lid_heard(&lid, false));
		ck_assert(lid_heard(&lid, true));
		ck_assert(!lid_heard(&lid, true));
		ck_assert(lid_heard(&lid, false));
	}
}
END_TEST

/* Closed before the start: nothing has happened, and opening it is news. */
START_TEST(closed_before_the_start)
{
	ck_assert(!lid_heard(&lid, true));
	ck_assert(lid.closed);
	lid_learned(&lid);
	ck_assert(!lid_heard(&lid, true));
	ck_assert(lid_heard(&lid, false));
}
END_TEST

/* While the session is another's it is opened, or closed, or neither; an open one is not told at the return. The next time it is closed counts in each case. */
START_TEST(another_session)
{
	for (int before = 0; before < 2; before++) {
		for (int after = 0; after < 2; after++) {
			lid_lost(&lid);
			lid_learned(&lid);
			ck_assert_int_eq(lid_heard(&lid, before), before);
			lid_lost(&lid);
			ck_assert(!lid.closed);
			if (after)
				ck_assert(!lid_heard(&lid, true));
			lid_learned(&lid);
			ck_assert_int_eq(lid.closed, after);
			ck_assert_int_eq(lid_heard(&lid, true), !after);
			ck_assert(lid_heard(&lid, false));
			ck_assert(lid_heard(&lid, true));
		}
	}
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("lid");
	TCase *tcase = tcase_create("lid");
	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, moves);
	tcase_add_test(tcase, closed_before_the_start);
	tcase_add_test(tcase, another_session);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
