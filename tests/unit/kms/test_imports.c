/* The guest's own buffers on the screen: which frames go there without a copy, who keeps a buffer how long, and what happens when a card will not have it. */
#define LOG_MODULE "test"
#include "fake_panel.h"

#include <linux/udmabuf.h>

#include "kms/card.h"
#include "kms/ladder.h"

/* ms: long enough for the worker to have said whatever it has to say. */
#define QUIET 60

static struct link *first;
static uint32_t placeholder_shown, gone, imported_when_gone;

static void look(void)
{
	hear();
	placeholder_shown += panel->screen[0].now.valid && panel->screen[0].now.face == PANEL_FACE_PLACEHOLDER;
}

static void guest_frame(uint32_t id)
{
	show(guest, 0, id, ++guest_sequence, whole, whole);
}

static void give_up(uint32_t id)
{
	struct link_message message = {.type = LINK_BUFFER_DEAD, .dead = {id, 1}};
	ck_assert(link_send_to_panel(guest, &message));
}

static void no_frame(void)
{
	ck_assert(link_send_to_panel(guest, &(struct link_message){.type = LINK_NO_FRAME}));
}

static void on_gone(void *data)
{
	(void)data;
	gone++;
	imported_when_gone = fake.imported;
}

/* A panel with a UI and a guest whose buffers 1 to 4 have the output's size, Presented, nothing shown of the guest yet. */
static void setup(void)
{
	const struct panel_config config = {.joined = on_gone};
	memset(&fake, 0, sizeof(fake));
	gone = 0;
	fake.connected = true;
	fake_panel_open(&config, true);
	show(ui, 1, UI_BUFFER, 1, whole, whole);
	UNTIL(fake.commits == 1);
	for (uint32_t id = 1; id <= 4; id++)
		announce(guest, id, W, H, DRM_FORMAT_XRGB8888);
	UNTIL(panel->face[PANEL_FACE_PLACEHOLDER].complete);
	panel_present(panel, PRESENTATION_PRESENTED, 0);
	UNTIL(panel->screen[0].now.face == PANEL_FACE_PLACEHOLDER);
	placeholder_shown = 0;
	panel_rig_turned = look;
}

static uint64_t copied(void)
{
	return atomic_load(&stats.bytes_copied);
}

START_TEST(flips_without_a_copy)
{
	for (uint32_t i = 0; i < 20; i++) {
		guest_frame(1 + i % 2);
		UNTIL(guest_presented == guest_sequence);
		ck_assert(fake.shown.imported);
		ck_assert_uint_eq(fake.shown.handle, 1 + i % 2);
	}
	ck_assert_uint_eq(copied(), 0);
	ck_assert_uint_eq(fake.imports, 2); /* once a buffer, never once a frame */
	ck_assert_uint_eq(atomic_load(&stats.frames_presented), 20);
	ck_assert(panel->direct);
	struct status status;
	status_board_read(board, &status);
	ck_assert(status.zero_copy);
}
END_TEST

/* fbcon: the same buffer again and again, small damage. Each is a commit with that damage, so that drivers that copy by themselves see it. */
START_TEST(one_buffer_many_frames)
{
	guest_frame(1);
	UNTIL(guest_presented == 1);
	for (uint32_t i = 0; i < 10; i++) {
		struct rect damage = {i, 2 * i, 8, 4};
		uint32_t before = fake.commits;
		show(guest, 0, 1, ++guest_sequence, whole, damage);
		UNTIL(guest_presented == guest_sequence);
		ck_assert_uint_eq(fake.commits, before + 1);
		ck_assert_mem_eq(&fake.last.damage, &damage, sizeof(damage));
	}
	ck_assert_uint_eq(copied(), 0);
	ck_assert_uint_eq(fake.imports, 1);
}
END_TEST

