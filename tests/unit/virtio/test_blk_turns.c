/*
 * virtio-blk: when the driver is interrupted and when it is asked to kick, turn by turn. A turn of the block thread is a step() here
 * (blk_host.h), with what it finds given as completions of the oldest requests and descriptors that are signalled.
 */
#include "blk_host.h"
#include "unit.h"

#define UNTOLD_MOST 16u /* as in blk_thread.c */

START_TEST(one_at_a_time)
{
	begin(1);
	for (uint32_t round = 0; round < 50; round++) {
		ck_assert(send_one(0));
		step(0, KICK(0));
		ck_assert_uint_eq(host.n, 1);
		ck_assert_int_eq(host.timeout, BLK_FOREVER);
		ck_assert_uint_eq(told(0), 0);
		step(1, 0);
		ck_assert_uint_eq(told(0), 1);
		ck_assert_int_eq(host.timeout, BLK_FOREVER);
		ck_assert_uint_eq(take_all(0), 1);
	}
}
END_TEST

/* With another request on the way, but not done: the first one is told before the disk waits for anything. */
START_TEST(slow_disk)
{
	begin(1);
	send_one(0);
	send_one(0);
	step(0, KICK(0));
	for (uint32_t round = 0; round < 50; round++) {
		ck_assert(send_one(0));
		step(1, KICK(0));
		ck_assert_uint_eq((uint16_t)(used_index(0) - d.queue[0].last_used), 1);
		ck_assert_uint_eq(told(0), 0);
		ck_assert_int_eq(host.timeout, 0);
		step(0, 0);
		ck_assert_uint_eq(told(0), 1);
		ck_assert_int_ne(host.timeout, 0);
		ck_assert_uint_eq(take_all(0), 1);
	}
	/* And with nothing to follow, at once. */
	step(1, 0);
	ck_assert_uint_eq(told(0), 1);
	step(1, 0);
	ck_assert_uint_eq(take_all(0), 2);
}
END_TEST

/* The disk is done with one request in each turn and the driver sends one: an interrupt for UNTOLD_MOST of them, and none waits for more. */
START_TEST(quick_disk)
{
	begin(1);
	for (uint32_t i = 0; i < 16; i++)
		send_one(0);
	step(0, KICK(0));
	for (uint32_t i = 1; i <= 10 * UNTOLD_MOST; i++) {
		ck_assert(send_one(0));
		step(1, KICK(0));
		bool due = i % UNTOLD_MOST == 0;
		ck_assert_uint_eq(told(0), due);
		ck_assert_uint_eq((uint16_t)(used_index(0) - d.queue[0].last_used), due ? UNTOLD_MOST : i % UNTOLD_MOST);
		if (due)
			ck_assert_uint_eq(take_all(0), UNTOLD_MOST);
	}
	/* A flow that stops, after however many: the last ones are told as soon as the disk or the driver has no more. */
	for (uint32_t untold = 1; untold < UNTOLD_MOST; untold++) {
		for (uint32_t i = 0; i < untold; i++) {
			send_one(0);
			step(1, KICK(0));
		}
		ck_assert_uint_eq(told(0), 0);
		step(untold % 2, 0);
		ck_assert_uint_eq(told(0), 1);
		ck_assert_int_eq(host.timeout, BLK_FOREVER);
		ck_assert_uint_eq(take_all(0), untold + untold % 2);
		for (uint32_t i = 0; i < untold % 2; i++)
			send_one(0);
		step(0, KICK(0));
	}
	step(16, 0);
	ck_assert_uint_eq(told(0), 1);
	ck_assert_uint_eq(take_all(0), 16);
}
END_TEST

