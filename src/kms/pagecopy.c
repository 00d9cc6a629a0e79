#include "kms/pagecopy.h"

#include <emmintrin.h>
#include <stdbool.h>
#include <string.h>

#define VECTOR sizeof(__m128i)
#define LINE 64u  /* bytes: a cache line a turn */
#define SMALL 512u /* bytes: the C library's are as good */

static inline __m128i load(const uint8_t *in)
{
	return _mm_loadu_si128((const __m128i *)(const void *)in);
}

static inline void store(uint8_t *out, __m128i bytes)
{
	_mm_store_si128((__m128i *)(void *)out, bytes);
}

/* Whole lines to an aligned place. Inlined for each `fetch`. */
static inline __attribute__((always_inline)) void lines(uint8_t *out, const uint8_t *in, size_t n, const uint8_t *ahead, bool fetch)
{
	for (size_t i = 0; i < n; i += LINE) {
		if (fetch)
			_mm_prefetch((const char *)ahead + i, _MM_HINT_T0);
		__m128i a = load(in + i), b = load(in + i + VECTOR), c = load(in + i + 2 * VECTOR), d = load(in + i + 3 * VECTOR);
		store(out + i, a);
		store(out + i + VECTOR, b);
		store(out + i + 2 * VECTOR, c);
		store(out + i + 3 * VECTOR, d);
	}
}

void pagecopy(uint8_t *out, const uint8_t *in, size_t n, const uint8_t *ahead)
{
	if (n < SMALL) {
		memcpy(out, in, n);
		return;
	}
	size_t head = -(uintptr_t)out & (LINE - 1), whole = (n - head) & ~(size_t)(LINE - 1);
	memcpy(out, in, head);
	if (ahead)
		lines(out + head, in + head, whole, ahead + head, true);
	else
		lines(out + head, in + head, whole, NULL, false);
	memcpy(out + head + whole, in + head + whole, n - head - whole);
}
