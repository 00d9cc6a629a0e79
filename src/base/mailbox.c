/*
 * A bounded multi-producer queue with one sequence number per slot: a producer claims a position with one
 * compare-and-swap, writes, and publishes by advancing the slot's number; the reader waits for that number only. Nobody
 * takes a lock, so a low-priority poster cannot hold up the front thread.
 *
 * Slot number == position: free for the producer of that position. == position + 1: filled, for the reader.
 */
#include "base/mailbox.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct mailbox {
	uint32_t slots;
	size_t message_size, slot_size;
	int fd;
	_Atomic uint64_t next_in;
	uint64_t next_out; /* reader's */
	_Atomic uint64_t *turn;
	uint8_t *data;
};

struct mailbox *mailbox_create(uint32_t slots, size_t message_size)
{
	if (slots < 2 || (slots & (slots - 1)) != 0 || message_size == 0) {
		errno = EINVAL;
		return NULL;
	}
	struct mailbox *mailbox = calloc(1, sizeof *mailbox);
	if (mailbox == NULL)
		return NULL;
	mailbox->slots = slots;
	mailbox->message_size = message_size;
	mailbox->slot_size = (message_size + 15) & ~(size_t)15;
	mailbox->turn = calloc(slots, sizeof *mailbox->turn);
	mailbox->data = calloc(slots, mailbox->slot_size);
	mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mailbox->turn == NULL || mailbox->data == NULL || mailbox->fd < 0) {
		mailbox_destroy(mailbox);
		return NULL;
	}
	for (uint32_t i = 0; i < slots; i++)
		atomic_init(&mailbox->turn[i], i);
	return mailbox;
}

void mailbox_destroy(struct mailbox *mailbox)
{
	if (mailbox == NULL)
		return;
	if (mailbox->fd >= 0)
		close(mailbox->fd);
	free(mailbox->turn);
	free(mailbox->data);
	free(mailbox);
}

int mailbox_fd(const struct mailbox *mailbox)
{
	return mailbox->fd;
}

bool mailbox_post_quietly(struct mailbox *mailbox, const void *message)
{
	uint64_t position = atomic_load_explicit(&mailbox->next_in, memory_order_relaxed);
	uint32_t slot;

	for (;;) {
		slot = (uint32_t)(position & (mailbox->slots - 1));
		uint64_t turn = atomic_load_explicit(&mailbox->turn[slot], memory_order_acquire);
		if (turn == position) {
			if (atomic_compare_exchange_weak_explicit(&mailbox->next_in, &position, position + 1,
				    memory_order_relaxed, memory_order_relaxed))
				break;
		} else if (turn < position) {
			return false; /* the reader has not emptied this slot yet */
		} else {
			position = atomic_load_explicit(&mailbox->next_in, memory_order_relaxed);
		}
	}
	memcpy(mailbox->data + slot * mailbox->slot_size, message, mailbox->message_size);
	atomic_store_explicit(&mailbox->turn[slot], position + 1, memory_order_release);
	return true;
}

void mailbox_wake(struct mailbox *mailbox)
{
	/* A full eventfd counter (EAGAIN) is already readable: nothing to do about it. */
	uint64_t one = 1;
	ssize_t written = write(mailbox->fd, &one, sizeof one);
	(void)written;
}

bool mailbox_post(struct mailbox *mailbox, const void *message)
{
	bool posted = mailbox_post_quietly(mailbox, message);
	if (posted)
		mailbox_wake(mailbox);
	return posted;
}

bool mailbox_has_room(const struct mailbox *mailbox, uint32_t count)
{
	if (count == 0)
		return true;
	if (count > mailbox->slots)
		return false;
	/* Slots become free in order: when the last one needed is, all before it are. */
	uint64_t last = atomic_load_explicit(&mailbox->next_in, memory_order_relaxed) + count - 1;
	return atomic_load_explicit(&mailbox->turn[last & (mailbox->slots - 1)], memory_order_acquire) == last;
}

bool mailbox_waiting(const struct mailbox *mailbox)
{
	uint32_t slot = (uint32_t)(mailbox->next_out & (mailbox->slots - 1));
	return atomic_load_explicit(&mailbox->turn[slot], memory_order_acquire) == mailbox->next_out + 1;
}

bool mailbox_take(struct mailbox *mailbox, void *message)
{
	uint64_t position = mailbox->next_out;
	uint32_t slot = (uint32_t)(position & (mailbox->slots - 1));

	if (atomic_load_explicit(&mailbox->turn[slot], memory_order_acquire) != position + 1)
		return false;
	memcpy(message, mailbox->data + slot * mailbox->slot_size, mailbox->message_size);
	atomic_store_explicit(&mailbox->turn[slot], position + mailbox->slots, memory_order_release);
	mailbox->next_out = position + 1;
	return true;
}

void mailbox_ack(struct mailbox *mailbox)
{
	uint64_t count;
	ssize_t got = read(mailbox->fd, &count, sizeof count);
	(void)got; /* EAGAIN: nothing to clear */
}
