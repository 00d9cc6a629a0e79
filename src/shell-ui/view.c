#include "shell-ui/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIDE_SLOTS STATUS_SLOTS
#define NO_KEYBOARD "no keyboard: plug one in"

struct view {
	struct scene *scene;
	struct fonts text, heading;
	struct layout layout;
	struct run run; /* scratch */
	bool placeholder;

	/* main */
	struct scene_node *title, *state, *prompt_text, *footer;
	struct scene_node *scroll_track, *scroll_thumb;
	struct scene_node **row;        /* of the transcript */
	struct scene_node **status_row; /* inside the card */
	uint32_t prompt_from;           /* first code point of the prompt that is visible */

	/* placeholder */
	struct scene_node *card, *head_row, *state_row, *key_row;
	struct scene_node *advice_row[8];
	struct box card_box; /* at its tallest */
	int advice_x, advice_y;
};

/* RayOS' mark: a sun and its eight rays, from yellow to orange, drawn by coverage of 8x8 samples a pixel. */
static pixman_image_t *make_mark(int side)
{
	pixman_image_t *image = pixman_image_create_bits(PIXMAN_a8r8g8b8, side, side, NULL, 0);
	if (!image)
		return NULL;
	uint32_t *data = pixman_image_get_data(image);
	int stride = pixman_image_get_stride(image) / 4;
	for (int y = 0; y < side; y++) {
		for (int x = 0; x < side; x++) {
			uint32_t inside = 0;
			for (int s = 0; s < 64; s++) {
				/* from the centre; the half side is 1000 */
				long px = ((long)x * 16 + (s % 8) * 2 + 1) * 2000 / (side * 16) - 1000;
				long py = ((long)y * 16 + (s / 8) * 2 + 1) * 2000 / (side * 16) - 1000;
				long d = px * px + py * py, sum = labs(px + py), difference = labs(px - py);
				bool disc = d <= 460L * 460L;
				/* on an axis or a diagonal (where the distance is |x+-y| / sqrt 2), outside the disc */
				bool on_line = labs(px) <= 85 || labs(py) <= 85 || sum <= 120 || difference <= 120;
				inside += disc || (on_line && d >= 620L * 620L && d <= 960L * 960L);
			}
			uint32_t along = (uint32_t)(x + y) * 255 / (uint32_t)(2 * side);
			uint32_t red = 0xfc - (0xfc - 0xf5) * along / 255, green = 0xd9 - (0xd9 - 0x8f) * along / 255,
				 blue = 0x5f - (0x5f - 0x2e) * along / 255, alpha = inside * 255 / 64;
			data[y * stride + x] = alpha << 24 | (red * alpha / 255) << 16 | (green * alpha / 255) << 8 | blue * alpha / 255;
		}
	}
	return image;
}

static struct view *create(int width, int height)
{
	struct view *view = calloc(1, sizeof(*view));
	if (!view)
		return NULL;
	int size = layout_font_size(width, height);
	if (!fonts_load(&view->text, size) || !fonts_load(&view->heading, layout_heading_size(size)))
		goto fail;
	view->scene = scene_create(width, height);
	if (!view->scene)
		goto fail;
	layout_compute(width, height, &view->text, view->heading.height, &view->layout);
	return view;
fail:
	view_destroy(view);
	return NULL;
}

void view_destroy(struct view *view)
{
	if (!view)
		return;
	scene_destroy(view->scene);
	fonts_unload(&view->text);
	fonts_unload(&view->heading);
	free(view->row);
	free(view->status_row);
	free(view);
}

