/* What the program calls instead of the C library's, and which ioctl is whose. */
#include "fake_drm_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/dma-buf.h>
#include <virtgpu_drm.h>

#define MAPPINGS 64

static void *mapping[MAPPINGS];
static int udmabuf = -1;

void fake_calls_reset(void)
{
	memset(mapping, 0, sizeof(mapping));
	udmabuf = -1;
}

/* Ioctls that only the master may do (DRM_MASTER in drm_ioctl.c); whoever else gets EACCES. */
static bool masters_only(unsigned long request)
{
	return request == DRM_IOCTL_MODE_ATOMIC || request == DRM_IOCTL_MODE_SETCRTC || request == DRM_IOCTL_MODE_PAGE_FLIP || request == DRM_IOCTL_MODE_SETPLANE ||
	       request == DRM_IOCTL_MODE_CURSOR || request == DRM_IOCTL_MODE_DIRTYFB || request == DRM_IOCTL_MODE_OBJ_SETPROPERTY ||
	       request == DRM_IOCTL_MODE_SETPROPERTY;
}

static bool commits(unsigned long request)
{
	return request == DRM_IOCTL_MODE_ATOMIC || request == DRM_IOCTL_MODE_SETCRTC || request == DRM_IOCTL_MODE_PAGE_FLIP;
}

static int serve(unsigned long request, void *arg)
{
	card.ioctls++;
	if (card.gone || fake_client.lost)
		return card.gone_error ? card.gone_error : ENODEV;
	int error = fake_scripted(request, arg);
	if (error)
		return error;
	if (card.inactive && masters_only(request))
		return EACCES;
	switch (request) {
	case DRM_IOCTL_VERSION:
		fake_get_version(arg);
		return 0;
	case DRM_IOCTL_AUTH_MAGIC: /* how libdrm asks who is master */
		return fake_client.master && !card.inactive ? EINVAL : EACCES;
	case DRM_IOCTL_SET_MASTER:
		fake_client.master = !card.inactive;
		return fake_client.master ? 0 : EBUSY;
	case DRM_IOCTL_DROP_MASTER:
		fake_client.master = false;
		return 0;
	case DRM_IOCTL_GET_CAP:
		return fake_get_cap(arg);
	case DRM_IOCTL_SET_CLIENT_CAP:
		return fake_set_client_cap(arg);
	case DRM_IOCTL_MODE_GETRESOURCES:
		fake_get_resources(arg);
		return 0;
	case DRM_IOCTL_MODE_GETCONNECTOR:
		return fake_get_connector(arg);
	case DRM_IOCTL_MODE_GETENCODER:
		return fake_get_encoder(arg);
	case DRM_IOCTL_MODE_GETPLANERESOURCES:
		fake_get_planes(arg);
		return 0;
	case DRM_IOCTL_MODE_GETPLANE:
		return fake_get_plane(arg);
	case DRM_IOCTL_MODE_OBJ_GETPROPERTIES:
		return fake_get_properties(arg);
	case DRM_IOCTL_MODE_GETPROPERTY:
		return fake_get_property(arg);
	case DRM_IOCTL_MODE_OBJ_SETPROPERTY: {
		const struct drm_mode_obj_set_property *p = arg;
		return fake_set_property(p->obj_id, p->prop_id, p->value);
	}
	case DRM_IOCTL_MODE_SETPROPERTY: {
		const struct drm_mode_connector_set_property *p = arg;
		return fake_set_property(p->connector_id, p->prop_id, p->value);
	}
	case DRM_IOCTL_MODE_CREATEPROPBLOB:
		return fake_create_blob(arg);
	case DRM_IOCTL_MODE_DESTROYPROPBLOB:
		return fake_destroy_blob(((struct drm_mode_destroy_blob *)arg)->blob_id);
	case DRM_IOCTL_MODE_ATOMIC:
		return fake_atomic(arg);
	case DRM_IOCTL_MODE_GETCRTC:
		return fake_get_crtc(arg);
	case DRM_IOCTL_MODE_SETCRTC:
		return fake_set_crtc(arg);
	case DRM_IOCTL_MODE_PAGE_FLIP:
		return fake_page_flip(arg);
	case DRM_IOCTL_MODE_SETPLANE:
		return fake_set_plane(arg);
	case DRM_IOCTL_MODE_DIRTYFB:
		return fake_dirty_fb(arg);
	case DRM_IOCTL_MODE_CURSOR:
		fake_set_cursor(arg);
		return 0;
	case DRM_IOCTL_CRTC_GET_SEQUENCE:
		return fake_get_sequence(arg);
	case DRM_IOCTL_MODE_CREATE_DUMB:
		return fake_create_dumb(arg);
	case DRM_IOCTL_MODE_MAP_DUMB:
		return fake_map_dumb(arg);
	case DRM_IOCTL_MODE_DESTROY_DUMB:
		return fake_close_handle(((struct drm_mode_destroy_dumb *)arg)->handle);
	case DRM_IOCTL_GEM_CLOSE:
		return fake_close_handle(((struct drm_gem_close *)arg)->handle);
	case DRM_IOCTL_MODE_ADDFB2:
		return fake_add_fb(arg);
	case DRM_IOCTL_MODE_RMFB:
		return fake_rm_fb(*(const uint32_t *)arg);
	case DRM_IOCTL_PRIME_HANDLE_TO_FD:
		return fake_export(arg);
	case DRM_IOCTL_PRIME_FD_TO_HANDLE:
		return fake_prime(arg);
	case DRM_IOCTL_VIRTGPU_GETPARAM: {
		const struct drm_virtgpu_getparam *p = arg;
		*(int *)(uintptr_t)p->value = (int)(card.parameters >> p->param & 1);
		return 0;
	}
	default:
		return EINVAL;
	}
}

