/*
 * Devices read straight from /dev/input with libevdev, where no udevd has run and libinput therefore refuses every device.
 * inotify on the folder tells of hot-plug; a device whose rights come later is tried again when they change.
 */
#define LOG_MODULE "input"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libevdev/libevdev.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "base/log.h"
#include "toggle/input_backend.h"

#define DEV "/dev"
#define FOLDER "input"
#define FOLDER_PATH DEV "/" FOLDER
#define NAME_PREFIX "event"

struct evdev_device {
	struct wl_list link;
	struct evdev_backend *backend;
	char node[32]; /* "event3" */
	int fd;
	struct libevdev *evdev;
	struct wl_event_source *source;
	struct evdev_packet packet;
};

struct evdev_backend {
	struct input *input;
	struct wl_list devices;
	int inotify;
	int folder_watch; /* -1 while /dev/input does not exist */
	int dev_watch;
	struct wl_event_source *source;
	bool suspended;
};

static void device_close(struct evdev_device *device)
{
	struct input *input = device->backend->input;

	input_device_remove(device->packet.device, clock_now_ns());
	wl_event_source_remove(device->source);
	libevdev_free(device->evdev);
	input->config.close(input->config.data, device->fd);
	wl_list_remove(&device->link);
	free(device);
}

/* Reads until nothing is left. False when the device is gone. */
static bool device_read(struct evdev_device *device)
{
	struct input *input = device->backend->input;
	unsigned flags = LIBEVDEV_READ_FLAG_NORMAL;
	struct input_event dropped;

	for (;;) {
		struct input_event event;
		int status = libevdev_next_event(device->evdev, flags, &event);
		if (status == -EAGAIN && flags == LIBEVDEV_READ_FLAG_SYNC) {
			/* In step again. What was read of the torn packet goes out even when there was no difference to report. */
			dropped.type = EV_SYN;
			dropped.code = SYN_REPORT;
			evdev_packet_event(&device->packet, &dropped);
			flags = LIBEVDEV_READ_FLAG_NORMAL;
			continue;
		}
		if (status == -EAGAIN || status == -EINTR)
			return true;
		if (status < 0)
			return false;
		if (status == LIBEVDEV_READ_STATUS_SYNC && flags == LIBEVDEV_READ_FLAG_NORMAL) {
			/* The kernel's queue ran over (SYN_DROPPED): libevdev now gives the difference to the present state. */
			log_debug("%s: events were lost, catching up", device->node);
			dropped = event;
			flags = LIBEVDEV_READ_FLAG_SYNC;
			continue;
		}
		if (event.type == EV_SW && event.code == SW_LID && input->config.lid)
			input->config.lid(input->config.data, event.value != 0);
		evdev_packet_event(&device->packet, &event);
	}
}

static int on_device(int fd, uint32_t mask, void *data)
{
	struct evdev_device *device = data;
	struct input *input = device->backend->input;

	(void)fd;
	if (!device_read(device) || mask & (WL_EVENT_HANGUP | WL_EVENT_ERROR)) {
		device_close(device);
		input_report(input);
	}
	return 0;
}

static void write_leds(struct evdev_device *device, uint32_t leds)
{
	static const unsigned codes[] = { LED_NUML, LED_CAPSL, LED_SCROLLL };

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (libevdev_has_event_code(device->evdev, EV_LED, codes[i]))
			libevdev_kernel_set_led_value(device->evdev, codes[i], leds & 1u << codes[i] ? LIBEVDEV_LED_ON : LIBEVDEV_LED_OFF);
}

static struct evdev_device *find(struct evdev_backend *backend, const char *node)
{
	struct evdev_device *device;

	wl_list_for_each(device, &backend->devices, link)
		if (strcmp(device->node, node) == 0)
			return device;
	return NULL;
}

static void device_open(struct evdev_backend *backend, const char *node)
{
	struct input *input = backend->input;
	char path[PATH_MAX];
	bool keyboard, pointer;

	if (strncmp(node, NAME_PREFIX, strlen(NAME_PREFIX)) != 0 || strlen(node) >= sizeof(((struct evdev_device *)0)->node) || find(backend, node))
		return;
	snprintf(path, sizeof(path), FOLDER_PATH "/%s", node);
	int fd = input_open(input, path);
	if (fd < 0)
		return;
	struct evdev_device *device = calloc(1, sizeof(*device));
	if (!device)
		goto err_fd;
	device->backend = backend;
	device->fd = fd;
	snprintf(device->node, sizeof(device->node), "%s", node);
	/* Reading goes on until EAGAIN, whoever opened the device. */
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
		goto err_device;
	int status = libevdev_new_from_fd(fd, &device->evdev);
	if (status < 0) {
		log_warn("%s: %s; the device is left out", path, strerror(-status));
		goto err_device;
	}
	if (evdev_lies(device->evdev))
		log_warn("%s (%s) has axes without a range: they are not used", path, libevdev_get_name(device->evdev));
	if (!evdev_classify(device->evdev, &keyboard, &pointer) && !libevdev_has_event_code(device->evdev, EV_SW, SW_LID)) {
		log_debug("%s (%s) has neither keys nor pointer", path, libevdev_get_name(device->evdev));
		goto err_evdev;
	}
	status = libevdev_set_clock_id(device->evdev, CLOCK_MONOTONIC);
	if (status < 0) {
		log_warn("%s: clock: %s; the device is left out", path, strerror(-status));
		goto err_evdev;
	}
	device->source = wl_event_loop_add_fd(input->loop, fd, WL_EVENT_READABLE, on_device, device);
	if (!device->source)
		goto err_evdev;
	struct input_device *slot = input_device_add(input, libevdev_get_name(device->evdev), keyboard, pointer);
	if (!slot)
		goto err_source;
	evdev_packet_init(&device->packet, device->evdev, slot);
	wl_list_insert(&backend->devices, &device->link);
	if (keyboard)
		write_leds(device, input->leds);
	if (libevdev_get_event_value(device->evdev, EV_SW, SW_LID) && input->config.lid)
		input->config.lid(input->config.data, true); /* an open one is no news */
	return;

err_source:
	wl_event_source_remove(device->source);
err_evdev:
	libevdev_free(device->evdev);
err_device:
	free(device);
err_fd:
	input->config.close(input->config.data, fd);
}

