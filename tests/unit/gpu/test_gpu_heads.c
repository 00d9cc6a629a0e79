/* Several scanouts: monitors that come and go, what the panel sees of each, and whose frames a fence waits for. */
#include "fixture.h"

#include "virtio/edid.h"

#define OK VIRTIO_GPU_RESP_OK_NODATA
#define NO_SCANOUT VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID
#define DISPLAY VIRTIO_GPU_EVENT_DISPLAY
#define HEADS LINK_MAX_HEADS

static const struct virtio_gpu_rect whole = { 0, 0, 100, 100 };

static const struct link_head *head(uint32_t i)
{
	return link_table_head(f.table, i);
}

/* 2D resource of 100 x 100 with a backing, shown nowhere. */
static void make(uint32_t id)
{
	ck_assert_uint_eq(create_2d(id, 100, 100), OK);
	ck_assert_uint_eq(attach(id, driver_alloc(&f.d, 40000), 40000), OK);
}

static uint64_t tick(void)
{
	return gpu_tick(f.gpu, clock_now_ns());
}

static uint32_t event(void)
{
	return driver_read(&f.d, f.d.config, 4);
}

static void clear_event(void)
{
	driver_write(&f.d, f.d.config + 4, DISPLAY, 4);
}

static struct virtio_gpu_resp_display_info display_info(void)
{
	struct virtio_gpu_ctrl_hdr c = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	struct virtio_gpu_resp_display_info info;
	struct posted posted = post(&c, sizeof c, NULL, 0, REPLY_ROOM);
	work_off();
	ck_assert(answered(posted));
	memcpy(&info, reply_of(posted), sizeof info);
	return info;
}

static void assert_monitor(const struct virtio_gpu_display_one *one, uint32_t x, uint32_t width, uint32_t height)
{
	ck_assert_msg(one->enabled == (width != 0) && one->r.x == x && one->r.y == 0 && one->r.width == width && one->r.height == height,
		"enabled %u, %ux%u at %u,%u instead of %ux%u at %u", one->enabled, one->r.width, one->r.height, one->r.x, one->r.y, width, height, x);
}

static void edid_of(uint32_t scanout, uint8_t edid[EDID_SIZE])
{
	struct virtio_gpu_cmd_get_edid c = { { .type = VIRTIO_GPU_CMD_GET_EDID }, scanout, 0 };
	struct posted posted = post(&c, sizeof c, NULL, 0, REPLY_ROOM);
	work_off();
	ck_assert(answered(posted));
	const struct virtio_gpu_resp_edid *reply = reply_of(posted);
	ck_assert_uint_eq(reply->hdr.type, VIRTIO_GPU_RESP_OK_EDID);
	ck_assert_uint_eq(reply->size, EDID_SIZE);
	memcpy(edid, reply->edid, EDID_SIZE);
}

static uint32_t edid_width(const uint8_t *edid)
{
	return edid[56] | (edid[58] & 0xf0u) << 4;
}

/* --- monitors --------------------------------------------------------------------------------------------------------- */

START_TEST(one_is_enabled_from_the_start)
{
	errno = 0;
	ck_assert_ptr_null(gpu_create(&f.d.memory, f.link, 0, NULL));
	ck_assert_ptr_null(gpu_create(&f.d.memory, f.link, HEADS + 1, NULL));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_uint_eq(driver_read(&f.d, f.d.config + 8, 4), HEADS);
	struct virtio_gpu_resp_display_info info = display_info();
	assert_monitor(&info.pmodes[0], 0, 1280, 800);
	for (uint32_t i = 1; i < VIRTIO_GPU_MAX_SCANOUTS; i++)
		assert_monitor(&info.pmodes[i], 0, 0, 0);
}
END_TEST

/* All have an EDID, and a desktop can tell the monitors apart by it; else they are equal. */
START_TEST(edids_differ)
{
	uint8_t first[EDID_SIZE], other[EDID_SIZE];
	for (uint32_t i = 0; i < HEADS; i++)
		tell_display(i, 1024, 768, 60000);
	tick();
	edid_of(0, first);
	ck_assert_mem_eq(first + 12, "\0\0\0\0", 4); /* as it is without further scanouts: what a guest remembers of it stays true */
	for (uint32_t i = 1; i < HEADS; i++) {
		edid_of(i, other);
		ck_assert_uint_eq(other[12], i);
		other[12] = 0;
		other[127] = (uint8_t)(other[127] + i);
		ck_assert_mem_eq(other, first, EDID_SIZE);
	}
}
END_TEST

