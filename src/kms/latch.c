#include "kms/latch.h"

#include <string.h>

void latch_init(struct latch *latch)
{
	memset(latch, 0, sizeof(*latch));
	latch->state = LATCH_DARK;
	latch->refresh_ns = 16666667;
	latch->full = true;
}

uint64_t latch_margin(const struct latch *latch)
{
	uint64_t slowest = 0;
	for (uint32_t i = 0; i < LATCH_HISTORY; i++)
		if (latch->took[i] > slowest)
			slowest = latch->took[i];
	uint64_t margin = LATCH_MARGIN_NS + slowest;
	return margin > latch->refresh_ns / 3 ? latch->refresh_ns / 3 : margin;
}

/* The first vblank after `at`, which may lie before the flip that tells where they are. */
static uint64_t vblank_after(const struct latch *latch, uint64_t at)
{
	if (at < latch->flip_ns)
		return latch->flip_ns - (latch->flip_ns - at - 1) / latch->refresh_ns * latch->refresh_ns;
	return latch->flip_ns + ((at - latch->flip_ns) / latch->refresh_ns + 1) * latch->refresh_ns;
}

/* Whether vblanks about `at` can be told, good enough to judge a flip by. */
static bool grid_known(const struct latch *latch, uint64_t at)
{
	return latch->vblank && latch->grid && (at < latch->flip_ns || at - latch->flip_ns < LATCH_GRID_NS);
}

uint64_t latch_due(const struct latch *latch, uint64_t event_ns)
{
	bool known = latch->state != LATCH_DARK && !latch->full && grid_known(latch, event_ns);
	return known ? vblank_after(latch, event_ns + latch_margin(latch)) : 0;
}

bool latch_in_time(const struct latch *latch, uint64_t due_ns, uint64_t flip_ns)
{
	return flip_ns <= due_ns + latch->refresh_ns / 2;
}

/* IDLE with news: now, or at timer_ns. */
static bool schedule(struct latch *latch, uint64_t now)
{
	latch->timer_ns = 0;
	if (latch->state != LATCH_IDLE || !latch->wanted)
		return false;
	uint64_t target = latch->target_ns;
	latch->target_ns = 0;
	if (latch->full)
		return true;
	if (!latch->vblank) {
		uint64_t due = latch->commit_ns + latch->refresh_ns;
		if (latch->urgent || now >= due)
			return true;
		latch->timer_ns = due;
		return false;
	}
	if (latch->flip_ns == 0 || now < latch->flip_ns)
		return true;
	uint64_t vblank = vblank_after(latch, now);
	uint64_t deadline = vblank - latch_margin(latch);
	latch->target_ns = grid_known(latch, now) ? vblank : 0;
	if (now >= deadline) {
		/* Too late for this one, unless the commit was to be in it and is late itself. */
		if (latch->target_ns != 0 && target != vblank)
			latch->target_ns += latch->refresh_ns;
		return true;
	}
	latch->timer_ns = deadline;
	return false;
}

bool latch_light(struct latch *latch, uint64_t refresh_ns, bool vblank, uint64_t now)
{
	latch->state = LATCH_IDLE;
	latch->epoch++;
	latch->full = true;
	latch->denied = false;
	latch->wanted = true;
	latch->vblank = vblank;
	latch->refresh_ns = refresh_ns ? refresh_ns : 16666667;
	latch->flip_ns = 0;
	latch->grid = false;
	return schedule(latch, now);
}

void latch_dark(struct latch *latch)
{
	latch->state = LATCH_DARK;
	latch->epoch++;
	latch->full = true;
	latch->denied = false;
	latch->timer_ns = latch->target_ns = 0;
}

bool latch_news(struct latch *latch, bool urgent, uint64_t now)
{
	latch->wanted = true;
	latch->urgent |= urgent;
	if (latch->state != LATCH_IDLE)
		return false; /* remembered */
	/* A retry after a refusal or EBUSY stays where it is: news do not make the kernel readier. */
	if (latch->full && latch->timer_ns > now)
		return false;
	return schedule(latch, now);
}

bool latch_flip(struct latch *latch, uint32_t epoch, uint64_t time, uint64_t now, bool *ours)
{
	*ours = latch->state == LATCH_FLIP && epoch == latch->epoch;
	if (!*ours)
		return false;
	latch->state = LATCH_IDLE;
	if (latch->target_ns != 0 && !latch_in_time(latch, latch->target_ns, time))
		latch->missed++;
	latch->target_ns = 0;
	latch->flip_ns = time;
	latch->grid = true;
	return schedule(latch, now);
}

bool latch_timer(struct latch *latch, uint64_t now)
{
	if (latch->timer_ns == 0 || now < latch->timer_ns)
		return false;
	latch->timer_ns = 0;
	switch (latch->state) {
	case LATCH_DARK:
		if (!latch->denied)
			return false;
		latch->denied = false;
		latch->state = LATCH_IDLE;
		latch->wanted = true;
		return true;
	case LATCH_FLIP:
		latch->lost++;
		latch->epoch++;
		latch->state = LATCH_IDLE;
		latch->full = true;
		latch->wanted = true;
		latch->flip_ns = latch->target_ns = 0;
		latch->grid = false;
		return true;
	case LATCH_IDLE:
		return latch->wanted;
	}
	return false;
}

bool latch_committed(struct latch *latch, enum latch_result result, uint64_t began, uint64_t now)
{
	bool was_full = latch->full;
	switch (result) {
	case LATCH_NOTHING:
		latch->wanted = latch->urgent = false;
		latch->timer_ns = latch->target_ns = 0;
		return false;
	case LATCH_ACCEPTED:
	case LATCH_SHOWN:
		/* A modeset says nothing about how long a flip takes to commit. */
		if (!was_full)
			latch->took[latch->n_took++ % LATCH_HISTORY] = now - began;
		latch->wanted = latch->urgent = latch->full = false;
		latch->commit_ns = began;
		if (result == LATCH_ACCEPTED) {
			latch->state = LATCH_FLIP;
			latch->timer_ns = now + LATCH_WATCHDOG_NS;
		} else {
			latch->state = LATCH_IDLE;
			latch->flip_ns = now;
			latch->grid = false;
			latch->timer_ns = latch->target_ns = 0;
		}
		return false;
	case LATCH_BUSY:
		latch->timer_ns = now + LATCH_BUSY_NS;
		return false;
	case LATCH_DENIED:
		latch_dark(latch);
		latch->denied = true;
		latch->timer_ns = now + LATCH_RETRY_NS;
		return false;
	case LATCH_REFUSED:
		latch->full = true;
		if (!was_full)
			return true;
		latch->timer_ns = now + LATCH_RETRY_NS;
		return false;
	}
	return false;
}
