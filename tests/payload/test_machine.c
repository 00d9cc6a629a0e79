/* Tiny guests drive the machine's ports, MMIO, config space, interrupts and ends. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "payload.h"
#include "vmm/layout.h"

#define GUEST(name) extern const char name[], name##_end[]
GUEST(guest_port_io);
GUEST(guest_config);
GUEST(guest_bars);
GUEST(guest_msix);
GUEST(guest_doorbell);
GUEST(guest_triple_fault);
GUEST(guest_reset);
GUEST(guest_reset_then_fault);
GUEST(guest_reset_then_power_off);
GUEST(guest_many_configs);
GUEST(guest_tsc_deadline);
GUEST(guest_keyboard_reset);
GUEST(guest_echo);
GUEST(guest_flood);
GUEST(guest_counter);
GUEST(guest_clock);
GUEST(guest_halt);
GUEST(guest_button);
GUEST(guest_smp);
GUEST(guest_nobody);

static struct payload_machine machine;

static void nap_ms(long ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	nanosleep(&time, NULL);
}

/* --- a device in slot 5 -------------------------------------------------------------------------------------------------- */

#define DOORBELL 0x10

struct test_device {
	struct pci_device pci;
	int doorbell; /* eventfd */
	uint64_t doorbell_gpa;
	uint32_t doorbell_exits, moves;
};

static void bar_read(struct pci_device *pci, int bar, uint64_t offset, void *data, uint32_t size)
{
	(void)pci, (void)bar, (void)offset;
	memset(data, 0x5a, size);
}

static void bar_write(struct pci_device *pci, int bar, uint64_t offset, const void *data, uint32_t size)
{
	struct test_device *device = (struct test_device *)pci;
	(void)bar, (void)data, (void)size;
	if (offset == 0)
		msix_signal(pci, 0);
	if (offset == DOORBELL)
		device->doorbell_exits++;
}

static void bar_moved(struct pci_device *pci, int bar, uint64_t gpa)
{
	struct test_device *device = (struct test_device *)pci;
	if (bar != 2)
		return;
	device->moves++;
	if (device->doorbell_gpa)
		ck_assert_int_eq(pci_ioeventfd(pci, device->doorbell_gpa, 0, device->doorbell, false), 0);
	device->doorbell_gpa = gpa == PCI_BAR_UNMAPPED ? 0 : gpa + DOORBELL;
	if (device->doorbell_gpa)
		ck_assert_int_eq(pci_ioeventfd(pci, device->doorbell_gpa, 0, device->doorbell, true), 0);
}

static const struct pci_device_ops device_ops = { .bar_read = bar_read, .bar_write = bar_write, .bar_moved = bar_moved };

static void attach(struct test_device *device)
{
	memset(device, 0, sizeof(*device));
	device->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pci_device_init(&device->pci, &device_ops, "test", 0x1234, 0x5678, 0xff0000, 0, 0, 0);
	pci_add_bar(&device->pci, 0, 0x10000, true, true);
	pci_add_bar(&device->pci, 2, 0x2000, false, false);
	ck_assert_int_eq(msix_init(&device->pci, 2, 0x1000, 0x1800, 1), 0);
	ck_assert_int_eq(pci_attach(vm_pci(machine.vm), &device->pci, 5), 0);
}

static void detach(struct test_device *device)
{
	vm_halt(machine.vm);
	pci_detach(&device->pci);
	close(device->doorbell);
}

/* --- tests ------------------------------------------------------------------------------------------------------------------ */

START_TEST(port_io)
{
	char sent[6];
	PAYLOAD_OPEN(&machine, guest_port_io, VM_PAYLOAD_REAL16, 1);
	payload_run(&machine);
	ck_assert_uint_eq(payload_result(&machine, 0) & 0xffff, 0xffff);
	ck_assert_uint_eq(payload_result(&machine, 1), 0xffffffff);
	ck_assert_uint_eq(payload_serial(&machine, sent, 6), 6);
	ck_assert(memcmp(sent, "okbadc", 6) == 0);
	ck_assert_uint_gt(atomic_load(&machine.stats.vcpu_exits), 5);
	payload_close(&machine);
}
END_TEST

