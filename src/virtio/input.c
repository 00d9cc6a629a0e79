/* virtio-input: evdev packets into the event queue, LEDs out of the status queue. virtio 1.2, section 5.8. */
#include "virtio/input.h"

#define LOG_MODULE "input"
#include "base/base.h"
#include "base/log.h"
#include "base/stats.h"

#include <errno.h>
#include <linux/input.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVENT_QUEUE 0
#define STATUS_QUEUE 1
#define QUEUE_SIZE 64 /* what Linux' driver fills at most (drivers/virtio/virtio_input.c, evts[64]) */

/* Section 5.8.4. */
enum { CFG_UNSET = 0x00, CFG_ID_NAME = 0x01, CFG_ID_SERIAL = 0x02, CFG_ID_DEVIDS = 0x03, CFG_PROP_BITS = 0x10, CFG_EV_BITS = 0x11, CFG_ABS_INFO = 0x12 };

struct input_config {
	uint8_t select, subsel, size, reserved[5];
	union {
		char string[128];
		uint8_t bitmap[128];
		struct {
			uint32_t min, max, fuzz, flat, resolution;
		} abs;
		struct {
			uint16_t bus, vendor, product, version;
		} ids;
	};
};
_Static_assert(sizeof(struct input_config) == 136, "section 5.8.4");

struct wire_event {
	uint16_t type, code;
	uint32_t value;
};

_Static_assert(VINPUT_KEY_WORDS * 64 >= KEY_CNT, "a bit for each key");

struct vinput {
	struct virtio_device device;
	enum link_device kind;
	struct stats *stats; /* borrowed, may be NULL */
	struct log_limit marker_limit;
	/* Under the device's lock. */
	bool paused;
	struct vinput_state state;
	bool leds_changed; /* since they were last asked for */
	struct virtq_chain chain; /* scratch */
};

static struct vinput *of(struct virtio_device *device)
{
	return container_of(device, struct vinput, device);
}

/* --- what each device can do ------------------------------------------------------------------------------------------ */

static const char *const names[] = {
	[LINK_KEYBOARD] = "rayvm keyboard",
	[LINK_POINTER_RELATIVE] = "rayvm mouse",
	[LINK_POINTER_ABSOLUTE] = "rayvm tablet",
	[LINK_TOUCH] = "rayvm touch screen",
};

/* Slots for those who know several fingers, and the first one as a pointer for the others (Linux' Documentation/input/multi-touch-protocol.rst). */
static bool touch_has_code(uint32_t type, uint32_t code)
{
	if (type == EV_ABS)
		return code == ABS_X || code == ABS_Y || code == ABS_MT_SLOT || code == ABS_MT_TRACKING_ID || code == ABS_MT_POSITION_X || code == ABS_MT_POSITION_Y;
	return type == EV_KEY && code == BTN_TOUCH;
}

static bool has_code(enum link_device kind, uint32_t type, uint32_t code)
{
	if (kind == LINK_TOUCH)
		return touch_has_code(type, code);
	bool pointer = kind != LINK_KEYBOARD;
	switch (type) {
	case EV_KEY:
		if (pointer)
			return code >= BTN_LEFT && code <= BTN_TASK;
		/* Keys, but none of the buttons (0x100..0x15f) by which udev tells mice and joysticks from keyboards. */
		return (code >= KEY_ESC && code <= KEY_MICMUTE) || (code >= KEY_OK && code < 0x200);
	case EV_REL:
		if (code == REL_X || code == REL_Y)
			return kind == LINK_POINTER_RELATIVE;
		return pointer && (code == REL_WHEEL || code == REL_HWHEEL || code == REL_WHEEL_HI_RES || code == REL_HWHEEL_HI_RES);
	case EV_ABS:
		return kind == LINK_POINTER_ABSOLUTE && (code == ABS_X || code == ABS_Y);
	case EV_LED:
		return !pointer && (code == LED_NUML || code == LED_CAPSL || code == LED_SCROLLL);
	case EV_REP:
		/* The guest repeats keys itself: repeats of the host are never sent. */
		return !pointer && (code == REP_DELAY || code == REP_PERIOD);
	}
	return false;
}

