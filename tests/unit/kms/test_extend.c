/* Two monitors with pictures of their own (extend): each has flips and modes of its own, and what goes wrong with the second one is no matter of the first. */
#define LOG_MODULE "test"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "drm_rig.h"
#include "kms/strip.h"
#include "link/synthetic.h"

#define GUEST_COLOUR 0x405060u
#define HEAD_COLOUR 0x607080u
#define W2 32
#define H2 24
#define HEAD_BUFFER 12u /* the guest's second head draws here, of W2 x H2 */

static const struct rect whole_2 = {0, 0, W2, H2};
static uint64_t head_sequence;

static void setup(void)
{
	reset(ATOMIC);
	rig_extend = true;
	card.second = true;
	card.second_width = W2;
	card.second_height = H2;
	head_sequence = 0;
}

static bool second_is(uint32_t colour)
{
	if (!fake_drm_lit_on(FAKE_CONNECTOR_1))
		return false;
	for (uint32_t i = 0; i < W2 * H2; i++)
		if (fake_drm_pixel_on(FAKE_CONNECTOR_1, i % W2, i / W2) != colour + (colour ? i & 1 : 0))
			return false;
	return true;
}

static bool second_off(void)
{
	return !fake_drm_value(FAKE_CONNECTOR_1, FAKE_CRTC_ID) && !fake_drm_value(FAKE_CRTC_1, FAKE_ACTIVE) && !fake_drm_value(FAKE_PRIMARY_1, FAKE_FB_ID);
}

static void head_frame(uint32_t colour)
{
	fill(HEAD_BUFFER, colour);
	show(guest, 1, HEAD_BUFFER, ++head_sequence, whole_2, whole_2);
}

/* Both are lit, the second one is black, a guest has drawn both its pictures. */
static void start_both(void)
{
	start_shown();
	announce(guest, HEAD_BUFFER, W2, H2, DRM_FORMAT_XRGB8888);
	UNTIL(second_is(0) && head_display[1].display.width == W2);
	guest_frame(GUEST_BUFFER, GUEST_COLOUR);
	head_frame(HEAD_COLOUR);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete && panel->face[PANEL_FACE_GUEST_1].complete);
}

static bool presented(void)
{
	return screen_shows(GUEST_COLOUR) && second_is(HEAD_COLOUR);
}

static void start_presented(void)
{
	start_both();
	present(PRESENTATION_PRESENTED);
	UNTIL(presented() && head_presented[1] == head_sequence);
}

/* Either the UI or the guest. The main one's buffer is still the guest's own. */
START_TEST(faces)
{
	card.no_crtc_id = _i;
	start_both();
	ck_assert_uint_eq(head_display[0].display.width, W);
	ck_assert_uint_eq(head_display[1].display.height, H2);
	ck_assert_uint_eq(head_display[2].display.width, 0);
	ck_assert(!head_visible[1]);
	UNTIL(head_presented[1] == 1); /* a hidden head is answered by the refresh's timer */
	uint32_t modesets = card.modesets;
	for (uint32_t i = 0; i < 3; i++) {
		present(PRESENTATION_PRESENTED);
		UNTIL(presented());
		UNTIL(head_visible[1]);
		head_frame(0x112233 + 2 * i);
		UNTIL(second_is(0x112233 + 2 * i) && screen_shows(GUEST_COLOUR));
		UNTIL(head_presented[1] == head_sequence);
		present(PRESENTATION_HIDDEN);
		UNTIL(screen_shows(UI_COLOUR) && second_is(0));
		head_frame(HEAD_COLOUR);
		UNTIL(head_presented[1] == head_sequence);
		settle(120); /* a hidden face is kept current ten times a second */
		ck_assert(second_is(0));
	}
	/* A machine that stands still for seconds makes a flip look lost. */
	ck_assert_uint_eq(card.modesets, modesets + panel->screen[0].latch.lost + panel->screen[1].latch.lost);
	ck_assert_uint_eq(card.refused, 0);
	ck_assert_uint_eq(card.overtaken, 0);
	rig_end();
}
END_TEST

