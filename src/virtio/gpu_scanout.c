/*
 * Heads and what the panel is told of them. Handlers only change the wanted state; gpu_publish() compares it with what the panel
 * knows and sends the difference. So a full link loses nothing, many flushes of one batch are one message, and a reset (on a
 * vCPU thread, which may not send) is just another wanted state.
 */
#include "virtio/gpu_internal.h"

#include <drm_fourcc.h>
#include <string.h>

uint64_t gpu_head_period_ns(const struct gpu_head *head)
{
	/* Between 1 and 1000 Hz, whatever the panel says. */
	uint64_t mhz = head->refresh_mhz == 0 ? 60000 : head->refresh_mhz;
	mhz = mhz < 1000 ? 1000 : mhz > 1000000 ? 1000000 : mhz;
	return 1000 * NSEC_PER_SEC / mhz;
}

/* Of the bound resource's picture. 2D resources have one of their own, which moves with their base; blobs get one by the binding. */
static struct gpu_geometry head_geometry(const struct gpu_head *head)
{
	const struct gpu_resource *resource = head->resource;
	if (resource->blob)
		return head->geometry;
	return (struct gpu_geometry){ resource->width, resource->height, resource->width * 4, gpu_fourcc(resource->format, false), resource->base };
}

static struct gpu_geometry cursor_geometry(const struct gpu_resource *resource)
{
	return (struct gpu_geometry){
		.width = LINK_CURSOR_SIDE,
		.height = LINK_CURSOR_SIDE,
		.stride = LINK_CURSOR_SIDE * 4,
		/* A blob has no format; the Linux driver's cursors are ARGB8888 (virtgpu_plane.c). */
		.format = resource->blob ? DRM_FORMAT_ARGB8888 : gpu_fourcc(resource->format, true),
		.offset = resource->base,
	};
}

static bool same_geometry(const struct gpu_geometry *a, const struct gpu_geometry *b)
{
	return a->width == b->width && a->height == b->height && a->stride == b->stride && a->format == b->format && a->offset == b->offset;
}

/* Are there pages under the whole picture? All parts were bounded when the geometry was accepted. */
static bool covered(const struct gpu_resource *resource, const struct gpu_geometry *geometry)
{
	return resource->backing != NULL &&
		geometry->offset + (uint64_t)geometry->stride * (geometry->height - 1) + (uint64_t)geometry->width * 4 <= resource->backing->bytes;
}

void gpu_head_bind(struct gpu *gpu, uint32_t index, struct gpu_resource *resource, const struct gpu_geometry *geometry, struct rect source, uint64_t now_ns)
{
	struct gpu_head *head = &gpu->head[index];
	head->resource = resource;
	head->geometry = *geometry;
	head->source = source;
	head->damage = source;
	head->news = false;
	/* Rule: binding shows nothing by itself, unless no flush comes for one refresh. */
	head->bind_deadline_ns = now_ns + gpu_head_period_ns(head);
}

void gpu_head_unbind(struct gpu *gpu, uint32_t index)
{
	struct gpu_head *head = &gpu->head[index];
	head->resource = NULL;
	head->news = false;
	head->damage = (struct rect){ 0 };
	head->bind_deadline_ns = 0;
	gpu_fences_release_head(&gpu->fences, index);
}

bool gpu_head_flush(struct gpu *gpu, struct gpu_resource *resource, struct rect area, uint64_t sequence[LINK_MAX_HEADS])
{
	bool any = false;
	for (uint32_t i = 0; i < LINK_MAX_HEADS; i++) {
		struct gpu_head *head = &gpu->head[i];
		if (head->resource != resource)
			continue;
		struct gpu_geometry geometry = head_geometry(head);
		struct rect damage = rect_intersect(area, head->source);
		if (!covered(resource, &geometry) || (rect_empty(&damage) && head->bind_deadline_ns == 0))
			continue;
		head->damage = rect_union(head->damage, damage);
		head->news = true;
		head->bind_deadline_ns = 0;
		sequence[i] = ++head->sequence;
		any = true;
	}
	return any;
}

