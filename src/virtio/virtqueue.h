/*
 * A split virtqueue, device side (virtio 1.2, section 2.7). All ring and descriptor accesses go through guest_memory.
 * A queue belongs to its device's thread; configuration arrives from vCPU threads under the device's lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/memory.h"

#define VIRTQ_MAX_SIZE 1024
#define VIRTQ_MAX_IOV 512 /* translated pieces of one chain; a device with a larger queue tells its driver a limit below (blk: seg_max) */

struct virtq {
	const struct guest_memory *memory;
	uint16_t max_size; /* what the device offers */
	uint16_t size;     /* what the driver chose, a power of two */
	uint64_t desc_gpa, avail_gpa, used_gpa;
	uint16_t msix_vector; /* 0xffff: none */
	bool enabled;
	bool broken;       /* the guest broke its ring: nothing more is taken until reset */
	bool event_idx;    /* VIRTIO_F_EVENT_IDX negotiated */
	bool quiet;        /* no notifications wanted, and the driver was told (without EVENT_IDX) */
	uint16_t next_avail, next_used;
	uint16_t avail_seen; /* available index as last read and checked: the driver's cache line is fetched once for all up to it */
	uint16_t signalled_used;
	bool signalled_valid;
	uint64_t in_flight[VIRTQ_MAX_SIZE / 64]; /* heads taken and not yet returned */
	/* host pointers, valid while enabled; set once by virtq_enable() */
	void *desc, *avail, *used;
};

/* One descriptor chain, translated: what the device reads, then what it writes. */
struct virtq_chain {
	uint16_t head;
	uint32_t n_out, n_in;        /* pieces the device reads / may write */
	uint64_t out_size, in_size;  /* bytes */
	struct iovec iov[VIRTQ_MAX_IOV]; /* n_out readable pieces first, then n_in writable ones */
};

/* Checks size, alignment and that all three areas are RAM; sets the queue live. False: refused, nothing changed. */
bool virtq_enable(struct virtq *queue);
void virtq_reset(struct virtq *queue);
/*
 * Takes the next available chain: 1 and *chain, 0 when there is none, -1 when the ring is broken (queue->broken is set,
 * *why (static text) says how; the caller sets DEVICE_NEEDS_RESET).
 */
int virtq_pop(struct virtq *queue, struct virtq_chain *chain, const char **why);
/*
 * Gives the chain that was popped last, and not pushed, back to the ring as if it had not been taken; several in the reverse of their
 * order. The next virtq_pop() reads it anew, and the guest may have changed it.
 */
void virtq_unpop(struct virtq *queue, uint16_t head);
/* Available chains waiting (bounded by size; no check of contents). */
uint32_t virtq_available(const struct virtq *queue);
/* Returns a chain with `written` bytes in its writable part. */
void virtq_push(struct virtq *queue, uint16_t head, uint32_t written);
/* True when the driver wants an interrupt for what was pushed since the last call (flags or EVENT_IDX; 2.7.7, 2.7.10). */
bool virtq_must_notify(struct virtq *queue);
/* Asks the driver for notifications and says whether chains arrived meanwhile (then go on draining). */
bool virtq_rearm(struct virtq *queue);
/* The same for a device that cannot go on with the `seen` chains that wait: asks for a notification when more than that wait, and says whether they do already. */
bool virtq_rearm_beyond(struct virtq *queue, uint32_t seen);

/* Copies bytes [offset, offset+size) of the readable / writable part. Return the number copied (less when the part is shorter). */
uint64_t virtq_chain_read(const struct virtq_chain *chain, uint64_t offset, void *to, uint64_t size);
uint64_t virtq_chain_write(const struct virtq_chain *chain, uint64_t offset, const void *from, uint64_t size);
