#include "virtio/console.h"

#define LOG_MODULE "console"
#include "base/base.h"
#include "base/console.h"
#include "base/log.h"
#include "base/stats.h"
#include "base/thread.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define F_MULTIPORT (1ull << 1)
#define QUEUE_SIZE 64
#define BATCH 32                /* chains under one lock */
#define BATCH_BYTES (256u << 10) /* bytes under one lock (the chain that passes it is the last) */
/* Of one chain's bytes; a driver sends a few pages at most. Bounds the work for a chain that names one page many times. */
#define CHAIN_BYTES (1u << 20)
#define PIECE 4096u

/* Section 5.3.2: ports 0 and 1 surround the control queues. */
enum { RX0, TX0, CONTROL_RX, CONTROL_TX, RX1, TX1, QUEUES };

/* Section 5.3.6.2. */
enum { DEVICE_READY, PORT_ADD, PORT_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };
struct control_message {
	uint32_t port;
	uint16_t event, value;
};

/* Section 5.3.4. No size of the screen is offered: with several ports it would go by a message whose order of fields drivers disagree on. */
struct config_space {
	uint16_t columns, rows;
	uint32_t ports;
	uint32_t emergency_write;
};
_Static_assert(sizeof(struct config_space) == 12, "section 5.3.4");

/* Bits of state.port[].pending, in the order in which they are sent. */
enum { OWE_ADD = 1, OWE_CONSOLE = 2, OWE_NAME = 4, OWE_ALL = 7 };

struct console {
	struct virtio_device device;
	struct console_end end[CONSOLE_PORTS];
	struct stats *stats; /* borrowed, may be NULL */
	int stop_fd;
	pthread_t thread;
	/* Under the device's lock. */
	bool paused;
	struct console_state state;
	/* Scratch of the console thread. */
	struct virtq_chain chain;
	uint8_t piece[PIECE];
};

static struct console *of(struct virtio_device *device)
{
	return container_of(device, struct console, device);
}

static uint32_t rx_queue(uint32_t port)
{
	return port == 0 ? RX0 : RX1;
}

static uint32_t tx_queue(uint32_t port)
{
	return port == 0 ? TX0 : TX1;
}

static bool multiport(const struct console *console)
{
	return console->device.driver_features & F_MULTIPORT;
}

static bool works(const struct console *console)
{
	return console->device.live && !console->paused;
}

/* Pops from `index` into console->chain. 1; 0: none is there, and the driver will kick; -1: stop, it was broken. */
static int take(struct console *console, uint32_t index)
{
	struct virtq *queue = &console->device.queue[index];
	const char *why;
	for (;;) {
		int got = virtq_pop(queue, &console->chain, &why);
		if (got < 0)
			virtio_needs_reset(&console->device, why);
		if (got != 0 || !virtq_rearm(queue))
			return got;
	}
}

/* --- control queues ------------------------------------------------------------------------------------------------------- */

/* Whether this side of the port is open: a console always is, the agent's port while somebody is attached. */
static bool wants_open(struct console *console, uint32_t port)
{
	return port == CONSOLE_PORT_HVC0 || console_end_attached(&console->end[port]);
}

/* The next message the driver has to get for `port`, and the bit it settles; false: none. */
static bool next_message(struct console *console, uint32_t port, struct control_message *message, uint8_t *bit)
{
	uint8_t pending = console->state.port[port].pending;
	*message = (struct control_message){ .port = port, .value = 1 };
	*bit = pending & (uint8_t)-pending;
	switch (*bit) {
	case OWE_ADD:
		message->event = PORT_ADD;
		return true;
	case OWE_CONSOLE:
		message->event = CONSOLE_PORT;
		return true;
	case OWE_NAME:
		message->event = PORT_NAME;
		return true;
	}
	message->event = PORT_OPEN;
	message->value = wants_open(console, port);
	return console->state.port[port].ready && console->state.port[port].told_open != message->value;
}