START_TEST(monitors_come_and_go)
{
	uint8_t edid[EDID_SIZE];
	driver_interrupts(&f.d, 0);
	tell_display(2, 1024, 768, 75000);
	tick();
	ck_assert_uint_eq(event(), DISPLAY);
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 1);
	clear_event();
	struct virtio_gpu_resp_display_info info = display_info();
	assert_monitor(&info.pmodes[0], 0, 1280, 800);
	assert_monitor(&info.pmodes[1], 0, 0, 0);
	assert_monitor(&info.pmodes[2], 1280, 1024, 768); /* beside it */
	edid_of(2, edid);
	ck_assert_uint_eq(edid_width(edid), 1024);

	/* The same again is no news. */
	tell_display(2, 1024, 768, 75000);
	tick();
	ck_assert_uint_eq(event(), 0);

	tell_display(2, 0, 0, 0);
	tick();
	ck_assert_uint_eq(event(), DISPLAY);
	clear_event();
	info = display_info();
	assert_monitor(&info.pmodes[2], 0, 0, 0);
	edid_of(2, edid); /* the last one's: no error in the guest's log */
	ck_assert_uint_eq(edid_width(edid), 1024);
	tell_display(2, 0, 0, 0);
	tick();
	ck_assert_uint_eq(event(), 0);
	/* By one too many, and by far. */
	tell_display(HEADS, 640, 480, 0);
	tell_display(UINT32_MAX, 640, 480, 0);
	presented_on(HEADS, 1);
	tick();
	ck_assert_uint_eq(event(), 0);
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 1);
}
END_TEST

START_TEST(one_event_for_a_batch)
{
	driver_interrupts(&f.d, 0);
	for (uint32_t i = 0; i < HEADS; i++)
		tell_display(i, 1024 + 8 * i, 768, 60000);
	tell_display(1, 0, 0, 0);
	ck_assert_uint_eq(event(), 0);
	tick();
	tick();
	ck_assert_uint_eq(event(), DISPLAY);
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 1);
	clear_event();
	ck_assert_uint_eq(event(), 0);
	struct virtio_gpu_resp_display_info info = display_info();
	assert_monitor(&info.pmodes[0], 0, 1024, 768);
	assert_monitor(&info.pmodes[1], 0, 0, 0);
	assert_monitor(&info.pmodes[2], 1024, 1040, 768);
	assert_monitor(&info.pmodes[3], 1024 + 1040, 1048, 768);
}
END_TEST

/* Linux asks, then clears the event: what changed in between must not be cleared with it. A driver that clears first gets no second event. */
START_TEST(change_before_the_event_is_cleared)
{
	display_info();
	tell_display(1, 640, 480, 0);
	tick();
	driver_interrupts(&f.d, 0);
	if (_i == 0)
		display_info();
	else if (_i == 1)
		edid_of(0, (uint8_t[EDID_SIZE]){ 0 });
	tell_display(2, 640, 480, 0);
	tick();
	driver_write(&f.d, f.d.config + 4, 0, 4); /* clears nothing */
	clear_event();
	ck_assert_uint_eq(event(), _i < 2 ? DISPLAY : 0);
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), _i < 2 ? 2 : 1);
	display_info();
	clear_event();
	ck_assert_uint_eq(event(), 0);
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 0);
}
END_TEST

static void pause_device(bool pause)
{
	struct virtio_device *device = gpu_device(f.gpu);
	pthread_mutex_lock(&device->lock);
	(pause ? device->ops->pause : device->ops->resume)(device);
	pthread_mutex_unlock(&device->lock);
}

START_TEST(monitors_of_a_paused_or_reset_device)
{
	driver_interrupts(&f.d, 0);
	pause_device(true);
	tell_display(1, 640, 480, 0);
	tell_display(3, 640, 480, 0);
	tick();
	ck_assert_uint_eq(event(), 0);
	pause_device(false);
	tick();
	ck_assert_uint_eq(event(), DISPLAY);
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 1);
	/* Monitors are the panel's: a reset changes none, and a driver that starts reads them anyway, whatever the last one was still to hear. */
	display_info();
	tell_display(3, 0, 0, 0);
	tick();
	tell_display(3, 640, 480, 0);
	tell_display(2, 640, 480, 0);
	driver_set(&f.d, R_STATUS, 0, 1);
	driver_start(&f.d, DRIVER_ALL_FEATURES, 256);
	tick();
	ck_assert_uint_eq(event(), 0);
	clear_event();
	ck_assert_uint_eq(event(), 0);
	struct virtio_gpu_resp_display_info info = display_info();
	for (uint32_t i = 1; i < HEADS; i++)
		assert_monitor(&info.pmodes[i], 1280 + 640 * (i - 1), 640, 480);
}
END_TEST

