/* The panel end to end in memory: producers on links, worker, latch, flips. Pixels are compared exactly. */
#define LOG_MODULE "test"
#include "panel_rig.h"
#include "pixels.h"

#include <pthread.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "kms/figures.h"
#include "link/synthetic.h"

#define W 640
#define H 480

struct producer {
	struct synthetic_config config;
	pthread_t thread;
	struct link *link;
	uint64_t frames;
};

static uint32_t scanout_w, scanout_h, first_frames, messages;

static void on_message(void *data, enum panel_face from, const struct link_message *message)
{
	(void)data;
	ck_assert_int_eq(from, PANEL_FACE_GUEST);
	ck_assert_uint_eq(message->type, LINK_LEDS);
	messages++;
}

static void on_first_frame(void *data, uint32_t width, uint32_t height)
{
	(void)data;
	first_frames++;
	ck_assert_uint_eq(width, scanout_w);
	ck_assert_uint_eq(height, scanout_h);
}

static void on_scanout(void *data, uint32_t width, uint32_t height)
{
	(void)data;
	scanout_w = width;
	scanout_h = height;
}

static void make(uint32_t width, uint32_t height)
{
	const struct panel_config config = {
		.backend = PANEL_HEADLESS,
		.width = width,
		.height = height,
		.refresh_mhz = 100000,
		.message = on_message,
		.first_frame = on_first_frame,
		.scanout = on_scanout,
	};
	scanout_w = scanout_h = first_frames = messages = 0;
	panel_rig_open(NULL, &config);
}

static uint32_t screen_pixel(uint32_t at)
{
	struct picture p = shoot("", PANEL_SHOT_SCREEN);
	uint32_t pixel = p.pixels[at];
	free(p.pixels);
	return pixel;
}

/* --- a producer in the test's own hands ------------------------------------------------------------------------ */

struct hand {
	int fd;
	struct link *link;
	uint32_t *pixels;
	uint64_t sequence, presented, size;
};

static void hand_make(struct hand *hand, uint64_t size)
{
	hand->size = size;
	hand->sequence = hand->presented = 0;
	hand->pixels = pixels_make(size, &hand->fd);
	hand->link = link_create(hand->fd, size);
	ck_assert_ptr_nonnull(hand->link);
}

static void hand_free(struct hand *hand)
{
	link_destroy(hand->link);
	munmap(hand->pixels, hand->size);
	close(hand->fd);
}

static void hand_buffer(struct hand *hand, uint32_t id, uint32_t width, uint32_t height, uint64_t offset)
{
	struct link_segment segment = {offset, (uint64_t)width * height * 4};
	ck_assert(link_send_buffer(hand->link, (struct link_buffer_id){id, 1}, width, height, width * 4, 0x34325258, 0, &segment, 1));
}

static void hand_frame(struct hand *hand, uint32_t head, uint32_t id, struct rect source, struct rect damage)
{
	struct link_message message = {.type = LINK_FRAME, .head = head};
	message.frame.buffer = (struct link_buffer_id){id, 1};
	message.frame.sequence = ++hand->sequence;
	message.frame.source = source;
	message.frame.damage = damage;
	ck_assert(link_send_to_panel(hand->link, &message));
}

static uint64_t hand_presented(struct hand *hand)
{
	struct link_message message;
	while (link_receive_for_producer(hand->link, &message))
		if (message.type == LINK_PRESENTED)
			hand->presented = message.presented.sequence;
	return hand->presented;
}

static uint32_t expect_message(struct hand *hand, uint32_t type, struct link_message *out)
{
	uint32_t n = 0;
	struct link_message message;
	while (link_receive_for_producer(hand->link, &message)) {
		if (message.type == type) {
			*out = message;
			n++;
		}
	}
	return n;
}

static void fill(uint32_t *pixels, uint32_t count, uint32_t colour)
{
	for (uint32_t i = 0; i < count; i++)
		pixels[i] = colour;
}

