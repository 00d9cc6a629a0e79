/*
 * The copy of runs of a few pages each, as a guest's picture lies in its memory. Any thread.
 *
 * A CPU reads ahead within a page and not beyond it, so of two thousand scattered pages each begins with a wait for memory. The C library copies runs of this
 * size with `rep movsb` where the CPU says that it is good at that (ERMS), which hides the wait on hardware; a software CPU does it a byte at a time. This one
 * moves vectors, and fetches the next page meanwhile: as fast as the library's on hardware (tests/bench/run copy-speed), and several times as fast on a software CPU.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PAGECOPY_AHEAD_MAX (64u << 10) /* bytes of a run: within longer ones the CPU's own reading ahead does better (copy-speed-huge-pages) */

/* n bytes from `in` to `out`, which do not overlap. ahead: where the next n bytes are read from, NULL: not known; it is not read, only fetched. */
void pagecopy(uint8_t *out, const uint8_t *in, size_t n, const uint8_t *ahead);
