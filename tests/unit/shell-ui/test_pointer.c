/* The UI's pointer: its decisions by themselves, and what the UI makes of packets and says on its link. */
#include "unit.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "fake_panel.h"
#include "shell-ui/cursor.h"
#include "shell-ui/pointer.h"
#include "shell-ui/text.h"

#define S NSEC_PER_SEC

static struct ui_pointer at_middle(void)
{
	struct ui_pointer pointer = { 0 };
	ui_pointer_resize(&pointer, 800, 600);
	ui_pointer_face(&pointer, true, 0);
	return pointer;
}

START_TEST(edges)
{
	struct ui_pointer pointer = at_middle();
	ck_assert(pointer.x == 400 && pointer.y == 300);
	ui_pointer_move(&pointer, -3, 5, 1);
	ck_assert(pointer.x == 397 && pointer.y == 305);
	ui_pointer_move(&pointer, INT32_MIN, INT32_MAX, 1);
	ck_assert(pointer.x == 0 && pointer.y == 599);
	ui_pointer_move(&pointer, INT32_MAX, INT32_MIN, 1);
	ck_assert(pointer.x == 799 && pointer.y == 0);
	ui_pointer_move(&pointer, -1, 0, 1); /* no way has to be made up for beyond an edge */
	ck_assert_int_eq(pointer.x, 798);
	/* Every pixel can be pointed at, corners by the ends of the range. */
	for (int32_t x = 0; x < 800; x++) {
		ui_pointer_place(&pointer, false, (int32_t)((int64_t)x * 65535 / 799), 1);
		ck_assert_int_eq(pointer.x, x);
	}
	ui_pointer_place(&pointer, true, 65535, 1);
	ck_assert(pointer.x == 799 && pointer.y == 599);
	ui_pointer_place(&pointer, false, -5, 1);
	ui_pointer_place(&pointer, true, INT32_MAX, 1);
	ck_assert(pointer.x == 0 && pointer.y == 599);
}
END_TEST

START_TEST(other_sizes)
{
	struct ui_pointer pointer = at_middle();
	ui_pointer_move(&pointer, 200, 150, 1);
	ui_pointer_resize(&pointer, 1600, 1200);
	ck_assert(pointer.x == 1200 && pointer.y == 900);
	ui_pointer_resize(&pointer, 0, 0); /* no monitor */
	ck_assert(pointer.x == 1200 && pointer.y == 900);
	ui_pointer_resize(&pointer, 1, 1);
	ck_assert(pointer.x == 0 && pointer.y == 0);
	struct ui_pointer none = { 0 };
	ui_pointer_move(&none, 5, 5, 1);
	ui_pointer_place(&none, true, 65535, 1);
	ck_assert(none.x == 0 && none.y == 0);
}
END_TEST

START_TEST(seen_and_hidden)
{
	struct ui_pointer pointer = at_middle();
	ck_assert(!pointer.shown); /* there may be no mouse */
	ck_assert_uint_eq(ui_pointer_time(&pointer, 100 * S), 0);
	ui_pointer_move(&pointer, 1, 0, 100 * S);
	ck_assert(pointer.shown);
	ck_assert_uint_eq(ui_pointer_time(&pointer, 100 * S), 105 * S);
	ui_pointer_move(&pointer, 1, 0, 103 * S);
	ck_assert_uint_eq(ui_pointer_time(&pointer, 105 * S), 108 * S);
	ck_assert(pointer.shown);
	ck_assert_uint_eq(ui_pointer_time(&pointer, 108 * S), 0);
	ck_assert(!pointer.shown);
	ui_pointer_used(&pointer, 110 * S);
	ck_assert(pointer.shown);
	ui_pointer_typed(&pointer);
	ck_assert(!pointer.shown);
	ck_assert_uint_eq(ui_pointer_time(&pointer, 111 * S), 0);
}
END_TEST

/* While the other side is shown it is set to be seen, and the time begins with the toggle back. */
START_TEST(toggles)
{
	struct ui_pointer pointer = at_middle();
	ui_pointer_face(&pointer, false, S);
	ui_pointer_face(&pointer, true, 2 * S);
	ck_assert(!pointer.shown); /* never used */
	ui_pointer_move(&pointer, 1, 1, 3 * S);
	ui_pointer_typed(&pointer);
	ui_pointer_face(&pointer, false, 4 * S);
	ck_assert(pointer.shown);
	ck_assert_uint_eq(ui_pointer_time(&pointer, 100 * S), 0);
	ck_assert(pointer.shown);
	ui_pointer_face(&pointer, true, 200 * S);
	ck_assert(pointer.shown && pointer.x == 401 && pointer.y == 301);
	ck_assert_uint_eq(ui_pointer_time(&pointer, 200 * S), 205 * S);
}
END_TEST

