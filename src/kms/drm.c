#define LOG_MODULE "drm"
#include "kms/card.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <drm_fourcc.h>

#include "base/exit_status.h"
#include "base/log.h"
#include "kms/flips.h"
#include "kms/session.h"

#define CURSOR_SIDE_DEFAULT 64 /* of drivers that do not tell: drivers/gpu/drm/drm_ioctl.c */

struct drm {
	struct backend base;
	struct session *session;
	struct udev *udev;
	struct udev_monitor *monitor;
	struct choose_wish wish;
	_Atomic uint32_t main; /* connector of `output`, or of the one before it fell asleep; for the worker; 0: none */
	bool asleep;           /* switched off since the last full commit */
	struct drm_output *output; /* adopted, and its mirrors behind it; NULL or not connected: nothing can be committed. Front. */
	uint32_t mode_blob[1 + OUTPUT_MIRRORS];
	struct flips flips;
	char path[128], driver[32], text[56];
	dev_t devnum;
	struct drm_gbm *gbm; /* NULL: dumb buffers */
	int udmabuf; /* -1: imports do not work */
	bool is_legacy; /* no atomic commits */
	struct drm_legacy legacy;
	bool overlaid;  /* by the last commit that was taken, */
	uint32_t under; /* and this framebuffer below it */
	struct drm_overlay_tested {
		uint32_t w, h;
		struct rect dest;
	} tested; /* overlay that the driver says it can show */
	bool clips_refused, clear_refused, mirrors_refused; /* what the driver would not take is not tried again */
};

static struct drm *from(struct backend *backend)
{
	return container_of(backend, struct drm, base);
}

static struct output *drm_probe(struct backend *backend)
{
	struct choose_wish wish = from(backend)->wish;
	wish.keep = from(backend)->main;
	struct drm_output *output = drm_output_probe(backend->fd, &wish);
	if (output && from(backend)->is_legacy)
		output->base.n_mirrors = 0; /* no commit is for several CRTCs */
	if (output && (from(backend)->is_legacy || output->base.n_mirrors > 0))
		output->base.cursor = false; /* nor moves a pointer with a flip; mirrors have no plane of their own for it */
	return output ? &output->base : NULL;
}

static void drm_adopt(struct backend *backend, struct output *output)
{
	struct drm *drm = from(backend);
	free(drm->output);
	for (uint32_t i = 0; i < ARRAY_LEN(drm->mode_blob); i++) {
		if (drm->mode_blob[i])
			drmModeDestroyPropertyBlob(backend->fd, drm->mode_blob[i]);
		drm->mode_blob[i] = 0;
	}
	drm->output = output ? container_of(output, struct drm_output, base) : NULL;
	drm->clips_refused = drm->clear_refused = drm->mirrors_refused = false;
	drm->tested = (struct drm_overlay_tested){0};
	/* Mirrors have the primary plane's picture alone. */
	backend->overlay = drm->output && drm->output->overlay.id && drm->output->base.n_mirrors == 0 && !drm->is_legacy;
	drm->legacy = (struct drm_legacy){0};
	uint32_t connector = drm->output && drm->output->base.connected ? drm->output->connector : 0;
	/* A monitor that leaves while it sleeps comes back when it is woken, and is the main one still. */
	if (!drm->asleep)
		drm->main = connector;
	if (!connector)
		return;
	for (uint32_t i = 0; !drm->is_legacy && i <= drm->output->base.n_mirrors; i++) {
		const struct drm_output *o = &drm->output[i];
		if (drmModeCreatePropertyBlob(backend->fd, &o->mode, sizeof(o->mode), &drm->mode_blob[i]) != 0)
			log_error("mode of %s: %s", o->base.name, strerror(errno));
	}
	if (drm->output->notice[0])
		log_warn("%s", drm->output->notice);
}

/* Outputs that a commit is for. */
static uint32_t outputs(const struct drm *drm)
{
	return 1 + (drm->mirrors_refused ? 0 : drm->output->base.n_mirrors);
}

