#define LOG_MODULE "control"
#include "control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/status.h"
#include "base/thread.h"
#include "control/keyboard.h"
#include "control/picture.h"
#include "control/report.h"

#define CLIENTS 16
#define LINE_MAX_BYTES 65536
#define OUTPUT_MAX_BYTES (1u << 20) /* a client that does not read loses events beyond this */
#define TYPE_MAX 1024

/* An answer on its way to the control thread. */
struct answer {
	uint64_t token;
	uint32_t *pixels; /* a screenshot, or NULL */
	uint32_t width, height;
	bool shot, stop, failed;
	char error[120];
};

struct client {
	struct control *control;
	int fd;
	struct wl_event_source *source;
	uint32_t serial; /* tells a new client in this slot from the one before */
	char *in;
	size_t in_size;
	char *out;
	size_t out_size;
	bool subscribed;
	/* the one command that is not answered yet */
	bool busy;
	json_object *id;
	char *shot_path;
	char wait[32];
	uint64_t wait_until_ns; /* 0: no wait */
};

struct control {
	struct control_config config;
	struct wl_event_loop *loop;
	struct mailbox *answers;
	int listen_fd, board_fd;
	struct wl_event_source *listen_source, *board_source, *answer_source, *timer;
	struct client client[CLIENTS];
	uint32_t serials;
	struct status last; /* for events */
	pthread_t thread;
	bool started, stopping;
};

static uint64_t token_of(const struct client *client)
{
	return (uint64_t)client->serial << 8 | (uint64_t)(client - client->control->client);
}

static struct client *client_of(struct control *control, uint64_t token)
{
	struct client *client = &control->client[token & 0xff];
	return (token & 0xff) < CLIENTS && client->fd >= 0 && client->serial == token >> 8 ? client : NULL;
}

static void client_close(struct client *client)
{
	wl_event_source_remove(client->source);
	close(client->fd);
	free(client->in);
	free(client->out);
	free(client->shot_path);
	json_object_put(client->id);
	struct control *control = client->control;
	memset(client, 0, sizeof *client);
	client->control = control;
	client->fd = -1;
}

/* Sends what the socket takes now; the rest waits for it to become writable. False: the client is gone. */
static bool client_flush(struct client *client)
{
	while (client->out_size > 0) {
		ssize_t sent = send(client->fd, client->out, client->out_size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0) {
			if (errno == EAGAIN || errno == EINTR)
				break;
			client_close(client);
			return false;
		}
		client->out_size -= (size_t)sent;
		memmove(client->out, client->out + sent, client->out_size);
	}
	wl_event_source_fd_update(client->source, WL_EVENT_READABLE | (client->out_size > 0 ? WL_EVENT_WRITABLE : 0));
	return true;
}

/* Takes the reference of `object`. */
static void client_send(struct client *client, json_object *object)
{
	const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
	size_t length = strlen(text);
	if (client->out_size + length + 1 <= OUTPUT_MAX_BYTES) {
		char *grown = realloc(client->out, client->out_size + length + 1);
		if (grown != NULL) {
			memcpy(grown + client->out_size, text, length);
			grown[client->out_size + length] = '\n';
			client->out = grown;
			client->out_size += length + 1;
		}
	}
	json_object_put(object);
	client_flush(client);
}

/* Answers the current command. Takes the reference of `result` (may be NULL). */
static void client_answer(struct client *client, json_object *result, const char *error)
{
	json_object *answer = json_object_new_object();
	if (client->id != NULL)
		json_object_object_add(answer, "id", json_object_get(client->id));
	json_object_object_add(answer, "ok", json_object_new_boolean(error == NULL));
	if (error != NULL) {
		json_object_object_add(answer, "error", json_object_new_string(error));
		json_object_put(result);
	} else {
		json_object_object_add(answer, "result", result != NULL ? result : json_object_new_object());
	}
	json_object_put(client->id);
	client->id = NULL;
	client->busy = false;
	client->wait_until_ns = 0;
	client_send(client, answer);
}

