/* Memory of a producer's: its pixels, which cannot shrink under the panel, mapped here as well. */
#pragma once

#include "unit.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static inline uint32_t *pixels_make(uint64_t size, int *fd)
{
	*fd = memfd_create("pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(ftruncate(*fd, (off_t)size), 0);
	ck_assert_int_eq(fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	uint32_t *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	ck_assert_ptr_ne(at, MAP_FAILED);
	return at;
}
