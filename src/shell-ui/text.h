/* Fonts and the cell grid: every text of the UI stands on cells of one size, so that layout and damage are whole numbers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pixman.h>

/* What a colour is for; theme_colour() says what it looks like. */
enum tone {
	TONE_BACK,   /* the screen */
	TONE_CARD,   /* a raised area */
	TONE_LINE,   /* rules and borders */
	TONE_TEXT,
	TONE_STRONG, /* names, headings */
	TONE_DIM,    /* explanations */
	TONE_FAINT,  /* hints at the edge */
	TONE_ACCENT, /* what can be typed or pressed */
	TONE_INPUT,  /* what was typed */
	TONE_GOOD,
	TONE_BUSY,
	TONE_BAD,
	TONES,
};

/* 0x00RRGGBB */
uint32_t theme_colour(enum tone tone);

/* One cell of text. A wide character has a second cell with CELL_TAIL and no code point. */
struct cell {
	uint32_t code;  /* code point; 0: blank */
	uint8_t tone;   /* enum tone */
	uint8_t back;   /* enum tone, drawn where CELL_FILLED is set */
	uint8_t flags;
};
enum { CELL_BOLD = 1, CELL_FILLED = 2, CELL_TAIL = 4 };

struct fcft_font;

struct fonts {
	struct fcft_font *regular, *bold;
	int size;   /* pixels asked for */
	int width;  /* of a cell, pixels */
	int height; /* of a cell: line height with its leading, pixels */
	int baseline; /* pixels below the cell's top */
};

/* Loads the monospace fonts at this pixel size. False when fontconfig finds none. Any thread. */
bool fonts_load(struct fonts *fonts, int size);
void fonts_unload(struct fonts *fonts);

/*
 * Draws the glyph of a cell whose top left corner is (x, y) into target, under the target's clip. No pixel is touched further than one
 * cell width from the cell's own columns, nor outside its line: damage relies on it.
 */
void fonts_draw(const struct fonts *fonts, pixman_image_t *target, pixman_image_t *colour, const struct cell *cell, int x, int y);

/* Decodes one code point of s[0..n); n > 0. Bad bytes give U+FFFD and consume one byte. Returns the bytes consumed. */
size_t utf8_decode(const char *s, size_t n, uint32_t *code);
/* Encodes into out[4]; returns the bytes written. What is not a code point becomes U+FFFD. */
size_t utf8_encode(uint32_t code, char out[4]);
/* Cells a code point takes: 0 (combining, not drawn), 1 or 2. Independent of the locale. */
int code_width(uint32_t code);
/* A code point that may be drawn: controls and surrogates become U+FFFD. */
uint32_t code_printable(uint32_t code);

#define RUN_CELLS 4096

/* A growing line of cells, cut at RUN_CELLS. */
struct run {
	struct cell cell[RUN_CELLS];
	size_t n;
	uint8_t tone; /* of what is appended */
	uint8_t flags;
	uint8_t indent; /* cells: where the rows begin that it is wrapped to, the first one apart */
};

void run_reset(struct run *run, enum tone tone);
/*
 * Appends UTF-8 text. Bytes 1..7 (MARK_*) switch the style: MARK_PLAIN back to the tone the run was reset to. Other controls
 * are shown as U+FFFD (MARK_INDENT apart), a tab as blanks to the next multiple of 8 cells; it ends at NUL or a newline.
 */
void run_markup(struct run *run, const char *text);
/* The same without switches: for text of unknown origin. */
void run_text(struct run *run, const char *text);
void run_code(struct run *run, uint32_t code);

#define MARK_PLAIN "\001"
#define MARK_STRONG "\002"
#define MARK_ACCENT "\003"
#define MARK_DIM "\004"
#define MARK_GOOD "\005"
#define MARK_BUSY "\006"
#define MARK_BAD "\007"
#define MARK_INDENT "\010" /* when the line is wrapped, its further rows begin below this place */
