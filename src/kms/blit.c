#include "kms/blit.h"

#include <string.h>

#include <drm_fourcc.h>

#include "kms/pagecopy.h"

#define CACHE_LINE 64u /* bytes: of every x86-64 CPU */

static bool inside(struct rect r, uint32_t width, uint32_t height)
{
	return !rect_empty(&r) && (uint64_t)r.x + r.w <= width && (uint64_t)r.y + r.h <= height;
}

/* How a 32-bit little-endian pixel becomes XRGB8888. */
enum conversion { CONVERT_NONE, CONVERT_SWAP_RB, CONVERT_RGBX, CONVERT_BGRX, CONVERT_UNKNOWN };

static enum conversion conversion_of(uint32_t format)
{
	switch (format) {
	case DRM_FORMAT_XRGB8888:
	case DRM_FORMAT_ARGB8888:
		return CONVERT_NONE;
	case DRM_FORMAT_XBGR8888:
	case DRM_FORMAT_ABGR8888:
		return CONVERT_SWAP_RB;
	case DRM_FORMAT_RGBX8888:
	case DRM_FORMAT_RGBA8888:
		return CONVERT_RGBX;
	case DRM_FORMAT_BGRX8888:
	case DRM_FORMAT_BGRA8888:
		return CONVERT_BGRX;
	default:
		return CONVERT_UNKNOWN;
	}
}

bool blit_format_supported(uint32_t format)
{
	return conversion_of(format) != CONVERT_UNKNOWN;
}

bool blit_format_is_xrgb(uint32_t format)
{
	return conversion_of(format) == CONVERT_NONE;
}

static void convert(uint32_t *p, uint32_t n, enum conversion how)
{
	switch (how) {
	case CONVERT_SWAP_RB:
		for (uint32_t i = 0; i < n; i++)
			p[i] = (p[i] & 0x0000ff00u) | (p[i] >> 16 & 0xffu) | (p[i] & 0xffu) << 16;
		break;
	case CONVERT_RGBX:
		for (uint32_t i = 0; i < n; i++)
			p[i] >>= 8;
		break;
	case CONVERT_BGRX:
		for (uint32_t i = 0; i < n; i++)
			p[i] = __builtin_bswap32(p[i]) & 0x00ffffffu;
		break;
	case CONVERT_NONE:
	case CONVERT_UNKNOWN:
		break;
	}
}

/* A walk over the bytes of a rectangle that lie in the producer's memory as runs: rows of `row` bytes every `stride`. */
struct walk {
	const uint8_t *memory;
	uint8_t *out;
	uint64_t out_pitch;
	uint64_t stride, row;
	uint64_t at; /* bytes from the rectangle's first byte */
	const uint8_t *in; /* the run that waits for its successor */
	uint64_t length;
};

/* Copies the run that waits. ahead: the one after it, NULL: not worth fetching. */
static void walk_copy(struct walk *walk, const uint8_t *ahead)
{
	const uint8_t *in = walk->in;
	uint64_t length = walk->length;
	while (length > 0) {
		uint64_t y = walk->at / walk->stride, x = walk->at % walk->stride;
		uint64_t step;
		if (x < walk->row) {
			step = walk->row - x < length ? walk->row - x : length;
			pagecopy(walk->out + y * walk->out_pitch + x, in, step, ahead ? ahead + (in - walk->in) : NULL);
		} else {
			step = walk->stride - x < length ? walk->stride - x : length;
		}
		in += step;
		length -= step;
		walk->at += step;
	}
}

static void walk_run(void *data, uint64_t pixels_offset, uint64_t length)
{
	struct walk *walk = data;
	const uint8_t *in = walk->memory + pixels_offset;
	/* Never beyond the next run's end: what is fetched for nothing is taken from somebody. */
	walk_copy(walk, walk->length <= PAGECOPY_AHEAD_MAX && walk->length <= length ? in : NULL);
	walk->in = in;
	walk->length = length;
}

