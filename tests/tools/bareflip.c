/*
 * The least that a picture on the panel can cost: copies each frame from memory into one of two dumb buffers and flips to it, and does nothing else.
 *
 *   bareflip FPS SECONDS     whole frames of the first connector's preferred mode; needs the right of a DRM master
 *
 * Prints one JSON object: frames flipped, bytes copied.
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

struct buffer {
	uint32_t fb, pitch;
	uint8_t *pixels;
};

static int card;

static void fail(const char *what)
{
	fprintf(stderr, "bareflip: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct buffer make(uint32_t width, uint32_t height)
{
	struct buffer buffer;
	uint32_t handle;
	uint64_t size, at;
	if (drmModeCreateDumbBuffer(card, width, height, 32, 0, &handle, &buffer.pitch, &size) < 0 ||
		drmModeAddFB(card, width, height, 24, 32, buffer.pitch, handle, &buffer.fb) < 0 || drmModeMapDumbBuffer(card, handle, &at) < 0)
		fail("a dumb buffer");
	buffer.pixels = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, card, (off_t)at);
	if (buffer.pixels == MAP_FAILED)
		fail("mmap");
	return buffer;
}

/* The first connector with a monitor, and the first CRTC, which any has on the cards of the lab. */
static drmModeConnector *find(uint32_t *crtc)
{
	drmModeRes *all = drmModeGetResources(card);
	for (int i = 0; all != NULL && i < all->count_connectors; i++) {
		drmModeConnector *connector = drmModeGetConnector(card, all->connectors[i]);
		if (connector != NULL && connector->connection == DRM_MODE_CONNECTED && connector->count_modes > 0) {
			*crtc = all->crtcs[0];
			return connector;
		}
	}
	errno = ENODEV;
	fail("a monitor");
	return NULL;
}

/* Memory of the kind that guests have (src/vmm/memory.c): shared, of huge pages where the host gives those to it. */
static uint8_t *guest_like(uint64_t bytes)
{
	int fd = memfd_create("bareflip", MFD_CLOEXEC);
	void *memory = fd >= 0 && ftruncate(fd, (off_t)bytes) == 0 ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (memory == MAP_FAILED)
		fail("memory");
	close(fd);
	madvise(memory, bytes, MADV_HUGEPAGE);
	return memory;
}

static void flipped(int fd, unsigned int sequence, unsigned int sec, unsigned int usec, void *data)
{
	(void)fd, (void)sequence, (void)sec, (void)usec;
	*(bool *)data = false;
}

static void wait_flip(bool *flying)
{
	drmEventContext context = { .version = 2, .page_flip_handler = flipped };
	struct pollfd ready = { .fd = card, .events = POLLIN };
	while (*flying)
		if (poll(&ready, 1, -1) > 0)
			drmHandleEvent(card, &context);
}

int main(int argc, char **argv)
{
	uint32_t crtc;
	if (argc != 3)
		return 2;
	uint64_t pause_ns = NSEC_PER_SEC / strtoul(argv[1], NULL, 10), frames = 0;
	card = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
	if (card < 0)
		fail("/dev/dri/card0");
	drmModeConnector *connector = find(&crtc);
	const drmModeModeInfo *mode = &connector->modes[0];
	struct buffer buffer[2] = { make(mode->hdisplay, mode->vdisplay), make(mode->hdisplay, mode->vdisplay) };
	uint32_t row = mode->hdisplay * 4u;
	uint64_t bytes = (uint64_t)row * mode->vdisplay;
	uint8_t *memory = guest_like(bytes);
	if (drmModeSetCrtc(card, crtc, buffer[0].fb, 0, 0, &connector->connector_id, 1, &connector->modes[0]) < 0)
		fail("the mode");
	memset(memory, 0x5a, bytes); /* each page is there */
	uint64_t next = clock_now_ns(), end = next + strtoul(argv[2], NULL, 10) * NSEC_PER_SEC;
	bool flying = false;
	while (next < end) {
		struct buffer *back = &buffer[(frames + 1) % 2];
		/* A guest's frame is in memory that was just written, too; what that costs is not counted here or there. */
		memory[frames % bytes] = (uint8_t)frames;
		/* In one piece where it lies in one: rows are copied another way by the C library, which a software CPU is slow at. */
		uint32_t pieces = back->pitch == row ? 1 : mode->vdisplay;
		for (uint32_t i = 0; i < pieces; i++)
			memcpy(back->pixels + (uint64_t)i * back->pitch, memory + (uint64_t)i * row, bytes / pieces);
		flying = true;
		if (drmModePageFlip(card, crtc, back->fb, DRM_MODE_PAGE_FLIP_EVENT, &flying) < 0)
			fail("a page flip");
		wait_flip(&flying);
		frames++;
		next += pause_ns;
		struct timespec at = { .tv_sec = (time_t)(next / NSEC_PER_SEC), .tv_nsec = (long)(next % NSEC_PER_SEC) };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	}
	printf("{\"frames\":%llu,\"bytes\":%llu}\n", (unsigned long long)frames, (unsigned long long)(frames * bytes));
	return 0;
}
