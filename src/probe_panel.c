#define LOG_MODULE "probe"
#include "probe_panel.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/exit_status.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/thread.h"
#include "control/control.h"
#include "probe_report.h"

#define LOOK_NS (250 * NSEC_PER_MSEC)   /* how often a wait looks whether the panel is still ours */
#define FIRST_FRAME_NS (10 * NSEC_PER_SEC)
#define FIRST_FRAMES 8                  /* of the pattern: until then its buffers and the card's are painted in full, which takes longer than a refresh */
#define SETTLE_NS (300 * NSEC_PER_MSEC) /* until the last toggle is on the screen */
#define WORK_NS (30 * NSEC_PER_SEC)
#define FLIPS_PER_SECOND 1000           /* the most that are kept */

struct probe {
	struct probe_config config;
	struct probe_plan plan;
	struct probe_result result; /* the probe thread's, or the worker's while that one waits; the main thread's when both have ended */
	int stop_fd, done_fd;
	_Atomic bool stop;
	bool running, terminal, failed;
	pthread_t thread;
	uint64_t begin_ns;
	const char *phase; /* as progress() told last, and at which second */
	uint64_t second;
	uint64_t *flip_ns; /* written by the pattern's thread */
	uint64_t flips_max;
	_Atomic uint64_t n_flips, n_presented;
	_Atomic bool recording;
};

struct probe *probe_create(const struct probe_config *config)
{
	struct probe *probe = calloc(1, sizeof *probe);
	if (probe == NULL)
		return NULL;
	probe->config = *config;
	probe->plan = probe_plan(config->seconds);
	probe->result = (struct probe_result){.seconds = config->seconds, .commit_us = &config->stats->toggle_commit_us, .flip_us = &config->stats->toggle_flip_us};
	snprintf(probe->result.why, sizeof probe->result.why, "it was asked to end early");
	probe->terminal = isatty(STDERR_FILENO) == 1;
	probe->flips_max = (uint64_t)config->seconds * FLIPS_PER_SECOND;
	probe->flip_ns = malloc(probe->flips_max * sizeof *probe->flip_ns);
	probe->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	probe->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (probe->flip_ns == NULL || probe->stop_fd < 0 || probe->done_fd < 0) {
		probe_destroy(probe);
		return NULL;
	}
	return probe;
}

void probe_destroy(struct probe *probe)
{
	if (probe == NULL)
		return;
	if (probe->stop_fd >= 0)
		close(probe->stop_fd);
	if (probe->done_fd >= 0)
		close(probe->done_fd);
	free(probe->flip_ns);
	free(probe);
}

void probe_presented(void *data, uint64_t time_ns)
{
	struct probe *probe = data;
	uint64_t n = atomic_load(&probe->n_flips);
	atomic_fetch_add(&probe->n_presented, 1);
	if (!atomic_load(&probe->recording) || n == probe->flips_max)
		return;
	probe->flip_ns[n] = time_ns;
	atomic_store(&probe->n_flips, n + 1);
}

/* --- on the worker -------------------------------------------------------------------------------------------------- */

static void survey(void *data, struct backend *backend)
{
	struct probe *probe = data;
	struct probe_result *result = &probe->result;
	struct output *output = backend->ops->probe(backend);
	if (output != NULL) {
		result->output = *output;
		if (backend->ops->survey != NULL)
			backend->ops->survey(backend, output, &result->survey);
		free(output);
		result->flush = backend->flush;
		snprintf(result->copies, sizeof result->copies, "%s", backend->ops->import_buffer == NULL ? "there is no card" : backend->copies);
		result->surveyed = true;
	}
	eventfd_write(probe->done_fd, 1);
}

