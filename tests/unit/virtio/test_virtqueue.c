/* The ring rows of the hostile guest, through the rings of a device that echoes. */

#include "echo.h"

START_TEST(round_trip)
{
	/* Both ways of suppression. */
	driver_start(&d, _i == 0 ? VERSION_1 : DRIVER_ALL_FEATURES, 16);
	ck_assert_uint_eq(echo.activated, 1);
	for (int i = 0; i < 100; i++) {
		if (_i == 1)
			d.queue[0].avail[2 + 16] = d.queue[0].last_used; /* used_event: tell me about the next one */
		assert_works();
		ck_assert_uint_eq(driver_interrupts(&d, 1), 1);
	}
	ck_assert_uint_eq(echo.served, 100);
	ck_assert_uint_eq(driver_read(&d, d.isr, 1), 1);
	ck_assert_uint_eq(driver_read(&d, d.isr, 1), 0);
}
END_TEST

START_TEST(no_interrupt_when_not_wanted)
{
	driver_start(&d, VERSION_1, 16);
	d.queue[0].avail[0] = 1; /* VIRTQ_AVAIL_F_NO_INTERRUPT */
	assert_works();
	ck_assert_uint_eq(driver_interrupts(&d, 1), 0);

	driver_start(&d, DRIVER_ALL_FEATURES, 16);
	assert_works(); /* the first one always interrupts: nothing was signalled before */
	driver_interrupts(&d, 1);
	d.queue[0].avail[2 + 16] = 3; /* used_event: when the used index passes 3 */
	assert_works();
	assert_works();
	ck_assert_uint_eq(driver_interrupts(&d, 1), 0);
	assert_works();
	ck_assert_uint_eq(driver_interrupts(&d, 1), 1);
	assert_works();
	ck_assert_uint_eq(driver_interrupts(&d, 1), 0);
}
END_TEST

START_TEST(notifications_are_suppressed_while_draining)
{
	driver_start(&d, VERSION_1, 16);
	ck_assert_uint_eq(d.queue[0].used[0], 0);
	struct virtq *queue = &echo.device.queue[0];
	static struct virtq_chain chain;
	const char *why;
	const struct driver_buf buf = { page, 8 };
	driver_add(&d, 0, &buf, 1, 0);
	ck_assert_int_eq(virtq_pop(queue, &chain, &why), 1);
	ck_assert_uint_eq(d.queue[0].used[0], 1); /* VIRTQ_USED_F_NO_NOTIFY */
	driver_add(&d, 0, &buf, 1, 0);
	ck_assert(virtq_rearm(queue)); /* one arrived meanwhile */
	ck_assert_uint_eq(d.queue[0].used[0], 0);
	ck_assert_int_eq(virtq_pop(queue, &chain, &why), 1);
	ck_assert(!virtq_rearm(queue));

	driver_start(&d, DRIVER_ALL_FEATURES, 16);
	uint16_t *avail_event = d.queue[0].used + 2 + 4 * 16;
	driver_add(&d, 0, &buf, 1, 0);
	driver_add(&d, 0, &buf, 1, 0);
	ck_assert_int_eq(virtq_pop(queue, &chain, &why), 1);
	ck_assert_int_eq(virtq_pop(queue, &chain, &why), 1);
	ck_assert_uint_eq(*avail_event, 0);
	ck_assert(!virtq_rearm(queue));
	ck_assert_uint_eq(*avail_event, 2);
}
END_TEST

START_TEST(chain_copies)
{
	driver_start(&d, DRIVER_ALL_FEATURES, 16);
	uint8_t *bytes = driver_ptr(&d, page);
	for (int i = 0; i < 100; i++)
		bytes[i] = (uint8_t)i;
	const struct driver_buf bufs[] = { { page, 3 }, { page + 10, 5 }, { page + 200, 2 }, { page + 300, 4 } };
	driver_add(&d, 0, bufs, 2, 2);
	static struct virtq_chain chain;
	const char *why;
	ck_assert_int_eq(virtq_pop(&echo.device.queue[0], &chain, &why), 1);
	ck_assert_uint_eq(chain.n_out, 2);
	ck_assert_uint_eq(chain.n_in, 2);
	ck_assert_uint_eq(chain.out_size, 8);
	ck_assert_uint_eq(chain.in_size, 6);
	uint8_t got[16];
	ck_assert_uint_eq(virtq_chain_read(&chain, 2, got, sizeof(got)), 6);
	ck_assert_mem_eq(got, ((uint8_t[]){ 2, 10, 11, 12, 13, 14 }), 6);
	ck_assert_uint_eq(virtq_chain_read(&chain, 8, got, 1), 0);
	ck_assert_uint_eq(virtq_chain_read(&chain, UINT64_MAX, got, 1), 0);
	ck_assert_uint_eq(virtq_chain_write(&chain, 1, "abcdefgh", 8), 5);
	ck_assert_mem_eq(bytes + 200, "\0a", 2);
	ck_assert_mem_eq(bytes + 300, "bcde\0", 5);
}
END_TEST

