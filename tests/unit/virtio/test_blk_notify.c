/*
 * virtio-blk and a driver that looks at its rings only after an interrupt, and kicks only when asked: no interrupt and no kick may be lost,
 * whatever the device does to have fewer of them. By io_uring and by threads, on a file and in memory. How long one is put off is looked
 * at in test_blk_turns.c, where nothing depends on who runs when.
 */
#include "blk_slots.h"
#include "unit.h"

#define DEADLINE_MS 5000 /* what is lost never comes; a busy machine may take its time */

/* One queue's work: `depth` in flight, each that came back is followed by another as long as some are left. */
struct flow {
	uint32_t queue, depth, left;
	uint32_t in_flight, done, interrupts;
	bool quiet; /* interrupts are off while it takes, as in Linux */
};

static void before_uring(void)
{
	make_file();
}

static void before_threads(void)
{
	aio = DISK_AIO_THREADS;
	make_file();
}

static void after(void)
{
	stop();
	unlink(path);
}

static void start_disk(uint32_t queues, bool memory, uint64_t features)
{
	start(&(struct disk_config){ .path = memory ? NULL : path, .memory_size = memory ? DISK_SIZE : 0, .queues = queues }, DRIVER_ALL_FEATURES);
	slots_start(features);
}

/* A vector becomes an eventfd with its first interrupt: -1 until then. */
static int vector_fd(uint32_t vector)
{
	int fd = -1;
	pthread_mutex_lock(&d.lock);
	for (int i = 0; i < 32; i++)
		if (d.route[i].fd >= 0 && d.route[i].data == 0x40 + vector)
			fd = d.route[i].fd;
	pthread_mutex_unlock(&d.lock);
	return fd;
}

/* Sleeps until a queue was interrupted; false: the deadline passed. */
static bool wait_interrupt(const struct flow *flow, uint32_t n)
{
	struct pollfd fds[SLOT_QUEUES];
	for (uint64_t until = clock_now_ns() + DEADLINE_MS * NSEC_PER_MSEC; clock_now_ns() < until;) {
		int timeout = DEADLINE_MS;
		for (uint32_t i = 0; i < n; i++) {
			fds[i] = (struct pollfd){ .fd = vector_fd(flow[i].queue + 1), .events = POLLIN };
			if (fds[i].fd < 0)
				timeout = 1;
		}
		if (poll(fds, n, timeout) > 0)
			return true;
	}
	return false;
}

static void send_more(struct flow *flow, uint32_t slot)
{
	if (flow->left == 0)
		return;
	flow->left--;
	flow->in_flight++;
	slot_send(flow->queue, slot);
}

/* What Linux' virtblk_done() does. New requests are sent when interrupts are on again: what comes of them is not found by looking. */
static void on_interrupt(struct flow *flow)
{
	uint8_t came[SLOTS];
	uint32_t n = 0;
	do {
		if (flow->quiet)
			slots_disable(flow->queue);
		for (int slot; (slot = slot_take(flow->queue)) >= 0; flow->in_flight--, flow->done++)
			came[n++] = (uint8_t)slot;
	} while (!slots_enable(flow->queue));
	for (uint32_t i = 0; i < n; i++)
		send_more(flow, came[i]);
}

static void run(struct flow *flow, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		ck_assert(slots_enable(flow[i].queue));
		for (uint32_t slot = 0; slot < flow[i].depth; slot++)
			send_more(&flow[i], slot);
	}
	for (;;) {
		uint32_t in_flight = 0;
		for (uint32_t i = 0; i < n; i++)
			in_flight += flow[i].in_flight;
		if (in_flight == 0)
			return;
		ck_assert_msg(wait_interrupt(flow, n), "no interrupt, with %u requests in flight and %u done on the first queue", in_flight, flow[0].done);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t interrupts = (uint32_t)driver_interrupts(&d, flow[i].queue + 1);
			flow[i].interrupts += interrupts;
			if (interrupts > 0)
				on_interrupt(&flow[i]);
		}
	}
}

static const uint32_t depths[] = { 1, 2, 3, 7, 8, 16, 32, 80 };

