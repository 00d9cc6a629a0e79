/* What the measuring tools print of a histogram: members of a JSON object, microseconds. */
#pragma once

#include <inttypes.h>
#include <stdio.h>

#include "base/histogram.h"

static inline void print_summary(const struct histogram *histogram)
{
	struct histogram_summary us;
	histogram_summarise(histogram, &us);
	printf("\"count\":%" PRIu64 ",\"p50\":%" PRIu64 ",\"p95\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"max\":%" PRIu64, us.count, us.p50, us.p95, us.p99, us.max);
}
