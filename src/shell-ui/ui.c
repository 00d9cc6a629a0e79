#define LOG_MODULE "ui"
#include "shell-ui/ui_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <wayland-server-core.h>

#include "base/log.h"
#include "base/thread.h"

#define RETRY_MS 20 /* the panel's ring was full */
#define STATUS_PACE_NS (250 * NSEC_PER_MSEC) /* between pictures of what is known: a guest can change its screen's size, and so the card, with each of its frames */
#define CURSOR_BUFFER (HEADS * OUTPUT_SLOTS) /* behind the faces' ids, and behind their memory */

struct answer_context ui_context(const struct ui *ui)
{
	return (struct answer_context){
		.status = &ui->status,
		.hint = ui->hint,
		.toggle_key = ui->toggle_key,
		.show_key = ui->show_key,
		.hide_key = ui->hide_key,
		.pass_key = ui->pass_key,
		.way_out = ui->config.way_out,
		.up_seconds = (clock_now_ns() - ui->started_ns) / NSEC_PER_SEC,
	};
}

static void send_leds(struct ui *ui)
{
	uint32_t leds = keyboard_leds(ui->keyboard);
	struct link_message message = { .type = LINK_LEDS, .leds = { .leds = leds } };
	if (leds != ui->leds && link_send_to_panel(ui->link, &message))
		ui->leds = leds;
}

/* Makes the view and the buffers fit the size the panel told. False: the ring is full, later again. */
static bool fit_head(struct ui *ui, uint32_t index)
{
	struct ui_head *head = &ui->head[index];
	if (head->width == head->output.width && head->height == head->output.height)
		return true;
	struct view *view = NULL;
	if (head->width > 0) {
		view = index == HEAD_MAIN ? view_create_main((int)head->width, (int)head->height, ui->transcript)
			: view_create_placeholder((int)head->width, (int)head->height);
		if (!view) {
			log_error("cannot lay out %ux%u: %s", head->width, head->height, strerror(errno));
			head->width = head->output.width;
			head->height = head->output.height;
			return true;
		}
	}
	if (!output_resize(&head->output, head->width, head->height)) {
		view_destroy(view);
		return false;
	}
	view_destroy(head->view);
	head->view = view;
	if (index == HEAD_MAIN) {
		ui_pointer_resize(&ui->pointer, head->width, head->height);
		if (head->width > 0)
			cursor_scale(&ui->cursor, layout_font_size((int)head->width, (int)head->height));
	}
	return true;
}

/* The pointer as it is by now. False: the ring is full. */
static bool point(struct ui *ui)
{
	uint64_t now = clock_now_ns(), at = ui_pointer_time(&ui->pointer, now);
	/* Motion moves the time without arming the timer anew. */
	if (at != 0 && !ui->pointer_armed) {
		ui->pointer_armed = true;
		wl_event_source_timer_update(ui->pointer_timer, (int)((at - now) / NSEC_PER_MSEC) + 1);
	}
	return cursor_tell(&ui->cursor, &ui->pointer);
}

static void draw(struct ui *ui)
{
	struct answer_context context = ui_context(ui);
	context.status = &ui->pictured;
	struct view_model model = { .context = &context, .transcript = ui->transcript, .prompt = &ui->prompt };
	bool full = false;

	send_leds(ui);
	for (uint32_t i = 0; i < HEADS; i++) {
		struct ui_head *head = &ui->head[i];
		if (!fit_head(ui, i)) {
			full = true;
			continue;
		}
		if (!head->view)
			continue;
		view_update(head->view, &model);
		full |= output_draw(&head->output, view_scene(head->view)) == OUTPUT_FULL;
	}
	full |= !point(ui);
	if (full)
		wl_event_source_timer_update(ui->retry_timer, RETRY_MS);
}

static void take_display(struct ui *ui, const struct link_message *message)
{
	if (message->head >= HEADS)
		return;
	struct ui_head *head = &ui->head[message->head];
	uint32_t width = message->display.width, height = message->display.height;
	if (width == 0 || height == 0)
		width = height = 0;
	if (width > ui->max_width || height > ui->max_height) {
		log_warn("the display is larger than %ux%u: the native UI is scaled up to it", ui->max_width, ui->max_height);
		width = min_u32(width, ui->max_width);
		height = min_u32(height, ui->max_height);
	}
	head->width = width;
	head->height = height;
}