/* The tip is where it points, the edge dark and the inside bright, and nothing of it is cut. */
START_TEST(arrow)
{
	static uint32_t pixels[LINK_CURSOR_SIDE * LINK_CURSOR_SIDE];
	for (uint32_t height = 8; height <= LINK_CURSOR_SIDE; height += 8) {
		uint32_t bright = 0, dark = 0, last_row = 0;
		cursor_draw(pixels, height);
		for (uint32_t i = 0; i < LINK_CURSOR_SIDE * LINK_CURSOR_SIDE; i++) {
			uint32_t alpha = pixels[i] >> 24, green = pixels[i] >> 8 & 255;
			ck_assert_uint_le(green, alpha); /* premultiplied */
			bright += alpha == 255 && green > 200;
			dark += alpha == 255 && green < 60;
			if (alpha > 0)
				last_row = i / LINK_CURSOR_SIDE;
		}
		ck_assert_uint_gt(pixels[0] >> 24, 0);
		ck_assert_uint_gt(dark, height / 6);
		ck_assert(height < 16 || bright > height);
		ck_assert_uint_lt(last_row, height);
		ck_assert_uint_gt(last_row, height * 3 / 4);
	}
}
END_TEST

static struct fake_panel panel;

static void open_panel(void)
{
	fake_panel_open(&panel, 1280, 800, NULL);
	fake_panel_display(&panel, 800, 600);
	ck_assert(fake_panel_wait_size(&panel, 800, 600));
	fake_panel_visible(&panel, 0, true);
	fake_panel_settle(&panel);
}

static void close_panel(void)
{
	ck_assert_uint_eq(panel.refused, 0);
	fake_panel_close(&panel);
}

static void mouse(int32_t dx, int32_t dy)
{
	fake_panel_packet(&panel, LINK_POINTER_RELATIVE, (struct link_event[]){ { EV_REL, REL_X, dx }, { EV_REL, REL_Y, dy } }, 2);
	fake_panel_settle(&panel);
}

static void expect(bool visible, int32_t x, int32_t y)
{
	ck_assert_msg(panel.cursor.cursor.visible == visible && (!visible || (panel.cursor.cursor.x == x && panel.cursor.cursor.y == y)), "%s at %d,%d",
		panel.cursor.cursor.visible ? "visible" : "hidden", panel.cursor.cursor.x, panel.cursor.cursor.y);
}

/* Its picture is sent once, a move is one message more and no frame. */
START_TEST(moves_draw_nothing)
{
	ck_assert_uint_eq(panel.cursors, 0);
	uint64_t frames = panel.frames[0];
	mouse(-10, 20);
	expect(true, 390, 320);
	ck_assert_uint_eq(panel.cursors, 1);
	ck_assert_uint_ne(panel.cursor.cursor.buffer.id, 0);
	ck_assert_ptr_nonnull(panel.cursor_image);
	ck_assert_uint_gt(panel.cursor_image[LINK_CURSOR_SIDE * 4 + 2] >> 24, 0);
	for (int32_t i = 1; i <= 5; i++) {
		mouse(3, 0);
		expect(true, 390 + 3 * i, 320);
		ck_assert_uint_eq(panel.cursors, 1 + (uint32_t)i);
		ck_assert_uint_eq(panel.cursor.cursor.buffer.id, 0);
	}
	mouse(0, 0);
	mouse(-10000, 0);
	mouse(-10000, 0); /* at the edge already */
	expect(true, 0, 320);
	ck_assert_uint_eq(panel.cursors, 7);
	ck_assert_uint_eq(panel.frames[0], frames);
}
END_TEST

START_TEST(typing_hides_it)
{
	mouse(1, 1);
	expect(true, 401, 301);
	fake_panel_key(&panel, KEY_LEFTSHIFT, 1); /* no typing yet */
	fake_panel_key(&panel, KEY_LEFTSHIFT, 0);
	fake_panel_settle(&panel);
	expect(true, 401, 301);
	fake_panel_type(&panel, "w");
	fake_panel_settle(&panel);
	expect(false, 0, 0);
	mouse(1, 1);
	expect(true, 402, 302);
}
END_TEST

