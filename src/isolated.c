#define LOG_MODULE "isolated"
#include "isolated.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "base/log.h"
#include "machine_child.h"
#include "options.h"
#include "spawner.h"

#define RESTART_PACE_NS NSEC_PER_SEC /* between starts that nobody asked for */
#define ANSWER_MS 15000               /* for a reset or stop: longer than a slow disk needs for what is in flight */

struct isolated {
	struct isolated_config config;
	struct wl_event_source *news, *restart, *answer;
	enum { CHILD_NONE, CHILD_STARTING, CHILD_RUNS } child;
	uint32_t number; /* of the child; news of others is old */
	bool lost;             /* the spawner is gone */
	bool restart_due;
	enum { ASKED_NOTHING, ASKED_STOP, ASKED_RESET } asked; /* of a machine that has not answered yet */
	uint64_t started_ns;
	enum vm_state vm;
};

static void tell(struct isolated *isolated, enum vm_state state, const char *text)
{
	log_info("VM is %s%s%s", status_vm_name(state), *text != '\0' ? ": " : "", text);
	isolated->vm = state;
	isolated->config.state(isolated->config.data, state, text);
}

static void start(struct isolated *isolated)
{
	isolated->restart_due = false;
	isolated->started_ns = clock_now_ns();
	if (isolated->lost || !spawner_say(isolated->config.spawner, SPAWNER_START, ++isolated->number)) {
		tell(isolated, VM_STOPPED, "no process can be made for it any more: restart rayvm");
		return;
	}
	isolated->child = CHILD_STARTING;
	tell(isolated, VM_STARTING, "");
}

static int restart(void *data)
{
	struct isolated *isolated = data;
	if (isolated->restart_due && isolated->child == CHILD_NONE)
		start(isolated);
	return 0;
}

static int not_answered(void *data)
{
	struct isolated *isolated = data;
	if (isolated->asked == ASKED_NOTHING || isolated->child != CHILD_RUNS)
		return 0;
	log_error("the machine does not answer: its process is killed");
	spawner_say(isolated->config.spawner, SPAWNER_KILL, isolated->number);
	return 0;
}

/* The program's own lines, but from another process: one line of printable text. */
static void show_line(struct status_board *board, enum status_slot slot, const struct status_line *line)
{
	char text[STATUS_TEXT];
	size_t length = strnlen(line->text, sizeof text - 1);
	for (size_t i = 0; i < length; i++)
		text[i] = line->text[i] >= 0x20 && line->text[i] < 0x7f ? line->text[i] : '?';
	text[length] = '\0';
	status_board_line(board, slot, line->tag <= STATUS_BAD ? line->tag : STATUS_NONE, "%s", text);
}

static struct link *open_link(struct isolated *isolated, struct spawner_event *event)
{
	if (event->n_fds != MACHINE_FDS) {
		spawner_event_close(event);
		errno = EINVAL;
		return NULL;
	}
	struct link_handles handles = { event->fd[MACHINE_FD_RINGS], event->fd[MACHINE_FD_PIXELS], event->fd[MACHINE_FD_WAKE] };
	event->n_fds = 0;
	show_line(isolated->config.board, STATUS_MEMORY, &event->hello.memory);
	show_line(isolated->config.board, STATUS_DISK, &event->hello.disk);
	return link_open(&handles);
}

static void ready(struct isolated *isolated, struct spawner_event *event)
{
	struct link *link = open_link(isolated, event);
	if (link == NULL) {
		char text[96];
		snprintf(text, sizeof text, "cannot join the machine to the panel: %s", strerror(errno));
		isolated->child = CHILD_NONE;
		spawner_say(isolated->config.spawner, SPAWNER_KILL, isolated->number);
		tell(isolated, VM_STOPPED, text);
		return;
	}
	isolated->child = CHILD_RUNS;
	isolated->config.join(isolated->config.data, link);
	spawner_say(isolated->config.spawner, SPAWNER_BEGIN, isolated->number);
}

static void ended(struct isolated *isolated, const char *why)
{
	bool ran = isolated->child == CHILD_RUNS, wanted = isolated->vm != VM_NONE && isolated->vm != VM_STOPPED;
	char text[96];
	if (isolated->child == CHILD_NONE)
		return; /* it failed before, and said why */
	int asked = isolated->asked;
	isolated->asked = ASKED_NOTHING;
	isolated->child = CHILD_NONE;
	snprintf(text, sizeof text, "its process was %s", why);
	if (ran)
		isolated->config.join(isolated->config.data, NULL);
	if (asked != ASKED_NOTHING) {
		/* What somebody wanted is what happens, however the old machine ended. */
		log_warn("the machine's process was %s", why);
		tell(isolated, VM_STOPPED, text);
		if (asked == ASKED_RESET)
			start(isolated);
		return;
	}
	if (!wanted) {
		/* Switched off: nothing was lost with it, and the next start makes another. */
		log_warn("the machine's process was %s; the VM was not running", why);
		return;
	}
	log_error("the machine's process was %s", why);
	tell(isolated, VM_CRASHED, text);
	switch (isolated->config.options->on_crash) {
	case POLICY_EXIT:
		isolated->config.quit(isolated->config.data, EXIT_FAILED);
		break;
	case POLICY_RESTART: {
		uint64_t now = clock_now_ns(), earliest = isolated->started_ns + RESTART_PACE_NS;
		isolated->restart_due = !isolated->lost;
		wl_event_source_timer_update(isolated->restart, now >= earliest ? 1 : (int)((earliest - now) / NSEC_PER_MSEC) + 1);
		break;
	}
	default:
		break;
	}
}

