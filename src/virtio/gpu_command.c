/*
 * One function per command (virtio 1.2, section 5.7.6). Each sees a private copy of the whole command and returns the type of
 * the reply. Numbers of the guest are compared in 64 bits; sides are at most LINK_MAX_SIDE and strides at most INT_MAX before
 * they are multiplied.
 */
#include "virtio/gpu_internal.h"

#include <limits.h>
#include <string.h>

#include "virtio/edid.h"

#define OK VIRTIO_GPU_RESP_OK_NODATA

static uint32_t refuse(struct gpu_request *request, uint32_t type, const char *why)
{
	request->why = why;
	return type;
}

static uint32_t no_resource(struct gpu_request *request)
{
	return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID, "no such resource");
}

static bool side_ok(uint32_t untrusted_width, uint32_t untrusted_height)
{
	return untrusted_width > 0 && untrusted_height > 0 && untrusted_width <= LINK_MAX_SIDE && untrusted_height <= LINK_MAX_SIDE;
}

/* Is the rectangle not empty and inside width x height? */
static bool rect_inside(const struct virtio_gpu_rect *untrusted, uint32_t width, uint32_t height)
{
	return untrusted->width > 0 && untrusted->height > 0 && (uint64_t)untrusted->x + untrusted->width <= width &&
		(uint64_t)untrusted->y + untrusted->height <= height;
}

/*
 * A blob has no width. Whatever it is, at least (x + w) * 4 bytes are a line, so a rectangle whose area up to its far corner does
 * not fit into the blob cannot be part of a picture in it.
 */
static bool rect_in_blob(const struct virtio_gpu_rect *untrusted, uint64_t size)
{
	return rect_inside(untrusted, LINK_MAX_SIDE, LINK_MAX_SIDE) &&
		((uint64_t)untrusted->x + untrusted->width) * ((uint64_t)untrusted->y + untrusted->height) * 4 <= size;
}

static struct rect to_rect(const struct virtio_gpu_rect *rect)
{
	return (struct rect){ rect->x, rect->y, rect->width, rect->height };
}

static uint32_t get_display_info(struct gpu *gpu, struct gpu_request *request)
{
	/* Where a monitor stands is not known: side by side, the first one left. What is not enabled stays zero, as with QEMU. */
	uint32_t x = 0;
	for (uint32_t i = 0; i < gpu->n_heads; i++) {
		const struct gpu_head *head = &gpu->head[i];
		if (!head->enabled)
			continue;
		request->reply.display_info.pmodes[i] = (struct virtio_gpu_display_one){ .enabled = 1, .r = { .x = x, .width = head->width, .height = head->height } };
		x += head->width;
	}
	gpu_display_read(gpu);
	request->reply_size = sizeof request->reply.display_info;
	return VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
}

static uint32_t get_edid(struct gpu *gpu, struct gpu_request *request)
{
	uint32_t untrusted_scanout = request->untrusted.get_edid.scanout;
	if (untrusted_scanout >= gpu->n_heads)
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID, "no such scanout");
	const struct gpu_head *head = &gpu->head[untrusted_scanout];
	struct edid_info info = {
		.width = head->width,
		.height = head->height,
		.refresh_mhz = head->refresh_mhz,
		.width_mm = head->width_mm,
		.height_mm = head->height_mm,
		.serial = untrusted_scanout,
	};
	memcpy(info.name, head->name, sizeof info.name);
	gpu_display_read(gpu);
	/*
	 * Without one the driver takes the size of the display info. Nobody's fault, so no line in the log. One that is not enabled has the last monitor's, as
	 * with QEMU: Linux asks for the EDIDs of all and writes each error into its log (virtgpu_vq.c).
	 */
	if (!edid_make(&info, request->reply.edid.edid))
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	request->reply.edid.size = EDID_SIZE;
	request->reply_size = sizeof request->reply.edid;
	return VIRTIO_GPU_RESP_OK_EDID;
}

