/*
 * The card thread: closes a card that is gone and opens the next one, which may take long (the seat manager, the driver's own start) and is therefore neither the
 * front's nor the worker's, whose sandbox opens nothing. One thing at a time; it sleeps until it is asked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define OPENER_WHY 512 /* bytes of a reason */

struct backend;
struct opener;

/* Starts the thread, for backend_ops.open_card. NULL with errno. */
struct opener *opener_create(struct backend *backend);
/* Waits for the thread. */
void opener_destroy(struct opener *opener);
/* Front: as open_card. Not before the last one was answered. */
void opener_ask(struct opener *opener, bool look);
/* Readable when there is an answer. */
int opener_fd(const struct opener *opener);
/* Front: takes the answer: what open_card returned, and its reason, which is valid until the next opener_ask(). False: there is none yet. */
bool opener_answer(struct opener *opener, bool *opened, const char **why);