START_TEST(faces_and_toggles)
{
	struct hand ui, guest;
	struct picture p;
	make(W, H);
	hand_make(&ui, 2ull * W * H * 4);
	hand_make(&guest, 2ull * W * H * 4);
	ck_assert_int_eq(panel_add_producer(panel, PANEL_FACE_UI, ui.link), 0);
	ck_assert_int_eq(panel_add_producer(panel, PANEL_FACE_GUEST, guest.link), 0);
	ck_assert_int_eq(panel_add_producer(panel, PANEL_FACE_GUEST, guest.link), -1);
	ck_assert_int_eq(panel_start(panel), 0);

	struct link_message display;
	ck_assert_uint_eq(expect_message(&guest, LINK_DISPLAY, &display), 1);
	ck_assert_uint_eq(display.display.width, W);
	ck_assert_uint_eq(display.display.height, H);
	ck_assert_uint_eq(display.display.refresh_mhz, 100000);

	/* UI red, placeholder green */
	fill(ui.pixels, W * H, 0xff0000);
	fill(ui.pixels + W * H, W * H, 0x00ff00);
	hand_buffer(&ui, 1, W, H, 0);
	hand_buffer(&ui, 2, W, H, (uint64_t)W * H * 4);
	hand_frame(&ui, 0, 1, (struct rect){0, 0, W, H}, (struct rect){0, 0, W, H});
	hand_frame(&ui, 1, 2, (struct rect){0, 0, W, H}, (struct rect){0, 0, W, H});
	UNTIL(stats.commits >= 1);
	ck_assert_uint_eq(stats.modesets, 1);
	p = shoot("", PANEL_SHOT_SCREEN);
	ck_assert_uint_eq(p.width, W);
	ck_assert_uint_eq(p.height, H);
	ck_assert_uint_eq(p.pixels[0], 0xff0000);
	free(p.pixels);

	/* no guest yet: the placeholder, without another modeset */
	present(PRESENTATION_PRESENTED);
	UNTIL(stats.toggle_flip_us.count == 1);
	p = shoot("", PANEL_SHOT_SCREEN);
	ck_assert_uint_eq(p.pixels[W * H - 1], 0x00ff00);
	free(p.pixels);
	p = shoot("", PANEL_SHOT_GUEST);
	ck_assert_ptr_null(p.pixels);
	ck_assert_uint_eq(scanout_w, 0);

	/* the guest's first frame, smaller than the screen: letterboxed 600x460 at (20, 10) */
	fill(guest.pixels, 600 * 460, 0x0000ff);
	hand_buffer(&guest, 7, 600, 460, 0);
	hand_frame(&guest, 0, 7, (struct rect){0, 0, 600, 460}, (struct rect){0, 0, 600, 460});
	UNTIL(first_frames == 1);
	ck_assert_uint_eq(scanout_w, 600);
	ck_assert_uint_eq(scanout_h, 460);
	UNTIL(hand_presented(&guest) == 1);
	ck_assert_uint_eq(stats.frames_presented, 1);
	ck_assert_uint_eq(stats.bytes_copied, 600 * 460 * 4);
	p = shoot("", PANEL_SHOT_SCREEN);
	for (uint32_t y = 0; y < H; y++)
		for (uint32_t x = 0; x < W; x++)
			ck_assert_uint_eq(p.pixels[y * W + x], x >= 20 && x < 620 && y >= 10 && y < 470 ? 0x0000ff : 0);
	free(p.pixels);
	uint32_t w, h;
	struct rect at;
	panel_geometry(panel, PANEL_FACE_GUEST, &w, &h, &at);
	ck_assert(w == W && h == H && at.x == 20 && at.y == 10 && at.w == 600 && at.h == 460);

	/* damage: what is outside of it is not read again */
	fill(guest.pixels, 600 * 460, 0xabcdef);
	hand_frame(&guest, 0, 7, (struct rect){0, 0, 600, 460}, (struct rect){100, 50, 16, 8}); /* second framebuffer: whole */
	UNTIL(hand_presented(&guest) == 2);
	fill(guest.pixels, 600 * 460, 0x123456);
	uint64_t before = stats.bytes_copied;
	hand_frame(&guest, 0, 7, (struct rect){0, 0, 600, 460}, (struct rect){300, 50, 16, 8});
	UNTIL(hand_presented(&guest) == 3);
	ck_assert_uint_eq(stats.bytes_copied - before, 2 * 16 * 8 * 4); /* both damages, into the first framebuffer */
	p = shoot("", PANEL_SHOT_SCREEN);
	ck_assert_uint_eq(p.pixels[60 * W + 120], 0x123456);
	ck_assert_uint_eq(p.pixels[60 * W + 320], 0x123456);
	ck_assert_uint_eq(p.pixels[60 * W + 319], 0x0000ff);
	ck_assert_uint_eq(p.pixels[60 * W + 336], 0x0000ff);
	ck_assert_uint_eq(p.pixels[68 * W + 320], 0x0000ff);
	free(p.pixels);

	/* another size, whole screen, and back: bars are black again in both framebuffers */
	hand_buffer(&guest, 8, W, H, 0);
	for (int i = 0; i < 4; i++) {
		struct rect small = {0, 0, 600, 460}, whole = {0, 0, W, H}, source = i & 2 ? small : whole;
		fill(guest.pixels, W * H, 0x123456);
		hand_frame(&guest, 0, i & 2 ? 7 : 8, source, source);
		UNTIL(hand_presented(&guest) == guest.sequence);
		p = shoot("", PANEL_SHOT_SCREEN);
		ck_assert_uint_eq(p.pixels[0], i & 2 ? 0 : 0x123456);
		ck_assert_uint_eq(p.pixels[W * H - 1], i & 2 ? 0 : 0x123456);
		ck_assert_uint_eq(p.pixels[H / 2 * W + W / 2], 0x123456);
		free(p.pixels);
	}

	/* 50 toggles, each shown, none sets the mode */
	for (int i = 0; i < 50; i++) {
		uint64_t flips = stats.toggle_flip_us.count;
		present(i & 1 ? PRESENTATION_PRESENTED : PRESENTATION_HIDDEN);
		UNTIL(stats.toggle_flip_us.count == flips + 1);
		p = shoot("", PANEL_SHOT_SCREEN);
		ck_assert_uint_eq(p.pixels[60 * W + 320], i & 1 ? 0x123456 : 0xff0000);
		free(p.pixels);
	}
	ck_assert_uint_eq(stats.modesets, 1);
	ck_assert_uint_eq(stats.toggles, 51);

	/* figures over either face, from the first flip of a toggle on, and no trace of them afterwards; the faces alone never show them */
	struct rect box = figures_place(W, H);
	uint32_t corner = box.x + 1;
	struct picture bare = shoot("", PANEL_SHOT_SCREEN);
	panel_toggle_figures(panel);
	UNTIL(screen_pixel(corner) != bare.pixels[corner]);
	uint32_t paper = screen_pixel(corner);
	for (int i = 0; i < 4; i++) {
		uint64_t flips = stats.toggle_flip_us.count;
		settle(30);
		present(i & 1 ? PRESENTATION_PRESENTED : PRESENTATION_HIDDEN);
		UNTIL(stats.toggle_flip_us.count == flips + 1);
		p = shoot("", PANEL_SHOT_SCREEN);
		ck_assert_uint_eq(p.pixels[corner], paper);
		ck_assert_uint_eq(p.pixels[(box.h - 1) * W + W - 1], paper);
		ck_assert_uint_eq(p.pixels[box.h * W + corner], i & 1 ? 0x123456 : 0xff0000);
		free(p.pixels);
		p = shoot("", i & 1 ? PANEL_SHOT_GUEST : PANEL_SHOT_UI);
		ck_assert_uint_eq(p.pixels[corner], i & 1 ? 0x123456 : 0xff0000);
		free(p.pixels);
	}
	panel_toggle_figures(panel);
	UNTIL(screen_pixel(corner) == bare.pixels[corner]);
	p = shoot("", PANEL_SHOT_SCREEN);
	ck_assert_mem_eq(p.pixels, bare.pixels, W * H * 4);
	free(p.pixels);
	free(bare.pixels);
	ck_assert_uint_eq(stats.modesets, 1);

	/* the guest's picture goes: placeholder; its buffer is released once it gave it up */
	ck_assert(link_send_to_panel(guest.link, &(struct link_message){.type = LINK_NO_FRAME}));
	ck_assert(link_send_to_panel(guest.link, &(struct link_message){.type = LINK_BUFFER_DEAD, .dead = {7, 1}}));
	struct link_message released;
	UNTIL(expect_message(&guest, LINK_RELEASED, &released));
	ck_assert_uint_eq(released.dead.id, 7);
	ck_assert_uint_eq(released.dead.generation, 1);
	UNTIL(scanout_w == 0);
	UNTIL(screen_pixel(60 * W + 320) == 0x00ff00);

	/* what is not about pictures reaches the program */
	ck_assert(link_send_to_panel(guest.link, &(struct link_message){.type = LINK_LEDS, .leds = {1}}));
	UNTIL(messages == 1);

	panel_rig_close();
	hand_free(&ui);
	hand_free(&guest);
}
END_TEST

