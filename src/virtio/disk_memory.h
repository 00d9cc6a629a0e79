/*
 * Sparse memory with the addresses of a disk: a memory disk, or what was written over a base image. Takes as much of the host's
 * memory as was written, in pages; what was never written, or was given back, reads as zeros. Used by one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct disk_memory {
	uint64_t size, limit, used; /* bytes: of the disk, allowed, taken */
	uint8_t *bytes;
	uint64_t *resident;         /* bit per page: has been written; all others are zero and were never touched */
	uint64_t *present;          /* bit per sector: stands here and not in the base image; NULL for a memory disk, where all do */
};

enum disk_presence { DISK_ABSENT, DISK_MIXED, DISK_PRESENT };

/* limit 0: none but the size. 0, or -1 with errno. */
int disk_memory_init(struct disk_memory *memory, uint64_t size, uint64_t limit, bool over_base);
/* Other size, contents kept up to the smaller one. 0, or -1 with errno and nothing changed. */
int disk_memory_resize(struct disk_memory *memory, uint64_t size);
void disk_memory_finish(struct disk_memory *memory);
/* Bytes that a memory of this size takes at most to know what stands where; the limit does not count them. */
uint64_t disk_memory_maps(uint64_t size, bool over_base);

/* All offsets and lengths are whole sectors within size. */
enum disk_presence disk_memory_presence(const struct disk_memory *memory, uint64_t offset, uint64_t length);
/* Copies what is present of the range into the n pieces; what is not stays as it is there. */
void disk_memory_read(const struct disk_memory *memory, uint64_t offset, const struct iovec *iov, uint32_t n);
/* False, and nothing written: the limit. */
bool disk_memory_write(struct disk_memory *memory, uint64_t offset, const struct iovec *iov, uint32_t n);
/* The range reads as zeros from now on, and its whole pages are the host's again. */
void disk_memory_zero(struct disk_memory *memory, uint64_t offset, uint64_t length);
