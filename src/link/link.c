#define LOG_MODULE "link"
#include "link/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "link/guard.h"

/* Lives in shared memory: the other side may write anything here, at any moment. */
struct ring {
	_Alignas(64) _Atomic uint32_t in;  /* messages ever sent, by the sender */
	_Alignas(64) _Atomic uint32_t out; /* messages ever taken, by the receiver */
	_Alignas(64) struct link_message slot[LINK_RING_SLOTS];
};

_Static_assert((LINK_RING_SLOTS & (LINK_RING_SLOTS - 1)) == 0, "a power of two");

struct shared {
	struct ring to_panel, to_producer;
};

/* One side's own count, never read back from shared memory. */
struct end {
	uint32_t mine;
	bool complained;
};

struct link {
	struct shared *shared;
	const uint8_t *pixels; /* the panel's; NULL in the producer's half */
	uint64_t pixels_size;
	int pixels_fd; /* with them */
	/* Threads of one process: two eventfds. Two processes: one end of a socket pair, in the field of the side that is here; the other is -1. */
	bool apart;
	bool guarded; /* the pixels, by guard.c */
	int panel_fd, producer_fd;
	_Atomic bool gone; /* the other process; the descriptor stays, another thread may be about to write to it */
	/* send and receive ends; in one process each is touched by one thread, after fork() by one process */
	struct end panel_in, panel_out, producer_in, producer_out;
	bool told_broken; /* receiving side of the panel */
};

/* Seals the size: a peer that could shrink it would turn our next access into SIGBUS. */
static int make_rings(struct link *link)
{
	int fd = memfd_create("rayvm-link", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -1;
	if (ftruncate(fd, sizeof(struct shared)) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
		void *map = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map != MAP_FAILED) {
			link->shared = map;
			return fd;
		}
	}
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

static int map_pixels(struct link *link, int fd)
{
	void *map = mmap(NULL, link->pixels_size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED)
		return -1;
	link->pixels = map;
	madvise(map, link->pixels_size, MADV_DONTDUMP);
	return 0;
}

static struct link *allocate(uint64_t pixels_size)
{
	struct link *link = calloc(1, sizeof *link);
	if (link != NULL) {
		link->panel_fd = link->producer_fd = link->pixels_fd = -1;
		link->pixels_size = pixels_size;
	}
	return link;
}

struct link *link_create(int pixels_fd, uint64_t pixels_size)
{
	struct link *link = allocate(pixels_size);
	if (link == NULL)
		return NULL;
	int rings = make_rings(link);
	if (rings < 0)
		goto fail;
	close(rings);
	if (map_pixels(link, pixels_fd) < 0)
		goto fail;
	link->pixels_fd = fcntl(pixels_fd, F_DUPFD_CLOEXEC, 0);
	link->panel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	link->producer_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (link->pixels_fd < 0 || link->panel_fd < 0 || link->producer_fd < 0)
		goto fail;
	return link;

fail:;
	int error = errno;
	link_destroy(link);
	errno = error;
	return NULL;
}

struct link *link_create_apart(int pixels_fd, uint64_t pixels_size, struct link_handles *panel)
{
	char path[32];
	int wake[2];
	*panel = (struct link_handles){ -1, -1, -1 };
	struct link *link = allocate(pixels_size);
	if (link == NULL)
		return NULL;
	link->apart = true;
	panel->rings = make_rings(link);
	if (panel->rings < 0)
		goto fail;
	snprintf(path, sizeof path, "/proc/self/fd/%d", pixels_fd);
	panel->pixels = open(path, O_RDONLY | O_CLOEXEC);
	if (panel->pixels < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, wake) < 0)
		goto fail;
	link->producer_fd = wake[0];
	panel->wake = wake[1];
	return link;

fail:;
	int error = errno;
	link_handles_close(panel);
	link_destroy(link);
	errno = error;
	return NULL;
}

void link_handles_close(struct link_handles *handles)
{
	int *fds[] = { &handles->rings, &handles->pixels, &handles->wake };
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

/* Of the size expected (0: any), and sealed against becoming smaller. */
static bool fixed(int fd, uint64_t expected, uint64_t *size)
{
	struct stat info;
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || fstat(fd, &info) < 0)
		return false;
	if (!(seals & F_SEAL_SHRINK)) {
		errno = EPERM;
		return false;
	}
	if (info.st_size <= 0 || (expected != 0 && (uint64_t)info.st_size != expected)) {
		errno = EINVAL;
		return false;
	}
	*size = (uint64_t)info.st_size;
	return true;
}