/* Sends what the driver has to be told, as far as it gave buffers. */
static void run_control_in(struct console *console)
{
	static const char name[] = CONSOLE_AGENT_NAME;
	for (uint32_t port = 0; port < CONSOLE_PORTS;) {
		struct control_message message;
		uint8_t bit;
		if (!works(console) || !next_message(console, port, &message, &bit)) {
			port++;
			continue;
		}
		if (take(console, CONTROL_RX) <= 0)
			break;
		uint32_t extra = message.event == PORT_NAME ? sizeof(name) - 1 : 0;
		if (console->chain.in_size < sizeof(message) + extra) {
			virtio_needs_reset(&console->device, "a control buffer is smaller than a message");
			break;
		}
		virtq_chain_write(&console->chain, 0, &message, sizeof(message));
		virtq_chain_write(&console->chain, sizeof(message), name, extra);
		virtq_push(&console->device.queue[CONTROL_RX], console->chain.head, (uint32_t)sizeof(message) + extra);
		console->state.port[port].pending &= (uint8_t)~bit;
		if (message.event == PORT_OPEN)
			console->state.port[port].told_open = (uint8_t)message.value;
	}
	virtio_notify_queue(&console->device, CONTROL_RX);
}

/* One message of the driver. Whatever it says sets a few flags: nothing is queued up by it. */
static void take_message(struct console *console)
{
	struct control_message untrusted;
	if (virtq_chain_read(&console->chain, 0, &untrusted, sizeof(untrusted)) != sizeof(untrusted))
		return;
	if (untrusted.event == DEVICE_READY) {
		for (uint32_t port = 0; untrusted.value == 1 && port < CONSOLE_PORTS; port++)
			console->state.port[port].pending = OWE_ADD;
		return;
	}
	if (untrusted.port >= CONSOLE_PORTS)
		return;
	uint32_t port = untrusted.port;
	if (untrusted.event == PORT_READY && untrusted.value == 1) {
		console->state.port[port].ready = 1;
		console->state.port[port].told_open = 0;
		console->state.port[port].pending |= port == CONSOLE_PORT_HVC0 ? OWE_CONSOLE : OWE_NAME;
	} else if (untrusted.event == PORT_OPEN) {
		console->state.port[port].guest_open = untrusted.value != 0;
	}
}

static void run_input(struct console *console, uint32_t port);

static bool run_control_out(struct console *console)
{
	bool more = false;
	for (uint32_t served = 0; works(console); served++) {
		if (served == BATCH) {
			more = true;
			break;
		}
		if (take(console, CONTROL_TX) <= 0)
			break;
		take_message(console);
		virtq_push(&console->device.queue[CONTROL_TX], console->chain.head, 0);
	}
	virtio_notify_queue(&console->device, CONTROL_TX);
	run_control_in(console);
	/* A port that was just opened takes what waits. */
	for (uint32_t port = 0; port < CONSOLE_PORTS; port++)
		run_input(console, port);
	return more;
}

/* --- bytes ------------------------------------------------------------------------------------------------------------------ */

/* Input that waits goes into the guest's buffers. */
static void run_input(struct console *console, uint32_t port)
{
	struct console_end *end = &console->end[port];
	uint32_t index = rx_queue(port);
	if (multiport(console) ? !console->state.port[port].guest_open : port != CONSOLE_PORT_HVC0)
		return;
	for (uint32_t served = 0; works(console) && end->in_size > 0 && served < QUEUE_SIZE; served++) {
		if (take(console, index) <= 0)
			break;
		uint32_t n = (uint32_t)virtq_chain_write(&console->chain, 0, end->in, end->in_size);
		virtq_push(&console->device.queue[index], console->chain.head, n);
		console_end_taken(end, n);
	}
	virtio_notify_queue(&console->device, index);
}

/* A chain of the console: all of it is taken, as fast as it came. */
static void write_console(struct console *console, uint64_t size)
{
	struct console_end *end = &console->end[CONSOLE_PORT_HVC0];
	bool attached = console_end_attached(end);
	uint64_t offset = 0;
	if (!attached && size > CONSOLE_HISTORY)
		offset = size - CONSOLE_HISTORY;
	while (offset < size) {
		uint64_t n = virtq_chain_read(&console->chain, offset, console->piece, size - offset < PIECE ? size - offset : PIECE);
		console_end_put(end, console->piece, n);
		offset += n;
		if (attached && console_end_room(end) < PIECE)
			console_end_send(end); /* what comes is serve_end()'s, which also acts on it */
	}
	if (attached && console->chain.out_size > size && console->stats != NULL)
		atomic_fetch_add_explicit(&console->stats->console_dropped, console->chain.out_size - size, memory_order_relaxed);
}

