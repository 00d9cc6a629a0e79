/* Cards without atomic commits, and atomic ones of which none are asked: the same pictures by the old calls. */
#define LOG_MODULE "test"
#include <errno.h>
#include <fcntl.h>

#include "drm_rig.h"

static void start_shown(void)
{
	rig_start();
	UNTIL(screen_shows(UI_COLOUR));
	UNTIL(ui_presented == ui_sequence);
}

/* A new card that has nothing but the old calls. */
static void reset(void)
{
	fake_drm_reset();
	card.no_atomic = true;
}

static void fails(unsigned long request, int error, uint32_t count)
{
	card.script[0] = (struct fake_script){.request = request, .error = error, .count = count};
}

static void present(enum presentation side)
{
	panel_present(panel, side, clock_now_ns());
}

/* 0: the card has no others; 1: it has. */
START_TEST(faces)
{
	fake_drm_reset();
	card.no_atomic = _i == 0;
	rig_legacy = _i == 1;
	start_shown();
	ck_assert_ptr_nonnull(strstr(panel->backend->ops->describe(panel->backend), "legacy"));
	guest_frame(GUEST_BUFFER, 0x405060);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	for (uint32_t i = 0; i < 3; i++) {
		present(PRESENTATION_PRESENTED);
		UNTIL(screen_shows(0x405060));
		present(PRESENTATION_HIDDEN);
		UNTIL(screen_shows(UI_COLOUR));
	}
	ck_assert_uint_eq(card.set_crtc, 1);
	ck_assert_uint_eq(card.page_flips, 6);
	ck_assert_uint_eq(card.commits + card.tests + card.refused, 0);
	ck_assert_uint_eq(stats.bytes_copied, 0);
	rig_end();
}
END_TEST

START_TEST(leftovers)
{
	reset();
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
	reset();
	start_shown();
	fails(DRM_IOCTL_MODE_PAGE_FLIP, EBUSY, 3);
	ui_frame(0x303030);
	UNTIL(screen_shows(0x303030));
	ck_assert_uint_eq(card.refused, 3);
	ck_assert_uint_eq(card.set_crtc, 1);
	rig_end();
}
END_TEST

START_TEST(inactive)
{
	reset();
	start_shown();
	card.inactive = true;
	ui_frame(0x303030);
	UNTIL(ui_presented == ui_sequence);
	ck_assert_uint_eq(card.refused, 1);
	fake_drm_foreign(FAKE_PRIMARY);
	card.inactive = false;
	UNTIL(screen_shows(0x303030));
	ck_assert_uint_eq(card.set_crtc, 2);
	rig_end();
}
END_TEST

START_TEST(flip_lost)
{
	reset();
	start_shown();
	card.lose_flips = true;
	ui_frame(0x303030);
	UNTIL(fake_drm_pending());
	card.lose_flips = false;
	ui_frame(0x505050);
	settle(50);
	ck_assert(screen_shows(0x303030)); /* one flip in flight */
	UNTIL(screen_shows(0x505050));
	ck_assert_uint_eq(card.set_crtc, 2);
	rig_end();
}
END_TEST

/* A driver without page flips: found out once, then every picture is set, at the pace of the refresh, and toggles go on. */
START_TEST(no_flips)
{
	reset();
	card.no_page_flip = true;
	card.no_vblank = _i == 1;
	start_shown();
	ui_frame(0x303030);
	UNTIL(screen_shows(0x303030));
	ck_assert_uint_eq(card.refused, 1);
	ck_assert_uint_eq(card.set_crtc, 2);
	UNTIL(ui_presented == ui_sequence);
	guest_frame(GUEST_BUFFER, 0x405060);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	present(PRESENTATION_PRESENTED);
	UNTIL(screen_shows(0x405060));
	UNTIL(guest_presented == guest_sequence);
	uint64_t began = clock_now_ns(), refresh = panel_refresh_ns(panel);
	uint32_t before = card.set_crtc;
	while (clock_now_ns() - began < 10 * refresh) {
		guest_frame(GUEST_BUFFER + (guest_sequence & 1), 0x405060);
		settle(3);
	}
	uint64_t refreshes = (clock_now_ns() - began) / refresh;
	ck_assert_uint_gt(card.set_crtc, before);
	ck_assert_uint_le(card.set_crtc - before, refreshes + 1);
	ck_assert_uint_eq(card.refused, 1);
	ck_assert_uint_eq(stats.modesets, 1);
	rig_end();
}
END_TEST

