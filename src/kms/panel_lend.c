#define LOG_MODULE "panel"
#include "kms/panel_private.h"

/* Whether a face is shown from a framebuffer that its next picture may be drawn into: it is the face's newest, and nothing else is on its way to the screen. */
static bool may_lend(const struct screen *screen)
{
	const struct shown *now = &screen->now, *next = &screen->next;
	/* Dark it is also while the backend is the card thread's. */
	if (screen->latch.state == LATCH_DARK || screen->latch.full || !screen->panel->backend->single)
		return false;
	/* Black is of no face, and of none that is visible. */
	if (!now->valid || now->set != screen->set || now->index >= FACE_BUFFERS || !(screen->panel->visible & 1u << now->face))
		return false;
	/* A pointer that moves takes nothing away. */
	if (next->valid && (next->face != now->face || next->set != now->set || next->index != now->index || next->serial != now->serial))
		return false;
	const struct face *face = &screen->panel->face[now->face];
	return face->serial[now->index] == now->serial && (!face->complete || face->latest == now->index);
}

static bool is_lent(const struct screen *screen, enum panel_face face, uint32_t set, uint32_t index)
{
	return screen->lent.on && screen->lent.face == face && screen->lent.set == set && screen->lent.index == index;
}

static bool take_back(struct screen *screen)
{
	if (screen->lent.on && lend_back(&screen->lend))
		screen->lent.on = false;
	return !screen->lent.on;
}

bool panel_may_commit(struct screen *screen, enum panel_face face, uint32_t index)
{
	return !is_lent(screen, face, screen->set, index) || take_back(screen);
}

void panel_lend(struct screen *screen)
{
	const struct shown *now = &screen->now;
	bool may = may_lend(screen);
	if (may && is_lent(screen, now->face, now->set, now->index) && screen->lent.serial == now->serial)
		return;
	if (!take_back(screen) || !may)
		return;
	screen->lent.on = true;
	screen->lent.face = now->face;
	screen->lent.set = now->set;
	screen->lent.index = now->index;
	screen->lent.serial = now->serial;
	worker_post(screen->panel->worker, &(struct front_event){.type = FRONT_LEND, .face = now->face, .set = now->set, .index = now->index, .serial = now->serial,
		.offer = lend_offer(&screen->lend), .soonest_ns = lend_soonest(screen->picture_ns, panel_refresh_ns(screen)),
		.at_ns = lend_at(screen->picture_ns, panel_refresh_ns(screen))});
}

void panel_lend_ended(struct screen *screen)
{
	screen->lent.on = false;
	lend_ended(&screen->lend);
}
