/*
 * A bus with two devices in slots 3 and 4, each with a large BAR that holds its MSI-X table and pending bits and a small one, as a vCPU
 * reaches them; the hypervisor's side is recorded. One bus a test.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "vmm/layout.h"
#include "vmm/pci.h"

#define PCI_UNUSED __attribute__((unused))

#define WINDOW64 0x4000000000ull

/* The hypervisor's side, recorded. */
static struct {
	unsigned routes, unroutes;
	uint64_t address;
	uint32_t data, gsi;
	int fd;
	bool fail;
} host;

static int msi_route(void *opaque, uint32_t gsi, uint64_t address, uint32_t data, int event_fd)
{
	(void)opaque;
	if (host.fail) {
		errno = ENOSPC;
		return -1;
	}
	host.routes++;
	host.gsi = gsi;
	host.address = address;
	host.data = data;
	host.fd = event_fd;
	return 0;
}

static int msi_unroute(void *opaque, uint32_t gsi, int event_fd)
{
	(void)opaque, (void)gsi, (void)event_fd;
	host.unroutes++;
	return 0;
}

PCI_UNUSED static const struct pci_host_ops host_ops = { .msi_route = msi_route, .msi_unroute = msi_unroute };

struct test_device {
	struct pci_device pci;
	uint64_t moved_to[PCI_BARS];
	unsigned moves;
	uint64_t last_offset;
	uint32_t last_size;
	unsigned reads, writes;
};

static void bar_read(struct pci_device *pci, int bar, uint64_t offset, void *data, uint32_t size)
{
	struct test_device *device = (struct test_device *)pci;
	(void)bar;
	device->reads++;
	device->last_offset = offset;
	device->last_size = size;
	memset(data, 0xa5, size);
}

static void bar_write(struct pci_device *pci, int bar, uint64_t offset, const void *data, uint32_t size)
{
	struct test_device *device = (struct test_device *)pci;
	(void)bar, (void)data;
	device->writes++;
	device->last_offset = offset;
	device->last_size = size;
}

static void bar_moved(struct pci_device *pci, int bar, uint64_t gpa)
{
	struct test_device *device = (struct test_device *)pci;
	device->moved_to[bar] = gpa;
	device->moves++;
}

static const struct pci_device_ops device_ops = { .bar_read = bar_read, .bar_write = bar_write, .bar_moved = bar_moved };

static struct pci_bus *bus;
static struct test_device a, b;

PCI_UNUSED static void init_device(struct test_device *device, const char *name)
{
	memset(device, 0, sizeof(*device));
	pci_device_init(&device->pci, &device_ops, name, 0x1af4, 0x1050, 0x038000, 1, 0x1af4, 0x1100);
	pci_add_bar(&device->pci, 0, 0x4000, true, false);
	pci_add_bar(&device->pci, 2, 0x1000, false, false);
	ck_assert_int_eq(msix_init(&device->pci, 0, 0x2000, 0x3000, 4), 0);
}

/* Both devices on a bus of this host's, at the addresses they get by themselves and not yet decoded. */
PCI_UNUSED static void open_bus(const struct pci_host_ops *ops)
{
	const struct pci_windows windows = {
		.mmio32_base = LAYOUT_MMIO32, .mmio32_size = LAYOUT_MMIO32_SIZE, .mmio64_base = WINDOW64,
		.mmio64_size = 1ull << 34, .ecam_base = LAYOUT_ECAM, .ecam_size = LAYOUT_ECAM_SIZE,
	};
	memset(&host, 0, sizeof(host));
	bus = pci_bus_create(ops, NULL, &windows);
	ck_assert_ptr_nonnull(bus);
	init_device(&a, "a");
	init_device(&b, "b");
	ck_assert_int_eq(pci_attach(bus, &a.pci, 3), 0);
	ck_assert_int_eq(pci_attach(bus, &b.pci, 4), 0);
}

PCI_UNUSED static void teardown(void)
{
	pci_detach(&a.pci);
	pci_detach(&b.pci);
	pci_bus_destroy(bus);
}

PCI_UNUSED static uint32_t ecam_read(uint32_t slot, uint32_t reg, uint32_t size)
{
	uint32_t value = 0;
	ck_assert(pci_mmio(bus, LAYOUT_ECAM + (slot << 15) + reg, &value, size, false));
	return value;
}

PCI_UNUSED static void ecam_write(uint32_t slot, uint32_t reg, uint32_t value, uint32_t size)
{
	ck_assert(pci_mmio(bus, LAYOUT_ECAM + (slot << 15) + reg, &value, size, true));
}

PCI_UNUSED static uint64_t bar0(uint32_t slot)
{
	return (ecam_read(slot, 0x10, 4) & ~0xfull) | (uint64_t)ecam_read(slot, 0x14, 4) << 32;
}

/* --- MSI-X of device a, whose table is in its first BAR --- */

static uint64_t table;

PCI_UNUSED static void msix_write(uint32_t offset, uint64_t value, uint32_t size)
{
	ck_assert(pci_mmio(bus, table + offset, &value, size, true));
}

PCI_UNUSED static uint64_t msix_read(uint32_t offset, uint32_t size)
{
	uint64_t value = 0;
	ck_assert(pci_mmio(bus, table + offset, &value, size, false));
	return value;
}

/* Interrupts injected for `vector` since the last call. */
PCI_UNUSED static uint64_t taken(uint32_t vector)
{
	uint64_t n = 0;
	return read(a.pci.msix.vector[vector].event_fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* As open_bus(), with MSI-X enabled; all vectors are masked. */
PCI_UNUSED static void open_msix(const struct pci_host_ops *ops)
{
	open_bus(ops);
	ecam_write(3, 4, 6, 2);
	table = bar0(3) + 0x2000;
	ecam_write(3, 0x42, 0x8000, 2);
}
