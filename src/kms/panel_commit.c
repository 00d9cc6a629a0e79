#define LOG_MODULE "panel"
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>

#include "base/stats.h"
#include "kms/layout.h"
#include "kms/panel_private.h"

void panel_arm(int fd, uint64_t at_ns)
{
	/* 0 disarms; a time in the past fires at once. */
	struct itimerspec at = {.it_value = {.tv_sec = (time_t)(at_ns / NSEC_PER_SEC), .tv_nsec = (long)(at_ns % NSEC_PER_SEC)}};
	if (timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL) != 0)
		log_error("timerfd: %s", strerror(errno));
}

/* 0: never. */
static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a && (!b || a < b) ? a : b;
}

void panel_arm_latch(struct panel *panel)
{
	uint64_t first = sooner(panel->blank_ns, panel->card_ns);
	for (uint32_t i = 0; i < panel->n_screens; i++)
		first = sooner(first, panel->screen[i].latch.timer_ns);
	/* A timer that is set for earlier is left alone: it finds nothing to do once, and each frame would set the flip's watchdog and stop it. */
	if (!first || (panel->latch_armed_ns && panel->latch_armed_ns <= first))
		return;
	panel->latch_armed_ns = first;
	panel_arm(panel->latch_fd, first);
}

uint64_t panel_refresh_ns(const struct screen *screen)
{
	return screen->output.refresh_mhz ? NSEC_PER_SEC * 1000 / screen->output.refresh_mhz : 16666667;
}

enum panel_face panel_wanted_face(const struct screen *screen)
{
	const struct panel *panel = screen->panel;
	enum panel_face guest = (enum panel_face)(PANEL_FACE_GUEST + screen->number);
	struct layout_state state = {.presentation = panel->presentation, .guest_scanout = panel->face[guest].width != 0};
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		state.complete[f] = panel->face[f].complete;
	return screen->number ? layout_further(&state, guest) : layout_face(&state);
}

static bool holds(const struct panel *panel, enum panel_face face, uint32_t set, uint32_t index)
{
	const struct screen *screen = &panel->screen[screen_of(face)];
	const struct shown *now = &screen->now, *next = &screen->next;
	return (set == screen->set && panel->face[face].complete && panel->face[face].latest == index) ||
	       (now->valid && now->face == face && now->set == set && now->index == index) ||
	       (next->valid && next->face == face && next->set == set && next->index == index);
}

/* Gives a framebuffer back to the worker unless it is still needed. Old sets go as a whole. */
void panel_let_go(struct panel *panel, enum panel_face face, uint32_t set, uint32_t index)
{
	/* Black goes with its set. */
	if (face != PANEL_FACES && set == panel->screen[screen_of(face)].set && !holds(panel, face, set, index))
		worker_post(panel->worker,
			&(struct front_event){.type = FRONT_FREE, .set = set, .face = face, .index = index, .serial = panel->face[face].serial[index],
				.seen = panel->face[face].seen[index]});
}

void panel_replace_now(struct screen *screen)
{
	struct panel *panel = screen->panel;
	struct shown old = screen->now;
	screen->now = screen->next;
	screen->next.valid = false;
	if (old.valid && old.pointer.shown)
		panel_let_go_pointer(panel, &old.pointer);
	if (!old.valid || old.set != screen->now.set)
		worker_post(panel->worker, &(struct front_event){.type = FRONT_DROP, .screen = screen->number, .set = screen->now.set});
	else
		panel_let_go(panel, old.face, old.set, old.index);
}

struct shown panel_newest(const struct screen *screen, enum panel_face face)
{
	struct shown shown = {.valid = true, .face = face, .set = screen->set};
	if (face == PANEL_FACES)
		return shown;
	const struct face *from = &screen->panel->face[face];
	shown.index = from->latest;
	shown.sequence = from->sequence[from->latest];
	shown.serial = from->serial[from->latest];
	shown.drawn = from->drawn[from->latest];
	return shown;
}

void panel_accepted(struct screen *screen, const struct shown *next, bool picture)
{
	struct panel *panel = screen->panel;
	struct shown unreported = screen->next; /* valid only when its flip was never reported */
	atomic_fetch_add(&panel->config.stats->commits, 1);
	screen->next = *next;
	if (picture)
		screen->picture_ns = clock_now_ns();
	if (picture && next->face != PANEL_FACES)
		panel->face[next->face].damage = (struct rect){0};
	if (unreported.valid) {
		panel_let_go(panel, unreported.face, unreported.set, unreported.index);
		if (unreported.pointer.shown)
			panel_let_go_pointer(panel, &unreported.pointer);
	}
}

