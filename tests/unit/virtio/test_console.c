/* virtio-console against a driver and a control end played by the test: ports, bytes both ways, floods, hostile control messages. */
#include "unit.h"
#include "driver.h"

#include <sys/socket.h>

#include "base/base.h"
#include "base/console.h"
#include "base/stats.h"
#include "virtio/console.h"

enum { RX0, TX0, CONTROL_RX, CONTROL_TX, RX1, TX1, QUEUES };
enum { DEVICE_READY, PORT_ADD, PORT_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };
#define RING 16
#define WAIT_MS 5000
#define CONTROL_SIZE 64u
#define MULTIPORT (1ull << 1)

static struct driver d;
static struct console *console;
static struct console_pairs pairs;
static struct stats stats;
static uint64_t page, text_page, control_page;

static int peer(uint32_t port)
{
	return pairs.control[port == 0 ? CONSOLE_HVC0 : CONSOLE_AGENT];
}

static void setup(void)
{
	memset(&stats, 0, sizeof(stats));
	ck_assert_int_eq(console_pairs_open(&pairs), 0);
	driver_init(&d, 16 << 20);
	const int fd[CONSOLE_PORTS] = { pairs.machine[CONSOLE_HVC0], pairs.machine[CONSOLE_AGENT] };
	console = console_create(&d.memory, fd, &stats);
	ck_assert_ptr_nonnull(console);
	driver_attach(&d, console_device(console), 0x078000);
	page = driver_alloc(&d, 1 << 20);
	text_page = driver_alloc(&d, 4096);
	control_page = driver_alloc(&d, 4096);
}

static void teardown(void)
{
	driver_detach(&d);
	console_destroy(console);
	driver_finish(&d);
	console_pairs_close(&pairs);
}

/* --- the driver ------------------------------------------------------------------------------------------------------------ */

static void tell(uint32_t port, uint16_t event, uint16_t value)
{
	uint16_t message[4] = { (uint16_t)port, (uint16_t)(port >> 16), event, value };
	memcpy(driver_ptr(&d, control_page + 2048), message, 8);
	driver_add(&d, CONTROL_TX, &(struct driver_buf){ control_page + 2048, 8 }, 1, 0);
	driver_kick(&d, CONTROL_TX);
	uint32_t length = 99;
	ck_assert(driver_wait(&d, CONTROL_TX, NULL, &length, WAIT_MS));
	ck_assert_uint_eq(length, 0);
}

static uint32_t control_given;

static void give_control(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		driver_add(&d, CONTROL_RX, &(struct driver_buf){ control_page + CONTROL_SIZE * (control_given++ % RING), CONTROL_SIZE }, 0, 1);
	driver_kick(&d, CONTROL_RX);
}

/* The next control message must be this one. */
static void expect_control(uint32_t port, uint16_t event, uint16_t value, const char *name)
{
	uint32_t head, length, at;
	uint16_t message[4];
	ck_assert_msg(driver_wait(&d, CONTROL_RX, &head, &length, WAIT_MS), "no message, awaited event %u of port %u", event, port);
	at = (uint32_t)(d.queue[CONTROL_RX].desc[head].addr - control_page);
	ck_assert_uint_eq(length, 8 + strlen(name));
	uint8_t *bytes = driver_ptr(&d, control_page + at);
	memcpy(message, bytes, 8);
	ck_assert_msg(message[0] == port && message[2] == event && message[3] == value, "port %u event %u value %u instead of %u %u %u", message[0],
		message[2], message[3], port, event, value);
	ck_assert_mem_eq(bytes + 8, name, strlen(name));
}

static void start(void)
{
	control_given = 0;
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	give_control(RING);
}

/* As Linux: both ports set up, both open in the guest. */
static void start_ports(void)
{
	start();
	tell(0, DEVICE_READY, 1);
	expect_control(0, PORT_ADD, 1, "");
	expect_control(1, PORT_ADD, 1, "");
	tell(0, PORT_READY, 1);
	expect_control(0, CONSOLE_PORT, 1, "");
	expect_control(0, PORT_OPEN, 1, "");
	tell(1, PORT_READY, 1);
	expect_control(1, PORT_NAME, 1, CONSOLE_AGENT_NAME);
	tell(0, PORT_OPEN, 1);
	tell(1, PORT_OPEN, 1);
}

static uint32_t tx_queue(uint32_t port)
{
	return port == 0 ? TX0 : TX1;
}

static uint32_t rx_queue(uint32_t port)
{
	return port == 0 ? RX0 : RX1;
}

