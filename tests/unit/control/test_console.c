/* The console command against the machine's end of a console, and rayvmctl on a terminal. */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/base.h"
#include "base/console.h"
#include "base/mailbox.h"
#include "base/stats.h"
#include "base/status.h"
#include "control/control.h"
#include "unit.h"

#define WAIT_MS 10000

/* A control socket whose machine the test plays. */
static struct {
	char path[64];
	struct status_board *board;
	struct stats *stats;
	struct mailbox *front;
	struct console_pairs pairs;
	struct control *control;
	struct console_end end[CONSOLE_STREAMS];
} f;

static int no_key(const char *name)
{
	(void)name;
	return -1;
}

static void open_control(const struct console_pairs *pairs)
{
	char error[256];
	struct control_config config = { .path = f.path, .board = f.board, .stats = f.stats, .front = f.front, .key_code = no_key,
		.consoles = pairs, .console_default = CONSOLE_HVC0 };
	f.control = control_create(&config, error, sizeof error);
	ck_assert_msg(f.control != NULL, "%s", error);
	ck_assert_int_eq(control_start(f.control), 0);
}

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	memset(&f, 0, sizeof f);
	snprintf(f.path, sizeof f.path, "/tmp/rayvm-console-%d.sock", (int)getpid());
	unlink(f.path);
	f.board = status_board_create();
	f.stats = calloc(1, sizeof *f.stats);
	f.front = mailbox_create(256, sizeof(struct control_request));
	ck_assert_int_eq(console_pairs_open(&f.pairs), 0);
	for (int i = 0; i < CONSOLE_STREAMS; i++)
		console_end_init(&f.end[i], f.pairs.machine[i], i != CONSOLE_AGENT, f.stats);
	open_control(&f.pairs);
}

static void teardown(void)
{
	control_destroy(f.control);
	for (int i = 0; i < CONSOLE_STREAMS; i++)
		console_end_finish(&f.end[i]);
	console_pairs_close(&f.pairs);
	mailbox_destroy(f.front);
	free(f.stats);
	status_board_destroy(f.board);
}

