/*
 * Ways a guest leaves KVM that no CPU at hand can be made to take, through the real vCPU loop: I6, H1 and H2 of the hostile guest. What
 * each must become is a state of the VM, in bounded time, and a VM that can be started again.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "fake_kvm.h"
#include "unit.h"
#include "vmm/vm_internal.h"

static struct vm *vm;
static char detail[160];
static uint32_t limit; /* how many exits until the guest powers off */

static void nap(void)
{
	struct timespec time = { .tv_nsec = 1000000 };
	nanosleep(&time, NULL);
}

static void open_vm(int (*run)(uint32_t vcpu, struct kvm_run *run), uint32_t cpus)
{
	static const struct vm_payload payload = { .code = "\xf4", .size = 1, .gpa = 0x10000 };
	fake_kvm.run = run;
	struct vm_files files = { .kvm = fake_kvm.device_fd };
	struct vm_config config = {
		.name = "fake", .memory = 16 << 20, .cpus = cpus, .serial_in = -1, .serial_out = -1, .payload = &payload, .files = &files,
	};
	char error[256] = "";
	int status;
	vm = vm_create(&config, error, sizeof(error), &status);
	ck_assert_msg(vm != NULL, "%s", error);
}

static enum vm_event run_vm(void)
{
	char error[256] = "";
	ck_assert_msg(vm_start(vm, error, sizeof(error)) == 0, "%s", error);
	struct pollfd fd = { .fd = vm_event_fd(vm), .events = POLLIN };
	poll(&fd, 1, 20000);
	vm_halt(vm);
	return vm_take_event(vm, detail, sizeof(detail));
}

static void close_vm(void)
{
	vm_destroy(vm);
	fake_kvm_close();
}

static void power_off(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN;
}

/* --- I6 ------------------------------------------------------------------------------------------------------------------ */

static int triple_fault(uint32_t vcpu, struct kvm_run *run)
{
	(void)vcpu;
	run->exit_reason = KVM_EXIT_SHUTDOWN;
	return 0;
}

static int fail_entry(uint32_t vcpu, struct kvm_run *run)
{
	(void)vcpu;
	run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	run->fail_entry.hardware_entry_failure_reason = 0x80000021;
	return 0;
}

static int emulation(uint32_t vcpu, struct kvm_run *run)
{
	(void)vcpu;
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run->internal.ndata = 1000; /* more than there is room for */
	return 0;
}

static int unknown_error(uint32_t vcpu, struct kvm_run *run)
{
	(void)vcpu;
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = 77;
	run->internal.ndata = 0;
	return 0;
}

static int context_lost(uint32_t vcpu, struct kvm_run *run)
{
	(void)vcpu;
	run->exit_reason = KVM_EXIT_NOTIFY;
	run->notify.flags = KVM_NOTIFY_CONTEXT_INVALID;
	return 0;
}

static int nobody_knows(uint32_t vcpu, struct kvm_run *run)
{
	(void)vcpu;
	run->exit_reason = 4711;
	return 0;
}

static int run_fails(uint32_t vcpu, struct kvm_run *run)
{
	(void)vcpu, (void)run;
	errno = EFAULT;
	return -1;
}

static int system_event(uint32_t vcpu, struct kvm_run *run)
{
	(void)vcpu;
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = KVM_SYSTEM_EVENT_CRASH;
	return 0;
}

static int panics(uint32_t vcpu, struct kvm_run *run)
{
	(void)vcpu;
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = KVM_EXIT_IO_OUT;
	run->io.port = 0x505;
	run->io.size = 1;
	run->io.count = 1;
	run->io.data_offset = 4096;
	*((uint8_t *)run + 4096) = 1;
	return 0;
}

static const struct {
	int (*run)(uint32_t vcpu, struct kvm_run *run);
	const char *says;
} ends[] = {
	{ triple_fault, "triple fault" }, { fail_entry, "refused to enter the guest (reason 0x80000021)" }, { emulation, "cannot be emulated" },
	{ unknown_error, "internal error 77" }, { context_lost, "context is lost" }, { nobody_knows, "exit reason 4711" },
	{ run_fails, "KVM_RUN failed: Bad address" }, { system_event, "reported a crash" }, { panics, "kernel panicked" },
};

