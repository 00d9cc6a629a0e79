/* The CPUID entries a vCPU gets: what KVM supports, with this machine's topology. Pure. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct cpuid_config {
	uint32_t apic_id; /* of the vCPU */
	uint32_t cpus;    /* one package, one thread a core */
	bool tsc_deadline; /* KVM_CAP_TSC_DEADLINE_TIMER */
	uint32_t tsc_khz;  /* KVM_GET_TSC_KHZ; 0: not known */
};

#define CPUID_MORE 7 /* entries that cpuid_apply() adds at most */

/*
 * Changes the n entries that KVM_GET_SUPPORTED_CPUID gave into this vCPU's; `room` entries fit into the array, CPUID_MORE
 * more than n are enough. Returns the new number.
 */
uint32_t cpuid_apply(struct kvm_cpuid_entry2 *entries, uint32_t n, uint32_t room, const struct cpuid_config *config);
/* Width of physical addresses in bits, 36 when the entries do not say. */
uint32_t cpuid_physical_bits(const struct kvm_cpuid_entry2 *entries, uint32_t n);
