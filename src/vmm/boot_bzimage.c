/* The setup header of a bzImage: pure checks. Field offsets and versions: Documentation/arch/x86/boot.rst. */
#include "vmm/boot.h"

#include <asm/bootparam.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "vmm/layout.h"

#define SETUP_HEADER 0x1f1
#define SECTOR 512ull
#define MIB (1ull << 20)
#define VERSION_64BIT 0x020c /* first with xloadflags and so a documented 64-bit entry */

static bool refuse(char *error, size_t error_size, const char *text)
{
	snprintf(error, error_size, "%s", text);
	return false;
}

bool bzimage_parse(const void *untrusted_bytes, size_t size, uint64_t file_size, struct bzimage *image, char *error, size_t error_size)
{
	memset(image, 0, sizeof(*image));
	if (size < BOOT_HEADER_BYTES || file_size < BOOT_HEADER_BYTES)
		return refuse(error, error_size, "is too short to be a kernel; give a complete bzImage or ELF vmlinux");
	memcpy(image->header, untrusted_bytes, BOOT_HEADER_BYTES);

	struct setup_header h;
	memcpy(&h, image->header + SETUP_HEADER, sizeof(h));
	if (h.boot_flag != 0xaa55 || h.header != 0x53726448 /* "HdrS" */)
		return refuse(error, error_size, "is no Linux kernel (no bzImage magic); give a bzImage or ELF vmlinux for x86-64");
	if (h.version < VERSION_64BIT)
		return refuse(error, error_size, "speaks a boot protocol older than 2.12; give a kernel of version 3.8 or later");
	if (!(h.xloadflags & XLF_KERNEL_64))
		return refuse(error, error_size, "is not a 64-bit kernel; give one built for x86-64");
	if (!(h.loadflags & LOADED_HIGH))
		return refuse(error, error_size, "is a zImage, not a bzImage; give a bzImage");

	/* The header's length is the jump's displacement over it: byte 0x201, counted from 0x202. */
	image->header_end = 0x202u + image->header[0x201];
	if (image->header_end < SETUP_HEADER + offsetof(struct setup_header, handover_offset) || image->header_end > 0x290)
		return refuse(error, error_size, "has a setup header of impossible length; the file is damaged, copy it again");

	uint64_t setup_sects = h.setup_sects ? h.setup_sects : 4;
	image->payload_offset = (setup_sects + 1) * SECTOR;
	image->payload_size = (uint64_t)h.syssize * 16;
	if (image->payload_size < 0x200 + 16) /* the 64-bit entry is 0x200 in */
		return refuse(error, error_size, "has a setup header without a kernel behind it; the file is damaged, copy it again");
	/* The last paragraph may be cut: syssize is rounded up. */
	if (image->payload_offset >= file_size || file_size - image->payload_offset + 15 < image->payload_size) {
		snprintf(error, error_size, "is truncated: its header promises %llu bytes, the file has %llu; copy it again",
			(unsigned long long)(image->payload_offset + image->payload_size), (unsigned long long)file_size);
		return false;
	}
	if (image->payload_size > file_size - image->payload_offset)
		image->payload_size = file_size - image->payload_offset;

	image->init_size = h.init_size > image->payload_size ? h.init_size : image->payload_size;
	image->preferred = h.pref_address;
	image->alignment = h.kernel_alignment;
	image->relocatable = h.relocatable_kernel;
	image->cmdline_max = h.cmdline_size;
	image->initrd_max = h.initrd_addr_max;
	if (image->alignment < GUEST_PAGE || image->alignment > 1024 * MIB || (image->alignment & (image->alignment - 1)))
		return refuse(error, error_size, "has a setup header with an impossible alignment; the file is damaged, copy it again");
	if (image->preferred < LAYOUT_HIGH_LOAD || image->preferred % GUEST_PAGE)
		return refuse(error, error_size, "has a setup header with an impossible load address; the file is damaged, copy it again");
	return true;
}

bool bzimage_place(const struct bzimage *image, uint64_t low_ram, uint64_t *load, char *error, size_t error_size)
{
	uint64_t end;
	if (add_u64(image->preferred, image->init_size, &end) && end <= low_ram) {
		*load = image->preferred;
		return true;
	}
	uint64_t lowest = (LAYOUT_HIGH_LOAD + image->alignment - 1) & ~(image->alignment - 1);
	if (image->relocatable && add_u64(lowest, image->init_size, &end) && end <= low_ram) {
		*load = lowest;
		return true;
	}
	snprintf(error, error_size, "needs %llu MiB of memory to start in; give the guest more with --memory",
		(unsigned long long)((image->relocatable ? lowest : image->preferred) + image->init_size + MIB - 1) / MIB);
	return false;
}

uint64_t boot_place_initrd(uint64_t size, uint64_t lowest, uint64_t limit)
{
	if (size == 0 || size > limit)
		return 0;
	uint64_t at = (limit - size) & ~(GUEST_PAGE - 1);
	return at >= lowest ? at : 0;
}
