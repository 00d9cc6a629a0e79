#include "vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LOG_MODULE "kvm"
#include "base/base.h"
#include "base/log.h"
#include "vmm/layout.h"
#include "vmm/pci.h"

/* Linux 6.10, Documentation/virt/kvm/api.rst 4.143; older headers lack it. */
#ifndef KVM_CAP_PRE_FAULT_MEMORY
#define KVM_CAP_PRE_FAULT_MEMORY 236
#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)
struct kvm_pre_fault_memory {
	__u64 gpa, size, flags, padding[5];
};
#endif

#define KVM_PATH "/dev/kvm"
#define IOAPIC_PINS 24

int kvm_ioctl(int fd, unsigned long request, void *argument)
{
	int result;
	do
		result = ioctl(fd, request, argument);
	while (result < 0 && errno == EINTR);
	return result;
}

static int flag_ioctl(int fd, unsigned long request, unsigned long value)
{
	return ioctl(fd, request, value);
}

/* --- probing -------------------------------------------------------------------------------------------------------- */

static const struct {
	int capability;
	const char *name;
} required[] = {
	{ KVM_CAP_IRQCHIP, "in-kernel interrupt controllers (KVM_CAP_IRQCHIP)" },
	{ KVM_CAP_USER_MEMORY, "memory slots (KVM_CAP_USER_MEMORY)" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
	{ KVM_CAP_PIT2, "the timer chip (KVM_CAP_PIT2)" },
	{ KVM_CAP_IRQ_ROUTING, "interrupt routing (KVM_CAP_IRQ_ROUTING)" },
	{ KVM_CAP_SIGNAL_MSI, "interrupts by message (KVM_CAP_SIGNAL_MSI)" },
	{ KVM_CAP_IRQFD, "interrupts by eventfd (KVM_CAP_IRQFD)" },
	{ KVM_CAP_IOEVENTFD, "notification by eventfd (KVM_CAP_IOEVENTFD)" },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
};

static void close_device(struct kvm *kvm)
{
	if (!kvm->device_borrowed)
		close(kvm->device_fd);
	kvm->device_fd = -1;
}

int kvm_open(struct kvm *kvm, int device_fd, char *error, size_t error_size)
{
	memset(kvm, 0, sizeof(*kvm));
	kvm->vm_fd = -1;
	kvm->device_borrowed = device_fd >= 0;
	kvm->device_fd = device_fd >= 0 ? device_fd : open(KVM_PATH, O_RDWR | O_CLOEXEC);
	if (kvm->device_fd < 0) {
		switch (errno) {
		case ENOENT:
		case ENODEV:
		case ENXIO:
			snprintf(error, error_size, "no " KVM_PATH ": load kvm_intel or kvm_amd (modprobe), or enable virtualisation "
				"(VT-x, AMD-V) in the firmware or in the host of this machine");
			break;
		case EACCES:
		case EPERM:
			snprintf(error, error_size, "no permission to open " KVM_PATH ": add this user to the group kvm and log in again");
			break;
		default:
			snprintf(error, error_size, "cannot open " KVM_PATH ": %s", strerror(errno));
		}
		return -1;
	}
	int version = flag_ioctl(kvm->device_fd, KVM_GET_API_VERSION, 0);
	if (version < 0) {
		snprintf(error, error_size, KVM_PATH " is not KVM's device (%s): load kvm_intel or kvm_amd (modprobe)", strerror(errno));
		goto fail;
	}
	if (version != KVM_API_VERSION) {
		snprintf(error, error_size, KVM_PATH " speaks API version %d, not %d: run a Linux kernel of this century", version, KVM_API_VERSION);
		goto fail;
	}
	for (size_t i = 0; i < ARRAY_LEN(required); i++) {
		if (flag_ioctl(kvm->device_fd, KVM_CHECK_EXTENSION, (unsigned long)required[i].capability) <= 0) {
			snprintf(error, error_size, KVM_PATH " lacks %s: run Linux 5.10 or newer", required[i].name);
			goto fail;
		}
	}
	kvm->run_size = flag_ioctl(kvm->device_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (kvm->run_size < (int)sizeof(struct kvm_run)) {
		snprintf(error, error_size, KVM_PATH " gives no vCPU page: %s; run Linux 5.10 or newer", strerror(errno));
		goto fail;
	}
	pthread_mutex_init(&kvm->routes_lock, NULL);
	return 0;
fail:
	close_device(kvm);
	return -1;
}

void kvm_close(struct kvm *kvm)
{
	if (kvm->device_fd < 0)
		return;
	kvm_destroy_vm(kvm);
	close_device(kvm);
	pthread_mutex_destroy(&kvm->routes_lock);
}

/* --- the VM --------------------------------------------------------------------------------------------------------- */

static void add_pin(struct kvm *kvm, uint32_t gsi, uint32_t chip, uint32_t pin)
{
	kvm->routes[kvm->n_routes++] = (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

/* The PC's wiring: ISA lines go to both PICs and the I/O APIC, line 0 (PIT) to the I/O APIC's pin 2. */
static void default_routes(struct kvm *kvm)
{
	kvm->n_routes = 0;
	for (uint32_t i = 0; i < 8; i++)
		if (i != 2)
			add_pin(kvm, i, KVM_IRQCHIP_PIC_MASTER, i);
	for (uint32_t i = 8; i < 16; i++)
		add_pin(kvm, i, KVM_IRQCHIP_PIC_SLAVE, i - 8);
	for (uint32_t i = 0; i < IOAPIC_PINS; i++)
		if (i != 2)
			add_pin(kvm, i, KVM_IRQCHIP_IOAPIC, i == 0 ? 2 : i);
}

/* routes_lock held, or nobody else there yet. */
static int set_routes(const struct kvm *kvm)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entries[KVM_ROUTES];
	} table = { .head.nr = kvm->n_routes };
	memcpy(table.entries, kvm->routes, kvm->n_routes * sizeof(kvm->routes[0]));
	return kvm_ioctl(kvm->vm_fd, KVM_SET_GSI_ROUTING, &table);
}

static void enable_optional(struct kvm *kvm)
{
	/* Bus locks slow every core: make them exits, which are throttled. */
	int modes = flag_ioctl(kvm->device_fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_BUS_LOCK_EXIT);
	struct kvm_enable_cap bus_lock = { .cap = KVM_CAP_X86_BUS_LOCK_EXIT, .args[0] = KVM_BUS_LOCK_DETECTION_EXIT };
	kvm->bus_lock_exits = modes > 0 && (modes & KVM_BUS_LOCK_DETECTION_EXIT) && kvm_ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &bus_lock) == 0;
	/* A vCPU that never opens an event window is interrupted by KVM itself; window 0 is KVM's choice. */
	struct kvm_enable_cap notify = { .cap = KVM_CAP_X86_NOTIFY_VMEXIT, .args[0] = KVM_X86_NOTIFY_VMEXIT_ENABLED };
	if (flag_ioctl(kvm->device_fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_NOTIFY_VMEXIT) > 0 && kvm_ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &notify) < 0)
		log_debug("no notification of stuck event windows: %s", strerror(errno));
	/* The guest gets no performance counters: nothing here virtualises them well, and none can leak. */
	int pmu = flag_ioctl(kvm->device_fd, KVM_CHECK_EXTENSION, KVM_CAP_PMU_CAPABILITY);
	struct kvm_enable_cap no_pmu = { .cap = KVM_CAP_PMU_CAPABILITY, .args[0] = KVM_PMU_CAP_DISABLE };
	if (pmu > 0 && (pmu & KVM_PMU_CAP_DISABLE) && kvm_ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &no_pmu) < 0)
		log_debug("performance counters stay on: %s", strerror(errno));
}

