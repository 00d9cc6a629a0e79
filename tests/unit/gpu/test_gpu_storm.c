/*
 * All vCPUs at once against one device: registers, config space, the BAR's place, MSI-X, rings and commands, while the device's thread
 * works and the panel reads. Nothing may fall over, the panel must be able to accept every message, and afterwards the device must
 * be as good as new (teardown). Run under the thread sanitizer it also shows what is not locked.
 */
#include "fixture.h"

#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>

#define VCPUS 3
#define SLOT_BYTES 256
#define STORM_NS (1500 * NSEC_PER_MSEC)

/* The guest's writes into its own memory race with the device by nature: not for the sanitizer to see. */
#define GUEST_CPU __attribute__((no_sanitize("thread")))

static _Atomic bool over;
static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER; /* the guest's own, of its driver; it does not always take it */
static uint64_t pool_gpa; /* commands, then replies */

struct vcpu {
	pthread_t thread;
	uint32_t seed;
	uint64_t writes;
};

static uint32_t random32(struct vcpu *vcpu)
{
	vcpu->seed ^= vcpu->seed << 13;
	vcpu->seed ^= vcpu->seed >> 17;
	vcpu->seed ^= vcpu->seed << 5;
	return vcpu->seed;
}

static uint32_t below(struct vcpu *vcpu, uint32_t n)
{
	return random32(vcpu) % n;
}

/* A number that is small, at a limit, or anything. */
static uint32_t odd(struct vcpu *vcpu)
{
	static const uint32_t limits[] = { 0, 1, 64, 100, 400, 4096, 16384, 40000, 65536, 0x7fffffff, 0x80000000u, 0xffffffffu };
	return below(vcpu, 8) == 0 ? random32(vcpu) : limits[below(vcpu, below(vcpu, 4) == 0 ? ARRAY_LEN(limits) : 8)];
}

GUEST_CPU static void scribble_command(struct vcpu *vcpu, uint32_t slot)
{
	static const uint32_t types[] = {
		VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, VIRTIO_GPU_CMD_RESOURCE_UNREF, VIRTIO_GPU_CMD_SET_SCANOUT, VIRTIO_GPU_CMD_RESOURCE_FLUSH,
		VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING,
		VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, VIRTIO_GPU_CMD_SET_SCANOUT_BLOB, VIRTIO_GPU_CMD_UPDATE_CURSOR, VIRTIO_GPU_CMD_GET_EDID,
	};
	volatile uint32_t *words = driver_ptr(&f.d, pool_gpa + slot * SLOT_BYTES);
	if (below(vcpu, 3) == 0) {
		words[6 + below(vcpu, SLOT_BYTES / 4 - 6)] = odd(vcpu);
		return;
	}
	words[0] = types[below(vcpu, ARRAY_LEN(types))];
	words[1] = below(vcpu, 8) == 0;
	for (uint32_t i = 6; i < SLOT_BYTES / 4; i++)
		words[i] = 0;
	uint32_t id = 1 + below(vcpu, 4);
	/* Proper commands, so that pictures do reach the panel between the nonsense. */
	struct virtio_gpu_mem_entry entry = { 0x2000000, 40000, 0 };
	union {
		uint32_t word[SLOT_BYTES / 4];
		struct virtio_gpu_resource_create_2d create;
		struct virtio_gpu_resource_attach_backing attach;
		struct virtio_gpu_set_scanout scanout;
		struct virtio_gpu_resource_flush flush;
		struct virtio_gpu_transfer_to_host_2d transfer;
		struct virtio_gpu_resource_create_blob blob;
		struct virtio_gpu_set_scanout_blob scanout_blob;
		struct virtio_gpu_update_cursor cursor;
	} c = { 0 };
	const struct virtio_gpu_rect whole = { 0, 0, 100, 100 };
	switch (words[0]) {
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_2D:
		c.create = (struct virtio_gpu_resource_create_2d){ .resource_id = id, .format = 2, .width = id == 4 ? 64 : 100, .height = id == 4 ? 64 : 100 };
		break;
	case VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING:
		c.attach = (struct virtio_gpu_resource_attach_backing){ .resource_id = id, .nr_entries = 1 };
		memcpy(&c.attach + 1, &entry, sizeof entry);
		break;
	case VIRTIO_GPU_CMD_SET_SCANOUT:
		c.scanout = (struct virtio_gpu_set_scanout){ .r = whole, .scanout_id = below(vcpu, 5), .resource_id = below(vcpu, 4) };
		break;
	case VIRTIO_GPU_CMD_RESOURCE_FLUSH:
		c.flush = (struct virtio_gpu_resource_flush){ .r = whole, .resource_id = id };
		break;
	case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D:
		c.transfer = (struct virtio_gpu_transfer_to_host_2d){ .r = whole, .resource_id = id };
		break;
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB:
		c.blob = (struct virtio_gpu_resource_create_blob){ .resource_id = id, .blob_mem = 1, .nr_entries = 1, .size = 40000 };
		memcpy(&c.blob + 1, &entry, sizeof entry);
		break;
	case VIRTIO_GPU_CMD_SET_SCANOUT_BLOB:
		c.scanout_blob = (struct virtio_gpu_set_scanout_blob){ .r = whole, .scanout_id = below(vcpu, 5), .resource_id = id, .width = 100, .height = 100, .format = 2, .strides = { 400 } };
		break;
	case VIRTIO_GPU_CMD_UPDATE_CURSOR:
		c.cursor = (struct virtio_gpu_update_cursor){ .pos = { below(vcpu, 5), below(vcpu, 200), below(vcpu, 200), 0 }, .resource_id = below(vcpu, 5) };
		break;
	default:
		c.word[6] = id;
		break;
	}
	for (uint32_t i = 6; i < SLOT_BYTES / 4; i++)
		words[i] = c.word[i];
}

