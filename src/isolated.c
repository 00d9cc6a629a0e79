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
#define ANSWER_MS 15000               /* for a reset, a stop, or an end: longer than a slow disk needs for what is in flight */

struct isolated {
	struct isolated_config config;
	struct wl_event_source *news, *restart, *answer;
	/*
	 * A machine's word for it that it is off is only a word: the process ends with it. The panel has it end once the machine has said that nothing
	 * but a command starts it again (CHILD_ENDS), from then on believes it nothing, and has it killed when it takes too long over any of this.
	 */
	enum { CHILD_NONE, CHILD_STARTING, CHILD_RUNS, CHILD_ENDS } child;
	uint32_t number; /* of the child; news of others is old */
	bool lost;             /* the spawner is gone */
	bool restart_due;
	bool leaving;   /* the panel still has the last machine's memory. Another one is made when it has not: both need not fit, in a pool of huge pages least of all */
	bool start_due; /* and is waited for (CHILD_STARTING) */
	enum asked { ASKED_NOTHING, ASKED_STOP, ASKED_RESET } asked; /* of a machine that has not answered yet */
	uint64_t started_ns;
	enum vm_state vm;
};

static bool is_off(enum vm_state state)
{
	return state == VM_NONE || state == VM_STOPPED || state == VM_CRASHED;
}

/* The child is killed unless it does in time what is expected of it now. */
static void expect(struct isolated *isolated)
{
	wl_event_source_timer_update(isolated->answer, (int)(isolated->config.answer_ms != 0 ? isolated->config.answer_ms : ANSWER_MS));
}

static void expect_nothing(struct isolated *isolated)
{
	wl_event_source_timer_update(isolated->answer, 0);
}

static void tell(struct isolated *isolated, enum vm_state state, const char *text)
{
	log_info("VM is %s%s%s", status_vm_name(state), *text != '\0' ? ": " : "", text);
	isolated->vm = state;
	isolated->config.state(isolated->config.data, state, text);
}

static bool make_child(struct isolated *isolated)
{
	isolated->start_due = false;
	if (!isolated->lost && spawner_say(isolated->config.spawner, SPAWNER_START, isolated->number))
		return true;
	isolated->child = CHILD_NONE;
	expect_nothing(isolated);
	tell(isolated, VM_STOPPED, "no process can be made for it any more: restart rayvm");
	return false;
}

static void start(struct isolated *isolated)
{
	isolated->restart_due = false;
	isolated->started_ns = clock_now_ns();
	isolated->child = CHILD_STARTING;
	isolated->number++; /* what is heard of the last one is old from here on */
	isolated->start_due = isolated->leaving;
	if (isolated->start_due || make_child(isolated))
		tell(isolated, VM_STARTING, "");
}

/* Gives the panel another link, or none. */
static void join(struct isolated *isolated, struct link *link)
{
	if (!isolated->config.join(isolated->config.data, link))
		isolated->leaving = true;
}

void isolated_joined(struct isolated *isolated)
{
	isolated->leaving = false;
	if (isolated->start_due)
		make_child(isolated);
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
	switch (isolated->child) {
	case CHILD_STARTING:
		/* The kernel ends a process whose storage does not answer when it does. */
		tell(isolated, VM_STARTING, "waits for the last machine's process: see to its storage");
		return 0;
	case CHILD_RUNS:
		log_error(isolated->asked != ASKED_NOTHING ? "the machine does not answer: its process is killed"
			: "the machine is off, but does not say that it is done: its process is killed");
		break;
	case CHILD_ENDS:
		log_error("the machine is off, but its process does not end: it is killed");
		break;
	default:
		return 0;
	}
	isolated->child = CHILD_ENDS;
	spawner_say(isolated->config.spawner, SPAWNER_KILL, isolated->number);
	return 0;
}

/* The machine is off: its process ends in order. */
static void close_child(struct isolated *isolated)
{
	isolated->child = CHILD_ENDS;
	spawner_say(isolated->config.spawner, SPAWNER_CLOSE, isolated->number);
	expect(isolated);
}

/* A start of a machine that was off, while its process is still there: it is not what starts. */
static void replace_child(struct isolated *isolated)
{
	isolated->child = CHILD_NONE;
	isolated->asked = ASKED_NOTHING;
	spawner_say(isolated->config.spawner, SPAWNER_KILL, isolated->number);
	join(isolated, NULL);
	start(isolated); /* the next one, when this one is gone */
	if (isolated->child == CHILD_STARTING)
		expect(isolated);
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
	expect_nothing(isolated);
	if (link == NULL) {
		char text[96];
		snprintf(text, sizeof text, "cannot join the machine to the panel: %s", strerror(errno));
		isolated->child = CHILD_NONE;
		spawner_say(isolated->config.spawner, SPAWNER_KILL, isolated->number);
		tell(isolated, VM_STOPPED, text);
		return;
	}
	isolated->child = CHILD_RUNS;
	join(isolated, link);
	spawner_say(isolated->config.spawner, SPAWNER_BEGIN, isolated->number);
}

