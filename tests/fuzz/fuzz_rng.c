/* Random bytes for a guest that asks for ever, through the PCI transport. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "guest.h"
#include "virtio/rng.h"

enum {
	OP_TICK = OP_DEVICE, /* the clock d & 0xffffffff nanoseconds on */
	OP_ASK,              /* a buffers of c bytes, made available */
};

static const uint8_t ops[] = {
	OP_RAM, OP_DESC, OP_DESC_NEXT, OP_AVAIL, OP_AVAIL_INDEX, OP_KICK, OP_KICK, OP_COMMON_WRITE, OP_BAR_WRITE, OP_BAR_READ, OP_HANDSHAKE, OP_RESET, OP_PAUSE, OP_STATE,
	OP_EVENT, OP_TICK, OP_ASK,
};
const struct fuzz_target fuzz_target = {
	.operations = true, .ops = ops, .n_ops = ARRAY_LEN(ops), .values = guest_values, .n_values = GUEST_N_VALUES,
};

void fuzz_start(void)
{
	log_set_level(LOG_WARN);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct guest guest;
	struct fuzz_op op;
	uint64_t now_ns = clock_now_ns();
	guest_init(&guest);
	struct rng *rng = rng_create(&guest.memory);
	FUZZ_CHECK(rng != NULL, "no device");
	guest_attach(&guest, rng_device(rng), GUEST_SLOT);
	for (uint32_t i = 0; fuzz_op_at(data, size, i, &op); i++) {
		if (guest_do(&guest, &op))
			continue;
		if (op.op == OP_TICK) {
			now_ns += (uint32_t)op.d;
			rng_tick(rng, now_ns);
			guest_settle(&guest);
		} else if (op.op == OP_ASK) {
			for (uint32_t n = 0; n < op.a; n++)
				guest_add(&guest, 0, &(struct guest_buffer){ GUEST_DATA, op.c, true }, 1);
		}
	}
	guest_settle(&guest);
	guest_detach(&guest);
	rng_destroy(rng);
	guest_finish(&guest);
}
