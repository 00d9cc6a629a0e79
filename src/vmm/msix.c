/*
 * MSI-X (PCI 3.0, 6.8.2). Devices call msix_signal(); masked vectors become pending here and fire when unmasked. An
 * unmasked vector is an eventfd that KVM turns into an interrupt (irqfd), so that a kernel device may write it directly.
 *
 * Changing a route is slow (KVM waits for readers of the old table), so a new message is only noted when the guest writes
 * it and becomes a route at the next interrupt: a guest that rewrites its table in a loop costs nobody else anything.
 */
#include "vmm/pci_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOG_MODULE "pci"
#include "base/base.h"
#include "base/log.h"

#define ENTRY_SIZE 16
#define CONTROL_ENABLE 0x80   /* in the high byte of message control */
#define CONTROL_MASK_ALL 0x40

/* Takes a vector's route back; msix lock held. */
static void unroute(struct pci_device *device, uint32_t index)
{
	struct msix_vector *vector = &device->msix.vector[index];
	const struct pci_bus *bus = device->bus;
	if (vector->routed && bus->ops->msi_unroute(bus->host, vector->gsi, vector->event_fd) < 0)
		log_warn("%s: vector %u cannot be disconnected: %s", device->name, index, strerror(errno));
	vector->routed = false;
}

void msix_reset(struct pci_device *device)
{
	struct msix *msix = &device->msix;
	pthread_mutex_lock(&msix->lock);
	msix->enabled = msix->function_masked = false;
	for (uint32_t i = 0; i < msix->n_vectors; i++) {
		struct msix_vector *vector = &msix->vector[i];
		/* The hypervisor may make a new VM after a reset: nothing may be left in the old one. */
		unroute(device, i);
		vector->address = 0;
		vector->data = 0;
		vector->masked = true;
		vector->pending = false;
		vector->stale = true;
	}
	pthread_mutex_unlock(&msix->lock);
}

int msix_init(struct pci_device *device, int bar, uint32_t table_offset, uint32_t pba_offset, uint32_t n_vectors)
{
	struct msix *msix = &device->msix;
	if (n_vectors == 0 || n_vectors > MSIX_VECTORS || bar < 0 || bar >= PCI_BARS ||
	    (uint64_t)table_offset + n_vectors * ENTRY_SIZE > device->bar[bar].size ||
	    (uint64_t)pba_offset + 8 > device->bar[bar].size || table_offset % 8 || pba_offset % 8) {
		errno = EINVAL;
		return -1;
	}
	uint8_t body[10];
	put_u16(body, (uint16_t)(n_vectors - 1));
	put_u32(body + 2, table_offset | (uint32_t)bar);
	put_u32(body + 6, pba_offset | (uint32_t)bar);
	uint32_t capability = pci_add_capability(device, PCI_CAPABILITY_MSIX, body, 12);
	if (!capability) {
		errno = ENOSPC;
		return -1;
	}
	device->writable[capability + 3] = CONTROL_ENABLE | CONTROL_MASK_ALL;
	msix->bar = bar;
	msix->table_offset = table_offset;
	msix->pba_offset = pba_offset;
	msix->n_vectors = n_vectors;
	msix->capability = capability;
	msix_reset(device);
	return 0;
}

int msix_attach(struct pci_device *device)
{
	struct msix *msix = &device->msix;
	for (uint32_t i = 0; i < msix->n_vectors; i++) {
		struct msix_vector *vector = &msix->vector[i];
		vector->gsi = PCI_FIRST_GSI + device->slot * (uint32_t)MSIX_VECTORS + i;
		vector->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (vector->event_fd < 0) {
			int saved = errno;
			msix_detach(device);
			errno = saved;
			return -1;
		}
	}
	return 0;
}

void msix_detach(struct pci_device *device)
{
	struct msix *msix = &device->msix;
	pthread_mutex_lock(&msix->lock);
	msix->enabled = false;
	for (uint32_t i = 0; i < msix->n_vectors; i++) {
		struct msix_vector *vector = &msix->vector[i];
		unroute(device, i);
		if (vector->event_fd >= 0)
			close(vector->event_fd);
		vector->event_fd = -1;
	}
	pthread_mutex_unlock(&msix->lock);
}

/* Injects; msix lock held, vector unmasked. */
static void fire(struct pci_device *device, uint32_t index)
{
	struct msix_vector *vector = &device->msix.vector[index];
	const struct pci_bus *bus = device->bus;
	vector->pending = false;
	/* Anything but the APICs' range would be a write into memory on real hardware (SDM vol. 3, 11.11.1); here it is dropped. */
	if (!bus || vector->address >> 32 != 0 || (vector->address & 0xfff00000u) != 0xfee00000u)
		return;
	if (vector->stale || !vector->routed) {
		if (!bus->ops || bus->ops->msi_route(bus->host, vector->gsi, vector->address, vector->data, vector->event_fd) < 0)
			return;
		vector->routed = true;
		vector->stale = false;
	}
	uint64_t one = 1;
	/* Cannot block: non-blocking, and a full counter already means an interrupt is on its way. */
	if (write(vector->event_fd, &one, sizeof(one)) < 0)
		return;
}

