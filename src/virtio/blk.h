/* virtio-blk (virtio 1.2, section 5.2) on an open disk (disk.h). A thread of its own ("block") per disk. Opens nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio/device.h"
#include "virtio/disk.h"

struct stats;
struct blk;

/* The disk is borrowed until blk_destroy(), its descriptors too. NULL, and a line naming thing and remedy in error. */
struct blk *blk_create(const struct guest_memory *memory, const struct disk *disk, struct stats *stats, char *error, size_t error_size);
/* Waits for requests in flight and flushes. */
void blk_destroy(struct blk *blk);
struct virtio_device *blk_device(struct blk *blk);
uint64_t blk_size(const struct blk *blk);
