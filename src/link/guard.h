/*
 * Mappings of another process's memory: reading them must not end this one. The file cannot shrink (it is sealed), but a page that is not
 * there yet is made by whoever touches it first, and that can fail: huge pages run out, the host counts memory strictly. Then the kernel sends SIGBUS, and
 * the process that owns the memory can bring it about on purpose by punching holes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Guards [start, start + size), which must be a whole mapping: at the first SIGBUS in it all of it is replaced by zeros. False when the table is full.
 * Any thread; SIGBUS must not be blocked where it is read (thread_start() sees to it).
 */
bool guard_add(void *start, uint64_t size);
/* Before it is unmapped. */
void guard_remove(void *start);
/* Was it replaced? */
bool guard_broken(const void *start);
