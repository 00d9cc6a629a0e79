/*
 * Commits by the calls from before atomic ones: SetCrtc, PageFlip, DirtyFB. For drivers that have no others, and by --features legacy_kms.
 * Documentation/gpu/drm-kms.rst; drivers/gpu/drm/drm_crtc.c, drm_plane.c.
 */
#define LOG_MODULE "drm"
#include "kms/card.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

/* libdrm's calls return -errno. */
static int done(int result)
{
	if (result == 0)
		return 0;
	errno = -result;
	return -1;
}

static int set_crtc(int fd, const struct drm_output *output, uint32_t fb)
{
	uint32_t connector = output->connector;
	drmModeModeInfo mode = output->mode;
	return done(drmModeSetCrtc(fd, output->crtc, fb, 0, 0, &connector, 1, &mode));
}

/* Other planes and CRTCs go dark, the pointer picture and whatever colours and turns the picture go too. Who does not let go keeps it. */
static void clear_rest(int fd, const struct drm_output *output)
{
	uint32_t kept = 0;
	drmModePlaneRes *planes = drmModeGetPlaneResources(fd);
	for (uint32_t i = 0; planes && i < planes->count_planes; i++) {
		drmModePlane *plane = planes->planes[i] == output->primary.id ? NULL : drmModeGetPlane(fd, planes->planes[i]);
		if (plane && plane->fb_id)
			kept += drmModeSetPlane(fd, plane->plane_id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) != 0;
		drmModeFreePlane(plane);
	}
	drmModeFreePlaneResources(planes);
	drmModeSetCursor(fd, output->crtc, 0, 0, 0); /* a driver without a pointer says so */
	drmModeRes *resources = drmModeGetResources(fd);
	for (int i = 0; resources && i < resources->count_crtcs; i++) {
		drmModeCrtc *crtc = resources->crtcs[i] == output->crtc ? NULL : drmModeGetCrtc(fd, resources->crtcs[i]);
		if (crtc && crtc->mode_valid)
			kept += drmModeSetCrtc(fd, crtc->crtc_id, 0, 0, 0, NULL, 0, NULL) != 0;
		drmModeFreeCrtc(crtc);
	}
	drmModeFreeResources(resources);
	for (uint32_t i = 0; i < output->n_clear; i++)
		kept += drmModeObjectSetProperty(fd, output->clear[i].object, DRM_MODE_OBJECT_ANY, output->clear[i].id, output->clear[i].value) != 0;
	if (kept)
		log_warn("%s: %u things that were set before stay as they are", output->base.name, kept);
}

/* The connector's DPMS property: DRM_MODE_DPMS_..., not set where it says `unless`. A connector without one is always on. */
static int set_dpms(int fd, uint32_t connector, uint64_t value, uint64_t unless)
{
	uint64_t present = unless;
	drmModeObjectProperties *properties = drmModeObjectGetProperties(fd, connector, DRM_MODE_OBJECT_CONNECTOR);
	if (!properties)
		return -1;
	uint32_t id = drm_property_id(fd, properties, "DPMS", &present);
	int result = id && present != unless ? drmModeObjectSetProperty(fd, connector, DRM_MODE_OBJECT_CONNECTOR, id, value) : 0;
	drmModeFreeObjectProperties(properties);
	return done(result);
}

int drm_legacy_blank(int fd, const struct drm_output *output)
{
	return set_dpms(fd, output->connector, DRM_MODE_DPMS_OFF, UINT64_MAX);
}

int drm_legacy_commit(int fd, const struct drm_output *output, struct drm_legacy *state, const struct commit *commit)
{
	uint32_t fb = commit->buffer->fb;
	if (commit->full) {
		if (set_crtc(fd, output, fb) != 0)
			return -1;
		/* Who switched it off, and when, is not known for sure: another program, or we while another connector was the main one. */
		if (set_dpms(fd, output->connector, DRM_MODE_DPMS_ON, DRM_MODE_DPMS_ON) != 0)
			return -1;
		clear_rest(fd, output);
		state->fb = fb;
		return 1;
	}
	/* Without a vblank it ends as soon as the driver has copied it; with one it would wait for that, which a flip does not. */
	if (fb == state->fb && !output->base.vblank && !state->no_dirty) {
		int result = drm_tell_dirty(fd, fb, &commit->damage);
		if (result > 0 || (errno != ENOSYS && errno != EOPNOTSUPP))
			return result;
		state->no_dirty = true;
	}
	if (!state->no_flips) {
		if (done(drmModePageFlip(fd, output->crtc, fb, DRM_MODE_PAGE_FLIP_EVENT, (void *)(uintptr_t)commit->epoch)) == 0) {
			state->fb = fb;
			return 0;
		}
		/* EINVAL may be the guest's buffer, of a pitch that cannot be flipped to: it is copied then, and flips stay. */
		if ((errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) || commit->buffer->imported)
			return -1;
	}
	if (set_crtc(fd, output, fb) != 0)
		return -1;
	if (!state->no_flips)
		log_info("%s: no page flips, pictures are set one by one", output->base.name);
	state->no_flips = true;
	state->fb = fb;
	return 1;
}
