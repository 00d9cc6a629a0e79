/* Shared by virtio_pci.c (registers) and virtio_state.c (save, load); nobody else. */
#pragma once

#include "base/log.h"
#include "virtio/device.h"

/* Section 2.1. */
#define STATUS_ACKNOWLEDGE 0x01u
#define STATUS_DRIVER 0x02u
#define STATUS_DRIVER_OK 0x04u
#define STATUS_FEATURES_OK 0x08u
#define STATUS_NEEDS_RESET 0x40u
#define STATUS_FAILED 0x80u
#define STATUS_BY_DRIVER (STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK | STATUS_FEATURES_OK | STATUS_FAILED)

#define ISR_QUEUE 0x01u
#define ISR_CONFIG 0x02u
#define NO_VECTOR 0xffffu

struct virtio_pci {
	struct pci_device pci;
	struct virtio_device *device;
	uint32_t pci_cap; /* config offset of the PCI access capability */

	/* Under the device's lock. */
	uint8_t status, isr, generation;
	uint16_t config_vector;
	uint16_t queue_select;
	uint32_t device_feature_select, driver_feature_select;
	uint64_t acked;     /* what the driver wrote; counts only after FEATURES_OK */
	bool acked_unknown; /* it acknowledged a bit above 63, none of which exists */
	struct log_limit broken_limit;

	/* Under the bus lock. */
	uint64_t notify_gpa;    /* where notifications are decoded, or PCI_BAR_UNMAPPED */
	uint32_t n_ioeventfds;  /* registered there: of all queues, or none */
	struct log_limit move_limit;
};

void virtio_pci_lock(struct virtio_device *device);
/* The device and its registers as after power-on; lock held. */
void virtio_pci_reset_locked(struct virtio_pci *transport);
/* Whether FEATURES_OK may be set with what the driver acknowledged. Lock held, like for the following. */
bool virtio_pci_features_ok(const struct virtio_pci *transport);
/* Puts the acknowledged features in force. */
void virtio_pci_apply_features(struct virtio_pci *transport);
/* Goes live; the caller kicks. */
void virtio_pci_activate(struct virtio_pci *transport);
void virtio_pci_kick_enabled(const struct virtio_device *device);
