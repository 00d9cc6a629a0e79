#include "kms/layout.h"

enum panel_face layout_face(const struct layout_state *state)
{
	if (state->presentation == PRESENTATION_PRESENTED) {
		if (state->guest_scanout && state->complete[PANEL_FACE_GUEST])
			return PANEL_FACE_GUEST;
		if (state->complete[PANEL_FACE_PLACEHOLDER])
			return PANEL_FACE_PLACEHOLDER;
	}
	if (state->complete[PANEL_FACE_UI])
		return PANEL_FACE_UI;
	return PANEL_FACES;
}

enum panel_face layout_further(const struct layout_state *state, enum panel_face guest)
{
	return state->presentation == PRESENTATION_PRESENTED && state->guest_scanout && state->complete[guest] ? guest : PANEL_FACES;
}
