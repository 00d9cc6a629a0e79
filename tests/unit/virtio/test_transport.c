/* The transport rows of the hostile guest: registers, notifications, resets and BARs of a device that echoes. */
#include <stdatomic.h>

#include "echo.h"

START_TEST(queue_registers_are_locked) /* Q7 */
{
	driver_start(&d, DRIVER_ALL_FEATURES, 32);
	driver_select(&d, 0);
	uint64_t desc = driver_get(&d, R_QUEUE_DESC, 8);
	ck_assert_uint_eq(desc, d.queue[0].desc_gpa);
	driver_set(&d, R_QUEUE_SIZE, 16, 2);
	driver_set(&d, R_QUEUE_DESC, 0xdead0000, 8);
	driver_set(&d, R_QUEUE_DRIVER, 0xdead0000, 4);
	driver_set(&d, R_QUEUE_DEVICE + 4, 0xdead0000, 4);
	driver_set(&d, R_QUEUE_ENABLE, 0, 2);
	ck_assert_uint_eq(driver_get(&d, R_QUEUE_SIZE, 2), 32);
	ck_assert_uint_eq(driver_get(&d, R_QUEUE_DESC, 8), desc);
	ck_assert_uint_eq(driver_get(&d, R_QUEUE_DRIVER, 8), d.queue[0].avail_gpa);
	ck_assert_uint_eq(driver_get(&d, R_QUEUE_DEVICE, 8), d.queue[0].used_gpa);
	ck_assert_uint_eq(driver_get(&d, R_QUEUE_ENABLE, 2), 1);
	/* Features too. */
	driver_set(&d, R_DRIVER_FEATURE_SELECT, 0, 4);
	driver_set(&d, R_DRIVER_FEATURE, 0, 4);
	ck_assert_uint_eq(driver_get(&d, R_DRIVER_FEATURE, 4), EVENT_IDX | ECHO_FEATURE);
	assert_works();

	/* A queue that was not enabled before DRIVER_OK stays off. */
	ck_assert(driver_handshake(&d, DRIVER_ALL_FEATURES));
	driver_rings(&d, 0, 32);
	driver_set(&d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK, 1);
	ck_assert(!driver_enable(&d, 0));
}
END_TEST

START_TEST(queue_sizes_and_places) /* Q7 */
{
	ck_assert(driver_handshake(&d, DRIVER_ALL_FEATURES));
	driver_select(&d, 0);
	const uint16_t bad[] = { 0, 3, 63, 65, 128, 0x8000, 0xffff };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		driver_set(&d, R_QUEUE_SIZE, bad[i], 2);
		ck_assert_uint_eq(driver_get(&d, R_QUEUE_SIZE, 2), 64);
	}
	const struct {
		uint64_t desc, avail, used;
	} place[] = {
		{ 0x10008, 0x20000, 0x30000 }, { 0x10000, 0x20001, 0x30000 }, { 0x10000, 0x20000, 0x30002 },
		{ RAM, 0x20000, 0x30000 }, { RAM - 16, 0x20000, 0x30000 }, { 0x10000, RAM - 4, 0x30000 },
		{ 0x10000, 0x20000, RAM - 8 * 64 - 4 }, { UINT64_MAX - 15, 0x20000, 0x30000 }, { 0x10000, 0x800000000, 0x30000 },
	};
	for (size_t i = 0; i < ARRAY_LEN(place); i++) {
		d.queue[0] = (struct driver_queue){ .size = 64, .desc_gpa = place[i].desc, .avail_gpa = place[i].avail, .used_gpa = place[i].used };
		ck_assert_msg(!driver_enable(&d, 0), "place %zu", i);
	}
	/* The event fields are part of the ring: one that ends exactly at the end of RAM fits. */
	d.queue[0] = (struct driver_queue){ .size = 64, .desc_gpa = 0x10000, .avail_gpa = 0x20000, .used_gpa = RAM - 8 * 64 - 8 };
	ck_assert(driver_enable(&d, 0));
}
END_TEST