/* Copies a rectangle of the buffer to out. Rectangles are inside the buffer, so the sums below fit. place: as for link_buffer_runs(). */
static bool copy_rows(uint8_t *out, uint64_t out_pitch, const uint8_t *memory, const struct link_buffer *buffer, struct link_place *place, struct rect r)
{
	struct walk walk = {
		.memory = memory,
		.out = out,
		.out_pitch = out_pitch,
		.stride = buffer->stride,
		.row = (uint64_t)r.w * 4,
	};
	uint64_t start = buffer->offset + (uint64_t)r.y * buffer->stride + (uint64_t)r.x * 4;
	uint64_t length = (uint64_t)(r.h - 1) * buffer->stride + walk.row;
	if (walk.row == out_pitch && buffer->stride == out_pitch) {
		/* One piece on both sides: whole runs are copied at a time. */
		walk.stride = walk.row = length;
	}
	bool whole = link_buffer_runs(buffer, place, start, length, walk_run, &walk);
	walk_copy(&walk, NULL);
	return whole;
}

static void flush_run(void *data, uint64_t pixels_offset, uint64_t length)
{
	struct walk *walk = data;
	const uint8_t *in = walk->memory + pixels_offset;
	while (length > 0) {
		uint64_t x = walk->at % walk->stride, step = (x < walk->row ? walk->row : walk->stride) - x;
		step = step < length ? step : length;
		/* Lines begin at multiples of their size, the row may not. */
		uintptr_t line = (uintptr_t)in & ~(uintptr_t)(CACHE_LINE - 1);
		for (; x < walk->row && line < (uintptr_t)in + step; line += CACHE_LINE)
			__builtin_ia32_clflush((const void *)line);
		in += step;
		length -= step;
		walk->at += step;
	}
}

void blit_flush(const uint8_t *memory, const struct link_buffer *buffer, struct rect r)
{
	struct walk walk = {.memory = memory, .stride = buffer->stride, .row = (uint64_t)r.w * 4};
	if (!inside(r, buffer->width, buffer->height))
		return;
	__builtin_ia32_mfence();
	link_buffer_runs(buffer, NULL, buffer->offset + (uint64_t)r.y * buffer->stride + (uint64_t)r.x * 4, (uint64_t)(r.h - 1) * buffer->stride + walk.row,
		flush_run, &walk);
	__builtin_ia32_mfence();
}

/* Premultiplied source over one channel pair at a time: a * b / 255 rounded, both channels in one multiplication. */
static uint32_t over(uint32_t s, uint32_t d)
{
	uint32_t keep = 255 - (s >> 24);
	uint32_t rb = (d & 0xff00ffu) * keep + 0x800080u, g = (d >> 8 & 0xffu) * keep + 0x80u;
	rb = (rb + (rb >> 8 & 0xff00ffu)) >> 8 & 0xff00ffu;
	g = (g + (g >> 8)) >> 8;
	uint32_t out = 0;
	/* A picture that is not premultiplied must not carry into the next channel. */
	for (uint32_t shift = 0; shift < 24; shift += 8) {
		uint32_t c = (s >> shift & 0xffu) + (shift == 8 ? g : rb >> shift & 0xffu);
		out |= (c > 255 ? 255 : c) << shift;
	}
	return out;
}

/* Blends a cursor's row over converted pixels [x, x + n) of buffer row y. */
static void blend(uint32_t *line, uint32_t x, uint32_t n, uint32_t y, const struct blit_cursor *cursor)
{
	int64_t row = (int64_t)y - cursor->y;
	if (row < 0 || row >= LINK_CURSOR_SIDE)
		return;
	int64_t from = cursor->x > x ? cursor->x : x, to = cursor->x + LINK_CURSOR_SIDE;
	if (to > (int64_t)x + n)
		to = (int64_t)x + n;
	for (int64_t i = from; i < to; i++)
		line[i - x] = over(cursor->image[row * LINK_CURSOR_SIDE + (i - cursor->x)], line[i - x]);
}

