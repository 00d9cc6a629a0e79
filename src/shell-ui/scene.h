/*
 * Scene: a retained tree of filled rectangles, pixels and glyph runs. Changing a node damages what it covered and covers; rendering
 * repaints a region and nothing else. Because it is retained, a buffer of any age is brought up to date by repainting
 * the damage it missed. Later kinds of node (a client's surface) have a place here. Not thread-safe: the UI's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <pixman.h>

#include "shell-ui/text.h"

struct scene;
struct scene_node;

/* width, height: pixels, 1..16384. The root covers all with TONE_BACK. NULL with errno. */
struct scene *scene_create(int width, int height);
void scene_destroy(struct scene *scene);
struct scene_node *scene_root(struct scene *scene);

/* New nodes stand above their older siblings; positions are relative to the parent. Owned by the scene. NULL with errno. */
struct scene_node *scene_group(struct scene_node *parent, int x, int y);
/* radius: of the corners, pixels. */
struct scene_node *scene_fill(struct scene_node *parent, enum tone tone, int radius, int x, int y, int width, int height);
/* The image is borrowed for one reference (pixman_image_ref). */
struct scene_node *scene_pixels(struct scene_node *parent, pixman_image_t *image, int x, int y);
/* One line of `columns` cells. fonts is borrowed and must outlive the scene. */
struct scene_node *scene_text(struct scene_node *parent, const struct fonts *fonts, int x, int y, int columns);

void scene_node_show(struct scene_node *node, bool visible);
void scene_node_place(struct scene_node *node, int x, int y, int width, int height);
void scene_fill_tone(struct scene_node *node, enum tone tone);
/* Replaces the line: n cells, the rest blank; cells beyond the node's columns are cut. Damages only what differs. */
void scene_text_set(struct scene_node *node, const struct cell *cells, size_t n);
int scene_text_columns(const struct scene_node *node);
/* The line as UTF-8, trailing blanks removed: for tests and screen readers. Returns bytes written without the NUL. */
size_t scene_text_read(const struct scene_node *node, char *out, size_t size);

/* All text of the scene, one line each in tree order, into out; for tests. */
size_t scene_dump(struct scene *scene, char *out, size_t size);

/* What changed since scene_clear_damage(), in pixels of the scene. */
const pixman_region32_t *scene_damage(const struct scene *scene);
void scene_clear_damage(struct scene *scene);
void scene_damage_all(struct scene *scene);
/* Repaints `region` of target, which has the scene's size. Does not touch the damage. */
void scene_render(struct scene *scene, pixman_image_t *target, const pixman_region32_t *region);
