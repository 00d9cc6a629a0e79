/*
 * The framebuffer on the screen, lent to the worker: who has it in each order of events, and that what is seen is what was drawn, to the pixel. The screen is one
 * that is sent what commits name: all of another framebuffer, the damage of the same one.
 */
#define LOG_MODULE "test"
#include "fake_panel.h"
#include "random.h"

#include <poll.h>
#include <stdio.h>

#include "kms/card.h"
#include "kms/lend.h"

#define GUEST_BUFFER 4u

static uint32_t screen[H][2 * W];
static uint32_t seen_fb;
static _Atomic bool stall; /* the worker stands still with its next picture begun */
static uint8_t *_Atomic begun;

static void draw(const struct scanout_buffer *buffer, bool begins)
{
	begun = begins ? buffer->pixels : NULL;
	while (begins && stall)
		poll(NULL, 0, 1);
}

static void look(void)
{
	const struct scanout_buffer *buffer = fake.last.buffer;
	if (!buffer)
		return;
	ck_assert_ptr_ne(buffer->pixels, begun); /* nothing half drawn */
	struct rect r = {0, 0, buffer->width, buffer->height};
	if (!fake.last.full && buffer->fb == seen_fb)
		r = fake.last.damage;
	seen_fb = buffer->fb;
	for (uint32_t y = r.y; y < r.y + r.h; y++)
		memcpy(&screen[y][r.x], buffer->pixels + (size_t)y * buffer->pitch + (size_t)r.x * 4, (size_t)r.w * 4);
}

static bool screen_is(uint32_t id)
{
	uint32_t left = (panel->screen[0].output.width - W) / 2;
	for (uint32_t y = 0; y < H; y++)
		for (uint32_t x = 0; x < W; x++)
			if ((screen[y][left + x] & 0xffffff) != (buffer_pixels(id)[y * W + x] & 0xffffff))
				return false;
	return true;
}

static void paint_rect(uint32_t id, struct rect r, uint32_t colour)
{
	for (uint32_t y = r.y; y < r.y + r.h; y++)
		for (uint32_t x = r.x; x < r.x + r.w; x++)
			buffer_pixels(id)[y * W + x] = colour + x;
}

static void guest_paints(struct rect r, uint32_t colour)
{
	paint_rect(GUEST_BUFFER, r, colour);
	show(guest, 0, GUEST_BUFFER, ++guest_sequence, whole, r);
}

static void start(bool single)
{
	memset(&fake, 0, sizeof(fake));
	memset(screen, 0, sizeof(screen));
	seen_fb = 0;
	stall = false;
	begun = NULL;
	fake.connected = true;
	fake.base.single = single;
	fake.look = look;
	fake.draw = draw;
	fake.refuse_import = EINVAL;
	fake_panel_open(NULL, true);
	show(ui, 1, UI_BUFFER, 1, whole, whole); /* a placeholder */
	announce(guest, GUEST_BUFFER, W, H, DRM_FORMAT_XRGB8888);
	paint(UI_BUFFER, 0x112233);
	ui_frame();
	UNTIL(ui_presented == ui_sequence);
	present(PRESENTATION_PRESENTED);
	guest_paints(whole, 0x404040);
	UNTIL(guest_presented == guest_sequence);
	UNTIL(screen_is(GUEST_BUFFER));
}

static void end(void)
{
	ck_assert_uint_eq(atomic_load(&panel->screen[0].lend.word) & 3, panel->screen[0].lent.on);
	fake_panel_close();
}

/* The worker has begun to draw into what is on the screen. */
static void begin_in_place(void)
{
	UNTIL(panel->screen[0].lent.on);
	stall = true;
	guest_paints((struct rect){5, 6, 20, 3}, 0xabcd00);
	UNTIL(begun != NULL);
	ck_assert_ptr_eq(begun, fake.shown.pixels);
}

