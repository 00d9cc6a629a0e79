#define LOG_MODULE "panel"
#include "kms/panel.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <wayland-server-core.h>

#include "base/log.h"
#include "base/stats.h"
#include "kms/latch.h"
#include "kms/layout.h"
#include "kms/letterbox.h"
#include "kms/outbox.h"
#include "kms/session.h"
#include "kms/worker.h"

#define CHATTER_PER_TURN 64 /* messages of producers handled before input and flips get their turn */

/* The front's view of a face. */
struct face {
	bool complete;    /* `latest` is a finished framebuffer of the present set */
	uint32_t latest;
	const struct scanout_buffer *buffer[FACE_BUFFERS];
	uint64_t sequence[FACE_BUFFERS];
	struct rect damage; /* since the face's last commit */
	uint64_t newest;    /* sequence of the newest frame the worker knows */
	uint64_t presented; /* last sequence told to the producer */
	uint32_t width, height; /* of the producer's picture; 0: none */
};

/* A framebuffer on, or on its way to, the screen. */
struct shown {
	bool valid;
	enum panel_face face;
	uint32_t set, index;
	uint64_t sequence;
	uint64_t toggle_ns; /* time stamp of the key that asked for it; 0: none */
};

struct panel {
	struct wl_event_loop *loop;
	struct panel_config config;
	struct backend *backend;
	struct worker *worker;
	struct mailbox *events, *chatter;
	struct face_news news[PANEL_FACES];
	struct outbox outbox[2]; /* 0 UI, 1 guest */
	int latch_fd, tick_fd;
	struct wl_event_source *source[6];
	uint32_t n_sources;

	struct output output; /* as last known; connected tells whether it is there now */
	struct latch latch;
	bool active; /* session */
	enum presentation presentation;
	uint32_t set;
	uint32_t visible; /* mask as told to the worker */
	struct face face[PANEL_FACES];
	struct shown now, next;
	uint64_t toggle_ns;
	bool toggled;
	bool first_frame_due;
	uint64_t last_guest; /* sequence from which guest frames are counted as dropped */
	uint64_t tick_ns;    /* last tick */
	bool tick_armed;
	uint32_t lost;       /* flip events lost, already logged */
	struct log_limit commit_limit;
};

static void run_latch(struct panel *panel, bool commit);

static void arm(int fd, uint64_t at_ns)
{
	/* 0 disarms; a time in the past fires at once. */
	struct itimerspec at = {.it_value = {.tv_sec = (time_t)(at_ns / NSEC_PER_SEC), .tv_nsec = (long)(at_ns % NSEC_PER_SEC)}};
	if (timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL) != 0)
		log_error("timerfd: %s", strerror(errno));
}

static uint32_t producer_of(enum panel_face face)
{
	return face == PANEL_FACE_GUEST ? 1 : 0;
}

static uint32_t head_of(enum panel_face face)
{
	return face == PANEL_FACE_PLACEHOLDER ? 1 : 0;
}

static enum panel_face wanted_face(const struct panel *panel)
{
	struct layout_state state = {.presentation = panel->presentation, .guest_scanout = panel->face[PANEL_FACE_GUEST].width != 0};
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		state.complete[f] = panel->face[f].complete;
	return layout_face(&state);
}

/* --- what producers get --------------------------------------------------------------------------------------- */

static uint64_t refresh_ns(const struct panel *panel)
{
	return panel->output.refresh_mhz ? NSEC_PER_SEC * 1000 / panel->output.refresh_mhz : 16666667;
}

static bool tick_due(const struct panel *panel, enum panel_face face)
{
	return !(panel->visible & 1u << face) && panel->face[face].newest != panel->face[face].presented;
}

/* Arms the tick when a face that is not on the screen waits for PRESENTED, or a producer for anything. */
static void arm_tick(struct panel *panel)
{
	bool due = false;
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		due |= tick_due(panel, (enum panel_face)f);
	for (uint32_t p = 0; p < 2; p++)
		due |= !outbox_flush(&panel->outbox[p]);
	if (!due || panel->tick_armed)
		return;
	uint64_t now = clock_now_ns(), at = panel->tick_ns + refresh_ns(panel);
	arm(panel->tick_fd, at > now ? at : now);
	panel->tick_armed = true;
}

