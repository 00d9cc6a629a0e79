/* Every virtio device behind a driver made for tests, to be treated alike. */
#pragma once

#include <linux/input.h>
#include <linux/virtio_gpu.h>
#include <sys/socket.h>

#include "base/base.h"
#include "driver.h"
#include "input_events.h"
#include "link/table.h"
#include "state_check.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/gpu.h"
#include "virtio/input.h"
#include "virtio/net.h"
#include "virtio/rng.h"

#define RAM (16ull << 20)

enum kind { BLK, RNG, CONSOLE, NET, KEYBOARD, MOUSE, TABLET, TOUCH, GPU, KINDS };

struct side {
	enum kind kind;
	struct driver d;
	struct disk disk; /* of memory: nothing to close */
	struct blk *blk;
	struct rng *rng;
	struct console *console;
	struct net_tap tap; /* a socket */
	int wire;           /* its other end */
	struct net *net;
	struct vinput *input;
	struct gpu *gpu;
	struct link *link;
	struct link_table *panel;
	struct virtio_device *device;
	bool own_thread;
	uint32_t takes; /* bit per queue: what is made available there is taken at once, whatever else happens */
	uint16_t most; /* chains returned by one call of `run` */
	struct state_table table;
};

DRIVER_UNUSED static void make(struct side *side, enum kind kind)
{
	char error[256] = "";
	memset(side, 0, sizeof(*side));
	side->kind = kind;
	driver_init(&side->d, RAM);
	switch (kind) {
	case BLK:
		ck_assert_msg(disk_open(&side->disk, &(struct disk_config){ .memory_size = 1 << 20, .queues = 2 }, error, sizeof(error)) == 0, "%s", error);
		side->blk = blk_create(&side->d.memory, &side->disk, NULL, error, sizeof(error));
		ck_assert_msg(side->blk != NULL, "%s", error);
		side->device = blk_device(side->blk);
		side->own_thread = true;
		side->takes = 3;
		break;
	case RNG:
		side->rng = rng_create(&side->d.memory);
		side->device = rng_device(side->rng);
		side->takes = 1;
		break;
	case CONSOLE:
		side->console = console_create(&side->d.memory, (const int[CONSOLE_PORTS]){ -1, -1 }, NULL);
		side->device = console_device(side->console);
		side->own_thread = true;
		side->takes = 1 << 1 | 1 << 3 | 1 << 5;
		break;
	case NET: {
		int fd[2];
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
		side->tap = (struct net_tap){ .fd = fd[0], .name = "test0", .mac = { 2, 1, 2, 3, 4, 5 } };
		side->wire = fd[1];
		side->net = net_create(&side->d.memory, &side->tap, NULL);
		side->device = net_device(side->net);
		side->own_thread = true;
		side->takes = 2;
		break;
	}
	case GPU:
		side->link = link_create(side->d.memory.fd, RAM);
		side->panel = link_table_create(RAM);
		ck_assert(side->link != NULL && side->panel != NULL);
		side->gpu = gpu_create(&side->d.memory, side->link, LINK_MAX_HEADS, NULL);
		side->device = gpu_device(side->gpu);
		side->takes = 3;
		break;
	default:
		side->input = vinput_create(&side->d.memory, (enum link_device)(LINK_KEYBOARD + (kind - KEYBOARD)), NULL);
		side->device = vinput_device(side->input);
		side->takes = 2;
		break;
	}
	driver_attach(&side->d, side->device, 0xff0000);
}

DRIVER_UNUSED static void destroy(struct side *side)
{
	driver_detach(&side->d);
	blk_destroy(side->blk);
	rng_destroy(side->rng);
	if (side->console != NULL)
		console_destroy(side->console);
	if (side->net != NULL) {
		net_destroy(side->net);
		net_tap_close(&side->tap);
		close(side->wire);
	}
	vinput_destroy(side->input);
	gpu_destroy(side->gpu);
	if (side->link != NULL) {
		link_table_destroy(side->panel);
		link_destroy(side->link);
	}
	driver_finish(&side->d);
}

DRIVER_UNUSED static void side_key(struct side *side, uint16_t code, int32_t value)
{
	struct link_message message = { .type = LINK_INPUT, .input = { .device = (uint32_t)(LINK_KEYBOARD + (side->kind - KEYBOARD)), .count = 1 } };
	message.input.event[0] = (struct link_event){ .type = EV_KEY, .code = code, .value = value };
	vinput_packet(side->input, &message);
}

/* id -1: it is lifted. */
DRIVER_UNUSED static void side_finger(struct side *side, int32_t slot, int32_t id)
{
	struct link_message message = { .type = LINK_INPUT, .input = { .device = LINK_TOUCH, .count = 2 } };
	message.input.event[0] = (struct link_event){ EV_ABS, ABS_MT_SLOT, slot };
	message.input.event[1] = (struct link_event){ EV_ABS, ABS_MT_TRACKING_ID, id };
	vinput_packet(side->input, &message);
}

/* What a hand does first with this kind of input device, and its end. */
DRIVER_UNUSED static void side_press(struct side *side, bool down)
{
	if (side->kind == TOUCH)
		side_finger(side, 0, down ? 1 : -1);
	else
		side_key(side, side->kind == KEYBOARD ? KEY_A : BTN_LEFT, down);
}

