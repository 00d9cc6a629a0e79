/* The libevdev backend over devices that are not there: some lie, some vanish at the worst moment, one is a lid. Calls of libevdev and of the folder are the test's. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libevdev/libevdev.h>
#include <linux/input.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "random.h"
#include "toggle/input.h"
#include "unit.h"

#define NODES 4
#define QUEUE 16

int __wrap_libevdev_new_from_fd(int fd, struct libevdev **evdev);
int __wrap_libevdev_next_event(struct libevdev *evdev, unsigned flags, struct input_event *event);
int __wrap_libevdev_set_clock_id(struct libevdev *evdev, int clock);
int __wrap_libevdev_kernel_set_led_value(struct libevdev *evdev, unsigned code, enum libevdev_led_value value);
DIR *__wrap_opendir(const char *path);
struct dirent64 *__wrap_readdir64(DIR *folder); /* off_t has 64 bits here */
int __wrap_closedir(DIR *folder);
int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask);

static struct node {
	struct libevdev *model; /* NULL: libevdev cannot read it; belongs to the backend once it was opened */
	int error;              /* of reading it first */
	int gone;               /* read behind the end of its queue it says this error; 0: EAGAIN, as a device that is there */
	int pipe[2], opened, closed;
	struct input_event queue[QUEUE];
	uint32_t n, next;
} node[NODES];
static uint32_t nodes, listed;
static struct wl_event_loop *loop;
static struct input *input;
static char trace[4096];
static uint32_t keyboards, pointers, absurd;

static struct node *node_of(const struct libevdev *evdev)
{
	for (uint32_t i = 0; i < nodes; i++)
		if (node[i].model == evdev)
			return &node[i];
	return NULL;
}

DIR *__wrap_opendir(const char *path)
{
	ck_assert_str_eq(path, "/dev/input");
	listed = 0;
	return (DIR *)node;
}

struct dirent64 *__wrap_readdir64(DIR *folder)
{
	static struct dirent64 entry;
	(void)folder;
	if (listed == nodes)
		return NULL;
	snprintf(entry.d_name, sizeof(entry.d_name), "event%u", listed++);
	return &entry;
}

int __wrap_closedir(DIR *folder)
{
	(void)folder;
	return 0;
}

int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	(void)fd, (void)path, (void)mask;
	return 1;
}

int __wrap_libevdev_new_from_fd(int fd, struct libevdev **evdev)
{
	for (uint32_t i = 0; i < nodes; i++) {
		if (node[i].pipe[0] != fd)
			continue;
		if (node[i].error)
			return -node[i].error;
		*evdev = node[i].model;
		return 0;
	}
	return -EBADF;
}

int __wrap_libevdev_next_event(struct libevdev *evdev, unsigned flags, struct input_event *event)
{
	struct node *from = node_of(evdev);
	(void)flags;
	if (from->next == from->n)
		return from->gone ? -from->gone : -EAGAIN;
	*event = from->queue[from->next++];
	return LIBEVDEV_READ_STATUS_SUCCESS;
}

int __wrap_libevdev_set_clock_id(struct libevdev *evdev, int clock)
{
	(void)evdev, (void)clock;
	return 0;
}

int __wrap_libevdev_kernel_set_led_value(struct libevdev *evdev, unsigned code, enum libevdev_led_value value)
{
	(void)evdev, (void)code, (void)value;
	return 0;
}

static int open_node(void *data, const char *path)
{
	unsigned i;
	(void)data;
	ck_assert_int_eq(sscanf(path, "/dev/input/event%u", &i), 1);
	node[i].opened++;
	return node[i].pipe[0];
}

static void close_node(void *data, int fd)
{
	(void)data;
	for (uint32_t i = 0; i < nodes; i++)
		node[i].closed += node[i].pipe[0] == fd;
}

static void on_event(void *data, const struct router_event *event)
{
	size_t used = strlen(trace);
	const char *name = libevdev_event_code_get_name(event->type, event->code);
	(void)data;
	absurd += event->device >= ROUTER_DEVICES || (event->type == EV_ABS && event->code <= ABS_Y && (event->value < 0 || event->value > 65535));
	if (used < sizeof(trace) - 100)
		snprintf(trace + used, sizeof(trace) - used, "%s=%d ", name ? name : "?", event->value);
}

static void on_frame(void *data, uint32_t device, uint64_t time_ns)
{
	(void)data, (void)device, (void)time_ns;
}

static void on_devices(void *data, uint32_t n_keyboards, uint32_t n_pointers)
{
	(void)data;
	keyboards = n_keyboards;
	pointers = n_pointers;
}

