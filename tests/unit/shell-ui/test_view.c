/* Text, wrapping, layout, and that repainting the damage equals repainting everything. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "shell-ui/view.h"

static struct run run;

static void add_line(struct transcript *transcript, const char *text)
{
	run_reset(&run, TONE_TEXT);
	run_text(&run, text);
	ck_assert(transcript_add(transcript, &run));
}

static const char *row_text(struct transcript *transcript, int row)
{
	static char text[256];
	size_t n, indent;
	const struct cell *cells = transcript_row(transcript, row, &n, &indent);
	for (size_t i = 0; i < n; i++)
		text[i] = cells[i].code < 0x80 ? (char)cells[i].code : '?';
	text[n] = '\0';
	return text;
}

START_TEST(test_utf8)
{
	uint32_t code;
	ck_assert_uint_eq(utf8_decode("\xe2\x82\xac", 3, &code), 3);
	ck_assert_uint_eq(code, 0x20ac);
	/* overlong, surrogate, beyond the last plane, cut off, lone continuation: one byte each */
	static const char *const bad[] = { "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80", "\xff" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_uint_eq(utf8_decode(bad[i], strlen(bad[i]), &code), 1);
		ck_assert_uint_eq(code, 0xfffd);
	}
	for (uint32_t c = 1; c < 0x110000; c += 7) {
		char bytes[4];
		size_t n = utf8_encode(c, bytes);
		ck_assert_uint_eq(utf8_decode(bytes, n, &code), n);
		ck_assert_uint_eq(code, c >= 0xd800 && c <= 0xdfff ? 0xfffd : c);
	}
	run_reset(&run, TONE_TEXT);
	run_text(&run, "a\tb\033[2J\001");
	ck_assert_uint_eq(run.n, 14);
	ck_assert_uint_eq(run.cell[8].code, 'b');
	ck_assert_uint_eq(run.cell[9].code, 0xfffd); /* no escape sequence comes through */
	ck_assert_uint_eq(run.cell[13].code, 0xfffd);
	run_reset(&run, TONE_TEXT);
	run_markup(&run, "x" MARK_STRONG "y" MARK_PLAIN "\xe6\xbc\xa2");
	ck_assert_uint_eq(run.n, 4);
	ck_assert_uint_eq(run.cell[1].flags, CELL_BOLD);
	ck_assert_uint_eq(run.cell[2].flags, 0);
	ck_assert_uint_eq(run.cell[3].flags, CELL_TAIL);
}
END_TEST

START_TEST(test_wrap)
{
	struct transcript *transcript = transcript_create();
	transcript_resize(transcript, 10, 20);
	add_line(transcript, "the quick brown fox");
	add_line(transcript, "abcdefghijklmnopqrstuvwxyz");
	add_line(transcript, "exactly 10");
	add_line(transcript, "");
	add_line(transcript, "123456789 \xe6\xbc\xa2\xe6\xbc\xa2");
	add_line(transcript, "1\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2");
	static const char *const rows[] = { "the quick", "brown fox", "abcdefghij", "klmnopqrst", "uvwxyz", "exactly 10", "" };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		ck_assert_str_eq(row_text(transcript, (int)i), rows[i]);
	size_t n, indent;
	ck_assert_uint_eq(transcript_rows(transcript), 11);
	transcript_row(transcript, 8, &n, &indent);
	ck_assert_uint_eq(n, 4);
	transcript_row(transcript, 9, &n, &indent); /* a wide character is not cut in two */
	ck_assert_uint_eq(n, 9);
	transcript_row(transcript, 11, &n, &indent);
	ck_assert_uint_eq(n, 0);

	transcript_clear(transcript);
	run_reset(&run, TONE_TEXT);
	run_markup(&run, "ab: " MARK_INDENT "one two three");
	transcript_add(transcript, &run);
	ck_assert_str_eq(row_text(transcript, 0), "ab: one");
	ck_assert_str_eq(row_text(transcript, 1), "two");
	ck_assert_str_eq(row_text(transcript, 2), "three");
	transcript_row(transcript, 0, &n, &indent);
	ck_assert_uint_eq(indent, 0);
	transcript_row(transcript, 2, &n, &indent);
	ck_assert_uint_eq(indent, 4);
	ck_assert_uint_eq(transcript_rows(transcript), 3);
	transcript_destroy(transcript);
}
END_TEST

