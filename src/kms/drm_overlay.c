/* The guest's picture on a plane of its own, over a black primary plane. */
#define LOG_MODULE "drm"
#include "kms/card.h"

#include <errno.h>
#include <string.h>

#include <drm_fourcc.h>

/* Ids of what a commit sets. False: the plane cannot do what is needed, or does not lie over the primary one. */
static bool read_plane(int fd, uint32_t id, uint32_t crtc_index, uint64_t primary_zpos, struct drm_overlay *overlay)
{
	static const struct {
		const char *name;
		enum drm_overlay_prop prop;
	} needed[] = {
		{"FB_ID", OVERLAY_FB}, {"CRTC_ID", OVERLAY_CRTC}, {"SRC_X", OVERLAY_SRC_X}, {"SRC_Y", OVERLAY_SRC_Y}, {"SRC_W", OVERLAY_SRC_W},
		{"SRC_H", OVERLAY_SRC_H}, {"CRTC_X", OVERLAY_X}, {"CRTC_Y", OVERLAY_Y}, {"CRTC_W", OVERLAY_W}, {"CRTC_H", OVERLAY_H},
	};
	drmModePlane *plane = drmModeGetPlane(fd, id);
	drmModeObjectProperties *properties = drmModeObjectGetProperties(fd, id, DRM_MODE_OBJECT_PLANE);
	uint64_t type = DRM_PLANE_TYPE_PRIMARY, zpos = UINT64_MAX, alpha = 0xffff, rotation = DRM_MODE_ROTATE_0;
	bool fits = plane && properties && drm_property_id(fd, properties, "type", &type) && type == DRM_PLANE_TYPE_OVERLAY &&
		    plane->possible_crtcs & 1u << crtc_index, xrgb = false;
	for (uint32_t i = 0; fits && i < plane->count_formats; i++)
		xrgb |= plane->formats[i] == DRM_FORMAT_XRGB8888;
	fits = fits && xrgb;
	for (size_t i = 0; fits && i < ARRAY_LEN(needed); i++)
		fits = (overlay->prop[needed[i].prop] = drm_property_id(fd, properties, needed[i].name, NULL)) != 0;
	if (fits) {
		drm_property_id(fd, properties, "zpos", &zpos);
		drm_property_id(fd, properties, "alpha", &alpha);
		drm_property_id(fd, properties, "rotation", &rotation);
		fits = zpos > primary_zpos && alpha == 0xffff && rotation == DRM_MODE_ROTATE_0;
		overlay->prop[OVERLAY_CLIPS] = drm_property_id(fd, properties, "FB_DAMAGE_CLIPS", NULL);
	}
	overlay->plane = fits ? id : 0;
	drmModeFreeObjectProperties(properties);
	drmModeFreePlane(plane);
	return fits;
}

void drm_overlay_find(int fd, uint32_t crtc_index, uint32_t primary, struct drm_overlay *overlay)
{
	/* Where planes have no place in a stack, the overlay lies over the primary. */
	uint64_t primary_zpos = 0;
	drmModeObjectProperties *properties = drmModeObjectGetProperties(fd, primary, DRM_MODE_OBJECT_PLANE);
	drm_property_id(fd, properties, "zpos", &primary_zpos);
	drmModeFreeObjectProperties(properties);
	drmModePlaneRes *planes = drmModeGetPlaneResources(fd);
	bool found = false;
	for (uint32_t i = 0; planes && i < planes->count_planes && !found; i++)
		found = planes->planes[i] != primary && read_plane(fd, planes->planes[i], crtc_index, primary_zpos, overlay);
	drmModeFreePlaneResources(planes);
}

void drm_overlay_add(drmModeAtomicReq *request, const struct drm_overlay *overlay, uint32_t crtc, const struct commit *commit)
{
	const struct scanout_buffer *buffer = commit->overlay;
	const uint64_t value[OVERLAY_CLIPS] = {
		[OVERLAY_FB] = buffer ? buffer->fb : 0,
		[OVERLAY_CRTC] = buffer ? crtc : 0,
		[OVERLAY_SRC_W] = buffer ? (uint64_t)buffer->width << 16 : 0,
		[OVERLAY_SRC_H] = buffer ? (uint64_t)buffer->height << 16 : 0,
		[OVERLAY_X] = buffer ? commit->dest.x : 0,
		[OVERLAY_Y] = buffer ? commit->dest.y : 0,
		[OVERLAY_W] = buffer ? commit->dest.w : 0,
		[OVERLAY_H] = buffer ? commit->dest.h : 0,
	};
	for (uint32_t i = 0; i < OVERLAY_CLIPS; i++)
		drmModeAtomicAddProperty(request, overlay->plane, overlay->prop[i], value[i]);
}
