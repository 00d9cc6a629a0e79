/*
 * Cards that are better off with one framebuffer for a picture that changes a little, and how a change in it is told: lend.h.
 *
 * virtio_gpu sends a framebuffer's pixels to its host, all of them whenever another framebuffer is named, and what DRM_IOCTL_MODE_DIRTYFB names when it is the same
 * one (drivers/gpu/drm/virtio/virtgpu_plane.c, virtio_gpu_primary_plane_update()). Measured by tests/tools/updatecost.c: a square of 64x64 pixels on a screen of
 * 1920x1080 costs the host 0.4 ms instead of 1.3 ms (Linux 6.1), and its guest a fifth of the CPU time, as there is no event and no other thread. From 6.8 on the kernel
 * forgets to heed damage again once it was right not to (`ignore_damage_clips` of drm_atomic_helper_damage_iter_init(), until the fix of 2026 is in), so all is sent either
 * way, but a change is still copied once and not twice. FB_DAMAGE_CLIPS is known there since 6.4 only, and heeded or not as DIRTYFB is.
 *
 * The call puts two commands into the card's queue and waits for nobody: a host that does not empty it for a third of a second brings no keys either.
 * vmwgfx heeds damage in the same cases, but nobody has measured it yet. What copies damage itself or scans out of memory gains nothing from one framebuffer, and the
 * latter would show it half drawn.
 */
#include "kms/card.h"

#include <errno.h>
#include <string.h>

#include <virtgpu_drm.h>

#ifndef VIRTGPU_PARAM_RESOURCE_BLOB /* Linux 5.11 */
#define VIRTGPU_PARAM_RESOURCE_BLOB 3
#endif

bool drm_single(const char *driver, bool blobs, bool three_d)
{
	/* virtio_gpu_mode_dumb_create(): with blobs and no 3D the host reads a framebuffer from where it is, at any time. */
	return strcmp(driver, "virtio_gpu") == 0 && (!blobs || three_d);
}

/* Of virtio_gpu. A kernel that does not know the parameter has nothing like it. */
static bool parameter(int fd, uint64_t which)
{
	int value = 0;
	struct drm_virtgpu_getparam get = {.param = which, .value = (uintptr_t)&value};
	return drmIoctl(fd, DRM_IOCTL_VIRTGPU_GETPARAM, &get) == 0 && value != 0;
}

bool drm_single_probe(int fd, const char *driver)
{
	/* The number means something else to another driver. */
	return drm_single(driver, false, false) && drm_single(driver, parameter(fd, VIRTGPU_PARAM_RESOURCE_BLOB), parameter(fd, VIRTGPU_PARAM_3D_FEATURES));
}

int drm_tell_dirty(int fd, uint32_t fb, const struct rect *damage)
{
	drmModeClip clip = {(uint16_t)damage->x, (uint16_t)damage->y, (uint16_t)(damage->x + damage->w), (uint16_t)(damage->y + damage->h)};
	int result = drmModeDirtyFB(fd, fb, &clip, rect_empty(damage) ? 0 : 1);
	if (result == 0)
		return 1;
	errno = -result;
	return -1;
}
