/* virtio-net between a driver and a socket that stands for the tap: a message is a packet there too. */
#include "unit.h"
#include "driver.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "base/base.h"
#include "base/stats.h"
#include "virtio/net.h"

enum { RX, TX };
#define RING 64
#define WAIT_MS 5000
#define HEADER 12u

#define F_CSUM (1ull << 0)
#define F_HOST_TSO4 (1ull << 11)
#define F_HOST_ECN (1ull << 13)
#define F_MRG_RXBUF (1ull << 15)

struct header {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

static struct driver d;
static struct net *net;
static struct stats stats;
static struct net_tap tap = { .name = "test0", .mac = { 2, 1, 2, 3, 4, 5 } };
static int wire;
static uint64_t page;

static void setup(void)
{
	int fd[2];
	memset(&stats, 0, sizeof(stats));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	int size = 1 << 20;
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	tap.fd = fd[0];
	wire = fd[1];
	driver_init(&d, 16 << 20);
	net = net_create(&d.memory, &tap, &stats);
	ck_assert_ptr_nonnull(net);
	driver_attach(&d, net_device(net), 0x020000);
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	page = driver_alloc(&d, 1 << 20);
}

static void teardown(void)
{
	driver_detach(&d);
	net_destroy(net);
	driver_finish(&d);
	close(wire);
	net_tap_close(&tap);
}

/* A packet whose bytes can be told apart, behind this header. */
static uint32_t make(uint8_t *at, const struct header *header, uint32_t size)
{
	memcpy(at, header, HEADER);
	for (uint32_t i = 0; i < size; i++)
		at[HEADER + i] = (uint8_t)(i * 7 + i / 256);
	return HEADER + size;
}

/* The next packet on the wire; its size, -1: none in time. */
static ssize_t hear(uint8_t *bytes, size_t size, int ms)
{
	struct pollfd fd = { wire, POLLIN, 0 };
	return poll(&fd, 1, ms) == 1 ? read(wire, bytes, size) : -1;
}

static void wait_dropped(uint64_t count)
{
	for (int i = 0; i < WAIT_MS && stats.net_dropped < count; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	ck_assert_uint_eq(stats.net_dropped, count);
}

static void give(uint32_t n, uint32_t size)
{
	for (uint32_t i = 0; i < n; i++)
		driver_add(&d, RX, &(struct driver_buf){ page + 0x10000 + 4096ull * (d.queue[RX].next_desc % RING), size }, 0, 1);
	driver_kick(&d, RX);
}

START_TEST(config)
{
	uint64_t mac = driver_read(&d, d.config, 4) | driver_read(&d, d.config + 4, 2) << 32;
	ck_assert_uint_eq(mac, 0x050403020102ull);
	ck_assert_uint_eq(driver_read(&d, d.config + 6, 2), 1);
	ck_assert_uint_eq(driver_read(&d, d.config + 8, 2), 0);
	driver_write(&d, d.config, 0, 4);
	ck_assert_uint_eq(driver_read(&d, d.config, 4), 0x03020102u);
}
END_TEST

START_TEST(packets_out)
{
	uint8_t *guest = driver_ptr(&d, page), got[70000];
	const struct header none = { .num_buffers = 7 }, zero = { 0 };
	uint32_t size = make(guest, &none, 1500);
	/* In one piece, and in pieces that split the header and the packet. */
	driver_add(&d, TX, &(struct driver_buf){ page, size }, 1, 0);
	struct driver_buf pieces[4] = { { page, 5 }, { page + 5, 20 }, { page + 25, 1 }, { page + 26, size - 26 } };
	driver_add(&d, TX, pieces, 4, 0);
	driver_kick(&d, TX);
	for (int i = 0; i < 2; i++) {
		uint32_t length;
		ck_assert(driver_wait(&d, TX, NULL, &length, WAIT_MS));
		ck_assert_uint_eq(length, 0);
		ck_assert_int_eq(hear(got, sizeof(got), WAIT_MS), size);
		ck_assert_mem_eq(got, &zero, HEADER);
		ck_assert_mem_eq(got + HEADER, guest + HEADER, 1500);
	}
	/* As large as it gets, with segmentation. */
	const struct header tso = { .flags = 1, .gso_type = 1, .hdr_len = 54, .gso_size = 1448, .csum_start = 34, .csum_offset = 16 };
	size = make(guest, &tso, 65550);
	driver_add(&d, TX, &(struct driver_buf){ page, size }, 1, 0);
	driver_kick(&d, TX);
	ck_assert_int_eq(hear(got, sizeof(got), WAIT_MS), size);
	ck_assert_mem_eq(got, guest, size);
	ck_assert_uint_eq(stats.net_dropped, 0);
}
END_TEST

START_TEST(bad_packets_out_are_dropped)
{
	uint8_t *guest = driver_ptr(&d, page), got[100];
	const struct header none = { 0 };
	uint32_t dropped = 0;
	make(guest, &none, 65551);
	static const uint32_t sizes[] = { 1, HEADER - 1, HEADER, HEADER + 13, HEADER + 65551 };
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		driver_add(&d, TX, &(struct driver_buf){ page, sizes[i] }, 1, 0);
		driver_kick(&d, TX);
		ck_assert(driver_wait(&d, TX, NULL, NULL, WAIT_MS));
		dropped++;
	}
	/* Many descriptors of the same memory: more than any packet. */
	struct driver_buf many[RING - 1];
	for (int i = 0; i < RING - 1; i++)
		many[i] = (struct driver_buf){ 0x10000, 15 << 20 };
	driver_add(&d, TX, many, RING - 1, 0);
	/* A buffer to write into is no packet. */
	driver_kick(&d, TX);
	ck_assert(driver_wait(&d, TX, NULL, NULL, WAIT_MS));
	driver_add(&d, TX, &(struct driver_buf){ page, 1500 }, 0, 1);
	driver_kick(&d, TX);
	ck_assert(driver_wait(&d, TX, NULL, NULL, WAIT_MS));
	dropped += 2;
	/* Kinds of segmentation that do not exist, or have no size. */
	static const struct header bad[] = {
		{ .gso_type = 3, .gso_size = 100 }, { .gso_type = 5, .gso_size = 100 }, { .gso_type = 0x80 }, { .gso_type = 1 }, { .gso_type = 0x7f, .gso_size = 9 },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		driver_add(&d, TX, &(struct driver_buf){ page, make(guest, &bad[i], 100) }, 1, 0);
		driver_kick(&d, TX);
		ck_assert(driver_wait(&d, TX, NULL, NULL, WAIT_MS));
		dropped++;
	}
	wait_dropped(dropped);
	ck_assert_int_eq(hear(got, sizeof(got), 20), -1);
	ck_assert_uint_eq(driver_status(&d) & S_NEEDS_RESET, 0);
}
END_TEST

START_TEST(nothing_that_was_not_negotiated)
{
	uint8_t *guest = driver_ptr(&d, page), got[200];
	static const struct {
		uint64_t features;
		struct header header;
	} cases[] = {
		{ ~F_CSUM, { .flags = 1, .csum_start = 34, .csum_offset = 16 } },
		{ ~F_HOST_TSO4, { .flags = 1, .gso_type = 1, .gso_size = 50, .csum_start = 34, .csum_offset = 16 } },
		{ ~F_HOST_ECN, { .flags = 1, .gso_type = 0x81, .gso_size = 50, .csum_start = 34, .csum_offset = 16 } },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		driver_start(&d, cases[i].features, RING);
		driver_add(&d, TX, &(struct driver_buf){ page, make(guest, &cases[i].header, 100) }, 1, 0);
		driver_kick(&d, TX);
		wait_dropped(i + 1);
		/* The same is fine for a driver that negotiated it. */
		driver_start(&d, DRIVER_ALL_FEATURES, RING);
		driver_add(&d, TX, &(struct driver_buf){ page, make(guest, &cases[i].header, 100) }, 1, 0);
		driver_kick(&d, TX);
		ck_assert_int_eq(hear(got, sizeof(got), WAIT_MS), HEADER + 100);
	}
	/* Flags that a driver has no business with do not reach the kernel. */
	const struct header odd = { .flags = 0xfe };
	driver_add(&d, TX, &(struct driver_buf){ page, make(guest, &odd, 100) }, 1, 0);
	driver_kick(&d, TX);
	ck_assert_int_eq(hear(got, sizeof(got), WAIT_MS), HEADER + 100);
	ck_assert_uint_eq(got[0], 0);
}
END_TEST

START_TEST(packets_in)
{
	uint8_t packet[HEADER + 9000], *guest = driver_ptr(&d, page + 0x10000);
	const struct header csum = { .flags = 1, .gso_type = 1, .hdr_len = 54, .gso_size = 1448, .csum_start = 34, .csum_offset = 16 };
	uint32_t size = make(packet, &csum, 9000), head, length, done = 0;
	struct header seen;
	/* Nothing to put it in: it waits, is not lost, and the guest is asked to tell. */
	ck_assert_int_eq(write(wire, packet, size), size);
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	give(2, 2000);
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	ck_assert(!driver_used(&d, RX, NULL, NULL)); /* whole or not at all */
	give(10, 2000);
	for (int i = 0; i < 5; i++) {
		ck_assert(driver_wait(&d, RX, &head, &length, WAIT_MS));
		ck_assert_uint_eq(head, i);
		ck_assert_uint_eq(length, i < 4 ? 2000 : size - 8000);
		if (i == 0) {
			memcpy(&seen, guest, HEADER);
			ck_assert_uint_eq(seen.num_buffers, 5);
			seen.num_buffers = 0;
			ck_assert_mem_eq(&seen, &csum, HEADER);
			ck_assert_mem_eq(guest + HEADER, packet + HEADER, 2000 - HEADER);
		} else {
			ck_assert_mem_eq(guest + 4096 * i, packet + done, length);
		}
		done += length;
	}
	/* A small one takes one buffer. */
	size = make(packet, &(struct header){ 0 }, 60);
	ck_assert_int_eq(write(wire, packet, size), size);
	ck_assert(driver_wait(&d, RX, &head, &length, WAIT_MS));
	ck_assert_uint_eq(length, size);
	memcpy(&seen, guest + 4096 * 5, HEADER);
	ck_assert_uint_eq(seen.num_buffers, 1);
	/* No packet: too short for one. */
	ck_assert_int_eq(write(wire, packet, 20), 20);
	ck_assert(!driver_wait(&d, RX, NULL, NULL, 30));
}
END_TEST

START_TEST(without_mergeable_buffers)
{
	uint8_t packet[HEADER + 3000], *guest = driver_ptr(&d, page + 0x10000);
	driver_start(&d, ~F_MRG_RXBUF, RING);
	uint32_t size = make(packet, &(struct header){ 0 }, 3000), length;
	give(2, 2000);
	/* Does not fit into one buffer: dropped, and the buffer stays for the next. */
	ck_assert_int_eq(write(wire, packet, size), size);
	wait_dropped(1);
	ck_assert_int_eq(write(wire, packet, 1000), 1000);
	uint32_t head;
	ck_assert(driver_wait(&d, RX, &head, &length, WAIT_MS));
	ck_assert_uint_eq(head, 0);
	ck_assert_uint_eq(length, 1000);
	struct header seen;
	memcpy(&seen, guest, HEADER);
	ck_assert_uint_eq(seen.num_buffers, 1);
}
END_TEST

START_TEST(a_frame_for_the_last_driver_is_not_for_the_next)
{
	uint8_t packet[HEADER + 1000];
	const struct header tso = { .flags = 1, .gso_type = 1, .gso_size = 100 };
	ck_assert_int_eq(write(wire, packet, make(packet, &tso, 1000)), HEADER + 1000);
	struct pollfd taken = { tap.fd, POLLIN, 0 };
	for (int i = 0; i < WAIT_MS && poll(&taken, 1, 0) == 1; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	ck_assert_int_eq(poll(&taken, 1, 0), 0); /* it waits for buffers */
	driver_start(&d, 0x100000000ull, RING);
	give(4, 2000);
	ck_assert_int_eq(write(wire, packet, make(packet, &(struct header){ 0 }, 60)), HEADER + 60);
	uint32_t length;
	ck_assert(driver_wait(&d, RX, NULL, &length, WAIT_MS));
	ck_assert_uint_eq(length, HEADER + 60);
}
END_TEST

START_TEST(a_frame_that_never_fits) /* a whole ring of tiny buffers */
{
	uint8_t packet[HEADER + 3000];
	uint32_t size = make(packet, &(struct header){ 0 }, 3000);
	give(RING, 14);
	ck_assert_int_eq(write(wire, packet, size), size);
	wait_dropped(1);
	ck_assert_int_eq(write(wire, packet, 100), 100);
	uint32_t length, total = 0;
	while (total < 100) {
		ck_assert(driver_wait(&d, RX, NULL, &length, WAIT_MS));
		ck_assert_uint_le(length, 14);
		total += length;
	}
	ck_assert_uint_eq(total, 100);
}
END_TEST

START_TEST(flood_out_is_held_by_the_tap_not_lost)
{
	uint8_t *guest = driver_ptr(&d, page), got[2000];
	uint32_t size = make(guest, &(struct header){ 0 }, 1500), sent = 0, returned = 0, heard = 0;
	int room = 4096;
	setsockopt(tap.fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	for (int round = 0; round < 2000 && heard < 300; round++) {
		while (sent < 300 && sent - returned < RING - 2) {
			driver_add(&d, TX, &(struct driver_buf){ page, size }, 1, 0);
			sent++;
		}
		driver_kick(&d, TX);
		while (driver_used(&d, TX, NULL, NULL))
			returned++;
		if (round > 20)
			while (hear(got, sizeof(got), 1) == size)
				heard++;
		else
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		if (round == 20)
			ck_assert_uint_lt(returned, 60);
	}
	ck_assert_uint_eq(heard, 300);
	ck_assert_uint_eq(stats.net_dropped, 0);
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

START_TEST(broken_rings) /* Q1, Q3, Q5, Q6, Q13 */
{
	uint8_t packet[HEADER + 100], got[200];
	uint32_t size = make(packet, &(struct header){ 0 }, 100);
	for (uint32_t index = RX; index <= TX; index++) {
		for (int kind = 0; kind < 5; kind++) {
			driver_start(&d, DRIVER_ALL_FEATURES, RING);
			switch (kind) {
			case 0: driver_add(&d, index, &(struct driver_buf){ page, 0 }, index == TX, index == RX); break;
			case 1: driver_add(&d, index, &(struct driver_buf){ d.memory.size - 4, 8 }, index == TX, index == RX); break;
			case 2: driver_offer(&d, index, RING); break;
			case 3: d.queue[index].avail[1] = 1000; break;
			case 4: /* too small for a header; the same head twice */
				if (index == RX) {
					driver_add(&d, RX, &(struct driver_buf){ page, HEADER - 1 }, 0, 1);
				} else {
					d.queue[TX].desc[0] = (struct driver_desc){ page, 100, D_NEXT, 0 };
					driver_offer(&d, TX, 0);
				}
				break;
			}
			if (index == RX)
				ck_assert_int_eq(write(wire, packet, size), size);
			driver_kick(&d, index);
			ck_assert_msg(breaks(), "queue %u kind %d", index, kind);
		}
	}
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	while (hear(got, sizeof(got), 5) >= 0)
		continue;
	memcpy(driver_ptr(&d, page), packet, size);
	driver_add(&d, TX, &(struct driver_buf){ page, size }, 1, 0);
	driver_kick(&d, TX);
	ck_assert_int_eq(hear(got, sizeof(got), WAIT_MS), size);
}
END_TEST

START_TEST(reset_storm_with_packets_in_flight) /* Q15 */
{
	uint8_t packet[HEADER + 5000], got[6000];
	uint32_t size = make(packet, &(struct header){ 0 }, 5000);
	memcpy(driver_ptr(&d, page), packet, size);
	for (int i = 0; i < 300; i++) {
		d.next_free = page + (1 << 20); /* the rings of the round before */
		driver_start(&d, DRIVER_ALL_FEATURES, RING);
		give(6, 2000);
		ssize_t sent = write(wire, packet, size);
		(void)sent;
		for (int n = 0; n < 4; n++)
			driver_add(&d, TX, &(struct driver_buf){ page, size }, 1, 0);
		driver_kick(&d, TX);
		driver_set(&d, R_STATUS, 0, 1);
		uint16_t rx = d.queue[RX].used[1], tx = d.queue[TX].used[1];
		if (i % 50 == 0)
			nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
		ck_assert_uint_eq(d.queue[RX].used[1], rx);
		ck_assert_uint_eq(d.queue[TX].used[1], tx);
		while (hear(got, sizeof(got), 0) >= 0)
			continue;
	}
}
END_TEST

START_TEST(state_and_pause)
{
	struct virtio_device *device = net_device(net);
	struct net_state a, b;
	uint8_t *guest = driver_ptr(&d, page), got[200];
	pthread_mutex_lock(&device->lock);
	device->ops->pause(device);
	ck_assert_uint_eq(device->ops->save(device, NULL, 0), sizeof(a)); /* what a table asks first */
	ck_assert_uint_eq(device->ops->save(device, &a, sizeof(a)), sizeof(a));
	ck_assert(device->ops->load(device, &a, sizeof(a)));
	ck_assert_uint_eq(device->ops->save(device, &b, sizeof(b)), sizeof(b));
	ck_assert_mem_eq(&a, &b, sizeof(a));
	a.mac[0] ^= 4;
	ck_assert(!device->ops->load(device, &a, sizeof(a)));
	pthread_mutex_unlock(&device->lock);
	driver_add(&d, TX, &(struct driver_buf){ page, make(guest, &(struct header){ 0 }, 100) }, 1, 0);
	driver_kick(&d, TX);
	ck_assert_int_eq(hear(got, sizeof(got), 30), -1);
	pthread_mutex_lock(&device->lock);
	device->ops->resume(device);
	pthread_mutex_unlock(&device->lock);
	ck_assert_int_eq(hear(got, sizeof(got), WAIT_MS), HEADER + 100);
}
END_TEST

START_TEST(settings)
{
	struct net_config c;
	char error[256];
	ck_assert_int_eq(net_parse("tap=tap0", &c, error, sizeof(error)), 0);
	ck_assert_str_eq(c.tap, "tap0");
	ck_assert(!c.has_mac);
	ck_assert_int_eq(net_parse("fd:5,mac=52:54:00:12:34:5f", &c, error, sizeof(error)), 0);
	ck_assert_int_eq(c.fd, 5);
	ck_assert(c.has_mac);
	ck_assert_uint_eq(c.mac[5], 0x5f);
	static const char *const bad[] = { "", "tap=", "tap=a/b", "tap=abcdefghijklmnop", "tap=tap%d", "fd:", "fd:x", "fd:-1", "fd:5x", "user", "tap=t,mac=1", "tap=t,mac=53:54:00:12:34:56",
		"tap=t,mac=52:54:00:12:34:56:78", "tap=t,queues=2" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		error[0] = '\0';
		ck_assert_int_eq(net_parse(bad[i], &c, error, sizeof(error)), -1);
		ck_assert_msg(strstr(error, "network") != NULL, "%s: '%s'", bad[i], error);
	}
	/* Descriptors that are no tap, or none at all. */
	struct net_tap none;
	c = (struct net_config){ .fd = wire };
	ck_assert_int_eq(net_tap_open(&c, "main", &none, error, sizeof(error)), -1);
	ck_assert_ptr_nonnull(strstr(error, "no tap"));
	ck_assert_int_eq(none.fd, -1);
	c.fd = 999999;
	ck_assert_int_eq(net_tap_open(&c, "main", &none, error, sizeof(error)), -1);
	ck_assert_ptr_nonnull(strstr(error, "no open descriptor"));
}
END_TEST

START_TEST(address_is_the_vms_own)
{
	struct net_config c;
	struct net_tap a, b;
	char error[256];
	ck_assert_int_eq(net_parse("tap=rayvmtest0", &c, error, sizeof(error)), 0);
	if (net_tap_open(&c, "main", &a, error, sizeof(error)) < 0) {
		ck_assert_ptr_nonnull(strstr(error, "network: cannot")); /* no right, or no tun driver: that much is said */
		return;
	}
	net_tap_close(&a);
	ck_assert_int_eq(net_tap_open(&c, "main", &b, error, sizeof(error)), 0);
	ck_assert_mem_eq(a.mac, b.mac, 6);
	ck_assert_uint_eq(a.mac[0] & 3, 2);
	ck_assert_str_eq(b.name, "rayvmtest0");
	net_tap_close(&b);
	ck_assert_int_eq(net_tap_open(&c, "other", &b, error, sizeof(error)), 0);
	ck_assert_mem_ne(a.mac, b.mac, 6);
	/* The second user of one. */
	ck_assert_int_eq(net_tap_open(&c, "main", &a, error, sizeof(error)), -1);
	ck_assert_ptr_nonnull(strstr(error, "another program"));
	net_tap_close(&b);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("net");
	TCase *tc = tcase_create("net");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, config);
	tcase_add_test(tc, packets_out);
	tcase_add_test(tc, bad_packets_out_are_dropped);
	tcase_add_test(tc, nothing_that_was_not_negotiated);
	tcase_add_test(tc, packets_in);
	tcase_add_test(tc, without_mergeable_buffers);
	tcase_add_test(tc, a_frame_for_the_last_driver_is_not_for_the_next);
	tcase_add_test(tc, a_frame_that_never_fits);
	tcase_add_test(tc, flood_out_is_held_by_the_tap_not_lost);
	tcase_add_test(tc, broken_rings);
	tcase_add_test(tc, reset_storm_with_packets_in_flight);
	tcase_add_test(tc, state_and_pause);
	tcase_add_test(tc, settings);
	tcase_add_test(tc, address_is_the_vms_own);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