/* Into a framebuffer that is not shown, as the worker copies every day: from cached memory, and nothing is read back. */
static void copy(void *data, struct backend *backend)
{
	struct probe *probe = data;
	struct probe_result *result = &probe->result;
	struct scanout_buffer buffer;
	uint8_t *source = NULL;
	if (backend->ops->make_buffer(backend, result->output.width, result->output.height, &buffer) != 0) {
		snprintf(result->copy_error, sizeof result->copy_error, "%s", strerror(errno));
		goto out;
	}
	size_t row = (size_t)buffer.width * 4;
	result->pitch = buffer.pitch;
	result->whole_bytes = (uint64_t)buffer.pitch * buffer.height;
	result->rows_bytes = row * buffer.height;
	source = malloc(result->whole_bytes);
	if (source == NULL) {
		snprintf(result->copy_error, sizeof result->copy_error, "%s", strerror(ENOMEM));
		backend->ops->free_buffer(backend, &buffer);
		goto out;
	}
	memset(source, 0x5a, result->whole_bytes);
	memcpy(buffer.pixels, source, result->whole_bytes); /* its pages are made at the first touch: not counted */
	uint64_t end = clock_now_ns() + probe->plan.copies_ns;
	uint32_t n = 0;
	while (n < PROBE_COPIES && !atomic_load(&probe->stop) && (n == 0 || clock_now_ns() < end)) {
		uint64_t begin = clock_now_ns();
		memcpy(buffer.pixels, source, result->whole_bytes);
		uint64_t middle = clock_now_ns();
		for (uint32_t y = 0; y < buffer.height; y++)
			memcpy(buffer.pixels + (size_t)y * buffer.pitch, source + y * row, row);
		result->whole_ns[n] = middle - begin;
		result->rows_ns[n++] = clock_now_ns() - middle;
	}
	result->runs = n;
	free(source);
	backend->ops->free_buffer(backend, &buffer);
out:
	result->copied = result->runs != 0 || result->copy_error[0] != '\0';
	eventfd_write(probe->done_fd, 1);
}

/* --- the probe's own thread ----------------------------------------------------------------------------------------- */

static void write_line(const char *line)
{
	ssize_t written = write(STDERR_FILENO, line, strlen(line));
	(void)written;
}

/* A terminal has one line that changes; elsewhere it is a line for each phase. */
static void progress(struct probe *probe, const char *phase)
{
	char line[120];
	uint64_t second = (clock_now_ns() - probe->begin_ns) / NSEC_PER_SEC;
	if (probe->phase == phase && (!probe->terminal || probe->second == second))
		return;
	probe->phase = phase;
	probe->second = second;
	snprintf(line, sizeof line, probe->terminal ? "\r\033[Krayvm: probing the panel: %s, %llu of %u s" : "rayvm: probing the panel: %s\n", phase,
		(unsigned long long)second, probe->config.seconds);
	write_line(line);
}

static bool failed(struct probe *probe, const char *why)
{
	snprintf(probe->result.why, sizeof probe->result.why, "%s", why);
	probe->failed = true;
	return false;
}

static bool panel_is_ours(struct probe *probe)
{
	struct status status;
	status_board_read(probe->config.board, &status);
	if (status.session != SESSION_ACTIVE)
		return failed(probe, "another terminal was switched to");
	if (status.n_outputs == 0)
		return failed(probe, "no monitor is connected");
	return true;
}

