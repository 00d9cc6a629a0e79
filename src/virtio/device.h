/*
 * virtio - queues, PCI transport and devices. May include base, link and vmm's contracts (memory.h, pci.h). Knows no KMS.
 *
 * The device contract: {features, config, activate, pause, resume, reset, save, load} and a table of queues, each with a
 * kick and a call. The PCI transport (virtio_pci.c) implements the registers of virtio 1.2, section 4.1, over it.
 *
 * Threads: register accesses come from vCPU threads; queue work runs on the device's own thread (`run` below is
 * called by it when a kick eventfd fires). `lock` serialises both: held for one bounded batch of work, so that a
 * reset by the guest waits for at most one batch and finds nothing in flight that could still write a ring.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/virtqueue.h"
#include "vmm/pci.h"

#define VIRTIO_MAX_QUEUES 16
#define VIRTIO_CONFIG_MAX 256

#define VIRTIO_ID_NET 1
#define VIRTIO_ID_BLOCK 2
#define VIRTIO_ID_CONSOLE 3
#define VIRTIO_ID_RNG 4
#define VIRTIO_ID_GPU 16
#define VIRTIO_ID_INPUT 18

struct virtio_device;
struct state_table;

struct virtio_device_ops {
	/* Device config space: bytes [offset, offset + size) of at most config_size; the transport checks the range. Under lock. */
	void (*config_read)(struct virtio_device *device, uint32_t offset, void *data, uint32_t size);
	void (*config_write)(struct virtio_device *device, uint32_t offset, const void *data, uint32_t size);
	/* DRIVER_OK was set; negotiated features are in device->driver_features. Under lock, vCPU thread. May be NULL. */
	void (*activate)(struct virtio_device *device);
	/*
	 * A reset follows: asks for what that one will have to wait for, and waits for nothing. The time that the reset may take begins here, so that
	 * several devices have it together. Under lock, `live` is false. May be NULL, and a reset may come without it.
	 */
	void (*begin_reset)(struct virtio_device *device);
	/* Back to the state after creation; nothing of the device may touch a ring afterwards. Under lock. */
	void (*reset)(struct virtio_device *device);
	/* Device thread: queue `index` was kicked. Takes the lock itself, in bounded batches. Returns true when work is left (call again). */
	bool (*run)(struct virtio_device *device, uint32_t index);
	/* Drain what is in flight and stop / go on: no chain is taken until then, not even after a reset. Under lock. May be NULL. */
	void (*pause)(struct virtio_device *device);
	void (*resume)(struct virtio_device *device);
	/*
	 * The device's own state as one plain versioned struct (vmm/state.h: state_put, state_get). Under lock, paused, nothing in flight. NULL
	 * when there is none but registers and queues, which the transport saves. save returns the bytes needed, written when
	 * `size` is enough. load runs after reset, features, queues and activate; false: refused, the transport resets the device again.
	 */
	uint32_t (*save)(struct virtio_device *device, void *to, uint32_t size);
	bool (*load)(struct virtio_device *device, const void *from, uint32_t size);
};

struct virtio_device {
	const struct virtio_device_ops *ops;
	const char *name;
	uint16_t id; /* VIRTIO_ID_* */
	uint32_t config_size;
	uint64_t device_features; /* offered, without the transport's own bits */
	uint64_t driver_features; /* acknowledged, valid after FEATURES_OK */
	uint32_t n_queues;
	struct virtq queue[VIRTIO_MAX_QUEUES];
	int kick_fd[VIRTIO_MAX_QUEUES]; /* eventfds, signalled by ioeventfd or by the transport */
	bool live; /* DRIVER_OK and not needs-reset */
	pthread_mutex_t lock;
	/* vCPUs, or the machine's thread at a reset, that want the lock. A device with long work ends its batch early and lets them in. */
	_Atomic uint32_t waiting;
	struct virtio_pci *transport;
};

/* Fills the common part: lock, kick eventfds, queue sizes. 0 or -1 with errno. */
int virtio_device_init(struct virtio_device *device, const struct virtio_device_ops *ops, const char *name, uint16_t id,
	uint64_t features, uint32_t config_size, uint32_t n_queues, uint16_t queue_size, const struct guest_memory *memory);
void virtio_device_finish(struct virtio_device *device);

/*
 * For a device's own thread, between two batches and without the lock: lets in who waits for it. A mutex is not fair; a thread that
 * takes it again at once would keep everybody else out. Bounded, so that many who wait again and again do not stop the device.
 */
void virtio_device_yield(struct virtio_device *device);

/* Puts the device on the bus at `slot`. class_code as in the PCI header (e.g. 0x038000 display, 0x010000 storage, 0x098000 input). NULL with errno. */
struct virtio_pci *virtio_pci_create(struct virtio_device *device, struct pci_bus *bus, uint8_t slot, uint32_t class_code);
void virtio_pci_destroy(struct virtio_pci *transport);
/* System reset: the device's part of power-on, as when the driver writes 0 to the status register. No vCPU runs. */
void virtio_pci_reset(struct virtio_pci *transport);
/* Before that, of several devices: they wait for the host at the same time. */
void virtio_pci_begin_reset(struct virtio_pci *transport);

/* The device's pause and resume, for who does not hold its lock. */
void virtio_pci_pause(struct virtio_pci *transport);
void virtio_pci_resume(struct virtio_pci *transport);
/* See vmm/state.h; the device is paused. */
uint32_t virtio_pci_save(struct virtio_pci *transport, void *to, uint32_t size);
bool virtio_pci_load(struct virtio_pci *transport, const void *from, uint32_t size);
/* Adds the device to the table under its name. False: it is full. */
bool virtio_pci_state(struct virtio_pci *transport, struct state_table *table);

/* For devices, under lock: */
/* Interrupts the driver for queue `index` if it wants to know (calls virtq_must_notify). True when it did. */
bool virtio_notify_queue(struct virtio_device *device, uint32_t index);
/* Configuration changed: generation counter + config interrupt. */
void virtio_notify_config(struct virtio_device *device);
/* The guest broke the protocol: DEVICE_NEEDS_RESET, config interrupt, one rate-limited log line; `live` becomes false. */
void virtio_needs_reset(struct virtio_device *device, const char *why);
