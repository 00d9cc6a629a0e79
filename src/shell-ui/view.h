/*
 * The two faces as scenes: the UI (banner, status, transcript, prompt, footer) and the placeholder. A view is made for one size of
 * screen and then only told what there is to show; it changes the nodes that differ.
 */
#pragma once

#include <stdint.h>

#include "base/status.h"
#include "shell-ui/answers.h"
#include "shell-ui/layout.h"
#include "shell-ui/prompt.h"
#include "shell-ui/scene.h"
#include "shell-ui/transcript.h"

struct view;

struct view_model {
	const struct answer_context *context;
	struct transcript *transcript; /* resized to the view by view_create_main() */
	const struct prompt *prompt;
};

/* width, height: pixels. NULL with errno, or when no font could be loaded. */
struct view *view_create_main(int width, int height, struct transcript *transcript);
struct view *view_create_placeholder(int width, int height);
void view_destroy(struct view *view);
/* Brings the scene up to date; what changed is in its damage. */
void view_update(struct view *view, const struct view_model *model);
/* Whether a pixel is in the prompt's box, as it was last updated; *at: which code point of the line is there, its length behind the last. */
bool view_prompt_at(const struct view *view, const struct prompt *prompt, int x, int y, uint32_t *at);
struct scene *view_scene(struct view *view);
const struct layout *view_layout(const struct view *view);
