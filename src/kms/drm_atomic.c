/* Atomic commits: Documentation/gpu/drm-kms.rst, drivers/gpu/drm/drm_atomic_uapi.c. Front thread. */
#define LOG_MODULE "drm"
#include "kms/card.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#ifndef DRM_MODE_LINK_STATUS_GOOD
#define DRM_MODE_LINK_STATUS_GOOD 0
#endif

void drm_atomic_adopt(struct drm_atomic *atomic, int fd, const struct drm_output *output)
{
	for (uint32_t i = 0; i < ARRAY_LEN(atomic->mode_blob); i++)
		if (atomic->mode_blob[i])
			drmModeDestroyPropertyBlob(fd, atomic->mode_blob[i]);
	*atomic = (struct drm_atomic){.fd = fd, .output = output, .overlaid = output && atomic->overlaid, .under = output ? atomic->under : 0};
	for (uint32_t i = 0; output && i <= output->base.n_mirrors; i++) {
		const struct drm_output *o = &output[i];
		if (drmModeCreatePropertyBlob(fd, &o->mode, sizeof(o->mode), &atomic->mode_blob[i]) != 0)
			log_error("mode of %s: %s", o->base.name, strerror(errno));
	}
}

uint32_t drm_atomic_outputs(const struct drm_atomic *atomic)
{
	return 1 + (atomic->mirrors_refused ? 0 : atomic->output->base.n_mirrors);
}

static drmModeAtomicReq *new_request(void)
{
	drmModeAtomicReq *request = drmModeAtomicAlloc();
	if (!request)
		errno = ENOMEM;
	return request;
}

/* What comes back with flip events: the kernel may not say of which CRTC they are. */
static int send(int fd, drmModeAtomicReq *request, uint32_t flags, const struct commit *commit)
{
	int result = drmModeAtomicCommit(fd, request, flags, (void *)(uintptr_t)drm_flip_data(commit->output, commit->epoch));
	if (result == 0)
		return 0;
	errno = -result;
	return -1;
}

/* The same, and the request is done with. */
static int send_last(int fd, drmModeAtomicReq *request, uint32_t flags, const struct commit *commit)
{
	int result = send(fd, request, flags, commit), error = errno;
	drmModeAtomicFree(request);
	errno = error;
	return result;
}

static void set_overlay(drmModeAtomicReq *request, const struct drm_output *o, const struct commit *commit)
{
	drm_plane_set(request, &o->overlay, o->crtc, commit->overlay, (int32_t)commit->dest.x, (int32_t)commit->dest.y);
}

/* Planes promise less than their properties say (bandwidth, pitch, place): asked once for each layout, before anything on the screen changes. */
static int test_overlay(struct drm_atomic *atomic, const struct commit *commit)
{
	struct drm_overlay_tested want = {commit->overlay->width, commit->overlay->height, commit->dest};
	const struct drm_output *o = atomic->output;
	if (memcmp(&want, &atomic->tested, sizeof(want)) == 0)
		return 0;
	drmModeAtomicReq *request = new_request();
	if (!request)
		return -1;
	drmModeAtomicAddProperty(request, o->primary.id, o->primary.prop[PLANE_FB], commit->buffer->fb);
	set_overlay(request, o, commit);
	int result = send_last(atomic->fd, request, DRM_MODE_ATOMIC_TEST_ONLY, commit);
	if (result == 0)
		atomic->tested = want;
	return result;
}

/* buffer NULL: off. */
static void set_output(drmModeAtomicReq *request, const struct drm_output *o, uint32_t mode_blob, const struct scanout_buffer *buffer)
{
	drmModeAtomicAddProperty(request, o->connector, o->prop.connector_crtc_id, buffer ? o->crtc : 0);
	/* A driver that lost the link to the monitor sets it up again when it is told to (drivers/gpu/drm/drm_connector.c, "link-status"). */
	if (buffer && o->prop.link_status)
		drmModeAtomicAddProperty(request, o->connector, o->prop.link_status, DRM_MODE_LINK_STATUS_GOOD);
	drmModeAtomicAddProperty(request, o->crtc, o->prop.mode_id, buffer ? mode_blob : 0);
	drmModeAtomicAddProperty(request, o->crtc, o->prop.active, buffer != NULL);
	drm_plane_set(request, &o->primary, o->crtc, buffer, 0, 0);
}

