#include "shell-ui/answers.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "shell-ui/text.h"

struct out {
	char *text;
	size_t size, n;
};

static void __attribute__((format(printf, 2, 3))) say(struct out *out, const char *format, ...)
{
	va_list args;
	if (out->n + 1 >= out->size)
		return;
	va_start(args, format);
	int n = vsnprintf(out->text + out->n, out->size - out->n, format, args);
	va_end(args);
	if (n > 0)
		out->n = out->n + (size_t)n < out->size ? out->n + (size_t)n : out->size - 1;
}

static struct out begin(char *text, size_t size)
{
	if (size > 0)
		text[0] = '\0';
	return (struct out){ text, size, 0 };
}

static bool configured(const struct answer_context *context)
{
	return !(context->status->vm == VM_NONE && context->hint && context->status->scanout_width == 0);
}

static void help_row(struct out *out, const char *name, const char *what)
{
	say(out, "  " MARK_ACCENT "%-20s" MARK_PLAIN " " MARK_INDENT "%s\n", name, what);
}

static void help(struct out *out, const struct answer_context *context)
{
	say(out, MARK_STRONG "Linux desktop" MARK_PLAIN "\n");
	help_row(out, "show linux desktop", "put the Linux desktop on the screen");
	help_row(out, "hide linux desktop", "come back here; the machine runs on");
	help_row(out, "press ctrl+alt+del", "send keys to Linux, also those that toggle");
	say(out, MARK_STRONG "Machine" MARK_PLAIN "\n");
	help_row(out, "vm start | stop", "switch it on, or off without asking it");
	help_row(out, "vm powerdown", "ask Linux to shut down");
	help_row(out, "vm reset", "start it afresh");
	help_row(out, "vm pause | resume", "halt it, let it go on");
	say(out, MARK_STRONG "This system" MARK_PLAIN "\n");
	help_row(out, "status", "everything known, line by line");
	help_row(out, "devices, memory", "what is attached, what is free");
	help_row(out, "time, uptime", "the clock, and for how long this runs");
	help_row(out, "version", "which program this is");
	help_row(out, "clear", "empty this transcript");
	say(out, MARK_DIM "Keys: " MARK_ACCENT "%s" MARK_DIM " flips between here and Linux, " MARK_ACCENT "%s" MARK_DIM " shows Linux, " MARK_ACCENT
		"%s" MARK_DIM " comes back." MARK_PLAIN "\n", context->toggle_key, context->show_key, context->hide_key);
	if (context->pass_key)
		say(out, MARK_DIM "With " MARK_ACCENT "%s" MARK_DIM " held they are typed." MARK_PLAIN "\n", context->pass_key);
}

static const char *tag_mark(enum status_tag tag)
{
	switch (tag) {
	case STATUS_OK:
		return MARK_GOOD;
	case STATUS_BUSY:
		return MARK_BUSY;
	case STATUS_BAD:
		return MARK_BAD;
	default:
		return MARK_DIM;
	}
}

static void status_page(struct out *out, const struct answer_context *context)
{
	static const char *const names[STATUS_SLOTS] = { "VM", "Display", "Input", "Disk", "Memory", "Path", "Control" };
	const struct status *status = context->status;
	for (int i = 0; i < STATUS_SLOTS; i++) {
		const struct status_line *line = &status->line[i];
		if (line->tag == STATUS_NONE && !line->text[0])
			continue;
		say(out, "%s%s" MARK_PLAIN " %-9s" MARK_INDENT "%s\n", tag_mark(line->tag), line->tag == STATUS_NONE ? "    " : status_tag_text(line->tag),
			names[i], line->text);
	}
	say(out, "     %-9s%s\n", "Shown", status->presentation == PRESENTATION_PRESENTED ? "Linux desktop" : "this screen");
	say(out, "     %-9s%d\n", "Desktop", status_desktop_number(status));
	say(out, "     %-9s" MARK_INDENT MARK_ACCENT "%s" MARK_PLAIN " flips, " MARK_ACCENT "%s" MARK_PLAIN " shows Linux, " MARK_ACCENT "%s" MARK_PLAIN " comes back", "Keys",
		context->toggle_key, context->show_key, context->hide_key);
	if (context->pass_key)
		say(out, "; with " MARK_ACCENT "%s" MARK_PLAIN " held they are typed", context->pass_key);
	say(out, "\n");
	if (context->way_out)
		say(out, "     %-9s" MARK_INDENT "%s\n", "Way out", context->way_out);
}

