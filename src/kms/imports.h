/*
 * A guest's buffers as framebuffers, without a copy: its pages -> udmabuf -> PRIME import -> framebuffer, made once per buffer, kept until the
 * guest has given the buffer up and the front shows it no more. The worker's alone.
 *
 * Importing costs about a millisecond and pins pages. A guest with a new buffer for every frame would have this thread do nothing else, so imports
 * are budgeted: without budget a picture is copied, as it is when the card will not have it.
 */
#pragma once

#include "kms/backend.h"

#define IMPORTS 8                   /* framebuffers kept: what a guest flips between, and some that are on their way out */
#define IMPORT_EVERY_NS 100000000ull /* one more import is allowed each time */
#define IMPORT_BURST 8              /* and so many at once */
#define IMPORT_BAD_NS 5000000000ull /* what was refused is copied for so long: the reason may have been a moment's */

enum import_state {
	IMPORT_NONE, /* slot is free */
	IMPORT_GOOD, /* buffer is a framebuffer */
	IMPORT_BAD,  /* cannot be shown from where it is: not tried again before `until_ns` */
};

struct import {
	enum import_state state;
	struct link_buffer_id name; /* id 0: of a producer that is gone */
	uint32_t set;               /* of framebuffers: what is drawn for one mode is not shown in another */
	struct rect source;
	struct scanout_buffer buffer;
	struct rect stale;   /* what its producer may have drawn since it was last flushed, buffer coordinates */
	uint64_t serial; /* of the last time it went to the front */
	uint64_t used;   /* the same, also for bad ones: the oldest makes room */
	uint64_t until_ns;
	bool held;       /* the front has it */
	bool refused;    /* by the card: bad as soon as it is not held any more */
	bool dead;       /* the producer gave it up, and was not answered yet */
};

struct import_budget {
	uint64_t at_ns; /* when the next import may be made */
};

struct imports {
	struct import slot[IMPORTS];
	uint64_t count; /* of lookups that found or made one */
	struct import_budget budget;
};

/* Whether an import may be made now; takes it from the budget. Pure. */
bool import_allowed(struct import_budget *budget, uint64_t now);
/*
 * The framebuffer for these pages, made now if need be (as far as the budget goes). NULL: copy. *why: errno when the backend has just refused
 * them, else 0.
 */
struct import *imports_find(struct imports *imports, struct backend *backend, uint32_t set, const struct backend_pages *pages, uint64_t now, int *why);
/* A frame of the producer's, in whichever buffer, changed this: all of its buffers will have it sooner or later. */
void imports_damage(struct imports *imports, struct rect damage);
/* The front has it no more. */
void import_let_go(struct import *import, struct backend *backend, uint64_t now);
/* Whether something is left of a producer that is gone. */
bool imports_orphaned(const struct imports *imports);
/* The producer gave the buffer up. True: something is kept of it, and imports_settle() tells when the producer is to be answered. */
bool imports_dead(struct imports *imports, struct link_buffer_id name);
/* Frees what is dead and not held any more. True: nothing is left of buffer *name, tell its producer. False: no more to do. */
bool imports_settle(struct imports *imports, struct backend *backend, struct link_buffer_id *name);
/* The producer is gone, and nobody waits for answers: what is held goes when it is let go. */
void imports_orphan(struct imports *imports);
/* The card is gone: no framebuffer is left, held or not. What was dead is still owed an answer. */
void imports_lose(struct imports *imports, struct backend *backend);
/* No set before this one is on the screen any more: nobody holds them. */
void imports_drop_sets(struct imports *imports, struct backend *backend, uint32_t before);
/* All of them, held or not. */
void imports_free(struct imports *imports, struct backend *backend);