static int dial(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	strcpy(address.sun_path, f.path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	struct timeval limit = { .tv_sec = WAIT_MS / 1000 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	return fd;
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* One line, without what follows it. */
static void expect_line(int fd, const char *part)
{
	char line[512];
	size_t n = 0;
	do
		ck_assert_int_eq(read(fd, line + n, 1), 1);
	while (line[n++] != '\n' && n < sizeof line - 1);
	line[n] = '\0';
	ck_assert_msg(strstr(line, part) != NULL, "'%s' is not in: %s", part, line);
}

static void expect_bytes(int fd, const char *text)
{
	char got[1024] = "";
	for (size_t n = 0; n < strlen(text);) {
		ssize_t part = read(fd, got + n, strlen(text) - n);
		ck_assert_msg(part > 0, "only '%s' of '%s' came", got, text);
		n += (size_t)part;
	}
	ck_assert_str_eq(got, text);
}

/* The machine's turn until `done`, at most WAIT_MS. */
#define serve_until(stream, done)                                                       \
	do {                                                                            \
		int left = WAIT_MS;                                                     \
		for (console_end_serve(&f.end[stream]); !(done) && left > 0; left--) {  \
			usleep(1000);                                                   \
			console_end_serve(&f.end[stream]);                              \
		}                                                                       \
		ck_assert_msg(done, "%s", #done);                                       \
	} while (0)

static void join(int fd, enum console_stream stream)
{
	char line[100];
	snprintf(line, sizeof line, "{\"command\":\"console\",\"arguments\":{\"port\":\"%s\"}}\n", console_name(stream));
	say(fd, line);
	expect_line(fd, console_name(stream));
	serve_until(stream, console_end_attached(&f.end[stream]));
}

START_TEST(bytes_both_ways)
{
	for (int i = 0; i < CONSOLE_STREAMS; i++) {
		int fd = dial();
		console_end_put(&f.end[i], "earlier\n", 8);
		join(fd, (enum console_stream)i);
		if (i != CONSOLE_AGENT)
			expect_bytes(fd, "earlier\n");
		console_end_put(&f.end[i], "login: ", 7);
		console_end_serve(&f.end[i]);
		expect_bytes(fd, "login: ");
		say(fd, "{root}\n\x1d");
		serve_until(i, f.end[i].in_size == 8);
		ck_assert_mem_eq(f.end[i].in, "{root}\n\x1d", 8);
		console_end_taken(&f.end[i], 8);
		close(fd);
		serve_until(i, !console_end_attached(&f.end[i]));
	}
	int fd = dial();
	say(fd, "{\"command\":\"console\"}\n"); /* the default */
	expect_line(fd, "hvc0");
	close(fd);
}
END_TEST

START_TEST(what_is_sent_behind_the_command_is_input)
{
	int fd = dial();
	say(fd, "{\"command\":\"console\",\"arguments\":{\"port\":\"com1\"}}\nnot a command\n");
	expect_line(fd, "com1");
	serve_until(CONSOLE_COM1, f.end[CONSOLE_COM1].in_size == 14);
	ck_assert_mem_eq(f.end[CONSOLE_COM1].in, "not a command\n", 14);
	close(fd);
}
END_TEST

START_TEST(refusals)
{
	int fd = dial(), second = dial();
	say(fd, "{\"command\":\"console\",\"arguments\":{\"port\":\"com9\"}}\n");
	expect_line(fd, "com1, hvc0 or agent");
	join(fd, CONSOLE_AGENT);
	say(second, "{\"command\":\"console\",\"arguments\":{\"port\":\"agent\"}}\n");
	expect_line(second, "somebody else");
	say(second, "{\"command\":\"status\"}\n"); /* it goes on as a client */
	expect_line(second, "presentation");
	close(fd);
	serve_until(CONSOLE_AGENT, !console_end_attached(&f.end[CONSOLE_AGENT]));
	join(second, CONSOLE_AGENT);
	close(second);
	control_destroy(f.control);
	open_control(NULL);
	fd = dial();
	say(fd, "{\"command\":\"console\"}\n");
	expect_line(fd, "no guest");
	close(fd);
}
END_TEST

START_TEST(several_clients)
{
	int first = dial(), second = dial(), third = dial();
	struct console_end *end = &f.end[CONSOLE_HVC0];
	join(first, CONSOLE_HVC0);
	console_end_put(end, "one ", 4);
	console_end_serve(end);
	expect_bytes(first, "one ");
	join(second, CONSOLE_HVC0);
	expect_bytes(second, "one "); /* what was said before it came */
	console_end_put(end, "two ", 4);
	console_end_serve(end);
	expect_bytes(first, "two ");
	expect_bytes(second, "two ");
	say(first, "a");
	serve_until(CONSOLE_HVC0, end->in_size == 1);
	say(second, "b");
	serve_until(CONSOLE_HVC0, end->in_size == 2);
	ck_assert_mem_eq(end->in, "ab", 2);
	close(first);
	usleep(50000);
	console_end_serve(end);
	ck_assert(console_end_attached(end));
	console_end_put(end, "three", 5);
	console_end_serve(end);
	expect_bytes(second, "three");
	close(second);
	serve_until(CONSOLE_HVC0, !console_end_attached(end));
	/* A new conversation does not begin with the remains of the old one twice. */
	join(third, CONSOLE_HVC0);
	console_end_put(end, "four", 4);
	console_end_serve(end);
	expect_bytes(third, "four");
	close(third);
}
END_TEST

START_TEST(input_waits_for_the_guest)
{
	struct console_end *end = &f.end[CONSOLE_COM1];
	int fd = dial();
	static char bytes[100000], got[100000];
	size_t sent = 0, n = 0;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)('a' + i % 23);
	join(fd, CONSOLE_COM1);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	/* A guest that takes nothing: no more than the window waits with it, and the commands of others go on. */
	for (int i = 0; i < 100; i++) {
		ssize_t part = write(fd, bytes + sent, sizeof bytes - sent);
		if (part > 0)
			sent += (size_t)part;
		usleep(1000);
		console_end_serve(end);
	}
	ck_assert_uint_eq(end->in_size, CONSOLE_WINDOW);
	int other = dial();
	say(other, "{\"command\":\"status\"}\n");
	expect_line(other, "presentation");
	close(other);
	for (int i = 0; i < WAIT_MS && n < sizeof bytes; i++) {
		uint32_t part = end->in_size;
		memcpy(got + n, end->in, part);
		n += part;
		console_end_taken(end, part);
		console_end_serve(end);
		if (sent < sizeof bytes) {
			ssize_t more = write(fd, bytes + sent, sizeof bytes - sent);
			if (more > 0)
				sent += (size_t)more;
		}
		usleep(1000);
		console_end_serve(end);
	}
	ck_assert_uint_eq(n, sizeof bytes);
	ck_assert_mem_eq(got, bytes, sizeof bytes);
	close(fd);
}
END_TEST

START_TEST(slow_client_loses_and_is_told) /* and holds up neither the guest nor who reads */
{
	static char line[1001];
	struct console_end *end = &f.end[CONSOLE_COM1];
	int slow = dial(), quick = dial();
	memset(line, 'x', 1000);
	join(slow, CONSOLE_COM1);
	join(quick, CONSOLE_COM1);
	fcntl(quick, F_SETFL, O_NONBLOCK);
	size_t heard = 0;
	char bytes[65536];
	for (int i = 0; i < 2000; i++) { /* 2 MB */
		console_end_put(end, line, 1000);
		while (console_end_room(end) < CONSOLE_HISTORY) {
			console_end_serve(end);
			ssize_t part;
			while ((part = read(quick, bytes, sizeof bytes)) > 0)
				heard += (size_t)part;
		}
	}
	for (int i = 0; i < 1000 && heard < 2000000; i++) {
		ssize_t part = read(quick, bytes, sizeof bytes);
		heard += part > 0 ? (size_t)part : 0;
		usleep(part > 0 ? 0 : 1000);
	}
	ck_assert_uint_eq(heard, 2000000);
	uint64_t dropped = f.stats->console_dropped;
	ck_assert_uint_gt(dropped, 1000000);
	/* It reads again: the backlog, a notice, and then what is new. */
	fcntl(slow, F_SETFL, O_NONBLOCK);
	uint64_t told = 0, kept = 0;
	char text[2 * 4096 + 1];
	size_t left = 0;
	for (int i = 0; i < 500 && told == 0; i++) {
		ssize_t part = read(slow, text + left, 4096);
		if (part <= 0) {
			console_end_put(end, "new", 3);
			console_end_serve(end);
			usleep(1000);
			continue;
		}
		left += (size_t)part;
		text[left] = '\0';
		char *notice = strchr(text, '[');
		if (notice != NULL && strchr(notice, ']') != NULL) {
			ck_assert_int_eq(sscanf(notice, "[%lu bytes lost]", &told), 1);
			kept += (size_t)(notice - text);
		} else if (notice == NULL) {
			kept += left;
			left = 0;
		}
		i = 0;
	}
	ck_assert_uint_ge(told, dropped);
	ck_assert_uint_gt(kept, 100000);
	close(slow);
	close(quick);
}
END_TEST

START_TEST(agent_output_waits_for_its_client)
{
	struct console_end *end = &f.end[CONSOLE_AGENT];
	int fd = dial();
	static uint8_t bytes[600000], got[600000];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 13 + i / 997);
	join(fd, CONSOLE_AGENT);
	size_t put = 0;
	/* As far as it goes without a reader ... */
	for (int i = 0; i < 200; i++) {
		uint32_t room = console_end_room(end);
		if (room > sizeof bytes - put)
			room = (uint32_t)(sizeof bytes - put);
		console_end_put(end, bytes + put, room);
		put += room;
		console_end_serve(end);
		usleep(1000);
	}
	ck_assert_uint_lt(put, sizeof bytes);
	/* ... and then all the rest, nothing lost. */
	size_t n = 0;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < WAIT_MS && n < sizeof bytes; i++) {
		ssize_t part = read(fd, got + n, sizeof got - n);
		if (part > 0)
			n += (size_t)part;
		else
			usleep(1000);
		uint32_t room = console_end_room(end);
		if (room > sizeof bytes - put)
			room = (uint32_t)(sizeof bytes - put);
		console_end_put(end, bytes + put, room);
		put += room;
		console_end_serve(end);
	}
	ck_assert_uint_eq(n, sizeof bytes);
	ck_assert_mem_eq(got, bytes, sizeof bytes);
	ck_assert_uint_eq(f.stats->console_dropped, 0);
	close(fd);
}
END_TEST

static void next_generation(struct status *status, void *data)
{
	(void)data;
	status->vm_generation++;
}

START_TEST(attached_to_a_machine_that_starts_anew)
{
	struct console_end *end = &f.end[CONSOLE_COM1];
	int fd = dial();
	join(fd, CONSOLE_COM1);
	say(fd, "lost with its guest");
	serve_until(CONSOLE_COM1, end->in_size == 19);
	/* The machine's process is another one. */
	console_end_finish(end);
	console_end_init(end, f.pairs.machine[CONSOLE_COM1], true, f.stats);
	status_board_update(f.board, next_generation, NULL);
	serve_until(CONSOLE_COM1, console_end_attached(end));
	console_end_put(end, "again", 5);
	console_end_serve(end);
	expect_bytes(fd, "again");
	say(fd, "typed");
	serve_until(CONSOLE_COM1, end->in_size == 5);
	close(fd);
}
END_TEST

START_TEST(machine_gone_for_good)
{
	int fd = dial();
	char byte;
	join(fd, CONSOLE_COM1);
	close(f.pairs.machine[CONSOLE_COM1]);
	f.pairs.machine[CONSOLE_COM1] = f.end[CONSOLE_COM1].fd = -1;
	ck_assert_int_eq(read(fd, &byte, 1), 0);
	close(fd);
	fd = dial();
	say(fd, "{\"command\":\"console\",\"arguments\":{\"port\":\"com1\"}}\n");
	expect_line(fd, "no guest");
	close(fd);
}
END_TEST

/* A machine whose numbers lie. */
START_TEST(hostile_machine)
{
	int fd = dial(), machine = f.pairs.machine[CONSOLE_COM1];
	join(fd, CONSOLE_COM1);
	uint8_t message[CONSOLE_MESSAGE];
	for (int i = 0; i < 2000; i++) {
		memset(message, i * 7, sizeof message);
		message[0] = (uint8_t)(i % 3 == 0 ? CONSOLE_TAKEN : i);
		if (message[0] == CONSOLE_DATA)
			message[0] = CONSOLE_READY;
		ssize_t sent = write(machine, message, (size_t)(1 + i % 9));
		(void)sent;
	}
	for (int i = 0; i < 3; i++) {
		memset(message, 0xff, 5);
		message[0] = i == 0 ? CONSOLE_READY : CONSOLE_TAKEN;
		usleep(100000);
		ck_assert_int_eq(write(machine, message, 5), 5);
	}
	usleep(100000);
	/* The credit is one window still. */
	static char bytes[3 * CONSOLE_WINDOW];
	fcntl(fd, F_SETFL, O_NONBLOCK);
	ssize_t sent = write(fd, bytes, sizeof bytes);
	ck_assert_int_gt(sent, CONSOLE_WINDOW);
	usleep(100000);
	size_t got = 0;
	ssize_t part;
	while ((part = read(machine, message, sizeof message)) > 0)
		got += message[0] == CONSOLE_DATA ? (size_t)part - 1 : 0;
	ck_assert_uint_eq(got, CONSOLE_WINDOW);
	int other = dial();
	say(other, "{\"command\":\"status\"}\n");
	expect_line(other, "presentation");
	close(other);
	close(fd);
}
END_TEST

/* --- rayvmctl on a terminal ------------------------------------------------------------------------------------------------------ */

static int master = -1;
static struct termios before;

/* Starts rayvmctl console with ARGUMENT on a terminal of its own. */
static pid_t start_ctl(const char *argument, const char *value)
{
	char name[64];
	master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(master, 0);
	ck_assert_int_eq(grantpt(master), 0);
	ck_assert_int_eq(unlockpt(master), 0);
	ck_assert_int_eq(ptsname_r(master, name, sizeof name), 0);
	int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_eq(tcgetattr(slave, &before), 0);
	pid_t child = fork();
	if (child == 0) {
		setsid();
		for (int i = 0; i < 3; i++)
			dup2(slave, i);
		execl(RAYVMCTL, "rayvmctl", "-s", f.path, "console", "hvc0", argument, value, (char *)NULL);
		_exit(127);
	}
	close(slave);
	serve_until(CONSOLE_HVC0, console_end_attached(&f.end[CONSOLE_HVC0]));
	return child;
}

static bool is_raw(void)
{
	struct termios now;
	ck_assert_int_eq(tcgetattr(master, &now), 0);
	return !(now.c_lflag & (ICANON | ECHO | ISIG)) && !(now.c_oflag & OPOST);
}

static void wait_raw(void)
{
	for (int i = 0; i < WAIT_MS && !is_raw(); i++)
		usleep(1000);
	ck_assert(is_raw());
}

/* Ends, and the terminal is as it was; returns the exit status. */
static int ended(pid_t child)
{
	int status;
	struct termios now;
	for (int i = 0; i < WAIT_MS; i++) {
		console_end_serve(&f.end[CONSOLE_HVC0]);
		if (waitpid(child, &status, WNOHANG) == child) {
			ck_assert_int_eq(tcgetattr(master, &now), 0);
			ck_assert_uint_eq(now.c_lflag, before.c_lflag);
			ck_assert_uint_eq(now.c_iflag, before.c_iflag);
			ck_assert_uint_eq(now.c_oflag, before.c_oflag);
			close(master);
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		}
		usleep(1000);
	}
	kill(child, SIGKILL);
	ck_abort_msg("rayvmctl does not end");
	return -1;
}

START_TEST(escape_key_leaves)
{
	struct console_end *end = &f.end[CONSOLE_HVC0];
	pid_t child = start_ctl(NULL, NULL);
	wait_raw();
	/* Ctrl-C and Ctrl-D are the guest's. */
	say(master, "ls\x03\x04");
	serve_until(CONSOLE_HVC0, end->in_size == 4);
	ck_assert_mem_eq(end->in, "ls\x03\x04", 4);
	console_end_put(end, "answer", 6);
	console_end_serve(end);
	char seen[512] = "";
	for (size_t n = 0; strstr(seen, "answer") == NULL;) {
		ssize_t part = read(master, seen + n, sizeof seen - 1 - n);
		ck_assert_int_gt(part, 0);
		n += (size_t)part;
	}
	say(master, "x\x1dy");
	ck_assert_int_eq(ended(child), 0);
	serve_until(CONSOLE_HVC0, end->in_size == 5); /* the x, not the y */
	ck_assert_mem_eq(end->in, "ls\x03\x04x", 5);
}
END_TEST

START_TEST(another_escape_key)
{
	struct console_end *end = &f.end[CONSOLE_HVC0];
	pid_t child = start_ctl("--escape", "^A");
	wait_raw();
	say(master, "\x1d");
	serve_until(CONSOLE_HVC0, end->in_size == 1);
	say(master, "\x01");
	ck_assert_int_eq(ended(child), 0);
}
END_TEST

START_TEST(signals_restore_the_terminal)
{
	static const int signals[] = { SIGTERM, SIGHUP, SIGINT, SIGQUIT };
	int which = signals[_i];
	pid_t child = start_ctl(NULL, NULL);
	wait_raw();
	/* Also while the guest floods and nobody reads the terminal. */
	static char flood[CONSOLE_HISTORY];
	memset(flood, 'x', sizeof flood);
	for (int i = 0; i < 50; i++) {
		console_end_put(&f.end[CONSOLE_HVC0], flood, sizeof flood);
		console_end_serve(&f.end[CONSOLE_HVC0]);
		usleep(1000);
	}
	kill(child, which);
	/* Its last words need room on the terminal. */
	fcntl(master, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 100; i++) {
		while (read(master, flood, sizeof flood) > 0)
			continue;
		usleep(2000);
	}
	ck_assert_int_eq(ended(child), 128 + which);
}
END_TEST

START_TEST(end_of_rayvm_restores_the_terminal)
{
	pid_t child = start_ctl(NULL, NULL);
	wait_raw();
	control_destroy(f.control);
	ck_assert_int_eq(ended(child), 1);
	open_control(&f.pairs);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("console");
	TCase *tc = tcase_create("console");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, bytes_both_ways);
	tcase_add_test(tc, what_is_sent_behind_the_command_is_input);
	tcase_add_test(tc, refusals);
	tcase_add_test(tc, several_clients);
	tcase_add_test(tc, input_waits_for_the_guest);
	tcase_add_test(tc, slow_client_loses_and_is_told);
	tcase_add_test(tc, agent_output_waits_for_its_client);
	tcase_add_test(tc, attached_to_a_machine_that_starts_anew);
	tcase_add_test(tc, machine_gone_for_good);
	tcase_add_test(tc, hostile_machine);
	tcase_add_test(tc, escape_key_leaves);
	tcase_add_test(tc, another_escape_key);
	tcase_add_loop_test(tc, signals_restore_the_terminal, 0, 4);
	tcase_add_test(tc, end_of_rayvm_restores_the_terminal);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