static void fire_pending(struct pci_device *device)
{
	struct msix *msix = &device->msix;
	if (!msix->enabled || msix->function_masked)
		return;
	for (uint32_t i = 0; i < msix->n_vectors; i++)
		if (msix->vector[i].pending && !msix->vector[i].masked)
			fire(device, i);
}

void msix_signal(struct pci_device *device, uint32_t vector)
{
	struct msix *msix = &device->msix;
	pthread_mutex_lock(&msix->lock);
	if (vector < msix->n_vectors && msix->enabled) {
		if (msix->function_masked || msix->vector[vector].masked)
			msix->vector[vector].pending = true;
		else
			fire(device, vector);
	}
	pthread_mutex_unlock(&msix->lock);
}

void msix_config_written(struct pci_device *device, uint32_t offset, uint32_t size)
{
	struct msix *msix = &device->msix;
	uint32_t control = msix->capability + 3;
	if (!msix->n_vectors || offset > control || offset + size <= control)
		return;
	pthread_mutex_lock(&msix->lock);
	bool enabled = device->config[control] & CONTROL_ENABLE;
	if (!enabled && msix->enabled) {
		for (uint32_t i = 0; i < msix->n_vectors; i++)
			msix->vector[i].pending = false;
	}
	msix->enabled = enabled;
	msix->function_masked = device->config[control] & CONTROL_MASK_ALL;
	fire_pending(device);
	pthread_mutex_unlock(&msix->lock);
}

static void entry_bytes(const struct msix_vector *vector, uint8_t bytes[ENTRY_SIZE])
{
	put_u32(bytes, (uint32_t)vector->address);
	put_u32(bytes + 4, (uint32_t)(vector->address >> 32));
	put_u32(bytes + 8, vector->data);
	put_u32(bytes + 12, vector->masked ? 1 : 0);
}

/* One aligned dword of an entry. */
static void entry_write(struct msix_vector *vector, uint32_t reg, uint32_t untrusted_value)
{
	uint64_t address = vector->address;
	uint32_t data = vector->data;
	switch (reg) {
	case 0:
		address = (address & 0xffffffff00000000ull) | (untrusted_value & ~3u);
		break;
	case 4:
		address = (address & 0xffffffffull) | (uint64_t)untrusted_value << 32;
		break;
	case 8:
		data = untrusted_value;
		break;
	default:
		vector->masked = untrusted_value & 1;
		return;
	}
	if (address != vector->address || data != vector->data)
		vector->stale = true;
	vector->address = address;
	vector->data = data;
}

/* Table accesses are dwords or qwords, aligned (PCI 3.0, 6.8.2); others read as zero and are not written. */
static void table_access(struct pci_device *device, uint64_t offset, void *data, uint32_t size, bool write)
{
	struct msix *msix = &device->msix;
	if ((size != 4 && size != 8) || offset % size != 0) {
		if (!write)
			memset(data, 0, size);
		return;
	}
	struct msix_vector *vector = &msix->vector[offset / ENTRY_SIZE];
	uint32_t reg = offset % ENTRY_SIZE;
	if (!write) {
		uint8_t bytes[ENTRY_SIZE];
		entry_bytes(vector, bytes);
		memcpy(data, bytes + reg, size);
		return;
	}
	for (uint32_t i = 0; i < size; i += 4)
		entry_write(vector, reg + i, get_u32((const uint8_t *)data + i));
	fire_pending(device);
}

static void pba_read(const struct msix *msix, uint64_t offset, void *data, uint32_t size)
{
	uint64_t bits = 0;
	for (uint32_t i = 0; i < msix->n_vectors; i++)
		bits |= (uint64_t)msix->vector[i].pending << i;
	for (uint32_t i = 0; i < size; i++)
		((uint8_t *)data)[i] = offset + i < 8 ? (uint8_t)(bits >> (8 * (offset + i))) : 0;
}

bool msix_access(struct pci_device *device, int bar, uint64_t offset, void *data, uint32_t size, bool write)
{
	struct msix *msix = &device->msix;
	if (!msix->n_vectors || bar != msix->bar)
		return false;
	uint64_t in_table = offset - msix->table_offset, in_pba = offset - msix->pba_offset;
	bool table = offset >= msix->table_offset && in_table < msix->n_vectors * ENTRY_SIZE;
	bool pba = offset >= msix->pba_offset && in_pba < 8;
	if (!table && !pba)
		return false;
	pthread_mutex_lock(&msix->lock);
	if (table)
		table_access(device, in_table, data, size, write);
	else if (!write)
		pba_read(msix, in_pba, data, size);
	pthread_mutex_unlock(&msix->lock);
	return true;
}
