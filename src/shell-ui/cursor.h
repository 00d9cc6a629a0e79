/*
 * The pointer on the link: its picture, an arrow, in a buffer of LINK_CURSOR_SIDE squared, and its place. What the panel knows already is not said
 * again; a move is one message and redraws nothing. The UI's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "link/link.h"
#include "shell-ui/pointer.h"

#define CURSOR_BYTES (LINK_CURSOR_SIDE * LINK_CURSOR_SIDE * 4u)

struct cursor {
	struct link *link;
	struct link_buffer_id id;
	uint32_t *pixels;  /* CURSOR_BYTES of the UI's memory */
	uint64_t offset;   /* theirs in it */
	bool announced;
	uint32_t height;   /* of the arrow in the picture, pixels; 0: not drawn */
	bool fresh;        /* the panel has not read that picture */
	struct {
		int32_t x, y;
		bool visible;
	} told;
};

/* id: of a buffer, used by nobody else. */
void cursor_init(struct cursor *cursor, struct link *link, uint32_t id, uint8_t *pixels, uint64_t offset);
/* The arrow for text of that size, pixels. */
void cursor_scale(struct cursor *cursor, int font_size);
/* Tells the panel what it does not know. False: the ring is full, again later. */
bool cursor_tell(struct cursor *cursor, const struct ui_pointer *pointer);
/* An arrow whose tip is the first pixel: premultiplied ARGB8888, LINK_CURSOR_SIDE squared, the rest transparent. height: 8..LINK_CURSOR_SIDE. Pure. */
void cursor_draw(uint32_t *pixels, uint32_t height);
