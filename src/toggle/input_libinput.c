/* Devices through libinput's udev backend: hot-plug, SYN_DROPPED, touchpads and double releases are its work. */
#define LOG_MODULE "input"

#include <errno.h>
#include <libinput.h>
#include <libudev.h>
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "base/log.h"
#include "toggle/input_backend.h"

/* Absolute positions cover the panel in this many steps. */
#define ABS_STEPS 65536u
/* libinput gives finger scrolling in units of which 15 are a detent of a wheel (its "15 degree" wheel). */
#define V120_PER_SCROLL_UNIT (120.0 / 15.0)

struct libinput_backend {
	struct input *input;
	struct udev *udev;
	struct libinput *libinput;
	struct wl_event_source *source;
	struct libinput_device *keyboard[INPUT_PHYSICAL]; /* by device number, for the lights; borrowed until DEVICE_REMOVED */
};

static int open_restricted(const char *path, int flags, void *data)
{
	struct libinput_backend *backend = data;
	int fd = input_open(backend->input, path);

	(void)flags; /* the seat opens read-write and non-blocking */
	return fd >= 0 ? fd : -errno;
}

static void close_restricted(int fd, void *data)
{
	struct libinput_backend *backend = data;

	backend->input->config.close(backend->input->config.data, fd);
}

static const struct libinput_interface interface = {
	.open_restricted = open_restricted,
	.close_restricted = close_restricted,
};

static void on_log(struct libinput *libinput, enum libinput_log_priority priority, const char *format, va_list args) __attribute__((format(printf, 3, 0)));

static void on_log(struct libinput *libinput, enum libinput_log_priority priority, const char *format, va_list args)
{
	char text[256];

	(void)libinput;
	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	log_line(priority >= LIBINPUT_LOG_PRIORITY_ERROR ? LOG_WARN : LOG_DEBUG, LOG_MODULE, "libinput: %s", text);
}

static void set_leds(struct libinput_device *device, uint32_t leds)
{
	enum libinput_led lit = 0;

	if (leds & 1u << LED_NUML)
		lit |= LIBINPUT_LED_NUM_LOCK;
	if (leds & 1u << LED_CAPSL)
		lit |= LIBINPUT_LED_CAPS_LOCK;
	if (leds & 1u << LED_SCROLLL)
		lit |= LIBINPUT_LED_SCROLL_LOCK;
	libinput_device_led_update(device, lit);
}

static void device_added(struct libinput_backend *backend, struct libinput_device *handle)
{
	/* libinput calls a power button a keyboard; we mean something to type on. */
	bool keys = libinput_device_has_capability(handle, LIBINPUT_DEVICE_CAP_KEYBOARD);
	bool keyboard = keys && (libinput_device_keyboard_has_key(handle, KEY_A) > 0 || libinput_device_keyboard_has_key(handle, KEY_ENTER) > 0);
	bool pointer = libinput_device_has_capability(handle, LIBINPUT_DEVICE_CAP_POINTER) ||
		libinput_device_has_capability(handle, LIBINPUT_DEVICE_CAP_TOUCH) ||
		libinput_device_has_capability(handle, LIBINPUT_DEVICE_CAP_TABLET_TOOL);
	struct input_device *device = NULL;

	if (keys || pointer)
		device = input_device_add(backend->input, libinput_device_get_name(handle), keyboard, pointer);
	libinput_device_set_user_data(handle, device);
	if (!device)
		return;
	if (libinput_device_config_tap_get_finger_count(handle) > 0)
		libinput_device_config_tap_set_enabled(handle, LIBINPUT_CONFIG_TAP_ENABLED);
	if (keyboard) {
		backend->keyboard[device->number] = handle;
		set_leds(handle, backend->input->leds);
	}
}

static void device_removed(struct libinput_backend *backend, struct libinput_device *handle)
{
	struct input_device *device = libinput_device_get_user_data(handle);

	libinput_device_set_user_data(handle, NULL);
	if (device)
		backend->keyboard[device->number] = NULL;
	input_device_remove(device, clock_now_ns());
}

