#define LOG_MODULE "spawner"
#include "spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/exit_status.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "base/thread.h"

#define LOOK_MS 250       /* how long a request to end may wait */
#define END_MS 30000      /* for a child to flush its disks */
#define OOM_SCORE_ADJ 500 /* half of the memory more than it uses: before the panel and before most others */

/* One packet on either socket. */
struct packet {
	uint32_t word, child;
	int32_t exit_status, wait_status;
	uint32_t out_of_memory;
	char text[SPAWNER_TEXT];
	struct spawner_hello hello;
};

struct spawner {
	int fd;
	pid_t pid;
};

struct spawner_child {
	int fd;
};

/* --- packets -------------------------------------------------------------------------------------------------------- */

static int send_packet(int socket, const struct packet *packet, const int *fds, uint32_t n_fds, int flags)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(SPAWNER_FDS * sizeof(int))];
	} control = { 0 };
	struct iovec io = { (void *)(uintptr_t)packet, sizeof *packet };
	struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1 };
	if (n_fds > SPAWNER_FDS) {
		errno = EINVAL;
		return -1;
	}
	if (n_fds > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
	}
	ssize_t sent;
	do
		sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)sizeof *packet ? 0 : -1;
}

/* 1: a packet; 0: none now; -1: the other side is gone or sends nonsense. */
static int receive_packet(int socket, struct packet *packet, int *fds, uint32_t *n_fds, int flags)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(SPAWNER_FDS * sizeof(int))];
	} control;
	struct iovec io = { packet, sizeof *packet };
	struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes };
	ssize_t got;
	*n_fds = 0;
	do
		got = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? 0 : -1;
	for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		/* The kernel gives no more than fit into `control`. */
		*n_fds = (uint32_t)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(header), *n_fds * sizeof(int));
	}
	if (got == (ssize_t)sizeof *packet && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		packet->text[sizeof packet->text - 1] = '\0';
		packet->hello.memory.text[STATUS_TEXT - 1] = packet->hello.disk.text[STATUS_TEXT - 1] = '\0';
		return 1;
	}
	while (*n_fds > 0)
		close(fds[--*n_fds]);
	return -1;
}

/* --- the spawner's own process ---------------------------------------------------------------------------------------- */

struct server {
	const struct spawner_ops *ops;
	int panel;
	pid_t self;
	uint32_t number; /* of the last child */
	uint32_t wanted; /* number of the child to make when the last one is gone; 0: none */
	pid_t pid;       /* 0: no child */
	int pidfd, channel;
	bool spoken;     /* the child said READY or FAILED: nothing more is read from it */
	bool ending;
	uint64_t deadline_ns;
	uint64_t oom_kills;
};

/* Processes the kernel ended for want of memory, since it booted; 0 when it does not say. */
static uint64_t oom_kills(void)
{
	char line[128];
	unsigned long long count = 0;
	FILE *file = fopen("/proc/vmstat", "re");
	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (sscanf(line, "oom_kill %llu", &count) == 1)
			break;
	if (file != NULL)
		fclose(file);
	return count;
}