START_TEST(test_scroll)
{
	struct transcript *transcript = transcript_create();
	transcript_resize(transcript, 20, 5);
	char line[32];
	for (int i = 0; i < 20; i++) {
		snprintf(line, sizeof(line), "line %d", i);
		add_line(transcript, line);
	}
	ck_assert_str_eq(row_text(transcript, 4), "line 19");
	ck_assert(transcript_scroll(transcript, 4));
	ck_assert_str_eq(row_text(transcript, 0), "line 11");
	add_line(transcript, "news"); /* the view stays */
	ck_assert_str_eq(row_text(transcript, 0), "line 11");
	ck_assert_uint_eq(transcript_below(transcript), 5);
	ck_assert(transcript_scroll(transcript, 1000));
	ck_assert_str_eq(row_text(transcript, 0), "line 0");
	ck_assert(!transcript_scroll(transcript, 1));
	ck_assert(transcript_scroll_end(transcript));
	ck_assert_str_eq(row_text(transcript, 4), "news");
	transcript_destroy(transcript);
}
END_TEST

START_TEST(test_transcript_bounded)
{
	struct transcript *transcript = transcript_create();
	static char line[20000];
	memset(line, 'x', sizeof(line) - 1);
	transcript_resize(transcript, 30, 10);
	for (int i = 0; i < TRANSCRIPT_LINES * 3; i++)
		add_line(transcript, i % 50 ? "short" : line);
	ck_assert_uint_eq(transcript_lines(transcript), TRANSCRIPT_LINES);
	size_t rows = transcript_rows(transcript);
	transcript_resize(transcript, 30, 10); /* counted afresh: nothing was lost or kept twice */
	ck_assert_uint_eq(transcript_rows(transcript), rows);
	ck_assert_uint_eq(rows, TRANSCRIPT_LINES - 20 + 20 * ((RUN_CELLS + 29) / 30));
	transcript_destroy(transcript);
}
END_TEST

static const struct {
	int width, height;
} sizes[] = { { 640, 480 }, { 800, 600 }, { 1024, 768 }, { 1280, 720 }, { 1280, 800 }, { 1920, 1080 }, { 2560, 1440 }, { 3840, 2160 },
	{ 1080, 1920 }, { 320, 200 }, { 100, 60 }, { 1, 1 } };

static bool apart(const struct box *a, const struct box *b)
{
	return a->w == 0 || b->w == 0 || a->x + a->w <= b->x || b->x + b->w <= a->x || a->y + a->h <= b->y || b->y + b->h <= a->y;
}

START_TEST(test_layout)
{
	int width = sizes[_i].width, height = sizes[_i].height;
	struct fonts fonts;
	struct layout layout;
	int size = layout_font_size(width, height);
	ck_assert(fonts_load(&fonts, size));
	layout_compute(width, height, &fonts, fonts.height * 8 / 5, &layout);
	const struct box *boxes[] = { &layout.banner, &layout.rule, &layout.status, &layout.transcript, &layout.prompt, &layout.footer, &layout.scrollbar };
	for (size_t i = 0; i < ARRAY_LEN(boxes); i++) {
		ck_assert_int_ge(boxes[i]->x, 0);
		ck_assert_int_ge(boxes[i]->y, 0);
		ck_assert_int_le(boxes[i]->x + boxes[i]->w, width);
		ck_assert_int_le(boxes[i]->y + boxes[i]->h, height);
		for (size_t j = 0; width >= 640 && j < i; j++)
			ck_assert_msg(apart(boxes[i], boxes[j]), "%zu and %zu overlap at %dx%d", i, j, width, height);
	}
	if (width >= 640) {
		ck_assert_int_ge(layout.rows, 8);
		ck_assert_int_ge(layout.columns, 50);
		ck_assert_int_ge(layout.status_rows, 5);
		ck_assert_int_eq(layout.prompt.h > fonts.height, 1);
		ck_assert_int_ge(height / fonts.height, 23); /* a terminal's worth of lines anywhere */
		ck_assert_int_le(height / fonts.height, 90);
	}
	fonts_unload(&fonts);
}
END_TEST