/* The buffer on the screen stays its own until another one is there: then, and only then, its producer is told. */
START_TEST(kept_until_the_flip_of_its_successor)
{
	guest_frame(1);
	UNTIL(guest_presented == 1);
	fake.hold_flips = true;
	guest_frame(2);
	give_up(1);
	UNTIL(fake.pending);
	settle(QUIET);
	ck_assert_uint_eq(n_released, 0);
	ck_assert_uint_eq(fake.imported, 2);
	let_flips();
	UNTIL(n_released == 1);
	ck_assert_uint_eq(released[0].id, 1);
	ck_assert_uint_eq(fake.imported, 1);
	/* Without a successor of its own the placeholder follows. */
	no_frame();
	give_up(2);
	UNTIL(n_released == 2);
	ck_assert_uint_eq(released[1].id, 2);
	ck_assert_int_eq(panel->screen[0].now.face, PANEL_FACE_PLACEHOLDER);
	ck_assert_uint_eq(fake.imported, 0);
	settle(QUIET);
	ck_assert_uint_eq(n_released, 2); /* once each */
}
END_TEST

START_TEST(refused_imports_are_copied)
{
	fake.refuse_import = ENODEV;
	for (uint32_t i = 0; i < 6; i++) {
		guest_frame(1 + i % 2);
		UNTIL(guest_presented == guest_sequence);
		ck_assert(!fake.shown.imported);
	}
	ck_assert_uint_eq(fake.imports, 2); /* not tried again */
	ck_assert_uint_ge(copied(), 6 * W * H * 4);
	ck_assert(!panel->direct);
	give_up(1);
	UNTIL(n_released == 1);
}
END_TEST

/* The card takes the buffer and then does not show it: no placeholder, no black, the copy comes next. */
START_TEST(refused_commits_are_copied)
{
	guest_frame(1);
	UNTIL(guest_presented == 1);
	fake.refuse_imported = true;
	placeholder_shown = 0;
	uint32_t failed = fake.failed;
	guest_frame(2);
	UNTIL(guest_presented == 2);
	ck_assert(!fake.shown.imported);
	ck_assert_uint_eq(fake.failed, failed + 1);
	ck_assert_uint_eq(placeholder_shown, 0);
	/* The buffer is known to be no good, others are tried. */
	guest_frame(2);
	UNTIL(guest_presented == 3);
	ck_assert_uint_eq(fake.failed, failed + 1);
	ck_assert_uint_eq(fake.full, 1); /* and no mode was set for any of that */
	fake.refuse_imported = false;
	guest_frame(3);
	UNTIL(guest_presented == 4);
	ck_assert(fake.shown.imported);
	guest_frame(2);
	UNTIL(guest_presented == 5);
	ck_assert(!fake.shown.imported);
}
END_TEST

/* Also when it is a toggle that finds out: the UI stays until the copy is there. */
START_TEST(refused_by_a_toggle)
{
	panel_present(panel, PRESENTATION_HIDDEN, 0);
	UNTIL(panel->screen[0].now.face == PANEL_FACE_UI);
	guest_frame(1);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	fake.refuse_imported = true;
	present(PRESENTATION_PRESENTED);
	UNTIL(panel->screen[0].now.face == PANEL_FACE_GUEST);
	ck_assert(!fake.shown.imported);
	ck_assert_uint_eq(placeholder_shown, 0);
}
END_TEST

START_TEST(what_does_not_fit_is_copied)
{
	announce(guest, 5, W / 2, H, DRM_FORMAT_XRGB8888);
	announce(guest, 6, W, H, DRM_FORMAT_XBGR8888);
	show(guest, 0, 5, ++guest_sequence, (struct rect){0, 0, W / 2, H}, (struct rect){0, 0, W / 2, H});
	UNTIL(guest_presented == 1);
	guest_frame(6);
	UNTIL(guest_presented == 2);
	ck_assert_uint_eq(fake.imports, 0);
	ck_assert(!fake.shown.imported);
	/* A pointer picture has to be blended in; without it the pages are enough again. */
	announce(guest, 7, LINK_CURSOR_SIDE, LINK_CURSOR_SIDE, DRM_FORMAT_ARGB8888);
	ck_assert(send_pointer(guest, 0, 7, 0, 0, true));
	guest_frame(1);
	UNTIL(guest_presented == 3);
	ck_assert(!fake.shown.imported);
	ck_assert(send_pointer(guest, 0, 7, 0, 0, false));
	guest_frame(1);
	UNTIL(guest_presented == 4);
	ck_assert(fake.shown.imported);
	/* All of it is new to the card: what it showed was another buffer, with a pointer in it. */
	ck_assert_mem_eq(&fake.last.damage, &whole, sizeof(whole));
}
END_TEST