START_TEST(config_and_mmio)
{
	PAYLOAD_OPEN(&machine, guest_config, VM_PAYLOAD_FLAT32, 1);
	payload_run(&machine);
	ck_assert_uint_eq(payload_result(&machine, 0), 0x29c08086);
	ck_assert_uint_eq(payload_result(&machine, 1), 0x29c08086);
	ck_assert_uint_eq(payload_result(&machine, 2), 0x29c0);
	ck_assert_uint_eq(payload_result(&machine, 3), 0xffffffff);
	ck_assert_uint_eq(payload_result(&machine, 4), 0xffffffff);
	ck_assert_uint_eq(payload_result(&machine, 5), 0xff);
	ck_assert_uint_ne(payload_result(&machine, 6), payload_result(&machine, 7));
	payload_close(&machine);
}
END_TEST

START_TEST(bars_move)
{
	struct test_device device;
	PAYLOAD_OPEN(&machine, guest_bars, VM_PAYLOAD_FLAT32, 1);
	attach(&device);
	payload_run(&machine);
	ck_assert_uint_ge(payload_result(&machine, 0), LAYOUT_MMIO32);
	ck_assert_uint_eq(payload_result(&machine, 1), 0xffffffff);
	ck_assert_uint_eq(payload_result(&machine, 2), 0x5a5a5a5a);
	ck_assert_uint_eq(payload_result(&machine, 3), 0xfeedf00d);
	ck_assert_uint_eq(payload_result(&machine, 4), 0xffffffff);
	ck_assert_uint_eq(payload_result(&machine, 5), 0x29c08086);
	ck_assert_uint_eq(payload_result(&machine, 6) & 0xf0, 0x10); /* version 0x1x: an integrated APIC */
	ck_assert_uint_ne(payload_result(&machine, 6), 0x5a5a5a5a);
	ck_assert_uint_eq(payload_result(&machine, 7), 0x5a5a5a5a);
	detach(&device);
	payload_close(&machine);
}
END_TEST

START_TEST(msix_by_irqfd)
{
	struct test_device device;
	PAYLOAD_OPEN(&machine, guest_msix, VM_PAYLOAD_FLAT32, 1);
	attach(&device);
	payload_run(&machine);
	ck_assert_uint_eq(payload_result(&machine, 1), 0);
	ck_assert_uint_eq(payload_result(&machine, 2), 1);
	ck_assert_uint_eq(payload_result(&machine, 3), 1);
	ck_assert_uint_eq(payload_result(&machine, 4), 4);
	detach(&device);
	payload_close(&machine);
}
END_TEST

START_TEST(doorbell_by_ioeventfd)
{
	struct test_device device;
	uint64_t rings = 0;
	PAYLOAD_OPEN(&machine, guest_doorbell, VM_PAYLOAD_FLAT32, 1);
	attach(&device);
	payload_run(&machine);
	ck_assert_int_eq(read(device.doorbell, &rings, sizeof(rings)), sizeof(rings));
	ck_assert_uint_eq(rings, 110);
	ck_assert_uint_eq(device.doorbell_exits, 0);
	ck_assert_uint_eq(device.moves, 3);
	/* BAR read, enable, move, one write to nothing, power-off: none of the rings */
	ck_assert_uint_lt(atomic_load(&machine.stats.vcpu_exits), 10);
	detach(&device);
	payload_close(&machine);
}
END_TEST

START_TEST(triple_fault) /* I6 */
{
	PAYLOAD_OPEN(&machine, guest_triple_fault, VM_PAYLOAD_FLAT32, 2);
	payload_start(&machine);
	ck_assert_int_eq(payload_wait(&machine), VM_EVENT_CRASH);
	/* and it can be started again, to the same end */
	payload_start(&machine);
	ck_assert_int_eq(payload_wait(&machine), VM_EVENT_CRASH);
	payload_close(&machine);
}
END_TEST

