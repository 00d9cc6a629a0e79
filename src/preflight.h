/* rayvm --check: what this machine offers, and whether rayvm would start. Changes nothing. */
#pragma once

struct options;

/* Prints to stdout. Returns the exit status that starting would have. */
int check_machine(const struct options *options);
