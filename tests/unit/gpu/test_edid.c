#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"
#include "virtio/edid.h"

static const struct edid_info modes[] = {
	{ .width = 1280, .height = 800, .name = "RayOS panel" },
	{ .width = 1920, .height = 1080, .refresh_mhz = 59940, .width_mm = 344, .height_mm = 193, .name = "0123456789abc" },
	{ .width = 3840, .height = 2160, .refresh_mhz = 60000 },
	{ .width = 3840, .height = 2160, .refresh_mhz = 144000, .name = "fast\x01\xff " },
	{ .width = 1366, .height = 768, .refresh_mhz = 75000, .name = "   " },
	{ .width = 640, .height = 480, .refresh_mhz = 240000 },
	{ .width = 1080, .height = 1920, .refresh_mhz = 60000 },
	{ .width = 4095, .height = 4095, .refresh_mhz = 60000, .width_mm = 100000, .height_mm = 100000 },
};

START_TEST(header_checksum_and_native_mode)
{
	const struct edid_info *info = &modes[_i];
	uint8_t e[EDID_SIZE];
	ck_assert(edid_make(info, e));
	ck_assert_mem_eq(e, "\0\xff\xff\xff\xff\xff\xff\0", 8);
	uint8_t sum = 0;
	for (int i = 0; i < EDID_SIZE; i++)
		sum = (uint8_t)(sum + e[i]);
	ck_assert_uint_eq(sum, 0);

	const uint8_t *t = e + 54;
	uint32_t h = t[2] | (t[4] >> 4) << 8, h_blank = t[3] | (t[4] & 15) << 8;
	uint32_t v = t[5] | (t[7] >> 4) << 8, v_blank = t[6] | (t[7] & 15) << 8;
	ck_assert_uint_eq(h, info->width);
	ck_assert_uint_eq(v, info->height);
	uint64_t clock = (t[0] | t[1] << 8) * 10000ull; /* Hz */
	double refresh = (double)clock / ((double)(h + h_blank) * (v + v_blank)) * 1000;
	double wanted = info->refresh_mhz ? info->refresh_mhz : 60000;
	if (clock < 655350000)
		ck_assert(refresh > wanted * 0.999 && refresh < wanted * 1.001);
	else
		ck_assert(refresh < wanted);
}
END_TEST

/* What a guest may choose beside the native mode: what fits into it, each once and not the native one again. */
START_TEST(common_modes)
{
	const struct {
		uint32_t w, h;
		const char *standard; /* sizes, the largest first */
		uint8_t established[2];
	} panels[] = {
		{ 3840, 2160, "1920x1200 1920x1080 1680x1050 1600x1200 1440x900 1280x1024 1280x800 1280x720 ", { 0x21, 0x08 } },
		{ 1920, 1080, "1680x1050 1440x900 1280x1024 1280x800 1280x720 ", { 0x21, 0x08 } },
		{ 1366, 768, "1280x720 ", { 0x21, 0x08 } },
		{ 1280, 800, "1280x720 ", { 0x21, 0x08 } },
		{ 1280, 720, "", { 0x21, 0 } },
		{ 1080, 1920, "", { 0x21, 0x08 } },
		{ 700, 500, "", { 0x20, 0 } },
		{ 320, 200, "", { 0, 0 } },
	};
	for (uint32_t i = 0; i < sizeof panels / sizeof panels[0]; i++) {
		const struct edid_info info = { .width = panels[i].w, .height = panels[i].h };
		uint8_t e[EDID_SIZE];
		char got[200] = "";
		ck_assert(edid_make(&info, e));
		ck_assert_mem_eq(e + 35, panels[i].established, 2);
		ck_assert_uint_eq(e[37], 0);
		for (uint32_t at = 38; at < 54; at += 2) {
			static const uint32_t aspect[4][2] = { { 16, 10 }, { 4, 3 }, { 5, 4 }, { 16, 9 } };
			if (e[at] == 1 && e[at + 1] == 1)
				continue;
			uint32_t w = (e[at] + 31u) * 8;
			ck_assert_uint_eq(e[at + 1] & 63, 0); /* 60 Hz */
			snprintf(got + strlen(got), sizeof got - strlen(got), "%ux%u ", w, w * aspect[e[at + 1] >> 6][1] / aspect[e[at + 1] >> 6][0]);
		}
		ck_assert_str_eq(got, panels[i].standard);
	}
}
END_TEST

START_TEST(accepted_by_edid_decode)
{
	if (system("command -v edid-decode >/dev/null 2>&1") != 0)
		UNIT_SKIP("no edid-decode");
	uint8_t e[EDID_SIZE];
	ck_assert(edid_make(&modes[_i], e));
	char path[] = "/tmp/edid-XXXXXX", line[128];
	int fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, e, sizeof e), sizeof e);
	close(fd);
	snprintf(line, sizeof line, "edid-decode --check %s >/dev/null", path);
	int status = system(line);
	unlink(path);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(sizes_that_do_not_fit)
{
	uint8_t e[EDID_SIZE] = { 0x55 };
	struct edid_info info = { .width = 5120, .height = 2880 };
	ck_assert(!edid_make(&info, e));
	info = (struct edid_info){ .width = 0, .height = 600 };
	ck_assert(!edid_make(&info, e));
	info = (struct edid_info){ .width = 800, .height = UINT32_MAX };
	ck_assert(!edid_make(&info, e));
	ck_assert_uint_eq(e[0], 0x55);
	/* Impossible rates are bent, not obeyed. */
	info = (struct edid_info){ .width = 1, .height = 4095, .refresh_mhz = UINT32_MAX };
	ck_assert(edid_make(&info, e));
	info.refresh_mhz = 1;
	ck_assert(edid_make(&info, e));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("edid");
	TCase *c = tcase_create("edid");
	tcase_add_loop_test(c, header_checksum_and_native_mode, 0, (int)(sizeof modes / sizeof modes[0]));
	tcase_add_test(c, common_modes);
	tcase_add_loop_test(c, accepted_by_edid_decode, 0, (int)(sizeof modes / sizeof modes[0]));
	tcase_add_test(c, sizes_that_do_not_fit);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
