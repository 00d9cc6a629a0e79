#include "vmm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LOG_MODULE "vm"
#include "base/base.h"
#include "base/exit_status.h"
#include "base/thread.h"
#include "vmm/acpi.h"
#include "vmm/backing.h"
#include "vmm/cpuid.h"
#include "vmm/layout.h"
#include "vmm/vm_internal.h"

#define MIB (1ull << 20)
#define MSR_MICROCODE 0x8b
#define GIB (1ull << 30)
#define MEMORY_MIN (16 * MIB)
#define SLOW_BELOW 20e6 /* instructions a second; a kernel needs some hundred million to boot */
#define VCPU_NICE 10    /* below the front thread and the devices */

int vm_probe(char *error, size_t error_size, bool *slow)
{
	struct kvm kvm;
	if (kvm_open(&kvm, -1, error, error_size) < 0)
		return -1;
	int result = kvm_create_vm(&kvm, NULL, error, error_size);
	if (result == 0 && slow) {
		double speed = kvm_measure_speed(&kvm);
		*slow = speed > 0 && speed < SLOW_BELOW;
		log_debug("ring 0 runs at %.1f million instructions a second", speed / 1e6);
	}
	kvm_close(&kvm);
	return result;
}

int vm_open_kvm(char *error, size_t error_size)
{
	struct kvm kvm;
	if (kvm_open(&kvm, -1, error, error_size) < 0)
		return -1;
	int fd = fcntl(kvm.device_fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		snprintf(error, error_size, "cannot keep /dev/kvm open: %s", strerror(errno));
	kvm_close(&kvm);
	return fd;
}

/* --- creation ------------------------------------------------------------------------------------------------------------ */

/* may_open: to look at the host's state. */
static bool check(const struct vm_config *config, bool may_open, char *error, size_t error_size)
{
	if (config->cpus < 1 || config->cpus > VM_MAX_CPUS) {
		snprintf(error, error_size, "%u CPUs are impossible; give 1 to %d with --cpus", config->cpus, VM_MAX_CPUS);
		return false;
	}
	if (config->memory < MEMORY_MIN || config->memory % MIB != 0 || config->memory > LAYOUT_RAM_MAX) {
		snprintf(error, error_size, "%llu bytes of memory are impossible; give whole MiB, 16M to 1024G, with --memory",
			(unsigned long long)config->memory);
		return false;
	}
	struct backing_host host;
	if (may_open) {
		backing_read(config->hugepages, &host);
		if (backing_judge(&host, config->memory, config->hugepages, error, error_size) == BACKING_IMPOSSIBLE)
			return false;
	}
	if (config->payload)
		return true;
	if (!config->kernel) {
		snprintf(error, error_size, "no kernel given; name a bzImage or vmlinux with --kernel");
		return false;
	}
	struct boot_request request = {
		.kernel = config->kernel, .initrd = config->initrd, .cmdline = config->cmdline, .files = config->files ? config->files->boot : NULL,
	};
	return boot_check(&request, config->memory, error, error_size);
}

bool vm_check(const struct vm_config *config, char *error, size_t error_size)
{
	return check(config, true, error, error_size);
}

void vm_log_memory(const struct vm_config *config)
{
	struct backing_host host;
	char text[256];
	backing_read(0, &host);
	if (config->hugepages)
		log_info("guest memory: huge pages of %llu MiB", (unsigned long long)(config->hugepages / MIB));
	else if (backing_judge(&host, config->memory, 0, text, sizeof(text)) != BACKING_IMPOSSIBLE)
		log_info("guest memory: %s", text);
}

/* Opens kernel and initrd for the VM's whole life, so that every start loads the files that were checked, and checks all. */
static bool open_and_check(struct vm *vm, char *error, size_t error_size)
{
	const struct vm_files *given = vm->config.files;
	struct vm_config config = vm->config;
	struct vm_files files = { .kvm = -1, .boot = &vm->files };
	if (!config.payload && config.kernel) {
		struct boot_request request = { .kernel = config.kernel, .initrd = config.initrd };
		vm->own_files = !given || !given->boot;
		if (!vm->own_files)
			vm->files = *given->boot;
		else if (!boot_files_open(&request, &vm->files, error, error_size))
			return false;
		config.files = &files;
	}
	return check(&config, !given, error, error_size);
}

/* The 64-bit window lies in the upper half of the CPU's physical addresses, or above RAM; none when there is no room. */
static void place_windows(struct vm *vm)
{
	uint32_t bits = cpuid_physical_bits(vm->cpuid->entries, vm->cpuid->nent);
	uint64_t limit = 1ull << (bits > 46 ? 46 : bits);
	uint64_t ram_end = vm->memory.size > LAYOUT_LOW_RAM_MAX ? LAYOUT_HIGH_RAM + vm->memory.size - LAYOUT_LOW_RAM_MAX : LAYOUT_HIGH_RAM;
	uint64_t base = (ram_end + GIB - 1) & ~(GIB - 1);
	if (base < limit / 2)
		base = limit / 2;
	uint64_t size = limit / 4 < 64 * GIB ? limit / 4 : 64 * GIB;
	if (base + size > limit)
		base = size = 0;
	vm->windows = (struct pci_windows){
		.mmio32_base = LAYOUT_MMIO32, .mmio32_size = LAYOUT_MMIO32_SIZE, .mmio64_base = base, .mmio64_size = size,
		.ecam_base = LAYOUT_ECAM, .ecam_size = LAYOUT_ECAM_SIZE,
	};
}

static const struct pci_host_ops host_ops = {
	.msi_route = kvm_msi_route,
	.msi_send = kvm_msi_send,
	.msi_unroute = kvm_msi_unroute,
	.ioeventfd = kvm_ioeventfd,
};

static char *copy_string(const char *text)
{
	return text ? strdup(text) : NULL;
}

static bool create_kvm(struct vm *vm, char *error, size_t error_size, int *exit_status)
{
	*exit_status = EXIT_KVM;
	if (kvm_open(&vm->kvm, vm->config.files ? vm->config.files->kvm : -1, error, error_size) < 0)
		return false;
	int max = ioctl(vm->kvm.device_fd, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_MAX_VCPUS);
	if (max > 0 && vm->config.cpus > (uint32_t)max) {
		snprintf(error, error_size, "%u CPUs are more than KVM's %d; give fewer with --cpus", vm->config.cpus, max);
		*exit_status = EXIT_USAGE;
		return false;
	}
	vm->tsc_deadline = ioctl(vm->kvm.device_fd, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	vm->microcode = kvm_feature_msr(&vm->kvm, MSR_MICROCODE);
	vm->cpuid = kvm_supported_cpuid(&vm->kvm);
	if (!vm->cpuid) {
		snprintf(error, error_size, "KVM does not tell which CPU features it has: %s; run Linux 5.10 or newer", strerror(errno));
		return false;
	}
	return kvm_create_vm(&vm->kvm, &vm->memory, error, error_size) == 0 && vcpu_create_all(vm, error, error_size) == 0;
}

struct vm *vm_create(const struct vm_config *config, char *error, size_t error_size, int *exit_status)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	if (!vm) {
		snprintf(error, error_size, "no memory for a VM");
		*exit_status = EXIT_FAILED;
		return NULL;
	}
	*exit_status = EXIT_USAGE;
	vm->config = *config;
	vm->files = (struct boot_files){ -1, -1 };
	vm->memory.fd = vm->kvm.device_fd = vm->kvm.vm_fd = vm->event_fd = -1;
	vm->io_wake_fd = vm->io_timer_fd = vm->io_stop_fd = -1;
	snprintf(vm->name, sizeof(vm->name), "%s", config->name ? config->name : "vm");
	vm->kernel = copy_string(config->kernel);
	vm->initrd = copy_string(config->initrd);
	vm->cmdline = copy_string(config->cmdline);
	pthread_mutex_init(&vm->run_lock, NULL);
	pthread_cond_init(&vm->run_changed, NULL);
	pthread_mutex_init(&vm->event_lock, NULL);
	vm_ports_init(vm);
	if (!open_and_check(vm, error, error_size))
		goto fail;
	vm->vcpu = calloc(config->cpus, sizeof(*vm->vcpu));
	if (!vm->vcpu || (config->kernel && !vm->kernel) || (config->initrd && !vm->initrd) || (config->cmdline && !vm->cmdline)) {
		snprintf(error, error_size, "no memory for a VM");
		goto fail;
	}
	if (guest_memory_init_huge(&vm->memory, config->memory, config->hugepages) < 0) {
		snprintf(error, error_size, "%llu MiB of guest memory%s: %s; give less with --memory%s", (unsigned long long)(config->memory / MIB),
			config->hugepages ? " in huge pages" : "", strerror(errno), config->hugepages ? ", or more to the pool of huge pages" : "");
		goto fail;
	}
	if (!create_kvm(vm, error, error_size, exit_status))
		goto fail;
	vm->config.files = NULL;
	place_windows(vm);
	vm->fresh = true;
	vm->pci = pci_bus_create(&host_ops, &vm->kvm, &vm->windows);
	vm->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!vm->pci || vm->event_fd < 0 || vm_io_start(vm) < 0) {
		snprintf(error, error_size, "cannot set up the VM: %s; raise the limits of open files and threads", strerror(errno));
		*exit_status = EXIT_FAILED;
		goto fail;
	}
	return vm;
fail:
	vm_destroy(vm);
	return NULL;
}