static void client_error(struct client *client, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void client_error(struct client *client, const char *format, ...)
{
	char text[200];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	client_answer(client, NULL, text);
}

static const char *text_of(json_object *arguments, const char *name)
{
	json_object *value;
	if (!json_object_object_get_ex(arguments, name, &value) || !json_object_is_type(value, json_type_string))
		return NULL;
	return json_object_get_string(value);
}

static bool flag_of(json_object *arguments, const char *name)
{
	json_object *value;
	return json_object_object_get_ex(arguments, name, &value) && json_object_get_boolean(value);
}

static bool post(struct control *control, const struct control_request *request)
{
	if (mailbox_post(control->config.front, request))
		return true;
	log_warn("the front thread's mailbox is full: a command was refused");
	return false;
}

/* The last part of a command: the front thread answers when it has done everything before. */
static void post_done(struct client *client)
{
	struct control_request request = { .kind = CONTROL_DONE, .token = token_of(client) };
	if (post(client->control, &request))
		client->busy = true;
	else
		client_error(client, "too many commands wait: try again");
}

static bool post_key(struct control *control, uint16_t code, int32_t value, bool to_guest)
{
	struct control_request request = { .kind = CONTROL_KEY, .code = code, .value = value, .to_guest = to_guest };
	return post(control, &request);
}

static void command_show(struct client *client, json_object *arguments)
{
	const char *what = text_of(arguments, "what");
	struct control_request request = { .kind = CONTROL_SHOW };
	if (what != NULL && strcmp(what, "ui") == 0) {
		request.argument = CONTROL_SHOW_UI;
	} else if (what != NULL && (strcmp(what, "guest") == 0 || strcmp(what, "guest:main") == 0)) {
		request.argument = CONTROL_SHOW_GUEST;
	} else if (what != NULL && strcmp(what, "toggle") == 0) {
		request.argument = CONTROL_SHOW_TOGGLE;
	} else {
		client_error(client, "show: 'what' is ui, guest or toggle");
		return;
	}
	post(client->control, &request);
	post_done(client);
}

/* "KEY_LEFTCTRL+KEY_C": all pressed in order, released in reverse. */
static void command_press(struct client *client, json_object *arguments)
{
	json_object *keys;
	bool to_guest = flag_of(arguments, "guest");
	if (!json_object_object_get_ex(arguments, "keys", &keys) || !json_object_is_type(keys, json_type_array)) {
		client_error(client, "press: 'keys' is a list of key names, such as [\"KEY_A\", \"KEY_LEFTCTRL+KEY_C\"]");
		return;
	}
	/* All names first: nothing is pressed when one is wrong. */
	uint16_t code[64][8];
	size_t count[64], n = json_object_array_length(keys);
	if (n == 0 || n > ARRAY_LEN(code)) {
		client_error(client, "press: between 1 and %zu keys", ARRAY_LEN(code));
		return;
	}
	for (size_t i = 0; i < n; i++) {
		char chord[256];
		snprintf(chord, sizeof chord, "%s", json_object_get_string(json_object_array_get_idx(keys, i)));
		count[i] = 0;
		char *rest = chord;
		for (char *name; (name = strsep(&rest, "+")) != NULL;) {
			int found = client->control->config.key_code(name);
			if (found < 0 || count[i] == ARRAY_LEN(code[i])) {
				client_error(client, found < 0 ? "press: '%.40s' is no key name" : "press: too many keys in one chord ('%.40s')", name);
				return;
			}
			code[i][count[i]++] = (uint16_t)found;
		}
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < count[i]; k++)
			post_key(client->control, code[i][k], 1, to_guest);
		for (size_t k = count[i]; k-- > 0;)
			post_key(client->control, code[i][k], 0, to_guest);
	}
	post_done(client);
}

