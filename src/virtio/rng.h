/*
 * virtio-rng (virtio 1.2, section 5.4): random bytes of the host's kernel. The caller's thread polls its kick_fd and calls
 * ops->run, and rng_tick() by the clock. What a guest takes is bounded, so that one that asks for ever costs that thread little.
 */
#pragma once

#include <stdint.h>

#include "virtio/device.h"

/* In each window of time; a request counts as RNG_COST bytes at least. */
#define RNG_WINDOW_BYTES 65536u
#define RNG_WINDOW_NS 100000000ull
#define RNG_COST 64u

struct rng;

/* NULL with errno. */
struct rng *rng_create(const struct guest_memory *memory);
void rng_destroy(struct rng *rng);
struct virtio_device *rng_device(struct rng *rng);
/* Goes on with requests that found the window used up, by a kick to itself; returns when to call again, UINT64_MAX: nothing waits. The thread of ops->run. */
uint64_t rng_tick(struct rng *rng, uint64_t now_ns);
