/*
 * A large initrd goes from its file to guest memory without passing through this program: the system calls that could carry it are counted (the linker puts
 * the counters in between, meson.build).
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include "unit.h"
#include "base/base.h"
#include "vmm/backing.h"
#include "vmm/boot.h"
#include "vmm/layout.h"

#define MIB (1ull << 20)
#define SETUP_SECTORS 4
#define PAYLOAD_OFFSET ((SETUP_SECTORS + 1) * 512)
#define PAYLOAD_BYTES 8192
#define LARGE (300 * MIB + 123) /* the last page is not whole */
#define SMALL (8 * MIB + 123)
#define RAM (512 * MIB)

/* Where the file is no hole: its ends, both sides of a page and of a huge page, and in between. */
static const uint64_t places[] = { 0, 1, 4095, 4096, 2 * MIB - 1, 2 * MIB, 5 * MIB + 77, SMALL - 1, 100 * MIB + 77, 256 * MIB - 1, 256 * MIB, 300 * MIB, LARGE - 1 };

/* As they are called with 64-bit offsets. */
ssize_t __real_sendfile64(int out, int in, off_t *offset, size_t count);
ssize_t __wrap_sendfile64(int out, int in, off_t *offset, size_t count);
ssize_t __real_pread64(int fd, void *to, size_t size, off_t offset);
ssize_t __wrap_pread64(int fd, void *to, size_t size, off_t offset);
ssize_t __real_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size);

static struct {
	uint64_t moved, copied; /* bytes */
	uint32_t calls;
	uint64_t refuse_after; /* bytes that sendfile() moves before it fails; 0: never fails */
} io;

ssize_t __wrap_sendfile64(int out, int in, off_t *offset, size_t count)
{
	if (io.refuse_after > 0) {
		if (io.moved >= io.refuse_after) {
			errno = EINVAL;
			return -1;
		}
		count = count < io.refuse_after - io.moved ? count : io.refuse_after - io.moved;
	}
	ssize_t n = __real_sendfile64(out, in, offset, count);
	io.calls++;
	io.moved += n > 0 ? (uint64_t)n : 0;
	return n;
}

ssize_t __wrap_pread64(int fd, void *to, size_t size, off_t offset)
{
	ssize_t n = __real_pread64(fd, to, size, offset);
	io.copied += n > 0 ? (uint64_t)n : 0;
	return n;
}

ssize_t __wrap_read(int fd, void *to, size_t size)
{
	ssize_t n = __real_read(fd, to, size);
	io.copied += n > 0 ? (uint64_t)n : 0;
	return n;
}

static FILE *kernel_file(void)
{
	static uint8_t bytes[PAYLOAD_OFFSET + PAYLOAD_BYTES];
	struct setup_header *h = (struct setup_header *)(bytes + 0x1f1);
	*h = (struct setup_header){
		.setup_sects = SETUP_SECTORS, .syssize = PAYLOAD_BYTES / 16, .boot_flag = 0xaa55, .jump = 0x6aeb, .header = 0x53726448, .version = 0x020f,
		.loadflags = LOADED_HIGH, .xloadflags = XLF_KERNEL_64, .initrd_addr_max = 0x7fffffff, .kernel_alignment = 2 * MIB, .relocatable_kernel = 1,
		.cmdline_size = 2047, .pref_address = 16 * MIB, .init_size = 32 * MIB,
	};
	FILE *file = tmpfile();
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(pwrite(fileno(file), bytes, sizeof(bytes), 0), sizeof(bytes));
	return file;
}

static uint8_t byte_of(uint32_t place)
{
	return (uint8_t)(place * 37 + 1);
}

START_TEST(large_initrd) /* _i 0: the kernel moves it; 1, with a smaller one: it stops half-way, and the rest is read to where it belongs */
{
	uint64_t size = _i == 0 ? LARGE : SMALL;
	uint32_t n = 0;
	struct backing_host host;
	backing_read(0, &host);
	if (host.available < 3 * size) {
		fprintf(stderr, "skipped: %llu MiB are free, and file and guest memory take %llu\n", (unsigned long long)(host.available / MIB),
			(unsigned long long)(3 * size / MIB));
		return;
	}
	FILE *kernel = kernel_file(), *initrd = tmpfile();
	ck_assert_ptr_nonnull(initrd);
	if (ftruncate(fileno(initrd), (off_t)size) < 0) {
		fprintf(stderr, "skipped: no file of 300 MiB in the folder for temporary ones\n");
		return;
	}
	for (; n < ARRAY_LEN(places) && places[n] < size; n++) {
		uint8_t byte = byte_of(n);
		ck_assert_int_eq(pwrite(fileno(initrd), &byte, 1, (off_t)places[n]), 1);
	}
	struct guest_memory memory;
	ck_assert_int_eq(guest_memory_init(&memory, RAM), 0);
	struct boot_files files = { .kernel = fileno(kernel), .initrd = fileno(initrd) };
	struct boot_request request = { .kernel = "kernel", .initrd = "initrd", .files = &files, .rsdp = LAYOUT_ACPI };
	struct boot_entry entry;
	char error[300] = "";
	memset(&io, 0, sizeof(io));
	io.refuse_after = _i == 0 ? 0 : 3 * MIB + 4321;
	ck_assert_msg(boot_load(&memory, &request, &entry, error, sizeof(error)), "%s", error);
	if (_i == 0) {
		/* Read were the kernel's first bytes, to judge them, and nothing else. */
		ck_assert_uint_eq(io.moved, PAYLOAD_BYTES + size);
		ck_assert_uint_le(io.copied, BOOT_HEADER_BYTES);
		ck_assert_uint_le(io.calls, 64); /* in large pieces */
	} else {
		ck_assert_uint_eq(io.moved, io.refuse_after);
		ck_assert_uint_eq(io.moved + io.copied, BOOT_HEADER_BYTES + PAYLOAD_BYTES + size);
	}
	const struct boot_params *params = guest_memory_at(&memory, LAYOUT_ZERO_PAGE, sizeof(*params), GUEST_READ);
	ck_assert_uint_eq(params->hdr.ramdisk_size, size);
	uint64_t pages = (size + GUEST_PAGE - 1) / GUEST_PAGE * GUEST_PAGE;
	ck_assert_uint_eq(params->hdr.ramdisk_image, RAM - pages);
	const uint8_t *at = guest_memory_at(&memory, params->hdr.ramdisk_image, pages, GUEST_READ);
	ck_assert_ptr_nonnull(at);
	for (uint32_t i = 0; i < n; i++)
		ck_assert_msg(at[places[i]] == byte_of(i), "byte %llu is %u", (unsigned long long)places[i], at[places[i]]);
	/* Nothing else anywhere: words with something in them hold one of these bytes, and no other. */
	uint32_t others = 0;
	for (const uint64_t *word = (const uint64_t *)at; word < (const uint64_t *)(at + pages); word++) {
		if (*word == 0)
			continue;
		for (uint32_t i = 0; i < 8; i++)
			others += ((const uint8_t *)word)[i] != 0;
	}
	ck_assert_uint_eq(others, n);
	guest_memory_finish(&memory);
	fclose(kernel);
	fclose(initrd);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("load");
	TCase *tc = tcase_create("load");
	tcase_add_loop_test(tc, large_initrd, 0, 2);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
