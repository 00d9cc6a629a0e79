#include "probe_report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/base.h"
#include "control/report.h"

#define COPIES_NS_MAX (3 * NSEC_PER_SEC)
#define GAP_NS (100 * NSEC_PER_MSEC)
#define BINS 12 /* of the toggles' histogram, four a refresh; what is slower goes into one more */

/* --- figures ------------------------------------------------------------------------------------------------------ */

struct probe_plan probe_plan(uint32_t seconds)
{
	uint64_t all = seconds * NSEC_PER_SEC, copies = all / 10;
	struct probe_plan plan = {.copies_ns = copies < COPIES_NS_MAX ? copies : COPIES_NS_MAX};
	plan.toggles_ns = all * 2 / 5;
	plan.flips_ns = all - plan.toggles_ns - plan.copies_ns;
	return plan;
}

uint64_t probe_gap_ns(uint32_t *seed)
{
	/* xorshift32 (Marsaglia): the same toggles in every run */
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return GAP_NS / 2 + *seed % GAP_NS;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static uint64_t rank(const uint64_t *sorted, uint64_t n, uint64_t per_hundred)
{
	return sorted[(n * per_hundred + 99) / 100 - 1];
}

struct probe_times probe_times(uint64_t *ns, uint64_t n)
{
	if (n == 0)
		return (struct probe_times){0};
	qsort(ns, n, sizeof *ns, by_value);
	return (struct probe_times){n, ns[0], rank(ns, n, 50), rank(ns, n, 95), rank(ns, n, 99), ns[n - 1]};
}

void probe_flips(uint64_t *flip_ns, uint64_t n, uint64_t refresh_ns, struct probe_flips *flips)
{
	memset(flips, 0, sizeof *flips);
	flips->flips = n;
	if (n < 2 || refresh_ns == 0)
		return;
	uint64_t *interval = flip_ns;
	for (uint64_t i = 0; i + 1 < n; i++)
		interval[i] = flip_ns[i + 1] > flip_ns[i] ? flip_ns[i + 1] - flip_ns[i] : 0;
	n--;
	flips->interval = probe_times(interval, n);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t refreshes = (interval[i] + refresh_ns / 2) / refresh_ns;
		if (refreshes == 0)
			refreshes = 1;
		flips->missed += refreshes - 1;
		flips->after[refreshes < PROBE_AFTER ? refreshes - 1 : PROBE_AFTER - 1]++;
		uint64_t whole = refreshes * refresh_ns;
		interval[i] = interval[i] > whole ? interval[i] - whole : whole - interval[i];
		histogram_record_us(&flips->jitter_histogram, interval[i] / NSEC_PER_USEC);
	}
	flips->jitter = probe_times(interval, n);
}

struct probe_speed probe_speed(uint64_t *ns, uint32_t n, uint64_t bytes)
{
	struct probe_times times = probe_times(ns, n);
	if (times.min == 0)
		return (struct probe_speed){0};
	return (struct probe_speed){n, (double)bytes / (double)times.p50, (double)bytes / (double)times.min, (double)bytes / (double)times.max};
}

static struct probe_speed speed_of(const uint64_t *ns, uint32_t n, uint64_t bytes)
{
	uint64_t copy[PROBE_COPIES];
	memcpy(copy, ns, n * sizeof *ns);
	return probe_speed(copy, n, bytes);
}

static double ms(uint64_t us)
{
	return (double)us / 1000.0;
}

static double us(uint64_t ns)
{
	return (double)ns / 1000.0;
}

static double refresh_us(const struct output *output)
{
	return output->refresh_mhz != 0 ? 1e9 / output->refresh_mhz : 0;
}

/* --- verdicts ----------------------------------------------------------------------------------------------------- */

struct list {
	struct probe_verdict *verdict;
	uint32_t n;
};