static void command_type(struct client *client, json_object *arguments)
{
	const char *text = text_of(arguments, "text");
	bool to_guest = flag_of(arguments, "guest");
	uint16_t code, shift_code = (uint16_t)client->control->config.key_code("KEY_LEFTSHIFT");
	bool shift;

	if (text == NULL || strlen(text) > TYPE_MAX) {
		client_error(client, "type: 'text' is missing or longer than %d characters", TYPE_MAX);
		return;
	}
	for (const char *at = text; *at != '\0'; at++) {
		if (!us_key(*at, &code, &shift)) {
			client_error(client, "type: no key of the US layout makes character %zu (0x%02x)", (size_t)(at - text) + 1, (unsigned char)*at);
			return;
		}
		if (*at == '`' && !to_guest) {
			client_error(client, "type: a backtick toggles; use --guest to type one into the guest");
			return;
		}
	}
	for (const char *at = text; *at != '\0'; at++) {
		us_key(*at, &code, &shift);
		if (shift)
			post_key(client->control, shift_code, 1, to_guest);
		post_key(client->control, code, 1, to_guest);
		post_key(client->control, code, 0, to_guest);
		if (shift)
			post_key(client->control, shift_code, 0, to_guest);
	}
	post_done(client);
}

static void command_pointer(struct client *client, json_object *arguments)
{
	struct status status;
	status_board_read(client->control->config.board, &status);
	bool to_guest = flag_of(arguments, "guest");
	uint32_t width = to_guest ? status.scanout_width : status.n_outputs > 0 ? status.output[0].width : 0;
	uint32_t height = to_guest ? status.scanout_height : status.n_outputs > 0 ? status.output[0].height : 0;
	json_object *x, *y;
	if (!json_object_object_get_ex(arguments, "x", &x) || !json_object_object_get_ex(arguments, "y", &y)) {
		client_error(client, "pointer: 'x' and 'y' are pixels");
		return;
	}
	int64_t px = json_object_get_int64(x), py = json_object_get_int64(y);
	if (px < 0 || py < 0 || px >= width || py >= height) {
		client_error(client, "pointer: %lld,%lld is outside the %s of %ux%u pixels", (long long)px, (long long)py,
			to_guest ? "guest's picture" : "panel", width, height);
		return;
	}
	struct control_request request = {
		.kind = CONTROL_POINTER,
		.x = width > 1 ? (uint32_t)((uint64_t)px * 65535 / (width - 1)) : 0,
		.y = height > 1 ? (uint32_t)((uint64_t)py * 65535 / (height - 1)) : 0,
		.to_guest = to_guest,
	};
	post(client->control, &request);
	post_done(client);
}

