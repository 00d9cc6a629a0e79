/* Opening a disk, and what the host says of the thing below it. */
#include "virtio/disk.h"

#define LOG_MODULE "disk"
#include "base/base.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512u
#define PAGE 4096u
#define LOCK_TRIES 50 /* a second in all */
#define LOCK_EVERY_NS 20000000l

/*
 * One writer or many readers. The lock covers the whole file and belongs to the open description (F_OFD_SETLK), so that it
 * ends with the last process that has it, however that dies. But the kernel gives the io_uring of a dead process back in its own time, and with it the
 * files in it: who starts rayvm again at once waits for that. File systems without locks are used unlocked.
 */
static int lock_file(const struct disk *disk, bool writes, char *error, size_t error_size)
{
	struct flock lock = { .l_type = writes ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET };
	for (int i = 0; fcntl(disk->fd, F_OFD_SETLK, &lock) < 0; i++) {
		if ((errno != EAGAIN && errno != EACCES) || i == LOCK_TRIES)
			goto refused;
		nanosleep(&(struct timespec){ .tv_nsec = LOCK_EVERY_NS }, NULL);
	}
	return 0;
refused:
	if (errno == EAGAIN || errno == EACCES) {
		snprintf(error, error_size, "disk %s: another program uses it; end that one, or attach it with ,readonly to both", disk->name);
		return -1;
	}
	log_warn("disk %s: its file system has no locks (%s): see to it that nobody else writes it", disk->name, strerror(errno));
	return 0;
}

/* What the kernel says of a block device in sysfs, bytes; 0 when unknown. */
static uint64_t queue_limit(dev_t device, const char *name)
{
	uint64_t value = 0;
	/* A partition has no queue of its own: its parent has. */
	for (int parent = 0; parent < 2; parent++) {
		char path[128];
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s", major(device), minor(device), parent ? "../" : "", name);
		FILE *file = fopen(path, "re");
		if (file == NULL)
			continue;
		if (fscanf(file, "%" SCNu64, &value) != 1)
			value = 0;
		fclose(file);
		break;
	}
	return value;
}

static bool is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

/* A sane block size from the host's word, or `otherwise`. */
static uint32_t block_size_of(uint64_t value, uint32_t otherwise)
{
	return is_power_of_two(value) && value >= SECTOR && value <= 1u << 20 ? (uint32_t)value : otherwise;
}

/* The transfer sizes that `device`, or what lies under a file on it, likes. */
static void take_io_sizes(struct disk *disk, dev_t device)
{
	uint64_t min_io = queue_limit(device, "minimum_io_size"), opt_io = queue_limit(device, "optimal_io_size");
	/* In the config space they count logical blocks, in 16 and 32 bits. */
	if (min_io >= disk->physical_block_size && min_io % disk->block_size == 0 && min_io / disk->block_size <= UINT16_MAX)
		disk->min_io = (uint32_t)min_io;
	if (opt_io >= disk->min_io && opt_io % disk->block_size == 0 && opt_io <= UINT32_MAX)
		disk->opt_io = (uint32_t)opt_io;
}

static int take_block_device(struct disk *disk, dev_t device, char *error, size_t error_size)
{
	int logical = 0, offset = 0;
	unsigned int physical = 0;
	if (ioctl(disk->fd, BLKGETSIZE64, &disk->size) < 0) {
		snprintf(error, error_size, "disk %s: cannot read its size: %s", disk->name, strerror(errno));
		return -1;
	}
	if (ioctl(disk->fd, BLKSSZGET, &logical) == 0 && logical > 0)
		disk->block_size = block_size_of((uint64_t)logical, SECTOR);
	disk->physical_block_size = max_u32(PAGE, disk->block_size);
	if (ioctl(disk->fd, BLKPBSZGET, &physical) == 0 && physical >= disk->block_size)
		disk->physical_block_size = block_size_of(physical, disk->physical_block_size);
	if (ioctl(disk->fd, BLKALIGNOFF, &offset) == 0 && offset > 0)
		disk->alignment_offset = (uint32_t)offset;
	disk->min_io = disk->physical_block_size;
	take_io_sizes(disk, device);
	disk->block_device = true;
	disk->discard_alignment = block_size_of(queue_limit(device, "discard_granularity"), disk->physical_block_size);
	if (disk->readonly)
		return 0;
	disk->can_discard = queue_limit(device, "discard_max_bytes") > 0;
	disk->can_zero = true; /* the kernel writes zeros where the device has no command for it */
	return 0;
}

/* What O_DIRECT demands of offsets and of buffers. */
static void take_direct_alignment(struct disk *disk, const struct stat *st)
{
	disk->memory_alignment = disk->block_size;
	if (disk->block_device) {
		uint64_t mask = queue_limit(st->st_rdev, "dma_alignment"); /* Linux 6.1: a mask */
		if (is_power_of_two(mask + 1) && mask + 1 < disk->memory_alignment)
			disk->memory_alignment = (uint32_t)mask + 1;
		return;
	}
	uint64_t offset = queue_limit(st->st_dev, "logical_block_size"), memory = 0;
#ifdef STATX_DIOALIGN
	struct statx info;
	if (statx(disk->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 && (info.stx_mask & STATX_DIOALIGN) && info.stx_dio_offset_align > 0) {
		offset = info.stx_dio_offset_align;
		memory = info.stx_dio_mem_align;
	}
#endif
	disk->block_size = block_size_of(offset, SECTOR);
	disk->memory_alignment = is_power_of_two(memory) && memory <= PAGE ? (uint32_t)memory : disk->block_size;
	disk->physical_block_size = max_u32(disk->physical_block_size, disk->block_size);
}

static void take_file(struct disk *disk, const struct stat *st)
{
	disk->size = (uint64_t)st->st_size;
	/* Blocks of the file system, which is what a hole is made of. */
	disk->physical_block_size = block_size_of((uint64_t)st->st_blksize <= 65536 ? (uint64_t)st->st_blksize : 0, PAGE);
	disk->min_io = disk->discard_alignment = disk->physical_block_size;
	take_io_sizes(disk, st->st_dev);
	if (disk->readonly || disk->overlay)
		return;
	/* Punching a hole behind the end changes nothing, and tells whether the file system can do it. */
	bool can = fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, st->st_size, PAGE) == 0;
	disk->can_discard = can;
	disk->can_zero = true; /* zeros are written where the file system has no command for it */
}

