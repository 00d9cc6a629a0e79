/* What the panel sees of a guest's scanouts, and when the guest gets its fences. */
#include "fixture.h"

#include "base/stats.h"

#define OK VIRTIO_GPU_RESP_OK_NODATA

static const struct virtio_gpu_rect whole = { 0, 0, 100, 100 }, part = { 10, 20, 5, 6 };

static const struct link_head *head(void)
{
	return link_table_head(f.table, 0);
}

static void assert_rect(struct rect r, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	ck_assert_msg(r.x == x && r.y == y && r.w == w && r.h == h, "%u,%u %ux%u instead of %u,%u %ux%u", r.x, r.y, r.w, r.h, x, y, w, h);
}

/* --- publishing --------------------------------------------------------------------------------------------------------- */

START_TEST(flush_publishes_and_binding_does_not)
{
	make_scanout(1, 100, 100);
	ck_assert_uint_eq(f.frames, 0);
	ck_assert_uint_eq(flush(1, part), OK);
	ck_assert_uint_eq(f.frames, 1);
	ck_assert_uint_eq(f.buffers, 1);
	ck_assert_uint_eq(f.last_frame.frame.sequence, 1);
	assert_rect(f.last_frame.frame.source, 0, 0, 100, 100);
	assert_rect(f.last_frame.frame.damage, 0, 0, 100, 100); /* binding damages everything */
	ck_assert_uint_eq(transfer(1, part, 20 * 400 + 40), OK);
	ck_assert_uint_eq(f.frames, 1);
	ck_assert_uint_eq(flush(1, part), OK);
	ck_assert_uint_eq(f.buffers, 1);
	ck_assert_uint_eq(f.last_frame.frame.sequence, 2);
	assert_rect(f.last_frame.frame.damage, 10, 20, 5, 6);
	/* What was transferred and lies outside the flush changed too. */
	ck_assert_uint_eq(transfer(1, (struct virtio_gpu_rect){ 0, 0, 1, 1 }, 0), OK);
	ck_assert_uint_eq(flush(1, part), OK);
	assert_rect(f.last_frame.frame.damage, 0, 0, 15, 26);
	/* A resource that nobody shows. */
	create_2d(2, 100, 100);
	attach(2, 0x800000, 40000);
	ck_assert_uint_eq(flush(2, whole), OK);
	ck_assert_uint_eq(f.frames, 3);
	ck_assert_uint_eq(f.stats->frames_flushed, 3);
}
END_TEST

START_TEST(binding_without_a_flush_is_published_after_a_refresh)
{
	make_scanout(1, 100, 100);
	uint64_t now = clock_now_ns(), next = gpu_tick(f.gpu, now);
	ck_assert_uint_gt(next, now);
	ck_assert_uint_le(next, now + 17 * NSEC_PER_MSEC);
	panel();
	ck_assert_uint_eq(f.frames, 0);
	ck_assert_uint_eq(gpu_tick(f.gpu, next), UINT64_MAX);
	panel();
	ck_assert_uint_eq(f.frames, 1);
	ck_assert_uint_eq(f.last_frame.frame.sequence, 1);
	/* Once. */
	ck_assert_uint_eq(gpu_tick(f.gpu, next + NSEC_PER_SEC), UINT64_MAX);
	panel();
	ck_assert_uint_eq(f.frames, 1);
}
END_TEST

START_TEST(page_flips_keep_both_buffers)
{
	create_blob(1, 40000, 0x800000, 40000);
	create_blob(2, 40000, 0x900000, 40000);
	for (uint32_t i = 0; i < 10; i++) {
		uint32_t id = 1 + i % 2;
		ck_assert_uint_eq(transfer(id, whole, 0), OK);
		ck_assert_uint_eq(set_scanout_blob(id, 100, 100, 400, 0), OK);
		ck_assert_uint_eq(flush(id, whole), OK);
		ck_assert_uint_eq(head()->sequence, i + 1);
		ck_assert_uint_eq(head()->buffer->segment[0].offset, id == 1 ? 0x800000 : 0x900000);
	}
	ck_assert_uint_eq(f.buffers, 2);
	ck_assert_uint_eq(f.deaths, 0);
	/* Another geometry of the same blob is another buffer. */
	ck_assert_uint_eq(set_scanout_blob(1, 50, 50, 200, 400), OK);
	ck_assert_uint_eq(flush(1, part), OK);
	ck_assert_uint_eq(f.buffers, 3);
	ck_assert_uint_eq(head()->buffer->offset, 400);
	ck_assert_uint_eq(head()->buffer->stride, 200);
}
END_TEST