static void command_click(struct client *client, json_object *arguments)
{
	const char *button = text_of(arguments, "button");
	char name[16];
	if (button == NULL || (strcmp(button, "left") != 0 && strcmp(button, "right") != 0 && strcmp(button, "middle") != 0)) {
		client_error(client, "click: 'button' is left, right or middle");
		return;
	}
	snprintf(name, sizeof name, "BTN_%s", button);
	for (char *c = name; *c != '\0'; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	uint16_t code = (uint16_t)client->control->config.key_code(name);
	bool to_guest = flag_of(arguments, "guest");
	post_key(client->control, code, 1, to_guest);
	post_key(client->control, code, 0, to_guest);
	post_done(client);
}

static void command_vm(struct client *client, json_object *arguments)
{
	static const char *const names[] = { "start", "pause", "resume", "powerdown", "reset", "stop" };
	const char *action = text_of(arguments, "action"), *name = text_of(arguments, "name");
	if (name != NULL && strcmp(name, "main") != 0) {
		client_error(client, "vm: there is no VM '%.40s'; the one there is is called main", name);
		return;
	}
	for (uint32_t i = 0; action != NULL && i < ARRAY_LEN(names); i++) {
		if (strcmp(action, names[i]) == 0) {
			struct control_request request = { .kind = CONTROL_VM, .argument = i, .token = token_of(client) };
			/* The front answers: it knows whether there is a machine. */
			if (post(client->control, &request))
				client->busy = true;
			else
				client_error(client, "too many commands wait: try again");
			return;
		}
	}
	client_error(client, "vm: 'action' is start, pause, resume, powerdown, reset or stop");
}

/* Who wants the picture; lives from the request to control_shot_done(), longer than the client may. */
struct shot {
	struct control *control;
	uint64_t token;
};

static void command_screenshot(struct client *client, json_object *arguments)
{
	const char *path = text_of(arguments, "path"), *face = text_of(arguments, "face");
	enum control_shot what = CONTROL_SHOT_SCREEN;
	if (face != NULL && strcmp(face, "ui") == 0)
		what = CONTROL_SHOT_UI;
	else if (face != NULL && strcmp(face, "guest") == 0)
		what = CONTROL_SHOT_GUEST;
	else if (face != NULL && strcmp(face, "screen") != 0) {
		client_error(client, "screenshot: 'face' is ui, guest or screen");
		return;
	}
	if (path == NULL || path[0] != '/') {
		client_error(client, "screenshot: 'path' is an absolute path");
		return;
	}
	struct shot *shot = malloc(sizeof *shot);
	char *copy = strdup(path);
	if (shot == NULL || copy == NULL) {
		free(shot);
		free(copy);
		client_error(client, "screenshot: out of memory");
		return;
	}
	*shot = (struct shot){ client->control, token_of(client) };
	free(client->shot_path);
	client->shot_path = copy;
	client->busy = true;
	struct control_request request = { .kind = CONTROL_SHOT, .argument = what, .shot = shot };
	if (!post(client->control, &request)) {
		free(shot);
		client_error(client, "too many commands wait: try again");
	}
}

/* Is the state that `wait` names reached? -1: no such state. */
static int reached(const struct status *status, const char *state)
{
	if (strcmp(state, "ui") == 0)
		return status->presentation == PRESENTATION_HIDDEN;
	if (strcmp(state, "guest") == 0)
		return status->presentation == PRESENTATION_PRESENTED && status->scanout_width > 0;
	if (strcmp(state, "first-frame") == 0)
		return status->first_frame;
	if (strcmp(state, "scanout") == 0)
		return status->scanout_width > 0;
	if (strncmp(state, "vm:", 3) == 0)
		for (int vm = VM_NONE; vm <= VM_CRASHED; vm++)
			if (strcmp(state + 3, status_vm_name((enum vm_state)vm)) == 0)
				return status->vm == (enum vm_state)vm;
	return -1;
}

static void check_waits(struct control *control)
{
	struct status status;
	status_board_read(control->config.board, &status);
	uint64_t now = clock_now_ns(), next = UINT64_MAX;
	for (int i = 0; i < CLIENTS; i++) {
		struct client *client = &control->client[i];
		if (client->fd < 0 || client->wait_until_ns == 0)
			continue;
		if (reached(&status, client->wait) == 1)
			client_answer(client, NULL, NULL);
		else if (now >= client->wait_until_ns)
			client_error(client, "wait: '%s' was not reached in time", client->wait);
		else if (client->wait_until_ns < next)
			next = client->wait_until_ns;
	}
	wl_event_source_timer_update(control->timer, next == UINT64_MAX ? 0 : (int)((next - now) / NSEC_PER_MSEC) + 1);
}

static void command_wait(struct client *client, json_object *arguments)
{
	const char *state = text_of(arguments, "state");
	struct status status;
	status_board_read(client->control->config.board, &status);
	if (state == NULL || strlen(state) >= sizeof client->wait || reached(&status, state) < 0) {
		client_error(client, "wait: 'state' is ui, guest, scanout, first-frame or vm:none|starting|running|paused|stopping|stopped|crashed");
		return;
	}
	json_object *timeout;
	double seconds = json_object_object_get_ex(arguments, "timeout", &timeout) ? json_object_get_double(timeout) : 3600;
	if (!(seconds >= 0 && seconds <= 1e6)) {
		client_error(client, "wait: 'timeout' is in seconds");
		return;
	}
	snprintf(client->wait, sizeof client->wait, "%s", state);
	client->wait_until_ns = clock_now_ns() + (uint64_t)(seconds * 1e9);
	client->busy = true;
	check_waits(client->control);
}

static void command(struct client *client, json_object *message)
{
	json_object *id = NULL, *arguments = NULL;
	const char *name = text_of(message, "command");
	json_object_object_get_ex(message, "id", &id);
	json_object_object_get_ex(message, "arguments", &arguments);
	client->id = id != NULL ? json_object_get(id) : NULL;
	struct control *control = client->control;

	if (name == NULL) {
		client_error(client, "no 'command' in the message");
	} else if (strcmp(name, "status") == 0) {
		struct status status;
		status_board_read(control->config.board, &status);
		client_answer(client, report_status(&status), NULL);
	} else if (strcmp(name, "stats") == 0) {
		json_object *stats = report_stats(control->config.stats);
		if (flag_of(arguments, "reset"))
			report_stats_reset(control->config.stats);
		client_answer(client, stats, NULL);
	} else if (strcmp(name, "show") == 0) {
		command_show(client, arguments);
	} else if (strcmp(name, "press") == 0) {
		command_press(client, arguments);
	} else if (strcmp(name, "type") == 0) {
		command_type(client, arguments);
	} else if (strcmp(name, "pointer") == 0) {
		command_pointer(client, arguments);
	} else if (strcmp(name, "click") == 0) {
		command_click(client, arguments);
	} else if (strcmp(name, "vm") == 0) {
		command_vm(client, arguments);
	} else if (strcmp(name, "screenshot") == 0) {
		command_screenshot(client, arguments);
	} else if (strcmp(name, "wait") == 0) {
		command_wait(client, arguments);
	} else if (strcmp(name, "subscribe") == 0) {
		client->subscribed = true;
		client_answer(client, NULL, NULL);
	} else if (strcmp(name, "quit") == 0) {
		struct control_request request = { .kind = CONTROL_QUIT };
		client_answer(client, NULL, NULL);
		post(control, &request);
	} else {
		client_error(client, "unknown command '%.40s'; rayvm-protocol(7) lists them", name);
	}
}

/* Takes complete lines while no command is outstanding. */
static void client_lines(struct client *client)
{
	while (client->fd >= 0 && !client->busy) {
		char *end = client->in != NULL ? memchr(client->in, '\n', client->in_size) : NULL;
		if (end == NULL)
			return;
		*end = '\0';
		uint32_t serial = client->serial;
		json_object *message = json_tokener_parse(client->in);
		size_t used = (size_t)(end + 1 - client->in);
		client->in_size -= used;
		memmove(client->in, client->in + used, client->in_size);
		if (message == NULL || !json_object_is_type(message, json_type_object))
			client_error(client, "a line is one JSON object");
		else
			command(client, message);
		json_object_put(message);
		if (client->serial != serial)
			return;
	}
}

static int client_ready(int fd, uint32_t mask, void *data)
{
	struct client *client = data;
	if ((mask & WL_EVENT_WRITABLE) != 0 && !client_flush(client))
		return 0;
	if ((mask & (WL_EVENT_READABLE | WL_EVENT_HANGUP | WL_EVENT_ERROR)) == 0)
		return 0;
	char bytes[4096];
	ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0 || client->in_size + (size_t)got > LINE_MAX_BYTES) {
		client_close(client);
		return 0;
	}
	char *grown = realloc(client->in, client->in_size + (size_t)got);
	if (grown == NULL) {
		client_close(client);
		return 0;
	}
	memcpy(grown + client->in_size, bytes, (size_t)got);
	client->in = grown;
	client->in_size += (size_t)got;
	client_lines(client);
	return 0;
}

