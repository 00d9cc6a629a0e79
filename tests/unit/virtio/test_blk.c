/* virtio-blk through registers and rings, with its own thread: requests, and rows B1-B5 and B8 of the hostile guest, by io_uring and by threads. */
#include "blk_fixture.h"
#include "unit.h"

static void setup(void)
{
	make_file();
	start(&(struct disk_config){ .path = path, .serial = "abcdefghijklmnopqrst" }, DRIVER_ALL_FEATURES);
}

/* The same by threads, as where io_uring is forbidden. */
static void setup_threads(void)
{
	aio = DISK_AIO_THREADS;
	make_file();
	start(&(struct disk_config){ .path = path, .serial = "abcdefghijklmnopqrst" }, DRIVER_ALL_FEATURES);
}

static void teardown(void)
{
	stop();
	unlink(path);
}

START_TEST(config_space)
{
	ck_assert_uint_eq(driver_read(&d, d.config, 8), DISK_SIZE / 512);
	ck_assert_uint_eq(driver_read(&d, d.config + 12, 4), SEGMENTS);
	ck_assert_uint_eq(driver_read(&d, d.config + 20, 4), 512);
	ck_assert_uint_eq(driver_read(&d, d.config + 24, 1), 3); /* 4096-byte physical blocks */
	ck_assert_uint_gt(driver_read(&d, d.config + 36, 4), 0);
	ck_assert_uint_eq(driver_read(&d, d.config + 60, 4), 0);
	ck_assert_uint_eq(blk_size(blk), DISK_SIZE);
	driver_write(&d, d.config, 0, 8);
	ck_assert_uint_eq(driver_read(&d, d.config, 8), DISK_SIZE / 512);
}
END_TEST

START_TEST(read_write_flush)
{
	uint8_t *bytes = driver_ptr(&d, data);
	ck_assert_uint_eq(request(IN, 7, 1024), OK);
	ck_assert_uint_eq(bytes[0], 7);
	ck_assert_uint_eq(bytes[1023], 8);
	memset(bytes, 0xa5, 2048);
	ck_assert_uint_eq(request(OUT, 100, 2048), OK);
	ck_assert_uint_eq(request(FLUSH, 0, 0), OK);
	ck_assert_uint_eq(file_byte(100 * 512), 0xa5);
	ck_assert_uint_eq(file_byte(104 * 512 - 1), 0xa5);
	ck_assert_uint_eq(file_byte(104 * 512), 104);
	ck_assert_uint_eq(file_byte(100 * 512 - 1), 99);
	ck_assert_uint_gt(driver_interrupts(&d, 1), 0);
	ck_assert_uint_eq(stats.disk_requests, 3);
	ck_assert_uint_eq(stats.disk_bytes, 3072);
	ck_assert_uint_eq(stats.disk_errors, 0);
	/* The last sector. */
	ck_assert_uint_eq(request(IN, DISK_SIZE / 512 - 1, 512), OK);
}
END_TEST

START_TEST(scattered)
{
	/* Data in many uneven pieces, header and status split off and joined: B5, framing is up to the driver. */
	set_header(IN, 3);
	const struct driver_buf in[] = {
		{ header, 3 }, { header + 3, 5 }, { header + 8, 8 },
		{ data, 1 }, { data + 1, 500 }, { data + 501, 23 }, { data + 524, 501 },
	};
	*(uint8_t *)driver_ptr(&d, data + 1024) = NOTHING;
	send_chain(in, 3, 4);
	ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, data), 3);
	ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, data + 511), 3);
	ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, data + 512), 4);
	ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, data + 1023), 4);
	ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, data + 1024), OK);
	/* Header and data in one descriptor. */
	uint64_t joined = driver_alloc(&d, 1024);
	memcpy(driver_ptr(&d, joined), &(struct { uint32_t type, reserved; uint64_t sector; }){ OUT, 0, 9 }, 16);
	memset((uint8_t *)driver_ptr(&d, joined) + 16, 0x77, 512);
	ck_assert_uint_eq(send_chain((const struct driver_buf[]){ { joined, 528 }, { status, 1 } }, 1, 1), OK);
	ck_assert_uint_eq(file_byte(9 * 512), 0x77);
	ck_assert_uint_eq(file_byte(10 * 512 - 1), 0x77);
	ck_assert_uint_eq(file_byte(10 * 512), 10);
}
END_TEST