static void fill_bits(struct input_config *config, enum link_device kind, uint8_t type)
{
	if (type == EV_SYN)
		return;
	for (uint32_t code = 0; code < 8 * sizeof(config->bitmap); code++) {
		if (has_code(kind, type, code)) {
			config->bitmap[code / 8] |= (uint8_t)(1u << (code % 8));
			config->size = (uint8_t)(code / 8 + 1);
		}
	}
}

/* What the registers select; what is not known has size 0. */
static void fill_config(const struct vinput *input, struct input_config *config)
{
	enum link_device kind = input->kind;
	memset(config, 0, sizeof(*config));
	config->select = input->state.select;
	config->subsel = input->state.subsel;
	if (config->select != CFG_EV_BITS && config->select != CFG_ABS_INFO && config->subsel != 0)
		return;
	switch (config->select) {
	case CFG_ID_NAME:
		config->size = (uint8_t)strlen(names[kind]);
		memcpy(config->string, names[kind], config->size);
		break;
	case CFG_ID_DEVIDS:
		config->size = sizeof(config->ids);
		config->ids.bus = BUS_VIRTUAL;
		config->ids.vendor = 0x1af4;
		config->ids.product = (uint16_t)(1 + kind);
		config->ids.version = 1;
		break;
	case CFG_PROP_BITS:
		if (kind == LINK_TOUCH) {
			config->size = 1;
			config->bitmap[0] = 1u << INPUT_PROP_DIRECT;
		}
		break;
	case CFG_EV_BITS:
		fill_bits(config, kind, config->subsel);
		break;
	case CFG_ABS_INFO:
		if (has_code(kind, EV_ABS, config->subsel)) {
			config->size = sizeof(config->abs);
			config->abs.max = config->subsel == ABS_MT_SLOT ? VINPUT_TOUCHES - 1 : VINPUT_ABS_MAX;
		}
		break;
	}
}

static void input_config_read(struct virtio_device *device, uint32_t offset, void *data, uint32_t size)
{
	struct input_config config;
	fill_config(of(device), &config);
	memcpy(data, (const uint8_t *)&config + offset, size);
}

static void input_config_write(struct virtio_device *device, uint32_t offset, const void *data, uint32_t size)
{
	struct vinput *input = of(device);
	const uint8_t *untrusted_bytes = data;
	/* Only the two selectors may be written. */
	for (uint32_t i = 0; i < size; i++) {
		if (offset + i == offsetof(struct input_config, select))
			input->state.select = untrusted_bytes[i];
		else if (offset + i == offsetof(struct input_config, subsel))
			input->state.subsel = untrusted_bytes[i];
	}
}

/* --- events ------------------------------------------------------------------------------------------------------------ */

static bool get_bit(const uint64_t *bits, uint32_t code)
{
	return bits[code / 64] >> (code % 64) & 1;
}

static void set_bit(uint64_t *bits, uint32_t code, bool value)
{
	uint64_t mask = 1ull << (code % 64);
	bits[code / 64] = value ? bits[code / 64] | mask : bits[code / 64] & ~mask;
}

/* Writes events into as many buffers of the guest. False: the guest broke its ring. There are enough buffers, says the ring. */
static bool write_events(struct vinput *input, const struct wire_event *event, uint32_t n)
{
	struct virtio_device *device = &input->device;
	struct virtq *queue = &device->queue[EVENT_QUEUE];
	for (uint32_t i = 0; i < n; i++) {
		const char *why = "the available index went backwards";
		if (virtq_pop(queue, &input->chain, &why) != 1) {
			virtio_needs_reset(device, why);
			return false;
		}
		if (virtq_chain_write(&input->chain, 0, &event[i], sizeof(event[i])) != sizeof(event[i])) {
			virtio_needs_reset(device, "an event buffer is smaller than an event");
			return false;
		}
		virtq_push(queue, input->chain.head, sizeof(event[i]));
	}
	return true;
}

/* Room for `want` events; when there is less, asks to be told of more. */
static uint32_t room(struct virtq *queue, uint32_t want)
{
	uint32_t have = virtq_available(queue);
	while (have < want && virtq_rearm_beyond(queue, have)) {
		uint32_t now = virtq_available(queue);
		/* A full count, or one that does not grow, is an index that lies; reading the ring will tell. */
		if (now <= have)
			break;
		have = now;
	}
	return have;
}

