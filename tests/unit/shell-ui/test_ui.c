/* The UI as a producer on its link, with a panel that only pretends. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/wait.h>

#include "fake_panel.h"

static struct fake_panel panel;

static void open_panel(void)
{
	fake_panel_open(&panel, 1280, 800, NULL);
}

static void close_panel(void)
{
	fake_panel_close(&panel);
}

static void shown(uint32_t width, uint32_t height)
{
	fake_panel_display(&panel, width, height);
	ck_assert(fake_panel_wait_size(&panel, min_u32(width, 1280), min_u32(height, 800)));
}

static size_t differing(const uint32_t *a, const uint32_t *b, uint32_t width, uint32_t height, struct rect *where)
{
	size_t n = 0;
	*where = (struct rect){ 0 };
	for (uint32_t y = 0; y < height; y++) {
		for (uint32_t x = 0; x < width; x++) {
			if (((a[y * width + x] ^ b[y * width + x]) & 0xffffff) == 0)
				continue;
			*where = rect_union(*where, (struct rect){ x, y, 1, 1 });
			n++;
		}
	}
	return n;
}

START_TEST(test_first_frames)
{
	fake_panel_settle(&panel);
	ck_assert_uint_eq(panel.frames[0], 0); /* nothing before there is a display */
	shown(800, 600);
	for (uint32_t head = 0; head < 2; head++) {
		uint32_t w, h, *pixels = fake_panel_picture(&panel, head, &w, &h);
		ck_assert_ptr_nonnull(pixels);
		ck_assert_uint_eq(w, 800);
		ck_assert_uint_eq(h, 600);
		size_t black = 0, bright = 0;
		for (size_t i = 0; i < (size_t)w * h; i++) {
			black += (pixels[i] & 0xffffff) == 0;
			bright += (pixels[i] & 0xff00) > 0x8000;
		}
		ck_assert_uint_eq(black, 0);
		ck_assert_uint_gt(bright, 500); /* there is text on it */
		free(pixels);
	}
	ck_assert_uint_eq(panel.frames[0], 1);
	ck_assert_uint_eq(panel.frames[1], 1);
	ck_assert_uint_eq(panel.refused, 0);
}
END_TEST

/* Typed keys appear, within the damage that is told, and nothing is drawn when nothing happens. */
START_TEST(test_echo)
{
	shown(800, 600);
	uint32_t w, h, *before = fake_panel_picture(&panel, 0, &w, &h);
	uint64_t frames = panel.frames[0], other = panel.frames[1];
	fake_panel_type(&panel, "w");
	fake_panel_settle(&panel);
	ck_assert_uint_gt(panel.frames[0], frames);
	uint32_t *after = fake_panel_picture(&panel, 0, &w, &h);
	struct rect where;
	ck_assert_uint_gt(differing(before, after, w, h, &where), 50);
	struct rect both = rect_intersect(where, panel.damage[0]);
	ck_assert(both.x == where.x && both.y == where.y && both.w == where.w && both.h == where.h);
	ck_assert_uint_lt(panel.damage[0].h, 40);
	ck_assert_uint_gt(where.y, 500); /* in the prompt */
	ck_assert_uint_eq(panel.frames[1], other); /* the placeholder has no news */
	frames = panel.frames[0];
	fake_panel_settle(&panel);
	usleep(300000);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(panel.frames[0], frames);

	/* taken back, the picture is the old one again */
	fake_panel_tap(&panel, KEY_BACKSPACE);
	fake_panel_settle(&panel);
	uint32_t *back = fake_panel_picture(&panel, 0, &w, &h);
	ck_assert_uint_eq(differing(before, back, w, h, &where), 0);
	free(before);
	free(after);
	free(back);
}
END_TEST

