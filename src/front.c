#define LOG_MODULE "front"
#include "front_private.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/sandbox.h"
#include "base/stats.h"
#include "base/status.h"
#include "base/thread.h"
#include "control/control.h"
#include "isolated.h"
#include "kms/panel.h"
#include "kms/session.h"
#include "kms/strip.h"
#include "options.h"
#include "packet.h"
#include "toggle/input.h"

#define STALL_NS NSEC_PER_MSEC
#define REQUESTS_PER_TURN 64 /* of the control socket, before devices and flips get their turn: a client may be as fast as this thread */
#define REQUESTS_NS (300 * NSEC_PER_USEC) /* nor longer: on a busy machine a few requests may take as long as many */
#define RETRY_MS 20 /* releases that found a full ring */
#define LED_PACE_NS (20 * NSEC_PER_MSEC) /* between changes of the keyboard's lights that the machine asks for: they wear on real keyboards */

/* Status board edits, run under its lock. */
static void set_presentation(struct status *status, void *data)
{
	status->presentation = *(enum presentation *)data;
}

static void set_session(struct status *status, void *data)
{
	status->session = *(enum session_state *)data;
}

static void set_scanout(struct status *status, void *data)
{
	const uint32_t *size = data;
	status->scanout_width = size[0];
	status->scanout_height = size[1];
}

_Static_assert(STATUS_SCANOUTS == LINK_MAX_HEADS, "base does not know the link");

static void set_scanouts(struct status *status, void *data)
{
	const struct options *options = data;
	status->n_scanouts = options_scanouts(options);
}

static void set_first_frame(struct status *status, void *data)
{
	(void)data;
	status->first_frame = true;
}

static void set_inputs(struct status *status, void *data)
{
	const uint32_t *count = data;
	status->keyboards = count[0];
	status->pointers = count[1];
	status->plugged = true;
}

/* packet_send of both packers. */
static bool send_packet(void *data, bool to_guest, const struct link_message *message)
{
	struct front *front = data;
	if (to_guest)
		return front->link == NULL || front_send_guest(front, message); /* no guest: delivered to nobody */
	return front->panel != NULL && panel_send(front->panel, PANEL_FACE_UI, message);
}

static void flush_packets(struct front *front)
{
	bool owed = packer_flush(&front->guest);
	owed |= packer_flush(&front->ui);
	if (owed)
		wl_event_source_timer_update(front->retry, RETRY_MS);
}

static int retry_packets(void *data)
{
	flush_packets(data);
	return 0;
}

/* "presented" is told when there is something to see. */
static void tell_presented(struct front *front)
{
	struct status status;
	status_board_read(front->config.board, &status);
	if (status.presentation == PRESENTATION_PRESENTED && status.scanout_width > 0)
		log_marker("RAYOS_LINUX_DESKTOP_PRESENTED:ok:%ux%u", status.scanout_width, status.scanout_height);
}

/* From the panel to the picture of the side that gets it; motion accelerated for the UI, raw for the guest, which accelerates by itself. */
static void deliver(void *data, enum router_sink sink, const struct router_event *event)
{
	struct front *front = data;
	struct router_event mapped = *event;
	bool guest = sink == ROUTER_GUEST;
	if (sink == ROUTER_NOBODY)
		return;
	if (event->type == EV_ABS && event->code != ABS_MT_TRACKING_ID && !event->to_guest && front->panel != NULL) {
		uint32_t width, height;
		struct rect picture;
		panel_geometry(front->panel, guest ? PANEL_FACE_GUEST : PANEL_FACE_UI, &width, &height, &picture);
		bool horizontal = event->code == ABS_X || event->code == ABS_MT_POSITION_X;
		mapped.value = packet_map_axis(event->value, horizontal ? width : height, horizontal ? picture.x : picture.y,
			horizontal ? picture.w : picture.h);
	}
	if (event->type == EV_REL && (event->code == REL_X || event->code == REL_Y)) {
		if (!guest)
			mapped.value = event->accelerated;
		if (mapped.value == 0)
			return; /* less than a unit by now */
	}
	packer_add(guest ? &front->guest : &front->ui, &mapped);
}

