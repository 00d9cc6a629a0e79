#include "vmm/pci_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "pci"
#include "base/base.h"
#include "base/log.h"
#include "vmm/layout.h"

/* --- devices ---------------------------------------------------------------------------------------------------- */

void pci_device_init(struct pci_device *device, const struct pci_device_ops *ops, const char *name, uint16_t vendor,
	uint16_t device_id, uint32_t class_code, uint8_t revision, uint16_t subsystem_vendor, uint16_t subsystem_id)
{
	memset(device, 0, sizeof(*device));
	device->ops = ops;
	strncpy(device->name, name, sizeof(device->name) - 1);
	pthread_mutex_init(&device->msix.lock, NULL);
	for (int i = 0; i < PCI_BARS; i++)
		device->bar[i].gpa = PCI_BAR_UNMAPPED;
	for (int i = 0; i < MSIX_VECTORS; i++)
		device->msix.vector[i].event_fd = -1;
	put_u16(device->config + 0x00, vendor);
	put_u16(device->config + 0x02, device_id);
	device->config[0x08] = revision;
	device->config[0x09] = (uint8_t)class_code;
	device->config[0x0a] = (uint8_t)(class_code >> 8);
	device->config[0x0b] = (uint8_t)(class_code >> 16);
	put_u16(device->config + 0x2c, subsystem_vendor);
	put_u16(device->config + 0x2e, subsystem_id);
	/* Memory, bus master, parity and SERR enables, INTx disable; I/O space stays off: no device here has I/O BARs. */
	device->writable[PCI_COMMAND] = 0x46;
	device->writable[PCI_COMMAND + 1] = 0x05;
	device->writable[0x0c] = 0xff; /* cache line size */
	device->writable[0x3c] = 0xff; /* interrupt line: software's scratch byte */
	device->next_capability = 0x40;
}

void pci_add_bar(struct pci_device *device, int bar, uint64_t size, bool is64, bool prefetchable)
{
	device->bar[bar] = (struct pci_bar){
		.size = size, .gpa = PCI_BAR_UNMAPPED, .is64 = is64, .prefetchable = prefetchable,
	};
	uint8_t *config = device->config + PCI_BAR0 + 4 * bar, *writable = device->writable + PCI_BAR0 + 4 * bar;
	put_u32(config, (is64 ? 0x4u : 0) | (prefetchable ? 0x8u : 0));
	put_u32(writable, (uint32_t)~(size - 1));
	if (is64)
		put_u32(writable + 4, (uint32_t)(~(size - 1) >> 32));
}

uint32_t pci_add_capability(struct pci_device *device, uint8_t id, const void *body, uint8_t length)
{
	uint32_t offset = device->next_capability;
	if (length < 2 || offset + length > PCI_CONFIG_SIZE)
		return 0;
	device->config[offset] = id;
	device->config[offset + 1] = 0;
	if (length > 2)
		memcpy(device->config + offset + 2, body, length - 2u);
	if (device->last_capability)
		device->config[device->last_capability + 1] = (uint8_t)offset;
	else
		device->config[PCI_CAPABILITIES] = (uint8_t)offset;
	device->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
	device->last_capability = offset;
	device->next_capability = (offset + length + 3u) & ~3u;
	return offset;
}

/* --- where BARs are decoded ---------------------------------------------------------------------------------------- */

static bool inside(uint64_t gpa, uint64_t size, uint64_t base, uint64_t window)
{
	return gpa >= base && size <= window && gpa - base <= window - size;
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b ? b - a < a_size : a - b < b_size;
}

/*
 * The windows hold nothing but BARs: RAM, ECAM, the APICs and KVM's own pages lie outside, so that a BAR inside a window
 * can only collide with another BAR.
 */
static bool in_window(const struct pci_bus *bus, uint64_t gpa, uint64_t size)
{
	return inside(gpa, size, bus->windows.mmio32_base, bus->windows.mmio32_size) ||
	       inside(gpa, size, bus->windows.mmio64_base, bus->windows.mmio64_size);
}

static bool is_free(const struct pci_bus *bus, uint64_t gpa, uint64_t size)
{
	for (int s = 0; s < PCI_SLOTS; s++) {
		const struct pci_device *device = bus->slot[s];
		for (int b = 0; device && b < PCI_BARS; b++) {
			const struct pci_bar *bar = &device->bar[b];
			if (bar->size && bar->gpa != PCI_BAR_UNMAPPED && overlap(gpa, size, bar->gpa, bar->size))
				return false;
		}
	}
	return true;
}

