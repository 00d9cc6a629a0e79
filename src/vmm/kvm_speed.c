/*
 * How fast this KVM runs ring 0. Where the host is itself a virtual machine without nested virtualisation, KVM may interpret each
 * kernel instruction: everything works, at a few million instructions per second. Only timing tells.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "vmm/kvm.h"
#include "vmm/layout.h"

#define CODE_GPA 0x1000ull
#define LOOPS 20000u
#define INSTRUCTIONS (2.0 * LOOPS)

static double thread_seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Protected mode, flat segments, no paging: real mode would be interpreted by older CPUs anyway. */
static int set_registers(int vcpu)
{
	struct kvm_sregs sregs;
	if (kvm_ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	struct kvm_segment flat = { .limit = 0xffffffff, .selector = 0x18, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1 };
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	flat.selector = 0x10;
	flat.type = 11;
	sregs.cs = flat;
	sregs.cr0 |= 1;
	struct kvm_regs regs = { .rip = CODE_GPA, .rflags = 2 };
	return kvm_ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || kvm_ioctl(vcpu, KVM_SET_REGS, &regs) < 0 ? -1 : 0;
}

/* Seconds of one run to the HLT, or a negative number. */
static double run_once(int vcpu, const struct kvm_run *run)
{
	if (set_registers(vcpu) < 0)
		return -1;
	double start = thread_seconds();
	if (kvm_ioctl(vcpu, KVM_RUN, NULL) < 0 || run->exit_reason != KVM_EXIT_HLT)
		return -1;
	return thread_seconds() - start;
}

double kvm_measure_speed(const struct kvm *kvm)
{
	/* mov ecx, LOOPS; 1: dec ecx; jnz 1b; hlt */
	static const uint8_t code[] = { 0xb9, LOOPS & 0xff, LOOPS >> 8 & 0xff, LOOPS >> 16, 0, 0x49, 0x75, 0xfd, 0xf4 };
	double speed = 0;
	int vm = ioctl(kvm->device_fd, KVM_CREATE_VM, 0ul), vcpu = -1;
	struct kvm_run *run = MAP_FAILED;
	uint8_t *memory = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm < 0 || memory == MAP_FAILED)
		goto out;
	memcpy(memory + CODE_GPA, code, sizeof(code));
	uint64_t identity_map = LAYOUT_IDENTITY_MAP;
	struct kvm_userspace_memory_region slot = { .memory_size = 0x2000, .userspace_addr = (uint64_t)(uintptr_t)memory };
	if (kvm_ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0 || ioctl(vm, KVM_SET_TSS_ADDR, LAYOUT_TSS) < 0 ||
	    kvm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
		goto out;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0ul);
	if (vcpu < 0)
		goto out;
	run = mmap(NULL, (size_t)kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		goto out;
	/* The first run also pays for page tables; the best of three counts. */
	for (int i = 0; i < 3; i++) {
		double seconds = run_once(vcpu, run);
		if (seconds > 0 && INSTRUCTIONS / seconds > speed)
			speed = INSTRUCTIONS / seconds;
	}
out:
	if (run != MAP_FAILED)
		munmap(run, (size_t)kvm->run_size);
	if (vcpu >= 0)
		close(vcpu);
	if (vm >= 0)
		close(vm);
	if (memory != MAP_FAILED)
		munmap(memory, 0x2000);
	return speed;
}