/* Watches the folder and takes what is in it. The watch comes first, so that nothing can slip in between. */
static void scan(struct evdev_backend *backend)
{
	if (backend->folder_watch < 0)
		backend->folder_watch = inotify_add_watch(backend->inotify, FOLDER_PATH, IN_CREATE | IN_ATTRIB | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR);
	DIR *folder = opendir(FOLDER_PATH);
	if (!folder) {
		if (errno != ENOENT)
			log_warn(FOLDER_PATH ": %s", strerror(errno));
		return;
	}
	for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
		device_open(backend, entry->d_name);
	closedir(folder);
}

static void node_event(struct evdev_backend *backend, const struct inotify_event *event)
{
	if (event->mask & IN_Q_OVERFLOW) {
		scan(backend);
	} else if (event->wd == backend->folder_watch && event->mask & IN_IGNORED) {
		backend->folder_watch = -1;
	} else if (event->len == 0) {
		return;
	} else if (event->wd == backend->dev_watch) {
		if (strcmp(event->name, FOLDER) == 0)
			scan(backend);
	} else if (event->wd == backend->folder_watch && event->mask & IN_DELETE) {
		struct evdev_device *device = find(backend, event->name);
		if (device)
			device_close(device);
	} else if (event->wd == backend->folder_watch) {
		device_open(backend, event->name);
	}
}

static int on_inotify(int fd, uint32_t mask, void *data)
{
	struct evdev_backend *backend = data;
	union {
		struct inotify_event event;
		char bytes[4096];
	} buffer;

	(void)mask;
	for (;;) {
		ssize_t length = read(fd, &buffer, sizeof(buffer));
		if (length <= 0)
			break;
		for (ssize_t at = 0; at < length;) {
			const struct inotify_event *event = (const void *)(buffer.bytes + at);
			if (!backend->suspended)
				node_event(backend, event);
			else if (event->wd == backend->folder_watch && event->mask & IN_IGNORED)
				backend->folder_watch = -1;
			at += (ssize_t)(sizeof(*event) + event->len);
		}
	}
	input_report(backend->input);
	return 0;
}

static void close_all(struct evdev_backend *backend)
{
	struct evdev_device *device, *next;

	wl_list_for_each_safe(device, next, &backend->devices, link)
		device_close(device);
}

static void backend_destroy(void *state)
{
	struct evdev_backend *backend = state;

	close_all(backend);
	wl_event_source_remove(backend->source);
	close(backend->inotify);
	free(backend);
}

static void *backend_create(struct input *input, char *error, size_t error_size)
{
	struct evdev_backend *backend = calloc(1, sizeof(*backend));

	if (!backend)
		goto err;
	backend->input = input;
	backend->folder_watch = -1;
	wl_list_init(&backend->devices);
	backend->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (backend->inotify < 0)
		goto err_backend;
	backend->source = wl_event_loop_add_fd(input->loop, backend->inotify, WL_EVENT_READABLE, on_inotify, backend);
	if (!backend->source)
		goto err_inotify;
	/* The folder appears with the first device. */
	backend->dev_watch = inotify_add_watch(backend->inotify, DEV, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
	if (backend->dev_watch < 0)
		log_warn("cannot watch " DEV " (%s): a first input device plugged in later will not be noticed", strerror(errno));
	scan(backend);
	return backend;

err_inotify:
	close(backend->inotify);
err_backend:
	free(backend);
err:
	snprintf(error, error_size, "input: cannot watch " FOLDER_PATH ": %s", strerror(errno));
	return NULL;
}

static void backend_suspend(void *state)
{
	struct evdev_backend *backend = state;

	backend->suspended = true;
	close_all(backend);
}

static void backend_resume(void *state)
{
	struct evdev_backend *backend = state;

	backend->suspended = false;
	scan(backend);
}

static void backend_set_leds(void *state, uint32_t leds)
{
	struct evdev_backend *backend = state;
	struct evdev_device *device;

	wl_list_for_each(device, &backend->devices, link)
		if (device->packet.device->keyboard)
			write_leds(device, leds);
}

const struct input_backend input_evdev = {
	.name = "evdev",
	.create = backend_create,
	.destroy = backend_destroy,
	.suspend = backend_suspend,
	.resume = backend_resume,
	.set_leds = backend_set_leds,
};
