/* What client handling (control.c) and the commands (commands.c) share. Control thread only, where not said otherwise. */
#pragma once

#include <json-c/json.h>
#include <pthread.h>

#include "base/console.h"
#include "base/status.h"
#include "control/control.h"

#define CLIENTS 16
#define LINE_MAX_BYTES 65536
#define PASSED_FDS 4
#define OUTPUT_MAX_BYTES (1u << 20) /* a client that does not read loses events beyond this */

/* An answer on its way to the control thread. */
struct answer {
	uint64_t token;
	uint32_t *pixels; /* a screenshot, or NULL */
	uint32_t width, height;
	bool shot, stop, failed;
	char error[120];
};

struct client {
	struct control *control;
	int fd;
	struct wl_event_source *source;
	uint32_t serial; /* tells a new client in this slot from the one before */
	char *in;
	size_t in_size;
	char *out;
	size_t out_size;
	bool subscribed;
	bool raw; /* joined to a console: bytes instead of lines */
	enum console_stream console;
	uint64_t lost; /* bytes of output not sent since the last that were */
	/* the one command that is not answered yet */
	bool busy;
	json_object *id;
	int shot_fd; /* where the picture goes; -1: no screenshot asked for */
	int passed[PASSED_FDS]; /* descriptors that came and belong to no command yet, oldest first */
	int n_passed;
	char wait[32];
	uint64_t wait_until_ns; /* 0: no wait */
};

/* One of the guest's consoles, and what is known of the machine's end of it. */
struct console_hub {
	struct control *control;
	enum console_stream stream;
	int fd; /* borrowed; -1: there is none */
	struct wl_event_source *source, *stall_timer;
	bool ready;      /* the machine has answered the last attach */
	bool waits;      /* not read from until the client has */
	uint32_t credit; /* bytes of input that the machine will take */
	struct console_ring ring; /* output since the first client came, for the next */
};

struct control {
	struct control_config config;
	struct wl_event_loop *loop;
	struct mailbox *answers;
	int listen_fd, board_fd;
	struct wl_event_source *listen_source, *board_source, *answer_source, *timer;
	struct client client[CLIENTS];
	struct console_hub hub[CONSOLE_STREAMS];
	uint32_t serials;
	struct status last; /* for events */
	pthread_t thread;
	bool started, stopping;
};

uint64_t token_of(const struct client *client);
/* Answers the current command. Takes the reference of `result` (may be NULL). error: NULL for success. */
void client_answer(struct client *client, json_object *result, const char *error);
void client_error(struct client *client, const char *format, ...) __attribute__((format(printf, 2, 3)));
void client_close(struct client *client);
/* Sends what the socket takes now; the rest waits for it to become writable. False: the client is gone. */
bool client_flush(struct client *client);
/* Carries out one message. */
void command_run(struct client *client, json_object *message);
/* Answers the waits that are over, and sets the timer for the next. */
void command_check_waits(struct control *control);
/* Takes the descriptor that came first; the caller closes it. -1: none came. */
int client_take_fd(struct client *client);
/* Writes the picture that came for this client's screenshot command, and answers it. */
void command_write_shot(struct client *client, const struct answer *answer);

/* console.c. 0 or -1 with errno; to be destroyed either way, before the loop. */
int console_hubs_create(struct control *control);
void console_hubs_destroy(struct control *control);
/* The command; port: as the protocol names it, NULL: the default. */
void command_console(struct client *client, const char *port);
/* A joined client's socket is readable or hung up; and whether it is to be read from. */
void console_client_ready(struct client *client, bool hangup);
bool console_client_reads(const struct client *client);
/* Some of a joined client's output went out; it was closed (and no longer counts as joined). */
void console_client_flushed(struct client *client);
void console_client_closed(struct client *client);
/* A VM starts, maybe in a new process: who is attached is attached to it. */
void console_machine_started(struct control *control);
