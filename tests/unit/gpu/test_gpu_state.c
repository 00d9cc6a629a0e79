/* Save and load of a display device that has pictures, and what the panel of the loaded one gets to see. */
#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "../state_check.h"

#define OK VIRTIO_GPU_RESP_OK_NODATA

/* A second device, its panel, and the tables of both. */
static struct link *other_link;
static struct link_table *other_table;
static struct gpu *other;
static struct virtio_pci *other_transport;
static struct state_table one, two;

static void state_setup_with(uint32_t scanouts, uint32_t other_scanouts)
{
	if (scanouts == 1)
		setup();
	else
		setup_extended();
	memset(&one, 0, sizeof one);
	memset(&two, 0, sizeof two);
	other_link = link_create(f.d.memory.fd, RAM);
	other_table = link_table_create(RAM);
	other = gpu_create(&f.d.memory, other_link, other_scanouts, NULL);
	other_transport = virtio_pci_create(gpu_device(other), f.d.bus, DRIVER_SLOT + 1, 0x038000);
	ck_assert_ptr_nonnull(other_transport);
	ck_assert(virtio_pci_state(f.d.transport, &one));
	ck_assert(virtio_pci_state(other_transport, &two));
	virtio_pci_pause(other_transport);
}

static void state_setup(void)
{
	state_setup_with(1, 1);
}

static void state_setup_extended(void)
{
	state_setup_with(LINK_MAX_HEADS, LINK_MAX_HEADS);
}

static void state_setup_more(void)
{
	state_setup_with(1, LINK_MAX_HEADS);
}

static void state_setup_fewer(void)
{
	state_setup_with(LINK_MAX_HEADS, 1);
}

/* Counts what the other panel gets, by type, and gives back what is dead. */
static uint32_t seen[64], pictures;
static struct link_message last_cursor;

static void other_panel(void)
{
	struct link_message message;
	const char *why;
	memset(seen, 0, sizeof seen);
	pictures = 0;
	link_ack_panel(other_link);
	while (link_receive_for_panel(other_link, &message)) {
		ck_assert_msg(link_table_take(other_table, &message, &why) != LINK_CHANGE_REFUSED, "%s", why);
		seen[message.type % 64]++;
		if (message.type == LINK_CURSOR) {
			last_cursor = message;
			pictures += message.cursor.buffer.id != 0;
		}
	}
	struct link_message released = { .type = LINK_RELEASED };
	while (link_table_next_released(other_table, &released.dead))
		gpu_link_message(other, &released);
}

static void state_teardown(void)
{
	virtio_pci_reset(other_transport);
	for (int i = 0; i < 2; i++) {
		gpu_tick(other, clock_now_ns());
		other_panel();
	}
	ck_assert_uint_eq(other->n_resources, 0);
	ck_assert_uint_eq(other->host_bytes, 0);
	virtio_pci_destroy(other_transport);
	gpu_destroy(other);
	link_table_destroy(other_table);
	link_destroy(other_link);
	virtio_pci_resume(f.d.transport);
	teardown();
}

static uint32_t point_on(uint32_t scanout, uint32_t resource, uint32_t x, uint32_t y)
{
	struct virtio_gpu_update_cursor update = {
		.hdr.type = VIRTIO_GPU_CMD_UPDATE_CURSOR, .pos = { .scanout_id = scanout, .x = x, .y = y }, .resource_id = resource, .hot_x = 3, .hot_y = 60,
	};
	uint64_t gpa = driver_alloc(&f.d, 4096);
	memcpy(driver_ptr(&f.d, gpa), &update, sizeof update);
	driver_add(&f.d, 1, &(struct driver_buf){ gpa, sizeof update }, 1, 0);
	driver_kick(&f.d, 1);
	ck_assert(driver_run(&f.d, 1));
	return driver_used(&f.d, 1, NULL, NULL) ? OK : 0;
}

static uint32_t point(uint32_t resource, uint32_t x, uint32_t y)
{
	return point_on(0, resource, x, y);
}

