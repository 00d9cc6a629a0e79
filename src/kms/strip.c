#include "kms/strip.h"

#include <stdio.h>
#include <string.h>

#include "kms/letterbox.h"
#include "kms/letters.h"

#define ROWS 14u /* pixels of the font; even, so that the rest of most modes is */
#define MOST 4u  /* part of the screen's height, at most */
#define MARGIN 4u
#define INK 0xffffffu
#define PAPER_HOST 0x1d6b3au  /* green: the host's own */
#define PAPER_GUEST 0xa63a00u /* orange */

struct strip_layout strip_layout(enum panel_strip where, uint32_t width, uint32_t height)
{
	uint32_t rows = where == PANEL_STRIP_OFF ? 0 : min_u32(ROWS * letters_scale(height), height / MOST);
	uint32_t y = where == PANEL_STRIP_TOP ? rows : 0;
	return (struct strip_layout){
		.strip = rows ? (struct rect){0, where == PANEL_STRIP_TOP ? 0 : height - rows, width, rows} : (struct rect){0},
		.content = {0, y, width, height - rows},
	};
}

struct blit_target strip_part(const struct blit_target *target, struct rect part)
{
	return (struct blit_target){target->pixels + (uint64_t)part.y * target->pitch + (uint64_t)part.x * 4, target->pitch, part.w, part.h};
}

struct rect strip_letterbox(enum panel_strip where, uint32_t source_w, uint32_t source_h, uint32_t width, uint32_t height)
{
	struct rect content = strip_layout(where, width, height).content, at = letterbox(source_w, source_h, content.w, content.h);
	if (rect_empty(&at))
		return at;
	return (struct rect){at.x + content.x, at.y + content.y, at.w, at.h};
}

void strip_write(char *text, size_t size, enum panel_face face, const char *show_key, const char *hide_key)
{
	static const char *const said[] = {
		[PANEL_FACE_GUEST] = "GUEST. %s: BACK TO THE HOST. GUEST MAIN: LINUX DRAWS THE REST",
		[PANEL_FACE_PLACEHOLDER] = "HOST. %s: BACK. GUEST MAIN HAS NO PICTURE",
		[PANEL_FACE_UI] = "HOST. %s: GUEST MAIN. RAYVM DRAWS THIS SCREEN",
	};
	if (face > PANEL_FACE_GUEST)
		face = PANEL_FACE_GUEST;
	/* The key comes early: a narrow panel cuts the end. The one of a chord that acts is its last, and the letters have no backtick. */
	const char *key = face == PANEL_FACE_UI ? show_key : hide_key, *rest = strstr(said[face], "%s");
	size_t length = strlen(key);
	bool tick = length > 0 && key[length - 1] == '`';
	snprintf(text, size, "%.*s%.*s%s%s", (int)(rest - said[face]), said[face], (int)(length - tick), key, tick ? "BACKTICK" : "", rest + 2);
	for (char *c = text; *c != '\0'; c++)
		*c = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c == '_' ? '-' : *c;
}

void strip_draw(const struct blit_target *strip, bool guests, const char *text)
{
	uint32_t scale = max_u32(strip->height / ROWS, 1), paper = guests ? PAPER_GUEST : PAPER_HOST;
	uint32_t top = strip->height > LETTER_HEIGHT * scale ? (strip->height - LETTER_HEIGHT * scale) / 2 : 0;
	size_t length = strlen(text);
	for (uint32_t y = 0; y < strip->height; y++) {
		uint32_t *row = (uint32_t *)(void *)(strip->pixels + (uint64_t)y * strip->pitch);
		for (uint32_t x = 0; x < strip->width; x++) {
			uint32_t column = x / scale, letter = column < MARGIN ? UINT32_MAX : (column - MARGIN) / LETTER_CELL;
			bool ink = letter < length && y >= top && letters_ink(text[letter], (column - MARGIN) % LETTER_CELL, (y - top) / scale);
			row[x] = ink ? INK : paper;
		}
	}
}
