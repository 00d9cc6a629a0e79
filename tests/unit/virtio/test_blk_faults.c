/*
 * virtio-blk when the host is slow, fails or never answers: B7, B9, Q2, Q12, Q13 as they meet a disk. The engine is the real one behind
 * another that holds operations back or fails them (the linker puts it in between, meson.build).
 */
#include <linux/falloc.h>

#include "blk_fixture.h"
#include "unit.h"
#include "base/log.h"
#include "virtio/blk_engine.h"

#define F_FLUSH (1ull << 9)
#define F_CONFIG_WCE (1ull << 11)
#define WRITEBACK_AT 32

struct blk_engine *__real_blk_uring_create(const struct blk_engine_config *config);
struct blk_engine *__wrap_blk_uring_create(const struct blk_engine_config *config);

/* The engine in between. The test's thread sets what it shall do; all else belongs to the block thread. */
static struct {
	struct blk_engine engine;
	struct blk_engine *real;
	_Atomic bool keep;            /* what is held stays so, also when nothing more is held */
	_Atomic bool hold;            /* nothing is given to the host; what is held goes on when the block thread is woken afterwards */
	_Atomic int error[4];         /* by code: what operations end with instead */
	_Atomic int cut;              /* bytes: longer reads and writes end after so many */
	_Atomic uint32_t count[4], held, durable, cancels;
	struct blk_op_list list, failed;
	int wake;
} between;

static void between_submit(struct blk_engine *engine, struct blk_op *op)
{
	(void)engine;
	if (between.hold) {
		blk_op_append(&between.list, op);
		between.held++;
		return;
	}
	between.count[op->code]++;
	if (op->code == BLK_OP_WRITE && op->durable)
		between.durable++;
	if (between.error[op->code] != 0) {
		op->result = -between.error[op->code];
		blk_op_append(&between.failed, op);
		return;
	}
	between.real->ops->submit(between.real, op);
}

static void between_wait(struct blk_engine *engine, int64_t timeout_ns, struct blk_events *events)
{
	(void)engine;
	struct blk_op *op;
	while (!between.hold && !between.keep && (op = blk_op_take(&between.list)) != NULL) {
		between.held--;
		between_submit(engine, op);
	}
	between.real->ops->wait(between.real, between.failed.first == NULL ? timeout_ns : 0, events);
	while ((op = blk_op_take(&between.failed)) != NULL)
		blk_op_append(&events->done, op);
	for (op = events->done.first; op != NULL; op = op->next) {
		int cut = between.cut;
		if (cut != 0 && op->code <= BLK_OP_WRITE && op->result > cut)
			op->result = cut;
	}
}

static void between_cancel(struct blk_engine *engine)
{
	(void)engine;
	between.cancels++;
	between.real->ops->cancel(between.real);
}

static int between_start(struct blk_engine *engine)
{
	(void)engine;
	return between.real->ops->start(between.real);
}

static void between_destroy(struct blk_engine *engine)
{
	(void)engine;
	between.real->ops->destroy(between.real);
}

static const struct blk_engine_ops between_ops = {
	.start = between_start, .submit = between_submit, .wait = between_wait, .cancel = between_cancel, .destroy = between_destroy,
};

struct blk_engine *__wrap_blk_uring_create(const struct blk_engine_config *config)
{
	/* Where io_uring is forbidden the same is tested on threads. */
	between.real = __real_blk_uring_create(config);
	if (between.real == NULL)
		between.real = blk_pool_create(config);
	between.engine = (struct blk_engine){ .ops = &between_ops, .syscalls = config->syscalls };
	between.wake = config->watch[BLK_FD_WAKE];
	return &between.engine;
}

static void setup(void)
{
	make_file();
	drain_ms = 300;
	start(&(struct disk_config){ .path = path }, DRIVER_ALL_FEATURES);
}

