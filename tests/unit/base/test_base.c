#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/histogram.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/status.h"
#include "unit.h"

START_TEST(rectangles)
{
	struct rect u = rect_union((struct rect){ 10, 10, 5, 5 }, (struct rect){ 0, 20, 2, 2 });
	ck_assert_uint_eq(u.x, 0);
	ck_assert_uint_eq(u.y, 10);
	ck_assert_uint_eq(u.w, 15);
	ck_assert_uint_eq(u.h, 12);
	u = rect_union((struct rect){ 7, 7, 0, 9 }, (struct rect){ 1, 2, 3, 4 });
	ck_assert_uint_eq(u.x, 1);
	struct rect i = rect_intersect((struct rect){ 5, 5, UINT32_MAX, UINT32_MAX }, (struct rect){ 0, 0, 100, 100 });
	ck_assert_uint_eq(i.w, 95);
	i = rect_intersect((struct rect){ 0, 0, 5, 5 }, (struct rect){ 5, 0, 5, 5 });
	ck_assert(rect_empty(&i));
}
END_TEST

START_TEST(percentiles)
{
	static struct histogram histogram;
	struct histogram_summary summary;
	for (uint64_t us = 1; us <= 1000; us++)
		histogram_record_us(&histogram, us);
	histogram_record_us(&histogram, 5000000);
	histogram_summarise(&histogram, &summary);
	ck_assert_uint_eq(summary.count, 1001);
	ck_assert_uint_eq(summary.max, 5000000);
	ck_assert(summary.p50 >= 500 && summary.p50 <= 532);
	ck_assert(summary.p95 >= 950 && summary.p95 <= 1010);
	uint64_t counted = 0, edge = 0, last = 0;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint32_t count = histogram_bucket(&histogram, i, &edge);
		ck_assert(i == 0 || edge > last);
		last = edge;
		counted += count;
	}
	ck_assert_uint_eq(counted, summary.count);
	histogram_reset(&histogram);
	histogram_summarise(&histogram, &summary);
	ck_assert_uint_eq(summary.count, 0);
	ck_assert_uint_eq(summary.max, 0);
	histogram_record_us(&histogram, UINT64_MAX);
	histogram_summarise(&histogram, &summary);
	ck_assert_uint_eq(summary.count, 1);
}
END_TEST

#define POSTERS 4
#define EACH 20000
struct post {
	uint32_t who, number;
};
static struct mailbox *box;

static void *poster(void *arg)
{
	struct post post = { .who = (uint32_t)(uintptr_t)arg };
	for (post.number = 0; post.number < EACH;)
		if (mailbox_post(box, &post))
			post.number++;
	return NULL;
}

START_TEST(mailbox_many_to_one)
{
	box = mailbox_create(64, sizeof(struct post));
	pthread_t thread[POSTERS];
	for (uintptr_t i = 0; i < POSTERS; i++)
		pthread_create(&thread[i], NULL, poster, (void *)i);
	uint32_t next[POSTERS] = { 0 };
	for (uint32_t got = 0; got < POSTERS * EACH;) {
		struct post post;
		if (!mailbox_take(box, &post))
			continue;
		ck_assert_uint_lt(post.who, POSTERS);
		ck_assert_uint_eq(post.number, next[post.who]); /* each poster's order is kept, nothing is lost */
		next[post.who]++;
		got++;
	}
	for (int i = 0; i < POSTERS; i++)
		pthread_join(thread[i], NULL);
	struct post post;
	ck_assert(!mailbox_take(box, &post));
	mailbox_destroy(box);
}
END_TEST

