#define LOG_MODULE "worker"
#include "kms/worker_private.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

#define RETRY_MS 4 /* when a mailbox to the front is full */
#define SHOTS 8    /* pictures for people asked for at once: the rest of the mailbox is the front's */

static void new_geometry(struct worker *worker, uint32_t screen, uint32_t number, uint32_t width, uint32_t height)
{
	struct set *sets = worker->set[screen];
	worker->current[screen] = 0;
	if (width == 0 || height == 0)
		return;
	struct set *set = NULL;
	for (uint32_t i = 0; i < SETS && !set; i++)
		if (sets[i].number == 0)
			set = &sets[i];
	if (!set) {
		/* The front drops the old sets at the first flip of a new one; several changes in between leave the middle ones unused. */
		set = &sets[0];
		for (uint32_t i = 1; i < SETS; i++)
			if (sets[i].number > set->number)
				set = &sets[i];
		worker_free_set(worker, set);
	}
	set->number = number;
	set->width = width;
	set->height = height;
	set->black_due = screen > 0;
	worker->current[screen] = number;
	for (uint32_t f = 0; f < PANEL_FACES; f++) {
		if (screen_of((enum panel_face)f) != screen)
			continue;
		worker->face[f].outstanding = worker_head(worker, (enum panel_face)f) != NULL;
		worker->face[f].next_ns = 0;
		worker->face[f].touched = (struct rect){0, 0, width, height};
	}
}

static void tell_left(struct worker *worker)
{
	worker->left_due = !mailbox_post(worker->config.events, &(struct worker_event){.type = WORKER_LEFT});
}

/* The card is gone, and with it all that was made for it. What it would not show is no news of the next one. */
static void leave_card(struct worker *worker)
{
	struct backend *backend = worker->config.backend;
	worker_free_sets(worker);
	imports_lose(&worker->imports, backend);
	for (uint32_t p = 0; p < POINTER_PRODUCERS; p++) {
		pointer_plane_end(&worker->pointer[p], backend, &worker->config.pointer[p]);
		atomic_store(&worker->config.pointer[p].state, 0);
	}
	memset(&worker->ladder, 0, sizeof(worker->ladder));
	memset(worker->current, 0, sizeof(worker->current));
	tell_left(worker);
}

static void handle(struct worker *worker, const struct front_event *event)
{
	switch (event->type) {
	case FRONT_FREE:
	case FRONT_REFUSED:
		worker_take_back(worker, event);
		break;
	case FRONT_LEND:
		worker_lent(worker, event);
		break;
	case FRONT_GEOMETRY:
		new_geometry(worker, event->screen, event->set, event->width, event->height);
		break;
	case FRONT_DROP:
		for (uint32_t i = 0; i < SETS; i++) {
			struct set *set = &worker->set[event->screen][i];
			if (set->number && set->number < event->set)
				worker_free_set(worker, set);
		}
		if (event->screen == 0)
			imports_drop_sets(&worker->imports, worker->config.backend, event->set);
		break;
	case FRONT_VISIBLE:
		worker_set_visible(worker, event->visible);
		for (uint32_t p = 0; p < POINTER_PRODUCERS; p++)
			worker->pointer[p].next_ns = 0;
		break;
	case FRONT_POINTER:
		for (uint32_t p = 0; p < POINTER_PRODUCERS; p++)
			worker->pointer[p].allowed = event->pointer_plane;
		break;
	case FRONT_POINTER_FREE:
		pointer_free(&worker->pointer[event->producer], event->index);
		break;
	case FRONT_FIGURES:
		worker_show_figures(worker, event->figures, clock_now_ns());
		break;
	case FRONT_REDRAW:
		worker_redraw(worker);
		break;
	case FRONT_PROBE: {
		struct worker_event probed = {.type = WORKER_PROBED, .fulls = event->fulls, .output = worker->config.backend->ops->probe(worker->config.backend)};
		if (!probed.output && errno == ENODEV)
			probed.type = WORKER_LOST;
		if (!mailbox_post(worker->config.events, &probed))
			free(probed.output);
		break;
	}
	case FRONT_LEAVE:
		leave_card(worker);
		break;
	case FRONT_JOIN:
		worker_join(worker, event->link, event->epoch);
		break;
	case FRONT_SHOT:
		worker_shoot(worker, event);
		break;
	case FRONT_WORK:
		event->work.run(event->work.data, worker->config.backend);
		break;
	case FRONT_QUIT:
		worker->quit = true;
		break;
	}
}