/* One turn of the thread that the device has in the program, if it has none of its own. */
DRIVER_UNUSED static void side_turn(struct side *side)
{
	/* Who listens on the wire. */
	char frame[2048];
	while (side->net != NULL && read(side->wire, frame, sizeof(frame)) > 0)
		;
	if (side->own_thread)
		return;
	for (uint32_t i = 0; i < side->device->n_queues; i++) {
		uint64_t count;
		if (read(side->device->kick_fd[i], &count, sizeof(count)) != sizeof(count))
			continue;
		uint16_t *used = __atomic_load_n(&side->d.queue[i].used, __ATOMIC_ACQUIRE), before = used != NULL ? __atomic_load_n(&used[1], __ATOMIC_RELAXED) : 0;
		if (side->device->ops->run(side->device, i))
			driver_write(&side->d, side->d.notify + (uint64_t)i * side->d.notify_multiplier, i, 2);
		uint16_t served = (uint16_t)((used != NULL ? __atomic_load_n(&used[1], __ATOMIC_RELAXED) : 0) - before);
		side->most = served > side->most ? served : side->most;
	}
	if (side->rng != NULL)
		rng_tick(side->rng, clock_now_ns());
	if (side->gpu != NULL) {
		struct link_message message, released = { .type = LINK_RELEASED };
		const char *why;
		gpu_tick(side->gpu, clock_now_ns());
		link_ack_panel(side->link);
		while (link_receive_for_panel(side->link, &message))
			if (link_table_take(side->panel, &message, &why) == LINK_CHANGE_REFUSED)
				ck_abort_msg("the panel refuses a message of type %u: %s", message.type, why);
		while (link_table_next_released(side->panel, &released.dead))
			gpu_link_message(side->gpu, &released);
	}
}

/* Waits for a used element, with the device's thread played here if it has none. */
DRIVER_UNUSED static bool side_wait(struct side *side, uint32_t index, uint32_t *length, int ms)
{
	for (int i = 0; i < ms; i++) {
		side_turn(side);
		if (driver_used(&side->d, index, NULL, length))
			return true;
		if (side->own_thread || i > 3)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return driver_used(&side->d, index, NULL, length);
}

/* A proper driver starts the device, and it does one thing it is for. */
DRIVER_UNUSED static void assert_serves(struct side *side)
{
	struct driver *d = &side->d;
	driver_start(d, DRIVER_ALL_FEATURES, 64);
	uint64_t page = driver_alloc(d, 8192);
	uint32_t length = 0;
	uint8_t *bytes = driver_ptr(d, page);
	memset(bytes, 0, 8192);
	switch (side->kind) {
	case BLK: {
		const struct driver_buf bufs[] = { { page, 16 }, { page + 4096, 512 }, { page + 1024, 1 } };
		bytes[1024] = 0xee;
		for (uint32_t queue = 0; queue < 2; queue++) {
			driver_add(d, queue, bufs, 1, 2);
			driver_kick(d, queue);
			ck_assert(side_wait(side, queue, &length, 5000));
			ck_assert_uint_eq(length, 513);
			ck_assert_uint_eq(bytes[1024], 0);
		}
		break;
	}
	case RNG:
		driver_add(d, 0, &(struct driver_buf){ page, 64 }, 0, 1);
		driver_kick(d, 0);
		ck_assert(side_wait(side, 0, &length, 5000));
		ck_assert_uint_eq(length, 64);
		break;
	case CONSOLE:
		driver_add(d, 2, &(struct driver_buf){ page + 4096, 64 }, 0, 1);
		driver_kick(d, 2);
		memcpy(bytes, (const uint16_t[]){ 0, 0, 0, 1 }, 8); /* VIRTIO_CONSOLE_DEVICE_READY */
		driver_add(d, 3, &(struct driver_buf){ page, 8 }, 1, 0);
		driver_kick(d, 3);
		ck_assert(side_wait(side, 3, NULL, 5000));
		ck_assert(side_wait(side, 2, &length, 5000)); /* a port is announced */
		ck_assert_uint_eq(length, 8);
		break;
	case NET:
		driver_add(d, 0, &(struct driver_buf){ page + 4096, 2048 }, 0, 1);
		driver_kick(d, 0);
		driver_add(d, 1, &(struct driver_buf){ page, 80 }, 1, 0);
		driver_kick(d, 1);
		ck_assert(side_wait(side, 1, NULL, 5000));
		ck_assert_int_eq(write(side->wire, bytes, 80), 80);
		ck_assert(side_wait(side, 0, &length, 5000));
		ck_assert_uint_eq(length, 80);
		break;
	case GPU: {
		struct virtio_gpu_ctrl_hdr command = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
		memcpy(bytes, &command, sizeof(command));
		const struct driver_buf bufs[] = { { page, sizeof(command) }, { page + 4096, 4096 } };
		driver_add(d, 0, bufs, 1, 1);
		driver_kick(d, 0);
		ck_assert(side_wait(side, 0, &length, 5000));
		memcpy(&command, bytes + 4096, sizeof(command));
		ck_assert_uint_eq(command.type, VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
		break;
	}
	default: {
		/* A press and its end, or a finger's slot, number, touch and its end. */
		uint32_t n = side->kind == TOUCH ? 4 : 2;
		give_events(d, page, n);
		side_turn(side);
		side_press(side, true);
		for (uint32_t i = 0; i < n; i++)
			ck_assert(side_wait(side, 0, &length, 1000));
		ck_assert_uint_eq(bytes[0], side->kind == TOUCH ? EV_ABS : EV_KEY);
		break;
	}
	}
}
