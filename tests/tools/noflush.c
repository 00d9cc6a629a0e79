/* SPDX-License-Identifier: MIT */
/*
 * Linked into rayvm-noflush with the linker's --wrap: the same program, whose disks do not make anything durable and say that they did. With
 * it the power-cut scene must find data missing, or that scene would prove nothing. unit/virtio/test_blk_durable.c sees to it that no way into the
 * kernel is forgotten here.
 */
#include <liburing.h>
#include <sys/types.h>
#include <sys/uio.h>

int __wrap_fdatasync(int fd);
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
	(void)fd;
	return 0;
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	return __real_pwritev64v2(fd, iov, n, offset, flags & ~RWF_DSYNC);
}

/* What waits in the submission queue: a flush becomes a read of nothing, which the ring's restrictions allow; a durable write a plain one. */
static void forget_flushes(struct io_uring *ring)
{
	struct io_uring_sq *sq = &ring->sq;

	for (unsigned int i = sq->sqe_head; i != sq->sqe_tail; i++) {
		struct io_uring_sqe *sqe = &sq->sqes[i & sq->ring_mask];

		if (sqe->opcode == IORING_OP_FSYNC) {
			sqe->opcode = IORING_OP_READ;
			sqe->addr = sqe->len = sqe->off = 0;
			sqe->rw_flags = 0;
		} else if (sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITEV) {
			sqe->rw_flags &= ~RWF_DSYNC;
		}
	}
}

int __wrap_io_uring_submit(struct io_uring *ring)
{
	forget_flushes(ring);
	return __real_io_uring_submit(ring);
}

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned int n)
{
	forget_flushes(ring);
	return __real_io_uring_submit_and_wait(ring, n);
}

int __wrap_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned int n, struct __kernel_timespec *timeout, sigset_t *mask)
{
	forget_flushes(ring);
	return __real_io_uring_submit_and_wait_timeout(ring, cqe, n, timeout, mask);
}

int __wrap_io_uring_submit_and_get_events(struct io_uring *ring)
{
	forget_flushes(ring);
	return __real_io_uring_submit_and_get_events(ring);
}