/* Ends the producer's use of a buffer. */
static void buffer_kill(struct gpu *gpu, struct gpu_buffer *buffer)
{
	buffer->resource = NULL;
	if (buffer->state == GPU_BUFFER_NEW) {
		gpu_backing_unref(gpu, buffer->backing);
		buffer->backing = NULL;
		buffer->state = GPU_BUFFER_FREE;
	} else {
		buffer->state = GPU_BUFFER_DYING;
	}
}

void gpu_scanout_forget(struct gpu *gpu, struct gpu_resource *resource)
{
	for (uint32_t i = 0; i < LINK_MAX_HEADS; i++) {
		struct gpu_head *head = &gpu->head[i];
		if (head->resource == resource) {
			/* No page, no picture: nobody will present what was flushed. */
			head->damage = head->source;
			gpu_fences_release_head(&gpu->fences, i);
		}
		if (head->cursor.resource != resource)
			continue;
		head->cursor.resource = NULL;
		if (head->cursor.image_news) {
			/* Its picture never reached the panel, which would go on showing the one before. */
			head->cursor.image_news = false;
			head->cursor.visible = false;
		}
	}
	for (uint32_t i = 0; i < LINK_MAX_BUFFERS; i++)
		if (gpu->buffer[i].resource == resource)
			buffer_kill(gpu, &gpu->buffer[i]);
}

static bool is_told(const struct gpu *gpu, const struct gpu_buffer *buffer)
{
	for (uint32_t i = 0; i < LINK_MAX_HEADS; i++)
		if (gpu->head[i].told == buffer)
			return true;
	return false;
}

/* The buffer of this picture, made when it is not there. NULL: no slot until the panel releases one. */
static struct gpu_buffer *buffer_get(struct gpu *gpu, struct gpu_resource *resource, const struct gpu_geometry *geometry)
{
	struct gpu_buffer *vacant = NULL, *oldest = NULL;
	uint32_t live = 0;
	for (uint32_t i = 0; i < LINK_MAX_BUFFERS; i++) {
		struct gpu_buffer *buffer = &gpu->buffer[i];
		if (buffer->state == GPU_BUFFER_FREE) {
			if (vacant == NULL)
				vacant = buffer;
			continue;
		}
		if (buffer->resource == NULL)
			continue;
		if (buffer->resource == resource && same_geometry(&buffer->geometry, geometry)) {
			buffer->used = ++gpu->age;
			return buffer;
		}
		live++;
		if (!is_told(gpu, buffer) && (oldest == NULL || buffer->used < oldest->used))
			oldest = buffer;
	}
	if (live >= GPU_LIVE_BUFFERS && oldest != NULL)
		buffer_kill(gpu, oldest);
	if (vacant == NULL)
		return NULL;
	resource->backing->refs++;
	*vacant = (struct gpu_buffer){
		.state = GPU_BUFFER_NEW,
		.name = { (uint32_t)(vacant - gpu->buffer) + 1, ++gpu->generation },
		.resource = resource,
		.backing = resource->backing,
		.geometry = *geometry,
		.used = ++gpu->age,
	};
	return vacant;
}

/* An announced buffer of this picture, or NULL: not now. */
static struct gpu_buffer *announce(struct gpu *gpu, struct gpu_resource *resource, const struct gpu_geometry *geometry)
{
	struct gpu_buffer *buffer = buffer_get(gpu, resource, geometry);
	if (buffer == NULL || buffer->state == GPU_BUFFER_ANNOUNCED)
		return buffer;
	const struct gpu_backing *backing = buffer->backing;
	if (!link_send_buffer(gpu->link, buffer->name, geometry->width, geometry->height, geometry->stride, geometry->format, geometry->offset,
		    backing->segment, backing->n_segments))
		return NULL;
	buffer->state = GPU_BUFFER_ANNOUNCED;
	return buffer;
}

