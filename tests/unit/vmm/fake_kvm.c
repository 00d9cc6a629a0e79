#include "fake_kvm.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RUN_SIZE 12288
#define DESCRIPTORS 1024
#define VCPUS 8

struct fake_kvm fake_kvm;

/* Which of ours a descriptor is: 0 nobody's, 1 the device, 2 a VM, 3 and above a vCPU and its number. */
static _Atomic uint32_t kind[DESCRIPTORS];
static struct kvm_run *pages[VCPUS];

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static int make(uint32_t what, size_t size)
{
	int fd = memfd_create("fake-kvm", MFD_CLOEXEC);
	if (fd < 0 || fd >= DESCRIPTORS || (size && ftruncate(fd, (off_t)size) < 0))
		return -1;
	kind[fd] = what;
	return fd;
}

void fake_kvm_open(void)
{
	memset(&fake_kvm, 0, sizeof(fake_kvm));
	for (int i = 0; i < DESCRIPTORS; i++)
		kind[i] = 0;
	fake_kvm.device_fd = make(1, 0);
}

void fake_kvm_close(void)
{
	for (int i = 0; i < VCPUS; i++) {
		if (pages[i])
			munmap(pages[i], RUN_SIZE);
		pages[i] = NULL;
	}
	close(fake_kvm.device_fd);
}

const struct kvm_enable_cap *fake_kvm_enabled(uint32_t cap)
{
	for (uint32_t i = 0; i < fake_kvm.n_enabled; i++)
		if (fake_kvm.enabled[i].cap == cap)
			return &fake_kvm.enabled[i];
	return NULL;
}

static int check_extension(uint32_t cap)
{
	for (uint32_t i = 0; i < fake_kvm.n_caps; i++)
		if (fake_kvm.cap[i].cap == cap)
			return fake_kvm.cap[i].value;
	switch (cap) {
	case KVM_CAP_IRQCHIP:
	case KVM_CAP_USER_MEMORY:
	case KVM_CAP_SET_TSS_ADDR:
	case KVM_CAP_SET_IDENTITY_MAP_ADDR:
	case KVM_CAP_EXT_CPUID:
	case KVM_CAP_MP_STATE:
	case KVM_CAP_PIT2:
	case KVM_CAP_IRQ_ROUTING:
	case KVM_CAP_SIGNAL_MSI:
	case KVM_CAP_IRQFD:
	case KVM_CAP_IOEVENTFD:
	case KVM_CAP_IOEVENTFD_ANY_LENGTH:
	case KVM_CAP_IMMEDIATE_EXIT:
		return 1;
	case KVM_CAP_MAX_VCPUS:
		return VCPUS;
	default:
		return 0;
	}
}

static int device_ioctl(unsigned long request, void *argument)
{
	switch (request) {
	case KVM_GET_API_VERSION:
		return KVM_API_VERSION;
	case KVM_CHECK_EXTENSION:
		return check_extension((uint32_t)(uintptr_t)argument);
	case KVM_GET_VCPU_MMAP_SIZE:
		return RUN_SIZE;
	case KVM_GET_SUPPORTED_CPUID: {
		struct kvm_cpuid2 *cpuid = argument;
		cpuid->nent = 1;
		cpuid->entries[0] = (struct kvm_cpuid_entry2){ .eax = 1 };
		return 0;
	}
	case KVM_CREATE_VM:
		return make(2, 0);
	default:
		errno = EINVAL;
		return -1;
	}
}

static int vm_ioctl(unsigned long request, void *argument)
{
	if (request == KVM_ENABLE_CAP) {
		fake_kvm.enabled[fake_kvm.n_enabled++ % FAKE_CAPS] = *(struct kvm_enable_cap *)argument;
		return 0;
	}
	if (request == KVM_CREATE_VCPU) {
		uint32_t number = (uint32_t)(uintptr_t)argument;
		int fd = make(3 + number, RUN_SIZE);
		pages[number] = mmap(NULL, RUN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		fake_kvm.vcpus++;
		return fd;
	}
	return 0;
}

static int vcpu_ioctl(uint32_t number, unsigned long request, void *argument)
{
	if (request == KVM_GET_REGS)
		*(struct kvm_regs *)argument = (struct kvm_regs){ .rip = FAKE_RIP, .rax = FAKE_RAX };
	if (request == KVM_GET_SREGS)
		memset(argument, 0, sizeof(struct kvm_sregs));
	if (request == KVM_SET_MSRS)
		return 2;
	if (request != KVM_RUN)
		return 0;
	struct kvm_run *run = pages[number];
	run->flags = 0;
	if (__atomic_load_n(&run->immediate_exit, __ATOMIC_RELAXED)) {
		errno = EINTR;
		return -1;
	}
	fake_kvm.runs++;
	return fake_kvm.run(number, run);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	uint32_t what = fd >= 0 && fd < DESCRIPTORS ? kind[fd] : 0;
	switch (what) {
	case 0:
		return __real_ioctl(fd, request, argument);
	case 1:
		return device_ioctl(request, argument);
	case 2:
		return vm_ioctl(request, argument);
	default:
		return vcpu_ioctl(what - 3, request, argument);
	}
}
