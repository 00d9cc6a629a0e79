#include <fcntl.h>
#include <json-c/json.h>
#include <linux/input-event-codes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/base.h"
#include "base/mailbox.h"
#include "base/stats.h"
#include "base/status.h"
#include "control/control.h"
#include "control/keyboard.h"
#include "unit.h"

/* A control socket with a front that the test plays itself. */
struct fixture {
	char path[64];
	struct status_board *board;
	struct stats *stats;
	struct mailbox *front;
	struct control *control;
};

static int key_code(const char *name)
{
	static const struct {
		const char *name;
		int code;
	} keys[] = { { "KEY_A", KEY_A }, { "KEY_LEFTSHIFT", KEY_LEFTSHIFT }, { "KEY_LEFTCTRL", KEY_LEFTCTRL }, { "BTN_LEFT", BTN_LEFT } };
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (strcmp(keys[i].name, name) == 0)
			return keys[i].code;
	return -1;
}

static void keys_like(const char *name, char *list, size_t size)
{
	snprintf(list, size, strcmp(name, "KEY_NOSUCH") == 0 ? "KEY_SUCH" : "");
}

static struct fixture f;

static void setup(void)
{
	char error[256];
	snprintf(f.path, sizeof f.path, "/tmp/rayvm-test-%d.sock", (int)getpid());
	unlink(f.path);
	f.board = status_board_create();
	f.stats = calloc(1, sizeof *f.stats);
	f.front = mailbox_create(256, sizeof(struct control_request));
	struct control_config config = { .path = f.path, .board = f.board, .stats = f.stats, .front = f.front, .key_code = key_code, .keys_like = keys_like,
		.acting = { { KEY_GRAVE, false }, { KEY_F11, false }, { KEY_2, true } } };
	f.control = control_create(&config, error, sizeof error);
	ck_assert_msg(f.control != NULL, "%s", error);
	ck_assert_int_eq(control_start(f.control), 0);
}

static void teardown(void)
{
	control_destroy(f.control);
	ck_assert_int_ne(access(f.path, F_OK), 0);
	mailbox_destroy(f.front);
	free(f.stats);
	status_board_destroy(f.board);
}

