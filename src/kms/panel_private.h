/*
 * The panel from inside, all of it on the front thread: panel.c (what the program calls, sources of the event loop),
 * panel_commit.c (what is shown: latch, commits, flips), panel_further.c (the same of further outputs), panel_toggle.c (how toggles fared),
 * panel_lend.c (what is on the screen and drawn into), panel_pointer.c (the cursor plane), panel_outputs.c (what connectors offer), panel_card.c (cards
 * that go and come), panel_producers.c (what producers and the status board are told).
 */
#pragma once

#include "base/late.h"
#include "base/log.h"
#include "kms/latch.h"
#include "kms/opener.h"
#include "kms/outbox.h"
#include "kms/panel.h"
#include "kms/pointer.h"
#include "kms/worker.h"

/* The front's view of a face. */
struct face {
	bool complete;    /* `latest` is a finished framebuffer of the present set */
	uint32_t latest;
	bool refused;     /* the card did not take `latest`, a buffer of the guest's; the worker is copying it */
	const struct scanout_buffer *buffer[FACE_SLOTS];
	const struct scanout_buffer *under[FACE_SLOTS]; /* as in struct worker_event */
	struct rect dest[FACE_SLOTS];
	uint64_t sequence[FACE_SLOTS], serial[FACE_SLOTS];
	bool drawn[FACE_SLOTS]; /* the pointer's picture is in it */
	bool seen[FACE_SLOTS];  /* it was on the screen since it was ready */
	struct rect damage; /* since the face's last commit */
	uint64_t newest;    /* sequence of the newest frame known: the worker's while hidden, the newest shown while on the screen */
	uint64_t presented; /* last sequence told to the producer */
	uint32_t width, height; /* of the producer's picture; 0: none */
};

/*
 * HERE: its output is known, or asked for. LEAVING: the worker gives up what it made with it. OPENING: the card thread has it, or looks for another one. NONE.
 * But for HERE nothing of the backend is the front's, except its hotplug.
 */
enum panel_card { PANEL_CARD_HERE, PANEL_CARD_LEAVING, PANEL_CARD_OPENING, PANEL_CARD_NONE };

/* A framebuffer on, or on its way to, the screen. */
struct shown {
	bool valid;
	enum panel_face face; /* PANEL_FACES: black, on a further screen */
	uint32_t set, index;
	uint64_t sequence, serial;
	bool drawn;             /* the pointer's picture is in it */
	struct pointer pointer; /* on the cursor plane */
	struct late_toggle toggle; /* the one that it answers; event_ns 0: none, due_ns 0: not known when */
};

/* An output, and what is on it: it has a latch, flips and framebuffers of its own. */
struct screen {
	struct panel *panel;
	uint32_t number;
	struct output output; /* as last known; connected tells whether it is there now */
	struct latch latch;
	uint32_t set; /* number of its framebuffers'; 0: none yet */
	const struct scanout_buffer *black; /* a further one's, of the present set; NULL: not there yet */
	bool off;        /* a further one that the card did not take: until outputs change */
	struct shown now, next;
	struct lend lend;
	struct {
		bool on; /* offered, or drawn into: */
		enum panel_face face;
		uint32_t set, index;
		uint64_t serial;
	} lent;
	uint64_t picture_ns; /* when a framebuffer was committed last */
	uint32_t lost;   /* flip events lost, already logged */
	uint32_t missed; /* vblanks missed, already counted */
	struct log_limit commit_limit;
};

struct panel {
	struct wl_event_loop *loop;
	struct panel_config config;
	struct backend *backend;
	struct worker *worker;
	struct mailbox *events, *chatter;
	struct face_news news[PANEL_FACES];
	struct pointer_news pointer_news[POINTER_PRODUCERS];
	struct outbox outbox[2]; /* 0 UI, 1 guest */
	int latch_fd, tick_fd;
	uint64_t latch_armed_ns; /* what latch_fd is set to; 0: it is not */
	struct wl_event_source *source[4];
	uint32_t n_sources;

