#include "kms/figures.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kms/letters.h"

#define CELL_HEIGHT (LETTER_HEIGHT + 3) /* pixels of the font, of which one is `scale` pixels of the screen wide and high */
#define BORDER 3
#define BOX_WIDTH (2 * BORDER + FIGURES_COLUMNS * LETTER_CELL - 1)
#define BOX_HEIGHT (2 * BORDER + FIGURES_LINES * CELL_HEIGHT - 3)
#define PAPER 0x101418u
#define INK 0xf0f0d0u

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
	return max_u32(min_u32(letters_scale(height), width / BOX_WIDTH), 1);
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
	uint32_t column = x / LETTER_CELL, row = y / CELL_HEIGHT;
	if (column >= FIGURES_COLUMNS || row >= FIGURES_LINES || x % LETTER_CELL >= LETTER_WIDTH || y % CELL_HEIGHT >= LETTER_HEIGHT ||
	    column >= strlen(text->line[row]))
		return false;
	return letters_ink(text->line[row][column], x % LETTER_CELL, y % CELL_HEIGHT);
}

void figures_draw(const struct blit_target *target, const struct figures_text *text)
{
	uint32_t scale = scale_of(target->width, target->height), line[BOX_WIDTH * LETTERS_SCALE_MAX];
	struct rect place = figures_place(target->width, target->height);
	for (uint32_t y = 0; y < place.h; y++) {
		/* One row of the font after the other, each copied to the screen's lines that it is high. */
		for (uint32_t x = 0; y % scale == 0 && x < place.w; x++)
			line[x] = ink(text, x / scale, y / scale) ? INK : PAPER;
		memcpy(target->pixels + (uint64_t)(place.y + y) * target->pitch + (uint64_t)place.x * 4, line, (size_t)place.w * 4);
	}
}
