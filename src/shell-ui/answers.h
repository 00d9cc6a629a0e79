/* Answers: the words the UI says. Text goes into a buffer, lines separated by newlines, with the MARK_* switches of text.h. */
#pragma once

#include <stddef.h>

#include "base/status.h"
#include "shell-ui/commands.h"

struct answer_context {
	const struct status *status;
	const char *hint;             /* how to configure a guest; NULL: one is configured */
	const char *toggle_key, *show_key, *hide_key;
	const char *pass_key; /* NULL: there is none */
	const char *way_out;  /* for the person at the machine; NULL: nothing to say of it */
	unsigned long long up_seconds; /* since the program started */
};

#define ANSWER_MAX 4096

/* The answer to a command, "" when it has none. The caller acts; the answer tells what that will do. */
void answer_command(const struct command *command, const struct answer_context *context, char *out, size_t size);
/* Said once at the start. */
void answer_welcome(const struct answer_context *context, char *out, size_t size);
/* Said when the VM's state changed from `before` to the one of the context; "" when there is nothing to say. */
void answer_vm_change(enum vm_state before, const struct answer_context *context, char *out, size_t size);

/* The placeholder: what is shown instead of a guest without a picture. Plain text. */
struct placeholder_text {
	char title[96];
	char state[STATUS_TEXT + 32]; /* one line about the machine */
	enum status_tag tag;          /* of that line */
	char advice[512];             /* what can be done, lines separated by newlines; MARK_* switches */
};
void answer_placeholder(const struct answer_context *context, struct placeholder_text *text);
