/*
 * The latch of one output: when the newest layout is committed. Pure: times come in, "commit now" goes out.
 *
 *            news, toggle                    commit accepted
 *   DARK <----------------> IDLE (armed) -----------------------> FLIP
 *     loss / return of        ^                                     |
 *     session or output       +-------------------------------------+
 *                               flip event of this epoch, watchdog
 *
 * With a vblank the commit waits until a margin before it, so that whatever comes until then is in it. Without one it
 * goes out at once and the refresh interval is kept between commits, except for a toggle.
 * Times: CLOCK_MONOTONIC nanoseconds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LATCH_HISTORY 64
#define LATCH_WATCHDOG_NS 1500000000ull /* a flip event is lost after this long */
#define LATCH_RETRY_NS 1000000000ull    /* between attempts that were denied or refused */
#define LATCH_BUSY_NS 2000000ull        /* between attempts while the kernel is busy without a flip of ours */
#define LATCH_MARGIN_NS 1500000ull
#define LATCH_GRID_NS 10000000000ull    /* no vblank is predicted for longer than this: the mode's refresh and the monitor's clock differ by some 50 ppm */

enum latch_state { LATCH_DARK, LATCH_IDLE, LATCH_FLIP };

enum latch_result {
	LATCH_NOTHING,  /* what is wanted is on the screen already, or there is nothing to show */
	LATCH_ACCEPTED, /* a flip event of the present epoch will follow */
	LATCH_SHOWN,    /* accepted and on the screen already (blocking modeset) */
	LATCH_BUSY,     /* EBUSY */
	LATCH_DENIED,   /* EACCES: not ours at present */
	LATCH_REFUSED,  /* EINVAL and anything else */
};

struct latch {
	enum latch_state state;
	bool wanted;  /* something is not in an accepted commit yet */
	bool urgent;  /* a toggle is */
	bool full;    /* the next commit carries the whole state and may set the mode */
	bool denied;  /* DARK because a commit was denied: tried again by the timer */
	bool vblank;  /* flips happen at a vblank */
	uint32_t epoch;
	uint32_t lost; /* flip events that never came */
	uint32_t missed; /* flips that came at a later vblank than the one they were for */
	uint64_t refresh_ns;
	uint64_t flip_ns;   /* of the last flip; 0: none in this epoch */
	bool grid;          /* flip_ns is a vblank, not the end of a modeset */
	uint64_t commit_ns; /* of the last accepted commit */
	uint64_t timer_ns;  /* latch_timer() is due then; 0: never */
	uint64_t target_ns; /* the vblank that the next commit, or the one in flight, is for; 0: none is known */
	uint64_t took[LATCH_HISTORY];
	uint32_t n_took;
};

void latch_init(struct latch *latch);
/* An output is there and ours. All that follow: true means commit now, then call latch_committed(). */
bool latch_light(struct latch *latch, uint64_t refresh_ns, bool vblank, uint64_t now);
/* Session or output lost. Events of flips in flight will be ignored. */
void latch_dark(struct latch *latch);
/* There is something to show; urgent: because of a toggle. */
bool latch_news(struct latch *latch, bool urgent, uint64_t now);
/* A flip event. *ours: it belongs to the commit in flight (else it is ignored). */
bool latch_flip(struct latch *latch, uint32_t epoch, uint64_t time, uint64_t now, bool *ours);
/* timer_ns has come. */
bool latch_timer(struct latch *latch, uint64_t now);
/* The outcome of a commit that began at `began`. True: commit again now (as a full one). */
bool latch_committed(struct latch *latch, enum latch_result result, uint64_t began, uint64_t now);
/* Time before a vblank at which the latch closes. */
uint64_t latch_margin(const struct latch *latch);
/* When something that is asked for at event_ns has to be on the screen: at the first vblank a margin later. 0: no vblank, or none known yet. */
uint64_t latch_due(const struct latch *latch, uint64_t event_ns);
/* Whether a flip is the vblank `due_ns`, or one before it. Vblanks are predicted by the mode's refresh, so the nearest is meant. */
bool latch_in_time(const struct latch *latch, uint64_t due_ns, uint64_t flip_ns);
