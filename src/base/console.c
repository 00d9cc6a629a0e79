#include "base/console.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "base/stats.h"

#define BATCH 16 /* messages under one turn, each way */

const char *console_name(enum console_stream stream)
{
	static const char *const names[CONSOLE_STREAMS] = { "com1", "hvc0", "agent" };
	return names[stream];
}

int console_pairs_open(struct console_pairs *pairs)
{
	*pairs = CONSOLE_PAIRS_NONE;
	for (int i = 0; i < CONSOLE_STREAMS; i++) {
		int fd[2];
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) < 0) {
			int saved = errno;
			console_pairs_close(pairs);
			errno = saved;
			return -1;
		}
		pairs->machine[i] = fd[0];
		pairs->control[i] = fd[1];
	}
	return 0;
}

void console_pairs_keep(struct console_pairs *pairs, bool machine)
{
	int *other = machine ? pairs->control : pairs->machine;
	for (int i = 0; i < CONSOLE_STREAMS; i++) {
		if (other[i] >= 0)
			close(other[i]);
		other[i] = -1;
	}
}

void console_pairs_close(struct console_pairs *pairs)
{
	for (int i = 0; i < CONSOLE_STREAMS; i++) {
		if (pairs->machine[i] >= 0)
			close(pairs->machine[i]);
		if (pairs->control[i] >= 0)
			close(pairs->control[i]);
		pairs->machine[i] = pairs->control[i] = -1;
	}
}

enum console_stream console_of_cmdline(const char *cmdline)
{
	/* The last one is what /dev/console is (Documentation/admin-guide/serial-console.rst). */
	enum console_stream found = CONSOLE_COM1;
	for (const char *at = cmdline; at != NULL && *at != '\0';) {
		size_t length = strcspn(at, " ");
		if (strncmp(at, "console=", 8) == 0)
			found = strncmp(at + 8, "hvc", 3) == 0 ? CONSOLE_HVC0 : CONSOLE_COM1;
		at += length;
		at += strspn(at, " ");
	}
	return found;
}

uint64_t console_ring_put(struct console_ring *ring, const void *bytes, uint64_t size)
{
	const uint8_t *from = bytes;
	uint64_t lost = 0;
	if (size > CONSOLE_HISTORY) {
		lost = size - CONSOLE_HISTORY;
		from += lost;
		size = CONSOLE_HISTORY;
	}
	uint64_t room = CONSOLE_HISTORY - (ring->head - ring->tail);
	if (size > room) {
		lost += size - room;
		ring->tail += size - room;
	}
	for (uint64_t done = 0; done < size;) {
		uint64_t at = (ring->head + done) % CONSOLE_HISTORY, part = CONSOLE_HISTORY - at;
		if (part > size - done)
			part = size - done;
		memcpy(ring->bytes + at, from + done, part);
		done += part;
	}
	ring->head += size;
	return lost;
}

uint32_t console_ring_copy(const struct console_ring *ring, uint64_t at, void *to, uint32_t size)
{
	uint8_t *bytes = to;
	uint64_t have = ring->head - at;
	if (size > have)
		size = (uint32_t)have;
	for (uint32_t done = 0; done < size;) {
		uint32_t from = (uint32_t)((at + done) % CONSOLE_HISTORY), part = min_u32(size - done, CONSOLE_HISTORY - from);
		memcpy(bytes + done, ring->bytes + from, part);
		done += part;
	}
	return size;
}

void console_end_init(struct console_end *end, int fd, bool history, struct stats *stats)
{
	memset(end, 0, sizeof *end);
	pthread_mutex_init(&end->lock, NULL);
	end->fd = fd;
	end->history = history;
	end->stats = stats;
}

void console_end_finish(struct console_end *end)
{
	pthread_mutex_destroy(&end->lock);
}

bool console_end_put(struct console_end *end, const void *bytes, uint64_t size)
{
	pthread_mutex_lock(&end->lock);
	bool was_empty = end->ring.head == end->ring.tail;
	uint64_t lost = console_ring_put(&end->ring, bytes, size);
	bool wake = end->attached && was_empty;
	if (end->attached && lost > 0 && end->stats != NULL)
		atomic_fetch_add_explicit(&end->stats->console_dropped, lost, memory_order_relaxed);
	pthread_mutex_unlock(&end->lock);
	return wake;
}

