/* Layout: where the parts of the UI stand on a screen of any size. Pure; pixels. */
#pragma once

#include <stdbool.h>

struct fonts;

struct box {
	int x, y, w, h;
};

struct layout {
	struct box banner;     /* one line of the big font */
	struct box rule;       /* below it */
	struct box status;     /* a card: beside the transcript on wide screens, above it on others; empty when there is no room */
	struct box transcript; /* whole rows and columns of cells */
	struct box scrollbar;
	struct box prompt;     /* a card around one line */
	struct box footer;     /* one line */
	bool sidebar;
	int pad;               /* inside cards */
	int radius;            /* of cards */
	int columns, rows;     /* of the transcript */
	int status_columns, status_rows; /* of text inside the card */
};

/* Pixel size of the text: grows slower than the screen, so that large ones show more. */
int layout_font_size(int width, int height);
/* Pixel size of headings for that text. */
int layout_heading_size(int font_size);
/* text: the fonts everything is set in; heading_height: line height of the banner's font. Any size >= 1x1 gives boxes within the screen. */
void layout_compute(int width, int height, const struct fonts *text, int heading_height, struct layout *layout);