START_TEST(time_hides_it)
{
	mouse(1, 1);
	uint64_t since = clock_now_ns();
	while (panel.cursor.cursor.visible && clock_now_ns() - since < 4 * POINTER_HIDE_NS)
		fake_panel_pump(&panel, 50);
	expect(false, 0, 0);
	ck_assert_uint_gt(clock_now_ns() - since, POINTER_HIDE_NS / 2);
}
END_TEST

/* What the panel knows while the UI is hidden is what the toggle back shows. */
START_TEST(ready_for_the_toggle)
{
	mouse(1, 1);
	fake_panel_type(&panel, "w");
	fake_panel_settle(&panel);
	expect(false, 0, 0);
	fake_panel_visible(&panel, 0, false);
	fake_panel_settle(&panel);
	expect(true, 401, 301);
	uint32_t cursors = panel.cursors;
	fake_panel_visible(&panel, 0, true);
	fake_panel_settle(&panel);
	expect(true, 401, 301);
	ck_assert_uint_eq(panel.cursors, cursors);
}
END_TEST

START_TEST(other_display)
{
	mouse(0, 0);
	expect(true, 400, 300);
	uint32_t small[LINK_CURSOR_SIDE * LINK_CURSOR_SIDE];
	memcpy(small, panel.cursor_image, sizeof(small));
	fake_panel_display(&panel, 1280, 800);
	ck_assert(fake_panel_wait_size(&panel, 1280, 800));
	expect(true, 640, 400);
	ck_assert_int_ne(memcmp(small, panel.cursor_image, sizeof(small)), 0); /* larger, as the text is */
}
END_TEST

START_TEST(full_ring)
{
	struct link_message filler = { .type = LINK_LEDS };
	while (link_send_to_panel(panel.link, &filler)) /* the UI stands still: nobody else sends */
		;
	fake_panel_packet(&panel, LINK_POINTER_RELATIVE, (struct link_event[]){ { EV_REL, REL_X, 7 } }, 1);
	while (link_room_to_producer(panel.link) < panel.room)
		poll(NULL, 0, 1);
	ck_assert_uint_eq(panel.cursors, 0);
	fake_panel_settle(&panel);
	expect(true, 407, 300);
}
END_TEST

static uint32_t caret(void)
{
	/* The cursor in the prompt is the only block of the input's colour there. */
	uint32_t w, h, *pixels = fake_panel_picture(&panel, 0, &w, &h), x = 0;
	for (uint32_t i = 0; i < w && x == 0; i++)
		for (uint32_t y = h * 3 / 4; y < h; y++)
			if ((pixels[y * w + i] & 0xffffff) == theme_colour(TONE_INPUT) && (pixels[(y + 4) * w + i] & 0xffffff) == theme_colour(TONE_INPUT))
				x = i;
	free(pixels);
	return x;
}

static int32_t prompt_row(void)
{
	uint32_t w, h, *pixels = fake_panel_picture(&panel, 0, &w, &h);
	int32_t row = 0;
	for (uint32_t y = 0; y < h && row == 0; y++)
		for (uint32_t x = 0; x < w; x++)
			if (y > h / 2 && (pixels[y * w + x] & 0xffffff) == theme_colour(TONE_INPUT))
				row = (int32_t)y + 2;
	free(pixels);
	return row;
}

