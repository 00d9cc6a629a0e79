/* The card's plane for a pointer picture. */
#include "kms/card.h"

#include <string.h>

#include <drm_fourcc.h>

#define SIDE_DEFAULT 64 /* of drivers that do not tell: drivers/gpu/drm/drm_ioctl.c */

void drm_cursor_size(int fd, uint32_t *width, uint32_t *height)
{
	/* A size that all drivers take, which for some is the largest (DRM_CAP_CURSOR_WIDTH in drm.h). */
	uint64_t w = 0, h = 0;
	*width = drmGetCap(fd, DRM_CAP_CURSOR_WIDTH, &w) == 0 && w ? (uint32_t)w : SIDE_DEFAULT;
	*height = drmGetCap(fd, DRM_CAP_CURSOR_HEIGHT, &h) == 0 && h ? (uint32_t)h : SIDE_DEFAULT;
}

void drm_cursor_choose(int fd, struct drm_output *output, const drmModePlane *plane, drmModeObjectProperties *properties)
{
	const struct {
		const char *name;
		uint32_t *id;
	} wanted[] = {
		{"FB_ID", &output->cursor.fb_id}, {"CRTC_ID", &output->cursor.crtc_id}, {"SRC_X", &output->cursor.src_x}, {"SRC_Y", &output->cursor.src_y},
		{"SRC_W", &output->cursor.src_w}, {"SRC_H", &output->cursor.src_h}, {"CRTC_X", &output->cursor.crtc_x}, {"CRTC_Y", &output->cursor.crtc_y},
		{"CRTC_W", &output->cursor.crtc_w}, {"CRTC_H", &output->cursor.crtc_h}, {"HOTSPOT_X", &output->cursor.hot_x}, {"HOTSPOT_Y", &output->cursor.hot_y},
	};
	bool argb = false;
	for (uint32_t i = 0; i < plane->count_formats; i++)
		argb |= plane->formats[i] == DRM_FORMAT_ARGB8888;
	if (output->cursor.plane || !argb)
		return;
	for (uint32_t i = 0; i < properties->count_props; i++) {
		drmModePropertyRes *property = drmModeGetProperty(fd, properties->props[i]);
		for (uint32_t w = 0; property && w < ARRAY_LEN(wanted); w++)
			if (strcmp(property->name, wanted[w].name) == 0)
				*wanted[w].id = property->prop_id;
		drmModeFreeProperty(property);
	}
	output->cursor.plane = plane->plane_id;
}

void drm_cursor_add(drmModeAtomicReq *request, const struct drm_output *output, const struct commit_cursor *cursor)
{
	const uint32_t plane = output->cursor.plane;
	if (!plane)
		return;
	drmModeAtomicAddProperty(request, plane, output->cursor.fb_id, cursor->buffer ? cursor->buffer->fb : 0);
	drmModeAtomicAddProperty(request, plane, output->cursor.crtc_id, cursor->buffer ? output->crtc : 0);
	if (!cursor->buffer)
		return;
	drmModeAtomicAddProperty(request, plane, output->cursor.src_x, 0);
	drmModeAtomicAddProperty(request, plane, output->cursor.src_y, 0);
	drmModeAtomicAddProperty(request, plane, output->cursor.src_w, (uint64_t)cursor->buffer->width << 16);
	drmModeAtomicAddProperty(request, plane, output->cursor.src_h, (uint64_t)cursor->buffer->height << 16);
	drmModeAtomicAddProperty(request, plane, output->cursor.crtc_x, (uint64_t)(int64_t)cursor->x);
	drmModeAtomicAddProperty(request, plane, output->cursor.crtc_y, (uint64_t)(int64_t)cursor->y);
	drmModeAtomicAddProperty(request, plane, output->cursor.crtc_w, cursor->buffer->width);
	drmModeAtomicAddProperty(request, plane, output->cursor.crtc_h, cursor->buffer->height);
	if (output->cursor.hot_x && output->cursor.hot_y) {
		drmModeAtomicAddProperty(request, plane, output->cursor.hot_x, cursor->hot_x);
		drmModeAtomicAddProperty(request, plane, output->cursor.hot_y, cursor->hot_y);
	}
}
