/* What only the old calls have: drivers without page flips, DIRTYFB, and a sleep that is DPMS. What atomic commits have as well is in test_drm.c. */
#define LOG_MODULE "test"
#include <errno.h>
#include <string.h>

#include "drm_rig.h"

/* A driver without page flips: found out once, then every picture is set, at the pace of the refresh, and toggles go on. */
START_TEST(no_flips)
{
	reset(LEGACY);
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
	uint64_t began = clock_now_ns(), refresh = panel_refresh_ns(&panel->screen[0]);
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
	reset(LEGACY);
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

/* The monitor sleeps, and wakes with the newest picture. */
START_TEST(blank)
{
	reset(LEGACY);
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

/* The seat's other program left the monitor asleep. */
START_TEST(left_asleep)
{
	reset(LEGACY);
	start_shown();
	panel_session(panel, false);
	fake_drm_leave(FAKE_CONNECTOR, FAKE_DPMS, DRM_MODE_DPMS_OFF);
	panel_session(panel, true);
	UNTIL(screen_shows(UI_COLOUR));
	rig_end();
}
END_TEST

static bool second_is_main(void)
{
	return fake_drm_lit_on(FAKE_CONNECTOR_1) && strcmp(panel->screen[0].output.name, "HDMI-A-2") == 0;
}

/* It leaves asleep, another one is woken in its place, and it comes back: that we are awake by then says nothing of it. 1: its CRTC was not let go of meanwhile. */
START_TEST(leaves_asleep)
{
	reset(LEGACY);
	start_shown();
	ck_assert_int_eq(panel_blank(panel, true), 0);
	if (_i)
		fake_drm_leave(FAKE_CONNECTOR_1, FAKE_CRTC_ID, FAKE_ID(FAKE_CRTC_1));
	card.connected = false;
	card.second = true;
	fake_hotplug();
	UNTIL(strcmp(panel->screen[0].output.name, "HDMI-A-2") == 0);
	if (_i)
		card.script[0] = (struct fake_script){.request = DRM_IOCTL_MODE_SETCRTC, .error = EBUSY, .skip = 1, .count = 1};
	ck_assert_int_eq(panel_blank(panel, false), 0);
	UNTIL(second_is_main());
	fake_drm_lock();
	card.connected = true;
	card.second = false;
	fake_drm_unlock();
	fake_hotplug();
	UNTIL(screen_shows(UI_COLOUR));
	rig_end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-legacy");
	TCase *c = tcase_create("card");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, no_flips, 0, 2);
	tcase_add_loop_test(c, dirty, 0, 2);
	tcase_add_test(c, blank);
	tcase_add_test(c, left_asleep);
	tcase_add_loop_test(c, leaves_asleep, 0, 2);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
