/*
 * The copy of runs of a few pages each, as a guest's picture lies in its memory. Any thread.
 *
 * A CPU reads ahead within a page and not beyond it, so of two thousand scattered pages each begins with a wait for memory. `rep movsb`, which the C library
 * takes for runs of this size, hides most of that on CPUs that are good at it (ERMS). This one moves vectors, and fetches the beginning of the next page meanwhile:
 * as fast where that is so (tests/bench/run copy-speed), and it does not depend on it. The vectors have 32 bytes where the CPU has AVX.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGECOPY_AHEAD_MAX (64u << 10) /* bytes of a run: within longer ones the CPU's own reading ahead does better (copy-speed-huge-pages) */

/* n bytes from `in` to `out`, which do not overlap. ahead: where the next n bytes are read from, NULL: not known; it is not read, only fetched. */
void pagecopy(uint8_t *out, const uint8_t *in, size_t n, const uint8_t *ahead);

/* The same by vectors of 32 bytes, or of 16, whatever the CPU has: for tests. */
void pagecopy_by(bool wide, uint8_t *out, const uint8_t *in, size_t n, const uint8_t *ahead);
/* Whether this CPU has those of 32, and the kernel keeps them. */
bool pagecopy_can_wide(void);
