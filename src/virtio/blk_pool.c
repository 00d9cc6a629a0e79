/*
 * A few threads that make the ordinary system calls, for hosts where io_uring is forbidden (kernel.io_uring_disabled, seccomp) or
 * missing. The disk's thread waits in poll() for the kicks and for the threads' word that something is done.
 */
#include "virtio/blk_engine.h"

#include "base/base.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4

struct pool {
	struct blk_engine engine;
	int fd, buffered_fd;
	struct pollfd poll[BLK_FDS_MAX + 1]; /* the watched, then done_fd */
	uint32_t n_watch;
	int done_fd;
	pthread_t thread[THREADS];
	uint32_t n_threads;

	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t work;
	struct blk_op_list waiting, done;
	bool stop;
};

static struct pool *of(struct blk_engine *engine)
{
	return container_of(engine, struct pool, engine);
}

static int64_t perform(const struct pool *pool, const struct blk_op *op)
{
	int fd = op->buffered ? pool->buffered_fd : pool->fd;
	int64_t result = -1;
	switch (op->code) {
	case BLK_OP_READ:
		result = preadv(fd, op->iov, (int)op->n, (off_t)op->offset);
		break;
	case BLK_OP_WRITE:
		result = pwritev2(fd, op->iov, (int)op->n, (off_t)op->offset, op->durable ? RWF_DSYNC : 0);
		break;
	case BLK_OP_FLUSH:
		result = fdatasync(fd);
		break;
	case BLK_OP_ALLOCATE:
		result = fallocate(fd, op->mode, (off_t)op->offset, (off_t)op->length);
		break;
	}
	return result < 0 ? -errno : result;
}

static void *pool_thread(void *data)
{
	struct pool *pool = data;
	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct blk_op *op = blk_op_take(&pool->waiting);
		if (op == NULL) {
			if (pool->stop)
				break;
			pthread_cond_wait(&pool->work, &pool->lock);
			continue;
		}
		pthread_mutex_unlock(&pool->lock);
		op->result = perform(pool, op);
		pthread_mutex_lock(&pool->lock);
		bool tell = pool->done.first == NULL;
		blk_op_append(&pool->done, op);
		if (tell) {
			uint64_t one = 1;
			/* Cannot fail: the counter is far from full. */
			if (write(pool->done_fd, &one, sizeof(one)) < 0)
				continue;
		}
		blk_count_syscalls(&pool->engine, tell ? 2 : 1);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static int pool_start(struct blk_engine *engine)
{
	(void)engine;
	return 0;
}

static void pool_submit(struct blk_engine *engine, struct blk_op *op)
{
	struct pool *pool = of(engine);
	pthread_mutex_lock(&pool->lock);
	blk_op_append(&pool->waiting, op);
	pthread_cond_signal(&pool->work);
	pthread_mutex_unlock(&pool->lock);
}

static void pool_wait(struct blk_engine *engine, int64_t timeout_ns, struct blk_events *events)
{
	struct pool *pool = of(engine);
	bool found = events->done.first != NULL || events->ready != 0;
	struct timespec timeout = { 0 };
	if (!found && timeout_ns > 0)
		timeout = (struct timespec){ .tv_sec = timeout_ns / (int64_t)NSEC_PER_SEC, .tv_nsec = timeout_ns % (int64_t)NSEC_PER_SEC };
	int n = ppoll(pool->poll, pool->n_watch + 1, !found && timeout_ns < 0 ? NULL : &timeout, NULL);
	blk_count_syscalls(engine, 1);
	for (uint32_t i = 0; n > 0 && i <= pool->n_watch; i++) {
		uint64_t count;
		if (!(pool->poll[i].revents & POLLIN) || read(pool->poll[i].fd, &count, sizeof(count)) < 0)
			continue;
		blk_count_syscalls(engine, 1);
		if (i < pool->n_watch)
			events->ready |= 1u << i;
	}
	pthread_mutex_lock(&pool->lock);
	for (struct blk_op *op; (op = blk_op_take(&pool->done)) != NULL;)
		blk_op_append(&events->done, op);
	pthread_mutex_unlock(&pool->lock);
}

static void pool_cancel(struct blk_engine *engine)
{
	struct pool *pool = of(engine);
	pthread_mutex_lock(&pool->lock);
	for (struct blk_op *op; (op = blk_op_take(&pool->waiting)) != NULL;) {
		op->result = -ECANCELED;
		blk_op_append(&pool->done, op);
	}
	pthread_mutex_unlock(&pool->lock);
	uint64_t one = 1;
	if (write(pool->done_fd, &one, sizeof(one)) == sizeof(one))
		blk_count_syscalls(engine, 1);
}

static void pool_destroy(struct blk_engine *engine)
{
	struct pool *pool = of(engine);
	pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (uint32_t i = 0; i < pool->n_threads; i++)
		pthread_join(pool->thread[i], NULL);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	if (pool->done_fd >= 0)
		close(pool->done_fd);
	free(pool);
}

static const struct blk_engine_ops pool_ops = {
	.start = pool_start,
	.submit = pool_submit,
	.wait = pool_wait,
	.cancel = pool_cancel,
	.destroy = pool_destroy,
};

struct blk_engine *blk_pool_create(const struct blk_engine_config *config)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	if (pool == NULL)
		return NULL;
	pool->engine = (struct blk_engine){ .ops = &pool_ops, .syscalls = config->syscalls };
	pool->fd = config->fd;
	pool->buffered_fd = config->buffered_fd;
	pool->n_watch = config->n_watch;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pool->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pool->done_fd < 0)
		goto fail;
	for (uint32_t i = 0; i < config->n_watch; i++)
		pool->poll[i] = (struct pollfd){ .fd = config->watch[i], .events = POLLIN };
	pool->poll[config->n_watch] = (struct pollfd){ .fd = pool->done_fd, .events = POLLIN };
	/* Memory needs none. */
	while (config->fd >= 0 && pool->n_threads < THREADS) {
		if (thread_start(&pool->thread[pool->n_threads], "block-io", 0, pool_thread, pool) < 0)
			goto fail;
		pool->n_threads++;
	}
	return &pool->engine;

fail:;
	int saved = errno;
	pool_destroy(&pool->engine);
	errno = saved;
	return NULL;
}
