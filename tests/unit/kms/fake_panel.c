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
