/* The files behind a boot: opening, judging and reading kernel and initrd. */
#include "vmm/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "vmm/layout.h"

#define MIB (1ull << 20)
#define ELF_CMDLINE_MAX 2047 /* x86's COMMAND_LINE_SIZE less one; an ELF file does not say */
#define ELF_INITRD_MAX 0x7fffffffull
#define SETUP_HEADER 0x1f1

/* A boot, decided but not loaded. */
struct plan {
	struct boot_files files;
	bool own_files; /* opened here */
	uint64_t kernel_size, initrd_size;
	bool elf, pvh;
	struct bzimage image;
	uint64_t load, end, entry;
	uint64_t initrd_at;
};

bool boot_read(int fd, uint64_t offset, void *to, uint64_t size)
{
	uint8_t *at = to;
	while (size > 0) {
		ssize_t n = pread(fd, at, size < (1u << 30) ? size : 1u << 30, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = 0;
			return false;
		}
		at += n;
		offset += (uint64_t)n;
		size -= (uint64_t)n;
	}
	return true;
}

static int open_file(const char *what, const char *path, char *error, size_t error_size)
{
	/* Not waiting for anybody: the path may name a pipe without a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		snprintf(error, error_size, "%s %s: %s; check the path and its permissions", what, path, strerror(errno));
	return fd;
}

bool boot_files_open(const struct boot_request *request, struct boot_files *files, char *error, size_t error_size)
{
	*files = (struct boot_files){ .initrd = -1 };
	files->kernel = open_file("kernel", request->kernel, error, error_size);
	if (files->kernel >= 0 && request->initrd)
		files->initrd = open_file("initrd", request->initrd, error, error_size);
	if (files->kernel >= 0 && (files->initrd >= 0 || !request->initrd))
		return true;
	boot_files_close(files);
	return false;
}

void boot_files_close(struct boot_files *files)
{
	if (files->kernel >= 0)
		close(files->kernel);
	if (files->initrd >= 0)
		close(files->initrd);
	files->kernel = files->initrd = -1;
}

static bool file_size(const char *what, const char *path, int fd, uint64_t *size, char *error, size_t error_size)
{
	struct stat st;
	if (fstat(fd, &st) < 0) {
		snprintf(error, error_size, "%s %s: %s; check the path and its permissions", what, path, strerror(errno));
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(error, error_size, "%s %s: is not a regular file; give a file", what, path);
		return false;
	}
	*size = (uint64_t)st.st_size;
	return true;
}

static bool plan_kernel(struct plan *plan, const char *path, uint64_t low_ram, char *error, size_t error_size)
{
	char why[160] = "";
	uint8_t head[BOOT_HEADER_BYTES] = { 0 };
	size_t head_size = plan->kernel_size < sizeof(head) ? (size_t)plan->kernel_size : sizeof(head);
	if (head_size && !boot_read(plan->files.kernel, 0, head, head_size)) {
		snprintf(error, error_size, "kernel %s: cannot be read: %s", path, strerror(errno));
		return false;
	}
	plan->elf = elf_is(head, head_size);
	bool good;
	if (plan->elf) {
		struct elf_kernel elf;
		good = elf_check(plan->files.kernel, plan->kernel_size, low_ram, &elf, why, sizeof(why));
		if (good) {
			plan->entry = elf.entry;
			plan->end = elf.end;
			plan->pvh = elf.pvh;
		}
		plan->load = plan->entry & ~(2 * MIB - 1); /* about where the first segment starts */
	} else {
		good = bzimage_parse(head, head_size, plan->kernel_size, &plan->image, why, sizeof(why)) &&
		       bzimage_place(&plan->image, low_ram, &plan->load, why, sizeof(why));
		plan->end = plan->load + plan->image.init_size;
		plan->entry = plan->load + 0x200;
	}
	if (!good)
		snprintf(error, error_size, "kernel %s %s", path, why);
	return good;
}

static void plan_close(struct plan *plan)
{
	if (plan->own_files)
		boot_files_close(&plan->files);
}

