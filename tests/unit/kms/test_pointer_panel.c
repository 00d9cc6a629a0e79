/* The guest's pointer on the panel: what a commit names when moves, pictures, toggles, flips and refusals meet. */
#define LOG_MODULE "test"
#include "fake_panel.h"

#define SIDE LINK_CURSOR_SIDE
#define GUEST_PIXEL 0x00204060u
#define RED 0xffff0000u
#define GREEN 0xff00ff00u
#define BLUE 0xff0000ffu

enum { GUEST_A = UI_BUFFER + 1, GUEST_B, SMALL, POINTER_RED, POINTER_GREEN, POINTER_BLUE };

/* ms: long enough for the worker to have said whatever it has to say, also about a hidden guest. */
#define QUIET 130

static void frame(uint32_t id)
{
	const struct rect picture = {0, 0, id == SMALL ? W / 2 : W, H};
	show(guest, 0, id, ++guest_sequence, picture, picture);
}

static void point(uint32_t picture, int32_t x, int32_t y, bool visible)
{
	ck_assert(send_pointer(guest, 0, picture, x, y, visible));
}

/* The status page says what the display can do, the status what is done. */
static void expect_status(bool plane, enum status_cursor cursor)
{
	struct status status;
	status_board_read(board, &status);
	ck_assert_int_eq(status.cursor, cursor);
	ck_assert_int_eq(strstr(status.line[STATUS_DISPLAY].text, "cursor plane") != NULL, plane);
}

/* Hidden, the UI on the screen. */
static void start(void)
{
	fake.connected = true;
	fake_panel_open(NULL, true);
	for (uint32_t id = GUEST_A; id <= SMALL; id++)
		paint(id, GUEST_PIXEL);
	paint(POINTER_RED, RED);
	paint(POINTER_GREEN, GREEN);
	paint(POINTER_BLUE, BLUE);
	UNTIL(fake.commits == 1);
	announce(guest, GUEST_A, W, H, DRM_FORMAT_XRGB8888);
	announce(guest, GUEST_B, W, H, DRM_FORMAT_XRGB8888);
	announce(guest, SMALL, W / 2, H, DRM_FORMAT_XRGB8888);
	for (uint32_t id = POINTER_RED; id <= POINTER_BLUE; id++)
		announce(guest, id, SIDE, SIDE, DRM_FORMAT_ARGB8888);
}

static void setup(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.cursor = true;
	fake.base.cursor_width = fake.base.cursor_height = SIDE;
	start();
}

static void setup_copying(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.cursor = true;
	fake.refuse_import = ENODEV;
	fake.base.cursor_width = fake.base.cursor_height = SIDE;
	start();
}

/* Once more, on the card as the test has changed it. */
static void remake(void)
{
	fake_panel_close();
	fake.commits = fake.made = fake.freed = 0;
	fake.pending = false;
	start();
}

static void present_guest(void)
{
	present(PRESENTATION_PRESENTED);
	UNTIL(panel->screen[0].now.valid && panel->screen[0].now.face == PANEL_FACE_GUEST && !fake.pending);
}

/* Presented, the red pointer at 10,20 on the plane. */
static void present_with_pointer(void)
{
	frame(GUEST_A);
	point(POINTER_RED, 10, 20, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete && !panel->face[PANEL_FACE_GUEST].drawn[panel->face[PANEL_FACE_GUEST].latest]);
	present_guest();
	settle(QUIET);
	UNTIL(plane_shows(RED, 10, 20) && !fake.pending);
}

