/*
 * The display alone, by hand or in the lab: two synthetic producers as UI and guest on the real card (or in memory), toggled at a
 * fixed pace. Not installed.
 *
 *   kms_demo [--headless] [--card PATH] [--mode WxH] [--toggles N] [--every MS] [--fps N]
 */
#define LOG_MODULE "demo"
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <wayland-server-core.h>

#include "base/log.h"
#include "base/stats.h"
#include "base/thread.h"
#include "kms/panel.h"
#include "kms/session.h"
#include "link/synthetic.h"

struct demo {
	struct wl_event_loop *loop;
	struct panel *panel;
	struct wl_event_source *timer;
	struct stats stats;
	int every_ms;
	uint64_t toggles, asked;
	bool quit, presented;
};

struct producer {
	struct synthetic_config config;
	pthread_t thread;
};

static void on_session(void *data, bool active)
{
	struct demo *demo = data;
	if (demo->panel)
		panel_session(demo->panel, active);
}

static void on_first_frame(void *data, uint32_t width, uint32_t height)
{
	(void)data;
	log_info("first frame %ux%u", width, height);
}

static void on_scanout(void *data, uint32_t width, uint32_t height)
{
	(void)data;
	log_info("scanout %ux%u", width, height);
}

static int on_timer(void *data)
{
	struct demo *demo = data;
	if (demo->asked >= demo->toggles) {
		demo->quit = true;
		return 0;
	}
	demo->asked++;
	demo->presented = !demo->presented;
	panel_present(demo->panel, demo->presented ? PRESENTATION_PRESENTED : PRESENTATION_HIDDEN, clock_now_ns());
	wl_event_source_timer_update(demo->timer, demo->every_ms);
	return 0;
}

static int on_signal(int number, void *data)
{
	(void)number;
	((struct demo *)data)->quit = true;
	return 0;
}

static void *run_synthetic(void *arg)
{
	struct producer *producer = arg;
	synthetic_run(&producer->config);
	return NULL;
}

static void start_producer(struct producer *producer, int stop, uint32_t fps, struct stats *stats)
{
	uint64_t size;
	int fd = synthetic_memory(2560, 1600, &size);
	struct link *link = fd >= 0 ? link_create(fd, size) : NULL;
	if (!link) {
		fprintf(stderr, "kms_demo: no memory for pictures\n");
		exit(1);
	}
	producer->config = (struct synthetic_config){.link = link, .pixels_fd = fd, .pixels_size = size, .fps = fps, .stop_fd = stop, .stats = stats};
}

static void print_histogram(const char *name, const struct histogram *histogram)
{
	struct histogram_summary s;
	histogram_summarise(histogram, &s);
	printf("%s: count %lu p50 %lu p95 %lu p99 %lu max %lu us\n", name, (unsigned long)s.count, (unsigned long)s.p50, (unsigned long)s.p95,
		(unsigned long)s.p99, (unsigned long)s.max);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"headless", 0, 0, 'h'}, {"card", 1, 0, 'c'}, {"mode", 1, 0, 'm'}, {"toggles", 1, 0, 't'},
		{"every", 1, 0, 'e'}, {"fps", 1, 0, 'f'}, {0}};
	static struct demo demo;
	static struct stats unused;
	struct panel_config config = {.backend = PANEL_KMS, .stats = &demo.stats, .data = &demo, .first_frame = on_first_frame, .scanout = on_scanout};
	uint32_t fps = 60;
	demo.every_ms = 1000;
	demo.toggles = 10;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'h')
			config.backend = PANEL_HEADLESS;
		else if (c == 'c')
			config.card = optarg;
		else if (c == 'm' && sscanf(optarg, "%ux%u", &config.width, &config.height) == 2)
			continue;
		else if (c == 't')
			demo.toggles = strtoul(optarg, NULL, 10);
		else if (c == 'e')
			demo.every_ms = atoi(optarg);
		else if (c == 'f')
			fps = (uint32_t)atoi(optarg);
		else
			return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_level(LOG_DEBUG);
	char error[600];
	int status;
	demo.loop = wl_event_loop_create();
	wl_event_loop_add_signal(demo.loop, SIGTERM, on_signal, &demo);
	wl_event_loop_add_signal(demo.loop, SIGINT, on_signal, &demo);
	struct session_config session_config = {.active = on_session, .data = &demo};
	config.board = status_board_create();
	if (config.backend == PANEL_KMS) {
		config.session = session_open(demo.loop, &session_config, error, sizeof(error), &status);
		if (!config.session) {
			fprintf(stderr, "kms_demo: %s\n", error);
			return status;
		}
	}
	demo.panel = panel_create(demo.loop, &config, error, sizeof(error), &status);
	if (!demo.panel) {
		session_close(config.session);
		fprintf(stderr, "kms_demo: %s\n", error);
		return status;
	}
	int stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct producer ui = {0}, guest = {0};
	start_producer(&ui, stop, 2, &unused);
	start_producer(&guest, stop, fps, &demo.stats);
	panel_add_producer(demo.panel, PANEL_FACE_UI, ui.config.link);
	panel_add_producer(demo.panel, PANEL_FACE_GUEST, guest.config.link);
	panel_start(demo.panel);
	thread_start(&ui.thread, "ui", 0, run_synthetic, &ui);
	thread_start(&guest.thread, "guest", 0, run_synthetic, &guest);
	thread_raise_self();
	demo.timer = wl_event_loop_add_timer(demo.loop, on_timer, &demo);
	/* The start is not what is measured. */
	wl_event_source_timer_update(demo.timer, 2000);
	while (!demo.quit)
		wl_event_loop_dispatch(demo.loop, -1);

	struct status board;
	status_board_read(config.board, &board);
	printf("display: %s\n", board.line[STATUS_DISPLAY].text);
	printf("toggles %lu commits %lu modesets %lu flushed %lu presented %lu dropped %lu copied %lu damaged %lu\n", (unsigned long)demo.stats.toggles,
		(unsigned long)demo.stats.commits, (unsigned long)demo.stats.modesets, (unsigned long)demo.stats.frames_flushed,
		(unsigned long)demo.stats.frames_presented, (unsigned long)demo.stats.frames_dropped, (unsigned long)demo.stats.bytes_copied,
		(unsigned long)demo.stats.bytes_damaged);
	print_histogram("toggle_commit_us", &demo.stats.toggle_commit_us);
	print_histogram("toggle_flip_us", &demo.stats.toggle_flip_us);
	eventfd_write(stop, 1);
	pthread_join(ui.thread, NULL);
	pthread_join(guest.thread, NULL);
	panel_destroy(demo.panel);
	session_close(config.session);
	link_destroy(ui.config.link);
	link_destroy(guest.config.link);
	status_board_destroy(config.board);
	wl_event_loop_destroy(demo.loop);
	return 0;
}