/* As many pieces as the driver is told, none beside its neighbour: 1 MiB of a fragmented guest is less than that. */
START_TEST(as_many_segments_as_told)
{
	static struct driver_buf bufs[SEGMENTS + 3];
	driver_set(&d, R_STATUS, 0, 1);
	driver_start(&d, DRIVER_ALL_FEATURES, 1024);
	ck_assert_uint_eq(d.queue[0].size, 1024);
	uint64_t pages = driver_alloc(&d, SEGMENTS * 1024);
	set_header(OUT, 1);
	bufs[0] = (struct driver_buf){ header, 16 };
	for (uint32_t i = 0; i < SEGMENTS; i++) {
		bufs[1 + i] = (struct driver_buf){ pages + (SEGMENTS - 1 - i) * 1024, 512 };
		memset(driver_ptr(&d, bufs[1 + i].gpa), (int)(i * 7 & 0xff), 512);
	}
	bufs[1 + SEGMENTS] = (struct driver_buf){ status, 1 };
	ck_assert_uint_eq(send_chain(bufs, 1 + SEGMENTS, 1), OK);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		ck_assert_uint_eq(file_byte((1 + i) * 512 + i), i * 7 & 0xff);
	ck_assert_uint_eq(atomic_load(&stats.disk_requests), 1);
	memset(driver_ptr(&d, pages), 0, SEGMENTS * 1024);
	set_header(IN, 1);
	ck_assert_uint_eq(send_chain(bufs, 1, SEGMENTS + 1), OK);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, bufs[1 + i].gpa + 511), i * 7 & 0xff);
	/* One more was never allowed. */
	bufs[1 + SEGMENTS] = (struct driver_buf){ data, 512 };
	bufs[2 + SEGMENTS] = (struct driver_buf){ status, 1 };
	driver_add(&d, 0, bufs, 1, SEGMENTS + 2);
	driver_kick(&d, 0);
	ck_assert(!driver_wait(&d, 0, NULL, NULL, 50));
	ck_assert_uint_eq(driver_status(&d) & S_NEEDS_RESET, S_NEEDS_RESET);
}
END_TEST

START_TEST(serial_number)
{
	ck_assert_uint_eq(request(GET_ID, 0, 20), OK);
	ck_assert_mem_eq(driver_ptr(&d, data), "abcdefghijklmnopqrst", 20);
	memset(driver_ptr(&d, data), 0x55, 64);
	ck_assert_uint_eq(request(GET_ID, 0, 8), OK);
	ck_assert_mem_eq(driver_ptr(&d, data), "abcdefgh\x55", 9);
}
END_TEST

START_TEST(past_the_end) /* B1 */
{
	const struct {
		uint64_t sector;
		uint32_t length;
	} bad[] = {
		{ DISK_SIZE / 512, 512 }, { DISK_SIZE / 512 - 1, 1024 }, { UINT64_MAX / 512, 512 }, { UINT64_MAX / 512 + 1, 512 },
		{ UINT64_MAX, 512 }, { 1ull << 55, 512 }, { (1ull << 55) - 1, 65536 },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_uint_eq(request(IN, bad[i].sector, bad[i].length), IOERR);
		ck_assert_uint_eq(request(OUT, bad[i].sector, bad[i].length), IOERR);
	}
	/* By the sum of descriptors: 16 pieces of 64 KiB are the disk, 17 are not. */
	struct driver_buf bufs[19] = { { header, 16 } };
	for (int i = 1; i <= 17; i++)
		bufs[i] = (struct driver_buf){ data, 65536 };
	set_header(IN, 0);
	bufs[17] = (struct driver_buf){ status, 1 };
	ck_assert_uint_eq(send_chain(bufs, 1, 17), OK);
	bufs[17] = (struct driver_buf){ data, 65536 };
	bufs[18] = (struct driver_buf){ status, 1 };
	ck_assert_uint_eq(send_chain(bufs, 1, 18), IOERR);
	set_header(OUT, 0);
	ck_assert_uint_eq(send_chain(bufs, 18, 1), IOERR);
	ck_assert_uint_eq(file_size(), DISK_SIZE);
	ck_assert_uint_eq(file_byte(512), 1);
	ck_assert_uint_eq(stats.disk_errors, 16);
}
END_TEST

