/* virtio-blk: the device, as its transport and its owner see it. */
#include "virtio/blk_internal.h"

#define LOG_MODULE "blk"
#include "base/base.h"
#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* A reset, a pause and the end wait so long for requests that the host has: a healthy disk is done with the worst of them. */
#define DRAIN_MS 10000u
#define WRITEBACK_AT offsetof(struct blk_config_space, writeback)

static struct blk *of(struct virtio_device *device)
{
	return container_of(device, struct blk, device);
}

static void wake(struct blk *blk)
{
	uint64_t one = 1;
	/* Cannot fail but by a full counter, which wakes as well. */
	if (write(blk->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static void blk_config_read(struct virtio_device *device, uint32_t offset, void *data, uint32_t size)
{
	memcpy(data, (const uint8_t *)&of(device)->config + offset, size);
}

/* The one field a driver may write, when it negotiated that (section 5.2.4, writeback). */
static void blk_config_write(struct virtio_device *device, uint32_t offset, const void *data, uint32_t size)
{
	struct blk *blk = of(device);
	uint8_t untrusted_mode;
	if (offset != WRITEBACK_AT || size != sizeof(untrusted_mode) || !(device->driver_features & BLK_F_CONFIG_WCE))
		return;
	memcpy(&untrusted_mode, data, sizeof(untrusted_mode));
	blk->config.writeback = untrusted_mode & 1;
}

/* The end of a wait for the host that begins now. */
static uint64_t deadline(const struct blk *blk)
{
	return clock_now_ns() + (blk->disk->drain_ms != 0 ? blk->disk->drain_ms : DRAIN_MS) * NSEC_PER_MSEC;
}

/* Waits on `idle`, lock held, until `over` or the deadline. Returns whether it is over. */
static bool wait_idle(struct blk *blk, bool (*over)(const struct blk *blk), uint64_t until_ns)
{
	struct timespec until = { .tv_sec = (time_t)(until_ns / NSEC_PER_SEC), .tv_nsec = (long)(until_ns % NSEC_PER_SEC) };
	while (!over(blk))
		if (pthread_cond_clockwait(&blk->idle, &blk->device.lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT)
			return over(blk);
	return true;
}

static bool is_idle(const struct blk *blk)
{
	return blk->in_flight <= blk->stuck;
}

static bool has_ended(const struct blk *blk)
{
	return blk->ended;
}

/* Lock held, and let go while it waits: nothing new is taken meanwhile. False: the host still has requests. */
static bool drain(struct blk *blk, uint64_t until_ns)
{
	if (is_idle(blk))
		return true;
	blk->draining++;
	wake(blk);
	bool idle = wait_idle(blk, is_idle, until_ns);
	blk->draining--;
	wake(blk);
	return idle;
}

/* From here on what is in flight is nobody's, and the host is asked to give it back. */
static void blk_begin_reset(struct virtio_device *device)
{
	struct blk *blk = of(device);
	blk->generation++;
	blk->untold = blk->n_untold = 0;
	blk->until_ns = deadline(blk);
	if (is_idle(blk))
		return;
	blk->cancel = true;
	wake(blk);
}

/*
 * Requests in flight read and write the driver's memory until the host is done with them, so a reset waits for that. Not for ever:
 * when storage is dead they are given up, never touch a ring again, and the device refuses to work until they have come back.
 */
static void blk_reset(struct virtio_device *device)
{
	struct blk *blk = of(device);
	if (blk->until_ns == 0)
		blk_begin_reset(device);
	bool idle = drain(blk, blk->until_ns);
	blk->cancel = false;
	blk->until_ns = 0;
	if (!idle) {
		blk->stuck = blk->in_flight;
		blk->stuck_before = blk->generation;
		log_error("disk %s: %" PRIu32 " requests do not come back from the host; given up by a reset, and the disk is out of use until they do",
			blk->disk->name, blk->stuck);
	}
	blk->config.writeback = blk->disk->cache != DISK_WRITETHROUGH;
	/* Another vCPU may have written to the status register during the wait. */
	device->live = false;
}

static void blk_activate(struct virtio_device *device)
{
	struct blk *blk = of(device);
	if (blk->stuck > 0)
		virtio_needs_reset(device, "requests from before its reset are still with the host");
}

static void blk_pause(struct virtio_device *device)
{
	struct blk *blk = of(device);
	if (!drain(blk, deadline(blk)))
		log_warn("disk %s: paused with %" PRIu32 " requests that do not come back from the host", blk->disk->name, blk->in_flight - blk->stuck);
	blk->paused = true;
}

static void blk_resume(struct virtio_device *device)
{
	struct blk *blk = of(device);
	blk->paused = false;
	wake(blk); /* what came meanwhile waits in the rings */
}

/* The thread looks by itself when a queue is kicked. */
static bool blk_run(struct virtio_device *device, uint32_t index)
{
	(void)index;
	wake(of(device));
	return false;
}

static const struct virtio_device_ops blk_ops = {
	.config_read = blk_config_read,
	.config_write = blk_config_write,
	.activate = blk_activate,
	.begin_reset = blk_begin_reset,
	.reset = blk_reset,
	.run = blk_run,
	.pause = blk_pause,
	.resume = blk_resume,
	.save = blk_save,
	.load = blk_load,
};

static uint64_t fill_config(struct blk *blk)
{
	const struct disk *disk = blk->disk;
	uint64_t features = BLK_F_SIZE_MAX | BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH | BLK_F_TOPOLOGY | BLK_F_CONFIG_WCE;
	uint32_t ratio = disk->physical_block_size / disk->block_size;
	uint32_t queues = disk->queues > 0 ? disk->queues : 1;
	blk->config = (struct blk_config_space){
		.capacity = blk_size(blk) / BLK_SECTOR,
		.size_max = BLK_SEGMENT_MAX,
		.seg_max = BLK_SEGMENTS_MAX,
		.blk_size = disk->block_size,
		.physical_block_exp = ratio > 1 ? (uint8_t)(31 - __builtin_clz(ratio)) : 0,
		.alignment_offset = (uint8_t)(disk->alignment_offset / disk->block_size),
		.min_io_size = (uint16_t)(disk->min_io / disk->block_size),
		.opt_io_size = disk->opt_io / disk->block_size,
		.writeback = disk->cache != DISK_WRITETHROUGH,
		.num_queues = (uint16_t)queues,
	};
	if (queues > 1)
		features |= BLK_F_MQ;
	if (disk->readonly)
		return features | BLK_F_RO;
	if (disk->can_discard) {
		features |= BLK_F_DISCARD;
		blk->config.max_discard_sectors = BLK_DISCARD_MAX;
		blk->config.max_discard_seg = BLK_RANGES_MAX;
		blk->config.discard_sector_alignment = disk->discard_alignment / BLK_SECTOR;
	}
	if (disk->can_zero) {
		features |= BLK_F_WRITE_ZEROES;
		blk->config.max_write_zeroes_sectors = BLK_ZEROES_MAX;
		blk->config.max_write_zeroes_seg = BLK_RANGES_MAX;
		blk->config.write_zeroes_may_unmap = 1;
	}
	return features;
}

static void log_disk(const struct blk *blk)
{
	static const char *const caches[] = { "", ", cache=writethrough", ", cache=direct" };
	const struct disk *disk = blk->disk;
	char overlay[128] = "";
	if (disk->overlay) {
		uint64_t most = disk->overlay_limit != 0 && disk->overlay_limit < blk_size(blk) ? disk->overlay_limit : blk_size(blk);
		snprintf(overlay, sizeof(overlay), ", up to %" PRIu64 " KiB of what is written stay in memory (overlay=mem:SIZE sets this bound)", most / 1024);
	}
	log_info("disk %s: %" PRIu64 " bytes, %" PRIu32 " queue%s%s%s%s%s", disk->name, blk_size(blk), blk->device.n_queues, blk->device.n_queues > 1 ? "s" : "",
		caches[disk->cache], disk->readonly ? ", read-only" : "", overlay, disk->can_discard ? ", discard" : "");
	log_marker(disk->fd < 0 ? "RAYOS_VMM:VIRTIO_BLK:DISK_INIT_MEMORY" : "RAYOS_VMM:VIRTIO_BLK:DISK_INIT_IMAGE");
}

static void free_blk(struct blk *blk)
{
	if (blk->has_memory)
		disk_memory_finish(&blk->memory);
	if (blk->zeros != NULL)
		munmap(blk->zeros, BLK_ZEROS_SIZE);
	if (blk->wake_fd >= 0)
		close(blk->wake_fd);
	free(blk->request);
	sem_destroy(&blk->started);
	pthread_cond_destroy(&blk->idle);
	free(blk);
}

struct blk *blk_create(const struct guest_memory *memory, const struct disk *disk, struct stats *stats, char *error, size_t error_size)
{
	struct blk *blk = calloc(1, sizeof(*blk));
	if (blk == NULL) {
		snprintf(error, error_size, "disk: out of memory");
		return NULL;
	}
	blk->disk = disk;
	blk->stats = stats;
	/* It may have been opened long ago, for a machine before this one. */
	int64_t size = disk->fd >= 0 ? blk_disk_end(blk) : -1;
	if (size <= 0)
		size = (int64_t)disk->size;
	blk->syscalls = stats != NULL ? &stats->disk_syscalls : &blk->own_syscalls;
	blk->present = (uint64_t)size;
	atomic_init(&blk->size, (uint64_t)size);
	/* Not NUL-terminated when all 20 bytes are used (section 5.2.6). */
	memcpy(blk->id, disk->serial, strnlen(disk->serial, BLK_ID_BYTES));
	pthread_cond_init(&blk->idle, NULL);
	sem_init(&blk->started, 0, 0);
	blk->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	void *zeros = mmap(NULL, BLK_ZEROS_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	blk->zeros = zeros != MAP_FAILED ? zeros : NULL;
	uint64_t features = fill_config(blk);
	blk->request = calloc((size_t)blk->config.num_queues * BLK_QUEUE_SIZE, sizeof(*blk->request));
	if (blk->wake_fd < 0 || blk->zeros == NULL || blk->request == NULL) {
		snprintf(error, error_size, "disk %s: cannot make its device: %s", disk->name, strerror(errno));
		goto fail;
	}
	if (disk->fd < 0 || disk->overlay) {
		if (disk_memory_init(&blk->memory, (uint64_t)size, disk->overlay_limit, disk->fd >= 0) < 0) {
			snprintf(error, error_size, "disk %s: cannot make %" PRIi64 " bytes of memory: %s; use a smaller size", disk->name, size, strerror(errno));
			goto fail;
		}
		blk->has_memory = true;
	}
	if (virtio_device_init(&blk->device, &blk_ops, "virtio-blk", VIRTIO_ID_BLOCK, features, BLK_CONFIG_SIZE, blk->config.num_queues, BLK_QUEUE_SIZE, memory) < 0) {
		snprintf(error, error_size, "disk %s: cannot make its device: %s", disk->name, strerror(errno));
		goto fail;
	}
	struct blk_engine_config config;
	int watch[BLK_FDS_MAX];
	blk_engine_config(blk, &config, watch);
	if (disk->aio != DISK_AIO_THREADS && (blk->engine = blk_uring_create(&config)) == NULL)
		blk->start_errno = errno;
	if (thread_start(&blk->thread, "block", 0, blk_thread, blk) < 0) {
		snprintf(error, error_size, "disk %s: cannot start its thread: %s", disk->name, strerror(errno));
		if (blk->engine != NULL)
			blk->engine->ops->destroy(blk->engine);
		goto fail_device;
	}
	/* Its last rights are used here: who creates the device may lose them afterwards. */
	while (sem_wait(&blk->started) < 0 && errno == EINTR)
		continue;
	if (blk->start_errno != 0) {
		snprintf(error, error_size, "disk %s: %s: %s; leave aio= out", disk->name, disk->aio == DISK_AIO_URING ? "no io_uring" : "no threads", strerror(blk->start_errno));
		pthread_join(blk->thread, NULL);
		goto fail_device;
	}
	log_disk(blk);
	return blk;

fail_device:
	virtio_device_finish(&blk->device);
fail:
	free_blk(blk);
	return NULL;
}

void blk_begin_destroy(struct blk *blk)
{
	if (blk == NULL)
		return;
	pthread_mutex_lock(&blk->device.lock);
	blk->stop = true;
	blk->until_ns = deadline(blk);
	wake(blk);
	pthread_mutex_unlock(&blk->device.lock);
}

void blk_destroy(struct blk *blk)
{
	if (blk == NULL)
		return;
	if (!blk->stop)
		blk_begin_destroy(blk);
	pthread_mutex_lock(&blk->device.lock);
	bool ended = wait_idle(blk, has_ended, blk->until_ns);
	pthread_mutex_unlock(&blk->device.lock);
	if (!ended) {
		/* It waits for storage that is dead, and the kernel with it: all it needs is left to it. The process ends all the same. */
		log_error("disk %s: does not come back from the host; what was not flushed may be lost", blk->disk->name);
		pthread_detach(blk->thread);
		return;
	}
	pthread_join(blk->thread, NULL);
	virtio_device_finish(&blk->device);
	free_blk(blk);
}

struct virtio_device *blk_device(struct blk *blk)
{
	return &blk->device;
}

uint64_t blk_size(const struct blk *blk)
{
	return atomic_load(&blk->size);
}

void blk_resize(struct blk *blk)
{
	pthread_mutex_lock(&blk->device.lock);
	blk->resize = true;
	pthread_mutex_unlock(&blk->device.lock);
	wake(blk);
}

bool blk_is_stuck(struct blk *blk)
{
	pthread_mutex_lock(&blk->device.lock);
	bool stuck = blk->stuck > 0;
	pthread_mutex_unlock(&blk->device.lock);
	return stuck;
}
