/*
 * The console command: joins a client to one of the guest's consoles. From its answer on the connection carries bytes, not lines.
 *
 * All clients of com1 and hvc0 see all of the output, and each may type. A client that does not read loses output beyond its backlog and is
 * told how much; nobody else notices. The agent's port takes one client; output for it waits, also in the guest, and a client that
 * takes none of it for STALL_MS is put out.
 */
#define LOG_MODULE "control"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "base/log.h"
#include "base/stats.h"
#include "control/control_internal.h"

#define BATCH 16                        /* messages of the machine under one turn of the loop */
#define BACKLOG_BYTES (256u << 10)      /* of output that a client has not read */
#define AGENT_BACKLOG_BYTES (64u << 10) /* beyond this nothing more is taken from the machine */
#define STALL_MS 10000

static bool lossy(enum console_stream stream)
{
	return stream != CONSOLE_AGENT;
}

static bool attached_to(const struct client *client, enum console_stream stream)
{
	return client->fd >= 0 && client->raw && client->console == stream;
}

static uint32_t count_clients(const struct control *control, enum console_stream stream)
{
	uint32_t n = 0;
	for (int i = 0; i < CLIENTS; i++)
		n += attached_to(&control->client[i], stream);
	return n;
}

/* False: the machine does not read its end, or there is none. */
static bool tell_machine(const struct console_hub *hub, enum console_message type, const void *bytes, uint32_t size)
{
	uint8_t message[CONSOLE_MESSAGE] = { (uint8_t)type };
	if (size > 0)
		memcpy(message + 1, bytes, size);
	return hub->fd >= 0 && write(hub->fd, message, size + 1) == (ssize_t)size + 1;
}

/* --- input ---------------------------------------------------------------------------------------------------------------- */

/* Input of this client goes to the machine, as far as there is credit. */
static void forward_input(struct client *client)
{
	struct console_hub *hub = &client->control->hub[client->console];
	while (client->in_size > 0 && hub->credit > 0) {
		uint32_t n = min_u32((uint32_t)client->in_size, min_u32(hub->credit, CONSOLE_MESSAGE - 1));
		if (!tell_machine(hub, CONSOLE_DATA, client->in, n))
			return;
		hub->credit -= n;
		client->in_size -= n;
		memmove(client->in, client->in + n, client->in_size);
	}
}

bool console_client_reads(const struct client *client)
{
	return client->in_size < CONSOLE_WINDOW;
}

void console_client_ready(struct client *client, bool hangup)
{
	char bytes[CONSOLE_WINDOW];
	size_t room = console_client_reads(client) ? CONSOLE_WINDOW - client->in_size : 0;
	ssize_t got = room > 0 ? read(client->fd, bytes, room) : -1;
	if (got < 0 && room > 0 && (errno == EAGAIN || errno == EINTR))
		return;
	char *grown = got > 0 ? realloc(client->in, client->in_size + (size_t)got) : NULL;
	if (grown == NULL) {
		/* The end, or it hung up while its input waits for a guest that takes none. */
		if (room > 0 || hangup)
			client_close(client);
		return;
	}
	memcpy(grown + client->in_size, bytes, (size_t)got);
	client->in = grown;
	client->in_size += (size_t)got;
	forward_input(client);
	client_flush(client);
}

/* --- output --------------------------------------------------------------------------------------------------------------- */

static void queue_output(struct client *client, const void *bytes, size_t size)
{
	if (size == 0)
		return;
	char *grown = realloc(client->out, client->out_size + size);
	if (grown == NULL) {
		client->lost += size;
		return;
	}
	memcpy(grown + client->out_size, bytes, size);
	client->out = grown;
	client->out_size += size;
}