static void raise_oom_score(void)
{
	char text[16];
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	int length = snprintf(text, sizeof text, "%d", OOM_SCORE_ADJ);
	if (fd < 0 || write(fd, text, (size_t)length) != length)
		log_warn("the machine's process is not the first to go when memory runs out: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

_Noreturn static void be_child(const struct server *server, int channel)
{
	/* Before anything else: whoever made this process may be gone already. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != server->self)
		_exit(EXIT_FAILED);
	prctl(PR_SET_NAME, "rayvm-machine");
	close(server->panel);
	raise_oom_score();
	struct spawner_child child = { channel };
	_exit(server->ops->run(server->ops->data, &child));
}

static void tell(struct server *server, struct packet *packet, const int *fds, uint32_t n_fds)
{
	packet->child = server->number;
	if (send_packet(server->panel, packet, fds, n_fds, 0) < 0)
		log_error("cannot tell the panel: %s", strerror(errno));
}

static void start(struct server *server)
{
	int pair[2] = { -1, -1 };
	if (server->pid != 0 || server->ending || server->wanted == 0)
		return;
	server->number = server->wanted;
	server->wanted = 0;
	server->oom_kills = oom_kills();
	server->spoken = false;
	pid_t pid = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0)
		pid = fork();
	if (pid == 0) {
		close(pair[0]);
		be_child(server, pair[1]);
	}
	if (pid > 0) {
		close(pair[1]);
		server->channel = pair[0];
		server->pid = pid;
		server->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (server->pidfd >= 0) {
			fcntl(server->pidfd, F_SETFD, FD_CLOEXEC);
			return;
		}
	}
	struct packet packet = { .word = SPAWNER_FAILED, .exit_status = EXIT_FAILED };
	snprintf(packet.text, sizeof packet.text, "cannot make a process for the machine: %s", strerror(errno));
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		server->pid = 0;
	} else if (pair[1] >= 0) {
		close(pair[1]);
	}
	if (pair[0] >= 0)
		close(pair[0]);
	tell(server, &packet, NULL, 0);
}

static void bury(struct server *server)
{
	int status = 0;
	pid_t got;
	do
		got = waitpid(server->pid, &status, 0);
	while (got < 0 && errno == EINTR);
	close(server->pidfd);
	close(server->channel);
	server->pid = 0;
	struct packet packet = { .word = SPAWNER_DIED, .wait_status = status };
	packet.out_of_memory = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && oom_kills() > server->oom_kills;
	tell(server, &packet, NULL, 0);
	start(server);
}

/* The child's one word, before it runs guest code. */
static void hear_child(struct server *server)
{
	struct packet packet;
	int fds[SPAWNER_FDS];
	uint32_t n_fds;
	int got = receive_packet(server->channel, &packet, fds, &n_fds, MSG_DONTWAIT);
	if (got == 0)
		return;
	server->spoken = true; /* also when it closed its end: its death follows */
	if (got > 0 && (packet.word == SPAWNER_READY || packet.word == SPAWNER_FAILED))
		tell(server, &packet, fds, n_fds);
	while (n_fds > 0)
		close(fds[--n_fds]);
}

/* False: the panel is gone. */
static bool hear_panel(struct server *server)
{
	struct packet packet;
	int fds[SPAWNER_FDS];
	uint32_t n_fds;
	int got = receive_packet(server->panel, &packet, fds, &n_fds, MSG_DONTWAIT);
	while (n_fds > 0)
		close(fds[--n_fds]);
	if (got <= 0)
		return got == 0;
	switch (packet.word) {
	case SPAWNER_START:
		server->wanted = packet.child;
		start(server);
		break;
	case SPAWNER_BEGIN:
		log_release(); /* the panel is there: the start has not failed */
		if (server->pid != 0 && packet.child == server->number)
			send_packet(server->channel, &packet, NULL, 0, MSG_DONTWAIT);
		break;
	case SPAWNER_CLOSE:
		if (server->pid != 0 && packet.child == server->number)
			shutdown(server->channel, SHUT_WR);
		break;
	case SPAWNER_KILL:
		server->wanted = 0;
		if (server->pid != 0)
			kill(server->pid, SIGKILL);
		break;
	case SPAWNER_END:
		server->ending = true;
		server->deadline_ns = clock_now_ns() + END_MS * NSEC_PER_MSEC;
		if (server->pid != 0)
			shutdown(server->channel, SHUT_WR);
		break;
	default:
		break;
	}
	return true;
}

_Noreturn static void serve(const struct spawner_ops *ops, int panel, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_FAILED);
	prctl(PR_SET_NAME, "rayvm-spawner");
	struct server server = { .ops = ops, .panel = panel, .self = getpid(), .wanted = 1, .pidfd = -1, .channel = -1 };
	struct packet packet = { .word = SPAWNER_OPENED };
	int status = EXIT_FAILED;
	if (ops->open(ops->data, packet.text, sizeof packet.text, &status) < 0) {
		packet.word = SPAWNER_FAILED;
		packet.exit_status = status;
		tell(&server, &packet, NULL, 0);
		_exit(0);
	}
	sandbox_enter_spawner();
	tell(&server, &packet, NULL, 0);
	start(&server);
	while (!server.ending || server.pid != 0) {
		struct pollfd fds[3] = {
			{ .fd = panel, .events = POLLIN },
			{ .fd = server.pid != 0 ? server.pidfd : -1, .events = POLLIN },
			{ .fd = server.pid != 0 && !server.spoken ? server.channel : -1, .events = POLLIN },
		};
		int timeout = -1;
		if (server.ending) {
			uint64_t now = clock_now_ns();
			if (now >= server.deadline_ns)
				kill(server.pid, SIGKILL);
			timeout = now >= server.deadline_ns ? LOOK_MS : (int)((server.deadline_ns - now) / NSEC_PER_MSEC) + 1;
			fds[0].fd = -1;
		}
		if (poll(fds, ARRAY_LEN(fds), timeout) < 0 && errno != EINTR)
			break;
		if (fds[2].revents != 0)
			hear_child(&server);
		if (fds[1].revents != 0)
			bury(&server);
		if (fds[0].revents != 0 && !hear_panel(&server))
			break;
	}
	/* The child goes with us. */
	_exit(0);
}

/* --- the panel's side ------------------------------------------------------------------------------------------------- */

struct spawner *spawner_create(const struct spawner_ops *ops, char *error, size_t error_size, int *exit_status)
{
	int pair[2];
	*exit_status = EXIT_FAILED;
	struct spawner *spawner = calloc(1, sizeof *spawner);
	if (spawner == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		snprintf(error, error_size, "cannot make a process for the machine: %s", strerror(errno));
		free(spawner);
		return NULL;
	}
	pid_t self = getpid();
	spawner->pid = fork();
	if (spawner->pid == 0) {
		close(pair[0]);
		serve(ops, pair[1], self);
	}
	close(pair[1]);
	spawner->fd = pair[0];
	if (spawner->pid < 0) {
		snprintf(error, error_size, "cannot make a process for the machine: %s", strerror(errno));
		close(spawner->fd);
		free(spawner);
		return NULL;
	}
	struct spawner_event event;
	int got = spawner_wait(spawner, &event);
	if (got > 0 && event.word == SPAWNER_OPENED)
		return spawner;
	if (got > 0 && event.word == SPAWNER_FAILED) {
		snprintf(error, error_size, "%s", event.text);
		*exit_status = event.exit_status;
	} else {
		snprintf(error, error_size, "the process that opens the machine's files ended unexpectedly");
	}
	spawner_destroy(spawner);
	return NULL;
}

int spawner_await_child(struct spawner *spawner, char *error, size_t error_size, int *exit_status)
{
	struct packet packet = { 0 };
	struct pollfd ready = { .fd = spawner->fd, .events = POLLIN };
	*exit_status = EXIT_FAILED;
	while (!thread_end_asked() && poll(&ready, 1, LOOK_MS) <= 0)
		;
	/* Looked at without room for descriptors: none is made here. */
	if (recv(spawner->fd, &packet, sizeof packet, MSG_PEEK | MSG_DONTWAIT) == (ssize_t)sizeof packet && packet.word == SPAWNER_READY)
		return 0;
	struct spawner_event event;
	if (spawner_take(spawner, &event) <= 0) {
		snprintf(error, error_size, "the process that makes machines ended unexpectedly");
	} else if (event.word == SPAWNER_FAILED) {
		snprintf(error, error_size, "%s", event.text);
		*exit_status = event.exit_status;
	} else {
		char why[96];
		spawner_describe(&event, why, sizeof why);
		snprintf(error, error_size, "the machine's process was %s while it was set up", why);
	}
	return -1;
}

int spawner_fd(const struct spawner *spawner)
{
	return spawner->fd;
}

int spawner_take(struct spawner *spawner, struct spawner_event *event)
{
	struct packet packet;
	*event = (struct spawner_event){ 0 };
	int got = receive_packet(spawner->fd, &packet, event->fd, &event->n_fds, MSG_DONTWAIT);
	if (got <= 0)
		return got;
	event->word = (enum spawner_word)packet.word;
	event->child = packet.child;
	event->exit_status = packet.exit_status;
	event->wait_status = packet.wait_status;
	event->out_of_memory = packet.out_of_memory != 0;
	event->hello = packet.hello;
	memcpy(event->text, packet.text, sizeof event->text);
	return 1;
}

int spawner_wait(struct spawner *spawner, struct spawner_event *event)
{
	while (!thread_end_asked()) {
		struct pollfd ready = { .fd = spawner->fd, .events = POLLIN };
		if (poll(&ready, 1, LOOK_MS) <= 0)
			continue;
		int got = spawner_take(spawner, event);
		if (got != 0)
			return got;
	}
	return -1;
}

bool spawner_say(struct spawner *spawner, enum spawner_word word, uint32_t child)
{
	struct packet packet = { .word = word, .child = child };
	/* There is room: the spawner does nothing but read. */
	return send_packet(spawner->fd, &packet, NULL, 0, MSG_DONTWAIT) == 0;
}

void spawner_destroy(struct spawner *spawner)
{
	if (spawner == NULL)
		return;
	spawner_say(spawner, SPAWNER_END, 0);
	pid_t got;
	do
		got = waitpid(spawner->pid, NULL, 0);
	while (got < 0 && errno == EINTR);
	close(spawner->fd);
	free(spawner);
}

void spawner_event_close(struct spawner_event *event)
{
	while (event->n_fds > 0)
		close(event->fd[--event->n_fds]);
}

void spawner_describe(const struct spawner_event *event, char *text, size_t size)
{
	int status = event->wait_status;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		snprintf(text, size, "killed by SIGSYS: it made a system call that its sandbox forbids");
	else if (WIFSIGNALED(status))
		snprintf(text, size, "killed by signal %d (%s)%s", WTERMSIG(status), strsignal(WTERMSIG(status)),
			event->out_of_memory ? ", out of memory" : WCOREDUMP(status) ? ", core dumped" : "");
	else
		snprintf(text, size, "ended with status %d", WEXITSTATUS(status));
}

/* --- a child's side ----------------------------------------------------------------------------------------------------- */

void spawner_child_failed(struct spawner_child *child, const char *text, int exit_status)
{
	struct packet packet = { .word = SPAWNER_FAILED, .exit_status = exit_status };
	snprintf(packet.text, sizeof packet.text, "%s", text);
	if (send_packet(child->fd, &packet, NULL, 0, 0) < 0)
		log_error("cannot tell the panel (%s): %s", strerror(errno), text);
}

int spawner_child_ready(struct spawner_child *child, const struct spawner_hello *hello, const int *fds, uint32_t n_fds)
{
	struct packet packet = { .word = SPAWNER_READY, .hello = *hello };
	return send_packet(child->fd, &packet, fds, n_fds, 0);
}

bool spawner_child_wait_begin(struct spawner_child *child)
{
	struct packet packet;
	int fds[SPAWNER_FDS];
	uint32_t n_fds;
	int got = receive_packet(child->fd, &packet, fds, &n_fds, 0);
	while (n_fds > 0)
		close(fds[--n_fds]);
	return got > 0 && packet.word == SPAWNER_BEGIN;
}

int spawner_child_end_fd(const struct spawner_child *child)
{
	return child->fd;
}
