/*
 * The display device between a hostile guest and a panel: commands in both queues, fences, resets - and messages of the
 * panel's that lie. What reaches the link is checked by the panel's own table, which must accept every message (the device
 * does not produce what its reader would refuse), and what is shown is read as the worker reads it: at each frame, and at any time between
 * commands, messages and resets, since the device may have gone on while the panel still shows what it knows.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "base/stats.h"
#include "guest.h"
#include "kms/blit.h"
#include "link/table.h"
#include "virtio/gpu_internal.h"

enum {
	OP_COMMAND = OP_DEVICE, /* queue a >> 7; the command at a & 31 of the table with fields from b, c, d; fenced b >> 15 */
	OP_ENTRIES,             /* one of a's kinds with entries: resource b & 15, nr_entries c (low 16 announced, high 16 sent), from d on in pages */
	OP_PANEL,               /* message a from the panel, of head b & 7: words b, c, d */
	OP_TICK,                /* the clock d & 0xffffffff nanoseconds on */
	OP_TAKE,                /* the panel reads b messages (0: all); a & 1: keeps dead buffers, a & 2: presents nothing */
	OP_BYTES,               /* byte c & 0xff of the next request's fields: d */
	OP_ROOM,                /* the next requests have a reply of b bytes, a request of c bytes (0: as it should be) */
	OP_LOOK,                /* the panel reads the pictures that it shows */
};

static const uint8_t ops[] = {
	OP_RAM, OP_DESC, OP_AVAIL, OP_KICK, OP_KICK, OP_COMMON_WRITE, OP_BAR_WRITE, OP_BAR_READ, OP_HANDSHAKE, OP_RESET, OP_PAUSE, OP_STATE, OP_COMMAND, OP_COMMAND,
	OP_COMMAND, OP_COMMAND, OP_ENTRIES, OP_ENTRIES, OP_ENTRIES, OP_PANEL, OP_PANEL, OP_TICK, OP_TAKE, OP_TAKE, OP_BYTES, OP_ROOM, OP_LOOK,
};
static const uint64_t values[] = {
	GUEST_LOW_SIZE, GUEST_LOW_SIZE - 4096, GUEST_HIGH, GUEST_DATA, GUEST_RINGS, GUEST_WINDOW64, 64 << 16 | 64, 0x00400040, 1 << 16 | 1, 16 << 16 | 16, 0x3fff << 16 | 0x3fff,
	0x40004000, 64 * 64 * 4, 64 * 4, 0x100, 0x10000, 16384,
};
const struct fuzz_target fuzz_target = { .operations = true, .ops = ops, .n_ops = ARRAY_LEN(ops), .values = values, .n_values = ARRAY_LEN(values) };

struct scene {
	struct guest guest;
	struct gpu *gpu;
	struct link *link;
	struct link_table *table;
	uint64_t clock_ns;
	uint32_t slot;
	uint32_t room, request; /* sizes of the next; 0: as they should be */
	uint8_t patch_at;
	bool patched;
	uint64_t patch;
};

static struct stats stats;

void fuzz_start(void)
{
	log_set_level(LOG_WARN);
}

/* --- the guest's driver ------------------------------------------------------------------------------------------------- */

static void send_request(struct scene *scene, uint32_t queue, uint8_t *bytes, uint32_t size, uint32_t extra)
{
	struct guest *guest = &scene->guest;
	uint64_t at = GUEST_SCRATCH + 512ull * (scene->slot++ % 32), reply = at + 0x4000;
	if (scene->patched)
		memcpy(bytes + scene->patch_at % (size > 8 ? size - 8 : 1), &scene->patch, 8);
	scene->patched = false;
	if (scene->request != 0 && scene->request < size)
		size = scene->request;
	guest_put(guest, at, bytes, size);
	struct guest_buffer buffers[3];
	uint32_t n = 0;
	buffers[n++] = (struct guest_buffer){ at, size, false };
	if (extra > 0)
		buffers[n++] = (struct guest_buffer){ GUEST_DATA, extra, false };
	uint32_t room = scene->room != 0 ? scene->room - 1 : 1200;
	if (room > 0)
		buffers[n++] = (struct guest_buffer){ reply, room, true };
	scene->room = scene->request = 0;
	guest_add(guest, queue, buffers, n);
	guest_kick(guest, queue, 2);
	guest_settle(guest);
}

static struct virtio_gpu_rect rect_of(uint64_t d)
{
	return (struct virtio_gpu_rect){ d & 0xffff, d >> 16 & 0xffff, d >> 32 & 0xffff, (uint32_t)(d >> 48) };
}

