/* The front thread's word with the machine: commands, what becomes of it, and how the program ends. */
#define LOG_MODULE "front"
#include "front_private.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "base/exit_status.h"
#include "isolated.h"
#include "options.h"

#define MESSAGES_PER_TURN 64 /* of the machine, without a panel */

static void set_vm(struct status *status, void *data)
{
	enum vm_state old = status->vm;
	status->vm = *(enum vm_state *)data;
	if (status->vm == VM_STARTING && old != VM_STARTING) {
		status->vm_generation++;
		status->first_frame = false;
	}
}

bool front_send_guest(struct front *front, const struct link_message *message)
{
	if (front->link == NULL)
		return false;
	if (front->panel != NULL)
		return panel_send(front->panel, PANEL_FACE_GUEST, message);
	return link_send_to_producer(front->link, message);
}

void front_vm_command(struct front *front, enum link_vm_command command, uint32_t argument)
{
	struct link_message message = { .type = LINK_COMMAND, .command = { command, argument } };
	if (front->isolated != NULL && isolated_command(front->isolated, command))
		return;
	if (!front_send_guest(front, &message))
		log_warn("the machine does not take commands now");
}

void front_quit(struct front *front, int status)
{
	front->quit = true;
	front->exit_status = status;
}

static void vm_state_changed(struct front *front, enum vm_state state, const char *text)
{
	static const enum status_tag tags[] = {
		[VM_NONE] = STATUS_OFF, [VM_STARTING] = STATUS_BUSY, [VM_RUNNING] = STATUS_OK, [VM_PAUSED] = STATUS_OFF,
		[VM_STOPPING] = STATUS_BUSY, [VM_STOPPED] = STATUS_OFF, [VM_CRASHED] = STATUS_BAD,
	};
	front->vm = state;
	status_board_update(front->config.board, set_vm, &state);
	status_board_line(front->config.board, STATUS_VM, tags[state], "%s%s%.70s", status_vm_name(state), text[0] != '\0' ? ": " : "", text);
	if (state == VM_STARTING && front->panel != NULL)
		panel_guest_started(front->panel);
	/* It also ends with a guest that rebooted instead, and with one that crashed on its way. */
	if (front->ending && (state == VM_STOPPED || state == VM_CRASHED))
		front_quit(front, EXIT_ASKED);
	/* A guest that begins anew holds no keys. */
	if (state == VM_STARTING || state == VM_STOPPED || state == VM_CRASHED) {
		router_release_all(front->router, ROUTER_GUEST, clock_now_ns());
		packer_forget(&front->guest);
	}
}

void front_vm_starts(struct front *front)
{
	vm_state_changed(front, VM_STARTING, "");
}

/* The machine's own word for it: from another process, and the guest's words may be in the text. */
void front_machine_says(struct front *front, const struct link_message *message)
{
	uint32_t untrusted_state = message->vm_state.state;
	/* Whoever speaks is there. */
	if (untrusted_state > VM_CRASHED || untrusted_state == VM_NONE)
		return;
	char text[sizeof message->vm_state.text];
	size_t length = strnlen(message->vm_state.text, sizeof text - 1);
	for (size_t i = 0; i < length; i++) {
		char untrusted_byte = message->vm_state.text[i];
		text[i] = untrusted_byte >= 0x20 && untrusted_byte < 0x7f ? untrusted_byte : '?';
	}
	text[length] = '\0';
	if (front->isolated != NULL && !isolated_heard(front->isolated, (enum vm_state)untrusted_state))
		return;
	vm_state_changed(front, (enum vm_state)untrusted_state, text);
}

/* Without a panel nobody else reads the machine's messages. */
static int guest_messages(int fd, uint32_t mask, void *data)
{
	(void)fd;
	(void)mask;
	struct front *front = data;
	struct link_message message;
	link_ack_panel(front->link);
	for (uint32_t i = 0; i < MESSAGES_PER_TURN; i++) {
		if (!link_receive_for_panel(front->link, &message)) {
			/* Over: its end is told by the spawner. */
			if (link_panel_fd(front->link) < 0) {
				wl_event_source_remove(front->guest_messages);
				front->guest_messages = NULL;
			}
			return 0;
		}
		front_message(front, PANEL_FACE_GUEST, &message);
	}
	wl_event_source_timer_update(front->more, 1); /* the rest when others had their turn */
	return 0;
}