bool blit_read_cursor(uint32_t *image, const uint8_t *memory, const struct link_buffer *buffer)
{
	enum conversion how = conversion_of(buffer->format);
	if (how == CONVERT_UNKNOWN || buffer->width != LINK_CURSOR_SIDE || buffer->height != LINK_CURSOR_SIDE ||
	    !copy_rows((uint8_t *)image, LINK_CURSOR_SIDE * 4, memory, buffer, NULL, (struct rect){0, 0, LINK_CURSOR_SIDE, LINK_CURSOR_SIDE}))
		return false;
	bool alpha = buffer->format == DRM_FORMAT_ARGB8888 || buffer->format == DRM_FORMAT_ABGR8888 || buffer->format == DRM_FORMAT_RGBA8888 ||
		     buffer->format == DRM_FORMAT_BGRA8888;
	for (uint32_t i = 0; i < LINK_CURSOR_SIDE * LINK_CURSOR_SIDE; i++) {
		uint32_t a = !alpha ? 255 : how == CONVERT_RGBX || how == CONVERT_BGRX ? image[i] & 0xffu : image[i] >> 24;
		convert(&image[i], 1, how);
		image[i] = (image[i] & 0xffffffu) | a << 24;
	}
	return true;
}

/* A picture to read from. */
struct reader {
	const uint8_t *memory;
	const struct link_buffer *buffer;
	enum conversion how;
	const struct blit_cursor *cursor; /* NULL: none */
	struct link_place place;
};

/* Pixels [x, x + w) of the buffer's row y to `out`, converted, the pointer picture over them. Rows are asked for from top to bottom. */
static bool read_line(struct reader *reader, uint32_t *out, uint32_t x, uint32_t y, uint32_t w)
{
	if (!copy_rows((uint8_t *)out, LINK_MAX_SIDE * 4, reader->memory, reader->buffer, &reader->place, (struct rect){x, y, w, 1}))
		return false;
	convert(out, w, reader->how);
	if (reader->cursor)
		blend(out, x, w, y, reader->cursor);
	return true;
}

/* First target pixel whose source pixel may be >= s: nearest sampling takes (2d + 1) * source / (2 * dest). */
static uint32_t scale_down_to(uint32_t s, uint32_t source, uint32_t dest)
{
	return (uint32_t)((uint64_t)s * dest / source);
}

static uint32_t scale_up_to(uint32_t s, uint32_t source, uint32_t dest)
{
	return (uint32_t)(((uint64_t)s * dest + source - 1) / source);
}

static uint32_t sample(uint32_t d, uint32_t source, uint32_t dest)
{
	return (uint32_t)((2 * (uint64_t)d + 1) * source / (2 * (uint64_t)dest));
}

static uint64_t scale_nearest(const struct blit_target *target, struct rect dest, struct reader *reader, struct rect source, struct rect damage,
	struct blit_scratch *scratch, struct rect *touched)
{
	uint32_t x0 = scale_down_to(damage.x - source.x, source.w, dest.w);
	uint32_t y0 = scale_down_to(damage.y - source.y, source.h, dest.h);
	uint32_t x1 = scale_up_to(damage.x - source.x + damage.w, source.w, dest.w);
	uint32_t y1 = scale_up_to(damage.y - source.y + damage.h, source.h, dest.h);
	if (x1 <= x0 || y1 <= y0)
		return 0;
	/* The source columns those target columns sample. */
	uint32_t sx0 = sample(x0, source.w, dest.w), columns = sample(x1 - 1, source.w, dest.w) - sx0 + 1;
	uint64_t bytes = 0;
	uint32_t have = UINT32_MAX;
	for (uint32_t y = y0; y < y1; y++) {
		uint32_t sy = sample(y, source.h, dest.h);
		if (sy != have) {
			if (!read_line(reader, scratch->in, source.x + sx0, source.y + sy, columns))
				return bytes;
			for (uint32_t x = x0; x < x1; x++)
				scratch->out[x - x0] = scratch->in[sample(x, source.w, dest.w) - sx0];
			bytes += (uint64_t)columns * 4;
			have = sy;
		}
		memcpy(target->pixels + (uint64_t)(dest.y + y) * target->pitch + (uint64_t)(dest.x + x0) * 4, scratch->out, (uint64_t)(x1 - x0) * 4);
	}
	*touched = (struct rect){dest.x + x0, dest.y + y0, x1 - x0, y1 - y0};
	return bytes;
}