static void present(void *data, enum presentation state, uint64_t time_ns)
{
	struct front *front = data;
	flush_packets(front); /* releases reach the losing side before it learns anything else */
	if (front->panel != NULL)
		panel_present(front->panel, state, time_ns);
	status_board_update(front->config.board, set_presentation, &state);
	log_marker("RAYOS_HOST_EVENT_V0:LINUX_PRESENTATION:%s", state == PRESENTATION_PRESENTED ? "PRESENTED" : "HIDDEN");
	tell_presented(front);
	if (front->panel != NULL && front->input != NULL)
		input_set_leds(front->input, state == PRESENTATION_PRESENTED ? front->leds_guest : front->leds_ui);
	/* Asking for the desktop starts a VM that is not there or was stopped, not one that crashed. */
	if (state == PRESENTATION_PRESENTED && front->has_vm &&
		(front->vm == VM_NONE || front->vm == VM_STOPPED))
		front_vm_command(front, LINK_VM_START, 0);
}

/* The release of the keys held follows with the session's end; without one there is no other terminal. */
static void switch_vt(void *data, int vt)
{
	struct front *front = data;
	if (front->session != NULL && session_switch(front->session, vt) < 0)
		log_warn("cannot switch to virtual terminal %d: %s", vt, strerror(errno));
}

static void toggle_stats(void *data)
{
	struct front *front = data;
	if (front->panel != NULL)
		panel_toggle_figures(front->panel);
}

/* This machine's power key, where it is no key for the sides. A guest that is off has nothing to power down. */
static void power_button(struct front *front)
{
	bool on = front->vm == VM_RUNNING || front->vm == VM_STARTING;
	if (front->has_vm && on)
		front_vm_command(front, LINK_VM_POWERDOWN, 0);
}

static void power_key(void *data)
{
	struct front *front = data;
	if (front->config.options->power_key == POWER_KEY_POWERDOWN)
		power_button(front);
}

static void lid(void *data, bool closed)
{
	struct front *front = data;
	if (!lid_heard(&front->lid, closed))
		return;
	log_info("the lid was %s", closed ? "closed" : "opened");
	if (front->config.options->lid == LID_BLANK)
		front_blank_lid(front, closed);
	else if (front->config.options->lid == LID_POWERDOWN && closed)
		power_button(front);
}

/* A key is read here and now that was pressed at time_ns. */
static void count_read(struct front *front, uint64_t time_ns)
{
	uint64_t now = clock_now_ns();
	front->config.stats->turns.key_ns = time_ns;
	histogram_record_us(&front->config.stats->key_read_us, now > time_ns ? (now - time_ns) / NSEC_PER_USEC : 0);
}

/* Devices -> router. */
static void input_event(void *data, const struct router_event *event)
{
	struct front *front = data;
	if (event->type == EV_KEY && event->value == 1)
		count_read(front, event->time_ns);
	front_route(front, event);
}

static void input_frame(void *data, uint32_t device, uint64_t time_ns)
{
	(void)device;
	(void)time_ns;
	flush_packets(data);
}

static void input_devices(void *data, uint32_t keyboards, uint32_t pointers)
{
	struct front *front = data;
	uint32_t count[2] = { keyboards, pointers };
	status_board_update(front->config.board, set_inputs, count);
	if (keyboards == 0)
		status_board_line(front->config.board, STATUS_INPUT, STATUS_OFF, "no keyboard: plug one in");
	else
		status_board_line(front->config.board, STATUS_INPUT, STATUS_OK, "%u keyboard%s, %u pointer%s", keyboards,
			keyboards == 1 ? "" : "s", pointers, pointers == 1 ? "" : "s");
}

static void input_gone(void *data, uint32_t device, uint64_t time_ns)
{
	struct front *front = data;
	router_device_gone(front->router, device, time_ns);
	flush_packets(front);
}

static int open_device(void *data, const char *path)
{
	struct front *front = data;
	return session_open_device(front->session, path);
}

static void close_device(void *data, int fd)
{
	struct front *front = data;
	session_close_device(front->session, fd);
}

