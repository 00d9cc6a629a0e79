/*
 * The gpu's state: resources with their backing, what the heads show, the pointer. What the panel knows (buffers, frames) is not part
 * of it: it is told anew.
 *
 * Loading carries out the commands that lead to the state, so that what a file says is checked by what checks the guest.
 */
#define LOG_MODULE "gpu"
#include "virtio/gpu_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define GPU_STATE_VERSION 1
#define ENTRY_MAX (1u << 30) /* bytes of one backing entry, a multiple of the page */

struct gpu_head_state {
	uint32_t resource; /* 0: nothing is bound */
	uint32_t width, height, stride, format, offset; /* of a blob's picture, else zero */
	struct rect source;
	uint32_t cursor; /* resource of its picture; 0: hidden, or the resource is gone */
	uint32_t cursor_visible;
	uint32_t cursor_x, cursor_y, hot_x, hot_y;
};

struct gpu_resource_state {
	uint32_t id;
	uint32_t blob; /* 0 or 1 */
	uint32_t width, height, format; /* 2D */
	uint32_t n_entries; /* of its backing; 0: detached */
	uint64_t size; /* blob */
	uint64_t base; /* 2D with a backing */
	struct rect transferred;
};

/* heads[n_heads] follow, the resources in the order of their ids, then the backing entries of all in that order. */
struct gpu_state {
	struct state_head head;
	uint32_t events_read, n_resources, n_entries, n_heads;
};

_Static_assert(sizeof(struct gpu_head_state) == 64 && sizeof(struct gpu_resource_state) == 56 && sizeof(struct gpu_state) == 32, "no holes");

/* --- saving ------------------------------------------------------------------------------------------------------------- */

/* A run of the memfd as entries of guest addresses; returns their number, written from `to` on when it is not NULL. */
static uint32_t save_segment(const struct guest_memory *memory, struct link_segment segment, struct virtio_gpu_mem_entry *to)
{
	uint32_t n = 0;
	while (segment.length > 0) {
		const struct guest_region *region = memory->region;
		while (segment.offset - region->fd_offset >= region->size)
			region++; /* a backing lies in RAM: there is one */
		uint64_t inside = segment.offset - region->fd_offset, length = region->size - inside;
		if (length > segment.length)
			length = segment.length;
		if (length > ENTRY_MAX)
			length = ENTRY_MAX;
		if (to != NULL)
			to[n] = (struct virtio_gpu_mem_entry){ .addr = region->gpa + inside, .length = (uint32_t)length };
		n++;
		segment.offset += length;
		segment.length -= length;
	}
	return n;
}

static uint32_t save_backing(const struct gpu *gpu, const struct gpu_resource *resource, struct virtio_gpu_mem_entry *to)
{
	uint32_t n = 0;
	for (uint32_t i = 0; resource->backing != NULL && i < resource->backing->n_segments; i++)
		n += save_segment(gpu->memory, resource->backing->segment[i], to != NULL ? to + n : NULL);
	return n;
}

static struct gpu_resource_state save_resource(const struct gpu *gpu, const struct gpu_resource *resource)
{
	return (struct gpu_resource_state){
		.id = resource->id, .blob = resource->blob, .width = resource->width, .height = resource->height, .format = resource->format,
		.n_entries = save_backing(gpu, resource, NULL), .size = resource->size, .base = resource->backing != NULL ? resource->base : 0,
		.transferred = resource->backing != NULL ? resource->transferred : (struct rect){ 0 },
	};
}

static uint32_t virtio_format(uint32_t fourcc)
{
	uint32_t format = 0;
	while (gpu_fourcc(format, false) != fourcc)
		format++; /* it was made from one */
	return format;
}

static struct gpu_head_state save_head(const struct gpu_head *head)
{
	const struct gpu_cursor *cursor = &head->cursor;
	struct gpu_head_state state = {
		.cursor = cursor->visible && cursor->resource != NULL ? cursor->resource->id : 0, .cursor_visible = cursor->visible,
		.cursor_x = (uint32_t)cursor->x, .cursor_y = (uint32_t)cursor->y, .hot_x = cursor->hot_x, .hot_y = cursor->hot_y,
	};
	if (head->resource == NULL)
		return state;
	state.resource = head->resource->id;
	state.source = head->source;
	if (head->resource->blob) {
		state.width = head->geometry.width;
		state.height = head->geometry.height;
		state.stride = head->geometry.stride;
		state.format = virtio_format(head->geometry.format);
		state.offset = (uint32_t)head->geometry.offset;
	}
	return state;
}

