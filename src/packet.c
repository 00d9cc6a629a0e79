#include "packet.h"

#include <string.h>

#include "base/stats.h"

static bool bit(const uint64_t *words, uint32_t n)
{
	return words[n / 64] >> (n % 64) & 1;
}

static void set_bit(uint64_t *words, uint32_t n, bool value)
{
	uint64_t mask = 1ull << (n % 64);
	words[n / 64] = value ? words[n / 64] | mask : words[n / 64] & ~mask;
}

void packer_init(struct packer *packer, bool to_guest, packet_send *send, void *data, struct stats *stats)
{
	memset(packer, 0, sizeof *packer);
	packer->to_guest = to_guest;
	packer->send = send;
	packer->data = data;
	packer->stats = stats;
}

static bool is_button(uint16_t code)
{
	return code >= BTN_MISC && code < KEY_OK;
}

/* Which virtual device this event belongs to. A button goes with the kind of pointer that its device is, its release with its press. */
static enum link_device device_of(struct packer *packer, const struct router_event *event)
{
	if (event->type == EV_REL || event->type == EV_ABS) {
		bool moves_absolutely = event->type == EV_ABS;
		set_bit(packer->absolute, event->device % ROUTER_DEVICES, moves_absolutely);
		return moves_absolutely ? LINK_POINTER_ABSOLUTE : LINK_POINTER_RELATIVE;
	}
	if (!is_button(event->code))
		return LINK_KEYBOARD;
	bool absolute = event->value != 0 ? bit(packer->absolute, event->device % ROUTER_DEVICES) : bit(packer->button_absolute, event->code);
	set_bit(packer->button_absolute, event->code, event->value != 0 && absolute);
	return absolute ? LINK_POINTER_ABSOLUTE : LINK_POINTER_RELATIVE;
}

/* Ends the packet and sends it. False: no room, the packet is dropped and its releases are owed. */
static bool send_pending(struct packer *packer, uint32_t device)
{
	struct link_message *message = &packer->pending[device];
	if (message->input.count == 0)
		return true;
	uint32_t n = message->input.count;
	message->type = LINK_INPUT;
	message->input.device = device;
	message->input.event[n] = (struct link_event){ EV_SYN, SYN_REPORT, 0 };
	message->input.count = n + 1;
	bool sent = packer->send(packer->data, packer->to_guest, message);
	for (uint32_t i = 0; i < n; i++) {
		struct link_event event = message->input.event[i];
		if (event.type != EV_KEY || event.code >= KEY_CNT)
			continue;
		/* Whatever was owed for this key is settled by a newer event that arrived. */
		if (sent || event.value == 0)
			set_bit(packer->owed[device], event.code, !sent);
		packer->owes[device] |= !sent && event.value == 0;
	}
	for (uint32_t i = 0; device == LINK_TOUCH && i < n; i++) {
		struct link_event event = message->input.event[i];
		if (event.code != ABS_MT_TRACKING_ID || (!sent && event.value >= 0))
			continue;
		/* A touch that did not arrive owes nothing: who never heard of it ignores its end. */
		packer->touches_owed = sent ? packer->touches_owed & ~(1u << packer->touch_slot) : packer->touches_owed | 1u << packer->touch_slot;
		packer->owes[device] |= !sent;
	}
	if (!sent)
		atomic_fetch_add_explicit(&packer->stats->input_dropped, 1, memory_order_relaxed);
	memset(message, 0, sizeof *message);
	return sent;
}

static void begin_touch(struct packer *packer, uint32_t slot)
{
	struct link_message *message = &packer->pending[LINK_TOUCH];
	packer->touch_slot = slot;
	message->input.event[0] = (struct link_event){ EV_ABS, ABS_MT_SLOT, (int32_t)slot };
	message->input.count = 1;
}

