/*
 * What is shown. Pure: a function of the presentation and of what there is to show; a toggle only swaps its result.
 * One full-screen face per output; a list of surfaces per output would be a longer result of the same function.
 */
#pragma once

#include <stdbool.h>

#include "base/status.h"
#include "kms/panel.h"

struct layout_state {
	enum presentation presentation;
	bool guest_scanout;         /* the guest has a picture */
	bool complete[PANEL_FACES]; /* the face has a finished framebuffer */
};

/* The face to show; PANEL_FACES when there is nothing at all, and what is on the screen stays. */
enum panel_face layout_face(const struct layout_state *state);
