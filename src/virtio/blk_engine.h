/*
 * How a disk's operations reach the host: io_uring, or a few threads where io_uring is forbidden. One engine per disk. Only the
 * disk's own thread ("block") calls one, and it waits in one place, wait(), for guest and host together.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define BLK_FD_WAKE 0 /* of `watch`; the kicks follow */
#define BLK_FDS_MAX 16
#define BLK_FOREVER (-1)

enum blk_op_code { BLK_OP_READ, BLK_OP_WRITE, BLK_OP_FLUSH, BLK_OP_ALLOCATE };

/* One operation. The engine's from submit() until wait() returns it; so are the buffers it points to. */
struct blk_op {
	enum blk_op_code code;
	bool buffered;        /* through the disk's second descriptor */
	bool durable;         /* a write that is on stable storage when done (RWF_DSYNC) */
	bool again;           /* comes back with EAGAIN: not to be tried without blocking any more */
	int mode;             /* of fallocate(), BLK_OP_ALLOCATE */
	uint64_t offset;      /* bytes */
	uint64_t length;      /* bytes, BLK_OP_ALLOCATE */
	struct iovec *iov;    /* read and write */
	uint32_t n;
	int64_t result;       /* bytes, or a negative errno */
	struct blk_op *next;  /* whoever owns it may use this */
};

struct blk_op_list {
	struct blk_op *first, **end; /* end is NULL when first is */
};

/* What wait() found. */
struct blk_events {
	struct blk_op_list done;
	uint32_t ready; /* bit i: watch[i] was signalled */
};

struct blk_engine;

struct blk_engine_ops {
	/* Once, on the thread that will call everything else. 0, or an errno: cannot be used here after all. */
	int (*start)(struct blk_engine *engine);
	void (*submit)(struct blk_engine *engine, struct blk_op *op);
	/* Hands over what was submitted and collects; waits for at most timeout_ns until there is something, with BLK_FOREVER as long as it takes. Adds to *events. */
	void (*wait)(struct blk_engine *engine, int64_t timeout_ns, struct blk_events *events);
	/* What the host has not begun comes back with ECANCELED; the rest when the host is done with it. */
	void (*cancel)(struct blk_engine *engine);
	/* Operations still with the host stay with it: their buffers must outlive the process then. */
	void (*destroy)(struct blk_engine *engine);
};

struct blk_engine {
	const struct blk_engine_ops *ops;
	_Atomic uint64_t *syscalls; /* what it makes are counted here */
};

/* All borrowed, and unchanged as long as the engine lives. */
struct blk_engine_config {
	int fd, buffered_fd;      /* -1: none */
	bool writes;              /* else nothing but reads will be asked for, and nothing else is allowed to it */
	const int *watch;         /* eventfds; [BLK_FD_WAKE] and the queues' kicks */
	uint32_t n_watch;
	uint32_t entries;         /* of the submission queue; 0: default */
	_Atomic uint64_t *syscalls;
};

/* The ring is made here and enabled in start(), so that the process may lose its rights in between. NULL with errno. */
struct blk_engine *blk_uring_create(const struct blk_engine_config *config);
/* NULL with errno. */
struct blk_engine *blk_pool_create(const struct blk_engine_config *config);

static inline void blk_op_append(struct blk_op_list *list, struct blk_op *op)
{
	op->next = NULL;
	if (list->first == NULL)
		list->end = &list->first;
	*list->end = op;
	list->end = &op->next;
}

static inline struct blk_op *blk_op_take(struct blk_op_list *list)
{
	struct blk_op *op = list->first;
	if (op != NULL) {
		list->first = op->next;
		if (list->first == NULL)
			list->end = NULL;
	}
	return op;
}

static inline void blk_count_syscalls(struct blk_engine *engine, uint64_t n)
{
	atomic_fetch_add_explicit(engine->syscalls, n, memory_order_relaxed);
}
