/*
 * io_uring straight on guest memory. One io_uring_enter() hands over what is new and waits for whatever comes next, a completion
 * or a kick: the kicks' eventfds are watched by multishot polls in the same ring, which complete anew at each signal, so that
 * nobody ever reads or re-arms them.
 *
 * The ring is made disabled, gets its files and restrictions, and is enabled by its thread: from then on it can do nothing but
 * read, write, flush and allocate in this disk, whatever happens to this process (io_uring_register(2), IORING_REGISTER_RESTRICTIONS).
 *
 * Guest memory is not registered as fixed buffers: that would pin and so allocate all of it.
 */
#include "virtio/blk_engine.h"

#define LOG_MODULE "blk"
#include "base/base.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 128u
/* The completion queue never overflows: so many operations are with the kernel at most, beside a poll for each watched descriptor. */
#define CQ_ENTRIES 1024u
#define IN_KERNEL_MAX (CQ_ENTRIES - 4 * BLK_FDS_MAX)
#define RETRY_NS 1000000l /* after an enter that failed for lack of memory */

/* Of the table of registered files. */
enum { FILE_DISK, FILE_BUFFERED, FILE_WATCH };

/* user_data that is no operation's address. */
#define DATA_CANCEL 1u
#define DATA_POLL 16u /* + index of watch */
#define DATA_OPS 4096u

struct uring {
	struct blk_engine engine;
	struct io_uring ring;
	struct blk_op_list waiting;   /* not in the submission queue yet: it is full, or the kernel has enough */
	struct blk_op_list cancelled; /* to be returned by the next wait() */
	uint32_t in_kernel;
	uint32_t n_watch;
	uint32_t unarmed; /* bit i: watch[i] has no poll */
	bool started;
	bool cancel_due;
	struct log_limit limit;
};

static struct uring *of(struct blk_engine *engine)
{
	return container_of(engine, struct uring, engine);
}

/* Each needs a newer kernel than the next: 6.1 and 5.19. Completions are then left alone until the thread asks for them. */
static const unsigned int ring_flags[] = {
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	0,
};

static int make_ring(struct uring *uring, uint32_t entries)
{
	int error = -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(ring_flags) && error == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | ring_flags[i],
			.cq_entries = CQ_ENTRIES,
		};
		error = io_uring_queue_init_params(entries, &uring->ring, &params);
	}
	return error;
}

/* Debian 12's liburing declares its functions for these two and does not export them. */
static int ring_register(const struct uring *uring, unsigned int code, void *arg, unsigned int n)
{
	return syscall(SYS_io_uring_register, uring->ring.ring_fd, code, arg, n) < 0 ? -errno : 0;
}

static int restrict_ring(struct uring *uring, bool writes)
{
	static const uint8_t read_ops[] = { IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL, IORING_OP_READ, IORING_OP_READV };
	static const uint8_t write_ops[] = { IORING_OP_WRITE, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE };
	struct io_uring_restriction list[ARRAY_LEN(read_ops) + ARRAY_LEN(write_ops) + 3];
	unsigned int n = 0;
	memset(list, 0, sizeof(list));
	list[n].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	list[n++].sqe_flags = IOSQE_FIXED_FILE;
	list[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	list[n++].sqe_flags = IOSQE_FIXED_FILE | IOSQE_ASYNC;
	list[n].opcode = IORING_RESTRICTION_REGISTER_OP;
	list[n++].register_op = IORING_UNREGISTER_FILES;
	for (size_t i = 0; i < ARRAY_LEN(read_ops); i++) {
		list[n].opcode = IORING_RESTRICTION_SQE_OP;
		list[n++].sqe_op = read_ops[i];
	}
	for (size_t i = 0; writes && i < ARRAY_LEN(write_ops); i++) {
		list[n].opcode = IORING_RESTRICTION_SQE_OP;
		list[n++].sqe_op = write_ops[i];
	}
	return ring_register(uring, IORING_REGISTER_RESTRICTIONS, list, n);
}

/* NULL when the submission queue is full. */
static struct io_uring_sqe *new_sqe(struct uring *uring)
{
	return io_uring_get_sqe(&uring->ring);
}

/* The restrictions want the flag everywhere, also where no file is meant. */
static void finish_sqe(struct io_uring_sqe *sqe, uint64_t data)
{
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = data;
}

static void prepare(struct io_uring_sqe *sqe, const struct blk_op *op)
{
	int file = op->buffered ? FILE_BUFFERED : FILE_DISK;
	switch (op->code) {
	case BLK_OP_READ:
		if (op->n == 1)
			io_uring_prep_read(sqe, file, op->iov[0].iov_base, (unsigned int)op->iov[0].iov_len, op->offset);
		else
			io_uring_prep_readv(sqe, file, op->iov, op->n, op->offset);
		break;
	case BLK_OP_WRITE:
		if (op->n == 1)
			io_uring_prep_write(sqe, file, op->iov[0].iov_base, (unsigned int)op->iov[0].iov_len, op->offset);
		else
			io_uring_prep_writev(sqe, file, op->iov, op->n, op->offset);
		if (op->durable)
			sqe->rw_flags = RWF_DSYNC;
		break;
	case BLK_OP_FLUSH:
		io_uring_prep_fsync(sqe, file, IORING_FSYNC_DATASYNC);
		break;
	case BLK_OP_ALLOCATE:
		/* Not by its helper, whose offset and length were 32 bits wide in some versions. */
		io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, file, (const void *)(uintptr_t)op->length, (unsigned int)op->mode, op->offset);
		break;
	}
	if (op->again)
		sqe->flags |= IOSQE_ASYNC;
	finish_sqe(sqe, (uintptr_t)op);
}

