/* Save and load of virtio devices: transport, queues, and each device's own. */
#include <linux/input.h>

#include "devices.h"
#include "state_check.h"
#include "unit.h"

static struct side one, two;

static void make_both(enum kind kind)
{
	make(&one, kind);
	make(&two, kind);
	ck_assert(virtio_pci_state(one.d.transport, &one.table));
	ck_assert(virtio_pci_state(two.d.transport, &two.table));
}

static void destroy_both(void)
{
	destroy(&one);
	destroy(&two);
}

/* Work of every kind done, so that the queues have gone somewhere. */
static void use(struct side *side, enum kind kind, uint64_t features)
{
	struct driver *d = &side->d;
	driver_start(d, features, 16);
	uint64_t page = driver_alloc(d, 4096);
	const struct driver_buf bufs[] = { { page, 16 }, { page + 512, 512 }, { page + 2048, 1 } };
	switch (kind) {
	case BLK:
		for (int i = 0; i < 20; i++) {
			driver_add(d, 0, bufs, 1, 2);
			driver_kick(d, 0);
			ck_assert(driver_wait(d, 0, NULL, NULL, 5000));
		}
		driver_write(d, d->config + 32, 0, 1); /* no write cache */
		break;
	case NET:
		for (int i = 0; i < 5; i++) {
			driver_add(d, 1, &(struct driver_buf){ page, 80 }, 1, 0);
			driver_kick(d, 1);
			ck_assert(driver_wait(d, 1, NULL, NULL, 5000));
		}
		break;
	case CONSOLE: {
		/* Set up, port 0 open; what the device answers finds no buffers and stays owed. */
		const uint16_t control[][4] = { { 0, 0, 0, 1 }, { 0, 0, 3, 1 }, { 1, 0, 3, 1 }, { 0, 0, 6, 1 } };
		for (size_t i = 0; i < ARRAY_LEN(control); i++) {
			memcpy(driver_ptr(d, page), control[i], 8);
			driver_add(d, 3, &(struct driver_buf){ page, 8 }, 1, 0);
			driver_kick(d, 3);
			ck_assert(driver_wait(d, 3, NULL, NULL, 5000));
		}
		driver_add(d, 1, bufs, 1, 0);
		driver_kick(d, 1);
		ck_assert(driver_wait(d, 1, NULL, NULL, 5000));
		break;
	}
	case RNG:
		for (int i = 0; i < 5; i++) {
			driver_add(d, 0, bufs + 1, 0, 1);
			ck_assert(driver_run(d, 0));
			ck_assert(driver_used(d, 0, NULL, NULL));
		}
		break;
	default:
		for (int i = 0; i < 5; i++)
			driver_add(d, 0, &(struct driver_buf){ page + 8u * (uint32_t)i, 8 }, 0, 1);
		/* Held, released, pressed; then no room is left, and a release is owed. */
		if (kind == KEYBOARD) {
			side_key(side, KEY_A, 1);
			side_key(side, KEY_B, 1);
			side_key(side, KEY_A, 0);
			const struct driver_buf led = { page + 1024, 8 };
			memcpy(driver_ptr(d, led.gpa), (const uint16_t[]){ EV_LED, LED_CAPSL, 1, 0 }, 8);
			driver_add(d, 1, &led, 1, 0);
			ck_assert(driver_run(d, 1));
			ck_assert(driver_used(d, 1, NULL, NULL));
		} else if (kind == TOUCH) {
			side_finger(side, 3, 7); /* four events; the lifting waits */
			side_finger(side, 3, -1);
		} else {
			side_press(side, true);
		}
		driver_write(d, d->config, 0x11, 1);
		driver_write(d, d->config + 1, EV_KEY, 1);
		break;
	}
	driver_select(d, 7);
	driver_set(d, R_DEVICE_FEATURE_SELECT, 1, 4);
	virtio_pci_pause(d->transport);
}

START_TEST(each_device)
{
	make_both((enum kind)(_i / 2));
	use(&one, (enum kind)(_i / 2), _i % 2 ? DRIVER_ALL_FEATURES : 1ull << 32);
	virtio_pci_pause(two.d.transport);
	unsigned refused = state_check(&one.table.device[0], &two.table.device[0], true);
	ck_assert_uint_gt(refused, 1000);
	state_check_table(&one.table, &two.table);
	destroy_both();
}
END_TEST