static void on_gone(void *data, uint32_t device, uint64_t time_ns)
{
	size_t used = strlen(trace);
	(void)data, (void)time_ns;
	if (used < sizeof(trace) - 100)
		snprintf(trace + used, sizeof(trace) - used, "gone%u ", device);
}

static void on_lid(void *data, bool closed)
{
	(void)data;
	strcat(trace, closed ? "closed " : "opened ");
}

static struct node *add_node(const char *name)
{
	struct node *added = &node[nodes++];
	*added = (struct node){ .model = libevdev_new() };
	libevdev_set_name(added->model, name);
	ck_assert_int_eq(pipe(added->pipe), 0);
	return added;
}

static void has(struct node *of, unsigned type, unsigned code)
{
	ck_assert_int_eq(libevdev_enable_event_code(of->model, type, code, NULL), 0);
}

static void has_axis(struct node *of, unsigned code, int min, int max)
{
	struct input_absinfo info = { .minimum = min, .maximum = max };
	ck_assert_int_eq(libevdev_enable_event_code(of->model, EV_ABS, code, &info), 0);
}

static struct node *add_keyboard(const char *name)
{
	struct node *added = add_node(name);
	for (unsigned code = KEY_ESC; code < KEY_F12; code++)
		has(added, EV_KEY, code);
	return added;
}

static void queue(struct node *of, uint16_t type, uint16_t code, int32_t value)
{
	if (of->next == of->n)
		of->next = of->n = 0;
	ck_assert_uint_lt(of->n, QUEUE);
	of->queue[of->n++] = (struct input_event){ .type = type, .code = code, .value = value };
}

/* It becomes readable, and the loop has its turn. */
static void wake(struct node *of)
{
	char byte = 0;
	ck_assert_int_eq(write(of->pipe[1], &byte, 1), 1);
	wl_event_loop_dispatch(loop, 100);
	if (!of->closed)
		ck_assert_int_eq(read(of->pipe[0], &byte, 1), 1);
}

/* What is said until the end is counted by words in it. */
static FILE *said;
static int standard_error;

static void start(void)
{
	const struct input_config config = { .open = open_node, .close = close_node, .backend = "evdev", .event = on_event, .frame = on_frame,
		.devices = on_devices, .gone = on_gone, .lid = on_lid };
	char error[200];
	int status;
	input = input_create(loop, &config, error, sizeof(error), &status);
	ck_assert_msg(input != NULL, "%s", error);
	trace[0] = '\0';
}

static uint32_t lines_with(const char *word)
{
	char line[500];
	uint32_t n = 0;
	fflush(stderr);
	rewind(said);
	while (fgets(line, sizeof(line), said))
		n += strstr(line, word) != NULL;
	return n;
}

static void setup(void)
{
	nodes = absurd = 0;
	loop = wl_event_loop_create();
	said = tmpfile();
	standard_error = dup(STDERR_FILENO);
	dup2(fileno(said), STDERR_FILENO);
}

static void teardown(void)
{
	input_destroy(input);
	dup2(standard_error, STDERR_FILENO);
	for (uint32_t i = 0; i < nodes; i++) {
		ck_assert_int_eq(node[i].opened, node[i].closed);
		close(node[i].pipe[0]);
		close(node[i].pipe[1]);
	}
	wl_event_loop_destroy(loop);
	fclose(said);
}

START_TEST(vanishes_in_the_midst_of_its_event)
{
	struct node *brittle = add_keyboard("brittle"), *solid = add_keyboard("solid");
	start();
	ck_assert_uint_eq(keyboards, 2);
	queue(brittle, EV_KEY, KEY_A, 1);
	queue(brittle, EV_SYN, SYN_REPORT, 0);
	queue(brittle, EV_KEY, KEY_B, 1); /* its packet never ends */
	brittle->gone = ENODEV;
	wake(brittle);
	ck_assert_str_eq(trace, "KEY_A=1 gone0 "); /* whose release the router makes */
	ck_assert_uint_eq(keyboards, 1);
	ck_assert_int_eq(brittle->closed, 1);
	ck_assert_uint_eq(lines_with("brittle"), 2); /* that it came, that it is gone */
	trace[0] = '\0';
	queue(solid, EV_KEY, KEY_C, 1);
	queue(solid, EV_SYN, SYN_REPORT, 0);
	wake(solid);
	ck_assert_str_eq(trace, "KEY_C=1 ");
}
END_TEST

START_TEST(vanishes_while_it_is_opened)
{
	struct node *brittle = add_keyboard("brittle");
	add_keyboard("solid");
	brittle->error = ENODEV;
	start();
	ck_assert_uint_eq(keyboards, 1);
	ck_assert_int_eq(brittle->closed, 1);
	ck_assert_uint_eq(lines_with("event0"), 1);
	libevdev_free(brittle->model);
}
END_TEST

