#include "link/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct link_table {
	uint64_t pixels_size;
	struct link_buffer *buffer[LINK_MAX_BUFFERS]; /* NULL: free */
	struct link_buffer *incoming;                 /* announced, segments still arriving */
	struct link_head head[LINK_MAX_HEADS];
	struct link_buffer_id released[LINK_MAX_BUFFERS];
	uint32_t n_released;
};

struct link_table *link_table_create(uint64_t pixels_size)
{
	struct link_table *table = calloc(1, sizeof *table);
	if (table != NULL)
		table->pixels_size = pixels_size;
	return table;
}

static void buffer_free(struct link_buffer *buffer)
{
	free(buffer->segment);
	free(buffer);
}

void link_table_destroy(struct link_table *table)
{
	if (table == NULL)
		return;
	for (int i = 0; i < LINK_MAX_BUFFERS; i++)
		if (table->buffer[i] != NULL)
			buffer_free(table->buffer[i]);
	free(table);
}

static struct link_buffer **slot_of(struct link_table *table, struct link_buffer_id name)
{
	for (int i = 0; i < LINK_MAX_BUFFERS; i++) {
		struct link_buffer *buffer = table->buffer[i];
		if (buffer != NULL && buffer->name.id == name.id && buffer->name.generation == name.generation)
			return &table->buffer[i];
	}
	return NULL;
}

static bool shown(const struct link_table *table, const struct link_buffer *buffer)
{
	for (int i = 0; i < LINK_MAX_HEADS; i++)
		if (table->head[i].buffer == buffer)
			return true;
	return false;
}

/* Frees the buffer in this slot when its producer gave it up and no head shows it. */
static void settle(struct link_table *table, struct link_buffer **slot)
{
	struct link_buffer *buffer = *slot;
	if (!buffer->dead || shown(table, buffer))
		return;
	/* Room is certain: there are as many entries as buffers can be alive, unless the caller never collects. */
	if (table->n_released == LINK_MAX_BUFFERS)
		return;
	table->released[table->n_released++] = buffer->name;
	if (table->incoming == buffer)
		table->incoming = NULL;
	*slot = NULL;
	buffer_free(buffer);
}

static void settle_all(struct link_table *table)
{
	for (int i = 0; i < LINK_MAX_BUFFERS; i++)
		if (table->buffer[i] != NULL)
			settle(table, &table->buffer[i]);
}

static const char *take_buffer(struct link_table *table, const struct link_message *message)
{
	uint32_t untrusted_width = message->buffer.width, untrusted_height = message->buffer.height;
	uint32_t untrusted_stride = message->buffer.stride, untrusted_segments = message->buffer.n_segments;

	if (untrusted_width == 0 || untrusted_height == 0 || untrusted_width > LINK_MAX_SIDE || untrusted_height > LINK_MAX_SIDE)
		return "buffer with impossible size";
	if (untrusted_stride < untrusted_width * 4 || untrusted_stride > LINK_MAX_SIDE * 16 || untrusted_stride % 4 != 0)
		return "buffer with impossible stride";
	if (message->buffer.offset % 4 != 0 || message->buffer.offset > table->pixels_size)
		return "buffer with impossible offset";
	if (untrusted_segments == 0 || untrusted_segments > LINK_MAX_SEGMENTS)
		return "buffer with impossible number of segments";
	if (slot_of(table, message->buffer.buffer) != NULL)
		return "buffer announced twice";
	if (table->incoming != NULL)
		return "buffer announced before the last one was complete";

	struct link_buffer **slot = NULL;
	for (int i = 0; i < LINK_MAX_BUFFERS && slot == NULL; i++)
		if (table->buffer[i] == NULL)
			slot = &table->buffer[i];
	if (slot == NULL)
		return "too many buffers";

	struct link_buffer *buffer = calloc(1, sizeof *buffer);
	if (buffer == NULL)
		return "no memory for a buffer";
	buffer->segment = calloc(untrusted_segments, sizeof *buffer->segment);
	if (buffer->segment == NULL) {
		free(buffer);
		return "no memory for a buffer";
	}
	buffer->name = message->buffer.buffer;
	buffer->width = untrusted_width;
	buffer->height = untrusted_height;
	buffer->stride = untrusted_stride;
	buffer->format = message->buffer.format;
	buffer->offset = message->buffer.offset;
	buffer->n_segments = untrusted_segments;
	*slot = buffer;
	table->incoming = buffer;
	return NULL;
}