/* Scattered pages: the second entry continues the first, the third does not. */
static uint32_t scattered_blob(uint32_t id, uint64_t size)
{
	uint64_t gpa = driver_alloc(&f.d, 8 * 65536);
	struct virtio_gpu_mem_entry entries[] = { { gpa, 65536, 0 }, { gpa + 65536, 65536, 0 }, { gpa + 5 * 65536, 65536, 0 } };
	struct virtio_gpu_resource_create_blob create = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .resource_id = id, .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST, .nr_entries = 3, .size = size,
	};
	return command_entries(&create, sizeof create, entries, 3);
}

/* Resources of every kind in every condition. Head and pointer: by `i`. */
static void draw(int i)
{
	make_scanout(1, 100, 100);
	ck_assert_uint_eq(transfer(1, (struct virtio_gpu_rect){ 10, 20, 30, 40 }, 4 * (20 * 100 + 10)), OK);
	ck_assert_uint_eq(create_2d(3, 64, 64), OK);
	ck_assert_uint_eq(create_2d(257, 50, 50), OK); /* in the bucket of 1 */
	uint64_t flipped = driver_alloc(&f.d, 32768);
	ck_assert_uint_eq(attach(257, flipped, 32768), OK);
	ck_assert_uint_eq(transfer(257, (struct virtio_gpu_rect){ 0, 0, 50, 50 }, 10000), OK); /* its second picture */
	ck_assert_uint_eq(flush(257, (struct virtio_gpu_rect){ 0, 0, 50, 50 }), OK);
	ck_assert_uint_eq(scattered_blob(7, 190000), OK);
	ck_assert_uint_eq(scattered_blob(300, 4096), OK);
	ck_assert_uint_eq(detach(300), OK);
	ck_assert_uint_eq(create_blob(9, 16384, driver_alloc(&f.d, 16384), 16384), OK);
	ck_assert_uint_eq(point(9, 77, (uint32_t)-5), OK);
	if (i == 1) {
		ck_assert_uint_eq(set_scanout_blob(7, 200, 100, 1024, 4096), OK);
		ck_assert_uint_eq(flush(7, (struct virtio_gpu_rect){ 0, 0, 200, 100 }), OK);
		ck_assert_uint_eq(unref(9), OK); /* the panel keeps its picture */
	}
	if (i == 2) {
		ck_assert_uint_eq(set_scanout(0, 0, 0), OK);
		ck_assert_uint_eq(point(0, 1, 2), OK);
	}
	work_off();
	virtio_pci_pause(f.d.transport);
}

START_TEST(save_load_save)
{
	draw(_i);
	unsigned refused = state_check(&one.device[0], &two.device[0], true);
	ck_assert_uint_gt(refused, 1000);
	state_check_table(&one, &two);
}
END_TEST

/* The new panel is told everything by itself: pictures and pointer appear without a command of the guest. */
START_TEST(loaded_picture_is_shown)
{
	draw(_i);
	struct state_bytes file = state_bytes_of(&one.device[0]);
	ck_assert(virtio_pci_load(other_transport, file.at, file.size));
	free(file.at);
	ck_assert_uint_eq(other->n_resources, f.gpu->n_resources);
	ck_assert_uint_eq(other->host_bytes, f.gpu->host_bytes);
	virtio_pci_resume(other_transport);
	gpu_tick(other, clock_now_ns() + NSEC_PER_SEC);
	other_panel();
	ck_assert_uint_eq(seen[LINK_FRAME], _i == 2 ? 0 : 1);
	ck_assert_uint_eq(seen[LINK_CURSOR], 1);
	ck_assert_int_eq(last_cursor.cursor.y, _i == 2 ? 2 : -5);
	ck_assert_uint_eq(pictures, _i == 0 ? 1 : 0);
}
END_TEST

static void display(struct gpu *gpu, uint32_t width)
{
	struct link_message message = { .type = LINK_DISPLAY, .display = { .width = width, .height = 600, .refresh_mhz = 60000, .name = "panel" } };
	gpu_link_message(gpu, &message);
}

