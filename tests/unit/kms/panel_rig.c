#include "panel_rig.h"

#include <string.h>

struct wl_event_loop *loop;
struct panel *panel;
struct status_board *board;
struct stats stats;
void (*panel_rig_turned)(void);

void panel_rig_open(struct backend *backend, const struct panel_config *config)
{
	char error[300];
	int status;
	struct panel_config mine = config ? *config : (struct panel_config){0};
	memset(&stats, 0, sizeof(stats));
	loop = wl_event_loop_create();
	board = status_board_create();
	mine.board = board;
	mine.stats = &stats;
	panel = backend ? panel_create_on(loop, &mine, backend, error, sizeof(error)) : panel_create(loop, &mine, error, sizeof(error), &status);
	ck_assert_msg(panel != NULL, "%s", error);
}

void panel_rig_close(void)
{
	panel_destroy(panel);
	status_board_destroy(board);
	wl_event_loop_destroy(loop);
}

void turn(int ms)
{
	wl_event_loop_dispatch(loop, ms);
	if (panel_rig_turned)
		panel_rig_turned();
}

void settle(uint64_t ms)
{
	uint64_t end = clock_now_ns() + ms * NSEC_PER_MSEC;
	while (clock_now_ns() < end)
		turn(2);
}

void present(enum presentation side)
{
	panel_present(panel, side, clock_now_ns());
}

static void on_shot(void *data, uint32_t *pixels, uint32_t width, uint32_t height)
{
	struct picture *picture = data;
	pthread_mutex_lock(&picture->lock);
	picture->pixels = pixels;
	picture->width = width;
	picture->height = height;
	picture->done = true;
	pthread_mutex_unlock(&picture->lock);
}

static bool shot_done(struct picture *picture)
{
	pthread_mutex_lock(&picture->lock);
	bool done = picture->done;
	pthread_mutex_unlock(&picture->lock);
	return done;
}

struct picture shoot(const char *output, enum panel_shot what)
{
	static struct picture picture;
	picture = (struct picture){.lock = PTHREAD_MUTEX_INITIALIZER};
	ck_assert(panel_screenshot(panel, output, what, on_shot, &picture));
	UNTIL(shot_done(&picture));
	return picture;
}