/* A packet's events, the touch screen's additions, and SYN_REPORT. */
#define WIRE_EVENTS (LINK_EVENTS_PER_MESSAGE + 4)

static bool touched(const struct vinput *input, uint32_t slot)
{
	return slot < VINPUT_TOUCHES && input->state.touched >> slot & 1;
}

/* The guest knows now of these events. */
static void told_touches(struct vinput *input, const struct wire_event *event, uint32_t n)
{
	uint32_t slot = VINPUT_TOUCHES;
	for (uint32_t i = 0; i < n; i++) {
		if (event[i].type != EV_ABS)
			continue;
		if (event[i].code == ABS_MT_SLOT)
			slot = event[i].value;
		if (event[i].code != ABS_MT_TRACKING_ID || slot >= VINPUT_TOUCHES)
			continue;
		uint16_t mask = (uint16_t)(1u << slot);
		input->state.touched = event[i].value <= VINPUT_ABS_MAX ? input->state.touched | mask : input->state.touched & (uint16_t)~mask;
		input->state.lifts_owed &= (uint16_t)~mask;
	}
	set_bit(input->state.told, BTN_TOUCH, input->state.touched != 0);
}

/* As pay_releases(), for fingers: one at a time, because the guest may have made a small ring. */
static bool pay_lifts(struct vinput *input)
{
	for (uint32_t slot = 0; slot < VINPUT_TOUCHES; slot++) {
		struct wire_event event[4] = { { EV_ABS, ABS_MT_SLOT, slot }, { EV_ABS, ABS_MT_TRACKING_ID, UINT32_MAX } };
		uint32_t n = 2;
		if (!(input->state.lifts_owed >> slot & 1))
			continue;
		if (input->state.touched == 1u << slot)
			event[n++] = (struct wire_event){ EV_KEY, BTN_TOUCH, 0 };
		event[n++] = (struct wire_event){ EV_SYN, SYN_REPORT, 0 };
		if (room(&input->device.queue[EVENT_QUEUE], n) < n || !write_events(input, event, n))
			return false;
		told_touches(input, event, n);
		virtio_notify_queue(&input->device, EVENT_QUEUE);
	}
	return true;
}

/* Delivers releases that found no room, as far as there is some now. True when none is owed any more. */
static bool pay_releases(struct vinput *input)
{
	struct virtio_device *device = &input->device;
	if (input->kind == LINK_TOUCH)
		return pay_lifts(input);
	for (;;) {
		struct wire_event event[QUEUE_SIZE];
		uint32_t n = 0;
		for (uint32_t code = 0; code < KEY_CNT && n < QUEUE_SIZE - 1; code++) {
			if (get_bit(input->state.owed, code))
				event[n++] = (struct wire_event){ EV_KEY, (uint16_t)code, 0 };
		}
		if (n == 0)
			return true;
		uint32_t have = room(&device->queue[EVENT_QUEUE], n + 1);
		if (have < 2)
			return false;
		if (n > have - 1)
			n = have - 1;
		event[n] = (struct wire_event){ EV_SYN, SYN_REPORT, 0 };
		if (!write_events(input, event, n + 1))
			return false;
		for (uint32_t i = 0; i < n; i++) {
			set_bit(input->state.owed, event[i].code, false);
			set_bit(input->state.told, event[i].code, false);
		}
		virtio_notify_queue(device, EVENT_QUEUE);
	}
}

/*
 * What of a touch packet the guest gets to see: fingers it knows of, at places on the screen, and what a pointer's user needs: whether
 * any finger is down, and where the first one is. Returns the number of events, without the SYN_REPORT.
 */
