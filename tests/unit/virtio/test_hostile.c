/*
 * The rows of the hostile guest about rings and transport, against every device: each malformed chain on each queue stops that device, which
 * works again after its driver was loaded anew; and all of it from several threads at once.
 */
#include <dirent.h>
#include <malloc.h>
#include <sched.h>
#include <stdatomic.h>

#include "devices.h"
#include "unit.h"

static struct side side;
static uint64_t page;

static uint32_t open_files(void)
{
	uint32_t n = 0;
	DIR *dir = opendir("/proc/self/fd");
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

/* Waits until the device stopped. */
static bool stops(void)
{
	for (int i = 0; i < 5000; i++) {
		side_turn(&side);
		if (driver_status(&side.d) & S_NEEDS_RESET)
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return false;
}

/* Q1 Q3 Q4 Q5 Q6 Q13: what is in descriptors 0 and 1, which head is made available, and how far the index goes. */
static const struct {
	const char *what;
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next, flags1;
	uint16_t head, ahead;
} bad_ring[] = {
	{ "Q1 zero length", 0x10000, 0, 0, 0, 0, 0, 1 },
	{ "Q1 loop on itself", 0x10000, 8, D_NEXT, 0, 0, 0, 1 },
	{ "Q1 loop of two", 0x10000, 8, D_NEXT, 1, D_NEXT, 0, 1 },
	{ "Q3 outside RAM", RAM, 8, 0, 0, 0, 0, 1 },
	{ "Q3 crosses the end", RAM - 4, 8, 0, 0, 0, 0, 1 },
	{ "Q3 wraps", UINT64_MAX - 3, 8, 0, 0, 0, 0, 1 },
	{ "Q3 the device's own registers", 0x800000000, 8, D_WRITE, 0, 0, 0, 1 },
	{ "Q3 the configuration window", DRIVER_ECAM, 8, D_WRITE, 0, 0, 0, 1 },
	{ "Q3 second descriptor outside RAM", 0x10000, 8, D_NEXT, 1, 0x8000, 0, 1 },
	{ "Q4 indirect, fits", 0x10000, 32, D_INDIRECT, 0, 0, 0, 1 },
	{ "Q4 indirect, size 0", 0x10000, 0, D_INDIRECT, 0, 0, 0, 1 },
	{ "Q4 indirect, not a multiple of 16", 0x10000, 17, D_INDIRECT, 0, 0, 0, 1 },
	{ "Q4 indirect, larger than the queue", 0x10000, 16 * 65536, D_INDIRECT, 0, 0, 0, 1 },
	{ "Q4 indirect and next", 0x10000, 32, D_INDIRECT | D_NEXT, 1, 0, 0, 1 },
	{ "Q4 indirect second", 0x10000, 32, D_NEXT, 1, D_INDIRECT, 0, 1 },
	{ "Q5 next is the size", 0x10000, 8, D_NEXT, 64, 0, 0, 1 },
	{ "Q5 next is huge", 0x10000, 8, D_NEXT, 0xffff, 0, 0, 1 },
	{ "Q5 head is the size", 0x10000, 8, 0, 0, 0, 64, 1 },
	{ "Q5 head is huge", 0x10000, 8, 0, 0, 0, 0xffff, 1 },
	{ "Q6 index too far ahead", 0x10000, 8, 0, 0, 0, 0, 65 },
	{ "Q6 index behind", 0x10000, 8, 0, 0, 0, 0, 0xffff },
	{ "Q13 readable after writable", 0x10000, 8, D_NEXT | D_WRITE, 1, 0, 0, 1 },
};

START_TEST(malformed_ring)
{
	make(&side, (enum kind)_i);
	page = driver_alloc(&side.d, 4096);
	uint64_t rings = side.d.next_free;
	uint32_t files = open_files();
	for (size_t row = 0; row < ARRAY_LEN(bad_ring); row++) {
		for (uint32_t queue = 0; queue < side.device->n_queues; queue++) {
			if (!(side.takes >> queue & 1))
				continue;
			side.d.next_free = rings;
			driver_start(&side.d, DRIVER_ALL_FEATURES, 64);
			struct driver_queue *q = &side.d.queue[queue];
			q->desc[0] = (struct driver_desc){ bad_ring[row].addr, bad_ring[row].len, bad_ring[row].flags, bad_ring[row].next };
			q->desc[1] = (struct driver_desc){ page, 16, bad_ring[row].flags1 & 0xff, 0 };
			if (bad_ring[row].flags1 & 0x8000)
				q->desc[1].addr = RAM;
			q->avail[2] = bad_ring[row].head;
			q->avail[1] = bad_ring[row].ahead;
			driver_interrupts(&side.d, 0);
			driver_kick(&side.d, queue);
			ck_assert_msg(stops(), "%s, queue %u: goes on after %s", side.device->name, queue, bad_ring[row].what);
			ck_assert_uint_eq(driver_interrupts(&side.d, 0), 1);
			/* Stopped for good: neither this ring nor another is touched. */
			for (uint32_t i = 0; i < side.device->n_queues; i++)
				driver_kick(&side.d, i);
			for (int i = 0; i < 3; i++)
				side_turn(&side);
			for (uint32_t i = 0; i < side.device->n_queues; i++)
				ck_assert_uint_eq(side.d.queue[i].used[1], 0);
			ck_assert_uint_eq(driver_interrupts(&side.d, 0), 0);
			/* DRIVER_OK again is no way out; a reset is. */
			driver_set(&side.d, R_STATUS, 15, 1);
			ck_assert_uint_eq(driver_status(&side.d), 15 | S_NEEDS_RESET);
		}
		side.d.next_free = rings;
		assert_serves(&side);
	}
	ck_assert_uint_eq(open_files(), files);
	destroy(&side);
}
END_TEST

/* Input's event queue is only looked at when there is an event. */
START_TEST(malformed_event_queue)
{
	make(&side, (enum kind)(KEYBOARD + _i));
	page = driver_alloc(&side.d, 4096);
	uint64_t rings = side.d.next_free;
	for (size_t row = 0; row < ARRAY_LEN(bad_ring); row++) {
		side.d.next_free = rings;
		driver_start(&side.d, DRIVER_ALL_FEATURES, 64);
		struct driver_queue *q = &side.d.queue[0];
		q->desc[0] = (struct driver_desc){ bad_ring[row].addr, bad_ring[row].len, bad_ring[row].flags, bad_ring[row].next };
		q->desc[1] = (struct driver_desc){ page, 16, bad_ring[row].flags1 & 0xff, 0 };
		if (bad_ring[row].flags1 & 0x8000)
			q->desc[1].addr = RAM;
		for (int i = 0; i < 4; i++)
			q->avail[2 + i] = bad_ring[row].head;
		q->avail[1] = bad_ring[row].ahead == 1 ? 4 : bad_ring[row].ahead;
		driver_kick(&side.d, 0);
		side_turn(&side);
		side_press(&side, true);
		ck_assert_msg(stops(), "goes on after %s", bad_ring[row].what);
		/* Keys go on coming, and go nowhere. */
		side_press(&side, false);
		ck_assert_uint_eq(q->used[1], 0);
	}
	side.d.next_free = rings;
	assert_serves(&side);
	destroy(&side);
}
END_TEST

/* Q2: every entry of the ring is the same head, of a chain that takes time (disk), and at the others of one that takes none. */
START_TEST(same_head_many_times)
{
	make(&side, (enum kind)_i);
	page = driver_alloc(&side.d, 1 << 20);
	uint64_t rings = side.d.next_free;
	for (int round = 0; round < 20; round++) {
		for (uint32_t queue = 0; queue < side.device->n_queues; queue++) {
			side.d.next_free = rings;
			driver_start(&side.d, DRIVER_ALL_FEATURES, 64);
			struct driver_queue *q = &side.d.queue[queue];
			const struct driver_buf bufs[] = { { page, 16 }, { page + 4096, 512 * 256 }, { page + 1024, 1 } };
			memset(driver_ptr(&side.d, page), 0, 16);
			uint16_t head = driver_add(&side.d, queue, bufs, 1, 2);
			for (int i = 0; i < 60; i++)
				driver_offer(&side.d, queue, head);
			driver_kick(&side.d, queue);
			for (int i = 0; i < 5; i++)
				side_turn(&side);
			/* Returned as often as taken, and never more often than offered, wherever it ends. */
			for (int i = 0; side.own_thread && i < 100 && !(driver_status(&side.d) & S_NEEDS_RESET) && (uint16_t)(q->used[1]) < 61; i++)
				nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
			ck_assert_uint_le(__atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE), 61);
			/* A disk takes many at a time, so the second is found while the first is in flight. */
			ck_assert(_i != BLK || (driver_status(&side.d) & S_NEEDS_RESET));
			uint32_t id;
			while (driver_used(&side.d, queue, &id, NULL))
				ck_assert_uint_eq(id, head);
		}
	}
	side.d.next_free = rings;
	assert_serves(&side);
	destroy(&side);
}
END_TEST

/* Q12 and Q13: well-formed chains that make no sense. All are answered or end in a reset; nothing is allocated by what they claim. */
START_TEST(senseless_chains)
{
	make(&side, (enum kind)_i);
	page = driver_alloc(&side.d, 4096);
	uint64_t rings = side.d.next_free;
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
	for (int shape = 0; shape < 6; shape++) {
		for (uint32_t queue = 0; queue < side.device->n_queues; queue++) {
			if (!(side.takes >> queue & 1))
				continue;
			side.d.next_free = rings;
			driver_start(&side.d, DRIVER_ALL_FEATURES, 64);
			struct driver_queue *q = &side.d.queue[queue];
			for (uint16_t i = 0; i < 64; i++) {
				bool write = shape == 1 || shape == 3 || (shape >= 4 && i >= 32);
				/* One byte; all of RAM 64 times; the rings themselves. */
				uint64_t at = shape < 2 ? page + i : shape == 5 ? q->desc_gpa : 0;
				uint32_t length = shape < 2 ? 1 : shape == 5 ? 16 : (uint32_t)RAM;
				if (shape == 4 || shape == 3)
					at = 1 << 20, length = 15 << 20; /* behind the rings: the guest's own business, but this test needs them */
				q->desc[i] = (struct driver_desc){ at, length, (uint16_t)((write && shape != 5 ? D_WRITE : 0) | (i < 63 ? D_NEXT : 0)), (uint16_t)(i + 1) };
			}
			driver_offer(&side.d, queue, 0);
			driver_kick(&side.d, queue);
			bool answered = false;
			for (int i = 0; i < 5000 && !answered && !(driver_status(&side.d) & S_NEEDS_RESET); i++)
				answered = side_wait(&side, queue, NULL, 2);
			ck_assert_msg(answered || (driver_status(&side.d) & S_NEEDS_RESET), "%s, queue %u: no answer to shape %d", side.device->name, queue, shape);
		}
	}
	size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
	ck_assert_msg(after < before + (8 << 20), "%s: %zu bytes more", side.device->name, after - before);
	side.d.next_free = rings;
	assert_serves(&side);
	destroy(&side);
}
END_TEST

static atomic_bool stop;
static atomic_uint rounds;

/* Q11: refills for ever. */
static void *refill(void *data)
{
	struct driver_queue *q = data;
	uint32_t queue = (uint32_t)(q - side.d.queue);
	while (!stop) {
		uint16_t used = __atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE);
		__atomic_store_n(&q->avail[1], (uint16_t)(used + 16), __ATOMIC_RELEASE);
		driver_kick(&side.d, queue);
		rounds++;
	}
	return NULL;
}

