/*
 * K1: any bytes from a compromised producer in a link's rings, indices and pixels, read by the panel's worker and drawn.
 * Also the other way round: the worker's and front's answers read by a producer whose ring was written over.
 *
 * The sources are included, not linked: the rings are written as the other process could write them, and the worker's steps
 * are called one by one in this thread, so that an input does the same each time. Framebuffers and pixels lie between
 * ASan's redzones.
 */
#include "link/link.c"
#undef LOG_MODULE
#define run worker_run
#include "kms/worker.c"
#undef run

#include "base/base.h"
#include "base/stats.h"
#include "base/status.h"
#include "kms/strip.h"
#include "fuzz.h"

#include <drm_fourcc.h>

#define PIXELS 0x20000u /* bytes of the producer's memory */
#define FRAMEBUFFERS_MAX 64

enum {
	OP_BUFFER = 0,  /* id a & 15 generation a >> 4, size b & 255 x b >> 8, stride 4 * width + (c & 0xfff) * 4, offset c >> 12 & 0xfff (* 4), format c >> 24, segments d */
	OP_SEGMENTS,    /* id a, count b; each c bytes long, from d on in steps of c */
	OP_DEAD,        /* id a */
	OP_FRAME,       /* id a, head of b, sequence + (b >> 2 & 15); source c as 4 bytes x y w h, damage d likewise in 16 bits each; c 0: all */
	OP_NO_FRAME,    /* head b */
	OP_CURSOR,      /* id a, head of b, visible b >> 2 & 1, x c, y d */
	OP_CHATTER,     /* state, action, leds by a; words d, c */
	OP_TYPE,        /* any type: d, head c, words b */
	OP_SLOT,        /* 8 bytes d at byte c of the to_panel ring's slots, without sending; a & 1: of the to_producer ring */
	OP_INDEX,       /* a & 1: producer's ring, a & 2: out, else in; a & 4: += else = ; c */
	OP_TURN,        /* the worker reads and draws; a & 1: the front gives its framebuffers back */
	OP_GEOMETRY,    /* framebuffers of b & 511 x c & 511 */
	OP_VISIBLE,     /* faces a & 7; a & 8: the figures too */
	OP_SHOT,        /* what a % 3, face b % 3, on screen c */
	OP_PIXELS,      /* d at c of the pixels */
	OP_ANSWER,      /* front to producer: type a, words d and c; and the producer reads all it has */
	OP_DROP,        /* framebuffer sets before the present one */
};

static const uint8_t ops[] = {
	OP_BUFFER, OP_BUFFER, OP_SEGMENTS, OP_SEGMENTS, OP_DEAD, OP_FRAME, OP_FRAME, OP_FRAME, OP_NO_FRAME, OP_CURSOR, OP_CHATTER, OP_TYPE, OP_SLOT, OP_INDEX,
	OP_TURN, OP_TURN, OP_GEOMETRY, OP_VISIBLE, OP_SHOT, OP_PIXELS, OP_ANSWER, OP_DROP,
};
static const uint64_t values[] = { PIXELS, PIXELS - 4, PIXELS - 1, LINK_MAX_SEGMENTS, LINK_MAX_SIDE, LINK_RING_SLOTS, 0x4040, 64, 0x40404040, 64 * 64 * 4 };
const struct fuzz_target fuzz_target = { .operations = true, .ops = ops, .n_ops = ARRAY_LEN(ops), .values = values, .n_values = ARRAY_LEN(values) };

static struct stats stats;
static int pixels_fd;

void fuzz_start(void)
{
	log_set_level(LOG_WARN);
	pixels_fd = memfd_create("pixels", MFD_CLOEXEC);
	FUZZ_CHECK(pixels_fd >= 0 && ftruncate(pixels_fd, PIXELS) == 0, "no pixel memory");
}

/* --- a backend of memory that ASan watches ------------------------------------------------------------------------------- */

static int buffers_made;

static int make_buffer(struct backend *backend, uint32_t width, uint32_t height, struct scanout_buffer *buffer)
{
	(void)backend;
	if (buffers_made == FRAMEBUFFERS_MAX) {
		errno = ENOMEM;
		return -1;
	}
	buffers_made++;
	uint64_t size = (uint64_t)width * 4 * height;
	*buffer = (struct scanout_buffer){ .pixels = malloc(size), .pitch = width * 4, .width = width, .height = height, .size = size, .readable = true };
	FUZZ_CHECK(buffer->pixels != NULL, "no framebuffer");
	return 0;
}

static void free_buffer(struct backend *backend, struct scanout_buffer *buffer)
{
	(void)backend;
	buffers_made--;
	free(buffer->pixels);
}

static const struct backend_ops backend_ops = { .make_buffer = make_buffer, .free_buffer = free_buffer };

