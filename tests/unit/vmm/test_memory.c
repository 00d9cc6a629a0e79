#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "smaps.h"
#include "unit.h"
#include "vmm/layout.h"
#include "vmm/memory.h"

#define MIB (1ull << 20)
#define SIZE (LAYOUT_LOW_RAM_MAX + 64 * MIB)

static struct guest_memory memory;

static void setup(void)
{
	ck_assert_int_eq(guest_memory_init(&memory, SIZE), 0);
}

static void teardown(void)
{
	guest_memory_finish(&memory);
}

START_TEST(regions_and_seals)
{
	ck_assert_uint_eq(memory.n_regions, 2);
	ck_assert_uint_eq(memory.region[1].gpa, LAYOUT_HIGH_RAM);
	ck_assert_uint_eq(memory.region[1].size, 64 * MIB);
	int seals = fcntl(memory.fd, F_GET_SEALS);
	ck_assert_int_eq(seals, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	ck_assert_int_eq(ftruncate(memory.fd, 0), -1);
}
END_TEST

START_TEST(edges)
{
	static const struct {
		uint64_t gpa, length;
		bool ok;
	} table[] = {
		{ 0, 1, true },
		{ 0, 0, false },
		{ 0, LAYOUT_LOW_RAM_MAX, true },
		{ 0, LAYOUT_LOW_RAM_MAX + 1, false },
		{ LAYOUT_LOW_RAM_MAX - 1, 1, true },
		{ LAYOUT_LOW_RAM_MAX - 1, 2, false },
		{ LAYOUT_LOW_RAM_MAX, 1, false },
		{ LAYOUT_ECAM, 4, false },
		{ LAYOUT_LAPIC, 4, false },
		{ LAYOUT_HIGH_RAM - 1, 2, false },
		{ LAYOUT_HIGH_RAM, 64 * MIB, true },
		{ LAYOUT_HIGH_RAM, 64 * MIB + 1, false },
		{ LAYOUT_HIGH_RAM + 64 * MIB, 1, false },
		{ LAYOUT_HIGH_RAM + 1, UINT64_MAX, false },
		{ UINT64_MAX, 1, false },
		{ UINT64_MAX, UINT64_MAX, false },
		{ 1, UINT64_MAX, false },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint64_t offset = 0;
		void *at = guest_memory_at(&memory, table[i].gpa, table[i].length, GUEST_WRITE);
		ck_assert_msg((at != NULL) == table[i].ok, "row %zu", i);
		ck_assert_msg(guest_memory_offset(&memory, table[i].gpa, table[i].length, &offset) == table[i].ok, "row %zu", i);
	}
}
END_TEST

START_TEST(copies_reach_the_file)
{
	uint64_t gpa = LAYOUT_HIGH_RAM + 4096, offset = 0;
	char got[6] = "";
	ck_assert(guest_memory_write(&memory, gpa, "hello", 6));
	ck_assert(guest_memory_offset(&memory, gpa, 6, &offset));
	ck_assert_uint_eq(offset, LAYOUT_LOW_RAM_MAX + 4096);
	ck_assert_int_eq(pread(memory.fd, got, 6, (off_t)offset), 6);
	ck_assert_str_eq(got, "hello");
	ck_assert(guest_memory_read(&memory, gpa, got, 6));
	ck_assert(!guest_memory_read(&memory, LAYOUT_LOW_RAM_MAX - 3, got, 6));
	ck_assert(!guest_memory_write(&memory, LAYOUT_LOW_RAM_MAX - 3, got, 6));
	ck_assert_int_eq(*(char *)guest_memory_at(&memory, LAYOUT_LOW_RAM_MAX - 3, 1, GUEST_READ), 0);
}
END_TEST

START_TEST(refused_sizes)
{
	static const uint64_t sizes[] = { 0, 1, 4095, 4097, LAYOUT_RAM_MAX + 4096, UINT64_MAX & ~4095ull };
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct guest_memory other;
		errno = 0;
		ck_assert_int_eq(guest_memory_init(&other, sizes[i]), -1);
		ck_assert_int_eq(errno, EINVAL);
		guest_memory_finish(&other);
	}
}
END_TEST

/* What the guest knows is for no core file. */
START_TEST(not_in_a_core)
{
	ck_assert_uint_eq(memory.n_regions, 2);
	for (uint32_t i = 0; i < memory.n_regions; i++)
		ck_assert(smaps_not_dumped(memory.region[i].host, memory.region[i].size));
	ck_assert_int_eq(guest_memory_clear(&memory), 0);
	for (uint32_t i = 0; i < memory.n_regions; i++)
		ck_assert(smaps_not_dumped(memory.region[i].host, memory.region[i].size));
	/* And the flag can be seen at all. */
	static char other[8192];
	ck_assert(!smaps_not_dumped(other, sizeof(other)));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("memory");
	TCase *c = tcase_create("memory");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, regions_and_seals);
	tcase_add_test(c, edges);
	tcase_add_test(c, copies_reach_the_file);
	tcase_add_test(c, refused_sizes);
	tcase_add_test(c, not_in_a_core);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