START_TEST(hidden_guest_goes_on)
{
	struct hand guest;
	make(W, H);
	hand_make(&guest, 2ull * W * H * 4);
	panel_add_producer(panel, PANEL_FACE_GUEST, guest.link);
	panel_start(panel);
	hand_buffer(&guest, 1, W, H, 0);

	/* Hidden: every frame is answered at the refresh rate, and copied at most 10 times a second. */
	uint64_t start = clock_now_ns(), answered = 0;
	while (clock_now_ns() - start < NSEC_PER_SEC) {
		if (hand_presented(&guest) == guest.sequence) {
			answered++;
			hand_frame(&guest, 0, 1, (struct rect){0, 0, W, H}, (struct rect){0, 0, W, H});
		}
		turn(2);
	}
	ck_assert_uint_ge(answered, 20); /* 100 on a quiet machine */
	ck_assert_uint_le(answered, 110);
	uint64_t copies = stats.bytes_copied / ((uint64_t)W * H * 4);
	ck_assert_uint_ge(copies, 2);
	ck_assert_uint_le(copies, 12);
	ck_assert_uint_eq(first_frames, 0);

	/* Shown: the newest content is there though it was not composed while hidden. */
	fill(guest.pixels, W * H, 0x00face);
	hand_frame(&guest, 0, 1, (struct rect){0, 0, W, H}, (struct rect){0, 0, W, H});
	panel_present(panel, PRESENTATION_PRESENTED, 0);
	UNTIL(first_frames == 1);
	UNTIL(screen_pixel(W * H / 2) == 0x00face);
	panel_rig_close();
	hand_free(&guest);
}
END_TEST

