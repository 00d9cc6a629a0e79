/*
 * A million random events through all that lies between devices and sides: router, packers, a link that is full now and then, backlog
 * and virtio-input devices whose guest gives room when it likes, reloads its drivers, is reset. With every finger up and room at
 * last nothing is held anywhere, and nobody heard of a press that was not for them.
 *
 * HANDS_SEED (environment) starts another series.
 */
#include <linux/input.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "base/stats.h"
#include "packet.h"
#include "toggle/random_hand.h"
#include "toggle/router.h"
#include "unit.h"
#include "virtio/driver.h"
#include "virtio/input.h"
#include "virtio/input_events.h"

#define SEQUENCES 100
#define STEPS 10000
#define RING 64
#define GUEST_DEVICES 4
#define DEVICES 6 /* two keyboards, mouse, tablet, touch screen, injector */

static const uint16_t keys[] = { KEY_GRAVE, KEY_F11, KEY_F12, KEY_A, KEY_B, KEY_LEFTCTRL, KEY_LEFTALT, KEY_RIGHTCTRL, KEY_F2, KEY_LEFTSHIFT };

/* What a side believes, as Linux' input core does: the same again is no news. */
struct view {
	bool down[KEY_CNT];
	bool touched[VINPUT_TOUCHES];
	uint32_t slot;
	uint32_t presses[KEY_CNT];
};

struct virtual_device {
	struct driver driver;
	struct vinput *input;
	struct vinput_backlog *backlog;
	struct view view;
	uint64_t buffers;
	uint32_t in_ring;
};

static struct virtual_device guest[GUEST_DEVICES];
static struct view ui;
static struct stats stats;
static struct router *router;
static struct packer to_guest, to_ui;
static uint32_t delivered[ROUTER_GUEST + 1][KEY_CNT];
static uint32_t refused, heard_of;
static uint64_t now = NSEC_PER_SEC;
static struct random series;
static bool room_for_all, waits; /* for room, in a backlog, as the program does; else what finds none is dropped at once */

static uint32_t below(uint32_t n)
{
	return random_below(&series, n);
}

static void see(struct view *view, uint16_t type, uint16_t code, int32_t value)
{
	if (type == EV_KEY) {
		view->presses[code] += value == 1;
		view->down[code] = value == 1;
	} else if (type == EV_ABS && code == ABS_MT_SLOT) {
		view->slot = (uint32_t)value;
	} else if (type == EV_ABS && code == ABS_MT_TRACKING_ID) {
		ck_assert_uint_lt(view->slot, VINPUT_TOUCHES);
		view->touched[view->slot] = value >= 0;
	}
}

static bool send_packet(void *data, bool guests, const struct link_message *message)
{
	(void)data;
	if (!room_for_all && below(5) == 0) {
		refused++;
		return false;
	}
	ck_assert_uint_eq(message->input.event[message->input.count - 1].type, EV_SYN);
	if (guests) {
		ck_assert_uint_lt(message->input.device, GUEST_DEVICES);
		if (waits)
			vinput_backlog_packet(guest[message->input.device].backlog, message, now);
		else
			vinput_packet(guest[message->input.device].input, message);
	} else {
		for (uint32_t i = 0; i < message->input.count; i++)
			see(&ui, message->input.event[i].type, message->input.event[i].code, message->input.event[i].value);
	}
	return true;
}

static void deliver(void *data, enum router_sink sink, const struct router_event *event)
{
	(void)data;
	if (event->type == EV_KEY && event->value == 1)
		delivered[sink][event->code]++;
	packer_add(sink == ROUTER_GUEST ? &to_guest : &to_ui, event);
}

static void flush(void)
{
	packer_flush(&to_guest);
	packer_flush(&to_ui);
}

static void present(void *data, enum presentation state, uint64_t time_ns)
{
	(void)data;
	(void)state;
	(void)time_ns;
	flush();
}

static void switch_vt(void *data, int vt)
{
	(void)data;
	(void)vt;
	/* The session goes, and comes again. */
}

static void guest_reads(struct virtual_device *device)
{
	struct input_event_seen event;

	while (see_event(&device->driver, device->buffers, &event)) {
		device->in_ring--;
		see(&device->view, event.type, event.code, event.value);
	}
}

static void guest_gives(struct virtual_device *device, uint32_t n)
{
	n = min_u32(n, RING - device->in_ring);
	give_events(&device->driver, device->buffers, n);
	device->in_ring += n;
	driver_run(&device->driver, 0);
	vinput_backlog_run(device->backlog, now);
}

/* The driver is loaded anew: it knows of nothing. */
static void guest_reloads(struct virtual_device *device)
{
	uint64_t pages = device->driver.next_free;

	driver_start(&device->driver, DRIVER_ALL_FEATURES, RING);
	device->driver.next_free = pages; /* in the next sequence's way otherwise */
	device->in_ring = 0;
	memset(device->view.down, 0, sizeof(device->view.down));
	memset(device->view.touched, 0, sizeof(device->view.touched));
}

/* As front_machine.c does for a VM that starts, stops or crashes. */
static void vm_resets(void)
{
	for (uint32_t i = 0; i < GUEST_DEVICES; i++) {
		vinput_backlog_forget(guest[i].backlog);
		guest_reloads(&guest[i]);
	}
	router_release_all(router, ROUTER_GUEST, now);
	packer_forget(&to_guest);
}

