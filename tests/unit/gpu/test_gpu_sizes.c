/*
 * Toggles while the guest does its worst. P3: a new blob, bound and flushed for every frame, each of another size, as fast as the guest can. G23: a control queue
 * that is always full of transfers and flushes of the whole screen. Every thread is the real one but for the machine's, which is
 * also the vCPU here: device, link, worker, front. Other programs make a framebuffer of each buffer of the guest's; here there is only the copy, into
 * framebuffers of the panel's size, so that nothing is made, freed or awaited because of the guest.
 */
#include "fixture.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <wayland-server-core.h>

#include "base/stats.h"
#include "kms/backend.h"
#include "kms/panel.h"
#include "link/synthetic.h"

#define WIDTH 320u
#define HEIGHT 240u
#define REFRESH_MHZ 100000u
#define UI_FPS 50u
#define PAIRS 12                              /* toggles there and back */
#define STORM_FRAMES 1500u                    /* at least */
#define LATE_NS (2 * NSEC_PER_SEC)            /* one turn or one toggle: also on a machine with much other work */
#define SLOWER_NS (250 * NSEC_PER_MSEC)       /* the median under storm, against without */
#define SLOW_NS (20 * NSEC_PER_MSEC)          /* a turn that the scheduler broke; a few of them */
#define PIXELS_GPA 0x2000000u
#define FLOODED 9                             /* the resource of the flood */

/* --- the backend, counted ------------------------------------------------------------------------------------------------------ */

static const struct backend_ops *real_ops;
static struct backend_ops counting_ops;
static pthread_t front;
static _Atomic uint32_t made, freed, commits, by_front;

struct backend *__real_headless_create(uint32_t width, uint32_t height, uint32_t refresh_mhz, bool extend);
struct backend *__wrap_headless_create(uint32_t width, uint32_t height, uint32_t refresh_mhz, bool extend);

static int count_make(struct backend *backend, uint32_t width, uint32_t height, struct scanout_buffer *buffer)
{
	made++;
	by_front += pthread_equal(pthread_self(), front) != 0;
	/* Never one of the guest's sizes. */
	ck_assert(width == WIDTH && height == HEIGHT);
	return real_ops->make_buffer(backend, width, height, buffer);
}

static void count_free(struct backend *backend, struct scanout_buffer *buffer)
{
	freed++;
	real_ops->free_buffer(backend, buffer);
}

static int count_commit(struct backend *backend, const struct commit *commit)
{
	commits++;
	return real_ops->commit(backend, commit);
}

struct backend *__wrap_headless_create(uint32_t width, uint32_t height, uint32_t refresh_mhz, bool extend)
{
	struct backend *backend = __real_headless_create(width, height, refresh_mhz, extend);
	ck_assert_ptr_nonnull(backend);
	real_ops = backend->ops;
	counting_ops = *real_ops;
	counting_ops.make_buffer = count_make;
	counting_ops.free_buffer = count_free;
	counting_ops.commit = count_commit;
	backend->ops = &counting_ops;
	return backend;
}

/* --- the guest ----------------------------------------------------------------------------------------------------------------- */

static _Atomic bool storm, over;
static _Atomic uint32_t frames, refused, most_buffers;
static _Atomic uint64_t most_bytes;

static void one_frame(uint32_t n)
{
	uint32_t id = 1 + n % 3, w = 16 + n * 7 % 401, h = 16 + n * 13 % 307;
	/* Of the frame three before this one, so that the one that is shown loses its resource, too. */
	unref(id);
	if (create_blob(id, (uint64_t)w * h * 4, PIXELS_GPA, w * h * 4) != VIRTIO_GPU_RESP_OK_NODATA ||
		set_scanout_blob(id, w, h, w * 4, 0) != VIRTIO_GPU_RESP_OK_NODATA ||
		flush(id, (struct virtio_gpu_rect){ 0, 0, w, h }) != VIRTIO_GPU_RESP_OK_NODATA)
		refused++;
	frames++;
	uint32_t buffers = 0;
	for (uint32_t i = 0; i < LINK_MAX_BUFFERS; i++)
		buffers += f.gpu->buffer[i].state != GPU_BUFFER_FREE;
	if (buffers > most_buffers)
		most_buffers = buffers;
	if (f.gpu->host_bytes > most_bytes)
		most_bytes = f.gpu->host_bytes;
}

