/* The machine's end of a console against a control end played by the test. */
#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "base/console.h"
#include "base/stats.h"

static struct console_pairs pairs;
static struct console_end end;
static struct stats stats;
static int peer;
static uint8_t message[CONSOLE_MESSAGE + 1];

static void setup(void)
{
	memset(&stats, 0, sizeof(stats));
	ck_assert_int_eq(console_pairs_open(&pairs), 0);
	peer = pairs.control[CONSOLE_COM1];
	console_end_init(&end, pairs.machine[CONSOLE_COM1], true, &stats);
}

static void teardown(void)
{
	console_end_finish(&end);
	console_pairs_close(&pairs);
}

static void say(enum console_message type, const void *bytes, uint32_t size)
{
	message[0] = (uint8_t)type;
	if (size > 0)
		memcpy(message + 1, bytes, size);
	ck_assert_int_eq(send(peer, message, size + 1, 0), size + 1);
	console_end_serve(&end);
}

/* The next message's type, its bytes in message[1..*size]; -1: none. */
static int hear(uint32_t *size)
{
	ssize_t got = recv(peer, message, sizeof(message), MSG_DONTWAIT);
	if (got < 0)
		return -1;
	*size = (uint32_t)got - 1;
	return message[0];
}

static void attach_with(uint32_t credit)
{
	uint32_t size, got;
	say(CONSOLE_ATTACH, NULL, 0);
	ck_assert_int_eq(hear(&size), CONSOLE_READY);
	ck_assert_uint_eq(size, 4);
	memcpy(&got, message + 1, 4);
	ck_assert_uint_eq(got, credit);
}

static void attach(void)
{
	attach_with(CONSOLE_WINDOW);
}

START_TEST(history_goes_to_who_attaches)
{
	uint32_t size;
	ck_assert(!console_end_put(&end, "before ", 7)); /* nobody to wake anybody for */
	console_end_serve(&end);
	ck_assert_int_eq(hear(&size), -1);
	ck_assert_int_eq(console_end_events(&end), POLLIN);
	attach();
	ck_assert_int_eq(hear(&size), CONSOLE_DATA);
	ck_assert_uint_eq(size, 7);
	ck_assert_mem_eq(message + 1, "before ", 7);
	ck_assert(console_end_put(&end, "live", 4));
	ck_assert(!console_end_put(&end, "ly", 2)); /* awake already */
	ck_assert_int_eq(console_end_events(&end), POLLIN | POLLOUT);
	console_end_serve(&end);
	ck_assert_int_eq(hear(&size), CONSOLE_DATA);
	ck_assert_uint_eq(size, 6);
	ck_assert_mem_eq(message + 1, "lively", 6);
	say(CONSOLE_DETACH, NULL, 0);
	ck_assert(!console_end_put(&end, "x", 1));
	console_end_serve(&end);
	ck_assert_int_eq(hear(&size), -1);
	ck_assert_uint_eq(stats.console_dropped, 0);
}
END_TEST

START_TEST(a_stream_without_history_begins_empty)
{
	uint32_t size;
	end.history = false;
	console_end_put(&end, "before", 6);
	attach();
	ck_assert_int_eq(hear(&size), -1);
	console_end_put(&end, "live", 4);
	say(CONSOLE_DETACH, NULL, 0);
	attach();
	ck_assert_int_eq(hear(&size), -1);
	ck_assert_uint_eq(console_end_room(&end), CONSOLE_HISTORY);
}
END_TEST

START_TEST(the_newest_is_kept)
{
	static uint8_t bytes[3 * CONSOLE_HISTORY], got[CONSOLE_HISTORY];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	uint32_t size, n = 0;
	console_end_put(&end, "old", 3);
	for (size_t at = 0; at < sizeof(bytes); at += 1000)
		console_end_put(&end, bytes + at, at + 1000 <= sizeof(bytes) ? 1000 : sizeof(bytes) - at);
	attach();
	while (hear(&size) == CONSOLE_DATA) {
		memcpy(got + n, message + 1, size);
		n += size;
	}
	ck_assert_uint_eq(n, CONSOLE_HISTORY);
	ck_assert_mem_eq(got, bytes + sizeof(bytes) - CONSOLE_HISTORY, CONSOLE_HISTORY);
	/* A single piece larger than the ring. */
	console_end_put(&end, bytes, sizeof(bytes));
	console_end_serve(&end);
	for (n = 0; hear(&size) == CONSOLE_DATA; n += size)
		memcpy(got + n, message + 1, size);
	ck_assert_uint_eq(n, CONSOLE_HISTORY);
	ck_assert_mem_eq(got, bytes + sizeof(bytes) - CONSOLE_HISTORY, CONSOLE_HISTORY);
}
END_TEST

