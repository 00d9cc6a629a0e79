/* Offsets and encodings: VESA Enhanced EDID Standard, release A revision 2 (EDID 1.4), section 3. */
#include "virtio/edid.h"

#include <string.h>

#include "base/base.h"

#define EDID_MAX_SIDE 4095   /* active pixels or lines: 12 bits */
#define EDID_MAX_CLOCK 65535 /* 10 kHz units: 16 bits */
#define EDID_MAX_MM 2550     /* the timing has 12 bits, but may not exceed the 255 cm of the basic parameters */

/* Blanking as in VESA CVT 1.2 with reduced blanking, which keeps 4K at 60 Hz inside the 16-bit pixel clock. */
#define RB_H_BLANK 160
#define RB_H_FRONT 48
#define RB_H_SYNC 32
#define RB_V_FRONT 3
#define RB_MIN_V_BACK 6
#define RB_MIN_V_BLANK_US 460

struct timing {
	uint32_t h, h_blank, v, v_blank, v_sync;
	uint32_t clock; /* 10 kHz */
};

/* Lines of vertical sync tell the aspect ratio (CVT, table 3-3); 10 is "none of these". */
static uint32_t cvt_v_sync(uint32_t w, uint32_t h)
{
	if (w * 3 == h * 4)
		return 4;
	if (w * 9 == h * 16)
		return 5;
	if (w * 10 == h * 16)
		return 6;
	if (w * 4 == h * 5 || w * 9 == h * 15)
		return 7;
	return 10;
}

static struct timing make_timing(uint32_t w, uint32_t h, uint32_t refresh_mhz)
{
	struct timing t = { .h = w, .h_blank = RB_H_BLANK, .v = h, .v_sync = cvt_v_sync(w, h) };
	/* Below 1 Hz nothing makes sense; above 1 kHz the period would be eaten by the minimal blanking. */
	uint64_t refresh = refresh_mhz == 0 ? 60000 : refresh_mhz;
	if (refresh < 1000)
		refresh = 1000;
	if (refresh > 1000000)
		refresh = 1000000;
	uint64_t period_ps = 1000000000000000ull / refresh;
	uint64_t line_ps = (period_ps - RB_MIN_V_BLANK_US * 1000000ull) / h;
	uint64_t blank = RB_MIN_V_BLANK_US * 1000000ull / line_ps + 1;
	uint32_t least = RB_V_FRONT + t.v_sync + RB_MIN_V_BACK;
	t.v_blank = blank < least ? least : min_u32((uint32_t)blank, EDID_MAX_SIDE);
	/* millihertz * pixels -> units of 10 kHz, rounded */
	uint64_t pixels = (uint64_t)(t.h + t.h_blank) * (t.v + t.v_blank);
	uint64_t clock = (pixels * refresh + 5000000) / 10000000;
	t.clock = clock > EDID_MAX_CLOCK ? EDID_MAX_CLOCK : max_u32((uint32_t)clock, 1);
	return t;
}

/* Detailed timing descriptor, section 3.10.2. */
static void put_timing(uint8_t *d, const struct timing *t, uint32_t width_mm, uint32_t height_mm)
{
	d[0] = (uint8_t)t->clock;
	d[1] = (uint8_t)(t->clock >> 8);
	d[2] = (uint8_t)t->h;
	d[3] = (uint8_t)t->h_blank;
	d[4] = (uint8_t)((t->h >> 8) << 4 | t->h_blank >> 8);
	d[5] = (uint8_t)t->v;
	d[6] = (uint8_t)t->v_blank;
	d[7] = (uint8_t)((t->v >> 8) << 4 | t->v_blank >> 8);
	d[8] = RB_H_FRONT;
	d[9] = RB_H_SYNC;
	d[10] = (uint8_t)(RB_V_FRONT << 4 | t->v_sync);
	d[11] = 0;
	d[12] = (uint8_t)width_mm;
	d[13] = (uint8_t)height_mm;
	d[14] = (uint8_t)((width_mm >> 8) << 4 | height_mm >> 8);
	d[15] = d[16] = 0;
	d[17] = 0x1a; /* digital separate sync, horizontal positive, vertical negative: CVT reduced blanking */
}

/* Display descriptor with text, section 3.10.3: 13 bytes, ended by a line feed and padded with spaces; never empty. */
static void put_text(uint8_t *d, uint8_t tag, const char *text, size_t size)
{
	memset(d, 0, 5);
	d[3] = tag;
	size_t n = 0;
	for (; n < size && n < 13 && text[n] != '\0'; n++)
		d[5 + n] = text[n] >= ' ' && text[n] <= '~' ? (uint8_t)text[n] : '?';
	/* Readers take trailing spaces for padding: a name may not end with one. */
	while (n > 0 && d[5 + n - 1] == ' ')
		n--;
	if (n == 0) {
		memcpy(d + 5, "rayvm", 5);
		n = 5;
	}
	if (n < 13)
		d[5 + n++] = '\n';
	memset(d + 5 + n, ' ', 13 - n);
}