/* A chain of the agent's port, from where the last call stopped. False: there is no room for the rest now. */
static bool write_agent(struct console *console, uint64_t size)
{
	struct console_end *end = &console->end[CONSOLE_PORT_AGENT];
	uint32_t *sent = &console->state.port[CONSOLE_PORT_AGENT].sent;
	/* The guest may have put a shorter chain in the place of the one that was begun. */
	while (*sent < size && console_end_attached(end)) {
		uint32_t room = console_end_room(end);
		if (room == 0) {
			console_end_send(end);
			room = console_end_room(end);
		}
		if (room == 0)
			return false;
		uint64_t left = size - *sent, n = left < room ? left : room;
		n = virtq_chain_read(&console->chain, *sent, console->piece, n < PIECE ? n : PIECE);
		console_end_put(end, console->piece, n);
		*sent += (uint32_t)n;
	}
	*sent = 0;
	return true;
}

static bool run_output(struct console *console, uint32_t port)
{
	uint32_t index = tx_queue(port);
	struct virtq *queue = &console->device.queue[index];
	uint64_t bytes = 0;
	bool more = false;
	for (uint32_t served = 0; works(console); served++) {
		bool wanted = served > 0 && atomic_load_explicit(&console->device.waiting, memory_order_relaxed) > 0;
		if (served == BATCH || bytes >= BATCH_BYTES || wanted) {
			more = true;
			break;
		}
		if (take(console, index) <= 0)
			break;
		uint64_t size = console->chain.out_size < CHAIN_BYTES ? console->chain.out_size : CHAIN_BYTES;
		bytes += size;
		if (port == CONSOLE_PORT_HVC0) {
			write_console(console, size);
		} else if (!write_agent(console, size)) {
			virtq_unpop(queue, console->chain.head);
			break;
		}
		virtq_push(queue, console->chain.head, 0);
	}
	virtio_notify_queue(&console->device, index);
	return more;
}

static bool console_run(struct virtio_device *device, uint32_t index)
{
	struct console *console = of(device);
	bool more = false;
	pthread_mutex_lock(&device->lock);
	if (works(console)) {
		switch (index) {
		case RX0:
		case RX1:
			run_input(console, index == RX0 ? 0 : 1);
			break;
		case TX0:
		case TX1:
			more = run_output(console, index == TX0 ? 0 : 1);
			break;
		case CONTROL_RX:
			run_control_in(console);
			break;
		default:
			more = run_control_out(console);
			break;
		}
	}
	pthread_mutex_unlock(&device->lock);
	return more;
}

/* The host's side of a port has news: input, room for output, or somebody came or went. True: more output waits. */
static bool serve_end(struct console *console, uint32_t port)
{
	struct virtio_device *device = &console->device;
	bool more = false;
	console_end_serve(&console->end[port]);
	pthread_mutex_lock(&device->lock);
	if (works(console)) {
		run_control_in(console);
		run_input(console, port);
		/* Chains that found no room; nobody kicks for them. */
		if (port == CONSOLE_PORT_AGENT && virtq_available(&device->queue[TX1]) > 0)
			more = run_output(console, port);
	}
	pthread_mutex_unlock(&device->lock);
	return more;
}

static void *console_thread(void *data)
{
	struct console *console = data;
	struct virtio_device *device = &console->device;
	struct pollfd fds[1 + QUEUES + CONSOLE_PORTS] = { { .fd = console->stop_fd, .events = POLLIN } };
	struct pollfd *kicks = fds + 1, *ends = kicks + QUEUES;
	bool more[QUEUES] = { false };
	for (uint32_t i = 0; i < QUEUES; i++)
		kicks[i] = (struct pollfd){ .fd = device->kick_fd[i], .events = POLLIN };
	for (;;) {
		bool busy = false;
		for (uint32_t i = 0; i < QUEUES; i++)
			busy |= more[i];
		for (uint32_t port = 0; port < CONSOLE_PORTS; port++)
			ends[port] = (struct pollfd){ .fd = console->end[port].fd, .events = console_end_events(&console->end[port]) };
		if (poll(fds, ARRAY_LEN(fds), busy ? 0 : -1) < 0)
			continue; /* EINTR only */
		if (fds[0].revents != 0)
			return NULL;
		for (uint32_t port = 0; port < CONSOLE_PORTS; port++)
			if (ends[port].revents != 0 && serve_end(console, port))
				more[tx_queue(port)] = true;
		for (uint32_t i = 0; i < QUEUES; i++) {
			uint64_t count;
			bool kicked = kicks[i].revents != 0 && read(kicks[i].fd, &count, sizeof(count)) == sizeof(count);
			if (kicked || more[i])
				more[i] = console_run(device, i);
		}
		if (busy)
			virtio_device_yield(device);
	}
}

