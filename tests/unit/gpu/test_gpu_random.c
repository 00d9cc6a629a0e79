/*
 * Random commands with likely values. Whatever the guest does: one reply to each request, the panel accepts every message,
 * fences leave, and a reset leaves nothing behind (the fixture's teardown looks).
 */
#include "fixture.h"

#define ROUNDS 6000

static uint64_t state;

static uint32_t rnd(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % n;
}

static uint32_t value(void)
{
	static const uint32_t odd[] = { 0, 1, 4, 64, 100, 256, 400, 4096, 16384, 16385, 65536, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff };
	return rnd(4) == 0 ? odd[rnd(ARRAY_LEN(odd))] : rnd(130);
}

static struct virtio_gpu_rect rect(void)
{
	return rnd(2) == 0 ? (struct virtio_gpu_rect){ 0, 0, 64, 64 } : (struct virtio_gpu_rect){ value(), value(), value(), value() };
}

static uint32_t id(void)
{
	return rnd(50) == 0 ? value() : 1 + rnd(6);
}

/* One random command; returns its size. */
static uint32_t make(struct gpu_request *r)
{
	static const uint32_t types[] = {
		VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
		VIRTIO_GPU_CMD_SET_SCANOUT, VIRTIO_GPU_CMD_SET_SCANOUT_BLOB, VIRTIO_GPU_CMD_SET_SCANOUT, VIRTIO_GPU_CMD_SET_SCANOUT_BLOB,
		VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, VIRTIO_GPU_CMD_RESOURCE_FLUSH, VIRTIO_GPU_CMD_RESOURCE_FLUSH, VIRTIO_GPU_CMD_RESOURCE_FLUSH,
		VIRTIO_GPU_CMD_RESOURCE_UNREF, VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, VIRTIO_GPU_CMD_GET_EDID, VIRTIO_GPU_CMD_GET_DISPLAY_INFO,
	};
	uint8_t *bytes = (uint8_t *)&r->untrusted;
	for (uint32_t i = 0; i < sizeof r->untrusted; i += 4) {
		uint32_t word = value();
		memcpy(bytes + i, &word, 4);
	}
	r->untrusted.hdr.type = rnd(40) == 0 ? value() : types[rnd(ARRAY_LEN(types))];
	r->untrusted.hdr.flags = rnd(3) == 0 ? VIRTIO_GPU_FLAG_FENCE : 0;
	switch (r->untrusted.hdr.type) {
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_2D:
		r->untrusted.create_2d.resource_id = id();
		if (rnd(4) != 0)
			r->untrusted.create_2d.format = 1, r->untrusted.create_2d.width = r->untrusted.create_2d.height = 64;
		break;
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB:
		r->untrusted.create_blob.resource_id = id();
		r->untrusted.create_blob.nr_entries = 1 + rnd(4);
		if (rnd(4) != 0)
			r->untrusted.create_blob.blob_mem = 1, r->untrusted.create_blob.blob_flags = 2, r->untrusted.create_blob.size = 16384;
		break;
	case VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING:
		r->untrusted.attach.resource_id = id();
		if (rnd(8) != 0)
			r->untrusted.attach.nr_entries = 1 + rnd(4);
		break;
	case VIRTIO_GPU_CMD_SET_SCANOUT:
		r->untrusted.set_scanout.scanout_id = rnd(20) == 0 ? value() : rnd(f.gpu->n_heads);
		r->untrusted.set_scanout.resource_id = rnd(6) == 0 ? 0 : id();
		r->untrusted.set_scanout.r = rect();
		break;
	case VIRTIO_GPU_CMD_SET_SCANOUT_BLOB:
		r->untrusted.set_scanout_blob.scanout_id = rnd(20) == 0 ? value() : rnd(f.gpu->n_heads);
		r->untrusted.set_scanout_blob.resource_id = rnd(6) == 0 ? 0 : id();
		r->untrusted.set_scanout_blob.r = rect();
		if (rnd(4) != 0) {
			r->untrusted.set_scanout_blob.width = r->untrusted.set_scanout_blob.height = 64;
			r->untrusted.set_scanout_blob.format = 1;
			r->untrusted.set_scanout_blob.strides[0] = 256;
			r->untrusted.set_scanout_blob.offsets[0] = 0;
		}
		break;
	case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D:
		r->untrusted.transfer.resource_id = id();
		r->untrusted.transfer.r = rect();
		r->untrusted.transfer.offset = rnd(2) ? 0 : value();
		break;
	case VIRTIO_GPU_CMD_GET_EDID:
		r->untrusted.get_edid.scanout = rnd(LINK_MAX_HEADS + 1);
		break;
	default: /* the id is at the same place in the others */
		r->untrusted.flush.r = rect();
		if (r->untrusted.hdr.type == VIRTIO_GPU_CMD_RESOURCE_FLUSH)
			r->untrusted.flush.resource_id = id();
		else
			r->untrusted.unref.resource_id = id();
	}
	return rnd(30) == 0 ? 1 + rnd(sizeof r->untrusted) : sizeof r->untrusted;
}