static int by_id(const void *a, const void *b)
{
	uint32_t left = (*(struct gpu_resource *const *)a)->id, right = (*(struct gpu_resource *const *)b)->id;
	return left < right ? -1 : left > right;
}

uint32_t gpu_save(struct virtio_device *device, void *to, uint32_t size)
{
	const struct gpu *gpu = container_of(device, struct gpu, device);
	const struct gpu_resource *sorted[GPU_MAX_RESOURCES];
	struct gpu_state state = { .events_read = gpu->events_read, .n_heads = gpu->n_heads };
	for (uint32_t i = 0; i < GPU_RESOURCE_BUCKETS; i++)
		for (const struct gpu_resource *resource = gpu->bucket[i]; resource != NULL; resource = resource->next)
			sorted[state.n_resources++] = resource;
	qsort(sorted, state.n_resources, sizeof sorted[0], by_id);
	for (uint32_t i = 0; i < state.n_resources; i++)
		state.n_entries += save_backing(gpu, sorted[i], NULL);

	/* At most GPU_HOST_BYTES of segments, and as many entries more as there are GiB: this fits. */
	uint32_t resources_at = (uint32_t)(sizeof state + gpu->n_heads * sizeof(struct gpu_head_state));
	uint32_t entries_at = resources_at + (uint32_t)(state.n_resources * sizeof(struct gpu_resource_state));
	uint32_t needed = entries_at + state.n_entries * (uint32_t)sizeof(struct virtio_gpu_mem_entry);
	if (size < needed)
		return needed;
	state.head = (struct state_head){ .kind = STATE_GPU, .version = GPU_STATE_VERSION, .size = needed };
	memcpy(to, &state, sizeof state);
	struct gpu_head_state *heads = (void *)((uint8_t *)to + sizeof state);
	struct gpu_resource_state *resources = (void *)((uint8_t *)to + resources_at);
	struct virtio_gpu_mem_entry *entries = (void *)((uint8_t *)to + entries_at);
	for (uint32_t i = 0; i < gpu->n_heads; i++)
		heads[i] = save_head(&gpu->head[i]);
	for (uint32_t i = 0; i < state.n_resources; i++) {
		resources[i] = save_resource(gpu, sorted[i]);
		entries += save_backing(gpu, sorted[i], entries);
	}
	return needed;
}

/* --- loading ------------------------------------------------------------------------------------------------------------ */

/* Carries out a command of `size` bytes, followed by n entries. False: refused. */
static bool carry_out(struct gpu *gpu, const void *command, uint32_t size, const struct virtio_gpu_mem_entry *entries, uint32_t n)
{
	struct virtq_chain *chain = &gpu->chain;
	struct gpu_request request = { .chain = chain, .now_ns = clock_now_ns() };
	uint64_t bytes = n * sizeof(*entries);
	*chain = (struct virtq_chain){ .n_out = n > 0 ? 2 : 1, .out_size = size + bytes };
	/* Only read: the casts drop const for a type that the kernel shares between both directions. */
	chain->iov[0] = (struct iovec){ .iov_base = (void *)(uintptr_t)command, .iov_len = size };
	chain->iov[1] = (struct iovec){ .iov_base = (void *)(uintptr_t)entries, .iov_len = bytes };
	const struct virtio_gpu_ctrl_hdr *header = command;
	if (header->type == VIRTIO_GPU_CMD_UPDATE_CURSOR || header->type == VIRTIO_GPU_CMD_MOVE_CURSOR)
		gpu_cursor_command(gpu, &request);
	else
		gpu_control_command(gpu, &request);
	return request.reply.hdr.type == VIRTIO_GPU_RESP_OK_NODATA;
}

