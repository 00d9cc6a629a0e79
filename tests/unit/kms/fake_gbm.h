/* A libgbm for the fake card: what the program drew is seen on the screen when it has said that it drew, as with caches that the display does not see. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fake_gbm {
	bool no_device; /* Mesa has no driver for the card */
	bool no_buffers, no_export;
	uint32_t devices, buffers; /* held */
	_Atomic uint32_t asked;    /* buffers, given or not */
	uint32_t rounds;           /* of drawing that were begun and ended */
	uint32_t wrong;            /* ends without a beginning, beginnings without an end */
};

extern struct fake_gbm fake_gbm;

void fake_gbm_reset(void);
