#define LOG_MODULE "control"
#include "control/control.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/status.h"
#include "base/thread.h"
#include "control/control_internal.h"
#include "control/report.h"

uint64_t token_of(const struct client *client)
{
	return (uint64_t)client->serial << 8 | (uint64_t)(client - client->control->client);
}

static struct client *client_of(struct control *control, uint64_t token)
{
	struct client *client = &control->client[token & 0xff];
	return (token & 0xff) < CLIENTS && client->fd >= 0 && client->serial == token >> 8 ? client : NULL;
}

void client_close(struct client *client)
{
	bool raw = client->raw;
	enum console_stream console = client->console;
	wl_event_source_remove(client->source);
	close(client->fd);
	free(client->in);
	free(client->out);
	for (int fd; (fd = client_take_fd(client)) >= 0;)
		close(fd);
	if (client->shot_fd >= 0)
		close(client->shot_fd);
	json_object_put(client->id);
	struct control *control = client->control;
	memset(client, 0, sizeof *client);
	client->control = control;
	client->fd = client->shot_fd = -1;
	if (raw) {
		client->console = console;
		console_client_closed(client);
	}
}

int client_take_fd(struct client *client)
{
	if (client->n_passed == 0)
		return -1;
	int fd = client->passed[0];
	client->n_passed--;
	memmove(client->passed, client->passed + 1, (size_t)client->n_passed * sizeof client->passed[0]);
	return fd;
}

/* Keeps the descriptors that came with a message, for the commands in it; closes what is too much. */
static void client_take_message(struct client *client, struct msghdr *message)
{
	for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head != NULL; head = CMSG_NXTHDR(message, head)) {
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
			if (client->n_passed < PASSED_FDS)
				client->passed[client->n_passed++] = fd;
			else
				close(fd);
		}
	}
}

bool client_flush(struct client *client)
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
	bool reads = !client->raw || console_client_reads(client);
	wl_event_source_fd_update(client->source, (reads ? WL_EVENT_READABLE : 0) | (client->out_size > 0 ? WL_EVENT_WRITABLE : 0));
	if (client->raw)
		console_client_flushed(client);
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

void client_answer(struct client *client, json_object *result, const char *error)
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

void client_error(struct client *client, const char *format, ...)
{
	char text[200];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	client_answer(client, NULL, text);
}

/* Takes complete lines while no command is outstanding. */
static void client_lines(struct client *client)
{
	while (client->fd >= 0 && !client->busy && !client->raw) {
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
			command_run(client, message);
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
	if (client->raw) {
		console_client_ready(client, (mask & (WL_EVENT_HANGUP | WL_EVENT_ERROR)) != 0);
		return 0;
	}
	char bytes[4096];
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(PASSED_FDS * sizeof(int))];
	} rights;
	struct iovec into = { .iov_base = bytes, .iov_len = sizeof bytes };
	struct msghdr message = { .msg_iov = &into, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights };
	ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got >= 0)
		client_take_message(client, &message);
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

/* Answers the waits that are over, then goes on with what their clients sent behind them. */
static void check_waits(struct control *control)
{
	command_check_waits(control);
	for (int i = 0; i < CLIENTS; i++)
		if (control->client[i].fd >= 0)
			client_lines(&control->client[i]);
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
	if (status.vm_generation != control->last.vm_generation)
		console_machine_started(control);
	control->last = status;
	check_waits(control);
	return 0;
}

static int timer_fired(void *data)
{
	check_waits(data);
	return 0;
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
				command_write_shot(client, &answer);
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
	if (*path == '\0') {
		errno = EINVAL; /* the kernel would make up an abstract name */
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
		bool socket_there = lstat(path, &info) == 0 && S_ISSOCK(info.st_mode);
		errno = socket_there ? EADDRINUSE : EEXIST;
		if (!alive && socket_there && unlink(path) == 0)
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
		control->client[i].fd = control->client[i].shot_fd = -1;
	}
	control->listen_fd = bind_socket(config->path);
	if (control->listen_fd < 0) {
		snprintf(error, error_size, "cannot make the control socket %s: %s; choose another place with --control", config->path,
			errno == EADDRINUSE ? "another rayvm uses it" : errno == EEXIST ? "something else has this name" : strerror(errno));
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
	if (control->listen_source == NULL || control->board_source == NULL || control->answer_source == NULL || control->timer == NULL || console_hubs_create(control) < 0)
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
	console_hubs_destroy(control);
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