static void teardown(void)
{
	stop();
	unlink(path);
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static void release(void)
{
	uint64_t one = 1;
	between.hold = false;
	ck_assert_int_eq(write(between.wake, &one, sizeof(one)), sizeof(one));
}

/* A request that the host has and does not answer; its head. */
static uint16_t send_held(uint32_t type, uint64_t sector)
{
	uint32_t before = between.held;
	between.hold = true;
	set_header(type, sector);
	*(uint8_t *)driver_ptr(&d, status) = NOTHING;
	uint16_t head = driver_add(&d, 0, (const struct driver_buf[]){ { header, 16 }, { data, 512 }, { status, 1 } }, type == OUT ? 2 : 1, type == OUT ? 1 : 2);
	driver_kick(&d, 0);
	for (int i = 0; i < 5000 && between.held == before; i++)
		nap();
	ck_assert_uint_eq(between.held, before + 1);
	return head;
}

START_TEST(head_in_flight_twice) /* Q2 */
{
	uint16_t head = send_held(IN, 7);
	driver_offer(&d, 0, head);
	driver_kick(&d, 0);
	for (int i = 0; i < 5000 && !(driver_status(&d) & S_NEEDS_RESET); i++)
		nap();
	ck_assert_uint_ne(driver_status(&d) & S_NEEDS_RESET, 0);
	/* The host still writes where it was told to; the ring is left alone. */
	uint16_t used = __atomic_load_n(&d.queue[0].used[1], __ATOMIC_ACQUIRE);
	release();
	for (int i = 0; i < 5000 && *(volatile uint8_t *)driver_ptr(&d, data) != 7; i++)
		nap();
	ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, data), 7);
	ck_assert_uint_eq(__atomic_load_n(&d.queue[0].used[1], __ATOMIC_ACQUIRE), used);
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	ck_assert_uint_eq(request(IN, 9, 512), OK);
}
END_TEST

START_TEST(chain_far_above_memory) /* Q12: one page 60 times is no reason to allocate anything */
{
	struct driver_buf bufs[62] = { { header, 16 } };
	for (int i = 1; i < 61; i++)
		bufs[i] = (struct driver_buf){ 0, 12 << 20 };
	bufs[61] = (struct driver_buf){ status, 1 };
	set_header(IN, 0);
	ck_assert_uint_eq(send_chain(bufs, 1, 61), IOERR);
	ck_assert_uint_eq(between.count[BLK_OP_READ], 0);
	ck_assert_uint_eq(request(IN, 9, 512), OK);
}
END_TEST

START_TEST(wrong_directions) /* Q13 */
{
	/* Data to be read into what the device may not write, and the reverse: nothing moves. */
	memset(driver_ptr(&d, data), 0xa5, 512);
	set_header(IN, 3);
	ck_assert_uint_eq(send_chain((const struct driver_buf[]){ { header, 16 }, { data, 512 }, { status, 1 } }, 2, 1), IOERR);
	ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, data), 0xa5);
	set_header(OUT, 3);
	ck_assert_uint_eq(send_chain((const struct driver_buf[]){ { header, 16 }, { data, 512 }, { status, 1 } }, 1, 2), IOERR);
	ck_assert_uint_eq(file_byte(3 * 512), 3);
	ck_assert_uint_eq(between.count[BLK_OP_READ] + between.count[BLK_OP_WRITE], 0);
	ck_assert_uint_eq(request(IN, 9, 512), OK);
}
END_TEST

START_TEST(reset_waits_for_the_host)
{
	for (int round = 0; round < 20; round++) {
		send_held(IN, 7);
		/* The answer comes while the reset waits. */
		release();
		driver_set(&d, R_STATUS, 0, 1);
		uint16_t used = __atomic_load_n(&d.queue[0].used[1], __ATOMIC_ACQUIRE);
		nap();
		ck_assert_uint_eq(__atomic_load_n(&d.queue[0].used[1], __ATOMIC_ACQUIRE), used);
		ck_assert(!blk_is_stuck(blk));
		d.next_free = 0x100000;
		driver_start(&d, DRIVER_ALL_FEATURES, 64);
		ck_assert_uint_eq(request(IN, 9, 512), OK);
	}
}
END_TEST