static int news(int fd, uint32_t mask, void *data)
{
	(void)fd;
	(void)mask;
	struct isolated *isolated = data;
	struct spawner_event event;
	char why[96];
	int got;
	while ((got = spawner_take(isolated->config.spawner, &event)) > 0) {
		switch (event.child == isolated->number ? event.word : 0) {
		case SPAWNER_READY:
			if (isolated->child == CHILD_STARTING)
				ready(isolated, &event);
			break;
		case SPAWNER_FAILED:
			if (isolated->child != CHILD_STARTING)
				break;
			isolated->child = CHILD_NONE;
			tell(isolated, VM_STOPPED, event.text);
			break;
		case SPAWNER_DIED:
			spawner_describe(&event, why, sizeof why);
			ended(isolated, why);
			break;
		default:
			break;
		}
		spawner_event_close(&event);
	}
	if (got < 0 && !isolated->lost) {
		isolated->lost = true;
		wl_event_source_remove(isolated->news);
		isolated->news = NULL;
		log_error("the process that makes machines is gone: no VM can be started until rayvm is restarted");
		ended(isolated, "lost with the one that made it; restart rayvm");
	}
	return 0;
}

struct isolated *isolated_create(struct wl_event_loop *loop, const struct isolated_config *config)
{
	struct isolated *isolated = calloc(1, sizeof *isolated);
	if (isolated == NULL)
		return NULL;
	isolated->config = *config;
	isolated->number = 1;
	isolated->restart = wl_event_loop_add_timer(loop, restart, isolated);
	isolated->answer = wl_event_loop_add_timer(loop, not_answered, isolated);
	isolated->news = wl_event_loop_add_fd(loop, spawner_fd(config->spawner), WL_EVENT_READABLE, news, isolated);
	if (isolated->restart == NULL || isolated->answer == NULL || isolated->news == NULL) {
		isolated_destroy(isolated);
		errno = ENOMEM;
		return NULL;
	}
	return isolated;
}

void isolated_destroy(struct isolated *isolated)
{
	if (isolated == NULL)
		return;
	if (isolated->news != NULL)
		wl_event_source_remove(isolated->news);
	if (isolated->restart != NULL)
		wl_event_source_remove(isolated->restart);
	if (isolated->answer != NULL)
		wl_event_source_remove(isolated->answer);
	free(isolated);
}

void isolated_run(struct isolated *isolated)
{
	isolated->started_ns = clock_now_ns();
	isolated->child = CHILD_STARTING;
	isolated->vm = VM_STARTING;
	news(spawner_fd(isolated->config.spawner), 0, isolated);
}

void isolated_heard(struct isolated *isolated, enum vm_state state)
{
	isolated->vm = state;
	if (state == VM_STARTING || state == VM_STOPPED)
		isolated->asked = ASKED_NOTHING;
	if (state == VM_STARTING)
		isolated->started_ns = clock_now_ns();
}

bool isolated_command(struct isolated *isolated, enum link_vm_command command)
{
	if (isolated->child == CHILD_RUNS) {
		/* A machine that is switched off has no answer to these, one whose guest crashed only to a reset. */
		bool on = isolated->vm != VM_NONE && isolated->vm != VM_STOPPED;
		if (on && (command == LINK_VM_RESET || (command == LINK_VM_STOP && isolated->vm != VM_CRASHED))) {
			isolated->asked = command == LINK_VM_STOP ? ASKED_STOP : ASKED_RESET;
			wl_event_source_timer_update(isolated->answer, ANSWER_MS);
		}
		return false;
	}
	switch (command) {
	case LINK_VM_START:
	case LINK_VM_RESET:
		if (isolated->child == CHILD_NONE)
			start(isolated);
		break;
	case LINK_VM_STOP:
	case LINK_VM_POWERDOWN:
		if (isolated->restart_due || isolated->child == CHILD_STARTING) {
			if (isolated->child == CHILD_STARTING)
				spawner_say(isolated->config.spawner, SPAWNER_KILL, isolated->number);
			isolated->child = CHILD_NONE;
			isolated->restart_due = false;
			tell(isolated, VM_STOPPED, "switched off by command");
		}
		break;
	default:
		break;
	}
	return true;
}