static uint32_t filter_touch(const struct vinput *input, const struct link_message *message, struct wire_event *out)
{
	static const uint16_t pointer[2] = { ABS_X, ABS_Y };
	uint32_t n = 0, news = 0, slot = VINPUT_TOUCHES, down = input->state.touched, place[2] = { 0 };
	bool moved[2] = { false };
	for (uint32_t i = 0; i < min_u32(message->input.count, LINK_EVENTS_PER_MESSAGE); i++) {
		const struct link_event *event = &message->input.event[i];
		bool y = event->code == ABS_MT_POSITION_Y;
		if (event->type != EV_ABS)
			continue;
		if (event->code == ABS_MT_SLOT) {
			slot = event->value < 0 ? VINPUT_TOUCHES : (uint32_t)event->value;
			if (slot < VINPUT_TOUCHES)
				out[n++] = (struct wire_event){ EV_ABS, ABS_MT_SLOT, slot };
			continue;
		}
		if (slot >= VINPUT_TOUCHES)
			continue;
		bool known = down >> slot & 1;
		if (event->code == ABS_MT_TRACKING_ID && (known || event->value >= 0)) {
			down = event->value >= 0 ? down | 1u << slot : down & ~(1u << slot);
			out[n++] = (struct wire_event){ EV_ABS, ABS_MT_TRACKING_ID, event->value < 0 ? UINT32_MAX : (uint32_t)event->value & VINPUT_ABS_MAX };
			news++;
		} else if ((y || event->code == ABS_MT_POSITION_X) && known) {
			place[y] = event->value < 0 ? 0 : min_u32((uint32_t)event->value, VINPUT_ABS_MAX);
			moved[y] = (uint32_t)__builtin_ctz(down) == slot;
			out[n++] = (struct wire_event){ EV_ABS, event->code, place[y] };
			news++;
		}
	}
	if (news == 0)
		return 0;
	for (int i = 0; i < 2; i++)
		if (moved[i])
			out[n++] = (struct wire_event){ EV_ABS, pointer[i], place[i] };
	if ((down != 0) != (input->state.touched != 0))
		out[n++] = (struct wire_event){ EV_KEY, BTN_TOUCH, down != 0 };
	return n;
}

/*
 * What of a packet the guest gets to see: declared codes; no repeats; no release of a key it does not believe held, and so
 * none whose press was dropped. Returns the number of events, without the SYN_REPORT.
 */
static uint32_t filter(const struct vinput *input, const struct link_message *message, struct wire_event *out)
{
	uint32_t n = 0, count = min_u32(message->input.count, LINK_EVENTS_PER_MESSAGE);
	if (input->kind == LINK_TOUCH)
		return filter_touch(input, message, out);
	uint64_t told[VINPUT_KEY_WORDS]; /* as it develops: a packet may hold a press and its release */
	memcpy(told, input->state.told, sizeof(told));
	for (uint32_t i = 0; i < count; i++) {
		const struct link_event *event = &message->input.event[i];
		uint32_t value = (uint32_t)event->value;
		if (!has_code(input->kind, event->type, event->code) || event->type == EV_LED || event->type == EV_REP)
			continue;
		if (event->type == EV_KEY) {
			if (value > 1 || (value == 0 && !get_bit(told, event->code)))
				continue;
			set_bit(told, event->code, value == 1);
		}
		if (event->type == EV_ABS)
			value = event->value < 0 ? 0 : min_u32(value, VINPUT_ABS_MAX);
		out[n++] = (struct wire_event){ event->type, event->code, value };
	}
	return n;
}

/* The packet found no room: of its keys only the releases that the guest has to learn of are kept. */
static void drop_packet(struct vinput *input, const struct wire_event *event, uint32_t n)
{
	uint32_t slot = VINPUT_TOUCHES;
	for (uint32_t i = 0; i < n; i++) {
		if (event[i].type == EV_ABS && event[i].code == ABS_MT_SLOT)
			slot = event[i].value;
		/* A finger whose touch was dropped is none for the guest, whatever was there before. */
		if (event[i].type == EV_ABS && event[i].code == ABS_MT_TRACKING_ID && touched(input, slot))
			input->state.lifts_owed |= (uint16_t)(1u << slot);
		if (input->kind == LINK_TOUCH)
			continue;
		/* A key pressed again before its release was delivered simply stays held. */
		if (event[i].type == EV_KEY && get_bit(input->state.told, event[i].code))
			set_bit(input->state.owed, event[i].code, event[i].value == 0);
	}
	if (input->stats != NULL)
		atomic_fetch_add_explicit(&input->stats->input_dropped, 1, memory_order_relaxed);
}