/* Changes at random; after each the repainted damage must give the picture that a full repaint gives. */
START_TEST(test_damage)
{
	int width = sizes[_i].width, height = sizes[_i].height;
	struct transcript *transcript = transcript_create();
	static struct prompt prompt;
	memset(&prompt, 0, sizeof(prompt));
	struct status status = { 0 };
	struct answer_context context = { .status = &status, .hint = "give --kernel", .toggle_key = "`", .show_key = "F11", .hide_key = "F12" };
	struct view_model model = { .context = &context, .transcript = transcript, .prompt = &prompt };
	struct view *views[2] = { view_create_main(width, height, transcript), view_create_placeholder(width, height) };
	pixman_image_t *kept[2], *fresh = pixman_image_create_bits(PIXMAN_x8r8g8b8, width, height, NULL, 0);
	size_t bytes = (size_t)pixman_image_get_stride(fresh) * (size_t)height, smallest = bytes;
	for (int v = 0; v < 2; v++) {
		ck_assert_ptr_nonnull(views[v]);
		kept[v] = pixman_image_create_bits(PIXMAN_x8r8g8b8, width, height, NULL, 0);
	}
	srand(7);
	for (int step = 0; step < 60; step++) {
		static const char *const texts[] = { "W\xc3\x84gj_|", "MMMM iiii", "\xe6\xbc\xa2\xe5\xad\x97", "e\xcc\x81", "\xf0\x9f\x98\x80", "",
			"\xe2\x94\x80 \xe2\x96\x88 \xe2\x94\xbc" }; /* box drawing reaches beyond its cell */
		switch (rand() % 8) {
		case 0:
			add_line(transcript, texts[rand() % (int)ARRAY_LEN(texts)]);
			break;
		case 1:
			transcript_scroll(transcript, rand() % 9 - 4);
			break;
		case 2:
			snprintf(status.line[rand() % STATUS_SLOTS].text, STATUS_TEXT, "%s %d", texts[rand() % (int)ARRAY_LEN(texts)], rand());
			break;
		case 3:
			status.line[rand() % STATUS_SLOTS].tag = (enum status_tag)(rand() % 5);
			status.vm = (enum vm_state)(rand() % 7);
			break;
		case 4:
			status.scanout_width = status.scanout_height = (uint32_t)(rand() % 2) * 640;
			break;
		case 5:
			prompt_edit(&prompt, (enum prompt_edit)(rand() % (PROMPT_CLEAR + 1)));
			break;
		default:
			prompt_insert(&prompt, rand() % 3 ? (uint32_t)('A' + rand() % 50) : rand() % 2 ? 0x6f22 : 0x253c);
			break;
		}
		for (int v = 0; v < 2; v++) {
			struct scene *scene = view_scene(views[v]);
			view_update(views[v], &model);
			scene_render(scene, kept[v], scene_damage(scene));
			const pixman_box32_t *box = pixman_region32_extents((pixman_region32_t *)scene_damage(scene));
			size_t area = (size_t)(box->x2 - box->x1) * (size_t)(box->y2 - box->y1) * 4;
			if (step > 0 && area < smallest)
				smallest = area;
			scene_clear_damage(scene);
			memset(pixman_image_get_data(fresh), 0x55, bytes);
			pixman_region32_t all;
			pixman_region32_init_rect(&all, 0, 0, (unsigned)width, (unsigned)height);
			scene_render(scene, fresh, &all);
			pixman_region32_fini(&all);
			/* the unused byte of a pixel may differ */
			const uint32_t *a = pixman_image_get_data(fresh), *b = pixman_image_get_data(kept[v]);
			for (size_t i = 0; i < bytes / 4; i++) {
				if ((a[i] ^ b[i]) & 0xffffff)
					ck_abort_msg("view %d step %d: pixel %zu,%zu differs", v, step, i % (size_t)width, i / (size_t)width);
			}
			view_update(views[v], &model); /* nothing new: nothing to draw */
			ck_assert(!pixman_region32_not_empty((pixman_region32_t *)scene_damage(scene)));
		}
	}
	ck_assert_uint_lt(smallest, bytes / 4 + 64);
	for (int v = 0; v < 2; v++) {
		pixman_image_unref(kept[v]);
		view_destroy(views[v]);
	}
	pixman_image_unref(fresh);
	transcript_destroy(transcript);
}
END_TEST

