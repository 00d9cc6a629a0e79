/*
 * Guest memory: a table of regions, and the one function through which everybody reaches it.
 * Any thread may read and write through it; the table is fixed once the VM is made.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_REGIONS 8
#define GUEST_PAGE 4096ull

struct guest_region {
	uint64_t gpa;       /* guest physical address, bytes */
	uint64_t size;      /* bytes */
	uint64_t fd_offset; /* where it starts in the memfd, bytes */
	uint8_t *host;      /* this process's mapping */
};

struct guest_memory {
	int fd; /* memfd, sealed SHRINK, GROW and SEAL */
	uint64_t size;
	uint64_t hugepages; /* size of the huge pages it was made of, bytes; 0: what the kernel gives */
	uint32_t n_regions;
	struct guest_region region[GUEST_REGIONS];
};

enum guest_access { GUEST_READ, GUEST_WRITE };

/* Makes `size` bytes (a multiple of the page) of RAM, split below and above the 4 GiB hole. 0 or -1 with errno. */
int guest_memory_init(struct guest_memory *memory, uint64_t size);
/*
 * The same of huge pages of the host's pool, 2 MiB or 1 GiB each, all of them taken at once; 0: as above. size a multiple of
 * them. ENOMEM: the pool is short.
 */
int guest_memory_init_huge(struct guest_memory *memory, uint64_t size, uint64_t hugepages);
/* Makes all of it zero again, and gives it back to the host where that is safe. Nobody may use it meanwhile. 0 or -1 with errno. */
int guest_memory_clear(struct guest_memory *memory);
void guest_memory_finish(struct guest_memory *memory);

/*
 * Translates [gpa, gpa + length) to this process's address, or NULL when any byte is not RAM or the range crosses two
 * regions. length 0 is refused. Thread-safe: regions are added before the guest runs. Nothing else turns guest addresses into pointers.
 */
void *guest_memory_at(const struct guest_memory *memory, uint64_t untrusted_gpa, uint64_t untrusted_length, enum guest_access access);
/* The same range as an offset into the memfd, for the link. False when it is not all RAM of one region. */
bool guest_memory_offset(const struct guest_memory *memory, uint64_t untrusted_gpa, uint64_t untrusted_length, uint64_t *offset);
/* Backs [gpa, gpa + length) with pages in one call instead of a fault each; a hint, nothing happens where it cannot be done. */
void guest_memory_populate(const struct guest_memory *memory, uint64_t gpa, uint64_t length);
/*
 * Reads exactly `size` bytes at `offset` of a regular file into guest memory. False with errno; 0: the file ended. What was
 * read before a failure stays.
 */
bool guest_memory_load(const struct guest_memory *memory, int fd, uint64_t offset, uint64_t gpa, uint64_t size);
/* Copies; false (nothing copied) when the range is not RAM. */
bool guest_memory_read(const struct guest_memory *memory, uint64_t untrusted_gpa, void *to, uint64_t length);
bool guest_memory_write(const struct guest_memory *memory, uint64_t untrusted_gpa, const void *from, uint64_t length);