/* False: the client is gone. */
static bool send_output(struct client *client, const uint8_t *bytes, uint32_t size)
{
	char notice[64];
	int length = client->lost > 0 ? snprintf(notice, sizeof notice, "\r\n[%llu bytes lost]\r\n", (unsigned long long)client->lost) : 0;
	/* Once it has fallen behind, it gets something new when half of that is read, or there would be a notice in each line. */
	size_t most = client->lost > 0 ? BACKLOG_BYTES / 2 : BACKLOG_BYTES;
	if (lossy(client->console) && client->out_size + (size_t)length + size > most) {
		struct stats *stats = client->control->config.stats;
		atomic_fetch_add_explicit(&stats->console_dropped, size, memory_order_relaxed);
		client->lost += size;
		return true;
	}
	client->lost = 0;
	queue_output(client, notice, (size_t)length);
	queue_output(client, bytes, size);
	return client_flush(client);
}

static void broadcast(struct console_hub *hub, const uint8_t *bytes, uint32_t size)
{
	struct control *control = hub->control;
	console_ring_put(&hub->ring, bytes, size);
	for (int i = 0; i < CLIENTS; i++)
		if (attached_to(&control->client[i], hub->stream))
			send_output(&control->client[i], bytes, size);
}

/* Whether to go on reading the agent's port: its client's backlog is bounded, and the guest's writer waits instead. */
static void watch_machine(struct console_hub *hub, bool readable)
{
	if (hub->source == NULL || hub->waits == !readable)
		return;
	hub->waits = !readable;
	wl_event_source_fd_update(hub->source, readable ? WL_EVENT_READABLE : 0);
	wl_event_source_timer_update(hub->stall_timer, readable ? 0 : STALL_MS);
}

void console_client_flushed(struct client *client)
{
	struct console_hub *hub = &client->control->hub[client->console];
	if (!lossy(client->console))
		watch_machine(hub, client->out_size < AGENT_BACKLOG_BYTES);
}

static int stalled(void *data)
{
	struct console_hub *hub = data;
	for (int i = 0; i < CLIENTS; i++) {
		struct client *client = &hub->control->client[i];
		if (!attached_to(client, hub->stream))
			continue;
		log_warn("who is attached to the guest's %s port has not read for %d seconds: detached, so that the guest can go on", console_name(hub->stream), STALL_MS / 1000);
		client_close(client);
	}
	return 0;
}

static void close_clients(struct console_hub *hub)
{
	for (int i = 0; i < CLIENTS; i++)
		if (attached_to(&hub->control->client[i], hub->stream))
			client_close(&hub->control->client[i]);
}

/* One message of the machine, whose numbers are not trusted. */
static void take_message(struct console_hub *hub, const uint8_t *message, uint32_t size)
{
	uint32_t untrusted_credit = 0;
	if (size == 1 + sizeof untrusted_credit)
		memcpy(&untrusted_credit, message + 1, sizeof untrusted_credit);
	switch (message[0]) {
	case CONSOLE_DATA:
		broadcast(hub, message + 1, size - 1);
		break;
	case CONSOLE_READY:
		hub->ready = true;
		hub->credit = min_u32(untrusted_credit, CONSOLE_WINDOW);
		break;
	case CONSOLE_TAKEN:
		/* Before the answer to an attach: of an earlier one, and counted in the answer. */
		if (hub->ready)
			hub->credit += min_u32(untrusted_credit, CONSOLE_WINDOW - hub->credit);
		break;
	default:
		break;
	}
}

static int machine_ready(int fd, uint32_t mask, void *data)
{
	struct console_hub *hub = data;
	struct control *control = hub->control;
	uint8_t message[CONSOLE_MESSAGE];
	(void)mask;
	for (int i = 0; i < BATCH && !hub->waits; i++) {
		ssize_t got = read(fd, message, sizeof message);
		if (got < 0)
			break;
		if (got == 0) { /* the machine is gone for good */
			wl_event_source_remove(hub->source);
			hub->source = NULL;
			hub->fd = -1;
			close_clients(hub);
			return 0;
		}
		take_message(hub, message, (uint32_t)got);
	}
	for (int i = 0; i < CLIENTS; i++) {
		struct client *client = &control->client[i];
		if (attached_to(client, hub->stream)) {
			forward_input(client);
			client_flush(client);
		}
	}
	return 0;
}

