/* virtio-blk: overlay, cache modes, several queues, resize, memory's limits, a tiny submission queue (B6); by io_uring and by threads. */
#include "blk_fixture.h"
#include "unit.h"

#define F_FLUSH (1ull << 9)
#define F_CONFIG_WCE (1ull << 11)
#define F_MQ (1ull << 12)
#define WRITEBACK_AT 32
#define QUEUES_AT 34

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
	unlink(path);
}

static uint8_t *bytes(void)
{
	return driver_ptr(&d, data);
}

START_TEST(overlay_keeps_the_base)
{
	start(&(struct disk_config){ .path = path, .overlay = true }, DRIVER_ALL_FEATURES);
	ck_assert_uint_eq(driver_offered(&d) & 1 << 5, 0);
	/* Sector by sector over a base that shows through: 9 and 11 are new, 8, 10 and 12 are not. */
	memset(bytes(), 0xa5, 512);
	ck_assert_uint_eq(request(OUT, 9, 512), OK);
	ck_assert_uint_eq(request(OUT, 11, 512), OK);
	memset(bytes(), 0xee, 4096);
	ck_assert_uint_eq(request(IN, 8, 5 * 512), OK);
	for (int i = 0; i < 5; i++) {
		ck_assert_uint_eq(bytes()[i * 512], i % 2 ? 0xa5 : 8 + i);
		ck_assert_uint_eq(bytes()[i * 512 + 511], i % 2 ? 0xa5 : 8 + i);
	}
	ck_assert_uint_eq(bytes()[5 * 512], 0xee);
	/* All of it new, and none. */
	memset(bytes(), 0xb6, 65536);
	ck_assert_uint_eq(request(OUT, 100, 65536), OK);
	memset(bytes(), 0, 65536);
	ck_assert_uint_eq(request(IN, 100, 65536), OK);
	ck_assert_uint_eq(bytes()[65535], 0xb6);
	ck_assert_uint_eq(request(IN, 300, 512), OK);
	ck_assert_uint_eq(bytes()[0], 300 & 0xff);
	/* Zeros hide the base, also where nothing was written. */
	ck_assert_uint_eq(ranges(WRITE_ZEROES, 20, 30, 1), OK);
	ck_assert_uint_eq(ranges(DISCARD, 104, 16, 0), OK);
	ck_assert_uint_eq(request(IN, 19, 3 * 512), OK);
	ck_assert(bytes()[0] == 19 && bytes()[512] == 0 && bytes()[1024] == 0);
	ck_assert_uint_eq(request(IN, 49, 2 * 512), OK);
	ck_assert(bytes()[0] == 0 && bytes()[512] == 50);
	ck_assert_uint_eq(request(IN, 103, 512 * 18), OK);
	ck_assert(bytes()[0] == 0xb6 && bytes()[512] == 0 && bytes()[512 * 17] == 0xb6);
	ck_assert_uint_eq(request(FLUSH, 0, 0), OK);
	stop();
	for (uint64_t sector = 0; sector < DISK_SIZE / 512; sector++)
		ck_assert_uint_eq(file_byte(sector * 512), sector & 0xff);
	/* Thrown away. */
	start(&(struct disk_config){ .path = path, .overlay = true }, DRIVER_ALL_FEATURES);
	ck_assert_uint_eq(request(IN, 9, 512), OK);
	ck_assert_uint_eq(bytes()[0], 9);
	stop();
}
END_TEST

START_TEST(overlay_shares_its_base)
{
	struct disk other;
	char error[256];
	start(&(struct disk_config){ .path = path, .overlay = true }, DRIVER_ALL_FEATURES);
	ck_assert_int_eq(disk_open(&other, &(struct disk_config){ .path = path, .overlay = true }, error, sizeof(error)), 0);
	disk_close(&other);
	ck_assert_int_eq(disk_open(&other, &(struct disk_config){ .path = path }, error, sizeof(error)), -1);
	stop();
}
END_TEST