/* Does the picture end inside the sum of the segments? */
static bool covers(const struct link_buffer *buffer)
{
	uint64_t total = 0;
	for (uint32_t i = 0; i < buffer->n_segments; i++)
		if (!add_u64(total, buffer->segment[i].length, &total))
			return false;
	/* Sizes are bounded by take_buffer: no overflow in 64 bits. */
	uint64_t end = buffer->offset + (uint64_t)buffer->stride * (buffer->height - 1) + (uint64_t)buffer->width * 4;
	return end <= total;
}

static void drop_incoming(struct link_table *table)
{
	struct link_buffer **slot = slot_of(table, table->incoming->name);
	buffer_free(*slot);
	*slot = NULL;
	table->incoming = NULL;
}

static const char *take_segments(struct link_table *table, const struct link_message *message)
{
	struct link_buffer *buffer = table->incoming;
	uint32_t untrusted_count = message->segments.count;

	if (buffer == NULL || memcmp(&buffer->name, &message->segments.buffer, sizeof buffer->name) != 0)
		return "segments of no buffer";
	if (untrusted_count == 0 || untrusted_count > LINK_SEGMENTS_PER_MESSAGE || untrusted_count > buffer->n_segments - buffer->n_received) {
		drop_incoming(table);
		return "impossible number of segments";
	}
	for (uint32_t i = 0; i < untrusted_count; i++) {
		struct link_segment segment = message->segments.segment[i];
		uint64_t end;
		/* Multiples of 4 keep every pixel inside one segment. */
		if (segment.length == 0 || segment.length % 4 != 0 || segment.offset % 4 != 0 ||
			!add_u64(segment.offset, segment.length, &end) || end > table->pixels_size) {
			drop_incoming(table);
			return "segment outside the pixel memory";
		}
		buffer->segment[buffer->n_received++] = segment;
	}
	if (buffer->n_received < buffer->n_segments)
		return NULL;
	if (!covers(buffer)) {
		drop_incoming(table);
		return "buffer larger than its segments";
	}
	buffer->complete = true;
	table->incoming = NULL;
	return NULL;
}

static const char *check_cursor(struct link_table *table, const struct link_message *message)
{
	if (message->head >= LINK_MAX_HEADS)
		return "pointer picture for a head that does not exist";
	if (message->cursor.buffer.id == 0)
		return NULL;
	const struct link_buffer *buffer = link_table_find(table, message->cursor.buffer);
	if (buffer == NULL)
		return "pointer picture of an unknown buffer";
	if (buffer->width != LINK_CURSOR_SIDE || buffer->height != LINK_CURSOR_SIDE)
		return "pointer picture of an unusual size";
	return NULL;
}

static const char *take_frame(struct link_table *table, const struct link_message *message)
{
	if (message->head >= LINK_MAX_HEADS)
		return "frame for a head that does not exist";
	struct link_head *head = &table->head[message->head];
	struct link_buffer **slot = slot_of(table, message->frame.buffer);
	if (slot == NULL || !(*slot)->complete || (*slot)->dead)
		return "frame of an unknown buffer";
	struct link_buffer *buffer = *slot;

	struct rect whole = { 0, 0, buffer->width, buffer->height };
	struct rect source = rect_intersect(message->frame.source, whole);
	if (rect_empty(&source) || memcmp(&source, &message->frame.source, sizeof source) != 0)
		return "frame with a source outside its buffer";
	if (message->frame.sequence <= head->sequence)
		return "frame with an old sequence number";

	/* Damage is told since the last frame of the head, also across buffers; another part or size is all new. */
	bool continues = head->buffer != NULL && memcmp(&head->source, &source, sizeof source) == 0;
	head->buffer = buffer;
	head->source = source;
	head->sequence = message->frame.sequence;
	struct rect damage = rect_intersect(message->frame.damage, source);
	head->damage = continues ? rect_union(head->damage, damage) : source;
	settle_all(table);
	return NULL;
}