static void shown_main(struct screen *screen, uint64_t time)
{
	struct panel *panel = screen->panel;
	struct shown *now = &screen->now;
	struct face *face = &panel->face[now->face];
	if (now->set == screen->set && now->serial == face->serial[now->index])
		face->seen[now->index] = true;
	panel_toggle_shown(screen, time);
	panel_tell_pointer(panel);
	if (now->face == PANEL_FACE_GUEST) {
		if (panel->direct != (now->index >= FACE_BUFFERS))
			panel_tell_path(panel);
		if (now->sequence > panel->last_guest) {
			atomic_fetch_add(&panel->config.stats->frames_presented, 1);
			atomic_fetch_add(&panel->config.stats->frames_dropped, now->sequence - panel->last_guest - 1);
			panel->last_guest = now->sequence;
		}
		if (panel->first_frame_due) {
			panel->first_frame_due = false;
			if (panel->config.first_frame)
				panel->config.first_frame(panel->config.data, face->width, face->height);
		}
	}
}

/* `next` is on the screen since `time`. */
static void shown(struct screen *screen, uint64_t time)
{
	struct panel *panel = screen->panel;
	panel_replace_now(screen);
	if (screen->number == 0)
		shown_main(screen, time);
	const struct shown *now = &screen->now;
	if (now->face == PANEL_FACES)
		return;
	struct face *face = &panel->face[now->face];
	if (now->sequence > face->presented) {
		face->presented = now->sequence;
		face->newest = max_u64(face->newest, now->sequence);
		outbox_presented(&panel->outbox[producer_of(now->face)], head_of(now->face), now->sequence, time);
	}
	panel_arm_tick(panel);
}

/* The card does not show the guest's own buffer. The worker copies it for some time; what is on the screen stays until the copy is ready. */
static enum latch_result refuse(struct screen *screen, struct face *face, int error)
{
	struct panel *panel = screen->panel;
	uint32_t left_out;
	if (log_limit_pass(&screen->commit_limit, &left_out))
		log_info("%s does not show the guest's own pages (%s): copying", screen->output.name, strerror(error));
	worker_post(panel->worker, &(struct front_event){.type = FRONT_REFUSED, .set = screen->set, .face = PANEL_FACE_GUEST, .index = face->latest,
		.serial = face->serial[face->latest]});
	face->refused = true;
	return LATCH_NOTHING;
}

/*
 * Commits with *pointer on the cursor plane. What a card refuses with it is tried without: *pointer is empty then, and the next picture has it drawn in.
 * Beside an overlay that goes first: with the copy the pointer has its next try. As backend_ops.commit; ECANCELED: without the pointer nothing is left to commit.
 */
static int commit_with_pointer(struct screen *screen, struct commit *commit, struct pointer *pointer, bool overlaid)
{
	struct panel *panel = screen->panel;
	struct commit_cursor cursor;
	const struct pointer *now = &screen->now.pointer;
	bool all = commit->full && screen->output.cursor;
	commit->cursor = all || !pointer_same(pointer, now) ? panel_commit_cursor(panel, pointer, &cursor) : NULL;
	int result = panel->backend->ops->commit(panel->backend, commit);
	if (result >= 0)
		return result;
	int error = errno;
	if (commit_not_now(error) || error == ENODEV || !commit->cursor || !pointer->shown || overlaid)
		return -1;
	*pointer = (struct pointer){0};
	commit->cursor = all || now->shown ? panel_commit_cursor(panel, pointer, &cursor) : NULL;
	bool nothing = !commit->buffer && !commit->cursor;
	result = nothing ? -1 : panel->backend->ops->commit(panel->backend, commit);
	if (!nothing && result < 0)
		return -1; /* something else is wrong */
	panel_refuse_pointer(panel, error);
	errno = ECANCELED;
	return result;
}

