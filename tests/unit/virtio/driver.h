/*
 * A driver for tests: everything a guest's virtio-pci driver does, through the bus's own entry points (ECAM, BAR accesses,
 * ioeventfd), plus raw access to the rings so that a test can break every rule.
 *
 *   struct driver d;
 *   driver_init(&d, 16 << 20);                        RAM and an empty bus
 *   ... make the device with &d.memory ...
 *   driver_attach(&d, device, 0x010000);              on the bus, BAR mapped, MSI-X on
 *   driver_start(&d, DRIVER_ALL_FEATURES, 64);        handshake, all queues, DRIVER_OK
 *   driver_add(&d, 0, bufs, n_out, n_in); driver_kick(&d, 0);
 *   driver_run(&d, 0);                                only for devices without a thread of their own
 *   driver_used(&d, 0, &head, &length);
 *   driver_detach(&d); ... destroy the device ...; driver_finish(&d);
 *
 * Failing set-up steps abort the test by ck_assert.
 */
#pragma once

#include <errno.h>
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/sandbox.h"
#include "virtio/device.h"
#include "vmm/memory.h"
#include "vmm/pci.h"

#define DRIVER_UNUSED __attribute__((unused))
#define DRIVER_ALL_FEATURES UINT64_MAX
#define DRIVER_SLOT 3
#define DRIVER_ECAM 0xe0000000ull
#define DRIVER_MSI_ADDRESS 0xfee00000u

/* Registers of the common configuration (virtio 1.2, 4.1.4.3). */
enum {
	R_DEVICE_FEATURE_SELECT = 0, R_DEVICE_FEATURE = 4, R_DRIVER_FEATURE_SELECT = 8, R_DRIVER_FEATURE = 12, R_CONFIG_VECTOR = 16,
	R_NUM_QUEUES = 18, R_STATUS = 20, R_GENERATION = 21, R_QUEUE_SELECT = 22, R_QUEUE_SIZE = 24, R_QUEUE_VECTOR = 26,
	R_QUEUE_ENABLE = 28, R_QUEUE_NOTIFY_OFF = 30, R_QUEUE_DESC = 32, R_QUEUE_DRIVER = 40, R_QUEUE_DEVICE = 48,
};
enum { S_ACKNOWLEDGE = 1, S_DRIVER = 2, S_DRIVER_OK = 4, S_FEATURES_OK = 8, S_NEEDS_RESET = 0x40, S_FAILED = 0x80 };
enum { D_NEXT = 1, D_WRITE = 2, D_INDIRECT = 4 };

struct driver_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct driver_queue {
	uint16_t size;
	uint64_t desc_gpa, avail_gpa, used_gpa;
	struct driver_desc *desc;
	uint16_t *avail; /* flags, idx, ring[size], used_event */
	uint16_t *used;  /* flags, idx, {id, len: 32 bits}[size], avail_event */
	uint16_t next_desc, last_used;
};

struct driver_buf {
	uint64_t gpa;
	uint32_t size;
};

struct driver {
	struct guest_memory memory;
	struct pci_bus *bus;
	struct virtio_device *device;
	struct virtio_pci *transport;
	uint64_t bar, common, isr, config, notify; /* guest addresses */
	uint32_t notify_multiplier, window_cap;
	struct driver_queue queue[VIRTIO_MAX_QUEUES];
	uint64_t next_free; /* guest address of the next allocation */

	/* The fake hypervisor. */
	pthread_mutex_t lock;
	struct {
		uint64_t gpa;
		int fd;
	} ioeventfd[64];
	uint32_t n_ioeventfds, n_moves;
	struct {
		uint32_t gsi, data;
		int fd; /* -1: free */
	} route[32];
	bool refuse_ioeventfd;
	uint32_t ioeventfd_limit; /* beyond so many they are refused; 0: no limit */
};

DRIVER_UNUSED static int driver_msi_route(void *host, uint32_t gsi, uint64_t address, uint32_t data, int fd)
{
	struct driver *d = host;
	ck_assert_uint_eq(address & 0xfff00000u, DRIVER_MSI_ADDRESS);
	pthread_mutex_lock(&d->lock);
	int at = -1;
	for (int i = 0; i < 32; i++) {
		if (d->route[i].fd >= 0 && d->route[i].gsi == gsi)
			at = i;
		else if (d->route[i].fd < 0 && at < 0)
			at = i;
	}
	ck_assert_int_ge(at, 0);
	d->route[at].gsi = gsi;
	d->route[at].data = data;
	d->route[at].fd = fd;
	pthread_mutex_unlock(&d->lock);
	return 0;
}

