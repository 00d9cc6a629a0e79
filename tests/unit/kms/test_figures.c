/* Figures over the picture: their words, their box, their pixels. */
#include "kms/figures.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#define CANARY 0xdeadbeefu

static const struct histogram_summary no_toggles, toggles = {.count = 3, .p50 = 812, .p95 = 12345, .p99 = 1234567};

START_TEST(words)
{
	struct figures_text text;
	struct figures_counts then = {.at_ns = 5 * NSEC_PER_SEC, .frames = 100, .commits = 200, .copied = 7000000};
	struct figures_counts now = {.at_ns = 7 * NSEC_PER_SEC, .frames = 219, .commits = 321, .copied = 507250000};
	figures_write(&text, &then, &now, &toggles, &no_toggles, FIGURES_COPY);
	ck_assert_str_eq(text.line[0], "GUEST     59.5 FPS, 60.5 FLIPS/S");
	ck_assert_str_eq(text.line[1], "COPIED    250.1 MB/S");
	ck_assert_str_eq(text.line[2], "PATH      COPY");
	ck_assert_str_eq(text.line[3], "KEY TO, MS     P50      P95      P99");
	ck_assert_str_eq(text.line[4], "COMMIT           -        -        -");
	ck_assert_str_eq(text.line[5], "FLIP          0.81    12.34  1234.56");
	/* Nothing has gone by yet; counters that somebody reset. */
	figures_write(&text, &now, &now, &no_toggles, &toggles, FIGURES_ZERO_COPY);
	ck_assert_str_eq(text.line[0], "GUEST     - FPS, - FLIPS/S");
	ck_assert_str_eq(text.line[1], "COPIED    - MB/S");
	ck_assert_str_eq(text.line[2], "PATH      COPY, ZERO-COPY WITHOUT THIS");
	ck_assert_str_eq(text.line[4], "COMMIT        0.81    12.34  1234.56");
	struct figures_counts reset = {.at_ns = 8 * NSEC_PER_SEC, .frames = 7};
	figures_write(&text, &now, &reset, &no_toggles, &no_toggles, FIGURES_NO_PICTURE);
	ck_assert_str_eq(text.line[0], "GUEST     7.0 FPS, 0.0 FLIPS/S");
	ck_assert_str_eq(text.line[2], "PATH      NO GUEST PICTURE");
	/* Absurd figures are cut, not written beyond. */
	struct figures_counts most = {.at_ns = 7 * NSEC_PER_SEC + 1, .frames = UINT64_MAX, .commits = UINT64_MAX, .copied = UINT64_MAX};
	struct histogram_summary large = {.count = 1, .p50 = UINT64_MAX, .p95 = UINT64_MAX, .p99 = UINT64_MAX};
	figures_write(&text, &now, &most, &large, &large, FIGURES_COPY);
	for (uint32_t i = 0; i < FIGURES_LINES; i++)
		ck_assert_uint_le(strlen(text.line[i]), FIGURES_COLUMNS);
}
END_TEST

/* The box is in the upper right corner, inside any screen, and larger on larger ones. */
START_TEST(places)
{
	static const uint32_t sizes[][2] = {{1, 1}, {64, 64}, {640, 480}, {1280, 800}, {1920, 1080}, {3840, 2160}, {16384, 16384}, {100, 9000}};
	for (uint32_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct rect r = figures_place(sizes[i][0], sizes[i][1]);
		ck_assert(!rect_empty(&r) && r.y == 0 && r.x + r.w == sizes[i][0] && r.h <= sizes[i][1]);
	}
	ck_assert_uint_eq(figures_place(1280, 800).h, 2 * figures_place(640, 480).h);
	ck_assert_uint_lt(figures_place(1280, 800).w, 500);
	ck_assert_uint_gt(figures_place(3840, 2160).h, 2 * figures_place(1280, 800).h);
}
END_TEST

/* Every pixel of the box is written and none beside it, in two colours, whatever was there before and whatever the text holds. */
START_TEST(pixels)
{
	static const uint32_t sizes[][2] = {{1280, 800}, {640, 480}, {100, 30}, {2, 2}};
	struct figures_text text;
	for (uint32_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint32_t w = sizes[i][0], h = sizes[i][1], pitch = w + 8, ink = 0, paper = 0;
		uint32_t *out = malloc((size_t)pitch * h * 4);
		struct blit_target target = {(uint8_t *)out, pitch * 4, w, h};
		struct rect place = figures_place(w, h);
		for (uint32_t p = 0; p < pitch * h; p++)
			out[p] = CANARY;
		memset(&text, 0xe7, sizeof(text)); /* no letters, and no end */
		for (uint32_t l = 0; l < FIGURES_LINES; l++)
			text.line[l][FIGURES_COLUMNS] = '\0';
		figures_draw(&target, &text);
		uint32_t background = out[place.x];
		for (uint32_t p = 0; p < pitch * h; p++)
			ck_assert_uint_eq(out[p], p % pitch >= place.x && p % pitch < w && p / pitch < place.h ? background : CANARY);
		memset(&text, 0, sizeof(text));
		strcpy(text.line[1], "  H");
		figures_draw(&target, &text);
		for (uint32_t p = 0; p < pitch * h; p++) {
			bool inside = p % pitch >= place.x && p % pitch < w && p / pitch < place.h;
			ink += inside && out[p] != background;
			paper += inside && out[p] == background;
			ck_assert(inside || out[p] == CANARY);
		}
		uint32_t scale = h / 400 > 0 ? h / 400 : 1;
		/* H: two stems of seven pixels and a bar of three between them. */
		ck_assert_uint_eq(ink, w >= 100 ? 17 * scale * scale : 0);
		ck_assert_uint_eq(ink + paper, place.w * place.h);
		if (w >= 640) {
			/* Third column, second line: the stem and the bar are where a letter belongs. */
			uint32_t x = place.x + (3 + 2 * 6) * scale, y = (3 + 10) * scale;
			ck_assert_uint_ne(out[y * pitch + x], background);
			ck_assert_uint_eq(out[y * pitch + x + scale], background);
			ck_assert_uint_ne(out[(y + 3 * scale) * pitch + x + scale], background);
			ck_assert_uint_ne(out[(y + 6 * scale) * pitch + x + 4 * scale], background);
		}
		free(out);
	}
}
END_TEST

/* No two letters look alike, and only the blank is empty. */
START_TEST(letters)
{
	static const char used[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ,-./: ";
	static uint32_t out[sizeof(used)][640 * 480];
	for (size_t i = 0; i + 1 < sizeof(used); i++) {
		struct figures_text text = {0};
		text.line[0][0] = used[i];
		figures_draw(&(struct blit_target){(uint8_t *)out[i], 640 * 4, 640, 480}, &text);
		for (size_t j = 0; j < i; j++)
			ck_assert_msg(memcmp(out[i], out[j], sizeof(out[i])) != 0, "'%c' looks like '%c'", used[i], used[j]);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-figures");
	TCase *c = tcase_create("figures");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, words);
	tcase_add_test(c, places);
	tcase_add_test(c, pixels);
	tcase_add_test(c, letters);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