START_TEST(overlay_is_bounded) /* H4 */
{
	char text[2048];
	catch_log();
	start(&(struct disk_config){ .path = path, .overlay = true, .overlay_limit = 8192 }, DRIVER_ALL_FEATURES);
	memset(bytes(), 0xa5, 65536);
	ck_assert_uint_eq(request(OUT, 0, 4096), OK);
	ck_assert_uint_eq(request(OUT, 17, 512), OK); /* a second page, for one sector */
	ck_assert_uint_eq(request(OUT, 18, 6 * 512), OK); /* the same */
	ck_assert_uint_eq(request(OUT, 24, 512), IOERR);
	ck_assert_uint_eq(request(OUT, 7, 65536), IOERR);
	/* One line names the remedy; also when between the failures something is written over that has its memory already. */
	for (int i = 0; i < 20; i++) {
		ck_assert_uint_eq(request(OUT, 0, 4096), OK);
		ck_assert_uint_eq(request(OUT, 24, 512), IOERR);
	}
	caught_text(text, sizeof(text));
	ck_assert_uint_eq(count_text(text, "up to 8 KiB of what is written stay in memory (overlay=mem:SIZE"), 1);
	ck_assert_uint_eq(count_text(text, "the guest gets an I/O error"), 1);
	ck_assert_uint_eq(count_text(text, "the overlay's memory is used up) at byte 12288: No space left on device; the guest gets an I/O error; give it more with overlay=mem:SIZE\n"), 1);
	ck_assert_uint_eq(request(IN, 8, 512), OK);
	ck_assert_uint_eq(bytes()[0], 8); /* of what was refused nothing was written */
	/* Given back, it can be used again. */
	ck_assert_uint_eq(ranges(DISCARD, 0, 8, 0), OK);
	catch_log();
	ck_assert_uint_eq(request(OUT, 24, 512), OK);
	ck_assert_uint_eq(request(OUT, 0, 512), IOERR);
	caught_text(text, sizeof(text));
	ck_assert_uint_eq(count_text(text, "the overlay's memory is used up"), 1);
	stop();
}
END_TEST

START_TEST(memory_takes_what_is_written)
{
	start(&(struct disk_config){ .memory_size = 64 << 20 }, DRIVER_ALL_FEATURES);
	memset(bytes(), 0xff, 4096);
	ck_assert_uint_eq(request(IN, 1000, 4096), OK);
	for (int i = 0; i < 4096; i++)
		ck_assert_uint_eq(bytes()[i], 0);
	memset(bytes(), 0xff, 4096);
	ck_assert_uint_eq(request(OUT, 1001, 512), OK);
	ck_assert_uint_eq(ranges(WRITE_ZEROES, 1001, 1, 0), OK); /* within one page that stays */
	ck_assert_uint_eq(request(IN, 1000, 4096), OK);
	ck_assert(bytes()[511] == 0 && bytes()[512] == 0 && bytes()[1023] == 0 && bytes()[1024] == 0);
	stop();
}
END_TEST

START_TEST(longest_ranges) /* B3 */
{
	start(&(struct disk_config){ .memory_size = 4ull << 30 }, DRIVER_ALL_FEATURES);
	uint32_t discard = (uint32_t)driver_read(&d, d.config + 36, 4), zeroes = (uint32_t)driver_read(&d, d.config + 48, 4);
	ck_assert_uint_eq(ranges(DISCARD, 0, discard, 0), OK);
	ck_assert_uint_eq(ranges(DISCARD, 0, discard + 1, 0), IOERR);
	ck_assert_uint_eq(ranges(WRITE_ZEROES, 0, zeroes, 0), OK);
	ck_assert_uint_eq(ranges(WRITE_ZEROES, 0, zeroes + 1, 0), IOERR);
	stop();
}
END_TEST

/* In the folder of the build: where /tmp is memory, it may know no O_DIRECT. */
START_TEST(direct)
{
	char local[] = "direct-XXXXXX", error[256];
	uint8_t block[4096];
	struct disk probe;
	int fd = mkstemp(local);
	for (uint32_t i = 0; i < DISK_SIZE / 4096; i++) {
		memset(block, (int)i, sizeof(block));
		ck_assert_int_eq(write(fd, block, sizeof(block)), sizeof(block));
	}
	close(fd);
	if (disk_open(&probe, &(struct disk_config){ .path = local, .cache = DISK_DIRECT }, error, sizeof(error)) < 0) {
		unlink(local);
		ck_assert_msg(strstr(error, "use cache=writeback") != NULL, "%s", error);
		return;
	}
	ck_assert_int_eq(fcntl(probe.fd, F_GETFL) & O_DIRECT, O_DIRECT);
	ck_assert_int_eq(fcntl(probe.buffered_fd, F_GETFL) & O_DIRECT, 0);
	disk_close(&probe);
	start(&(struct disk_config){ .path = local, .cache = DISK_DIRECT }, DRIVER_ALL_FEATURES);
	ck_assert_uint_eq(driver_read(&d, d.config + 20, 4), disk.block_size);
	ck_assert_uint_eq(request(IN, 8, 8192), OK);
	ck_assert(bytes()[0] == 1 && bytes()[4096] == 2 && bytes()[8191] == 2);
	memset(bytes(), 0xa5, 4096);
	ck_assert_uint_eq(request(OUT, 16, 4096), OK);
	/* What O_DIRECT cannot: odd addresses in memory, and blocks smaller than the device's. Both ways see the same data. */
	set_header(IN, 16);
	ck_assert_uint_eq(send_chain((const struct driver_buf[]){ { header, 16 }, { data + 1, 4095 }, { data + 4097, 1 }, { status, 1 } }, 1, 3), OK);
	ck_assert(bytes()[1] == 0xa5 && bytes()[4095] == 0xa5 && bytes()[4097] == 0xa5);
	memset(bytes(), 0x5a, 512);
	ck_assert_uint_eq(request(OUT, 17, 512), OK);
	memset(bytes(), 0, 4096);
	ck_assert_uint_eq(request(IN, 16, 4096), OK);
	ck_assert(bytes()[511] == 0xa5 && bytes()[512] == 0x5a && bytes()[1024] == 0xa5);
	ck_assert_uint_eq(request(FLUSH, 0, 0), OK);
	stop();
	unlink(local);
}
END_TEST

