#define LOG_MODULE "link"
#include "link/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

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
	const uint8_t *pixels;
	uint64_t pixels_size;
	int panel_fd, producer_fd;
	/* send and receive ends; in one process each is touched by one thread, after fork() by one process */
	struct end panel_in, panel_out, producer_in, producer_out;
};

struct link *link_create(int pixels_fd, uint64_t pixels_size)
{
	struct link *link = calloc(1, sizeof *link);
	if (link == NULL)
		return NULL;
	link->panel_fd = link->producer_fd = -1;
	link->pixels_size = pixels_size;

	int fd = memfd_create("rayvm-link", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		goto fail;
	/* Sealed size: a peer that could shrink it would turn our next access into SIGBUS. */
	if (ftruncate(fd, sizeof(struct shared)) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		close(fd);
		goto fail;
	}
	void *map = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		goto fail;
	link->shared = map;

	map = mmap(NULL, pixels_size, PROT_READ, MAP_SHARED | MAP_NORESERVE, pixels_fd, 0);
	if (map == MAP_FAILED)
		goto fail;
	link->pixels = map;
	madvise(map, pixels_size, MADV_DONTDUMP);

	link->panel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	link->producer_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (link->panel_fd < 0 || link->producer_fd < 0)
		goto fail;
	return link;

fail:;
	int error = errno;
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

int link_panel_fd(const struct link *link)
{
	return link->panel_fd;
}

int link_producer_fd(const struct link *link)
{
	return link->producer_fd;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;
	ssize_t written = write(fd, &one, sizeof one);
	(void)written; /* EAGAIN: already readable */
}

static void clear_fd(int fd)
{
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof count);
	(void)got;
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

static bool send(struct ring *ring, struct end *end, int fd, const struct link_message *message)
{
	if (room(ring, end) == 0)
		return false;
	put(ring, end, 0, message);
	publish(ring, end, 1);
	signal_fd(fd);
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
	return send(&link->shared->to_panel, &link->producer_out, link->panel_fd, message);
}

bool link_send_to_producer(struct link *link, const struct link_message *message)
{
	return send(&link->shared->to_producer, &link->panel_out, link->producer_fd, message);
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
	return receive(&link->shared->to_panel, &link->panel_in, message);
}

bool link_receive_for_producer(struct link *link, struct link_message *message)
{
	return receive(&link->shared->to_producer, &link->producer_in, message);
}

void link_ack_panel(struct link *link)
{
	clear_fd(link->panel_fd);
}

void link_ack_producer(struct link *link)
{
	clear_fd(link->producer_fd);
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
	signal_fd(link->panel_fd);
	return true;
}

_Static_assert((LINK_MAX_SEGMENTS + LINK_SEGMENTS_PER_MESSAGE - 1) / LINK_SEGMENTS_PER_MESSAGE + 1 <= LINK_RING_SLOTS,
	"the largest buffer can be announced");
