/* What --probe-panel makes of its figures. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "probe_report.h"

#define MS 1000000ull
#define REFRESH (10 * MS)

static struct probe_result result;
static struct histogram commit_us, flip_us;

/* A card that does everything right, at 100 Hz. */
static void good(void)
{
	memset(&commit_us, 0, sizeof commit_us);
	memset(&flip_us, 0, sizeof flip_us);
	result = (struct probe_result){
		.seconds = 3, .surveyed = true, .flipped = true, .toggled = true, .copied = true, .commit_us = &commit_us, .flip_us = &flip_us,
		.output = {.connected = true, .name = "DP-1", .monitor = "A monitor", .width = 1000, .height = 500, .refresh_mhz = 100000, .vblank = true},
		.survey = {.driver = "good", .path = "/dev/dri/card0", .damage_clips = true},
		.flips_seconds = 1.5, .toggles = 20, .in_time = 20,
		.pitch = 4096, .whole_bytes = 2048000, .rows_bytes = 2000000, .runs = 3,
		.whole_ns = {MS, MS, MS}, .rows_ns = {MS, 2 * MS, MS},
	};
	result.survey.plane[SURVEY_PRIMARY].count = 1;
	result.survey.plane[SURVEY_PRIMARY].n_formats = 2;
	memcpy(result.survey.plane[SURVEY_PRIMARY].format, (uint32_t[]){0x34325258, 0x00000001}, 8); /* XR24, and nonsense */
	uint64_t flip[150];
	for (uint32_t i = 0; i < 150; i++)
		flip[i] = i * REFRESH;
	probe_flips(flip, 150, REFRESH, &result.flips);
	for (uint32_t i = 0; i < 20; i++) {
		histogram_record_us(&commit_us, 1000);
		histogram_record_us(&flip_us, 5000 + 100 * i);
	}
}

static enum status_tag tag_of(const char *name)
{
	struct probe_verdict verdict[PROBE_VERDICTS];
	uint32_t n = probe_verdicts(&result, verdict);
	ck_assert_uint_le(n, PROBE_VERDICTS);
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(verdict[i].name, name) == 0)
			return verdict[i].tag;
	return STATUS_NONE;
}

START_TEST(plans)
{
	for (uint32_t seconds = 1; seconds <= 600; seconds++) {
		struct probe_plan plan = probe_plan(seconds);
		ck_assert_uint_eq(plan.flips_ns + plan.toggles_ns + plan.copies_ns, seconds * NSEC_PER_SEC);
		ck_assert(plan.flips_ns >= plan.toggles_ns && plan.copies_ns > 0 && plan.copies_ns <= 3 * NSEC_PER_SEC);
	}
	/* Ten toggles a second, at every phase of a refresh; never two within 50 ms, where the second would replace the first. */
	uint32_t seed = 1, phase[10] = {0};
	uint64_t at = 0;
	for (uint32_t i = 0; i < 1000; i++) {
		uint64_t gap = probe_gap_ns(&seed);
		ck_assert(gap >= 50 * MS && gap < 150 * MS);
		at += gap;
		phase[at % REFRESH / MS]++;
	}
	ck_assert(at > 95000 * MS && at < 105000 * MS);
	for (uint32_t i = 0; i < 10; i++)
		ck_assert_msg(phase[i] > 60 && phase[i] < 140, "%u of 1000 toggles in tenth %u of a refresh", phase[i], i);
}
END_TEST

START_TEST(ranks)
{
	uint64_t ns[100];
	for (uint32_t i = 0; i < 100; i++)
		ns[i] = 100 - i;
	struct probe_times times = probe_times(ns, 100);
	ck_assert(times.count == 100 && times.min == 1 && times.p50 == 50 && times.p95 == 95 && times.p99 == 99 && times.max == 100);
	times = probe_times(ns, 1);
	ck_assert(times.count == 1 && times.min == 1 && times.p50 == 1 && times.p99 == 1 && times.max == 1);
	times = probe_times(ns, 0);
	ck_assert(times.count == 0 && times.max == 0);
}
END_TEST

START_TEST(intervals)
{
	/* One refresh, one that is 20 us late and the next early again, two, six; then time stands still. */
	uint64_t flip[] = {100 * MS, 110 * MS, 120 * MS + 20000, 130 * MS, 150 * MS, 210 * MS, 210 * MS};
	struct probe_flips flips;
	probe_flips(flip, ARRAY_LEN(flip), REFRESH, &flips);
	ck_assert_uint_eq(flips.flips, 7);
	ck_assert_uint_eq(flips.interval.count, 6);
	ck_assert_uint_eq(flips.missed, 1 + 5);
	ck_assert(flips.after[0] == 4 && flips.after[1] == 1 && flips.after[2] == 0 && flips.after[3] == 1);
	ck_assert(flips.interval.min == 0 && flips.interval.p50 == REFRESH && flips.interval.max == 60 * MS);
	ck_assert(flips.jitter.p50 == 0 && flips.jitter.max == REFRESH);
	struct histogram_summary jitter;
	histogram_summarise(&flips.jitter_histogram, &jitter);
	ck_assert(jitter.count == 6 && jitter.p50 == 0 && jitter.max == 10000);
	/* Too few for an interval, and a display that nothing is known of. */
	probe_flips(flip, 1, REFRESH, &flips);
	ck_assert(flips.flips == 1 && flips.interval.count == 0);
	probe_flips(flip, 0, 0, &flips);
	ck_assert(flips.flips == 0 && flips.interval.count == 0);
}
END_TEST