static int set_memory(const struct kvm *kvm, const struct guest_memory *memory)
{
	for (uint32_t i = 0; i < memory->n_regions; i++) {
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = memory->region[i].gpa,
			.memory_size = memory->region[i].size,
			.userspace_addr = (uint64_t)(uintptr_t)memory->region[i].host,
		};
		if (kvm_ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return -1;
	}
	return 0;
}

int kvm_create_vm(struct kvm *kvm, const struct guest_memory *memory, char *error, size_t error_size)
{
	const char *what = "a virtual machine";
	do
		kvm->vm_fd = flag_ioctl(kvm->device_fd, KVM_CREATE_VM, 0);
	while (kvm->vm_fd < 0 && errno == EINTR);
	if (kvm->vm_fd < 0)
		goto fail;
	uint64_t identity_map = LAYOUT_IDENTITY_MAP;
	what = "reserved pages";
	if (kvm_ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0 || flag_ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, LAYOUT_TSS) < 0)
		goto fail;
	enable_optional(kvm);
	what = "interrupt controllers";
	if (flag_ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		goto fail;
	/* The dummy speaker port (0x61) answers in the kernel too: the guest times its TSC with it. */
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	what = "timer chip";
	if (kvm_ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		goto fail;
	default_routes(kvm);
	what = "interrupt routes";
	if (set_routes(kvm) < 0)
		goto fail;
	what = "memory slots";
	if (memory && set_memory(kvm, memory) < 0)
		goto fail;
	return 0;
fail:
	snprintf(error, error_size, "KVM refuses %s: %s; check that no other hypervisor holds the CPU and that memory is left", what, strerror(errno));
	kvm_destroy_vm(kvm);
	return -1;
}

void kvm_destroy_vm(struct kvm *kvm)
{
	/* Device threads may signal interrupts at any time: they find the old VM or none. */
	pthread_mutex_lock(&kvm->routes_lock);
	if (kvm->vm_fd >= 0)
		close(kvm->vm_fd);
	kvm->vm_fd = -1;
	kvm->n_routes = 0;
	pthread_mutex_unlock(&kvm->routes_lock);
}

void kvm_prefault(const struct kvm *kvm, int vcpu_fd, uint64_t gpa, uint64_t size)
{
	if (flag_ioctl(kvm->device_fd, KVM_CHECK_EXTENSION, KVM_CAP_PRE_FAULT_MEMORY) <= 0)
		return;
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = (size + GUEST_PAGE - 1) & ~(GUEST_PAGE - 1) };
	/* The range shrinks as it is done, so a retry after a signal goes on where it was. */
	if (kvm_ioctl(vcpu_fd, KVM_PRE_FAULT_MEMORY, &range) < 0)
		log_debug("guest memory is not mapped ahead: %s", strerror(errno));
}