static int commit_request(struct drm *drm, drmModeAtomicReq *request, uint32_t flags, uint32_t epoch)
{
	int result = drmModeAtomicCommit(drm->base.fd, request, flags, (void *)(uintptr_t)epoch);
	if (result == 0)
		return 0;
	errno = -result;
	return -1;
}

static void set_overlay(drmModeAtomicReq *request, const struct drm_output *o, const struct commit *commit)
{
	drm_plane_set(request, &o->overlay, o->crtc, commit->overlay, (int32_t)commit->dest.x, (int32_t)commit->dest.y);
}

/* Planes promise less than their properties say (bandwidth, pitch, place): asked once for each layout, before anything on the screen changes. */
static int test_overlay(struct drm *drm, const struct commit *commit)
{
	struct drm_overlay_tested want = {commit->overlay->width, commit->overlay->height, commit->dest};
	const struct drm_output *o = drm->output;
	if (memcmp(&want, &drm->tested, sizeof(want)) == 0)
		return 0;
	drmModeAtomicReq *request = drmModeAtomicAlloc();
	if (!request) {
		errno = ENOMEM;
		return -1;
	}
	drmModeAtomicAddProperty(request, o->primary.id, o->primary.prop[PLANE_FB], commit->buffer->fb);
	set_overlay(request, o, commit);
	int result = commit_request(drm, request, DRM_MODE_ATOMIC_TEST_ONLY, commit->epoch);
	int error = errno;
	drmModeAtomicFree(request);
	if (result == 0)
		drm->tested = want;
	errno = error;
	return result;
}

/* buffer NULL: off. */
static void set_output(drmModeAtomicReq *request, const struct drm_output *o, uint32_t mode_blob, const struct scanout_buffer *buffer)
{
	drmModeAtomicAddProperty(request, o->connector, o->prop.connector_crtc_id, buffer ? o->crtc : 0);
	drmModeAtomicAddProperty(request, o->crtc, o->prop.mode_id, buffer ? mode_blob : 0);
	drmModeAtomicAddProperty(request, o->crtc, o->prop.active, buffer != NULL);
	drm_plane_set(request, &o->primary, o->crtc, buffer, 0, 0);
}

/* Main output, and the mirrors on or off. */
static void set_outputs(struct drm *drm, drmModeAtomicReq *request, const struct scanout_buffer *buffer)
{
	for (uint32_t i = 0; i <= drm->output->base.n_mirrors; i++)
		set_output(request, &drm->output[i], drm->mode_blob[i], i < outputs(drm) ? buffer : NULL);
}

/* Everything: connector, CRTC, plane, and what a previous owner left. Blocks until it is on the screen. */
static int commit_full(struct drm *drm, const struct commit *commit)
{
	const struct drm_output *o = drm->output;
	drmModeAtomicReq *request = drmModeAtomicAlloc();
	if (!request) {
		errno = ENOMEM;
		return -1;
	}
	int result, empty = drmModeAtomicGetCursor(request);
	for (;;) {
		set_outputs(drm, request, commit->buffer);
		for (uint32_t i = 0; !drm->clear_refused && i < o->n_clear; i++)
			drmModeAtomicAddProperty(request, o->clear[i].object, o->clear[i].id, o->clear[i].value);
		/* Whoever had them before. */
		set_overlay(request, o, commit);
		drm_plane_set_pointer(request, &o->cursor, o->crtc, commit->cursor ? commit->cursor : &(struct commit_cursor){0});
		result = commit_request(drm, request, DRM_MODE_ATOMIC_ALLOW_MODESET, commit->epoch);
		if (result == 0 || commit_not_now(errno) || commit->buffer->imported || commit->overlay || (commit->cursor && commit->cursor->buffer))
			break; /* without the guest's buffer, the overlay or the pointer next, before anything else is given up */
		if (outputs(drm) > 1) {
			log_warn("%s does not show the picture on %u outputs (%s): on %s alone", drm->driver, outputs(drm), strerror(errno), o->base.name);
			drm->mirrors_refused = true;
		} else if (o->n_clear && !drm->clear_refused) {
			log_warn("%s does not let go of what was shown before (%s): leaving it", drm->driver, strerror(errno));
			drm->clear_refused = true;
		} else {
			break;
		}
		drmModeAtomicSetCursor(request, empty);
	}
	int error = errno;
	drmModeAtomicFree(request);
	errno = error;
	return result;
}

