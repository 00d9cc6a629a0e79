/* The machine's process as the front sees it, with a machine made for the test: deaths, policies, and who is believed what. */
#include "isolated.h"
#include "unit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "base/exit_status.h"
#include "machine_child.h"
#include "options.h"
#include "spawner.h"

#define PIXELS (1u << 20)

static struct shared {
	_Atomic pid_t child;
	_Atomic bool fails, shrinkable;
} *shared;

static struct wl_event_loop *loop;
static struct options options;
static struct spawner *spawner;
static struct isolated *isolated;
static struct status_board *board;
static struct link *link_now;
static uint32_t joins, quits;
static int quit_status;
static enum vm_state state;
static char why[96];

static int machine_open(void *data, char *error, size_t error_size, int *exit_status)
{
	(void)data;
	(void)error;
	(void)error_size;
	(void)exit_status;
	return 0;
}

static void say(struct link *link, enum vm_state what)
{
	struct link_message message = { .type = LINK_VM_STATE, .vm_state = { .state = what } };
	link_send_to_panel(link, &message);
}

static int machine_run(void *data, struct spawner_child *child)
{
	(void)data;
	struct link_handles handles;
	struct spawner_hello hello = { .memory = { STATUS_OK, "1 MiB\033[2J of it" }, .disk = { 77, "none" } };
	shared->child = getpid();
	if (shared->fails) {
		spawner_child_failed(child, "the disk is on fire", EXIT_USAGE);
		return 1;
	}
	int fd = memfd_create("pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (ftruncate(fd, PIXELS) < 0 || (!shared->shrinkable && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0))
		return 2;
	struct link *link = link_create_apart(fd, PIXELS, &handles);
	int fds[MACHINE_FDS] = { handles.rings, handles.pixels, handles.wake };
	spawner_child_ready(child, &hello, fds, MACHINE_FDS);
	link_handles_close(&handles);
	if (!spawner_child_wait_begin(child))
		return 3;
	say(link, VM_STARTING);
	say(link, VM_RUNNING);
	for (;;) {
		struct link_message message;
		struct pollfd ready[2] = { { spawner_child_end_fd(child), POLLIN, 0 }, { link_producer_fd(link), POLLIN, 0 } };
		poll(ready, 2, -1);
		if (ready[0].revents != 0)
			return 0;
		link_ack_producer(link);
		while (link_receive_for_producer(link, &message))
			if (message.type == LINK_COMMAND && message.command.command == LINK_VM_STOP)
				say(link, VM_STOPPED);
	}
}

static void on_join(void *data, struct link *link)
{
	(void)data;
	link_destroy(link_now);
	link_now = link;
	joins += link != NULL;
}

static void on_state(void *data, enum vm_state new_state, const char *text)
{
	(void)data;
	state = new_state;
	snprintf(why, sizeof why, "%s", text);
}

static void on_quit(void *data, int status)
{
	(void)data;
	quits++;
	quit_status = status;
}

/* The front's part: what the machine says of itself. */
static void listen_to_machine(void)
{
	struct link_message message;
	if (link_now == NULL)
		return;
	link_ack_panel(link_now);
	while (link_receive_for_panel(link_now, &message)) {
		state = (enum vm_state)message.vm_state.state;
		why[0] = '\0';
		isolated_heard(isolated, state);
	}
}

static bool reaches(enum vm_state wanted)
{
	for (uint64_t end = clock_now_ns() + 10 * NSEC_PER_SEC; clock_now_ns() < end;) {
		wl_event_loop_dispatch(loop, 5);
		listen_to_machine();
		if (state == wanted)
			return true;
	}
	return false;
}

static void turn_for(uint64_t ms)
{
	for (uint64_t end = clock_now_ns() + ms * NSEC_PER_MSEC; clock_now_ns() < end;) {
		wl_event_loop_dispatch(loop, 5);
		listen_to_machine();
	}
}

static void begin(enum policy on_crash)
{
	char error[320] = "";
	int status = -1;
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	signal(SIGPIPE, SIG_IGN);
	options = (struct options){ .on_crash = on_crash };
	joins = quits = 0;
	state = VM_NONE;
	link_now = NULL;
	struct spawner_ops ops = { .open = machine_open, .run = machine_run };
	spawner = spawner_create(&ops, error, sizeof error, &status);
	ck_assert_msg(spawner != NULL, "%s", error);
	ck_assert_int_eq(spawner_await_child(spawner, error, sizeof error, &status), 0);
	loop = wl_event_loop_create();
	board = status_board_create();
	struct isolated_config config = { .options = &options, .spawner = spawner, .board = board, .join = on_join, .state = on_state, .quit = on_quit };
	isolated = isolated_create(loop, &config);
	ck_assert_ptr_nonnull(isolated);
	isolated_run(isolated);
	ck_assert_uint_eq(joins, 1);
	ck_assert(reaches(VM_RUNNING));
}

static void end(void)
{
	isolated_destroy(isolated);
	link_destroy(link_now);
	spawner_destroy(spawner);
	status_board_destroy(board);
	wl_event_loop_destroy(loop);
}

START_TEST(death_is_a_crash_and_stays_one)
{
	struct status status;
	begin(POLICY_STAY);
	status_board_read(board, &status);
	ck_assert_str_eq(status.line[STATUS_MEMORY].text, "1 MiB?[2J of it"); /* nothing that a terminal would obey */
	ck_assert_int_eq(status.line[STATUS_DISK].tag, STATUS_NONE);
	kill(shared->child, SIGKILL); /* a sanitizer keeps SIGSEGV for itself */
	ck_assert(reaches(VM_CRASHED));
	ck_assert_str_eq(why, "its process was killed by signal 9 (Killed)");
	ck_assert_ptr_null(link_now);
	turn_for(1500);
	ck_assert_int_eq(state, VM_CRASHED);
	ck_assert_uint_eq(quits, 0);
	/* Dealt with here: there is nobody to send it to. */
	ck_assert(isolated_command(isolated, LINK_VM_PAUSE));
	ck_assert(isolated_command(isolated, LINK_VM_STOP));
	ck_assert_int_eq(state, VM_CRASHED);
	ck_assert(isolated_command(isolated, LINK_VM_RESET));
	ck_assert_int_eq(state, VM_STARTING);
	ck_assert(reaches(VM_RUNNING));
	ck_assert_uint_eq(joins, 2);
	ck_assert(!isolated_command(isolated, LINK_VM_PAUSE));
	end();
}
END_TEST

START_TEST(policy_restart_is_paced_and_can_be_stopped)
{
	begin(POLICY_RESTART);
	uint64_t start = clock_now_ns();
	kill(shared->child, SIGKILL);
	ck_assert(reaches(VM_CRASHED));
	ck_assert(reaches(VM_RUNNING));
	ck_assert_uint_ge(clock_now_ns() - start, 500 * NSEC_PER_MSEC); /* a second from start to start */
	ck_assert_uint_eq(joins, 2);
	kill(shared->child, SIGKILL);
	ck_assert(reaches(VM_CRASHED));
	ck_assert(isolated_command(isolated, LINK_VM_STOP));
	ck_assert_int_eq(state, VM_STOPPED);
	turn_for(1500);
	ck_assert_int_eq(state, VM_STOPPED);
	ck_assert_uint_eq(joins, 2);
	end();
}
END_TEST

START_TEST(policy_exit_ends_the_program_with_a_failure)
{
	begin(POLICY_EXIT);
	kill(shared->child, SIGKILL);
	ck_assert(reaches(VM_CRASHED));
	ck_assert_uint_eq(quits, 1);
	ck_assert_int_eq(quit_status, EXIT_FAILED);
	end();
}
END_TEST

START_TEST(death_of_a_machine_that_is_switched_off_is_no_crash)
{
	begin(POLICY_EXIT);
	ck_assert(!isolated_command(isolated, LINK_VM_STOP));
	struct link_message stop = { .type = LINK_COMMAND, .command = { LINK_VM_STOP } };
	ck_assert(link_send_to_producer(link_now, &stop));
	ck_assert(reaches(VM_STOPPED));
	kill(shared->child, SIGKILL);
	turn_for(300);
	ck_assert_int_eq(state, VM_STOPPED);
	ck_assert_uint_eq(quits, 0);
	ck_assert_ptr_null(link_now);
	ck_assert(isolated_command(isolated, LINK_VM_START));
	ck_assert(reaches(VM_RUNNING));
	end();
}
END_TEST

START_TEST(next_machine_that_fails_says_why)
{
	begin(POLICY_STAY);
	kill(shared->child, SIGKILL);
	ck_assert(reaches(VM_CRASHED));
	shared->fails = true;
	ck_assert(isolated_command(isolated, LINK_VM_START));
	ck_assert(reaches(VM_STOPPED));
	ck_assert_str_eq(why, "the disk is on fire");
	/* And one whose memory could shrink under the panel is not joined. */
	shared->fails = false;
	shared->shrinkable = true;
	ck_assert(isolated_command(isolated, LINK_VM_START));
	ck_assert_int_eq(state, VM_STARTING);
	ck_assert(reaches(VM_STOPPED));
	ck_assert_ptr_nonnull(strstr(why, "cannot join"));
	ck_assert_uint_eq(joins, 1);
	shared->shrinkable = false;
	ck_assert(isolated_command(isolated, LINK_VM_START));
	ck_assert(reaches(VM_RUNNING));
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("isolated");
	TCase *c = tcase_create("isolated");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, death_is_a_crash_and_stays_one);
	tcase_add_test(c, policy_restart_is_paced_and_can_be_stopped);
	tcase_add_test(c, policy_exit_ends_the_program_with_a_failure);
	tcase_add_test(c, death_of_a_machine_that_is_switched_off_is_no_crash);
	tcase_add_test(c, next_machine_that_fails_says_why);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
