/* Inside input: what the two backends (input_libinput.c, input_evdev.c) share. Front thread. */
#pragma once

#include "toggle/input.h"

/* Numbers below are physical devices, the rest up to ROUTER_DEVICES injectors. */
#define INPUT_PHYSICAL (ROUTER_DEVICES - 8)

struct input_device {
	struct input *input;
	uint32_t number;
	bool used, keyboard, pointer;
	bool sent;                   /* something in the present packet */
	char name[64];
	double rest[2], rest_fast[2]; /* motion not yet sent, less than one unit; the same of accelerated motion. [0] x, [1] y */
	double rest_wheel[2];        /* 1/120 detents not yet sent, less than one; [0] vertical, [1] horizontal */
	int32_t rest_detent[2];      /* 1/120 detents sent that do not make a whole detent yet */
};

struct input_backend {
	const char *name;
	/* State of the backend, or NULL and a line in error. Devices that are there are opened before it returns. */
	void *(*create)(struct input *input, char *error, size_t error_size);
	void (*destroy)(void *state);
	void (*suspend)(void *state);
	void (*resume)(void *state);
	void (*set_leds)(void *state, uint32_t leds);
};

extern const struct input_backend input_libinput, input_evdev;

struct input {
	struct wl_event_loop *loop;
	struct input_config config;
	char seat[64];
	const struct input_backend *backend;
	void *state;
	struct input_device device[INPUT_PHYSICAL];
	uint32_t injectors;
	uint32_t leds;
	uint32_t opened, refused; /* results of opening since creation */
	int refused_errno;
	bool closing; /* input_destroy: no calls back any more */
	bool changed; /* the set of devices; to be reported */
};

/* Opens through the seat and keeps the score that decides whether a start without devices is an error. -1 with errno. */
int input_open(struct input *input, const char *path);
/* A number for a device; NULL when all are taken (logged). */
struct input_device *input_device_add(struct input *input, const char *name, bool keyboard, bool pointer);
/* Tells `gone` and frees the number. NULL is allowed. */
void input_device_remove(struct input_device *device, uint64_t time_ns);
/* Reports the counts if the set of devices changed since the last call. */
void input_report(struct input *input);

void input_send(struct input_device *device, uint16_t type, uint16_t code, int32_t value, uint64_t time_ns);
/* A finger (slot) touches, at 0..65535 across the panel; moves; or is lifted. */
enum input_touch { INPUT_TOUCH_DOWN, INPUT_TOUCH_MOVE, INPUT_TOUCH_UP };
void input_send_touch(struct input_device *device, enum input_touch what, uint32_t slot, int32_t x, int32_t y, uint64_t time_ns);
/* Ends the packet; a packet in which nothing was sent is none. */
void input_frame(struct input_device *device, uint64_t time_ns);
/* Relative motion with fractions, as it is and accelerated: sends whole units, keeps the rests. */
void input_send_motion(struct input_device *device, const double raw[2], const double fast[2], uint64_t time_ns);
/* Wheel in 1/120 of a detent, positive up and right: sends the fine event, and the coarse one for each whole detent. */
void input_send_wheel(struct input_device *device, bool horizontal, double v120, uint64_t time_ns);

/* --- evdev_packet.c: the pure part of the evdev backend --- */

struct libevdev;
struct input_event;

#define EVDEV_PACKET_KEYS 32
#define EVDEV_PACKET_SLOTS 10

struct evdev_packet {
	struct input_device *device;
	bool absolute, touchpad;   /* what ABS_X and ABS_Y mean */
	bool touch;                /* a touch screen with slots; its ABS_X, ABS_Y and BTN_TOUCH only repeat them */
	bool fine_wheel[2];        /* the kernel sends the fine event itself */
	int32_t min[2], max[2];    /* of ABS_X, ABS_Y */
	double gain[2];            /* touchpad: pixels per unit */
	bool finger;               /* touchpad: touched, `last` is valid once set */
	bool last_valid[2];
	int32_t last[2];
	/* the packet being read */
	uint64_t moved_ns; /* of the last motion of a mouse */
	int32_t rel[2];
	int32_t wheel[2]; /* in the unit that fine_wheel says */
	bool moved[2];
	int32_t abs[2];
	/* touch: as it is known so far */
	int32_t slot; /* which one the next events are of; not below EVDEV_PACKET_SLOTS: one to ignore */
	int32_t touch_min[2], touch_max[2];
	struct {
		int32_t id, at[2]; /* id -1: no finger */
		bool down;         /* told */
		bool replaced;     /* the finger was told is another now */
		bool changed;
	} finger_slot[EVDEV_PACKET_SLOTS];
	uint32_t n_keys;
	struct {
		uint16_t code;
		int32_t value;
	} key[EVDEV_PACKET_KEYS];
};

/* Looks at the device's capabilities. False: nothing here for us (joystick, accelerometer, lid switch, ...). */
bool evdev_classify(struct libevdev *evdev, bool *keyboard, bool *pointer);
/* It says that it has a plane to point at, and that the plane has no width or no height: such axes are not used. */
bool evdev_lies(struct libevdev *evdev);
void evdev_packet_init(struct evdev_packet *packet, struct libevdev *evdev, struct input_device *device);
/* Takes one event; at SYN_REPORT the packet goes out through input_send. */
void evdev_packet_event(struct evdev_packet *packet, const struct input_event *event);