/* The address in the BAR's register. */
static uint64_t bar_register(const struct pci_device *device, int b)
{
	const uint8_t *config = device->config + PCI_BAR0 + 4 * b;
	uint64_t gpa = get_u32(config) & ~0xfull;
	if (device->bar[b].is64)
		gpa |= (uint64_t)get_u32(config + 4) << 32;
	return gpa;
}

/* Where the guest wants the BAR, or PCI_BAR_UNMAPPED when decoding is off or the address is not allowed. */
static uint64_t bar_wanted(const struct pci_bus *bus, const struct pci_device *device, int b)
{
	if (!(device->config[PCI_COMMAND] & PCI_COMMAND_MEMORY))
		return PCI_BAR_UNMAPPED;
	uint64_t untrusted_gpa = bar_register(device, b);
	return in_window(bus, untrusted_gpa, device->bar[b].size) ? untrusted_gpa : PCI_BAR_UNMAPPED;
}

static void place_bar(struct pci_device *device, int b, uint64_t gpa)
{
	device->bar[b].gpa = gpa;
	if (device->ops && device->ops->bar_moved)
		device->ops->bar_moved(device, b, gpa);
}

/*
 * Brings what is decoded in line with the registers: first everything that leaves its place, then, in slot order, what can be
 * placed whole. A BAR that collides waits undecoded until its place is free; the one already there stays. Bus lock held.
 */
static void update_bars(struct pci_bus *bus)
{
	for (int pass = 0; pass < 2; pass++) {
		for (int s = 0; s < PCI_SLOTS; s++) {
			struct pci_device *device = bus->slot[s];
			for (int b = 0; device && b < PCI_BARS; b++) {
				struct pci_bar *bar = &device->bar[b];
				if (!bar->size)
					continue;
				uint64_t wanted = bar_wanted(bus, device, b);
				if (wanted == bar->gpa)
					continue;
				if (pass == 0 && bar->gpa != PCI_BAR_UNMAPPED)
					place_bar(device, b, PCI_BAR_UNMAPPED);
				else if (pass == 1 && is_free(bus, wanted, bar->size))
					place_bar(device, b, wanted);
			}
		}
	}
}

bool pci_place_bars(struct pci_bus *bus, struct pci_device *device, uint32_t untrusted_which)
{
	if (untrusted_which >> PCI_BARS)
		return false;
	for (int b = 0; b < PCI_BARS; b++) {
		if (!(untrusted_which >> b & 1))
			continue;
		if (!device->bar[b].size)
			return false;
		uint64_t wanted = bar_wanted(bus, device, b);
		if (wanted == PCI_BAR_UNMAPPED || !is_free(bus, wanted, device->bar[b].size))
			return false;
		place_bar(device, b, wanted);
	}
	return true;
}

/* --- the bus ------------------------------------------------------------------------------------------------------ */

struct pci_bus *pci_bus_create(const struct pci_host_ops *ops, void *host, const struct pci_windows *windows)
{
	struct pci_bus *bus = calloc(1, sizeof(*bus));
	if (!bus)
		return NULL;
	bus->ops = ops;
	bus->host = host;
	bus->windows = *windows;
	pthread_mutex_init(&bus->lock, NULL);
	/* Intel Q35's host bridge: what stock UEFI firmware looks for. Its PCIEXBAR (0x60) says where ECAM is. */
	pci_device_init(&bus->bridge, NULL, "host-bridge", 0x8086, 0x29c0, 0x060000, 0, 0x1af4, 0x1100);
	put_u32(bus->bridge.config + 0x60, (uint32_t)windows->ecam_base | 1);
	if (pci_attach(bus, &bus->bridge, 0) < 0) {
		free(bus);
		return NULL;
	}
	return bus;
}

void pci_bus_destroy(struct pci_bus *bus)
{
	if (!bus)
		return;
	for (int s = 0; s < PCI_SLOTS; s++)
		if (bus->slot[s])
			pci_detach(bus->slot[s]);
	pthread_mutex_destroy(&bus->bridge.msix.lock);
	pthread_mutex_destroy(&bus->lock);
	free(bus);
}

