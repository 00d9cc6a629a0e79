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

void panel_arm_latch(const struct panel *panel)
{
	const uint64_t at[] = {panel->blank_ns, panel->card_ns, panel->latch.timer_ns};
	uint64_t first = 0;
	for (uint32_t i = 0; i < ARRAY_LEN(at); i++)
		if (at[i] && (!first || at[i] < first))
			first = at[i];
	panel_arm(panel->latch_fd, first);
}

uint64_t panel_refresh_ns(const struct panel *panel)
{
	return panel->output.refresh_mhz ? NSEC_PER_SEC * 1000 / panel->output.refresh_mhz : 16666667;
}

enum panel_face panel_wanted_face(const struct panel *panel)
{
	struct layout_state state = {.presentation = panel->presentation, .guest_scanout = panel->face[PANEL_FACE_GUEST].width != 0};
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		state.complete[f] = panel->face[f].complete;
	return layout_face(&state);
}

static bool holds(const struct panel *panel, enum panel_face face, uint32_t set, uint32_t index)
{
	const struct shown *now = &panel->now, *next = &panel->next;
	return (set == panel->set && panel->face[face].complete && panel->face[face].latest == index) ||
	       (now->valid && now->face == face && now->set == set && now->index == index) ||
	       (next->valid && next->face == face && next->set == set && next->index == index);
}

/* Gives a framebuffer back to the worker unless it is still needed. Old sets go as a whole. */
void panel_let_go(struct panel *panel, enum panel_face face, uint32_t set, uint32_t index)
{
	if (set == panel->set && !holds(panel, face, set, index))
		worker_post(panel->worker,
			&(struct front_event){.type = FRONT_FREE, .set = set, .face = face, .index = index, .serial = panel->face[face].serial[index],
				.seen = panel->face[face].seen[index]});
}

/* `next` takes the place of `now`, whose framebuffer may go. */
static void replace_now(struct panel *panel)
{
	struct shown old = panel->now;
	panel->now = panel->next;
	panel->next.valid = false;
	if (old.valid && old.pointer.shown)
		panel_let_go_pointer(panel, &old.pointer);
	if (!old.valid || old.set != panel->now.set)
		worker_post(panel->worker, &(struct front_event){.type = FRONT_DROP, .set = panel->now.set});
	else
		panel_let_go(panel, old.face, old.set, old.index);
}

/* `next` is on the screen since `time`. */
static void shown(struct panel *panel, uint64_t time)
{
	replace_now(panel);
	struct shown *now = &panel->now;
	struct face *face = &panel->face[now->face];
	if (now->set == panel->set && now->serial == face->serial[now->index])
		face->seen[now->index] = true;
	if (now->toggle_ns) {
		histogram_record_us(&panel->config.stats->toggle_flip_us, time > now->toggle_ns ? (time - now->toggle_ns) / NSEC_PER_USEC : 0);
		if (now->toggle_due_ns)
			atomic_fetch_add(latch_in_time(&panel->latch, now->toggle_due_ns, time) ? &panel->config.stats->toggles_in_time : &panel->config.stats->toggles_late, 1);
		now->toggle_ns = 0;
	}
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
	if (now->sequence > face->presented) {
		face->presented = now->sequence;
		outbox_presented(&panel->outbox[producer_of(now->face)], head_of(now->face), now->sequence, time);
	}
	panel_arm_tick(panel);
}

/* The card does not show the guest's own buffer. The worker copies it for some time; what is on the screen stays until the copy is ready. */
static enum latch_result refuse(struct panel *panel, struct face *face, int error)
{
	uint32_t left_out;
	if (log_limit_pass(&panel->commit_limit, &left_out))
		log_info("%s does not show the guest's own pages (%s): copying", panel->output.name, strerror(error));
	worker_post(panel->worker, &(struct front_event){.type = FRONT_REFUSED, .set = panel->set, .face = PANEL_FACE_GUEST, .index = face->latest,
		.serial = face->serial[face->latest]});
	face->refused = true;
	return LATCH_NOTHING;
}

/*
 * Commits with *pointer on the cursor plane. What a card refuses with it is tried without: *pointer is empty then, and the next picture has it drawn in.
 * Beside an overlay that goes first: with the copy the pointer has its next try. As backend_ops.commit; ECANCELED: without the pointer nothing is left to commit.
 */