START_TEST(odd_lengths) /* B2 */
{
	const uint32_t bad[] = { 1, 511, 513, 1000 };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_uint_eq(request(IN, 0, bad[i]), IOERR);
		ck_assert_uint_eq(request(OUT, 0, bad[i]), IOERR);
	}
	ck_assert_uint_eq(request(IN, 0, 0), IOERR);
	ck_assert_uint_eq(request(OUT, 0, 0), IOERR);
	ck_assert_uint_eq(file_byte(0), 0);
	ck_assert_uint_eq(request(IN, 1, 512), OK);
}
END_TEST

START_TEST(discard_and_zero) /* B3 */
{
	ck_assert_uint_eq(ranges(WRITE_ZEROES, 10, 3, _i), OK);
	ck_assert_uint_eq(file_byte(10 * 512 - 1), 9);
	for (uint64_t at = 10 * 512; at < 13 * 512; at += 511)
		ck_assert_uint_eq(file_byte(at), 0);
	ck_assert_uint_eq(file_byte(13 * 512), 13);
	ck_assert_uint_eq(ranges(DISCARD, 16, 16, 0), OK);
	ck_assert_uint_eq(file_byte(16 * 512), 0); /* what a punched file reads as */
	ck_assert_uint_eq(file_byte(32 * 512), 32);
	ck_assert_uint_eq(file_size(), DISK_SIZE);

	const uint32_t types[] = { DISCARD, WRITE_ZEROES };
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		ck_assert_uint_eq(ranges(types[i], DISK_SIZE / 512, 1, 0), IOERR);
		ck_assert_uint_eq(ranges(types[i], DISK_SIZE / 512 - 1, 2, 0), IOERR);
		ck_assert_uint_eq(ranges(types[i], UINT64_MAX, 1, 0), IOERR);
		ck_assert_uint_eq(ranges(types[i], 1ull << 55, 1, 0), IOERR);
		ck_assert_uint_eq(ranges(types[i], 0, UINT32_MAX, 0), IOERR);
		ck_assert_uint_eq(ranges(types[i], 0, 0, 0), IOERR);
		ck_assert_uint_eq(ranges(types[i], 0, 1, 2), UNSUPP);
		ck_assert_uint_eq(ranges(types[i], 0, 1, 0x80000000), UNSUPP);
		ck_assert_uint_eq(request(types[i], 0, 0), IOERR);
		ck_assert_uint_eq(request(types[i], 0, 15), IOERR);
		ck_assert_uint_eq(request(types[i], 0, 17 * 16), IOERR);
	}
	ck_assert_uint_eq(ranges(DISCARD, 0, 1, 1), UNSUPP);
	/* One bad range among good ones: none is touched. */
	struct {
		uint64_t sector;
		uint32_t sectors, flags;
	} two[] = { { 200, 8, 0 }, { UINT64_MAX, 1, 0 } };
	memcpy(driver_ptr(&d, data), two, sizeof(two));
	ck_assert_uint_eq(request(WRITE_ZEROES, 0, sizeof(two)), IOERR);
	ck_assert_uint_eq(file_byte(200 * 512), 200);
}
END_TEST

START_TEST(not_negotiated)
{
	stop();
	start(&(struct disk_config){ .path = path }, 1ull << 32);
	ck_assert_uint_eq(ranges(DISCARD, 40, 8, 0), UNSUPP);
	ck_assert_uint_eq(ranges(WRITE_ZEROES, 40, 8, 0), UNSUPP);
	ck_assert_uint_eq(file_byte(40 * 512), 40);
	ck_assert_uint_eq(request(OUT, 0, 512), OK);
}
END_TEST

