/*
 * virtio over PCI, modern only: virtio 1.2, section 4.1.
 *
 * One BAR holds everything:
 *   0x0000 common configuration   0x1000 ISR status   0x2000 device configuration
 *   0x3000 notification, 4 bytes per queue            0x4000 MSI-X table   0x4800 MSI-X pending bits
 *
 * Register accesses take the device's lock, notifications take none: they only signal the queue's eventfd, as KVM's
 * ioeventfd does without leaving the kernel. Lock order: bus, device, MSI-X.
 */
#include "virtio/virtio_pci_internal.h"

#define LOG_MODULE "virtio"
#include "base/base.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR 0
#define BAR_SIZE 0x8000u
#define REGION_SIZE 0x1000u
#define COMMON_AT 0x0000u
#define ISR_AT 0x1000u
#define CONFIG_AT 0x2000u
#define NOTIFY_AT 0x3000u
#define MSIX_TABLE_AT 0x4000u
#define MSIX_PBA_AT 0x4800u
#define NOTIFY_MULTIPLIER 4u

/* Section 4.1.4: cfg_type of the vendor capabilities. */
enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_DEVICE = 4, CAP_PCI = 5 };
#define PCI_CAP_VENDOR 0x09

/* Section 4.1.4.3: struct virtio_pci_common_cfg. */
enum {
	DEVICE_FEATURE_SELECT = 0,
	DEVICE_FEATURE = 4,
	DRIVER_FEATURE_SELECT = 8,
	DRIVER_FEATURE = 12,
	CONFIG_MSIX_VECTOR = 16,
	NUM_QUEUES = 18,
	DEVICE_STATUS = 20,
	CONFIG_GENERATION = 21,
	QUEUE_SELECT = 22,
	QUEUE_SIZE = 24,
	QUEUE_MSIX_VECTOR = 26,
	QUEUE_ENABLE = 28,
	QUEUE_NOTIFY_OFF = 30,
	QUEUE_DESC = 32,
	QUEUE_DRIVER = 40,
	QUEUE_DEVICE = 48,
	COMMON_SIZE = 56,
};

/*
 * What the transport offers. Not among it:
 *
 * VIRTIO_F_RING_RESET (40): Linux resets a single queue only to resize a network ring or to bind an AF_XDP socket to it
 * (drivers/net/virtio_net.c); for that, every device would have to drain one queue while its others run, and each such state is one more
 * for the guest to attack. Without the bit a driver resets the device.
 *
 * VIRTIO_F_INDIRECT_DESC (28): see virtqueue.c.
 */
#define F_EVENT_IDX (1ull << 29)
#define F_VERSION_1 (1ull << 32)

static uint64_t offered(const struct virtio_pci *transport)
{
	return transport->device->device_features | F_VERSION_1 | F_EVENT_IDX;
}

static struct virtq *selected(struct virtio_pci *transport)
{
	struct virtio_device *device = transport->device;
	return transport->queue_select < device->n_queues ? &device->queue[transport->queue_select] : NULL;
}

static void signal_vector(struct virtio_pci *transport, uint8_t isr, uint16_t vector)
{
	transport->isr |= isr;
	if (vector != NO_VECTOR)
		msix_signal(&transport->pci, vector);
}

