/* The real drm*.c on a card that misbehaves: what the card is asked, what is on the screen, what is left behind. */
#define LOG_MODULE "test"
#include <errno.h>
#include <fcntl.h>

#include "drm_rig.h"

static void fails(unsigned long request, int error, uint32_t skip, uint32_t count)
{
	card.script[0] = (struct fake_script){.request = request, .error = error, .skip = skip, .count = count};
}

static void start_shown(void)
{
	fake_drm_reset();
	rig_start();
	UNTIL(screen_shows(UI_COLOUR));
	UNTIL(ui_presented == ui_sequence);
}

static void present(enum presentation side)
{
	panel_present(panel, side, clock_now_ns());
}

/* UI, guest without a copy, back: every pixel, one flip each, no modeset. */
START_TEST(faces)
{
	start_shown();
	ck_assert_uint_eq(card.modesets, 1);
	guest_frame(GUEST_BUFFER, 0x405060);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	for (uint32_t i = 0; i < 3; i++) {
		present(PRESENTATION_PRESENTED);
		UNTIL(screen_shows(0x405060));
		present(PRESENTATION_HIDDEN);
		UNTIL(screen_shows(UI_COLOUR));
	}
	ck_assert_uint_eq(card.modesets, 1);
	ck_assert_uint_eq(card.refused, 0);
	ck_assert_uint_eq(stats.bytes_copied, 0);
	rig_end();
}
END_TEST

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

/* What another program left on the card goes with the first commit: its overlay, pointer, second screen, colour table, rotation. */
START_TEST(leftovers)
{
	fake_drm_reset();
	fake_drm_foreign(FAKE_OVERLAY);
	fake_drm_foreign(FAKE_CURSOR);
	fake_drm_foreign(FAKE_PRIMARY_1);
	fake_drm_leave(FAKE_CONNECTOR_1, FAKE_CRTC_ID, FAKE_ID(FAKE_CRTC_1));
	fake_drm_leave(FAKE_CRTC_1, FAKE_ACTIVE, 1);
	fake_drm_leave(FAKE_CRTC_1, FAKE_MODE_ID, 1);
	fake_drm_leave(FAKE_CRTC, FAKE_GAMMA_LUT, 77);
	fake_drm_leave(FAKE_PRIMARY, FAKE_ROTATION, DRM_MODE_ROTATE_180);
	rig_start();
	UNTIL(screen_shows(UI_COLOUR));
	ck_assert_uint_eq(fake_drm_value(FAKE_CURSOR, FAKE_FB_ID), 0);
	ck_assert_uint_eq(fake_drm_value(FAKE_CRTC_1, FAKE_ACTIVE), 0);
	ck_assert_uint_eq(fake_drm_value(FAKE_CONNECTOR_1, FAKE_CRTC_ID), 0);
	ck_assert_uint_eq(fake_drm_value(FAKE_CRTC, FAKE_GAMMA_LUT), 0);
	ck_assert_uint_eq(fake_drm_value(FAKE_PRIMARY, FAKE_ROTATION), DRM_MODE_ROTATE_0);
	rig_end();
}
END_TEST

/* A driver that does not let go of them shows our picture all the same. */
START_TEST(leftovers_refused)
{
	fake_drm_reset();
	fake_drm_leave(FAKE_CRTC, FAKE_GAMMA_LUT, 77); /* planes that we may use are set by each full commit anyway */
	fails(DRM_IOCTL_MODE_ATOMIC, EINVAL, 0, 1);
	rig_start();
	UNTIL(screen_shows(UI_COLOUR));
	ck_assert_uint_eq(card.refused, 1);
	ck_assert_uint_eq(fake_drm_value(FAKE_CRTC, FAKE_GAMMA_LUT), 77);
	rig_end();
}
END_TEST

START_TEST(busy)
{
	start_shown();
	fails(DRM_IOCTL_MODE_ATOMIC, EBUSY, 0, 3);
	ui_frame(0x303030);
	UNTIL(screen_shows(0x303030));
	ck_assert_uint_eq(card.refused, 3);
	ck_assert_uint_eq(card.modesets, 1);
	rig_end();
}
END_TEST