static void *turn_for_ever(void *data)
{
	(void)data;
	while (!stop)
		side_turn(&side);
	return NULL;
}

/* Side by side, where there are two CPUs: in turns, the device would find an end. */
static void run_on(pthread_t thread, unsigned nth)
{
	cpu_set_t all, one;
	CPU_ZERO(&one);
	sched_getaffinity(0, sizeof(all), &all);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &all) && nth-- == 0) {
			CPU_SET(cpu, &one);
			pthread_setaffinity_np(thread, sizeof(one), &one);
			return;
		}
	}
}

START_TEST(available_index_that_never_ends) /* Q11 */
{
	make(&side, (enum kind)_i);
	page = driver_alloc(&side.d, 1 << 20);
	uint64_t rings = side.d.next_free;
	for (uint32_t queue = 0; queue < side.device->n_queues; queue++) {
		if (!(side.takes >> queue & 1))
			continue;
		side.d.next_free = rings;
		driver_start(&side.d, DRIVER_ALL_FEATURES, 64);
		side.most = 0;
		struct driver_queue *q = &side.d.queue[queue];
		memset(driver_ptr(&side.d, page), 0, 4096);
		for (uint16_t i = 0; i < 64; i++) {
			/* 16 chains of three in turn, of which never more are available. */
			q->desc[i] = (struct driver_desc){ page + (i % 3 == 1 ? 4096u : i % 3 * 1024u), i % 3 == 0 ? 16 : i % 3 == 1 ? 512 : 1,
				(uint16_t)((i % 3 == 0 ? 0 : D_WRITE) | (i % 3 < 2 ? D_NEXT : 0)), (uint16_t)(i + 1) };
			q->avail[2 + i] = (uint16_t)(i % 16 * 3);
		}
		atomic_store(&stop, false);
		pthread_t thread[2];
		pthread_create(&thread[0], NULL, refill, q);
		pthread_create(&thread[1], NULL, turn_for_ever, NULL);
		run_on(thread[0], 0);
		run_on(thread[1], 1);
		/* Registers answer meanwhile, and a reset comes through. */
		uint64_t slowest = 0;
		for (int i = 0; i < 50 || (i < 5000 && __atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE) == 0); i++) {
			uint64_t from = clock_now_ns();
			driver_status(&side.d);
			uint64_t took = clock_now_ns() - from;
			slowest = took > slowest ? took : slowest;
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		}
		driver_set(&side.d, R_STATUS, 0, 1);
		ck_assert_uint_eq(driver_status(&side.d), 0);
		atomic_store(&stop, true);
		pthread_join(thread[0], NULL);
		pthread_join(thread[1], NULL);
		/* A batch, not as many as come: the devices' are of 64 at most. */
		ck_assert_uint_gt(q->used[1], 0);
		ck_assert_msg(side.most <= 80, "%s, queue %u: %u chains in one go", side.device->name, queue, side.most);
		ck_assert_msg(slowest < NSEC_PER_SEC, "%s, queue %u: a register took %llu ms", side.device->name, queue, (unsigned long long)(slowest / NSEC_PER_MSEC));
	}
	side.d.next_free = rings;
	assert_serves(&side);
	destroy(&side);
}
END_TEST