/* A resource by an id that is not in use, or NULL and *error. */
static struct gpu_resource *new_resource(struct gpu *gpu, struct gpu_request *request, uint32_t untrusted_id, uint32_t *error)
{
	if (untrusted_id == 0 || gpu_resource_find(gpu, untrusted_id) != NULL) {
		*error = refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID, "resource id in use");
		return NULL;
	}
	struct gpu_resource *resource = gpu_resource_create(gpu, untrusted_id);
	if (resource == NULL)
		*error = refuse(request, VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY, "too many resources");
	return resource;
}

static uint32_t resource_create_2d(struct gpu *gpu, struct gpu_request *request)
{
	const struct virtio_gpu_resource_create_2d *untrusted = &request->untrusted.create_2d;
	if (!side_ok(untrusted->width, untrusted->height) || gpu_fourcc(untrusted->format, false) == 0)
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "impossible size or format");
	uint32_t error;
	struct gpu_resource *resource = new_resource(gpu, request, untrusted->resource_id, &error);
	if (resource == NULL)
		return error;
	resource->width = untrusted->width;
	resource->height = untrusted->height;
	resource->format = untrusted->format;
	return OK;
}

static uint32_t resource_create_blob(struct gpu *gpu, struct gpu_request *request)
{
	const struct virtio_gpu_resource_create_blob *untrusted = &request->untrusted.create_blob;
	const uint32_t known_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE | VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE | VIRTIO_GPU_BLOB_FLAG_USE_CROSS_DEVICE;
	if (untrusted->blob_mem != VIRTIO_GPU_BLOB_MEM_GUEST || (untrusted->blob_flags & ~known_flags) != 0 || untrusted->size == 0)
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "kind of blob that is not offered");
	uint32_t error;
	struct gpu_resource *resource = new_resource(gpu, request, untrusted->resource_id, &error);
	if (resource == NULL)
		return error;
	resource->blob = true;
	resource->size = untrusted->size;
	error = gpu_backing_read(gpu, request, sizeof *untrusted, untrusted->nr_entries, &resource->backing);
	if (error == 0 && resource->backing->bytes < resource->size)
		error = refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "blob larger than its backing");
	if (error != 0) {
		gpu_resource_destroy(gpu, resource);
		return error;
	}
	return OK;
}

static uint32_t resource_unref(struct gpu *gpu, struct gpu_request *request)
{
	struct gpu_resource *resource = gpu_resource_find(gpu, request->untrusted.unref.resource_id);
	if (resource == NULL)
		return no_resource(request);
	gpu_resource_destroy(gpu, resource);
	return OK;
}

static uint32_t attach_backing(struct gpu *gpu, struct gpu_request *request)
{
	const struct virtio_gpu_resource_attach_backing *untrusted = &request->untrusted.attach;
	struct gpu_resource *resource = gpu_resource_find(gpu, untrusted->resource_id);
	if (resource == NULL)
		return no_resource(request);
	if (resource->backing != NULL)
		return refuse(request, VIRTIO_GPU_RESP_ERR_UNSPEC, "backing attached twice");
	struct gpu_backing *backing;
	uint32_t error = gpu_backing_read(gpu, request, sizeof *untrusted, untrusted->nr_entries, &backing);
	if (error != 0)
		return error;
	if (resource->blob && backing->bytes < resource->size) {
		gpu_backing_unref(gpu, backing);
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "blob larger than its backing");
	}
	resource->backing = backing;
	resource->base = 0;
	return OK;
}

static uint32_t detach_backing(struct gpu *gpu, struct gpu_request *request)
{
	struct gpu_resource *resource = gpu_resource_find(gpu, request->untrusted.detach.resource_id);
	if (resource == NULL)
		return no_resource(request);
	if (resource->backing == NULL)
		return refuse(request, VIRTIO_GPU_RESP_ERR_UNSPEC, "no backing to detach");
	gpu_scanout_forget(gpu, resource);
	gpu_backing_unref(gpu, resource->backing);
	resource->backing = NULL;
	return OK;
}

