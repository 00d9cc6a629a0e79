/* The guest's pointer on the card's cursor plane, the front's side: which one a commit names, and who has its buffer. */
#define LOG_MODULE "panel"
#include <string.h>

#include "kms/panel_private.h"

static bool holds(const struct panel *panel, uint32_t slot)
{
	return panel->pointer.slot == slot || (panel->now.valid && panel->now.pointer.shown && panel->now.pointer.slot == slot) ||
	       (panel->next.valid && panel->next.pointer.shown && panel->next.pointer.slot == slot);
}

void panel_let_go_pointer(struct panel *panel, uint32_t slot)
{
	if (slot && !holds(panel, slot))
		worker_post(panel->worker, &(struct front_event){.type = FRONT_POINTER_FREE, .index = slot});
}

struct pointer panel_wanted_pointer(struct panel *panel, enum panel_face face)
{
	uint32_t before = panel->pointer.slot;
	panel->pointer = pointer_take(&panel->pointer_news);
	if (before != panel->pointer.slot)
		panel_let_go_pointer(panel, before);
	const struct face *guest = &panel->face[PANEL_FACE_GUEST];
	/* Other faces draw their own. A picture with the pointer in it may still stand while the worker changes from one to the other. */
	if (face != PANEL_FACE_GUEST || !panel->pointer_plane || guest->drawn[guest->latest])
		return (struct pointer){0};
	return panel->pointer;
}

const struct commit_cursor *panel_commit_cursor(const struct panel *panel, const struct pointer *pointer, struct commit_cursor *cursor)
{
	*cursor = (struct commit_cursor){0};
	if (pointer->shown)
		*cursor = (struct commit_cursor){&panel->pointer_news.buffer[pointer->slot - 1], pointer->x, pointer->y, pointer->hot_x, pointer->hot_y};
	return cursor;
}

void panel_pointer_said(struct panel *panel)
{
	atomic_store(&panel->pointer_news.pending, false);
	enum panel_face face = panel_wanted_face(panel);
	struct pointer pointer = panel_wanted_pointer(panel, face);
	const struct shown *last = panel->next.valid ? &panel->next : &panel->now;
	if (face == PANEL_FACE_GUEST && !pointer_same(&pointer, &last->pointer))
		panel_run_latch(panel, latch_news(&panel->latch, false, clock_now_ns()));
}

static void tell_worker(struct panel *panel)
{
	worker_post(panel->worker, &(struct front_event){.type = FRONT_POINTER, .pointer_plane = panel->pointer_plane});
}

void panel_offer_pointer(struct panel *panel)
{
	const struct output *output = &panel->output;
	const struct backend *backend = panel->backend;
	panel->pointer_plane = output->connected && output->cursor && backend->cursor_width >= LINK_CURSOR_SIDE && backend->cursor_height >= LINK_CURSOR_SIDE;
	if (panel->pointer_plane)
		log_info("%s: the cursor plane shows the guest's pointer (pictures of %ux%u)", output->name, backend->cursor_width, backend->cursor_height);
	else if (output->connected)
		log_info("%s: no cursor plane for a picture of %ux%u, the guest's pointer is drawn into its picture", output->name, LINK_CURSOR_SIDE, LINK_CURSOR_SIDE);
	tell_worker(panel);
}

void panel_refuse_pointer(struct panel *panel, int error)
{
	log_info("%s does not show the guest's pointer on its cursor plane (%s): it is drawn into the picture", panel->output.name, strerror(error));
	panel->pointer_plane = false;
	tell_worker(panel);
	panel_update_status(panel);
}

void panel_tell_pointer(struct panel *panel)
{
	const struct shown *now = &panel->now;
	if (now->face != PANEL_FACE_GUEST || (!now->pointer.shown && !now->drawn))
		return; /* none is to be seen */
	enum status_cursor cursor = now->pointer.shown ? STATUS_CURSOR_PLANE : STATUS_CURSOR_SOFTWARE;
	if (cursor == panel->cursor)
		return;
	panel->cursor = cursor;
	panel_update_status(panel);
}