START_TEST(test_actions)
{
	shown(1280, 800);
	fake_panel_type(&panel, "show linux desktop");
	fake_panel_tap(&panel, KEY_ENTER);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(panel.n_actions, 1);
	ck_assert_uint_eq(panel.action[0].action.action, LINK_ACTION_SHOW);
	fake_panel_type(&panel, "hide linux desktop");
	fake_panel_tap(&panel, KEY_ENTER);
	fake_panel_type(&panel, "vm reset");
	fake_panel_tap(&panel, KEY_KPENTER);
	fake_panel_vm(&panel, VM_RUNNING);
	fake_panel_settle(&panel);
	fake_panel_type(&panel, "press ctrl+alt+delete");
	fake_panel_tap(&panel, KEY_ENTER);
	fake_panel_type(&panel, "help");
	fake_panel_tap(&panel, KEY_ENTER);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(panel.n_actions, 4);
	ck_assert_uint_eq(panel.action[1].action.action, LINK_ACTION_HIDE);
	ck_assert_uint_eq(panel.action[2].action.action, LINK_ACTION_VM);
	ck_assert_uint_eq(panel.action[2].action.argument, LINK_VM_RESET);
	ck_assert_uint_eq(panel.action[3].action.action, LINK_ACTION_GUEST_KEY);
	ck_assert_uint_eq(panel.action[3].action.argument, KEY_DELETE);
	ck_assert_uint_eq(panel.action[3].action.held[0], KEY_LEFTCTRL);
	ck_assert_uint_eq(panel.action[3].action.held[1], KEY_LEFTALT);
	ck_assert_uint_eq(panel.action[3].action.held[2], 0);
}
END_TEST

/* History and control keys reach the editor: the second line is the first one, mended. */
START_TEST(test_editing_keys)
{
	shown(640, 480);
	fake_panel_type(&panel, "vm starx");
	fake_panel_tap(&panel, KEY_ENTER);
	fake_panel_tap(&panel, KEY_UP);
	fake_panel_tap(&panel, KEY_BACKSPACE);
	fake_panel_type(&panel, "t");
	fake_panel_tap(&panel, KEY_HOME);
	fake_panel_type(&panel, "junk ");
	fake_panel_key(&panel, KEY_LEFTCTRL, 1);
	fake_panel_tap(&panel, KEY_U);
	fake_panel_key(&panel, KEY_LEFTCTRL, 0);
	fake_panel_tap(&panel, KEY_ENTER);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(panel.n_actions, 1);
	ck_assert_uint_eq(panel.action[0].action.argument, LINK_VM_START);
}
END_TEST

/* A buffer the panel may still be reading is not painted: at most two frames are under way, and the newest comes when there is room. */
START_TEST(test_no_free_buffer)
{
	shown(800, 600);
	panel.hold = true;
	uint64_t frames = panel.frames[0];
	fake_panel_type(&panel, "a");
	fake_panel_settle(&panel);
	ck_assert_uint_eq(panel.frames[0], frames + 1);
	uint32_t w, h, *held = fake_panel_picture(&panel, 0, &w, &h);
	fake_panel_type(&panel, "bcdef");
	fake_panel_settle(&panel);
	ck_assert_uint_eq(panel.frames[0], frames + 1);
	uint32_t *still = fake_panel_picture(&panel, 0, &w, &h);
	struct rect where;
	ck_assert_uint_eq(differing(held, still, w, h, &where), 0);
	panel.hold = false;
	struct link_message presented = { .type = LINK_PRESENTED, .head = 0, .presented = { .sequence = link_table_head(panel.table, 0)->sequence } };
	link_send_to_producer(panel.link, &presented);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(panel.frames[0], frames + 2); /* all five letters at once */
	uint32_t *last = fake_panel_picture(&panel, 0, &w, &h);
	ck_assert_uint_gt(differing(held, last, w, h, &where), 100);
	free(held);
	free(still);
	free(last);
}
END_TEST

/* Buffers painted in turn each catch up on what they missed: the picture is the one a full repaint gives. */
START_TEST(test_buffer_age)
{
	shown(800, 600);
	for (const char *letter = "mwqkx"; *letter; letter++) {
		char one[2] = { *letter, '\0' };
		fake_panel_type(&panel, one);
		if (*letter == 'q')
			fake_panel_vm(&panel, VM_CRASHED);
		fake_panel_settle(&panel);
	}
	uint32_t w, h, *pieces = fake_panel_picture(&panel, 0, &w, &h), *placeholder = fake_panel_picture(&panel, 1, &w, &h);
	ck_assert_uint_ge(panel.frames[0], 5);
	shown(640, 480);
	shown(800, 600);
	uint32_t *whole = fake_panel_picture(&panel, 0, &w, &h), *other = fake_panel_picture(&panel, 1, &w, &h);
	struct rect where;
	ck_assert_uint_eq(differing(pieces, whole, w, h, &where), 0);
	ck_assert_uint_eq(differing(placeholder, other, w, h, &where), 0);
	free(pieces);
	free(placeholder);
	free(whole);
	free(other);
}
END_TEST

