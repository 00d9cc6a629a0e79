/* Commands of a hostile guest, through the rings. Rows of the catalogue of hostile guests are named by their number. */
#include <limits.h>

#include "fixture.h"

#define OK VIRTIO_GPU_RESP_OK_NODATA
#define NO_MEMORY VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY
#define NO_SCANOUT VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID
#define NO_RESOURCE VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID
#define BAD VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define UNSPEC VIRTIO_GPU_RESP_ERR_UNSPEC

START_TEST(g1_sizes)
{
	static const uint32_t sizes[][2] = {
		{ 0, 1 }, { 1, 0 }, { 0, 0 }, { 0x10000, 0x10000 }, { 0x8000, 0x8001 }, { 0x40000001, 1 }, { UINT32_MAX, UINT32_MAX }, { 1, UINT32_MAX }, { 16385, 1 },
	};
	for (uint32_t i = 0; i < ARRAY_LEN(sizes); i++)
		ck_assert_uint_eq(create_2d(1, sizes[i][0], sizes[i][1]), BAD);
	ck_assert_uint_eq(f.gpu->n_resources, 0);
	ck_assert_uint_eq(create_2d(1, 16384, 16384), OK);
	struct virtio_gpu_resource_create_2d c = { { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D }, 2, 5, 10, 10 };
	ck_assert_uint_eq(command(&c, sizeof c), BAD); /* format */
	ck_assert_uint_eq(create_2d(0, 10, 10), NO_RESOURCE);
	ck_assert_uint_eq(create_2d(1, 10, 10), NO_RESOURCE); /* in use */
}
END_TEST

START_TEST(formats_are_opaque_for_scanouts)
{
	static const struct { uint32_t virtio, fourcc, alpha; } format[] = {
		/* Names by fourcc: XR24 BX24 XB24 RX24 and AR24 BA24 AB24 RA24. */
		{ VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 0x34325258, 0x34325241 }, { VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 0x34325258, 0x34325241 },
		{ VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, 0x34325842, 0x34324142 }, { VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, 0x34325842, 0x34324142 },
		{ VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, 0x34324258, 0x34324241 }, { VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, 0x34324258, 0x34324241 },
		{ VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, 0x34325852, 0x34324152 }, { VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, 0x34325852, 0x34324152 },
	};
	for (uint32_t i = 0; i < ARRAY_LEN(format); i++) {
		ck_assert_uint_eq(gpu_fourcc(format[i].virtio, false), format[i].fourcc);
		ck_assert_uint_eq(gpu_fourcc(format[i].virtio, true), format[i].alpha);
	}
	ck_assert_uint_eq(gpu_fourcc(0, false), 0);
	ck_assert_uint_eq(gpu_fourcc(UINT32_MAX, true), 0);
}
END_TEST

/* Each of the eight, as a scanout of both kinds and as a pointer picture: the name that the panel is told. */
START_TEST(every_format_reaches_the_panel)
{
	static const uint32_t formats[] = {
		VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM,
		VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM,
	};
	uint32_t format = formats[_i], frames = 0;
	uint64_t gpa = driver_alloc(&f.d, 16384);
	struct virtio_gpu_resource_create_2d create = { { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D }, 1, format, 64, 64 };
	ck_assert_uint_eq(command(&create, sizeof create), OK);
	ck_assert_uint_eq(attach(1, gpa, 16384), OK);
	ck_assert_uint_eq(create_blob(2, 16384, gpa, 16384), OK);
	struct virtio_gpu_set_scanout_blob blob = { .hdr = { .type = VIRTIO_GPU_CMD_SET_SCANOUT_BLOB }, .r = { 0, 0, 64, 64 }, .resource_id = 2,
		.width = 64, .height = 64, .format = format, .strides = { 256 } };
	for (uint32_t kind = 1; kind <= 2; kind++) {
		ck_assert_uint_eq(kind == 1 ? set_scanout(1, 64, 64) : command(&blob, sizeof blob), OK);
		ck_assert_uint_eq(flush(kind, (struct virtio_gpu_rect){ 0, 0, 64, 64 }), OK);
		ck_assert_uint_eq(f.frames, ++frames);
		ck_assert_uint_eq(link_table_head(f.table, 0)->buffer->format, gpu_fourcc(format, false));
	}
	struct virtio_gpu_update_cursor cursor = { .hdr = { .type = VIRTIO_GPU_CMD_UPDATE_CURSOR }, .resource_id = 1 };
	memcpy(driver_ptr(&f.d, f.request_gpa), &cursor, sizeof cursor);
	driver_add(&f.d, 1, &(struct driver_buf){ f.request_gpa, sizeof cursor }, 1, 0);
	ck_assert(driver_run(&f.d, 1));
	panel();
	ck_assert_uint_eq(f.cursors, 1);
	ck_assert_uint_eq(link_table_find(f.table, f.last_cursor.cursor.buffer)->format, gpu_fourcc(format, true));
}
END_TEST