START_TEST(dead_storage)
{
	send_held(IN, 7);
	uint64_t before = clock_now_ns();
	driver_set(&d, R_STATUS, 0, 1);
	ck_assert_uint_eq(driver_status(&d), 0);
	uint64_t waited = (clock_now_ns() - before) / NSEC_PER_MSEC;
	ck_assert_uint_ge(waited, 250);
	ck_assert_uint_le(waited, 3000);
	ck_assert(blk_is_stuck(blk));
	ck_assert_uint_eq(between.cancels, 1);
	/* Not again: everybody knows by now. */
	before = clock_now_ns();
	driver_set(&d, R_STATUS, 0, 1);
	ck_assert_uint_le((clock_now_ns() - before) / NSEC_PER_MSEC, 100);
	/* No driver gets the device meanwhile. */
	ck_assert(driver_handshake(&d, DRIVER_ALL_FEATURES));
	driver_rings(&d, 0, 64);
	ck_assert(driver_enable(&d, 0));
	driver_set(&d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK, 1);
	ck_assert_uint_ne(driver_status(&d) & S_NEEDS_RESET, 0);
	/* It comes back late, is told to nobody, and the disk works. */
	memset(driver_ptr(&d, status), NOTHING, 1);
	release();
	for (int i = 0; i < 5000 && blk_is_stuck(blk); i++)
		nap();
	ck_assert(!blk_is_stuck(blk));
	ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, status), NOTHING);
	ck_assert_uint_eq(d.queue[0].used[1], 0);
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	ck_assert_uint_eq(request(IN, 9, 512), OK);
}
END_TEST

static _Atomic bool window_done;

static void *reset_by_window(void *unused)
{
	(void)unused;
	driver_config_write(&d, d.window_cap + 4, 0, 1);
	driver_config_write(&d, d.window_cap + 8, (uint32_t)(d.common - d.bar) + R_STATUS, 4);
	driver_config_write(&d, d.window_cap + 12, 1, 4);
	driver_config_write(&d, d.window_cap + 16, 0, 1);
	window_done = true;
	return NULL;
}

/* A vCPU that resets through config space waits alone: the bus is there for all others. */
START_TEST(reset_by_window_holds_nobody_up)
{
	pthread_t thread;
	disk.drain_ms = 3000;
	send_held(IN, 7);
	ck_assert_int_eq(pthread_create(&thread, NULL, reset_by_window, NULL), 0);
	for (int i = 0; i < 5000 && between.cancels == 0; i++)
		nap();
	ck_assert_uint_eq(between.cancels, 1);
	uint64_t before = clock_now_ns();
	ck_assert_uint_eq(driver_config_read(&d, 0, 2), 0x1af4);
	uint32_t address = 0x80000000, id;
	ck_assert(pci_port(d.bus, 0xcf8, &address, 4, true));
	ck_assert(pci_port(d.bus, 0xcfc, &id, 4, false));
	driver_get(&d, R_NUM_QUEUES, 2);
	ck_assert_uint_lt((clock_now_ns() - before) / NSEC_PER_MSEC, 1000);
	ck_assert(!window_done);
	pthread_join(thread, NULL);
	ck_assert(blk_is_stuck(blk));
	ck_assert_uint_eq(driver_status(&d), 0);
	release();
}
END_TEST