static uint32_t cursor_expected(uint32_t x, uint32_t y, int32_t cx, int32_t cy, uint32_t under)
{
	int64_t dx = (int64_t)x - cx, dy = (int64_t)y - cy;
	return dx >= 0 && dy >= 0 && dx < 32 && dy < LINK_CURSOR_SIDE ? 0xff00ff : under;
}

static bool cursor_right(int32_t cx, int32_t cy, uint32_t under)
{
	struct picture p = shoot("", PANEL_SHOT_SCREEN);
	bool right = p.pixels && p.width == W;
	for (uint32_t y = 0; right && y < H; y++)
		for (uint32_t x = 0; right && x < W; x++)
			right = p.pixels[y * W + x] == cursor_expected(x, y, cx, cy, under);
	free(p.pixels);
	return right;
}

/* A frame that came while the face was shown, and was not shown in time, is answered for when the face is hidden. */
START_TEST(hidden_with_a_frame_outstanding)
{
	const struct rect whole = {0, 0, W, H};
	struct hand guest;
	make(W, H);
	hand_make(&guest, 2ull * W * H * 4);
	panel_add_producer(panel, PANEL_FACE_GUEST, guest.link);
	panel_present(panel, PRESENTATION_PRESENTED, 0);
	panel_start(panel);
	hand_buffer(&guest, 1, W, H, 0);
	for (uint32_t i = 0; i < 5; i++) {
		panel_present(panel, PRESENTATION_PRESENTED, 0);
		hand_frame(&guest, 0, 1, whole, whole);
		UNTIL(hand_presented(&guest) == guest.sequence);
		hand_frame(&guest, 0, 1, whole, whole);
		poll(NULL, 0, 30); /* the worker has it, and this thread, the front, does nothing */
		panel_present(panel, PRESENTATION_HIDDEN, 0);
		UNTIL(hand_presented(&guest) == guest.sequence);
	}
	panel_rig_close();
	hand_free(&guest);
}
END_TEST