static int on_tick(int fd, uint32_t mask, void *data)
{
	(void)mask;
	struct panel *panel = data;
	uint64_t ticks;
	if (read(fd, &ticks, sizeof(ticks)) != sizeof(ticks))
		return 0;
	panel->tick_armed = false;
	panel->tick_ns = clock_now_ns();
	for (uint32_t f = 0; f < PANEL_FACES; f++) {
		struct face *face = &panel->face[f];
		if (!tick_due(panel, (enum panel_face)f))
			continue;
		face->presented = face->newest;
		outbox_presented(&panel->outbox[producer_of((enum panel_face)f)], head_of((enum panel_face)f), face->newest, panel->tick_ns);
	}
	arm_tick(panel);
	return 0;
}

/* Tells worker and producers who is on the screen. */
static void update_visible(struct panel *panel)
{
	uint32_t visible = 0;
	if (panel->latch.state != LATCH_DARK) {
		if (panel->presentation == PRESENTATION_PRESENTED) {
			visible = 1u << PANEL_FACE_GUEST;
			if (wanted_face(panel) != PANEL_FACE_GUEST)
				visible |= 1u << PANEL_FACE_PLACEHOLDER;
		} else {
			visible = 1u << PANEL_FACE_UI;
		}
	}
	if (visible == panel->visible)
		return;
	if (visible & ~panel->visible & 1u << PANEL_FACE_GUEST)
		panel->last_guest = panel->face[PANEL_FACE_GUEST].newest;
	panel->visible = visible;
	worker_post(panel->worker, &(struct front_event){.type = FRONT_VISIBLE, .visible = visible});
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		outbox_visible(&panel->outbox[producer_of((enum panel_face)f)], head_of((enum panel_face)f), visible & 1u << f);
	arm_tick(panel);
}

static void tell_display(struct panel *panel)
{
	const struct output *output = &panel->output;
	struct link_message message = {.type = LINK_DISPLAY};
	message.display.width = output->width;
	message.display.height = output->height;
	message.display.refresh_mhz = output->refresh_mhz;
	message.display.width_mm = output->width_mm;
	message.display.height_mm = output->height_mm;
	snprintf(message.display.name, sizeof(message.display.name), "%s", output->monitor);
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		outbox_display(&panel->outbox[producer_of((enum panel_face)f)], head_of((enum panel_face)f), &message);
}

static void write_status(struct status *status, void *data)
{
	const struct panel *panel = data;
	status->n_outputs = panel->output.connected ? 1 : 0;
	struct status_output *output = &status->output[0];
	snprintf(output->name, sizeof(output->name), "%s", panel->output.name);
	output->width = panel->output.connected ? panel->output.width : 0;
	output->height = panel->output.connected ? panel->output.height : 0;
	output->refresh_mhz = panel->output.refresh_mhz;
	output->connected = panel->output.connected;
	status->scanout_width = panel->face[PANEL_FACE_GUEST].width;
	status->scanout_height = panel->face[PANEL_FACE_GUEST].height;
	status->zero_copy = false;
	status->session = panel->active ? SESSION_ACTIVE : SESSION_INACTIVE;
}

static void update_status(struct panel *panel)
{
	status_board_update(panel->config.board, write_status, panel);
	const struct output *output = &panel->output;
	const char *what = panel->backend->ops->describe(panel->backend);
	if (output->connected)
		status_board_line(panel->config.board, STATUS_DISPLAY, STATUS_OK, "%s %ux%u %u Hz, %s", output->name, output->width, output->height,
			(output->refresh_mhz + 500) / 1000, what);
	else
		status_board_line(panel->config.board, STATUS_DISPLAY, STATUS_BUSY, "no monitor connected, %s", what);
}

/* --- commits --------------------------------------------------------------------------------------------------- */

static bool holds(const struct panel *panel, enum panel_face face, uint32_t set, uint32_t index)
{
	const struct shown *now = &panel->now, *next = &panel->next;
	return (set == panel->set && panel->face[face].complete && panel->face[face].latest == index) ||
	       (now->valid && now->face == face && now->set == set && now->index == index) ||
	       (next->valid && next->face == face && next->set == set && next->index == index);
}

/* Gives a framebuffer back to the worker unless it is still needed. Old sets go as a whole. */
static void let_go(struct panel *panel, enum panel_face face, uint32_t set, uint32_t index)
{
	if (set == panel->set && !holds(panel, face, set, index))
		worker_post(panel->worker, &(struct front_event){.type = FRONT_FREE, .set = set, .face = face, .index = index});
}