START_TEST(flood_never_blocks) /* I5 */
{
	static uint8_t bytes[65536];
	uint32_t size;
	uint64_t put = 0, got = 0;
	attach();
	/* Nobody reads: the socket fills, then the ring, then the rest is counted. */
	for (int i = 0; i < 1000; i++) {
		console_end_put(&end, bytes, sizeof(bytes));
		console_end_serve(&end);
		put += sizeof(bytes);
	}
	ck_assert_uint_gt(stats.console_dropped, put / 2);
	while (hear(&size) == CONSOLE_DATA)
		got += size;
	console_end_serve(&end);
	while (hear(&size) == CONSOLE_DATA)
		got += size;
	ck_assert_uint_eq(put, got + stats.console_dropped);
}
END_TEST

START_TEST(input_is_credited)
{
	uint8_t bytes[CONSOLE_WINDOW];
	uint32_t size, credit;
	attach();
	memset(bytes, 'a', sizeof(bytes));
	say(CONSOLE_DATA, bytes, 1000);
	say(CONSOLE_DATA, "b", 1);
	ck_assert_uint_eq(end.in_size, 1001);
	ck_assert_uint_eq(end.in[1000], 'b');
	ck_assert_int_eq(hear(&size), -1); /* not taken yet */
	console_end_taken(&end, 1000);
	ck_assert_uint_eq(end.in_size, 1);
	ck_assert_uint_eq(end.in[0], 'b');
	ck_assert_int_eq(console_end_events(&end), POLLIN | POLLOUT);
	console_end_serve(&end);
	ck_assert_int_eq(hear(&size), CONSOLE_TAKEN);
	ck_assert_uint_eq(size, 4);
	memcpy(&credit, message + 1, 4);
	ck_assert_uint_eq(credit, 1000);
	/* More than the window is cut, never written past its end. */
	say(CONSOLE_DATA, bytes, CONSOLE_MESSAGE - 1);
	say(CONSOLE_DATA, bytes, CONSOLE_MESSAGE - 1);
	ck_assert_uint_eq(end.in_size, CONSOLE_WINDOW);
	/* Attached anew: what waited was for another guest, and the credit is whole. */
	attach();
	ck_assert_uint_eq(end.in_size, 0);
	ck_assert_int_eq(hear(&size), -1);
	/* Unknown messages mean nothing; a detach is seen however full the window is. */
	say((enum console_message)200, bytes, 10);
	say(CONSOLE_TAKEN, bytes, 10);
	say(CONSOLE_DATA, bytes, CONSOLE_MESSAGE - 1);
	say(CONSOLE_DATA, bytes, 10);
	say(CONSOLE_DETACH, NULL, 0);
	ck_assert(!console_end_attached(&end));
	/* What was sent before it left is for the guest still, and no credit for the next one. */
	ck_assert_uint_eq(end.in_size, CONSOLE_WINDOW);
	console_end_taken(&end, 96);
	attach_with(96);
	ck_assert_int_eq(hear(&size), -1);
}
END_TEST

START_TEST(other_end_closes)
{
	attach();
	close(pairs.control[CONSOLE_COM1]);
	pairs.control[CONSOLE_COM1] = -1;
	console_end_put(&end, "x", 1);
	console_end_serve(&end);
	ck_assert_int_eq(end.fd, -1);
	console_end_serve(&end);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("console");
	TCase *tc = tcase_create("console");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, history_goes_to_who_attaches);
	tcase_add_test(tc, a_stream_without_history_begins_empty);
	tcase_add_test(tc, the_newest_is_kept);
	tcase_add_test(tc, flood_never_blocks);
	tcase_add_test(tc, input_is_credited);
	tcase_add_test(tc, other_end_closes);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
