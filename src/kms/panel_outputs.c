/* Outputs: what the connectors offer now, and what that changes. */
#define LOG_MODULE "panel"
#include <stdlib.h>
#include <string.h>

#include "kms/panel_private.h"

void panel_probe(struct panel *panel)
{
	if (panel->card == PANEL_CARD_HERE)
		worker_post(panel->worker, &(struct front_event){.type = FRONT_PROBE, .fulls = panel->fulls});
}

void panel_new_geometry(struct screen *screen)
{
	struct panel *panel = screen->panel;
	screen->set = ++panel->sets;
	screen->black = NULL;
	for (uint32_t f = 0; f < panel_faces(panel); f++) {
		if (screen_of((enum panel_face)f) != screen->number)
			continue;
		panel->face[f].complete = false;
		panel->face[f].damage = (struct rect){0};
	}
	worker_post(panel->worker, &(struct front_event){.type = FRONT_GEOMETRY, .screen = screen->number, .set = screen->set, .width = screen->output.width,
		.height = screen->output.height});
	panel_tell_display(screen);
}

static void take(struct screen *screen, const struct output *output)
{
	const struct output old = screen->output;
	screen->output = output ? *output : (struct output){0};
	screen->off = false;
	memset(screen->output.further, 0, sizeof(screen->output.further)); /* those are gone with the next adopted one */
	if (!screen->output.connected) {
		/* Producers go on in the size they have. */
		screen->output.width = old.width;
		screen->output.height = old.height;
		screen->output.refresh_mhz = old.refresh_mhz;
	}
}

void panel_take_output(struct panel *panel, const struct output *output)
{
	take(&panel->screen[0], output);
	for (uint32_t i = 1; i < panel->n_screens; i++)
		take(&panel->screen[i], output->further[i - 1]);
}

static bool same_monitor(const struct output *a, const struct output *b)
{
	return a->width_mm == b->width_mm && a->height_mm == b->height_mm && strcmp(a->monitor, b->monitor) == 0;
}

static bool same_output(const struct output *a, const struct output *b)
{
	if (a->connected != b->connected || !a->connected)
		return a->connected == b->connected;
	if (a->width != b->width || a->height != b->height || a->refresh_mhz != b->refresh_mhz || strcmp(a->name, b->name) != 0 || a->n_mirrors != b->n_mirrors ||
	    !same_monitor(a, b))
		return false;
	for (uint32_t i = 0; i < a->n_mirrors; i++)
		if (strcmp(a->mirror[i], b->mirror[i]) != 0)
			return false;
	return true;
}

/* Whether all of them are as before, as far as the front has to do with it. */
static bool nothing_new(const struct panel *panel, const struct output *output)
{
	static const struct output none;
	bool same = same_output(output, &panel->screen[0].output) && !output->link_lost;
	for (uint32_t i = 1; i < panel->n_screens; i++) {
		const struct output *further = output->further[i - 1] ? output->further[i - 1] : &none;
		same &= same_output(further, &panel->screen[i].output) && !further->link_lost;
	}
	return same;
}

/* A further screen's monitor may have come, gone or changed. */
static void renew_further(struct screen *screen, const struct output *old)
{
	const struct output *output = &screen->output;
	bool anew = screen->set == 0 || screen->panel->new_card || output->width != old->width || output->height != old->height || output->refresh_mhz != old->refresh_mhz;
	if (output->connected)
		log_info("%s: %ux%u, the guest's head %u", output->name, output->width, output->height, screen->number);
	if (output->connected && anew)
		panel_new_geometry(screen);
	else
		panel_tell_display(screen);
}

void panel_probed(struct panel *panel, struct output *output, uint32_t fulls)
{
	if (panel->card != PANEL_CARD_HERE) {
		free(output); /* of a card that is gone */
		return;
	}
	if (!output) {
		log_warn("connectors could not be read");
		if (panel->new_card)
			panel_card_lost(panel); /* it is tried again */
		return;
	}
	if (fulls != panel->fulls) {
		/* A full commit has come between: what it set would have to be cleared by the next one, and this one does not know of it. */
		free(output);
		panel_probe(panel);
		return;
	}
	struct screen *screen = &panel->screen[0];
	struct output old = screen->output, further[SCREENS];
	for (uint32_t i = 1; i < panel->n_screens; i++)
		further[i] = panel->screen[i].output;
	/* The session's previous owner may have left a pointer or a second picture, which only this probe saw. */
	bool leftovers = panel->foreign && output->leftovers > 0;
	panel->foreign = false;
	if (nothing_new(panel, output) && !leftovers && !panel->new_card) {
		free(output);
		return;
	}
	panel_go_dark(panel);
	panel_take_output(panel, output);
	panel->backend->ops->adopt(panel->backend, output);
	if (screen->output.link_lost)
		log_warn("%s: the link to the monitor was lost, setting it up anew", screen->output.name);
	else if (screen->output.connected)
		log_info("%s: %ux%u, %u mirror%s", screen->output.name, screen->output.width, screen->output.height, screen->output.n_mirrors,
			screen->output.n_mirrors == 1 ? "" : "s");
	else
		log_info("no monitor connected any more; running on without");
	panel_offer_pointer(panel); /* ahead of new framebuffers, which would have it drawn in */
	if (panel->new_card || screen->output.width != old.width || screen->output.height != old.height || screen->output.refresh_mhz != old.refresh_mhz)
		panel_new_geometry(screen);
	else if (screen->output.connected && !same_monitor(&screen->output, &old))
		panel_tell_display(screen); /* another monitor with the same mode */
	for (uint32_t i = 1; i < panel->n_screens; i++)
		renew_further(&panel->screen[i], &further[i]);
	panel->new_card = false;
	panel_tell_path(panel);
	panel_update_status(panel);
	panel_arm_tick(panel); /* sends it, also while nothing is shown */
	panel_go_light(panel);
}
