#include "link/guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#include "base/base.h"

#define GUARDED 4 /* one guest, and its successor for a moment */

/* Signal handlers are the process's, and so is what they know. Written under the lock, read by the handler. */
static struct {
	_Atomic uintptr_t start; /* 0: free */
	_Atomic uintptr_t end;
	_Atomic bool broken;
} guarded[GUARDED];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards changes of the table */

/* The fault comes from the thread that reads the range, which therefore is not being unmapped. */
static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	int saved = errno;
	uintptr_t at = (uintptr_t)info->si_addr;
	for (size_t i = 0; i < GUARDED; i++) {
		uintptr_t start = atomic_load(&guarded[i].start), end = atomic_load(&guarded[i].end);
		if (start == 0 || at < start || at >= end)
			continue;
		if (mmap((void *)start, end - start, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED) {
			atomic_store(&guarded[i].broken, true);
			errno = saved;
			return;
		}
	}
	/* A fault like any other: the same access ends the program now. */
	signal(number, SIG_DFL);
}

bool guard_add(void *start, uint64_t size)
{
	bool added = false;
	pthread_mutex_lock(&lock);
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	sigaction(SIGBUS, &action, NULL);
	for (size_t i = 0; i < GUARDED && !added; i++) {
		if (atomic_load(&guarded[i].start) != 0)
			continue;
		atomic_store(&guarded[i].broken, false);
		atomic_store(&guarded[i].end, (uintptr_t)start + size);
		atomic_store(&guarded[i].start, (uintptr_t)start);
		added = true;
	}
	pthread_mutex_unlock(&lock);
	return added;
}

void guard_remove(void *start)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < GUARDED; i++)
		if (atomic_load(&guarded[i].start) == (uintptr_t)start)
			atomic_store(&guarded[i].start, 0);
	pthread_mutex_unlock(&lock);
}

bool guard_broken(const void *start)
{
	for (size_t i = 0; i < GUARDED; i++)
		if (atomic_load(&guarded[i].start) == (uintptr_t)start)
			return atomic_load(&guarded[i].broken);
	return false;
}