static uint32_t set_scanout(struct gpu *gpu, struct gpu_request *request)
{
	const struct virtio_gpu_set_scanout *untrusted = &request->untrusted.set_scanout;
	if (untrusted->scanout_id >= gpu->n_heads)
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID, "no such scanout");
	if (untrusted->resource_id == 0) {
		gpu_head_unbind(gpu, untrusted->scanout_id);
		return OK;
	}
	struct gpu_resource *resource = gpu_resource_find(gpu, untrusted->resource_id);
	if (resource == NULL || resource->blob)
		return no_resource(request);
	if (!rect_inside(&untrusted->r, resource->width, resource->height))
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "scanout outside its resource");
	gpu_head_bind(gpu, untrusted->scanout_id, resource, &(struct gpu_geometry){ 0 }, to_rect(&untrusted->r), request->now_ns);
	return OK;
}

static uint32_t set_scanout_blob(struct gpu *gpu, struct gpu_request *request)
{
	const struct virtio_gpu_set_scanout_blob *untrusted = &request->untrusted.set_scanout_blob;
	if (untrusted->scanout_id >= gpu->n_heads)
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID, "no such scanout");
	if (untrusted->resource_id == 0) {
		gpu_head_unbind(gpu, untrusted->scanout_id);
		return OK;
	}
	struct gpu_resource *resource = gpu_resource_find(gpu, untrusted->resource_id);
	if (resource == NULL || !resource->blob)
		return no_resource(request);
	uint32_t untrusted_stride = untrusted->strides[0], untrusted_offset = untrusted->offsets[0];
	if (!side_ok(untrusted->width, untrusted->height) || gpu_fourcc(untrusted->format, false) == 0 ||
		!rect_inside(&untrusted->r, untrusted->width, untrusted->height))
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "impossible size or format of a scanout");
	/* The upper bound and the multiples of 4 are the panel's (link/table.h); it is far below INT_MAX. */
	if (untrusted_stride < (uint64_t)untrusted->width * 4 || untrusted_stride > LINK_MAX_SIDE * 16u || untrusted_stride % 4 != 0 || untrusted_offset % 4 != 0)
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "impossible stride or offset of a scanout");
	/* Only a backing that names pages several times has room beyond the size of RAM; the panel takes no such offset (link/table.h). */
	if (untrusted_offset > gpu->memory->size)
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "scanout at an offset beyond all memory");
	uint64_t end = untrusted_offset + (uint64_t)untrusted_stride * (untrusted->height - 1) + (uint64_t)untrusted->width * 4;
	if (end > resource->size)
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "scanout ends outside its blob");
	struct gpu_geometry geometry = {
		.width = untrusted->width,
		.height = untrusted->height,
		.stride = untrusted_stride,
		.format = gpu_fourcc(untrusted->format, false),
		.offset = untrusted_offset,
	};
	gpu_head_bind(gpu, untrusted->scanout_id, resource, &geometry, to_rect(&untrusted->r), request->now_ns);
	return OK;
}

/*
 * Nothing is copied: the picture stays in the guest's pages, and what was transferred counts as changed at the next flush. So the
 * pages must hold the lines as the resource does, 4 * width bytes apart, from any byte on: that is where every known driver has
 * them (a base above 0 is page flipping within one backing). Other layouts are refused.
 */