static char *dump(struct view *view)
{
	static char text[65536];
	scene_dump(view_scene(view), text, sizeof(text));
	return text;
}

START_TEST(test_main_text)
{
	struct transcript *transcript = transcript_create();
	static struct prompt prompt;
	struct status status = { .vm = VM_RUNNING };
	struct answer_context context = { .status = &status, .toggle_key = "`", .show_key = "F11", .hide_key = "F12" };
	struct view_model model = { .context = &context, .transcript = transcript, .prompt = &prompt };
	static const enum status_tag tags[] = { STATUS_OK, STATUS_BUSY, STATUS_OFF, STATUS_BAD, STATUS_OK };
	for (int i = 0; i < 5; i++) {
		status.line[i].tag = tags[i];
		snprintf(status.line[i].text, STATUS_TEXT, "slot%d", i);
	}
	prompt_set(&prompt, "show");
	add_line(transcript, "said before");
	struct view *view = view_create_main(sizes[_i].width, sizes[_i].height, transcript);
	view_update(view, &model);
	static const char *const wanted[] = { "RayOS", "[OK] VM", "[..] Display", "[--] Input", "[!!] Disk", "[OK] Memory", "slot0", "slot4",
		"said before", "> show", "F11", "F12", " ` " };
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		ck_assert_msg(strstr(dump(view), wanted[i]), "%s is missing at %dx%d", wanted[i], sizes[_i].width, sizes[_i].height);
	/* the cursor of a long line is in sight at both ends */
	for (int i = 0; i < 500; i++)
		prompt_insert(&prompt, 'x');
	prompt_insert(&prompt, '!');
	view_update(view, &model);
	ck_assert_ptr_nonnull(strstr(dump(view), "x!"));
	ck_assert_ptr_null(strstr(dump(view), "> show"));
	prompt_edit(&prompt, PROMPT_HOME);
	view_update(view, &model);
	ck_assert_ptr_nonnull(strstr(dump(view), "> show"));
	prompt_edit(&prompt, PROMPT_CLEAR);
	view_destroy(view);
	transcript_destroy(transcript);
}
END_TEST

/* Said on both faces while it is so, and only where a keyboard is expected. Narrow screens say it in the prompt. */
START_TEST(test_no_keyboard)
{
	struct transcript *transcript = transcript_create();
	static struct prompt prompt;
	struct status status = { .vm = VM_RUNNING, .plugged = true, .session = SESSION_ACTIVE };
	struct answer_context context = { .status = &status, .toggle_key = "`", .show_key = "F11", .hide_key = "F12" };
	struct view_model model = { .context = &context, .transcript = transcript, .prompt = &prompt };
	struct view *views[] = { view_create_main(sizes[_i].width, sizes[_i].height, transcript), view_create_placeholder(sizes[_i].width, sizes[_i].height) };
	for (size_t v = 0; v < ARRAY_LEN(views); v++) {
		static const struct {
			uint32_t keyboards;
			bool plugged;
			enum session_state session;
			bool said;
		} table[] = { { 0, true, SESSION_ACTIVE, true }, { 1, true, SESSION_ACTIVE, false }, { 0, true, SESSION_ACTIVE, true },
			{ 0, false, SESSION_ACTIVE, false }, { 0, true, SESSION_INACTIVE, false } };
		for (size_t i = 0; i < ARRAY_LEN(table); i++) {
			status.keyboards = table[i].keyboards;
			status.plugged = table[i].plugged;
			status.session = table[i].session;
			view_update(views[v], &model);
			ck_assert_msg((strstr(dump(views[v]), "no keyboard") != NULL) == table[i].said, "row %zu, face %zu, %dx%d", i, v, sizes[_i].width, sizes[_i].height);
		}
		view_destroy(views[v]);
	}
	transcript_destroy(transcript);
}
END_TEST