START_TEST(g2_g3_g4_strides_and_offsets)
{
	uint64_t gpa = driver_alloc(&f.d, 1 << 20);
	ck_assert_uint_eq(create_blob(1, 1 << 20, gpa, 1 << 20), OK);
	ck_assert_uint_eq(set_scanout_blob(1, 512, 512, 2047, 0), BAD);
	ck_assert_uint_eq(set_scanout_blob(1, 512, 512, 2044, 0), BAD);
	ck_assert_uint_eq(set_scanout_blob(1, 512, 512, 0, 0), BAD);
	ck_assert_uint_eq(set_scanout_blob(1, 512, 1, 0x80000000u, 0), BAD);
	ck_assert_uint_eq(set_scanout_blob(1, 512, 2, INT_MAX + 1u, 0), BAD);
	ck_assert_uint_eq(set_scanout_blob(1, 512, 512, UINT32_MAX, 0), BAD);
	ck_assert_uint_eq(set_scanout_blob(1, 512, 512, 2048, 4), BAD);          /* one pixel over the end */
	ck_assert_uint_eq(set_scanout_blob(1, 512, 512, 2052, 0), BAD);          /* the last line ends outside */
	ck_assert_uint_eq(set_scanout_blob(1, 512, 512, 2048, UINT32_MAX & ~3u), BAD);
	ck_assert_uint_eq(set_scanout_blob(1, 16384, 16384, 65536, 0), BAD);     /* exactly 2^30 bytes */
	ck_assert_uint_eq(set_scanout_blob(1, 0x40000001, 1, 4, 0), BAD);        /* width * 4 wraps to 4 */
	ck_assert_uint_eq(set_scanout_blob(1, 0, 512, 2048, 0), BAD);
	ck_assert_uint_eq(set_scanout_blob(1, 512, 0, 2048, 0), BAD);
	ck_assert_ptr_null(f.gpu->head[0].resource);
	ck_assert_uint_eq(set_scanout_blob(1, 512, 512, 2048, 0), OK);
	ck_assert_uint_eq(set_scanout_blob(1, 512, 511, 2052, 0), OK);
	ck_assert_uint_eq(set_scanout_blob(1, 512, 511, 2048, 2048), OK);
}
END_TEST

static const struct virtio_gpu_rect bad_rects[] = {
	{ 0, 0, 0, 10 }, { 0, 0, 10, 0 }, { 0, 0, 0, 0 }, { 1, 0, 100, 100 }, { 0, 1, 100, 100 }, { UINT32_MAX, 0, 1, 1 }, { 0, UINT32_MAX, 1, 1 },
	{ UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX }, { 90, 0, UINT32_MAX - 89, 10 }, { 0, 90, 10, UINT32_MAX - 50 }, { 100, 0, 1, 1 },
};

/*
 * A backing that names the same pages again and again is larger than all RAM, and so may be the place of a picture in it. The panel
 * refuses such a buffer; a device that announced it would never hear that it was released, and 256 of them end the display for good.
 */
START_TEST(g4_pictures_beyond_all_memory)
{
	enum { PIECE = RAM / 2, PIECES = 4 };
	struct virtio_gpu_mem_entry entries[PIECES];
	for (uint32_t i = 0; i < PIECES; i++)
		entries[i] = (struct virtio_gpu_mem_entry){ RAM / 4, PIECE, 0 };
	struct virtio_gpu_resource_create_blob blob = { .hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB }, .resource_id = 1,
		.blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST, .nr_entries = PIECES, .size = (uint64_t)PIECE * PIECES };
	struct virtio_gpu_resource_attach_backing twod = { { .type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING }, 2, PIECES };
	/* The rings are in the first quarter. */
	ck_assert_uint_lt(f.d.next_free, RAM / 4);
	ck_assert_uint_eq(command_entries(&blob, sizeof blob, entries, PIECES), OK);
	ck_assert_uint_eq(create_2d(2, 100, 100), OK);
	ck_assert_uint_eq(command_entries(&twod, sizeof twod, entries, PIECES), OK);
	for (uint32_t i = 0; i < LINK_MAX_BUFFERS + 4; i++) {
		uint32_t offset = (uint32_t)RAM + 4 + 4 * i;
		ck_assert_uint_eq(set_scanout_blob(1, 100, 100, 400, offset), BAD);
		flush(1, (struct virtio_gpu_rect){ 0, 0, 100, 100 });
		ck_assert_uint_eq(transfer(2, (struct virtio_gpu_rect){ 0, 0, 100, 100 }, offset), UNSPEC);
		set_scanout(2, 100, 100);
		ck_assert_uint_eq(flush(2, (struct virtio_gpu_rect){ 0, 0, 100, 100 }), OK);
	}
	ck_assert_uint_eq(set_scanout_blob(1, 100, 100, 400, RAM), OK);
	ck_assert_uint_eq(flush(1, (struct virtio_gpu_rect){ 0, 0, 100, 100 }), OK);
	ck_assert_ptr_nonnull(link_table_head(f.table, 0)->buffer);
}
END_TEST

