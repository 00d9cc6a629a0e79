/* A short list of damaged rectangles, kept small by merging. Pure. */
#pragma once

#include "base/base.h"

#define DAMAGE_RECTS 12

struct damage {
	uint32_t n;
	struct rect r[DAMAGE_RECTS];
};

static inline void damage_clear(struct damage *damage)
{
	damage->n = 0;
}

/*
 * Adds a rectangle: what was added stays covered. Rectangles are merged where that costs no more pixels than copying both,
 * and where the list is full, the cheapest pair is.
 */
void damage_add(struct damage *damage, struct rect rect);
/* The rectangle around everything; empty when nothing. */
struct rect damage_bounds(const struct damage *damage);