START_TEST(cursor_over_the_guest)
{
	struct hand guest;
	make(W, H);
	uint64_t image_at = 1ull * W * H * 4;
	hand_make(&guest, image_at + 64 * 64 * 4);
	panel_add_producer(panel, PANEL_FACE_GUEST, guest.link);
	panel_present(panel, PRESENTATION_PRESENTED, 0);
	panel_start(panel);
	/* left half magenta, right half transparent */
	for (uint32_t i = 0; i < 64 * 64; i++)
		guest.pixels[W * H + i] = i % 64 < 32 ? 0xffff00ff : 0;
	fill(guest.pixels, W * H, 0x101010);
	hand_buffer(&guest, 1, W, H, 0);
	hand_frame(&guest, 0, 1, (struct rect){0, 0, W, H}, (struct rect){0, 0, W, H});
	UNTIL(cursor_right(-1000, 0, 0x101010));

	struct link_segment segment = {image_at, 64 * 64 * 4};
	struct link_message cursor = {.type = LINK_CURSOR, .cursor = {.buffer = {9, 1}, .x = 100, .y = 50, .visible = 1}};
	ck_assert(link_send_buffer(guest.link, cursor.cursor.buffer, 64, 64, 256, 0x34325241, 0, &segment, 1));
	ck_assert(link_send_to_panel(guest.link, &cursor));
	ck_assert(link_send_to_panel(guest.link, &(struct link_message){.type = LINK_BUFFER_DEAD, .dead = {9, 1}}));
	UNTIL(cursor_right(100, 50, 0x101010));
	/* moves leave nothing behind, in either framebuffer, also over edges */
	static const int32_t places[][2] = {{110, 55}, {300, 300}, {-20, -30}, {W - 10, H - 5}, {W, 0}, {200, 200}, {201, 200}};
	cursor.cursor.buffer.id = 0;
	for (uint32_t i = 0; i < ARRAY_LEN(places); i++) {
		cursor.cursor.x = places[i][0];
		cursor.cursor.y = places[i][1];
		ck_assert(link_send_to_panel(guest.link, &cursor));
		UNTIL(cursor_right(places[i][0], places[i][1], 0x101010));
	}
	/* the guest draws under it */
	fill(guest.pixels, W * H, 0x303030);
	hand_frame(&guest, 0, 1, (struct rect){0, 0, W, H}, (struct rect){0, 0, W, H});
	UNTIL(cursor_right(201, 200, 0x303030));
	cursor.cursor.visible = 0;
	ck_assert(link_send_to_panel(guest.link, &cursor));
	UNTIL(cursor_right(-1000, 0, 0x303030));
	ck_assert_uint_eq(messages, 0);
	panel_rig_close();
	hand_free(&guest);
}
END_TEST

