/* The CPUID entries a vCPU gets: what KVM supports, with this machine's topology. Pure. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct cpuid_config {
	uint32_t apic_id; /* of the vCPU */
	uint32_t cpus;    /* one package, one thread a core */
	bool tsc_deadline; /* KVM_CAP_TSC_DEADLINE_TIMER */
};

/*
 * Changes the n entries that KVM_GET_SUPPORTED_CPUID gave into this vCPU's; `room` entries fit into the array, six more
 * than n are enough. Returns the new number.
 */
uint32_t cpuid_apply(struct kvm_cpuid_entry2 *entries, uint32_t n, uint32_t room, const struct cpuid_config *config);
/* Width of physical addresses in bits, 36 when the entries do not say. */
uint32_t cpuid_physical_bits(const struct kvm_cpuid_entry2 *entries, uint32_t n);
