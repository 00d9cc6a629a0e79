/*
 * A producer's pointer picture, the guest's or the UI's, on the card's cursor plane. The worker copies pictures into two buffers of each producer's and says
 * which one is shown where; the front names the one of the face that it shows in commits. What was said last counts, so that a guest that moves its pointer all the
 * time costs the front nothing but the commits it makes anyway: one a refresh.
 *
 * Who owns a buffer: the worker, until it says its slot; the front, until it posts FRONT_POINTER_FREE, or until something else is said before the front
 * has read of it. So one that is on the screen, or may be in the next commit, is never written.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kms/backend.h"

#define POINTER_BUFFERS 2   /* of each producer */
#define POINTER_PRODUCERS 2 /* 0 the UI, 1 the guest */

/* What is to be seen of a pointer on the cursor plane. */
struct pointer {
	bool shown;
	uint32_t slot;         /* the buffer it is in, from 1; 0: none yet. Kept while nothing is shown: the front has it still. */
	int32_t x, y;          /* of its top left corner on the output, pixels; may lie outside */
	uint32_t hot_x, hot_y; /* the pointing pixel within it */
	uint32_t producer;     /* whose: the slot is one of its own */
};

/* What the worker says to the front of one producer's. */
struct pointer_news {
	_Atomic uint64_t state; /* pointer_pack(), and whether the front has read it */
	_Atomic bool pending;   /* a WORKER_POINTER is on its way */
	struct scanout_buffer buffer[POINTER_BUFFERS];
};

/* Into 64 bits and back. x and y from -LINK_CURSOR_SIDE to LINK_MAX_SIDE, hot spots below LINK_CURSOR_SIDE. */
uint64_t pointer_pack(const struct pointer *pointer);
struct pointer pointer_unpack(uint64_t state);
/* Whether two look the same. */
bool pointer_same(const struct pointer *a, const struct pointer *b);

/* What decides how a pointer picture of LINK_CURSOR_SIDE pixels is shown. */
struct pointer_case {
	bool plane;                         /* the output has a plane for it that was not refused */
	uint32_t plane_width, plane_height; /* of the pictures it takes */
	uint32_t width, height;             /* of the output */
	struct rect source, dest;           /* the part of the producer's buffer that is its picture, and where on the output that is */
	int32_t x, y;                       /* of its top left corner on the source */
	struct rect over;                   /* what the worker draws over the picture, and so over its pointer; empty: nothing */
};

/*
 * True: the cursor plane shows it, *pointer says where (not its slot and hot spot); nothing is shown when it lies outside. False: it has to be drawn
 * into the picture, because there is no plane for it, the picture is scaled, an edge of the picture that is not the output's edge cuts it, or the host
 * draws over it. Pure.
 */
bool pointer_on_plane(const struct pointer_case *what, struct pointer *pointer);

/* The worker's side, of one producer's. */
struct pointer_plane {
	uint32_t producer;
	uint32_t set;  /* of framebuffers that the place last said is for */
	bool allowed;  /* by the front */
	bool in_use;   /* it shows the producer's pointer, which is not drawn into pictures */
	bool failed;   /* no buffers could be made */
	bool stale;    /* the present picture is in no buffer */
	bool due;      /* something was said that the front was not woken for */
	uint64_t next_ns; /* it is not woken before */
	uint32_t slot; /* of the newest picture; 0: none */
	bool made[POINTER_BUFFERS];
	bool held[POINTER_BUFFERS], seen[POINTER_BUFFERS]; /* the front's; it has read of it */
};

enum pointer_load { POINTER_LOADED, POINTER_WAITS, POINTER_FAILED };
/* Brings the present picture (LINK_CURSOR_SIDE squared, premultiplied ARGB8888) into a buffer. WAITS: the front has both. */
enum pointer_load pointer_load(struct pointer_plane *plane, struct backend *backend, struct pointer_news *news, const uint32_t *image);
/* Says it. The buffer of plane->slot is the front's from now on. */
void pointer_say(struct pointer_plane *plane, struct pointer_news *news, struct pointer pointer);
/* Front: what was said last. Its slot is the front's from now on, if it was not. */
struct pointer pointer_take(struct pointer_news *news);
/* The front has let go of a slot. */
void pointer_free(struct pointer_plane *plane, uint32_t slot);
/* Frees all buffers, held or not. */
void pointer_plane_end(struct pointer_plane *plane, struct backend *backend, struct pointer_news *news);