/* --- coming and going --------------------------------------------------------------------------------------------------------- */

/* Credit comes with the machine's answer. */
static bool attach_machine(struct console_hub *hub)
{
	hub->ready = false;
	hub->credit = 0;
	return tell_machine(hub, CONSOLE_ATTACH, NULL, 0);
}

static struct console_hub *hub_of(struct client *client, const char *port)
{
	for (int i = 0; i < CONSOLE_STREAMS; i++)
		if (strcmp(port, console_name((enum console_stream)i)) == 0)
			return &client->control->hub[i];
	return NULL;
}

void command_console(struct client *client, const char *port)
{
	struct control *control = client->control;
	struct console_hub *hub = port != NULL ? hub_of(client, port) : &control->hub[control->config.console_default];
	if (hub == NULL) {
		client_error(client, "console: 'port' is com1, hvc0 or agent");
		return;
	}
	if (hub->fd < 0) {
		client_error(client, "console: there is no guest; start rayvm with -k KERNEL");
		return;
	}
	uint32_t others = count_clients(control, hub->stream);
	if (!lossy(hub->stream) && others > 0) {
		client_error(client, "console: somebody else is attached to the agent's port, which takes one");
		return;
	}
	if (others == 0) {
		hub->ring.tail = hub->ring.head; /* the machine sends its own history */
		if (!attach_machine(hub)) {
			client_error(client, "console: the machine does not answer");
			return;
		}
	}
	json_object *result = json_object_new_object();
	json_object_object_add(result, "port", json_object_new_string(console_name(hub->stream)));
	uint32_t serial = client->serial;
	client_answer(client, result, NULL);
	if (client->fd < 0 || client->serial != serial) {
		if (others == 0)
			tell_machine(hub, CONSOLE_DETACH, NULL, 0);
		return;
	}
	client->raw = true;
	client->subscribed = false;
	client->console = hub->stream;
	client->lost = 0;
	/* What was said while others listened. */
	uint8_t bytes[CONSOLE_MESSAGE];
	uint32_t n;
	for (uint64_t at = hub->ring.tail; (n = console_ring_copy(&hub->ring, at, bytes, sizeof bytes)) > 0; at += n)
		queue_output(client, bytes, n);
	forward_input(client);
	client_flush(client);
}

void console_client_closed(struct client *client)
{
	struct console_hub *hub = &client->control->hub[client->console];
	watch_machine(hub, true);
	if (count_clients(client->control, hub->stream) == 0)
		tell_machine(hub, CONSOLE_DETACH, NULL, 0);
}

void console_machine_started(struct control *control)
{
	for (int i = 0; i < CONSOLE_STREAMS; i++)
		if (count_clients(control, (enum console_stream)i) > 0)
			attach_machine(&control->hub[i]);
}

int console_hubs_create(struct control *control)
{
	const struct console_pairs *pairs = control->config.consoles;
	for (int i = 0; i < CONSOLE_STREAMS; i++) {
		struct console_hub *hub = &control->hub[i];
		hub->control = control;
		hub->stream = (enum console_stream)i;
		hub->fd = pairs != NULL ? pairs->control[i] : -1;
		if (hub->fd < 0)
			continue;
		hub->source = wl_event_loop_add_fd(control->loop, hub->fd, WL_EVENT_READABLE, machine_ready, hub);
		hub->stall_timer = wl_event_loop_add_timer(control->loop, stalled, hub);
		if (hub->source == NULL || hub->stall_timer == NULL)
			return -1;
	}
	return 0;
}

void console_hubs_destroy(struct control *control)
{
	for (int i = 0; i < CONSOLE_STREAMS; i++) {
		if (control->hub[i].source != NULL)
			wl_event_source_remove(control->hub[i].source);
		if (control->hub[i].stall_timer != NULL)
			wl_event_source_remove(control->hub[i].stall_timer);
	}
}