static int accept_client(int fd, uint32_t mask, void *data)
{
	(void)mask;
	struct control *control = data;
	int client_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client_fd < 0)
		return 0;
	for (int i = 0; i < CLIENTS; i++) {
		struct client *client = &control->client[i];
		if (client->fd >= 0)
			continue;
		client->fd = client_fd;
		client->serial = ++control->serials;
		client->source = wl_event_loop_add_fd(control->loop, client_fd, WL_EVENT_READABLE, client_ready, client);
		if (client->source == NULL) {
			close(client_fd);
			client->fd = -1;
		}
		return 0;
	}
	static const char full[] = "{\"ok\":false,\"error\":\"too many clients\"}\n";
	ssize_t sent = send(client_fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)sent;
	close(client_fd);
	return 0;
}

static void broadcast(void *data, json_object *event)
{
	struct control *control = data;
	json_object_object_add(event, "vm", json_object_new_string("main"));
	for (int i = 0; i < CLIENTS; i++)
		if (control->client[i].fd >= 0 && control->client[i].subscribed)
			client_send(&control->client[i], json_object_get(event));
	json_object_put(event);
}

static int board_changed(int fd, uint32_t mask, void *data)
{
	(void)mask;
	struct control *control = data;
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof count);
	(void)got;
	struct status status;
	status_board_read(control->config.board, &status);
	report_events(&control->last, &status, broadcast, control);
	control->last = status;
	check_waits(control);
	return 0;
}

