#include "virtio/rng.h"

#define LOG_MODULE "rng"
#include "base/base.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define QUEUE_SIZE 64
#define BATCH 64          /* requests under one lock */
#define REQUEST_MAX 4096u /* bytes answered at once; a driver asks again for more (section 5.4.6.1) */

struct rng {
	struct virtio_device device;
	/* Under the device's lock. */
	bool paused;
	bool seeded;        /* the host's generator gives bytes; once it does, it always will */
	bool waiting;       /* requests wait for the next window */
	uint32_t left;      /* of the window */
	uint64_t window_ns; /* where it began */
	struct virtq_chain chain; /* scratch */
	uint8_t bytes[REQUEST_MAX];
};

static struct rng *of(struct virtio_device *device)
{
	return container_of(device, struct rng, device);
}

/* Early in a host's life there are no random bytes yet. Nobody here may wait for them: asked again in the next window. */
static bool have_entropy(struct rng *rng)
{
	uint8_t byte;
	if (!rng->seeded)
		rng->seeded = getrandom(&byte, 1, GRND_NONBLOCK) == 1;
	return rng->seeded;
}

/* Answers rng->chain; returns the bytes written. */
static uint32_t serve(struct rng *rng)
{
	uint32_t size = rng->chain.in_size < REQUEST_MAX ? (uint32_t)rng->chain.in_size : REQUEST_MAX, have = 0;
	while (have < size) {
		ssize_t got = getrandom(rng->bytes + have, size - have, GRND_NONBLOCK);
		if (got < 0 && errno != EINTR)
			break; /* cannot happen once it was seeded; fewer bytes are an answer too */
		have += got > 0 ? (uint32_t)got : 0;
	}
	virtq_chain_write(&rng->chain, 0, rng->bytes, have);
	return have;
}

static bool rng_run(struct virtio_device *device, uint32_t index)
{
	struct rng *rng = of(device);
	struct virtq *queue = &device->queue[index];
	bool more = false;
	pthread_mutex_lock(&device->lock);
	uint64_t now = clock_now_ns();
	if (now - rng->window_ns >= RNG_WINDOW_NS) {
		rng->window_ns = now;
		rng->left = have_entropy(rng) ? RNG_WINDOW_BYTES : 0;
	}
	rng->waiting = false;
	for (uint32_t served = 0; device->live && !rng->paused;) {
		if (served == BATCH) {
			more = true;
			break;
		}
		if (rng->left == 0 && virtq_available(queue) > 0) {
			rng->waiting = true; /* and no kick is wanted: rng_tick() comes back */
			break;
		}
		const char *why;
		int got = virtq_pop(queue, &rng->chain, &why);
		if (got < 0) {
			virtio_needs_reset(device, why);
			break;
		}
		if (got == 0) {
			if (!virtq_rearm(queue))
				break;
			continue;
		}
		uint32_t written = serve(rng);
		virtq_push(queue, rng->chain.head, written);
		rng->left -= min_u32(rng->left, max_u32(written, RNG_COST));
		served++;
	}
	if (device->live)
		virtio_notify_queue(device, index);
	/* They are the guest's now. */
	explicit_bzero(rng->bytes, sizeof(rng->bytes));
	pthread_mutex_unlock(&device->lock);
	return more;
}

static void kick(struct rng *rng)
{
	uint64_t one = 1;
	/* Only fails when the counter is full, and then the reader is awake anyway. */
	if (write(rng->device.kick_fd[0], &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_error("cannot signal the queue: %s", strerror(errno));
}

uint64_t rng_tick(struct rng *rng, uint64_t now_ns)
{
	uint64_t next = UINT64_MAX;
	pthread_mutex_lock(&rng->device.lock);
	if (rng->waiting) {
		next = rng->window_ns + RNG_WINDOW_NS;
		if (now_ns >= next) {
			rng->waiting = false;
			kick(rng);
			next = UINT64_MAX;
		}
	}
	pthread_mutex_unlock(&rng->device.lock);
	return next;
}

/* There is no config space, and a BAR access cannot reach it: config_size is 0. */
static void rng_config_read(struct virtio_device *device, uint32_t offset, void *data, uint32_t size)
{
	(void)device;
	(void)offset;
	memset(data, 0, size);
}

/* Requests are served under the lock: none is in flight when somebody else holds it. */
static void rng_reset(struct virtio_device *device)
{
	of(device)->waiting = false;
}

static void rng_pause(struct virtio_device *device)
{
	of(device)->paused = true;
}

static void rng_resume(struct virtio_device *device)
{
	of(device)->paused = false;
	kick(of(device));
}

/* No state of its own: the window is the host's matter. */
static const struct virtio_device_ops rng_ops = {
	.config_read = rng_config_read,
	.reset = rng_reset,
	.run = rng_run,
	.pause = rng_pause,
	.resume = rng_resume,
};

struct rng *rng_create(const struct guest_memory *memory)
{
	struct rng *rng = calloc(1, sizeof(*rng));
	if (rng == NULL)
		return NULL;
	if (virtio_device_init(&rng->device, &rng_ops, "virtio-rng", VIRTIO_ID_RNG, 0, 0, 1, QUEUE_SIZE, memory) < 0) {
		int saved = errno;
		free(rng);
		errno = saved;
		return NULL;
	}
	return rng;
}

void rng_destroy(struct rng *rng)
{
	if (rng == NULL)
		return;
	virtio_device_finish(&rng->device);
	free(rng);
}

struct virtio_device *rng_device(struct rng *rng)
{
	return &rng->device;
}
