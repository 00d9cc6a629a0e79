/*
 * A hostile guest: RAM with inaccessible pages around it, a bus over a fake KVM, and operations (fuzz.h) that do what a guest
 * can do to a virtio device - registers of every width, rings, notifications, resets, BAR moves, MSI-X.
 *
 * RAM is a memfd in two regions with a hole between, as in a machine above 3 GiB but small. Each queue has its rings at a fixed
 * place, so that operations can reach them by number; the guest may put them elsewhere.
 */
#pragma once

#include "fuzz.h"
#include "virtio/device.h"
#include "vmm/memory.h"
#include "vmm/pci.h"

#define GUEST_LOW_SIZE 0xa0000ull
#define GUEST_HIGH 0x100000000ull
#define GUEST_HIGH_SIZE 0x10000ull
#define GUEST_RINGS 0x10000ull      /* queue q's at GUEST_RINGS + q * GUEST_RING_STRIDE */
#define GUEST_RING_STRIDE 0x8000ull /* of eight queues; there is room for the largest */
#define GUEST_AVAIL 0x4000ull       /* from there */
#define GUEST_USED 0x5000ull
#define GUEST_SCRATCH 0x50000ull    /* requests: headers, commands, replies */
#define GUEST_DATA 0x60000ull
#define GUEST_ECAM 0xe0000000ull
#define GUEST_WINDOW32 0xc0000000ull
#define GUEST_WINDOW64 0x800000000ull
#define GUEST_WINDOW_SIZE 0x10000000ull
#define GUEST_SLOT 3
#define GUEST_IOEVENTFDS 64
#define GUEST_STATE_MAX 0x40000u

struct guest {
	struct guest_memory memory;
	struct pci_bus *bus;
	struct virtio_device *device;
	struct virtio_pci *transport;
	uint8_t slot;
	bool own_thread;   /* the device works by itself; else guest_settle() runs it */
	bool paused;
	uint32_t lazy;     /* queues (a bit each) whose chains may rightly wait for ever: receive queues */
	uint8_t *state;    /* what OP_STATE saved, GUEST_STATE_MAX bytes of room */
	uint32_t state_size;
	uint16_t next_desc[VIRTIO_MAX_QUEUES]; /* of chains that requests build */

	/* The fake KVM. */
	pthread_mutex_t lock;
	struct {
		uint64_t gpa;
		int fd;
	} ioeventfd[GUEST_IOEVENTFDS];
	uint32_t n_ioeventfds;
	uint32_t refuse; /* so many of the next calls fail */
	uint32_t refused;
	uint64_t injected;
	int fds; /* fuzz_next_fd() at the start */
};

/* Operations of every virtio target. Numbers are in the corpus: only add. */
enum guest_op {
	OP_RAM = 0,     /* writes the low bytes of d, 1 << (a & 3), at c (a & 0x80: above 4 GiB) */
	OP_DESC,        /* queue a & 7: descriptor b = {addr d, len c, flags a >> 3 & 7, next b + 1} */
	OP_DESC_NEXT,   /* queue a & 7: descriptor b: next = c, flags |= d */
	OP_AVAIL,       /* queue a & 7: head b made available (c: so many times more) */
	OP_AVAIL_INDEX, /* queue a & 7: available index += b, flags = c */
	OP_KICK,        /* queue a & 7, width 1 << (a >> 3 & 3); waits until the device is done unless b & 1 */
	OP_COMMON_WRITE, /* register a, width 1 << (b & 3), value d */
	OP_COMMON_READ,
	OP_BAR_WRITE,   /* offset c, width 1 << (a & 3), value d */
	OP_BAR_READ,
	OP_CONFIG_WRITE, /* ECAM: own slot (a & 0x80: slot a >> 2 & 31), register b, width 1 << (a & 3), value d */
	OP_CONFIG_READ,
	OP_PORT_WRITE,  /* address c to 0xcf8 unless a & 0x80, then value d, width 1 << (a & 3), to port 0xcfc + (a >> 2 & 7) */
	OP_PORT_READ,
	OP_MMIO_WRITE,  /* at d, width 1 << (a & 3), value c */
	OP_MMIO_READ,
	OP_HANDSHAKE,   /* features d, queues of b entries, mask a of queues left out; to DRIVER_OK */
	OP_RESET,       /* status 0; a & 1: system reset */
	OP_PAUSE,       /* a & 1: resume */
	OP_SETTLE,
	OP_MSIX,        /* vector a & 31: address c, data d, masked b & 1; b & 2: capability's enable, b & 4: mask all */
	OP_EVENT,       /* queue a & 7: used_event = b, c: used index and flags overwritten */
	OP_REFUSE,      /* the next a calls of the hypervisor fail */
	OP_MOVE_BAR,    /* own slot: BAR register to d, memory decoding off and on again when a & 1 */
	OP_SELECT,      /* queue_select = b */
	OP_STATE,       /* while paused: a & 1 save, a & 2 d over byte c of it (a & 32: of the end), a & 4 size b, a & 8 load; a & 16: the bus, not the device */
	GUEST_OPS,
	OP_DEVICE = 32, /* the device's own from here */
};

/* RAM and bus. The same memory serves all inputs, zeroed. */
void guest_init(struct guest *guest);
/* On the bus at `slot`, decoded, MSI-X on. */
void guest_attach(struct guest *guest, struct virtio_device *device, uint8_t slot);
/* From the bus, checking that nothing of it is left with the hypervisor. */
void guest_detach(struct guest *guest);
void guest_finish(struct guest *guest);

/* Carries out op when it is one of guest_op; false when it is not. */
bool guest_do(struct guest *guest, const struct fuzz_op *op);
/* Lets the device work until every queue is quiet; fails when that takes for ever, or when a chain gets no answer or two. */
void guest_settle(struct guest *guest);

/* As a vCPU does it: an ioeventfd first, then the bus. Any width. */
void guest_write(struct guest *guest, uint64_t gpa, uint64_t value, uint32_t size);
uint64_t guest_read(struct guest *guest, uint64_t gpa, uint32_t size);
uint64_t guest_bar(struct guest *guest);
/* To DRIVER_OK with these features of those offered, queues of `size`, but those in `without`. */
void guest_handshake(struct guest *guest, uint64_t features, uint16_t size, uint8_t without);
/* Copies what is RAM; the rest is left out. */
void guest_put(struct guest *guest, uint64_t gpa, const void *bytes, uint64_t size);

struct guest_buffer {
	uint64_t gpa;
	uint32_t size;
	bool write; /* for the device */
};
/* A chain of n buffers in the descriptors that come next, made available. */
void guest_add(struct guest *guest, uint32_t queue, const struct guest_buffer *buffers, uint32_t n);
void guest_kick(struct guest *guest, uint32_t queue, uint32_t size);

/* Numbers with a meaning to operations: addresses, edges of RAM and windows, feature bits. */
#define GUEST_N_VALUES 31
extern const uint64_t guest_values[GUEST_N_VALUES];
