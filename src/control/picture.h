/* XRGB8888 pixels to a PNG file in memory. Slow: not on the front thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* pixels: width*height, 0x00RRGGBB each. Returns malloc'ed bytes and *size, or NULL. */
uint8_t *png_encode(const uint32_t *pixels, uint32_t width, uint32_t height, size_t *size);