/* Makes a two-piece chain available, mostly as it should be done. False: the ring is full. */
GUEST_CPU static bool scribble_ring(struct vcpu *vcpu)
{
	uint32_t q = below(vcpu, 8) == 0;
	struct driver_queue *queue = &f.d.queue[q];
	bool mad = below(vcpu, 500) == 0;
	if (!mad)
		pthread_mutex_lock(&ring_lock);
	uint16_t index = ((volatile uint16_t *)queue->avail)[1], ahead = (uint16_t)(index - ((volatile uint16_t *)queue->used)[1]);
	if (!mad && ahead > 30) {
		/* A driver with all descriptors in use: it waits, or its device stopped and is started again. */
		pthread_mutex_unlock(&ring_lock);
		driver_write(&f.d, f.d.notify + q * f.d.notify_multiplier, q, 2);
		nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
		return false;
	}
	uint32_t slot = mad ? below(vcpu, 64) : index % 64;
	volatile struct driver_desc *desc = queue->desc;
	volatile uint16_t *avail = queue->avail;
	uint16_t at = (uint16_t)(2 * slot);
	scribble_command(vcpu, slot);
	desc[at].addr = pool_gpa + slot * SLOT_BYTES;
	desc[at].len = below(vcpu, 500) == 0 ? odd(vcpu) : SLOT_BYTES;
	desc[at].flags = below(vcpu, 1000) == 0 ? (uint16_t)odd(vcpu) : D_NEXT;
	desc[at].next = below(vcpu, 1000) == 0 ? (uint16_t)odd(vcpu) : (uint16_t)(at + 1);
	desc[at + 1].addr = pool_gpa + (64 + 8ull * slot) * SLOT_BYTES;
	desc[at + 1].len = 2048;
	desc[at + 1].flags = D_WRITE;
	avail[2 + avail[1] % queue->size] = at;
	avail[1] = below(vcpu, 1000) == 0 ? (uint16_t)odd(vcpu) : (uint16_t)(avail[1] + 1);
	if (!mad)
		pthread_mutex_unlock(&ring_lock);
	driver_write(&f.d, f.d.notify + q * f.d.notify_multiplier, q, 2);
	return true;
}

GUEST_CPU static void start_over(struct vcpu *vcpu)
{
	bool mad = below(vcpu, 4) == 0;
	if (!mad)
		pthread_mutex_lock(&ring_lock);
	driver_set(&f.d, R_STATUS, 0, 1);
	for (uint32_t q = 0; q < 2; q++) {
		f.d.queue[q].avail[1] = 0;
		f.d.queue[q].avail[0] = (uint16_t)below(vcpu, 2);
		f.d.queue[q].used[1] = 0;
	}
	static const uint8_t steps[] = { 0, 1, 3, 11, 15 };
	for (uint32_t i = 0; i < ARRAY_LEN(steps); i++) {
		if (steps[i] == 11)
			for (uint32_t half = 0; half < 2; half++) {
				driver_set(&f.d, R_DRIVER_FEATURE_SELECT, half, 4);
				driver_set(&f.d, R_DRIVER_FEATURE, half ? 1 : 1 << VIRTIO_GPU_F_EDID | 1 << VIRTIO_GPU_F_RESOURCE_BLOB, 4);
			}
		driver_set(&f.d, R_STATUS, steps[i], 1);
		for (uint32_t q = 0; steps[i] == 11 && q < 2; q++) {
			driver_set(&f.d, R_QUEUE_SELECT, q, 2);
			driver_set(&f.d, R_QUEUE_SIZE, f.d.queue[q].size, 2);
			driver_set(&f.d, R_QUEUE_DESC, f.d.queue[q].desc_gpa, 8);
			driver_set(&f.d, R_QUEUE_DRIVER, f.d.queue[q].avail_gpa, 8);
			driver_set(&f.d, R_QUEUE_DEVICE, f.d.queue[q].used_gpa, 8);
			driver_set(&f.d, R_QUEUE_ENABLE, 1, 2);
		}
	}
	if (!mad)
		pthread_mutex_unlock(&ring_lock);
}

