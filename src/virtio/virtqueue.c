/*
 * Split virtqueue, device side: virtio 1.2, section 2.7.
 *
 * The driver's CPUs change the ring while it is read here. Every field is therefore loaded exactly once into
 * private memory, checked there, and only the private copy is used afterwards.
 *
 * Ordering. available index: load-acquire, so that ring entry and descriptors written before it are seen. Used
 * index: store-release, so that data and used element are seen before it. Two places need a full fence because a
 * store must be visible before a later load of what the other side stores: rearm (our wish for a notification, then
 * the available index) and notify (our used index, then the driver's wish for an interrupt).
 *
 * Indirect descriptors are not offered: for a request of three descriptors they cost the driver an allocation and this side one more
 * table to fetch and check. What they would buy, more large requests in flight, a larger ring buys as well (VIRTQ_MAX_SIZE).
 */
#include "virtio/virtqueue.h"

#include <stdatomic.h>
#include <string.h>

#define DESC_F_NEXT 1
#define DESC_F_WRITE 2
#define DESC_F_INDIRECT 4
#define AVAIL_F_NO_INTERRUPT 1
#define USED_F_NO_NOTIFY 1

/* The guest's structures are little-endian; so is every machine this program is built for (x86-64). */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ring fields are used as they are");

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct avail {
	uint16_t flags, idx;
	uint16_t ring[]; /* `size` entries, then used_event */
};

struct used_element {
	uint32_t id, len;
};

struct used {
	uint16_t flags, idx;
	struct used_element ring[]; /* `size` entries, then avail_event (16 bits) */
};

static uint16_t avail_index(const struct virtq *queue)
{
	const struct avail *avail = queue->avail;
	return __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE);
}

static uint16_t *used_event(const struct virtq *queue)
{
	struct avail *avail = queue->avail;
	return &avail->ring[queue->size];
}

static uint16_t *avail_event(const struct virtq *queue)
{
	struct used *used = queue->used;
	return (uint16_t *)(void *)&used->ring[queue->size];
}

bool virtq_enable(struct virtq *queue)
{
	uint32_t size = queue->size;
	if (queue->enabled || size == 0 || size > queue->max_size || size > VIRTQ_MAX_SIZE || (size & (size - 1)) != 0)
		return false;
	/* Alignments and sizes: virtio 1.2, section 2.7, with the two event fields always present. */
	if (queue->desc_gpa % 16 != 0 || queue->avail_gpa % 2 != 0 || queue->used_gpa % 4 != 0)
		return false;
	void *desc = guest_memory_at(queue->memory, queue->desc_gpa, 16ull * size, GUEST_READ);
	void *avail = guest_memory_at(queue->memory, queue->avail_gpa, 6 + 2ull * size, GUEST_READ);
	void *used = guest_memory_at(queue->memory, queue->used_gpa, 6 + 8ull * size, GUEST_WRITE);
	if (desc == NULL || avail == NULL || used == NULL)
		return false;
	queue->desc = desc;
	queue->avail = avail;
	queue->used = used;
	queue->next_avail = 0;
	queue->avail_seen = 0;
	queue->quiet = false;
	queue->next_used = 0;
	queue->signalled_used = 0;
	queue->signalled_valid = false;
	queue->broken = false;
	memset(queue->in_flight, 0, sizeof(queue->in_flight));
	queue->enabled = true;
	return true;
}

void virtq_reset(struct virtq *queue)
{
	const struct guest_memory *memory = queue->memory;
	uint16_t max_size = queue->max_size;
	memset(queue, 0, sizeof(*queue));
	queue->memory = memory;
	queue->max_size = max_size;
	queue->size = max_size;
	queue->msix_vector = 0xffff;
}

static int break_ring(struct virtq *queue, const char **why, const char *text)
{
	queue->broken = true;
	*why = text;
	return -1;
}

static bool test_in_flight(const struct virtq *queue, uint16_t head)
{
	return (queue->in_flight[head / 64] >> (head % 64)) & 1;
}