DRIVER_UNUSED static int driver_msi_unroute(void *host, uint32_t gsi, int fd)
{
	struct driver *d = host;
	pthread_mutex_lock(&d->lock);
	for (int i = 0; i < 32; i++)
		if (d->route[i].gsi == gsi && d->route[i].fd == fd)
			d->route[i].fd = -1;
	pthread_mutex_unlock(&d->lock);
	return 0;
}

DRIVER_UNUSED static int driver_ioeventfd(void *host, uint64_t gpa, uint32_t size, int fd, bool add)
{
	struct driver *d = host;
	(void)size;
	int result = 0;
	pthread_mutex_lock(&d->lock);
	if (add && (d->refuse_ioeventfd || (d->ioeventfd_limit > 0 && d->n_ioeventfds >= d->ioeventfd_limit))) {
		errno = ENOSPC;
		result = -1;
	} else if (add) {
		ck_assert_uint_lt(d->n_ioeventfds, 64);
		d->ioeventfd[d->n_ioeventfds].gpa = gpa;
		d->ioeventfd[d->n_ioeventfds++].fd = fd;
		d->n_moves++;
	} else {
		result = -1;
		errno = ENOENT;
		for (uint32_t i = 0; i < d->n_ioeventfds; i++) {
			if (d->ioeventfd[i].gpa == gpa && d->ioeventfd[i].fd == fd) {
				d->ioeventfd[i] = d->ioeventfd[--d->n_ioeventfds];
				result = 0;
				break;
			}
		}
	}
	pthread_mutex_unlock(&d->lock);
	return result;
}

static const struct pci_host_ops driver_host_ops = {
	.msi_route = driver_msi_route,
	.msi_unroute = driver_msi_unroute,
	.ioeventfd = driver_ioeventfd,
};

DRIVER_UNUSED static void driver_init(struct driver *d, uint64_t ram)
{
	/* The device's threads as in the program; what their filters refuse fails the test. */
	static bool sandboxed;
	struct sandbox_config sandbox = { .on = true, .strict = true };
	if (!sandboxed)
		sandbox_prepare(&sandbox);
	sandboxed = true;
	memset(d, 0, sizeof(*d));
	pthread_mutex_init(&d->lock, NULL);
	for (int i = 0; i < 32; i++)
		d->route[i].fd = -1;
	ck_assert_int_eq(guest_memory_init(&d->memory, ram), 0);
	const struct pci_windows windows = {
		.mmio32_base = 0xc0000000, .mmio32_size = 0x10000000,
		.mmio64_base = 0x800000000, .mmio64_size = 0x10000000,
		.ecam_base = DRIVER_ECAM, .ecam_size = 0x100000,
	};
	d->bus = pci_bus_create(&driver_host_ops, d, &windows);
	ck_assert_ptr_nonnull(d->bus);
	d->next_free = 0x10000;
}

DRIVER_UNUSED static void driver_finish(struct driver *d)
{
	pci_bus_destroy(d->bus);
	guest_memory_finish(&d->memory);
	pthread_mutex_destroy(&d->lock);
}

/* Zeroed guest memory, page aligned. */
DRIVER_UNUSED static uint64_t driver_alloc(struct driver *d, uint64_t size)
{
	uint64_t gpa = d->next_free;
	d->next_free += (size + 4095) & ~4095ull;
	void *host = guest_memory_at(&d->memory, gpa, size, GUEST_WRITE);
	ck_assert_ptr_nonnull(host);
	memset(host, 0, size);
	return gpa;
}

DRIVER_UNUSED static void *driver_ptr(struct driver *d, uint64_t gpa)
{
	void *host = guest_memory_at(&d->memory, gpa, 1, GUEST_WRITE);
	ck_assert_ptr_nonnull(host);
	return host;
}

/* --- accesses as a vCPU makes them ---------------------------------------------------------------------------------- */