/* --- pictures ----------------------------------------------------------------------------------------------------------- */

START_TEST(g9_scanout_ids)
{
	static const uint32_t ids[] = { HEADS, 15, 16, UINT32_MAX };
	create_blob(2, 40000, driver_alloc(&f.d, 40000), 40000);
	make(1);
	for (uint32_t i = 0; i < ARRAY_LEN(ids); i++) {
		struct virtio_gpu_cmd_get_edid e = { { .type = VIRTIO_GPU_CMD_GET_EDID }, ids[i], 0 };
		struct virtio_gpu_set_scanout_blob b = { .hdr = { .type = VIRTIO_GPU_CMD_SET_SCANOUT_BLOB }, .r = { 0, 0, 10, 10 },
			.scanout_id = ids[i], .resource_id = 2, .width = 10, .height = 10, .format = 1, .strides = { 40 } };
		ck_assert_uint_eq(set_scanout_on(ids[i], 1, 10, 10), NO_SCANOUT);
		ck_assert_uint_eq(set_scanout_on(ids[i], 0, 0, 0), NO_SCANOUT);
		ck_assert_uint_eq(command(&b, sizeof b), NO_SCANOUT);
		ck_assert_uint_eq(command(&e, sizeof e), NO_SCANOUT);
		b.scanout_id = HEADS - 1;
		ck_assert_uint_eq(command(&b, sizeof b), OK);
	}
	ck_assert_uint_eq(set_scanout_on(HEADS - 1, 1, 10, 10), OK);
}
END_TEST

START_TEST(each_scanout_has_its_picture)
{
	for (uint32_t i = 0; i < HEADS; i++) {
		make(1 + i);
		ck_assert_uint_eq(set_scanout_on(i, 1 + i, 100, 100 - i), OK); /* one without a monitor may be bound */
		ck_assert_uint_eq(flush(1 + i, whole), OK);
		ck_assert_uint_eq(f.last_frame.head, i);
		ck_assert_uint_eq(f.last_frame.frame.sequence, 1);
		ck_assert_uint_eq(f.last_frame.frame.source.h, 100 - i);
	}
	/* And its sequence; those of the others stand. */
	ck_assert_uint_eq(flush(3, whole), OK);
	ck_assert_uint_eq(f.frames, HEADS + 1);
	for (uint32_t i = 0; i < HEADS; i++)
		ck_assert_uint_eq(head(i)->sequence, i == 2 ? 2 : 1);
	/* A monitor that goes takes nothing that is bound with it. */
	tell_display(2, 640, 480, 0);
	tell_display(2, 0, 0, 0);
	tick();
	panel();
	ck_assert_ptr_nonnull(head(2)->buffer);
	ck_assert_uint_eq(f.no_frames, 0);
	ck_assert_uint_eq(set_scanout_on(2, 0, 0, 0), OK);
	ck_assert_ptr_null(head(2)->buffer);
	ck_assert_ptr_nonnull(head(1)->buffer);
}
END_TEST

START_TEST(g21_every_scanout_is_withdrawn)
{
	make(1);
	for (uint32_t i = 0; i < HEADS; i++)
		ck_assert_uint_eq(set_scanout_on(i, 1, 100 - i, 100), OK);
	struct posted posted = post_flush(1, whole, 1);
	work_off();
	ck_assert(!answered(posted));
	for (uint32_t i = 0; i < HEADS; i++) {
		ck_assert_ptr_nonnull(head(i)->buffer);
		ck_assert_ptr_eq(head(i)->buffer, head(0)->buffer);
	}
	ck_assert_uint_eq(f.buffers, 1);
	ck_assert_uint_eq(_i == 0 ? unref(1) : detach(1), OK);
	for (uint32_t i = 0; i < HEADS; i++) {
		ck_assert_ptr_null(head(i)->buffer);
		ck_assert_ptr_eq(f.gpu->head[i].resource, _i == 0 ? NULL : gpu_resource_find(f.gpu, 1));
	}
	ck_assert(answered(posted)); /* nobody will present it */
	ck_assert_uint_eq(f.no_frames, HEADS);
	ck_assert_uint_eq(f.deaths, 1);
	ck_assert_uint_eq(f.gpu->host_bytes, 0);
}
END_TEST