static int commit_with_pointer(struct panel *panel, struct commit *commit, struct pointer *pointer, bool overlaid)
{
	struct commit_cursor cursor;
	const struct pointer *now = &panel->now.pointer;
	bool all = commit->full && panel->output.cursor;
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

static enum latch_result try_commit(struct panel *panel)
{
	enum panel_face want = panel_wanted_face(panel);
	bool full = panel->latch.full;
	if (want == PANEL_FACES)
		return LATCH_NOTHING;
	struct face *face = &panel->face[want];
	bool same_face = panel->now.valid && panel->now.face == want && panel->now.set == panel->set;
	/* What stands in for a face that is not drawn yet is no answer to a toggle. */
	bool answers = (panel->presentation == PRESENTATION_PRESENTED) == (want != PANEL_FACE_UI);
	if (face->refused)
		return LATCH_NOTHING; /* until its copy is ready; what is on the screen stays */
	struct pointer pointer = panel_wanted_pointer(panel, want);
	bool same_picture = same_face && panel->now.index == face->latest && panel->now.serial == face->serial[face->latest] && !full;
	if (same_picture) {
		if (panel->toggled && answers) {
			/* There and back between two flips: nothing to be seen, nothing to be timed. */
			atomic_fetch_add(&panel->config.stats->toggles_replaced, 1);
			panel->toggled = false;
		}
		if (pointer_same(&pointer, &panel->now.pointer))
			return LATCH_NOTHING;
	}
	const struct scanout_buffer *buffer = face->buffer[face->latest], *under = face->under[face->latest];
	const struct rect whole = {0, 0, buffer->width, buffer->height};
	struct commit commit = {
		.buffer = same_picture ? NULL : under ? under : buffer,
		.overlay = under && !same_picture ? buffer : NULL,
		.dest = face->dest[face->latest],
		.damage = same_face && !full ? rect_intersect(face->damage, whole) : whole,
		.epoch = panel->latch.epoch,
		.full = full,
	};
	int result = commit_with_pointer(panel, &commit, &pointer, under != NULL);
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
			return refuse(panel, face, error);
		if (log_limit_pass(&panel->commit_limit, &left_out))
			log_warn("%scommit of %ux%u on %s: %s%s", full ? "full " : "", buffer->width, buffer->height, panel->output.name, strerror(error),
				error == EACCES || error == EPERM ? " (another program holds the display, trying again)" : "");
		return error == EACCES || error == EPERM ? LATCH_DENIED : LATCH_REFUSED;
	}
	atomic_fetch_add(&panel->config.stats->commits, 1);
	struct shown unreported = panel->next; /* valid only when its flip was never reported */
	panel->next = (struct shown){.valid = true, .face = want, .set = panel->set, .index = face->latest, .sequence = face->sequence[face->latest],
		.serial = face->serial[face->latest], .drawn = face->drawn[face->latest], .pointer = pointer};
	if (commit.buffer)
		face->damage = (struct rect){0};
	if (unreported.valid) {
		panel_let_go(panel, unreported.face, unreported.set, unreported.index);
		if (unreported.pointer.shown)
			panel_let_go_pointer(panel, &unreported.pointer);
	}
	if (panel->toggled && answers) {
		panel->toggled = false;
		panel->next.toggle_ns = panel->toggle_ns;
		panel->next.toggle_due_ns = panel->toggle_due_ns;
		uint64_t now = clock_now_ns();
		if (panel->toggle_ns)
			histogram_record_us(&panel->config.stats->toggle_commit_us, now > panel->toggle_ns ? (now - panel->toggle_ns) / NSEC_PER_USEC : 0);
	}
	if (!full)
		return result > 0 ? LATCH_SHOWN : LATCH_ACCEPTED;
	atomic_fetch_add(&panel->config.stats->modesets, 1);
	log_info("modeset: %s %ux%u %u.%03u Hz, %s", panel->output.name, panel->output.width, panel->output.height, panel->output.refresh_mhz / 1000,
		panel->output.refresh_mhz % 1000, panel->backend->ops->describe(panel->backend));
	return LATCH_SHOWN;
}

void panel_run_latch(struct panel *panel, bool commit)
{
	while (commit) {
		uint64_t began = clock_now_ns();
		enum latch_result result = try_commit(panel);
		commit = latch_committed(&panel->latch, result, began, clock_now_ns());
		if (result == LATCH_SHOWN)
			shown(panel, clock_now_ns());
	}
	if (panel->latch.lost != panel->lost) {
		panel->lost = panel->latch.lost;
		log_warn("%s: a page flip was never reported, setting everything anew", panel->output.name);
	}
	panel_arm_latch(panel);
	panel_update_visible(panel);
}

void panel_flipped(void *data, uint32_t epoch, uint64_t time)
{
	struct panel *panel = data;
	bool ours;
	bool commit = latch_flip(&panel->latch, epoch, time, clock_now_ns(), &ours);
	if (!ours)
		return;
	atomic_fetch_add(&panel->config.stats->latch_misses, panel->latch.missed - panel->missed);
	panel->missed = panel->latch.missed;
	if (panel->next.valid)
		shown(panel, time);
	panel_run_latch(panel, commit);
}

void panel_go_dark(struct panel *panel)
{
	latch_dark(&panel->latch);
	panel->toggled = false; /* how long the dark lasts is not the toggle's time */
	/* A flip in flight will not be heard of; what it names stays held until the next commit replaces it. */
	if (panel->next.valid)
		replace_now(panel);
	panel_run_latch(panel, false);
}

void panel_go_light(struct panel *panel)
{
	if (panel->blanked && panel->active)
		panel_try_blank(panel);
	else if (panel->active && panel->output.connected)
		panel_run_latch(panel, latch_light(&panel->latch, panel_refresh_ns(panel), panel->output.vblank, clock_now_ns()));
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