START_TEST(test_resize)
{
	static const uint32_t sizes[][2] = { { 800, 600 }, { 1280, 800 }, { 640, 480 }, { 0, 0 }, { 1024, 768 }, { 4000, 3000 } };
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		shown(sizes[i][0], sizes[i][1]);
		for (uint32_t head = 0; head < 2; head++) {
			uint32_t w = 0, h = 0, *pixels = fake_panel_picture(&panel, head, &w, &h);
			ck_assert((pixels != NULL) == (sizes[i][0] != 0));
			ck_assert_uint_eq(w, sizes[i][0] > 1280 ? 1280 : sizes[i][0]);
			ck_assert_uint_eq(h, sizes[i][1] > 800 ? 800 : sizes[i][1]);
			free(pixels);
		}
	}
	ck_assert_uint_eq(panel.refused, 0);
}
END_TEST

/* The placeholder follows the machine's state by itself. */
START_TEST(test_placeholder_follows)
{
	shown(800, 600);
	uint32_t w, h, *before = fake_panel_picture(&panel, 1, &w, &h);
	fake_panel_vm(&panel, VM_CRASHED);
	fake_panel_settle(&panel);
	uint32_t *after = fake_panel_picture(&panel, 1, &w, &h);
	struct rect where;
	ck_assert_uint_gt(differing(before, after, w, h, &where), 100);
	size_t red = 0; /* the tag [!!] */
	for (size_t i = 0; i < (size_t)w * h; i++)
		red += (after[i] >> 16 & 0xff) > 0xc0 && (after[i] >> 8 & 0xff) < 0x80;
	ck_assert_uint_gt(red, 20);
	free(before);
	free(after);
}
END_TEST

static uint64_t frames_within(int ms)
{
	uint64_t from = panel.frames[0], until = clock_now_ns() + (uint64_t)ms * NSEC_PER_MSEC;
	while (clock_now_ns() < until)
		fake_panel_pump(&panel, 20);
	return panel.frames[0] - from;
}

/* A guest that changes its size all the time has it told a few times a second; the last size is the one that stays. */
START_TEST(test_restless_guest)
{
	shown(1280, 800);
	usleep(300000);
	fake_panel_settle(&panel);
	uint64_t frames = panel.frames[0], begin = clock_now_ns(), until = begin + NSEC_PER_SEC;
	uint32_t n = 0;
	for (; clock_now_ns() < until; n++) {
		fake_panel_scanout(&panel, 640 + n % 2 * 160, 480);
		fake_panel_pump(&panel, 5);
	}
	uint64_t paces = (clock_now_ns() - begin) / (250 * NSEC_PER_MSEC);
	ck_assert_uint_gt(n, 4 * paces);
	ck_assert_uint_gt(panel.frames[0], frames); /* the first at once */
	ck_assert_uint_le(panel.frames[0] - frames, paces + 1);
	fake_panel_scanout(&panel, 1920, 1080);
	usleep(300000);
	fake_panel_settle(&panel);
	uint32_t w, h, *last = fake_panel_picture(&panel, 0, &w, &h);
	fake_panel_scanout(&panel, 640, 480);
	usleep(300000);
	fake_panel_settle(&panel);
	fake_panel_scanout(&panel, 1920, 1080);
	usleep(300000);
	fake_panel_settle(&panel);
	uint32_t *again = fake_panel_picture(&panel, 0, &w, &h);
	struct rect where;
	ck_assert_uint_eq(differing(last, again, w, h, &where), 0);
	free(last);
	free(again);
}
END_TEST

