/* Where a picture of one size goes on a screen of another. Pure. */
#pragma once

#include "base/base.h"

/* The largest rectangle of the source's aspect inside the screen, centred; an integer multiple of the source when one of at least 1 fits and fills at least three quarters of that, or when sizes are equal. Empty when any side is 0. */
struct rect letterbox(uint32_t source_w, uint32_t source_h, uint32_t screen_w, uint32_t screen_h);