/* `next` is on the screen since `time`. */
static void shown(struct panel *panel, uint64_t time)
{
	struct shown old = panel->now;
	panel->now = panel->next;
	panel->next.valid = false;
	if (old.valid && old.set != panel->now.set)
		worker_post(panel->worker, &(struct front_event){.type = FRONT_DROP, .set = panel->now.set});
	else if (old.valid)
		let_go(panel, old.face, old.set, old.index);

	struct shown *now = &panel->now;
	struct face *face = &panel->face[now->face];
	if (now->toggle_ns) {
		histogram_record_us(&panel->config.stats->toggle_flip_us, time > now->toggle_ns ? (time - now->toggle_ns) / NSEC_PER_USEC : 0);
		now->toggle_ns = 0;
	}
	if (now->face == PANEL_FACE_GUEST) {
		if (now->sequence > panel->last_guest) {
			atomic_fetch_add(&panel->config.stats->frames_presented, 1);
			atomic_fetch_add(&panel->config.stats->frames_dropped, now->sequence - panel->last_guest - 1);
			panel->last_guest = now->sequence;
		}
		if (panel->first_frame_due) {
			panel->first_frame_due = false;
			if (panel->config.first_frame)
				panel->config.first_frame(panel->config.data, face->width, face->height);
		}
	}
	if (now->sequence > face->presented) {
		face->presented = now->sequence;
		outbox_presented(&panel->outbox[producer_of(now->face)], head_of(now->face), now->sequence, time);
	}
	arm_tick(panel);
}

static enum latch_result try_commit(struct panel *panel)
{
	enum panel_face want = wanted_face(panel);
	bool full = panel->latch.full;
	if (want == PANEL_FACES)
		return LATCH_NOTHING;
	struct face *face = &panel->face[want];
	bool same_face = panel->now.valid && panel->now.face == want && panel->now.set == panel->set;
	/* What stands in for a face that is not drawn yet is no answer to a toggle. */
	bool answers = (panel->presentation == PRESENTATION_PRESENTED) == (want != PANEL_FACE_UI);
	if (same_face && panel->now.index == face->latest && !full) {
		panel->toggled &= !answers;
		return LATCH_NOTHING;
	}
	const struct scanout_buffer *buffer = face->buffer[face->latest];
	struct commit commit = {
		.buffer = buffer,
		.damage = same_face && !full ? face->damage : (struct rect){0, 0, buffer->width, buffer->height},
		.epoch = panel->latch.epoch,
		.full = full,
	};
	if (panel->backend->ops->commit(panel->backend, &commit) != 0) {
		int error = errno;
		uint32_t left_out;
		if (error == EBUSY)
			return LATCH_BUSY;
		if (log_limit_pass(&panel->commit_limit, &left_out))
			log_warn("%scommit of %ux%u on %s: %s%s", full ? "full " : "", buffer->width, buffer->height, panel->output.name, strerror(error),
				error == EACCES || error == EPERM ? " (another program holds the display, trying again)" : "");
		return error == EACCES || error == EPERM ? LATCH_DENIED : LATCH_REFUSED;
	}
	atomic_fetch_add(&panel->config.stats->commits, 1);
	panel->next = (struct shown){.valid = true, .face = want, .set = panel->set, .index = face->latest, .sequence = face->sequence[face->latest]};
	face->damage = (struct rect){0};
	if (panel->toggled && answers) {
		panel->toggled = false;
		panel->next.toggle_ns = panel->toggle_ns;
		uint64_t now = clock_now_ns();
		if (panel->toggle_ns)
			histogram_record_us(&panel->config.stats->toggle_commit_us, now > panel->toggle_ns ? (now - panel->toggle_ns) / NSEC_PER_USEC : 0);
	}
	if (!full)
		return LATCH_ACCEPTED;
	atomic_fetch_add(&panel->config.stats->modesets, 1);
	log_info("modeset: %s %ux%u %u.%03u Hz, %s", panel->output.name, panel->output.width, panel->output.height, panel->output.refresh_mhz / 1000,
		panel->output.refresh_mhz % 1000, panel->backend->ops->describe(panel->backend));
	return LATCH_SHOWN;
}

static void run_latch(struct panel *panel, bool commit)
{
	while (commit) {
		uint64_t began = clock_now_ns();
		enum latch_result result = try_commit(panel);
		commit = latch_committed(&panel->latch, result, began, clock_now_ns());
		if (result == LATCH_SHOWN)
			shown(panel, clock_now_ns());
	}
	if (panel->latch.lost != panel->lost) {
		panel->lost = panel->latch.lost;
		log_warn("%s: a page flip was never reported, setting everything anew", panel->output.name);
	}
	arm(panel->latch_fd, panel->latch.timer_ns);
	update_visible(panel);
}

