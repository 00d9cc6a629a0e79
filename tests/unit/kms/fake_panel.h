/* A panel on a fake card, with one producer, the UI, in the test's own hands. */
#pragma once

#include "fake_card.h"

#include <sys/mman.h>
#include <unistd.h>

#include <wayland-server-core.h>

#include "base/stats.h"
#include "kms/panel_private.h"

static struct fake fake;
static struct wl_event_loop *loop;
static struct panel *panel;
static struct status_board *board;
static struct stats stats;
static struct link *ui;
static int memory;
static uint64_t sequence, presented;
static uint32_t display_w;

#define UNTIL(what)                                                      \
	do {                                                             \
		uint64_t deadline = clock_now_ns() + 10 * NSEC_PER_SEC;  \
		while (!(what)) {                                        \
			ck_assert_msg(clock_now_ns() < deadline, #what); \
			wl_event_loop_dispatch(loop, 5);                 \
			hear();                                          \
		}                                                        \
	} while (0)

static void hear(void)
{
	struct link_message message;
	while (link_receive_for_producer(ui, &message)) {
		if (message.type == LINK_PRESENTED)
			presented = message.presented.sequence;
		else if (message.type == LINK_DISPLAY)
			display_w = message.display.width;
	}
}

static void send_frame(uint32_t head, uint64_t number, struct rect damage)
{
	struct link_message message = {.type = LINK_FRAME, .head = head};
	message.frame.buffer = (struct link_buffer_id){1, 1};
	message.frame.sequence = number;
	message.frame.source = (struct rect){0, 0, W, H};
	message.frame.damage = damage;
	ck_assert(link_send_to_panel(ui, &message));
}

static void frame_of(struct rect damage)
{
	send_frame(0, ++sequence, damage);
}

static void frame(void)
{
	frame_of((struct rect){0, 0, W, H});
}

/* A panel with one UI producer on the fake; with a monitor its first frame is on the screen. */
static void make(bool connected)
{
	char error[200];
	memset(&stats, 0, sizeof(stats));
	memset(&fake, 0, sizeof(fake));
	sequence = presented = display_w = 0;
	fake.base = (struct backend){.ops = &fake_ops, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .hotplug_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	fake.connected = connected;
	fake.width = W;
	loop = wl_event_loop_create();
	board = status_board_create();
	struct panel_config config = {.board = board, .stats = &stats};
	panel = panel_create_on(loop, &config, &fake.base, error, sizeof(error));
	ck_assert_ptr_nonnull(panel);
	memory = memfd_create("pixels", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(memory, 1 << 20), 0);
	ui = link_create(memory, 1 << 20);
	ck_assert_ptr_nonnull(ui);
	panel_add_producer(panel, PANEL_FACE_UI, ui);
	ck_assert_int_eq(panel_start(panel), 0);
	struct link_segment segment = {0, W * H * 4};
	ck_assert(link_send_buffer(ui, (struct link_buffer_id){1, 1}, W, H, W * 4, 0x34325258, 0, &segment, 1));
	frame();
	if (connected) {
		UNTIL(fake.commits == 1);
		ck_assert_uint_eq(fake.full, 1);
		UNTIL(presented == 1);
	}
}

static void unmake(void)
{
	panel_destroy(panel);
	ck_assert(fake.destroyed);
	ck_assert_uint_eq(fake.made, fake.freed);
	link_destroy(ui);
	close(memory);
	status_board_destroy(board);
	wl_event_loop_destroy(loop);
}
