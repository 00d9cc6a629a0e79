/* The trusted strip: where it is, what it says, and that nothing of the guest's gets into its rows, whatever the guest does. */
#define LOG_MODULE "test"
#include "fake_panel.h"

#include "kms/letters.h"
#include "kms/strip.h"
#include "random.h"

#define SIDE LINK_CURSOR_SIDE
#define GUEST_PIXEL 0x00204060u
#define QUIET 130 /* ms */

enum { GUEST_A = UI_BUFFER + 1, POINTER = GUEST_A + 8, UI_POINTER };

START_TEST(layout)
{
	static const struct {
		enum panel_strip where;
		uint32_t width, height, rows;
	} table[] = {
		{PANEL_STRIP_OFF, 1280, 800, 0}, {PANEL_STRIP_TOP, 1280, 800, 28}, {PANEL_STRIP_BOTTOM, 1280, 800, 28}, {PANEL_STRIP_TOP, 1920, 1080, 28},
		{PANEL_STRIP_BOTTOM, 3840, 2160, 70}, {PANEL_STRIP_TOP, 640, 480, 14}, {PANEL_STRIP_TOP, 64, 48, 12}, {PANEL_STRIP_BOTTOM, 7, 4, 1},
		{PANEL_STRIP_TOP, 7, 3, 0}, {PANEL_STRIP_TOP, 16384, 16384, 112}, {PANEL_STRIP_TOP, 0, 0, 0},
	};
	for (uint32_t i = 0; i < ARRAY_LEN(table); i++) {
		const struct strip_layout parts = strip_layout(table[i].where, table[i].width, table[i].height);
		ck_assert_msg(parts.strip.h == table[i].rows, "row %u: %u", i, parts.strip.h);
		ck_assert_uint_eq(parts.strip.h + parts.content.h, table[i].height);
		ck_assert_uint_eq(parts.content.w, table[i].width);
		ck_assert_uint_eq(parts.content.y, table[i].where == PANEL_STRIP_TOP ? table[i].rows : 0);
		if (parts.strip.h) {
			ck_assert_uint_eq(parts.strip.w, table[i].width);
			ck_assert_uint_eq(parts.strip.y, table[i].where == PANEL_STRIP_TOP ? 0 : parts.content.h);
		}
		ck_assert(table[i].where == PANEL_STRIP_OFF || (parts.content.h & 1) == 0 || table[i].height < 56);
	}
	/* Pictures of any size lie in the content, and one that was drawn for it fills it. */
	for (uint32_t where = PANEL_STRIP_TOP; where <= PANEL_STRIP_BOTTOM; where++) {
		const struct rect content = strip_layout((enum panel_strip)where, 1280, 800).content;
		for (uint32_t w = 1; w < 3000; w += 37) {
			for (uint32_t h = 1; h < 3000; h += 41) {
				struct rect at = strip_letterbox((enum panel_strip)where, w, h, 1280, 800), in = rect_intersect(at, content);
				ck_assert(memcmp(&in, &at, sizeof(at)) == 0);
			}
		}
		struct rect at = strip_letterbox((enum panel_strip)where, content.w, content.h, 1280, 800);
		ck_assert(memcmp(&content, &at, sizeof(at)) == 0);
	}
	struct rect none = strip_letterbox(PANEL_STRIP_TOP, 0, 0, 1280, 800);
	ck_assert(rect_empty(&none) && none.y == 0);
}
END_TEST

/* Every pixel of it and none beside it; another colour for each side. */
START_TEST(drawing)
{
	static uint32_t screen[100 * 30];
	const struct blit_target whole_screen = {(uint8_t *)screen, 400, 100, 30};
	uint32_t paper[2];
	for (uint32_t guests = 0; guests < 2; guests++) {
		for (uint32_t i = 0; i < 100 * 30; i++)
			screen[i] = 0xdeadbeef;
		const struct blit_target strip = strip_part(&whole_screen, (struct rect){0, 16, 100, 14});
		strip_draw(&strip, guests, "F12: A TEXT THAT IS LONGER THAN THE STRIP");
		uint32_t ink = 0;
		paper[guests] = screen[16 * 100];
		for (uint32_t i = 0; i < 100 * 30; i++) {
			ck_assert(i < 1600 ? screen[i] == 0xdeadbeef : screen[i] == paper[guests] || screen[i] == 0xffffff);
			ink += screen[i] == 0xffffff;
		}
		ck_assert_uint_gt(ink, 100);
	}
	ck_assert_uint_ne(paper[0], paper[1]);
}
END_TEST

