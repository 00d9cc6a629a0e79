/* EDID 1.4 base block for the guest's monitor, made from the panel's mode. Pure. */
#pragma once

#include <stdint.h>

#define EDID_SIZE 128

struct edid_info {
	uint32_t width, height;       /* pixels, the preferred mode */
	uint32_t refresh_mhz;         /* millihertz; 0: 60000 */
	uint32_t width_mm, height_mm; /* 0: computed for 96 dpi */
	char name[14];                /* at most 13 characters */
};

/* Fills a valid block (checksum included) with the native mode first. */
void edid_make(const struct edid_info *info, uint8_t edid[EDID_SIZE]);
