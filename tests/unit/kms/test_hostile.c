/*
 * K1: a compromised machine. A forked child writes anything into the link's rings, indices and pixels while the panel reads and
 * draws; the UI's pictures go on being shown, and the front is never held up.
 */
#include "link/link.c" /* the rings, as the other process has them */
#undef LOG_MODULE
#define LOG_MODULE "test"
#include "kms/panel_private.h"
#include "unit.h"

#include <pthread.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include <drm_fourcc.h>
#include <wayland-server-core.h>

#include "base/stats.h"
#include "link/synthetic.h"

#define PIXELS (1u << 20)
#define STORM_NS (1500 * NSEC_PER_MSEC)
#define LATE_NS (2 * NSEC_PER_SEC) /* of the front: also on a machine with much other work */

static struct wl_event_loop *loop;
static struct panel *panel;
static struct status_board *board;
static struct stats stats;
static uint32_t messages;

static void on_message(void *data, enum panel_face from, const struct link_message *message)
{
	(void)data;
	ck_assert_int_eq(from, PANEL_FACE_GUEST);
	ck_assert(message->type == LINK_VM_STATE || message->type == LINK_ACTION || message->type == LINK_LEDS);
	messages++;
}

static void on_scanout(void *data, uint32_t width, uint32_t height)
{
	(void)data;
	ck_assert_uint_le(width, LINK_MAX_SIDE);
	ck_assert_uint_le(height, LINK_MAX_SIDE);
}

static void on_shot(void *data, uint32_t *pixels, uint32_t width, uint32_t height)
{
	(void)width, (void)height;
	free(pixels);
	atomic_fetch_add((_Atomic uint32_t *)data, 1);
}

/* --- the attacker -------------------------------------------------------------------------------------------------------------- */

static uint64_t state = 0x9e3779b97f4a7c15ull;

static uint32_t any(uint32_t n)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 2685821657736338717ull) >> 32) % n;
}

/* Numbers that are nearly right go deepest. */
static void believable(struct link_message *message)
{
	static const uint32_t types[] = { LINK_BUFFER, LINK_SEGMENTS, LINK_SEGMENTS, LINK_FRAME, LINK_FRAME, LINK_BUFFER_DEAD, LINK_NO_FRAME, LINK_CURSOR, LINK_LEDS };
	const uint32_t side = any(4) ? 64 : any(4096);
	*message = (struct link_message){ .type = types[any(ARRAY_LEN(types))] };
	const struct link_buffer_id name = { 1 + any(8), any(2) };
	switch (message->type) {
	case LINK_BUFFER:
		message->buffer.buffer = name;
		message->buffer.width = message->buffer.height = side;
		message->buffer.stride = side * 4 + (any(3) ? 0 : any(64));
		message->buffer.format = DRM_FORMAT_ARGB8888;
		message->buffer.n_segments = 1 + any(3);
		break;
	case LINK_SEGMENTS:
		message->segments.buffer = name;
		message->segments.count = 1 + any(3);
		for (uint32_t i = 0; i < 3; i++)
			message->segments.segment[i] = (struct link_segment){ any(8) ? any(PIXELS) & ~3u : UINT64_MAX - any(8), any(8) ? 16384 : any(PIXELS) & ~3u };
		break;
	case LINK_CURSOR:
		message->cursor.buffer = name;
		message->cursor.visible = any(2);
		message->cursor.x = (int32_t)any(200) - 100;
		message->cursor.y = (int32_t)any(UINT32_MAX);
		break;
	case LINK_FRAME:
		message->frame.buffer = name;
		message->frame.sequence = clock_now_ns();
		message->frame.source = (struct rect){ 0, 0, side, side };
		message->frame.damage = (struct rect){ any(64), any(64), any(UINT32_MAX), any(64) };
		break;
	default:
		message->dead = name;
		message->head = any(3);
	}
}

/* A buffer, its pages, and a frame in it, as an honest machine sends them: what comes between is the attack. */
static void honest(struct link_message message[3])
{
	const struct link_buffer_id name = { 1 + any(8), any(2) };
	message[0] = (struct link_message){ .type = LINK_BUFFER, .buffer = { .buffer = name, .width = 64, .height = 64, .stride = 256,
		.format = DRM_FORMAT_XRGB8888, .n_segments = 1 } };
	message[1] = (struct link_message){ .type = LINK_SEGMENTS, .segments = { .buffer = name, .count = 1,
		.segment = { { (uint64_t)any(PIXELS / 4096 - 4) * 4096, 16384 } } } };
	message[2] = (struct link_message){ .type = LINK_FRAME, .frame = { .buffer = name, .sequence = clock_now_ns(),
		.source = { 0, 0, 64, 64 }, .damage = { 0, 0, 64, 64 } } };
}

