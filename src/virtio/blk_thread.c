/*
 * virtio-blk: the thread. One turn: what the engine returned goes to the used rings, what the driver made available is taken, all
 * under one hold of the device's lock; then, without it, each new request is looked at and handed to the engine; then the engine hands
 * all of them to the host and waits for both sides in one call.
 */
#include "virtio/blk_internal.h"

#define LOG_MODULE "blk"
#include "base/base.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Of one turn: requests, and bytes copied by a disk in memory, which nobody else does meanwhile. */
#define BATCH 128
#define BATCH_BYTES (4u << 20)
/*
 * Holding back. A driver with much in flight sends a request for each that it gets back. Served one by one, each costs it a kick and an
 * interrupt, and both are exits from the guest. So when several were returned, the driver is asked (by EVENT_IDX) to kick when most of
 * their successors are there. A deadline ends the wait when they do not come in time, and then none is asked for so for a while: many times as long as
 * that wait was, and twice as many the next time, so that waits of no use take a small part of the time, on any CPU. With one request at a time
 * there is nothing to hold.
 */
#define HOLD_MOST 16u            /* chains */
#define HOLD_FIRST_NS 1000000u   /* what hold_ns begins with: a slow guest sends some in that time, and a quick one brings it down at once */
#define HOLD_MIN_NS 20000u
#define HOLD_MAX_NS 4000000u
#define HOLD_PAUSE_FIRST 2u      /* powers of two of the wait: 4 times as long */
#define HOLD_PAUSE_MOST 8u       /* 256 times */
#define HOLD_FORGIVE 16u         /* good holds that halve it */
#define HOLD_GROW_PAUSE 256u     /* good holds until more is asked for again than came once */
/*
 * Requests returned before an interrupt, while the driver has sent new ones meanwhile and the disk is done with those at once: each interrupt
 * costs the guest more than some of its requests. With one request at a time, or a disk that takes its time, nothing is put off.
 */
#define UNTOLD_MOST 16u
#define UNTOLD_BYTES (256u << 10) /* nor while so much is sent at once: copying it, here or in the page cache, takes time as well */
#define NAP_NS 50000l /* between looks whether a vCPU that waits for the lock has got it */
#define NAPS 40       /* so often at most: on a busy host it may take long to wake up */

static struct blk_request *new_request(struct blk *blk)
{
	struct blk_request *request = blk->free;
	if (request != NULL)
		blk->free = request->next;
	else if (blk->n_requests < blk->device.n_queues * BLK_QUEUE_SIZE)
		request = &blk->request[blk->n_requests++]; /* memory is touched only as deep as the driver's queues really are */
	return request;
}

static void add_finished(struct blk *blk, struct blk_request *request)
{
	request->next = NULL;
	if (blk->finished == NULL)
		blk->finished_end = &blk->finished;
	*blk->finished_end = request;
	blk->finished_end = &request->next;
}

/* Whether the driver that sent it has reset the device. */
static bool is_void(const struct blk *blk, const struct blk_request *request)
{
	return request->generation != atomic_load_explicit(&blk->generation, memory_order_relaxed);
}

static void count(struct blk *blk, const struct blk_request *request)
{
	if (blk->stats == NULL)
		return;
	bool transfer = request->type <= 1; /* in, out */
	atomic_fetch_add_explicit(&blk->stats->disk_requests, 1, memory_order_relaxed);
	if (request->status == 0 && transfer && request->status_at != NULL)
		atomic_fetch_add_explicit(&blk->stats->disk_bytes, request->length, memory_order_relaxed);
	if (request->status == 1)
		atomic_fetch_add_explicit(&blk->stats->disk_errors, 1, memory_order_relaxed);
}