static int dial(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	strcpy(address.sun_path, f.path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	struct timeval limit = { .tv_sec = 10 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	return fd;
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static json_object *hear(int fd)
{
	char line[8192];
	size_t n = 0;
	while (n < sizeof line - 1) {
		ck_assert_int_eq(recv(fd, line + n, 1, 0), 1);
		if (line[n++] == '\n')
			break;
	}
	line[n] = '\0';
	json_object *object = json_tokener_parse(line);
	ck_assert_msg(object != NULL, "no JSON: %s", line);
	return object;
}

/* True when the answer is ok; the error goes to *error. */
static bool ok(int fd, char *error)
{
	json_object *answer = hear(fd), *value;
	ck_assert(json_object_object_get_ex(answer, "ok", &value));
	bool result = json_object_get_boolean(value);
	error[0] = '\0';
	if (json_object_object_get_ex(answer, "error", &value))
		snprintf(error, 200, "%s", json_object_get_string(value));
	json_object_put(answer);
	return result;
}

static struct control_request next_request(void)
{
	struct control_request request;
	for (int i = 0; i < 5000; i++) {
		if (mailbox_take(f.front, &request))
			return request;
		usleep(1000);
	}
	ck_abort_msg("the front got no request");
	return request;
}

START_TEST(socket_is_private)
{
	struct stat info;
	ck_assert_int_eq(stat(f.path, &info), 0);
	ck_assert_int_eq(info.st_mode & 0777, 0600);
	char error[256];
	struct control_config config = { .path = f.path, .board = f.board, .stats = f.stats, .front = f.front, .key_code = key_code };
	ck_assert_ptr_null(control_create(&config, error, sizeof error));
	ck_assert_ptr_nonnull(strstr(error, "another rayvm"));
	ck_assert_int_eq(access(f.path, F_OK), 0); /* the living one's socket stays */
}
END_TEST

START_TEST(stale_socket_is_replaced)
{
	char path[80], error[256];
	snprintf(path, sizeof path, "%s.stale", f.path);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	close(fd);
	struct control_config config = { .path = path, .board = f.board, .stats = f.stats, .front = f.front, .key_code = key_code };
	struct control *control = control_create(&config, error, sizeof error);
	ck_assert_msg(control != NULL, "%s", error);
	control_destroy(control);

	/* What is no socket is never removed. */
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	ck_assert_ptr_null(control_create(&config, error, sizeof error));
	ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(nonsense_gets_one_answer_each)
{
	static const char *const lines[] = {
		"hello\n", "[]\n", "{}\n", "{\"command\":\"fly\"}\n", "{\"command\":7}\n",
		"{\"command\":\"show\",\"arguments\":{\"what\":\"mars\"}}\n",
		"{\"command\":\"show\",\"arguments\":[]}\n",
		"{\"command\":\"press\",\"arguments\":{\"keys\":[\"KEY_NOSUCH\"]}}\n",
		"{\"command\":\"press\",\"arguments\":{\"keys\":[]}}\n",
		"{\"command\":\"press\",\"arguments\":{\"keys\":[\"KEY_A\",\"KEY_A+KEY_BAD\"]}}\n",
		"{\"command\":\"press\",\"arguments\":{\"keys\":[5]}}\n",
		"{\"command\":\"type\",\"arguments\":{\"text\":\"caf\\u00e9\"}}\n",
		"{\"command\":\"type\",\"arguments\":{\"text\":\"a`b\"}}\n",
		"{\"command\":\"type\",\"arguments\":{\"text\":\"a~b\"}}\n",
		"{\"command\":\"type\",\"arguments\":{\"text\":\"@\"}}\n", /* Shift+2 acts, 2 alone does not */
		"{\"command\":\"wait\",\"arguments\":{\"state\":\"paradise\"}}\n",
		"{\"command\":\"vm\",\"arguments\":{\"action\":\"explode\"}}\n",
		"{\"command\":\"vm\",\"arguments\":{\"name\":\"other\",\"action\":\"start\"}}\n",
		"{\"command\":\"screenshot\",\"arguments\":{\"path\":\"/tmp/rayvm-opens-no-files.png\"}}\n",
		"{\"command\":\"pointer\",\"arguments\":{\"x\":-1,\"y\":5}}\n",
		"{\"command\":\"click\",\"arguments\":{}}\n",
	};
	int fd = dial();
	char error[256];
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		say(fd, lines[i]);
		ck_assert_msg(!ok(fd, error), "accepted %s", lines[i]);
		ck_assert_msg(error[0] != '\0', "no error text for %s", lines[i]);
	}
	/* What one may have meant is told with it, once it is known. */
	say(fd, "{\"command\":\"press\",\"arguments\":{\"keys\":[\"KEY_NOSUCH\"]}}\n");
	ck_assert(!ok(fd, error));
	ck_assert_ptr_nonnull(strstr(error, "'KEY_NOSUCH' is no key name; near are KEY_SUCH"));
	say(fd, "{\"command\":\"press\",\"arguments\":{\"keys\":[\"KEY_WEIRD\"]}}\n");
	ck_assert(!ok(fd, error));
	ck_assert_ptr_null(strstr(error, "near"));
	struct control_request request;
	ck_assert_msg(!mailbox_take(f.front, &request), "nonsense reached the front (kind %u)", request.kind);
	close(fd);
}
END_TEST

START_TEST(press_is_ordered_and_answered_after_the_front_did_it)
{
	int fd = dial();
	char error[256];
	say(fd, "{\"id\":7,\"command\":\"press\",\"arguments\":{\"keys\":[\"KEY_LEFTCTRL+KEY_A\"],\"guest\":true}}\n");
	static const struct {
		uint16_t code;
		int32_t value;
	} expected[] = { { KEY_LEFTCTRL, 1 }, { KEY_A, 1 }, { KEY_A, 0 }, { KEY_LEFTCTRL, 0 } };
	for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
		struct control_request request = next_request();
		ck_assert_uint_eq(request.kind, CONTROL_KEY);
		ck_assert_uint_eq(request.code, expected[i].code);
		ck_assert_int_eq(request.value, expected[i].value);
		ck_assert(request.to_guest);
	}
	struct control_request done = next_request();
	ck_assert_uint_eq(done.kind, CONTROL_DONE);
	char byte;
	ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	control_done(f.control, done.token, NULL);
	ck_assert(ok(fd, error));
	close(fd);
}
END_TEST

START_TEST(refused_whole_when_the_front_is_busy)
{
	char error[256], line[400] = "{\"command\":\"type\",\"arguments\":{\"text\":\"";
	struct control_request request;
	int fd = dial();
	/* 70 capitals are 280 events, more than this front's mailbox has slots. */
	memset(line + strlen(line), 'A', 70);
	strcat(line, "\"}}\n");
	say(fd, line);
	ck_assert(!ok(fd, error));
	ck_assert_ptr_nonnull(strstr(error, "try again"));
	ck_assert(!mailbox_take(f.front, &request));
	say(fd, "{\"command\":\"press\",\"arguments\":{\"keys\":[\"KEY_A\"]}}\n");
	ck_assert_int_eq(next_request().value, 1);
	ck_assert_int_eq(next_request().value, 0);
	request = next_request();
	ck_assert_uint_eq(request.kind, CONTROL_DONE);
	control_done(f.control, request.token, NULL);
	ck_assert(ok(fd, error));
	close(fd);
}
END_TEST

static void run_vm(struct status *status, void *data)
{
	status->vm = *(enum vm_state *)data;
}

static void card_goes(struct status *status, void *data)
{
	status->card = *(enum status_card *)data;
}

/* A card that goes is told, and is in the status. */
START_TEST(card_in_status_and_events)
{
	static const char *const names[] = { [STATUS_CARD_NONE] = "none", [STATUS_CARD_HERE] = "present", [STATUS_CARD_GONE] = "gone" };
	int fd = dial(), other = dial();
	char error[256];
	say(other, "{\"command\":\"subscribe\"}\n");
	ck_assert(ok(other, error));
	for (int i = STATUS_CARD_HERE; i <= STATUS_CARD_GONE; i++) {
		enum status_card card = (enum status_card)i;
		status_board_update(f.board, card_goes, &card);
		json_object *event = hear(other), *value;
		ck_assert(json_object_object_get_ex(event, "event", &value));
		ck_assert_str_eq(json_object_get_string(value), "card");
		ck_assert(json_object_object_get_ex(event, "state", &value));
		ck_assert_str_eq(json_object_get_string(value), names[i]);
		json_object_put(event);
		say(fd, "{\"command\":\"status\"}\n");
		json_object *answer = hear(fd), *result;
		ck_assert(json_object_object_get_ex(answer, "result", &result));
		ck_assert(json_object_object_get_ex(result, "card", &value));
		ck_assert_str_eq(json_object_get_string(value), names[i]);
		json_object_put(answer);
	}
	close(fd);
	close(other);
}
END_TEST

static void draw(struct status *status, void *data)
{
	(void)data;
	status->n_scanouts = 3;
	status->scanout_width = 640;
	status->scanout_height = 480;
	status->further[1] = (struct status_size){ 800, 600 };
}

static void assert_sizes(json_object *from, const char *wanted)
{
	json_object *list, *width, *height;
	char got[200] = "";
	ck_assert(json_object_object_get_ex(from, "scanouts", &list));
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		ck_assert(json_object_object_get_ex(json_object_array_get_idx(list, i), "width", &width));
		ck_assert(json_object_object_get_ex(json_object_array_get_idx(list, i), "height", &height));
		snprintf(got + strlen(got), sizeof got - strlen(got), "%dx%d ", json_object_get_int(width), json_object_get_int(height));
	}
	ck_assert_str_eq(got, wanted);
}

/* What is about the first scanout stays what scripts know; the others have a list and an event of their own. */
START_TEST(scanouts_in_status_and_events)
{
	int fd = dial(), other = dial();
	char error[256];
	say(other, "{\"command\":\"subscribe\"}\n");
	ck_assert(ok(other, error));
	status_board_update(f.board, draw, NULL);
	json_object *event = hear(other), *value;
	ck_assert(json_object_object_get_ex(event, "event", &value));
	ck_assert_str_eq(json_object_get_string(value), "scanout");
	json_object_put(event);
	event = hear(other);
	ck_assert(json_object_object_get_ex(event, "event", &value));
	ck_assert_str_eq(json_object_get_string(value), "scanouts");
	assert_sizes(event, "640x480 0x0 800x600 ");
	json_object_put(event);
	say(fd, "{\"command\":\"status\"}\n");
	json_object *answer = hear(fd), *result;
	ck_assert(json_object_object_get_ex(answer, "result", &result));
	assert_sizes(result, "640x480 0x0 800x600 ");
	ck_assert(json_object_object_get_ex(result, "scanout", &value));
	ck_assert(json_object_object_get_ex(value, "width", &value));
	ck_assert_int_eq(json_object_get_int(value), 640);
	json_object_put(answer);
	close(fd);
	close(other);
}
END_TEST

START_TEST(wait_and_events)
{
	int fd = dial(), other = dial();
	char error[256];
	say(other, "{\"command\":\"subscribe\"}\n");
	ck_assert(ok(other, error));
	/* The command behind the wait is already there when the wait ends. */
	say(fd, "{\"command\":\"wait\",\"arguments\":{\"state\":\"vm:running\",\"timeout\":0.05}}\n{\"command\":\"status\"}\n");
	ck_assert(!ok(fd, error));
	ck_assert_ptr_nonnull(strstr(error, "in time"));
	ck_assert(ok(fd, error));
	say(fd, "{\"command\":\"wait\",\"arguments\":{\"state\":\"vm:running\",\"timeout\":20}}\n");
	enum vm_state running = VM_RUNNING;
	status_board_update(f.board, run_vm, &running);
	ck_assert(ok(fd, error));
	json_object *event = hear(other), *value;
	ck_assert(json_object_object_get_ex(event, "event", &value));
	ck_assert_str_eq(json_object_get_string(value), "vm-state");
	ck_assert(json_object_object_get_ex(event, "vm", &value));
	ck_assert_str_eq(json_object_get_string(value), "main");
	json_object_put(event);
	close(fd);
	close(other);
}
END_TEST

/* Says a line with a descriptor beside it. */
static void say_with(int fd, const char *text, const int *passed, size_t n)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(8 * sizeof(int))];
	} rights = { .head = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof(int)) } };
	memcpy(CMSG_DATA(&rights.head), passed, n * sizeof(int));
	struct iovec part = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	ck_assert_int_eq(sendmsg(fd, &message, 0), (ssize_t)strlen(text));
}

