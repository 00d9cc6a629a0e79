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
#define ANSWER_MS 1000 /* an honest process ends in less, also on a busy machine */

static struct shared {
	_Atomic pid_t child, spawner, stays; /* the last: a child that never ends by itself */
	_Atomic bool fails, shrinkable;
	/* Other machines that were taken over: one takes no notice of a stop, one answers each command with `lie` and nothing else. */
	_Atomic bool deaf;
	_Atomic int lie;
} *shared;

static struct wl_event_loop *loop;
static struct options options;
static struct spawner *spawner;
static struct isolated *isolated;
static struct status_board *board;
static struct link *link_now;
static uint32_t joins, quits, heard;
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

static void say_off(struct link *link, enum vm_state what)
{
	struct link_message message = { .type = LINK_ACTION, .action = { LINK_ACTION_OFF } };
	say(link, what);
	link_send_to_panel(link, &message);
}

/* What the real machine does of it. */
static void obey(struct link *link, uint32_t command)
{
	if (shared->lie != 0) {
		say(link, (enum vm_state)shared->lie);
		return;
	}
	switch (command) {
	case LINK_VM_STOP:
		if (!shared->deaf)
			say_off(link, VM_STOPPED);
		break;
	case LINK_VM_RESET:
		say(link, VM_STOPPED);
		say(link, VM_STARTING);
		say(link, VM_RUNNING);
		break;
	case LINK_VM_PAUSE: /* the test's: the guest powers off */
		say_off(link, VM_STOPPED);
		break;
	case LINK_VM_RESUME: /* the test's: it crashes */
		say_off(link, VM_CRASHED);
		break;
	default:
		break;
	}
}

static int machine_run(void *data, struct spawner_child *child)
{
	(void)data;
	struct link_handles handles;
	struct spawner_hello hello = { .memory = { STATUS_OK, "1 MiB\033[2J of it" }, .disk = { 77, "none" } };
	shared->child = getpid();
	shared->spawner = getppid();
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
		struct pollfd ready[2] = { { shared->stays == getpid() ? -1 : spawner_child_end_fd(child), POLLIN, 0 }, { link_producer_fd(link), POLLIN, 0 } };
		poll(ready, 2, -1);
		if (ready[0].revents != 0)
			return 0;
		link_ack_producer(link);
		while (link_receive_for_producer(link, &message))
			if (message.type == LINK_COMMAND)
				obey(link, message.command.command);
	}
}

static bool keeps; /* the panel is slow to let go */