START_TEST(early_and_stray_notifications) /* Q8 */
{
	for (int i = 0; i < 4; i++)
		driver_kick(&d, (uint32_t)i); /* queues 2 and 3 do not exist */
	driver_run(&d, 0);
	driver_run(&d, 1);
	for (uint32_t offset = 0; offset < 0x1000; offset += 2) {
		uint64_t value = UINT64_MAX;
		pci_mmio(d.bus, d.notify + offset, &value, 8, true); /* the slow path */
	}
	ck_assert_uint_eq(driver_status(&d), 0);
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	assert_works();
	/* The slow path signals the same eventfd. */
	uint64_t count, value = 0;
	while (read(echo.device.kick_fd[0], &count, 8) == 8)
		;
	pci_mmio(d.bus, d.notify, &value, 2, true);
	ck_assert_int_eq(read(echo.device.kick_fd[0], &count, 8), 8);
	ck_assert_uint_eq(count, 1);
	/* Chains made available before DRIVER_OK are found: it kicks enabled queues. */
	ck_assert(driver_handshake(&d, DRIVER_ALL_FEATURES));
	driver_rings(&d, 0, 64);
	ck_assert(driver_enable(&d, 0));
	driver_set(&d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK, 1);
	ck_assert_int_eq(read(echo.device.kick_fd[0], &count, 8), 8);
}
END_TEST

START_TEST(selectors_and_vectors_out_of_range) /* Q9 */
{
	ck_assert(driver_handshake(&d, DRIVER_ALL_FEATURES));
	ck_assert_uint_eq(driver_get(&d, R_NUM_QUEUES, 2), 2);
	for (uint32_t select = 2; select < 0x10000; select = select * 2 + 1) {
		driver_select(&d, select);
		ck_assert_uint_eq(driver_get(&d, R_QUEUE_SIZE, 2), 0);
		ck_assert_uint_eq(driver_get(&d, R_QUEUE_ENABLE, 2), 0);
		ck_assert_uint_eq(driver_get(&d, R_QUEUE_DESC, 8), 0);
		ck_assert_uint_eq(driver_get(&d, R_QUEUE_VECTOR, 2), 0xffff);
		driver_set(&d, R_QUEUE_SIZE, 8, 2);
		driver_set(&d, R_QUEUE_VECTOR, 0, 2);
		driver_set(&d, R_QUEUE_DESC, 4096, 8);
		driver_set(&d, R_QUEUE_ENABLE, 1, 2);
	}
	driver_select(&d, 0);
	ck_assert_uint_eq(driver_get(&d, R_QUEUE_SIZE, 2), 64);
	ck_assert_uint_eq(driver_get(&d, R_QUEUE_DESC, 8), 0);
	const uint32_t vectors[] = { 3, 16, 17, 2047, 0xfffe, 0xffff };
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		driver_set(&d, R_QUEUE_VECTOR, 2, 2);
		ck_assert_uint_eq(driver_get(&d, R_QUEUE_VECTOR, 2), 2);
		driver_set(&d, R_QUEUE_VECTOR, vectors[i], 2);
		ck_assert_uint_eq(driver_get(&d, R_QUEUE_VECTOR, 2), 0xffff);
		driver_set(&d, R_CONFIG_VECTOR, 1, 2);
		driver_set(&d, R_CONFIG_VECTOR, vectors[i], 2);
		ck_assert_uint_eq(driver_get(&d, R_CONFIG_VECTOR, 2), 0xffff);
	}
	for (uint32_t select = 2; select < 6; select++) {
		driver_set(&d, R_DEVICE_FEATURE_SELECT, select, 4);
		ck_assert_uint_eq(driver_get(&d, R_DEVICE_FEATURE, 4), 0);
	}
}
END_TEST

