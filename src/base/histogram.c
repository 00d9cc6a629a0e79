/*
 * Buckets: 0..31 us exactly, then 16 per power of two (about 4-6 % wide). 512 buckets reach far beyond any duration
 * that is recorded; the last one takes the rest.
 */
#include "base/histogram.h"

#include <string.h>

#define EXACT 32u
#define PER_OCTAVE 16u

static uint32_t bucket_of(uint64_t us)
{
	if (us < EXACT)
		return (uint32_t)us;
	uint32_t octave = 63u - (uint32_t)__builtin_clzll(us); /* >= 5 */
	uint32_t sub = (uint32_t)((us >> (octave - 4)) & (PER_OCTAVE - 1));
	uint32_t bucket = EXACT + (octave - 5) * PER_OCTAVE + sub;
	return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* Largest value of the bucket. */
static uint64_t bucket_edge(uint32_t bucket)
{
	if (bucket < EXACT)
		return bucket;
	uint32_t octave = 5 + (bucket - EXACT) / PER_OCTAVE;
	uint64_t sub = (bucket - EXACT) % PER_OCTAVE;
	return ((PER_OCTAVE + sub + 1) << (octave - 4)) - 1;
}

void histogram_record_us(struct histogram *histogram, uint64_t us)
{
	atomic_fetch_add_explicit(&histogram->bucket[bucket_of(us)], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&histogram->count, 1, memory_order_relaxed);
	uint64_t max = atomic_load_explicit(&histogram->max, memory_order_relaxed);
	while (us > max && !atomic_compare_exchange_weak_explicit(&histogram->max, &max, us, memory_order_relaxed,
				   memory_order_relaxed))
		;
}

void histogram_summarise(const struct histogram *histogram, struct histogram_summary *summary)
{
	memset(summary, 0, sizeof *summary);
	uint64_t total = 0;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		total += atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);
	summary->count = total;
	summary->max = atomic_load_explicit(&histogram->max, memory_order_relaxed);
	if (total == 0)
		return;

	struct {
		uint64_t per_hundred, *out;
	} wanted[] = { { 50, &summary->p50 }, { 95, &summary->p95 }, { 99, &summary->p99 } };
	uint64_t seen = 0;
	size_t next = 0;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS && next < 3; i++) {
		seen += atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);
		while (next < 3 && seen * 100 >= total * wanted[next].per_hundred) {
			uint64_t edge = bucket_edge(i);
			*wanted[next++].out = edge < summary->max ? edge : summary->max;
		}
	}
}

uint32_t histogram_bucket(const struct histogram *histogram, uint32_t i, uint64_t *edge)
{
	*edge = bucket_edge(i);
	return atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);
}

void histogram_reset(struct histogram *histogram)
{
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		atomic_store_explicit(&histogram->bucket[i], 0, memory_order_relaxed);
	atomic_store_explicit(&histogram->count, 0, memory_order_relaxed);
	atomic_store_explicit(&histogram->max, 0, memory_order_relaxed);
}
