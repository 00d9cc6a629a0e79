#include "shell-ui/prompt.h"

#include <string.h>

#include "shell-ui/text.h"

bool prompt_insert(struct prompt *prompt, uint32_t code)
{
	struct prompt_line *line = &prompt->line;
	if (line->length >= PROMPT_MAX || code != code_printable(code) || code == 0)
		return false;
	memmove(&line->code[prompt->cursor + 1], &line->code[prompt->cursor],
		(line->length - prompt->cursor) * sizeof(line->code[0]));
	line->code[prompt->cursor++] = code;
	line->length++;
	return true;
}

static bool erase(struct prompt *prompt, uint32_t from, uint32_t to)
{
	struct prompt_line *line = &prompt->line;
	if (from >= to || to > line->length)
		return false;
	memmove(&line->code[from], &line->code[to], (line->length - to) * sizeof(line->code[0]));
	line->length -= to - from;
	prompt->cursor = from;
	return true;
}

static uint32_t word_left(const struct prompt *prompt)
{
	uint32_t at = prompt->cursor;
	while (at > 0 && prompt->line.code[at - 1] == ' ')
		at--;
	while (at > 0 && prompt->line.code[at - 1] != ' ')
		at--;
	return at;
}

static uint32_t word_right(const struct prompt *prompt)
{
	uint32_t at = prompt->cursor;
	while (at < prompt->line.length && prompt->line.code[at] == ' ')
		at++;
	while (at < prompt->line.length && prompt->line.code[at] != ' ')
		at++;
	return at;
}

/* Combining marks are drawn on the character before them: the cursor steps over both. */
static uint32_t step_left(const struct prompt *prompt)
{
	uint32_t at = prompt->cursor;
	while (at > 0 && code_width(prompt->line.code[--at]) == 0)
		;
	return at;
}

static uint32_t step_right(const struct prompt *prompt)
{
	uint32_t at = prompt->cursor, length = prompt->line.length;
	if (at < length)
		at++;
	while (at < length && code_width(prompt->line.code[at]) == 0)
		at++;
	return at;
}

static bool move_to(struct prompt *prompt, uint32_t at)
{
	bool moved = prompt->cursor != at;
	prompt->cursor = at;
	return moved;
}

void prompt_place(struct prompt *prompt, uint32_t at)
{
	const struct prompt_line *line = &prompt->line;
	at = at < line->length ? at : line->length;
	while (at < line->length && code_width(line->code[at]) == 0)
		at++;
	prompt->cursor = at;
}

static bool go_back(struct prompt *prompt, uint32_t back)
{
	if (back > prompt->n_history || back == prompt->back)
		return false;
	if (prompt->back == 0)
		prompt->draft = prompt->line;
	prompt->back = back;
	prompt->line = back == 0 ? prompt->draft
		: prompt->history[(prompt->oldest + prompt->n_history - back) % PROMPT_HISTORY];
	prompt->cursor = prompt->line.length;
	return true;
}

bool prompt_edit(struct prompt *prompt, enum prompt_edit edit)
{
	uint32_t at = prompt->cursor, length = prompt->line.length;
	switch (edit) {
	case PROMPT_LEFT:
		return move_to(prompt, step_left(prompt));
	case PROMPT_RIGHT:
		return move_to(prompt, step_right(prompt));
	case PROMPT_WORD_LEFT:
		return move_to(prompt, word_left(prompt));
	case PROMPT_WORD_RIGHT:
		return move_to(prompt, word_right(prompt));
	case PROMPT_HOME:
		return move_to(prompt, 0);
	case PROMPT_END:
		return move_to(prompt, length);
	case PROMPT_BACKSPACE:
		return erase(prompt, step_left(prompt), at);
	case PROMPT_DELETE:
		return erase(prompt, at, step_right(prompt));
	case PROMPT_KILL_TO_END:
		return erase(prompt, at, length);
	case PROMPT_KILL_TO_START:
		return erase(prompt, 0, at);
	case PROMPT_KILL_WORD:
		return erase(prompt, word_left(prompt), at);
	case PROMPT_HISTORY_UP:
		return go_back(prompt, prompt->back + 1);
	case PROMPT_HISTORY_DOWN:
		return prompt->back > 0 && go_back(prompt, prompt->back - 1);
	case PROMPT_CLEAR:
		prompt->back = 0;
		return erase(prompt, 0, length);
	}
	return false;
}

size_t prompt_text(const struct prompt *prompt, char *out, size_t size)
{
	size_t n = 0;
	for (uint32_t i = 0; i < prompt->line.length; i++) {
		char bytes[4];
		size_t length = utf8_encode(prompt->line.code[i], bytes);
		if (n + length >= size)
			break;
		memcpy(out + n, bytes, length);
		n += length;
	}
	if (size > 0)
		out[n] = '\0';
	return n;
}

static bool blank(const struct prompt_line *line)
{
	for (uint32_t i = 0; i < line->length; i++) {
		if (line->code[i] != ' ')
			return false;
	}
	return true;
}

static bool same(const struct prompt_line *a, const struct prompt_line *b)
{
	return a->length == b->length && memcmp(a->code, b->code, a->length * sizeof(a->code[0])) == 0;
}

size_t prompt_submit(struct prompt *prompt, char *out, size_t size)
{
	size_t n = prompt_text(prompt, out, size);
	const struct prompt_line *last = prompt->n_history == 0 ? NULL
		: &prompt->history[(prompt->oldest + prompt->n_history - 1) % PROMPT_HISTORY];
	if (!blank(&prompt->line) && (!last || !same(last, &prompt->line))) {
		if (prompt->n_history == PROMPT_HISTORY) {
			prompt->oldest = (prompt->oldest + 1) % PROMPT_HISTORY;
			prompt->n_history--;
		}
		prompt->history[(prompt->oldest + prompt->n_history++) % PROMPT_HISTORY] = prompt->line;
	}
	prompt->line.length = 0;
	prompt->cursor = 0;
	prompt->back = 0;
	return n;
}

void prompt_set(struct prompt *prompt, const char *text)
{
	prompt->line.length = 0;
	prompt->cursor = 0;
	size_t left = strlen(text);
	while (left > 0) {
		uint32_t code;
		size_t used = utf8_decode(text, left, &code);
		prompt_insert(prompt, code);
		text += used;
		left -= used;
	}
}
