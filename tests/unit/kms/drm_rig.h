/* A panel on the fake card with the real drm*.c between them, a UI and a guest: for tests of what the card sees. One per test program's test. */
#pragma once

#include "fake_drm.h"
#include "producers.h"

#define W 64
#define H 48
#define GUEST_BUFFER 4u /* and 5, 6 */
#define POINTER_BUFFER 8u
#define UI_COLOUR 0x102030u

extern const struct rect whole;
extern const char *rig_card; /* as --card; NULL: any */

/* Atomic commits, the old calls of a card that has no others, and those of one that has. */
enum way { ATOMIC, LEGACY, LEGACY_ASKED, WAYS };

extern bool rig_gbm; /* framebuffers by libgbm are asked for; reset() asks for none */
extern enum panel_strip rig_strip;
extern const char *rig_connector; /* as --connector; reset(): NULL */
extern bool rig_extend; /* further monitors show pictures of their own; reset() asks for mirrors */

/* fake_drm_reset(), and what it takes to go this way. */
void reset(enum way way);

/* After either reset: the card is opened, the panel runs, both producers know their buffers, the UI has sent its first frame. */
void rig_start(void);
/* The same, and that frame is on the screen. */
void start_shown(void);
/* Ends the panel: nothing of the card's is held then, and until then no framebuffer was taken off the screen. */
void rig_end(void);

/* The next `count` ioctls of this kind fail. */
void fails(unsigned long request, int error, uint32_t count);

/* A picture that is of this colour, but for each other pixel's last bit. */
void fill(uint32_t id, uint32_t colour);
void ui_frame(uint32_t colour);
void guest_frame(uint32_t id, uint32_t colour);
/* The guest's hardware cursor: a picture of its own, whose pixels are those of POINTER_BUFFER. */
void guest_points(int32_t x, int32_t y, bool visible);
/* The whole screen has this picture of fill(), in its own size at x, y; around it is black. */
bool screen_is(uint32_t colour, uint32_t x, uint32_t y, uint32_t w, uint32_t h);
bool screen_shows(uint32_t colour);