static uint32_t transfer_to_host_2d(struct gpu *gpu, struct gpu_request *request)
{
	const struct virtio_gpu_transfer_to_host_2d *untrusted = &request->untrusted.transfer;
	struct gpu_resource *resource = gpu_resource_find(gpu, untrusted->resource_id);
	if (resource == NULL)
		return no_resource(request);
	const struct virtio_gpu_rect *r = &untrusted->r;
	if (resource->blob) {
		uint64_t end;
		/* Only the offset says where the rectangle is. */
		if (!rect_inside(r, LINK_MAX_SIDE, LINK_MAX_SIDE) || !add_u64(untrusted->offset, (uint64_t)r->width * r->height * 4, &end) || end > resource->size)
			return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "transfer outside its blob");
		return OK;
	}
	if (!rect_inside(r, resource->width, resource->height))
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "transfer outside its resource");
	if (resource->backing == NULL)
		return refuse(request, VIRTIO_GPU_RESP_ERR_UNSPEC, "transfer without a backing");
	uint64_t stride = (uint64_t)resource->width * 4, end;
	if (!add_u64(untrusted->offset, (r->height - 1) * stride + r->width * 4ull, &end) || end > resource->backing->bytes)
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "transfer from outside the backing");
	uint64_t linear = r->y * stride + r->x * 4ull;
	if (untrusted->offset < linear || (untrusted->offset - linear) % 4 != 0)
		return refuse(request, VIRTIO_GPU_RESP_ERR_UNSPEC, "transfer from a layout that is not the resource's");
	uint64_t base = untrusted->offset - linear;
	if (base != 0 && (base > gpu->memory->size || base + stride * resource->height > resource->backing->bytes))
		return refuse(request, VIRTIO_GPU_RESP_ERR_UNSPEC, "transfer from a layout that is not the resource's");
	resource->base = base;
	resource->transferred = rect_union(resource->transferred, to_rect(r));
	return OK;
}

static uint32_t resource_flush(struct gpu *gpu, struct gpu_request *request)
{
	const struct virtio_gpu_resource_flush *untrusted = &request->untrusted.flush;
	struct gpu_resource *resource = gpu_resource_find(gpu, untrusted->resource_id);
	if (resource == NULL)
		return no_resource(request);
	bool inside = resource->blob ? rect_in_blob(&untrusted->r, resource->size) : rect_inside(&untrusted->r, resource->width, resource->height);
	if (!inside)
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "flush outside its resource");
	struct rect area = rect_union(to_rect(&untrusted->r), resource->transferred);
	resource->transferred = (struct rect){ 0 };
	request->waits = gpu_head_flush(gpu, resource, area, request->sequence);
	return OK;
}

/* Section 5.7.6.10. The reply is optional; the Linux driver gives no room for one. */
static uint32_t cursor(struct gpu *gpu, struct gpu_request *request)
{
	const struct virtio_gpu_update_cursor *untrusted = &request->untrusted.cursor;
	if (untrusted->pos.scanout_id >= gpu->n_heads)
		return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID, "no such scanout");
	struct gpu_cursor *pointer = &gpu->head[untrusted->pos.scanout_id].cursor;
	if (request->untrusted.hdr.type == VIRTIO_GPU_CMD_UPDATE_CURSOR && untrusted->resource_id != 0) {
		struct gpu_resource *resource = gpu_resource_find(gpu, untrusted->resource_id);
		if (resource == NULL)
			return no_resource(request);
		if (!resource->blob && (resource->width != LINK_CURSOR_SIDE || resource->height != LINK_CURSOR_SIDE))
			return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "pointer picture that is not 64x64");
		const uint64_t bytes = LINK_CURSOR_SIDE * LINK_CURSOR_SIDE * 4;
		if (resource->backing == NULL || resource->backing->bytes < resource->base + bytes || (resource->blob && resource->size < bytes))
			return refuse(request, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "pointer picture larger than its backing");
		pointer->resource = resource;
		pointer->image_news = true;
		pointer->visible = true;
		pointer->hot_x = min_u32(untrusted->hot_x, LINK_CURSOR_SIDE - 1);
		pointer->hot_y = min_u32(untrusted->hot_y, LINK_CURSOR_SIDE - 1);
	} else if (request->untrusted.hdr.type == VIRTIO_GPU_CMD_UPDATE_CURSOR) {
		pointer->image_news = false;
		pointer->visible = false;
	}
	/* Signed on the wire in all but name: Linux stores the plane's crtc_x, which is negative at the left edge. */
	pointer->x = (int32_t)untrusted->pos.x;
	pointer->y = (int32_t)untrusted->pos.y;
	pointer->news = true;
	return OK;
}