static bool publish_none(struct gpu *gpu, uint32_t index)
{
	struct gpu_head *head = &gpu->head[index];
	head->news = false;
	if (head->told == NULL)
		return true;
	struct link_message message = { .type = LINK_NO_FRAME, .head = index };
	if (!link_send_to_panel(gpu->link, &message))
		return false;
	head->told = NULL;
	return true;
}

/* False: could not tell everything. */
static bool publish_head(struct gpu *gpu, uint32_t index, uint64_t now_ns)
{
	struct gpu_head *head = &gpu->head[index];
	if (head->resource == NULL)
		return publish_none(gpu, index);
	bool dying = head->told != NULL && head->told->state == GPU_BUFFER_DYING;
	if (!head->news && !dying && (head->bind_deadline_ns == 0 || now_ns < head->bind_deadline_ns))
		return true;
	struct gpu_geometry geometry = head_geometry(head);
	if (!covered(head->resource, &geometry)) {
		head->bind_deadline_ns = 0;
		return publish_none(gpu, index);
	}
	if (!head->news) {
		head->news = true;
		head->sequence++;
		head->bind_deadline_ns = 0;
	}
	struct gpu_buffer *buffer = announce(gpu, head->resource, &geometry);
	if (buffer == NULL)
		return false;
	struct link_message message = {
		.type = LINK_FRAME,
		.head = index,
		.frame = {
			.buffer = buffer->name,
			.sequence = head->sequence,
			.source = head->source,
			/* What else changed in another buffer is not known. */
			.damage = buffer == head->told ? head->damage : head->source,
		},
	};
	if (!link_send_to_panel(gpu->link, &message))
		return false;
	head->told = buffer;
	head->news = false;
	head->damage = (struct rect){ 0 };
	return true;
}

static bool publish_cursor(struct gpu *gpu, uint32_t index)
{
	struct gpu_cursor *cursor = &gpu->head[index].cursor;
	if (!cursor->news)
		return true;
	struct link_message message = {
		.type = LINK_CURSOR,
		.head = index,
		.cursor = { .x = cursor->x, .y = cursor->y, .hot_x = cursor->hot_x, .hot_y = cursor->hot_y, .visible = cursor->visible },
	};
	if (cursor->image_news) {
		struct gpu_geometry geometry = cursor_geometry(cursor->resource);
		struct gpu_buffer *buffer = announce(gpu, cursor->resource, &geometry);
		if (buffer == NULL)
			return false;
		message.cursor.buffer = buffer->name;
	}
	if (!link_send_to_panel(gpu->link, &message))
		return false;
	cursor->news = cursor->image_news = false;
	return true;
}

/* A buffer is given up after no head shows it: the old picture stands until its successor's message. */
static bool publish_dead(struct gpu *gpu)
{
	for (uint32_t i = 0; i < LINK_MAX_BUFFERS; i++) {
		struct gpu_buffer *buffer = &gpu->buffer[i];
		if (buffer->state != GPU_BUFFER_DYING || is_told(gpu, buffer))
			continue;
		struct link_message message = { .type = LINK_BUFFER_DEAD, .dead = buffer->name };
		if (!link_send_to_panel(gpu->link, &message))
			return false;
		buffer->state = GPU_BUFFER_DEAD;
	}
	return true;
}

void gpu_publish(struct gpu *gpu, uint64_t now_ns)
{
	bool all = true;
	for (uint32_t i = 0; i < LINK_MAX_HEADS; i++) {
		all &= publish_head(gpu, i, now_ns);
		all &= publish_cursor(gpu, i);
	}
	all &= publish_dead(gpu);
	if (!all)
		gpu->retry_ns = now_ns + GPU_RETRY_NS;
	gpu->blocked = !all;
}

void gpu_buffer_released(struct gpu *gpu, struct link_buffer_id name)
{
	if (name.id == 0 || name.id > LINK_MAX_BUFFERS)
		return;
	struct gpu_buffer *buffer = &gpu->buffer[name.id - 1];
	if (buffer->state != GPU_BUFFER_DEAD || buffer->name.generation != name.generation)
		return;
	gpu_backing_unref(gpu, buffer->backing);
	*buffer = (struct gpu_buffer){ 0 };
}
