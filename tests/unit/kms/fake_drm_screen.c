/* What is to be seen: the planes' framebuffers, one over the other. */
#include "fake_drm_private.h"

#include "base/base.h"

/* The CRTC that a connector is on; -1: none. */
static int crtc_shown(enum fake_object connector)
{
	return fake_object_of(fake_state[connector].value[FAKE_CRTC_ID], DRM_MODE_OBJECT_CRTC);
}

bool fake_drm_lit_on(enum fake_object which)
{
	pthread_mutex_lock(&fake_lock);
	int crtc = crtc_shown(which);
	const uint64_t *connector = fake_state[which].value;
	bool lit = (which == FAKE_CONNECTOR ? card.connected : card.second) && !card.gone && crtc >= 0 && fake_state[crtc].value[FAKE_ACTIVE] && connector[FAKE_DPMS] == DRM_MODE_DPMS_ON &&
		   !connector[FAKE_LINK_STATUS] && fake_state[fake_primary_of((uint32_t)crtc)].value[FAKE_FB_ID];
	pthread_mutex_unlock(&fake_lock);
	return lit;
}

uint32_t fake_drm_pixel_on(enum fake_object connector, uint32_t x, uint32_t y)
{
	uint32_t pixel = 0;
	pthread_mutex_lock(&fake_lock);
	int crtc = crtc_shown(connector);
	const uint32_t over[] = {FAKE_OVERLAY, crtc < 0 ? FAKE_PRIMARY : fake_primary_of((uint32_t)crtc)};
	for (uint32_t i = 0; crtc >= 0 && i < ARRAY_LEN(over); i++) {
		const uint64_t *v = fake_state[over[i]].value;
		if (v[FAKE_FB_ID] && v[FAKE_CRTC_ID] == FAKE_ID(crtc) && x >= v[FAKE_CRTC_X] && x < v[FAKE_CRTC_X] + v[FAKE_CRTC_W] && y >= v[FAKE_CRTC_Y] &&
			y < v[FAKE_CRTC_Y] + v[FAKE_CRTC_H]) {
			pixel = (card.uploads && over[i] != FAKE_OVERLAY ? fake_uploaded_pixel : fake_fb_pixel)(v[FAKE_FB_ID], (v[FAKE_SRC_X] >> 16) + x - v[FAKE_CRTC_X], (v[FAKE_SRC_Y] >> 16) + y - v[FAKE_CRTC_Y]);
			break;
		}
	}
	pthread_mutex_unlock(&fake_lock);
	return pixel;
}

bool fake_drm_lit(void)
{
	return fake_drm_lit_on(FAKE_CONNECTOR);
}

uint32_t fake_drm_pixel(uint32_t x, uint32_t y)
{
	return fake_drm_pixel_on(FAKE_CONNECTOR, x, y);
}

uint32_t fake_drm_foreign(enum fake_object plane)
{
	pthread_mutex_lock(&fake_lock);
	fake_plane_shows(&fake_state[plane], FAKE_ID(plane == FAKE_PRIMARY_1 ? FAKE_CRTC_1 : FAKE_CRTC), FAKE_FOREIGN, card.width, card.height);
	pthread_mutex_unlock(&fake_lock);
	return FAKE_FOREIGN;
}
