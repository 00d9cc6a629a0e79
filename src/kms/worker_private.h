/*
 * The worker from inside, all of it on the worker thread: worker.c (the thread, what the front tells it), worker_producers.c (the producers'
 * rings), worker_pointer.c (the producers' pointers on the cursor plane), worker_compose.c (which framebuffer a frame goes into: a copy, or the
 * guest's own buffer), worker_lend.c (or the one on the screen), worker_draw.c (the framebuffers that are copied into, and pictures for people), worker_figures.c (figures over all of it).
 */
#pragma once

#include <pthread.h>

#include "base/log.h"
#include "kms/blit.h"
#include "kms/damage.h"
#include "kms/figures.h"
#include "kms/ladder.h"
#include "kms/pointer.h"
#include "kms/worker.h"
#include "link/table.h"

#define WORKER_DIRECT_NS 2000000ull /* between two things told to the front that cost the guest no copy: faster than any panel, and no guest keeps it busy */
#define SETS 3 /* of framebuffers, for each screen: the present one, and those still on the screen after a mode change */

struct framebuffer {
	struct scanout_buffer buffer;
	bool made, free;
	bool drawn;           /* source and dest say what is in it */
	struct rect source, dest;
	struct damage damage; /* of the producer's picture since it was drawn here, buffer coordinates */
	struct rect cursor;   /* where the pointer picture was blended in, buffer coordinates */
	uint64_t cursor_serial;
	uint64_t figures_serial; /* of those in it; 0: none */
	bool strip;           /* it is in it */
	uint64_t serial;      /* of its last WORKER_READY */
	uint64_t offer;       /* the front lends it, */
	uint64_t soonest_ns, offer_ns; /* as in struct lend_case */
};

struct set {
	uint32_t number; /* 0: unused */
	uint32_t width, height;
	uint64_t retry_ns; /* a framebuffer could not be made, none is tried before; 0: all could */
	struct scanout_buffer black; /* under a picture on an overlay plane, or instead of one on a further screen */
	bool black_made, black_due; /* due: a further screen's, the front does not have it yet */
	struct framebuffer fb[PANEL_FACES][FACE_BUFFERS];
};

struct face {
	uint32_t producer, head;
	bool present;     /* there is a producer */
	bool outstanding; /* a frame that is in no framebuffer yet */
	uint64_t next_ns; /* not before, while hidden */
	uint64_t wait_ns; /* it waits for the framebuffer on the screen, until then; 0: it does not */
	uint32_t latest;  /* framebuffer of the last WORKER_READY with a copy */
	uint64_t pixel_ps; /* picoseconds that a pixel took in the last large drawing; 0: not known */
	struct rect touched; /* target damage not yet told to the front */
	struct rect fresh;   /* damage of the producer's picture since the front was told of one, buffer coordinates */
	bool direct;         /* what the front was told of last is the guest's own buffer */
	uint64_t told_size;  /* of struct face_news, as the front knows it or will */
	struct {
		bool visible, loaded;
		bool drawn;      /* into what the front was told of last */
		int32_t x, y;    /* on the head */
		uint32_t hot_x, hot_y;
		uint64_t serial; /* counts changes */
		struct blit_cursor picture;
	} cursor;
};

struct producer {
	struct link *link; /* NULL: none */
	struct link_table *table;
	uint32_t epoch; /* counts links of the guest */
	bool owned;     /* the link is the worker's to destroy */
	bool stuck; /* `held` could not be posted: nothing is read until it can */
	struct worker_chatter held;
	bool more; /* its ring was not empty when its turn ended */
	struct log_limit limit;
};

/* Faces whose pointer the cursor plane may show. */
static inline bool worker_pointed(enum panel_face face)
{
	return face == PANEL_FACE_UI || face == PANEL_FACE_GUEST;
}

struct worker {
	struct worker_config config;
	struct mailbox *inbox;
	_Atomic uint32_t shots; /* asked for and not answered */
	_Atomic bool hungry;    /* a frame waits, perhaps for a framebuffer: one that comes back wakes this thread */
	pthread_t thread;
	bool running, quit;
	struct producer producer[2]; /* 0 the UI, 1 the guest */
	struct face face[PANEL_FACES];
	struct set set[SCREENS][SETS];
	struct imports imports; /* of the guest's */
	struct pointer_plane pointer[POINTER_PRODUCERS];
	uint64_t serial;
	bool ready_due; /* WORKER_READY found no room */
	struct log_limit import_limit;
	uint32_t current[SCREENS]; /* number of the set drawn into; 0: no output */
	uint32_t visible;
	bool joined_due; /* WORKER_JOINED found no room */
	bool left_due;   /* nor did WORKER_LEFT */
	bool gone_due;   /* WORKER_GONE follows when nothing is left */
	struct ladder ladder; /* of the guest's */
	struct {
		bool on;
		bool zero_copy;  /* the guest's last picture could have been shown from where it is */
		uint64_t serial; /* counts texts */
		uint64_t due_ns; /* of the next one */
		struct figures_counts then; /* at the last one */
		struct figures_text text;
	} figures;
	struct blit_scratch scratch;
};

