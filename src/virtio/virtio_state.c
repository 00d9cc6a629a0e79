/*
 * State of a virtio device: registers of the transport, its queues, then the device's own struct, if it has one. What a ring holds is in
 * guest memory; a paused device has no chain in flight, so of a queue only its place remains. See vmm/state.h.
 */
#include "virtio/virtio_pci_internal.h"

#include "vmm/state.h"

#include <stddef.h>
#include <string.h>

#define VIRTIO_STATE_VERSION 1

struct virtio_queue_state {
	uint64_t desc, avail, used; /* guest addresses */
	uint16_t size, vector;
	uint16_t next_avail, next_used;
	uint8_t enabled, broken; /* 0 or 1 */
	uint8_t zero[6];
};

struct virtio_state {
	struct state_head head;
	uint16_t device_id, n_queues;
	uint8_t status, isr, generation;
	uint8_t acked_unknown; /* 0 or 1 */
	uint16_t config_vector, queue_select;
	uint32_t device_feature_select, driver_feature_select;
	uint32_t device_size; /* bytes of the device's own struct, which follows */
	uint64_t acked;
	struct virtio_queue_state queue[VIRTIO_MAX_QUEUES]; /* n_queues of them, then zeros */
};

_Static_assert(sizeof(struct virtio_queue_state) == 40 && sizeof(struct virtio_state) == 48 + 40 * VIRTIO_MAX_QUEUES, "no holes");

static bool drained(const struct virtq *queue)
{
	return !queue->enabled || queue->broken || state_is_zero(queue->in_flight, sizeof(queue->in_flight));
}

static uint32_t save_locked(struct virtio_pci *transport, void *to, uint32_t size)
{
	struct virtio_device *device = transport->device;
	struct virtio_state state = {
		.device_id = device->id, .n_queues = (uint16_t)device->n_queues, .status = transport->status, .isr = transport->isr,
		.generation = transport->generation, .acked_unknown = transport->acked_unknown, .config_vector = transport->config_vector,
		.queue_select = transport->queue_select, .device_feature_select = transport->device_feature_select,
		.driver_feature_select = transport->driver_feature_select, .acked = transport->acked,
	};
	for (uint32_t i = 0; i < device->n_queues; i++) {
		const struct virtq *queue = &device->queue[i];
		if (device->live && !drained(queue))
			return 0;
		state.queue[i] = (struct virtio_queue_state){
			.desc = queue->desc_gpa, .avail = queue->avail_gpa, .used = queue->used_gpa, .size = queue->size, .vector = queue->msix_vector,
			.next_avail = queue->next_avail, .next_used = queue->next_used, .enabled = queue->enabled, .broken = queue->broken,
		};
	}
	if (device->ops->save != NULL) {
		uint32_t room = size > sizeof(state) ? size - (uint32_t)sizeof(state) : 0;
		state.device_size = device->ops->save(device, room > 0 ? (uint8_t *)to + sizeof(state) : NULL, room);
		if (state.device_size == 0)
			return 0;
	}
	return state_put(to, size, &state, sizeof(state), STATE_VIRTIO, VIRTIO_STATE_VERSION) + state.device_size;
}

uint32_t virtio_pci_save(struct virtio_pci *transport, void *to, uint32_t size)
{
	virtio_pci_lock(transport->device);
	uint32_t needed = save_locked(transport, to, size);
	pthread_mutex_unlock(&transport->device->lock);
	return needed;
}

static bool vector_ok(const struct virtio_pci *transport, uint16_t untrusted_vector)
{
	return untrusted_vector == NO_VECTOR || untrusted_vector < transport->pci.msix.n_vectors;
}

static bool load_queue(const struct virtio_pci *transport, struct virtq *queue, const struct virtio_queue_state *untrusted)
{
	uint32_t size = untrusted->size;
	if (size == 0 || size > queue->max_size || (size & (size - 1)) != 0 || !vector_ok(transport, untrusted->vector) || untrusted->enabled > 1 ||
		untrusted->broken > 1 || !state_is_zero(untrusted->zero, sizeof(untrusted->zero)))
		return false;
	queue->size = untrusted->size;
	queue->msix_vector = untrusted->vector;
	queue->desc_gpa = untrusted->desc;
	queue->avail_gpa = untrusted->avail;
	queue->used_gpa = untrusted->used;
	/* Only a queue that was enabled has gone anywhere, and one with nothing in flight has returned what it took. */
	if (!untrusted->enabled)
		return !untrusted->broken && untrusted->next_avail == 0 && untrusted->next_used == 0;
	/* A device that has stopped keeps what it had taken until its driver resets it. */
	bool stopped = transport->status & STATUS_NEEDS_RESET;
	if (!stopped && untrusted->next_avail != untrusted->next_used)
		return false;
	bool event_idx = queue->event_idx;
	if (!virtq_enable(queue))
		return false;
	queue->event_idx = event_idx;
	queue->next_avail = queue->avail_seen = untrusted->next_avail;
	queue->next_used = untrusted->next_used;
	/* Devices interrupt, if at all, before they let go of the lock: nothing is owed. The next interrupt is sent whatever the driver asked for. */
	queue->signalled_used = untrusted->next_used;
	queue->broken = untrusted->broken;
	return true;
}

