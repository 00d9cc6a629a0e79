/* The commands of the control socket. */
#define LOG_MODULE "control"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "control/control_internal.h"
#include "control/keyboard.h"
#include "control/picture.h"
#include "control/report.h"

#define TYPE_MAX 1024 /* characters of one command */

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

/*
 * Whether all requests of one command fit, its CONTROL_DONE included; else it is refused whole: half of it could leave a key
 * pressed for ever. Only this thread posts to the front.
 */
static bool has_room(struct client *client, uint32_t requests)
{
	if (mailbox_has_room(client->control->config.front, requests + 1))
		return true;
	client_error(client, "too many commands wait: try again");
	return false;
}

/* What the front thread answers. */
static void post_asked(struct client *client, struct control_request request)
{
	request.token = token_of(client);
	if (post(client->control, &request))
		client->busy = true;
	else
		client_error(client, "too many commands wait: try again");
}

/* The last part of a command: the answer comes when everything before is done. */
static void post_done(struct client *client)
{
	post_asked(client, (struct control_request){ .kind = CONTROL_DONE });
}

static void post_key(struct control *control, uint16_t code, int32_t value, bool to_guest)
{
	struct control_request request = { .kind = CONTROL_KEY, .code = code, .value = value, .to_guest = to_guest, .time_ns = clock_now_ns() };
	post(control, &request);
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
	if (!has_room(client, 1))
		return;
	post(client->control, &request);
	post_done(client);
}

static void no_such_key(struct client *client, const char *name)
{
	char like[160] = "";
	if (client->control->config.keys_like != NULL)
		client->control->config.keys_like(name, like, sizeof like);
	client_error(client, "press: '%.40s' is no key name%s%s", name, like[0] != '\0' ? "; near are " : "", like);
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
	uint32_t events = 0;
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
			if (found < 0) {
				no_such_key(client, name);
				return;
			}
			if (count[i] == ARRAY_LEN(code[i])) {
				client_error(client, "press: too many keys in one chord ('%.40s')", name);
				return;
			}
			code[i][count[i]++] = (uint16_t)found;
			events += 2; /* press and release */
		}
	}
	if (!has_room(client, events))
		return;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < count[i]; k++)
			post_key(client->control, code[i][k], 1, to_guest);
		for (size_t k = count[i]; k-- > 0;)
			post_key(client->control, code[i][k], 0, to_guest);
	}
	post_done(client);
}

static bool acts(const struct control *control, uint16_t code, bool shift)
{
	for (size_t i = 0; i < ARRAY_LEN(control->config.acting); i++)
		if (control->config.acting[i].code == code && (!control->config.acting[i].shift || shift))
			return true;
	return false;
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
	uint32_t events = 0;
	for (const char *at = text; *at != '\0'; at++) {
		if (!us_key(*at, &code, &shift)) {
			client_error(client, "type: no key of the US layout makes character %zu (0x%02x)", (size_t)(at - text) + 1, (unsigned char)*at);
			return;
		}
		if (!to_guest && acts(client->control, code, shift)) {
			client_error(client, "type: '%c' is on a key that acts; use --guest to type one into the guest", *at);
			return;
		}
		events += shift ? 4 : 2;
	}
	if (!has_room(client, events))
		return;
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
	if (!has_room(client, 1))
		return;
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
	if (!has_room(client, 2))
		return;
	post_key(client->control, code, 1, to_guest);
	post_key(client->control, code, 0, to_guest);
	post_done(client);
}

static void command_vm(struct client *client, json_object *arguments)
{
	static const char *const names[] = { "start", "pause", "resume", "powerdown", "reset", "stop", "resize-disk" };
	const char *action = text_of(arguments, "action"), *name = text_of(arguments, "name");
	if (name != NULL && strcmp(name, "main") != 0) {
		client_error(client, "vm: there is no VM '%.40s'; the one there is is called main", name);
		return;
	}
	json_object *disk;
	int64_t number = json_object_object_get_ex(arguments, "disk", &disk) ? json_object_get_int64(disk) : 0;
	for (uint32_t i = 0; action != NULL && i < ARRAY_LEN(names); i++) {
		if (strcmp(action, names[i]) == 0) {
			if (i == CONTROL_VM_RESIZE_DISK && (number < 1 || number > UINT16_MAX)) {
				client_error(client, "vm: resize-disk wants 'disk', the number of a --disk, from 1");
				return;
			}
			/* It knows whether there is a machine. */
			post_asked(client, (struct control_request){ .kind = CONTROL_VM, .argument = i, .code = (uint16_t)number });
			return;
		}
	}
	client_error(client, "vm: 'action' is start, pause, resume, powerdown, reset, stop or resize-disk");
}

static void command_display(struct client *client, json_object *arguments)
{
	const char *state = text_of(arguments, "state");
	if (state == NULL || (strcmp(state, "on") != 0 && strcmp(state, "off") != 0)) {
		client_error(client, "display: 'state' is on or off");
		return;
	}
	uint32_t argument = strcmp(state, "on") == 0 ? CONTROL_DISPLAY_ON : CONTROL_DISPLAY_OFF;
	/* It knows whether the card does it. */
	post_asked(client, (struct control_request){ .kind = CONTROL_DISPLAY, .argument = argument });
}

/* Who wants the picture; lives from the request to control_shot_done(), longer than the client may. */
struct shot {
	struct control *control;
	uint64_t token;
	char output[STATUS_OUTPUT_NAME];
};

