/*
 * How long a key takes from its time stamp to the guest's event queue, on this machine and without KVM: a front thread that
 * injects keys through the program's router and packer, a link, and a machine thread with the backlog and a virtio-input device whose
 * ring a guest's driver would refill at once. In between, how long a bare eventfd takes to wake a thread that does nothing else: what
 * of it is the machine's, and its load's. Prints one JSON object, microseconds.
 *
 *   keyguest [KEYS]        presses and releases, a default of 2000, 13 to 19 ms apart: the pace at which the backlog holds nothing back
 */
#include <linux/input.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/base.h"
#include "base/log.h"
#include "base/stats.h"
#include "base/thread.h"
#include "link/link.h"
#include "packet.h"
#include "summary.h"
#include "toggle/router.h"
#include "virtio/driver.h"
#include "virtio/input.h"

#define RAM (16u << 20)
#define RING 64

struct bench {
	struct driver driver;
	struct link *link;
	struct vinput *input;
	struct vinput_backlog *backlog;
	struct packer packer;
	struct router *router;
	struct stats stats;
	uint64_t buffers; /* guest address */
	struct histogram bare_us;
	int bare; /* eventfd */
	_Atomic uint64_t bare_ns;
	atomic_bool end;
	uint32_t arrived; /* events in the used ring; the machine thread's until it has ended */
};

/* The guest: takes what was written and gives the buffers back. */
static void guest_turn(struct bench *bench)
{
	uint32_t id;

	while (driver_used(&bench->driver, 0, &id, NULL)) {
		bench->arrived++;
		driver_add(&bench->driver, 0, &(struct driver_buf){ bench->buffers + 8ull * id, 8 }, 0, 1);
	}
}

static void *machine(void *data)
{
	struct bench *bench = data;
	struct pollfd ready = { .fd = link_producer_fd(bench->link), .events = POLLIN };
	struct link_message message;
	uint64_t next = UINT64_MAX;

	while (!atomic_load(&bench->end)) {
		uint64_t now = clock_now_ns();
		struct timespec wait = { .tv_nsec = (long)(next > now + 100 * NSEC_PER_MSEC ? 100 * NSEC_PER_MSEC : next > now ? next - now : 0) };
		ppoll(&ready, 1, &wait, NULL);
		link_ack_producer(bench->link);
		while (link_receive_for_producer(bench->link, &message))
			vinput_backlog_packet(bench->backlog, &message, clock_now_ns());
		guest_turn(bench);
		next = vinput_backlog_run(bench->backlog, clock_now_ns());
	}
	return NULL;
}

static void *bare(void *data)
{
	struct bench *bench = data;
	uint64_t count;

	while (!atomic_load(&bench->end))
		if (read(bench->bare, &count, sizeof(count)) == sizeof(count) && !atomic_load(&bench->end))
			histogram_record_us(&bench->bare_us, (clock_now_ns() - atomic_load(&bench->bare_ns)) / NSEC_PER_USEC);
	return NULL;
}

static void ring_bare(struct bench *bench)
{
	uint64_t one = 1;

	atomic_store(&bench->bare_ns, clock_now_ns());
	ck_assert_int_eq(write(bench->bare, &one, sizeof(one)), sizeof(one));
}

static bool send_packet(void *data, bool to_guest, const struct link_message *message)
{
	struct bench *bench = data;

	return to_guest && link_send_to_producer(bench->link, message);
}

static void deliver(void *data, enum router_sink sink, const struct router_event *event)
{
	struct bench *bench = data;

	if (sink == ROUTER_GUEST)
		packer_add(&bench->packer, event);
}

static void present(void *data, enum presentation state, uint64_t time_ns)
{
	(void)data;
	(void)state;
	(void)time_ns;
}

static void inject(struct bench *bench, uint16_t code, int32_t value)
{
	struct router_event event = { .time_ns = clock_now_ns(), .device = ROUTER_DEVICES - 1, .type = EV_KEY, .code = code, .value = value };

	router_handle(bench->router, &event);
	packer_flush(&bench->packer);
}