START_TEST(pause_drains) /* _i: the host answers before the deadline, or after it */
{
	struct virtio_device *device = blk_device(blk);
	send_held(IN, 7);
	if (_i == 0)
		release();
	pthread_mutex_lock(&device->lock);
	device->ops->pause(device);
	pthread_mutex_unlock(&device->lock);
	ck_assert_uint_eq(driver_wait(&d, 0, NULL, NULL, 10), _i == 0);
	if (_i == 1) {
		/* What comes too late is told at the resume. */
		release();
		ck_assert(!driver_wait(&d, 0, NULL, NULL, 50));
	}
	pthread_mutex_lock(&device->lock);
	device->ops->resume(device);
	pthread_mutex_unlock(&device->lock);
	if (_i == 1)
		ck_assert(driver_wait(&d, 0, NULL, NULL, 5000));
	ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, status), OK);
	ck_assert_uint_eq(request(IN, 9, 512), OK);
}
END_TEST

START_TEST(reset_while_paused)
{
	struct virtio_device *device = blk_device(blk);
	send_held(IN, 7);
	pthread_mutex_lock(&device->lock);
	device->ops->pause(device);
	pthread_mutex_unlock(&device->lock);
	release();
	nap();
	driver_set(&d, R_STATUS, 0, 1);
	ck_assert(!blk_is_stuck(blk));
	pthread_mutex_lock(&device->lock);
	device->ops->resume(device);
	pthread_mutex_unlock(&device->lock);
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	ck_assert_uint_eq(request(IN, 9, 512), OK);
}
END_TEST

START_TEST(failing_host) /* B7: one line when a kind of request begins to fail with an errno, and none while it goes on */
{
	catch_log();
	between.error[BLK_OP_WRITE] = ENOSPC;
	for (int i = 0; i < 50; i++)
		ck_assert_uint_eq(request(OUT, 5, 512), IOERR);
	/* Longer than the limit would be silent. */
	nanosleep(&(struct timespec){ .tv_sec = 1, .tv_nsec = 100000000 }, NULL);
	ck_assert_uint_eq(request(OUT, 5, 512), IOERR);
	between.error[BLK_OP_READ] = EIO;
	for (int i = 0; i < 20; i++)
		ck_assert_uint_eq(request(IN, 5, 512), IOERR);
	between.error[BLK_OP_ALLOCATE] = EIO;
	for (int i = 0; i < 20; i++)
		ck_assert_uint_eq(ranges(DISCARD, 10, 3, 0), IOERR);
	/* Another reason is news. That reads work again is no reason to speak of writes again. */
	between.error[BLK_OP_READ] = 0;
	ck_assert_uint_eq(request(IN, 5, 512), OK);
	ck_assert_uint_eq(request(OUT, 5, 512), IOERR);
	between.error[BLK_OP_WRITE] = EROFS;
	for (int i = 0; i < 20; i++)
		ck_assert_uint_eq(request(OUT, 5, 512), IOERR);
	char text[4096];
	caught_text(text, sizeof(text));
	ck_assert_uint_eq(count_text(text, "cannot write at byte 2560: No space left on device; the guest gets an I/O error; free space on its file system"), 1);
	ck_assert_uint_eq(count_text(text, "cannot read at byte 2560: Input/output error"), 1);
	ck_assert_uint_eq(count_text(text, "cannot discard at byte 5120: Input/output error"), 1);
	ck_assert_uint_eq(count_text(text, "cannot write at byte 2560: Read-only file system"), 1);
	ck_assert_uint_eq(count_text(text, "the guest gets an I/O error"), 4);
	ck_assert_uint_eq(count_text(text, "(50 more since"), 1);
	ck_assert_uint_eq(stats.disk_errors, 51 + 20 + 20 + 1 + 20);
	between.error[BLK_OP_WRITE] = between.error[BLK_OP_ALLOCATE] = 0;
	ck_assert_uint_eq(request(OUT, 5, 512), OK);
	ck_assert_uint_eq(request(IN, 5, 512), OK);
	ck_assert_uint_eq(driver_status(&d) & S_NEEDS_RESET, 0);
}
END_TEST