/* The seat came or went. */
static void session_changed(void *data, bool active)
{
	struct front *front = data;
	enum session_state state = active ? SESSION_ACTIVE : SESSION_INACTIVE;
	if (!active && front->router != NULL) {
		router_release_all(front->router, ROUTER_NOBODY, clock_now_ns());
		flush_packets(front);
	}
	/* Away from a session that has no devices, back to one that has them: at no moment a keyboard is missing. */
	if (!active)
		status_board_update(front->config.board, set_session, &state);
	lid_lost(&front->lid);
	if (front->input != NULL)
		active ? input_resume(front->input) : input_suspend(front->input);
	if (active) {
		lid_learned(&front->lid);
		status_board_update(front->config.board, set_session, &state);
		front_blank_session(front, true);
	}
	if (front->panel != NULL)
		panel_session(front->panel, active);
	if (!active)
		front_blank_session(front, false);
	else if (front->lid.closed && front->config.options->lid == LID_BLANK)
		front_blank_lid(front, true);
}

/* Events with one time are one packet. */
static void inject(struct front *front, uint64_t time_ns, uint16_t type, uint16_t code, int32_t value, bool to_guest)
{
	struct router_event event = { .time_ns = time_ns, .device = front->injector, .type = type, .code = code, .value = value, .to_guest = to_guest };
	front_route(front, &event);
}

/* Presses and releases a chord in the guest, whatever is shown. Refused whole when a code is none. */
static void guest_chord(struct front *front, const uint32_t *untrusted_held, uint32_t n_held, uint32_t untrusted_code)
{
	uint64_t now = clock_now_ns();
	uint32_t held = 0;
	while (held < n_held && untrusted_held[held] != 0)
		held++;
	for (uint32_t i = 0; i < held; i++)
		if (untrusted_held[i] >= KEY_MAX)
			return;
	if (untrusted_code == 0 || untrusted_code >= KEY_MAX)
		return;
	for (uint32_t i = 0; i < held; i++)
		inject(front, now, EV_KEY, (uint16_t)untrusted_held[i], 1, true);
	inject(front, now, EV_KEY, (uint16_t)untrusted_code, 1, true);
	inject(front, now, EV_KEY, (uint16_t)untrusted_code, 0, true);
	for (uint32_t i = held; i-- > 0;)
		inject(front, now, EV_KEY, (uint16_t)untrusted_held[i], 0, true);
}

static void action(struct front *front, enum panel_face from, const struct link_message *message)
{
	uint32_t untrusted_action = message->action.action, untrusted_argument = message->action.argument;

	/*
	 * The guest's side may only ask for the end: for its own process's when it is off, and for the program's only where the settings let a guest
	 * do that, by a crash, or by switching off or rebooting. A machine that was taken over can do no more than its guest could.
	 */
	if (from == PANEL_FACE_GUEST) {
		const struct options *options = front->config.options;
		bool crashed = untrusted_argument != 0;
		bool may = crashed ? options->on_crash == POLICY_EXIT : options->on_poweroff == POLICY_EXIT || options->on_reboot == POLICY_EXIT;
		if (untrusted_action == LINK_ACTION_QUIT && may)
			front_quit(front, crashed ? EXIT_FAILED : EXIT_ASKED);
		else if (untrusted_action == LINK_ACTION_OFF && front->isolated != NULL)
			isolated_off(front->isolated);
		return;
	}
	switch (untrusted_action) {
	case LINK_ACTION_SHOW:
		router_present(front->router, PRESENTATION_SHOW, clock_now_ns());
		break;
	case LINK_ACTION_HIDE:
		router_present(front->router, PRESENTATION_HIDE, clock_now_ns());
		break;
	case LINK_ACTION_TOGGLE:
		router_present(front->router, PRESENTATION_TOGGLE, clock_now_ns());
		break;
	case LINK_ACTION_VM:
		if (untrusted_argument <= LINK_VM_STOP)
			front_vm_command(front, (enum link_vm_command)untrusted_argument, 0);
		break;
	case LINK_ACTION_GUEST_KEY:
		guest_chord(front, message->action.held, ARRAY_LEN(message->action.held), untrusted_argument);
		break;
	case LINK_ACTION_QUIT:
		front_quit(front, EXIT_ASKED);
		break;
	default:
		break;
	}
	flush_packets(front);
}

/* Shows the guest's lights if the guest is shown, now or as soon as the pace allows. */
static void show_guest_leds(struct front *front)
{
	uint64_t now = clock_now_ns();
	if (front->input == NULL || router_presentation(front->router) != PRESENTATION_PRESENTED)
		return;
	if (now < front->leds_ns) {
		wl_event_source_timer_update(front->leds, (int)((front->leds_ns - now) / NSEC_PER_MSEC) + 1);
		return;
	}
	front->leds_ns = now + LED_PACE_NS;
	input_set_leds(front->input, front->leds_guest);
}