/* The control queue filled to the last descriptor, and worked off. */
static void one_flood(uint32_t n)
{
	enum { CHAINS = 120 };
	(void)n;
	const struct virtio_gpu_rect whole = { 0, 0, WIDTH, HEIGHT };
	const struct virtio_gpu_transfer_to_host_2d t = { { .type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D }, whole, 0, FLOODED, 0 };
	const struct virtio_gpu_resource_flush u = { { .type = VIRTIO_GPU_CMD_RESOURCE_FLUSH }, whole, FLOODED, 0 };
	memcpy(driver_ptr(&f.d, f.request_gpa), &t, sizeof t);
	memcpy(driver_ptr(&f.d, f.request_gpa + 4096), &u, sizeof u);
	for (uint32_t i = 0; i < CHAINS; i++) {
		const bool flushes = i % 2;
		struct driver_buf bufs[2] = { { f.request_gpa + flushes * 4096, flushes ? sizeof u : sizeof t }, { f.reply_gpa + flushes * 4096, 24 } };
		f.done[driver_add(&f.d, 0, bufs, 1, 1)] = false;
	}
	uint32_t before = f.answers;
	work_off();
	answered((struct posted){ 0 });
	refused += f.answers - before != CHAINS || *(uint32_t *)driver_ptr(&f.d, f.reply_gpa) != VIRTIO_GPU_RESP_OK_NODATA ||
		*(uint32_t *)driver_ptr(&f.d, f.reply_gpa + 4096) != VIRTIO_GPU_RESP_OK_NODATA;
	frames += CHAINS / 2;
}

static void *machine(void *turn_of_storm)
{
	void (*const one_turn)(uint32_t n) = *(void (**)(uint32_t))turn_of_storm;
	for (uint32_t n = 0; !over;) {
		if (storm)
			one_turn(n++);
		else {
			panel();
			usleep(1000);
		}
	}
	/* The end of the guest's driver, while the panel lives. */
	driver_set(&f.d, R_STATUS, 0, 1);
	ck_assert(driver_run(&f.d, 0));
	return NULL;
}

static _Atomic uint32_t ui_frames; /* shown, or as good as shown while the guest is */

static void on_ui_frame(void *data, uint64_t time_ns)
{
	(void)data;
	(void)time_ns;
	ui_frames++;
}

static void *produce(void *config)
{
	synthetic_run(config);
	return NULL;
}

/* --- the front ----------------------------------------------------------------------------------------------------------------- */

static struct wl_event_loop *loop;
static struct panel *shown;
static uint32_t scanouts, turns, slow_turns;
static uint64_t worst_turn;

static void on_scanout(void *data, uint32_t width, uint32_t height)
{
	(void)data;
	(void)width;
	(void)height;
	scanouts++;
}

static void on_message(void *data, enum panel_face from, const struct link_message *message)
{
	(void)data;
	(void)from;
	(void)message;
}

/* The turn itself and not the waiting for something to do. */
static void turn(void)
{
	poll(&(struct pollfd){ .fd = wl_event_loop_get_fd(loop), .events = POLLIN }, 1, 5);
	uint64_t begin = clock_now_ns();
	wl_event_loop_dispatch(loop, 0);
	uint64_t took = clock_now_ns() - begin;
	worst_turn = took > worst_turn ? took : worst_turn;
	turns++;
	slow_turns += took > SLOW_NS;
}

