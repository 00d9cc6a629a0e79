#define LOG_MODULE "panel"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <wayland-server-core.h>

#include "base/exit_status.h"
#include "base/stats.h"
#include "kms/choose.h"
#include "kms/panel_private.h"
#include "kms/session.h"
#include "kms/strip.h"

#define CHATTER_PER_TURN 64 /* messages of producers handled before input and flips get their turn */
#define EVENTS_PER_TURN 16  /* and of the worker's news, which a guest that changes its size all the time makes without end */

static int on_latch_timer(int fd, uint32_t mask, void *data)
{
	(void)mask;
	struct panel *panel = data;
	uint64_t ticks;
	if (read(fd, &ticks, sizeof(ticks)) != sizeof(ticks))
		return 0;
	panel->latch_armed_ns = 0;
	if (panel->blank_ns && clock_now_ns() >= panel->blank_ns && panel_try_blank(panel) != 0)
		log_warn("%s does not switch off: %s", panel->screen[0].output.name, strerror(errno));
	panel_card_timer(panel);
	for (uint32_t i = 0; i < panel->n_screens; i++)
		panel_run_latch(&panel->screen[i], latch_timer(&panel->screen[i].latch, clock_now_ns()));
	return 0;
}

static int on_tick(int fd, uint32_t mask, void *data)
{
	(void)mask;
	uint64_t ticks;
	if (read(fd, &ticks, sizeof(ticks)) == sizeof(ticks))
		panel_tick(data);
	return 0;
}

/* --- the worker's news ---------------------------------------------------------------------------------------- */

static void news(struct panel *panel, enum panel_face which)
{
	struct face *face = &panel->face[which];
	struct screen *screen = &panel->screen[screen_of(which)];
	atomic_store(&panel->news[which].pending, false);
	if (producer_of(which) == 1 && panel->joining > 0)
		return;
	uint64_t size = atomic_load(&panel->news[which].size);
	face->newest = atomic_load(&panel->news[which].sequence);
	uint32_t width = (uint32_t)(size >> 32), height = (uint32_t)size;
	if (width != face->width || height != face->height) {
		face->width = width;
		face->height = height;
		if (width == 0 && face->complete) {
			/* The picture is gone: what was composed of it is not shown again. */
			face->complete = false;
			panel_let_go(panel, which, screen->set, face->latest);
		}
		if (which >= PANEL_FACE_GUEST) {
			panel_update_status(panel);
			if (which == PANEL_FACE_GUEST && panel->config.scanout)
				panel->config.scanout(panel->config.data, width, height);
		}
		panel_run_latch(screen, latch_news(&screen->latch, false, clock_now_ns()));
	}
	panel_arm_tick(panel);
}

static void ready(struct panel *panel, const struct worker_event *event)
{
	struct screen *screen = &panel->screen[screen_of(event->face)];
	if (event->lent)
		panel_lend_ended(screen);
	if (event->set != screen->set)
		return; /* made for a mode that is over */
	struct face *face = &panel->face[event->face];
	bool had = face->complete;
	uint32_t old = face->latest;
	face->buffer[event->index] = event->buffer;
	face->under[event->index] = event->under;
	face->dest[event->index] = event->dest;
	face->sequence[event->index] = event->sequence;
	face->serial[event->index] = event->serial;
	face->drawn[event->index] = event->drawn;
	face->seen[event->index] = false;
	if (face->width == 0 || (producer_of(event->face) == 1 && panel->joining > 0)) {
		face->complete = false;
		panel_let_go(panel, event->face, event->set, event->index);
		if (had && old != event->index)
			panel_let_go(panel, event->face, event->set, old);
		return; /* its picture went meanwhile */
	}
	face->latest = event->index;
	face->complete = true;
	face->refused = false;
	face->damage = rect_union(face->damage, event->damage);
	if (had)
		panel_let_go(panel, event->face, screen->set, old);
	/* A toggle back may have come while it was drawn into, and waits for it. */
	if (panel_wanted_face(screen) == event->face)
		panel_run_latch(screen, latch_news(&screen->latch, event->lent && panel->toggled, clock_now_ns()));
}