/* Copies descriptor `index`, each field loaded once. */
static struct desc load_desc(const struct virtq *queue, uint16_t index)
{
	const struct desc *from = (const struct desc *)queue->desc + index;
	return (struct desc){
		.addr = __atomic_load_n(&from->addr, __ATOMIC_RELAXED),
		.len = __atomic_load_n(&from->len, __ATOMIC_RELAXED),
		.flags = __atomic_load_n(&from->flags, __ATOMIC_RELAXED),
		.next = __atomic_load_n(&from->next, __ATOMIC_RELAXED),
	};
}

int virtq_pop(struct virtq *queue, struct virtq_chain *chain, const char **why)
{
	if (!queue->enabled || queue->broken)
		return 0;
	if (queue->avail_seen == queue->next_avail) {
		uint16_t untrusted_index = avail_index(queue);
		if (untrusted_index == queue->next_avail)
			return 0;
		if ((uint16_t)(untrusted_index - queue->next_avail) > queue->size)
			return break_ring(queue, why, "available index is more than the queue size ahead");
		queue->avail_seen = untrusted_index;
	}

	const struct avail *avail = queue->avail;
	uint16_t untrusted_head = __atomic_load_n(&avail->ring[queue->next_avail & (queue->size - 1)], __ATOMIC_RELAXED);
	if (untrusted_head >= queue->size)
		return break_ring(queue, why, "head is not in the descriptor table");
	uint16_t head = untrusted_head;
	if (test_in_flight(queue, head))
		return break_ring(queue, why, "head made available twice");

	chain->head = head;
	chain->n_out = chain->n_in = 0;
	chain->out_size = chain->in_size = 0;
	uint16_t index = head;
	/* A chain that visits more descriptors than there are is a loop. */
	for (uint32_t n = 0;; n++) {
		if (n == queue->size || n == VIRTQ_MAX_IOV)
			return break_ring(queue, why, "descriptor chain is a loop");
		struct desc untrusted = load_desc(queue, index);
		/* Indirect tables are never offered (VIRTIO_F_INDIRECT_DESC). */
		if (untrusted.flags & DESC_F_INDIRECT)
			return break_ring(queue, why, "indirect descriptor without negotiation");
		bool write = untrusted.flags & DESC_F_WRITE;
		if (!write && chain->n_in > 0)
			return break_ring(queue, why, "readable descriptor after a writable one");
		if (untrusted.len == 0)
			return break_ring(queue, why, "descriptor of length 0");
		void *host = guest_memory_at(queue->memory, untrusted.addr, untrusted.len, write ? GUEST_WRITE : GUEST_READ);
		if (host == NULL)
			return break_ring(queue, why, "descriptor outside RAM");
		chain->iov[n] = (struct iovec){ .iov_base = host, .iov_len = untrusted.len };
		if (write) {
			chain->n_in++;
			chain->in_size += untrusted.len;
		} else {
			chain->n_out++;
			chain->out_size += untrusted.len;
		}
		if (!(untrusted.flags & DESC_F_NEXT))
			break;
		if (untrusted.next >= queue->size)
			return break_ring(queue, why, "next descriptor is not in the table");
		index = untrusted.next;
	}

	queue->in_flight[head / 64] |= 1ull << (head % 64);
	queue->next_avail++;
	/* Draining: no more notifications until rearm. With EVENT_IDX an old avail_event does the same by itself. */
	if (!queue->event_idx && !queue->quiet) {
		struct used *used = queue->used;
		__atomic_store_n(&used->flags, USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
		queue->quiet = true;
	}
	return 1;
}

void virtq_unpop(struct virtq *queue, uint16_t head)
{
	if (!queue->enabled || head >= queue->size || !test_in_flight(queue, head))
		return;
	queue->in_flight[head / 64] &= ~(1ull << (head % 64));
	queue->next_avail--;
}

uint32_t virtq_available(const struct virtq *queue)
{
	if (!queue->enabled || queue->broken)
		return 0;
	uint16_t untrusted_ahead = (uint16_t)(avail_index(queue) - queue->next_avail);
	return untrusted_ahead > queue->size ? queue->size : untrusted_ahead;
}

void virtq_push(struct virtq *queue, uint16_t head, uint32_t written)
{
	if (!queue->enabled || head >= queue->size || !test_in_flight(queue, head))
		return;
	queue->in_flight[head / 64] &= ~(1ull << (head % 64));
	if (queue->broken)
		return;
	struct used *used = queue->used;
	struct used_element *element = &used->ring[queue->next_used & (queue->size - 1)];
	__atomic_store_n(&element->id, head, __ATOMIC_RELAXED);
	__atomic_store_n(&element->len, written, __ATOMIC_RELAXED);
	queue->next_used++;
	__atomic_store_n(&used->idx, queue->next_used, __ATOMIC_RELEASE);
}

bool virtq_must_notify(struct virtq *queue)
{
	/* Also of a broken one: what was returned before is valid, and nothing is returned after. */
	if (!queue->enabled)
		return false;
	uint16_t now = queue->next_used, before = queue->signalled_used;
	if (now == before)
		return false;
	bool valid = queue->signalled_valid;
	queue->signalled_used = now;
	queue->signalled_valid = true;
	/* Our used index must be visible before the driver's wish is read, or both sides could go to sleep. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!queue->event_idx) {
		const struct avail *avail = queue->avail;
		return !(__atomic_load_n(&avail->flags, __ATOMIC_RELAXED) & AVAIL_F_NO_INTERRUPT);
	}
	uint16_t untrusted_event = __atomic_load_n(used_event(queue), __ATOMIC_RELAXED);
	/* vring_need_event() of virtio 1.2, section 2.7.10: did the index pass `event` since the last interrupt? */
	return !valid || (uint16_t)(now - untrusted_event - 1) < (uint16_t)(now - before);
}

bool virtq_rearm(struct virtq *queue)
{
	return virtq_rearm_beyond(queue, 0);
}

bool virtq_rearm_beyond(struct virtq *queue, uint32_t seen)
{
	if (!queue->enabled || queue->broken)
		return false;
	uint16_t expected = (uint16_t)(queue->next_avail + seen);
	if (queue->event_idx) {
		__atomic_store_n(avail_event(queue), expected, __ATOMIC_RELAXED);
	} else {
		struct used *used = queue->used;
		__atomic_store_n(&used->flags, 0, __ATOMIC_RELAXED);
		queue->quiet = false;
	}
	/* The wish must be visible before the index is read again: either the driver sees it, or this sees the chain. */
	atomic_thread_fence(memory_order_seq_cst);
	return avail_index(queue) != expected;
}

/* Copies between `at` (to or from, by `write`) and bytes [offset, offset + size) of n pieces. */
static uint64_t copy_pieces(const struct iovec *iov, uint32_t n, uint64_t offset, uint8_t *at, uint64_t size, bool write)
{
	uint64_t done = 0;
	for (uint32_t i = 0; i < n && done < size; i++) {
		uint64_t length = iov[i].iov_len;
		if (offset >= length) {
			offset -= length;
			continue;
		}
		uint64_t part = length - offset;
		if (part > size - done)
			part = size - done;
		uint8_t *guest = (uint8_t *)iov[i].iov_base + offset;
		if (write)
			memcpy(guest, at + done, part);
		else
			memcpy(at + done, guest, part);
		done += part;
		offset = 0;
	}
	return done;
}

uint64_t virtq_chain_read(const struct virtq_chain *chain, uint64_t offset, void *to, uint64_t size)
{
	return copy_pieces(chain->iov, chain->n_out, offset, to, size, false);
}

uint64_t virtq_chain_write(const struct virtq_chain *chain, uint64_t offset, const void *from, uint64_t size)
{
	/* The cast only drops const for the shared loop, which reads `at` when it writes the guest. */
	return copy_pieces(chain->iov + chain->n_out, chain->n_in, offset, (uint8_t *)(uintptr_t)from, size, true);
}
