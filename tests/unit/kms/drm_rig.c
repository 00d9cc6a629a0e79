#include "drm_rig.h"

#include <string.h>

#include "kms/backend.h"
#include "kms/choose.h"

const struct rect whole = {0, 0, W, H};
const char *rig_card;
static bool rig_legacy; /* atomic commits are not asked for */
bool rig_gbm, rig_extend;
enum panel_strip rig_strip;
const char *rig_connector;

void reset(enum way way)
{
	fake_drm_reset();
	card.no_atomic = way == LEGACY;
	rig_legacy = way == LEGACY_ASKED;
	rig_gbm = rig_extend = false;
	rig_strip = PANEL_STRIP_OFF;
	rig_connector = NULL;
	rig_card = "/dev/dri/fake";
}

void rig_start(void)
{
	char error[300];
	int status;
	const struct choose_wish wish = {.extend = rig_extend, .connector = rig_connector};
	struct backend *backend = drm_create(fake_seat(), rig_card, rig_legacy, rig_gbm, &wish, error, sizeof(error), &status);
	ck_assert_msg(backend != NULL, "%s", error);
	panel_rig_open(backend, &(struct panel_config){.extend = rig_extend, .strip = rig_strip});
	producers_open(true);
	announce(ui, UI_BUFFER, W, H, DRM_FORMAT_XRGB8888);
	for (uint32_t id = GUEST_BUFFER; id < GUEST_BUFFER + 3; id++)
		announce(guest, id, W, H, DRM_FORMAT_XRGB8888);
	announce(guest, POINTER_BUFFER, LINK_CURSOR_SIDE, LINK_CURSOR_SIDE, DRM_FORMAT_ARGB8888);
	ui_frame(UI_COLOUR);
}

void start_shown(void)
{
	rig_start();
	UNTIL(screen_shows(UI_COLOUR));
	UNTIL(ui_presented == ui_sequence);
}

void rig_end(void)
{
	ck_assert_uint_eq(card.pulled + card.pulled_beside, 0);
	panel_rig_close();
	ck_assert_uint_eq(fake_drm_leaks(), 0);
	ck_assert_uint_eq(card.strays, 0);
	ck_assert_uint_eq(card.closed_mapped, 0);
	producers_close();
}

void fails(unsigned long request, int error, uint32_t count)
{
	card.script[0] = (struct fake_script){.request = request, .error = error, .count = count};
}

void fill(uint32_t id, uint32_t colour)
{
	for (uint32_t i = 0; i < BUFFER_BYTES / 4; i++)
		buffer_pixels(id)[i] = colour + (i & 1);
}

void ui_frame(uint32_t colour)
{
	fill(UI_BUFFER, colour);
	show(ui, 0, UI_BUFFER, ++ui_sequence, whole, whole);
}

void guest_frame(uint32_t id, uint32_t colour)
{
	fill(id, colour);
	show(guest, 0, id, ++guest_sequence, whole, whole);
}

void guest_points(int32_t x, int32_t y, bool visible)
{
	ck_assert(send_pointer(guest, 0, POINTER_BUFFER, x, y, visible));
}

bool screen_is(uint32_t colour, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	if (!fake_drm_lit())
		return false;
	for (uint32_t sy = 0; sy < card.height; sy++)
		for (uint32_t sx = 0; sx < card.width; sx++) {
			bool in = sx >= x && sx < x + w && sy >= y && sy < y + h;
			uint32_t want = in ? colour + (((sy - y) * w + sx - x) & 1) : 0;
			if (fake_drm_pixel(sx, sy) != want)
				return false;
		}
	return true;
}

bool screen_shows(uint32_t colour)
{
	return screen_is(colour, 0, 0, card.width, card.height);
}
