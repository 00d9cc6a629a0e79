/* Which connectors show the picture: by name, by use, by order; what mirrors it; what comes, goes and changes. */
#include "kms/choose.h"
#include "kms/flips.h"
#include "random.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static drmModeModeInfo mode_of(uint16_t width, uint16_t height, uint32_t hz)
{
	drmModeModeInfo mode = {.hdisplay = width, .vdisplay = height, .htotal = (uint16_t)(width + 160), .vtotal = (uint16_t)(height + 40)};
	mode.clock = (uint32_t)((uint64_t)mode.htotal * mode.vtotal * hz / 1000);
	return mode;
}

static drmModeModeInfo modes[4][4];
static struct choose_connector card[4];
static struct choice choice;

/* A card with two CRTCs and three connectors; eDP-1 and HDMI-A-1 are connected and can do 1920x1080. */
static void setup(void)
{
	modes[0][0] = mode_of(1920, 1080, 60);
	modes[0][1] = mode_of(1920, 1080, 50);
	modes[0][2] = mode_of(1280, 800, 60);
	modes[1][0] = mode_of(2560, 1440, 60);
	modes[1][1] = mode_of(1920, 1080, 75);
	modes[1][2] = mode_of(1920, 1080, 60);
	modes[1][3] = mode_of(1920, 1080, 24);
	modes[2][0] = mode_of(1024, 768, 60);
	card[0] = (struct choose_connector){.id = 40, .name = "eDP-1", .usable = true, .modes = modes[0], .n_modes = 3, .crtcs = 3, .crtc = -1};
	card[1] = (struct choose_connector){.id = 41, .name = "HDMI-A-1", .usable = true, .modes = modes[1], .n_modes = 4, .crtcs = 3, .crtc = -1};
	card[2] = (struct choose_connector){.id = 42, .name = "DP-1", .usable = false, .modes = modes[2], .n_modes = 1, .crtcs = 3, .crtc = -1};
}

static void chosen(const struct choose_wish *wish)
{
	choose(card, 3, wish, &choice);
}

/* Who shows it: connector and CRTC by index, in order. */
static void expect(const char *text)
{
	char got[80] = "";
	for (uint32_t i = 0; i < choice.n; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s/%u:%ux%u@%u", i ? " " : "", card[choice.head[i].connector].name, choice.head[i].crtc,
			choice.head[i].mode->hdisplay, choice.head[i].mode->vdisplay, (choose_refresh_mhz(choice.head[i].mode) + 500) / 1000);
	ck_assert_str_eq(got, text);
}

START_TEST(first_is_main_and_the_other_mirrors)
{
	chosen(&(struct choose_wish){0});
	expect("eDP-1/0:1920x1080@60 HDMI-A-1/1:1920x1080@60");
	ck_assert(!choice.mode_missing);
}
END_TEST

START_TEST(by_name)
{
	chosen(&(struct choose_wish){.connector = "HDMI-A-1"});
	expect("HDMI-A-1/0:2560x1440@60"); /* eDP-1 has no such size: off */
	chosen(&(struct choose_wish){.connector = "HDMI-A-1", .keep = 40});
	expect("HDMI-A-1/0:2560x1440@60"); /* a name is stronger than what is in use */
	card[1].usable = false;
	chosen(&(struct choose_wish){.connector = "HDMI-A-1", .keep = 41});
	expect("eDP-1/0:1920x1080@60"); /* what was named is not there: another takes over */
	chosen(&(struct choose_wish){.connector = "HDMI-A"});
	expect("eDP-1/0:1920x1080@60"); /* whole names only */
}
END_TEST

