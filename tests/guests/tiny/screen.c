/* SPDX-License-Identifier: MIT */
/* The card, by plain ioctls: legacy mode setting, as small programs and fbcon use it. */
#include <drm.h>
#include <drm_mode.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tiny.h"

struct buffer {
	uint32_t handle, framebuffer;
	struct picture picture;
	uint64_t size;		/* bytes mapped */
};

struct screen {
	int fd;
	uint32_t connector, crtc;
	struct drm_mode_modeinfo mode;
	bool shown;		/* the CRTC scans out buffers[front] */
	bool blank;
	bool flipping;
	uint32_t wish_width, wish_height;
	unsigned int front, count;	/* the second buffer is made at the first flip */
	struct buffer buffers[2];
	uint32_t cursor;	/* handle, 0: none */
};

/* The pointing pixel of the cursor's image. */
#define HOT_X 5
#define HOT_Y 3

static int control(int fd, unsigned long request, void *argument)
{
	int result;

	do
		result = ioctl(fd, request, argument);
	while (result < 0 && (errno == EINTR || errno == EAGAIN));
	return result;
}

struct screen *screen_open(void)
{
	int fd = open("/dev/dri/card0", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct screen *screen;

	if (fd < 0)
		return NULL;
	screen = calloc(1, sizeof(*screen));
	if (!screen) {
		close(fd);
		return NULL;
	}
	screen->fd = fd;
	return screen;
}

int screen_fd(const struct screen *screen)
{
	return screen->fd;
}

uint32_t screen_width(const struct screen *screen)
{
	return screen->shown ? screen->mode.hdisplay : 0;
}

uint32_t screen_height(const struct screen *screen)
{
	return screen->shown ? screen->mode.vdisplay : 0;
}

void screen_wish(struct screen *screen, uint32_t width, uint32_t height)
{
	screen->wish_width = width;
	screen->wish_height = height;
}

static void buffer_destroy(struct screen *screen, struct buffer *buffer)
{
	struct drm_mode_destroy_dumb destroy = {.handle = buffer->handle};

	if (buffer->picture.pixels)
		munmap(buffer->picture.pixels, buffer->size);
	if (buffer->framebuffer)
		control(screen->fd, DRM_IOCTL_MODE_RMFB, &buffer->framebuffer);
	if (buffer->handle)
		control(screen->fd, DRM_IOCTL_MODE_DESTROY_DUMB, &destroy);
	memset(buffer, 0, sizeof(*buffer));
}

static bool buffer_create(struct screen *screen, struct buffer *buffer, uint32_t width, uint32_t height)
{
	struct drm_mode_create_dumb create = {.width = width, .height = height, .bpp = 32};
	struct drm_mode_fb_cmd frame = {.width = width, .height = height, .bpp = 32, .depth = 24};
	struct drm_mode_map_dumb map = {0};
	void *pixels;

	if (control(screen->fd, DRM_IOCTL_MODE_CREATE_DUMB, &create) < 0) {
		complain("dumb buffer", errno);
		return false;
	}
	buffer->handle = create.handle;
	buffer->size = create.size;
	frame.handle = create.handle;
	frame.pitch = create.pitch;
	map.handle = create.handle;
	if (control(screen->fd, DRM_IOCTL_MODE_ADDFB, &frame) < 0) {
		complain("framebuffer", errno);
		goto fail;
	}
	buffer->framebuffer = frame.fb_id;
	if (control(screen->fd, DRM_IOCTL_MODE_MAP_DUMB, &map) < 0) {
		complain("map", errno);
		goto fail;
	}
	pixels = mmap(NULL, create.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, screen->fd, (off_t)map.offset);
	if (pixels == MAP_FAILED) {
		complain("mmap", errno);
		goto fail;
	}
	buffer->picture = (struct picture){pixels, width, height, create.pitch / 4};
	return true;

fail:
	buffer_destroy(screen, buffer);
	return false;
}

/* The first connected connector with its CRTC and the mode to take. False: nothing is connected. */
static bool find_output(struct screen *screen, uint32_t *connector_id, uint32_t *crtc_id, struct drm_mode_modeinfo *mode)
{
	uint32_t connectors[16], crtcs[16];
	struct drm_mode_card_res resources = {
		.connector_id_ptr = (uintptr_t)connectors, .count_connectors = 16,
		.crtc_id_ptr = (uintptr_t)crtcs, .count_crtcs = 16,
	};

	if (control(screen->fd, DRM_IOCTL_MODE_GETRESOURCES, &resources) < 0) {
		complain("resources", errno);
		return false;
	}
	for (uint32_t c = 0; c < resources.count_connectors && c < 16; c++) {
		struct drm_mode_modeinfo modes[128];
		uint32_t encoders[8];
		/* Asking with no room for modes makes the kernel probe the connector anew. */
		struct drm_mode_get_connector connector = {.connector_id = connectors[c]};
		struct drm_mode_get_encoder encoder = {0};
		uint32_t best = 0;

		if (control(screen->fd, DRM_IOCTL_MODE_GETCONNECTOR, &connector) < 0)
			continue;
		connector = (struct drm_mode_get_connector){
			.connector_id = connectors[c],
			.modes_ptr = (uintptr_t)modes, .count_modes = connector.count_modes < 128 ? connector.count_modes : 128,
			.encoders_ptr = (uintptr_t)encoders, .count_encoders = 8,
		};
		if (control(screen->fd, DRM_IOCTL_MODE_GETCONNECTOR, &connector) < 0 || connector.connection != 1 ||
		    connector.count_modes == 0 || connector.count_modes > 128 || connector.count_encoders == 0)
			continue;
		encoder.encoder_id = encoders[0];
		if (control(screen->fd, DRM_IOCTL_MODE_GETENCODER, &encoder) < 0)
			continue;
		*crtc_id = 0;
		for (uint32_t i = 0; i < resources.count_crtcs && i < 16 && !*crtc_id; i++) {
			if (encoder.possible_crtcs >> i & 1)
				*crtc_id = crtcs[i];
		}
		for (uint32_t i = connector.count_modes; i-- > 0; ) {
			if (modes[i].type & DRM_MODE_TYPE_PREFERRED)
				best = i;
		}
		for (uint32_t i = connector.count_modes; screen->wish_width && i-- > 0; ) {
			if (modes[i].hdisplay == screen->wish_width && modes[i].vdisplay == screen->wish_height)
				best = i;
		}
		*connector_id = connectors[c];
		*mode = modes[best];
		if (screen->wish_width && (mode->hdisplay != screen->wish_width || mode->vdisplay != screen->wish_height))
			say("NOMODE %ux%u", screen->wish_width, screen->wish_height);
		return *crtc_id != 0;
	}
	return false;
}

static bool set_crtc(struct screen *screen)
{
	struct drm_mode_crtc crtc = {.crtc_id = screen->crtc};

	if (!screen->blank) {
		crtc.fb_id = screen->buffers[screen->front].framebuffer;
		crtc.set_connectors_ptr = (uintptr_t)&screen->connector;
		crtc.count_connectors = 1;
		crtc.mode = screen->mode;
		crtc.mode_valid = 1;
	}
	if (control(screen->fd, DRM_IOCTL_MODE_SETCRTC, &crtc) < 0) {
		complain("mode setting", errno);
		return false;
	}
	return true;
}

static bool dirty(struct screen *screen, struct rectangle r)
{
	struct drm_clip_rect clip = {(uint16_t)r.x1, (uint16_t)r.y1, (uint16_t)r.x2, (uint16_t)r.y2};
	struct drm_mode_fb_dirty_cmd command = {
		.fb_id = screen->buffers[screen->front].framebuffer, .clips_ptr = (uintptr_t)&clip, .num_clips = 1,
	};

	/* ENOSYS: the driver scans out what is written, nothing needs saying. */
	if (control(screen->fd, DRM_IOCTL_MODE_DIRTYFB, &command) < 0 && errno != ENOSYS) {
		complain("dirty", errno);
		return false;
	}
	return true;
}

bool screen_update(struct screen *screen, const struct painted *painted)
{
	struct drm_mode_modeinfo mode;
	uint32_t connector, crtc;
	struct buffer old[2];

	if (!find_output(screen, &connector, &crtc, &mode)) {
		if (screen->shown)
			say("MODE none");
		screen->shown = false;
		return false;
	}
	if (screen->shown && screen->connector == connector && !memcmp(&screen->mode, &mode, sizeof(mode)))
		return false;

	memcpy(old, screen->buffers, sizeof(old));
	memset(screen->buffers, 0, sizeof(screen->buffers));
	screen->front = 0;
	screen->count = 1;
	screen->shown = false;
	screen->connector = connector;
	screen->crtc = crtc;
	screen->mode = mode;
	if (buffer_create(screen, &screen->buffers[0], mode.hdisplay, mode.vdisplay)) {
		picture_paint(&screen->buffers[0].picture, painted);
		screen->shown = set_crtc(screen);
	}
	if (screen->shown)
		say("MODE %ux%u", mode.hdisplay, mode.vdisplay);
	/* The old buffers go after the new one is shown: no frame between them is black. */
	buffer_destroy(screen, &old[0]);
	buffer_destroy(screen, &old[1]);
	return screen->shown && !screen->blank && dirty(screen, (struct rectangle){0, 0, mode.hdisplay, mode.vdisplay});
}

bool screen_show(struct screen *screen, const struct painted *painted, bool flip)
{
	struct drm_mode_crtc_page_flip request = {.crtc_id = screen->crtc, .flags = DRM_MODE_PAGE_FLIP_EVENT};
	unsigned int back;

	if (!screen->shown || screen->blank || screen->flipping)
		return false;
	if (!flip)
		return dirty(screen, picture_update(&screen->buffers[screen->front].picture, painted));

	back = !screen->front;
	if (screen->count < 2) {
		if (!buffer_create(screen, &screen->buffers[back], screen->mode.hdisplay, screen->mode.vdisplay))
			return false;
		picture_paint(&screen->buffers[back].picture, painted);
		screen->count = 2;
	} else {
		picture_update(&screen->buffers[back].picture, painted);
	}
	request.fb_id = screen->buffers[back].framebuffer;
	if (control(screen->fd, DRM_IOCTL_MODE_PAGE_FLIP, &request) < 0) {
		if (errno != EBUSY)
			complain("flip", errno);
		return false;
	}
	screen->front = back;
	screen->flipping = true;
	return true;
}

bool screen_flipping(const struct screen *screen)
{
	return screen->flipping;
}

bool screen_event(struct screen *screen)
{
	char events[1024];
	bool flipped = false;
	ssize_t n = read(screen->fd, events, sizeof(events));

	for (ssize_t at = 0; at + (ssize_t)sizeof(struct drm_event) <= n; ) {
		struct drm_event event;

		memcpy(&event, events + at, sizeof(event));
		if (event.type == DRM_EVENT_FLIP_COMPLETE)
			flipped = true;
		at += event.length;
	}
	if (flipped)
		screen->flipping = false;
	return flipped;
}

bool screen_blank(struct screen *screen, bool blank, const struct painted *painted)
{
	if (!screen->shown || screen->blank == blank)
		return screen->shown;
	if (!blank)
		picture_paint(&screen->buffers[screen->front].picture, painted);
	screen->blank = blank;
	if (!set_crtc(screen)) {
		screen->blank = !blank;
		return false;
	}
	return blank || dirty(screen, (struct rectangle){0, 0, screen->mode.hdisplay, screen->mode.vdisplay});
}

void screen_cursor(struct screen *screen, bool on)
{
	struct drm_mode_cursor2 cursor = {
		.flags = DRM_MODE_CURSOR_BO, .crtc_id = screen->crtc, .width = 64, .height = 64, .hot_x = HOT_X, .hot_y = HOT_Y,
	};

	if (on && !screen->cursor) {
		struct drm_mode_create_dumb create = {.width = 64, .height = 64, .bpp = 32};
		struct drm_mode_map_dumb map = {0};
		uint32_t *pixels;

		if (control(screen->fd, DRM_IOCTL_MODE_CREATE_DUMB, &create) < 0)
			return complain("cursor", errno);
		map.handle = create.handle;
		if (control(screen->fd, DRM_IOCTL_MODE_MAP_DUMB, &map) < 0)
			return complain("cursor", errno);
		pixels = mmap(NULL, create.size, PROT_READ | PROT_WRITE, MAP_SHARED, screen->fd, (off_t)map.offset);
		if (pixels == MAP_FAILED)
			return complain("cursor", errno);
		for (unsigned int y = 0; y < 64; y++) {
			for (unsigned int x = 0; x < 64; x++)
				pixels[y * (create.pitch / 4) + x] = x < 16 && y < 16 ? 0xffff00ff : 0;
		}
		munmap(pixels, create.size);
		screen->cursor = create.handle;
	}
	cursor.handle = on ? screen->cursor : 0;
	if (control(screen->fd, DRM_IOCTL_MODE_CURSOR2, &cursor) < 0)
		complain("cursor", errno);
	else
		say("CURSOR %s", on ? "on" : "off");
}

void screen_cursor_move(struct screen *screen, uint32_t x, uint32_t y)
{
	struct drm_mode_cursor cursor = {
		.flags = DRM_MODE_CURSOR_MOVE, .crtc_id = screen->crtc, .x = (int32_t)x - HOT_X, .y = (int32_t)y - HOT_Y,
	};

	if (screen->shown)
		control(screen->fd, DRM_IOCTL_MODE_CURSOR, &cursor);
}
