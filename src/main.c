/* Start-up order and nothing else. */
#define LOG_MODULE "main"
#include <errno.h>
#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"
#include "base/console.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/sandbox.h"
#include "base/stats.h"
#include "base/status.h"
#include "base/thread.h"
#include "preflight.h"
#include "control/control.h"
#include "front.h"
#include "link/synthetic.h"
#include "machine.h"
#include "machine_child.h"
#include "machine_files.h"
#include "options.h"
#include "probe_panel.h"
#include "shell-ui/ui.h"
#include "spawner.h"

/* The largest panel that the UI and the pattern prepare for; their memory is sparse. */
#define PANEL_MAX_WIDTH 7680
#define PANEL_MAX_HEIGHT 4320
#define PATTERN_FPS 60
#define PROBE_FPS 1000 /* a frame for each refresh, whatever the monitor's is */

struct program {
	struct options options;
	char socket_folder[512];
	int markers_fd;
	struct status_board *board;
	struct stats *stats;
	struct mailbox *requests;
	struct console_pairs consoles;
	struct machine_files files; /* open while there is a machine in this process */
	struct machine *machine;
	struct machine_child *child;
	struct spawner *spawner; /* instead of the machine: --isolate */
	struct synthetic_config pattern;
	pthread_t pattern_thread;
	bool pattern_runs;
	struct ui *ui;
	struct front *front;
	struct control *control;
	struct probe *probe; /* --probe-panel */
};

static void complain(const char *text)
{
	fprintf(stderr, "rayvm: %s\n", text);
}

/* Every thread but the front one starts with all signals blocked; the front one reads these from a signalfd. */
static void block_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* Started by hand behind a shell: never stop for what is written to its terminal, or read from it (by a machine's process, that would stop the panel). */
	signal(SIGTTOU, SIG_IGN);
	signal(SIGTTIN, SIG_IGN);
}