START_TEST(speeds)
{
	uint64_t ns[] = {2000, 1000, 4000};
	struct probe_speed speed = probe_speed(ns, 3, 8000);
	ck_assert(speed.runs == 3 && speed.median == 4.0 && speed.best == 8.0 && speed.worst == 2.0);
	speed = probe_speed(ns, 0, 8000);
	ck_assert(speed.runs == 0 && speed.median == 0);
}
END_TEST

START_TEST(verdicts)
{
	static const char *const all[] = {"card", "output", "vblank", "planes", "driver", "zero-copy", "flips", "interval", "jitter", "toggles", "copy"};
	good();
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		ck_assert_msg(tag_of(all[i]) == STATUS_OK, "%s", all[i]);
	result.output.vblank = false;
	strcpy(result.copies, "good shows no memory but its own");
	ck_assert_int_eq(tag_of("vblank"), STATUS_OFF);
	ck_assert_int_eq(tag_of("zero-copy"), STATUS_OFF);

	good();
	result.flips.missed = 2; /* of 152 */
	ck_assert_int_eq(tag_of("flips"), STATUS_OFF);
	result.flips.missed = 60; /* of 210 */
	ck_assert_int_eq(tag_of("flips"), STATUS_BAD);
	result.flips.flips = 1;
	ck_assert_int_eq(tag_of("flips"), STATUS_BAD);

	good();
	result.in_time = 18;
	result.late = 2;
	ck_assert_int_eq(tag_of("toggles"), STATUS_OFF);
	/* Without a vblank two refreshes are allowed. */
	result.in_time = result.late = 0;
	ck_assert_int_eq(tag_of("toggles"), STATUS_OK);
	for (uint32_t i = 0; i < 10; i++)
		histogram_record_us(&flip_us, 30000);
	ck_assert_int_eq(tag_of("toggles"), STATUS_OFF);
	good();
	result.modesets = 1;
	ck_assert_int_eq(tag_of("toggles"), STATUS_OFF);
	histogram_reset(&flip_us);
	ck_assert_int_eq(tag_of("toggles"), STATUS_BAD);

	/* A copy of a frame that leaves no time for anything else. */
	good();
	result.rows_ns[0] = result.rows_ns[1] = result.rows_ns[2] = 6 * MS;
	ck_assert_int_eq(tag_of("copy"), STATUS_OFF);
	strcpy(result.copy_error, "Cannot allocate memory");
	ck_assert_int_eq(tag_of("copy"), STATUS_BAD);

	good();
	result.output.connected = false;
	ck_assert_int_eq(tag_of("output"), STATUS_BAD);
	ck_assert_int_eq(tag_of("vblank"), STATUS_NONE);
}
END_TEST

static json_object *at(json_object *object, const char *path)
{
	char copy[100], *rest = copy;
	strcpy(copy, path);
	for (char *name = strsep(&rest, "/"); name != NULL; name = strsep(&rest, "/"))
		ck_assert_msg(json_object_object_get_ex(object, name, &object), "no %s in %s", name, path);
	return object;
}

START_TEST(json)
{
	good();
	json_object *object = probe_json(&result);
	ck_assert(json_object_get_boolean(at(object, "complete")));
	ck_assert_ptr_null(at(object, "incomplete"));
	ck_assert_str_eq(json_object_get_string(at(object, "verdicts/flips/tag")), "[OK]");
	ck_assert_str_eq(json_object_to_json_string_ext(at(object, "card/planes/primary/formats"), 0), "[\"XR24\",\"????\"]");
	ck_assert_int_eq(json_object_get_int(at(object, "output/width")), 1000);
	ck_assert(json_object_get_double(at(object, "flips/nominal_us")) == 10000.0);
	ck_assert_str_eq(json_object_to_json_string_ext(at(object, "flips/after_refreshes"), 0), "[149,0,0,0]");
	ck_assert_int_eq(json_object_get_int(at(object, "flips/latch_misses")), 0);
	ck_assert_int_eq(json_object_get_int(at(object, "toggles/flip_us/count")), 20);
	ck_assert(json_object_get_double(at(object, "toggles/first_vblank")) == 1.0);
	ck_assert(json_object_get_double(at(object, "copy/rows_gb_s/median")) == 2.0);
	json_object_put(object);
	/* Nothing was measured: the fields are there, and null. */
	result = (struct probe_result){.seconds = 1, .why = "no monitor is connected", .commit_us = &commit_us, .flip_us = &flip_us};
	object = probe_json(&result);
	ck_assert(!json_object_get_boolean(at(object, "complete")));
	ck_assert_str_eq(json_object_get_string(at(object, "incomplete")), "no monitor is connected");
	static const char *const parts[] = {"card", "output", "flips", "toggles", "copy"};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		ck_assert_ptr_null(at(object, parts[i]));
	json_object_put(object);
}
END_TEST

START_TEST(table)
{
	char *text = NULL;
	size_t size = 0;
	good();
	strcpy(result.why, "it was asked to end early");
	histogram_record_us(&flip_us, 90000);
	FILE *out = open_memstream(&text, &size);
	probe_table(out, &result);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "[OK] output     DP-1, A monitor, 1000x500 at 100.000 Hz"));
	ck_assert_ptr_nonnull(strstr(text, "5.0 to   7.5 ms    20 ####"));
	ck_assert_ptr_nonnull(strstr(text, "more                  1 ##\n"));
	ck_assert_ptr_nonnull(strstr(text, "Not everything was measured: it was asked to end early.\n"));
	free(text);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("probe");
	TCase *c = tcase_create("report");
	tcase_add_test(c, plans);
	tcase_add_test(c, ranks);
	tcase_add_test(c, intervals);
	tcase_add_test(c, speeds);
	tcase_add_test(c, verdicts);
	tcase_add_test(c, json);
	tcase_add_test(c, table);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