/* Q1 Q3 Q4 Q5 Q13: one malformed chain each. */
static const struct {
	const char *what;
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
	uint16_t flags1; /* of descriptor 1, writable or not, 16 bytes at `page` */
} bad_chain[] = {
	{ "Q1 zero length", 0x10000, 0, 0, 0, 0 },
	{ "Q1 loop on itself", 0x10000, 8, D_NEXT, 0, 0 },
	{ "Q1 loop of two", 0x10000, 8, D_NEXT, 1, D_NEXT },
	{ "Q3 outside RAM", RAM, 8, 0, 0, 0 },
	{ "Q3 crosses the end", RAM - 4, 8, 0, 0, 0 },
	{ "Q3 wraps", UINT64_MAX - 3, 8, 0, 0, 0 },
	{ "Q3 MMIO", 0x800000000, 8, D_WRITE, 0, 0 },
	{ "Q3 length to the end of the world", 0x10000, UINT32_MAX, 0, 0, 0 },
	{ "Q4 indirect, fits", 0x10000, 32, D_INDIRECT, 0, 0 },
	{ "Q4 indirect, size 0", 0x10000, 0, D_INDIRECT, 0, 0 },
	{ "Q4 indirect, not a multiple of 16", 0x10000, 17, D_INDIRECT, 0, 0 },
	{ "Q4 indirect and next", 0x10000, 32, D_INDIRECT | D_NEXT, 1, 0 },
	{ "Q4 indirect second", 0x10000, 32, D_NEXT, 1, D_INDIRECT },
	{ "Q5 next is the size", 0x10000, 8, D_NEXT, 64, 0 },
	{ "Q5 next is huge", 0x10000, 8, D_NEXT, 0xffff, 0 },
	{ "Q13 readable after writable", 0x10000, 8, D_NEXT | D_WRITE, 1, 0 },
};

START_TEST(malformed_chain)
{
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	assert_works();
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	struct driver_desc *desc = d.queue[0].desc;
	desc[0] = (struct driver_desc){ bad_chain[_i].addr, bad_chain[_i].len, bad_chain[_i].flags, bad_chain[_i].next };
	desc[1] = (struct driver_desc){ page, 16, bad_chain[_i].flags1, 0 };
	/* What lies behind the table looks like good descriptors. */
	memcpy(driver_ptr(&d, d.queue[0].desc_gpa + 16 * 64), &(struct driver_desc){ page, 16, 0, 0 }, 16);
	memcpy(driver_ptr(&d, d.queue[0].desc_gpa + 16 * 0xffff), &(struct driver_desc){ page, 16, 0, 0 }, 16);
	driver_offer(&d, 0, 0);
	assert_needs_reset();
}
END_TEST

START_TEST(chain_longer_than_the_queue)
{
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	for (uint16_t i = 0; i < 64; i++)
		d.queue[0].desc[i] = (struct driver_desc){ page, 1, D_NEXT, (uint16_t)((i + 1) % 64) };
	driver_offer(&d, 0, 0);
	assert_needs_reset();
	/* As long as the queue is fine. */
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	for (uint16_t i = 0; i < 64; i++)
		d.queue[0].desc[i] = (struct driver_desc){ page, 1, i < 63 ? D_NEXT : 0, (uint16_t)((i + 1) % 64) };
	driver_offer(&d, 0, 0);
	ck_assert(driver_run(&d, 0));
	ck_assert(driver_used(&d, 0, NULL, NULL));
}
END_TEST

