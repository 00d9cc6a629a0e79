/*
 * The fake card among its own files; tests see fake_drm.h. Each has one idea:
 *
 *   fake_drm.c          the card's life: new, opened, closed, and what is left of it
 *   fake_drm_calls.c    open(), ioctl(), mmap() of the program, and which ioctl is whose
 *   fake_drm_objects.c  connectors, CRTCs, planes, their properties and blobs: the state
 *   fake_drm_answers.c  what the card says of itself and of them
 *   fake_drm_atomic.c   a new state, checked and taken
 *   fake_drm_legacy.c   the old calls, in terms of the same state
 *   fake_drm_flip.c     the page flip in flight, and its event
 *   fake_drm_memory.c   dumb buffers, dma-bufs, handles, framebuffers
 *   fake_drm_screen.c   what is to be seen
 *   fake_drm_upload.c   and where that has to be sent to its screen, what was
 *   fake_drm_script.c   ioctls that fail because the test says so
 *   fake_udev.c         what udev says of it
 *   fake_seat.c         the session that it is opened through
 *
 * Functions that serve an ioctl return 0 or an errno. The lock is held by the interposed calls and by those of fake_drm.h; nothing here takes it.
 */
#pragma once

#include <pthread.h>

#include <linux/udmabuf.h>

#include "fake_drm.h"

#define BIT(x) (1u << (x))

extern pthread_mutex_t fake_lock; /* guards everything of the card's, and card's counters */

/* The program that has the device file open. */
struct fake_client {
	int device, events; /* ends of the pipe; -1: closed */
	bool atomic, universal, master;
	uint32_t number; /* of the card */
	bool lost; /* its card was taken out, whatever came since */
};

extern struct fake_client fake_client;

/* --- fake_drm_objects.c ---------------------------------------------------------------------------------------------------- */

struct fake_state {
	uint32_t type; /* DRM_MODE_OBJECT_... */
	uint32_t has;  /* bit per property */
	uint64_t value[FAKE_PROPS];
};

extern struct fake_state fake_state[FAKE_OBJECTS];

void fake_objects_reset(void);
/* Index of an object by the id that the program knows it by; -1: there is none of that type. */
int fake_object_of(uint64_t id, uint32_t type);
/* The same of a property that this object shows to this client, and back. */
int fake_prop_of(uint32_t object, uint32_t id);
uint32_t fake_prop_id(uint32_t prop);
const char *fake_prop_name(uint32_t id);
bool fake_prop_visible(uint32_t object, uint32_t prop);
/* Bit per CRTC. */
uint32_t fake_possible_crtcs(uint32_t plane);
uint32_t fake_primary_of(uint32_t crtc);
/* Of the mode that a CRTC has in this state. */
void fake_mode_size(const struct fake_state *state, uint32_t crtc, uint32_t *width, uint32_t *height);
/* The plane shows all of a framebuffer, in its own size at 0, 0; framebuffer 0: nothing. */
void fake_plane_shows(struct fake_state *plane, uint64_t crtc, uint64_t framebuffer, uint64_t w, uint64_t h);

#define FAKE_NO_BLOB 1064u /* the kernel's own: no id that a blob of the program's has */

int fake_create_blob(struct drm_mode_create_blob *b);
int fake_destroy_blob(uint32_t id);
bool fake_blob_exists(uint64_t id);
const void *fake_blob_data(uint64_t id);
/* Blobs that the state names outlive their ids. */
void fake_blobs_pin(void);
uint32_t fake_blobs_held(void);
void fake_blobs_forget(void);

/* --- fake_drm_answers.c ---------------------------------------------------------------------------------------------------- */

void fake_get_version(struct drm_version *v);
int fake_get_cap(struct drm_get_cap *c);
int fake_set_client_cap(const struct drm_set_client_cap *c);
int fake_get_sequence(struct drm_crtc_get_sequence *s);
void fake_get_resources(struct drm_mode_card_res *r);
int fake_get_connector(struct drm_mode_get_connector *c);
int fake_get_encoder(struct drm_mode_get_encoder *e);
int fake_get_crtc(struct drm_mode_crtc *c);
void fake_get_planes(struct drm_mode_get_plane_res *r);
int fake_get_plane(struct drm_mode_get_plane *p);
int fake_get_properties(struct drm_mode_obj_get_properties *p);
int fake_get_property(struct drm_mode_get_property *p);

