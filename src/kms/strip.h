/*
 * The trusted strip: rows of the panel in which the host says whose picture the rest is. Producers draw for the rest alone, are told its size, and their
 * pictures are copied into a target that ends there, so that nothing of theirs can be in the strip's rows; the cursor plane is not used where it would
 * reach into them (kms/pointer.h), nor is the guest's own buffer. Pure but for the memory it is given.
 */
#pragma once

#include "kms/blit.h"
#include "kms/panel.h"

struct strip_layout {
	struct rect strip;   /* empty: there is none */
	struct rect content; /* the rest */
};

/* The halves of a screen of that size. */
struct strip_layout strip_layout(enum panel_strip where, uint32_t width, uint32_t height);
/* A part of a target, as a target of its own. */
struct blit_target strip_part(const struct blit_target *target, struct rect part);
/* Where a picture of that size lies on the screen: in the content, in pixels of the screen. */
struct rect strip_letterbox(enum panel_strip where, uint32_t source_w, uint32_t source_h, uint32_t width, uint32_t height);
/* What it says over a face: whose picture that is, and the key (as people call it) to the other side. In letters that there are: capitals, and BACKTICK. */
void strip_write(char *text, size_t size, enum panel_face face, const char *show_key, const char *hide_key);
/* Writes every pixel of the strip (the target of its rows alone). guests: the rest is drawn by the guest. What does not fit of the text is cut. */
void strip_draw(const struct blit_target *strip, bool guests, const char *text);
