#define LOG_MODULE "worker"
#include "kms/worker_private.h"

#define TIMED_PIXELS 16384    /* what is less says little of a pixel's time */
#define SLOWEST_PS 1000000ull /* a microsecond a pixel: a thread that did not run */

static uint64_t pixels(struct rect r)
{
	return (uint64_t)r.w * r.h;
}

/* What would be drawn into a framebuffer to bring it up to the newest frame. */
static uint64_t owed(const struct framebuffer *fb, struct rect source)
{
	uint64_t sum = 0;
	if (!fb->made || !fb->drawn)
		return pixels(source);
	for (uint32_t i = 0; i < fb->damage.n; i++)
		sum += pixels(rect_intersect(fb->damage.r[i], source));
	return sum;
}

void worker_draw_timed(struct worker *worker, enum panel_face face, const struct link_head *head, struct framebuffer *fb)
{
	uint64_t began = clock_now_ns(), drawn = owed(fb, head->source);
	worker_draw(worker, face, head, fb);
	if (drawn < TIMED_PIXELS)
		return;
	uint64_t ps = (clock_now_ns() - began) * 1000 / drawn;
	worker->face[face].pixel_ps = ps < SLOWEST_PS ? ps : SLOWEST_PS;
}

void worker_lent(struct worker *worker, const struct front_event *event)
{
	struct set *set = worker_find_set(worker, event->set);
	struct framebuffer *fb = set ? &set->fb[event->face][event->index] : NULL;
	if (!fb || fb->free || fb->serial != event->serial)
		return; /* the front has news of it on its way, and takes the offer back */
	fb->offer = event->offer;
	fb->soonest_ns = event->soonest_ns;
	fb->offer_ns = event->at_ns;
}

struct framebuffer *worker_choose_framebuffer(struct worker *worker, struct set *set, enum panel_face face, struct rect source, uint64_t now, uint32_t *index,
	uint64_t *lent)
{
	struct face *state = &worker->face[face];
	struct framebuffer *shown = &set->fb[face][state->latest], *other = &set->fb[face][1 - state->latest];
	bool on_screen = worker->visible & 1u << face && !state->direct && shown->made && !shown->free;
	_Static_assert(FACE_BUFFERS == 2, "one on the screen, and the other one");
	if (!worker->config.backend->single || !on_screen)
		return worker_free_framebuffer(worker, set, face, index);
	const uint64_t lacks = owed(shown, source);
	const struct lend_case c = {
		.picture = pixels(source),
		.shown = lacks,
		.other = owed(other, source),
		.other_free = !other->made || other->free,
		.offered = shown->offer != 0,
		.soonest_ns = shown->soonest_ns,
		.at_ns = shown->offer_ns,
		.draw_ns = lacks * state->pixel_ps / 1000,
		.patience_ns = state->next_ns,
		.now_ns = now,
	};
	uint64_t until;
	switch (lend_choose(&c, &until)) {
	case LEND_WAIT:
		state->wait_ns = until;
		return NULL;
	case LEND_OTHER:
		return worker_free_framebuffer(worker, set, face, index);
	case LEND_SHOWN:
		break;
	}
	uint64_t offer = shown->offer;
	shown->offer = 0;
	if (!lend_take(worker->config.lend[screen_of(face)], offer))
		return NULL; /* taken back: another offer comes, or this face is not shown any more */
	*lent = offer;
	*index = state->latest;
	return shown;
}
