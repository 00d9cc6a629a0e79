/* The seat: who may use card and input devices now (libseat). Opened on the main thread, which is the front thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct wl_event_loop;
struct session;

struct session_config {
	/* Front thread. inactive: stop touching devices now; the session acknowledges when it returns. */
	void (*active)(void *data, bool active);
	void *data;
};

/* NULL, a line in error, exit status in *exit_status. Waits for the first activation (at most 10 s). */
struct session *session_open(struct wl_event_loop *loop, const struct session_config *config, char *error, size_t error_size, int *exit_status);
void session_close(struct session *session);
bool session_active(const struct session *session);
const char *session_seat(const struct session *session);
/*
 * Opens / closes a device of the seat. -1 with errno. The front, and the one thread that opens cards: both wait for the seat manager, and for each other. Callers of
 * session_active() are on the front.
 */
int session_open_device(struct session *session, const char *path);
void session_close_device(struct session *session, int fd);
/* Switches to VT n, later if a card is being opened. Front. 0 or -1 with errno. */
int session_switch(struct session *session, int vt);
