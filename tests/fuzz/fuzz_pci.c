/*
 * The bus: config space by ECAM and ports, BAR moves with ioeventfds, MSI-X - with three devices that can get in each other's
 * way. After every operation what is decoded must make sense as a whole (P1).
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "guest.h"

#define DEVICES 3
#define CONFIG_SIZE 13

struct echo {
	struct virtio_device device;
	struct virtio_pci *transport;
	uint8_t config[CONFIG_SIZE];
};

static void config_read(struct virtio_device *device, uint32_t offset, void *data, uint32_t size)
{
	memcpy(data, container_of(device, struct echo, device)->config + offset, size);
}

static void config_write(struct virtio_device *device, uint32_t offset, const void *data, uint32_t size)
{
	memcpy(container_of(device, struct echo, device)->config + offset, data, size);
}

static void reset(struct virtio_device *device)
{
	(void)device;
}

/* Answers every chain with what it holds. */
static bool echo_run(struct virtio_device *device, uint32_t index)
{
	static struct virtq_chain chain;
	uint8_t bytes[300];
	const char *why;
	bool more = false;
	pthread_mutex_lock(&device->lock);
	for (int i = 0; device->live; i++) {
		more = i == 16;
		if (more)
			break;
		int got = virtq_pop(&device->queue[index], &chain, &why);
		if (got < 0)
			virtio_needs_reset(device, why);
		if (got == 0 && virtq_rearm(&device->queue[index]))
			continue;
		if (got <= 0)
			break;
		uint64_t n = virtq_chain_read(&chain, chain.out_size / 3, bytes, sizeof(bytes));
		n = virtq_chain_write(&chain, chain.in_size / 3, bytes, n);
		virtq_push(&device->queue[index], chain.head, (uint32_t)n);
	}
	if (device->live)
		virtio_notify_queue(device, index);
	pthread_mutex_unlock(&device->lock);
	return more;
}

static const struct virtio_device_ops echo_ops = { .config_read = config_read, .config_write = config_write, .reset = reset, .run = echo_run };

enum {
	OP_SIGNAL = OP_DEVICE, /* device b % 3: interrupt of vector a; b & 0x100: config change; b & 0x200: needs reset */
	OP_OTHER,              /* from now on operations are for device a % 3 */
	OP_BUS_RESET,
};

static const uint8_t ops[] = {
	OP_COMMON_WRITE, OP_COMMON_READ, OP_BAR_WRITE, OP_BAR_READ, OP_CONFIG_WRITE, OP_CONFIG_WRITE, OP_CONFIG_READ, OP_PORT_WRITE, OP_PORT_WRITE, OP_PORT_READ,
	OP_MMIO_WRITE, OP_MMIO_READ, OP_HANDSHAKE, OP_RESET, OP_MSIX, OP_REFUSE, OP_MOVE_BAR, OP_MOVE_BAR, OP_MOVE_BAR, OP_SELECT, OP_PAUSE, OP_STATE, OP_STATE, OP_KICK, OP_DESC, OP_AVAIL,
	OP_SIGNAL, OP_SIGNAL, OP_OTHER, OP_BUS_RESET,
};

const struct fuzz_target fuzz_target = {
	.operations = true, .ops = ops, .n_ops = ARRAY_LEN(ops), .values = guest_values, .n_values = GUEST_N_VALUES,
};

void fuzz_start(void)
{
	log_set_level(LOG_WARN);
}

static bool in_window(uint64_t gpa, uint64_t size, uint64_t base)
{
	return gpa >= base && size <= GUEST_WINDOW_SIZE && gpa - base <= GUEST_WINDOW_SIZE - size;
}

/*
 * A BAR is decoded nowhere or whole inside a window, at the place its register names; no two overlap; each queue's notification
 * signals its own eventfd exactly where the BAR is, unless the hypervisor refused one.
 */