static void delivered(struct vinput *input, const struct wire_event *event, uint32_t n, uint64_t time_ns)
{
	bool key = false;
	if (input->kind == LINK_TOUCH)
		told_touches(input, event, n);
	for (uint32_t i = 0; i < n; i++) {
		if (event[i].type != EV_KEY)
			continue;
		key = true;
		set_bit(input->state.told, event[i].code, event[i].value == 1);
	}
	virtio_notify_queue(&input->device, EVENT_QUEUE);
	uint64_t now = clock_now_ns();
	if (key && input->stats != NULL && now >= time_ns)
		histogram_record_us(&input->stats->key_guest_us, (now - time_ns) / NSEC_PER_USEC);
	uint32_t left_out;
	if (log_limit_pass(&input->marker_limit, &left_out))
		log_marker("RAYOS_VMM:VIRTIO_INPUT:EVENT_WRITTEN");
}

void vinput_packet(struct vinput *input, const struct link_message *message)
{
	struct virtio_device *device = &input->device;
	struct wire_event event[WIRE_EVENTS];
	if (message->input.device != (uint32_t)input->kind)
		return;
	pthread_mutex_lock(&device->lock);
	/* Without a driver nobody believes any key held, and there is nothing to tell. */
	if (device->live) {
		bool clear = !input->paused && pay_releases(input);
		uint32_t n = filter(input, message, event);
		if (n > 0 && device->live) {
			event[n] = (struct wire_event){ EV_SYN, SYN_REPORT, 0 };
			if (!clear || room(&device->queue[EVENT_QUEUE], n + 1) < n + 1)
				drop_packet(input, event, n);
			else if (write_events(input, event, n + 1))
				delivered(input, event, n, message->input.time_ns);
		}
	}
	pthread_mutex_unlock(&device->lock);
}

bool vinput_has_room(struct vinput *input, const struct link_message *message)
{
	struct virtio_device *device = &input->device;
	struct wire_event event[WIRE_EVENTS];
	bool result = true;
	pthread_mutex_lock(&device->lock);
	if (device->live && !input->paused) {
		bool clear = pay_releases(input);
		uint32_t n = filter(input, message, event);
		/* A ring that turned out broken takes nothing any more: no reason to wait for it. */
		result = !device->live || n == 0 || (clear && room(&device->queue[EVENT_QUEUE], n + 1) >= n + 1);
	}
	pthread_mutex_unlock(&device->lock);
	return result;
}

/* --- status queue ------------------------------------------------------------------------------------------------------- */

static void take_status(struct vinput *input)
{
	struct wire_event untrusted;
	if (virtq_chain_read(&input->chain, 0, &untrusted, sizeof(untrusted)) != sizeof(untrusted) ||
		untrusted.type != EV_LED || !has_code(input->kind, EV_LED, untrusted.code))
		return;
	uint32_t mask = 1u << untrusted.code;
	uint32_t leds = untrusted.value != 0 ? input->state.leds | mask : input->state.leds & ~mask;
	if (leds != input->state.leds) {
		input->state.leds = leds;
		input->leds_changed = true;
	}
}

static bool run_status(struct vinput *input)
{
	struct virtio_device *device = &input->device;
	struct virtq *queue = &device->queue[STATUS_QUEUE];
	for (uint32_t served = 0; served < QUEUE_SIZE; served++) {
		const char *why;
		int got = virtq_pop(queue, &input->chain, &why);
		if (got < 0) {
			virtio_needs_reset(device, why);
			return false;
		}
		if (got == 0 && !virtq_rearm(queue))
			return false;
		if (got == 0)
			continue;
		take_status(input);
		virtq_push(queue, input->chain.head, 0);
	}
	return true;
}

bool vinput_take_leds(struct vinput *input, uint32_t *leds)
{
	pthread_mutex_lock(&input->device.lock);
	bool changed = input->leds_changed;
	*leds = input->state.leds;
	input->leds_changed = false;
	pthread_mutex_unlock(&input->device.lock);
	return changed;
}

