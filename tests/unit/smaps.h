/* What the kernel says of this process's mappings. */
#pragma once

#include <check.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Whether all of [at, at + size) is left out of core files: flag `dd` of proc_pid_smaps(5). Fails the test where nothing is mapped. */
static inline bool smaps_not_dumped(const void *at, uint64_t size)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	uint64_t low, high, from = 0, to = 0, begin = (uintptr_t)at, seen = 0;
	bool left_out = true;
	char row[512];
	ck_assert_ptr_nonnull(smaps);
	while (fgets(row, sizeof(row), smaps) != NULL) {
		if (sscanf(row, "%" SCNx64 "-%" SCNx64 " ", &low, &high) == 2) {
			from = low;
			to = high;
		}
		if (strncmp(row, "VmFlags:", 8) != 0 || to <= begin || from >= begin + size)
			continue;
		seen += (to < begin + size ? to : begin + size) - (from > begin ? from : begin);
		left_out &= strstr(row, " dd") != NULL;
	}
	fclose(smaps);
	ck_assert_uint_eq(seen, size);
	return left_out;
}
