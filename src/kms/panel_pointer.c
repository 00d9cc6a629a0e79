/* The producers' pointers on the card's cursor plane, the front's side: which one a commit names, and who has its buffer. */
#define LOG_MODULE "panel"
#include <string.h>

#include "kms/panel_private.h"

static bool same_slot(const struct pointer *a, const struct pointer *b)
{
	return a->slot == b->slot && a->producer == b->producer;
}

static bool holds(const struct panel *panel, const struct pointer *pointer)
{
	const struct shown *now = &panel->screen[0].now, *next = &panel->screen[0].next;
	return same_slot(&panel->pointer[pointer->producer], pointer) || (now->valid && now->pointer.shown && same_slot(&now->pointer, pointer)) ||
	       (next->valid && next->pointer.shown && same_slot(&next->pointer, pointer));
}

void panel_let_go_pointer(struct panel *panel, const struct pointer *pointer)
{
	if (pointer->slot && !holds(panel, pointer))
		worker_post(panel->worker, &(struct front_event){.type = FRONT_POINTER_FREE, .producer = pointer->producer, .index = pointer->slot});
}

/* Nothing points at the placeholder. */
static bool pointed(enum panel_face face)
{
	return face == PANEL_FACE_UI || face == PANEL_FACE_GUEST;
}

struct pointer panel_wanted_pointer(struct panel *panel, enum panel_face face)
{
	struct pointer *pointer = NULL;
	for (uint32_t p = 0; p < POINTER_PRODUCERS; p++) {
		const struct pointer before = panel->pointer[p];
		panel->pointer[p] = pointer_take(&panel->pointer_news[p]);
		if (before.slot != panel->pointer[p].slot)
			panel_let_go_pointer(panel, &before);
		if (pointed(face) && producer_of(face) == p)
			pointer = &panel->pointer[p];
	}
	/* A picture with the pointer in it may still stand while the worker changes from one to the other. */
	if (!pointer || !panel->pointer_plane || panel->face[face].drawn[panel->face[face].latest])
		return (struct pointer){0};
	return *pointer;
}

const struct commit_cursor *panel_commit_cursor(const struct panel *panel, const struct pointer *pointer, struct commit_cursor *cursor)
{
	*cursor = (struct commit_cursor){0};
	if (pointer->shown)
		*cursor = (struct commit_cursor){&panel->pointer_news[pointer->producer].buffer[pointer->slot - 1], pointer->x, pointer->y, pointer->hot_x, pointer->hot_y};
	return cursor;
}

void panel_pointer_said(struct panel *panel, uint32_t producer)
{
	atomic_store(&panel->pointer_news[producer].pending, false);
	struct screen *screen = &panel->screen[0];
	enum panel_face face = panel_wanted_face(screen);
	struct pointer pointer = panel_wanted_pointer(panel, face);
	const struct shown *last = screen->next.valid ? &screen->next : &screen->now;
	if (pointed(face) && producer_of(face) == producer && !pointer_same(&pointer, &last->pointer))
		panel_run_latch(screen, latch_news(&screen->latch, false, clock_now_ns()));
}

static void tell_worker(struct panel *panel)
{
	worker_post(panel->worker, &(struct front_event){.type = FRONT_POINTER, .pointer_plane = panel->pointer_plane});
}

void panel_offer_pointer(struct panel *panel)
{
	const struct output *output = &panel->screen[0].output;
	const struct backend *backend = panel->backend;
	panel->pointer_plane = output->connected && output->cursor && backend->cursor_width >= LINK_CURSOR_SIDE && backend->cursor_height >= LINK_CURSOR_SIDE;
	if (panel->pointer_plane)
		log_info("%s: the cursor plane shows the pointer (pictures of %ux%u)", output->name, backend->cursor_width, backend->cursor_height);
	else if (output->connected)
		log_info("%s: no cursor plane for a picture of %ux%u, the pointer is drawn into the picture", output->name, LINK_CURSOR_SIDE, LINK_CURSOR_SIDE);
	tell_worker(panel);
}

void panel_refuse_pointer(struct panel *panel, int error)
{
	log_info("%s does not show the pointer on its cursor plane (%s): it is drawn into the picture", panel->screen[0].output.name, strerror(error));
	panel->pointer_plane = false;
	tell_worker(panel);
	panel_update_status(panel);
}

void panel_tell_pointer(struct panel *panel)
{
	const struct shown *now = &panel->screen[0].now;
	if (now->face != PANEL_FACE_GUEST || (!now->pointer.shown && !now->drawn))
		return; /* none is to be seen */
	enum status_cursor cursor = now->pointer.shown ? STATUS_CURSOR_PLANE : STATUS_CURSOR_SOFTWARE;
	if (cursor == panel->cursor)
		return;
	panel->cursor = cursor;
	panel_update_status(panel);
}