/* A whole state: the output, mirrors on or off, pointer, overlay, and what a previous owner left (clear). As backend_ops.commit. */
static int send_full(const struct drm_atomic *atomic, const struct commit *commit, bool clear)
{
	const struct drm_output *o = atomic->output;
	drmModeAtomicReq *request = new_request();
	if (!request)
		return -1;
	for (uint32_t i = 0; i <= o->base.n_mirrors; i++)
		set_output(request, &o[i], atomic->mode_blob[i], i < drm_atomic_outputs(atomic) ? commit->buffer : NULL);
	for (uint32_t i = 0; clear && i < o->n_clear; i++)
		if (!atomic->cleared || !drm_is_further(o, o->clear[i].object))
			drmModeAtomicAddProperty(request, o->clear[i].object, o->clear[i].id, o->clear[i].value);
	/* A further output's mode is set behind the front's back: the main one's next flip does not wait for it. */
	uint32_t flags = DRM_MODE_ATOMIC_ALLOW_MODESET | (commit->output && commit->buffer ? DRM_MODE_ATOMIC_NONBLOCK | DRM_MODE_PAGE_FLIP_EVENT : 0);
	/* Whoever had them before. */
	set_overlay(request, o, commit);
	drm_plane_set_pointer(request, &o->cursor, o->crtc, commit->cursor ? commit->cursor : &(struct commit_cursor){0});
	return send_last(atomic->fd, request, flags, commit);
}

/*
 * Everything. Blocks until it is on the screen, but for a further output. What is given up when it is refused is what it works without, the least first: what a previous owner left
 * stays; then (by the caller, who tries again) the guest's own buffer, the overlay, the pointer; then the mirrors.
 */
static int commit_full(struct drm_atomic *atomic, const struct commit *commit, const char *driver)
{
	const struct drm_output *o = atomic->output;
	for (;;) {
		bool clear = o->n_clear && !atomic->clear_refused;
		if (send_full(atomic, commit, clear) == 0) {
			atomic->cleared = true;
			return 0;
		}
		int error = errno;
		if (commit_not_now(error))
			return -1;
		if (clear && send_full(atomic, commit, false) == 0) {
			log_warn("%s does not let go of what was shown before (%s): leaving it", driver, strerror(error));
			atomic->clear_refused = atomic->cleared = true;
			return 0;
		}
		errno = error;
		if (!commit->buffer || commit->buffer->imported || commit->overlay || (commit->cursor && commit->cursor->buffer) || drm_atomic_outputs(atomic) == 1)
			return -1;
		log_warn("%s does not show the picture on %u outputs (%s): on %s alone", driver, drm_atomic_outputs(atomic), strerror(error), o->base.name);
		atomic->mirrors_refused = true;
	}
}

/* ACTIVE off keeps mode and planes: the display sleeps, and a full commit wakes it. */
int drm_atomic_blank(const struct drm_atomic *atomic)
{
	drmModeAtomicReq *request = new_request();
	if (!request)
		return -1;
	for (uint32_t i = 0; i < drm_atomic_outputs(atomic); i++)
		drmModeAtomicAddProperty(request, atomic->output[i].crtc, atomic->output[i].prop.active, 0);
	for (uint32_t i = 0; i < OUTPUT_MIRRORS; i++)
		if (atomic->output->base.further[i])
			drmModeAtomicAddProperty(request, atomic->output[1 + i].crtc, atomic->output[1 + i].prop.active, 0);
	return send_last(atomic->fd, request, DRM_MODE_ATOMIC_ALLOW_MODESET, &(struct commit){0});
}

static bool covers(const struct rect *damage, const struct scanout_buffer *picture)
{
	return damage->x == 0 && damage->y == 0 && damage->w >= picture->width && damage->h >= picture->height;
}

/*
 * Adds the damage to what a flip says of the plane that shows the picture, and of the mirrors' planes. The blob that it is in; 0: none. A commit without any
 * is for the whole plane (drivers/gpu/drm/drm_damage_helper.c): a picture that is new all over needs no blob, which is two system calls of its three.
 */
