#define LOG_MODULE "gpu"
#include "virtio/gpu_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/stats.h"

#define CONTROL_QUEUE 0
#define CURSOR_QUEUE 1
#define QUEUE_SIZE 256 /* the largest list of backing entries (256 KiB, 64 pages without indirect descriptors) leaves room for others */
#define MARKER_NS (10 * NSEC_PER_SEC)

/* The monitor until the panel says what it has. */
#define FIRST_WIDTH 1280
#define FIRST_HEIGHT 800

static struct gpu *gpu_of(struct virtio_device *device)
{
	return container_of(device, struct gpu, device);
}

static void config_read(struct virtio_device *device, uint32_t offset, void *data, uint32_t size)
{
	struct virtio_gpu_config config = { .events_read = gpu_of(device)->events_read, .num_scanouts = gpu_of(device)->n_heads };
	memcpy(data, (const uint8_t *)&config + offset, size);
}

/* The monitors are not what the driver last read: it is to ask again. */
static void display_changed(struct gpu *gpu)
{
	bool set = gpu->events_read & VIRTIO_GPU_EVENT_DISPLAY;
	gpu->event_again = set && (gpu->event_again || gpu->event_answered);
	gpu->event_answered = set && gpu->event_answered;
	gpu->events_read |= VIRTIO_GPU_EVENT_DISPLAY;
	gpu->display_due = false;
	virtio_notify_config(&gpu->device);
}

void gpu_display_read(struct gpu *gpu)
{
	gpu->event_answered = true;
}

/*
 * Only events_clear is writable; a write of part of it clears the bits it holds. Linux asks first and clears then (virtgpu_kms.c): a monitor that
 * changed between the two would be lost.
 */
static void config_write(struct virtio_device *device, uint32_t offset, const void *data, uint32_t size)
{
	struct gpu *gpu = gpu_of(device);
	struct virtio_gpu_config written = { 0 };
	memcpy((uint8_t *)&written + offset, data, size);
	bool again = gpu->event_again && (written.events_clear & VIRTIO_GPU_EVENT_DISPLAY);
	gpu->events_read &= ~written.events_clear;
	if (again)
		display_changed(gpu);
}

/* Wakes the machine's thread, which alone may send on the link. */
static void wake(struct gpu *gpu)
{
	eventfd_write(gpu->device.kick_fd[CONTROL_QUEUE], 1);
}

static void reset(struct virtio_device *device)
{
	struct gpu *gpu = gpu_of(device);
	gpu->fences.count = 0;
	gpu->hush = false;
	gpu->events_read = 0;
	gpu->display_due = gpu->event_again = false;
	gpu_resource_destroy_all(gpu);
	for (uint32_t i = 0; i < LINK_MAX_HEADS; i++) {
		gpu_head_unbind(gpu, i);
		struct gpu_cursor *cursor = &gpu->head[i].cursor;
		*cursor = (struct gpu_cursor){ .news = cursor->visible || cursor->news };
	}
	wake(gpu);
}

static void count_frame(struct gpu *gpu, uint64_t now_ns)
{
	gpu->flushed++;
	if (gpu->stats != NULL)
		atomic_fetch_add_explicit(&gpu->stats->frames_flushed, 1, memory_order_relaxed);
	if (gpu->flushed == 1 || now_ns >= gpu->marker_ns) {
		log_marker("RAYOS_VMM:VIRTIO_GPU:FRAME_READY:%" PRIu64, gpu->flushed);
		gpu->marker_ns = now_ns + MARKER_NS;
	}
}

/* Fenced replies that may leave now. */
static void settle(struct gpu *gpu, uint64_t now_ns)
{
	struct gpu_fence fence;
	while (gpu_fences_take(&gpu->fences, gpu->head, now_ns, &fence)) {
		virtq_push(&gpu->device.queue[CONTROL_QUEUE], fence.head, fence.written);
		gpu->hush = false;
	}
}

/* No panel answers for a head that is not enabled, but its frames may not come without a pace: they count as presented one refresh later. */
static void pace(struct gpu *gpu, uint64_t now_ns)
{
	for (uint32_t i = 0; i < gpu->n_heads; i++) {
		struct gpu_head *head = &gpu->head[i];
		if (head->enabled || head->presented >= head->sequence || gpu->fences.count == 0) {
			head->pace_ns = 0;
		} else if (head->pace_ns == 0) {
			head->pace_ns = now_ns + gpu_head_period_ns(head);
		} else if (head->pace_ns <= now_ns) {
			head->presented = head->sequence;
			head->pace_ns = 0;
		}
	}
}

/*
 * Carries out the command in gpu->chain and writes its reply; *written: bytes of it. A reply without room for its header is
 * returned with length 0, one without room for its body as an error.
 */