static void take_message(struct ui *ui, const struct link_message *message)
{
	switch (message->type) {
	case LINK_DISPLAY:
		take_display(ui, message);
		break;
	case LINK_INPUT:
		ui_take_input(ui, message);
		break;
	case LINK_VISIBLE:
		if (message->head >= HEADS)
			break;
		ui->head[message->head].visible = message->visible.visible != 0;
		ui_cancel_repeat(ui);
		if (message->head != HEAD_MAIN)
			break;
		ui_pointer_face(&ui->pointer, message->visible.visible != 0, clock_now_ns());
		if (!message->visible.visible) {
			keyboard_release_all(ui->keyboard);
			ui->finger.first = -1; /* lifted, as far as this side is concerned */
		}
		break;
	case LINK_PRESENTED:
		if (message->head < HEADS)
			output_presented(&ui->head[message->head].output, message->presented.sequence);
		break;
	case LINK_RELEASED:
		for (uint32_t i = 0; i < HEADS; i++)
			output_released(&ui->head[i].output, message->dead);
		break;
	default:
		break;
	}
}

static int on_link(int fd, uint32_t mask, void *data)
{
	struct ui *ui = data;
	struct link_message message;
	(void)fd;
	(void)mask;
	link_ack_producer(ui->link);
	while (link_receive_for_producer(ui->link, &message))
		take_message(ui, &message);
	draw(ui);
	return 0;
}

/* The faces show what is known by now: at once, or when the pace allows. */
static void picture_status(struct ui *ui, bool at_once)
{
	uint64_t now = clock_now_ns(), due = ui->pictured_ns + STATUS_PACE_NS;
	if (at_once || now >= due) {
		ui->pictured = ui->status;
		ui->pictured_ns = now;
		draw(ui);
	} else if (!ui->status_armed) {
		ui->status_armed = true;
		wl_event_source_timer_update(ui->status_timer, (int)((due - now) / NSEC_PER_MSEC) + 1);
	}
}

static int on_status_due(void *data)
{
	struct ui *ui = data;
	ui->status_armed = false;
	picture_status(ui, false);
	return 0;
}

static int on_status(int fd, uint32_t mask, void *data)
{
	struct ui *ui = data;
	uint64_t count;
	char text[512];
	(void)mask;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_warn("reading the status board's eventfd: %s", strerror(errno));
	enum vm_state before = ui->status.vm;
	status_board_read(ui->config.board, &ui->status);
	struct answer_context context = ui_context(ui);
	answer_vm_change(before, &context, text, sizeof(text));
	ui_say(ui, TONE_TEXT, text);
	picture_status(ui, ui->status.vm != before);
	return 0;
}

static int on_repeat(void *data)
{
	ui_repeat(data);
	draw(data);
	return 0;
}

static int on_pointer(void *data)
{
	struct ui *ui = data;
	ui->pointer_armed = false;
	draw(ui);
	return 0;
}

static int on_retry(void *data)
{
	draw(data);
	return 0;
}

static int on_stop(int fd, uint32_t mask, void *data)
{
	struct ui *ui = data;
	(void)fd;
	(void)mask;
	ui->stopping = true;
	return 0;
}

static void *ui_thread(void *data)
{
	struct ui *ui = data;
	char text[1024];

	status_board_read(ui->config.board, &ui->status);
	ui->pictured = ui->status;
	struct answer_context context = ui_context(ui);
	answer_welcome(&context, text, sizeof(text));
	ui_say(ui, TONE_TEXT, text);
	on_link(0, 0, ui);
	while (!ui->stopping) {
		if (wl_event_loop_dispatch(ui->loop, -1) < 0 && errno != EINTR) {
			log_error("the UI's event loop ended: %s", strerror(errno));
			break;
		}
	}
	return NULL;
}

static char *copy_or(const char *text, const char *otherwise)
{
	return strdup(text ? text : otherwise);
}