START_TEST(the_one_in_use_stays)
{
	struct choose_wish wish = {.width = 1920, .height = 1080};
	card[0].usable = false;
	chosen(&wish);
	expect("HDMI-A-1/0:1920x1080@75"); /* the highest refresh */
	card[0].usable = true;
	card[1].crtc = 0;
	wish.keep = 41;
	chosen(&wish); /* an earlier one is plugged in: the picture does not jump there, and is not slowed down to its 60 Hz */
	expect("HDMI-A-1/0:1920x1080@75");
	wish.refresh_mhz = 60000;
	chosen(&wish);
	expect("HDMI-A-1/0:1920x1080@60 eDP-1/1:1920x1080@60");
}
END_TEST

START_TEST(comes_and_goes_step_by_step)
{
	struct choose_wish wish = {0};
	card[0].usable = card[1].usable = false;
	chosen(&wish);
	expect("");
	ck_assert_uint_eq(choice.n, 0); /* none at the start */

	card[1].usable = true;
	chosen(&wish);
	expect("HDMI-A-1/0:2560x1440@60");
	wish.keep = 41;
	card[1].crtc = 0;

	modes[2][0] = mode_of(2560, 1440, 60);
	card[2].usable = true;
	chosen(&wish);
	expect("HDMI-A-1/0:2560x1440@60 DP-1/1:2560x1440@60");
	card[2].crtc = 1;

	card[1].usable = false; /* the main one is unplugged: the mirror takes over on the CRTC that it has */
	card[1].crtc = -1;
	chosen(&wish);
	expect("DP-1/1:2560x1440@60");
	wish.keep = 42;

	card[1].usable = true; /* and comes back as a mirror */
	chosen(&wish);
	expect("DP-1/1:2560x1440@60 HDMI-A-1/0:2560x1440@60");

	modes[2][0] = mode_of(1024, 768, 60); /* exchanged for one that nothing can mirror */
	chosen(&wish);
	expect("DP-1/1:1024x768@60");

	card[2].usable = false;
	chosen(&wish);
	expect("HDMI-A-1/0:2560x1440@60");
}
END_TEST

START_TEST(a_mirror_needs_a_crtc_of_its_own)
{
	struct choose_wish wish = {0};
	card[0].crtcs = card[1].crtcs = 1;
	chosen(&wish);
	expect("eDP-1/0:1920x1080@60");
	card[1].crtcs = 3;
	card[1].crtc = 0; /* the one it has is the main one's now */
	chosen(&wish);
	expect("eDP-1/0:1920x1080@60 HDMI-A-1/1:1920x1080@60");
	card[0].crtcs = 0; /* no encoder: it cannot show anything */
	chosen(&wish);
	expect("HDMI-A-1/0:2560x1440@60");
}
END_TEST

START_TEST(slower_ones_do_not_mirror)
{
	modes[1][1] = mode_of(1920, 1080, 50);
	modes[1][2] = mode_of(1920, 1080, 30);
	chosen(&(struct choose_wish){0});
	expect("eDP-1/0:1920x1080@60");
	modes[1][2] = mode_of(1920, 1080, 60);
	modes[1][2].clock = (uint32_t)((uint64_t)modes[1][2].clock * 1000 / 1001); /* 59.94 */
	chosen(&(struct choose_wish){0});
	expect("eDP-1/0:1920x1080@60 HDMI-A-1/1:1920x1080@60");
	modes[1][2] = mode_of(1920, 1080, 100); /* quicker is no harm */
	chosen(&(struct choose_wish){0});
	expect("eDP-1/0:1920x1080@60 HDMI-A-1/1:1920x1080@100");
}
END_TEST

START_TEST(more_than_a_card_may_mirror)
{
	static struct choose_connector many[8];
	for (uint32_t i = 0; i < 8; i++)
		many[i] = (struct choose_connector){.id = i + 1, .usable = true, .modes = modes[0], .n_modes = 1, .crtcs = 0xff, .crtc = -1};
	choose(many, 8, &(struct choose_wish){0}, &choice);
	ck_assert_uint_eq(choice.n, 1 + OUTPUT_MIRRORS);
	uint32_t crtcs = 0;
	for (uint32_t i = 0; i < choice.n; i++)
		crtcs |= 1u << choice.head[i].crtc;
	ck_assert_uint_eq((uint32_t)__builtin_popcount(crtcs), choice.n);
}
END_TEST