START_TEST(write_cache_switch)
{
	start(&(struct disk_config){ .path = path, .cache = DISK_WRITETHROUGH }, DRIVER_ALL_FEATURES);
	ck_assert_uint_eq(driver_read(&d, d.config + WRITEBACK_AT, 1), 0);
	ck_assert_uint_eq(request(OUT, 1, 512), OK);
	driver_write(&d, d.config + WRITEBACK_AT, 0xff, 1);
	ck_assert_uint_eq(driver_read(&d, d.config + WRITEBACK_AT, 1), 1);
	ck_assert_uint_eq(request(OUT, 1, 512), OK);
	driver_write(&d, d.config + WRITEBACK_AT, 0, 2); /* not its width */
	ck_assert_uint_eq(driver_read(&d, d.config + WRITEBACK_AT, 1), 1);
	driver_write(&d, d.config + WRITEBACK_AT, 0, 1);
	ck_assert_uint_eq(driver_read(&d, d.config + WRITEBACK_AT, 1), 0);
	ck_assert_uint_eq(request(OUT, 1, 512), OK);
	/* A reset brings back what the host said. */
	driver_write(&d, d.config + WRITEBACK_AT, 1, 1);
	driver_start(&d, DRIVER_ALL_FEATURES & ~F_CONFIG_WCE, 64);
	ck_assert_uint_eq(driver_read(&d, d.config + WRITEBACK_AT, 1), 0);
	driver_write(&d, d.config + WRITEBACK_AT, 1, 1); /* not negotiated */
	ck_assert_uint_eq(driver_read(&d, d.config + WRITEBACK_AT, 1), 0);
	stop();
}
END_TEST

START_TEST(several_queues)
{
	start(&(struct disk_config){ .path = path, .queues = 3 }, DRIVER_ALL_FEATURES);
	ck_assert(driver_offered(&d) & F_MQ);
	ck_assert_uint_eq(driver_read(&d, d.config + QUEUES_AT, 2), 3);
	ck_assert_uint_eq(driver_get(&d, R_NUM_QUEUES, 2), 3);
	set_header(IN, 5);
	for (int round = 0; round < 50; round++) {
		for (uint32_t queue = 0; queue < 3; queue++)
			for (int i = 0; i < 5; i++)
				driver_add(&d, queue, (const struct driver_buf[]){ { header, 16 }, { data + 4096 * queue, 512 }, { status, 1 } }, 1, 2);
		for (uint32_t queue = 0; queue < 3; queue++)
			driver_kick(&d, queue);
		for (uint32_t queue = 0; queue < 3; queue++)
			for (int i = 0; i < 5; i++)
				ck_assert(driver_wait(&d, queue, NULL, NULL, 5000));
	}
	for (uint32_t queue = 0; queue < 3; queue++) {
		ck_assert_uint_eq(bytes()[4096 * queue], 5);
		ck_assert_uint_gt(driver_interrupts(&d, queue + 1), 0);
		ck_assert(!driver_used(&d, queue, NULL, NULL));
	}
	ck_assert_uint_eq(stats.disk_requests, 50 * 15);
	stop();
}
END_TEST

