/*
 * A laptop's lid. When its device is opened, at the start and at a session's return, it is told how the lid is, if it is closed; after that, what happens to it.
 * Pure.
 */
#pragma once

#include <stdbool.h>

enum lid_policy { LID_IGNORE, LID_BLANK, LID_POWERDOWN };

struct lid {
	bool closed;   /* as last heard */
	bool learning; /* what is heard is how it is, and nothing that happened */
};

/* Nothing is known of it: no device is open, or they are about to be opened. */
void lid_lost(struct lid *lid);
/* They are open: from now on things happen. */
void lid_learned(struct lid *lid);
/* It is closed, or open. True: it was closed, or opened, just now. */
bool lid_heard(struct lid *lid, bool closed);