static int timer_fired(void *data)
{
	check_waits(data);
	return 0;
}

void control_shot_done(void *data, uint32_t *pixels, uint32_t width, uint32_t height)
{
	struct shot *shot = data;
	struct answer answer = { .token = shot->token, .shot = true, .pixels = pixels, .width = width, .height = height };
	if (!mailbox_post(shot->control->answers, &answer))
		free(pixels);
	free(shot);
}

static void write_shot(struct client *client, const struct answer *answer)
{
	if (answer->pixels == NULL) {
		client_error(client, "screenshot: there is no picture");
		return;
	}
	size_t size;
	uint8_t *png = png_encode(answer->pixels, answer->width, answer->height, &size);
	if (png == NULL) {
		client_error(client, "screenshot: cannot encode %ux%u pixels", answer->width, answer->height);
		return;
	}
	/* Written beside and renamed: a reader never sees half a picture. */
	char temporary[4096];
	snprintf(temporary, sizeof temporary, "%s.part", client->shot_path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t done = 0;
	while (fd >= 0 && done < size) {
		ssize_t written = write(fd, png + done, size - done);
		if (written <= 0)
			break;
		done += (size_t)written;
	}
	bool failed = fd < 0 || done < size || close(fd) < 0 || rename(temporary, client->shot_path) < 0;
	int error = errno;
	free(png);
	if (failed) {
		unlink(temporary);
		client_error(client, "screenshot: cannot write %.120s: %s", client->shot_path, strerror(error));
		return;
	}
	json_object *result = json_object_new_object();
	json_object_object_add(result, "width", json_object_new_int64(answer->width));
	json_object_object_add(result, "height", json_object_new_int64(answer->height));
	client_answer(client, result, NULL);
}

static int answers_arrived(int fd, uint32_t mask, void *data)
{
	(void)fd;
	(void)mask;
	struct control *control = data;
	struct answer answer;
	mailbox_ack(control->answers);
	while (mailbox_take(control->answers, &answer)) {
		if (answer.stop) {
			control->stopping = true;
			continue;
		}
		struct client *client = client_of(control, answer.token);
		if (client != NULL && client->busy) {
			if (answer.shot)
				write_shot(client, &answer);
			else
				client_answer(client, NULL, answer.failed ? answer.error : NULL);
		}
		free(answer.pixels);
		if (client != NULL && client->fd >= 0)
			client_lines(client);
	}
	return 0;
}

void control_done(struct control *control, uint64_t token, const char *error)
{
	struct answer answer = { .token = token, .failed = error != NULL };
	snprintf(answer.error, sizeof answer.error, "%s", error != NULL ? error : "");
	mailbox_post(control->answers, &answer);
}

/* Binds under a temporary mode mask, so that nobody else can connect in between. -1 with errno. */
static int bind_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	mode_t mask = umask(0177);
	int result = bind(fd, (struct sockaddr *)&address, sizeof address);
	if (result < 0 && errno == EADDRINUSE) {
		/* Somebody's socket: alive, or left by a program that was killed? */
		int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		struct stat info;
		bool alive = probe < 0 || connect(probe, (struct sockaddr *)&address, sizeof address) == 0 || errno != ECONNREFUSED;
		if (probe >= 0)
			close(probe);
		errno = EADDRINUSE;
		if (!alive && lstat(path, &info) == 0 && S_ISSOCK(info.st_mode) && unlink(path) == 0)
			result = bind(fd, (struct sockaddr *)&address, sizeof address);
	}
	umask(mask);
	if (result == 0 && listen(fd, 8) == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

struct control *control_create(const struct control_config *config, char *error, size_t error_size)
{
	struct control *control = calloc(1, sizeof *control);
	if (control == NULL) {
		snprintf(error, error_size, "out of memory");
		return NULL;
	}
	control->config = *config;
	control->listen_fd = control->board_fd = -1;
	for (int i = 0; i < CLIENTS; i++) {
		control->client[i].control = control;
		control->client[i].fd = -1;
	}
	control->listen_fd = bind_socket(config->path);
	if (control->listen_fd < 0) {
		snprintf(error, error_size, "cannot make the control socket %s: %s; choose another place with --control", config->path,
			errno == EADDRINUSE ? "another rayvm uses it" : strerror(errno));
		control_destroy(control);
		return NULL;
	}
	control->loop = wl_event_loop_create();
	control->answers = mailbox_create(64, sizeof(struct answer));
	control->board_fd = status_board_subscribe(config->board);
	if (control->loop == NULL || control->answers == NULL || control->board_fd < 0)
		goto fail;
	control->listen_source = wl_event_loop_add_fd(control->loop, control->listen_fd, WL_EVENT_READABLE, accept_client, control);
	control->board_source = wl_event_loop_add_fd(control->loop, control->board_fd, WL_EVENT_READABLE, board_changed, control);
	control->answer_source = wl_event_loop_add_fd(control->loop, mailbox_fd(control->answers), WL_EVENT_READABLE, answers_arrived, control);
	control->timer = wl_event_loop_add_timer(control->loop, timer_fired, control);
	if (control->listen_source == NULL || control->board_source == NULL || control->answer_source == NULL || control->timer == NULL)
		goto fail;
	status_board_read(config->board, &control->last);
	return control;

fail:
	snprintf(error, error_size, "cannot set up the control socket: %s", strerror(errno));
	control_destroy(control);
	return NULL;
}

static void *run(void *arg)
{
	struct control *control = arg;
	while (!control->stopping)
		wl_event_loop_dispatch(control->loop, -1);
	return NULL;
}

int control_start(struct control *control)
{
	if (thread_start(&control->thread, "control", 5, run, control) < 0)
		return -1;
	control->started = true;
	return 0;
}

void control_destroy(struct control *control)
{
	if (control == NULL)
		return;
	if (control->started) {
		struct answer stop = { .stop = true };
		while (!mailbox_post(control->answers, &stop))
			usleep(1000);
		pthread_join(control->thread, NULL);
	}
	for (int i = 0; i < CLIENTS; i++)
		if (control->client[i].fd >= 0)
			client_close(&control->client[i]);
	struct wl_event_source *sources[] = { control->listen_source, control->board_source, control->answer_source, control->timer };
	for (size_t i = 0; i < ARRAY_LEN(sources); i++)
		if (sources[i] != NULL)
			wl_event_source_remove(sources[i]);
	if (control->loop != NULL)
		wl_event_loop_destroy(control->loop);
	if (control->listen_fd >= 0) {
		unlink(control->config.path);
		close(control->listen_fd);
	}
	if (control->board_fd >= 0) {
		status_board_unsubscribe(control->config.board, control->board_fd);
		close(control->board_fd);
	}
	mailbox_destroy(control->answers);
	free(control);
}