/* What is posted quietly is there, in order, and nobody is woken for it. */
START_TEST(mailbox_quiet)
{
	struct mailbox *quiet = mailbox_create(4, 4);
	struct pollfd ready = { .fd = mailbox_fd(quiet), .events = POLLIN };
	uint32_t value = 1;
	ck_assert(!mailbox_waiting(quiet));
	ck_assert(mailbox_post_quietly(quiet, &value));
	ck_assert_int_eq(poll(&ready, 1, 0), 0);
	ck_assert(mailbox_waiting(quiet));
	value = 2;
	ck_assert(mailbox_post(quiet, &value));
	ck_assert_int_eq(poll(&ready, 1, 0), 1);
	mailbox_ack(quiet);
	ck_assert_int_eq(poll(&ready, 1, 0), 0);
	mailbox_wake(quiet);
	ck_assert_int_eq(poll(&ready, 1, 0), 1);
	ck_assert(mailbox_take(quiet, &value) && value == 1);
	ck_assert(mailbox_take(quiet, &value) && value == 2);
	ck_assert(!mailbox_waiting(quiet) && !mailbox_take(quiet, &value));
	mailbox_destroy(quiet);
}
END_TEST

START_TEST(mailbox_full)
{
	struct mailbox *small = mailbox_create(4, 4);
	uint32_t value = 7;
	ck_assert(mailbox_has_room(small, 4) && !mailbox_has_room(small, 5));
	for (int i = 0; i < 4; i++) {
		ck_assert(mailbox_has_room(small, 4 - i) && !mailbox_has_room(small, 5 - i));
		ck_assert(mailbox_post(small, &value));
	}
	ck_assert(mailbox_has_room(small, 0) && !mailbox_has_room(small, 1));
	ck_assert(!mailbox_post(small, &value));
	ck_assert(mailbox_take(small, &value));
	ck_assert(mailbox_has_room(small, 1) && !mailbox_has_room(small, 2));
	ck_assert(mailbox_post(small, &value));
	ck_assert_ptr_null(mailbox_create(3, 4));
	mailbox_destroy(small);
}
END_TEST

/* A reader that never reads must not hold up the writers. */
START_TEST(markers_never_block)
{
	int fds[2];
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(log_start(LOG_ERROR, fds[1]), 0);
	uint64_t start = clock_now_ns();
	for (int i = 0; i < 20000; i++)
		log_marker("RAYOS_TEST:%d:0123456789012345678901234567890123456789", i);
	ck_assert_uint_lt(clock_now_ns() - start, 5 * NSEC_PER_SEC);
	ck_assert_uint_gt(log_dropped(), 0);
	char text[64];
	ck_assert_int_gt(read(fds[0], text, sizeof text - 1), 13);
	ck_assert_int_eq(memcmp(text, "RAYOS_TEST:0:", 13), 0);
	/* Nor hold up the end, with a thousand lines waiting. */
	start = clock_now_ns();
	log_stop();
	ck_assert_uint_lt(clock_now_ns() - start, 2 * NSEC_PER_SEC);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(one_line_stays_one_line)
{
	int fds[2];
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(log_start(LOG_ERROR, fds[1]), 0);
	log_marker("A%sB", "\nFAKE:MARKER\x1b[2J");
	log_stop();
	char text[64] = { 0 };
	ssize_t n = read(fds[0], text, sizeof text - 1);
	ck_assert_int_gt(n, 0);
	ck_assert_ptr_eq(strchr(text, '\n'), text + n - 1);
	ck_assert_ptr_null(strchr(text, '\x1b'));
}
END_TEST

/* Of a forked child: markers before and after log_hold(), and between hold and release (or the end). */
START_TEST(held_lines)
{
	for (int released = 0; released < 2; released++) {
		int fds[2];
		ck_assert_int_eq(pipe(fds), 0);
		pid_t pid = fork();
		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			log_markers_to(fds[1]);
			log_release(); /* nothing is held */
			log_marker("A");
			if (log_hold() < 0)
				_exit(1);
			log_marker("B");
			log_marker("C");
			if (released) {
				log_release();
				log_marker("D");
				log_release();
			}
			_exit(0);
		}
		close(fds[1]);
		int status;
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
		char text[64] = { 0 };
		ck_assert_int_gt(read(fds[0], text, sizeof text - 1), 0);
		ck_assert_str_eq(text, released ? "A\nB\nC\nD\n" : "A\n");
		close(fds[0]);
	}
}
END_TEST

