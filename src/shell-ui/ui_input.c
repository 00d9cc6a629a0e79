#define LOG_MODULE "ui"
#include "shell-ui/ui_private.h"

#include <stdio.h>
#include <string.h>

#include <linux/input-event-codes.h>
#include <wayland-server-core.h>

#include "base/log.h"
#include "shell-ui/commands.h"

#define REPEAT_DELAY_MS 400
#define REPEAT_PERIOD_MS 33
#define WHEEL_ROWS 3

void ui_say(struct ui *ui, enum tone tone, const char *text)
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
	ui_say(ui, TONE_BAD, "The display is too busy to take this; try again.");
	return false;
}

static void press(struct ui *ui, const char *keys)
{
	uint32_t code[COMMAND_CHORD];
	char bad[40], text[400], like[120] = "";

	if (!ui->config.key_code) {
		ui_say(ui, TONE_TEXT, "Keys cannot be sent from here.");
		return;
	}
	int n = command_keys(keys, ui->config.key_code, code, bad, sizeof(bad));
	if (n < 0 && ui->config.keys_like)
		ui->config.keys_like(bad, like, sizeof(like));
	if (n < 0) {
		snprintf(text, sizeof(text), "There is no key " MARK_STRONG "%s" MARK_PLAIN " (or more than %d at once)%s" MARK_ACCENT "%s" MARK_PLAIN
			". Names are those of evdev: " MARK_ACCENT "enter" MARK_PLAIN ", " MARK_ACCENT "f5" MARK_PLAIN ", " MARK_ACCENT "grave" MARK_PLAIN ", "
			MARK_ACCENT "ctrl+alt+delete" MARK_PLAIN ".", bad, COMMAND_CHORD, like[0] ? "; near are " : "", like);
		ui_say(ui, TONE_TEXT, text);
	} else if (n == 0) {
		ui_say(ui, TONE_TEXT, "Say which key Linux shall get: " MARK_ACCENT "press grave" MARK_PLAIN ", " MARK_ACCENT "press ctrl+alt+f2"
			MARK_PLAIN ".");
	} else if (ui->status.vm != VM_RUNNING && ui->status.scanout_width == 0) {
		ui_say(ui, TONE_TEXT, "No machine is running that could get a key.");
	} else if (act(ui, LINK_ACTION_GUEST_KEY, code[n - 1], code, n - 1)) {
		snprintf(text, sizeof(text), "Linux got " MARK_ACCENT "%s" MARK_PLAIN ".", keys);
		ui_say(ui, TONE_DIM, text);
	}
}

static void run_line(struct ui *ui, const char *line)
{
	struct command command;
	struct answer_context context = ui_context(ui);
	char answer[ANSWER_MAX];
	bool sent = true;

	transcript_scroll_end(ui->transcript);
	command_parse(line, &command);
	if (command.kind == COMMAND_NOTHING)
		return;
	if (transcript_lines(ui->transcript) > 0)
		ui_say(ui, TONE_TEXT, " ");
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
		ui_say(ui, TONE_TEXT, answer);
	if (command.kind == COMMAND_STATUS && ui->last_key) {
		snprintf(answer, sizeof(answer), "     %-9s%u", "Last key", ui->last_key);
		ui_say(ui, TONE_TEXT, answer);
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

void ui_cancel_repeat(struct ui *ui)
{
	if (ui->repeat.sym == XKB_KEY_NoSymbol)
		return;
	ui->repeat.sym = XKB_KEY_NoSymbol;
	wl_event_source_timer_update(ui->repeat_timer, 0);
}

void ui_repeat(struct ui *ui)
{
	if (ui->repeat.sym == XKB_KEY_NoSymbol)
		return;
	handle_key(ui, &ui->repeat);
	wl_event_source_timer_update(ui->repeat_timer, REPEAT_PERIOD_MS);
}

static void take_key(struct ui *ui, const struct link_event *event)
{
	struct keypress key;
	bool pressed = event->value != 0;
	if (!pressed && event->code == ui->repeat_code)
		ui_cancel_repeat(ui);
	if (!keyboard_key(ui->keyboard, event->code, pressed, &key))
		return;
	ui->last_key = event->code;
	ui_cancel_repeat(ui);
	if (key.repeats) /* not Shift alone */
		ui_pointer_typed(&ui->pointer);
	handle_key(ui, &key);
	if (key.repeats && key.sym != XKB_KEY_Return && key.sym != XKB_KEY_KP_Enter) {
		ui->repeat = key;
		ui->repeat_code = event->code;
		wl_event_source_timer_update(ui->repeat_timer, REPEAT_DELAY_MS);
	}
}

/* Where the prompt is clicked its cursor goes; nothing else can be clicked. */
static void click(struct ui *ui)
{
	const struct view *view = ui->head[HEAD_MAIN].view;
	uint32_t at;
	if (view && view_prompt_at(view, &ui->prompt, ui->pointer.x, ui->pointer.y, &at))
		prompt_place(&ui->prompt, at);
}

static void take_motion(struct ui *ui, const struct link_event *event, uint64_t now)
{
	int32_t value = event->value;
	switch (event->code) {
	case REL_X:
		ui_pointer_move(&ui->pointer, value, 0, now);
		break;
	case REL_Y:
		ui_pointer_move(&ui->pointer, 0, value, now);
		break;
	case REL_WHEEL:
		ui_pointer_used(&ui->pointer, now);
		if (value > -100 && value < 100)
			transcript_scroll(ui->transcript, value * WHEEL_ROWS);
		break;
	default:
		break;
	}
}

/* A tablet, or the first finger on a touch screen: its touch is a click, where it touches. */
static void take_place(struct ui *ui, const struct link_event *event, uint64_t now)
{
	switch (event->code) {
	case ABS_MT_SLOT:
		ui->finger.slot = event->value;
		break;
	case ABS_MT_TRACKING_ID:
		if (event->value >= 0 && ui->finger.first < 0) {
			ui->finger.first = ui->finger.slot;
			ui->finger.touched = true;
		} else if (event->value < 0 && ui->finger.first == ui->finger.slot) {
			ui->finger.first = -1;
		}
		break;
	case ABS_X:
	case ABS_Y:
		ui_pointer_place(&ui->pointer, event->code == ABS_Y, event->value, now);
		break;
	case ABS_MT_POSITION_X:
	case ABS_MT_POSITION_Y:
		if (ui->finger.first == ui->finger.slot)
			ui_pointer_place(&ui->pointer, event->code == ABS_MT_POSITION_Y, event->value, now);
		break;
	default:
		break;
	}
}

static bool is_button(uint16_t code)
{
	return code >= BTN_MISC && code < KEY_OK;
}

void ui_take_input(struct ui *ui, const struct link_message *message)
{
	uint64_t now = clock_now_ns();
	uint32_t count = message->input.count;
	if (count > LINK_EVENTS_PER_MESSAGE)
		count = LINK_EVENTS_PER_MESSAGE;
	for (uint32_t i = 0; i < count; i++) {
		const struct link_event *event = &message->input.event[i];
		if (event->type == EV_REL) {
			take_motion(ui, event, now);
		} else if (event->type == EV_ABS) {
			take_place(ui, event, now);
		} else if (event->type == EV_KEY && is_button(event->code)) {
			ui_pointer_used(&ui->pointer, now);
			if (event->code == BTN_LEFT && event->value == 1)
				click(ui);
		} else if (event->type == EV_KEY && event->value <= 1) { /* repeat is our own */
			take_key(ui, event);
		}
	}
	if (ui->finger.touched)
		click(ui);
	ui->finger.touched = false;
}
