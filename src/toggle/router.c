/*
 * Two lanes lead to the sinks. Events of the ROUTED lane go to the side that is shown; those of the ADDRESSED lane
 * (rayvmctl --guest) go to the guest whatever is shown. In each lane a code has one hold over all devices of the seat:
 *
 *     first device presses          further devices            last device releases
 *     --------------------->  held  (counted only)  held  --------------------------> up
 *     owner := UI | GUEST | NOBODY                               owner sees the release
 *
 * A toggle sets the owner of what the losing side holds in the routed lane to NOBODY after telling that side of the
 * release; the hold itself stays until the fingers are up, so the physical release finds NOBODY and is swallowed.
 * Toggle keys are holds of NOBODY from the start, and so are the last key of the statistics' chord and Fn of Ctrl+Alt+Fn: while a seat's owner mutes the console's
 * keyboard, the kernel no longer switches terminals by itself.
 *
 * The guest may hold one code through both lanes; it is told of the first press and of the last release.
 */
#include "toggle/router.h"

#include <linux/input-event-codes.h>
#include <stdlib.h>

#include "base/base.h"

#define CODES (KEY_MAX + 1)
#define WORD_BITS 64

enum lane { LANE_ROUTED, LANE_ADDRESSED, LANES };

/* One code in one lane. */
struct hold {
	uint8_t devices; /* number of devices that have it down; ROUTER_DEVICES at most */
	uint8_t owner;   /* enum router_sink; meaningful while devices > 0 */
};

struct router {
	struct router_keys keys;
	struct router_output output;
	enum presentation state;
	struct hold hold[LANES][CODES];
	uint64_t down[LANES][ROUTER_DEVICES][CODES / WORD_BITS]; /* what each device has down */
	uint32_t held[ROUTER_GUEST + 1];                         /* codes down per sink */
};

_Static_assert(CODES % WORD_BITS == 0, "key bitmaps have whole words");
_Static_assert(ROUTER_DEVICES <= UINT8_MAX, "struct hold counts devices in a byte");

struct router *router_create(const struct router_keys *keys, const struct router_output *output, enum presentation initial)
{
	struct router *router = calloc(1, sizeof(*router));

	if (!router)
		return NULL;
	router->keys = *keys;
	router->output = *output;
	router->state = initial;
	return router;
}

void router_destroy(struct router *router)
{
	free(router);
}

enum presentation router_presentation(const struct router *router)
{
	return router->state;
}

uint32_t router_held(const struct router *router, enum router_sink sink)
{
	return router->held[sink];
}

static enum router_sink shown_sink(enum presentation state)
{
	return state == PRESENTATION_PRESENTED ? ROUTER_GUEST : ROUTER_UI;
}

static enum lane other_lane(enum lane lane)
{
	return lane == LANE_ROUTED ? LANE_ADDRESSED : LANE_ROUTED;
}

/* Does `sink` have the code down by way of this lane? */
static bool holds(const struct router *router, enum lane lane, uint16_t code, enum router_sink sink)
{
	const struct hold *hold = &router->hold[lane][code];

	return hold->devices > 0 && hold->owner == sink;
}

static void deliver(struct router *router, enum router_sink sink, const struct router_event *event)
{
	router->output.deliver(router->output.data, sink, event);
}

/* The hold of event->code in `lane` now belongs to `sink`, which is told unless the other lane holds the code there already. */
static void give(struct router *router, enum lane lane, const struct router_event *event, enum router_sink sink)
{
	bool already = holds(router, other_lane(lane), event->code, sink);

	router->hold[lane][event->code].owner = (uint8_t)sink;
	if (sink == ROUTER_NOBODY || already)
		return;
	router->held[sink]++;
	deliver(router, sink, event);
}

/* Takes the hold from its owner, who is told of the release unless the other lane still holds the code there. */
static void take(struct router *router, enum lane lane, const struct router_event *release)
{
	struct hold *hold = &router->hold[lane][release->code];
	enum router_sink sink = hold->owner;

	hold->owner = ROUTER_NOBODY;
	if (sink == ROUTER_NOBODY || holds(router, other_lane(lane), release->code, sink))
		return;
	router->held[sink]--;
	deliver(router, sink, release);
}

static bool is_down(const struct router *router, enum lane lane, uint32_t device, uint16_t code)
{
	return router->down[lane][device][code / WORD_BITS] >> (code % WORD_BITS) & 1;
}

/* A device that has the code down: the one a release made here is written to. */
static uint32_t holding_device(const struct router *router, enum lane lane, uint16_t code)
{
	for (uint32_t device = 0; device < ROUTER_DEVICES; device++)
		if (is_down(router, lane, device, code))
			return device;
	return 0;
}

/* Releases on `sink` what it holds in `lane`; the holds stay, owned by nobody. */
static void release_lane(struct router *router, enum lane lane, enum router_sink sink, uint64_t time_ns)
{
	if (router->held[sink] == 0)
		return;
	for (uint32_t code = 0; code < CODES; code++) {
		if (!holds(router, lane, (uint16_t)code, sink))
			continue;
		struct router_event release = {
			.time_ns = time_ns,
			.device = holding_device(router, lane, (uint16_t)code),
			.type = EV_KEY,
			.code = (uint16_t)code,
			.value = 0,
			.to_guest = lane == LANE_ADDRESSED,
		};
		take(router, lane, &release);
	}
}

void router_present(struct router *router, enum presentation_event event, uint64_t time_ns)
{
	enum presentation next = presentation_next(router->state, event);

	if (next == router->state)
		return;
	/* Keys addressed to the guest do not depend on what is shown: text being typed there with --guest keeps its Shift. */
	release_lane(router, LANE_ROUTED, shown_sink(router->state), time_ns);
	router->state = next;
	router->output.present(router->output.data, next, time_ns);
}