/* ms (-1: never), or the milliseconds until at_ns if those are fewer. */
static int earlier(int ms, uint64_t at_ns, uint64_t now)
{
	int due = at_ns > now ? (int)((at_ns - now) / NSEC_PER_MSEC) + 1 : 0;
	return ms < 0 || due < ms ? due : ms;
}

/* Milliseconds until something is due without an event; -1: never. */
static int wait_ms(struct worker *worker, uint64_t now)
{
	int ms = worker->joined_due || worker->left_due || worker->ready_due ? RETRY_MS : -1;
	for (uint32_t p = 0; p < 2; p++) {
		if (worker->producer[p].stuck)
			ms = RETRY_MS;
		else if (worker->producer[p].more)
			return 0;
	}
	if (worker->figures.on && worker->visible)
		ms = earlier(ms, worker->figures.due_ns, now);
	for (uint32_t p = 0; p < POINTER_PRODUCERS; p++) {
		const struct pointer_plane *plane = &worker->pointer[p];
		if (plane->due)
			ms = plane->next_ns > now ? earlier(ms, plane->next_ns, now) : ms < 0 || ms > RETRY_MS ? RETRY_MS : ms;
	}
	for (uint32_t s = 1; s < worker->config.screens; s++) {
		const struct set *set = worker_find_set(worker, worker->current[s]);
		if (set && set->black_due && set->retry_ns && set->retry_ns != UINT64_MAX)
			ms = earlier(ms, set->retry_ns, now);
	}
	for (uint32_t f = 0; f < PANEL_FACES; f++) {
		struct face *face = &worker->face[f];
		const struct set *set = worker_current(worker, (enum panel_face)f);
		if (!set || !face->outstanding || !worker_head(worker, (enum panel_face)f))
			continue;
		/* Those whose time has come wait for a FREE, or for a framebuffer that can be made. */
		bool may = worker_may_compose(worker, (enum panel_face)f, now);
		if (may && set->retry_ns && set->retry_ns != UINT64_MAX)
			ms = earlier(ms, set->retry_ns, now);
		else if (!may && face->next_ns > now)
			ms = earlier(ms, face->next_ns, now);
		if (may && face->wait_ns)
			ms = earlier(ms, face->wait_ns, now);
	}
	return ms;
}

/* What is done now wakes nobody who sleeps: before a sleep a frame that waits for a framebuffer says so, and looks once more. */
static bool may_sleep(struct worker *worker)
{
	bool hungry = false;
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		hungry |= worker->face[f].outstanding;
	if (!hungry) {
		atomic_store(&worker->hungry, false);
		return true;
	}
	/* Of the two exchanges, here and in worker_post(), the later one sees what went before the other: the message, or the wish to be woken. */
	atomic_exchange(&worker->hungry, true);
	return !mailbox_waiting(worker->inbox);
}

static void *run(void *arg)
{
	struct worker *worker = arg;
	struct pollfd fds[3] = {{mailbox_fd(worker->inbox), POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}};

	while (!worker->quit) {
		/* A producer whose message is held is not listened to, or its eventfd would turn the loop. */
		for (uint32_t p = 0; p < 2; p++)
			fds[p + 1].fd = worker->producer[p].link && !worker->producer[p].stuck ? link_panel_fd(worker->producer[p].link) : -1;
		if (poll(fds, ARRAY_LEN(fds), may_sleep(worker) ? wait_ms(worker, clock_now_ns()) : 0) < 0 && errno != EINTR) {
			log_error("poll: %s", strerror(errno));
			break;
		}
		struct front_event event;
		if (fds[0].revents)
			mailbox_ack(worker->inbox);
		while (mailbox_take(worker->inbox, &event))
			handle(worker, &event);
		if (worker->joined_due)
			worker_tell_joined(worker);
		if (worker->left_due)
			tell_left(worker);
		for (uint32_t p = 0; p < 2; p++)
			if (worker->producer[p].link)
				worker_read_producer(worker, p, fds[p + 1].revents != 0);
		if (!worker->producer[1].link)
			imports_settle(&worker->imports, worker->config.backend, &(struct link_buffer_id){0}); /* nobody is to be told */
		if (worker->gone_due && !worker->joined_due && !imports_orphaned(&worker->imports))
			worker->gone_due = !mailbox_post(worker->config.events, &(struct worker_event){.type = WORKER_GONE});
		uint64_t now = clock_now_ns();
		worker->ready_due = false;
		worker_refresh_figures(worker, now);
		worker_update_pointers(worker, now);
		for (uint32_t f = 0; f < PANEL_FACES; f++)
			worker_compose(worker, (enum panel_face)f, now);
		for (uint32_t s = 1; s < worker->config.screens; s++)
			worker_offer_black(worker, s);
	}
	return NULL;
}

