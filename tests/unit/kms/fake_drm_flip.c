/* The page flip in flight, and its event on the device file. */
#include "fake_drm_private.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint32_t pending; /* bit per CRTC */
static uint64_t pending_data;

/* The event of one CRTC, the last one's first: the main one is not always ahead of its mirrors. */
static void deliver(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	uint32_t crtc = pending & 2 ? FAKE_CRTC_1 : FAKE_CRTC;
	struct drm_event_vblank event = {.base = {.type = DRM_EVENT_FLIP_COMPLETE, .length = sizeof(event)}, .user_data = pending_data, .tv_sec = (uint32_t)now.tv_sec,
		.tv_usec = (uint32_t)(now.tv_nsec / 1000), .crtc_id = FAKE_ID(crtc)};
	pending &= ~BIT(crtc - FAKE_CRTC);
	if (write(fake_client.events, &event, sizeof(event)) != sizeof(event))
		abort();
}

void fake_flip_begin(uint64_t data, uint32_t crtcs)
{
	pending = crtcs;
	pending_data = data;
	while (pending && !card.hold_flips && !card.lose_flips)
		deliver();
}

bool fake_flip_pending(void)
{
	return pending != 0;
}

void fake_flip_forget(void)
{
	pending = 0;
}

bool fake_drm_pending(void)
{
	pthread_mutex_lock(&fake_lock);
	bool is = pending != 0;
	pthread_mutex_unlock(&fake_lock);
	return is;
}

bool fake_drm_flip(void)
{
	pthread_mutex_lock(&fake_lock);
	bool was = pending != 0;
	if (was)
		deliver();
	pthread_mutex_unlock(&fake_lock);
	return was;
}
