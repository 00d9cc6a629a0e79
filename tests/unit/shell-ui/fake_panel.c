#include "fake_panel.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int fake_key_code(const char *name)
{
	static const struct {
		const char *name;
		int code;
	} keys[] = {
		{ "KEY_LEFTCTRL", KEY_LEFTCTRL }, { "KEY_LEFTALT", KEY_LEFTALT }, { "KEY_DELETE", KEY_DELETE }, { "KEY_GRAVE", KEY_GRAVE },
		{ "KEY_F5", KEY_F5 }, { "KEY_ENTER", KEY_ENTER },
	};
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (strcmp(keys[i].name, name) == 0)
			return keys[i].code;
	}
	return -1;
}

void fake_panel_open(struct fake_panel *panel, uint32_t max_width, uint32_t max_height, const char *hint)
{
	char error[256] = "";
	memset(panel, 0, sizeof(*panel));
	panel->board = status_board_create();
	struct ui_config config = {
		.board = panel->board, .hint = hint, .toggle_key = "`", .show_key = "F11", .hide_key = "F12",
		.max_width = max_width, .max_height = max_height, .key_code = fake_key_code,
	};
	panel->ui = ui_create(&config, error, sizeof(error));
	if (!panel->ui || ui_start(panel->ui) != 0) {
		fprintf(stderr, "no UI: %s\n", error);
		exit(1);
	}
	panel->link = ui_link(panel->ui);
	panel->room = link_room_to_producer(panel->link);
	panel->table = link_table_create(link_pixels_size(panel->link));
}

void fake_panel_close(struct fake_panel *panel)
{
	ui_stop(panel->ui);
	ui_destroy(panel->ui);
	link_table_destroy(panel->table);
	free(panel->cursor_image);
	status_board_destroy(panel->board);
}

void fake_panel_display(struct fake_panel *panel, uint32_t width, uint32_t height)
{
	for (uint32_t head = 0; head < LINK_MAX_HEADS; head++) {
		struct link_message message = { .type = LINK_DISPLAY, .head = head,
			.display = { .width = width, .height = height, .refresh_mhz = 60000, .name = "test" } };
		link_send_to_producer(panel->link, &message);
	}
}

void fake_panel_visible(struct fake_panel *panel, uint32_t head, bool visible)
{
	struct link_message message = { .type = LINK_VISIBLE, .head = head, .visible = { .visible = visible } };
	link_send_to_producer(panel->link, &message);
}

static void set_vm(struct status *status, void *data)
{
	status->vm = *(enum vm_state *)data;
}

void fake_panel_vm(struct fake_panel *panel, enum vm_state state)
{
	status_board_update(panel->board, set_vm, &state);
}

static void set_scanout(struct status *status, void *data)
{
	const uint32_t *size = data;
	status->scanout_width = size[0];
	status->scanout_height = size[1];
}

void fake_panel_scanout(struct fake_panel *panel, uint32_t width, uint32_t height)
{
	uint32_t size[2] = { width, height };
	status_board_update(panel->board, set_scanout, size);
}

void fake_panel_key(struct fake_panel *panel, uint32_t code, int value)
{
	struct link_message message = { .type = LINK_INPUT,
		.input = { .device = LINK_KEYBOARD, .count = 2, .event = { { EV_KEY, (uint16_t)code, value }, { EV_SYN, SYN_REPORT, 0 } } } };
	link_send_to_producer(panel->link, &message);
}

void fake_panel_packet(struct fake_panel *panel, enum link_device device, const struct link_event *event, uint32_t n)
{
	struct link_message message = { .type = LINK_INPUT, .input = { .device = device, .count = n + 1 } };
	for (uint32_t i = 0; i < n; i++)
		message.input.event[i] = event[i];
	message.input.event[n] = (struct link_event){ EV_SYN, SYN_REPORT, 0 };
	link_send_to_producer(panel->link, &message);
}

void fake_panel_tap(struct fake_panel *panel, uint32_t code)
{
	fake_panel_key(panel, code, 1);
	fake_panel_key(panel, code, 0);
}

void fake_panel_type(struct fake_panel *panel, const char *text)
{
	static const uint8_t letters[26] = { KEY_A, KEY_B, KEY_C, KEY_D, KEY_E, KEY_F, KEY_G, KEY_H, KEY_I, KEY_J, KEY_K, KEY_L, KEY_M, KEY_N, KEY_O,
		KEY_P, KEY_Q, KEY_R, KEY_S, KEY_T, KEY_U, KEY_V, KEY_W, KEY_X, KEY_Y, KEY_Z };
	for (; *text; text++) {
		if (isalpha((unsigned char)*text))
			fake_panel_tap(panel, letters[tolower((unsigned char)*text) - 'a']);
		else if (isdigit((unsigned char)*text))
			fake_panel_tap(panel, *text == '0' ? KEY_0 : (uint32_t)(KEY_1 + *text - '1'));
		else if (*text == '+') {
			fake_panel_key(panel, KEY_LEFTSHIFT, 1);
			fake_panel_tap(panel, KEY_EQUAL);
			fake_panel_key(panel, KEY_LEFTSHIFT, 0);
		} else
			fake_panel_tap(panel, KEY_SPACE);
	}
}