static void on_flip(void *data, uint32_t epoch, uint64_t time)
{
	struct panel *panel = data;
	bool ours;
	bool commit = latch_flip(&panel->latch, epoch, time, clock_now_ns(), &ours);
	if (!ours)
		return;
	if (panel->next.valid)
		shown(panel, time);
	run_latch(panel, commit);
}

static int on_latch_timer(int fd, uint32_t mask, void *data)
{
	(void)mask;
	struct panel *panel = data;
	uint64_t ticks;
	if (read(fd, &ticks, sizeof(ticks)) != sizeof(ticks))
		return 0;
	run_latch(panel, latch_timer(&panel->latch, clock_now_ns()));
	return 0;
}

static int on_backend(int fd, uint32_t mask, void *data)
{
	(void)fd;
	(void)mask;
	struct panel *panel = data;
	panel->backend->ops->dispatch(panel->backend);
	return 0;
}

static int on_hotplug(int fd, uint32_t mask, void *data)
{
	(void)fd;
	(void)mask;
	struct panel *panel = data;
	if (panel->backend->ops->hotplug(panel->backend))
		worker_post(panel->worker, &(struct front_event){.type = FRONT_PROBE});
	return 0;
}

/* --- outputs and the worker's news ---------------------------------------------------------------------------- */

static void go_dark(struct panel *panel)
{
	latch_dark(&panel->latch);
	panel->toggled = false; /* how long the dark lasts is not the toggle's time */
	/* A flip in flight will not be heard of; what it names stays held until the next commit replaces it. */
	if (panel->next.valid) {
		struct shown old = panel->now;
		panel->now = panel->next;
		panel->next.valid = false;
		if (old.valid)
			let_go(panel, old.face, old.set, old.index);
	}
	run_latch(panel, false);
}

static void go_light(struct panel *panel)
{
	if (panel->active && panel->output.connected)
		run_latch(panel, latch_light(&panel->latch, refresh_ns(panel), panel->output.vblank, clock_now_ns()));
}

static void new_geometry(struct panel *panel)
{
	panel->set++;
	for (uint32_t f = 0; f < PANEL_FACES; f++) {
		panel->face[f].complete = false;
		panel->face[f].damage = (struct rect){0};
	}
	worker_post(panel->worker,
		&(struct front_event){.type = FRONT_GEOMETRY, .set = panel->set, .width = panel->output.width, .height = panel->output.height});
	tell_display(panel);
}

static void take_output(struct panel *panel, const struct output *output)
{
	struct output old = panel->output;
	panel->output = *output;
	if (!output->connected) {
		/* Producers go on in the size they have. */
		panel->output.width = old.width;
		panel->output.height = old.height;
		panel->output.refresh_mhz = old.refresh_mhz;
	}
}

static void probed(struct panel *panel, struct output *output)
{
	if (!output) {
		log_warn("connectors could not be read");
		return;
	}
	struct output old = panel->output;
	if (output->connected == old.connected &&
	    (!old.connected || (output->width == old.width && output->height == old.height && output->refresh_mhz == old.refresh_mhz &&
				       strcmp(output->name, old.name) == 0))) {
		free(output);
		return;
	}
	go_dark(panel);
	take_output(panel, output);
	panel->backend->ops->adopt(panel->backend, output);
	if (panel->output.connected)
		log_info("%s: %ux%u", panel->output.name, panel->output.width, panel->output.height);
	else
		log_info("no monitor connected any more; running on without");
	if (panel->output.width != old.width || panel->output.height != old.height || panel->output.refresh_mhz != old.refresh_mhz)
		new_geometry(panel);
	update_status(panel);
	go_light(panel);
}

static void news(struct panel *panel, enum panel_face which)
{
	struct face *face = &panel->face[which];
	atomic_store(&panel->news[which].pending, false);
	uint64_t size = atomic_load(&panel->news[which].size);
	face->newest = atomic_load(&panel->news[which].sequence);
	uint32_t width = (uint32_t)(size >> 32), height = (uint32_t)size;
	if (width != face->width || height != face->height) {
		face->width = width;
		face->height = height;
		if (width == 0 && face->complete) {
			/* The picture is gone: what was composed of it is not shown again. */
			face->complete = false;
			let_go(panel, which, panel->set, face->latest);
		}
		if (which == PANEL_FACE_GUEST) {
			update_status(panel);
			if (panel->config.scanout)
				panel->config.scanout(panel->config.data, width, height);
		}
		run_latch(panel, latch_news(&panel->latch, false, clock_now_ns()));
	}
	arm_tick(panel);
}