/* Lock held. What is finished goes to the used rings; returns the queues touched. */
static uint32_t return_finished(struct blk *blk)
{
	uint32_t touched = 0;
	struct blk_request *request = blk->finished, *kept = NULL, **kept_end = &kept;
	blk->finished = NULL;
	while (request != NULL) {
		struct blk_request *next = request->next;
		if (!is_void(blk, request)) {
			if (blk->paused && blk->draining == 0) {
				/* Came too late for the pause: told at the resume. */
				request->next = NULL;
				*kept_end = request;
				kept_end = &request->next;
				request = next;
				continue;
			}
			uint64_t written = request->status_at != NULL ? request->chain.in_size : 0;
			if (request->status_at != NULL)
				*request->status_at = request->status;
			virtq_push(&blk->device.queue[request->queue], request->chain.head, written < UINT32_MAX ? (uint32_t)written : UINT32_MAX);
			touched |= 1u << request->queue;
			blk->n_untold++;
			if (blk->expected[request->queue] < BLK_QUEUE_SIZE)
				blk->expected[request->queue]++;
			count(blk, request);
		} else if (request->generation < blk->stuck_before) {
			blk->stuck--;
		}
		blk->in_flight--;
		request->next = blk->free;
		blk->free = request;
		request = next;
	}
	blk->finished = kept;
	blk->finished_end = kept == NULL ? NULL : kept_end;
	blk->held = kept != NULL;
	if (blk->draining > 0 && blk->in_flight <= blk->stuck)
		pthread_cond_broadcast(&blk->idle);
	return touched;
}

/* Lock held. Interrupts for what was returned since the last ones, where the driver wants any. */
static void tell_driver(struct blk *blk)
{
	uint32_t notified = 0;
	for (uint32_t i = 0; blk->untold >> i != 0; i++)
		if (blk->untold >> i & 1)
			notified += virtio_notify_queue(&blk->device, i);
	blk->untold = blk->n_untold = 0;
	if (notified > 0)
		atomic_fetch_add_explicit(blk->syscalls, notified, memory_order_relaxed);
}

/*
 * Lock held. The queue is empty: asks for a kick. False: something came meanwhile, and there is more to take.
 */
static bool rearm(struct blk *blk, uint32_t index)
{
	struct virtq *queue = &blk->device.queue[index];
	uint32_t most = min_u32(max_u32(blk->expected[index] * 3 / 4, blk->ask), HOLD_MOST);
	if (most > 1 && queue->event_idx && !blk->has_memory && clock_now_ns() >= blk->hold_again_ns) {
		virtq_rearm_beyond(queue, most - 1);
		if (virtq_available(queue) >= most)
			return false;
		blk->held_back |= 1u << index;
		blk->asked = most;
		return true;
	}
	blk->held_back &= ~(1u << index);
	return !virtq_rearm(queue);
}

/* Lock held. Takes the chains of one queue, appends them to *end, as far as the budgets go. Returns false when they are used up. */
static bool take_queue(struct blk *blk, uint32_t index, struct blk_request ***end, uint32_t *requests, uint64_t *bytes)
{
	struct virtq *queue = &blk->device.queue[index];
	for (;;) {
		if (*requests == 0 || (blk->has_memory && *bytes >= BATCH_BYTES))
			return false;
		struct blk_request *request = new_request(blk);
		if (request == NULL)
			return false;
		const char *why;
		int got = virtq_pop(queue, &request->chain, &why);
		if (got <= 0) {
			request->next = blk->free;
			blk->free = request;
			if (got < 0) {
				tell_driver(blk); /* a device that has stopped sends no such interrupts any more */
				virtio_needs_reset(&blk->device, why);
			}
			if (got < 0 || rearm(blk, index)) {
				blk->ready &= ~(1u << index);
				return true;
			}
			continue;
		}
		request->blk = blk;
		request->queue = (uint16_t)index;
		request->generation = blk->generation;
		request->features = blk->device.driver_features;
		/* Without VIRTIO_BLK_F_FLUSH a driver expects a write to be durable when it is done (section 5.2.6.2). */
		request->writethrough = request->features & BLK_F_CONFIG_WCE ? !blk->config.writeback :
			!(request->features & BLK_F_FLUSH) || blk->disk->cache == DISK_WRITETHROUGH;
		request->next = NULL;
		**end = request;
		*end = &request->next;
		blk->in_flight++;
		if (blk->expected[index] > 0)
			blk->expected[index]--;
		--*requests;
		*bytes += request->chain.in_size + request->chain.out_size;
	}
}