/* It names the key, and there is a letter for all that it says. */
START_TEST(words)
{
	static const char *const keys[][2] = {{"F11", "F12"}, {"`", "`"}, {"LEFTMETA+TAB", "Pause"}, {"LEFTMETA+`", "LEFTMETA+`"}};
	for (uint32_t k = 0; k < ARRAY_LEN(keys); k++) {
		for (uint32_t f = 0; f < PANEL_FACES; f++) {
			char text[160];
			strip_write(text, sizeof(text), (enum panel_face)f, keys[k][0], keys[k][1]);
			const char *key = keys[k][f != PANEL_FACE_UI];
			if (strcmp(key, "LEFTMETA+`") == 0)
				key = "LEFTMETA+BACKTICK";
			ck_assert_msg(strstr(text, *key == '`' ? "BACKTICK" : strcmp(key, "Pause") == 0 ? "PAUSE" : key) != NULL, "%s", text);
			ck_assert_msg((strncmp(text, "GUEST", 5) == 0) == (f >= PANEL_FACE_GUEST), "%s", text);
			for (const char *c = text; *c; c++) {
				bool ink = false;
				for (uint32_t i = 0; i < LETTER_WIDTH * LETTER_HEIGHT; i++)
					ink |= letters_ink(*c, i % LETTER_WIDTH, i / LETTER_WIDTH);
				ck_assert_msg(ink == (*c != ' '), "no letter for %c", *c);
			}
		}
	}
	char small[8];
	strip_write(small, sizeof(small), PANEL_FACE_UI, "F11", "F12");
	ck_assert_str_eq(small, "HOST. F");
}
END_TEST

static enum panel_strip where;
static uint32_t expected[2][H / 4 * W]; /* of the UI's face, of the guest's */
static uint32_t looked, guests_seen, planes_seen;

/* Each commit: the strip's rows are the host's, and no plane reaches into them. */
static void look(void)
{
	const struct rect strip = strip_layout(where, W, H).strip;
	bool guests = panel_wanted_face(&panel->screen[0]) == PANEL_FACE_GUEST;
	ck_assert(!fake.shown.imported);
	for (uint32_t y = 0; y < strip.h; y++) {
		const uint32_t *row = (const uint32_t *)(const void *)(fake.shown.pixels + (size_t)(strip.y + y) * fake.shown.pitch);
		for (uint32_t x = 0; x < W; x++)
			ck_assert_msg((row[x] & 0xffffff) == expected[guests][y * W + x], "%x at %u,%u", row[x], x, strip.y + y);
	}
	if (fake.plane.buffer && guests) {
		planes_seen++;
		int64_t top = fake.plane.y, bottom = top + SIDE;
		ck_assert_msg(bottom <= strip.y || top >= (int64_t)strip.y + strip.h, "the plane from row %d on", fake.plane.y);
	}
	looked++;
	guests_seen += guests;
}

static void start(enum panel_strip at)
{
	const struct panel_config config = {.strip = at, .strip_text = {"HOST", "HOST", "GUEST F12"}};
	where = at;
	looked = guests_seen = planes_seen = 0;
	memset(&fake, 0, sizeof(fake));
	fake.connected = fake.cursor = true;
	fake.base.cursor_width = fake.base.cursor_height = SIDE;
	const struct rect strip = strip_layout(at, W, H).strip;
	for (uint32_t side = 0; side < 2; side++)
		strip_draw(&(struct blit_target){(uint8_t *)expected[side], W * 4, W, strip.h}, side, side ? "GUEST F12" : "HOST");
	fake_panel_open(&config, true);
	for (uint32_t id = GUEST_A; id < POINTER; id++)
		paint(id, GUEST_PIXEL);
	paint(POINTER, 0xffff0000);
	paint(UI_POINTER, 0xffff0000);
	fake.look = look;
	UNTIL(fake.commits >= 1);
}

static void setup_top(void)
{
	start(PANEL_STRIP_TOP);
}

static void setup_bottom(void)
{
	start(PANEL_STRIP_BOTTOM);
}

/* The guest, in the size it was told. */
static void show_guest(void)
{
	const struct rect content = strip_layout(where, W, H).content, picture = {0, 0, content.w, content.h};
	announce(guest, GUEST_A, content.w, content.h, DRM_FORMAT_XRGB8888);
	show(guest, 0, GUEST_A, ++guest_sequence, picture, picture);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	present(PRESENTATION_PRESENTED);
}