/* On a device that was just reset. */
static bool load_locked(struct virtio_pci *transport, const void *from, uint32_t size)
{
	struct virtio_device *device = transport->device;
	struct virtio_state untrusted;
	if (size < sizeof(untrusted) || !state_get(&untrusted, sizeof(untrusted), STATE_VIRTIO, VIRTIO_STATE_VERSION, from, sizeof(untrusted)))
		return false;
	if (untrusted.device_id != device->id || untrusted.n_queues != device->n_queues || untrusted.device_size != size - sizeof(untrusted) ||
		(untrusted.status & ~(STATUS_BY_DRIVER | STATUS_NEEDS_RESET)) || (untrusted.isr & ~(ISR_QUEUE | ISR_CONFIG)) ||
		untrusted.acked_unknown > 1 || !vector_ok(transport, untrusted.config_vector) ||
		!state_is_zero(untrusted.queue + device->n_queues, sizeof(untrusted.queue[0]) * (VIRTIO_MAX_QUEUES - device->n_queues)))
		return false;
	transport->isr = untrusted.isr;
	transport->generation = untrusted.generation;
	transport->config_vector = untrusted.config_vector;
	transport->queue_select = untrusted.queue_select;
	transport->device_feature_select = untrusted.device_feature_select;
	transport->driver_feature_select = untrusted.driver_feature_select;
	transport->acked = untrusted.acked;
	transport->acked_unknown = untrusted.acked_unknown;
	transport->status = untrusted.status;
	bool features_ok = untrusted.status & STATUS_FEATURES_OK, driver_ok = untrusted.status & STATUS_DRIVER_OK;
	if ((driver_ok && !features_ok) || (features_ok && !virtio_pci_features_ok(transport)))
		return false;
	if (features_ok)
		virtio_pci_apply_features(transport);
	for (uint32_t i = 0; i < device->n_queues; i++) {
		/* Queues are enabled after FEATURES_OK; a broken one has stopped its device. */
		const struct virtio_queue_state *queue = &untrusted.queue[i];
		if ((queue->enabled && !features_ok) || (queue->broken && !(untrusted.status & STATUS_NEEDS_RESET)) ||
			!load_queue(transport, &device->queue[i], queue))
			return false;
	}
	if (driver_ok && !(untrusted.status & STATUS_NEEDS_RESET))
		virtio_pci_activate(transport);
	if (device->ops->load == NULL)
		return untrusted.device_size == 0;
	return device->ops->load(device, (const uint8_t *)from + sizeof(untrusted), untrusted.device_size);
}

bool virtio_pci_load(struct virtio_pci *transport, const void *from, uint32_t size)
{
	struct virtio_device *device = transport->device;
	virtio_pci_lock(device);
	virtio_pci_reset_locked(transport);
	bool loaded = load_locked(transport, from, size);
	if (!loaded)
		virtio_pci_reset_locked(transport);
	else if (device->live)
		virtio_pci_kick_enabled(device);
	pthread_mutex_unlock(&device->lock);
	return loaded;
}

static uint32_t row_save(void *transport, void *to, uint32_t size)
{
	return virtio_pci_save(transport, to, size);
}

static bool row_load(void *transport, const void *from, uint32_t size)
{
	return virtio_pci_load(transport, from, size);
}

static void row_reset(void *transport)
{
	virtio_pci_reset(transport);
}

bool virtio_pci_state(struct virtio_pci *transport, struct state_table *table)
{
	return state_table_add(table, (struct state_device){ transport->device->name, transport, row_save, row_load, row_reset });
}

void virtio_pci_pause(struct virtio_pci *transport)
{
	struct virtio_device *device = transport->device;
	virtio_pci_lock(device);
	if (device->ops->pause != NULL)
		device->ops->pause(device);
	pthread_mutex_unlock(&device->lock);
}

void virtio_pci_resume(struct virtio_pci *transport)
{
	struct virtio_device *device = transport->device;
	virtio_pci_lock(device);
	if (device->ops->resume != NULL)
		device->ops->resume(device);
	pthread_mutex_unlock(&device->lock);
}
