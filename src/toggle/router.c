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
 * Keys that act are holds of NOBODY from the start, and so is Fn of Ctrl+Alt+Fn: while a seat's owner mutes the console's
 * keyboard, the kernel no longer switches terminals by itself.
 *
 * The pass key is a key like others until a toggle key is pressed with it. Then the side loses the pass key, so that it gets
 * the other one alone: a backtick and no Ctrl+backtick.
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

/* A finger on a touch screen, from its touch to its lifting. Its place in the table is its number for the sides. */
struct touch {
	bool used;
	uint8_t owner; /* enum router_sink */
	uint32_t device, slot;
};

struct router {
	struct router_keys keys;
	struct router_output output;
	enum presentation state;
	struct hold hold[LANES][CODES];
	uint64_t down[LANES][ROUTER_DEVICES][CODES / WORD_BITS]; /* what each device has down */
	struct touch touch[ROUTER_TOUCHES];
	uint32_t held[ROUTER_GUEST + 1];                         /* codes and fingers down per sink */
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

static bool is_touch(uint16_t code)
{
	return code == ABS_MT_TRACKING_ID || code == ABS_MT_POSITION_X || code == ABS_MT_POSITION_Y;
}

static void deliver_touch(struct router *router, const struct touch *touch, const struct router_event *event)
{
	struct router_event renamed = *event;

	renamed.slot = (uint32_t)(touch - router->touch);
	if (touch->owner != ROUTER_NOBODY)
		deliver(router, touch->owner, &renamed);
}

/* The owner is told that the finger was lifted; it owns nothing from now on. */
static void take_touch(struct router *router, struct touch *touch, uint64_t time_ns)
{
	struct router_event lifted = { .time_ns = time_ns, .device = touch->device, .type = EV_ABS, .code = ABS_MT_TRACKING_ID, .value = -1 };

	if (touch->owner == ROUTER_NOBODY)
		return;
	router->held[touch->owner]--;
	deliver_touch(router, touch, &lifted);
	touch->owner = ROUTER_NOBODY;
}

static struct touch *find_touch(struct router *router, uint32_t device, uint32_t slot)
{
	for (uint32_t i = 0; i < ROUTER_TOUCHES; i++)
		if (router->touch[i].used && router->touch[i].device == device && router->touch[i].slot == slot)
			return &router->touch[i];
	return NULL;
}

static struct touch *free_touch(struct router *router)
{
	for (uint32_t i = 0; i < ROUTER_TOUCHES; i++)
		if (!router->touch[i].used)
			return &router->touch[i];
	return NULL;
}

/* give_it: the side that is shown gets a finger that touches. */
static void touch_event(struct router *router, const struct router_event *event, bool give_it)
{
	struct touch *touch = find_touch(router, event->device, event->slot);

	if (event->code != ABS_MT_TRACKING_ID) {
		if (touch)
			deliver_touch(router, touch, event);
	} else if (event->value < 0) {
		if (!touch)
			return; /* down before the device was ours, or one too many */
		take_touch(router, touch, event->time_ns);
		touch->used = false;
	} else if (!touch && (touch = free_touch(router)) != NULL) {
		*touch = (struct touch){ true, (uint8_t)(give_it ? shown_sink(router->state) : ROUTER_NOBODY), event->device, event->slot };
		router->held[touch->owner] += give_it;
		deliver_touch(router, touch, event);
	}
}

/* Releases on `sink` what it holds in `lane`; the holds stay, owned by nobody. */
static void release_lane(struct router *router, enum lane lane, enum router_sink sink, uint64_t time_ns)
{
	if (router->held[sink] == 0)
		return;
	for (uint32_t i = 0; lane == LANE_ROUTED && i < ROUTER_TOUCHES; i++)
		if (router->touch[i].used && router->touch[i].owner == sink)
			take_touch(router, &router->touch[i], time_ns);
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

static bool is_pressed(const struct router *router, uint16_t code)
{
	return router->hold[LANE_ROUTED][code].devices > 0;
}

static bool is_complete(const struct router *router, const struct router_chord *chord)
{
	for (uint32_t i = 0; i < ROUTER_CHORD_HELD; i++)
		if (chord->with[i] != KEY_RESERVED && !is_pressed(router, chord->with[i]))
			return false;
	return true;
}

/* What this press does; ROUTER_ACTS: nothing. */
static enum router_act act_of(const struct router *router, uint16_t code)
{
	for (uint32_t i = 0; code != KEY_RESERVED && i < ROUTER_ACTS; i++) /* 0 in the table means that there is no such key */
		if (code == router->keys.act[i].code && is_complete(router, &router->keys.act[i]))
			return (enum router_act)i;
	return ROUTER_ACTS;
}

static void act(struct router *router, enum router_act what, uint64_t time_ns)
{
	static const enum presentation_event events[] = {
		[ROUTER_TOGGLE] = PRESENTATION_TOGGLE, [ROUTER_SHOW] = PRESENTATION_SHOW, [ROUTER_HIDE] = PRESENTATION_HIDE,
	};

	if (what == ROUTER_STATS)
		router->output.stats(router->output.data);
	else
		router_present(router, events[what], time_ns);
}

/* The virtual terminal that this press asks for, 0 for none. */
static int terminal_key(const struct router *router, uint16_t code)
{
	int terminal = code >= KEY_F1 && code <= KEY_F10 ? code - KEY_F1 + 1 : code == KEY_F11 ? 11 : code == KEY_F12 ? 12 : 0;

	if (!router->output.switch_vt || terminal == 0)
		return 0;
	bool control = is_pressed(router, KEY_LEFTCTRL) || is_pressed(router, KEY_RIGHTCTRL);
	bool alt = is_pressed(router, KEY_LEFTALT) || is_pressed(router, KEY_RIGHTALT);

	return control && alt ? terminal : 0;
}

/* A toggle key goes to the side shown: without the pass key, which was only held to say so. */
static void pass(struct router *router, const struct router_event *event)
{
	struct router_event release = *event;

	release.code = router->keys.pass;
	release.value = 0;
	release.device = holding_device(router, LANE_ROUTED, release.code);
	take(router, LANE_ROUTED, &release);
	give(router, LANE_ROUTED, event, shown_sink(router->state));
}

/* give_it: the side that is shown gets what is no chord of ours. */
static void press(struct router *router, enum lane lane, const struct router_event *event, bool give_it)
{
	struct hold *hold = &router->hold[lane][event->code];
	enum router_act what;

	if (is_down(router, lane, event->device, event->code))
		return;
	router->down[lane][event->device][event->code / WORD_BITS] |= 1ull << (event->code % WORD_BITS);
	if (hold->devices++ > 0)
		return; /* held on another device: its owner stands */

	if (lane == LANE_ADDRESSED) {
		give(router, lane, event, ROUTER_GUEST);
	} else if (terminal_key(router, event->code) != 0) {
		hold->owner = ROUTER_NOBODY;
		router->output.switch_vt(router->output.data, terminal_key(router, event->code));
	} else if (event->code == KEY_POWER && router->output.power) {
		hold->owner = ROUTER_NOBODY;
		if (give_it) /* waking the screen is all that it does else */
			router->output.power(router->output.data);
	} else if ((what = act_of(router, event->code)) != ROUTER_ACTS) {
		bool passes = router->keys.pass != KEY_RESERVED && is_pressed(router, router->keys.pass);
		if (passes && give_it) {
			pass(router, event);
			return;
		}
		hold->owner = ROUTER_NOBODY;
		if (!passes)
			act(router, what, event->time_ns);
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
		if (event->type == EV_ABS && is_touch(event->code)) {
			if (lane == LANE_ROUTED) /* nobody addresses fingers */
				touch_event(router, event, give_it);
			return;
		}
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
	for (uint32_t i = 0; i < ROUTER_TOUCHES; i++) {
		if (!router->touch[i].used || router->touch[i].device != device)
			continue;
		take_touch(router, &router->touch[i], time_ns);
		router->touch[i].used = false;
	}
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