static void carry_out(struct gpu *gpu, struct gpu_request *request, uint32_t index, uint32_t *written)
{
	if (index == CONTROL_QUEUE)
		gpu_control_command(gpu, request);
	else
		gpu_cursor_command(gpu, request);
	uint32_t left_out;
	if (request->why != NULL && log_limit_pass(&gpu->refused, &left_out))
		log_warn("the guest's command 0x%04x was refused: %s (%" PRIu32 " such lines left out)", request->untrusted.hdr.type, request->why, left_out);
	if (gpu->chain.in_size < request->reply_size && request->reply_size > sizeof request->reply.hdr) {
		request->reply.hdr.type = VIRTIO_GPU_RESP_ERR_UNSPEC;
		request->reply_size = sizeof request->reply.hdr;
	}
	*written = 0;
	if (gpu->chain.in_size >= request->reply_size)
		*written = (uint32_t)virtq_chain_write(&gpu->chain, 0, &request->reply, request->reply_size);
}

/* The reply is in the guest's memory; says when its chain is returned. */
static void answer(struct gpu *gpu, const struct gpu_request *request, uint32_t index, uint32_t written)
{
	bool fenced = index == CONTROL_QUEUE && (request->untrusted.hdr.flags & VIRTIO_GPU_FLAG_FENCE);
	if (!fenced) {
		virtq_push(&gpu->device.queue[index], gpu->chain.head, written);
		return;
	}
	struct gpu_fence fence = { .head = gpu->chain.head, .written = written };
	if (request->waits) {
		fence.deadline_ns = request->now_ns + GPU_FENCE_NS;
		memcpy(fence.sequence, request->sequence, sizeof fence.sequence);
	}
	gpu_fences_push(&gpu->fences, &fence);
}

/*
 * A driver that has sent a flush behind a command does not wait for the bare "done" of that: a page flip is SET_SCANOUT and RESOURCE_FLUSH in one kick
 * (drivers/gpu/drm/virtio/virtgpu_plane.c), and one interrupt, when the frame was shown, is half the exits.
 */
static void count_on(struct gpu *gpu, const struct gpu_request *request, bool *waited_for)
{
	if (request->waits && request->untrusted.hdr.flags & VIRTIO_GPU_FLAG_FENCE)
		gpu->hush = !*waited_for;
	else
		gpu->hush = false;
	*waited_for |= request->reply_size > sizeof request->reply.hdr;
}

/* One bounded batch. True: work is left. */
static bool work(struct gpu *gpu, uint32_t index, uint64_t now_ns)
{
	struct virtq *queue = &gpu->device.queue[index];
	bool waited_for = false;
	for (uint32_t cost = 0; cost < GPU_BATCH_COST; cost++) {
		const char *why;
		int popped = virtq_pop(queue, &gpu->chain, &why);
		if (popped < 0) {
			virtio_needs_reset(&gpu->device, why);
			return false;
		}
		if (popped == 0) {
			if (!virtq_rearm(queue))
				return false;
			continue;
		}
		struct gpu_request request = { .chain = &gpu->chain, .now_ns = now_ns };
		uint32_t written;
		carry_out(gpu, &request, index, &written);
		answer(gpu, &request, index, written);
		if (index == CONTROL_QUEUE)
			count_on(gpu, &request, &waited_for);
		if (request.waits)
			count_frame(gpu, now_ns);
		cost += request.entries / GPU_COST_ENTRIES;
	}
	return true;
}

/* What every entry of the machine's thread ends with: news to the panel, replies to the guest. */
static void finish(struct gpu *gpu, uint64_t now_ns)
{
	gpu_publish(gpu, now_ns);
	if (!gpu->device.live) {
		/* A broken device answers nothing any more, and no timer may wait for it. */
		gpu->fences.count = 0;
		return;
	}
	pace(gpu, now_ns);
	settle(gpu, now_ns);
	if (!gpu->hush)
		virtio_notify_queue(&gpu->device, CONTROL_QUEUE);
	virtio_notify_queue(&gpu->device, CURSOR_QUEUE);
}

static bool run(struct virtio_device *device, uint32_t index)
{
	struct gpu *gpu = gpu_of(device);
	uint64_t now_ns = clock_now_ns();
	bool more = false;
	pthread_mutex_lock(&device->lock);
	if (device->live && !gpu->paused && index <= CURSOR_QUEUE)
		more = work(gpu, index, now_ns);
	finish(gpu, now_ns);
	pthread_mutex_unlock(&device->lock);
	return more;
}

/* Nothing is in flight but replies that wait for the panel: they leave now. */
static void pause_device(struct virtio_device *device)
{
	struct gpu *gpu = gpu_of(device);
	gpu->paused = true;
	settle(gpu, UINT64_MAX);
	virtio_notify_queue(device, CONTROL_QUEUE);
}

static void resume_device(struct virtio_device *device)
{
	struct gpu *gpu = gpu_of(device);
	gpu->paused = false;
	if (gpu->display_due && device->live)
		display_changed(gpu);
	gpu->display_due = false;
	wake(gpu);
	eventfd_write(device->kick_fd[CURSOR_QUEUE], 1);
}

