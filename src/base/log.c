#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/mailbox.h"
#include "base/thread.h"

#define LINE 512

struct line {
	uint16_t length;
	uint8_t marker, stop;
	char text[LINE - 4];
};

/* The one log of the process. */
static struct {
	_Atomic int level;
	_Atomic uint64_t dropped;
	_Atomic bool running; /* lines go into the ring */
	bool draining;        /* the thread is there */
	_Atomic uint64_t deadline_ns; /* 0: none; set by log_stop() for all that is left */
	int log_fd, markers_fd;
	struct mailbox *lines;
	pthread_t thread;
} the_log = { .level = LOG_INFO, .log_fd = STDERR_FILENO, .markers_fd = STDERR_FILENO };

static const char *const level_names[] = { "error", "warn", "info", "debug" };

int log_level_from_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++)
		if (strcmp(level_names[i], name) == 0)
			return (int)i;
	return -1;
}

/*
 * Writes the whole line, waiting at most 200 ms in all for a descriptor that is full: a stuck reader costs lines, never
 * more than that of the log thread's time.
 */
static void write_line(int fd, const char *text, size_t length)
{
	uint64_t deadline = clock_now_ns() + 200 * NSEC_PER_MSEC, last = atomic_load(&the_log.deadline_ns);
	if (last != 0 && last < deadline)
		deadline = last;
	while (length > 0) {
		/* poll() first: the descriptor may be shared with others and must keep its flags, so it may be blocking. */
		struct pollfd ready = { .fd = fd, .events = POLLOUT };
		uint64_t now = clock_now_ns();
		int wait = now >= deadline ? 0 : (int)((deadline - now) / NSEC_PER_MSEC);
		if (poll(&ready, 1, wait) != 1 || (ready.revents & POLLOUT) == 0) {
			atomic_fetch_add(&the_log.dropped, 1);
			return;
		}
		ssize_t written = write(fd, text, length);
		if (written < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			atomic_fetch_add(&the_log.dropped, 1);
			return;
		}
		text += written;
		length -= (size_t)written;
	}
}

static void *drain(void *arg)
{
	(void)arg;
	uint64_t reported = 0;
	struct line line;
	for (;;) {
		struct pollfd ready = { .fd = mailbox_fd(the_log.lines), .events = POLLIN };
		if (poll(&ready, 1, -1) < 0 && errno != EINTR)
			return NULL;
		mailbox_ack(the_log.lines);
		while (mailbox_take(the_log.lines, &line)) {
			if (line.stop)
				return NULL;
			write_line(line.marker ? the_log.markers_fd : the_log.log_fd, line.text, line.length);
		}
		uint64_t dropped = atomic_load(&the_log.dropped);
		if (dropped != reported) {
			char text[96];
			int n = snprintf(text, sizeof text, "warn log: %llu lines dropped so far\n", (unsigned long long)dropped);
			reported = dropped;
			write_line(the_log.log_fd, text, (size_t)n);
		}
	}
}

/*
 * A terminal or pipe may fill up in the middle of a line, and its flags belong to everybody who has it open: our own
 * non-blocking opening of it. Others, and what cannot be opened again, are used as they are.
 */
static int own_opening(int fd)
{
	struct stat info;
	char path[32];
	if (fstat(fd, &info) < 0 || !(S_ISCHR(info.st_mode) || S_ISFIFO(info.st_mode)))
		return fd;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return own >= 0 ? own : fd;
}

/* A forked child has no drain thread: it writes directly, until it starts a log of its own. */
static void in_child(void)
{
	atomic_store(&the_log.running, false);
	the_log.draining = false;
}

void log_markers_to(int fd)
{
	the_log.markers_fd = fd;
}

int log_hold(void)
{
	if (the_log.lines == NULL)
		pthread_atfork(NULL, NULL, in_child);
	else
		mailbox_destroy(the_log.lines); /* a forked child's copy: what is in it is the parent's to write */
	the_log.lines = mailbox_create(1024, sizeof(struct line));
	if (the_log.lines == NULL)
		return -1;
	atomic_store(&the_log.running, true);
	return 0;
}

