/*
 * Attacks on this program from inside its own threads, to prove what the sandbox refuses. Only in builds with -Dattack=true, and in the test of
 * the sandbox; never in a program that somebody uses.
 */
#pragma once

#include <sys/types.h>

enum {
	ATTACK_READ,      /* open /etc/shadow */
	ATTACK_WRITE,     /* make a file */
	ATTACK_EXEC,      /* another program, which prints that it runs */
	ATTACK_FORK,
	ATTACK_SOCKET,    /* to the network */
	ATTACK_CODE,      /* memory that can be executed */
	ATTACK_PROTECT,   /* memory that becomes executable */
	ATTACK_URING,     /* a ring of its own */
	ATTACK_RING,      /* open /etc/shadow by the disk's ring; ENOENT when there is none */
	ATTACK_PTRACE,    /* the target */
	ATTACK_PEEK,      /* the target's memory, process_vm_readv() */
	ATTACK_KILL,      /* signal 0 to the target */
	ATTACK_IOCTL,     /* type into a terminal: TIOCSTI */
	ATTACK_OWNER,     /* make a descriptor send its signals to the target: F_SETOWN, with F_SETSIG any signal */
	ATTACK_SCHEDULE,  /* set the target's scheduling policy */
	ATTACK_NICE,      /* set the target's nice level */
	ATTACKS,
};

/* The process that is attacked: of the panel for a machine of its own, otherwise the parent. Before any sandbox. */
void attack_prepare(pid_t target);
const char *attack_name(int attack);
/* 0: it succeeded, and that is bad. Otherwise errno. Does not return when the process is killed for it, or when ATTACK_EXEC succeeds. */
int attack_perform(int attack);
/*
 * RAYVM_ATTACK=THREAD:ATTACK (or :all) in the environment, and the calling thread is that one: attacks, and writes a line about each to standard
 * error. thread_start() calls it for each thread, behind the sandbox.
 */
void attack_thread(const char *name);
