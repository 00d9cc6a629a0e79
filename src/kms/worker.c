#define LOG_MODULE "worker"
#include "kms/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/stats.h"
#include "base/thread.h"
#include "kms/blit.h"
#include "kms/damage.h"
#include "kms/letterbox.h"
#include "link/table.h"

#define MESSAGES_PER_TURN 256 /* of one producer, so that none keeps the others from the panel */
#define SETS 3                /* of framebuffers: the present one, and those still on the screen after a mode change */
#define RETRY_MS 4            /* when a mailbox to the front is full */
#define ROOM 16               /* of it that pictures leave to news, of which none may be lost */
#define DIRECT_NS 2000000ull  /* between two frames in buffers of the guest's: faster than any panel, and no guest keeps the front busy */
#define REFUSALS 4            /* of buffers in a row, none shown between them: the card shows none of them */
#define SHOTS 8               /* pictures for people asked for at once: the rest of the mailbox is the front's */

struct framebuffer {
	struct scanout_buffer buffer;
	bool made, free;
	bool drawn;           /* source and dest say what is in it */
	struct rect source, dest;
	struct damage damage; /* of the producer's picture since it was drawn here, buffer coordinates */
	struct rect cursor;   /* where the pointer picture was blended in, buffer coordinates */
	uint64_t cursor_serial;
};

struct set {
	uint32_t number; /* 0: unused */
	uint32_t width, height;
	bool failed;
	struct framebuffer fb[PANEL_FACES][FACE_BUFFERS];
};

struct face {
	uint32_t producer, head;
	bool present;     /* there is a producer */
	bool outstanding; /* a frame that is in no framebuffer yet */
	uint64_t next_ns; /* not before, while hidden */
	struct rect touched; /* target damage not yet told to the front */
	struct rect fresh;   /* damage of the producer's picture since the front was told of one, buffer coordinates */
	bool direct;         /* what the front was told of last is the guest's own buffer */
	struct {
		bool visible, loaded;
		int32_t x, y;    /* on the head */
		uint64_t serial; /* counts changes */
		struct blit_cursor picture;
	} cursor;
};

struct producer {
	struct link *link; /* NULL: none */
	struct link_table *table;
	uint32_t epoch; /* counts links of the guest */
	bool owned;     /* the link is the worker's to destroy */
	bool stuck; /* `held` could not be posted: nothing is read until it can */
	struct worker_chatter held;
	bool more; /* its ring was not empty when its turn ended */
	struct log_limit limit;
};

struct worker {
	struct worker_config config;
	struct mailbox *inbox;
	_Atomic uint32_t shots; /* asked for and not answered */
	pthread_t thread;
	bool running, quit;
	struct producer producer[2]; /* 0 the UI, 1 the guest */
	struct face face[PANEL_FACES];
	struct set set[SETS];
	struct imports imports; /* of the guest's */
	uint64_t serial;
	bool ready_due; /* WORKER_READY found no room */
	struct log_limit import_limit;
	uint32_t current; /* number of the set drawn into; 0: no output */
	uint32_t visible;
	bool joined_due; /* WORKER_JOINED found no room */
	bool gone_due;   /* WORKER_GONE follows when nothing is left */
	uint32_t refusals; /* in a row */
	struct blit_scratch scratch;
};

static struct set *find_set(struct worker *worker, uint32_t number)
{
	for (uint32_t i = 0; number && i < SETS; i++)
		if (worker->set[i].number == number)
			return &worker->set[i];
	return NULL;
}

static void free_set(struct worker *worker, struct set *set)
{
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		for (uint32_t i = 0; i < FACE_BUFFERS; i++)
			if (set->fb[f][i].made)
				worker->config.backend->ops->free_buffer(worker->config.backend, &set->fb[f][i].buffer);
	memset(set, 0, sizeof(*set));
}

static struct framebuffer *free_framebuffer(struct worker *worker, struct set *set, enum panel_face face, uint32_t *index)
{
	for (uint32_t i = 0; i < FACE_BUFFERS; i++) {
		struct framebuffer *fb = &set->fb[face][i];
		if (!fb->made) {
			struct backend *backend = worker->config.backend;
			if (set->failed)
				return NULL;
			if (backend->ops->make_buffer(backend, set->width, set->height, &fb->buffer) != 0) {
				log_error("no framebuffer of %ux%u: %s; a smaller mode may help", set->width, set->height, strerror(errno));
				set->failed = true;
				return NULL;
			}
			fb->made = fb->free = true;
		}
		if (fb->free) {
			*index = i;
			return fb;
		}
	}
	return NULL;
}

