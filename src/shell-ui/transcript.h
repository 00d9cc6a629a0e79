/* The transcript: what was typed and answered, bounded, wrapped at words for any width, with a place scrolled to. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shell-ui/text.h"

#define TRANSCRIPT_LINES 1000 /* the oldest go first */

struct transcript;

struct transcript *transcript_create(void);
void transcript_destroy(struct transcript *transcript);
/* Appends a copy of the run as one line. While scrolled back the view stays where it is. False with errno. */
bool transcript_add(struct transcript *transcript, const struct run *run);
void transcript_clear(struct transcript *transcript);
/* Size of the view, in cells: wraps anew. */
void transcript_resize(struct transcript *transcript, int columns, int rows);
/* Moves the view by rows, positive towards older ones; stops at both ends. True when it moved. */
bool transcript_scroll(struct transcript *transcript, int rows);
bool transcript_scroll_end(struct transcript *transcript);
/* Rows when wrapped, and the first row the view shows. The view has at most as many rows as its size says. */
size_t transcript_rows(const struct transcript *transcript);
size_t transcript_top(const struct transcript *transcript);
size_t transcript_lines(const struct transcript *transcript);
/* Rows of the view hidden below it: 0 at the end. */
size_t transcript_below(const struct transcript *transcript);
/* Cells of the view's row `row`, to be shown *indent cells from the left; NULL and 0 where there is none. */
const struct cell *transcript_row(const struct transcript *transcript, int row, size_t *n, size_t *indent);

/*
 * Where a row of at most `columns` cells that begins at `from` ends (exclusive), broken at a blank where there is one; *next is where
 * the next row begins, blanks at the break left out. from < n or n == 0; never splits a wide character when columns >= 2.
 */
size_t wrap_cells(const struct cell *cells, size_t n, size_t from, int columns, size_t *next);
