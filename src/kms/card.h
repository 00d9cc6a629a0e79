/*
 * The card behind a panel (not drm.h: that is the kernel's). Shared by drm.c (the backend, framebuffers), drm_gbm.c (framebuffers of cards without dumb buffers),
 * drm_import.c (others' memory), drm_atomic.c and drm_legacy.c (commits), drm_plane.c (planes), drm_output.c (which connector), drm_card.c (which card) and
 * drm_news.c (what the kernel says of cards).
 */
#pragma once

#include <libudev.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#include "kms/backend.h"
#include "kms/choose.h"

#define DRM_CLEAR_MAX 256
#define DRM_MAJOR 226 /* Documentation/admin-guide/devices.txt */

/* Since Linux 6.6 virtual machines' cursor planes are shown only to who says it knows hotspots; Debian 12's header has no name for it. */
#ifndef DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT
#define DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT 6
#endif
#ifndef DRM_CAP_ATOMIC_ASYNC_PAGE_FLIP /* Linux 6.8 */
#define DRM_CAP_ATOMIC_ASYNC_PAGE_FLIP 0x15
#endif

/* A property to set on an object. */
struct drm_property {
	uint32_t object, id;
	uint64_t value;
};

enum drm_plane_prop {
	PLANE_FB, PLANE_CRTC, PLANE_SRC_X, PLANE_SRC_Y, PLANE_SRC_W, PLANE_SRC_H, PLANE_X, PLANE_Y, PLANE_W, PLANE_H,
	PLANE_CLIPS,              /* from here on 0: the driver has none */
	PLANE_HOT_X, PLANE_HOT_Y, /* of virtual machines' cursor planes */
	PLANE_PROPS
};

struct drm_plane {
	uint32_t id; /* 0: there is none */
	uint32_t prop[PLANE_PROPS];
};

/*
 * What a commit needs to know of connector, CRTC and plane. Plain data, so that a probe may be thrown away with free(): an array, the main output first,
 * then base.n_mirrors that show the same picture (of those nothing in base is filled in but the name, and clear is empty), or further outputs, each at its
 * place (base.further; what they have to clear is their own).
 */
struct drm_output {
	struct output base; /* first */
	uint32_t connector, crtc;
	struct drm_plane primary, overlay, cursor; /* overlay: over the primary one, takes XRGB8888; cursor: takes ARGB8888 */
	drmModeModeInfo mode;
	struct {
		uint32_t connector_crtc_id;
		uint32_t mode_id, active;
		uint32_t link_status; /* 0: the connector has none */
	} prop;
	/* What the previous owner of the display may have left: other planes, other CRTCs, colour tables, rotation. */
	struct drm_property clear[DRM_CLEAR_MAX];
	uint32_t n_clear;
	char notice[480]; /* for people, when the output is adopted; empty: nothing */
};

#define DRM_CARD_PATH 128

/* Which card is wanted, and which it became. */
struct drm_card {
	const char *wanted; /* path; NULL: the seat's first that can. Borrowed. */
	bool legacy_wanted; /* atomic commits are not asked for */
	char path[DRM_CARD_PATH];
	bool legacy; /* there are no atomic commits */
	bool dumb;   /* it makes dumb buffers; without libgbm a card has to */
};

/* drm_card.c */
/*
 * Opens a card that is there now through the session, and checks that it can do what is needed and is ours (DRM master). Any thread. Its descriptor, or -1 and
 * why (of several cards: of each; empty: there is none). *final: waiting will not change it.
 */
int drm_card_open(struct session *session, struct drm_card *card, char *why, size_t why_size, bool *final);
/* The same at the program's start: waits at most 10 s for one. -1 and a line in error. */
int drm_card_await(struct session *session, struct drm_card *card, char *error, size_t error_size);

