/* SPDX-License-Identifier: MIT */
/* Event devices: each event is a line on the serial port. */
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tiny.h"

void input_init(struct input *input)
{
	memset(input, 0, sizeof(*input));
	for (unsigned int i = 0; i < INPUT_MAX; i++)
		input->devices[i].fd = -1;
}

static bool known(const struct input *input, int number)
{
	for (unsigned int i = 0; i < INPUT_MAX; i++) {
		if (input->devices[i].fd >= 0 && input->devices[i].number == number)
			return true;
	}
	return false;
}

void input_scan(struct input *input)
{
	for (int number = 0; number < INPUT_MAX; number++) {
		struct input_device *device = NULL;
		struct input_absinfo x = {0}, y = {0};
		char path[32], name[128] = "?";
		int fd;

		if (known(input, number))
			continue;
		for (unsigned int i = 0; i < INPUT_MAX && !device; i++) {
			if (input->devices[i].fd < 0)
				device = &input->devices[i];
		}
		snprintf(path, sizeof(path), "/dev/input/event%d", number);
		fd = device ? open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1;
		if (fd < 0)
			continue;
		ioctl(fd, EVIOCGNAME(sizeof(name)), name);
		name[sizeof(name) - 1] = 0;
		ioctl(fd, EVIOCGABS(ABS_X), &x);
		ioctl(fd, EVIOCGABS(ABS_Y), &y);
		/* The machine's button, not a key of that code on some keyboard: a test may press every key there is. */
		*device = (struct input_device){
			.fd = fd, .number = number, .max_x = x.maximum, .max_y = y.maximum, .power = !strcmp(name, "Power Button"),
		};
		say("DEV event%d %s", number, name);
	}
}

void input_read(struct input *input, struct input_device *device)
{
	struct input_event events[64];
	ssize_t n;

	while ((n = read(device->fd, events, sizeof(events))) > 0) {
		for (size_t i = 0; i < (size_t)n / sizeof(events[0]); i++) {
			const struct input_event *e = &events[i];

			if (e->type == EV_SYN && e->code == SYN_REPORT) {
				if (input->syn)
					say("SYN event%d", device->number);
				continue;
			}
			say("EV event%d %u %u %d", device->number, e->type, e->code, e->value);
			if (e->type == EV_KEY && e->code == KEY_POWER && e->value == 1 && device->power)
				input->power = true;
			if (e->type == EV_KEY && e->value != 2) {
				input->key = e->code;
				input->key_down = e->value != 0;
				input->key_news = true;
			} else if (e->type == EV_ABS && e->code == ABS_X && device->max_x > 0) {
				input->x = (int)((int64_t)e->value * 1000 / device->max_x);
				input->pointer_news = true;
			} else if (e->type == EV_ABS && e->code == ABS_Y && device->max_y > 0) {
				input->y = (int)((int64_t)e->value * 1000 / device->max_y);
				input->pointer_news = true;
			}
		}
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		say("GONE event%d", device->number);
		close(device->fd);
		device->fd = -1;
	}
}

void input_leds(struct input *input)
{
	input->leds_on = !input->leds_on;
	for (unsigned int i = 0; i < INPUT_MAX; i++) {
		const struct input_device *device = &input->devices[i];
		unsigned long bits[1] = {0};

		if (device->fd < 0 || ioctl(device->fd, EVIOCGBIT(EV_LED, sizeof(bits)), bits) <= 0 || !bits[0])
			continue;
		for (unsigned int led = 0; led < LED_CNT; led++) {
			struct input_event events[2] = {
				{.type = EV_LED, .code = (uint16_t)led, .value = input->leds_on},
				{.type = EV_SYN, .code = SYN_REPORT},
			};

			if (bits[0] >> led & 1 && write(device->fd, events, sizeof(events)) < 0)
				complain("led", errno);
		}
		say("LEDS event%d %s", device->number, input->leds_on ? "on" : "off");
	}
}

void input_keys(const struct input *input)
{
	char list[400] = "";
	size_t used = 0;

	for (unsigned int i = 0; i < INPUT_MAX; i++) {
		const struct input_device *device = &input->devices[i];
		unsigned char bits[KEY_CNT / 8] = {0};

		if (device->fd < 0 || ioctl(device->fd, EVIOCGKEY(sizeof(bits)), bits) < 0)
			continue;
		for (unsigned int code = 0; code < KEY_CNT && used < sizeof(list) - 20; code++)
			if (bits[code / 8] >> (code % 8) & 1)
				used += (size_t)snprintf(list + used, sizeof(list) - used, " event%d:%u", device->number, code);
	}
	say("KEYS%s", used ? list : " none");
}
