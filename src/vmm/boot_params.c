/* What the kernel finds in low memory: descriptor table, page tables, zero page with the memory map. */
#include "vmm/boot.h"

#include <asm/bootparam.h>
#include <stddef.h>
#include <string.h>

#include "base/base.h"
#include "vmm/layout.h"

#define E820_RAM 1
#define E820_RESERVED 2

uint32_t boot_memory_map(uint64_t ram, struct boot_range ranges[BOOT_RANGES])
{
	uint64_t low = ram < LAYOUT_LOW_RAM_MAX ? ram : LAYOUT_LOW_RAM_MAX;
	uint32_t n = 0;
	ranges[n++] = (struct boot_range){ 0, LAYOUT_EBDA, E820_RAM };
	ranges[n++] = (struct boot_range){ LAYOUT_EBDA, 0xa0000 - LAYOUT_EBDA, E820_RESERVED };
	ranges[n++] = (struct boot_range){ LAYOUT_ACPI, LAYOUT_ACPI_SIZE, E820_RESERVED };
	if (low > LAYOUT_HIGH_LOAD)
		ranges[n++] = (struct boot_range){ LAYOUT_HIGH_LOAD, low - LAYOUT_HIGH_LOAD, E820_RAM };
	/* Linux uses ECAM early only where the memory map reserves it (arch/x86/pci/mmconfig-shared.c). */
	ranges[n++] = (struct boot_range){ LAYOUT_ECAM, LAYOUT_ECAM_SIZE, E820_RESERVED };
	if (ram > low)
		ranges[n++] = (struct boot_range){ LAYOUT_HIGH_RAM, ram - low, E820_RAM };
	return n;
}

void boot_write_tables(const struct guest_memory *memory)
{
	/* Selectors 0x10 and 0x18 are the boot protocol's __BOOT_CS (64-bit) and __BOOT_DS; 0x20 is flat 32-bit code. */
	static const uint64_t gdt[LAYOUT_GDT_ENTRIES] = { 0, 0, 0x00af9b000000ffffull, 0x00cf93000000ffffull, 0x00cf9b000000ffffull };
	guest_memory_write(memory, LAYOUT_GDT, gdt, sizeof(gdt));

	/* PML4, PDPT and four page directories of 2 MiB pages: 4 GiB mapped one to one. Present, writable (3), large (0x80). */
	uint64_t page[512] = { 0 };
	page[0] = (LAYOUT_PAGE_TABLES + GUEST_PAGE) | 3;
	guest_memory_write(memory, LAYOUT_PAGE_TABLES, page, sizeof(page));
	for (uint64_t i = 0; i < 4; i++)
		page[i] = (LAYOUT_PAGE_TABLES + (2 + i) * GUEST_PAGE) | 3;
	guest_memory_write(memory, LAYOUT_PAGE_TABLES + GUEST_PAGE, page, sizeof(page));
	for (uint64_t directory = 0; directory < 4; directory++) {
		for (uint64_t i = 0; i < 512; i++)
			page[i] = (directory << 30) | (i << 21) | 0x83;
		guest_memory_write(memory, LAYOUT_PAGE_TABLES + (2 + directory) * GUEST_PAGE, page, sizeof(page));
	}
}

/* struct hvm_start_info and what it points to: Xen's xen/include/public/arch-x86/hvm/start_info.h, version 1. */
struct start_info {
	struct {
		uint32_t magic, version, flags, nr_modules;
		uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
		uint32_t memmap_entries, reserved;
	} head;
	struct {
		uint64_t paddr, size, cmdline_paddr, reserved;
	} module;
	struct {
		uint64_t addr, size;
		uint32_t type, reserved;
	} map[BOOT_RANGES];
};
#define START_INFO_MAGIC 0x336ec578

void boot_write_start_info(const struct guest_memory *memory, uint64_t cmdline, uint64_t initrd, uint64_t initrd_size, uint64_t rsdp)
{
	_Static_assert(sizeof(struct start_info) <= GUEST_PAGE, "its page");
	struct start_info info;
	memset(&info, 0, sizeof(info));
	info.head.magic = START_INFO_MAGIC;
	info.head.version = 1;
	info.head.cmdline_paddr = cmdline;
	info.head.rsdp_paddr = rsdp;
	if (initrd_size) {
		info.head.nr_modules = 1;
		info.head.modlist_paddr = LAYOUT_START_INFO + offsetof(struct start_info, module);
		info.module.paddr = initrd;
		info.module.size = initrd_size;
	}
	struct boot_range ranges[BOOT_RANGES];
	info.head.memmap_paddr = LAYOUT_START_INFO + offsetof(struct start_info, map);
	info.head.memmap_entries = boot_memory_map(memory->size, ranges);
	for (uint32_t i = 0; i < info.head.memmap_entries; i++) {
		info.map[i].addr = ranges[i].gpa;
		info.map[i].size = ranges[i].size;
		info.map[i].type = ranges[i].type;
	}
	guest_memory_write(memory, LAYOUT_START_INFO, &info, sizeof(info));
}

void boot_write_zero_page(const struct guest_memory *memory, const void *setup_header, uint32_t setup_header_size, uint64_t load,
	uint64_t cmdline, uint64_t initrd, uint64_t initrd_size, uint64_t rsdp)
{
	struct boot_params params;
	memset(&params, 0, sizeof(params));
	if (setup_header) {
		memcpy(&params.hdr, setup_header, setup_header_size < sizeof(params.hdr) ? setup_header_size : sizeof(params.hdr));
	} else {
		params.hdr.boot_flag = 0xaa55;
		params.hdr.header = 0x53726448;
		params.hdr.version = 0x020f;
		params.hdr.loadflags = LOADED_HIGH;
		params.hdr.kernel_alignment = 0x1000000;
	}
	params.hdr.type_of_loader = 0xff; /* no assigned id */
	params.hdr.code32_start = (uint32_t)load;
	params.hdr.cmd_line_ptr = (uint32_t)cmdline;
	params.hdr.ramdisk_image = (uint32_t)initrd;
	params.hdr.ramdisk_size = (uint32_t)initrd_size;
	params.hdr.setup_data = 0;
	params.acpi_rsdp_addr = rsdp;

	struct boot_range ranges[BOOT_RANGES];
	uint32_t n = boot_memory_map(memory->size, ranges);
	for (uint32_t i = 0; i < n; i++) {
		params.e820_table[i].addr = ranges[i].gpa;
		params.e820_table[i].size = ranges[i].size;
		params.e820_table[i].type = ranges[i].type;
	}
	params.e820_entries = (uint8_t)n;
	guest_memory_write(memory, LAYOUT_ZERO_PAGE, &params, sizeof(params));
}
