/*
 * Cards that go and come. The worker gives up all that it made with a lost card, the card thread closes it and looks for the next one, the worker probes that.
 * Until its output is adopted everything is as without a monitor; what is toggled meanwhile is shown then.
 */
#define LOG_MODULE "panel"
#include <stdio.h>
#include <string.h>

#include <wayland-server-core.h>

#include "kms/opener.h"
#include "kms/panel_private.h"

#define SOON_NS (250 * NSEC_PER_MSEC) /* between looks for a card that was just announced: its node may not be ours yet */
#define SOON_LOOKS 8
#define LOOK_NS (5 * NSEC_PER_SEC) /* after that: for what nobody announced */

static int on_backend(int fd, uint32_t mask, void *data)
{
	(void)fd;
	(void)mask;
	struct panel *panel = data;
	panel->backend->ops->dispatch(panel->backend);
	return 0;
}

static void take_news(struct panel *panel)
{
	if (!panel->hotplug_source)
		return;
	uint32_t news = panel->backend->ops->hotplug(panel->backend, panel->card == PANEL_CARD_HERE);
	if (news & BACKEND_LOST)
		panel_card_lost(panel);
	else if (news & BACKEND_OUTPUTS)
		panel_probe(panel);
	if (news & BACKEND_CAME && panel->card != PANEL_CARD_HERE) {
		panel->soon_looks = SOON_LOOKS;
		panel_look_for_card(panel);
	}
}

static int on_hotplug(int fd, uint32_t mask, void *data)
{
	(void)fd;
	(void)mask;
	take_news(data);
	return 0;
}

static void ask(struct panel *panel, bool look)
{
	panel->card = PANEL_CARD_OPENING;
	panel->card_ns = 0;
	opener_ask(panel->opener, look);
}

static int on_opener(int fd, uint32_t mask, void *data)
{
	(void)fd;
	(void)mask;
	struct panel *panel = data;
	bool opened;
	const char *why;
	if (!opener_answer(panel->opener, &opened, &why))
		return 0;
	take_news(panel); /* what came while it was opened */
	if (opened) {
		panel->card = PANEL_CARD_HERE;
		panel->new_card = true;
		panel->card_source = wl_event_loop_add_fd(panel->loop, panel->backend->fd, WL_EVENT_READABLE, on_backend, panel);
		panel->card_why[0] = '\0';
		panel->look_again = false;
		panel_update_status(panel);
		panel_probe(panel);
		take_news(panel); /* whether it went meanwhile */
		return 0;
	}
	panel->card = PANEL_CARD_NONE;
	if (why[0] && strcmp(why, panel->card_why) != 0)
		log_info("no card can be used yet: %s", why);
	if (why[0])
		snprintf(panel->card_why, sizeof(panel->card_why), "%s", why);
	panel->card_ns = clock_now_ns() + (panel->soon_looks ? SOON_NS : LOOK_NS);
	panel->soon_looks -= panel->soon_looks > 0;
	panel_arm_latch(panel);
	if (panel->look_again)
		panel_look_for_card(panel);
	return 0;
}

void panel_look_for_card(struct panel *panel)
{
	panel->look_again = panel->card != PANEL_CARD_HERE;
	/* A seat that is not ours opens nothing; its return looks. */
	if (panel->card != PANEL_CARD_NONE || !panel->active)
		return;
	panel->look_again = false;
	ask(panel, true);
}

void panel_card_timer(struct panel *panel)
{
	if (!panel->card_ns || clock_now_ns() < panel->card_ns)
		return;
	panel->card_ns = 0;
	panel_look_for_card(panel);
}

void panel_card_lost(struct panel *panel)
{
	struct backend *backend = panel->backend;
	if (panel->card != PANEL_CARD_HERE || !panel->opener)
		return;
	log_warn("the display card is gone (%s): running on without one until it or another one comes", backend->ops->describe(backend));
	panel_go_dark(panel);
	backend->ops->adopt(backend, NULL);
	if (panel->card_source)
		wl_event_source_remove(panel->card_source);
	panel->card_source = NULL;
	panel->card = PANEL_CARD_LEAVING;
	panel->look_again = false;
	/* Producers go on in the size they have. Nothing that was made for this card is named any more. */
	for (uint32_t i = 0; i < panel->n_screens; i++) {
		struct screen *screen = &panel->screen[i];
		screen->output.connected = false;
		screen->output.n_mirrors = 0;
		screen->set = i ? 0 : ++panel->sets; /* a further one's are made when it is known to have a monitor */
		screen->black = NULL;
		screen->off = false;
		screen->now = screen->next = (struct shown){0};
	}
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		panel->face[f].complete = panel->face[f].refused = false;
	panel->pointer_plane = panel->foreign = false;
	worker_post(panel->worker, &(struct front_event){.type = FRONT_LEAVE});
	for (uint32_t i = 0; i < panel->n_screens; i++)
		panel_run_latch(&panel->screen[i], false);
	panel_update_status(panel);
	panel_arm_tick(panel);
}

void panel_card_left(struct panel *panel)
{
	/* What the worker says of pointers from now on is about none, or about the next card's. */
	memset(panel->pointer, 0, sizeof(panel->pointer));
	bool look = panel->look_again && panel->active;
	panel->look_again = false;
	ask(panel, look);
}

bool panel_watch_card(struct panel *panel)
{
	panel->card_source = wl_event_loop_add_fd(panel->loop, panel->backend->fd, WL_EVENT_READABLE, on_backend, panel);
	if (panel->backend->hotplug_fd >= 0) {
		panel->hotplug_source = wl_event_loop_add_fd(panel->loop, panel->backend->hotplug_fd, WL_EVENT_READABLE, on_hotplug, panel);
		return panel->card_source && panel->hotplug_source;
	}
	return panel->card_source != NULL;
}

int panel_start_card(struct panel *panel)
{
	if (!panel->backend->ops->open_card)
		return 0;
	panel->opener = opener_create(panel->backend);
	if (!panel->opener)
		return -1;
	panel->opener_source = wl_event_loop_add_fd(panel->loop, opener_fd(panel->opener), WL_EVENT_READABLE, on_opener, panel);
	return panel->opener_source ? 0 : -1;
}

void panel_end_card(struct panel *panel)
{
	struct wl_event_source *source[] = {panel->card_source, panel->hotplug_source, panel->opener_source};
	for (uint32_t i = 0; i < ARRAY_LEN(source); i++)
		if (source[i])
			wl_event_source_remove(source[i]);
	opener_destroy(panel->opener);
}