static int32_t clamp_abs(double value)
{
	if (!(value > 0))
		return 0;
	return value >= ABS_STEPS - 1 ? (int32_t)ABS_STEPS - 1 : (int32_t)value;
}

static void send_position(struct input_device *device, double x, double y, uint64_t time_ns)
{
	input_send(device, EV_ABS, ABS_X, clamp_abs(x), time_ns);
	input_send(device, EV_ABS, ABS_Y, clamp_abs(y), time_ns);
}

static void keyboard_event(struct input_device *device, struct libinput_event_keyboard *event)
{
	uint64_t time_ns = libinput_event_keyboard_get_time_usec(event) * NSEC_PER_USEC;
	bool pressed = libinput_event_keyboard_get_key_state(event) == LIBINPUT_KEY_STATE_PRESSED;

	input_send(device, EV_KEY, (uint16_t)libinput_event_keyboard_get_key(event), pressed, time_ns);
	input_frame(device, time_ns);
}

static void wheel_event(struct input_device *device, struct libinput_event_pointer *event, bool wheel, uint64_t time_ns)
{
	for (int axis = LIBINPUT_POINTER_AXIS_SCROLL_VERTICAL; axis <= LIBINPUT_POINTER_AXIS_SCROLL_HORIZONTAL; axis++) {
		if (!libinput_event_pointer_has_axis(event, axis))
			continue;
		double v120 = wheel ? libinput_event_pointer_get_scroll_value_v120(event, axis)
				    : libinput_event_pointer_get_scroll_value(event, axis) * V120_PER_SCROLL_UNIT;
		bool horizontal = axis == LIBINPUT_POINTER_AXIS_SCROLL_HORIZONTAL;
		/* libinput counts downwards, REL_WHEEL upwards. */
		input_send_wheel(device, horizontal, horizontal ? v120 : -v120, time_ns);
	}
}

static void pointer_event(struct input_device *device, enum libinput_event_type type, struct libinput_event_pointer *event)
{
	uint64_t time_ns = libinput_event_pointer_get_time_usec(event) * NSEC_PER_USEC;

	switch (type) {
	case LIBINPUT_EVENT_POINTER_MOTION:
		input_send_motion(device,
			(double[2]){ libinput_event_pointer_get_dx_unaccelerated(event), libinput_event_pointer_get_dy_unaccelerated(event) },
			(double[2]){ libinput_event_pointer_get_dx(event), libinput_event_pointer_get_dy(event) }, time_ns);
		break;
	case LIBINPUT_EVENT_POINTER_MOTION_ABSOLUTE:
		send_position(device, libinput_event_pointer_get_absolute_x_transformed(event, ABS_STEPS),
			libinput_event_pointer_get_absolute_y_transformed(event, ABS_STEPS), time_ns);
		break;
	case LIBINPUT_EVENT_POINTER_BUTTON:
		input_send(device, EV_KEY, (uint16_t)libinput_event_pointer_get_button(event),
			libinput_event_pointer_get_button_state(event) == LIBINPUT_BUTTON_STATE_PRESSED, time_ns);
		break;
	case LIBINPUT_EVENT_POINTER_SCROLL_WHEEL:
		wheel_event(device, event, true, time_ns);
		break;
	case LIBINPUT_EVENT_POINTER_SCROLL_FINGER:
	case LIBINPUT_EVENT_POINTER_SCROLL_CONTINUOUS:
		wheel_event(device, event, false, time_ns);
		break;
	default:
		return; /* POINTER_AXIS repeats the scroll events for old programs */
	}
	input_frame(device, time_ns);
}

