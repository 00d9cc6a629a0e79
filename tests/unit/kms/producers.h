/* The UI and the guest of the rig's panel, in the test's own hands: their buffers, which lie in one memory, their frames, and what they hear. */
#pragma once

#include "panel_rig.h"

#include <drm_fourcc.h>

#define BUFFER_BYTES 16384u /* from one buffer's pixels to the next one's */
#define PRODUCERS_MEMORY (64 * BUFFER_BYTES)
#define UI_BUFFER 1u

extern struct link *ui, *guest; /* a guest that is NULL is not listened to */
extern int memory;
extern uint32_t *pixels;
/* Numbers of the last frame sent (by the helpers that count) and of the last one shown; the UI's of head 0. */
extern uint64_t ui_sequence, ui_presented, guest_sequence, guest_presented;
/* The same of the guest's heads, and what it was told of each. */
extern uint64_t head_presented[LINK_MAX_HEADS];
extern struct link_message head_display[LINK_MAX_HEADS];
extern bool head_visible[LINK_MAX_HEADS];
extern uint32_t display_w, display_h; /* as the UI was told */
extern struct link_buffer_id released[64]; /* the guest's, the latest ones */
extern uint32_t n_released;

/* After panel_rig_open(): the links are the panel's, which starts. */
void producers_open(bool with_guest);
/* After panel_rig_close(). */
void producers_close(void);
/* What has arrived; also done at each turn of the loop. */
void hear(void);

uint32_t *buffer_pixels(uint32_t id);
/* All of them. */
void paint(uint32_t id, uint32_t colour);
/* Buffer `id` of the memory; its generation is 1. */
void announce(struct link *link, uint32_t id, uint32_t w, uint32_t h, uint32_t format);
/* The pointer of a head, its hot spot at 3, 5. picture 0: as it was. False: the ring is full. */
bool send_pointer(struct link *link, uint32_t head, uint32_t picture, int32_t x, int32_t y, bool visible);
void show(struct link *link, uint32_t head, uint32_t id, uint64_t number, struct rect source, struct rect damage);