START_TEST(in_place)
{
	start(true);
	uint32_t fb = seen_fb;
	for (uint32_t i = 0; i < 20; i++) {
		struct rect r = {i, i + 2, 9, 7};
		guest_paints(r, 0x200000 + i * 1000);
		UNTIL(guest_presented == guest_sequence);
		ck_assert(screen_is(GUEST_BUFFER));
		ck_assert_uint_eq(seen_fb, fb);
		ck_assert_mem_eq(&fake.last.damage, &r, sizeof(r));
	}
	/* The UI's as well. */
	present(PRESENTATION_HIDDEN);
	UNTIL(screen_is(UI_BUFFER));
	fb = seen_fb;
	for (uint32_t i = 0; i < 5; i++) {
		struct rect r = {i, i + 2, 9, 7};
		paint_rect(UI_BUFFER, r, 0x300000 + i * 1000);
		ui_frame_of(r);
		UNTIL(ui_presented == ui_sequence);
		ck_assert(screen_is(UI_BUFFER));
		ck_assert_uint_eq(seen_fb, fb);
	}
	end();
}
END_TEST

START_TEST(two_by_default)
{
	start(false);
	uint32_t fb = seen_fb;
	guest_paints((struct rect){1, 2, 3, 4}, 0x808080);
	UNTIL(guest_presented == guest_sequence);
	ck_assert_uint_ne(seen_fb, fb);
	ck_assert(!panel->screen[0].lent.on);
	end();
}
END_TEST

/* Pictures that are new altogether are drawn ahead, into the other framebuffer. */
START_TEST(whole_pictures_take_turns)
{
	start(true);
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t fb = seen_fb;
		guest_paints(whole, 0x200000 + i * 1000);
		UNTIL(guest_presented == guest_sequence);
		ck_assert(screen_is(GUEST_BUFFER));
		ck_assert_uint_ne(seen_fb, fb);
	}
	end();
}
END_TEST

/* No pixel is copied that is not new, however frames and refreshes fall. */
START_TEST(copied_once)
{
	struct random random = random_series(7);
	start(true);
	ck_assert_uint_eq(stats.bytes_copied, stats.bytes_damaged);
	for (uint32_t i = 0; i < 300; i++) {
		uint32_t x = random_below(&random, W), y = random_below(&random, H);
		struct rect r = {x, y, 1 + random_below(&random, W - x), 1 + random_below(&random, H - y)};
		guest_paints(random_below(&random, 10) ? r : whole, (uint32_t)random_next(&random) & 0x7f7f00);
		if (random_below(&random, 3))
			UNTIL(guest_presented == guest_sequence);
		else
			turn((int)random_below(&random, 3));
	}
	UNTIL(guest_presented == guest_sequence);
	ck_assert(screen_is(GUEST_BUFFER));
	ck_assert_uint_le(stats.bytes_copied, stats.bytes_damaged);
	ck_assert_uint_gt(stats.bytes_copied, stats.bytes_damaged / 2);
	end();
}
END_TEST

START_TEST(away_is_free)
{
	start(true);
	begin_in_place();
	uint32_t commits = fake.commits;
	present(PRESENTATION_HIDDEN);
	ck_assert_uint_eq(fake.commits, commits + 1); /* at once, the worker still draws */
	UNTIL(panel->screen[0].now.face == PANEL_FACE_UI);
	ck_assert(screen_is(UI_BUFFER));
	stall = false;
	settle(30);
	ck_assert(screen_is(UI_BUFFER));
	ck_assert(!panel->screen[0].lent.on || panel->screen[0].lent.face == PANEL_FACE_UI);
	present(PRESENTATION_PRESENTED);
	UNTIL(screen_is(GUEST_BUFFER));
	end();
}
END_TEST

START_TEST(back_goes_out_with_the_picture)
{
	start(true);
	begin_in_place();
	present(PRESENTATION_HIDDEN);
	UNTIL(panel->screen[0].now.face == PANEL_FACE_UI);
	uint32_t commits = fake.commits;
	present(PRESENTATION_PRESENTED);
	settle(30);
	ck_assert_uint_eq(fake.commits, commits); /* half drawn */
	stall = false;
	UNTIL(panel->screen[0].now.face == PANEL_FACE_GUEST);
	ck_assert(screen_is(GUEST_BUFFER));
	ck_assert(!panel->toggled);
	end();
}
END_TEST

/* An offer that nobody has taken: a toggle away and back has nothing to wait for, and afterwards there is another one. */
START_TEST(back_before_it_is_taken)
{
	start(true);
	UNTIL(panel->screen[0].lent.on);
	present(PRESENTATION_HIDDEN);
	present(PRESENTATION_PRESENTED);
	UNTIL(panel->screen[0].now.face == PANEL_FACE_GUEST && panel->screen[0].lent.on);
	uint32_t fb = seen_fb;
	guest_paints((struct rect){1, 2, 3, 4}, 0x808080);
	UNTIL(guest_presented == guest_sequence);
	ck_assert(screen_is(GUEST_BUFFER));
	ck_assert_uint_eq(seen_fb, fb);
	end();
}
END_TEST

