#include "fake_panel.h"

#include <string.h>

struct fake fake;
const struct rect whole = {0, 0, W, H};

void fake_panel_open(const struct panel_config *config, bool with_guest)
{
	fake_init(&fake, &fake_ops);
	panel_rig_open(&fake.base, config);
	producers_open(with_guest);
	announce(ui, UI_BUFFER, W, H, DRM_FORMAT_XRGB8888);
	ui_frame();
}

void fake_panel_close(void)
{
	panel_rig_close();
	ck_assert(fake.destroyed);
	ck_assert_uint_eq(fake.made, fake.freed);
	ck_assert_uint_eq(fake.imported, 0);
	ck_assert_uint_eq(fake.cursor_buffers, 0);
	producers_close();
}

void ui_frame_of(struct rect damage)
{
	show(ui, 0, UI_BUFFER, ++ui_sequence, whole, damage);
}

void ui_frame(void)
{
	ui_frame_of(whole);
}

void let_flips(void)
{
	fake.hold_flips = false;
	eventfd_write(fake.base.fd, 1);
}

uint32_t screen_pixel(uint32_t x, uint32_t y)
{
	ck_assert(!fake.shown.imported);
	return ((const uint32_t *)(const void *)(fake.shown.pixels + (size_t)y * fake.shown.pitch))[x] & 0xffffffu;
}

uint32_t plane_pixel(void)
{
	return fake.plane.buffer ? ((const uint32_t *)(const void *)fake.plane.buffer->pixels)[0] : 0;
}

bool plane_shows(uint32_t colour, int32_t x, int32_t y)
{
	return plane_pixel() == colour && fake.plane.x == x && fake.plane.y == y;
}

void make(bool connected)
{
	memset(&fake, 0, sizeof(fake));
	fake.connected = connected;
	fake_panel_open(NULL, false);
	if (connected) {
		UNTIL(fake.commits == 1);
		ck_assert_uint_eq(fake.full, 1);
		UNTIL(ui_presented == 1);
	}
}

void unmake(void)
{
	fake_panel_close();
}
