/* A guest on /dev/kvm drives a virtqueue: notifications by ioeventfd, interrupts by irqfd. */
#include <string.h>

#include "../unit/state_check.h"
#include "payload.h"
#include "virtio/blk.h"
#include "virtio/rng.h"

#define ROUNDS 100
#define DRIVERS 3

extern const char guest_virtqueue[], guest_virtqueue_end[], guest_broken_ring[], guest_broken_ring_end[];

START_TEST(virtqueue)
{
	struct payload_machine machine;
	char error[256] = "";
	PAYLOAD_OPEN(&machine, guest_virtqueue, VM_PAYLOAD_FLAT32, 1);
	struct disk disk;
	ck_assert_int_eq(disk_open(&disk, &(struct disk_config){ .memory_size = 65536 }, error, sizeof(error)), 0);
	struct blk *blk = blk_create(vm_memory(machine.vm), &disk, &machine.stats, error, sizeof(error));
	ck_assert_msg(blk != NULL, "%s", error);
	struct virtio_pci *transport = virtio_pci_create(blk_device(blk), vm_pci(machine.vm), 5, 0x010000);
	ck_assert_ptr_nonnull(transport);
	/* Twice: the second time after a system reset. */
	for (uint32_t run = 1; run <= 2; run++) {
		uint64_t exits = atomic_load(&machine.stats.vcpu_exits);
		payload_run(&machine);
		ck_assert_uint_eq(payload_result(&machine, 1), 11);
		ck_assert_uint_eq(payload_result(&machine, 0), ROUNDS + 1);
		ck_assert_uint_eq(payload_result(&machine, 2), ROUNDS + 1);
		ck_assert_uint_eq(payload_result(&machine, 3), 0);
		ck_assert_uint_eq(payload_result(&machine, 4), 0x5aa5c33c);
		ck_assert_uint_eq(payload_result(&machine, 5), 15);
		ck_assert_uint_eq(atomic_load(&machine.stats.disk_requests), run * (ROUNDS + 1));
		/* Registers and config space cost an exit each, notifications none. */
		ck_assert_uint_lt(atomic_load(&machine.stats.vcpu_exits) - exits, ROUNDS);
		virtio_pci_reset(transport);
	}
	virtio_pci_destroy(transport);
	blk_destroy(blk);
	disk_close(&disk);
	payload_close(&machine);
}
END_TEST

/* Q5 and P2 on a real machine: see the guest. */
START_TEST(broken_ring_and_new_driver)
{
	struct payload_machine machine;
	char error[256] = "";
	struct disk disk;
	PAYLOAD_OPEN(&machine, guest_broken_ring, VM_PAYLOAD_FLAT32, 1);
	ck_assert_int_eq(disk_open(&disk, &(struct disk_config){ .memory_size = 65536 }, error, sizeof(error)), 0);
	struct blk *blk = blk_create(vm_memory(machine.vm), &disk, &machine.stats, error, sizeof(error));
	ck_assert_msg(blk != NULL, "%s", error);
	struct virtio_pci *transport = virtio_pci_create(blk_device(blk), vm_pci(machine.vm), 5, 0x010000);
	ck_assert_ptr_nonnull(transport);
	payload_run(&machine);
	/* Each interrupt once, at the vector that was its own at that moment: 6 changes in 100 requests. */
	ck_assert_uint_eq(payload_result(&machine, 0), 52 * DRIVERS);
	ck_assert_uint_eq(payload_result(&machine, 1), 48 * DRIVERS);
	ck_assert_uint_eq(payload_result(&machine, 2), DRIVERS);
	ck_assert_uint_eq(payload_result(&machine, 3), 0);
	ck_assert_uint_eq(payload_result(&machine, 4), ROUNDS * DRIVERS);
	ck_assert_uint_eq(payload_result(&machine, 5), 0x4f);
	ck_assert_uint_eq(payload_result(&machine, 6), 15);
	ck_assert_uint_eq(atomic_load(&machine.stats.disk_requests), ROUNDS * DRIVERS);
	virtio_pci_destroy(transport);
	blk_destroy(blk);
	disk_close(&disk);
	payload_close(&machine);
}
END_TEST

/* All devices of a VM that ran, saved and loaded into another. */
struct saved_machine {
	struct payload_machine machine;
	struct disk disk;
	struct blk *blk;
	struct rng *rng;
	struct virtio_pci *transport[2];
	struct state_table table;
};

static void saved_open(struct saved_machine *saved)
{
	char error[256] = "";
	memset(saved, 0, sizeof(*saved));
	PAYLOAD_OPEN(&saved->machine, guest_virtqueue, VM_PAYLOAD_FLAT32, 1);
	ck_assert_int_eq(disk_open(&saved->disk, &(struct disk_config){ .memory_size = 65536 }, error, sizeof(error)), 0);
	saved->blk = blk_create(vm_memory(saved->machine.vm), &saved->disk, &saved->machine.stats, error, sizeof(error));
	saved->rng = rng_create(vm_memory(saved->machine.vm));
	ck_assert(saved->blk != NULL && saved->rng != NULL);
	saved->transport[0] = virtio_pci_create(blk_device(saved->blk), vm_pci(saved->machine.vm), 5, 0x010000);
	saved->transport[1] = virtio_pci_create(rng_device(saved->rng), vm_pci(saved->machine.vm), 6, 0x00ff00);
	ck_assert(vm_state_table(saved->machine.vm, &saved->table));
	for (int i = 0; i < 2; i++) {
		ck_assert_ptr_nonnull(saved->transport[i]);
		ck_assert(virtio_pci_state(saved->transport[i], &saved->table));
		virtio_pci_pause(saved->transport[i]);
	}
}

static void saved_close(struct saved_machine *saved)
{
	for (int i = 0; i < 2; i++)
		virtio_pci_destroy(saved->transport[i]);
	blk_destroy(saved->blk);
	rng_destroy(saved->rng);
	disk_close(&saved->disk);
	payload_close(&saved->machine);
}

START_TEST(whole_machine_state)
{
	static struct saved_machine one, two;
	saved_open(&one);
	saved_open(&two);
	ck_assert_uint_eq(one.table.n, 7);
	virtio_pci_resume(one.transport[0]);
	payload_run(&one.machine);
	virtio_pci_pause(one.transport[0]);
	ck_assert(blk_device(one.blk)->live);
	state_check_table(&one.table, &two.table);
	saved_close(&one);
	saved_close(&two);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("virtio");
	TCase *tc = tcase_create("virtio");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, virtqueue);
	tcase_add_test(tc, broken_ring_and_new_driver);
	tcase_add_test(tc, whole_machine_state);
	suite_add_tcase(suite, tc);
	return suite;
}

int main(void)
{
	return payload_main(make_suite);
}