START_TEST(wished_modes)
{
	modes[0][1].type = DRM_MODE_TYPE_PREFERRED;
	chosen(&(struct choose_wish){0});
	ck_assert_uint_eq(choice.head[0].mode->hdisplay, 1920);
	ck_assert_ptr_eq(choice.head[0].mode, &modes[0][1]);
	chosen(&(struct choose_wish){.width = 1280, .height = 800});
	ck_assert_ptr_eq(choice.head[0].mode, &modes[0][2]);
	ck_assert(!choice.mode_missing);
	chosen(&(struct choose_wish){.width = 1920, .height = 1080, .refresh_mhz = 60000});
	ck_assert_ptr_eq(choice.head[0].mode, &modes[0][0]);
	ck_assert(!choice.mode_missing);
	chosen(&(struct choose_wish){.width = 1920, .height = 1080, .refresh_mhz = 75000}); /* the nearest, and it is said */
	ck_assert_ptr_eq(choice.head[0].mode, &modes[0][0]);
	ck_assert(choice.mode_missing);
	chosen(&(struct choose_wish){.width = 1234, .height = 567});
	ck_assert_ptr_eq(choice.head[0].mode, &modes[0][1]);
	ck_assert(choice.mode_missing);
}
END_TEST

START_TEST(texts)
{
	char text[200];
	choose_list_modes(&card[1], text, sizeof(text));
	ck_assert_str_eq(text, "2560x1440@60, 1920x1080@75, 1920x1080@60, 1920x1080@24");
	modes[1][1] = modes[1][2]; /* twice the same, as cards list interlaced and other variants */
	choose_list_modes(&card[1], text, sizeof(text));
	ck_assert_str_eq(text, "2560x1440@60, 1920x1080@60, 1920x1080@24");
	choose_list_modes(&card[1], text, 40);
	ck_assert_str_eq(text, "2560x1440@60, 1920x1080@60, ...");
	choose_list_connectors(card, 3, text, sizeof(text));
	ck_assert_str_eq(text, "eDP-1 (connected), HDMI-A-1 (connected), DP-1");
	for (size_t size = 1; size < 60; size++) {
		memset(text, 'x', sizeof(text));
		choose_list_connectors(card, 3, text, size);
		ck_assert_uint_lt(strlen(text), size);
	}
}
END_TEST

START_TEST(a_flip_is_over_when_all_have_flipped)
{
	struct flips flips = {0};
	ck_assert(!flips_event(&flips, 0, true, 5)); /* none is in flight */
	flips_begin(&flips, 7, 1);
	ck_assert(flips_event(&flips, 7, true, 100));
	ck_assert_uint_eq(flips.time_ns, 100);
	ck_assert(!flips_event(&flips, 7, true, 101));
	for (int order = 0; order < 2; order++) {
		flips_begin(&flips, 7, 2);
		ck_assert(!flips_event(&flips, 6, true, 199)); /* of a commit that was given up */
		ck_assert(!flips_event(&flips, 7, order == 0, order == 0 ? 200 : 208));
		ck_assert(flips_event(&flips, 7, order == 1, order == 1 ? 200 : 208));
		ck_assert_uint_eq(flips.time_ns, 200); /* the main one's, whichever comes first */
	}
	/* one never comes: what follows begins anew */
	flips_begin(&flips, 8, 3);
	ck_assert(!flips_event(&flips, 8, true, 300));
	flips_begin(&flips, 9, 1);
	ck_assert(!flips_event(&flips, 8, false, 301));
	ck_assert(flips_event(&flips, 9, true, 400));
	ck_assert_uint_eq(flips.time_ns, 400);
}
END_TEST