struct scene {
	struct backend backend;
	struct link *link;
	struct worker *worker;
	struct mailbox *events, *chatter;
	struct face_news news[PANEL_FACES];
	struct pointer_news pointer[POINTER_PRODUCERS];
	uint64_t sequence;
	uint32_t set;
	uint64_t now_ns;
	const uint8_t *mapped; /* the link's own view of the pixels */
	uint8_t *pixels;
};

/* --- the producer ----------------------------------------------------------------------------------------------------------- */

static void send_it(struct scene *scene, const struct link_message *message)
{
	link_send_to_panel(scene->link, message);
}

static struct link_buffer_id name_of(uint8_t a)
{
	return (struct link_buffer_id){ a & 15, a >> 4 };
}

static void announce(struct scene *scene, const struct fuzz_op *op)
{
	static const uint32_t formats[] = { DRM_FORMAT_XRGB8888, DRM_FORMAT_ARGB8888, DRM_FORMAT_XBGR8888, DRM_FORMAT_RGBX8888, DRM_FORMAT_BGRA8888, DRM_FORMAT_NV12 };
	uint32_t width = op->b & 255, height = op->b >> 8;
	struct link_message message = { .type = LINK_BUFFER };
	message.buffer.buffer = name_of(op->a);
	message.buffer.width = op->d >> 63 ? width << 8 : width;
	message.buffer.height = op->d >> 62 & 1 ? height << 8 : height;
	message.buffer.stride = width * 4 + (op->c & 0xfff) * (op->d >> 61 & 1 ? 3 : 4);
	message.buffer.offset = (op->c >> 12 & 0xfff) * 4;
	message.buffer.format = formats[(op->c >> 24) % ARRAY_LEN(formats)];
	message.buffer.n_segments = (uint32_t)op->d;
	send_it(scene, &message);
}

static void segments(struct scene *scene, const struct fuzz_op *op)
{
	struct link_message message = { .type = LINK_SEGMENTS };
	message.segments.buffer = name_of(op->a);
	message.segments.count = op->b;
	for (uint32_t i = 0; i < LINK_SEGMENTS_PER_MESSAGE; i++)
		message.segments.segment[i] = (struct link_segment){ op->d + (uint64_t)i * op->c, op->c };
	send_it(scene, &message);
}

/* One too many, too. */
static uint32_t head_of_op(const struct fuzz_op *op)
{
	return (op->b & 3) | (op->b >> 4 & 4);
}

static void frame(struct scene *scene, const struct fuzz_op *op)
{
	struct link_message message = { .type = LINK_FRAME, .head = head_of_op(op) };
	scene->sequence += op->b >> 2 & 15;
	message.frame.buffer = name_of(op->a);
	message.frame.sequence = scene->sequence;
	message.frame.source = (struct rect){ op->c & 255, op->c >> 8 & 255, op->c >> 16 & 255, op->c >> 24 };
	message.frame.damage = (struct rect){ op->d & 0xffff, op->d >> 16 & 0xffff, op->d >> 32 & 0xffff, (uint32_t)(op->d >> 48) };
	send_it(scene, &message);
}

static void produce(struct scene *scene, const struct fuzz_op *op)
{
	struct link_message message = { .head = head_of_op(op) };
	switch (op->op) {
	case OP_BUFFER:
		announce(scene, op);
		return;
	case OP_SEGMENTS:
		segments(scene, op);
		return;
	case OP_FRAME:
		frame(scene, op);
		return;
	case OP_DEAD:
		message.type = LINK_BUFFER_DEAD;
		message.dead = name_of(op->a);
		break;
	case OP_NO_FRAME:
		message.type = LINK_NO_FRAME;
		message.head = op->b;
		break;
	case OP_CURSOR:
		message.type = LINK_CURSOR;
		message.cursor.buffer = name_of(op->a);
		message.cursor.visible = op->b >> 2 & 1;
		message.cursor.x = (int32_t)op->c;
		message.cursor.y = (int32_t)op->d;
		break;
	case OP_CHATTER:
		message.type = (const uint32_t[]){ LINK_VM_STATE, LINK_ACTION, LINK_LEDS }[op->a % 3];
		memset(message.raw, op->a, sizeof(message.raw));
		memcpy(message.raw, &op->c, 4);
		memcpy(message.raw + 4, &op->d, 8);
		break;
	default:
		message.type = (uint32_t)op->d;
		message.head = op->c;
		memset(message.raw, op->b, sizeof(message.raw));
		break;
	}
	send_it(scene, &message);
}

/* --- the panel ------------------------------------------------------------------------------------------------------------- */

static const char *const strip_text[PANEL_FACES] = { "HOST", "HOST", "GUEST", "GUEST", "GUEST", "GUEST" };

