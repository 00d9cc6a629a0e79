/* Two faces with a pointer each on the panel's one cursor plane: every commit names the one of the face that it shows. */
#define LOG_MODULE "test"
#include "fake_panel.h"

#define SIDE LINK_CURSOR_SIDE
#define RED 0xffff0000u
#define GREEN 0xff00ff00u

enum { GUEST_A = UI_BUFFER + 1, POINTER_RED, POINTER_GREEN };

#define QUIET 130 /* ms: long enough for the worker to have said whatever it has to say, also about a hidden face */

static void point(struct link *link, uint32_t head, uint32_t picture, int32_t x, int32_t y, bool visible)
{
	ck_assert(send_pointer(link, head, picture, x, y, visible));
}

/* The front has heard where this producer's pointer is; hidden or not. */
static bool told(uint32_t producer, int32_t x, int32_t y)
{
	return panel->pointer[producer].x == x && panel->pointer[producer].y == y;
}

/* Green: the UI's, which is shown; red: the guest's, which has a picture. */
static void start(bool plane)
{
	memset(&fake, 0, sizeof(fake));
	fake.connected = true;
	fake.cursor = plane;
	fake.base.cursor_width = fake.base.cursor_height = SIDE;
	fake_panel_open(NULL, true);
	paint(POINTER_RED, RED);
	paint(POINTER_GREEN, GREEN);
	announce(guest, GUEST_A, W, H, DRM_FORMAT_XRGB8888);
	announce(guest, POINTER_RED, SIDE, SIDE, DRM_FORMAT_ARGB8888);
	announce(ui, POINTER_GREEN, SIDE, SIDE, DRM_FORMAT_ARGB8888);
	show(guest, 0, GUEST_A, ++guest_sequence, whole, whole);
	UNTIL(fake.commits >= 1 && panel->face[PANEL_FACE_GUEST].complete);
}

static void setup(void)
{
	start(true);
}

static void setup_software(void)
{
	start(false);
}

static void present_and_wait(enum presentation presentation)
{
	enum panel_face face = presentation == PRESENTATION_PRESENTED ? PANEL_FACE_GUEST : PANEL_FACE_UI;
	present(presentation);
	UNTIL(panel->screen[0].now.valid && panel->screen[0].now.face == face && !fake.pending);
}

/* The pictures are there that came with pointers going onto the plane: from now on only moves come. */
static void without_pictures_of_pointers(void)
{
	for (enum panel_face f = PANEL_FACE_UI; f <= PANEL_FACE_GUEST; f++)
		UNTIL(!panel->face[f].complete || (!panel->face[f].drawn[panel->face[f].latest] && !fake.pending));
	settle(QUIET);
}

/* A move over the UI is one commit of the plane alone; the UI draws nothing for it. */
START_TEST(a_move_of_the_ui)
{
	point(ui, 0, POINTER_GREEN, 10, 20, true);
	UNTIL(plane_shows(GREEN, 10, 20) && !fake.pending);
	without_pictures_of_pointers();
	for (int32_t i = 0; i < 8; i++) {
		uint32_t commits = fake.commits, alone = fake.cursor_alone;
		point(ui, 0, 0, 3 * i, i, true);
		UNTIL(plane_shows(GREEN, 3 * i, i) && !fake.pending);
		ck_assert_uint_eq(fake.commits, commits + 1);
		ck_assert_uint_eq(fake.cursor_alone, alone + 1);
	}
	ck_assert_uint_eq(ui_presented, ui_sequence);
	ck_assert_uint_eq(ui_sequence, 1);
	point(ui, 0, 0, 3, 3, false);
	UNTIL(fake.plane.buffer == NULL);
}
END_TEST

/* Each toggle's own commit has the pointer of the side it shows, where that was left, and no moment shows the other's. */
START_TEST(each_right_after_a_toggle)
{
	point(ui, 0, POINTER_GREEN, 10, 20, true);
	point(guest, 0, POINTER_RED, 30, 40, true);
	settle(QUIET);
	UNTIL(plane_shows(GREEN, 10, 20) && told(1, 30, 40) && !fake.pending);
	for (int32_t i = 0; i < 6; i++) {
		ck_assert(plane_shows(GREEN, 10, 20));
		uint32_t commits = fake.commits;
		present_and_wait(PRESENTATION_PRESENTED);
		ck_assert_uint_eq(fake.commits, commits + 1);
		ck_assert(plane_shows(RED, 30, 40));
		present_and_wait(PRESENTATION_HIDDEN);
		ck_assert_uint_eq(fake.commits, commits + 2);
	}
	ck_assert_uint_le(fake.cursor_buffers, 2 * POINTER_BUFFERS);
}
END_TEST

