#define LOG_MODULE "panel"
#include <stdio.h>

#include "kms/panel_private.h"
#include "kms/strip.h"

static bool tick_due(const struct panel *panel, enum panel_face face)
{
	return !(panel->visible & 1u << face) && panel->face[face].newest != panel->face[face].presented;
}

/* Arms the tick when a face that is not on the screen waits for PRESENTED, or a producer for anything. */
void panel_arm_tick(struct panel *panel)
{
	bool due = false;
	for (uint32_t f = 0; f < panel_faces(panel); f++)
		due |= tick_due(panel, (enum panel_face)f);
	for (uint32_t p = 0; p < 2; p++)
		due |= !outbox_flush(&panel->outbox[p]);
	if (!due || panel->tick_armed)
		return;
	uint64_t now = clock_now_ns(), at = panel->tick_ns + panel_refresh_ns(&panel->screen[0]);
	panel_arm(panel->tick_fd, at > now ? at : now);
	panel->tick_armed = true;
}

void panel_tick(struct panel *panel)
{
	panel->tick_armed = false;
	panel->tick_ns = clock_now_ns();
	for (uint32_t f = 0; f < panel_faces(panel); f++) {
		struct face *face = &panel->face[f];
		if (!tick_due(panel, (enum panel_face)f))
			continue;
		face->presented = face->newest;
		outbox_presented(&panel->outbox[producer_of((enum panel_face)f)], head_of((enum panel_face)f), face->newest, panel->tick_ns);
	}
	panel_arm_tick(panel);
}

/* Tells worker and producers who is on the screen. */
void panel_update_visible(struct panel *panel)
{
	uint32_t visible = 0;
	if (panel->screen[0].latch.state != LATCH_DARK) {
		if (panel->presentation == PRESENTATION_PRESENTED) {
			visible = 1u << PANEL_FACE_GUEST;
			if (panel_wanted_face(&panel->screen[0]) != PANEL_FACE_GUEST)
				visible |= 1u << PANEL_FACE_PLACEHOLDER;
		} else {
			visible = 1u << PANEL_FACE_UI;
		}
	}
	for (uint32_t i = 1; i < panel->n_screens; i++)
		if (panel->screen[i].latch.state != LATCH_DARK && panel->presentation == PRESENTATION_PRESENTED)
			visible |= 1u << (PANEL_FACE_GUEST + i);
	if (visible == panel->visible)
		return;
	if (visible & ~panel->visible & 1u << PANEL_FACE_GUEST)
		panel->last_guest = max_u64(panel->last_guest, panel->face[PANEL_FACE_GUEST].newest);
	panel->visible = visible;
	worker_post(panel->worker, &(struct front_event){.type = FRONT_VISIBLE, .visible = visible});
	for (uint32_t f = 0; f < panel_faces(panel); f++)
		outbox_visible(&panel->outbox[producer_of((enum panel_face)f)], head_of((enum panel_face)f), visible & 1u << f);
	panel_arm_tick(panel);
}

void panel_tell_display(struct screen *screen)
{
	struct panel *panel = screen->panel;
	const struct output *output = &screen->output;
	const struct rect content = strip_layout(panel->config.strip, output->width, output->height).content;
	struct link_message message = {.type = LINK_DISPLAY};
	message.display.width = content.w;
	message.display.height = content.h;
	message.display.refresh_mhz = output->refresh_mhz;
	message.display.width_mm = output->width_mm;
	message.display.height_mm = output->height ? (uint32_t)((uint64_t)output->height_mm * content.h / output->height) : 0;
	snprintf(message.display.name, sizeof(message.display.name), "%s", output->monitor);
	/* What the guest may know of a further output: a monitor comes and goes. The main one's size stays. */
	if (screen->number && (!output->connected || screen->off))
		message = (struct link_message){.type = LINK_DISPLAY};
	for (uint32_t f = 0; f < panel_faces(panel); f++)
		if (screen_of((enum panel_face)f) == screen->number)
			outbox_display(&panel->outbox[producer_of((enum panel_face)f)], head_of((enum panel_face)f), &message);
}