enum link_change link_table_take(struct link_table *table, const struct link_message *message, const char **why)
{
	const char *wrong = NULL;
	*why = NULL;

	switch (message->type) {
	case LINK_BUFFER:
		wrong = take_buffer(table, message);
		break;
	case LINK_SEGMENTS:
		wrong = take_segments(table, message);
		break;
	case LINK_BUFFER_DEAD: {
		struct link_buffer **slot = slot_of(table, message->dead);
		if (slot == NULL) {
			wrong = "an unknown buffer given up";
			/* Its announcement may have been refused. The producer waits for the answer, or it could never use the id again. */
			if (table->n_released < LINK_MAX_BUFFERS)
				table->released[table->n_released++] = message->dead;
			break;
		}
		if ((*slot)->dead) {
			wrong = "a buffer given up twice";
			break;
		}
		(*slot)->dead = true;
		settle(table, slot);
		break;
	}
	case LINK_FRAME:
		wrong = take_frame(table, message);
		if (wrong == NULL)
			return LINK_CHANGE_FRAME;
		break;
	case LINK_NO_FRAME:
		if (message->head >= LINK_MAX_HEADS) {
			wrong = "no frame for a head that does not exist";
			break;
		}
		table->head[message->head].buffer = NULL;
		table->head[message->head].damage = (struct rect){ 0 };
		settle_all(table);
		return LINK_CHANGE_NO_FRAME;
	case LINK_CURSOR:
		wrong = check_cursor(table, message);
		if (wrong == NULL)
			return LINK_CHANGE_OTHER;
		break;
	case LINK_VM_STATE:
	case LINK_ACTION:
	case LINK_LEDS:
		return LINK_CHANGE_OTHER;
	default:
		wrong = "message of an unknown type";
	}
	*why = wrong;
	return wrong != NULL ? LINK_CHANGE_REFUSED : LINK_CHANGE_NONE;
}

const struct link_buffer *link_table_find(const struct link_table *table, struct link_buffer_id name)
{
	for (int i = 0; i < LINK_MAX_BUFFERS; i++) {
		const struct link_buffer *buffer = table->buffer[i];
		if (buffer != NULL && buffer->name.id == name.id && buffer->name.generation == name.generation)
			return buffer->complete && !buffer->dead ? buffer : NULL;
	}
	return NULL;
}

const struct link_head *link_table_head(const struct link_table *table, uint32_t head)
{
	return head < LINK_MAX_HEADS ? &table->head[head] : NULL;
}

struct rect link_table_take_damage(struct link_table *table, uint32_t head)
{
	if (head >= LINK_MAX_HEADS)
		return (struct rect){ 0 };
	struct rect damage = table->head[head].damage;
	table->head[head].damage = (struct rect){ 0 };
	return damage;
}

bool link_table_next_released(struct link_table *table, struct link_buffer_id *buffer)
{
	settle_all(table);
	if (table->n_released == 0)
		return false;
	*buffer = table->released[--table->n_released];
	return true;
}

bool link_buffer_runs(const struct link_buffer *buffer, struct link_place *place, uint64_t offset, uint64_t length,
	void (*run)(void *data, uint64_t pixels_offset, uint64_t length), void *data)
{
	struct link_place at = place != NULL && place->offset <= offset ? *place : (struct link_place){ 0 };
	while (at.segment < buffer->n_segments && offset - at.offset >= buffer->segment[at.segment].length)
		at.offset += buffer->segment[at.segment++].length;
	if (place != NULL)
		*place = at;
	offset -= at.offset;
	for (uint32_t i = at.segment; i < buffer->n_segments && length > 0; i++) {
		const struct link_segment *segment = &buffer->segment[i];
		uint64_t here = segment->length - offset < length ? segment->length - offset : length;
		run(data, segment->offset + offset, here);
		length -= here;
		offset = 0;
	}
	return length == 0;
}