START_TEST(read_only) /* B4 */
{
	stop();
	start(&(struct disk_config){ .path = path, .readonly = true }, DRIVER_ALL_FEATURES);
	ck_assert_uint_ne(driver_offered(&d) & 1 << 5, 0);
	memset(driver_ptr(&d, data), 0xff, 512);
	ck_assert_uint_eq(request(OUT, 5, 512), IOERR);
	ck_assert_uint_eq(ranges(DISCARD, 5, 1, 0), UNSUPP);
	ck_assert_uint_eq(ranges(WRITE_ZEROES, 5, 1, 0), UNSUPP);
	ck_assert_uint_eq(request(FLUSH, 0, 0), OK);
	ck_assert_uint_eq(request(IN, 5, 512), OK);
	ck_assert_uint_eq(file_byte(5 * 512), 5);
}
END_TEST

START_TEST(malformed) /* B5 */
{
	const uint32_t types[] = { 2, 3, 5, 7, 9, 10, 12, 14, 15, 100, UINT32_MAX };
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		ck_assert_uint_eq(request(types[i], 0, 512), UNSUPP);
	/* Short header. */
	ck_assert_uint_eq(send_chain((const struct driver_buf[]){ { header, 15 }, { status, 1 } }, 1, 1), IOERR);
	/* Nothing to read; the header in the wrong direction. */
	ck_assert_uint_eq(send_chain((const struct driver_buf[]){ { status, 1 } }, 0, 1), IOERR);
	/* No place for a status: returned, with nothing written. */
	uint32_t length = 99;
	driver_add(&d, 0, (const struct driver_buf[]){ { header, 16 }, { status, 1 } }, 2, 0);
	driver_kick(&d, 0);
	ck_assert(driver_wait(&d, 0, NULL, &length, 5000));
	ck_assert_uint_eq(length, 0);
	ck_assert_uint_eq(request(IN, 1, 512), OK);
	ck_assert_uint_eq(driver_status(&d) & S_NEEDS_RESET, 0);
}
END_TEST

START_TEST(more_than_a_batch) /* B6: a full ring is served whole, each request once */
{
	set_header(IN, 1);
	for (int round = 0; round < 20; round++) {
		uint64_t seen = 0;
		for (int i = 0; i < 21; i++)
			driver_add(&d, 0, (const struct driver_buf[]){ { header, 16 }, { data + 512 * (uint64_t)i, 512 }, { status, 1 } }, 1, 2);
		driver_kick(&d, 0);
		for (int i = 0; i < 21; i++) {
			uint32_t id;
			ck_assert(driver_wait(&d, 0, &id, NULL, 5000));
			ck_assert_uint_lt(id, 64);
			ck_assert_uint_eq(seen >> id & 1, 0);
			seen |= 1ull << id;
		}
		ck_assert(!driver_used(&d, 0, NULL, NULL));
	}
	ck_assert_uint_eq(stats.disk_requests, 20 * 21);
}
END_TEST

START_TEST(truncated_under_the_guest) /* B7 */
{
	ck_assert_int_eq(truncate(path, 64 * 512), 0);
	ck_assert_uint_eq(request(IN, 63, 512), OK);
	ck_assert_uint_eq(request(IN, 64, 512), IOERR);
	ck_assert_uint_eq(request(IN, 63, 1024), IOERR);
	ck_assert_uint_eq(request(OUT, 100, 512), IOERR);
	ck_assert_uint_eq(ranges(WRITE_ZEROES, 64, 1, 0), IOERR);
	ck_assert_uint_eq(file_size(), 64 * 512);
	/* Removed: the guest goes on. */
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_uint_eq(request(OUT, 1, 512), OK);
	ck_assert_uint_eq(request(IN, 1, 512), OK);
}
END_TEST