START_TEST(inactive_session_is_dark)
{
	struct hand ui;
	make(W, H);
	hand_make(&ui, 2ull * W * H * 4);
	panel_add_producer(panel, PANEL_FACE_UI, ui.link);
	panel_start(panel);
	hand_buffer(&ui, 1, W, H, 0);
	hand_frame(&ui, 0, 1, (struct rect){0, 0, W, H}, (struct rect){0, 0, W, H});
	UNTIL(hand_presented(&ui) == 1);
	panel_session(panel, false);
	uint64_t commits = stats.commits;
	fill(ui.pixels, W * H, 0x777777);
	hand_frame(&ui, 0, 1, (struct rect){0, 0, W, H}, (struct rect){0, 0, W, H});
	UNTIL(hand_presented(&ui) == 2); /* answered in the dark */
	settle(200);
	ck_assert_uint_eq(stats.commits, commits);
	panel_session(panel, true);
	UNTIL(stats.modesets == 2);
	UNTIL(screen_pixel(0) == 0x777777);
	panel_rig_close();
	hand_free(&ui);
}
END_TEST

static void *run_synthetic(void *arg)
{
	struct producer *producer = arg;
	producer->frames = synthetic_run(&producer->config);
	return NULL;
}

START_TEST(synthetic_guest)
{
	struct producer producer = {0};
	make(W, H);
	uint64_t size;
	int fd = synthetic_memory(W, H, &size);
	ck_assert_int_ge(fd, 0);
	struct link *link = link_create(fd, size);
	int stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	panel_add_producer(panel, PANEL_FACE_GUEST, link);
	panel_present(panel, PRESENTATION_PRESENTED, 0);
	panel_start(panel);
	producer.config = (struct synthetic_config){.link = link, .pixels_fd = fd, .pixels_size = size, .fps = 100, .stop_fd = stop, .stats = &stats};
	ck_assert_int_eq(pthread_create(&producer.thread, NULL, run_synthetic, &producer), 0);
	uint64_t last = 0;
	for (int i = 1; i <= 5; i++) {
		UNTIL(stats.frames_presented >= (uint64_t)i * 8);
		/* Whole pictures only: every pixel is that of the frame whose number stands in it. */
		struct picture p = shoot("", PANEL_SHOT_SCREEN);
		uint64_t frame = 0;
		for (uint32_t bit = 0; bit < 32; bit++)
			frame = frame << 1 | (p.pixels[108 * W + 100 + bit * 16 + 8] == 0xffffff);
		ck_assert_uint_gt(frame, last);
		last = frame;
		for (uint32_t y = 0; y < H; y++)
			for (uint32_t x = 0; x < W; x++)
				ck_assert_uint_eq(p.pixels[y * W + x], synthetic_pixel(W, H, frame, x, y));
		free(p.pixels);
	}
	/* one copy of each damage into each of two framebuffers, at most, and both whole once */
	ck_assert_uint_le(stats.bytes_copied, 2 * stats.bytes_damaged + 2ull * W * H * 4);
	ck_assert_uint_le(stats.frames_presented + stats.frames_dropped, stats.frames_flushed);
	eventfd_write(stop, 1);
	pthread_join(producer.thread, NULL);
	panel_rig_close();
	link_destroy(link);
	close(fd);
	close(stop);
}
END_TEST

/* The producer's half is the hand's, as in a process of its own; the panel's is returned. */
static struct link *hand_make_apart(struct hand *hand, uint64_t size)
{
	struct link_handles handles;
	hand->size = size;
	hand->sequence = hand->presented = 0;
	hand->pixels = pixels_make(size, &hand->fd);
	hand->link = link_create_apart(hand->fd, size, &handles);
	ck_assert_ptr_nonnull(hand->link);
	struct link *half = link_open(&handles);
	ck_assert_ptr_nonnull(half);
	return half;
}

static int lowest_free_descriptor(void)
{
	int fd = dup(0);
	close(fd);
	return fd;
}

static uint32_t mappings_of(const char *what)
{
	char line[512];
	uint32_t n = 0;
	FILE *maps = fopen("/proc/self/maps", "re");
	while (fgets(line, sizeof(line), maps))
		n += strstr(line, what) != NULL;
	fclose(maps);
	return n;
}

