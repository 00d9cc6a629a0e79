/*
 * Which way the guest's picture takes to the screen: a ladder of rungs, the cheapest first, of which the first that the card can take is used.
 *
 *   RUNG_PRIMARY   the guest's own buffer on the primary plane: it has the screen's size. No copy.
 *   RUNG_OVERLAY   the guest's own buffer on an overlay plane over a black screen: it is smaller and is shown unscaled. No copy.
 *   RUNG_SOFTWARE  copied into a framebuffer, scaled where need be. Always possible.
 *
 * Which of the first two it can be follows from the layout. What a driver says it can do is no promise: one that failed at a commit is remembered for its
 * layout, and after LADDER_STRIKES in a row is not tried any more. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

#define LADDER_STRIKES 4 /* failures of a rung in one layout, none shown between them */
#define LADDER_MEMORY 8  /* layouts remembered, the oldest goes */

enum rung { RUNG_PRIMARY, RUNG_OVERLAY, RUNG_SOFTWARE };

/* Sizes in pixels, of what the guest shows and of the screen. */
struct ladder_layout {
	uint32_t source_w, source_h, screen_w, screen_h;
};

struct ladder_can {
	bool imports;  /* the guest's pages can be framebuffers, in this format */
	bool overlay;  /* there is a plane over the primary one that takes them */
	bool blended;  /* something is drawn over the picture, which only a copy can have */
};

struct ladder {
	struct {
		struct ladder_layout layout;
		uint32_t strikes; /* 0: slot is free */
		uint64_t used;
	} memory[LADDER_MEMORY];
	uint64_t count;
};

/* The cheapest rung that a layout can have. */
enum rung ladder_best(const struct ladder_layout *layout);
/* The rung for a layout; *dest: where the picture lies on the screen. */
enum rung ladder_plan(const struct ladder *ladder, const struct ladder_layout *layout, const struct ladder_can *can, struct rect *dest);
/* The card refused the layout's best rung. True: for the last time, it is not planned again. */
bool ladder_failed(struct ladder *ladder, const struct ladder_layout *layout);
/* That was on the screen. */
void ladder_worked(struct ladder *ladder, const struct ladder_layout *layout);
