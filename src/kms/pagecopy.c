#include "kms/pagecopy.h"

#include <immintrin.h>
#include <string.h>

#define LINE 64u  /* bytes: a cache line a turn */
#define SMALL 512u /* bytes: the C library's are as good */

/* Whole lines to an aligned place. Inlined for each `fetch`. */
static inline __attribute__((always_inline)) void lines(uint8_t *out, const uint8_t *in, size_t n, const uint8_t *ahead, bool fetch)
{
	for (size_t i = 0; i < n; i += LINE) {
		if (fetch)
			_mm_prefetch((const char *)ahead + i, _MM_HINT_T0);
		const __m128i *from = (const void *)(in + i);
		__m128i *to = (void *)(out + i);
		__m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1), c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
		_mm_store_si128(to, a);
		_mm_store_si128(to + 1, b);
		_mm_store_si128(to + 2, c);
		_mm_store_si128(to + 3, d);
	}
}

/* The same by vectors of 32 bytes. */
static inline __attribute__((always_inline, target("avx"))) void wide_lines(uint8_t *out, const uint8_t *in, size_t n, const uint8_t *ahead, bool fetch)
{
	size_t i = 0;
	for (; i + 2 * LINE <= n; i += 2 * LINE) {
		if (fetch) {
			_mm_prefetch((const char *)ahead + i, _MM_HINT_T0);
			_mm_prefetch((const char *)ahead + i + LINE, _MM_HINT_T0);
		}
		const __m256i *from = (const void *)(in + i);
		__m256i *to = (void *)(out + i);
		__m256i a = _mm256_loadu_si256(from), b = _mm256_loadu_si256(from + 1), c = _mm256_loadu_si256(from + 2), d = _mm256_loadu_si256(from + 3);
		_mm256_store_si256(to, a);
		_mm256_store_si256(to + 1, b);
		_mm256_store_si256(to + 2, c);
		_mm256_store_si256(to + 3, d);
	}
	if (i < n) {
		const __m256i *from = (const void *)(in + i);
		__m256i *to = (void *)(out + i);
		_mm256_store_si256(to, _mm256_loadu_si256(from));
		_mm256_store_si256(to + 1, _mm256_loadu_si256(from + 1));
	}
}

static void copy_lines(uint8_t *out, const uint8_t *in, size_t n, const uint8_t *ahead)
{
	if (ahead)
		lines(out, in, n, ahead, true);
	else
		lines(out, in, n, NULL, false);
}

static __attribute__((target("avx"))) void copy_wide_lines(uint8_t *out, const uint8_t *in, size_t n, const uint8_t *ahead)
{
	if (ahead)
		wide_lines(out, in, n, ahead, true);
	else
		wide_lines(out, in, n, NULL, false);
}

bool pagecopy_can_wide(void)
{
	return __builtin_cpu_supports("avx");
}

void pagecopy_by(bool wide, uint8_t *out, const uint8_t *in, size_t n, const uint8_t *ahead)
{
	if (n < SMALL) {
		memcpy(out, in, n);
		return;
	}
	size_t head = -(uintptr_t)out & (LINE - 1), whole = (n - head) & ~(size_t)(LINE - 1);
	memcpy(out, in, head);
	(wide ? copy_wide_lines : copy_lines)(out + head, in + head, whole, ahead ? ahead + head : NULL);
	memcpy(out + head + whole, in + head + whole, n - head - whole);
}

void pagecopy(uint8_t *out, const uint8_t *in, size_t n, const uint8_t *ahead)
{
	pagecopy_by(pagecopy_can_wide(), out, in, n, ahead);
}