START_TEST(resets)
{
	struct test_device device;
	PAYLOAD_OPEN(&machine, guest_reset, VM_PAYLOAD_FLAT32, 1);
	attach(&device);
	for (int i = 0; i < 3; i++) {
		payload_start(&machine);
		ck_assert_int_eq(payload_wait(&machine), VM_EVENT_RESET);
		ck_assert_uint_eq(payload_result(&machine, 0), 0);
		uint32_t mark = 0;
		ck_assert(guest_memory_read(vm_memory(machine.vm), 0x300000, &mark, 4));
		ck_assert_uint_eq(mark, 1);
	}
	detach(&device);
	payload_close(&machine);
	PAYLOAD_OPEN(&machine, guest_keyboard_reset, VM_PAYLOAD_FLAT32, 1);
	payload_start(&machine);
	ck_assert_int_eq(payload_wait(&machine), VM_EVENT_RESET);
	payload_close(&machine);
}
END_TEST

/* A reset that KVM has kept came before the end that the guest makes next: what happened first counts. */
START_TEST(kept_reset_comes_first)
{
	if (_i == 0)
		PAYLOAD_OPEN(&machine, guest_reset_then_fault, VM_PAYLOAD_FLAT32, 1);
	else
		PAYLOAD_OPEN(&machine, guest_reset_then_power_off, VM_PAYLOAD_FLAT32, 1);
	/* More than once: now and then somebody looks at what was kept just in time. */
	for (int round = 0; round < 5; round++) {
		payload_start(&machine);
		ck_assert_int_eq(payload_wait(&machine), VM_EVENT_RESET);
	}
	payload_close(&machine);
}
END_TEST

/* Writes to an index port do not leave the guest while it boots; then they do again, so that nothing has to look after them. */
START_TEST(index_writes_are_kept)
{
	uint32_t one = 1;
	PAYLOAD_OPEN(&machine, guest_many_configs, VM_PAYLOAD_FLAT32, 1);
	payload_start(&machine);
	bool kept = machine.vm->keeps_config;
	for (int i = 0; i < 1000 && payload_result(&machine, 2) == 0; i++)
		nap_ms(10);
	ck_assert_uint_eq(payload_result(&machine, 0), 1000);
	ck_assert_uint_eq(payload_result(&machine, 1), 0x80000000 + 399 * 4);
	uint64_t exits = atomic_load(&machine.stats.vcpu_exits);
	if (kept)
		ck_assert_uint_lt(exits, 2300); /* 2000 reads, and the ring is full now and then */
	for (int i = 0; i < 2000 && machine.vm->keeps_config; i++)
		nap_ms(10);
	ck_assert(!machine.vm->keeps_config);
	ck_assert(guest_memory_write(vm_memory(machine.vm), PAYLOAD_RESULTS + 4 * 3, &one, sizeof(one)));
	ck_assert_int_eq(payload_wait(&machine), VM_EVENT_POWEROFF);
	/* and again from the start */
	payload_start(&machine);
	ck_assert_int_eq(machine.vm->keeps_config, kept);
	payload_close(&machine);
}
END_TEST

/* The timer that a Linux guest takes when CPUID has it: it comes when it is due, once, and not when it was disarmed. */
START_TEST(tsc_deadline_timer)
{
	PAYLOAD_OPEN(&machine, guest_tsc_deadline, VM_PAYLOAD_FLAT32, 1);
	if (ioctl(machine.vm->kvm.device_fd, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_TSC_DEADLINE_TIMER) <= 0)
		UNIT_SKIP("this KVM has no TSC-deadline timer");
	payload_run(&machine);
	ck_assert_uint_eq(payload_result(&machine, 1) >> 24 & 1, 1);
	ck_assert_uint_eq(payload_result(&machine, 4), 0);
	ck_assert_uint_eq(payload_result(&machine, 5), 0);
	ck_assert_int_ge((int32_t)payload_result(&machine, 6), 0);
	ck_assert_uint_eq(payload_result(&machine, 2), 1);
	ck_assert_uint_eq(payload_result(&machine, 3), 2);
	ck_assert_uint_eq(payload_result(&machine, 0), 2);
	payload_close(&machine);
}
END_TEST

