#include "control/picture.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

uint8_t *png_encode(const uint32_t *pixels, uint32_t width, uint32_t height, size_t *size)
{
	/* libpng's simplified interface takes B, G, R, x in memory order, which is what little-endian XRGB8888 is. */
	png_image image = { .version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_BGR };
	size_t count = (size_t)width * height;
	uint8_t *bgr = malloc(count * 3);
	if (bgr == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		bgr[i * 3] = (uint8_t)pixels[i];
		bgr[i * 3 + 1] = (uint8_t)(pixels[i] >> 8);
		bgr[i * 3 + 2] = (uint8_t)(pixels[i] >> 16);
	}
	image.flags = PNG_IMAGE_FLAG_FAST;
	png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
	uint8_t *out = malloc(bytes);
	if (out != NULL && !png_image_write_to_memory(&image, out, &bytes, 0, bgr, 0, NULL)) {
		free(out);
		out = NULL;
	}
	free(bgr);
	*size = bytes;
	return out;
}