/* The second one's flip does not come: the first one goes on, and a toggle is on it at once; on the second one with its own flip. */
START_TEST(the_first_does_not_wait)
{
	card.no_crtc_id = _i;
	start_presented();
	card.hold_second = true;
	head_frame(0x505050);
	UNTIL(fake_drm_pending());
	for (uint32_t i = 0; i < 5; i++) {
		guest_frame(GUEST_BUFFER + (i + 1) % 2, 0x203040 + 2 * i);
		UNTIL(screen_shows(0x203040 + 2 * i) && head_presented[0] == guest_sequence);
	}
	ck_assert_uint_ne(head_presented[1], head_sequence);
	present(PRESENTATION_HIDDEN);
	UNTIL(screen_shows(UI_COLOUR));
	ck_assert_int_eq(panel->screen[1].latch.state, LATCH_FLIP);
	ck_assert(second_is(0x505050));
	card.hold_second = false;
	ck_assert(fake_drm_flip_of(1));
	UNTIL(second_is(0));
	UNTIL(head_presented[1] == head_sequence);
	/* And the other way round. */
	card.hold_flips = true;
	ui_frame(0x303030);
	UNTIL(fake_drm_pending());
	card.hold_flips = false;
	present(PRESENTATION_PRESENTED);
	UNTIL(second_is(0x505050));
	ck_assert_int_eq(panel->screen[0].latch.state, LATCH_FLIP);
	ck_assert(fake_drm_flip_of(0));
	UNTIL(screen_shows(0x203040 + 8) && second_is(0x505050));
	ck_assert_uint_eq(card.overtaken, 0);
	rig_end();
}
END_TEST

/* A flip of the second one is never reported: its state is set anew, the first one's is not. */
START_TEST(lost_flip)
{
	start_presented();
	uint32_t lost = panel->screen[0].latch.lost;
	card.hold_second = true;
	head_frame(0x505050);
	UNTIL(fake_drm_pending());
	UNTIL(panel->screen[1].latch.lost == 1);
	card.hold_second = false;
	fake_drm_flip_of(1);
	head_frame(0x707070);
	UNTIL(second_is(0x707070) && head_presented[1] == head_sequence);
	ck_assert_uint_eq(panel->screen[0].latch.lost, lost);
	ck_assert(screen_shows(GUEST_COLOUR));
	rig_end();
}
END_TEST

/* The second monitor comes and goes: the guest is told, and its place stays the same. */
START_TEST(comes_and_goes)
{
	card.second = false;
	start_shown();
	ck_assert(second_off());
	announce(guest, HEAD_BUFFER, W2, H2, DRM_FORMAT_XRGB8888);
	guest_frame(GUEST_BUFFER, GUEST_COLOUR);
	present(PRESENTATION_PRESENTED);
	UNTIL(screen_shows(GUEST_COLOUR));
	for (uint32_t i = 0; i < 3; i++) {
		card.second = true;
		fake_hotplug();
		UNTIL(head_display[1].display.width == W2 && second_is(i ? HEAD_COLOUR : 0));
		head_frame(HEAD_COLOUR);
		UNTIL(second_is(HEAD_COLOUR) && head_visible[1]);
		card.second = false;
		fake_hotplug();
		UNTIL(second_off() && head_display[1].display.width == 0 && !head_visible[1]);
		UNTIL(screen_shows(GUEST_COLOUR));
		head_frame(HEAD_COLOUR); /* without a monitor it is answered, too */
		UNTIL(head_presented[1] == head_sequence);
	}
	/* Another one, of another mode. */
	card.second = true;
	card.second_width = W;
	card.second_height = H;
	fake_hotplug();
	UNTIL(head_display[1].display.width == W && fake_drm_lit_on(FAKE_CONNECTOR_1));
	UNTIL(fake_drm_pixel_on(FAKE_CONNECTOR_1, W / 2, H / 2) == HEAD_COLOUR || fake_drm_pixel_on(FAKE_CONNECTOR_1, W / 2, H / 2) == HEAD_COLOUR + 1);
	ck_assert_uint_eq(card.refused, 0);
	rig_end();
}
END_TEST