/* ACTIVE off keeps mode and planes: the display sleeps, and a full commit wakes it. */
static int commit_inactive(struct drm *drm)
{
	drmModeAtomicReq *request = drmModeAtomicAlloc();
	if (!request) {
		errno = ENOMEM;
		return -1;
	}
	for (uint32_t i = 0; i < outputs(drm); i++)
		drmModeAtomicAddProperty(request, drm->output[i].crtc, drm->output[i].prop.active, 0);
	int result = commit_request(drm, request, DRM_MODE_ATOMIC_ALLOW_MODESET, 0);
	int error = errno;
	drmModeAtomicFree(request);
	errno = error;
	return result;
}

static int drm_blank(struct backend *backend)
{
	struct drm *drm = from(backend);
	if (!drm->output || !drm->output->base.connected)
		return 0;
	if ((drm->is_legacy ? drm_legacy_blank(backend->fd, drm->output) : commit_inactive(drm)) != 0)
		return -1;
	drm->asleep = true;
	return 0;
}

/*
 * Another framebuffer on the primary plane, nothing else: what every driver can flip without a modeset. A pointer picture that moves comes with it, or
 * alone: naming the framebuffer that is there already would have some drivers copy all of it.
 */
static int commit_flip(struct drm *drm, const struct commit *commit)
{
	const struct drm_output *o = drm->output;
	drmModeAtomicReq *request = drmModeAtomicAlloc();
	if (!request) {
		errno = ENOMEM;
		return -1;
	}
	uint32_t flags = DRM_MODE_ATOMIC_NONBLOCK | DRM_MODE_PAGE_FLIP_EVENT, blob = 0;
	/* What lies under an overlay stays, and costs a driver that copies nothing. */
	for (uint32_t i = 0; commit->buffer && i < outputs(drm); i++)
		if (!commit->overlay || !drm->overlaid || drm->under != commit->buffer->fb)
			drmModeAtomicAddProperty(request, o[i].primary.id, o[i].primary.prop[PLANE_FB], commit->buffer->fb);
	if (commit->buffer && (commit->overlay || drm->overlaid))
		set_overlay(request, o, commit);
	if (commit->cursor)
		drm_plane_set_pointer(request, &o->cursor, o->crtc, commit->cursor);
	int cursor = drmModeAtomicGetCursor(request);
	const struct drm_plane *plane = commit->overlay ? &o->overlay : &o->primary;
	if (commit->buffer && plane->prop[PLANE_CLIPS] && !drm->clips_refused && !rect_empty(&commit->damage)) {
		struct drm_mode_rect clip = {
			.x1 = (int32_t)commit->damage.x,
			.y1 = (int32_t)commit->damage.y,
			.x2 = (int32_t)(commit->damage.x + commit->damage.w),
			.y2 = (int32_t)(commit->damage.y + commit->damage.h),
		};
		if (drmModeCreatePropertyBlob(drm->base.fd, &clip, sizeof(clip), &blob) == 0) {
			drmModeAtomicAddProperty(request, plane->id, plane->prop[PLANE_CLIPS], blob);
			for (uint32_t i = 1; i < outputs(drm); i++)
				if (o[i].primary.prop[PLANE_CLIPS])
					drmModeAtomicAddProperty(request, o[i].primary.id, o[i].primary.prop[PLANE_CLIPS], blob);
		}
	}
	int result = commit_request(drm, request, flags, commit->epoch);
	if (result != 0 && errno == EINVAL && blob) {
		drmModeAtomicSetCursor(request, cursor);
		result = commit_request(drm, request, flags, commit->epoch);
		drm->clips_refused = result == 0; /* else it was something else: a pointer, an import */
	}
	int error = errno;
	if (result != 0 && outputs(drm) > 1 && !commit_not_now(error) && !commit->buffer->imported)
		drm->mirrors_refused = true; /* by the full commit that follows */
	if (blob)
		drmModeDestroyPropertyBlob(drm->base.fd, blob);
	drmModeAtomicFree(request);
	errno = error;
	return result;
}