/* What lies over the picture needs a copy; without it the pages are enough again, at once, and nothing of it stays. */
START_TEST(figures_are_over_a_copy)
{
	guest_frame(1);
	UNTIL(guest_presented == 1);
	ck_assert(fake.shown.imported);
	panel_toggle_figures(panel);
	UNTIL(!fake.shown.imported);
	ck_assert_mem_eq(&fake.last.damage, &whole, sizeof(whole));
	for (uint32_t i = 0; i < 6; i++) {
		guest_frame(1 + i % 2);
		UNTIL(guest_presented == guest_sequence);
		ck_assert(!fake.shown.imported);
	}
	/* New figures come by themselves, once a second. */
	settle(QUIET);
	uint64_t commits = atomic_load(&stats.commits), begin = clock_now_ns();
	UNTIL(atomic_load(&stats.commits) >= commits + 2);
	ck_assert_uint_ge(clock_now_ns() - begin, NSEC_PER_SEC);
	panel_toggle_figures(panel);
	UNTIL(fake.shown.imported);
	ck_assert_mem_eq(&fake.last.damage, &whole, sizeof(whole));
	/* And with it gone nothing happens that nobody asked for. */
	settle(QUIET);
	commits = atomic_load(&stats.commits);
	for (uint32_t i = 0; i < 20; i++)
		settle(QUIET);
	ck_assert_uint_eq(atomic_load(&stats.commits), commits);
	give_up(1);
	give_up(2);
	no_frame();
	UNTIL(n_released == 2);
}
END_TEST

/* A new buffer for each frame costs more than a copy: beyond its budget it gets copies, and what is kept of it stays bounded. */
START_TEST(a_storm_of_buffers)
{
	uint64_t begin = clock_now_ns();
	for (uint32_t i = 0; i < 200; i++) {
		uint32_t id = 8 + i % 40;
		if (i >= 40) {
			give_up(id);
			UNTIL(n_released == i - 39);
		}
		announce(guest, id, W, H, DRM_FORMAT_XRGB8888);
		guest_frame(id);
		UNTIL(guest_presented == guest_sequence);
		ck_assert_uint_le(fake.imported, IMPORTS);
	}
	uint64_t allowed = IMPORT_BURST + (clock_now_ns() - begin) / IMPORT_EVERY_NS + 1;
	ck_assert_uint_le(fake.imports, allowed);
	ck_assert_uint_gt(copied(), 0);
}
END_TEST

/* A machine's memory is free when its process is gone: nothing is kept of it but what is on the screen, and that not for long. */
START_TEST(another_machine)
{
	guest_frame(1);
	UNTIL(guest_presented == 1);
	guest_frame(2);
	UNTIL(guest_presented == 2);
	struct link *old = guest, *fresh = link_create(memory, PRODUCERS_MEMORY);
	guest = NULL;
	panel_join_guest(panel, NULL);
	UNTIL(panel->joining == 0 && panel->screen[0].now.face == PANEL_FACE_PLACEHOLDER);
	UNTIL(fake.imported == 0);
	panel_join_guest(panel, fresh);
	UNTIL(panel->joining == 0);
	guest = fresh;
	guest_sequence = guest_presented = 0;
	announce(guest, 1, W, H, DRM_FORMAT_XRGB8888);
	guest_frame(1);
	UNTIL(guest_presented == 1);
	ck_assert(fake.shown.imported);
	guest = old; /* the panel frees the other */
}
END_TEST

