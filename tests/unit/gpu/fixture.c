#include "fixture.h"

#include "base/stats.h"

struct fixture f;
static struct stats stats;

static void setup_with(uint32_t scanouts)
{
	memset(&f, 0, sizeof f);
	memset(&stats, 0, sizeof stats);
	f.stats = &stats;
	driver_init(&f.d, RAM);
	f.link = link_create(f.d.memory.fd, RAM);
	ck_assert_ptr_nonnull(f.link);
	f.table = link_table_create(RAM);
	f.gpu = gpu_create(&f.d.memory, f.link, scanouts, f.stats);
	ck_assert_ptr_nonnull(f.gpu);
	driver_attach(&f.d, gpu_device(f.gpu), 0x038000);
	driver_start(&f.d, DRIVER_ALL_FEATURES, 256);
	f.request_gpa = driver_alloc(&f.d, SLOTS * 4096);
	f.reply_gpa = driver_alloc(&f.d, SLOTS * 4096);
	f.entries_gpa = driver_alloc(&f.d, (GPU_MAX_ENTRIES + 8) * 16);
}

void setup(void)
{
	setup_with(1);
}

void setup_extended(void)
{
	setup_with(LINK_MAX_HEADS);
}

void teardown(void)
{
	f.keep_released = false;
	driver_set(&f.d, R_STATUS, 0, 1);
	ck_assert(driver_run(&f.d, 0));
	panel();
	ck_assert(driver_run(&f.d, 0));
	panel();
	ck_assert_uint_eq(f.gpu->n_resources, 0);
	ck_assert_uint_eq(f.gpu->host_bytes, 0);
	ck_assert_uint_eq(f.gpu->fences.count, 0);
	for (uint32_t i = 0; i < LINK_MAX_HEADS; i++)
		ck_assert_ptr_null(link_table_head(f.table, i)->buffer);
	for (uint32_t i = 0; i < LINK_MAX_BUFFERS; i++)
		ck_assert_int_eq(f.gpu->buffer[i].state, GPU_BUFFER_FREE);
	ck_assert_uint_eq(gpu_tick(f.gpu, clock_now_ns()), UINT64_MAX);
	driver_detach(&f.d);
	gpu_destroy(f.gpu);
	link_table_destroy(f.table);
	link_destroy(f.link);
	driver_finish(&f.d);
}

struct posted post(const void *bytes, uint32_t size, const struct virtio_gpu_mem_entry *entries, uint32_t n, uint32_t room)
{
	uint32_t slot = f.next_slot++ % SLOTS;
	struct driver_buf bufs[3];
	uint32_t n_out = 0, n_in = 0;
	struct posted posted = { .reply_gpa = f.reply_gpa + slot * 4096 };
	uint64_t request = f.request_gpa + slot * 4096;
	memset(driver_ptr(&f.d, posted.reply_gpa), 0xaa, 4096);
	memcpy(driver_ptr(&f.d, request), bytes, size);
	bufs[n_out++] = (struct driver_buf){ request, size };
	if (n > 0) {
		memcpy(driver_ptr(&f.d, f.entries_gpa), entries, n * sizeof *entries);
		bufs[n_out++] = (struct driver_buf){ f.entries_gpa, n * (uint32_t)sizeof *entries };
	}
	if (room > 0)
		bufs[n_out + n_in++] = (struct driver_buf){ posted.reply_gpa, room };
	posted.head = driver_add(&f.d, 0, bufs, n_out, n_in);
	f.done[posted.head] = false;
	return posted;
}

static void collect(void)
{
	uint32_t head, length;
	while (driver_used(&f.d, 0, &head, &length)) {
		ck_assert_uint_lt(head, 256);
		ck_assert(!f.done[head]); /* exactly one reply */
		f.done[head] = true;
		f.length[head] = length;
		f.answers++;
	}
}

void work_off(void)
{
	driver_kick(&f.d, 0);
	ck_assert(driver_run(&f.d, 0));
	panel();
}

bool answered(struct posted posted)
{
	collect();
	return f.done[posted.head];
}

const void *reply_of(struct posted posted)
{
	return driver_ptr(&f.d, posted.reply_gpa);
}

uint32_t command_entries(const void *bytes, uint32_t size, const struct virtio_gpu_mem_entry *entries, uint32_t n)
{
	struct posted posted = post(bytes, size, entries, n, REPLY_ROOM);
	work_off();
	ck_assert(answered(posted));
	ck_assert_uint_ge(f.length[posted.head], sizeof(struct virtio_gpu_ctrl_hdr));
	return ((const struct virtio_gpu_ctrl_hdr *)reply_of(posted))->type;
}

uint32_t command(const void *bytes, uint32_t size)
{
	return command_entries(bytes, size, NULL, 0);
}

