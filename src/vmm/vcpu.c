/*
 * vCPUs: one thread each, in KVM_RUN most of their lives. They run at lower priority than the front thread. To stop or
 * park them: set the wish, set immediate_exit, send the kick signal; its handler does nothing, it only ends KVM_RUN.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LOG_MODULE "vm"
#include "base/base.h"
#include "base/stats.h"
#include "vmm/cpuid.h"
#include "vmm/layout.h"
#include "vmm/vm_internal.h"

#define CPUID_ENTRIES_MAX 256 /* KVM_MAX_CPUID_ENTRIES, arch/x86/include/asm/kvm_host.h */
#define KICK_SIGNAL (SIGRTMIN + 1)
#define MSR_MICROCODE 0x8b
#define BUS_LOCK_PENALTY_NS 1000000l /* a guest that locks the bus in a loop gets a thousand of them a second */

static void kick_handler(int number)
{
	(void)number;
}

/* --- creation and registers ------------------------------------------------------------------------------------------- */

int vcpu_create_all(struct vm *vm, char *error, size_t error_size)
{
	struct sigaction action = { .sa_handler = kick_handler };
	sigaction(KICK_SIGNAL, &action, NULL);
	for (uint32_t i = 0; i < vm->config.cpus; i++) {
		struct vcpu *vcpu = &vm->vcpu[i];
		*vcpu = (struct vcpu){ .vm = vm, .index = i, .fd = -1, .run = MAP_FAILED };
	}
	for (uint32_t i = 0; i < vm->config.cpus; i++) {
		struct vcpu *vcpu = &vm->vcpu[i];
		vcpu->fd = ioctl(vm->kvm.vm_fd, KVM_CREATE_VCPU, (unsigned long)i);
		if (vcpu->fd >= 0)
			vcpu->run = mmap(NULL, (size_t)vm->kvm.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
		if (vcpu->fd < 0 || vcpu->run == MAP_FAILED) {
			snprintf(error, error_size, "KVM refuses vCPU %u of %u: %s; ask for fewer with --cpus", i + 1, vm->config.cpus, strerror(errno));
			vcpu_destroy_all(vm);
			return -1;
		}
	}
	return 0;
}

void vcpu_destroy_all(struct vm *vm)
{
	for (uint32_t i = 0; i < vm->config.cpus; i++) {
		struct vcpu *vcpu = &vm->vcpu[i];
		if (vcpu->run && vcpu->run != MAP_FAILED)
			munmap(vcpu->run, (size_t)vm->kvm.run_size);
		if (vcpu->fd > 0)
			close(vcpu->fd);
		*vcpu = (struct vcpu){ .vm = vm, .index = i, .fd = -1, .run = MAP_FAILED };
	}
}

static int set_cpuid(const struct vcpu *vcpu)
{
	const struct vm *vm = vcpu->vm;
	struct cpuid_config config = { .apic_id = vcpu->index, .cpus = vm->config.cpus, .tsc_deadline = vm->tsc_deadline };
	int khz = kvm_ioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);
	config.tsc_khz = khz > 0 ? (uint32_t)khz : 0;
	uint32_t room = vm->cpuid->nent + CPUID_MORE;
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
	} mine;
	if (room > CPUID_ENTRIES_MAX) {
		errno = E2BIG;
		return -1;
	}
	memset(&mine.head, 0, sizeof(mine.head));
	memcpy(mine.entries, vm->cpuid->entries, vm->cpuid->nent * sizeof(mine.entries[0]));
	mine.head.nent = cpuid_apply(mine.entries, vm->cpuid->nent, room, &config);
	return kvm_ioctl(vcpu->fd, KVM_SET_CPUID2, &mine);
}

