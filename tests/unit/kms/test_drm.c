/*
 * The real drm*.c on a card that misbehaves: what the card is asked, what is on the screen, what is left behind. What has to come out the same however
 * pictures are committed runs once for each way; what only atomic commits can do runs for those, and test_legacy.c has what only the old calls do.
 */
#define LOG_MODULE "test"
#include <errno.h>
#include <fcntl.h>

#include "drm_rig.h"

static unsigned long flip_of(enum way way)
{
	return way == ATOMIC ? DRM_IOCTL_MODE_ATOMIC : DRM_IOCTL_MODE_PAGE_FLIP;
}

static uint32_t modes_set(enum way way)
{
	return way == ATOMIC ? card.modesets : card.set_crtc;
}

/* --- each way ------------------------------------------------------------------------------------------------------------ */

/* UI, guest without a copy, back: every pixel, one flip each, no modeset. */
START_TEST(faces)
{
	reset(_i);
	start_shown();
	ck_assert_int_eq(strstr(panel->backend->ops->describe(panel->backend), "legacy") != NULL, _i != ATOMIC);
	ck_assert_uint_eq(modes_set(_i), 1);
	guest_frame(GUEST_BUFFER, 0x405060);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	for (uint32_t i = 0; i < 3; i++) {
		present(PRESENTATION_PRESENTED);
		UNTIL(screen_shows(0x405060));
		present(PRESENTATION_HIDDEN);
		UNTIL(screen_shows(UI_COLOUR));
	}
	ck_assert_uint_eq(modes_set(_i), 1);
	if (_i != ATOMIC) {
		ck_assert_uint_eq(card.page_flips, 6);
		ck_assert_uint_eq(card.commits + card.tests, 0);
	}
	ck_assert_uint_eq(card.refused, 0);
	ck_assert_uint_eq(stats.bytes_copied, 0);
	rig_end();
}
END_TEST

/* What another program left on the card goes with the first commit: its overlay, pointer, second screen, colour table, rotation. */
START_TEST(leftovers)
{
	reset(_i);
	fake_drm_foreign(FAKE_OVERLAY);
	fake_drm_foreign(FAKE_CURSOR);
	fake_drm_foreign(FAKE_PRIMARY_1);
	fake_drm_leave(FAKE_CONNECTOR_1, FAKE_CRTC_ID, FAKE_ID(FAKE_CRTC_1));
	fake_drm_leave(FAKE_CRTC_1, FAKE_ACTIVE, 1);
	fake_drm_leave(FAKE_CRTC_1, FAKE_MODE_ID, 1);
	fake_drm_leave(FAKE_CRTC, FAKE_GAMMA_LUT, 77);
	fake_drm_leave(FAKE_PRIMARY, FAKE_ROTATION, DRM_MODE_ROTATE_180);
	start_shown();
	ck_assert_uint_eq(fake_drm_value(FAKE_OVERLAY, FAKE_FB_ID), 0);
	ck_assert_uint_eq(fake_drm_value(FAKE_CURSOR, FAKE_FB_ID), 0);
	ck_assert_uint_eq(fake_drm_value(FAKE_PRIMARY_1, FAKE_FB_ID), 0);
	ck_assert_uint_eq(fake_drm_value(FAKE_CRTC_1, FAKE_ACTIVE), 0);
	ck_assert_uint_eq(fake_drm_value(FAKE_CONNECTOR_1, FAKE_CRTC_ID), 0);
	ck_assert_uint_eq(fake_drm_value(FAKE_CRTC, FAKE_GAMMA_LUT), 0);
	ck_assert_uint_eq(fake_drm_value(FAKE_PRIMARY, FAKE_ROTATION), DRM_MODE_ROTATE_0);
	rig_end();
}
END_TEST

START_TEST(busy)
{
	reset(_i);
	start_shown();
	fails(flip_of(_i), EBUSY, 3);
	ui_frame(0x303030);
	UNTIL(screen_shows(0x303030));
	ck_assert_uint_eq(card.refused, 3);
	ck_assert_uint_eq(modes_set(_i), 1);
	rig_end();
}
END_TEST

