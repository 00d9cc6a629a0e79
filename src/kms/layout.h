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
	bool guest_scanout;         /* the guest has a picture, on the head that it is about */
	bool complete[PANEL_FACES]; /* the face has a finished framebuffer */
};

/* The face to show on the main output; PANEL_FACES when there is nothing at all, and what is on the screen stays. */
enum panel_face layout_face(const struct layout_state *state);
/* The same of a further output, which one face of the guest's belongs to; PANEL_FACES: black. Either the UI is shown or the guest, on all outputs. */
enum panel_face layout_further(const struct layout_state *state, enum panel_face guest);