/* What firmware and the microcode's loader leave behind in MSRs. */
static int set_msrs(const struct vcpu *vcpu)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} microcode = { .head.nmsrs = 1, .entry = { .index = MSR_MICROCODE, .data = vcpu->vm->microcode } };
	/* The host's revision: kernels know bad ones. KVM has a default where it does not take it. */
	if (vcpu->vm->microcode)
		kvm_ioctl(vcpu->fd, KVM_SET_MSRS, &microcode);
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[2];
	} msrs = {
		.head.nmsrs = 2,
		.entries = {
			{ .index = 0x2ff, .data = 0x806 }, /* MTRRs on, everything write-back: Linux keeps PAT off without */
			{ .index = 0x1a0, .data = 0x1801 }, /* MISC_ENABLE: fast strings; no branch traces, no event sampling */
		},
	};
	return kvm_ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) < 1 ? -1 : 0;
}

/* Virtual wire: the PICs' line comes in on LINT0, NMI on LINT1, as firmware sets it. */
static int set_lapic(const struct vcpu *vcpu)
{
	struct kvm_lapic_state lapic;
	if (kvm_ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic) < 0)
		return -1;
	uint32_t lint0 = 0x700, lint1 = 0x400;
	memcpy(lapic.regs + 0x350, &lint0, 4);
	memcpy(lapic.regs + 0x360, &lint1, 4);
	return kvm_ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic);
}

static void flat_segments(struct kvm_sregs *sregs, bool long64)
{
	struct kvm_segment data = { .limit = 0xffffffff, .selector = 0x18, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1 };
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = long64 ? 0x10 : 0x20, .type = 11, .present = 1, .db = !long64, .s = 1, .l = long64, .g = 1,
	};
	sregs->cs = code;
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->gdt.base = LAYOUT_GDT;
	sregs->gdt.limit = 8 * LAYOUT_GDT_ENTRIES - 1;
}

int vcpu_set_up(struct vcpu *vcpu, enum vm_payload_mode mode, const struct boot_entry *entry)
{
	if (set_cpuid(vcpu) < 0 || set_msrs(vcpu) < 0 || set_lapic(vcpu) < 0)
		return -1;
	if (vcpu->index != 0)
		return 0; /* waits for INIT and SIPI in the kernel */
	struct kvm_sregs sregs;
	if (kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	struct kvm_regs regs = { .rip = entry->rip, .rbx = entry->rbx, .rsi = entry->rsi, .rsp = LAYOUT_STACK_TOP, .rflags = 2 };
	switch (mode) {
	case VM_PAYLOAD_REAL16:
		sregs.cs.base = entry->rip;
		sregs.cs.selector = (uint16_t)(entry->rip >> 4);
		regs.rip = 0;
		break;
	case VM_PAYLOAD_FLAT32:
		flat_segments(&sregs, false);
		sregs.cr0 |= 0x1; /* PE */
		break;
	case VM_PAYLOAD_LONG64:
		flat_segments(&sregs, true);
		sregs.cr3 = entry->cr3;
		sregs.cr4 |= 0x20;        /* PAE */
		sregs.cr0 |= 0x80000001u; /* PG, PE */
		sregs.efer |= 0x500;      /* LMA, LME */
		break;
	}
	return kvm_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 || kvm_ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0 ? -1 : 0;
}

void vcpu_dump(struct vcpu *vcpu)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	if (kvm_ioctl(vcpu->fd, KVM_GET_REGS, &r) < 0 || kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &s) < 0) {
		log_error("%s: vCPU %u: registers cannot be read: %s", vcpu->vm->name, vcpu->index, strerror(errno));
		return;
	}
	log_error("%s: vCPU %u: rip %#llx rsp %#llx rflags %#llx", vcpu->vm->name, vcpu->index, r.rip, r.rsp, r.rflags);
	log_error("  rax %016llx rbx %016llx rcx %016llx rdx %016llx", r.rax, r.rbx, r.rcx, r.rdx);
	log_error("  rsi %016llx rdi %016llx rbp %016llx", r.rsi, r.rdi, r.rbp);
	log_error("  r8  %016llx r9  %016llx r10 %016llx r11 %016llx", r.r8, r.r9, r.r10, r.r11);
	log_error("  r12 %016llx r13 %016llx r14 %016llx r15 %016llx", r.r12, r.r13, r.r14, r.r15);
	log_error("  cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx cs %#x:%llx", s.cr0, s.cr2, s.cr3, s.cr4, s.efer, s.cs.selector, s.cs.base);
	log_error("  idt %llx/%x gdt %llx/%x", s.idt.base, s.idt.limit, s.gdt.base, s.gdt.limit);
}