START_TEST(fails_again) /* B7: after it has worked again it is told again, and a disk that does both by turns does not fill the log */
{
	char text[4096];
	for (int times = 2; times <= 200; times += 198) {
		catch_log();
		uint64_t begin = clock_now_ns();
		for (int i = 0; i < times; i++) {
			between.error[BLK_OP_WRITE] = EIO;
			ck_assert_uint_eq(request(OUT, 5, 512), IOERR);
			ck_assert_uint_eq(request(OUT, 5, 512), IOERR);
			between.error[BLK_OP_WRITE] = 0;
			ck_assert_uint_eq(request(OUT, 5, 512), OK);
		}
		uint64_t seconds = (clock_now_ns() - begin) / NSEC_PER_SEC;
		caught_text(text, sizeof(text));
		uint32_t lines = count_text(text, "cannot write at byte 2560: Input/output error");
		ck_assert_uint_ge(lines, 2);
		if (times == 2)
			ck_assert_uint_eq(lines, 2);
		ck_assert_uint_le(lines, 5 + seconds + 1);
	}
}
END_TEST

START_TEST(flushes_that_fail)
{
	char text[4096];
	stop();
	start(&(struct disk_config){ .path = path, .cache = DISK_WRITETHROUGH }, DRIVER_ALL_FEATURES & ~F_CONFIG_WCE);
	catch_log();
	between.error[BLK_OP_FLUSH] = EIO;
	/* Of each request the write has worked and the flush has not: still one line. */
	for (int i = 0; i < 20; i++)
		ck_assert_uint_eq(ranges(WRITE_ZEROES, 10, 3, 0), IOERR);
	caught_text(text, sizeof(text));
	ck_assert_uint_eq(count_text(text, "cannot flush at byte 0: Input/output error"), 1);
	ck_assert_uint_eq(count_text(text, "the guest gets an I/O error"), 1);
	between.error[BLK_OP_FLUSH] = 0;
}
END_TEST

START_TEST(interrupted_and_short)
{
	/* In pieces of 700 bytes that end inside descriptors, every byte arrives once. */
	between.cut = 700;
	set_header(IN, 20);
	ck_assert_uint_eq(send_chain((const struct driver_buf[]){ { header, 16 }, { data, 100 }, { data + 100, 3000 }, { data + 3100, 996 }, { status, 1 } }, 1, 4), OK);
	for (int i = 0; i < 4096; i++)
		ck_assert_uint_eq(((uint8_t *)driver_ptr(&d, data))[i], 20 + i / 512);
	ck_assert_uint_eq(between.count[BLK_OP_READ], 6);
	for (int i = 0; i < 4096; i++)
		((uint8_t *)driver_ptr(&d, data))[i] = (uint8_t)(i / 16);
	ck_assert_uint_eq(request(OUT, 40, 4096), OK);
	ck_assert_uint_eq(between.count[BLK_OP_WRITE], 6);
	between.cut = 0;
	for (uint64_t i = 0; i < 4096; i += 61)
		ck_assert_uint_eq(file_byte(40 * 512 + i), (uint8_t)(i / 16));
	ck_assert_uint_eq(file_byte(48 * 512), 48);
	/* Over it lies what an overlay has written: it lands where it belongs, however the base came. */
	stop();
	start(&(struct disk_config){ .path = path, .overlay = true }, DRIVER_ALL_FEATURES);
	memset(driver_ptr(&d, data), 0xa5, 4096);
	ck_assert_uint_eq(request(OUT, 102, 512), OK);
	between.cut = 700;
	ck_assert_uint_eq(request(IN, 100, 4096), OK);
	between.cut = 0;
	for (int i = 0; i < 4096; i++)
		ck_assert_uint_eq(((uint8_t *)driver_ptr(&d, data))[i], i / 512 == 2 ? 0xa5 : 100 + i / 512);
}
END_TEST

