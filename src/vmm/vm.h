/*
 * vmm - the machine: KVM, guest memory, vCPU threads, PCI bus and interrupts, boot, ACPI, serial, legacy ports.
 * May include base. No globals; never touches DRM, input, the link or the UI.
 *
 * One virtual machine. vm_create() makes KVM, memory, irqchip and the bus; the caller attaches PCI devices; vm_start()
 * loads the kernel and runs the vCPU threads. Called from the machine's thread, which also gets the events.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/memory.h"
#include "vmm/pci.h"

#define VM_MAX_CPUS 254

struct console_end; /* base/console.h */
struct stats;
struct boot_files; /* boot.h */
struct vm_payload; /* vm_internal.h */

/* What was opened for a VM in a process that may open nothing. The descriptors are borrowed until vm_destroy(), the structs for the call. */
struct vm_files {
	int kvm;                       /* /dev/kvm, read and write; -1: opened here */
	const struct boot_files *boot; /* NULL: opened here */
};

struct vm_config {
	const char *name;
	const char *kernel;  /* path; NULL only with a payload. The file stays open: a restart loads what the start did */
	const char *initrd;  /* path or NULL */
	const struct vm_files *files; /* used instead of opening anything by path; the paths then only name them. NULL: opened by path */
	const char *cmdline; /* kernel command line or NULL */
	uint64_t memory;     /* bytes */
	uint64_t hugepages;  /* 2 MiB or 1 GiB: made of such pages from the host's pool; 0: of what the kernel gives */
	uint32_t cpus;
	int serial_in, serial_out; /* COM1's descriptors, -1: none; borrowed, and read by nobody else: the VM's I/O thread waits on them */
	/* Who attaches to COM1, beside those descriptors; borrowed, NULL: nobody. vCPU threads put the output, the I/O thread does the rest. */
	struct console_end *console;
	struct stats *stats;
	const struct vm_payload *payload; /* raw code instead of a kernel, for tests; NULL otherwise */
};

/* Why the vCPUs stopped. */
enum vm_event { VM_EVENT_NONE, VM_EVENT_POWEROFF, VM_EVENT_RESET, VM_EVENT_CRASH };

struct vm;

/*
 * What is wrong with this machine's KVM, checked with a VM that is thrown away: 0, or -1 and a line in error. The text
 * names the thing and the remedy. slow (may be NULL): true when ring 0 is emulated so slowly that a kernel would not boot in reasonable time.
 */
int vm_probe(char *error, size_t error_size, bool *slow);
/* Opens /dev/kvm and checks what it offers. The descriptor (the caller's), or -1 with a line in error. */
int vm_open_kvm(char *error, size_t error_size);
/* Would these settings do on this machine: sizes, kernel, initrd, command line? Looks only at files->boot of the files. False, and a line naming thing and remedy in error. Changes nothing. */
bool vm_check(const struct vm_config *config, char *error, size_t error_size);
/* Says in one line of the log what guest memory is made of, which decides how fast the guest is. Reads /sys and /proc. */
void vm_log_memory(const struct vm_config *config);
/*
 * Creates KVM VM, memory, irqchip, vCPUs' descriptors, bus. On failure NULL, and a line naming thing and remedy in error
 * and the program's exit status (base/exit_status.h) in *exit_status.
 */
struct vm *vm_create(const struct vm_config *config, char *error, size_t error_size, int *exit_status);
/* Stops the vCPUs if they run, frees all. Devices must have been detached. */
void vm_destroy(struct vm *vm);

struct guest_memory *vm_memory(struct vm *vm);
struct pci_bus *vm_pci(struct vm *vm);
/* Adds the VM's own devices, the bus among them, to a table for state_save() and state_load(). False: it is full. */
struct state_table;
bool vm_state_table(struct vm *vm, struct state_table *table);

/* Readable after the guest powered off, reset or crashed. vm_take_event() tells which; the vCPUs have stopped or are about to. */
int vm_event_fd(const struct vm *vm);
enum vm_event vm_take_event(struct vm *vm, char *detail, size_t detail_size);

/*
 * Loads kernel and initrd and sets the vCPUs up, so that the next vm_start() is quick. Not needed, and no two threads at a time
 * in here and vm_start(). 0, or -1 with a line in error; vm_start() then tries again.
 */
int vm_prepare(struct vm *vm, char *error, size_t error_size);

/* (Re)loads kernel, initrd, tables; resets vCPUs and devices' bus state; starts the vCPU threads. 0, or -1 with a line in error. */
int vm_start(struct vm *vm, char *error, size_t error_size);
/* Stops and joins the vCPU threads; state is kept. Returns when no vCPU runs. */
void vm_halt(struct vm *vm);
/* Freezes and thaws the vCPUs and the guest's clock (KVM_KVMCLOCK_CTRL, KVM_GET/SET_CLOCK). */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
/* Presses the ACPI power button. */
void vm_power_button(struct vm *vm);
/* Types into COM1 beside what comes from serial_in; what does not fit the FIFO's bounded backlog is dropped. Any thread. */
void vm_serial_input(struct vm *vm, const void *bytes, uint32_t size);
