/*
 * The host's side of a disk, played by the test: it says what each wait of the block thread finds, and the thread goes no further than to
 * the next one. So nothing depends on time. The linker puts it in the place of io_uring (meson.build).
 */
#pragma once

#include <poll.h>
#include <semaphore.h>

#include "blk_slots.h"
#include "virtio/blk_engine.h"

#define DEADLINE_S 10
#define WAKE (1u << BLK_FD_WAKE)
#define KICK(queue) (2u << BLK_FD_WAKE << (queue))

struct blk_engine *__real_blk_uring_create(const struct blk_engine_config *config);
struct blk_engine *__wrap_blk_uring_create(const struct blk_engine_config *config);

/* The test's while the block thread is in wait(), else the thread's. */
static struct {
	struct blk_engine engine;
	struct blk_engine *real;  /* with a hook: does the work, after the hook */
	void (*hook)(void);
	struct blk_op_list list;  /* with the host */
	uint32_t n;
	sem_t arrived, go;
	int64_t timeout;          /* of the wait it is in */
	uint32_t give, ready;     /* what that finds */
	bool free_run;
	struct pollfd fds[BLK_FDS_MAX];
	uint32_t n_fds;
} host;

static void host_submit(struct blk_engine *engine, struct blk_op *op)
{
	(void)engine;
	if (host.hook != NULL) {
		host.real->ops->submit(host.real, op);
		return;
	}
	blk_op_append(&host.list, op);
	host.n++;
}

static void host_wait(struct blk_engine *engine, int64_t timeout_ns, struct blk_events *events)
{
	(void)engine;
	if (host.hook != NULL) {
		host.hook();
		host.real->ops->wait(host.real, timeout_ns, events);
		return;
	}
	if (!host.free_run) {
		host.timeout = timeout_ns;
		sem_post(&host.arrived);
		while (sem_wait(&host.go) < 0)
			continue;
	}
	if (host.free_run) {
		int n = ppoll(host.fds, host.n_fds, host.n > 0 || timeout_ns >= 0 ? &(struct timespec){ 0 } : NULL, NULL);
		for (uint32_t i = 0; n > 0 && i < host.n_fds; i++) {
			uint64_t count;
			if ((host.fds[i].revents & POLLIN) && read(host.fds[i].fd, &count, sizeof(count)) == sizeof(count))
				events->ready |= 1u << i;
		}
		host.give = host.n;
	} else {
		events->ready |= host.ready;
	}
	for (; host.give > 0; host.give--, host.n--) {
		struct blk_op *op = blk_op_take(&host.list);
		op->result = 0;
		for (uint32_t i = 0; op->code <= BLK_OP_WRITE && i < op->n; i++)
			op->result += (int64_t)op->iov[i].iov_len;
		blk_op_append(&events->done, op);
	}
}

static void host_cancel(struct blk_engine *engine)
{
	(void)engine;
}

static int host_start(struct blk_engine *engine)
{
	(void)engine;
	return host.hook != NULL ? host.real->ops->start(host.real) : 0;
}

static void host_destroy(struct blk_engine *engine)
{
	(void)engine;
	if (host.hook != NULL)
		host.real->ops->destroy(host.real);
}

static const struct blk_engine_ops host_ops = {
	.start = host_start, .submit = host_submit, .wait = host_wait, .cancel = host_cancel, .destroy = host_destroy,
};

struct blk_engine *__wrap_blk_uring_create(const struct blk_engine_config *config)
{
	if (host.hook != NULL && (host.real = __real_blk_uring_create(config)) == NULL)
		host.real = blk_pool_create(config);
	for (host.n_fds = 0; host.n_fds < config->n_watch; host.n_fds++)
		host.fds[host.n_fds] = (struct pollfd){ .fd = config->watch[host.n_fds], .events = POLLIN };
	host.engine = (struct blk_engine){ .ops = &host_ops, .syscalls = config->syscalls };
	return &host.engine;
}

/* Until the block thread waits again. */
static void arrive(void)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += DEADLINE_S;
	int error;
	while ((error = sem_timedwait(&host.arrived, &until)) < 0 && errno == EINTR)
		continue;
	ck_assert_msg(error == 0, "the disk's thread does not come back");
}

/* The host is done with its `give` oldest operations, and these descriptors are signalled: one turn. */
static void step(uint32_t give, uint32_t ready)
{
	ck_assert_uint_le(give, host.n);
	host.give = give;
	host.ready = ready;
	sem_post(&host.go);
	arrive();
}

static uint32_t told(uint32_t queue)
{
	return (uint32_t)driver_interrupts(&d, queue + 1);
}

static uint16_t used_index(uint32_t queue)
{
	return __atomic_load_n(&d.queue[queue].used[1], __ATOMIC_ACQUIRE);
}

static void begin_on(const struct disk_config *config, uint64_t features)
{
	sem_init(&host.arrived, 0, 0);
	sem_init(&host.go, 0, 0);
	start(config, DRIVER_ALL_FEATURES);
	arrive();
	slots_start(features);
	step(0, WAKE);
	for (uint32_t i = 0; i < d.device->n_queues; i++)
		ck_assert(slots_enable(i));
}

static void begin(uint32_t queues)
{
	begin_on(&(struct disk_config){ .path = path, .queues = queues }, DRIVER_ALL_FEATURES);
}

static void end(void)
{
	if (host.hook == NULL) {
		host.free_run = true;
		sem_post(&host.go);
	}
	stop();
	unlink(path);
}

static uint32_t free_slot(uint32_t queue)
{
	uint32_t slot = 0;
	while (slots.busy[queue][slot])
		slot++;
	ck_assert_uint_lt(slot, SLOTS);
	return slot;
}

/* One more request in the ring, and whether the device has asked to be kicked for it. */
static bool send_one(uint32_t queue)
{
	uint32_t kicks = slots.kicks;
	slot_send(queue, free_slot(queue));
	return slots.kicks > kicks;
}

/* What came back, by a driver that was interrupted; how many. */
static uint32_t take_all(uint32_t queue)
{
	uint32_t n = 0;
	do {
		while (slot_take(queue) >= 0)
			n++;
	} while (!slots_enable(queue));
	return n;
}
