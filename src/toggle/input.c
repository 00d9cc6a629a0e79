#define LOG_MODULE "input"

#include "toggle/input.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/exit_status.h"
#include "base/log.h"
#include "toggle/input_backend.h"

/* udevd's control socket: where it is, devices get tagged. */
#define UDEV_CONTROL "/run/udev/control"

static const struct input_backend *choose_backend(const char *name)
{
	if (!name)
		return access(UDEV_CONTROL, F_OK) == 0 ? &input_libinput : &input_evdev;
	if (strcmp(name, input_libinput.name) == 0)
		return &input_libinput;
	if (strcmp(name, input_evdev.name) == 0)
		return &input_evdev;
	return NULL;
}

struct input *input_create(struct wl_event_loop *loop, const struct input_config *config, char *error, size_t error_size, int *exit_status)
{
	struct input *input = calloc(1, sizeof(*input));

	*exit_status = EXIT_INPUT;
	if (!input) {
		snprintf(error, error_size, "input: %s", strerror(errno));
		return NULL;
	}
	input->loop = loop;
	input->config = *config;
	snprintf(input->seat, sizeof(input->seat), "%s", config->seat ? config->seat : "seat0");
	input->backend = choose_backend(config->backend);
	if (!input->backend) {
		snprintf(error, error_size, "input: no backend \"%s\"; there are libinput and evdev", config->backend);
		goto err_input;
	}
	input->state = input->backend->create(input, error, error_size);
	if (!input->state)
		goto err_input;
	if (input->opened == 0 && input->refused > 0) {
		snprintf(error, error_size,
			"none of the %u input devices may be opened (%s): log in on a local console of %s, start seatd, or run as root",
			input->refused, strerror(input->refused_errno), input->seat);
		goto err_state;
	}
	log_info("backend %s on %s", input->backend->name, input->seat);
	input->changed = true;
	input_report(input);
	return input;

err_state:
	input->backend->destroy(input->state);
err_input:
	free(input);
	return NULL;
}

void input_destroy(struct input *input)
{
	if (!input)
		return;
	input->closing = true;
	input->backend->destroy(input->state);
	free(input);
}

void input_suspend(struct input *input)
{
	input->backend->suspend(input->state);
	input_report(input);
}

void input_resume(struct input *input)
{
	input->backend->resume(input->state);
	input_report(input);
}

void input_set_leds(struct input *input, uint32_t leds)
{
	if (input->leds == leds)
		return;
	input->leds = leds;
	input->backend->set_leds(input->state, leds);
}

uint32_t input_injector(struct input *input)
{
	uint32_t number = INPUT_PHYSICAL + input->injectors;

	if (number == ROUTER_DEVICES - 1) {
		log_debug("no free injector number; the last one is shared");
		return number;
	}
	input->injectors++;
	return number;
}

void input_list(struct input *input, void (*each)(void *data, const char *name, bool keyboard, bool pointer), void *data)
{
	for (uint32_t i = 0; i < INPUT_PHYSICAL; i++)
		if (input->device[i].used)
			each(data, input->device[i].name, input->device[i].keyboard, input->device[i].pointer);
}

int input_open(struct input *input, const char *path)
{
	int fd = input->config.open(input->config.data, path);

	if (fd >= 0) {
		input->opened++;
		return fd;
	}
	int saved = errno;
	/* Gone again before we came: no verdict on our rights. */
	if (saved != ENOENT && saved != ENODEV && saved != ENXIO) {
		input->refused++;
		input->refused_errno = saved;
		log_warn("%s: %s; the device is left out", path, strerror(saved));
	}
	errno = saved;
	return -1;
}

struct input_device *input_device_add(struct input *input, const char *name, bool keyboard, bool pointer)
{
	for (uint32_t i = 0; i < INPUT_PHYSICAL; i++) {
		struct input_device *device = &input->device[i];
		if (device->used)
			continue;
		memset(device, 0, sizeof(*device));
		device->input = input;
		device->number = i;
		device->used = true;
		device->keyboard = keyboard;
		device->pointer = pointer;
		snprintf(device->name, sizeof(device->name), "%s", name ? name : "unnamed");
		input->changed = true;
		log_info("%s: device %u%s%s", device->name, i, keyboard ? ", keyboard" : "", pointer ? ", pointer" : "");
		return device;
	}
	log_warn("%s is left out: %u devices are in use already", name ? name : "a device", INPUT_PHYSICAL);
	return NULL;
}

