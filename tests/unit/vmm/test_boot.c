/* Kernel files: what is loaded where, and what is refused (a kernel file may be damaged or made to lie: I4). */
#include <asm/bootparam.h>
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"
#include "vmm/boot.h"
#include "vmm/layout.h"

#define MIB (1ull << 20)
#define SETUP_SECTORS 4
#define PAYLOAD_OFFSET ((SETUP_SECTORS + 1) * 512)
#define PAYLOAD_BYTES 8192

static uint8_t file[PAYLOAD_OFFSET + PAYLOAD_BYTES];

static struct setup_header *header(void)
{
	return (struct setup_header *)(file + 0x1f1);
}

/* A good kernel of 8 KiB. */
static void make_kernel(void)
{
	memset(file, 0, sizeof(file));
	for (int i = 0; i < PAYLOAD_BYTES; i++)
		file[PAYLOAD_OFFSET + i] = (uint8_t)(i * 7 + 1);
	struct setup_header *h = header();
	h->setup_sects = SETUP_SECTORS;
	h->syssize = PAYLOAD_BYTES / 16;
	h->boot_flag = 0xaa55;
	h->jump = 0x6aeb; /* over a header that ends at 0x26c */
	h->header = 0x53726448;
	h->version = 0x020f;
	h->loadflags = LOADED_HIGH;
	h->xloadflags = XLF_KERNEL_64;
	h->initrd_addr_max = 0x7fffffff;
	h->kernel_alignment = 2 * MIB;
	h->relocatable_kernel = 1;
	h->cmdline_size = 2047;
	h->pref_address = 16 * MIB;
	h->init_size = 32 * MIB;
}

static bool parse(struct bzimage *image, char *error, size_t size)
{
	return bzimage_parse(file, BOOT_HEADER_BYTES, sizeof(file), image, error, size);
}

START_TEST(good_kernel)
{
	struct bzimage image;
	char error[200] = "";
	uint64_t load = 0;
	make_kernel();
	ck_assert_msg(parse(&image, error, sizeof(error)), "%s", error);
	ck_assert_uint_eq(image.payload_offset, PAYLOAD_OFFSET);
	ck_assert_uint_eq(image.payload_size, PAYLOAD_BYTES);
	ck_assert(bzimage_place(&image, 512 * MIB, &load, error, sizeof(error)));
	ck_assert_uint_eq(load, 16 * MIB);
	/* 40 MiB: not at its favourite place, but lower down */
	ck_assert(bzimage_place(&image, 40 * MIB, &load, error, sizeof(error)));
	ck_assert_uint_eq(load, 2 * MIB);
	ck_assert(!bzimage_place(&image, 33 * MIB, &load, error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "--memory"));
	/* the last paragraph may be incomplete */
	ck_assert(bzimage_parse(file, BOOT_HEADER_BYTES, sizeof(file) - 15, &image, error, sizeof(error)));
	ck_assert_uint_eq(image.payload_size, PAYLOAD_BYTES - 15);
	/* no setup_sects means four */
	header()->setup_sects = 0;
	ck_assert(parse(&image, error, sizeof(error)));
	ck_assert_uint_eq(image.payload_offset, PAYLOAD_OFFSET);
}
END_TEST

enum lie {
	NO_FLAG, NO_MAGIC, OLD, NOT_64, LOW, HEADER_SHORT, HEADER_LONG, EMPTY, HUGE_SIZE, SECTORS, ALIGN_0, ALIGN_ODD, ALIGN_HUGE,
	PREF_LOW, PREF_ODD, LIES,
};

static void lie(enum lie which)
{
	struct setup_header *h = header();
	switch (which) {
	case NO_FLAG: h->boot_flag = 0; break;
	case NO_MAGIC: h->header = 0x12345678; break;
	case OLD: h->version = 0x020b; break;
	case NOT_64: h->xloadflags = 0; break;
	case LOW: h->loadflags = 0; break;
	case HEADER_SHORT: file[0x201] = 0x10; break;
	case HEADER_LONG: file[0x201] = 0xff; break;
	case EMPTY: h->syssize = 0; break;
	case HUGE_SIZE: h->syssize = 0xffffffff; break;
	case SECTORS: h->setup_sects = 255; break;
	case ALIGN_0: h->kernel_alignment = 0; break;
	case ALIGN_ODD: h->kernel_alignment = 3 * MIB; break;
	case ALIGN_HUGE: h->kernel_alignment = 0x80000000; break;
	case PREF_LOW: h->pref_address = 0x1000; break;
	case PREF_ODD: h->pref_address = 16 * MIB + 1; break;
	case LIES: break;
	}
}

