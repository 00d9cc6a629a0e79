/* The disk device's state. What is written stands in the file; memory disks and overlays are storage, and not part of it. */
#include "virtio/blk_internal.h"

#include "base/base.h"

#include "vmm/state.h"

#include <string.h>

#define BLK_STATE_VERSION 1

struct blk_state {
	struct state_head head;
	uint64_t capacity;   /* sectors, as the driver was told */
	uint32_t block_size; /* bytes */
	uint8_t writeback;   /* 0 or 1 */
	uint8_t zero[3];
};

uint32_t blk_save(struct virtio_device *device, void *to, uint32_t size)
{
	const struct blk *blk = container_of(device, struct blk, device);
	struct blk_state state = { .capacity = blk->config.capacity, .block_size = blk->config.blk_size, .writeback = blk->config.writeback };
	return state_put(to, size, &state, sizeof(state), STATE_BLK, BLK_STATE_VERSION);
}

bool blk_load(struct virtio_device *device, const void *from, uint32_t size)
{
	struct blk *blk = container_of(device, struct blk, device);
	struct blk_state untrusted;
	/* Another disk than the driver's is no disk for it. */
	if (!state_get(&untrusted, sizeof(untrusted), STATE_BLK, BLK_STATE_VERSION, from, size) || untrusted.capacity != blk->config.capacity ||
		untrusted.block_size != blk->config.blk_size || !state_is_zero(untrusted.zero, sizeof(untrusted.zero)))
		return false;
	/* Only a driver that negotiated it has another mode than the user's. */
	bool may_differ = device->driver_features & BLK_F_CONFIG_WCE;
	if (untrusted.writeback > 1 || (!may_differ && untrusted.writeback != blk->config.writeback))
		return false;
	blk->config.writeback = untrusted.writeback;
	return true;
}
