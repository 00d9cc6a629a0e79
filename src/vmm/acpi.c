/*
 * The tables a stock kernel wants from firmware: where the APICs, ECAM, power management and the PCI windows are. Fixed
 * hardware model (not "hardware reduced"), always in ACPI mode: no SMI command port.
 */
#include "vmm/acpi.h"

#include <string.h>

#include "vmm/aml.h"
#include "vmm/layout.h"

#define HEADER 36
#define SLEEP_TYPE_S5 5

/* FADT (ACPI 6.4, table 5.9): byte offsets in the table. */
enum {
	FADT_FACS = 36, FADT_DSDT = 40, FADT_SCI = 46, FADT_PM1A_EVENT = 56, FADT_PM1A_CONTROL = 64, FADT_PM_TIMER = 76,
	FADT_PM1_EVENT_LENGTH = 88, FADT_PM1_CONTROL_LENGTH = 89, FADT_PM_TIMER_LENGTH = 91, FADT_C2_LATENCY = 96,
	FADT_C3_LATENCY = 98, FADT_CENTURY = 108, FADT_BOOT_ARCH = 109, FADT_FLAGS = 112, FADT_RESET_REGISTER = 116,
	FADT_RESET_VALUE = 128, FADT_MINOR = 131, FADT_X_FACS = 132, FADT_X_DSDT = 140, FADT_X_PM1A_EVENT = 148,
	FADT_X_PM1A_CONTROL = 172, FADT_X_PM_TIMER = 208, FADT_SIZE = 276,
};
#define FADT_FLAG_WBINVD (1u << 0)
#define FADT_FLAG_PROC_C1 (1u << 2)
#define FADT_FLAG_NO_FIXED_SLEEP_BUTTON (1u << 5)
#define FADT_FLAG_NO_FIXED_RTC (1u << 6)
#define FADT_FLAG_TIMER_32BIT (1u << 8)
#define FADT_FLAG_RESET_REGISTER (1u << 10)
/*
 * Legacy devices (COM1, RTC) and no VGA; the 8042 bit is clear, so that Linux does not spend half a second looking for a
 * keyboard controller (drivers/input/serio/i8042-acpipnpio.h).
 */
#define BOOT_ARCH_LEGACY_DEVICES (1u << 0)
#define BOOT_ARCH_NO_VGA (1u << 2)
#define BOOT_ARCH_NO_ASPM (1u << 4)

static uint8_t sum(const uint8_t *bytes, size_t size)
{
	uint8_t total = 0;
	for (size_t i = 0; i < size; i++)
		total = (uint8_t)(total + bytes[i]);
	return total;
}

/* Starts a table; returns its offset. Length and checksum come with finish(). */
static size_t start(struct aml *out, const char *signature, uint8_t revision)
{
	while (out->used % 16 && !out->full)
		aml_u8(out, 0);
	size_t at = out->used;
	aml_raw(out, signature, 4);
	aml_u32(out, 0);
	aml_u8(out, revision);
	aml_u8(out, 0);
	aml_raw(out, "RAYVM ", 6);
	aml_raw(out, "RAYVMPC ", 8);
	aml_u32(out, 1);
	aml_raw(out, "RAYV", 4);
	aml_u32(out, 1);
	return at;
}

static void finish(struct aml *out, size_t at)
{
	if (out->full)
		return;
	uint32_t length = (uint32_t)(out->used - at);
	memcpy(out->bytes + at + 4, &length, 4);
	out->bytes[at + 9] = (uint8_t)-sum(out->bytes + at, length);
}

static void patch(struct aml *out, size_t at, uint64_t value, size_t size)
{
	if (!out->full)
		memcpy(out->bytes + at, &value, size);
}

/* Generic address structure in I/O space (ACPI 6.4, 5.2.3.2). access: 1 byte, 2 word, 3 dword. */
static void patch_port(struct aml *out, size_t at, uint16_t port, uint8_t bits, uint8_t access)
{
	patch(out, at, 1, 1);
	patch(out, at + 1, bits, 1);
	patch(out, at + 2, 0, 1);
	patch(out, at + 3, access, 1);
	patch(out, at + 4, port, 8);
}

static size_t build_facs(struct aml *out)
{
	while (out->used % 64 && !out->full)
		aml_u8(out, 0);
	size_t at = out->used;
	uint8_t facs[64] = "FACS";
	facs[4] = sizeof(facs);
	facs[32] = 2; /* version */
	aml_raw(out, facs, sizeof(facs));
	return at;
}

