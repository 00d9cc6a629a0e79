/*
 * The panel's view of one producer: buffers it announced, checked once, and its heads' current frame.
 * Pure (no descriptors, no threads): fed with messages, it answers with what changed. Runs on the panel's worker.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "link/link.h"

struct link_buffer {
	struct link_buffer_id name;
	uint32_t width, height, stride, format;
	uint64_t offset;
	uint32_t n_segments, n_received;
	struct link_segment *segment; /* checked: inside the pixel memory, in sum large enough for the picture */
	bool complete;                /* all segments arrived and passed */
	bool dead;                    /* the producer gave it up; freed when no head shows it */
};

struct link_head {
	struct link_buffer *buffer; /* NULL: no picture */
	uint64_t sequence;
	struct rect source;
	struct rect damage; /* united since link_table_take_damage */
};

enum link_change { LINK_CHANGE_NONE, LINK_CHANGE_FRAME, LINK_CHANGE_NO_FRAME, LINK_CHANGE_OTHER, LINK_CHANGE_REFUSED };

struct link_table;

/* pixels_size: bytes of the producer's memory, the bound of every segment. NULL with errno. */
struct link_table *link_table_create(uint64_t pixels_size);
void link_table_destroy(struct link_table *table);
/*
 * Takes one message. FRAME / NO_FRAME: head message->head changed. OTHER: a valid message that is not about frames
 * (state, action, leds, and cursor with its buffer checked), for the caller to act on. REFUSED: nonsense, ignored; *why (static text) says what.
 */
enum link_change link_table_take(struct link_table *table, const struct link_message *message, const char **why);
/* A buffer that may be read now: complete and not dead. NULL when there is none; valid until the next link_table_take(). */
const struct link_buffer *link_table_find(const struct link_table *table, struct link_buffer_id name);
const struct link_head *link_table_head(const struct link_table *table, uint32_t head);
/* Damage of a head since the last call, in buffer coordinates; clears it. */
struct rect link_table_take_damage(struct link_table *table, uint32_t head);
/* Names of buffers that became free (dead and shown by no head) since the last call; false when there is none left. The caller answers LINK_RELEASED. */
bool link_table_next_released(struct link_table *table, struct link_buffer_id *buffer);
/* Where a walk over a buffer's segments has come to: row after row costs no search from the first one. Zeros: at the beginning. */
struct link_place {
	uint32_t segment;
	uint64_t offset; /* of its first byte in the buffer */
};

/*
 * Bytes at offset of the buffer's segments as runs: calls run(data, offset in pixel memory, length) for [offset, offset+length). False when out of range.
 * place: of this buffer, moved to the offset; NULL for a single walk.
 */
bool link_buffer_runs(const struct link_buffer *buffer, struct link_place *place, uint64_t offset, uint64_t length,
	void (*run)(void *data, uint64_t pixels_offset, uint64_t length), void *data);