/* Judges everything. False: one line in error, nothing opened by it stays open. */
static bool plan_make(struct plan *plan, const struct boot_request *request, uint64_t ram, char *error, size_t error_size)
{
	memset(plan, 0, sizeof(*plan));
	plan->own_files = !request->files;
	if (request->files)
		plan->files = *request->files;
	else if (!boot_files_open(request, &plan->files, error, error_size))
		return false;
	uint64_t low_ram = ram < LAYOUT_LOW_RAM_MAX ? ram : LAYOUT_LOW_RAM_MAX;
	if (!file_size("kernel", request->kernel, plan->files.kernel, &plan->kernel_size, error, error_size) ||
	    !plan_kernel(plan, request->kernel, low_ram, error, error_size))
		goto fail;

	size_t cmdline = request->cmdline ? strlen(request->cmdline) : 0;
	size_t cmdline_max = plan->elf ? ELF_CMDLINE_MAX : plan->image.cmdline_max;
	if (cmdline > cmdline_max || cmdline >= LAYOUT_CMDLINE_MAX) {
		snprintf(error, error_size, "kernel command line has %zu bytes, this kernel takes %zu; shorten --append", cmdline, cmdline_max);
		goto fail;
	}
	if (plan->files.initrd < 0)
		return true;

	if (!file_size("initrd", request->initrd, plan->files.initrd, &plan->initrd_size, error, error_size))
		goto fail;
	if (plan->initrd_size == 0) {
		snprintf(error, error_size, "initrd %s: is empty; build it again or leave --initrd out", request->initrd);
		goto fail;
	}
	uint64_t limit = (plan->elf ? ELF_INITRD_MAX : plan->image.initrd_max) + 1;
	plan->initrd_at = boot_place_initrd(plan->initrd_size, plan->end, limit < low_ram ? limit : low_ram);
	if (!plan->initrd_at) {
		snprintf(error, error_size, "initrd %s: its %llu MiB do not fit beside the kernel in %llu MiB; give the guest more with --memory",
			request->initrd, (unsigned long long)((plan->initrd_size + MIB - 1) / MIB), (unsigned long long)(low_ram / MIB));
		goto fail;
	}
	return true;
fail:
	plan_close(plan);
	return false;
}

bool boot_check(const struct boot_request *request, uint64_t ram, char *error, size_t error_size)
{
	struct plan plan;
	if (!plan_make(&plan, request, ram, error, error_size))
		return false;
	plan_close(&plan);
	return true;
}

/*
 * How much from the load address on is used for certain. A bzImage unpacks itself to a random place elsewhere, unless
 * told not to (arch/x86/boot/compressed/kaslr.c); an ELF file stays where it is.
 */
static uint64_t hot_size(const struct plan *plan, const char *cmdline)
{
	if (plan->elf || (cmdline && strstr(cmdline, "nokaslr")))
		return plan->end - plan->load;
	return plan->image.payload_size;
}

bool boot_load(const struct guest_memory *memory, const struct boot_request *request, struct boot_entry *entry, char *error,
	size_t error_size)
{
	struct plan plan;
	if (!plan_make(&plan, request, memory->size, error, error_size))
		return false;
	bool done = false;
	if (plan.elf) {
		char why[160];
		if (!elf_load(plan.files.kernel, plan.kernel_size, memory, why, sizeof(why))) {
			snprintf(error, error_size, "kernel %s %s", request->kernel, why);
			goto out;
		}
	} else if (!guest_memory_load(memory, plan.files.kernel, plan.image.payload_offset, plan.load, plan.image.payload_size)) {
		snprintf(error, error_size, "kernel %s: cannot be read: %s", request->kernel, errno ? strerror(errno) : "it became shorter");
		goto out;
	}
	if (plan.files.initrd >= 0 && !guest_memory_load(memory, plan.files.initrd, 0, plan.initrd_at, plan.initrd_size)) {
		snprintf(error, error_size, "initrd %s: cannot be read: %s", request->initrd, errno ? strerror(errno) : "it became shorter");
		goto out;
	}
	/* What was read is there; this maps it, and makes the rest. */
	guest_memory_populate(memory, plan.load, hot_size(&plan, request->cmdline));
	if (plan.initrd_size)
		guest_memory_populate(memory, plan.initrd_at, plan.initrd_size);
	const char *cmdline = request->cmdline ? request->cmdline : "";
	guest_memory_write(memory, LAYOUT_CMDLINE, cmdline, strlen(cmdline) + 1);
	boot_write_tables(memory);
	boot_write_zero_page(memory, plan.elf ? NULL : plan.image.header + SETUP_HEADER,
		plan.elf ? 0 : plan.image.header_end - SETUP_HEADER, plan.load, LAYOUT_CMDLINE, plan.initrd_at, plan.initrd_size, request->rsdp);
	if (plan.pvh)
		boot_write_start_info(memory, LAYOUT_CMDLINE, plan.initrd_at, plan.initrd_size, request->rsdp);
	*entry = (struct boot_entry){
		.pvh = plan.pvh, .rip = plan.entry, .rbx = LAYOUT_START_INFO, .rsi = LAYOUT_ZERO_PAGE, .cr3 = LAYOUT_PAGE_TABLES,
		.hot = { { plan.load, hot_size(&plan, request->cmdline) }, { plan.initrd_at, plan.initrd_size } },
	};
	done = true;
out:
	plan_close(&plan);
	return done;
}