/* --- device --------------------------------------------------------------------------------------------------------------- */

static bool input_run(struct virtio_device *device, uint32_t index)
{
	struct vinput *input = of(device);
	bool more = false;
	pthread_mutex_lock(&device->lock);
	if (device->live && !input->paused) {
		if (index == EVENT_QUEUE) {
			pay_releases(input);
		} else {
			more = run_status(input);
			if (device->live)
				virtio_notify_queue(device, STATUS_QUEUE);
		}
	}
	pthread_mutex_unlock(&device->lock);
	return more;
}

static void input_reset(struct virtio_device *device)
{
	struct vinput *input = of(device);
	/* The next driver knows of no key; its lights start dark. */
	input->leds_changed |= input->state.leds != 0;
	input->state = (struct vinput_state){ .kind = (uint32_t)input->kind };
}

static uint32_t input_save(struct virtio_device *device, void *to, uint32_t size)
{
	struct vinput_state state = of(device)->state;
	return state_put(to, size, &state, sizeof(state), STATE_INPUT, VINPUT_STATE_VERSION);
}

/* Keys and lights of this kind only, and no release is owed of a key that is not held. */
static bool bits_ok(enum link_device kind, const struct vinput_state *untrusted)
{
	for (uint32_t code = 0; code < 64 * VINPUT_KEY_WORDS; code++) {
		bool told = get_bit(untrusted->told, code), owed = get_bit(untrusted->owed, code);
		if ((told && !has_code(kind, EV_KEY, code)) || (owed && !told))
			return false;
	}
	bool any = get_bit(untrusted->told, BTN_TOUCH);
	if (kind == LINK_TOUCH ? any != (untrusted->touched != 0) : untrusted->touched != 0)
		return false;
	if (untrusted->touched >> VINPUT_TOUCHES != 0 || (untrusted->lifts_owed & ~untrusted->touched) != 0)
		return false;
	for (uint32_t code = 0; code < 32; code++)
		if ((untrusted->leds >> code & 1) && !has_code(kind, EV_LED, code))
			return false;
	return true;
}

static bool input_load(struct virtio_device *device, const void *from, uint32_t size)
{
	struct vinput *input = of(device);
	struct vinput_state untrusted;
	if (!state_get(&untrusted, sizeof(untrusted), STATE_INPUT, VINPUT_STATE_VERSION, from, size) || untrusted.kind != (uint32_t)input->kind ||
		!state_is_zero(untrusted.zero, sizeof(untrusted.zero)) || !bits_ok(input->kind, &untrusted))
		return false;
	input->state = untrusted;
	input->leds_changed = true;
	return true;
}

static void input_pause(struct virtio_device *device)
{
	of(device)->paused = true;
}

static void input_resume(struct virtio_device *device)
{
	of(device)->paused = false;
	for (uint32_t i = 0; i < device->n_queues; i++) {
		uint64_t one = 1;
		/* Only a full counter could fail, and that wakes the reader as well. */
		if (write(device->kick_fd[i], &one, sizeof(one)) < 0)
			return;
	}
}

static const struct virtio_device_ops input_ops = {
	.config_read = input_config_read,
	.config_write = input_config_write,
	.reset = input_reset,
	.run = input_run,
	.pause = input_pause,
	.resume = input_resume,
	.save = input_save,
	.load = input_load,
};

struct vinput *vinput_create(const struct guest_memory *memory, enum link_device kind, struct stats *stats)
{
	struct vinput *input = calloc(1, sizeof(*input));
	if (input == NULL)
		return NULL;
	input->kind = kind;
	input->stats = stats;
	input->state.kind = (uint32_t)kind;
	if (virtio_device_init(&input->device, &input_ops, "virtio-input", VIRTIO_ID_INPUT, 0, sizeof(struct input_config), 2, QUEUE_SIZE, memory) < 0) {
		int saved = errno;
		free(input);
		errno = saved;
		return NULL;
	}
	return input;
}

void vinput_destroy(struct vinput *input)
{
	if (input == NULL)
		return;
	virtio_device_finish(&input->device);
	free(input);
}

struct virtio_device *vinput_device(struct vinput *input)
{
	return &input->device;
}
