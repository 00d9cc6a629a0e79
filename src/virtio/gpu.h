/*
 * virtio-gpu, 2D and guest blobs (virtio 1.2, section 5.7; no 3D). A producer on the link: SET_SCANOUT binds, RESOURCE_FLUSH publishes frames.
 * Runs on the machine's thread, which also owns the producer's end of the link.
 */
#pragma once

#include <stdint.h>

#include "link/link.h"
#include "virtio/device.h"

struct stats;
struct gpu;

/* The link is borrowed. Returns NULL with errno. */
struct gpu *gpu_create(const struct guest_memory *memory, struct link *link, struct stats *stats);
void gpu_destroy(struct gpu *gpu);
struct virtio_device *gpu_device(struct gpu *gpu);
/* A message of the panel for this producer: LINK_DISPLAY, LINK_VISIBLE, LINK_PRESENTED, LINK_RELEASED; others are ignored. Machine thread. */
void gpu_link_message(struct gpu *gpu, const struct link_message *message);
/* Timers: call at or after the time it returned (ns, CLOCK_MONOTONIC; UINT64_MAX: nothing waits) - fences, unpublished frames. Machine thread. Returns the next time. */
uint64_t gpu_tick(struct gpu *gpu, uint64_t now_ns);
