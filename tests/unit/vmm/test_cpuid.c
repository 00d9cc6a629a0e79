#include <string.h>

#include "unit.h"
#include "vmm/cpuid.h"

#define AMD_EBX 0x68747541
#define INTEL_EBX 0x756e6547

static struct kvm_cpuid_entry2 entries[32];

/* A list as KVM gives it; returns the number of entries. */
static uint32_t make(uint32_t vendor_ebx, uint32_t max_leaf)
{
	const struct kvm_cpuid_entry2 list[] = {
		{ .function = 0, .eax = max_leaf, .ebx = vendor_ebx },
		{ .function = 1, .eax = 0x000006f0, .ebx = 0xff000800, .ecx = 0x00000021, .edx = 0x178bfbff },
		{ .function = 4, .index = 0, .flags = 1, .eax = 0xfc004121 },
		{ .function = 4, .index = 3, .flags = 1, .eax = 0xfc1fc163 },
		{ .function = 0xa, .eax = 0x07300402, .ebx = 1, .edx = 0x603 },
		{ .function = 0xb, .index = 0, .flags = 1, .edx = 77 },
		{ .function = 0x15 },
		{ .function = 0x16 },
		{ .function = 0x1f, .index = 0, .flags = 1, .edx = 77 },
		{ .function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b },
		{ .function = 0x40000001, .eax = 0x01007efb },
		{ .function = 0x80000001, .ecx = 0x01800007 },
		{ .function = 0x80000008, .eax = 0x3028, .ecx = 0xff },
		{ .function = 0x8000000a, .eax = 1, .ebx = 8 },
		/* A host's: L1 of a core's two threads, the L3 of sixteen, nothing more. */
		{ .function = 0x8000001d, .index = 0, .flags = 1, .eax = 0x00004121, .ebx = 0x01c0003f, .ecx = 63, .edx = 0 },
		{ .function = 0x8000001d, .index = 1, .flags = 1, .eax = 0x00004122, .ebx = 0x01c0003f, .ecx = 63, .edx = 0 },
		{ .function = 0x8000001d, .index = 2, .flags = 1, .eax = 0x00004143, .ebx = 0x01c0003f, .ecx = 2047, .edx = 2 },
		{ .function = 0x8000001d, .index = 3, .flags = 1, .eax = 0x0003c163, .ebx = 0x03c0003f, .ecx = 32767, .edx = 1 },
		{ .function = 0x8000001d, .index = 4, .flags = 1 },
		{ .function = 0x8000001e, .eax = 5, .ebx = 0x107, .ecx = 0x703, .edx = 0 },
	};
	memset(entries, 0, sizeof(entries));
	memcpy(entries, list, sizeof(list));
	return sizeof(list) / sizeof(list[0]);
}

static const struct kvm_cpuid_entry2 *find(uint32_t n, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < n; i++)
		if (entries[i].function == function && entries[i].index == index)
			return &entries[i];
	ck_abort_msg("leaf %#x.%u is missing", function, index);
	return NULL;
}

START_TEST(topology)
{
	static const struct {
		uint32_t cpus, bits;
	} table[] = { { 1, 0 }, { 2, 1 }, { 3, 2 }, { 4, 2 }, { 5, 3 }, { 128, 7 }, { 129, 8 }, { 254, 8 } };
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint32_t cpus = table[i].cpus, last = cpus - 1;
		struct cpuid_config config = { .apic_id = last, .cpus = cpus };
		uint32_t n = cpuid_apply(entries, make(AMD_EBX, 0x1f), 32, &config);
		const struct kvm_cpuid_entry2 *leaf1 = find(n, 1, 0);
		ck_assert_uint_eq(leaf1->ebx >> 24, last);
		ck_assert_uint_ge(leaf1->ebx >> 16 & 0xff, cpus > 255 ? 255 : cpus);
		ck_assert_uint_eq(leaf1->ebx & 0xffff, 0x0800);
		ck_assert_uint_eq(leaf1->edx >> 28 & 1, cpus > 1);
		static const uint32_t leaves[] = { 0xb, 0x1f };
		for (int l = 0; l < 2; l++) {
			const struct kvm_cpuid_entry2 *smt = find(n, leaves[l], 0), *core = find(n, leaves[l], 1), *end = find(n, leaves[l], 2);
			ck_assert_uint_eq(smt->edx, last);
			ck_assert_uint_eq(smt->ecx, 0x100);
			ck_assert_uint_eq(smt->eax, 0);
			ck_assert_uint_eq(core->edx, last);
			ck_assert_uint_eq(core->eax, table[i].bits);
			ck_assert_uint_eq(core->ebx, cpus);
			ck_assert_uint_eq(core->ecx, 0x201);
			ck_assert_uint_eq(end->ebx, 0);
			ck_assert_uint_eq(end->ecx, 2);
			/* all ids fit */
			ck_assert_uint_eq(last >> core->eax, 0);
			ck_assert_uint_ne(smt->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX, 0);
		}
		ck_assert_uint_eq(find(n, 0x80000008, 0)->ecx & 0xff, last);
		ck_assert_uint_eq(find(n, 0x80000008, 0)->ecx >> 12, table[i].bits);
		ck_assert_uint_eq(find(n, 0x8000001e, 0)->eax, last);
		ck_assert_uint_eq(find(n, 4, 0)->eax >> 14 & 0xfff, 0);
		ck_assert_uint_eq(find(n, 4, 3)->eax >> 14 & 0xfff, (1u << table[i].bits) - 1);
	}
}
END_TEST