/* --- the loop ---------------------------------------------------------------------------------------------------------- */

/* False: the VM ends for another reason already. */
static bool crash(struct vcpu *vcpu, const char *why)
{
	/* Maybe a reset that KVM has kept, after which a kernel tries a triple fault. */
	vm_ports_take_kept(vcpu->vm);
	/* Only the first one tells: the others are stopped because of it. */
	if (!vm_post_event(vcpu->vm, VM_EVENT_CRASH, "vCPU %u: %s", vcpu->index, why))
		return false;
	log_error("%s: the guest crashed: vCPU %u: %s", vcpu->vm->name, vcpu->index, why);
	vcpu_dump(vcpu);
	return true;
}

static void handle_panic(struct vcpu *vcpu, uint8_t untrusted_event)
{
	struct vm *vm = vcpu->vm;
	if (untrusted_event & PANIC_PANICKED) {
		crash(vcpu, "its kernel panicked");
	} else if (untrusted_event & PANIC_CRASH_LOADED) {
		uint32_t left_out;
		pthread_mutex_lock(&vm->ports_lock);
		if (log_limit_pass(&vm->panic_limit, &left_out))
			log_warn("%s: the guest's kernel panicked and starts another one (%u such lines left out)", vm->name, left_out);
		pthread_mutex_unlock(&vm->ports_lock);
	}
}

static void handle_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	if (run->io.port == PORT_PANIC && run->io.direction == KVM_EXIT_IO_OUT) {
		handle_panic(vcpu, *data);
		return;
	}
	/* count is bounded by KVM: one page of data at most. */
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size)
		vm_port(vcpu->vm, run->io.port, data, run->io.size, run->io.direction == KVM_EXIT_IO_OUT);
}

static void handle_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint32_t size = min_u32(run->mmio.len, sizeof(run->mmio.data));
	if (!pci_mmio(vcpu->vm->pci, run->mmio.phys_addr, run->mmio.data, size, run->mmio.is_write) && !run->mmio.is_write)
		memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
}

/* Documentation/virt/kvm/api.rst 5, KVM_EXIT_INTERNAL_ERROR. */
static void internal_error(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	static const char *const names[] = { NULL, "an instruction that cannot be emulated", "exceptions at the same time", "an event during an exit",
		"an exit that was not expected" };
	uint32_t suberror = run->internal.suberror;
	const char *name = suberror < ARRAY_LEN(names) && names[suberror] ? names[suberror] : "an error";
	char why[100];
	snprintf(why, sizeof(why), "KVM met %s (internal error %u)", name, suberror);
	if (!crash(vcpu, why))
		return;
	for (uint32_t i = 0; i < min_u32(run->internal.ndata, ARRAY_LEN(run->internal.data)); i++)
		log_error("  data %u: %016llx", i, run->internal.data[i]);
}

static void handle_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	char why[120];
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(vcpu);
		break;
	case KVM_EXIT_MMIO:
		handle_mmio(vcpu);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_X86_BUS_LOCK:
		break;
	case KVM_EXIT_SHUTDOWN:
		crash(vcpu, "triple fault");
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		vm_ports_take_kept(vcpu->vm);
		if (run->system_event.type == KVM_SYSTEM_EVENT_RESET)
			vm_post_event(vcpu->vm, VM_EVENT_RESET, "the guest reset the machine");
		else if (run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN)
			vm_post_event(vcpu->vm, VM_EVENT_POWEROFF, "the guest powered off");
		else
			crash(vcpu, "it reported a crash");
		break;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(why, sizeof(why), "the CPU refused to enter the guest (reason %#llx)",
			(unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		crash(vcpu, why);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		internal_error(vcpu);
		break;
	case KVM_EXIT_NOTIFY:
		/* KVM handles those that leave the guest intact itself. */
		if (run->notify.flags & KVM_NOTIFY_CONTEXT_INVALID)
			crash(vcpu, "it kept the CPU from all events, and its context is lost");
		break;
	default:
		snprintf(why, sizeof(why), "exit reason %u, which nobody handles", run->exit_reason);
		crash(vcpu, why);
		break;
	}
}