/* Nothing of a guest's old link is known any more. */
static void forget(struct panel *panel, enum panel_face which)
{
	struct face *face = &panel->face[which];
	struct screen *screen = &panel->screen[screen_of(which)];
	face->newest = face->presented = 0;
	for (uint32_t i = 0; i < FACE_SLOTS; i++)
		face->sequence[i] = 0;
	if (screen->now.face == which)
		screen->now.sequence = 0;
	if (screen->next.face == which)
		screen->next.sequence = 0;
	if (face->complete) {
		face->complete = false;
		panel_let_go(panel, which, screen->set, face->latest);
	}
	if (screen->latch.state == LATCH_DARK && screen->now.valid && screen->now.face == which && screen->now.index >= FACE_BUFFERS) {
		/* Its successor may not come for long, and nobody sees it: the old machine's memory is not kept for that. */
		screen->now.valid = false;
		panel_let_go(panel, which, screen->now.set, screen->now.index);
		if (screen->now.pointer.shown)
			panel_let_go_pointer(panel, &screen->now.pointer);
	}
	news(panel, which);
}

/* The worker reads the guest's new link. Its frames count from 1 again. */
static void joined(struct panel *panel)
{
	if (--panel->joining > 0)
		return;
	panel->last_guest = 0;
	for (uint32_t f = PANEL_FACE_GUEST; f < panel_faces(panel); f++)
		forget(panel, (enum panel_face)f);
}

static int on_events(int fd, uint32_t mask, void *data)
{
	(void)mask;
	struct panel *panel = data;
	struct worker_event event;
	uint32_t n = 0;
	mailbox_ack(panel->events);
	while (n++ < EVENTS_PER_TURN && mailbox_take(panel->events, &event)) {
		switch (event.type) {
		case WORKER_READY:
			ready(panel, &event);
			break;
		case WORKER_BLACK:
			panel_black_ready(panel, &event);
			break;
		case WORKER_NEWS:
			news(panel, event.face);
			break;
		case WORKER_JOINED:
			joined(panel);
			break;
		case WORKER_POINTER:
			panel_pointer_said(panel, event.producer);
			break;
		case WORKER_GONE:
			if (panel->joining == 0 && panel->config.joined)
				panel->config.joined(panel->config.data);
			break;
		case WORKER_PROBED:
			panel_probed(panel, event.output, event.fulls);
			break;
		case WORKER_LOST:
			panel_card_lost(panel);
			break;
		case WORKER_LEFT:
			panel_card_left(panel);
			break;
		}
	}
	if (n > EVENTS_PER_TURN)
		eventfd_write(fd, 1); /* the rest in the next turn */
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
		if (chatter.face == PANEL_FACE_GUEST && chatter.epoch != panel->guest_epoch)
			continue; /* from a machine that is gone */
		if (chatter.released)
			outbox_released(&panel->outbox[producer_of(chatter.face)], chatter.message.dead);
		else if (panel->config.message)
			panel->config.message(panel->config.data, chatter.face, &chatter.message);
	}
	if (n > CHATTER_PER_TURN)
		eventfd_write(fd, 1); /* the rest in the next turn */
	panel_arm_tick(panel);
	return 0;
}

/* --- what the program calls ------------------------------------------------------------------------------------ */

static void add_source(struct panel *panel, int fd, wl_event_loop_fd_func_t callback)
{
	panel->source[panel->n_sources++] = wl_event_loop_add_fd(panel->loop, fd, WL_EVENT_READABLE, callback, panel);
}

struct panel *panel_create(struct wl_event_loop *loop, const struct panel_config *config, char *error, size_t error_size, int *exit_status)
{
	struct backend *backend;
	*exit_status = EXIT_DISPLAY;
	if (config->backend == PANEL_HEADLESS) {
		backend = headless_create(config->width, config->height, config->refresh_mhz, config->extend);
		if (!backend)
			snprintf(error, error_size, "headless display: %s", strerror(errno));
	} else {
		struct choose_wish wish = {.connector = config->connector, .width = config->width, .height = config->height, .refresh_mhz = config->refresh_mhz,
			.extend = config->extend};
		backend = drm_create(config->session, config->card, config->legacy_kms, config->gbm_buffers, &wish, error, error_size, exit_status);
	}
	struct panel *panel = backend ? panel_create_on(loop, config, backend, error, error_size) : NULL;
	if (panel)
		*exit_status = EXIT_ASKED;
	return panel;
}

