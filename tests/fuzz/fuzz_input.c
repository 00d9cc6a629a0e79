/* Keyboard, mouse, tablet and touch screen: event and status queues of a hostile guest, packets of any contents, the backlog before it. */
#include <linux/input.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "base/stats.h"
#include "guest.h"
#include "virtio/input.h"

enum {
	OP_PACKET = OP_DEVICE, /* count b (as announced), events from c, d; device kind a; through the backlog a & 0x80 */
	OP_TIME,               /* c microseconds on */
	OP_BUFFERS,            /* queue a & 1: b & 63 buffers of c bytes */
	OP_STATUS,             /* one status event {type b, code c, value d} */
	OP_LEDS,
	OP_FORGET,
	OP_KIND,               /* first only: device kind a % 4 */
};

static const uint8_t ops[] = {
	OP_RAM, OP_DESC, OP_DESC_NEXT, OP_AVAIL, OP_AVAIL_INDEX, OP_KICK, OP_COMMON_WRITE, OP_BAR_WRITE, OP_BAR_READ, OP_HANDSHAKE, OP_RESET, OP_PAUSE, OP_STATE, OP_STATE,
	OP_PACKET, OP_PACKET, OP_PACKET, OP_TIME, OP_BUFFERS, OP_BUFFERS, OP_STATUS, OP_LEDS, OP_FORGET,
};
static const uint64_t values[] = { EV_KEY, EV_REL, EV_ABS, EV_LED, KEY_A, KEY_CNT, KEY_MAX, BTN_LEFT, ABS_MT_SLOT, ABS_MT_TRACKING_ID, 0x2000, 0x2001, 0x203b, LINK_EVENTS_PER_MESSAGE, VINPUT_ABS_MAX };
const struct fuzz_target fuzz_target = { .operations = true, .ops = ops, .n_ops = ARRAY_LEN(ops), .values = values, .n_values = ARRAY_LEN(values) };

static struct stats stats;

void fuzz_start(void)
{
	log_set_level(LOG_WARN);
}

struct scene {
	struct guest guest;
	struct vinput *input;
	struct vinput_backlog *backlog;
	uint64_t now_ns;
};

static void packet(struct scene *scene, const struct fuzz_op *op)
{
	struct link_message message = { .type = LINK_INPUT, .input = { .time_ns = scene->now_ns, .device = op->a & 0x7f, .count = op->b } };
	for (uint32_t i = 0; i < LINK_EVENTS_PER_MESSAGE; i++)
		message.input.event[i] = (struct link_event){ (uint16_t)(op->c & 0xffff), (uint16_t)((op->c >> 16) + i), (int32_t)(op->d >> (i & 1 ? 32 : 0)) };
	/* A touch screen's packets begin with the finger. */
	if ((op->a & 0x7f) == LINK_TOUCH && op->b > 1)
		message.input.event[0] = (struct link_event){ EV_ABS, ABS_MT_SLOT, (int32_t)(op->d % 12) };
	if (op->b > 0 && op->b <= LINK_EVENTS_PER_MESSAGE)
		message.input.event[op->b - 1] = (struct link_event){ EV_SYN, SYN_REPORT, 0 };
	if (op->a & 0x80)
		vinput_backlog_packet(scene->backlog, &message, scene->now_ns);
	else
		vinput_packet(scene->input, &message);
	vinput_has_room(scene->input, &message);
}

static void do_op(struct scene *scene, const struct fuzz_op *op)
{
	struct guest *guest = &scene->guest;
	uint32_t leds;
	switch (op->op) {
	case OP_PACKET:
		packet(scene, op);
		break;
	case OP_TIME:
		scene->now_ns += (uint64_t)op->c * 1000;
		vinput_backlog_run(scene->backlog, scene->now_ns);
		break;
	case OP_BUFFERS:
		for (uint32_t i = 0; i < (op->b & 63u); i++)
			guest_add(guest, op->a & 1, &(struct guest_buffer){ GUEST_DATA + 64 * i, op->c, !(op->a & 1) }, 1);
		guest_kick(guest, op->a & 1, 2);
		guest_settle(guest);
		vinput_backlog_run(scene->backlog, scene->now_ns);
		break;
	case OP_STATUS: {
		struct {
			uint16_t type, code;
			uint32_t value;
		} event = { op->b, (uint16_t)op->c, (uint32_t)op->d };
		guest_put(guest, GUEST_SCRATCH, &event, sizeof(event));
		guest_add(guest, 1, &(struct guest_buffer){ GUEST_SCRATCH, 8, false }, 1);
		guest_kick(guest, 1, 2);
		guest_settle(guest);
		break;
	}
	case OP_LEDS:
		/* Only lights that the device declared reach the host (I2). */
		if (vinput_take_leds(scene->input, &leds))
			FUZZ_CHECK((leds & ~(1u << LED_NUML | 1u << LED_CAPSL | 1u << LED_SCROLLL)) == 0, "lights 0x%x", leds);
		break;
	case OP_FORGET:
		vinput_backlog_forget(scene->backlog);
		break;
	default:
		guest_do(guest, op);
	}
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct scene scene = { .now_ns = NSEC_PER_SEC };
	struct fuzz_op op;
	enum link_device kind = LINK_KEYBOARD;
	if (fuzz_op_at(data, size, 0, &op) && op.op == OP_KIND)
		kind = (enum link_device)(op.a % 4);
	guest_init(&scene.guest);
	scene.input = vinput_create(&scene.guest.memory, kind, &stats);
	scene.backlog = scene.input != NULL ? vinput_backlog_create(scene.input) : NULL;
	FUZZ_CHECK(scene.backlog != NULL, "no device");
	guest_attach(&scene.guest, vinput_device(scene.input), GUEST_SLOT);
	for (uint32_t i = 0; fuzz_op_at(data, size, i, &op); i++)
		do_op(&scene, &op);
	guest_settle(&scene.guest);
	guest_detach(&scene.guest);
	vinput_backlog_destroy(scene.backlog);
	vinput_destroy(scene.input);
	guest_finish(&scene.guest);
}