static void resize_to(uint64_t size)
{
	ck_assert_int_eq(truncate(path, (off_t)size), 0);
	blk_resize(blk);
	for (int i = 0; i < 5000 && blk_size(blk) != size; i++)
		nap();
	ck_assert_uint_eq(blk_size(blk), size);
}

START_TEST(shrunk_under_a_read) /* the overlay's memory of what lies behind the new end is gone when the read comes back */
{
	stop();
	start(&(struct disk_config){ .path = path, .overlay = true }, DRIVER_ALL_FEATURES);
	resize_to(1ull << 30);
	send_held(IN, (1u << 21) - 1);
	resize_to(4096);
	/* The host has the bytes all the same: they were read before, or the file is long again. */
	ck_assert_int_eq(truncate(path, 1 << 30), 0);
	release();
	ck_assert(driver_wait(&d, 0, NULL, NULL, 5000));
	ck_assert_uint_eq(*(uint8_t *)driver_ptr(&d, status), IOERR);
	ck_assert_uint_eq(request(IN, 5, 512), OK);
}
END_TEST

START_TEST(flush_covers_what_was_done) /* B9 */
{
	/* Nothing written: nothing to do. */
	ck_assert_uint_eq(request(FLUSH, 0, 0), OK);
	ck_assert_uint_eq(between.count[BLK_OP_FLUSH], 0);
	ck_assert_uint_eq(request(OUT, 5, 512), OK);
	ck_assert_uint_eq(request(FLUSH, 0, 0), OK);
	ck_assert_uint_eq(between.count[BLK_OP_FLUSH], 1);
	ck_assert_uint_eq(request(FLUSH, 0, 0), OK);
	ck_assert_uint_eq(between.count[BLK_OP_FLUSH], 1);
	/* A write that ends after a flush began is not covered by it. */
	send_held(OUT, 6);
	between.keep = true;
	between.hold = false; /* the flush overtakes it, as none waits for the other */
	uint64_t status2 = driver_alloc(&d, 1), header2 = driver_alloc(&d, 16);
	memcpy(driver_ptr(&d, header2), &(struct { uint32_t type, reserved; uint64_t sector; }){ FLUSH, 0, 0 }, 16);
	driver_add(&d, 0, (const struct driver_buf[]){ { header2, 16 }, { status2, 1 } }, 1, 1);
	driver_kick(&d, 0);
	ck_assert(driver_wait(&d, 0, NULL, NULL, 5000));
	ck_assert_uint_eq(between.count[BLK_OP_FLUSH], 2);
	between.keep = false;
	release();
	ck_assert(driver_wait(&d, 0, NULL, NULL, 5000));
	ck_assert_uint_eq(request(FLUSH, 0, 0), OK);
	ck_assert_uint_eq(between.count[BLK_OP_FLUSH], 3);
	/* Ranges are writes, too. */
	ck_assert_uint_eq(ranges(WRITE_ZEROES, 10, 3, 0), OK);
	ck_assert_uint_eq(request(FLUSH, 0, 0), OK);
	ck_assert_uint_eq(between.count[BLK_OP_FLUSH], 4);
	/* What the page cache has lost stays lost, however often it is asked. */
	ck_assert_uint_eq(request(OUT, 5, 512), OK);
	between.error[BLK_OP_FLUSH] = EIO;
	ck_assert_uint_eq(request(FLUSH, 0, 0), IOERR);
	between.error[BLK_OP_FLUSH] = 0;
	ck_assert_uint_eq(request(FLUSH, 0, 0), IOERR);
}
END_TEST

