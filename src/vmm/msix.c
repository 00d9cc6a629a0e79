/*
 * MSI-X (PCI 3.0, 6.8.2). Devices call msix_signal(); masked vectors become pending here and fire when unmasked. A vector in
 * use is an eventfd that KVM turns into an interrupt (irqfd), so that a kernel device may write it directly.
 *
 * Changing a route is slow: KVM replaces the whole table and waits for every reader of the old one, while all devices that want to do
 * the same queue up. So a message becomes a route only when it has proved to be there to stay, by SETTLED interrupts; until then
 * each is sent by itself (KVM_SIGNAL_MSI), which changes nothing in KVM. A guest that rewrites its table before every interrupt
 * therefore never causes a change of routes, and one that moves an interrupt to another CPU causes one.
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
#define SETTLED 8 /* interrupts with the same message */

/* Takes a vector's route back; msix lock held. */
static void unroute(struct pci_device *device, uint32_t index)
{
	struct msix_vector *vector = &device->msix.vector[index];
	const struct pci_bus *bus = device->bus;
	if (vector->routed && bus->ops->msi_unroute(bus->host, vector->gsi, vector->event_fd) < 0)
		log_warn("%s: vector %u cannot be disconnected: %s", device->name, index, strerror(errno));
	vector->routed = false;
	vector->sent = 0;
	/* KVM before 5.12 leaves the counter as it is, and fires when it finds one above 0 at the next connection. */
	uint64_t count;
	if (vector->event_fd >= 0 && read(vector->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_warn("%s: vector %u: %s", device->name, index, strerror(errno));
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

/* Whether the message goes to the local APICs; anything else would be a write into memory on real hardware (SDM vol. 3, 11.11.1). */
static bool is_interrupt(const struct msix_vector *vector)
{
	return vector->address >> 32 == 0 && (vector->address & 0xfff00000u) == 0xfee00000u;
}

/* Injects with the vector's present message; msix lock held. False: the hypervisor refused. */
static bool inject(const struct pci_bus *bus, struct msix_vector *vector)
{
	if (!vector->routed || vector->stale) {
		if (bus->ops->msi_send && vector->sent < SETTLED) {
			vector->sent++;
			return bus->ops->msi_send(bus->host, vector->address, vector->data) == 0;
		}
		if (bus->ops->msi_route(bus->host, vector->gsi, vector->address, vector->data, vector->event_fd) < 0)
			return false;
		vector->routed = true;
		vector->stale = false;
	}
	uint64_t one = 1;
	/* Cannot block: non-blocking, and a full counter already means an interrupt is on its way. */
	return write(vector->event_fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN;
}

/* msix lock held, vector unmasked. A message that is none is dropped; what the hypervisor refuses stays pending for the next occasion. */
static void fire(struct pci_device *device, uint32_t index)
{
	struct msix_vector *vector = &device->msix.vector[index];
	struct pci_bus *bus = device->bus;
	vector->pending = false;
	if (!bus || !bus->ops || !is_interrupt(vector) || inject(bus, vector))
		return;
	vector->pending = true;
	uint32_t left_out;
	if (log_limit_pass(&device->msix.refused, &left_out))
		log_warn("%s: interrupt %u cannot be delivered: %s (%u such lines left out)", device->name, index, strerror(errno), left_out);
}

static void fire_if_pending(struct pci_device *device, uint32_t index)
{
	const struct msix *msix = &device->msix;
	if (msix->enabled && !msix->function_masked && msix->vector[index].pending && !msix->vector[index].masked)
		fire(device, index);
}

static void fire_pending(struct pci_device *device)
{
	for (uint32_t i = 0; i < device->msix.n_vectors; i++)
		fire_if_pending(device, i);
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

/* One aligned dword of an entry. */
static uint32_t entry_read(const struct msix_vector *vector, uint32_t dword)
{
	switch (dword) {
	case 0:
		return (uint32_t)vector->address;
	case 1:
		return (uint32_t)(vector->address >> 32);
	case 2:
		return vector->data;
	default:
		return vector->masked ? 1 : 0;
	}
}

static void entry_write(struct msix_vector *vector, uint32_t dword, uint32_t untrusted_value)
{
	uint64_t address = vector->address;
	uint32_t data = vector->data;
	switch (dword) {
	case 0:
		address = (address & 0xffffffff00000000ull) | (untrusted_value & ~3u);
		break;
	case 1:
		address = (address & 0xffffffffull) | (uint64_t)untrusted_value << 32;
		break;
	case 2:
		data = untrusted_value;
		break;
	default:
		vector->masked = untrusted_value & 1;
		return;
	}
	if (address == vector->address && data == vector->data)
		return;
	/* Its eventfd, still connected with the old message, is not written until the new one has become the route. */
	vector->stale = true;
	vector->sent = 0;
	vector->address = address;
	vector->data = data;
}

/* Table accesses are dwords or qwords, aligned (PCI 3.0, 6.8.2); others read as zero and are not written. */
static void table_access(struct pci_device *device, uint64_t offset, void *data, uint32_t size, bool write)
{
	uint32_t index = (uint32_t)(offset / ENTRY_SIZE), dword = offset % ENTRY_SIZE / 4;
	if ((size != 4 && size != 8) || offset % size != 0) {
		if (!write)
			memset(data, 0, size);
		return;
	}
	for (uint32_t i = 0; i < size / 4; i++) {
		if (write)
			entry_write(&device->msix.vector[index], dword + i, get_u32((const uint8_t *)data + 4 * i));
		else
			put_u32((uint8_t *)data + 4 * i, entry_read(&device->msix.vector[index], dword + i));
	}
	if (write)
		fire_if_pending(device, index);
}

static void pba_read(const struct msix *msix, uint64_t offset, void *data, uint32_t size)
{
	uint64_t bits = 0;
	/* Vectors that the device does not have are never pending. */
	for (uint32_t i = 0; i < MSIX_VECTORS; i++)
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