START_TEST(raw_stays_raw) /* B8 */
{
	memcpy(driver_ptr(&d, data), "QFI\xfb\0\0\0\3", 8);
	ck_assert_uint_eq(request(OUT, 0, 512), OK);
	stop();
	start(&(struct disk_config){ .path = path }, DRIVER_ALL_FEATURES);
	ck_assert_uint_eq(blk_size(blk), DISK_SIZE);
	ck_assert_uint_eq(request(IN, 0, 512), OK);
	ck_assert_mem_eq(driver_ptr(&d, data), "QFI\xfb\0\0\0\3", 8);
}
END_TEST

START_TEST(broken_ring)
{
	d.queue[0].desc[0] = (struct driver_desc){ 1ull << 40, 16, 0, 0 };
	driver_offer(&d, 0, 0);
	driver_kick(&d, 0);
	for (int i = 0; i < 5000 && !(driver_status(&d) & S_NEEDS_RESET); i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	ck_assert_uint_ne(driver_status(&d) & S_NEEDS_RESET, 0);
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	ck_assert_uint_eq(request(IN, 1, 512), OK);
}
END_TEST

START_TEST(pause_and_resume)
{
	struct virtio_device *device = blk_device(blk);
	pthread_mutex_lock(&device->lock);
	device->ops->pause(device);
	pthread_mutex_unlock(&device->lock);
	set_header(IN, 1);
	driver_add(&d, 0, (const struct driver_buf[]){ { header, 16 }, { data, 512 }, { status, 1 } }, 1, 2);
	driver_kick(&d, 0);
	ck_assert(!driver_wait(&d, 0, NULL, NULL, 50));
	pthread_mutex_lock(&device->lock);
	device->ops->resume(device);
	pthread_mutex_unlock(&device->lock);
	ck_assert(driver_wait(&d, 0, NULL, NULL, 5000));
}
END_TEST

START_TEST(reset_under_load) /* Q15 with a real device */
{
	for (int round = 0; round < 200; round++) {
		set_header(IN, 1);
		for (int i = 0; i < 20; i++)
			driver_add(&d, 0, (const struct driver_buf[]){ { header, 16 }, { data, 4096 }, { status, 1 } }, 1, 2);
		driver_kick(&d, 0);
		driver_set(&d, R_STATUS, 0, 1);
		/* Nothing is written after the reset was acknowledged. */
		uint16_t used = __atomic_load_n(&d.queue[0].used[1], __ATOMIC_ACQUIRE);
		driver_kick(&d, 0);
		if (round % 50 == 0)
			nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
		ck_assert_uint_eq(__atomic_load_n(&d.queue[0].used[1], __ATOMIC_ACQUIRE), used);
		d.next_free = 0x100000;
		driver_start(&d, DRIVER_ALL_FEATURES, 64);
	}
	ck_assert_uint_eq(request(IN, 1, 512), OK);
}
END_TEST

/* Random chains over random headers, now and then a broken one: the device answers or asks for a reset, and neither the file grows nor the program dies. */
START_TEST(random_chains)
{
	uint32_t seed = 4711, resets = 0, answers = 0;
	uint64_t headers = driver_alloc(&d, 4096);
	const uint32_t types[] = { IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES, 99 };
	for (int round = 0; round < 1500; round++) {
		uint32_t ring[64];
		for (int i = 0; i < 64; i++)
			ring[i] = seed = seed * 1664525 + 1013904223;
		for (uint32_t i = 0; i < 16; i++) {
			uint64_t sector = ring[i] >> 28 == 0 ? UINT64_MAX / (ring[i] & 0xff) : ring[i] >> 8 & 0xfff;
			memcpy((uint8_t *)driver_ptr(&d, headers) + 16 * i,
				&(struct { uint32_t type, reserved; uint64_t sector; }){ types[(ring[i] >> 16) % ARRAY_LEN(types)], 0, sector }, 16);
		}
		for (uint16_t i = 0; i < 64; i += 4) {
			d.queue[0].desc[i] = (struct driver_desc){ headers + 16 * (ring[i] >> 28), ring[i] >> 20 & 15 ? 16 : ring[i] >> 24, D_NEXT, (uint16_t)(i + 1) };
			uint16_t direction = ring[i + 1] >> 30 & 1 ? D_WRITE : 0;
			d.queue[0].desc[i + 1] = (struct driver_desc){ data + (ring[i + 1] >> 8 & 0xff), (ring[i + 1] >> 16 & 15 ? 512 : 1) * (1 + (ring[i + 1] >> 24 & 15)), direction | D_NEXT, (uint16_t)(i + 2) };
			d.queue[0].desc[i + 2] = (struct driver_desc){ data, 512, direction | (ring[i + 2] >> 29 ? D_NEXT : 0), (uint16_t)(i + 3) };
			d.queue[0].desc[i + 3] = (struct driver_desc){ ring[i + 3] >> 26 ? status : 1ull << 45, 1, D_WRITE, 0 };
			driver_offer(&d, 0, i);
		}
		driver_kick(&d, 0);
		for (uint32_t i = 0; i < 16; i++) {
			while (!driver_used(&d, 0, NULL, NULL)) {
				if (driver_status(&d) & S_NEEDS_RESET)
					goto broken;
				nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
			}
			answers++;
		}
		continue;
broken:
		resets++;
		d.next_free = 0x100000;
		driver_start(&d, DRIVER_ALL_FEATURES, 64);
	}
	ck_assert_uint_gt(resets, 50);
	ck_assert_uint_gt(answers, 2000);
	ck_assert_uint_eq(file_size(), DISK_SIZE);
	ck_assert_uint_eq(request(IN, 1, 512), OK);
}
END_TEST

/* --- without the fixture ---------------------------------------------------------------------------------------------- */

/* ThreadSanitizer leaves less of the address space than a disk of 1 TiB takes. */
#ifdef __SANITIZE_THREAD__
#define MEMORY_SECTORS (1ull << 26)
#else
#define MEMORY_SECTORS (1ull << 31)
#endif

START_TEST(memory_disk)
{
	start(&(struct disk_config){ .memory_size = MEMORY_SECTORS * 512 }, DRIVER_ALL_FEATURES);
	ck_assert_uint_eq(driver_read(&d, d.config, 8), MEMORY_SECTORS);
	memset(driver_ptr(&d, data), 0x42, 4096);
	ck_assert_uint_eq(request(OUT, MEMORY_SECTORS - 8, 4096), OK);
	memset(driver_ptr(&d, data), 0, 4096);
	ck_assert_uint_eq(request(IN, MEMORY_SECTORS - 1, 512), OK);
	ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, data), 0x42);
	for (uint32_t unmap = 0; unmap < 2; unmap++) {
		ck_assert_uint_eq(ranges(WRITE_ZEROES, MEMORY_SECTORS - 2 + unmap, 1, unmap), OK);
		ck_assert_uint_eq(request(IN, MEMORY_SECTORS - 2 + unmap, 512), OK);
		ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, data), 0);
	}
	ck_assert_uint_eq(ranges(DISCARD, MEMORY_SECTORS - 8, 8, 0), OK);
	ck_assert_uint_eq(request(FLUSH, 0, 0), OK);
	stop();
	/* Read-only memory is of little use, but it is not written either. */
	start(&(struct disk_config){ .memory_size = 4096, .readonly = true }, DRIVER_ALL_FEATURES);
	memset(driver_ptr(&d, data), 0x42, 512);
	ck_assert_uint_eq(request(OUT, 0, 512), IOERR);
	ck_assert_uint_eq(request(IN, 0, 512), OK);
	ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, data), 0);
	stop();
}
END_TEST

