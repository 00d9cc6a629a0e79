/* virtio-net: packets, from the ring to the tap and back. virtio 1.2, section 5.1. */
#include "virtio/net.h"

#define LOG_MODULE "net"
#include "base/base.h"
#include "base/log.h"
#include "base/stats.h"
#include "base/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define QUEUE_SIZE 256
#define BATCH 64 /* packets under one lock */

enum { RX, TX, QUEUES };

/* Section 5.1.3: feature bits. No control queue, so none that needs one. */
#define F_CSUM (1ull << 0)
#define F_GUEST_CSUM (1ull << 1)
#define F_MAC (1ull << 5)
#define F_GUEST_TSO4 (1ull << 7)
#define F_GUEST_TSO6 (1ull << 8)
#define F_GUEST_ECN (1ull << 9)
#define F_HOST_TSO4 (1ull << 11)
#define F_HOST_TSO6 (1ull << 12)
#define F_HOST_ECN (1ull << 13)
#define F_MRG_RXBUF (1ull << 15)
#define F_STATUS (1ull << 16)
#define FEATURES \
	(F_CSUM | F_GUEST_CSUM | F_MAC | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN | F_HOST_TSO4 | F_HOST_TSO6 | F_HOST_ECN | F_MRG_RXBUF | F_STATUS)

/* Section 5.1.4; without the fields of features that are not offered. */
struct config_space {
	uint8_t mac[6];
	uint16_t status;
};
#define STATUS_LINK_UP 1

