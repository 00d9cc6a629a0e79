/*
 * virtio-gpu inside: shared by gpu.c and the gpu_*.c files, nobody else.
 *
 *   gpu.c           the device: queues, replies, fences, config space, timers, messages of the panel
 *   gpu_command.c   one function per command: checks a private copy of it and changes resources and heads
 *   gpu_resource.c  resources and their backing, within a budget of host memory
 *   gpu_scanout.c   heads, buffers and pointer pictures: what the panel is told
 *   gpu_fence.c     the order in which fenced replies leave
 *   gpu_state.c     save and load
 *
 * No pixel is ever read or copied here: a resource's picture stays in the guest's pages, whose places in guest RAM go to the
 * panel. Everything is guarded by the device's lock. Only the machine's thread sends on the link, so what a vCPU thread
 * changes (reset) is only written down and told later by gpu_publish().
 */
#pragma once

#include <linux/virtio_gpu.h>

#include "base/log.h"
#include "virtio/gpu.h"
#include "vmm/state.h"

#define GPU_MAX_RESOURCES 1024u
#define GPU_MAX_ENTRIES 16384u  /* backing entries of one command */
#define GPU_HOST_BYTES (16ull << 20) /* host memory that resources may take in sum: 1 M runs of pages */
#define GPU_LIVE_BUFFERS 64u    /* kept announced; the least recently used goes first */
#define GPU_RESOURCE_BUCKETS 256u
#define GPU_BATCH_COST 64u      /* work under the lock at a time: commands, and backing entries / GPU_COST_ENTRIES */
#define GPU_COST_ENTRIES 256u
#define GPU_FENCE_NS (40 * NSEC_PER_MSEC) /* Linux gives up a flush after 50 ms (virtgpu_plane.c) */
#define GPU_RETRY_NS (2 * NSEC_PER_MSEC)  /* when the link was full */

/* Where the bytes of a resource are in the memfd. Shared by the resource and the buffers made from it. */
struct gpu_backing {
	uint32_t refs;
	uint32_t n_segments;
	uint64_t bytes;  /* sum of the segments */
	uint64_t charge; /* host bytes taken from the budget */
	struct link_segment *segment;
};

struct gpu_resource {
	struct gpu_resource *next; /* in its bucket */
	uint32_t id;
	bool blob;
	uint32_t width, height, format; /* 2D: pixels, enum virtio_gpu_formats */
	uint64_t size;                  /* blob: bytes */
	uint64_t base;                  /* 2D: byte of the backing where the picture begins */
	struct gpu_backing *backing;    /* NULL: detached */
	struct rect transferred;        /* 2D: since the last flush, pixels */
};

/* A picture within a resource. */
struct gpu_geometry {
	uint32_t width, height; /* pixels */
	uint32_t stride;        /* bytes */
	uint32_t format;        /* DRM fourcc */
	uint64_t offset;        /* bytes */
};

enum gpu_buffer_state {
	GPU_BUFFER_FREE,
	GPU_BUFFER_NEW,       /* not announced yet */
	GPU_BUFFER_ANNOUNCED,
	GPU_BUFFER_DYING,     /* announced, its resource is gone; the panel is to be told */
	GPU_BUFFER_DEAD,      /* the panel was told; waits for LINK_RELEASED */
};

/* What the panel knows as a buffer. Its slot number + 1 is its id. */
struct gpu_buffer {
	enum gpu_buffer_state state;
	struct link_buffer_id name;
	struct gpu_resource *resource; /* NEW, ANNOUNCED */
	struct gpu_backing *backing;   /* held until FREE */
	struct gpu_geometry geometry;
	uint64_t used;                 /* age */
};

struct gpu_cursor {
	struct gpu_resource *resource; /* of the picture, as long as it lives */
	bool news, image_news;         /* to be told: anything, the picture too */
	bool visible;
	int32_t x, y;
	uint32_t hot_x, hot_y;
};

struct gpu_head {
	/* The monitor: the last one, where it is not enabled. */
	bool enabled;
	uint32_t width, height, refresh_mhz, width_mm, height_mm;
	char name[14];
	/* What the guest bound. */
	struct gpu_resource *resource; /* NULL: nothing */
	struct gpu_geometry geometry;  /* blob only: see head_geometry() */
	struct rect source;
	uint64_t bind_deadline_ns;     /* publish by then without a flush; 0: was published */
	/* What is to be told and what was. */
	bool news;
	struct rect damage;            /* within source */
	uint64_t sequence, presented;
	uint64_t pace_ns;              /* not enabled: when its frames count as presented; 0: none waits */
	struct gpu_buffer *told;       /* NULL: no picture */
	struct gpu_cursor cursor;
};

struct gpu_fence {
	uint16_t head; /* descriptor chain; its reply is written already */
	uint32_t written;
	uint64_t deadline_ns;               /* no longer than this; 0: waits for nothing but its turn */
	uint64_t sequence[LINK_MAX_HEADS];  /* frames that must have been presented; 0: none */
};

/* Fenced replies in ring order. In-flight chains are at most the queue's size, so there is always room. */
struct gpu_fences {
	uint32_t first, count;
	struct gpu_fence fence[VIRTQ_MAX_SIZE];
};

struct gpu {
	struct virtio_device device;
	const struct guest_memory *memory;
	struct link *link;
	struct stats *stats;
	bool paused;
	uint32_t n_heads;     /* scanouts offered */
	uint32_t events_read; /* config space */
	bool display_due;     /* a monitor changed: the driver hears of it at the end of the batch, or at the resume */
	bool event_answered;  /* the driver asked about monitors since the event was set */
	bool event_again;     /* and then one changed: the driver's clearing is of the event before */