struct panel *panel_create_on(struct wl_event_loop *loop, const struct panel_config *config, struct backend *backend, char *error, size_t error_size)
{
	struct panel *panel = calloc(1, sizeof(*panel));
	if (!panel) {
		backend->ops->destroy(backend);
		snprintf(error, error_size, "display: out of memory");
		return NULL;
	}
	panel->backend = backend;
	panel->loop = loop;
	panel->config = *config;
	panel->latch_fd = panel->tick_fd = -1;
	panel->first_frame_due = true;
	panel->n_screens = config->extend ? SCREENS : 1;
	for (uint32_t i = 0; i < SCREENS; i++) {
		panel->screen[i].panel = panel;
		panel->screen[i].number = i;
		latch_init(&panel->screen[i].latch);
	}
	panel->active = !config->session || session_active(config->session);
	panel->backend->flipped = panel_flipped;
	panel->backend->data = panel;
	struct output *output = panel->backend->ops->probe(panel->backend);
	panel->latch_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	panel->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	panel->events = mailbox_create(128, sizeof(struct worker_event));
	panel->chatter = mailbox_create(512, sizeof(struct worker_chatter));
	if (!output || panel->latch_fd < 0 || panel->tick_fd < 0 || !panel->events || !panel->chatter) {
		snprintf(error, error_size, "display: %s", strerror(errno));
		free(output);
		goto fail;
	}
	/* Until a monitor says otherwise producers draw for this size. */
	struct output *assumed = &panel->screen[0].output;
	assumed->width = config->width ? config->width : 1280;
	assumed->height = config->height ? config->height : 800;
	assumed->refresh_mhz = config->refresh_mhz ? config->refresh_mhz : 60000;
	panel_take_output(panel, output);
	panel->backend->ops->adopt(panel->backend, output);