/* Everything a device has in KVM is made again after a reset. */
START_TEST(interrupts_after_reset)
{
	struct test_device device;
	PAYLOAD_OPEN(&machine, guest_msix, VM_PAYLOAD_FLAT32, 1);
	attach(&device);
	for (int i = 0; i < 2; i++) {
		payload_run(&machine);
		ck_assert_uint_eq(payload_result(&machine, 4), 4);
	}
	detach(&device);
	payload_close(&machine);
}
END_TEST

START_TEST(serial_both_ways)
{
	char back[5];
	PAYLOAD_OPEN(&machine, guest_echo, VM_PAYLOAD_FLAT32, 1);
	payload_start(&machine);
	vm_serial_input(machine.vm, "hello", 5);
	ck_assert_uint_eq(payload_serial(&machine, back, 5), 5);
	ck_assert(memcmp(back, "hello", 5) == 0);
	vm_serial_input(machine.vm, "q", 1);
	ck_assert_int_eq(payload_wait(&machine), VM_EVENT_POWEROFF);
	payload_close(&machine);
}
END_TEST

/* I5: a flood that nobody reads ends, and what did not fit is counted. */
START_TEST(serial_flood)
{
	PAYLOAD_OPEN(&machine, guest_flood, VM_PAYLOAD_FLAT32, 1);
	payload_run(&machine);
	ck_assert_uint_gt(machine.vm->serial.dropped, 0);
	ck_assert_uint_le(machine.vm->serial.dropped, 200000 - SERIAL_OUTPUT);
	payload_close(&machine);
}
END_TEST

START_TEST(pause_and_resume)
{
	PAYLOAD_OPEN(&machine, guest_counter, VM_PAYLOAD_FLAT32, 2);
	payload_start(&machine);
	for (int i = 0; i < 100 && payload_result(&machine, 0) == 0; i++)
		nap_ms(10);
	for (int i = 0; i < 3; i++) {
		vm_pause(machine.vm);
		uint32_t before = payload_result(&machine, 0);
		ck_assert_uint_gt(before, 0);
		nap_ms(30);
		ck_assert_uint_eq(payload_result(&machine, 0), before);
		vm_resume(machine.vm);
		for (int j = 0; j < 100 && payload_result(&machine, 0) == before; j++)
			nap_ms(10);
		ck_assert_uint_ne(payload_result(&machine, 0), before);
	}
	/* halting a paused machine ends it */
	vm_pause(machine.vm);
	vm_halt(machine.vm);
	payload_close(&machine);
}
END_TEST

