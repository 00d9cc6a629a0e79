/*
 * What the front owes to one producer. Its ring may be full at any moment and the front never waits: newest facts
 * (presented, display, visible) replace older ones, releases queue up. Front thread.
 */
#pragma once

#include "link/link.h"

#define OUTBOX_RELEASED (2 * LINK_MAX_BUFFERS)

struct outbox {
	struct link *link; /* NULL: no such producer, everything is dropped */
	struct {
		bool display_due, visible_due, presented_due;
		struct link_message display, visible, presented;
	} head[LINK_MAX_HEADS];
	struct link_buffer_id released[OUTBOX_RELEASED];
	uint32_t n_released;
	uint64_t lost; /* releases beyond what an honest producer can have */
};

/* Another producer (NULL: none) is owed what is true of display and visibility, and nothing that was owed to the old one. */
void outbox_join(struct outbox *outbox, struct link *link);
void outbox_display(struct outbox *outbox, uint32_t head, const struct link_message *message);
void outbox_visible(struct outbox *outbox, uint32_t head, bool visible);
void outbox_presented(struct outbox *outbox, uint32_t head, uint64_t sequence, uint64_t time_ns);
void outbox_released(struct outbox *outbox, struct link_buffer_id buffer);
/* Sends what fits. True when nothing is left. */
bool outbox_flush(struct outbox *outbox);
