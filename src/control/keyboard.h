/* The US layout, for typing text by command. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The key (evdev code) and whether Shift is needed for an ASCII character, newline and tab included. False: no such key. */
bool us_key(char character, uint16_t *code, bool *shift);
