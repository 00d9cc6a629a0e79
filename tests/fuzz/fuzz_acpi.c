/*
 * ACPI tables and the memory map for any machine: pointers, lengths and checksums hold, everything lies in the buffer, AML
 * packages nest. An input: struct shape.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "fuzz.h"
#include "vmm/acpi.h"
#include "vmm/boot.h"
#include "vmm/layout.h"
#include "vmm/vm.h"

const struct fuzz_target fuzz_target = { .operations = false };

void fuzz_start(void)
{
	log_set_level(LOG_WARN);
}

struct shape {
	uint64_t mmio32_base, mmio32_size, mmio64_base, mmio64_size, ecam_base, ecam_size, ram;
	uint32_t cpus, room; /* room: bytes of the buffer */
};

static uint32_t u32(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, 4);
	return value;
}

static uint64_t u64(const uint8_t *at)
{
	uint64_t value;
	memcpy(&value, at, 8);
	return value;
}

static uint8_t sum(const uint8_t *at, size_t size)
{
	uint8_t total = 0;
	for (size_t i = 0; i < size; i++)
		total = (uint8_t)(total + at[i]);
	return total;
}

/* The table at a guest address: inside what was written, with a right checksum. Returns its length. */
static uint32_t check_table(const uint8_t *tables, size_t used, uint64_t gpa)
{
	FUZZ_CHECK(gpa >= LAYOUT_ACPI && gpa - LAYOUT_ACPI < used && used - (gpa - LAYOUT_ACPI) >= 36, "a table at 0x%llx", (unsigned long long)gpa);
	const uint8_t *table = tables + (gpa - LAYOUT_ACPI);
	uint32_t length = u32(table + 4);
	FUZZ_CHECK(length >= 36 && length <= used - (gpa - LAYOUT_ACPI), "table %.4s has %u bytes", (const char *)table, length);
	if (memcmp(table, "FACS", 4) != 0)
		FUZZ_CHECK(sum(table, length) == 0, "the checksum of table %.4s is wrong", (const char *)table);
	return length;
}

/* Interrupt controllers (ACPI 6.4, 5.2.12): each entry inside the table; one enabled CPU for each of `cpus`, none twice. */
static void check_madt(const uint8_t *table, uint32_t length, uint32_t cpus)
{
	uint32_t seen = 0;
	static uint8_t ids[4096];
	memset(ids, 0, sizeof(ids));
	for (uint32_t at = 44; at < length; at += table[at + 1]) {
		FUZZ_CHECK(length - at >= 2 && table[at + 1] >= 2 && table[at + 1] <= length - at, "an entry of the MADT at %u leaves it", at);
		uint32_t id = table[at] == 0 ? table[at + 3] : table[at] == 9 ? u32(table + at + 4) : UINT32_MAX;
		if (id == UINT32_MAX)
			continue;
		FUZZ_CHECK(id < sizeof(ids) && !ids[id], "local APIC %u is there twice", id);
		ids[id] = 1;
		seen++;
	}
	FUZZ_CHECK(seen == cpus, "%u CPUs in the MADT of %u", seen, cpus);
}

/* PkgLength (ACPI 6.4, 20.2.4) of scopes, devices and methods at the top of a DSDT: each inside the one around it. */
static void check_aml(const uint8_t *aml, uint32_t size, uint32_t depth)
{
	FUZZ_CHECK(depth < 8, "AML too deep");
	for (uint32_t at = 0; at < size;) {
		uint32_t op = aml[at], head = 1;
		if (op == 0x5b && at + 1 < size && aml[at + 1] == 0x82)
			head = 2;
		else if (op != 0x10)
			return; /* a name, a method's body: terms of other lengths */
		FUZZ_CHECK(at + head < size, "AML ends in an opcode");
		uint32_t more = aml[at + head] >> 6, length = aml[at + head] & (more ? 0xf : 0x3f);
		FUZZ_CHECK(at + head + more < size, "AML ends in a length");
		for (uint32_t i = 0; i < more; i++)
			length |= (uint32_t)aml[at + head + 1 + i] << (4 + 8 * i);
		FUZZ_CHECK(length > more && length <= size - at - head, "an AML package at %u of %u has %u bytes", at, size, length);
		uint32_t name = at + head + 1 + more;
		while (name < size && (aml[name] == '\\' || aml[name] == '^'))
			name++;
		if (name + 4 <= at + head + length)
			check_aml(aml + name + 4, at + head + length - name - 4, depth + 1);
		at += head + length;
	}
}