START_TEST(g5_rectangles)
{
	make_scanout(1, 100, 100);
	/* A flush of its own: else the device shows the new scanout by itself after a refresh, whenever that is. */
	ck_assert_uint_eq(flush(1, (struct virtio_gpu_rect){ 0, 0, 100, 100 }), OK);
	uint64_t shown = f.frames;
	for (uint32_t i = 0; i < ARRAY_LEN(bad_rects); i++) {
		ck_assert_uint_eq(flush(1, bad_rects[i]), BAD);
		ck_assert_uint_eq(transfer(1, bad_rects[i], 0), BAD);
		struct virtio_gpu_set_scanout c = { { .type = VIRTIO_GPU_CMD_SET_SCANOUT }, bad_rects[i], 0, 1 };
		ck_assert_uint_eq(command(&c, sizeof c), BAD);
	}
	ck_assert_uint_eq(f.frames, shown);
	ck_assert_uint_eq(flush(1, (struct virtio_gpu_rect){ 99, 99, 1, 1 }), OK);
	ck_assert_uint_eq(f.frames, shown + 1);
}
END_TEST

START_TEST(g6_blob_larger_than_its_backing)
{
	uint64_t gpa = driver_alloc(&f.d, 8192);
	ck_assert_uint_eq(create_blob(1, 8193, gpa, 8192), BAD);
	ck_assert_uint_eq(create_blob(1, UINT64_MAX, gpa, 8192), BAD);
	ck_assert_uint_eq(create_blob(1, 1ull << 32, gpa, 4096), BAD); /* low half is 0 */
	ck_assert_uint_eq(create_blob(1, 0, gpa, 4096), BAD);
	ck_assert_uint_eq(f.gpu->n_resources, 0);
	ck_assert_uint_eq(f.gpu->host_bytes, 0);
	ck_assert_uint_eq(create_blob(1, 8192, gpa, 8192), OK);
	ck_assert_uint_eq(detach(1), OK);
	ck_assert_uint_eq(attach(1, gpa, 4096), BAD);
	ck_assert_uint_eq(f.gpu->host_bytes, 0);
	ck_assert_uint_eq(attach(1, gpa, 8192), OK);

	struct virtio_gpu_resource_create_blob c = {
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB }, .resource_id = 2, .blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D, .nr_entries = 1, .size = 4096,
	};
	struct virtio_gpu_mem_entry entry = { gpa, 4096, 0 };
	ck_assert_uint_eq(command_entries(&c, sizeof c, &entry, 1), BAD);
	c.blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST;
	c.blob_flags = 0x80;
	ck_assert_uint_eq(command_entries(&c, sizeof c, &entry, 1), BAD);
	c.blob_flags = 0;
	c.nr_entries = 0;
	ck_assert_uint_eq(command_entries(&c, sizeof c, &entry, 1), BAD);
}
END_TEST

START_TEST(g7_blobs_are_not_2d_resources)
{
	uint64_t gpa = driver_alloc(&f.d, 40000);
	ck_assert_uint_eq(create_blob(1, 40000, gpa, 40000), OK);
	ck_assert_uint_eq(create_2d(2, 100, 100), OK);
	ck_assert_uint_eq(attach(2, gpa, 40000), OK);
	ck_assert_uint_eq(set_scanout(1, 100, 100), NO_RESOURCE);
	ck_assert_uint_eq(set_scanout_blob(2, 100, 100, 400, 0), NO_RESOURCE);
	/* What the stock driver sends for a blob. */
	ck_assert_uint_eq(set_scanout_blob(1, 100, 100, 400, 0), OK);
	ck_assert_uint_eq(transfer(1, (struct virtio_gpu_rect){ 8, 8, 8, 16 }, 8 * 400 + 32), OK);
	ck_assert_uint_eq(flush(1, (struct virtio_gpu_rect){ 8, 8, 8, 16 }), OK);
	ck_assert_uint_eq(f.frames, 1);
	ck_assert_uint_eq(flush(1, (struct virtio_gpu_rect){ 0, 0, 101, 100 }), BAD);
	ck_assert_uint_eq(flush(1, (struct virtio_gpu_rect){ 0, 0, 0, 0 }), BAD);
	ck_assert_uint_eq(flush(1, (struct virtio_gpu_rect){ UINT32_MAX, UINT32_MAX, 2, 2 }), BAD);
	ck_assert_uint_eq(transfer(1, (struct virtio_gpu_rect){ 0, 0, 100, 100 }, 1), BAD);
	ck_assert_uint_eq(transfer(1, (struct virtio_gpu_rect){ 0, 0, 1, 1 }, UINT64_MAX), BAD);
	ck_assert_uint_eq(transfer(1, (struct virtio_gpu_rect){ 0, 0, UINT32_MAX, UINT32_MAX }, 0), BAD);
	ck_assert_uint_eq(f.frames, 1);
}
END_TEST

