/*
 * What a small change on the screen costs a card: the same square moved about by one of three ways, at a steady pace.
 *
 *   updatecost two|one|dirty FPS SECONDS
 *
 * two: atomic flips between two dumb buffers, with FB_DAMAGE_CLIPS where the plane has them; one: the same naming one buffer all the time; dirty: DIRTYFB on
 * one buffer. Prints a JSON object: updates, medians of the call and of the flip event (0: none) in microseconds, CPU time of this machine for an update. What the
 * other side of a virtual card does is for who runs the machine to measure.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <xf86drm.h>
#include <xf86drmMode.h>

#include "base/base.h"

#define SIDE 64u
#define MOST 20000

static int card;

static void fail(const char *what)
{
	fprintf(stderr, "updatecost: %s: %s\n", what, strerror(errno));
	exit(1);
}

struct buffer {
	uint32_t fb, pitch, handle;
	uint32_t *pixels;
};

static struct buffer make(uint32_t width, uint32_t height)
{
	struct buffer buffer;
	uint64_t size, at;
	if (drmModeCreateDumbBuffer(card, width, height, 32, 0, &buffer.handle, &buffer.pitch, &size) < 0 ||
		drmModeAddFB(card, width, height, 24, 32, buffer.pitch, buffer.handle, &buffer.fb) < 0 || drmModeMapDumbBuffer(card, buffer.handle, &at) < 0)
		fail("a dumb buffer");
	buffer.pixels = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, card, (off_t)at);
	if (buffer.pixels == MAP_FAILED)
		fail("mmap");
	memset(buffer.pixels, 0x20, size);
	return buffer;
}

static uint32_t property(uint32_t object, const char *name)
{
	drmModeObjectProperties *all = drmModeObjectGetProperties(card, object, DRM_MODE_OBJECT_PLANE);
	uint32_t id = 0;
	for (uint32_t i = 0; all != NULL && i < all->count_props && id == 0; i++) {
		drmModePropertyRes *one = drmModeGetProperty(card, all->props[i]);
		if (one != NULL && strcmp(one->name, name) == 0)
			id = one->prop_id;
		drmModeFreeProperty(one);
	}
	drmModeFreeObjectProperties(all);
	return id;
}

/* The plane that shows fb. */
static uint32_t plane_of(uint32_t fb)
{
	drmModePlaneRes *all = drmModeGetPlaneResources(card);
	uint32_t id = 0;
	for (uint32_t i = 0; all != NULL && i < all->count_planes; i++) {
		drmModePlane *one = drmModeGetPlane(card, all->planes[i]);
		if (one != NULL && one->fb_id == fb)
			id = one->plane_id;
		drmModeFreePlane(one);
	}
	drmModeFreePlaneResources(all);
	return id;
}

static void flipped(int fd, unsigned int sequence, unsigned int sec, unsigned int usec, void *data)
{
	(void)fd, (void)sequence, (void)sec, (void)usec;
	*(bool *)data = false;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static double median_us(uint64_t *ns, uint64_t n)
{
	qsort(ns, n, sizeof(*ns), by_size);
	return n ? (double)ns[n / 2] / 1000 : 0;
}

/* CPU time that this machine did not idle away, ns. */
static uint64_t busy_ns(void)
{
	unsigned long long v[8] = {0};
	FILE *file = fopen("/proc/stat", "r");
	if (file == NULL || fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) != 8)
		fail("/proc/stat");
	fclose(file);
	return (v[0] + v[1] + v[2] + v[5] + v[6]) * (NSEC_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK));
}

