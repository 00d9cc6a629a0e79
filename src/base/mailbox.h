/*
 * Mailbox: a bounded queue of fixed-size messages from any threads to one, with an eventfd to wake the reader. Posting never waits.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mailbox;

/* slots: a power of two. message_size: bytes of one message. Returns NULL with errno. */
struct mailbox *mailbox_create(uint32_t slots, size_t message_size);
void mailbox_destroy(struct mailbox *mailbox);
/* Readable (level-triggered) while messages wait that were not posted quietly; owned by the mailbox. */
int mailbox_fd(const struct mailbox *mailbox);
/* Any thread. Copies the message. False when full: nothing was posted. */
bool mailbox_post(struct mailbox *mailbox, const void *message);
/* The same without waking the reader, who finds it behind what was posted before, whenever it takes. */
bool mailbox_post_quietly(struct mailbox *mailbox, const void *message);
/* Any thread: wakes the reader. */
void mailbox_wake(struct mailbox *mailbox);
/* True when `count` messages fit now. Holds until the caller posts when nobody else does. Any thread. */
bool mailbox_has_room(const struct mailbox *mailbox, uint32_t count);
/* Reader's thread only. False when empty. */
bool mailbox_take(struct mailbox *mailbox, void *message);
/* Reader's thread: whether there is something to take. */
bool mailbox_waiting(const struct mailbox *mailbox);
/* Reader's thread: clears the eventfd; call before taking until empty. */
void mailbox_ack(struct mailbox *mailbox);