/* Producers are told the rest, a guest that takes its size fills it, and pointing counts from there. */
START_TEST(the_rest_is_the_guests)
{
	const struct rect content = strip_layout(where, W, H).content;
	show_guest();
	UNTIL(panel->screen[0].now.face == PANEL_FACE_GUEST && !fake.pending);
	for (uint32_t y = 0; y < content.h; y++)
		for (uint32_t x = 0; x < content.w; x++)
			ck_assert_uint_eq(screen_pixel(x, content.y + y), GUEST_PIXEL);
	ck_assert_uint_eq(display_w, W);
	ck_assert_uint_eq(display_h, content.h);
	uint32_t w, h;
	struct rect at;
	panel_geometry(panel, PANEL_FACE_GUEST, &w, &h, &at);
	ck_assert(w == W && h == H && memcmp(&at, &content, sizeof(at)) == 0);
	ck_assert_uint_gt(guests_seen, 0);
	struct status status;
	status_board_read(board, &status);
	ck_assert_ptr_nonnull(strstr(status.line[STATUS_PATH].text, "--trusted-strip"));
	/* Figures leave it alone, too. */
	panel_toggle_figures(panel);
	UNTIL(screen_pixel(W - 1, content.y) != GUEST_PIXEL && !fake.pending);
	panel_toggle_figures(panel);
	UNTIL(screen_pixel(W - 1, content.y) == GUEST_PIXEL && !fake.pending);
}
END_TEST

/* The pointer at each height: on the plane only where that stays out, else drawn into the picture, cut. */
START_TEST(pointers)
{
	announce(guest, POINTER, SIDE, SIDE, DRM_FORMAT_ARGB8888);
	show_guest();
	uint32_t before = looked;
	for (int32_t y = -70; y < 60; y += 5) {
		ck_assert(send_pointer(guest, 0, POINTER, 3, y, true));
		settle(25);
	}
	ck_assert_uint_gt(looked, before);
	ck_assert_uint_gt(planes_seen, 0);
}
END_TEST

/* Frames of any size and source, pointers anywhere, buffers that come and go, toggles in between. */
START_TEST(flood)
{
	static const uint32_t formats[] = {DRM_FORMAT_XRGB8888, DRM_FORMAT_ARGB8888, DRM_FORMAT_BGRX8888, DRM_FORMAT_ABGR8888};
	struct random random = random_series(random_seed("STRIP_SEED", 1));
	uint64_t end = clock_now_ns() + 2 * NSEC_PER_SEC;
	uint32_t generation[POINTER - GUEST_A] = {0};
	announce(guest, POINTER, SIDE, SIDE, DRM_FORMAT_ARGB8888);
	announce(ui, UI_POINTER, SIDE, SIDE, DRM_FORMAT_ARGB8888);
	while (clock_now_ns() < end) {
		uint32_t n = random_below(&random, POINTER - GUEST_A), w = 1 + random_below(&random, 64), h = 1 + random_below(&random, 64);
		struct link_buffer_id name = {GUEST_A + n, ++generation[n]};
		const struct link_segment segment = {(uint64_t)name.id * BUFFER_BYTES, BUFFER_BYTES};
		if (!link_send_buffer(guest, name, w, h, w * 4, formats[random_below(&random, 4)], 0, &segment, 1)) {
			generation[n]--;
			turn(1);
			continue;
		}
		struct rect source = {random_below(&random, w), random_below(&random, h), 0, 0};
		source.w = 1 + random_below(&random, w - source.x);
		source.h = 1 + random_below(&random, h - source.y);
		struct link_message message = {.type = LINK_FRAME};
		message.frame.buffer = name;
		message.frame.sequence = ++guest_sequence;
		message.frame.source = message.frame.damage = source;
		link_send_to_panel(guest, &message);
		send_pointer(guest, 0, random_below(&random, 3) ? 0 : POINTER, (int32_t)random_below(&random, 200) - 100, (int32_t)random_below(&random, 200) - 100,
			random_below(&random, 5) != 0);
		link_send_to_panel(guest, &(struct link_message){.type = LINK_BUFFER_DEAD, .dead = name});
		if (random_below(&random, 20) == 0)
			send_pointer(ui, 0, UI_POINTER, 5, (int32_t)random_below(&random, H), true);
		if (random_below(&random, 10) == 0)
			present(random_below(&random, 3) ? PRESENTATION_PRESENTED : PRESENTATION_HIDDEN);
		turn(0);
	}
	ck_assert_uint_gt(guests_seen, 20);
	ck_assert_uint_gt(looked, guests_seen);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("strip");
	TCase *pure = tcase_create("pure");
	tcase_add_test(pure, layout);
	tcase_add_test(pure, drawing);
	tcase_add_test(pure, words);
	suite_add_tcase(suite, pure);
	static const struct {
		const char *name;
		void (*setup)(void);
	} cases[] = {{"top", setup_top}, {"bottom", setup_bottom}};
	for (uint32_t i = 0; i < ARRAY_LEN(cases); i++) {
		TCase *tcase = tcase_create(cases[i].name);
		tcase_set_timeout(tcase, 30);
		tcase_add_checked_fixture(tcase, cases[i].setup, fake_panel_close);
		tcase_add_test(tcase, the_rest_is_the_guests);
		tcase_add_test(tcase, pointers);
		tcase_add_test(tcase, flood);
		suite_add_tcase(suite, tcase);
	}
	return suite;
}

UNIT_MAIN(make_suite)
