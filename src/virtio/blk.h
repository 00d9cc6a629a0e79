/*
 * virtio-blk (virtio 1.2, section 5.2) on an open disk (disk.h). A thread of its own ("block") per disk takes requests from the
 * rings, hands them to the host by io_uring straight on guest memory, and returns them. Opens nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio/device.h"
#include "virtio/disk.h"

struct stats;
struct blk;

/*
 * The disk is borrowed until blk_destroy(), its descriptors too. When it returns, rings and threads are made and files registered:
 * the process may give up what rights it likes, but for the system calls that use descriptors. NULL, and a line in error.
 */
struct blk *blk_create(const struct guest_memory *memory, const struct disk *disk, struct stats *stats, char *error, size_t error_size);
/* Before blk_destroy(), of several disks: they wait for the host at the same time. */
void blk_begin_destroy(struct blk *blk);
/* Waits, not for ever, for requests in flight and a last flush. The device is off the bus. */
void blk_destroy(struct blk *blk);
struct virtio_device *blk_device(struct blk *blk);
/* Bytes, as the guest is told. Any thread. */
uint64_t blk_size(const struct blk *blk);
/* The file has grown, or the block device has another size: looked at soon, and the guest is told. Any thread. */
void blk_resize(struct blk *blk);
/* A reset gave up requests that the host still has: they may yet write to guest memory, so no guest should start there. Any thread. */
bool blk_is_stuck(struct blk *blk);