static void command(struct scene *scene, const struct fuzz_op *op)
{
	static const uint32_t types[] = {
		VIRTIO_GPU_CMD_GET_DISPLAY_INFO, VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, VIRTIO_GPU_CMD_RESOURCE_UNREF, VIRTIO_GPU_CMD_SET_SCANOUT,
		VIRTIO_GPU_CMD_RESOURCE_FLUSH, VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, VIRTIO_GPU_CMD_GET_EDID,
		VIRTIO_GPU_CMD_SET_SCANOUT_BLOB, VIRTIO_GPU_CMD_UPDATE_CURSOR, VIRTIO_GPU_CMD_MOVE_CURSOR, VIRTIO_GPU_CMD_GET_CAPSET_INFO,
		VIRTIO_GPU_CMD_GET_CAPSET, VIRTIO_GPU_CMD_CTX_CREATE, VIRTIO_GPU_CMD_SUBMIT_3D, VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID, 0, 0xffffffff,
	};
	union {
		struct virtio_gpu_ctrl_hdr hdr;
		struct virtio_gpu_get_capset capset;
		struct virtio_gpu_resource_create_2d create;
		struct virtio_gpu_resource_unref unref;
		struct virtio_gpu_set_scanout scanout;
		struct virtio_gpu_resource_flush flush;
		struct virtio_gpu_transfer_to_host_2d transfer;
		struct virtio_gpu_cmd_get_edid edid;
		struct virtio_gpu_set_scanout_blob blob;
		struct virtio_gpu_update_cursor cursor;
		uint8_t bytes[128];
	} u = { 0 };
	uint32_t type = types[(op->a & 31) % ARRAY_LEN(types)], id = op->b & 15, size = sizeof(u.hdr);
	switch (type) {
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_2D:
		u.create = (struct virtio_gpu_resource_create_2d){ .resource_id = id, .format = op->d >> 32 ? (uint32_t)(op->d >> 32) : 2, .width = op->c & 0xffff, .height = op->c >> 16 };
		size = sizeof(u.create);
		break;
	case VIRTIO_GPU_CMD_RESOURCE_UNREF:
	case VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING:
		u.unref.resource_id = id;
		size = sizeof(u.unref);
		break;
	case VIRTIO_GPU_CMD_SET_SCANOUT:
		u.scanout = (struct virtio_gpu_set_scanout){ .r = rect_of(op->d), .scanout_id = op->b >> 4 & 7, .resource_id = id };
		size = sizeof(u.scanout);
		break;
	case VIRTIO_GPU_CMD_RESOURCE_FLUSH:
		u.flush = (struct virtio_gpu_resource_flush){ .r = rect_of(op->d), .resource_id = id };
		size = sizeof(u.flush);
		break;
	case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D:
		u.transfer = (struct virtio_gpu_transfer_to_host_2d){ .r = rect_of(op->d), .offset = op->c, .resource_id = id };
		size = sizeof(u.transfer);
		break;
	case VIRTIO_GPU_CMD_GET_EDID:
		u.edid.scanout = op->c;
		size = sizeof(u.edid);
		break;
	case VIRTIO_GPU_CMD_SET_SCANOUT_BLOB:
		u.blob = (struct virtio_gpu_set_scanout_blob){ .r = { 0, 0, op->c & 0xffff, op->c >> 16 }, .scanout_id = op->b >> 4 & 7, .resource_id = id,
			.width = op->c & 0xffff, .height = op->c >> 16, .format = 2, .strides = { (uint32_t)op->d }, .offsets = { (uint32_t)(op->d >> 32) } };
		size = sizeof(u.blob);
		break;
	case VIRTIO_GPU_CMD_UPDATE_CURSOR:
	case VIRTIO_GPU_CMD_MOVE_CURSOR:
		u.cursor = (struct virtio_gpu_update_cursor){ .pos = { op->b >> 4 & 7, (uint32_t)op->d, (uint32_t)(op->d >> 32), 0 }, .resource_id = id, .hot_x = op->c & 0xffff,
			.hot_y = op->c >> 16 };
		size = sizeof(u.cursor);
		break;
	default:
		size = sizeof(u.capset);
		break;
	}
	u.hdr.type = type;
	if (op->b & 0x8000) {
		u.hdr.flags = VIRTIO_GPU_FLAG_FENCE;
		u.hdr.fence_id = op->c;
	}
	send_request(scene, op->a >> 7, u.bytes, size, 0);
}