static void write_output(struct status_output *to, const struct screen *screen)
{
	const struct output *output = &screen->output;
	bool on = output->connected && !screen->off;
	*to = (struct status_output){.width = on ? output->width : 0, .height = on ? output->height : 0, .refresh_mhz = output->refresh_mhz, .connected = on};
	snprintf(to->name, sizeof(to->name), "%s", output->name);
}

static void write_status(struct status *status, void *data)
{
	const struct panel *panel = data;
	const struct output *main = &panel->screen[0].output;
	status->blanked = panel->blanked;
	status->card = !panel->opener ? STATUS_CARD_NONE : panel->card == PANEL_CARD_HERE ? STATUS_CARD_HERE : STATUS_CARD_GONE;
	status->n_outputs = main->connected ? 1 + main->n_mirrors : 0;
	write_output(&status->output[0], &panel->screen[0]);
	for (uint32_t i = 0; i < main->n_mirrors && i + 1 < STATUS_OUTPUTS; i++) {
		status->output[1 + i] = status->output[0];
		status->output[1 + i].mirror = true;
		snprintf(status->output[1 + i].name, sizeof(status->output[0].name), "%s", main->mirror[i]);
	}
	for (uint32_t i = 1; i < panel->n_screens; i++)
		if (main->connected && panel->screen[i].output.connected && status->n_outputs < STATUS_OUTPUTS)
			write_output(&status->output[status->n_outputs++], &panel->screen[i]);
	status->scanout_width = panel->face[PANEL_FACE_GUEST].width;
	status->scanout_height = panel->face[PANEL_FACE_GUEST].height;
	for (uint32_t i = 1; i < panel->n_screens; i++)
		status->further[i - 1] = (struct status_size){panel->face[PANEL_FACE_GUEST + i].width, panel->face[PANEL_FACE_GUEST + i].height};
	status->zero_copy = panel->direct;
	status->bilinear = panel->config.bilinear;
	status->cursor = panel->cursor;
	status->session = panel->active ? SESSION_ACTIVE : SESSION_INACTIVE;
}

void panel_update_status(struct panel *panel)
{
	status_board_update(panel->config.board, write_status, panel);
	const struct output *output = &panel->screen[0].output;
	if (panel->card != PANEL_CARD_HERE) {
		status_board_line(panel->config.board, STATUS_DISPLAY, STATUS_BUSY, "no display card: waiting for one");
		return;
	}
	const char *what = panel->backend->ops->describe(panel->backend);
	if (panel->blanked)
		status_board_line(panel->config.board, STATUS_DISPLAY, STATUS_OFF, "off until a key is pressed, %s", what);
	else if (output->connected)
		status_board_line(panel->config.board, STATUS_DISPLAY, STATUS_OK, "%s %ux%u %u Hz, %s%s", output->name, output->width, output->height,
			(output->refresh_mhz + 500) / 1000, what, panel->pointer_plane ? ", cursor plane" : "");
	else
		status_board_line(panel->config.board, STATUS_DISPLAY, STATUS_BUSY, "no monitor connected, %s", what);
}

void panel_tell_path(struct panel *panel)
{
	if (panel->card != PANEL_CARD_HERE)
		return;
	const char *why = panel->config.strip != PANEL_STRIP_OFF ? "beside the strip of --trusted-strip" : panel->backend->copies;
	const struct shown *now = &panel->screen[0].now;
	bool direct = panel->direct;
	if (now->valid && now->face == PANEL_FACE_GUEST)
		direct = now->index >= FACE_BUFFERS;
	bool changed = direct != panel->direct;
	panel->direct = direct;
	if (changed)
		panel_update_status(panel);
	if (direct)
		status_board_line(panel->config.board, STATUS_PATH, STATUS_OK, "the guest's own pages, no copy");
	else
		status_board_line(panel->config.board, STATUS_PATH, STATUS_OK, "copy%s%s%s", panel->backend->single ? ", changes into the picture on the screen" : "",
			why[0] ? ": " : "", why);
}