static void add(struct list *list, enum status_tag tag, const char *name, const char *format, ...) __attribute__((format(printf, 4, 5)));
static void add(struct list *list, enum status_tag tag, const char *name, const char *format, ...)
{
	struct probe_verdict *verdict = &list->verdict[list->n++];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(verdict->text, sizeof verdict->text, format, arguments);
	va_end(arguments);
	verdict->tag = tag;
	verdict->name = name;
}

static const char *yes(bool is)
{
	return is ? "yes" : "no";
}

static void judge_card(const struct probe_result *result, struct list *list)
{
	const struct survey *survey = &result->survey;
	const struct output *output = &result->output;
	add(list, STATUS_OK, "card", "%s%s%s", survey->driver, survey->path[0] != '\0' ? ", " : "", survey->path);
	if (!output->connected) {
		add(list, STATUS_BAD, "output", "no monitor connected");
	} else {
		add(list, STATUS_OK, "output", "%s, %s, %ux%u at %u.%03u Hz, %ux%u mm", output->name, output->monitor, output->width, output->height,
			output->refresh_mhz / 1000, output->refresh_mhz % 1000, output->width_mm, output->height_mm);
		add(list, output->vblank ? STATUS_OK : STATUS_OFF, "vblank", output->vblank ? "yes" : "no: a timer paces the flips");
	}
	if (survey->plane[SURVEY_PRIMARY].count != 0) {
		add(list, STATUS_OK, "planes", "%u primary, %u overlay, %u cursor (%ux%u); formats %u, %u, %u", survey->plane[SURVEY_PRIMARY].count,
			survey->plane[SURVEY_OVERLAY].count, survey->plane[SURVEY_CURSOR].count, survey->cursor_width, survey->cursor_height,
			survey->plane[SURVEY_PRIMARY].n_formats, survey->plane[SURVEY_OVERLAY].n_formats, survey->plane[SURVEY_CURSOR].n_formats);
		add(list, STATUS_OK, "driver", "damage clips %s, async flips %s (atomic %s), cursor hotspot %s", yes(survey->damage_clips), yes(survey->async_flip),
			yes(survey->atomic_async_flip), yes(survey->cursor_hotspot));
	}
	bool direct = result->copies[0] == '\0';
	add(list, direct ? STATUS_OK : STATUS_OFF, "zero-copy", "%s%s%s", direct ? "the guest's own pages" : "no: ", result->copies,
		direct && result->flush ? ", flushed from the CPU's caches" : "");
}

static void judge_flips(const struct probe_result *result, struct list *list)
{
	const struct probe_flips *flips = &result->flips;
	const struct probe_times *interval = &flips->interval;
	char latch[64] = "";
	if (flips->flips < 2) {
		add(list, STATUS_BAD, "flips", "%" PRIu64 " in %.1f s", flips->flips, result->flips_seconds);
		return;
	}
	/* One in a hundred is a hiccup; one in four, and the panel does not keep up. */
	uint64_t due = flips->flips + flips->missed;
	enum status_tag tag = flips->missed * 100 <= due ? STATUS_OK : flips->missed * 4 <= due ? STATUS_OFF : STATUS_BAD;
	if (result->output.vblank)
		snprintf(latch, sizeof latch, ", latch misses %" PRIu64, result->latch_misses);
	add(list, tag, "flips", "%" PRIu64 " in %.1f s, %s; refreshes missed %" PRIu64 "%s", flips->flips, result->flips_seconds,
		result->zero_copy ? "the pattern's own pages" : "copied", flips->missed, latch);
	add(list, tag, "interval", "min %.0f, p50 %.0f, p95 %.0f, p99 %.0f, max %.0f us; nominal %.0f", us(interval->min), us(interval->p50), us(interval->p95),
		us(interval->p99), us(interval->max), refresh_us(&result->output));
	add(list, tag, "jitter", "p50 %.1f, p95 %.1f, p99 %.1f, max %.1f us from whole refreshes", us(flips->jitter.p50), us(flips->jitter.p95),
		us(flips->jitter.p99), us(flips->jitter.max));
}

