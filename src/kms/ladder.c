#include "kms/ladder.h"

#include <string.h>

#include "kms/letterbox.h"

static int find(const struct ladder *ladder, const struct ladder_layout *layout, enum rung rung)
{
	for (int i = 0; i < LADDER_MEMORY; i++)
		if (ladder->memory[i].strikes && ladder->memory[i].rung == rung && memcmp(&ladder->memory[i].layout, layout, sizeof(*layout)) == 0)
			return i;
	return -1;
}

static bool barred(const struct ladder *ladder, const struct ladder_layout *layout, enum rung rung)
{
	int i = find(ladder, layout, rung);
	return i >= 0 && ladder->memory[i].strikes >= LADDER_STRIKES;
}

enum rung ladder_plan(const struct ladder *ladder, const struct ladder_layout *layout, const struct ladder_can *can, struct rect *dest)
{
	*dest = letterbox(layout->source_w, layout->source_h, layout->screen_w, layout->screen_h);
	if (!can->imports || can->blended)
		return RUNG_SOFTWARE;
	/* Planes scale each in their own way, and smoothly: pixels that are not shown one to one are drawn here. */
	if (dest->w != layout->source_w || dest->h != layout->source_h)
		return RUNG_SOFTWARE;
	bool whole = dest->w == layout->screen_w && dest->h == layout->screen_h;
	enum rung rung = whole ? RUNG_PRIMARY : RUNG_OVERLAY;
	if ((rung == RUNG_OVERLAY && !can->overlay) || barred(ladder, layout, rung))
		return RUNG_SOFTWARE;
	return rung;
}

bool ladder_failed(struct ladder *ladder, const struct ladder_layout *layout, enum rung rung)
{
	int i = find(ladder, layout, rung);
	if (i < 0) {
		i = 0;
		for (int other = 1; other < LADDER_MEMORY && ladder->memory[i].strikes; other++)
			if (!ladder->memory[other].strikes || ladder->memory[other].used < ladder->memory[i].used)
				i = other;
		ladder->memory[i].layout = *layout;
		ladder->memory[i].rung = rung;
		ladder->memory[i].strikes = 0;
	}
	ladder->memory[i].used = ++ladder->count;
	return ++ladder->memory[i].strikes == LADDER_STRIKES;
}

void ladder_worked(struct ladder *ladder, const struct ladder_layout *layout, enum rung rung)
{
	int i = find(ladder, layout, rung);
	if (i >= 0)
		ladder->memory[i].strikes = 0;
}