/* What can happen while it is drawn into. */
enum { UNPLUGGED, ANOTHER_MODE, TERMINAL, BLANKED, REFUSED, BUSY, DENIED, NO_PICTURE, ANOTHER_MACHINE, HAPPENINGS };

static void replug(bool connected, uint32_t width)
{
	fake.connected = connected;
	fake.width = width;
	eventfd_write(fake.base.hotplug_fd, 1);
}

static void refuse(int error, uint32_t count)
{
	fake.fail = error;
	fake.fail_count = count;
}

START_TEST(happens_meanwhile)
{
	start(true);
	begin_in_place();
	uint32_t commits = fake.commits;
	switch (_i) {
	case UNPLUGGED:
		replug(false, W);
		settle(10);
		stall = false;
		UNTIL(!panel->screen[0].output.connected);
		replug(true, W);
		break;
	case ANOTHER_MODE:
		present(PRESENTATION_HIDDEN); /* of the old size nothing is committed any more */
		UNTIL(panel->screen[0].now.face == PANEL_FACE_UI);
		replug(true, 2 * W);
		settle(10);
		stall = false;
		UNTIL(panel->screen[0].output.width == 2 * W);
		present(PRESENTATION_PRESENTED);
		break;
	case TERMINAL:
		panel_session(panel, false);
		settle(10);
		panel_session(panel, true);
		settle(10);
		ck_assert_uint_eq(fake.commits, commits); /* the full one waits, too */
		break;
	case BLANKED:
		ck_assert_int_eq(panel_blank(panel, true), 0);
		settle(10);
		ck_assert_int_eq(panel_blank(panel, false), 0);
		settle(10);
		ck_assert_uint_eq(fake.commits, commits);
		break;
	case REFUSED:
		refuse(EINVAL, 1);
		break;
	case BUSY:
		refuse(EBUSY, 3);
		break;
	case DENIED:
		refuse(EACCES, 1);
		break;
	case NO_PICTURE:
		ck_assert(link_send_to_panel(guest, &(struct link_message){.type = LINK_NO_FRAME}));
		break;
	case ANOTHER_MACHINE:
		panel_join_guest(panel, NULL);
		break;
	}
	stall = false;
	if (_i == NO_PICTURE || _i == ANOTHER_MACHINE) {
		UNTIL(panel->screen[0].now.face == PANEL_FACE_PLACEHOLDER);
		if (_i == ANOTHER_MACHINE) {
			end();
			return;
		}
		guest_paints((struct rect){0, 0, 2, 2}, 0x777777);
	}
	UNTIL(panel->screen[0].now.valid && panel->screen[0].now.face == PANEL_FACE_GUEST && screen_is(GUEST_BUFFER));
	/* And on it goes. */
	for (uint32_t i = 0; i < 3; i++) {
		guest_paints((struct rect){10 + i, 9, 4, 5}, 0x123400 + i);
		UNTIL(screen_is(GUEST_BUFFER));
	}
	end();
}
END_TEST

/* Without a commit there is no offer; the other framebuffer is used after a while, so that the worker has the newest at hand. */
START_TEST(not_offered)
{
	start(true);
	UNTIL(panel->screen[0].lent.on);
	fake.hold_flips = true;
	guest_paints((struct rect){1, 2, 3, 4}, 0x808080);
	UNTIL(fake.pending);
	guest_paints((struct rect){11, 12, 3, 4}, 0x909090);
	uint32_t fb = seen_fb;
	settle(200);
	ck_assert_uint_eq(panel->face[PANEL_FACE_GUEST].sequence[panel->face[PANEL_FACE_GUEST].latest], guest_sequence);
	let_flips();
	UNTIL(guest_presented == guest_sequence);
	ck_assert_uint_ne(seen_fb, fb);
	ck_assert(screen_is(GUEST_BUFFER));
	end();
}
END_TEST

/* --- pure ------------------------------------------------------------------------------------------------------ */