static const struct link_head *head_of(struct worker *worker, enum panel_face face)
{
	if (!worker->face[face].present)
		return NULL;
	const struct link_head *head = link_table_head(worker->producer[worker->face[face].producer].table, worker->face[face].head);
	return head && head->buffer ? head : NULL;
}

static const uint8_t *memory_of(struct worker *worker, enum panel_face face)
{
	return link_pixels(worker->producer[worker->face[face].producer].link);
}

static bool same_rect(struct rect a, struct rect b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

/* The part of the source that the pointer picture covers now. */
static struct rect cursor_rect(const struct face *face, const struct link_head *head)
{
	if (!face->cursor.visible || !face->cursor.loaded)
		return (struct rect){0};
	int64_t x0 = (int64_t)head->source.x + face->cursor.x, y0 = (int64_t)head->source.y + face->cursor.y;
	int64_t x1 = x0 + LINK_CURSOR_SIDE, y1 = y0 + LINK_CURSOR_SIDE;
	x0 = x0 < 0 ? 0 : x0;
	y0 = y0 < 0 ? 0 : y0;
	if (x1 <= x0 || y1 <= y0)
		return (struct rect){0};
	/* Sides are at most LINK_CURSOR_SIDE now, positions below 2^32 + LINK_MAX_SIDE: beyond 2^32 is outside any source. */
	if (x0 > UINT32_MAX || y0 > UINT32_MAX)
		return (struct rect){0};
	return rect_intersect((struct rect){(uint32_t)x0, (uint32_t)y0, (uint32_t)(x1 - x0), (uint32_t)(y1 - y0)}, head->source);
}

/* The pointer picture, placed on the source; NULL when there is none to be seen. */
static const struct blit_cursor *cursor_picture(struct face *face, const struct link_head *head)
{
	face->cursor.picture.x = (int64_t)head->source.x + face->cursor.x;
	face->cursor.picture.y = (int64_t)head->source.y + face->cursor.y;
	return face->cursor.visible && face->cursor.loaded ? &face->cursor.picture : NULL;
}

/* Brings a framebuffer up to the face's newest frame. */
static void draw(struct worker *worker, enum panel_face face, const struct link_head *head, struct framebuffer *fb)
{
	struct blit_target target = {fb->buffer.pixels, fb->buffer.pitch, fb->buffer.width, fb->buffer.height};
	struct rect dest = letterbox(head->source.w, head->source.h, target.width, target.height);
	struct face *state = &worker->face[face];
	struct rect touched, cursor = cursor_rect(state, head);
	uint64_t bytes = 0;

	if (fb->cursor_serial != state->cursor.serial) {
		/* Where the pointer was comes back from the producer's pages. */
		damage_add(&fb->damage, fb->cursor);
		damage_add(&fb->damage, cursor);
	}
	if (!fb->drawn || !same_rect(fb->source, head->source) || !same_rect(fb->dest, dest)) {
		blit_bars(&target, dest);
		worker->face[face].touched = (struct rect){0, 0, target.width, target.height};
		damage_clear(&fb->damage);
		damage_add(&fb->damage, head->source);
	}
	for (uint32_t i = 0; i < fb->damage.n; i++) {
		bytes += blit_picture(&target, dest, memory_of(worker, face), head->buffer, head->source, fb->damage.r[i], NULL, &worker->scratch, &touched);
		worker->face[face].touched = rect_union(worker->face[face].touched, touched);
	}
	struct rect bounds = damage_bounds(&fb->damage), hit = rect_intersect(bounds, cursor);
	if (!rect_empty(&hit)) {
		bytes += blit_picture(&target, dest, memory_of(worker, face), head->buffer, head->source, cursor,
			cursor_picture(state, head), &worker->scratch, &touched);
		state->touched = rect_union(state->touched, touched);
	}
	fb->cursor = cursor;
	fb->cursor_serial = state->cursor.serial;
	damage_clear(&fb->damage);
	fb->drawn = true;
	fb->source = head->source;
	fb->dest = dest;
	if (face == PANEL_FACE_GUEST)
		atomic_fetch_add_explicit(&worker->config.stats->bytes_copied, bytes, memory_order_relaxed);
}

/*
 * The guest's own buffer, where it can go to the screen as it is: the output's size, a format that the plane has, no pointer picture to be
 * blended in. NULL: copy.
 */
static struct import *import_of(struct worker *worker, const struct set *set, const struct link_head *head, uint64_t now)
{
	struct backend *backend = worker->config.backend;
	const struct face *face = &worker->face[PANEL_FACE_GUEST];
	const struct backend_pages pages = {link_pixels_fd(worker->producer[1].link), head->buffer, head->source};
	uint32_t left_out;
	int why;
	if (!backend->ops->import_buffer || backend->copies[0] || worker->refusals >= REFUSALS || pages.fd < 0 || head->source.w != set->width || head->source.h != set->height ||
		!blit_format_is_xrgb(head->buffer->format) || (face->cursor.visible && face->cursor.loaded))
		return NULL;
	struct import *import = imports_find(&worker->imports, backend, set->number, &pages, now, &why);
	if (why && log_limit_pass(&worker->import_limit, &left_out))
		log_info("a picture of the guest's is copied: %s (%u like it left out)", strerror(why), left_out);
	return import;
}

/* The framebuffer for the face's newest frame: the guest's buffer, or a free one that the frame is copied into. False: none is free. */
static bool prepare(struct worker *worker, enum panel_face face, struct set *set, const struct link_head *head, uint64_t now, struct worker_event *event)
{
	struct face *state = &worker->face[face];
	struct import *import = face == PANEL_FACE_GUEST ? import_of(worker, set, head, now) : NULL;
	const struct rect everything = {0, 0, set->width, set->height};
	if (import) {
		if (worker->config.backend->flush)
			blit_flush(memory_of(worker, face), head->buffer, rect_intersect(import->stale, head->source));
		import->stale = (struct rect){0};
		struct rect fresh = rect_intersect(state->fresh, head->source);
		event->index = (uint32_t)(FACE_BUFFERS + (import - worker->imports.slot));
		event->buffer = &import->buffer;
		event->damage = everything;
		if (state->direct)
			event->damage = rect_empty(&fresh) ? (struct rect){0} : (struct rect){fresh.x - head->source.x, fresh.y - head->source.y, fresh.w, fresh.h};
		return true;
	}
	struct framebuffer *fb = free_framebuffer(worker, set, face, &event->index);
	if (!fb)
		return false;
	draw(worker, face, head, fb);
	event->buffer = &fb->buffer;
	event->damage = state->direct ? everything : state->touched;
	return true;
}

/* Not before its time: while hidden, and for buffers of the guest's, which cost the guest nothing. */
static bool may_compose(const struct worker *worker, enum panel_face face, uint64_t now)
{
	const struct face *state = &worker->face[face];
	return now >= state->next_ns || (worker->visible & 1u << face && !state->direct);
}

/* Hands a face's outstanding frame to the front. */
static void compose(struct worker *worker, enum panel_face face, uint64_t now)
{
	struct set *set = find_set(worker, worker->current);
	const struct link_head *head = head_of(worker, face);
	struct face *state = &worker->face[face];
	if (!set || !head || !state->outstanding || (face == PANEL_FACE_GUEST && worker->joined_due))
		return;
	if (!may_compose(worker, face, now))
		return;
	if (!mailbox_has_room(worker->config.events, ROOM)) {
		worker->ready_due = true; /* the front has much to do; nothing is lost, a later turn does it */
		return;
	}
	struct worker_event event = {.type = WORKER_READY, .face = face, .set = set->number, .sequence = head->sequence, .serial = worker->serial + 1};
	if (!prepare(worker, face, set, head, now, &event))
		return;
	mailbox_post(worker->config.events, &event); /* there is room: nobody else posts */
	worker->serial++;
	state->direct = event.index >= FACE_BUFFERS;
	if (state->direct) {
		struct import *import = &worker->imports.slot[event.index - FACE_BUFFERS];
		import->held = true;
		import->serial = event.serial;
	} else {
		set->fb[face][event.index].free = false;
	}
	state->touched = state->fresh = (struct rect){0};
	state->outstanding = false;
	/* Nothing is copied for a buffer of the guest's, and the guest may go on drawing into the one before: a toggle finds the newest. */
	state->next_ns = now + (state->direct ? DIRECT_NS : WORKER_HIDDEN_NS);
}

static void tell_news(struct worker *worker, enum panel_face face, uint64_t sequence, uint32_t w, uint32_t h)
{
	struct face_news *news = &worker->config.news[face];
	if (sequence)
		atomic_store(&news->sequence, sequence);
	atomic_store(&news->size, (uint64_t)w << 32 | h);
	if (atomic_exchange(&news->pending, true))
		return;
	struct worker_event event = {.type = WORKER_NEWS, .face = face};
	if (!mailbox_post(worker->config.events, &event))
		atomic_store(&news->pending, false);
}

static enum panel_face face_of(const struct worker *worker, uint32_t producer, uint32_t head)
{
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		if (worker->face[f].present && worker->face[f].producer == producer && worker->face[f].head == head)
			return (enum panel_face)f;
	return PANEL_FACES;
}

static void frame_changed(struct worker *worker, uint32_t p, uint32_t untrusted_head)
{
	enum panel_face face = face_of(worker, p, untrusted_head);
	struct rect damage = link_table_take_damage(worker->producer[p].table, untrusted_head);
	if (face == PANEL_FACES)
		return;
	const struct link_head *head = head_of(worker, face);
	uint32_t left_out;
	if (!blit_format_supported(head->buffer->format) && log_limit_pass(&worker->producer[p].limit, &left_out))
		log_warn("%s: picture in format %.4s cannot be shown (%u like it left out)", p == 0 ? "UI" : "guest",
			(const char *)&head->buffer->format, left_out);
	for (uint32_t s = 0; s < SETS; s++)
		for (uint32_t i = 0; i < FACE_BUFFERS; i++)
			if (worker->set[s].number)
				damage_add(&worker->set[s].fb[face][i].damage, damage);
	worker->face[face].fresh = rect_union(worker->face[face].fresh, damage);
	if (p == 1)
		imports_damage(&worker->imports, damage);
	worker->face[face].outstanding = true;
	if (face == PANEL_FACE_GUEST)
		atomic_fetch_add_explicit(&worker->config.stats->bytes_damaged, (uint64_t)damage.w * damage.h * 4, memory_order_relaxed);
	tell_news(worker, face, head->sequence, head->source.w, head->source.h);
}

/* A pointer picture moved or changed. Its buffer is read here and now: it may be dead a message later. */
static void cursor_changed(struct worker *worker, uint32_t p, const struct link_message *message)
{
	enum panel_face which = face_of(worker, p, message->head);
	if (which == PANEL_FACES)
		return;
	struct face *face = &worker->face[which];
	struct link_table *table = worker->producer[p].table;
	if (message->cursor.buffer.id != 0) {
		const struct link_buffer *buffer = link_table_find(table, message->cursor.buffer);
		face->cursor.loaded = buffer && blit_read_cursor(face->cursor.picture.image, link_pixels(worker->producer[p].link), buffer);
	}
	const struct link_head *head = head_of(worker, which);
	struct rect old = head ? cursor_rect(face, head) : (struct rect){0};
	face->cursor.visible = message->cursor.visible;
	face->cursor.x = message->cursor.x;
	face->cursor.y = message->cursor.y;
	face->cursor.serial++;
	if (!head)
		return;
	struct rect now = cursor_rect(face, head);
	face->outstanding = true;
	if (which == PANEL_FACE_GUEST)
		atomic_fetch_add_explicit(&worker->config.stats->bytes_damaged, ((uint64_t)old.w * old.h + (uint64_t)now.w * now.h) * 4, memory_order_relaxed);
}

/* False when the mailbox is full: kept, and the producer waits. */
static bool chat(struct worker *worker, uint32_t p, const struct worker_chatter *chatter)
{
	struct producer *producer = &worker->producer[p];
	if (mailbox_post(worker->config.chatter, chatter))
		return true;
	producer->held = *chatter;
	producer->stuck = true;
	return false;
}

/* Tells the producer of each buffer of which nothing is kept any more. False when the mailbox is full. */
static bool tell_released(struct worker *worker, uint32_t p)
{
	struct producer *producer = &worker->producer[p];
	struct worker_chatter released = {
		.face = p == 0 ? PANEL_FACE_UI : PANEL_FACE_GUEST,
		.epoch = producer->epoch,
		.released = true,
		.message = {.type = LINK_RELEASED},
	};
	struct link_buffer_id *name = &released.message.dead;
	while (link_table_next_released(producer->table, name))
		if ((p != 1 || !imports_dead(&worker->imports, *name)) && !chat(worker, p, &released))
			return false;
	while (p == 1 && imports_settle(&worker->imports, worker->config.backend, name))
		if (!chat(worker, p, &released))
			return false;
	return true;
}

static void read_producer(struct worker *worker, uint32_t p)
{
	struct producer *producer = &worker->producer[p];
	enum panel_face main_face = p == 0 ? PANEL_FACE_UI : PANEL_FACE_GUEST;
	struct link_message message;
	const char *why;
	uint32_t left_out;

	if (producer->stuck) {
		producer->stuck = false;
		struct worker_chatter held = producer->held;
		if (!chat(worker, p, &held))
			return;
	}
	link_ack_panel(producer->link);
	producer->more = true;
	for (uint32_t i = 0; i < MESSAGES_PER_TURN; i++) {
		if (!tell_released(worker, p))
			return;
		if (!link_receive_for_panel(producer->link, &message)) {
			producer->more = false;
			return;
		}
		switch (link_table_take(producer->table, &message, &why)) {
		case LINK_CHANGE_FRAME:
			frame_changed(worker, p, message.head);
			break;
		case LINK_CHANGE_NO_FRAME: {
			enum panel_face face = face_of(worker, p, message.head);
			if (face != PANEL_FACES) {
				worker->face[face].outstanding = false;
				tell_news(worker, face, 0, 0, 0);
			}
			break;
		}
		case LINK_CHANGE_OTHER: {
			if (message.type == LINK_CURSOR) {
				cursor_changed(worker, p, &message);
				break;
			}
			struct worker_chatter chatter = {.face = main_face, .epoch = producer->epoch, .message = message};
			if (!chat(worker, p, &chatter))
				return;
			break;
		}
		case LINK_CHANGE_REFUSED:
			if (log_limit_pass(&producer->limit, &left_out))
				log_warn("%s: message ignored: %s (%u like it left out)", p == 0 ? "UI" : "guest", why, left_out);
			break;
		case LINK_CHANGE_NONE:
			break;
		}
	}
}

/* No more than is needed is kept of a machine's memory. */
static void need_pages(struct worker *worker, struct link *link)
{
	const struct backend *backend = worker->config.backend;
	if (!backend->ops->import_buffer || backend->copies[0])
		link_forget_pixels_fd(link);
}

static void tell_joined(struct worker *worker)
{
	struct worker_event event = {.type = WORKER_JOINED};
	worker->joined_due = !mailbox_post(worker->config.events, &event);
}

/* Another machine, or none, is behind the guest's face. Nothing of the old one stays but pixels that nobody shows any more. */
static void join(struct worker *worker, struct link *link, uint32_t epoch)
{
	struct producer *producer = &worker->producer[1];
	struct log_limit limit = producer->limit;
	link_table_destroy(producer->table);
	if (producer->owned)
		link_destroy(producer->link);
	*producer = (struct producer){.link = link, .epoch = epoch, .owned = true, .limit = limit};
	if (link) {
		need_pages(worker, link);
		producer->table = link_table_create(link_pixels_size(link));
		if (!producer->table) {
			log_error("no memory for the guest's pictures");
			link_destroy(link);
			producer->link = NULL;
		}
	}
	imports_orphan(&worker->imports);
	worker->gone_due = true;
	worker->face[PANEL_FACE_GUEST] = (struct face){.producer = 1, .present = producer->link != NULL};
	for (uint32_t s = 0; s < SETS; s++) {
		for (uint32_t i = 0; i < FACE_BUFFERS; i++) {
			struct framebuffer *fb = &worker->set[s].fb[PANEL_FACE_GUEST][i];
			fb->drawn = false;
			fb->cursor = (struct rect){0};
			fb->cursor_serial = 0;
		}
	}
	atomic_store(&worker->config.news[PANEL_FACE_GUEST].sequence, 0);
	atomic_store(&worker->config.news[PANEL_FACE_GUEST].size, 0);
	tell_joined(worker);
}

static void new_geometry(struct worker *worker, uint32_t number, uint32_t width, uint32_t height)
{
	worker->current = 0;
	if (width == 0 || height == 0)
		return;
	struct set *set = NULL;
	for (uint32_t i = 0; i < SETS && !set; i++)
		if (worker->set[i].number == 0)
			set = &worker->set[i];
	if (!set) {
		/* The front drops the old sets at the first flip of a new one; several changes in between leave the middle ones unused. */
		set = &worker->set[0];
		for (uint32_t i = 1; i < SETS; i++)
			if (worker->set[i].number > set->number)
				set = &worker->set[i];
		free_set(worker, set);
	}
	set->number = number;
	set->width = width;
	set->height = height;
	worker->current = number;
	for (uint32_t f = 0; f < PANEL_FACES; f++) {
		worker->face[f].outstanding = head_of(worker, (enum panel_face)f) != NULL;
		worker->face[f].next_ns = 0;
		worker->face[f].touched = (struct rect){0, 0, width, height};
	}
}

/* A picture for people: never read from a mapping that may be write-combined, composed anew there. */
static void shoot(struct worker *worker, const struct front_event *event)
{
	uint32_t *pixels = NULL, width = 0, height = 0;
	enum panel_face face = event->shot.what == PANEL_SHOT_UI ? PANEL_FACE_UI : event->shot.what == PANEL_SHOT_GUEST ? PANEL_FACE_GUEST : event->face;
	const struct link_head *head = face < PANEL_FACES ? head_of(worker, face) : NULL;
	struct set *set = find_set(worker, event->set);

	if (event->shot.what == PANEL_SHOT_SCREEN && event->shot.on_screen && set && event->index < FACE_BUFFERS && set->fb[face][event->index].made &&
	    set->fb[face][event->index].buffer.readable) {
		const struct scanout_buffer *buffer = &set->fb[face][event->index].buffer;
		width = buffer->width;
		height = buffer->height;
		pixels = malloc((size_t)width * height * 4);
		for (uint32_t y = 0; pixels && y < height; y++)
			memcpy(pixels + (size_t)y * width, buffer->pixels + (size_t)y * buffer->pitch, (size_t)width * 4);
	} else if (head) {
		bool screen = event->shot.what == PANEL_SHOT_SCREEN && set;
		width = screen ? set->width : head->source.w;
		height = screen ? set->height : head->source.h;
		pixels = calloc((size_t)width * height, 4);
		if (pixels) {
			struct blit_target target = {(uint8_t *)pixels, width * 4, width, height};
			struct rect touched;
			const struct blit_cursor *picture = cursor_picture(&worker->face[face], head);
			blit_picture(&target, letterbox(head->source.w, head->source.h, width, height), memory_of(worker, face), head->buffer,
				head->source, head->source, picture, &worker->scratch, &touched);
		}
	}
	if (!pixels)
		width = height = 0;
	atomic_fetch_sub(&worker->shots, 1);
	event->shot.done(event->shot.data, pixels, width, height);
}

/* The front is done with a framebuffer, or it cannot be shown. */
static void free_or_mark(struct worker *worker, const struct front_event *event)
{
	struct set *set = find_set(worker, event->set);
	if (event->index < FACE_BUFFERS) {
		if (set)
			set->fb[event->face][event->index].free = true;
		return;
	}
	struct import *import = &worker->imports.slot[event->index - FACE_BUFFERS];
	if (event->type == FRONT_FREE) {
		if (import->serial != event->serial)
			return; /* a newer frame in it is on its way to the front */
		if (!import->refused)
			worker->refusals = 0;
		import_let_go(import, worker->config.backend, clock_now_ns());
		return;
	}
	if (!import->refused && ++worker->refusals == REFUSALS)
		log_info("the card shows none of the guest's own pages: copying from now on");
	import->refused = true;
	worker->face[PANEL_FACE_GUEST].outstanding = head_of(worker, PANEL_FACE_GUEST) != NULL;
	worker->face[PANEL_FACE_GUEST].next_ns = 0;
}

static void handle(struct worker *worker, const struct front_event *event)
{
	switch (event->type) {
	case FRONT_FREE:
	case FRONT_REFUSED:
		free_or_mark(worker, event);
		break;
	case FRONT_GEOMETRY:
		new_geometry(worker, event->set, event->width, event->height);
		break;
	case FRONT_DROP:
		for (uint32_t i = 0; i < SETS; i++)
			if (worker->set[i].number && worker->set[i].number < event->set)
				free_set(worker, &worker->set[i]);
		imports_drop_sets(&worker->imports, worker->config.backend, event->set);
		break;
	case FRONT_VISIBLE:
		worker->visible = event->visible;
		break;
	case FRONT_PROBE: {
		struct worker_event probed = {.type = WORKER_PROBED, .output = worker->config.backend->ops->probe(worker->config.backend)};
		if (!mailbox_post(worker->config.events, &probed))
			free(probed.output);
		break;
	}
	case FRONT_JOIN:
		join(worker, event->link, event->epoch);
		break;
	case FRONT_SHOT:
		shoot(worker, event);
		break;
	case FRONT_WORK:
		event->work.run(event->work.data, worker->config.backend);
		break;
	case FRONT_QUIT:
		worker->quit = true;
		break;
	}
}

/* Milliseconds until something is due without an event; -1: never. */
static int wait_ms(struct worker *worker, uint64_t now)
{
	int ms = worker->joined_due || worker->ready_due ? RETRY_MS : -1;
	for (uint32_t p = 0; p < 2; p++) {
		if (worker->producer[p].stuck)
			ms = RETRY_MS;
		else if (worker->producer[p].more)
			return 0;
	}
	for (uint32_t f = 0; worker->current && f < PANEL_FACES; f++) {
		struct face *face = &worker->face[f];
		if (!face->outstanding || may_compose(worker, (enum panel_face)f, now) || !head_of(worker, (enum panel_face)f))
			continue;
		/* Those whose time has come wait for a FREE. */
		if (face->next_ns > now) {
			int due = (int)((face->next_ns - now) / NSEC_PER_MSEC) + 1;
			ms = ms < 0 || due < ms ? due : ms;
		}
	}
	return ms;
}

static void *run(void *arg)
{
	struct worker *worker = arg;
	struct pollfd fds[3] = {{mailbox_fd(worker->inbox), POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}};

	while (!worker->quit) {
		/* A producer whose message is held is not listened to, or its eventfd would turn the loop. */
		for (uint32_t p = 0; p < 2; p++)
			fds[p + 1].fd = worker->producer[p].link && !worker->producer[p].stuck ? link_panel_fd(worker->producer[p].link) : -1;
		if (poll(fds, ARRAY_LEN(fds), wait_ms(worker, clock_now_ns())) < 0 && errno != EINTR) {
			log_error("poll: %s", strerror(errno));
			break;
		}
		struct front_event event;
		mailbox_ack(worker->inbox);
		while (mailbox_take(worker->inbox, &event))
			handle(worker, &event);
		if (worker->joined_due)
			tell_joined(worker);
		for (uint32_t p = 0; p < 2; p++)
			if (worker->producer[p].link)
				read_producer(worker, p);
		if (!worker->producer[1].link)
			imports_settle(&worker->imports, worker->config.backend, &(struct link_buffer_id){0}); /* nobody is to be told */
		if (worker->gone_due && !worker->joined_due && !imports_orphaned(&worker->imports))
			worker->gone_due = !mailbox_post(worker->config.events, &(struct worker_event){.type = WORKER_GONE});
		uint64_t now = clock_now_ns();
		worker->ready_due = false;
		for (uint32_t f = 0; f < PANEL_FACES; f++)
			compose(worker, (enum panel_face)f, now);
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
		worker->producer[p].link = config->link[of[p]];
		if (!config->link[of[p]])
			continue;
		if (p == 1)
			need_pages(worker, config->link[of[p]]);
		else
			link_forget_pixels_fd(config->link[of[p]]); /* only the guest's are ever shown from where they are */
		worker->producer[p].table = link_table_create(link_pixels_size(config->link[of[p]]));
		if (!worker->producer[p].table)
			goto fail;
		worker->face[of[p]] = (struct face){.producer = p, .present = true};
		if (of[p] == PANEL_FACE_UI)
			worker->face[PANEL_FACE_PLACEHOLDER] = (struct face){.producer = p, .head = 1, .present = true};
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
	for (uint32_t i = 0; i < SETS; i++)
		free_set(worker, &worker->set[i]);
	imports_free(&worker->imports, worker->config.backend);
	for (uint32_t p = 0; p < 2; p++) {
		link_table_destroy(worker->producer[p].table);
		if (worker->producer[p].owned)
			link_destroy(worker->producer[p].link);
	}
	if (worker->inbox)
		mailbox_destroy(worker->inbox);
	free(worker);
}
