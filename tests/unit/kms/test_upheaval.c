/*
 * Everything that can happen to a panel, in random order: monitors and cards that go and come, another mode, a lost link, the seat taken and given back, a screen
 * switched off and on, toggles, frames, a pointer, flips that are held, commits that are refused. When it is quiet again the face that is wanted is on the
 * screen, to the pixel; nothing of any card was kept (rig_end() looks); there was never more than one flip in flight, nor one for a card that was not there.
 * In some orders the second monitor has a picture of its own (extend), which has no part in what the first one shows; in others it shows the same in the end.
 * RAYVM_UPHEAVALS=FIRST,COUNT[,KIND] runs other orders than the usual ones: each of the ORDERS tests has COUNT of them; KIND: all of one kind, an index of kinds[].
 */
#define LOG_MODULE "test"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "drm_rig.h"
#include "random.h"

#define STEPS 150
#define ORDERS 24

static const struct kind {
	enum way way;
	bool extend, mirrors; /* the second monitor's part in the end */
	bool uploads;         /* the card is one that is better off with one framebuffer: lend.h */
	bool clears;          /* or one that loses its pictures when a mode is set */
	bool no_clips;
} kinds[] = {
	{.way = ATOMIC},
	{.way = ATOMIC, .extend = true},
	{.way = LEGACY},
	{.way = ATOMIC, .mirrors = true},
	{.way = ATOMIC, .uploads = true},
	{.way = ATOMIC, .extend = true, .uploads = true},
	{.way = LEGACY, .uploads = true},
	{.way = ATOMIC, .clears = true, .no_clips = true},
};
static struct random random_order;
static struct kind kind;
static struct {
	uint32_t ui, guest, head; /* colours of the newest frames, head: of the guest's second one; 0: it has no picture */
	enum presentation side;
	bool away, blanked; /* the seat; the screen */
} is;

static uint32_t rnd(uint32_t n)
{
	return random_below(&random_order, n);
}

#define HEAD_BUFFER 12u
#define W2 32
#define H2 24

static const struct rect whole_2 = {0, 0, W2, H2};
static uint64_t head_sequence;

static void head_frame(uint32_t of)
{
	fill(HEAD_BUFFER, of);
	show(guest, 1, HEAD_BUFFER, ++head_sequence, whole_2, whole_2);
}

static bool second_is(uint32_t of)
{
	for (uint32_t i = 0; i < W2 * H2; i++)
		if (fake_drm_pixel_on(FAKE_CONNECTOR_1, i % W2, i / W2) != of + (of ? i & 1 : 0))
			return false;
	return fake_drm_lit_on(FAKE_CONNECTOR_1);
}

static bool second_is_like_the_first(void)
{
	for (uint32_t i = 0; i < (uint32_t)card.width * card.height; i++)
		if (fake_drm_pixel_on(FAKE_CONNECTOR_1, i % card.width, i / card.width) != fake_drm_pixel(i % card.width, i / card.width))
			return false;
	return fake_drm_lit_on(FAKE_CONNECTOR_1);
}

static uint32_t colour(void)
{
	return (rnd(0xffffff) & 0xfefefe) | 0x200000;
}

static void card_step(void)
{
	if (card.gone) {
		fake_drm_put_in();
		if (rnd(4))
			fake_added();
	} else {
		fake_drm_take_out();
		if (rnd(4))
			fake_removed();
		if (rnd(2) == 0) { /* and another one at once */
			turn(0);
			fake_drm_put_in();
			fake_added();
		}
	}
}

static void outputs_step(void)
{
	uint32_t what = rnd(4);
	if (what == 2 && !card.gone)
		fake_drm_leave(FAKE_CONNECTOR, FAKE_LINK_STATUS, 1);
	fake_drm_lock();
	if (what == 0)
		card.second = !card.second;
	else if (what == 1)
		card.width = card.width == W ? 2 * W : W;
	if (what == 1 || what == 3)
		card.connected = what == 1 || !card.connected;
	fake_drm_unlock();
	if (rnd(5))
		fake_hotplug();
}