/* A queue with one request beside a busy one. */
START_TEST(two_queues)
{
	begin(2);
	for (uint32_t round = 0; round < 20; round++) {
		send_one(0);
		step(0, KICK(0));
		for (uint32_t i = 0; i < 16; i++)
			send_one(1);
		step(0, KICK(1));
		for (uint32_t i = 1; i <= UNTOLD_MOST; i++) {
			ck_assert_uint_eq(told(0) + told(1), 0);
			send_one(1);
			step(1, KICK(1));
		}
		ck_assert_uint_eq(told(0), 1);
		ck_assert_uint_eq(told(1), 1);
		ck_assert_uint_eq(take_all(0), 1);
		ck_assert_uint_eq(take_all(1), UNTOLD_MOST - 1);
		step(host.n, 0);
		ck_assert_uint_eq(told(1), 1);
		ck_assert_uint_eq(take_all(1), 17);
	}
}
END_TEST

/* Copying much, here or in the page cache, is no time to put an interrupt off. */
START_TEST(large_requests)
{
	slots.shared_room = 128 << 10;
	begin(1);
	send_one(0);
	step(0, KICK(0));
	for (uint32_t i = 0; i < 3; i++)
		slot_offer(0, free_slot(0), IN, 0, 128 << 10);
	step(1, KICK(0));
	ck_assert_uint_eq(host.n, 3);
	ck_assert_uint_eq(told(0), 1);
	ck_assert_uint_eq(take_all(0), 1);
}
END_TEST

/* A ring that breaks stops the device. What was returned before, in this turn or an earlier one, is told all the same. */
START_TEST(broken_ring) /* _i & 1: the queue; _i & 2: a turn before */
{
	begin(2);
	for (uint32_t i = 0; i < 3; i++)
		send_one(0);
	step(0, KICK(0));
	if (_i & 2) {
		send_one(0);
		step(1, KICK(0));
		ck_assert_uint_eq(told(0), 0);
	}
	driver_offer(&d, _i & 1, SLOTS_RING);
	step(_i & 2 ? 0 : 1, KICK(_i & 1));
	ck_assert_uint_ne(driver_status(&d) & S_NEEDS_RESET, 0);
	ck_assert_uint_eq(driver_interrupts(&d, 0), 1);
	ck_assert_uint_eq((uint16_t)(used_index(0) - d.queue[0].last_used), 1);
	ck_assert_uint_eq(told(0), 1);
}
END_TEST

/* The driver's interrupts off and on again between any two turns, as its handler does it. */
START_TEST(off_and_on) /* _i: with VIRTIO_F_EVENT_IDX */
{
	begin_on(&(struct disk_config){ .path = path }, _i ? DRIVER_ALL_FEATURES : DRIVER_ALL_FEATURES & ~F_EVENT_IDX);
	send_one(0);
	step(0, KICK(0));
	step(1, 0);
	ck_assert_uint_eq(told(0), 1); /* the first one is sent whatever the driver wants */
	take_all(0);
	for (uint32_t i = 0; i < 20; i++)
		send_one(0);
	step(0, KICK(0));
	slots_disable(0);
	step(3, 0);
	ck_assert_uint_eq(told(0), 0);
	ck_assert(!slots_enable(0));
	ck_assert_uint_eq(take_all(0), 3);
	step(1, 0);
	ck_assert_uint_eq(told(0), 1);
	/* Off while one is returned and not told yet; on before that would be told. */
	slots_disable(0);
	send_one(0);
	step(1, KICK(0));
	ck_assert_uint_eq(take_all(0), 2);
	step(0, 0);
	ck_assert_uint_le(told(0), _i ? 0 : 1); /* it knows already */
	step(1, 0);
	ck_assert_uint_eq(told(0), 1);
	/* On, but the interrupt is put off; off and on again meanwhile. */
	take_all(0);
	send_one(0);
	step(1, KICK(0));
	slots_disable(0);
	ck_assert_uint_eq(take_all(0), 1);
	send_one(0);
	step(1, KICK(0));
	ck_assert_uint_eq(told(0), 0);
	step(0, 0);
	ck_assert_uint_eq(told(0), 1);
	ck_assert_uint_eq(take_all(0), 1);
}
END_TEST