static int leds_due(void *data)
{
	show_guest_leds(data);
	return 0;
}

void front_message(void *data, enum panel_face from, const struct link_message *message)
{
	struct front *front = data;
	switch (message->type) {
	case LINK_VM_STATE:
		if (from == PANEL_FACE_GUEST)
			front_machine_says(front, message);
		break;
	case LINK_ACTION:
		action(front, from, message);
		break;
	case LINK_LEDS:
		if (from == PANEL_FACE_GUEST) {
			front->leds_guest = message->leds.leds;
			show_guest_leds(front);
			break;
		}
		front->leds_ui = message->leds.leds;
		if (front->input != NULL && router_presentation(front->router) == PRESENTATION_HIDDEN)
			input_set_leds(front->input, front->leds_ui);
		break;
	default:
		break;
	}
}

static void first_frame(void *data, uint32_t width, uint32_t height)
{
	struct front *front = data;
	status_board_update(front->config.board, set_first_frame, NULL);
	log_marker("RAYOS_LINUX_DESKTOP_FIRST_FRAME:ok:%ux%u", width, height);
}

static void joined(void *data)
{
	struct front *front = data;
	if (front->isolated != NULL)
		isolated_joined(front->isolated);
}

static void scanout(void *data, uint32_t width, uint32_t height)
{
	struct front *front = data;
	uint32_t size[2] = { width, height }, left_out;
	status_board_update(front->config.board, set_scanout, size);
	/* A guest may change its size as often as it likes. */
	if (width > 0 && log_limit_pass(&front->scanout_limit, &left_out))
		tell_presented(front);
}

/* A command of the control socket. */
static void handle_request(struct front *front, const struct control_request *request)
{
	uint64_t now = clock_now_ns();
	const char *error = NULL;
	switch (request->kind) {
	case CONTROL_SHOW: {
		static const enum presentation_event events[] = { PRESENTATION_HIDE, PRESENTATION_SHOW, PRESENTATION_TOGGLE };
		front->config.stats->turns.key_ns = 0;
		router_present(front->router, events[request->argument], request->time_ns != 0 ? request->time_ns : now);
		break;
	}
	case CONTROL_KEY:
		if (request->value == 1 && request->time_ns != 0)
			count_read(front, request->time_ns);
		inject(front, now, EV_KEY, request->code, request->value, request->to_guest);
		break;
	case CONTROL_POINTER:
		inject(front, now, EV_ABS, ABS_X, (int32_t)request->x, request->to_guest);
		inject(front, now, EV_ABS, ABS_Y, (int32_t)request->y, request->to_guest);
		break;
	case CONTROL_VM:
		if (!front->has_vm)
			error = "there is no VM: start rayvm with a kernel (-k)";
		else if (request->argument == CONTROL_VM_RESIZE_DISK && request->code > front->config.options->n_disks)
			error = "there is no such disk: they are counted from 1, in the order they were given";
		else
			front_vm_command(front, (enum link_vm_command)request->argument, request->code);
		control_done(front->control, request->token, error);
		break;
	case CONTROL_SHOT: {
		static const enum panel_shot shots[] = { PANEL_SHOT_SCREEN, PANEL_SHOT_UI, PANEL_SHOT_GUEST };
		if (front->panel == NULL || !panel_screenshot(front->panel, request->output, shots[request->argument], control_shot_done, request->shot))
			control_shot_done(request->shot, NULL, 0, 0);
		break;
	}
	case CONTROL_QUIT:
		front_quit(front, EXIT_ASKED);
		break;
	case CONTROL_DONE:
		control_done(front->control, request->token, NULL);
		break;
	case CONTROL_DISPLAY:
		front_blank_request(front, request->argument == CONTROL_DISPLAY_ON, request->token);
		break;
	case CONTROL_WORK:
		panel_work(front->panel, request->work, request->data);
		break;
	default:
		break;
	}
	flush_packets(front);
}

