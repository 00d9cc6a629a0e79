/*
 * Kernel, initrd and command line as files of any contents (I4): whatever the loader accepts lies in guest RAM and leaves what
 * the boot protocol fixes alone. An input: 16 bytes that say how, then the kernel's file.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "fuzz.h"
#include "vmm/boot.h"
#include "vmm/layout.h"

#define MIB (1ull << 20)
#define RAM (32 * MIB)

const struct fuzz_target fuzz_target = { .operations = false };

static struct guest_memory memory;
static int kernel_fd, initrd_fd;

void fuzz_start(void)
{
	log_set_level(LOG_WARN);
	kernel_fd = memfd_create("kernel", MFD_CLOEXEC);
	initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
	FUZZ_CHECK(kernel_fd >= 0 && initrd_fd >= 0, "no files");
}

struct how {
	uint8_t flags;         /* 1: an initrd, 2: a command line, 4: only check, 8: the file's end is cut where `grow` says */
	uint8_t ram;           /* MiB - 1, at most 32 */
	uint16_t cmdline;      /* bytes */
	uint32_t initrd;       /* bytes */
	uint32_t grow;         /* the kernel's file is longer by so many zeros */
	uint32_t pad;
};
_Static_assert(sizeof(struct how) == 16, "the first bytes of an input");

static void fill(int fd, const void *bytes, size_t size, uint64_t zeros)
{
	FUZZ_CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size && ftruncate(fd, (off_t)(size + zeros)) == 0, "no file");
}

/* What was accepted makes sense. */
static void check_entry(const struct boot_entry *entry)
{
	FUZZ_CHECK(guest_memory_at(&memory, entry->rip, 1, GUEST_READ) != NULL, "the entry 0x%llx is not in RAM", (unsigned long long)entry->rip);
	FUZZ_CHECK(entry->rip >= LAYOUT_HIGH_LOAD, "the entry 0x%llx is in low memory", (unsigned long long)entry->rip);
	for (size_t i = 0; i < ARRAY_LEN(entry->hot); i++)
		FUZZ_CHECK(entry->hot[i].size == 0 || guest_memory_at(&memory, entry->hot[i].gpa, entry->hot[i].size, GUEST_READ) != NULL, "hot memory 0x%llx, 0x%llx is not RAM",
			(unsigned long long)entry->hot[i].gpa, (unsigned long long)entry->hot[i].size);
	/* The kernel and its initrd lie apart. */
	if (entry->hot[0].size != 0 && entry->hot[1].size != 0)
		FUZZ_CHECK(entry->hot[0].gpa + entry->hot[0].size <= entry->hot[1].gpa || entry->hot[1].gpa + entry->hot[1].size <= entry->hot[0].gpa, "kernel and initrd overlap");
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct how how;
	if (size < sizeof(how))
		return;
	memcpy(&how, data, sizeof(how));
	fill(kernel_fd, data + sizeof(how), size - sizeof(how), how.grow % (4 * MIB));
	fill(initrd_fd, data, size < 64 ? size : 64, how.initrd % (8 * MIB));
	int fds = fuzz_next_fd();
	static char cmdline[0x10001];
	memset(cmdline, 'x', how.cmdline);
	cmdline[how.cmdline] = '\0';
	char kernel[32], initrd[32], error[256] = "";
	snprintf(kernel, sizeof(kernel), "/proc/self/fd/%d", kernel_fd);
	snprintf(initrd, sizeof(initrd), "/proc/self/fd/%d", initrd_fd);
	const struct boot_request request = { .kernel = kernel, .initrd = how.flags & 1 ? initrd : NULL, .cmdline = how.flags & 2 ? cmdline : NULL, .rsdp = LAYOUT_ACPI };
	uint64_t ram = (1 + how.ram % (RAM / MIB)) * MIB;
	struct boot_entry entry = { 0 };
	FUZZ_CHECK(guest_memory_init(&memory, ram) == 0, "no memory");
	bool good = boot_check(&request, ram, error, sizeof(error));
	FUZZ_CHECK(good == (error[0] == '\0'), "checked %d, but says \"%s\"", good, error);
	error[0] = '\0';
	bool loaded = !(how.flags & 4) && boot_load(&memory, &request, &entry, error, sizeof(error));
	if (loaded) {
		FUZZ_CHECK(good, "loaded what was refused");
		check_entry(&entry);
	} else if (!(how.flags & 4)) {
		FUZZ_CHECK(!good, "checked, but then: %s", error);
		FUZZ_CHECK(error[0] != '\0', "refused without a word");
	}
	guest_memory_finish(&memory);
	FUZZ_CHECK(fuzz_next_fd() == fds, "a descriptor leaked");
}