/* Q15, G22: a reset while requests are under way. When it has returned nothing of the device's touches rings or buffers any more. */
START_TEST(reset_in_the_middle)
{
	make(&side, (enum kind)_i);
	page = driver_alloc(&side.d, 1 << 20);
	uint64_t rings = side.d.next_free;
	uint8_t *bytes = driver_ptr(&side.d, page), *copy = malloc(1 << 20);
	uint32_t files = open_files();
	atomic_store(&stop, false);
	pthread_t thread;
	pthread_create(&thread, NULL, turn_for_ever, NULL);
	unsigned in_the_middle = 0;
	/* On a loaded machine the device may be done with all of them each time: as many more rounds as it takes. */
	for (int round = 0; round < 60 || (in_the_middle == 0 && round < 1000); round++) {
		side.d.next_free = rings;
		driver_start(&side.d, DRIVER_ALL_FEATURES, 64);
		memset(bytes, 0, 1 << 20);
		for (uint32_t queue = 0; queue < side.device->n_queues; queue++) {
			for (uint32_t i = 0; i < 16; i++) {
				/* Reads of a disk, bytes of a generator, commands that are none. */
				uint64_t at = page + (queue * 16 + i) * 8192;
				const struct driver_buf bufs[] = { { at, 16 }, { at + 4096, 2048 }, { at + 64, 1 } };
				driver_add(&side.d, queue, bufs, 1, 2);
			}
			driver_kick(&side.d, queue);
		}
		for (int spin = 0; spin < round % 60 * 500; spin++)
			__atomic_load_n(&side.d.queue[0].used[1], __ATOMIC_RELAXED);
		driver_set(&side.d, R_STATUS, 0, 1);
		uint16_t used[VIRTIO_MAX_QUEUES];
		for (uint32_t queue = 0; queue < side.device->n_queues; queue++) {
			used[queue] = __atomic_load_n(&side.d.queue[queue].used[1], __ATOMIC_ACQUIRE);
			in_the_middle += (side.takes >> queue & 1) && used[queue] < 16;
		}
		memcpy(copy, bytes, 1 << 20);
		nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
		ck_assert_msg(memcmp(copy, bytes, 1 << 20) == 0, "%s writes into buffers after its reset", side.device->name);
		for (uint32_t queue = 0; queue < side.device->n_queues; queue++)
			ck_assert_uint_eq(__atomic_load_n(&side.d.queue[queue].used[1], __ATOMIC_ACQUIRE), used[queue]);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	ck_assert_uint_gt(in_the_middle, 0);
	ck_assert_uint_eq(open_files(), files);
	free(copy);
	side.d.next_free = rings;
	assert_serves(&side);
	destroy(&side);
}
END_TEST

/* --- everything at once -------------------------------------------------------------------------------------------------- */

static uint64_t homes[2] = { 0x801000000, 0xc1000000 };

static uint32_t draw(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* A vCPU that drives every register of the device, wherever it is now, and now and then properly. */
static void *vcpu_registers(void *data)
{
	uint32_t seed = (uint32_t)(uintptr_t)data;
	while (!stop) {
		uint32_t what = draw(&seed) % 16;
		uint64_t bar = homes[draw(&seed) & 1], value = (uint64_t)draw(&seed) << 32 | draw(&seed);
		uint32_t size = 1u << draw(&seed) % 4;
		switch (what) {
		case 0: /* reset */
			value = 0;
			pci_mmio(side.d.bus, bar + R_STATUS, &value, 1, true);
			break;
		case 1: case 2: case 3: case 4: { /* a driver that starts */
			const uint8_t steps[] = { 1, 3, 11, 15 };
			for (uint32_t i = 0; i < 4; i++) {
				if (i == 2) {
					for (uint32_t half = 0; half < 2; half++) {
						uint64_t feature = 0;
						pci_mmio(side.d.bus, bar + R_DEVICE_FEATURE_SELECT, &(uint64_t){ half }, 4, true);
						pci_mmio(side.d.bus, bar + R_DEVICE_FEATURE, &feature, 4, false);
						pci_mmio(side.d.bus, bar + R_DRIVER_FEATURE_SELECT, &(uint64_t){ half }, 4, true);
						pci_mmio(side.d.bus, bar + R_DRIVER_FEATURE, &feature, 4, true);
					}
				}
				for (uint32_t queue = 0; i == 3 && queue < side.device->n_queues; queue++) {
					const struct driver_queue *q = &side.d.queue[queue];
					pci_mmio(side.d.bus, bar + R_QUEUE_SELECT, &(uint64_t){ queue }, 2, true);
					pci_mmio(side.d.bus, bar + R_QUEUE_SIZE, &(uint64_t){ q->size }, 2, true);
					pci_mmio(side.d.bus, bar + R_QUEUE_VECTOR, &(uint64_t){ draw(&seed) % 4 }, 2, true);
					pci_mmio(side.d.bus, bar + R_QUEUE_DESC, &(uint64_t){ q->desc_gpa }, 8, true);
					pci_mmio(side.d.bus, bar + R_QUEUE_DRIVER, &(uint64_t){ q->avail_gpa }, 8, true);
					pci_mmio(side.d.bus, bar + R_QUEUE_DEVICE, &(uint64_t){ q->used_gpa }, 8, true);
					pci_mmio(side.d.bus, bar + R_QUEUE_ENABLE, &(uint64_t){ 1 }, 2, true);
				}
				pci_mmio(side.d.bus, bar + R_STATUS, &(uint64_t){ steps[i] }, 1, true);
			}
			break;
		}
		case 5: /* common configuration */
			pci_mmio(side.d.bus, bar + draw(&seed) % 64, &value, size, draw(&seed) & 1);
			break;
		case 6: /* the device's configuration */
			pci_mmio(side.d.bus, bar + 0x2000 + draw(&seed) % 128, &value, size, draw(&seed) & 1);
			break;
		case 7: /* MSI-X table and pending bits */
			value = draw(&seed) & 1 ? 0xfee00000 : value;
			pci_mmio(side.d.bus, bar + 0x4000 + draw(&seed) % 0x140 / size * size, &value, size, draw(&seed) & 3);
			pci_mmio(side.d.bus, bar + 0x4800, &value, 8, false);
			break;
		case 8: /* the BAR moves, decoding goes off and on */
			value = homes[draw(&seed) & 1];
			pci_mmio(side.d.bus, driver_ecam(0x10), &value, 4, true);
			value >>= 32;
			pci_mmio(side.d.bus, driver_ecam(0x14), &value, 4, true);
			value = draw(&seed) % 8 ? 6 : 0;
			pci_mmio(side.d.bus, driver_ecam(4), &value, 2, true);
			break;
		case 9: /* the window through config space */
			pci_mmio(side.d.bus, driver_ecam(side.d.window_cap + 4), &(uint64_t){ 0 }, 1, true);
			pci_mmio(side.d.bus, driver_ecam(side.d.window_cap + 8), &(uint64_t){ draw(&seed) % 0x5000 }, 4, true);
			pci_mmio(side.d.bus, driver_ecam(side.d.window_cap + 12), &(uint64_t){ 1u << draw(&seed) % 3 }, 4, true);
			pci_mmio(side.d.bus, driver_ecam(side.d.window_cap + 16), &value, 4, draw(&seed) & 1);
			break;
		case 10: /* anything in config space */
			pci_mmio(side.d.bus, driver_ecam(draw(&seed) % 300), &value, size, draw(&seed) & 1);
			break;
		default: { /* notifications, fast and slow */
			uint32_t queue = draw(&seed) % (side.device->n_queues + 1);
			if (draw(&seed) & 1)
				driver_write(&side.d, bar + 0x3000 + 4ull * queue, queue, 2);
			else
				pci_mmio(side.d.bus, bar + 0x3000 + 4ull * queue, &value, 2, true);
			break;
		}
		}
		rounds++;
	}
	return NULL;
}

/* A vCPU that writes the rings: often chains that are right, sometimes anything. Requests lie still; what the device writes lands elsewhere. */
static void *vcpu_rings(void *data)
{
	uint32_t seed = (uint32_t)(uintptr_t)data;
	while (!stop) {
		struct driver_queue *q = &side.d.queue[draw(&seed) % side.device->n_queues];
		uint32_t at = draw(&seed) % q->size;
		uint64_t word[2];
		struct driver_desc desc = { page + draw(&seed) % 64 * 64, draw(&seed) % 200, (uint16_t)(draw(&seed) & 1), (uint16_t)(draw(&seed) % q->size) };
		if (draw(&seed) & 1) {
			desc.addr = page + (512 << 10) + draw(&seed) % 65536;
			desc.flags |= D_WRITE;
		}
		if (draw(&seed) % 256 == 0)
			desc = (struct driver_desc){ (uint64_t)draw(&seed) << 20, draw(&seed), (uint16_t)draw(&seed), (uint16_t)draw(&seed) };
		memcpy(word, &desc, sizeof(word));
		uint64_t *to = (uint64_t *)&q->desc[at];
		__atomic_store_n(&to[0], word[0], __ATOMIC_RELAXED);
		__atomic_store_n(&to[1], word[1], __ATOMIC_RELAXED);
		driver_offer(&side.d, (uint32_t)(q - side.d.queue), (uint16_t)(draw(&seed) % 512 ? at : draw(&seed)));
		if (draw(&seed) % 512 == 0)
			__atomic_store_n(&q->avail[1], (uint16_t)draw(&seed), __ATOMIC_RELAXED);
		rounds++;
	}
	return NULL;
}

/* The rest of the program: its thread for the device, the user at the keyboard, somebody who pauses. */
static void *host(void *data)
{
	uint32_t seed = 4711;
	(void)data;
	while (!stop) {
		side_turn(&side);
		if (side.input != NULL)
			side_key(&side, (uint16_t)(KEY_ESC + draw(&seed) % 64), draw(&seed) & 1);
		if (draw(&seed) % 64 == 0) {
			virtio_pci_pause(side.d.transport);
			virtio_pci_resume(side.d.transport);
		}
	}
	return NULL;
}

START_TEST(everything_at_once) /* Q1 to Q15, P1, P2 */
{
	make(&side, (enum kind)_i);
	page = driver_alloc(&side.d, 1 << 20);
	uint32_t seed = 17;
	/* Requests that make sense now and then: types and small numbers. */
	uint32_t *words = driver_ptr(&side.d, page);
	for (uint32_t i = 0; i < 1024; i++) {
		static const uint32_t first[] = { 0, 1, 4, 8, 11, 13, 0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x10a, 0x10c, 0x10d, 0x300, 0x301, 0x10011 };
		words[i] = i % 16 == 0 ? first[draw(&seed) % ARRAY_LEN(first)] : draw(&seed) % 4 ? draw(&seed) % 64 : draw(&seed);
	}
	driver_start(&side.d, DRIVER_ALL_FEATURES, 32);
	uint64_t rings = side.d.next_free;
	uint32_t files = open_files();
	pthread_t thread[5];
	atomic_store(&stop, false);
	atomic_store(&rounds, 0);
	pthread_create(&thread[0], NULL, vcpu_registers, (void *)1);
	pthread_create(&thread[1], NULL, vcpu_registers, (void *)2);
	pthread_create(&thread[2], NULL, vcpu_rings, (void *)3);
	pthread_create(&thread[3], NULL, vcpu_rings, (void *)4);
	pthread_create(&thread[4], NULL, host, NULL);
	for (int i = 0; i < 4 || (atomic_load(&rounds) < 20000 && i < 100); i++)
		nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	atomic_store(&stop, true);
	for (int i = 0; i < 5; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_ge(rounds, 20000);
	ck_assert_uint_eq(open_files(), files);
	/* A system reset, a guest that finds its devices, a proper driver: as if nothing had been. */
	virtio_pci_reset(side.d.transport);
	pci_bus_reset(side.d.bus);
	ck_assert_uint_eq(side.d.n_ioeventfds, 0);
	driver_find(&side.d);
	side.d.next_free = rings;
	assert_serves(&side);
	ck_assert_uint_eq(side.d.n_ioeventfds, side.device->n_queues);
	destroy(&side);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("hostile");
	TCase *tc = tcase_create("rings");
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, malformed_ring, 0, KINDS);
	tcase_add_loop_test(tc, malformed_event_queue, 0, 4);
	tcase_add_loop_test(tc, same_head_many_times, 0, KINDS);
	tcase_add_loop_test(tc, senseless_chains, 0, KINDS);
	tcase_add_loop_test(tc, available_index_that_never_ends, 0, KINDS);
	tcase_add_loop_test(tc, reset_in_the_middle, 0, KINDS);
	tcase_add_loop_test(tc, everything_at_once, 0, KINDS);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
