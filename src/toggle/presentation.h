/* The presentation machine: Hidden or Presented, nothing else. Pure. */
#pragma once

#include "base/status.h"

enum presentation_event { PRESENTATION_TOGGLE, PRESENTATION_SHOW, PRESENTATION_HIDE };

/* The state after `event`; the same state when nothing changes (SHOW while Presented, HIDE while Hidden). */
enum presentation presentation_next(enum presentation state, enum presentation_event event);
