/* An input device under the driver of driver.h: packets into it, events out of it. One device a test. */
#pragma once

#include <linux/input.h>
#include <stdarg.h>

#include "driver.h"
#include "input_events.h"
#include "base/base.h"
#include "base/stats.h"
#include "virtio/input.h"

#define INPUT_UNUSED __attribute__((unused))

#define EVENTS 0
#define STATUS 1
#define RING 64

static struct driver d;
static struct vinput *input;
static struct stats stats;
static enum link_device kind;
static uint64_t events, leds_page;

INPUT_UNUSED static void open_device(enum link_device which)
{
	kind = which;
	memset(&stats, 0, sizeof(stats));
	driver_init(&d, 16 << 20);
	input = vinput_create(&d.memory, kind, &stats);
	ck_assert_ptr_nonnull(input);
	driver_attach(&d, vinput_device(input), 0x098000);
	driver_start(&d, DRIVER_ALL_FEATURES, RING);
	events = driver_alloc(&d, RING * 8);
	leds_page = driver_alloc(&d, 4096);
}

INPUT_UNUSED static void teardown(void)
{
	driver_detach(&d);
	vinput_destroy(input);
	driver_finish(&d);
}

INPUT_UNUSED static void reopen(enum link_device which)
{
	teardown();
	open_device(which);
}

INPUT_UNUSED static void give(uint32_t n)
{
	give_events(&d, events, n);
}

/* Sends a packet of n {type, code, value}. */
INPUT_UNUSED static void packet(uint32_t n, ...)
{
	struct link_message message = { .type = LINK_INPUT };
	message.input.device = kind;
	message.input.time_ns = clock_now_ns() - 3 * NSEC_PER_MSEC;
	va_list list;
	va_start(list, n);
	for (uint32_t i = 0; i < n; i++) {
		message.input.event[i].type = (uint16_t)va_arg(list, int);
		message.input.event[i].code = (uint16_t)va_arg(list, int);
		message.input.event[i].value = va_arg(list, int);
	}
	va_end(list);
	message.input.event[n] = (struct link_event){ EV_SYN, SYN_REPORT, 0 };
	message.input.count = n + 1;
	vinput_packet(input, &message);
}

INPUT_UNUSED static bool next_event(struct input_event_seen *event)
{
	return see_event(&d, events, event);
}

/* The next one is this. */
INPUT_UNUSED static void expect(uint16_t type, uint16_t code, int32_t value)
{
	struct input_event_seen got;
	ck_assert(next_event(&got));
	ck_assert_uint_eq(got.type, type);
	ck_assert_uint_eq(got.code, code);
	ck_assert_int_eq(got.value, value);
}

INPUT_UNUSED static void expect_nothing(void)
{
	ck_assert(!driver_used(&d, EVENTS, NULL, NULL));
}

INPUT_UNUSED static void expect_key(uint16_t code, int value)
{
	expect(EV_KEY, code, value);
	expect(EV_SYN, SYN_REPORT, 0);
}

INPUT_UNUSED static uint8_t select_config(uint8_t select, uint8_t subsel, uint8_t bytes[128])
{
	driver_write(&d, d.config, select, 1);
	driver_write(&d, d.config + 1, subsel, 1);
	for (uint32_t i = 0; i < 128; i++)
		bytes[i] = (uint8_t)driver_read(&d, d.config + 8 + i, 1);
	return (uint8_t)driver_read(&d, d.config + 2, 1);
}

INPUT_UNUSED static bool bit(const uint8_t *bytes, uint32_t code)
{
	return bytes[code / 8] >> (code % 8) & 1;
}
