/*
 * Requests of a driver with many in flight, in slots whose descriptors, header, data and status byte are their own: they may come back
 * in any order. The driver kicks only when it was asked to, and asks for interrupts by VIRTIO_F_EVENT_IDX where it is negotiated.
 */
#pragma once

#include "blk_fixture.h"

#define SLOTS 80u         /* of a queue; 3 descriptors each */
#define SLOT_QUEUES 2u
#define SLOT_DATA 4096u
#define SLOTS_RING 256
#define F_EVENT_IDX (1ull << 29)

static struct {
	uint64_t headers, room, answers; /* guest addresses */
	bool event_idx;
	uint32_t busy[SLOT_QUEUES][SLOTS]; /* 0 or 1 */
	uint32_t kicks, shared_room;     /* shared_room: bytes; each request is so long, and all share one buffer */
} slots;

/* After start(): the device anew, with rings that all slots fit into. */
BLK_UNUSED static void slots_start(uint64_t features)
{
	uint32_t shared = slots.shared_room;
	memset(&slots, 0, sizeof(slots));
	slots.shared_room = shared;
	slots.event_idx = features & F_EVENT_IDX;
	driver_start(&d, features, SLOTS_RING);
	for (uint32_t i = 0; i < d.device->n_queues; i++)
		driver_interrupts(&d, i + 1); /* of the start before */
	slots.headers = driver_alloc(&d, 16ull * SLOT_QUEUES * SLOTS);
	slots.room = driver_alloc(&d, shared != 0 ? shared : (uint64_t)SLOT_DATA * SLOT_QUEUES * SLOTS);
	slots.answers = driver_alloc(&d, SLOT_QUEUES * SLOTS);
}

BLK_UNUSED static uint16_t *slots_used_event(uint32_t queue)
{
	struct driver_queue *q = &d.queue[queue];
	return &q->avail[2 + q->size];
}

BLK_UNUSED static uint16_t slots_avail_event(uint32_t queue)
{
	struct driver_queue *q = &d.queue[queue];
	return __atomic_load_n((uint16_t *)(void *)((uint8_t *)q->used + 4 + 8u * q->size), __ATOMIC_RELAXED);
}

/* Fills a slot's descriptors for `type` at `sector` and makes it available. `size` of data, none for a flush. */
BLK_UNUSED static void slot_offer(uint32_t queue, uint32_t slot, uint32_t type, uint64_t sector, uint32_t size)
{
	struct driver_queue *q = &d.queue[queue];
	uint32_t at = queue * SLOTS + slot;
	struct driver_desc *desc = &q->desc[3 * slot];
	ck_assert_uint_eq(slots.busy[queue][slot], 0);
	slots.busy[queue][slot] = 1;
	memcpy((uint8_t *)driver_ptr(&d, slots.headers) + 16 * at, &(struct { uint32_t type, reserved; uint64_t sector; }){ type, 0, sector }, 16);
	((uint8_t *)driver_ptr(&d, slots.answers))[at] = NOTHING;
	uint16_t first = (uint16_t)(3 * slot), write = type == IN || type == GET_ID ? D_WRITE : 0;
	uint64_t room = slots.shared_room != 0 ? slots.room : slots.room + (uint64_t)SLOT_DATA * at;
	desc[0] = (struct driver_desc){ slots.headers + 16 * at, 16, D_NEXT, (uint16_t)(size > 0 ? first + 1 : first + 2) };
	desc[1] = (struct driver_desc){ room, size, (uint16_t)(write | D_NEXT), (uint16_t)(first + 2) };
	desc[2] = (struct driver_desc){ slots.answers + at, 1, D_WRITE, 0 };
	driver_offer(&d, queue, first);
}

/* Whether the device asked to be kicked for the newest chain, the only one since this was asked last. */
BLK_UNUSED static bool slots_kick_asked(uint32_t queue)
{
	struct driver_queue *q = &d.queue[queue];
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!slots.event_idx)
		return !(__atomic_load_n(&q->used[0], __ATOMIC_RELAXED) & 1);
	return slots_avail_event(queue) == (uint16_t)(q->avail[1] - 1);
}

/* A read of a sector whose bytes say which it is. */
BLK_UNUSED static void slot_send(uint32_t queue, uint32_t slot)
{
	slot_offer(queue, slot, IN, (queue * SLOTS + slot) % 256, 512);
	if (slots_kick_asked(queue)) {
		slots.kicks++;
		driver_kick(&d, queue);
	}
}

/* Takes one that came back: its slot, or -1. */
BLK_UNUSED static int slot_take(uint32_t queue)
{
	uint32_t head;
	if (!driver_used(&d, queue, &head, NULL))
		return -1;
	ck_assert_uint_eq(head % 3, 0);
	uint32_t slot = head / 3;
	ck_assert_uint_lt(slot, SLOTS);
	ck_assert_uint_eq(slots.busy[queue][slot], 1);
	slots.busy[queue][slot] = 0;
	ck_assert_uint_eq(((uint8_t *)driver_ptr(&d, slots.answers))[queue * SLOTS + slot], OK);
	return (int)slot;
}

/* No interrupts, please; a device may send them all the same. */
BLK_UNUSED static void slots_disable(uint32_t queue)
{
	struct driver_queue *q = &d.queue[queue];
	__atomic_store_n(&q->avail[0], 1, __ATOMIC_RELAXED);
	/* Far behind: not passed by so many as a ring holds. */
	__atomic_store_n(slots_used_event(queue), (uint16_t)(q->last_used - 0x4000), __ATOMIC_RELAXED);
}

/* An interrupt for the next one that comes back. False: it has come already, and nobody will say so. */
BLK_UNUSED static bool slots_enable(uint32_t queue)
{
	struct driver_queue *q = &d.queue[queue];
	__atomic_store_n(&q->avail[0], 0, __ATOMIC_RELAXED);
	__atomic_store_n(slots_used_event(queue), q->last_used, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE) == q->last_used;
}
