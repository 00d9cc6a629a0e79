/* SPDX-License-Identifier: MIT */
/* The picture of the tiny guest. tinypic.py reads it back: the numbers here and there are the same. */
#include "tiny.h"

#define BACKGROUND 0x305070u
#define CORNER 64u	/* side of the squares in the corners */
#define BLOCK 16u	/* side of one bit */
#define STRIP_X 100u
#define COUNTER_Y 100u	/* 32 bits, the highest first; below it the same inverted */
#define KEY_Y 148u	/* 16 bits, then after one block of nothing a block that says whether the key is down */
#define FOOT 116u	/* the counter again, this far above the lower edge: a picture put together from two frames shows */

static void fill(struct picture *picture, uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint32_t colour)
{
	if (x >= picture->width || y >= picture->height)
		return;
	if (width > picture->width - x)
		width = picture->width - x;
	if (height > picture->height - y)
		height = picture->height - y;
	for (uint32_t row = y; row < y + height; row++) {
		uint32_t *pixel = picture->pixels + (size_t)row * picture->stride + x;

		for (uint32_t i = 0; i < width; i++)
			pixel[i] = colour;
	}
}

static void bits(struct picture *picture, uint32_t y, unsigned int count, uint32_t value, uint32_t zero, uint32_t one)
{
	for (unsigned int i = 0; i < count; i++) {
		const bool set = value >> (count - 1 - i) & 1;

		fill(picture, STRIP_X + i * BLOCK, y, BLOCK, BLOCK, set ? one : zero);
	}
}

struct rectangle picture_update(struct picture *picture, const struct painted *painted)
{
	struct rectangle all = {STRIP_X, COUNTER_Y, STRIP_X + 32 * BLOCK, picture->height - FOOT + BLOCK};

	bits(picture, COUNTER_Y, 32, painted->counter, 0x000000, 0xffffff);
	bits(picture, COUNTER_Y + BLOCK, 32, ~painted->counter, 0x000000, 0xffffff);
	bits(picture, KEY_Y, 16, painted->key, 0x004040, 0x00ffff);
	fill(picture, STRIP_X + 17 * BLOCK, KEY_Y, BLOCK, BLOCK, painted->key_down ? 0xff00ff : 0x808080);
	bits(picture, picture->height - FOOT, 32, painted->counter, 0x000000, 0xffffff);

	if (all.x2 > picture->width)
		all.x2 = picture->width;
	return all;
}

void picture_paint(struct picture *picture, const struct painted *painted)
{
	const uint32_t right = picture->width - CORNER, bottom = picture->height - CORNER;

	fill(picture, 0, 0, picture->width, picture->height, BACKGROUND);
	fill(picture, 0, 0, CORNER, CORNER, 0xff0000);
	fill(picture, right, 0, CORNER, CORNER, 0x00ff00);
	fill(picture, 0, bottom, CORNER, CORNER, 0x0000ff);
	fill(picture, right, bottom, CORNER, CORNER, 0xffff00);
	picture_update(picture, painted);
}
