/*
 * Input devices: libinput over udev through the session where udev has run, libevdev on /dev/input elsewhere. Turns what
 * happens into router_events. Front thread. Opening a device goes through `open`/`close` (the seat).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "toggle/router.h"

struct wl_event_loop;

struct input_config {
	/* Opens a device node, returns a descriptor or -1 with errno; close gets that descriptor back. */
	int (*open)(void *data, const char *path);
	void (*close)(void *data, int fd);
	const char *seat; /* "seat0"; NULL means that too */
	/* "libinput" or "evdev"; NULL: libinput where udevd runs (it tags the devices libinput takes), else evdev. */
	const char *backend;
	void *data;
	/* One event; EV_REL/EV_ABS of one packet come in a row, then `frame`. */
	void (*event)(void *data, const struct router_event *event);
	/* End of a packet of this device. */
	void (*frame)(void *data, uint32_t device, uint64_t time_ns);
	/* Devices came or went; counts are current. Called once by input_create too. */
	void (*devices)(void *data, uint32_t keyboards, uint32_t pointers);
	/* A laptop's lid was closed or opened; may be told again, and is told when its device is opened and it is closed. NULL: nobody wants to know. */
	void (*lid)(void *data, bool closed);
	/* A device went away (unplugged, suspended, revoked): nothing more comes from this number until it is given again. */
	void (*gone)(void *data, uint32_t device, uint64_t time_ns);
};

/*
 * What arrives, whatever the backend: EV_KEY keys (< BTN_MISC) and BTN_*, never value 2; EV_REL REL_X/REL_Y without acceleration, and
 * with it beside that (libinput's, by its default profile for the device; input_pointer_gain() for mice where libevdev reads them, none for touchpads there),
 * REL_WHEEL/REL_HWHEEL in detents with REL_WHEEL_HI_RES/REL_HWHEEL_HI_RES in 1/120 of one; EV_ABS ABS_X/ABS_Y 0..65535. In one
 * packet motion comes before buttons. Fingers on a touch screen: ABS_MT_TRACKING_ID, ABS_MT_POSITION_X, ABS_MT_POSITION_Y with their slot; one that
 * knows a single finger only and does not say so by slots is an absolute pointer whose finger is BTN_LEFT, and so is a pen's tip.
 */

struct input;
/*
 * NULL, and a line in error and exit status 5 in *exit_status, when there are devices of which none may be opened.
 * No device at all is a state: it succeeds and takes them when they come.
 */
struct input *input_create(struct wl_event_loop *loop, const struct input_config *config, char *error, size_t error_size, int *exit_status);
void input_destroy(struct input *input);
/* The session went inactive / active: devices are closed (`gone` for each, releases before) and reopened. */
void input_suspend(struct input *input);
void input_resume(struct input *input);
/* Keyboard lights, bit per LED_*. */
void input_set_leds(struct input *input, uint32_t leds);
/* A fresh device number for injected events (rayvmctl, UI prompt); there are 8, further callers share the last. */
uint32_t input_injector(struct input *input);
/*
 * Pointer acceleration of the libevdev backend: what motion of so many counts, so long (ns) after the one before, is multiplied by. A slow hand moves a pixel a
 * count, up to 1/2 count a millisecond; from 2 on it moves two. Pure.
 */
double input_pointer_gain(double dx, double dy, uint64_t elapsed_ns);
/* Calls `each` with the name of every device in use. */
void input_list(struct input *input, void (*each)(void *data, const char *name, bool keyboard, bool pointer), void *data);
