/*
 * Settings from inside: options_set.c (one setting by its name), options_file.c (the settings file), options.c (the command line, what it says of itself,
 * and what follows from all of them).
 */
#pragma once

#include "options.h"

/* Where a value comes from, for messages: "--memory", or "/etc/rayvm/rayvm.ini:12: memory". */
struct origin {
	const char *file; /* NULL: the command line */
	int line; /* 0: it has none, as the environment */
	const char *name;
};

/* A line for people about a value. */
void options_complain(const struct origin *origin, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A decimal number up to max, from *text on, which is left behind it. */
bool options_number(const char **text, uint32_t max, uint32_t *out);
/* Replaces a string by a copy of value. False: complained, no memory. */
bool options_set_text(char **where, const char *value);
/* The list of --features. */
bool options_set_features(struct options *options, const struct origin *origin, const char *list);
/* One setting by its long name; a value may be missing (NULL) where the option's table says so. False: complained. */
bool options_set(struct options *options, const struct origin *origin, const char *value);
/* All of a settings file. False: complained. */
bool options_read_file(struct options *options, const char *path);