/* By mouse, by tablet and by finger: the prompt's cursor goes where it is clicked, and typing goes on there. */
START_TEST(click_into_the_prompt)
{
	fake_panel_type(&panel, "abcdefgh");
	fake_panel_settle(&panel);
	uint32_t end = caret();
	int32_t y = prompt_row();
	ck_assert(end > 0 && y > 300);
	fake_panel_tap(&panel, KEY_HOME);
	fake_panel_settle(&panel);
	uint32_t start = caret(), cell = (end - start) / 8;
	ck_assert_uint_gt(cell, 4);

	/* Somewhere else nothing happens. */
	mouse((int32_t)(start + 3 * cell + cell / 2) - 400, 0);
	fake_panel_packet(&panel, LINK_POINTER_RELATIVE, (struct link_event[]){ { EV_KEY, BTN_LEFT, 1 } }, 1);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(caret(), start);
	mouse(0, y - 300);
	ck_assert_uint_eq(caret(), start);
	fake_panel_packet(&panel, LINK_POINTER_RELATIVE, (struct link_event[]){ { EV_KEY, BTN_RIGHT, 1 } }, 1);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(caret(), start);
	fake_panel_packet(&panel, LINK_POINTER_RELATIVE, (struct link_event[]){ { EV_KEY, BTN_LEFT, 1 } }, 1);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(caret(), start + 3 * cell);

	struct link_event touch[] = { { EV_ABS, ABS_MT_SLOT, 0 }, { EV_ABS, ABS_MT_TRACKING_ID, 9 }, { EV_ABS, ABS_MT_POSITION_X, (int32_t)((start + 5 * cell + 2) * 65535 / 799) },
		{ EV_ABS, ABS_MT_POSITION_Y, y * 65535 / 599 } };
	fake_panel_packet(&panel, LINK_TOUCH, touch, 4);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(caret(), start + 5 * cell);
	expect(true, (int32_t)(start + 5 * cell + 2), y);
	/* A second finger is nothing, and the first one's move no click. */
	touch[0].value = 1;
	touch[2].value = 0;
	fake_panel_packet(&panel, LINK_TOUCH, touch, 4);
	touch[0].value = 0;
	fake_panel_packet(&panel, LINK_TOUCH, (struct link_event[]){ touch[0], touch[2] }, 2);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(caret(), start + 5 * cell);
	expect(true, 0, y);

	/* A palm that was there before this face was shown has a slot of its own, and is not told of: the next finger is the first here. */
	fake_panel_packet(&panel, LINK_TOUCH, (struct link_event[]){ { EV_ABS, ABS_MT_SLOT, 1 }, { EV_ABS, ABS_MT_TRACKING_ID, -1 } }, 2);
	fake_panel_packet(&panel, LINK_TOUCH, (struct link_event[]){ { EV_ABS, ABS_MT_SLOT, 0 }, { EV_ABS, ABS_MT_TRACKING_ID, -1 } }, 2);
	touch[0].value = 1;
	touch[2].value = (int32_t)((start + 2 * cell + 2) * 65535 / 799);
	fake_panel_packet(&panel, LINK_TOUCH, touch, 4);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(caret(), start + 2 * cell);

	struct link_event tablet[] = { { EV_ABS, ABS_X, 65535 * 3 / 4 }, { EV_ABS, ABS_Y, y * 65535 / 599 } };
	fake_panel_packet(&panel, LINK_POINTER_ABSOLUTE, tablet, 2);
	fake_panel_packet(&panel, LINK_POINTER_ABSOLUTE, (struct link_event[]){ { EV_KEY, BTN_LEFT, 1 } }, 1);
	fake_panel_settle(&panel);
	ck_assert_uint_eq(caret(), end); /* behind the last character */
}
END_TEST

/* Whatever comes: no crash, nothing that the table refuses, and the pointer stays in the face. */
START_TEST(random_packets)
{
	srand(7);
	for (int i = 0; i < 3000; i++) {
		struct link_event event[3];
		for (int e = 0; e < 3; e++) {
			static const uint16_t types[] = { EV_REL, EV_ABS, EV_KEY };
			static const uint16_t codes[] = { REL_X, REL_Y, REL_WHEEL, ABS_MT_SLOT, ABS_MT_TRACKING_ID, ABS_MT_POSITION_X, ABS_MT_POSITION_Y, BTN_LEFT, 0xffff };
			event[e] = (struct link_event){ types[rand() % 3], codes[rand() % 9], rand() % 4 ? rand() % 200 - 100 : (int32_t)((uint32_t)rand() * 2 + 1) };
		}
		fake_panel_packet(&panel, (enum link_device)(rand() % 6), event, 3);
		if (i % 100 == 0)
			fake_panel_pump(&panel, 1);
		ck_assert(panel.cursor.cursor.x >= 0 && panel.cursor.cursor.x < 800 && panel.cursor.cursor.y >= 0 && panel.cursor.cursor.y < 600);
	}
	fake_panel_settle(&panel);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("shell-ui-pointer");
	TCase *pure = tcase_create("pure");
	tcase_add_test(pure, edges);
	tcase_add_test(pure, other_sizes);
	tcase_add_test(pure, seen_and_hidden);
	tcase_add_test(pure, toggles);
	tcase_add_test(pure, arrow);
	suite_add_tcase(suite, pure);
	TCase *consumer = tcase_create("consumer");
	tcase_set_timeout(consumer, 60);
	tcase_add_checked_fixture(consumer, open_panel, close_panel);
	tcase_add_test(consumer, moves_draw_nothing);
	tcase_add_test(consumer, typing_hides_it);
	tcase_add_test(consumer, time_hides_it);
	tcase_add_test(consumer, ready_for_the_toggle);
	tcase_add_test(consumer, other_display);
	tcase_add_test(consumer, full_ring);
	tcase_add_test(consumer, click_into_the_prompt);
	tcase_add_test(consumer, random_packets);
	suite_add_tcase(suite, consumer);
	return suite;
}

UNIT_MAIN(make_suite)