static void point(uint32_t scanout, uint32_t id, uint32_t x)
{
	struct virtio_gpu_update_cursor update = { .hdr.type = VIRTIO_GPU_CMD_UPDATE_CURSOR, .pos = { .scanout_id = scanout, .x = x }, .resource_id = id };
	uint64_t gpa = driver_alloc(&f.d, 4096);
	memcpy(driver_ptr(&f.d, gpa), &update, sizeof update);
	driver_add(&f.d, 1, &(struct driver_buf){ gpa, sizeof update }, 1, 0);
	driver_kick(&f.d, 1);
	ck_assert(driver_run(&f.d, 1));
	panel();
	ck_assert(driver_used(&f.d, 1, NULL, NULL));
}

/* As Linux moves it from one to the other: hidden here, shown there. */
START_TEST(each_scanout_has_its_pointer)
{
	ck_assert_uint_eq(create_2d(1, 64, 64), OK);
	ck_assert_uint_eq(attach(1, driver_alloc(&f.d, 16384), 16384), OK);
	point(0, 1, 5);
	ck_assert_uint_eq(f.last_cursor.head, 0);
	point(0, 0, 5);
	ck_assert_uint_eq(f.last_cursor.cursor.visible, 0);
	point(3, 1, 7);
	ck_assert_uint_eq(f.cursors, 3);
	ck_assert_uint_eq(f.last_cursor.head, 3);
	ck_assert_uint_eq(f.last_cursor.cursor.visible, 1);
	ck_assert_int_eq(f.last_cursor.cursor.x, 7);
	ck_assert_uint_ne(f.last_cursor.cursor.buffer.id, 0);
	point(HEADS, 1, 7);
	ck_assert_uint_eq(f.cursors, 3);
	/* A reset hides the one that is shown. */
	driver_set(&f.d, R_STATUS, 0, 1);
	driver_run(&f.d, 0);
	panel();
	ck_assert_uint_eq(f.cursors, 4);
	ck_assert_uint_eq(f.last_cursor.head, 3);
	ck_assert_uint_eq(f.last_cursor.cursor.visible, 0);
}
END_TEST

/* --- fences --------------------------------------------------------------------------------------------------------------- */

static void plug_all(void)
{
	for (uint32_t i = 0; i < HEADS; i++)
		tell_display(i, 100, 100, 60000);
	tick();
}

START_TEST(flush_waits_for_every_scanout)
{
	plug_all();
	make(1);
	make(2);
	set_scanout_on(0, 1, 100, 100);
	set_scanout_on(1, 1, 100, 100);
	set_scanout_on(2, 2, 100, 100);
	struct posted posted = post_flush(1, whole, 1);
	work_off();
	presented_on(2, 1); /* of another's */
	presented_on(1, 1);
	ck_assert(!answered(posted));
	presented_on(0, 1);
	ck_assert(answered(posted));
	/* What one shows waits for that alone. */
	posted = post_flush(2, whole, 2);
	work_off();
	ck_assert(!answered(posted));
	presented_on(2, 1);
	ck_assert(answered(posted));
	/* In ring order, and one that is unbound is not waited for. */
	posted = post_flush(1, whole, 3);
	struct posted later = post_flush(2, whole, 4);
	work_off();
	presented_on(2, 2);
	presented_on(0, 2);
	ck_assert(!answered(posted) && !answered(later));
	set_scanout_on(1, 0, 0, 0);
	ck_assert(answered(posted) && answered(later));
}
END_TEST

START_TEST(no_flush_waits_longer_than_40_ms)
{
	plug_all();
	make(1);
	for (uint32_t i = 0; i < HEADS; i++)
		set_scanout_on(i, 1, 100, 100);
	uint64_t before = clock_now_ns();
	struct posted posted = post_flush(1, whole, 1);
	work_off();
	for (uint32_t i = 0; i + 1 < HEADS; i++)
		presented_on(i, 1); /* the last one's panel is silent */
	uint64_t next = tick();
	ck_assert_uint_ge(next, before + GPU_FENCE_NS);
	ck_assert_uint_le(next, clock_now_ns() + GPU_FENCE_NS);
	gpu_tick(f.gpu, next - 1);
	ck_assert(!answered(posted));
	ck_assert_uint_eq(gpu_tick(f.gpu, next), UINT64_MAX);
	ck_assert(answered(posted));
}
END_TEST

