/* Which way the guest's picture takes: every rung, what bars it, and for how long a failure is remembered. */
#include "unit.h"

#include "kms/ladder.h"

static const struct ladder_can all = {.imports = true, .overlay = true};

static enum rung plan(const struct ladder *ladder, uint32_t sw, uint32_t sh, uint32_t w, uint32_t h, struct ladder_can can)
{
	struct rect dest;
	struct ladder_layout layout = {sw, sh, w, h};
	enum rung rung = ladder_plan(ladder, &layout, &can, &dest);
	/* Wherever it goes, it is inside the screen, and on a plane pixels are pixels. */
	ck_assert_uint_le(dest.x + dest.w, w);
	ck_assert_uint_le(dest.y + dest.h, h);
	if (rung != RUNG_SOFTWARE)
		ck_assert(dest.w == sw && dest.h == sh);
	return rung;
}

START_TEST(rungs)
{
	static const struct ladder none;
	ck_assert_int_eq(plan(&none, 1920, 1080, 1920, 1080, all), RUNG_PRIMARY);
	ck_assert_int_eq(plan(&none, 1024, 768, 1280, 800, all), RUNG_OVERLAY);
	ck_assert_int_eq(plan(&none, 1900, 1080, 1920, 1080, all), RUNG_OVERLAY);
	/* scaled, up or down */
	ck_assert_int_eq(plan(&none, 640, 480, 1920, 1080, all), RUNG_SOFTWARE);
	ck_assert_int_eq(plan(&none, 960, 540, 1920, 1080, all), RUNG_SOFTWARE);
	ck_assert_int_eq(plan(&none, 2560, 1440, 1920, 1080, all), RUNG_SOFTWARE);
	ck_assert_int_eq(plan(&none, 1920, 1200, 1920, 1080, all), RUNG_SOFTWARE);
	/* what a card cannot do */
	struct ladder_can can = all;
	can.overlay = false;
	ck_assert_int_eq(plan(&none, 1024, 768, 1280, 800, can), RUNG_SOFTWARE);
	ck_assert_int_eq(plan(&none, 1280, 800, 1280, 800, can), RUNG_PRIMARY);
	can = all;
	can.imports = false;
	ck_assert_int_eq(plan(&none, 1024, 768, 1280, 800, can), RUNG_SOFTWARE);
	ck_assert_int_eq(plan(&none, 1280, 800, 1280, 800, can), RUNG_SOFTWARE);
	can = all;
	can.blended = true;
	ck_assert_int_eq(plan(&none, 1024, 768, 1280, 800, can), RUNG_SOFTWARE);
	ck_assert_int_eq(plan(&none, 1280, 800, 1280, 800, can), RUNG_SOFTWARE);
}
END_TEST

START_TEST(memory)
{
	struct ladder ladder = {0};
	struct ladder_layout full = {1280, 800, 1280, 800}, small = {1024, 768, 1280, 800};
	for (uint32_t i = 1; i < LADDER_STRIKES; i++)
		ck_assert(!ladder_failed(&ladder, &small));
	ck_assert_int_eq(plan(&ladder, 1024, 768, 1280, 800, all), RUNG_OVERLAY);
	/* once shown, all is forgiven */
	ladder_worked(&ladder, &small);
	for (uint32_t i = 1; i < LADDER_STRIKES; i++)
		ck_assert(!ladder_failed(&ladder, &small));
	ck_assert(ladder_failed(&ladder, &small));
	ck_assert_int_eq(plan(&ladder, 1024, 768, 1280, 800, all), RUNG_SOFTWARE);
	ck_assert(!ladder_failed(&ladder, &small)); /* said once */
	/* other layouts and rungs have nothing to do with it */
	ck_assert_int_eq(plan(&ladder, 1280, 800, 1280, 800, all), RUNG_PRIMARY);
	ck_assert_int_eq(plan(&ladder, 1024, 768, 1280, 768, all), RUNG_OVERLAY);
	ladder_failed(&ladder, &full);
	ladder_worked(&ladder, &full);
	ck_assert_int_eq(plan(&ladder, 1024, 768, 1280, 800, all), RUNG_SOFTWARE);
}
END_TEST

/* A guest that changes its size all the time makes the ladder forget the oldest, nothing else. */
START_TEST(bounded)
{
	struct ladder ladder = {0};
	struct ladder_layout layout = {1000, 768, 1280, 800};
	for (uint32_t i = 0; i < 3 * LADDER_MEMORY; i++, layout.source_w++)
		for (uint32_t n = 0; n < LADDER_STRIKES; n++)
			ladder_failed(&ladder, &layout);
	for (uint32_t i = 0; i < LADDER_MEMORY; i++)
		ck_assert_int_eq(plan(&ladder, --layout.source_w, 768, 1280, 800, all), RUNG_SOFTWARE);
	ck_assert_int_eq(plan(&ladder, --layout.source_w, 768, 1280, 800, all), RUNG_OVERLAY);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-ladder");
	TCase *c = tcase_create("ladder");
	tcase_add_test(c, rungs);
	tcase_add_test(c, memory);
	tcase_add_test(c, bounded);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