static void refuse_step(void)
{
	static const int errors[] = {EINVAL, EINVAL, EBUSY, EBUSY, EACCES, ENOSPC, ENOMEM};
	static const uint32_t objects[] = {0, 0, FAKE_ID(FAKE_CURSOR), FAKE_ID(FAKE_PRIMARY_1), FAKE_ID(FAKE_OVERLAY)};
	static const unsigned long requests[] = {DRM_IOCTL_MODE_ATOMIC, DRM_IOCTL_MODE_PAGE_FLIP, DRM_IOCTL_MODE_SETCRTC, DRM_IOCTL_MODE_ADDFB2,
		DRM_IOCTL_MODE_DIRTYFB};
	uint32_t slot = rnd(ARRAY_LEN(card.script));
	struct fake_script s = (struct fake_script){.request = kind.way == ATOMIC && rnd(5) ? DRM_IOCTL_MODE_ATOMIC : requests[rnd(ARRAY_LEN(requests))],
		.error = errors[rnd(ARRAY_LEN(errors))], .skip = rnd(3), .count = 1 + rnd(3), .with = objects[rnd(ARRAY_LEN(objects))], .shows = rnd(2), .imported = rnd(4) == 0};
	if (s.request == DRM_IOCTL_MODE_ADDFB2)
		s.count = 1; /* the next try is a second away */
	fake_drm_lock();
	card.script[slot] = s;
	fake_drm_unlock();
}

static void seat_step(void)
{
	is.away = !is.away;
	if (is.away)
		panel_session(panel, false);
	fake_drm_lock();
	card.inactive = is.away;
	fake_drm_unlock();
	if (is.away && !card.gone && rnd(2))
		fake_drm_leave(FAKE_CRTC, FAKE_GAMMA_LUT, 77);
	if (!is.away)
		panel_session(panel, true);
}

static void step(void)
{
	switch (rnd(12)) {
	case 0:
		card_step();
		break;
	case 1:
		outputs_step();
		break;
	case 2:
		refuse_step();
		break;
	case 3:
		seat_step();
		break;
	case 4:
		if (panel_blank(panel, !is.blanked) == 0)
			is.blanked = !is.blanked;
		break;
	case 5:
		card.hold_flips = !card.hold_flips;
		break;
	case 6:
		fake_drm_flip_of(rnd(2));
		break;
	case 7:
		guest_points((int32_t)rnd(2 * W) - W / 2, (int32_t)rnd(2 * H) - H / 2, rnd(4) != 0);
		break;
	case 8:
		if (kind.extend && rnd(2)) {
			if (rnd(8) == 0)
				ck_assert(link_send_to_panel(guest, &(struct link_message){.type = LINK_NO_FRAME, .head = 1}));
			else
				head_frame(is.head = colour());
			break;
		}
		if (rnd(8) == 0) {
			ck_assert(link_send_to_panel(guest, &(struct link_message){.type = LINK_NO_FRAME}));
			is.guest = 0;
			break;
		}
		guest_frame(GUEST_BUFFER + rnd(3), is.guest = colour());
		break;
	case 9:
		ui_frame(is.ui = colour());
		break;
	default:
		is.side = is.side == PRESENTATION_HIDDEN ? PRESENTATION_PRESENTED : PRESENTATION_HIDDEN;
		present(is.side);
		break;
	}
	for (uint32_t turns = rnd(4); turns > 0; turns--)
		turn((int)rnd(2));
}