START_TEST(lies_are_refused)
{
	for (enum lie i = 0; i < LIES; i++) {
		struct bzimage image;
		char error[200] = "";
		make_kernel();
		lie(i);
		ck_assert_msg(!parse(&image, error, sizeof(error)), "lie %d", i);
		ck_assert_msg(strlen(error) > 10 && !strchr(error, '\n'), "lie %d: '%s'", i, error);
	}
	/* sizes that would wrap are too large for the memory, whatever they are */
	struct bzimage image;
	char error[200];
	uint64_t load;
	make_kernel();
	header()->pref_address = UINT64_MAX & ~4095ull;
	header()->init_size = 0xffffffff;
	ck_assert(parse(&image, error, sizeof(error)));
	ck_assert(!bzimage_place(&image, 3072 * MIB, &load, error, sizeof(error)));
	/* an init_size smaller than the file does not make it smaller */
	make_kernel();
	header()->init_size = 1;
	ck_assert(parse(&image, error, sizeof(error)));
	ck_assert_uint_eq(image.init_size, PAYLOAD_BYTES);
	/* truncated at every interesting place */
	static const size_t sizes[] = { 0, 1, 511, 1023, PAYLOAD_OFFSET - 1, PAYLOAD_OFFSET, PAYLOAD_OFFSET + 1, sizeof(file) - 16 };
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		make_kernel();
		size_t head = sizes[i] < BOOT_HEADER_BYTES ? sizes[i] : BOOT_HEADER_BYTES;
		ck_assert_msg(!bzimage_parse(file, head, sizes[i], &image, error, sizeof(error)), "size %zu", sizes[i]);
	}
}
END_TEST

START_TEST(initrd_place)
{
	ck_assert_uint_eq(boot_place_initrd(4096, 48 * MIB, 512 * MIB), 512 * MIB - 4096);
	ck_assert_uint_eq(boot_place_initrd(1, 48 * MIB, 0x80000000), 0x7ffff000);
	ck_assert_uint_eq(boot_place_initrd(464 * MIB, 48 * MIB, 512 * MIB), 48 * MIB);
	ck_assert_uint_eq(boot_place_initrd(464 * MIB + 1, 48 * MIB, 512 * MIB), 0);
	ck_assert_uint_eq(boot_place_initrd(512 * MIB + 1, 0, 512 * MIB), 0);
	ck_assert_uint_eq(boot_place_initrd(UINT64_MAX, 48 * MIB, 512 * MIB), 0);
	ck_assert_uint_eq(boot_place_initrd(0, 48 * MIB, 512 * MIB), 0);
}
END_TEST

START_TEST(memory_map)
{
	static const uint64_t sizes[] = { 16 * MIB, 512 * MIB, 3072 * MIB, 3073 * MIB, 8192 * MIB };
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct boot_range r[BOOT_RANGES];
		uint32_t n = boot_memory_map(sizes[i], r);
		uint64_t ram = 0, end = 0;
		for (uint32_t j = 0; j < n; j++) {
			ck_assert_uint_ge(r[j].gpa, end); /* ascending, no overlap */
			end = r[j].gpa + r[j].size;
			if (r[j].type == 1)
				ram += r[j].size;
			else
				ck_assert_uint_eq(r[j].type, 2);
			bool acpi = r[j].gpa <= LAYOUT_ACPI && end > LAYOUT_ACPI;
			bool ecam = r[j].gpa <= LAYOUT_ECAM && end > LAYOUT_ECAM;
			ck_assert(!(acpi || ecam) || r[j].type == 2);
		}
		/* all RAM but the end of conventional memory and the BIOS area */
		ck_assert_uint_eq(ram, sizes[i] - (0x100000 - LAYOUT_EBDA));
		ck_assert_uint_eq(n, sizes[i] > LAYOUT_LOW_RAM_MAX ? 6 : 5);
	}
}
END_TEST

