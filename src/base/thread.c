#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sandbox.h"

struct start {
	char name[16];
	int nice;
	void *(*run)(void *);
	void *arg;
};

static void *trampoline(void *data)
{
	struct start start = *(struct start *)data;
	free(data);
	pthread_setname_np(pthread_self(), start.name);
	/*
	 * A thread started by the raised front thread is brought back to its own level; one of a program started with nice stays where the user
	 * put it. Always by 0, which is the calling thread only (sched(7)): the sandbox lets nobody name another one.
	 */
	struct sched_param normal = { .sched_priority = 0 };
	sched_setscheduler(0, SCHED_OTHER, &normal);
	errno = 0;
	int now = getpriority(PRIO_PROCESS, 0);
	if (errno == 0 && now < start.nice)
		setpriority(PRIO_PROCESS, 0, start.nice);
	sandbox_enter_thread(start.name);
	return start.run(start.arg);
}

int thread_start(pthread_t *thread, const char *name, int nice, void *(*run)(void *), void *arg)
{
	struct start *start = calloc(1, sizeof *start);
	if (start == NULL)
		return -1;
	strncpy(start->name, name, sizeof start->name - 1);
	start->nice = nice;
	start->run = run;
	start->arg = arg;

	sigset_t all, old;
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* of a call that the sandbox refuses: blocked, it would end the program */
	sigdelset(&all, SIGBUS); /* of memory of another process that is not there (link/guard.c), likewise */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int error = pthread_create(thread, NULL, trampoline, start);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error != 0) {
		free(start);
		errno = error;
		return -1;
	}
	return 0;
}

bool thread_end_asked(void)
{
	sigset_t pending;
	return sigpending(&pending) == 0 && (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGHUP) == 1);
}

int thread_raise_self(void)
{
	struct sched_param parameter = { .sched_priority = 2 };
	/* RESET_ON_FORK: helpers and children start at normal priority. */
	if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &parameter) == 0)
		return 2;
	if (setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), -10) == 0)
		return 1;
	return 0;
}