/* The mark and the name; the columns left of the state on the right. */
static bool add_banner(struct view *view)
{
	const struct box *banner = &view->layout.banner;
	struct scene_node *root = scene_root(view->scene);
	int side = view->heading.size;
	pixman_image_t *mark = make_mark(side);
	if (!mark)
		return false;
	/* the mark stands on the line the letters stand on */
	int mark_y = banner->y + view->heading.baseline - side * 6 / 7;
	struct scene_node *node = scene_pixels(root, mark, banner->x, mark_y);
	pixman_image_unref(mark);
	int x = banner->x + side + view->heading.width * 2 / 3;
	int columns = (banner->x + banner->w - x) / view->heading.width;
	view->title = scene_text(root, &view->heading, x, banner->y, columns < 6 ? columns : 6);
	int state_x = x + 6 * view->heading.width;
	int state_columns = (banner->x + banner->w - state_x) / view->text.width;
	if (state_columns < 1)
		state_columns = 1;
	/* aligned right, on the same base line */
	view->state = scene_text(root, &view->text, banner->x + banner->w - state_columns * view->text.width,
		banner->y + view->heading.baseline - view->text.baseline, state_columns);
	const struct box *rule = &view->layout.rule;
	return node && view->title && view->state && scene_fill(root, TONE_LINE, 0, rule->x, rule->y, rule->w, rule->h);
}

static bool add_rows(struct scene_node *root, const struct fonts *fonts, struct scene_node ***rows, int n, int columns, int x, int y)
{
	*rows = calloc((size_t)(n > 0 ? n : 1), sizeof(**rows));
	if (!*rows)
		return false;
	for (int i = 0; i < n; i++) {
		(*rows)[i] = scene_text(root, fonts, x, y + i * fonts->height, columns);
		if (!(*rows)[i])
			return false;
	}
	return true;
}

struct view *view_create_main(int width, int height, struct transcript *transcript)
{
	struct view *view = create(width, height);
	if (!view)
		return NULL;
	const struct layout *layout = &view->layout;
	struct scene_node *root = scene_root(view->scene);

	if (!add_banner(view))
		goto fail;
	if (layout->status.w > 0 &&
		!scene_fill(root, TONE_CARD, layout->radius, layout->status.x, layout->status.y, layout->status.w, layout->status.h))
		goto fail;
	if (!add_rows(root, &view->text, &view->status_row, layout->status_rows, layout->status_columns,
		    layout->status.x + layout->pad, layout->status.y + layout->pad))
		goto fail;
	if (!add_rows(root, &view->text, &view->row, layout->rows, layout->columns, layout->transcript.x, layout->transcript.y))
		goto fail;
	const struct box *bar = &layout->scrollbar;
	view->scroll_track = scene_fill(root, TONE_CARD, bar->w / 2, bar->x, bar->y, bar->w, bar->h);
	view->scroll_thumb = scene_fill(root, TONE_LINE, bar->w / 2, bar->x, bar->y, bar->w, bar->h);
	const struct box *prompt = &layout->prompt;
	struct scene_node *edge = scene_fill(root, TONE_LINE, layout->radius, prompt->x, prompt->y, prompt->w, prompt->h);
	int thin = layout->rule.h > 0 ? layout->rule.h : 1;
	struct scene_node *field = scene_fill(root, TONE_CARD, layout->radius - thin, prompt->x + thin, prompt->y + thin,
		prompt->w - 2 * thin, prompt->h - 2 * thin);
	view->prompt_text = scene_text(root, &view->text, prompt->x + layout->pad, prompt->y + (prompt->h - view->text.height) / 2,
		(prompt->w - 2 * layout->pad) / view->text.width);
	view->footer = scene_text(root, &view->text, layout->footer.x, layout->footer.y, layout->footer.w / view->text.width);
	if (!view->scroll_track || !view->scroll_thumb || !edge || !field || !view->prompt_text || !view->footer)
		goto fail;
	scene_node_show(view->scroll_track, false);
	scene_node_show(view->scroll_thumb, false);
	transcript_resize(transcript, layout->columns, layout->rows);
	return view;
fail:
	view_destroy(view);
	return NULL;
}

