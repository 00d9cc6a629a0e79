#include "control/report.h"

#include <stddef.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"

static const char *presentation_name(enum presentation presentation)
{
	return presentation == PRESENTATION_PRESENTED ? "presented" : "hidden";
}

static void add_text(json_object *object, const char *name, const char *text)
{
	json_object_object_add(object, name, json_object_new_string(text));
}

static void add_number(json_object *object, const char *name, uint64_t value)
{
	json_object_object_add(object, name, json_object_new_uint64(value));
}

static json_object *size(uint32_t width, uint32_t height)
{
	json_object *object = json_object_new_object();
	add_number(object, "width", width);
	add_number(object, "height", height);
	return object;
}

/* Of all scanouts, the first one's too. */
static json_object *scanouts(const struct status *status)
{
	json_object *list = json_object_new_array();
	for (uint32_t i = 0; i < status->n_scanouts && i < STATUS_SCANOUTS; i++)
		json_object_array_add(list, i == 0 ? size(status->scanout_width, status->scanout_height) : size(status->further[i - 1].width, status->further[i - 1].height));
	return list;
}

static const char *card_name(enum status_card card)
{
	return card == STATUS_CARD_HERE ? "present" : card == STATUS_CARD_GONE ? "gone" : "none";
}

json_object *report_status(const struct status *status)
{
	static const char *const cursors[] = { [STATUS_CURSOR_NONE] = "none", [STATUS_CURSOR_PLANE] = "plane", [STATUS_CURSOR_SOFTWARE] = "software" };
	static const char *const slots[STATUS_SLOTS] = { "vm", "display", "input", "disk", "memory", "path", "control" };
	json_object *object = json_object_new_object();

	add_text(object, "version", RAYVM_VERSION);
	add_text(object, "presentation", presentation_name(status->presentation));
	add_text(object, "vm", status_vm_name(status->vm));
	add_number(object, "desktop", (uint64_t)status_desktop_number(status));
	add_text(object, "session", status->session == SESSION_ACTIVE ? "active" : "inactive");
	json_object_object_add(object, "scanout", size(status->scanout_width, status->scanout_height));
	json_object_object_add(object, "scanouts", scanouts(status));
	add_text(object, "display", status->blanked ? "off" : "on");
	add_text(object, "card", card_name(status->card));
	json_object_object_add(object, "first_frame", json_object_new_boolean(status->first_frame));
	add_text(object, "path", status->zero_copy ? "zero-copy" : "copy");
	add_text(object, "scaling", status->bilinear ? "bilinear" : "nearest");
	add_text(object, "cursor", cursors[status->cursor]);
	add_number(object, "keyboards", status->keyboards);
	add_number(object, "pointers", status->pointers);

	json_object *outputs = json_object_new_array();
	for (uint32_t i = 0; i < status->n_outputs && i < STATUS_OUTPUTS; i++) {
		json_object *output = size(status->output[i].width, status->output[i].height);
		add_text(output, "name", status->output[i].name);
		json_object_object_add(output, "refresh", json_object_new_double(status->output[i].refresh_mhz / 1000.0));
		json_object_object_add(output, "connected", json_object_new_boolean(status->output[i].connected));
		json_object_object_add(output, "mirror", json_object_new_boolean(status->output[i].mirror));
		json_object_array_add(outputs, output);
	}
	json_object_object_add(object, "outputs", outputs);

	json_object *lines = json_object_new_object();
	for (int i = 0; i < STATUS_SLOTS; i++) {
		if (status->line[i].tag == STATUS_NONE)
			continue;
		json_object *line = json_object_new_object();
		add_text(line, "tag", status_tag_text(status->line[i].tag));
		add_text(line, "text", status->line[i].text);
		json_object_object_add(lines, slots[i], line);
	}
	json_object_object_add(object, "lines", lines);
	return object;
}

static const struct {
	const char *name;
	size_t offset;
} counters[] = {
#define COUNTER(field) { #field, offsetof(struct stats, field) }
	COUNTER(frames_flushed), COUNTER(frames_presented), COUNTER(frames_dropped), COUNTER(bytes_copied),
	COUNTER(bytes_damaged), COUNTER(modesets), COUNTER(commits), COUNTER(toggles), COUNTER(toggles_replaced),
	COUNTER(toggles_in_time), COUNTER(toggles_late), COUNTER(toggles_late_max), COUNTER(latch_misses), COUNTER(front_stalls), COUNTER(front_stalls_own),
	COUNTER(input_dropped), COUNTER(vcpu_exits), COUNTER(disk_requests), COUNTER(disk_bytes), COUNTER(disk_errors),
	COUNTER(console_dropped), COUNTER(net_dropped),
	COUNTER(disk_syscalls),
#undef COUNTER
}, histograms[] = {
	{ "key_read_us", offsetof(struct stats, key_read_us) },
	{ "toggle_commit_us", offsetof(struct stats, toggle_commit_us) },
	{ "toggle_flip_us", offsetof(struct stats, toggle_flip_us) },
	{ "key_guest_us", offsetof(struct stats, key_guest_us) },
};

/* What is counted, as [largest microseconds, count]. */
static json_object *buckets(const struct histogram *histogram)
{
	json_object *list = json_object_new_array();
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t edge;
		uint32_t count = histogram_bucket(histogram, i, &edge);
		if (count == 0)
			continue;
		json_object *pair = json_object_new_array_ext(2);
		json_object_array_add(pair, json_object_new_uint64(edge));
		json_object_array_add(pair, json_object_new_uint64(count));
		json_object_array_add(list, pair);
	}
	return list;
}

