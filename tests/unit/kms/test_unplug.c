/* Monitors and cards that go at any moment, with the real drm*.c between: what is shown afterwards, and what is left behind. */
#define LOG_MODULE "test"
#include "drm_rig.h"

static _Atomic uint32_t step, steps; /* counted on two threads */
static enum { MONITOR, CARD } what_goes;

static void goes(unsigned long request)
{
	if (request == DRM_IOCTL_MODE_GETPROPERTY)
		return; /* names of properties: hundreds, one like the other */
	steps++;
	if (step > 0 && --step == 0) {
		if (what_goes == MONITOR) {
			fake_drm_lock();
			card.connected = false;
			fake_drm_unlock();
		} else {
			fake_drm_take_out();
		}
	}
}

static void plug(bool connected)
{
	fake_drm_lock();
	card.connected = connected;
	fake_drm_unlock();
	fake_hotplug();
}

/* A frame, a toggle to the guest and its pointer, a look at the connectors, a flip that is held, a nap, a toggle back. */
static void some_life(void)
{
	ui_frame(0x303030);
	settle(4);
	guest_frame(GUEST_BUFFER, 0x405060);
	guest_points(3, 3, true);
	present(PRESENTATION_PRESENTED);
	settle(4);
	guest_points(9, 9, true);
	fake_hotplug();
	settle(4);
	card.hold_flips = true;
	guest_frame(GUEST_BUFFER + 1, 0x405060);
	settle(4);
	card.hold_flips = false;
	fake_drm_flip();
	panel_blank(panel, true);
	settle(2);
	panel_blank(panel, false);
	settle(4);
	present(PRESENTATION_HIDDEN);
	settle(4);
}

static uint32_t steps_of_a_life(enum way way)
{
	reset(way);
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
	enum way way = (enum way)(_i / 4);
	uint32_t n = steps_of_a_life(way);
	ck_assert_uint_gt(n, 50);
	for (uint32_t at = (uint32_t)_i % 4; at <= n; at += 4) {
		reset(way);
		what_goes = MONITOR;
		step = at + 1;
		card.before = goes;
		rig_start();
		some_life();
		step = 0;
		plug(false);
		UNTIL(!panel->screen[0].output.connected);
		UNTIL(ui_presented == ui_sequence); /* producers go on without a monitor */
		plug(true);
		ui_frame(0x707070);
		UNTIL(screen_shows(0x707070));
		rig_end();
	}
}
END_TEST

/*
 * The card is taken out ahead of each single ioctl after it was opened: producers go on, nothing turns, and another one, put in when the kernel has said so, or
 * (odd steps) is about to, gets the picture. Of the first one nothing is freed on the second.
 */
START_TEST(card_goes_at_each_step)
{
	enum way way = (enum way)(_i / 8);
	uint32_t n = steps_of_a_life(way);
	ck_assert_uint_gt(n, 50);
	for (uint32_t at = (uint32_t)_i % 8; at <= n; at += 8) {
		reset(way);
		what_goes = CARD;
		rig_start();
		UNTIL(screen_shows(UI_COLOUR));
		step = at + 1;
		card.before = goes;
		some_life();
		if (step > 0)
			fake_drm_take_out(); /* this life had fewer */
		step = 0;
		if (at % 2) {
			fake_drm_put_in();
			fake_removed();
			fake_added();
		} else {
			fake_removed();
			UNTIL(panel->card == PANEL_CARD_NONE);
			uint32_t asked = card.ioctls;
			ui_frame(0x606060);
			UNTIL(ui_presented == ui_sequence);
			ck_assert_uint_eq(card.ioctls, asked);
			fake_drm_put_in();
			fake_added();
		}
		ui_frame(0x707070);
		UNTIL(screen_shows(0x707070));
		present(PRESENTATION_PRESENTED);
		UNTIL(screen_shows(0x405060));
		rig_end();
	}
}
END_TEST

/* During a flip: the event never comes, another monitor does. */
START_TEST(monitor_goes_in_flight)
{
	fake_drm_reset();
	start_shown();
	card.lose_flips = true;
	ui_frame(0x303030);
	UNTIL(fake_drm_pending());
	plug(false);
	UNTIL(!panel->screen[0].output.connected);
	ui_frame(0x404040);
	UNTIL(ui_presented == ui_sequence);
	card.lose_flips = false;
	card.width = 2 * W;
	plug(true);
	UNTIL(fake_drm_lit() && panel->screen[0].output.width == 2 * W);
	UNTIL(screen_is(0x404040, W / 2, 0, W, H));
	rig_end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-unplug");
	TCase *c = tcase_create("card");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, monitor_goes_at_each_step, 0, 4 * (LEGACY + 1));
	tcase_add_loop_test(c, card_goes_at_each_step, 0, 8 * (LEGACY + 1));
	tcase_add_test(c, monitor_goes_in_flight);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
