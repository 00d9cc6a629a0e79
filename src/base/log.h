/*
 * Log lines and marker lines. Writers put a line into a bounded ring and never block; one thread ("log") drains
 * it. A full ring drops the line and counts it, so that neither a slow terminal nor a stuck pipe can hold up input
 * or display. Before log_start() (or log_hold()) and after log_stop() lines are written directly.
 */
#pragma once

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/*
 * Keeps lines until log_start() or log_release() writes them; log_stop() without it throws them away. For a start-up that says one line when it
 * fails. Single-threaded start-up only, of the program or of a forked child that wants a log of its own. Returns 0, or -1 with errno.
 */
int log_hold(void);
/* Writes what log_hold() kept, and later lines directly: for a process that stays without threads. Nothing is held: does nothing. */
void log_release(void);
/*
 * Starts the drain thread. Lines above `level` are discarded. Log lines go to stderr; marker lines to markers_fd
 * (borrowed; may be stderr). Returns 0, or -1 with errno.
 */
int log_start(enum log_level level, int markers_fd);
/* Where marker lines go before log_start(). Single-threaded start-up only. */
void log_markers_to(int fd);
/* Drains what is left (half a second at most) and ends the thread. */
void log_stop(void);
void log_set_level(enum log_level level);
/* Parses error|warn|info|debug; -1 when it is none of them. */
int log_level_from_name(const char *name);

void log_line(enum log_level level, const char *module, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A line that people need now, also while others are held: what the start-up waits for. */
void log_at_once(enum log_level level, const char *module, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* One marker line (see doc of the markers), without newline in `format`. */
void log_marker(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Number of lines dropped because the ring was full. */
uint64_t log_dropped(void);

/* A line that a guest could repeat for ever: passes 5, then one in each second, saying how many were left out. */
struct log_limit {
	uint64_t next_ns;
	uint32_t burst;
	uint32_t left_out;
};
/* True when the line may be written now; *left_out receives the number suppressed since the last that passed. Caller's thread owns `limit`. */
int log_limit_pass(struct log_limit *limit, uint32_t *left_out);

/* Each source file defines LOG_MODULE before including this header. */
#define log_error(...) log_line(LOG_ERROR, LOG_MODULE, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, LOG_MODULE, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, LOG_MODULE, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, LOG_MODULE, __VA_ARGS__)