static void guest_writes(uint32_t port, const char *text)
{
	memcpy(driver_ptr(&d, text_page), text, strlen(text));
	driver_add(&d, tx_queue(port), &(struct driver_buf){ text_page, (uint32_t)strlen(text) }, 1, 0);
	driver_kick(&d, tx_queue(port));
	ck_assert(driver_wait(&d, tx_queue(port), NULL, NULL, WAIT_MS));
}

static void guest_reads(uint32_t port, const char *text)
{
	uint32_t head, length;
	ck_assert(driver_wait(&d, rx_queue(port), &head, &length, WAIT_MS));
	ck_assert_uint_eq(length, strlen(text));
	ck_assert_mem_eq(driver_ptr(&d, d.queue[rx_queue(port)].desc[head].addr), text, length);
}

/* --- the other end ----------------------------------------------------------------------------------------------------------- */

static void say(uint32_t port, enum console_message type, const char *text)
{
	uint8_t message[CONSOLE_MESSAGE] = { (uint8_t)type };
	memcpy(message + 1, text, strlen(text));
	ck_assert_int_eq(send(peer(port), message, strlen(text) + 1, 0), (ssize_t)strlen(text) + 1);
}

/* The next message's bytes; its type, or -1 when none comes in time. */
static int hear(uint32_t port, uint8_t bytes[CONSOLE_MESSAGE], uint32_t *size, int ms)
{
	struct pollfd fd = { peer(port), POLLIN, 0 };
	uint8_t message[CONSOLE_MESSAGE];
	if (poll(&fd, 1, ms) < 1)
		return -1;
	ssize_t got = recv(peer(port), message, sizeof(message), MSG_DONTWAIT);
	ck_assert_int_ge(got, 1);
	*size = (uint32_t)got - 1;
	memcpy(bytes, message + 1, *size);
	return message[0];
}

static void expect_data(uint32_t port, const char *text)
{
	uint8_t bytes[CONSOLE_MESSAGE];
	uint32_t size, n = 0;
	char got[256] = "";
	while (n < strlen(text)) {
		ck_assert_int_eq(hear(port, bytes, &size, WAIT_MS), CONSOLE_DATA);
		ck_assert_uint_lt(n + size, sizeof(got));
		memcpy(got + n, bytes, size);
		n += size;
	}
	ck_assert_str_eq(got, text);
}

static void attach(uint32_t port)
{
	uint8_t bytes[CONSOLE_MESSAGE];
	uint32_t size;
	int type;
	say(port, CONSOLE_ATTACH, "");
	while ((type = hear(port, bytes, &size, WAIT_MS)) == CONSOLE_TAKEN)
		continue; /* of what an earlier one typed */
	ck_assert_int_eq(type, CONSOLE_READY);
}

/* --- tests ---------------------------------------------------------------------------------------------------------------------- */

START_TEST(ports_are_announced)
{
	start();
	ck_assert_uint_eq(driver_read(&d, d.config + 4, 4), CONSOLE_PORTS);
	tell(0, DEVICE_READY, 1);
	expect_control(0, PORT_ADD, 1, "");
	expect_control(1, PORT_ADD, 1, "");
	tell(1, PORT_READY, 1);
	expect_control(1, PORT_NAME, 1, "org.rayvm.agent");
	tell(0, PORT_READY, 1);
	expect_control(0, CONSOLE_PORT, 1, "");
	expect_control(0, PORT_OPEN, 1, "");
	/* The agent's port is open while somebody is attached. */
	attach(1);
	expect_control(1, PORT_OPEN, 1, "");
	say(1, CONSOLE_DETACH, "");
	expect_control(1, PORT_OPEN, 0, "");
}
END_TEST

START_TEST(bytes_both_ways)
{
	start_ports();
	for (uint32_t port = 0; port < CONSOLE_PORTS; port++) {
		attach(port);
		if (port == 1)
			expect_control(1, PORT_OPEN, 1, "");
		guest_writes(port, "hello");
		expect_data(port, "hello");
		say(port, CONSOLE_DATA, "typed");
		/* Nothing to put it in yet: it waits. */
		driver_add(&d, rx_queue(port), &(struct driver_buf){ page + 4096, 3 }, 0, 1);
		driver_kick(&d, rx_queue(port));
		guest_reads(port, "typ");
		driver_add(&d, rx_queue(port), &(struct driver_buf){ page + 8192, 4096 }, 0, 1);
		driver_kick(&d, rx_queue(port));
		guest_reads(port, "ed");
		uint8_t bytes[CONSOLE_MESSAGE];
		uint32_t size, credit = 0, part;
		while (credit < 5) {
			ck_assert_int_eq(hear(port, bytes, &size, WAIT_MS), CONSOLE_TAKEN);
			memcpy(&part, bytes, 4);
			credit += part;
		}
		ck_assert_uint_eq(credit, 5);
	}
}
END_TEST

