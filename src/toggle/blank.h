/*
 * When the screen is off (DPMS). Pure: events come in, "off now" and "on now" go out.
 *
 *          idle, asked for                       session lost
 *   ON <------------------> OFF         ON, OFF --------------> AWAY --> ON
 *        input, asked for                                        session back
 *
 * What is plugged in does not wake: many monitors leave the bus when they sleep and come back by themselves.
 * Times: CLOCK_MONOTONIC nanoseconds.
 */
#pragma once

#include <stdint.h>

enum blank_state { BLANK_STATE_ON, BLANK_STATE_OFF, BLANK_STATE_AWAY };

enum blank_event {
	BLANK_INPUT,   /* a person pressed or moved something */
	BLANK_TIMER,   /* timer_ns has come */
	BLANK_ASK_OFF, /* by command */
	BLANK_ASK_ON,
	BLANK_LOST,    /* the session; the screen is somebody else's */
	BLANK_BACK,
	BLANK_FAILED,  /* the card does not switch it off */
};

enum blank_action { BLANK_NOTHING, BLANK_OFF, BLANK_ON, BLANK_REFUSED };

struct blank {
	enum blank_state state;
	uint64_t after_ns; /* without input until the screen goes off; 0: never */
	uint64_t last_ns;  /* of the last input, or what counts as one */
	uint64_t timer_ns; /* BLANK_TIMER is due then; 0: never. Input leaves it alone: when it comes it may move on. */
};

void blank_init(struct blank *blank, uint64_t after_ns, uint64_t now);
enum blank_action blank_handle(struct blank *blank, enum blank_event event, uint64_t now);
