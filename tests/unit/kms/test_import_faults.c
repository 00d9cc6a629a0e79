/* G18: pages of the guest's that become no framebuffer, again and again: whichever step fails, nothing of the others is left. The kernel is played here. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm_fourcc.h>
#include <linux/udmabuf.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#include "base/base.h"
#include "kms/card.h"

#define CARD 1000    /* no descriptor: nothing real is asked of it */
#define UDMABUF 1001
#define SIDE 64u
#define BYTES (SIDE * SIDE * 4)

enum step { STEP_PAGES, STEP_UDMABUF, STEP_PRIME, STEP_ADDFB, STEPS };

static int fail_at, fail_with;
static uint32_t handles, framebuffers, dmabufs; /* alive; dmabufs: made */

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_drmPrimeFDToHandle(int fd, int prime, uint32_t *handle);
int __wrap_drmModeAddFB2(int fd, uint32_t width, uint32_t height, uint32_t format, const uint32_t handle[4], const uint32_t pitches[4], const uint32_t offsets[4],
	uint32_t *id, uint32_t flags);
int __wrap_drmModeRmFB(int fd, uint32_t id);
int __wrap_drmIoctl(int fd, unsigned long request, void *arg);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	const struct udmabuf_create_list *list = va_arg(arguments, void *);
	va_end(arguments);
	ck_assert_int_eq(fd, UDMABUF);
	ck_assert_uint_eq(request, UDMABUF_CREATE_LIST);
	ck_assert_uint_ge(list->count, 1);
	ck_assert_uint_ne(list->flags & UDMABUF_FLAGS_CLOEXEC, 0);
	if (fail_at == STEP_UDMABUF) {
		errno = fail_with;
		return -1;
	}
	dmabufs++;
	return memfd_create("dmabuf", MFD_CLOEXEC);
}

int __wrap_drmPrimeFDToHandle(int fd, int prime, uint32_t *handle)
{
	ck_assert_int_eq(fd, CARD);
	ck_assert_int_ge(prime, 0);
	if (fail_at == STEP_PRIME) {
		errno = fail_with;
		return -1;
	}
	*handle = ++handles;
	return 0;
}

int __wrap_drmModeAddFB2(int fd, uint32_t width, uint32_t height, uint32_t format, const uint32_t handle[4], const uint32_t pitches[4], const uint32_t offsets[4],
	uint32_t *id, uint32_t flags)
{
	ck_assert_int_eq(fd, CARD);
	ck_assert(width == SIDE && height == SIDE && format == DRM_FORMAT_XRGB8888 && pitches[0] == SIDE * 4 && offsets[0] == 0 && handle[0] != 0 && flags == 0);
	if (fail_at == STEP_ADDFB)
		return -fail_with;
	*id = ++framebuffers;
	return 0;
}

int __wrap_drmModeRmFB(int fd, uint32_t id)
{
	(void)fd;
	ck_assert(id != 0 && framebuffers > 0);
	framebuffers--;
	return 0;
}

int __wrap_drmIoctl(int fd, unsigned long request, void *arg)
{
	(void)fd;
	ck_assert_uint_eq(request, DRM_IOCTL_GEM_CLOSE);
	ck_assert_uint_ne(((struct drm_gem_close *)arg)->handle, 0);
	ck_assert_uint_gt(handles, 0);
	handles--;
	return 0;
}

static uint32_t descriptors(void)
{
	uint32_t n = 0;
	DIR *folder = opendir("/proc/self/fd");
	ck_assert_ptr_nonnull(folder);
	while (readdir(folder) != NULL)
		n++;
	closedir(folder);
	return n;
}

START_TEST(g18_failures_leak_nothing)
{
	static const int errors[] = {ENOMEM, EINVAL, EMFILE, ENOSYS};
	/* Neighbouring pages that are told as two pieces, and some that are none. */
	struct link_segment segment[2] = {{0x10000, BYTES / 2}, {0x40000, BYTES / 2}};
	struct link_buffer picture = {.width = SIDE, .height = SIDE, .stride = SIDE * 4, .format = DRM_FORMAT_XRGB8888, .n_segments = 2, .segment = segment};
	const struct backend_pages pages = {.fd = 7, .buffer = &picture, .source = {0, 0, SIDE, SIDE}};
	uint32_t before = descriptors();
	for (uint32_t i = 0; i < 2000; i++) {
		struct scanout_buffer buffer;
		fail_at = (int)(i % (STEPS + 1)); /* the last: none fails */
		fail_with = errors[i % ARRAY_LEN(errors)];
		segment[1].offset = fail_at == STEP_PAGES ? 0x40004 : 0x40000;
		int result = drm_import_buffer(CARD, UDMABUF, &pages, &buffer);
		int error = errno;
		if (fail_at == STEPS) {
			ck_assert_int_eq(result, 0);
			ck_assert(handles == 1 && framebuffers == 1 && buffer.imported && buffer.fb != 0);
			drm_forget_import(CARD, &buffer);
		} else {
			ck_assert_int_eq(result, -1);
			ck_assert_int_eq(error, fail_at == STEP_PAGES ? EINVAL : fail_with);
		}
		ck_assert_msg(handles == 0 && framebuffers == 0, "%u handles and %u framebuffers are left when step %d fails", handles, framebuffers, fail_at);
		ck_assert_uint_eq(descriptors(), before);
	}
	ck_assert_uint_eq(dmabufs, 2000 / (STEPS + 1) * 3);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("import-faults");
	TCase *tc = tcase_create("import");
	tcase_add_test(tc, g18_failures_leak_nothing);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
