/*
 * Loading a kernel: bzImage by the 64-bit boot protocol (Documentation/arch/x86/boot.rst), ELF vmlinux by its PVH note (Xen's
 * docs/misc/pvh.pandoc), which other systems have too, or without one by its 64-bit entry. Files are read straight into guest memory. Nothing here knows KVM; machine's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/memory.h"

#define BOOT_HEADER_BYTES 1024 /* of a kernel file, enough to judge it */

/* What a bzImage's setup header says, after all of it was checked. Sizes in bytes. */
struct bzimage {
	uint8_t header[BOOT_HEADER_BYTES];
	uint32_t header_end;     /* of the setup header, offset in the file */
	uint64_t payload_offset; /* protected-mode kernel in the file */
	uint64_t payload_size;
	uint64_t init_size;      /* memory it needs from its load address on */
	uint64_t preferred;      /* load address */
	uint64_t alignment;
	bool relocatable;
	uint32_t cmdline_max;    /* without the terminating zero */
	uint64_t initrd_max;     /* last byte an initrd may occupy */
};

/* Regular files open for reading; initrd -1: none. */
struct boot_files {
	int kernel, initrd;
};

struct boot_request {
	const char *kernel;  /* path */
	const char *initrd;  /* path or NULL */
	const struct boot_files *files; /* read instead of the paths, which then only name them; borrowed. NULL: opened by path */
	const char *cmdline; /* or NULL */
	uint64_t rsdp;       /* guest physical address of the ACPI root pointer, 0: none */
};

/*
 * Where the first vCPU begins: in 64-bit mode with the low 4 GiB mapped one to one, or (pvh) in flat 32-bit protected mode
 * without paging.
 */
struct boot_entry {
	bool pvh;
	uint64_t rip;
	uint64_t rsi;  /* zero page */
	uint64_t rbx;  /* pvh: start info */
	uint64_t cr3;
	/* Memory that the kernel reads or writes for certain: itself and its initrd. Worth mapping ahead. */
	struct {
		uint64_t gpa, size;
	} hot[2];
};

/*
 * Judges the first bytes (`size` of them, at most BOOT_HEADER_BYTES) of a file of file_size bytes. False: one line in
 * error, without the file's name.
 */
bool bzimage_parse(const void *untrusted_bytes, size_t size, uint64_t file_size, struct bzimage *image, char *error, size_t error_size);
/* Where an image goes in `low_ram` bytes of memory below 4 GiB. False: it does not fit, one line in error. */
bool bzimage_place(const struct bzimage *image, uint64_t low_ram, uint64_t *load, char *error, size_t error_size);
/* As high as `limit` (first address that may not be used) allows, page-aligned and not below `lowest`. 0: does not fit. */
uint64_t boot_place_initrd(uint64_t size, uint64_t lowest, uint64_t limit);

/* One range of the firmware's memory map. type: 1 RAM, 2 reserved (ACPI 6.4, table 15.374). */
struct boot_range {
	uint64_t gpa, size;
	uint32_t type;
};
#define BOOT_RANGES 8
/* The memory map of a guest with `ram` bytes; returns the number of ranges. */
uint32_t boot_memory_map(uint64_t ram, struct boot_range ranges[BOOT_RANGES]);

/* GDT and page tables for 64-bit mode, in low memory. */
void boot_write_tables(const struct guest_memory *memory);
/* The zero page; setup_header may be NULL (ELF). */
void boot_write_zero_page(const struct guest_memory *memory, const void *setup_header, uint32_t setup_header_size, uint64_t load,
	uint64_t cmdline, uint64_t initrd, uint64_t initrd_size, uint64_t rsdp);

/* Opens what the request names by path. False: one line in error naming the file and the remedy, nothing open. */
bool boot_files_open(const struct boot_request *request, struct boot_files *files, char *error, size_t error_size);
void boot_files_close(struct boot_files *files);
/*
 * Checks the files without a guest's memory to put them in; ram is what the guest will have, bytes. False: one line in
 * error naming the file and the remedy.
 */
bool boot_check(const struct boot_request *request, uint64_t ram, char *error, size_t error_size);
/* Loads kernel, initrd, command line, zero page and tables. False: one line in error; memory may be half written. */
bool boot_load(const struct guest_memory *memory, const struct boot_request *request, struct boot_entry *entry, char *error,
	size_t error_size);

/* What a PVH kernel is given instead of a zero page: start info, memory map, and the initrd as its first module. */
void boot_write_start_info(const struct guest_memory *memory, uint64_t cmdline, uint64_t initrd, uint64_t initrd_size, uint64_t rsdp);

/* ELF64 vmlinux; used by boot_check and boot_load. */
struct elf_kernel {
	uint64_t entry;
	bool pvh;     /* the entry is the PVH note's */
	uint64_t end; /* first address after the loaded kernel */
};
bool elf_is(const void *bytes, size_t size);
bool elf_check(int fd, uint64_t file_size, uint64_t low_ram, struct elf_kernel *kernel, char *error, size_t error_size);
bool elf_load(int fd, uint64_t file_size, const struct guest_memory *memory, char *error, size_t error_size);
/* Reads exactly `size` bytes at `offset` of the file into guest memory or another buffer. False with errno; 0: the file ended. */
bool boot_read(int fd, uint64_t offset, void *to, uint64_t size);
