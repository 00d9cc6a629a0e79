/*
 * The spawner: a small process that makes the processes the machine runs in (--isolate). It is forked before the program has threads,
 * a seat or a card, opens by itself what a machine needs (/dev/kvm, kernel, disks ...), and forks a child whenever the panel asks for
 * one: so a new machine begins from clean memory that no guest has ever reached, and the panel itself never opens any of it.
 *
 *   panel --- START, BEGIN, CLOSE ... > spawner --- BEGIN, end of file ---> child (machine)
 *         <-- OPENED, READY, DIED ...--         <-- READY or FAILED -------
 *
 * A child speaks once, before it runs guest code: READY with the descriptors of the panel's half of the link. After that the spawner
 * reads nothing from it; what it has to say goes through the link. Nobody is left over: a child dies with the spawner, the spawner with
 * the panel (PR_SET_PDEATHSIG), however each of them ends. May include base. Knows no machine: tests put their own children in.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SPAWNER_FDS 8
#define SPAWNER_TEXT 320

enum spawner_word {
	/* spawner -> panel */
	SPAWNER_OPENED = 1, /* all is open, and the first child is on its way */
	SPAWNER_FAILED,     /* opening failed, or a child could not set itself up: text, exit_status */
	SPAWNER_READY,      /* a child waits for BEGIN: hello, fds */
	SPAWNER_DIED,       /* a child ended: wait_status, out_of_memory */
	/* panel -> spawner; BEGIN goes on to the child */
	SPAWNER_START, /* another child, as soon as the last one is gone; the asker numbers them */
	SPAWNER_BEGIN,
	SPAWNER_CLOSE, /* the child is to end in order; the asker says KILL when that takes too long */
	SPAWNER_KILL, /* the child, at once, and any START before this */
	SPAWNER_END,  /* the child in order, then the spawner */
};

/* What a child knows that the panel shows. */
struct spawner_hello {
	struct status_line memory, disk;
};

struct spawner_event {
	enum spawner_word word;
	uint32_t child; /* its number; the first one's is 1 */
	int exit_status;
	int wait_status; /* of waitpid(2) */
	bool out_of_memory;
	char text[SPAWNER_TEXT];
	struct spawner_hello hello;
	int fd[SPAWNER_FDS]; /* the receiver's to close */
	uint32_t n_fds;
};

struct spawner_child; /* a child's side */

struct spawner_ops {
	/* In the spawner, once. 0; or -1, a line in error, and the program's exit status. */
	int (*open)(void *data, char *error, size_t error_size, int *exit_status);
	/* In each child, which ends when it returns, with this status. */
	int (*run)(void *data, struct spawner_child *child);
	void *data;
};

struct spawner;

/* --- the panel's side; one thread ------------------------------------------------------------------------------------- */

/*
 * Forks the spawner and waits until all is open; the first child is then on its way. The process must have one thread. NULL, a line in error
 * and the program's exit status.
 */
struct spawner *spawner_create(const struct spawner_ops *ops, char *error, size_t error_size, int *exit_status);
/*
 * Waits until the first child is READY, and leaves that event (and its descriptors) where it is. 0; or -1, a line in error and the
 * program's exit status.
 */
int spawner_await_child(struct spawner *spawner, char *error, size_t error_size, int *exit_status);
/* Readable when an event waits, and when the spawner is gone. */
int spawner_fd(const struct spawner *spawner);
/* 1: an event; 0: none now; -1: the spawner is gone, and no child can be. Never waits. */
int spawner_take(struct spawner *spawner, struct spawner_event *event);
/* The same, waiting for one; also -1 when the program is asked to end meanwhile. */
int spawner_wait(struct spawner *spawner, struct spawner_event *event);
/* START, BEGIN, CLOSE or KILL, of the child with this number. False when the spawner is gone. */
bool spawner_say(struct spawner *spawner, enum spawner_word word, uint32_t child);
/* Ends the child in order (its disks are flushed; killed after half a minute) and the spawner. Waits. */
void spawner_destroy(struct spawner *spawner);
/* Closes the descriptors of an event that nobody wants. */
void spawner_event_close(struct spawner_event *event);
/* Why the child of a DIED ended, for people: "killed by signal 9 (Killed), out of memory". */
void spawner_describe(const struct spawner_event *event, char *text, size_t size);

/* --- a child's side ----------------------------------------------------------------------------------------------------- */

/* The child cannot set itself up. */
void spawner_child_failed(struct spawner_child *child, const char *text, int exit_status);
/* Passes on hello and descriptors (still the caller's to close). 0 or -1 with errno. */
int spawner_child_ready(struct spawner_child *child, const struct spawner_hello *hello, const int *fds, uint32_t n_fds);
/* Waits for BEGIN. False: it will not come, the child is to end. */
bool spawner_child_wait_begin(struct spawner_child *child);
/* Readable when the child is to end. */
int spawner_child_end_fd(const struct spawner_child *child);
