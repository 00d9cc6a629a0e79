/* What guest memory can be made of: the judgement, and that this machine can be read. */
#include <string.h>
#include <sys/mman.h>

#include "unit.h"
#include "vmm/backing.h"
#include "vmm/memory.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static const struct {
	struct backing_host host;
	uint64_t size, hugepages;
	enum backing_verdict verdict;
	const char *says;
} table[] = {
	{ { 8 * GIB, 6 * GIB, "always", false, 0 }, 2 * GIB, 0, BACKING_GOOD, "shmem_enabled is always" },
	{ { 8 * GIB, 6 * GIB, "advise", false, 0 }, 2 * GIB, 0, BACKING_GOOD, "advise" },
	{ { 8 * GIB, 6 * GIB, "never", false, 0 }, 2 * GIB, 0, BACKING_SMALL, "--hugepages" },
	{ { 8 * GIB, 6 * GIB, "deny", false, 0 }, 2 * GIB, 0, BACKING_SMALL, "write advise to" },
	{ { 8 * GIB, 6 * GIB, "", false, 0 }, 2 * GIB, 0, BACKING_SMALL, "not known" },
	{ { 8 * GIB, 1 * GIB, "always", false, 0 }, 2 * GIB, 0, BACKING_SMALL, "1024 MiB are free" },
	{ { 8 * GIB, 0, "always", false, 0 }, 2 * GIB, 0, BACKING_GOOD, "always" },
	{ { 8 * GIB, 6 * GIB, "always", false, 0 }, 8 * GIB + MIB, 0, BACKING_IMPOSSIBLE, "more than the 8192 MiB" },
	{ { 0, 0, "always", false, 0 }, 800 * GIB, 0, BACKING_GOOD, "always" },
	{ { 8 * GIB, 1 * GIB, "never", true, 1024 }, 2 * GIB, 2 * MIB, BACKING_GOOD, "1024 huge pages of 2 MiB" },
	{ { 8 * GIB, 6 * GIB, "never", true, 1023 }, 2 * GIB, 2 * MIB, BACKING_IMPOSSIBLE, "hugepages-2048kB/nr_hugepages" },
	{ { 8 * GIB, 6 * GIB, "never", true, 1 }, 2 * GIB, GIB, BACKING_IMPOSSIBLE, "hugepages-1048576kB/nr_hugepages" },
	{ { 8 * GIB, 6 * GIB, "never", true, 9 }, GIB + 2 * MIB, GIB, BACKING_IMPOSSIBLE, "whole number" },
	{ { 8 * GIB, 6 * GIB, "never", false, 0 }, 2 * GIB, GIB, BACKING_IMPOSSIBLE, "has no huge pages of 1 GiB" },
	{ { 8 * GIB, 6 * GIB, "never", true, 99 }, 9 * GIB, GIB, BACKING_IMPOSSIBLE, "more than the 8192 MiB" },
};

START_TEST(judgement)
{
	char text[300] = "";
	ck_assert_int_eq(backing_judge(&table[_i].host, table[_i].size, table[_i].hugepages, text, sizeof(text)), table[_i].verdict);
	ck_assert_msg(strstr(text, table[_i].says) && !strchr(text, '\n'), "%s", text);
}
END_TEST

START_TEST(this_machine)
{
	struct backing_host host;
	backing_read(2 * MIB, &host);
	ck_assert_uint_gt(host.total, 16 * MIB);
	ck_assert_uint_gt(host.available, 0);
	ck_assert_uint_le(strcspn(host.shmem_enabled, "[] \n"), sizeof(host.shmem_enabled) - 1);
	ck_assert_uint_eq(strcspn(host.shmem_enabled, "[] \n"), strlen(host.shmem_enabled));
}
END_TEST

/* Pages of the pool are taken when the memory is made, never at a guest's touch. */
START_TEST(pool_is_taken_at_once)
{
	struct backing_host before, after;
	struct guest_memory memory;
	ck_assert_int_eq(guest_memory_init_huge(&memory, 3 * MIB, 2 * MIB), -1);
	ck_assert_int_eq(guest_memory_init_huge(&memory, 4 * MIB, 4 * MIB), -1);
	backing_read(2 * MIB, &before);
	if (!before.has_pool)
		return;
	int made = guest_memory_init_huge(&memory, 4 * MIB, 2 * MIB);
	ck_assert_int_eq(made, before.pool_free >= 2 ? 0 : -1);
	if (made < 0)
		return;
	backing_read(2 * MIB, &after);
	ck_assert_uint_eq(after.pool_free, before.pool_free - 2);
	uint64_t one = 1, value = 0;
	ck_assert(guest_memory_write(&memory, 3 * MIB, &one, sizeof(one)));
	ck_assert_int_eq(guest_memory_clear(&memory), 0);
	ck_assert(guest_memory_read(&memory, 3 * MIB, &value, sizeof(value)));
	ck_assert_uint_eq(value, 0);
	guest_memory_finish(&memory);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("backing");
	TCase *c = tcase_create("backing");
	tcase_add_loop_test(c, judgement, 0, sizeof(table) / sizeof(table[0]));
	tcase_add_test(c, this_machine);
	tcase_add_test(c, pool_is_taken_at_once);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