/* Moves what waits into the submission queue, as much as fits. True when it was full: there is more. */
static bool fill(struct uring *uring)
{
	struct io_uring_sqe *sqe;
	for (uint32_t i = 0; uring->unarmed != 0 && i < uring->n_watch; i++) {
		if (!(uring->unarmed >> i & 1))
			continue;
		if ((sqe = new_sqe(uring)) == NULL)
			return true;
		io_uring_prep_poll_multishot(sqe, (int)(FILE_WATCH + i), POLLIN);
		finish_sqe(sqe, DATA_POLL + i);
		uring->unarmed &= ~(1u << i);
	}
	if (uring->cancel_due) {
		if ((sqe = new_sqe(uring)) == NULL)
			return true;
		/* Linux 5.19; before that EINVAL, and what is with the kernel is waited for. The polls go as well and are set up again. */
		io_uring_prep_rw(IORING_OP_ASYNC_CANCEL, sqe, -1, NULL, 0, 0);
		sqe->cancel_flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY;
		finish_sqe(sqe, DATA_CANCEL);
		uring->cancel_due = false;
	}
	while (uring->waiting.first != NULL && uring->in_kernel < IN_KERNEL_MAX) {
		if ((sqe = new_sqe(uring)) == NULL)
			return true;
		prepare(sqe, blk_op_take(&uring->waiting));
		uring->in_kernel++;
	}
	return false;
}

static void reap(struct uring *uring, struct blk_events *events)
{
	struct io_uring_cqe *cqe;
	unsigned int head, n = 0;
	io_uring_for_each_cqe(&uring->ring, head, cqe) {
		n++;
		uint64_t data = cqe->user_data;
		if (data >= DATA_OPS) {
			struct blk_op *op = (struct blk_op *)(uintptr_t)data;
			op->result = cqe->res;
			uring->in_kernel--;
			blk_op_append(&events->done, op);
		} else if (data >= DATA_POLL) {
			uint32_t i = (uint32_t)data - DATA_POLL;
			if (cqe->res > 0)
				events->ready |= 1u << i;
			if (!(cqe->flags & IORING_CQE_F_MORE))
				uring->unarmed |= 1u << i;
		}
	}
	io_uring_cq_advance(&uring->ring, n);
	for (struct blk_op *op; (op = blk_op_take(&uring->cancelled)) != NULL;)
		blk_op_append(&events->done, op);
}

static void uring_submit(struct blk_engine *engine, struct blk_op *op)
{
	blk_op_append(&of(engine)->waiting, op);
}

/* Hands over, and waits for one completion. 0 or more, or a negative errno. */
static int enter(struct uring *uring, int64_t timeout_ns)
{
	if (timeout_ns < 0)
		return io_uring_submit_and_wait(&uring->ring, 1);
	struct __kernel_timespec timeout = { .tv_sec = timeout_ns / (int64_t)NSEC_PER_SEC, .tv_nsec = timeout_ns % (int64_t)NSEC_PER_SEC };
	struct io_uring_cqe *cqe;
	int error = io_uring_submit_and_wait_timeout(&uring->ring, &cqe, 1, &timeout, NULL);
	return error == -ETIME ? 0 : error;
}

