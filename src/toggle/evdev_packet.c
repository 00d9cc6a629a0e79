/* From raw evdev events to what the router takes: one device, one packet at a time. No descriptor is touched here. */
#include <libevdev/libevdev.h>
#include <linux/input-event-codes.h>
#include <linux/input.h>
#include <string.h>

#include "base/base.h"
#include "toggle/input_backend.h"

#define ABS_MAX_OUT 65535
/* Touchpads: pointer pixels for one millimetre of finger, and for the pad's width where it does not tell its resolution. */
#define PIXELS_PER_MM 12.0
#define PIXELS_PER_PAD 1000.0

enum { VERTICAL, HORIZONTAL };

static bool has_key_in(struct libevdev *evdev, unsigned from, unsigned end)
{
	for (unsigned code = from; code < end; code++)
		if (libevdev_has_event_code(evdev, EV_KEY, code))
			return true;
	return false;
}

static bool is_touchpad(struct libevdev *evdev)
{
	return libevdev_has_event_code(evdev, EV_KEY, BTN_TOOL_FINGER) && !libevdev_has_event_code(evdev, EV_KEY, BTN_TOOL_PEN) &&
		!libevdev_has_property(evdev, INPUT_PROP_DIRECT);
}

/* Both axes there, from somewhere to somewhere else. */
static bool has_plane(struct libevdev *evdev, unsigned x, unsigned y)
{
	const struct input_absinfo *across = libevdev_get_abs_info(evdev, x), *down = libevdev_get_abs_info(evdev, y);

	return across && down && across->minimum < across->maximum && down->minimum < down->maximum;
}

static bool is_touch_screen(struct libevdev *evdev)
{
	return has_plane(evdev, ABS_MT_POSITION_X, ABS_MT_POSITION_Y) && libevdev_has_event_code(evdev, EV_ABS, ABS_MT_SLOT) && libevdev_has_event_code(evdev, EV_ABS, ABS_MT_TRACKING_ID) &&
		!is_touchpad(evdev) && !libevdev_has_event_code(evdev, EV_REL, REL_X) && /* a mouse that feels fingers is none */
		(libevdev_has_property(evdev, INPUT_PROP_DIRECT) || libevdev_has_event_code(evdev, EV_KEY, BTN_TOUCH));
}

bool evdev_lies(struct libevdev *evdev)
{
	static const unsigned axes[2][2] = { { ABS_X, ABS_Y }, { ABS_MT_POSITION_X, ABS_MT_POSITION_Y } };

	for (int i = 0; i < 2; i++)
		if (libevdev_has_event_code(evdev, EV_ABS, axes[i][0]) && libevdev_has_event_code(evdev, EV_ABS, axes[i][1]) &&
			!has_plane(evdev, axes[i][0], axes[i][1]))
			return true;
	return false;
}

bool evdev_classify(struct libevdev *evdev, bool *keyboard, bool *pointer)
{
	bool absolute = has_plane(evdev, ABS_X, ABS_Y);
	bool relative = libevdev_has_event_code(evdev, EV_REL, REL_X) && libevdev_has_event_code(evdev, EV_REL, REL_Y);
	bool keys = has_key_in(evdev, KEY_ESC, BTN_MISC) || has_key_in(evdev, KEY_OK, BTN_TRIGGER_HAPPY1);
	bool joystick = has_key_in(evdev, BTN_JOYSTICK, BTN_DIGI) || has_key_in(evdev, BTN_TRIGGER_HAPPY1, BTN_TRIGGER_HAPPY40 + 1);
	bool buttons = has_key_in(evdev, BTN_MOUSE, BTN_JOYSTICK) || libevdev_has_event_code(evdev, EV_KEY, BTN_TOUCH);

	*keyboard = libevdev_has_event_code(evdev, EV_KEY, KEY_A) || libevdev_has_event_code(evdev, EV_KEY, KEY_ENTER);
	*pointer = false;
	if (libevdev_has_property(evdev, INPUT_PROP_ACCELEROMETER) || (joystick && !*keyboard))
		return false;
	/* Axes without a button are sensors; a wheel on a keyboard comes with its keys. */
	*pointer = ((relative || absolute) && buttons) || is_touch_screen(evdev);
	return keys || *pointer;
}

