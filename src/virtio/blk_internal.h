/*
 * virtio-blk inside: blk.c is the device, blk_thread.c its thread, blk_request.c what becomes of one request, blk_engine.h how operations
 * reach the host, disk_memory.h what stands in memory.
 *
 * The device's lock is held while chains are taken from the rings and returned to them, never over a request. From virtq_pop() to
 * virtq_push() a request belongs to the block thread.
 */
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include "base/log.h"
#include "base/stats.h"
#include "virtio/blk.h"
#include "virtio/blk_engine.h"
#include "virtio/disk_memory.h"

#define BLK_SECTOR 512ull
/* So that a few large requests fit, each of a descriptor a page when the guest's memory is fragmented (there are no indirect ones). */
#define BLK_QUEUE_SIZE 1024
#define BLK_ID_BYTES 20

/* virtio 1.2, section 5.2.3: feature bits. */
#define BLK_F_SIZE_MAX (1ull << 1)
#define BLK_F_SEG_MAX (1ull << 2)
#define BLK_F_RO (1ull << 5)
#define BLK_F_BLK_SIZE (1ull << 6)
#define BLK_F_FLUSH (1ull << 9)
#define BLK_F_TOPOLOGY (1ull << 10)
#define BLK_F_CONFIG_WCE (1ull << 11)
#define BLK_F_MQ (1ull << 12)
#define BLK_F_DISCARD (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

/* Limits told to the driver. Their product (64 MiB) bounds one request, also for drivers that do not read them. 1 MiB is one request, whatever its pages. */
#define BLK_SEGMENT_MAX (1u << 17)
#define BLK_SEGMENTS_MAX (VIRTQ_MAX_IOV - 2)
_Static_assert(BLK_SEGMENTS_MAX + 2 <= BLK_QUEUE_SIZE, "with header and status");
#define BLK_REQUEST_MAX ((uint64_t)BLK_SEGMENT_MAX * BLK_SEGMENTS_MAX)
#define BLK_RANGES_MAX 16         /* of one discard or write-zeroes request */
#define BLK_DISCARD_MAX (1u << 21) /* sectors: 1 GiB */
#define BLK_ZEROES_MAX (1u << 16)  /* sectors: 32 MiB, as they may really be written */
#define BLK_ZEROS_SIZE 65536u      /* bytes of blk->zeros */
_Static_assert(BLK_ZEROES_MAX * BLK_SECTOR <= (uint64_t)BLK_ZEROS_SIZE * VIRTQ_MAX_IOV, "written in one operation");

/* Section 5.2.4. */
struct blk_config_space {
	uint64_t capacity; /* sectors */
	uint32_t size_max, seg_max;
	uint32_t geometry;
	uint32_t blk_size;
	uint8_t physical_block_exp, alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
};
#define BLK_CONFIG_SIZE 60u /* without the tail padding of the structure */
_Static_assert(offsetof(struct blk_config_space, unused1) + 3 == BLK_CONFIG_SIZE, "section 5.2.4");

/* What can fail for a reason of the host's. */
enum blk_fault { BLK_FAULT_READ, BLK_FAULT_WRITE, BLK_FAULT_FLUSH, BLK_FAULT_DISCARD, BLK_FAULT_ZEROES, BLK_FAULT_FULL /* an overlay */, BLK_FAULTS };
#define BLK_ERRNO_WORDS 3 /* of 64 bits: Linux has 133 */

struct blk_range {
	uint64_t sector;
	uint32_t sectors, flags;
};

struct blk_request {
	struct blk_op op;
	struct blk_request *next;
	struct blk *blk;
	uint16_t queue;
	uint64_t generation;  /* of the device when it was taken: another one means that the driver has reset it */
	uint64_t features;    /* negotiated */
	bool writethrough;    /* durable before it is done */
	uint32_t type;
	uint8_t status;
	uint8_t *status_at;   /* guest memory; NULL: no room for one */
	uint64_t offset, length; /* of the data, bytes */
	struct iovec *iov;    /* of the data: part of chain.iov */
	uint32_t n;
	uint64_t cut;         /* bytes taken off the front of op.iov[0] since part of it is done */
	bool merge;           /* what stands in memory is laid over what was read */
	bool then_flush;
	uint64_t flush_seq;
	uint32_t range_at, n_ranges;
	struct blk_range range[BLK_RANGES_MAX];
	struct virtq_chain chain;
};

