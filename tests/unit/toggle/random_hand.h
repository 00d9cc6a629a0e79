/* What random hands do in more than one test. */
#pragma once

#include <linux/input-event-codes.h>

#include "random.h"
#include "toggle/router.h"

/* A finger of up to `slots` comes, moves or goes, whether it is there or not. */
static inline void random_touch(struct random *random, uint32_t slots, struct router_event *event)
{
	static const uint16_t what[] = { ABS_MT_TRACKING_ID, ABS_MT_TRACKING_ID, ABS_MT_POSITION_X, ABS_MT_POSITION_Y };
	event->type = EV_ABS;
	event->code = what[random_below(random, 4)];
	event->value = (int32_t)random_below(random, 3) - 1;
	event->slot = random_below(random, slots);
}
