/*
 * Copies a producer's picture into a framebuffer, row by row, straight from its pages. The target is only written (it may be
 * a write-combined mapping), the source may change under us: only its pixels do, its geometry is the table's checked copy.
 * Pure but for the memory it is given. Runs on the worker.
 */
#pragma once

#include <stdint.h>

#include "base/base.h"
#include "link/table.h"

/* XRGB8888 memory. */
struct blit_target {
	uint8_t *pixels;
	uint32_t pitch; /* bytes */
	uint32_t width, height;
};

/* How a picture is scaled. Whole multiples stay sharp with either. */
enum blit_filter { BLIT_NEAREST, BLIT_BILINEAR };

/* Source pixels that a target pixel lies between, and how many 256ths the second counts. */
struct blit_tap {
	uint32_t at, next, weight;
};

/* Lines of cached memory, for formats and sizes that differ. */
struct blit_scratch {
	uint32_t in[LINK_MAX_SIDE];
	uint32_t out[LINK_MAX_SIDE];
	uint32_t line[2][LINK_MAX_SIDE]; /* of the target's width, two neighbours of the source's height */
	struct blit_tap tap[LINK_MAX_SIDE];
};

/* A pointer picture over the source: premultiplied ARGB8888. */
struct blit_cursor {
	uint32_t image[LINK_CURSOR_SIDE * LINK_CURSOR_SIDE];
	int64_t x, y; /* of its top left corner, buffer coordinates; may lie outside */
};

/* True for the DRM formats (fourcc) this can read. */
bool blit_format_supported(uint32_t format);
/*
 * Copies `damage` (in buffer coordinates; clipped to source) of the picture `source` to where it lies when source fills
 * dest. Same sizes: copied. Else scaled; where bilinear the target pixels around those of the damage are written too, and whatever was
 * damaged in whichever pieces, the target has the pixels of one copy of the whole. Returns the bytes read from the producer's memory; *touched: what was
 * written, in target coordinates. Nothing is written when source is outside the buffer or dest outside the target.
 * cursor: blended over what is copied (never read back from the target), or NULL.
 */
uint64_t blit_picture(const struct blit_target *target, struct rect dest, const uint8_t *memory, const struct link_buffer *buffer,
	struct rect source, struct rect damage, enum blit_filter filter, const struct blit_cursor *cursor, struct blit_scratch *scratch, struct rect *touched);
/* Copies a LINK_CURSOR_SIDE x LINK_CURSOR_SIDE buffer to image as ARGB8888; formats without alpha are opaque. False when it is none. */
bool blit_read_cursor(uint32_t *image, const uint8_t *memory, const struct link_buffer *buffer);
/* Whether a framebuffer in XRGB8888 over these pixels would look right without a copy. */
bool blit_format_is_xrgb(uint32_t format);
/* Writes the rows of `r` (inside the buffer) back from the CPU's caches to memory, for a display that does not look there. */
void blit_flush(const uint8_t *memory, const struct link_buffer *buffer, struct rect r);
/* Fills everything outside `hole` with black. */
void blit_bars(const struct blit_target *target, struct rect hole);
