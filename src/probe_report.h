/* What --probe-panel found out, as figures, verdicts, JSON and lines for people. Pure but for reading counters. */
#pragma once

#include <json-c/json.h>
#include <stdio.h>

#include "base/stats.h"
#include "base/status.h"
#include "kms/backend.h"

#define PROBE_AFTER 4   /* intervals are told apart by 1, 2, 3 refreshes, and more */
#define PROBE_COPIES 64 /* of each way */
#define PROBE_VERDICTS 12

/* How long each part takes. */
struct probe_plan {
	uint64_t flips_ns, toggles_ns, copies_ns;
};

/* Nearest rank, in nanoseconds. */
struct probe_times {
	uint64_t count, min, p50, p95, p99, max;
};

struct probe_flips {
	uint64_t flips;
	struct probe_times interval;
	struct probe_times jitter;          /* how far intervals are from whole refreshes */
	uint64_t after[PROBE_AFTER];        /* intervals of 1, 2 ... refreshes */
	uint64_t missed;                    /* refreshes without a flip */
	struct histogram jitter_histogram;
};

/* Bytes a nanosecond, which is GB/s. */
struct probe_speed {
	uint32_t runs;
	double median, best, worst;
};

struct probe_result {
	uint32_t seconds; /* asked for */
	char why[120];    /* why not everything was measured; empty: it was */

	bool surveyed;
	struct output output; /* connected: false when there is no monitor */
	struct survey survey;
	char describe[64], copies[96];
	bool flush;

	bool flipped; /* flips were measured, for so long: */
	double flips_seconds;
	struct probe_flips flips;
	bool zero_copy; /* the way the pattern took */
	uint64_t latch_misses; /* meanwhile */

	bool toggled;
	uint32_t toggles;
	uint64_t replaced, in_time, late, modesets;
	const struct histogram *commit_us, *flip_us;

	bool copied;
	char copy_error[80];
	uint32_t pitch;
	uint64_t whole_bytes, rows_bytes;
	uint32_t runs;
	uint64_t whole_ns[PROBE_COPIES], rows_ns[PROBE_COPIES];

	uint64_t front_stalls;
};

struct probe_verdict {
	enum status_tag tag;
	const char *name;
	char text[256];
};

struct probe_plan probe_plan(uint32_t seconds);
/* Time to the next toggle: 10 a second, anywhere in a refresh. *seed: not 0. */
uint64_t probe_gap_ns(uint32_t *seed);
/* Sorts what it is given. */
struct probe_times probe_times(uint64_t *ns, uint64_t n);
/* Of the times of n flips in a row, which are overwritten. */
void probe_flips(uint64_t *flip_ns, uint64_t n, uint64_t refresh_ns, struct probe_flips *flips);
/* Of n runs that moved so many bytes each; sorts them. */
struct probe_speed probe_speed(uint64_t *ns, uint32_t n, uint64_t bytes);
/* At most PROBE_VERDICTS. */
uint32_t probe_verdicts(const struct probe_result *result, struct probe_verdict *verdict);
json_object *probe_json(const struct probe_result *result);
void probe_table(FILE *out, const struct probe_result *result);
