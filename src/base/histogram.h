/* Histogram of durations in microseconds with about 4 % resolution; any thread records, any thread reads. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 512

struct histogram {
	_Atomic uint64_t count;
	_Atomic uint64_t max;
	_Atomic uint32_t bucket[HISTOGRAM_BUCKETS];
};

struct histogram_summary {
	uint64_t count;
	uint64_t p50, p95, p99, max; /* microseconds; upper edge of the bucket, max exact */
};

void histogram_record_us(struct histogram *histogram, uint64_t us);
void histogram_summarise(const struct histogram *histogram, struct histogram_summary *summary);
/* How many durations bucket i (below HISTOGRAM_BUCKETS) counts; *edge receives the largest one it takes, in microseconds. */
uint32_t histogram_bucket(const struct histogram *histogram, uint32_t i, uint64_t *edge);
void histogram_reset(struct histogram *histogram);
