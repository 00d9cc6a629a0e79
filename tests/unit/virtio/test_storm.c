/*
 * Many CPUs of a hostile guest at once: threads write registers, move the BAR, storm the interrupt table, reset and start the
 * device, while another process writes over its rings in guest memory. The devices work with their own threads. Afterwards each
 * starts as if nothing had been (Q15, P1, P2, and rings from several threads).
 *
 * Guest memory is written by a process of its own because those races are meant: ThreadSanitizer sees only the program's.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/base.h"
#include "base/console.h"
#include "base/stats.h"
#include "driver.h"
#include "random.h"
#include "unit.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/rng.h"

#define RAM (16ull << 20)
#define RINGS 0x10000ull     /* queue q's at RINGS + q * STRIDE */
#define STRIDE 0x10000ull
#define AVAIL 0x8000ull
#define USED 0xa000ull
#define SCRATCH 0x200000ull
#define STORM_NS (1200 * NSEC_PER_MSEC)
#define DISK_SIZE (1u << 20)

static struct driver d;
static struct stats stats;
static _Atomic bool stop;
static uint32_t n_queues;

/* Below n, which may be all of 32 bits. */
static uint32_t any(struct random *random, uint32_t n)
{
	return (uint32_t)(random_next(random) >> 32) % n;
}

/* --- the guest's memory, written by a process of its own ------------------------------------------------------------------- */

static void scribble(struct random *random, uint32_t queue)
{
	uint8_t *ring = guest_memory_at(&d.memory, RINGS + queue * STRIDE, STRIDE, GUEST_WRITE);
	uint16_t *avail = (uint16_t *)(void *)(ring + AVAIL);
	switch (any(random, 400)) {
	case 0: /* anything */
		((uint32_t *)(void *)ring)[any(random, STRIDE / 4)] = any(random, UINT32_MAX);
		return;
	case 1:
		__atomic_fetch_add(&avail[1], (uint16_t)any(random, 70), __ATOMIC_RELEASE);
		return;
	case 2:
		avail[2 + 64] = (uint16_t)any(random, 65536); /* used_event */
		return;
	}
	/* A request that could be one. */
	uint16_t head = (uint16_t)any(random, 60);
	uint64_t at = SCRATCH + 4096ull * head;
	uint32_t *header = guest_memory_at(&d.memory, at, 16, GUEST_WRITE);
	header[0] = any(random, 14);
	header[2] = any(random, DISK_SIZE / 512 + 8);
	header[3] = any(random, 50) == 0;
	struct driver_desc *desc = (struct driver_desc *)(void *)ring + head;
	desc[0] = (struct driver_desc){ at, 16, D_NEXT, (uint16_t)(head + 1) };
	desc[1] = (struct driver_desc){ at + 512, 512 * (1 + any(random, 6)), (uint16_t)(D_NEXT | (any(random, 2) ? D_WRITE : 0)), (uint16_t)(head + 2) };
	desc[2] = (struct driver_desc){ any(random, 400) ? at + 64 : RAM - 1, 1 + any(random, 2), D_WRITE, 0 };
	/* From 0 again and again: a device that was just started expects that. */
	uint16_t index = __atomic_load_n(&avail[1], __ATOMIC_RELAXED) % 64;
	avail[2 + index] = head;
	__atomic_store_n(&avail[1], (uint16_t)(index < 63 ? index + 1 : 0), __ATOMIC_RELEASE);
}

