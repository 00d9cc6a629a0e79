/* Consoles between a hostile guest and a control end that may lie as well: ports, control messages, floods both ways. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "base/console.h"
#include "base/log.h"
#include "base/stats.h"
#include "guest.h"
#include "virtio/console.h"

enum { RX0, TX0, CONTROL_RX, CONTROL_TX, RX1, TX1 };

enum {
	OP_CONTROL = OP_DEVICE, /* a control message of the guest: port a, event c, value b */
	OP_GIVE,                /* queue a & 7: b & 31 buffers of c bytes for the device to fill */
	OP_WRITE,               /* queue a & 7: b & 15 pieces of c & 0xffff bytes to the device */
	OP_PEER,                /* b bytes of input at port a & 1 */
	OP_ATTACH,              /* somebody attaches to port a & 1, or (a & 0x80) leaves */
	OP_READ,                /* the other end of port a & 1 takes all */
	OP_LIE,                 /* any message at port a & 1: type c, bytes d; a & 0x80: hangs up */
};

static const uint8_t ops[] = {
	OP_RAM, OP_DESC, OP_DESC_NEXT, OP_AVAIL, OP_AVAIL_INDEX, OP_KICK, OP_COMMON_WRITE, OP_BAR_WRITE, OP_BAR_READ, OP_HANDSHAKE, OP_RESET, OP_PAUSE, OP_STATE, OP_EVENT,
	OP_CONTROL, OP_CONTROL, OP_GIVE, OP_GIVE, OP_WRITE, OP_WRITE, OP_PEER, OP_ATTACH, OP_READ, OP_LIE,
};
const struct fuzz_target fuzz_target = {
	.operations = true, .ops = ops, .n_ops = ARRAY_LEN(ops), .values = guest_values, .n_values = GUEST_N_VALUES,
};

static struct stats stats;

void fuzz_start(void)
{
	log_set_level(LOG_WARN);
}

struct scene {
	struct guest guest;
	struct console_pairs pairs;
};

static int *peer(struct scene *scene, uint8_t port)
{
	return &scene->pairs.control[port & 1 ? CONSOLE_AGENT : CONSOLE_HVC0];
}

static void say(struct scene *scene, uint8_t port, uint8_t type, const void *bytes, size_t size)
{
	uint8_t message[CONSOLE_MESSAGE + 64] = { type };
	if (size > sizeof(message) - 1)
		size = sizeof(message) - 1;
	memcpy(message + 1, bytes, size);
	if (*peer(scene, port) >= 0)
		send(*peer(scene, port), message, size + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void read_all(struct scene *scene, uint8_t port)
{
	uint8_t message[CONSOLE_MESSAGE + 64];
	ssize_t n;
	while (*peer(scene, port) >= 0 && (n = recv(*peer(scene, port), message, sizeof(message), MSG_DONTWAIT)) > 0)
		FUZZ_CHECK(n <= (ssize_t)CONSOLE_MESSAGE && message[0] <= CONSOLE_TAKEN, "a message of %zd bytes, type %u", n, message[0]);
}

static void do_op(struct scene *scene, const struct fuzz_op *op)
{
	static uint8_t zeros[0x10000];
	struct guest *guest = &scene->guest;
	uint32_t queue = op->a & 7;
	switch (op->op) {
	case OP_CONTROL: {
		uint64_t at = GUEST_SCRATCH + 16ull * (guest->next_desc[CONTROL_TX] % 64);
		const uint16_t message[4] = { op->a, (uint16_t)(op->d >> 48), (uint16_t)op->c, op->b };
		guest_put(guest, at, message, sizeof(message));
		guest_add(guest, CONTROL_TX, &(struct guest_buffer){ at, sizeof(message), false }, 1);
		guest_kick(guest, CONTROL_TX, 2);
		guest_settle(guest);
		break;
	}
	case OP_GIVE:
		for (uint32_t i = 0; i < (op->b & 31u); i++)
			guest_add(guest, queue, &(struct guest_buffer){ GUEST_DATA + 64 * i, op->c, true }, 1);
		guest_kick(guest, queue, 2);
		break;
	case OP_WRITE:
		for (uint32_t i = 0; i < (op->b & 15u); i++)
			guest_add(guest, queue, &(struct guest_buffer){ GUEST_DATA + 0x1000 * i, op->c & 0xffff, false }, 1);
		guest_kick(guest, queue, 2);
		guest_settle(guest);
		break;
	case OP_PEER:
		say(scene, op->a, CONSOLE_DATA, zeros, op->b);
		break;
	case OP_ATTACH:
		say(scene, op->a, op->a & 0x80 ? CONSOLE_DETACH : CONSOLE_ATTACH, zeros, 0);
		break;
	case OP_READ:
		read_all(scene, op->a);
		break;
	case OP_LIE:
		say(scene, op->a, (uint8_t)op->c, &op->d, op->b & 8 ? 8 : op->b & 7);
		if (op->a & 0x80 && *peer(scene, op->a) >= 0) {
			close(*peer(scene, op->a));
			*peer(scene, op->a) = -1;
		}
		break;
	default:
		guest_do(guest, op);
	}
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct scene scene;
	struct fuzz_op op;
	guest_init(&scene.guest);
	FUZZ_CHECK(console_pairs_open(&scene.pairs) == 0, "no sockets: %s", strerror(errno));
	const int fd[CONSOLE_PORTS] = { scene.pairs.machine[CONSOLE_HVC0], scene.pairs.machine[CONSOLE_AGENT] };
	struct console *console = console_create(&scene.guest.memory, fd, &stats);
	FUZZ_CHECK(console != NULL, "no device");
	scene.guest.own_thread = true;
	/* A writer on the agent's port waits while its reader does not read. */
	scene.guest.lazy = 1 << RX0 | 1 << CONTROL_RX | 1 << RX1 | 1 << TX1;
	guest_attach(&scene.guest, console_device(console), GUEST_SLOT);
	for (uint32_t i = 0; fuzz_op_at(data, size, i, &op); i++)
		do_op(&scene, &op);
	guest_settle(&scene.guest);
	guest_detach(&scene.guest);
	console_destroy(console);
	console_pairs_close(&scene.pairs);
	guest_finish(&scene.guest);
}
