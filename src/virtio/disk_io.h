/* Synchronous reading and writing of an open disk, by one thread (the disk's own). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/log.h"
#include "virtio/disk.h"

struct disk_io {
	const struct disk *disk;
	int fd;
	bool memory;
	uint64_t size;    /* bytes, what the guest sees */
	uint64_t present; /* bytes that are there now: less than size once somebody truncated the file */
	bool dirty;       /* written since the last flush */
	struct log_limit limit;
};

int disk_io_init(struct disk_io *io, const struct disk *disk);
/* Flushes. */
void disk_io_finish(struct disk_io *io);

/* Before a batch of requests: notices a file that shrank under the guest. */
void disk_check(struct disk_io *disk);
/*
 * Moves all bytes of iov (which it uses up) from or to `offset`. The range must lie within size. 0 or an errno; a failure is
 * logged, at most one line in a second.
 */
int disk_transfer(struct disk_io *disk, struct iovec *iov, uint32_t n, uint64_t offset, bool write);
/* Everything written before is on stable storage when it returns 0; else an errno. */
int disk_flush(struct disk_io *disk);
/* Gives the range back to the host; what it reads as afterwards is undefined. 0 or an errno. */
int disk_discard(struct disk_io *disk, uint64_t offset, uint64_t length);
/* The range reads as zeros afterwards; `unmap` allows to give it back to the host. 0 or an errno. */
int disk_zero(struct disk_io *disk, uint64_t offset, uint64_t length, bool unmap);