/* Pixels through scattered, unordered, unequal pieces of backing. */
static uint8_t seen[100 * 100 * 4];
static uint64_t n_seen;

static void see(void *data, uint64_t offset, uint64_t length)
{
	(void)data;
	memcpy(seen + n_seen, link_pixels(f.link) + offset, length);
	n_seen += length;
}

START_TEST(pixels_are_where_the_panel_looks)
{
	static const struct virtio_gpu_mem_entry entry[] = { { 0x900000, 4096, 0 }, { 0x800000, 20000, 0 }, { 0x804e20, 4000, 0 }, { 0x700004, 11904, 0 } };
	struct virtio_gpu_resource_attach_backing c = { { .type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING }, 1, 4 };
	uint8_t wanted[sizeof seen];
	create_2d(1, 100, 100);
	ck_assert_uint_eq(command_entries(&c, sizeof c, entry, 4), OK);
	set_scanout(1, 100, 100);
	uint64_t at = 0;
	for (uint32_t i = 0; i < 4; i++)
		for (uint32_t k = 0; k < entry[i].length; k++, at++)
			*((uint8_t *)driver_ptr(&f.d, entry[i].addr) + k) = wanted[at] = (uint8_t)(at * 7 + at / 251);
	ck_assert_uint_eq(flush(1, whole), OK);
	ck_assert_uint_eq(head()->buffer->n_segments, 3); /* the two neighbours are one run */
	ck_assert(link_buffer_runs(head()->buffer, NULL, 0, sizeof seen, see, NULL));
	ck_assert_mem_eq(seen, wanted, sizeof seen);
}
END_TEST

/* As many entries as a picture has pixels, in an order of their own; nothing merges. */
START_TEST(an_entry_for_every_pixel)
{
	enum { PIXELS = 100 * 100 };
	static struct virtio_gpu_mem_entry entry[PIXELS];
	struct virtio_gpu_resource_attach_backing c = { { .type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING }, 1, PIXELS };
	uint32_t wanted[PIXELS];
	create_2d(1, 100, 100);
	for (uint32_t i = 0; i < PIXELS; i++) {
		entry[i] = (struct virtio_gpu_mem_entry){ 0x1000000 + i * 7919u % PIXELS * 64u, 4, 0 };
		wanted[i] = i * 2654435761u;
		memcpy(driver_ptr(&f.d, entry[i].addr), &wanted[i], 4);
	}
	ck_assert_uint_eq(command_entries(&c, sizeof c, entry, PIXELS), OK);
	set_scanout(1, 100, 100);
	ck_assert_uint_eq(flush(1, part), OK);
	ck_assert_uint_eq(head()->buffer->n_segments, PIXELS);
	n_seen = 0;
	ck_assert(link_buffer_runs(head()->buffer, NULL, 0, sizeof seen, see, NULL));
	ck_assert_mem_eq(seen, wanted, sizeof seen);
	/* A part of it is found as well, from the first byte of a row on. */
	n_seen = 0;
	ck_assert(link_buffer_runs(head()->buffer, NULL, 20 * 400 + 40, 20, see, NULL));
	ck_assert_mem_eq(seen, wanted + 20 * 100 + 10, 20);
}
END_TEST