int kvm_coalesce_port(const struct kvm *kvm, uint16_t port, uint32_t size, bool on)
{
	struct kvm_coalesced_mmio_zone zone = { .addr = port, .size = size, .pio = 1 };
	if (flag_ioctl(kvm->device_fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_PIO) <= 0) {
		errno = ENOTSUP;
		return -1;
	}
	return kvm_ioctl(kvm->vm_fd, on ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO, &zone);
}

struct kvm_coalesced_mmio_ring *kvm_coalesced_ring(const struct kvm *kvm, void *vcpu_run)
{
	/* The capability's value is the ring's page in the vCPU's mapping (Documentation/virt/kvm/api.rst 4.116). */
	int page = flag_ioctl(kvm->device_fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);
	if (page <= 0 || (page + 1) * (int)GUEST_PAGE > kvm->run_size)
		return NULL;
	return (struct kvm_coalesced_mmio_ring *)((uint8_t *)vcpu_run + (size_t)page * GUEST_PAGE);
}

uint64_t kvm_feature_msr(const struct kvm *kvm, uint32_t index)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry.index = index };
	return kvm_ioctl(kvm->device_fd, KVM_GET_MSRS, &msrs) == 1 ? msrs.entry.data : 0;
}

struct kvm_cpuid2 *kvm_supported_cpuid(const struct kvm *kvm)
{
	for (uint32_t room = 128; room <= 4096; room *= 2) {
		struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + room * sizeof(cpuid->entries[0]));
		if (!cpuid)
			return NULL;
		cpuid->nent = room;
		if (kvm_ioctl(kvm->device_fd, KVM_GET_SUPPORTED_CPUID, cpuid) == 0)
			return cpuid;
		int saved = errno;
		free(cpuid);
		errno = saved;
		if (saved != E2BIG)
			return NULL;
	}
	errno = E2BIG;
	return NULL;
}

