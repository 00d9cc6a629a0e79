#include "toggle/presentation.h"

enum presentation presentation_next(enum presentation state, enum presentation_event event)
{
	switch (event) {
	case PRESENTATION_TOGGLE:
		return state == PRESENTATION_PRESENTED ? PRESENTATION_HIDDEN : PRESENTATION_PRESENTED;
	case PRESENTATION_SHOW:
		return PRESENTATION_PRESENTED;
	case PRESENTATION_HIDE:
		return PRESENTATION_HIDDEN;
	}
	return state;
}
