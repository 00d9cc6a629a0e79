#define LOG_MODULE "worker"
#include "kms/worker_private.h"

#include <string.h>

#define ROOM 16              /* of a mailbox that pictures leave to news, of which none may be lost */

/* The guest's own buffer, where the ladder says so and the card takes it; *dest and *under as in struct worker_event. NULL: copy. */
static struct import *import_of(struct worker *worker, struct set *set, const struct link_head *head, uint64_t now, struct rect *dest,
	const struct scanout_buffer **under)
{
	struct backend *backend = worker->config.backend;
	const struct backend_pages pages = {link_pixels_fd(worker->producer[1].link), head->buffer, head->source};
	uint32_t left_out;
	int why;
	const struct ladder_layout layout = {head->source.w, head->source.h, set->width, set->height};
	const struct ladder_can can = {
		.imports = worker->config.strip == PANEL_STRIP_OFF && backend->ops->import_buffer && !backend->copies[0] && pages.fd >= 0 && blit_format_is_xrgb(head->buffer->format),
		.overlay = backend->overlay,
		.blended = worker_draws_cursor(worker, PANEL_FACE_GUEST),
	};
	enum rung rung = ladder_plan(&worker->ladder, &layout, &can, dest);
	*under = rung == RUNG_OVERLAY ? worker_black(worker, set) : NULL;
	if (rung == RUNG_SOFTWARE || (rung == RUNG_OVERLAY && !*under))
		return NULL;
	struct import *import = imports_find(&worker->imports, backend, set->number, &pages, now, &why);
	if (why && log_limit_pass(&worker->import_limit, &left_out))
		log_info("a picture of the guest's is copied: %s (%u like it left out)", strerror(why), left_out);
	return import;
}

/* The framebuffer for the face's newest frame: the guest's buffer, or a free one that the frame is copied into. False: none is free. */
static bool prepare(struct worker *worker, enum panel_face face, struct set *set, const struct link_head *head, uint64_t now, struct worker_event *event)
{
	struct face *state = &worker->face[face];
	struct import *import = face == PANEL_FACE_GUEST ? import_of(worker, set, head, now, &event->dest, &event->under) : NULL;
	struct rect everything = {0, 0, set->width, set->height};
	if (face == PANEL_FACE_GUEST && worker->figures.on) {
		/* The guest draws into its own buffer at any time: what lies over the picture needs a copy. */
		worker->figures.zero_copy = import != NULL;
		import = NULL;
	}
	if (import) {
		everything = (struct rect){0, 0, head->source.w, head->source.h};
		if (worker->config.backend->flush)
			blit_flush(worker_pixels(worker, face), head->buffer, rect_intersect(import->stale, head->source));
		import->stale = (struct rect){0};
		struct rect fresh = rect_intersect(state->fresh, head->source);
		event->index = (uint32_t)(FACE_BUFFERS + (import - worker->imports.slot));
		event->buffer = &import->buffer;
		event->damage = everything;
		if (state->direct)
			event->damage = rect_empty(&fresh) ? (struct rect){0} : (struct rect){fresh.x - head->source.x, fresh.y - head->source.y, fresh.w, fresh.h};
		return true;
	}
	event->under = NULL;
	uint64_t offer = 0;
	struct framebuffer *fb = worker_choose_framebuffer(worker, set, face, head->source, now, &event->index, &offer);
	if (!fb)
		return false;
	worker_draw_timed(worker, face, head, fb);
	event->lent = offer != 0;
	event->buffer = &fb->buffer;
	event->damage = state->direct ? everything : state->touched;
	return true;
}

bool worker_may_compose(const struct worker *worker, enum panel_face face, uint64_t now)
{
	const struct face *state = &worker->face[face];
	return now >= state->next_ns || (worker->visible & 1u << face && !state->direct);
}

void worker_compose(struct worker *worker, enum panel_face face, uint64_t now)
{
	struct set *set = worker_current(worker, face);
	const struct link_head *head = worker_head(worker, face);
	struct face *state = &worker->face[face];
	state->wait_ns = 0;
	if (!set || !head || !state->outstanding || (state->producer == 1 && worker->joined_due))
		return;
	if (!worker_may_compose(worker, face, now))
		return;
	if (!mailbox_has_room(worker->config.events, ROOM)) {
		worker->ready_due = true; /* the front has much to do; nothing is lost, a later turn does it */
		return;
	}
	struct worker_event event = {.type = WORKER_READY, .face = face, .set = set->number, .sequence = head->sequence, .serial = worker->serial + 1};
	if (!prepare(worker, face, set, head, now, &event))
		return;
	event.drawn = worker_draws_cursor(worker, face);
	mailbox_post(worker->config.events, &event); /* there is room: nobody else posts */
	worker->serial++;
	state->direct = event.index >= FACE_BUFFERS;
	if (state->direct) {
		struct import *import = &worker->imports.slot[event.index - FACE_BUFFERS];
		import->held = true;
		import->serial = event.serial;
	} else {
		set->fb[face][event.index].free = false;
		set->fb[face][event.index].serial = event.serial;
		state->latest = event.index;
	}
	state->touched = state->fresh = (struct rect){0};
	state->outstanding = false;
	state->cursor.drawn = event.drawn;
	/* Nothing is copied for a buffer of the guest's, and the guest may go on drawing into the one before: a toggle finds the newest. */
	state->next_ns = now + (state->direct ? WORKER_DIRECT_NS : WORKER_HIDDEN_NS);
}

void worker_offer_black(struct worker *worker, uint32_t screen)
{
	struct set *set = worker_find_set(worker, worker->current[screen]);
	if (!set || !set->black_due)
		return;
	if (!mailbox_has_room(worker->config.events, ROOM)) {
		worker->ready_due = true;
		return;
	}
	struct worker_event event = {.type = WORKER_BLACK, .face = (enum panel_face)(PANEL_FACE_GUEST + screen), .set = set->number, .buffer = worker_black(worker, set)};
	if (event.buffer)
		set->black_due = !mailbox_post(worker->config.events, &event);
}

void worker_take_back(struct worker *worker, const struct front_event *event)
{
	struct set *set = worker_find_set(worker, event->set);
	if (event->index < FACE_BUFFERS) {
		struct framebuffer *fb = set ? &set->fb[event->face][event->index] : NULL;
		if (fb && fb->serial == event->serial) { /* else a newer frame in it is on its way to the front: it was lent */
			fb->free = true;
			fb->offer = 0;
		}
		return;
	}
	struct import *import = &worker->imports.slot[event->index - FACE_BUFFERS];
	/* Of a set that is gone there is nothing to learn. */
	const struct ladder_layout layout = {import->source.w, import->source.h, set ? set->width : 0, set ? set->height : 0};
	bool learn = set && !import->refused;
	if (event->type == FRONT_FREE) {
		if (import->serial != event->serial)
			return; /* a newer frame in it is on its way to the front */
		if (learn && event->seen)
			ladder_worked(&worker->ladder, &layout);
		import_let_go(import, worker->config.backend, clock_now_ns());
		return;
	}
	if (learn && ladder_failed(&worker->ladder, &layout))
		log_info("the card shows none of the guest's own pages%s: copying from now on",
			ladder_best(&layout) == RUNG_OVERLAY ? " on its overlay plane" : "");
	import->refused = true;
	worker->face[PANEL_FACE_GUEST].outstanding = worker_head(worker, PANEL_FACE_GUEST) != NULL;
	worker->face[PANEL_FACE_GUEST].next_ns = 0;
}