struct view *view_create_placeholder(int width, int height)
{
	struct view *view = create(width, height);
	if (!view)
		return NULL;
	view->placeholder = true;
	struct scene_node *root = scene_root(view->scene);
	int cw = view->text.width, ch = view->text.height;
	int columns = width / cw - 8;
	if (columns > 72)
		columns = 72;
	if (columns < 8)
		columns = 8;
	int n_advice = 5;
	int pad = ch * 3 / 2;
	int card_w = columns * cw + 2 * pad;
	int card_h = view->heading.height + ch / 2 + (n_advice + 3) * ch + 2 * pad;
	if (card_w > width) {
		card_w = width;
		pad = cw;
		columns = (width - 2 * pad) / cw > 1 ? (width - 2 * pad) / cw : 1;
	}
	if (card_h > height)
		card_h = height;
	int x = (width - card_w) / 2, y = (height - card_h) * 2 / 5; /* a little above the middle looks centred */
	view->card = scene_fill(root, TONE_CARD, view->layout.radius * 2, x, y, card_w, card_h);
	view->card_box = (struct box){ x, y, card_w, card_h };
	x += pad;
	y += pad < card_h / 4 ? pad : card_h / 8;

	int side = view->heading.size;
	pixman_image_t *mark = make_mark(side);
	if (!mark)
		goto fail;
	struct scene_node *node = scene_pixels(root, mark, x, y + view->heading.baseline - side * 6 / 7);
	pixman_image_unref(mark);
	int head_x = x + side + view->heading.width * 2 / 3;
	view->head_row = scene_text(root, &view->heading, head_x, y, (x + columns * cw - head_x) / view->heading.width);
	y += view->heading.height + ch / 2;
	view->state_row = scene_text(root, &view->text, x, y, columns);
	y += ch + ch / 2;
	view->advice_x = x;
	view->advice_y = y;
	for (int i = 0; i < n_advice; i++, y += ch) {
		view->advice_row[i] = scene_text(root, &view->text, x, y, columns);
		if (!view->advice_row[i])
			goto fail;
	}
	y += ch / 2;
	view->key_row = scene_text(root, &view->text, x, y, columns);
	if (!view->card || !node || !view->head_row || !view->state_row || !view->key_row)
		goto fail;
	return view;
fail:
	view_destroy(view);
	return NULL;
}

struct scene *view_scene(struct view *view)
{
	return view->scene;
}

const struct layout *view_layout(const struct view *view)
{
	return &view->layout;
}

static enum tone tag_tone(enum status_tag tag)
{
	switch (tag) {
	case STATUS_OK:
		return TONE_GOOD;
	case STATUS_BUSY:
		return TONE_BUSY;
	case STATUS_BAD:
		return TONE_BAD;
	default:
		return TONE_FAINT;
	}
}

static void put_tag(struct run *run, enum status_tag tag)
{
	uint8_t tone = run->tone;
	run->tone = (uint8_t)tag_tone(tag);
	run->flags = CELL_BOLD;
	run_text(run, tag == STATUS_NONE ? "    " : status_tag_text(tag));
	run->tone = tone;
	run->flags = 0;
}

static void put(struct run *run, enum tone tone, uint8_t flags, const char *text)
{
	run->tone = (uint8_t)tone;
	run->flags = flags;
	run_text(run, text);
}

/* Sets a row; what does not fit ends in an ellipsis. */
static void set_row(struct scene_node *row, struct run *run)
{
	size_t columns = (size_t)scene_text_columns(row);
	if (run->n > columns && columns > 0) {
		size_t at = columns - 1;
		if (at > 0 && (run->cell[at].flags & CELL_TAIL))
			run->cell[at - 1] = (struct cell){ 0 };
		run->cell[at].code = 0x2026;
		run->cell[at].flags &= (uint8_t)~CELL_TAIL;
		run->n = columns;
	}
	scene_text_set(row, run->cell, run->n);
}

static const struct {
	enum status_slot slot;
	const char *name;
} slots[] = {
	{ STATUS_VM, "VM" }, { STATUS_DISPLAY, "Display" }, { STATUS_INPUT, "Input" }, { STATUS_DISK, "Disk" },
	{ STATUS_MEMORY, "Memory" }, { STATUS_PATH, "Path" }, { STATUS_CONTROL, "Control" },
};

