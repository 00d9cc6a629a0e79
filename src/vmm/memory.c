/* Guest RAM: one sealed memfd, mapped in at most two regions around the hole below 4 GiB. */
#include "vmm/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/base.h"
#include "vmm/layout.h"

static int add_region(struct guest_memory *memory, uint64_t gpa, uint64_t size, uint64_t fd_offset)
{
	/* NORESERVE: a guest rarely touches all it was promised, and strict overcommit is the host's own choice elsewhere. */
	void *host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memory->fd, (off_t)fd_offset);
	if (host == MAP_FAILED)
		return -1;
	/* A core file must not carry the guest's secrets; huge pages come only where the host allows them for shmem. */
	madvise(host, size, MADV_DONTDUMP);
	madvise(host, size, MADV_HUGEPAGE);
	memory->region[memory->n_regions++] = (struct guest_region){
		.gpa = gpa, .size = size, .fd_offset = fd_offset, .host = host,
	};
	return 0;
}

int guest_memory_init(struct guest_memory *memory, uint64_t size)
{
	memset(memory, 0, sizeof(*memory));
	memory->fd = -1;
	if (size == 0 || size % GUEST_PAGE != 0 || size > LAYOUT_RAM_MAX) {
		errno = EINVAL;
		return -1;
	}
	memory->fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memory->fd < 0)
		return -1;
	/*
	 * Sealed against shrinking so that no mapping of it, here or in another process, can ever fault with SIGBUS; sealed
	 * against sealing so that nobody adds F_SEAL_WRITE later (udmabuf refuses such a file).
	 */
	if (ftruncate(memory->fd, (off_t)size) < 0 ||
	    fcntl(memory->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		goto fail;
	memory->size = size;
	uint64_t low = size < LAYOUT_LOW_RAM_MAX ? size : LAYOUT_LOW_RAM_MAX;
	if (add_region(memory, 0, low, 0) < 0)
		goto fail;
	if (size > low && add_region(memory, LAYOUT_HIGH_RAM, size - low, low) < 0)
		goto fail;
	return 0;
fail:;
	int saved = errno;
	guest_memory_finish(memory);
	errno = saved;
	return -1;
}

void guest_memory_finish(struct guest_memory *memory)
{
	for (uint32_t i = 0; i < memory->n_regions; i++)
		munmap(memory->region[i].host, memory->region[i].size);
	memory->n_regions = 0;
	if (memory->fd >= 0)
		close(memory->fd);
	memory->fd = -1;
	memory->size = 0;
}

/* The region that holds all of [gpa, gpa + length), or NULL. Written without sums, so nothing can wrap. */
static const struct guest_region *find(const struct guest_memory *memory, uint64_t untrusted_gpa, uint64_t untrusted_length)
{
	if (untrusted_length == 0)
		return NULL;
	for (uint32_t i = 0; i < memory->n_regions; i++) {
		const struct guest_region *region = &memory->region[i];
		if (untrusted_gpa < region->gpa || untrusted_gpa - region->gpa >= region->size)
			continue;
		if (untrusted_length > region->size - (untrusted_gpa - region->gpa))
			return NULL;
		return region;
	}
	return NULL;
}

void *guest_memory_at(const struct guest_memory *memory, uint64_t untrusted_gpa, uint64_t untrusted_length, enum guest_access access)
{
	(void)access; /* all regions are writable RAM; the mode marks where writes start, for dirty tracking and read-only regions */
	const struct guest_region *region = find(memory, untrusted_gpa, untrusted_length);
	return region ? region->host + (untrusted_gpa - region->gpa) : NULL;
}

bool guest_memory_offset(const struct guest_memory *memory, uint64_t untrusted_gpa, uint64_t untrusted_length, uint64_t *offset)
{
	const struct guest_region *region = find(memory, untrusted_gpa, untrusted_length);
	if (!region)
		return false;
	*offset = region->fd_offset + (untrusted_gpa - region->gpa);
	return true;
}

void guest_memory_populate(const struct guest_memory *memory, uint64_t gpa, uint64_t length)
{
	uint64_t start = gpa & ~(GUEST_PAGE - 1), end;
	if (!add_u64(gpa, length, &end))
		return;
	void *at = guest_memory_at(memory, start, end - start, GUEST_WRITE);
	/* Linux 5.14; before that EINVAL, and the pages come by faults. */
	if (at)
		madvise(at, end - start, MADV_POPULATE_WRITE);
}

bool guest_memory_read(const struct guest_memory *memory, uint64_t untrusted_gpa, void *to, uint64_t length)
{
	const void *from = guest_memory_at(memory, untrusted_gpa, length, GUEST_READ);
	if (!from)
		return false;
	memcpy(to, from, length);
	return true;
}

bool guest_memory_write(const struct guest_memory *memory, uint64_t untrusted_gpa, const void *from, uint64_t length)
{
	void *to = guest_memory_at(memory, untrusted_gpa, length, GUEST_WRITE);
	if (!to)
		return false;
	memcpy(to, from, length);
	return true;
}
