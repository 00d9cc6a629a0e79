/*
 * Why a toggle was late: its steps and what the front thread did meanwhile, for the last few. A toggle can only be late by the front thread's own work, or because the machine
 * did not run it; the turns of its loop, with the CPU time they took, tell these apart. Times: CLOCK_MONOTONIC nanoseconds.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LATE_KEPT 64
#define TURN_LOOK_NS 200000ull /* of turns, between looks at the thread's CPU time, each of which is a system call */

/* The front thread's loop; touched by that thread only. */
struct turns {
	uint64_t began_ns; /* of the present turn */
	uint64_t stall_ns, stall_end_ns; /* the last turn that was longer than allowed; 0: none yet */
	uint64_t stall_cpu_ns; /* the CPU time that it took; with that of the turns since the last look, TURN_LOOK_NS at most, so never too little */
	uint64_t unseen_ns, cpu_ns; /* turns since the last look, and what that said */
	uint64_t key_ns; /* time stamp of the key that was read last */
};

/* A toggle. The latch's margin, and the vblank that it promised, are those of the moment of event_ns. */
struct late_toggle {
	uint64_t key_ns;   /* the key's time stamp, 0: by a command; where keys come by the control socket, when that had read it */
	uint64_t event_ns; /* the time stamp that the router has; by the control socket, when the front thread had read it */
	uint64_t read_turn_ns, read_ns; /* the turn in which it was acted upon, and when */
	uint64_t margin_ns, due_ns;
	uint64_t commit_turn_ns, commit_ns, committed_ns; /* the turn of its commit, that commit's begin and end */
	uint64_t flip_ns; /* 0: none, the next toggle replaced it after the vblank it was due at, when commit_ns and committed_ns say */
	uint64_t ahead_commit_ns, ahead_target_ns; /* the flip that was in flight when it was read, 0: none: its commit's begin, and the vblank that was for, 0: not known */
	uint64_t ahead_flip_ns; /* the last flip before the toggle's */
	uint64_t stall_ns, stall_end_ns, stall_cpu_ns; /* of struct turns, at the flip; 0: none for a while */
	uint64_t vblanks; /* later than the one it was due at */
	uint64_t cpu;     /* where the commit was made */
};

#define LATE_WORDS (sizeof(struct late_toggle) / sizeof(uint64_t))

/* One thread records, any reads. */
struct late_toggles {
	_Atomic uint64_t count; /* ever recorded */
	_Atomic uint64_t word[LATE_KEPT][LATE_WORDS];
};

void late_record(struct late_toggles *late, const struct late_toggle *toggle);
/* Those of the last LATE_KEPT - 1 that are whole, oldest first. Returns how many; *first receives the number of the first, which counts from 0. */
uint32_t late_read(const struct late_toggles *late, struct late_toggle out[LATE_KEPT], uint64_t *first);
/* Numbers begin anew. */
void late_reset(struct late_toggles *late);

void turn_begins(struct turns *turns, uint64_t now_ns);
/* Whether it was longer than limit_ns. */
bool turn_ends(struct turns *turns, uint64_t now_ns, uint64_t limit_ns);