/* The next machine is made when nothing is kept of the last one: its picture is the last thing, until its successor's flip. */
START_TEST(gone_when_nothing_is_left)
{
	guest_frame(1);
	UNTIL(guest_presented == 1);
	fake.hold_flips = true;
	struct link *old = guest;
	guest = NULL;
	panel_join_guest(panel, NULL);
	UNTIL(fake.pending);
	settle(QUIET);
	ck_assert_uint_eq(gone, 0);
	ck_assert_uint_eq(fake.imported, 1);
	let_flips();
	UNTIL(gone == 1);
	ck_assert_uint_eq(imported_when_gone, 0);
	guest = old;
}
END_TEST

/* The same on another terminal, where no flip comes for long. */
START_TEST(gone_in_the_dark)
{
	guest_frame(1);
	UNTIL(guest_presented == 1);
	panel_session(panel, false);
	struct link *old = guest;
	guest = NULL;
	panel_join_guest(panel, NULL);
	UNTIL(gone == 1);
	ck_assert_uint_eq(imported_when_gone, 0);
	panel_session(panel, true);
	UNTIL(panel->screen[0].now.valid && panel->screen[0].now.face == PANEL_FACE_PLACEHOLDER);
	guest = old;
}
END_TEST

/* A picture on its way while the machines change: neither it nor its predecessor stays held. Twice, since there are two to copy into. */
START_TEST(picture_on_its_way_while_machines_change)
{
	panel_present(panel, PRESENTATION_HIDDEN, 0);
	UNTIL(panel->screen[0].now.face == PANEL_FACE_UI);
	for (uint32_t round = 0; round < 4; round++) {
		fake.refuse_import = round < 2 ? 0 : ENODEV;
		guest_frame(1);
		UNTIL(panel->face[PANEL_FACE_GUEST].complete);
		guest_frame(2);
		usleep(150000); /* the worker is done with it, the front has not looked */
		struct link *fresh = link_create(memory, PRODUCERS_MEMORY);
		if (round == 0)
			first = guest;
		panel_join_guest(panel, fresh);
		guest = fresh;
		guest_sequence = guest_presented = 0;
		UNTIL(panel->joining == 0);
		UNTIL(fake.imported == 0);
		for (uint32_t id = 1; id <= 4; id++)
			announce(guest, id, W, H, DRM_FORMAT_XRGB8888);
	}
	guest_frame(1);
	UNTIL(panel->face[PANEL_FACE_GUEST].complete);
	guest = first; /* the panel frees the others */
}
END_TEST

/* Back from another terminal, the card no longer shows the buffer that it showed before: a copy, not a dark screen. */
START_TEST(refused_by_a_resume)
{
	guest_frame(1);
	UNTIL(guest_presented == 1);
	panel_session(panel, false);
	fake.refuse_imported = true;
	panel_session(panel, true);
	UNTIL(fake.commits > 2 && !fake.shown.imported && panel->screen[0].now.valid && panel->screen[0].now.face == PANEL_FACE_GUEST);
	UNTIL(fake.imported == 0);
}
END_TEST

/* A card that accepts and never shows: after a few it is not asked any more. */
START_TEST(card_that_never_shows_one)
{
	fake.refuse_imported = true;
	for (uint32_t i = 0; i < 12; i++) {
		uint32_t id = 8 + i;
		announce(guest, id, W, H, DRM_FORMAT_XRGB8888);
		guest_frame(id);
		UNTIL(guest_presented == guest_sequence);
		ck_assert(!fake.shown.imported);
		if (i == 0)
			placeholder_shown = 0; /* it was there before the first picture */
		give_up(id);
		UNTIL(n_released + 1 >= guest_sequence);
	}
	ck_assert_uint_le(fake.imports, 4);
	ck_assert_uint_eq(placeholder_shown, 0);
}
END_TEST

