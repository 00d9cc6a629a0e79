/* ELF64 vmlinux: program headers only. Loaded at physical addresses, entered by its PVH note or in 64-bit mode. */
#include "vmm/boot.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "vmm/layout.h"

#define SEGMENTS 32
#define NOTES_MAX 65536         /* bytes of one segment of notes: kernels have some hundred */
#define NOTE_NAME "Xen"
#define NOTE_PHYS32_ENTRY 18    /* XEN_ELFNOTE_PHYS32_ENTRY, xen/include/public/elfnote.h */

struct elf_segments {
	uint64_t entry;
	bool pvh;
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

/* Looks for the PVH note in `size` bytes of notes (ELF gABI, "Note Section"). */
static bool find_pvh(const uint8_t *untrusted_notes, uint32_t size, uint64_t *entry)
{
	uint32_t at = 0;
	while (size - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr untrusted_note;
		memcpy(&untrusted_note, untrusted_notes + at, sizeof(untrusted_note));
		at += sizeof(untrusted_note);
		/* Name and descriptor are padded to four bytes each; in 64 bits nothing wraps. */
		uint64_t name = ((uint64_t)untrusted_note.n_namesz + 3) & ~3ull, body = ((uint64_t)untrusted_note.n_descsz + 3) & ~3ull;
		if (name + body > size - at)
			return false;
		const uint8_t *bytes = untrusted_notes + at + name;
		if (untrusted_note.n_type == NOTE_PHYS32_ENTRY && untrusted_note.n_namesz == sizeof(NOTE_NAME) &&
		    memcmp(untrusted_notes + at, NOTE_NAME, sizeof(NOTE_NAME)) == 0 &&
		    (untrusted_note.n_descsz == 4 || untrusted_note.n_descsz == 8)) {
			*entry = 0;
			memcpy(entry, bytes, untrusted_note.n_descsz);
			return true;
		}
		at += (uint32_t)(name + body);
	}
	return false;
}

/* A segment of notes: takes the PVH entry, if there is one. False: it cannot be read. */
static bool read_notes(int fd, const Elf64_Phdr *segment, struct elf_segments *segments)
{
	if (segment->p_filesz == 0 || segment->p_filesz > NOTES_MAX || segments->pvh)
		return true;
	uint8_t *notes = malloc(segment->p_filesz);
	bool good = notes && boot_read(fd, segment->p_offset, notes, segment->p_filesz);
	uint64_t entry;
	if (good && find_pvh(notes, (uint32_t)segment->p_filesz, &entry)) {
		segments->pvh = true;
		segments->entry = entry;
	}
	free(notes);
	return good;
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
	segments->pvh = false;
	for (uint32_t i = 0; i < untrusted_header.e_phnum; i++) {
		const Elf64_Phdr *untrusted_segment = &table[i];
		bool notes = untrusted_segment->p_type == PT_NOTE;
		if (!notes && (untrusted_segment->p_type != PT_LOAD || untrusted_segment->p_memsz == 0))
			continue;
		if (untrusted_segment->p_filesz > untrusted_segment->p_memsz || untrusted_segment->p_offset > file_size ||
		    untrusted_segment->p_filesz > file_size - untrusted_segment->p_offset)
			return refuse(error, error_size, "has an ELF segment outside the file; the file is truncated, copy it again");
		if (!notes)
			segments->load[segments->n++] = *untrusted_segment;
		else if (!read_notes(fd, untrusted_segment, segments))
			return refuse(error, error_size, "has ELF notes that cannot be read; copy the file again");
	}
	return true;
}

bool elf_check(int fd, uint64_t file_size, uint64_t low_ram, struct elf_kernel *kernel, char *error, size_t error_size)
{
	struct elf_segments segments;
	if (!parse(fd, file_size, &segments, error, error_size))
		return false;
	bool entry_inside = false;
	kernel->end = 0;
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
		if (stop > kernel->end)
			kernel->end = stop;
	}
	if (!entry_inside)
		return refuse(error, error_size, "has no ELF segment at its entry point; give a vmlinux, not a relocatable or debug file");
	kernel->entry = segments.entry;
	kernel->pvh = segments.pvh;
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
