/* ELF64 vmlinux: program headers only. Loaded at physical addresses, entered in 64-bit mode. */
#include "vmm/boot.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "vmm/layout.h"

#define SEGMENTS 32

struct elf_segments {
	uint64_t entry;
	uint32_t n;
	Elf64_Phdr load[SEGMENTS];
};

bool elf_is(const void *bytes, size_t size)
{
	return size >= SELFMAG && memcmp(bytes, ELFMAG, SELFMAG) == 0;
}

static bool refuse(char *error, size_t error_size, const char *text)
{
	snprintf(error, error_size, "%s", text);
	return false;
}

static bool parse(int fd, uint64_t file_size, struct elf_segments *segments, char *error, size_t error_size)
{
	Elf64_Ehdr untrusted_header;
	if (file_size < sizeof(untrusted_header) || !boot_read(fd, 0, &untrusted_header, sizeof(untrusted_header)))
		return refuse(error, error_size, "is a truncated ELF file; copy it again");
	if (untrusted_header.e_ident[EI_CLASS] != ELFCLASS64 || untrusted_header.e_ident[EI_DATA] != ELFDATA2LSB ||
	    untrusted_header.e_machine != EM_X86_64 || untrusted_header.e_type != ET_EXEC)
		return refuse(error, error_size, "is an ELF file, but no x86-64 kernel; give a vmlinux or bzImage for x86-64");
	uint64_t bytes = (uint64_t)untrusted_header.e_phnum * sizeof(Elf64_Phdr);
	if (untrusted_header.e_phentsize != sizeof(Elf64_Phdr) || untrusted_header.e_phnum == 0 || untrusted_header.e_phnum > SEGMENTS ||
	    untrusted_header.e_phoff > file_size || bytes > file_size - untrusted_header.e_phoff)
		return refuse(error, error_size, "has an ELF program header table of impossible size or place; copy the file again");

	Elf64_Phdr table[SEGMENTS];
	if (!boot_read(fd, untrusted_header.e_phoff, table, bytes))
		return refuse(error, error_size, "is a truncated ELF file; copy it again");
	segments->entry = untrusted_header.e_entry;
	segments->n = 0;
	for (uint32_t i = 0; i < untrusted_header.e_phnum; i++) {
		const Elf64_Phdr *untrusted_segment = &table[i];
		if (untrusted_segment->p_type != PT_LOAD || untrusted_segment->p_memsz == 0)
			continue;
		if (untrusted_segment->p_filesz > untrusted_segment->p_memsz || untrusted_segment->p_offset > file_size ||
		    untrusted_segment->p_filesz > file_size - untrusted_segment->p_offset)
			return refuse(error, error_size, "has an ELF segment outside the file; the file is truncated, copy it again");
		segments->load[segments->n++] = *untrusted_segment;
	}
	return true;
}

bool elf_check(int fd, uint64_t file_size, uint64_t low_ram, uint64_t *entry, uint64_t *end, char *error, size_t error_size)
{
	struct elf_segments segments;
	if (!parse(fd, file_size, &segments, error, error_size))
		return false;
	bool entry_inside = false;
	*end = 0;
	for (uint32_t i = 0; i < segments.n; i++) {
		uint64_t start = segments.load[i].p_paddr, stop;
		if (start < LAYOUT_HIGH_LOAD || !add_u64(start, segments.load[i].p_memsz, &stop))
			return refuse(error, error_size, "has an ELF segment below 1 MiB or past the end of addresses; it is no kernel for this machine");
		if (stop > low_ram) {
			snprintf(error, error_size, "needs %llu MiB of memory to start in; give the guest more with --memory",
				(unsigned long long)(stop >> 20) + 1);
			return false;
		}
		for (uint32_t j = 0; j < i; j++) {
			uint64_t other = segments.load[j].p_paddr;
			if (start < other + segments.load[j].p_memsz && other < stop)
				return refuse(error, error_size, "has overlapping ELF segments; the file is damaged, copy it again");
		}
		entry_inside |= segments.entry >= start && segments.entry < stop;
		if (stop > *end)
			*end = stop;
	}
	if (!entry_inside)
		return refuse(error, error_size, "has no ELF segment at its entry point; give a vmlinux, not a relocatable or debug file");
	*entry = segments.entry;
	return true;
}

bool elf_load(int fd, uint64_t file_size, const struct guest_memory *memory, char *error, size_t error_size)
{
	struct elf_segments segments;
	if (!parse(fd, file_size, &segments, error, error_size))
		return false;
	for (uint32_t i = 0; i < segments.n; i++) {
		const Elf64_Phdr *segment = &segments.load[i];
		/* The rest up to p_memsz is zero already: guest memory is fresh at each start. */
		if (!guest_memory_at(memory, segment->p_paddr, segment->p_memsz, GUEST_WRITE) ||
		    (segment->p_filesz && !guest_memory_load(memory, fd, segment->p_offset, segment->p_paddr, segment->p_filesz)))
			return refuse(error, error_size, "changed or became unreadable while it was loaded");
	}
	return true;
}
