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
	for (uint32_t i = 0; i < n; i++) {
		if (entries[i].function == 0)
			max_leaf = entries[i].eax;
		if (entries[i].function & 0x80000000u)
			extended(&entries[i], config);
		else
			basic(&entries[i], config);
		if (!amd && entries[i].function == 0x80000001u)
			entries[i].ecx &= ~X1_ECX_CMP_LEGACY;
	}
	if (max_leaf >= 0xb)
		n = add_topology(entries, n, room, 0xb, config);
	if (max_leaf >= 0x1f)
		n = add_topology(entries, n, room, 0x1f, config);
	return n;
}

uint32_t cpuid_physical_bits(const struct kvm_cpuid_entry2 *entries, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (entries[i].function == 0x80000008u && (entries[i].eax & 0xff) >= 32)
			return entries[i].eax & 0xff;
	return 36;
}
