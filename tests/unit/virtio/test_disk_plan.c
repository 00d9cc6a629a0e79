/* H4, what disks may take of the host's memory: a hostile guest fills all that it was given. */
#include "unit.h"

#include <inttypes.h>
#include <string.h>

#include "base/base.h"
#include "virtio/disk_memory.h"
#include "virtio/disk_plan.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define TIB (1ull << 40)

struct part {
	uint64_t size;
	bool memory, overlay;
	uint64_t limit;
};
#define FILE_OF(size) { size, false, false, 0 }
#define MEM(size) { size, true, false, 0 }
#define OVERLAY(size, limit) { size, false, true, limit }

static const struct {
	uint64_t available, guest;
	struct part disk[4];
	bool fits;
	uint64_t share; /* 0: no overlay wants one */
	const char *says;
} table[] = {
	/* Disks on files take nothing, also beside a guest that is larger than what is free: of that --memory's judgement speaks. */
	{ 8 * GIB, 2 * GIB, { FILE_OF(16 * TIB) }, true, 3 * GIB, "up to 0 MiB" },
	{ 1 * GIB, 2 * GIB, { FILE_OF(16 * TIB) }, true, 0, "up to 0 MiB" },
	{ 8 * GIB, 2 * GIB, { MEM(1 * GIB) }, true, 0, "up to 1025 MiB" },
	{ 8 * GIB, 2 * GIB, { MEM(1 * TIB) }, false, 0, "2048 MiB for the guest and up to 1048609 MiB for disks in memory are more than the 8192 MiB" },
	/* Each of these would fit, and not all. */
	{ 8 * GIB, 2 * GIB, { MEM(3 * GIB) }, true, 0, "up to 3073 MiB" },
	{ 8 * GIB, 2 * GIB, { MEM(3 * GIB), MEM(3 * GIB) }, false, 0, "--memory" },
	{ 8 * GIB, 6 * GIB, { MEM(3 * GIB) }, false, 0, "mem:SIZE" },
	{ 8 * GIB, 0, { MEM(3 * GIB), MEM(4 * GIB) }, true, 0, "up to" }, /* the guest has its pool */
	{ 8 * GIB, 2 * GIB, { OVERLAY(20 * GIB, 7 * GIB) }, false, 0, "overlay=mem:SIZE" },
	{ 8 * GIB, 2 * GIB, { OVERLAY(20 * GIB, 4 * GIB), MEM(GIB) }, true, 0, "up to" },
	/* An overlay never takes more than its disk, whatever it may. */
	{ 8 * GIB, 2 * GIB, { OVERLAY(GIB, 7 * TIB) }, true, 0, "up to 1025 MiB" },
	/* The map of a disk of 64 TiB is 18 GiB. */
	{ 8 * GIB, 2 * GIB, { OVERLAY(64 * TIB, GIB) }, false, 0, "19457 MiB" },
	/* Sums that do not fit into 64 bits. */
	{ 8 * GIB, 2 * GIB, { MEM(INT64_MAX), MEM(INT64_MAX), MEM(INT64_MAX) }, false, 0, "more than the 8192 MiB" },
	{ 8 * GIB, UINT64_MAX, { MEM(UINT64_MAX) }, false, 0, "more than the 8192 MiB" },
	/* The host's numbers are not to be had: nothing can be judged, and what an overlay gets is what it always gets. */
	{ 0, 2 * GIB, { MEM(TIB), OVERLAY(GIB, 0) }, true, DISK_PLAN_SHARE_MIN, "up to" },
	/* Half of what is left, and not of what there is; in equal shares. */
	{ 8 * GIB, 2 * GIB, { OVERLAY(8 * MIB, 0) }, true, 3 * GIB, "up to 0 MiB" },
	{ 8 * GIB, 2 * GIB, { OVERLAY(8 * MIB, 0), OVERLAY(8 * MIB, 0), OVERLAY(8 * MIB, 0) }, true, GIB, "up to 0 MiB" },
	{ 8 * GIB, 2 * GIB, { OVERLAY(8 * MIB, 0), MEM(2 * GIB), OVERLAY(20 * GIB, 2 * GIB) }, true, GIB - 2 * MIB, "up to 4102 MiB" },
	/* Never nothing, also where the guest's memory is a warning already. */
	{ 2 * GIB, 4 * GIB, { OVERLAY(8 * GIB, 0), OVERLAY(8 * MIB, 0) }, true, DISK_PLAN_SHARE_MIN, "up to 0 MiB" },
	{ 2 * GIB, 2 * GIB - 200 * MIB, { OVERLAY(8 * MIB, 0), OVERLAY(8 * MIB, 0) }, true, DISK_PLAN_SHARE_MIN, "up to 0 MiB" },
	/* But for a map that is large by itself. */
	{ 8 * GIB, 2 * GIB, { OVERLAY(64 * TIB, 0) }, false, 0, "up to 18433 MiB" },
};

START_TEST(plans)
{
	struct disk_plan plan = { .available = table[_i].available, .guest = table[_i].guest };
	char text[300] = "";
	for (uint32_t i = 0; i < ARRAY_LEN(table[_i].disk) && table[_i].disk[i].size > 0; i++)
		disk_plan_add(&plan, table[_i].disk[i].size, table[_i].disk[i].memory, table[_i].disk[i].overlay, table[_i].disk[i].limit);
	ck_assert_msg(disk_plan_judge(&plan, text, sizeof(text)) == table[_i].fits, "%s", text);
	ck_assert_msg(strstr(text, table[_i].says) && !strchr(text, '\n'), "%s", text);
	uint64_t share = disk_plan_share(&plan);
	if (table[_i].share != 0)
		ck_assert_msg(share <= table[_i].share && share + MIB > table[_i].share, "%" PRIu64 " for each overlay and not %" PRIu64, share, table[_i].share);
	ck_assert_uint_eq(share % 4096, 0);
	/* What all may take together is there. */
	if (table[_i].fits && plan.unsized > 0 && share > DISK_PLAN_SHARE_MIN)
		ck_assert_uint_le(plan.guest + plan.disks + plan.unsized * share, plan.available);
}
END_TEST

START_TEST(maps_are_what_is_mapped)
{
	/* Not less than a memory of that size really takes for its maps. */
	ck_assert_uint_ge(disk_memory_maps(8 * GIB, true), 8 * GIB / 512 / 8 + 8 * GIB / 4096 / 8);
	ck_assert_uint_ge(disk_memory_maps(8 * GIB, false), 8 * GIB / 4096 / 8);
	ck_assert_uint_lt(disk_memory_maps(8 * GIB, false), 8 * GIB / 4096);
	ck_assert_uint_ge(disk_memory_maps(UINT64_MAX, true), UINT64_MAX / 4096);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("disk-plan");
	TCase *tc = tcase_create("plan");
	tcase_add_loop_test(tc, plans, 0, ARRAY_LEN(table));
	tcase_add_test(tc, maps_are_what_is_mapped);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
