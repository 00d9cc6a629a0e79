/*
 * The touch screen of virtio-input: slots for those who know several fingers, and the first one as a pointer for the others (Linux'
 * Documentation/input/multi-touch-protocol.rst). A finger is to it what a key is to a keyboard: none that the guest saw come stays there.
 */
#include "virtio/input_internal.h"

#include "base/base.h"

#include <linux/input.h>

static bool touch_has_code(enum link_device kind, uint32_t type, uint32_t code)
{
	(void)kind;
	if (type == EV_ABS)
		return code == ABS_X || code == ABS_Y || code == ABS_MT_SLOT || code == ABS_MT_TRACKING_ID || code == ABS_MT_POSITION_X || code == ABS_MT_POSITION_Y;
	return type == EV_KEY && code == BTN_TOUCH;
}

/* Fingers the guest knows of, at places on the screen, and what a pointer's user needs: whether any finger is down, and where the first one is. */
static uint32_t touch_filter(const struct vinput *input, const struct link_message *message, struct wire_event *out)
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

static void touch_told(struct vinput *input, const struct wire_event *event, uint32_t n)
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

static bool touched(const struct vinput *input, uint32_t slot)
{
	return slot < VINPUT_TOUCHES && input->state.touched >> slot & 1;
}

/* A finger whose touch was dropped is none for the guest, whatever was there before. */
static void touch_dropped(struct vinput *input, const struct wire_event *event, uint32_t n)
{
	uint32_t slot = VINPUT_TOUCHES;
	for (uint32_t i = 0; i < n; i++) {
		if (event[i].type != EV_ABS)
			continue;
		if (event[i].code == ABS_MT_SLOT)
			slot = event[i].value;
		if (event[i].code == ABS_MT_TRACKING_ID && touched(input, slot))
			input->state.lifts_owed |= (uint16_t)(1u << slot);
	}
}

/* One finger at a time, because the guest may have made a small ring. */
static bool touch_pay(struct vinput *input)
{
	for (uint32_t slot = 0; slot < VINPUT_TOUCHES; slot++) {
		struct wire_event event[4] = { { EV_ABS, ABS_MT_SLOT, slot }, { EV_ABS, ABS_MT_TRACKING_ID, UINT32_MAX } };
		uint32_t n = 2;
		if (!(input->state.lifts_owed >> slot & 1))
			continue;
		if (input->state.touched == 1u << slot)
			event[n++] = (struct wire_event){ EV_KEY, BTN_TOUCH, 0 };
		event[n++] = (struct wire_event){ EV_SYN, SYN_REPORT, 0 };
		if (vinput_room(input, n) < n || !vinput_write_events(input, event, n))
			return false;
		touch_told(input, event, n);
		virtio_notify_queue(&input->device, EVENT_QUEUE);
	}
	return true;
}

bool vinput_touch_state_ok(const struct vinput_state *untrusted)
{
	if (get_bit(untrusted->told, BTN_TOUCH) != (untrusted->touched != 0))
		return false;
	return untrusted->touched >> VINPUT_TOUCHES == 0 && (untrusted->lifts_owed & ~untrusted->touched) == 0;
}

const struct vinput_ops vinput_touch_ops = {
	.properties = 1u << INPUT_PROP_DIRECT,
	.has_code = touch_has_code,
	.filter = touch_filter,
	.told = touch_told,
	.dropped = touch_dropped,
	.pay = touch_pay,
};