/* Steady work at each depth, all of it waited for to the end: the last ones have nobody behind them. */
static void all_depths(bool memory, uint64_t features)
{
	start_disk(1, memory, features);
	uint64_t sent = 0;
	for (uint32_t i = 0; i < ARRAY_LEN(depths); i++) {
		uint32_t requests = depths[i] == 1 ? 100 : 600;
		struct flow flow = { .depth = depths[i], .left = requests, .quiet = i % 2 == 0 };
		run(&flow, 1);
		sent += requests;
		ck_assert_uint_eq(flow.done, requests);
		ck_assert_uint_ge(flow.interrupts, 1);
		if (depths[i] == 1)
			ck_assert_uint_eq(flow.interrupts, requests);
	}
	ck_assert_uint_eq(stats.disk_requests, sent);
	if (!memory)
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			ck_assert_uint_eq(((uint8_t *)driver_ptr(&d, slots.room))[SLOT_DATA * slot], slot);
}

START_TEST(steady) /* _i: with VIRTIO_F_EVENT_IDX */
{
	all_depths(false, _i ? DRIVER_ALL_FEATURES : DRIVER_ALL_FEATURES & ~F_EVENT_IDX);
}
END_TEST

START_TEST(steady_in_memory)
{
	all_depths(true, _i ? DRIVER_ALL_FEATURES : DRIVER_ALL_FEATURES & ~F_EVENT_IDX);
}
END_TEST

/* Bursts of all sizes, each awaited. After a large one the device expects more than the small one brings. */
START_TEST(bursts) /* _i: in memory */
{
	start_disk(1, _i, DRIVER_ALL_FEATURES);
	for (uint32_t round = 0; round < 120; round++) {
		uint32_t depth = round % 3 == 0 ? 32 : 1 + round % 17;
		struct flow flow = { .depth = depth, .left = depth + round % 5, .quiet = true };
		uint32_t wanted = flow.left;
		run(&flow, 1);
		ck_assert_uint_eq(flow.done, wanted);
	}
}
END_TEST

/* One queue with much to do and one with one request at a time: neither is forgotten over the other. */
START_TEST(two_queues) /* _i: in memory */
{
	start_disk(2, _i, DRIVER_ALL_FEATURES);
	for (uint32_t round = 0; round < 10; round++) {
		struct flow flow[] = { { .queue = round % 2, .depth = 32, .left = 400, .quiet = true }, { .queue = (round + 1) % 2, .depth = 1, .left = 20 } };
		run(flow, 2);
		ck_assert_uint_eq(flow[0].done, 400);
		ck_assert_uint_eq(flow[1].done, 20);
	}
}
END_TEST

/* A pause in the midst, again and again: what was returned before it is told, and what waits in the ring is served after it. */
START_TEST(pauses) /* _i: in memory */
{
	start_disk(1, _i, DRIVER_ALL_FEATURES);
	ck_assert(slots_enable(0));
	for (uint32_t round = 0; round < 40; round++) {
		struct flow flow = { .depth = 1 + round % 24 };
		for (uint32_t slot = 0; slot < flow.depth; slot++)
			slot_send(0, slot);
		virtio_pci_pause(d.transport);
		/* What is in the used ring has its interrupt already. */
		uint16_t used = __atomic_load_n(&d.queue[0].used[1], __ATOMIC_ACQUIRE);
		ck_assert_uint_eq(poll(&(struct pollfd){ .fd = vector_fd(1), .events = POLLIN }, 1, 0) == 1, used != d.queue[0].last_used);
		slot_send(0, flow.depth); /* nobody looks at it now */
		virtio_pci_resume(d.transport);
		for (uint32_t left = flow.depth + 1; left > 0;) {
			ck_assert_msg(wait_interrupt(&flow, 1), "no interrupt, with %u in flight", left);
			driver_interrupts(&d, 1);
			do {
				while (slot_take(0) >= 0)
					left--;
			} while (!slots_enable(0));
		}
	}
}
END_TEST

static void add_tests(Suite *suite, const char *name, void (*before)(void))
{
	TCase *tc = tcase_create(name);
	tcase_add_checked_fixture(tc, before, after);
	tcase_add_loop_test(tc, steady, 0, 2);
	tcase_add_loop_test(tc, steady_in_memory, 0, 2);
	tcase_add_loop_test(tc, bursts, 0, 2);
	tcase_add_loop_test(tc, two_queues, 0, 2);
	tcase_add_loop_test(tc, pauses, 0, 2);
	suite_add_tcase(suite, tc);
}

static Suite *make_suite(void)
{
	Suite *suite = suite_create("blk-notify");
	add_tests(suite, "io_uring", before_uring);
	add_tests(suite, "threads", before_threads);
	return suite;
}

UNIT_MAIN(make_suite)