static void uptime(struct out *out, unsigned long long seconds)
{
	unsigned long long days = seconds / 86400, hours = seconds / 3600 % 24, minutes = seconds / 60 % 60;
	if (days > 0)
		say(out, "%llu day%s, ", days, days == 1 ? "" : "s");
	if (days > 0 || hours > 0)
		say(out, "%llu h ", hours);
	if (seconds >= 60)
		say(out, "%llu min", minutes);
	else
		say(out, "%llu s", seconds);
}

static void memory(struct out *out, const struct answer_context *context)
{
	struct sysinfo info;
	if (sysinfo(&info) == 0) {
		unsigned long long unit = info.mem_unit ? info.mem_unit : 1;
		say(out, "This computer has %llu MiB, %llu MiB of it unused.\n", info.totalram * unit >> 20, info.freeram * unit >> 20);
	}
	const struct status_line *line = &context->status->line[STATUS_MEMORY];
	if (line->text[0])
		say(out, "The machine: %s\n", line->text);
}

static void devices(struct out *out, const struct answer_context *context)
{
	const struct status *status = context->status;
	for (uint32_t i = 0; i < status->n_outputs && i < STATUS_OUTPUTS; i++) {
		const struct status_output *output = &status->output[i];
		say(out, MARK_STRONG "%.31s" MARK_PLAIN "  ", output->name);
		if (!output->connected)
			say(out, MARK_DIM "nothing connected" MARK_PLAIN "\n");
		else
			say(out, "%u\u00d7%u at %u.%02u Hz\n", output->width, output->height, output->refresh_mhz / 1000,
				output->refresh_mhz % 1000 / 10);
	}
	say(out, "%u keyboard%s, %u pointer%s\n", status->keyboards, status->keyboards == 1 ? "" : "s", status->pointers,
		status->pointers == 1 ? "" : "s");
	if (status->line[STATUS_DISK].text[0])
		say(out, MARK_STRONG "Disk" MARK_PLAIN "  %s\n", status->line[STATUS_DISK].text);
}

static void now(struct out *out)
{
	time_t seconds = time(NULL);
	struct tm parts;
	char text[96];
	if (localtime_r(&seconds, &parts) && strftime(text, sizeof(text), "%A, %e %B %Y, %H:%M:%S %Z", &parts) > 0)
		say(out, "%s\n", text);
	else
		say(out, "The clock is not readable.\n");
}

static void not_configured(struct out *out, const struct answer_context *context)
{
	say(out, MARK_BUSY "No Linux machine is configured." MARK_PLAIN "\n%s\n", context->hint ? context->hint : "");
}

static void show(struct out *out, const struct answer_context *context)
{
	const struct status *status = context->status;
	if (!configured(context)) {
		not_configured(out, context);
		return;
	}
	if (status->scanout_width > 0)
		say(out, "Showing the Linux desktop.");
	else if (status->vm == VM_CRASHED)
		say(out, MARK_BAD "The machine has crashed." MARK_PLAIN " Type " MARK_ACCENT "vm start" MARK_PLAIN " to start it again.");
	else if (status->vm == VM_PAUSED)
		say(out, "The machine is paused: " MARK_ACCENT "vm resume" MARK_PLAIN " lets it go on.");
	else if (status->vm == VM_NONE || status->vm == VM_STOPPED)
		say(out, "Starting the machine. Its desktop appears as soon as Linux draws it.");
	else
		say(out, "The machine is %s; its desktop appears as soon as Linux draws it.", status_vm_name(status->vm));
	say(out, " " MARK_ACCENT "%s" MARK_PLAIN " or " MARK_ACCENT "%s" MARK_PLAIN " comes back here.\n", context->toggle_key, context->hide_key);
}

