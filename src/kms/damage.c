#include "kms/damage.h"

static uint64_t area(struct rect r)
{
	return (uint64_t)r.w * r.h;
}

/* Pixels that a merged rectangle copies beyond what the two cover separately; at most 0 when merging is free. */
static int64_t merge_cost(struct rect a, struct rect b)
{
	return (int64_t)area(rect_union(a, b)) - (int64_t)area(a) - (int64_t)area(b);
}

void damage_add(struct damage *damage, struct rect rect)
{
	if (rect_empty(&rect))
		return;
	/* A merge may make the rectangle overlap others: again, until nothing is swallowed any more. */
	for (bool merged = true; merged;) {
		merged = false;
		for (uint32_t i = 0; i < damage->n; i++) {
			if (merge_cost(damage->r[i], rect) > 0)
				continue;
			rect = rect_union(damage->r[i], rect);
			damage->r[i] = damage->r[--damage->n];
			merged = true;
			break;
		}
	}
	if (damage->n < DAMAGE_RECTS) {
		damage->r[damage->n++] = rect;
		return;
	}
	uint32_t best = 0;
	int64_t best_cost = INT64_MAX;
	for (uint32_t i = 0; i < damage->n; i++) {
		int64_t cost = merge_cost(damage->r[i], rect);
		if (cost < best_cost) {
			best_cost = cost;
			best = i;
		}
	}
	rect = rect_union(damage->r[best], rect);
	damage->r[best] = damage->r[--damage->n];
	damage_add(damage, rect);
}

struct rect damage_bounds(const struct damage *damage)
{
	struct rect bounds = {0};
	for (uint32_t i = 0; i < damage->n; i++)
		bounds = rect_union(bounds, damage->r[i]);
	return bounds;
}
