/* A panel with its loop, its status and its counters, on whatever backend, and the waiting for what becomes of it. One at a time. */
#pragma once

#include "unit.h"

#include <pthread.h>
#include <wayland-server-core.h>

#include "base/stats.h"
#include "kms/panel_private.h"

extern struct wl_event_loop *loop;
extern struct panel *panel;
extern struct status_board *board;
extern struct stats stats;
/* What a test does after each turn of the loop; NULL: nothing. */
extern void (*panel_rig_turned)(void);

/* A panel that is not started yet. backend NULL: the one that `config` names. config NULL: nothing that a panel need not have; board and stats are the rig's. */
void panel_rig_open(struct backend *backend, const struct panel_config *config);
void panel_rig_close(void);

/* The front's loop, for `ms` at most if nothing comes. */
void turn(int ms);
void settle(uint64_t ms);
/* Now. */
void present(enum presentation side);

struct picture {
	pthread_mutex_t lock;
	bool done;
	uint32_t *pixels, width, height;
};
/* A screenshot, as of panel_screenshot(). pixels is the caller's, or NULL. */
struct picture shoot(const char *output, enum panel_shot what);

/* Turns the front's loop until `what` holds; fails after 10 s. */
#define UNTIL(what)                                                      \
	do {                                                             \
		uint64_t deadline = clock_now_ns() + 10 * NSEC_PER_SEC;  \
		while (!(what)) {                                        \
			ck_assert_msg(clock_now_ns() < deadline, #what); \
			turn(2);                                         \
		}                                                        \
	} while (0)