START_TEST(g11_old_picture_stands_until_its_successor)
{
	f.keep_released = true;
	make_scanout(1, 100, 100);
	flush(1, whole);
	struct link_buffer_id first = head()->buffer->name;
	uint64_t held = f.gpu->host_bytes;
	ck_assert_uint_gt(held, 0);
	/* The next one is bound, not flushed; the first, still on screen, is destroyed: the next takes its place at once. */
	make_scanout(2, 100, 100);
	ck_assert_uint_eq(unref(1), OK);
	ck_assert_uint_eq(f.no_frames, 0);
	ck_assert_uint_eq(f.frames, 2);
	ck_assert_uint_eq(f.deaths, 1);
	ck_assert_uint_ne(head()->buffer->name.id, first.id);
	/* The id is free, the memory is not until the panel is done with it. */
	ck_assert_uint_eq(create_2d(1, 50, 50), OK);
	ck_assert_uint_eq(f.gpu->host_bytes, 2 * held);
	f.keep_released = false;
	panel();
	ck_assert_uint_eq(f.gpu->host_bytes, held);
	/* Unbound and destroyed: no picture. */
	ck_assert_uint_eq(set_scanout(0, 0, 0), OK);
	ck_assert_ptr_null(head()->buffer);
	ck_assert_uint_eq(f.no_frames, 1);
	ck_assert_uint_eq(unref(2), OK);
	ck_assert_uint_eq(f.gpu->host_bytes, 0);
	/* Nonsense from the panel changes nothing. */
	struct link_message released = { .type = LINK_RELEASED, .dead = { 0, 0 } };
	gpu_link_message(f.gpu, &released);
	released.dead = (struct link_buffer_id){ UINT32_MAX, 1 };
	gpu_link_message(f.gpu, &released);
	released.dead = first;
	gpu_link_message(f.gpu, &released);
	ck_assert_uint_eq(f.gpu->host_bytes, 0);
}
END_TEST

START_TEST(detached_backing_takes_the_picture_away)
{
	uint64_t gpa = make_scanout(1, 100, 100);
	flush(1, whole);
	ck_assert_uint_eq(detach(1), OK);
	ck_assert_ptr_null(head()->buffer);
	ck_assert_uint_eq(f.gpu->host_bytes, 0);
	ck_assert_uint_eq(flush(1, whole), OK);
	ck_assert_uint_eq(f.frames, 1);
	ck_assert_uint_eq(attach(1, gpa, 39999 & ~3u), OK); /* too small for the picture */
	ck_assert_uint_eq(flush(1, whole), OK);
	ck_assert_uint_eq(f.frames, 1);
	detach(1);
	ck_assert_uint_eq(attach(1, gpa, 40000), OK);
	ck_assert_uint_eq(flush(1, part), OK);
	ck_assert_uint_eq(f.frames, 2);
	assert_rect(f.last_frame.frame.damage, 0, 0, 100, 100);
}
END_TEST

START_TEST(g19_flush_of_an_older_mode)
{
	create_blob(1, 1 << 20, 0x800000, 1 << 20);
	ck_assert_uint_eq(set_scanout_blob(1, 100, 100, 400, 0), OK);
	ck_assert_uint_eq(flush(1, whole), OK);
	ck_assert_uint_eq(flush(1, (struct virtio_gpu_rect){ 90, 90, 200, 200 }), OK);
	assert_rect(f.last_frame.frame.damage, 90, 90, 10, 10);
	uint32_t frames = f.frames;
	ck_assert_uint_eq(flush(1, (struct virtio_gpu_rect){ 100, 100, 200, 200 }), OK);
	ck_assert_uint_eq(f.frames, frames);
	/* Part of a 2D resource as scanout. */
	create_2d(2, 200, 200);
	attach(2, 0xa00000, 160000);
	struct virtio_gpu_set_scanout s = { { .type = VIRTIO_GPU_CMD_SET_SCANOUT }, { 50, 60, 100, 100 }, 0, 2 };
	ck_assert_uint_eq(command(&s, sizeof s), OK);
	ck_assert_uint_eq(flush(2, (struct virtio_gpu_rect){ 0, 0, 200, 200 }), OK);
	assert_rect(f.last_frame.frame.source, 50, 60, 100, 100);
	assert_rect(f.last_frame.frame.damage, 50, 60, 100, 100);
	ck_assert_uint_eq(flush(2, (struct virtio_gpu_rect){ 0, 0, 60, 70 }), OK);
	assert_rect(f.last_frame.frame.damage, 50, 60, 10, 10);
}
END_TEST

