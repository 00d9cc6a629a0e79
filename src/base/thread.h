/* Named threads. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

/*
 * Starts a thread with all signals blocked (they arrive by signalfd on the front thread; SIGSYS alone is the sandbox's), named `name` (15 bytes
 * at most), in the sandbox of this name (sandbox.c has the list). nice: the least nice value it runs at (0: normal). Returns 0 or -1 with errno.
 */
int thread_start(pthread_t *thread, const char *name, int nice, void *(*run)(void *), void *arg);
/* Was the program asked to end (SIGTERM, SIGHUP, which the start-up blocks) before anybody reads signals? For waits of the start-up. */
bool thread_end_asked(void);
/* Raises the calling thread: SCHED_RR where allowed, else negative nice where allowed. Returns 2, 1 or 0 for what was had. */
int thread_raise_self(void);