/* Both under one hold of the lock; returns what is to be started. */
static struct blk_request *exchange(struct blk *blk)
{
	struct virtio_device *device = &blk->device;
	struct blk_request *taken = NULL, **end = &taken;
	uint32_t requests = BATCH;
	uint64_t bytes = 0;
	pthread_mutex_lock(&device->lock);
	blk->untold |= return_finished(blk);
	if (!device->live || blk->paused || blk->draining > 0) {
		blk->ready = blk->held_back = 0; /* who changes that wakes this thread, and all queues are looked at */
		memset(blk->expected, 0, sizeof(blk->expected));
		blk->ask = 0;
	} else {
		for (uint32_t n = 0, first = blk->first; n < device->n_queues && device->live; n++) {
			uint32_t i = (first + n) % device->n_queues;
			if ((blk->ready >> i & 1) && !take_queue(blk, i, &end, &requests, &bytes)) {
				blk->first = (i + 1) % device->n_queues; /* else it might leave nothing to the others the next time, too */
				break;
			}
		}
	}
	if (taken == NULL || blk->n_untold >= UNTOLD_MOST || bytes > UNTOLD_BYTES)
		tell_driver(blk);
	blk->owes = blk->untold != 0;
	pthread_mutex_unlock(&device->lock);
	return taken;
}

/* There is a turn anyway: chains that wait for others to be kicked for are taken with it. */
static void end_hold(struct blk *blk)
{
	blk->ready |= blk->held_back;
	blk->held_back = 0;
}

/* Waits in one place for everything. */
static void wait_for_work(struct blk *blk, struct blk_events *events)
{
	const struct blk_engine_ops *ops = blk->engine->ops;
	if (blk->ready != 0 || (blk->finished != NULL && !blk->held)) {
		ops->wait(blk->engine, 0, events);
		end_hold(blk);
		return;
	}
	if (blk->owes) {
		/* A quick disk is done already. Else the driver is told before this waits. */
		ops->wait(blk->engine, 0, events);
		if (events->done.first != NULL || events->ready != 0) {
			end_hold(blk);
			return;
		}
		pthread_mutex_lock(&blk->device.lock);
		tell_driver(blk);
		pthread_mutex_unlock(&blk->device.lock);
	}
	if (blk->held_back == 0) {
		ops->wait(blk->engine, BLK_FOREVER, events);
		return;
	}
	if (blk->hold_ns == 0)
		blk->hold_ns = HOLD_FIRST_NS;
	uint64_t before = clock_now_ns();
	ops->wait(blk->engine, (int64_t)(2 * blk->hold_ns), events);
	uint64_t waited = clock_now_ns() - before;
	if (events->ready >> (BLK_FD_WAKE + 1) != 0) {
		/* They came. */
		blk->hold_ns = (3 * blk->hold_ns + waited) / 4;
		/* It may have more to send than it got back: the next hold asks for half as many again, but not right after that was too much. */
		if (blk->grow_pause > 0)
			blk->grow_pause--;
		blk->ask = blk->grow_pause > 0 ? blk->asked : min_u32(blk->asked + (blk->asked + 1) / 2, HOLD_MOST);
		if (++blk->hold_good % HOLD_FORGIVE == 0 && blk->hold_pause > 0)
			blk->hold_pause--;
	} else if (events->done.first == NULL && events->ready == 0) {
		/* They did not, or not in time: a driver that is about half way is only slow. */
		uint32_t came = 0;
		pthread_mutex_lock(&blk->device.lock);
		for (uint32_t i = 0; i < blk->device.n_queues; i++) {
			if (!(blk->held_back >> i & 1))
				continue;
			uint32_t available = virtq_available(&blk->device.queue[i]);
			/* The others may never come: a driver with less to do than before would be waited for with each of its requests. */
			blk->expected[i] = min_u32(blk->expected[i], available);
			came = max_u32(came, available);
		}
		pthread_mutex_unlock(&blk->device.lock);
		blk->ask = came;
		blk->grow_pause = HOLD_GROW_PAUSE;
		blk->hold_pause = min_u32(max_u32(blk->hold_pause + 1, HOLD_PAUSE_FIRST), HOLD_PAUSE_MOST);
		blk->hold_again_ns = clock_now_ns() + (2 * blk->hold_ns << blk->hold_pause);
		if (2 * came >= blk->asked)
			blk->hold_ns += blk->hold_ns / 2;
		else
			memset(blk->expected, 0, sizeof(blk->expected));
	}
	if (blk->hold_ns < HOLD_MIN_NS)
		blk->hold_ns = HOLD_MIN_NS;
	if (blk->hold_ns > HOLD_MAX_NS)
		blk->hold_ns = HOLD_MAX_NS;
	end_hold(blk);
}