static void pause_ms(unsigned ms)
{
	struct timespec time = { .tv_nsec = (long)(ms * NSEC_PER_MSEC) };

	nanosleep(&time, NULL);
}

static unsigned long count = 2000;

/* A test only because the driver for tests asserts. */
START_TEST(measure)
{
	static struct bench bench;
	const struct router_keys keys = { .act = { { KEY_GRAVE } } };
	const struct router_output output = { .deliver = deliver, .present = present, .data = &bench };
	pthread_t thread, bare_thread;

	log_set_level(LOG_ERROR);
	driver_init(&bench.driver, RAM);
	bench.link = link_create(bench.driver.memory.fd, RAM);
	bench.input = vinput_create(&bench.driver.memory, LINK_KEYBOARD, &bench.stats);
	bench.backlog = bench.input != NULL ? vinput_backlog_create(bench.input) : NULL;
	bench.router = router_create(&keys, &output, PRESENTATION_PRESENTED);
	ck_assert(bench.link != NULL && bench.backlog != NULL && bench.router != NULL);
	packer_init(&bench.packer, true, send_packet, &bench, &bench.stats);
	driver_attach(&bench.driver, vinput_device(bench.input), 0x098000);
	driver_start(&bench.driver, DRIVER_ALL_FEATURES, RING);
	bench.buffers = driver_alloc(&bench.driver, RING * 8);
	for (uint32_t i = 0; i < RING; i++)
		driver_add(&bench.driver, 0, &(struct driver_buf){ bench.buffers + 8ull * i, 8 }, 0, 1);
	driver_kick(&bench.driver, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, machine, &bench), 0);
	bench.bare = eventfd(0, EFD_CLOEXEC);
	ck_assert_int_ge(bench.bare, 0);
	ck_assert_int_eq(pthread_create(&bare_thread, NULL, bare, &bench), 0);
	int priority = thread_raise_self();
	for (unsigned long i = 0; i < count; i++) {
		inject(&bench, (uint16_t)(KEY_Q + i / 2 % 10), i % 2 == 0);
		pause_ms(6 + (unsigned)(i % 7));
		ring_bare(&bench);
		pause_ms(7);
	}
	pause_ms(900); /* what a busy machine held back */
	atomic_store(&bench.end, true);
	ring_bare(&bench);
	pthread_join(bare_thread, NULL);
	pthread_join(thread, NULL);
	close(bench.bare);

	struct histogram_summary bare_us;
	histogram_summarise(&bench.bare_us, &bare_us);
	printf("{");
	print_summary(&bench.stats.key_guest_us);
	printf(",\"events\":%u,\"dropped\":%" PRIu64 ",\"priority\":%d,\"bare_p50\":%" PRIu64 ",\"bare_p99\":%" PRIu64 ",\"buckets\":[", bench.arrived,
		atomic_load(&bench.stats.input_dropped), priority, bare_us.p50, bare_us.p99);
	for (uint32_t i = 0, n = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t edge;
		uint32_t in = histogram_bucket(&bench.stats.key_guest_us, i, &edge);
		if (in > 0)
			printf("%s[%llu,%u]", n++ > 0 ? "," : "", (unsigned long long)edge, in);
	}
	printf("]}\n");

	driver_detach(&bench.driver);
	vinput_backlog_destroy(bench.backlog);
	vinput_destroy(bench.input);
	router_destroy(bench.router);
	link_destroy(bench.link);
	driver_finish(&bench.driver);
	/* Each key and its SYN_REPORT: else the times are those of something else. */
	ck_assert_uint_eq(atomic_load(&bench.stats.key_guest_us.count), count);
	ck_assert_uint_eq(bench.arrived, 2 * count);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("keyguest");
	TCase *tcase = tcase_create("keyguest");
	SRunner *runner = srunner_create(suite);

	if (argc > 1)
		count = strtoul(argv[1], NULL, 10);
	tcase_add_test(tcase, measure);
	suite_add_tcase(suite, tcase);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_SILENT);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