struct link *link_open(const struct link_handles *given)
{
	struct link_handles handles = *given;
	uint64_t size;
	struct link *link = allocate(0);
	if (link == NULL || !fixed(handles.rings, sizeof(struct shared), &size) || !fixed(handles.pixels, 0, &link->pixels_size))
		goto fail;
	link->apart = true;
	void *map = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, handles.rings, 0);
	if (map == MAP_FAILED)
		goto fail;
	link->shared = map;
	if (map_pixels(link, handles.pixels) < 0)
		goto fail;
	link->guarded = guard_add((void *)(uintptr_t)link->pixels, link->pixels_size);
	if (!link->guarded) {
		errno = EMFILE;
		goto fail;
	}
	link->panel_fd = handles.wake;
	link->pixels_fd = handles.pixels;
	handles.wake = handles.pixels = -1;
	link_handles_close(&handles);
	return link;

fail:;
	int error = errno;
	link_handles_close(&handles);
	link_destroy(link);
	errno = error;
	return NULL;
}

void link_destroy(struct link *link)
{
	if (link == NULL)
		return;
	if (link->panel_fd >= 0)
		close(link->panel_fd);
	if (link->producer_fd >= 0)
		close(link->producer_fd);
	link_forget_pixels_fd(link);
	if (link->guarded)
		guard_remove((void *)(uintptr_t)link->pixels);
	if (link->pixels != NULL)
		munmap((void *)(uintptr_t)link->pixels, link->pixels_size);
	if (link->shared != NULL)
		munmap(link->shared, sizeof *link->shared);
	free(link);
}

const uint8_t *link_pixels(const struct link *link)
{
	return link->pixels;
}

uint64_t link_pixels_size(const struct link *link)
{
	return link->pixels_size;
}

int link_pixels_fd(const struct link *link)
{
	return link->pixels_fd;
}

bool link_is_apart(const struct link *link)
{
	return link->apart;
}

void link_forget_pixels_fd(struct link *link)
{
	if (link->pixels_fd >= 0)
		close(link->pixels_fd);
	link->pixels_fd = -1;
}

int link_panel_fd(const struct link *link)
{
	return atomic_load(&link->gone) ? -1 : link->panel_fd;
}

int link_producer_fd(const struct link *link)
{
	return atomic_load(&link->gone) ? -1 : link->producer_fd;
}

/* Wakes the side that waits on `theirs`; between processes that is the far end of `mine`. */
static void wake(const struct link *link, int theirs, int mine)
{
	uint64_t one = 1;
	ssize_t written = link->apart ? write(mine, &one, 1) : write(theirs, &one, sizeof one);
	(void)written; /* EAGAIN: there is something to read already */
}

static void clear(struct link *link, int fd)
{
	char bytes[1024];
	ssize_t got = read(fd, bytes, link->apart ? sizeof bytes : sizeof(uint64_t));
	/* An end of file is readable for ever: nobody is to wait on it. */
	if (link->apart && fd >= 0 && (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)))
		atomic_store(&link->gone, true);
}

/* Slots free for the sender. An `out` that lies (more taken than sent, or less than the ring holds) counts as full. */
static uint32_t room(struct ring *ring, const struct end *end)
{
	uint32_t used = end->mine - atomic_load_explicit(&ring->out, memory_order_acquire);
	return used > LINK_RING_SLOTS ? 0 : LINK_RING_SLOTS - used;
}

/* Puts a message behind those not yet published; publish() makes them visible. The caller asked for room. */
static void put(struct ring *ring, const struct end *end, uint32_t ahead, const struct link_message *message)
{
	memcpy(&ring->slot[(end->mine + ahead) & (LINK_RING_SLOTS - 1)], message, sizeof *message);
}

static void publish(struct ring *ring, struct end *end, uint32_t count)
{
	end->mine += count;
	atomic_store_explicit(&ring->in, end->mine, memory_order_release);
}