/* The kernel has completions, of kicks too, that it puts into the queue when it is called. */
static bool must_collect(const struct uring *uring)
{
	return __atomic_load_n(uring->ring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN;
}

static void uring_wait(struct blk_engine *engine, int64_t timeout_ns, struct blk_events *events)
{
	struct uring *uring = of(engine);
	for (bool full = true; full;) {
		full = fill(uring);
		bool found = io_uring_cq_ready(&uring->ring) > 0 || uring->cancelled.first != NULL || events->done.first != NULL || events->ready != 0;
		int error = 0;
		if (timeout_ns != 0 && !full && !found)
			error = enter(uring, timeout_ns);
		else if (io_uring_sq_ready(&uring->ring) > 0 || must_collect(uring))
			error = io_uring_submit_and_get_events(&uring->ring);
		else
			error = -ENOMSG; /* no call made */
		if (error != -ENOMSG)
			blk_count_syscalls(engine, 1);
		reap(uring, events);
		if (error < 0 && error != -EINTR && error != -ENOMSG) {
			/* Nothing is lost: what was not taken is still in the submission queue. */
			uint32_t left_out;
			if (error != -EAGAIN && error != -EBUSY && log_limit_pass(&uring->limit, &left_out))
				log_error("io_uring: %s (%" PRIu32 " such lines left out)", strerror(-error), left_out);
			nanosleep(&(struct timespec){ .tv_nsec = RETRY_NS }, NULL);
			blk_count_syscalls(engine, 1);
		}
	}
}

static void uring_cancel(struct blk_engine *engine)
{
	struct uring *uring = of(engine);
	for (struct blk_op *op; (op = blk_op_take(&uring->waiting)) != NULL;) {
		op->result = -ECANCELED;
		blk_op_append(&uring->cancelled, op);
	}
	uring->cancel_due = uring->in_kernel > 0;
}

static int uring_start(struct blk_engine *engine)
{
	struct uring *uring = of(engine);
	/* Saves a look-up in each call; works without. Before the restrictions count, which forbid it. */
	io_uring_register_ring_fd(&uring->ring);
	int error = ring_register(uring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (error < 0)
		return -error;
	uring->started = true;
	uring->unarmed = (1u << uring->n_watch) - 1;
	fill(uring);
	error = io_uring_submit_and_get_events(&uring->ring);
	if (error < 0)
		return -error;
	/* A kernel that cannot do multishot polls (before 5.13) says so at once. */
	struct io_uring_cqe *cqe;
	unsigned int head;
	io_uring_for_each_cqe(&uring->ring, head, cqe) {
		if (cqe->res < 0)
			return -cqe->res;
	}
	return 0;
}

/*
 * The kernel takes a ring apart some time after it was closed. The disk's file, and with it the lock on it, would live as long: it is
 * given back here, which waits for whatever uses it. So the polls end first.
 */
static void release_files(struct uring *uring)
{
	if (uring->in_kernel > 0)
		return;
	uint32_t all = (1u << uring->n_watch) - 1;
	for (uint32_t i = 0; uring->started && i < uring->n_watch; i++) {
		struct io_uring_sqe *sqe = new_sqe(uring);
		if (sqe == NULL && io_uring_submit(&uring->ring) >= 0)
			sqe = new_sqe(uring);
		if (sqe == NULL || (uring->unarmed >> i & 1))
			continue;
		io_uring_prep_rw(IORING_OP_ASYNC_CANCEL, sqe, -1, (const void *)(uintptr_t)(DATA_POLL + i), 0, 0);
		finish_sqe(sqe, DATA_CANCEL);
	}
	while (uring->started && uring->unarmed != all) {
		struct blk_events events = { 0 };
		if (io_uring_submit_and_wait(&uring->ring, 1) < 0)
			return;
		reap(uring, &events);
	}
	ring_register(uring, IORING_UNREGISTER_FILES, NULL, 0);
}

static void uring_destroy(struct blk_engine *engine)
{
	struct uring *uring = of(engine);
	release_files(uring);
	io_uring_queue_exit(&uring->ring);
	free(uring);
}

static const struct blk_engine_ops uring_ops = {
	.start = uring_start,
	.submit = uring_submit,
	.wait = uring_wait,
	.cancel = uring_cancel,
	.destroy = uring_destroy,
};

struct blk_engine *blk_uring_create(const struct blk_engine_config *config)
{
	struct uring *uring = calloc(1, sizeof(*uring));
	if (uring == NULL)
		return NULL;
	uring->engine = (struct blk_engine){ .ops = &uring_ops, .syscalls = config->syscalls };
	uring->n_watch = config->n_watch;
	int error = make_ring(uring, config->entries != 0 ? config->entries : ENTRIES);
	if (error < 0)
		goto fail;
	int files[FILE_WATCH + BLK_FDS_MAX] = { config->fd, config->buffered_fd };
	memcpy(files + FILE_WATCH, config->watch, config->n_watch * sizeof(files[0]));
	error = io_uring_register_files(&uring->ring, files, FILE_WATCH + config->n_watch);
	if (error == 0)
		error = restrict_ring(uring, config->writes);
	if (error < 0)
		goto fail_ring;
	return &uring->engine;

fail_ring:
	io_uring_queue_exit(&uring->ring);
fail:
	free(uring);
	errno = -error;
	return NULL;
}