START_TEST(g8_short_commands_and_replies)
{
	struct virtio_gpu_resource_create_2d c = { { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D }, 1, 1, 10, 10 };
	for (uint32_t size = 1; size < sizeof c; size++)
		ck_assert_uint_eq(command(&c, size), UNSPEC);
	ck_assert_uint_eq(f.gpu->n_resources, 0);

	struct virtio_gpu_ctrl_hdr info = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	static const uint32_t rooms[] = { 0, 1, 23, 24, 407, 408 };
	static const uint32_t lengths[] = { 0, 0, 0, 24, 24, 408 };
	for (uint32_t i = 0; i < ARRAY_LEN(rooms); i++) {
		struct posted posted = post(&info, sizeof info, NULL, 0, rooms[i]);
		work_off();
		ck_assert(answered(posted));
		ck_assert_uint_eq(f.length[posted.head], lengths[i]);
		const uint8_t *reply = reply_of(posted);
		for (uint32_t at = lengths[i]; at < 4096; at++)
			ck_assert_uint_eq(reply[at], 0xaa);
	}
	/* Only writable descriptors: no header at all. */
	struct driver_buf buf = { f.reply_gpa, 64 };
	f.done[driver_add(&f.d, 0, &buf, 0, 1)] = false;
	work_off();
	ck_assert_uint_eq(*(uint32_t *)driver_ptr(&f.d, f.reply_gpa), UNSPEC);
}
END_TEST

START_TEST(g9_scanout_ids)
{
	static const uint32_t ids[] = { 1, LINK_MAX_HEADS, 15, 16, UINT32_MAX };
	uint64_t gpa = driver_alloc(&f.d, 40000);
	create_2d(1, 100, 100);
	attach(1, gpa, 40000);
	create_blob(2, 40000, gpa, 40000);
	for (uint32_t i = 0; i < ARRAY_LEN(ids); i++) {
		for (uint32_t id = 0; id < 3; id++) {
			struct virtio_gpu_set_scanout s = { { .type = VIRTIO_GPU_CMD_SET_SCANOUT }, { 0, 0, 10, 10 }, ids[i], id };
			ck_assert_uint_eq(command(&s, sizeof s), NO_SCANOUT);
			struct virtio_gpu_set_scanout_blob b = { .hdr = { .type = VIRTIO_GPU_CMD_SET_SCANOUT_BLOB }, .r = { 0, 0, 10, 10 },
				.scanout_id = ids[i], .resource_id = id, .width = 10, .height = 10, .format = 1, .strides = { 40 } };
			ck_assert_uint_eq(command(&b, sizeof b), NO_SCANOUT);
		}
		struct virtio_gpu_cmd_get_edid e = { { .type = VIRTIO_GPU_CMD_GET_EDID }, ids[i], 0 };
		ck_assert_uint_eq(command(&e, sizeof e), NO_SCANOUT);
	}
}
END_TEST

START_TEST(g10_nothing_leaks)
{
	uint64_t gpa = driver_alloc(&f.d, 40000);
	ck_assert_uint_eq(unref(1), NO_RESOURCE);
	ck_assert_uint_eq(attach(1, gpa, 4096), NO_RESOURCE);
	ck_assert_uint_eq(detach(1), NO_RESOURCE);
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(create_2d(1, 100, 100), OK);
		ck_assert_uint_eq(detach(1), UNSPEC);
		ck_assert_uint_eq(attach(1, 0, 0), BAD); /* fails half-way */
		ck_assert_uint_eq(attach(1, gpa, 40000), OK);
		uint64_t held = f.gpu->host_bytes;
		ck_assert_uint_eq(attach(1, gpa, 40000), UNSPEC); /* twice */
		ck_assert_uint_eq(f.gpu->host_bytes, held);
		ck_assert_uint_eq(unref(1), OK); /* without detach */
		ck_assert_uint_eq(f.gpu->host_bytes, 0);
		ck_assert_uint_eq(f.gpu->n_resources, 0);
	}
}
END_TEST

