/*
 * Framebuffers by libgbm (gbm.h): for cards whose driver makes no dumb buffers, and by --features gbm_buffers. Mesa's driver for the card says where they
 * lie. Linear, since the CPU draws into them, through the mapping of their dma-buf: gbm_bo_map() may hand out a copy that nobody sees before it is unmapped.
 */
#define LOG_MODULE "drm"
#include "kms/card.h"

#include <errno.h>
#include <fcntl.h>
#include <gbm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm_fourcc.h>
#include <linux/dma-buf.h>

struct drm_gbm {
	struct gbm_device *device;
	int card;
};

/* A buffer's bo. */
struct drm_gbm_bo {
	struct gbm_bo *bo;
	int dmabuf;
};

struct drm_gbm *drm_gbm_open(int card)
{
	struct drm_gbm *gbm = calloc(1, sizeof(*gbm));
	if (!gbm)
		return NULL;
	gbm->card = card;
	errno = ENODEV; /* Mesa says nothing when it has no driver for it */
	gbm->device = gbm_create_device(card);
	if (gbm->device)
		return gbm;
	int error = errno;
	free(gbm);
	errno = error ? error : ENODEV;
	return NULL;
}

void drm_gbm_close(struct drm_gbm *gbm)
{
	if (!gbm)
		return;
	gbm_device_destroy(gbm->device);
	free(gbm);
}

int drm_gbm_make(struct drm_gbm *gbm, uint32_t width, uint32_t height, uint32_t format, struct scanout_buffer *buffer)
{
	*buffer = (struct scanout_buffer){.width = width, .height = height};
	struct drm_gbm_bo *bo = calloc(1, sizeof(*bo));
	if (!bo)
		return -1;
	buffer->bo = bo;
	bo->dmabuf = -1;
	errno = 0;
	bo->bo = gbm_bo_create(gbm->device, width, height, format, GBM_BO_USE_SCANOUT | GBM_BO_USE_LINEAR);
	if (!bo->bo)
		goto fail;
	buffer->handle = gbm_bo_get_handle(bo->bo).u32;
	buffer->pitch = gbm_bo_get_stride(bo->bo);
	buffer->size = (uint64_t)buffer->pitch * height;
	/* Not gbm_bo_get_fd(), which in some drivers exports it for reading only. */
	if (drmPrimeHandleToFD(gbm->card, buffer->handle, DRM_CLOEXEC | DRM_RDWR, &bo->dmabuf) != 0)
		goto fail;
	void *pixels = mmap(NULL, buffer->size, PROT_READ | PROT_WRITE, MAP_SHARED, bo->dmabuf, 0);
	if (pixels == MAP_FAILED)
		goto fail;
	buffer->pixels = pixels;
	if (drm_add_framebuffer(gbm->card, format, 0, buffer) == 0)
		return 0;
fail:;
	int error = errno;
	drm_gbm_free(gbm, buffer);
	errno = error ? error : ENOMEM; /* Mesa need not say. ENODEV would mean that the card is gone. */
	return -1;
}

void drm_gbm_free(struct drm_gbm *gbm, struct scanout_buffer *buffer)
{
	struct drm_gbm_bo *bo = buffer->bo;
	if (buffer->pixels)
		munmap(buffer->pixels, buffer->size);
	if (buffer->fb)
		drmModeRmFB(gbm->card, buffer->fb);
	if (bo->dmabuf >= 0)
		close(bo->dmabuf);
	if (bo->bo)
		gbm_bo_destroy(bo->bo);
	free(bo);
	memset(buffer, 0, sizeof(*buffer));
}

/* Documentation/driver-api/dma-buf.rst, "CPU Access to DMA Buffer Objects". It flushes caches where the display does not see them; errors cost no more than that. */
void drm_gbm_draw(const struct scanout_buffer *buffer, bool begins)
{
	const struct drm_gbm_bo *bo = buffer->bo;
	struct dma_buf_sync sync = {.flags = DMA_BUF_SYNC_WRITE | (begins ? DMA_BUF_SYNC_START : DMA_BUF_SYNC_END)};
	while (ioctl(bo->dmabuf, DMA_BUF_IOCTL_SYNC, &sync) != 0 && (errno == EINTR || errno == EAGAIN))
		;
}