static int commit_atomic(struct drm *drm, const struct commit *commit)
{
	/* A full commit sets what a test would take for granted: it is its own test. */
	if (commit->overlay && !commit->full && test_overlay(drm, commit) != 0)
		return -1;
	int result = commit->full ? commit_full(drm, commit) : commit_flip(drm, commit);
	if (result == 0 && commit->buffer) {
		drm->overlaid = commit->overlay != NULL;
		drm->under = commit->buffer->fb;
	} else if (result != 0 && errno != EBUSY) {
		drm->tested = (struct drm_overlay_tested){0};
	}
	return result;
}

static int drm_commit(struct backend *backend, const struct commit *commit)
{
	struct drm *drm = from(backend);
	if (!drm->output || !drm->output->base.connected || (!drm->mode_blob[0] && !drm->is_legacy)) {
		errno = ENODEV;
		return -1;
	}
	/* Composed when the output had a plane for it: refused, and so copied. */
	if (commit->overlay && !backend->overlay) {
		errno = EINVAL;
		return -1;
	}
	int result = drm->is_legacy ? drm_legacy_commit(backend->fd, drm->output, &drm->legacy, commit, drm->asleep) : commit_atomic(drm, commit);
	if (result == 0 && !commit->full)
		flips_begin(&drm->flips, commit->epoch, outputs(drm));
	if (result >= 0 && commit->full)
		drm->asleep = false;
	return result;
}

static void drm_dispatch(struct backend *backend)
{
	struct drm *drm = from(backend);
	uint64_t data[128]; /* aligned for the events in it; the kernel returns whole ones */
	ssize_t length = read(backend->fd, data, sizeof(data));
	const uint8_t *bytes = (const uint8_t *)data;
	for (ssize_t at = 0; at + (ssize_t)sizeof(struct drm_event) <= length;) {
		struct drm_event event;
		memcpy(&event, bytes + at, sizeof(event));
		if (event.length < sizeof(event) || at + (ssize_t)event.length > length)
			break;
		if (event.type == DRM_EVENT_FLIP_COMPLETE && event.length >= sizeof(struct drm_event_vblank)) {
			struct drm_event_vblank flip;
			memcpy(&flip, bytes + at, sizeof(flip));
			uint64_t time = (uint64_t)flip.tv_sec * NSEC_PER_SEC + (uint64_t)flip.tv_usec * NSEC_PER_USEC;
			/* The CRTC is 0 where the kernel does not tell. */
			bool main = flip.crtc_id == 0 || (drm->output && flip.crtc_id == drm->output->crtc);
			if (flips_event(&drm->flips, (uint32_t)flip.user_data, main, time ? time : clock_now_ns()))
				backend->flipped(backend->data, drm->flips.epoch, drm->flips.time_ns);
		}
		at += event.length;
	}
}

static bool drm_hotplug(struct backend *backend)
{
	struct drm *drm = from(backend);
	bool ours = false;
	struct udev_device *device;
	while ((device = udev_monitor_receive_device(drm->monitor))) {
		const char *action = udev_device_get_action(device);
		if (action && strcmp(action, "change") == 0 && udev_device_get_devnum(device) == drm->devnum)
			ours = true;
		udev_device_unref(device);
	}
	return ours;
}

static const char *drm_describe(const struct backend *backend)
{
	return container_of(backend, struct drm, base)->text;
}

