#include "virtio/disk.h"

#define LOG_MODULE "disk"
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A failure of the host, at most one line in a second: the guest can repeat it for ever. Returns error. */
static int failed(struct disk *disk, const char *what, uint64_t offset, int error)
{
	uint32_t left_out;
	if (log_limit_pass(&disk->limit, &left_out))
		log_error("disk %s: cannot %s at byte %" PRIu64 ": %s; the guest gets an I/O error (%" PRIu32 " such lines left out)%s",
			disk->name, what, offset, strerror(error), left_out, error == ENOSPC ? "; free space on its file system" : "");
	return error;
}

/* --- opening -------------------------------------------------------------------------------------------------------- */

static int open_memory(struct disk *disk, uint64_t size, char *error, size_t error_size)
{
	disk->memory = true;
	disk->size = size;
	disk->fd = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (disk->fd < 0 || ftruncate(disk->fd, (off_t)size) < 0 || fcntl(disk->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
		snprintf(error, error_size, "disk mem:%" PRIu64 ": cannot make it: %s; use a smaller size", size, strerror(errno));
		return -1;
	}
	disk->can_discard = disk->can_zero = true;
	return 0;
}

/*
 * One writer or many readers. The lock covers the whole file and belongs to the open description (F_OFD_SETLK), so that it
 * ends with this process however it dies. File systems without locks are used unlocked.
 */
static int lock_file(struct disk *disk, char *error, size_t error_size)
{
	struct flock lock = { .l_type = disk->readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
	if (fcntl(disk->fd, F_OFD_SETLK, &lock) == 0)
		return 0;
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

static int take_block_device(struct disk *disk, dev_t device, char *error, size_t error_size)
{
	int logical = 512;
	unsigned int physical = 4096;
	if (ioctl(disk->fd, BLKGETSIZE64, &disk->size) < 0) {
		snprintf(error, error_size, "disk %s: cannot read its size: %s", disk->name, strerror(errno));
		return -1;
	}
	if (ioctl(disk->fd, BLKSSZGET, &logical) == 0 && logical >= 512)
		disk->block_size = (uint32_t)logical;
	if (ioctl(disk->fd, BLKPBSZGET, &physical) == 0 && physical >= disk->block_size)
		disk->physical_block_size = physical;
	disk->block_device = true;
	disk->can_discard = queue_limit(device, "discard_max_bytes") > 0;
	disk->can_zero = true; /* the kernel writes zeros where the device has no command for it */
	return 0;
}

static void take_file(struct disk *disk, const struct stat *st)
{
	disk->size = (uint64_t)st->st_size;
	if (disk->readonly)
		return;
	/* Punching a hole behind the end changes nothing, and tells whether the file system can do it. */
	bool can = fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, st->st_size, 4096) == 0;
	disk->can_discard = disk->can_zero = can;
}

int disk_open(struct disk *disk, const struct blk_config *config, char *error, size_t error_size)
{
	*disk = (struct disk){ .fd = -1, .readonly = config->readonly, .block_size = 512, .physical_block_size = 4096 };
	disk->name = strdup(config->path != NULL ? config->path : "memory");
	if (disk->name == NULL) {
		snprintf(error, error_size, "disk: out of memory");
		return -1;
	}
	if (config->path == NULL) {
		if (open_memory(disk, config->memory_size, error, error_size) < 0)
			goto fail;
	} else {
		/* Looked at before it is opened for good: opening a tape or a FIFO would already do something. */
		struct stat st;
		if (stat(disk->name, &st) < 0) {
			snprintf(error, error_size, errno == ENOENT ?
				"disk %s: %s; make an empty one with: truncate -s 8G FILE" : "disk %s: %s; check the path and its permissions", disk->name, strerror(errno));
			goto fail;
		}
		if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
			snprintf(error, error_size, "disk %s: neither a file nor a block device; name a raw disk image", disk->name);
			goto fail;
		}
		/* O_EXCL on a block device: refused while it is mounted or part of something else. */
		int flags = (disk->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | (S_ISBLK(st.st_mode) && !disk->readonly ? O_EXCL : 0);
		disk->fd = open(disk->name, flags);
		if (disk->fd < 0) {
			const char *remedy = "";
			if (errno == EACCES || errno == EPERM || errno == EROFS)
				remedy = disk->readonly ? "; give this user the right to read it" : "; give this user the right to write it, or add ,readonly";
			else if (errno == EBUSY)
				remedy = "; unmount it first, or add ,readonly";
			snprintf(error, error_size, "disk %s: %s%s", disk->name, strerror(errno), remedy);
			goto fail;
		}
		if (lock_file(disk, error, error_size) < 0)
			goto fail;
		if (fstat(disk->fd, &st) < 0) {
			snprintf(error, error_size, "disk %s: %s", disk->name, strerror(errno));
			goto fail;
		}
		if (S_ISBLK(st.st_mode)) {
			if (take_block_device(disk, st.st_rdev, error, error_size) < 0)
				goto fail;
		} else if (st.st_size >= 512) {
			take_file(disk, &st); /* smaller: refused below, and not touched */
		}
	}
	if (disk->size < 512) {
		snprintf(error, error_size, "disk %s: smaller than one sector; give it a size with: truncate -s 8G FILE", disk->name);
		goto fail;
	}
	if (disk->size % 512 != 0) {
		log_warn("disk %s: its size is no multiple of 512 bytes: the last %" PRIu64 " are not part of the disk", disk->name, disk->size % 512);
		disk->size -= disk->size % 512;
	}
	disk->present = disk->size;
	return 0;

fail:
	if (disk->fd >= 0)
		close(disk->fd);
	free(disk->name);
	disk->fd = -1;
	disk->name = NULL;
	return -1;
}

void disk_close(struct disk *disk)
{
	if (disk->fd < 0)
		return;
	disk_flush(disk);
	close(disk->fd);
	free(disk->name);
	disk->fd = -1;
	disk->name = NULL;
}

/* --- use --------------------------------------------------------------------------------------------------------------- */

void disk_check(struct disk *disk)
{
	struct stat st;
	if (disk->memory || disk->block_device || fstat(disk->fd, &st) < 0)
		return;
	disk->present = (uint64_t)st.st_size < disk->size ? (uint64_t)st.st_size : disk->size;
}

/* Something of the range is gone with the end of the file. Writing there would grow a file that somebody wanted short. */
static bool is_gone(const struct disk *disk, uint64_t offset, uint64_t length)
{
	return offset > disk->present || length > disk->present - offset;
}

int disk_transfer(struct disk *disk, struct iovec *iov, uint32_t n, uint64_t offset, bool write)
{
	const char *what = write ? "write" : "read";
	uint64_t length = 0;
	for (uint32_t i = 0; i < n; i++)
		length += iov[i].iov_len;
	if (is_gone(disk, offset, length))
		return failed(disk, write ? "write (the file was truncated)" : "read (the file was truncated)", offset, EIO);
	if (write)
		disk->dirty = true;
	while (length > 0) {
		ssize_t moved = write ? pwritev(disk->fd, iov, (int)n, (off_t)offset) : preadv(disk->fd, iov, (int)n, (off_t)offset);
		if (moved < 0 && errno == EINTR)
			continue;
		if (moved < 0)
			return failed(disk, what, offset, errno);
		if (moved == 0)
			return failed(disk, what, offset, EIO);
		length -= (uint64_t)moved;
		offset += (uint64_t)moved;
		size_t left = (size_t)moved;
		while (n > 0 && left >= iov->iov_len) {
			left -= iov->iov_len;
			iov++;
			n--;
		}
		if (n > 0) {
			iov->iov_base = (uint8_t *)iov->iov_base + left;
			iov->iov_len -= left;
		}
	}
	return 0;
}

int disk_flush(struct disk *disk)
{
	if (!disk->dirty || disk->memory)
		return 0;
	if (fdatasync(disk->fd) < 0)
		return failed(disk, "flush", 0, errno);
	disk->dirty = false;
	return 0;
}

int disk_discard(struct disk *disk, uint64_t offset, uint64_t length)
{
	if (is_gone(disk, offset, length))
		return failed(disk, "discard (the file was truncated)", offset, EIO);
	disk->dirty = true;
	int result;
	if (disk->block_device) {
		uint64_t range[2] = { offset, length };
		result = ioctl(disk->fd, BLKDISCARD, range);
	} else {
		result = fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
	}
	return result < 0 ? failed(disk, "discard", offset, errno) : 0;
}

static int write_zeros(struct disk *disk, uint64_t offset, uint64_t length)
{
	static const uint8_t zeros[65536];
	while (length > 0) {
		uint64_t part = length < sizeof(zeros) ? length : sizeof(zeros);
		/* Only read from: the cast is what struct iovec asks for. */
		struct iovec iov = { .iov_base = (void *)(uintptr_t)zeros, .iov_len = part };
		int error = disk_transfer(disk, &iov, 1, offset, true);
		if (error != 0)
			return error;
		offset += part;
		length -= part;
	}
	return 0;
}

int disk_zero(struct disk *disk, uint64_t offset, uint64_t length, bool unmap)
{
	if (is_gone(disk, offset, length))
		return failed(disk, "write zeros (the file was truncated)", offset, EIO);
	disk->dirty = true;
	int result;
	if (disk->block_device) {
		uint64_t range[2] = { offset, length };
		result = ioctl(disk->fd, BLKZEROOUT, range);
	} else {
		int mode = (unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE;
		result = fallocate(disk->fd, mode, (off_t)offset, (off_t)length);
		/* tmpfs, and so memory, punches holes but has no FALLOC_FL_ZERO_RANGE. */
		if (result < 0 && errno == EOPNOTSUPP)
			return write_zeros(disk, offset, length);
	}
	return result < 0 ? failed(disk, "write zeros", offset, errno) : 0;
}