DRIVER_UNUSED static uint64_t driver_read(struct driver *d, uint64_t gpa, uint32_t size)
{
	uint64_t value = 0;
	pci_mmio(d->bus, gpa, &value, size, false);
	return value;
}

DRIVER_UNUSED static void driver_write(struct driver *d, uint64_t gpa, uint64_t value, uint32_t size)
{
	/* What KVM does first: an ioeventfd at the address ends the access. */
	pthread_mutex_lock(&d->lock);
	for (uint32_t i = 0; i < d->n_ioeventfds; i++) {
		if (d->ioeventfd[i].gpa == gpa) {
			uint64_t one = 1;
			ssize_t n = write(d->ioeventfd[i].fd, &one, sizeof(one));
			(void)n;
			pthread_mutex_unlock(&d->lock);
			return;
		}
	}
	pthread_mutex_unlock(&d->lock);
	pci_mmio(d->bus, gpa, &value, size, true);
}

DRIVER_UNUSED static uint64_t driver_ecam(uint32_t offset)
{
	return DRIVER_ECAM + ((uint64_t)DRIVER_SLOT << 15) + offset;
}

DRIVER_UNUSED static uint32_t driver_config_read(struct driver *d, uint32_t offset, uint32_t size)
{
	return (uint32_t)driver_read(d, driver_ecam(offset), size);
}

DRIVER_UNUSED static void driver_config_write(struct driver *d, uint32_t offset, uint32_t value, uint32_t size)
{
	driver_write(d, driver_ecam(offset), value, size);
}

DRIVER_UNUSED static uint64_t driver_get(struct driver *d, uint32_t reg, uint32_t size)
{
	return driver_read(d, d->common + reg, size);
}

DRIVER_UNUSED static void driver_set(struct driver *d, uint32_t reg, uint64_t value, uint32_t size)
{
	driver_write(d, d->common + reg, value, size);
}

DRIVER_UNUSED static uint8_t driver_status(struct driver *d)
{
	return (uint8_t)driver_get(d, R_STATUS, 1);
}

DRIVER_UNUSED static void driver_select(struct driver *d, uint32_t index)
{
	driver_set(d, R_QUEUE_SELECT, index, 2);
}

/* --- set-up ------------------------------------------------------------------------------------------------------------ */

/* Interrupts of `vector` since the last call. */
DRIVER_UNUSED static uint64_t driver_interrupts(struct driver *d, uint32_t vector)
{
	uint64_t count = 0;
	pthread_mutex_lock(&d->lock);
	for (int i = 0; i < 32; i++) {
		uint64_t n;
		if (d->route[i].fd >= 0 && d->route[i].data == 0x40 + vector && read(d->route[i].fd, &n, sizeof(n)) == sizeof(n))
			count += n;
	}
	pthread_mutex_unlock(&d->lock);
	return count;
}

/* Finds the device's regions by its capabilities, maps the BAR, programs MSI-X vector i as message 0x40 + i. */
DRIVER_UNUSED static void driver_find(struct driver *d)
{
	const struct virtio_device *device = d->device;
	d->common = d->notify = d->isr = d->config = 0;
	ck_assert_uint_eq(driver_config_read(d, 0, 4), (0x1040u + device->id) << 16 | 0x1af4);
	ck_assert_uint_ge(driver_config_read(d, 8, 1), 1);

	d->bar = driver_config_read(d, 0x10, 4) & ~0xfu;
	if ((driver_config_read(d, 0x10, 4) & 6) == 4)
		d->bar |= (uint64_t)driver_config_read(d, 0x14, 4) << 32;
	driver_config_write(d, 4, 0x6, 2); /* memory, bus master */
	uint32_t msix_cap = 0;
	for (uint32_t cap = driver_config_read(d, 0x34, 1); cap != 0; cap = driver_config_read(d, cap + 1, 1)) {
		uint32_t id = driver_config_read(d, cap, 1);
		if (id == 0x11)
			msix_cap = cap;
		if (id != 0x09)
			continue;
		uint64_t at = d->bar + driver_config_read(d, cap + 8, 4);
		switch (driver_config_read(d, cap + 3, 1)) {
		case 1: d->common = at; break;
		case 2: d->notify = at; d->notify_multiplier = driver_config_read(d, cap + 16, 4); break;
		case 3: d->isr = at; break;
		case 4: d->config = at; break;
		case 5: d->window_cap = cap; break;
		}
	}
	ck_assert(d->common && d->notify && d->isr && d->window_cap && msix_cap);
	uint32_t vectors = (driver_config_read(d, msix_cap + 2, 2) & 0x7ff) + 1;
	uint64_t table = d->bar + (driver_config_read(d, msix_cap + 4, 4) & ~7u);
	for (uint32_t i = 0; i < vectors; i++) {
		driver_write(d, table + 16 * i, DRIVER_MSI_ADDRESS, 4);
		driver_write(d, table + 16 * i + 4, 0, 4);
		driver_write(d, table + 16 * i + 8, 0x40 + i, 4);
		driver_write(d, table + 16 * i + 12, 0, 4);
	}
	driver_config_write(d, msix_cap + 2, 0x8000, 2);
}

