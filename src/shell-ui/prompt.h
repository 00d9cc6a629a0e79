/* The prompt: a pure line editor with history. Positions count code points. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROMPT_MAX 1000   /* code points of one line */
#define PROMPT_HISTORY 64 /* lines remembered */

enum prompt_edit {
	PROMPT_LEFT, PROMPT_RIGHT, PROMPT_WORD_LEFT, PROMPT_WORD_RIGHT, PROMPT_HOME, PROMPT_END,
	PROMPT_BACKSPACE, PROMPT_DELETE, PROMPT_KILL_TO_END, PROMPT_KILL_TO_START, PROMPT_KILL_WORD,
	PROMPT_HISTORY_UP, PROMPT_HISTORY_DOWN, PROMPT_CLEAR,
};

struct prompt_line {
	uint32_t code[PROMPT_MAX];
	uint32_t length;
};

struct prompt {
	struct prompt_line line;
	uint32_t cursor;               /* 0..line.length */
	struct prompt_line history[PROMPT_HISTORY];
	uint32_t n_history, oldest;    /* a ring */
	uint32_t back;                 /* lines back in history; 0: the line being written */
	struct prompt_line draft;      /* that line, while history is shown */
};

/* A zeroed prompt is an empty one. */

/* False when the line is full or the code point is a control. */
bool prompt_insert(struct prompt *prompt, uint32_t code);
/* The cursor goes there; no further than the end, and not between a character and its combining marks. */
void prompt_place(struct prompt *prompt, uint32_t at);
/* True when something changed. */
bool prompt_edit(struct prompt *prompt, enum prompt_edit edit);
/*
 * Ends the line: copies it as UTF-8 to out (PROMPT_MAX * 4 + 1 bytes always suffice), remembers it unless blank or equal to the last
 * one, and empties the prompt. Returns the bytes copied without the NUL.
 */
size_t prompt_submit(struct prompt *prompt, char *out, size_t size);
/* Replaces the line with UTF-8 text, cursor at its end. */
void prompt_set(struct prompt *prompt, const char *text);
/* The line as UTF-8, without changing it. */
size_t prompt_text(const struct prompt *prompt, char *out, size_t size);