/* A monitor that changes during a pause: the state is what it was, and the driver hears of it at the resume. */
START_TEST(monitor_of_a_paused_device)
{
	draw(0);
	driver_interrupts(&f.d, 0);
	struct state_bytes file = state_bytes_of(&one.device[0]);
	display(f.gpu, 1000);
	display(f.gpu, 1100);
	state_assert_same(&one.device[0], file.at, file.size, "after the monitor changed");
	ck_assert_uint_eq(driver_read(&f.d, f.d.config, 4), 0);
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 0);
	virtio_pci_resume(f.d.transport);
	ck_assert_uint_eq(driver_read(&f.d, f.d.config, 4), VIRTIO_GPU_EVENT_DISPLAY);
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 1);
	driver_write(&f.d, f.d.config + 4, VIRTIO_GPU_EVENT_DISPLAY, 4);
	/* Once. */
	virtio_pci_pause(f.d.transport);
	virtio_pci_resume(f.d.transport);
	ck_assert_uint_eq(driver_read(&f.d, f.d.config, 4), 0);
	/* A driver that starts anew reads it anyway. */
	virtio_pci_pause(f.d.transport);
	display(f.gpu, 1200);
	virtio_pci_reset(f.d.transport);
	virtio_pci_resume(f.d.transport);
	driver_start(&f.d, DRIVER_ALL_FEATURES, 256);
	ck_assert_uint_eq(driver_read(&f.d, f.d.config, 4), 0);
	ck_assert_uint_eq(driver_interrupts(&f.d, 0), 0);

	/* Loaded before another panel, without a word of that panel's: the driver looks. */
	ck_assert(virtio_pci_load(other_transport, file.at, file.size));
	state_assert_same(&two.device[0], file.at, file.size, "after the load");
	ck_assert_uint_eq(other->events_read, 0);
	virtio_pci_resume(other_transport);
	ck_assert_uint_eq(other->events_read, VIRTIO_GPU_EVENT_DISPLAY);
	free(file.at);
}
END_TEST