/* worker_draw.c */
/* NULL: there is none of that number. */
struct set *worker_find_set(struct worker *worker, uint32_t number);
/* What the face is drawn into now; NULL: nothing, its screen has no output. */
struct set *worker_current(struct worker *worker, enum panel_face face);
void worker_free_set(struct worker *worker, struct set *set);
void worker_free_sets(struct worker *worker);
/* One of the face's that nobody shows, made now if need be; *index: which. NULL: none. */
struct framebuffer *worker_free_framebuffer(struct worker *worker, struct set *set, enum panel_face face, uint32_t *index);
/* The part of the source that the pointer picture covers now. */
struct rect worker_cursor_rect(const struct face *face, const struct link_head *head);
/* A black framebuffer of the set's size, made now if need be. NULL: none. */
const struct scanout_buffer *worker_black(struct worker *worker, struct set *set);
/* Brings a framebuffer up to the face's newest frame. */
void worker_draw(struct worker *worker, enum panel_face face, const struct link_head *head, struct framebuffer *fb);
/* Nothing is taken to be in any framebuffer; every face that is copied is outstanding. */
void worker_redraw(struct worker *worker);
/* A picture for people: never read from a mapping that may be write-combined, composed anew there. */
void worker_shoot(struct worker *worker, const struct front_event *event);

/* worker_figures.c */
void worker_show_figures(struct worker *worker, bool on, uint64_t now);
/* New figures, when it is time for some. */
void worker_refresh_figures(struct worker *worker, uint64_t now);
/* Where they are on the panel: they leave the strip alone. */
struct rect worker_figures_place(const struct worker *worker, const struct set *set);

/* worker_compose.c */
/* Hands a further screen's black to the front, once. */
void worker_offer_black(struct worker *worker, uint32_t screen);
/* Not before its time: while hidden, and for buffers of the guest's, which cost the guest nothing. */
bool worker_may_compose(const struct worker *worker, enum panel_face face, uint64_t now);
/* Hands a face's outstanding frame to the front. */
void worker_compose(struct worker *worker, enum panel_face face, uint64_t now);
/* The front is done with a framebuffer (FRONT_FREE), or it cannot be shown (FRONT_REFUSED). */
void worker_take_back(struct worker *worker, const struct front_event *event);

/* worker_lend.c */
/* As worker_draw(), and notes how long a pixel takes. */
void worker_draw_timed(struct worker *worker, enum panel_face face, const struct link_head *head, struct framebuffer *fb);
/* FRONT_LEND has come. */
void worker_lent(struct worker *worker, const struct front_event *event);
/* worker_free_framebuffer(), or the one on the screen, taken from the front: *lent is its offer then, else 0. source: what the face shows of its buffer. NULL: none now. */
struct framebuffer *worker_choose_framebuffer(struct worker *worker, struct set *set, enum panel_face face, struct rect source, uint64_t now, uint32_t *index,
	uint64_t *lent);

/* worker_pointer.c */
/* Whether the face has a pointer picture to be seen, on the plane or in its picture. */
bool worker_cursor_seen(const struct face *face);
/* Whether that is drawn into its pictures. */
bool worker_draws_cursor(const struct worker *worker, enum panel_face face);
/* After anything that may change where a pointer is shown: chooses plane or software, and tells the front. */
void worker_update_pointers(struct worker *worker, uint64_t now);

/* worker_producers.c */
/* The front is told of each frame of a face only while that is hidden: of one on the screen it hears by its pictures. Here they change places. */
void worker_set_visible(struct worker *worker, uint32_t visible);
/* What the face shows; NULL: nothing. */
const struct link_head *worker_head(struct worker *worker, enum panel_face face);
/* The memory that its pixels lie in. */
const uint8_t *worker_pixels(struct worker *worker, enum panel_face face);
/* Some of the messages that producer p has sent. readable: its descriptor is, and is to be cleared. */
void worker_read_producer(struct worker *worker, uint32_t p, bool readable);
/* No more than is needed is kept of a machine's memory. */
void worker_need_pages(struct worker *worker, struct link *link);
/* Posts the WORKER_JOINED that is due. */
void worker_tell_joined(struct worker *worker);
/* The guest's faces begin anew, with the link that is there. */
void worker_join_faces(struct worker *worker);
/* Another machine, or none, is behind the guest's face. Nothing of the old one stays but pixels that nobody shows any more. */
void worker_join(struct worker *worker, struct link *link, uint32_t epoch);