static enum latch_result try_commit(struct screen *screen, uint64_t began)
{
	struct panel *panel = screen->panel;
	enum panel_face want = panel_wanted_face(screen);
	bool full = screen->latch.full;
	if (want == PANEL_FACES)
		return LATCH_NOTHING;
	struct face *face = &panel->face[want];
	bool same_face = screen->now.valid && screen->now.face == want && screen->now.set == screen->set;
	/* What stands in for a face that is not drawn yet is no answer to a toggle. */
	bool answers = (panel->presentation == PRESENTATION_PRESENTED) == (want != PANEL_FACE_UI);
	if (face->refused)
		return LATCH_NOTHING; /* until its copy is ready; what is on the screen stays */
	struct pointer pointer = panel_wanted_pointer(panel, want);
	bool same_picture = same_face && screen->now.index == face->latest && screen->now.serial == face->serial[face->latest] && !full;
	if (same_picture) {
		if (panel->toggled && answers) {
			/* There and back between two flips: nothing to be seen, nothing to be timed. */
			atomic_fetch_add(&panel->config.stats->toggles_replaced, 1);
			panel->toggled = false;
		}
		if (pointer_same(&pointer, &screen->now.pointer))
			return LATCH_NOTHING;
	} else if (!panel_may_commit(screen, want, face->latest)) {
		return LATCH_NOTHING; /* goes out with the WORKER_READY that is to come */
	}
	const struct scanout_buffer *buffer = face->buffer[face->latest], *under = face->under[face->latest];
	const struct rect whole = {0, 0, buffer->width, buffer->height};
	struct commit commit = {
		.buffer = same_picture ? NULL : under ? under : buffer,
		.overlay = under && !same_picture ? buffer : NULL,
		.dest = face->dest[face->latest],
		.damage = same_face && !full ? rect_intersect(face->damage, whole) : whole,
		.epoch = screen->latch.epoch,
		.full = full,
	};
	int result = commit_with_pointer(screen, &commit, &pointer, under != NULL);
	if (result < 0) {
		int error = errno;
		uint32_t left_out;
		if (error == EBUSY)
			return LATCH_BUSY;
		if (error == ECANCELED)
			return LATCH_NOTHING;
		if (error == ENODEV && panel->opener) {
			panel_card_lost(panel); /* drivers/gpu/drm/drm_ioctl.c: what an unplugged card answers, ahead of the uevent */
			return LATCH_NOTHING;
		}
		if ((commit.buffer || under) && buffer->imported && !commit_not_now(error))
			return refuse(screen, face, error);
		if (log_limit_pass(&screen->commit_limit, &left_out))
			log_warn("%scommit of %ux%u on %s: %s%s", full ? "full " : "", buffer->width, buffer->height, screen->output.name, strerror(error),
				error == EACCES || error == EPERM ? " (another program holds the display, trying again)" : "");
		return error == EACCES || error == EPERM ? LATCH_DENIED : LATCH_REFUSED;
	}
	struct shown next = panel_newest(screen, want);
	next.pointer = pointer;
	panel_accepted(screen, &next, commit.buffer != NULL);
	if (panel->toggled && answers)
		panel_toggle_committed(screen, began);
	if (!full)
		return result > 0 ? LATCH_SHOWN : LATCH_ACCEPTED;
	panel->fulls++;
	atomic_fetch_add(&panel->config.stats->modesets, 1);
	if (panel->backend->modeset_clears)
		worker_post(panel->worker, &(struct front_event){.type = FRONT_REDRAW});
	log_info("modeset: %s %ux%u %u.%03u Hz, %s", screen->output.name, screen->output.width, screen->output.height, screen->output.refresh_mhz / 1000,
		screen->output.refresh_mhz % 1000, panel->backend->ops->describe(panel->backend));
	return LATCH_SHOWN;
}

void panel_run_latch(struct screen *screen, bool commit)
{
	struct panel *panel = screen->panel;
	bool main = screen->number == 0, full = screen->latch.full;
	while (commit) {
		uint64_t began = clock_now_ns();
		enum latch_result result = main ? try_commit(screen, began) : panel_commit_further(screen);
		commit = latch_committed(&screen->latch, result, began, clock_now_ns());
		if (result == LATCH_SHOWN)
			shown(screen, clock_now_ns());
	}
	if (main && full && !screen->latch.full)
		panel_light_further(panel);
	if (screen->latch.lost != screen->lost) {
		screen->lost = screen->latch.lost;
		log_warn("%s: a page flip was never reported, setting everything anew", screen->output.name);
	}
	panel_arm_latch(panel);
	panel_update_visible(panel);
	panel_lend(screen);
}

void panel_flipped(void *data, uint32_t output, uint32_t epoch, uint64_t time)
{
	struct panel *panel = data;
	struct screen *screen = &panel->screen[output];
	bool ours;
	bool commit = latch_flip(&screen->latch, epoch, time, clock_now_ns(), &ours);
	if (!ours)
		return;
	if (output == 0)
		atomic_fetch_add(&panel->config.stats->latch_misses, screen->latch.missed - screen->missed);
	screen->missed = screen->latch.missed;
	if (screen->next.valid)
		shown(screen, time);
	panel_run_latch(screen, commit);
}

static void go_dark(struct screen *screen)
{
	latch_dark(&screen->latch);
	/* A flip in flight will not be heard of; what it names stays held until the next commit replaces it. */
	if (screen->next.valid)
		panel_replace_now(screen);
	panel_run_latch(screen, false);
}

static void go_light(struct screen *screen)
{
	if (screen->output.connected && !screen->off)
		panel_run_latch(screen, latch_light(&screen->latch, panel_refresh_ns(screen), screen->output.vblank, clock_now_ns()));
}

void panel_go_dark(struct panel *panel)
{
	panel->toggled = false; /* how long the dark lasts is not the toggle's time */
	for (uint32_t i = 0; i < panel->n_screens; i++)
		go_dark(&panel->screen[i]);
}

void panel_go_light(struct panel *panel)
{
	if (panel->blanked && panel->active)
		panel_try_blank(panel);
	for (uint32_t i = 0; i < panel->n_screens && panel->active && !panel->blanked; i++)
		go_light(&panel->screen[i]);
}

int panel_try_blank(struct panel *panel)
{
	panel->blank_ns = 0;
	if (!panel->blanked || !panel->active || !panel->backend->ops->blank || panel->backend->ops->blank(panel->backend) == 0)
		return 0;
	if (!commit_not_now(errno))
		return -1;
	panel->blank_ns = clock_now_ns() + (errno == EBUSY ? LATCH_BUSY_NS : LATCH_RETRY_NS);
	panel_arm_latch(panel);
	return 0;
}