static void take_cursor(struct fake_panel *panel, const struct link_message *message)
{
	panel->cursor = *message;
	panel->cursors++;
	if (message->cursor.buffer.id == 0)
		return;
	const struct link_buffer *buffer = link_table_find(panel->table, message->cursor.buffer);
	if (!panel->cursor_image)
		panel->cursor_image = malloc(LINK_CURSOR_SIDE * LINK_CURSOR_SIDE * 4);
	if (panel->cursor_image)
		memcpy(panel->cursor_image, link_pixels(panel->link) + buffer->segment[0].offset, LINK_CURSOR_SIDE * LINK_CURSOR_SIDE * 4);
}

static void take(struct fake_panel *panel, const struct link_message *message)
{
	const char *why = "";
	struct link_message answer = { .type = LINK_PRESENTED, .head = message->head };
	switch (link_table_take(panel->table, message, &why)) {
	case LINK_CHANGE_FRAME:
		panel->frames[message->head]++;
		panel->damage[message->head] = message->frame.damage;
		answer.presented.sequence = message->frame.sequence;
		if (!panel->hold)
			link_send_to_producer(panel->link, &answer);
		break;
	case LINK_CHANGE_OTHER:
		if (message->type == LINK_ACTION && panel->n_actions < ARRAY_LEN(panel->action))
			panel->action[panel->n_actions++] = *message;
		else if (message->type == LINK_LEDS)
			panel->leds = message->leds.leds;
		else if (message->type == LINK_CURSOR)
			take_cursor(panel, message);
		break;
	case LINK_CHANGE_REFUSED:
		panel->refused++;
		fprintf(stderr, "refused: %s\n", why);
		break;
	default:
		break;
	}
	struct link_buffer_id name;
	while (link_table_next_released(panel->table, &name)) {
		struct link_message released = { .type = LINK_RELEASED, .dead = name };
		link_send_to_producer(panel->link, &released);
	}
}

bool fake_panel_pump(struct fake_panel *panel, int timeout_ms)
{
	struct pollfd fd = { .fd = link_panel_fd(panel->link), .events = POLLIN };
	struct link_message message;
	bool any = false;
	if (poll(&fd, 1, timeout_ms) > 0)
		link_ack_panel(panel->link);
	while (link_receive_for_panel(panel->link, &message)) {
		take(panel, &message);
		any = true;
	}
	return any;
}

void fake_panel_settle(struct fake_panel *panel)
{
	uint64_t quiet_since = clock_now_ns();
	while (clock_now_ns() - quiet_since < 250 * NSEC_PER_MSEC) {
		bool unread = link_room_to_producer(panel->link) < panel->room;
		if (fake_panel_pump(panel, 20) || unread)
			quiet_since = clock_now_ns();
	}
}

static bool stands(struct fake_panel *panel, uint32_t head, uint32_t width, uint32_t height)
{
	const struct link_head *shown = link_table_head(panel->table, head);
	if (!shown->buffer)
		return width == 0;
	return shown->buffer->width == width && shown->buffer->height == height;
}

bool fake_panel_wait_size(struct fake_panel *panel, uint32_t width, uint32_t height)
{
	uint64_t until = clock_now_ns() + 30 * NSEC_PER_SEC;
	while (!stands(panel, 0, width, height) || !stands(panel, 1, width, height)) {
		if (clock_now_ns() > until)
			return false;
		fake_panel_pump(panel, 50);
	}
	fake_panel_settle(panel);
	return true;
}

uint32_t *fake_panel_picture(struct fake_panel *panel, uint32_t head, uint32_t *width, uint32_t *height)
{
	const struct link_head *shown = link_table_head(panel->table, head);
	if (!shown || !shown->buffer)
		return NULL;
	const struct link_buffer *buffer = shown->buffer;
	*width = buffer->width;
	*height = buffer->height;
	uint32_t *pixels = malloc((size_t)buffer->width * buffer->height * 4);
	/* the UI's buffers are one segment each */
	const uint8_t *from = link_pixels(panel->link) + buffer->segment[0].offset + buffer->offset;
	for (uint32_t y = 0; pixels && y < buffer->height; y++)
		memcpy(pixels + (size_t)y * buffer->width, from + (size_t)y * buffer->stride, (size_t)buffer->width * 4);
	return pixels;
}

uint32_t *fake_panel_pointed_picture(struct fake_panel *panel, uint32_t *width, uint32_t *height)
{
	uint32_t *pixels = fake_panel_picture(panel, 0, width, height);
	if (!pixels || !panel->cursor.cursor.visible || !panel->cursor_image)
		return pixels;
	for (int64_t i = 0; i < LINK_CURSOR_SIDE * LINK_CURSOR_SIDE; i++) {
		int64_t x = panel->cursor.cursor.x + i % LINK_CURSOR_SIDE, y = panel->cursor.cursor.y + i / LINK_CURSOR_SIDE;
		uint32_t over = panel->cursor_image[i], clear = 255 - (over >> 24);
		if (x < 0 || y < 0 || x >= *width || y >= *height)
			continue;
		uint32_t *under = &pixels[y * *width + x], sum = 0;
		for (uint32_t shift = 0; shift < 24; shift += 8)
			sum |= ((over >> shift & 255) + (*under >> shift & 255) * clear / 255) << shift;
		*under = sum;
	}
	return pixels;
}
