#define LOG_MODULE "ui"
#include "shell-ui/ui.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/input-event-codes.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <wayland-server-core.h>

#include "base/log.h"
#include "base/thread.h"
#include "shell-ui/answers.h"
#include "shell-ui/commands.h"
#include "shell-ui/keyboard.h"
#include "shell-ui/output.h"
#include "shell-ui/prompt.h"
#include "shell-ui/transcript.h"
#include "shell-ui/view.h"

#define HEADS 2
#define HEAD_MAIN 0
#define REPEAT_DELAY_MS 400
#define REPEAT_PERIOD_MS 33
#define RETRY_MS 20 /* the panel's ring was full */
#define WHEEL_ROWS 3

struct ui {
	struct ui_config config;
	char *hint, *toggle_key, *show_key, *hide_key, *pass_key;
	uint32_t max_width, max_height;

	int pixels_fd;
	uint8_t *pixels;
	uint64_t pixels_size;
	struct link *link;

	pthread_t thread;
	bool running;
	int stop_fd, status_fd;

	/* the thread's own */
	struct wl_event_loop *loop;
	struct wl_event_source *repeat_timer, *retry_timer, *source[3];
	bool stopping;
	struct keyboard *keyboard;
	struct keypress repeat; /* sym 0: none */
	uint32_t repeat_code;
	uint32_t leds;
	struct prompt prompt;
	struct transcript *transcript;
	struct run run; /* scratch */
	struct status status;
	uint64_t started_ns;
	uint32_t last_key;

	struct head {
		struct output output;
		struct view *view;
		uint32_t width, height; /* wanted; the output may lag behind while the ring is full */
		bool visible;
	} head[HEADS];
};

static struct answer_context context_of(const struct ui *ui)
{
	return (struct answer_context){
		.status = &ui->status,
		.hint = ui->hint,
		.toggle_key = ui->toggle_key,
		.show_key = ui->show_key,
		.hide_key = ui->hide_key,
		.pass_key = ui->pass_key,
		.up_seconds = (clock_now_ns() - ui->started_ns) / NSEC_PER_SEC,
	};
}