void panel(void)
{
	struct link_message message;
	const char *why;
	if (f.real_panel) {
		link_ack_producer(f.link);
		while (link_receive_for_producer(f.link, &message))
			gpu_link_message(f.gpu, &message);
		gpu_tick(f.gpu, clock_now_ns());
		return;
	}
	link_ack_panel(f.link);
	while (link_receive_for_panel(f.link, &message)) {
		enum link_change change = link_table_take(f.table, &message, &why);
		ck_assert_msg(change != LINK_CHANGE_REFUSED, "the panel refused a message of type %u: %s", message.type, why);
		switch (message.type) {
		case LINK_BUFFER: f.buffers++; break;
		case LINK_BUFFER_DEAD: f.deaths++; break;
		case LINK_FRAME: f.frames++; f.last_frame = message; break;
		case LINK_NO_FRAME: f.no_frames++; break;
		case LINK_CURSOR: f.cursors++; f.last_cursor = message; break;
		}
	}
	struct link_message released = { .type = LINK_RELEASED };
	while (!f.keep_released && link_table_next_released(f.table, &released.dead))
		gpu_link_message(f.gpu, &released);
}

void presented_on(uint32_t head, uint64_t sequence)
{
	struct link_message message = { .type = LINK_PRESENTED, .head = head, .presented = { sequence, clock_now_ns() } };
	gpu_link_message(f.gpu, &message);
}

void presented(uint64_t sequence)
{
	presented_on(0, sequence);
}

void tell_display(uint32_t head, uint32_t width, uint32_t height, uint32_t mhz)
{
	struct link_message message = {
		.type = LINK_DISPLAY, .head = head, .display = { .width = width, .height = height, .refresh_mhz = mhz, .name = "sixteen letters!" },
	};
	gpu_link_message(f.gpu, &message);
}

uint32_t create_2d(uint32_t id, uint32_t width, uint32_t height)
{
	struct virtio_gpu_resource_create_2d c = { { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D }, id, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, width, height };
	return command(&c, sizeof c);
}

uint32_t attach(uint32_t id, uint64_t gpa, uint32_t bytes)
{
	struct virtio_gpu_resource_attach_backing c = { { .type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING }, id, 1 };
	struct virtio_gpu_mem_entry entry = { gpa, bytes, 0 };
	return command_entries(&c, sizeof c, &entry, 1);
}

uint32_t detach(uint32_t id)
{
	struct virtio_gpu_resource_detach_backing c = { { .type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING }, id, 0 };
	return command(&c, sizeof c);
}

uint32_t unref(uint32_t id)
{
	struct virtio_gpu_resource_unref c = { { .type = VIRTIO_GPU_CMD_RESOURCE_UNREF }, id, 0 };
	return command(&c, sizeof c);
}

uint32_t create_blob(uint32_t id, uint64_t size, uint64_t gpa, uint32_t bytes)
{
	struct virtio_gpu_resource_create_blob c = {
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB },
		.resource_id = id,
		.blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
		.blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE,
		.nr_entries = 1,
		.size = size,
	};
	struct virtio_gpu_mem_entry entry = { gpa, bytes, 0 };
	return command_entries(&c, sizeof c, &entry, 1);
}

uint32_t set_scanout_on(uint32_t scanout, uint32_t id, uint32_t w, uint32_t h)
{
	struct virtio_gpu_set_scanout c = { { .type = VIRTIO_GPU_CMD_SET_SCANOUT }, { 0, 0, w, h }, scanout, id };
	return command(&c, sizeof c);
}

uint32_t set_scanout(uint32_t id, uint32_t w, uint32_t h)
{
	return set_scanout_on(0, id, w, h);
}

uint32_t set_scanout_blob(uint32_t id, uint32_t w, uint32_t h, uint32_t stride, uint32_t offset)
{
	struct virtio_gpu_set_scanout_blob c = {
		.hdr = { .type = VIRTIO_GPU_CMD_SET_SCANOUT_BLOB },
		.r = { 0, 0, w, h },
		.resource_id = id,
		.width = w,
		.height = h,
		.format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
		.strides = { stride },
		.offsets = { offset },
	};
	return command(&c, sizeof c);
}

uint32_t transfer(uint32_t id, struct virtio_gpu_rect r, uint64_t offset)
{
	struct virtio_gpu_transfer_to_host_2d c = { { .type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D }, r, offset, id, 0 };
	return command(&c, sizeof c);
}

uint32_t flush(uint32_t id, struct virtio_gpu_rect r)
{
	struct virtio_gpu_resource_flush c = { { .type = VIRTIO_GPU_CMD_RESOURCE_FLUSH }, r, id, 0 };
	return command(&c, sizeof c);
}

struct posted post_flush(uint32_t id, struct virtio_gpu_rect r, uint64_t fence)
{
	struct virtio_gpu_resource_flush c = { { .type = VIRTIO_GPU_CMD_RESOURCE_FLUSH, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = fence }, r, id, 0 };
	return post(&c, sizeof c, NULL, 0, REPLY_ROOM);
}

uint64_t make_scanout(uint32_t id, uint32_t w, uint32_t h)
{
	uint64_t gpa = driver_alloc(&f.d, (uint64_t)w * h * 4);
	ck_assert_uint_eq(create_2d(id, w, h), VIRTIO_GPU_RESP_OK_NODATA);
	ck_assert_uint_eq(attach(id, gpa, w * h * 4), VIRTIO_GPU_RESP_OK_NODATA);
	ck_assert_uint_eq(set_scanout(id, w, h), VIRTIO_GPU_RESP_OK_NODATA);
	return gpa;
}