	enum panel_card card;
	struct opener *opener; /* NULL: the card never goes */
	struct wl_event_source *card_source, *hotplug_source, *opener_source;
	bool new_card;       /* nothing was made with it yet */
	bool look_again;     /* when the card thread is done */
	uint32_t soon_looks; /* a card was announced: so often it is looked for at short intervals */
	uint64_t card_ns;    /* it is looked for then; 0: never */
	char card_why[OPENER_WHY]; /* as logged last */

	struct screen screen[SCREENS]; /* the first is the main one */
	uint32_t n_screens;            /* there are, with a monitor or without */
	uint32_t sets;                 /* of framebuffers made so far, of all screens: they are numbered through */
	bool active; /* session */
	bool foreign; /* the card may show more than ours since the session came back */
	uint32_t fulls; /* full commits that the card took, of all screens */
	bool blanked; /* the screen is off */
	uint64_t blank_ns; /* the card is asked again to switch it off; 0: it is */
	enum presentation presentation;
	uint32_t visible; /* mask as told to the worker */
	struct face face[PANEL_FACES];
	uint32_t guest_epoch; /* counts links of the guest */
	uint32_t joining;     /* links the worker has not taken yet: what it says of the guest is about an old one */
	struct pointer pointer[POINTER_PRODUCERS]; /* as last taken from the worker */
	bool pointer_plane;        /* the output's cursor plane may be used: there is one, and it was not refused */
	enum status_cursor cursor; /* status: which pointer of the guest's was to be seen last */
	struct late_toggle toggle; /* the last one */
	bool toggled; /* it is in no commit yet */
	bool first_frame_due;
	uint64_t last_guest; /* sequence from which guest frames are counted as dropped */
	uint64_t tick_ns;    /* last tick */
	bool tick_armed;
	bool figures;        /* as told to the worker */
	bool direct;         /* status: the guest's own buffer was shown last */
};

static inline uint32_t producer_of(enum panel_face face)
{
	return face >= PANEL_FACE_GUEST ? 1 : 0;
}

static inline uint32_t head_of(enum panel_face face)
{
	return face == PANEL_FACE_PLACEHOLDER ? 1 : screen_of(face);
}

/* So many of the first faces have a screen. */
static inline uint32_t panel_faces(const struct panel *panel)
{
	return PANEL_FACE_GUEST + panel->n_screens;
}

/* panel.c: as panel_create(), on a backend made by the caller (taken over, also by a failure). */
struct panel *panel_create_on(struct wl_event_loop *loop, const struct panel_config *config, struct backend *backend, char *error, size_t error_size);

/* panel_outputs.c */
/* Asks the worker for what the connectors offer now. */
void panel_probe(struct panel *panel);
/* WORKER_PROBED has come; output is taken over, NULL: it failed. fulls: as in the FRONT_PROBE. */
void panel_probed(struct panel *panel, struct output *output, uint32_t fulls);
/* The output as it is now; a size stays while nothing is connected. */
void panel_take_output(struct panel *panel, const struct output *output);
/* New framebuffers, of the output's size. */
void panel_new_geometry(struct screen *screen);

/* panel_card.c */
/* Listens to the card. False with errno. */
bool panel_watch_card(struct panel *panel);
/* Starts the card thread, where cards may go. 0 or -1 with errno. */
int panel_start_card(struct panel *panel);
/* Ends it, and listens no more. */
void panel_end_card(struct panel *panel);
/* The card is gone: a uevent or a commit said so. Nothing, where there is none already. */
void panel_card_lost(struct panel *panel);
/* WORKER_LEFT has come. */
void panel_card_left(struct panel *panel);
/* Looks for a card as soon as that can be, if there is none. */
void panel_look_for_card(struct panel *panel);
/* The latch's timer has come. */
void panel_card_timer(struct panel *panel);

