/*
 * The device before a panel as it is, on a card that changes: what becomes of a monitor's mode, name and size on its way to the guest.
 * The machine's thread is this one.
 */
#define LOG_MODULE "test"
#include "../kms/fake_card.h"
#include "fixture.h"

#include <pthread.h>
#include <wayland-server-core.h>

#include "base/stats.h"
#include "kms/panel_private.h"

#define OK VIRTIO_GPU_RESP_OK_NODATA
#define DISPLAY VIRTIO_GPU_EVENT_DISPLAY

static struct fake card;
static pthread_mutex_t plugging = PTHREAD_MUTEX_INITIALIZER; /* what is plugged in changes all at once: the panel may look at any time, not only when it is told to */
static struct output monitor; /* what the card finds, but for connected and width, which are the fake's */
static struct backend_ops ops;
static struct wl_event_loop *loop;
static struct status_board *board;
static struct panel *shown;

static struct output *probe(struct backend *backend)
{
	pthread_mutex_lock(&plugging);
	struct output *output = fake_probe(backend);
	if (output->connected) {
		strcpy(output->monitor, monitor.monitor);
		output->width_mm = monitor.width_mm;
		output->height_mm = monitor.height_mm;
	}
	pthread_mutex_unlock(&plugging);
	return output;
}

/* Front and machine for `ms`, or until the guest has an event. */
static bool event_within(uint32_t ms)
{
	uint64_t deadline = clock_now_ns() + ms * NSEC_PER_MSEC;
	do {
		wl_event_loop_dispatch(loop, 2);
		panel();
		if (driver_read(&f.d, f.d.config, 4) == DISPLAY)
			return true;
	} while (clock_now_ns() < deadline);
	return false;
}

/* Only what was not expected waits so long. */
#define IN_TIME 10000

static void plug(bool connected, uint32_t width, const char *name, uint32_t mm)
{
	pthread_mutex_lock(&plugging);
	card.connected = connected;
	card.width = width;
	snprintf(monitor.monitor, sizeof monitor.monitor, "%s", name);
	monitor.width_mm = mm;
	monitor.height_mm = mm / 2;
	pthread_mutex_unlock(&plugging);
	eventfd_write(card.base.hotplug_fd, 1);
}

static void start_panel(bool extend, struct backend *backend)
{
	char error[200];
	f.real_panel = true;
	loop = wl_event_loop_create();
	board = status_board_create();
	const struct panel_config config = { .board = board, .stats = f.stats, .extend = extend };
	shown = panel_create_on(loop, &config, backend, error, sizeof error);
	ck_assert_ptr_nonnull(shown);
	ck_assert_int_eq(panel_add_producer(shown, PANEL_FACE_GUEST, f.link), 0);
	ck_assert_int_eq(panel_start(shown), 0);
	/* From the size that the device has without a panel. */
	ck_assert(event_within(IN_TIME));
}

static void panel_setup(void)
{
	setup();
	memset(&card, 0, sizeof card);
	memset(&monitor, 0, sizeof monitor);
	ops = fake_ops;
	ops.probe = probe;
	ops.import_buffer = NULL; /* held until a flip, and here nothing may be on the screen */
	fake_init(&card, &ops);
	plug(true, W, "First", 100);
	start_panel(false, &card.base);
}

/* In memory, with a further output of 1024x768. */
static void extended_setup(void)
{
	setup_extended();
	start_panel(true, headless_create(W, H, 0, true));
}

static void panel_teardown(void)
{
	/* The guest's driver ends while the panel lives. */
	driver_set(&f.d, R_STATUS, 0, 1);
	uint32_t left = 1;
	for (uint64_t deadline = clock_now_ns() + 10 * NSEC_PER_SEC; left > 0 && clock_now_ns() < deadline;) {
		ck_assert(driver_run(&f.d, 0));
		wl_event_loop_dispatch(loop, 2);
		panel();
		left = 0;
		for (uint32_t i = 0; i < LINK_MAX_BUFFERS; i++)
			left += f.gpu->buffer[i].state != GPU_BUFFER_FREE;
	}
	ck_assert_uint_eq(left, 0);
	panel_destroy(shown);
	status_board_destroy(board);
	wl_event_loop_destroy(loop);
	f.real_panel = false;
	teardown();
}

/* As the driver does it: the event is cleared, then everything is asked for anew. */
static void assert_monitor(uint32_t width, const char *name, uint32_t mm)
{
	driver_write(&f.d, f.d.config + 4, DISPLAY, 4);
	ck_assert_uint_eq(driver_read(&f.d, f.d.config, 4), 0);
	struct virtio_gpu_ctrl_hdr i = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	struct virtio_gpu_cmd_get_edid e = { { .type = VIRTIO_GPU_CMD_GET_EDID }, 0, 0 };
	struct posted info = post(&i, sizeof i, NULL, 0, REPLY_ROOM), edid = post(&e, sizeof e, NULL, 0, REPLY_ROOM);
	work_off();
	ck_assert(answered(info) && answered(edid));
	const struct virtio_gpu_display_one *mode = ((const struct virtio_gpu_resp_display_info *)reply_of(info))->pmodes;
	ck_assert_uint_eq(mode->r.width, width);
	ck_assert_uint_eq(mode->r.height, H);
	ck_assert_uint_eq(mode->enabled, 1);
	const uint8_t *bytes = ((const struct virtio_gpu_resp_edid *)reply_of(edid))->edid;
	ck_assert_uint_eq(bytes[56] | (bytes[58] & 0xf0) << 4, width); /* the first timing */
	ck_assert_uint_eq(bytes[66] | (bytes[68] & 0xf0) << 4, mm);
	ck_assert_mem_eq(bytes + 77, name, strlen(name));
}

