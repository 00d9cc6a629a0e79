/* A card whose screen is somewhere else (card.uploads): of each framebuffer what was sent there is seen, and not what is in it now. */
#include "fake_drm_private.h"

#include <string.h>

#include "base/base.h"

#define FRAMEBUFFERS 64u
#define WIDTH 128u
#define HEIGHT 64u

static uint32_t sent[FRAMEBUFFERS][HEIGHT][WIDTH];

void fake_upload(uint64_t id, const struct drm_mode_rect *clip)
{
	const struct fake_fb *fb = fake_fb_exists(id) ? fake_fb(id) : NULL;
	if (!card.uploads || fb == NULL)
		return;
	struct drm_mode_rect r = clip ? *clip : (struct drm_mode_rect){0, 0, (int32_t)fb->width, (int32_t)fb->height};
	for (int32_t y = r.y1; y < r.y2 && y < (int32_t)min_u32(fb->height, HEIGHT); y++)
		for (int32_t x = r.x1; x < r.x2 && x < (int32_t)min_u32(fb->width, WIDTH); x++)
			sent[id % FRAMEBUFFERS][y][x] = fake_fb_pixel(id, (uint64_t)x, (uint64_t)y);
	card.uploaded += (uint64_t)(r.x2 - r.x1) * (uint64_t)(r.y2 - r.y1);
}

void fake_upload_planes(const struct fake_state *old, const bool named[FAKE_OBJECTS], const struct drm_mode_rect *clip)
{
	for (uint32_t i = FAKE_PRIMARY; i <= FAKE_PRIMARY_1; i++) {
		uint64_t id = fake_state[i].value[FAKE_FB_ID];
		if (id && named[i])
			fake_upload(id, id == old[i].value[FAKE_FB_ID] ? clip : NULL);
	}
}

uint32_t fake_uploaded_pixel(uint64_t id, uint64_t x, uint64_t y)
{
	const struct fake_fb *fb = fake_fb_exists(id) ? fake_fb(id) : NULL;
	if (fb == NULL || x >= min_u32(fb->width, WIDTH) || y >= min_u32(fb->height, HEIGHT))
		return fake_fb_pixel(id, x, y);
	return sent[id % FRAMEBUFFERS][y][x];
}