/* The card is there and does what it is told, with one monitor, and it is our turn. */
static void calm_down(void)
{
	fake_drm_lock();
	memset(card.script, 0, sizeof(card.script));
	card.hold_flips = card.inactive = card.second = false;
	card.connected = true;
	fake_drm_unlock();
	fake_drm_flip();
	/* Sooner or later the kernel tells of each that went: a panel that commits nothing finds it out by nothing else. */
	for (uint32_t n = 0; n < card.cards + card.gone; n++) {
		fake_uevent("remove", makedev(226, n));
		turn(0);
	}
	if (card.gone) {
		settle(5);
		fake_drm_put_in();
	}
	if (is.away)
		seat_step();
	fake_added();
	fake_hotplug();
	if (is.blanked)
		ck_assert_int_eq(panel_blank(panel, false), 0);
	/* The guest's last word: a picture of its own, and no pointer in it. */
	guest_points(0, 0, false);
	guest_frame(GUEST_BUFFER, is.guest = colour());
	ui_frame(is.ui = colour());
	if (!kind.extend && !kind.mirrors)
		return;
	/* One that was refused is tried again when monitors change, and is not the main one. What was found of them before is known by then. */
	settle(100);
	const struct output *main = &panel->screen[0].output;
	UNTIL(strcmp(main->name, "HDMI-A-1") == 0 && main->connected && main->n_mirrors == 0 && !panel->screen[1].output.connected);
	fake_drm_lock();
	card.second = true;
	fake_drm_unlock();
	fake_hotplug();
	if (kind.extend)
		head_frame(is.head = colour());
}

static bool shows_what_is_wanted(void)
{
	if (kind.extend && !second_is(is.side == PRESENTATION_PRESENTED ? is.head : 0))
		return false;
	if (kind.mirrors && !second_is_like_the_first())
		return false;
	return card.width == panel->screen[0].output.width && screen_is(is.side == PRESENTATION_PRESENTED ? is.guest : is.ui, (card.width - W) / 2u, 0, W, H);
}

/* A refusal may keep a screen lit that is not the main one any more; in the end that is the first one. */
static void excuse(void)
{
	if (strcmp(panel->screen[0].output.name, "HDMI-A-1") != 0)
		card.pulled = 0;
}

static void upheaval(uint32_t seed)
{
	random_order = random_series(seed);
	reset(kind.way);
	if (kind.extend) {
		rig_extend = card.second = true;
		rig_connector = "HDMI-A-1"; /* the main one in the end, also if it left while it slept */
		card.second_width = W2;
		card.second_height = H2;
		head_sequence = 0;
	}
	if (kind.uploads) {
		card.driver = "virtio_gpu";
		card.dirty = card.uploads = card.no_vblank = true;
	}
	if (kind.clears) {
		card.driver = "bochs-drm";
		card.clears = true;
	}
	card.no_clips = kind.no_clips;
	is.ui = UI_COLOUR;
	is.guest = 0;
	is.side = PRESENTATION_HIDDEN;
	is.away = is.blanked = false;
	rig_start();
	announce(guest, HEAD_BUFFER, W2, H2, DRM_FORMAT_XRGB8888);
	show(ui, 1, UI_BUFFER, 1, whole, whole); /* a placeholder */
	for (uint32_t i = 0; i < STEPS; i++) {
		step();
		ck_assert_uint_eq(card.overtaken, 0);
		excuse();
	}
	calm_down();
	UNTIL(shows_what_is_wanted());
	/* It still turns, from here to there and back. */
	for (uint32_t i = 0; i < 2; i++) {
		is.side = is.side == PRESENTATION_HIDDEN ? PRESENTATION_PRESENTED : PRESENTATION_HIDDEN;
		present(is.side);
		UNTIL(shows_what_is_wanted());
	}
	UNTIL(!fake_drm_pending());
	ck_assert_uint_eq(card.overtaken, 0);
	card.pulled_beside = 0;
	rig_end();
}

START_TEST(upheavals)
{
	const char *wish = getenv("RAYVM_UPHEAVALS");
	uint32_t first = (uint32_t)_i * 3 + 1, count = 3, which = UINT32_MAX;
	kind = kinds[(uint32_t)_i % ARRAY_LEN(kinds)];
	if (wish && sscanf(wish, "%u,%u,%u", &first, &count, &which) >= 2)
		first += count * (uint32_t)_i;
	if (which < ARRAY_LEN(kinds))
		kind = kinds[which];
	for (uint32_t seed = first; seed < first + count; seed++) {
		fprintf(stderr, "order %u\n", seed);
		upheaval(seed);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-upheaval");
	TCase *c = tcase_create("card");
	tcase_set_timeout(c, getenv("RAYVM_UPHEAVALS") ? 3000 : 100);
	tcase_add_loop_test(c, upheavals, 0, ORDERS);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