static int more_messages(void *data)
{
	struct front *front = data;
	return front->guest_messages != NULL ? guest_messages(-1, 0, front) : 0;
}

int front_listen_to_guest(struct front *front)
{
	front->guest_messages = wl_event_loop_add_fd(front->loop, link_panel_fd(front->link), WL_EVENT_READABLE, guest_messages, front);
	return front->guest_messages != NULL ? 0 : -1;
}

/* Another machine's link, or none, in place of the last one, as struct isolated_config wants it. */
static bool join_guest(void *data, struct link *link)
{
	struct front *front = data;
	struct link *old = front->link;
	front->link = link;
	if (front->panel != NULL) {
		panel_join_guest(front->panel, link);
		return false;
	}
	if (front->guest_messages != NULL)
		wl_event_source_remove(front->guest_messages);
	front->guest_messages = NULL;
	link_destroy(old);
	if (link != NULL && front_listen_to_guest(front) < 0)
		log_error("the machine's messages cannot be read: %s", strerror(errno));
	return true;
}

static void isolated_state(void *data, enum vm_state state, const char *text)
{
	vm_state_changed(data, state, text);
}

static void isolated_quit(void *data, int exit_status)
{
	front_quit(data, exit_status);
}

static int deadline_passed(void *data)
{
	struct front *front = data;
	log_warn("the guest did not power off in %u s: ending without it", front->config.options->shutdown_timeout);
	front_quit(front, EXIT_ASKED);
	return 0;
}

/* SIGTERM: a guest that runs is asked to power off first. The second one means now. */
static void terminate(struct front *front)
{
	uint32_t seconds = front->config.options->shutdown_timeout;
	bool runs = front->vm == VM_STARTING || front->vm == VM_RUNNING || front->vm == VM_PAUSED || front->vm == VM_STOPPING;
	if (!runs || front->config.options->dev_scanout || seconds == 0 || front->ending) {
		log_info("SIGTERM: ending");
		front_quit(front, EXIT_ASKED);
		return;
	}
	log_info("SIGTERM: the guest has %u s to power off", seconds);
	front->ending = true;
	wl_event_source_timer_update(front->deadline, (int)(seconds * 1000));
	front_vm_command(front, LINK_VM_POWERDOWN, 0);
}

static int signal_arrived(int fd, uint32_t mask, void *data)
{
	(void)mask;
	struct front *front = data;
	struct signalfd_siginfo info;
	while (read(fd, &info, sizeof info) == sizeof info) {
		switch (info.ssi_signo) {
		case SIGINT:
			/* ^C on the panel's keyboard is a key like others; without the panel it is what people expect of ^C, and of a measurement. */
			if (front->config.options->display != DISPLAY_KMS || front->config.options->probe_seconds != 0)
				front_quit(front, EXIT_ASKED);
			break;
		case SIGTERM:
			terminate(front);
			break;
		case SIGHUP:
			log_info("SIGHUP: ending");
			front_quit(front, EXIT_ASKED);
			break;
		case SIGCHLD:
			/* As the first process of a system orphans end here. The seat's helper is its own library's to wait for. */
			if (getpid() == 1)
				while (waitpid(-1, NULL, WNOHANG) > 0)
					;
			break;
		default:
			break;
		}
	}
	return 0;
}

int front_watch_machine(struct front *front)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	front->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (front->signal_fd < 0)
		return -1;
	front->signals = wl_event_loop_add_fd(front->loop, front->signal_fd, WL_EVENT_READABLE, signal_arrived, front);
	front->more = wl_event_loop_add_timer(front->loop, more_messages, front);
	front->deadline = wl_event_loop_add_timer(front->loop, deadline_passed, front);
	return front->signals != NULL && front->more != NULL && front->deadline != NULL ? 0 : -1;
}

int front_isolate(struct front *front)
{
	struct isolated_config config = {
		.options = front->config.options, .spawner = front->config.spawner, .board = front->config.board,
		.join = join_guest, .state = isolated_state, .quit = isolated_quit, .data = front,
	};
	front->isolated = isolated_create(front->loop, &config);
	return front->isolated != NULL ? 0 : -1;
}