/* The main one is pulled out: the other takes over, and the first is a further one when it is back. */
START_TEST(main_one_leaves)
{
	start_both();
	fake_drm_lock();
	card.connected = false;
	fake_drm_unlock();
	fake_hotplug();
	UNTIL(panel->screen[0].output.connected && strcmp(panel->screen[0].output.name, "HDMI-A-2") == 0 && !panel->screen[1].output.connected);
	UNTIL(fake_drm_lit_on(FAKE_CONNECTOR_1) && display_w == W2);
	fake_drm_lock();
	card.connected = true;
	fake_drm_unlock();
	fake_hotplug();
	UNTIL(panel->screen[1].output.connected);
	UNTIL(fake_drm_lit() && fake_drm_pixel(0, 0) == 0 && fake_drm_lit_on(FAKE_CONNECTOR_1));
	ck_assert_str_eq(panel->screen[0].output.name, "HDMI-A-2");
	ck_assert_uint_eq(card.refused, 0);
	rig_end();
}
END_TEST

static void refuse_second(int error)
{
	fake_drm_lock();
	card.script[0] = (struct fake_script){.request = DRM_IOCTL_MODE_ATOMIC, .error = error, .count = 1000, .with = FAKE_ID(FAKE_PRIMARY_1), .shows = true};
	fake_drm_unlock();
}

static void allow_second(void)
{
	fake_drm_lock();
	card.script[0] = (struct fake_script){0};
	fake_drm_unlock();
}

/* A driver that does not do it, from the start or from a flip on: the second one is off, for the guest as well, until monitors change. */
START_TEST(refused)
{
	if (_i)
		start_presented();
	refuse_second(EINVAL);
	if (_i)
		head_frame(0x505050);
	else
		start_shown();
	UNTIL(panel->screen[1].off && second_off());
	UNTIL(head_display[1].display.width == 0 && !head_visible[1]);
	uint32_t failed = card.refused, modesets = card.modesets;
	UNTIL(screen_shows(_i ? GUEST_COLOUR : UI_COLOUR));
	settle(1200); /* nobody tries again */
	ck_assert_uint_eq(card.refused, failed);
	ck_assert_uint_eq(card.modesets, modesets);
	allow_second();
	fake_hotplug();
	settle(50); /* nothing changed */
	ck_assert(second_off());
	card.second = false;
	fake_hotplug();
	UNTIL(!panel->screen[1].output.connected);
	card.second = true;
	fake_hotplug();
	UNTIL(_i ? second_is(0x505050) : second_is(0));
	ck_assert_uint_eq(head_display[1].display.width, W2);
	rig_end();
}
END_TEST

/* The kernel is busy with the second one, or another program has it: a moment's matter, and not the first one's. */
START_TEST(busy)
{
	start_presented();
	refuse_second(_i ? EACCES : EBUSY);
	head_frame(0x505050);
	settle(50);
	ck_assert(second_is(HEAD_COLOUR));
	guest_frame(GUEST_BUFFER + 1, 0x203040);
	UNTIL(screen_shows(0x203040));
	allow_second();
	UNTIL(second_is(0x505050));
	ck_assert(!panel->screen[1].off);
	rig_end();
}
END_TEST

/* Off means both, on means both. */
START_TEST(blanked)
{
	start_presented();
	ck_assert_int_eq(panel_blank(panel, true), 0);
	ck_assert(!fake_drm_lit() && !fake_drm_lit_on(FAKE_CONNECTOR_1));
	head_frame(0x505050);
	guest_frame(GUEST_BUFFER + 1, 0x203040);
	UNTIL(head_presented[1] == head_sequence && head_presented[0] == guest_sequence);
	ck_assert(!fake_drm_lit() && !fake_drm_lit_on(FAKE_CONNECTOR_1));
	settle(120);
	ck_assert_int_eq(panel_blank(panel, false), 0);
	UNTIL(screen_shows(0x203040) && second_is(0x505050));
	rig_end();
}
END_TEST

