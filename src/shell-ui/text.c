#include "shell-ui/text.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <fcft/fcft.h>

/* Tango's hues on a near-black of its aluminium greys. */
uint32_t theme_colour(enum tone tone)
{
	static const uint32_t colours[TONES] = {
		[TONE_BACK] = 0x14171a,
		[TONE_CARD] = 0x1c2125,
		[TONE_LINE] = 0x30373d,
		[TONE_TEXT] = 0xd3d7cf,
		[TONE_STRONG] = 0xeeeeec,
		[TONE_DIM] = 0x9aa1a0,
		[TONE_FAINT] = 0x6c7475,
		[TONE_ACCENT] = 0x8fb4dd,
		[TONE_INPUT] = 0xfcc870,
		[TONE_GOOD] = 0x8ad05a,
		[TONE_BUSY] = 0xfcaf3e,
		[TONE_BAD] = 0xf2635f,
	};
	return tone < TONES ? colours[tone] : colours[TONE_TEXT];
}

static void start_fcft(void)
{
	fcft_init(FCFT_LOG_COLORIZE_NEVER, false, FCFT_LOG_CLASS_NONE);
}

bool fonts_load(struct fonts *fonts, int size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, start_fcft);

	memset(fonts, 0, sizeof(*fonts));
	if (size < 6)
		size = 6;
	char regular[64], bold[64];
	snprintf(regular, sizeof(regular), "pixelsize=%d", size);
	snprintf(bold, sizeof(bold), "pixelsize=%d:weight=bold", size);
	const char *names[] = { "monospace" };
	fonts->regular = fcft_from_name(1, names, regular);
	if (!fonts->regular)
		return false;
	fonts->bold = fcft_from_name(1, names, bold);
	if (!fonts->bold)
		fonts->bold = fcft_clone(fonts->regular);
	if (!fonts->bold) {
		fonts_unload(fonts);
		return false;
	}
	const struct fcft_glyph *glyph = fcft_rasterize_char_utf32(fonts->regular, 'M', FCFT_SUBPIXEL_NONE);
	fonts->size = size;
	fonts->width = glyph && glyph->advance.x > 0 ? glyph->advance.x : fonts->regular->max_advance.x;
	if (fonts->width < 1)
		fonts->width = size / 2;
	int inner = fonts->regular->ascent + fonts->regular->descent;
	if (inner < size)
		inner = size;
	int leading = (inner * 18 + 50) / 100; /* reading text wants air between its lines */
	fonts->height = inner + leading;
	fonts->baseline = leading / 2 + fonts->regular->ascent;
	return true;
}

void fonts_unload(struct fonts *fonts)
{
	if (fonts->regular)
		fcft_destroy(fonts->regular);
	if (fonts->bold)
		fcft_destroy(fonts->bold);
	memset(fonts, 0, sizeof(*fonts));
}

void fonts_draw(const struct fonts *fonts, pixman_image_t *target, pixman_image_t *colour, const struct cell *cell, int x, int y)
{
	if (cell->code == 0 || cell->code == ' ' || (cell->flags & CELL_TAIL))
		return;
	struct fcft_font *font = cell->flags & CELL_BOLD ? fonts->bold : fonts->regular;
	const struct fcft_glyph *glyph = fcft_rasterize_char_utf32(font, cell->code, FCFT_SUBPIXEL_NONE);
	if (!glyph || !glyph->pix)
		return;

	int columns = code_width(cell->code);
	int left = x + glyph->x, right = left + glyph->width;
	int top = y + fonts->baseline - glyph->y, bottom = top + glyph->height;
	int min_x = x - fonts->width, max_x = x + (columns + 1) * fonts->width;
	int from_x = left < min_x ? min_x - left : 0, from_y = top < y ? y - top : 0;
	if (right > max_x)
		right = max_x;
	if (bottom > y + fonts->height)
		bottom = y + fonts->height;
	left += from_x;
	top += from_y;
	if (left >= right || top >= bottom)
		return;

	pixman_format_code_t format = pixman_image_get_format(glyph->pix);
	if (PIXMAN_FORMAT_TYPE(format) == PIXMAN_TYPE_A)
		pixman_image_composite32(PIXMAN_OP_OVER, colour, glyph->pix, target, 0, 0, from_x, from_y, left, top,
			right - left, bottom - top);
	else /* a coloured glyph is its own picture */
		pixman_image_composite32(PIXMAN_OP_OVER, glyph->pix, NULL, target, from_x, from_y, 0, 0, left, top,
			right - left, bottom - top);
}

