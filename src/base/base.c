#include "base/base.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

uint64_t clock_now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

bool size_parse(const char *text, uint64_t *bytes)
{
	if (*text < '0' || *text > '9')
		return false;
	char *end;
	errno = 0;
	uint64_t value = strtoull(text, &end, 10), unit = 1;
	if (errno != 0)
		return false;
	switch (*end) {
	case 'k': case 'K': unit = 1ull << 10; end++; break;
	case 'm': case 'M': unit = 1ull << 20; end++; break;
	case 'g': case 'G': unit = 1ull << 30; end++; break;
	case 't': case 'T': unit = 1ull << 40; end++; break;
	default: break;
	}
	return *end == '\0' && mul_u64(value, unit, bytes);
}

/* Right or bottom edge, exclusive, without wrapping and within 32 bits. */
static uint32_t far_edge(uint32_t start, uint32_t length)
{
	uint64_t edge = (uint64_t)start + length;
	return edge > UINT32_MAX ? UINT32_MAX : (uint32_t)edge;
}

struct rect rect_union(struct rect a, struct rect b)
{
	if (rect_empty(&a))
		return b;
	if (rect_empty(&b))
		return a;
	uint32_t x = min_u32(a.x, b.x), y = min_u32(a.y, b.y);
	uint32_t right = max_u32(far_edge(a.x, a.w), far_edge(b.x, b.w));
	uint32_t bottom = max_u32(far_edge(a.y, a.h), far_edge(b.y, b.h));
	return (struct rect){ x, y, right - x, bottom - y };
}

struct rect rect_intersect(struct rect a, struct rect b)
{
	uint32_t x = max_u32(a.x, b.x), y = max_u32(a.y, b.y);
	uint32_t right = min_u32(far_edge(a.x, a.w), far_edge(b.x, b.w));
	uint32_t bottom = min_u32(far_edge(a.y, a.h), far_edge(b.y, b.h));
	if (right <= x || bottom <= y)
		return (struct rect){ 0 };
	return (struct rect){ x, y, right - x, bottom - y };
}