static bool transmit(struct ring *ring, struct end *end, const struct link_message *message)
{
	if (room(ring, end) == 0)
		return false;
	put(ring, end, 0, message);
	publish(ring, end, 1);
	return true;
}

static bool receive(struct ring *ring, struct end *end, struct link_message *message)
{
	uint32_t untrusted_waiting = atomic_load_explicit(&ring->in, memory_order_acquire) - end->mine;
	if (untrusted_waiting == 0)
		return false;
	if (untrusted_waiting > LINK_RING_SLOTS) {
		if (!end->complained)
			log_error("the other end of a link counts %u messages in a ring of %u: ignored", untrusted_waiting, LINK_RING_SLOTS);
		end->complained = true;
		return false;
	}
	memcpy(message, &ring->slot[end->mine & (LINK_RING_SLOTS - 1)], sizeof *message);
	end->mine++;
	atomic_store_explicit(&ring->out, end->mine, memory_order_release);
	return true;
}

bool link_send_to_panel(struct link *link, const struct link_message *message)
{
	bool sent = transmit(&link->shared->to_panel, &link->producer_out, message);
	if (sent)
		wake(link, link->panel_fd, link->producer_fd);
	return sent;
}

bool link_send_to_producer(struct link *link, const struct link_message *message)
{
	bool sent = transmit(&link->shared->to_producer, &link->panel_out, message);
	if (sent)
		wake(link, link->producer_fd, link->panel_fd);
	return sent;
}

uint32_t link_room_to_panel(struct link *link)
{
	return room(&link->shared->to_panel, &link->producer_out);
}

uint32_t link_room_to_producer(struct link *link)
{
	return room(&link->shared->to_producer, &link->panel_out);
}

bool link_receive_for_panel(struct link *link, struct link_message *message)
{
	if (link->guarded && !link->told_broken && guard_broken(link->pixels)) {
		link->told_broken = true;
		log_error("the guest's memory cannot be read any more (no memory left for it on this machine?): its picture stays black until it is reset");
	}
	return receive(&link->shared->to_panel, &link->panel_in, message);
}

bool link_receive_for_producer(struct link *link, struct link_message *message)
{
	return receive(&link->shared->to_producer, &link->producer_in, message);
}

void link_ack_panel(struct link *link)
{
	clear(link, link->panel_fd);
}

void link_ack_producer(struct link *link)
{
	clear(link, link->producer_fd);
}

uint32_t link_buffer_messages(uint32_t n_segments)
{
	return 1 + (n_segments + LINK_SEGMENTS_PER_MESSAGE - 1) / LINK_SEGMENTS_PER_MESSAGE;
}

bool link_send_buffer(struct link *link, struct link_buffer_id buffer, uint32_t width, uint32_t height, uint32_t stride,
	uint32_t format, uint64_t offset, const struct link_segment *segments, uint32_t n_segments)
{
	struct ring *ring = &link->shared->to_panel;
	uint32_t messages = link_buffer_messages(n_segments);

	if (n_segments == 0 || messages > LINK_RING_SLOTS || room(ring, &link->producer_out) < messages)
		return false;

	struct link_message message = {
		.type = LINK_BUFFER,
		.buffer = { .buffer = buffer, .width = width, .height = height, .stride = stride, .format = format, .offset = offset, .n_segments = n_segments },
	};
	put(ring, &link->producer_out, 0, &message);
	uint32_t ahead = 1;
	for (uint32_t done = 0; done < n_segments; ahead++) {
		uint32_t count = min_u32(n_segments - done, LINK_SEGMENTS_PER_MESSAGE);
		message = (struct link_message){ .type = LINK_SEGMENTS, .segments = { .buffer = buffer, .count = count } };
		memcpy(message.segments.segment, segments + done, count * sizeof *segments);
		put(ring, &link->producer_out, ahead, &message);
		done += count;
	}
	publish(ring, &link->producer_out, messages);
	wake(link, link->panel_fd, link->producer_fd);
	return true;
}

_Static_assert((LINK_MAX_SEGMENTS + LINK_SEGMENTS_PER_MESSAGE - 1) / LINK_SEGMENTS_PER_MESSAGE + 1 <= LINK_RING_SLOTS,
	"the largest buffer can be announced");
