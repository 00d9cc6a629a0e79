/* Commands: what a typed line means. Pure: text in, one command out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link/link.h"

enum command_kind {
	COMMAND_NOTHING, /* a blank line */
	COMMAND_UNKNOWN,
	COMMAND_HELP,
	COMMAND_STATUS,
	COMMAND_SHOW,
	COMMAND_HIDE,
	COMMAND_TOGGLE,
	COMMAND_VM,       /* vm: which */
	COMMAND_VM_USAGE, /* "vm" alone or with a word it does not know */
	COMMAND_PRESS,    /* keys: names joined with + */
	COMMAND_VERSION,
	COMMAND_UPTIME,
	COMMAND_TIME,
	COMMAND_MEMORY,
	COMMAND_DEVICES,
	COMMAND_GREETING,
	COMMAND_THANKS,
	COMMAND_ABOUT,
	COMMAND_CLEAR,
	COMMAND_QUIT,
};

#define COMMAND_TEXT 128

struct command {
	enum command_kind kind;
	enum link_vm_command vm;
	char text[COMMAND_TEXT];    /* PRESS: the keys; UNKNOWN and VM_USAGE: the word that was not understood */
	const char *meant;          /* UNKNOWN: the nearest command, or NULL; static */
};

/* Case, punctuation, spacing and polite words do not matter. */
void command_parse(const char *line, struct command *command);

#define COMMAND_CHORD 4

/*
 * Key names joined with + ("ctrl+alt+delete", "KEY_F1", "`") to evdev codes by `key_code` (libevdev's table; -1: no such key). Returns
 * the number of keys, or -1 with the offending name in bad.
 */
int command_keys(const char *keys, int (*key_code)(const char *name), uint32_t code[COMMAND_CHORD], char *bad, size_t bad_size);

/* The only command that begins like this, with its missing letters, or NULL. For completion by Tab. */
const char *command_complete(const char *start);
