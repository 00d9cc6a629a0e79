#include "base/status.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define READERS 16

struct status_board {
	pthread_mutex_t lock; /* guards all below; held for a copy of `status` at most */
	struct status status;
	int reader[READERS]; /* eventfds, -1: free */
};

int status_desktop_number(const struct status *status)
{
	bool shown = status->presentation == PRESENTATION_PRESENTED;
	bool scanout = status->scanout_width != 0;

	if (status->vm == VM_STOPPING)
		return 4;
	if (shown)
		return scanout ? 3 : 5;
	switch (status->vm) {
	case VM_STARTING:
		return 1;
	case VM_RUNNING:
	case VM_PAUSED:
		return scanout ? 2 : 1;
	default:
		return 0;
	}
}

bool status_no_keyboard(const struct status *status)
{
	return status->plugged && status->session == SESSION_ACTIVE && status->keyboards == 0;
}

const char *status_vm_name(enum vm_state state)
{
	static const char *const names[] = { "none", "starting", "running", "paused", "stopping", "stopped", "crashed" };
	return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}

const char *status_tag_text(enum status_tag tag)
{
	static const char *const texts[] = { "", "[OK]", "[..]", "[--]", "[!!]" };
	return (unsigned)tag < sizeof texts / sizeof texts[0] ? texts[tag] : "";
}

struct status_board *status_board_create(void)
{
	struct status_board *board = calloc(1, sizeof *board);
	if (board == NULL)
		return NULL;
	/* The front thread posts here: whoever holds the lock runs at its priority meanwhile. */
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&board->lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
	for (int i = 0; i < READERS; i++)
		board->reader[i] = -1;
	return board;
}

void status_board_destroy(struct status_board *board)
{
	if (board == NULL)
		return;
	pthread_mutex_destroy(&board->lock);
	free(board);
}

void status_board_read(struct status_board *board, struct status *out)
{
	pthread_mutex_lock(&board->lock);
	*out = board->status;
	pthread_mutex_unlock(&board->lock);
}

static void wake_readers(struct status_board *board)
{
	uint64_t one = 1;
	for (int i = 0; i < READERS; i++) {
		if (board->reader[i] < 0)
			continue;
		ssize_t written = write(board->reader[i], &one, sizeof one);
		(void)written; /* EAGAIN: the reader has not looked since the last change, which is as good */
	}
}

void status_board_update(struct status_board *board, void (*change)(struct status *status, void *data), void *data)
{
	pthread_mutex_lock(&board->lock);
	change(&board->status, data);
	wake_readers(board);
	pthread_mutex_unlock(&board->lock);
}

void status_board_line(struct status_board *board, enum status_slot slot, enum status_tag tag, const char *format, ...)
{
	struct status_line line = { .tag = tag };
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line.text, sizeof line.text, format, arguments);
	va_end(arguments);

	pthread_mutex_lock(&board->lock);
	struct status_line *old = &board->status.line[slot];
	if (old->tag != tag || strcmp(old->text, line.text) != 0) {
		*old = line;
		wake_readers(board);
	}
	pthread_mutex_unlock(&board->lock);
}

int status_board_subscribe(struct status_board *board)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -1;
	pthread_mutex_lock(&board->lock);
	for (int i = 0; i < READERS; i++) {
		if (board->reader[i] < 0) {
			board->reader[i] = fd;
			pthread_mutex_unlock(&board->lock);
			return fd;
		}
	}
	pthread_mutex_unlock(&board->lock);
	close(fd);
	errno = ENOSPC;
	return -1;
}

void status_board_unsubscribe(struct status_board *board, int fd)
{
	pthread_mutex_lock(&board->lock);
	for (int i = 0; i < READERS; i++)
		if (board->reader[i] == fd)
			board->reader[i] = -1;
	pthread_mutex_unlock(&board->lock);
}
