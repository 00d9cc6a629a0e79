/* A card that does what a test wants: behind the panel instead of drm.c. One a test. */
#pragma once

#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/base.h"
#include "kms/backend.h"

#define W 64
#define H 48
#define FAKE_CURSOR 0xc0ffee /* handle of buffers for the cursor plane */

/* Fields marked atomic are also used by the worker. */
struct fake {
	struct backend base;
	_Atomic bool connected;
	_Atomic uint32_t width;
	_Atomic uint32_t mirrors, leftovers;
	_Atomic uint32_t made, freed;
	int fail;            /* errno of the next commits */
	uint32_t fail_count; /* so many of them */
	bool hold_flips;     /* no flip events */
	uint32_t commits, full, failed;
	uint32_t epoch;
	bool pending;
	struct commit last;
	struct scanout_buffer shown; /* of the last commit, as it was then */
	_Atomic int refuse_import;   /* errno of imports; 0: they work */
	_Atomic uint32_t imported;   /* made and not freed */
	_Atomic uint32_t imports;    /* asked for */
	bool refuse_imported;        /* commits of imported buffers fail with EINVAL */
	int fail_blank;      /* errno of the next attempts to switch off */
	uint32_t fail_blanks;
	uint32_t blanks;     /* attempts that worked */
	bool dark;           /* switched off, and no full commit since */
	bool cursor;                 /* the output has a cursor plane; base.cursor_width and _height say of what size */
	bool refuse_cursor;          /* commits that show something on it fail with EINVAL */
	_Atomic bool refuse_cursor_buffer; /* none can be made */
	_Atomic uint32_t cursor_buffers;   /* made and not freed */
	uint32_t cursor_commits, cursor_alone; /* that name the plane, and nothing else */
	uint32_t cursor_refused;
	struct commit_cursor plane;  /* what it shows */
	uint32_t plane_pixels[64 * 64]; /* first in its buffer when it was committed */
	void (*draw)(const struct scanout_buffer *buffer, bool begins); /* what it has to say around drawing, on the worker; NULL: nothing */
	void (*look)(void);             /* what a test has to say to each commit that was taken */
	bool adopted;
	bool destroyed;
};

extern const struct backend_ops fake_ops;

/* Its descriptors and operations, and its mode's width; the rest is as the test has set it. */
void fake_init(struct fake *fake, const struct backend_ops *ops);
/* For tests that have something to add: what is connected, with the fields of the fake. */
struct output *fake_probe(struct backend *backend);
