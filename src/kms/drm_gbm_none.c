/* Built without libgbm (meson -Dgbm=disabled): dumb buffers are all there is. */
#include "kms/card.h"

#include <errno.h>

struct drm_gbm *drm_gbm_open(int card)
{
	(void)card;
	errno = ENOSYS;
	return NULL;
}

void drm_gbm_close(struct drm_gbm *gbm)
{
	(void)gbm;
}

int drm_gbm_make(struct drm_gbm *gbm, uint32_t width, uint32_t height, uint32_t format, struct scanout_buffer *buffer)
{
	(void)gbm, (void)width, (void)height, (void)format, (void)buffer;
	errno = ENOSYS;
	return -1;
}

void drm_gbm_free(struct drm_gbm *gbm, struct scanout_buffer *buffer)
{
	(void)gbm, (void)buffer;
}

void drm_gbm_draw(const struct scanout_buffer *buffer, bool begins)
{
	(void)buffer, (void)begins;
}
