/* virtio-blk: requests, from the ring to the disk and back. virtio 1.2, section 5.2. */
#include "virtio/blk.h"

#define LOG_MODULE "blk"
#include "base/base.h"
#include "base/log.h"
#include "base/stats.h"
#include "base/thread.h"
#include "virtio/disk_io.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512ull
#define QUEUE_SIZE 256
/* Of one turn, after which a reset or the end may come: requests, and bytes moved (the request that passes it is the last). */
#define BATCH 16
#define BATCH_BYTES (4u << 20)

/* Section 5.2.3: feature bits. */
#define F_SIZE_MAX (1ull << 1)
#define F_SEG_MAX (1ull << 2)
#define F_RO (1ull << 5)
#define F_BLK_SIZE (1ull << 6)
#define F_FLUSH (1ull << 9)
#define F_TOPOLOGY (1ull << 10)
#define F_DISCARD (1ull << 13)
#define F_WRITE_ZEROES (1ull << 14)

/* Section 5.2.6: request types and status. */
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
#define ZEROES_UNMAP 1u
#define ID_BYTES 20

/* Limits told to the driver. Their product (32 MiB) bounds the work of one request, also for drivers that do not read them. */
#define SEGMENT_MAX (1u << 17)
#define SEGMENTS_MAX (QUEUE_SIZE - 2)
#define REQUEST_MAX ((uint64_t)SEGMENT_MAX * SEGMENTS_MAX)
#define RANGES_MAX 16                /* of one discard or write-zeroes request */
#define DISCARD_MAX (1u << 21)       /* sectors: 1 GiB */
#define ZEROES_MAX (1u << 12)        /* sectors: 2 MiB, as they may really be written */
#define TURN_NS 50000l               /* between looks whether a vCPU that waits for the lock has got it */
#define TURNS 40                     /* so often at most: on a busy host it may take long to wake up */

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
#define CONFIG_SIZE 60u /* without the tail padding of the structure */
_Static_assert(offsetof(struct blk_config_space, unused1) + 3 == CONFIG_SIZE, "section 5.2.4");

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

struct blk {
	struct virtio_device device;
	struct disk_io disk;
	struct blk_config_space config;
	char serial[ID_BYTES];
	struct stats *stats; /* borrowed, may be NULL */
	bool paused;         /* under the device's lock */
	int stop_fd;
	pthread_t thread;
	/* Scratch of the block thread. */
	struct virtq_chain chain;
	struct iovec iov[VIRTQ_MAX_IOV];
};

/* --- requests ------------------------------------------------------------------------------------------------------------- */

/* Whether the request fits the disk; sums cannot wrap. */
static bool in_disk(const struct blk *blk, uint64_t untrusted_sector, uint64_t untrusted_bytes)
{
	uint64_t offset;
	return mul_u64(untrusted_sector, SECTOR, &offset) && offset <= blk->disk.size && untrusted_bytes <= blk->disk.size - offset;
}

/* Bytes [skip, skip + length) of n pieces as blk->iov; they are there. Returns the number of pieces. */
static uint32_t slice(struct blk *blk, const struct iovec *from, uint32_t n, uint64_t skip, uint64_t length)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < n && length > 0; i++) {
		if (skip >= from[i].iov_len) {
			skip -= from[i].iov_len;
			continue;
		}
		uint64_t part = from[i].iov_len - skip;
		if (part > length)
			part = length;
		blk->iov[count++] = (struct iovec){ .iov_base = (uint8_t *)from[i].iov_base + skip, .iov_len = part };
		length -= part;
		skip = 0;
	}
	return count;
}