/* True when no register of another device, decoded or not, claims part of it. */
static bool is_unclaimed(const struct pci_bus *bus, uint64_t gpa, uint64_t size)
{
	for (int s = 0; s < PCI_SLOTS; s++) {
		const struct pci_device *device = bus->slot[s];
		for (int b = 0; device && b < PCI_BARS; b++)
			if (device->bar[b].size && overlap(gpa, size, bar_register(device, b), device->bar[b].size))
				return false;
	}
	return true;
}

/* First fit, naturally aligned, for `bar` of `device`, which is not yet in its slot. 0: no room. */
static uint64_t allocate(const struct pci_bus *bus, uint64_t base, uint64_t window, uint64_t size)
{
	if (size > window)
		return 0;
	for (uint64_t gpa = (base + size - 1) & ~(size - 1); inside(gpa, size, base, window); gpa += size)
		if (is_unclaimed(bus, gpa, size))
			return gpa;
	return 0;
}

static int give_addresses(struct pci_bus *bus, struct pci_device *device)
{
	for (int b = 0; b < PCI_BARS; b++) {
		const struct pci_bar *bar = &device->bar[b];
		if (!bar->size)
			continue;
		uint64_t gpa = 0;
		if (bar->is64)
			gpa = allocate(bus, bus->windows.mmio64_base, bus->windows.mmio64_size, bar->size);
		if (!gpa)
			gpa = allocate(bus, bus->windows.mmio32_base, bus->windows.mmio32_size, bar->size);
		if (!gpa) {
			errno = ENOSPC;
			return -1;
		}
		uint8_t *config = device->config + PCI_BAR0 + 4 * b;
		put_u32(config, (uint32_t)gpa | (get_u32(config) & 0xf));
		if (bar->is64)
			put_u32(config + 4, (uint32_t)(gpa >> 32));
	}
	return 0;
}

int pci_attach(struct pci_bus *bus, struct pci_device *device, uint8_t slot)
{
	if (slot >= PCI_SLOTS || (slot == 0) != (device == &bus->bridge)) {
		errno = EINVAL;
		return -1;
	}
	pthread_mutex_lock(&bus->lock);
	int result = -1;
	if (bus->slot[slot]) {
		errno = EBUSY;
		goto out;
	}
	device->bus = bus;
	device->slot = slot;
	/* In its slot before its BARs get addresses: they must not overlap each other either. Undecoded so far. */
	bus->slot[slot] = device;
	if (give_addresses(bus, device) < 0 || msix_attach(device) < 0) {
		bus->slot[slot] = NULL;
		device->bus = NULL;
		goto out;
	}
	memcpy(bus->initial[slot], device->config, PCI_CONFIG_SIZE);
	result = 0;
out:
	pthread_mutex_unlock(&bus->lock);
	return result;
}

void pci_detach(struct pci_device *device)
{
	struct pci_bus *bus = device->bus;
	if (!bus)
		return;
	pthread_mutex_lock(&bus->lock);
	device->config[PCI_COMMAND] &= (uint8_t)~PCI_COMMAND_MEMORY;
	update_bars(bus);
	msix_detach(device);
	bus->slot[device->slot] = NULL;
	device->bus = NULL;
	pthread_mutex_unlock(&bus->lock);
}

void pci_bus_reset(struct pci_bus *bus)
{
	pthread_mutex_lock(&bus->lock);
	bus->address = 0;
	for (int s = 0; s < PCI_SLOTS; s++) {
		struct pci_device *device = bus->slot[s];
		if (!device)
			continue;
		memcpy(device->config, bus->initial[s], PCI_CONFIG_SIZE);
		msix_reset(device);
	}
	update_bars(bus);
	pthread_mutex_unlock(&bus->lock);
}

/* --- guest accesses ----------------------------------------------------------------------------------------------- */

/*
 * Config access at `offset` (4096 bytes of ECAM space); data of a read is already all ones. Bus lock held. Returns the device that wants
 * `then` written to its BAR after that, or NULL.
 */