static void hand(void)
{
	uint32_t device = below(DEVICES);
	struct router_event event = { .time_ns = now, .device = device == DEVICES - 1 ? ROUTER_DEVICES - 1 : device };

	if (device == 4) {
		random_touch(&series, 4, &event);
	} else if ((device == 2 || device == 3) && below(2)) {
		event.type = device == 2 ? EV_REL : EV_ABS;
		event.code = (uint16_t)below(2);
		event.value = (int32_t)below(1000);
	} else {
		event.type = EV_KEY;
		event.code = device == 2 || device == 3 ? (uint16_t)(BTN_LEFT + below(2)) : keys[below(ARRAY_LEN(keys))];
		event.value = (int32_t)below(3);
		event.to_guest = device == DEVICES - 1 && below(2);
	}
	router_handle(router, &event);
	if (below(4) > 0)
		flush();
}

/* A quick guest and one that hardly reads take turns, hands that hurry and hands that do not. */
static void step(uint32_t sequence)
{
	uint32_t pause_ms = sequence & 1 ? 8 : 60, reads = sequence & 2 ? 10 : 150;
	uint32_t dice = below(1000);
	struct virtual_device *device = &guest[below(GUEST_DEVICES)];

	now += below(pause_ms) * NSEC_PER_MSEC;
	if (dice < reads) {
		guest_gives(device, below(24));
		guest_reads(device);
	} else if (dice >= 150 && dice < 160) {
		router_device_gone(router, below(DEVICES - 1), now);
	} else if (dice >= 160 && dice < 163) {
		router_release_all(router, ROUTER_NOBODY, now); /* another terminal */
	} else if (dice >= 163 && dice < 166) {
		router_present(router, (enum presentation_event)below(3), now);
	} else if (dice == 166 && below(4) == 0) {
		guest_reloads(device);
	} else if (dice == 167 && below(8) == 0) {
		vm_resets();
	} else {
		hand();
	}
}

/* Every finger goes up and everybody listens: who still holds something? */
static void all_up(uint32_t sequence)
{
	room_for_all = true;
	for (uint32_t device = 0; device < ROUTER_DEVICES; device++)
		router_device_gone(router, device, now);
	for (int round = 0; round < 40; round++) {
		now += NSEC_PER_SEC;
		flush();
		for (uint32_t i = 0; i < GUEST_DEVICES; i++) {
			guest_gives(&guest[i], RING);
			guest_reads(&guest[i]);
		}
	}
	room_for_all = false;
	ck_assert_uint_eq(router_held(router, ROUTER_UI) + router_held(router, ROUTER_GUEST), 0);
	for (uint32_t code = 0; code < KEY_CNT; code++) {
		uint32_t heard = 0;
		ck_assert_msg(!ui.down[code], "HANDS_SEED sequence %u: the UI holds %u", sequence, code);
		ck_assert_msg(ui.presses[code] <= delivered[ROUTER_UI][code], "HANDS_SEED sequence %u: the UI heard too often of %u", sequence, code);
		for (uint32_t i = 0; i < GUEST_DEVICES; i++) {
			ck_assert_msg(!guest[i].view.down[code], "HANDS_SEED sequence %u: the guest's device %u holds %u", sequence, i, code);
			heard += guest[i].view.presses[code];
			heard_of += guest[i].view.presses[code];
		}
		ck_assert_msg(code == BTN_TOUCH || heard <= delivered[ROUTER_GUEST][code], "HANDS_SEED sequence %u: the guest heard too often of %u", sequence, code);
	}
	for (uint32_t slot = 0; slot < VINPUT_TOUCHES; slot++)
		ck_assert_msg(!guest[LINK_TOUCH].view.touched[slot], "HANDS_SEED sequence %u: finger %u stays", sequence, slot);
}

START_TEST(a_million_events)
{
	const struct router_output output = { .deliver = deliver, .present = present, .switch_vt = switch_vt };
	uint64_t seed = random_seed("HANDS_SEED", 20240301);

	log_set_level(LOG_ERROR);
	for (uint32_t i = 0; i < GUEST_DEVICES; i++) {
		driver_init(&guest[i].driver, 1 << 20);
		guest[i].input = vinput_create(&guest[i].driver.memory, (enum link_device)i, &stats);
		guest[i].backlog = vinput_backlog_create(guest[i].input);
		ck_assert(guest[i].input != NULL && guest[i].backlog != NULL);
		driver_attach(&guest[i].driver, vinput_device(guest[i].input), 0x098000);
		guest[i].buffers = driver_alloc(&guest[i].driver, RING * 8);
	}
	for (uint32_t sequence = 0; sequence < SEQUENCES; sequence++) {
		series = random_series(seed + sequence);
		memset(delivered, 0, sizeof(delivered));
		memset(&ui, 0, sizeof(ui));
		router = router_create(&router_keys_default, &output, PRESENTATION_HIDDEN);
		ck_assert_ptr_nonnull(router);
		packer_init(&to_guest, true, send_packet, NULL, &stats);
		packer_init(&to_ui, false, send_packet, NULL, &stats);
		for (uint32_t i = 0; i < GUEST_DEVICES; i++)
			memset(&guest[i].view, 0, sizeof(guest[i].view));
		vm_resets();
		waits = sequence & 4;
		for (uint32_t i = 0; i < STEPS; i++)
			step(sequence);
		all_up(sequence);
		router_destroy(router);
	}
	/* All of it happened. */
	ck_assert_uint_gt(heard_of, 10000);
	ck_assert_uint_gt(refused, 10000);
	ck_assert_uint_gt(atomic_load(&stats.input_dropped), 10000);
	for (uint32_t i = 0; i < GUEST_DEVICES; i++) {
		driver_detach(&guest[i].driver);
		vinput_backlog_destroy(guest[i].backlog);
		vinput_destroy(guest[i].input);
		driver_finish(&guest[i].driver);
	}
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("hands");
	TCase *tcase = tcase_create("random");

	tcase_set_timeout(tcase, 100);
	tcase_add_test(tcase, a_million_events);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