/* Pictures that a hidden guest made meanwhile were given back, but on no screen: no card was seen to show one. */
START_TEST(hidden_ones_are_no_proof)
{
	fake.refuse_imported = true;
	uint32_t id = 8, rounds = 0;
	for (; rounds < LADDER_STRIKES + 2; rounds++) {
		panel_present(panel, PRESENTATION_HIDDEN, 0);
		UNTIL(panel->screen[0].now.face == PANEL_FACE_UI && !fake.pending);
		for (uint32_t i = 0; i < 3; i++, id++) {
			announce(guest, id, W, H, DRM_FORMAT_XRGB8888);
			guest_frame(id);
			UNTIL(panel->face[PANEL_FACE_GUEST].complete && panel->face[PANEL_FACE_GUEST].sequence[panel->face[PANEL_FACE_GUEST].latest] == guest_sequence);
			if (i > 0)
				give_up(id - 1);
		}
		panel_present(panel, PRESENTATION_PRESENTED, 0);
		UNTIL(panel->screen[0].now.face == PANEL_FACE_GUEST && !fake.pending);
		ck_assert(!fake.shown.imported);
		give_up(id - 1);
	}
	ck_assert_uint_eq(fake.failed, LADDER_STRIKES);
}
END_TEST

/* A flood of frames while the front is busy: no news is lost behind them, and what the front is told stays bounded. */
START_TEST(flood_while_the_front_is_busy)
{
	guest_frame(1);
	UNTIL(guest_presented == 1);
	for (uint32_t i = 0; i < 100; i++) {
		show(guest, 0, 1 + i % 2, ++guest_sequence, whole, (struct rect){0, 0, 4, 4});
		usleep(2500);
	}
	no_frame();
	usleep(50000);
	uint32_t before = fake.commits;
	UNTIL(panel->screen[0].now.face == PANEL_FACE_PLACEHOLDER);
	ck_assert_uint_le(fake.commits - before, 3);
	/* Nor does either side think that the other has a buffer. */
	give_up(1);
	give_up(2);
	UNTIL(n_released == 2);
}
END_TEST

/* Frames faster than any panel, hidden: the front hears of some of them. */
START_TEST(hidden_flood)
{
	guest_frame(1);
	UNTIL(guest_presented == 1);
	panel_present(panel, PRESENTATION_HIDDEN, 0);
	UNTIL(panel->screen[0].now.face == PANEL_FACE_UI);
	uint64_t begin = clock_now_ns(), first_serial = panel->face[PANEL_FACE_GUEST].serial[panel->face[PANEL_FACE_GUEST].latest];
	while (clock_now_ns() < begin + 200 * NSEC_PER_MSEC) {
		struct link_message message = {.type = LINK_FRAME};
		message.frame.buffer = (struct link_buffer_id){1, 1};
		message.frame.sequence = guest_sequence + 1;
		message.frame.source = message.frame.damage = whole;
		guest_sequence += link_send_to_panel(guest, &message);
		turn(0);
	}
	uint64_t heard = panel->face[PANEL_FACE_GUEST].serial[panel->face[PANEL_FACE_GUEST].latest] - first_serial;
	ck_assert_uint_gt(guest_sequence, 500);
	ck_assert_uint_le(heard, (clock_now_ns() - begin) / 2000000 + 2);
}
END_TEST

START_TEST(another_mode)
{
	guest_frame(1);
	UNTIL(guest_presented == 1);
	fake.width = W * 2;
	eventfd_write(fake.base.hotplug_fd, 1);
	UNTIL(panel->screen[0].output.width == W * 2 && panel->screen[0].now.valid && panel->screen[0].now.set == panel->screen[0].set);
	ck_assert(!fake.shown.imported);
	UNTIL(fake.imported == 0); /* those of the old mode are off the screen */
	give_up(1);
	no_frame();
	UNTIL(n_released == 1);
}
END_TEST

START_TEST(budget_of_imports)
{
	struct import_budget budget = {0};
	uint64_t now = 1000 * IMPORT_EVERY_NS;
	for (uint32_t i = 0; i < IMPORT_BURST; i++)
		ck_assert(import_allowed(&budget, now));
	ck_assert(!import_allowed(&budget, now));
	ck_assert(!import_allowed(&budget, now + IMPORT_EVERY_NS - 1));
	ck_assert(import_allowed(&budget, now + IMPORT_EVERY_NS));
	ck_assert(!import_allowed(&budget, now + IMPORT_EVERY_NS));
	now += 100 * IMPORT_EVERY_NS;
	uint32_t n = 0;
	while (import_allowed(&budget, now))
		n++;
	ck_assert_uint_eq(n, IMPORT_BURST);
}
END_TEST