START_TEST(console_of_a_driver_without_ports)
{
	driver_start(&d, ~MULTIPORT, RING);
	guest_writes(0, "early");
	attach(0);
	expect_data(0, "early"); /* said before anybody attached */
	driver_add(&d, RX0, &(struct driver_buf){ page, 64 }, 0, 1);
	driver_kick(&d, RX0);
	say(0, CONSOLE_DATA, "x");
	guest_reads(0, "x");
}
END_TEST

START_TEST(unattached_agent_hears_nothing)
{
	uint8_t bytes[CONSOLE_MESSAGE];
	uint32_t size;
	start_ports();
	guest_writes(1, "into the void");
	attach(1);
	expect_control(1, PORT_OPEN, 1, "");
	guest_writes(1, "heard");
	expect_data(1, "heard");
	/* Closed in the guest, it keeps what is sent until somebody opens it. */
	tell(1, PORT_OPEN, 0);
	driver_add(&d, RX1, &(struct driver_buf){ page, 64 }, 0, 1);
	driver_kick(&d, RX1);
	say(1, CONSOLE_DATA, "later");
	ck_assert(!driver_wait(&d, RX1, NULL, NULL, 50));
	tell(1, PORT_OPEN, 1);
	guest_reads(1, "later");
	ck_assert_int_eq(hear(1, bytes, &size, WAIT_MS), CONSOLE_TAKEN);
}
END_TEST

START_TEST(console_flood_is_taken_and_counted) /* I5 */
{
	start_ports();
	attach(0);
	/* Nobody reads the other end: every chain comes back all the same. */
	uint64_t written = 0;
	for (int i = 0; i < 200; i++) {
		driver_add(&d, TX0, &(struct driver_buf){ page, 65536 }, 1, 0);
		driver_kick(&d, TX0);
		ck_assert(driver_wait(&d, TX0, NULL, NULL, WAIT_MS));
		written += 65536;
	}
	ck_assert_uint_gt(stats.console_dropped, written / 2);
	ck_assert_uint_le(stats.console_dropped, written);
	/* The other port works meanwhile. */
	attach(1);
	guest_writes(1, "alive");
	expect_data(1, "alive");
	/* One chain of a gigabyte and more: the same page many times. */
	struct driver_buf many[RING - 1];
	for (int i = 0; i < RING - 1; i++)
		many[i] = (struct driver_buf){ 0x10000, 15 << 20 };
	uint64_t before = clock_now_ns();
	for (int i = 0; i < 40; i++) {
		driver_add(&d, TX0, many, RING - 1, 0);
		driver_kick(&d, TX0);
		ck_assert(driver_wait(&d, TX0, NULL, NULL, WAIT_MS));
	}
	ck_assert_uint_lt(clock_now_ns() - before, 2 * NSEC_PER_SEC);
}
END_TEST

START_TEST(agent_flood_waits_and_loses_nothing) /* I5 */
{
	enum { CHUNK = 30000, CHUNKS = 12 };
	uint8_t *bytes = driver_ptr(&d, page), got[CONSOLE_MESSAGE];
	start_ports();
	attach(1);
	expect_control(1, PORT_OPEN, 1, "");
	for (int i = 0; i < CHUNK * CHUNKS; i++)
		bytes[i] = (uint8_t)(i * 31 + i / 1009);
	for (int i = 0; i < CHUNKS; i++)
		driver_add(&d, TX1, &(struct driver_buf){ page + (uint64_t)(i * CHUNK), CHUNK }, 1, 0);
	driver_kick(&d, TX1);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	uint32_t returned = 0;
	while (driver_used(&d, TX1, NULL, NULL))
		returned++;
	ck_assert_uint_lt(returned, CHUNKS); /* the rest waits for the reader */
	/* The console is not held up by it. */
	guest_writes(0, "x");
	for (uint32_t n = 0; n < CHUNK * CHUNKS;) {
		uint32_t size;
		ck_assert_int_eq(hear(1, got, &size, WAIT_MS), CONSOLE_DATA);
		ck_assert_uint_le(n + size, CHUNK * CHUNKS);
		ck_assert_mem_eq(got, bytes + n, size);
		n += size;
	}
	while (returned < CHUNKS) {
		ck_assert(driver_wait(&d, TX1, NULL, NULL, WAIT_MS));
		returned++;
	}
	ck_assert_uint_eq(stats.console_dropped, 0);
	/* Who leaves frees the writer. */
	for (int i = 0; i < CHUNKS; i++)
		driver_add(&d, TX1, &(struct driver_buf){ page, CHUNK }, 1, 0);
	driver_kick(&d, TX1);
	say(1, CONSOLE_DETACH, "");
	for (int i = 0; i < CHUNKS; i++)
		ck_assert(driver_wait(&d, TX1, NULL, NULL, WAIT_MS));
}
END_TEST