/* A ring full of long requests keeps nobody waiting longer than for the one in work: not a vCPU at a register, not the end of the VM. */
START_TEST(long_work_lets_others_in)
{
	enum { ROUNDS = 10, REQUESTS = 21, LENGTH = 8 << 20 };
	uint32_t meanwhile = 0;
	start(&(struct disk_config){ .memory_size = 128 << 20 }, DRIVER_ALL_FEATURES);
	for (int round = 0; round < ROUNDS; round++) {
		set_header(IN, 0);
		for (int i = 0; i < REQUESTS; i++)
			driver_add(&d, 0, (const struct driver_buf[]){ { header, 16 }, { 4 << 20, LENGTH }, { status, 1 } }, 1, 2);
		driver_kick(&d, 0);
		while (__atomic_load_n(&d.queue[0].used[1], __ATOMIC_ACQUIRE) == 0)
			continue;
		uint64_t before = atomic_load(&stats.disk_requests);
		driver_set(&d, R_STATUS, 0, 1);
		meanwhile += (uint32_t)(atomic_load(&stats.disk_requests) - before);
		d.next_free = 0x100000;
		driver_start(&d, DRIVER_ALL_FEATURES, 64);
	}
	/* One in work, one that begins before the wish is seen, and a little for a busy host. */
	ck_assert_uint_le(meanwhile, ROUNDS * 3);
	/* The same page again and again makes a request of any length: more than was told to the driver is refused. */
	struct driver_buf bufs[42] = { { header, 16 } };
	for (int i = 1; i < 41; i++)
		bufs[i] = (struct driver_buf){ 4 << 20, 2 << 20 };
	bufs[41] = (struct driver_buf){ status, 1 };
	set_header(IN, 0);
	ck_assert_uint_eq(send_chain(bufs, 1, 41), IOERR);
	bufs[10] = bufs[41];
	ck_assert_uint_eq(send_chain(bufs, 1, 10), OK);
	stop();
}
END_TEST