/* However KVM_RUN ended: with EINTR, too, the guest may have locked the bus. KVM clears the flag when it begins. */
static void penalize_bus_lock(const struct vcpu *vcpu)
{
	if (!(vcpu->run->flags & KVM_RUN_X86_BUS_LOCK))
		return;
	struct timespec penalty = { .tv_nsec = BUS_LOCK_PENALTY_NS };
	nanosleep(&penalty, NULL);
}

/* Written by whoever wants the vCPU out of KVM_RUN, read by its thread and by KVM: never a plain access. */
static void set_immediate_exit(struct vcpu *vcpu, uint8_t value)
{
	__atomic_store_n(&vcpu->run->immediate_exit, value, __ATOMIC_RELAXED);
}

/* Stands still while the VM is paused. False: the thread is to end. */
static bool keep_running(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	pthread_mutex_lock(&vm->run_lock);
	while (vm->paused && !atomic_load(&vm->stop)) {
		if (!vcpu->parked) {
			/* The guest's watchdogs are told that time stood still. Fails where the guest does not use kvmclock: fine. */
			ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
			vcpu->parked = true;
			pthread_cond_broadcast(&vm->run_changed);
		}
		pthread_cond_wait(&vm->run_changed, &vm->run_lock);
	}
	vcpu->parked = false;
	set_immediate_exit(vcpu, 0);
	pthread_mutex_unlock(&vm->run_lock);
	return !atomic_load(&vm->stop);
}

/* Completes the last access (KVM takes its data at the next KVM_RUN) without running the guest further. */
static void complete_access(struct vcpu *vcpu)
{
	set_immediate_exit(vcpu, 1);
	ioctl(vcpu->fd, KVM_RUN, 0);
}

void *vcpu_thread(void *data)
{
	struct vcpu *vcpu = data;
	struct vm *vm = vcpu->vm;
	sigset_t kick;
	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);

	bool pending = false; /* an access whose result KVM has not taken yet */
	while (keep_running(vcpu)) {
		while (!__atomic_load_n(&vcpu->run->immediate_exit, __ATOMIC_RELAXED)) {
			int result = ioctl(vcpu->fd, KVM_RUN, 0);
			pending = false;
			if (result < 0) {
				if (errno == EINTR || errno == EAGAIN) {
					penalize_bus_lock(vcpu);
					continue;
				}
				char why[80];
				snprintf(why, sizeof(why), "KVM_RUN failed: %s", strerror(errno));
				crash(vcpu, why);
				break;
			}
			pending = vcpu->run->exit_reason == KVM_EXIT_IO || vcpu->run->exit_reason == KVM_EXIT_MMIO;
			if (vm->config.stats)
				atomic_fetch_add_explicit(&vm->config.stats->vcpu_exits, 1, memory_order_relaxed);
			handle_exit(vcpu);
			penalize_bus_lock(vcpu);
			/* A kick misses a thread that is just being started. */
			if (atomic_load(&vm->stop))
				break;
		}
		if (pending)
			complete_access(vcpu);
		pending = false;
	}
	return NULL;
}

void vcpu_kick_all(struct vm *vm)
{
	pthread_mutex_lock(&vm->run_lock);
	for (uint32_t i = 0; i < vm->config.cpus; i++) {
		struct vcpu *vcpu = &vm->vcpu[i];
		if (!vcpu->started)
			continue;
		set_immediate_exit(vcpu, 1);
		pthread_kill(vcpu->thread, KICK_SIGNAL);
	}
	pthread_cond_broadcast(&vm->run_changed);
	pthread_mutex_unlock(&vm->run_lock);
}
