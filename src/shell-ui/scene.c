#include "shell-ui/scene.h"

#include <stdlib.h>
#include <string.h>

#include <wayland-util.h>

enum kind { KIND_GROUP, KIND_FILL, KIND_PIXELS, KIND_TEXT };

struct scene_node {
	struct scene *scene;
	struct scene_node *parent;
	struct wl_list children; /* scene_node.link, lowest first */
	struct wl_list link;
	enum kind kind;
	int x, y, width, height; /* relative to the parent; a group has no size */
	bool hidden;
	union {
		struct {
			enum tone tone;
			int radius;
			pixman_image_t *disc; /* a8, 2*radius square; NULL for sharp corners */
		} fill;
		pixman_image_t *pixels;
		struct {
			const struct fonts *fonts;
			struct cell *cells;
			int columns;
		} text;
	};
};

struct scene {
	int width, height;
	struct scene_node *root;
	pixman_region32_t damage;
	pixman_image_t *colour[TONES];
};

static pixman_color_t to_pixman(uint32_t rgb)
{
	return (pixman_color_t){
		.red = (uint16_t)((rgb >> 16 & 0xff) * 0x101),
		.green = (uint16_t)((rgb >> 8 & 0xff) * 0x101),
		.blue = (uint16_t)((rgb & 0xff) * 0x101),
		.alpha = 0xffff,
	};
}

/* Absolute position; false when the node or one above it is hidden. */
static bool locate(const struct scene_node *node, int *x, int *y)
{
	bool shown = true;
	*x = *y = 0;
	for (; node; node = node->parent) {
		*x += node->x;
		*y += node->y;
		shown = shown && !node->hidden;
	}
	return shown;
}

static void damage_box(struct scene *scene, int x, int y, int width, int height)
{
	if (width <= 0 || height <= 0)
		return;
	pixman_region32_union_rect(&scene->damage, &scene->damage, x, y, (unsigned)width, (unsigned)height);
	pixman_region32_intersect_rect(&scene->damage, &scene->damage, 0, 0, (unsigned)scene->width, (unsigned)scene->height);
}

/* Damages what the node and everything in it covers. */
static void damage_tree(struct scene_node *node)
{
	int x, y;
	if (!locate(node, &x, &y))
		return;
	damage_box(node->scene, x, y, node->width, node->height);
	struct scene_node *child;
	wl_list_for_each(child, &node->children, link)
		damage_tree(child);
}

static struct scene_node *add(struct scene *scene, struct scene_node *parent, enum kind kind, int x, int y, int width, int height)
{
	struct scene_node *node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	*node = (struct scene_node){ .scene = scene, .parent = parent, .kind = kind, .x = x, .y = y,
		.width = width > 0 ? width : 0, .height = height > 0 ? height : 0 };
	wl_list_init(&node->children);
	if (parent)
		wl_list_insert(parent->children.prev, &node->link);
	else
		wl_list_init(&node->link);
	return node;
}

static void free_tree(struct scene_node *node)
{
	struct scene_node *child, *next;
	wl_list_for_each_safe(child, next, &node->children, link)
		free_tree(child);
	wl_list_remove(&node->link);
	if (node->kind == KIND_FILL && node->fill.disc)
		pixman_image_unref(node->fill.disc);
	else if (node->kind == KIND_PIXELS)
		pixman_image_unref(node->pixels);
	else if (node->kind == KIND_TEXT)
		free(node->text.cells);
	free(node);
}

struct scene *scene_create(int width, int height)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	if (!scene)
		return NULL;
	scene->width = width;
	scene->height = height;
	pixman_region32_init(&scene->damage);
	for (int i = 0; i < TONES; i++) {
		pixman_color_t colour = to_pixman(theme_colour((enum tone)i));
		scene->colour[i] = pixman_image_create_solid_fill(&colour);
		if (!scene->colour[i])
			goto fail;
	}
	scene->root = add(scene, NULL, KIND_FILL, 0, 0, width, height);
	if (!scene->root)
		goto fail;
	scene->root->fill.tone = TONE_BACK;
	scene_damage_all(scene);
	return scene;
fail:
	scene_destroy(scene);
	return NULL;
}

void scene_destroy(struct scene *scene)
{
	if (!scene)
		return;
	if (scene->root)
		free_tree(scene->root);
	for (int i = 0; i < TONES; i++) {
		if (scene->colour[i])
			pixman_image_unref(scene->colour[i]);
	}
	pixman_region32_fini(&scene->damage);
	free(scene);
}

struct scene_node *scene_root(struct scene *scene)
{
	return scene->root;
}

struct scene_node *scene_group(struct scene_node *parent, int x, int y)
{
	return add(parent->scene, parent, KIND_GROUP, x, y, 0, 0);
}