START_TEST(full_link_loses_nothing)
{
	make_scanout(1, 100, 100);
	flush(1, whole);
	struct link_message filler = { .type = LINK_LEDS };
	while (link_send_to_panel(f.link, &filler))
		;
	struct posted posted[3];
	static const struct virtio_gpu_rect r[3] = { { 1, 1, 2, 2 }, { 50, 40, 5, 5 }, { 20, 60, 1, 1 } };
	for (uint32_t i = 0; i < 3; i++) {
		posted[i] = post_flush(1, r[i], i);
		ck_assert(driver_run(&f.d, 0));
	}
	uint64_t now = clock_now_ns();
	ck_assert_uint_le(gpu_tick(f.gpu, now), now + 2 * NSEC_PER_MSEC); /* tries again soon */
	ck_assert(!answered(posted[0]));
	panel();
	ck_assert_uint_eq(f.frames, 1);
	gpu_tick(f.gpu, now + 2 * NSEC_PER_MSEC);
	panel();
	ck_assert_uint_eq(f.frames, 2);
	ck_assert_uint_eq(f.last_frame.frame.sequence, 4);
	assert_rect(f.last_frame.frame.damage, 1, 1, 54, 60);
	presented(4);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert(answered(posted[i]));

	/* Full again while the resource goes and another comes: told later, in order. */
	while (link_send_to_panel(f.link, &filler))
		;
	struct virtio_gpu_resource_unref u = { { .type = VIRTIO_GPU_CMD_RESOURCE_UNREF }, 1, 0 };
	post(&u, sizeof u, NULL, 0, REPLY_ROOM);
	ck_assert(driver_run(&f.d, 0));
	panel();
	ck_assert_ptr_nonnull(head()->buffer);
	gpu_tick(f.gpu, clock_now_ns());
	panel();
	ck_assert_ptr_null(head()->buffer);
	ck_assert_uint_eq(f.gpu->host_bytes, 0);
}
END_TEST

START_TEST(dead_buffer_waits_for_its_successors_message)
{
	make_scanout(1, 100, 100);
	flush(1, whole);
	make_scanout(2, 100, 100);
	/* Room for one message: enough to give the old buffer up, too little for the new one. */
	struct link_message filler = { .type = LINK_LEDS };
	while (link_room_to_panel(f.link) > 1)
		link_send_to_panel(f.link, &filler);
	struct virtio_gpu_resource_unref u = { { .type = VIRTIO_GPU_CMD_RESOURCE_UNREF }, 1, 0 };
	post(&u, sizeof u, NULL, 0, REPLY_ROOM);
	ck_assert(driver_run(&f.d, 0));
	panel();
	ck_assert_uint_eq(f.deaths, 0);
	ck_assert_ptr_nonnull(head()->buffer);
	gpu_tick(f.gpu, clock_now_ns());
	panel();
	ck_assert_uint_eq(f.frames, 2);
	ck_assert_uint_eq(f.deaths, 1);
	ck_assert_uint_eq(f.no_frames, 0);
}
END_TEST

START_TEST(flood_is_one_message_a_batch)
{
	make_scanout(1, 100, 100);
	flush(1, whole);
	uint32_t before = f.frames;
	struct virtio_gpu_resource_flush c = { { .type = VIRTIO_GPU_CMD_RESOURCE_FLUSH }, whole, 1, 0 };
	memcpy(driver_ptr(&f.d, f.request_gpa), &c, sizeof c);
	struct driver_buf bufs[2] = { { f.request_gpa, sizeof c }, { f.reply_gpa, 24 } };
	for (int i = 0; i < 100; i++)
		f.done[driver_add(&f.d, 0, bufs, 1, 1)] = false;
	uint32_t batches = 1;
	while (f.d.device->ops->run(f.d.device, 0)) /* bounded work under the lock */
		batches++;
	panel();
	ck_assert_uint_ge(batches, 2);
	ck_assert_uint_le(f.frames - before, batches);
	ck_assert_uint_eq(f.last_frame.frame.sequence, 101);
	uint32_t answers = f.answers;
	answered((struct posted){ 0 });
	ck_assert_uint_eq(f.answers - answers, 100);
}
END_TEST