static void drm_free_buffer(struct backend *backend, struct scanout_buffer *buffer)
{
	if (buffer->imported) {
		drm_forget_import(backend->fd, buffer);
		return;
	}
	if (buffer->bo) {
		drm_gbm_free(from(backend)->gbm, buffer);
		return;
	}
	if (buffer->pixels)
		munmap(buffer->pixels, buffer->size);
	if (buffer->fb)
		drmModeRmFB(backend->fd, buffer->fb);
	if (buffer->handle)
		drmModeDestroyDumbBuffer(backend->fd, buffer->handle);
	memset(buffer, 0, sizeof(*buffer));
}

static int make_framebuffer(struct backend *backend, uint32_t width, uint32_t height, uint32_t format, struct scanout_buffer *buffer)
{
	if (from(backend)->gbm)
		return drm_gbm_make(from(backend)->gbm, width, height, format, buffer);
	memset(buffer, 0, sizeof(*buffer));
	buffer->width = width;
	buffer->height = height;
	if (drmModeCreateDumbBuffer(backend->fd, width, height, 32, 0, &buffer->handle, &buffer->pitch, &buffer->size) != 0)
		return -1;
	uint64_t offset;
	uint32_t handles[4] = {buffer->handle}, pitches[4] = {buffer->pitch}, offsets[4] = {0};
	if (drmModeAddFB2(backend->fd, width, height, format, handles, pitches, offsets, &buffer->fb, 0) != 0 ||
	    drmModeMapDumbBuffer(backend->fd, buffer->handle, &offset) != 0)
		goto fail;
	void *pixels = mmap(NULL, buffer->size, PROT_READ | PROT_WRITE, MAP_SHARED, backend->fd, (off_t)offset);
	if (pixels == MAP_FAILED)
		goto fail;
	buffer->pixels = pixels;
	return 0;
fail:;
	int error = errno;
	drm_free_buffer(backend, buffer);
	errno = error;
	return -1;
}

static int drm_make_buffer(struct backend *backend, uint32_t width, uint32_t height, struct scanout_buffer *buffer)
{
	return make_framebuffer(backend, width, height, DRM_FORMAT_XRGB8888, buffer);
}

static int drm_make_cursor(struct backend *backend, struct scanout_buffer *buffer)
{
	return make_framebuffer(backend, backend->cursor_width, backend->cursor_height, DRM_FORMAT_ARGB8888, buffer);
}

static void drm_draw(struct backend *backend, const struct scanout_buffer *buffer, bool begins)
{
	(void)backend;
	if (buffer->bo)
		drm_gbm_draw(buffer, begins);
}

static int drm_import(struct backend *backend, const struct backend_pages *pages, struct scanout_buffer *buffer)
{
	return drm_import_buffer(backend->fd, from(backend)->udmabuf, pages, buffer);
}

static void drm_survey(struct backend *backend, const struct output *output, struct survey *survey)
{
	const struct drm *drm = from(backend);
	snprintf(survey->driver, sizeof(survey->driver), "%s", drm->driver);
	snprintf(survey->path, sizeof(survey->path), "%s", drm->path);
	drm_output_survey(backend->fd, container_of(output, struct drm_output, base), survey);
}

static void drm_destroy(struct backend *backend)
{
	struct drm *drm = from(backend);
	if (drm->udmabuf >= 0)
		close(drm->udmabuf);
	if (backend->fd >= 0) {
		drm_adopt(backend, NULL);
		drm_gbm_close(drm->gbm);
		session_close_device(drm->session, backend->fd);
	}
	if (drm->monitor)
		udev_monitor_unref(drm->monitor);
	if (drm->udev)
		udev_unref(drm->udev);
	free(drm);
}

static const struct backend_ops drm_ops = {
	.probe = drm_probe,
	.adopt = drm_adopt,
	.commit = drm_commit,
	.blank = drm_blank,
	.dispatch = drm_dispatch,
	.hotplug = drm_hotplug,
	.describe = drm_describe,
	.make_buffer = drm_make_buffer,
	.free_buffer = drm_free_buffer,
	.make_cursor = drm_make_cursor,
	.draw = drm_draw,
	.import_buffer = drm_import,
	.survey = drm_survey,
	.destroy = drm_destroy,
};

