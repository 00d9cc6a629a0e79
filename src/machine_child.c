#define LOG_MODULE "machine"
#include "machine_child.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/console.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "base/stats.h"
#include "base/status.h"
#include "machine.h"
#include "machine_files.h"
#include "options.h"

struct machine_child {
	struct machine_child_config config;
	struct machine_files files;
};

struct machine_child *machine_child_create(const struct machine_child_config *config)
{
	struct machine_child *machine = calloc(1, sizeof *machine);
	if (machine != NULL)
		machine->config = *config;
	return machine;
}

void machine_child_destroy(struct machine_child *machine)
{
	free(machine); /* the files are open in the spawner only */
}

/*
 * Input and output of whoever started the program are not the machine's, and of a terminal that takes its log it may not read what is typed
 * there. A serial port on them (--serial stdio) has descriptors of its own by now.
 */
static void leave_terminal(int markers_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDOUT_FILENO; fd++)
		if (fd != markers_fd)
			dup2(null, fd);
	if (null >= 0)
		close(null);
	if (!isatty(STDERR_FILENO))
		return;
	int log = open("/proc/self/fd/2", O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (log >= 0) {
		dup2(log, STDERR_FILENO);
		close(log);
	}
}

int machine_child_open(void *data, char *error, size_t error_size, int *exit_status)
{
	struct machine_child *machine = data;
	console_pairs_keep(machine->config.consoles, true);
	/* A start that fails says one line, and it is the panel that does: what is said here waits until the panel is there. */
	if (machine->config.options->log_level < LOG_DEBUG && log_hold() < 0) {
		snprintf(error, error_size, "out of memory");
		*exit_status = EXIT_FAILED;
		return -1;
	}
	int result = machine_files_open(machine->config.options, &machine->files, error, error_size, exit_status);
	leave_terminal(machine->config.markers_fd);
	return result;
}

/* The machine is set up: tells the panel, and waits for its word. */
static bool introduce(struct machine *machine, struct status_board *board, struct spawner_child *child)
{
	struct link_handles handles;
	struct status status;
	machine_take_handles(machine, &handles);
	status_board_read(board, &status);
	struct spawner_hello hello = { .memory = status.line[STATUS_MEMORY], .disk = status.line[STATUS_DISK] };
	int fds[MACHINE_FDS] = { [MACHINE_FD_RINGS] = handles.rings, [MACHINE_FD_PIXELS] = handles.pixels, [MACHINE_FD_WAKE] = handles.wake };
	int result = spawner_child_ready(child, &hello, fds, MACHINE_FDS);
	if (result < 0)
		log_error("cannot join the machine to the panel: %s", strerror(errno));
	link_handles_close(&handles);
	return result == 0 && spawner_child_wait_begin(child);
}

int machine_child_run(void *data, struct spawner_child *child)
{
	struct machine_child *self = data;
	char error[256];
	int status = EXIT_FAILED;
	/*
	 * Before the first thread, when the C library settles it: of the heaps of other threads it opens a file of /proc to give memory back, which the
	 * sandbox answers with death.
	 */
	mallopt(M_ARENA_MAX, 1);
	struct status_board *board = status_board_create();
	struct machine *machine = NULL;
	sandbox_begin_machine();
	snprintf(error, sizeof error, "out of memory");
	/* What is said while the program may still turn out not to start waits, as in one process. */
	if ((self->config.options->log_level >= LOG_DEBUG || log_hold() == 0) && board != NULL) {
		struct machine_config config = {
			.options = self->config.options, .files = &self->files, .consoles = self->config.consoles, .board = board, .stats = self->config.stats, .apart = true,
		};
		machine = machine_create(&config, error, sizeof error, &status);
	}
	if (machine == NULL) {
		spawner_child_failed(child, error, status);
		goto out;
	}
	machine_preload(machine);
	status = EXIT_ASKED;
	if (!introduce(machine, board, child))
		goto out;
	status = EXIT_FAILED;
	if (log_start(self->config.options->log_level, self->config.markers_fd) < 0) {
		log_error("cannot start the log: %s", strerror(errno));
		goto out;
	}
	/* Everything is open, and no guest code has run. */
	if (!sandbox_enter_machine() && self->config.options->sandbox)
		log_warn("the machine's process keeps its rights: %s", strerror(errno));
	if (machine_start(machine, true) < 0) {
		log_error("cannot start the machine's threads: %s", strerror(errno));
		goto out;
	}
	struct pollfd end = { .fd = spawner_child_end_fd(child), .events = POLLIN };
	while (poll(&end, 1, -1) < 0 && errno == EINTR)
		;
	status = EXIT_ASKED;
out:
	machine_destroy(machine);
	if (board != NULL)
		status_board_destroy(board);
	log_stop();
	return status;
}
