/* The spawner with children made for the test: what each of the three may do to the others. */
#include "spawner.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/exit_status.h"

/* Shared with spawner and children. */
struct shared {
	_Atomic int opened, begun, ended;
	_Atomic pid_t spawner, child;
};

static struct shared *shared;
static bool open_fails, child_fails, child_babbles;

static int do_open(void *data, char *error, size_t error_size, int *exit_status)
{
	ck_assert_ptr_eq(data, shared);
	shared->spawner = getpid();
	shared->opened++;
	snprintf(error, error_size, "no such thing; make one");
	*exit_status = EXIT_KVM;
	return open_fails ? -1 : 0;
}

static int do_run(void *data, struct spawner_child *child)
{
	(void)data;
	shared->child = getpid();
	if (child_fails) {
		spawner_child_failed(child, "nothing works", EXIT_USAGE);
		return 9;
	}
	struct spawner_hello hello = { 0 };
	snprintf(hello.memory.text, sizeof hello.memory.text, "much");
	int fd = memfd_create("given", MFD_CLOEXEC);
	ck_assert_int_eq(write(fd, "given", 5), 5);
	spawner_child_ready(child, &hello, &fd, 1);
	if (!spawner_child_wait_begin(child))
		return 3;
	if (child_babbles)
		for (int i = 0; i < 3; i++)
			spawner_child_ready(child, &hello, &fd, 1);
	shared->begun++;
	struct pollfd end = { .fd = spawner_child_end_fd(child), .events = POLLIN };
	poll(&end, 1, -1);
	shared->ended++;
	return 7;
}

static const struct spawner_ops *ops(void)
{
	static struct spawner_ops ops = { .open = do_open, .run = do_run };
	ops.data = shared;
	return &ops;
}

