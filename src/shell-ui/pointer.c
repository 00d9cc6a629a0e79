#include "shell-ui/pointer.h"

static int32_t clamp(int64_t at, uint32_t side)
{
	return at < 0 || side == 0 ? 0 : at >= side ? (int32_t)side - 1 : (int32_t)at;
}

void ui_pointer_resize(struct ui_pointer *pointer, uint32_t width, uint32_t height)
{
	if (width == 0 || height == 0 || (width == pointer->width && height == pointer->height))
		return; /* no display: where it was counts for the next one */
	bool first = pointer->width == 0;
	pointer->x = first ? (int32_t)width / 2 : clamp((int64_t)pointer->x * width / pointer->width, width);
	pointer->y = first ? (int32_t)height / 2 : clamp((int64_t)pointer->y * height / pointer->height, height);
	pointer->width = width;
	pointer->height = height;
}

void ui_pointer_used(struct ui_pointer *pointer, uint64_t now)
{
	pointer->used = pointer->shown = true;
	pointer->hide_ns = pointer->face ? now + POINTER_HIDE_NS : 0;
}

void ui_pointer_move(struct ui_pointer *pointer, int32_t dx, int32_t dy, uint64_t now)
{
	pointer->x = clamp((int64_t)pointer->x + dx, pointer->width);
	pointer->y = clamp((int64_t)pointer->y + dy, pointer->height);
	ui_pointer_used(pointer, now);
}

void ui_pointer_place(struct ui_pointer *pointer, bool vertical, int32_t at, uint64_t now)
{
	uint32_t side = vertical ? pointer->height : pointer->width;
	int64_t pixel = side == 0 ? 0 : ((int64_t)at * (side - 1) + 32767) / 65535;
	*(vertical ? &pointer->y : &pointer->x) = clamp(pixel, side);
	ui_pointer_used(pointer, now);
}

void ui_pointer_typed(struct ui_pointer *pointer)
{
	pointer->shown = false;
	pointer->hide_ns = 0;
}

void ui_pointer_face(struct ui_pointer *pointer, bool visible, uint64_t now)
{
	pointer->face = visible;
	pointer->shown = pointer->used;
	pointer->hide_ns = visible && pointer->shown ? now + POINTER_HIDE_NS : 0;
}

uint64_t ui_pointer_time(struct ui_pointer *pointer, uint64_t now)
{
	if (pointer->hide_ns != 0 && now >= pointer->hide_ns) {
		pointer->shown = false;
		pointer->hide_ns = 0;
	}
	return pointer->hide_ns;
}