/* A sidebar has a heading, and under each slot's name its text, wrapped to at most three rows. */
static void update_sidebar(struct view *view, const struct status *status)
{
	int row = 0, rows = view->layout.status_rows;
	size_t columns = (size_t)view->layout.status_columns;
	struct run *run = &view->run;
	bool airy = rows >= 22;

	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]) && row < rows; i++) {
		const struct status_line *line = &status->line[slots[i].slot];
		if (slots[i].slot > STATUS_MEMORY && !line->text[0])
			continue;
		if (row > 0 && airy)
			scene_text_set(view->status_row[row++], NULL, 0);
		if (row >= rows)
			break;
		run_reset(run, TONE_STRONG);
		put_tag(run, line->tag == STATUS_NONE ? STATUS_OFF : line->tag);
		put(run, TONE_STRONG, CELL_BOLD, " ");
		run_text(run, slots[i].name);
		set_row(view->status_row[row++], run);

		run_reset(run, TONE_TEXT);
		run_text(run, line->text[0] ? line->text : "not known yet");
		size_t from = 0;
		for (int part = 0; part < 3 && from < run->n && row < rows && columns > 6; part++) {
			size_t next, end = wrap_cells(run->cell, run->n, from, (int)columns - 5, &next);
			struct cell cells[256] = { 0 };
			if (part == 2 && next < run->n)
				end = next = run->n;
			size_t n = end - from < columns - 5 ? end - from : columns - 5;
			n = n < 200 ? n : 200;
			memcpy(cells + 5, run->cell + from, n * sizeof(cells[0]));
			for (size_t c = 5; c < 5 + n; c++)
				cells[c].tone = TONE_DIM;
			if (end - from > n)
				cells[4 + n].code = 0x2026;
			scene_text_set(view->status_row[row++], cells, 5 + n);
			from = next;
		}
	}
	while (row < rows)
		scene_text_set(view->status_row[row++], NULL, 0);
}

static void update_lines(struct view *view, const struct status *status)
{
	for (int row = 0; row < view->layout.status_rows; row++) {
		struct run *run = &view->run;
		run_reset(run, TONE_STRONG);
		if (row < 5) {
			const struct status_line *line = &status->line[slots[row].slot];
			char name[16];
			snprintf(name, sizeof(name), " %-8s ", slots[row].name);
			put_tag(run, line->tag == STATUS_NONE ? STATUS_OFF : line->tag);
			put(run, TONE_STRONG, CELL_BOLD, name);
			put(run, TONE_DIM, 0, line->text[0] ? line->text : "not known yet");
		}
		set_row(view->status_row[row], run);
	}
}

static void update_state(struct view *view, const struct status *status)
{
	struct run *run = &view->run;
	bool no_keyboard = status_no_keyboard(status);
	run_reset(run, no_keyboard ? TONE_BAD : TONE_DIM);
	if (no_keyboard) {
		run_text(run, NO_KEYBOARD);
	} else if (status->scanout_width > 0) {
		char text[64];
		snprintf(text, sizeof(text), "Linux desktop %u\u00d7%u", status->scanout_width, status->scanout_height);
		run_text(run, text);
	} else {
		run_text(run, status->vm == VM_NONE ? "no machine" : "machine ");
		if (status->vm != VM_NONE)
			run_text(run, status_vm_name(status->vm));
	}
	enum tone tone = no_keyboard ? TONE_BAD : status->scanout_width > 0 || status->vm == VM_RUNNING ? TONE_GOOD
		: status->vm == VM_CRASHED ? TONE_BAD : status->vm == VM_NONE || status->vm == VM_STOPPED ? TONE_FAINT : TONE_BUSY;
	put(run, tone, 0, " \u25cf");
	size_t columns = (size_t)scene_text_columns(view->state), n = run->n;
	if (n > columns) {
		scene_text_set(view->state, NULL, 0);
		return;
	}
	memmove(run->cell + (columns - n), run->cell, n * sizeof(run->cell[0]));
	memset(run->cell, 0, (columns - n) * sizeof(run->cell[0]));
	scene_text_set(view->state, run->cell, columns);
}

