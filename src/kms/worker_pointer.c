#define LOG_MODULE "worker"
#include "kms/worker_private.h"

#include "kms/letterbox.h"

bool worker_cursor_seen(const struct face *face)
{
	return face->cursor.visible && face->cursor.loaded;
}

bool worker_draws_cursor(const struct worker *worker, enum panel_face face)
{
	return worker_cursor_seen(&worker->face[face]) && !(face == PANEL_FACE_GUEST && worker->pointer.in_use);
}

/* Whether the plane can show it, where, and in which buffer. WAITS: as before until the front gives a buffer back. */
static enum pointer_load place(struct worker *worker, const struct set *set, const struct link_head *head, struct pointer *pointer)
{
	const struct backend *backend = worker->config.backend;
	const struct face *face = &worker->face[PANEL_FACE_GUEST];
	const struct pointer_case what = {
		.plane = worker->pointer.allowed,
		.plane_width = backend->cursor_width,
		.plane_height = backend->cursor_height,
		.width = set->width,
		.height = set->height,
		.source = head->source,
		.dest = letterbox(head->source.w, head->source.h, set->width, set->height),
		.x = face->cursor.x,
		.y = face->cursor.y,
		.over = worker->figures.on ? figures_place(set->width, set->height) : (struct rect){0},
	};
	if (!pointer_on_plane(&what, pointer))
		return POINTER_FAILED;
	pointer->hot_x = face->cursor.hot_x;
	pointer->hot_y = face->cursor.hot_y;
	return pointer_load(&worker->pointer, worker->config.backend, worker->config.pointer, face->cursor.picture.image);
}

/* Wakes the front at most as often as for pictures: it looks at what was said last whenever it commits. */
static void tell(struct worker *worker, uint64_t now)
{
	struct pointer_plane *plane = &worker->pointer;
	if (!plane->due || now < plane->next_ns)
		return;
	plane->due = false;
	plane->next_ns = now + (worker->visible & 1u << PANEL_FACE_GUEST ? WORKER_DIRECT_NS : WORKER_HIDDEN_NS);
	if (atomic_exchange(&worker->config.pointer->pending, true))
		return;
	if (!mailbox_post(worker->config.events, &(struct worker_event){.type = WORKER_POINTER})) {
		atomic_store(&worker->config.pointer->pending, false);
		plane->due = true;
	}
}

void worker_update_pointer(struct worker *worker, uint64_t now)
{
	struct face *face = &worker->face[PANEL_FACE_GUEST];
	const struct set *set = worker_find_set(worker, worker->current);
	const struct link_head *head = worker_head(worker, PANEL_FACE_GUEST);
	struct pointer pointer = {0};
	bool seen = set && head && worker_cursor_seen(face);
	enum pointer_load load = seen ? place(worker, set, head, &pointer) : POINTER_FAILED;
	if (seen && load != POINTER_WAITS && worker->pointer.in_use != (load == POINTER_LOADED)) {
		/* Out of the picture or into it: drawn anew. */
		worker->pointer.in_use = load == POINTER_LOADED;
		face->cursor.serial++;
		face->outstanding = true;
	}
	/* The plane shows what it showed until there is a picture with the pointer in it. */
	if (load != POINTER_WAITS && (!seen || worker->pointer.in_use || face->cursor.drawn))
		pointer_say(&worker->pointer, worker->config.pointer, worker->pointer.in_use ? pointer : (struct pointer){0});
	tell(worker, now);
}