json_object *report_histogram(const struct histogram *source)
{
	struct histogram_summary summary;
	histogram_summarise(source, &summary);
	json_object *histogram = json_object_new_object();
	add_number(histogram, "count", summary.count);
	add_number(histogram, "p50", summary.p50);
	add_number(histogram, "p95", summary.p95);
	add_number(histogram, "p99", summary.p99);
	add_number(histogram, "max", summary.max);
	json_object_object_add(histogram, "buckets", buckets(source));
	return histogram;
}

/* A time of a late toggle, in microseconds since its event; before it, negative. */
static void add_since(json_object *object, const char *name, uint64_t at_ns, uint64_t event_ns)
{
	json_object_object_add(object, name, json_object_new_int64((int64_t)(at_ns - event_ns) / (int64_t)NSEC_PER_USEC));
}

static json_object *late_toggle(const struct late_toggle *toggle, uint64_t number)
{
	json_object *object = json_object_new_object();
	uint64_t event = toggle->event_ns;
	add_number(object, "number", number);
	add_number(object, "event_ns", event);
	if (toggle->key_ns != 0)
		add_since(object, "key_us", toggle->key_ns, event);
	add_since(object, "read_turn_us", toggle->read_turn_ns, event);
	add_since(object, "read_us", toggle->read_ns, event);
	add_number(object, "margin_us", toggle->margin_ns / NSEC_PER_USEC);
	add_since(object, "due_us", toggle->due_ns, event);
	add_since(object, "commit_turn_us", toggle->commit_turn_ns, event);
	add_since(object, "commit_us", toggle->commit_ns, event);
	add_since(object, "committed_us", toggle->committed_ns, event);
	if (toggle->flip_ns != 0)
		add_since(object, "flip_us", toggle->flip_ns, event);
	if (toggle->ahead_commit_ns != 0) {
		add_since(object, "ahead_commit_us", toggle->ahead_commit_ns, event);
		if (toggle->ahead_target_ns != 0)
			add_since(object, "ahead_target_us", toggle->ahead_target_ns, event);
		add_since(object, "ahead_flip_us", toggle->ahead_flip_ns, event);
	}
	add_number(object, "vblanks", toggle->vblanks);
	add_number(object, "cpu", toggle->cpu);
	if (toggle->stall_ns != 0) {
		add_since(object, "stall_us", toggle->stall_ns, event);
		add_since(object, "stall_end_us", toggle->stall_end_ns, event);
		add_number(object, "stall_cpu_us", toggle->stall_cpu_ns / NSEC_PER_USEC);
	}
	return object;
}

static json_object *late_toggles(const struct late_toggles *late)
{
	struct late_toggle toggle[LATE_KEPT];
	uint64_t first;
	json_object *list = json_object_new_array();
	uint32_t n = late_read(late, toggle, &first);
	for (uint32_t i = 0; i < n; i++)
		json_object_array_add(list, late_toggle(&toggle[i], first + i));
	return list;
}

json_object *report_stats(const struct stats *stats)
{
	json_object *object = json_object_new_object();
	for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
		const _Atomic uint64_t *value = (const _Atomic uint64_t *)(const void *)((const char *)stats + counters[i].offset);
		add_number(object, counters[i].name, atomic_load_explicit(value, memory_order_relaxed));
	}
	for (size_t i = 0; i < ARRAY_LEN(histograms); i++) {
		const struct histogram *source = (const struct histogram *)(const void *)((const char *)stats + histograms[i].offset);
		json_object_object_add(object, histograms[i].name, report_histogram(source));
	}
	json_object_object_add(object, "late", late_toggles(&stats->late));
	add_number(object, "log_dropped", log_dropped());
	return object;
}

void report_stats_reset(struct stats *stats)
{
	for (size_t i = 0; i < ARRAY_LEN(counters); i++)
		atomic_store((_Atomic uint64_t *)(void *)((char *)stats + counters[i].offset), 0);
	for (size_t i = 0; i < ARRAY_LEN(histograms); i++)
		histogram_reset((struct histogram *)(void *)((char *)stats + histograms[i].offset));
	late_reset(&stats->late);
}

static json_object *event(const char *name)
{
	json_object *object = json_object_new_object();
	add_text(object, "event", name);
	return object;
}

void report_events(const struct status *old, const struct status *now, void (*send)(void *data, json_object *event), void *data)
{
	if (old->presentation != now->presentation) {
		json_object *object = event("presentation");
		add_text(object, "state", presentation_name(now->presentation));
		send(data, object);
	}
	if (old->vm != now->vm) {
		json_object *object = event("vm-state");
		add_text(object, "state", status_vm_name(now->vm));
		send(data, object);
	}
	if (old->session != now->session) {
		json_object *object = event("session");
		add_text(object, "state", now->session == SESSION_ACTIVE ? "active" : "inactive");
		send(data, object);
	}
	if (old->blanked != now->blanked) {
		json_object *object = event("display");
		add_text(object, "state", now->blanked ? "off" : "on");
		send(data, object);
	}
	if (old->card != now->card) {
		json_object *object = event("card");
		add_text(object, "state", card_name(now->card));
		send(data, object);
	}
	if (old->scanout_width != now->scanout_width || old->scanout_height != now->scanout_height) {
		json_object *object = event("scanout");
		json_object_object_add(object, "scanout", size(now->scanout_width, now->scanout_height));
		send(data, object);
	}
	if (memcmp(old->further, now->further, sizeof now->further) != 0) {
		json_object *object = event("scanouts");
		json_object_object_add(object, "scanouts", scanouts(now));
		send(data, object);
	}
	if (!old->first_frame && now->first_frame)
		send(data, event("first-frame"));
}