	add_source(panel, mailbox_fd(panel->events), on_events);
	add_source(panel, mailbox_fd(panel->chatter), on_chatter);
	add_source(panel, panel->latch_fd, on_latch_timer);
	add_source(panel, panel->tick_fd, on_tick);
	bool listens = panel_watch_card(panel);
	for (uint32_t i = 0; i < panel->n_sources; i++)
		listens &= panel->source[i] != NULL;
	if (!listens) {
		snprintf(error, error_size, "display: event loop: %s", strerror(errno));
		goto fail;
	}
	panel_update_status(panel);
	panel_tell_path(panel);
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
	panel_end_card(panel);
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

void panel_join_guest(struct panel *panel, struct link *link)
{
	struct front_event event = {.type = FRONT_JOIN, .link = link, .epoch = ++panel->guest_epoch};
	panel->joining++;
	outbox_join(&panel->outbox[producer_of(PANEL_FACE_GUEST)], link);
	worker_post(panel->worker, &event);
	panel_arm_tick(panel);
}

int panel_start(struct panel *panel)
{
	struct worker_config config = {
		.backend = panel->backend,
		.link = {[PANEL_FACE_UI] = panel->outbox[0].link, [PANEL_FACE_GUEST] = panel->outbox[1].link},
		.screens = panel->n_screens,
		.bilinear = panel->config.bilinear,
		.strip = panel->config.strip,
		.strip_text = panel->config.strip_text,
		.stats = panel->config.stats,
		.events = panel->events,
		.chatter = panel->chatter,
		.news = panel->news,
		.pointer = panel->pointer_news,
	};
	for (uint32_t i = 0; i < SCREENS; i++)
		config.lend[i] = &panel->screen[i].lend;
	panel->worker = worker_create(&config);
	if (!panel->worker || worker_start(panel->worker) != 0 || panel_start_card(panel) != 0)
		return -1;
	panel_new_geometry(&panel->screen[0]);
	for (uint32_t i = 1; i < panel->n_screens; i++)
		panel->screen[i].output.connected ? panel_new_geometry(&panel->screen[i]) : panel_tell_display(&panel->screen[i]);
	panel_offer_pointer(panel);
	panel_update_status(panel);
	panel_go_light(panel);
	panel_arm_tick(panel);
	return 0;
}

void panel_present(struct panel *panel, enum presentation presentation, uint64_t event_ns)
{
	if (presentation == panel->presentation)
		return;
	panel->presentation = presentation;
	panel_toggle_begins(panel, event_ns);
	/* Each at its own next vblank; the main one first, which is what is timed. */
	for (uint32_t i = 0; i < panel->n_screens; i++)
		panel_run_latch(&panel->screen[i], latch_news(&panel->screen[i].latch, true, clock_now_ns()));
}

void panel_toggle_figures(struct panel *panel)
{
	panel->figures = !panel->figures;
	worker_post(panel->worker, &(struct front_event){.type = FRONT_FIGURES, .figures = panel->figures});
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
	if (!panel->worker)
		return; /* panel_start() looks */
	if (active) {
		/* Nothing is known of what happened meanwhile. */
		panel->foreign = true;
		panel_go_light(panel);
		/* After our commit: the probe sees what that left, and does not keep it waiting. */
		panel_probe(panel);
		panel_look_for_card(panel);
	} else {
		panel_go_dark(panel);
	}
	panel_update_status(panel);
}

int panel_blank(struct panel *panel, bool blank)
{
	if (panel->blanked == blank)
		return 0;
	panel->blanked = blank;
	panel->blank_ns = 0;
	if (blank) {
		panel_go_dark(panel);
		if (panel_try_blank(panel) != 0) {
			int error = errno;
			panel->blanked = false;
			panel_go_light(panel);
			errno = error;
			return -1;
		}
	} else {
		panel_go_light(panel);
	}
	panel_update_status(panel);
	return 0;
}

bool panel_send(struct panel *panel, enum panel_face face, const struct link_message *message)
{
	struct link *link = panel->outbox[producer_of(face)].link;
	return link && link_send_to_producer(link, message);
}

void panel_geometry(const struct panel *panel, enum panel_face which, uint32_t *width, uint32_t *height, struct rect *picture)
{
	const struct output *output = &panel->screen[screen_of(which)].output;
	*width = output->width;
	*height = output->height;
	const struct face *face = &panel->face[which];
	*picture = strip_letterbox(panel->config.strip, face->width, face->height, *width, *height);
}

/* The screen that shows the output of this name, as its main one or a mirror; NULL: there is none. */
static const struct screen *named(const struct panel *panel, const char *name)
{
	const struct output *main = &panel->screen[0].output;
	for (uint32_t i = 0; main->connected && i < main->n_mirrors; i++)
		if (strcmp(main->mirror[i], name) == 0)
			return &panel->screen[0];
	for (uint32_t i = 0; i < panel->n_screens; i++)
		if (panel->screen[i].output.connected && !panel->screen[i].off && strcmp(panel->screen[i].output.name, name) == 0)
			return &panel->screen[i];
	return NULL;
}

bool panel_screenshot(struct panel *panel, const char *output, enum panel_shot what,
	void (*done)(void *data, uint32_t *pixels, uint32_t width, uint32_t height), void *data)
{
	const struct screen *screen = *output ? named(panel, output) : &panel->screen[0];
	if (!screen || (what == PANEL_SHOT_UI && screen->number > 0))
		return false;
	struct front_event event = {.type = FRONT_SHOT, .face = panel_wanted_face(screen), .set = screen->set};
	if (what != PANEL_SHOT_SCREEN)
		event.face = what == PANEL_SHOT_UI ? PANEL_FACE_UI : (enum panel_face)(PANEL_FACE_GUEST + screen->number);
	event.shot.what = what;
	event.shot.done = done;
	event.shot.data = data;
	if (what == PANEL_SHOT_SCREEN && screen->now.valid) {
		event.face = screen->now.face;
		event.set = screen->now.set;
		event.index = screen->now.index;
		event.shot.on_screen = true;
	}
	return worker_post(panel->worker, &event);
}

bool panel_work(struct panel *panel, void (*run)(void *data, struct backend *backend), void *data)
{
	return panel->card == PANEL_CARD_HERE && worker_post(panel->worker, &(struct front_event){.type = FRONT_WORK, .work = {.run = run, .data = data}});
}
