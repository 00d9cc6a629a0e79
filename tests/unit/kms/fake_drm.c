/* The card's life: new, opened, closed, and what is left of it. */
#include "fake_drm_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <drm_fourcc.h>

struct fake_drm card;
pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
struct fake_client fake_client = {.device = -1, .events = -1};

void fake_drm_reset(void)
{
	pthread_mutex_lock(&fake_lock);
	memset(&card, 0, sizeof(card));
	fake_objects_reset();
	fake_memory_reset();
	fake_calls_reset();
	if (fake_client.events >= 0)
		close(fake_client.events);
	fake_client.events = fake_client.device = -1;
	card.driver = "fakedrm";
	card.connected = true;
	card.width = 64;
	card.height = 48;
	card.overlay_format = DRM_FORMAT_XRGB8888;
	pthread_mutex_unlock(&fake_lock);
}

void fake_drm_lock(void)
{
	pthread_mutex_lock(&fake_lock);
}

void fake_drm_unlock(void)
{
	pthread_mutex_unlock(&fake_lock);
}

int fake_drm_open(void)
{
	int ends[2];
	pthread_mutex_lock(&fake_lock);
	card.opens++;
	int error = card.gone ? ENOENT : fake_client.device >= 0 ? EBUSY : pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0 ? errno : 0;
	if (!error) {
		fake_flip_forget(FAKE_CRTCS);
		fake_client = (struct fake_client){.device = ends[0], .events = ends[1], .number = card.cards, .master = !card.inactive};
	}
	pthread_mutex_unlock(&fake_lock);
	errno = error;
	return error ? -1 : ends[0];
}

void fake_drm_close(void)
{
	pthread_mutex_lock(&fake_lock);
	card.closed_mapped += fake_mappings_held();
	/* The kernel frees what its file had. */
	if (fake_client.lost) {
		fake_blobs_forget();
		fake_memory_forget();
	}
	close(fake_client.device);
	close(fake_client.events);
	fake_client.device = fake_client.events = -1;
	pthread_mutex_unlock(&fake_lock);
}

void fake_drm_take_out(void)
{
	pthread_mutex_lock(&fake_lock);
	card.gone = true;
	card.taken = card.cards;
	fake_client.lost = fake_client.device >= 0;
	fake_flip_forget(FAKE_CRTCS);
	pthread_mutex_unlock(&fake_lock);
}

void fake_drm_put_in(void)
{
	pthread_mutex_lock(&fake_lock);
	card.gone = false;
	card.cards++;
	fake_objects_reset();
	fake_memory_forget();
	pthread_mutex_unlock(&fake_lock);
}

uint64_t fake_drm_value(enum fake_object o, enum fake_prop prop)
{
	pthread_mutex_lock(&fake_lock);
	uint64_t value = fake_state[o].value[prop];
	pthread_mutex_unlock(&fake_lock);
	return value;
}

void fake_drm_leave(enum fake_object o, enum fake_prop prop, uint64_t value)
{
	pthread_mutex_lock(&fake_lock);
	fake_state[o].value[prop] = value;
	pthread_mutex_unlock(&fake_lock);
}

uint32_t fake_drm_leaks(void)
{
	pthread_mutex_lock(&fake_lock);
	uint32_t leaks = fake_blobs_held() + 10 * fake_fbs_held() + 100 * fake_handles_held() + 1000 * fake_mappings_held();
	pthread_mutex_unlock(&fake_lock);
	return leaks;
}
