/*
 * Which connectors of a card show the picture, and in which mode. Pure: what was read from the card comes in, a choice goes out.
 *
 * One connector is the main one: its mode is the panel's. The others that are connected mirror it, where they have a mode of the same size and a CRTC of
 * their own; else they are off. Or (extend) they show pictures of their own, each in the mode that its monitor prefers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xf86drmMode.h>

#include "kms/backend.h"

#define CHOOSE_CONNECTORS 32

struct choose_connector {
	uint32_t id;
	char name[32];                /* as the kernel calls it, e.g. HDMI-A-1 */
	bool usable;                  /* connected, has modes, is meant for a desktop */
	const drmModeModeInfo *modes; /* borrowed; as the kernel orders them, the best first */
	uint32_t n_modes;
	uint32_t crtcs;               /* bit per CRTC that it can have */
	int crtc;                     /* the one it has, by index; -1: none */
};

struct choose_wish {
	const char *connector;               /* by name; NULL: any */
	uint32_t width, height, refresh_mhz; /* 0: no wish */
	uint32_t keep;                       /* id of the connector that is the main one at present: it stays while it can; 0: none */
	bool extend;                         /* no mirrors, but further outputs */
	uint32_t lit[1 + OUTPUT_MIRRORS];    /* ids of the connectors that the main one's and the further ones' pictures were set on last; 0: none */
	uint32_t further[OUTPUT_MIRRORS];    /* ids of the connectors that had these places last, and have them again; 0: none yet */
};

struct choose_head {
	uint32_t connector; /* index */
	uint32_t crtc;      /* index */
	const drmModeModeInfo *mode;
	uint32_t place;     /* of a further output: which, from 1 */
};

struct choice {
	uint32_t n; /* 0: nothing is connected. head[0] is the main one, the others mirror it, or are further outputs. */
	struct choose_head head[1 + OUTPUT_MIRRORS];
	bool mode_missing; /* the main one has no such mode as was wished for */
};

void choose(const struct choose_connector *connector, uint32_t n, const struct choose_wish *wish, struct choice *choice);
/* Refreshes of a mode in millihertz, from its pixel clock and totals. */
uint32_t choose_refresh_mhz(const drmModeModeInfo *mode);
/* "1920x1080@60, 1280x800@60", each once, as many as fit. */
void choose_list_modes(const struct choose_connector *connector, char *text, size_t size);
/* "HDMI-A-1 (connected), DP-1" */
void choose_list_connectors(const struct choose_connector *connector, uint32_t n, char *text, size_t size);