static int open_fds(void)
{
	int n = 0;
	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static const char shot_line[] = "{\"command\":\"screenshot\"}\n";

START_TEST(screenshot_is_a_png)
{
	char path[80], error[256];
	snprintf(path, sizeof path, "%s.png", f.path);
	int fd = dial(), file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	say_with(fd, shot_line, &file, 1);
	struct control_request request = next_request();
	ck_assert_uint_eq(request.kind, CONTROL_SHOT);
	uint32_t *pixels = calloc(6, 4);
	pixels[0] = 0xff0000;
	control_shot_done(request.shot, pixels, 3, 2);
	ck_assert_msg(ok(fd, error), "%s", error);
	char magic[24];
	ck_assert_int_eq(pread(file, magic, 24, 0), 24);
	ck_assert_int_eq(memcmp(magic, "\x89PNG", 4), 0);
	ck_assert_int_eq(magic[19], 3);
	ck_assert_int_eq(magic[23], 2);
	ck_assert_int_eq(ftruncate(file, 0), 0);
	say_with(fd, shot_line, &file, 1);
	request = next_request();
	control_shot_done(request.shot, NULL, 0, 0);
	ck_assert(!ok(fd, error));
	/* The client goes while its picture is made. */
	say_with(fd, shot_line, &file, 1);
	request = next_request();
	close(fd);
	usleep(20000);
	control_shot_done(request.shot, calloc(6, 4), 3, 2);
	usleep(20000);
	struct stat info;
	ck_assert_int_eq(fstat(file, &info), 0);
	ck_assert_int_eq(info.st_size, 0);
	close(file);
	unlink(path);
}
END_TEST

static void two_outputs(struct status *status, void *data)
{
	(void)data;
	status->n_outputs = 3;
	snprintf(status->output[0].name, sizeof status->output[0].name, "A-1");
	snprintf(status->output[1].name, sizeof status->output[1].name, "A-2");
	status->output[1].mirror = true;
	snprintf(status->output[2].name, sizeof status->output[2].name, "B-1");
}

/* Which output it is of goes with the request; one that is not there, or has no UI, is an error that names those that do. */
START_TEST(screenshot_of_an_output)
{
	static const struct {
		const char *face, *output, *error;
	} cases[] = { { "screen", "B-1", NULL }, { "guest", "B-1", NULL }, { "ui", "A-2", NULL }, { "ui", "B-1", "the UI is on A-1 alone" },
		{ "screen", "C-1", "no output 'C-1'; there is A-1, A-2, B-1" }, { "screen", "", "no output ''" } };
	char path[80], error[256], line[160];
	snprintf(path, sizeof path, "%s.png", f.path);
	int fd = dial(), file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	unlink(path);
	status_board_update(f.board, two_outputs, NULL);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(line, sizeof line, "{\"command\":\"screenshot\",\"arguments\":{\"face\":\"%s\",\"output\":\"%s\"}}\n", cases[i].face, cases[i].output);
		say_with(fd, line, &file, 1);
		if (cases[i].error != NULL) {
			ck_assert(!ok(fd, error));
			ck_assert_msg(strstr(error, cases[i].error) != NULL, "%s", error);
			continue;
		}
		struct control_request request = next_request();
		ck_assert_str_eq(request.output, cases[i].output);
		control_shot_done(request.shot, calloc(6, 4), 3, 2);
		ck_assert_msg(ok(fd, error), "%s", error);
	}
	close(file);
}
END_TEST