/* Lines of text with switches go to the transcript one by one. */
static void say(struct ui *ui, enum tone tone, const char *text)
{
	while (*text) {
		run_reset(&ui->run, tone);
		run_markup(&ui->run, text);
		if (!transcript_add(ui->transcript, &ui->run))
			log_warn("no memory for a line of the transcript");
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
}

/* Sends the action; says so where the panel does not take it. */
static bool act(struct ui *ui, enum link_action action, uint32_t argument, const uint32_t *held, int n_held)
{
	struct link_message message = { .type = LINK_ACTION, .action = { .action = action, .argument = argument } };
	for (int i = 0; i < n_held && i < (int)ARRAY_LEN(message.action.held); i++)
		message.action.held[i] = held[i];
	if (link_send_to_panel(ui->link, &message))
		return true;
	say(ui, TONE_BAD, "The display is too busy to take this; try again.");
	return false;
}

static void press(struct ui *ui, const char *keys)
{
	uint32_t code[COMMAND_CHORD];
	char bad[40], text[400], like[120] = "";

	if (!ui->config.key_code) {
		say(ui, TONE_TEXT, "Keys cannot be sent from here.");
		return;
	}
	int n = command_keys(keys, ui->config.key_code, code, bad, sizeof(bad));
	if (n < 0 && ui->config.keys_like)
		ui->config.keys_like(bad, like, sizeof(like));
	if (n < 0) {
		snprintf(text, sizeof(text), "There is no key " MARK_STRONG "%s" MARK_PLAIN " (or more than %d at once)%s" MARK_ACCENT "%s" MARK_PLAIN
			". Names are those of evdev: " MARK_ACCENT "enter" MARK_PLAIN ", " MARK_ACCENT "f5" MARK_PLAIN ", " MARK_ACCENT "grave" MARK_PLAIN ", "
			MARK_ACCENT "ctrl+alt+delete" MARK_PLAIN ".", bad, COMMAND_CHORD, like[0] ? "; near are " : "", like);
		say(ui, TONE_TEXT, text);
	} else if (n == 0) {
		say(ui, TONE_TEXT, "Say which key Linux shall get: " MARK_ACCENT "press grave" MARK_PLAIN ", " MARK_ACCENT "press ctrl+alt+f2"
			MARK_PLAIN ".");
	} else if (ui->status.vm != VM_RUNNING && ui->status.scanout_width == 0) {
		say(ui, TONE_TEXT, "No machine is running that could get a key.");
	} else if (act(ui, LINK_ACTION_GUEST_KEY, code[n - 1], code, n - 1)) {
		snprintf(text, sizeof(text), "Linux got " MARK_ACCENT "%s" MARK_PLAIN ".", keys);
		say(ui, TONE_DIM, text);
	}
}

static void run_line(struct ui *ui, const char *line)
{
	struct command command;
	struct answer_context context = context_of(ui);
	char answer[ANSWER_MAX];
	bool sent = true;

	transcript_scroll_end(ui->transcript);
	command_parse(line, &command);
	if (command.kind == COMMAND_NOTHING)
		return;
	if (transcript_lines(ui->transcript) > 0)
		say(ui, TONE_TEXT, " ");
	run_reset(&ui->run, TONE_INPUT);
	run_text(&ui->run, "> ");
	ui->run.indent = 2;
	run_text(&ui->run, line);
	transcript_add(ui->transcript, &ui->run);

	/* The answer tells of the state before the action. */
	answer_command(&command, &context, answer, sizeof(answer));
	switch (command.kind) {
	case COMMAND_SHOW:
		sent = act(ui, LINK_ACTION_SHOW, 0, NULL, 0);
		break;
	case COMMAND_HIDE:
		sent = act(ui, LINK_ACTION_HIDE, 0, NULL, 0);
		break;
	case COMMAND_TOGGLE:
		sent = act(ui, LINK_ACTION_TOGGLE, 0, NULL, 0);
		break;
	case COMMAND_VM:
		sent = act(ui, LINK_ACTION_VM, command.vm, NULL, 0);
		break;
	case COMMAND_PRESS:
		press(ui, command.text);
		break;
	case COMMAND_CLEAR:
		transcript_clear(ui->transcript);
		break;
	default:
		break;
	}
	if (sent)
		say(ui, TONE_TEXT, answer);
	if (command.kind == COMMAND_STATUS && ui->last_key) {
		snprintf(answer, sizeof(answer), "     %-9s%u", "Last key", ui->last_key);
		say(ui, TONE_TEXT, answer);
	}
}

static void complete(struct ui *ui)
{
	char text[PROMPT_MAX * 4 + 1];
	prompt_text(&ui->prompt, text, sizeof(text));
	const char *whole = command_complete(text);
	if (whole)
		prompt_set(&ui->prompt, whole);
}

static int page(const struct ui *ui)
{
	const struct view *view = ui->head[HEAD_MAIN].view;
	int rows = view ? view_layout(view)->rows : 10;
	return rows > 2 ? rows - 1 : 1;
}

/* Editing with Ctrl, as every shell has it. True when the key has a meaning. */
static bool control_key(struct ui *ui, xkb_keysym_t sym)
{
	static const struct {
		xkb_keysym_t sym;
		enum prompt_edit edit;
	} edits[] = {
		{ XKB_KEY_a, PROMPT_HOME }, { XKB_KEY_e, PROMPT_END }, { XKB_KEY_u, PROMPT_KILL_TO_START }, { XKB_KEY_k, PROMPT_KILL_TO_END },
		{ XKB_KEY_w, PROMPT_KILL_WORD }, { XKB_KEY_b, PROMPT_LEFT }, { XKB_KEY_f, PROMPT_RIGHT }, { XKB_KEY_d, PROMPT_DELETE },
		{ XKB_KEY_h, PROMPT_BACKSPACE }, { XKB_KEY_p, PROMPT_HISTORY_UP }, { XKB_KEY_n, PROMPT_HISTORY_DOWN }, { XKB_KEY_c, PROMPT_CLEAR },
		{ XKB_KEY_Left, PROMPT_WORD_LEFT }, { XKB_KEY_Right, PROMPT_WORD_RIGHT }, { XKB_KEY_BackSpace, PROMPT_KILL_WORD },
	};
	for (size_t i = 0; i < ARRAY_LEN(edits); i++) {
		if (edits[i].sym == sym) {
			prompt_edit(&ui->prompt, edits[i].edit);
			return true;
		}
	}
	switch (sym) {
	case XKB_KEY_l:
		transcript_clear(ui->transcript);
		return true;
	case XKB_KEY_Home:
		transcript_scroll(ui->transcript, TRANSCRIPT_LINES * RUN_CELLS);
		return true;
	case XKB_KEY_End:
		transcript_scroll_end(ui->transcript);
		return true;
	default:
		return false;
	}
}

static void handle_key(struct ui *ui, const struct keypress *key)
{
	static const struct {
		xkb_keysym_t sym;
		enum prompt_edit edit;
	} edits[] = {
		{ XKB_KEY_Left, PROMPT_LEFT }, { XKB_KEY_Right, PROMPT_RIGHT }, { XKB_KEY_Home, PROMPT_HOME }, { XKB_KEY_End, PROMPT_END },
		{ XKB_KEY_BackSpace, PROMPT_BACKSPACE }, { XKB_KEY_Delete, PROMPT_DELETE }, { XKB_KEY_Up, PROMPT_HISTORY_UP },
		{ XKB_KEY_Down, PROMPT_HISTORY_DOWN }, { XKB_KEY_Escape, PROMPT_CLEAR }, { XKB_KEY_KP_Left, PROMPT_LEFT },
		{ XKB_KEY_KP_Right, PROMPT_RIGHT }, { XKB_KEY_KP_Home, PROMPT_HOME }, { XKB_KEY_KP_End, PROMPT_END },
		{ XKB_KEY_KP_Delete, PROMPT_DELETE }, { XKB_KEY_KP_Up, PROMPT_HISTORY_UP }, { XKB_KEY_KP_Down, PROMPT_HISTORY_DOWN },
	};
	if (key->control) {
		control_key(ui, key->sym);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(edits); i++) {
		if (edits[i].sym == key->sym) {
			prompt_edit(&ui->prompt, edits[i].edit);
			return;
		}
	}
	switch (key->sym) {
	case XKB_KEY_Return:
	case XKB_KEY_KP_Enter: {
		char line[PROMPT_MAX * 4 + 1];
		prompt_submit(&ui->prompt, line, sizeof(line));
		run_line(ui, line);
		break;
	}
	case XKB_KEY_Tab:
		complete(ui);
		break;
	case XKB_KEY_Page_Up:
	case XKB_KEY_KP_Page_Up:
		transcript_scroll(ui->transcript, page(ui));
		break;
	case XKB_KEY_Page_Down:
	case XKB_KEY_KP_Page_Down:
		transcript_scroll(ui->transcript, -page(ui));
		break;
	default:
		if (!key->alt)
			prompt_insert(&ui->prompt, key->code);
		break;
	}
}

static void cancel_repeat(struct ui *ui)
{
	if (ui->repeat.sym == XKB_KEY_NoSymbol)
		return;
	ui->repeat.sym = XKB_KEY_NoSymbol;
	wl_event_source_timer_update(ui->repeat_timer, 0);
}

static void take_input(struct ui *ui, const struct link_message *message)
{
	uint32_t count = message->input.count;
	if (count > LINK_EVENTS_PER_MESSAGE)
		count = LINK_EVENTS_PER_MESSAGE;
	for (uint32_t i = 0; i < count; i++) {
		const struct link_event *event = &message->input.event[i];
		if (event->type == EV_REL && event->code == REL_WHEEL && event->value > -100 && event->value < 100)
			transcript_scroll(ui->transcript, event->value * WHEEL_ROWS);
		if (event->type != EV_KEY || event->value > 1) /* repeat is our own */
			continue;
		struct keypress key;
		bool pressed = event->value != 0;
		if (!pressed && event->code == ui->repeat_code)
			cancel_repeat(ui);
		if (!keyboard_key(ui->keyboard, event->code, pressed, &key))
			continue;
		ui->last_key = event->code;
		cancel_repeat(ui);
		handle_key(ui, &key);
		if (key.repeats && key.sym != XKB_KEY_Return && key.sym != XKB_KEY_KP_Enter) {
			ui->repeat = key;
			ui->repeat_code = event->code;
			wl_event_source_timer_update(ui->repeat_timer, REPEAT_DELAY_MS);
		}
	}
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
	struct head *head = &ui->head[index];
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
	return true;
}

static void draw(struct ui *ui)
{
	struct answer_context context = context_of(ui);
	struct view_model model = { .context = &context, .transcript = ui->transcript, .prompt = &ui->prompt };
	bool full = false;

	send_leds(ui);
	for (uint32_t i = 0; i < HEADS; i++) {
		struct head *head = &ui->head[i];
		if (!fit_head(ui, i)) {
			full = true;
			continue;
		}
		if (!head->view)
			continue;
		view_update(head->view, &model);
		full |= output_draw(&head->output, view_scene(head->view)) == OUTPUT_FULL;
	}
	if (full)
		wl_event_source_timer_update(ui->retry_timer, RETRY_MS);
}

static void take_display(struct ui *ui, const struct link_message *message)
{
	if (message->head >= HEADS)
		return;
	struct head *head = &ui->head[message->head];
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
		take_input(ui, message);
		break;
	case LINK_VISIBLE:
		if (message->head >= HEADS)
			break;
		ui->head[message->head].visible = message->visible.visible != 0;
		cancel_repeat(ui);
		if (message->head == HEAD_MAIN && !message->visible.visible)
			keyboard_release_all(ui->keyboard);
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
	struct answer_context context = context_of(ui);
	answer_vm_change(before, &context, text, sizeof(text));
	say(ui, TONE_TEXT, text);
	draw(ui);
	return 0;
}

static int on_repeat(void *data)
{
	struct ui *ui = data;
	if (ui->repeat.sym == XKB_KEY_NoSymbol)
		return 0;
	handle_key(ui, &ui->repeat);
	wl_event_source_timer_update(ui->repeat_timer, REPEAT_PERIOD_MS);
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
	struct answer_context context = context_of(ui);
	answer_welcome(&context, text, sizeof(text));
	say(ui, TONE_TEXT, text);
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
	ui->pixels_size = slot * OUTPUT_SLOTS * HEADS;
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
	ui->source[0] = wl_event_loop_add_fd(ui->loop, ui->stop_fd, WL_EVENT_READABLE, on_stop, ui);
	ui->source[1] = wl_event_loop_add_fd(ui->loop, ui->status_fd, WL_EVENT_READABLE, on_status, ui);
	ui->source[2] = wl_event_loop_add_fd(ui->loop, link_producer_fd(ui->link), WL_EVENT_READABLE, on_link, ui);
	return ui->repeat_timer && ui->retry_timer && ui->source[0] && ui->source[1] && ui->source[2];
}

struct ui *ui_create(const struct ui_config *config, char *error, size_t error_size)
{
	struct ui *ui = calloc(1, sizeof(*ui));
	if (!ui) {
		snprintf(error, error_size, "no memory for the native UI");
		return NULL;
	}
	ui->config = *config;
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
	if (ui->repeat_timer)
		wl_event_source_remove(ui->repeat_timer);
	if (ui->retry_timer)
		wl_event_source_remove(ui->retry_timer);
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
