/* The guest's pointer: which of cursor plane and software shows it, and what a commit names when moves, pictures, toggles, flips and refusals meet. */
#define LOG_MODULE "test"
#include "fake_card.h"

#include <sys/mman.h>

#include <drm_fourcc.h>
#include <wayland-server-core.h>

#include "base/stats.h"
#include "kms/panel_private.h"

#define BUFFER_BYTES 16384u
#define MEMORY (64 * BUFFER_BYTES)
#define SIDE LINK_CURSOR_SIDE
#define GUEST_PIXEL 0x00204060u
#define RED 0xffff0000u
#define GREEN 0xff00ff00u
#define BLUE 0xff0000ffu

enum { UI_BUFFER = 1, GUEST_A, GUEST_B, SMALL, POINTER_RED, POINTER_GREEN, POINTER_BLUE };

static struct fake fake;
static struct wl_event_loop *loop;
static struct panel *panel;
static struct status_board *board;
static struct stats stats;
static struct link *ui, *guest;
static int memory;
static uint32_t *pixels;
static uint64_t sequence, presented;

static void hear(void)
{
	struct link_message message;
	while (link_receive_for_producer(ui, &message))
		continue;
	while (guest && link_receive_for_producer(guest, &message))
		if (message.type == LINK_PRESENTED)
			presented = message.presented.sequence;
}

