/*
 * What the threads of this program may no longer ask of the kernel once everything is open: so that whoever takes one over, by the guest's
 * devices or by a picture, a font, a key, holds little. Four parts, each used where the kernel has it:
 *
 *   no_new_privs    of the whole process, from the start
 *   capabilities    all dropped, thread by thread
 *   Landlock        no file but what text and hot-plug read (the front, card and ui threads); none at all elsewhere; no TCP
 *   seccomp         a filter for each kind of thread, made at build time (filters/make_filters.c)
 *
 * In one process this is hygiene: threads share their memory, so who has one whole thread has all of them, and the bounds are those of the
 * widest. The machine's own process (--isolate) is the boundary: there a forbidden call ends the process; here it fails with EPERM and is logged.
 *
 * Sanitizers make calls of their own from any thread: in such builds everything but no_new_privs stays off.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct sandbox_config {
	bool on;
	bool strict; /* for tests: a refused call ends the process */
	const char *remove_in; /* the folder of the control socket, which is removed at the end; NULL: none. Borrowed. */
};

/*
 * Asks the kernel what it has, and sets no_new_privs (also when it is off: nothing here needs more rights by exec). Main thread, before any
 * other thread. Without this call, as in tests of single rooms, threads run as they are.
 */
void sandbox_prepare(const struct sandbox_config *config);
/* The calling thread, started under `name`, loads its filter. thread_start() does it for every thread. A part that fails is logged, once. */
void sandbox_enter_thread(const char *name);
/* The front thread, when the seat, the card and all threads it starts itself are there and its priority is raised. Logs the verdict. */
void sandbox_enter_front(void);
/* The process that makes machines (--isolate), when it has opened what they need: no capabilities, for its children too. */
void sandbox_enter_spawner(void);
/*
 * The machine's own process (--isolate), in two steps. begin: single-threaded, before it makes anything; capabilities are dropped, and threads started
 * from now on are killed, with the process, for a forbidden call. Rings for disks can be made, and files opened, by its first thread.
 * enter: when all is open and before guest code runs; that thread too. Limits, no core dumps, no ptrace by others, signals to itself only, a
 * core-scheduling cookie. enter is false, with errno, when there is no filter: the kernel has none, or the sandbox is off.
 */
void sandbox_begin_machine(void);
bool sandbox_enter_machine(void);
/* One line, for the log and --check: the parts in force, and why others are not. True when all are. Needs no sandbox_prepare(). */
bool sandbox_describe(bool on, char *text, size_t size);