static void judge_toggles(const struct probe_result *result, struct list *list)
{
	struct histogram_summary flip, commit;
	histogram_summarise(result->flip_us, &flip);
	histogram_summarise(result->commit_us, &commit);
	uint64_t judged = result->in_time + result->late;
	/* With a vblank the latch promises one; without, two refreshes is what the tests ask for. */
	bool good = judged != 0 ? result->in_time * 100 >= judged * 95 : (double)flip.p95 <= 2 * refresh_us(&result->output);
	enum status_tag tag = flip.count == 0 ? STATUS_BAD : good && result->modesets == 0 ? STATUS_OK : STATUS_OFF;
	char vblank[64] = "";
	if (judged != 0)
		snprintf(vblank, sizeof vblank, "; at the first vblank %" PRIu64 " of %" PRIu64, result->in_time, judged);
	add(list, tag, "toggles", "%" PRIu64 " of %u shown, p50 %.1f, p95 %.1f, max %.1f ms; committed p50 %.1f, p95 %.1f ms%s%s", flip.count, result->toggles,
		ms(flip.p50), ms(flip.p95), ms(flip.max), ms(commit.p50), ms(commit.p95), vblank, result->modesets != 0 ? "; and a mode was set" : "");
}

static void judge_copies(const struct probe_result *result, struct list *list)
{
	if (result->copy_error[0] != '\0') {
		add(list, STATUS_BAD, "copy", "no framebuffer: %s", result->copy_error);
		return;
	}
	struct probe_speed whole = speed_of(result->whole_ns, result->runs, result->whole_bytes), rows = speed_of(result->rows_ns, result->runs, result->rows_bytes);
	double share = rows.median > 0 ? (double)result->rows_bytes / rows.median / 1000 / refresh_us(&result->output) : 0;
	add(list, rows.runs != 0 && share <= 0.5 ? STATUS_OK : STATUS_OFF, "copy", "%.2f GB/s whole, %.2f GB/s in rows (median of %u): a full frame takes %.0f %% of a refresh",
		whole.median, rows.median, result->runs, share * 100);
}