START_TEST(ends_are_crashes)
{
	/* The log goes here; the test has a process of its own. */
	int log = memfd_create("log", 0);
	dup2(log, STDERR_FILENO);
	open_vm(ends[_i].run, 3);
	/* Twice: what crashed can be started again. */
	for (int round = 0; round < 2; round++) {
		ck_assert_int_eq(run_vm(), VM_EVENT_CRASH);
		ck_assert_msg(strstr(detail, ends[_i].says) != NULL, "%s", detail);
	}
	/* One crash stops all vCPUs: none was entered again and again. */
	ck_assert_uint_le(fake_kvm.runs, 2 * 3);
	/* Registers are in the log, once a crash. */
	static char text[65536];
	ssize_t n = pread(log, text, sizeof(text) - 1, 0);
	ck_assert_int_gt(n, 0);
	const char *first = strstr(text, "rip 0xffffffff81234567"), *second = first ? strstr(first + 1, "rip 0xffffffff81234567") : NULL;
	ck_assert_msg(second && !strstr(second + 1, "rip 0x") && strstr(text, "rax 00000000feedface"), "%s", text);
	close_vm();
}
END_TEST

static int tells_of_kexec(uint32_t vcpu, struct kvm_run *run)
{
	if (fake_kvm.runs > limit) {
		power_off(run);
		return 0;
	}
	panics(vcpu, run);
	*((uint8_t *)run + 4096) = PANIC_CRASH_LOADED;
	return 0;
}

/* I5's rule for all that a guest can make us say. */
START_TEST(words_are_bounded)
{
	int log = memfd_create("log", 0);
	dup2(log, STDERR_FILENO);
	log_set_level(LOG_WARN);
	limit = 20000;
	open_vm(tells_of_kexec, 2);
	ck_assert_int_eq(run_vm(), VM_EVENT_POWEROFF);
	static char text[65536];
	ssize_t n = pread(log, text, sizeof(text) - 1, 0);
	uint32_t lines = 0;
	for (ssize_t i = 0; i < n; i++)
		lines += text[i] == '\n';
	ck_assert_ptr_nonnull(strstr(text, "starts another one"));
	ck_assert_uint_le(lines, 30);
	close_vm();
}
END_TEST

/* --- H1 ------------------------------------------------------------------------------------------------------------------ */

static int locks_the_bus(uint32_t vcpu, struct kvm_run *run)
{
	(void)vcpu;
	if (fake_kvm.runs > limit) {
		power_off(run);
		return 0;
	}
	/* Alone, or on top of another reason: both are told by the flag (api.rst 7.21). */
	run->exit_reason = fake_kvm.runs % 2 ? KVM_EXIT_X86_BUS_LOCK : KVM_EXIT_INTR;
	run->flags = KVM_RUN_X86_BUS_LOCK;
	return 0;
}

/* A signal came with it. */
static int locks_and_is_interrupted(uint32_t vcpu, struct kvm_run *run)
{
	locks_the_bus(vcpu, run);
	if (fake_kvm.runs > limit)
		return 0;
	run->exit_reason = KVM_EXIT_INTR;
	errno = EINTR;
	return -1;
}

static int harmless(uint32_t vcpu, struct kvm_run *run)
{
	(void)vcpu;
	if (fake_kvm.runs > limit)
		power_off(run);
	else
		run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
	return 0;
}

START_TEST(bus_locks_are_throttled)
{
	fake_kvm.cap[fake_kvm.n_caps].cap = KVM_CAP_X86_BUS_LOCK_EXIT;
	fake_kvm.cap[fake_kvm.n_caps++].value = KVM_BUS_LOCK_DETECTION_OFF | KVM_BUS_LOCK_DETECTION_EXIT;
	limit = 200;
	open_vm(_i == 0 ? locks_the_bus : locks_and_is_interrupted, 1);
	const struct kvm_enable_cap *cap = fake_kvm_enabled(KVM_CAP_X86_BUS_LOCK_EXIT);
	ck_assert_ptr_nonnull(cap);
	ck_assert_uint_eq(cap->args[0], KVM_BUS_LOCK_DETECTION_EXIT);
	uint64_t begin = clock_now_ns();
	ck_assert_int_eq(run_vm(), VM_EVENT_POWEROFF);
	/* A thousand a second at most. */
	ck_assert_uint_ge(clock_now_ns() - begin, 200 * NSEC_PER_MSEC);
	close_vm();
}
END_TEST

