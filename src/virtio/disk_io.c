#include "virtio/disk_io.h"

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
static int failed(struct disk_io *disk, const char *what, uint64_t offset, int error)
{
	uint32_t left_out;
	if (log_limit_pass(&disk->limit, &left_out))
		log_error("disk %s: cannot %s at byte %" PRIu64 ": %s; the guest gets an I/O error (%" PRIu32 " such lines left out)%s",
			disk->disk->name, what, offset, strerror(error), left_out, error == ENOSPC ? "; free space on its file system" : "");
	return error;
}

int disk_io_init(struct disk_io *io, const struct disk *disk)
{
	*io = (struct disk_io){ .disk = disk, .fd = disk->fd, .size = disk->size, .present = disk->size };
	if (disk->fd >= 0)
		return 0;
	io->memory = true;
	io->fd = memfd_create("disk", MFD_CLOEXEC);
	if (io->fd < 0)
		return -1;
	return ftruncate(io->fd, (off_t)disk->size);
}

void disk_io_finish(struct disk_io *io)
{
	disk_flush(io);
	if (io->memory)
		close(io->fd);
}

/* --- use --------------------------------------------------------------------------------------------------------------- */

void disk_check(struct disk_io *disk)
{
	struct stat st;
	if (disk->memory || disk->disk->block_device || fstat(disk->fd, &st) < 0)
		return;
	disk->present = (uint64_t)st.st_size < disk->size ? (uint64_t)st.st_size : disk->size;
}

/* Something of the range is gone with the end of the file. Writing there would grow a file that somebody wanted short. */
static bool is_gone(const struct disk_io *disk, uint64_t offset, uint64_t length)
{
	return offset > disk->present || length > disk->present - offset;
}

int disk_transfer(struct disk_io *disk, struct iovec *iov, uint32_t n, uint64_t offset, bool write)
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

int disk_flush(struct disk_io *disk)
{
	if (!disk->dirty || disk->memory)
		return 0;
	if (fdatasync(disk->fd) < 0)
		return failed(disk, "flush", 0, errno);
	disk->dirty = false;
	return 0;
}

int disk_discard(struct disk_io *disk, uint64_t offset, uint64_t length)
{
	if (is_gone(disk, offset, length))
		return failed(disk, "discard (the file was truncated)", offset, EIO);
	disk->dirty = true;
	int result;
	if (disk->disk->block_device) {
		uint64_t range[2] = { offset, length };
		result = ioctl(disk->fd, BLKDISCARD, range);
	} else {
		result = fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
	}
	return result < 0 ? failed(disk, "discard", offset, errno) : 0;
}

static int write_zeros(struct disk_io *disk, uint64_t offset, uint64_t length)
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

int disk_zero(struct disk_io *disk, uint64_t offset, uint64_t length, bool unmap)
{
	if (is_gone(disk, offset, length))
		return failed(disk, "write zeros (the file was truncated)", offset, EIO);
	disk->dirty = true;
	int result;
	if (disk->disk->block_device) {
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