static bool on_join(void *data, struct link *link)
{
	(void)data;
	link_destroy(link_now);
	link_now = link;
	joins += link != NULL;
	return !keeps;
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
		if (message.type == LINK_ACTION && message.action.action == LINK_ACTION_OFF)
			isolated_off(isolated);
		if (message.type != LINK_VM_STATE || !isolated_heard(isolated, (enum vm_state)message.vm_state.state))
			continue;
		state = (enum vm_state)message.vm_state.state;
		why[0] = '\0';
		heard++;
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

/* As the front does it: to the machine unless it was dealt with. */
static void command(enum link_vm_command what)
{
	struct link_message message = { .type = LINK_COMMAND, .command = { what } };
	if (!isolated_command(isolated, what))
		ck_assert(link_send_to_producer(link_now, &message));
}

/* The machine's process is no more, and the panel has let go of its link. How long that took. */
static uint64_t leaves(pid_t child)
{
	uint64_t start = clock_now_ns();
	while (clock_now_ns() < start + 10 * NSEC_PER_SEC && (kill(child, 0) == 0 || link_now != NULL)) {
		wl_event_loop_dispatch(loop, 5);
		listen_to_machine();
	}
	ck_assert_int_lt(kill(child, 0), 0);
	ck_assert_ptr_null(link_now);
	return (clock_now_ns() - start) / NSEC_PER_MSEC;
}

static void starts_again(pid_t last)
{
	uint32_t before = joins;
	shared->deaf = false;
	shared->lie = 0;
	command(LINK_VM_START);
	ck_assert_int_eq(state, VM_STARTING);
	ck_assert(reaches(VM_RUNNING));
	ck_assert_uint_eq(joins, before + 1);
	ck_assert_int_ne(shared->child, last);
	ck_assert_uint_eq(quits, 0);
}

static void begin(enum policy on_crash)
{
	char error[320] = "";
	int status = -1;
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	signal(SIGPIPE, SIG_IGN);
	options = (struct options){ .on_crash = on_crash };
	joins = quits = heard = 0;
	keeps = false;
	state = VM_NONE;
	link_now = NULL;
	struct spawner_ops ops = { .open = machine_open, .run = machine_run };
	spawner = spawner_create(&ops, error, sizeof error, &status);
	ck_assert_msg(spawner != NULL, "%s", error);
	ck_assert_int_eq(spawner_await_child(spawner, error, sizeof error, &status), 0);
	loop = wl_event_loop_create();
	board = status_board_create();
	struct isolated_config config = { .options = &options, .spawner = spawner, .board = board, .join = on_join, .state = on_state, .quit = on_quit,
		.answer_ms = ANSWER_MS };
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

START_TEST(machine_that_is_off_has_no_process)
{
	begin(POLICY_STAY);
	for (int round = 0; round < 3; round++) {
		/* A stop; the guest powers off; it crashes. */
		static const enum link_vm_command off[] = { LINK_VM_STOP, LINK_VM_PAUSE, LINK_VM_RESUME };
		pid_t child = shared->child;
		enum vm_state becomes = off[round] == LINK_VM_RESUME ? VM_CRASHED : VM_STOPPED;
		command(off[round]);
		ck_assert(reaches(becomes));
		ck_assert_uint_lt(leaves(child), ANSWER_MS);
		turn_for(ANSWER_MS + 200);
		ck_assert_int_eq(state, becomes);
		ck_assert_str_eq(why, ""); /* the machine's own reason stays */
		/* What a machine that is off does not do, this does not either. */
		ck_assert(isolated_command(isolated, LINK_VM_PAUSE));
		ck_assert(isolated_command(isolated, LINK_VM_STOP));
		if (becomes == VM_STOPPED)
			ck_assert(isolated_command(isolated, LINK_VM_RESET));
		ck_assert_int_eq(state, becomes);
		starts_again(child);
	}
	end();
}
END_TEST

START_TEST(crash_that_the_machine_told_is_followed_by_the_policy)
{
	begin(POLICY_RESTART); /* which it would see to by itself: this one ends instead */
	command(LINK_VM_RESUME);
	ck_assert(reaches(VM_CRASHED));
	ck_assert(reaches(VM_RUNNING));
	ck_assert_uint_eq(joins, 2);
	end();
	begin(POLICY_EXIT);
	command(LINK_VM_RESUME);
	ck_assert(reaches(VM_CRASHED));
	leaves(shared->child);
	ck_assert_uint_eq(quits, 1);
	ck_assert_int_eq(quit_status, EXIT_FAILED);
	end();
}
END_TEST

START_TEST(machine_that_only_says_that_it_stopped_is_killed)
{
	begin(POLICY_EXIT);
	pid_t child = shared->child;
	shared->stays = child;
	shared->lie = VM_STOPPED; /* not that it is done */
	command(LINK_VM_STOP);
	ck_assert(reaches(VM_STOPPED));
	uint64_t took = leaves(child);
	ck_assert_uint_ge(took, ANSWER_MS / 2); /* it had its time */
	ck_assert_uint_lt(took, 8 * ANSWER_MS);
	ck_assert_int_eq(state, VM_STOPPED);
	starts_again(child);
	/* And one that somebody starts before that: it is not this one that runs. */
	child = shared->child;
	shared->stays = child;
	command(LINK_VM_STOP);
	ck_assert(reaches(VM_STOPPED));
	starts_again(child);
	ck_assert_int_lt(kill(child, 0), 0);
	turn_for(2 * ANSWER_MS);
	ck_assert_int_eq(state, VM_RUNNING);
	ck_assert_uint_eq(joins, 3);
	end();
}
END_TEST

START_TEST(machine_that_says_unasked_that_it_is_off_is_killed)
{
	begin(POLICY_STAY);
	for (int round = 0; round < 2; round++) {
		pid_t child = shared->child;
		shared->lie = round == 0 ? VM_STOPPED : VM_CRASHED; /* and neither ends nor starts again */
		command(LINK_VM_POWERDOWN);
		ck_assert(reaches((enum vm_state)shared->lie));
		turn_for(ANSWER_MS / 2);
		command(LINK_VM_POWERDOWN); /* saying it again is no new term */
		ck_assert_uint_lt(leaves(child), ANSWER_MS);
		ck_assert_int_eq(state, round == 0 ? VM_STOPPED : VM_CRASHED);
		starts_again(child);
	}
	/* One that starts again by itself is none of these. */
	pid_t child = shared->child;
	shared->lie = VM_STOPPED;
	command(LINK_VM_POWERDOWN);
	ck_assert(reaches(VM_STOPPED));
	shared->lie = VM_STARTING;
	command(LINK_VM_POWERDOWN);
	ck_assert(reaches(VM_STARTING));
	turn_for(2 * ANSWER_MS);
	ck_assert_int_eq(shared->child, child);
	ck_assert_int_eq(kill(child, 0), 0);
	end();
}
END_TEST

START_TEST(machine_that_does_not_stop_is_killed)
{
	begin(POLICY_EXIT);
	pid_t child = shared->child;
	shared->deaf = true;
	command(LINK_VM_STOP);
	turn_for(ANSWER_MS / 2);
	ck_assert_int_eq(state, VM_RUNNING);
	command(LINK_VM_STOP); /* a second one is no new term */
	ck_assert_uint_lt(leaves(child), ANSWER_MS);
	ck_assert_int_eq(state, VM_STOPPED);
	ck_assert_str_eq(why, "its process was killed by signal 9 (Killed)");
	starts_again(child);
	/* Nor is any other word an answer to a stop. */
	static const enum vm_state words[] = { VM_STARTING, VM_RUNNING, VM_PAUSED, VM_STOPPING };
	for (uint32_t i = 0; i < ARRAY_LEN(words); i++) {
		child = shared->child;
		heard = 0;
		shared->lie = (int)words[i];
		command(LINK_VM_STOP);
		uint64_t took = leaves(child);
		ck_assert_uint_gt(heard, 0);
		ck_assert_uint_lt(took, 8 * ANSWER_MS);
		ck_assert_int_eq(state, VM_STOPPED);
		starts_again(child);
	}
	/* "Stopped" is none to a reset: another process does it then. */
	child = shared->child;
	shared->lie = VM_STOPPED;
	command(LINK_VM_RESET);
	ck_assert(reaches(VM_STOPPED));
	ck_assert(reaches(VM_RUNNING));
	ck_assert_int_ne(shared->child, child);
	ck_assert_uint_eq(joins, 7);
	end();
}
END_TEST

START_TEST(words_after_the_stop_are_not_heard)
{
	begin(POLICY_STAY);
	pid_t child = shared->child;
	shared->stays = child;
	command(LINK_VM_STOP);
	ck_assert(reaches(VM_STOPPED));
	struct link_message pause = { .type = LINK_COMMAND, .command = { LINK_VM_PAUSE } };
	shared->lie = VM_RUNNING;
	heard = 0;
	ck_assert(link_send_to_producer(link_now, &pause));
	leaves(child);
	ck_assert_uint_eq(heard, 0);
	ck_assert_int_eq(state, VM_STOPPED);
	end();
}
END_TEST

START_TEST(reset_is_answered_by_the_same_process)
{
	begin(POLICY_STAY);
	pid_t child = shared->child;
	heard = 0;
	command(LINK_VM_RESET);
	turn_for(2 * ANSWER_MS);
	ck_assert_uint_eq(heard, 3);
	ck_assert_int_eq(state, VM_RUNNING);
	ck_assert_int_eq(shared->child, child);
	ck_assert_uint_eq(joins, 1);
	end();
}
END_TEST

START_TEST(stop_during_a_start_and_twice)
{
	begin(POLICY_EXIT);
	pid_t child = shared->child;
	command(LINK_VM_STOP);
	command(LINK_VM_STOP);
	ck_assert(reaches(VM_STOPPED));
	command(LINK_VM_STOP);
	ck_assert_uint_lt(leaves(child), ANSWER_MS);
	/* While the next one sets itself up, and while it may not have begun to. */
	for (int round = 0; round < 6; round++) {
		child = shared->child;
		command(LINK_VM_START);
		ck_assert_int_eq(state, VM_STARTING);
		if (round % 2 != 0)
			turn_for(1);
		command(LINK_VM_STOP);
		if (state != VM_STOPPED)
			ck_assert(reaches(VM_STOPPED));
		command(LINK_VM_STOP);
		turn_for(100);
		ck_assert_int_eq(state, VM_STOPPED);
		ck_assert_ptr_null(link_now);
		ck_assert_int_lt(kill(shared->child, 0), 0);
	}
	ck_assert_uint_eq(quits, 0);
	starts_again(child);
	turn_for(2 * ANSWER_MS);
	ck_assert_int_eq(state, VM_RUNNING);
	end();
}
END_TEST

/* As with storage that is dead: the kernel keeps the process until that answers. The spawner stands for it here. */
START_TEST(last_process_that_cannot_end_is_named)
{
	begin(POLICY_STAY);
	pid_t child = shared->child;
	shared->stays = child;
	command(LINK_VM_STOP);
	ck_assert(reaches(VM_STOPPED));
	kill(shared->spawner, SIGSTOP);
	turn_for(2 * ANSWER_MS); /* killed, in vain */
	ck_assert_int_eq(state, VM_STOPPED);
	command(LINK_VM_START);
	ck_assert_int_eq(state, VM_STARTING);
	ck_assert_str_eq(why, "");
	turn_for(2 * ANSWER_MS);
	ck_assert_int_eq(state, VM_STARTING);
	ck_assert_str_eq(why, "waits for the last machine's process: see to its storage");
	command(LINK_VM_STOP);
	ck_assert_int_eq(state, VM_STOPPED);
	command(LINK_VM_START);
	kill(shared->spawner, SIGCONT);
	ck_assert(reaches(VM_RUNNING));
	ck_assert_int_ne(shared->child, child);
	turn_for(2 * ANSWER_MS);
	ck_assert_int_eq(state, VM_RUNNING);
	ck_assert_uint_eq(joins, 2);
	end();
}
END_TEST

START_TEST(death_of_a_machine_that_is_switched_off_is_no_crash)
{
	begin(POLICY_EXIT);
	pid_t child = shared->child;
	shared->stays = child;
	command(LINK_VM_STOP);
	ck_assert(reaches(VM_STOPPED));
	kill(child, SIGKILL);
	ck_assert_uint_lt(leaves(child), ANSWER_MS);
	ck_assert_int_eq(state, VM_STOPPED);
	starts_again(child);
	end();
}
END_TEST

/* The panel may hold the last machine's memory for a while. A pool of huge pages may have no room for both. */
START_TEST(next_machine_waits_for_the_last_ones_memory)
{
	begin(POLICY_RESTART);
	pid_t child = shared->child;
	keeps = true;
	turn_for(1100); /* a restart would be due at once */
	kill(child, SIGKILL);
	ck_assert(reaches(VM_CRASHED));
	ck_assert(reaches(VM_STARTING));
	turn_for(300);
	ck_assert_int_eq(shared->child, child);
	isolated_joined(isolated);
	ck_assert(reaches(VM_RUNNING));
	ck_assert_int_ne(shared->child, child);
	/* It is not made at all when it is not wanted any more. */
	isolated_joined(isolated);
	child = shared->child;
	kill(child, SIGKILL);
	ck_assert(reaches(VM_STARTING));
	ck_assert(isolated_command(isolated, LINK_VM_STOP));
	ck_assert_int_eq(state, VM_STOPPED);
	isolated_joined(isolated);
	turn_for(300);
	ck_assert_int_eq(shared->child, child);
	ck_assert_int_eq(state, VM_STOPPED);
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
	tcase_add_test(c, machine_that_is_off_has_no_process);
	tcase_add_test(c, crash_that_the_machine_told_is_followed_by_the_policy);
	tcase_add_test(c, machine_that_only_says_that_it_stopped_is_killed);
	tcase_add_test(c, machine_that_says_unasked_that_it_is_off_is_killed);
	tcase_add_test(c, machine_that_does_not_stop_is_killed);
	tcase_add_test(c, words_after_the_stop_are_not_heard);
	tcase_add_test(c, reset_is_answered_by_the_same_process);
	tcase_add_test(c, stop_during_a_start_and_twice);
	tcase_add_test(c, last_process_that_cannot_end_is_named);
	tcase_add_test(c, death_of_a_machine_that_is_switched_off_is_no_crash);
	tcase_add_test(c, next_machine_that_fails_says_why);
	tcase_add_test(c, next_machine_waits_for_the_last_ones_memory);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
