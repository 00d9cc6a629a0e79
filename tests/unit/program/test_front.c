/* The front thread alone: no panel, no machine, and a control socket that is only its mailbox. */
#include <linux/input-event-codes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mailbox.h"
#include "base/stats.h"
#include "base/status.h"
#include "control/control.h"
#include "front.h"
#include "options.h"
#include "unit.h"

#define SEEN_WITHIN (3 * 64) /* requests: three turns of the front thread, REQUESTS_PER_TURN each */

#define SLOW_US 2000

void __wrap_control_done(struct control *control, uint64_t token, const char *error);

/* A request that takes long, as on a machine that runs somebody else meanwhile. */
void __wrap_control_done(struct control *control, uint64_t token, const char *error)
{
	(void)control;
	(void)token;
	(void)error;
	usleep(SLOW_US);
}

/* A client that fills the mailbox, and a signal: how many requests the thread has taken when it sees that. */
static uint32_t taken_before_others(const struct control_request *first)
{
	char *words[] = { "rayvm", "--display", "none", NULL };
	char error[256] = "";
	struct options options;
	static struct stats stats;
	int exit_status;
	sigset_t ends;

	log_set_level(LOG_ERROR);
	sigemptyset(&ends);
	sigaddset(&ends, SIGHUP);
	ck_assert_int_eq(sigprocmask(SIG_BLOCK, &ends, NULL), 0);
	ck_assert_int_eq(options_parse(&options, 3, words, &exit_status), 0);
	struct front_config config = {
		.options = &options,
		.board = status_board_create(),
		.stats = &stats,
		.requests = mailbox_create(CONTROL_REQUESTS, sizeof(struct control_request)),
	};
	ck_assert(config.board != NULL && config.requests != NULL);
	struct front *front = front_create(&config, error, sizeof(error), &exit_status);
	ck_assert_msg(front != NULL, "%s", error);
	ck_assert_int_eq(front_open(front, NULL, NULL, error, sizeof(error), &exit_status), 0);

	uint32_t posted = 0, left = 0;
	struct control_request request = *first;
	for (; mailbox_post(config.requests, &request); posted++)
		request.value = !request.value;
	ck_assert_uint_eq(posted, CONTROL_REQUESTS);
	raise(SIGHUP);
	ck_assert_int_eq(front_run(front), 0);
	while (mailbox_take(config.requests, &request))
		left++;
	ck_assert_uint_eq(stats.key_read_us.count > 0, first->kind == CONTROL_KEY);

	front_destroy(front);
	mailbox_destroy(config.requests);
	status_board_destroy(config.board);
	options_finish(&options);
	return posted - left;
}

/* The thread must see others before it has taken all, or a client could keep it from devices and flips. */
START_TEST(requests_without_end_leave_room_for_others)
{
	uint32_t taken = taken_before_others(&(struct control_request){ .kind = CONTROL_KEY, .code = KEY_A, .value = 1, .time_ns = clock_now_ns() });
	ck_assert_uint_gt(taken, 0);
	ck_assert_uint_le(taken, SEEN_WITHIN);
}
END_TEST

/* Nor do a few that take long. */
START_TEST(slow_requests_leave_room_for_others)
{
	uint32_t taken = taken_before_others(&(struct control_request){ .kind = CONTROL_DONE });
	ck_assert_uint_gt(taken, 0);
	ck_assert_uint_le(taken, 3);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("front");
	TCase *tcase = tcase_create("front");
	tcase_add_test(tcase, requests_without_end_leave_room_for_others);
	tcase_add_test(tcase, slow_requests_leave_room_for_others);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
