/*
 * /dev/kvm: probing, and one KVM virtual machine with its memory slots, in-kernel irqchip, routes, irqfds and ioeventfds.
 * vCPUs are in vcpu.h. Machine's thread unless said otherwise.
 */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/memory.h"

#define KVM_ROUTES 600 /* irqchip pins and one MSI for each GSI a PCI device may have */

struct kvm {
	int device_fd, vm_fd;
	bool device_borrowed;
	int run_size; /* bytes of a vCPU's shared page */
	bool bus_lock_exits;
	pthread_mutex_t routes_lock; /* guards the table, and vm_fd while it changes */
	uint32_t n_routes;
	struct kvm_irq_routing_entry routes[KVM_ROUTES];
};

/* Takes device_fd (borrowed), or opens /dev/kvm when that is -1; checks version and capabilities. -1 with a line in error. */
int kvm_open(struct kvm *kvm, int device_fd, char *error, size_t error_size);
void kvm_close(struct kvm *kvm);
/* Makes the VM: irqchip, PIT, default routes, memory. -1 with a line in error. */
int kvm_create_vm(struct kvm *kvm, const struct guest_memory *memory, char *error, size_t error_size);
/* Closes the VM's descriptor; its vCPUs must be closed already. */
void kvm_destroy_vm(struct kvm *kvm);

/* struct pci_host_ops, with struct kvm as host; any thread. */
int kvm_msi_route(void *kvm, uint32_t gsi, uint64_t address, uint32_t data, int event_fd);
int kvm_msi_unroute(void *kvm, uint32_t gsi, int event_fd);
int kvm_msi_send(void *kvm, uint64_t address, uint32_t data);
int kvm_ioeventfd(void *kvm, uint64_t gpa, uint32_t size, int event_fd, bool add);
/* Sets the level of an ISA interrupt line; any thread. */
void kvm_irq_line(struct kvm *kvm, uint32_t gsi, bool level);

/*
 * Maps [gpa, gpa + size) into the guest ahead of its first touch, in one call instead of an exit per page. Where this KVM cannot (before
 * Linux 6.10) nothing happens: the pages come one by one. Quick only where the memory is populated already. vcpu_fd must have
 * its CPUID and not run.
 */
void kvm_prefault(const struct kvm *kvm, int vcpu_fd, uint64_t gpa, uint64_t size);

/*
 * Lets KVM keep 1-, 2- and 4-byte writes to [port, port + size) in the ring below instead of leaving the guest for each
 * (KVM_CAP_COALESCED_PIO), or ends that. -1 with errno, ENOTSUP where this KVM has no such ring.
 */
int kvm_coalesce_port(const struct kvm *kvm, uint16_t port, uint32_t size, bool on);
/* The VM's ring of such writes in the mapping of any of its vCPUs, NULL where there is none. Filled by KVM while vCPUs run. */
struct kvm_coalesced_mmio_ring *kvm_coalesced_ring(const struct kvm *kvm, void *vcpu_run);

/* ioctl() that is retried when a signal came in between. */
int kvm_ioctl(int fd, unsigned long request, void *argument);
/* A model-specific register as a new guest should find it (KVM_CAP_GET_MSR_FEATURES); 0 when KVM does not say. */
uint64_t kvm_feature_msr(const struct kvm *kvm, uint32_t index);
/* The CPUID entries this KVM supports: malloc'd, or NULL with errno. */
struct kvm_cpuid2 *kvm_supported_cpuid(const struct kvm *kvm);
/*
 * Instructions per second that ring 0 runs at, measured with a guest of some ten thousand instructions; 0 when it could not be
 * measured. CPU time of the calling thread, so that a busy machine does not look slow.
 */
double kvm_measure_speed(const struct kvm *kvm);