static bool toggle_key(const struct router_keys *keys, uint16_t code, enum presentation_event *event)
{
	if (code == KEY_RESERVED)
		return false; /* 0 in the table means that there is no such key */
	if (code == keys->toggle)
		*event = PRESENTATION_TOGGLE;
	else if (code == keys->show)
		*event = PRESENTATION_SHOW;
	else if (code == keys->hide)
		*event = PRESENTATION_HIDE;
	else
		return false;
	return true;
}

static bool is_pressed(const struct router *router, uint16_t code)
{
	return router->hold[LANE_ROUTED][code].devices > 0;
}

/* The virtual terminal that this press asks for, 0 for none. F11 and F12 have other work here. */
static int terminal_key(const struct router *router, uint16_t code)
{
	if (!router->output.switch_vt || code < KEY_F1 || code > KEY_F10)
		return 0;
	bool control = is_pressed(router, KEY_LEFTCTRL) || is_pressed(router, KEY_RIGHTCTRL);
	bool alt = is_pressed(router, KEY_LEFTALT) || is_pressed(router, KEY_RIGHTALT);

	return control && alt ? code - KEY_F1 + 1 : 0;
}

/* Toggle keys come first, so that they act whatever else is held. */
static bool stats_chord(const struct router *router, uint16_t code)
{
	static const uint16_t modifiers[] = { KEY_LEFTCTRL, KEY_RIGHTCTRL, KEY_LEFTSHIFT, KEY_RIGHTSHIFT, KEY_LEFTALT, KEY_RIGHTALT, KEY_LEFTMETA, KEY_RIGHTMETA };
	uint8_t down = 0;

	if (code == KEY_RESERVED || code != router->keys.stats.key)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(modifiers); i++)
		if (is_pressed(router, modifiers[i]))
			down |= key_modifier(modifiers[i]);
	return down == router->keys.stats.modifiers;
}

/* give_it: the side that is shown gets what is no chord of ours. */
static void press(struct router *router, enum lane lane, const struct router_event *event, bool give_it)
{
	struct hold *hold = &router->hold[lane][event->code];
	enum presentation_event change;

	if (is_down(router, lane, event->device, event->code))
		return;
	router->down[lane][event->device][event->code / WORD_BITS] |= 1ull << (event->code % WORD_BITS);
	if (hold->devices++ > 0)
		return; /* held on another device: its owner stands */

	if (lane == LANE_ADDRESSED) {
		give(router, lane, event, ROUTER_GUEST);
	} else if (toggle_key(&router->keys, event->code, &change)) {
		hold->owner = ROUTER_NOBODY;
		router_present(router, change, event->time_ns);
	} else if (terminal_key(router, event->code) != 0) {
		hold->owner = ROUTER_NOBODY;
		router->output.switch_vt(router->output.data, terminal_key(router, event->code));
	} else if (stats_chord(router, event->code)) {
		hold->owner = ROUTER_NOBODY;
		router->output.stats(router->output.data);
	} else if (give_it) {
		give(router, lane, event, shown_sink(router->state));
	} else {
		hold->owner = ROUTER_NOBODY;
	}
}

static void release(struct router *router, enum lane lane, const struct router_event *event)
{
	struct hold *hold = &router->hold[lane][event->code];

	if (!is_down(router, lane, event->device, event->code))
		return; /* pressed before the device was ours */
	router->down[lane][event->device][event->code / WORD_BITS] &= ~(1ull << (event->code % WORD_BITS));
	if (hold->devices == 1)
		take(router, lane, event);
	hold->devices--;
}

static void handle(struct router *router, const struct router_event *event, bool give_it)
{
	enum lane lane = event->to_guest ? LANE_ADDRESSED : LANE_ROUTED;

	if (event->device >= ROUTER_DEVICES)
		return;
	switch (event->type) {
	case EV_KEY:
		/* Value 2 is the kernel's repeat: each side makes its own, at its own rate. */
		if (event->code >= CODES || event->value < 0 || event->value > 1)
			return;
		if (event->value == 1)
			press(router, lane, event, give_it);
		else
			release(router, lane, event);
		return;
	case EV_REL:
	case EV_ABS:
		if (give_it)
			deliver(router, lane == LANE_ADDRESSED ? ROUTER_GUEST : shown_sink(router->state), event);
		return;
	default:
		return;
	}
}

void router_handle(struct router *router, const struct router_event *event)
{
	handle(router, event, true);
}

void router_swallow(struct router *router, const struct router_event *event)
{
	handle(router, event, false);
}

void router_device_gone(struct router *router, uint32_t device, uint64_t time_ns)
{
	if (device >= ROUTER_DEVICES)
		return;
	for (enum lane lane = 0; lane < LANES; lane++) {
		for (uint32_t word = 0; word < CODES / WORD_BITS; word++) {
			while (router->down[lane][device][word] != 0) {
				uint32_t bit = (uint32_t)__builtin_ctzll(router->down[lane][device][word]);
				struct router_event event = {
					.time_ns = time_ns,
					.device = device,
					.type = EV_KEY,
					.code = (uint16_t)(word * WORD_BITS + bit),
					.value = 0,
					.to_guest = lane == LANE_ADDRESSED,
				};
				release(router, lane, &event);
			}
		}
	}
}

void router_release_all(struct router *router, enum router_sink sink, uint64_t time_ns)
{
	for (enum lane lane = 0; lane < LANES; lane++) {
		if (sink != ROUTER_GUEST)
			release_lane(router, lane, ROUTER_UI, time_ns);
		if (sink != ROUTER_UI)
			release_lane(router, lane, ROUTER_GUEST, time_ns);
	}
}