static void kick(const struct virtio_device *device, uint32_t index)
{
	uint64_t one = 1;
	/* Only fails when the counter is full, and then the reader is awake anyway. */
	if (write(device->kick_fd[index], &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_error("%s: cannot signal queue %" PRIu32 ": %s", device->name, index, strerror(errno));
}

/* A mutex is not fair: a device's thread that takes it again at once would keep everybody else out for as long as it has work. */
void virtio_pci_lock(struct virtio_device *device)
{
	atomic_fetch_add_explicit(&device->waiting, 1, memory_order_relaxed);
	pthread_mutex_lock(&device->lock);
	atomic_fetch_sub_explicit(&device->waiting, 1, memory_order_relaxed);
}

/* Under the device's lock: whoever works on a queue has finished its batch and finds everything off afterwards. */
void virtio_pci_reset_locked(struct virtio_pci *transport)
{
	struct virtio_device *device = transport->device;
	device->live = false;
	device->ops->reset(device);
	for (uint32_t i = 0; i < device->n_queues; i++)
		virtq_reset(&device->queue[i]);
	device->driver_features = 0;
	transport->status = 0;
	transport->isr = 0;
	transport->config_vector = NO_VECTOR;
	transport->queue_select = 0;
	transport->device_feature_select = 0;
	transport->driver_feature_select = 0;
	transport->acked = 0;
	transport->acked_unknown = false;
}

bool virtio_pci_features_ok(const struct virtio_pci *transport)
{
	return !transport->acked_unknown && (transport->acked & ~offered(transport)) == 0 && (transport->acked & F_VERSION_1);
}

void virtio_pci_apply_features(struct virtio_pci *transport)
{
	struct virtio_device *device = transport->device;
	device->driver_features = transport->acked;
	for (uint32_t i = 0; i < device->n_queues; i++)
		device->queue[i].event_idx = transport->acked & F_EVENT_IDX;
}

void virtio_pci_activate(struct virtio_pci *transport)
{
	struct virtio_device *device = transport->device;
	device->live = true;
	if (device->ops->activate != NULL)
		device->ops->activate(device);
}

void virtio_pci_kick_enabled(const struct virtio_device *device)
{
	for (uint32_t i = 0; i < device->n_queues; i++)
		if (device->queue[i].enabled)
			kick(device, i);
}

/* Section 3.1.1: a driver only adds bits; 0 resets. */
static void write_status(struct virtio_pci *transport, uint8_t value)
{
	struct virtio_device *device = transport->device;
	if (value == 0) {
		virtio_pci_reset_locked(transport);
		return;
	}
	uint8_t added = value & STATUS_BY_DRIVER & ~transport->status;
	if (added & STATUS_FEATURES_OK) {
		if (virtio_pci_features_ok(transport))
			virtio_pci_apply_features(transport);
		else
			added &= (uint8_t)~STATUS_FEATURES_OK;
	}
	transport->status |= added & (uint8_t)~STATUS_DRIVER_OK;
	if (!(added & STATUS_DRIVER_OK) || !(transport->status & STATUS_FEATURES_OK) || (transport->status & STATUS_NEEDS_RESET))
		return;
	transport->status |= STATUS_DRIVER_OK;
	virtio_pci_activate(transport);
	/* Chains made available, or notifications sent, before DRIVER_OK. */
	virtio_pci_kick_enabled(device);
}

static uint16_t checked_vector(const struct virtio_pci *transport, uint16_t untrusted_vector)
{
	return untrusted_vector < transport->pci.msix.n_vectors ? untrusted_vector : NO_VECTOR;
}

/* The 64-bit register at `base`, when the access [offset, offset + size) is the whole or one half of it. */
static bool is_wide(uint64_t offset, uint32_t size, uint32_t base)
{
	return (offset == base && (size == 4 || size == 8)) || (offset == base + 4 && size == 4);
}

static uint64_t wide_read(uint64_t value, uint64_t offset, uint32_t base)
{
	return offset == base ? value : value >> 32;
}

static void wide_write(uint64_t *value, uint64_t offset, uint32_t size, uint32_t base, uint64_t written)
{
	if (size == 8)
		*value = written;
	else if (offset == base)
		*value = (*value & 0xffffffff00000000ull) | (uint32_t)written;
	else
		*value = (*value & 0xffffffffull) | written << 32;
}

/* A field is read and written by exactly its own width (section 4.1.3.1); anything else reads 0 and writes nothing. */
#define FIELD(offset, size) ((uint32_t)(offset) << 8 | (size))

static uint64_t common_read(struct virtio_pci *transport, uint64_t offset, uint32_t size)
{
	const struct virtio_device *device = transport->device;
	const struct virtq *queue = selected(transport);
	switch (FIELD(offset, size)) {
	case FIELD(DEVICE_FEATURE_SELECT, 4):
		return transport->device_feature_select;
	case FIELD(DEVICE_FEATURE, 4):
		return transport->device_feature_select < 2 ? (uint32_t)(offered(transport) >> (32 * transport->device_feature_select)) : 0;
	case FIELD(DRIVER_FEATURE_SELECT, 4):
		return transport->driver_feature_select;
	case FIELD(DRIVER_FEATURE, 4):
		return transport->driver_feature_select < 2 ? (uint32_t)(transport->acked >> (32 * transport->driver_feature_select)) : 0;
	case FIELD(CONFIG_MSIX_VECTOR, 2):
		return transport->config_vector;
	case FIELD(NUM_QUEUES, 2):
		return device->n_queues;
	case FIELD(DEVICE_STATUS, 1):
		return transport->status;
	case FIELD(CONFIG_GENERATION, 1):
		return transport->generation;
	case FIELD(QUEUE_SELECT, 2):
		return transport->queue_select;
	case FIELD(QUEUE_SIZE, 2):
		return queue != NULL ? queue->size : 0;
	case FIELD(QUEUE_MSIX_VECTOR, 2):
		return queue != NULL ? queue->msix_vector : NO_VECTOR;
	case FIELD(QUEUE_ENABLE, 2):
		return queue != NULL && queue->enabled;
	case FIELD(QUEUE_NOTIFY_OFF, 2):
		return queue != NULL ? transport->queue_select : 0;
	}
	if (queue == NULL)
		return 0;
	if (is_wide(offset, size, QUEUE_DESC))
		return wide_read(queue->desc_gpa, offset, QUEUE_DESC);
	if (is_wide(offset, size, QUEUE_DRIVER))
		return wide_read(queue->avail_gpa, offset, QUEUE_DRIVER);
	if (is_wide(offset, size, QUEUE_DEVICE))
		return wide_read(queue->used_gpa, offset, QUEUE_DEVICE);
	return 0;
}

/* Size and addresses of the selected queue, until it is enabled and until DRIVER_OK. */
static void queue_write(struct virtio_pci *transport, struct virtq *queue, uint64_t offset, uint32_t size, uint64_t value)
{
	if (queue->enabled || (transport->status & STATUS_DRIVER_OK))
		return;
	switch (FIELD(offset, size)) {
	case FIELD(QUEUE_SIZE, 2):
		if (value > 0 && value <= queue->max_size && (value & (value - 1)) == 0)
			queue->size = (uint16_t)value;
		return;
	case FIELD(QUEUE_ENABLE, 2):
		if (value == 1 && (transport->status & STATUS_FEATURES_OK) && !virtq_enable(queue))
			log_debug("%s: queue %u refused: its rings are misaligned or not in RAM", transport->device->name, transport->queue_select);
		return;
	}
	if (is_wide(offset, size, QUEUE_DESC))
		wide_write(&queue->desc_gpa, offset, size, QUEUE_DESC, value);
	else if (is_wide(offset, size, QUEUE_DRIVER))
		wide_write(&queue->avail_gpa, offset, size, QUEUE_DRIVER, value);
	else if (is_wide(offset, size, QUEUE_DEVICE))
		wide_write(&queue->used_gpa, offset, size, QUEUE_DEVICE, value);
}

static void common_write(struct virtio_pci *transport, uint64_t offset, uint32_t size, uint64_t value)
{
	struct virtq *queue = selected(transport);
	switch (FIELD(offset, size)) {
	case FIELD(DEVICE_FEATURE_SELECT, 4):
		transport->device_feature_select = (uint32_t)value;
		return;
	case FIELD(DRIVER_FEATURE_SELECT, 4):
		transport->driver_feature_select = (uint32_t)value;
		return;
	case FIELD(DRIVER_FEATURE, 4):
		if (transport->status & STATUS_FEATURES_OK)
			return;
		if (transport->driver_feature_select < 2)
			wide_write(&transport->acked, 4 * transport->driver_feature_select, 4, 0, value);
		else if (value != 0)
			transport->acked_unknown = true;
		return;
	case FIELD(CONFIG_MSIX_VECTOR, 2):
		transport->config_vector = checked_vector(transport, (uint16_t)value);
		return;
	case FIELD(DEVICE_STATUS, 1):
		write_status(transport, (uint8_t)value);
		return;
	case FIELD(QUEUE_SELECT, 2):
		transport->queue_select = (uint16_t)value;
		return;
	case FIELD(QUEUE_MSIX_VECTOR, 2):
		if (queue != NULL)
			queue->msix_vector = checked_vector(transport, (uint16_t)value);
		return;
	}
	if (queue != NULL)
		queue_write(transport, queue, offset, size, value);
}

/* Whether [offset, offset + size) lies in the region at `base` of `length` bytes. Neither sum overflows: a BAR is small. */
static bool in_region(uint64_t offset, uint32_t size, uint32_t base, uint32_t length)
{
	return offset >= base && offset + size <= (uint64_t)base + length;
}

static void bar_read(struct pci_device *pci, int bar, uint64_t offset, void *data, uint32_t size)
{
	struct virtio_pci *transport = container_of(pci, struct virtio_pci, pci);
	struct virtio_device *device = transport->device;
	memset(data, 0, size);
	if (bar != BAR || size > 8 || offset >= BAR_SIZE)
		return;
	virtio_pci_lock(device);
	if (in_region(offset, size, COMMON_AT, COMMON_SIZE)) {
		uint64_t value = common_read(transport, offset - COMMON_AT, size);
		memcpy(data, &value, size);
	} else if (offset == ISR_AT) {
		memcpy(data, &transport->isr, 1);
		transport->isr = 0;
	} else if (in_region(offset, size, CONFIG_AT, device->config_size)) {
		device->ops->config_read(device, (uint32_t)(offset - CONFIG_AT), data, size);
	}
	pthread_mutex_unlock(&device->lock);
}

static void bar_write(struct pci_device *pci, int bar, uint64_t offset, const void *data, uint32_t size)
{
	struct virtio_pci *transport = container_of(pci, struct virtio_pci, pci);
	struct virtio_device *device = transport->device;
	if (bar != BAR || size > 8 || offset >= BAR_SIZE)
		return;
	if (in_region(offset, size, NOTIFY_AT, NOTIFY_MULTIPLIER * device->n_queues)) {
		if ((offset - NOTIFY_AT) % NOTIFY_MULTIPLIER == 0)
			kick(device, (uint32_t)(offset - NOTIFY_AT) / NOTIFY_MULTIPLIER);
		return;
	}
	virtio_pci_lock(device);
	if (in_region(offset, size, COMMON_AT, COMMON_SIZE)) {
		uint64_t value = 0;
		memcpy(&value, data, size);
		common_write(transport, offset - COMMON_AT, size, value);
	} else if (in_region(offset, size, CONFIG_AT, device->config_size)) {
		if (device->ops->config_write != NULL)
			device->ops->config_write(device, (uint32_t)(offset - CONFIG_AT), data, size);
	}
	pthread_mutex_unlock(&device->lock);
}

/* Takes the first n ioeventfds at `gpa` back. */
static void remove_ioeventfds(struct virtio_pci *transport, uint64_t gpa, uint32_t n)
{
	const struct virtio_device *device = transport->device;
	for (uint32_t i = 0; i < n; i++)
		if (pci_ioeventfd(&transport->pci, gpa + NOTIFY_MULTIPLIER * i, 0, device->kick_fd[i], false) < 0)
			log_warn("%s: the ioeventfd of queue %" PRIu32 " cannot be removed: %s", device->name, i, strerror(errno));
}

/*
 * The BAR's registers are moved already; the notifications follow whole or, when the kernel refuses one of them, not at all: then every
 * queue is notified the slow way, by bar_write(), and none by an address of the old place.
 */
static void bar_moved(struct pci_device *pci, int bar, uint64_t gpa)
{
	struct virtio_pci *transport = container_of(pci, struct virtio_pci, pci);
	const struct virtio_device *device = transport->device;
	uint64_t notify = gpa == PCI_BAR_UNMAPPED ? PCI_BAR_UNMAPPED : gpa + NOTIFY_AT;
	if (bar != BAR || notify == transport->notify_gpa)
		return;
	remove_ioeventfds(transport, transport->notify_gpa, transport->n_ioeventfds);
	transport->notify_gpa = notify;
	transport->n_ioeventfds = 0;
	if (notify == PCI_BAR_UNMAPPED)
		return;
	for (uint32_t i = 0; i < device->n_queues; i++) {
		if (pci_ioeventfd(pci, notify + NOTIFY_MULTIPLIER * i, 0, device->kick_fd[i], true) < 0) {
			int error = errno;
			uint32_t left_out;
			if (log_limit_pass(&transport->move_limit, &left_out))
				log_warn("%s: no ioeventfds (%s): its notifications go the slow way (%" PRIu32 " such lines left out)", device->name,
					strerror(error), left_out);
			remove_ioeventfds(transport, notify, i);
			return;
		}
	}
	transport->n_ioeventfds = device->n_queues;
}

/*
 * Section 4.1.4.9: the window through config space, {bar at 4, offset at 8, length at 12, data at 16}. True when a
 * config access touches the data and the guest's numbers name a proper access.
 */
static bool window_access(const struct virtio_pci *transport, uint32_t offset, uint32_t size, uint64_t *at, uint32_t *length)
{
	const uint8_t *cap = transport->pci.config + transport->pci_cap;
	uint32_t data_at = transport->pci_cap + 16;
	if (offset >= data_at + 4 || offset + size <= data_at)
		return false;
	uint32_t untrusted_at, untrusted_length;
	memcpy(&untrusted_at, cap + 8, 4);
	memcpy(&untrusted_length, cap + 12, 4);
	if (cap[4] != BAR || (untrusted_length != 1 && untrusted_length != 2 && untrusted_length != 4) ||
		untrusted_at % untrusted_length != 0 || untrusted_at >= BAR_SIZE)
		return false;
	*at = untrusted_at;
	*length = untrusted_length;
	return true;
}

static void config_read(struct pci_device *pci, uint32_t offset, uint32_t size)
{
	struct virtio_pci *transport = container_of(pci, struct virtio_pci, pci);
	uint64_t at;
	uint32_t length;
	if (window_access(transport, offset, size, &at, &length))
		bar_read(pci, BAR, at, pci->config + transport->pci_cap + 16, length);
}

/* A reset of a disk waits for its host. */
static bool config_written(struct pci_device *pci, uint32_t offset, uint32_t size, struct pci_bar_write *then)
{
	const struct virtio_pci *transport = container_of(pci, struct virtio_pci, pci);
	*then = (struct pci_bar_write){ .bar = BAR };
	if (!window_access(transport, offset, size, &then->offset, &then->size))
		return false;
	memcpy(then->data, pci->config + transport->pci_cap + 16, then->size);
	return true;
}

static const struct pci_device_ops pci_ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.bar_moved = bar_moved,
	.config_read = config_read,
	.config_written = config_written,
};

/* Section 4.1.4: struct virtio_pci_cap from its third byte; `extra` (after the 16 bytes) is the notify multiplier or the window's data. */
static uint32_t add_cap(struct pci_device *pci, uint8_t type, uint32_t offset, uint32_t length, const uint32_t *extra)
{
	uint8_t body[18] = { 0 };
	uint8_t size = extra != NULL ? 20 : 16;
	body[0] = size;
	body[1] = type;
	body[2] = BAR;
	memcpy(body + 6, &offset, 4);
	memcpy(body + 10, &length, 4);
	if (extra != NULL)
		memcpy(body + 14, extra, 4);
	return pci_add_capability(pci, PCI_CAP_VENDOR, body, size);
}

struct virtio_pci *virtio_pci_create(struct virtio_device *device, struct pci_bus *bus, uint8_t slot, uint32_t class_code)
{
	struct virtio_pci *transport = calloc(1, sizeof(*transport));
	if (transport == NULL)
		return NULL;
	transport->device = device;
	transport->config_vector = NO_VECTOR;
	transport->notify_gpa = PCI_BAR_UNMAPPED;
	struct pci_device *pci = &transport->pci;
	/* Section 4.1.2: vendor 1af4, device 1040 + id, revision 1 or higher for modern only. */
	pci_device_init(pci, &pci_ops, device->name, 0x1af4, (uint16_t)(0x1040 + device->id), class_code, 1, 0x1af4, 0x1100);
	pci_add_bar(pci, BAR, BAR_SIZE, true, false);

	const uint32_t multiplier = NOTIFY_MULTIPLIER, no_data = 0;
	bool caps = add_cap(pci, CAP_COMMON, COMMON_AT, COMMON_SIZE, NULL) != 0 &&
		add_cap(pci, CAP_ISR, ISR_AT, 1, NULL) != 0 &&
		add_cap(pci, CAP_NOTIFY, NOTIFY_AT, NOTIFY_MULTIPLIER * device->n_queues, &multiplier) != 0 &&
		(device->config_size == 0 || add_cap(pci, CAP_DEVICE, CONFIG_AT, (device->config_size + 3) & ~3u, NULL) != 0);
	transport->pci_cap = add_cap(pci, CAP_PCI, 0, 0, &no_data);
	if (!caps || transport->pci_cap == 0) {
		errno = ENOSPC;
		goto fail;
	}
	/* Of the window the guest may write bar, offset, length and data. */
	pci->writable[transport->pci_cap + 4] = 0xff;
	memset(pci->writable + transport->pci_cap + 8, 0xff, 12);
	if (msix_init(pci, BAR, MSIX_TABLE_AT, MSIX_PBA_AT, device->n_queues + 1) < 0)
		goto fail;
	device->transport = transport;
	if (pci_attach(bus, pci, slot) < 0) {
		device->transport = NULL;
		goto fail;
	}
	return transport;

fail:;
	int saved = errno;
	free(transport);
	errno = saved;
	return NULL;
}

void virtio_pci_destroy(struct virtio_pci *transport)
{
	if (transport == NULL)
		return;
	virtio_pci_reset(transport);
	pci_detach(&transport->pci);
	transport->device->transport = NULL;
	free(transport);
}

void virtio_pci_reset(struct virtio_pci *transport)
{
	virtio_pci_lock(transport->device);
	virtio_pci_reset_locked(transport);
	pthread_mutex_unlock(&transport->device->lock);
}

void virtio_pci_begin_reset(struct virtio_pci *transport)
{
	struct virtio_device *device = transport->device;
	virtio_pci_lock(device);
	device->live = false;
	if (device->ops->begin_reset != NULL)
		device->ops->begin_reset(device);
	pthread_mutex_unlock(&device->lock);
}

bool virtio_notify_queue(struct virtio_device *device, uint32_t index)
{
	struct virtio_pci *transport = device->transport;
	struct virtq *queue = &device->queue[index];
	if (transport == NULL || !device->live || !virtq_must_notify(queue))
		return false;
	signal_vector(transport, ISR_QUEUE, queue->msix_vector);
	return true;
}

void virtio_notify_config(struct virtio_device *device)
{
	struct virtio_pci *transport = device->transport;
	if (transport == NULL)
		return;
	transport->generation++;
	/* Not before DRIVER_OK (section 2.1.2). */
	if (transport->status & STATUS_DRIVER_OK)
		signal_vector(transport, ISR_CONFIG, transport->config_vector);
}

void virtio_needs_reset(struct virtio_device *device, const char *why)
{
	struct virtio_pci *transport = device->transport;
	device->live = false;
	if (transport == NULL)
		return;
	transport->status |= STATUS_NEEDS_RESET;
	virtio_notify_config(device);
	uint32_t left_out;
	if (log_limit_pass(&transport->broken_limit, &left_out))
		log_warn("%s: the guest broke the protocol (%s); stopped until its driver resets the device (%" PRIu32 " such lines left out)",
			device->name, why, left_out);
}