/* Section 5.1.6. */
struct header {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
_Static_assert(sizeof(struct header) == 12, "section 5.1.6");
#define HDR_NEEDS_CSUM 1
enum { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_ECN = 0x80 };

#define ETHERNET_HEADER 14u
#define PACKET_MAX 65550u /* 64 KiB of IP and the header before it: the largest that a tap takes or gives */
#define FRAME_MAX (sizeof(struct header) + PACKET_MAX)

struct net {
	struct virtio_device device;
	const struct net_tap *tap; /* borrowed */
	struct stats *stats;       /* borrowed, may be NULL */
	int stop_fd;
	pthread_t thread;
	struct log_limit down_limit;
	/* Under the device's lock. */
	bool paused;
	bool link_up;           /* the tap still exists */
	bool offload_due;       /* the driver's wishes have not been asked of the tap yet */
	/* The net thread's. */
	bool tap_full;          /* packets of the guest wait until it takes more */
	bool ring_full;         /* a frame waits for buffers of the guest */
	uint32_t frame_size;    /* of what waits in frame; 0: nothing */
	uint8_t frame[FRAME_MAX];
	struct virtq_chain chain, first; /* scratch */
};

static struct net *of(struct virtio_device *device)
{
	return container_of(device, struct net, device);
}

static bool works(const struct net *net)
{
	return net->device.live && !net->paused && net->link_up;
}

static void count_dropped(struct net *net)
{
	if (net->stats != NULL)
		atomic_fetch_add_explicit(&net->stats->net_dropped, 1, memory_order_relaxed);
}

/* The interface was removed under us. */
static void lose_tap(struct net *net, int error)
{
	log_error("the tap %s is gone (%s): the guest's network is unplugged until rayvm starts again", net->tap->name, strerror(error));
	net->link_up = false;
	net->frame_size = 0;
	virtio_notify_config(&net->device);
}

/* What the driver can take goes to the tap before the first packet is read from it. */
static void set_offload(struct net *net)
{
	static const struct {
		uint64_t feature;
		unsigned int flag;
	} offloads[] = { { F_GUEST_TSO4, TUN_F_TSO4 }, { F_GUEST_TSO6, TUN_F_TSO6 }, { F_GUEST_ECN, TUN_F_TSO_ECN } };
	uint64_t features = net->device.live ? net->device.driver_features : 0;
	unsigned int flags = 0;
	net->offload_due = false;
	/* Each of them needs the checksum (section 5.1.3.1), and so says the kernel. */
	if (features & F_GUEST_CSUM) {
		flags = TUN_F_CSUM;
		for (size_t i = 0; i < ARRAY_LEN(offloads); i++)
			if (features & offloads[i].feature)
				flags |= offloads[i].flag;
		/* Marked segments only together with segments. */
		if (!(flags & (TUN_F_TSO4 | TUN_F_TSO6)))
			flags = TUN_F_CSUM;
	}
	if (net->link_up && ioctl(net->tap->fd, TUNSETOFFLOAD, (unsigned long)flags) < 0)
		log_warn("the tap %s does not offload (%s): the guest gets plain packets", net->tap->name, strerror(errno));
}

/* --- from the guest -------------------------------------------------------------------------------------------------------- */

/* Whether the header asks for nothing that was not negotiated. The lengths in it are checked by the kernel, against its own copy of the packet. */
static bool check_header(const struct net *net, struct header *untrusted)
{
	uint64_t features = net->device.driver_features;
	untrusted->num_buffers = 0;
	untrusted->flags &= HDR_NEEDS_CSUM;
	if (untrusted->flags != 0 && !(features & F_CSUM))
		return false;
	if ((untrusted->gso_type & GSO_ECN) && !(features & F_HOST_ECN))
		return false;
	switch (untrusted->gso_type & ~GSO_ECN) {
	case GSO_NONE:
		return untrusted->gso_type == GSO_NONE;
	case GSO_TCPV4:
		return (features & F_HOST_TSO4) && untrusted->gso_size > 0;
	case GSO_TCPV6:
		return (features & F_HOST_TSO6) && untrusted->gso_size > 0;
	default:
		return false;
	}
}

/* net->chain as pieces for writev(): the checked header, then the packet where it lies. Returns their number, 0: not to be sent. */
static uint32_t gather(struct net *net, struct header *header, struct iovec iov[QUEUE_SIZE + 1])
{
	const struct virtq_chain *chain = &net->chain;
	if (chain->out_size < sizeof(*header) + ETHERNET_HEADER || chain->out_size > FRAME_MAX ||
		virtq_chain_read(chain, 0, header, sizeof(*header)) != sizeof(*header) || !check_header(net, header))
		return 0;
	uint32_t n = 0;
	uint64_t skip = sizeof(*header);
	iov[n++] = (struct iovec){ .iov_base = header, .iov_len = sizeof(*header) };
	for (uint32_t i = 0; i < chain->n_out && n < QUEUE_SIZE + 1; i++) {
		uint64_t length = chain->iov[i].iov_len;
		if (skip >= length) {
			skip -= length;
			continue;
		}
		iov[n++] = (struct iovec){ .iov_base = (uint8_t *)chain->iov[i].iov_base + skip, .iov_len = length - skip };
		skip = 0;
	}
	return n;
}

/* False: the tap takes nothing now. */
static bool send_packet(struct net *net)
{
	struct header header;
	struct iovec iov[QUEUE_SIZE + 1];
	uint32_t n = gather(net, &header, iov), left_out;
	if (n == 0) {
		count_dropped(net);
		return true;
	}
	if (writev(net->tap->fd, iov, (int)n) >= 0)
		return true;
	switch (errno) {
	case EAGAIN:
		return false;
	case EIO: /* drivers/net/tun.c: it is not up */
		if (log_limit_pass(&net->down_limit, &left_out))
			log_warn("the tap %s is down, the guest's packets go nowhere; bring it up: ip link set %s up (%" PRIu32 " such lines left out)", net->tap->name,
				net->tap->name, left_out);
		break;
	case EBADFD:
		lose_tap(net, EBADFD);
		break;
	default: /* a header the kernel does not like, or no memory for it now */
		break;
	}
	count_dropped(net);
	return true;
}

/* Pops into net->chain; 1, 0: none, and the driver will kick; -1: the ring is broken. */
static int take(struct net *net, uint32_t index)
{
	struct virtq *queue = &net->device.queue[index];
	const char *why;
	for (;;) {
		int got = virtq_pop(queue, &net->chain, &why);
		if (got < 0)
			virtio_needs_reset(&net->device, why);
		if (got != 0 || !virtq_rearm(queue))
			return got;
	}
}

static bool run_tx(struct net *net)
{
	struct virtq *queue = &net->device.queue[TX];
	bool more = false;
	net->tap_full = false;
	/* A guest without a tap sends into nothing, as with a cable that is pulled. */
	for (uint32_t served = 0; net->device.live && !net->paused; served++) {
		if (served == BATCH || (served > 0 && atomic_load_explicit(&net->device.waiting, memory_order_relaxed) > 0)) {
			more = true;
			break;
		}
		if (take(net, TX) <= 0)
			break;
		if (!net->link_up) {
			count_dropped(net);
		} else if (!send_packet(net)) {
			virtq_unpop(queue, net->chain.head);
			net->tap_full = true;
			break;
		}
		virtq_push(queue, net->chain.head, 0);
	}
	virtio_notify_queue(&net->device, TX);
	return more;
}

/* --- to the guest ------------------------------------------------------------------------------------------------------------ */

struct used_chain {
	uint16_t head;
	uint32_t written;
};

static void give_back(struct virtq *queue, const struct used_chain *used, uint32_t n)
{
	while (n > 0)
		virtq_unpop(queue, used[--n].head);
}

/*
 * Writes the frame that waits into the guest's buffers: one, or with mergeable buffers as many as it takes (section 5.1.6.4). 1: done
 * or dropped; 0: there are too few buffers now; -1: the ring is broken.
 */
static int deliver(struct net *net)
{
	struct virtq *queue = &net->device.queue[RX];
	bool mergeable = net->device.driver_features & F_MRG_RXBUF;
	struct used_chain used[QUEUE_SIZE];
	uint32_t n = 0, done = 0;
	while (done < net->frame_size) {
		/* A whole ring that does not hold it never will. */
		bool hopeless = n == queue->size || (n == 1 && !mergeable);
		int got = hopeless ? 0 : take(net, RX);
		if (got <= 0) {
			if (got == 0)
				give_back(queue, used, n);
			if (hopeless)
				count_dropped(net);
			return got < 0 ? -1 : hopeless;
		}
		if (n == 0) /* only the pieces there are */
			memcpy(&net->first, &net->chain, offsetof(struct virtq_chain, iov) + (net->chain.n_out + net->chain.n_in) * sizeof(struct iovec));
		if (n == 0 && net->chain.in_size < sizeof(struct header)) {
			virtio_needs_reset(&net->device, "a receive buffer is smaller than a header");
			return -1;
		}
		uint32_t part = (uint32_t)virtq_chain_write(&net->chain, 0, net->frame + done, net->frame_size - done);
		used[n++] = (struct used_chain){ net->chain.head, part };
		done += part;
	}
	struct header header;
	memcpy(&header, net->frame, sizeof(header));
	header.num_buffers = (uint16_t)n;
	virtq_chain_write(&net->first, 0, &header, sizeof(header));
	for (uint32_t i = 0; i < n; i++)
		virtq_push(queue, used[i].head, used[i].written);
	return 1;
}

/* The next frame of the tap; false: none now. */
static bool receive(struct net *net)
{
	ssize_t got = read(net->tap->fd, net->frame, sizeof(net->frame));
	if (got < 0 && (errno == EBADFD || errno == ENODEV))
		lose_tap(net, errno);
	if (got < (ssize_t)(sizeof(struct header) + ETHERNET_HEADER))
		return false;
	net->frame_size = (uint32_t)got;
	return true;
}

static bool run_rx(struct net *net)
{
	bool more = false;
	net->ring_full = false;
	if (net->offload_due)
		set_offload(net);
	for (uint32_t served = 0; works(net); served++) {
		if (served == BATCH || (served > 0 && atomic_load_explicit(&net->device.waiting, memory_order_relaxed) > 0)) {
			more = true;
			break;
		}
		if (net->frame_size == 0 && !receive(net))
			break;
		int result = deliver(net);
		if (result == 0)
			net->ring_full = true;
		if (result <= 0)
			break;
		net->frame_size = 0;
	}
	virtio_notify_queue(&net->device, RX);
	return more;
}

/* --- device -------------------------------------------------------------------------------------------------------------------- */

static bool net_run(struct virtio_device *device, uint32_t index)
{
	struct net *net = of(device);
	pthread_mutex_lock(&device->lock);
	bool more = index == RX ? run_rx(net) : run_tx(net);
	pthread_mutex_unlock(&device->lock);
	return more;
}

static void *net_thread(void *data)
{
	struct net *net = data;
	struct virtio_device *device = &net->device;
	bool more[QUEUES] = { false };
	for (;;) {
		pthread_mutex_lock(&device->lock);
		bool listens = works(net) && !net->ring_full && device->queue[RX].enabled, waits = works(net) && net->tap_full;
		pthread_mutex_unlock(&device->lock);
		struct pollfd fds[] = {
			{ .fd = net->stop_fd, .events = POLLIN },
			{ .fd = device->kick_fd[RX], .events = POLLIN },
			{ .fd = device->kick_fd[TX], .events = POLLIN },
			/* Not at all while nothing is to be done: a tap that is gone reports that for ever. */
			{ .fd = listens || waits ? net->tap->fd : -1, .events = (short)((listens ? POLLIN : 0) | (waits ? POLLOUT : 0)) },
		};
		bool busy = more[RX] || more[TX];
		if (poll(fds, ARRAY_LEN(fds), busy ? 0 : -1) < 0)
			continue; /* EINTR only */
		if (fds[0].revents != 0)
			return NULL;
		for (uint32_t i = 0; i < QUEUES; i++) {
			uint64_t count;
			bool kicked = fds[1 + i].revents != 0 && read(fds[1 + i].fd, &count, sizeof(count)) == sizeof(count);
			bool tap = (fds[3].revents & ((i == RX ? POLLIN : POLLOUT) | POLLERR | POLLHUP)) != 0;
			if (kicked || tap || more[i])
				more[i] = net_run(device, i);
		}
		if (busy)
			virtio_device_yield(device);
	}
}

static void net_config_read(struct virtio_device *device, uint32_t offset, void *data, uint32_t size)
{
	const struct net *net = of(device);
	struct config_space config = { .status = net->link_up ? STATUS_LINK_UP : 0 };
	memcpy(config.mac, net->tap->mac, sizeof(config.mac));
	memcpy(data, (const uint8_t *)&config + offset, size);
}

static void net_activate(struct virtio_device *device)
{
	of(device)->offload_due = true;
}

/* Packets are moved under the lock: none is in flight when somebody else holds it. */
static void net_reset(struct virtio_device *device)
{
	struct net *net = of(device);
	net->frame_size = 0; /* it was for the driver that is gone, and in a form that the next may not take */
	net->ring_full = net->tap_full = false;
	net->offload_due = true;
}

static void net_pause(struct virtio_device *device)
{
	of(device)->paused = true;
}

static void net_resume(struct virtio_device *device)
{
	of(device)->paused = false;
	for (uint32_t i = 0; i < QUEUES; i++) {
		uint64_t one = 1;
		/* Only a full counter could fail, and that wakes the reader as well. */
		if (write(device->kick_fd[i], &one, sizeof(one)) < 0)
			return;
	}
}

static uint32_t net_save(struct virtio_device *device, void *to, uint32_t size)
{
	struct net_state state = { 0 };
	memcpy(state.mac, of(device)->tap->mac, sizeof(state.mac));
	return state_put(to, size, &state, sizeof(state), STATE_NET, NET_STATE_VERSION);
}

/* A guest knows its address: it must be the one it had. */
static bool net_load(struct virtio_device *device, const void *from, uint32_t size)
{
	struct net *net = of(device);
	struct net_state untrusted;
	if (!state_get(&untrusted, sizeof(untrusted), STATE_NET, NET_STATE_VERSION, from, size) ||
		!state_is_zero(untrusted.zero, sizeof(untrusted.zero)) || memcmp(untrusted.mac, net->tap->mac, sizeof(untrusted.mac)) != 0)
		return false;
	net->offload_due = true;
	return true;
}

static const struct virtio_device_ops net_ops = {
	.config_read = net_config_read,
	.activate = net_activate,
	.reset = net_reset,
	.run = net_run,
	.pause = net_pause,
	.resume = net_resume,
	.save = net_save,
	.load = net_load,
};

struct net *net_create(const struct guest_memory *memory, const struct net_tap *tap, struct stats *stats)
{
	int saved;
	struct net *net = calloc(1, sizeof(*net));
	if (net == NULL)
		return NULL;
	net->tap = tap;
	net->stats = stats;
	net->link_up = true;
	if (virtio_device_init(&net->device, &net_ops, "virtio-net", VIRTIO_ID_NET, FEATURES, sizeof(struct config_space), QUEUES, QUEUE_SIZE, memory) < 0)
		goto fail;
	net->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (net->stop_fd < 0 || thread_start(&net->thread, "net", 0, net_thread, net) < 0)
		goto fail_thread;
	log_info("network: tap %s, address %02x:%02x:%02x:%02x:%02x:%02x", tap->name, tap->mac[0], tap->mac[1], tap->mac[2], tap->mac[3], tap->mac[4], tap->mac[5]);
	return net;

fail_thread:
	saved = errno;
	if (net->stop_fd >= 0)
		close(net->stop_fd);
	virtio_device_finish(&net->device);
	errno = saved;
fail:
	saved = errno;
	free(net);
	errno = saved;
	return NULL;
}

void net_destroy(struct net *net)
{
	if (net == NULL)
		return;
	uint64_t one = 1;
	/* The counter was 0: this cannot fail. */
	if (write(net->stop_fd, &one, sizeof(one)) < 0)
		log_error("cannot stop the network's thread: %s", strerror(errno));
	pthread_join(net->thread, NULL);
	close(net->stop_fd);
	virtio_device_finish(&net->device);
	free(net);
}

struct virtio_device *net_device(struct net *net)
{
	return &net->device;
}
