#define LOG_MODULE "pointer"
#include "kms/pointer.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#define TAKEN (1ull << 63) /* in pointer_news.state: the front has read it */

uint64_t pointer_pack(const struct pointer *pointer)
{
	return (uint64_t)(uint16_t)pointer->x | (uint64_t)(uint16_t)pointer->y << 16 | (uint64_t)(pointer->hot_x & 0xff) << 32 |
	       (uint64_t)(pointer->hot_y & 0xff) << 40 | (uint64_t)(pointer->slot & 0xff) << 48 | (uint64_t)pointer->shown << 56 |
	       (uint64_t)(pointer->producer & 1) << 57;
}

struct pointer pointer_unpack(uint64_t state)
{
	return (struct pointer){
		.shown = state >> 56 & 1,
		.slot = state >> 48 & 0xff,
		.x = (int16_t)(state & 0xffff),
		.y = (int16_t)(state >> 16 & 0xffff),
		.hot_x = state >> 32 & 0xff,
		.hot_y = state >> 40 & 0xff,
		.producer = state >> 57 & 1,
	};
}

bool pointer_same(const struct pointer *a, const struct pointer *b)
{
	if (!a->shown || !b->shown)
		return a->shown == b->shown;
	return pointer_pack(a) == pointer_pack(b);
}

/* Whether a side of the picture cuts the pointer where the plane would not. from, to: of the pointer; low, high: of the picture; end: of the output. */
static bool cut(int64_t from, int64_t to, int64_t low, int64_t high, int64_t end)
{
	return (from < low && low > 0) || (to > high && high < end);
}

bool pointer_on_plane(const struct pointer_case *what, struct pointer *pointer)
{
	const struct rect *source = &what->source, *dest = &what->dest;
	*pointer = (struct pointer){0};
	if (!what->plane || what->plane_width < LINK_CURSOR_SIDE || what->plane_height < LINK_CURSOR_SIDE || rect_empty(source) || source->w != dest->w ||
	    source->h != dest->h)
		return false;
	int64_t x0 = (int64_t)dest->x + what->x, x1 = x0 + LINK_CURSOR_SIDE, left = dest->x, right = left + dest->w;
	int64_t y0 = (int64_t)dest->y + what->y, y1 = y0 + LINK_CURSOR_SIDE, top = dest->y, bottom = top + dest->h;
	if (x1 <= left || y1 <= top || x0 >= right || y0 >= bottom)
		return true;
	if (cut(x0, x1, left, right, what->width) || cut(y0, y1, top, bottom, what->height))
		return false;
	const struct rect *over = &what->over;
	if (!rect_empty(over) && x1 > over->x && x0 < (int64_t)over->x + over->w && y1 > over->y && y0 < (int64_t)over->y + over->h)
		return false;
	*pointer = (struct pointer){.shown = true, .x = (int32_t)x0, .y = (int32_t)y0};
	return true;
}

enum pointer_load pointer_load(struct pointer_plane *plane, struct backend *backend, struct pointer_news *news, const uint32_t *image)
{
	if (plane->slot && !plane->stale)
		return POINTER_LOADED;
	uint32_t i = 0;
	while (i < POINTER_BUFFERS && plane->held[i])
		i++;
	if (i == POINTER_BUFFERS)
		return POINTER_WAITS;
	struct scanout_buffer *buffer = &news->buffer[i];
	bool fresh = !plane->made[i];
	if (fresh) {
		if (plane->failed || backend->ops->make_cursor(backend, buffer) != 0) {
			if (!plane->failed)
				log_info("no buffer for the cursor plane (%s): the pointer is drawn into the picture", strerror(errno));
			plane->failed = true;
			return POINTER_FAILED;
		}
		plane->made[i] = true;
	}
	backend_draw(backend, buffer, true);
	for (uint32_t y = 0; fresh && y < buffer->height; y++)
		memset(buffer->pixels + (uint64_t)y * buffer->pitch, 0, (uint64_t)buffer->width * 4);
	/* Its first LINK_CURSOR_SIDE rows and columns; the rest of a larger one stays transparent. */
	for (uint32_t y = 0; y < LINK_CURSOR_SIDE; y++)
		memcpy(buffer->pixels + (uint64_t)y * buffer->pitch, image + (uint64_t)y * LINK_CURSOR_SIDE, LINK_CURSOR_SIDE * 4);
	backend_draw(backend, buffer, false);
	plane->slot = i + 1;
	plane->stale = false;
	return POINTER_LOADED;
}

void pointer_say(struct pointer_plane *plane, struct pointer_news *news, struct pointer pointer)
{
	pointer.slot = plane->slot;
	pointer.producer = plane->producer;
	uint64_t state = pointer_pack(&pointer);
	if (state == (atomic_load(&news->state) & ~TAKEN))
		return;
	if (plane->slot)
		plane->held[plane->slot - 1] = true;
	uint64_t old = atomic_exchange(&news->state, state);
	uint32_t before = pointer_unpack(old).slot;
	if (before && old & TAKEN)
		plane->seen[before - 1] = true;
	if (before && before != plane->slot && !plane->seen[before - 1])
		plane->held[before - 1] = false; /* the front never looked at it */
	plane->due = true;
}

struct pointer pointer_take(struct pointer_news *news)
{
	return pointer_unpack(atomic_fetch_or(&news->state, TAKEN));
}

void pointer_free(struct pointer_plane *plane, uint32_t slot)
{
	if (slot >= 1 && slot <= POINTER_BUFFERS)
		plane->held[slot - 1] = plane->seen[slot - 1] = false;
}

void pointer_plane_end(struct pointer_plane *plane, struct backend *backend, struct pointer_news *news)
{
	for (uint32_t i = 0; i < POINTER_BUFFERS; i++)
		if (plane->made[i])
			backend->ops->free_buffer(backend, &news->buffer[i]);
	*plane = (struct pointer_plane){.producer = plane->producer};
}
