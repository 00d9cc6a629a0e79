#include "vmm/cpuid.h"

#include <string.h>

/* Leaves and bits: Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E; Documentation/virt/kvm/x86/cpuid.rst. */
#define L1_ECX_VMX (1u << 5)
#define L1_ECX_X2APIC (1u << 21)
#define L1_ECX_TSC_DEADLINE (1u << 24)
#define L1_ECX_HYPERVISOR (1u << 31)
#define L1_EDX_HTT (1u << 28)
#define X1_ECX_CMP_LEGACY (1u << 1)
#define X1_ECX_SVM (1u << 2)
#define X1_ECX_PERFCTR (3u << 23)
#define LEAF_KVM 0x40000000u
#define LEAF_TIMING 0x40000010u /* TSC and APIC timer in kHz: a leaf that VMware began and other hypervisors share */
#define KVM_SIGNATURE_EBX 0x4b4d564bu /* "KVMK" */
#define APIC_TIMER_KHZ 1000000u /* KVM's, arch/x86/kvm/lapic.h: a cycle is a nanosecond */
#define TOPOLOGY_SMT 1u
#define TOPOLOGY_CORE 2u

/* Bits of an APIC id needed to tell `cpus` apart. */
static uint32_t id_bits(uint32_t cpus)
{
	return cpus <= 1 ? 0 : 32u - (uint32_t)__builtin_clz(cpus - 1);
}

/*
 * The extended topology leaves, whole: KVM lists only their first sub-leaf. Returns the new number of entries; with too
 * little room there are none, and the guest counts by leaf 1.
 */
static uint32_t add_topology(struct kvm_cpuid_entry2 *entries, uint32_t n, uint32_t room, uint32_t leaf, const struct cpuid_config *config)
{
	if (room - n < 3)
		return n;
	for (uint32_t index = 0; index < 3; index++) {
		struct kvm_cpuid_entry2 *entry = &entries[n++];
		*entry = (struct kvm_cpuid_entry2){
			.function = leaf, .index = index, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .ecx = index, .edx = config->apic_id,
		};
		if (index == 0) {
			entry->ebx = 1;
			entry->ecx |= TOPOLOGY_SMT << 8;
		} else if (index == 1) {
			entry->eax = id_bits(config->cpus);
			entry->ebx = config->cpus;
			entry->ecx |= TOPOLOGY_CORE << 8;
		}
	}
	return n;
}

static uint32_t remove_leaf(struct kvm_cpuid_entry2 *entries, uint32_t n, uint32_t leaf)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < n; i++)
		if (entries[i].function != leaf)
			entries[kept++] = entries[i];
	return kept;
}

/* Intel's cache leaf: which CPUs share it, in ids rounded up to a power of two, minus one. */
static void cache_sharing(struct kvm_cpuid_entry2 *entry, const struct cpuid_config *config)
{
	uint32_t level = entry->eax >> 5 & 7;
	if ((entry->eax & 0x1f) == 0)
		return;
	uint32_t ids = 1u << id_bits(config->cpus), sharing = level >= 3 ? ids - 1 : 0, cores = ids - 1 > 63 ? 63 : ids - 1;
	entry->eax = (entry->eax & 0x3fff) | (sharing & 0xfff) << 14 | cores << 26;
}

/*
 * Leaf 0x15: the TSC is its crystal times ebx / eax. The crystal also feeds the APIC timer, so it has that one's frequency, and the fraction
 * is the nearest whose product with it fits 32 bits, in which Linux multiplies (native_calibrate_tsc(), arch/x86/kernel/tsc.c).
 */
static void tsc_fraction(struct kvm_cpuid_entry2 *entry, uint32_t tsc_khz)
{
	double ratio = (double)tsc_khz / APIC_TIMER_KHZ, best = 1;
	uint32_t most = UINT32_MAX / APIC_TIMER_KHZ;
	entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
	for (uint32_t denominator = 1; denominator * ratio + 0.5 < most; denominator++) {
		uint32_t numerator = (uint32_t)(denominator * ratio + 0.5);
		double error = (double)numerator / denominator / ratio - 1;
		error = error < 0 ? -error : error;
		if (numerator && error < best) {
			best = error;
			entry->eax = denominator;
			entry->ebx = numerator;
			entry->ecx = APIC_TIMER_KHZ * 1000;
		}
	}
}

/* What Intel's CPUs say of their frequencies; AMD's have no such leaves. */
static void intel_frequency(struct kvm_cpuid_entry2 *entry, const struct cpuid_config *config)
{
	if (entry->function == 0x15 && config->tsc_khz) {
		tsc_fraction(entry, config->tsc_khz);
	} else if (entry->function == 0x16 && config->tsc_khz) {
		entry->eax = entry->ebx = config->tsc_khz / 1000; /* base and highest, MHz */
		entry->ecx = 100;                                 /* bus, MHz */
		entry->edx = 0;
	}
}

