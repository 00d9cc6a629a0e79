/* A router whose outputs are written down as text, and shorthands for what goes into it. */
#pragma once

#include <linux/input-event-codes.h>
#include <stdio.h>
#include <string.h>

#include "toggle/router.h"
#include "unit.h"

/* What came out, as text: "ui+30 " is a press of code 30 for the UI, "guest-30 " a release, "P " and "H " presentation changes. */
static char trace[2048];
static uint64_t last_time;
static struct router_event last_event;
static struct router *router;

static inline void on_deliver(void *data, enum router_sink sink, const struct router_event *event)
{
	const char *name = sink == ROUTER_GUEST ? "guest" : sink == ROUTER_UI ? "ui" : "nobody";
	size_t used = strlen(trace);

	ck_assert_ptr_eq(data, trace);
	last_event = *event;
	last_time = event->time_ns;
	if (event->type == EV_KEY)
		snprintf(trace + used, sizeof(trace) - used, "%s%c%u ", name, event->value == 0 ? '-' : event->value == 1 ? '+' : '*', event->code);
	else if (event->code == ABS_MT_TRACKING_ID)
		snprintf(trace + used, sizeof(trace) - used, "%s%c%u ", name, event->value < 0 ? '^' : 'v', event->slot);
	else if (event->code == ABS_MT_POSITION_X || event->code == ABS_MT_POSITION_Y)
		snprintf(trace + used, sizeof(trace) - used, "%s@%u=%d ", name, event->slot, event->value);
	else
		snprintf(trace + used, sizeof(trace) - used, "%s%s%u=%d ", name, event->type == EV_REL ? "rel" : "abs", event->code, event->value);
}

static inline void on_present(void *data, enum presentation state, uint64_t time_ns)
{
	ck_assert_ptr_eq(data, trace);
	/* The new state is in force when it is told, so that whoever asks then gets the same answer. */
	ck_assert_int_eq(router_presentation(router), state);
	last_time = time_ns;
	strcat(trace, state == PRESENTATION_PRESENTED ? "P " : "H ");
}

static inline void on_switch(void *data, int vt)
{
	size_t used = strlen(trace);

	ck_assert_ptr_eq(data, trace);
	snprintf(trace + used, sizeof(trace) - used, "vt%d ", vt);
}

static inline void on_stats(void *data)
{
	ck_assert_ptr_eq(data, trace);
	strcat(trace, "stats ");
}

static inline void start(enum presentation initial, const struct router_keys *keys)
{
	struct router_output output = { .deliver = on_deliver, .present = on_present, .switch_vt = on_switch, .stats = on_stats, .data = trace };

	trace[0] = '\0';
	router = router_create(keys, &output, initial);
	ck_assert_ptr_nonnull(router);
}

static inline void hidden(void)
{
	start(PRESENTATION_HIDDEN, &router_keys_default);
}

static inline void teardown(void)
{
	router_destroy(router);
	router = NULL;
}

static inline void send(uint32_t device, uint16_t type, uint16_t code, int32_t value, bool to_guest, uint64_t time_ns)
{
	struct router_event event = { .time_ns = time_ns, .device = device, .type = type, .code = code, .value = value, .to_guest = to_guest };
	router_handle(router, &event);
}

static inline void key(uint16_t code, int32_t value)
{
	send(0, EV_KEY, code, value, false, 1000);
}

static inline void key_on(uint32_t device, uint16_t code, int32_t value)
{
	send(device, EV_KEY, code, value, false, 1000);
}

static inline void guest_key(uint16_t code, int32_t value)
{
	send(9, EV_KEY, code, value, true, 1000);
}

static inline void tap(uint16_t code)
{
	key(code, 1);
	key(code, 0);
}

static inline void finger(uint32_t device, uint32_t slot, uint16_t code, int32_t value)
{
	struct router_event event = { .time_ns = 1000, .device = device, .type = EV_ABS, .code = code, .value = value, .slot = slot };
	router_handle(router, &event);
}

#define DOWN(device, slot) finger(device, slot, ABS_MT_TRACKING_ID, 0)
#define UP(device, slot) finger(device, slot, ABS_MT_TRACKING_ID, -1)
#define MOVE(device, slot, x) finger(device, slot, ABS_MT_POSITION_X, x)

/* Asserts what came out since the last call. */
static inline void expect(const char *text)
{
	ck_assert_str_eq(trace, text);
	trace[0] = '\0';
}