/* Threads ask this of descriptors of all kinds while another one opens or closes the card. */
static bool is_ours(int fd, int *ours)
{
	pthread_mutex_lock(&fake_lock);
	bool is = fd >= 0 && fd == *ours;
	pthread_mutex_unlock(&fake_lock);
	return is;
}

int ioctl(int fd, unsigned long request, ...);
int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	va_start(args, request);
	void *arg = va_arg(args, void *);
	va_end(args);
	if (request == DMA_BUF_IOCTL_SYNC && card.sync) {
		card.sync(fd, ((const struct dma_buf_sync *)arg)->flags);
		return 0;
	}
	bool cards = is_ours(fd, &fake_client.device);
	if (!cards && (request != UDMABUF_CREATE_LIST || !is_ours(fd, &udmabuf)))
		return (int)syscall(SYS_ioctl, fd, request, arg);
	if (cards && card.before)
		card.before(request);
	pthread_mutex_lock(&fake_lock);
	int result = 0, error = 0;
	if (cards)
		error = serve(request, arg);
	else
		result = fake_make_udmabuf(arg);
	card.refused += error && commits(request);
	pthread_mutex_unlock(&fake_lock);
	if (error) {
		errno = error;
		return -1;
	}
	return result;
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	if (!is_ours(fd, &fake_client.device))
		return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
	pthread_mutex_lock(&fake_lock);
	void *at = (void *)syscall(SYS_mmap, address, length, protection, flags, fake_dumb_file(), offset);
	for (uint32_t i = 0; at != MAP_FAILED && i < MAPPINGS; i++) {
		if (mapping[i] == NULL) {
			mapping[i] = at;
			break;
		}
	}
	pthread_mutex_unlock(&fake_lock);
	return at;
}

int munmap(void *address, size_t length)
{
	pthread_mutex_lock(&fake_lock);
	for (uint32_t i = 0; address && i < MAPPINGS; i++)
		if (mapping[i] == address)
			mapping[i] = NULL;
	pthread_mutex_unlock(&fake_lock);
	return (int)syscall(SYS_munmap, address, length);
}

int open(const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
	va_end(args);
	if (strcmp(path, "/dev/udmabuf") != 0)
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	if (card.no_udmabuf) {
		errno = ENOENT;
		return -1;
	}
	int fd = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_lock(&fake_lock);
	udmabuf = fd;
	pthread_mutex_unlock(&fake_lock);
	return fd;
}

int fstat(int fd, struct stat *st)
{
	int result = fstatat(fd, "", st, AT_EMPTY_PATH);
	if (result == 0 && is_ours(fd, &fake_client.device)) {
		pthread_mutex_lock(&fake_lock);
		st->st_rdev = makedev(226, fake_client.number);
		pthread_mutex_unlock(&fake_lock);
	}
	return result;
}

uint32_t fake_mappings_held(void)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < MAPPINGS; i++)
		n += mapping[i] != NULL;
	return n;
}