/* Nothing that the guest reads may jump by the time that it stood still. */
START_TEST(clocks_stand_still)
{
	PAYLOAD_OPEN(&machine, guest_clock, VM_PAYLOAD_FLAT32, 2);
	payload_start(&machine);
	for (int i = 0; i < 1000 && payload_result(&machine, 0) == 0; i++)
		nap_ms(10);
	vm_pause(machine.vm);
	int khz = ioctl(machine.vm->vcpu[0].fd, KVM_GET_TSC_KHZ, 0);
	struct kvm_device_attr attribute = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET };
	bool able = ioctl(machine.vm->vcpu[0].fd, KVM_HAS_DEVICE_ATTR, &attribute) == 0;
	struct kvm_clock_data before, after;
	ck_assert_int_eq(ioctl(machine.vm->kvm.vm_fd, KVM_GET_CLOCK, &before), 0);
	uint64_t time = vm_time_ns(machine.vm);
	vm_resume(machine.vm);
	for (int i = 0; i < 2; i++) {
		uint32_t count = payload_result(&machine, 0);
		vm_pause(machine.vm);
		nap_ms(800);
		vm_resume(machine.vm);
		for (int j = 0; j < 1000 && payload_result(&machine, 0) < count + 10; j++)
			nap_ms(1);
	}
	vm_pause(machine.vm);
	ck_assert_int_eq(ioctl(machine.vm->kvm.vm_fd, KVM_GET_CLOCK, &after), 0);
	ck_assert_uint_lt(after.clock - before.clock, 800 * NSEC_PER_MSEC);
	ck_assert_uint_ge(after.clock, before.clock);
	ck_assert_uint_lt(vm_time_ns(machine.vm) - time, 800 * NSEC_PER_MSEC);
	/* A KVM that interprets ring 0 lets it read the host's own TSC. */
	char error[256];
	bool slow = true;
	vm_probe(error, sizeof(error), &slow);
	if (able && !slow && khz > 0 && khz < 5000000)
		ck_assert_msg(payload_result(&machine, 1) < 400u * (uint32_t)khz, "the TSC jumped by %u ms", payload_result(&machine, 1) / (uint32_t)khz);
	else
		fprintf(stderr, "the TSC's jump is not judged: attribute %d, emulated %d, %d kHz\n", able, slow, khz);
	vm_halt(machine.vm);
	payload_close(&machine);
}
END_TEST

START_TEST(halted_guest_can_be_ended)
{
	PAYLOAD_OPEN(&machine, guest_halt, VM_PAYLOAD_FLAT32, 3);
	payload_start(&machine);
	for (int i = 0; i < 100 && payload_result(&machine, 0) == 0; i++)
		nap_ms(10);
	vm_pause(machine.vm);
	vm_resume(machine.vm);
	payload_close(&machine);
}
END_TEST

START_TEST(power_button)
{
	PAYLOAD_OPEN(&machine, guest_button, VM_PAYLOAD_FLAT32, 1);
	payload_start(&machine);
	for (int i = 0; i < 100 && payload_result(&machine, 0) == 0; i++)
		nap_ms(10);
	vm_power_button(machine.vm);
	ck_assert_int_eq(payload_wait(&machine), VM_EVENT_POWEROFF);
	ck_assert_uint_eq(payload_result(&machine, 1), 0);
	payload_close(&machine);
}
END_TEST

START_TEST(second_cpu)
{
	PAYLOAD_OPEN(&machine, guest_smp, VM_PAYLOAD_FLAT32, 2);
	payload_run(&machine);
	ck_assert_uint_eq(payload_result(&machine, 0), 0);
	ck_assert_uint_eq(payload_result(&machine, 1), 2);
	payload_close(&machine);
}
END_TEST

/* A process that may open nothing is given what it needs, and gives it back open. */
START_TEST(given_descriptors)
{
	struct vm_files files = { .kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC) };
	struct vm_payload payload = {
		.code = guest_port_io, .size = (uint32_t)(guest_port_io_end - guest_port_io), .gpa = PAYLOAD_CODE, .mode = VM_PAYLOAD_REAL16,
	};
	struct vm_config config = {
		.memory = PAYLOAD_MEMORY, .cpus = 1, .payload = &payload, .serial_in = -1, .serial_out = -1, .files = &files,
	};
	char error[200] = "", detail[100];
	int status = 0, null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int round = 0; round < 2; round++) {
		struct vm *vm = vm_create(&config, error, sizeof(error), &status);
		ck_assert_msg(vm != NULL, "%s", error);
		ck_assert_int_eq(vm_start(vm, error, sizeof(error)), 0);
		struct pollfd fd = { .fd = vm_event_fd(vm), .events = POLLIN };
		ck_assert_int_eq(poll(&fd, 1, 20000), 1);
		ck_assert_int_eq(vm_take_event(vm, detail, sizeof(detail)), VM_EVENT_POWEROFF);
		vm_destroy(vm);
		ck_assert_int_ge(fcntl(files.kvm, F_GETFD), 0);
	}
	close(files.kvm);
	files.kvm = null;
	ck_assert_ptr_null(vm_create(&config, error, sizeof(error), &status));
	ck_assert_int_ge(fcntl(null, F_GETFD), 0);
	close(null);
}
END_TEST