struct blk {
	struct virtio_device device;
	const struct disk *disk; /* borrowed */
	char id[BLK_ID_BYTES];
	struct stats *stats;     /* borrowed, may be NULL */
	_Atomic uint64_t *syscalls;
	_Atomic uint64_t own_syscalls; /* counted here without stats */
	_Atomic uint64_t size;   /* bytes, as the guest is told; written by the block thread */

	/* Under the device's lock. */
	struct blk_config_space config;
	pthread_cond_t idle;     /* in_flight fell to `stuck`, or the thread has ended */
	_Atomic uint64_t generation; /* counts resets; written under the lock */
	uint64_t stuck_before;   /* requests of a generation below this were given up by a reset */
	uint32_t in_flight;      /* taken and not yet finished */
	uint32_t stuck;          /* of these, given up */
	uint32_t draining;       /* who waits for in_flight */
	bool paused, stop, ended, resize, cancel;
	uint64_t until_ns;       /* how long a reset or the end, which has begun, waits for the host; 0: none has */

	int wake_fd;
	pthread_t thread;
	sem_t started;
	int start_errno;             /* of the engine */

	/* The block thread's. */
	struct blk_engine *engine;
	struct blk_request *request; /* all of them */
	uint32_t n_requests;
	struct blk_request *free, *finished, **finished_end;
	bool held;                   /* what is finished waits for the end of a pause */
	uint32_t ready;              /* bit per queue that may have chains */
	uint32_t first;              /* the queue that is looked at first */
	uint32_t held_back;          /* bit per queue whose driver will not kick for the next chain, but for a later one */
	bool owes;                   /* some of these were not told to the driver yet: */
	uint32_t untold, n_untold;   /* under the lock: queues with requests returned since their last interrupt; how many requests */
	uint32_t expected[DISK_QUEUES_MAX]; /* requests returned for which the driver has not sent others yet */
	uint32_t asked;              /* chains that the last hold asked for */
	uint32_t ask;                /* and the next one, at least */
	uint32_t grow_pause;         /* good holds until that grows again */
	uint64_t hold_ns;            /* how long it takes until so many are there, on average */
	uint64_t hold_again_ns;      /* none before, after one that ran out */
	uint32_t hold_pause, hold_good; /* how long that is, HOLD_PAUSE_...; holds that did not run out */
	struct disk_memory memory;   /* a memory disk, or the overlay */
	bool has_memory;
	uint8_t *zeros;              /* BLK_ZEROS_SIZE bytes to be written as they are */
	uint64_t write_seq;          /* advances when a write begins and when it ends */
	uint64_t flushed_seq;        /* everything is on stable storage that was written when write_seq stood here */
	bool flush_failed;           /* the host has dropped data that it had taken: no later flush may claim success */
	bool no_punch, no_zero_range, no_discard; /* the host said that it cannot */
	uint64_t present;            /* bytes of the file that are there now: less than size once somebody truncated it */
	uint64_t check_ns;           /* when to look again */
	uint64_t said[BLK_FAULTS][BLK_ERRNO_WORDS]; /* bit per errno: is in the log, and nothing of that kind has worked since */
	uint64_t unsaid;             /* failures since the last line */
	struct log_limit limit;      /* for what fails and works by turns */
};

/* The thread; posts `started` when the engine runs or blk->start_errno says why not. */
void *blk_thread(void *blk);
/* What the engine is made from; `watch` has to live as long as `config`. */
void blk_engine_config(struct blk *blk, struct blk_engine_config *config, int watch[BLK_FDS_MAX]);
/* The end of the file or block device, in whole blocks, bytes; -1 with errno. Offsets are given with each operation, so the position is nobody's. Any thread. */
int64_t blk_disk_end(const struct blk *blk);

/* Looks at a request just taken from its ring. True: request->op is to be performed. False: it is finished. */
bool blk_request_start(struct blk *blk, struct blk_request *request);
/* Its op is done. True: there is another. False: it is finished. */
bool blk_request_advance(struct blk *blk, struct blk_request *request);
/* True when everything written is on stable storage. */
bool blk_is_clean(const struct blk *blk);
/* Of struct virtio_device_ops. */
uint32_t blk_save(struct virtio_device *device, void *to, uint32_t size);
bool blk_load(struct virtio_device *device, const void *from, uint32_t size);
/*
 * A failure of the host: one line for each kind (`what`: read, write, flush, discard, write zeros) and errno, and no other until something of that kind has
 * worked. What fails and works by turns is held to the limit of struct log_limit.
 */
void blk_complain(struct blk *blk, const char *what, uint64_t offset, int error);
