/* A panel on the fake card with the real drm*.c between them, a UI and a guest: for tests of what the card sees. One per test program's test. */
#pragma once

#include "unit.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm_fourcc.h>
#include <wayland-server-core.h>

#include "base/stats.h"
#include "fake_drm.h"
#include "kms/backend.h"
#include "kms/choose.h"
#include "kms/panel_private.h"

#define W 64
#define H 48
#define BUFFER_BYTES 16384u /* from one buffer's pixels to the next one's */
#define MEMORY (16 * BUFFER_BYTES)
#define UI_BUFFER 1u
#define GUEST_BUFFER 4u /* and 5, 6 */
#define UI_COLOUR 0x102030u

static struct wl_event_loop *loop;
static struct panel *panel;
static struct status_board *board;
static struct stats stats;
static struct link *ui, *guest;
static int memory = -1;
static uint32_t *pixels;
static uint64_t ui_sequence, ui_presented, guest_sequence, guest_presented;
static bool rig_legacy; /* atomic commits are not asked for */
static const struct rect whole = {0, 0, W, H};

static void hear(void)
{
	struct link_message message;
	while (link_receive_for_producer(ui, &message))
		if (message.type == LINK_PRESENTED && message.head == 0)
			ui_presented = message.presented.sequence;
	while (link_receive_for_producer(guest, &message))
		if (message.type == LINK_PRESENTED)
			guest_presented = message.presented.sequence;
}

#define UNTIL(what)                                                      \
	do {                                                             \
		uint64_t deadline = clock_now_ns() + 10 * NSEC_PER_SEC;  \
		while (!(what)) {                                        \
			ck_assert_msg(clock_now_ns() < deadline, #what); \
			wl_event_loop_dispatch(loop, 2);                 \
			hear();                                          \
		}                                                        \
	} while (0)

static inline void settle(uint64_t ms)
{
	uint64_t end = clock_now_ns() + ms * NSEC_PER_MSEC;
	while (clock_now_ns() < end) {
		wl_event_loop_dispatch(loop, 2);
		hear();
	}
}

static uint32_t *buffer_pixels(uint32_t id)
{
	return pixels + id * (BUFFER_BYTES / 4);
}

static void fill(uint32_t id, uint32_t colour)
{
	for (uint32_t i = 0; i < BUFFER_BYTES / 4; i++)
		buffer_pixels(id)[i] = colour + (i & 1);
}

static void announce(struct link *link, uint32_t id, uint32_t w, uint32_t h)
{
	struct link_segment segment = {(uint64_t)id * BUFFER_BYTES, BUFFER_BYTES};
	ck_assert(link_send_buffer(link, (struct link_buffer_id){id, 1}, w, h, w * 4, DRM_FORMAT_XRGB8888, 0, &segment, 1));
}

static void show(struct link *link, uint32_t head, uint32_t id, uint64_t number, struct rect source, struct rect damage)
{
	struct link_message message = {.type = LINK_FRAME, .head = head};
	message.frame.buffer = (struct link_buffer_id){id, 1};
	message.frame.sequence = number;
	message.frame.source = source;
	message.frame.damage = damage;
	ck_assert(link_send_to_panel(link, &message));
}

static void ui_frame(uint32_t colour)
{
	fill(UI_BUFFER, colour);
	show(ui, 0, UI_BUFFER, ++ui_sequence, whole, whole);
}

static inline void guest_frame(uint32_t id, uint32_t colour)
{
	fill(id, colour);
	show(guest, 0, id, ++guest_sequence, whole, whole);
}

/* The whole screen has this picture of fill(), in its own size at x, y; around it is black. */
static inline bool screen_is(uint32_t colour, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	if (!fake_drm_lit())
		return false;
	for (uint32_t sy = 0; sy < card.height; sy++)
		for (uint32_t sx = 0; sx < card.width; sx++) {
			bool in = sx >= x && sx < x + w && sy >= y && sy < y + h;
			uint32_t want = in ? colour + (((sy - y) * w + sx - x) & 1) : 0;
			if (fake_drm_pixel(sx, sy) != want)
				return false;
		}
	return true;
}

static bool screen_shows(uint32_t colour)
{
	return screen_is(colour, 0, 0, card.width, card.height);
}

/* After fake_drm_reset(): the card is opened, the panel runs, both producers know their buffers, the UI has sent its first frame. */
static void rig_start(void)
{
	char error[300];
	int status;
	memset(&stats, 0, sizeof(stats));
	ui_sequence = ui_presented = guest_sequence = guest_presented = 0;
	loop = wl_event_loop_create();
	board = status_board_create();
	const struct choose_wish wish = {0};
	struct backend *backend = drm_create(fake_seat(), "/dev/dri/fake", rig_legacy, &wish, error, sizeof(error), &status);
	ck_assert_msg(backend != NULL, "%s", error);
	struct panel_config config = {.board = board, .stats = &stats};
	panel = panel_create_on(loop, &config, backend, error, sizeof(error));
	ck_assert_msg(panel != NULL, "%s", error);
	memory = memfd_create("pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(ftruncate(memory, MEMORY), 0);
	ck_assert_int_eq(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	pixels = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	ck_assert(pixels != MAP_FAILED);
	ui = link_create(memory, MEMORY);
	guest = link_create(memory, MEMORY);
	ck_assert(ui && guest);
	panel_add_producer(panel, PANEL_FACE_UI, ui);
	panel_add_producer(panel, PANEL_FACE_GUEST, guest);
	ck_assert_int_eq(panel_start(panel), 0);
	announce(ui, UI_BUFFER, W, H);
	for (uint32_t id = GUEST_BUFFER; id < GUEST_BUFFER + 3; id++)
		announce(guest, id, W, H);
	ui_frame(UI_COLOUR);
}

/* Ends the panel: nothing of the card's is held then, and until then no framebuffer was taken off the screen. */
static void rig_end(void)
{
	ck_assert_uint_eq(card.pulled, 0);
	panel_destroy(panel);
	if (!card.gone)
		ck_assert_uint_eq(fake_drm_leaks(), 0);
	link_destroy(ui);
	link_destroy(guest);
	munmap(pixels, MEMORY);
	close(memory);
	status_board_destroy(board);
	wl_event_loop_destroy(loop);
}