static uint64_t call_ns[MOST], event_ns[MOST];

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	bool two = strcmp(argv[1], "two") == 0, dirty = strcmp(argv[1], "dirty") == 0;
	uint64_t pause_ns = NSEC_PER_SEC / strtoul(argv[2], NULL, 10), n = 0, bytes = 0;
	card = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
	if (card < 0)
		fail("/dev/dri/card0");
	drmSetClientCap(card, DRM_CLIENT_CAP_UNIVERSAL_PLANES, 1);
	bool atomic = drmSetClientCap(card, DRM_CLIENT_CAP_ATOMIC, 1) == 0;
	drmModeRes *all = drmModeGetResources(card);
	drmModeConnector *connector = NULL;
	for (int i = 0; all != NULL && i < all->count_connectors && connector == NULL; i++) {
		connector = drmModeGetConnector(card, all->connectors[i]);
		if (connector != NULL && (connector->connection != DRM_MODE_CONNECTED || connector->count_modes == 0))
			connector = NULL;
	}
	if (connector == NULL || !atomic)
		fail("a monitor on a card with atomic commits");
	const drmModeModeInfo *mode = &connector->modes[0];
	uint32_t width = mode->hdisplay, height = mode->vdisplay;
	struct buffer buffer[2] = {make(width, height), make(width, height)};
	if (drmModeSetCrtc(card, all->crtcs[0], buffer[0].fb, 0, 0, &connector->connector_id, 1, &connector->modes[0]) < 0)
		fail("the mode");
	uint32_t plane = plane_of(buffer[0].fb), prop_fb = property(plane, "FB_ID"), prop_clips = property(plane, "FB_DAMAGE_CLIPS");
	sleep(1);
	struct {
		uint32_t x, y;
	} then = {0, 0};
	uint64_t busy = busy_ns(), next = clock_now_ns(), end = next + strtoul(argv[3], NULL, 10) * NSEC_PER_SEC;
	while (next < end && n < MOST) {
		struct buffer *back = &buffer[two ? (n + 1) % 2 : 0];
		uint32_t x = (uint32_t)(n * 64 % (width - SIDE)), y = (uint32_t)(n * 16 % (height - SIDE));
		for (uint32_t i = 0; i < (two ? 2 : 1); i++) {
			/* Two buffers: what went into the other one last time is owed to this one. */
			uint32_t px = i ? then.x : x, py = i ? then.y : y;
			for (uint32_t row = 0; row < SIDE; row++)
				memset((uint8_t *)back->pixels + (uint64_t)(py + row) * back->pitch + px * 4, (int)n, SIDE * 4);
			bytes += SIDE * SIDE * 4;
		}
		then.x = x;
		then.y = y;
		uint64_t began = clock_now_ns();
		if (dirty) {
			drmModeClip clip = {(uint16_t)x, (uint16_t)y, (uint16_t)(x + SIDE), (uint16_t)(y + SIDE)};
			if (drmModeDirtyFB(card, back->fb, &clip, 1) != 0)
				fail("DIRTYFB");
			call_ns[n] = clock_now_ns() - began;
		} else {
			bool flying = true;
			uint32_t blob = 0;
			struct drm_mode_rect clip = {(int32_t)x, (int32_t)y, (int32_t)(x + SIDE), (int32_t)(y + SIDE)};
			drmModeAtomicReq *request = drmModeAtomicAlloc();
			drmModeAtomicAddProperty(request, plane, prop_fb, back->fb);
			if (prop_clips && drmModeCreatePropertyBlob(card, &clip, sizeof(clip), &blob) == 0)
				drmModeAtomicAddProperty(request, plane, prop_clips, blob);
			if (drmModeAtomicCommit(card, request, DRM_MODE_ATOMIC_NONBLOCK | DRM_MODE_PAGE_FLIP_EVENT, &flying) != 0)
				fail("a commit");
			call_ns[n] = clock_now_ns() - began;
			drmEventContext context = {.version = 2, .page_flip_handler = flipped};
			struct pollfd ready = {.fd = card, .events = POLLIN};
			while (flying)
				if (poll(&ready, 1, -1) > 0)
					drmHandleEvent(card, &context);
			event_ns[n] = clock_now_ns() - began;
			drmModeDestroyPropertyBlob(card, blob);
			drmModeAtomicFree(request);
		}
		n++;
		next += pause_ns;
		struct timespec at = {.tv_sec = (time_t)(next / NSEC_PER_SEC), .tv_nsec = (long)(next % NSEC_PER_SEC)};
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	}
	busy = busy_ns() - busy;
	printf("{\"way\":\"%s\",\"clips\":%s,\"updates\":%llu,\"call_us\":%.1f,\"event_us\":%.1f,\"cpu_us\":%.1f,\"bytes\":%llu}\n", argv[1], prop_clips ? "true" : "false",
		(unsigned long long)n, median_us(call_ns, n), median_us(event_ns, n), (double)busy / 1000 / (double)n, (unsigned long long)bytes);
	return 0;
}