/* A device in each state of the handshake, and one that the guest broke. */
START_TEST(every_status)
{
	static const uint8_t status[] = { 1, 3, 0x83, 11, 15, 0x8f };
	make_both(RNG);
	for (size_t i = 0; i < ARRAY_LEN(status); i++) {
		driver_start(&one.d, DRIVER_ALL_FEATURES, 16);
		if (!(status[i] & S_FEATURES_OK))
			driver_set(&one.d, R_STATUS, 0, 1);
		if (status[i] == 11) {
			ck_assert(driver_handshake(&one.d, DRIVER_ALL_FEATURES));
			ck_assert(driver_enable(&one.d, 0));
		}
		driver_set(&one.d, R_STATUS, status[i], 1);
		ck_assert_uint_eq(driver_status(&one.d), status[i]);
		state_check(&one.table.device[0], &two.table.device[0], true);
		ck_assert_uint_eq(driver_get(&two.d, R_STATUS, 1), status[i]);
	}
	driver_start(&one.d, DRIVER_ALL_FEATURES, 16);
	driver_offer(&one.d, 0, 99);
	driver_run(&one.d, 0);
	ck_assert_uint_eq(driver_status(&one.d), 0x4f);
	state_check(&one.table.device[0], &two.table.device[0], true);
	ck_assert_uint_eq(driver_status(&two.d), 0x4f);
	ck_assert(!two.device->live);
	/* It works again after its driver was loaded anew. */
	driver_start(&two.d, DRIVER_ALL_FEATURES, 16);
	driver_add(&two.d, 0, &(struct driver_buf){ 0x100000, 64 }, 0, 1);
	ck_assert(driver_run(&two.d, 0));
	ck_assert(driver_used(&two.d, 0, NULL, NULL));
	destroy_both();
}
END_TEST

/* The loaded device goes on in the middle of the ring that the saved one worked on. */
START_TEST(work_goes_on)
{
	make_both(BLK);
	use(&one, BLK, DRIVER_ALL_FEATURES);
	/* A request that comes while it is paused waits. */
	struct driver_queue *q = &one.d.queue[0];
	uint64_t page = driver_alloc(&one.d, 4096);
	const struct driver_buf bufs[] = { { page, 16 }, { page + 512, 512 }, { page + 2048, 1 } };
	driver_add(&one.d, 0, bufs, 1, 2);
	driver_kick(&one.d, 0);
	ck_assert(!driver_wait(&one.d, 0, NULL, NULL, 50));
	/* Guest memory goes over as it is. */
	memcpy(driver_ptr(&two.d, 0), driver_ptr(&one.d, 0), RAM);
	virtio_pci_pause(two.d.transport);
	struct state_bytes file = state_bytes_of(&one.table.device[0]);
	ck_assert(virtio_pci_load(two.d.transport, file.at, file.size));
	free(file.at);
	two.d.queue[0] = *q;
	two.d.queue[0].desc = driver_ptr(&two.d, q->desc_gpa);
	two.d.queue[0].avail = driver_ptr(&two.d, q->avail_gpa);
	two.d.queue[0].used = driver_ptr(&two.d, q->used_gpa);
	ck_assert_uint_eq(driver_status(&two.d), 15);
	virtio_pci_resume(two.d.transport);
	uint32_t length;
	ck_assert(driver_wait(&two.d, 0, NULL, &length, 5000));
	ck_assert_uint_eq(length, 513);
	for (int i = 0; i < 20; i++) {
		driver_add(&two.d, 0, bufs, 1, 2);
		driver_kick(&two.d, 0);
		ck_assert(driver_wait(&two.d, 0, NULL, NULL, 5000));
	}
	/* Each request once. */
	virtio_pci_pause(two.d.transport);
	ck_assert_uint_eq(two.d.queue[0].used[1], two.d.queue[0].avail[1]);
	ck_assert_uint_eq(two.device->queue[0].next_avail, two.d.queue[0].avail[1]);
	destroy_both();
}
END_TEST

/* Files that are well-formed and wrong in one field. */
START_TEST(transport_that_cannot_be)
{
	make_both(RNG);
	use(&one, RNG, DRIVER_ALL_FEATURES);
	struct state_bytes file = state_bytes_of(&one.table.device[0]);
	const struct state_device *row = &two.table.device[0];
	const struct {
		const char *what;
		uint32_t at, size;
		uint64_t value;
	} bad[] = {
		{ "another version", 4, 4, 2 }, { "another device", 16, 2, VIRTIO_ID_BLOCK }, { "more queues", 18, 2, 2 },
		{ "DRIVER_OK without FEATURES_OK", 20, 1, 7 }, { "unknown status", 20, 1, 0x1f }, { "queue enabled before FEATURES_OK", 20, 1, 3 },
		{ "unknown feature", 40, 8, 1ull << 32 | 1 }, { "no VERSION_1", 40, 8, 0 }, { "vector out of range", 24, 2, 2 },
		{ "own state of a device that has none", 36, 4, 8 },
		{ "ring outside RAM", 48, 8, RAM }, { "ring misaligned", 48, 8, 0x10008 }, { "ring wraps", 56, 8, UINT64_MAX - 1 },
		{ "used ring in no memory", 64, 8, 0x800000000 },
		{ "queue of 3", 72, 2, 3 }, { "queue of 0", 72, 2, 0 }, { "queue larger than offered", 72, 2, 128 }, { "queue vector", 74, 2, 2 },
		{ "something in flight", 78, 2, 4 }, { "enabled is 2", 80, 1, 2 }, { "broken but alive", 81, 1, 1 }, { "hole", 85, 1, 1 },
		{ "a second queue", 88, 8, 0x10000 },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint8_t *changed = malloc(file.size);
		memcpy(changed, file.at, file.size);
		memcpy(changed + bad[i].at, &bad[i].value, bad[i].size);
		ck_assert_msg(memcmp(changed, file.at, file.size) != 0, "%s: no change", bad[i].what);
		ck_assert_msg(!row->load(row->device, changed, file.size), "%s accepted", bad[i].what);
		ck_assert_msg(driver_status(&two.d) == 0 && !two.device->live && !two.device->queue[0].enabled, "%s: not reset", bad[i].what);
		free(changed);
	}
	ck_assert(row->load(row->device, file.at, file.size));
	free(file.at);
	destroy_both();
}
END_TEST