/* A disc with smooth edges: coverage by 8x8 samples a pixel. Its quadrants are the corners of a filled node. */
static pixman_image_t *make_disc(int radius)
{
	int side = 2 * radius;
	pixman_image_t *disc = pixman_image_create_bits(PIXMAN_a8, side, side, NULL, 0);
	if (!disc)
		return NULL;
	uint8_t *data = (uint8_t *)pixman_image_get_data(disc);
	int stride = pixman_image_get_stride(disc);
	int limit = radius * 16 * radius * 16; /* in sixteenths of a pixel */
	for (int y = 0; y < side; y++) {
		for (int x = 0; x < side; x++) {
			int inside = 0;
			for (int s = 0; s < 64; s++) {
				int dx = (x - radius) * 16 + (s % 8) * 2 + 1, dy = (y - radius) * 16 + (s / 8) * 2 + 1;
				inside += dx * dx + dy * dy <= limit;
			}
			data[y * stride + x] = (uint8_t)(inside * 255 / 64);
		}
	}
	return disc;
}

struct scene_node *scene_fill(struct scene_node *parent, enum tone tone, int radius, int x, int y, int width, int height)
{
	struct scene_node *node = add(parent->scene, parent, KIND_FILL, x, y, width, height);
	if (!node)
		return NULL;
	if (radius > node->width / 2)
		radius = node->width / 2;
	if (radius > node->height / 2)
		radius = node->height / 2;
	node->fill.tone = tone;
	if (radius > 0) {
		node->fill.disc = make_disc(radius);
		node->fill.radius = node->fill.disc ? radius : 0;
	}
	damage_tree(node);
	return node;
}

struct scene_node *scene_pixels(struct scene_node *parent, pixman_image_t *image, int x, int y)
{
	struct scene_node *node = add(parent->scene, parent, KIND_PIXELS, x, y, pixman_image_get_width(image),
		pixman_image_get_height(image));
	if (!node)
		return NULL;
	node->pixels = pixman_image_ref(image);
	damage_tree(node);
	return node;
}

struct scene_node *scene_text(struct scene_node *parent, const struct fonts *fonts, int x, int y, int columns)
{
	if (columns < 1)
		columns = 1;
	struct scene_node *node = add(parent->scene, parent, KIND_TEXT, x, y, columns * fonts->width, fonts->height);
	if (!node)
		return NULL;
	node->text.fonts = fonts;
	node->text.columns = columns;
	node->text.cells = calloc((size_t)columns, sizeof(struct cell));
	if (!node->text.cells) {
		wl_list_remove(&node->link);
		free(node);
		return NULL;
	}
	return node;
}

void scene_node_show(struct scene_node *node, bool visible)
{
	if (node->hidden == !visible)
		return;
	if (node->hidden) {
		node->hidden = false;
		damage_tree(node);
	} else {
		damage_tree(node);
		node->hidden = true;
	}
}

void scene_node_place(struct scene_node *node, int x, int y, int width, int height)
{
	if (node->kind != KIND_FILL) { /* the others have the size of their content */
		width = node->width;
		height = node->height;
	}
	if (node->x == x && node->y == y && node->width == width && node->height == height)
		return;
	damage_tree(node);
	node->x = x;
	node->y = y;
	node->width = width > 0 ? width : 0;
	node->height = height > 0 ? height : 0;
	damage_tree(node);
}

void scene_fill_tone(struct scene_node *node, enum tone tone)
{
	if (node->fill.tone == tone)
		return;
	node->fill.tone = tone;
	damage_tree(node);
}

static bool same_cell(const struct cell *a, const struct cell *b)
{
	return a->code == b->code && a->tone == b->tone && a->back == b->back && a->flags == b->flags;
}

void scene_text_set(struct scene_node *node, const struct cell *cells, size_t n)
{
	int first = -1, last = -1;
	for (int i = 0; i < node->text.columns; i++) {
		struct cell cell = { 0 };
		if ((size_t)i < n)
			cell = cells[i];
		if (same_cell(&cell, &node->text.cells[i]))
			continue;
		node->text.cells[i] = cell;
		if (first < 0)
			first = i;
		last = i;
	}
	int x, y;
	if (first < 0 || !locate(node, &x, &y))
		return;
	/* A glyph may reach one cell beyond its own, and a wide one covers two. */
	first = first > 1 ? first - 2 : 0;
	last = last < node->text.columns - 3 ? last + 2 : node->text.columns - 1;
	int width = node->text.fonts->width;
	damage_box(node->scene, x + first * width, y, (last - first + 1) * width, node->height);
}

int scene_text_columns(const struct scene_node *node)
{
	return node->text.columns;
}

size_t scene_text_read(const struct scene_node *node, char *out, size_t size)
{
	size_t n = 0, end = 0;
	for (int i = 0; i < node->text.columns; i++) {
		const struct cell *cell = &node->text.cells[i];
		if (cell->flags & CELL_TAIL)
			continue;
		char bytes[4];
		size_t length = utf8_encode(cell->code ? cell->code : ' ', bytes);
		if (n + length + 1 > size)
			break;
		memcpy(out + n, bytes, length);
		n += length;
		if (cell->code && cell->code != ' ')
			end = n;
	}
	if (size > 0)
		out[end] = '\0';
	return end;
}