/* Until fd is readable, or at_ns; fd -1: until at_ns, and the panel has to be ours all the time. False: it is over, result.why says why. */
static bool wait_for(struct probe *probe, int fd, uint64_t at_ns)
{
	struct pollfd fds[2] = {{.fd = probe->stop_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	for (;;) {
		uint64_t now = clock_now_ns();
		if (atomic_load(&probe->stop) || (fd < 0 && !panel_is_ours(probe)))
			return false;
		progress(probe, probe->phase);
		if (now >= at_ns || fds[1].revents != 0)
			return true;
		uint64_t left = at_ns - now < LOOK_NS ? at_ns - now : LOOK_NS;
		struct timespec timeout = {.tv_nsec = (long)left};
		if (ppoll(fds, ARRAY_LEN(fds), &timeout, NULL) < 0)
			fds[1].revents = 0;
	}
}

static bool wait_until(struct probe *probe, uint64_t at_ns)
{
	return wait_for(probe, -1, at_ns);
}

static bool on_worker(struct probe *probe, void (*work)(void *data, struct backend *backend))
{
	struct control_request request = {.kind = CONTROL_WORK, .work = work, .data = probe};
	eventfd_t count;
	if (!mailbox_post(probe->config.front, &request))
		return failed(probe, "the front thread takes no requests");
	if (!wait_for(probe, probe->done_fd, clock_now_ns() + WORK_NS))
		return false;
	return eventfd_read(probe->done_fd, &count) == 0 || failed(probe, "the worker did not answer");
}

static bool look(struct probe *probe)
{
	progress(probe, "the card");
	if (!on_worker(probe, survey))
		return false;
	if (!probe->result.surveyed)
		return failed(probe, "the connectors cannot be read");
	struct status status;
	uint64_t end = clock_now_ns() + FIRST_FRAME_NS;
	bool there;
	do {
		if (!wait_until(probe, clock_now_ns() + LOOK_NS / 5))
			return false;
		status_board_read(probe->config.board, &status);
		there = status.first_frame && atomic_load(&probe->n_presented) >= FIRST_FRAMES;
	} while (!there && clock_now_ns() < end);
	return there || failed(probe, "no picture came to the screen within 10 s: the log says why");
}

static bool flips(struct probe *probe)
{
	struct probe_result *result = &probe->result;
	struct status status;
	progress(probe, "flips");
	uint64_t begin = clock_now_ns(), misses = atomic_load(&probe->config.stats->latch_misses);
	atomic_store(&probe->recording, true);
	bool ours = wait_until(probe, begin + probe->plan.flips_ns);
	atomic_store(&probe->recording, false);
	result->flips_seconds = (double)(clock_now_ns() - begin) / NSEC_PER_SEC;
	result->latch_misses = atomic_load(&probe->config.stats->latch_misses) - misses;
	status_board_read(probe->config.board, &status);
	result->zero_copy = status.zero_copy;
	result->flipped = true;
	return ours;
}

static bool toggles(struct probe *probe)
{
	struct probe_result *result = &probe->result;
	struct stats *stats = probe->config.stats;
	uint32_t seed = 1;
	progress(probe, "toggles");
	uint64_t replaced = atomic_load(&stats->toggles_replaced), modesets = atomic_load(&stats->modesets);
	uint64_t at, end = clock_now_ns() + probe->plan.toggles_ns;
	bool ours = true;
	while (ours && (at = clock_now_ns() + probe_gap_ns(&seed)) < end) {
		ours = wait_until(probe, at);
		struct control_request request = {.kind = CONTROL_SHOW, .argument = CONTROL_SHOW_TOGGLE, .time_ns = clock_now_ns()};
		result->toggles += ours && mailbox_post(probe->config.front, &request);
	}
	ours = ours && wait_until(probe, clock_now_ns() + SETTLE_NS);
	result->replaced = atomic_load(&stats->toggles_replaced) - replaced;
	result->modesets = atomic_load(&stats->modesets) - modesets;
	result->in_time = atomic_load(&stats->toggles_in_time);
	result->late = atomic_load(&stats->toggles_late);
	result->toggled = result->toggles != 0;
	return ours;
}

static bool copies(struct probe *probe)
{
	progress(probe, "copies");
	return on_worker(probe, copy) && (probe->result.copy_error[0] == '\0' || failed(probe, "there is no framebuffer to copy into"));
}

static void *conduct(void *arg)
{
	struct probe *probe = arg;
	struct control_request quit = {.kind = CONTROL_QUIT};
	probe->begin_ns = clock_now_ns();
	if (look(probe) && flips(probe) && toggles(probe) && copies(probe))
		probe->result.why[0] = '\0';
	if (probe->terminal)
		write_line("\r\033[K");
	mailbox_post(probe->config.front, &quit);
	return NULL;
}

/* --- the main thread ------------------------------------------------------------------------------------------------- */

int probe_start(struct probe *probe)
{
	if (thread_start(&probe->thread, "probe", 0, conduct, probe) < 0)
		return -1;
	probe->running = true;
	return 0;
}

void probe_stop(struct probe *probe)
{
	atomic_store(&probe->stop, true);
	eventfd_write(probe->stop_fd, 1);
	if (probe->running)
		pthread_join(probe->thread, NULL);
	probe->running = false;
}

int probe_report(struct probe *probe, bool json, int exit_status)
{
	struct probe_result *result = &probe->result;
	probe_flips(probe->flip_ns, atomic_load(&probe->n_flips), result->output.refresh_mhz != 0 ? NSEC_PER_SEC * 1000 / result->output.refresh_mhz : 0,
		&result->flips);
	result->front_stalls = atomic_load(&probe->config.stats->front_stalls);
	if (exit_status != 0 && !probe->failed)
		failed(probe, "rayvm failed, the log says why");
	if (json) {
		json_object *object = probe_json(result);
		puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(object);
	} else {
		probe_table(stdout, result);
	}
	if (fflush(stdout) != 0) {
		fprintf(stderr, "rayvm: the report cannot be written: %s\n", strerror(errno));
		return EXIT_FAILED;
	}
	if (exit_status != 0 || !probe->failed)
		return exit_status;
	fprintf(stderr, "rayvm: %s\n", result->why);
	return result->surveyed && !result->output.connected ? EXIT_DISPLAY : EXIT_FAILED;
}
