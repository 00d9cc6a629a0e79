#include "kms/ladder.h"

#include <string.h>

#include "kms/letterbox.h"

static int find(const struct ladder *ladder, const struct ladder_layout *layout)
{
	for (int i = 0; i < LADDER_MEMORY; i++)
		if (ladder->memory[i].strikes && memcmp(&ladder->memory[i].layout, layout, sizeof(*layout)) == 0)
			return i;
	return -1;
}

static bool barred(const struct ladder *ladder, const struct ladder_layout *layout)
{
	int i = find(ladder, layout);
	return i >= 0 && ladder->memory[i].strikes >= LADDER_STRIKES;
}

enum rung ladder_best(const struct ladder_layout *layout)
{
	struct rect dest = letterbox(layout->source_w, layout->source_h, layout->screen_w, layout->screen_h);
	/* Planes scale each in their own way, and smoothly: pixels that are not shown one to one are drawn here. */
	if (dest.w != layout->source_w || dest.h != layout->source_h)
		return RUNG_SOFTWARE;
	return dest.w == layout->screen_w && dest.h == layout->screen_h ? RUNG_PRIMARY : RUNG_OVERLAY;
}

enum rung ladder_plan(const struct ladder *ladder, const struct ladder_layout *layout, const struct ladder_can *can, struct rect *dest)
{
	enum rung rung = ladder_best(layout);
	*dest = letterbox(layout->source_w, layout->source_h, layout->screen_w, layout->screen_h);
	if (!can->imports || can->blended || (rung == RUNG_OVERLAY && !can->overlay) || barred(ladder, layout))
		return RUNG_SOFTWARE;
	return rung;
}

bool ladder_failed(struct ladder *ladder, const struct ladder_layout *layout)
{
	int i = find(ladder, layout);
	if (i < 0) {
		i = 0;
		for (int other = 1; other < LADDER_MEMORY && ladder->memory[i].strikes; other++)
			if (!ladder->memory[other].strikes || ladder->memory[other].used < ladder->memory[i].used)
				i = other;
		ladder->memory[i].layout = *layout;
		ladder->memory[i].strikes = 0;
	}
	ladder->memory[i].used = ++ladder->count;
	return ++ladder->memory[i].strikes == LADDER_STRIKES;
}

void ladder_worked(struct ladder *ladder, const struct ladder_layout *layout)
{
	int i = find(ladder, layout);
	if (i >= 0)
		ladder->memory[i].strikes = 0;
}