void input_device_remove(struct input_device *device, uint64_t time_ns)
{
	if (!device)
		return;
	device->used = false;
	if (device->input->closing)
		return;
	device->input->changed = true;
	log_info("%s is gone", device->name);
	device->input->config.gone(device->input->config.data, device->number, time_ns);
}

void input_report(struct input *input)
{
	uint32_t keyboards = 0, pointers = 0;

	if (!input->changed)
		return;
	input->changed = false;
	for (uint32_t i = 0; i < INPUT_PHYSICAL; i++) {
		keyboards += input->device[i].used && input->device[i].keyboard;
		pointers += input->device[i].used && input->device[i].pointer;
	}
	input->config.devices(input->config.data, keyboards, pointers);
}

void input_send(struct input_device *device, uint16_t type, uint16_t code, int32_t value, uint64_t time_ns)
{
	struct router_event event = {
		.time_ns = time_ns,
		.device = device->number,
		.type = type,
		.code = code,
		.value = value,
	};

	device->sent = true;
	device->input->config.event(device->input->config.data, &event);
}

void input_frame(struct input_device *device, uint64_t time_ns)
{
	if (!device->sent)
		return;
	device->sent = false;
	device->input->config.frame(device->input->config.data, device->number, time_ns);
}

void input_send_touch(struct input_device *device, enum input_touch what, uint32_t slot, int32_t x, int32_t y, uint64_t time_ns)
{
	struct router_event event = { .time_ns = time_ns, .device = device->number, .type = EV_ABS, .code = ABS_MT_TRACKING_ID, .slot = slot };

	device->sent = true;
	if (what != INPUT_TOUCH_MOVE) {
		event.value = what == INPUT_TOUCH_DOWN ? 0 : -1;
		device->input->config.event(device->input->config.data, &event);
	}
	if (what == INPUT_TOUCH_UP)
		return;
	event.code = ABS_MT_POSITION_X;
	event.value = x;
	device->input->config.event(device->input->config.data, &event);
	event.code = ABS_MT_POSITION_Y;
	event.value = y;
	device->input->config.event(device->input->config.data, &event);
}

/* Adds to a rest and takes the whole units out of it. A device that reports nonsense moves nothing. */
static int32_t whole_units(double *rest, double add)
{
	double sum = *rest + add;

	if (!isfinite(sum) || fabs(sum) > 1e6) {
		*rest = 0;
		return 0;
	}
	int32_t whole = (int32_t)trunc(sum);
	*rest = sum - whole;
	return whole;
}

void input_send_motion(struct input_device *device, const double raw[2], const double fast[2], uint64_t time_ns)
{
	for (int i = 0; i < 2; i++) {
		struct router_event event = { .time_ns = time_ns, .device = device->number, .type = EV_REL, .code = i == 0 ? REL_X : REL_Y,
			.value = whole_units(&device->rest[i], raw[i]), .accelerated = whole_units(&device->rest_fast[i], fast[i]) };
		if (event.value == 0 && event.accelerated == 0)
			continue;
		device->sent = true;
		device->input->config.event(device->input->config.data, &event);
	}
}

#define SLOW 0.5        /* counts a millisecond */
#define FAST 2.0
#define MOST 2.0        /* the gain from FAST on */
#define MIN_NS (NSEC_PER_MSEC)      /* packets that were read late come in a row */
#define MAX_NS (20 * NSEC_PER_MSEC) /* the first motion after a rest */

double input_pointer_gain(double dx, double dy, uint64_t elapsed_ns)
{
	uint64_t ns = elapsed_ns < MIN_NS ? MIN_NS : elapsed_ns > MAX_NS ? MAX_NS : elapsed_ns;
	double speed = hypot(dx, dy) * NSEC_PER_MSEC / (double)ns;

	if (!(speed > SLOW))
		return 1;
	return speed >= FAST ? MOST : 1 + (MOST - 1) * (speed - SLOW) / (FAST - SLOW);
}

void input_send_wheel(struct input_device *device, bool horizontal, double v120, uint64_t time_ns)
{
	int32_t fine = whole_units(&device->rest_wheel[horizontal], v120);
	int32_t *rest = &device->rest_detent[horizontal];

	if (fine == 0)
		return;
	/* A rest of the other direction must not delay the first detent after turning back. */
	if ((fine > 0) != (*rest > 0))
		*rest = 0;
	*rest += fine;
	input_send(device, EV_REL, horizontal ? REL_HWHEEL_HI_RES : REL_WHEEL_HI_RES, fine, time_ns);
	if (*rest / 120 != 0) {
		input_send(device, EV_REL, horizontal ? REL_HWHEEL : REL_WHEEL, *rest / 120, time_ns);
		*rest %= 120;
	}
}