static void machine(struct out *out, enum link_vm_command command, const struct answer_context *context)
{
	enum vm_state state = context->status->vm;
	bool off = state == VM_NONE || state == VM_STOPPED || state == VM_CRASHED;
	if (!configured(context)) {
		not_configured(out, context);
		return;
	}
	if (off && command != LINK_VM_START && command != LINK_VM_RESET) {
		say(out, "The machine is %s; " MARK_ACCENT "vm start" MARK_PLAIN " starts it.\n", state == VM_CRASHED ? "crashed" : "not running");
		return;
	}
	switch (command) {
	case LINK_VM_START:
		say(out, off ? "Starting the machine.\n" : "The machine is %s already.\n", status_vm_name(state));
		break;
	case LINK_VM_STOP:
		say(out, "Switching the machine off.\n");
		break;
	case LINK_VM_RESET:
		say(out, "Resetting the machine.\n");
		break;
	case LINK_VM_PAUSE:
		say(out, state == VM_PAUSED ? "The machine is paused already.\n" : "Pausing the machine.\n");
		break;
	case LINK_VM_RESUME:
		say(out, state == VM_PAUSED ? "Resuming the machine.\n" : "The machine is not paused.\n");
		break;
	case LINK_VM_POWERDOWN:
		say(out, "Asking Linux to shut down.\n");
		break;
	case LINK_VM_RESIZE_DISK: /* no word of the UI asks for it */
		break;
	}
}

void answer_command(const struct command *command, const struct answer_context *context, char *text, size_t size)
{
	struct out out = begin(text, size);
	struct utsname host;

	switch (command->kind) {
	case COMMAND_NOTHING:
	case COMMAND_CLEAR:
	case COMMAND_PRESS: /* the caller knows whether the keys exist */
		break;
	case COMMAND_UNKNOWN:
		say(&out, "I do not know " MARK_STRONG "%s" MARK_PLAIN ". ", command->text);
		if (command->meant)
			say(&out, "Did you mean " MARK_ACCENT "%s" MARK_PLAIN "? ", command->meant);
		say(&out, "Type " MARK_ACCENT "help" MARK_PLAIN " for what I understand.\n");
		break;
	case COMMAND_HELP:
		help(&out, context);
		break;
	case COMMAND_STATUS:
		status_page(&out, context);
		break;
	case COMMAND_SHOW:
		show(&out, context);
		break;
	case COMMAND_HIDE:
		say(&out, "This is the native screen%s.\n", context->status->vm == VM_RUNNING ? "; Linux runs on behind it" : "");
		break;
	case COMMAND_TOGGLE:
		if (context->status->presentation == PRESENTATION_HIDDEN)
			show(&out, context);
		break;
	case COMMAND_VM:
		machine(&out, command->vm, context);
		break;
	case COMMAND_VM_USAGE:
		if (command->text[0])
			say(&out, "A machine cannot " MARK_STRONG "%s" MARK_PLAIN ". ", command->text);
		else if (!configured(context))
			say(&out, "No machine is configured. ");
		else
			say(&out, "The machine is %s. ", status_vm_name(context->status->vm));
		say(&out, "Say " MARK_ACCENT "vm start" MARK_PLAIN ", " MARK_ACCENT "stop" MARK_PLAIN ", " MARK_ACCENT "reset" MARK_PLAIN ", "
			MARK_ACCENT "pause" MARK_PLAIN ", " MARK_ACCENT "resume" MARK_PLAIN " or " MARK_ACCENT "powerdown" MARK_PLAIN ".\n");
		break;
	case COMMAND_VERSION:
		say(&out, MARK_STRONG "rayvm " RAYVM_VERSION MARK_PLAIN "\n");
		if (uname(&host) == 0)
			say(&out, "on %s %s (%s)\n", host.sysname, host.release, host.machine);
		break;
	case COMMAND_UPTIME: {
		struct sysinfo info;
		say(&out, "Running for ");
		uptime(&out, context->up_seconds);
		if (sysinfo(&info) == 0) {
			say(&out, "; this computer for ");
			uptime(&out, (unsigned long long)info.uptime);
		}
		say(&out, ".\n");
		break;
	}
	case COMMAND_TIME:
		now(&out);
		break;
	case COMMAND_MEMORY:
		memory(&out, context);
		break;
	case COMMAND_DEVICES:
		devices(&out, context);
		break;
	case COMMAND_GREETING:
		say(&out, "Hello. Type " MARK_ACCENT "help" MARK_PLAIN " to see what can be done here.\n");
		break;
	case COMMAND_THANKS:
		say(&out, "You are welcome.\n");
		break;
	case COMMAND_ABOUT:
		say(&out, "RayOS on Linux: this screen, and a Linux desktop in a virtual machine behind it. One key flips between them.\n");
		break;
	case COMMAND_QUIT:
		say(&out, "This screen has no end of its own. " MARK_ACCENT "rayvmctl quit" MARK_PLAIN " ends the program, " MARK_ACCENT
			"vm powerdown" MARK_PLAIN " shuts Linux down.\n");
		break;
	}
}