static void *vcpu_storm(void *data)
{
	struct vcpu *vcpu = data;
	static const uint32_t sizes[] = { 1, 2, 4, 8 };
	while (!atomic_load(&over)) {
		vcpu->writes++;
		uint32_t kind = below(vcpu, 1000);
		if (kind < 900 && (scribble_ring(vcpu) || below(vcpu, 10) > 0))
			continue;
		if (kind < 900)
			kind = 999; /* it has waited for long enough: the driver starts its device again */
		if (kind < 930)
			driver_write(&f.d, f.d.bar + below(vcpu, 0x8000), odd(vcpu), sizes[below(vcpu, 4)]);
		else if (kind < 960)
			driver_read(&f.d, f.d.bar + below(vcpu, 0x8000), sizes[below(vcpu, 4)]);
		else if (kind < 970)
			driver_write(&f.d, f.d.bar + 0x4000 + below(vcpu, 48) / 4 * 4, below(vcpu, 2), 4); /* MSI-X table: masks */
		else if (kind < 975)
			driver_config_write(&f.d, below(vcpu, 256), odd(vcpu), sizes[below(vcpu, 3)]);
		else if (kind < 980)
			driver_config_write(&f.d, 4, below(vcpu, 2) ? 6 : 0, 2); /* decoding on and off */
		else if (kind < 985)
			driver_config_write(&f.d, 0x10, below(vcpu, 2) ? (uint32_t)f.d.bar : 0xd0000000u, 4);
		else if (kind < 990)
			driver_config_write(&f.d, f.d.window_cap + below(vcpu, 20), odd(vcpu), 4);
		else {
			driver_config_write(&f.d, 0x10, (uint32_t)f.d.bar, 4);
			driver_config_write(&f.d, 0x14, (uint32_t)(f.d.bar >> 32), 4);
			driver_config_write(&f.d, 4, 6, 2);
			start_over(vcpu);
		}
	}
	return NULL;
}

START_TEST(storm_from_all_vcpus)
{
	struct vcpu vcpu[VCPUS];
	pool_gpa = driver_alloc(&f.d, (64 + 8 * 64) * SLOT_BYTES);
	atomic_store(&over, false);
	for (uint32_t i = 0; i < VCPUS; i++) {
		vcpu[i] = (struct vcpu){ .seed = 12345 + 777 * i + 99991 * (uint32_t)_i };
		ck_assert_int_eq(pthread_create(&vcpu[i].thread, NULL, vcpu_storm, &vcpu[i]), 0);
	}
	/* The machine's thread, which is also the panel here: the link has one sender. */
	struct virtio_device *device = gpu_device(f.gpu);
	uint64_t end = clock_now_ns() + STORM_NS, longest = 0;
	for (uint64_t now; (now = clock_now_ns()) < end;) {
		for (uint32_t q = 0; q < 2; q++) {
			uint64_t count;
			if (read(device->kick_fd[q], &count, sizeof count) == sizeof count && device->ops->run(device, q))
				eventfd_write(device->kick_fd[q], 1);
		}
		/* Monitors come and go. */
		tell_display(now / 64 % LINK_MAX_HEADS, now / 1024 % 2 * 640, 480, 0);
		gpu_tick(f.gpu, now);
		panel();
		uint64_t took = clock_now_ns() - now;
		longest = took > longest ? took : longest;
	}
	atomic_store(&over, true);
	for (uint32_t i = 0; i < VCPUS; i++) {
		pthread_join(vcpu[i].thread, NULL);
		ck_assert_uint_gt(vcpu[i].writes, 0);
	}
	/* It was a storm on a device that worked, not on one that had stopped at the first nonsense. */
	ck_assert_uint_gt(f.frames, 4);
	/* A turn of the thread that also stops the VM. */
	ck_assert_uint_lt(longest, NSEC_PER_SEC);

	driver_config_write(&f.d, 0x10, (uint32_t)f.d.bar, 4);
	driver_config_write(&f.d, 0x14, (uint32_t)(f.d.bar >> 32), 4);
	driver_config_write(&f.d, 4, 6, 2);
	driver_set(&f.d, R_STATUS, 0, 1);
	ck_assert_uint_eq(driver_status(&f.d), 0);
	f.d.next_free = 0x3000000;
	driver_start(&f.d, DRIVER_ALL_FEATURES, 256);
	make_scanout(1, 100, 100);
	uint32_t before = f.frames;
	ck_assert_uint_eq(flush(1, (struct virtio_gpu_rect){ 0, 0, 100, 100 }), VIRTIO_GPU_RESP_OK_NODATA);
	ck_assert_uint_eq(f.frames, before + 1);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("gpu-storm");
	TCase *c = tcase_create("gpu-storm");
	tcase_add_checked_fixture(c, setup_extended, teardown);
	tcase_add_loop_test(c, storm_from_all_vcpus, 0, 2);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