/* Each descriptor that comes is used once or closed; those a picture cannot go to are refused. */
START_TEST(screenshot_descriptors_are_looked_at)
{
	char path[80], error[256];
	int ends[2];
	snprintf(path, sizeof path, "%s.png", f.path);
	int file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600), readable = open(path, O_RDONLY);
	unlink(path);
	ck_assert_int_eq(pipe(ends), 0);
	int alone = open_fds(), fd = dial();
	say(fd, "{\"command\":\"status\"}\n");
	ck_assert(ok(fd, error)); /* accepted: what it opened is counted */
	int before = open_fds();
	say(fd, shot_line);
	ck_assert(!ok(fd, error));
	ck_assert_ptr_nonnull(strstr(error, "SCM_RIGHTS"));
	const int wrong[] = { ends[1], readable, fd };
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		say_with(fd, shot_line, &wrong[i], 1);
		ck_assert(!ok(fd, error));
		ck_assert_ptr_nonnull(strstr(error, "regular file"));
	}
	/* A face that does not exist uses its descriptor up: the next command must not get it. */
	say_with(fd, "{\"command\":\"screenshot\",\"arguments\":{\"face\":\"moon\"}}\n", &file, 1);
	ck_assert(!ok(fd, error));
	say(fd, shot_line);
	ck_assert(!ok(fd, error));
	ck_assert_int_eq(open_fds(), before);
	/* So does an output. */
	say_with(fd, "{\"command\":\"screenshot\",\"arguments\":{\"output\":\"moon\"}}\n", &file, 1);
	ck_assert(!ok(fd, error));
	ck_assert_ptr_nonnull(strstr(error, "no output 'moon'; there is none"));
	ck_assert_int_eq(open_fds(), before);
	/* More than anybody needs: closed, at the latest with the connection. */
	const int many[] = { file, file, file, file, file, file, file, file };
	say_with(fd, "{\"command\":\"status\"}\n", many, ARRAY_LEN(many));
	ck_assert(ok(fd, error));
	ck_assert_int_le(open_fds(), before + 4);
	close(fd);
	for (int i = 0; i < 200 && open_fds() > alone; i++)
		usleep(5000);
	ck_assert_int_eq(open_fds(), alone);
	close(file);
	close(readable);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(flood_and_long_lines)
{
	/* A client that never reads, and one that never ends its line, hurt only themselves. */
	int deaf = dial(), endless = dial();
	char filler[65536], error[256];
	memset(filler, 'x', sizeof filler);
	for (int i = 0; i < 4; i++)
		if (send(endless, filler, sizeof filler, MSG_NOSIGNAL) < 0)
			break;
	fcntl(deaf, F_SETFL, O_NONBLOCK);
	static const char status[] = "{\"command\":\"status\"}\n";
	for (int i = 0; i < 20000; i++)
		if (send(deaf, status, sizeof status - 1, MSG_NOSIGNAL) < 0)
			break;
	int fd = dial();
	say(fd, "{\"command\":\"show\",\"arguments\":{\"what\":\"toggle\"}}\n");
	ck_assert_uint_eq(next_request().kind, CONTROL_SHOW);
	control_done(f.control, next_request().token, NULL);
	ck_assert(ok(fd, error));
	close(fd);
	close(deaf);
	close(endless);
}
END_TEST