static uint32_t size_of(uint32_t type)
{
	switch (type) {
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB: return sizeof(struct virtio_gpu_resource_create_blob);
	case VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING: return sizeof(struct virtio_gpu_resource_attach_backing);
	default: return 0;
	}
}

START_TEST(random_commands)
{
	state = 0x9e3779b97f4a7c15ull * (uint64_t)(_i + 1);
	uint32_t posted = 0, ok = 0, frames = 0;
	struct link_message filler = { .type = LINK_LEDS };
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct gpu_request request = { 0 };
		uint32_t size = make(&request), fixed = size_of(request.untrusted.hdr.type);
		struct virtio_gpu_mem_entry entry[4];
		for (uint32_t i = 0; i < 4; i++)
			entry[i] = rnd(20) == 0 ? (struct virtio_gpu_mem_entry){ value() * 4096ull, value(), 0 } :
				(struct virtio_gpu_mem_entry){ 0x800000 + rnd(16) * 8192, 16384, 0 };
		struct posted p = post(&request.untrusted, fixed != 0 ? fixed : size, entry, fixed != 0 ? 4 : 0, rnd(30) == 0 ? rnd(30) : REPLY_ROOM);
		posted++;
		if (rnd(3) != 0)
			continue;
		ck_assert(driver_run(&f.d, 0));
		ok += *(const uint32_t *)reply_of(p) == VIRTIO_GPU_RESP_OK_NODATA;
		f.keep_released = rnd(4) == 0;
		if (rnd(4) != 0)
			panel();
		else if (rnd(10) == 0)
			while (link_send_to_panel(f.link, &filler))
				;
		/* At most the slots of the fixture in flight: the timer answers the rest. */
		gpu_tick(f.gpu, clock_now_ns() + rnd(2) * 100 * NSEC_PER_MSEC);
		uint32_t on = rnd(f.gpu->n_heads);
		if (f.gpu->head[on].sequence > 0 && rnd(2) == 0)
			presented_on(on, f.gpu->head[on].sequence - rnd(2));
		if (rnd(50) == 0)
			tell_display(rnd(LINK_MAX_HEADS + 1), rnd(3) * 320, 240, value());
		answered(p);
		if (posted - f.answers > SLOTS / 2)
			gpu_tick(f.gpu, clock_now_ns() + NSEC_PER_SEC);
		frames += f.frames;
	}
	ck_assert(driver_run(&f.d, 0));
	gpu_tick(f.gpu, clock_now_ns() + NSEC_PER_SEC);
	answered((struct posted){ 0 });
	ck_assert_uint_eq(f.answers, posted);
	ck_assert_uint_gt(ok, ROUNDS / 50); /* not only refusals */
	ck_assert_uint_gt(frames, 0);
	panel();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("gpu-random");
	TCase *c = tcase_create("gpu-random");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, random_commands, 0, 4);
	suite_add_tcase(s, c);
	c = tcase_create("gpu-random-extended");
	tcase_add_checked_fixture(c, setup_extended, teardown);
	tcase_add_loop_test(c, random_commands, 4, 8);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
