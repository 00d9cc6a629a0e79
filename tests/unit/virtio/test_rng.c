/* virtio-rng: bytes that differ, a bounded rate, and a guest that breaks its ring. */
#include "unit.h"
#include "driver.h"

#include "base/base.h"
#include "virtio/rng.h"

#define QUEUE 0
#define RING 64

static struct driver d;
static struct rng *rng;
static uint64_t page;

static void setup(void)
{
	driver_init(&d, 16 << 20);
	rng = rng_create(&d.memory);
	ck_assert_ptr_nonnull(rng);
	driver_attach(&d, rng_device(rng), 0x00ff00);
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	page = driver_alloc(&d, 1 << 20);
}

static void teardown(void)
{
	driver_detach(&d);
	rng_destroy(rng);
	driver_finish(&d);
}

static uint32_t ask(uint64_t gpa, uint32_t size)
{
	uint32_t length = 0;
	driver_add(&d, QUEUE, &(struct driver_buf){ gpa, size }, 0, 1);
	driver_kick(&d, QUEUE);
	ck_assert(driver_run(&d, QUEUE));
	ck_assert(driver_used(&d, QUEUE, NULL, &length));
	return length;
}

/* Requests of `size` bytes, as many as the ring takes, until one is not answered at once. Returns the bytes that were. */
static uint64_t drain(uint32_t size)
{
	uint64_t bytes = 0;
	for (int round = 0; round < 2000; round++) {
		uint32_t answered = 0, length;
		for (uint32_t i = 0; i < RING / 2; i++)
			driver_add(&d, QUEUE, &(struct driver_buf){ page, size }, 0, 1);
		driver_kick(&d, QUEUE);
		ck_assert(driver_run(&d, QUEUE));
		while (driver_used(&d, QUEUE, NULL, &length)) {
			answered++;
			bytes += length;
		}
		if (answered < RING / 2)
			return bytes;
	}
	ck_abort_msg("the device answers without end");
	return 0;
}

START_TEST(bytes_differ)
{
	uint8_t *bytes = driver_ptr(&d, page), zeros[64] = { 0 };
	ck_assert_uint_eq(ask(page, 64), 64);
	ck_assert_uint_eq(ask(page + 64, 64), 64);
	ck_assert_mem_ne(bytes, zeros, 64);
	ck_assert_mem_ne(bytes + 64, zeros, 64);
	ck_assert_mem_ne(bytes, bytes + 64, 64);
	ck_assert_mem_eq(bytes + 128, zeros, 64);
	ck_assert_uint_ge(driver_interrupts(&d, 1), 1);
	/* Over several pieces. */
	struct driver_buf pieces[3] = { { page + 0x1000, 10 }, { page + 0x2000, 1 }, { page + 0x3000, 20 } };
	uint32_t length;
	driver_add(&d, QUEUE, pieces, 0, 3);
	ck_assert(driver_run(&d, QUEUE));
	ck_assert(driver_used(&d, QUEUE, NULL, &length));
	ck_assert_uint_eq(length, 31);
	ck_assert_mem_ne(bytes + 0x3000, zeros, 20);
	ck_assert_mem_eq(bytes + 0x3014, zeros, 64);
}
END_TEST

START_TEST(a_huge_request_is_answered_in_part) /* Q12 */
{
	uint8_t *bytes = driver_ptr(&d, page), zeros[64] = { 0 };
	ck_assert_uint_eq(ask(page, 1 << 20), 4096);
	ck_assert_mem_eq(bytes + 4096, zeros, 64);
}
END_TEST