/* Started with a standard descriptor closed, the next file opened would take its number, and a log line could land on a disk. */
static void fill_standard_descriptors(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR | O_NOCTTY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int open_markers(const char *where, int *fd)
{
	*fd = STDERR_FILENO;
	if (where == NULL)
		return 0;
	if (strncmp(where, "fd:", 3) == 0) {
		char *end;
		long number = strtol(where + 3, &end, 10);
		if (end == where + 3 || *end != '\0' || number < 0 || fcntl((int)number, F_GETFD) < 0) {
			fprintf(stderr, "rayvm: --markers: '%s' names no open descriptor; open it before the start, or give a path\n", where);
			return -1;
		}
		*fd = (int)number;
		return 0;
	}
	*fd = open(where, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
	/* A pipe without a reader yet: opened for both, lines are dropped while it is full. */
	if (*fd < 0 && errno == ENXIO)
		*fd = open(where, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0) {
		fprintf(stderr, "rayvm: cannot open %s for the markers: %s; choose another place with --markers\n", where, strerror(errno));
		return -1;
	}
	return 0;
}

static void prepare_sandbox(struct program *program)
{
	const char *path = program->options.control, *slash = strrchr(path, '/');
	int length = slash == NULL ? 0 : slash == path ? 1 : (int)(slash - path);
	snprintf(program->socket_folder, sizeof program->socket_folder, "%.*s", length > 0 ? length : 1, length > 0 ? path : ".");
	struct sandbox_config sandbox = { .on = program->options.sandbox, .remove_in = program->socket_folder };
	sandbox_prepare(&sandbox);
}

static void *run_pattern(void *arg)
{
	synthetic_run(arg);
	return NULL;
}

static int prepare_pattern(struct program *program, char *error, size_t error_size)
{
	struct synthetic_config *pattern = &program->pattern;
	pattern->heads = options_scanouts(&program->options);
	pattern->pixels_fd = synthetic_memory(PANEL_MAX_WIDTH, PANEL_MAX_HEIGHT * pattern->heads, &pattern->pixels_size);
	pattern->stop_fd = eventfd(0, EFD_CLOEXEC);
	pattern->fps = program->probe != NULL ? PROBE_FPS : PATTERN_FPS;
	pattern->stats = program->stats;
	pattern->presented = program->probe != NULL ? probe_presented : NULL;
	pattern->data = program->probe;
	if (pattern->pixels_fd >= 0)
		pattern->link = link_create(pattern->pixels_fd, pattern->pixels_size);
	if (pattern->link == NULL || pattern->stop_fd < 0) {
		snprintf(error, error_size, "cannot make the test pattern's memory: %s", strerror(errno));
		return -1;
	}
	return 0;
}

static void pattern_is_on(struct status *status, void *data)
{
	(void)data;
	status->vm = VM_RUNNING;
	status->vm_generation = 1;
}

/* The machine in threads of this process. Also loads the guest while the rest of the program is set up. */
static int create_machine(struct program *program, char *error, size_t error_size, int *exit_status)
{
	struct machine_config config = { .options = &program->options, .files = &program->files, .consoles = &program->consoles, .board = program->board, .stats = program->stats };
	if (machine_files_open(&program->options, &program->files, error, error_size, exit_status) < 0)
		return -1;
	program->machine = machine_create(&config, error, error_size, exit_status);
	if (program->machine == NULL) {
		machine_files_close(&program->files);
		return -1;
	}
	machine_preload(program->machine);
	return 0;
}

static int create_spawner(struct program *program, char *error, size_t error_size, int *exit_status)
{
	struct machine_child_config config = { .options = &program->options, .consoles = &program->consoles, .stats = program->stats, .markers_fd = program->markers_fd };
	*exit_status = EXIT_FAILED;
	program->child = machine_child_create(&config);
	if (program->child == NULL)
		return -1;
	struct spawner_ops ops = { .open = machine_child_open, .run = machine_child_run, .data = program->child };
	program->spawner = spawner_create(&ops, error, error_size, exit_status);
	console_pairs_keep(&program->consoles, false);
	return program->spawner != NULL ? 0 : -1;
}

static bool wants_machine(const struct options *options)
{
	return options->vmm_hypervisor && options->kernel != NULL;
}

/*
 * What makes the guest's picture (the machine, the pattern, or nothing), as far as it comes before the seat: the seat may fork a helper, which
 * would inherit whatever of the guest is open here. So then the machine's files are only looked at, or opened by another process.
 */
static int prepare_guest(struct program *program, char *error, size_t error_size, int *exit_status)
{
	const struct options *options = &program->options;
	*exit_status = EXIT_FAILED;
	if (options->dev_scanout) {
		if (options->display == DISPLAY_NONE) {
			snprintf(error, error_size, "dev_scanout is a picture: it needs --display kms or headless");
			*exit_status = EXIT_USAGE;
			return -1;
		}
		if (prepare_pattern(program, error, error_size) < 0)
			return -1;
		status_board_update(program->board, pattern_is_on, NULL);
		status_board_line(program->board, STATUS_VM, STATUS_OK, "test pattern (dev_scanout), no VM");
		status_board_line(program->board, STATUS_MEMORY, STATUS_OFF, "no VM");
		status_board_line(program->board, STATUS_DISK, STATUS_OFF, "no VM");
		return 0;
	}
	if (wants_machine(options)) {
		if (console_pairs_open(&program->consoles) < 0) {
			snprintf(error, error_size, "cannot make the guest's consoles: %s", strerror(errno));
			return -1;
		}
		if (options->isolate)
			return create_spawner(program, error, error_size, exit_status);
		if (options->display != DISPLAY_KMS)
			return create_machine(program, error, error_size, exit_status);
		if (machine_files_open(options, &program->files, error, error_size, exit_status) < 0)
			return -1;
		machine_files_close(&program->files);
		return 0;
	}
	if (options->display == DISPLAY_NONE) {
		snprintf(error, error_size, "--display none without a kernel leaves nothing to do: give one with -k");
		*exit_status = EXIT_USAGE;
		return -1;
	}
	status_board_line(program->board, STATUS_VM, STATUS_OFF, "none: start rayvm with -k KERNEL");
	status_board_line(program->board, STATUS_MEMORY, STATUS_OFF, "no VM");
	status_board_line(program->board, STATUS_DISK, STATUS_OFF, "no VM");
	return 0;
}

static int prepare_ui(struct program *program, bool guest, char *error, size_t error_size)
{
	const struct router_keys *keys = &program->options.keys;
	char toggle[80], show[80], hide[80], pass[80];
	key_chord_label(&keys->act[ROUTER_TOGGLE], toggle, sizeof toggle);
	key_chord_label(&keys->act[ROUTER_SHOW], show, sizeof show);
	key_chord_label(&keys->act[ROUTER_HIDE], hide, sizeof hide);
	key_chord_label(&(struct router_chord){ keys->pass }, pass, sizeof pass);
	struct ui_config config = {
		.board = program->board,
		.hint = guest ? NULL : "No guest is configured. Start rayvm with -k KERNEL -i INITRD -d DISK, or name them in the settings file.",
		.toggle_key = toggle,
		.show_key = show,
		.hide_key = hide,
		.pass_key = keys->pass != 0 ? pass : NULL,
		.way_out = program->options.display != DISPLAY_KMS ? NULL
			: program->options.vt_switch ? "Ctrl+Alt+Fn are the other terminals, where there are some; rayvmctl quit ends this from there"
			: "none from the keyboard (--vt-switch off)",
		.keys_like = key_names_like,
		.max_width = PANEL_MAX_WIDTH,
		.max_height = PANEL_MAX_HEIGHT,
		.key_code = key_code_from_name,
	};
	program->ui = ui_create(&config, error, error_size);
	return program->ui != NULL ? 0 : -1;
}

static int create_control(struct program *program, char *error, size_t error_size)
{
	const struct options *options = &program->options;
	_Static_assert(CONTROL_ACTING == ROUTER_ACTS, "one for each");
	struct control_config control = {
		.path = options->control,
		.board = program->board,
		.stats = program->stats,
		.front = program->requests,
		.consoles = &program->consoles,
		.console_default = console_of_cmdline(options->cmdline),
		.key_code = key_code_from_name,
		.keys_like = key_names_like,
	};
	/* A chord's last key does nothing alone, and of modifiers text needs Shift only. */
	for (size_t i = 0; i < ROUTER_ACTS; i++) {
		const struct router_chord *act = &options->keys.act[i];
		bool shift = act->with[0] == KEY_LEFTSHIFT && act->with[1] == KEY_RESERVED;
		if (act->with[0] == KEY_RESERVED || shift)
			control.acting[i] = (struct control_acting){ act->code, shift };
	}
	program->control = control_create(&control, error, error_size);
	if (program->control == NULL)
		return -1;
	status_board_line(program->board, STATUS_CONTROL, STATUS_OK, "%.80s", options->control);
	return 0;
}

static int prepare(struct program *program, char *error, size_t error_size)
{
	const struct options *options = &program->options;
	int exit_status = EXIT_FAILED;
	bool display = options->display != DISPLAY_NONE, guest = options->dev_scanout || wants_machine(options);

	snprintf(error, error_size, "out of memory");
	program->board = status_board_create();
	/* Shared with the machine's process, which counts in it. What is read from it is numbers, any of which will do. */
	void *stats = mmap(NULL, sizeof *program->stats, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	program->stats = stats != MAP_FAILED ? stats : NULL;
	program->requests = mailbox_create(CONTROL_REQUESTS, sizeof(struct control_request));
	if (program->board == NULL || program->stats == NULL || program->requests == NULL)
		return EXIT_FAILED;

	if (options->probe_seconds != 0) {
		struct probe_config probe = { .seconds = options->probe_seconds, .board = program->board, .stats = program->stats, .front = program->requests };
		program->probe = probe_create(&probe);
		if (program->probe == NULL)
			return EXIT_FAILED;
	}
	/* Everything that can fail for a reason of the user's comes before the screen is touched. */
	if (prepare_guest(program, error, error_size, &exit_status) < 0)
		return exit_status;
	if (program->probe != NULL)
		status_board_line(program->board, STATUS_CONTROL, STATUS_OFF, "none while the panel is probed");
	else if (create_control(program, error, error_size) < 0)
		return EXIT_USAGE;
	if (display && prepare_ui(program, guest, error, error_size) < 0)
		return EXIT_FAILED;
	if (program->spawner != NULL && spawner_await_child(program->spawner, error, error_size, &exit_status) < 0)
		return exit_status;

	struct front_config front = {
		.options = options,
		.board = program->board,
		.stats = program->stats,
		.requests = program->requests,
		.spawner = program->spawner,
	};
	program->front = front_create(&front, error, error_size, &exit_status);
	if (program->front == NULL)
		return exit_status;
	front_set_control(program->front, program->control);
	/* The seat is ours, its helper forked. */
	if (wants_machine(options) && program->spawner == NULL && program->machine == NULL && create_machine(program, error, error_size, &exit_status) < 0)
		return exit_status;
	struct link *link = program->machine != NULL ? machine_link(program->machine) : program->pattern.link;
	if (front_open(program->front, link, display ? ui_link(program->ui) : NULL, error, error_size, &exit_status) < 0)
		return exit_status;
	return 0;
}

static int start_threads(struct program *program, char *error, size_t error_size)
{
	snprintf(error, error_size, "cannot start a thread");
	if (log_start(program->options.log_level, program->markers_fd) < 0)
		return -1;
	if (program->ui != NULL && ui_start(program->ui) < 0)
		return -1;
	if (program->machine != NULL && machine_start(program->machine, true) < 0)
		return -1;
	if (program->pattern.link != NULL) {
		if (thread_start(&program->pattern_thread, "pattern", 0, run_pattern, &program->pattern) < 0)
			return -1;
		program->pattern_runs = true;
		log_marker("DEV_SCANOUT:enabled");
	}
	if (program->control != NULL && control_start(program->control) < 0)
		return -1;
	if (program->probe != NULL && probe_start(program->probe) < 0)
		return -1;
	error[0] = '\0';
	return 0;
}

/* After the panel, which nobody may hold up: the producers, then what they all stand on. */
static void finish(struct program *program)
{
	spawner_destroy(program->spawner);
	machine_child_destroy(program->child);
	if (program->machine != NULL)
		machine_stop(program->machine);
	if (program->pattern_runs) {
		uint64_t one = 1;
		ssize_t written = write(program->pattern.stop_fd, &one, sizeof one);
		(void)written;
		pthread_join(program->pattern_thread, NULL);
	}
	if (program->ui != NULL)
		ui_stop(program->ui);
	control_destroy(program->control);
	if (program->ui != NULL)
		ui_destroy(program->ui);
	if (program->machine != NULL) {
		machine_destroy(program->machine);
		machine_files_close(&program->files);
	}
	if (program->pattern.link != NULL)
		link_destroy(program->pattern.link);
	console_pairs_close(&program->consoles);
	mailbox_destroy(program->requests);
	log_stop();
	status_board_destroy(program->board);
	probe_destroy(program->probe);
	if (program->stats != NULL)
		munmap(program->stats, sizeof *program->stats);
	options_finish(&program->options);
}

int main(int argc, char **argv)
{
	static struct program program;
	char error[512] = "";
	int status;

	fill_standard_descriptors();
	if (options_parse(&program.options, argc, argv, &status) < 0)
		return status;
	if (program.options.check)
		return check_machine(&program.options);
	/* Who has the panel measured wants its report, not a line for each toggle. */
	const char *markers = program.options.markers == NULL && program.options.probe_seconds != 0 ? "/dev/null" : program.options.markers;
	if (open_markers(markers, &program.markers_fd) < 0)
		return EXIT_USAGE;
	block_signals();
	log_set_level(program.options.log_level);
	log_markers_to(program.markers_fd);
	/* A start that fails says one line; who debugs wants to see how far it came. */
	if (program.options.log_level < LOG_DEBUG && log_hold() < 0) {
		complain("out of memory");
		return EXIT_FAILED;
	}

	prepare_sandbox(&program);
	program.consoles = CONSOLE_PAIRS_NONE;
	status = prepare(&program, error, sizeof error);
	if (status == 0 && start_threads(&program, error, sizeof error) < 0)
		status = EXIT_FAILED;
	bool ran = status == 0;
	if (ran)
		status = front_run(program.front);
	if (program.probe != NULL)
		probe_stop(program.probe);
	/* The console comes back at once, however long a disk takes to flush or a vCPU to stop, and the line below can be read. */
	front_destroy(program.front);
	if (error[0] != '\0' && status != 0) {
		if (thread_end_asked())
			status = EXIT_ASKED; /* that is why a wait of the start-up gave up */
		else
			complain(error);
	}
	if (program.probe != NULL && ran)
		status = probe_report(program.probe, program.options.json, status);
	finish(&program);
	return status;
}