uint32_t probe_verdicts(const struct probe_result *result, struct probe_verdict *verdict)
{
	struct list list = {verdict, 0};
	if (result->surveyed)
		judge_card(result, &list);
	if (result->flipped)
		judge_flips(result, &list);
	if (result->toggled)
		judge_toggles(result, &list);
	if (result->copied)
		judge_copies(result, &list);
	return list.n;
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static void put(json_object *object, const char *name, json_object *value)
{
	json_object_object_add(object, name, value);
}

static void put_text(json_object *object, const char *name, const char *text)
{
	put(object, name, text[0] != '\0' ? json_object_new_string(text) : NULL);
}

static void put_number(json_object *object, const char *name, uint64_t value)
{
	put(object, name, json_object_new_uint64(value));
}

static void put_bool(json_object *object, const char *name, bool value)
{
	put(object, name, json_object_new_boolean(value));
}

/* As many digits as mean something. */
static void put_real(json_object *object, const char *name, double value)
{
	char text[32];
	snprintf(text, sizeof text, "%.3f", value);
	put(object, name, json_object_new_double_s(value, text));
}

static json_object *times_json(const struct probe_times *times)
{
	json_object *object = json_object_new_object();
	put_number(object, "count", times->count);
	put_real(object, "min", us(times->min));
	put_real(object, "p50", us(times->p50));
	put_real(object, "p95", us(times->p95));
	put_real(object, "p99", us(times->p99));
	put_real(object, "max", us(times->max));
	return object;
}

static json_object *plane_json(const struct survey *survey, enum survey_plane kind)
{
	json_object *object = json_object_new_object(), *formats = json_object_new_array();
	for (uint32_t i = 0; i < survey->plane[kind].n_formats; i++) {
		uint32_t format = survey->plane[kind].format[i];
		char name[5] = {0};
		for (uint32_t c = 0; c < 4; c++)
			name[c] = (format >> 8 * c & 0xff) - 0x20 < 0x5f ? (char)(format >> 8 * c & 0xff) : '?';
		json_object_array_add(formats, json_object_new_string(name));
	}
	put_number(object, "count", survey->plane[kind].count);
	put(object, "formats", formats);
	return object;
}

static json_object *card_json(const struct probe_result *result)
{
	const struct survey *survey = &result->survey;
	json_object *object = json_object_new_object(), *planes = json_object_new_object();
	put_text(object, "driver", survey->driver);
	put_text(object, "path", survey->path);
	put(planes, "primary", plane_json(survey, SURVEY_PRIMARY));
	put(planes, "overlay", plane_json(survey, SURVEY_OVERLAY));
	put(planes, "cursor", plane_json(survey, SURVEY_CURSOR));
	put(object, "planes", planes);
	put_number(object, "cursor_width", survey->cursor_width);
	put_number(object, "cursor_height", survey->cursor_height);
	put_bool(object, "damage_clips", survey->damage_clips);
	put_bool(object, "async_flip", survey->async_flip);
	put_bool(object, "atomic_async_flip", survey->atomic_async_flip);
	put_bool(object, "cursor_hotspot", survey->cursor_hotspot);
	put_bool(object, "zero_copy", result->copies[0] == '\0');
	put_text(object, "copies", result->copies);
	put_bool(object, "flush", result->flush);
	return object;
}

static json_object *output_json(const struct output *output)
{
	json_object *object = json_object_new_object();
	put_text(object, "connector", output->name);
	put_text(object, "monitor", output->monitor);
	put_number(object, "width", output->width);
	put_number(object, "height", output->height);
	put_real(object, "refresh", output->refresh_mhz / 1000.0);
	put_number(object, "width_mm", output->width_mm);
	put_number(object, "height_mm", output->height_mm);
	put_bool(object, "vblank", output->vblank);
	return object;
}

static json_object *flips_json(const struct probe_result *result)
{
	json_object *object = json_object_new_object(), *after = json_object_new_array();
	put_real(object, "seconds", result->flips_seconds);
	put_number(object, "count", result->flips.flips);
	put_text(object, "path", result->zero_copy ? "zero-copy" : "copy");
	put_real(object, "nominal_us", refresh_us(&result->output));
	put(object, "interval_us", times_json(&result->flips.interval));
	put(object, "jitter_us", times_json(&result->flips.jitter));
	put(object, "jitter_histogram_us", report_histogram(&result->flips.jitter_histogram));
	for (uint32_t i = 0; i < PROBE_AFTER; i++)
		json_object_array_add(after, json_object_new_uint64(result->flips.after[i]));
	put(object, "after_refreshes", after);
	put_number(object, "missed_refreshes", result->flips.missed);
	put(object, "latch_misses", result->output.vblank ? json_object_new_uint64(result->latch_misses) : NULL);
	return object;
}

static json_object *toggles_json(const struct probe_result *result)
{
	json_object *object = json_object_new_object();
	uint64_t judged = result->in_time + result->late;
	put_number(object, "asked", result->toggles);
	put_number(object, "replaced", result->replaced);
	put_number(object, "modesets", result->modesets);
	put(object, "commit_us", report_histogram(result->commit_us));
	put(object, "flip_us", report_histogram(result->flip_us));
	put_number(object, "in_time", result->in_time);
	put_number(object, "late", result->late);
	put(object, "first_vblank", NULL);
	if (judged != 0)
		put_real(object, "first_vblank", (double)result->in_time / (double)judged);
	return object;
}

static json_object *speed_json(const uint64_t *ns, uint32_t n, uint64_t bytes)
{
	struct probe_speed speed = speed_of(ns, n, bytes);
	json_object *object = json_object_new_object();
	put_number(object, "bytes", bytes);
	put_real(object, "median", speed.median);
	put_real(object, "best", speed.best);
	put_real(object, "worst", speed.worst);
	return object;
}

static json_object *copies_json(const struct probe_result *result)
{
	json_object *object = json_object_new_object();
	put_text(object, "error", result->copy_error);
	put_number(object, "runs", result->runs);
	put_number(object, "pitch", result->pitch);
	put(object, "whole_gb_s", speed_json(result->whole_ns, result->runs, result->whole_bytes));
	put(object, "rows_gb_s", speed_json(result->rows_ns, result->runs, result->rows_bytes));
	return object;
}

json_object *probe_json(const struct probe_result *result)
{
	json_object *object = json_object_new_object(), *lines = json_object_new_object();
	struct probe_verdict verdict[PROBE_VERDICTS];
	struct utsname host;
	put_text(object, "version", RAYVM_VERSION);
	put_text(object, "kernel", uname(&host) == 0 ? host.release : "");
	put_number(object, "seconds", result->seconds);
	put_bool(object, "complete", result->why[0] == '\0');
	put_text(object, "incomplete", result->why);
	uint32_t n = probe_verdicts(result, verdict);
	for (uint32_t i = 0; i < n; i++) {
		json_object *line = json_object_new_object();
		put_text(line, "tag", status_tag_text(verdict[i].tag));
		put_text(line, "text", verdict[i].text);
		put(lines, verdict[i].name, line);
	}
	put(object, "verdicts", lines);
	put(object, "card", result->surveyed ? card_json(result) : NULL);
	put(object, "output", result->surveyed && result->output.connected ? output_json(&result->output) : NULL);
	put(object, "flips", result->flipped ? flips_json(result) : NULL);
	put(object, "toggles", result->toggled ? toggles_json(result) : NULL);
	put(object, "copy", result->copied ? copies_json(result) : NULL);
	put_number(object, "front_stalls", result->front_stalls);
	return object;
}

/* --- lines for people --------------------------------------------------------------------------------------------- */

/* How long toggles took, in quarters of a refresh. */
static void print_bins(FILE *out, const struct probe_result *result)
{
	static const char bar[] = "########################################";
	double width = refresh_us(&result->output) / 4;
	uint64_t bin[BINS + 1] = {0}, most = 1;
	uint32_t last = 0;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t edge;
		uint32_t count = histogram_bucket(result->flip_us, i, &edge), at = width > 0 && (double)edge < BINS * width ? (uint32_t)((double)edge / width) : BINS;
		bin[at] += count;
		most = bin[at] > most ? bin[at] : most;
		last = count != 0 && at > last ? at : last;
	}
	for (uint32_t i = 0; i <= last; i++) {
		int length = (int)(bin[i] * (sizeof bar - 1) / most);
		if (i < BINS)
			fprintf(out, "     %5.1f to %5.1f ms %5" PRIu64 " %.*s\n", ms((uint64_t)(i * width)), ms((uint64_t)((i + 1) * width)), bin[i], length, bar);
		else
			fprintf(out, "     more              %5" PRIu64 " %.*s\n", bin[i], length, bar);
	}
}

void probe_table(FILE *out, const struct probe_result *result)
{
	struct probe_verdict verdict[PROBE_VERDICTS];
	struct utsname host;
	fprintf(out, "rayvm %s, Linux %s, %u s\n", RAYVM_VERSION, uname(&host) == 0 ? host.release : "?", result->seconds);
	uint32_t n = probe_verdicts(result, verdict);
	for (uint32_t i = 0; i < n; i++) {
		fprintf(out, "%s %-10s %s\n", status_tag_text(verdict[i].tag), verdict[i].name, verdict[i].text);
		if (strcmp(verdict[i].name, "toggles") == 0)
			print_bins(out, result);
	}
	if (result->front_stalls != 0)
		fprintf(out, "[--] %-10s %" PRIu64 " turns of the front thread took longer than 1 ms\n", "front", result->front_stalls);
	if (result->why[0] != '\0')
		fprintf(out, "Not everything was measured: %s.\n", result->why);
}
