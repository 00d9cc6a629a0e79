/*
 * The worker: the one thread that reads the producers' rings, copies pictures into framebuffers, makes and frees those, looks at
 * connectors and makes pictures for people. It hands finished framebuffers to the front and gets them back; both ways
 * are mailboxes, nobody waits for anybody.
 *
 * Who owns a framebuffer (face, index): the worker, until it posts WORKER_READY; the front, until it posts FRONT_FREE, or lends it (lend.h). A buffer of the
 * guest's own (index from FACE_BUFFERS on) becomes ready again with each frame in it, also while the front has it; FRONT_FREE counts when it names
 * the last time.
 */
#pragma once

#include <stdatomic.h>

#include "base/mailbox.h"
#include "kms/backend.h"
#include "kms/imports.h"
#include "kms/lend.h"
#include "kms/panel.h"

#define FACE_BUFFERS 2                         /* framebuffers of a face that pictures are copied into */
#define FACE_SLOTS (FACE_BUFFERS + IMPORTS)    /* index of a framebuffer: those, then the guest's own buffers */
#define SCREENS (1 + OUTPUT_MIRRORS)           /* outputs that show pictures of their own, at most; 0 is the main one */
#define WORKER_RETRY_NS 1000000000ull /* between attempts to make a framebuffer */
#define WORKER_HIDDEN_NS 100000000ull /* a hidden face is kept current at most this often */

/* Which one a face is on. */
static inline uint32_t screen_of(enum panel_face face)
{
	return face > PANEL_FACE_GUEST ? (uint32_t)(face - PANEL_FACE_GUEST) : 0;
}

_Static_assert(PANEL_FACES == PANEL_FACE_GUEST + SCREENS && SCREENS <= LINK_MAX_HEADS, "each screen has a head of the guest's");

/* worker -> front */
enum worker_event_type {
	WORKER_READY,  /* a framebuffer is finished */
	WORKER_BLACK,  /* buffer, of set: black, for the further screen of this face */
	WORKER_NEWS,   /* struct face_news of the face changed */
	WORKER_JOINED, /* the guest's link was replaced: events before this one are about the old one */
	WORKER_POINTER, /* struct pointer_news of the producer changed */
	WORKER_GONE,   /* nothing is left of the guest's links before the present one */
	WORKER_LOST,   /* the card is gone (ENODEV), should nobody have said so; never after WORKER_LEFT */
	WORKER_LEFT,   /* answers FRONT_LEAVE */
	WORKER_PROBED, /* output: what the connectors offer now (owned by the receiver), NULL when that failed */
};

struct worker_event {
	enum worker_event_type type;
	enum panel_face face;
	uint32_t set;   /* of framebuffers: counts geometries of all screens */
	uint32_t index;
	const struct scanout_buffer *buffer; /* valid until FRONT_DROP of its set */
	const struct scanout_buffer *under;  /* NULL, or buffer is to be shown over this one, at dest */
	struct rect dest;
	uint64_t sequence; /* of the producer's frame in it */
	uint64_t serial;   /* counts WORKER_READYs of all faces */
	struct rect damage; /* against the face's framebuffer before */
	bool drawn; /* the producer's pointer picture is in it */
	bool lent;  /* it was drawn into while it was lent: that is over */
	uint32_t producer; /* WORKER_POINTER: 0 the UI, 1 the guest */
	struct output *output;
	uint32_t fulls; /* of the FRONT_PROBE that it answers */
};

/* worker -> front, from producers: may fill up; then the worker stops reading that producer. */
struct worker_chatter {
	enum panel_face face;
	uint32_t epoch; /* of the guest's link; 0: the UI's */
	bool released; /* message is the LINK_RELEASED to send to the producer; else one for the program */
	struct link_message message;
};

/* front -> worker */
enum front_event_type {
	FRONT_FREE,     /* set, face, index, serial: the front is done with it */
	FRONT_LEND,     /* set, face, index, serial, offer, soonest_ns, at_ns: it is on the screen, and may be drawn into from then on, if the offer holds (lend.h) */
	FRONT_REFUSED,  /* index: the card does not show this buffer of the guest's, copy it. The front has it still. */
	FRONT_GEOMETRY, /* screen, set, width, height: make framebuffers of this size; 0: none */
	FRONT_DROP,     /* screen, set: every set of its before this one may be freed */
	FRONT_VISIBLE,  /* visible: bit per face on the screen */
	FRONT_FIGURES,  /* figures: over all faces from now on, or no longer */
	FRONT_POINTER,  /* pointer_plane: whether pointers may be shown on the cursor plane */
	FRONT_POINTER_FREE, /* producer, index: of a pointer picture's slot; the front is done with it */
	FRONT_REDRAW,   /* all framebuffers may be empty (backend.modeset_clears): each face is drawn from scratch, and handed over again */
	FRONT_PROBE,    /* fulls: comes back with WORKER_PROBED */
	FRONT_LEAVE,    /* the card is gone: all that was made with it is freed, held by the front or not, and WORKER_LEFT answers */
	FRONT_JOIN,     /* link, epoch: the guest's from now on, NULL: none; the old one is destroyed, and WORKER_JOINED answers */
	FRONT_SHOT,
	FRONT_WORK,     /* work: run there, between two turns of pictures */
	FRONT_QUIT,
};

struct front_event {
	enum front_event_type type;
	enum panel_face face;
	uint32_t screen, set, index;
	uint64_t serial;
	uint32_t width, height;
	uint32_t visible;
	bool figures;
	bool pointer_plane;
	uint32_t fulls; /* full commits that were taken before */
	uint32_t producer;
	bool seen; /* FRONT_FREE: it was on the screen */
	uint64_t offer, soonest_ns, at_ns;
	struct link *link;
	uint32_t epoch;
	struct {
		enum panel_shot what;
		bool on_screen; /* face, set, index name the framebuffer shown; PANEL_FACES: black */
		void (*done)(void *data, uint32_t *pixels, uint32_t width, uint32_t height);
		void *data;
	} shot;
	struct {
		void (*run)(void *data, struct backend *backend);
		void *data;
	} work;
};

/* Newest facts of a face; written by the worker, read by the front at WORKER_NEWS. */
struct face_news {
	_Atomic bool pending;       /* a WORKER_NEWS is on its way */
	_Atomic uint64_t sequence;  /* newest frame received; 0: none */
	_Atomic uint64_t size;      /* width << 32 | height of the picture; 0: none */
};

struct worker;
struct pointer_news;

struct worker_config {
	struct backend *backend;
	struct link *link[PANEL_FACES]; /* by face; UI and placeholder share one, the placeholder is its head 1 */
	uint32_t screens; /* so many heads of the guest's have one */
	bool bilinear; /* as in struct panel_config */
	enum panel_strip strip;
	const char *const *strip_text; /* PANEL_FACES */
	struct stats *stats;
	struct mailbox *events;  /* struct worker_event, read by the front; room for all that can be in flight */
	struct mailbox *chatter; /* struct worker_chatter, read by the front */
	struct face_news *news;  /* PANEL_FACES */
	struct pointer_news *pointer; /* POINTER_PRODUCERS */
	struct lend *lend[SCREENS];
};

/* NULL with errno. */
struct worker *worker_create(const struct worker_config *config);
/* Starts the thread. 0 or -1 with errno. */
int worker_start(struct worker *worker);
/* Front. False when too many shots wait; everything else always finds room. */
bool worker_post(struct worker *worker, const struct front_event *event);
/* Ends the thread and frees all framebuffers, and the guest's link if it came by FRONT_JOIN. */
void worker_destroy(struct worker *worker);
