/* A flip on several outputs, each of which has an event of its own: over with the last of them. Pure. Front thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct flips {
	uint32_t epoch, waiting; /* waiting: events that have not come; 0: no flip is in flight */
	uint64_t time_ns;        /* of the main output's event, or of another until that comes */
};

/* A commit was accepted for so many outputs. What was waited for before is forgotten. */
void flips_begin(struct flips *flips, uint32_t epoch, uint32_t outputs);
/* An event. True: it was the last one, and flips->time_ns is when the main output flipped. */
bool flips_event(struct flips *flips, uint32_t epoch, bool main, uint64_t time_ns);
