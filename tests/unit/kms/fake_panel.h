/* The rig's panel on the fake card, before a UI and perhaps a guest. */
#pragma once

#include "fake_card.h"
#include "producers.h"

extern struct fake fake;
extern const struct rect whole; /* of a screen of W x H */

/* On `fake` as the test has set it up (fake.connected not least). The UI's first frame was sent: UI_BUFFER, number 1. */
void fake_panel_open(const struct panel_config *config, bool with_guest);
/* Nothing of the card's is held then. */
void fake_panel_close(void);

/* The UI's next frame. */
void ui_frame(void);
void ui_frame_of(struct rect damage);

/* Flips that were held go on, the one in flight first. */
void let_flips(void);
/* A pixel of the picture on the screen, which is a copy. */
uint32_t screen_pixel(uint32_t x, uint32_t y);
/* The first pixel of what the cursor plane shows, 0: nothing; and whether it is this one, here. */
uint32_t plane_pixel(void);
bool plane_shows(uint32_t colour, int32_t x, int32_t y);

/* The card as it is by default, before the UI alone; with a monitor the UI's first frame is on the screen. */
void make(bool connected);
void unmake(void);
