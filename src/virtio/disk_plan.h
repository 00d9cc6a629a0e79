/*
 * What the disks of a VM may take of the host's memory: memory disks, overlays, and what keeps track of them. The guest can fill all of it whenever it likes,
 * so all of it has to be there beside the guest's own memory. Pure: the host's numbers come in.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_PLAN_SHARE_MIN (64ull << 20)

/* Bytes. */
struct disk_plan {
	uint64_t available; /* of the host for guest and disks; 0: not known */
	uint64_t guest;     /* the guest's memory; 0 when it comes from a pool of its own */
	uint64_t disks;     /* what the disks may take, but for the overlays that were given no size */
	uint32_t unsized;   /* of those there are so many */
};

/* Counts one more disk of `size` bytes in; limit as in struct disk_config. For one that writes to its file and nowhere else, nothing. */
void disk_plan_add(struct disk_plan *plan, uint64_t size, bool memory, bool overlay, uint64_t limit);
/* Whether guest and disks fit into the host, with a line in text that names the remedy when they do not. Disks that take no memory always do. */
bool disk_plan_judge(const struct disk_plan *plan, char *text, size_t text_size);
/* Bytes of memory for each overlay that was given no size: together half of what nobody else may take, and enough to start from in any case. */
uint64_t disk_plan_share(const struct disk_plan *plan);