START_TEST(g12_budgets)
{
	for (uint32_t i = 1; i <= GPU_MAX_RESOURCES; i++)
		ck_assert_uint_eq(create_2d(i, 16384, 16384), OK);
	ck_assert_uint_eq(create_2d(GPU_MAX_RESOURCES + 1, 1, 1), NO_MEMORY);
	ck_assert_uint_eq(create_blob(GPU_MAX_RESOURCES + 1, 4096, 0x10000, 4096), NO_MEMORY);
	ck_assert_uint_eq(f.gpu->n_resources, GPU_MAX_RESOURCES);

	/* Scattered pages until the sum of host memory is used up: every second page, so that nothing merges. */
	static struct virtio_gpu_mem_entry entry[GPU_MAX_ENTRIES];
	const uint32_t n = 10000;
	for (uint32_t i = 0; i < n; i++)
		entry[i] = (struct virtio_gpu_mem_entry){ 0x800000 + i % 4096 * 8192, 4, 0 };
	struct virtio_gpu_resource_attach_backing c = { { .type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING }, 0, n };
	uint32_t attached = 0, type = OK;
	for (uint32_t id = 1; id <= GPU_MAX_RESOURCES && type == OK; id++) {
		c.resource_id = id;
		type = command_entries(&c, sizeof c, entry, n);
		attached += type == OK;
	}
	ck_assert_uint_eq(type, NO_MEMORY);
	ck_assert_uint_ge(attached, 100);
	ck_assert_uint_le(f.gpu->host_bytes, GPU_HOST_BYTES);
	ck_assert_uint_ge(f.gpu->host_bytes, GPU_HOST_BYTES - 200000);
	ck_assert_uint_eq(detach(1), OK);
	c.resource_id = 1;
	ck_assert_uint_eq(command_entries(&c, sizeof c, entry, n), OK);
	ck_assert_uint_eq(detach(1), OK);

	/* More runs than the link can tell. */
	for (uint32_t i = 0; i <= LINK_MAX_SEGMENTS; i++)
		entry[i] = (struct virtio_gpu_mem_entry){ 0x800000 + i % 4096 * 8192, 4, 0 };
	c.nr_entries = LINK_MAX_SEGMENTS + 1;
	ck_assert_uint_eq(command_entries(&c, sizeof c, entry, LINK_MAX_SEGMENTS + 1), NO_MEMORY);
	/* As many entries, but neighbours: one run. */
	for (uint32_t i = 0; i < 4096; i++)
		entry[i] = (struct virtio_gpu_mem_entry){ 0x800000 + i * 4096, 4096, 0 };
	c.nr_entries = 4096;
	ck_assert_uint_eq(command_entries(&c, sizeof c, entry, 4096), OK);
	ck_assert_uint_eq(gpu_resource_find(f.gpu, 1)->backing->n_segments, 1);
	ck_assert_uint_eq(gpu_resource_find(f.gpu, 1)->backing->bytes, 4096 * 4096);
}
END_TEST

START_TEST(g13_entry_counts)
{
	static struct virtio_gpu_mem_entry entry[GPU_MAX_ENTRIES + 1];
	uint64_t gpa = driver_alloc(&f.d, 4096);
	for (uint32_t i = 0; i <= GPU_MAX_ENTRIES; i++)
		entry[i] = (struct virtio_gpu_mem_entry){ gpa, 4096, 0 };
	create_2d(1, 10, 10);
	struct virtio_gpu_resource_attach_backing c = { { .type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING }, 1, 0 };
	static const uint32_t counts[] = { 0, 3, 0x10000000, 0x10000001, UINT32_MAX };
	for (uint32_t i = 0; i < ARRAY_LEN(counts); i++) {
		c.nr_entries = counts[i];
		ck_assert_uint_eq(command_entries(&c, sizeof c, entry, 2), BAD);
		ck_assert_uint_eq(f.gpu->host_bytes, 0);
	}
	c.nr_entries = GPU_MAX_ENTRIES + 1;
	ck_assert_uint_eq(command_entries(&c, sizeof c, entry, GPU_MAX_ENTRIES + 1), NO_MEMORY);
	c.nr_entries = 1;
	ck_assert_uint_eq(command_entries(&c, sizeof c, entry, 2), OK); /* fewer than follow */
	ck_assert_uint_eq(gpu_resource_find(f.gpu, 1)->backing->bytes, 4096);
}
END_TEST

