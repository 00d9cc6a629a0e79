/* Ioctls that fail because the test says so. */
#include "fake_drm_private.h"

#include "base/base.h"

/* The framebuffer that a commit puts on a plane, or on any (id 0); 0: none. *named: it has something to do with this object. */
static uint64_t shown_by(const struct drm_mode_atomic *a, uint32_t id, bool *named)
{
	const uint32_t *ids = (const uint32_t *)(uintptr_t)a->objs_ptr, *counts = (const uint32_t *)(uintptr_t)a->count_props_ptr;
	const uint32_t *props = (const uint32_t *)(uintptr_t)a->props_ptr;
	const uint64_t *values = (const uint64_t *)(uintptr_t)a->prop_values_ptr;
	uint64_t fb = 0;
	*named = id == 0;
	for (uint32_t o = 0, at = 0; o < a->count_objs; o++)
		for (uint32_t p = 0; p < counts[o]; p++, at++) {
			if (id && ids[o] != id)
				continue;
			*named = true;
			if (props[at] == fake_prop_id(FAKE_FB_ID) && (id || fake_fb_is_import(values[at])))
				fb = values[at];
		}
	return fb;
}

static bool concerns(const struct fake_script *s, const struct drm_mode_atomic *a)
{
	bool named, any;
	uint64_t fb = shown_by(a, s->with, &named);
	return named && (!s->shows || fb) && (!s->imported || shown_by(a, 0, &any));
}

int fake_scripted(unsigned long request, const void *arg)
{
	bool test = request == DRM_IOCTL_MODE_ATOMIC && ((const struct drm_mode_atomic *)arg)->flags & DRM_MODE_ATOMIC_TEST_ONLY;
	for (uint32_t i = 0; i < ARRAY_LEN(card.script); i++) {
		struct fake_script *s = &card.script[i];
		if (s->request != request || s->count == 0 || (test && !s->tests) || (request == DRM_IOCTL_MODE_ATOMIC && !concerns(s, arg)))
			continue;
		if (s->skip > 0) {
			s->skip--;
			continue;
		}
		s->count--;
		return s->error;
	}
	return 0;
}
