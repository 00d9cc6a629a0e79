/*
 * B9 at the last place before the kernel: what asks the host to make data durable is counted there, for both engines, each way they enter the kernel, and each
 * kind of cache. And with noflush.c in between, which the power-cut scene uses to see that it would notice missing flushes, nothing of it is left: a call
 * that it does not know would make that scene's control pass for no reason.
 */
#include <liburing.h>
#include <sys/eventfd.h>

#include "blk_fixture.h"
#include "unit.h"
#include "virtio/blk_engine.h"

/* The calls as noflush.c would make them are counted; the linker's are below. */
#define __wrap_fdatasync forget_fdatasync
#define __wrap_pwritev64v2 forget_pwritev
#define __real_pwritev64v2 count_pwritev
#define __wrap_io_uring_submit forget_submit
#define __real_io_uring_submit count_submit
#define __wrap_io_uring_submit_and_wait forget_submit_and_wait
#define __real_io_uring_submit_and_wait count_submit_and_wait
#define __wrap_io_uring_submit_and_wait_timeout forget_submit_and_wait_timeout
#define __real_io_uring_submit_and_wait_timeout count_submit_and_wait_timeout
#define __wrap_io_uring_submit_and_get_events forget_submit_and_get_events
#define __real_io_uring_submit_and_get_events count_submit_and_get_events
#include "../../tools/noflush.c"
#undef __wrap_fdatasync
#undef __wrap_pwritev64v2
#undef __real_pwritev64v2
#undef __wrap_io_uring_submit
#undef __real_io_uring_submit
#undef __wrap_io_uring_submit_and_wait
#undef __real_io_uring_submit_and_wait
#undef __wrap_io_uring_submit_and_wait_timeout
#undef __real_io_uring_submit_and_wait_timeout
#undef __wrap_io_uring_submit_and_get_events
#undef __real_io_uring_submit_and_get_events

static _Atomic bool forget;
static _Atomic uint32_t flushes, durable_writes; /* that reached the kernel */
static _Atomic uint32_t timed;                   /* entries with a time-out */

int __wrap_fdatasync(int fd);
int __real_fdatasync(int fd);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
int __wrap_io_uring_submit(struct io_uring *ring);
int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned int n);
int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned int n);
int __wrap_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned int n, struct __kernel_timespec *timeout, sigset_t *mask);
int __real_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned int n, struct __kernel_timespec *timeout, sigset_t *mask);
int __wrap_io_uring_submit_and_get_events(struct io_uring *ring);
int __real_io_uring_submit_and_get_events(struct io_uring *ring);

int __wrap_fdatasync(int fd)
{
	if (forget)
		return forget_fdatasync(fd);
	flushes++;
	return __real_fdatasync(fd);
}

ssize_t count_pwritev(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	durable_writes += (flags & RWF_DSYNC) != 0;
	return __real_pwritev64v2(fd, iov, n, offset, flags);
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	return forget ? forget_pwritev(fd, iov, n, offset, flags) : count_pwritev(fd, iov, n, offset, flags);
}

static void count_queue(const struct io_uring *ring)
{
	for (unsigned int i = ring->sq.sqe_head; i != ring->sq.sqe_tail; i++) {
		const struct io_uring_sqe *sqe = &ring->sq.sqes[i & ring->sq.ring_mask];
		flushes += sqe->opcode == IORING_OP_FSYNC;
		durable_writes += (sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITEV) && (sqe->rw_flags & RWF_DSYNC);
	}
}

int count_submit(struct io_uring *ring)
{
	count_queue(ring);
	return __real_io_uring_submit(ring);
}

int count_submit_and_wait(struct io_uring *ring, unsigned int n)
{
	count_queue(ring);
	return __real_io_uring_submit_and_wait(ring, n);
}

int count_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned int n, struct __kernel_timespec *timeout, sigset_t *mask)
{
	timed++;
	count_queue(ring);
	return __real_io_uring_submit_and_wait_timeout(ring, cqe, n, timeout, mask);
}

int count_submit_and_get_events(struct io_uring *ring)
{
	count_queue(ring);
	return __real_io_uring_submit_and_get_events(ring);
}

int __wrap_io_uring_submit(struct io_uring *ring)
{
	return forget ? forget_submit(ring) : count_submit(ring);
}

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned int n)
{
	return forget ? forget_submit_and_wait(ring, n) : count_submit_and_wait(ring, n);
}

int __wrap_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned int n, struct __kernel_timespec *timeout, sigset_t *mask)
{
	return forget ? forget_submit_and_wait_timeout(ring, cqe, n, timeout, mask) : count_submit_and_wait_timeout(ring, cqe, n, timeout, mask);
}

