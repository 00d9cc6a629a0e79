/* Ioctls that fail because the test says so. */
#include "fake_drm_private.h"

#include "base/base.h"

static bool names(const struct drm_mode_atomic *a, uint32_t id)
{
	for (uint32_t i = 0; i < a->count_objs; i++)
		if (((const uint32_t *)(uintptr_t)a->objs_ptr)[i] == id)
			return true;
	return false;
}

int fake_scripted(unsigned long request, const void *arg)
{
	bool test = request == DRM_IOCTL_MODE_ATOMIC && ((const struct drm_mode_atomic *)arg)->flags & DRM_MODE_ATOMIC_TEST_ONLY;
	for (uint32_t i = 0; i < ARRAY_LEN(card.script); i++) {
		struct fake_script *s = &card.script[i];
		if (s->request != request || s->count == 0 || (test && !s->tests) ||
			(request == DRM_IOCTL_MODE_ATOMIC && s->with && !names(arg, s->with)))
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