static void check_all(const uint8_t *tables, size_t used, const struct acpi_config *config)
{
	FUZZ_CHECK(used >= 36 && memcmp(tables, "RSD PTR ", 8) == 0 && sum(tables, 20) == 0 && sum(tables, 36) == 0, "no root pointer");
	uint64_t xsdt = u64(tables + 24);
	uint32_t length = check_table(tables, used, xsdt);
	const uint8_t *list = tables + (xsdt - LAYOUT_ACPI);
	bool facp = false, madt = false;
	for (uint32_t at = 36; at + 8 <= length; at += 8) {
		uint64_t gpa = u64(list + at);
		uint32_t bytes = check_table(tables, used, gpa);
		const uint8_t *table = tables + (gpa - LAYOUT_ACPI);
		if (memcmp(table, "APIC", 4) == 0) {
			check_madt(table, bytes, config->cpus);
			madt = true;
		} else if (memcmp(table, "FACP", 4) == 0) {
			FUZZ_CHECK(bytes >= 148, "a FADT of %u bytes", bytes);
			uint64_t dsdt = u64(table + 140);
			uint32_t size = check_table(tables, used, dsdt);
			FUZZ_CHECK(u32(table + 40) == (uint32_t)dsdt || u32(table + 40) == 0, "two DSDTs");
			check_aml(tables + (dsdt - LAYOUT_ACPI) + 36, size - 36, 0);
			uint64_t facs = u64(table + 132) != 0 ? u64(table + 132) : u32(table + 36);
			check_table(tables, used, facs);
			FUZZ_CHECK(facs % 64 == 0, "a FACS at 0x%llx", (unsigned long long)facs);
			facp = true;
		}
	}
	FUZZ_CHECK(facp && madt, "tables are missing");
}

static void check_map(uint64_t ram)
{
	struct boot_range ranges[BOOT_RANGES];
	uint32_t n = boot_memory_map(ram, ranges);
	uint64_t total = 0;
	FUZZ_CHECK(n > 0 && n <= BOOT_RANGES, "%u ranges", n);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t end;
		FUZZ_CHECK(ranges[i].size > 0 && add_u64(ranges[i].gpa, ranges[i].size, &end), "an empty range");
		for (uint32_t j = 0; j < i; j++)
			FUZZ_CHECK(ranges[j].gpa + ranges[j].size <= ranges[i].gpa || end <= ranges[j].gpa, "ranges %u and %u overlap", i, j);
		if (ranges[i].type == 1)
			total += ranges[i].size;
	}
	FUZZ_CHECK(total <= ram, "more RAM in the map than there is");
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct shape shape = { 0 };
	memcpy(&shape, data, size < sizeof(shape) ? size : sizeof(shape));
	/* The 32-bit windows are below 4 GiB by construction, and vm_create() refuses other numbers of CPUs. */
	const struct acpi_config config = {
		.cpus = 1 + shape.cpus % VM_MAX_CPUS,
		.windows = {
			.mmio32_base = (uint32_t)shape.mmio32_base & ~0xfffu, .mmio32_size = ((uint32_t)shape.mmio32_size & 0x0ffff000u) + 0x1000,
			.mmio64_base = shape.mmio64_base & 0xfffffffff000ull, .mmio64_size = (shape.mmio64_size & 0xfffffff000ull) + 0x1000,
			.ecam_base = (uint32_t)shape.ecam_base & 0xf0000000u, .ecam_size = LAYOUT_ECAM_SIZE,
		},
	};
	size_t room = shape.room % (LAYOUT_ACPI_SIZE + 1);
	/* Of exactly its size, so that a byte too many is seen. */
	uint8_t *tables = malloc(room > 0 ? room : 1);
	FUZZ_CHECK(tables != NULL, "no memory");
	size_t used = acpi_build(&config, LAYOUT_ACPI, tables, room);
	FUZZ_CHECK(used <= room, "%zu bytes in a buffer of %zu", used, room);
	FUZZ_CHECK(used > 0 || room < LAYOUT_ACPI_SIZE, "no tables in a buffer as large as the machine has");
	if (used > 0)
		check_all(tables, used, &config);
	free(tables);
	uint64_t ram = ((shape.ram % (LAYOUT_RAM_MAX >> 20)) + 2) << 20;
	check_map(ram <= LAYOUT_RAM_MAX ? ram : LAYOUT_RAM_MAX);
}