void evdev_packet_init(struct evdev_packet *packet, struct libevdev *evdev, struct input_device *device)
{
	static const unsigned axes[2] = { ABS_X, ABS_Y }, touch_axes[2] = { ABS_MT_POSITION_X, ABS_MT_POSITION_Y };

	memset(packet, 0, sizeof(*packet));
	packet->device = device;
	packet->touchpad = is_touchpad(evdev);
	packet->touch = device->pointer && is_touch_screen(evdev);
	packet->absolute = device->pointer && !packet->touchpad && !packet->touch && has_plane(evdev, ABS_X, ABS_Y);
	packet->fine_wheel[VERTICAL] = libevdev_has_event_code(evdev, EV_REL, REL_WHEEL_HI_RES);
	packet->fine_wheel[HORIZONTAL] = libevdev_has_event_code(evdev, EV_REL, REL_HWHEEL_HI_RES);
	packet->slot = libevdev_get_current_slot(evdev);
	for (uint32_t i = 0; i < EVDEV_PACKET_SLOTS; i++)
		packet->finger_slot[i].id = -1; /* what lies there already is not for us */
	/* The kernel does not repeat a coordinate that stands: the next finger may begin where the last one was. */
	for (int slot = 0; packet->touch && slot < EVDEV_PACKET_SLOTS && slot < libevdev_get_num_slots(evdev); slot++)
		for (int i = 0; i < 2; i++)
			packet->finger_slot[slot].at[i] = libevdev_get_slot_value(evdev, (unsigned)slot, touch_axes[i]);
	for (int i = 0; i < 2; i++) {
		const struct input_absinfo *touch = libevdev_get_abs_info(evdev, touch_axes[i]);
		packet->touch_min[i] = touch ? touch->minimum : 0;
		packet->touch_max[i] = touch ? touch->maximum : 0;
		const struct input_absinfo *info = libevdev_get_abs_info(evdev, axes[i]);
		if (!info)
			continue;
		packet->min[i] = info->minimum;
		packet->max[i] = info->maximum;
		int64_t range = (int64_t)info->maximum - info->minimum;
		if (info->resolution > 0)
			packet->gain[i] = PIXELS_PER_MM / info->resolution;
		else
			packet->gain[i] = range > 0 ? PIXELS_PER_PAD / (double)range : 0;
	}
}

static int32_t scale_abs(int32_t value, int32_t min, int32_t max)
{
	int64_t range = (int64_t)max - min;
	int64_t offset = (int64_t)value - min;

	if (range <= 0 || offset <= 0)
		return 0;
	return offset >= range ? ABS_MAX_OUT : (int32_t)(offset * ABS_MAX_OUT / range);
}

static void send_absolute(struct evdev_packet *packet, uint64_t time_ns)
{
	static const uint16_t axes[2] = { ABS_X, ABS_Y };

	for (int i = 0; i < 2; i++)
		if (packet->moved[i])
			input_send(packet->device, EV_ABS, axes[i], scale_abs(packet->abs[i], packet->min[i], packet->max[i]), time_ns);
}

static void send_fingers(struct evdev_packet *packet, uint64_t time_ns)
{
	for (uint32_t slot = 0; slot < EVDEV_PACKET_SLOTS; slot++) {
		bool down = packet->finger_slot[slot].id >= 0;
		if (!packet->finger_slot[slot].changed)
			continue;
		packet->finger_slot[slot].changed = false;
		if (packet->finger_slot[slot].down && (!down || packet->finger_slot[slot].replaced)) {
			input_send_touch(packet->device, INPUT_TOUCH_UP, slot, 0, 0, time_ns);
			packet->finger_slot[slot].down = false;
		}
		packet->finger_slot[slot].replaced = false;
		if (down)
			input_send_touch(packet->device, packet->finger_slot[slot].down ? INPUT_TOUCH_MOVE : INPUT_TOUCH_DOWN, slot,
				scale_abs(packet->finger_slot[slot].at[0], packet->touch_min[0], packet->touch_max[0]),
				scale_abs(packet->finger_slot[slot].at[1], packet->touch_min[1], packet->touch_max[1]), time_ns);
		packet->finger_slot[slot].down = down;
	}
}

/* A touchpad is a mouse: what counts is how far the finger went since the last packet. */
static void send_touchpad(struct evdev_packet *packet, uint64_t time_ns)
{
	double delta[2] = { 0, 0 };

	for (int i = 0; i < 2; i++) {
		if (!packet->moved[i] || !packet->finger)
			continue;
		if (packet->last_valid[i])
			delta[i] = ((double)packet->abs[i] - packet->last[i]) * packet->gain[i];
		packet->last[i] = packet->abs[i];
		packet->last_valid[i] = true;
	}
	input_send_motion(packet->device, delta, delta, time_ns);
}

static void send_mouse(struct evdev_packet *packet, uint64_t time_ns)
{
	double raw[2] = { packet->rel[0], packet->rel[1] };
	double gain = input_pointer_gain(raw[0], raw[1], time_ns > packet->moved_ns ? time_ns - packet->moved_ns : 0);

	packet->moved_ns = time_ns;
	input_send_motion(packet->device, raw, (double[2]){ raw[0] * gain, raw[1] * gain }, time_ns);
}

static void send_keys(struct evdev_packet *packet, uint64_t time_ns)
{
	for (uint32_t i = 0; i < packet->n_keys; i++)
		input_send(packet->device, EV_KEY, packet->key[i].code, packet->key[i].value, time_ns);
	packet->n_keys = 0;
}

