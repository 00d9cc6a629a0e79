/* Two monitors that show the same picture: each commit is for both, and what a driver refuses of that costs no more than it must. */
#define LOG_MODULE "test"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "drm_rig.h"

#define GUEST_COLOUR 0x405060u

/* The second one shows what the first one shows. */
static bool mirrored(void)
{
	return fake_drm_value(FAKE_CONNECTOR_1, FAKE_CRTC_ID) == FAKE_ID(FAKE_CRTC_1) && fake_drm_value(FAKE_CRTC_1, FAKE_ACTIVE) &&
	       fake_drm_value(FAKE_PRIMARY_1, FAKE_FB_ID) == fake_drm_value(FAKE_PRIMARY, FAKE_FB_ID);
}

static bool second_off(void)
{
	return !fake_drm_value(FAKE_CONNECTOR_1, FAKE_CRTC_ID) && !fake_drm_value(FAKE_CRTC_1, FAKE_ACTIVE) && !fake_drm_value(FAKE_PRIMARY_1, FAKE_FB_ID);
}

static void setup(void)
{
	fake_drm_reset();
	card.second = true;
}

/* Both; then a guest in its own buffer behind the UI. */
static void start_both(void)
{
	start_shown();
	ck_assert_uint_eq(panel->screen[0].output.n_mirrors, 1);
	ck_assert(mirrored());
	guest_frame(GUEST_BUFFER, GUEST_COLOUR);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
}

/* Each face, by one flip that is over when both have flipped. */
START_TEST(faces)
{
	start_both();
	card.hold_flips = true;
	present(PRESENTATION_PRESENTED);
	UNTIL(fake_drm_pending());
	ck_assert(screen_shows(GUEST_COLOUR) && mirrored());
	uint32_t commits = card.commits;
	ck_assert(fake_drm_flip()); /* the second one's */
	present(PRESENTATION_HIDDEN);
	settle(30);
	ck_assert_uint_eq(card.commits, commits);
	ck_assert_int_eq(panel->screen[0].latch.state, LATCH_FLIP);
	card.hold_flips = false;
	ck_assert(fake_drm_flip());
	UNTIL(screen_shows(UI_COLOUR) && mirrored());
	ck_assert_uint_eq(card.modesets, 1);
	ck_assert_uint_eq(card.refused, 0);
	ck_assert_uint_eq(stats.bytes_copied, 0);
	rig_end();
}
END_TEST

/* Off means both, on means both. */
START_TEST(blanked)
{
	start_both();
	ck_assert_int_eq(panel_blank(panel, true), 0);
	ck_assert(!fake_drm_lit());
	ck_assert_uint_eq(fake_drm_value(FAKE_CRTC_1, FAKE_ACTIVE), 0);
	ui_frame(0x303030);
	UNTIL(ui_presented == ui_sequence);
	ck_assert(!fake_drm_lit());
	ck_assert_int_eq(panel_blank(panel, false), 0);
	UNTIL(screen_shows(0x303030) && mirrored());
	ck_assert_uint_eq(card.modesets, 3);
	rig_end();
}
END_TEST

/* The second monitor comes and goes. */
START_TEST(comes_and_goes)
{
	card.second = false;
	start_shown();
	ck_assert(second_off());
	for (uint32_t i = 0; i < 3; i++) {
		card.second = true;
		fake_hotplug();
		UNTIL(screen_shows(UI_COLOUR) && mirrored());
		card.second = false;
		fake_hotplug();
		UNTIL(screen_shows(UI_COLOUR) && second_off());
	}
	rig_end();
}
END_TEST

static _Atomic bool looked;

static void note_looked(void *data, struct backend *backend)
{
	(void)data;
	(void)backend;
	looked = true;
}

/* The worker looks at the connectors; the front hears nothing of that yet. */
static void look(void)
{
	looked = false;
	panel_probe(panel);
	ck_assert(panel_work(panel, note_looked, NULL));
	while (!looked)
		usleep(1000);
}

/* The first monitor comes, and the second one goes while the commit that lights both is made: what was seen before that knows nothing of the first one's CRTC. */
START_TEST(seen_before_both_were_lit)
{
	card.connected = false;
	rig_start();
	UNTIL(fake_drm_lit_on(FAKE_CONNECTOR_1));
	fake_drm_lock();
	card.connected = true;
	fake_drm_unlock();
	look();
	fake_drm_lock();
	card.second = false;
	fake_drm_unlock();
	look();
	UNTIL(panel->screen[0].output.n_mirrors == 0 && strcmp(panel->screen[0].output.name, "HDMI-A-1") == 0 && screen_shows(UI_COLOUR));
	ck_assert_uint_eq(card.refused, 0);
	ck_assert_uint_eq(card.modesets, 3);
	rig_end();
}
END_TEST