START_TEST(the_monitor_reaches_the_guest) /* 1: while the guest is shown */
{
	make_scanout(1, W, H);
	ck_assert_uint_eq(flush(1, (struct virtio_gpu_rect){ 0, 0, W, H }), OK);
	if (_i == 1) {
		panel_present(shown, PRESENTATION_PRESENTED, 0);
		for (uint64_t deadline = clock_now_ns() + 10 * NSEC_PER_SEC; !(shown->screen[0].now.valid && shown->screen[0].now.face == PANEL_FACE_GUEST);) {
			ck_assert(clock_now_ns() < deadline);
			wl_event_loop_dispatch(loop, 2);
			panel();
		}
	}
	assert_monitor(W, "First", 100);
	driver_interrupts(&f.d, 0);

	plug(true, 2 * W, "First", 100);
	ck_assert(event_within(IN_TIME));
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 1);
	assert_monitor(2 * W, "First", 100);

	/* Exchanged for another with the same mode, at once and with a hole between. */
	plug(true, 2 * W, "Second", 100);
	ck_assert(event_within(IN_TIME));
	assert_monitor(2 * W, "Second", 100);
	plug(false, 2 * W, "", 0);
	ck_assert(!event_within(100)); /* the guest keeps the size that it draws for */
	assert_monitor(2 * W, "Second", 100);
	plug(true, 2 * W, "Second", 300);
	ck_assert(event_within(IN_TIME));
	assert_monitor(2 * W, "Second", 300);
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 2);

	/* The same again is no news. */
	plug(false, 2 * W, "", 0);
	ck_assert(!event_within(100));
	plug(true, 2 * W, "Second", 300);
	ck_assert(!event_within(100));
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 0);
}
END_TEST

static void wait_answer(struct posted posted)
{
	for (uint64_t deadline = clock_now_ns() + 10 * NSEC_PER_SEC; !answered(posted);) {
		ck_assert(clock_now_ns() < deadline);
		wl_event_loop_dispatch(loop, 2);
		panel();
	}
}

/* One picture on both outputs, each of which says when it has shown it; and frames of a scanout without a monitor are answered as well. */
START_TEST(further_outputs_reach_the_guest)
{
	struct virtio_gpu_ctrl_hdr i = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	struct posted info = post(&i, sizeof i, NULL, 0, REPLY_ROOM);
	work_off();
	ck_assert(answered(info));
	const struct virtio_gpu_display_one *mode = ((const struct virtio_gpu_resp_display_info *)reply_of(info))->pmodes;
	ck_assert(mode[0].enabled && mode[0].r.width == W && mode[0].r.x == 0);
	ck_assert(mode[1].enabled && mode[1].r.width == 1024 && mode[1].r.height == 768 && mode[1].r.x == W);
	ck_assert(!mode[2].enabled && !mode[3].enabled);

	const struct virtio_gpu_rect whole = { 0, 0, W, H };
	make_scanout(1, W, H);
	ck_assert_uint_eq(set_scanout_on(1, 1, W, H), OK);
	panel_present(shown, PRESENTATION_PRESENTED, 0);
	for (uint32_t frame = 1; frame <= 5; frame++) {
		struct posted posted = post_flush(1, whole, frame);
		work_off();
		wait_answer(posted);
		/* The panel's word for each, also where a busy host was too late for the fence. */
		for (uint64_t deadline = clock_now_ns() + 10 * NSEC_PER_SEC; f.gpu->head[0].presented != frame || f.gpu->head[1].presented != frame;) {
			ck_assert(clock_now_ns() < deadline);
			wl_event_loop_dispatch(loop, 2);
			panel();
		}
	}
	struct status status;
	status_board_read(board, &status);
	ck_assert_uint_eq(status.scanout_width, W);
	ck_assert_uint_eq(status.further[0].width, W);
	ck_assert_uint_eq(status.further[1].width, 0);
	/* On the one that nobody sees alone. */
	make_scanout(2, W, H);
	ck_assert_uint_eq(set_scanout(1, W, H), OK);
	ck_assert_uint_eq(set_scanout_on(3, 2, W, H), OK);
	struct posted unseen = post_flush(2, whole, 6);
	work_off();
	ck_assert(!answered(unseen));
	wait_answer(unseen);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("gpu-panel");
	TCase *c = tcase_create("gpu-panel");
	tcase_add_checked_fixture(c, panel_setup, panel_teardown);
	tcase_add_loop_test(c, the_monitor_reaches_the_guest, 0, 2);
	suite_add_tcase(s, c);
	c = tcase_create("extended");
	tcase_add_checked_fixture(c, extended_setup, panel_teardown);
	tcase_add_test(c, further_outputs_reach_the_guest);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