size_t utf8_decode(const char *s, size_t n, uint32_t *code)
{
	const uint8_t *b = (const uint8_t *)s;
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length;
	uint32_t value;

	*code = 0xfffd;
	if (b[0] < 0x80) {
		*code = b[0];
		return 1;
	} else if ((b[0] & 0xe0) == 0xc0) {
		length = 2;
		value = b[0] & 0x1f;
	} else if ((b[0] & 0xf0) == 0xe0) {
		length = 3;
		value = b[0] & 0x0f;
	} else if ((b[0] & 0xf8) == 0xf0) {
		length = 4;
		value = b[0] & 0x07;
	} else {
		return 1;
	}
	if (length > n)
		return 1;
	for (size_t i = 1; i < length; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 1;
		value = value << 6 | (b[i] & 0x3f);
	}
	if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 1;
	*code = value;
	return length;
}

size_t utf8_encode(uint32_t code, char out[4])
{
	if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		code = 0xfffd;
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

struct range {
	uint32_t first, last;
};

static bool in_ranges(const struct range *range, size_t n, uint32_t code)
{
	for (size_t i = 0; i < n; i++) {
		if (code >= range[i].first && code <= range[i].last)
			return true;
	}
	return false;
}

/* Blocks of Unicode's East Asian Width W/F and of combining marks; libc's wcwidth() would need a UTF-8 locale. */
int code_width(uint32_t code)
{
	static const struct range none[] = {
		{ 0x0300, 0x036f }, { 0x0483, 0x0489 }, { 0x0591, 0x05bd }, { 0x0610, 0x061a }, { 0x064b, 0x065f },
		{ 0x1ab0, 0x1aff }, { 0x1dc0, 0x1dff }, { 0x200b, 0x200f }, { 0x202a, 0x202e }, { 0x2060, 0x2064 },
		{ 0x20d0, 0x20ff }, { 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f }, { 0xfeff, 0xfeff }, { 0xe0100, 0xe01ef },
	};
	static const struct range wide[] = {
		{ 0x1100, 0x115f }, { 0x2e80, 0x303e }, { 0x3041, 0x33ff }, { 0x3400, 0x4dbf }, { 0x4e00, 0x9fff },
		{ 0xa000, 0xa4cf }, { 0xac00, 0xd7a3 }, { 0xf900, 0xfaff }, { 0xfe30, 0xfe6f }, { 0xff00, 0xff60 },
		{ 0xffe0, 0xffe6 }, { 0x1f300, 0x1f64f }, { 0x1f680, 0x1f6ff }, { 0x1f900, 0x1f9ff }, { 0x20000, 0x3fffd },
	};
	if (code < 0x300)
		return 1;
	if (in_ranges(none, sizeof(none) / sizeof(none[0]), code))
		return 0;
	return in_ranges(wide, sizeof(wide) / sizeof(wide[0]), code) ? 2 : 1;
}

uint32_t code_printable(uint32_t code)
{
	if (code < 0x20 || (code >= 0x7f && code < 0xa0) || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0xfffd;
	return code;
}

void run_reset(struct run *run, enum tone tone)
{
	run->n = 0;
	run->indent = 0;
	run->tone = (uint8_t)tone;
	run->flags = 0;
}

static void append(struct run *run, uint32_t code, uint8_t tone, uint8_t flags)
{
	code = code_printable(code);
	int width = code_width(code);
	if (width == 0 || run->n + (size_t)width > RUN_CELLS)
		return;
	run->cell[run->n++] = (struct cell){ .code = code, .tone = tone, .flags = flags };
	if (width == 2)
		run->cell[run->n++] = (struct cell){ .tone = tone, .flags = flags | CELL_TAIL };
}

void run_code(struct run *run, uint32_t code)
{
	append(run, code, run->tone, run->flags);
}

static void run_utf8(struct run *run, const char *text, bool markup)
{
	size_t left = strlen(text);
	uint8_t tone = run->tone, flags = run->flags;

	while (left > 0) {
		uint32_t code;
		size_t used = utf8_decode(text, left, &code);
		text += used;
		left -= used;
		if (code == '\n')
			break;
		if (code == '\t') {
			do
				append(run, ' ', tone, flags);
			while (run->n % 8 != 0 && run->n < RUN_CELLS);
			continue;
		}
		if (markup && code == 8) {
			run->indent = run->n < 64 ? (uint8_t)run->n : 0;
			continue;
		}
		if (!markup || code < 1 || code > 7) {
			append(run, code, tone, flags);
			continue;
		}
		static const uint8_t tones[] = { 0, 0, TONE_STRONG, TONE_ACCENT, TONE_DIM, TONE_GOOD, TONE_BUSY, TONE_BAD };
		tone = code == 1 ? run->tone : tones[code];
		flags = code == 2 ? CELL_BOLD : 0;
	}
}

void run_markup(struct run *run, const char *text)
{
	run_utf8(run, text, true);
}

void run_text(struct run *run, const char *text)
{
	run_utf8(run, text, false);
}