/* Each cell of the prompt names the character that stands there; beside the box nothing is named. */
START_TEST(test_prompt_at)
{
	struct transcript *transcript = transcript_create();
	static struct prompt prompt;
	struct status status = { 0 };
	struct answer_context context = { .status = &status, .toggle_key = "`", .show_key = "F11", .hide_key = "F12" };
	struct view_model model = { .context = &context, .transcript = transcript, .prompt = &prompt };
	struct view *view = view_create_main(800, 600, transcript);
	const struct layout *layout = view_layout(view);
	struct fonts fonts;
	ck_assert(fonts_load(&fonts, layout_font_size(800, 600)));
	uint32_t at;
	prompt_set(&prompt, "a\xe6\xbc\xa2" "b\xcc\x81" "c"); /* a wide one in two cells, and one with a mark on it */
	view_update(view, &model);
	int y = layout->prompt.y + layout->prompt.h / 2, x = layout->prompt.x + layout->pad + 2 * fonts.width + fonts.width / 2;
	static const uint32_t wanted[] = { 0, 1, 1, 2, 4, 5, 5 };
	for (int cell = 0; cell < (int)ARRAY_LEN(wanted); cell++) {
		ck_assert(view_prompt_at(view, &prompt, x + cell * fonts.width, y, &at));
		ck_assert_msg(at == wanted[cell], "cell %d is %u", cell, at);
	}
	ck_assert(view_prompt_at(view, &prompt, layout->prompt.x, y, &at));
	ck_assert_uint_eq(at, 0);
	ck_assert(!view_prompt_at(view, &prompt, x, layout->prompt.y - 1, &at));
	ck_assert(!view_prompt_at(view, &prompt, x, layout->prompt.y + layout->prompt.h, &at));
	ck_assert(!view_prompt_at(view, &prompt, layout->prompt.x - 1, y, &at));
	ck_assert(!view_prompt_at(view, &prompt, layout->prompt.x + layout->prompt.w, y, &at));
	/* Scrolled sideways what is in sight counts. */
	for (int i = 0; i < 300; i++)
		prompt_insert(&prompt, 'x');
	view_update(view, &model);
	ck_assert(view_prompt_at(view, &prompt, x, y, &at));
	ck_assert_uint_gt(at, 200);
	prompt_place(&prompt, 3); /* between b and its mark */
	ck_assert_uint_eq(prompt.cursor, 4);
	prompt_place(&prompt, 100000);
	ck_assert_uint_eq(prompt.cursor, prompt.line.length);
	fonts_unload(&fonts);
	view_destroy(view);
	transcript_destroy(transcript);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("view");
	TCase *tcase = tcase_create("view");
	tcase_add_test(tcase, test_utf8);
	tcase_add_test(tcase, test_wrap);
	tcase_add_test(tcase, test_scroll);
	tcase_add_test(tcase, test_transcript_bounded);
	tcase_add_loop_test(tcase, test_layout, 0, (int)ARRAY_LEN(sizes));
	tcase_add_loop_test(tcase, test_main_text, 0, 8);
	tcase_add_loop_test(tcase, test_no_keyboard, 0, 8);
	tcase_add_test(tcase, test_prompt_at);
	tcase_add_loop_test(tcase, test_damage, 0, 5);
	tcase_add_loop_test(tcase, test_damage, 9, (int)ARRAY_LEN(sizes));
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