/* drm_news.c */
/* The present card, and those that went while there was none: one of them may be just being opened. All zero at first. */
struct drm_present {
	bool here;
	dev_t devnum;
	uint64_t removed; /* bit per minor, without those that came back; cards have the first 64 (drivers/gpu/drm/drm_drv.c) */
};
/* What a uevent of the subsystem "drm" means: BACKEND_... or 0. action may be NULL, devnum is 0 where the device has no node. Pure. */
uint32_t drm_news(struct drm_present *present, const char *action, dev_t devnum);
/* A card was opened, and news from before were told. BACKEND_LOST: it went meanwhile, which a driver that is not told to unplug lets nobody feel; else 0. Pure. */
uint32_t drm_news_opened(struct drm_present *present, dev_t devnum);
/* The present card is not used any more. Pure. */
void drm_news_left(struct drm_present *present);

/* drm_beside.c: outputs beside the main one, output[0]. Pure. */
/* output[n_mirrors + 1] is a mirror now. False: it cannot be one beside the others, whose planes it shares. */
bool drm_add_mirror(struct drm_output *output);
/* output[place] is a further output now. stays: its connector has that CRTC already, which need not go dark for it. False: as above. */
bool drm_add_further(struct drm_output *output, uint32_t place, bool stays);
/* An object of a further output's. */
bool drm_is_further(const struct drm_output *output, uint32_t object);

/* drm_output.c */
/* Reads all connectors, the slow way. malloc'ed; NULL with errno. Any thread. */
struct drm_output *drm_output_probe(int fd, const struct choose_wish *wish);
/* Whether the card has such a connector, connected or not. False: a line in error. */
bool drm_output_exists(int fd, const char *connector, char *error, size_t error_size);
/* Planes and capabilities, for backend_ops.survey. Worker. */
void drm_output_survey(int fd, const struct drm_output *output, struct survey *survey);

/* drm.c: a framebuffer of a buffer's size and pitch over its handle, from `offset` (bytes) on: fills buffer->fb. 0, or -1 with errno. Worker. */
int drm_add_framebuffer(int fd, uint32_t format, uint32_t offset, struct scanout_buffer *buffer);

/* A property's id by name, 0 when the object has none; its present value in *value. properties may be NULL. */
uint32_t drm_property_id(int fd, drmModeObjectProperties *properties, const char *name, uint64_t *value);

/* drm_plane.c */
/* The planes of output->crtc, which is number crtc_index of the card. False: it has no primary one that takes XRGB8888. Worker. */
bool drm_planes_choose(int fd, uint32_t crtc_index, struct drm_output *output);
/* Adds a plane's state to a commit: the whole of this buffer, one to one, its top left corner at x, y; NULL: off. Nothing, if there is no such plane. */
void drm_plane_set(drmModeAtomicReq *request, const struct drm_plane *plane, uint32_t crtc, const struct scanout_buffer *buffer, int32_t x, int32_t y);
/* The same for the cursor plane, with its hot spot where the card asks for one. */
void drm_plane_set_pointer(drmModeAtomicReq *request, const struct drm_plane *plane, uint32_t crtc, const struct commit_cursor *pointer);

/* What flip events carry: which output's, and of which epoch. */
static inline uint64_t drm_flip_data(uint32_t output, uint32_t epoch)
{
	return (uint64_t)output << 32 | epoch;
}

/* drm_atomic.c */
struct drm_overlay_tested {
	uint32_t w, h;
	struct rect dest;
};
/* What atomic commits need besides the output, for the main one and its mirrors or for a further one. All zero: nothing can be committed. Front. */
struct drm_atomic {
	int fd;
	const struct drm_output *output; /* borrowed, its mirrors behind it */
	uint32_t mode_blob[1 + OUTPUT_MIRRORS];
	bool overlaid;  /* by the last commit that was taken, */
	uint32_t under; /* and this framebuffer below it, or alone */
	bool in_place;  /* what changes in the framebuffer on the screen is told by DIRTYFB */
	struct drm_overlay_tested tested; /* overlay that the driver says it can show */
	bool clips_refused, clear_refused, mirrors_refused; /* what the driver would not take is not tried again */
	bool cleared; /* by a full commit: further outputs are set since, and left alone */
};
/* Commits are for this output from now on; NULL: for none. What the driver refused is tried anew. */
void drm_atomic_adopt(struct drm_atomic *atomic, int fd, const struct drm_output *output);
/* Outputs that a commit is for. */
uint32_t drm_atomic_outputs(const struct drm_atomic *atomic);
/* As backend_ops.commit. driver: for log lines. */
int drm_atomic_commit(struct drm_atomic *atomic, const struct commit *commit, const char *driver);
/* The same for all outputs, as backend_ops.blank; atomic: the main one's. */
int drm_atomic_blank(const struct drm_atomic *atomic);