/* AMD's own leaves agree with those: one thread a core, one node, and the last cache level is everybody's. */
START_TEST(topology_of_amd)
{
	static const uint32_t counts[] = { 1, 2, 3, 4, 7, 16, 128, 254 }, kind[] = { 0x121, 0x122, 0x143, 0x163 }, sets[] = { 63, 63, 2047, 32767 };
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		uint32_t cpus = counts[i];
		for (uint32_t id = 0; id < cpus; id += cpus > 4 ? cpus / 4 : 1) {
			struct cpuid_config config = { .apic_id = id, .cpus = cpus };
			uint32_t n = cpuid_apply(entries, make(AMD_EBX, 0x1f), sizeof(entries) / sizeof(entries[0]), &config);
			const struct kvm_cpuid_entry2 *leaf = find(n, 0x8000001e, 0);
			ck_assert_uint_eq(leaf->eax, id);
			ck_assert_uint_eq(leaf->ebx, id);  /* core id; threads per core - 1 in bits 15:8 is 0 */
			ck_assert_uint_eq(leaf->ecx, 0);   /* node 0; nodes - 1 in bits 10:8 is 0 */
			ck_assert_uint_eq(find(n, 0xb, 0)->ebx, (leaf->ebx >> 8 & 0xff) + 1);
			for (uint32_t index = 0; index < 4; index++) {
				const struct kvm_cpuid_entry2 *cache = find(n, 0x8000001d, index), *core = find(n, 0xb, 1);
				uint32_t sharing = (cache->eax >> 14 & 0xfff) + 1;
				ck_assert_uint_eq(sharing, index == 3 ? cpus : 1);
				ck_assert_uint_le(sharing, core->ebx);
				/* What it is, and how large, stays the host's. */
				ck_assert_uint_eq(cache->eax & 0x3fff, kind[index]);
				ck_assert_uint_eq(cache->eax >> 26, 0);
				ck_assert_uint_eq(cache->ebx, index == 3 ? 0x03c0003f : 0x01c0003f);
				ck_assert_uint_eq(cache->ecx, sets[index]);
			}
			ck_assert_uint_eq(find(n, 0x8000001d, 4)->eax, 0); /* the list's end stays one */
		}
	}
}
END_TEST

