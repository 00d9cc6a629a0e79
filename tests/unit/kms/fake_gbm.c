#include "fake_gbm.h"

#include <errno.h>
#include <fcntl.h>
#include <gbm.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/dma-buf.h>

#include "fake_drm.h"

#define BOS 32

struct gbm_device {
	int card;
};

struct gbm_bo {
	int drawn, shown; /* the CPU's side of it, and the display's */
	uint32_t stride, height, handle;
	bool drawing;
};

struct fake_gbm fake_gbm;

static struct gbm_bo *bos[BOS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static ino_t inode(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static void copy(const struct gbm_bo *bo)
{
	size_t size = (size_t)bo->stride * bo->height;
	uint8_t *bytes = malloc(size);
	if (!bytes || pread(bo->drawn, bytes, size, 0) != (ssize_t)size || pwrite(bo->shown, bytes, size, 0) != (ssize_t)size)
		abort();
	free(bytes);
}

static void sync_bo(int dmabuf, uint64_t flags)
{
	pthread_mutex_lock(&lock);
	bool known = false, begins = !(flags & DMA_BUF_SYNC_END);
	for (uint32_t i = 0; i < BOS; i++) {
		struct gbm_bo *bo = bos[i];
		if (!bo || inode(bo->drawn) != inode(dmabuf))
			continue;
		known = true;
		fake_gbm.wrong += bo->drawing == begins || !(flags & DMA_BUF_SYNC_WRITE);
		bo->drawing = begins;
		if (!begins) {
			copy(bo);
			fake_gbm.rounds++;
		}
	}
	fake_gbm.wrong += !known;
	pthread_mutex_unlock(&lock);
}

void fake_gbm_reset(void)
{
	fake_gbm = (struct fake_gbm){0};
	card.sync = sync_bo;
}

struct gbm_device *gbm_create_device(int fd)
{
	struct gbm_device *device = fake_gbm.no_device ? NULL : calloc(1, sizeof(*device));
	if (device) {
		device->card = fd;
		fake_gbm.devices++;
	}
	return device;
}

void gbm_device_destroy(struct gbm_device *device)
{
	fake_gbm.devices--;
	free(device);
}

struct gbm_bo *gbm_bo_create(struct gbm_device *device, uint32_t width, uint32_t height, uint32_t format, uint32_t flags)
{
	(void)device, (void)format;
	fake_gbm.asked++;
	if (fake_gbm.no_buffers || flags != (GBM_BO_USE_SCANOUT | GBM_BO_USE_LINEAR)) {
		errno = ENOMEM;
		return NULL;
	}
	struct gbm_bo *bo = calloc(1, sizeof(*bo));
	if (!bo)
		abort();
	*bo = (struct gbm_bo){
		.drawn = memfd_create("bo", MFD_CLOEXEC), .shown = memfd_create("bo", MFD_CLOEXEC), .stride = (width * 4 + 255) / 256 * 256 + 256, .height = height};
	off_t size = (off_t)bo->stride * height;
	if (ftruncate(bo->drawn, size) != 0 || ftruncate(bo->shown, size) != 0 || fake_drm_adopt(bo->shown, fake_gbm.no_export ? -1 : bo->drawn, (uint64_t)size, &bo->handle) != 0)
		abort();
	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < BOS; i++) {
		if (!bos[i]) {
			bos[i] = bo;
			break;
		}
	}
	fake_gbm.buffers++;
	pthread_mutex_unlock(&lock);
	return bo;
}

void gbm_bo_destroy(struct gbm_bo *bo)
{
	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < BOS; i++)
		if (bos[i] == bo)
			bos[i] = NULL;
	fake_gbm.buffers--;
	pthread_mutex_unlock(&lock);
	fake_drm_disown(bo->handle);
	close(bo->drawn);
	close(bo->shown);
	free(bo);
}

union gbm_bo_handle gbm_bo_get_handle(struct gbm_bo *bo)
{
	return (union gbm_bo_handle){.u32 = bo->handle};
}

uint32_t gbm_bo_get_stride(struct gbm_bo *bo)
{
	return bo->stride;
}
