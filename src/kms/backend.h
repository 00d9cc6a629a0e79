/*
 * What stands behind a panel: a card (drm.c), memory (headless.c), or a fake in tests. Functions name the thread they are called on;
 * front and worker calls may run at the same time.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "link/table.h"

/* One framebuffer, XRGB8888. Made and freed on the worker; the front only names it in commits. */
struct scanout_buffer {
	uint8_t *pixels; /* written only, unless readable */
	uint32_t pitch;  /* bytes */
	uint32_t width, height;
	uint64_t size; /* bytes of the mapping */
	uint32_t fb, handle;
	bool imported; /* pages of a producer's memory: no pixels here, and only its producer draws into it */
	bool readable; /* ordinary cached memory: pictures for people may be taken from it */
	void *bo;      /* the backend's */
};

#define OUTPUT_MIRRORS 3

/*
 * What the panel's output offers at one moment: the main connector, those that show the same picture, and those that show pictures of their own. A backend may
 * keep more behind it (container_of).
 */
struct output {
	bool connected;
	char name[32];    /* connector */
	char monitor[16]; /* for LINK_DISPLAY */
	uint32_t width, height;
	uint32_t refresh_mhz;
	uint32_t width_mm, height_mm;
	bool vblank; /* flips happen at a vblank; else they complete at once and are paced by a timer */
	uint32_t n_mirrors; /* a commit of the main one is for all of them; flipped() is called when all have flipped, with the main one's time */
	char mirror[OUTPUT_MIRRORS][32];
	uint32_t leftovers; /* what another owner of the card left set; a full commit clears it */
	bool cursor; /* it has a plane for a pointer picture, and commits may name one */
	bool link_lost; /* the monitor gets no picture until a full commit, though it is connected */
	/*
	 * Of the main one: further outputs, in modes of their own; NULL: no monitor there. Each keeps its place while others come and go. They are in the
	 * same allocation, connected, and have no mirrors, leftovers, cursor plane or overlay.
	 */
	const struct output *further[OUTPUT_MIRRORS];
};

/* The cursor plane from a commit on. */
struct commit_cursor {
	const struct scanout_buffer *buffer; /* of make_cursor; NULL: nothing is shown */
	int32_t x, y;                        /* of its top left corner on the output, pixels; may lie outside */
	uint32_t hot_x, hot_y;               /* the pointing pixel within it */
};

struct commit {
	uint32_t output; /* which: 0 the main one and its mirrors, n: further[n - 1]. The others stay as they are. */
	const struct scanout_buffer *buffer; /* NULL: the picture stays, and the overlay, only the cursor plane changes. NULL and full: a further output is switched off. */
	const struct scanout_buffer *overlay; /* over it at `dest`, of the same size, on a plane of its own; NULL: nothing is */
	struct rect dest;
	struct rect damage; /* of the framebuffer (of the overlay, if there is one) since the last commit; everything when the face changed */
	uint32_t epoch;     /* comes back with the flip event */
	bool full;          /* whole state, may set the mode. Of the main one: done when the call returns. Of a further one: a flip event follows, but for one that is switched off. */
	const struct commit_cursor *cursor; /* NULL: the cursor plane stays as it is. Only where output.cursor is set. */
};

/* Of a commit's errors, those that are not for what it asked for: another owner of the display, a flip in flight. */
static inline bool commit_not_now(int error)
{
	return error == EBUSY || error == EACCES || error == EPERM;
}

/* A producer's picture that may go to the screen from where it is. */
struct backend_pages {
	int fd; /* the memory, a memfd; borrowed for the call */
	const struct link_buffer *buffer;
	struct rect source; /* the part shown, inside the buffer */
};

#define SURVEY_FORMATS 48

enum survey_plane { SURVEY_PRIMARY, SURVEY_OVERLAY, SURVEY_CURSOR, SURVEY_PLANES };

/* What stands behind a backend, for people and for reports of bugs: nothing is decided by it. */
struct survey {
	char driver[32];
	char path[128]; /* empty: no device */
	struct {
		uint32_t count;
		uint32_t n_formats, format[SURVEY_FORMATS]; /* DRM fourcc, of all of them together */
	} plane[SURVEY_PLANES]; /* those that the output can have */
	bool damage_clips;                       /* the plane in use takes FB_DAMAGE_CLIPS */
	bool async_flip, atomic_async_flip;      /* flips that do not wait for the vblank: by the old call, by atomic commits */
	bool cursor_hotspot;                     /* a virtual machine's card that wants to know where its pointer picture points */
	uint32_t cursor_width, cursor_height;    /* largest pointer picture, pixels */
};

struct backend;