/* Each finger's change is a packet: touch and first position, a new position, or the lifting. */
static void add_touch(struct packer *packer, const struct router_event *event)
{
	struct link_message *message = &packer->pending[LINK_TOUCH];
	int32_t value = event->value;
	if (event->slot >= ROUTER_TOUCHES)
		return;
	if (message->input.count > 0 &&
		(event->slot != packer->touch_slot || event->code == ABS_MT_TRACKING_ID || message->input.count == LINK_EVENTS_PER_MESSAGE - 1))
		send_pending(packer, LINK_TOUCH);
	if (message->input.count == 0)
		begin_touch(packer, event->slot);
	if (event->code == ABS_MT_TRACKING_ID && value >= 0)
		value = (int32_t)(packer->touch_id++ & 0xffff);
	message->input.time_ns = event->time_ns;
	message->input.event[message->input.count++] = (struct link_event){ EV_ABS, event->code, value };
	if (value < 0)
		send_pending(packer, LINK_TOUCH);
}

/* The liftings that are owed, as far as they go. True: some are still owed. */
static bool pay_touches(struct packer *packer)
{
	for (uint32_t slot = 0; slot < ROUTER_TOUCHES; slot++) {
		if (!(packer->touches_owed >> slot & 1))
			continue;
		begin_touch(packer, slot);
		packer->pending[LINK_TOUCH].input.event[1] = (struct link_event){ EV_ABS, ABS_MT_TRACKING_ID, -1 };
		packer->pending[LINK_TOUCH].input.count = 2;
		if (!send_pending(packer, LINK_TOUCH))
			return true;
	}
	return false;
}

void packer_add(struct packer *packer, const struct router_event *event)
{
	if (event->type == EV_ABS && (event->code == ABS_MT_TRACKING_ID || event->code == ABS_MT_POSITION_X || event->code == ABS_MT_POSITION_Y)) {
		add_touch(packer, event);
		return;
	}
	uint32_t device = device_of(packer, event);
	struct link_message *message = &packer->pending[device];
	/* One slot is for SYN_REPORT. Keys go one to a packet: each state change is a moment of its own. */
	if (message->input.count == LINK_EVENTS_PER_MESSAGE - 1 || (message->input.count > 0 && event->type == EV_KEY))
		send_pending(packer, device);
	message->input.time_ns = event->time_ns;
	message->input.event[message->input.count++] = (struct link_event){ event->type, event->code, event->value };
	if (event->type == EV_KEY)
		send_pending(packer, device);
}

bool packer_flush(struct packer *packer)
{
	bool owing = false;
	for (uint32_t device = 0; device < PACKER_DEVICES; device++) {
		send_pending(packer, device);
		if (!packer->owes[device])
			continue;
		packer->owes[device] = false;
		if (device == LINK_TOUCH && pay_touches(packer))
			packer->owes[device] = owing = true;
		for (uint32_t code = 0; code < KEY_CNT; code++) {
			if (!bit(packer->owed[device], code))
				continue;
			struct link_message *message = &packer->pending[device];
			message->input.event[0] = (struct link_event){ EV_KEY, (uint16_t)code, 0 };
			message->input.count = 1;
			if (!send_pending(packer, device)) {
				packer->owes[device] = owing = true;
				break;
			}
		}
	}
	return owing;
}

void packer_forget(struct packer *packer)
{
	memset(packer->pending, 0, sizeof packer->pending);
	memset(packer->owed, 0, sizeof packer->owed);
	memset(packer->owes, 0, sizeof packer->owes);
	memset(packer->button_absolute, 0, sizeof packer->button_absolute);
	packer->touches_owed = 0;
}

int32_t packet_map_axis(int32_t value, uint32_t panel, uint32_t start, uint32_t length)
{
	if (panel < 2 || length < 2)
		return 0;
	/* The pixel pointed at, then its place in the picture: edges are exact though devices rarely reach the end of their range. */
	int64_t pixel = ((int64_t)value * (panel - 1) + 32767) / 65535;
	int64_t mapped = (pixel - start) * 65535 / (int64_t)(length - 1);
	return mapped < 0 ? 0 : mapped > 65535 ? 65535 : (int32_t)mapped;
}