/* ATTACH_BACKING (a & 1) or CREATE_BLOB, whose entries lie in guest RAM at GUEST_DATA. */
static void entries(struct scene *scene, const struct fuzz_op *op)
{
	uint32_t announced = op->c & 0xffff, sent = op->c >> 16;
	if (sent == 0)
		sent = announced;
	if (sent > 512)
		sent = 512;
	uint32_t length = op->a & 2 ? 4096 : op->a & 4 ? 0x10000 : 0x4000;
	for (uint32_t i = 0; i < sent; i++) {
		struct virtio_gpu_mem_entry entry = { .addr = op->d + (uint64_t)i * (op->a & 8 ? 8192 : 4096), .length = length };
		guest_put(&scene->guest, GUEST_DATA + i * sizeof(entry), &entry, sizeof(entry));
	}
	if (op->a & 1) {
		struct virtio_gpu_resource_attach_backing attach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, .resource_id = op->b & 15, .nr_entries = announced };
		send_request(scene, 0, (uint8_t *)&attach, sizeof(attach), sent * (uint32_t)sizeof(struct virtio_gpu_mem_entry));
		return;
	}
	struct virtio_gpu_resource_create_blob blob = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .resource_id = op->b & 15,
		.blob_mem = op->a & 0x10 ? op->a >> 5 : VIRTIO_GPU_BLOB_MEM_GUEST, .blob_flags = op->a & 0x80 ? op->b >> 8 : 0, .nr_entries = announced,
		.size = (uint64_t)(op->b >> 4) << 12 };
	send_request(scene, 0, (uint8_t *)&blob, sizeof(blob), sent * (uint32_t)sizeof(struct virtio_gpu_mem_entry));
}

/* --- the panel ------------------------------------------------------------------------------------------------------------- */

static uint64_t copied;

static void copy_run(void *data, uint64_t offset, uint64_t length)
{
	const uint8_t *pixels = data;
	for (uint64_t i = 0; i < length; i += 512)
		copied += pixels[offset + i];
	copied += pixels[offset + length - 1];
}

/* Reads what the worker would: all rows of the source. */
static void look(struct scene *scene, uint32_t index)
{
	const struct link_head *head = link_table_head(scene->table, index);
	struct rect damage = link_table_take_damage(scene->table, index);
	if (head->buffer == NULL)
		return;
	const struct link_buffer *buffer = head->buffer;
	FUZZ_CHECK(buffer->complete, "a picture whose segments did not arrive");
	FUZZ_CHECK(blit_format_supported(buffer->format), "a picture in a format that the panel cannot read");
	FUZZ_CHECK(damage.x + damage.w <= buffer->width && damage.y + damage.h <= buffer->height, "damage outside the buffer");
	uint64_t start = buffer->offset + (uint64_t)head->source.y * buffer->stride + (uint64_t)head->source.x * 4;
	uint64_t length = (uint64_t)(head->source.h - 1) * buffer->stride + (uint64_t)head->source.w * 4;
	FUZZ_CHECK(link_buffer_runs(buffer, NULL, start, length, copy_run, (void *)(uintptr_t)link_pixels(scene->link)), "a picture that its segments do not hold");
}

/* A pointer picture is read when it is told, and never again. */
static void look_at_pointer(struct scene *scene, const struct link_message *message)
{
	static uint32_t image[LINK_CURSOR_SIDE * LINK_CURSOR_SIDE];
	if (message->cursor.buffer.id == 0)
		return;
	const struct link_buffer *buffer = link_table_find(scene->table, message->cursor.buffer);
	FUZZ_CHECK(buffer != NULL && blit_read_cursor(image, link_pixels(scene->link), buffer), "a pointer picture that cannot be read");
}

static void take(struct scene *scene, uint8_t how, uint32_t most)
{
	struct link_message message;
	const char *why;
	link_ack_panel(scene->link);
	for (uint32_t n = 0; (most == 0 || n < most) && link_receive_for_panel(scene->link, &message); n++) {
		enum link_change change = link_table_take(scene->table, &message, &why);
		FUZZ_CHECK(change != LINK_CHANGE_REFUSED, "the panel would refuse message %u: %s", message.type, why);
		if (change == LINK_CHANGE_FRAME) {
			look(scene, message.head);
			struct link_message presented = { .type = LINK_PRESENTED, .head = message.head, .presented = { message.frame.sequence, scene->clock_ns } };
			if (!(how & 2))
				gpu_link_message(scene->gpu, &presented);
		} else if (change == LINK_CHANGE_OTHER && message.type == LINK_CURSOR) {
			look_at_pointer(scene, &message);
		}
	}
	struct link_message released = { .type = LINK_RELEASED };
	while (!(how & 1) && link_table_next_released(scene->table, &released.dead))
		gpu_link_message(scene->gpu, &released);
}