/* Another program holds the display: nothing is tried in haste, the producer goes on, and everything is set anew when it is ours again. */
START_TEST(inactive)
{
	reset(_i);
	start_shown();
	card.inactive = true;
	ui_frame(0x303030);
	UNTIL(ui_presented == ui_sequence);
	ck_assert_uint_eq(card.refused, 1);
	settle(200);
	ck_assert_uint_eq(card.refused, 1);
	fake_drm_foreign(FAKE_PRIMARY); /* it shows something */
	card.inactive = false;
	UNTIL(screen_shows(0x303030));
	ck_assert_uint_eq(modes_set(_i), 2);
	rig_end();
}
END_TEST

START_TEST(flip_lost)
{
	reset(_i);
	start_shown();
	card.lose_flips = true;
	ui_frame(0x303030);
	UNTIL(fake_drm_pending());
	card.lose_flips = false;
	uint64_t began = clock_now_ns();
	ui_frame(0x505050);
	settle(50);
	ck_assert(screen_shows(0x303030)); /* one flip in flight */
	UNTIL(screen_shows(0x505050));
	ck_assert_uint_ge(clock_now_ns() - began, NSEC_PER_SEC); /* the watchdog */
	ck_assert_uint_eq(modes_set(_i), 2);
	ui_frame(0x606060);
	UNTIL(screen_shows(0x606060));
	ck_assert_uint_eq(modes_set(_i), 2);
	rig_end();
}
END_TEST

/* The guest's own buffer is refused at the commit, not before: a copy of the same frame follows, and nothing else is shown between. */
START_TEST(import_refused_at_commit)
{
	reset(_i);
	start_shown();
	guest_frame(GUEST_BUFFER, 0x405060);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	fails(flip_of(_i), EINVAL, 1);
	present(PRESENTATION_PRESENTED);
	UNTIL(!screen_shows(UI_COLOUR));
	ck_assert(screen_shows(0x405060));
	ck_assert_uint_eq(stats.bytes_copied, W * H * 4);
	ck_assert_uint_eq(modes_set(_i), 1);
	ck_assert_uint_eq(card.page_flips, _i != ATOMIC);
	rig_end();
}
END_TEST

/* The link to the monitor breaks, and the kernel says that something changed: a full commit sets it up again, although nothing else is new. */
START_TEST(link_lost)
{
	reset(_i);
	start_shown();
	fake_drm_leave(FAKE_CONNECTOR, FAKE_LINK_STATUS, 1);
	ck_assert(!fake_drm_lit());
	fake_hotplug();
	UNTIL(screen_shows(UI_COLOUR));
	ck_assert_uint_eq(modes_set(_i), 2);
	fake_hotplug();
	settle(50);
	ck_assert_uint_eq(modes_set(_i), 2); /* once */
	ui_frame(0x303030);
	UNTIL(screen_shows(0x303030));
	ck_assert_uint_eq(card.refused, 0);
	rig_end();
}
END_TEST

/* No framebuffer can be made at first: tried again without haste, for the frame that waits. */
START_TEST(framebuffer_refused_for_a_while)
{
	reset(_i);
	fails(DRM_IOCTL_MODE_ADDFB2, ENOMEM, 2);
	card.script[0].skip = 1; /* the probe of imports */
	uint64_t began = clock_now_ns();
	start_shown();
	ck_assert_uint_ge(clock_now_ns() - began, 2 * WORKER_RETRY_NS);
	ck_assert_uint_eq(modes_set(_i), 1);
	rig_end();
}
END_TEST

/* --- atomic commits ------------------------------------------------------------------------------------------------------ */

/* No framebuffer over the guest's pages: they are copied, to the same picture. */
START_TEST(no_imports)
{
	for (uint32_t why = 0; why < 2; why++) {
		fake_drm_reset();
		card.no_prime = why == 0;
		card.no_udmabuf = why == 1;
		rig_start();
		UNTIL(screen_shows(UI_COLOUR));
		ck_assert_msg(panel->backend->copies[0] != '\0', "a verdict");
		present(PRESENTATION_PRESENTED);
		guest_frame(GUEST_BUFFER, 0x405060);
		UNTIL(screen_shows(0x405060));
		ck_assert_uint_eq(stats.bytes_copied, W * H * 4);
		rig_end();
	}
}
END_TEST