static uint64_t flips(void)
{
	struct histogram_summary summary;
	histogram_summarise(&f.stats->toggle_flip_us, &summary);
	return summary.count;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* Toggles there and back until enough were made and `enough` frames of the guest came; each is on the screen before the next. The median latency. */
static uint64_t toggle(uint32_t enough)
{
	uint64_t took[PAIRS * 2], deadline = clock_now_ns() + 40 * NSEC_PER_SEC;
	uint32_t n = 0;
	for (uint32_t i = 0; i < PAIRS * 2 || (frames < enough && clock_now_ns() < deadline); i++) {
		uint64_t before = flips(), begin = clock_now_ns();
		panel_present(shown, i % 2 ? PRESENTATION_HIDDEN : PRESENTATION_PRESENTED, begin);
		while (flips() == before && clock_now_ns() - begin < LATE_NS)
			turn();
		ck_assert_msg(flips() == before + 1, "toggle %u was not on the screen after %llu ms", i, (unsigned long long)(LATE_NS / NSEC_PER_MSEC));
		if (n < PAIRS * 2)
			took[n++] = clock_now_ns() - begin;
		for (uint64_t end = clock_now_ns() + 20 * NSEC_PER_MSEC; clock_now_ns() < end;)
			turn();
	}
	qsort(took, n, sizeof(took[0]), by_value);
	return took[n / 2];
}

static uint32_t descriptors(void)
{
	uint32_t n = 0;
	DIR *folder = opendir("/proc/self/fd");
	ck_assert_ptr_nonnull(folder);
	while (readdir(folder) != NULL)
		n++;
	closedir(folder);
	return n;
}

/* Kilobytes of ordinary memory; not of the guest's RAM, which is shared. */
static uint64_t anonymous_kib(void)
{
	char line[128];
	unsigned long long value = 0;
	FILE *file = fopen("/proc/self/status", "re");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "RssAnon: %llu", &value) == 1)
			break;
	fclose(file);
	return value;
}