/* The block thread has been woken: somebody waits for it. */
static void await_wake(void)
{
	uint64_t count;
	ck_assert_int_eq(poll(&host.fds[BLK_FD_WAKE], 1, 1000 * DEADLINE_S), 1);
	ck_assert_int_eq(read(host.fds[BLK_FD_WAKE].fd, &count, sizeof(count)), sizeof(count));
}

static void *pause_it(void *transport)
{
	virtio_pci_pause(transport);
	return NULL;
}

static void *reset_it(void *transport)
{
	virtio_pci_reset(transport);
	return NULL;
}

/* One returned and not told, two more with the host; then `what` waits for them. */
static pthread_t disturb(void *(*what)(void *transport))
{
	pthread_t thread;
	for (uint32_t i = 0; i < 2; i++)
		send_one(0);
	step(0, KICK(0));
	send_one(0);
	step(1, KICK(0));
	ck_assert_uint_eq(host.n, 2);
	ck_assert_uint_eq(told(0), 0);
	uint64_t count;
	ck_assert(read(host.fds[BLK_FD_WAKE].fd, &count, sizeof(count)) == sizeof(count) || errno == EAGAIN);
	ck_assert_int_eq(pthread_create(&thread, NULL, what, d.transport), 0);
	await_wake();
	return thread;
}

START_TEST(pause_tells)
{
	begin(1);
	for (uint32_t round = 0; round < 10; round++) {
		pthread_t thread = disturb(pause_it);
		step(2, WAKE);
		pthread_join(thread, NULL);
		ck_assert_uint_eq(told(0), 1);
		ck_assert_uint_eq(take_all(0), 3);
		ck_assert_uint_gt(virtio_pci_save(d.transport, NULL, 0), 0);
		send_one(0);
		step(0, WAKE | KICK(0));
		ck_assert_uint_eq(host.n, 0);
		virtio_pci_resume(d.transport);
		step(0, WAKE);
		ck_assert_uint_eq(host.n, 1);
		step(1, 0);
		ck_assert_uint_eq(told(0), 1);
		ck_assert_uint_eq(take_all(0), 1);
	}
}
END_TEST

/* The pause ends without waiting any longer: what comes during it is told after it. */
START_TEST(late_for_the_pause)
{
	drain_ms = 100;
	begin(1);
	pthread_t thread = disturb(pause_it);
	step(0, WAKE);
	ck_assert_uint_eq(told(0), 1);
	ck_assert_uint_eq(take_all(0), 1);
	pthread_join(thread, NULL);
	step(1, WAKE);
	ck_assert_uint_eq(take_all(0), 0);
	ck_assert_int_eq(host.timeout, BLK_FOREVER);
	virtio_pci_resume(d.transport);
	step(0, WAKE);
	ck_assert_uint_eq(told(0), 1);
	ck_assert_uint_eq(take_all(0), 1);
	step(1, 0);
	ck_assert_uint_eq(told(0), 1);
}
END_TEST

START_TEST(reset_owes_nothing)
{
	begin(1);
	for (uint32_t round = 0; round < 3; round++) {
		pthread_t thread = disturb(reset_it);
		uint16_t used = used_index(0);
		step(2, WAKE);
		pthread_join(thread, NULL);
		ck_assert_uint_eq(used_index(0), used);
		step(0, WAKE);
		ck_assert_uint_eq(told(0), 0);
		slots_start(DRIVER_ALL_FEATURES);
		ck_assert(slots_enable(0));
		step(0, KICK(0));
		ck_assert_uint_eq(told(0), 0);
		send_one(0);
		step(0, KICK(0));
		step(1, 0);
		ck_assert_uint_eq(told(0), 1);
		ck_assert_uint_eq(take_all(0), 1);
	}
}
END_TEST

/* `depth` came back at once and the driver has sent the first of their successors: kicks for the next ones are held back. */
static void hold(uint32_t queue, uint32_t depth)
{
	while (host.n < depth) {
		send_one(queue);
		step(0, KICK(queue));
	}
	step(depth, 0);
	ck_assert_uint_eq(told(queue), 1);
	ck_assert_uint_eq(take_all(queue), depth);
	ck_assert(send_one(queue));
	step(0, KICK(queue));
	ck_assert_int_gt(host.timeout, 0);
}