/* drm_legacy.c */
/* What was found out about the driver, and what it shows. All zero at first and for another output. */
struct drm_legacy {
	uint32_t fb;             /* on the screen, or on its way there; 0: not known */
	bool no_flips, no_dirty; /* refused: not tried again */
};
/* As backend_ops.commit. Front. */
int drm_legacy_commit(int fd, const struct drm_output *output, struct drm_legacy *state, const struct commit *commit);
/* As backend_ops.blank. Front. */
int drm_legacy_blank(int fd, const struct drm_output *output);

/* drm_gbm.c, or drm_gbm_none.c where libgbm was not there to be built with: then errno is ENOSYS. Worker, unless it says otherwise. */
struct drm_gbm;
/* For a card, borrowed. NULL with errno. Loads Mesa's driver, which the sandbox lets nobody do later but for one that is loaded. At creation, front; card thread. */
struct drm_gbm *drm_gbm_open(int card);
/* When all its buffers are freed. NULL does nothing. At the end, front; card thread. */
void drm_gbm_close(struct drm_gbm *gbm);
/* As backend_ops.make_buffer, in a format (DRM fourcc) of 32 bits. */
int drm_gbm_make(struct drm_gbm *gbm, uint32_t width, uint32_t height, uint32_t format, struct scanout_buffer *buffer);
void drm_gbm_free(struct drm_gbm *gbm, struct scanout_buffer *buffer);
/* As backend_ops.draw. */
void drm_gbm_draw(const struct scanout_buffer *buffer, bool begins);

/* drm_single.c */
/* Whether a driver is better off with one framebuffer (backend.single). blobs, three_d: what virtio_gpu has of its host. Pure. */
bool drm_single(const char *driver, bool blobs, bool three_d);
/* Asks the card. Any thread. */
bool drm_single_probe(int fd, const char *driver);
/* What changed in the framebuffer on the screen. 1, or -1 with errno; ENOSYS: the driver does not want to know. Front. */
int drm_tell_dirty(int fd, uint32_t fb, const struct rect *damage);

/* drm_import.c */
/* The kernel's maker of dma-bufs out of other memory, which cards come and go without. -1 with errno: it has none. The caller closes it. */
int drm_import_open(void);
/*
 * Whether the card may show other memory. False: a text in why. A driver that passes may still refuse a real picture, by its size or when it is committed.
 * error: what drm_import_open() failed with, if udmabuf is -1. Any thread.
 */
bool drm_import_probe(int card, const char *driver, int udmabuf, int error, char *why, size_t size);
struct udmabuf_create_list;
/*
 * The picture's pages, and no others, as udmabuf wants them, neighbours merged: fills list (room for all segments, zeroed). *offset: of the first pixel in
 * them, bytes. False when they are not whole pages of the memory. Pure.
 */
bool drm_import_list(const struct backend_pages *pages, struct udmabuf_create_list *list, uint64_t *offset);
/* As backend_ops.import_buffer. Worker. */
int drm_import_buffer(int card, int udmabuf, const struct backend_pages *pages, struct scanout_buffer *buffer);
/* Frees such a buffer; must not be on the screen. */
void drm_forget_import(int card, struct scanout_buffer *buffer);
/* False: what the CPU wrote has to be flushed from its caches before this driver's display shows it. */
bool drm_sees_caches(const char *driver);