void vm_destroy(struct vm *vm)
{
	if (!vm)
		return;
	vm_halt(vm);
	vm_io_stop(vm);
	pci_bus_destroy(vm->pci);
	if (vm->vcpu)
		vcpu_destroy_all(vm);
	kvm_close(&vm->kvm);
	guest_memory_finish(&vm->memory);
	vm_ports_finish(vm);
	if (vm->event_fd >= 0)
		close(vm->event_fd);
	pthread_mutex_destroy(&vm->event_lock);
	pthread_cond_destroy(&vm->run_changed);
	pthread_mutex_destroy(&vm->run_lock);
	if (vm->own_files)
		boot_files_close(&vm->files);
	free(vm->cpuid);
	free(vm->vcpu);
	free(vm->kernel);
	free(vm->initrd);
	free(vm->cmdline);
	free(vm);
}

struct guest_memory *vm_memory(struct vm *vm)
{
	return &vm->memory;
}

struct pci_bus *vm_pci(struct vm *vm)
{
	return vm->pci;
}

/* --- events -------------------------------------------------------------------------------------------------------------- */

int vm_event_fd(const struct vm *vm)
{
	return vm->event_fd;
}

bool vm_post_event(struct vm *vm, enum vm_event event, const char *format, ...)
{
	pthread_mutex_lock(&vm->event_lock);
	bool first = vm->event == VM_EVENT_NONE && !atomic_load(&vm->stop);
	if (first) {
		vm->event = event;
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(vm->detail, sizeof(vm->detail), format, arguments);
		va_end(arguments);
		uint64_t one = 1;
		if (write(vm->event_fd, &one, sizeof(one)) < 0)
			log_error("%s: event lost: %s", vm->name, strerror(errno));
	}
	pthread_mutex_unlock(&vm->event_lock);
	atomic_store(&vm->stop, true);
	vcpu_kick_all(vm);
	return first;
}

