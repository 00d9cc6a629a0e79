/* The old calls, in terms of the same state. */
#include "fake_drm_private.h"

#include <errno.h>
#include <string.h>

int fake_set_property(uint32_t object, uint32_t prop, uint64_t value)
{
	int i = fake_object_of(object, DRM_MODE_OBJECT_ANY), p = i < 0 ? -1 : fake_prop_of((uint32_t)i, prop);
	if (p < 0)
		return ENOENT;
	fake_state[i].value[p] = value;
	return 0;
}

int fake_set_crtc(const struct drm_mode_crtc *c)
{
	static struct fake_state state[FAKE_OBJECTS];
	int crtc = fake_object_of(c->crtc_id, DRM_MODE_OBJECT_CRTC);
	if (crtc < 0)
		return ENOENT;
	memcpy(state, fake_state, sizeof(state));
	uint32_t primary = fake_primary_of((uint32_t)crtc);
	if (c->mode_valid) {
		if (c->count_connectors == 0 || !fake_fb_exists(c->fb_id))
			return c->count_connectors ? ENOENT : EINVAL;
		if (c->mode.hdisplay != card.width || c->mode.vdisplay != card.height)
			return EINVAL;
		int connector = fake_object_of(*(const uint32_t *)(uintptr_t)c->set_connectors_ptr, DRM_MODE_OBJECT_CONNECTOR);
		if (connector < 0)
			return ENOENT;
		/* Another connector is switched on, too, and the one before is off. drivers/gpu/drm/drm_crtc_helper.c does so each time, which the program does not rely on. */
		if (state[connector].value[FAKE_CRTC_ID] != c->crtc_id || !state[crtc].value[FAKE_ACTIVE])
			state[connector].value[FAKE_DPMS] = DRM_MODE_DPMS_ON;
		for (uint32_t i = FAKE_CONNECTOR; i <= FAKE_CONNECTOR_1; i++)
			if (state[i].value[FAKE_CRTC_ID] == c->crtc_id)
				state[i].value[FAKE_CRTC_ID] = 0;
		state[connector].value[FAKE_CRTC_ID] = c->crtc_id;
		state[connector].value[FAKE_LINK_STATUS] = 0;
		state[crtc].value[FAKE_ACTIVE] = 1;
		state[crtc].value[FAKE_MODE_ID] = FAKE_NO_BLOB;
		fake_plane_shows(&state[primary], c->crtc_id, c->fb_id, c->mode.hdisplay, c->mode.vdisplay);
	} else {
		state[crtc].value[FAKE_ACTIVE] = state[crtc].value[FAKE_MODE_ID] = 0;
		fake_plane_shows(&state[primary], 0, 0, 0, 0);
		for (uint32_t i = FAKE_CONNECTOR; i <= FAKE_CONNECTOR_1; i++)
			if (state[i].value[FAKE_CRTC_ID] == c->crtc_id)
				state[i].value[FAKE_CRTC_ID] = 0;
	}
	int error = fake_check(state, true);
	if (error)
		return error;
	fake_flip_forget(BIT(crtc - FAKE_CRTC));
	fake_take(state);
	fake_upload(c->mode_valid ? c->fb_id : 0, NULL);
	card.set_crtc++;
	if (c->mode_valid && card.clears)
		fake_clear_dumb();
	return 0;
}

int fake_page_flip(const struct drm_mode_crtc_page_flip *f)
{
	int crtc = fake_object_of(f->crtc_id, DRM_MODE_OBJECT_CRTC);
	if (crtc < 0 || !fake_fb_exists(f->fb_id))
		return ENOENT;
	if (card.no_page_flip || !fake_state[crtc].value[FAKE_ACTIVE])
		return EINVAL;
	if (fake_flip_pending(BIT(crtc - FAKE_CRTC))) {
		card.overtaken++;
		return EBUSY;
	}
	const struct fake_fb *fb = fake_fb(f->fb_id);
	if (fb != NULL && (fb->width < card.width || fb->height < card.height))
		return ENOSPC;
	fake_state[fake_primary_of((uint32_t)crtc)].value[FAKE_FB_ID] = f->fb_id;
	card.page_flips++;
	fake_upload(f->fb_id, NULL);
	card.clipped = false;
	if (f->flags & DRM_MODE_PAGE_FLIP_EVENT)
		fake_flip_begin(f->user_data, BIT(crtc - FAKE_CRTC));
	return 0;
}

int fake_set_plane(const struct drm_mode_set_plane *p)
{
	static struct fake_state state[FAKE_OBJECTS];
	int i = fake_object_of(p->plane_id, DRM_MODE_OBJECT_PLANE);
	if (i < 0)
		return ENOENT;
	memcpy(state, fake_state, sizeof(state));
	fake_plane_shows(&state[i], p->crtc_id, p->fb_id, p->crtc_w, p->crtc_h);
	int error = fake_check(state, false);
	if (error == 0)
		fake_take(state);
	return error;
}

void fake_set_cursor(const struct drm_mode_cursor *c)
{
	if (c->flags == DRM_MODE_CURSOR_BO && c->handle == 0)
		fake_plane_shows(&fake_state[FAKE_CURSOR], 0, 0, 0, 0);
}

int fake_dirty_fb(const struct drm_mode_fb_dirty_cmd *d)
{
	if (!card.dirty)
		return ENOSYS;
	if (!fake_fb_exists(d->fb_id))
		return ENOENT;
	card.dirties++;
	card.clipped = d->num_clips != 0;
	if (d->num_clips) {
		struct drm_clip_rect clip;
		memcpy(&clip, (const void *)(uintptr_t)d->clips_ptr, sizeof(clip));
		card.clip = (struct drm_mode_rect){clip.x1, clip.y1, clip.x2, clip.y2};
	}
	/* drm_atomic_helper_dirtyfb(): where it is on a screen. */
	bool shown = false;
	for (uint32_t i = FAKE_PRIMARY; i <= FAKE_PRIMARY_1; i++)
		shown |= fake_state[i].value[FAKE_FB_ID] == d->fb_id;
	if (shown)
		fake_upload(d->fb_id, d->num_clips ? &card.clip : NULL);
	return 0;
}
