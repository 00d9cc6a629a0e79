/* Named threads. */
#pragma once

#include <pthread.h>

/*
 * Starts a thread with all signals blocked (they arrive by signalfd on the front thread), named `name` (15 bytes at
 * most). nice: added to the thread's nice value where permitted, 0 leaves it. Returns 0 or -1 with errno.
 */
int thread_start(pthread_t *thread, const char *name, int nice, void *(*run)(void *), void *arg);
/* Raises the calling thread: SCHED_RR where allowed, else negative nice where allowed. Returns 2, 1 or 0 for what was had. */
int thread_raise_self(void);