struct backend_ops {
	/* Worker (and at creation the front): looks at all connectors. malloc'ed, NULL with errno. connected is false when there is none. */
	struct output *(*probe)(struct backend *backend);
	/* Front: `output` (of probe, or NULL for none) is used by commits from now on; taken over, the old one freed. */
	void (*adopt)(struct backend *backend, struct output *output);
	/* Front: 0 accepted (flip event follows; full, main output: shown already), 1 shown already and no event follows, or -1 with errno EBUSY, EACCES, EINVAL ... */
	int (*commit)(struct backend *backend, const struct commit *commit);
	/*
	 * Front: no signal on any output from now on (DPMS off), until a full commit. Blocks until a flip in flight is over. 0, or -1 with errno, as commit.
	 * NULL: there is nothing that could be switched off.
	 */
	int (*blank)(struct backend *backend);
	/* Front: fd is readable. Calls flipped(). */
	void (*dispatch)(struct backend *backend);
	/*
	 * Front: hotplug_fd is readable, or it may be. Bits of BACKEND_...; card_here: open_card is done since the last BACKEND_LOST. Called without card_here between
	 * any two cards, and at last when open_card has returned: so a card that went while it was opened is told of by the next call.
	 */
	uint32_t (*hotplug)(struct backend *backend, bool card_here);
	/*
	 * Card thread, when the card was lost, adopt(NULL) called and every buffer freed: closes it, and with `look` opens one if one is there now. True: from now
	 * on everything is the new one's. False: why not (empty: there is none). Until it returns, no other function but hotplug is called. NULL: the card never goes.
	 */
	bool (*open_card)(struct backend *backend, bool look, char *why, size_t size);
	/* Front: text for the status page, e.g. "virtio_gpu, atomic". */
	const char *(*describe)(const struct backend *backend);
	/* Worker. 0, or -1 with errno. */
	int (*make_buffer)(struct backend *backend, uint32_t width, uint32_t height, struct scanout_buffer *buffer);
	void (*free_buffer)(struct backend *backend, struct scanout_buffer *buffer);
	/* Worker: a buffer for the cursor plane, ARGB8888 (premultiplied), cursor_width x cursor_height. -1 with errno. May be NULL where no output has such a plane. */
	int (*make_cursor)(struct backend *backend, struct scanout_buffer *buffer);
	/* Worker: around drawing into a buffer of make_buffer or make_cursor. NULL: nothing is to be done for that. */
	void (*draw)(struct backend *backend, const struct scanout_buffer *buffer, bool begins);
	/*
	 * Worker: a framebuffer of the size of pages->source over these pages, no copy. -1 with errno when the card, its driver or udmabuf do
	 * not take them; then they are copied. NULL, or backend->copies set: never asked.
	 */
	int (*import_buffer)(struct backend *backend, const struct backend_pages *pages, struct scanout_buffer *buffer);
	/* Worker: fills an empty *survey; output is one of probe's. NULL: there is nothing to tell. */
	void (*survey)(struct backend *backend, const struct output *output, struct survey *survey);
	void (*destroy)(struct backend *backend);
};

#define BACKEND_OUTPUTS 1u /* connectors may have changed */
#define BACKEND_LOST 2u    /* the card is gone */
#define BACKEND_CAME 4u    /* a card is there, later than any loss that is told with it */

/* What is set at creation is so for one card: open_card sets it anew. */
struct backend {
	const struct backend_ops *ops;
	int fd;         /* flip events; -1: no card is open */
	int hotplug_fd; /* -1: outputs never change */
	char copies[96]; /* why every picture has to be copied; empty: imports may work. Set at creation. */
	_Atomic bool overlay; /* commits may have an overlay. Set by adopt. */
	uint32_t cursor_width, cursor_height; /* of the pictures that cursor planes take, pixels. Set at creation. */
	bool modeset_clears; /* a full commit may leave every framebuffer of make_buffer empty: all are drawn again behind it */
	bool single; /* a change is shown with less work where the framebuffer stays the same, and no sooner than it is committed: lend.h. Set at creation. */
	bool flush; /* the display does not see the CPU's caches: lines written into imported pages are flushed first */
	void (*flipped)(void *data, uint32_t output, uint32_t epoch, uint64_t time_ns); /* output: as in struct commit */
	void *data;
};

/* backend_ops.draw, where there is one. */
static inline void backend_draw(struct backend *backend, const struct scanout_buffer *buffer, bool begins)
{
	if (backend->ops->draw)
		backend->ops->draw(backend, buffer, begins);
}

struct session;

/* Memory instead of a card: flips on a grid of refresh_mhz (0: 60000), size 0: 1280x800. extend: a further output beside it, of 1024x768 at 75 Hz. NULL with errno. */
struct backend *headless_create(uint32_t width, uint32_t height, uint32_t refresh_mhz, bool extend);
struct choose_wish;
/*
 * The card; see panel_create() for card, wishes (their texts are borrowed), errors. legacy: without atomic commits, also where there are some. gbm:
 * framebuffers by libgbm, also where there are dumb ones.
 */
struct backend *drm_create(struct session *session, const char *card, bool legacy, bool gbm, const struct choose_wish *wish, char *error, size_t error_size,
	int *exit_status);