static void ready(struct panel *panel, const struct worker_event *event)
{
	if (event->set != panel->set)
		return; /* made for a mode that is over */
	struct face *face = &panel->face[event->face];
	bool had = face->complete;
	uint32_t old = face->latest;
	face->buffer[event->index] = event->buffer;
	face->sequence[event->index] = event->sequence;
	if (face->width == 0) {
		face->complete = false;
		let_go(panel, event->face, event->set, event->index);
		return; /* its picture went meanwhile */
	}
	face->latest = event->index;
	face->complete = true;
	face->damage = rect_union(face->damage, event->damage);
	if (had)
		let_go(panel, event->face, panel->set, old);
	if (wanted_face(panel) == event->face)
		run_latch(panel, latch_news(&panel->latch, false, clock_now_ns()));
}

static int on_events(int fd, uint32_t mask, void *data)
{
	(void)fd;
	(void)mask;
	struct panel *panel = data;
	struct worker_event event;
	mailbox_ack(panel->events);
	while (mailbox_take(panel->events, &event)) {
		switch (event.type) {
		case WORKER_READY:
			ready(panel, &event);
			break;
		case WORKER_NEWS:
			news(panel, event.face);
			break;
		case WORKER_PROBED:
			probed(panel, event.output);
			break;
		}
	}
	return 0;
}

static int on_chatter(int fd, uint32_t mask, void *data)
{
	(void)mask;
	struct panel *panel = data;
	struct worker_chatter chatter;
	uint32_t n = 0;
	mailbox_ack(panel->chatter);
	while (n++ < CHATTER_PER_TURN && mailbox_take(panel->chatter, &chatter)) {
		if (chatter.released)
			outbox_released(&panel->outbox[producer_of(chatter.face)], chatter.message.dead);
		else if (panel->config.message)
			panel->config.message(panel->config.data, chatter.face, &chatter.message);
	}
	if (n > CHATTER_PER_TURN)
		eventfd_write(fd, 1); /* the rest in the next turn */
	arm_tick(panel);
	return 0;
}

/* --- what the program calls ------------------------------------------------------------------------------------ */

static void add_source(struct panel *panel, int fd, wl_event_loop_fd_func_t callback)
{
	panel->source[panel->n_sources++] = wl_event_loop_add_fd(panel->loop, fd, WL_EVENT_READABLE, callback, panel);
}

struct panel *panel_create(struct wl_event_loop *loop, const struct panel_config *config, char *error, size_t error_size, int *exit_status)
{
	struct panel *panel = calloc(1, sizeof(*panel));
	*exit_status = 4;
	if (!panel) {
		snprintf(error, error_size, "display: out of memory");
		return NULL;
	}
	panel->loop = loop;
	panel->config = *config;
	panel->latch_fd = panel->tick_fd = -1;
	panel->first_frame_due = true;
	latch_init(&panel->latch);
	panel->active = config->backend == PANEL_HEADLESS || session_active(config->session);
	if (config->backend == PANEL_HEADLESS) {
		panel->backend = headless_create(config->width, config->height, config->refresh_mhz);
		if (!panel->backend)
			snprintf(error, error_size, "headless display: %s", strerror(errno));
	} else {
		panel->backend = drm_create(config->session, config->card, config->width, config->height, config->refresh_mhz, error, error_size, exit_status);
	}
	if (!panel->backend)
		goto fail;
	panel->backend->flipped = on_flip;
	panel->backend->data = panel;
	struct output *output = panel->backend->ops->probe(panel->backend);
	panel->latch_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	panel->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	panel->events = mailbox_create(64, sizeof(struct worker_event));
	panel->chatter = mailbox_create(512, sizeof(struct worker_chatter));
	if (!output || panel->latch_fd < 0 || panel->tick_fd < 0 || !panel->events || !panel->chatter) {
		snprintf(error, error_size, "display: %s", strerror(errno));
		free(output);
		goto fail;
	}
	/* Until a monitor says otherwise producers draw for this size. */
	panel->output.width = config->width ? config->width : 1280;
	panel->output.height = config->height ? config->height : 800;
	panel->output.refresh_mhz = config->refresh_mhz ? config->refresh_mhz : 60000;
	take_output(panel, output);
	panel->backend->ops->adopt(panel->backend, output);