/* New pixels in the buffer on the screen: a driver that has to copy them is told which. 1: it does not want to know, and gets a flip. */
START_TEST(dirty)
{
	reset();
	card.no_vblank = true;
	card.dirty = _i == 0;
	start_shown();
	present(PRESENTATION_PRESENTED);
	guest_frame(GUEST_BUFFER, 0x405060);
	UNTIL(guest_presented == 1);
	uint32_t flips = card.page_flips;
	buffer_pixels(GUEST_BUFFER)[5 * W + 7] = 0x77;
	show(guest, 0, GUEST_BUFFER, ++guest_sequence, whole, (struct rect){7, 5, 2, 3});
	UNTIL(guest_presented == 2);
	ck_assert_uint_eq(fake_drm_pixel(7, 5), 0x77);
	ck_assert_uint_eq(card.dirties, _i == 0);
	ck_assert_uint_eq(card.page_flips - flips, _i == 1);
	if (_i == 0) {
		struct drm_mode_rect clip = {7, 5, 9, 8};
		ck_assert(card.clipped);
		ck_assert_mem_eq(&card.clip, &clip, sizeof(clip));
	}
	/* another buffer is a flip */
	guest_frame(GUEST_BUFFER + 1, 0x607080);
	UNTIL(guest_presented == 3);
	ck_assert(screen_shows(0x607080));
	ck_assert_uint_eq(card.dirties, _i == 0);
	rig_end();
}
END_TEST

/* The guest's buffer cannot be flipped to: it is copied, and flips go on. */
START_TEST(import_refused_at_flip)
{
	reset();
	start_shown();
	guest_frame(GUEST_BUFFER, 0x405060);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	fails(DRM_IOCTL_MODE_PAGE_FLIP, EINVAL, 1);
	present(PRESENTATION_PRESENTED);
	UNTIL(screen_shows(0x405060));
	ck_assert_uint_eq(stats.bytes_copied, W * H * 4);
	ck_assert_uint_eq(card.set_crtc, 1);
	ck_assert_uint_eq(card.page_flips, 1);
	rig_end();
}
END_TEST

/* The monitor sleeps, and wakes with the newest picture. */
START_TEST(blank)
{
	reset();
	start_shown();
	ck_assert_int_eq(panel_blank(panel, true), 0);
	ck_assert(!fake_drm_lit());
	ui_frame(0x303030);
	UNTIL(ui_presented == ui_sequence);
	ck_assert(!fake_drm_lit());
	ck_assert_int_eq(panel_blank(panel, false), 0);
	UNTIL(screen_shows(0x303030));
	rig_end();
}
END_TEST

static uint32_t step, steps;

static void monitor_goes(unsigned long request)
{
	if (request == DRM_IOCTL_MODE_GETPROPERTY)
		return;
	steps++;
	if (step > 0 && --step == 0)
		card.connected = false;
}

static void some_life(void)
{
	reset();
	steps = 0;
	card.before = monitor_goes;
	rig_start();
	settle(4);
	guest_frame(GUEST_BUFFER, 0x405060);
	present(PRESENTATION_PRESENTED);
	settle(4);
	present(PRESENTATION_HIDDEN);
	settle(4);
}

START_TEST(monitor_goes_at_each_step)
{
	some_life();
	rig_end();
	uint32_t n = steps;
	ck_assert_uint_gt(n, 30);
	for (uint32_t at = (uint32_t)_i; at < n; at += 2) {
		step = at + 1;
		some_life();
		step = 0;
		card.connected = false;
		fake_hotplug();
		UNTIL(!panel->output.connected);
		card.connected = true;
		fake_hotplug();
		ui_frame(0x707070);
		UNTIL(screen_shows(0x707070));
		rig_end();
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-legacy");
	TCase *c = tcase_create("card");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, faces, 0, 2);
	tcase_add_test(c, leftovers);
	tcase_add_test(c, busy);
	tcase_add_test(c, inactive);
	tcase_add_test(c, flip_lost);
	tcase_add_loop_test(c, no_flips, 0, 2);
	tcase_add_loop_test(c, dirty, 0, 2);
	tcase_add_test(c, import_refused_at_flip);
	tcase_add_test(c, blank);
	tcase_add_loop_test(c, monitor_goes_at_each_step, 0, 2);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