START_TEST(panel_that_never_releases)
{
	/* More pictures than buffers can be alive: the device waits for the panel, and goes on when it releases. */
	f.keep_released = true;
	uint64_t gpa = driver_alloc(&f.d, 4096);
	for (uint32_t i = 0; i < 600; i++) {
		ck_assert_uint_eq(create_blob(1, 4096, gpa, 4096), OK);
		ck_assert_uint_eq(set_scanout_blob(1, 32, 32, 128, 0), OK);
		ck_assert_uint_eq(flush(1, (struct virtio_gpu_rect){ 0, 0, 32, 32 }), OK);
		ck_assert_uint_eq(unref(1), OK);
	}
	ck_assert_uint_eq(f.buffers, LINK_MAX_BUFFERS);
	create_blob(1, 4096, gpa, 4096);
	set_scanout_blob(1, 32, 32, 128, 0);
	flush(1, (struct virtio_gpu_rect){ 0, 0, 32, 32 });
	ck_assert_ptr_null(head()->buffer);
	f.keep_released = false;
	panel();
	gpu_tick(f.gpu, clock_now_ns() + GPU_RETRY_NS);
	panel();
	ck_assert_ptr_nonnull(head()->buffer);
}
END_TEST

START_TEST(cached_buffers_are_bounded)
{
	uint64_t gpa = driver_alloc(&f.d, 4096);
	for (uint32_t id = 1; id <= 300; id++) {
		create_blob(id, 4096, gpa, 4096);
		set_scanout_blob(id, 32, 32, 128, 0);
		flush(id, (struct virtio_gpu_rect){ 0, 0, 32, 32 });
		ck_assert_ptr_nonnull(head()->buffer);
	}
	ck_assert_uint_eq(f.buffers, 300);
	ck_assert_uint_ge(f.deaths, 300 - GPU_LIVE_BUFFERS - 1);
	/* One that was let go is announced again. */
	set_scanout_blob(1, 32, 32, 128, 0);
	flush(1, (struct virtio_gpu_rect){ 0, 0, 32, 32 });
	ck_assert_uint_eq(f.buffers, 301);
}
END_TEST

/* --- fences ---------------------------------------------------------------------------------------------------------------- */

START_TEST(fences_leave_in_ring_order)
{
	make_scanout(1, 100, 100);
	struct virtio_gpu_resource_create_2d c = { { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = 3 }, 2, 1, 9, 9 };
	struct posted first = post_flush(1, part, 1), second = post_flush(1, part, 2);
	struct posted fenced = post(&c, sizeof c, NULL, 0, REPLY_ROOM);
	c.hdr.flags = 0;
	c.resource_id = 3;
	struct posted unfenced = post(&c, sizeof c, NULL, 0, REPLY_ROOM);
	work_off();
	ck_assert(answered(unfenced));
	ck_assert(!answered(first) && !answered(second) && !answered(fenced));
	driver_interrupts(&f.d, 1);
	f.d.queue[0].avail[2 + f.d.queue[0].size] = f.d.queue[0].used[1]; /* used_event: the next one */
	presented(1);
	ck_assert(answered(first));
	ck_assert(!answered(second) && !answered(fenced));
	ck_assert_uint_eq(driver_interrupts(&f.d, 1), 1);
	presented(1);  /* again, */
	presented(99); /* and one that was never published */
	ck_assert(!answered(second));
	presented(2);
	ck_assert(answered(second) && answered(fenced));
	const struct virtio_gpu_ctrl_hdr *reply = reply_of(first);
	ck_assert_uint_eq(reply->type, OK);
	ck_assert_uint_eq(reply->flags, VIRTIO_GPU_FLAG_FENCE);
	ck_assert_uint_eq(reply->fence_id, 1);
	/* Nothing waits: fenced ones are answered at once, flushes of what is not shown too. */
	c.hdr.flags = VIRTIO_GPU_FLAG_FENCE;
	c.resource_id = 4;
	fenced = post(&c, sizeof c, NULL, 0, REPLY_ROOM);
	first = post_flush(4, (struct virtio_gpu_rect){ 0, 0, 9, 9 }, 9);
	work_off();
	ck_assert(answered(fenced) && answered(first));
}
END_TEST