/*
 * Bilinear sampling: the centre of target pixel d lies ((2d + 1) * source - dest) / (2 * dest) pixels right of (below) the centre of source pixel 0.
 * It takes the source pixels on both sides of it, that of the edge twice outside. The weight is a function of d alone, so that a part drawn anew
 * is what a whole picture would have there.
 */
static struct blit_tap tap_of(uint32_t d, uint32_t source, uint32_t dest)
{
	/* One source pixel more, as the first may be at -1. */
	uint64_t place = (2 * (uint64_t)d + 1) * source + dest, unit = 2 * (uint64_t)dest;
	uint32_t next = (uint32_t)(place / unit);
	return (struct blit_tap){next == 0 ? 0 : next - 1, next < source ? next : source - 1, (uint32_t)(place % unit * 256 / unit)};
}

/* First target pixel whose centre is not before the point half_pixels / 2 of the source. */
static uint32_t first_from(uint32_t half_pixels, uint32_t source, uint32_t dest)
{
	return (uint32_t)(((uint64_t)half_pixels * dest + source - 1) / source / 2);
}

/* Target pixels [*from, *to) take source pixels of [s, s + n): one source pixel around those counts too. */
static void reach(uint32_t s, uint32_t n, uint32_t source, uint32_t dest, uint32_t *from, uint32_t *to)
{
	*from = s == 0 ? 0 : first_from(2 * s - 1, source, dest);
	*to = min_u32(first_from(2 * (s + n) + 1, source, dest), dest);
}

static uint32_t mix(uint32_t a, uint32_t b, uint32_t weight)
{
	uint32_t keep = 256 - weight;
	uint32_t rb = ((a & 0xff00ffu) * keep + (b & 0xff00ffu) * weight + 0x800080u) >> 8 & 0xff00ffu;
	uint32_t g = ((a & 0xff00u) * keep + (b & 0xff00u) * weight + 0x8000u) >> 8 & 0xff00u;
	return rb | g;
}