/* Same slot, same place, another producer: no pointer is taken for the other's. */
START_TEST(at_one_place)
{
	point(ui, 0, POINTER_GREEN, 10, 20, true);
	point(guest, 0, POINTER_RED, 10, 20, true);
	settle(QUIET);
	UNTIL(plane_shows(GREEN, 10, 20) && told(1, 10, 20) && !fake.pending);
	ck_assert_uint_eq(panel->pointer[0].slot, panel->pointer[1].slot);
	for (int32_t i = 0; i < 3; i++) {
		present_and_wait(PRESENTATION_PRESENTED);
		ck_assert(plane_shows(RED, 10, 20));
		present_and_wait(PRESENTATION_HIDDEN);
		ck_assert(plane_shows(GREEN, 10, 20));
	}
}
END_TEST

/* What a hidden side does with its pointer is no news for the screen; the placeholder has none. */
START_TEST(hidden_sides)
{
	point(ui, 0, POINTER_GREEN, 10, 20, true);
	point(guest, 0, POINTER_RED, 30, 40, true);
	without_pictures_of_pointers();
	uint32_t commits = fake.commits;
	point(guest, 0, 0, 31, 41, true);
	settle(QUIET);
	UNTIL(told(1, 31, 41));
	ck_assert(fake.commits == commits && plane_shows(GREEN, 10, 20));
	present_and_wait(PRESENTATION_PRESENTED);
	ck_assert(plane_shows(RED, 31, 41));
	commits = fake.commits;
	point(ui, 0, POINTER_GREEN, 11, 21, true);
	point(ui, 0, 0, 12, 22, true);
	settle(QUIET);
	UNTIL(told(0, 12, 22));
	ck_assert(fake.commits == commits && plane_shows(RED, 31, 41));
	/* The guest's picture goes: the UI's head 1 stands in for it. */
	point(ui, 1, POINTER_GREEN, 1, 1, false);
	show(ui, 1, UI_BUFFER, 1, whole, whole);
	ck_assert(link_send_to_panel(guest, &(struct link_message){.type = LINK_NO_FRAME}));
	UNTIL(panel->screen[0].now.face == PANEL_FACE_PLACEHOLDER && !fake.pending);
	ck_assert_ptr_null(fake.plane.buffer);
	present_and_wait(PRESENTATION_HIDDEN);
	ck_assert(plane_shows(GREEN, 12, 22));
}
END_TEST

/* Buffers go round for each producer by itself: many pictures of one never wait for the other. */
START_TEST(many_pictures)
{
	for (int32_t i = 0; i < 20; i++) {
		point(ui, 0, POINTER_GREEN, i, 1, true);
		point(guest, 0, POINTER_RED, i, 2, true);
		if (i % 5 == 0)
			present(i % 2 ? PRESENTATION_HIDDEN : PRESENTATION_PRESENTED);
		settle(5);
	}
	present(PRESENTATION_PRESENTED);
	UNTIL(plane_shows(RED, 19, 2) && !fake.pending);
	present(PRESENTATION_HIDDEN);
	UNTIL(plane_shows(GREEN, 19, 1) && !fake.pending);
	ck_assert_uint_le(fake.cursor_buffers, 2 * POINTER_BUFFERS);
	ck_assert_uint_eq(fake.failed, 0);
}
END_TEST

/* Without a plane it is in the picture, which costs the UI nothing either. */
START_TEST(software)
{
	point(ui, 0, POINTER_GREEN, 10, 20, true);
	UNTIL(screen_pixel(10, 20) == (GREEN & 0xffffff) && !fake.pending);
	uint32_t beside = screen_pixel(9, 20);
	point(ui, 0, 0, 40, 20, true);
	UNTIL(screen_pixel(39, 20) == beside && !fake.pending);
	ck_assert_uint_eq(screen_pixel(40, 20), GREEN & 0xffffff);
	ck_assert_uint_eq(ui_sequence, 1);
	ck_assert_ptr_null(fake.plane.buffer);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("pointer-faces");
	TCase *plane = tcase_create("plane");
	tcase_add_checked_fixture(plane, setup, fake_panel_close);
	tcase_add_test(plane, a_move_of_the_ui);
	tcase_add_test(plane, each_right_after_a_toggle);
	tcase_add_test(plane, at_one_place);
	tcase_add_test(plane, hidden_sides);
	tcase_add_test(plane, many_pictures);
	suite_add_tcase(suite, plane);
	TCase *picture = tcase_create("picture");
	tcase_add_checked_fixture(picture, setup_software, fake_panel_close);
	tcase_add_test(picture, software);
	suite_add_tcase(suite, picture);
	return suite;
}

UNIT_MAIN(make_suite)
