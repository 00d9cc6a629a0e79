#include "toggle/blank.h"

#include <stdbool.h>

/* On, and the time without input begins. */
static void turn_on(struct blank *blank, uint64_t now)
{
	blank->state = BLANK_STATE_ON;
	blank->last_ns = now;
	blank->timer_ns = blank->after_ns ? now + blank->after_ns : 0;
}

void blank_init(struct blank *blank, uint64_t after_ns, uint64_t now)
{
	blank->after_ns = after_ns;
	turn_on(blank, now);
}

static enum blank_action turn_off(struct blank *blank)
{
	blank->state = BLANK_STATE_OFF;
	blank->timer_ns = 0;
	return BLANK_OFF;
}

enum blank_action blank_handle(struct blank *blank, enum blank_event event, uint64_t now)
{
	bool off = blank->state == BLANK_STATE_OFF, away = blank->state == BLANK_STATE_AWAY;
	switch (event) {
	case BLANK_INPUT:
		if (now > blank->last_ns)
			blank->last_ns = now;
		if (!off)
			return BLANK_NOTHING;
		turn_on(blank, now);
		return BLANK_ON;
	case BLANK_ASK_ON:
		if (away)
			return BLANK_REFUSED;
		turn_on(blank, now);
		return off ? BLANK_ON : BLANK_NOTHING;
	case BLANK_ASK_OFF:
		if (off || away)
			return away ? BLANK_REFUSED : BLANK_NOTHING;
		return turn_off(blank);
	case BLANK_TIMER:
		if (off || away || blank->timer_ns == 0 || now < blank->timer_ns)
			return BLANK_NOTHING;
		if (now - blank->last_ns >= blank->after_ns)
			return turn_off(blank);
		blank->timer_ns = blank->last_ns + blank->after_ns;
		return BLANK_NOTHING;
	case BLANK_LOST:
		blank->state = BLANK_STATE_AWAY;
		blank->timer_ns = 0;
		return off ? BLANK_ON : BLANK_NOTHING; /* so that nothing is kept off when it comes back */
	case BLANK_BACK:
		if (!away)
			return BLANK_NOTHING;
		turn_on(blank, now);
		return BLANK_NOTHING;
	case BLANK_FAILED:
		if (off)
			turn_on(blank, now);
		return BLANK_NOTHING;
	}
	return BLANK_NOTHING;
}