#define UNTIL(what)                                                      \
	do {                                                             \
		uint64_t deadline = clock_now_ns() + 10 * NSEC_PER_SEC;  \
		while (!(what)) {                                        \
			ck_assert_msg(clock_now_ns() < deadline, #what); \
			wl_event_loop_dispatch(loop, 5);                 \
			hear();                                          \
		}                                                        \
	} while (0)

/* Long enough for the worker to have said whatever it has to say, also about a hidden guest. */
static void settle(void)
{
	uint64_t end = clock_now_ns() + 130 * NSEC_PER_MSEC;
	while (clock_now_ns() < end) {
		wl_event_loop_dispatch(loop, 5);
		hear();
	}
}

static void announce(struct link *link, uint32_t id, uint32_t w, uint32_t h, uint32_t format)
{
	struct link_segment segment = {(uint64_t)id * BUFFER_BYTES, BUFFER_BYTES};
	ck_assert(link_send_buffer(link, (struct link_buffer_id){id, 1}, w, h, w * 4, format, 0, &segment, 1));
}

static void show(struct link *link, uint32_t head, uint32_t id, uint64_t number, uint32_t w)
{
	struct link_message message = {.type = LINK_FRAME, .head = head};
	message.frame.buffer = (struct link_buffer_id){id, 1};
	message.frame.sequence = number;
	message.frame.source = message.frame.damage = (struct rect){0, 0, w, H};
	ck_assert(link_send_to_panel(link, &message));
}

static void frame(uint32_t id)
{
	show(guest, 0, id, ++sequence, id == SMALL ? W / 2 : W);
}

/* picture 0: as it was. */
static void point(uint32_t picture, int32_t x, int32_t y, bool visible)
{
	struct link_message message = {.type = LINK_CURSOR};
	message.cursor.buffer = (struct link_buffer_id){picture, picture != 0};
	message.cursor.x = x;
	message.cursor.y = y;
	message.cursor.hot_x = 3;
	message.cursor.hot_y = 5;
	message.cursor.visible = visible;
	ck_assert(link_send_to_panel(guest, &message));
}

static uint32_t plane_pixel(void)
{
	return fake.plane.buffer ? ((const uint32_t *)(const void *)fake.plane.buffer->pixels)[0] : 0;
}

static bool plane_shows(uint32_t colour, int32_t x, int32_t y)
{
	return plane_pixel() == colour && fake.plane.x == x && fake.plane.y == y;
}

/* A pixel of the picture on the screen, which is a copy. */
static uint32_t screen_pixel(uint32_t x, uint32_t y)
{
	ck_assert(!fake.shown.imported);
	return ((const uint32_t *)(const void *)(fake.shown.pixels + (size_t)y * fake.shown.pitch))[x] & 0xffffffu;
}

/* The status page says what the display can do, the status what is done. */
static void expect_status(bool plane, enum status_cursor cursor)
{
	struct status status;
	status_board_read(board, &status);
	ck_assert_int_eq(status.cursor, cursor);
	ck_assert_int_eq(strstr(status.line[STATUS_DISPLAY].text, "cursor plane") != NULL, plane);
}

static void fill(uint32_t id, uint32_t colour)
{
	for (uint32_t i = 0; i < BUFFER_BYTES / 4; i++)
		pixels[id * (BUFFER_BYTES / 4) + i] = colour;
}

/* Hidden, the UI on the screen. */
static void make(void)
{
	char error[200];
	memset(&stats, 0, sizeof(stats));
	sequence = presented = 0;
	fake.base = (struct backend){.ops = &fake_ops, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .hotplug_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.cursor_width = fake.base.cursor_width, .cursor_height = fake.base.cursor_height};
	fake.connected = true;
	fake.width = W;
	loop = wl_event_loop_create();
	board = status_board_create();
	struct panel_config config = {.board = board, .stats = &stats};
	panel = panel_create_on(loop, &config, &fake.base, error, sizeof(error));
	ck_assert_ptr_nonnull(panel);
	memory = memfd_create("pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(ftruncate(memory, MEMORY), 0);
	pixels = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	fill(GUEST_A, GUEST_PIXEL);
	fill(GUEST_B, GUEST_PIXEL);
	fill(SMALL, GUEST_PIXEL);
	fill(POINTER_RED, RED);
	fill(POINTER_GREEN, GREEN);
	fill(POINTER_BLUE, BLUE);
	ui = link_create(memory, MEMORY);
	guest = link_create(memory, MEMORY);
	panel_add_producer(panel, PANEL_FACE_UI, ui);
	panel_add_producer(panel, PANEL_FACE_GUEST, guest);
	ck_assert_int_eq(panel_start(panel), 0);
	announce(ui, UI_BUFFER, W, H, DRM_FORMAT_XRGB8888);
	show(ui, 0, UI_BUFFER, 1, W);
	UNTIL(fake.commits == 1);
	announce(guest, GUEST_A, W, H, DRM_FORMAT_XRGB8888);
	announce(guest, GUEST_B, W, H, DRM_FORMAT_XRGB8888);
	announce(guest, SMALL, W / 2, H, DRM_FORMAT_XRGB8888);
	for (uint32_t id = POINTER_RED; id <= POINTER_BLUE; id++)
		announce(guest, id, SIDE, SIDE, DRM_FORMAT_ARGB8888);
}

static void setup(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.cursor = true;
	fake.base.cursor_width = fake.base.cursor_height = SIDE;
	make();
}

static void setup_copying(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.cursor = true;
	fake.refuse_import = ENODEV;
	fake.base.cursor_width = fake.base.cursor_height = SIDE;
	make();
}

static void teardown(void)
{
	panel_destroy(panel);
	ck_assert(fake.destroyed);
	ck_assert_uint_eq(fake.made, fake.freed);
	ck_assert_uint_eq(fake.cursor_buffers, 0);
	link_destroy(ui);
	link_destroy(guest);
	munmap(pixels, MEMORY);
	close(memory);
	status_board_destroy(board);
	wl_event_loop_destroy(loop);
}

static void remake(void)
{
	teardown();
	fake.commits = fake.made = fake.freed = 0;
	fake.pending = false;
	make();
}

static void present(void)
{
	panel_present(panel, PRESENTATION_PRESENTED, clock_now_ns());
	UNTIL(panel->now.valid && panel->now.face == PANEL_FACE_GUEST && !fake.pending);
}

/* Presented, the red pointer at 10,20 on the plane. */
static void present_with_pointer(void)
{
	frame(GUEST_A);
	point(POINTER_RED, 10, 20, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete && !panel->face[PANEL_FACE_GUEST].drawn[panel->face[PANEL_FACE_GUEST].latest]);
	present();
	settle();
	ck_assert(plane_shows(RED, 10, 20) && !fake.pending);
}

/* --- pure ---------------------------------------------------------------------------------------------------------- */

START_TEST(plane_or_software)
{
	const struct rect whole = {0, 0, 1280, 800}, left_bar = {40, 0, 1200, 800}, inside = {100, 50, 1000, 700};
	const struct {
		struct pointer_case what;
		bool plane, shown;
		int32_t x, y;
	} table[] = {
		/* fits */
		{{true, 64, 64, 1280, 800, whole, whole, 0, 0}, true, true, 0, 0},
		{{true, 256, 256, 1280, 800, whole, whole, 700, 300}, true, true, 700, 300},
		/* over the output's edges: the card cuts it */
		{{true, 64, 64, 1280, 800, whole, whole, -63, -63}, true, true, -63, -63},
		{{true, 64, 64, 1280, 800, whole, whole, 1279, 799}, true, true, 1279, 799},
		/* outside: nothing to be shown, and no number that a card might not take */
		{{true, 64, 64, 1280, 800, whole, whole, -64, 0}, true, false, 0, 0},
		{{true, 64, 64, 1280, 800, whole, whole, 0, 800}, true, false, 0, 0},
		{{true, 64, 64, 1280, 800, whole, whole, INT32_MAX, INT32_MAX}, true, false, 0, 0},
		{{true, 64, 64, 1280, 800, whole, whole, INT32_MIN, INT32_MIN}, true, false, 0, 0},
		/* no plane, refused, or for smaller pictures */
		{{false, 64, 64, 1280, 800, whole, whole, 0, 0}, false, false, 0, 0},
		{{true, 32, 64, 1280, 800, whole, whole, 0, 0}, false, false, 0, 0},
		{{true, 64, 63, 1280, 800, whole, whole, 0, 0}, false, false, 0, 0},
		{{true, 0, 0, 1280, 800, whole, whole, 0, 0}, false, false, 0, 0},
		/* scaled, either way; no picture */
		{{true, 64, 64, 1280, 800, {0, 0, 640, 400}, whole, 0, 0}, false, false, 0, 0},
		{{true, 64, 64, 1280, 800, {0, 0, 2560, 1600}, whole, 0, 0}, false, false, 0, 0},
		{{true, 64, 64, 1280, 800, {0, 0, 1280, 400}, whole, 0, 0}, false, false, 0, 0},
		{{true, 64, 64, 1280, 800, {0, 0, 0, 0}, {0, 0, 0, 0}, 0, 0}, false, false, 0, 0},
		/* a part of a larger buffer, and beside bars: positions are the picture's */
		{{true, 64, 64, 1280, 800, {500, 500, 1280, 800}, whole, 7, 8}, true, true, 7, 8},
		{{true, 64, 64, 1280, 800, {0, 0, 1200, 800}, left_bar, 7, 8}, true, true, 47, 8},
		/* cut by an edge that is not the output's: the card would not */
		{{true, 64, 64, 1280, 800, {0, 0, 1200, 800}, left_bar, -1, 8}, false, false, 0, 0},
		{{true, 64, 64, 1280, 800, {0, 0, 1200, 800}, left_bar, 1136, 8}, true, true, 1176, 8},
		{{true, 64, 64, 1280, 800, {0, 0, 1200, 800}, left_bar, 1137, 8}, false, false, 0, 0},
		{{true, 64, 64, 1280, 800, {0, 0, 1200, 800}, left_bar, 100, -60}, true, true, 140, -60},
		{{true, 64, 64, 1280, 800, {0, 0, 1000, 700}, inside, 100, -1}, false, false, 0, 0},
		{{true, 64, 64, 1280, 800, {0, 0, 1000, 700}, inside, 100, 637}, false, false, 0, 0},
		{{true, 64, 64, 1280, 800, {0, 0, 1000, 700}, inside, 100, 636}, true, true, 200, 686},
		/* wholly in the bars: not the guest's to draw on */
		{{true, 64, 64, 1280, 800, {0, 0, 1000, 700}, inside, -64, 0}, true, false, 0, 0},
	};
	for (uint32_t i = 0; i < ARRAY_LEN(table); i++) {
		struct pointer pointer;
		ck_assert_msg(pointer_on_plane(&table[i].what, &pointer) == table[i].plane, "row %u", i);
		ck_assert_msg(pointer.shown == table[i].shown && pointer.x == table[i].x && pointer.y == table[i].y, "row %u: %d %d,%d", i, pointer.shown,
			pointer.x, pointer.y);
	}
}
END_TEST

START_TEST(packing)
{
	const struct pointer table[] = {
		{0}, {true, 1, 0, 0, 0, 0}, {true, 2, -63, -63, 63, 63}, {true, 1, LINK_MAX_SIDE - 1, LINK_MAX_SIDE - 1, 63, 0}, {false, 2, -1, 1, 0, 63},
	};
	for (uint32_t i = 0; i < ARRAY_LEN(table); i++) {
		struct pointer back = pointer_unpack(pointer_pack(&table[i]));
		ck_assert(back.shown == table[i].shown && back.slot == table[i].slot && back.x == table[i].x && back.y == table[i].y &&
			  back.hot_x == table[i].hot_x && back.hot_y == table[i].hot_y);
	}
	/* Hidden is hidden, wherever. */
	ck_assert(pointer_same(&table[0], &table[4]));
	ck_assert(!pointer_same(&table[0], &table[1]));
	ck_assert(!pointer_same(&table[1], &table[2]));
}
END_TEST

/* Who has which buffer: what the front read of is its own until it says so, what it never looked at comes back by itself. */
START_TEST(two_buffers)
{
	struct fake card = {.base = {.ops = &fake_ops, .cursor_width = SIDE, .cursor_height = SIDE}};
	struct pointer_plane plane = {0};
	struct pointer_news news = {0};
	static uint32_t image[SIDE * SIDE];
	const struct pointer at = {.shown = true};
	/* Nobody looks: any number of pictures. */
	for (uint32_t i = 0; i < 5; i++) {
		image[0] = i;
		plane.stale = true;
		ck_assert_int_eq(pointer_load(&plane, &card.base, &news, image), POINTER_LOADED);
		pointer_say(&plane, &news, at);
	}
	struct pointer first = pointer_take(&news);
	ck_assert_uint_eq(*(uint32_t *)(void *)news.buffer[first.slot - 1].pixels, 4);
	/* The same picture needs no other buffer, however often it moves. */
	for (int32_t i = 0; i < 5; i++) {
		ck_assert_int_eq(pointer_load(&plane, &card.base, &news, image), POINTER_LOADED);
		pointer_say(&plane, &news, (struct pointer){.shown = true, .x = i});
		ck_assert_uint_eq(plane.slot, first.slot);
	}
	/* The front has one, so there is one for all that follow, until it has read of that one too. */
	for (uint32_t i = 10; i < 15; i++) {
		image[0] = i;
		plane.stale = true;
		ck_assert_int_eq(pointer_load(&plane, &card.base, &news, image), i == 10 ? POINTER_LOADED : POINTER_WAITS);
		if (i == 10)
			pointer_say(&plane, &news, at);
	}
	struct pointer second = pointer_take(&news);
	ck_assert_uint_ne(second.slot, first.slot);
	ck_assert_uint_eq(*(uint32_t *)(void *)news.buffer[second.slot - 1].pixels, 10);
	ck_assert_uint_eq(*(uint32_t *)(void *)news.buffer[first.slot - 1].pixels, 4);
	ck_assert_int_eq(pointer_load(&plane, &card.base, &news, image), POINTER_WAITS);
	pointer_free(&plane, first.slot);
	ck_assert_int_eq(pointer_load(&plane, &card.base, &news, image), POINTER_LOADED);
	ck_assert_uint_eq(plane.slot, first.slot);
	ck_assert_uint_eq(*(uint32_t *)(void *)news.buffer[second.slot - 1].pixels, 10);
	pointer_say(&plane, &news, at);
	/* Slots that do not exist are nobody's. */
	pointer_free(&plane, 0);
	pointer_free(&plane, 3);
	pointer_plane_end(&plane, &card.base, &news);
	ck_assert_uint_eq(card.made, 2);
	ck_assert_uint_eq(card.freed, 2);
}
END_TEST

/* --- the panel ------------------------------------------------------------------------------------------------------- */

START_TEST(moves_cost_no_picture)
{
	present_with_pointer();
	ck_assert(fake.shown.imported);
	ck_assert_uint_eq(fake.plane.hot_x, 3);
	ck_assert_uint_eq(fake.plane.hot_y, 5);
	expect_status(true, STATUS_CURSOR_PLANE);
	for (int32_t i = 0; i < 10; i++) {
		uint32_t commits = fake.commits, alone = fake.cursor_alone;
		point(0, -20 + 7 * i, i, true);
		UNTIL(plane_shows(RED, -20 + 7 * i, i) && !fake.pending);
		ck_assert_uint_eq(fake.commits, commits + 1);
		ck_assert_uint_eq(fake.cursor_alone, alone + 1);
	}
	/* Zero-copy goes on beside it, and a move goes with the picture's flip when there is one. */
	for (uint32_t i = 0; i < 10; i++) {
		frame(GUEST_A + i % 2);
		UNTIL(presented == sequence);
		ck_assert(fake.shown.imported);
		ck_assert(plane_shows(RED, 43, 9));
	}
	ck_assert_uint_eq(atomic_load(&stats.bytes_copied), 0);
	point(0, 0, 0, false);
	UNTIL(fake.plane.buffer == NULL);
	ck_assert_uint_eq(atomic_load(&stats.modesets), 1);
}
END_TEST

START_TEST(move_during_a_flip)
{
	present_with_pointer();
	fake.hold_flips = true;
	frame(GUEST_B);
	UNTIL(fake.pending);
	uint32_t commits = fake.commits;
	for (int32_t i = 1; i <= 20; i++) {
		point(0, i, i, true);
		settle();
		if (i == 3)
			break;
	}
	ck_assert_uint_eq(fake.commits, commits); /* one in flight; nothing is asked of a busy card */
	ck_assert_uint_eq(fake.failed, 0);
	fake.hold_flips = false;
	eventfd_write(fake.base.fd, 1);
	UNTIL(plane_shows(RED, 3, 3) && !fake.pending);
	ck_assert_uint_eq(fake.commits, commits + 1); /* the newest, once */
	ck_assert_uint_eq(presented, sequence);
	/* The other way round: a picture during the flip of a move. */
	fake.hold_flips = true;
	point(0, 30, 30, true);
	UNTIL(fake.pending);
	commits = fake.commits;
	frame(GUEST_A);
	point(0, 31, 31, true);
	settle();
	ck_assert_uint_eq(fake.commits, commits);
	fake.hold_flips = false;
	eventfd_write(fake.base.fd, 1);
	UNTIL(presented == sequence && !fake.pending);
	ck_assert_uint_eq(fake.commits, commits + 1); /* both in one */
	ck_assert(plane_shows(RED, 31, 31));
}
END_TEST

START_TEST(flood_of_moves)
{
	present_with_pointer();
	uint32_t commits = fake.commits;
	uint64_t begin = clock_now_ns();
	uint32_t sent = 0;
	while (clock_now_ns() < begin + 200 * NSEC_PER_MSEC) {
		struct link_message message = {.type = LINK_CURSOR};
		message.cursor.x = (int32_t)(sent % 40);
		message.cursor.y = 1;
		message.cursor.visible = 1;
		sent += link_send_to_panel(guest, &message);
		wl_event_loop_dispatch(loop, 0);
		hear();
	}
	uint64_t refreshes = (clock_now_ns() - begin) / 5000000 + 1; /* at 200 Hz */
	ck_assert_uint_gt(sent, 500);
	ck_assert_uint_le(fake.commits - commits, refreshes + 1);
	ck_assert_uint_gt(fake.commits - commits, 3);
	/* The last one counts. */
	bool last = false;
	while (!last) {
		struct link_message message = {.type = LINK_CURSOR, .cursor = {.x = 50, .y = 40, .visible = 1}};
		last = link_send_to_panel(guest, &message);
		wl_event_loop_dispatch(loop, 1);
	}
	UNTIL(plane_shows(RED, 50, 40));
}
END_TEST

START_TEST(hidden_guest)
{
	present_with_pointer();
	panel_present(panel, PRESENTATION_HIDDEN, clock_now_ns());
	UNTIL(panel->now.face == PANEL_FACE_UI && !fake.pending);
	ck_assert_ptr_null(fake.plane.buffer); /* the UI draws its own */
	settle();
	uint32_t commits = fake.commits;
	for (int32_t i = 0; i < 8; i++) {
		point((uint32_t)(POINTER_RED + i % 3), i, 2 * i, true);
		point(0, i + 1, 2 * i, true);
		settle();
	}
	ck_assert_uint_eq(fake.commits, commits);
	/* The toggle back is one commit, of the picture and of the pointer as they are by now. */
	point(POINTER_BLUE, 5, 6, true);
	settle();
	panel_present(panel, PRESENTATION_PRESENTED, clock_now_ns());
	UNTIL(panel->now.face == PANEL_FACE_GUEST && !fake.pending);
	ck_assert_uint_eq(fake.commits, commits + 1);
	ck_assert_ptr_nonnull(fake.last.buffer);
	ck_assert(plane_shows(BLUE, 5, 6));
}
END_TEST

/* Moves of a hidden guest wake the front ten times a second; a toggle does not wait for that. */
START_TEST(toggle_takes_the_newest)
{
	frame(GUEST_A);
	point(POINTER_RED, 1, 1, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	settle();
	point(0, 2, 2, true);
	settle();
	point(0, 3, 3, true);
	usleep(20000); /* the worker has it, the front was not told */
	panel_present(panel, PRESENTATION_PRESENTED, clock_now_ns());
	UNTIL(fake.plane.buffer);
	ck_assert(plane_shows(RED, 3, 3));
}
END_TEST

/* Nor does a move that comes right after it. */
START_TEST(move_after_a_toggle)
{
	uint64_t quickest = UINT64_MAX;
	frame(GUEST_A);
	point(POINTER_RED, 1, 1, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	for (int32_t i = 0; i < 5; i++) {
		panel_present(panel, PRESENTATION_HIDDEN, clock_now_ns());
		UNTIL(panel->now.face == PANEL_FACE_UI && !fake.pending);
		settle();
		point(0, 10, i, true); /* the front is told, and would not be again for a while */
		UNTIL(panel->pointer.y == i && panel->pointer.x == 10);
		panel_present(panel, PRESENTATION_PRESENTED, clock_now_ns());
		UNTIL(plane_shows(RED, 10, i));
		uint64_t begin = clock_now_ns();
		point(0, 20, i, true);
		UNTIL(plane_shows(RED, 20, i));
		uint64_t took = clock_now_ns() - begin;
		quickest = took < quickest ? took : quickest;
	}
	ck_assert_uint_lt(quickest, WORKER_HIDDEN_NS / 2);
}
END_TEST

START_TEST(hide_during_a_toggle)
{
	frame(GUEST_A);
	point(POINTER_RED, 1, 1, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	settle();
	fake.hold_flips = true;
	panel_present(panel, PRESENTATION_PRESENTED, clock_now_ns());
	UNTIL(fake.pending && plane_shows(RED, 1, 1));
	uint32_t commits = fake.commits;
	point(0, 1, 1, false);
	settle();
	ck_assert_uint_eq(fake.commits, commits);
	fake.hold_flips = false;
	eventfd_write(fake.base.fd, 1);
	UNTIL(fake.plane.buffer == NULL && !fake.pending);
	ck_assert_uint_eq(fake.commits, commits + 1);
	/* A toggle back while the pointer's flip is held: the pointer goes with the face. */
	point(0, 2, 2, true);
	UNTIL(plane_shows(RED, 2, 2) && !fake.pending);
	fake.hold_flips = true;
	point(0, 4, 4, true);
	UNTIL(fake.pending);
	commits = fake.commits;
	panel_present(panel, PRESENTATION_HIDDEN, clock_now_ns());
	point(0, 5, 5, true);
	settle();
	ck_assert_uint_eq(fake.commits, commits);
	fake.hold_flips = false;
	eventfd_write(fake.base.fd, 1);
	UNTIL(panel->now.face == PANEL_FACE_UI && !fake.pending);
	ck_assert_uint_eq(fake.commits, commits + 1);
	ck_assert_ptr_null(fake.plane.buffer);
}
END_TEST

/* There and back between two flips: the pointer that moved meanwhile is no answer to a toggle. */
START_TEST(there_and_back)
{
	present_with_pointer();
	fake.hold_flips = true;
	point(0, 4, 4, true);
	UNTIL(fake.pending);
	uint64_t replaced = atomic_load(&stats.toggles_replaced);
	panel_present(panel, PRESENTATION_HIDDEN, clock_now_ns());
	panel_present(panel, PRESENTATION_PRESENTED, clock_now_ns());
	point(0, 5, 5, true);
	settle();
	struct histogram_summary before, after;
	histogram_summarise(&stats.toggle_commit_us, &before);
	fake.hold_flips = false;
	eventfd_write(fake.base.fd, 1);
	UNTIL(plane_shows(RED, 5, 5) && !fake.pending);
	histogram_summarise(&stats.toggle_commit_us, &after);
	ck_assert_uint_eq(after.count, before.count);
	ck_assert_uint_eq(atomic_load(&stats.toggles_replaced), replaced + 2);
}
END_TEST

/* The fake looks at each commit and flip whether what is on the screen was written. */
START_TEST(pictures_change)
{
	present_with_pointer();
	const struct scanout_buffer *before = fake.plane.buffer;
	point(POINTER_GREEN, 10, 20, true);
	UNTIL(plane_shows(GREEN, 10, 20) && !fake.pending);
	ck_assert_ptr_ne(fake.plane.buffer, before);
	/* Three pictures while one is on the screen and one on its way: the last one comes, at once when there is room. */
	fake.hold_flips = true;
	point(POINTER_RED, 11, 20, true);
	UNTIL(fake.pending);
	point(POINTER_GREEN, 12, 20, true);
	settle();
	fill(POINTER_BLUE, BLUE);
	point(POINTER_BLUE, 13, 20, true);
	settle();
	ck_assert(plane_shows(RED, 11, 20));
	fake.hold_flips = false;
	eventfd_write(fake.base.fd, 1);
	UNTIL(plane_shows(BLUE, 13, 20) && !fake.pending);
	for (uint32_t i = 0; i < 30; i++)
		point(POINTER_RED + i % 3, (int32_t)i, 0, true);
	UNTIL(plane_shows(BLUE, 29, 0) && !fake.pending);
	ck_assert_uint_le(fake.cursor_buffers, 2);
	ck_assert_uint_eq(fake.failed, 0);
}
END_TEST

/* A card that takes larger pictures gets ours in the corner of one, and nothing of what was in its memory. */
START_TEST(larger_plane)
{
	fake.base.cursor_width = fake.base.cursor_height = 128;
	remake();
	present_with_pointer();
	const uint32_t *at = (const uint32_t *)(const void *)fake.plane.buffer->pixels;
	for (uint32_t i = 0; i < 128 * 128; i++)
		ck_assert_uint_eq(at[i], i % 128 < SIDE && i / 128 < SIDE ? RED : 0);
}
END_TEST

static void expect_software(void)
{
	frame(GUEST_A);
	point(POINTER_RED, 10, 20, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete && panel->face[PANEL_FACE_GUEST].drawn[panel->face[PANEL_FACE_GUEST].latest]);
	present();
	UNTIL(screen_pixel(10, 20) == (RED & 0xffffffu));
	ck_assert_uint_eq(screen_pixel(9, 20), GUEST_PIXEL);
	ck_assert_ptr_null(fake.plane.buffer);
	expect_status(panel->pointer_plane, STATUS_CURSOR_SOFTWARE);
	point(0, 30, 20, true);
	UNTIL(screen_pixel(10, 20) == GUEST_PIXEL);
	ck_assert_uint_eq(screen_pixel(30, 20), RED & 0xffffffu);
}

START_TEST(no_plane)
{
	fake.cursor = false;
	remake();
	expect_software();
	fake.cursor = true;
	fake.base.cursor_width = 32;
	remake();
	expect_software();
	fake.base.cursor_width = SIDE;
	fake.refuse_cursor_buffer = true;
	remake();
	expect_software();
}
END_TEST

/* A move that the card does not take: the picture stays, and the next one has the pointer in it. */
START_TEST(refused_move)
{
	present_with_pointer();
	uint32_t full = fake.full;
	fake.refuse_cursor = true;
	point(0, 30, 20, true);
	UNTIL(fake.cursor_refused);
	UNTIL(!fake.shown.imported && screen_pixel(30, 20) == (RED & 0xffffffu) && !fake.pending);
	ck_assert_uint_eq(fake.cursor_refused, 1);
	ck_assert_ptr_null(fake.plane.buffer); /* never two pointers */
	ck_assert_uint_eq(fake.full, full);    /* and no mode was set for it */
	expect_status(false, STATUS_CURSOR_SOFTWARE);
	/* It is not asked again. */
	for (int32_t i = 0; i < 5; i++) {
		point(0, i, i, true);
		frame(GUEST_A);
		UNTIL(presented == sequence && screen_pixel((uint32_t)i, (uint32_t)i) == (RED & 0xffffffu));
	}
	ck_assert_uint_eq(fake.cursor_refused, 1);
}
END_TEST

/* The first time it is tried, beside nothing: what is on the screen stays untouched. */
START_TEST(refused_at_first)
{
	frame(GUEST_A);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	present();
	fake.refuse_cursor = true;
	uint32_t commits = fake.commits;
	point(POINTER_RED, 10, 20, true);
	UNTIL(!fake.shown.imported && !fake.pending);
	ck_assert_uint_eq(screen_pixel(10, 20), RED & 0xffffffu);
	ck_assert_uint_eq(fake.cursor_refused, 1);
	ck_assert_uint_eq(fake.full, 1);
	ck_assert_uint_le(fake.commits, commits + 2); /* the same picture out of the way of the plane, then the one with the pointer */
}
END_TEST

/* A toggle finds out: its picture is shown all the same, by the same call. */
START_TEST(refused_by_a_toggle)
{
	frame(GUEST_A);
	point(POINTER_RED, 10, 20, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	settle();
	fake.refuse_cursor = true;
	fake.hold_flips = true;
	uint32_t commits = fake.commits;
	panel_present(panel, PRESENTATION_PRESENTED, clock_now_ns());
	UNTIL(fake.pending);
	ck_assert_uint_eq(fake.commits, commits + 1);
	ck_assert_int_eq(panel->next.face, PANEL_FACE_GUEST);
	fake.hold_flips = false;
	eventfd_write(fake.base.fd, 1);
	UNTIL(!fake.shown.imported && screen_pixel(10, 20) == (RED & 0xffffffu));
	ck_assert_uint_eq(fake.cursor_refused, 1);
	ck_assert_uint_eq(fake.full, 1);
}
END_TEST

/* It is the picture that the card does not take, not the pointer, which moved at the same time. */
START_TEST(refused_picture)
{
	present_with_pointer();
	fake.hold_flips = true;
	point(0, 11, 20, true);
	UNTIL(fake.pending);
	fake.refuse_imported = true;
	frame(GUEST_B);
	point(0, 12, 20, true);
	settle();
	fake.hold_flips = false;
	eventfd_write(fake.base.fd, 1);
	UNTIL(presented == sequence && !fake.pending);
	ck_assert(!fake.shown.imported);
	ck_assert(plane_shows(RED, 12, 20));
	ck_assert_uint_eq(screen_pixel(12, 20), GUEST_PIXEL);
	ck_assert(panel->pointer_plane);
}
END_TEST

/* A busy card, or one that is not ours at present, has refused nothing. */
START_TEST(busy_is_no_refusal)
{
	present_with_pointer();
	fake.fail = EBUSY;
	fake.fail_count = 3;
	point(0, 30, 30, true);
	UNTIL(plane_shows(RED, 30, 30));
	ck_assert_uint_eq(fake.failed, 3);
	ck_assert(panel->pointer_plane);
	ck_assert_uint_eq(fake.full, 1);
}
END_TEST

/* Its corner is left of the middle and above, in both sizes. */
static void one_pointer(void)
{
	ck_assert_int_eq((fake.plane.buffer != NULL) + (screen_pixel(W / 2, 20) == (RED & 0xffffffu)), 1);
}

/* From scaled to unscaled and back: one pointer in each picture on the way, never two, never none. */
START_TEST(scaled_and_back)
{
	for (uint32_t round = 0; round < 3; round++) {
		frame(SMALL);
		if (round == 0) {
			point(POINTER_RED, 0, 10, true);
			UNTIL(panel->face[PANEL_FACE_GUEST].complete && panel->face[PANEL_FACE_GUEST].drawn[panel->face[PANEL_FACE_GUEST].latest]);
			present();
		}
		fake.look = one_pointer;
		/* 32x48 on 64x48: not scaled, in the middle, and cut by its edges there. */
		UNTIL(presented == sequence && !fake.pending);
		ck_assert_ptr_null(fake.plane.buffer);
		UNTIL(screen_pixel(W / 2, 10) == (RED & 0xffffffu));
		ck_assert_uint_eq(screen_pixel(2, 10), 0); /* not in the bar */
		ck_assert_uint_eq(screen_pixel(W / 2, 9), GUEST_PIXEL);
		frame(GUEST_A);
		UNTIL(presented == sequence && !fake.pending);
		UNTIL(plane_shows(RED, 0, 10) && !fake.pending);
		ck_assert_uint_eq(screen_pixel(W / 2, 10), GUEST_PIXEL);
		/* Both framebuffers in the front's hands: the next picture waits, and so does the change. */
		fake.hold_flips = true;
		frame(GUEST_A);
		UNTIL(fake.pending);
		frame(SMALL);
		settle();
		fake.hold_flips = false;
		eventfd_write(fake.base.fd, 1);
	}
	UNTIL(presented == sequence && !fake.pending);
	fake.look = NULL;
}
END_TEST

START_TEST(session_lost_and_back)
{
	present_with_pointer();
	panel_session(panel, false);
	uint32_t commits = fake.commits;
	point(POINTER_GREEN, 1, 2, true);
	settle();
	point(POINTER_BLUE, 3, 4, true);
	settle();
	ck_assert_uint_eq(fake.commits, commits);
	/* Whatever the other owner left there: the whole state, the pointer in it. */
	fake.plane = (struct commit_cursor){0};
	panel_session(panel, true);
	UNTIL(fake.commits > commits);
	ck_assert(fake.last.full);
	UNTIL(plane_shows(BLUE, 3, 4) && !fake.pending);
	/* Away from it with a flip of the pointer that is never heard of. */
	fake.hold_flips = true;
	point(POINTER_RED, 5, 6, true);
	UNTIL(plane_shows(RED, 5, 6));
	panel_session(panel, false);
	fake.hold_flips = fake.pending = false;
	panel_session(panel, true);
	UNTIL(plane_shows(RED, 5, 6) && fake.last.full);
	point(POINTER_GREEN, 7, 8, true);
	UNTIL(plane_shows(GREEN, 7, 8));
	point(POINTER_BLUE, 9, 8, true);
	UNTIL(plane_shows(BLUE, 9, 8)); /* no buffer was forgotten */
}
END_TEST

START_TEST(full_commit_refused_with_it)
{
	present_with_pointer();
	panel_session(panel, false);
	fake.refuse_cursor = true;
	panel_session(panel, true);
	UNTIL(fake.full == 2);
	ck_assert_ptr_null(fake.plane.buffer);
	UNTIL(!fake.shown.imported && screen_pixel(10, 20) == (RED & 0xffffffu));
	ck_assert_uint_eq(fake.cursor_refused, 1);
	/* Another monitor is asked again. */
	fake.refuse_cursor = false;
	fake.width = W * 2;
	eventfd_write(fake.base.hotplug_fd, 1);
	UNTIL(panel->output.width == W * 2 && panel->now.valid && panel->now.set == panel->set);
	ck_assert(panel->pointer_plane);
}
END_TEST

/* The pointer of a machine that is gone goes with it. */
START_TEST(another_machine)
{
	present_with_pointer();
	struct link *old = guest, *fresh = link_create(memory, MEMORY);
	guest = NULL;
	panel_join_guest(panel, fresh);
	UNTIL(panel->joining == 0 && fake.plane.buffer == NULL);
	guest = fresh;
	sequence = presented = 0;
	announce(guest, GUEST_A, W, H, DRM_FORMAT_XRGB8888);
	announce(guest, POINTER_GREEN, SIDE, SIDE, DRM_FORMAT_ARGB8888);
	frame(GUEST_A);
	point(0, 1, 1, true); /* it has no picture of its own yet */
	UNTIL(presented == 1);
	settle();
	ck_assert_ptr_null(fake.plane.buffer);
	ck_assert(fake.shown.imported);
	point(POINTER_GREEN, 2, 2, true);
	UNTIL(plane_shows(GREEN, 2, 2));
	guest = old; /* the panel frees the other */
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("pointer");
	TCase *pure = tcase_create("pure");
	tcase_add_test(pure, plane_or_software);
	tcase_add_test(pure, packing);
	tcase_add_test(pure, two_buffers);
	suite_add_tcase(suite, pure);
	TCase *direct = tcase_create("direct");
	tcase_add_checked_fixture(direct, setup, teardown);
	tcase_add_test(direct, moves_cost_no_picture);
	tcase_add_test(direct, move_during_a_flip);
	tcase_add_test(direct, flood_of_moves);
	tcase_add_test(direct, hidden_guest);
	tcase_add_test(direct, toggle_takes_the_newest);
	tcase_add_test(direct, move_after_a_toggle);
	tcase_add_test(direct, hide_during_a_toggle);
	tcase_add_test(direct, there_and_back);
	tcase_add_test(direct, pictures_change);
	tcase_add_test(direct, larger_plane);
	tcase_add_test(direct, refused_move);
	tcase_add_test(direct, refused_at_first);
	tcase_add_test(direct, refused_by_a_toggle);
	tcase_add_test(direct, refused_picture);
	tcase_add_test(direct, busy_is_no_refusal);
	tcase_add_test(direct, session_lost_and_back);
	tcase_add_test(direct, full_commit_refused_with_it);
	tcase_add_test(direct, another_machine);
	suite_add_tcase(suite, direct);
	TCase *copying = tcase_create("copying");
	tcase_add_checked_fixture(copying, setup_copying, teardown);
	tcase_add_test(copying, scaled_and_back);
	tcase_add_test(copying, no_plane);
	suite_add_tcase(suite, copying);
	return suite;
}

UNIT_MAIN(make_suite)