static pid_t start_scribbling(void)
{
	pid_t parent = getpid(), child = fork();
	if (child != 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct random random = { 0x1234567 };
	while (getppid() == parent) {
		for (uint32_t i = 0; i < 200; i++)
			scribble(&random, any(&random, n_queues));
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	}
	_exit(0);
}

/* --- its CPUs --------------------------------------------------------------------------------------------------------------------- */

/* From reset to DRIVER_OK by registers alone. Another thread may be doing the same. */
static void start_device(uint64_t common)
{
	driver_write(&d, common + R_STATUS, 0, 1);
	driver_write(&d, common + R_STATUS, S_ACKNOWLEDGE | S_DRIVER, 1);
	for (uint32_t half = 0; half < 2; half++) {
		driver_write(&d, common + R_DEVICE_FEATURE_SELECT, half, 4);
		uint64_t offered = driver_read(&d, common + R_DEVICE_FEATURE, 4);
		driver_write(&d, common + R_DRIVER_FEATURE_SELECT, half, 4);
		driver_write(&d, common + R_DRIVER_FEATURE, offered, 4);
	}
	driver_write(&d, common + R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK, 1);
	for (uint32_t q = 0; q < n_queues; q++) {
		driver_write(&d, common + R_QUEUE_SELECT, q, 2);
		driver_write(&d, common + R_QUEUE_SIZE, 64, 2);
		driver_write(&d, common + R_QUEUE_VECTOR, q + 1, 2);
		driver_write(&d, common + R_QUEUE_DESC, RINGS + q * STRIDE, 8);
		driver_write(&d, common + R_QUEUE_DRIVER, RINGS + q * STRIDE + AVAIL, 8);
		driver_write(&d, common + R_QUEUE_DEVICE, RINGS + q * STRIDE + USED, 8);
		driver_write(&d, common + R_QUEUE_ENABLE, 1, 2);
	}
	driver_write(&d, common + R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK, 1);
}

static void *registers(void *data)
{
	struct random random = { (uintptr_t)data };
	while (!atomic_load(&stop)) {
		static const uint8_t widths[] = { 1, 2, 4, 8 };
		uint32_t width = widths[any(&random, 4)];
		uint64_t at = d.bar + any(&random, 8) * 0x1000 + any(&random, 64);
		if (any(&random, 2))
			driver_read(&d, at, width);
		else if (any(&random, 40) || at != d.common + R_STATUS)
			driver_write(&d, at, any(&random, 2) ? any(&random, 8) : any(&random, UINT32_MAX), width);
		driver_write(&d, d.notify + (uint64_t)any(&random, n_queues + 1) * d.notify_multiplier, 0, 2);
	}
	return NULL;
}

static void *starts(void *data)
{
	struct random random = { (uintptr_t)data };
	while (!atomic_load(&stop)) {
		start_device(d.common);
		for (uint32_t i = any(&random, 200); i > 0; i--)
			driver_write(&d, d.notify + (uint64_t)any(&random, n_queues) * d.notify_multiplier, 0, 2);
		nanosleep(&(struct timespec){ .tv_nsec = 50000 + any(&random, 2000000) }, NULL);
	}
	return NULL;
}

/* Config space, the BAR's place and the interrupt table; the BAR always comes home. */
static void *bus(void *data)
{
	struct random random = { (uintptr_t)data };
	while (!atomic_load(&stop)) {
		for (uint32_t i = 0; i < 20; i++) {
			uint64_t entry = d.bar + 0x4000 + 16 * any(&random, n_queues + 1);
			driver_write(&d, entry, any(&random, 4) ? DRIVER_MSI_ADDRESS : any(&random, UINT32_MAX), 4);
			driver_write(&d, entry + 8, any(&random, 256), 4);
			driver_write(&d, entry + 12, any(&random, 2), 4);
			driver_read(&d, d.bar + 0x4800, 8);
			driver_config_write(&d, 0x40 + any(&random, 0xc0), any(&random, UINT32_MAX), 1u << any(&random, 3));
		}
		driver_config_write(&d, 0x10, any(&random, UINT32_MAX), 4);
		driver_config_write(&d, 0x14, any(&random, 16), 4);
		driver_config_write(&d, 0x10, (uint32_t)d.bar, 4);
		driver_config_write(&d, 0x14, (uint32_t)(d.bar >> 32), 4);
		driver_config_write(&d, 4, any(&random, 2) ? 2 : 6, 2);
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	}
	return NULL;
}

/* Storms the device for a while; `work` (may be NULL) is what the machine's thread does meanwhile. */
static void storm(struct virtio_device *device, void (*work)(void *data), void *data)
{
	driver_attach(&d, device, 0x00ff00);
	n_queues = device->n_queues < 6 ? device->n_queues : 6;
	atomic_store(&stop, false);
	pid_t child = start_scribbling();
	ck_assert_int_gt(child, 0);
	pthread_t thread[4];
	void *(*const cpus[4])(void *) = { registers, registers, starts, bus };
	for (uintptr_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, cpus[i], (void *)(0x9e3779b9 * (i + 1))), 0);
	uint64_t end = clock_now_ns() + STORM_NS;
	while (clock_now_ns() < end) {
		if (work != NULL)
			work(data);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	atomic_store(&stop, true);
	for (uint32_t i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	/* Power-on; the registers are where they were, and a good driver finds a good device. */
	virtio_pci_reset(d.transport);
	pci_bus_reset(d.bus);
	driver_detach(&d);
	d.next_free = 0x400000;
	driver_attach(&d, device, 0x00ff00);
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
}

/* --- disks ------------------------------------------------------------------------------------------------------------------------ */

static void storm_disk(enum disk_aio aio, uint32_t queues)
{
	char error[256];
	struct disk disk;
	memset(&stats, 0, sizeof(stats));
	driver_init(&d, RAM);
	FILE *file = tmpfile();
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(ftruncate(fileno(file), DISK_SIZE), 0);
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fileno(file));
	ck_assert_msg(disk_open(&disk, &(struct disk_config){ .path = path, .aio = aio, .queues = queues }, error, sizeof(error)) == 0, "%s", error);
	struct blk *blk = blk_create(&d.memory, &disk, &stats, error, sizeof(error));
	ck_assert_msg(blk != NULL, "%s", error);
	storm(blk_device(blk), NULL, NULL);
	ck_assert_uint_gt(atomic_load(&stats.disk_requests), 20);

	/* A write and a read of it. */
	uint64_t page = driver_alloc(&d, 4096);
	uint8_t *bytes = driver_ptr(&d, page);
	for (uint32_t type = 0; type < 2; type++) {
		const uint32_t header[4] = { 1 - type, 0, 3, 0 };
		memcpy(bytes, header, sizeof(header));
		memset(bytes + 1024, type == 0 ? 0x5a : 0, 512);
		bytes[512] = 0xff;
		const struct driver_buf bufs[] = { { page, 16 }, { page + 1024, 512 }, { page + 512, 1 } };
		driver_add(&d, 0, bufs, type == 0 ? 2 : 1, type == 0 ? 1 : 2);
		driver_kick(&d, 0);
		ck_assert(driver_wait(&d, 0, NULL, NULL, 10000));
		ck_assert_uint_eq(bytes[512], 0);
	}
	ck_assert_uint_eq(bytes[1024 + 511], 0x5a);
	ck_assert(!blk_is_stuck(blk));
	driver_detach(&d);
	blk_destroy(blk);
	disk_close(&disk);
	fclose(file);
	driver_finish(&d);
}

START_TEST(disk_by_io_uring)
{
	storm_disk(DISK_AIO_DEFAULT, 4);
}
END_TEST

START_TEST(disk_by_threads)
{
	storm_disk(DISK_AIO_THREADS, 1);
}
END_TEST

/* --- consoles --------------------------------------------------------------------------------------------------------------------- */

static struct console_pairs pairs;

static void talk(void *data)
{
	(void)data;
	uint8_t message[64] = { CONSOLE_ATTACH };
	for (uint32_t i = 0; i < 2; i++) {
		int fd = pairs.control[i == 0 ? CONSOLE_HVC0 : CONSOLE_AGENT];
		message[0] = (uint8_t)(clock_now_ns() / NSEC_PER_USEC % 3);
		if (send(fd, message, message[0] == CONSOLE_DATA ? sizeof(message) : 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			continue;
		while (recv(fd, message, sizeof(message), MSG_DONTWAIT) > 0)
			;
	}
}

START_TEST(consoles)
{
	memset(&stats, 0, sizeof(stats));
	ck_assert_int_eq(console_pairs_open(&pairs), 0);
	driver_init(&d, RAM);
	const int fd[CONSOLE_PORTS] = { pairs.machine[CONSOLE_HVC0], pairs.machine[CONSOLE_AGENT] };
	struct console *console = console_create(&d.memory, fd, &stats);
	ck_assert_ptr_nonnull(console);
	storm(console_device(console), talk, NULL);
	/* What is written comes back as used. */
	uint64_t page = driver_alloc(&d, 4096);
	driver_add(&d, 1, &(struct driver_buf){ page, 100 }, 1, 0);
	driver_kick(&d, 1);
	ck_assert(driver_wait(&d, 1, NULL, NULL, 10000));
	driver_detach(&d);
	console_destroy(console);
	console_pairs_close(&pairs);
	driver_finish(&d);
}
END_TEST

/* --- a device of the machine's thread -------------------------------------------------------------------------------------------- */

static void serve(void *data)
{
	struct rng *rng = data;
	struct virtio_device *device = rng_device(rng);
	uint64_t count;
	if (read(device->kick_fd[0], &count, sizeof(count)) == sizeof(count))
		while (device->ops->run(device, 0))
			;
	rng_tick(rng, clock_now_ns());
}

START_TEST(random_bytes)
{
	driver_init(&d, RAM);
	struct rng *rng = rng_create(&d.memory);
	ck_assert_ptr_nonnull(rng);
	storm(rng_device(rng), serve, rng);
	uint64_t page = driver_alloc(&d, 4096);
	driver_add(&d, 0, &(struct driver_buf){ page, 64 }, 0, 1);
	driver_kick(&d, 0);
	for (int i = 0; i < 1000 && d.queue[0].used[1] == 0; i++) {
		serve(rng);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	uint32_t length = 0;
	ck_assert(driver_used(&d, 0, NULL, &length));
	ck_assert_uint_eq(length, 64);
	driver_detach(&d);
	rng_destroy(rng);
	driver_finish(&d);
}
END_TEST

static Suite *storms(void)
{
	Suite *suite = suite_create("storm");
	TCase *all = tcase_create("all");
	tcase_set_timeout(all, 120);
	tcase_add_test(all, disk_by_io_uring);
	tcase_add_test(all, disk_by_threads);
	tcase_add_test(all, consoles);
	tcase_add_test(all, random_bytes);
	suite_add_tcase(suite, all);
	return suite;
}

UNIT_MAIN(storms)
