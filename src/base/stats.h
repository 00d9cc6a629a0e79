/* Counters and histograms that `rayvmctl stats` shows. One object per program, written from any thread. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/histogram.h"
#include "base/late.h"

struct stats {
	_Atomic uint64_t frames_flushed;   /* by the guest */
	_Atomic uint64_t frames_presented; /* guest frames whose flip completed while its face was shown */
	_Atomic uint64_t frames_dropped;   /* guest frames replaced by a newer one before they were shown */
	_Atomic uint64_t bytes_copied;     /* guest pixels copied into scanout buffers, in bytes */
	_Atomic uint64_t bytes_damaged;    /* guest pixels damaged, in bytes of the guest's picture (4 per pixel) */
	_Atomic uint64_t modesets;
	_Atomic uint64_t commits;
	_Atomic uint64_t toggles;
	_Atomic uint64_t toggles_replaced; /* of these, by the next one before they were committed: in no histogram, but late where they were late by then */
	_Atomic uint64_t toggles_in_time;  /* shown at the first vblank that the latch promises, see latch_due(); only where there is a vblank */
	_Atomic uint64_t toggles_late;     /* at a later one */
	_Atomic uint64_t toggles_late_max; /* vblanks that the latest of these came later */
	_Atomic uint64_t latch_misses;     /* flips of any kind that came at a later vblank than they were committed for */
	_Atomic uint64_t front_stalls;     /* turns of the front loop longer than 1 ms */
	_Atomic uint64_t front_stalls_own; /* of these, such as had the CPU for so long */
	_Atomic uint64_t input_dropped;    /* packets for the guest that found no room */
	_Atomic uint64_t vcpu_exits;       /* exits to user space */
	_Atomic uint64_t disk_requests, disk_bytes, disk_errors;
	_Atomic uint64_t console_dropped;  /* bytes of guest output that somebody attached to the console did not get */
	_Atomic uint64_t net_dropped;      /* packets of the guest and for it that went nowhere */
	_Atomic uint64_t disk_syscalls; /* made for them: operations, waiting, interrupts */
	struct histogram key_read_us;      /* key event time stamp to the front thread that reads it; of a key of the control socket, when that had read it */
	struct histogram toggle_commit_us; /* key event time stamp to the commit's acceptance */
	struct histogram toggle_flip_us;   /* key event time stamp to the page-flip event */
	struct histogram key_guest_us;     /* key event time stamp to the guest's used ring */
	struct late_toggles late;          /* the toggles_late */
	struct turns turns;                /* the front thread's own */
};