static void check_bus(struct guest *guest, struct echo *echo)
{
	uint32_t expected = 0;
	for (uint32_t i = 0; i < DEVICES; i++) {
		/* struct virtio_pci begins with its PCI device. */
		const struct pci_device *pci = (const struct pci_device *)(const void *)echo[i].transport;
		uint64_t gpa = pci->bar[0].gpa, size = pci->bar[0].size;
		if (gpa == PCI_BAR_UNMAPPED)
			continue;
		expected += echo[i].device.n_queues;
		FUZZ_CHECK(in_window(gpa, size, GUEST_WINDOW32) || in_window(gpa, size, GUEST_WINDOW64), "a BAR at 0x%llx", (unsigned long long)gpa);
		FUZZ_CHECK(gpa % size == 0, "a BAR at 0x%llx is not aligned", (unsigned long long)gpa);
		FUZZ_CHECK(pci->config[4] & 2, "a BAR is decoded that was switched off");
		for (uint32_t j = 0; j < i; j++) {
			uint64_t other = ((const struct pci_device *)(const void *)echo[j].transport)->bar[0].gpa;
			FUZZ_CHECK(other == PCI_BAR_UNMAPPED || other + size <= gpa || gpa + size <= other, "BARs overlap at 0x%llx and 0x%llx",
				(unsigned long long)gpa, (unsigned long long)other);
		}
		for (uint32_t k = 0; k < guest->n_ioeventfds; k++)
			for (uint32_t q = 0; q < echo[i].device.n_queues; q++)
				if (guest->ioeventfd[k].fd == echo[i].device.kick_fd[q])
					FUZZ_CHECK(guest->ioeventfd[k].gpa == gpa + 0x3000 + 4 * q, "the ioeventfd of queue %u is left at 0x%llx", q,
						(unsigned long long)guest->ioeventfd[k].gpa);
	}
	FUZZ_CHECK(guest->n_ioeventfds <= expected && (guest->n_ioeventfds == expected || guest->refused > 0), "%u ioeventfds, %u expected", guest->n_ioeventfds, expected);
}

static void do_op(struct guest *guest, struct echo *echo, const struct fuzz_op *op)
{
	struct virtio_device *device = &echo[op->b % DEVICES].device;
	switch (op->op) {
	case OP_SIGNAL:
		/* struct virtio_pci begins with its PCI device. */
		msix_signal((struct pci_device *)(void *)echo[op->b % DEVICES].transport, op->a);
		pthread_mutex_lock(&device->lock);
		if (op->b & 0x100)
			virtio_notify_config(device);
		if (op->b & 0x200)
			virtio_needs_reset(device, "fuzz");
		pthread_mutex_unlock(&device->lock);
		break;
	case OP_OTHER:
		guest->device = &echo[op->a % DEVICES].device;
		guest->transport = echo[op->a % DEVICES].transport;
		guest->slot = (uint8_t)(GUEST_SLOT + op->a % DEVICES);
		break;
	case OP_BUS_RESET:
		pci_bus_reset(guest->bus);
		break;
	default:
		guest_do(guest, op);
	}
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct guest guest;
	struct echo echo[DEVICES];
	struct fuzz_op op;
	guest_init(&guest);
	for (uint32_t i = 0; i < DEVICES; i++) {
		memset(&echo[i], 0, sizeof(echo[i]));
		FUZZ_CHECK(virtio_device_init(&echo[i].device, &echo_ops, "echo", VIRTIO_ID_RNG, 1 << 5, i == 2 ? 0 : CONFIG_SIZE, i + 1, 64, &guest.memory) == 0, "no device");
		guest_attach(&guest, &echo[i].device, (uint8_t)(GUEST_SLOT + i));
		echo[i].transport = guest.transport;
	}
	check_bus(&guest, echo);
	for (uint32_t i = 0; fuzz_op_at(data, size, i, &op); i++) {
		do_op(&guest, echo, &op);
		check_bus(&guest, echo);
	}
	for (uint32_t i = 0; i < DEVICES; i++) {
		guest.device = &echo[i].device;
		guest.transport = echo[i].transport;
		guest_settle(&guest);
		guest_detach(&guest);
		virtio_device_finish(&echo[i].device);
	}
	FUZZ_CHECK(guest.n_ioeventfds == 0, "%u ioeventfds stay behind", guest.n_ioeventfds);
	guest_finish(&guest);
}