START_TEST(same_head_twice_in_flight) /* Q2 */
{
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	struct virtq *queue = &echo.device.queue[0];
	static struct virtq_chain chain;
	const char *why = NULL;
	const struct driver_buf buf = { page, 16 };
	uint16_t head = driver_add(&d, 0, &buf, 0, 1);
	ck_assert_int_eq(virtq_pop(queue, &chain, &why), 1);
	void *host = chain.iov[0].iov_base;
	driver_offer(&d, 0, head);
	assert_needs_reset();
	memset(host, 1, 16); /* what is still being written to stays valid memory */
	/* Once returned, it may come again. */
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	assert_works();
	d.queue[0].next_desc = 0;
	assert_works();
	/* Nothing is pushed that was not taken. */
	uint16_t used = d.queue[0].used[1];
	virtq_push(queue, 5, 0);
	virtq_push(queue, 64, 0);
	ck_assert_uint_eq(d.queue[0].used[1], used);
}
END_TEST

START_TEST(head_outside_the_table) /* Q5 */
{
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	memcpy(driver_ptr(&d, d.queue[0].desc_gpa + 16 * 64), &(struct driver_desc){ page, 16, 0, 0 }, 16);
	memcpy(driver_ptr(&d, d.queue[0].desc_gpa + 16 * 0xffff), &(struct driver_desc){ page, 16, 0, 0 }, 16);
	driver_offer(&d, 0, _i == 0 ? 64 : 0xffff);
	assert_needs_reset();
}
END_TEST

START_TEST(available_index_runs_away) /* Q6 */
{
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	/* Every entry is a good chain: only the index is wrong. */
	for (uint16_t i = 0; i < 64; i++) {
		d.queue[0].desc[i] = (struct driver_desc){ page, 1, 0, 0 };
		d.queue[0].avail[2 + i] = i;
	}
	d.queue[0].avail[1] = _i == 0 ? 65 : 0xffff;
	ck_assert_uint_eq(virtq_available(&echo.device.queue[0]), 64);
	assert_needs_reset();
}
END_TEST

START_TEST(available_index_that_never_ends) /* Q11: work per call is bounded although the driver refills for ever */
{
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	const struct driver_buf bufs[] = { { page, 8 }, { page + 64, 8 } };
	for (int i = 0; i < 32; i++)
		driver_add(&d, 0, bufs, 1, 1);
	ck_assert(echo.device.ops->run(&echo.device, 0));
	ck_assert_uint_eq(echo.served, 16);
	/* A ring that always offers the same completed head: each is a legal chain, and rearm says there is more. */
	for (int i = 0; i < 1000; i++) {
		d.queue[0].avail[1]++;
		echo.device.ops->run(&echo.device, 0);
	}
	ck_assert_uint_eq(driver_status(&d) & S_NEEDS_RESET, 0);
}
END_TEST

START_TEST(one_page_many_times) /* Q12: sums far above real memory */
{
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	for (uint16_t i = 0; i < 64; i++)
		d.queue[0].desc[i] = (struct driver_desc){ 0, (uint32_t)RAM, (uint16_t)(D_WRITE | (i < 63 ? D_NEXT : 0)), (uint16_t)(i + 1) };
	driver_offer(&d, 0, 0);
	static struct virtq_chain chain;
	const char *why;
	ck_assert_int_eq(virtq_pop(&echo.device.queue[0], &chain, &why), 1);
	ck_assert_uint_eq(chain.in_size, 64 * RAM);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("virtqueue");
	TCase *tc = tcase_create("virtqueue");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, round_trip, 0, 2);
	tcase_add_test(tc, no_interrupt_when_not_wanted);
	tcase_add_test(tc, notifications_are_suppressed_while_draining);
	tcase_add_test(tc, chain_copies);
	tcase_add_loop_test(tc, malformed_chain, 0, ARRAY_LEN(bad_chain));
	tcase_add_test(tc, chain_longer_than_the_queue);
	tcase_add_test(tc, same_head_twice_in_flight);
	tcase_add_loop_test(tc, head_outside_the_table, 0, 2);
	tcase_add_loop_test(tc, available_index_runs_away, 0, 2);
	tcase_add_test(tc, available_index_that_never_ends);
	tcase_add_test(tc, one_page_many_times);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
