/* A guest on /dev/kvm drives a virtqueue: notifications by ioeventfd, interrupts by irqfd. */
#include <string.h>

#include "payload.h"
#include "virtio/blk.h"

#define ROUNDS 100

extern const char guest_virtqueue[], guest_virtqueue_end[];

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

static Suite *make_suite(void)
{
	Suite *suite = suite_create("virtio");
	TCase *tc = tcase_create("virtio");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, virtqueue);
	suite_add_tcase(suite, tc);
	return suite;
}

int main(void)
{
	return payload_main(make_suite);
}
