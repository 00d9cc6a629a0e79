/*
 * What a virtio-blk device stands on: a raw file, a block device or memory. Opening is one step and running another, so that
 * they can be two processes: who may open files makes a `struct disk`, and who may not gets its descriptors and runs it (blk.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_QUEUES_MAX 8

enum disk_cache {
	DISK_WRITEBACK,    /* the host's page cache; durable after a flush */
	DISK_WRITETHROUGH, /* the host's page cache; durable when done, until the guest asks for a write cache */
	DISK_DIRECT,       /* O_DIRECT; durable after a flush */
};

enum disk_aio {
	DISK_AIO_DEFAULT,  /* io_uring where it is allowed, else threads */
	DISK_AIO_URING,
	DISK_AIO_THREADS,
};

/* What the user asked for. */
struct disk_config {
	const char *path;       /* file or block device; NULL: memory of `memory_size` bytes */
	uint64_t memory_size;
	bool readonly;
	bool overlay;           /* opened read-only; what is written stays in memory and ends with the device */
	uint64_t overlay_limit; /* bytes of that memory; 0: not given (disk_plan.h), and where nobody puts in a number, as much as the disk */
	enum disk_cache cache;
	enum disk_aio aio;
	uint32_t queues;        /* 0: one for each vCPU, 4 at most */
	char serial[21];        /* up to 20 characters */
};

/*
 * An open disk. Plain data: it may be copied, inherited over fork(), or sent elsewhere together with its descriptors, of which
 * -1 are those it does not have. The lock on the file belongs to the open descriptions and so lives as long as any copy of `fd`.
 */
struct disk {
	char name[256];             /* for messages: the path (its end, when it is longer), or "memory" */
	int fd;                     /* -1: memory */
	int buffered_fd;            /* cache=direct: the same file without O_DIRECT, for requests that O_DIRECT cannot align; else -1 */
	uint64_t size;              /* bytes when it was opened, a multiple of block_size */
	uint32_t block_size;        /* bytes, logical */
	uint32_t physical_block_size;
	uint32_t alignment_offset;  /* of the first physical block, bytes */
	uint32_t min_io, opt_io;    /* bytes; opt_io 0: unknown */
	uint32_t discard_alignment; /* bytes */
	uint32_t memory_alignment;  /* of buffers, cache=direct */
	bool readonly;              /* the guest may not write; an overlay may be written although `fd` may not */
	bool block_device, overlay;
	bool can_discard, can_zero;
	uint64_t overlay_limit;
	enum disk_cache cache;
	enum disk_aio aio;
	uint32_t queues;
	char serial[21];
	uint32_t ring_entries, drain_ms; /* for tests; 0: default */
};

/*
 * Parses "FILE|mem:SIZE[,OPTION]...", the options as in rayvm(1). 0, or -1 and a line in error. Strings of config point into
 * `copy` (the caller's buffer of at least strlen(spec) + 1 bytes).
 */
int disk_parse(const char *spec, struct disk_config *config, char *copy, char *error, size_t error_size);
/* Opens and locks (one writer or many readers). 0, or -1 and a line naming thing and remedy in error. Any thread. */
int disk_open(struct disk *disk, const struct disk_config *config, char *error, size_t error_size);
/* Closes this process's descriptors. */
void disk_close(struct disk *disk);
