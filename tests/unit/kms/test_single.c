/* A card that sends pictures to its screen (virtio_gpu): what is sent of a change, by which call, and what is seen then. What the panel lends for it is in test_lend.c. */
#define LOG_MODULE "test"
#include <errno.h>

#include <virtgpu_drm.h>

#include "drm_rig.h"
#include "random.h"

static void reset_single(enum way way)
{
	reset(way);
	card.driver = "virtio_gpu";
	card.uploads = card.dirty = card.no_vblank = card.no_udmabuf = true;
}

/* The guest is shown, its next picture will be drawn in place. */
static void guest_shown(void)
{
	start_shown();
	present(PRESENTATION_PRESENTED);
	guest_frame(GUEST_BUFFER, 0x405060);
	UNTIL(guest_presented == guest_sequence && screen_shows(0x405060));
}

static void guest_paints(struct rect r, uint32_t colour)
{
	for (uint32_t y = r.y; y < r.y + r.h; y++)
		for (uint32_t x = r.x; x < r.x + r.w; x++)
			buffer_pixels(GUEST_BUFFER)[y * W + x] = colour;
	show(guest, 0, GUEST_BUFFER, ++guest_sequence, whole, r);
}

static bool exact(void)
{
	for (uint32_t y = 0; y < H; y++)
		for (uint32_t x = 0; x < W; x++)
			if (fake_drm_pixel(x, y) != (buffer_pixels(GUEST_BUFFER)[y * W + x] & 0xffffff))
				return false;
	return true;
}

static void paints_and_waits(struct rect r, uint32_t colour)
{
	guest_paints(r, colour);
	UNTIL(guest_presented == guest_sequence && exact());
}

START_TEST(changes_are_told)
{
	reset_single((enum way)_i);
	guest_shown();
	uint32_t commits = card.commits + card.page_flips;
	for (uint32_t i = 0; i < 10; i++) {
		uint64_t uploaded = card.uploaded;
		uint32_t dirties = card.dirties;
		paints_and_waits((struct rect){3 * i, 2 * i, 8, 5}, 0x102030 + i);
		ck_assert_uint_eq(card.dirties, dirties + 1);
		ck_assert_uint_eq(card.uploaded - uploaded, 8 * 5);
	}
	ck_assert_uint_eq(card.commits + card.page_flips, commits);
	ck_assert_uint_eq(stats.bytes_copied, stats.bytes_damaged);
	/* A toggle is a flip, there and back. */
	present(PRESENTATION_HIDDEN);
	UNTIL(screen_shows(UI_COLOUR));
	present(PRESENTATION_PRESENTED);
	UNTIL(exact());
	ck_assert_uint_eq(card.commits + card.page_flips, commits + 2);
	rig_end();
}
END_TEST

START_TEST(nothing_new)
{
	reset_single(ATOMIC);
	guest_shown();
	paints_and_waits((struct rect){1, 2, 8, 5}, 0x102030);
	uint64_t uploaded = card.uploaded;
	for (uint32_t i = 0; i < 3; i++) {
		show(guest, 0, GUEST_BUFFER, ++guest_sequence, whole, (struct rect){0});
		UNTIL(guest_presented == guest_sequence);
	}
	ck_assert_uint_eq(card.uploaded, uploaded);
	paints_and_waits((struct rect){1, 2, 8, 5}, 0x203040);
	rig_end();
}
END_TEST

/* A driver that does not want to know is asked once. */
START_TEST(not_wanted)
{
	reset_single(ATOMIC);
	card.dirty = false;
	guest_shown();
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t commits = card.commits;
		uint64_t uploaded = card.uploaded;
		paints_and_waits((struct rect){3 * i, 2 * i, 8, 5}, 0x102030 + i);
		ck_assert_uint_eq(card.commits, commits + 1);
		ck_assert_uint_eq(card.uploaded - uploaded, 8 * 5); /* the same framebuffer, with its damage */
	}
	ck_assert_uint_eq(card.dirties, 0);
	rig_end();
}
END_TEST

/* Refused for another reason: as any commit. */
START_TEST(refused)
{
	static const int errors[] = {EBUSY, EACCES, ENOSPC, EINVAL};
	reset_single(ATOMIC);
	guest_shown();
	fails(DRM_IOCTL_MODE_DIRTYFB, errors[_i], 2);
	paints_and_waits((struct rect){1, 2, 8, 5}, 0x102030);
	paints_and_waits((struct rect){4, 2, 8, 5}, 0x203040);
	paints_and_waits((struct rect){4, 7, 8, 5}, 0x304050);
	ck_assert_uint_eq(card.dirties > 0, errors[_i] != EINVAL);
	rig_end();
}
END_TEST

/* Where the host reads the framebuffer on the screen from where it is, none is drawn into. */
START_TEST(blobs)
{
	reset_single(ATOMIC);
	card.parameters = 1ull << 3 | (uint64_t)_i << VIRTGPU_PARAM_3D_FEATURES;
	guest_shown();
	uint32_t commits = card.commits;
	for (uint32_t i = 0; i < 4; i++)
		paints_and_waits((struct rect){3 * i, 2 * i, 8, 5}, 0x102030 + i);
	ck_assert_uint_eq(card.dirties, _i ? 4 : 0);
	ck_assert_uint_eq(card.commits, commits + (_i ? 0 : 4));
	rig_end();
}
END_TEST

/* Changes of all sizes, toggles between: what is seen is what a full redraw would show. */
START_TEST(random_changes)
{
	struct random random = random_series((uint64_t)_i + 1);
	reset_single((enum way)(_i % 3));
	guest_shown();
	enum presentation side = PRESENTATION_PRESENTED;
	for (uint32_t i = 0; i < 200; i++) {
		uint32_t x = random_below(&random, W), y = random_below(&random, H);
		guest_paints((struct rect){x, y, 1 + random_below(&random, W - x), 1 + random_below(&random, H - y)}, random_below(&random, 1 << 24));
		for (uint32_t turns = random_below(&random, 4); turns > 0; turns--)
			turn((int)random_below(&random, 8));
		if (random_below(&random, 8) == 0)
			present(side = side == PRESENTATION_PRESENTED ? PRESENTATION_HIDDEN : PRESENTATION_PRESENTED);
		if (random_below(&random, 16) == 0 && side == PRESENTATION_PRESENTED)
			UNTIL(guest_presented == guest_sequence && exact());
	}
	present(PRESENTATION_HIDDEN);
	UNTIL(screen_shows(UI_COLOUR));
	present(PRESENTATION_PRESENTED);
	UNTIL(exact());
	UNTIL(!fake_drm_pending());
	rig_end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-single");
	TCase *c = tcase_create("card");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, changes_are_told, 0, WAYS);
	tcase_add_test(c, nothing_new);
	tcase_add_test(c, not_wanted);
	tcase_add_loop_test(c, refused, 0, 4);
	tcase_add_loop_test(c, blobs, 0, 2);
	tcase_add_loop_test(c, random_changes, 0, 6);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