START_TEST(rate_is_bounded) /* Q11 */
{
	uint64_t bytes = drain(4096);
	ck_assert_uint_ge(bytes, RNG_WINDOW_BYTES);
	ck_assert_uint_lt(bytes, 8 * RNG_WINDOW_BYTES); /* a slow machine may see several windows */
	/* What is left waits for the next window, and a kick changes nothing. */
	driver_kick(&d, QUEUE);
	ck_assert(driver_run(&d, QUEUE));
	uint64_t now = clock_now_ns(), next = rng_tick(rng, now);
	ck_assert_uint_le(next, now + RNG_WINDOW_NS);
	ck_assert_uint_eq(rng_tick(rng, next - 1), next);
	struct timespec wait = { .tv_nsec = RNG_WINDOW_NS };
	nanosleep(&wait, NULL);
	ck_assert_uint_eq(rng_tick(rng, clock_now_ns()), UINT64_MAX);
	uint64_t count;
	ck_assert_int_eq(read(rng_device(rng)->kick_fd[QUEUE], &count, sizeof(count)), 8);
	ck_assert(driver_run(&d, QUEUE));
	ck_assert(driver_used(&d, QUEUE, NULL, NULL));
}
END_TEST

START_TEST(tiny_requests_are_bounded_too)
{
	uint64_t bytes = drain(1);
	ck_assert_uint_ge(bytes, RNG_WINDOW_BYTES / RNG_COST);
	ck_assert_uint_lt(bytes, 8 * RNG_WINDOW_BYTES / RNG_COST);
}
END_TEST

START_TEST(broken_rings) /* Q1, Q3, Q5, Q6, Q13 */
{
	ck_assert_uint_eq(ask(page, 16), 16);
	for (int kind = 0; kind < 4; kind++) {
		driver_start(&d, DRIVER_ALL_FEATURES, RING);
		switch (kind) {
		case 0: driver_add(&d, QUEUE, &(struct driver_buf){ page, 0 }, 0, 1); break;
		case 1: driver_add(&d, QUEUE, &(struct driver_buf){ d.memory.size - 4, 8 }, 0, 1); break;
		case 2: driver_offer(&d, QUEUE, RING); break;
		case 3: d.queue[QUEUE].avail[1] = 1000; break;
		}
		driver_kick(&d, QUEUE);
		ck_assert(driver_run(&d, QUEUE));
		ck_assert_msg(driver_status(&d) & S_NEEDS_RESET, "kind %d", kind);
		ck_assert(!driver_used(&d, QUEUE, NULL, NULL));
	}
	/* Nothing to write into is no harm; and the reset made it work again. */
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	uint32_t length = 99;
	driver_add(&d, QUEUE, &(struct driver_buf){ page, 16 }, 1, 0);
	ck_assert(driver_run(&d, QUEUE));
	ck_assert(driver_used(&d, QUEUE, NULL, &length));
	ck_assert_uint_eq(length, 0);
	ck_assert_uint_eq(ask(page, 16), 16);
}
END_TEST

START_TEST(paused_and_reset_touch_no_ring)
{
	struct virtio_device *device = rng_device(rng);
	device->ops->pause(device);
	driver_add(&d, QUEUE, &(struct driver_buf){ page, 16 }, 0, 1);
	ck_assert(driver_run(&d, QUEUE));
	ck_assert(!driver_used(&d, QUEUE, NULL, NULL));
	device->ops->resume(device);
	uint64_t count;
	ck_assert_int_eq(read(device->kick_fd[QUEUE], &count, sizeof(count)), 8);
	ck_assert(driver_run(&d, QUEUE));
	ck_assert(driver_used(&d, QUEUE, NULL, NULL));
	drain(4096);
	driver_set(&d, R_STATUS, 0, 1);
	while (driver_used(&d, QUEUE, NULL, NULL))
		continue;
	ck_assert_uint_eq(rng_tick(rng, clock_now_ns() + 2 * RNG_WINDOW_NS), UINT64_MAX);
	ck_assert(driver_run(&d, QUEUE));
	ck_assert(!driver_used(&d, QUEUE, NULL, NULL));
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("rng");
	TCase *tc = tcase_create("rng");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, bytes_differ);
	tcase_add_test(tc, a_huge_request_is_answered_in_part);
	tcase_add_test(tc, rate_is_bounded);
	tcase_add_test(tc, tiny_requests_are_bounded_too);
	tcase_add_test(tc, broken_rings);
	tcase_add_test(tc, paused_and_reset_touch_no_ring);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