static void touch_event(struct input_device *device, enum libinput_event_type type, struct libinput_event_touch *event)
{
	uint64_t time_ns = libinput_event_touch_get_time_usec(event) * NSEC_PER_USEC;
	uint32_t slot = (uint32_t)libinput_event_touch_get_seat_slot(event);

	if (type == LIBINPUT_EVENT_TOUCH_UP || type == LIBINPUT_EVENT_TOUCH_CANCEL)
		input_send_touch(device, INPUT_TOUCH_UP, slot, 0, 0, time_ns);
	else
		input_send_touch(device, type == LIBINPUT_EVENT_TOUCH_DOWN ? INPUT_TOUCH_DOWN : INPUT_TOUCH_MOVE, slot,
			clamp_abs(libinput_event_touch_get_x_transformed(event, ABS_STEPS)),
			clamp_abs(libinput_event_touch_get_y_transformed(event, ABS_STEPS)), time_ns);
	input_frame(device, time_ns);
}

static void tool_event(struct input_device *device, enum libinput_event_type type, struct libinput_event_tablet_tool *event)
{
	uint64_t time_ns = libinput_event_tablet_tool_get_time_usec(event) * NSEC_PER_USEC;

	if (type == LIBINPUT_EVENT_TABLET_TOOL_BUTTON) {
		uint32_t button = libinput_event_tablet_tool_get_button(event);
		bool pressed = libinput_event_tablet_tool_get_button_state(event) == LIBINPUT_BUTTON_STATE_PRESSED;
		if (button == BTN_STYLUS)
			button = BTN_RIGHT;
		else if (button == BTN_STYLUS2)
			button = BTN_MIDDLE;
		input_send(device, EV_KEY, (uint16_t)button, pressed, time_ns);
	} else {
		send_position(device, libinput_event_tablet_tool_get_x_transformed(event, ABS_STEPS),
			libinput_event_tablet_tool_get_y_transformed(event, ABS_STEPS), time_ns);
	}
	if (type == LIBINPUT_EVENT_TABLET_TOOL_TIP)
		input_send(device, EV_KEY, BTN_LEFT, libinput_event_tablet_tool_get_tip_state(event) == LIBINPUT_TABLET_TOOL_TIP_DOWN, time_ns);
	input_frame(device, time_ns);
}

/* A switch is no device for the router. */
static void switch_event(struct libinput_backend *backend, struct libinput_event_switch *event)
{
	const struct input_config *config = &backend->input->config;

	if (libinput_event_switch_get_switch(event) == LIBINPUT_SWITCH_LID && config->lid)
		config->lid(config->data, libinput_event_switch_get_switch_state(event) == LIBINPUT_SWITCH_STATE_ON);
}

static void handle(struct libinput_backend *backend, struct libinput_event *event)
{
	enum libinput_event_type type = libinput_event_get_type(event);
	struct libinput_device *handle = libinput_event_get_device(event);

	if (type == LIBINPUT_EVENT_DEVICE_ADDED) {
		device_added(backend, handle);
		return;
	}
	if (type == LIBINPUT_EVENT_DEVICE_REMOVED) {
		device_removed(backend, handle);
		return;
	}
	if (type == LIBINPUT_EVENT_SWITCH_TOGGLE) {
		switch_event(backend, libinput_event_get_switch_event(event));
		return;
	}
	struct input_device *device = libinput_device_get_user_data(handle);
	if (!device)
		return;
	switch (type) {
	case LIBINPUT_EVENT_KEYBOARD_KEY:
		keyboard_event(device, libinput_event_get_keyboard_event(event));
		break;
	case LIBINPUT_EVENT_POINTER_MOTION:
	case LIBINPUT_EVENT_POINTER_MOTION_ABSOLUTE:
	case LIBINPUT_EVENT_POINTER_BUTTON:
	case LIBINPUT_EVENT_POINTER_SCROLL_WHEEL:
	case LIBINPUT_EVENT_POINTER_SCROLL_FINGER:
	case LIBINPUT_EVENT_POINTER_SCROLL_CONTINUOUS:
		pointer_event(device, type, libinput_event_get_pointer_event(event));
		break;
	case LIBINPUT_EVENT_TOUCH_DOWN:
	case LIBINPUT_EVENT_TOUCH_MOTION:
	case LIBINPUT_EVENT_TOUCH_UP:
	case LIBINPUT_EVENT_TOUCH_CANCEL:
		touch_event(device, type, libinput_event_get_touch_event(event));
		break;
	case LIBINPUT_EVENT_TABLET_TOOL_AXIS:
	case LIBINPUT_EVENT_TABLET_TOOL_PROXIMITY:
	case LIBINPUT_EVENT_TABLET_TOOL_TIP:
	case LIBINPUT_EVENT_TABLET_TOOL_BUTTON:
		tool_event(device, type, libinput_event_get_tablet_tool_event(event));
		break;
	default:
		break;
	}
}

