/*
 * Statistics for people: a box of figures in a corner of the panel, over whichever face is shown. Text and pixels, pure but for the memory
 * they are given; worker_figures.c decides when.
 */
#pragma once

#include "base/histogram.h"
#include "kms/blit.h"

#define FIGURES_LINES 6
#define FIGURES_COLUMNS 38

/* Counters at one moment. */
struct figures_counts {
	uint64_t at_ns;
	uint64_t frames, commits; /* of the guest's pictures shown; of all flips */
	uint64_t copied;          /* bytes */
};

/* How the guest's picture would reach the screen if the figures were not there: with them, it is copied. */
enum figures_path { FIGURES_NO_PICTURE, FIGURES_COPY, FIGURES_ZERO_COPY };

struct figures_text {
	char line[FIGURES_LINES][FIGURES_COLUMNS + 1];
};

/* What has happened between two moments, and the latencies of toggles so far: from the key's event to the flip, and to the commit. */
void figures_write(struct figures_text *text, const struct figures_counts *then, const struct figures_counts *now, const struct histogram_summary *flip,
	const struct histogram_summary *commit, enum figures_path path);
/* Where the box is on a screen of this size: the upper right corner. */
struct rect figures_place(uint32_t width, uint32_t height);
/* Writes every pixel of the box, and reads none. Letters that the font does not have are blanks. */
void figures_draw(const struct blit_target *target, const struct figures_text *text);