static uint32_t add_clips(const struct drm_atomic *atomic, drmModeAtomicReq *request, const struct commit *commit)
{
	const struct drm_output *o = atomic->output;
	const struct drm_plane *plane = commit->overlay ? &o->overlay : &o->primary;
	uint32_t blob = 0;
	if (!commit->buffer || !plane->prop[PLANE_CLIPS] || atomic->clips_refused || rect_empty(&commit->damage) ||
	    covers(&commit->damage, commit->overlay ? commit->overlay : commit->buffer))
		return 0;
	struct drm_mode_rect clip = {
		.x1 = (int32_t)commit->damage.x,
		.y1 = (int32_t)commit->damage.y,
		.x2 = (int32_t)(commit->damage.x + commit->damage.w),
		.y2 = (int32_t)(commit->damage.y + commit->damage.h),
	};
	if (drmModeCreatePropertyBlob(atomic->fd, &clip, sizeof(clip), &blob) != 0)
		return 0;
	drmModeAtomicAddProperty(request, plane->id, plane->prop[PLANE_CLIPS], blob);
	for (uint32_t i = 1; i < drm_atomic_outputs(atomic); i++)
		if (o[i].primary.prop[PLANE_CLIPS])
			drmModeAtomicAddProperty(request, o[i].primary.id, o[i].primary.prop[PLANE_CLIPS], blob);
	return blob;
}

/*
 * Another framebuffer on the primary plane, nothing else: what every driver can flip without a modeset. A pointer picture that moves comes with it, or
 * alone: naming the framebuffer that is there already would have some drivers copy all of it.
 */
static int commit_flip(struct drm_atomic *atomic, const struct commit *commit)
{
	const struct drm_output *o = atomic->output;
	drmModeAtomicReq *request = new_request();
	if (!request)
		return -1;
	uint32_t flags = DRM_MODE_ATOMIC_NONBLOCK | DRM_MODE_PAGE_FLIP_EVENT;
	/* What lies under an overlay stays, and costs a driver that copies nothing. */
	for (uint32_t i = 0; commit->buffer && i < drm_atomic_outputs(atomic); i++)
		if (!commit->overlay || !atomic->overlaid || atomic->under != commit->buffer->fb)
			drmModeAtomicAddProperty(request, o[i].primary.id, o[i].primary.prop[PLANE_FB], commit->buffer->fb);
	if (commit->buffer && (commit->overlay || atomic->overlaid))
		set_overlay(request, o, commit);
	if (commit->cursor)
		drm_plane_set_pointer(request, &o->cursor, o->crtc, commit->cursor);
	int cursor = drmModeAtomicGetCursor(request);
	uint32_t blob = add_clips(atomic, request, commit);
	int result = send(atomic->fd, request, flags, commit);
	if (result != 0 && errno == EINVAL && blob) {
		drmModeAtomicSetCursor(request, cursor);
		result = send(atomic->fd, request, flags, commit);
		atomic->clips_refused = result == 0; /* else it was something else: a pointer, an import */
	}
	int error = errno;
	if (result != 0 && drm_atomic_outputs(atomic) > 1 && !commit_not_now(error) && !commit->buffer->imported)
		atomic->mirrors_refused = true; /* by the full commit that follows */
	if (blob)
		drmModeDestroyPropertyBlob(atomic->fd, blob);
	drmModeAtomicFree(request);
	errno = error;
	return result;
}

/* Whether a commit is the framebuffer on the screen again, with something new in it, and nothing else. */
static bool in_place(const struct drm_atomic *atomic, const struct commit *commit)
{
	return atomic->in_place && !commit->full && commit->buffer && commit->buffer->fb == atomic->under && !commit->overlay && !atomic->overlaid && !commit->cursor;
}

int drm_atomic_commit(struct drm_atomic *atomic, const struct commit *commit, const char *driver)
{
	if (!atomic->mode_blob[0]) {
		errno = EINVAL; /* it could not be made */
		return -1;
	}
	/* A full commit sets what a test would take for granted: it is its own test. */
	if (commit->overlay && !commit->full && test_overlay(atomic, commit) != 0)
		return -1;
	if (in_place(atomic, commit)) {
		if (rect_empty(&commit->damage))
			return 1; /* no pixel is another one; the call takes no damage for all of it */
		int told = drm_tell_dirty(atomic->fd, commit->buffer->fb, &commit->damage);
		if (told > 0 || (errno != ENOSYS && errno != EOPNOTSUPP && errno != EINVAL))
			return told;
		atomic->in_place = false;
	}
	int result = commit->full ? commit_full(atomic, commit, driver) : commit_flip(atomic, commit);
	if (result == 0 && commit->buffer) {
		atomic->overlaid = commit->overlay != NULL;
		atomic->under = commit->buffer->fb;
	} else if (result != 0 && errno != EBUSY) {
		atomic->tested = (struct drm_overlay_tested){0};
	}
	return result;
}
