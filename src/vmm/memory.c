/* Guest RAM: one sealed memfd, mapped in at most two regions around the hole below 4 GiB. */
#include "vmm/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>
#include <fcntl.h>
#include <linux/memfd.h>

#include "base/base.h"
#include "vmm/layout.h"

#define PIECE_MAX (1u << 30) /* of one system call; the kernel's own limit is a page below 2 GiB */

#ifdef __SANITIZE_THREAD__
void AnnotateBenignRaceSized(const char *file, int line, const volatile void *memory, long size, const char *what);
/* A guest's CPUs race with its devices, and its devices with each other, as it pleases: that is no fault of this program. */
static void expect_races(const void *host, uint64_t size)
{
	AnnotateBenignRaceSized(__FILE__, __LINE__, host, (long)size, "guest memory");
}
#else
static void expect_races(const void *host, uint64_t size)
{
	(void)host, (void)size;
}
#endif

static int add_region(struct guest_memory *memory, uint64_t gpa, uint64_t size, uint64_t fd_offset)
{
	/*
	 * NORESERVE: a guest rarely touches all it was promised, and strict overcommit is the host's own choice elsewhere. Not
	 * with a pool of huge pages: a page that is not there at its first touch would be a SIGBUS.
	 */
	int flags = MAP_SHARED | (memory->hugepages ? 0 : MAP_NORESERVE);
	void *host = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, memory->fd, (off_t)fd_offset);
	if (host == MAP_FAILED)
		return -1;
	/* A core file must not carry the guest's secrets; huge pages come only where the host allows them for shmem. */
	madvise(host, size, MADV_DONTDUMP);
	madvise(host, size, MADV_HUGEPAGE);
	expect_races(host, size);
	memory->region[memory->n_regions++] = (struct guest_region){
		.gpa = gpa, .size = size, .fd_offset = fd_offset, .host = host,
	};
	return 0;
}

int guest_memory_init(struct guest_memory *memory, uint64_t size)
{
	return guest_memory_init_huge(memory, size, 0);
}

int guest_memory_init_huge(struct guest_memory *memory, uint64_t size, uint64_t hugepages)
{
	_Static_assert(LAYOUT_LOW_RAM_MAX % (1ull << 30) == 0, "both regions begin with a whole huge page");
	memset(memory, 0, sizeof(*memory));
	memory->fd = -1;
	if (size == 0 || size % (hugepages ? hugepages : GUEST_PAGE) != 0 || size > LAYOUT_RAM_MAX ||
	    (hugepages && hugepages != 1ull << 21 && hugepages != 1ull << 30)) {
		errno = EINVAL;
		return -1;
	}
	unsigned int huge = hugepages ? MFD_HUGETLB | (unsigned int)__builtin_ctzll(hugepages) << MFD_HUGE_SHIFT : 0;
	memory->hugepages = hugepages;
	memory->fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING | huge);
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

int guest_memory_clear(struct guest_memory *memory)
{
	if (!memory->hugepages)
		return fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)memory->size);
	/* A huge page that goes back to the pool may be somebody else's when the guest wants it again. */
	for (uint32_t i = 0; i < memory->n_regions; i++)
		memset(memory->region[i].host, 0, memory->region[i].size);
	return 0;
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

/*
 * As much as the kernel moves from file to file: no page is cleared first that is overwritten anyway, and none faults. Where it
 * cannot (huge pages of the pool; forbidden) nothing, and the caller reads. Returns the bytes done.
 */
static uint64_t move_pages(const struct guest_memory *memory, int fd, uint64_t offset, uint64_t to, uint64_t size)
{
	off_t from = (off_t)offset;
	uint64_t done = 0;
	/* The memfd's own position is used by nobody else: the machine's thread loads, and before the guest runs. */
	if (lseek(memory->fd, (off_t)to, SEEK_SET) < 0)
		return 0;
	while (done < size) {
		ssize_t n = sendfile(memory->fd, fd, &from, size - done < PIECE_MAX ? size - done : PIECE_MAX);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (uint64_t)n;
	}
	return done;
}

bool guest_memory_load(const struct guest_memory *memory, int fd, uint64_t offset, uint64_t gpa, uint64_t size)
{
	uint8_t *to = guest_memory_at(memory, gpa, size, GUEST_WRITE);
	uint64_t memfd_offset;
	if (!to || !guest_memory_offset(memory, gpa, size, &memfd_offset)) {
		errno = EFAULT;
		return false;
	}
	uint64_t done = move_pages(memory, fd, offset, memfd_offset, size);
	while (done < size) {
		ssize_t n = pread(fd, to + done, size - done < PIECE_MAX ? size - done : PIECE_MAX, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = 0;
			return false;
		}
		done += (uint64_t)n;
	}
	return true;
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