#define COMMAND(gpu, command) carry_out(gpu, &(command), sizeof(command), NULL, 0)

static struct virtio_gpu_rect to_wire(const struct rect *rect)
{
	return (struct virtio_gpu_rect){ .x = rect->x, .y = rect->y, .width = rect->w, .height = rect->h };
}

static bool load_blob(struct gpu *gpu, const struct gpu_resource_state *untrusted, const struct virtio_gpu_mem_entry *entries)
{
	struct virtio_gpu_resource_create_blob create = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .resource_id = untrusted->id, .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
		.nr_entries = untrusted->n_entries, .size = untrusted->size,
	};
	if (untrusted->width != 0 || untrusted->height != 0 || untrusted->format != 0 || untrusted->base != 0 ||
		!state_is_zero(&untrusted->transferred, sizeof(untrusted->transferred)))
		return false;
	if (untrusted->n_entries > 0)
		return carry_out(gpu, &create, sizeof create, entries, untrusted->n_entries);
	/* No command makes a blob without a backing; it was detached. */
	if (untrusted->id == 0 || untrusted->size == 0 || gpu_resource_find(gpu, untrusted->id) != NULL || !(gpu->device.driver_features & 1ull << VIRTIO_GPU_F_RESOURCE_BLOB))
		return false;
	struct gpu_resource *resource = gpu_resource_create(gpu, untrusted->id);
	if (resource == NULL)
		return false;
	resource->blob = true;
	resource->size = untrusted->size;
	return true;
}

static bool load_2d(struct gpu *gpu, const struct gpu_resource_state *untrusted, const struct virtio_gpu_mem_entry *entries)
{
	struct virtio_gpu_resource_create_2d create = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, .resource_id = untrusted->id, .format = untrusted->format, .width = untrusted->width, .height = untrusted->height,
	};
	struct virtio_gpu_resource_attach_backing attach = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, .resource_id = untrusted->id, .nr_entries = untrusted->n_entries,
	};
	const struct rect *area = &untrusted->transferred;
	bool transferred = !state_is_zero(area, sizeof(*area));
	if (untrusted->size != 0 || !COMMAND(gpu, create))
		return false;
	if (untrusted->n_entries == 0)
		return untrusted->base == 0 && !transferred;
	if (!carry_out(gpu, &attach, sizeof attach, entries, untrusted->n_entries))
		return false;
	/* A transfer of the first pixel sets the base. The area is the union of many transfers and may be one that none could have had. */
	struct virtio_gpu_transfer_to_host_2d transfer = {
		.hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, .resource_id = untrusted->id, .r = { .width = 1, .height = 1 }, .offset = untrusted->base,
	};
	if (untrusted->base != 0 && !COMMAND(gpu, transfer))
		return false;
	if (transferred && (rect_empty(area) || (uint64_t)area->x + area->w > untrusted->width || (uint64_t)area->y + area->h > untrusted->height))
		return false;
	gpu_resource_find(gpu, untrusted->id)->transferred = *area;
	return true;
}

static bool load_scanout(struct gpu *gpu, uint32_t index, const struct gpu_head_state *untrusted)
{
	const struct gpu_resource *resource = gpu_resource_find(gpu, untrusted->resource);
	bool picture = untrusted->width || untrusted->height || untrusted->stride || untrusted->format || untrusted->offset;
	if (resource == NULL)
		return untrusted->resource == 0 && !picture && state_is_zero(&untrusted->source, sizeof(untrusted->source));
	if (!resource->blob) {
		struct virtio_gpu_set_scanout set = {
			.hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT, .scanout_id = index, .resource_id = untrusted->resource, .r = to_wire(&untrusted->source),
		};
		return !picture && COMMAND(gpu, set);
	}
	struct virtio_gpu_set_scanout_blob set = {
		.hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT_BLOB, .scanout_id = index, .resource_id = untrusted->resource, .r = to_wire(&untrusted->source),
		.width = untrusted->width, .height = untrusted->height, .format = untrusted->format, .strides = { untrusted->stride }, .offsets = { untrusted->offset },
	};
	return COMMAND(gpu, set);
}