/* I7: nobody's ports and memory from all CPUs: all ones, and the machine obeys meanwhile. */
START_TEST(nobodys_from_all_cpus)
{
	PAYLOAD_OPEN(&machine, guest_nobody, VM_PAYLOAD_FLAT32, 4);
	payload_start(&machine);
	for (int i = 0; i < 1500 && (payload_result(&machine, 0) < 200 || payload_result(&machine, 1) < 3 || payload_result(&machine, 2) < 600); i++)
		nap_ms(10);
	ck_assert_uint_ge(payload_result(&machine, 0), 200);
	ck_assert_uint_eq(payload_result(&machine, 1), 3);
	ck_assert_uint_ge(payload_result(&machine, 2), 600);
	ck_assert_uint_eq(payload_result(&machine, 3), 0);
	uint64_t begin = clock_now_ns();
	vm_pause(machine.vm);
	uint32_t rounds = payload_result(&machine, 2);
	nap_ms(30);
	ck_assert_uint_eq(payload_result(&machine, 2), rounds);
	vm_resume(machine.vm);
	vm_halt(machine.vm);
	ck_assert_uint_lt(clock_now_ns() - begin, 5 * NSEC_PER_SEC);
	char detail[100];
	ck_assert_int_eq(vm_take_event(machine.vm, detail, sizeof(detail)), VM_EVENT_NONE);
	payload_close(&machine);
}
END_TEST

START_TEST(refused_settings)
{
	static const struct {
		uint64_t memory;
		uint32_t cpus;
	} table[] = { { 0, 1 }, { 1 << 20, 1 }, { (16 << 20) + 1, 1 }, { 1ull << 60, 1 }, { 1ull << 40, 1 }, { 16 << 20, 0 }, { 16 << 20, 255 } };
	struct vm_payload payload = { .code = "\xf4", .size = 1, .gpa = PAYLOAD_CODE };
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct vm_config config = { .memory = table[i].memory, .cpus = table[i].cpus, .payload = &payload, .serial_in = -1, .serial_out = -1 };
		char error[200] = "";
		int status = 0;
		ck_assert_msg(vm_create(&config, error, sizeof(error), &status) == NULL, "row %zu", i);
		ck_assert_int_eq(status, 2);
		ck_assert_msg(strchr(error, '\n') == NULL && strstr(error, "--") != NULL, "row %zu: %s", i, error);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("machine");
	TCase *c = tcase_create("machine");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, port_io);
	tcase_add_test(c, config_and_mmio);
	tcase_add_test(c, bars_move);
	tcase_add_test(c, msix_by_irqfd);
	tcase_add_test(c, doorbell_by_ioeventfd);
	tcase_add_test(c, triple_fault);
	tcase_add_test(c, resets);
	tcase_add_loop_test(c, kept_reset_comes_first, 0, 2);
	tcase_add_test(c, index_writes_are_kept);
	tcase_add_test(c, tsc_deadline_timer);
	tcase_add_test(c, interrupts_after_reset);
	tcase_add_test(c, serial_both_ways);
	tcase_add_test(c, serial_flood);
	tcase_add_test(c, pause_and_resume);
	tcase_add_test(c, clocks_stand_still);
	tcase_add_test(c, halted_guest_can_be_ended);
	tcase_add_test(c, power_button);
	tcase_add_test(c, second_cpu);
	tcase_add_test(c, nobodys_from_all_cpus);
	tcase_add_test(c, refused_settings);
	tcase_add_test(c, given_descriptors);
	suite_add_tcase(s, c);
	return s;
}

int main(void)
{
	return payload_main(suite);
}