static uint64_t scale_bilinear(const struct blit_target *target, struct rect dest, struct reader *reader, struct rect source, struct rect damage,
	struct blit_scratch *scratch, struct rect *touched)
{
	uint32_t x0, x1, y0, y1, have[2] = {UINT32_MAX, UINT32_MAX};
	reach(damage.x - source.x, damage.w, source.w, dest.w, &x0, &x1);
	reach(damage.y - source.y, damage.h, source.h, dest.h, &y0, &y1);
	if (x1 <= x0 || y1 <= y0)
		return 0;
	uint32_t sx0 = tap_of(x0, source.w, dest.w).at, columns = tap_of(x1 - 1, source.w, dest.w).next - sx0 + 1;
	for (uint32_t x = x0; x < x1; x++)
		scratch->tap[x - x0] = tap_of(x, source.w, dest.w);
	uint64_t bytes = 0;
	for (uint32_t y = y0; y < y1; y++) {
		struct blit_tap row = tap_of(y, source.h, dest.h);
		const uint32_t need[2] = {row.at, row.next};
		for (uint32_t i = 0; i < 2; i++) {
			/* Neighbours differ in their lowest bit: each line stays as long as it is one of the two. */
			uint32_t *line = scratch->line[need[i] & 1];
			if (have[need[i] & 1] == need[i])
				continue;
			if (!read_line(reader, scratch->in, source.x + sx0, source.y + need[i], columns))
				return bytes;
			for (uint32_t x = 0; x < x1 - x0; x++) {
				const struct blit_tap *tap = &scratch->tap[x];
				line[x] = mix(scratch->in[tap->at - sx0], scratch->in[tap->next - sx0], tap->weight);
			}
			bytes += (uint64_t)columns * 4;
			have[need[i] & 1] = need[i];
		}
		const uint32_t *above = scratch->line[row.at & 1], *below = scratch->line[row.next & 1];
		for (uint32_t x = 0; x < x1 - x0; x++)
			scratch->out[x] = mix(above[x], below[x], row.weight);
		memcpy(target->pixels + (uint64_t)(dest.y + y) * target->pitch + (uint64_t)(dest.x + x0) * 4, scratch->out, (uint64_t)(x1 - x0) * 4);
	}
	*touched = (struct rect){dest.x + x0, dest.y + y0, x1 - x0, y1 - y0};
	return bytes;
}

uint64_t blit_picture(const struct blit_target *target, struct rect dest, const uint8_t *memory, const struct link_buffer *buffer,
	struct rect source, struct rect damage, enum blit_filter filter, const struct blit_cursor *cursor, struct blit_scratch *scratch, struct rect *touched)
{
	*touched = (struct rect){0};
	struct reader reader = {memory, buffer, conversion_of(buffer->format), cursor, {0}};
	if (reader.how == CONVERT_UNKNOWN || !inside(source, buffer->width, buffer->height) || !inside(dest, target->width, target->height) ||
	    buffer->stride < (uint64_t)buffer->width * 4 || buffer->width > LINK_MAX_SIDE || target->width > LINK_MAX_SIDE)
		return 0;
	damage = rect_intersect(damage, source);
	if (rect_empty(&damage))
		return 0;
	if (dest.w != source.w || dest.h != source.h) {
		bool smooth = filter == BLIT_BILINEAR && (dest.w % source.w != 0 || dest.h % source.h != 0);
		return (smooth ? scale_bilinear : scale_nearest)(target, dest, &reader, source, damage, scratch, touched);
	}

	struct rect at = {dest.x + damage.x - source.x, dest.y + damage.y - source.y, damage.w, damage.h};
	uint8_t *out = target->pixels + (uint64_t)at.y * target->pitch + (uint64_t)at.x * 4;
	if (reader.how == CONVERT_NONE && !cursor) {
		if (!copy_rows(out, target->pitch, memory, buffer, NULL, damage))
			return 0;
	} else {
		for (uint32_t y = 0; y < damage.h; y++) {
			if (!read_line(&reader, scratch->in, damage.x, damage.y + y, damage.w))
				return 0;
			memcpy(out + (uint64_t)y * target->pitch, scratch->in, (uint64_t)damage.w * 4);
		}
	}
	*touched = at;
	return (uint64_t)damage.w * damage.h * 4;
}

static void black(const struct blit_target *target, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	for (uint32_t i = 0; w && i < h; i++)
		memset(target->pixels + (uint64_t)(y + i) * target->pitch + (uint64_t)x * 4, 0, (uint64_t)w * 4);
}

void blit_bars(const struct blit_target *target, struct rect hole)
{
	if (rect_empty(&hole)) {
		black(target, 0, 0, target->width, target->height);
		return;
	}
	uint32_t right = hole.x + hole.w, bottom = hole.y + hole.h;
	black(target, 0, 0, target->width, hole.y);
	black(target, 0, bottom, target->width, target->height - bottom);
	black(target, 0, hole.y, hole.x, hole.h);
	black(target, right, hole.y, target->width - right, hole.h);
}