static struct pci_device *config_access(struct pci_bus *bus, uint32_t slot, uint32_t function, uint32_t offset, void *data, uint32_t size,
	bool write, struct pci_bar_write *then)
{
	struct pci_device *device = function == 0 ? bus->slot[slot] : NULL;
	if (!device)
		return NULL;
	if (offset + size > PCI_CONFIG_SIZE) {
		/* Extended config space of a device without extended capabilities reads as zero (PCIe 7.6). */
		if (!write)
			memset(data, 0, size);
		return NULL;
	}
	if (!write) {
		if (device->ops && device->ops->config_read)
			device->ops->config_read(device, offset, size);
		memcpy(data, device->config + offset, size);
		return NULL;
	}
	const uint8_t *untrusted_bytes = data;
	for (uint32_t i = 0; i < size; i++) {
		uint8_t mask = device->writable[offset + i];
		device->config[offset + i] = (uint8_t)((device->config[offset + i] & ~mask) | (untrusted_bytes[i] & mask));
	}
	if (offset < PCI_BAR0 + 4 * PCI_BARS && offset + size > PCI_COMMAND)
		update_bars(bus);
	msix_config_written(device, offset, size);
	return device->ops && device->ops->config_written && device->ops->config_written(device, offset, size, then) ? device : NULL;
}

/* Bus lock not held: no device goes while a vCPU runs. */
static void write_then(struct pci_device *device, const struct pci_bar_write *then)
{
	if (device)
		device->ops->bar_write(device, then->bar, then->offset, then->data, then->size);
}

bool pci_mmio(struct pci_bus *bus, uint64_t gpa, void *data, uint32_t size, bool write)
{
	if (!write)
		memset(data, 0xff, size);
	if (inside(gpa, size, bus->windows.ecam_base, bus->windows.ecam_size)) {
		uint64_t offset = gpa - bus->windows.ecam_base;
		uint32_t slot = (uint32_t)(offset >> 15) & 31, function = (uint32_t)(offset >> 12) & 7, reg = offset & 0xfff;
		bool bus0 = offset >> 20 == 0;
		if (bus0 && reg + size <= 4096) {
			struct pci_bar_write then;
			pthread_mutex_lock(&bus->lock);
			struct pci_device *writer = config_access(bus, slot, function, reg, data, size, write, &then);
			pthread_mutex_unlock(&bus->lock);
			write_then(writer, &then);
		}
		return true;
	}

	struct pci_device *device = NULL;
	int found = 0;
	uint64_t offset = 0;
	pthread_mutex_lock(&bus->lock);
	for (int s = 0; s < PCI_SLOTS && !device; s++) {
		struct pci_device *candidate = bus->slot[s];
		for (int b = 0; candidate && b < PCI_BARS; b++) {
			const struct pci_bar *bar = &candidate->bar[b];
			if (bar->size && bar->gpa != PCI_BAR_UNMAPPED && inside(gpa, size, bar->gpa, bar->size)) {
				device = candidate;
				found = b;
				offset = gpa - bar->gpa;
				break;
			}
		}
	}
	pthread_mutex_unlock(&bus->lock);
	if (!device)
		return false;
	if (msix_access(device, found, offset, data, size, write))
		return true;
	if (write && device->ops && device->ops->bar_write)
		device->ops->bar_write(device, found, offset, data, size);
	else if (!write && device->ops && device->ops->bar_read)
		device->ops->bar_read(device, found, offset, data, size);
	return true;
}

bool pci_port(struct pci_bus *bus, uint16_t port, void *data, uint32_t size, bool write)
{
	if (!write)
		memset(data, 0xff, size);
	if (port == PORT_PCI_ADDRESS && size == 4) {
		pthread_mutex_lock(&bus->lock);
		if (write)
			memcpy(&bus->address, data, 4);
		else
			memcpy(data, &bus->address, 4);
		pthread_mutex_unlock(&bus->lock);
		return true;
	}
	if (port < PORT_PCI_DATA || port + size > PORT_PCI_DATA + 4u)
		return false;
	struct pci_device *writer = NULL;
	struct pci_bar_write then;
	pthread_mutex_lock(&bus->lock);
	/* Mechanism #1 (PCI 3.0, 3.2.2.3.2): enable bit, bus, device, function, dword. */
	uint32_t address = bus->address;
	if ((address & 0x80000000u) && ((address >> 16) & 0xff) == 0)
		writer = config_access(bus, (address >> 11) & 31, (address >> 8) & 7, (address & 0xfc) + (port - PORT_PCI_DATA), data, size, write, &then);
	pthread_mutex_unlock(&bus->lock);
	write_then(writer, &then);
	return true;
}

int pci_ioeventfd(struct pci_device *device, uint64_t gpa, uint32_t size, int event_fd, bool add)
{
	struct pci_bus *bus = device->bus;
	if (!bus || !bus->ops || !bus->ops->ioeventfd) {
		errno = ENOTSUP;
		return -1;
	}
	return bus->ops->ioeventfd(bus->host, gpa, size, event_fd, add);
}