/* A driver that cannot do both at once: the first one alone, found out at the start, or by a flip. */
START_TEST(refused)
{
	if (_i)
		start_both();
	card.script[0] = (struct fake_script){.request = DRM_IOCTL_MODE_ATOMIC, .error = EINVAL, .count = 100, .with = FAKE_ID(FAKE_PRIMARY_1), .shows = true};
	if (_i)
		ui_frame(0x303030);
	else
		rig_start();
	UNTIL(screen_shows(_i ? 0x303030 : UI_COLOUR) && second_off());
	uint32_t failed = card.refused, modesets = card.modesets;
	ui_frame(0x505050);
	UNTIL(screen_shows(0x505050));
	ck_assert_uint_eq(card.refused, failed);
	ck_assert_uint_eq(card.modesets, modesets);
	rig_end();
}
END_TEST

/* The guest's own buffer is refused in a full commit: that costs a copy, not the second monitor. 1: nor does what another program left stay. */
START_TEST(import_refused_in_a_full_commit)
{
	start_both();
	present(PRESENTATION_PRESENTED);
	UNTIL(screen_shows(GUEST_COLOUR) && mirrored());
	panel_session(panel, false);
	if (_i)
		fake_drm_leave(FAKE_CRTC, FAKE_GAMMA_LUT, 77);
	card.script[0] = (struct fake_script){.request = DRM_IOCTL_MODE_ATOMIC, .error = EINVAL, .count = 100, .imported = true};
	panel_session(panel, true);
	UNTIL(stats.bytes_copied > 0);
	UNTIL(screen_shows(GUEST_COLOUR) && mirrored());
	settle(100);
	UNTIL(fake_drm_value(FAKE_CRTC, FAKE_GAMMA_LUT) == 0); /* what the look at the connectors found is cleared */
	ck_assert(screen_shows(GUEST_COLOUR) && mirrored());
	rig_end();
}
END_TEST

/* The main monitor is pulled out while both sleep, and is back before they wake: it is the main one still. */
START_TEST(main_one_leaves_asleep)
{
	start_both();
	char name[32];
	memcpy(name, panel->screen[0].output.name, sizeof(name));
	ck_assert_int_eq(panel_blank(panel, true), 0);
	card.connected = false;
	fake_hotplug();
	UNTIL(strcmp(panel->screen[0].output.name, name) != 0);
	card.connected = true;
	fake_hotplug();
	UNTIL(panel->screen[0].output.n_mirrors == 1);
	ck_assert_str_eq(panel->screen[0].output.name, name);
	ck_assert(!fake_drm_lit());
	ck_assert_int_eq(panel_blank(panel, false), 0);
	UNTIL(screen_shows(UI_COLOUR) && mirrored());
	rig_end();
}
END_TEST

/* Another card's connectors are others, whatever their numbers: of the main one that slept on the last card nothing is kept. */
START_TEST(another_card_asleep)
{
	card.connected = false;
	rig_start();
	UNTIL(fake_drm_value(FAKE_CONNECTOR_1, FAKE_CRTC_ID) != 0);
	ck_assert_str_eq(panel->screen[0].output.name, "HDMI-A-2");
	ck_assert_int_eq(panel_blank(panel, true), 0);
	fake_drm_take_out();
	fake_removed();
	card.connected = true;
	fake_drm_put_in();
	fake_added();
	UNTIL(panel->screen[0].output.n_mirrors == 1);
	ck_assert_str_eq(panel->screen[0].output.name, "HDMI-A-1");
	ck_assert_int_eq(panel_blank(panel, false), 0);
	UNTIL(screen_shows(UI_COLOUR) && mirrored());
	rig_end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-mirrors");
	TCase *c = tcase_create("card");
	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, faces);
	tcase_add_test(c, blanked);
	tcase_add_test(c, comes_and_goes);
	tcase_add_test(c, seen_before_both_were_lit);
	tcase_add_loop_test(c, refused, 0, 2);
	tcase_add_loop_test(c, import_refused_in_a_full_commit, 0, 2);
	tcase_add_test(c, main_one_leaves_asleep);
	tcase_add_test(c, another_card_asleep);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
