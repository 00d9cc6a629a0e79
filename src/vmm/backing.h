/* What the host can make guest memory of. The judgement is pure; reading the host is apart from it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sizes in bytes; what could not be read is 0 or empty. */
struct backing_host {
	uint64_t total;          /* RAM */
	uint64_t available;      /* RAM and swap that programs could have now; 0: not known */
	char shmem_enabled[16];  /* the chosen word of /sys/kernel/mm/transparent_hugepage/shmem_enabled */
	bool has_pool;           /* there are huge pages of the size asked for, perhaps none at the moment */
	uint64_t pool_free;      /* of them, not yet promised to anybody; pages */
};

enum backing_verdict {
	BACKING_GOOD,       /* huge pages */
	BACKING_SMALL,      /* works, with small pages or more memory than is free */
	BACKING_IMPOSSIBLE,
};

/* Reads /proc and /sys; hugepages as in struct vm_config. Where it may open nothing, nothing is known. */
void backing_read(uint64_t hugepages, struct backing_host *host);
/* Can a guest have `size` bytes of such memory? One line for people in text, which names the remedy where there is something to remedy. */
enum backing_verdict backing_judge(const struct backing_host *host, uint64_t size, uint64_t hugepages, char *text, size_t text_size);