	struct gpu_resource *bucket[GPU_RESOURCE_BUCKETS];
	uint32_t n_resources;
	uint64_t host_bytes; /* of GPU_HOST_BYTES */

	struct gpu_head head[LINK_MAX_HEADS];
	struct gpu_buffer buffer[LINK_MAX_BUFFERS];
	uint32_t generation; /* of the last buffer */
	uint64_t age;
	bool blocked;        /* the link was full, or no buffer slot was free */
	uint64_t retry_ns;   /* then: when to try again */

	struct gpu_fences fences;
	bool hush;           /* what was returned since the last interrupt was sent ahead of a flush that waits, whose interrupt is for all of it */
	struct virtq_chain chain; /* the one being worked on */
	uint64_t flushed, marker_ns;
	struct log_limit refused;
};

/* One command while it is carried out. */
struct gpu_request {
	const struct virtq_chain *chain;
	union {
		struct virtio_gpu_ctrl_hdr hdr;
		struct virtio_gpu_cmd_get_edid get_edid;
		struct virtio_gpu_resource_create_2d create_2d;
		struct virtio_gpu_resource_unref unref;
		struct virtio_gpu_resource_attach_backing attach;
		struct virtio_gpu_resource_detach_backing detach;
		struct virtio_gpu_set_scanout set_scanout;
		struct virtio_gpu_transfer_to_host_2d transfer;
		struct virtio_gpu_resource_flush flush;
		struct virtio_gpu_resource_create_blob create_blob;
		struct virtio_gpu_set_scanout_blob set_scanout_blob;
		struct virtio_gpu_update_cursor cursor;
	} untrusted; /* private copy: cannot change, but its values are the guest's */
	union {
		struct virtio_gpu_ctrl_hdr hdr;
		struct virtio_gpu_resp_display_info display_info;
		struct virtio_gpu_resp_edid edid;
	} reply; /* all zero at the start */
	uint32_t reply_size;
	uint32_t entries; /* backing entries looked at: the cost */
	const char *why;  /* static text: why it was refused */
	uint64_t now_ns;
	bool waits;       /* the reply is for a flush whose frames are `sequence` */
	uint64_t sequence[LINK_MAX_HEADS];
};

/* Carries out the command at the start of the request's chain and fills reply. Lock held. */
void gpu_control_command(struct gpu *gpu, struct gpu_request *request);
void gpu_cursor_command(struct gpu *gpu, struct gpu_request *request);

/* The driver has read what monitors there are. */
void gpu_display_read(struct gpu *gpu);

/* Resources. NULL when there is none of that id. */
struct gpu_resource *gpu_resource_find(const struct gpu *gpu, uint32_t id);
/* A new one without backing; NULL: the number or the memory is used up. */
struct gpu_resource *gpu_resource_create(struct gpu *gpu, uint32_t id);
/* Withdraws it from heads and panel, and frees it. */
void gpu_resource_destroy(struct gpu *gpu, struct gpu_resource *resource);
void gpu_resource_destroy_all(struct gpu *gpu);
/*
 * Reads n entries (virtio_gpu_mem_entry) at byte `offset` of the request's readable part. 0 and *backing with one reference, or
 * the VIRTIO_GPU_RESP_ERR_* to answer with (nothing kept).
 */
uint32_t gpu_backing_read(struct gpu *gpu, struct gpu_request *request, uint64_t offset, uint32_t untrusted_n, struct gpu_backing **backing);
void gpu_backing_unref(struct gpu *gpu, struct gpu_backing *backing);

/*
 * DRM fourcc of a virtio format, or 0. Scanouts are opaque and pointer pictures are not, whatever the format says: the Linux driver
 * makes all its dumb buffers, cursors too, in one format.
 */
uint32_t gpu_fourcc(uint32_t untrusted_format, bool alpha);

/* Heads. */
void gpu_head_bind(struct gpu *gpu, uint32_t head, struct gpu_resource *resource, const struct gpu_geometry *geometry, struct rect source, uint64_t now_ns);
void gpu_head_unbind(struct gpu *gpu, uint32_t head);
/* The resource's pixels in `area` changed: publishes on every head that shows them; sequence[] gets the frames. True when there was one. */
bool gpu_head_flush(struct gpu *gpu, struct gpu_resource *resource, struct rect area, uint64_t sequence[LINK_MAX_HEADS]);
/* The resource's pages are no longer valid: its buffers die, heads that show them fall back to "no picture". */
void gpu_scanout_forget(struct gpu *gpu, struct gpu_resource *resource);
/* Tells the panel all news, as far as the link has room. Machine thread. */
void gpu_publish(struct gpu *gpu, uint64_t now_ns);
void gpu_buffer_released(struct gpu *gpu, struct link_buffer_id name);
/* Nanoseconds of one refresh of the head's monitor. */
uint64_t gpu_head_period_ns(const struct gpu_head *head);

/* Of struct virtio_device_ops. */
uint32_t gpu_save(struct virtio_device *device, void *to, uint32_t size);
bool gpu_load(struct virtio_device *device, const void *from, uint32_t size);

/* Fences. Pure. */
void gpu_fences_push(struct gpu_fences *fences, const struct gpu_fence *fence);
/* Takes the front when it may leave. */
bool gpu_fences_take(struct gpu_fences *fences, const struct gpu_head head[LINK_MAX_HEADS], uint64_t now_ns, struct gpu_fence *fence);
/* Nobody will present this head's frames any more: no fence waits for it. */
void gpu_fences_release_head(struct gpu_fences *fences, uint32_t head);
/* When the front leaves at the latest; UINT64_MAX: nothing waits. */
uint64_t gpu_fences_deadline(const struct gpu_fences *fences);