/* What on-crash says. */
static void follow_crash(struct isolated *isolated)
{
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

static void ended(struct isolated *isolated, const char *why)
{
	char text[96];
	if (isolated->child == CHILD_NONE)
		return; /* it failed before, and said why */
	bool ordered = isolated->child == CHILD_ENDS;
	enum asked asked = isolated->asked;
	expect_nothing(isolated);
	if (ordered || isolated->child == CHILD_RUNS)
		join(isolated, NULL);
	isolated->asked = ASKED_NOTHING;
	isolated->child = CHILD_NONE;
	isolated->start_due = false;
	snprintf(text, sizeof text, "its process was %s", why);
	if (!is_off(isolated->vm) && asked == ASKED_NOTHING) {
		log_error("the machine's process was %s", why);
		tell(isolated, VM_CRASHED, text);
		follow_crash(isolated);
		return;
	}
	if (ordered && is_off(isolated->vm))
		log_info("the machine's process was %s", why);
	else
		log_warn("the machine's process was %s%s", why, is_off(isolated->vm) ? "; the VM was not running" : "");
	/* What somebody wanted is what happens, however the old machine ended. Where it is off already, that was told, and nothing was lost. */
	if (asked != ASKED_NOTHING && !is_off(isolated->vm))
		tell(isolated, VM_STOPPED, text);
	if (asked == ASKED_RESET)
		start(isolated);
	else if (asked == ASKED_NOTHING && isolated->vm == VM_CRASHED)
		follow_crash(isolated);
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
			expect_nothing(isolated);
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

bool isolated_heard(struct isolated *isolated, enum vm_state state)
{
	if (isolated->child != CHILD_RUNS)
		return false;
	bool was_off = is_off(isolated->vm), off = is_off(state);
	isolated->vm = state;
	if (state == VM_STARTING)
		isolated->started_ns = clock_now_ns();
	switch (isolated->asked) {
	case ASKED_STOP:
		/* Off is the one answer, even if it is of a guest that did so by itself just then and is to start again. */
		if (off)
			close_child(isolated);
		break;
	case ASKED_RESET:
		/* It is off on the way. */
		if (state == VM_STARTING) {
			isolated->asked = ASKED_NOTHING;
			expect_nothing(isolated);
		}
		break;
	default:
		/* It starts again, or says that it will not. */
		if (off && !was_off)
			expect(isolated);
		else if (was_off && !off)
			expect_nothing(isolated);
		break;
	}
	return true;
}

void isolated_off(struct isolated *isolated)
{
	if (isolated->child == CHILD_RUNS && is_off(isolated->vm))
		close_child(isolated);
}

/* The link has no room for a command that a machine never reads: its time runs all the same. */
static void ask(struct isolated *isolated, enum asked what)
{
	if (isolated->asked == what)
		return;
	/* One that is off has its time already. */
	if (isolated->asked != ASKED_NOTHING || !is_off(isolated->vm))
		expect(isolated);
	isolated->asked = what;
}

bool isolated_command(struct isolated *isolated, enum link_vm_command command)
{
	bool crashed = isolated->vm == VM_CRASHED, off = is_off(isolated->vm);
	bool starts = off && (command == LINK_VM_START || (command == LINK_VM_RESET && crashed));
	bool stops = command == LINK_VM_STOP || command == LINK_VM_POWERDOWN;
	switch (isolated->child) {
	case CHILD_RUNS:
		if (starts) {
			replace_child(isolated);
			return true;
		}
		if (command == LINK_VM_STOP)
			ask(isolated, ASKED_STOP);
		else if (command == LINK_VM_RESET && !off)
			ask(isolated, ASKED_RESET);
		return false;
	case CHILD_ENDS:
		if (starts)
			replace_child(isolated);
		else if (stops)
			isolated->asked = ASKED_STOP; /* and not started again */
		break;
	case CHILD_STARTING:
		if (!stops)
			break;
		if (!isolated->start_due)
			spawner_say(isolated->config.spawner, SPAWNER_KILL, isolated->number);
		isolated->start_due = false;
		isolated->child = CHILD_NONE;
		expect_nothing(isolated);
		tell(isolated, VM_STOPPED, "switched off by command");
		break;
	case CHILD_NONE:
		if (starts) {
			start(isolated);
		} else if (stops && isolated->restart_due) {
			isolated->restart_due = false;
			tell(isolated, VM_STOPPED, "switched off by command");
		}
		break;
	}
	return true;
}
