/* A virtio-gpu between a driver made for tests and a panel that is only its checked table. One at a time, one thread. */
#pragma once

#include <errno.h>

#include "../virtio/driver.h"
#include "link/table.h"
#include "unit.h"
#include "virtio/gpu_internal.h"

#define RAM (64ull << 20)
#define SLOTS 32           /* commands in flight */
#define REPLY_ROOM 2048

struct fixture {
	struct driver d;
	struct link *link;
	struct stats *stats;
	struct gpu *gpu;
	struct link_table *table;
	uint64_t request_gpa, reply_gpa, entries_gpa;
	uint32_t next_slot;
	bool done[256];       /* control chains by head */
	uint32_t length[256];
	uint32_t answers;     /* of the control queue, in sum */
	/* What the panel saw. */
	bool keep_released;   /* the panel holds on to dead buffers */
	bool real_panel;      /* the link's other end is another thread's: panel() takes what that has sent */
	uint32_t frames, no_frames, buffers, deaths, cursors;
	struct link_message last_frame, last_cursor;
};

extern struct fixture f;

/* With one scanout, and with as many as there can be. */
void setup(void);
void setup_extended(void);
/* Resets the device and asserts that nothing is left of what the guest made. */
void teardown(void);

/* A command on its way. */
struct posted {
	uint16_t head;
	uint64_t reply_gpa;
};

/* Makes a command available: `size` bytes, then n entries; room: bytes for the reply, filled with 0xaa before. */
struct posted post(const void *command, uint32_t size, const struct virtio_gpu_mem_entry *entries, uint32_t n, uint32_t room);
/* Kicks and lets the device work until nothing is left; then what the panel got is taken. */
void work_off(void);
bool answered(struct posted posted);
/* post, work, and the type of the reply; asserts that it came. */
uint32_t command(const void *command, uint32_t size);
uint32_t command_entries(const void *command, uint32_t size, const struct virtio_gpu_mem_entry *entries, uint32_t n);
const void *reply_of(struct posted posted);

/* The panel takes all messages; the table must accept each (not a real one's). Dead buffers are released unless keep_released. */
void panel(void);
void presented(uint64_t sequence);
void presented_on(uint32_t head, uint64_t sequence);
/* LINK_DISPLAY of a head, without the tick that ends the batch; width 0: none. */
void tell_display(uint32_t head, uint32_t width, uint32_t height, uint32_t mhz);

/* Shorthands; each returns the type of the reply. */
uint32_t create_2d(uint32_t id, uint32_t width, uint32_t height);
uint32_t attach(uint32_t id, uint64_t gpa, uint32_t bytes);
uint32_t detach(uint32_t id);
uint32_t unref(uint32_t id);
uint32_t create_blob(uint32_t id, uint64_t size, uint64_t gpa, uint32_t bytes);
uint32_t set_scanout(uint32_t id, uint32_t w, uint32_t h);
uint32_t set_scanout_on(uint32_t scanout, uint32_t id, uint32_t w, uint32_t h);
uint32_t set_scanout_blob(uint32_t id, uint32_t w, uint32_t h, uint32_t stride, uint32_t offset);
uint32_t transfer(uint32_t id, struct virtio_gpu_rect r, uint64_t offset);
uint32_t flush(uint32_t id, struct virtio_gpu_rect r);
struct posted post_flush(uint32_t id, struct virtio_gpu_rect r, uint64_t fence);
/* 2D resource of width x height with a backing in fresh memory, bound to head 0. Returns the backing's address. */
uint64_t make_scanout(uint32_t id, uint32_t w, uint32_t h);
