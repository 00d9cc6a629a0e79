#define LOG_MODULE "worker"
#include "kms/worker_private.h"

#include "base/stats.h"

#define MESSAGES_PER_TURN 256 /* of one producer, so that none keeps the others from the panel */

const struct link_head *worker_head(struct worker *worker, enum panel_face face)
{
	if (!worker->face[face].present)
		return NULL;
	const struct link_head *head = link_table_head(worker->producer[worker->face[face].producer].table, worker->face[face].head);
	return head && head->buffer ? head : NULL;
}

const uint8_t *worker_pixels(struct worker *worker, enum panel_face face)
{
	return link_pixels(worker->producer[worker->face[face].producer].link);
}

static void tell_news(struct worker *worker, enum panel_face face, uint64_t sequence, uint32_t w, uint32_t h)
{
	struct face_news *news = &worker->config.news[face];
	uint64_t size = (uint64_t)w << 32 | h;
	if (sequence)
		atomic_store(&news->sequence, sequence);
	atomic_store(&news->size, size);
	if (size == worker->face[face].told_size && worker->visible & 1u << face)
		return;
	struct worker_event event = {.type = WORKER_NEWS, .face = face};
	if (!atomic_exchange(&news->pending, true) && !mailbox_post(worker->config.events, &event))
		atomic_store(&news->pending, false);
	else
		worker->face[face].told_size = size;
}

void worker_set_visible(struct worker *worker, uint32_t visible)
{
	uint32_t hidden = worker->visible & ~visible;
	worker->visible = visible;
	for (uint32_t f = 0; f < PANEL_FACES; f++) {
		const struct link_head *head = hidden & 1u << f ? worker_head(worker, (enum panel_face)f) : NULL;
		if (head)
			tell_news(worker, (enum panel_face)f, head->sequence, head->source.w, head->source.h);
	}
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
	const struct link_head *head = worker_head(worker, face);
	uint32_t left_out;
	if (!blit_format_supported(head->buffer->format) && log_limit_pass(&worker->producer[p].limit, &left_out))
		log_warn("%s: picture in format %.4s cannot be shown (%u like it left out)", p == 0 ? "UI" : "guest",
			(const char *)&head->buffer->format, left_out);
	struct set *sets = worker->set[screen_of(face)];
	for (uint32_t s = 0; s < SETS; s++)
		for (uint32_t i = 0; i < FACE_BUFFERS; i++)
			if (sets[s].number)
				damage_add(&sets[s].fb[face][i].damage, damage);
	worker->face[face].fresh = rect_union(worker->face[face].fresh, damage);
	if (face == PANEL_FACE_GUEST)
		imports_damage(&worker->imports, damage);
	worker->face[face].outstanding = true;
	if (face >= PANEL_FACE_GUEST)
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
	struct pointer_plane *plane = &worker->pointer[p];
	if (message->cursor.buffer.id != 0) {
		const struct link_buffer *buffer = link_table_find(table, message->cursor.buffer);
		face->cursor.loaded = buffer && blit_read_cursor(face->cursor.picture.image, link_pixels(worker->producer[p].link), buffer);
		plane->stale |= worker_pointed(which);
	}
	const struct link_head *head = worker_head(worker, which);
	struct rect old = head ? worker_cursor_rect(face, head) : (struct rect){0};
	face->cursor.visible = message->cursor.visible;
	face->cursor.x = message->cursor.x;
	face->cursor.y = message->cursor.y;
	face->cursor.hot_x = min_u32(message->cursor.hot_x, LINK_CURSOR_SIDE - 1);
	face->cursor.hot_y = min_u32(message->cursor.hot_y, LINK_CURSOR_SIDE - 1);
	face->cursor.serial++;
	if (!head || (worker_pointed(which) && plane->in_use))
		return; /* no picture changes */
	struct rect now = worker_cursor_rect(face, head);
	face->outstanding = true;
	if (which >= PANEL_FACE_GUEST)
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

void worker_read_producer(struct worker *worker, uint32_t p, bool readable)
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
	if (readable)
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

void worker_need_pages(struct worker *worker, struct link *link)
{
	const struct backend *backend = worker->config.backend;
	/*
	 * The next card may show them where this one does not. Of a machine apart that is no reason to keep what a dma-buf that can be written might be made
	 * of: its next start is shown so.
	 */
	bool later = backend->ops->open_card && !link_is_apart(link);
	if (!backend->ops->import_buffer || (backend->copies[0] && !later) || worker->config.strip != PANEL_STRIP_OFF)
		link_forget_pixels_fd(link);
}

void worker_tell_joined(struct worker *worker)
{
	struct worker_event event = {.type = WORKER_JOINED};
	worker->joined_due = !mailbox_post(worker->config.events, &event);
}

void worker_join_faces(struct worker *worker)
{
	for (uint32_t h = 0; h < worker->config.screens; h++) {
		enum panel_face face = (enum panel_face)(PANEL_FACE_GUEST + h);
		worker->face[face] = (struct face){.producer = 1, .head = h, .present = worker->producer[1].link != NULL};
		for (uint32_t s = 0; s < SETS; s++) {
			for (uint32_t i = 0; i < FACE_BUFFERS; i++) {
				struct framebuffer *fb = &worker->set[h][s].fb[face][i];
				fb->drawn = false;
				fb->cursor = (struct rect){0};
				fb->cursor_serial = 0;
			}
		}
		atomic_store(&worker->config.news[face].sequence, 0);
		atomic_store(&worker->config.news[face].size, 0);
	}
}

void worker_join(struct worker *worker, struct link *link, uint32_t epoch)
{
	struct producer *producer = &worker->producer[1];
	struct log_limit limit = producer->limit;
	link_table_destroy(producer->table);
	if (producer->owned)
		link_destroy(producer->link);
	*producer = (struct producer){.link = link, .epoch = epoch, .owned = true, .limit = limit};
	if (link) {
		worker_need_pages(worker, link);
		producer->table = link_table_create(link_pixels_size(link));
		if (!producer->table) {
			log_error("no memory for the guest's pictures");
			link_destroy(link);
			producer->link = NULL;
		}
	}
	imports_orphan(&worker->imports);
	worker->gone_due = true;
	worker_join_faces(worker);
	worker_tell_joined(worker);
}
