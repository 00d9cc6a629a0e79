/* virtio-input: evdev packets into the event queue, LEDs out of the status queue; keys and pointers. virtio 1.2, section 5.8. */
#include "virtio/input_internal.h"

#define LOG_MODULE "input"
#include "base/base.h"
#include "base/log.h"
#include "base/stats.h"

#include <errno.h>
#include <linux/input.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_SIZE 64 /* what Linux' driver fills at most (drivers/virtio/virtio_input.c, evts[64]) */
#define UNREAD_MOST 32 /* events of keys in the queue that the driver has not taken */

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

_Static_assert(VINPUT_KEY_WORDS * 64 >= KEY_CNT, "a bit for each key");

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

static bool keys_has_code(enum link_device kind, uint32_t type, uint32_t code)
{
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

static bool has_code(const struct vinput *input, uint32_t type, uint32_t code)
{
	return input->ops->has_code(input->kind, type, code);
}

static void fill_bits(struct input_config *config, const struct vinput *input, uint8_t type)
{
	if (type == EV_SYN)
		return;
	for (uint32_t code = 0; code < 8 * sizeof(config->bitmap); code++) {
		if (has_code(input, type, code)) {
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
		config->bitmap[0] = input->ops->properties;
		config->size = input->ops->properties != 0;
		break;
	case CFG_EV_BITS:
		fill_bits(config, input, config->subsel);
		break;
	case CFG_ABS_INFO:
		if (has_code(input, EV_ABS, config->subsel)) {
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

/* --- event queue ------------------------------------------------------------------------------------------------------- */

bool vinput_write_events(struct vinput *input, const struct wire_event *event, uint32_t n)
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

uint32_t vinput_room(struct vinput *input, uint32_t want)
{
	struct virtq *queue = &input->device.queue[EVENT_QUEUE];
	uint32_t have = virtq_available(queue);
	while (have < want && virtq_rearm_beyond(queue, have)) {
		uint32_t now = virtq_available(queue);
		/* A full count, or one that does not grow, is an index that lies; reading the ring will tell. */
		if (now <= have)
			break;
		have = now;
	}
	if (have > input->most_room)
		input->most_room = have;
	return have;
}

/*
 * Buffers that have to be there before n events are delivered in turn. A guest's CPU that was stopped takes all that was written meanwhile in one interrupt,
 * before any reader runs, and a reader has room for 63 events (drivers/input/evdev.c): so keys do not fill the queue, but wait before it.
 */
static uint32_t room_in_turn(const struct vinput *input, uint32_t n)
{
	const uint32_t unread = n > UNREAD_MOST ? n : UNREAD_MOST;
	return input->kind == LINK_KEYBOARD && input->most_room > unread ? n + input->most_room - unread : n;
}

/* --- keys and pointers --------------------------------------------------------------------------------------------------- */

/* Declared codes; no repeats; no release of a key the guest does not believe held, and so none whose press was dropped. */
static uint32_t keys_filter(const struct vinput *input, const struct link_message *message, struct wire_event *out)
{
	uint32_t n = 0, count = min_u32(message->input.count, LINK_EVENTS_PER_MESSAGE);
	uint64_t told[VINPUT_KEY_WORDS]; /* as it develops: a packet may hold a press and its release */
	memcpy(told, input->state.told, sizeof(told));
	for (uint32_t i = 0; i < count; i++) {
		const struct link_event *event = &message->input.event[i];
		uint32_t value = (uint32_t)event->value;
		if (!has_code(input, event->type, event->code) || event->type == EV_LED || event->type == EV_REP)
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

static void keys_told(struct vinput *input, const struct wire_event *event, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (event[i].type != EV_KEY)
			continue;
		set_bit(input->state.told, event[i].code, event[i].value == 1);
		set_bit(input->state.owed, event[i].code, false);
	}
}

/* Only the releases that the guest has to learn of are kept. */
static void keys_dropped(struct vinput *input, const struct wire_event *event, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		/* A key pressed again before its release was delivered simply stays held. */
		if (event[i].type == EV_KEY && get_bit(input->state.told, event[i].code))
			set_bit(input->state.owed, event[i].code, event[i].value == 0);
	}
}

/* Releases that found no room, as many in one packet as there is room for. */
static bool keys_pay(struct vinput *input)
{
	for (;;) {
		struct wire_event event[QUEUE_SIZE];
		uint32_t n = 0;
		for (uint32_t code = 0; code < KEY_CNT && n < QUEUE_SIZE - 1; code++) {
			if (get_bit(input->state.owed, code))
				event[n++] = (struct wire_event){ EV_KEY, (uint16_t)code, 0 };
		}
		if (n == 0)
			return true;
		uint32_t have = vinput_room(input, n + 1);
		if (have < 2)
			return false;
		if (n > have - 1)
			n = have - 1;
		event[n] = (struct wire_event){ EV_SYN, SYN_REPORT, 0 };
		if (!vinput_write_events(input, event, n + 1))
			return false;
		keys_told(input, event, n);
		virtio_notify_queue(&input->device, EVENT_QUEUE);
	}
}

static const struct vinput_ops keys_ops = {
	.has_code = keys_has_code,
	.filter = keys_filter,
	.told = keys_told,
	.dropped = keys_dropped,
	.pay = keys_pay,
};

/* --- packets ------------------------------------------------------------------------------------------------------------ */

static void dropped(struct vinput *input, const struct wire_event *event, uint32_t n)
{
	input->ops->dropped(input, event, n);
	if (input->stats != NULL)
		atomic_fetch_add_explicit(&input->stats->input_dropped, 1, memory_order_relaxed);
}

static void delivered(struct vinput *input, const struct wire_event *event, uint32_t n, uint64_t time_ns)
{
	bool key = false;
	for (uint32_t i = 0; i < n; i++)
		key |= event[i].type == EV_KEY;
	input->ops->told(input, event, n);
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
		bool clear = !input->paused && input->ops->pay(input);
		uint32_t n = input->ops->filter(input, message, event);
		if (n > 0 && device->live) {
			event[n] = (struct wire_event){ EV_SYN, SYN_REPORT, 0 };
			if (!clear || vinput_room(input, n + 1) < n + 1)
				dropped(input, event, n);
			else if (vinput_write_events(input, event, n + 1))
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
		bool clear = input->ops->pay(input);
		uint32_t n = input->ops->filter(input, message, event);
		/* A ring that turned out broken takes nothing any more: no reason to wait for it. */
		uint32_t want = room_in_turn(input, n + 1);
		result = !device->live || n == 0 || (clear && vinput_room(input, want) >= want);
	}
	pthread_mutex_unlock(&device->lock);
	return result;
}

/* --- status queue ------------------------------------------------------------------------------------------------------- */

static void take_status(struct vinput *input)
{
	struct wire_event untrusted;
	if (virtq_chain_read(&input->chain, 0, &untrusted, sizeof(untrusted)) != sizeof(untrusted) ||
		untrusted.type != EV_LED || !has_code(input, EV_LED, untrusted.code))
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
			input->ops->pay(input);
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
	input->most_room = 0;
}

static uint32_t input_save(struct virtio_device *device, void *to, uint32_t size)
{
	struct vinput_state state = of(device)->state;
	return state_put(to, size, &state, sizeof(state), STATE_INPUT, VINPUT_STATE_VERSION);
}

/* Keys, lights and fingers of this kind only, and no release is owed of a key that is not held. */
static bool bits_ok(const struct vinput *input, const struct vinput_state *untrusted)
{
	for (uint32_t code = 0; code < 64 * VINPUT_KEY_WORDS; code++) {
		bool told = get_bit(untrusted->told, code), owed = get_bit(untrusted->owed, code);
		if ((told && !has_code(input, EV_KEY, code)) || (owed && !told))
			return false;
	}
	for (uint32_t code = 0; code < 32; code++)
		if ((untrusted->leds >> code & 1) && !has_code(input, EV_LED, code))
			return false;
	return vinput_touch_state_ok(untrusted);
}

static bool input_load(struct virtio_device *device, const void *from, uint32_t size)
{
	struct vinput *input = of(device);
	struct vinput_state untrusted;
	if (!state_get(&untrusted, sizeof(untrusted), STATE_INPUT, VINPUT_STATE_VERSION, from, size) || untrusted.kind != (uint32_t)input->kind ||
		!state_is_zero(untrusted.zero, sizeof(untrusted.zero)) || !bits_ok(input, &untrusted))
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
	input->ops = kind == LINK_TOUCH ? &vinput_touch_ops : &keys_ops;
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
