/*
 * PCI: one bus behind a host bridge (8086:29c0) with ECAM and ports 0xcf8/0xcfc, a BAR allocator, MSI-X.
 * Register accesses arrive on vCPU threads, serialised by the bus lock for config space; BAR accesses are not locked here.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "vmm/state.h"

#define PCI_CONFIG_SIZE 256
#define PCI_BARS 6
#define PCI_SLOTS 32
#define PCI_BAR_UNMAPPED UINT64_MAX
#define PCI_STATE_VERSION 1
#define MSIX_VECTORS 17 /* a queue each and one for the configuration, of the largest virtio device */

struct pci_bus;
struct pci_device;

/* A write to a BAR that a write to config space stands for. */
struct pci_bar_write {
	int bar;
	uint64_t offset;
	uint8_t data[8];
	uint32_t size;
};

struct pci_device_ops {
	/* A guest access to BAR `bar` at `offset`, size 1, 2, 4 or 8 bytes, any alignment; inside the BAR. vCPU threads. */
	void (*bar_read)(struct pci_device *device, int bar, uint64_t offset, void *data, uint32_t size);
	void (*bar_write)(struct pci_device *device, int bar, uint64_t offset, const void *data, uint32_t size);
	/*
	 * A BAR was placed at guest address gpa or unmapped (PCI_BAR_UNMAPPED), under the bus lock; the move is valid and
	 * complete. The device moves its ioeventfds. NULL when it does not care.
	 */
	void (*bar_moved)(struct pci_device *device, int bar, uint64_t gpa);
	/*
	 * Config space reads and writes of a capability the device owns (e.g. the virtio PCI access capability); called
	 * before a read and after a write of bytes [offset, offset + size) that the write mask let through, under the bus lock. True: `then` goes to
	 * bar_write() once the bus is unlocked, because that may wait, and all other accesses would wait with it. NULL when it does not care.
	 */
	void (*config_read)(struct pci_device *device, uint32_t offset, uint32_t size);
	bool (*config_written)(struct pci_device *device, uint32_t offset, uint32_t size, struct pci_bar_write *then);
};

struct pci_bar {
	uint64_t size;    /* bytes, a power of two; 0: none */
	uint64_t gpa;     /* where it is decoded now, or PCI_BAR_UNMAPPED */
	bool is64, prefetchable;
};

struct msix_vector {
	uint64_t address;
	uint32_t data;
	bool masked;
	bool pending;
	int event_fd; /* write 1: inject, once routed (irqfd) */
	uint32_t gsi;
	bool routed;   /* event_fd is connected */
	bool stale;    /* ... with a message that is no longer the vector's */
	uint32_t sent; /* interrupts one by one since the message changed */
};

struct msix {
	pthread_mutex_t lock; /* guards all below; short */
	uint32_t n_vectors;   /* 0: the device has no MSI-X */
	int bar;
	uint32_t table_offset, pba_offset; /* bytes in the BAR */
	uint32_t capability;  /* offset in config space */
	bool enabled, function_masked;
	struct log_limit refused;
	struct msix_vector vector[MSIX_VECTORS];
};

struct pci_device {
	const struct pci_device_ops *ops;
	struct pci_bus *bus;
	uint8_t slot; /* device number on bus 0, function 0 */
	char name[24];
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits a guest may change */
	uint32_t next_capability;
	uint32_t last_capability;
	struct pci_bar bar[PCI_BARS];
	struct msix msix;
};

/* What the bus needs of the hypervisor; a test passes its own. All return 0 or -1 with errno. */
struct pci_host_ops {
	/* Sets route `gsi` (allocated by the bus) to an MSI message and connects event_fd to it; again to change the message. */
	int (*msi_route)(void *host, uint32_t gsi, uint64_t address, uint32_t data, int event_fd);
	int (*msi_unroute)(void *host, uint32_t gsi, int event_fd);
	/* Sends one MSI message, past all routes. NULL: every message is routed at its first interrupt. */
	int (*msi_send)(void *host, uint64_t address, uint32_t data);
	/* A write of `size` bytes (0: any) to gpa signals event_fd without an exit to user space. add false removes it. */
	int (*ioeventfd)(void *host, uint64_t gpa, uint32_t size, int event_fd, bool add);
};

struct pci_windows {
	uint64_t mmio32_base, mmio32_size; /* below 4 GiB */
	uint64_t mmio64_base, mmio64_size; /* above RAM */
	uint64_t ecam_base, ecam_size;
};

struct pci_bus *pci_bus_create(const struct pci_host_ops *ops, void *host, const struct pci_windows *windows);
void pci_bus_destroy(struct pci_bus *bus);

/* Fills the header: ids, class code 0xCCSSPP, revision. The device then adds BARs and capabilities and is attached. */
void pci_device_init(struct pci_device *device, const struct pci_device_ops *ops, const char *name, uint16_t vendor,
	uint16_t device_id, uint32_t class_code, uint8_t revision, uint16_t subsystem_vendor, uint16_t subsystem_id);
/* Declares a memory BAR; size a power of two >= 4096 bytes. */
void pci_add_bar(struct pci_device *device, int bar, uint64_t size, bool is64, bool prefetchable);
/* Appends a capability of `length` bytes in all (id and next included; body from its third byte). Returns its config offset, 0 when there is no room. */
uint32_t pci_add_capability(struct pci_device *device, uint8_t id, const void *body, uint8_t length);
/* Adds MSI-X with the table at table_offset and the PBA at pba_offset of `bar`. The bus answers accesses to both areas itself. 0 or -1. */
int msix_init(struct pci_device *device, int bar, uint32_t table_offset, uint32_t pba_offset, uint32_t n_vectors);
/* Attaches at `slot` (1..31; 0 is the host bridge), gives the BARs addresses, enables nothing: the guest or boot code sets the command register. 0 or -1 with errno. */
int pci_attach(struct pci_bus *bus, struct pci_device *device, uint8_t slot);
void pci_detach(struct pci_device *device);
/* Puts config space, BARs and MSI-X back to power-on values (system reset). vCPUs are stopped. */
void pci_bus_reset(struct pci_bus *bus);
/* All slots at once, because their BARs compete for places. See state.h. */
uint32_t pci_save(struct pci_bus *bus, void *to, uint32_t size);
bool pci_load(struct pci_bus *bus, const void *from, uint32_t size);

/* Raises vector, or marks it pending when masked. Any thread; never blocks. Out of range, or MSI-X off: nothing. */
void msix_signal(struct pci_device *device, uint32_t vector);

/* Guest accesses, from vCPU threads. False: not claimed. Reads of nothing give all ones. */
bool pci_mmio(struct pci_bus *bus, uint64_t gpa, void *data, uint32_t size, bool write);
bool pci_port(struct pci_bus *bus, uint16_t port, void *data, uint32_t size, bool write);
/* Registers ioeventfd through the bus's host; for devices in bar_moved. */
int pci_ioeventfd(struct pci_device *device, uint64_t gpa, uint32_t size, int event_fd, bool add);