START_TEST(no_flush_waits_longer_than_40_ms)
{
	/* Hidden or not makes no difference: the panel paces, and where it does not, the timer does. */
	struct link_message hidden = { .type = LINK_VISIBLE, .visible = { 0 } };
	gpu_link_message(f.gpu, &hidden);
	make_scanout(1, 100, 100);
	uint64_t before = clock_now_ns();
	struct posted posted = post_flush(1, part, 1);
	work_off();
	uint64_t after = clock_now_ns();
	uint64_t next = gpu_tick(f.gpu, after);
	ck_assert(!answered(posted));
	ck_assert_uint_ge(next, before + GPU_FENCE_NS);
	ck_assert_uint_le(next, after + GPU_FENCE_NS);
	gpu_tick(f.gpu, next - 1);
	ck_assert(!answered(posted));
	ck_assert_uint_eq(gpu_tick(f.gpu, next), UINT64_MAX);
	ck_assert(answered(posted));
	/* The panel's answer while hidden. */
	posted = post_flush(1, part, 2);
	work_off();
	ck_assert(!answered(posted));
	presented(2);
	ck_assert(answered(posted));
}
END_TEST

START_TEST(unbinding_answers_at_once)
{
	make_scanout(1, 100, 100);
	struct posted posted = post_flush(1, part, 1);
	work_off();
	ck_assert(!answered(posted));
	ck_assert_uint_eq(set_scanout(0, 0, 0), OK);
	ck_assert(answered(posted));

	set_scanout(1, 100, 100);
	posted = post_flush(1, part, 2);
	work_off();
	ck_assert(!answered(posted));
	ck_assert_uint_eq(detach(1), OK);
	ck_assert(answered(posted));

	attach(1, 0x800000, 40000);
	posted = post_flush(1, part, 3);
	work_off();
	ck_assert(!answered(posted));
	ck_assert_uint_eq(unref(1), OK);
	ck_assert(answered(posted));
}
END_TEST

START_TEST(g22_reset_with_fences_outstanding)
{
	make_scanout(1, 100, 100);
	struct posted posted = post_flush(1, part, 1);
	post_flush(1, part, 2);
	work_off();
	ck_assert(!answered(posted));
	uint64_t sequence = head()->sequence;
	struct driver_queue old = f.d.queue[0];
	uint32_t used_size = 6 + 8u * old.size;
	uint8_t before[6 + 8 * 256];
	memcpy(before, old.used, used_size);
	uint64_t kicks;
	ck_assert_int_eq(read(gpu_device(f.gpu)->kick_fd[0], &kicks, sizeof kicks), sizeof kicks);
	driver_set(&f.d, R_STATUS, 0, 1);
	ck_assert_uint_eq(f.gpu->fences.count, 0);
	/* The vCPU thread did not touch the link; the machine's thread, woken, tells the panel. */
	panel();
	ck_assert_ptr_nonnull(head()->buffer);
	ck_assert_int_eq(read(gpu_device(f.gpu)->kick_fd[0], &kicks, sizeof kicks), sizeof kicks);
	presented(2);
	gpu_tick(f.gpu, clock_now_ns() + NSEC_PER_SEC);
	ck_assert(driver_run(&f.d, 0));
	panel();
	ck_assert_mem_eq(old.used, before, used_size);
	ck_assert_ptr_null(head()->buffer);
	ck_assert_uint_eq(f.gpu->n_resources, 0);
	ck_assert_uint_eq(f.gpu->host_bytes, 0);
	/* A new driver starts from nothing, and sequence numbers go on. */
	driver_start(&f.d, DRIVER_ALL_FEATURES, 256);
	make_scanout(1, 100, 100);
	ck_assert_uint_eq(flush(1, whole), OK);
	ck_assert_uint_gt(head()->sequence, sequence);
}
END_TEST