static size_t build_fadt(struct aml *out, uint64_t facs, uint64_t dsdt)
{
	static const uint8_t zeros[FADT_SIZE - HEADER];
	size_t at = start(out, "FACP", 6);
	aml_raw(out, zeros, sizeof(zeros));
	patch(out, at + FADT_FACS, facs, 4);
	patch(out, at + FADT_DSDT, dsdt, 4);
	patch(out, at + FADT_SCI, IRQ_SCI, 2);
	patch(out, at + FADT_PM1A_EVENT, PORT_PM_EVENT, 4);
	patch(out, at + FADT_PM1A_CONTROL, PORT_PM_CONTROL, 4);
	patch(out, at + FADT_PM_TIMER, PORT_PM_TIMER, 4);
	patch(out, at + FADT_PM1_EVENT_LENGTH, 4, 1);
	patch(out, at + FADT_PM1_CONTROL_LENGTH, 2, 1);
	patch(out, at + FADT_PM_TIMER_LENGTH, 4, 1);
	patch(out, at + FADT_C2_LATENCY, 0xfff, 2); /* above 100: no C2 */
	patch(out, at + FADT_C3_LATENCY, 0xfff, 2); /* above 1000: no C3 */
	patch(out, at + FADT_CENTURY, 0x32, 1);
	patch(out, at + FADT_BOOT_ARCH, BOOT_ARCH_LEGACY_DEVICES | BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_ASPM, 2);
	patch(out, at + FADT_FLAGS, FADT_FLAG_WBINVD | FADT_FLAG_PROC_C1 | FADT_FLAG_NO_FIXED_SLEEP_BUTTON | FADT_FLAG_NO_FIXED_RTC |
		FADT_FLAG_TIMER_32BIT | FADT_FLAG_RESET_REGISTER, 4);
	patch_port(out, at + FADT_RESET_REGISTER, PORT_RESET, 8, 1);
	patch(out, at + FADT_RESET_VALUE, 0x06, 1);
	patch(out, at + FADT_MINOR, 4, 1);
	/* X_FIRMWARE_CTRL stays 0: only one of both may be given; the FACS is below 4 GiB. */
	patch(out, at + FADT_X_DSDT, dsdt, 8);
	patch_port(out, at + FADT_X_PM1A_EVENT, PORT_PM_EVENT, 32, 2);
	patch_port(out, at + FADT_X_PM1A_CONTROL, PORT_PM_CONTROL, 16, 2);
	patch_port(out, at + FADT_X_PM_TIMER, PORT_PM_TIMER, 32, 3);
	finish(out, at);
	return at;
}

static void source_override(struct aml *out, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	aml_u8(out, 2);
	aml_u8(out, 10);
	aml_u8(out, 0); /* ISA */
	aml_u8(out, irq);
	aml_u32(out, gsi);
	aml_u16(out, flags);
}

static size_t build_madt(struct aml *out, const struct acpi_config *config)
{
	size_t at = start(out, "APIC", 5);
	aml_u32(out, (uint32_t)LAYOUT_LAPIC);
	aml_u32(out, 1); /* an 8259 pair is there too */
	for (uint32_t cpu = 0; cpu < config->cpus; cpu++) {
		aml_u8(out, 0);
		aml_u8(out, 8);
		aml_u8(out, (uint8_t)cpu);
		aml_u8(out, (uint8_t)cpu);
		aml_u32(out, 1); /* enabled */
	}
	aml_u8(out, 1); /* I/O APIC, with the id after the last CPU's where that is free */
	aml_u8(out, 12);
	aml_u8(out, (uint8_t)config->cpus);
	aml_u8(out, 0);
	aml_u32(out, (uint32_t)LAYOUT_IOAPIC);
	aml_u32(out, 0);
	source_override(out, 0, 2, 0);               /* the PIT, as on every PC */
	source_override(out, IRQ_SCI, IRQ_SCI, 0xd); /* level, active high */
	aml_u8(out, 4); /* NMI on LINT1 of all CPUs */
	aml_u8(out, 6);
	aml_u8(out, 0xff);
	aml_u16(out, 0);
	aml_u8(out, 1);
	finish(out, at);
	return at;
}

static size_t build_mcfg(struct aml *out, const struct pci_windows *windows)
{
	size_t at = start(out, "MCFG", 1);
	aml_u64(out, 0);
	aml_u64(out, windows->ecam_base);
	aml_u16(out, 0);
	aml_u8(out, 0); /* first bus */
	aml_u8(out, (uint8_t)(windows->ecam_size >> 20) - 1);
	aml_u32(out, 0);
	finish(out, at);
	return at;
}