/* Whatever ends a hold, chains that nobody kicked for are taken. */
START_TEST(held_back)
{
	begin(1);
	hold(0, 8); /* 7 may follow; 5 are asked for */
	for (uint32_t i = 1; i <= 5; i++)
		ck_assert_uint_eq(send_one(0), i == 5);
	step(0, KICK(0));
	ck_assert_uint_eq(host.n, 6);
	/* Something is done meanwhile. */
	ck_assert_int_gt(host.timeout, 0);
	ck_assert(!send_one(0));
	step(1, 0);
	ck_assert_uint_eq(host.n, 6);
	/* And once more, with that one to be told. */
	ck_assert_int_eq(host.timeout, 0);
	ck_assert(!send_one(0));
	step(1, 0);
	ck_assert_uint_eq(host.n, 6);
	/* Nobody comes. What was returned is told before that is waited for. */
	step(0, 0);
	ck_assert_uint_eq(told(0), 1);
	ck_assert_int_gt(host.timeout, 0);
	for (uint32_t i = 0; host.timeout > 0 && i < 10; i++)
		step(0, 0);
	ck_assert_int_eq(host.timeout, BLK_FOREVER);
	ck_assert(send_one(0));
	step(0, KICK(0));
	ck_assert_uint_eq(host.n, 7);
}
END_TEST

/* The time runs out, with few or with most of them there. */
START_TEST(hold_runs_out) /* _i: how many came */
{
	begin(1);
	hold(0, 8);
	for (int i = 0; i < _i; i++)
		ck_assert(!send_one(0));
	step(0, 0);
	ck_assert_uint_eq(host.n, 1 + (uint32_t)_i);
	for (uint32_t i = 0; host.timeout > 0 && i < 10; i++)
		step(0, 0);
	ck_assert_int_eq(host.timeout, BLK_FOREVER);
	ck_assert(send_one(0));
}
END_TEST

/*
 * Rounds of `depth` requests at a time, each round sent when the last one has come back. The disk's thread looks at each kick, or, when it
 * is late, at the first one and after the last one. How many holds waited for what did not come.
 */
static uint32_t rounds(uint32_t depth, uint32_t n, bool late)
{
	uint32_t in_vain = 0;
	while (n-- > 0) {
		bool asked = false;
		for (uint32_t i = 0; i < depth; i++) {
			asked |= send_one(0);
			if (!asked || (late && i > 0 && i + 1 < depth))
				continue;
			step(0, KICK(0));
			asked = false;
		}
		while (host.n < depth) {
			ck_assert_int_gt(host.timeout, 0);
			in_vain++;
			step(0, 0);
		}
		step(depth, 0);
		ck_assert_uint_eq(told(0), 1);
		ck_assert_uint_eq(take_all(0), depth);
	}
	return in_vain;
}

/* A driver has as many in flight as it has. Asking for more costs a wait, so it is not done over and over; nor after its depth has changed. */
START_TEST(holds_in_vain) /* _i: the thread is late */
{
	static const uint32_t depths[] = { 8, 16, 8, 3, 1, 4, 2, 12, 32, 6, 1, 5, 3, 2, 1 };
	begin(1);
	for (uint32_t i = 0; i < ARRAY_LEN(depths); i++) {
		uint32_t in_vain = rounds(depths[i], 80, _i);
		ck_assert_msg(in_vain <= 10, "%u of 80 with %u at a time", in_vain, depths[i]);
	}
}
END_TEST