static const struct virtio_device_ops gpu_ops = {
	.config_read = config_read,
	.config_write = config_write,
	.reset = reset,
	.run = run,
	.pause = pause_device,
	.resume = resume_device,
	.save = gpu_save,
	.load = gpu_load,
};

struct gpu *gpu_create(const struct guest_memory *memory, struct link *link, uint32_t scanouts, struct stats *stats)
{
	if (scanouts == 0 || scanouts > LINK_MAX_HEADS) {
		errno = EINVAL;
		return NULL;
	}
	struct gpu *gpu = calloc(1, sizeof *gpu);
	if (gpu == NULL)
		return NULL;
	uint64_t features = 1ull << VIRTIO_GPU_F_EDID | 1ull << VIRTIO_GPU_F_RESOURCE_BLOB;
	if (virtio_device_init(&gpu->device, &gpu_ops, "virtio-gpu", VIRTIO_ID_GPU, features, sizeof(struct virtio_gpu_config), 2, QUEUE_SIZE, memory) < 0) {
		free(gpu);
		return NULL;
	}
	gpu->memory = memory;
	gpu->link = link;
	gpu->stats = stats;
	gpu->n_heads = scanouts;
	for (uint32_t i = 0; i < scanouts; i++) {
		gpu->head[i].enabled = i == 0;
		gpu->head[i].width = FIRST_WIDTH;
		gpu->head[i].height = FIRST_HEIGHT;
	}
	return gpu;
}

void gpu_destroy(struct gpu *gpu)
{
	if (gpu == NULL)
		return;
	gpu_resource_destroy_all(gpu);
	for (uint32_t i = 0; i < LINK_MAX_BUFFERS; i++)
		if (gpu->buffer[i].backing != NULL)
			gpu_backing_unref(gpu, gpu->buffer[i].backing);
	virtio_device_finish(&gpu->device);
	free(gpu);
}

struct virtio_device *gpu_device(struct gpu *gpu)
{
	return &gpu->device;
}

static void take_display(struct gpu *gpu, const struct link_message *message)
{
	struct gpu_head *head = &gpu->head[message->head];
	struct gpu_head now = *head;
	now.enabled = message->display.width > 0 && message->display.height > 0;
	if (now.enabled) {
		now.width = min_u32(message->display.width, LINK_MAX_SIDE);
		now.height = min_u32(message->display.height, LINK_MAX_SIDE);
		now.refresh_mhz = message->display.refresh_mhz;
		now.width_mm = message->display.width_mm;
		now.height_mm = message->display.height_mm;
		memset(now.name, 0, sizeof now.name);
		memcpy(now.name, message->display.name, strnlen(message->display.name, sizeof now.name - 1));
	}
	bool same = now.enabled == head->enabled && now.width == head->width && now.height == head->height && now.refresh_mhz == head->refresh_mhz &&
		now.width_mm == head->width_mm && now.height_mm == head->height_mm && memcmp(now.name, head->name, sizeof now.name) == 0;
	*head = now;
	if (!same && gpu->device.live)
		gpu->display_due = true;
}

void gpu_link_message(struct gpu *gpu, const struct link_message *message)
{
	uint64_t now_ns = clock_now_ns();
	pthread_mutex_lock(&gpu->device.lock);
	switch (message->type) {
	case LINK_DISPLAY:
		if (message->head < gpu->n_heads)
			take_display(gpu, message);
		break;
	case LINK_PRESENTED:
		if (message->head < gpu->n_heads) {
			struct gpu_head *head = &gpu->head[message->head];
			if (message->presented.sequence > head->presented && message->presented.sequence <= head->sequence)
				head->presented = message->presented.sequence;
		}
		break;
	case LINK_RELEASED:
		gpu_buffer_released(gpu, message->dead);
		break;
	default:
		/* LINK_VISIBLE too: a hidden guest is paced by the panel's LINK_PRESENTED like a visible one. */
		break;
	}
	finish(gpu, now_ns);
	pthread_mutex_unlock(&gpu->device.lock);
}

uint64_t gpu_tick(struct gpu *gpu, uint64_t now_ns)
{
	pthread_mutex_lock(&gpu->device.lock);
	/* A paused device's state is being saved, its config space and interrupt with it: at the resume. */
	if (gpu->display_due && gpu->device.live && !gpu->paused)
		display_changed(gpu);
	finish(gpu, now_ns);
	uint64_t next = gpu->blocked ? gpu->retry_ns : UINT64_MAX;
	uint64_t fence = gpu_fences_deadline(&gpu->fences);
	if (fence < next)
		next = fence;
	for (uint32_t i = 0; i < gpu->n_heads; i++) {
		uint64_t bind = gpu->head[i].bind_deadline_ns, paced = gpu->head[i].pace_ns;
		if (bind != 0 && bind < next)
			next = bind;
		if (paced != 0 && paced < next)
			next = paced;
	}
	pthread_mutex_unlock(&gpu->device.lock);
	return next;
}
