/*
 * What a virtio-blk device stands on: a raw file, a block device or memory, read and written at byte offsets. The seam at
 * which another way of doing I/O can take over. Synchronous; used by one thread at a time (the disk's own), which owns it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/log.h"
#include "virtio/blk.h"

struct disk {
	int fd;
	char *name;          /* for messages: the path, or "memory" */
	uint64_t size;       /* bytes, a multiple of 512; what the guest sees, fixed */
	uint64_t present;    /* bytes that are there now: less than size once somebody truncated the file */
	uint32_t block_size; /* bytes, logical */
	uint32_t physical_block_size;
	bool readonly, memory, block_device;
	bool can_discard, can_zero;
	bool dirty; /* written since the last flush */
	struct log_limit limit;
};

/* Opens and locks. 0, or -1 and a line naming thing and remedy in error. */
int disk_open(struct disk *disk, const struct blk_config *config, char *error, size_t error_size);
/* Flushes and closes. */
void disk_close(struct disk *disk);

/* Before a batch of requests: notices a file that shrank under the guest. */
void disk_check(struct disk *disk);
/*
 * Moves all bytes of iov (which it uses up) from or to `offset`. The range must lie within size. 0 or an errno; a failure is
 * logged, at most one line in a second.
 */
int disk_transfer(struct disk *disk, struct iovec *iov, uint32_t n, uint64_t offset, bool write);
/* Everything written before is on stable storage when it returns 0; else an errno. */
int disk_flush(struct disk *disk);
/* Gives the range back to the host; what it reads as afterwards is undefined. 0 or an errno. */
int disk_discard(struct disk *disk, uint64_t offset, uint64_t length);
/* The range reads as zeros afterwards; `unmap` allows to give it back to the host. 0 or an errno. */
int disk_zero(struct disk *disk, uint64_t offset, uint64_t length, bool unmap);