START_TEST(moves_cost_no_picture)
{
	present_with_pointer();
	ck_assert(fake.shown.imported);
	ck_assert_uint_eq(fake.plane.hot_x, 3);
	ck_assert_uint_eq(fake.plane.hot_y, 5);
	expect_status(true, STATUS_CURSOR_PLANE);
	for (int32_t i = 0; i < 10; i++) {
		uint32_t commits = fake.commits, alone = fake.cursor_alone;
		point(0, -20 + 7 * i, i, true);
		UNTIL(plane_shows(RED, -20 + 7 * i, i) && !fake.pending);
		ck_assert_uint_eq(fake.commits, commits + 1);
		ck_assert_uint_eq(fake.cursor_alone, alone + 1);
	}
	/* Zero-copy goes on beside it, and a move goes with the picture's flip when there is one. */
	for (uint32_t i = 0; i < 10; i++) {
		frame(GUEST_A + i % 2);
		UNTIL(guest_presented == guest_sequence);
		ck_assert(fake.shown.imported);
		ck_assert(plane_shows(RED, 43, 9));
	}
	ck_assert_uint_eq(atomic_load(&stats.bytes_copied), 0);
	point(0, 0, 0, false);
	UNTIL(fake.plane.buffer == NULL);
	ck_assert_uint_eq(atomic_load(&stats.modesets), 1);
}
END_TEST

START_TEST(move_during_a_flip)
{
	present_with_pointer();
	fake.hold_flips = true;
	frame(GUEST_B);
	UNTIL(fake.pending);
	uint32_t commits = fake.commits;
	for (int32_t i = 1; i <= 3; i++) {
		point(0, i, i, true);
		settle(QUIET);
	}
	ck_assert_uint_eq(fake.commits, commits); /* one in flight; nothing is asked of a busy card */
	ck_assert_uint_eq(fake.failed, 0);
	let_flips();
	UNTIL(plane_shows(RED, 3, 3) && !fake.pending);
	ck_assert_uint_eq(fake.commits, commits + 1); /* the newest, once */
	ck_assert_uint_eq(guest_presented, guest_sequence);
	/* The other way round: a picture during the flip of a move. */
	fake.hold_flips = true;
	point(0, 30, 30, true);
	UNTIL(fake.pending);
	commits = fake.commits;
	frame(GUEST_A);
	point(0, 31, 31, true);
	settle(QUIET);
	ck_assert_uint_eq(fake.commits, commits);
	let_flips();
	UNTIL(guest_presented == guest_sequence && !fake.pending);
	ck_assert_uint_eq(fake.commits, commits + 1); /* both in one */
	ck_assert(plane_shows(RED, 31, 31));
}
END_TEST

/* On a screen of twice the width the guest's picture begins at W / 2, and neither what is shown nor what a commit would show next is a place on the old one. */
static void look_at_the_wide_screen(void)
{
	const struct pointer said = pointer_unpack(atomic_load(&panel->pointer_news[1].state));
	if (fake.shown.width == 2 * W)
		ck_assert_msg((!fake.plane.buffer || fake.plane.x == W / 2) && (!said.shown || said.x == W / 2), "the pointer at %d, next at %d", fake.plane.x, said.x);
}

/*
 * Another mode while both buffers are the front's, and so a third picture waits: nothing is shown where the second one was, which is another place on
 * the new screen. (The guest's picture has its size there too, with bars beside it.)
 */
START_TEST(another_mode_while_a_picture_waits)
{
	present_with_pointer();
	point(0, 0, 1, true);
	UNTIL(plane_shows(RED, 0, 1) && !fake.pending);
	fake.hold_flips = true;
	point(0, 0, 2, true);
	UNTIL(fake.pending);
	point(POINTER_GREEN, 0, 3, true);
	settle(QUIET);
	point(POINTER_BLUE, 0, 4, true);
	settle(QUIET);
	fake.look = look_at_the_wide_screen;
	uint32_t full = fake.full;
	fake.width = 2 * W;
	eventfd_write(fake.base.hotplug_fd, 1);
	UNTIL(fake.full > full);
	fake.hold_flips = false;
	eventfd_write(fake.base.fd, 1);
	UNTIL(plane_shows(BLUE, W / 2, 4) && !fake.pending);
}
END_TEST

START_TEST(flood_of_moves)
{
	present_with_pointer();
	uint32_t commits = fake.commits;
	uint64_t begin = clock_now_ns();
	uint32_t sent = 0;
	while (clock_now_ns() < begin + 200 * NSEC_PER_MSEC) {
		sent += send_pointer(guest, 0, 0, (int32_t)(sent % 40), 1, true);
		turn(0);
	}
	uint64_t refreshes = (clock_now_ns() - begin) / 5000000 + 1; /* at 200 Hz */
	ck_assert_uint_gt(sent, 500);
	ck_assert_uint_le(fake.commits - commits, refreshes + 1);
	ck_assert_uint_gt(fake.commits - commits, 3);
	/* The last one counts. */
	UNTIL(send_pointer(guest, 0, 0, 50, 40, true));
	UNTIL(plane_shows(RED, 50, 40));
}
END_TEST

