/*
 * Packs what the router delivers to one side into whole evdev packets (LINK_INPUT, ended by SYN_REPORT), one per virtual
 * device. A packet that finds no room is dropped, but a release in it is owed and sent later: no key is ever stuck. Front thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <linux/input-event-codes.h>

#include "link/link.h"
#include "toggle/router.h"

struct stats;

#define PACKER_DEVICES 4
#define PACKER_WORDS ((KEY_CNT + 63) / 64)

typedef bool packet_send(void *data, bool to_guest, const struct link_message *message);

struct packer {
	packet_send *send;
	void *data;
	struct stats *stats;
	bool to_guest;
	struct link_message pending[PACKER_DEVICES];
	uint64_t owed[PACKER_DEVICES][PACKER_WORDS];
	bool owes[PACKER_DEVICES];
	uint64_t absolute[ROUTER_DEVICES / 64];      /* physical devices whose pointer is absolute: bit per device */
	uint64_t button_absolute[PACKER_WORDS];      /* buttons pressed on the absolute device */
	uint32_t touch_slot;                         /* of the pending packet: one finger a packet, which begins with its slot */
	uint32_t touches_owed;                       /* fingers whose lifting is owed: bit per slot */
	uint32_t touch_id;                           /* the next finger's */
};

void packer_init(struct packer *packer, bool to_guest, packet_send *send, void *data, struct stats *stats);
void packer_add(struct packer *packer, const struct router_event *event);
/* Sends what is pending and what is owed. True while something is still owed: call again later. */
bool packer_flush(struct packer *packer);
/* The receiver begins anew: nothing is pending or owed. */
void packer_forget(struct packer *packer);

/*
 * An absolute coordinate 0..65535 across the panel's side of `panel` pixels, to 0..65535 across the picture at [start, start + length)
 * pixels, to the nearest pixel; outside it the nearest edge.
 */
int32_t packet_map_axis(int32_t value, uint32_t panel, uint32_t start, uint32_t length);