static uint8_t transfer(struct blk *blk, uint64_t untrusted_sector, uint64_t untrusted_length, bool write, uint64_t *bytes)
{
	const struct virtq_chain *chain = &blk->chain;
	if (untrusted_length == 0 || untrusted_length % SECTOR != 0 || untrusted_length > REQUEST_MAX ||
		!in_disk(blk, untrusted_sector, untrusted_length) || (write && blk->disk.disk->readonly))
		return S_IOERR;
	uint32_t n = write ? slice(blk, chain->iov, chain->n_out, sizeof(struct header), untrusted_length)
			   : slice(blk, chain->iov + chain->n_out, chain->n_in, 0, untrusted_length);
	if (disk_transfer(&blk->disk, blk->iov, n, untrusted_sector * SECTOR, write) != 0)
		return S_IOERR;
	*bytes = untrusted_length;
	/* A driver that cannot flush expects a write to be durable when it is done (section 5.2.6.2). */
	if (write && !(blk->device.driver_features & F_FLUSH) && disk_flush(&blk->disk) != 0)
		return S_IOERR;
	return S_OK;
}

/* Discard and write zeroes: every range is checked before the first is touched. */
static uint8_t ranges(struct blk *blk, bool zeroes, uint64_t *work)
{
	struct range range[RANGES_MAX];
	uint64_t feature = zeroes ? F_WRITE_ZEROES : F_DISCARD;
	uint32_t most = zeroes ? ZEROES_MAX : DISCARD_MAX;
	if (!(blk->device.driver_features & feature))
		return S_UNSUPP;
	uint64_t size = blk->chain.out_size - sizeof(struct header);
	if (size == 0 || size % sizeof(range[0]) != 0 || size > sizeof(range) || blk->disk.disk->readonly)
		return S_IOERR;
	virtq_chain_read(&blk->chain, sizeof(struct header), range, size);
	uint32_t n = (uint32_t)(size / sizeof(range[0]));
	for (uint32_t i = 0; i < n; i++) {
		/* Unknown flags, and unmap for a discard: section 5.2.6.2. */
		if (range[i].flags & ~(zeroes ? ZEROES_UNMAP : 0u))
			return S_UNSUPP;
		if (range[i].sectors == 0 || range[i].sectors > most || !in_disk(blk, range[i].sector, range[i].sectors * SECTOR))
			return S_IOERR;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint64_t offset = range[i].sector * SECTOR, length = range[i].sectors * SECTOR;
		/* Freeing a range may take a file system longer than writing one. */
		*work += zeroes ? length : BATCH_BYTES;
		int error = zeroes ? disk_zero(&blk->disk, offset, length, range[i].flags & ZEROES_UNMAP) : disk_discard(&blk->disk, offset, length);
		if (error != 0)
			return S_IOERR;
	}
	if (!(blk->device.driver_features & F_FLUSH) && disk_flush(&blk->disk) != 0)
		return S_IOERR;
	return S_OK;
}

/* Serves blk->chain; returns the bytes written to its writable part, and in *work what it cost, as bytes read from or written to the disk. */
static uint32_t serve(struct blk *blk, uint64_t *work)
{
	const struct virtq_chain *chain = &blk->chain;
	*work = 0;
	if (chain->in_size == 0)
		return 0; /* no room for a status */
	uint64_t status_at = chain->in_size - 1, bytes = 0;
	struct header untrusted;
	uint8_t status = S_IOERR;
	if (virtq_chain_read(chain, 0, &untrusted, sizeof(untrusted)) == sizeof(untrusted)) {
		switch (untrusted.type) {
		case T_IN:
			status = transfer(blk, untrusted.sector, chain->in_size - 1, false, &bytes);
			break;
		case T_OUT:
			status = transfer(blk, untrusted.sector, chain->out_size - sizeof(untrusted), true, &bytes);
			break;
		case T_FLUSH:
			status = disk_flush(&blk->disk) == 0 ? S_OK : S_IOERR;
			*work = BATCH_BYTES; /* one flush may take as long as all the rest */
			break;
		case T_GET_ID:
			virtq_chain_write(chain, 0, blk->serial, status_at < ID_BYTES ? status_at : ID_BYTES);
			status = S_OK;
			break;
		case T_DISCARD:
			status = ranges(blk, false, work);
			break;
		case T_WRITE_ZEROES:
			status = ranges(blk, true, work);
			break;
		default:
			status = S_UNSUPP;
		}
	}
	virtq_chain_write(chain, status_at, &status, 1);
	*work += bytes;
	if (blk->stats != NULL) {
		atomic_fetch_add_explicit(&blk->stats->disk_requests, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&blk->stats->disk_bytes, bytes, memory_order_relaxed);
		if (status == S_IOERR)
			atomic_fetch_add_explicit(&blk->stats->disk_errors, 1, memory_order_relaxed);
	}
	return chain->in_size < UINT32_MAX ? (uint32_t)chain->in_size : UINT32_MAX;
}

