/* Page flips in flight, one a CRTC, and their events on the device file. */
#include "fake_drm_private.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint32_t pending; /* bit per CRTC */
static uint64_t pending_data[2];

static void deliver(uint32_t crtc)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	struct drm_event_vblank event = {.base = {.type = DRM_EVENT_FLIP_COMPLETE, .length = sizeof(event)}, .user_data = pending_data[crtc], .tv_sec = (uint32_t)now.tv_sec,
		.tv_usec = (uint32_t)(now.tv_nsec / 1000), .crtc_id = card.no_crtc_id ? 0 : FAKE_ID(FAKE_CRTC + crtc)};
	pending &= ~BIT(crtc);
	if (write(fake_client.events, &event, sizeof(event)) != sizeof(event))
		abort();
}

/* The last CRTC's first: the main one is not always ahead of its mirrors. */
void fake_flip_begin(uint64_t data, uint32_t crtcs)
{
	pending |= crtcs;
	for (uint32_t c = 2; c-- > 0;) {
		if (!(crtcs & BIT(c)))
			continue;
		pending_data[c] = data;
		if (!card.hold_flips && !card.lose_flips && !(c && card.hold_second))
			deliver(c);
	}
}

bool fake_flip_pending(uint32_t crtcs)
{
	return (pending & crtcs) != 0;
}

void fake_flip_forget(uint32_t crtcs)
{
	pending &= ~crtcs;
}

bool fake_drm_pending(void)
{
	pthread_mutex_lock(&fake_lock);
	bool is = pending != 0;
	pthread_mutex_unlock(&fake_lock);
	return is;
}

static bool flip(uint32_t crtcs)
{
	pthread_mutex_lock(&fake_lock);
	bool was = (pending & crtcs) != 0;
	if (was)
		deliver(pending & crtcs & 2 ? 1 : 0);
	pthread_mutex_unlock(&fake_lock);
	return was;
}

bool fake_drm_flip(void)
{
	return flip(FAKE_CRTCS);
}

bool fake_drm_flip_of(uint32_t crtc)
{
	return flip(BIT(crtc));
}