/* --- fake_drm_atomic.c ----------------------------------------------------------------------------------------------------- */

int fake_atomic(const struct drm_mode_atomic *a);
/* Whether the card would show this, and whether all that differs may be set without a modeset. */
int fake_check(const struct fake_state *state, bool modeset);
/* It is the card's state now. */
void fake_take(const struct fake_state *state);

/* --- fake_drm_upload.c ----------------------------------------------------------------------------------------------------- */

/* A framebuffer's pixels are sent, or those of a part; nothing where the card sends none. */
void fake_upload(uint64_t id, const struct drm_mode_rect *clip);
/* The same for the primary planes that a commit named (by object), as drivers/gpu/drm/virtio does: all, unless it is the same framebuffer and clip says more. */
void fake_upload_planes(const struct fake_state *old, const bool named[FAKE_OBJECTS], const struct drm_mode_rect *clip);
uint32_t fake_uploaded_pixel(uint64_t id, uint64_t x, uint64_t y);

/* --- fake_drm_legacy.c ----------------------------------------------------------------------------------------------------- */

int fake_set_property(uint32_t object, uint32_t prop, uint64_t value);
int fake_set_crtc(const struct drm_mode_crtc *c);
int fake_page_flip(const struct drm_mode_crtc_page_flip *f);
int fake_set_plane(const struct drm_mode_set_plane *p);
void fake_set_cursor(const struct drm_mode_cursor *c);
int fake_dirty_fb(const struct drm_mode_fb_dirty_cmd *d);

/* --- fake_drm_flip.c ------------------------------------------------------------------------------------------------------- */

/* On one of these CRTCs (bits). */
bool fake_flip_pending(uint32_t crtcs);
/* One begins on these CRTCs (bits), with an event for each that carries `data`; they come at once unless the test holds them. */
void fake_flip_begin(uint64_t data, uint32_t crtcs);
/* Whoever waits for those does not hear of them. */
void fake_flip_forget(uint32_t crtcs);
#define FAKE_CRTCS 3u

/* --- fake_drm_memory.c ----------------------------------------------------------------------------------------------------- */

#define FAKE_PIECES 64
#define FAKE_FOREIGN 199u /* the framebuffer of another program */

/* A piece of a file. */
struct fake_piece {
	int fd;
	uint64_t offset, size;
};

struct fake_fb {
	bool used;
	uint32_t width, height, pitch, offset, format, n;
	struct fake_piece piece[FAKE_PIECES]; /* as of the handle, which may be closed */
};

void fake_memory_reset(void);
/* All handles and framebuffers are gone, and their numbers are not used again. */
void fake_memory_forget(void);
/* A dma-buf's descriptor, or -1 with errno. */
int fake_make_udmabuf(const struct udmabuf_create_list *list);
int fake_prime(struct drm_prime_handle *p);
int fake_export(struct drm_prime_handle *p);
int fake_create_dumb(struct drm_mode_create_dumb *d);
int fake_map_dumb(struct drm_mode_map_dumb *m);
/* What is in all dumb buffers is lost. */
void fake_clear_dumb(void);
/* The file that all dumb buffers lie in. */
int fake_dumb_file(void);
int fake_close_handle(uint32_t id);
int fake_add_fb(struct drm_mode_fb_cmd2 *f);
int fake_rm_fb(uint32_t id);
bool fake_fb_exists(uint64_t id);
/* NULL: another program's. */
const struct fake_fb *fake_fb(uint64_t id);
/* It lies over memory that is not the card's. */
bool fake_fb_is_import(uint64_t id);
uint32_t fake_fb_pixel(uint64_t id, uint64_t x, uint64_t y);
uint32_t fake_fbs_held(void);
uint32_t fake_handles_held(void);

/* --- fake_drm_script.c ----------------------------------------------------------------------------------------------------- */

/* The errno that the test wants of this ioctl; 0: none. */
int fake_scripted(unsigned long request, const void *arg);

/* --- fake_drm_calls.c ------------------------------------------------------------------------------------------------------ */

void fake_calls_reset(void);
uint32_t fake_mappings_held(void);