/* Another program holds the display: nothing is tried in haste, the producer goes on, and everything is set anew when it is ours again. */
START_TEST(inactive)
{
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
	ck_assert_uint_eq(card.modesets, 2);
	rig_end();
}
END_TEST

/* A seat given away in the middle of a flip, and back. */
START_TEST(session_lost_in_flight)
{
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

START_TEST(flip_lost)
{
	start_shown();
	card.lose_flips = true;
	ui_frame(0x303030);
	UNTIL(fake_drm_pending());
	card.lose_flips = false;
	uint64_t began = clock_now_ns();
	ui_frame(0x505050);
	UNTIL(screen_shows(0x505050));
	ck_assert_uint_ge(clock_now_ns() - began, NSEC_PER_SEC); /* the watchdog */
	ck_assert_uint_eq(card.modesets, 2);
	ui_frame(0x606060);
	UNTIL(screen_shows(0x606060));
	ck_assert_uint_eq(card.modesets, 2);
	rig_end();
}
END_TEST

/* Toggles while a flip is in flight: none is committed before its event, all are there after it, the last one counts. */
START_TEST(toggles_in_flight)
{
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
	ck_assert(!panel->output.vblank);
	uint64_t began = clock_now_ns(), refresh = panel_refresh_ns(panel);
	uint32_t commits = card.commits;
	for (uint32_t i = 0; clock_now_ns() - began < 20 * refresh; i++) {
		ui_frame(0x303030 + 2 * (i & 7));
		wl_event_loop_dispatch(loop, 1);
		hear();
	}
	uint64_t refreshes = (clock_now_ns() - began) / refresh;
	ck_assert_uint_le(card.commits - commits, refreshes + 1);
	ck_assert_uint_gt(card.commits, commits);
	rig_end();
}
END_TEST

/* Damage goes to drivers that want it, is tried once where it is refused, and the picture is whole in any case. */
START_TEST(damage)
{
	start_shown();
	ui_frame(0x303030);
	UNTIL(ui_presented == ui_sequence);
	buffer_pixels(UI_BUFFER)[5 * W + 7] = 0x77;
	show(ui, 0, UI_BUFFER, ++ui_sequence, whole, (struct rect){7, 5, 1, 1});
	UNTIL(fake_drm_pixel(7, 5) == 0x77);
	ck_assert(card.clipped);
	UNTIL(ui_presented == ui_sequence);
	/* refused */
	fails(DRM_IOCTL_MODE_ATOMIC, EINVAL, 0, 1);
	ui_frame(0x505050);
	UNTIL(screen_shows(0x505050));
	ck_assert_uint_eq(card.refused, 1);
	ck_assert(!card.clipped);
	UNTIL(ui_presented == ui_sequence);
	ui_frame(0x606060);
	UNTIL(screen_shows(0x606060));
	ck_assert(!card.clipped);
	ck_assert_uint_eq(card.refused, 1);
	ck_assert_uint_eq(card.modesets, 1);
	rig_end();
}
END_TEST

/* The guest's own buffer is refused at the commit, not before: a copy of the same frame follows, and nothing else is shown between. */
START_TEST(import_refused_at_commit)
{
	start_shown();
	guest_frame(GUEST_BUFFER, 0x405060);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	fails(DRM_IOCTL_MODE_ATOMIC, EINVAL, 0, 2); /* with damage and without */
	present(PRESENTATION_PRESENTED);
	UNTIL(!screen_shows(UI_COLOUR));
	ck_assert(screen_shows(0x405060));
	ck_assert_uint_eq(stats.bytes_copied, W * H * 4);
	ck_assert_uint_eq(card.modesets, 1);
	rig_end();
}
END_TEST

/* --- things go at any moment ---------------------------------------------------------------------------------------- */

static uint32_t step, steps;
static enum { MONITOR, CARD } what_goes;

static void goes(unsigned long request)
{
	if (request == DRM_IOCTL_MODE_GETPROPERTY)
		return; /* names of properties: hundreds, one like the other */
	steps++;
	if (step > 0 && --step == 0) {
		if (what_goes == MONITOR)
			card.connected = false;
		else
			card.gone = true;
	}
}

/* A frame, a toggle, a frame of the guest's, a look at the connectors, a toggle back. */
static void some_life(void)
{
	ui_frame(0x303030);
	settle(4);
	guest_frame(GUEST_BUFFER, 0x405060);
	present(PRESENTATION_PRESENTED);
	settle(4);
	fake_hotplug();
	settle(4);
	present(PRESENTATION_HIDDEN);
	settle(4);
}

static uint32_t steps_of_a_life(void)
{
	fake_drm_reset();
	card.before = goes;
	step = steps = 0;
	rig_start();
	some_life();
	uint32_t n = steps;
	rig_end();
	return n;
}

/* The monitor is pulled out ahead of each single ioctl, from the first look at the card on, and plugged in again. */
START_TEST(monitor_goes_at_each_step)
{
	uint32_t n = steps_of_a_life();
	ck_assert_uint_gt(n, 50);
	for (uint32_t at = (uint32_t)_i; at <= n; at += 4) {
		fake_drm_reset();
		what_goes = MONITOR;
		step = at + 1;
		card.before = goes;
		rig_start();
		some_life();
		step = 0;
		card.connected = false;
		fake_hotplug();
		UNTIL(!panel->output.connected);
		UNTIL(ui_presented == ui_sequence); /* producers go on without a monitor */
		card.connected = true;
		fake_hotplug();
		ui_frame(0x707070);
		UNTIL(screen_shows(0x707070));
		rig_end();
	}
}
END_TEST

/* The card is taken out ahead of each single ioctl after it was opened: producers go on, nothing turns, the end comes in order. */
START_TEST(card_goes_at_each_step)
{
	uint32_t n = steps_of_a_life();
	for (uint32_t at = (uint32_t)_i; at <= n; at += 4) {
		fake_drm_reset();
		what_goes = CARD;
		rig_start();
		UNTIL(screen_shows(UI_COLOUR));
		step = at + 1;
		card.before = goes;
		some_life();
		step = 0;
		card.gone = true;
		settle(4);
		uint32_t asked = card.ioctls;
		settle(20);
		ck_assert_uint_le(card.ioctls - asked, 12);
		rig_end();
	}
}
END_TEST

/* During a flip: the event never comes, another monitor does. */
START_TEST(monitor_goes_in_flight)
{
	start_shown();
	card.lose_flips = true;
	ui_frame(0x303030);
	UNTIL(fake_drm_pending());
	card.connected = false;
	fake_hotplug();
	UNTIL(!panel->output.connected);
	ui_frame(0x404040);
	UNTIL(ui_presented == ui_sequence);
	card.lose_flips = false;
	card.connected = true;
	card.width = 2 * W;
	fake_hotplug();
	UNTIL(fake_drm_lit() && panel->output.width == 2 * W);
	UNTIL(screen_is(0x404040, W / 2, 0, W, H));
	rig_end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-drm");
	TCase *c = tcase_create("card");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, faces);
	tcase_add_test(c, no_imports);
	tcase_add_test(c, leftovers);
	tcase_add_test(c, leftovers_refused);
	tcase_add_test(c, busy);
	tcase_add_test(c, inactive);
	tcase_add_test(c, session_lost_in_flight);
	tcase_add_test(c, flip_lost);
	tcase_add_test(c, toggles_in_flight);
	tcase_add_test(c, no_vblank);
	tcase_add_test(c, damage);
	tcase_add_test(c, import_refused_at_commit);
	tcase_add_loop_test(c, monitor_goes_at_each_step, 0, 4);
	tcase_add_loop_test(c, card_goes_at_each_step, 0, 4);
	tcase_add_test(c, monitor_goes_in_flight);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