static void finish(struct evdev_packet *packet, uint64_t time_ns)
{
	/* Motion first: a touch must land where the finger is, not where it was. */
	if (packet->rel[0] != 0 || packet->rel[1] != 0)
		send_mouse(packet, time_ns);
	if (packet->touchpad)
		send_touchpad(packet, time_ns);
	else if (packet->touch)
		send_fingers(packet, time_ns);
	else if (packet->absolute)
		send_absolute(packet, time_ns);
	for (int i = 0; i < 2; i++)
		if (packet->wheel[i] != 0)
			input_send_wheel(packet->device, i == HORIZONTAL, (double)packet->wheel[i] * (packet->fine_wheel[i] ? 1 : 120), time_ns);
	send_keys(packet, time_ns);
	input_frame(packet->device, time_ns);
	memset(packet->rel, 0, sizeof(packet->rel));
	memset(packet->wheel, 0, sizeof(packet->wheel));
	memset(packet->moved, 0, sizeof(packet->moved));
}

static void add_key(struct evdev_packet *packet, uint16_t code, int32_t value, uint64_t time_ns)
{
	if (packet->n_keys == EVDEV_PACKET_KEYS)
		send_keys(packet, time_ns);
	packet->key[packet->n_keys].code = code;
	packet->key[packet->n_keys].value = value;
	packet->n_keys++;
}

static void key_event(struct evdev_packet *packet, uint16_t code, int32_t value, uint64_t time_ns)
{
	switch (code) {
	case BTN_TOUCH:
		if (packet->touchpad) {
			packet->finger = value != 0;
			packet->last_valid[0] = packet->last_valid[1] = false;
		} else if (!packet->touch) {
			add_key(packet, BTN_LEFT, value, time_ns);
		}
		return;
	case BTN_STYLUS:
		add_key(packet, BTN_RIGHT, value, time_ns);
		return;
	case BTN_STYLUS2:
		add_key(packet, BTN_MIDDLE, value, time_ns);
		return;
	default:
		break;
	}
	if (code >= BTN_DIGI && code < BTN_WHEEL) {
		/* BTN_TOOL_*: which tool, how many fingers. With their number the reported position jumps. */
		packet->last_valid[0] = packet->last_valid[1] = false;
		return;
	}
	add_key(packet, code, value, time_ns);
}

static void rel_event(struct evdev_packet *packet, uint16_t code, int32_t value)
{
	int axis = code == REL_HWHEEL || code == REL_HWHEEL_HI_RES ? HORIZONTAL : VERTICAL;

	switch (code) {
	case REL_X:
		packet->rel[0] = value;
		break;
	case REL_Y:
		packet->rel[1] = value;
		break;
	case REL_WHEEL:
	case REL_HWHEEL:
		if (!packet->fine_wheel[axis])
			packet->wheel[axis] = value;
		break;
	case REL_WHEEL_HI_RES:
	case REL_HWHEEL_HI_RES:
		packet->wheel[axis] = value;
		break;
	default:
		break;
	}
}

static void finger_event(struct evdev_packet *packet, uint16_t code, int32_t value)
{
	int32_t slot = packet->slot;

	if (code == ABS_MT_SLOT) {
		packet->slot = value;
		return;
	}
	if (slot < 0 || slot >= EVDEV_PACKET_SLOTS)
		return;
	if (code == ABS_MT_TRACKING_ID) {
		/* Another finger in the same slot, its lifting lost or left out. */
		packet->finger_slot[slot].replaced |= packet->finger_slot[slot].down && packet->finger_slot[slot].id != value;
		packet->finger_slot[slot].id = value < 0 ? -1 : value;
	} else {
		packet->finger_slot[slot].at[code == ABS_MT_POSITION_Y] = value;
	}
	packet->finger_slot[slot].changed = true;
}

void evdev_packet_event(struct evdev_packet *packet, const struct input_event *event)
{
	uint64_t time_ns = (uint64_t)event->input_event_sec * NSEC_PER_SEC + (uint64_t)event->input_event_usec * NSEC_PER_USEC;

	switch (event->type) {
	case EV_KEY:
		if (event->value == 0 || event->value == 1) /* 2: the kernel's repeat */
			key_event(packet, event->code, event->value, time_ns);
		break;
	case EV_REL:
		rel_event(packet, event->code, event->value);
		break;
	case EV_ABS:
		if (event->code == ABS_X || event->code == ABS_Y) {
			packet->abs[event->code == ABS_Y] = event->value;
			packet->moved[event->code == ABS_Y] = true;
		} else if (packet->touch && (event->code == ABS_MT_SLOT || event->code == ABS_MT_TRACKING_ID || event->code == ABS_MT_POSITION_X ||
						    event->code == ABS_MT_POSITION_Y)) {
			finger_event(packet, event->code, event->value);
		}
		break;
	case EV_SYN:
		if (event->code == SYN_REPORT)
			finish(packet, time_ns);
		break;
	default:
		break;
	}
}