START_TEST(leaving_and_typing_under_a_flood_is_noticed)
{
	uint8_t bytes[CONSOLE_MESSAGE];
	uint32_t size;
	start_ports();
	for (int i = 0; i < 200; i++) {
		attach(1);
		expect_control(1, PORT_OPEN, 1, "");
		give_control(2);
		driver_add(&d, RX1, &(struct driver_buf){ page + (512 << 10), 64 }, 0, 1);
		for (int n = 0; n < 8; n++)
			driver_add(&d, TX1, &(struct driver_buf){ page, 60000 }, 1, 0);
		driver_kick(&d, TX1);
		say(1, CONSOLE_DATA, "typed");
		say(1, CONSOLE_DETACH, "");
		for (int n = 0; n < 8; n++)
			ck_assert(driver_wait(&d, TX1, NULL, NULL, WAIT_MS));
		guest_reads(1, "typed");
		expect_control(1, PORT_OPEN, 0, "");
		while (hear(1, bytes, &size, 0) >= 0)
			continue;
	}
}
END_TEST

START_TEST(hostile_control_messages)
{
	start_ports();
	/* Ports that do not exist, events that do not exist, messages cut short, the same again and again. */
	for (uint32_t i = 0; i < 3000; i++) {
		tell(i % 5 == 0 ? UINT32_MAX : i % 4, (uint16_t)(i % 3 == 0 ? i : i % 9), (uint16_t)(i % 2 ? 1 : i));
		if (i % 50 == 0) {
			driver_add(&d, CONTROL_TX, &(struct driver_buf){ control_page, 1 + i % 7 }, 1, 0);
			driver_kick(&d, CONTROL_TX);
			ck_assert(driver_wait(&d, CONTROL_TX, NULL, NULL, WAIT_MS));
		}
		uint32_t length;
		while (driver_used(&d, CONTROL_RX, NULL, &length)) {
			ck_assert_uint_ge(length, 8);
			give_control(1);
		}
	}
	/* A writable control message, then chains of nothing. */
	driver_add(&d, CONTROL_TX, &(struct driver_buf){ control_page, 8 }, 0, 1);
	driver_kick(&d, CONTROL_TX);
	ck_assert(driver_wait(&d, CONTROL_TX, NULL, NULL, WAIT_MS));
	ck_assert_uint_eq(driver_status(&d) & S_NEEDS_RESET, 0);
	/* And all is well after a reset. */
	start_ports();
	attach(0);
	uint8_t bytes[CONSOLE_MESSAGE];
	uint32_t size;
	guest_writes(0, "fine");
	ck_assert_int_eq(hear(0, bytes, &size, WAIT_MS), CONSOLE_DATA);
	ck_assert_mem_eq(bytes, "fine", 4);
}
END_TEST

START_TEST(no_control_buffers_is_no_backlog)
{
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	control_given = 0;
	for (int i = 0; i < 2000; i++) {
		tell(0, DEVICE_READY, 1);
		tell((uint32_t)i % 2, PORT_READY, 1);
	}
	/* Each thing is told once. */
	give_control(RING);
	expect_control(0, PORT_ADD, 1, "");
	expect_control(0, PORT_OPEN, 1, "");
	expect_control(1, PORT_ADD, 1, "");
	expect_control(1, PORT_NAME, 1, CONSOLE_AGENT_NAME);
	ck_assert(!driver_wait(&d, CONTROL_RX, NULL, NULL, 50));
}
END_TEST

