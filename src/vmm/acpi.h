/* ACPI tables (ACPI 6.4), written by hand into a buffer: pure, no guest, no KVM. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vmm/pci.h"

struct acpi_config {
	uint32_t cpus; /* APIC ids 0..cpus-1 */
	struct pci_windows windows;
};

/*
 * Writes RSDP (first), XSDT, FACS, FADT, MADT, MCFG and DSDT into `to`, which the guest will find at gpa (64-byte aligned).
 * Returns the bytes used, 0 when `size` is too small.
 */
size_t acpi_build(const struct acpi_config *config, uint64_t gpa, uint8_t *to, size_t size);