START_TEST(features)
{
	struct cpuid_config config = { .apic_id = 0, .cpus = 2, .tsc_deadline = true };
	uint32_t n = cpuid_apply(entries, make(AMD_EBX, 0xd), 32, &config);
	uint32_t ecx = find(n, 1, 0)->ecx;
	ck_assert_uint_eq(ecx >> 31, 1);      /* hypervisor */
	ck_assert_uint_eq(ecx >> 24 & 1, 1);  /* TSC deadline */
	ck_assert_uint_eq(ecx >> 5 & 1, 0);   /* no VMX */
	ck_assert_uint_eq(find(n, 0x80000001, 0)->ecx & 4, 0); /* no SVM */
	ck_assert_uint_eq(find(n, 0x80000001, 0)->ecx & 2, 2); /* AMD: CMP legacy */
	ck_assert_uint_eq(find(n, 0xa, 0)->eax, 0);
	ck_assert_uint_eq(find(n, 0x8000000a, 0)->eax, 0);
	ck_assert_uint_eq(find(n, 0x40000001, 0)->eax, 0x01007efb); /* kvmclock and friends as they come */
	for (uint32_t i = 0; i < n; i++)
		ck_assert_uint_ne(entries[i].function, 0x1f); /* above the highest leaf */
	config.tsc_deadline = false;
	n = cpuid_apply(entries, make(INTEL_EBX, 0xd), 32, &config);
	ck_assert_uint_eq(find(n, 1, 0)->ecx >> 24 & 1, 0);
	ck_assert_uint_eq(find(n, 0x80000001, 0)->ecx & 2, 0);
	/* applying twice changes nothing more */
	struct kvm_cpuid_entry2 once[32];
	memcpy(once, entries, sizeof(once));
	uint32_t again = cpuid_apply(entries, n, 32, &config);
	ck_assert_uint_eq(again, n);
	ck_assert(memcmp(once, entries, n * sizeof(once[0])) == 0);
	/* no room: the list is still a list */
	n = make(AMD_EBX, 0x1f);
	ck_assert_uint_le(cpuid_apply(entries, n, n, &config), n);
}
END_TEST

/* Leaf 0x15 as Linux computes it, in 32 bits; 0x16; KVM's own. */
START_TEST(frequencies)
{
	static const uint32_t khz[] = { 1000000, 1996800, 2596138, 2994374, 3000000, 3792987, 5700000 };
	for (size_t i = 0; i < sizeof(khz) / sizeof(khz[0]); i++) {
		struct cpuid_config config = { .cpus = 2, .tsc_khz = khz[i] };
		uint32_t n = cpuid_apply(entries, make(INTEL_EBX, 0x1f), 32, &config);
		const struct kvm_cpuid_entry2 *leaf = find(n, 0x15, 0);
		ck_assert_uint_eq(leaf->ecx, 1000000000); /* also Linux's APIC timer */
		uint32_t product = leaf->ecx / 1000 * leaf->ebx;
		ck_assert_uint_eq(product, 1000000ull * leaf->ebx);
		double error = (double)(product / leaf->eax) / khz[i] - 1;
		ck_assert_msg(error > -2e-6 && error < 2e-6, "%u kHz: %u / %u", khz[i], leaf->ebx, leaf->eax);
		ck_assert_uint_eq(find(n, 0x16, 0)->eax, khz[i] / 1000);
		ck_assert_uint_eq(find(n, 0x40000010, 0)->eax, khz[i]);
		ck_assert_uint_eq(find(n, 0x40000010, 0)->ebx, 1000000);
		ck_assert_uint_eq(find(n, 0x40000000, 0)->eax, 0x40000010);
		uint32_t again = cpuid_apply(entries, n, 32, &config);
		ck_assert_uint_eq(again, n);
		/* AMD has no such leaves, but KVM's own */
		n = cpuid_apply(entries, make(AMD_EBX, 0x1f), 32, &config);
		ck_assert_uint_eq(find(n, 0x15, 0)->eax, 0);
		ck_assert_uint_eq(find(n, 0x40000010, 0)->eax, khz[i]);
	}
	/* not known: nothing rather than something wrong */
	struct cpuid_config config = { .cpus = 1 };
	uint32_t n = cpuid_apply(entries, make(INTEL_EBX, 0x1f), 32, &config);
	ck_assert_uint_eq(find(n, 0x15, 0)->eax, 0);
	ck_assert_uint_eq(find(n, 0x40000000, 0)->eax, 0x40000001);
}
END_TEST

START_TEST(physical_bits)
{
	uint32_t n = make(AMD_EBX, 0xd);
	ck_assert_uint_eq(cpuid_physical_bits(entries, n), 0x28);
	ck_assert_uint_eq(cpuid_physical_bits(entries, 3), 36);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cpuid");
	TCase *c = tcase_create("cpuid");
	tcase_add_test(c, topology);
	tcase_add_test(c, topology_of_amd);
	tcase_add_test(c, features);
	tcase_add_test(c, frequencies);
	tcase_add_test(c, physical_bits);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
