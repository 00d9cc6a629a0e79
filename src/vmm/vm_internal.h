/* The VM's inside, shared by the files of this folder and by the payload tests. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "vmm/acpi_pm.h"
#include "vmm/boot.h"
#include "vmm/i8042.h"
#include "vmm/kvm.h"
#include "vmm/rtc.h"
#include "vmm/serial.h"
#include "vmm/vm.h"

/*
 * How a payload begins: in 16-bit real mode (CS = gpa / 16, IP 0, other segments 0), in flat 32-bit protected mode without
 * paging, or in 64-bit mode with the low 4 GiB mapped one to one.
 */
enum vm_payload_mode { VM_PAYLOAD_REAL16, VM_PAYLOAD_FLAT32, VM_PAYLOAD_LONG64 };

/* Raw code run instead of a kernel, for tests; its bytes stay the caller's. The stack starts at LAYOUT_STACK_TOP. */
struct vm_payload {
	const void *code;
	uint32_t size;
	uint64_t gpa;
	enum vm_payload_mode mode;
};

/* What a guest's kernel may tell at PORT_PANIC. */
#define PANIC_PANICKED 0x01
#define PANIC_CRASH_LOADED 0x02 /* panicked, and a second kernel takes over */

struct vcpu {
	struct vm *vm;
	uint32_t index; /* also the APIC id */
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool started;
	bool parked; /* stands still for a pause; under vm->run_lock */
};

struct vm {
	struct vm_config config;
	char name[32];
	char *kernel, *initrd, *cmdline;
	struct boot_files files; /* all there is to load, with a kernel */
	bool own_files;          /* opened here */
	struct kvm kvm;
	struct guest_memory memory;
	struct pci_bus *pci;
	struct pci_windows windows;
	struct kvm_cpuid2 *cpuid; /* as KVM supports it */
	bool tsc_deadline;
	uint64_t microcode; /* the host's revision as KVM tells it, MSR 0x8b; 0: not known */
	struct vcpu *vcpu; /* config.cpus of them */
	bool fresh;        /* the KVM VM has not run yet */
	bool prepared;     /* loaded and set up: vm_start() only starts the vCPUs */

	pthread_mutex_t run_lock; /* guards paused, and each vCPU's started and parked */
	pthread_cond_t run_changed;
	bool paused;
	_Atomic bool stop; /* vCPU threads are to end */
	struct kvm_clock_data clock; /* the guest's clock while paused */
	bool clock_stands;           /* it could be read */
	uint64_t paused_at_tsc;      /* the host's */

	/* Guest time that stood still: CLOCK_MONOTONIC less this is the machine's time. Atomic: read by vCPU threads. */
	_Atomic uint64_t stopped_ns;
	uint64_t paused_at_ns;

	pthread_mutex_t event_lock; /* guards event and detail */
	int event_fd;
	enum vm_event event;
	char detail[160];

	struct serial serial;
	struct rtc rtc;
	struct acpi_pm pm;
	pthread_mutex_t ports_lock; /* guards what follows */
	struct i8042 i8042;
	uint8_t reset_control; /* port 0xcf9 */
	struct log_limit panic_limit;

	/* Writes that KVM kept: see ports.c. */
	pthread_mutex_t kept_lock; /* guards what follows, and the ring's reader side */
	struct kvm_coalesced_mmio_ring *kept;
	_Atomic bool keeps_config; /* writes to 0xcf8 are kept at the moment */
	uint64_t kept_configs, looked_configs; /* writes to 0xcf8 drained since the start, and when it was last looked */
	uint32_t quiet_periods;  /* without any */
	uint64_t kept_look_ns;   /* when to look next */

	/* The I/O thread: COM1's descriptors and the clock's tick. */
	pthread_t io_thread;
	bool io_started;
	int io_wake_fd, io_timer_fd, io_stop_fd;
};

/* The first of the events since the last start wins: true for it. Any thread. */
bool vm_post_event(struct vm *vm, enum vm_event event, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The machine's running time, nanoseconds. Any thread. */
uint64_t vm_time_ns(struct vm *vm);

/* vcpu.c. Machine's thread. */
int vcpu_create_all(struct vm *vm, char *error, size_t error_size);
void vcpu_destroy_all(struct vm *vm);
/* Registers for the boot; entry is the first vCPU's, the others wait for their start-up interrupt. 0 or -1 with errno. */
int vcpu_set_up(struct vcpu *vcpu, enum vm_payload_mode mode, const struct boot_entry *entry);
/* The thread's function; argument a struct vcpu. */
void *vcpu_thread(void *vcpu);
/* Makes every vCPU leave KVM_RUN and look at vm->stop and vm->paused. Any thread. */
void vcpu_kick_all(struct vm *vm);
/* Writes registers to the log. vCPU's thread. */
void vcpu_dump(struct vcpu *vcpu);

/* ports.c: one access to a port, on a vCPU thread. */
void vm_port(struct vm *vm, uint16_t port, void *data, uint32_t size, bool write);
void vm_ports_init(struct vm *vm);
void vm_ports_reset(struct vm *vm);
void vm_ports_finish(struct vm *vm);
/* The vCPUs exist and do not run: what they write to index ports is kept in KVM from here on, where it can. */
void vm_ports_keep_writes(struct vm *vm);
/* Performs kept writes, so that what the guest wanted first happens before what comes now. Any thread that holds no lock. */
void vm_ports_take_kept(struct vm *vm);
/* Looks after kept writes when that is due. How many milliseconds until it is again, -1: it is not. I/O thread. */
int vm_ports_poll(struct vm *vm);

/* vm_io.c */
int vm_io_start(struct vm *vm);
void vm_io_stop(struct vm *vm);
void vm_io_wake(struct vm *vm);
/* Arms or stops the once-a-second tick. Any thread. */
void vm_io_tick(struct vm *vm, bool wanted);
