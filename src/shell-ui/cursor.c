#include "shell-ui/cursor.h"

#include <math.h>
#include <string.h>

#include <drm_fourcc.h>

#include "shell-ui/text.h"

#define SAMPLES 4 /* a pixel and direction */
#define UNITS 20.0 /* the arrow's height, in the units of its corners */
#define EDGE 1.3   /* half the line around it, in the same */

/* Its corners, the tip first; the line around it is centred on its sides. */
static const double corner[][2] = { { 1, 1 }, { 1, 16 }, { 4.3, 12.9 }, { 6.7, 18.6 }, { 8.9, 17.7 }, { 6.6, 12.1 }, { 11, 12 } };

#define CORNERS (sizeof(corner) / sizeof(corner[0]))

/* How far a place is from the nearest side; *inside: whether it lies within them. */
static double distance(double x, double y, bool *inside)
{
	double least = UNITS;
	*inside = false;
	for (size_t i = 0; i < CORNERS; i++) {
		const double *a = corner[i], *b = corner[(i + 1) % CORNERS];
		double along_x = b[0] - a[0], along_y = b[1] - a[1];
		double part = ((x - a[0]) * along_x + (y - a[1]) * along_y) / (along_x * along_x + along_y * along_y);
		part = part < 0 ? 0 : part > 1 ? 1 : part;
		least = fmin(least, hypot(x - a[0] - part * along_x, y - a[1] - part * along_y));
		if ((a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) * along_x / along_y)
			*inside = !*inside;
	}
	return least;
}

static uint32_t blend(uint32_t light, uint32_t dark, uint32_t n_light, uint32_t n_dark)
{
	const uint32_t all = SAMPLES * SAMPLES;
	uint32_t pixel = (n_light + n_dark) * 255 / all << 24;
	for (uint32_t shift = 0; shift < 24; shift += 8)
		pixel |= ((light >> shift & 255) * n_light + (dark >> shift & 255) * n_dark) / all << shift;
	return pixel;
}

void cursor_draw(uint32_t *pixels, uint32_t height)
{
	uint32_t light = theme_colour(TONE_STRONG), dark = theme_colour(TONE_BACK);
	double unit = UNITS / height;
	for (uint32_t i = 0; i < LINK_CURSOR_SIDE * LINK_CURSOR_SIDE; i++) {
		uint32_t n_light = 0, n_dark = 0;
		for (uint32_t s = 0; s < SAMPLES * SAMPLES; s++) {
			bool inside;
			double x = (i % LINK_CURSOR_SIDE + (s % SAMPLES + 0.5) / SAMPLES) * unit, y = (i / LINK_CURSOR_SIDE + (s / SAMPLES + 0.5) / SAMPLES) * unit;
			double far = distance(x, y, &inside);
			n_light += inside && far > EDGE / 2;
			n_dark += far <= EDGE / 2 || (!inside && far <= EDGE);
		}
		pixels[i] = blend(light, dark, n_light, n_dark);
	}
}

void cursor_init(struct cursor *cursor, struct link *link, uint32_t id, uint8_t *pixels, uint64_t offset)
{
	*cursor = (struct cursor){ .link = link, .id = { id, 1 }, .pixels = (uint32_t *)(void *)(pixels + offset), .offset = offset };
}

void cursor_scale(struct cursor *cursor, int font_size)
{
	uint32_t height = font_size < 6 ? 8 : (uint32_t)font_size * 3 / 2;
	if (height > LINK_CURSOR_SIDE)
		height = LINK_CURSOR_SIDE;
	if (height == cursor->height)
		return;
	cursor_draw(cursor->pixels, height);
	cursor->height = height;
	cursor->fresh = true;
}

bool cursor_tell(struct cursor *cursor, const struct ui_pointer *pointer)
{
	bool visible = pointer->shown && cursor->height != 0;
	bool moved = pointer->x != cursor->told.x || pointer->y != cursor->told.y;
	/* Where an unseen one is matters to nobody. */
	if (visible == cursor->told.visible && (!visible || (!moved && !cursor->fresh)))
		return true;
	struct link_segment segment = { .offset = cursor->offset, .length = CURSOR_BYTES };
	if (!cursor->announced && !link_send_buffer(cursor->link, cursor->id, LINK_CURSOR_SIDE, LINK_CURSOR_SIDE, LINK_CURSOR_SIDE * 4, DRM_FORMAT_ARGB8888, 0, &segment, 1))
		return false;
	cursor->announced = true;
	struct link_message message = { .type = LINK_CURSOR, .cursor = { .x = pointer->x, .y = pointer->y, .visible = visible } };
	if (cursor->fresh)
		message.cursor.buffer = cursor->id;
	if (!link_send_to_panel(cursor->link, &message))
		return false;
	cursor->fresh = false;
	cursor->told.x = pointer->x;
	cursor->told.y = pointer->y;
	cursor->told.visible = visible;
	return true;
}