static int requests_arrived(int fd, uint32_t mask, void *data)
{
	(void)mask;
	struct front *front = data;
	struct control_request request;
	uint64_t until = clock_now_ns() + REQUESTS_NS;
	uint32_t n = 0;
	bool more;
	mailbox_ack(front->config.requests);
	while ((more = mailbox_take(front->config.requests, &request))) {
		handle_request(front, &request);
		if (++n == REQUESTS_PER_TURN || clock_now_ns() >= until)
			break;
	}
	if (more)
		eventfd_write(fd, 1); /* the rest in the next turn */
	return 0;
}

static void write_strip(struct front *front)
{
	const struct router_keys *keys = &front->config.options->keys;
	char show[80], hide[80];
	key_chord_label(&keys->act[ROUTER_SHOW], show, sizeof show);
	key_chord_label(&keys->act[ROUTER_HIDE], hide, sizeof hide);
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		strip_write(front->strip_text[f], sizeof front->strip_text[f], (enum panel_face)f, show, hide);
}

static int open_display(struct front *front, struct link *ui, char *error, size_t error_size, int *exit_status)
{
	const struct options *options = front->config.options;
	bool kms = options->display == DISPLAY_KMS;

	write_strip(front);
	status_board_update(front->config.board, set_scanouts, (void *)(uintptr_t)options);
	struct panel_config panel = {
		.backend = kms ? PANEL_KMS : PANEL_HEADLESS,
		.card = options->card,
		.connector = options->connector,
		.width = options->mode_width,
		.height = options->mode_height,
		.refresh_mhz = options->mode_mhz,
		.legacy_kms = options->legacy_kms,
		.gbm_buffers = options->gbm_buffers,
		.extend = options->outputs == OUTPUTS_EXTEND,
		.bilinear = options->bilinear,
		.strip = options->strip,
		.session = front->session,
		.board = front->config.board,
		.stats = front->config.stats,
		.message = front_message,
		.first_frame = first_frame,
		.scanout = scanout,
		.joined = joined,
		.data = front,
	};
	for (uint32_t f = 0; f < PANEL_FACES; f++)
		panel.strip_text[f] = front->strip_text[f];
	front->panel = panel_create(front->loop, &panel, error, error_size, exit_status);
	if (front->panel == NULL)
		return -1;
	if (kms) {
		struct input_config input = {
			.open = open_device, .close = close_device, .seat = session_seat(front->session), .data = front,
			.event = input_event, .frame = input_frame, .devices = input_devices, .gone = input_gone, .lid = lid,
		};
		front->input = input_create(front->loop, &input, error, error_size, exit_status);
		if (front->input == NULL)
			return -1;
		front->injector = input_injector(front->input);
	} else {
		/* Keys come by the control socket only. */
		front->injector = ROUTER_DEVICES - 1;
		status_board_line(front->config.board, STATUS_INPUT, STATUS_OFF, "headless: keys come by rayvmctl");
	}
	if (panel_add_producer(front->panel, PANEL_FACE_UI, ui) < 0 ||
		(front->link != NULL && panel_add_producer(front->panel, PANEL_FACE_GUEST, front->link) < 0)) {
		snprintf(error, error_size, "cannot join the producers to the panel: %s", strerror(errno));
		return -1;
	}
	return 0;
}

struct front *front_create(const struct front_config *config, char *error, size_t error_size, int *exit_status)
{
	*exit_status = EXIT_FAILED;
	snprintf(error, error_size, "cannot set up the front thread");
	struct front *front = calloc(1, sizeof *front);
	if (front == NULL)
		return NULL;
	front->config = *config;
	front->signal_fd = -1;
	lid_lost(&front->lid);
	packer_init(&front->guest, true, send_packet, front, config->stats);
	packer_init(&front->ui, false, send_packet, front, config->stats);
	struct router_output output = { .deliver = deliver, .present = present, .stats = toggle_stats, .switch_vt = config->options->vt_switch ? switch_vt : NULL,
		.power = config->options->power_key != POWER_KEY_KEY ? power_key : NULL, .data = front };
	front->router = router_create(&config->options->keys, &output, PRESENTATION_HIDDEN);
	front->loop = wl_event_loop_create();
	if (front->router == NULL || front->loop == NULL || front_watch_machine(front) < 0)
		goto fail;
	front->requests = wl_event_loop_add_fd(front->loop, mailbox_fd(config->requests), WL_EVENT_READABLE, requests_arrived, front);
	front->retry = wl_event_loop_add_timer(front->loop, retry_packets, front);
	front->leds = wl_event_loop_add_timer(front->loop, leds_due, front);
	if (front->requests == NULL || front->retry == NULL || front->leds == NULL || front_watch_idle(front) < 0)
		goto fail;
	if (config->options->display == DISPLAY_KMS) {
		struct session_config session = { .active = session_changed, .data = front };
		front->session = session_open(front->loop, &session, error, error_size, exit_status);
		if (front->session == NULL)
			goto fail;
	}
	return front;

fail:
	front_destroy(front);
	return NULL;
}