START_TEST(broken_ring_stops_the_device)
{
	make_scanout(1, 100, 100);
	post_flush(1, part, 1);
	work_off();
	driver_offer(&f.d, 0, 300);
	work_off();
	ck_assert_uint_ne(driver_status(&f.d) & S_NEEDS_RESET, 0);
	ck_assert_uint_eq(gpu_tick(f.gpu, clock_now_ns() + NSEC_PER_SEC), UINT64_MAX); /* no timer for a fence that cannot leave */
	ck_assert_ptr_nonnull(head()->buffer);                                          /* the last picture stays */
	driver_start(&f.d, DRIVER_ALL_FEATURES, 256);
	make_scanout(1, 100, 100);
	ck_assert_uint_eq(flush(1, whole), OK);
}
END_TEST

START_TEST(pause_answers_what_waits)
{
	make_scanout(1, 100, 100);
	struct posted posted = post_flush(1, part, 1);
	work_off();
	struct virtio_device *device = gpu_device(f.gpu);
	pthread_mutex_lock(&device->lock);
	device->ops->pause(device);
	pthread_mutex_unlock(&device->lock);
	ck_assert(answered(posted));
	posted = post_flush(1, part, 2);
	work_off();
	ck_assert_uint_eq(f.gpu->fences.count, 0);
	presented(2);
	ck_assert(!answered(posted));
	pthread_mutex_lock(&device->lock);
	device->ops->resume(device);
	pthread_mutex_unlock(&device->lock);
	work_off();
	presented(2);
	ck_assert(answered(posted));
}
END_TEST

/* The driver wants an interrupt for the next answer. */
static void wants_interrupt(void)
{
	f.d.queue[0].avail[2 + f.d.queue[0].size] = f.d.queue[0].used[1];
	driver_interrupts(&f.d, 1);
}

/* A page flip is one interrupt, when it was shown. What somebody may wait for is told of at once. */
START_TEST(a_flip_is_one_interrupt)
{
	const struct virtio_gpu_rect all = { 0, 0, 64, 64 };
	struct virtio_gpu_set_scanout bind = { { .type = VIRTIO_GPU_CMD_SET_SCANOUT }, all, 0, 1 };
	struct virtio_gpu_ctrl_hdr ask = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	make_scanout(1, 64, 64);
	wants_interrupt();
	struct posted bound = post(&bind, sizeof bind, NULL, 0, REPLY_ROOM), flushed = post_flush(1, all, 1);
	work_off();
	gpu_tick(f.gpu, clock_now_ns());
	ck_assert(answered(bound) && !answered(flushed));
	ck_assert_uint_eq(driver_interrupts(&f.d, 1), 0);
	presented(f.last_frame.frame.sequence);
	work_off();
	ck_assert(answered(flushed));
	ck_assert_uint_eq(driver_interrupts(&f.d, 1), 1);
	/* shown by nobody: at the deadline */
	wants_interrupt();
	post(&bind, sizeof bind, NULL, 0, REPLY_ROOM);
	post_flush(1, all, 2);
	work_off();
	ck_assert_uint_eq(driver_interrupts(&f.d, 1), 0);
	gpu_tick(f.gpu, clock_now_ns() + GPU_FENCE_NS);
	ck_assert_uint_eq(driver_interrupts(&f.d, 1), 1);
	/* a question before the flush, a command behind it, a command while it waits */
	wants_interrupt();
	post(&ask, sizeof ask, NULL, 0, REPLY_ROOM);
	post_flush(1, all, 3);
	work_off();
	ck_assert_uint_eq(driver_interrupts(&f.d, 1), 1);
	wants_interrupt();
	post_flush(1, all, 4);
	post(&bind, sizeof bind, NULL, 0, REPLY_ROOM);
	work_off();
	ck_assert_uint_eq(driver_interrupts(&f.d, 1), 1);
	wants_interrupt();
	post(&bind, sizeof bind, NULL, 0, REPLY_ROOM);
	work_off();
	ck_assert_uint_eq(driver_interrupts(&f.d, 1), 1);
}
END_TEST

/* --- the monitor ------------------------------------------------------------------------------------------------------------- */

static void display(uint32_t width, uint32_t height, uint32_t mhz)
{
	tell_display(0, width, height, mhz);
	gpu_tick(f.gpu, clock_now_ns());
}