/* --- files --- */

static int make_file(const void *bytes, size_t size, char path[64])
{
	int fd = memfd_create("kernel", 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

START_TEST(load_into_memory)
{
	struct guest_memory memory;
	char kernel[64], initrd[64], error[300] = "";
	make_kernel();
	make_file(file, sizeof(file), kernel);
	make_file("initrd!", 7, initrd);
	ck_assert_int_eq(guest_memory_init(&memory, 64 * MIB), 0);
	struct boot_request request = { .kernel = kernel, .initrd = initrd, .cmdline = "console=ttyS0", .rsdp = LAYOUT_ACPI };
	struct boot_entry entry;
	ck_assert_msg(boot_load(&memory, &request, &entry, error, sizeof(error)), "%s", error);
	ck_assert_uint_eq(entry.rip, 16 * MIB + 0x200);
	ck_assert_uint_eq(entry.rsi, LAYOUT_ZERO_PAGE);
	ck_assert(memcmp(guest_memory_at(&memory, 16 * MIB, PAYLOAD_BYTES, GUEST_READ), file + PAYLOAD_OFFSET, PAYLOAD_BYTES) == 0);
	const struct boot_params *params = guest_memory_at(&memory, LAYOUT_ZERO_PAGE, sizeof(*params), GUEST_READ);
	ck_assert_uint_eq(params->hdr.header, 0x53726448);
	ck_assert_uint_eq(params->hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(params->hdr.ramdisk_image, 64 * MIB - 4096);
	ck_assert_uint_eq(params->hdr.ramdisk_size, 7);
	ck_assert_uint_eq(params->hdr.init_size, 32 * MIB);
	ck_assert_uint_eq(params->acpi_rsdp_addr, LAYOUT_ACPI);
	ck_assert_uint_eq(params->e820_entries, 5);
	ck_assert_uint_eq(params->sentinel, 0);
	ck_assert_str_eq(guest_memory_at(&memory, params->hdr.cmd_line_ptr, 14, GUEST_READ), "console=ttyS0");
	ck_assert(memcmp(guest_memory_at(&memory, params->hdr.ramdisk_image, 7, GUEST_READ), "initrd!", 7) == 0);
	/* page tables: 3 GiB + 2 MiB is mapped to itself */
	const uint64_t *directory = guest_memory_at(&memory, entry.cr3 + 5 * 4096, 4096, GUEST_READ);
	ck_assert_uint_eq(directory[1], 0xc0200083);
	/* what is mapped ahead: the packed kernel, or all of it when it stays in place */
	ck_assert_uint_eq(entry.hot[0].gpa, 16 * MIB);
	ck_assert_uint_eq(entry.hot[0].size, PAYLOAD_BYTES);
	ck_assert_uint_eq(entry.hot[1].gpa, params->hdr.ramdisk_image);
	request.cmdline = "quiet nokaslr";
	ck_assert(boot_load(&memory, &request, &entry, error, sizeof(error)));
	ck_assert_uint_eq(entry.hot[0].size, 32 * MIB);
	guest_memory_finish(&memory);
}
END_TEST

START_TEST(refused_files)
{
	char kernel[64], empty[64], big[64], error[300];
	static char cmdline[3000];
	make_kernel();
	make_file(file, sizeof(file), kernel);
	make_file("", 0, empty);
	int fd = make_file("x", 1, big);
	ck_assert_int_eq(ftruncate(fd, 100 * MIB), 0);
	memset(cmdline, 'a', sizeof(cmdline) - 1);
	const struct {
		struct boot_request request;
		const char *says;
	} table[] = {
		{ { .kernel = "/nonexistent/kernel" }, "No such file" },
		{ { .kernel = "/" }, "not a regular file" },
		{ { .kernel = "/dev/zero" }, "not a regular file" },
		{ { .kernel = empty }, "too short" },
		{ { .kernel = "/proc/self/exe" }, "ELF" }, /* position-independent: no kernel */
		{ { .kernel = big }, "no Linux kernel" },
		{ { .kernel = kernel, .initrd = "/nonexistent/initrd" }, "initrd" },
		{ { .kernel = kernel, .initrd = empty }, "empty" },
		{ { .kernel = kernel, .initrd = big }, "do not fit" },
		{ { .kernel = kernel, .cmdline = cmdline }, "--append" },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		error[0] = '\0';
		ck_assert_msg(!boot_check(&table[i].request, 64 * MIB, error, sizeof(error)), "row %zu", i);
		ck_assert_msg(strstr(error, table[i].says) && !strchr(error, '\n'), "row %zu: '%s'", i, error);
	}
	struct boot_request fits = { .kernel = kernel, .initrd = big };
	ck_assert(boot_check(&fits, 256 * MIB, error, sizeof(error)));
}
END_TEST

/* What is open already is read, whatever the path says, and stays open. */
START_TEST(files_that_are_open)
{
	char path[64], error[300] = "";
	make_kernel();
	struct boot_files files = { make_file(file, sizeof(file), path), make_file("initrd!", 7, path) };
	struct boot_request request = { .kernel = "/nonexistent/kernel", .initrd = "/nonexistent/initrd", .files = &files };
	for (int round = 0; round < 2; round++) {
		struct guest_memory memory;
		struct boot_entry entry;
		ck_assert_msg(boot_check(&request, 64 * MIB, error, sizeof(error)), "%s", error);
		ck_assert_int_eq(guest_memory_init(&memory, 64 * MIB), 0);
		ck_assert_msg(boot_load(&memory, &request, &entry, error, sizeof(error)), "%s", error);
		ck_assert(memcmp(guest_memory_at(&memory, entry.hot[1].gpa, 7, GUEST_READ), "initrd!", 7) == 0);
		guest_memory_finish(&memory);
	}
	struct boot_files alone = { files.kernel, -1 };
	request.files = &alone;
	ck_assert(boot_check(&request, 64 * MIB, error, sizeof(error)));
	ck_assert_int_eq(ftruncate(files.kernel, 5000), 0);
	ck_assert(!boot_check(&request, 64 * MIB, error, sizeof(error)));
	ck_assert_msg(strstr(error, "/nonexistent/kernel") && strstr(error, "truncated"), "%s", error);
	struct boot_files pipe_end = { 0, -1 };
	int ends[2];
	ck_assert_int_eq(pipe(ends), 0);
	pipe_end.kernel = ends[0];
	request.files = &pipe_end;
	ck_assert(!boot_check(&request, 64 * MIB, error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "not a regular file"));

	struct boot_request by_path = { .kernel = path, .initrd = "/nonexistent/initrd" };
	ck_assert(!boot_files_open(&by_path, &alone, error, sizeof(error)));
	ck_assert_int_eq(alone.kernel, -1);
	by_path.initrd = NULL;
	ck_assert(boot_files_open(&by_path, &alone, error, sizeof(error)));
	ck_assert_int_ge(alone.kernel, 0);
	ck_assert_int_eq(alone.initrd, -1);
	boot_files_close(&alone);
}
END_TEST

/* --- ELF --- */

struct elf_file {
	Elf64_Ehdr header;
	Elf64_Phdr segment[2];
	uint8_t code[64];
};

static struct elf_file make_elf(void)
{
	struct elf_file elf = {
		.header = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_EXEC, .e_machine = EM_X86_64,
			.e_entry = 16 * MIB + 8, .e_phoff = offsetof(struct elf_file, segment), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2,
		},
		.segment = {
			{ .p_type = PT_LOAD, .p_offset = offsetof(struct elf_file, code), .p_paddr = 16 * MIB, .p_filesz = 64, .p_memsz = 4096 },
			{ .p_type = PT_LOAD, .p_offset = 0, .p_paddr = 18 * MIB, .p_filesz = 0, .p_memsz = MIB },
		},
	};
	memset(elf.code, 0xcc, sizeof(elf.code));
	return elf;
}

static bool check_elf(const struct elf_file *elf, size_t size, char *error, size_t error_size)
{
	char path[64];
	int fd = make_file(elf, size, path);
	struct boot_request request = { .kernel = path };
	bool good = boot_check(&request, 64 * MIB, error, error_size);
	close(fd);
	return good;
}

START_TEST(elf_files)
{
	char error[300] = "", path[64];
	struct elf_file elf = make_elf();
	ck_assert_msg(check_elf(&elf, sizeof(elf), error, sizeof(error)), "%s", error);
	struct guest_memory memory;
	struct boot_entry entry;
	make_file(&elf, sizeof(elf), path);
	struct boot_request request = { .kernel = path };
	ck_assert_int_eq(guest_memory_init(&memory, 64 * MIB), 0);
	ck_assert(boot_load(&memory, &request, &entry, error, sizeof(error)));
	ck_assert_uint_eq(entry.rip, 16 * MIB + 8);
	ck_assert_uint_eq(*(uint8_t *)guest_memory_at(&memory, 16 * MIB + 63, 1, GUEST_READ), 0xcc);
	guest_memory_finish(&memory);

	elf = make_elf(), elf.header.e_machine = EM_AARCH64;
	ck_assert(!check_elf(&elf, sizeof(elf), error, sizeof(error)));
	elf = make_elf(), elf.header.e_type = ET_DYN;
	ck_assert(!check_elf(&elf, sizeof(elf), error, sizeof(error)));
	elf = make_elf(), elf.header.e_phnum = 60000;
	ck_assert(!check_elf(&elf, sizeof(elf), error, sizeof(error)));
	elf = make_elf(), elf.header.e_phoff = UINT64_MAX - 8;
	ck_assert(!check_elf(&elf, sizeof(elf), error, sizeof(error)));
	elf = make_elf(), elf.segment[1].p_paddr = 16 * MIB + 100; /* overlap */
	ck_assert(!check_elf(&elf, sizeof(elf), error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "overlapping"));
	elf = make_elf(), elf.segment[1].p_paddr = 0x1000; /* onto the zero page's neighbourhood */
	ck_assert(!check_elf(&elf, sizeof(elf), error, sizeof(error)));
	elf = make_elf(), elf.segment[1].p_memsz = UINT64_MAX - MIB;
	ck_assert(!check_elf(&elf, sizeof(elf), error, sizeof(error)));
	elf = make_elf(), elf.segment[1].p_memsz = 60 * MIB;
	ck_assert(!check_elf(&elf, sizeof(elf), error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "--memory"));
	elf = make_elf(), elf.segment[0].p_filesz = 65;
	ck_assert(!check_elf(&elf, sizeof(elf), error, sizeof(error)));
	elf = make_elf(), elf.segment[0].p_memsz = 10;
	ck_assert(!check_elf(&elf, sizeof(elf), error, sizeof(error)));
	elf = make_elf(), elf.header.e_entry = 17 * MIB;
	ck_assert(!check_elf(&elf, sizeof(elf), error, sizeof(error)));
	elf = make_elf();
	ck_assert(!check_elf(&elf, 40, error, sizeof(error)));
	ck_assert(!check_elf(&elf, 100, error, sizeof(error)));
}
END_TEST

/* An ELF file with a segment of notes: a foreign one, then PVH's. */
struct pvh_file {
	struct elf_file elf;
	struct {
		Elf64_Nhdr head;
		char name[8];
		uint8_t body[4];
	} other;
	struct {
		Elf64_Nhdr head;
		char name[4];
		uint64_t entry;
	} __attribute__((packed)) pvh;
};

static struct pvh_file make_pvh(void)
{
	struct pvh_file file_ = { .elf = make_elf() };
	file_.elf.segment[1] = (Elf64_Phdr){
		.p_type = PT_NOTE, .p_offset = offsetof(struct pvh_file, other), .p_filesz = sizeof(struct pvh_file) - offsetof(struct pvh_file, other),
		.p_memsz = sizeof(struct pvh_file) - offsetof(struct pvh_file, other),
	};
	file_.other.head = (Elf64_Nhdr){ .n_namesz = 5, .n_descsz = 3, .n_type = 18 };
	memcpy(file_.other.name, "Beos", 5);
	file_.pvh.head = (Elf64_Nhdr){ .n_namesz = 4, .n_descsz = 8, .n_type = 18 };
	memcpy(file_.pvh.name, "Xen", 4);
	file_.pvh.entry = 16 * MIB + 32;
	return file_;
}

static bool check_pvh(const struct pvh_file *pvh, char *error, size_t error_size)
{
	char path[64];
	int fd = make_file(pvh, sizeof(*pvh), path);
	struct boot_request request = { .kernel = path };
	bool good = boot_check(&request, 64 * MIB, error, error_size);
	close(fd);
	return good;
}

START_TEST(pvh_files)
{
	char error[300] = "", path[64], initrd[64];
	struct pvh_file pvh = make_pvh();
	struct guest_memory memory;
	struct boot_entry entry;
	make_file(&pvh, sizeof(pvh), path);
	make_file("initrd!", 7, initrd);
	struct boot_request request = { .kernel = path, .initrd = initrd, .cmdline = "quiet", .rsdp = LAYOUT_ACPI };
	ck_assert_int_eq(guest_memory_init(&memory, 64 * MIB), 0);
	ck_assert_msg(boot_load(&memory, &request, &entry, error, sizeof(error)), "%s", error);
	ck_assert(entry.pvh);
	ck_assert_uint_eq(entry.rip, 16 * MIB + 32);
	const uint32_t *info = guest_memory_at(&memory, entry.rbx, 56, GUEST_READ);
	ck_assert_uint_eq(info[0], 0x336ec578);
	ck_assert_uint_eq(info[1], 1);
	ck_assert_uint_eq(info[3], 1);
	uint64_t at[4];
	memcpy(at, info + 4, sizeof(at)); /* modules, command line, RSDP, memory map */
	const uint64_t *module = guest_memory_at(&memory, at[0], 32, GUEST_READ);
	ck_assert(memcmp(guest_memory_at(&memory, module[0], 7, GUEST_READ), "initrd!", 7) == 0);
	ck_assert_uint_eq(module[1], 7);
	ck_assert_str_eq(guest_memory_at(&memory, at[1], 6, GUEST_READ), "quiet");
	ck_assert_uint_eq(at[2], LAYOUT_ACPI);
	ck_assert_uint_eq(info[12], 5);
	const uint64_t *map = guest_memory_at(&memory, at[3], 5 * 24, GUEST_READ);
	ck_assert_uint_eq(map[0], 0);
	ck_assert_uint_eq(map[1], LAYOUT_EBDA);
	guest_memory_finish(&memory);

	/* damaged notes are no notes, wherever they end; an entry outside the kernel is refused */
	pvh = make_pvh(), pvh.pvh.head.n_namesz = 0xfffffffe;
	ck_assert(check_pvh(&pvh, error, sizeof(error)));
	pvh = make_pvh(), pvh.pvh.head.n_descsz = UINT32_MAX;
	ck_assert(check_pvh(&pvh, error, sizeof(error)));
	pvh = make_pvh(), pvh.other.head.n_descsz = 0x80000000;
	ck_assert(check_pvh(&pvh, error, sizeof(error)));
	pvh = make_pvh(), pvh.pvh.entry = 40 * MIB;
	ck_assert(!check_pvh(&pvh, error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "entry point"));
	pvh = make_pvh(), pvh.elf.segment[1].p_offset = UINT64_MAX - 4;
	ck_assert(!check_pvh(&pvh, error, sizeof(error)));
	for (uint64_t size = 0; size < pvh.elf.segment[1].p_filesz; size++) {
		pvh = make_pvh(), pvh.elf.segment[1].p_filesz = size;
		ck_assert(check_pvh(&pvh, error, sizeof(error)));
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("boot");
	TCase *c = tcase_create("boot");
	tcase_add_test(c, good_kernel);
	tcase_add_test(c, lies_are_refused);
	tcase_add_test(c, initrd_place);
	tcase_add_test(c, memory_map);
	tcase_add_test(c, load_into_memory);
	tcase_add_test(c, refused_files);
	tcase_add_test(c, files_that_are_open);
	tcase_add_test(c, elf_files);
	tcase_add_test(c, pvh_files);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