static void drain(struct libinput_backend *backend)
{
	struct libinput_event *event;

	while ((event = libinput_get_event(backend->libinput)) != NULL) {
		handle(backend, event);
		libinput_event_destroy(event);
	}
}

static int on_readable(int fd, uint32_t mask, void *data)
{
	struct libinput_backend *backend = data;

	(void)fd;
	(void)mask;
	int status = libinput_dispatch(backend->libinput);
	if (status < 0)
		log_error("libinput_dispatch: %s", strerror(-status));
	drain(backend);
	input_report(backend->input);
	return 0;
}

static void backend_destroy(void *state)
{
	struct libinput_backend *backend = state;

	if (backend->source)
		wl_event_source_remove(backend->source);
	libinput_unref(backend->libinput);
	udev_unref(backend->udev);
	free(backend);
}

static void *backend_create(struct input *input, char *error, size_t error_size)
{
	struct libinput_backend *backend = calloc(1, sizeof(*backend));

	if (!backend) {
		snprintf(error, error_size, "input: %s", strerror(errno));
		return NULL;
	}
	backend->input = input;
	backend->udev = udev_new();
	if (!backend->udev) {
		snprintf(error, error_size, "input: udev_new: %s", strerror(errno));
		goto err_backend;
	}
	backend->libinput = libinput_udev_create_context(&interface, backend, backend->udev);
	if (!backend->libinput) {
		snprintf(error, error_size, "input: libinput cannot start on udev");
		goto err_udev;
	}
	libinput_log_set_handler(backend->libinput, on_log);
	libinput_log_set_priority(backend->libinput, LIBINPUT_LOG_PRIORITY_INFO);
	if (libinput_udev_assign_seat(backend->libinput, input->seat) != 0) {
		snprintf(error, error_size, "input: libinput cannot take the devices of %s: is udevd running?", input->seat);
		goto err_libinput;
	}
	backend->source = wl_event_loop_add_fd(input->loop, libinput_get_fd(backend->libinput), WL_EVENT_READABLE, on_readable, backend);
	if (!backend->source) {
		snprintf(error, error_size, "input: event loop: %s", strerror(errno));
		goto err_libinput;
	}
	libinput_dispatch(backend->libinput);
	drain(backend);
	return backend;

err_libinput:
	libinput_unref(backend->libinput);
err_udev:
	udev_unref(backend->udev);
err_backend:
	free(backend);
	return NULL;
}

static void backend_suspend(void *state)
{
	struct libinput_backend *backend = state;

	libinput_suspend(backend->libinput);
	drain(backend);
}

static void backend_resume(void *state)
{
	struct libinput_backend *backend = state;

	if (libinput_resume(backend->libinput) != 0)
		log_error("libinput found no device after the session came back; plug one in, or switch away and back");
	drain(backend);
}

static void backend_set_leds(void *state, uint32_t leds)
{
	struct libinput_backend *backend = state;

	for (uint32_t i = 0; i < INPUT_PHYSICAL; i++)
		if (backend->keyboard[i])
			set_leds(backend->keyboard[i], leds);
}

const struct input_backend input_libinput = {
	.name = "libinput",
	.create = backend_create,
	.destroy = backend_destroy,
	.suspend = backend_suspend,
	.resume = backend_resume,
	.set_leds = backend_set_leds,
};
