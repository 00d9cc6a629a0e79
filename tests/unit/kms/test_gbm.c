/* Framebuffers by libgbm: on a card without dumb buffers, and where they are asked for. */
#define LOG_MODULE "test"
#include "drm_rig.h"

#include "fake_gbm.h"
#include "kms/choose.h"

enum { ASKED, NO_DUMB, CASES };

static void reset_case(int which)
{
	reset(ATOMIC);
	fake_gbm_reset();
	card.no_dumb = which == NO_DUMB;
	rig_gbm = which == ASKED;
}

/* Without a copy of the guest's pixels, so that both go through a framebuffer: every pixel, with a pitch that is not the width's, and nothing left. */
START_TEST(faces)
{
	reset_case(_i);
	card.no_prime = true;
	start_shown();
	ck_assert_ptr_nonnull(strstr(panel->backend->ops->describe(panel->backend), "gbm"));
	guest_frame(GUEST_BUFFER, 0x405060);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	for (uint32_t i = 0; i < 3; i++) {
		present(PRESENTATION_PRESENTED);
		UNTIL(screen_shows(0x405060));
		guest_frame(GUEST_BUFFER, 0x605040);
		UNTIL(screen_shows(0x605040));
		present(PRESENTATION_HIDDEN);
		UNTIL(screen_shows(UI_COLOUR));
		guest_frame(GUEST_BUFFER, 0x405060);
	}
	ck_assert_uint_ge(fake_gbm.buffers, 3);
	rig_end();
	ck_assert_uint_gt(fake_gbm.rounds, 4);
	ck_assert_uint_eq(fake_gbm.wrong, 0);
	ck_assert_uint_eq(fake_gbm.buffers + fake_gbm.devices, 0);
}
END_TEST

/* A monitor of another size: framebuffers are made anew, and the old ones given back. */
START_TEST(another_mode)
{
	reset_case(_i);
	start_shown();
	card.width = 2 * W;
	fake_hotplug();
	UNTIL(panel->screen[0].output.width == 2 * W);
	UNTIL(screen_is(UI_COLOUR, W / 2, 0, W, H));
	rig_end();
	ck_assert_uint_eq(fake_gbm.wrong, 0);
	ck_assert_uint_eq(fake_gbm.buffers + fake_gbm.devices, 0);
}
END_TEST

/* The card goes and another one comes: Mesa's device of the first one is given back with all its buffers, ahead of the card's own end. */
START_TEST(another_card)
{
	reset_case(_i);
	start_shown();
	fake_drm_take_out();
	fake_removed();
	UNTIL(panel->card == PANEL_CARD_NONE);
	ck_assert_uint_eq(fake_gbm.buffers + fake_gbm.devices, 0);
	/* The sandbox keeps Mesa from loading a driver now: no card, a reason, and no haste. */
	fake_gbm.no_device = true;
	fake_drm_put_in();
	fake_added();
	UNTIL(strstr(panel->card_why, "by libgbm") != NULL);
	ck_assert_ptr_nonnull(strstr(panel->card_why, "start rayvm again")); /* the whole of it: a part would be news each time */
	ck_assert_int_eq(panel->card, PANEL_CARD_NONE);
	fake_gbm.no_device = false;
	UNTIL(screen_shows(UI_COLOUR));
	ck_assert_uint_eq(fake_gbm.devices, 1);
	rig_end();
	ck_assert_uint_eq(fake_gbm.wrong, 0);
	ck_assert_uint_eq(fake_gbm.buffers + fake_gbm.devices, 0);
}
END_TEST

/* Mesa has no driver: one line, which says what would help, and the card is given back. */
START_TEST(no_driver)
{
	char error[300];
	int status = 0;
	reset_case(_i);
	fake_gbm.no_device = true;
	ck_assert_ptr_null(drm_create(fake_seat(), "/dev/dri/fake", false, rig_gbm, &(const struct choose_wish){0}, error, sizeof(error), &status));
	ck_assert_int_eq(status, 4);
	ck_assert_ptr_nonnull(strstr(error, "/dev/dri/fake: no framebuffers of "));
	ck_assert_ptr_nonnull(strstr(error, "install Mesa's driver"));
	ck_assert_int_eq(strstr(error, "leave gbm_buffers out") != NULL, _i == ASKED);
	ck_assert_uint_eq(fake_drm_leaks(), 0);
}
END_TEST

/* What cannot be made or mapped leaves nothing behind: the picture stays away, and the program is there. */
START_TEST(no_buffers)
{
	reset_case(ASKED);
	fake_gbm.no_buffers = _i == 0;
	fake_gbm.no_export = _i == 1;
	if (_i == 2)
		fails(DRM_IOCTL_MODE_ADDFB2, EINVAL, 1000);
	rig_start();
	UNTIL(fake_gbm.asked > 0);
	settle(10);
	ck_assert(!fake_drm_lit());
	ck_assert_uint_eq(fake_gbm.buffers, 0);
	rig_end();
	ck_assert_uint_eq(fake_gbm.devices, 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-gbm");
	TCase *c = tcase_create("gbm");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, faces, 0, CASES);
	tcase_add_loop_test(c, another_mode, 0, CASES);
	tcase_add_loop_test(c, another_card, 0, CASES);
	tcase_add_loop_test(c, no_driver, 0, CASES);
	tcase_add_loop_test(c, no_buffers, 0, 3);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