/* What people need at once is not held; what was held before comes when it is released. */
START_TEST(a_line_at_once)
{
	int fds[2];
	ck_assert_int_eq(pipe(fds), 0);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		if (log_hold() < 0)
			_exit(1);
		log_line(LOG_WARN, "test", "held");
		log_at_once(LOG_WARN, "test", "at\nonce");
		log_at_once(LOG_DEBUG, "test", "not at this level");
		log_release();
		_exit(0);
	}
	close(fds[1]);
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	char text[200] = { 0 };
	ck_assert_int_gt(read(fds[0], text, sizeof text - 1), 0);
	const char *once = strstr(text, " warn test: at?once\n"), *held = strstr(text, " warn test: held\n");
	ck_assert(once != NULL && held != NULL && once < held);
	ck_assert_ptr_null(strstr(text, "level"));
	close(fds[0]);
}
END_TEST

START_TEST(limited_lines)
{
	struct log_limit limit = { 0 };
	uint32_t left_out;
	int passed = 0;
	for (int i = 0; i < 1000; i++)
		passed += log_limit_pass(&limit, &left_out);
	ck_assert_int_ge(passed, 5);
	ck_assert_int_le(passed, 7);
}
END_TEST

static void present(struct status *status, void *data)
{
	status->presentation = *(enum presentation *)data;
}

START_TEST(status_board)
{
	struct status_board *board = status_board_create();
	int fd = status_board_subscribe(board);
	uint64_t count;
	ck_assert_int_eq(read(fd, &count, 8), -1);
	status_board_line(board, STATUS_VM, STATUS_BUSY, "starting %d", 1);
	ck_assert_int_eq(read(fd, &count, 8), 8);
	status_board_line(board, STATUS_VM, STATUS_BUSY, "starting %d", 1);
	ck_assert_int_eq(read(fd, &count, 8), -1); /* nothing changed: nobody is woken */
	enum presentation presented = PRESENTATION_PRESENTED;
	status_board_update(board, present, &presented);
	struct status status;
	status_board_read(board, &status);
	ck_assert_str_eq(status.line[STATUS_VM].text, "starting 1");
	ck_assert_int_eq(status.presentation, PRESENTATION_PRESENTED);
	status_board_unsubscribe(board, fd);
	close(fd);
	status_board_destroy(board);
}
END_TEST

START_TEST(desktop_numbers)
{
	struct status s = { 0 };
	ck_assert_int_eq(status_desktop_number(&s), 0);
	s.vm = VM_STARTING;
	ck_assert_int_eq(status_desktop_number(&s), 1);
	s.vm = VM_RUNNING;
	s.scanout_width = 1280;
	ck_assert_int_eq(status_desktop_number(&s), 2);
	s.presentation = PRESENTATION_PRESENTED;
	ck_assert_int_eq(status_desktop_number(&s), 3);
	s.scanout_width = 0;
	ck_assert_int_eq(status_desktop_number(&s), 5);
	s.vm = VM_STOPPING;
	ck_assert_int_eq(status_desktop_number(&s), 4);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("base");
	TCase *c = tcase_create("base");
	tcase_add_test(c, rectangles);
	tcase_add_test(c, percentiles);
	tcase_add_test(c, mailbox_many_to_one);
	tcase_add_test(c, mailbox_full);
	tcase_add_test(c, mailbox_quiet);
	tcase_add_test(c, markers_never_block);
	tcase_add_test(c, one_line_stays_one_line);
	tcase_add_test(c, held_lines);
	tcase_add_test(c, a_line_at_once);
	tcase_add_test(c, limited_lines);
	tcase_add_test(c, status_board);
	tcase_add_test(c, desktop_numbers);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