START_TEST(g14_padding_is_zero)
{
	struct virtio_gpu_cmd_get_edid e = { { .type = VIRTIO_GPU_CMD_GET_EDID, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = 0x1122334455667788, .ctx_id = 9,
		.ring_idx = 7, .padding = { 1, 2, 3 } }, 0, 0xffffffff };
	struct posted posted = post(&e, sizeof e, NULL, 0, REPLY_ROOM);
	work_off();
	ck_assert(answered(posted));
	const struct virtio_gpu_resp_edid *reply = reply_of(posted);
	struct virtio_gpu_resp_edid wanted = { .hdr = { .type = VIRTIO_GPU_RESP_OK_EDID, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = 0x1122334455667788, .ctx_id = 9 }, .size = 128 };
	memcpy(wanted.edid, reply->edid, 128);
	ck_assert_uint_eq(wanted.edid[1], 0xff);
	ck_assert_uint_eq(f.length[posted.head], sizeof wanted);
	ck_assert_mem_eq(reply, &wanted, sizeof wanted);

	struct virtio_gpu_ctrl_hdr i = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	posted = post(&i, sizeof i, NULL, 0, REPLY_ROOM);
	work_off();
	ck_assert(answered(posted));
	struct virtio_gpu_resp_display_info info = { .hdr.type = VIRTIO_GPU_RESP_OK_DISPLAY_INFO, .pmodes = { { .r = { 0, 0, 1280, 800 }, .enabled = 1 } } };
	ck_assert_mem_eq(reply_of(posted), &info, sizeof info);
	ck_assert_uint_eq(f.length[posted.head], sizeof info);

	/* An error reply is a bare header. */
	struct virtio_gpu_resource_unref u = { { .type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .fence_id = 5 }, 77, 0 };
	posted = post(&u, sizeof u, NULL, 0, REPLY_ROOM);
	work_off();
	ck_assert(answered(posted));
	struct virtio_gpu_ctrl_hdr error = { .type = NO_RESOURCE };
	ck_assert_mem_eq(reply_of(posted), &error, sizeof error);
	ck_assert_uint_eq(f.length[posted.head], sizeof error);
}
END_TEST

START_TEST(g16_what_is_not_offered)
{
	static const uint32_t types[] = {
		0, 1, VIRTIO_GPU_CMD_GET_CAPSET_INFO, VIRTIO_GPU_CMD_GET_CAPSET, VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID, VIRTIO_GPU_CMD_CTX_CREATE,
		VIRTIO_GPU_CMD_CTX_DESTROY, VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, VIRTIO_GPU_CMD_RESOURCE_CREATE_3D, VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D,
		VIRTIO_GPU_CMD_SUBMIT_3D, VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB, VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB, VIRTIO_GPU_CMD_UPDATE_CURSOR,
		VIRTIO_GPU_RESP_OK_NODATA, UINT32_MAX,
	};
	uint8_t bytes[256] = { 0 };
	for (uint32_t i = 0; i < ARRAY_LEN(types); i++) {
		memcpy(bytes, &types[i], 4);
		ck_assert_uint_eq(command(bytes, sizeof bytes), UNSPEC);
	}
	ck_assert_uint_eq(f.gpu->n_resources, 0);

	/* Offered, but not negotiated. */
	driver_start(&f.d, ~(1ull << VIRTIO_GPU_F_RESOURCE_BLOB | 1ull << VIRTIO_GPU_F_EDID), 256);
	ck_assert_uint_eq(create_blob(1, 4096, f.request_gpa, 4096), UNSPEC);
	ck_assert_uint_eq(set_scanout_blob(0, 0, 0, 0, 0), UNSPEC);
	struct virtio_gpu_cmd_get_edid e = { { .type = VIRTIO_GPU_CMD_GET_EDID }, 0, 0 };
	ck_assert_uint_eq(command(&e, sizeof e), UNSPEC);
	ck_assert_uint_eq(create_2d(1, 10, 10), OK);
}
END_TEST

START_TEST(g17_backing_elsewhere)
{
	create_2d(1, 10, 10);
	static const struct { uint64_t gpa; uint32_t length; } outside[] = {
		{ RAM, 4096 }, { RAM - 4096, 8192 }, { 0xc0000000, 4096 }, { DRIVER_ECAM, 4096 }, { 0xfee00000, 4096 }, { 0x800000000, 4096 },
		{ UINT64_MAX - 4095, 4096 }, { UINT64_MAX, 4 }, { 0, 0 }, { 0x10000, UINT32_MAX & ~3u }, { 0x10001, 4096 }, { 0x10000, 4094 },
	};
	for (uint32_t i = 0; i < ARRAY_LEN(outside); i++)
		ck_assert_uint_eq(attach(1, outside[i].gpa, outside[i].length), BAD);
	ck_assert_uint_eq(attach(1, f.d.bar, 4096), BAD);
	for (uint32_t q = 0; q < 2; q++) {
		ck_assert_uint_eq(attach(1, f.d.queue[q].desc_gpa, 4096), BAD);
		ck_assert_uint_eq(attach(1, f.d.queue[q].avail_gpa, 4), BAD);
		ck_assert_uint_eq(attach(1, f.d.queue[q].used_gpa & ~4095ull, 4096), BAD);
	}
	ck_assert_uint_eq(f.gpu->host_bytes, 0);
}
END_TEST

