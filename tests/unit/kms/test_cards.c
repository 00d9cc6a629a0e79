/* The card goes and comes, with the real drm*.c between: the face that is wanted is on the next one, and nothing is left of the one before. */
#define LOG_MODULE "test"
#include <errno.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "drm_rig.h"
#include "kms/card.h"

#define GUEST_COLOUR 0x405060u

static struct status status(void)
{
	struct status now;
	status_board_read(board, &now);
	return now;
}

static bool says_gone(void)
{
	struct status now = status();
	return now.card == STATUS_CARD_GONE && now.n_outputs == 0 && strstr(now.line[STATUS_DISPLAY].text, "no display card");
}

static uint32_t side_colour(enum presentation side)
{
	return side == PRESENTATION_PRESENTED ? GUEST_COLOUR : UI_COLOUR;
}

/* A new card; a guest with a pointer on the cursor plane behind the UI; then this side is shown. */
static void start_side(enum way way, enum presentation side)
{
	reset(way);
	start_shown();
	guest_frame(GUEST_BUFFER, GUEST_COLOUR);
	guest_points(5, 7, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	present(side);
	UNTIL(screen_shows(side_colour(side)));
	if (way == ATOMIC && side == PRESENTATION_PRESENTED)
		UNTIL(fake_drm_value(FAKE_CURSOR, FAKE_FB_ID) != 0);
}

static void gone(void)
{
	fake_drm_take_out();
	fake_removed();
	UNTIL(says_gone() && panel->card == PANEL_CARD_NONE);
}

static void back(void)
{
	fake_drm_put_in();
	fake_added();
	UNTIL(status().card == STATUS_CARD_HERE);
}

static uint32_t modes_set(void)
{
	return card.modesets + card.set_crtc;
}

/* --- what the kernel says ------------------------------------------------------------------------------------------------- */

START_TEST(what_a_uevent_means)
{
	const dev_t ours = makedev(226, 0), other = makedev(226, 1);
	const struct drm_present here = {.here = true, .devnum = ours}, none = {0};
	const struct {
		const struct drm_present *present;
		const char *action;
		dev_t devnum;
		uint32_t news;
	} cases[] = {
		{&here, "change", ours, BACKEND_OUTPUTS}, {&here, "change", other, 0}, {&here, "change", 0, 0},
		{&here, "remove", ours, BACKEND_LOST}, {&here, "remove", other, 0}, {&here, "remove", 0, 0},
		{&here, "add", other, 0}, {&here, "add", 0, 0}, {&here, NULL, ours, 0}, {&here, "bind", ours, 0},
		{&none, "add", ours, BACKEND_CAME}, {&none, "add", other, BACKEND_CAME}, {&none, "add", 0, 0}, {&none, "add", makedev(4, 1), 0},
		{&none, "remove", ours, 0}, {&none, "change", ours, 0}, {&none, "change", 0, 0}, {&none, NULL, 0, 0},
	};
	for (uint32_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct drm_present present = *cases[i].present;
		ck_assert_msg(drm_news(&present, cases[i].action, cases[i].devnum) == cases[i].news, "case %u", i);
		ck_assert_msg(present.here == (cases[i].present->here && cases[i].news != BACKEND_LOST), "case %u", i);
	}
}
END_TEST

/* What went while none was here is not ours when it has been opened, unless it came again. */
START_TEST(what_went_before_it_was_opened)
{
	const dev_t ours = makedev(226, 3), other = makedev(226, 63), render = makedev(226, 128 + 3);
	struct drm_present present = {0};
	drm_news(&present, "remove", other);
	drm_news(&present, "remove", render);
	drm_news(&present, "remove", makedev(4, 3));
	drm_news(&present, "remove", 0);
	ck_assert_uint_eq(drm_news_opened(&present, ours), 0);
	ck_assert_uint_eq(drm_news(&present, "remove", ours), BACKEND_LOST);
	ck_assert(!present.here);
	drm_news(&present, "remove", ours);
	drm_news(&present, "add", ours);
	ck_assert_uint_eq(drm_news_opened(&present, ours), 0);
	drm_news(&present, "remove", other); /* beside ours: not remembered */
	drm_news_left(&present);
	ck_assert_uint_eq(drm_news_opened(&present, other), 0);
	drm_news_left(&present);
	drm_news(&present, "remove", ours);
	ck_assert_uint_eq(drm_news_opened(&present, ours), BACKEND_LOST);
	ck_assert(!present.here);
	ck_assert_uint_eq(drm_news_opened(&present, ours), 0); /* told once */
}
END_TEST

/* --- gone and back --------------------------------------------------------------------------------------------------------- */

static const enum presentation sides[] = {PRESENTATION_HIDDEN, PRESENTATION_PRESENTED};

/* Either side, each way: the same face comes back by one modeset, and toggles go on. */
START_TEST(the_face_returns)
{
	enum way way = (enum way)(_i / 2);
	enum presentation side = sides[_i % 2], other = sides[1 - _i % 2];
	start_side(way, side);
	ck_assert_uint_eq(card.refused, 0);
	gone(); /* which a commit may have heard first */
	uint32_t asked = card.ioctls, before = modes_set(), refused = card.refused;
	ui_frame(UI_COLOUR);
	UNTIL(ui_presented == ui_sequence); /* producers go on */
	ck_assert_uint_eq(card.ioctls, asked);
	back();
	UNTIL(screen_shows(side_colour(side)));
	if (way == ATOMIC && side == PRESENTATION_PRESENTED)
		UNTIL(fake_drm_value(FAKE_CURSOR, FAKE_FB_ID) != 0);
	present(other);
	UNTIL(screen_shows(side_colour(other)));
	present(side);
	UNTIL(screen_shows(side_colour(side)));
	ck_assert_uint_eq(modes_set() - before, 1);
	ck_assert_uint_eq(card.refused, refused);
	if (way == ATOMIC)
		ck_assert_uint_eq(stats.bytes_copied, 0); /* else for the pointer */
	rig_end();
}
END_TEST

/* What is toggled without a card is what the next one shows. */
START_TEST(toggled_meanwhile)
{
	enum way way = (enum way)(_i / 2);
	enum presentation side = sides[_i % 2], other = sides[1 - _i % 2];
	start_side(way, side);
	gone();
	present(other);
	settle(20);
	present(side);
	present(other);
	back();
	UNTIL(screen_shows(side_colour(other)));
	rig_end();
}
END_TEST

/* No uevent has come yet: a commit hears it first, or the worker, of a second framebuffer. Other errors than ENODEV are no news of the card, and do not end anything. */
START_TEST(told_by_a_commit)
{
	enum way way = (enum way)(_i / 3);
	start_side(way, PRESENTATION_HIDDEN);
	card.gone_error = _i % 3 == 2 ? EINVAL : 0;
	if (_i % 3 == 0) { /* both framebuffers are there */
		ui_frame(UI_COLOUR);
		UNTIL(ui_presented == ui_sequence);
	}
	fake_drm_take_out();
	ui_frame(0x303030);
	if (card.gone_error) {
		settle(100);
		ck_assert(!says_gone());
		fake_removed();
	}
	UNTIL(says_gone());
	fake_removed(); /* once more: nothing */
	back();
	UNTIL(screen_shows(0x303030));
	rig_end();
}
END_TEST

/* Nor does anybody commit: a look at the connectors hears it. */
START_TEST(told_by_a_look)
{
	start_side((enum way)_i, PRESENTATION_HIDDEN);
	settle(150); /* nothing is owed to the hidden guest */
	fake_drm_take_out();
	settle(50);
	ck_assert(!says_gone());
	fake_hotplug();
	UNTIL(says_gone());
	back();
	UNTIL(screen_shows(UI_COLOUR));
	rig_end();
}
END_TEST

/* During a flip, whose event never comes. */
START_TEST(gone_in_flight)
{
	start_side((enum way)_i, PRESENTATION_HIDDEN);
	card.hold_flips = true;
	ui_frame(0x303030);
	UNTIL(fake_drm_pending());
	present(PRESENTATION_PRESENTED);
	gone();
	card.hold_flips = false;
	back();
	UNTIL(screen_shows(GUEST_COLOUR));
	rig_end();
}
END_TEST

/* A screen that sleeps stays dark on the next card, and is woken on that. */
START_TEST(gone_asleep)
{
	start_side((enum way)_i, PRESENTATION_PRESENTED);
	for (uint32_t without = 0; without < 2; without++) { /* 1: it was sent to sleep without a card */
		if (without)
			gone();
		ck_assert_int_eq(panel_blank(panel, true), 0);
		if (!without)
			gone();
		back();
		UNTIL(panel->screen[0].output.connected);
		settle(50);
		ck_assert(!fake_drm_lit());
		ck_assert_int_eq(panel_blank(panel, false), 0);
		UNTIL(screen_shows(GUEST_COLOUR));
	}
	rig_end();
}
END_TEST

/* While the seat is another's a card is given up, but none is opened. */
START_TEST(exchanged_while_the_seat_is_away)
{
	start_side((enum way)_i, PRESENTATION_PRESENTED);
	panel_session(panel, false);
	card.inactive = true;
	gone();
	uint32_t opens = card.opens;
	fake_drm_put_in();
	fake_added();
	settle(600);
	ck_assert_uint_eq(card.opens, opens);
	ck_assert(says_gone());
	card.inactive = false;
	panel_session(panel, true);
	UNTIL(screen_shows(GUEST_COLOUR));
	rig_end();
}
END_TEST

/* It comes without a monitor, which is plugged in later. */
START_TEST(back_without_a_monitor)
{
	start_side((enum way)_i, PRESENTATION_PRESENTED);
	gone();
	fake_drm_lock();
	card.connected = false;
	fake_drm_unlock();
	back();
	UNTIL(strstr(status().line[STATUS_DISPLAY].text, "no monitor") != NULL);
	ck_assert_uint_eq(status().n_outputs, 0);
	fake_drm_lock();
	card.connected = true;
	fake_drm_unlock();
	fake_hotplug();
	UNTIL(screen_shows(GUEST_COLOUR));
	rig_end();
}
END_TEST

/* simpledrm makes room for the real driver: another node, another mode, and now the guest's own pages are shown. */
START_TEST(another_driver)
{
	reset(ATOMIC);
	rig_card = NULL;
	card.driver = "simpledrm";
	card.no_prime = card.no_vblank = true;
	start_shown();
	ck_assert_ptr_nonnull(strstr(panel->backend->ops->describe(panel->backend), "simpledrm"));
	guest_frame(GUEST_BUFFER, GUEST_COLOUR);
	present(PRESENTATION_PRESENTED);
	UNTIL(screen_shows(GUEST_COLOUR));
	uint64_t copied = stats.bytes_copied;
	ck_assert_uint_gt(copied, 0);
	fake_drm_take_out();
	fake_removed();
	fake_drm_put_in(); /* all of it before anything was heard */
	fake_added();
	card.driver = "realdrm";
	card.no_prime = card.no_vblank = false;
	UNTIL(panel->screen[0].output.vblank);
	UNTIL(screen_shows(GUEST_COLOUR));
	ck_assert_ptr_nonnull(strstr(panel->backend->ops->describe(panel->backend), "realdrm"));
	ck_assert_uint_eq(panel->backend->copies[0], 0);
	ck_assert_uint_eq(stats.bytes_copied, copied);
	struct survey survey = {0};
	panel->backend->ops->survey(panel->backend, &panel->screen[0].output, &survey);
	ck_assert_str_eq(survey.path, "/dev/dri/card1");
	rig_end();
}
END_TEST

/* QEMU's VGA: each modeset empties every framebuffer, shown or not. Both faces, which are copied, have their pictures again without a new frame of their producer's. */
START_TEST(a_modeset_clears)
{
	reset((enum way)_i);
	card.driver = "bochs-drm";
	card.clears = card.no_prime = true;
	start_shown();
	guest_frame(GUEST_BUFFER, GUEST_COLOUR);
	present(PRESENTATION_PRESENTED);
	UNTIL(screen_shows(GUEST_COLOUR));
	gone();
	uint32_t before = modes_set();
	back();
	UNTIL(screen_shows(GUEST_COLOUR));
	settle(50);
	present(PRESENTATION_HIDDEN);
	UNTIL(screen_shows(UI_COLOUR));
	panel_session(panel, false);
	panel_session(panel, true);
	UNTIL(modes_set() == before + 2);
	UNTIL(screen_shows(UI_COLOUR));
	settle(50);
	present(PRESENTATION_PRESENTED);
	UNTIL(screen_shows(GUEST_COLOUR));
	ck_assert_uint_eq(modes_set() - before, 2);
	rig_end();
}
END_TEST

/* The next one has another mode. */
START_TEST(another_mode)
{
	start_side((enum way)_i, PRESENTATION_PRESENTED);
	gone();
	card.width = 2 * W;
	back();
	UNTIL(screen_is(GUEST_COLOUR, W / 2, 0, W, H));
	UNTIL(display_w == 2 * W);
	rig_end();
}
END_TEST

/* It cannot be had at once: another program has it, or its node is not there yet. */
START_TEST(back_with_delay)
{
	start_side(ATOMIC, PRESENTATION_PRESENTED);
	gone();
	uint32_t opens = card.opens;
	if (_i)
		card.inactive = true;
	fake_added();
	UNTIL(card.opens > opens);
	settle(50);
	ck_assert(says_gone());
	fake_drm_put_in();
	card.inactive = false;
	UNTIL(screen_shows(GUEST_COLOUR));
	rig_end();
}
END_TEST

static _Atomic bool held, stays; /* the card thread is in an ioctl; the next one is held */

static void hold(unsigned long request)
{
	if (request != DRM_IOCTL_MODE_GETRESOURCES || !stays)
		return;
	held = true;
	while (stays)
		usleep(500);
	held = false;
}

/* While it is opened it goes, and its driver serves whoever has it open all the same. The next one is taken. */
START_TEST(gone_while_it_is_opened)
{
	start_side((enum way)_i, PRESENTATION_PRESENTED);
	gone();
	fake_drm_put_in();
	stays = true;
	card.before = hold;
	fake_added();
	UNTIL(held);
	fake_uevent("remove", makedev(226, card.cards));
	settle(20);
	uint32_t opens = card.opens;
	stays = false;
	UNTIL(panel->card == PANEL_CARD_NONE);
	ck_assert(says_gone());
	ck_assert_uint_eq(card.opens, opens);
	fake_drm_put_in();
	fake_added();
	UNTIL(screen_shows(GUEST_COLOUR));
	rig_end();
}
END_TEST

/* Nobody announces it, nor that it went: found all the same, without haste. What is said of it later is heard as of any. */
START_TEST(unannounced)
{
	start_side(ATOMIC, PRESENTATION_HIDDEN);
	fake_hotplug();
	settle(50);
	fake_drm_take_out();
	ui_frame(UI_COLOUR);
	UNTIL(says_gone() && panel->card == PANEL_CARD_NONE);
	uint32_t opens = card.opens;
	fake_drm_put_in();
	settle(2000);
	ck_assert_uint_eq(card.opens, opens);
	UNTIL(screen_shows(UI_COLOUR));
	ck_assert_uint_eq(card.opens, opens + 1);
	UNTIL(ui_presented == ui_sequence);
	settle(50);
	fake_drm_take_out();
	fake_removed();
	UNTIL(says_gone());
	rig_end();
}
END_TEST

static bool was_released(uint32_t id)
{
	for (uint32_t i = 0; i < n_released; i++)
		if (released[i % ARRAY_LEN(released)].id == id)
			return true;
	return false;
}

/* Buffers that the guest gave up are answered, whether after the card went or before (0: one was on the screen then, its successor in flight). */
START_TEST(buffers_given_up)
{
	start_side(ATOMIC, PRESENTATION_PRESENTED);
	const struct face *face = &panel->face[PANEL_FACE_GUEST];
	UNTIL(guest_presented == guest_sequence);
	card.hold_flips = true;
	guest_frame(GUEST_BUFFER + 1, 0x708090);
	UNTIL(fake_drm_pending());
	guest_frame(GUEST_BUFFER + 2, GUEST_COLOUR);
	UNTIL(face->sequence[face->latest] == guest_sequence);
	if (_i)
		gone();
	struct link_message message = {.type = LINK_BUFFER_DEAD};
	for (uint32_t id = GUEST_BUFFER; id < GUEST_BUFFER + 2; id++) {
		message.dead = (struct link_buffer_id){id, 1};
		ck_assert(link_send_to_panel(guest, &message));
	}
	if (!_i) {
		settle(20);
		ck_assert_uint_eq(n_released, 0);
		gone();
	}
	card.hold_flips = false;
	UNTIL(was_released(GUEST_BUFFER) && was_released(GUEST_BUFFER + 1));
	back();
	UNTIL(screen_shows(GUEST_COLOUR));
	rig_end();
}
END_TEST

/* The end, at each stage of a loss. */
START_TEST(end_meanwhile)
{
	for (uint32_t turns = 0; turns < 12; turns++) {
		start_side(ATOMIC, PRESENTATION_PRESENTED);
		fake_drm_take_out();
		fake_removed();
		if (_i) {
			UNTIL(says_gone());
			fake_drm_put_in();
			fake_added();
		}
		for (uint32_t i = 0; i < turns; i++)
			turn(0);
		rig_end();
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-cards");
	TCase *c = tcase_create("card");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, what_a_uevent_means);
	tcase_add_test(c, what_went_before_it_was_opened);
	tcase_add_loop_test(c, the_face_returns, 0, 2 * WAYS);
	tcase_add_loop_test(c, toggled_meanwhile, 0, 2 * (LEGACY + 1));
	tcase_add_loop_test(c, told_by_a_commit, 0, 3 * (LEGACY + 1));
	tcase_add_loop_test(c, told_by_a_look, 0, LEGACY + 1);
	tcase_add_loop_test(c, gone_in_flight, 0, LEGACY + 1);
	tcase_add_loop_test(c, gone_asleep, 0, LEGACY + 1);
	tcase_add_loop_test(c, exchanged_while_the_seat_is_away, 0, LEGACY + 1);
	tcase_add_loop_test(c, back_without_a_monitor, 0, LEGACY + 1);
	tcase_add_test(c, another_driver);
	tcase_add_loop_test(c, a_modeset_clears, 0, WAYS);
	tcase_add_loop_test(c, another_mode, 0, LEGACY + 1);
	tcase_add_loop_test(c, back_with_delay, 0, 2);
	tcase_add_loop_test(c, gone_while_it_is_opened, 0, LEGACY + 1);
	tcase_add_test(c, unannounced);
	tcase_add_loop_test(c, buffers_given_up, 0, 2);
	tcase_add_loop_test(c, end_meanwhile, 0, 2);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