	add_source(panel, mailbox_fd(panel->events), on_events);
	add_source(panel, mailbox_fd(panel->chatter), on_chatter);
	add_source(panel, panel->latch_fd, on_latch_timer);
	add_source(panel, panel->tick_fd, on_tick);
	add_source(panel, panel->backend->fd, on_backend);
	if (panel->backend->hotplug_fd >= 0)
		add_source(panel, panel->backend->hotplug_fd, on_hotplug);
	for (uint32_t i = 0; i < panel->n_sources; i++) {
		if (!panel->source[i]) {
			snprintf(error, error_size, "display: event loop: %s", strerror(errno));
			goto fail;
		}
	}
	update_status(panel);
	status_board_line(config->board, STATUS_PATH, STATUS_OK, "copy");
	*exit_status = 0;
	return panel;
fail:
	panel_destroy(panel);
	return NULL;
}

void panel_destroy(struct panel *panel)
{
	if (!panel)
		return;
	for (uint32_t i = 0; i < panel->n_sources; i++)
		if (panel->source[i])
			wl_event_source_remove(panel->source[i]);
	worker_destroy(panel->worker);
	if (panel->events) {
		struct worker_event event;
		while (mailbox_take(panel->events, &event))
			if (event.type == WORKER_PROBED)
				free(event.output);
		mailbox_destroy(panel->events);
	}
	if (panel->chatter)
		mailbox_destroy(panel->chatter);
	if (panel->backend)
		panel->backend->ops->destroy(panel->backend);
	if (panel->latch_fd >= 0)
		close(panel->latch_fd);
	if (panel->tick_fd >= 0)
		close(panel->tick_fd);
	free(panel);
}

int panel_add_producer(struct panel *panel, enum panel_face face, struct link *link)
{
	if (face == PANEL_FACE_PLACEHOLDER || panel->worker || panel->outbox[producer_of(face)].link) {
		errno = EINVAL;
		return -1;
	}
	panel->outbox[producer_of(face)].link = link;
	return 0;
}

int panel_start(struct panel *panel)
{
	struct worker_config config = {
		.backend = panel->backend,
		.link = {[PANEL_FACE_UI] = panel->outbox[0].link, [PANEL_FACE_GUEST] = panel->outbox[1].link},
		.stats = panel->config.stats,
		.events = panel->events,
		.chatter = panel->chatter,
		.news = panel->news,
	};
	panel->worker = worker_create(&config);
	if (!panel->worker || worker_start(panel->worker) != 0)
		return -1;
	new_geometry(panel);
	go_light(panel);
	arm_tick(panel);
	return 0;
}

void panel_present(struct panel *panel, enum presentation presentation, uint64_t event_ns)
{
	if (presentation == panel->presentation)
		return;
	panel->presentation = presentation;
	panel->toggle_ns = event_ns;
	panel->toggled = panel->latch.state != LATCH_DARK;
	atomic_fetch_add(&panel->config.stats->toggles, 1);
	run_latch(panel, latch_news(&panel->latch, true, clock_now_ns()));
}

void panel_guest_started(struct panel *panel)
{
	panel->first_frame_due = true;
}

void panel_session(struct panel *panel, bool active)
{
	if (panel->active == active)
		return;
	panel->active = active;
	if (active) {
		/* Nothing is known of what happened meanwhile. */
		worker_post(panel->worker, &(struct front_event){.type = FRONT_PROBE});
		go_light(panel);
	} else {
		go_dark(panel);
	}
	update_status(panel);
}

bool panel_send(struct panel *panel, enum panel_face face, const struct link_message *message)
{
	struct link *link = panel->outbox[producer_of(face)].link;
	return link && link_send_to_producer(link, message);
}

void panel_geometry(const struct panel *panel, uint32_t *width, uint32_t *height, struct rect *guest)
{
	*width = panel->output.width;
	*height = panel->output.height;
	const struct face *face = &panel->face[PANEL_FACE_GUEST];
	*guest = letterbox(face->width, face->height, *width, *height);
}

bool panel_screenshot(struct panel *panel, enum panel_shot what, void (*done)(void *data, uint32_t *pixels, uint32_t width, uint32_t height), void *data)
{
	struct front_event event = {.type = FRONT_SHOT, .face = wanted_face(panel), .set = panel->set};
	event.shot.what = what;
	event.shot.done = done;
	event.shot.data = data;
	if (panel->now.valid) {
		event.face = panel->now.face;
		event.set = panel->now.set;
		event.index = panel->now.index;
		event.shot.on_screen = true;
	}
	return worker_post(panel->worker, &event);
}