int __wrap_io_uring_submit_and_get_events(struct io_uring *ring)
{
	return forget ? forget_submit_and_get_events(ring) : count_submit_and_get_events(ring);
}

/* --- engines -------------------------------------------------------------------------------------------------------------------- */

static void perform(struct blk_engine *engine, struct blk_op *op, int64_t timeout_ns, int64_t result)
{
	uint64_t deadline = clock_now_ns() + 10 * NSEC_PER_SEC;
	engine->ops->submit(engine, op);
	for (bool done = false; !done && clock_now_ns() < deadline;) {
		struct blk_events events = { 0 };
		engine->ops->wait(engine, timeout_ns, &events);
		for (struct blk_op *each; (each = blk_op_take(&events.done)) != NULL;)
			done |= each == op;
		/* Handed over without waiting, it is waited for the second time. */
		timeout_ns = timeout_ns == 0 ? BLK_FOREVER : timeout_ns;
	}
	ck_assert_int_eq(op->result, result);
}

START_TEST(ways_into_the_kernel) /* _i & 1: io_uring or threads; _i & 2: with flushes or without; _i / 4: how it waits */
{
	static const int64_t timeouts[] = { BLK_FOREVER, 0, 50 * NSEC_PER_MSEC };
	_Atomic uint64_t syscalls = 0;
	uint8_t bytes[1024] = { 0 };
	make_file();
	int fd = open(path, O_RDWR), second = open(path, O_RDWR), wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	const struct blk_engine_config config = { .fd = fd, .buffered_fd = second, .writes = true, .watch = &wake, .n_watch = 1, .syscalls = &syscalls };
	struct blk_engine *engine = _i & 1 ? blk_pool_create(&config) : blk_uring_create(&config);
	if (engine == NULL && !(_i & 1)) {
		fprintf(stderr, "skipped: no io_uring here: %s\n", strerror(errno));
		return;
	}
	ck_assert_ptr_nonnull(engine);
	ck_assert_int_eq(engine->ops->start(engine), 0);
	forget = (_i & 2) != 0;
	flushes = durable_writes = timed = 0;
	for (uint32_t i = 0; i < 8; i++) {
		/* One piece or two, which are other operations; either descriptor. */
		struct iovec iov[2] = { { bytes, 512 }, { bytes + 512, 512 } };
		struct blk_op write = { .code = BLK_OP_WRITE, .iov = iov, .n = 1 + i % 2, .buffered = i & 2, .durable = i & 4 }, flush = { .code = BLK_OP_FLUSH, .buffered = i & 2 };
		perform(engine, &write, timeouts[_i / 4], 512 * (1 + i % 2));
		perform(engine, &flush, timeouts[_i / 4], 0);
	}
	ck_assert_uint_eq(flushes, forget ? 0 : 8);
	ck_assert_uint_eq(durable_writes, forget ? 0 : 4);
	if (_i / 4 == 2 && !(_i & 1))
		ck_assert_uint_gt(timed, 0);
	engine->ops->destroy(engine);
	close(wake);
	close(second);
	close(fd);
	unlink(path);
}
END_TEST

/* --- disks ---------------------------------------------------------------------------------------------------------------------- */

START_TEST(caches) /* _i & 1, _i & 2: as above; _i / 4: the cache */
{
	static const enum disk_cache cache[] = { DISK_WRITEBACK, DISK_WRITETHROUGH, DISK_DIRECT };
	struct disk_config config = { .path = path, .cache = cache[_i / 4] };
	struct disk probe;
	char error[256];
	make_file();
	if (disk_open(&probe, &config, error, sizeof(error)) < 0) {
		fprintf(stderr, "skipped: %s\n", error);
		unlink(path);
		return;
	}
	disk_close(&probe);
	aio = _i & 1 ? DISK_AIO_THREADS : DISK_AIO_DEFAULT;
	start(&config, DRIVER_ALL_FEATURES);
	forget = (_i & 2) != 0;
	flushes = durable_writes = 0;
	for (uint32_t i = 0; i < 20; i++) {
		ck_assert_uint_eq(request(OUT, 8 * i, 4096), OK);
		if (config.cache != DISK_WRITETHROUGH)
			ck_assert_uint_eq(request(FLUSH, 0, 0), OK);
	}
	ck_assert_uint_eq(durable_writes, !forget && config.cache == DISK_WRITETHROUGH ? 20 : 0);
	ck_assert_uint_eq(flushes, !forget && config.cache != DISK_WRITETHROUGH ? 20 : 0);
	stop();
	unlink(path);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("blk-durable");
	TCase *tc = tcase_create("durable");
	tcase_add_loop_test(tc, ways_into_the_kernel, 0, 12);
	tcase_add_loop_test(tc, caches, 0, 12);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
