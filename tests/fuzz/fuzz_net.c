/* A network device between a hostile guest and a socket that stands for the tap: headers of any contents, packets of any size. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "base/stats.h"
#include "guest.h"
#include "virtio/net.h"

enum { RX, TX };
#define HEADER 12u

enum {
	OP_SEND = OP_DEVICE, /* header {flags a, gso_type a >> 4 (0x80: ECN), hdr_len d, gso_size d >> 16, csum_start d >> 32, csum_offset d >> 48}, c & 0xffff bytes in b & 7 pieces */
	OP_GIVE,             /* b & 63 buffers of c bytes */
	OP_WIRE,             /* b bytes come, the first 8 of them d; a & 1: what was sent is taken, a & 2: the wire is cut */
};

static const uint8_t ops[] = {
	OP_RAM, OP_DESC, OP_DESC_NEXT, OP_AVAIL, OP_AVAIL_INDEX, OP_KICK, OP_COMMON_WRITE, OP_BAR_WRITE, OP_BAR_READ, OP_HANDSHAKE, OP_RESET, OP_PAUSE, OP_STATE, OP_EVENT,
	OP_SEND, OP_SEND, OP_SEND, OP_GIVE, OP_GIVE, OP_WIRE, OP_WIRE,
};
static const uint64_t values[] = { 1514, 1526, 12, 11, 65550, 65551, 9014, 0x0006002200360001, 0x0006001405b40042, 1ull << 32 | 1 << 29, 1 << 0 | 1 << 11 | 1 << 15 };
const struct fuzz_target fuzz_target = { .operations = true, .ops = ops, .n_ops = ARRAY_LEN(ops), .values = values, .n_values = ARRAY_LEN(values) };

static struct stats stats;

void fuzz_start(void)
{
	log_set_level(LOG_WARN);
}

/* What the device passes on is a header and a packet, and no more than one packet can be. */
static void take_all(int wire)
{
	static uint8_t packet[1 << 17];
	ssize_t n;
	while ((n = recv(wire, packet, sizeof(packet), MSG_DONTWAIT)) > 0)
		FUZZ_CHECK(n > (ssize_t)HEADER && n <= 65550 + (ssize_t)HEADER, "a packet of %zd bytes", n);
}

static void send_packet(struct guest *guest, const struct fuzz_op *op)
{
	uint64_t at = GUEST_SCRATCH + 64ull * (guest->next_desc[TX] % 64);
	struct {
		uint8_t flags, gso_type;
		uint16_t fields[4], num_buffers;
	} header = { .flags = op->a & 7, .gso_type = (uint8_t)((op->a >> 4 & 7) | (op->a & 0x80)) };
	memcpy(header.fields, &op->d, sizeof(header.fields));
	guest_put(guest, at, &header, sizeof(header));
	uint32_t pieces = op->b & 7, size = op->c & 0xffff;
	struct guest_buffer buffers[9] = { { at, HEADER, false } };
	for (uint32_t i = 0; i < pieces; i++)
		buffers[1 + i] = (struct guest_buffer){ GUEST_DATA + 0x1000 * i, size / pieces, false };
	guest_add(guest, TX, buffers, 1 + pieces);
	guest_kick(guest, TX, 2);
}

static void from_wire(struct guest *guest, int *wire, const struct fuzz_op *op)
{
	static uint8_t packet[0x10000 + 16];
	if (*wire < 0)
		return;
	if (op->a & 1)
		take_all(*wire);
	memcpy(packet, &op->d, sizeof(op->d));
	if (op->b > 0)
		send(*wire, packet, op->b, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (op->a & 2) {
		close(*wire);
		*wire = -1;
	}
	guest_settle(guest);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct guest guest;
	struct fuzz_op op;
	int fd[2];
	guest_init(&guest);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) == 0, "no sockets: %s", strerror(errno));
	struct net_tap tap = { .fd = fd[0], .name = "fuzz0", .mac = { 2, 1, 2, 3, 4, 5 } };
	struct net *net = net_create(&guest.memory, &tap, &stats);
	FUZZ_CHECK(net != NULL, "no device");
	guest.own_thread = true;
	/* Both queues wait for the wire: one for packets, one for room. */
	guest.lazy = 1 << RX | 1 << TX;
	guest_attach(&guest, net_device(net), GUEST_SLOT);
	for (uint32_t i = 0; fuzz_op_at(data, size, i, &op); i++) {
		if (guest_do(&guest, &op))
			continue;
		if (op.op == OP_SEND) {
			send_packet(&guest, &op);
		} else if (op.op == OP_GIVE) {
			for (uint32_t n = 0; n < (op.b & 63u); n++)
				guest_add(&guest, RX, &(struct guest_buffer){ GUEST_DATA + 2048 * n, op.c, true }, 1);
			guest_kick(&guest, RX, 2);
		} else if (op.op == OP_WIRE) {
			from_wire(&guest, &fd[1], &op);
		}
	}
	if (fd[1] >= 0) {
		take_all(fd[1]);
		close(fd[1]);
	}
	guest_detach(&guest);
	net_destroy(net);
	close(fd[0]);
	guest_finish(&guest);
}
