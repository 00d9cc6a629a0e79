/* EDID 1.4 base block for the guest's monitor, made from the panel's mode. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define EDID_SIZE 128

struct edid_info {
	uint32_t width, height;       /* pixels, the preferred mode */
	uint32_t refresh_mhz;         /* millihertz; 0: 60000 */
	uint32_t width_mm, height_mm; /* 0: computed for 96 dpi */
	uint32_t serial;              /* tells monitors of one name apart; 0: none */
	char name[14];                /* at most 13 characters */
};

/*
 * Fills a valid block (checksum included) with the native mode first. False, nothing written, for a size that no base block
 * can express: a side of 0 or above 4095 pixels. A refresh rate whose pixel clock does not fit (above 655.35 MHz) is lowered.
 */
bool edid_make(const struct edid_info *info, uint8_t edid[EDID_SIZE]);
