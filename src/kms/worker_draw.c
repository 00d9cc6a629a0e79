#define LOG_MODULE "worker"
#include "kms/worker_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "kms/letterbox.h"
#include "kms/strip.h"

struct set *worker_find_set(struct worker *worker, uint32_t number)
{
	for (uint32_t s = 0; number && s < SCREENS; s++)
		for (uint32_t i = 0; i < SETS; i++)
			if (worker->set[s][i].number == number)
				return &worker->set[s][i];
	return NULL;
}

struct set *worker_current(struct worker *worker, enum panel_face face)
{
	return worker_find_set(worker, worker->current[screen_of(face)]);
}

void worker_free_set(struct worker *worker, struct set *set)
{
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		for (uint32_t i = 0; i < FACE_BUFFERS; i++)
			if (set->fb[f][i].made)
				worker->config.backend->ops->free_buffer(worker->config.backend, &set->fb[f][i].buffer);
	if (set->black_made)
		worker->config.backend->ops->free_buffer(worker->config.backend, &set->black);
	memset(set, 0, sizeof(*set));
}

void worker_free_sets(struct worker *worker)
{
	for (uint32_t s = 0; s < SCREENS; s++)
		for (uint32_t i = 0; i < SETS; i++)
			worker_free_set(worker, &worker->set[s][i]);
}

static bool make_buffer(struct worker *worker, struct set *set, struct scanout_buffer *buffer)
{
	struct backend *backend = worker->config.backend;
	uint64_t now = clock_now_ns();
	if (now < set->retry_ns)
		return false;
	bool made = backend->ops->make_buffer(backend, set->width, set->height, buffer) == 0;
	if (made) {
		set->retry_ns = 0;
	} else if (errno == ENODEV) {
		mailbox_post(worker->config.events, &(struct worker_event){.type = WORKER_LOST});
		set->retry_ns = UINT64_MAX;
	} else {
		if (!set->retry_ns)
			log_error("no framebuffer of %ux%u: %s; a smaller mode may help", set->width, set->height, strerror(errno));
		set->retry_ns = now + WORKER_RETRY_NS;
	}
	return made;
}

const struct scanout_buffer *worker_black(struct worker *worker, struct set *set)
{
	struct backend *backend = worker->config.backend;
	struct scanout_buffer *black = &set->black;
	if (!set->black_made && clock_now_ns() >= set->retry_ns) {
		/* An overlay goes without one; a further screen would show nothing, and that is said. */
		if (set->black_due ? !make_buffer(worker, set, black) : backend->ops->make_buffer(backend, set->width, set->height, black) != 0)
			return NULL;
		set->black_made = true;
		backend_draw(backend, black, true);
		blit_bars(&(struct blit_target){black->pixels, black->pitch, black->width, black->height}, (struct rect){0});
		backend_draw(backend, black, false);
	}
	return set->black_made ? black : NULL;
}

struct framebuffer *worker_free_framebuffer(struct worker *worker, struct set *set, enum panel_face face, uint32_t *index)
{
	for (uint32_t i = 0; i < FACE_BUFFERS; i++) {
		struct framebuffer *fb = &set->fb[face][i];
		if (!fb->made)
			fb->made = fb->free = make_buffer(worker, set, &fb->buffer);
		if (!fb->made)
			return NULL;
		if (fb->free) {
			*index = i;
			return fb;
		}
	}
	return NULL;
}