/* Whether there is an output of this name, and the UI is on it where `ui` is asked for. False after an answer. */
static bool look_at_output(struct client *client, const char *name, bool ui)
{
	struct status status;
	char list[STATUS_OUTPUTS * (STATUS_OUTPUT_NAME + 2)] = "";
	size_t length = 0;
	status_board_read(client->control->config.board, &status);
	for (uint32_t i = 0; i < status.n_outputs && i < STATUS_OUTPUTS; i++) {
		const struct status_output *output = &status.output[i];
		if (strcmp(output->name, name) == 0) {
			if (!ui || i == 0 || output->mirror)
				return true;
			client_error(client, "screenshot: the UI is on %s alone", status.output[0].name);
			return false;
		}
		length += (size_t)snprintf(list + length, sizeof list - length, "%s%s", i > 0 ? ", " : "", output->name);
	}
	client_error(client, "screenshot: no output '%.40s'; there is %s", name, length > 0 ? list : "none");
	return false;
}

/* What is asked for; *output: of which, empty: the main one. False after an answer. */
static bool which_shot(struct client *client, json_object *arguments, uint32_t *what, const char **output)
{
	static const char *const faces[] = { [CONTROL_SHOT_SCREEN] = "screen", [CONTROL_SHOT_UI] = "ui", [CONTROL_SHOT_GUEST] = "guest" };
	const char *face = text_of(arguments, "face");
	*output = text_of(arguments, "output");
	*what = CONTROL_SHOT_SCREEN; /* the first of them */
	while (face != NULL && *what < ARRAY_LEN(faces) && strcmp(face, faces[*what]) != 0)
		++*what;
	if (*what == ARRAY_LEN(faces)) {
		client_error(client, "screenshot: 'face' is ui, guest or screen");
		return false;
	}
	if (*output != NULL)
		return look_at_output(client, *output, *what == CONTROL_SHOT_UI);
	*output = "";
	return true;
}

static void command_screenshot(struct client *client, json_object *arguments)
{
	uint32_t what;
	const char *output;
	int fd = client_take_fd(client);
	if (!which_shot(client, arguments, &what, &output)) {
		if (fd >= 0)
			close(fd);
		return;
	}
	struct stat info;
	if (fd < 0) {
		client_error(client, "screenshot: rayvm opens no files: pass a descriptor, open for writing, with the line (SCM_RIGHTS), as rayvmctl does");
		return;
	}
	int flags = fcntl(fd, F_GETFL);
	/* A pipe or a terminal could hold up this thread, and so all clients. */
	if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) || flags < 0 || (flags & O_ACCMODE) == O_RDONLY) {
		client_error(client, "screenshot: the descriptor is no regular file that is open for writing");
		close(fd);
		return;
	}
	struct shot *shot = malloc(sizeof *shot);
	if (shot == NULL) {
		client_error(client, "screenshot: out of memory");
		close(fd);
		return;
	}
	*shot = (struct shot){ .control = client->control, .token = token_of(client) };
	snprintf(shot->output, sizeof shot->output, "%s", output);
	client->shot_fd = fd;
	client->busy = true;
	struct control_request request = { .kind = CONTROL_SHOT, .argument = what, .shot = shot, .output = shot->output };
	if (!post(client->control, &request)) {
		free(shot);
		close(fd);
		client->shot_fd = -1;
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
	if (strcmp(state, "display:on") == 0 || strcmp(state, "display:off") == 0)
		return status->blanked == (strcmp(state, "display:off") == 0);
	if (strncmp(state, "vm:", 3) == 0)
		for (int vm = VM_NONE; vm <= VM_CRASHED; vm++)
			if (strcmp(state + 3, status_vm_name((enum vm_state)vm)) == 0)
				return status->vm == (enum vm_state)vm;
	return -1;
}

void command_check_waits(struct control *control)
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
		client_error(client, "wait: 'state' is ui, guest, scanout, first-frame, display:on|off or vm:none|starting|running|paused|stopping|stopped|crashed");
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
	command_check_waits(client->control);
}

void command_run(struct client *client, json_object *message)
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
	} else if (strcmp(name, "display") == 0) {
		command_display(client, arguments);
	} else if (strcmp(name, "screenshot") == 0) {
		command_screenshot(client, arguments);
	} else if (strcmp(name, "wait") == 0) {
		command_wait(client, arguments);
	} else if (strcmp(name, "console") == 0) {
		command_console(client, text_of(arguments, "port"));
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

void control_shot_done(void *data, uint32_t *pixels, uint32_t width, uint32_t height)
{
	struct shot *shot = data;
	struct answer answer = { .token = shot->token, .shot = true, .pixels = pixels, .width = width, .height = height };
	if (!mailbox_post(shot->control->answers, &answer))
		free(pixels);
	free(shot);
}

void command_write_shot(struct client *client, const struct answer *answer)
{
	int fd = client->shot_fd;
	client->shot_fd = -1;
	if (answer->pixels == NULL) {
		close(fd);
		client_error(client, "screenshot: there is no picture");
		return;
	}
	size_t size;
	uint8_t *png = png_encode(answer->pixels, answer->width, answer->height, &size);
	if (png == NULL) {
		close(fd);
		client_error(client, "screenshot: cannot encode %ux%u pixels", answer->width, answer->height);
		return;
	}
	size_t done = 0;
	ssize_t written = 0;
	errno = 0;
	while (done < size && ((written = write(fd, png + done, size - done)) > 0 || (written < 0 && errno == EINTR)))
		done += written > 0 ? (size_t)written : 0;
	int error = done == size ? 0 : errno != 0 ? errno : EIO;
	free(png);
	if (close(fd) < 0 && error == 0)
		error = errno;
	if (error != 0) {
		client_error(client, "screenshot: cannot write the file: %s", strerror(error));
		return;
	}
	json_object *result = json_object_new_object();
	json_object_object_add(result, "width", json_object_new_int64(answer->width));
	json_object_object_add(result, "height", json_object_new_int64(answer->height));
	client_answer(client, result, NULL);
}