START_TEST(us_layout)
{
	uint16_t code;
	bool shift;
	static const struct {
		char character;
		uint16_t code;
		bool shift;
	} keys[] = {
		{ 'a', KEY_A, false }, { 'Z', KEY_Z, true }, { '1', KEY_1, false }, { '!', KEY_1, true }, { ')', KEY_0, true },
		{ '-', KEY_MINUS, false }, { '+', KEY_EQUAL, true }, { '{', KEY_LEFTBRACE, true }, { '\n', KEY_ENTER, false },
		{ ';', KEY_SEMICOLON, false }, { '"', KEY_APOSTROPHE, true }, { '`', KEY_GRAVE, false }, { '~', KEY_GRAVE, true },
		{ '\\', KEY_BACKSLASH, false }, { '|', KEY_BACKSLASH, true }, { '/', KEY_SLASH, false }, { '?', KEY_SLASH, true },
		{ ' ', KEY_SPACE, false }, { '\t', KEY_TAB, false }, { 'm', KEY_M, false },
	};
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		ck_assert_msg(us_key(keys[i].character, &code, &shift), "no key for '%c'", keys[i].character);
		ck_assert_uint_eq(code, keys[i].code);
		ck_assert_int_eq(shift, keys[i].shift);
	}
	ck_assert(!us_key('\x01', &code, &shift));
	ck_assert(!us_key((char)0xe9, &code, &shift));
	ck_assert(!us_key('\0', &code, &shift));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("control");
	TCase *c = tcase_create("socket");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, socket_is_private);
	tcase_add_test(c, stale_socket_is_replaced);
	tcase_add_test(c, nonsense_gets_one_answer_each);
	tcase_add_test(c, press_is_ordered_and_answered_after_the_front_did_it);
	tcase_add_test(c, refused_whole_when_the_front_is_busy);
	tcase_add_test(c, scanouts_in_status_and_events);
	tcase_add_test(c, wait_and_events);
	tcase_add_test(c, card_in_status_and_events);
	tcase_add_test(c, screenshot_is_a_png);
	tcase_add_test(c, screenshot_of_an_output);
	tcase_add_test(c, screenshot_descriptors_are_looked_at);
	tcase_add_test(c, flood_and_long_lines);
	suite_add_tcase(s, c);
	c = tcase_create("layout");
	tcase_add_test(c, us_layout);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
