#define LOG_MODULE "worker"
#include "kms/worker_private.h"

#include "kms/strip.h"

bool worker_cursor_seen(const struct face *face)
{
	return face->cursor.visible && face->cursor.loaded;
}

bool worker_draws_cursor(const struct worker *worker, enum panel_face face)
{
	const struct face *state = &worker->face[face];
	return worker_cursor_seen(state) && (!worker_pointed(face) || !worker->pointer[state->producer].in_use);
}

/* Whether the plane can show it, where, and in which buffer. WAITS: as before until the front gives a buffer back. */
static enum pointer_load place(struct worker *worker, uint32_t p, const struct face *face, const struct set *set, const struct link_head *head, struct pointer *pointer)
{
	const struct backend *backend = worker->config.backend;
	const struct pointer_case what = {
		.plane = worker->pointer[p].allowed,
		.plane_width = backend->cursor_width,
		.plane_height = backend->cursor_height,
		.width = set->width,
		.height = set->height,
		.source = head->source,
		.dest = strip_letterbox(worker->config.strip, head->source.w, head->source.h, set->width, set->height),
		.x = face->cursor.x,
		.y = face->cursor.y,
		.over = worker->figures.on ? worker_figures_place(worker, set) : (struct rect){0},
	};
	if (!pointer_on_plane(&what, pointer))
		return POINTER_FAILED;
	pointer->hot_x = face->cursor.hot_x;
	pointer->hot_y = face->cursor.hot_y;
	return pointer_load(&worker->pointer[p], worker->config.backend, &worker->config.pointer[p], face->cursor.picture.image);
}

/* Wakes the front at most as often as for pictures: it looks at what was said last whenever it commits. */
static void tell(struct worker *worker, uint32_t p, enum panel_face face, uint64_t now)
{
	struct pointer_plane *plane = &worker->pointer[p];
	struct pointer_news *news = &worker->config.pointer[p];
	if (!plane->due || now < plane->next_ns)
		return;
	plane->due = false;
	plane->next_ns = now + (worker->visible & 1u << face ? WORKER_DIRECT_NS : WORKER_HIDDEN_NS);
	if (atomic_exchange(&news->pending, true))
		return;
	if (!mailbox_post(worker->config.events, &(struct worker_event){.type = WORKER_POINTER, .producer = p})) {
		atomic_store(&news->pending, false);
		plane->due = true;
	}
}

static void update(struct worker *worker, uint32_t p, enum panel_face which, uint64_t now)
{
	struct face *face = &worker->face[which];
	struct pointer_plane *plane = &worker->pointer[p];
	struct pointer_news *news = &worker->config.pointer[p];
	const struct set *set = worker_current(worker, which);
	const struct link_head *head = worker_head(worker, which);
	struct pointer pointer = {0};
	bool seen = set && head && worker_cursor_seen(face);
	enum pointer_load load = seen ? place(worker, p, face, set, head, &pointer) : POINTER_FAILED;
	if (load == POINTER_WAITS) {
		/* A place on another mode's screen is none on this one: it may be off it, or on the strip. */
		if (plane->set != worker->current[0])
			pointer_say(plane, news, (struct pointer){0});
	} else {
		plane->set = worker->current[0];
		if (seen && plane->in_use != (load == POINTER_LOADED)) {
			/* Out of the picture or into it: drawn anew. */
			plane->in_use = load == POINTER_LOADED;
			face->cursor.serial++;
			face->outstanding = true;
		}
		/* The plane shows what it showed until there is a picture with the pointer in it. */
		if (!seen || plane->in_use || face->cursor.drawn)
			pointer_say(plane, news, plane->in_use ? pointer : (struct pointer){0});
	}
	tell(worker, p, which, now);
}

void worker_update_pointers(struct worker *worker, uint64_t now)
{
	update(worker, 0, PANEL_FACE_UI, now);
	update(worker, 1, PANEL_FACE_GUEST, now);
}