/* The trusted strip's rows are the host's. */
static void check_strip(const struct scene *scene, const struct worker_event *event)
{
	static uint32_t line[512 * 14];
	const struct scanout_buffer *buffer = event->buffer;
	const struct rect strip = strip_layout(scene->worker->config.strip, buffer->width, buffer->height).strip;
	if (rect_empty(&strip))
		return;
	strip_draw(&(struct blit_target){ (uint8_t *)line, strip.w * 4, strip.w, strip.h }, event->face >= PANEL_FACE_GUEST, strip_text[event->face]);
	for (uint32_t y = 0; y < strip.h; y++)
		FUZZ_CHECK(memcmp(buffer->pixels + (uint64_t)(strip.y + y) * buffer->pitch, line + y * strip.w, strip.w * 4) == 0, "row %u of the strip", y);
}

/* What the front does with the worker's news: the framebuffers go back, answers go to the producer. */
static void front(struct scene *scene, bool give_back)
{
	struct worker_event event;
	struct worker_chatter chatter;
	while (mailbox_take(scene->events, &event)) {
		FUZZ_CHECK(event.type != WORKER_PROBED && event.face < PANEL_FACES, "event %d of face %d", event.type, event.face);
		if (event.type == WORKER_NEWS)
			atomic_store(&scene->news[event.face].pending, false);
		if (event.type != WORKER_READY)
			continue;
		FUZZ_CHECK(event.index < FACE_BUFFERS, "framebuffer %u", event.index);
		FUZZ_CHECK((uint64_t)event.damage.x + event.damage.w <= event.buffer->width && (uint64_t)event.damage.y + event.damage.h <= event.buffer->height,
			"damage %u,%u %ux%u is outside the framebuffer", event.damage.x, event.damage.y, event.damage.w, event.damage.h);
		check_strip(scene, &event);
		if (give_back)
			worker_post(scene->worker, &(struct front_event){ .type = FRONT_FREE, .set = event.set, .face = event.face, .index = event.index });
	}
	while (mailbox_take(scene->chatter, &chatter))
		if (chatter.released)
			link_send_to_producer(scene->link, &chatter.message);
}

static void no_run(void *data, uint64_t pixels_offset, uint64_t length)
{
	(void)data;
	FUZZ_CHECK(pixels_offset <= PIXELS && length <= PIXELS - pixels_offset, "a run of %llu bytes at %llu", (unsigned long long)length,
		(unsigned long long)pixels_offset);
}

/* What the table takes for a picture has all its pixels. */
static void check_heads(const struct scene *scene)
{
	for (uint32_t i = 0; i < LINK_MAX_HEADS; i++) {
		const struct link_buffer *buffer = link_table_head(scene->worker->producer[1].table, i)->buffer;
		if (buffer != NULL)
			FUZZ_CHECK(link_buffer_runs(buffer, NULL, buffer->offset, (uint64_t)buffer->stride * (buffer->height - 1) + 4ull * buffer->width, no_run, NULL),
				"a picture of %ux%u is larger than its segments", buffer->width, buffer->height);
	}
}

static void turn(struct scene *scene, bool give_back)
{
	struct worker *worker = scene->worker;
	struct front_event event;
	mailbox_ack(worker->inbox);
	while (mailbox_take(worker->inbox, &event))
		handle(worker, &event);
	worker_read_producer(worker, 1, true);
	worker_refresh_figures(worker, scene->now_ns);
	worker_update_pointers(worker, scene->now_ns);
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		worker_compose(worker, (enum panel_face)f, scene->now_ns);
	for (uint32_t s = 1; s < SCREENS; s++)
		worker_offer_black(worker, s);
	front(scene, give_back);
	scene->now_ns += WORKER_HIDDEN_NS / 2;
	check_heads(scene);
}

static void shot_done(void *data, uint32_t *pixels, uint32_t width, uint32_t height)
{
	(void)data;
	uint64_t sum = 0;
	for (uint64_t i = 0; pixels != NULL && i < (uint64_t)width * height; i++)
		sum += pixels[i];
	FUZZ_CHECK(pixels != NULL || (width == 0 && height == 0), "a picture of %ux%u without pixels %llu", width, height, (unsigned long long)sum);
	free(pixels);
}

static void index_op(struct scene *scene, const struct fuzz_op *op)
{
	struct ring *ring = op->a & 1 ? &scene->link->shared->to_producer : &scene->link->shared->to_panel;
	_Atomic uint32_t *index = op->a & 2 ? &ring->out : &ring->in;
	atomic_store(index, op->a & 4 ? atomic_load(index) + op->c : op->c);
}

