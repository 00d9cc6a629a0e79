/*
 * Output: one head's two buffers in the UI's memfd, and the frames published from them. A buffer is painted again only when the panel
 * has shown a later frame; each buffer remembers the damage it missed. The UI's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <pixman.h>

#include "link/link.h"
#include "shell-ui/scene.h"

#define OUTPUT_SLOTS 2

struct output_slot {
	struct link_buffer_id id;
	uint64_t offset;      /* bytes into the memfd */
	bool announced;       /* the panel knows it */
	bool dying;           /* given up; LINK_RELEASED is awaited */
	uint64_t sequence;    /* of the last frame it was in; 0: none */
	pixman_image_t *image;
	pixman_region32_t stale; /* changed since it was painted */
};

struct output {
	struct link *link;
	uint32_t head;
	uint8_t *pixels;      /* the memfd, writable */
	uint64_t slot_size;   /* bytes reserved for each slot */
	uint32_t width, height, stride; /* of frames; 0: no display */
	uint64_t sequence, presented;
	struct output_slot slot[OUTPUT_SLOTS];
};

enum output_result {
	OUTPUT_NOTHING, /* nothing to draw */
	OUTPUT_DRAWN,
	OUTPUT_WAIT,    /* both buffers are in use: a PRESENTED or RELEASED will come */
	OUTPUT_FULL,    /* the ring is full: try again a little later */
};

/* Slots use pixels[offset, offset + 2 * slot_size). */
void output_init(struct output *output, struct link *link, uint32_t head, uint8_t *pixels, uint64_t offset, uint64_t slot_size);
void output_finish(struct output *output);
/* Bytes a slot needs for a picture of that size; 0 when the sides are beyond the link's bounds. */
uint64_t output_slot_size(uint32_t width, uint32_t height);
/* A new size (0, 0: no display): the buffers announced so far are given up. The size must fit the slot. False when the ring is full: nothing changed. */
bool output_resize(struct output *output, uint32_t width, uint32_t height);
/* Publishes the scene's damage, if any, and clears it. */
enum output_result output_draw(struct output *output, struct scene *scene);
void output_presented(struct output *output, uint64_t sequence);
/* True when the buffer was this output's. */
bool output_released(struct output *output, struct link_buffer_id id);