START_TEST(odd_accesses) /* Q10 */
{
	ck_assert_uint_eq(driver_read(&d, d.config, 8), 0x4847464544434241ull);
	ck_assert_uint_eq(driver_read(&d, d.config + 7, 1), 'H');
	ck_assert_uint_eq(driver_read(&d, d.config + 7, 2), 0); /* past the end */
	ck_assert_uint_eq(driver_read(&d, d.config + 4, 8), 0);
	ck_assert_uint_eq(driver_read(&d, d.config + 8, 1), 0);
	ck_assert_uint_eq(driver_read(&d, d.config + 0xfff, 4), 0);
	driver_write(&d, d.config + 5, UINT64_MAX, 8);
	driver_write(&d, d.config + 8, UINT64_MAX, 4);
	ck_assert_mem_eq(echo.config, "ABCDEFGH", 8);
	driver_write(&d, d.config + 5, 'x', 1);
	ck_assert_mem_eq(echo.config, "ABCDExGH", 8);
	/* Every width at every place of every region: nothing changes, the bus survives. Reads of wrong width are 0. */
	ck_assert(driver_handshake(&d, DRIVER_ALL_FEATURES));
	ck_assert_uint_eq(driver_get(&d, R_STATUS, 2), 0);
	ck_assert_uint_eq(driver_get(&d, R_STATUS, 4), 0);
	ck_assert_uint_eq(driver_get(&d, R_NUM_QUEUES + 1, 2), 0);
	ck_assert_uint_eq(driver_get(&d, R_QUEUE_DESC + 2, 4), 0);
	for (uint64_t offset = 0; offset < 0x8000; offset++)
		for (uint32_t size = 1; size <= 8; size *= 2)
			driver_read(&d, d.bar + offset, size);
	for (uint64_t offset = 0; offset < 0x8000; offset++)
		for (uint32_t size = 1; size <= 8; size *= 2)
			driver_write(&d, d.bar + offset, offset * 0x9e3779b97f4a7c15ull, size);
	driver_set(&d, R_STATUS, 0, 1);
	ck_assert_uint_eq(driver_status(&d), 0);
}
END_TEST

