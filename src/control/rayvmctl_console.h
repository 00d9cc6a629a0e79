/* rayvmctl console: this terminal, or standard input and output, joined to one of the guest's consoles. */
#pragma once

#include <stdbool.h>

#define CONSOLE_ESCAPE 0x1d /* Ctrl-] */
#define CONSOLE_NO_ESCAPE (-1)

/* "^]", "^A" ... or "none": false when it is neither. */
bool console_parse_escape(const char *text, int *escape);
/*
 * Moves bytes until the escape key is typed, input ends, the other side closes or a signal asks to end. A terminal is raw meanwhile, and
 * as it was afterwards. socket: after the answer to the console command; borrowed. Returns the exit status.
 */
int console_join(int socket, const char *port, int escape);
