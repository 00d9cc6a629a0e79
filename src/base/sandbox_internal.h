/* What sandbox.c and sandbox_landlock.c share. */
#pragma once

#include <stdbool.h>

/* The kernel's Landlock version, or 0: none, or switched off at boot. */
int landlock_abi(void);
/*
 * Rulesets, as descriptors, or -1 with errno. Nothing: no file may be opened; `signals`: nor processes outside be signalled. Panel:
 * reading what fonts, keymaps and hot-plug need; devices directly when `devices`; removing in the folder `remove_in` (may be NULL).
 */
int landlock_nothing(int abi, bool signals);
int landlock_panel(int abi, const char *remove_in, bool devices);
/* Puts the calling thread under a ruleset. 0, or -1 with errno. */
int landlock_enter(int ruleset);