START_TEST(durable_without_flush) /* B9, drivers that send none */
{
	/* Without VIRTIO_BLK_F_FLUSH each write is durable when it is done. */
	driver_start(&d, DRIVER_ALL_FEATURES & ~(F_FLUSH | F_CONFIG_WCE), 64);
	ck_assert_uint_eq(request(OUT, 5, 512), OK);
	ck_assert_uint_eq(between.durable, 1);
	ck_assert_uint_eq(ranges(WRITE_ZEROES, 10, 3, 0), OK);
	ck_assert_uint_eq(between.count[BLK_OP_FLUSH], 1);
	/* A driver that switches its cache off in between: what it wrote before becomes durable with the next write. */
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	ck_assert_uint_eq(request(OUT, 5, 512), OK);
	ck_assert_uint_eq(between.durable, 1);
	driver_write(&d, d.config + WRITEBACK_AT, 0, 1);
	ck_assert_uint_eq(request(OUT, 6, 512), OK);
	ck_assert_uint_eq(between.durable, 1);
	ck_assert_uint_eq(between.count[BLK_OP_FLUSH], 2);
	ck_assert_uint_eq(request(OUT, 7, 512), OK);
	ck_assert_uint_eq(between.durable, 2);
	ck_assert_uint_eq(between.count[BLK_OP_FLUSH], 2);
}
END_TEST

START_TEST(host_without_holes) /* B3 on file systems that can neither punch nor zero */
{
	between.error[BLK_OP_ALLOCATE] = EOPNOTSUPP;
	/* A hint that cannot be taken is no failure; zeros are written. */
	ck_assert_uint_eq(ranges(DISCARD, 10, 3, 0), OK);
	ck_assert_uint_eq(file_byte(10 * 512), 10);
	ck_assert_uint_eq(ranges(WRITE_ZEROES, 10, 300, 1), OK);
	ck_assert_uint_eq(file_byte(10 * 512 - 1), 9);
	for (uint64_t at = 10 * 512; at < 310 * 512; at += 511)
		ck_assert_uint_eq(file_byte(at), 0);
	ck_assert_uint_eq(file_byte(310 * 512), 310 & 0xff);
	/* Each way was tried once and no more. */
	uint32_t tried = between.count[BLK_OP_ALLOCATE];
	ck_assert_uint_eq(tried, 2);
	ck_assert_uint_eq(ranges(WRITE_ZEROES, 400, 3, 0), OK);
	ck_assert_uint_eq(between.count[BLK_OP_ALLOCATE], tried);
	ck_assert_uint_eq(file_byte(401 * 512), 0);
}
END_TEST

START_TEST(end_on_dead_storage)
{
	/* The last flush never returns: the end comes all the same. */
	ck_assert_uint_eq(request(OUT, 5, 512), OK);
	between.hold = true;
	driver_detach(&d);
	uint64_t before = clock_now_ns();
	blk_destroy(blk);
	ck_assert_uint_le((clock_now_ns() - before) / NSEC_PER_MSEC, 3000);
	ck_assert_uint_ge(between.held, 1);
	unlink(path);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("blk-faults");
	TCase *tc = tcase_create("faults");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, head_in_flight_twice);
	tcase_add_test(tc, chain_far_above_memory);
	tcase_add_test(tc, wrong_directions);
	tcase_add_test(tc, reset_waits_for_the_host);
	tcase_add_test(tc, dead_storage);
	tcase_add_test(tc, reset_by_window_holds_nobody_up);
	tcase_add_loop_test(tc, pause_drains, 0, 2);
	tcase_add_test(tc, reset_while_paused);
	tcase_add_test(tc, failing_host);
	tcase_add_test(tc, fails_again);
	tcase_add_test(tc, flushes_that_fail);
	tcase_add_test(tc, interrupted_and_short);
	tcase_add_test(tc, shrunk_under_a_read);
	tcase_add_test(tc, flush_covers_what_was_done);
	tcase_add_test(tc, durable_without_flush);
	tcase_add_test(tc, host_without_holes);
	suite_add_tcase(suite, tc);
	TCase *end = tcase_create("end");
	tcase_add_checked_fixture(end, setup, NULL);
	tcase_add_test(end, end_on_dead_storage);
	suite_add_tcase(suite, end);
	return suite;
}

UNIT_MAIN(make_suite)