static const char *remedy_for(const struct disk *disk, int why)
{
	if (why == EACCES || why == EPERM || why == EROFS)
		return disk->readonly || disk->overlay ? "; give this user the right to read it" : "; give this user the right to write it, or add ,readonly";
	if (why == EBUSY)
		return "; unmount it first, or add ,readonly";
	if (why == EINVAL && disk->cache == DISK_DIRECT)
		return "; its file system cannot do cache=direct: use cache=writeback";
	return "";
}

static int open_path(struct disk *disk, const char *path, char *error, size_t error_size)
{
	/* Looked at before it is opened for good: opening a tape or a FIFO would already do something. */
	struct stat st;
	if (stat(path, &st) < 0) {
		snprintf(error, error_size, errno == ENOENT ?
			"disk %s: %s; make an empty one with: truncate -s 8G FILE" : "disk %s: %s; check the path and its permissions", disk->name, strerror(errno));
		return -1;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		snprintf(error, error_size, "disk %s: neither a file nor a block device; name a raw disk image", disk->name);
		return -1;
	}
	bool writes = !disk->readonly && !disk->overlay;
	int mode = (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK;
	/* O_EXCL on a block device: refused while it is mounted or part of something else. */
	disk->fd = open(path, mode | (S_ISBLK(st.st_mode) && writes ? O_EXCL : 0) | (disk->cache == DISK_DIRECT ? O_DIRECT : 0));
	if (disk->fd < 0) {
		snprintf(error, error_size, "disk %s: %s%s", disk->name, strerror(errno), remedy_for(disk, errno));
		return -1;
	}
	if (lock_file(disk, writes, error, error_size) < 0)
		return -1;
	if (fstat(disk->fd, &st) < 0) {
		snprintf(error, error_size, "disk %s: %s", disk->name, strerror(errno));
		return -1;
	}
	if (S_ISBLK(st.st_mode)) {
		if (take_block_device(disk, st.st_rdev, error, error_size) < 0)
			return -1;
	} else if (st.st_size >= SECTOR) {
		take_file(disk, &st); /* smaller: refused below, and not touched */
	}
	if (disk->cache == DISK_DIRECT) {
		take_direct_alignment(disk, &st);
		/* By the open file and not by its name, which may be another's by now. */
		char self[32];
		snprintf(self, sizeof(self), "/proc/self/fd/%d", disk->fd);
		disk->buffered_fd = open(self, mode);
		if (disk->buffered_fd < 0) {
			snprintf(error, error_size, "disk %s: cannot open it a second time: %s; use cache=writeback", disk->name, strerror(errno));
			return -1;
		}
	}
	if (disk->overlay)
		disk->can_discard = disk->can_zero = true;
	return 0;
}

int disk_open(struct disk *disk, const struct disk_config *config, char *error, size_t error_size)
{
	*disk = (struct disk){
		.fd = -1, .buffered_fd = -1, .block_size = SECTOR, .physical_block_size = PAGE, .min_io = PAGE, .discard_alignment = PAGE,
		.memory_alignment = 1, .readonly = config->readonly, .overlay = config->overlay, .overlay_limit = config->overlay_limit,
		.cache = config->cache, .aio = config->aio, .queues = config->queues,
	};
	const char *name = config->path != NULL ? config->path : "memory";
	size_t length = strlen(name);
	snprintf(disk->name, sizeof(disk->name), "%s", length < sizeof(disk->name) ? name : name + length - (sizeof(disk->name) - 1));
	memcpy(disk->serial, config->serial, sizeof(disk->serial));
	if (config->path == NULL) {
		disk->size = config->memory_size;
		disk->can_discard = disk->can_zero = !disk->readonly;
	} else if (open_path(disk, config->path, error, error_size) < 0) {
		goto fail;
	}
	if (disk->size < disk->block_size) {
		snprintf(error, error_size, "disk %s: smaller than one sector; give it a size with: truncate -s 8G FILE", disk->name);
		goto fail;
	}
	if (disk->size % disk->block_size != 0) {
		log_warn("disk %s: its size is no multiple of %" PRIu32 " bytes: the last %" PRIu64 " are not part of the disk", disk->name,
			disk->block_size, disk->size % disk->block_size);
		disk->size -= disk->size % disk->block_size;
	}
	return 0;

fail:
	disk_close(disk);
	return -1;
}

void disk_close(struct disk *disk)
{
	if (disk->fd >= 0)
		close(disk->fd);
	if (disk->buffered_fd >= 0)
		close(disk->buffered_fd);
	disk->fd = disk->buffered_fd = -1;
}