/* What goes to the kernel is the picture's pages and no others. */
START_TEST(pages_of_a_picture)
{
	struct link_segment segment[] = {{0x10000, 0x2000}, {0x12000, 0x1000}, {0x40000, 0x4000}, {0x80000, 0x10000}};
	struct link_buffer buffer = {.width = 1024, .height = 16, .stride = 4096, .n_segments = 4, .segment = segment};
	struct {
		struct udmabuf_create_list head;
		struct udmabuf_create_item item[4];
	} list = {0};
	struct backend_pages pages = {.fd = 7, .buffer = &buffer, .source = {0, 0, 1024, 16}};
	uint64_t offset = 1;
	ck_assert(drm_import_list(&pages, &list.head, &offset));
	/* Neighbours are one piece, and the last is cut: 16 pages. */
	ck_assert_uint_eq(list.head.count, 3);
	ck_assert_uint_eq(offset, 0);
	ck_assert(list.item[0].offset == 0x10000 && list.item[0].size == 0x3000 && list.item[0].memfd == 7);
	ck_assert(list.item[1].offset == 0x40000 && list.item[1].size == 0x4000);
	ck_assert(list.item[2].offset == 0x80000 && list.item[2].size == 0x9000);
	/* A part: from the middle of a page in the third segment. */
	memset(&list, 0, sizeof(list));
	pages.source = (struct rect){100, 4, 10, 2};
	ck_assert(drm_import_list(&pages, &list.head, &offset));
	ck_assert_uint_eq(list.head.count, 1);
	ck_assert(list.item[0].offset == 0x41000 && list.item[0].size == 0x2000);
	ck_assert_uint_eq(offset, 400);
	/* What are not whole pages cannot be given away: others would go with them. */
	segment[2] = (struct link_segment){0x40004, 0x4000};
	memset(&list, 0, sizeof(list));
	ck_assert(!drm_import_list(&pages, &list.head, &offset));
	segment[2] = (struct link_segment){0x40000, 0x3ffc};
	pages.source = (struct rect){0, 0, 1024, 16};
	memset(&list, 0, sizeof(list));
	ck_assert(!drm_import_list(&pages, &list.head, &offset));
	segment[3].length = 0x8ffc;
	segment[2].length = 0x4000;
	memset(&list, 0, sizeof(list));
	ck_assert(!drm_import_list(&pages, &list.head, &offset));
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("imports");
	TCase *tc = tcase_create("panel");
	tcase_add_checked_fixture(tc, setup, fake_panel_close);
	tcase_add_test(tc, flips_without_a_copy);
	tcase_add_test(tc, one_buffer_many_frames);
	tcase_add_test(tc, kept_until_the_flip_of_its_successor);
	tcase_add_test(tc, refused_imports_are_copied);
	tcase_add_test(tc, refused_commits_are_copied);
	tcase_add_test(tc, refused_by_a_toggle);
	tcase_add_test(tc, what_does_not_fit_is_copied);
	tcase_add_test(tc, figures_are_over_a_copy);
	tcase_add_test(tc, a_storm_of_buffers);
	tcase_add_test(tc, another_machine);
	tcase_add_test(tc, gone_when_nothing_is_left);
	tcase_add_test(tc, gone_in_the_dark);
	tcase_add_test(tc, picture_on_its_way_while_machines_change);
	tcase_add_test(tc, refused_by_a_resume);
	tcase_add_test(tc, card_that_never_shows_one);
	tcase_add_test(tc, hidden_ones_are_no_proof);
	tcase_add_test(tc, flood_while_the_front_is_busy);
	tcase_add_test(tc, hidden_flood);
	tcase_add_test(tc, another_mode);
	suite_add_tcase(suite, tc);
	TCase *pure = tcase_create("budget");
	tcase_add_test(pure, budget_of_imports);
	tcase_add_test(pure, pages_of_a_picture);
	suite_add_tcase(suite, pure);
	return suite;
}

UNIT_MAIN(make_suite)
