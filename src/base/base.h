/*
 * base - what every room stands on: log and markers, clock, threads, mailbox, histogram, status board.
 *
 * May include libc only (and libwayland-server for the event loop a mailbox is attached to). Knows no room.
 * Everything here may be called from any thread unless its comment says otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define NSEC_PER_SEC 1000000000ull
#define NSEC_PER_MSEC 1000000ull
#define NSEC_PER_USEC 1000ull

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* CLOCK_MONOTONIC in nanoseconds: the clock of evdev events (after EVIOCSCLOCKID), of page-flip events and of this program. */
uint64_t clock_now_ns(void);

/* True and the sum/product in *out, or false when it does not fit into 64 bits. */
static inline bool add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

static inline bool mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}

/* "512M", "4g", "1048576" (bytes; k, M, G, T are powers of 1024): false when it is not a size or does not fit. */
bool size_parse(const char *text, uint64_t *bytes);

static inline uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint32_t max_u32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* A rectangle in pixels; empty when a side is 0. */
struct rect {
	uint32_t x, y, w, h;
};

static inline bool rect_empty(const struct rect *r)
{
	return r->w == 0 || r->h == 0;
}

/* Smallest rectangle that holds both; an empty one adds nothing. */
struct rect rect_union(struct rect a, struct rect b);
/* What both share; empty (all zero) when nothing. Sums are taken in 64 bits, so any input is safe. */
struct rect rect_intersect(struct rect a, struct rect b);
