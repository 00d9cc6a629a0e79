/* letterbox, layout and damage: pure functions. */
#include "kms/damage.h"
#include "kms/layout.h"
#include "kms/letterbox.h"
#include "unit.h"

#include <string.h>

static void expect(struct rect r, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	ck_assert_uint_eq(r.x, x);
	ck_assert_uint_eq(r.y, y);
	ck_assert_uint_eq(r.w, w);
	ck_assert_uint_eq(r.h, h);
}

START_TEST(letterbox_sizes)
{
	expect(letterbox(1280, 800, 1280, 800), 0, 0, 1280, 800);
	/* once fits and fills enough: sharp, with a border */
	expect(letterbox(1024, 768, 1280, 800), 128, 16, 1024, 768);
	/* twice */
	expect(letterbox(640, 400, 1280, 800), 0, 0, 1280, 800);
	expect(letterbox(640, 400, 1300, 820), 10, 10, 1280, 800);
	/* once would waste the screen: scaled */
	expect(letterbox(640, 480, 1280, 800), 107, 0, 1066, 800);
	expect(letterbox(1280, 720, 1920, 1080), 0, 0, 1920, 1080);
	/* larger than the screen */
	expect(letterbox(3840, 2160, 1280, 800), 0, 40, 1280, 720);
	expect(letterbox(800, 1280, 1280, 800), 390, 0, 500, 800);
	/* extreme, but never outside and never empty */
	expect(letterbox(16384, 1, 100, 100), 0, 49, 100, 1);
	expect(letterbox(1, 16384, 100, 100), 49, 0, 1, 100);
	expect(letterbox(0, 5, 100, 100), 0, 0, 0, 0);
	expect(letterbox(5, 5, 0, 100), 0, 0, 0, 0);
	expect(letterbox(UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX), 0, 0, UINT32_MAX, UINT32_MAX);
}
END_TEST

START_TEST(letterbox_always_inside)
{
	uint32_t seed = 1;
	for (int i = 0; i < 20000; i++) {
		uint32_t v[4];
		for (int k = 0; k < 4; k++) {
			seed = seed * 1664525 + 1013904223;
			v[k] = 1 + (seed >> 8) % (k & 1 ? 5000 : 300);
		}
		struct rect r = letterbox(v[0], v[1], v[2], v[3]);
		ck_assert(r.w >= 1 && r.h >= 1);
		ck_assert((uint64_t)r.x + r.w <= v[2] && (uint64_t)r.y + r.h <= v[3]);
		/* centred to the pixel */
		ck_assert(v[2] - r.w - 2 * r.x <= 1 && v[3] - r.h - 2 * r.y <= 1);
	}
}
END_TEST

START_TEST(layout_faces)
{
	struct layout_state state = {.presentation = PRESENTATION_HIDDEN};
	ck_assert_int_eq(layout_face(&state), PANEL_FACES);
	state.complete[PANEL_FACE_UI] = true;
	ck_assert_int_eq(layout_face(&state), PANEL_FACE_UI);
	state.complete[PANEL_FACE_GUEST] = state.guest_scanout = true;
	ck_assert_int_eq(layout_face(&state), PANEL_FACE_UI);
	state.presentation = PRESENTATION_PRESENTED;
	ck_assert_int_eq(layout_face(&state), PANEL_FACE_GUEST);
	state.complete[PANEL_FACE_PLACEHOLDER] = true;
	ck_assert_int_eq(layout_face(&state), PANEL_FACE_GUEST);
	/* a finished framebuffer of a picture that is gone is not shown */
	state.guest_scanout = false;
	ck_assert_int_eq(layout_face(&state), PANEL_FACE_PLACEHOLDER);
	state.guest_scanout = true;
	state.complete[PANEL_FACE_GUEST] = false;
	ck_assert_int_eq(layout_face(&state), PANEL_FACE_PLACEHOLDER);
	state.complete[PANEL_FACE_PLACEHOLDER] = false;
	ck_assert_int_eq(layout_face(&state), PANEL_FACE_UI);
}
END_TEST

static bool covered(const struct damage *d, uint32_t x, uint32_t y)
{
	for (uint32_t i = 0; i < d->n; i++)
		if (x >= d->r[i].x && y >= d->r[i].y && x - d->r[i].x < d->r[i].w && y - d->r[i].y < d->r[i].h)
			return true;
	return false;
}

START_TEST(damage_merges)
{
	struct damage d = {0};
	damage_add(&d, (struct rect){0, 0, 0, 5});
	ck_assert_uint_eq(d.n, 0);
	damage_add(&d, (struct rect){0, 0, 8, 16});
	damage_add(&d, (struct rect){8, 0, 8, 16}); /* neighbours: one */
	ck_assert_uint_eq(d.n, 1);
	damage_add(&d, (struct rect){1000, 700, 4, 4}); /* far: apart */
	ck_assert_uint_eq(d.n, 2);
	damage_add(&d, (struct rect){0, 0, 1280, 800}); /* all */
	ck_assert_uint_eq(d.n, 1);
	expect(damage_bounds(&d), 0, 0, 1280, 800);
}
END_TEST

START_TEST(damage_covers)
{
	static uint8_t want[64][64];
	uint32_t seed = 7;
	for (int round = 0; round < 50; round++) {
		struct damage d = {0};
		memset(want, 0, sizeof(want));
		for (int i = 0; i < 40; i++) {
			seed = seed * 1664525 + 1013904223;
			struct rect r = {seed >> 8 & 31, seed >> 14 & 31, 1 + (seed >> 20 & 7), 1 + (seed >> 24 & 7)};
			damage_add(&d, r);
			ck_assert_uint_le(d.n, DAMAGE_RECTS);
			for (uint32_t y = r.y; y < r.y + r.h; y++)
				for (uint32_t x = r.x; x < r.x + r.w; x++)
					want[y][x] = 1;
		}
		for (uint32_t y = 0; y < 64; y++)
			for (uint32_t x = 0; x < 64; x++)
				ck_assert(!want[y][x] || covered(&d, x, y));
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-letterbox");
	TCase *c = tcase_create("pure");
	tcase_add_test(c, letterbox_sizes);
	tcase_add_test(c, letterbox_always_inside);
	tcase_add_test(c, layout_faces);
	tcase_add_test(c, damage_merges);
	tcase_add_test(c, damage_covers);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
