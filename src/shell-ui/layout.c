#include "shell-ui/layout.h"

#include <string.h>

#include "shell-ui/text.h"

#define STATUS_LINES 5      /* above the transcript: one a slot */
#define SIDEBAR_COLUMNS 34
#define SIDEBAR_FROM 116    /* columns of screen that make a sidebar worth its room */
#define LEAST_ROWS 4        /* of the transcript; the status card gives way to them */

int layout_font_size(int width, int height)
{
	int wide = (int)((long long)width * 5 / 8);
	int side = wide < height ? wide : height; /* a portrait screen is judged by its width */
	int size = 9 + side / 95;
	return size < 11 ? 11 : size > 96 ? 96 : size;
}

int layout_heading_size(int font_size)
{
	return font_size * 8 / 5;
}

static struct box clipped(int x, int y, int w, int h, int width, int height)
{
	if (x < 0)
		x = 0;
	if (y < 0)
		y = 0;
	if (x >= width || y >= height || w <= 0 || h <= 0)
		return (struct box){ 0 };
	return (struct box){ x, y, w < width - x ? w : width - x, h < height - y ? h : height - y };
}

void layout_compute(int width, int height, const struct fonts *text, int heading_height, struct layout *layout)
{
	int cw = text->width, ch = text->height;
	int columns = width / cw;
	int margin_x = columns >= SIDEBAR_FROM ? 3 * cw : columns >= 60 ? 2 * cw : cw;
	int margin_y = height >= 20 * ch ? ch * 2 / 3 : ch / 4;
	int gap = height >= 20 * ch ? ch * 2 / 3 : ch / 3;
	int inner = width - 2 * margin_x;

	memset(layout, 0, sizeof(*layout));
	layout->pad = ch / 2;
	layout->radius = ch * 2 / 5;
	layout->sidebar = columns >= SIDEBAR_FROM;

	int y = margin_y;
	layout->banner = clipped(margin_x, y, inner, heading_height, width, height);
	y += heading_height + gap / 2;
	int thin = ch / 20 > 0 ? ch / 20 : 1;
	layout->rule = clipped(margin_x, y, inner, thin, width, height);
	y += thin + gap;

	int footer_y = height - margin_y - ch;
	int prompt_h = ch + 2 * (layout->pad * 3 / 4);
	int prompt_y = footer_y - gap * 2 / 3 - prompt_h;
	layout->footer = clipped(margin_x, footer_y, inner, ch, width, height);
	layout->prompt = clipped(margin_x, prompt_y, inner, prompt_h, width, height);
	int bottom = prompt_y - gap;

	int left = margin_x, wide = inner;
	if (layout->sidebar) {
		int card_w = SIDEBAR_COLUMNS * cw + 2 * layout->pad;
		layout->status = clipped(width - margin_x - card_w, y, card_w, bottom - y, width, height);
		wide = inner - card_w - 2 * cw;
	} else if (bottom - y >= (STATUS_LINES + LEAST_ROWS) * ch + 2 * layout->pad + gap) {
		layout->status = clipped(margin_x, y, inner, STATUS_LINES * ch + 2 * layout->pad, width, height);
		y += layout->status.h + gap;
	}
	layout->status_columns = (layout->status.w - 2 * layout->pad) / cw;
	layout->status_rows = (layout->status.h - 2 * layout->pad) / ch;
	if (layout->status_columns < 8 || layout->status_rows < 1) {
		layout->status = (struct box){ 0 };
		layout->status_columns = layout->status_rows = 0;
	}

	layout->columns = (wide - cw) / cw; /* one for the scroll bar */
	layout->rows = (bottom - y) / ch;
	if (layout->columns < 2)
		layout->columns = 2;
	if (layout->rows < 1)
		layout->rows = 1;
	/* Rows stand on the prompt: what is left over goes to the top. */
	int spare = bottom - y - layout->rows * ch;
	layout->transcript = clipped(left, y + (spare > 0 && !layout->sidebar ? spare : 0), layout->columns * cw, layout->rows * ch, width, height);
	int bar = cw / 3 > 2 ? cw / 3 : 2;
	layout->scrollbar = clipped(left + wide - bar, layout->transcript.y, bar, layout->transcript.h, width, height);
}
