/* When the screen is off: each pair of events in each state, and time. */
#include "toggle/blank.h"
#include "unit.h"

#define AFTER 600u

static struct blank blank;

/* In `state` since 1000, the last input at 1000, the timer due. */
static void start(enum blank_state state)
{
	blank_init(&blank, AFTER, 1000);
	ck_assert_int_eq(blank.state, BLANK_STATE_ON);
	ck_assert_uint_eq(blank.timer_ns, 1000 + AFTER);
	if (state == BLANK_STATE_OFF)
		ck_assert_int_eq(blank_handle(&blank, BLANK_ASK_OFF, 1000), BLANK_OFF);
	if (state == BLANK_STATE_AWAY)
		ck_assert_int_eq(blank_handle(&blank, BLANK_LOST, 1000), BLANK_NOTHING);
	ck_assert_int_eq(blank.state, state);
}

enum { ON = BLANK_STATE_ON, OFF = BLANK_STATE_OFF, AWAY = BLANK_STATE_AWAY };

/* What each event does in each state; TIMER comes when the time is over. */
static const struct {
	enum blank_event event;
	struct {
		int action, next;
	} in[3];
} table[] = {
	/*                    ON                      OFF                      AWAY */
	{ BLANK_INPUT,   { { BLANK_NOTHING, ON },  { BLANK_ON, ON },       { BLANK_NOTHING, AWAY } } },
	{ BLANK_TIMER,   { { BLANK_OFF, OFF },     { BLANK_NOTHING, OFF }, { BLANK_NOTHING, AWAY } } },
	{ BLANK_ASK_OFF, { { BLANK_OFF, OFF },     { BLANK_NOTHING, OFF }, { BLANK_REFUSED, AWAY } } },
	{ BLANK_ASK_ON,  { { BLANK_NOTHING, ON },  { BLANK_ON, ON },       { BLANK_REFUSED, AWAY } } },
	{ BLANK_LOST,    { { BLANK_NOTHING, AWAY },{ BLANK_ON, AWAY },     { BLANK_NOTHING, AWAY } } },
	{ BLANK_BACK,    { { BLANK_NOTHING, ON },  { BLANK_NOTHING, OFF }, { BLANK_NOTHING, ON } } },
	{ BLANK_FAILED,  { { BLANK_NOTHING, ON },  { BLANK_NOTHING, ON },  { BLANK_NOTHING, AWAY } } },
};
#define EVENTS (int)(sizeof(table) / sizeof(table[0]))

/* Off and away nothing is timed; on, the timer is there and never in the past of the last input. */
static void sane(void)
{
	if (blank.state == BLANK_STATE_ON)
		ck_assert_uint_ge(blank.timer_ns, 1000 + AFTER);
	else
		ck_assert_uint_eq(blank.timer_ns, 0);
}

static uint64_t step(int i, uint64_t now)
{
	if (table[i].event == BLANK_TIMER)
		now = now > blank.last_ns + AFTER ? now : blank.last_ns + AFTER;
	int state = (int)blank.state;
	ck_assert_int_eq(blank_handle(&blank, table[i].event, now), table[i].in[state].action);
	ck_assert_int_eq(blank.state, table[i].in[state].next);
	sane();
	return now;
}

START_TEST(each_pair_of_events)
{
	ck_assert_int_eq(_i / (EVENTS * EVENTS) < 3, 1);
	start((enum blank_state)(_i / (EVENTS * EVENTS)));
	uint64_t now = step(_i / EVENTS % EVENTS, 1100);
	/* a timer that input has moved fires early once: that is another test */
	if (table[_i % EVENTS].event == BLANK_TIMER && blank.timer_ns != 0)
		blank.timer_ns = blank.last_ns + AFTER;
	step(_i % EVENTS, now + 100);
}
END_TEST

START_TEST(input_moves_the_time)
{
	start(BLANK_STATE_ON);
	blank_handle(&blank, BLANK_INPUT, 1500);
	ck_assert_uint_eq(blank.timer_ns, 1600); /* as it is armed */
	ck_assert_int_eq(blank_handle(&blank, BLANK_TIMER, 1599), BLANK_NOTHING);
	ck_assert_uint_eq(blank.timer_ns, 1600);
	ck_assert_int_eq(blank_handle(&blank, BLANK_TIMER, 1600), BLANK_NOTHING);
	ck_assert_uint_eq(blank.timer_ns, 2100);
	blank_handle(&blank, BLANK_INPUT, 1400); /* events of two devices come in any order */
	ck_assert_int_eq(blank_handle(&blank, BLANK_TIMER, 2100), BLANK_OFF);
	ck_assert_int_eq(blank_handle(&blank, BLANK_TIMER, 5000), BLANK_NOTHING);
	ck_assert_int_eq(blank_handle(&blank, BLANK_INPUT, 6000), BLANK_ON);
	ck_assert_uint_eq(blank.timer_ns, 6600);
}
END_TEST

START_TEST(never_by_itself)
{
	blank_init(&blank, 0, 1000);
	ck_assert_uint_eq(blank.timer_ns, 0);
	blank_handle(&blank, BLANK_INPUT, 2000);
	ck_assert_int_eq(blank_handle(&blank, BLANK_TIMER, UINT64_MAX), BLANK_NOTHING);
	ck_assert_int_eq(blank_handle(&blank, BLANK_ASK_OFF, 3000), BLANK_OFF);
	ck_assert_int_eq(blank_handle(&blank, BLANK_INPUT, 4000), BLANK_ON);
	ck_assert_uint_eq(blank.timer_ns, 0);
}
END_TEST

START_TEST(a_card_that_cannot_is_asked_again_later)
{
	start(BLANK_STATE_ON);
	ck_assert_int_eq(blank_handle(&blank, BLANK_TIMER, 1600), BLANK_OFF);
	blank_handle(&blank, BLANK_FAILED, 1600);
	ck_assert_int_eq(blank.state, BLANK_STATE_ON);
	ck_assert_uint_eq(blank.timer_ns, 2200);
	ck_assert_int_eq(blank_handle(&blank, BLANK_TIMER, 2200), BLANK_OFF);
}
END_TEST

START_TEST(time_away_is_no_idle_time)
{
	start(BLANK_STATE_AWAY);
	blank_handle(&blank, BLANK_BACK, 50000);
	ck_assert_uint_eq(blank.timer_ns, 50600);
	ck_assert_int_eq(blank_handle(&blank, BLANK_TIMER, 50599), BLANK_NOTHING);
	ck_assert_int_eq(blank_handle(&blank, BLANK_TIMER, 50600), BLANK_OFF);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("toggle-blank");
	TCase *tcase = tcase_create("blank");
	tcase_add_loop_test(tcase, each_pair_of_events, 0, 3 * EVENTS * EVENTS);
	tcase_add_test(tcase, input_moves_the_time);
	tcase_add_test(tcase, never_by_itself);
	tcase_add_test(tcase, a_card_that_cannot_is_asked_again_later);
	tcase_add_test(tcase, time_away_is_no_idle_time);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
