/* Shared by pci.c and msix.c; nobody else. */
#pragma once

#include "vmm/pci.h"

/* Config space offsets (PCI 3.0, chapter 6). */
#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEMORY 0x02
#define PCI_STATUS 0x06
#define PCI_STATUS_CAPABILITIES 0x10
#define PCI_BAR0 0x10
#define PCI_CAPABILITIES 0x34
#define PCI_CAPABILITY_MSIX 0x11

/* GSIs below this belong to the IOAPIC's pins. */
#define PCI_FIRST_GSI 24

struct pci_bus {
	const struct pci_host_ops *ops;
	void *host;
	struct pci_windows windows;
	pthread_mutex_t lock; /* guards all below, config spaces and the decoded addresses of all BARs */
	uint32_t address;     /* what port 0xcf8 was last written */
	struct pci_device *slot[PCI_SLOTS];
	uint8_t initial[PCI_SLOTS][PCI_CONFIG_SIZE]; /* config space at attachment, for reset */
	struct pci_device bridge;
};

static inline uint32_t get_u32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static inline void put_u16(uint8_t *bytes, uint16_t value)
{
	bytes[0] = (uint8_t)value;
	bytes[1] = (uint8_t)(value >> 8);
}

static inline void put_u32(uint8_t *bytes, uint32_t value)
{
	put_u16(bytes, (uint16_t)value);
	put_u16(bytes + 2, (uint16_t)(value >> 16));
}

/*
 * Decodes exactly the BARs of the bits in `untrusted_which`, none of which may be decoded yet, where their registers say. False when one of them
 * cannot be there. Bus lock held.
 */
bool pci_place_bars(struct pci_bus *bus, struct pci_device *device, uint32_t untrusted_which);
/* Gives the vectors GSIs and eventfds; at attachment. 0 or -1 with errno. */
int msix_attach(struct pci_device *device);
/* Takes back what msix_attach() gave. */
void msix_detach(struct pci_device *device);
/* Power-on values; the vCPUs stand still. */
void msix_reset(struct pci_device *device);
/* The guest wrote config space [offset, offset + size): picks up enable and function mask. Bus lock held. */
void msix_config_written(struct pci_device *device, uint32_t offset, uint32_t size);
/* An access to `bar`: true when it was the table's or the PBA's and is done. No bus lock. */
bool msix_access(struct pci_device *device, int bar, uint64_t offset, void *data, uint32_t size, bool write);
