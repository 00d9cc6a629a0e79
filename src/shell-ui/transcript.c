#include "shell-ui/transcript.h"

#include <stdlib.h>
#include <string.h>

struct line {
	struct cell *cells;
	size_t n;
	size_t rows; /* when wrapped to the present width, at least 1 */
	uint8_t indent;
};

struct transcript {
	struct line line[TRANSCRIPT_LINES]; /* a ring */
	size_t oldest, n;
	size_t rows;  /* of all lines */
	size_t below; /* rows scrolled back from the end */
	int columns, view_rows;
};

size_t wrap_cells(const struct cell *cells, size_t n, size_t from, int columns, size_t *next)
{
	size_t width = columns > 0 ? (size_t)columns : 1;
	if (n - from <= width) {
		*next = n;
		return n;
	}
	size_t end = from + width;
	/* A blank right after the row, or the last one within it, is where the row breaks. */
	for (size_t at = end; at > from; at--) {
		if (cells[at].code != ' ')
			continue;
		size_t stop = at, start = at;
		while (stop > from && cells[stop - 1].code == ' ')
			stop--;
		if (stop == from)
			break; /* leading blanks only: the word is longer than the row */
		while (start < n && cells[start].code == ' ')
			start++;
		*next = start;
		return stop;
	}
	if ((cells[end].flags & CELL_TAIL) && end > from + 1)
		end--;
	*next = end;
	return end;
}

/* Of all rows but the first; none where too little would be left beside it. */
static int indent_of(const struct line *line, int columns)
{
	return line->indent <= columns / 2 ? line->indent : 0;
}

static size_t count_rows(const struct line *line, int columns)
{
	size_t rows = 1, next = 0;
	int rest = columns - indent_of(line, columns);
	wrap_cells(line->cells, line->n, 0, columns, &next);
	while (next < line->n) {
		wrap_cells(line->cells, line->n, next, rest, &next);
		rows++;
	}
	return rows;
}

struct transcript *transcript_create(void)
{
	struct transcript *transcript = calloc(1, sizeof(*transcript));
	if (transcript) {
		transcript->columns = 80;
		transcript->view_rows = 24;
	}
	return transcript;
}

void transcript_clear(struct transcript *transcript)
{
	for (size_t i = 0; i < transcript->n; i++)
		free(transcript->line[(transcript->oldest + i) % TRANSCRIPT_LINES].cells);
	transcript->oldest = transcript->n = transcript->rows = transcript->below = 0;
}

void transcript_destroy(struct transcript *transcript)
{
	if (!transcript)
		return;
	transcript_clear(transcript);
	free(transcript);
}

static size_t most_below(const struct transcript *transcript)
{
	size_t view = (size_t)transcript->view_rows;
	return transcript->rows > view ? transcript->rows - view : 0;
}

bool transcript_add(struct transcript *transcript, const struct run *run)
{
	struct cell *cells = malloc((run->n ? run->n : 1) * sizeof(*cells));
	if (!cells)
		return false;
	memcpy(cells, run->cell, run->n * sizeof(*cells));
	if (transcript->n == TRANSCRIPT_LINES) {
		struct line *oldest = &transcript->line[transcript->oldest];
		transcript->rows -= oldest->rows;
		free(oldest->cells);
		transcript->oldest = (transcript->oldest + 1) % TRANSCRIPT_LINES;
		transcript->n--;
	}
	struct line *line = &transcript->line[(transcript->oldest + transcript->n++) % TRANSCRIPT_LINES];
	*line = (struct line){ .cells = cells, .n = run->n, .indent = run->indent };
	line->rows = count_rows(line, transcript->columns);
	transcript->rows += line->rows;
	if (transcript->below > 0)
		transcript->below += line->rows;
	if (transcript->below > most_below(transcript))
		transcript->below = most_below(transcript);
	return true;
}

void transcript_resize(struct transcript *transcript, int columns, int rows)
{
	transcript->columns = columns > 1 ? columns : 2;
	transcript->view_rows = rows > 0 ? rows : 1;
	transcript->rows = 0;
	for (size_t i = 0; i < transcript->n; i++) {
		struct line *line = &transcript->line[(transcript->oldest + i) % TRANSCRIPT_LINES];
		line->rows = count_rows(line, transcript->columns);
		transcript->rows += line->rows;
	}
	if (transcript->below > most_below(transcript))
		transcript->below = most_below(transcript);
}

bool transcript_scroll(struct transcript *transcript, int rows)
{
	size_t before = transcript->below, most = most_below(transcript);
	if (rows >= 0)
		transcript->below = most - before > (size_t)rows ? before + (size_t)rows : most;
	else
		transcript->below = before > (size_t)-(long)rows ? before - (size_t)-(long)rows : 0;
	return transcript->below != before;
}

bool transcript_scroll_end(struct transcript *transcript)
{
	bool moved = transcript->below > 0;
	transcript->below = 0;
	return moved;
}

size_t transcript_rows(const struct transcript *transcript)
{
	return transcript->rows;
}

size_t transcript_lines(const struct transcript *transcript)
{
	return transcript->n;
}

size_t transcript_below(const struct transcript *transcript)
{
	return transcript->below;
}

size_t transcript_top(const struct transcript *transcript)
{
	return most_below(transcript) - transcript->below;
}

const struct cell *transcript_row(const struct transcript *transcript, int row, size_t *n, size_t *indent)
{
	*n = *indent = 0;
	if (row < 0 || row >= transcript->view_rows)
		return NULL;
	size_t wanted = transcript_top(transcript) + (size_t)row;
	if (wanted >= transcript->rows)
		return NULL;
	/* From the end, where the view mostly is. */
	size_t after = transcript->rows;
	for (size_t i = transcript->n; i-- > 0;) {
		const struct line *line = &transcript->line[(transcript->oldest + i) % TRANSCRIPT_LINES];
		after -= line->rows;
		if (wanted < after)
			continue;
		size_t from = 0, next = 0, end = wrap_cells(line->cells, line->n, 0, transcript->columns, &next);
		for (size_t skip = wanted - after; skip > 0; skip--) {
			from = next;
			*indent = (size_t)indent_of(line, transcript->columns);
			end = wrap_cells(line->cells, line->n, from, transcript->columns - (int)*indent, &next);
		}
		*n = end - from;
		return line->cells + from;
	}
	return NULL;
}
