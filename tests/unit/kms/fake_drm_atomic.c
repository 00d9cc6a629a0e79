/* A new state: made of the old one and what a commit names, checked as a driver does, and taken. */
#include "fake_drm_private.h"

#include <errno.h>
#include <string.h>

#include <drm_fourcc.h>

static int check_plane(const struct fake_state *state, uint32_t i)
{
	const uint64_t *v = state[i].value;
	if (!v[FAKE_FB_ID] != !v[FAKE_CRTC_ID])
		return EINVAL;
	if (!v[FAKE_FB_ID])
		return 0;
	int crtc = fake_object_of(v[FAKE_CRTC_ID], DRM_MODE_OBJECT_CRTC);
	if (crtc < 0 || !fake_fb_exists(v[FAKE_FB_ID]) || !(fake_possible_crtcs(i) & BIT(crtc - FAKE_CRTC)))
		return EINVAL;
	const struct fake_fb *fb = fake_fb(v[FAKE_FB_ID]);
	if (fb == NULL)
		return 0;
	if (i == FAKE_OVERLAY ? fb->format != card.overlay_format : fb->format != (i == FAKE_CURSOR ? DRM_FORMAT_ARGB8888 : DRM_FORMAT_XRGB8888))
		return EINVAL;
	uint64_t w = v[FAKE_SRC_W] >> 16, h = v[FAKE_SRC_H] >> 16, x = v[FAKE_SRC_X] >> 16, y = v[FAKE_SRC_Y] >> 16;
	if (x + w > fb->width || y + h > fb->height)
		return ENOSPC;
	if (!card.scales && (w != v[FAKE_CRTC_W] || h != v[FAKE_CRTC_H]))
		return ERANGE;
	uint32_t width, height;
	fake_mode_size(state, (uint32_t)crtc, &width, &height);
	bool covers = v[FAKE_CRTC_X] == 0 && v[FAKE_CRTC_Y] == 0 && v[FAKE_CRTC_W] == width && v[FAKE_CRTC_H] == height;
	if ((i == FAKE_PRIMARY || i == FAKE_PRIMARY_1) && !card.small_primary && !covers)
		return EINVAL;
	return 0;
}

/* drm_atomic_helper_check_modeset(): a CRTC has a mode if, and only if, it has a connector. */
static bool has_connector(const struct fake_state *state, uint32_t crtc)
{
	return state[FAKE_CONNECTOR].value[FAKE_CRTC_ID] == FAKE_ID(crtc) || state[FAKE_CONNECTOR_1].value[FAKE_CRTC_ID] == FAKE_ID(crtc);
}

int fake_check(const struct fake_state *state, bool modeset)
{
	for (uint32_t i = FAKE_PRIMARY; i < FAKE_OBJECTS; i++) {
		int error = check_plane(state, i);
		if (error)
			return error;
	}
	for (uint32_t i = FAKE_CRTC; i <= FAKE_CRTC_1; i++) {
		const uint64_t *v = state[i].value, *old = fake_state[i].value;
		bool concerned = v[FAKE_MODE_ID] != old[FAKE_MODE_ID] || has_connector(state, i) != has_connector(fake_state, i);
		if ((v[FAKE_ACTIVE] && !v[FAKE_MODE_ID]) || (modeset && concerned && !v[FAKE_MODE_ID] != !has_connector(state, i)))
			return EINVAL;
		if (!modeset && (v[FAKE_ACTIVE] != old[FAKE_ACTIVE] || v[FAKE_MODE_ID] != old[FAKE_MODE_ID]))
			return EINVAL;
	}
	for (uint32_t i = FAKE_CONNECTOR; i <= FAKE_CONNECTOR_1; i++)
		if (!modeset && (state[i].value[FAKE_CRTC_ID] != fake_state[i].value[FAKE_CRTC_ID] ||
				    state[i].value[FAKE_LINK_STATUS] != fake_state[i].value[FAKE_LINK_STATUS]))
			return EINVAL;
	return 0;
}

void fake_take(const struct fake_state *state)
{
	memcpy(fake_state, state, sizeof(fake_state));
	for (uint32_t i = FAKE_PRIMARY; i < FAKE_OBJECTS; i++)
		fake_state[i].value[FAKE_DAMAGE_CLIPS] = 0;
	fake_blobs_pin();
}