/* The seat goes and comes back: what another program left is cleared, on the second one as well. */
START_TEST(session)
{
	start_presented();
	panel_session(panel, false);
	UNTIL(!head_visible[1]);
	fake_drm_foreign(FAKE_PRIMARY_1);
	fake_drm_leave(FAKE_CRTC_1, FAKE_GAMMA_LUT, 77);
	fake_drm_leave(FAKE_CONNECTOR_1, FAKE_CRTC_ID, FAKE_ID(FAKE_CRTC_1));
	panel_session(panel, true);
	UNTIL(presented() && fake_drm_value(FAKE_CRTC_1, FAKE_GAMMA_LUT) == 0);
	UNTIL(head_visible[1]);
	rig_end();
}
END_TEST

/* Another program had the second monitor on the CRTC that the first one gets, or the other way round, or something over it. */
START_TEST(found_elsewhere)
{
	if (_i == 0) {
		fake_drm_foreign(FAKE_PRIMARY);
		fake_drm_leave(FAKE_CONNECTOR_1, FAKE_CRTC_ID, FAKE_ID(FAKE_CRTC));
		fake_drm_leave(FAKE_CRTC, FAKE_MODE_ID, 1064 /* the kernel's own blob */);
		fake_drm_leave(FAKE_CRTC, FAKE_ACTIVE, 1);
		/* The first one's turn comes first, however long it takes. */
		card.script[0] = (struct fake_script){.request = DRM_IOCTL_MODE_ATOMIC, .error = EBUSY, .count = 15, .with = FAKE_ID(FAKE_PRIMARY), .shows = true};
	} else {
		fake_drm_foreign(FAKE_PRIMARY_1);
		fake_drm_leave(FAKE_CONNECTOR_1, FAKE_CRTC_ID, FAKE_ID(FAKE_CRTC_1));
		fake_drm_leave(FAKE_CRTC_1, FAKE_MODE_ID, 1064 /* the kernel's own blob */);
		fake_drm_leave(FAKE_CRTC_1, FAKE_ACTIVE, 1);
	}
	start_presented();
	ck_assert_uint_eq(card.refused, _i == 0 ? 15 : 0);
	/* Sets the first one's whole state again: the second one stays. */
	card.lose_flips = true;
	guest_frame(GUEST_BUFFER + 1, 0x203040);
	UNTIL(panel->screen[0].latch.lost == 1);
	card.lose_flips = false;
	UNTIL(screen_shows(0x203040));
	ck_assert(second_is(HEAD_COLOUR));
	ck_assert_uint_eq(card.refused, _i == 0 ? 15 : 0);
	rig_end();
}
END_TEST

/* A card goes and comes back, with both. */
START_TEST(card_lost)
{
	start_presented();
	fake_drm_take_out();
	fake_removed();
	UNTIL(!head_visible[1]);
	ck_assert_uint_eq(head_display[1].display.width, W2); /* it goes on in the size that it has */
	head_frame(0x505050);
	UNTIL(head_presented[1] == head_sequence);
	fake_drm_put_in();
	fake_added();
	UNTIL(screen_shows(GUEST_COLOUR) && second_is(0x505050));
	ck_assert_uint_eq(head_display[1].display.width, W2);
	rig_end();
}
END_TEST

/* The guest's pointer on the second head is drawn in, and the first one's plane is left alone. */
START_TEST(pointer)
{
	start_presented();
	for (uint32_t i = 0; i < 64 * 64; i++)
		buffer_pixels(POINTER_BUFFER)[i] = 0xff00ff00;
	guest_points(1, 1, true);
	UNTIL(fake_drm_value(FAKE_CURSOR, FAKE_FB_ID) != 0);
	ck_assert(send_pointer(guest, 1, POINTER_BUFFER, 5, 6, true));
	UNTIL(fake_drm_pixel_on(FAKE_CONNECTOR_1, 5, 6) == 0x00ff00);
	ck_assert_uint_ne(fake_drm_value(FAKE_CURSOR, FAKE_FB_ID), 0);
	ck_assert(screen_shows(GUEST_COLOUR));
	ck_assert_uint_eq(fake_drm_pixel_on(FAKE_CONNECTOR_1, 4, 6) & ~1u, HEAD_COLOUR);
	ck_assert(send_pointer(guest, 1, 0, 5, 6, false));
	UNTIL(second_is(HEAD_COLOUR));
	rig_end();
}
END_TEST