static void start_requests(struct blk *blk, struct blk_request *request)
{
	while (request != NULL) {
		struct blk_request *next = request->next;
		if (!is_void(blk, request) && blk_request_start(blk, request))
			blk->engine->ops->submit(blk->engine, &request->op);
		else
			add_finished(blk, request);
		request = next;
	}
}

static void advance_requests(struct blk *blk, struct blk_op_list *done)
{
	for (struct blk_op *op; (op = blk_op_take(done)) != NULL;) {
		struct blk_request *request = container_of(op, struct blk_request, op);
		if (!is_void(blk, request) && blk_request_advance(blk, request))
			blk->engine->ops->submit(blk->engine, op);
		else
			add_finished(blk, request);
	}
}

int64_t blk_disk_end(const struct blk *blk)
{
	off_t end = lseek(blk->disk->fd, 0, SEEK_END);
	return end < 0 ? -1 : end - end % blk->disk->block_size;
}

static void resize(struct blk *blk)
{
	uint64_t old = atomic_load(&blk->size);
	int64_t size = blk->disk->fd >= 0 ? blk_disk_end(blk) : (int64_t)old;
	if (size <= 0 || (blk->has_memory && (uint64_t)size != blk->memory.size && disk_memory_resize(&blk->memory, (uint64_t)size) < 0)) {
		log_error("disk %s: keeps its size: %s", blk->disk->name, size == 0 ? "the file is empty" : strerror(errno));
		return;
	}
	if ((uint64_t)size == old) {
		log_info("disk %s: still has %" PRIu64 " bytes", blk->disk->name, old);
		return;
	}
	blk->check_ns = 0;
	pthread_mutex_lock(&blk->device.lock);
	/* A paused device's state is being saved: it changes at the resume, from what the file is then. */
	if (blk->paused) {
		blk->resize = true;
		pthread_mutex_unlock(&blk->device.lock);
		return;
	}
	atomic_store(&blk->size, (uint64_t)size);
	blk->config.capacity = (uint64_t)size / BLK_SECTOR;
	virtio_notify_config(&blk->device);
	pthread_mutex_unlock(&blk->device.lock);
	log_info("disk %s: now %" PRIi64 " bytes instead of %" PRIu64, blk->disk->name, size, old);
}

/* What others want. False: the end. */
static bool take_orders(struct blk *blk)
{
	pthread_mutex_lock(&blk->device.lock);
	bool stop = blk->stop, resized = blk->resize && !blk->paused, cancel = blk->cancel;
	blk->resize &= !resized;
	blk->cancel = false;
	pthread_mutex_unlock(&blk->device.lock);
	if (cancel)
		blk->engine->ops->cancel(blk->engine);
	if (resized)
		resize(blk);
	blk->ready = (1u << blk->device.n_queues) - 1;
	return !stop;
}