START_TEST(status_machine) /* Q14 */
{
	ck_assert_uint_eq(driver_offered(&d), ECHO_FEATURE | EVENT_IDX | VERSION_1);
	/* DRIVER_OK without FEATURES_OK. */
	driver_set(&d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_DRIVER_OK, 1);
	ck_assert_uint_eq(driver_status(&d), S_ACKNOWLEDGE | S_DRIVER);
	ck_assert(!echo.device.live);
	ck_assert_uint_eq(echo.activated, 0);
	/* A bit that is not offered; VERSION_1 missing; a bit beyond 63. */
	driver_set(&d, R_DRIVER_FEATURE_SELECT, 0, 4);
	driver_set(&d, R_DRIVER_FEATURE, ECHO_FEATURE | 1, 4);
	driver_set(&d, R_DRIVER_FEATURE_SELECT, 1, 4);
	driver_set(&d, R_DRIVER_FEATURE, 1, 4);
	driver_set(&d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK, 1);
	ck_assert_uint_eq(driver_status(&d), S_ACKNOWLEDGE | S_DRIVER);
	ck_assert(!driver_handshake(&d, ECHO_FEATURE));
	ck_assert_uint_eq(echo.device.driver_features, 0);
	driver_set(&d, R_STATUS, 0, 1);
	driver_set(&d, R_DRIVER_FEATURE_SELECT, 1, 4);
	driver_set(&d, R_DRIVER_FEATURE, 1, 4);
	driver_set(&d, R_DRIVER_FEATURE_SELECT, 2, 4);
	driver_set(&d, R_DRIVER_FEATURE, 1, 4);
	driver_set(&d, R_STATUS, S_FEATURES_OK, 1);
	ck_assert_uint_eq(driver_status(&d), 0);
	/* All bits at once work when the features are right; the driver cannot set NEEDS_RESET, nor clear a bit. */
	ck_assert(driver_handshake(&d, DRIVER_ALL_FEATURES));
	ck_assert_uint_eq(echo.device.driver_features, ECHO_FEATURE | EVENT_IDX | VERSION_1);
	driver_set(&d, R_STATUS, 0xff & ~S_FAILED, 1);
	ck_assert_uint_eq(driver_status(&d), S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
	driver_set(&d, R_STATUS, S_ACKNOWLEDGE, 1);
	ck_assert_uint_eq(driver_status(&d), S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
	ck_assert_uint_eq(echo.activated, 1);
	driver_set(&d, R_STATUS, S_FAILED, 1);
	ck_assert_uint_eq(driver_status(&d) & S_FAILED, S_FAILED);
}
END_TEST

START_TEST(reset_forgets)
{
	driver_start(&d, DRIVER_ALL_FEATURES, 32);
	assert_works();
	uint32_t resets = echo.resets;
	driver_set(&d, R_STATUS, 0, 1);
	ck_assert_uint_eq(echo.resets, resets + 1);
	ck_assert(!echo.device.live);
	driver_select(&d, 0);
	ck_assert_uint_eq(driver_get(&d, R_QUEUE_SIZE, 2), 64);
	ck_assert_uint_eq(driver_get(&d, R_QUEUE_ENABLE, 2), 0);
	ck_assert_uint_eq(driver_get(&d, R_QUEUE_DESC, 8), 0);
	ck_assert_uint_eq(driver_get(&d, R_QUEUE_VECTOR, 2), 0xffff);
	ck_assert_uint_eq(driver_get(&d, R_CONFIG_VECTOR, 2), 0xffff);
	ck_assert_uint_eq(driver_read(&d, d.isr, 1), 0);
	/* The old ring is dead. */
	const struct driver_buf buf = { page, 8 };
	uint16_t used = d.queue[0].used[1];
	driver_add(&d, 0, &buf, 1, 0);
	driver_kick(&d, 0);
	driver_run(&d, 0);
	ck_assert_uint_eq(d.queue[0].used[1], used);
	/* System reset does the same. */
	driver_start(&d, DRIVER_ALL_FEATURES, 32);
	virtio_pci_reset(d.transport);
	ck_assert_uint_eq(driver_status(&d), 0);
	ck_assert(!echo.device.live);
	ck_assert(!echo.device.queue[0].enabled);
}
END_TEST

START_TEST(config_change)
{
	driver_start(&d, DRIVER_ALL_FEATURES, 32);
	uint64_t generation = driver_get(&d, R_GENERATION, 1);
	driver_interrupts(&d, 0);
	pthread_mutex_lock(&echo.device.lock);
	virtio_notify_config(&echo.device);
	pthread_mutex_unlock(&echo.device.lock);
	ck_assert_uint_eq(driver_get(&d, R_GENERATION, 1), (generation + 1) & 0xff);
	ck_assert_uint_eq(driver_interrupts(&d, 0), 1);
	ck_assert_uint_eq(driver_read(&d, d.isr, 1), 2);
	/* No interrupt before DRIVER_OK. */
	ck_assert(driver_handshake(&d, DRIVER_ALL_FEATURES));
	driver_set(&d, R_CONFIG_VECTOR, 0, 2);
	pthread_mutex_lock(&echo.device.lock);
	virtio_notify_config(&echo.device);
	pthread_mutex_unlock(&echo.device.lock);
	ck_assert_uint_eq(driver_interrupts(&d, 0), 0);
	ck_assert_uint_eq(driver_read(&d, d.isr, 1), 0);
}
END_TEST

/* Where the guest's registers put the BAR; the test's addresses follow. */
static void move_bar(uint64_t gpa)
{
	driver_config_write(&d, 0x10, (uint32_t)gpa, 4);
	driver_config_write(&d, 0x14, (uint32_t)(gpa >> 32), 4);
	d.common += gpa - d.bar;
	d.notify += gpa - d.bar;
	d.config += gpa - d.bar;
	d.isr += gpa - d.bar;
	d.bar = gpa;
}

START_TEST(bar_moves_whole_or_not_at_all) /* P1 */
{
	/* A second device, whose BAR must not be covered. */
	struct echo neighbour = { 0 };
	ck_assert_int_eq(virtio_device_init(&neighbour.device, &echo_ops, "neighbour", VIRTIO_ID_RNG, 0, sizeof(neighbour.config), 2, 64, &d.memory), 0);
	struct virtio_pci *transport = virtio_pci_create(&neighbour.device, d.bus, DRIVER_SLOT + 1, 0x00ff00);
	ck_assert_ptr_nonnull(transport);
	uint64_t there = 0xc2000000, value = 6;
	pci_mmio(d.bus, DRIVER_ECAM + ((DRIVER_SLOT + 1) << 15) + 0x10, &there, 4, true);
	pci_mmio(d.bus, DRIVER_ECAM + ((DRIVER_SLOT + 1) << 15) + 0x14, &(uint32_t){ 0 }, 4, true);
	pci_mmio(d.bus, DRIVER_ECAM + ((DRIVER_SLOT + 1) << 15) + 4, &value, 2, true);
	driver_start(&d, DRIVER_ALL_FEATURES, 32);
	ck_assert_uint_eq(d.n_ioeventfds, 4);
	const uint64_t bad[] = {
		0, 0x8000, RAM - 0x8000, DRIVER_ECAM, 0xfec00000, 0xfee00000, there, 0xc0000000 - 0x8000, 0xd0000000, 0x800000000 - 0x8000,
		0x810000000, UINT64_MAX & ~0x7fffull,
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		/* From a good place straight to a bad one, decoding all the time. */
		uint64_t good = i & 1 ? 0xc1000000 : 0x801000000;
		move_bar(good);
		ck_assert_uint_eq(d.n_ioeventfds, 4);
		assert_works();
		move_bar(bad[i]);
		ck_assert_msg(d.n_ioeventfds == 2, "row %zu: %u ioeventfds", i, d.n_ioeventfds);
		for (uint32_t k = 0; k < 2; k++)
			ck_assert_msg(d.ioeventfd[k].fd == neighbour.device.kick_fd[0] || d.ioeventfd[k].fd == neighbour.device.kick_fd[1], "row %zu", i);
		/* What lies there is untouched and answers for itself. */
		uint64_t count, status = 0xff;
		if (bad[i] == there) {
			pci_mmio(d.bus, there + R_STATUS, &status, 1, false);
			ck_assert_uint_eq(status, 0);
		}
		while (read(echo.device.kick_fd[0], &count, 8) == 8)
			;
		if (bad[i] != DRIVER_ECAM)
			driver_kick(&d, 0);
		ck_assert_int_lt(read(echo.device.kick_fd[0], &count, 8), 0);
	}
	/* The neighbour leaves its place: ours is decoded there at once, ioeventfds and all. */
	move_bar(there);
	value = 0;
	pci_mmio(d.bus, DRIVER_ECAM + ((DRIVER_SLOT + 1) << 15) + 4, &value, 2, true);
	ck_assert_uint_eq(d.n_ioeventfds, 2);
	ck_assert_uint_eq(d.ioeventfd[0].gpa, d.notify);
	assert_works();
	virtio_pci_destroy(transport);
	virtio_device_finish(&neighbour.device);

	/* The kernel takes one ioeventfd and refuses the next: none remains, and everything works without. */
	d.ioeventfd_limit = 1;
	move_bar(0xc1000000);
	ck_assert_uint_eq(d.n_ioeventfds, 0);
	assert_works();
	d.ioeventfd_limit = 0;
	move_bar(0x801000000);
	ck_assert_uint_eq(d.n_ioeventfds, 2);
	assert_works();
}
END_TEST

START_TEST(bar_moves_take_ioeventfds_along) /* P1 */
{
	driver_start(&d, DRIVER_ALL_FEATURES, 32);
	ck_assert_uint_eq(d.n_ioeventfds, 2);
	ck_assert_uint_eq(d.ioeventfd[0].gpa, d.notify);
	uint64_t old = d.bar, moved = 0xc1000000;
	driver_config_write(&d, 4, 0, 2);
	ck_assert_uint_eq(d.n_ioeventfds, 0);
	driver_config_write(&d, 0x10, (uint32_t)moved, 4);
	driver_config_write(&d, 0x14, 0, 4);
	driver_config_write(&d, 4, 6, 2);
	ck_assert_uint_eq(d.n_ioeventfds, 2);
	d.common += moved - old;
	d.notify += moved - old;
	d.config += moved - old;
	d.isr += moved - old;
	d.bar = moved;
	ck_assert_uint_eq(d.ioeventfd[0].gpa, d.notify);
	assert_works();
	/* Without ioeventfds the slow path serves. */
	driver_config_write(&d, 4, 0, 2);
	d.refuse_ioeventfd = true;
	driver_config_write(&d, 4, 6, 2);
	ck_assert_uint_eq(d.n_ioeventfds, 0);
	assert_works();
	uint64_t count = 0;
	ck_assert_int_eq(read(echo.device.kick_fd[0], &count, 8), 8);
}
END_TEST

START_TEST(window_through_config_space)
{
	uint32_t cap = d.window_cap;
	driver_config_write(&d, cap + 4, 0, 1);
	driver_config_write(&d, cap + 8, 0x2000, 4);
	driver_config_write(&d, cap + 12, 4, 4);
	ck_assert_uint_eq(driver_config_read(&d, cap + 16, 4), 0x44434241);
	driver_config_write(&d, cap + 16, 0x7a7a7a7a, 4);
	ck_assert_mem_eq(echo.config, "zzzzEFGH", 8);
	driver_config_write(&d, cap + 8, R_STATUS, 4);
	driver_config_write(&d, cap + 12, 1, 4);
	driver_config_write(&d, cap + 16, S_ACKNOWLEDGE, 1);
	ck_assert_uint_eq(driver_status(&d), S_ACKNOWLEDGE);
	/* Outside the BAR, another BAR, unaligned, strange lengths: nothing happens. */
	const struct {
		uint32_t bar, offset, length;
	} bad[] = {
		{ 1, 0x2000, 4 }, { 0, 0x8000, 4 }, { 0, UINT32_MAX, 1 }, { 0, 0x2001, 2 }, { 0, 0x2000, 0 }, { 0, 0x2000, 3 },
		{ 0, 0x2000, 8 }, { 0, 0x2000, UINT32_MAX }, { 0, 0xfffffffc, 4 }, { 255, 0, 1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		driver_config_write(&d, cap + 4, bad[i].bar, 1);
		driver_config_write(&d, cap + 8, bad[i].offset, 4);
		driver_config_write(&d, cap + 12, bad[i].length, 4);
		driver_config_write(&d, cap + 16, 0, 4);
		driver_config_read(&d, cap + 16, 4);
		ck_assert_uint_eq(driver_status(&d), S_ACKNOWLEDGE);
		ck_assert_mem_eq(echo.config, "zzzzEFGH", 8);
	}
}
END_TEST

/* Q15: two vCPUs reset and start in a loop while the device's thread works and a third scribbles on the ring. */
static atomic_bool stop;

static void *vcpu(void *data)
{
	uint32_t seed = (uint32_t)(uintptr_t)data;
	while (!stop) {
		driver_set(&d, R_STATUS, 0, 1);
		driver_set(&d, R_DRIVER_FEATURE_SELECT, 1, 4);
		driver_set(&d, R_DRIVER_FEATURE, 1, 4);
		driver_set(&d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK, 1);
		driver_enable(&d, seed++ & 1);
		driver_set(&d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK, 1);
		driver_kick(&d, 0);
	}
	return NULL;
}

static void *scribbler(void *data)
{
	uint32_t seed = 12345;
	(void)data;
	while (!stop) {
		seed = seed * 1664525 + 1013904223;
		d.queue[0].desc[seed >> 28] = (struct driver_desc){ page + (seed & 0xfff), seed >> 20 & 0xff, (uint16_t)(seed >> 9 & 3), (uint16_t)(seed >> 12 & 15) };
		driver_offer(&d, 0, seed >> 16 & 15);
	}
	return NULL;
}

static void *worker(void *data)
{
	(void)data;
	while (!stop) {
		for (uint32_t i = 0; i < 2; i++) {
			uint64_t count;
			if (read(echo.device.kick_fd[i], &count, 8) == 8)
				while (!stop && echo.device.ops->run(&echo.device, i))
					;
		}
	}
	return NULL;
}

START_TEST(reset_and_start_from_two_vcpus)
{
	driver_rings(&d, 0, 16);
	driver_rings(&d, 1, 16);
	pthread_t thread[4];
	atomic_store(&stop, false);
	pthread_create(&thread[0], NULL, vcpu, (void *)1);
	pthread_create(&thread[1], NULL, vcpu, (void *)2);
	pthread_create(&thread[2], NULL, scribbler, NULL);
	pthread_create(&thread[3], NULL, worker, NULL);
	nanosleep(&(struct timespec){ .tv_nsec = 700000000 }, NULL);
	atomic_store(&stop, true);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_gt(echo.resets, 10);
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	assert_works();
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("transport");
	TCase *tc = tcase_create("transport");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, queue_registers_are_locked);
	tcase_add_test(tc, queue_sizes_and_places);
	tcase_add_test(tc, early_and_stray_notifications);
	tcase_add_test(tc, selectors_and_vectors_out_of_range);
	tcase_add_test(tc, odd_accesses);
	tcase_add_test(tc, status_machine);
	tcase_add_test(tc, reset_forgets);
	tcase_add_test(tc, config_change);
	tcase_add_test(tc, bar_moves_whole_or_not_at_all);
	tcase_add_test(tc, bar_moves_take_ioeventfds_along);
	tcase_add_test(tc, window_through_config_space);
	tcase_add_test(tc, reset_and_start_from_two_vcpus);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