static void wait_capacity(uint64_t sectors)
{
	for (int i = 0; i < 5000 && driver_read(&d, d.config, 8) != sectors; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	ck_assert_uint_eq(driver_read(&d, d.config, 8), sectors);
}

START_TEST(resized) /* _i: through an overlay */
{
	start(&(struct disk_config){ .path = path, .overlay = _i }, DRIVER_ALL_FEATURES);
	memset(bytes(), 0xa5, 512);
	ck_assert_uint_eq(request(OUT, 3, 512), OK);
	driver_interrupts(&d, 0);
	uint64_t generation = driver_get(&d, R_GENERATION, 1);
	ck_assert_int_eq(truncate(path, 2 * DISK_SIZE + 100), 0);
	ck_assert_uint_eq(request(IN, DISK_SIZE / 512, 512), IOERR); /* not before it was told */
	blk_resize(blk);
	wait_capacity(2 * DISK_SIZE / 512);
	ck_assert_uint_eq(blk_size(blk), 2 * DISK_SIZE);
	ck_assert_uint_eq(driver_interrupts(&d, 0), 1);
	ck_assert_uint_ne(driver_get(&d, R_GENERATION, 1), generation);
	memset(bytes(), 0x77, 512);
	ck_assert_uint_eq(request(OUT, 2 * DISK_SIZE / 512 - 1, 512), OK);
	ck_assert_uint_eq(request(OUT, 2 * DISK_SIZE / 512, 512), IOERR);
	ck_assert_uint_eq(request(IN, 3, 512), OK);
	ck_assert_uint_eq(bytes()[0], 0xa5);
	/* Smaller, and larger again. */
	ck_assert_int_eq(truncate(path, DISK_SIZE / 2), 0);
	blk_resize(blk);
	wait_capacity(DISK_SIZE / 2 / 512);
	ck_assert_uint_eq(request(IN, DISK_SIZE / 2 / 512, 512), IOERR);
	ck_assert_int_eq(truncate(path, 2 * DISK_SIZE), 0);
	blk_resize(blk);
	wait_capacity(2 * DISK_SIZE / 512);
	ck_assert_uint_eq(request(IN, 2 * DISK_SIZE / 512 - 1, 512), OK);
	ck_assert_uint_eq(bytes()[0], 0);
	/* An empty file is nobody's wish. */
	ck_assert_int_eq(truncate(path, 0), 0);
	blk_resize(blk);
	ck_assert_int_eq(truncate(path, 2 * DISK_SIZE), 0);
	ck_assert_uint_eq(request(IN, 0, 512), OK);
	stop();
}
END_TEST

/* A pause may save the state: nothing changes before the resume, and then it is what the file is by that time. */
START_TEST(resized_while_paused) /* _i: through an overlay */
{
	ck_assert_int_eq(truncate(path, 2 * DISK_SIZE), 0);
	start(&(struct disk_config){ .path = path, .overlay = _i }, DRIVER_ALL_FEATURES);
	virtio_pci_pause(d.transport);
	ck_assert_int_eq(truncate(path, DISK_SIZE / 4), 0);
	blk_resize(blk);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	ck_assert_uint_eq(driver_read(&d, d.config, 8), 2 * DISK_SIZE / 512);
	ck_assert_int_eq(truncate(path, DISK_SIZE), 0);
	virtio_pci_resume(d.transport);
	wait_capacity(DISK_SIZE / 512);
	ck_assert_uint_eq(request(IN, DISK_SIZE / 512 - 1, 512), OK);
	stop();
}
END_TEST

/* B6: a submission queue of one entry. All requests are served, none twice. */
START_TEST(tiny_submission_queue)
{
	ring_entries = 1;
	start(&(struct disk_config){ .path = path, .queues = 2 }, DRIVER_ALL_FEATURES);
	uint64_t headers = driver_alloc(&d, 4096), room = driver_alloc(&d, 42 * 512), answers = driver_alloc(&d, 42);
	for (uint32_t round = 0; round < 20; round++) {
		memset(driver_ptr(&d, answers), NOTHING, 42);
		for (uint32_t i = 0; i < 42; i++) {
			uint32_t sector = round * 50 + i;
			memcpy((uint8_t *)driver_ptr(&d, headers) + 16 * i, &(struct { uint32_t type, reserved; uint64_t sector; }){ IN, 0, sector }, 16);
			driver_add(&d, i / 21, (const struct driver_buf[]){ { headers + 16 * i, 16 }, { room + 512 * i, 512 }, { answers + i, 1 } }, 1, 2);
		}
		driver_kick(&d, 0);
		driver_kick(&d, 1);
		uint64_t seen[2] = { 0 };
		for (uint32_t i = 0; i < 42; i++) {
			uint32_t id;
			ck_assert(driver_wait(&d, i / 21, &id, NULL, 5000));
			ck_assert_uint_lt(id, 64);
			ck_assert_uint_eq(seen[i / 21] >> id & 1, 0);
			seen[i / 21] |= 1ull << id;
		}
		for (uint32_t i = 0; i < 42; i++) {
			ck_assert_uint_eq(((uint8_t *)driver_ptr(&d, answers))[i], OK);
			ck_assert_uint_eq(((uint8_t *)driver_ptr(&d, room))[512 * i], (round * 50 + i) & 0xff);
		}
		ck_assert(!driver_used(&d, 0, NULL, NULL) && !driver_used(&d, 1, NULL, NULL));
	}
	ck_assert_uint_eq(stats.disk_requests, 20 * 42);
	stop();
}
END_TEST

/* Kicks as a driver with VIRTIO_F_EVENT_IDX does: only when the device asked for this one. Returns whether it did. */
static bool kick_if_asked(void)
{
	struct driver_queue *q = &d.queue[0];
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	uint16_t event = __atomic_load_n((uint16_t *)(void *)((uint8_t *)q->used + 4 + 8u * q->size), __ATOMIC_RELAXED);
	if (event != (uint16_t)(q->avail[1] - 1))
		return false;
	driver_kick(&d, 0);
	return true;
}

/* A driver that always sends as many as it got back is asked to kick for most of them at once; what comes alone is served all the same. */
START_TEST(kicks_held_back)
{
	uint32_t kicks = 0, sent = 0;
	start(&(struct disk_config){ .path = path }, DRIVER_ALL_FEATURES);
	set_header(IN, 1);
	for (int round = 0; round < 60; round++) {
		/* 16 in flight, each sent by itself. */
		for (int i = 0; i < 16; i++, sent++) {
			driver_add(&d, 0, (const struct driver_buf[]){ { header, 16 }, { data, 512 }, { status, 1 } }, 1, 2);
			kicks += kick_if_asked();
		}
		for (int i = 0; i < 16; i++)
			ck_assert(driver_wait(&d, 0, NULL, NULL, 2000));
		if (round % 20 != 19)
			continue;
		/* Then one alone, and one more. */
		for (int i = 0; i < 2; i++) {
			driver_add(&d, 0, (const struct driver_buf[]){ { header, 16 }, { data, 512 }, { status, 1 } }, 1, 2);
			kick_if_asked();
			ck_assert(driver_wait(&d, 0, NULL, NULL, 2000));
		}
	}
	ck_assert_uint_lt(kicks, sent);
	stop();
}
END_TEST

/* An idle disk makes no system calls, and a request few: that is what io_uring is for. */
START_TEST(system_calls)
{
	start(&(struct disk_config){ .path = path }, DRIVER_ALL_FEATURES);
	ck_assert_uint_eq(request(IN, 1, 512), OK);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	uint64_t before = atomic_load(&stats.disk_syscalls);
	nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	ck_assert_uint_eq(atomic_load(&stats.disk_syscalls), before);
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(request(IN, 1, 512), OK);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	/* Waiting twice and an interrupt; threads: poll and read for both sides, too. */
	ck_assert_uint_le(atomic_load(&stats.disk_syscalls) - before, 100 * (aio == DISK_AIO_THREADS ? 7 : 3) + 5);
	ck_assert_uint_ge(atomic_load(&stats.disk_syscalls) - before, 100);
	stop();
}
END_TEST

static void add_tests(Suite *suite, const char *name, void (*before)(void))
{
	TCase *tc = tcase_create(name);
	tcase_add_checked_fixture(tc, before, after);
	tcase_add_test(tc, overlay_keeps_the_base);
	tcase_add_test(tc, overlay_shares_its_base);
	tcase_add_test(tc, overlay_is_bounded);
	tcase_add_test(tc, memory_takes_what_is_written);
	tcase_add_test(tc, longest_ranges);
	tcase_add_test(tc, direct);
	tcase_add_test(tc, write_cache_switch);
	tcase_add_test(tc, several_queues);
	tcase_add_loop_test(tc, resized, 0, 2);
	tcase_add_loop_test(tc, resized_while_paused, 0, 2);
	tcase_add_test(tc, tiny_submission_queue);
	tcase_add_test(tc, kicks_held_back);
	tcase_add_test(tc, system_calls);
	suite_add_tcase(suite, tc);
}

static Suite *make_suite(void)
{
	Suite *suite = suite_create("blk-modes");
	add_tests(suite, "io_uring", before_uring);
	add_tests(suite, "threads", before_threads);
	return suite;
}

UNIT_MAIN(make_suite)
