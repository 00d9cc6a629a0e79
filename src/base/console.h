/*
 * A guest's consoles between the machine and the control thread. A stream is a pair of SOCK_SEQPACKET sockets, non-blocking at both
 * ends and made before any fork: it works the same when the machine is a thread and when it is a child. No pointers cross it.
 *
 * A message is one byte of enum console_message and what belongs to it. Somebody is attached or not; the machine keeps the
 * newest output in a ring and sends only while somebody is, so that a console nobody looks at costs no wake-up. Who attaches first
 * gets what the ring holds, if that stream has a history. Input is sent against credit: at most CONSOLE_WINDOW bytes that the guest has not taken, so that
 * neither side ever has to stop reading the other's messages.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct stats;

enum console_stream { CONSOLE_COM1, CONSOLE_HVC0, CONSOLE_AGENT, CONSOLE_STREAMS };

enum console_message {
	CONSOLE_DATA,   /* either way: bytes */
	CONSOLE_ATTACH, /* to the machine: somebody is there (said again: for a new guest, the input that waits is forgotten) */
	CONSOLE_DETACH, /* to the machine: nobody is there any more; input that waits still goes to the guest */
	CONSOLE_READY,  /* from the machine: answers each CONSOLE_ATTACH; 32 bits, the credit from here on */
	CONSOLE_TAKEN,  /* from the machine: 32 bits, so many bytes of input are credit again */
};

#define CONSOLE_MESSAGE 4096u  /* bytes of the largest message */
#define CONSOLE_WINDOW 4096u   /* bytes of input not taken */
#define CONSOLE_HISTORY 16384u /* bytes of output kept, a power of two */

struct console_pairs {
	int machine[CONSOLE_STREAMS], control[CONSOLE_STREAMS]; /* -1: none */
};
#define CONSOLE_PAIRS_NONE ((struct console_pairs){ { -1, -1, -1 }, { -1, -1, -1 } })

/* Names in the protocol and in messages: "com1", "hvc0", "agent". */
const char *console_name(enum console_stream stream);
/* Where a Linux guest with this command line (may be NULL) has its console, as far as it is one of ours. */
enum console_stream console_of_cmdline(const char *cmdline);
/* 0 or -1 with errno (nothing is left open then). */
int console_pairs_open(struct console_pairs *pairs);
/* In one of two processes that have inherited both sides: closes the other's. */
void console_pairs_keep(struct console_pairs *pairs, bool machine);
/* Closes what is not -1. */
void console_pairs_close(struct console_pairs *pairs);

/* The newest CONSOLE_HISTORY bytes of a stream. Positions run freely: the ring holds tail..head. */
struct console_ring {
	uint64_t head, tail;
	uint8_t bytes[CONSOLE_HISTORY];
};

/* Appends; the oldest make room. Returns how many bytes were lost, of the ring's and of the new ones. */
uint64_t console_ring_put(struct console_ring *ring, const void *bytes, uint64_t size);
/* Copies up to `size` bytes from position `at` (not before the tail). Returns the number copied. */
uint32_t console_ring_copy(const struct console_ring *ring, uint64_t at, void *to, uint32_t size);

/* The machine's end. console_end_put() and the questions from any thread; the rest from one thread, which polls fd for console_end_events(). */
struct console_end {
	pthread_mutex_t lock;     /* guards what follows, but fd and the input */
	struct console_ring ring;
	bool attached;
	bool ready_owed;
	uint32_t taken_owed;
	bool history;             /* who attaches gets what was said before */
	struct stats *stats;      /* borrowed, may be NULL: counts the output that somebody attached did not get */
	/* one thread's */
	int fd;                   /* borrowed; -1: nobody can ever attach, or the other end is gone */
	uint32_t in_size;
	uint8_t in[CONSOLE_WINDOW];
};

void console_end_init(struct console_end *end, int fd, bool history, struct stats *stats);
void console_end_finish(struct console_end *end);
/* Output of the guest. True when the thread that polls should be woken: somebody is attached and nothing was waiting. */
bool console_end_put(struct console_end *end, const void *bytes, uint64_t size);
/* How many bytes can be put without losing any. */
uint32_t console_end_room(struct console_end *end);
bool console_end_attached(struct console_end *end);
/* For poll(): POLLIN, and POLLOUT while something waits to be sent. */
short console_end_events(struct console_end *end);
/* Takes what came, sends what waits: a bounded number of messages, never blocking. Afterwards input may wait, and somebody may have come or gone. */
void console_end_serve(struct console_end *end);
/* The sending half of that. */
void console_end_send(struct console_end *end);
/* Input for the guest that waits: end->in[0 .. in_size). console_end_taken() removes the first n bytes. */
void console_end_taken(struct console_end *end, uint32_t n);
