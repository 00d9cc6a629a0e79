/* The guest's physical address map and fixed ports. Everything that places something in the guest looks here. */
#pragma once

#include <stdint.h>

/* Guest physical addresses and sizes, bytes. */
#define LAYOUT_LOW_RAM_MAX 0xc0000000ull /* RAM from 0 up to here, the rest continues at 4 GiB */
#define LAYOUT_HIGH_RAM 0x100000000ull
#define LAYOUT_RAM_MAX (1ull << 40)
#define LAYOUT_MMIO32 0xc0000000ull      /* 32-bit BAR window */
#define LAYOUT_MMIO32_SIZE 0x20000000ull
#define LAYOUT_ECAM 0xe0000000ull        /* one bus: 32 slots x 8 functions x 4096 bytes */
#define LAYOUT_ECAM_SIZE 0x100000ull
#define LAYOUT_IOAPIC 0xfec00000ull
#define LAYOUT_LAPIC 0xfee00000ull
#define LAYOUT_IDENTITY_MAP 0xfeffc000ull /* one page for KVM on Intel, KVM_SET_IDENTITY_MAP_ADDR */
#define LAYOUT_TSS 0xfeffd000ull          /* three pages for KVM on Intel, KVM_SET_TSS_ADDR */

/* Low memory used at boot. */
#define LAYOUT_GDT 0x500ull
#define LAYOUT_GDT_ENTRIES 5
#define LAYOUT_ZERO_PAGE 0x7000ull
#define LAYOUT_STACK_TOP 0x7000ull  /* grows down */
#define LAYOUT_PAGE_TABLES 0x9000ull /* PML4, PDPT, four PDs: 6 pages */
#define LAYOUT_START_INFO 0xf000ull  /* a page: PVH start info, module list, memory map */
#define LAYOUT_CMDLINE 0x20000ull
#define LAYOUT_CMDLINE_MAX 0x10000ull
#define LAYOUT_EBDA 0x9fc00ull      /* end of usable conventional memory */
#define LAYOUT_ACPI 0xe0000ull      /* RSDP at its start; the kernel would find it by its scan too */
#define LAYOUT_ACPI_SIZE 0x20000ull
#define LAYOUT_HIGH_LOAD 0x100000ull

/* Ports. */
#define PORT_COM1 0x3f8
#define PORT_RTC 0x70
#define PORT_I8042_DATA 0x60
#define PORT_SYSTEM_B 0x61
#define PORT_I8042_COMMAND 0x64
#define PORT_DELAY 0x80
#define PORT_PANIC 0x505
#define PORT_PCI_ADDRESS 0xcf8
#define PORT_RESET 0xcf9
#define PORT_PCI_DATA 0xcfc
#define PORT_PM 0x600 /* PM1a event (4 bytes), PM1a control (2), PM timer at +8 (4) */
#define PORT_PM_EVENT 0x600
#define PORT_PM_CONTROL 0x604
#define PORT_PM_TIMER 0x608
#define PORT_PM_SIZE 16

#define IRQ_RTC 8
#define IRQ_COM1 4
#define IRQ_SCI 9
