/* The page flip in flight, and its event on the device file. */
#include "fake_drm_private.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static bool pending;
static uint64_t pending_data;

static void deliver(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	struct drm_event_vblank event = {.base = {.type = DRM_EVENT_FLIP_COMPLETE, .length = sizeof(event)}, .user_data = pending_data, .tv_sec = (uint32_t)now.tv_sec,
		.tv_usec = (uint32_t)(now.tv_nsec / 1000), .crtc_id = FAKE_ID(FAKE_CRTC)};
	pending = false;
	if (write(fake_client.events, &event, sizeof(event)) != sizeof(event))
		abort();
}

void fake_flip_begin(uint64_t data)
{
	pending = true;
	pending_data = data;
	if (!card.hold_flips && !card.lose_flips)
		deliver();
}

bool fake_flip_pending(void)
{
	return pending;
}

void fake_flip_forget(void)
{
	pending = false;
}

bool fake_drm_pending(void)
{
	pthread_mutex_lock(&fake_lock);
	bool is = pending;
	pthread_mutex_unlock(&fake_lock);
	return is;
}

bool fake_drm_flip(void)
{
	pthread_mutex_lock(&fake_lock);
	bool was = pending;
	if (was)
		deliver();
	pthread_mutex_unlock(&fake_lock);
	return was;
}
