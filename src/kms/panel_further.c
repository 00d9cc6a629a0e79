/*
 * Further outputs: each shows a head of the guest's own while the guest is presented, else black; nothing of the UI's. Copies on the primary plane, with the
 * head's pointer in them. Each has a latch and flips of its own, and whatever goes wrong with one is its own: the main output never waits for it.
 */
#define LOG_MODULE "panel"
#include <errno.h>
#include <string.h>

#include "base/stats.h"
#include "kms/panel_private.h"

/* The card does not show a picture there. What the guest drew last may not stay beside the UI. */
static enum latch_result switch_off(struct screen *screen, int error)
{
	struct panel *panel = screen->panel;
	const struct commit off = {.output = screen->number, .full = true, .epoch = screen->latch.epoch};
	bool done = panel->backend->ops->commit(panel->backend, &off) >= 0;
	panel->fulls += done;
	log_warn("%s shows no picture of its own (%s): %s until monitors change", screen->output.name, strerror(error), done ? "it is off" : "left as it is");
	screen->off = true;
	latch_dark(&screen->latch);
	if (screen->next.valid)
		panel_replace_now(screen);
	panel_tell_display(screen);
	panel_update_status(panel);
	panel_arm_tick(panel);
	return LATCH_NOTHING;
}

static enum latch_result failed(struct screen *screen, int error)
{
	struct panel *panel = screen->panel;
	uint32_t left_out;
	if (error == EBUSY)
		return LATCH_BUSY;
	if (error == ENODEV && panel->opener) {
		panel_card_lost(panel);
		return LATCH_NOTHING;
	}
	if (!commit_not_now(error))
		return screen->latch.full ? switch_off(screen, error) : LATCH_REFUSED;
	if (log_limit_pass(&screen->commit_limit, &left_out))
		log_warn("commit on %s: %s (another program holds the display, trying again)", screen->output.name, strerror(error));
	return LATCH_DENIED;
}

enum latch_result panel_commit_further(struct screen *screen)
{
	struct panel *panel = screen->panel;
	enum panel_face want = panel_wanted_face(screen);
	struct face *face = want == PANEL_FACES ? NULL : &panel->face[want];
	const struct shown *now = &screen->now;
	const struct scanout_buffer *buffer = face ? face->buffer[face->latest] : screen->black;
	bool full = screen->latch.full, same_face = now->valid && now->face == want && now->set == screen->set;
	/*
	 * The main one's whole state comes first: it takes away what another program left, on this one's CRTC as well. And nothing of the guest's is shown
	 * that could not be taken away again.
	 */
	if (!screen->black || (full && panel->screen[0].latch.full))
		return LATCH_NOTHING;
	if (same_face && !full && (!face || (now->index == face->latest && now->serial == face->serial[face->latest])))
		return LATCH_NOTHING;
	if (face && !panel_may_commit(screen, want, face->latest))
		return LATCH_NOTHING; /* goes out with the WORKER_READY that is to come */
	const struct rect whole = {0, 0, buffer->width, buffer->height};
	const struct commit commit = {
		.output = screen->number,
		.buffer = buffer,
		.damage = face && same_face && !full ? rect_intersect(face->damage, whole) : whole,
		.epoch = screen->latch.epoch,
		.full = full,
	};
	int result = panel->backend->ops->commit(panel->backend, &commit);
	if (result < 0)
		return failed(screen, errno);
	const struct shown next = panel_newest(screen, want);
	panel_accepted(screen, &next, true);
	if (full) {
		panel->fulls++;
		atomic_fetch_add(&panel->config.stats->modesets, 1);
		log_info("modeset: %s %ux%u %u.%03u Hz, the guest's head %u", screen->output.name, screen->output.width, screen->output.height,
			screen->output.refresh_mhz / 1000, screen->output.refresh_mhz % 1000, screen->number);
	}
	return result > 0 ? LATCH_SHOWN : LATCH_ACCEPTED;
}

static void news(struct screen *screen)
{
	panel_run_latch(screen, latch_news(&screen->latch, false, clock_now_ns()));
}

void panel_black_ready(struct panel *panel, const struct worker_event *event)
{
	struct screen *screen = &panel->screen[screen_of(event->face)];
	if (event->set != screen->set)
		return; /* made for a mode that is over */
	screen->black = event->buffer;
	news(screen);
}

void panel_light_further(struct panel *panel)
{
	for (uint32_t i = 1; i < panel->n_screens; i++)
		news(&panel->screen[i]);
}