START_TEST(hidden_guest)
{
	present_with_pointer();
	present(PRESENTATION_HIDDEN);
	UNTIL(panel->screen[0].now.face == PANEL_FACE_UI && !fake.pending);
	ck_assert_ptr_null(fake.plane.buffer); /* the UI has none here */
	settle(QUIET);
	uint32_t commits = fake.commits;
	for (int32_t i = 0; i < 8; i++) {
		point((uint32_t)(POINTER_RED + i % 3), i, 2 * i, true);
		point(0, i + 1, 2 * i, true);
		settle(QUIET);
	}
	ck_assert_uint_eq(fake.commits, commits);
	/* The toggle back is one commit, of the picture and of the pointer as they are by now. */
	point(POINTER_BLUE, 5, 6, true);
	settle(QUIET);
	UNTIL(panel->pointer[1].x == 5 && panel->pointer[1].y == 6);
	present(PRESENTATION_PRESENTED);
	UNTIL(panel->screen[0].now.face == PANEL_FACE_GUEST && !fake.pending);
	ck_assert_uint_eq(fake.commits, commits + 1);
	ck_assert_ptr_nonnull(fake.last.buffer);
	ck_assert(plane_shows(BLUE, 5, 6));
}
END_TEST

/* Moves of a hidden guest wake the front ten times a second; a toggle does not wait for that. */
START_TEST(toggle_takes_the_newest)
{
	frame(GUEST_A);
	point(POINTER_RED, 1, 1, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	settle(QUIET);
	point(0, 2, 2, true);
	settle(QUIET);
	point(0, 3, 3, true);
	usleep(20000); /* the worker has it, the front was not told */
	present(PRESENTATION_PRESENTED);
	UNTIL(fake.plane.buffer);
	ck_assert(plane_shows(RED, 3, 3));
}
END_TEST

/* Nor does a move that comes right after it. */
START_TEST(move_after_a_toggle)
{
	uint64_t quickest = UINT64_MAX;
	frame(GUEST_A);
	point(POINTER_RED, 1, 1, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	for (int32_t i = 0; i < 5; i++) {
		present(PRESENTATION_HIDDEN);
		UNTIL(panel->screen[0].now.face == PANEL_FACE_UI && !fake.pending);
		settle(QUIET);
		point(0, 10, i, true); /* the front is told, and would not be again for a while */
		UNTIL(panel->pointer[1].y == i && panel->pointer[1].x == 10);
		present(PRESENTATION_PRESENTED);
		UNTIL(plane_shows(RED, 10, i));
		uint64_t begin = clock_now_ns();
		point(0, 20, i, true);
		UNTIL(plane_shows(RED, 20, i));
		uint64_t took = clock_now_ns() - begin;
		quickest = took < quickest ? took : quickest;
	}
	ck_assert_uint_lt(quickest, WORKER_HIDDEN_NS / 2);
}
END_TEST

START_TEST(hide_during_a_toggle)
{
	frame(GUEST_A);
	point(POINTER_RED, 1, 1, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	settle(QUIET);
	fake.hold_flips = true;
	present(PRESENTATION_PRESENTED);
	UNTIL(fake.pending && plane_shows(RED, 1, 1));
	uint32_t commits = fake.commits;
	point(0, 1, 1, false);
	settle(QUIET);
	ck_assert_uint_eq(fake.commits, commits);
	let_flips();
	UNTIL(fake.plane.buffer == NULL && !fake.pending);
	ck_assert_uint_eq(fake.commits, commits + 1);
	/* A toggle back while the pointer's flip is held: the pointer goes with the face. */
	point(0, 2, 2, true);
	UNTIL(plane_shows(RED, 2, 2) && !fake.pending);
	fake.hold_flips = true;
	point(0, 4, 4, true);
	UNTIL(fake.pending);
	commits = fake.commits;
	present(PRESENTATION_HIDDEN);
	point(0, 5, 5, true);
	settle(QUIET);
	ck_assert_uint_eq(fake.commits, commits);
	let_flips();
	UNTIL(panel->screen[0].now.face == PANEL_FACE_UI && !fake.pending);
	ck_assert_uint_eq(fake.commits, commits + 1);
	ck_assert_ptr_null(fake.plane.buffer);
}
END_TEST

/* There and back between two flips: the pointer that moved meanwhile is no answer to a toggle. */
START_TEST(there_and_back)
{
	present_with_pointer();
	fake.hold_flips = true;
	point(0, 4, 4, true);
	UNTIL(fake.pending);
	uint64_t replaced = atomic_load(&stats.toggles_replaced);
	present(PRESENTATION_HIDDEN);
	present(PRESENTATION_PRESENTED);
	point(0, 5, 5, true);
	settle(QUIET);
	struct histogram_summary before, after;
	histogram_summarise(&stats.toggle_commit_us, &before);
	let_flips();
	UNTIL(plane_shows(RED, 5, 5) && !fake.pending);
	histogram_summarise(&stats.toggle_commit_us, &after);
	ck_assert_uint_eq(after.count, before.count);
	ck_assert_uint_eq(atomic_load(&stats.toggles_replaced), replaced + 2);
}
END_TEST

/* The fake looks at each commit and flip whether what is on the screen was written. */
START_TEST(pictures_change)
{
	present_with_pointer();
	const struct scanout_buffer *before = fake.plane.buffer;
	point(POINTER_GREEN, 10, 20, true);
	UNTIL(plane_shows(GREEN, 10, 20) && !fake.pending);
	ck_assert_ptr_ne(fake.plane.buffer, before);
	/* Three pictures while one is on the screen and one on its way: the last one comes, at once when there is room. */
	fake.hold_flips = true;
	point(POINTER_RED, 11, 20, true);
	UNTIL(fake.pending);
	point(POINTER_GREEN, 12, 20, true);
	settle(QUIET);
	paint(POINTER_BLUE, BLUE);
	point(POINTER_BLUE, 13, 20, true);
	settle(QUIET);
	ck_assert(plane_shows(RED, 11, 20));
	let_flips();
	UNTIL(plane_shows(BLUE, 13, 20) && !fake.pending);
	for (uint32_t i = 0; i < 30; i++)
		point(POINTER_RED + i % 3, (int32_t)i, 0, true);
	UNTIL(plane_shows(BLUE, 29, 0) && !fake.pending);
	ck_assert_uint_le(fake.cursor_buffers, 2);
	ck_assert_uint_eq(fake.failed, 0);
}
END_TEST

/* A card that takes larger pictures gets ours in the corner of one, and nothing of what was in its memory. */
START_TEST(larger_plane)
{
	fake.base.cursor_width = fake.base.cursor_height = 128;
	remake();
	present_with_pointer();
	const uint32_t *at = (const uint32_t *)(const void *)fake.plane.buffer->pixels;
	for (uint32_t i = 0; i < 128 * 128; i++)
		ck_assert_uint_eq(at[i], i % 128 < SIDE && i / 128 < SIDE ? RED : 0);
}
END_TEST

static void expect_software(void)
{
	frame(GUEST_A);
	point(POINTER_RED, 10, 20, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete && panel->face[PANEL_FACE_GUEST].drawn[panel->face[PANEL_FACE_GUEST].latest]);
	present_guest();
	UNTIL(screen_pixel(10, 20) == (RED & 0xffffffu));
	ck_assert_uint_eq(screen_pixel(9, 20), GUEST_PIXEL);
	ck_assert_ptr_null(fake.plane.buffer);
	expect_status(panel->pointer_plane, STATUS_CURSOR_SOFTWARE);
	point(0, 30, 20, true);
	UNTIL(screen_pixel(10, 20) == GUEST_PIXEL);
	ck_assert_uint_eq(screen_pixel(30, 20), RED & 0xffffffu);
}

START_TEST(no_plane)
{
	fake.cursor = false;
	remake();
	expect_software();
	fake.cursor = true;
	fake.base.cursor_width = 32;
	remake();
	expect_software();
	fake.base.cursor_width = SIDE;
	fake.refuse_cursor_buffer = true;
	remake();
	expect_software();
}
END_TEST

/* A move that the card does not take: the picture stays, and the next one has the pointer in it. */
START_TEST(refused_move)
{
	present_with_pointer();
	uint32_t full = fake.full;
	fake.refuse_cursor = true;
	point(0, 30, 20, true);
	UNTIL(fake.cursor_refused);
	UNTIL(!fake.shown.imported && screen_pixel(30, 20) == (RED & 0xffffffu) && !fake.pending);
	ck_assert_uint_eq(fake.cursor_refused, 1);
	ck_assert_ptr_null(fake.plane.buffer); /* never two pointers */
	ck_assert_uint_eq(fake.full, full);    /* and no mode was set for it */
	expect_status(false, STATUS_CURSOR_SOFTWARE);
	/* It is not asked again. */
	for (int32_t i = 0; i < 5; i++) {
		point(0, i, i, true);
		frame(GUEST_A);
		UNTIL(guest_presented == guest_sequence && screen_pixel((uint32_t)i, (uint32_t)i) == (RED & 0xffffffu));
	}
	ck_assert_uint_eq(fake.cursor_refused, 1);
}
END_TEST

/* The first time it is tried, beside nothing: what is on the screen stays untouched. */
START_TEST(refused_at_first)
{
	frame(GUEST_A);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	present_guest();
	fake.refuse_cursor = true;
	uint32_t commits = fake.commits;
	point(POINTER_RED, 10, 20, true);
	UNTIL(!fake.shown.imported && !fake.pending);
	ck_assert_uint_eq(screen_pixel(10, 20), RED & 0xffffffu);
	ck_assert_uint_eq(fake.cursor_refused, 1);
	ck_assert_uint_eq(fake.full, 1);
	ck_assert_uint_le(fake.commits, commits + 2); /* the same picture out of the way of the plane, then the one with the pointer */
}
END_TEST

/* A toggle finds out: its picture is shown all the same, by the same call. */
START_TEST(refused_by_a_toggle)
{
	frame(GUEST_A);
	point(POINTER_RED, 10, 20, true);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	settle(QUIET);
	fake.refuse_cursor = true;
	fake.hold_flips = true;
	uint32_t commits = fake.commits;
	present(PRESENTATION_PRESENTED);
	UNTIL(fake.pending);
	ck_assert_uint_eq(fake.commits, commits + 1);
	ck_assert_int_eq(panel->screen[0].next.face, PANEL_FACE_GUEST);
	let_flips();
	UNTIL(!fake.shown.imported && screen_pixel(10, 20) == (RED & 0xffffffu));
	ck_assert_uint_eq(fake.cursor_refused, 1);
	ck_assert_uint_eq(fake.full, 1);
}
END_TEST

/* It is the picture that the card does not take, not the pointer, which moved at the same time. */
START_TEST(refused_picture)
{
	present_with_pointer();
	fake.hold_flips = true;
	point(0, 11, 20, true);
	UNTIL(fake.pending);
	fake.refuse_imported = true;
	frame(GUEST_B);
	point(0, 12, 20, true);
	settle(QUIET);
	let_flips();
	UNTIL(guest_presented == guest_sequence && !fake.pending);
	ck_assert(!fake.shown.imported);
	ck_assert(plane_shows(RED, 12, 20));
	ck_assert_uint_eq(screen_pixel(12, 20), GUEST_PIXEL);
	ck_assert(panel->pointer_plane);
}
END_TEST

/* A busy card, or one that is not ours at present, has refused nothing. */
START_TEST(busy_is_no_refusal)
{
	present_with_pointer();
	fake.fail = EBUSY;
	fake.fail_count = 3;
	point(0, 30, 30, true);
	UNTIL(plane_shows(RED, 30, 30));
	ck_assert_uint_eq(fake.failed, 3);
	ck_assert(panel->pointer_plane);
	ck_assert_uint_eq(fake.full, 1);
}
END_TEST

/* Its corner is left of the middle and above, in both sizes. */
static void one_pointer(void)
{
	ck_assert_int_eq((fake.plane.buffer != NULL) + (screen_pixel(W / 2, 20) == (RED & 0xffffffu)), 1);
}

/* From scaled to unscaled and back: one pointer in each picture on the way, never two, never none. */
START_TEST(scaled_and_back)
{
	for (uint32_t round = 0; round < 3; round++) {
		frame(SMALL);
		if (round == 0) {
			point(POINTER_RED, 0, 10, true);
			UNTIL(panel->face[PANEL_FACE_GUEST].complete && panel->face[PANEL_FACE_GUEST].drawn[panel->face[PANEL_FACE_GUEST].latest]);
			present_guest();
		}
		fake.look = one_pointer;
		/* 32x48 on 64x48: not scaled, in the middle, and cut by its edges there. */
		UNTIL(guest_presented == guest_sequence && !fake.pending);
		ck_assert_ptr_null(fake.plane.buffer);
		UNTIL(screen_pixel(W / 2, 10) == (RED & 0xffffffu));
		ck_assert_uint_eq(screen_pixel(2, 10), 0); /* not in the bar */
		ck_assert_uint_eq(screen_pixel(W / 2, 9), GUEST_PIXEL);
		frame(GUEST_A);
		UNTIL(guest_presented == guest_sequence && !fake.pending);
		UNTIL(plane_shows(RED, 0, 10) && !fake.pending);
		ck_assert_uint_eq(screen_pixel(W / 2, 10), GUEST_PIXEL);
		/* Both framebuffers in the front's hands: the next picture waits, and so does the change. */
		fake.hold_flips = true;
		frame(GUEST_A);
		UNTIL(fake.pending);
		frame(SMALL);
		settle(QUIET);
		let_flips();
	}
	UNTIL(guest_presented == guest_sequence && !fake.pending);
	fake.look = NULL;
}
END_TEST

START_TEST(session_lost_and_back)
{
	present_with_pointer();
	panel_session(panel, false);
	uint32_t commits = fake.commits;
	point(POINTER_GREEN, 1, 2, true);
	settle(QUIET);
	point(POINTER_BLUE, 3, 4, true);
	settle(QUIET);
	ck_assert_uint_eq(fake.commits, commits);
	/* Whatever the other owner left there: the whole state, the pointer in it. */
	fake.plane = (struct commit_cursor){0};
	panel_session(panel, true);
	UNTIL(fake.commits > commits);
	ck_assert(fake.last.full);
	UNTIL(plane_shows(BLUE, 3, 4) && !fake.pending);
	/* Away from it with a flip of the pointer that is never heard of. */
	fake.hold_flips = true;
	point(POINTER_RED, 5, 6, true);
	UNTIL(plane_shows(RED, 5, 6));
	panel_session(panel, false);
	fake.hold_flips = fake.pending = false;
	panel_session(panel, true);
	UNTIL(plane_shows(RED, 5, 6) && fake.last.full);
	point(POINTER_GREEN, 7, 8, true);
	UNTIL(plane_shows(GREEN, 7, 8));
	point(POINTER_BLUE, 9, 8, true);
	UNTIL(plane_shows(BLUE, 9, 8)); /* no buffer was forgotten */
}
END_TEST

START_TEST(full_commit_refused_with_it)
{
	present_with_pointer();
	panel_session(panel, false);
	fake.refuse_cursor = true;
	panel_session(panel, true);
	UNTIL(fake.full == 2);
	ck_assert_ptr_null(fake.plane.buffer);
	UNTIL(!fake.shown.imported && screen_pixel(10, 20) == (RED & 0xffffffu));
	ck_assert_uint_eq(fake.cursor_refused, 1);
	/* Another monitor is asked again. */
	fake.refuse_cursor = false;
	fake.width = W * 2;
	eventfd_write(fake.base.hotplug_fd, 1);
	UNTIL(panel->screen[0].output.width == W * 2 && panel->screen[0].now.valid && panel->screen[0].now.set == panel->screen[0].set);
	ck_assert(panel->pointer_plane);
}
END_TEST

/* The pointer of a machine that is gone goes with it. */
START_TEST(another_machine)
{
	present_with_pointer();
	struct link *old = guest, *fresh = link_create(memory, PRODUCERS_MEMORY);
	guest = NULL;
	panel_join_guest(panel, fresh);
	UNTIL(panel->joining == 0 && fake.plane.buffer == NULL);
	guest = fresh;
	guest_sequence = guest_presented = 0;
	announce(guest, GUEST_A, W, H, DRM_FORMAT_XRGB8888);
	announce(guest, POINTER_GREEN, SIDE, SIDE, DRM_FORMAT_ARGB8888);
	frame(GUEST_A);
	point(0, 1, 1, true); /* it has no picture of its own yet */
	UNTIL(guest_presented == 1);
	settle(QUIET);
	ck_assert_ptr_null(fake.plane.buffer);
	ck_assert(fake.shown.imported);
	point(POINTER_GREEN, 2, 2, true);
	UNTIL(plane_shows(GREEN, 2, 2));
	guest = old; /* the panel frees the other */
}
END_TEST

/*
 * The machine goes while nothing can be shown: its pointer's picture is on no screen any more, and its buffer is given back. Else the next machine's pointer would
 * have one buffer less each time, and none in the end.
 */
START_TEST(machines_change_in_the_dark)
{
	present_with_pointer();
	struct link *old = guest;
	for (uint32_t round = 0; round < POINTER_BUFFERS + 1; round++) {
		const uint32_t picture = round % 2 ? POINTER_RED : POINTER_BLUE;
		panel_session(panel, false);
		/* One more, which the front hears of and cannot show. */
		uint32_t slot = panel->pointer[1].slot;
		announce(guest, POINTER_BLUE + 1, SIDE, SIDE, DRM_FORMAT_ARGB8888);
		point(POINTER_BLUE + 1, 1, 1, true);
		UNTIL(panel->pointer[1].slot != slot);
		struct link *fresh = link_create(memory, PRODUCERS_MEMORY);
		guest = NULL;
		panel_join_guest(panel, fresh);
		UNTIL(panel->joining == 0);
		panel_session(panel, true);
		guest = fresh;
		guest_sequence = guest_presented = 0;
		announce(guest, GUEST_A, W, H, DRM_FORMAT_XRGB8888);
		announce(guest, picture, SIDE, SIDE, DRM_FORMAT_ARGB8888);
		frame(GUEST_A);
		point(picture, 2, 2, true);
		UNTIL(plane_shows(picture == POINTER_RED ? RED : BLUE, 2, 2));
		ck_assert(fake.shown.imported);
	}
	guest = old; /* the panel frees the others */
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("pointer-panel");
	TCase *direct = tcase_create("direct");
	tcase_add_checked_fixture(direct, setup, fake_panel_close);
	tcase_add_test(direct, moves_cost_no_picture);
	tcase_add_test(direct, move_during_a_flip);
	tcase_add_test(direct, another_mode_while_a_picture_waits);
	tcase_add_test(direct, flood_of_moves);
	tcase_add_test(direct, hidden_guest);
	tcase_add_test(direct, toggle_takes_the_newest);
	tcase_add_test(direct, move_after_a_toggle);
	tcase_add_test(direct, hide_during_a_toggle);
	tcase_add_test(direct, there_and_back);
	tcase_add_test(direct, pictures_change);
	tcase_add_test(direct, larger_plane);
	tcase_add_test(direct, refused_move);
	tcase_add_test(direct, refused_at_first);
	tcase_add_test(direct, refused_by_a_toggle);
	tcase_add_test(direct, refused_picture);
	tcase_add_test(direct, busy_is_no_refusal);
	tcase_add_test(direct, session_lost_and_back);
	tcase_add_test(direct, full_commit_refused_with_it);
	tcase_add_test(direct, another_machine);
	tcase_add_test(direct, machines_change_in_the_dark);
	suite_add_tcase(suite, direct);
	TCase *copying = tcase_create("copying");
	tcase_add_checked_fixture(copying, setup_copying, fake_panel_close);
	tcase_add_test(copying, scaled_and_back);
	tcase_add_test(copying, no_plane);
	suite_add_tcase(suite, copying);
	return suite;
}

UNIT_MAIN(make_suite)