/* Without a monitor frames are answered once a refresh, not at once: a guest that does not look at events would draw without end. */
START_TEST(frames_without_a_monitor_have_a_pace)
{
	const uint64_t refresh = NSEC_PER_SEC / 60;
	make(1);
	set_scanout_on(3, 1, 100, 100);
	uint64_t before = clock_now_ns();
	struct posted posted = post_flush(1, whole, 1);
	work_off();
	ck_assert(!answered(posted));
	uint64_t next = tick();
	ck_assert_uint_ge(next, before + refresh);
	ck_assert_uint_le(next, clock_now_ns() + refresh);
	struct posted second = post_flush(1, whole, 2); /* no later for it */
	work_off();
	gpu_tick(f.gpu, next - 1);
	ck_assert(!answered(posted));
	ck_assert_uint_eq(gpu_tick(f.gpu, next), UINT64_MAX);
	ck_assert(answered(posted) && answered(second));

	/* Shown on one with a monitor as well: that is what is waited for. */
	set_scanout_on(0, 1, 100, 100);
	posted = post_flush(1, whole, 3);
	work_off();
	next = tick();
	gpu_tick(f.gpu, next);
	ck_assert(!answered(posted));
	presented_on(0, 1);
	ck_assert(answered(posted));
	set_scanout_on(0, 0, 0, 0);

	/* The monitor goes while a frame waits for it. */
	tell_display(3, 640, 480, 60000);
	tick();
	posted = post_flush(1, whole, 4);
	work_off();
	ck_assert_uint_gt(tick(), clock_now_ns() + refresh);
	tell_display(3, 0, 0, 0);
	next = tick();
	ck_assert_uint_le(next, clock_now_ns() + refresh);
	ck_assert(!answered(posted));
	gpu_tick(f.gpu, next);
	ck_assert(answered(posted));

	/* And comes back: the panel's word counts again. */
	posted = post_flush(1, whole, 5);
	work_off();
	tell_display(3, 640, 480, 60000);
	tick();
	gpu_tick(f.gpu, clock_now_ns() + refresh);
	ck_assert(!answered(posted));
	presented_on(3, head(3)->sequence);
	ck_assert(answered(posted));
}
END_TEST

START_TEST(g22_reset_with_fences_outstanding)
{
	plug_all();
	make(1);
	for (uint32_t i = 0; i < HEADS; i++)
		set_scanout_on(i, 1, 100, 100);
	post_flush(1, whole, 1);
	work_off();
	ck_assert_uint_eq(f.gpu->fences.count, 1);
	driver_set(&f.d, R_STATUS, 0, 1);
	ck_assert(driver_run(&f.d, 0));
	panel();
	for (uint32_t i = 0; i < HEADS; i++) {
		ck_assert_ptr_null(head(i)->buffer);
		ck_assert_ptr_null(f.gpu->head[i].resource);
	}
	ck_assert_uint_eq(f.no_frames, HEADS);
	ck_assert_uint_eq(tick(), UINT64_MAX);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("gpu-heads");
	TCase *c = tcase_create("gpu-heads");
	tcase_add_checked_fixture(c, setup_extended, teardown);
	tcase_add_test(c, one_is_enabled_from_the_start);
	tcase_add_test(c, edids_differ);
	tcase_add_test(c, monitors_come_and_go);
	tcase_add_test(c, one_event_for_a_batch);
	tcase_add_loop_test(c, change_before_the_event_is_cleared, 0, 3);
	tcase_add_test(c, monitors_of_a_paused_or_reset_device);
	tcase_add_test(c, g9_scanout_ids);
	tcase_add_test(c, each_scanout_has_its_picture);
	tcase_add_loop_test(c, g21_every_scanout_is_withdrawn, 0, 2);
	tcase_add_test(c, each_scanout_has_its_pointer);
	tcase_add_test(c, flush_waits_for_every_scanout);
	tcase_add_test(c, no_flush_waits_longer_than_40_ms);
	tcase_add_test(c, frames_without_a_monitor_have_a_pace);
	tcase_add_test(c, g22_reset_with_fences_outstanding);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