START_TEST(token)
{
	struct lend lend = {0};
	ck_assert(lend_back(&lend)); /* nothing to take back */
	uint64_t first = lend_offer(&lend);
	ck_assert_uint_ne(first, 0);
	ck_assert(!lend_take(&lend, first + 1));
	ck_assert(lend_back(&lend));
	ck_assert(!lend_take(&lend, first));
	uint64_t second = lend_offer(&lend);
	ck_assert_uint_ne(second, first);
	ck_assert(!lend_take(&lend, first)); /* an old message */
	ck_assert(lend_take(&lend, second));
	ck_assert(!lend_take(&lend, second));
	ck_assert(!lend_back(&lend));
	lend_ended(&lend);
	ck_assert(lend_back(&lend));
	ck_assert(!lend_take(&lend, second));
}
END_TEST

START_TEST(choice)
{
	const struct lend_case small = {.picture = 1000, .shown = 10, .other = 10, .other_free = true, .offered = true, .at_ns = 100, .patience_ns = 500, .now_ns = 50};
	uint64_t until = 0;
	struct lend_case c = small;
	ck_assert_int_eq(lend_choose(&c, &until), LEND_WAIT);
	ck_assert_uint_eq(until, 100);
	c.now_ns = 100;
	ck_assert_int_eq(lend_choose(&c, &until), LEND_SHOWN);
	c.offered = false;
	ck_assert_int_eq(lend_choose(&c, &until), LEND_WAIT);
	ck_assert_uint_eq(until, 500);
	c.now_ns = 500;
	ck_assert_int_eq(lend_choose(&c, &until), LEND_OTHER);
	c = small;
	c.shown = c.other = 750;
	ck_assert_int_eq(lend_choose(&c, &until), LEND_OTHER);
	c.other = 751; /* more would be drawn than is new */
	ck_assert_int_eq(lend_choose(&c, &until), LEND_WAIT);
	c.other = 750;
	c.other_free = false;
	ck_assert_int_eq(lend_choose(&c, &until), LEND_WAIT);
	c = small;
	c.shown = c.other = 749;
	ck_assert_int_eq(lend_choose(&c, &until), LEND_WAIT);
	/* What takes long to draw begins earlier, but never before its time. */
	c = small;
	c.draw_ns = 40;
	c.soonest_ns = 30;
	ck_assert_int_eq(lend_choose(&c, &until), LEND_WAIT);
	ck_assert_uint_eq(until, 60);
	c.now_ns = 60;
	ck_assert_int_eq(lend_choose(&c, &until), LEND_SHOWN);
	c.now_ns = 29;
	c.draw_ns = 400; /* more than there is */
	ck_assert_int_eq(lend_choose(&c, &until), LEND_WAIT);
	ck_assert_uint_eq(until, 30);
	ck_assert_uint_ge(lend_soonest(1000, 16000), 1000 + 16000 / 2);
	ck_assert_uint_lt(lend_soonest(1000, 16000), lend_at(1000, 16000));
	/* Not before most of the refresh is over: until then what was committed is still being sent. */
	ck_assert_uint_ge(lend_at(1000, 16000), 1000 + 16000 * 3 / 4);
	ck_assert_uint_lt(lend_at(1000, 16000), 1000 + 16000);
}
END_TEST

START_TEST(drivers)
{
	ck_assert(drm_single("virtio_gpu", false, false));
	ck_assert(drm_single("virtio_gpu", false, true));
	ck_assert(drm_single("virtio_gpu", true, true));
	ck_assert(!drm_single("virtio_gpu", true, false)); /* the host looks into the framebuffer */
	static const char *const two[] = {"i915", "amdgpu", "bochs-drm", "cirrus", "vmwgfx", "simpledrm", "virtio", ""};
	for (uint32_t i = 0; i < ARRAY_LEN(two); i++)
		ck_assert(!drm_single(two[i], false, false));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-lend");
	TCase *pure = tcase_create("pure");
	tcase_add_test(pure, token);
	tcase_add_test(pure, choice);
	tcase_add_test(pure, drivers);
	suite_add_tcase(s, pure);
	TCase *c = tcase_create("panel");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, in_place);
	tcase_add_test(c, two_by_default);
	tcase_add_test(c, whole_pictures_take_turns);
	tcase_add_test(c, copied_once);
	tcase_add_test(c, away_is_free);
	tcase_add_test(c, back_goes_out_with_the_picture);
	tcase_add_test(c, back_before_it_is_taken);
	tcase_add_loop_test(c, happens_meanwhile, 0, HAPPENINGS);
	tcase_add_test(c, not_offered);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