/* Another machine is joined: nothing of the old one's second head stays. */
START_TEST(another_guest)
{
	start_presented();
	panel_join_guest(panel, NULL);
	UNTIL(second_is(0));
	ck_assert(!panel->face[PANEL_FACE_GUEST_1].complete);
	rig_end();
}
END_TEST

/* The picture of the second head goes: black, and back. */
START_TEST(no_picture)
{
	start_presented();
	ck_assert(link_send_to_panel(guest, &(struct link_message){.type = LINK_NO_FRAME, .head = 1}));
	UNTIL(second_is(0) && screen_shows(GUEST_COLOUR));
	head_frame(0x505050);
	UNTIL(second_is(0x505050));
	/* The first one's alone: the placeholder, or what stood there; the second goes on. */
	ck_assert(link_send_to_panel(guest, &(struct link_message){.type = LINK_NO_FRAME}));
	head_frame(0x707070);
	UNTIL(second_is(0x707070));
	rig_end();
}
END_TEST

/* Cards of the old calls show one picture. */
START_TEST(legacy)
{
	reset(LEGACY);
	rig_extend = card.second = true;
	start_shown();
	settle(50);
	ck_assert_uint_eq(fake_drm_value(FAKE_CONNECTOR_1, FAKE_CRTC_ID), 0);
	ck_assert_uint_eq(head_display[1].display.width, 0);
	rig_end();
}
END_TEST

static void *run_pattern(void *arg)
{
	synthetic_run(arg);
	return NULL;
}

/* In memory: two outputs, each in its own time. */
START_TEST(headless)
{
	uint64_t size;
	int fd = synthetic_memory(1280, 800 * 2, &size);
	struct synthetic_config pattern = {.pixels_fd = fd, .pixels_size = size, .heads = 2, .fps = 1000, .link = link_create(fd, size),
		.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	pthread_t thread;
	panel_rig_open(NULL, &(struct panel_config){.backend = PANEL_HEADLESS, .extend = true, .width = 320, .height = 200, .refresh_mhz = 25000});
	ck_assert_int_eq(panel_add_producer(panel, PANEL_FACE_GUEST, pattern.link), 0);
	panel_present(panel, PRESENTATION_PRESENTED, 0);
	ck_assert_int_eq(panel_start(panel), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, run_pattern, &pattern), 0);
	const struct face *first = &panel->face[PANEL_FACE_GUEST], *second = &panel->face[PANEL_FACE_GUEST_1];
	UNTIL(first->presented > 5 && second->presented > 5);
	ck_assert_uint_eq(first->width, 320);
	ck_assert_uint_eq(second->width, 1024);
	uint64_t first_was = first->presented, second_was = second->presented;
	UNTIL(first->presented >= first_was + 40);
	/* 25 and 75 Hz, but painting and copying the larger one takes time, and this machine may have others to serve. */
	ck_assert_uint_gt(second->presented - second_was, (first->presented - first_was) * 6 / 5);
	struct status status;
	status_board_read(board, &status);
	ck_assert_uint_eq(status.n_outputs, 2);
	ck_assert_str_eq(status.output[1].name, "Headless-2");
	ck_assert(!status.output[1].mirror && status.output[1].connected);
	ck_assert_uint_eq(status.further[0].height, 768);
	eventfd_write(pattern.stop_fd, 1);
	pthread_join(thread, NULL);
	panel_rig_close();
	link_destroy(pattern.link);
	close(fd);
	close(pattern.stop_fd);
}
END_TEST

