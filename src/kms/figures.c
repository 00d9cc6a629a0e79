#include "kms/figures.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define GLYPH_WIDTH 5 /* pixels of the font, of which one is `scale` pixels of the screen wide and high */
#define GLYPH_HEIGHT 7
#define CELL_WIDTH (GLYPH_WIDTH + 1)
#define CELL_HEIGHT (GLYPH_HEIGHT + 3)
#define BORDER 3
#define BOX_WIDTH (2 * BORDER + FIGURES_COLUMNS * CELL_WIDTH - 1)
#define BOX_HEIGHT (2 * BORDER + FIGURES_LINES * CELL_HEIGHT - 3)
#define LINES_PER_SCALE 400u /* of the screen: letters are as large on a panel of more pixels */
#define SCALE_MAX 8u
#define PAPER 0x101418u
#define INK 0xf0f0d0u

/* Rows of a glyph from the top, its leftmost pixel in bit 4. */
static const uint8_t font['Z' - ' ' + 1][GLYPH_HEIGHT] = {
	[' ' - ' '] = { 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00 }, [',' - ' '] = { 0x00, 0x00, 0x00, 0x00, 0x0c, 0x04, 0x08 },
	['-' - ' '] = { 0x00, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x00 }, ['.' - ' '] = { 0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c },
	['/' - ' '] = { 0x01, 0x01, 0x02, 0x04, 0x08, 0x10, 0x10 }, ['0' - ' '] = { 0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e },
	['1' - ' '] = { 0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e }, ['2' - ' '] = { 0x0e, 0x11, 0x01, 0x06, 0x08, 0x10, 0x1f },
	['3' - ' '] = { 0x0e, 0x11, 0x01, 0x06, 0x01, 0x11, 0x0e }, ['4' - ' '] = { 0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02 },
	['5' - ' '] = { 0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e }, ['6' - ' '] = { 0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e },
	['7' - ' '] = { 0x1f, 0x01, 0x02, 0x04, 0x04, 0x08, 0x08 }, ['8' - ' '] = { 0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e },
	['9' - ' '] = { 0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c }, [':' - ' '] = { 0x00, 0x0c, 0x0c, 0x00, 0x0c, 0x0c, 0x00 },
	['A' - ' '] = { 0x04, 0x0a, 0x11, 0x11, 0x1f, 0x11, 0x11 }, ['B' - ' '] = { 0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e },
	['C' - ' '] = { 0x0e, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0e }, ['D' - ' '] = { 0x1e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1e },
	['E' - ' '] = { 0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f }, ['F' - ' '] = { 0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x10 },
	['G' - ' '] = { 0x0e, 0x11, 0x10, 0x17, 0x11, 0x11, 0x0e }, ['H' - ' '] = { 0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11 },
	['I' - ' '] = { 0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e }, ['J' - ' '] = { 0x07, 0x02, 0x02, 0x02, 0x02, 0x12, 0x0c },
	['K' - ' '] = { 0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11 }, ['L' - ' '] = { 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f },
	['M' - ' '] = { 0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11 }, ['N' - ' '] = { 0x11, 0x19, 0x19, 0x15, 0x13, 0x13, 0x11 },
	['O' - ' '] = { 0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e }, ['P' - ' '] = { 0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10 },
	['Q' - ' '] = { 0x0e, 0x11, 0x11, 0x11, 0x15, 0x12, 0x0d }, ['R' - ' '] = { 0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11 },
	['S' - ' '] = { 0x0e, 0x11, 0x10, 0x0e, 0x01, 0x11, 0x0e }, ['T' - ' '] = { 0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04 },
	['U' - ' '] = { 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e }, ['V' - ' '] = { 0x11, 0x11, 0x11, 0x0a, 0x0a, 0x04, 0x04 },
	['W' - ' '] = { 0x11, 0x11, 0x11, 0x15, 0x15, 0x1b, 0x11 }, ['X' - ' '] = { 0x11, 0x11, 0x0a, 0x04, 0x0a, 0x11, 0x11 },
	['Y' - ' '] = { 0x11, 0x11, 0x0a, 0x04, 0x04, 0x04, 0x04 }, ['Z' - ' '] = { 0x1f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1f },
};

/* One line; what is beyond its end is cut. */
static void put(char *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(char *line, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line, FIGURES_COLUMNS + 1, format, arguments);
	va_end(arguments);
}

