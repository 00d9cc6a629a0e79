/* SPDX-License-Identifier: MIT */
#ifndef TINY_MODULES_H
#define TINY_MODULES_H

#include <stdbool.h>

/*
 * Loads kernel modules named in /modules, one path a line, in that order, up to and including the one called `last`
 * (NULL: all that are left). Each call goes on where the one before stopped. Parameters are those of the kernel command
 * line, `module.parameter=value`, preceded by `defaults` for the module they name in the same form (space separated, may be NULL).
 * A module that the kernel refuses is reported through `complain` and skipped.
 */
void modules_load(const char *last, const char *defaults, void (*complain)(const char *name, int error));

#endif
