#define LOG_MODULE "headless"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/log.h"
#include "kms/backend.h"

struct headless {
	struct backend base;
	struct output now;
	uint64_t start_ns, refresh_ns;
	uint32_t epoch;   /* of the flip in flight */
	uint64_t flip_ns; /* its vblank */
	bool pending;
};

static struct headless *from(struct backend *backend)
{
	return container_of(backend, struct headless, base);
}

static struct output *headless_probe(struct backend *backend)
{
	struct output *output = malloc(sizeof(*output));
	if (output)
		*output = from(backend)->now;
	return output;
}

static void headless_adopt(struct backend *backend, struct output *output)
{
	(void)backend;
	free(output);
}

static int headless_commit(struct backend *backend, const struct commit *commit)
{
	struct headless *headless = from(backend);
	if (headless->pending) {
		errno = EBUSY;
		return -1;
	}
	if (commit->full)
		return 0;
	/* The picture changes at the next point of the grid, as at a vblank; at the one after it if that passes while this is being done. */
	uint64_t next;
	do {
		next = headless->start_ns + ((clock_now_ns() - headless->start_ns) / headless->refresh_ns + 1) * headless->refresh_ns;
		struct itimerspec at = {.it_value = {.tv_sec = (time_t)(next / NSEC_PER_SEC), .tv_nsec = (long)(next % NSEC_PER_SEC)}};
		if (timerfd_settime(headless->base.fd, TFD_TIMER_ABSTIME, &at, NULL) != 0)
			return -1;
	} while (clock_now_ns() >= next);
	headless->pending = true;
	headless->epoch = commit->epoch;
	headless->flip_ns = next;
	return 0;
}

static void headless_dispatch(struct backend *backend)
{
	struct headless *headless = from(backend);
	uint64_t ticks;
	if (read(backend->fd, &ticks, sizeof(ticks)) != sizeof(ticks) || !headless->pending)
		return;
	headless->pending = false;
	/* A card's event has the time of its vblank, too, however late it is read (drm_vblank.c, send_vblank_event()). */
	backend->flipped(backend->data, headless->epoch, headless->flip_ns);
}

static const char *headless_describe(const struct backend *backend)
{
	(void)backend;
	return "in memory";
}

static int headless_make_buffer(struct backend *backend, uint32_t width, uint32_t height, struct scanout_buffer *buffer)
{
	(void)backend;
	uint64_t size;
	if (!mul_u64((uint64_t)width * 4, height, &size) || size == 0) {
		errno = EINVAL;
		return -1;
	}
	void *pixels = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pixels == MAP_FAILED)
		return -1;
	*buffer = (struct scanout_buffer){.pixels = pixels, .pitch = width * 4, .width = width, .height = height, .size = size, .readable = true};
	return 0;
}

static void headless_free_buffer(struct backend *backend, struct scanout_buffer *buffer)
{
	(void)backend;
	if (buffer->pixels)
		munmap(buffer->pixels, buffer->size);
	memset(buffer, 0, sizeof(*buffer));
}

static void headless_survey(struct backend *backend, const struct output *output, struct survey *survey)
{
	(void)backend;
	(void)output;
	strcpy(survey->driver, "headless");
}

static void headless_destroy(struct backend *backend)
{
	close(backend->fd);
	free(from(backend));
}

static const struct backend_ops headless_ops = {
	.probe = headless_probe,
	.adopt = headless_adopt,
	.commit = headless_commit,
	.dispatch = headless_dispatch,
	.describe = headless_describe,
	.make_buffer = headless_make_buffer,
	.free_buffer = headless_free_buffer,
	.survey = headless_survey,
	.destroy = headless_destroy,
};

struct backend *headless_create(uint32_t width, uint32_t height, uint32_t refresh_mhz)
{
	struct headless *headless = calloc(1, sizeof(*headless));
	if (!headless)
		return NULL;
	headless->base = (struct backend){.ops = &headless_ops, .hotplug_fd = -1};
	headless->base.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (headless->base.fd < 0) {
		free(headless);
		return NULL;
	}
	headless->now = (struct output){
		.connected = true,
		.name = "Headless-1",
		.monitor = "headless",
		.width = width ? width : 1280,
		.height = height ? height : 800,
		.refresh_mhz = refresh_mhz ? refresh_mhz : 60000,
		.vblank = true,
	};
	/* 96 pixels an inch */
	headless->now.width_mm = (uint32_t)((uint64_t)headless->now.width * 254 / 960);
	headless->now.height_mm = (uint32_t)((uint64_t)headless->now.height * 254 / 960);
	headless->start_ns = clock_now_ns();
	headless->refresh_ns = NSEC_PER_SEC * 1000 / headless->now.refresh_mhz;
	return &headless->base;
}
