#include "virtio/disk_plan.h"

#include <stdio.h>

#include "base/base.h"
#include "virtio/disk_memory.h"

#define MIB (1ull << 20)
#define PAGE 4096ull

static uint64_t sum(uint64_t a, uint64_t b)
{
	uint64_t result;
	return add_u64(a, b, &result) ? result : UINT64_MAX;
}

void disk_plan_add(struct disk_plan *plan, uint64_t size, bool memory, bool overlay, uint64_t limit)
{
	if (!memory && !overlay)
		return;
	/* A guest that writes zeros over an overlay takes no page of it, and fills its map. */
	uint64_t maps = disk_memory_maps(size, overlay), most = sum(size, PAGE - 1) / PAGE * PAGE;
	if (overlay && limit == 0) {
		/* A small map is no reason to refuse somebody who asked for no amount of memory. */
		plan->unsized++;
		plan->disks = sum(plan->disks, maps > DISK_PLAN_SHARE_MIN ? maps : 0);
	} else {
		plan->disks = sum(plan->disks, sum(maps, overlay && limit < most ? limit : most));
	}
}

bool disk_plan_judge(const struct disk_plan *plan, char *text, size_t text_size)
{
	if (plan->disks == 0 || plan->available == 0 || sum(plan->guest, plan->disks) <= plan->available) {
		snprintf(text, text_size, "up to %llu MiB", (unsigned long long)(sum(plan->disks, MIB - 1) / MIB));
		return true;
	}
	snprintf(text, text_size, "%llu MiB for the guest and up to %llu MiB for disks in memory are more than the %llu MiB that are free; "
		"give less with mem:SIZE, overlay=mem:SIZE or --memory", (unsigned long long)(plan->guest / MIB),
		(unsigned long long)(sum(plan->disks, MIB - 1) / MIB), (unsigned long long)(plan->available / MIB));
	return false;
}

uint64_t disk_plan_share(const struct disk_plan *plan)
{
	uint64_t taken = sum(plan->guest, plan->disks);
	uint64_t left = plan->available > taken ? plan->available - taken : 0;
	uint64_t share = left / 2 / (plan->unsized > 0 ? plan->unsized : 1) / PAGE * PAGE;
	return share > DISK_PLAN_SHARE_MIN ? share : DISK_PLAN_SHARE_MIN;
}