static bool breaks(void)
{
	for (int i = 0; i < WAIT_MS; i++) {
		if (driver_status(&d) & S_NEEDS_RESET)
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return false;
}

START_TEST(broken_rings) /* Q1, Q3, Q5, Q6 */
{
	static const uint32_t queues[] = { TX0, TX1, CONTROL_TX, RX0 };
	for (size_t q = 0; q < ARRAY_LEN(queues); q++) {
		uint32_t index = queues[q];
		bool out = index == TX0 || index == TX1 || index == CONTROL_TX;
		for (int kind = 0; kind < 4; kind++) {
			start_ports();
			attach(0);
			switch (kind) {
			case 0: driver_add(&d, index, &(struct driver_buf){ page, 0 }, out, !out); break;
			case 1: driver_add(&d, index, &(struct driver_buf){ d.memory.size - 4, 8 }, out, !out); break;
			case 2: driver_offer(&d, index, RING); break;
			case 3: d.queue[index].avail[1] += 1000; break;
			}
			if (index == RX0)
				say(0, CONSOLE_DATA, "something to deliver");
			driver_kick(&d, index);
			ck_assert_msg(breaks(), "queue %u kind %d", index, kind);
		}
	}
	/* Buffers too small for a message. */
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	driver_add(&d, CONTROL_RX, &(struct driver_buf){ page, 7 }, 0, 1);
	tell(0, DEVICE_READY, 1);
	ck_assert(breaks());
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	d.queue[CONTROL_RX].avail[1] = 1000;
	tell(0, DEVICE_READY, 1);
	ck_assert(breaks());
}
END_TEST

START_TEST(state_round_trip)
{
	struct virtio_device *device = console_device(console);
	struct console_state a, b;
	start_ports();
	pthread_mutex_lock(&device->lock);
	device->ops->pause(device);
	ck_assert_uint_eq(device->ops->save(device, &a, sizeof(a)), sizeof(a));
	ck_assert_uint_eq(device->ops->save(device, &b, sizeof(b) - 1), sizeof(b)); /* what it takes */
	ck_assert_uint_eq(a.port[0].guest_open, 1);
	device->ops->reset(device);
	ck_assert(device->ops->load(device, &a, sizeof(a)));
	ck_assert_uint_eq(device->ops->save(device, &b, sizeof(b)), sizeof(b));
	ck_assert_mem_eq(&a, &b, sizeof(a));
	a.port[1].ready = 2;
	ck_assert(!device->ops->load(device, &a, sizeof(a)));
	a.port[1].ready = 1;
	a.head.version++;
	ck_assert(!device->ops->load(device, &a, sizeof(a)));
	pthread_mutex_unlock(&device->lock);
	/* Paused: nothing moves; then all that came does. */
	attach(0);
	memcpy(driver_ptr(&d, page), "late", 4);
	driver_add(&d, TX0, &(struct driver_buf){ page, 4 }, 1, 0);
	driver_kick(&d, TX0);
	ck_assert(!driver_wait(&d, TX0, NULL, NULL, 50));
	pthread_mutex_lock(&device->lock);
	device->ops->resume(device);
	pthread_mutex_unlock(&device->lock);
	ck_assert(driver_wait(&d, TX0, NULL, NULL, WAIT_MS));
	expect_data(0, "late");
}
END_TEST

START_TEST(reset_storm_with_bytes_in_flight) /* Q15 */
{
	attach(0);
	attach(1);
	for (int i = 0; i < 300; i++) {
		d.next_free = control_page + 4096; /* the rings of the round before */
		driver_start(&d, DRIVER_ALL_FEATURES, RING);
		for (int n = 0; n < 4; n++) {
			driver_add(&d, TX0, &(struct driver_buf){ page, 20000 }, 1, 0);
			driver_add(&d, TX1, &(struct driver_buf){ page, 20000 }, 1, 0);
		}
		driver_kick(&d, TX0);
		driver_kick(&d, TX1);
		driver_set(&d, R_STATUS, 0, 1);
		uint16_t used0 = d.queue[TX0].used[1], used1 = d.queue[TX1].used[1];
		if (i % 50 == 0)
			nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
		ck_assert_uint_eq(d.queue[TX0].used[1], used0);
		ck_assert_uint_eq(d.queue[TX1].used[1], used1);
	}
	uint8_t bytes[CONSOLE_MESSAGE];
	uint32_t size;
	for (uint32_t port = 0; port < CONSOLE_PORTS; port++)
		while (hear(port, bytes, &size, 20) >= 0)
			continue;
	start_ports();
	guest_writes(0, "fine");
	expect_data(0, "fine");
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("console");
	TCase *tc = tcase_create("console");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, ports_are_announced);
	tcase_add_test(tc, bytes_both_ways);
	tcase_add_test(tc, console_of_a_driver_without_ports);
	tcase_add_test(tc, unattached_agent_hears_nothing);
	tcase_add_test(tc, console_flood_is_taken_and_counted);
	tcase_add_test(tc, agent_flood_waits_and_loses_nothing);
	tcase_add_test(tc, leaving_and_typing_under_a_flood_is_noticed);
	tcase_add_test(tc, hostile_control_messages);
	tcase_add_test(tc, no_control_buffers_is_no_backlog);
	tcase_add_test(tc, broken_rings);
	tcase_add_test(tc, state_round_trip);
	tcase_add_test(tc, reset_storm_with_bytes_in_flight);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