/* panel_commit.c */
void panel_arm(int fd, uint64_t at_ns);
/* The latch's timer, for the first of what it is for, or earlier. */
void panel_arm_latch(struct panel *panel);
uint64_t panel_refresh_ns(const struct screen *screen);
/* PANEL_FACES: nothing new on the main screen, black on others. */
enum panel_face panel_wanted_face(const struct screen *screen);
/* Gives a framebuffer back to the worker unless it is on the screen, on its way there, or its face's latest. */
void panel_let_go(struct panel *panel, enum panel_face face, uint32_t set, uint32_t index);
/* The newest picture of one of the screen's faces, for a commit; PANEL_FACES: black. */
struct shown panel_newest(const struct screen *screen, enum panel_face face);
/* A commit was accepted: `next` is on its way. picture: a framebuffer was named in it. */
void panel_accepted(struct screen *screen, const struct shown *next, bool picture);
/* `next` takes the place of `now`, whose framebuffer may go. */
void panel_replace_now(struct screen *screen);
/* Commits while told to, then arms the latch timer. commit: what a latch function said. */
void panel_run_latch(struct screen *screen, bool commit);
void panel_flipped(void *data, uint32_t output, uint32_t epoch, uint64_t time);
void panel_go_dark(struct panel *panel);
void panel_go_light(struct panel *panel);
/* The card is to switch off now. 0: it did, or will be asked again; -1 with errno: it does not. */
int panel_try_blank(struct panel *panel);

/* panel_further.c: of a further screen */
/* Commits what is wanted now, as the latch has to know it. */
enum latch_result panel_commit_further(struct screen *screen);
/* WORKER_BLACK has come. */
void panel_black_ready(struct panel *panel, const struct worker_event *event);
/* The main output has its whole state: what waited for that may follow. */
void panel_light_further(struct panel *panel);

/* panel_toggle.c: what becomes of a toggle on the main screen, for the statistics */
/* One was asked for at event_ns, 0: by nobody. Another one that is in no commit yet is over. */
void panel_toggle_begins(struct panel *panel, uint64_t event_ns);
/* A commit that answers it, and began at `began`, was accepted: it is screen->next. */
void panel_toggle_committed(struct screen *screen, uint64_t began);
/* screen->now is on the screen since `time`. */
void panel_toggle_shown(struct screen *screen, uint64_t time);

/* panel_lend.c */
/* Lends the framebuffer on the screen to the worker, or takes it back: what is right by now. */
void panel_lend(struct screen *screen);
/* Before a commit of this framebuffer, of the present set: nobody draws into it from now on. False: somebody does, and WORKER_READY will come. */
bool panel_may_commit(struct screen *screen, enum panel_face face, uint32_t index);
/* A WORKER_READY of what was lent has come. */
void panel_lend_ended(struct screen *screen);

/* panel_pointer.c */
/* What the cursor plane has to show beside the newest picture of a face. Takes what the worker said last. */
struct pointer panel_wanted_pointer(struct panel *panel, enum panel_face face);
/* For a commit. Returns cursor. */
const struct commit_cursor *panel_commit_cursor(const struct panel *panel, const struct pointer *pointer, struct commit_cursor *cursor);
/* Gives a pointer's buffer (slot 0: none) back to the worker unless it is on the screen, on its way there, or its producer's newest. */
void panel_let_go_pointer(struct panel *panel, const struct pointer *pointer);
/* WORKER_POINTER has come. */
void panel_pointer_said(struct panel *panel, uint32_t producer);
/* Another output: whether it has a cursor plane. */
void panel_offer_pointer(struct panel *panel);
/* The card does not take it: software until there is another output. */
void panel_refuse_pointer(struct panel *panel, int error);
/* Which pointer is to be seen, for the status. */
void panel_tell_pointer(struct panel *panel);

/* panel_producers.c */
/* Sends what is owed, and arms the tick when a face that is not on the screen waits for PRESENTED, or a producer for anything. */
void panel_arm_tick(struct panel *panel);
/* The tick's timer has come. */
void panel_tick(struct panel *panel);
/* Tells worker and producers who is on the screen. */
void panel_update_visible(struct panel *panel);
void panel_tell_display(struct screen *screen);
void panel_update_status(struct panel *panel);
/* The way the guest's picture takes, for the status page. */
void panel_tell_path(struct panel *panel);