uint32_t console_end_room(struct console_end *end)
{
	pthread_mutex_lock(&end->lock);
	uint32_t room = CONSOLE_HISTORY - (uint32_t)(end->ring.head - end->ring.tail);
	pthread_mutex_unlock(&end->lock);
	return room;
}

bool console_end_attached(struct console_end *end)
{
	pthread_mutex_lock(&end->lock);
	bool attached = end->attached;
	pthread_mutex_unlock(&end->lock);
	return attached;
}

/* Under the lock. */
static bool has_news(const struct console_end *end)
{
	return end->ready_owed || end->taken_owed > 0 || (end->attached && end->ring.head != end->ring.tail);
}

short console_end_events(struct console_end *end)
{
	pthread_mutex_lock(&end->lock);
	bool news = has_news(end);
	pthread_mutex_unlock(&end->lock);
	return (short)(POLLIN | (news ? POLLOUT : 0));
}

static void receive(struct console_end *end)
{
	uint8_t message[CONSOLE_MESSAGE];
	for (int i = 0; i < BATCH; i++) {
		ssize_t got = read(end->fd, message, sizeof message);
		if (got < 0)
			return; /* nothing more */
		if (got == 0) {
			end->fd = -1; /* no message is empty: the other end is closed */
			return;
		}
		uint32_t size = (uint32_t)got - 1, room = CONSOLE_WINDOW - end->in_size;
		switch (message[0]) {
		case CONSOLE_DATA:
			/* More than the window is not sent; were it, it would be lost. */
			memcpy(end->in + end->in_size, message + 1, min_u32(size, room));
			end->in_size += min_u32(size, room);
			break;
		case CONSOLE_ATTACH:
		case CONSOLE_DETACH:
			pthread_mutex_lock(&end->lock);
			if (message[0] == CONSOLE_ATTACH && end->attached)
				end->in_size = 0;
			if (!end->history && !end->attached)
				end->ring.tail = end->ring.head; /* the remains of an earlier conversation */
			end->attached = message[0] == CONSOLE_ATTACH;
			end->ready_owed = end->attached;
			end->taken_owed = 0;
			pthread_mutex_unlock(&end->lock);
			break;
		default:
			break;
		}
	}
}

/* The next message to send; its size, 0: none. Under the lock. */
static uint32_t compose(struct console_end *end, uint8_t *message)
{
	if (end->ready_owed) {
		uint32_t credit = CONSOLE_WINDOW - end->in_size;
		message[0] = CONSOLE_READY;
		memcpy(message + 1, &credit, sizeof credit);
		return 1 + sizeof credit;
	}
	if (end->taken_owed > 0) {
		message[0] = CONSOLE_TAKEN;
		memcpy(message + 1, &end->taken_owed, sizeof end->taken_owed);
		return 1 + sizeof end->taken_owed;
	}
	if (!end->attached || end->ring.head == end->ring.tail)
		return 0;
	message[0] = CONSOLE_DATA;
	return 1 + console_ring_copy(&end->ring, end->ring.tail, message + 1, CONSOLE_MESSAGE - 1);
}

void console_end_send(struct console_end *end)
{
	uint8_t message[CONSOLE_MESSAGE];
	for (int i = 0; i < BATCH && end->fd >= 0; i++) {
		pthread_mutex_lock(&end->lock);
		uint32_t size = compose(end, message);
		/* Under the lock, as it cannot block: what is sent and what the guest overwrites stay apart. */
		bool sent = size > 0 && write(end->fd, message, size) == (ssize_t)size;
		if (sent && message[0] == CONSOLE_READY)
			end->ready_owed = false;
		else if (sent && message[0] == CONSOLE_TAKEN)
			end->taken_owed = 0;
		else if (sent)
			end->ring.tail += size - 1;
		pthread_mutex_unlock(&end->lock);
		if (!sent)
			break;
	}
}

void console_end_serve(struct console_end *end)
{
	if (end->fd >= 0)
		receive(end);
	console_end_send(end);
}

void console_end_taken(struct console_end *end, uint32_t n)
{
	n = min_u32(n, end->in_size);
	end->in_size -= n;
	memmove(end->in, end->in + n, end->in_size);
	pthread_mutex_lock(&end->lock);
	end->taken_owed += n;
	pthread_mutex_unlock(&end->lock);
}
