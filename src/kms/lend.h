/*
 * One framebuffer for a face that is shown. Some cards send all of a picture to where it is shown whenever another framebuffer is named, and only what changed when
 * it is the same one (src/kms/drm_single.c). There the front lends the framebuffer that is on the screen back to the worker, which draws what is new into it and
 * says WORKER_READY with the same index. Who has it meanwhile is one word that both change:
 *
 *   the front's --offer--> offered --take--> drawn into --WORKER_READY--> the front's
 *                             |
 *                             +----back----> the front's
 *
 * So nobody waits: the front takes an offer back before it commits that framebuffer, and where the worker is quicker it commits when WORKER_READY has come,
 * microseconds later. Everything else that it commits meanwhile is not held up.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* All zero: nothing is lent. */
struct lend {
	_Atomic uint64_t word; /* number of the offer << 2 | state */
};

/* Front, while nothing is lent: offers what the message that goes with it names. Returns the offer's number, never 0. */
uint64_t lend_offer(struct lend *lend);
/* Front: nothing is offered any more. False: it is being drawn into, or was, and WORKER_READY is on its way. */
bool lend_back(struct lend *lend);
/* Front: that WORKER_READY has come. */
void lend_ended(struct lend *lend);
/* Worker: the offer of this number is taken, and WORKER_READY must follow. False: it is not there any more. */
bool lend_take(struct lend *lend, uint64_t number);

/* What the worker knows when a face has something new to show. */
struct lend_case {
	uint64_t picture;     /* pixels of the whole picture */
	uint64_t shown, other; /* pixels that would be drawn into the framebuffer on the screen, and into the other one */
	bool other_free;      /* the other one is the worker's, or is not made yet */
	bool offered;         /* the one on the screen is lent, */
	uint64_t soonest_ns;  /* never before this time, */
	uint64_t at_ns;       /* and finished no sooner than then: */
	uint64_t draw_ns;     /* so long drawing takes, as far as is known */
	uint64_t patience_ns; /* so long an offer is waited for: a commit that does not come about brings none */
	uint64_t now_ns;
};

enum lend_choice { LEND_WAIT, LEND_SHOWN, LEND_OTHER };

/*
 * Where it is drawn. The other framebuffer where most of the picture is new and it lacks no more than that: all of it is sent on anyway, and is drawn ahead of its
 * time rather than between two refreshes. So no more is ever drawn than is new. *until_ns, for LEND_WAIT: when to ask again at the latest. Pure.
 */
enum lend_choice lend_choose(const struct lend_case *c, uint64_t *until_ns);

/*
 * From when on a framebuffer that was committed at this time may be drawn into: not before the refresh is nearly over. The commit only asks for it to be sent. A host
 * that takes longer than that shows parts of two pictures until the next one is sent; it would with two framebuffers, which come round in a refresh as well. Pure.
 */
uint64_t lend_at(uint64_t committed_ns, uint64_t refresh_ns);
/* The same for what takes long to draw, so that it is ready for the next refresh all the same. Pure. */
uint64_t lend_soonest(uint64_t committed_ns, uint64_t refresh_ns);
