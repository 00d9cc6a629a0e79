#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"
#include "vmm/acpi.h"
#include "vmm/layout.h"

static const struct pci_windows windows = {
	.mmio32_base = LAYOUT_MMIO32, .mmio32_size = LAYOUT_MMIO32_SIZE, .mmio64_base = 0x8000000000, .mmio64_size = 1ull << 36,
	.ecam_base = LAYOUT_ECAM, .ecam_size = LAYOUT_ECAM_SIZE,
};
static uint8_t tables[LAYOUT_ACPI_SIZE];

static size_t build(uint32_t cpus)
{
	struct acpi_config config = { .cpus = cpus, .windows = windows };
	memset(tables, 0xee, sizeof(tables));
	return acpi_build(&config, LAYOUT_ACPI, tables, sizeof(tables));
}

static uint64_t get(size_t at, size_t size)
{
	uint64_t value = 0;
	memcpy(&value, tables + at, size);
	return value;
}

static uint8_t sum(size_t at, size_t size)
{
	uint8_t total = 0;
	for (size_t i = 0; i < size; i++)
		total = (uint8_t)(total + tables[at + i]);
	return total;
}

/* Offset of the table that the XSDT lists, or of the DSDT. */
static size_t find(const char *signature, size_t used)
{
	size_t xsdt = get(24, 8) - LAYOUT_ACPI;
	ck_assert_uint_lt(xsdt, used);
	ck_assert(memcmp(tables + xsdt, "XSDT", 4) == 0);
	for (size_t at = xsdt + 36; at < xsdt + get(xsdt + 4, 4); at += 8) {
		size_t table = get(at, 8) - LAYOUT_ACPI;
		ck_assert_uint_lt(table, used);
		if (memcmp(tables + table, signature, 4) == 0)
			return table;
		if (memcmp(tables + table, "FACP", 4) == 0 && strcmp(signature, "DSDT") == 0)
			return get(table + 140, 8) - LAYOUT_ACPI;
	}
	ck_abort_msg("no %s", signature);
	return 0;
}

START_TEST(checksums_and_lengths)
{
	static const uint32_t cpus[] = { 1, 2, 254 };
	static const char *const names[] = { "FACP", "APIC", "MCFG", "DSDT" };
	for (size_t c = 0; c < 3; c++) {
		size_t used = build(cpus[c]);
		ck_assert_uint_gt(used, 0);
		ck_assert_uint_le(used, sizeof(tables));
		ck_assert(memcmp(tables, "RSD PTR ", 8) == 0);
		ck_assert_uint_eq(sum(0, 20), 0);
		ck_assert_uint_eq(sum(0, 36), 0);
		size_t xsdt = get(24, 8) - LAYOUT_ACPI;
		ck_assert_uint_eq(sum(xsdt, get(xsdt + 4, 4)), 0);
		for (size_t i = 0; i < 4; i++) {
			size_t at = find(names[i], used), length = get(at + 4, 4);
			ck_assert_msg(at + length <= used, "%s", names[i]);
			ck_assert_msg(sum(at, length) == 0, "%s", names[i]);
		}
		for (size_t i = used; i < sizeof(tables); i++)
			ck_assert_uint_eq(tables[i], 0xee);
	}
}
END_TEST

static const uint32_t cpu_counts[] = { 1, 3, 254 };