/* Of the pointer pictures that the card takes: a size that all drivers take, which for some is the largest (DRM_CAP_CURSOR_WIDTH in drm.h). */
static uint32_t cursor_side(int fd, uint64_t cap)
{
	uint64_t side = 0;
	return drmGetCap(fd, cap, &side) == 0 && side ? (uint32_t)side : CURSOR_SIDE_DEFAULT;
}

struct backend *drm_create(struct session *session, const char *card, bool legacy, bool gbm, const struct choose_wish *wish, char *error, size_t error_size,
	int *exit_status)
{
	*exit_status = EXIT_DISPLAY;
	struct drm *drm = calloc(1, sizeof(*drm));
	if (!drm) {
		snprintf(error, error_size, "display: out of memory");
		return NULL;
	}
	drm->udmabuf = -1;
	drm->base = (struct backend){.ops = &drm_ops, .fd = -1, .hotplug_fd = -1};
	drm->session = session;
	drm->is_legacy = legacy;
	drm->wish = *wish;
	drm->udev = udev_new();
	if (!drm->udev) {
		snprintf(error, error_size, "display: udev: %s", strerror(errno));
		goto fail;
	}
	bool dumb;
	drm->base.fd = drm_card_open(session, drm->udev, card, &drm->is_legacy, &dumb, drm->path, sizeof(drm->path), error, error_size);
	if (drm->base.fd < 0)
		goto fail;
	if (wish->connector && !drm_output_exists(drm->base.fd, wish->connector, error, error_size))
		goto fail;
	struct stat st;
	if (fstat(drm->base.fd, &st) == 0)
		drm->devnum = st.st_rdev;
	drmVersion *version = drmGetVersion(drm->base.fd);
	snprintf(drm->driver, sizeof(drm->driver), "%.31s", version ? version->name : "unknown driver");
	drmFreeVersion(version);
	if (gbm || !dumb) {
		drm->gbm = drm_gbm_open(drm->base.fd);
		if (!drm->gbm) {
			snprintf(error, error_size, "%s: no framebuffers of %s by libgbm (%s): install Mesa's driver for it%s", drm->path, drm->driver, strerror(errno),
				dumb ? ", or leave gbm_buffers out" : "");
			goto fail;
		}
	}
	snprintf(drm->text, sizeof(drm->text), "%s, %s%s", drm->driver, drm->is_legacy ? "legacy calls" : "atomic", drm->gbm ? ", gbm" : "");

	/* Uevents of the kernel, not of udevd: they come also where none runs. */
	drm->monitor = udev_monitor_new_from_netlink(drm->udev, "kernel");
	if (drm->monitor && udev_monitor_filter_add_match_subsystem_devtype(drm->monitor, "drm", NULL) >= 0 &&
	    udev_monitor_enable_receiving(drm->monitor) >= 0)
		drm->base.hotplug_fd = udev_monitor_get_fd(drm->monitor);
	else
		log_warn("no news of monitors plugged in later: %s", strerror(errno));
	log_info("card %s: %s", drm->path, drm->text);
	drm->udmabuf = drm_import_probe(drm->base.fd, drm->driver, drm->base.copies, sizeof(drm->base.copies));
	drm->base.cursor_width = cursor_side(drm->base.fd, DRM_CAP_CURSOR_WIDTH);
	drm->base.cursor_height = cursor_side(drm->base.fd, DRM_CAP_CURSOR_HEIGHT);
	drm->base.flush = !drm_sees_caches(drm->driver);
	if (drm->udmabuf >= 0)
		log_info("zero-copy: the guest's own pages are shown where size and format fit%s", drm->base.flush ? ", flushed from the CPU's caches" : "");
	else
		log_info("zero-copy: no, pictures are copied once: %s", drm->base.copies);
	return &drm->base;
fail:
	drm_destroy(&drm->base);
	return NULL;
}