static void panel_message(struct scene *scene, const struct fuzz_op *op)
{
	struct link_message message = { .type = LINK_PRESENTED + op->a % 6, .head = op->b & 7 };
	memset(message.raw, op->a & 0x80 ? 0xff : 0, sizeof(message.raw));
	switch (message.type) {
	case LINK_DISPLAY:
		message.display.width = op->c & 0xffff;
		message.display.height = op->c >> 16;
		message.display.refresh_mhz = (uint32_t)op->d;
		message.display.width_mm = message.display.height_mm = (uint32_t)(op->d >> 32);
		break;
	case LINK_RELEASED:
		/* A buffer that the device did not give up: nothing may come of it. */
		message.dead = (struct link_buffer_id){ op->c, (uint32_t)op->d };
		for (uint32_t i = 0; i < LINK_MAX_BUFFERS; i++)
			if (scene->gpu->buffer[i].name.id == op->c && scene->gpu->buffer[i].state == GPU_BUFFER_DEAD)
				return;
		break;
	default:
		memcpy(message.raw, &op->d, 8);
		memcpy(message.raw + 8, &op->c, 4);
	}
	uint32_t events = scene->gpu->events_read;
	uint64_t injected = scene->guest.injected;
	gpu_link_message(scene->gpu, &message);
	FUZZ_CHECK(!scene->guest.paused || (scene->gpu->events_read == events && scene->guest.injected == injected), "message %u changes a paused device", message.type);
}

static void do_op(struct scene *scene, const struct fuzz_op *op)
{
	switch (op->op) {
	case OP_COMMAND:
		command(scene, op);
		break;
	case OP_ENTRIES:
		entries(scene, op);
		break;
	case OP_PANEL:
		panel_message(scene, op);
		break;
	case OP_TICK:
		scene->clock_ns += (uint32_t)op->d;
		gpu_tick(scene->gpu, scene->clock_ns);
		break;
	case OP_TAKE:
		take(scene, op->a, op->b);
		break;
	case OP_LOOK:
		for (uint32_t i = 0; i < LINK_MAX_HEADS; i++)
			look(scene, i);
		break;
	case OP_BYTES:
		scene->patched = true;
		scene->patch_at = (uint8_t)op->c;
		scene->patch = op->d;
		break;
	case OP_ROOM:
		scene->room = op->b;
		scene->request = op->c;
		break;
	default:
		guest_do(&scene->guest, op);
	}
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct scene scene = { 0 };
	struct fuzz_op op;
	guest_init(&scene.guest);
	scene.clock_ns = clock_now_ns();
	scene.link = link_create(scene.guest.memory.fd, scene.guest.memory.size);
	scene.table = link_table_create(scene.guest.memory.size);
	scene.gpu = gpu_create(&scene.guest.memory, scene.link, LINK_MAX_HEADS, &stats);
	FUZZ_CHECK(scene.link != NULL && scene.table != NULL && scene.gpu != NULL, "no device");
	guest_attach(&scene.guest, gpu_device(scene.gpu), GUEST_SLOT);
	for (uint32_t i = 0; fuzz_op_at(data, size, i, &op); i++)
		do_op(&scene, &op);

	/* After a reset, and with a panel that answers, nothing of the guest's is left (G10, G22). */
	virtio_pci_reset(scene.guest.transport);
	for (int i = 0; i < 3; i++) {
		guest_settle(&scene.guest);
		gpu_tick(scene.gpu, scene.clock_ns += NSEC_PER_SEC);
		take(&scene, 0, 0);
	}
	FUZZ_CHECK(scene.gpu->n_resources == 0 && scene.gpu->host_bytes == 0, "%u resources of %llu bytes outlive a reset", scene.gpu->n_resources,
		(unsigned long long)scene.gpu->host_bytes);
	FUZZ_CHECK(scene.gpu->fences.count == 0, "%u fences outlive a reset", scene.gpu->fences.count);
	for (uint32_t i = 0; i < LINK_MAX_HEADS; i++)
		FUZZ_CHECK(link_table_head(scene.table, i)->buffer == NULL, "a picture of scanout %u outlives a reset", i);
	for (uint32_t i = 0; i < LINK_MAX_BUFFERS; i++)
		FUZZ_CHECK(scene.gpu->buffer[i].state == GPU_BUFFER_FREE, "buffer %u outlives a reset (state %d)", i, scene.gpu->buffer[i].state);
	guest_detach(&scene.guest);
	gpu_destroy(scene.gpu);
	link_table_destroy(scene.table);
	link_destroy(scene.link);
	guest_finish(&scene.guest);
}