struct command {
	uint32_t type;
	uint32_t size;    /* bytes of its fixed part */
	uint64_t feature; /* bit that must be negotiated; 0: none */
	uint32_t (*run)(struct gpu *gpu, struct gpu_request *request);
};

#define FEATURE(bit) (1ull << (bit))
#define SIZE(member) sizeof(((struct gpu_request *)0)->untrusted.member)

static const struct command control_commands[] = {
	{ VIRTIO_GPU_CMD_GET_DISPLAY_INFO, SIZE(hdr), 0, get_display_info },
	{ VIRTIO_GPU_CMD_GET_EDID, SIZE(get_edid), FEATURE(VIRTIO_GPU_F_EDID), get_edid },
	{ VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, SIZE(create_2d), 0, resource_create_2d },
	{ VIRTIO_GPU_CMD_RESOURCE_UNREF, SIZE(unref), 0, resource_unref },
	{ VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, SIZE(attach), 0, attach_backing },
	{ VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, SIZE(detach), 0, detach_backing },
	{ VIRTIO_GPU_CMD_SET_SCANOUT, SIZE(set_scanout), 0, set_scanout },
	{ VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, SIZE(transfer), 0, transfer_to_host_2d },
	{ VIRTIO_GPU_CMD_RESOURCE_FLUSH, SIZE(flush), 0, resource_flush },
	{ VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, SIZE(create_blob), FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB), resource_create_blob },
	{ VIRTIO_GPU_CMD_SET_SCANOUT_BLOB, SIZE(set_scanout_blob), FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB), set_scanout_blob },
};

static const struct command cursor_commands[] = {
	{ VIRTIO_GPU_CMD_UPDATE_CURSOR, SIZE(cursor), 0, cursor },
	{ VIRTIO_GPU_CMD_MOVE_CURSOR, SIZE(cursor), 0, cursor },
};

static void dispatch(struct gpu *gpu, struct gpu_request *request, const struct command *commands, size_t n)
{
	/* The only read of the fixed part; what is missing stays zero. */
	uint64_t got = virtq_chain_read(request->chain, 0, &request->untrusted, sizeof request->untrusted);
	struct virtio_gpu_ctrl_hdr *reply = &request->reply.hdr;
	request->reply_size = sizeof *reply;
	if (got < sizeof request->untrusted.hdr) {
		reply->type = refuse(request, VIRTIO_GPU_RESP_ERR_UNSPEC, "command shorter than its header");
		request->untrusted.hdr.flags = 0;
		return;
	}
	const struct command *command = NULL;
	for (size_t i = 0; i < n && command == NULL; i++)
		if (commands[i].type == request->untrusted.hdr.type)
			command = &commands[i];
	if (command == NULL || (command->feature & ~gpu->device.driver_features) != 0)
		reply->type = refuse(request, VIRTIO_GPU_RESP_ERR_UNSPEC, "command that is not offered");
	else if (got < command->size)
		reply->type = refuse(request, VIRTIO_GPU_RESP_ERR_UNSPEC, "command shorter than its type says");
	else
		reply->type = command->run(gpu, request);
	if (reply->type >= VIRTIO_GPU_RESP_ERR_UNSPEC)
		request->reply_size = sizeof *reply;
	if (request->untrusted.hdr.flags & VIRTIO_GPU_FLAG_FENCE) {
		reply->flags = VIRTIO_GPU_FLAG_FENCE;
		reply->fence_id = request->untrusted.hdr.fence_id;
		reply->ctx_id = request->untrusted.hdr.ctx_id;
	}
}

void gpu_control_command(struct gpu *gpu, struct gpu_request *request)
{
	dispatch(gpu, request, control_commands, ARRAY_LEN(control_commands));
}

void gpu_cursor_command(struct gpu *gpu, struct gpu_request *request)
{
	dispatch(gpu, request, cursor_commands, ARRAY_LEN(cursor_commands));
}