/* Bit of the CRTC that a plane is on; 0: none. */
static uint32_t crtc_bit_of(const struct fake_state *plane)
{
	int crtc = fake_object_of(plane->value[FAKE_CRTC_ID], DRM_MODE_OBJECT_CRTC);
	return crtc < 0 ? 0 : BIT(crtc - FAKE_CRTC);
}

int fake_atomic(const struct drm_mode_atomic *a)
{
	static struct fake_state state[FAKE_OBJECTS], old[FAKE_OBJECTS]; /* the lock is held */
	const uint32_t *ids = (const uint32_t *)(uintptr_t)a->objs_ptr, *counts = (const uint32_t *)(uintptr_t)a->count_props_ptr;
	const uint32_t *props = (const uint32_t *)(uintptr_t)a->props_ptr;
	const uint64_t *values = (const uint64_t *)(uintptr_t)a->prop_values_ptr;
	bool test = a->flags & DRM_MODE_ATOMIC_TEST_ONLY, modeset = a->flags & DRM_MODE_ATOMIC_ALLOW_MODESET;
	bool clipped = false, named[FAKE_OBJECTS] = {false};
	uint32_t crtcs = 0; /* that the commit is about */
	struct drm_mode_rect clip = {0};
	if (!fake_client.atomic || (test && a->flags & DRM_MODE_PAGE_FLIP_EVENT))
		return EINVAL;
	memcpy(state, fake_state, sizeof(state));
	for (uint32_t o = 0, at = 0; o < a->count_objs; o++) {
		int i = fake_object_of(ids[o], DRM_MODE_OBJECT_ANY);
		if (i < 0)
			return ENOENT;
		named[i] = true;
		if (fake_state[i].type == DRM_MODE_OBJECT_PLANE)
			crtcs |= crtc_bit_of(&fake_state[i]);
		for (uint32_t p = 0; p < counts[o]; p++, at++) {
			int prop = fake_prop_of((uint32_t)i, props[at]);
			if (prop < 0)
				return ENOENT;
			if (((prop == FAKE_MODE_ID || prop == FAKE_DAMAGE_CLIPS || prop == FAKE_GAMMA_LUT) && values[at] && !fake_blob_exists(values[at])) || prop == FAKE_TYPE)
				return EINVAL;
			/* drm_atomic_connector_set_property(): a program cannot break a link. */
			if (prop != FAKE_LINK_STATUS || values[at] == 0)
				state[i].value[prop] = values[at];
			if (prop == FAKE_DAMAGE_CLIPS && values[at]) {
				memcpy(&clip, fake_blob_data(values[at]), sizeof(clip));
				clipped = true;
			}
		}
	}
	int error = fake_check(state, modeset);
	if (error)
		return error;
	if (test) {
		card.tests++;
		return 0;
	}
	for (uint32_t i = 0; a->flags & DRM_MODE_PAGE_FLIP_EVENT && i < 2; i++)
		if (crtcs & BIT(i) && !state[FAKE_CRTC + i].value[FAKE_ACTIVE])
			return EINVAL;
	for (uint32_t i = 0; i < FAKE_OBJECTS; i++)
		if (named[i])
			crtcs |= fake_state[i].type == DRM_MODE_OBJECT_CRTC ? BIT(i - FAKE_CRTC) : fake_state[i].type == DRM_MODE_OBJECT_PLANE ? crtc_bit_of(&state[i]) : 0;
	if (fake_flip_pending(crtcs) && a->flags & DRM_MODE_ATOMIC_NONBLOCK) {
		card.overtaken += !modeset; /* a mode may be set anew at any time: it is tried again */
		return EBUSY;
	}
	fake_flip_forget(crtcs); /* a blocking commit waits for it */
	memcpy(old, fake_state, sizeof(old));
	fake_take(state);
	fake_upload_planes(old, named, clipped ? &clip : NULL);
	card.commits++;
	card.modesets += modeset;
	if (modeset && card.clears)
		fake_clear_dumb();
	card.clipped = clipped;
	card.clip = clip;
	if (a->flags & DRM_MODE_PAGE_FLIP_EVENT)
		fake_flip_begin(a->user_data, crtcs ? crtcs : 1);
	return 0;
}