static void toggle_under(void (*one_turn)(uint32_t n))
{
	char error[200];
	int status;
	pthread_t guest, painter;
	struct synthetic_config ui = { .fps = UI_FPS, .presented = on_ui_frame, .stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	ui.pixels_fd = synthetic_memory(WIDTH, HEIGHT, &ui.pixels_size);
	ui.link = link_create(ui.pixels_fd, ui.pixels_size);
	loop = wl_event_loop_create();
	struct status_board *board = status_board_create();
	const struct panel_config config = { .backend = PANEL_HEADLESS, .width = WIDTH, .height = HEIGHT, .refresh_mhz = REFRESH_MHZ, .board = board,
		.stats = f.stats, .message = on_message, .scanout = on_scanout };
	front = pthread_self();
	f.real_panel = true;
	shown = panel_create(loop, &config, error, sizeof(error), &status);
	ck_assert_ptr_nonnull(shown);
	ck_assert_int_eq(panel_add_producer(shown, PANEL_FACE_UI, ui.link), 0);
	ck_assert_int_eq(panel_add_producer(shown, PANEL_FACE_GUEST, f.link), 0);
	ck_assert_int_eq(panel_start(shown), 0);
	ck_assert_int_eq(pthread_create(&painter, NULL, produce, &ui), 0);
	/* A picture of the guest's, so that without the storm it is the same toggle. */
	one_frame(0);
	one_frame(1);
	if (one_turn == one_flood) {
		make_scanout(FLOODED, WIDTH, HEIGHT);
		one_flood(0);
	}
	ck_assert_int_eq(pthread_create(&guest, NULL, machine, &one_turn), 0);
	for (uint64_t end = clock_now_ns() + 300 * NSEC_PER_MSEC; clock_now_ns() < end;)
		turn();
	uint64_t quiet = toggle(0);
	uint32_t fds = descriptors();
	uint64_t memory = anonymous_kib();

	uint32_t ui_before = ui_frames, commits_before = commits, scanouts_before = scanouts, turns_before = turns;
	uint64_t begin = clock_now_ns();
	frames = most_buffers = 0;
	worst_turn = slow_turns = 0;
	storm = true;
	uint64_t loud = toggle(STORM_FRAMES);
	uint64_t took = clock_now_ns() - begin;
	ck_assert_msg(frames >= STORM_FRAMES, "no storm: %u frames", frames);
	ck_assert_uint_eq(refused, 0);
	ck_assert_uint_gt(atomic_load(&f.stats->bytes_copied), 0);
	/* The UI's pictures go on, at whatever pace the scheduler leaves their painter. */
	uint32_t painted = ui_frames - ui_before;
	ck_assert_msg(painted >= took * UI_FPS / NSEC_PER_SEC / 20, "%u pictures of the UI in %llu ms", painted,
		(unsigned long long)(took / NSEC_PER_MSEC));
	ck_assert_msg(worst_turn < LATE_NS, "the front was held up for %llu ms", (unsigned long long)(worst_turn / NSEC_PER_MSEC));
	ck_assert_msg(loud < quiet + SLOWER_NS, "a toggle took %llu us, and %llu without the storm", (unsigned long long)loud / 1000, (unsigned long long)quiet / 1000);
	ck_assert_msg(slow_turns <= (turns - turns_before) / 8, "%u of %u turns of the front were long", slow_turns, turns - turns_before);
	/* What the front does goes by the display's pace and its own turns, not by the guest's frames. */
	uint64_t refreshes = took * (REFRESH_MHZ / 1000) / NSEC_PER_SEC;
	ck_assert_uint_le(commits - commits_before, refreshes + 2);
	ck_assert_uint_le(scanouts - scanouts_before, 2 * (turns - turns_before));
	ck_assert_uint_eq(by_front, 0);
	/* One pair for each face that was shown, once. */
	ck_assert_uint_ge(made, 2);
	ck_assert_uint_le(made, 6);
	ck_assert_uint_eq(freed, 0);
	ck_assert_uint_le(most_buffers, LINK_MAX_BUFFERS);
	ck_assert_uint_le(most_bytes, GPU_HOST_BYTES);
	ck_assert_uint_eq(descriptors(), fds);
#ifdef __SANITIZE_ADDRESS__
	(void)memory; /* it keeps what was freed for a while */
#else
	ck_assert_uint_le(anonymous_kib(), memory + 16384);
#endif

	/* All of it comes back. */
	over = true;
	pthread_join(guest, NULL);
	uint32_t left = 1;
	for (uint64_t end = clock_now_ns() + 10 * NSEC_PER_SEC; left > 0 && clock_now_ns() < end;) {
		turn();
		panel();
		left = 0;
		for (uint32_t i = 0; i < LINK_MAX_BUFFERS; i++)
			left += f.gpu->buffer[i].state != GPU_BUFFER_FREE;
	}
	ck_assert_uint_eq(left, 0);
	ck_assert_uint_eq(f.gpu->host_bytes, 0);
	eventfd_write(ui.stop_fd, 1);
	pthread_join(painter, NULL);
	panel_destroy(shown);
	ck_assert_uint_eq(freed, made);
	link_destroy(ui.link);
	close(ui.pixels_fd);
	close(ui.stop_fd);
	status_board_destroy(board);
	wl_event_loop_destroy(loop);
	f.real_panel = false;
	if (getenv("RAYVM_TEST_NUMBERS") != NULL)
		fprintf(stderr, "%u frames and %u of the UI in %llu ms, toggles %llu us and %llu without, worst turn %llu us, %u commits, %u scanouts in %u turns, %u framebuffers, %u buffers, %llu bytes\n",
			frames, painted, (unsigned long long)(took / NSEC_PER_MSEC), (unsigned long long)loud / 1000, (unsigned long long)quiet / 1000,
			(unsigned long long)worst_turn / 1000, commits - commits_before, scanouts - scanouts_before, turns - turns_before, made, most_buffers,
			(unsigned long long)most_bytes);
}

START_TEST(a_size_for_every_frame)
{
	toggle_under(one_frame);
}
END_TEST

START_TEST(g23_transfers_of_the_whole_screen_for_ever)
{
	toggle_under(one_flood);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("gpu-sizes");
	TCase *c = tcase_create("gpu-sizes");
	tcase_set_timeout(c, 100);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, a_size_for_every_frame);
	tcase_add_test(c, g23_transfers_of_the_whole_screen_for_ever);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
