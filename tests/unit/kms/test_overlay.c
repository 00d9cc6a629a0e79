/* The guest's own picture on an overlay plane over black, and what happens when the card changes its mind. */
#define LOG_MODULE "test"
#include <errno.h>
#include <fcntl.h>

#include "drm_rig.h"
#include "kms/ladder.h"

/* 64x40 on 64x48: shown in its own size, with bars of 4 lines. */
#define GW 64u
#define GH 40u
#define BAR 4u
#define COLOUR 0x405060u

static const struct rect small = {0, 0, GW, GH};

static void small_frame(uint32_t id, uint32_t colour)
{
	fill(id, colour);
	show(guest, 0, id, ++guest_sequence, small, small);
}

static bool guest_shown(uint32_t colour)
{
	return screen_is(colour, 0, BAR, GW, GH);
}

static void start(void)
{
	rig_start();
	UNTIL(screen_shows(UI_COLOUR));
	for (uint32_t id = GUEST_BUFFER + 3; id < GUEST_BUFFER + 8; id++)
		announce(guest, id, GW, GH, DRM_FORMAT_XRGB8888);
}

/* The guest on the screen, nothing in flight. */
static void start_overlaid(void)
{
	fake_drm_reset();
	start();
	present(PRESENTATION_PRESENTED);
	small_frame(GUEST_BUFFER + 3, COLOUR);
	UNTIL(guest_shown(COLOUR));
	UNTIL(guest_presented == guest_sequence);
}

static bool overlaid(void)
{
	return fake_drm_value(FAKE_OVERLAY, FAKE_FB_ID) != 0;
}

/* Two toggles and some frames: every pixel, no byte copied, no mode set, one test, and the UI has the screen alone. */
START_TEST(without_a_copy)
{
	fake_drm_reset();
	start();
	small_frame(GUEST_BUFFER + 3, COLOUR);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	for (uint32_t i = 0; i < 2; i++) {
		present(PRESENTATION_PRESENTED);
		UNTIL(guest_shown(COLOUR + 0x100 * i));
		ck_assert(overlaid());
		small_frame(GUEST_BUFFER + 4, COLOUR + 0x100 * (i + 1));
		UNTIL(guest_shown(COLOUR + 0x100 * (i + 1)));
		UNTIL(guest_presented == guest_sequence);
		present(PRESENTATION_HIDDEN);
		UNTIL(screen_shows(UI_COLOUR));
		ck_assert(!overlaid());
	}
	ck_assert_uint_eq(stats.bytes_copied, 0);
	ck_assert_uint_eq(card.modesets, 1);
	ck_assert_uint_eq(card.tests, 1);
	ck_assert_uint_eq(card.refused, 0);
	rig_end();
}
END_TEST

/* The guest takes the size of the screen and gives it up again: one plane, two planes, one plane; each picture whole. */
START_TEST(sizes)
{
	fake_drm_reset();
	start();
	present(PRESENTATION_PRESENTED);
	for (uint32_t i = 0; i < 3; i++) {
		small_frame(GUEST_BUFFER + 3, COLOUR + 0x100 * i);
		UNTIL(guest_shown(COLOUR + 0x100 * i));
		guest_frame(GUEST_BUFFER, 0x607080 + 0x100 * i);
		UNTIL(screen_shows(0x607080 + 0x100 * i));
		ck_assert(!overlaid());
	}
	ck_assert_uint_eq(stats.bytes_copied, 0);
	ck_assert_uint_eq(card.modesets, 1);
	rig_end();
}
END_TEST

/* The card has no such plane, or none that takes the format: copied, the same picture. */
START_TEST(no_plane)
{
	fake_drm_reset();
	card.no_overlay = _i == 0;
	if (_i == 1)
		card.overlay_format = DRM_FORMAT_NV12;
	start();
	present(PRESENTATION_PRESENTED);
	small_frame(GUEST_BUFFER + 3, COLOUR);
	UNTIL(guest_shown(COLOUR));
	ck_assert(!overlaid());
	ck_assert_uint_eq(stats.bytes_copied, GW * GH * 4);
	ck_assert_uint_eq(card.tests + card.refused, 0);
	rig_end();
}
END_TEST

/*
 * 0: the test says no. 1: the test passes, and the commit fails all the same. The frame is copied and what was on the screen stays until then; after some
 * attempts the plane is not tried any more.
 */
START_TEST(refused)
{
	fake_drm_reset();
	start();
	small_frame(GUEST_BUFFER + 3, COLOUR);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	card.script[0] = (struct fake_script){.request = DRM_IOCTL_MODE_ATOMIC, .error = EINVAL, .tests = _i == 0, .count = 1};
	present(PRESENTATION_PRESENTED);
	UNTIL(!screen_shows(UI_COLOUR));
	ck_assert(guest_shown(COLOUR));
	ck_assert(!overlaid());
	ck_assert_uint_eq(card.tests, _i);
	ck_assert_uint_eq(card.modesets, 1);
	ck_assert_uint_eq(stats.bytes_copied, GW * GH * 4);
	/* another buffer has its own attempt, and works */
	small_frame(GUEST_BUFFER + 4, COLOUR + 0x100);
	UNTIL(guest_shown(COLOUR + 0x100));
	UNTIL(overlaid());
	rig_end();
}
END_TEST