static void dump_tree(const struct scene_node *node, char *out, size_t size, size_t *n)
{
	if (node->hidden)
		return;
	if (node->kind == KIND_TEXT && *n + 2 < size) {
		*n += scene_text_read(node, out + *n, size - *n - 1);
		out[(*n)++] = '\n';
		out[*n] = '\0';
	}
	const struct scene_node *child;
	wl_list_for_each(child, &node->children, link)
		dump_tree(child, out, size, n);
}

size_t scene_dump(struct scene *scene, char *out, size_t size)
{
	size_t n = 0;
	if (size > 0)
		out[0] = '\0';
	dump_tree(scene->root, out, size, &n);
	return n;
}

const pixman_region32_t *scene_damage(const struct scene *scene)
{
	return &scene->damage;
}

void scene_clear_damage(struct scene *scene)
{
	pixman_region32_clear(&scene->damage);
}

void scene_damage_all(struct scene *scene)
{
	damage_box(scene, 0, 0, scene->width, scene->height);
}

static void paint_box(pixman_image_t *target, enum tone tone, int x, int y, int width, int height)
{
	if (width <= 0 || height <= 0)
		return;
	pixman_color_t colour = to_pixman(theme_colour(tone));
	pixman_box32_t box = { x, y, x + width, y + height };
	pixman_image_fill_boxes(PIXMAN_OP_SRC, target, &colour, 1, &box);
}

static void paint_fill(const struct scene_node *node, pixman_image_t *target, int x, int y)
{
	int r = node->fill.radius, w = node->width, h = node->height;
	enum tone tone = node->fill.tone;
	if (!node->fill.disc || w < 2 * r || h < 2 * r) {
		paint_box(target, tone, x, y, w, h);
		return;
	}
	paint_box(target, tone, x, y + r, w, h - 2 * r);
	paint_box(target, tone, x + r, y, w - 2 * r, r);
	paint_box(target, tone, x + r, y + h - r, w - 2 * r, r);
	for (int corner = 0; corner < 4; corner++) {
		int right = corner & 1, bottom = corner >> 1;
		pixman_image_composite32(PIXMAN_OP_OVER, node->scene->colour[tone], node->fill.disc, target, 0, 0,
			right * r, bottom * r, right ? x + w - r : x, bottom ? y + h - r : y, r, r);
	}
}

static void paint_text(const struct scene_node *node, pixman_image_t *target, int x, int y, const pixman_box32_t *extents)
{
	const struct fonts *fonts = node->text.fonts;
	int width = fonts->width;
	int first = (extents->x1 - x) / width - 2, last = (extents->x2 - 1 - x) / width + 2;
	if (first < 0)
		first = 0;
	if (last >= node->text.columns)
		last = node->text.columns - 1;
	for (int i = first; i <= last; i++) {
		const struct cell *cell = &node->text.cells[i];
		if (cell->flags & CELL_FILLED)
			paint_box(target, cell->back, x + i * width, y, width, node->height);
	}
	for (int i = first; i <= last; i++) {
		const struct cell *cell = &node->text.cells[i];
		enum tone tone = cell->tone < TONES ? cell->tone : TONE_TEXT;
		fonts_draw(fonts, target, node->scene->colour[tone], cell, x + i * width, y);
	}
}

static void render_tree(struct scene_node *node, pixman_image_t *target, const pixman_region32_t *region, int x, int y)
{
	if (node->hidden)
		return;
	x += node->x;
	y += node->y;
	if (node->width > 0 && node->height > 0) {
		pixman_region32_t clip;
		pixman_region32_init(&clip);
		pixman_region32_intersect_rect(&clip, region, x, y, (unsigned)node->width, (unsigned)node->height);
		if (pixman_region32_not_empty(&clip)) {
			pixman_image_set_clip_region32(target, &clip);
			if (node->kind == KIND_FILL)
				paint_fill(node, target, x, y);
			else if (node->kind == KIND_PIXELS)
				pixman_image_composite32(PIXMAN_OP_OVER, node->pixels, NULL, target, 0, 0, 0, 0, x, y,
					node->width, node->height);
			else if (node->kind == KIND_TEXT)
				paint_text(node, target, x, y, pixman_region32_extents(&clip));
		}
		pixman_region32_fini(&clip);
	}
	struct scene_node *child;
	wl_list_for_each(child, &node->children, link)
		render_tree(child, target, region, x, y);
}

void scene_render(struct scene *scene, pixman_image_t *target, const pixman_region32_t *region)
{
	if (!pixman_region32_not_empty((pixman_region32_t *)region))
		return;
	render_tree(scene->root, target, region, 0, 0);
	pixman_image_set_clip_region32(target, NULL);
}
