/* What is to be seen: the planes' framebuffers, one over the other. */
#include "fake_drm_private.h"

#include "base/base.h"

bool fake_drm_lit(void)
{
	pthread_mutex_lock(&fake_lock);
	bool lit = card.connected && !card.gone && fake_state[FAKE_CRTC].value[FAKE_ACTIVE] && fake_state[FAKE_CONNECTOR].value[FAKE_CRTC_ID] == FAKE_ID(FAKE_CRTC) &&
		   fake_state[FAKE_CONNECTOR].value[FAKE_DPMS] == DRM_MODE_DPMS_ON && !fake_state[FAKE_CONNECTOR].value[FAKE_LINK_STATUS] && fake_state[FAKE_PRIMARY].value[FAKE_FB_ID];
	pthread_mutex_unlock(&fake_lock);
	return lit;
}

uint32_t fake_drm_pixel(uint32_t x, uint32_t y)
{
	const enum fake_object over[] = {FAKE_OVERLAY, FAKE_PRIMARY};
	uint32_t pixel = 0;
	pthread_mutex_lock(&fake_lock);
	for (uint32_t i = 0; i < ARRAY_LEN(over); i++) {
		const uint64_t *v = fake_state[over[i]].value;
		if (v[FAKE_FB_ID] && v[FAKE_CRTC_ID] == FAKE_ID(FAKE_CRTC) && x >= v[FAKE_CRTC_X] && x < v[FAKE_CRTC_X] + v[FAKE_CRTC_W] && y >= v[FAKE_CRTC_Y] &&
			y < v[FAKE_CRTC_Y] + v[FAKE_CRTC_H]) {
			pixel = fake_fb_pixel(v[FAKE_FB_ID], (v[FAKE_SRC_X] >> 16) + x - v[FAKE_CRTC_X], (v[FAKE_SRC_Y] >> 16) + y - v[FAKE_CRTC_Y]);
			break;
		}
	}
	pthread_mutex_unlock(&fake_lock);
	return pixel;
}

uint32_t fake_drm_foreign(enum fake_object plane)
{
	fake_plane_shows(&fake_state[plane], FAKE_ID(plane == FAKE_PRIMARY_1 ? FAKE_CRTC_1 : FAKE_CRTC), FAKE_FOREIGN, card.width, card.height);
	return FAKE_FOREIGN;
}
