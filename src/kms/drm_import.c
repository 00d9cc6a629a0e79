/* Pages of other memory as framebuffers of the card: udmabuf (Documentation/driver-api/udmabuf), PRIME, AddFB2. */
#define LOG_MODULE "drm"
#include "kms/card.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm_fourcc.h>
#include <linux/udmabuf.h>

#include "base/log.h"

#define PAGE 4096u
#define UDMABUF_PATH "/dev/udmabuf"

/* Drivers that read a framebuffer with the CPU, or are no hardware: they see its caches. Of all others it is not known that their display does. */
static const char *const coherent[] = {
	"ast", "bochs-drm", "cirrus", "cirrus-qemu", "gud", "hyperv_drm", "mgag200", "ofdrm", "qxl", "simpledrm", "udl", "vboxvideo", "virtio_gpu", "vkms", "vmwgfx",
};

bool drm_sees_caches(const char *driver)
{
	for (size_t i = 0; i < ARRAY_LEN(coherent); i++)
		if (strcmp(driver, coherent[i]) == 0)
			return true;
	return false;
}

bool drm_import_list(const struct backend_pages *pages, struct udmabuf_create_list *list, uint64_t *offset)
{
	const struct link_buffer *buffer = pages->buffer;
	/* Bytes of the buffer: the picture, and the whole pages around it. Inside the segments (link/table.c). */
	uint64_t first = buffer->offset + (uint64_t)pages->source.y * buffer->stride + (uint64_t)pages->source.x * 4;
	uint64_t end = first + (uint64_t)(pages->source.h - 1) * buffer->stride + (uint64_t)pages->source.w * 4;
	*offset = first % PAGE;
	first -= *offset;
	end = (end + PAGE - 1) / PAGE * PAGE;
	uint64_t at = 0;
	for (uint32_t i = 0; i < buffer->n_segments && at < end; at += buffer->segment[i++].length) {
		const struct link_segment *segment = &buffer->segment[i];
		uint64_t from = at < first ? first - at : 0, to = end - at < segment->length ? end - at : segment->length;
		if (from >= to)
			continue;
		struct udmabuf_create_item *last = list->count ? &list->list[list->count - 1] : NULL;
		uint64_t start = segment->offset + from;
		if (start % PAGE || (to - from) % PAGE)
			return false;
		if (last && last->offset + last->size == start)
			last->size += to - from;
		else
			list->list[list->count++] = (struct udmabuf_create_item){.memfd = (uint32_t)pages->fd, .offset = start, .size = to - from};
	}
	return at >= end;
}

/* The pages of a picture as a dma-buf. -1 with errno: EINVAL also when they are not whole pages, or too many pieces for the kernel's limits. */
static int make_dmabuf(int udmabuf, const struct backend_pages *pages, uint64_t *offset)
{
	struct udmabuf_create_list *list = calloc(1, sizeof(*list) + pages->buffer->n_segments * sizeof(list->list[0]));
	if (!list)
		return -1;
	list->flags = UDMABUF_FLAGS_CLOEXEC;
	errno = EINVAL;
	int fd = drm_import_list(pages, list, offset) ? ioctl(udmabuf, UDMABUF_CREATE_LIST, list) : -1;
	int error = errno;
	free(list);
	errno = error;
	return fd;
}

int drm_import_buffer(int card, int udmabuf, const struct backend_pages *pages, struct scanout_buffer *buffer)
{
	uint64_t offset;
	*buffer = (struct scanout_buffer){.pitch = pages->buffer->stride, .width = pages->source.w, .height = pages->source.h, .imported = true};
	int fd = make_dmabuf(udmabuf, pages, &offset);
	if (fd < 0)
		return -1;
	int result = drmPrimeFDToHandle(card, fd, &buffer->handle), error = errno;
	close(fd);
	errno = error;
	if (result == 0 && drm_add_framebuffer(card, DRM_FORMAT_XRGB8888, (uint32_t)offset, buffer) == 0)
		return 0;
	error = errno;
	drm_forget_import(card, buffer);
	errno = error;
	return -1;
}

void drm_forget_import(int card, struct scanout_buffer *buffer)
{
	struct drm_gem_close close_it = {.handle = buffer->handle};
	if (buffer->fb)
		drmModeRmFB(card, buffer->fb);
	if (buffer->handle)
		drmIoctl(card, DRM_IOCTL_GEM_CLOSE, &close_it);
	memset(buffer, 0, sizeof(*buffer));
}

int drm_import_open(void)
{
	return open(UDMABUF_PATH, O_RDWR | O_CLOEXEC);
}

bool drm_import_probe(int card, const char *driver, int udmabuf, int error, char *why, size_t size)
{
	enum { SIDE = 64, BYTES = SIDE * SIDE * 4 };
	struct link_segment segment = {0, BYTES};
	struct link_buffer picture = {.width = SIDE, .height = SIDE, .stride = SIDE * 4, .format = DRM_FORMAT_XRGB8888, .n_segments = 1, .segment = &segment};
	struct backend_pages pages = {.fd = -1, .buffer = &picture, .source = {0, 0, SIDE, SIDE}};
	struct scanout_buffer buffer;
	uint64_t prime = 0;
	if (drmGetCap(card, DRM_CAP_PRIME, &prime) != 0 || !(prime & DRM_PRIME_CAP_IMPORT)) {
		snprintf(why, size, "%s shows no memory but its own", driver);
		return false;
	}
	if (udmabuf < 0) {
		snprintf(why, size, "%s: %s", UDMABUF_PATH, error == ENOENT ? "the kernel has none (CONFIG_UDMABUF)" : strerror(error));
		return false;
	}
	pages.fd = memfd_create("rayvm-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	bool works = pages.fd >= 0 && ftruncate(pages.fd, BYTES) == 0 && fcntl(pages.fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0 &&
		     drm_import_buffer(card, udmabuf, &pages, &buffer) == 0;
	error = errno;
	if (pages.fd >= 0)
		close(pages.fd);
	if (works)
		drm_forget_import(card, &buffer);
	else
		snprintf(why, size, "%s does not show memory of others (%s)", driver, strerror(error));
	return works;
}
