#include "virtio/gpu_internal.h"

#include <drm_fourcc.h>
#include <stdlib.h>
#include <string.h>

uint32_t gpu_fourcc(uint32_t untrusted_format, bool alpha)
{
	/* virtio names bytes in memory order, DRM the bits of a little-endian word: virtio_gpu_translate_format() in Linux. */
	switch (untrusted_format) {
	case VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM:
	case VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM:
		return alpha ? DRM_FORMAT_ARGB8888 : DRM_FORMAT_XRGB8888;
	case VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM:
	case VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM:
		return alpha ? DRM_FORMAT_BGRA8888 : DRM_FORMAT_BGRX8888;
	case VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM:
	case VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM:
		return alpha ? DRM_FORMAT_ABGR8888 : DRM_FORMAT_XBGR8888;
	case VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM:
	case VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM:
		return alpha ? DRM_FORMAT_RGBA8888 : DRM_FORMAT_RGBX8888;
	default:
		return 0;
	}
}

static struct gpu_resource **place_of(struct gpu *gpu, uint32_t id)
{
	struct gpu_resource **place = &gpu->bucket[id % GPU_RESOURCE_BUCKETS];
	while (*place != NULL && (*place)->id != id)
		place = &(*place)->next;
	return place;
}

struct gpu_resource *gpu_resource_find(const struct gpu *gpu, uint32_t id)
{
	struct gpu_resource *resource = gpu->bucket[id % GPU_RESOURCE_BUCKETS];
	while (resource != NULL && resource->id != id)
		resource = resource->next;
	return resource;
}

struct gpu_resource *gpu_resource_create(struct gpu *gpu, uint32_t id)
{
	if (gpu->n_resources >= GPU_MAX_RESOURCES)
		return NULL;
	struct gpu_resource *resource = calloc(1, sizeof *resource);
	if (resource == NULL)
		return NULL;
	resource->id = id;
	*place_of(gpu, id) = resource;
	gpu->n_resources++;
	return resource;
}

void gpu_resource_destroy(struct gpu *gpu, struct gpu_resource *resource)
{
	for (uint32_t i = 0; i < LINK_MAX_HEADS; i++) {
		if (gpu->head[i].resource == resource)
			gpu_head_unbind(gpu, i);
	}
	gpu_scanout_forget(gpu, resource);
	if (resource->backing != NULL)
		gpu_backing_unref(gpu, resource->backing);
	*place_of(gpu, resource->id) = resource->next;
	gpu->n_resources--;
	free(resource);
}

void gpu_resource_destroy_all(struct gpu *gpu)
{
	for (uint32_t i = 0; i < GPU_RESOURCE_BUCKETS; i++)
		while (gpu->bucket[i] != NULL)
			gpu_resource_destroy(gpu, gpu->bucket[i]);
}

void gpu_backing_unref(struct gpu *gpu, struct gpu_backing *backing)
{
	if (--backing->refs > 0)
		return;
	gpu->host_bytes -= backing->charge;
	free(backing->segment);
	free(backing);
}

static bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* Pictures in the rings that the device itself writes: never a driver's intention. The range was found to be RAM: no sum wraps. */
static bool is_ring(const struct gpu *gpu, uint64_t gpa, uint64_t length)
{
	for (uint32_t i = 0; i < gpu->device.n_queues; i++) {
		const struct virtq *queue = &gpu->device.queue[i];
		if (!queue->enabled)
			continue;
		if (overlaps(gpa, length, queue->desc_gpa, 16ull * queue->size) || overlaps(gpa, length, queue->avail_gpa, 6 + 2ull * queue->size) ||
			overlaps(gpa, length, queue->used_gpa, 6 + 8ull * queue->size))
			return true;
	}
	return false;
}

/* Adds one run, merged with the last where it continues it. */
static void add_run(struct gpu_backing *backing, uint64_t offset, uint64_t length)
{
	struct link_segment *last = backing->n_segments > 0 ? &backing->segment[backing->n_segments - 1] : NULL;
	if (last != NULL && last->offset + last->length == offset)
		last->length += length;
	else
		backing->segment[backing->n_segments++] = (struct link_segment){ offset, length };
	backing->bytes += length; /* at most GPU_MAX_ENTRIES * 4 GiB: no overflow */
}

static uint32_t read_runs(struct gpu *gpu, struct gpu_request *request, uint64_t offset, uint32_t n, struct gpu_backing *backing)
{
	struct virtio_gpu_mem_entry untrusted[128];
	for (uint32_t done = 0; done < n;) {
		uint32_t count = min_u32(n - done, ARRAY_LEN(untrusted));
		if (virtq_chain_read(request->chain, offset, untrusted, count * sizeof untrusted[0]) != count * sizeof untrusted[0]) {
			request->why = "backing entries end early";
			return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
		}
		for (uint32_t i = 0; i < count; i++) {
			uint64_t place;
			if (!guest_memory_offset(gpu->memory, untrusted[i].addr, untrusted[i].length, &place) ||
				is_ring(gpu, untrusted[i].addr, untrusted[i].length)) {
				request->why = "backing outside RAM or in a ring";
				return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
			}
			/* The panel takes whole pixels only (link/table.h). */
			if (place % 4 != 0 || untrusted[i].length % 4 != 0) {
				request->why = "backing that splits pixels";
				return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
			}
			add_run(backing, place, untrusted[i].length);
		}
		offset += count * sizeof untrusted[0];
		done += count;
		request->entries += count;
	}
	return 0;
}

uint32_t gpu_backing_read(struct gpu *gpu, struct gpu_request *request, uint64_t offset, uint32_t untrusted_n, struct gpu_backing **backing)
{
	/* The entries must be there before anything is allocated by their number. */
	if (untrusted_n == 0 || (request->chain->out_size - offset) / sizeof(struct virtio_gpu_mem_entry) < untrusted_n) {
		request->why = "number of backing entries does not match the command";
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	}
	if (untrusted_n > GPU_MAX_ENTRIES) {
		request->why = "too many backing entries";
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	}
	uint32_t n = untrusted_n, error = VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	struct gpu_backing *made = calloc(1, sizeof *made);
	if (made == NULL)
		return error;
	made->refs = 1;
	made->segment = calloc(n, sizeof made->segment[0]);
	if (made->segment == NULL)
		goto fail;
	error = read_runs(gpu, request, offset, n, made);
	if (error != 0)
		goto fail;
	error = VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	if (made->n_segments > LINK_MAX_SEGMENTS) {
		request->why = "backing too scattered";
		goto fail;
	}
	uint64_t charge = sizeof *made + made->n_segments * sizeof made->segment[0];
	if (gpu->host_bytes + charge > GPU_HOST_BYTES) {
		request->why = "host memory for backings used up";
		goto fail;
	}
	struct link_segment *fitting = realloc(made->segment, made->n_segments * sizeof made->segment[0]);
	if (fitting != NULL)
		made->segment = fitting;
	made->charge = charge;
	gpu->host_bytes += charge;
	*backing = made;
	return 0;

fail:
	free(made->segment);
	free(made);
	return error;
}
