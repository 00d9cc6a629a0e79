#include "producers.h"

#include <string.h>

#include "base/base.h"
#include "pixels.h"

struct link *ui, *guest;
int memory = -1;
uint32_t *pixels;
uint64_t ui_sequence, ui_presented, guest_sequence, guest_presented;
uint64_t head_presented[LINK_MAX_HEADS];
struct link_message head_display[LINK_MAX_HEADS];
bool head_visible[LINK_MAX_HEADS];
uint32_t display_w, display_h;
struct link_buffer_id released[64];
uint32_t n_released;

void producers_open(bool with_guest)
{
	ui_sequence = ui_presented = guest_sequence = guest_presented = 0;
	display_w = display_h = n_released = 0;
	memset(head_presented, 0, sizeof(head_presented));
	memset(head_display, 0, sizeof(head_display));
	memset(head_visible, 0, sizeof(head_visible));
	panel_rig_turned = hear;
	pixels = pixels_make(PRODUCERS_MEMORY, &memory);
	ui = link_create(memory, PRODUCERS_MEMORY);
	ck_assert_ptr_nonnull(ui);
	panel_add_producer(panel, PANEL_FACE_UI, ui);
	if (with_guest) {
		guest = link_create(memory, PRODUCERS_MEMORY);
		ck_assert_ptr_nonnull(guest);
		panel_add_producer(panel, PANEL_FACE_GUEST, guest);
	}
	ck_assert_int_eq(panel_start(panel), 0);
}

void producers_close(void)
{
	link_destroy(ui);
	if (guest)
		link_destroy(guest);
	ui = guest = NULL;
	munmap(pixels, PRODUCERS_MEMORY);
	close(memory);
	panel_rig_turned = NULL;
}

void hear(void)
{
	struct link_message message;
	while (link_receive_for_producer(ui, &message)) {
		if (message.type == LINK_PRESENTED && message.head == 0)
			ui_presented = message.presented.sequence;
		else if (message.type == LINK_DISPLAY) {
			display_w = message.display.width;
			display_h = message.display.height;
		}
	}
	while (guest && link_receive_for_producer(guest, &message)) {
		if (message.type == LINK_PRESENTED) {
			head_presented[message.head] = message.presented.sequence;
			guest_presented = head_presented[0];
		} else if (message.type == LINK_DISPLAY)
			head_display[message.head] = message;
		else if (message.type == LINK_VISIBLE)
			head_visible[message.head] = message.visible.visible;
		else if (message.type == LINK_RELEASED)
			released[n_released++ % ARRAY_LEN(released)] = message.dead;
	}
}

uint32_t *buffer_pixels(uint32_t id)
{
	return pixels + id * (BUFFER_BYTES / 4);
}

void paint(uint32_t id, uint32_t colour)
{
	for (uint32_t i = 0; i < BUFFER_BYTES / 4; i++)
		buffer_pixels(id)[i] = colour;
}

void announce(struct link *link, uint32_t id, uint32_t w, uint32_t h, uint32_t format)
{
	struct link_segment segment = {(uint64_t)id * BUFFER_BYTES, BUFFER_BYTES};
	ck_assert(link_send_buffer(link, (struct link_buffer_id){id, 1}, w, h, w * 4, format, 0, &segment, 1));
}

bool send_pointer(struct link *link, uint32_t head, uint32_t picture, int32_t x, int32_t y, bool visible)
{
	struct link_message message = {.type = LINK_CURSOR, .head = head};
	message.cursor.buffer = (struct link_buffer_id){picture, picture != 0};
	message.cursor.x = x;
	message.cursor.y = y;
	message.cursor.hot_x = 3;
	message.cursor.hot_y = 5;
	message.cursor.visible = visible;
	return link_send_to_panel(link, &message);
}

void show(struct link *link, uint32_t head, uint32_t id, uint64_t number, struct rect source, struct rect damage)
{
	struct link_message message = {.type = LINK_FRAME, .head = head};
	message.frame.buffer = (struct link_buffer_id){id, 1};
	message.frame.sequence = number;
	message.frame.source = source;
	message.frame.damage = damage;
	ck_assert(link_send_to_panel(link, &message));
}
