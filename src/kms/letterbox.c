#include "kms/letterbox.h"

struct rect letterbox(uint32_t source_w, uint32_t source_h, uint32_t screen_w, uint32_t screen_h)
{
	if (source_w == 0 || source_h == 0 || screen_w == 0 || screen_h == 0)
		return (struct rect){0};

	/* Largest of the same aspect: one side is the screen's. Sides are below 2^32, so the products fit into 64 bits. */
	uint64_t w = screen_w, h = screen_h;
	if ((uint64_t)source_w * screen_h > (uint64_t)source_h * screen_w)
		h = (uint64_t)screen_w * source_h / source_w;
	else
		w = (uint64_t)screen_h * source_w / source_h;
	if (w == 0)
		w = 1;
	if (h == 0)
		h = 1;

	/* Whole multiples stay sharp; they win unless they waste too much of the screen. */
	uint64_t factor = min_u32(screen_w / source_w, screen_h / source_h);
	if (factor >= 1) {
		uint64_t iw = factor * source_w, ih = factor * source_h;
		if ((unsigned __int128)iw * ih * 4 >= (unsigned __int128)w * h * 3) {
			w = iw;
			h = ih;
		}
	}
	return (struct rect){
		.x = (uint32_t)((screen_w - w) / 2),
		.y = (uint32_t)((screen_h - h) / 2),
		.w = (uint32_t)w,
		.h = (uint32_t)h,
	};
}