/* A picture of their own on the others: each in its monitor's own mode, and at the place that it had. */
START_TEST(further_ones)
{
	struct choose_wish wish = {.extend = true, .width = 1280, .height = 800};
	modes[1][1].type |= DRM_MODE_TYPE_PREFERRED;
	card[2].usable = true;
	card[2].crtcs = 7;
	chosen(&wish);
	expect("eDP-1/0:1280x800@60 HDMI-A-1/1:1920x1080@75 DP-1/2:1024x768@60"); /* the wish is for the main one */
	ck_assert_uint_eq(choice.head[1].place, 1);
	ck_assert_uint_eq(choice.head[2].place, 2);
	wish.keep = 40;
	wish.further[0] = 42;
	chosen(&wish); /* whoever had a place has it, first of all */
	expect("eDP-1/0:1280x800@60 DP-1/1:1024x768@60");
	card[2].crtc = 2;
	chosen(&wish);
	expect("eDP-1/0:1280x800@60 DP-1/2:1024x768@60 HDMI-A-1/1:1920x1080@75");
	ck_assert_uint_eq(choice.head[1].place, 1);
	ck_assert_uint_eq(choice.head[2].place, 2);
	/* A place is kept for one that is gone while there are others. */
	wish.further[0] = 41;
	wish.further[1] = 42;
	card[1].usable = false;
	chosen(&wish);
	expect("eDP-1/0:1280x800@60 DP-1/2:1024x768@60");
	ck_assert_uint_eq(choice.head[1].place, 2);
	wish.further[1] = 43;
	wish.further[2] = 44;
	chosen(&wish); /* all had been others' */
	ck_assert_uint_eq(choice.head[1].place, 1);
	/* The main one leaves. */
	wish.further[1] = 42;
	card[0].usable = false;
	chosen(&wish);
	expect("DP-1/2:1024x768@60");
}
END_TEST

/* Never two at one place, nor on one CRTC, whatever was before. */
START_TEST(further_ones_at_random)
{
	struct random random = random_series(1);
	for (uint32_t n = 0; n < 20000; n++) {
		struct choose_wish wish = {.extend = true, .keep = 39 + random_below(&random, 5)};
		for (uint32_t i = 0; i < OUTPUT_MIRRORS; i++)
			wish.further[i] = random_below(&random, 2) ? 0 : 39 + random_below(&random, 5);
		for (uint32_t i = 0; i < 3; i++) {
			card[i].usable = random_below(&random, 3) != 0;
			card[i].crtcs = random_below(&random, 16);
			card[i].crtc = (int)random_below(&random, 5) - 1;
		}
		chosen(&wish);
		uint32_t crtcs = 0, places = 0;
		for (uint32_t i = 0; i < choice.n; i++) {
			const struct choose_head *head = &choice.head[i];
			ck_assert(card[head->connector].usable && card[head->connector].crtcs & 1u << head->crtc);
			ck_assert(!(crtcs & 1u << head->crtc) && !(places & 1u << head->place));
			ck_assert(head->place <= OUTPUT_MIRRORS && (head->place == 0) == (i == 0));
			crtcs |= 1u << head->crtc;
			places |= 1u << head->place;
		}
	}
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("kms-choose");
	TCase *tcase = tcase_create("choose");
	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, first_is_main_and_the_other_mirrors);
	tcase_add_test(tcase, by_name);
	tcase_add_test(tcase, the_one_in_use_stays);
	tcase_add_test(tcase, comes_and_goes_step_by_step);
	tcase_add_test(tcase, a_mirror_needs_a_crtc_of_its_own);
	tcase_add_test(tcase, slower_ones_do_not_mirror);
	tcase_add_test(tcase, more_than_a_card_may_mirror);
	tcase_add_test(tcase, wished_modes);
	tcase_add_test(tcase, texts);
	tcase_add_test(tcase, a_flip_is_over_when_all_have_flipped);
	tcase_add_test(tcase, further_ones);
	tcase_add_test(tcase, further_ones_at_random);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