static void *hold_for_a_moment(void *fd)
{
	nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
	close(*(int *)fd);
	return NULL;
}

/* A program that has just ended may have the disk for a moment longer: the kernel gives its ring back in its own time. */
START_TEST(lock_is_waited_for)
{
	char error[256] = "";
	pthread_t thread;
	make_file();
	int fd = open(path, O_RDWR);
	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &(struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET }), 0);
	pthread_create(&thread, NULL, hold_for_a_moment, &fd);
	int result = disk_open(&disk, &(struct disk_config){ .path = path }, error, sizeof(error));
	pthread_join(thread, NULL);
	ck_assert_msg(result == 0, "%s", error);
	disk_close(&disk);
	unlink(path);
}
END_TEST

START_TEST(refused)
{
	char error[256];
	struct disk one, two;
#define TRY(into, ...) disk_open(&(into), &(struct disk_config){ __VA_ARGS__ }, error, sizeof(error))
	ck_assert_int_eq(TRY(one, .path = "/nonexistent/disk.img"), -1);
	ck_assert_ptr_nonnull(strstr(error, "/nonexistent/disk.img"));
	ck_assert_ptr_nonnull(strstr(error, "truncate"));
	ck_assert_int_eq(TRY(one, .path = "/tmp"), -1);
	ck_assert_ptr_nonnull(strstr(error, "raw disk image"));
	ck_assert_int_eq(TRY(one, .path = "/dev/null"), -1);

	make_file();
	ck_assert_int_eq(truncate(path, 511), 0);
	ck_assert_int_eq(TRY(one, .path = path), -1);
	ck_assert_ptr_nonnull(strstr(error, "sector"));

	/* One writer or many readers; an overlay is a reader. */
	ck_assert_int_eq(truncate(path, 1000), 0);
	ck_assert_int_eq(TRY(one, .path = path), 0);
	ck_assert_uint_eq(one.size, 512);
	ck_assert_int_eq(TRY(two, .path = path), -1);
	ck_assert_ptr_nonnull(strstr(error, "another program"));
	ck_assert_int_eq(TRY(two, .path = path, .readonly = true), -1);
	ck_assert_int_eq(TRY(two, .path = path, .overlay = true), -1);
	disk_close(&one);
	ck_assert_int_eq(TRY(one, .path = path, .readonly = true), 0);
	ck_assert_int_eq(TRY(two, .path = path, .overlay = true), 0);
	disk_close(&one);
	disk_close(&two);
	unlink(path);
}
END_TEST