START_TEST(never_works)
{
	fake_drm_reset();
	start();
	present(PRESENTATION_PRESENTED);
	card.script[0] = (struct fake_script){.request = DRM_IOCTL_MODE_ATOMIC, .error = EINVAL, .tests = true, .with = FAKE_ID(FAKE_OVERLAY),
		.count = LADDER_STRIKES};
	for (uint32_t i = 0; i < LADDER_STRIKES + 1; i++) {
		small_frame(GUEST_BUFFER + 3 + i, COLOUR + 0x100 * i);
		UNTIL(guest_shown(COLOUR + 0x100 * i));
		UNTIL(guest_presented == guest_sequence);
		ck_assert(!overlaid());
	}
	ck_assert_uint_eq(card.refused, LADDER_STRIKES); /* the last one was not even tried, though it would have worked */
	/* the primary plane is another matter */
	uint64_t copied = stats.bytes_copied;
	guest_frame(GUEST_BUFFER, 0x607080);
	UNTIL(screen_shows(0x607080));
	ck_assert_uint_eq(stats.bytes_copied, copied);
	rig_end();
}
END_TEST

/* The seat goes and comes with the overlay on; another program had the planes meanwhile. */
START_TEST(session_and_overlay)
{
	start_overlaid();
	panel_session(panel, false);
	settle(10);
	fake_drm_foreign(FAKE_PRIMARY);
	fake_drm_foreign(FAKE_OVERLAY);
	uint32_t modesets = card.modesets;
	panel_session(panel, true);
	UNTIL(guest_shown(COLOUR));
	settle(50);
	ck_assert_uint_eq(card.modesets, modesets + 1); /* our own overlay is nobody else's */
	present(PRESENTATION_HIDDEN);
	UNTIL(screen_shows(UI_COLOUR));
	/* Away while the UI is shown: the overlay of the other one goes with the first commit. */
	panel_session(panel, false);
	settle(10);
	fake_drm_foreign(FAKE_OVERLAY);
	panel_session(panel, true);
	UNTIL(screen_shows(UI_COLOUR));
	rig_end();
}
END_TEST

/* The monitor comes back where there is no such plane, and the guest stands still: its picture is copied, and never black. */
START_TEST(plane_that_is_gone)
{
	start_overlaid();
	card.connected = false;
	fake_hotplug();
	UNTIL(!panel->screen[0].output.connected);
	fake_drm_leave(FAKE_OVERLAY, FAKE_FB_ID, 0);
	fake_drm_leave(FAKE_OVERLAY, FAKE_CRTC_ID, 0);
	card.no_overlay = card.connected = true;
	fake_hotplug();
	UNTIL(panel->screen[0].output.connected);
	UNTIL(stats.bytes_copied == GW * GH * 4);
	UNTIL(guest_shown(COLOUR));
	ck_assert(!overlaid());
	rig_end();
}
END_TEST

/* A full commit with the overlay fails: the copy comes, and nothing else is given up. */
START_TEST(refused_by_a_full_commit)
{
	start_overlaid();
	panel_session(panel, false);
	settle(10);
	fake_drm_foreign(FAKE_PRIMARY);
	card.script[0] = (struct fake_script){.request = DRM_IOCTL_MODE_ATOMIC, .error = EINVAL, .count = 1};
	panel_session(panel, true);
	UNTIL(guest_shown(COLOUR));
	ck_assert(!overlaid());
	ck_assert_uint_eq(card.refused, 1);
	rig_end();
}
END_TEST

/* Damage is the overlay's, in its own coordinates; busy keeps it. */
START_TEST(busy)
{
	fake_drm_reset();
	start();
	present(PRESENTATION_PRESENTED);
	small_frame(GUEST_BUFFER + 3, COLOUR);
	UNTIL(guest_presented == guest_sequence);
	card.script[0] = (struct fake_script){.request = DRM_IOCTL_MODE_ATOMIC, .error = EBUSY, .count = 2};
	buffer_pixels(GUEST_BUFFER + 3)[5 * GW + 7] = 0x77;
	show(guest, 0, GUEST_BUFFER + 3, ++guest_sequence, small, (struct rect){7, 5, 2, 3});
	UNTIL(guest_presented == guest_sequence);
	ck_assert_uint_eq(card.refused, 2);
	ck_assert_uint_eq(fake_drm_pixel(7, 5 + BAR), 0x77);
	struct drm_mode_rect clip = {7, 5, 9, 8};
	ck_assert(card.clipped);
	ck_assert_mem_eq(&card.clip, &clip, sizeof(clip));
	ck_assert_uint_eq(card.tests, 1);
	rig_end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-overlay");
	TCase *c = tcase_create("card");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, without_a_copy);
	tcase_add_test(c, sizes);
	tcase_add_loop_test(c, no_plane, 0, 2);
	tcase_add_loop_test(c, refused, 0, 2);
	tcase_add_test(c, never_works);
	tcase_add_test(c, session_and_overlay);
	tcase_add_test(c, refused_by_a_full_commit);
	tcase_add_test(c, plane_that_is_gone);
	tcase_add_test(c, busy);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