static void set_up(void)
{
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
	open_fails = child_fails = child_babbles = false;
	/* What is left of a tree whose middle was killed comes to this process. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void tear_down(void)
{
	munmap(shared, sizeof *shared);
}

static struct spawner *make(void)
{
	char error[320] = "";
	int status = -1;
	struct spawner *spawner = spawner_create(ops(), error, sizeof error, &status);
	ck_assert_msg(spawner != NULL, "%s", error);
	return spawner;
}

static struct spawner_event next(struct spawner *spawner, enum spawner_word word, uint32_t child)
{
	struct spawner_event event;
	ck_assert_int_eq(spawner_wait(spawner, &event), 1);
	ck_assert_int_eq(event.word, word);
	ck_assert_uint_eq(event.child, child);
	return event;
}

static bool wait_until(_Atomic int *what, int value)
{
	for (int i = 0; i < 3000 && *what != value; i++)
		usleep(1000);
	return *what == value;
}

/* Nobody has this process id within 3 s: not even as a zombie, once reaped here. */
static bool gone(pid_t pid)
{
	for (int i = 0; i < 3000; i++) {
		waitpid(pid, NULL, WNOHANG);
		if (kill(pid, 0) < 0 && errno == ESRCH)
			return true;
		usleep(1000);
	}
	return false;
}

START_TEST(child_passes_descriptors_begins_and_ends_in_order)
{
	struct spawner *spawner = make();
	char error[320], bytes[8] = "";
	int status = -1;
	ck_assert_int_eq(spawner_await_child(spawner, error, sizeof error, &status), 0);
	struct spawner_event event = next(spawner, SPAWNER_READY, 1);
	ck_assert_str_eq(event.hello.memory.text, "much");
	ck_assert_uint_eq(event.n_fds, 1);
	ck_assert_int_eq(pread(event.fd[0], bytes, 5, 0), 5);
	ck_assert_str_eq(bytes, "given");
	ck_assert_int_eq(fcntl(event.fd[0], F_GETFD), FD_CLOEXEC);
	spawner_event_close(&event);
	usleep(20000);
	ck_assert_int_eq(shared->begun, 0);
	ck_assert(spawner_say(spawner, SPAWNER_BEGIN, 1));
	ck_assert(wait_until(&shared->begun, 1));
	pid_t child = shared->child;
	spawner_destroy(spawner);
	ck_assert_int_eq(shared->ended, 1);
	ck_assert(gone(child));
	ck_assert(gone(shared->spawner));
}
END_TEST

START_TEST(failure_to_open_is_told_with_its_status)
{
	char error[320] = "";
	int status = -1;
	open_fails = true;
	ck_assert_ptr_null(spawner_create(ops(), error, sizeof error, &status));
	ck_assert_str_eq(error, "no such thing; make one");
	ck_assert_int_eq(status, EXIT_KVM);
	ck_assert(gone(shared->spawner));
}
END_TEST

START_TEST(failure_of_the_first_child_is_told_with_its_status)
{
	char error[320] = "";
	int status = -1;
	child_fails = true;
	struct spawner *spawner = make();
	ck_assert_int_eq(spawner_await_child(spawner, error, sizeof error, &status), -1);
	ck_assert_str_eq(error, "nothing works");
	ck_assert_int_eq(status, EXIT_USAGE);
	spawner_destroy(spawner);
	ck_assert(gone(shared->child));
}
END_TEST

START_TEST(death_is_told_and_the_next_child_is_another)
{
	struct spawner *spawner = make();
	char why[96];
	int fds_before = -1;
	for (uint32_t n = 1; n <= 20; n++) {
		struct spawner_event event = next(spawner, SPAWNER_READY, n);
		if (n == 2)
			fds_before = event.fd[0];
		else if (n > 2)
			ck_assert_int_eq(event.fd[0], fds_before); /* no descriptor is left behind in this process */
		spawner_event_close(&event);
		ck_assert(spawner_say(spawner, SPAWNER_BEGIN, n));
		ck_assert(wait_until(&shared->begun, (int)n));
		kill(shared->child, SIGKILL);
		event = next(spawner, SPAWNER_DIED, n);
		ck_assert(WIFSIGNALED(event.wait_status));
		ck_assert(!event.out_of_memory);
		spawner_describe(&event, why, sizeof why);
		ck_assert_str_eq(why, "killed by signal 9 (Killed)");
		ck_assert(spawner_say(spawner, SPAWNER_START, n + 1));
	}
	ck_assert_int_eq(shared->opened, 1);
	/* Nor in the spawner: stdio, its socket, the child's pidfd and channel, and what the test's runner had open. */
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/fd/40", (int)shared->spawner);
	ck_assert_int_lt(access(path, F_OK), 0);
	spawner_destroy(spawner);
}
END_TEST

START_TEST(start_that_comes_before_the_death_waits_for_it)
{
	struct spawner *spawner = make();
	struct spawner_event event = next(spawner, SPAWNER_READY, 1);
	spawner_event_close(&event);
	pid_t first = shared->child;
	ck_assert(spawner_say(spawner, SPAWNER_START, 2));
	ck_assert(spawner_say(spawner, SPAWNER_KILL, 1)); /* also takes back the START before it */
	ck_assert(spawner_say(spawner, SPAWNER_START, 3));
	next(spawner, SPAWNER_DIED, 1);
	event = next(spawner, SPAWNER_READY, 3);
	spawner_event_close(&event);
	ck_assert_int_ne(shared->child, first);
	/* BEGIN of the one that is gone is not for this one. */
	ck_assert(spawner_say(spawner, SPAWNER_BEGIN, 1));
	usleep(20000);
	ck_assert_int_eq(shared->begun, 0);
	spawner_destroy(spawner);
}
END_TEST

START_TEST(closed_child_ends_in_order_and_another_can_follow)
{
	struct spawner *spawner = make();
	struct spawner_event event = next(spawner, SPAWNER_READY, 1);
	spawner_event_close(&event);
	ck_assert(spawner_say(spawner, SPAWNER_BEGIN, 1));
	ck_assert(wait_until(&shared->begun, 1));
	/* The word for another one is not for this one. */
	ck_assert(spawner_say(spawner, SPAWNER_CLOSE, 2));
	usleep(50000);
	ck_assert_int_eq(spawner_take(spawner, &event), 0);
	ck_assert(spawner_say(spawner, SPAWNER_CLOSE, 1));
	event = next(spawner, SPAWNER_DIED, 1);
	ck_assert(WIFEXITED(event.wait_status));
	ck_assert_int_eq(WEXITSTATUS(event.wait_status), 7);
	ck_assert_int_eq(shared->ended, 1);
	ck_assert(spawner_say(spawner, SPAWNER_CLOSE, 1)); /* nobody there */
	ck_assert(spawner_say(spawner, SPAWNER_START, 2));
	event = next(spawner, SPAWNER_READY, 2);
	spawner_event_close(&event);
	/* One that has not begun yet. */
	ck_assert(spawner_say(spawner, SPAWNER_CLOSE, 2));
	event = next(spawner, SPAWNER_DIED, 2);
	ck_assert_int_eq(WEXITSTATUS(event.wait_status), 3);
	spawner_destroy(spawner);
}
END_TEST

START_TEST(child_dies_with_the_spawner)
{
	struct spawner *spawner = make();
	struct spawner_event event = next(spawner, SPAWNER_READY, 1);
	spawner_event_close(&event);
	kill(shared->spawner, SIGKILL);
	ck_assert(gone(shared->child));
	ck_assert_int_eq(spawner_wait(spawner, &event), -1);
	ck_assert_int_eq(spawner_take(spawner, &event), -1);
	ck_assert(!spawner_say(spawner, SPAWNER_START, 2));
	spawner_destroy(spawner);
}
END_TEST

START_TEST(both_die_with_the_program)
{
	pid_t program = fork();
	if (program == 0) {
		struct spawner *spawner = make();
		struct spawner_event event = next(spawner, SPAWNER_READY, 1);
		spawner_event_close(&event);
		spawner_say(spawner, SPAWNER_BEGIN, 1);
		pause();
		_exit(0);
	}
	ck_assert(wait_until(&shared->begun, 1));
	/* A helper of the panel may hold its end of the socket for longer: what counts is the death. */
	kill(program, SIGKILL);
	waitpid(program, NULL, 0);
	ck_assert(gone(shared->child));
	ck_assert(gone(shared->spawner));
}
END_TEST

START_TEST(what_a_running_child_says_is_not_heard)
{
	/* A child that was taken over: its channel carries nothing any more. */
	child_babbles = true;
	struct spawner *spawner = make();
	struct spawner_event event = next(spawner, SPAWNER_READY, 1);
	spawner_event_close(&event);
	ck_assert(spawner_say(spawner, SPAWNER_BEGIN, 1));
	ck_assert(wait_until(&shared->begun, 1));
	usleep(50000);
	ck_assert_int_eq(spawner_take(spawner, &event), 0);
	spawner_destroy(spawner);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("spawner");
	TCase *c = tcase_create("spawner");
	tcase_add_checked_fixture(c, set_up, tear_down);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, child_passes_descriptors_begins_and_ends_in_order);
	tcase_add_test(c, failure_to_open_is_told_with_its_status);
	tcase_add_test(c, failure_of_the_first_child_is_told_with_its_status);
	tcase_add_test(c, death_is_told_and_the_next_child_is_another);
	tcase_add_test(c, start_that_comes_before_the_death_waits_for_it);
	tcase_add_test(c, closed_child_ends_in_order_and_another_can_follow);
	tcase_add_test(c, child_dies_with_the_spawner);
	tcase_add_test(c, both_die_with_the_program);
	tcase_add_test(c, what_a_running_child_says_is_not_heard);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