/* Puts the device at DRIVER_SLOT and finds it. */
DRIVER_UNUSED static void driver_attach(struct driver *d, struct virtio_device *device, uint32_t class_code)
{
	d->device = device;
	d->transport = virtio_pci_create(device, d->bus, DRIVER_SLOT, class_code);
	ck_assert_ptr_nonnull(d->transport);
	driver_find(d);
}

DRIVER_UNUSED static void driver_detach(struct driver *d)
{
	virtio_pci_destroy(d->transport);
	d->transport = NULL;
	ck_assert_uint_eq(d->n_ioeventfds, 0);
}

DRIVER_UNUSED static uint64_t driver_offered(struct driver *d)
{
	driver_set(d, R_DEVICE_FEATURE_SELECT, 0, 4);
	uint64_t low = driver_get(d, R_DEVICE_FEATURE, 4);
	driver_set(d, R_DEVICE_FEATURE_SELECT, 1, 4);
	return low | driver_get(d, R_DEVICE_FEATURE, 4) << 32;
}

/* Reset to FEATURES_OK with `wanted` of what is offered. Returns whether FEATURES_OK stuck. */
DRIVER_UNUSED static bool driver_handshake(struct driver *d, uint64_t wanted)
{
	driver_set(d, R_STATUS, 0, 1);
	ck_assert_uint_eq(driver_status(d), 0);
	driver_set(d, R_STATUS, S_ACKNOWLEDGE, 1);
	driver_set(d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER, 1);
	uint64_t features = driver_offered(d) & wanted;
	for (uint32_t i = 0; i < 2; i++) {
		driver_set(d, R_DRIVER_FEATURE_SELECT, i, 4);
		driver_set(d, R_DRIVER_FEATURE, (uint32_t)(features >> (32 * i)), 4);
	}
	driver_set(d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK, 1);
	return driver_status(d) & S_FEATURES_OK;
}

/* Rings of `size` entries in fresh memory; not yet told to the device. */
DRIVER_UNUSED static void driver_rings(struct driver *d, uint32_t index, uint16_t size)
{
	struct driver_queue *q = &d->queue[index];
	q->size = size;
	q->desc_gpa = driver_alloc(d, 16ull * size);
	q->avail_gpa = driver_alloc(d, 6 + 2ull * size);
	q->used_gpa = driver_alloc(d, 6 + 8ull * size);
	q->desc = driver_ptr(d, q->desc_gpa);
	q->avail = driver_ptr(d, q->avail_gpa);
	__atomic_store_n(&q->used, driver_ptr(d, q->used_gpa), __ATOMIC_RELEASE); /* a device's thread that is played by the test looks at it */
	q->next_desc = q->last_used = 0;
}

/* Tells the device the rings of queue `index`; its vector is index + 1. Returns whether the queue is enabled. */
DRIVER_UNUSED static bool driver_enable(struct driver *d, uint32_t index)
{
	const struct driver_queue *q = &d->queue[index];
	driver_select(d, index);
	driver_set(d, R_QUEUE_SIZE, q->size, 2);
	driver_set(d, R_QUEUE_VECTOR, index + 1, 2);
	for (uint32_t half = 0; half < 2; half++) {
		driver_set(d, R_QUEUE_DESC + 4 * half, (uint32_t)(q->desc_gpa >> (32 * half)), 4);
		driver_set(d, R_QUEUE_DRIVER + 4 * half, (uint32_t)(q->avail_gpa >> (32 * half)), 4);
		driver_set(d, R_QUEUE_DEVICE + 4 * half, (uint32_t)(q->used_gpa >> (32 * half)), 4);
	}
	driver_set(d, R_QUEUE_ENABLE, 1, 2);
	return driver_get(d, R_QUEUE_ENABLE, 2) == 1;
}