/* What KVM's own leaves tell of time beside kvmclock. */
static uint32_t add_timing(struct kvm_cpuid_entry2 *entries, uint32_t n, uint32_t room, const struct cpuid_config *config)
{
	for (uint32_t i = 0; i < n && config->tsc_khz && n < room; i++) {
		if (entries[i].function != LEAF_KVM || entries[i].ebx != KVM_SIGNATURE_EBX)
			continue;
		if (entries[i].eax < LEAF_TIMING)
			entries[i].eax = LEAF_TIMING;
		entries[n] = (struct kvm_cpuid_entry2){ .function = LEAF_TIMING, .eax = config->tsc_khz, .ebx = APIC_TIMER_KHZ };
		return n + 1;
	}
	return n;
}

static void basic(struct kvm_cpuid_entry2 *entry, const struct cpuid_config *config)
{
	uint32_t ids = 1u << id_bits(config->cpus);
	switch (entry->function) {
	case 0x1:
		entry->ebx = (entry->ebx & 0x0000ffff) | (ids > 255 ? 255 : ids) << 16 | config->apic_id << 24;
		entry->ecx &= ~(L1_ECX_VMX | L1_ECX_TSC_DEADLINE);
		entry->ecx |= L1_ECX_HYPERVISOR | L1_ECX_X2APIC | (config->tsc_deadline ? L1_ECX_TSC_DEADLINE : 0);
		entry->edx = config->cpus > 1 ? entry->edx | L1_EDX_HTT : entry->edx & ~L1_EDX_HTT;
		break;
	case 0x4:
		cache_sharing(entry, config);
		break;
	case 0xa: /* no performance counters */
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	default:
		break;
	}
}

static void extended(struct kvm_cpuid_entry2 *entry, const struct cpuid_config *config)
{
	switch (entry->function) {
	case 0x80000001:
		entry->ecx &= ~(X1_ECX_SVM | X1_ECX_PERFCTR | X1_ECX_CMP_LEGACY);
		if (config->cpus > 1)
			entry->ecx |= X1_ECX_CMP_LEGACY;
		break;
	case 0x80000008:
		entry->ecx = (config->cpus - 1) | id_bits(config->cpus) << 12;
		break;
	case 0x8000000a: /* no nested virtualisation */
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	case 0x8000001d: { /* AMD's cache leaf: the last level is shared by all */
		uint32_t level = entry->eax >> 5 & 7;
		if (entry->eax & 0x1f)
			entry->eax = (entry->eax & 0x3fff) | (level >= 3 ? (config->cpus - 1) << 14 : 0);
		break;
	}
	case 0x8000001e:
		entry->eax = config->apic_id;
		entry->ebx = config->apic_id & 0xff;
		entry->ecx = 0;
		break;
	default:
		break;
	}
}

/* CMP_LEGACY is AMD's; on Intel the bit is reserved. */
static bool is_amd(const struct kvm_cpuid_entry2 *entries, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (entries[i].function == 0)
			return entries[i].ebx == 0x68747541 /* "Auth" */ || entries[i].ebx == 0x6f677948 /* "Hygo" */;
	return false;
}

uint32_t cpuid_apply(struct kvm_cpuid_entry2 *entries, uint32_t n, uint32_t room, const struct cpuid_config *config)
{
	bool amd = is_amd(entries, n);
	uint32_t max_leaf = 0;
	n = remove_leaf(entries, n, 0xb);
	n = remove_leaf(entries, n, 0x1f);
	n = remove_leaf(entries, n, LEAF_TIMING);
	for (uint32_t i = 0; i < n; i++) {
		if (entries[i].function == 0)
			max_leaf = entries[i].eax;
		if (entries[i].function & 0x80000000u)
			extended(&entries[i], config);
		else
			basic(&entries[i], config);
		if (!amd) {
			intel_frequency(&entries[i], config);
			if (entries[i].function == 0x80000001u)
				entries[i].ecx &= ~X1_ECX_CMP_LEGACY;
		}
	}
	if (max_leaf >= 0xb)
		n = add_topology(entries, n, room, 0xb, config);
	if (max_leaf >= 0x1f)
		n = add_topology(entries, n, room, 0x1f, config);
	return add_timing(entries, n, room, config);
}

uint32_t cpuid_physical_bits(const struct kvm_cpuid_entry2 *entries, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (entries[i].function == 0x80000008u && (entries[i].eax & 0xff) >= 32)
			return entries[i].eax & 0xff;
	return 36;
}