/* What the strip says is said over the guest's second picture as well. */
START_TEST(strip)
{
	rig_strip = PANEL_STRIP_TOP;
	rig_start();
	UNTIL(second_is(0) && head_display[1].display.width == W2);
	uint32_t rows = strip_layout(PANEL_STRIP_TOP, W2, H2).strip.h;
	ck_assert_uint_eq(head_display[1].display.height, H2 - rows);
	announce(guest, HEAD_BUFFER, W2, H2 - rows, DRM_FORMAT_XRGB8888);
	fill(HEAD_BUFFER, HEAD_COLOUR);
	const struct rect content = {0, 0, W2, H2 - rows};
	show(guest, 1, HEAD_BUFFER, 1, content, content);
	present(PRESENTATION_PRESENTED);
	UNTIL(fake_drm_pixel_on(FAKE_CONNECTOR_1, 0, rows) == HEAD_COLOUR);
	uint32_t paper = fake_drm_pixel_on(FAKE_CONNECTOR_1, 0, 0);
	ck_assert_uint_ne(paper, 0);
	for (uint32_t i = 0; i < W2 * rows; i++)
		ck_assert(fake_drm_pixel_on(FAKE_CONNECTOR_1, i % W2, i / W2) == paper || fake_drm_pixel_on(FAKE_CONNECTOR_1, i % W2, i / W2) == 0xffffff);
	present(PRESENTATION_HIDDEN);
	UNTIL(second_is(0));
	rig_end();
}
END_TEST

static void shot_is(const char *output, enum panel_shot what, uint32_t width, uint32_t height, uint32_t colour)
{
	struct picture p = shoot(output, what);
	ck_assert_ptr_nonnull(p.pixels);
	ck_assert_uint_eq(p.width, width);
	ck_assert_uint_eq(p.height, height);
	for (uint32_t i = 0; i < width * height; i++)
		ck_assert_uint_eq(p.pixels[i], colour + (colour ? i & 1 : 0));
	free(p.pixels);
}

/* Of each output, as shown and as the guest draws it, with the buffer on the card that nobody reads. */
START_TEST(screenshots)
{
	start_both();
	static const char main[] = "HDMI-A-1", second[] = "HDMI-A-2";
	for (uint32_t i = 0; i < 2; i++) {
		shot_is("", PANEL_SHOT_SCREEN, W, H, i ? GUEST_COLOUR : UI_COLOUR);
		shot_is(main, PANEL_SHOT_SCREEN, W, H, i ? GUEST_COLOUR : UI_COLOUR);
		shot_is(second, PANEL_SHOT_SCREEN, W2, H2, i ? HEAD_COLOUR : 0);
		shot_is(second, PANEL_SHOT_GUEST, W2, H2, HEAD_COLOUR);
		shot_is(main, PANEL_SHOT_GUEST, W, H, GUEST_COLOUR);
		present(PRESENTATION_PRESENTED);
		UNTIL(presented() && panel->screen[0].now.face == PANEL_FACE_GUEST && panel->screen[1].now.face == PANEL_FACE_GUEST_1);
	}
	ck_assert(!panel_screenshot(panel, second, PANEL_SHOT_UI, NULL, NULL));
	ck_assert(!panel_screenshot(panel, "DP-9", PANEL_SHOT_SCREEN, NULL, NULL));
	card.second = false;
	fake_hotplug();
	UNTIL(second_off() && !panel->screen[1].output.connected);
	ck_assert(!panel_screenshot(panel, second, PANEL_SHOT_SCREEN, NULL, NULL));
	rig_end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-extend");
	TCase *c = tcase_create("card");
	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_loop_test(c, faces, 0, 2);
	tcase_add_loop_test(c, the_first_does_not_wait, 0, 2);
	tcase_add_test(c, lost_flip);
	tcase_add_test(c, comes_and_goes);
	tcase_add_test(c, main_one_leaves);
	tcase_add_loop_test(c, refused, 0, 2);
	tcase_add_loop_test(c, busy, 0, 2);
	tcase_add_test(c, blanked);
	tcase_add_test(c, session);
	tcase_add_loop_test(c, found_elsewhere, 0, 2);
	tcase_add_test(c, card_lost);
	tcase_add_test(c, pointer);
	tcase_add_test(c, another_guest);
	tcase_add_test(c, no_picture);
	tcase_add_test(c, legacy);
	tcase_add_test(c, strip);
	tcase_add_test(c, screenshots);
	tcase_add_test(c, headless);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