static void dsdt_host_bridge(struct aml *out, const struct pci_windows *windows)
{
	size_t device = aml_device(out, "PCI0");
	aml_name_eisaid(out, "_HID", "PNP0A08");
	aml_name_eisaid(out, "_CID", "PNP0A03");
	aml_name_integer(out, "_UID", 0);
	aml_name_integer(out, "_BBN", 0);
	aml_name_integer(out, "_SEG", 0);
	struct aml_resources resources;
	aml_resources_begin(out, &resources);
	aml_word_space(out, 2, 0, (uint16_t)((windows->ecam_size >> 20) - 1));
	aml_io(out, PORT_PCI_ADDRESS, 8);
	aml_word_space(out, 1, 0x0000, 0x0cf7);
	aml_word_space(out, 1, 0x0d00, 0xffff);
	aml_dword_memory(out, (uint32_t)windows->mmio32_base, (uint32_t)(windows->mmio32_base + windows->mmio32_size - 1));
	if (windows->mmio64_size)
		aml_qword_memory(out, windows->mmio64_base, windows->mmio64_base + windows->mmio64_size - 1);
	aml_resources_end(out, &resources);
	/* _OSC: whatever the system asks to control is its own (Return (Arg3)). */
	size_t method = aml_method(out, "_OSC", 4);
	aml_u8(out, 0xa4);
	aml_u8(out, 0x6b);
	aml_end(out, method);
	aml_end(out, device);
}

static void dsdt_legacy(struct aml *out, const struct pci_windows *windows)
{
	struct aml_resources resources;
	/* Motherboard resources: what no other device may be given, and the proof that ECAM is meant (mmconfig-shared.c). */
	size_t device = aml_device(out, "MBRD");
	aml_name_eisaid(out, "_HID", "PNP0C02");
	aml_resources_begin(out, &resources);
	aml_memory32(out, (uint32_t)windows->ecam_base, (uint32_t)windows->ecam_size);
	aml_io(out, PORT_PM, PORT_PM_SIZE);
	aml_resources_end(out, &resources);
	aml_end(out, device);

	device = aml_device(out, "COM1");
	aml_name_eisaid(out, "_HID", "PNP0501");
	aml_name_integer(out, "_UID", 1);
	aml_resources_begin(out, &resources);
	aml_io(out, PORT_COM1, 8);
	aml_irq(out, IRQ_COM1);
	aml_resources_end(out, &resources);
	aml_end(out, device);

	/* Where a guest's kernel tells that it panicked: pvpanic (QEMU's docs/specs/pvpanic.rst, Linux drivers/misc/pvpanic). */
	device = aml_device(out, "PEVT");
	aml_name_string(out, "_HID", "QEMU0001");
	aml_name_integer(out, "_STA", 0xf);
	aml_resources_begin(out, &resources);
	aml_io(out, PORT_PANIC, 1);
	aml_resources_end(out, &resources);
	aml_end(out, device);

	device = aml_device(out, "RTC");
	aml_name_eisaid(out, "_HID", "PNP0B00");
	aml_resources_begin(out, &resources);
	aml_io(out, PORT_RTC, 2);
	aml_irq(out, IRQ_RTC);
	aml_resources_end(out, &resources);
	aml_end(out, device);
}

static size_t build_dsdt(struct aml *out, const struct pci_windows *windows)
{
	size_t at = start(out, "DSDT", 2);
	aml_name(out, "_S5");
	size_t package = aml_package(out, 4);
	aml_integer(out, SLEEP_TYPE_S5);
	aml_integer(out, SLEEP_TYPE_S5);
	aml_integer(out, 0);
	aml_integer(out, 0);
	aml_end(out, package);
	size_t scope = aml_scope(out, "_SB");
	dsdt_host_bridge(out, windows);
	dsdt_legacy(out, windows);
	aml_end(out, scope);
	finish(out, at);
	return at;
}

size_t acpi_build(const struct acpi_config *config, uint64_t gpa, uint8_t *to, size_t size)
{
	struct aml out = { .bytes = to, .size = size };
	static const uint8_t rsdp_room[64];
	aml_raw(&out, rsdp_room, sizeof(rsdp_room));
	size_t facs = build_facs(&out);
	size_t dsdt = build_dsdt(&out, &config->windows);
	size_t tables[3] = {
		build_fadt(&out, gpa + facs, gpa + dsdt),
		build_madt(&out, config),
		build_mcfg(&out, &config->windows),
	};
	size_t xsdt = start(&out, "XSDT", 1);
	for (size_t i = 0; i < 3; i++)
		aml_u64(&out, gpa + tables[i]);
	finish(&out, xsdt);
	if (out.full)
		return 0;

	/* RSDP, ACPI 6.4, 5.2.5.3: two checksums, over the first 20 and over all 36 bytes. */
	memcpy(to, "RSD PTR ", 8);
	memcpy(to + 9, "RAYVM ", 6);
	to[15] = 2;
	patch(&out, 20, 36, 4);
	patch(&out, 24, gpa + xsdt, 8);
	to[8] = (uint8_t)-sum(to, 20);
	to[32] = (uint8_t)-sum(to, 36);
	return out.used;
}
