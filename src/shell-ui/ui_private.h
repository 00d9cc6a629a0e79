/* The UI from inside, all of it on its thread: ui.c (thread, link, faces), ui_input.c (keys and pointer: prompt, commands, actions, answers). */
#pragma once

#include <pthread.h>

#include "shell-ui/answers.h"
#include "shell-ui/cursor.h"
#include "shell-ui/keyboard.h"
#include "shell-ui/output.h"
#include "shell-ui/pointer.h"
#include "shell-ui/prompt.h"
#include "shell-ui/transcript.h"
#include "shell-ui/ui.h"
#include "shell-ui/view.h"

#define HEADS 2
#define HEAD_MAIN 0

struct wl_event_loop;
struct wl_event_source;

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
	struct wl_event_source *repeat_timer, *retry_timer, *pointer_timer, *status_timer, *source[3];
	bool pointer_armed;
	bool stopping;
	struct keyboard *keyboard;
	struct keypress repeat; /* sym 0: none */
	uint32_t repeat_code;
	uint32_t leds;
	struct prompt prompt;
	struct transcript *transcript;
	struct run run; /* scratch */
	struct status status; /* as it is */
	struct status pictured; /* as the faces have it, which follow it at a pace */
	uint64_t pictured_ns;
	bool status_armed;
	struct ui_pointer pointer;
	struct cursor cursor;
	struct {
		int32_t slot;  /* of the finger that the next events are of */
		int32_t first; /* slot of the one that is a pointer: the first that touched; -1: none does */
		bool touched; /* it has touched with this packet */
	} finger;
	uint64_t started_ns;
	uint32_t last_key;

	struct ui_head {
		struct output output;
		struct view *view;
		uint32_t width, height; /* wanted; the output may lag behind while the ring is full */
		bool visible;
	} head[HEADS];
};

/* ui.c */
struct answer_context ui_context(const struct ui *ui);

/* ui_input.c */
/* Lines of text with switches go to the transcript one by one. */
void ui_say(struct ui *ui, enum tone tone, const char *text);
/* A key is repeated while it is held. */
void ui_repeat(struct ui *ui);
void ui_cancel_repeat(struct ui *ui);
/* One packet of LINK_INPUT. */
void ui_take_input(struct ui *ui, const struct link_message *message);