/* A queue whose kicks are held back beside one whose requests are done before there is anything to wait for. */
START_TEST(held_beside_a_busy_queue)
{
	begin(2);
	for (uint32_t i = 0; i < 8; i++)
		send_one(1);
	step(0, KICK(1));
	step(8, 0);
	ck_assert_uint_eq(take_all(1), 8);
	send_one(1);
	for (uint32_t i = 0; i < 10; i++) {
		slot_offer(0, free_slot(0), GET_ID, 0, 20);
		step(0, KICK(0) | (i == 0 ? KICK(1) : 0));
		ck_assert_int_eq(host.timeout, 0);
		take_all(0);
		if (i == 0)
			ck_assert(!send_one(1));
	}
	ck_assert_uint_eq(host.n, 2);
}
END_TEST

/* So much on one queue that no turn is done with it: the other one has its turn as well. */
START_TEST(turns_for_all)
{
	slots.shared_room = 128 << 10;
	begin_on(&(struct disk_config){ .memory_size = DISK_SIZE, .queues = 2 }, DRIVER_ALL_FEATURES);
	slot_offer(1, 0, IN, 0, 512);
	for (uint32_t turn = 0; turn < 6; turn++) {
		take_all(0);
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			if (!slots.busy[0][slot])
				slot_offer(0, slot, IN, 0, 128 << 10);
		step(0, turn == 0 ? KICK(0) | KICK(1) : 0);
		ck_assert_int_eq(host.timeout, 0);
	}
	ck_assert_uint_eq(told(1), 1);
	ck_assert_uint_eq(take_all(1), 1);
}
END_TEST

static struct {
	uint32_t turns, sent_at, came_at;
	bool started;
	_Atomic bool go, over;
} busy;

/* On the block thread, before each wait: the first queue's driver is quicker than the disk. */
static void keep_busy(void)
{
	if (!busy.go || busy.over)
		return;
	for (uint32_t head; driver_used(&d, 0, &head, NULL);)
		slots.busy[0][head / 3] = 0;
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		if (!slots.busy[0][slot])
			slot_offer(0, slot, IN, 0, 128 << 10);
	if (!busy.started)
		driver_kick(&d, 0);
	busy.started = true;
	if (++busy.turns == 20) {
		slot_offer(1, 0, IN, 0, 512);
		driver_kick(&d, 1);
	}
	if (used_index(1) != 0)
		busy.came_at = busy.turns;
	busy.over = busy.came_at != 0 || busy.turns == 100;
}

/* The real engine sees kicks also while it is never waited for and nothing is handed to the host. */
START_TEST(kick_beside_a_busy_queue)
{
	host.hook = keep_busy;
	slots.shared_room = 128 << 10;
	start(&(struct disk_config){ .memory_size = DISK_SIZE, .queues = 2 }, DRIVER_ALL_FEATURES);
	slots_start(DRIVER_ALL_FEATURES);
	busy.go = true;
	driver_kick(&d, 1); /* the thread sleeps */
	for (uint32_t i = 0; i < 1000 * DEADLINE_S && !busy.over; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	ck_assert(busy.over);
	ck_assert_uint_ge(busy.came_at, 20);
	ck_assert_uint_le(busy.came_at, 30);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("blk-turns");
	TCase *tc = tcase_create("turns");
	tcase_add_checked_fixture(tc, make_file, end);
	tcase_add_test(tc, one_at_a_time);
	tcase_add_test(tc, slow_disk);
	tcase_add_test(tc, quick_disk);
	tcase_add_test(tc, two_queues);
	tcase_add_test(tc, large_requests);
	tcase_add_loop_test(tc, broken_ring, 0, 4);
	tcase_add_loop_test(tc, off_and_on, 0, 2);
	tcase_add_test(tc, pause_tells);
	tcase_add_test(tc, late_for_the_pause);
	tcase_add_test(tc, reset_owes_nothing);
	tcase_add_test(tc, held_back);
	tcase_add_loop_test(tc, hold_runs_out, 0, 5);
	tcase_add_loop_test(tc, holds_in_vain, 0, 2);
	tcase_add_test(tc, held_beside_a_busy_queue);
	tcase_add_test(tc, turns_for_all);
	tcase_add_test(tc, kick_beside_a_busy_queue);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