static void update_transcript(struct view *view, struct transcript *transcript)
{
	const struct layout *layout = &view->layout;
	for (int row = 0; row < layout->rows; row++) {
		size_t n, indent;
		const struct cell *cells = transcript_row(transcript, row, &n, &indent);
		if (indent > 0) {
			memset(view->run.cell, 0, indent * sizeof(*cells));
			memcpy(view->run.cell + indent, cells, n * sizeof(*cells)); /* a row of the view: far below RUN_CELLS */
			cells = view->run.cell;
			n += indent;
		}
		scene_text_set(view->row[row], cells, n);
	}
	size_t total = transcript_rows(transcript), shown = (size_t)layout->rows;
	const struct box *bar = &layout->scrollbar;
	if (total > shown && bar->h > 0) {
		int thumb = (int)((size_t)bar->h * shown / total);
		if (thumb < bar->w * 4)
			thumb = bar->w * 4 < bar->h ? bar->w * 4 : bar->h;
		size_t top = transcript_top(transcript);
		int y = bar->y + (int)((size_t)(bar->h - thumb) * top / (total - shown));
		scene_node_place(view->scroll_thumb, bar->x, y, bar->w, thumb);
	}
	scene_node_show(view->scroll_track, total > shown);
	scene_node_show(view->scroll_thumb, total > shown);
}

/* The prompt scrolls sideways so that the cursor, a filled block, is always in sight. */
static void update_prompt(struct view *view, const struct prompt *prompt, bool no_keyboard)
{
	struct run *run = &view->run;
	run_reset(run, TONE_ACCENT);
	put(run, TONE_ACCENT, CELL_BOLD, "> ");
	int room = scene_text_columns(view->prompt_text) - 3; /* after the sign, with the cursor behind the last character */
	const struct prompt_line *line = &prompt->line;
	if (view->prompt_from > prompt->cursor)
		view->prompt_from = prompt->cursor;
	int cells = 0;
	for (uint32_t i = view->prompt_from; i < prompt->cursor; i++)
		cells += code_width(line->code[i]);
	while (cells > room && view->prompt_from < prompt->cursor)
		cells -= code_width(line->code[view->prompt_from++]);
	/* what was hidden comes back when there is room again */
	while (view->prompt_from > 0) {
		int tail = 0;
		for (uint32_t i = view->prompt_from - 1; i < line->length; i++)
			tail += code_width(line->code[i]);
		if (tail > room)
			break;
		view->prompt_from--;
	}

	run->tone = TONE_STRONG;
	run->flags = 0;
	size_t cursor_at = run->n;
	for (uint32_t i = view->prompt_from; i < line->length; i++) {
		if (i == prompt->cursor)
			cursor_at = run->n;
		run_code(run, line->code[i]);
	}
	if (prompt->cursor >= line->length)
		cursor_at = run->n;
	if (line->length == 0) {
		run_code(run, ' ');
		put(run, no_keyboard ? TONE_BAD : TONE_FAINT, 0, no_keyboard ? " " NO_KEYBOARD : " type a command, or help");
	} else if (cursor_at == run->n) {
		run_code(run, ' ');
	}
	for (size_t at = cursor_at; at < run->n && (at == cursor_at || (run->cell[at].flags & CELL_TAIL)); at++) {
		run->cell[at].flags |= CELL_FILLED;
		run->cell[at].back = TONE_INPUT;
		run->cell[at].tone = TONE_BACK;
	}
	scene_text_set(view->prompt_text, run->cell, run->n);
}

bool view_prompt_at(const struct view *view, const struct prompt *prompt, int x, int y, uint32_t *at)
{
	const struct box *box = &view->layout.prompt;
	if (view->placeholder || x < box->x || y < box->y || x >= box->x + box->w || y >= box->y + box->h)
		return false;
	int cell = (x - box->x - view->layout.pad) / view->text.width - 2; /* behind the sign */
	uint32_t i = view->prompt_from;
	for (int cells = 0; i < prompt->line.length; i++) {
		cells += code_width(prompt->line.code[i]);
		if (cells > cell)
			break;
	}
	*at = i;
	return true;
}

/* A key's name on a key cap, and what it does. */
static void put_key(struct run *run, const char *key, const char *what)
{
	size_t from = run->n;
	put(run, TONE_STRONG, CELL_BOLD, " ");
	run_text(run, key);
	run_text(run, " ");
	for (size_t at = from; at < run->n; at++) {
		run->cell[at].flags |= CELL_FILLED;
		run->cell[at].back = TONE_LINE;
	}
	put(run, TONE_DIM, 0, " ");
	run_text(run, what);
}

