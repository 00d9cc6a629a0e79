/*
 * virtio-gpu, 2D and guest blobs (virtio 1.2, section 5.7; no 3D). A producer on the link: SET_SCANOUT binds, RESOURCE_FLUSH publishes frames.
 * Runs on the machine's thread, which also owns the producer's end of the link. The device's registers are reached from vCPU threads
 * under the device's lock; what a reset has to tell the panel is told by the machine's thread, woken by the kick eventfd of queue 0.
 *
 * As many scanouts are offered as it is made with. The first is enabled from the start, the others once the panel names a monitor for them. Display info and
 * EDID are those of the monitor that was told last; LINK_DISPLAY of width 0 disables a scanout, which may stay bound: its frames are answered once a refresh.
 * Each batch of changes is one display event with a config interrupt, for a hidden guest too, and for a paused one at its resume.
 *
 * Pixels are never touched: the panel gets the places of the guest's pages. 2D resources must therefore have their lines 4 * width
 * bytes apart in their backing, which is what Linux, Windows and UEFI drivers do; TRANSFER_TO_HOST_2D from another layout is refused.
 */
#pragma once

#include <stdint.h>

#include "link/link.h"
#include "virtio/device.h"

struct stats;
struct gpu;

/*
 * scanouts: 1 to LINK_MAX_HEADS, what num_scanouts tells the driver (virtio 1.2, section 5.7.4). All else is borrowed; stats may be NULL. A monitor is
 * 1280x800 until the first LINK_DISPLAY. Returns NULL with errno.
 */
struct gpu *gpu_create(const struct guest_memory *memory, struct link *link, uint32_t scanouts, struct stats *stats);
void gpu_destroy(struct gpu *gpu);
struct virtio_device *gpu_device(struct gpu *gpu);
/* A message of the panel for this producer: LINK_DISPLAY, LINK_VISIBLE, LINK_PRESENTED, LINK_RELEASED; others are ignored. Machine thread. */
void gpu_link_message(struct gpu *gpu, const struct link_message *message);
/*
 * Timers - fences, frames of a binding without a flush or of a disabled scanout, a link that was full - and the display event of what
 * gpu_link_message() changed since the last call. Returns when to call again at the latest (ns,
 * CLOCK_MONOTONIC; UINT64_MAX: nothing waits). run() and gpu_link_message() change that time: call it after them too, once for all that there were, it is cheap.
 * Machine thread.
 */
uint64_t gpu_tick(struct gpu *gpu, uint64_t now_ns);
