/* The letters that the panel itself writes with: capitals, digits and a few signs on a small grid. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LETTER_WIDTH 5 /* pixels of the font */
#define LETTER_HEIGHT 7
#define LETTER_CELL (LETTER_WIDTH + 1) /* from one letter to the next */
#define LETTERS_SCALE_MAX 8u

/* How many pixels of a screen of that height a pixel of the font is wide and high. */
uint32_t letters_scale(uint32_t height);
/* Whether this pixel belongs to the letter. What the font does not have is blank. */
bool letters_ink(char letter, uint32_t x, uint32_t y);