/* Before the end: what the guest wrote and did not flush. The driver is gone, so nothing new comes. */
static void flush_at_end(struct blk *blk)
{
	struct blk_op op = { .code = BLK_OP_FLUSH };
	if (blk_is_clean(blk) || blk->flush_failed || blk->stuck > 0)
		return;
	blk->engine->ops->submit(blk->engine, &op);
	for (bool done = false; !done;) {
		struct blk_events events = { 0 };
		blk->engine->ops->wait(blk->engine, BLK_FOREVER, &events);
		for (struct blk_op *each; (each = blk_op_take(&events.done)) != NULL;)
			done |= each == &op;
	}
	if (op.result < 0)
		blk_complain(blk, "flush", 0, (int)-op.result);
}

/* The engine's second half, on its own thread. io_uring may still turn out to be of no use. */
static int start_engine(struct blk *blk, const struct blk_engine_config *config)
{
	int error = 0;
	if (blk->disk->aio != DISK_AIO_THREADS) {
		if (blk->engine != NULL)
			error = blk->engine->ops->start(blk->engine);
		else
			error = blk->start_errno;
		if (error == 0) {
			log_info("disk %s: io_uring", blk->disk->name);
			return 0;
		}
		if (blk->engine != NULL)
			blk->engine->ops->destroy(blk->engine);
		blk->engine = NULL;
		if (blk->disk->aio == DISK_AIO_URING)
			return error;
		log_warn("disk %s: threads, because io_uring is not to be had here (%s): slower; see kernel.io_uring_disabled", blk->disk->name, strerror(error));
	} else {
		log_info("disk %s: threads, as asked for", blk->disk->name);
	}
	blk->engine = blk_pool_create(config);
	return blk->engine != NULL ? 0 : errno;
}

void blk_engine_config(struct blk *blk, struct blk_engine_config *config, int watch[BLK_FDS_MAX])
{
	watch[BLK_FD_WAKE] = blk->wake_fd;
	memcpy(watch + BLK_FD_WAKE + 1, blk->device.kick_fd, blk->device.n_queues * sizeof(watch[0]));
	*config = (struct blk_engine_config){
		.fd = blk->disk->fd,
		.buffered_fd = blk->disk->buffered_fd,
		.writes = !blk->disk->readonly && !blk->has_memory,
		.watch = watch,
		.n_watch = BLK_FD_WAKE + 1 + blk->device.n_queues,
		.entries = blk->disk->ring_entries,
		.syscalls = blk->syscalls,
	};
}

/* A mutex is not fair: with work for ever in the rings, this thread would keep vCPUs from the device's registers. */
static void let_others_in(struct blk *blk)
{
	for (uint32_t i = 0; i < NAPS && blk->ready != 0 && atomic_load_explicit(&blk->device.waiting, memory_order_relaxed) > 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
}

void *blk_thread(void *data)
{
	struct blk *blk = data;
	struct blk_engine_config config;
	int watch[BLK_FDS_MAX];
	blk_engine_config(blk, &config, watch);
	blk->start_errno = start_engine(blk, &config);
	bool runs = blk->start_errno == 0, failed = !runs;
	sem_post(&blk->started);
	if (failed)
		return NULL;
	while (runs) {
		struct blk_events events = { 0 };
		wait_for_work(blk, &events);
		blk->ready |= events.ready >> (BLK_FD_WAKE + 1);
		if (events.ready & 1u << BLK_FD_WAKE)
			runs = take_orders(blk);
		advance_requests(blk, &events.done);
		let_others_in(blk);
		start_requests(blk, exchange(blk));
	}
	flush_at_end(blk);
	blk->engine->ops->destroy(blk->engine);
	pthread_mutex_lock(&blk->device.lock);
	blk->ended = true;
	pthread_cond_broadcast(&blk->idle);
	pthread_mutex_unlock(&blk->device.lock);
	return NULL;
}