START_TEST(specs)
{
	struct disk_config config;
	char copy[128], error[256] = "";
	ck_assert_int_eq(disk_parse("/a/b.img", &config, copy, error, sizeof(error)), 0);
	ck_assert_str_eq(config.path, "/a/b.img");
	ck_assert(!config.readonly);
	ck_assert_int_eq(disk_parse("x,readonly,serial=12345678901234567890,format=raw", &config, copy, error, sizeof(error)), 0);
	ck_assert_str_eq(config.path, "x");
	ck_assert_str_eq(config.serial, "12345678901234567890");
	ck_assert(config.readonly);
	ck_assert_int_eq(disk_parse("mem:2G", &config, copy, error, sizeof(error)), 0);
	ck_assert_ptr_null(config.path);
	ck_assert_uint_eq(config.memory_size, 2ull << 30);
	ck_assert_int_eq(disk_parse("mem:1024,serial=a", &config, copy, error, sizeof(error)), 0);
	ck_assert_uint_eq(config.memory_size, 1024);
	ck_assert_int_eq(disk_parse("x,cache=direct,overlay=mem:64M,queues=3,aio=threads", &config, copy, error, sizeof(error)), 0);
	ck_assert(config.cache == DISK_DIRECT && config.overlay && config.overlay_limit == 64 << 20 && config.queues == 3 && config.aio == DISK_AIO_THREADS);
	const char *const bad[] = {
		"", ",readonly", "mem:", "mem:5 ", "mem:0", "mem:-1", "mem:x", "mem:1Q", "mem:1GG", "mem:1000", "mem:99999999999999999999", "mem:16777216T",
		"x,cache=none", "x,queues=0", "x,queues=9", "x,queues=11", "x,overlay=disk", "x,overlay=mem:1", "x,overlay=mem,readonly", "mem:1M,overlay=mem", "x,aio=native",
		"mem:1M,cache=direct", "x,serial=123456789012345678901", "x,format=qcow2", "x,foo", "x,", "x,readonly=1",
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		error[0] = '\0';
		ck_assert_msg(disk_parse(bad[i], &config, copy, error, sizeof(error)) == -1, "%s", bad[i]);
		ck_assert_msg(strstr(error, bad[i]) != NULL, "%s", error);
	}
}
END_TEST

static void add_file_tests(Suite *suite, const char *name, void (*before)(void))
{
	TCase *tc = tcase_create(name);
	tcase_add_checked_fixture(tc, before, teardown);
	tcase_add_test(tc, config_space);
	tcase_add_test(tc, read_write_flush);
	tcase_add_test(tc, scattered);
	tcase_add_test(tc, as_many_segments_as_told);
	tcase_add_test(tc, serial_number);
	tcase_add_test(tc, past_the_end);
	tcase_add_test(tc, odd_lengths);
	tcase_add_loop_test(tc, discard_and_zero, 0, 2);
	tcase_add_test(tc, not_negotiated);
	tcase_add_test(tc, read_only);
	tcase_add_test(tc, malformed);
	tcase_add_test(tc, more_than_a_batch);
	tcase_add_test(tc, truncated_under_the_guest);
	tcase_add_test(tc, raw_stays_raw);
	tcase_add_test(tc, broken_ring);
	tcase_add_test(tc, pause_and_resume);
	tcase_add_test(tc, reset_under_load);
	tcase_add_test(tc, random_chains);
	suite_add_tcase(suite, tc);
}

static Suite *make_suite(void)
{
	Suite *suite = suite_create("blk");
	add_file_tests(suite, "io_uring", setup);
	add_file_tests(suite, "threads", setup_threads);
	TCase *other = tcase_create("other");
	tcase_add_test(other, memory_disk);
	tcase_add_test(other, long_work_lets_others_in);
	tcase_add_test(other, lock_is_waited_for);
	tcase_add_test(other, refused);
	tcase_add_test(other, specs);
	suite_add_tcase(suite, other);
	return suite;
}

UNIT_MAIN(make_suite)