/*
 * Standard timings (section 3.9): more common modes that fit into the native one, all at 60 Hz, the largest first. Only those of
 * VESA's Display Monitor Timings are named, which a reader knows without a formula; unused places are 01 01.
 */
static void put_standard(uint8_t *d, uint32_t width, uint32_t height)
{
	enum { ASPECT_16_10, ASPECT_4_3, ASPECT_5_4, ASPECT_16_9 };
	static const struct {
		uint16_t width, height;
		uint8_t aspect;
	} common[] = {
		{ 1920, 1200, ASPECT_16_10 }, { 1920, 1080, ASPECT_16_9 }, { 1680, 1050, ASPECT_16_10 }, { 1600, 1200, ASPECT_4_3 }, { 1440, 900, ASPECT_16_10 },
		{ 1280, 1024, ASPECT_5_4 }, { 1280, 800, ASPECT_16_10 }, { 1280, 720, ASPECT_16_9 },
	};
	memset(d, 0x01, 16);
	for (size_t i = 0; i < ARRAY_LEN(common); i++) {
		if (common[i].width > width || common[i].height > height || (common[i].width == width && common[i].height == height))
			continue;
		*d++ = (uint8_t)(common[i].width / 8 - 31);
		*d++ = (uint8_t)(common[i].aspect << 6); /* and the rate less 60 */
	}
}

bool edid_make(const struct edid_info *info, uint8_t edid[EDID_SIZE])
{
	if (info->width == 0 || info->height == 0 || info->width > EDID_MAX_SIDE || info->height > EDID_MAX_SIDE)
		return false;
	uint32_t width_mm = info->width_mm, height_mm = info->height_mm;
	if (width_mm == 0 || height_mm == 0) {
		width_mm = info->width * 254 / 960;
		height_mm = info->height * 254 / 960;
	}
	width_mm = max_u32(1, min_u32(width_mm, EDID_MAX_MM));
	height_mm = max_u32(1, min_u32(height_mm, EDID_MAX_MM));
	struct timing timing = make_timing(info->width, info->height, info->refresh_mhz);

	memset(edid, 0, EDID_SIZE);
	memset(edid + 1, 0xff, 6);
	edid[8] = 0x48; /* manufacturer "RAY": three letters of 5 bits, big-endian */
	edid[9] = 0x39;
	edid[10] = 0x01; /* product code */
	for (int i = 0; i < 4; i++)
		edid[12 + i] = (uint8_t)(info->serial >> 8 * i);
	edid[16] = 0;    /* week: not given */
	edid[17] = 2024 - 1990;
	edid[18] = 1; /* EDID 1.4 */
	edid[19] = 4;
	edid[20] = 0xa5; /* digital, 8 bits a colour, DisplayPort */
	/* Centimetres; both 0 would mean unknown, one 0 an aspect ratio. */
	edid[21] = (uint8_t)max_u32(1, (width_mm + 5) / 10);
	edid[22] = (uint8_t)max_u32(1, (height_mm + 5) / 10);
	edid[23] = 120;  /* gamma 2.2 */
	edid[24] = 0x06; /* sRGB is the default colour space; the first timing is the native one */
	/* sRGB primaries and white point as the standard's example gives them, section 3.7. */
	static const uint8_t srgb[10] = { 0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54 };
	memcpy(edid + 25, srgb, sizeof srgb);
	/* Established timings (section 3.8), all at 60 Hz: the common modes that fit into the native one. */
	static const struct {
		uint16_t width, height;
		uint8_t byte, bit;
	} common[] = { { 640, 480, 35, 0x20 }, { 800, 600, 35, 0x01 }, { 1024, 768, 36, 0x08 } };
	for (size_t i = 0; i < ARRAY_LEN(common); i++)
		if (common[i].width <= info->width && common[i].height <= info->height)
			edid[common[i].byte] |= common[i].bit;
	put_standard(edid + 38, info->width, info->height);
	put_timing(edid + 54, &timing, width_mm, height_mm);
	put_text(edid + 72, 0xfc, info->name, sizeof info->name);
	edid[90 + 3] = 0x10; /* two dummy descriptors */
	edid[108 + 3] = 0x10;
	uint8_t sum = 0;
	for (int i = 0; i < EDID_SIZE - 1; i++)
		sum = (uint8_t)(sum + edid[i]);
	edid[127] = (uint8_t)-sum;
	return true;
}