START_TEST(keys_that_cannot_be)
{
	make_both(KEYBOARD);
	use(&one, KEYBOARD, DRIVER_ALL_FEATURES);
	struct state_bytes file = state_bytes_of(&one.table.device[0]);
	const struct state_device *row = &two.table.device[0];
	struct vinput_state *state = (void *)(file.at + file.size - sizeof(*state));
	ck_assert(state->told[0] == (1ull << KEY_A | 1ull << KEY_B) && state->owed[0] == 1ull << KEY_A && state->leds == 1u << LED_CAPSL);
	const struct {
		uint64_t told, owed;
		uint32_t leds, kind;
	} bad[] = {
		{ 1ull << KEY_A, 1ull << KEY_B, 0, LINK_KEYBOARD }, /* a release is owed of a key that is not held */
		{ 1, 0, 0, LINK_KEYBOARD },                         /* no such key */
		{ 0, 0, 1u << LED_MAX, LINK_KEYBOARD }, { 0, 0, 0, LINK_POINTER_RELATIVE },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		state->told[0] = bad[i].told;
		state->owed[0] = bad[i].owed;
		state->leds = bad[i].leds;
		state->kind = bad[i].kind;
		ck_assert_msg(!row->load(row->device, file.at, file.size), "row %zu", i);
		state_assert_reset(row);
	}
	free(file.at);
	destroy_both();
}
END_TEST

/* Its driver gave a buffer that is too small, which it had taken by then: the device stays stopped wherever it is loaded. */
START_TEST(stopped_with_a_chain_taken)
{
	static uint8_t state[8192], again[8192];
	make_both(KEYBOARD);
	driver_start(&one.d, DRIVER_ALL_FEATURES, 16);
	uint64_t page = driver_alloc(&one.d, 4096);
	for (uint32_t i = 0; i < 5; i++)
		driver_add(&one.d, 0, &(struct driver_buf){ page + 8 * i, 4 }, 0, 1);
	side_key(&one, KEY_A, 1);
	ck_assert_uint_ne(driver_status(&one.d) & S_NEEDS_RESET, 0);
	ck_assert_uint_ne(one.device->queue[0].next_avail, one.device->queue[0].next_used);
	virtio_pci_pause(one.d.transport);
	virtio_pci_pause(two.d.transport);
	uint32_t size = virtio_pci_save(one.d.transport, state, sizeof(state));
	ck_assert(size > 0 && size <= sizeof(state));
	ck_assert(virtio_pci_load(two.d.transport, state, size));
	ck_assert_uint_eq(virtio_pci_save(two.d.transport, again, sizeof(again)), size);
	ck_assert_mem_eq(again, state, size);
	ck_assert(!two.device->live);
	virtio_pci_resume(two.d.transport);
	driver_start(&two.d, DRIVER_ALL_FEATURES, 16);
	ck_assert(two.device->live);
	destroy_both();
}
END_TEST

START_TEST(not_while_something_is_in_flight)
{
	make_both(RNG);
	use(&one, RNG, DRIVER_ALL_FEATURES);
	static struct virtq_chain chain;
	const char *why;
	driver_add(&one.d, 0, &(struct driver_buf){ 0x100000, 64 }, 0, 1);
	ck_assert_int_eq(virtq_pop(&one.device->queue[0], &chain, &why), 1);
	uint8_t bytes[4096];
	ck_assert_uint_eq(virtio_pci_save(one.d.transport, bytes, sizeof(bytes)), 0);
	ck_assert_uint_eq(state_save(&one.table, bytes, sizeof(bytes)), 0);
	virtq_push(&one.device->queue[0], chain.head, 0);
	ck_assert_uint_gt(virtio_pci_save(one.d.transport, bytes, sizeof(bytes)), 0);
	destroy_both();
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("state");
	TCase *tc = tcase_create("state");
	tcase_add_loop_test(tc, each_device, 0, 2 * GPU); /* which has a test of its own */
	tcase_add_test(tc, every_status);
	tcase_add_test(tc, work_goes_on);
	tcase_add_test(tc, transport_that_cannot_be);
	tcase_add_test(tc, keys_that_cannot_be);
	tcase_add_test(tc, stopped_with_a_chain_taken);
	tcase_add_test(tc, not_while_something_is_in_flight);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