START_TEST(contents)
{
	size_t used = build(cpu_counts[_i]), fadt = find("FACP", used), madt = find("APIC", used), mcfg = find("MCFG", used);
	ck_assert_uint_eq(get(fadt + 4, 4), 276);
	ck_assert_uint_eq(get(fadt + 56, 4), 0x600);
	ck_assert_uint_eq(get(fadt + 64, 4), 0x604);
	ck_assert_uint_eq(get(fadt + 76, 4), 0x608);
	ck_assert_uint_eq(get(fadt + 46, 2), 9);
	ck_assert_uint_eq(get(fadt + 48, 4), 0); /* no SMI command port */
	ck_assert_uint_eq(get(fadt + 109, 2) & 2, 0); /* no 8042 */
	ck_assert_uint_eq(get(fadt + 120, 8), 0xcf9);
	ck_assert_uint_eq(tables[fadt + 128], 6);
	size_t facs = get(fadt + 36, 4) - LAYOUT_ACPI;
	ck_assert_uint_eq(facs % 64, 0);
	ck_assert(memcmp(tables + facs, "FACS", 4) == 0);
	ck_assert_uint_eq(get(mcfg + 44, 8), LAYOUT_ECAM);
	ck_assert_uint_eq(tables[mcfg + 54], 0);
	ck_assert_uint_eq(tables[mcfg + 55], 0);
	/* MADT: walk the entries */
	unsigned cpus = 0, ioapics = 0, overrides = 0;
	size_t at = madt + 44, end = madt + get(madt + 4, 4);
	while (at < end) {
		ck_assert_uint_gt(tables[at + 1], 1);
		if (tables[at] == 0) {
			ck_assert_uint_eq(tables[at + 2], cpus);
			ck_assert_uint_eq(tables[at + 3], cpus);
			ck_assert_uint_eq(get(at + 4, 4), 1);
			cpus++;
		}
		if (tables[at] == 1) /* an id of its own, and not the broadcast's */
			ck_assert_uint_eq(tables[at + 2], cpu_counts[_i]);
		ioapics += tables[at] == 1;
		overrides += tables[at] == 2;
		at += tables[at + 1];
	}
	ck_assert_uint_eq(at, end);
	ck_assert_uint_eq(cpus, cpu_counts[_i]);
	ck_assert_uint_eq(ioapics, 1);
	ck_assert_uint_eq(overrides, 2);
}
END_TEST

START_TEST(too_small)
{
	struct acpi_config config = { .cpus = 2, .windows = windows };
	size_t used = build(2);
	for (size_t size = 0; size < used; size++) {
		uint8_t *exact = malloc(size ? size : 1);
		ck_assert_uint_eq(acpi_build(&config, LAYOUT_ACPI, exact, size), 0);
		free(exact);
	}
	ck_assert_uint_eq(acpi_build(&config, LAYOUT_ACPI, tables, used), used);
}
END_TEST

/* The AML compiler reads every table back; DSDT compiles again from its disassembly. */
START_TEST(disassembles)
{
	if (system("command -v iasl >/dev/null 2>&1") != 0)
		UNIT_SKIP("no iasl: install acpica-tools");
	static const char *const names[] = { "FACP", "APIC", "MCFG", "DSDT" };
	size_t used = build(4);
	char folder[] = "/tmp/acpi-test-XXXXXX", path[64], command[300];
	ck_assert_ptr_nonnull(mkdtemp(folder));
	for (size_t i = 0; i < 4; i++) {
		size_t at = find(names[i], used);
		snprintf(path, sizeof(path), "%s/%s.aml", folder, names[i]);
		FILE *out = fopen(path, "w");
		ck_assert_ptr_nonnull(out);
		ck_assert_uint_eq(fwrite(tables + at, 1, get(at + 4, 4), out), get(at + 4, 4));
		fclose(out);
		snprintf(command, sizeof(command), "cd %s && iasl -d %s.aml >%s.log 2>&1 && ! grep -iE 'error|warning|invalid' %s.log", folder,
			names[i], names[i], names[i]);
		ck_assert_msg(system(command) == 0, "%s", names[i]);
	}
	snprintf(command, sizeof(command), "cd %s && iasl -p again DSDT.dsl >again.log 2>&1 && grep -q ' 0 Errors, 0 Warnings' again.log && "
		"grep -q 'PCI0' DSDT.dsl && grep -q 'PNP0A08' DSDT.dsl", folder);
	ck_assert_msg(system(command) == 0, "DSDT does not compile again; see %s/again.log", folder);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("acpi");
	TCase *c = tcase_create("acpi");
	tcase_add_test(c, checksums_and_lengths);
	tcase_add_loop_test(c, contents, 0, 3);
	tcase_add_test(c, too_small);
	tcase_add_test(c, disassembles);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
