#include <sched.h>

#include "base/stats.h"
#include "kms/panel_private.h"

#define STALLS_TOLD_NS (100 * NSEC_PER_MSEC) /* with a late toggle: a long turn that ended so long before it, in which an earlier commit may have been late */

static uint64_t us_between(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (to_ns - from_ns) / NSEC_PER_USEC : 0;
}

/* It was not on the screen in time but at `time`, so many vblanks later; 0: never. */
static void late(struct stats *stats, struct late_toggle *toggle, uint64_t time, uint64_t vblanks)
{
	const struct turns *turns = &stats->turns;
	if (turns->stall_end_ns + STALLS_TOLD_NS > toggle->event_ns) {
		toggle->stall_ns = turns->stall_ns;
		toggle->stall_end_ns = turns->stall_end_ns;
		toggle->stall_cpu_ns = turns->stall_cpu_ns;
	}
	toggle->flip_ns = time;
	toggle->vblanks = vblanks;
	if (vblanks > atomic_load(&stats->toggles_late_max))
		atomic_store(&stats->toggles_late_max, vblanks);
	atomic_fetch_add(&stats->toggles_late, 1);
	late_record(&stats->late, toggle);
}

/* Where its commit is made, or was not. */
static void commit_steps(const struct screen *screen, struct late_toggle *toggle, uint64_t began, uint64_t ended)
{
	toggle->commit_turn_ns = screen->panel->config.stats->turns.began_ns;
	toggle->commit_ns = began;
	toggle->committed_ns = ended;
	toggle->ahead_flip_ns = screen->latch.flip_ns;
	toggle->cpu = (uint64_t)sched_getcpu();
}

/* The last toggle is in no commit yet, and there will be none for it. */
static void replaced(struct panel *panel, uint64_t now)
{
	struct late_toggle *toggle = &panel->toggle;
	const struct screen *main = &panel->screen[0];
	atomic_fetch_add(&panel->config.stats->toggles_replaced, 1);
	if (!toggle->due_ns || now <= toggle->due_ns)
		return;
	commit_steps(main, toggle, now, now);
	late(panel->config.stats, toggle, 0, (now - toggle->due_ns) / main->latch.refresh_ns + 1);
}

void panel_toggle_begins(struct panel *panel, uint64_t event_ns)
{
	struct stats *stats = panel->config.stats;
	const struct latch *latch = &panel->screen[0].latch;
	bool in_flight = latch->state == LATCH_FLIP;
	uint64_t now = clock_now_ns();
	if (panel->toggled)
		replaced(panel, now);
	panel->toggle = (struct late_toggle){
		.key_ns = stats->turns.key_ns,
		.event_ns = event_ns,
		.read_turn_ns = stats->turns.began_ns,
		.read_ns = now,
		.margin_ns = latch_margin(latch),
		.due_ns = event_ns ? latch_due(latch, event_ns) : 0,
		.ahead_commit_ns = in_flight ? latch->commit_ns : 0,
		.ahead_target_ns = in_flight ? latch->target_ns : 0,
	};
	panel->toggled = latch->state != LATCH_DARK;
	atomic_fetch_add(&stats->toggles, 1);
}

void panel_toggle_committed(struct screen *screen, uint64_t began)
{
	struct panel *panel = screen->panel;
	struct late_toggle *toggle = &screen->next.toggle;
	panel->toggled = false;
	*toggle = panel->toggle;
	commit_steps(screen, toggle, began, clock_now_ns());
	if (toggle->event_ns)
		histogram_record_us(&panel->config.stats->toggle_commit_us, us_between(toggle->event_ns, toggle->committed_ns));
}

void panel_toggle_shown(struct screen *screen, uint64_t time)
{
	struct late_toggle toggle = screen->now.toggle;
	struct stats *stats = screen->panel->config.stats;
	uint64_t refresh = screen->latch.refresh_ns;
	screen->now.toggle.event_ns = 0;
	if (!toggle.event_ns)
		return;
	histogram_record_us(&stats->toggle_flip_us, us_between(toggle.event_ns, time));
	if (!toggle.due_ns)
		return;
	if (latch_in_time(&screen->latch, toggle.due_ns, time))
		atomic_fetch_add(&stats->toggles_in_time, 1);
	else
		late(stats, &toggle, time, (time - toggle.due_ns + refresh / 2) / refresh);
}