/* A count per second with one decimal; "-" over no time. */
static void rate(char *out, size_t size, uint64_t count, uint64_t ns)
{
	uint64_t tenths = ns > 0 ? (uint64_t)((double)count * 10 * NSEC_PER_SEC / (double)ns + 0.5) : 0;
	if (ns > 0)
		snprintf(out, size, "%" PRIu64 ".%" PRIu64, tenths / 10, tenths % 10);
	else
		snprintf(out, size, "-");
}

/* Counters begin anew when somebody resets them. */
static uint64_t since(uint64_t then, uint64_t now)
{
	return now < then ? now : now - then;
}

/* One latency for people: milliseconds. */
static void milliseconds(char *out, size_t size, uint64_t us)
{
	snprintf(out, size, "%" PRIu64 ".%02" PRIu64, us / 1000, us % 1000 / 10);
}

static void latencies(char *line, const char *name, const struct histogram_summary *summary)
{
	char p50[24] = "-", p95[24] = "-", p99[24] = "-";
	if (summary->count > 0) {
		milliseconds(p50, sizeof(p50), summary->p50);
		milliseconds(p95, sizeof(p95), summary->p95);
		milliseconds(p99, sizeof(p99), summary->p99);
	}
	put(line, "%-9s %8s %8s %8s", name, p50, p95, p99);
}

void figures_write(struct figures_text *text, const struct figures_counts *then, const struct figures_counts *now, const struct histogram_summary *flip,
	const struct histogram_summary *commit, enum figures_path path)
{
	static const char *const paths[] = {
		[FIGURES_NO_PICTURE] = "NO GUEST PICTURE",
		[FIGURES_COPY] = "COPY",
		[FIGURES_ZERO_COPY] = "COPY, ZERO-COPY WITHOUT THIS",
	};
	uint64_t ns = now->at_ns - then->at_ns;
	char a[24], b[24];
	rate(a, sizeof(a), since(then->frames, now->frames), ns);
	rate(b, sizeof(b), since(then->commits, now->commits), ns);
	put(text->line[0], "GUEST     %s FPS, %s FLIPS/S", a, b);
	rate(a, sizeof(a), since(then->copied, now->copied) / 1000, ns * 1000);
	put(text->line[1], "COPIED    %s MB/S", a);
	put(text->line[2], "PATH      %s", paths[path]);
	put(text->line[3], "KEY TO, MS     P50      P95      P99");
	latencies(text->line[4], "COMMIT", commit);
	latencies(text->line[5], "FLIP", flip);
}

static uint32_t scale_of(uint32_t width, uint32_t height)
{
	return max_u32(min_u32(min_u32(height / LINES_PER_SCALE, width / BOX_WIDTH), SCALE_MAX), 1);
}

struct rect figures_place(uint32_t width, uint32_t height)
{
	uint32_t scale = scale_of(width, height), w = min_u32(BOX_WIDTH * scale, width);
	return (struct rect){width - w, 0, w, min_u32(BOX_HEIGHT * scale, height)};
}

/* Whether the pixel of the box, in pixels of the font, belongs to a letter. */
static bool ink(const struct figures_text *text, uint32_t x, uint32_t y)
{
	if (x < BORDER || y < BORDER)
		return false;
	x -= BORDER;
	y -= BORDER;
	uint32_t column = x / CELL_WIDTH, row = y / CELL_HEIGHT;
	if (column >= FIGURES_COLUMNS || row >= FIGURES_LINES || x % CELL_WIDTH >= GLYPH_WIDTH || y % CELL_HEIGHT >= GLYPH_HEIGHT ||
	    column >= strlen(text->line[row]))
		return false;
	char c = text->line[row][column];
	return c >= ' ' && c <= 'Z' && font[c - ' '][y % CELL_HEIGHT] >> (GLYPH_WIDTH - 1 - x % CELL_WIDTH) & 1;
}

void figures_draw(const struct blit_target *target, const struct figures_text *text)
{
	uint32_t scale = scale_of(target->width, target->height), line[BOX_WIDTH * SCALE_MAX];
	struct rect place = figures_place(target->width, target->height);
	for (uint32_t y = 0; y < place.h; y++) {
		/* One row of the font after the other, each copied to the screen's lines that it is high. */
		for (uint32_t x = 0; y % scale == 0 && x < place.w; x++)
			line[x] = ink(text, x / scale, y / scale) ? INK : PAPER;
		memcpy(target->pixels + (uint64_t)(place.y + y) * target->pitch + (uint64_t)place.x * 4, line, (size_t)place.w * 4);
	}
}