static void answer(struct scene *scene, const struct fuzz_op *op)
{
	struct link_message message = { .type = LINK_PRESENTED + op->a % 6 };
	memcpy(message.raw, &op->d, 8);
	memcpy(message.raw + 8, &op->c, 4);
	link_send_to_producer(scene->link, &message);
	uint32_t n = 0;
	link_ack_producer(scene->link);
	while (link_receive_for_producer(scene->link, &message))
		FUZZ_CHECK(++n <= LINK_RING_SLOTS, "the ring to the producer never ends");
}

static void do_op(struct scene *scene, const struct fuzz_op *op)
{
	struct front_event event = { .face = (enum panel_face)(op->b % PANEL_FACES), .set = scene->set };
	switch (op->op) {
	case OP_SLOT: {
		struct ring *ring = op->a & 1 ? &scene->link->shared->to_producer : &scene->link->shared->to_panel;
		memcpy((uint8_t *)ring->slot + op->c % (sizeof(ring->slot) - 8), &op->d, 8);
		break;
	}
	case OP_INDEX:
		index_op(scene, op);
		break;
	case OP_TURN:
		turn(scene, op->a & 1);
		break;
	case OP_GEOMETRY:
		event.type = FRONT_GEOMETRY;
		event.set = ++scene->set;
		event.screen = op->b >> 9 & (SCREENS - 1);
		event.width = op->b & 511;
		event.height = op->c & 511;
		worker_post(scene->worker, &event);
		break;
	case OP_DROP:
		event.type = FRONT_DROP;
		event.screen = op->a & (SCREENS - 1);
		worker_post(scene->worker, &event);
		break;
	case OP_VISIBLE:
		event.type = FRONT_VISIBLE;
		event.visible = (op->a & 7) | (op->a >> 4 & 7) << 3;
		worker_post(scene->worker, &event);
		worker_post(scene->worker, &(struct front_event){ .type = FRONT_FIGURES, .figures = op->a & 8 });
		break;
	case OP_SHOT:
		event.type = FRONT_SHOT;
		event.index = op->c >> 1 & 1;
		event.shot.what = (enum panel_shot)(op->a % 3);
		event.shot.on_screen = op->c & 1;
		event.shot.done = shot_done;
		worker_post(scene->worker, &event);
		break;
	case OP_PIXELS:
		memcpy(scene->pixels + op->c % (PIXELS - 8), &op->d, 8);
		break;
	case OP_ANSWER:
		answer(scene, op);
		break;
	default:
		produce(scene, op);
	}
}

void fuzz_one(const uint8_t *data, size_t size)
{
	int fds = fuzz_next_fd();
	struct scene scene = { .backend = { .ops = &backend_ops } };
	scene.link = link_create(pixels_fd, PIXELS);
	FUZZ_CHECK(scene.link != NULL, "no link");
	scene.mapped = scene.link->pixels;
	scene.pixels = calloc(1, PIXELS);
	scene.link->pixels = scene.pixels;
	scene.events = mailbox_create(64, sizeof(struct worker_event));
	scene.chatter = mailbox_create(16, sizeof(struct worker_chatter));
	const struct worker_config config = {
		.screens = SCREENS,
		.backend = &scene.backend, .link = { [PANEL_FACE_GUEST] = scene.link }, .stats = &stats,
		.events = scene.events, .chatter = scene.chatter, .news = scene.news,
		.bilinear = size > 0 && data[size - 1] & 1,
		.strip = (enum panel_strip)(size > 0 ? (data[size - 1] >> 1) % 3 : 0), .strip_text = strip_text, .pointer = scene.pointer,
	};
	scene.worker = worker_create(&config);
	FUZZ_CHECK(scene.worker != NULL && scene.events != NULL && scene.chatter != NULL, "no worker");
	worker_post(scene.worker, &(struct front_event){ .type = FRONT_GEOMETRY, .set = ++scene.set, .width = 64, .height = 48 });
	worker_post(scene.worker, &(struct front_event){ .type = FRONT_VISIBLE, .visible = 4 });
	struct fuzz_op op;
	for (uint32_t i = 0; fuzz_op_at(data, size, i, &op); i++)
		do_op(&scene, &op);
	/* Left alone by its producer, the worker comes to rest. */
	worker_post(scene.worker, &(struct front_event){ .type = FRONT_FIGURES });
	uint32_t turns = 0;
	do {
		turn(&scene, true);
		FUZZ_CHECK(++turns < 2 * LINK_RING_SLOTS, "the worker never rests");
	} while (turns < 4 || wait_ms(scene.worker, scene.now_ns) >= 0);
	worker_destroy(scene.worker);
	FUZZ_CHECK(buffers_made == 0, "%d framebuffers leaked", buffers_made);
	mailbox_destroy(scene.events);
	mailbox_destroy(scene.chatter);
	scene.link->pixels = scene.mapped;
	free(scene.pixels);
	link_destroy(scene.link);
	FUZZ_CHECK(fuzz_next_fd() == fds, "a descriptor leaked");
}
