#include "kms/outbox.h"

#include <string.h>

void outbox_join(struct outbox *outbox, struct link *link)
{
	outbox->link = link;
	outbox->n_released = 0;
	for (uint32_t h = 0; h < LINK_MAX_HEADS; h++) {
		outbox->head[h].presented_due = false;
		outbox->head[h].display_due = outbox->head[h].display.type == LINK_DISPLAY;
		outbox->head[h].visible_due = outbox->head[h].visible.type == LINK_VISIBLE;
	}
}

void outbox_display(struct outbox *outbox, uint32_t head, const struct link_message *message)
{
	outbox->head[head].display = *message;
	outbox->head[head].display.type = LINK_DISPLAY;
	outbox->head[head].display.head = head;
	outbox->head[head].display_due = true;
}

void outbox_visible(struct outbox *outbox, uint32_t head, bool visible)
{
	struct link_message *message = &outbox->head[head].visible;
	if (message->type == LINK_VISIBLE && message->visible.visible == visible)
		return;
	*message = (struct link_message){.type = LINK_VISIBLE, .head = head, .visible = {.visible = visible}};
	outbox->head[head].visible_due = true;
}

void outbox_presented(struct outbox *outbox, uint32_t head, uint64_t sequence, uint64_t time_ns)
{
	outbox->head[head].presented =
		(struct link_message){.type = LINK_PRESENTED, .head = head, .presented = {.sequence = sequence, .time_ns = time_ns}};
	outbox->head[head].presented_due = true;
}

void outbox_released(struct outbox *outbox, struct link_buffer_id buffer)
{
	if (outbox->n_released == OUTBOX_RELEASED)
		outbox->lost++;
	else
		outbox->released[outbox->n_released++] = buffer;
}

static bool send(struct outbox *outbox, bool *due, const struct link_message *message)
{
	if (*due && link_send_to_producer(outbox->link, message))
		*due = false;
	return !*due;
}

bool outbox_flush(struct outbox *outbox)
{
	if (!outbox->link) {
		outbox->n_released = 0;
		for (uint32_t h = 0; h < LINK_MAX_HEADS; h++)
			outbox->head[h].display_due = outbox->head[h].visible_due = outbox->head[h].presented_due = false;
		return true;
	}
	for (uint32_t h = 0; h < LINK_MAX_HEADS; h++)
		if (!send(outbox, &outbox->head[h].display_due, &outbox->head[h].display) ||
		    !send(outbox, &outbox->head[h].visible_due, &outbox->head[h].visible) ||
		    !send(outbox, &outbox->head[h].presented_due, &outbox->head[h].presented))
			return false;
	uint32_t sent = 0;
	while (sent < outbox->n_released) {
		struct link_message message = {.type = LINK_RELEASED, .dead = outbox->released[sent]};
		if (!link_send_to_producer(outbox->link, &message))
			break;
		sent++;
	}
	outbox->n_released -= sent;
	memmove(outbox->released, outbox->released + sent, outbox->n_released * sizeof(outbox->released[0]));
	return outbox->n_released == 0;
}
