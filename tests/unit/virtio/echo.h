/* A device that copies what it reads into what it may write, and the fixture of the tests that drive it. */
#pragma once

#include "driver.h"
#include "base/base.h"
#include "unit.h"

struct echo {
	struct virtio_device device;
	uint8_t config[8];
	uint32_t activated, resets, served;
};

static void echo_config_read(struct virtio_device *device, uint32_t offset, void *data, uint32_t size)
{
	memcpy(data, container_of(device, struct echo, device)->config + offset, size);
}

static void echo_config_write(struct virtio_device *device, uint32_t offset, const void *data, uint32_t size)
{
	memcpy(container_of(device, struct echo, device)->config + offset, data, size);
}

static void echo_activate(struct virtio_device *device)
{
	container_of(device, struct echo, device)->activated++;
}

static void echo_reset(struct virtio_device *device)
{
	container_of(device, struct echo, device)->resets++;
}

static bool echo_run(struct virtio_device *device, uint32_t index)
{
	struct echo *echo = container_of(device, struct echo, device);
	static _Thread_local struct virtq_chain chain;
	const char *why = NULL;
	bool more = false;
	pthread_mutex_lock(&device->lock);
	struct virtq *queue = &device->queue[index];
	for (int i = 0; device->live; i++) {
		if (i == 16) {
			more = true;
			break;
		}
		int got = virtq_pop(queue, &chain, &why);
		if (got < 0)
			virtio_needs_reset(device, why);
		if (got == 0 && virtq_rearm(queue))
			continue;
		if (got <= 0)
			break;
		uint8_t bytes[64];
		uint64_t n = virtq_chain_read(&chain, 0, bytes, sizeof(bytes));
		n = virtq_chain_write(&chain, 0, bytes, n);
		virtq_push(queue, chain.head, (uint32_t)n);
		echo->served++;
	}
	if (device->live)
		virtio_notify_queue(device, index);
	pthread_mutex_unlock(&device->lock);
	return more;
}

static const struct virtio_device_ops echo_ops = {
	.config_read = echo_config_read, .config_write = echo_config_write,
	.activate = echo_activate, .reset = echo_reset, .run = echo_run,
};

#define ECHO_FEATURE (1ull << 5)
#define EVENT_IDX (1ull << 29)
#define VERSION_1 (1ull << 32)
#define RAM (16ull << 20)

static struct driver d;
static struct echo echo;
static uint64_t page; /* scratch */

static void setup(void)
{
	memset(&echo, 0, sizeof(echo));
	driver_init(&d, RAM);
	ck_assert_int_eq(virtio_device_init(&echo.device, &echo_ops, "echo", VIRTIO_ID_RNG, ECHO_FEATURE, sizeof(echo.config), 2, 64, &d.memory), 0);
	memcpy(echo.config, "ABCDEFGH", 8);
	driver_attach(&d, &echo.device, 0x00ff00);
	page = driver_alloc(&d, 4096);
}

static void teardown(void)
{
	driver_detach(&d);
	virtio_device_finish(&echo.device);
	driver_finish(&d);
}

/* One whole round trip; fails the test when the device does not answer. */
static inline void assert_works(void)
{
	memcpy(driver_ptr(&d, page), "hello", 6);
	memset((char *)driver_ptr(&d, page) + 2048, 0, 64);
	const struct driver_buf bufs[] = { { page, 6 }, { page + 2048, 64 } };
	uint16_t head = driver_add(&d, 0, bufs, 1, 1);
	driver_kick(&d, 0);
	ck_assert(driver_run(&d, 0));
	uint32_t id, length;
	ck_assert(driver_used(&d, 0, &id, &length));
	ck_assert_uint_eq(id, head);
	ck_assert_uint_eq(length, 6);
	ck_assert_str_eq((char *)driver_ptr(&d, page) + 2048, "hello");
}

/* The device stopped: status says so, a config interrupt came, the used ring stays untouched, and a new start helps. */
static inline void assert_needs_reset(void)
{
	uint16_t used = d.queue[0].used[1];
	driver_interrupts(&d, 0);
	driver_kick(&d, 0);
	ck_assert(driver_run(&d, 0));
	ck_assert_uint_eq(driver_status(&d) & S_NEEDS_RESET, S_NEEDS_RESET);
	ck_assert_uint_eq(driver_interrupts(&d, 0), 1);
	ck_assert_uint_eq(d.queue[0].used[1], used);
	driver_run(&d, 0);
	ck_assert_uint_eq(driver_interrupts(&d, 0), 0);
	ck_assert_uint_eq(d.queue[0].used[1], used);
	driver_start(&d, DRIVER_ALL_FEATURES, 64);
	assert_works();
}