/* The guest's machine dies in the middle of frames, again and again, and others take its place: their frames count from 1. */
START_TEST(machines_come_and_go)
{
	struct hand ui, guest;
	struct link_message message;
	int descriptors = -1;
	uint32_t maps = 0;
	make(W, H);
	hand_make(&ui, 2ull * W * H * 4);
	ck_assert_int_eq(panel_add_producer(panel, PANEL_FACE_UI, ui.link), 0);
	ck_assert_int_eq(panel_start(panel), 0);
	fill(ui.pixels, W * H, 0xff0000);
	fill(ui.pixels + W * H, W * H, 0x00ff00);
	hand_buffer(&ui, 1, W, H, 0);
	hand_buffer(&ui, 2, W, H, (uint64_t)W * H * 4);
	hand_frame(&ui, 0, 1, (struct rect){0, 0, W, H}, (struct rect){0, 0, W, H});
	hand_frame(&ui, 1, 2, (struct rect){0, 0, W, H}, (struct rect){0, 0, W, H});
	panel_present(panel, PRESENTATION_PRESENTED, 0);
	UNTIL(stats.commits >= 1 && screen_pixel(0) == 0x00ff00);

	for (uint32_t round = 0; round < 20; round++) {
		uint32_t colour = 0x0000ff + round * 0x0a0000, frames = round % 2 ? 1 : 6;
		panel_join_guest(panel, hand_make_apart(&guest, 2ull * W * H * 4));
		panel_guest_started(panel);
		/* A newcomer learns at once what it draws for. */
		ck_assert_uint_eq(expect_message(&guest, LINK_DISPLAY, &message), 1);
		ck_assert_uint_eq(message.display.width, W);
		fill(guest.pixels, 2 * W * H, colour);
		hand_buffer(&guest, 3, W, H, 0);
		for (uint32_t i = 0; i < frames; i++) {
			hand_frame(&guest, 0, 3, (struct rect){0, 0, W, H}, (struct rect){0, 0, W, H});
			UNTIL(hand_presented(&guest) == guest.sequence);
		}
		UNTIL(first_frames == round + 1);
		ck_assert_uint_eq(screen_pixel(W), colour);

		/* Its last words: half a buffer, a frame, chatter. What of it is not believed yet when the death is known, never is. */
		uint32_t heard = messages;
		settle(2);
		ck_assert(link_send_to_panel(guest.link, &(struct link_message){.type = LINK_LEDS}));
		hand_frame(&guest, 0, 3, (struct rect){0, 0, W, H}, (struct rect){0, 0, W, H});
		ck_assert(link_send_to_panel(guest.link, &(struct link_message){
			.type = LINK_BUFFER, .buffer = {{4, 1}, W, H, W * 4, 0x34325258, 0, 1}}));
		usleep(round % 3 * 3000); /* the worker has read all, some, none of it */
		hand_free(&guest);
		panel_join_guest(panel, NULL);
		ck_assert(!panel_send(panel, PANEL_FACE_GUEST, &(struct link_message){.type = LINK_COMMAND}));
		UNTIL(scanout_w == 0);
		UNTIL(screen_pixel(0) == 0x00ff00);
		ck_assert_uint_eq(messages, heard);
		struct picture p = shoot("", PANEL_SHOT_GUEST);
		ck_assert_ptr_null(p.pixels);
		if (round == 1) {
			descriptors = lowest_free_descriptor();
			maps = mappings_of("memfd");
		} else if (round > 1) {
			ck_assert_int_eq(lowest_free_descriptor(), descriptors);
			ck_assert_uint_eq(mappings_of("memfd"), maps);
		}
	}
	ck_assert_uint_eq(stats.modesets, 1);
	/* Ends while one is joined: the panel's half is the panel's to free. */
	panel_join_guest(panel, hand_make_apart(&guest, 2ull * W * H * 4));
	panel_rig_close();
	hand_free(&guest);
	hand_free(&ui);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-panel");
	TCase *c = tcase_create("headless");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, faces_and_toggles);
	tcase_add_test(c, hidden_guest_goes_on);
	tcase_add_test(c, hidden_with_a_frame_outstanding);
	tcase_add_test(c, cursor_over_the_guest);
	tcase_add_test(c, inactive_session_is_dark);
	tcase_add_test(c, synthetic_guest);
	tcase_add_test(c, machines_come_and_go);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