struct worker *worker_create(const struct worker_config *config)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	if (!worker)
		return NULL;
	worker->config = *config;
	worker->inbox = mailbox_create(1024, sizeof(struct front_event));
	if (!worker->inbox)
		goto fail;
	const enum panel_face of[2] = {PANEL_FACE_UI, PANEL_FACE_GUEST};
	for (uint32_t p = 0; p < 2; p++) {
		worker->pointer[p].producer = p;
		worker->producer[p].link = config->link[of[p]];
		if (!config->link[of[p]])
			continue;
		if (p == 1)
			worker_need_pages(worker, config->link[of[p]]);
		else
			link_forget_pixels_fd(config->link[of[p]]); /* only the guest's are ever shown from where they are */
		worker->producer[p].table = link_table_create(link_pixels_size(config->link[of[p]]));
		if (!worker->producer[p].table)
			goto fail;
		if (p == 1) {
			worker_join_faces(worker);
		} else {
			worker->face[PANEL_FACE_UI] = (struct face){.producer = p, .present = true};
			worker->face[PANEL_FACE_PLACEHOLDER] = (struct face){.producer = p, .head = 1, .present = true};
		}
	}
	return worker;
fail:
	worker_destroy(worker);
	return NULL;
}

int worker_start(struct worker *worker)
{
	if (thread_start(&worker->thread, "worker", 0, run, worker) != 0)
		return -1;
	worker->running = true;
	return 0;
}

bool worker_post(struct worker *worker, const struct front_event *event)
{
	if (event->type == FRONT_LEND || (event->type == FRONT_FREE && event->index < FACE_BUFFERS)) {
		/* A framebuffer of the worker's own is of no use to it before there is a frame for it. */
		bool posted = mailbox_post_quietly(worker->inbox, event);
		if (atomic_exchange(&worker->hungry, false))
			mailbox_wake(worker->inbox);
		return posted;
	}
	if (event->type != FRONT_SHOT)
		return mailbox_post(worker->inbox, event);
	if (atomic_fetch_add(&worker->shots, 1) < SHOTS && mailbox_post(worker->inbox, event))
		return true;
	atomic_fetch_sub(&worker->shots, 1);
	return false;
}

void worker_destroy(struct worker *worker)
{
	if (!worker)
		return;
	if (worker->running) {
		struct front_event quit = {.type = FRONT_QUIT};
		while (!worker_post(worker, &quit))
			poll(NULL, 0, 1);
		pthread_join(worker->thread, NULL);
		/* Shots that came behind the end are answered, their askers wait. */
		struct front_event event;
		while (mailbox_take(worker->inbox, &event))
			if (event.type == FRONT_SHOT)
				event.shot.done(event.shot.data, NULL, 0, 0);
			else if (event.type == FRONT_JOIN)
				link_destroy(event.link);
	}
	worker_free_sets(worker);
	imports_free(&worker->imports, worker->config.backend);
	for (uint32_t p = 0; p < 2; p++) {
		pointer_plane_end(&worker->pointer[p], worker->config.backend, &worker->config.pointer[p]);
		link_table_destroy(worker->producer[p].table);
		if (worker->producer[p].owned)
			link_destroy(worker->producer[p].link);
	}
	if (worker->inbox)
		mailbox_destroy(worker->inbox);
	free(worker);
}