void log_release(void)
{
	struct line line;
	if (the_log.draining || !atomic_exchange(&the_log.running, false))
		return;
	while (mailbox_take(the_log.lines, &line))
		write_line(line.marker ? the_log.markers_fd : the_log.log_fd, line.text, line.length);
	mailbox_destroy(the_log.lines);
	the_log.lines = NULL;
}

int log_start(enum log_level level, int markers_fd)
{
	log_set_level(level);
	if (!atomic_load(&the_log.running) && log_hold() < 0)
		return -1;
	the_log.log_fd = own_opening(STDERR_FILENO);
	the_log.markers_fd = own_opening(markers_fd);
	atomic_store(&the_log.deadline_ns, 0);
	if (thread_start(&the_log.thread, "log", 0, drain, NULL) < 0) {
		atomic_store(&the_log.running, false);
		return -1;
	}
	the_log.draining = true;
	return 0;
}

void log_stop(void)
{
	if (!atomic_exchange(&the_log.running, false) || !the_log.draining)
		return;
	the_log.draining = false;
	/* One deadline for everything that is left: a stuck reader must not hold up the end of the program. */
	uint64_t deadline = clock_now_ns() + 500 * NSEC_PER_MSEC;
	atomic_store(&the_log.deadline_ns, deadline);
	struct line last = { .stop = 1 };
	while (!mailbox_post(the_log.lines, &last))
		usleep(1000); /* full: the drain thread makes room, at once when the deadline has passed */
	pthread_join(the_log.thread, NULL);
	/* The mailbox stays: a late writer on another thread may still hold its address. */
}

void log_set_level(enum log_level level)
{
	atomic_store(&the_log.level, (int)level);
}

uint64_t log_dropped(void)
{
	return atomic_load(&the_log.dropped);
}

/* at_once: not after others that are held, where nobody writes yet. */
static void emit(struct line *line, size_t length, bool at_once)
{
	if (length > sizeof line->text - 1)
		length = sizeof line->text - 1;
	/* One line stays one line, whatever a guest or a file put into it. */
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)line->text[i] < 0x20 || line->text[i] == 0x7f)
			line->text[i] = '?';
	line->text[length] = '\n';
	line->length = (uint16_t)(length + 1);
	line->stop = 0;
	if (atomic_load(&the_log.running) && (!at_once || the_log.draining)) {
		if (!mailbox_post(the_log.lines, line))
			atomic_fetch_add(&the_log.dropped, 1);
		return;
	}
	write_line(line->marker ? the_log.markers_fd : the_log.log_fd, line->text, line->length);
}

static void log_formatted(enum log_level level, bool at_once, const char *module, const char *format, va_list arguments)
{
	if ((int)level > atomic_load_explicit(&the_log.level, memory_order_relaxed))
		return;
	struct line line = { 0 };
	uint64_t now = clock_now_ns();
	int head = snprintf(line.text, sizeof line.text, "%llu.%06llu %s %s: ", (unsigned long long)(now / NSEC_PER_SEC),
		(unsigned long long)(now % NSEC_PER_SEC / 1000), level_names[level], module);
	int body = vsnprintf(line.text + head, sizeof line.text - (size_t)head, format, arguments);
	emit(&line, (size_t)head + (body > 0 ? (size_t)body : 0), at_once);
}

void log_line(enum log_level level, const char *module, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	log_formatted(level, false, module, format, arguments);
	va_end(arguments);
}

void log_at_once(enum log_level level, const char *module, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	log_formatted(level, true, module, format, arguments);
	va_end(arguments);
}

void log_marker(const char *format, ...)
{
	struct line line = { .marker = 1 };
	va_list arguments;
	va_start(arguments, format);
	int body = vsnprintf(line.text, sizeof line.text, format, arguments);
	va_end(arguments);
	emit(&line, body > 0 ? (size_t)body : 0, false);
}

int log_limit_pass(struct log_limit *limit, uint32_t *left_out)
{
	uint64_t now = clock_now_ns();
	*left_out = limit->left_out;
	if (limit->burst < 5 || now >= limit->next_ns) {
		if (limit->burst < 5)
			limit->burst++;
		limit->next_ns = now + NSEC_PER_SEC;
		limit->left_out = 0;
		return 1;
	}
	limit->left_out++;
	return 0;
}