#define HONEST 4 /* of 16 */

/* Never returns. Patient: mostly like any other machine, so that pictures get far. Writes over what the panel reads at the same moment: nothing here is in step with it. */
static void attack(struct link *link, uint8_t *pixels, bool patient)
{
	struct ring *ring = &link->shared->to_panel;
	struct link_message three[3];
	uint32_t in = 0;
	for (;;) {
		switch (patient && any(8) ? HONEST : any(16)) {
		case 0:
			if (patient)
				break; /* a sequence number so made is the last that the panel takes */
			((uint8_t *)ring->slot)[any(sizeof(ring->slot))] = (uint8_t)any(256);
			break;
		case 1:
			pixels[any(PIXELS)] = (uint8_t)any(256);
			break;
		case 2: /* an index that lies, for a moment; now and then it stays */
			atomic_store(&ring->in, any(2) ? any(UINT32_MAX) : in + LINK_RING_SLOTS + 1);
			if (patient || any(64))
				atomic_store(&ring->in, in);
			break;
		case 3:
			atomic_store(&link->shared->to_producer.out, any(UINT32_MAX));
			break;
		case HONEST:
			if (in - atomic_load(&ring->out) >= LINK_RING_SLOTS / 2)
				break;
			honest(three);
			for (uint32_t i = 0; i < ARRAY_LEN(three); i++)
				ring->slot[in++ & (LINK_RING_SLOTS - 1)] = three[i];
			break;
		default:
			believable(&ring->slot[in & (LINK_RING_SLOTS - 1)]);
			if (in - atomic_load(&ring->out) < LINK_RING_SLOTS / 2)
				in++;
			atomic_store(&ring->in, in);
			eventfd_write(link->panel_fd, 1);
		}
	}
}

/* --- the panel ------------------------------------------------------------------------------------------------------------------ */

static void *produce(void *config)
{
	synthetic_run(config);
	return NULL;
}

static struct link *ui_link(struct synthetic_config *config)
{
	config->pixels_fd = synthetic_memory(640, 480, &config->pixels_size);
	config->fps = 200;
	config->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	config->link = link_create(config->pixels_fd, config->pixels_size);
	ck_assert(config->pixels_fd >= 0 && config->stop_fd >= 0 && config->link != NULL);
	return config->link;
}

/* The headless display as a card that takes the guest's own pages, on the worker: what it is given has to lie in the machine's memory. */
static struct backend_ops ops;
static void (*free_copy)(struct backend *backend, struct scanout_buffer *buffer);
static _Atomic uint32_t imported, imports, most_imported, outside;

static int import_buffer(struct backend *backend, const struct backend_pages *pages, struct scanout_buffer *buffer)
{
	(void)backend;
	const struct link_buffer *picture = pages->buffer;
	uint64_t size = 0, end = picture->offset + (uint64_t)picture->stride * (pages->source.y + pages->source.h - 1) + 4ull * (pages->source.x + pages->source.w);
	for (uint32_t i = 0; i < picture->n_segments; i++) {
		outside += picture->segment[i].offset > PIXELS || picture->segment[i].length > PIXELS - picture->segment[i].offset;
		size += picture->segment[i].length;
	}
	outside += end > size;
	if (++imports % 5 == 0) {
		errno = EINVAL;
		return -1;
	}
	*buffer = (struct scanout_buffer){ .width = pages->source.w, .height = pages->source.h, .imported = true };
	if (++imported > most_imported)
		most_imported = imported;
	return 0;
}

static void free_buffer(struct backend *backend, struct scanout_buffer *buffer)
{
	if (!buffer->imported) {
		free_copy(backend, buffer);
		return;
	}
	imported--;
	memset(buffer, 0, sizeof(*buffer));
}

static struct backend *importing(struct backend *backend)
{
	ck_assert_ptr_nonnull(backend);
	ops = *backend->ops;
	free_copy = ops.free_buffer;
	ops.free_buffer = free_buffer;
	ops.import_buffer = import_buffer;
	backend->ops = &ops;
	return backend;
}

