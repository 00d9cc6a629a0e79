#include "virtio/disk_memory.h"

#include "base/base.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define SECTOR 512ull
#define PAGE 4096ull

/* --- bits --------------------------------------------------------------------------------------------------------------- */

static bool test_bit(const uint64_t *bits, uint64_t i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

/* The bits of word `w` that lie in [from, to). */
static uint64_t mask_of(uint64_t w, uint64_t from, uint64_t to)
{
	uint64_t mask = UINT64_MAX;
	if (w == from / 64)
		mask &= UINT64_MAX << (from % 64);
	if (w == to / 64)
		mask &= (1ull << (to % 64)) - 1;
	return mask;
}

static uint64_t count_bits(const uint64_t *bits, uint64_t from, uint64_t to)
{
	uint64_t count = 0;
	for (uint64_t w = from / 64; w * 64 < to; w++)
		count += (uint64_t)__builtin_popcountll(bits[w] & mask_of(w, from, to));
	return count;
}

static void set_bits(uint64_t *bits, uint64_t from, uint64_t to)
{
	for (uint64_t w = from / 64; w * 64 < to; w++)
		bits[w] |= mask_of(w, from, to);
}

static void clear_bits(uint64_t *bits, uint64_t from, uint64_t to)
{
	/* Read first: a bitmap's untouched pages stay untouched. */
	for (uint64_t w = from / 64; w * 64 < to; w++)
		if (bits[w] & mask_of(w, from, to))
			bits[w] &= ~mask_of(w, from, to);
}

/* --- mappings ----------------------------------------------------------------------------------------------------------- */

static uint64_t bitmap_size(uint64_t bits)
{
	return (bits / 8 + PAGE) & ~(PAGE - 1); /* one bit more than there are, so that an end may be named */
}

static uint64_t round_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

static void *map(uint64_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	/* A huge page for one sector would take 512 times what the limit counts. A core file need not carry the guest's disk. */
	madvise(at, size, MADV_NOHUGEPAGE);
	madvise(at, size, MADV_DONTDUMP);
	return at;
}

int disk_memory_init(struct disk_memory *memory, uint64_t size, uint64_t limit, bool over_base)
{
	*memory = (struct disk_memory){ .size = size, .limit = limit != 0 ? limit : UINT64_MAX };
	if (size > INT64_MAX - PAGE) {
		errno = ENOMEM;
		return -1;
	}
	memory->bytes = map(round_up(size, PAGE));
	memory->resident = map(bitmap_size(size / PAGE + 1));
	if (over_base)
		memory->present = map(bitmap_size(size / SECTOR));
	if (memory->bytes == NULL || memory->resident == NULL || (over_base && memory->present == NULL)) {
		disk_memory_finish(memory);
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

void disk_memory_finish(struct disk_memory *memory)
{
	if (memory->bytes != NULL)
		munmap(memory->bytes, round_up(memory->size, PAGE));
	if (memory->resident != NULL)
		munmap(memory->resident, bitmap_size(memory->size / PAGE + 1));
	if (memory->present != NULL)
		munmap(memory->present, bitmap_size(memory->size / SECTOR));
	*memory = (struct disk_memory){ 0 };
}

uint64_t disk_memory_maps(uint64_t size, bool over_base)
{
	return bitmap_size(size / PAGE + 1) + (over_base ? bitmap_size(size / SECTOR) : 0);
}

static bool remap(void *at_pointer, uint64_t from, uint64_t to)
{
	void **at = at_pointer;
	if (*at == NULL || from == to)
		return true;
	void *moved = mremap(*at, from, to, MREMAP_MAYMOVE);
	if (moved == MAP_FAILED)
		return false;
	*at = moved;
	return true;
}

int disk_memory_resize(struct disk_memory *memory, uint64_t size)
{
	uint64_t old = memory->size;
	if (size > INT64_MAX - PAGE) {
		errno = ENOMEM;
		return -1;
	}
	if (size < old) {
		/* What is cut off is forgotten; the mappings stay as large as they are known to be below. */
		disk_memory_zero(memory, size, old - size);
		if (memory->present != NULL)
			clear_bits(memory->present, size / SECTOR, old / SECTOR);
	}
	/* Larger ones first: a failure leaves mappings that are too large, never one that is too small. */
	if (!remap(&memory->present, bitmap_size(old / SECTOR), bitmap_size(size / SECTOR)))
		return -1;
	if (!remap(&memory->resident, bitmap_size(old / PAGE + 1), bitmap_size(size / PAGE + 1))) {
		remap(&memory->present, bitmap_size(size / SECTOR), bitmap_size(old / SECTOR));
		return -1;
	}
	if (!remap(&memory->bytes, round_up(old, PAGE), round_up(size, PAGE))) {
		remap(&memory->present, bitmap_size(size / SECTOR), bitmap_size(old / SECTOR));
		remap(&memory->resident, bitmap_size(size / PAGE + 1), bitmap_size(old / PAGE + 1));
		return -1;
	}
	memory->size = size;
	return 0;
}

/* --- use ---------------------------------------------------------------------------------------------------------------- */

enum disk_presence disk_memory_presence(const struct disk_memory *memory, uint64_t offset, uint64_t length)
{
	if (memory->present == NULL)
		return DISK_PRESENT;
	uint64_t n = count_bits(memory->present, offset / SECTOR, (offset + length) / SECTOR);
	return n == 0 ? DISK_ABSENT : n == length / SECTOR ? DISK_PRESENT : DISK_MIXED;
}

void disk_memory_read(const struct disk_memory *memory, uint64_t offset, const struct iovec *iov, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *to = iov[i].iov_base;
		for (uint64_t left = iov[i].iov_len; left > 0;) {
			/* Up to the end of the page; sector by sector where the base image shows through. */
			uint64_t step = memory->present != NULL ? SECTOR : PAGE;
			uint64_t part = step - offset % step;
			if (part > left)
				part = left;
			if (memory->present == NULL || test_bit(memory->present, offset / SECTOR)) {
				if (test_bit(memory->resident, offset / PAGE))
					memcpy(to, memory->bytes + offset, part);
				else
					memset(to, 0, part);
			}
			to += part;
			offset += part;
			left -= part;
		}
	}
}

bool disk_memory_write(struct disk_memory *memory, uint64_t offset, const struct iovec *iov, uint32_t n)
{
	uint64_t length = 0;
	for (uint32_t i = 0; i < n; i++)
		length += iov[i].iov_len;
	uint64_t first = offset / PAGE, end = (offset + length + PAGE - 1) / PAGE;
	uint64_t more = (end - first - count_bits(memory->resident, first, end)) * PAGE;
	if (more > memory->limit - memory->used)
		return false;
	memory->used += more;
	set_bits(memory->resident, first, end);
	if (memory->present != NULL)
		set_bits(memory->present, offset / SECTOR, (offset + length) / SECTOR);
	uint8_t *to = memory->bytes + offset;
	for (uint32_t i = 0; i < n; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
	return true;
}

/* Zeros in a page that is not given back. */
static void wipe(struct disk_memory *memory, uint64_t offset, uint64_t length)
{
	if (length > 0 && test_bit(memory->resident, offset / PAGE))
		memset(memory->bytes + offset, 0, length);
}

void disk_memory_zero(struct disk_memory *memory, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	if (memory->present != NULL)
		set_bits(memory->present, offset / SECTOR, end / SECTOR);
	uint64_t first = round_up(offset, PAGE), last = end / PAGE * PAGE;
	if (first > last) { /* within one page */
		wipe(memory, offset, length);
		return;
	}
	wipe(memory, offset, first - offset);
	wipe(memory, last, end - last);
	uint64_t taken = count_bits(memory->resident, first / PAGE, last / PAGE);
	if (taken == 0)
		return;
	if (madvise(memory->bytes + first, last - first, MADV_DONTNEED) < 0) {
		/* Locked into memory by somebody: kept, and wiped. */
		for (uint64_t at = first; at < last; at += PAGE)
			wipe(memory, at, PAGE);
		return;
	}
	memory->used -= taken * PAGE;
	clear_bits(memory->resident, first / PAGE, last / PAGE);
}