static bool load_cursor(struct gpu *gpu, uint32_t index, const struct gpu_head_state *untrusted)
{
	struct gpu_cursor *cursor = &gpu->head[index].cursor;
	if (untrusted->cursor_visible > 1 || (untrusted->cursor != 0 && !untrusted->cursor_visible) || untrusted->hot_x >= LINK_CURSOR_SIDE ||
		untrusted->hot_y >= LINK_CURSOR_SIDE)
		return false;
	struct virtio_gpu_update_cursor update = {
		.hdr.type = untrusted->cursor != 0 ? VIRTIO_GPU_CMD_UPDATE_CURSOR : VIRTIO_GPU_CMD_MOVE_CURSOR,
		.pos = { .scanout_id = index, .x = untrusted->cursor_x, .y = untrusted->cursor_y }, .resource_id = untrusted->cursor,
	};
	if (!COMMAND(gpu, update))
		return false;
	/* Also without a resource: the panel keeps a picture whose resource is gone. */
	cursor->visible = untrusted->cursor_visible;
	cursor->hot_x = untrusted->hot_x;
	cursor->hot_y = untrusted->hot_y;
	return true;
}

bool gpu_load(struct virtio_device *device, const void *from, uint32_t size)
{
	struct gpu *gpu = container_of(device, struct gpu, device);
	const uint8_t *at = from;
	struct gpu_state untrusted;
	const struct state_head expected = { .kind = STATE_GPU, .version = GPU_STATE_VERSION, .size = size };
	if (size < sizeof untrusted)
		return false;
	memcpy(&untrusted, at, sizeof untrusted);
	/* Both numbers are of 32 bits: the sum does not overflow. */
	uint64_t resources_at = sizeof untrusted + gpu->n_heads * sizeof(struct gpu_head_state);
	uint64_t entries_at = resources_at + (uint64_t)untrusted.n_resources * sizeof(struct gpu_resource_state);
	if (memcmp(&untrusted.head, &expected, sizeof expected) != 0)
		return false;
	/* The driver reads num_scanouts once, when it starts. */
	if (untrusted.n_heads != gpu->n_heads) {
		if (untrusted.n_heads > 0 && untrusted.n_heads <= LINK_MAX_HEADS)
			log_warn("a display with %" PRIu32 " scanouts was saved and this one has %" PRIu32 ": start with the --outputs that it was saved with",
				untrusted.n_heads, gpu->n_heads);
		return false;
	}
	if ((untrusted.events_read & ~VIRTIO_GPU_EVENT_DISPLAY) || untrusted.n_resources > GPU_MAX_RESOURCES ||
		entries_at + (uint64_t)untrusted.n_entries * sizeof(struct virtio_gpu_mem_entry) != size)
		return false;
	for (uint32_t i = 0; i < untrusted.n_entries; i++)
		if (!state_is_zero(at + entries_at + i * sizeof(struct virtio_gpu_mem_entry) + offsetof(struct virtio_gpu_mem_entry, padding), 4))
			return false;
	uint32_t last = 0, left = untrusted.n_entries;
	for (uint32_t i = 0; i < untrusted.n_resources; i++) {
		struct gpu_resource_state resource;
		memcpy(&resource, at + resources_at + i * sizeof resource, sizeof resource);
		const void *entries = at + entries_at + (untrusted.n_entries - left) * sizeof(struct virtio_gpu_mem_entry);
		if (resource.id <= last || resource.blob > 1 || resource.n_entries > left)
			return false;
		if (!(resource.blob ? load_blob(gpu, &resource, entries) : load_2d(gpu, &resource, entries)))
			return false;
		last = resource.id;
		left -= resource.n_entries;
	}
	for (uint32_t i = 0; i < gpu->n_heads; i++) {
		struct gpu_head_state head;
		memcpy(&head, at + sizeof untrusted + i * sizeof head, sizeof head);
		if (!load_scanout(gpu, i, &head) || !load_cursor(gpu, i, &head))
			return false;
	}
	gpu->events_read = untrusted.events_read;
	/* The panel here may be another one than where this was saved: the driver looks at the resume. */
	gpu->display_due = true;
	return left == 0;
}
