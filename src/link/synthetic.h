/*
 * The synthetic scanout (--features dev_scanout): a moving pattern as the guest. A producer on a link, in a thread or in a
 * forked child: synthetic_run() is the same code for both.
 *
 * The picture (XRGB8888): background of vertical colour bars, a white square that moves, and a frame counter of 32 blocks of
 * 16x16 pixels from (100, 100) on, most significant bit first, white 1 and black 0; corner squares of 64x64 pixels: red top
 * left, green top right, blue bottom left, yellow bottom right. The bars of further heads are redder, greener, bluer.
 */
#pragma once

#include <stdint.h>

#include "link/link.h"

/* memfd for the pixels of two buffers of at most width x height; for several heads of so many times the height. -1 with errno. *size: its bytes. */
int synthetic_memory(uint32_t max_width, uint32_t max_height, uint64_t *size);

struct synthetic_config {
	struct link *link;
	int pixels_fd;
	uint64_t pixels_size;
	uint32_t heads;    /* 0: one */
	uint32_t fps;      /* frames a second at most, of each head */
	int stop_fd;       /* ends when readable */
	uint64_t frames;   /* ends after so many of the first head; 0: never */
	struct stats *stats; /* NULL in a child: counts frames_flushed, of the first head */
	/* A frame of the first head was shown, at time_ns of CLOCK_MONOTONIC, or would have been if the face were. Its thread. May be NULL. */
	void (*presented)(void *data, uint64_t time_ns);
	void *data;
};

/* Runs until stop_fd is readable. Returns the number of frames published on the first head. Logs input packets it gets at debug level. */
uint64_t synthetic_run(const struct synthetic_config *config);
/* What pixel (x, y) of frame n of that size has: for tests. 0x00RRGGBB. */
uint32_t synthetic_pixel_on(uint32_t head, uint32_t width, uint32_t height, uint64_t frame, uint32_t x, uint32_t y);
/* The same of the first head. */
uint32_t synthetic_pixel(uint32_t width, uint32_t height, uint64_t frame, uint32_t x, uint32_t y);