/* A tablet that spans nothing, with buttons; and a keyboard that says it points as well. */
START_TEST(lies_about_its_axes)
{
	struct node *liar = add_node("liar"), *both = add_keyboard("both");
	has(liar, EV_KEY, BTN_LEFT);
	has_axis(liar, ABS_X, 0, 0);
	has_axis(liar, ABS_Y, 5, -5);
	has(both, EV_KEY, BTN_LEFT);
	has_axis(both, ABS_X, 0, 0);
	has_axis(both, ABS_Y, 0, 100);
	start();
	ck_assert_uint_eq(pointers, 0);
	ck_assert_uint_eq(keyboards, 1);
	ck_assert_uint_eq(lines_with("without a range"), 2);
	queue(both, EV_ABS, ABS_X, 70);
	queue(both, EV_ABS, ABS_Y, 70);
	queue(both, EV_KEY, KEY_A, 1);
	queue(both, EV_SYN, SYN_REPORT, 0);
	wake(both);
	ck_assert_str_eq(trace, "KEY_A=1 ");
	ck_assert_uint_eq(lines_with(" warn "), 2);
}
END_TEST

/* Events of kinds that it never said it has, with any number: nothing is said of them, and what comes out is sane. */
START_TEST(sends_what_it_does_not_have)
{
	struct node *mouse = add_node("mouse"), *screen = add_node("screen");
	struct random random = random_series(random_seed("EVDEV_SEED", 1));
	has(mouse, EV_KEY, BTN_LEFT);
	has(mouse, EV_REL, REL_X);
	has(mouse, EV_REL, REL_Y);
	has(screen, EV_KEY, BTN_TOUCH);
	has_axis(screen, ABS_X, -1000, INT32_MAX);
	has_axis(screen, ABS_Y, INT32_MIN, 1000);
	start();
	uint32_t lines = lines_with("\n");
	for (uint32_t i = 0; i < 4000; i++) {
		struct node *from = random_below(&random, 2) ? mouse : screen;
		static const uint16_t types[] = { EV_SYN, EV_KEY, EV_REL, EV_ABS, EV_MSC, EV_SW, 0x1e };
		for (uint32_t e = 0; e < 6; e++) {
			uint16_t type = types[random_below(&random, ARRAY_LEN(types))];
			uint16_t code = (uint16_t)(random_below(&random, 2) ? random_below(&random, 0x40) : random_below(&random, 0x10000));
			if (type == EV_SW && code == SW_LID)
				continue;
			queue(from, type, code, random_below(&random, 2) ? (int32_t)random_below(&random, 3) : (int32_t)random_next(&random));
		}
		trace[0] = '\0';
		wake(from);
	}
	ck_assert_uint_eq(absurd, 0);
	ck_assert_uint_eq(lines_with("\n"), lines);
}
END_TEST

START_TEST(lid)
{
	struct node *cover = add_node("cover");
	has(cover, EV_SW, SW_LID);
	start();
	ck_assert_uint_eq(keyboards + pointers, 0);
	queue(cover, EV_SW, SW_LID, 1);
	queue(cover, EV_SYN, SYN_REPORT, 0);
	wake(cover);
	queue(cover, EV_SW, SW_LID, 0);
	queue(cover, EV_SW, SW_TABLET_MODE, 1);
	queue(cover, EV_SYN, SYN_REPORT, 0);
	wake(cover);
	ck_assert_str_eq(trace, "closed opened ");
}
END_TEST

/* Closed while the session is another's, or opened: how it is is told when its device is opened again, if it is closed. */
START_TEST(lid_of_another_session)
{
	struct node *cover = add_node("cover");
	has(cover, EV_SW, SW_LID);
	start();
	ck_assert_str_eq(trace, "");
	for (int closed = 1; closed >= 0; closed--) {
		input_suspend(input);
		cover->model = libevdev_new(); /* the old one went with the backend's */
		has(cover, EV_SW, SW_LID);
		ck_assert_int_eq(libevdev_set_event_value(cover->model, EV_SW, SW_LID, closed), 0);
		trace[0] = '\0';
		input_resume(input);
		ck_assert_str_eq(trace, closed ? "closed " : "");
	}
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("input-evdev");
	TCase *tcase = tcase_create("fake devices");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, vanishes_in_the_midst_of_its_event);
	tcase_add_test(tcase, vanishes_while_it_is_opened);
	tcase_add_test(tcase, lies_about_its_axes);
	tcase_add_test(tcase, sends_what_it_does_not_have);
	tcase_add_test(tcase, lid);
	tcase_add_test(tcase, lid_of_another_session);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
