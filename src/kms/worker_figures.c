#include "kms/worker_private.h"

#include "base/stats.h"
#include "kms/strip.h"

#define FIGURES_EVERY_NS NSEC_PER_SEC /* new figures */

static struct figures_counts count(const struct stats *stats, uint64_t now)
{
	return (struct figures_counts){
		.at_ns = now,
		.frames = atomic_load_explicit(&stats->frames_presented, memory_order_relaxed),
		.commits = atomic_load_explicit(&stats->commits, memory_order_relaxed),
		.copied = atomic_load_explicit(&stats->bytes_copied, memory_order_relaxed),
	};
}

/* Those of the main screen, the hidden one, too: a toggle shows what was composed of it last. */
static void compose_all(struct worker *worker)
{
	for (uint32_t f = 0; f < PANEL_FACES; f++) {
		if (screen_of((enum panel_face)f) != 0 || !worker_head(worker, (enum panel_face)f))
			continue;
		worker->face[f].outstanding = true;
		worker->face[f].next_ns = 0;
	}
}

static void renew(struct worker *worker, uint64_t now)
{
	struct stats *stats = worker->config.stats;
	enum figures_path path = !worker_head(worker, PANEL_FACE_GUEST) ? FIGURES_NO_PICTURE : worker->figures.zero_copy ? FIGURES_ZERO_COPY : FIGURES_COPY;
	struct figures_counts counts = count(stats, now);
	struct histogram_summary flip, commit;
	histogram_summarise(&stats->toggle_flip_us, &flip);
	histogram_summarise(&stats->toggle_commit_us, &commit);
	figures_write(&worker->figures.text, &worker->figures.then, &counts, &flip, &commit, path);
	worker->figures.serial++;
	worker->figures.then = counts;
	worker->figures.due_ns = now + FIGURES_EVERY_NS;
	compose_all(worker);
}

struct rect worker_figures_place(const struct worker *worker, const struct set *set)
{
	const struct rect content = strip_layout(worker->config.strip, set->width, set->height).content;
	struct rect place = figures_place(content.w, content.h);
	place.y += content.y;
	return place;
}

void worker_show_figures(struct worker *worker, bool on, uint64_t now)
{
	if (worker->figures.on == on)
		return;
	worker->figures.on = on;
	if (!on) {
		compose_all(worker);
		return;
	}
	worker->figures.zero_copy = worker->face[PANEL_FACE_GUEST].direct;
	worker->figures.then = count(worker->config.stats, now);
	renew(worker, now);
}

void worker_refresh_figures(struct worker *worker, uint64_t now)
{
	if (worker->figures.on && worker->visible && now >= worker->figures.due_ns)
		renew(worker, now);
}
