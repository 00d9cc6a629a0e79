/* Queue and disk through the PCI transport: what any guest can do to a virtio-blk device, with its own thread at work. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "base/stats.h"
#include "guest.h"
#include "virtio/blk.h"

#define DISK_SIZE 0x40000ull

enum {
	OP_REQUEST = OP_DEVICE, /* type a, sector d; data: (c >> 28 & 3) + 1 pieces of c & 0xfffff bytes in all at GUEST_DATA + (b << 4); c >> 30: odd directions */
	OP_RANGES,              /* discard or write zeroes (a & 1), n = a >> 1 & 31 ranges from sector d, c sectors each, flags b */
	OP_DISK,                /* first only: kind of disk a (struct disk_config) */
	OP_FILE,                /* the disk's file shrinks to b sectors (0: grows back) */
};

static const uint8_t ops[] = {
	OP_RAM, OP_DESC, OP_DESC_NEXT, OP_AVAIL, OP_AVAIL_INDEX, OP_KICK, OP_KICK, OP_COMMON_WRITE, OP_COMMON_READ, OP_BAR_WRITE, OP_BAR_READ, OP_CONFIG_WRITE,
	OP_HANDSHAKE, OP_RESET, OP_PAUSE, OP_STATE, OP_SETTLE, OP_MSIX, OP_EVENT, OP_MOVE_BAR, OP_SELECT, OP_REQUEST, OP_REQUEST, OP_REQUEST, OP_RANGES, OP_RANGES, OP_FILE,
};

const struct fuzz_target fuzz_target = {
	.operations = true, .ops = ops, .n_ops = ARRAY_LEN(ops), .values = guest_values, .n_values = GUEST_N_VALUES,
};

static struct stats stats;
static int file_fd;
static char file_path[32];

void fuzz_start(void)
{
	log_set_level(LOG_WARN);
	file_fd = memfd_create("fuzz-disk", MFD_CLOEXEC);
	FUZZ_CHECK(file_fd >= 0, "no file");
	snprintf(file_path, sizeof(file_path), "/proc/self/fd/%d", file_fd);
}

/* Bits of the first operation: 1 read-only, 2 a file (of memory), 4 overlay, 8 threads, 16 | 32 cache, 64 four queues, 128 a small io_uring. */
static struct disk_config kind_of(const uint8_t *data, size_t size)
{
	struct fuzz_op op;
	struct disk_config config = { .memory_size = DISK_SIZE, .serial = "fuzz" };
	if (!fuzz_op_at(data, size, 0, &op) || op.op != OP_DISK)
		return config;
	config.readonly = op.a & 1;
	if (op.a & 2) {
		config.path = file_path;
		config.overlay = op.a & 4;
		config.cache = op.a & 32 ? DISK_DIRECT : op.a & 16 ? DISK_WRITETHROUGH : DISK_WRITEBACK;
		config.overlay_limit = op.a & 16 ? 65536 : 0;
	}
	config.aio = op.a & 8 ? DISK_AIO_THREADS : DISK_AIO_DEFAULT;
	config.queues = op.a & 64 ? 4 : 1;
	return config;
}

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

/* A place of its own for each request's header and status, round robin. */
static uint64_t scratch(struct guest *guest)
{
	return GUEST_SCRATCH + 512ull * (guest->next_desc[0] % 64);
}

static void request(struct guest *guest, const struct fuzz_op *op)
{
	uint64_t at = scratch(guest), data = GUEST_DATA + ((uint64_t)op->b << 4);
	struct header header = { .type = op->a, .sector = op->d };
	guest_put(guest, at, &header, sizeof(header));
	bool in = op->a == 0 || op->a == 8;
	if (op->c & 0x40000000)
		in = !in;
	uint32_t pieces = (op->c >> 28 & 3) + 1, length = op->c & 0xfffff, part = length / pieces;
	struct guest_buffer buffers[6];
	uint32_t n = 0;
	buffers[n++] = (struct guest_buffer){ at, sizeof(header), false };
	for (uint32_t i = 0; length > 0 && i < pieces; i++) {
		uint32_t size = i + 1 < pieces ? part : length - part * (pieces - 1);
		buffers[n++] = (struct guest_buffer){ data, size, in };
		data += size;
	}
	if (!(op->c & 0x80000000))
		buffers[n++] = (struct guest_buffer){ at + 256, 1, true };
	guest_add(guest, 0, buffers, n);
}

static void ranges(struct guest *guest, const struct fuzz_op *op)
{
	uint64_t at = scratch(guest);
	struct header header = { .type = op->a & 1 ? 13 : 11 };
	uint32_t n = op->a >> 1 & 31;
	guest_put(guest, at, &header, sizeof(header));
	for (uint32_t i = 0; i < n; i++) {
		struct range range = { op->d + (uint64_t)i * op->c, op->c, op->b };
		guest_put(guest, GUEST_DATA + i * sizeof(range), &range, sizeof(range));
	}
	const struct guest_buffer buffers[] = { { at, sizeof(header), false }, { GUEST_DATA, n * (uint32_t)sizeof(struct range), false }, { at + 256, 1, true } };
	guest_add(guest, 0, buffers, 3);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct guest guest;
	struct fuzz_op op;
	struct disk disk;
	char error[256];
	const struct disk_config config = kind_of(data, size);
	FUZZ_CHECK(ftruncate(file_fd, 0) == 0 && ftruncate(file_fd, (off_t)DISK_SIZE) == 0, "no file");
	guest_init(&guest);
	if (disk_open(&disk, &config, error, sizeof(error)) < 0) {
		/* Kernels before 6.6 have no O_DIRECT on a memfd, and an overlay has no use for some options. */
		FUZZ_CHECK(config.path != NULL, "%s", error);
		guest_finish(&guest);
		return;
	}
	if (fuzz_op_at(data, size, 0, &op) && op.op == OP_DISK && op.a & 128)
		disk.ring_entries = 2;
	struct blk *blk = blk_create(&guest.memory, &disk, &stats, error, sizeof(error));
	FUZZ_CHECK(blk != NULL, "%s", error);
	guest.own_thread = true;
	guest_attach(&guest, blk_device(blk), GUEST_SLOT);
	for (uint32_t i = 0; fuzz_op_at(data, size, i, &op); i++) {
		if (guest_do(&guest, &op))
			continue;
		if (op.op == OP_REQUEST)
			request(&guest, &op);
		else if (op.op == OP_RANGES)
			ranges(&guest, &op);
		else if (op.op == OP_FILE && op.b % 1024 <= DISK_SIZE / 512) {
			FUZZ_CHECK(ftruncate(file_fd, op.b % 1024 == 0 ? (off_t)DISK_SIZE : (off_t)(op.b % 1024) * 512) == 0, "no file");
			blk_resize(blk);
		}
	}
	guest_settle(&guest);
	FUZZ_CHECK(blk_size(blk) <= DISK_SIZE, "the disk has %llu bytes", (unsigned long long)blk_size(blk));
	FUZZ_CHECK(!blk_is_stuck(blk), "requests are given up on a disk that works");
	guest_detach(&guest);
	blk_destroy(blk);
	disk_close(&disk);
	struct stat st;
	FUZZ_CHECK(fstat(file_fd, &st) == 0 && st.st_size <= (off_t)DISK_SIZE, "the file grew to %lld bytes", (long long)st.st_size);
	guest_finish(&guest);
}
