/*
 * The planes of an output: the primary one; one over it for a picture of the guest's on its own; one for its pointer picture. What a commit says of each
 * is the same: a framebuffer, one to one, at a place.
 */
#include "kms/card.h"

#include <stdlib.h>
#include <string.h>

#include <drm_fourcc.h>

static const char *const names[PLANE_PROPS] = {
	[PLANE_FB] = "FB_ID", [PLANE_CRTC] = "CRTC_ID", [PLANE_SRC_X] = "SRC_X", [PLANE_SRC_Y] = "SRC_Y", [PLANE_SRC_W] = "SRC_W", [PLANE_SRC_H] = "SRC_H",
	[PLANE_X] = "CRTC_X", [PLANE_Y] = "CRTC_Y", [PLANE_W] = "CRTC_W", [PLANE_H] = "CRTC_H", [PLANE_CLIPS] = "FB_DAMAGE_CLIPS",
	[PLANE_HOT_X] = "HOTSPOT_X", [PLANE_HOT_Y] = "HOTSPOT_Y",
};

/* What a commit may not lack. */
static bool complete(const struct drm_plane *plane)
{
	for (uint32_t i = 0; i < PLANE_CLIPS; i++)
		if (plane->prop[i] == 0)
			return false;
	return true;
}

static bool takes(const drmModePlane *plane, uint32_t format)
{
	for (uint32_t i = 0; i < plane->count_formats; i++)
		if (plane->formats[i] == format)
			return true;
	return false;
}

/* A plane of the card, as far as it matters which one is taken. */
struct candidate {
	struct drm_plane plane;
	uint64_t type, zpos; /* zpos: UINT64_MAX where planes have no place in a stack */
	bool plain;          /* neither see-through nor turned */
	bool xrgb, argb;
	bool present; /* the CRTC has it now */
};

/* False: it is none for the CRTC. */
static bool read_candidate(int fd, uint32_t id, uint32_t crtc, uint32_t crtc_index, struct candidate *to)
{
	drmModePlane *plane = drmModeGetPlane(fd, id);
	drmModeObjectProperties *properties = drmModeObjectGetProperties(fd, id, DRM_MODE_OBJECT_PLANE);
	uint64_t alpha = 0xffff, rotation = DRM_MODE_ROTATE_0;
	*to = (struct candidate){.plane.id = id, .type = DRM_PLANE_TYPE_OVERLAY, .zpos = UINT64_MAX};
	const struct {
		const char *name;
		uint64_t *value;
	} looked_at[] = {{"type", &to->type}, {"zpos", &to->zpos}, {"alpha", &alpha}, {"rotation", &rotation}};
	bool fits = plane && properties && plane->possible_crtcs & 1u << crtc_index;
	/* Each of the many is asked for its name once. */
	for (uint32_t i = 0; fits && i < properties->count_props; i++) {
		drmModePropertyRes *property = drmModeGetProperty(fd, properties->props[i]);
		for (uint32_t n = 0; property && n < PLANE_PROPS; n++)
			if (strcmp(property->name, names[n]) == 0)
				to->plane.prop[n] = property->prop_id;
		for (uint32_t n = 0; property && n < ARRAY_LEN(looked_at); n++)
			if (strcmp(property->name, looked_at[n].name) == 0)
				*looked_at[n].value = properties->prop_values[i];
		drmModeFreeProperty(property);
	}
	if (fits) {
		to->plain = alpha == 0xffff && rotation == DRM_MODE_ROTATE_0;
		to->xrgb = takes(plane, DRM_FORMAT_XRGB8888);
		to->argb = takes(plane, DRM_FORMAT_ARGB8888);
		to->present = plane->crtc_id == crtc;
	}
	drmModeFreeObjectProperties(properties);
	drmModeFreePlane(plane);
	return fits;
}

bool drm_planes_choose(int fd, uint32_t crtc_index, struct drm_output *output)
{
	drmModePlaneRes *planes = drmModeGetPlaneResources(fd);
	uint32_t n = 0;
	struct candidate *of = planes ? calloc(planes->count_planes, sizeof(*of)) : NULL;
	const struct candidate *primary = NULL;
	output->primary = output->overlay = output->cursor = (struct drm_plane){0};
	for (uint32_t i = 0; of && i < planes->count_planes; i++)
		n += read_candidate(fd, planes->planes[i], output->crtc, crtc_index, &of[n]);
	for (uint32_t i = 0; i < n; i++)
		if (of[i].type == DRM_PLANE_TYPE_PRIMARY && of[i].xrgb && (!primary || of[i].present))
			primary = &of[i];
	/* Where planes have no place in a stack, an overlay lies over the primary one. */
	uint64_t bottom = primary && primary->zpos != UINT64_MAX ? primary->zpos : 0;
	for (uint32_t i = 0; i < n; i++) {
		/* Old drivers' properties are not seen, and the old calls do without: they know no plane but the primary one. */
		if (!complete(&of[i].plane))
			continue;
		if (of[i].type == DRM_PLANE_TYPE_OVERLAY && of[i].xrgb && of[i].plain && of[i].zpos > bottom && !output->overlay.id)
			output->overlay = of[i].plane;
		if (of[i].type == DRM_PLANE_TYPE_CURSOR && of[i].argb && !output->cursor.id)
			output->cursor = of[i].plane;
	}
	if (primary)
		output->primary = primary->plane;
	free(of);
	drmModeFreePlaneResources(planes);
	return primary != NULL;
}

void drm_plane_set(drmModeAtomicReq *request, const struct drm_plane *plane, uint32_t crtc, const struct scanout_buffer *buffer, int32_t x, int32_t y)
{
	const uint64_t off[PLANE_CLIPS] = {0}, on[PLANE_CLIPS] = {
		[PLANE_FB] = buffer ? buffer->fb : 0,
		[PLANE_CRTC] = crtc,
		[PLANE_SRC_W] = buffer ? (uint64_t)buffer->width << 16 : 0,
		[PLANE_SRC_H] = buffer ? (uint64_t)buffer->height << 16 : 0,
		[PLANE_X] = (uint64_t)(int64_t)x,
		[PLANE_Y] = (uint64_t)(int64_t)y,
		[PLANE_W] = buffer ? buffer->width : 0,
		[PLANE_H] = buffer ? buffer->height : 0,
	};
	for (uint32_t i = 0; plane->id && i < PLANE_CLIPS; i++)
		drmModeAtomicAddProperty(request, plane->id, plane->prop[i], (buffer ? on : off)[i]);
}

void drm_plane_set_pointer(drmModeAtomicReq *request, const struct drm_plane *plane, uint32_t crtc, const struct commit_cursor *pointer)
{
	drm_plane_set(request, plane, crtc, pointer->buffer, pointer->x, pointer->y);
	if (!pointer->buffer || !plane->prop[PLANE_HOT_X] || !plane->prop[PLANE_HOT_Y])
		return;
	drmModeAtomicAddProperty(request, plane->id, plane->prop[PLANE_HOT_X], pointer->hot_x);
	drmModeAtomicAddProperty(request, plane->id, plane->prop[PLANE_HOT_Y], pointer->hot_y);
}