/* --- device --------------------------------------------------------------------------------------------------------------- */

static struct blk *of(struct virtio_device *device)
{
	return container_of(device, struct blk, device);
}

static bool blk_run(struct virtio_device *device, uint32_t index)
{
	struct blk *blk = of(device);
	struct virtq *queue = &device->queue[index];
	bool more = false;
	pthread_mutex_lock(&device->lock);
	disk_check(&blk->disk);
	uint64_t bytes = 0;
	for (uint32_t served = 0; device->live && !blk->paused;) {
		bool wanted = served > 0 && atomic_load_explicit(&device->waiting, memory_order_relaxed) > 0;
		if (served == BATCH || bytes >= BATCH_BYTES || wanted) {
			more = true;
			break;
		}
		const char *why;
		int got = virtq_pop(queue, &blk->chain, &why);
		if (got < 0) {
			virtio_needs_reset(device, why);
			break;
		}
		if (got == 0) {
			if (!virtq_rearm(queue))
				break;
			continue;
		}
		uint64_t work;
		uint32_t written = serve(blk, &work);
		virtq_push(queue, blk->chain.head, written);
		bytes += work;
		served++;
	}
	if (device->live)
		virtio_notify_queue(device, index);
	pthread_mutex_unlock(&device->lock);
	return more;
}

static void *blk_thread(void *data)
{
	struct blk *blk = data;
	struct pollfd fds[] = {
		{ .fd = blk->stop_fd, .events = POLLIN },
		{ .fd = blk->device.kick_fd[0], .events = POLLIN },
	};
	bool more = false;
	for (;;) {
		if (poll(fds, ARRAY_LEN(fds), more ? 0 : -1) < 0)
			continue; /* EINTR only */
		if (fds[0].revents & POLLIN)
			return NULL;
		uint64_t count;
		if ((fds[1].revents & POLLIN) && read(fds[1].fd, &count, sizeof(count)) == sizeof(count))
			more = true;
		if (more)
			more = blk_run(&blk->device, 0);
		/* Bounded, so that many who wait again and again do not keep the disk from working. */
		struct timespec turn = { .tv_nsec = TURN_NS };
		for (uint32_t i = 0; more && i < TURNS && atomic_load_explicit(&blk->device.waiting, memory_order_relaxed) > 0; i++)
			nanosleep(&turn, NULL);
	}
}

static void blk_config_read(struct virtio_device *device, uint32_t offset, void *data, uint32_t size)
{
	memcpy(data, (const uint8_t *)&of(device)->config + offset, size);
}

/* Requests are served under the lock, so none is in flight whenever somebody else holds it: reset and pause find nothing to drain. */
static void blk_reset(struct virtio_device *device)
{
	(void)device;
}

static void blk_pause(struct virtio_device *device)
{
	of(device)->paused = true;
}

static void blk_resume(struct virtio_device *device)
{
	uint64_t one = 1;
	of(device)->paused = false;
	/* What came meanwhile waits in the ring. Cannot fail but by a full counter, which wakes as well. */
	if (write(device->kick_fd[0], &one, sizeof(one)) < 0)
		return;
}

static const struct virtio_device_ops blk_ops = {
	.config_read = blk_config_read,
	.reset = blk_reset,
	.run = blk_run,
	.pause = blk_pause,
	.resume = blk_resume,
};