/* --- device --------------------------------------------------------------------------------------------------------------- */

static void console_config_read(struct virtio_device *device, uint32_t offset, void *data, uint32_t size)
{
	const struct config_space config = { .ports = CONSOLE_PORTS };
	(void)device;
	memcpy(data, (const uint8_t *)&config + offset, size);
}

/* Chains are moved under the lock: none is in flight when somebody else holds it. */
static void console_reset(struct virtio_device *device)
{
	of(device)->state = (struct console_state){ 0 };
}

static void console_pause(struct virtio_device *device)
{
	of(device)->paused = true;
}

static void console_resume(struct virtio_device *device)
{
	of(device)->paused = false;
	for (uint32_t i = 0; i < QUEUES; i++) {
		uint64_t one = 1;
		/* Only a full counter could fail, and that wakes the reader as well. */
		if (write(device->kick_fd[i], &one, sizeof(one)) < 0)
			return;
	}
}

static uint32_t console_save(struct virtio_device *device, void *to, uint32_t size)
{
	struct console_state state = of(device)->state;
	return state_put(to, size, &state, sizeof(state), STATE_CONSOLE, CONSOLE_STATE_VERSION);
}

static bool console_load(struct virtio_device *device, const void *from, uint32_t size)
{
	struct console_state untrusted;
	if (!state_get(&untrusted, sizeof(untrusted), STATE_CONSOLE, CONSOLE_STATE_VERSION, from, size))
		return false;
	for (uint32_t i = 0; i < CONSOLE_PORTS; i++)
		if (untrusted.port[i].sent > CHAIN_BYTES || untrusted.port[i].ready > 1 || untrusted.port[i].guest_open > 1 ||
			untrusted.port[i].told_open > 1 || untrusted.port[i].pending > OWE_ALL)
			return false;
	of(device)->state = untrusted;
	return true;
}

static const struct virtio_device_ops console_ops = {
	.config_read = console_config_read,
	.reset = console_reset,
	.run = console_run,
	.pause = console_pause,
	.resume = console_resume,
	.save = console_save,
	.load = console_load,
};

struct console *console_create(const struct guest_memory *memory, const int fd[CONSOLE_PORTS], struct stats *stats)
{
	int saved;
	struct console *console = calloc(1, sizeof(*console));
	if (console == NULL)
		return NULL;
	console->stats = stats;
	if (virtio_device_init(&console->device, &console_ops, "virtio-console", VIRTIO_ID_CONSOLE, F_MULTIPORT,
		    sizeof(struct config_space), QUEUES, QUEUE_SIZE, memory) < 0)
		goto fail;
	for (uint32_t i = 0; i < CONSOLE_PORTS; i++)
		console_end_init(&console->end[i], fd[i], i == CONSOLE_PORT_HVC0, stats);
	console->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (console->stop_fd < 0 || thread_start(&console->thread, "console", 0, console_thread, console) < 0)
		goto fail_thread;
	return console;

fail_thread:
	saved = errno;
	if (console->stop_fd >= 0)
		close(console->stop_fd);
	for (uint32_t i = 0; i < CONSOLE_PORTS; i++)
		console_end_finish(&console->end[i]);
	virtio_device_finish(&console->device);
	errno = saved;
fail:
	saved = errno;
	free(console);
	errno = saved;
	return NULL;
}

void console_destroy(struct console *console)
{
	if (console == NULL)
		return;
	uint64_t one = 1;
	/* The counter was 0: this cannot fail. */
	if (write(console->stop_fd, &one, sizeof(one)) < 0)
		log_error("cannot stop the console's thread: %s", strerror(errno));
	pthread_join(console->thread, NULL);
	close(console->stop_fd);
	for (uint32_t i = 0; i < CONSOLE_PORTS; i++)
		console_end_finish(&console->end[i]);
	virtio_device_finish(&console->device);
	free(console);
}

struct virtio_device *console_device(struct console *console)
{
	return &console->device;
}
