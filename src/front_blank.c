/* The front thread's part in switching the screen off: who is idle, who asks, and what wakes. When: toggle/blank.h. */
#define LOG_MODULE "front"
#include "front_private.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <string.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "control/control.h"
#include "options.h"

/* The timer is due at blank.timer_ns, which input moves without arming it anew. */
static void arm(struct front *front)
{
	uint64_t now = clock_now_ns(), at = front->blank.timer_ns;
	if (at == front->blank_armed_ns)
		return;
	front->blank_armed_ns = at;
	wl_event_source_timer_update(front->blank_timer, at == 0 ? 0 : at > now ? (int)((at - now) / NSEC_PER_MSEC) + 1 : 1);
}

/* Does what the machine said. 0, or -1 with errno: the card cannot. */
static int act(struct front *front, enum blank_action action)
{
	int result = 0, error = 0;
	if (action == BLANK_ON)
		panel_blank(front->panel, false);
	if (action == BLANK_OFF && panel_blank(front->panel, true) < 0) {
		error = errno;
		result = -1;
		log_warn("the screen cannot be switched off: %s", strerror(error));
		blank_handle(&front->blank, BLANK_FAILED, clock_now_ns());
	}
	arm(front);
	errno = error;
	return result;
}

static int idle(void *data)
{
	struct front *front = data;
	front->blank_armed_ns = 0;
	enum blank_action action = blank_handle(&front->blank, BLANK_TIMER, clock_now_ns());
	if (action == BLANK_OFF)
		log_info("no input for %u s: the screen goes off", front->config.options->blank_after);
	act(front, action);
	return 0;
}

int front_watch_idle(struct front *front)
{
	front->woke_device = ROUTER_DEVICES;
	front->blank_timer = wl_event_loop_add_timer(front->loop, idle, front);
	return front->blank_timer != NULL ? 0 : -1;
}

void front_idle_begins(struct front *front)
{
	bool screen = front->panel != NULL;
	blank_init(&front->blank, screen ? front->config.options->blank_after * NSEC_PER_SEC : 0, clock_now_ns());
	arm(front);
}

/* Releases wake nobody: a screen that a key switches off stays off when the key is let go. What is addressed to the guest comes from no person here. */
void front_route(struct front *front, const struct router_event *event)
{
	bool lift = event->type == EV_ABS && event->code == ABS_MT_TRACKING_ID && event->value < 0;
	bool person = !event->to_guest && !lift && (event->type != EV_KEY || event->value == 1);
	enum blank_action action = person ? blank_handle(&front->blank, BLANK_INPUT, event->time_ns) : BLANK_NOTHING;
	if (action == BLANK_ON) {
		front->woke_device = event->device;
		front->woke_ns = event->time_ns;
	}
	/* All events of one packet have its time. */
	if (person && event->device == front->woke_device && event->time_ns == front->woke_ns)
		router_swallow(front->router, event);
	else
		router_handle(front->router, event);
	/* After the router: a toggle key has changed the presentation, and what lights up is the right face. */
	if (action == BLANK_ON)
		act(front, action);
}

void front_blank_lid(struct front *front, bool closed)
{
	if (front->panel != NULL)
		act(front, blank_handle(&front->blank, closed ? BLANK_ASK_OFF : BLANK_ASK_ON, clock_now_ns()));
}

void front_blank_request(struct front *front, bool on, uint64_t token)
{
	char error[120];
	if (front->panel == NULL) {
		control_done(front->control, token, "display: there is none: rayvm was started with --display none");
		return;
	}
	enum blank_action action = blank_handle(&front->blank, on ? BLANK_ASK_ON : BLANK_ASK_OFF, clock_now_ns());
	if (action == BLANK_REFUSED) {
		control_done(front->control, token, "display: the screen is another session's at present");
	} else if (act(front, action) < 0) {
		snprintf(error, sizeof error, "display: the card does not switch it off: %s", strerror(errno));
		control_done(front->control, token, error);
	} else {
		control_done(front->control, token, NULL);
	}
}

void front_blank_session(struct front *front, bool active)
{
	if (front->panel != NULL)
		act(front, blank_handle(&front->blank, active ? BLANK_BACK : BLANK_LOST, clock_now_ns()));
}