START_TEST(others_are_not_throttled)
{
	limit = 20000;
	open_vm(harmless, 1);
	ck_assert_ptr_null(fake_kvm_enabled(KVM_CAP_X86_BUS_LOCK_EXIT)); /* not there, not asked for */
	ck_assert_ptr_null(fake_kvm_enabled(KVM_CAP_X86_NOTIFY_VMEXIT));
	uint64_t begin = clock_now_ns();
	ck_assert_int_eq(run_vm(), VM_EVENT_POWEROFF);
	ck_assert_uint_lt(clock_now_ns() - begin, 10 * NSEC_PER_SEC);
	close_vm();
}
END_TEST

/* A guest that does nothing but lock the bus can be stopped at once. */
START_TEST(locked_bus_stops_promptly)
{
	char error[256];
	limit = UINT32_MAX;
	open_vm(locks_the_bus, 4);
	ck_assert_int_eq(vm_start(vm, error, sizeof(error)), 0);
	while (fake_kvm.runs < 50)
		nap();
	uint64_t begin = clock_now_ns();
	vm_pause(vm);
	vm_resume(vm);
	vm_halt(vm);
	ck_assert_uint_lt(clock_now_ns() - begin, 5 * NSEC_PER_SEC);
	close_vm();
}
END_TEST

/* --- H2 ------------------------------------------------------------------------------------------------------------------ */

static int notified(uint32_t vcpu, struct kvm_run *run)
{
	(void)vcpu;
	if (fake_kvm.runs > limit)
		power_off(run);
	else {
		run->exit_reason = KVM_EXIT_NOTIFY;
		run->notify.flags = 0;
	}
	return 0;
}

START_TEST(stuck_event_windows)
{
	fake_kvm.cap[fake_kvm.n_caps].cap = KVM_CAP_X86_NOTIFY_VMEXIT;
	fake_kvm.cap[fake_kvm.n_caps++].value = 1;
	limit = 100;
	open_vm(notified, 1);
	const struct kvm_enable_cap *cap = fake_kvm_enabled(KVM_CAP_X86_NOTIFY_VMEXIT);
	ck_assert_ptr_nonnull(cap);
	ck_assert_uint_eq((uint32_t)cap->args[0] & KVM_X86_NOTIFY_VMEXIT_ENABLED, KVM_X86_NOTIFY_VMEXIT_ENABLED);
	ck_assert_int_eq(run_vm(), VM_EVENT_POWEROFF);
	close_vm();
}
END_TEST

/* --- what the host cannot do ------------------------------------------------------------------------------------------------ */

START_TEST(refused)
{
	struct vm_payload payload = { .code = "\xf4", .size = 1, .gpa = 0x10000 };
	struct vm_files files = { .kvm = fake_kvm.device_fd };
	struct vm_config config = {
		.memory = 16 << 20, .cpus = 9, .serial_in = -1, .serial_out = -1, .payload = &payload, .files = &files,
	};
	char error[256] = "";
	int status = 0;
	ck_assert_ptr_null(vm_create(&config, error, sizeof(error), &status));
	ck_assert_msg(strstr(error, "9 CPUs are more than KVM's 8") && strstr(error, "--cpus"), "%s", error);
	ck_assert_int_eq(status, 2);
	ck_assert_uint_eq(fake_kvm.vcpus, 0);
	static const uint32_t needed[] = { KVM_CAP_IRQFD, KVM_CAP_IOEVENTFD, KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_USER_MEMORY };
	config.cpus = 1;
	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		fake_kvm.n_caps = 1;
		fake_kvm.cap[0].cap = needed[i];
		fake_kvm.cap[0].value = 0;
		ck_assert_ptr_null(vm_create(&config, error, sizeof(error), &status));
		ck_assert_msg(strstr(error, "lacks") && strstr(error, "Linux 5.10"), "%s", error);
		ck_assert_int_eq(status, 3);
	}
	fake_kvm_close();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("exits");
	TCase *c = tcase_create("exits");
	log_set_level(LOG_ERROR);
	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, fake_kvm_open, NULL);
	tcase_add_loop_test(c, ends_are_crashes, 0, sizeof(ends) / sizeof(ends[0]));
	tcase_add_test(c, words_are_bounded);
	tcase_add_loop_test(c, bus_locks_are_throttled, 0, 2);
	tcase_add_test(c, others_are_not_throttled);
	tcase_add_test(c, locked_bus_stops_promptly);
	tcase_add_test(c, stuck_event_windows);
	tcase_add_test(c, refused);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