void answer_welcome(const struct answer_context *context, char *text, size_t size)
{
	struct out out = begin(text, size);
	say(&out, MARK_STRONG "Welcome." MARK_PLAIN " Type " MARK_ACCENT "help" MARK_PLAIN " for what can be asked, or press " MARK_ACCENT "%s"
		MARK_PLAIN " for the Linux desktop.\n", context->toggle_key);
	if (!configured(context)) {
		say(&out, "\n");
		not_configured(&out, context);
	}
}

void answer_vm_change(enum vm_state before, const struct answer_context *context, char *text, size_t size)
{
	struct out out = begin(text, size);
	enum vm_state state = context->status->vm;
	if (before == state)
		return;
	switch (state) {
	case VM_NONE:
		break;
	case VM_STARTING:
		say(&out, MARK_DIM "The machine is starting.\n");
		break;
	case VM_RUNNING:
		say(&out, MARK_DIM "%s\n", before == VM_PAUSED ? "The machine goes on." : "The machine is running.");
		break;
	case VM_PAUSED:
		say(&out, MARK_DIM "The machine is paused.\n");
		break;
	case VM_STOPPING:
		say(&out, MARK_DIM "The machine is stopping.\n");
		break;
	case VM_STOPPED:
		say(&out, MARK_DIM "The machine has stopped.\n");
		break;
	case VM_CRASHED:
		say(&out, MARK_BAD "The machine has crashed." MARK_PLAIN " %s%s" MARK_ACCENT "vm start" MARK_PLAIN " starts it again.\n",
			context->status->line[STATUS_VM].text, context->status->line[STATUS_VM].text[0] ? "; " : "");
		break;
	}
}

void answer_placeholder(const struct answer_context *context, struct placeholder_text *text)
{
	const struct status *status = context->status;
	const struct status_line *line = &status->line[STATUS_VM];
	struct out advice = begin(text->advice, sizeof(text->advice));
	const char *state = "";

	snprintf(text->title, sizeof(text->title), "The Linux desktop has no picture yet");
	text->tag = STATUS_BUSY;
	switch (status->vm) {
	case VM_NONE:
		text->tag = STATUS_OFF;
		if (!configured(context)) {
			snprintf(text->title, sizeof(text->title), "There is no Linux desktop");
			state = "no machine is configured";
			say(&advice, "%s\n", context->hint);
		} else {
			state = "the machine is not started";
			say(&advice, "Go back and type " MARK_ACCENT "vm start" MARK_PLAIN ".\n");
		}
		break;
	case VM_STARTING:
		state = "the machine is starting";
		say(&advice, "Its desktop appears here by itself, as soon as Linux draws it.\n");
		break;
	case VM_RUNNING:
		state = "the machine is running; its screen is still off";
		say(&advice, "Its desktop appears here by itself, as soon as Linux draws it.\n");
		break;
	case VM_PAUSED:
		state = "the machine is paused";
		say(&advice, "Go back and type " MARK_ACCENT "vm resume" MARK_PLAIN " to let it go on.\n");
		break;
	case VM_STOPPING:
		snprintf(text->title, sizeof(text->title), "The Linux desktop is closing");
		state = "the machine is stopping";
		say(&advice, "Wait for it to stop; " MARK_ACCENT "vm start" MARK_PLAIN " starts it again.\n");
		break;
	case VM_STOPPED:
		text->tag = STATUS_OFF;
		snprintf(text->title, sizeof(text->title), "The Linux desktop is off");
		state = "the machine has stopped";
		say(&advice, "Go back and type " MARK_ACCENT "vm start" MARK_PLAIN " to start it again.\n");
		break;
	case VM_CRASHED:
		text->tag = STATUS_BAD;
		snprintf(text->title, sizeof(text->title), "The Linux desktop is gone");
		state = "the machine has crashed";
		say(&advice, "Go back and type " MARK_ACCENT "vm start" MARK_PLAIN " to start it again.\n");
		break;
	}
	snprintf(text->state, sizeof(text->state), "%s", state);
	if (line->text[0] && status->vm != VM_NONE)
		say(&advice, MARK_DIM "%s" MARK_PLAIN "\n", line->text);
}