static bool same_rect(struct rect a, struct rect b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

struct rect worker_cursor_rect(const struct face *face, const struct link_head *head)
{
	if (!worker_cursor_seen(face))
		return (struct rect){0};
	int64_t x0 = (int64_t)head->source.x + face->cursor.x, y0 = (int64_t)head->source.y + face->cursor.y;
	int64_t x1 = x0 + LINK_CURSOR_SIDE, y1 = y0 + LINK_CURSOR_SIDE;
	x0 = x0 < 0 ? 0 : x0;
	y0 = y0 < 0 ? 0 : y0;
	if (x1 <= x0 || y1 <= y0)
		return (struct rect){0};
	/* Sides are at most LINK_CURSOR_SIDE now, positions below 2^32 + LINK_MAX_SIDE: beyond 2^32 is outside any source. */
	if (x0 > UINT32_MAX || y0 > UINT32_MAX)
		return (struct rect){0};
	return rect_intersect((struct rect){(uint32_t)x0, (uint32_t)y0, (uint32_t)(x1 - x0), (uint32_t)(y1 - y0)}, head->source);
}

/* The pointer picture, placed on the source; NULL when there is none to be seen. */
static const struct blit_cursor *cursor_picture(struct face *face, const struct link_head *head)
{
	face->cursor.picture.x = (int64_t)head->source.x + face->cursor.x;
	face->cursor.picture.y = (int64_t)head->source.y + face->cursor.y;
	return worker_cursor_seen(face) ? &face->cursor.picture : NULL;
}

static enum blit_filter filter_of(const struct worker *worker)
{
	return worker->config.bilinear ? BLIT_BILINEAR : BLIT_NEAREST;
}

/* One pixel more on each side; nothing stays nothing. */
static struct rect with_neighbours(struct rect r)
{
	if (rect_empty(&r))
		return r;
	uint32_t left = r.x > 0, top = r.y > 0;
	return (struct rect){r.x - left, r.y - top, r.w + left + 1, r.h + top + 1};
}

/* The figures over all that was drawn, where they are new or something was drawn under them. Returns what was written. */
static struct rect draw_figures(const struct worker *worker, struct framebuffer *fb, const struct blit_target *target, struct rect drawn)
{
	struct rect place = figures_place(target->width, target->height), under = rect_intersect(place, drawn);
	if (fb->figures_serial == worker->figures.serial && rect_empty(&under))
		return (struct rect){0};
	figures_draw(target, &worker->figures.text);
	fb->figures_serial = worker->figures.serial;
	return place;
}

/* The strip, where it is not in it yet: nothing else is ever drawn into its rows. Returns what was written. */
static struct rect draw_strip(const struct worker *worker, enum panel_face face, const struct blit_target *screen, struct rect place)
{
	if (rect_empty(&place))
		return place;
	const char *text = worker->config.strip_text[face];
	const struct blit_target strip = strip_part(screen, place);
	strip_draw(&strip, face >= PANEL_FACE_GUEST, text ? text : "");
	return place;
}

void worker_draw(struct worker *worker, enum panel_face face, const struct link_head *head, struct framebuffer *fb)
{
	const struct blit_target screen = {fb->buffer.pixels, fb->buffer.pitch, fb->buffer.width, fb->buffer.height};
	const struct strip_layout parts = strip_layout(worker->config.strip, screen.width, screen.height);
	const struct blit_target target = strip_part(&screen, parts.content);
	struct rect dest = letterbox(head->source.w, head->source.h, target.width, target.height);
	struct face *state = &worker->face[face];
	struct rect touched, drawn = {0}, cursor = worker_draws_cursor(worker, face) ? worker_cursor_rect(state, head) : (struct rect){0};
	bool scaled = dest.w != head->source.w || dest.h != head->source.h;
	uint64_t bytes = 0;

	backend_draw(worker->config.backend, &fb->buffer, true);
	if (fb->cursor_serial != state->cursor.serial) {
		/* Where the pointer was comes back from the producer's pages. */
		damage_add(&fb->damage, fb->cursor);
		damage_add(&fb->damage, cursor);
	}
	bool figures = worker->figures.on && screen_of(face) == 0;
	bool uncover = fb->figures_serial != 0 && !figures;
	if (!fb->drawn || uncover || !same_rect(fb->source, head->source) || !same_rect(fb->dest, dest)) {
		blit_bars(&target, dest);
		fb->figures_serial = 0;
		drawn = (struct rect){0, 0, target.width, target.height};
		damage_clear(&fb->damage);
		damage_add(&fb->damage, head->source);
	}
	for (uint32_t i = 0; i < fb->damage.n; i++) {
		bytes += blit_picture(&target, dest, worker_pixels(worker, face), head->buffer, head->source, fb->damage.r[i], filter_of(worker),
			NULL, &worker->scratch, &touched);
		drawn = rect_union(drawn, touched);
	}
	/* Where the picture is scaled, target pixels of the pointer's edge were written for damage beside it. */
	struct rect bounds = damage_bounds(&fb->damage), hit = rect_intersect(scaled ? with_neighbours(bounds) : bounds, cursor);
	if (!rect_empty(&hit)) {
		bytes += blit_picture(&target, dest, worker_pixels(worker, face), head->buffer, head->source, cursor, filter_of(worker),
			cursor_picture(state, head), &worker->scratch, &touched);
		drawn = rect_union(drawn, touched);
	}
	if (figures)
		drawn = rect_union(drawn, draw_figures(worker, fb, &target, drawn));
	if (!rect_empty(&drawn))
		drawn.y += parts.content.y;
	if (!fb->strip)
		drawn = rect_union(drawn, draw_strip(worker, face, &screen, parts.strip));
	fb->strip = true;
	backend_draw(worker->config.backend, &fb->buffer, false);
	state->touched = rect_union(state->touched, drawn);
	fb->cursor = cursor;
	fb->cursor_serial = state->cursor.serial;
	damage_clear(&fb->damage);
	fb->drawn = true;
	fb->source = head->source;
	fb->dest = dest;
	if (face >= PANEL_FACE_GUEST)
		atomic_fetch_add_explicit(&worker->config.stats->bytes_copied, bytes, memory_order_relaxed);
}

void worker_redraw(struct worker *worker)
{
	for (uint32_t f = 0; f < PANEL_FACES; f++) {
		struct face *face = &worker->face[f];
		struct set *set = worker_current(worker, (enum panel_face)f);
		for (uint32_t i = 0; set && i < FACE_BUFFERS; i++)
			set->fb[f][i].drawn = set->fb[f][i].strip = false;
		/* The guest's own pages are not the card's memory. */
		if (face->direct || !worker_head(worker, (enum panel_face)f))
			continue;
		face->outstanding = true;
		face->next_ns = 0;
	}
}

void worker_shoot(struct worker *worker, const struct front_event *event)
{
	uint32_t *pixels = NULL, width = 0, height = 0;
	enum panel_face face = event->face;
	const struct link_head *head = face < PANEL_FACES ? worker_head(worker, face) : NULL;
	struct set *set = worker_find_set(worker, event->set);

	if (event->shot.on_screen && set && face == PANEL_FACES) { /* a further output beside the UI */
		width = set->width;
		height = set->height;
		pixels = calloc((size_t)width * height, 4);
	} else if (event->shot.on_screen && set && event->index < FACE_BUFFERS && set->fb[face][event->index].made &&
	    set->fb[face][event->index].buffer.readable) {
		const struct scanout_buffer *buffer = &set->fb[face][event->index].buffer;
		width = buffer->width;
		height = buffer->height;
		pixels = malloc((size_t)width * height * 4);
		for (uint32_t y = 0; pixels && y < height; y++)
			memcpy(pixels + (size_t)y * width, buffer->pixels + (size_t)y * buffer->pitch, (size_t)width * 4);
	} else if (head) {
		bool screen = event->shot.what == PANEL_SHOT_SCREEN && set;
		width = screen ? set->width : head->source.w;
		height = screen ? set->height : head->source.h;
		pixels = calloc((size_t)width * height, 4);
		if (pixels) {
			const struct blit_target whole = {(uint8_t *)pixels, width * 4, width, height};
			const struct strip_layout parts = strip_layout(screen ? worker->config.strip : PANEL_STRIP_OFF, width, height);
			const struct blit_target target = strip_part(&whole, parts.content);
			struct rect touched;
			const struct blit_cursor *picture = cursor_picture(&worker->face[face], head);
			blit_picture(&target, letterbox(head->source.w, head->source.h, target.width, target.height), worker_pixels(worker, face), head->buffer,
				head->source, head->source, filter_of(worker), picture, &worker->scratch, &touched);
			if (screen && worker->figures.on && screen_of(face) == 0)
				figures_draw(&target, &worker->figures.text);
			draw_strip(worker, face, &whole, parts.strip);
		}
	}
	if (!pixels)
		width = height = 0;
	atomic_fetch_sub(&worker->shots, 1);
	event->shot.done(event->shot.data, pixels, width, height);
}