/* --- interrupts and notifications ------------------------------------------------------------------------------------ */

int kvm_msi_route(void *host, uint32_t gsi, uint64_t address, uint32_t data, int event_fd)
{
	struct kvm *kvm = host;
	struct kvm_irq_routing_entry entry = {
		.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data },
	};
	int result = -1;
	pthread_mutex_lock(&kvm->routes_lock);
	uint32_t i = 0;
	while (i < kvm->n_routes && kvm->routes[i].gsi != gsi)
		i++;
	bool is_new = i == kvm->n_routes;
	if (i == KVM_ROUTES) {
		errno = ENOSPC;
		goto out;
	}
	struct kvm_irq_routing_entry old = kvm->routes[i];
	kvm->routes[i] = entry;
	kvm->n_routes += is_new;
	if (set_routes(kvm) < 0)
		goto undo;
	struct kvm_irqfd irqfd = { .fd = (uint32_t)event_fd, .gsi = gsi };
	if (is_new && kvm_ioctl(kvm->vm_fd, KVM_IRQFD, &irqfd) < 0)
		goto undo;
	result = 0;
	goto out;
undo:
	kvm->routes[i] = old;
	kvm->n_routes -= is_new;
out:
	pthread_mutex_unlock(&kvm->routes_lock);
	return result;
}

int kvm_msi_unroute(void *host, uint32_t gsi, int event_fd)
{
	struct kvm *kvm = host;
	struct kvm_irqfd irqfd = { .fd = (uint32_t)event_fd, .gsi = gsi, .flags = KVM_IRQFD_FLAG_DEASSIGN };
	pthread_mutex_lock(&kvm->routes_lock);
	int result = kvm_ioctl(kvm->vm_fd, KVM_IRQFD, &irqfd);
	/* KVM learns of it with the next change; nothing signals the GSI meanwhile. */
	for (uint32_t i = 0; i < kvm->n_routes; i++) {
		if (kvm->routes[i].gsi == gsi) {
			kvm->routes[i] = kvm->routes[--kvm->n_routes];
			break;
		}
	}
	pthread_mutex_unlock(&kvm->routes_lock);
	return result;
}

int kvm_msi_send(void *host, uint64_t address, uint32_t data)
{
	struct kvm *kvm = host;
	struct kvm_msi msi = { .address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data };
	/*
	 * Without routes_lock: a device that signals is not reset yet, and vm_fd changes only after all are. -1 is KVM's word for "no
	 * local APIC has that id" (kvm_irq_delivery_to_apic), which arrives here as EPERM; like a message into the void, it is sent.
	 */
	return kvm_ioctl(kvm->vm_fd, KVM_SIGNAL_MSI, &msi) < 0 && errno != EPERM ? -1 : 0;
}

int kvm_ioeventfd(void *host, uint64_t gpa, uint32_t size, int event_fd, bool add)
{
	struct kvm *kvm = host;
	struct kvm_ioeventfd ioeventfd = {
		.addr = gpa, .len = size, .fd = event_fd, .flags = add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};
	return kvm_ioctl(kvm->vm_fd, KVM_IOEVENTFD, &ioeventfd);
}

void kvm_irq_line(struct kvm *kvm, uint32_t gsi, bool level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };
	pthread_mutex_lock(&kvm->routes_lock);
	if (kvm->vm_fd >= 0 && kvm_ioctl(kvm->vm_fd, KVM_IRQ_LINE, &line) < 0)
		log_debug("interrupt line %u: %s", gsi, strerror(errno));
	pthread_mutex_unlock(&kvm->routes_lock);
}