/* The whole handshake: all queues with `size` entries (or fewer, when the device offers less), DRIVER_OK. */
DRIVER_UNUSED static void driver_start(struct driver *d, uint64_t wanted, uint16_t size)
{
	ck_assert(driver_handshake(d, wanted));
	driver_set(d, R_CONFIG_VECTOR, 0, 2);
	for (uint32_t i = 0; i < d->device->n_queues; i++) {
		driver_select(d, i);
		uint16_t most = (uint16_t)driver_get(d, R_QUEUE_SIZE, 2);
		driver_rings(d, i, size < most ? size : most);
		ck_assert(driver_enable(d, i));
	}
	driver_set(d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK, 1);
	ck_assert_uint_eq(driver_status(d), S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
}

/* --- buffers ------------------------------------------------------------------------------------------------------------- */

/* Makes a head available; nothing is checked. */
DRIVER_UNUSED static void driver_offer(struct driver *d, uint32_t index, uint16_t head)
{
	struct driver_queue *q = &d->queue[index];
	uint16_t at = __atomic_load_n(&q->avail[1], __ATOMIC_RELAXED);
	__atomic_store_n(&q->avail[2 + at % q->size], head, __ATOMIC_RELAXED);
	__atomic_store_n(&q->avail[1], (uint16_t)(at + 1), __ATOMIC_RELEASE);
}

/*
 * Makes a chain of n_out readable and n_in writable buffers available and returns its head. Descriptors are used round
 * robin: the caller keeps fewer than `size` in flight.
 */
DRIVER_UNUSED static uint16_t driver_add(struct driver *d, uint32_t index, const struct driver_buf *bufs, uint32_t n_out, uint32_t n_in)
{
	struct driver_queue *q = &d->queue[index];
	uint16_t head = q->next_desc;
	for (uint32_t i = 0; i < n_out + n_in; i++) {
		struct driver_desc *desc = &q->desc[q->next_desc];
		q->next_desc = (uint16_t)((q->next_desc + 1) % q->size);
		desc->addr = bufs[i].gpa;
		desc->len = bufs[i].size;
		desc->flags = (uint16_t)((i >= n_out ? D_WRITE : 0) | (i + 1 < n_out + n_in ? D_NEXT : 0));
		desc->next = q->next_desc;
	}
	driver_offer(d, index, head);
	return head;
}

DRIVER_UNUSED static void driver_kick(struct driver *d, uint32_t index)
{
	driver_write(d, d->notify + (uint64_t)index * d->notify_multiplier, index, 2);
}

/* Runs the device's work on a queue here until none is left, at most `n` batches; false when work was left. */
DRIVER_UNUSED static bool driver_run(struct driver *d, uint32_t index)
{
	for (int batches = 0; batches < 100; batches++)
		if (!d->device->ops->run(d->device, index))
			return true;
	return false;
}

/* Takes one used element. */
DRIVER_UNUSED static bool driver_used(struct driver *d, uint32_t index, uint32_t *head, uint32_t *length)
{
	struct driver_queue *q = &d->queue[index];
	if (__atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE) == q->last_used)
		return false;
	uint32_t element[2];
	memcpy(element, (uint8_t *)q->used + 4 + 8u * (q->last_used % q->size), 8);
	q->last_used++;
	if (head != NULL)
		*head = element[0];
	if (length != NULL)
		*length = element[1];
	return true;
}

/* Waits at most `ms` for a used element of a device with its own thread. */
DRIVER_UNUSED static bool driver_wait(struct driver *d, uint32_t index, uint32_t *head, uint32_t *length, int ms)
{
	for (int i = 0; i < ms; i++) {
		if (driver_used(d, index, head, length))
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return driver_used(d, index, head, length);
}
