/*
 * rayvm --probe-panel: the real card, measured and judged in half a minute, for people and for reports of bugs. The program starts as it always does, with the
 * test pattern as the guest. A thread of its own ("probe") then asks the front thread for toggles as the control socket would, and has
 * the worker look at the card and copy; the pattern tells when its frames were shown. So front, latch and card do what they do every day.
 *
 *   verdicts -> flips -> toggles -> copies -> the end
 *
 * Nothing is written to disk. The report is printed when the console is back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mailbox;
struct probe;
struct stats;
struct status_board;

struct probe_config {
	uint32_t seconds;
	struct status_board *board;
	struct stats *stats;
	struct mailbox *front; /* of struct control_request */
};

/* NULL with errno. */
struct probe *probe_create(const struct probe_config *config);
/* synthetic_config.presented of the pattern, with the probe as its data. */
void probe_presented(void *probe, uint64_t time_ns);
/* Starts the thread, which has the front end the program when it is done. 0, or -1 with errno. */
int probe_start(struct probe *probe);
/* Ends it, done or not. Before the panel is destroyed, whose worker may still be at a measurement until then. */
void probe_stop(struct probe *probe);
/* When panel and worker are gone: prints to standard output. exit_status: of the run so far. Returns the program's. */
int probe_report(struct probe *probe, bool json, int exit_status);
void probe_destroy(struct probe *probe);
