#define LOG_MODULE "headless"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/log.h"
#include "kms/backend.h"

#define OUTPUTS 2 /* the second one where the panel extends */

struct headless {
	struct backend base;
	uint64_t start_ns;
	uint32_t n;
	struct {
		struct output now;
		uint64_t refresh_ns;
		uint32_t epoch;   /* of the flip in flight */
		uint64_t flip_ns; /* its vblank */
		bool pending;
	} output[OUTPUTS];
};

static struct headless *from(struct backend *backend)
{
	return container_of(backend, struct headless, base);
}

static struct output *headless_probe(struct backend *backend)
{
	const struct headless *headless = from(backend);
	struct output *output = calloc(OUTPUTS, sizeof(*output));
	for (uint32_t i = 0; output && i < headless->n; i++)
		output[i] = headless->output[i].now;
	if (output && headless->n > 1)
		output->further[0] = &output[1];
	return output;
}

static void headless_adopt(struct backend *backend, struct output *output)
{
	(void)backend;
	free(output);
}

/* The timer for the first of the flips in flight. */
static int arm(const struct headless *headless)
{
	uint64_t first = 0;
	for (uint32_t i = 0; i < headless->n; i++)
		if (headless->output[i].pending && (!first || headless->output[i].flip_ns < first))
			first = headless->output[i].flip_ns;
	struct itimerspec at = {.it_value = {.tv_sec = (time_t)(first / NSEC_PER_SEC), .tv_nsec = (long)(first % NSEC_PER_SEC)}};
	return timerfd_settime(headless->base.fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static int headless_commit(struct backend *backend, const struct commit *commit)
{
	struct headless *headless = from(backend);
	uint32_t i = commit->output;
	if (headless->output[i].pending && commit->buffer) {
		errno = EBUSY;
		return -1;
	}
	if (commit->full && (i == 0 || !commit->buffer)) {
		headless->output[i].pending = false;
		return 0;
	}
	/* The picture changes at the next point of the grid, as at a vblank; at the one after it if that passes while this is being done. */
	uint64_t refresh_ns = headless->output[i].refresh_ns;
	headless->output[i].pending = true;
	headless->output[i].epoch = commit->epoch;
	do {
		headless->output[i].flip_ns = headless->start_ns + ((clock_now_ns() - headless->start_ns) / refresh_ns + 1) * refresh_ns;
		if (arm(headless) != 0) {
			headless->output[i].pending = false;
			return -1;
		}
	} while (clock_now_ns() >= headless->output[i].flip_ns);
	return 0;
}

static void headless_dispatch(struct backend *backend)
{
	struct headless *headless = from(backend);
	uint64_t ticks, now = clock_now_ns();
	if (read(backend->fd, &ticks, sizeof(ticks)) != sizeof(ticks))
		return;
	for (uint32_t i = 0; i < headless->n; i++) {
		if (!headless->output[i].pending || headless->output[i].flip_ns > now)
			continue;
		headless->output[i].pending = false;
		/* A card's event has the time of its vblank, too, however late it is read (drm_vblank.c, send_vblank_event()). */
		backend->flipped(backend->data, i, headless->output[i].epoch, headless->output[i].flip_ns);
	}
	arm(headless);
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

static void set_output(struct headless *headless, uint32_t i, const char *name, uint32_t width, uint32_t height, uint32_t refresh_mhz)
{
	struct output *output = &headless->output[i].now;
	*output = (struct output){.connected = true, .monitor = "headless", .width = width, .height = height, .refresh_mhz = refresh_mhz, .vblank = true};
	snprintf(output->name, sizeof(output->name), "%s", name);
	/* 96 pixels an inch */
	output->width_mm = (uint32_t)((uint64_t)width * 254 / 960);
	output->height_mm = (uint32_t)((uint64_t)height * 254 / 960);
	headless->output[i].refresh_ns = NSEC_PER_SEC * 1000 / refresh_mhz;
}

struct backend *headless_create(uint32_t width, uint32_t height, uint32_t refresh_mhz, bool extend)
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
	headless->n = extend ? OUTPUTS : 1;
	set_output(headless, 0, "Headless-1", width ? width : 1280, height ? height : 800, refresh_mhz ? refresh_mhz : 60000);
	set_output(headless, 1, "Headless-2", 1024, 768, 75000);
	headless->start_ns = clock_now_ns();
	return &headless->base;
}