static bool make_memory(struct ui *ui)
{
	uint64_t slot = output_slot_size(ui->max_width, ui->max_height);
	if (slot == 0) {
		errno = EINVAL;
		return false;
	}
	uint64_t faces = slot * OUTPUT_SLOTS * HEADS;
	ui->pixels_size = faces + CURSOR_BYTES;
	ui->pixels_fd = memfd_create("rayvm-ui", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (ui->pixels_fd < 0 || ftruncate(ui->pixels_fd, (off_t)ui->pixels_size) != 0)
		return false;
	ui->pixels = mmap(NULL, ui->pixels_size, PROT_READ | PROT_WRITE, MAP_SHARED, ui->pixels_fd, 0);
	if (ui->pixels == MAP_FAILED) {
		ui->pixels = NULL;
		return false;
	}
	ui->link = link_create(ui->pixels_fd, ui->pixels_size);
	if (!ui->link)
		return false;
	for (uint32_t i = 0; i < HEADS; i++)
		output_init(&ui->head[i].output, ui->link, i, ui->pixels, i * OUTPUT_SLOTS * slot, slot);
	cursor_init(&ui->cursor, ui->link, CURSOR_BUFFER, ui->pixels, faces);
	return true;
}

static bool make_loop(struct ui *ui)
{
	ui->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ui->status_fd = status_board_subscribe(ui->config.board);
	ui->loop = wl_event_loop_create();
	if (ui->stop_fd < 0 || ui->status_fd < 0 || !ui->loop)
		return false;
	ui->repeat_timer = wl_event_loop_add_timer(ui->loop, on_repeat, ui);
	ui->retry_timer = wl_event_loop_add_timer(ui->loop, on_retry, ui);
	ui->pointer_timer = wl_event_loop_add_timer(ui->loop, on_pointer, ui);
	ui->status_timer = wl_event_loop_add_timer(ui->loop, on_status_due, ui);
	ui->source[0] = wl_event_loop_add_fd(ui->loop, ui->stop_fd, WL_EVENT_READABLE, on_stop, ui);
	ui->source[1] = wl_event_loop_add_fd(ui->loop, ui->status_fd, WL_EVENT_READABLE, on_status, ui);
	ui->source[2] = wl_event_loop_add_fd(ui->loop, link_producer_fd(ui->link), WL_EVENT_READABLE, on_link, ui);
	return ui->repeat_timer && ui->retry_timer && ui->pointer_timer && ui->status_timer && ui->source[0] && ui->source[1] && ui->source[2];
}

struct ui *ui_create(const struct ui_config *config, char *error, size_t error_size)
{
	struct ui *ui = calloc(1, sizeof(*ui));
	if (!ui) {
		snprintf(error, error_size, "no memory for the native UI");
		return NULL;
	}
	ui->config = *config;
	ui->finger.first = -1;
	ui->pixels_fd = ui->stop_fd = ui->status_fd = -1;
	ui->started_ns = clock_now_ns();
	ui->max_width = config->max_width ? config->max_width : 3840;
	ui->max_height = config->max_height ? config->max_height : 2160;
	ui->hint = config->hint ? strdup(config->hint) : NULL;
	ui->toggle_key = copy_or(config->toggle_key, "`");
	ui->show_key = copy_or(config->show_key, "F11");
	ui->hide_key = copy_or(config->hide_key, "F12");
	ui->pass_key = config->pass_key ? strdup(config->pass_key) : NULL;
	ui->transcript = transcript_create();

	struct fonts fonts;
	if (!fonts_load(&fonts, 16)) {
		snprintf(error, error_size, "the native UI finds no font: install a monospace one, e.g. apt-get install fonts-dejavu-core");
		goto fail;
	}
	fonts_unload(&fonts);
	ui->keyboard = keyboard_create();
	if (!ui->keyboard) {
		snprintf(error, error_size, "the native UI finds no keyboard layouts: apt-get install xkb-data");
		goto fail;
	}
	if (!ui->toggle_key || !ui->show_key || !ui->hide_key || !ui->transcript || !make_memory(ui) || !make_loop(ui)) {
		snprintf(error, error_size, "the native UI cannot start: %s", strerror(errno));
		goto fail;
	}
	return ui;
fail:
	ui_destroy(ui);
	return NULL;
}

struct link *ui_link(struct ui *ui)
{
	return ui->link;
}

int ui_start(struct ui *ui)
{
	ui->stopping = false;
	if (thread_start(&ui->thread, "ui", 0, ui_thread, ui) != 0)
		return -1;
	ui->running = true;
	return 0;
}

void ui_stop(struct ui *ui)
{
	if (!ui->running)
		return;
	uint64_t one = 1;
	if (write(ui->stop_fd, &one, sizeof(one)) != sizeof(one))
		log_error("cannot stop the UI's thread: %s", strerror(errno));
	pthread_join(ui->thread, NULL);
	ui->running = false;
}

void ui_destroy(struct ui *ui)
{
	if (!ui)
		return;
	ui_stop(ui);
	for (uint32_t i = 0; i < HEADS; i++) {
		view_destroy(ui->head[i].view);
		if (ui->head[i].output.link)
			output_finish(&ui->head[i].output);
	}
	for (size_t i = 0; i < ARRAY_LEN(ui->source); i++) {
		if (ui->source[i])
			wl_event_source_remove(ui->source[i]);
	}
	struct wl_event_source *timer[] = { ui->repeat_timer, ui->retry_timer, ui->pointer_timer, ui->status_timer };
	for (size_t i = 0; i < ARRAY_LEN(timer); i++) {
		if (timer[i])
			wl_event_source_remove(timer[i]);
	}
	if (ui->loop)
		wl_event_loop_destroy(ui->loop);
	if (ui->status_fd >= 0) {
		status_board_unsubscribe(ui->config.board, ui->status_fd);
		close(ui->status_fd);
	}
	if (ui->stop_fd >= 0)
		close(ui->stop_fd);
	if (ui->link)
		link_destroy(ui->link);
	if (ui->pixels)
		munmap(ui->pixels, ui->pixels_size);
	if (ui->pixels_fd >= 0)
		close(ui->pixels_fd);
	keyboard_destroy(ui->keyboard);
	transcript_destroy(ui->transcript);
	free(ui->hint);
	free(ui->toggle_key);
	free(ui->show_key);
	free(ui->hide_key);
	free(ui->pass_key);
	free(ui);
}