int front_open(struct front *front, struct link *guest, struct link *ui, char *error, size_t error_size, int *exit_status)
{
	const struct options *options = front->config.options;
	front->link = guest;
	front->has_vm = (guest != NULL && !options->dev_scanout) || front->config.spawner != NULL;
	if (options->display != DISPLAY_NONE && open_display(front, ui, error, error_size, exit_status) < 0)
		return -1;
	*exit_status = EXIT_FAILED;
	snprintf(error, error_size, "cannot set up the front thread");
	if (options->display == DISPLAY_NONE && guest != NULL && front_listen_to_guest(front) < 0)
		return -1;
	return front->config.spawner == NULL ? 0 : front_isolate(front);
}

void front_set_control(struct front *front, struct control *control)
{
	front->control = control;
}

int front_run(struct front *front)
{
	int priority = thread_raise_self();
	log_info("front thread runs at %s priority", priority == 2 ? "realtime" : priority == 1 ? "raised" : "normal");
	if (front->panel != NULL && panel_start(front->panel) < 0) {
		log_error("cannot start the panel: %s", strerror(errno));
		return EXIT_FAILED;
	}
	front_idle_begins(front);
	lid_learned(&front->lid);
	if (front->has_vm)
		front_vm_starts(front);
	if (front->isolated != NULL)
		isolated_run(front->isolated);
	sandbox_enter_front();
	if (front->config.options->present_on_boot)
		router_present(front->router, PRESENTATION_SHOW, 0);

	struct pollfd ready = { .fd = wl_event_loop_get_fd(front->loop), .events = POLLIN };
	while (!front->quit) {
		wl_event_loop_dispatch_idle(front->loop);
		if (poll(&ready, 1, -1) < 0 && errno != EINTR) {
			log_error("the front thread cannot wait: %s", strerror(errno));
			return EXIT_FAILED;
		}
		struct stats *stats = front->config.stats;
		turn_begins(&stats->turns, clock_now_ns());
		wl_event_loop_dispatch(front->loop, 0);
		if (turn_ends(&stats->turns, clock_now_ns(), STALL_NS)) {
			atomic_fetch_add_explicit(&stats->front_stalls, 1, memory_order_relaxed);
			atomic_fetch_add_explicit(&stats->front_stalls_own, stats->turns.stall_cpu_ns > STALL_NS, memory_order_relaxed);
		}
	}
	return front->exit_status;
}

void front_destroy(struct front *front)
{
	if (front == NULL)
		return;
	isolated_destroy(front->isolated);
	/* Without a panel a link that came by the spawner is the front's own. */
	if (front->config.spawner != NULL && front->panel == NULL) {
		if (front->guest_messages != NULL)
			wl_event_source_remove(front->guest_messages);
		front->guest_messages = NULL;
		link_destroy(front->link);
	}
	if (front->input != NULL)
		input_destroy(front->input);
	front->input = NULL;
	if (front->panel != NULL)
		panel_destroy(front->panel);
	front->panel = NULL;
	if (front->session != NULL)
		session_close(front->session);
	struct wl_event_source *sources[] = { front->signals, front->requests, front->guest_messages, front->retry, front->leds, front->more, front->deadline,
		front->blank_timer };
	for (size_t i = 0; i < ARRAY_LEN(sources); i++)
		if (sources[i] != NULL)
			wl_event_source_remove(sources[i]);
	if (front->router != NULL)
		router_destroy(front->router);
	if (front->loop != NULL)
		wl_event_loop_destroy(front->loop);
	if (front->signal_fd >= 0)
		close(front->signal_fd);
	free(front);
}