START_TEST(display_changes_reach_the_guest)
{
	driver_interrupts(&f.d, 0);
	ck_assert_uint_eq(driver_read(&f.d, f.d.config, 4), 0);
	ck_assert_uint_eq(driver_read(&f.d, f.d.config + 8, 4), 1);
	ck_assert_uint_eq(driver_read(&f.d, f.d.config + 12, 4), 0);
	display(2560, 1440, 75000);
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 1);
	ck_assert_uint_eq(driver_read(&f.d, f.d.config, 4), VIRTIO_GPU_EVENT_DISPLAY);
	driver_write(&f.d, f.d.config, 0, 4); /* read only */
	ck_assert_uint_eq(driver_read(&f.d, f.d.config, 4), VIRTIO_GPU_EVENT_DISPLAY);
	driver_write(&f.d, f.d.config + 4, VIRTIO_GPU_EVENT_DISPLAY, 4);
	ck_assert_uint_eq(driver_read(&f.d, f.d.config, 4), 0);
	display(2560, 1440, 75000); /* the same */
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 0);

	struct virtio_gpu_ctrl_hdr i = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	struct posted posted = post(&i, sizeof i, NULL, 0, REPLY_ROOM);
	struct virtio_gpu_cmd_get_edid e = { { .type = VIRTIO_GPU_CMD_GET_EDID }, 0, 0 };
	struct posted edid = post(&e, sizeof e, NULL, 0, REPLY_ROOM);
	work_off();
	ck_assert(answered(posted) && answered(edid));
	const struct virtio_gpu_resp_display_info *info = reply_of(posted);
	ck_assert_uint_eq(info->pmodes[0].r.width, 2560);
	ck_assert_uint_eq(info->pmodes[0].enabled, 1);
	const struct virtio_gpu_resp_edid *reply = reply_of(edid);
	ck_assert_mem_eq(reply->edid + 77, "sixteen lette", 13);

	display(5120, 2880, 60000); /* no EDID can say it: the driver falls back to the display info */
	ck_assert_uint_eq(command(&e, sizeof e), VIRTIO_GPU_RESP_ERR_UNSPEC);
	display(0, 0, 0);
	posted = post(&i, sizeof i, NULL, 0, REPLY_ROOM);
	work_off();
	ck_assert(answered(posted));
	info = reply_of(posted);
	ck_assert_uint_eq(info->pmodes[0].enabled, 0);
	/* Scanouts that are not offered have no monitor. */
	driver_interrupts(&f.d, 0);
	for (uint32_t k = 0; k < 4; k++) {
		const uint32_t heads[] = { 1, LINK_MAX_HEADS - 1, LINK_MAX_HEADS, UINT32_MAX };
		tell_display(heads[k], 640, 480, 0);
		presented_on(heads[k], 1);
		gpu_tick(f.gpu, clock_now_ns());
	}
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("gpu-scanout");
	TCase *c = tcase_create("gpu-scanout");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, flush_publishes_and_binding_does_not);
	tcase_add_test(c, binding_without_a_flush_is_published_after_a_refresh);
	tcase_add_test(c, page_flips_keep_both_buffers);
	tcase_add_test(c, pixels_are_where_the_panel_looks);
	tcase_add_test(c, an_entry_for_every_pixel);
	tcase_add_test(c, g11_old_picture_stands_until_its_successor);
	tcase_add_test(c, detached_backing_takes_the_picture_away);
	tcase_add_test(c, g19_flush_of_an_older_mode);
	tcase_add_test(c, full_link_loses_nothing);
	tcase_add_test(c, dead_buffer_waits_for_its_successors_message);
	tcase_add_test(c, flood_is_one_message_a_batch);
	tcase_add_test(c, panel_that_never_releases);
	tcase_add_test(c, cached_buffers_are_bounded);
	tcase_add_test(c, fences_leave_in_ring_order);
	tcase_add_test(c, no_flush_waits_longer_than_40_ms);
	tcase_add_test(c, unbinding_answers_at_once);
	tcase_add_test(c, g22_reset_with_fences_outstanding);
	tcase_add_test(c, broken_ring_stops_the_device);
	tcase_add_test(c, pause_answers_what_waits);
	tcase_add_test(c, a_flip_is_one_interrupt);
	tcase_add_test(c, display_changes_reach_the_guest);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
