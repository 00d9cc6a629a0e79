/* The front thread's inside, shared by front.c (devices, router, panel, requests) and front_machine.c (the guest's life, and the program's end). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/status.h"
#include "front.h"
#include "kms/panel.h"
#include "packet.h"
#include "toggle/blank.h"
#include "toggle/lid.h"

struct input;
struct isolated;
struct session;
struct wl_event_loop;
struct wl_event_source;

struct front {
	struct front_config config;
	struct wl_event_loop *loop;
	struct session *session;
	struct panel *panel;
	struct input *input;
	struct router *router;
	struct control *control;
	struct link *link;          /* the guest's; NULL: none now */
	struct isolated *isolated;  /* NULL: the machine's threads are in this process */
	bool has_vm;                /* there is a machine, or can be */
	struct wl_event_source *signals, *requests, *guest_messages, *retry, *leds, *more;
	int signal_fd;
	uint32_t injector;
	struct packer guest, ui;
	uint32_t leds_ui, leds_guest;
	uint64_t leds_ns; /* the guest's are not shown before */
	enum vm_state vm;
	struct log_limit scanout_limit;
	struct blank blank;
	struct wl_event_source *blank_timer;
	uint64_t blank_armed_ns; /* for when blank_timer is armed; 0: not */
	uint32_t woke_device;    /* device of the packet that woke the screen last, ROUTER_DEVICES: none yet; and that packet's time */
	uint64_t woke_ns;
	struct wl_event_source *deadline; /* of the guest's shutdown */
	char strip_text[PANEL_FACES][160];
	struct lid lid;
	bool ending; /* the guest was asked to power off; the end follows it */
	bool quit;
	int exit_status;
};

/* front.c: what a producer of pictures says. */
void front_message(void *front, enum panel_face from, const struct link_message *message);

/* front_blank.c */
/* Its timer. 0 or -1. */
int front_watch_idle(struct front *front);
/* The screen is on from now: time without input begins. */
void front_idle_begins(struct front *front);
/* An event to the router, or to nobody when it wakes the screen. */
void front_route(struct front *front, const struct router_event *event);
/* The screen goes off with the lid, and on with it. */
void front_blank_lid(struct front *front, bool closed);
/* `rayvmctl display`; answers. */
void front_blank_request(struct front *front, bool on, uint64_t token);
/* The seat came or went; after the panel was told that it went, before that it came. */
void front_blank_session(struct front *front, bool active);

/* front_machine.c */
/* False: the ring is full, or there is no guest. */
bool front_send_guest(struct front *front, const struct link_message *message);
void front_vm_command(struct front *front, enum link_vm_command command, uint32_t argument);
/* The VM boots with the program; it says so itself once it is loaded. */
void front_vm_starts(struct front *front);
/* LINK_VM_STATE of the machine, which may be another process. */
void front_machine_says(struct front *front, const struct link_message *untrusted);
void front_quit(struct front *front, int exit_status);
/* Signals, and the timers of this file. 0 or -1. */
int front_watch_machine(struct front *front);
/* Reads the guest's messages where no panel does. 0 or -1. */
int front_listen_to_guest(struct front *front);
/* Joins the machine of another process, and those after it. 0 or -1. */
int front_isolate(struct front *front);