START_TEST(a_machine_gone_mad) /* K1; 1: before a card that imports */
{
	char error[200];
	int status;
	loop = wl_event_loop_create();
	board = status_board_create();
	const uint32_t side = 64; /* of most of the attacker's pictures: these fit */
	const struct panel_config config = { .backend = PANEL_HEADLESS, .width = 640, .height = 480, .refresh_mhz = 100000, .board = board, .stats = &stats,
		.message = on_message, .scanout = on_scanout };
	panel = _i == 0 ? panel_create(loop, &config, error, sizeof(error), &status)
		: panel_create_on(loop, &config, importing(headless_create(side, side, 100000, false)), error, sizeof(error));
	ck_assert_ptr_nonnull(panel);
	int pixels_fd = memfd_create("pixels", MFD_CLOEXEC);
	ck_assert(pixels_fd >= 0 && ftruncate(pixels_fd, PIXELS) == 0);
	uint8_t *pixels = mmap(NULL, PIXELS, PROT_READ | PROT_WRITE, MAP_SHARED, pixels_fd, 0);
	ck_assert_ptr_ne(pixels, MAP_FAILED);
	struct link *link = link_create(pixels_fd, PIXELS);
	struct synthetic_config ui = { 0 };
	ck_assert_int_eq(panel_add_producer(panel, PANEL_FACE_UI, ui_link(&ui)), 0);
	ck_assert_int_eq(panel_add_producer(panel, PANEL_FACE_GUEST, link), 0);
	pid_t child = fork();
	if (child == 0)
		attack(link, pixels, _i == 1);
	ck_assert_int_gt(child, 0);
	ck_assert_int_eq(panel_start(panel), 0);
	pthread_t thread;
	ck_assert_int_eq(pthread_create(&thread, NULL, produce, &ui), 0);

	uint64_t begin = clock_now_ns(), last = begin, worst = 0;
	static _Atomic uint32_t shots;
	uint32_t asked = 0;
	for (uint32_t turn = 0; last - begin < STORM_NS; turn++) {
		if (turn % 64 == 0)
			panel_present(panel, turn % 128 ? PRESENTATION_PRESENTED : PRESENTATION_HIDDEN, 0);
		if (turn % 50 == 0)
			asked += panel_screenshot(panel, "", (enum panel_shot)(turn / 50 % 3), on_shot, (void *)&shots);
		wl_event_loop_dispatch(loop, 2);
		uint64_t now = clock_now_ns();
		worst = now - last > worst ? now - last : worst;
		last = now;
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	ck_assert_msg(worst < LATE_NS, "the front was held up for %llu ms", (unsigned long long)(worst / NSEC_PER_MSEC));
	ck_assert_msg(messages > 0, "nothing of the attacker's arrived");

	/* The UI is shown as if nothing had been. */
	panel_present(panel, PRESENTATION_HIDDEN, 0);
	uint64_t before = atomic_load(&stats.commits), deadline = clock_now_ns() + 10 * NSEC_PER_SEC;
	while ((atomic_load(&stats.commits) < before + 10 || atomic_load(&shots) < asked) && clock_now_ns() < deadline)
		wl_event_loop_dispatch(loop, 5);
	ck_assert_uint_ge(atomic_load(&stats.commits), before + 10);
	ck_assert_uint_eq(atomic_load(&shots), asked);
	eventfd_write(ui.stop_fd, 1);
	pthread_join(thread, NULL);
	panel_destroy(panel);
	ck_assert_uint_eq(outside, 0);
	ck_assert_uint_eq(imported, 0);
	ck_assert_uint_le(most_imported, IMPORTS);
	if (_i == 1)
		ck_assert_uint_gt(imports, 5);
	link_destroy(ui.link);
	link_destroy(link);
	munmap(pixels, PIXELS);
	close(pixels_fd);
	close(ui.pixels_fd);
	close(ui.stop_fd);
	status_board_destroy(board);
	wl_event_loop_destroy(loop);
}
END_TEST

static Suite *hostile(void)
{
	Suite *suite = suite_create("hostile");
	TCase *storm = tcase_create("storm");
	tcase_set_timeout(storm, 120);
	tcase_add_loop_test(storm, a_machine_gone_mad, 0, 2);
	suite_add_tcase(suite, storm);
	return suite;
}

UNIT_MAIN(hostile)
