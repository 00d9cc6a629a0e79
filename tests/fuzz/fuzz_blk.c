/* Queue and disk through the PCI transport: what any guest can do to a virtio-blk device, with its own thread at work. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "base/stats.h"
#include "guest.h"
#include "virtio/blk.h"

#define DISK_SIZE 0x40000ull

enum {
	OP_REQUEST = OP_DEVICE, /* type a, sector d; data: (c >> 28 & 3) + 1 pieces of c & 0xfffff bytes in all at GUEST_DATA + (b << 4); c >> 30: odd directions */
	OP_RANGES,              /* discard or write zeroes (a & 1), n = a >> 1 & 31 ranges from sector d, c sectors each, flags b */
	OP_DISK,                /* first only: a & 1 read-only; handled at the start */
};

static const uint8_t ops[] = {
	OP_RAM, OP_DESC, OP_DESC_NEXT, OP_AVAIL, OP_AVAIL_INDEX, OP_KICK, OP_KICK, OP_COMMON_WRITE, OP_COMMON_READ, OP_BAR_WRITE, OP_BAR_READ, OP_CONFIG_WRITE,
	OP_HANDSHAKE, OP_RESET, OP_PAUSE, OP_SETTLE, OP_MSIX, OP_EVENT, OP_MOVE_BAR, OP_SELECT, OP_REQUEST, OP_REQUEST, OP_REQUEST, OP_RANGES, OP_RANGES,
};

const struct fuzz_target fuzz_target = {
	.operations = true, .ops = ops, .n_ops = ARRAY_LEN(ops), .values = guest_values, .n_values = GUEST_N_VALUES,
};

static struct stats stats;

void fuzz_start(void)
{
	log_set_level(LOG_WARN);
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
	char error[256];
	struct disk disk;
	struct disk_config config = { .memory_size = DISK_SIZE, .serial = "fuzz" };
	if (fuzz_op_at(data, size, 0, &op) && op.op == OP_DISK)
		config.readonly = op.a & 1;
	guest_init(&guest);
	FUZZ_CHECK(disk_open(&disk, &config, error, sizeof(error)) == 0, "%s", error);
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
	}
	guest_settle(&guest);
	FUZZ_CHECK(blk_size(blk) == DISK_SIZE, "the disk has %llu bytes", (unsigned long long)blk_size(blk));
	guest_detach(&guest);
	blk_destroy(blk);
	disk_close(&disk);
	guest_finish(&guest);
}
