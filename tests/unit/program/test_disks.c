/*
 * Several disks whose host never answers: a reset of the machine and its end wait for all of them together, not for one after the other. The
 * linker puts an engine before the real one that keeps what it shall keep for ever (meson.build).
 */
#include "../virtio/blk_fixture.h"
#include "machine_devices.h"
#include "unit.h"
#include "virtio/blk_engine.h"

#define DISKS 3
#define WAIT_MS 1500u

struct blk_engine *__real_blk_uring_create(const struct blk_engine_config *config);
struct blk_engine *__wrap_blk_uring_create(const struct blk_engine_config *config);

struct deaf {
	struct blk_engine engine;
	struct blk_engine *real;
};

static _Atomic bool keeps[4]; /* by code */
static _Atomic uint32_t kept, cancels;

static void deaf_submit(struct blk_engine *engine, struct blk_op *op)
{
	struct deaf *deaf = container_of(engine, struct deaf, engine);
	if (keeps[op->code])
		kept++;
	else
		deaf->real->ops->submit(deaf->real, op);
}

static void deaf_wait(struct blk_engine *engine, int64_t timeout_ns, struct blk_events *events)
{
	struct deaf *deaf = container_of(engine, struct deaf, engine);
	deaf->real->ops->wait(deaf->real, timeout_ns, events);
}

static void deaf_cancel(struct blk_engine *engine)
{
	struct deaf *deaf = container_of(engine, struct deaf, engine);
	cancels++;
	deaf->real->ops->cancel(deaf->real);
}

static int deaf_start(struct blk_engine *engine)
{
	struct deaf *deaf = container_of(engine, struct deaf, engine);
	return deaf->real->ops->start(deaf->real);
}

static void deaf_destroy(struct blk_engine *engine)
{
	struct deaf *deaf = container_of(engine, struct deaf, engine);
	deaf->real->ops->destroy(deaf->real);
	free(deaf);
}

static const struct blk_engine_ops deaf_ops = {
	.start = deaf_start, .submit = deaf_submit, .wait = deaf_wait, .cancel = deaf_cancel, .destroy = deaf_destroy,
};

struct blk_engine *__wrap_blk_uring_create(const struct blk_engine_config *config)
{
	struct deaf *deaf = calloc(1, sizeof(*deaf));
	ck_assert_ptr_nonnull(deaf);
	deaf->real = __real_blk_uring_create(config);
	if (deaf->real == NULL)
		deaf->real = blk_pool_create(config); /* io_uring is forbidden */
	ck_assert_ptr_nonnull(deaf->real);
	deaf->engine = (struct blk_engine){ .ops = &deaf_ops, .syscalls = config->syscalls };
	return &deaf->engine;
}

/* --- a machine of nothing but disks ------------------------------------------------------------------------------------------ */

static struct machine_devices devices;
static struct disk open_disk[DISKS];
static struct driver driver[DISKS];
static char file[DISKS][sizeof(path)];

/* Each has been asked for `type`, which the host keeps or not. */
static void open_disks(uint32_t type)
{
	char error[256] = "";
	for (uint32_t i = 0; i < DISKS; i++) {
		struct driver *own = &driver[i];
		make_file();
		memcpy(file[i], path, sizeof(path));
		driver_init(own, 16 << 20);
		ck_assert_msg(disk_open(&open_disk[i], &(struct disk_config){ .path = path }, error, sizeof(error)) == 0, "%s", error);
		open_disk[i].drain_ms = WAIT_MS;
		devices.disk[i] = blk_create(&own->memory, &open_disk[i], NULL, error, sizeof(error));
		ck_assert_msg(devices.disk[i] != NULL, "%s", error);
		driver_attach(own, blk_device(devices.disk[i]), 0x010000);
		driver_start(own, DRIVER_ALL_FEATURES, 64);
		devices.device[devices.n++] = (struct machine_device){ own->device, own->transport, true };

		uint32_t before = kept;
		uint64_t head = driver_alloc(own, 16), bytes = driver_alloc(own, 512), end = driver_alloc(own, 1);
		memcpy(driver_ptr(own, head), &(struct { uint32_t type, reserved; uint64_t sector; }){ type, 0, 7 }, 16);
		driver_add(own, 0, (const struct driver_buf[]){ { head, 16 }, { bytes, 512 }, { end, 1 } }, type == OUT ? 2 : 1, type == OUT ? 1 : 2);
		driver_kick(own, 0);
		if (!keeps[type == OUT ? BLK_OP_WRITE : BLK_OP_READ]) {
			ck_assert(driver_wait(own, 0, NULL, NULL, 5000));
			continue;
		}
		for (int n = 0; n < 5000 && kept == before; n++)
			nanosleep(&(struct timespec){ .tv_nsec = NSEC_PER_MSEC }, NULL);
		ck_assert_uint_eq(kept, before + 1);
	}
}

static uint64_t ms_since(uint64_t begin)
{
	return (clock_now_ns() - begin) / NSEC_PER_MSEC;
}

START_TEST(a_reset_waits_once)
{
	keeps[BLK_OP_READ] = true;
	open_disks(IN);
	uint64_t begin = clock_now_ns();
	machine_devices_reset(&devices);
	uint64_t took = ms_since(begin);
	for (uint32_t i = 0; i < DISKS; i++)
		ck_assert(blk_is_stuck(devices.disk[i]));
	ck_assert_uint_ge(took, WAIT_MS - 10);
	ck_assert_uint_lt(took, 2 * WAIT_MS);
	/* And each was told to give back what it can. */
	ck_assert_uint_eq(cancels, DISKS);
	/* What is given up is not waited for again. */
	begin = clock_now_ns();
	machine_devices_reset(&devices);
	ck_assert_uint_lt(ms_since(begin), WAIT_MS);
}
END_TEST

START_TEST(the_end_waits_once)
{
	/* In turn: for what the guest has asked for, and for the last flush. */
	keeps[BLK_OP_READ] = _i == 0;
	keeps[BLK_OP_FLUSH] = true;
	open_disks(_i == 0 ? IN : OUT);
	uint64_t begin = clock_now_ns();
	machine_devices_destroy(&devices);
	uint64_t took = ms_since(begin);
	ck_assert_uint_ge(took, WAIT_MS - 10);
	ck_assert_uint_lt(took, 2 * WAIT_MS);
	ck_assert_uint_eq(kept, DISKS);
}
END_TEST

static void remove_files(void)
{
	for (uint32_t i = 0; i < DISKS; i++)
		unlink(file[i]);
}

static Suite *make_suite(void)
{
	Suite *s = suite_create("disks");
	TCase *c = tcase_create("dead");
	/* Its own process each: what waits for the host stays behind in it. */
	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, NULL, remove_files);
	tcase_add_test(c, a_reset_waits_once);
	tcase_add_loop_test(c, the_end_waits_once, 0, 2);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(make_suite)