static uint64_t fill_config(struct blk *blk)
{
	const struct disk *disk = blk->disk.disk;
	uint64_t features = F_SIZE_MAX | F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY;
	uint32_t ratio = disk->physical_block_size / disk->block_size;
	blk->config = (struct blk_config_space){
		.capacity = disk->size / SECTOR,
		.size_max = SEGMENT_MAX,
		.seg_max = SEGMENTS_MAX,
		.blk_size = disk->block_size,
		.physical_block_exp = ratio > 1 ? (uint8_t)(31 - __builtin_clz(ratio)) : 0,
		.min_io_size = (uint16_t)(ratio > 1 ? ratio : 1), /* logical blocks */
		.num_queues = 1,
	};
	uint32_t alignment = disk->physical_block_size / SECTOR;
	if (disk->readonly)
		return features | F_RO;
	if (disk->can_discard) {
		features |= F_DISCARD;
		blk->config.max_discard_sectors = DISCARD_MAX;
		blk->config.max_discard_seg = RANGES_MAX;
		blk->config.discard_sector_alignment = alignment;
	}
	if (disk->can_zero) {
		features |= F_WRITE_ZEROES;
		blk->config.max_write_zeroes_sectors = ZEROES_MAX;
		blk->config.max_write_zeroes_seg = RANGES_MAX;
		blk->config.write_zeroes_may_unmap = !disk->block_device;
	}
	return features;
}

struct blk *blk_create(const struct guest_memory *memory, const struct disk *disk, struct stats *stats, char *error, size_t error_size)
{
	struct blk *blk = calloc(1, sizeof(*blk));
	if (blk == NULL) {
		snprintf(error, error_size, "disk: out of memory");
		return NULL;
	}
	blk->stats = stats;
	if (disk_io_init(&blk->disk, disk) < 0) {
		snprintf(error, error_size, "disk %s: cannot make it: %s; use a smaller size", disk->name, strerror(errno));
		goto fail_disk;
	}
	/* Not NUL-terminated when all 20 bytes are used (section 5.2.6). */
	memcpy(blk->serial, disk->serial, strnlen(disk->serial, ID_BYTES));
	uint64_t features = fill_config(blk);
	if (virtio_device_init(&blk->device, &blk_ops, "virtio-blk", VIRTIO_ID_BLOCK, features, CONFIG_SIZE, 1, QUEUE_SIZE, memory) < 0) {
		snprintf(error, error_size, "disk %s: cannot make its device: %s", blk->disk.disk->name, strerror(errno));
		goto fail_device;
	}
	blk->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (blk->stop_fd < 0 || thread_start(&blk->thread, "block", 0, blk_thread, blk) < 0) {
		snprintf(error, error_size, "disk %s: cannot start its thread: %s", blk->disk.disk->name, strerror(errno));
		goto fail_thread;
	}
	log_info("disk %s: %" PRIu64 " bytes%s%s", blk->disk.disk->name, blk->disk.size, blk->disk.disk->readonly ? ", read-only" : "",
		features & F_DISCARD ? ", discard" : "");
	log_marker(blk->disk.memory ? "RAYOS_VMM:VIRTIO_BLK:DISK_INIT_MEMORY" : "RAYOS_VMM:VIRTIO_BLK:DISK_INIT_IMAGE");
	return blk;

fail_thread:
	if (blk->stop_fd >= 0)
		close(blk->stop_fd);
	virtio_device_finish(&blk->device);
fail_device:
	disk_io_finish(&blk->disk);
fail_disk:
	free(blk);
	return NULL;
}

void blk_destroy(struct blk *blk)
{
	if (blk == NULL)
		return;
	uint64_t one = 1;
	/* The counter was 0: this cannot fail. */
	if (write(blk->stop_fd, &one, sizeof(one)) < 0)
		log_error("disk %s: cannot stop its thread: %s", blk->disk.disk->name, strerror(errno));
	pthread_join(blk->thread, NULL);
	close(blk->stop_fd);
	virtio_device_finish(&blk->device);
	disk_io_finish(&blk->disk);
	free(blk);
}

struct virtio_device *blk_device(struct blk *blk)
{
	return &blk->device;
}

uint64_t blk_size(const struct blk *blk)
{
	return blk->disk.size;
}
