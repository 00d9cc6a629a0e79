/* The part that all virtio devices share: lock, queues, kick eventfds. */
#include "virtio/device.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

int virtio_device_init(struct virtio_device *device, const struct virtio_device_ops *ops, const char *name, uint16_t id,
	uint64_t features, uint32_t config_size, uint32_t n_queues, uint16_t queue_size, const struct guest_memory *memory)
{
	if (n_queues == 0 || n_queues > VIRTIO_MAX_QUEUES || config_size > VIRTIO_CONFIG_MAX ||
		queue_size == 0 || queue_size > VIRTQ_MAX_SIZE || (queue_size & (queue_size - 1)) != 0) {
		errno = EINVAL;
		return -1;
	}
	memset(device, 0, sizeof(*device));
	device->ops = ops;
	device->name = name;
	device->id = id;
	device->config_size = config_size;
	device->device_features = features;
	device->n_queues = n_queues;
	for (uint32_t i = 0; i < VIRTIO_MAX_QUEUES; i++)
		device->kick_fd[i] = -1;
	for (uint32_t i = 0; i < n_queues; i++) {
		device->queue[i].memory = memory;
		device->queue[i].max_size = queue_size;
		virtq_reset(&device->queue[i]);
		device->kick_fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (device->kick_fd[i] < 0)
			goto fail;
	}
	int error = pthread_mutex_init(&device->lock, NULL);
	if (error != 0) {
		errno = error;
		goto fail;
	}
	return 0;

fail:;
	int saved = errno;
	for (uint32_t i = 0; i < n_queues; i++) {
		if (device->kick_fd[i] >= 0)
			close(device->kick_fd[i]);
	}
	errno = saved;
	return -1;
}

void virtio_device_yield(struct virtio_device *device)
{
	/* On a busy host it may take long to wake up: so often at most, so long between two looks. */
	const struct timespec turn = { .tv_nsec = 50000 };
	for (uint32_t i = 0; i < 40 && atomic_load_explicit(&device->waiting, memory_order_relaxed) > 0; i++)
		nanosleep(&turn, NULL);
}

void virtio_device_finish(struct virtio_device *device)
{
	for (uint32_t i = 0; i < device->n_queues; i++) {
		close(device->kick_fd[i]);
		device->kick_fd[i] = -1;
	}
	pthread_mutex_destroy(&device->lock);
}