static void update_footer(struct view *view, const struct answer_context *context, size_t below)
{
	struct run *run = &view->run;
	size_t columns = (size_t)scene_text_columns(view->footer);
	bool roomy = columns >= 84;
	run_reset(run, TONE_FAINT);
	put_key(run, context->toggle_key, roomy ? "Linux and back    " : "flip   ");
	put_key(run, context->show_key, roomy ? "Linux desktop    " : "Linux   ");
	put_key(run, context->hide_key, roomy ? "this screen" : "here");
	if (roomy && columns >= 110) {
		run_text(run, "    ");
		put_key(run, "PgUp", "scroll back");
	}
	char right[48];
	if (below > 0)
		snprintf(right, sizeof(right), "\u2193 %zu more row%s", below, below == 1 ? "" : "s");
	else
		snprintf(right, sizeof(right), "rayvm " RAYVM_VERSION);
	size_t wide = strlen(right) - (below > 0 ? 2 : 0); /* the arrow takes three bytes and one cell */
	if (run->n + 2 + wide <= columns) {
		run->tone = TONE_FAINT;
		while (run->n + wide < columns)
			run_code(run, ' ');
		put(run, below > 0 ? TONE_INPUT : TONE_FAINT, 0, right);
	}
	set_row(view->footer, run);
}

static void update_placeholder(struct view *view, const struct answer_context *context)
{
	struct placeholder_text text;
	struct run *run = &view->run;
	answer_placeholder(context, &text);

	run_reset(run, TONE_STRONG);
	run->flags = CELL_BOLD;
	run_text(run, text.title);
	if (run->n > (size_t)scene_text_columns(view->head_row))
		run->flags = 0;
	set_row(view->head_row, run);

	run_reset(run, TONE_TEXT);
	put_tag(run, text.tag);
	run_text(run, " ");
	run_text(run, text.state);
	set_row(view->state_row, run);

	int row = 0;
	for (const char *line = text.advice; *line && row < 5;) {
		run_reset(run, TONE_TEXT);
		run_markup(run, line);
		for (size_t from = 0; from < run->n && row < 5;) {
			size_t next, end = wrap_cells(run->cell, run->n, from, scene_text_columns(view->advice_row[row]), &next);
			scene_text_set(view->advice_row[row++], run->cell + from, end - from);
			from = next;
		}
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	int used = row;
	while (row < 5)
		scene_text_set(view->advice_row[row++], NULL, 0);

	run_reset(run, TONE_DIM);
	if (status_no_keyboard(context->status)) {
		put(run, TONE_BAD, 0, NO_KEYBOARD);
	} else {
		put_key(run, context->toggle_key, "or ");
		put_key(run, context->hide_key, "goes back to the native screen");
	}
	set_row(view->key_row, run);

	/* The card ends below what it says. */
	int y = view->advice_y + used * view->text.height + view->text.height;
	if (y + view->text.height + view->advice_x - view->card_box.x > view->card_box.y + view->card_box.h)
		y = view->card_box.y + view->card_box.h - view->text.height - view->text.height / 2;
	scene_node_place(view->key_row, view->advice_x, y, 0, 0);
	scene_node_place(view->card, view->card_box.x, view->card_box.y, view->card_box.w,
		y + view->text.height + (view->advice_x - view->card_box.x) - view->card_box.y);
}

void view_update(struct view *view, const struct view_model *model)
{
	const struct status *status = model->context->status;
	if (view->placeholder) {
		update_placeholder(view, model->context);
		return;
	}
	struct run *run = &view->run;
	run_reset(run, TONE_STRONG);
	run->flags = CELL_BOLD;
	run_text(run, "RayOS");
	set_row(view->title, run);
	update_state(view, status);
	if (view->layout.sidebar)
		update_sidebar(view, status);
	else
		update_lines(view, status);
	update_transcript(view, model->transcript);
	update_prompt(view, model->prompt, status_no_keyboard(status));
	update_footer(view, model->context, transcript_below(model->transcript));
}