/* What no guest could have made. */
START_TEST(pictures_that_cannot_be)
{
	draw(0);
	const struct state_device *row = &two.device[0];
	struct state_bytes file = state_bytes_of(&one.device[0]);
	const uint32_t own = 48 + 40 * VIRTIO_MAX_QUEUES, heads = own + 32, resources = heads + 64, entries = resources + 6 * 56;
	const struct {
		const char *what;
		uint32_t at;
		uint32_t value;
	} bad[] = {
		{ "too many resources", own + 20, 0xffffffff }, { "fewer resources", own + 20, 5 }, { "more entries", own + 24, 0x10000000 },
		{ "another number of heads", own + 28, 2 }, { "an event that there is not", own + 16, 2 },
		{ "scanout of nothing", heads, 2 }, { "scanout of a blob as 2D", heads, 7 }, { "wider than its resource", heads + 32, 101 },
		{ "pointer of nothing", heads + 40, 2 }, { "hot spot outside", heads + 56, 64 },
		{ "id 0", resources, 0 }, { "ids twice", resources + 56, 1 }, { "size 0", resources + 8, 0 }, { "no format", resources + 16, 0 },
		{ "more entries than there are", resources + 20, 100 }, { "base outside the backing", resources + 32, 40000 },
		{ "transfer outside", resources + 40, 100 }, { "backing outside RAM", entries, RAM }, { "backing in a ring", entries, (uint32_t)f.d.queue[0].used_gpa },
		{ "split pixels", entries, 0x200001 }, { "length 0", entries + 8, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint8_t *changed = malloc(file.size);
		memcpy(changed, file.at, file.size);
		memcpy(changed + bad[i].at, &bad[i].value, 4);
		ck_assert_msg(memcmp(changed, file.at, file.size) != 0, "%s: no change", bad[i].what);
		ck_assert_msg(!row->load(row->device, changed, file.size), "%s accepted", bad[i].what);
		ck_assert_msg(other->n_resources == 0 && other->host_bytes == 0 && !gpu_device(other)->live, "%s: not reset", bad[i].what);
		free(changed);
	}
	ck_assert(row->load(row->device, file.at, file.size));
	free(file.at);
}
END_TEST

/* Every scanout's picture and pointer; which of them have a monitor is the panel's business, here another's. */
START_TEST(every_scanout_is_loaded)
{
	for (uint32_t i = 0; i < LINK_MAX_HEADS; i++)
		tell_display(i, 640, 480, 0);
	gpu_tick(f.gpu, clock_now_ns());
	make_scanout(2, 100, 100);
	ck_assert_uint_eq(create_blob(9, 16384, driver_alloc(&f.d, 16384), 16384), OK);
	ck_assert_uint_eq(set_scanout_on(3, 2, 50, 60), OK);
	ck_assert_uint_eq(flush(2, (struct virtio_gpu_rect){ 0, 0, 100, 100 }), OK);
	ck_assert_uint_eq(point_on(3, 9, 77, 5), OK);
	work_off();
	virtio_pci_pause(f.d.transport);
	ck_assert_uint_gt(state_check(&one.device[0], &two.device[0], true), 500);
	struct state_bytes file = state_bytes_of(&one.device[0]);
	ck_assert(virtio_pci_load(other_transport, file.at, file.size));
	free(file.at);
	virtio_pci_resume(other_transport);
	gpu_tick(other, clock_now_ns() + NSEC_PER_SEC);
	other_panel();
	ck_assert_uint_eq(seen[LINK_FRAME], 2);
	ck_assert_uint_eq(seen[LINK_CURSOR], LINK_MAX_HEADS);
	ck_assert_uint_eq(pictures, 1);
	ck_assert_uint_eq(link_table_head(other_table, 3)->source.h, 60);
	for (uint32_t i = 0; i < LINK_MAX_HEADS; i++) {
		ck_assert_int_eq(link_table_head(other_table, i)->buffer != NULL, i == 0 || i == 3);
		ck_assert_int_eq(other->head[i].enabled, i == 0);
	}
}
END_TEST

/* A driver reads the number of scanouts once: a display with another one is not its own. One line says so, and what to do. */
START_TEST(another_number_of_scanouts)
{
	draw(0);
	struct state_bytes file = state_bytes_of(&one.device[0]);
	FILE *said = tmpfile();
	char text[1000] = "", numbers[100];
	int standard_error = dup(STDERR_FILENO);
	dup2(fileno(said), STDERR_FILENO);
	bool loaded = two.device[0].load(two.device[0].device, file.at, file.size);
	dup2(standard_error, STDERR_FILENO);
	close(standard_error);
	rewind(said);
	text[fread(text, 1, sizeof text - 1, said)] = '\0';
	fclose(said);
	ck_assert(!loaded);
	ck_assert(other->n_resources == 0 && other->host_bytes == 0 && !gpu_device(other)->live);
	snprintf(numbers, sizeof numbers, "%u scanouts was saved and this one has %u", f.gpu->n_heads, other->n_heads);
	ck_assert_msg(strstr(text, numbers) != NULL && strstr(text, "--outputs") != NULL && strchr(text, '\n') == text + strlen(text) - 1, "it said: %s", text);
	free(file.at);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("gpu-state");
	TCase *tc = tcase_create("state");
	tcase_add_checked_fixture(tc, state_setup, state_teardown);
	tcase_add_loop_test(tc, save_load_save, 0, 3);
	tcase_add_loop_test(tc, loaded_picture_is_shown, 0, 3);
	tcase_add_test(tc, monitor_of_a_paused_device);
	tcase_add_test(tc, pictures_that_cannot_be);
	suite_add_tcase(suite, tc);
	tc = tcase_create("extended");
	tcase_add_checked_fixture(tc, state_setup_extended, state_teardown);
	tcase_add_test(tc, every_scanout_is_loaded);
	suite_add_tcase(suite, tc);
	tc = tcase_create("more");
	tcase_add_checked_fixture(tc, state_setup_more, state_teardown);
	tcase_add_test(tc, another_number_of_scanouts);
	suite_add_tcase(suite, tc);
	tc = tcase_create("fewer");
	tcase_add_checked_fixture(tc, state_setup_fewer, state_teardown);
	tcase_add_test(tc, another_number_of_scanouts);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