/* A driver that does not let go of them shows our picture all the same. */
START_TEST(leftovers_refused)
{
	fake_drm_reset();
	fake_drm_leave(FAKE_CRTC, FAKE_GAMMA_LUT, 77); /* planes that we may use are set by each full commit anyway */
	fails(DRM_IOCTL_MODE_ATOMIC, EINVAL, 1);
	rig_start();
	UNTIL(screen_shows(UI_COLOUR));
	ck_assert_uint_eq(card.refused, 1);
	ck_assert_uint_eq(fake_drm_value(FAKE_CRTC, FAKE_GAMMA_LUT), 77);
	rig_end();
}
END_TEST

static void show_guest_with_pointer(void)
{
	start_shown();
	guest_frame(GUEST_BUFFER, 0x405060);
	guest_points(5, 7, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	present(PRESENTATION_PRESENTED);
	UNTIL(screen_shows(0x405060) && fake_drm_value(FAKE_CURSOR, FAKE_FB_ID) != 0);
}

/*
 * What a driver keeps of another program's costs the pointer nothing: it stays on its plane. Odd: it is the pointer that is refused, twice, since the probe behind the
 * first commit gives it its plane back; and the rest is cleared. The second time is in the full commit, which is tried with and without what is to be cleared, or, where
 * the pointer's picture is not ready by then, in a flip, which is tried with and without clips if there are any.
 */
START_TEST(leftovers_refused_beside_a_pointer)
{
	bool pointer = _i & 1;
	fake_drm_reset();
	card.no_clips = _i >= 2;
	show_guest_with_pointer();
	panel_session(panel, false);
	fake_drm_leave(FAKE_CRTC_1, FAKE_MODE_ID, 1);
	card.script[0] = (struct fake_script){.request = DRM_IOCTL_MODE_ATOMIC, .error = EINVAL, .count = 100, .with = FAKE_ID(pointer ? FAKE_CURSOR : FAKE_CRTC_1), .shows = pointer};
	panel_session(panel, true);
	UNTIL(card.refused >= (pointer ? 2 : 1));
	settle(200);
	UNTIL(screen_shows(0x405060) && fake_drm_value(FAKE_CRTC_1, FAKE_MODE_ID) == (pointer ? 0 : 1));
	ck_assert_uint_eq(fake_drm_value(FAKE_CURSOR, FAKE_FB_ID) != 0, !pointer);
	ck_assert_int_eq(panel->pointer_plane, !pointer);
	ck_assert_uint_le(card.refused, pointer ? 3 : 1);
	rig_end();
}
END_TEST

/* Our own pointer on its plane is no leftover of another program: one modeset, not two. */
START_TEST(session_back_with_a_pointer)
{
	fake_drm_reset();
	show_guest_with_pointer();
	panel_session(panel, false);
	panel_session(panel, true);
	UNTIL(screen_shows(0x405060));
	settle(100);
	ck_assert_uint_eq(card.modesets, 2);
	ck_assert_uint_eq(card.refused, 0);
	rig_end();
}
END_TEST

/* A seat given away in the middle of a flip, and back. */
START_TEST(session_lost_in_flight)
{
	fake_drm_reset();
	start_shown();
	card.hold_flips = true;
	ui_frame(0x303030);
	UNTIL(fake_drm_pending());
	panel_session(panel, false);
	card.inactive = true;
	ck_assert(fake_drm_flip()); /* reported late: of an old epoch */
	ui_frame(0x505050);
	UNTIL(ui_presented == ui_sequence);
	ck_assert_uint_eq(card.refused, 0); /* not even tried */
	card.inactive = card.hold_flips = false;
	panel_session(panel, true);
	UNTIL(screen_shows(0x505050));
	ck_assert_uint_eq(card.modesets, 2);
	rig_end();
}
END_TEST

/* Toggles while a flip is in flight: none is committed before its event, all are there after it, the last one counts. */
START_TEST(toggles_in_flight)
{
	fake_drm_reset();
	start_shown();
	guest_frame(GUEST_BUFFER, 0x405060);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	card.hold_flips = true;
	ui_frame(0x303030);
	UNTIL(fake_drm_pending());
	uint32_t commits = card.commits;
	for (uint32_t i = 0; i < 3; i++) {
		present(PRESENTATION_PRESENTED);
		present(PRESENTATION_HIDDEN);
	}
	present(PRESENTATION_PRESENTED);
	settle(50);
	ck_assert_uint_eq(card.commits, commits);
	ck_assert_uint_eq(card.refused, 0);
	ck_assert(screen_shows(0x303030));
	card.hold_flips = false;
	ck_assert(fake_drm_flip());
	UNTIL(screen_shows(0x405060));
	ck_assert_uint_eq(card.commits, commits + 1);
	ck_assert_uint_eq(stats.toggles, 7);
	ck_assert_uint_eq(stats.toggles_replaced, 6);
	rig_end();
}
END_TEST

/* A card without a vblank answers at once: frames are paced by the refresh, a toggle is not. */
START_TEST(no_vblank)
{
	fake_drm_reset();
	card.no_vblank = true;
	rig_start();
	UNTIL(screen_shows(UI_COLOUR));
	ck_assert(!panel->screen[0].output.vblank);
	uint64_t began = clock_now_ns(), refresh = panel_refresh_ns(&panel->screen[0]);
	uint32_t commits = card.commits;
	for (uint32_t i = 0; clock_now_ns() - began < 20 * refresh; i++) {
		ui_frame(0x303030 + 2 * (i & 7));
		turn(1);
	}
	uint64_t refreshes = (clock_now_ns() - began) / refresh;
	ck_assert_uint_le(card.commits - commits, refreshes + 1);
	ck_assert_uint_gt(card.commits, commits);
	rig_end();
}
END_TEST

/* One pixel is another one, and is shown. */
static void dot(uint32_t x, uint32_t y, uint32_t pixel)
{
	buffer_pixels(UI_BUFFER)[y * W + x] = pixel;
	show(ui, 0, UI_BUFFER, ++ui_sequence, whole, (struct rect){x, y, 1, 1});
	UNTIL(fake_drm_pixel(x, y) == pixel);
	UNTIL(ui_presented == ui_sequence);
}

/* Damage goes to drivers that want it, is tried once where it is refused, and the picture is whole in any case. */
START_TEST(damage)
{
	fake_drm_reset();
	start_shown();
	ui_frame(0x303030);
	UNTIL(ui_presented == ui_sequence);
	/* What is new all over is told by no damage at all. */
	uint32_t blobs = card.blobs;
	ui_frame(0x404040);
	UNTIL(screen_shows(0x404040));
	ck_assert(!card.clipped);
	ck_assert_uint_eq(card.blobs, blobs);
	UNTIL(ui_presented == ui_sequence);
	dot(6, 5, 0x76); /* into the other framebuffer, which lacks all of that picture as well */
	ck_assert_uint_eq(card.blobs, blobs);
	dot(7, 5, 0x77);
	ck_assert(card.clipped);
	ck_assert_uint_gt(card.blobs, blobs);
	/* All but a row is not all. */
	show(ui, 0, UI_BUFFER, ++ui_sequence, whole, (struct rect){0, 0, W, H - 1});
	UNTIL(ui_presented == ui_sequence);
	ck_assert(card.clipped);
	/* refused */
	fails(DRM_IOCTL_MODE_ATOMIC, EINVAL, 1);
	dot(8, 5, 0x78);
	ck_assert_uint_eq(card.refused, 1);
	ck_assert(!card.clipped);
	dot(9, 5, 0x79);
	ck_assert(!card.clipped);
	ck_assert_uint_eq(card.refused, 1);
	ck_assert_uint_eq(card.modesets, 1);
	rig_end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-drm");
	TCase *each = tcase_create("each way");
	tcase_set_timeout(each, 60);
	tcase_add_loop_test(each, faces, 0, WAYS);
	tcase_add_loop_test(each, leftovers, 0, LEGACY + 1);
	tcase_add_loop_test(each, busy, 0, LEGACY + 1);
	tcase_add_loop_test(each, inactive, 0, LEGACY + 1);
	tcase_add_loop_test(each, flip_lost, 0, LEGACY + 1);
	tcase_add_loop_test(each, import_refused_at_commit, 0, LEGACY + 1);
	tcase_add_loop_test(each, framebuffer_refused_for_a_while, 0, LEGACY + 1);
	tcase_add_loop_test(each, link_lost, 0, LEGACY + 1);
	suite_add_tcase(s, each);
	TCase *c = tcase_create("atomic");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, no_imports);
	tcase_add_test(c, leftovers_refused);
	tcase_add_loop_test(c, leftovers_refused_beside_a_pointer, 0, 4);
	tcase_add_test(c, session_back_with_a_pointer);
	tcase_add_test(c, session_lost_in_flight);
	tcase_add_test(c, toggles_in_flight);
	tcase_add_test(c, no_vblank);
	tcase_add_test(c, damage);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