START_TEST(g20_transfer_offsets)
{
	uint64_t gpa = driver_alloc(&f.d, 80000);
	create_2d(1, 100, 100);
	ck_assert_uint_eq(transfer(1, (struct virtio_gpu_rect){ 0, 0, 100, 100 }, 0), UNSPEC); /* no backing */
	ck_assert_uint_eq(attach(1, gpa, 80000), OK);
	struct virtio_gpu_rect whole = { 0, 0, 100, 100 }, part = { 10, 20, 5, 5 };
	ck_assert_uint_eq(transfer(1, whole, 0), OK);
	ck_assert_uint_eq(transfer(1, whole, 40004), BAD);
	ck_assert_uint_eq(transfer(1, whole, 1ull << 32), BAD); /* low half is 0 */
	ck_assert_uint_eq(transfer(1, whole, UINT64_MAX), BAD);
	ck_assert_uint_eq(transfer(1, whole, UINT64_MAX - 39999), BAD);
	ck_assert_uint_eq(transfer(1, part, 20 * 400 + 40), OK);
	ck_assert_uint_eq(transfer(1, part, 80000 - 4 * 400 - 20 + 4), BAD);
	/* Another layout than the resource's. */
	ck_assert_uint_eq(transfer(1, part, 0), UNSPEC);
	ck_assert_uint_eq(transfer(1, part, 80000 - 4 * 400 - 20), UNSPEC);
	ck_assert_uint_eq(transfer(1, whole, 2), UNSPEC);
	/* Page flipping inside one backing. */
	ck_assert_uint_eq(set_scanout(1, 100, 100), OK);
	ck_assert_uint_eq(flush(1, part), OK);
	ck_assert_uint_eq(link_table_head(f.table, 0)->buffer->offset, 0);
	ck_assert_uint_eq(transfer(1, part, 40000 + 20 * 400 + 40), OK);
	ck_assert_uint_eq(flush(1, part), OK);
	ck_assert_uint_eq(link_table_head(f.table, 0)->buffer->offset, 40000); /* another buffer: all of it is new */
	ck_assert_uint_eq(f.last_frame.frame.damage.w, 100);
}
END_TEST

/* --- the cursor queue ------------------------------------------------------------------------------------------------ */

static uint32_t point(uint32_t type, uint32_t scanout, uint32_t id, int32_t x, int32_t y, uint32_t hot, uint32_t room)
{
	struct virtio_gpu_update_cursor c = { { .type = type }, { scanout, (uint32_t)x, (uint32_t)y, 0 }, id, hot, hot, 0 };
	uint64_t gpa = f.request_gpa, reply = f.reply_gpa;
	memcpy(driver_ptr(&f.d, gpa), &c, sizeof c);
	memset(driver_ptr(&f.d, reply), 0, 64);
	struct driver_buf bufs[2] = { { gpa, sizeof c }, { reply, room } };
	uint16_t head = driver_add(&f.d, 1, bufs, 1, room > 0);
	driver_kick(&f.d, 1);
	ck_assert(driver_run(&f.d, 1));
	panel();
	uint32_t used, length;
	ck_assert(driver_used(&f.d, 1, &used, &length));
	ck_assert_uint_eq(used, head);
	ck_assert_uint_eq(length, room >= 24 ? 24 : 0);
	return *(uint32_t *)driver_ptr(&f.d, reply);
}

