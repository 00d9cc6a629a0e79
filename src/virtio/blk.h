/* virtio-blk (virtio 1.2, section 5.2) on a raw file, block device or memory. A thread of its own ("block") per disk. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio/device.h"

struct stats;
struct blk;

struct blk_config {
	const char *path;   /* file or block device; NULL: memory of `memory_size` bytes */
	uint64_t memory_size;
	bool readonly;
	char serial[21];    /* up to 20 characters */
};

/* Parses "FILE|mem:SIZE[,readonly][,serial=TEXT][,format=raw]". 0, or -1 and a line in error. Strings of config point into `copy` (caller's buffer of size >= strlen(spec)+1). */
int blk_parse(const char *spec, struct blk_config *config, char *copy, char *error, size_t error_size);
/* Opens the disk (locked against a second writer). NULL, and a line naming thing and remedy in error. */
struct blk *blk_create(const struct guest_memory *memory, const struct blk_config *config, struct stats *stats, char *error, size_t error_size);
/* Waits for requests in flight, flushes, closes. */
void blk_destroy(struct blk *blk);
struct virtio_device *blk_device(struct blk *blk);
uint64_t blk_size(const struct blk *blk);
