/* The guest's pointer by itself: cursor plane or software, how it is packed for the front, and whose its buffers are. */
#define LOG_MODULE "test"
#include "fake_card.h"

#include "kms/pointer.h"

#define SIDE LINK_CURSOR_SIDE

START_TEST(plane_or_software)
{
	const struct rect whole = {0, 0, 1280, 800}, left_bar = {40, 0, 1200, 800}, inside = {100, 50, 1000, 700}, over = {300, 100, 100, 100};
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
		/* below something of the host's, by a pixel, and beside it on each side */
		{{true, 64, 64, 1280, 800, whole, whole, 399, 100, over}, false, false, 0, 0},
		{{true, 64, 64, 1280, 800, whole, whole, 237, 50, over}, false, false, 0, 0},
		{{true, 64, 64, 1280, 800, whole, whole, 300, 199, over}, false, false, 0, 0},
		{{true, 64, 64, 1280, 800, whole, whole, 300, 37, over}, false, false, 0, 0},
		{{true, 64, 64, 1280, 800, whole, whole, 400, 100, over}, true, true, 400, 100},
		{{true, 64, 64, 1280, 800, whole, whole, 236, 100, over}, true, true, 236, 100},
		{{true, 64, 64, 1280, 800, whole, whole, 300, 200, over}, true, true, 300, 200},
		{{true, 64, 64, 1280, 800, whole, whole, 300, 36, over}, true, true, 300, 36},
		{{true, 64, 64, 1280, 800, {0, 0, 1000, 700}, inside, 299, 50, over}, false, false, 0, 0},
		{{true, 64, 64, 1280, 800, {0, 0, 1000, 700}, inside, 300, 50, over}, true, true, 400, 100},
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

static Suite *make_suite(void)
{
	Suite *suite = suite_create("pointer");
	TCase *pure = tcase_create("pure");
	tcase_add_test(pure, plane_or_software);
	tcase_add_test(pure, packing);
	tcase_add_test(pure, two_buffers);
	suite_add_tcase(suite, pure);
	return suite;
}

UNIT_MAIN(make_suite)