/* A held key repeats; its release, or losing the screen, ends that. evdev's own repeats (value 2) are not counted. */
START_TEST(test_repeat)
{
	shown(640, 480);
	fake_panel_key(&panel, KEY_A, 1);
	ck_assert_uint_ge(frames_within(1200), 4);
	fake_panel_key(&panel, KEY_A, 0);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(frames_within(600), 0);
	fake_panel_key(&panel, KEY_B, 1);
	ck_assert_uint_ge(frames_within(900), 2);
	fake_panel_visible(&panel, 0, false);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(frames_within(600), 0);
	fake_panel_key(&panel, KEY_B, 0);
	for (int i = 0; i < 5; i++)
		fake_panel_key(&panel, KEY_C, 2);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(frames_within(300), 0);
}
END_TEST

START_TEST(test_leds)
{
	shown(640, 480);
	fake_panel_tap(&panel, KEY_CAPSLOCK);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(panel.leds, 1u << LED_CAPSL);
	fake_panel_visible(&panel, 0, false);
	fake_panel_visible(&panel, 0, true);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(panel.leds, 1u << LED_CAPSL); /* a lock outlives the absence */
	fake_panel_tap(&panel, KEY_CAPSLOCK);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(panel.leds, 0);
}
END_TEST

/* Nonsense from the other side is ignored. */
START_TEST(test_bad_messages)
{
	shown(640, 480);
	struct link_message message;
	srand(3);
	for (int i = 0; i < 2000; i++) {
		for (size_t b = 0; b < sizeof(message); b++)
			((uint8_t *)&message)[b] = (uint8_t)rand();
		message.type = (uint32_t)(LINK_PRESENTED + rand() % 8);
		if (message.type == LINK_DISPLAY)
			message.display.width = message.display.height = (uint32_t)(rand() % 3);
		while (!link_send_to_producer(panel.link, &message))
			fake_panel_pump(&panel, 5);
		fake_panel_pump(&panel, 0);
	}
	fake_panel_settle(&panel);
	shown(800, 600);
	uint32_t w, h, *pixels = fake_panel_picture(&panel, 1, &w, &h);
	ck_assert_ptr_nonnull(pixels);
	ck_assert_uint_eq(w, 800);
	ck_assert_uint_eq(panel.refused, 0);
	free(pixels);
}
END_TEST

/* Without any font the UI says what to install. fontconfig reads its settings once, hence a process of its own. */
START_TEST(test_no_font)
{
	char path[] = "/tmp/rayvm-fonts-XXXXXX";
	int fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	static const char empty[] = "<?xml version=\"1.0\"?><fontconfig></fontconfig>";
	ck_assert_int_eq(write(fd, empty, sizeof(empty) - 1), (ssize_t)sizeof(empty) - 1);
	close(fd);
	setenv("FONTCONFIG_FILE", path, 1);
	struct status_board *board = status_board_create();
	struct ui_config config = { .board = board, .max_width = 640, .max_height = 480 };
	char error[256] = "";
	struct ui *ui = ui_create(&config, error, sizeof(error));
	unlink(path);
	ck_assert_ptr_null(ui);
	ck_assert_ptr_nonnull(strstr(error, "fonts-dejavu-core"));
	status_board_destroy(board);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("ui");
	TCase *tcase = tcase_create("ui"), *alone = tcase_create("alone");
	tcase_add_checked_fixture(tcase, open_panel, close_panel);
	tcase_add_test(tcase, test_first_frames);
	tcase_add_test(tcase, test_echo);
	tcase_add_test(tcase, test_actions);
	tcase_add_test(tcase, test_editing_keys);
	tcase_add_test(tcase, test_no_free_buffer);
	tcase_add_test(tcase, test_buffer_age);
	tcase_add_test(tcase, test_resize);
	tcase_add_test(tcase, test_placeholder_follows);
	tcase_add_test(tcase, test_restless_guest);
	tcase_add_test(tcase, test_repeat);
	tcase_add_test(tcase, test_leds);
	tcase_add_test(tcase, test_bad_messages);
	suite_add_tcase(suite, tcase);
	tcase_add_test(alone, test_no_font);
	suite_add_tcase(suite, alone);
	return suite;
}

UNIT_MAIN(make_suite)
