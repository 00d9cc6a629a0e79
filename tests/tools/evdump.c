/*
 * Prints what src/toggle/input.c makes of the devices of this machine, one line per event, for use in the lab.
 *
 *   evdump [--backend libinput|evdev]
 *
 * Obeys lines on standard input: suspend, resume, leds BITS, list, plug (makes a keyboard and mouse with uinput), press CODE,
 * release CODE, move DX DY, wheel DETENTS, flood N (N taps of KEY_A in one write), unplug, quit.
 */
#include <errno.h>
#include <fcntl.h>
#include <libevdev/libevdev-uinput.h>
#include <libevdev/libevdev.h>
#include <linux/input.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "base/log.h"
#include "toggle/input.h"

struct evdump {
	struct wl_event_loop *loop;
	struct input *input;
	struct libevdev *model;
	struct libevdev_uinput *uinput;
	bool done;
};

static int open_node(void *data, const char *path)
{
	(void)data;
	return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

static void close_node(void *data, int fd)
{
	(void)data;
	close(fd);
}

static void on_event(void *data, const struct router_event *event)
{
	const char *name = libevdev_event_code_get_name(event->type, event->code);
	uint64_t now = clock_now_ns();

	(void)data;
	printf("event device=%u %s value=%d age_us=%lld\n", event->device, name ? name : "?", event->value,
		((long long)now - (long long)event->time_ns) / 1000);
}

static void on_frame(void *data, uint32_t device, uint64_t time_ns)
{
	(void)data;
	(void)time_ns;
	printf("frame device=%u\n", device);
}

static void on_devices(void *data, uint32_t keyboards, uint32_t pointers)
{
	(void)data;
	printf("devices keyboards=%u pointers=%u\n", keyboards, pointers);
}

static void on_gone(void *data, uint32_t device, uint64_t time_ns)
{
	(void)data;
	(void)time_ns;
	printf("gone device=%u\n", device);
}

static void print_device(void *data, const char *name, bool keyboard, bool pointer)
{
	(void)data;
	printf("listed %s%s%s\n", name, keyboard ? " keyboard" : "", pointer ? " pointer" : "");
}

static void plug(struct evdump *dump)
{
	dump->model = libevdev_new();
	libevdev_set_name(dump->model, "evdump keyboard");
	for (unsigned code = KEY_ESC; code <= KEY_F12; code++)
		libevdev_enable_event_code(dump->model, EV_KEY, code, NULL);
	libevdev_enable_event_code(dump->model, EV_KEY, BTN_LEFT, NULL);
	libevdev_enable_event_code(dump->model, EV_KEY, BTN_RIGHT, NULL);
	libevdev_enable_event_code(dump->model, EV_REL, REL_X, NULL);
	libevdev_enable_event_code(dump->model, EV_REL, REL_Y, NULL);
	libevdev_enable_event_code(dump->model, EV_REL, REL_WHEEL, NULL);
	int status = libevdev_uinput_create_from_device(dump->model, LIBEVDEV_UINPUT_OPEN_MANAGED, &dump->uinput);
	if (status < 0)
		printf("error plug: %s\n", strerror(-status));
}

static void unplug(struct evdump *dump)
{
	if (dump->uinput)
		libevdev_uinput_destroy(dump->uinput);
	if (dump->model)
		libevdev_free(dump->model);
	dump->uinput = NULL;
	dump->model = NULL;
}

static void write_event(struct evdump *dump, unsigned type, unsigned code, int value)
{
	if (dump->uinput)
		libevdev_uinput_write_event(dump->uinput, type, code, value);
}

static void command(struct evdump *dump, const char *line)
{
	int a, b;

	if (strcmp(line, "suspend") == 0)
		input_suspend(dump->input);
	else if (strcmp(line, "resume") == 0)
		input_resume(dump->input);
	else if (sscanf(line, "leds %i", &a) == 1)
		input_set_leds(dump->input, (uint32_t)a);
	else if (strcmp(line, "list") == 0)
		input_list(dump->input, print_device, NULL);
	else if (strcmp(line, "plug") == 0)
		plug(dump);
	else if (strcmp(line, "unplug") == 0)
		unplug(dump);
	else if (sscanf(line, "press %d", &a) == 1)
		write_event(dump, EV_KEY, (unsigned)a, 1);
	else if (sscanf(line, "release %d", &a) == 1)
		write_event(dump, EV_KEY, (unsigned)a, 0);
	else if (sscanf(line, "move %d %d", &a, &b) == 2)
		write_event(dump, EV_REL, REL_X, a), write_event(dump, EV_REL, REL_Y, b);
	else if (sscanf(line, "wheel %d", &a) == 1)
		write_event(dump, EV_REL, REL_WHEEL, a);
	else if (sscanf(line, "flood %d", &a) == 1)
		for (int i = 0; i < a; i++) {
			write_event(dump, EV_KEY, KEY_A, 1);
			write_event(dump, EV_SYN, SYN_REPORT, 0);
			write_event(dump, EV_KEY, KEY_A, 0);
			write_event(dump, EV_SYN, SYN_REPORT, 0);
		}
	else if (strcmp(line, "quit") == 0)
		dump->done = true;
	else
		printf("error unknown command: %s\n", line);
	write_event(dump, EV_SYN, SYN_REPORT, 0);
	printf("ok %s\n", line);
}

static int on_stdin(int fd, uint32_t mask, void *data)
{
	static char pending[256];
	static size_t used;
	struct evdump *dump = data;
	ssize_t length = read(fd, pending + used, sizeof(pending) - 1 - used);
	char *newline;

	(void)mask;
	if (length <= 0) {
		dump->done = true;
		return 0;
	}
	used += (size_t)length;
	pending[used] = '\0';
	while ((newline = strchr(pending, '\n')) != NULL) {
		*newline = '\0';
		command(dump, pending);
		used -= (size_t)(newline + 1 - pending);
		memmove(pending, newline + 1, used + 1);
	}
	if (used == sizeof(pending) - 1)
		used = 0;
	return 0;
}

int main(int argc, char **argv)
{
	struct evdump dump = { 0 };
	struct input_config config = {
		.open = open_node,
		.close = close_node,
		.event = on_event,
		.frame = on_frame,
		.devices = on_devices,
		.gone = on_gone,
	};
	char error[256];
	int status;

	if (argc == 3 && strcmp(argv[1], "--backend") == 0) {
		config.backend = argv[2];
	} else if (argc != 1) {
		fprintf(stderr, "usage: evdump [--backend libinput|evdev]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_level(LOG_DEBUG);
	dump.loop = wl_event_loop_create();
	dump.input = input_create(dump.loop, &config, error, sizeof(error), &status);
	if (!dump.input) {
		fprintf(stderr, "%s\n", error);
		wl_event_loop_destroy(dump.loop);
		return status;
	}
	struct wl_event_source *source = wl_event_loop_add_fd(dump.loop, STDIN_FILENO, WL_EVENT_READABLE, on_stdin, &dump);
	printf("ready\n");
	while (!dump.done)
		wl_event_loop_dispatch(dump.loop, -1);
	unplug(&dump);
	input_destroy(dump.input);
	if (source)
		wl_event_source_remove(source);
	wl_event_loop_destroy(dump.loop);
	return 0;
}