START_TEST(g15_pointer_pictures)
{
	uint64_t gpa = driver_alloc(&f.d, 65536);
	create_2d(1, 64, 64);
	create_2d(2, 65536 / 4, 1);
	create_2d(3, 64, 65);
	attach(2, gpa, 65536);
	attach(3, gpa, 65536);
	create_blob(4, 16383, gpa, 16384);
	create_blob(5, 16384, gpa, 16384);
	const uint32_t update = VIRTIO_GPU_CMD_UPDATE_CURSOR, move = VIRTIO_GPU_CMD_MOVE_CURSOR;
	ck_assert_uint_eq(point(update, 0, 99, 0, 0, 0, 24), NO_RESOURCE);
	ck_assert_uint_eq(point(update, 0, 1, 0, 0, 0, 24), BAD); /* no backing */
	attach(1, gpa, 16380);
	ck_assert_uint_eq(point(update, 0, 1, 0, 0, 0, 24), BAD); /* backing too small */
	detach(1);
	attach(1, gpa, 16384);
	ck_assert_uint_eq(point(update, 0, 2, 0, 0, 0, 24), BAD);
	ck_assert_uint_eq(point(update, 0, 3, 0, 0, 0, 24), BAD);
	ck_assert_uint_eq(point(update, 0, 4, 0, 0, 0, 24), BAD);
	ck_assert_uint_eq(point(update, 1, 1, 0, 0, 0, 24), NO_SCANOUT);
	ck_assert_uint_eq(point(move, UINT32_MAX, 1, 0, 0, 0, 24), NO_SCANOUT);
	ck_assert_uint_eq(point(VIRTIO_GPU_CMD_RESOURCE_UNREF, 0, 1, 0, 0, 0, 24), UNSPEC);
	ck_assert_uint_eq(f.cursors, 0);

	ck_assert_uint_eq(point(update, 0, 1, -3, 7, UINT32_MAX, 24), OK);
	ck_assert_uint_eq(f.cursors, 1);
	ck_assert_int_eq(f.last_cursor.cursor.x, -3);
	ck_assert_int_eq(f.last_cursor.cursor.y, 7);
	ck_assert_uint_eq(f.last_cursor.cursor.hot_x, 63);
	ck_assert_uint_eq(f.last_cursor.cursor.visible, 1);
	const struct link_buffer *buffer = link_table_find(f.table, f.last_cursor.cursor.buffer);
	ck_assert_ptr_nonnull(buffer);
	ck_assert_uint_eq(buffer->width, 64);
	ck_assert_uint_eq(buffer->format, 0x34325241); /* AR24, though the resource is an X format */
	ck_assert_uint_eq(buffer->segment[0].offset, gpa);

	/* As Linux sends it: no room for a reply. A move names no picture; a change does, without a new buffer when it is known. */
	point(move, 0, 1, 100, 100, 0, 0);
	ck_assert_uint_eq(f.cursors, 2);
	ck_assert_uint_eq(f.last_cursor.cursor.buffer.id, 0);
	ck_assert_int_eq(f.last_cursor.cursor.x, 100);
	ck_assert_uint_eq(f.last_cursor.cursor.visible, 1);
	point(update, 0, 5, 100, 100, 0, 0);
	point(update, 0, 1, 100, 100, 0, 0);
	ck_assert_uint_eq(f.buffers, 2);
	ck_assert_uint_ne(f.last_cursor.cursor.buffer.id, 0);
	/* The picture outlives its resource; hiding is told. */
	ck_assert_uint_eq(unref(1), OK);
	point(move, 0, 0, 5, 5, 0, 0);
	ck_assert_uint_eq(f.last_cursor.cursor.visible, 1);
	point(update, 0, 0, 5, 5, 0, 0);
	ck_assert_uint_eq(f.last_cursor.cursor.visible, 0);
	point(update, 0, 5, 5, 5, 0, 0);
	ck_assert_uint_eq(f.last_cursor.cursor.visible, 1);
	driver_set(&f.d, R_STATUS, 0, 1);
	driver_run(&f.d, 0);
	panel();
	ck_assert_uint_eq(f.last_cursor.cursor.visible, 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("gpu-commands");
	TCase *c = tcase_create("gpu-commands");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, g1_sizes);
	tcase_add_test(c, formats_are_opaque_for_scanouts);
	tcase_add_loop_test(c, every_format_reaches_the_panel, 0, 8);
	tcase_add_test(c, g2_g3_g4_strides_and_offsets);
	tcase_add_test(c, g4_pictures_beyond_all_memory);
	tcase_add_test(c, g5_rectangles);
	tcase_add_test(c, g6_blob_larger_than_its_backing);
	tcase_add_test(c, g7_blobs_are_not_2d_resources);
	tcase_add_test(c, g8_short_commands_and_replies);
	tcase_add_test(c, g9_scanout_ids);
	tcase_add_test(c, g10_nothing_leaks);
	tcase_add_test(c, g12_budgets);
	tcase_add_test(c, g13_entry_counts);
	tcase_add_test(c, g14_padding_is_zero);
	tcase_add_test(c, g15_pointer_pictures);
	tcase_add_test(c, g16_what_is_not_offered);
	tcase_add_test(c, g17_backing_elsewhere);
	tcase_add_test(c, g20_transfer_offsets);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