enum vm_event vm_take_event(struct vm *vm, char *detail, size_t detail_size)
{
	uint64_t count;
	pthread_mutex_lock(&vm->event_lock);
	if (read(vm->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_error("%s: events: %s", vm->name, strerror(errno));
	enum vm_event event = vm->event;
	if (detail_size)
		snprintf(detail, detail_size, "%s", vm->detail);
	vm->event = VM_EVENT_NONE;
	vm->detail[0] = '\0';
	pthread_mutex_unlock(&vm->event_lock);
	return event;
}

/* --- starting and stopping ------------------------------------------------------------------------------------------------- */

/*
 * Power-on state for a machine that ran before. KVM has many corners that a reset would have to visit (clocks, APICs, paravirtual
 * features); a new KVM VM over the same memory has them all at their beginnings.
 */
static bool renew(struct vm *vm, char *error, size_t error_size)
{
	pci_bus_reset(vm->pci);
	vm_ports_reset(vm);
	vcpu_destroy_all(vm);
	kvm_destroy_vm(&vm->kvm);
	/* Gives the memory back to the host; what the guest finds is zero again. */
	if (guest_memory_clear(&vm->memory) < 0) {
		snprintf(error, error_size, "guest memory cannot be cleared: %s", strerror(errno));
		return false;
	}
	return kvm_create_vm(&vm->kvm, &vm->memory, error, error_size) == 0 && vcpu_create_all(vm, error, error_size) == 0;
}

static bool load(struct vm *vm, struct boot_entry *entry, enum vm_payload_mode *mode, char *error, size_t error_size)
{
	struct acpi_config acpi = { .cpus = vm->config.cpus, .windows = vm->windows };
	uint8_t *tables = guest_memory_at(&vm->memory, LAYOUT_ACPI, LAYOUT_ACPI_SIZE, GUEST_WRITE);
	if (!tables || acpi_build(&acpi, LAYOUT_ACPI, tables, LAYOUT_ACPI_SIZE) == 0) {
		snprintf(error, error_size, "ACPI tables do not fit; give fewer --cpus");
		return false;
	}
	const struct vm_payload *payload = vm->config.payload;
	if (payload) {
		*entry = (struct boot_entry){ .rip = payload->gpa, .cr3 = LAYOUT_PAGE_TABLES };
		*mode = payload->mode;
		boot_write_tables(&vm->memory);
		if (guest_memory_write(&vm->memory, payload->gpa, payload->code, payload->size))
			return true;
		snprintf(error, error_size, "the payload does not fit into guest memory");
		return false;
	}
	struct boot_request request = {
		.kernel = vm->kernel, .initrd = vm->initrd, .cmdline = vm->cmdline, .files = &vm->files, .rsdp = LAYOUT_ACPI,
	};
	bool loaded = boot_load(&vm->memory, &request, entry, error, error_size);
	*mode = entry->pvh ? VM_PAYLOAD_FLAT32 : VM_PAYLOAD_LONG64;
	return loaded;
}

int vm_prepare(struct vm *vm, char *error, size_t error_size)
{
	if (vm->prepared)
		return 0;
	vm_halt(vm);
	if (!vm->fresh && !renew(vm, error, error_size))
		return -1;
	vm->fresh = false;
	struct boot_entry entry = { 0 };
	enum vm_payload_mode mode;
	if (!load(vm, &entry, &mode, error, error_size))
		return -1;
	for (uint32_t i = 0; i < vm->config.cpus; i++) {
		if (vcpu_set_up(&vm->vcpu[i], mode, &entry) < 0) {
			snprintf(error, error_size, "KVM refuses the state of vCPU %u: %s; run Linux 5.10 or newer", i, strerror(errno));
			return -1;
		}
	}
	if (!vm->config.payload)
		log_info("%s: the kernel is entered %s", vm->name, mode == VM_PAYLOAD_FLAT32 ? "by its PVH note" : "in 64-bit mode");
	for (size_t i = 0; i < ARRAY_LEN(entry.hot); i++)
		if (entry.hot[i].size)
			kvm_prefault(&vm->kvm, vm->vcpu[0].fd, entry.hot[i].gpa, entry.hot[i].size);
	vm_ports_keep_writes(vm);
	vm->prepared = true;
	return 0;
}

int vm_start(struct vm *vm, char *error, size_t error_size)
{
	if (vm_prepare(vm, error, error_size) < 0)
		return -1;
	vm->prepared = false;
	char detail[1];
	vm_take_event(vm, detail, 0);
	atomic_store(&vm->stop, false);
	vm->paused = false;
	vm->paused_at_ns = 0;
	atomic_store(&vm->stopped_ns, clock_now_ns());
	for (uint32_t i = 0; i < vm->config.cpus; i++) {
		struct vcpu *vcpu = &vm->vcpu[i];
		char name[16];
		snprintf(name, sizeof(name), "vcpu%u", i);
		pthread_t thread;
		if (thread_start(&thread, name, VCPU_NICE, vcpu_thread, vcpu) < 0) {
			snprintf(error, error_size, "cannot start vCPU %u of %u: %s; raise the limit of threads or give fewer --cpus", i + 1,
				vm->config.cpus, strerror(errno));
			vm_halt(vm);
			return -1;
		}
		pthread_mutex_lock(&vm->run_lock);
		vcpu->thread = thread;
		vcpu->started = true;
		pthread_mutex_unlock(&vm->run_lock);
	}
	vm_io_wake(vm); /* it looks after what begins now */
	log_info("%s: started with %u vCPUs and %llu MiB", vm->name, vm->config.cpus, (unsigned long long)(vm->config.memory / MIB));
	return 0;
}

void vm_halt(struct vm *vm)
{
	atomic_store(&vm->stop, true);
	if (!vm->vcpu)
		return;
	vcpu_kick_all(vm);
	for (uint32_t i = 0; i < vm->config.cpus; i++) {
		struct vcpu *vcpu = &vm->vcpu[i];
		pthread_mutex_lock(&vm->run_lock);
		bool started = vcpu->started;
		/* From here on nobody signals it: a thread's id is void once it was joined. It was kicked above. */
		vcpu->started = false;
		pthread_mutex_unlock(&vm->run_lock);
		if (started)
			pthread_join(vcpu->thread, NULL);
	}
}

/* --- what is typed and pressed --------------------------------------------------------------------------------------- */

void vm_power_button(struct vm *vm)
{
	acpi_pm_power_button(&vm->pm);
}

void vm_serial_input(struct vm *vm, const void *bytes, uint32_t size)
{
	serial_input(&vm->serial, bytes, size);
}
