/*
 * The control socket: bytes of any client, with a front that answers. A line gets at most one answer, answers are JSON objects,
 * and what a client left behind goes with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/stats.h"
#include "control/control_internal.h"
#include "fuzz.h"
#include "toggle/router.h"

const struct fuzz_target fuzz_target = { .operations = false };

static char path[64];
static struct stats stats;
static struct status_board *board;
static struct mailbox *front;
static struct control *control;

static void remove_socket(void)
{
	unlink(path);
}

void fuzz_start(void)
{
	log_set_level(LOG_WARN);
	snprintf(path, sizeof(path), "/tmp/rayvm-fuzz-%d.sock", (int)getpid());
	board = status_board_create();
	front = mailbox_create(CONTROL_REQUESTS, sizeof(struct control_request));
	const struct control_config config = { .path = path, .board = board, .stats = &stats, .front = front, .key_code = key_code_from_name };
	char error[256];
	control = control_create(&config, error, sizeof(error));
	FUZZ_CHECK(control != NULL, "%s", error);
	atexit(remove_socket);
}

static int connect_client(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	memcpy(address.sun_path, path, sizeof(path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	FUZZ_CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "cannot connect: %s", strerror(errno));
	return fd;
}

/* What the front would do: every request is taken, commands and pictures are answered. */
static void serve_front(void)
{
	struct control_request request;
	while (mailbox_take(front, &request)) {
		FUZZ_CHECK(request.kind <= CONTROL_DONE, "a request of kind %u", request.kind);
		if (request.kind == CONTROL_DONE)
			control_done(control, request.token, request.token & 0x100 ? "fuzz" : NULL);
		else if (request.kind == CONTROL_SHOT)
			control_shot_done(request.shot, calloc(4 * 3, 4), 4, 3);
		else if (request.kind == CONTROL_POINTER)
			FUZZ_CHECK(request.x <= 65535 && request.y <= 65535, "pointer at %u, %u", request.x, request.y);
	}
}

/* Counts the lines that come back; each is a JSON object. */
static uint32_t read_answers(int fd, char *kept, size_t *kept_size, size_t room)
{
	uint32_t answers = 0;
	ssize_t n;
	while ((n = recv(fd, kept + *kept_size, room - *kept_size, MSG_DONTWAIT)) > 0) {
		*kept_size += (size_t)n;
		for (char *end; (end = memchr(kept, '\n', *kept_size)) != NULL;) {
			*end = '\0';
			json_object *answer = json_tokener_parse(kept);
			FUZZ_CHECK(answer != NULL && json_object_is_type(answer, json_type_object), "an answer that is no object: %.200s", kept);
			answers += json_object_object_get(answer, "ok") != NULL;
			json_object_put(answer);
			size_t used = (size_t)(end + 1 - kept);
			*kept_size -= used;
			memmove(kept, kept + used, *kept_size);
		}
		FUZZ_CHECK(*kept_size < room, "an answer without end");
	}
	return answers;
}

void fuzz_one(const uint8_t *data, size_t size)
{
	static char kept[1 << 21];
	size_t kept_size = 0, sent = 0;
	uint32_t lines = 0, answers = 0;
	int fds = fuzz_next_fd(), fd = connect_client();
	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	for (uint32_t idle = 0; idle < 4; idle++) {
		ssize_t n = sent < size ? send(fd, data + sent, size - sent < 1000 ? size - sent : 1000, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
		if (n > 0) {
			sent += (size_t)n;
			idle = 0;
		}
		wl_event_loop_dispatch(control->loop, 0);
		serve_front();
		uint32_t got = read_answers(fd, kept, &kept_size, sizeof(kept));
		answers += got;
		if (got > 0)
			idle = 0;
	}
	FUZZ_CHECK(answers <= lines, "%u answers to %u lines", answers, lines);
	close(fd);
	for (uint32_t i = 0; i < 3; i++) {
		wl_event_loop_dispatch(control->loop, 0);
		serve_front();
	}
	for (uint32_t i = 0; i < CLIENTS; i++)
		FUZZ_CHECK(control->client[i].fd < 0, "client %u stays behind", i);
	FUZZ_CHECK(fuzz_next_fd() == fds, "a descriptor leaked");
}
