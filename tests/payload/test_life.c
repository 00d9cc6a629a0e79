/*
 * I8, the life of a machine whose guest is hostile: what a person asks for (stop, reset) happens in bounded time and stays so, and the
 * panel hears of it. The test is the panel; the guests are a few bytes of 64-bit code in an ELF file.
 */
#include <check.h>
#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/stats.h"
#include "base/status.h"
#include "machine.h"
#include "machine_files.h"
#include "options.h"
#include "payload.h"

#define ENTRY 0x100000
#define SOON_NS (10 * NSEC_PER_SEC) /* wall time on a machine with other work: a stop that hangs is what fails */

static struct options options;
static struct stats stats;
static struct status_board *board;
static struct machine *machine;
static struct machine_files files;
static struct link *panel;
static char kernel[64];
static int kernel_fd;
static uint32_t n_disks; /* of the next machine */
/* What the panel heard. */
static uint32_t starts, offs;
static enum vm_state state;

static void open_machine(const char *code, size_t size)
{
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr load;
		char code[64];
	} file = {
		.header = {
			.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_EXEC, .e_machine = EM_X86_64,
			.e_version = EV_CURRENT, .e_entry = ENTRY, .e_phoff = sizeof(Elf64_Ehdr), .e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1,
		},
	};
	file.load = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = offsetof(__typeof__(file), code), .p_paddr = ENTRY, .p_filesz = sizeof(file.code),
		.p_memsz = 4096 };
	ck_assert_uint_le(size, sizeof(file.code));
	memcpy(file.code, code, size);
	kernel_fd = memfd_create("kernel", MFD_CLOEXEC);
	ck_assert_int_eq(write(kernel_fd, &file, sizeof(file)), sizeof(file));
	snprintf(kernel, sizeof(kernel), "/proc/self/fd/%d", kernel_fd);

	options = (struct options){
		.kernel = kernel, .memory = 32 << 20, .cpus = 1, .display = DISPLAY_HEADLESS, .serial = SERIAL_NONE, .vmm_hypervisor = true,
		.vmm_virtio_input = true, .on_poweroff = POLICY_STAY, .on_reboot = POLICY_RESTART, .on_crash = POLICY_STAY,
	};
	static char memory_disk[] = "mem:1M";
	for (options.n_disks = 0; options.n_disks < n_disks; options.n_disks++)
		options.disk[options.n_disks] = memory_disk;
	starts = offs = 0;
	state = VM_NONE;
	char error[256] = "";
	int status = 0;
	board = status_board_create();
	ck_assert_ptr_nonnull(board);
	ck_assert_msg(machine_files_open(&options, &files, error, sizeof(error), &status) == 0, "%s", error);
	struct machine_config config = { .options = &options, .files = &files, .board = board, .stats = &stats };
	machine = machine_create(&config, error, sizeof(error), &status);
	ck_assert_msg(machine != NULL, "%s", error);
	panel = machine_link(machine);
}

static void close_machine(void)
{
	machine_destroy(machine);
	machine_files_close(&files);
	status_board_destroy(board);
	close(kernel_fd);
}

static void ask(enum link_vm_command command)
{
	struct link_message message = { .type = LINK_COMMAND, .command = { command } };
	ck_assert(link_send_to_producer(panel, &message));
}

/* Listens until the VM is `wanted` (VM_NONE: for the whole time), at most `ns`. The time it took. */
static uint64_t listen_for(enum vm_state wanted, uint64_t ns)
{
	uint64_t start = clock_now_ns(), now = start;
	while (now - start < ns) {
		struct link_message message;
		struct pollfd fd = { .fd = link_panel_fd(panel), .events = POLLIN };
		poll(&fd, 1, (int)((ns - (now - start)) / NSEC_PER_MSEC) + 1);
		link_ack_panel(panel);
		while (link_receive_for_panel(panel, &message)) {
			offs += message.type == LINK_ACTION && message.action.action == LINK_ACTION_OFF;
			if (message.type != LINK_VM_STATE)
				continue;
			state = message.vm_state.state;
			starts += state == VM_STARTING;
			if (state == wanted && wanted != VM_NONE)
				return clock_now_ns() - start;
		}
		now = clock_now_ns();
	}
	return now - start;
}

#define GUEST(bytes) { bytes, sizeof(bytes) - 1, #bytes }
static const struct {
	const char *code;
	size_t size;
	const char *name;
} busy[] = {
	GUEST("\xfa\xeb\xfe"),                                     /* cli; jmp . */
	GUEST("\xfa\xf4\xeb\xfd"),                                 /* cli; hlt */
	GUEST("\x66\xba\x34\x12\xec\x66\xef\xed\xeb\xfa"),         /* ports of nobody, all widths */
	GUEST("\xbb\x00\x00\x00\xd0\x8b\x03\x89\x03\xeb\xfa"),     /* MMIO of nobody */
	GUEST("\x66\xba\xf8\x03\xb0\x41\xee\xeb\xfd"),             /* COM1 */
	/* the display's BAR decoded and not, so that its notifications move all the time */
	GUEST("\x66\xba\xf8\x0c\xb8\x04\x08\x00\x80\xef\x66\xba\xfc\x0c\xb8\x06\x00\x00\x00\xef\x31\xc0\xef\xeb\xf5"),
};

START_TEST(stop_is_prompt)
{
	open_machine(busy[_i].code, busy[_i].size);
	ck_assert_int_eq(machine_start(machine, true), 0);
	listen_for(VM_RUNNING, SOON_NS);
	for (int round = 0; round < 3; round++) {
		ck_assert_int_eq(state, VM_RUNNING);
		listen_for(VM_NONE, 50 * NSEC_PER_MSEC);
		ask(LINK_VM_PAUSE);
		ck_assert_uint_lt(listen_for(VM_PAUSED, SOON_NS), SOON_NS);
		ask(LINK_VM_RESUME);
		ck_assert_uint_lt(listen_for(VM_RUNNING, SOON_NS), SOON_NS);
		ask(LINK_VM_RESET);
		ck_assert_uint_lt(listen_for(VM_STOPPED, SOON_NS), SOON_NS);
		ck_assert_uint_lt(listen_for(VM_RUNNING, SOON_NS), SOON_NS);
	}
	listen_for(VM_NONE, 50 * NSEC_PER_MSEC);
	ask(LINK_VM_STOP);
	uint64_t took = listen_for(VM_STOPPED, SOON_NS);
	ck_assert_msg(state == VM_STOPPED, "guest %s: not stopped after %llu ms", busy[_i].name, (unsigned long long)(took / NSEC_PER_MSEC));
	close_machine();
}
END_TEST

/* out 0xcf9, 6 */
static const char reboots[] = "\x66\xba\xf9\x0c\xb0\x06\xee\xf4\xeb\xfd";

START_TEST(rebooting_for_ever_is_paced_and_can_be_stopped)
{
	open_machine(reboots, sizeof(reboots) - 1);
	ck_assert_int_eq(machine_start(machine, true), 0);
	listen_for(VM_NONE, 2500 * NSEC_PER_MSEC);
	ck_assert_uint_ge(starts, 2);
	ck_assert_uint_le(starts, 4);
	ck_assert_uint_eq(offs, 0); /* it starts again by itself, and at once after a reset */
	ask(LINK_VM_RESET);
	listen_for(VM_NONE, 300 * NSEC_PER_MSEC);
	ck_assert_uint_eq(offs, 0);
	ask(LINK_VM_STOP);
	ck_assert_uint_lt(listen_for(VM_STOPPED, SOON_NS), SOON_NS);
	uint32_t before = starts;
	listen_for(VM_NONE, 1500 * NSEC_PER_MSEC);
	ck_assert_uint_eq(starts, before);
	ck_assert_int_eq(state, VM_STOPPED);
	ck_assert_uint_eq(offs, 1);
	/* A person need not wait. */
	ask(LINK_VM_START);
	ck_assert_uint_lt(listen_for(VM_STARTING, SOON_NS), SOON_NS);
	close_machine();
}
END_TEST

/* out 0xcf9, 6; a triple fault: the first is a reboot, and the second never happened. */
START_TEST(a_reboot_is_no_crash)
{
	static const char guest[] = "\x66\xba\xf9\x0c\xb0\x06\xee\x6a\x00\x6a\x00\x0f\x01\x1c\x24\x0f\x0b"; /* push 0, push 0, lidt (%rsp), ud2 */
	open_machine(guest, sizeof(guest) - 1);
	ck_assert_int_eq(machine_start(machine, true), 0);
	listen_for(VM_CRASHED, 2500 * NSEC_PER_MSEC);
	ck_assert_int_ne(state, VM_CRASHED);
	ck_assert_uint_ge(starts, 2);
	close_machine();
}
END_TEST

/* The stop arrives while the VM starts, and finds a guest that has asked for a reboot meanwhile. */
START_TEST(a_stop_is_not_undone_by_a_reboot)
{
	open_machine(reboots, sizeof(reboots) - 1);
	ck_assert_int_eq(machine_start(machine, false), 0);
	for (int round = 0; round < 4; round++) {
		ask(LINK_VM_START);
		if (round % 2 == 0)
			ck_assert_uint_lt(listen_for(VM_STARTING, SOON_NS), SOON_NS);
		ask(LINK_VM_STOP);
		listen_for(VM_NONE, 1200 * NSEC_PER_MSEC);
		ck_assert_int_eq(state, VM_STOPPED);
	}
	ck_assert_uint_eq(starts, 4);
	close_machine();
}
END_TEST

START_TEST(a_full_link_hides_no_state)
{
	open_machine(busy[0].code, busy[0].size);
	/* No other sender yet: this stands for a guest's buffers that the panel has not read. */
	struct link_message message = { .type = LINK_LEDS };
	while (link_send_to_panel(panel, &message))
		continue;
	ck_assert_int_eq(machine_start(machine, true), 0);
	struct timespec nap = { .tv_nsec = 300000000 };
	nanosleep(&nap, NULL);
	ask(LINK_VM_STOP);
	nanosleep(&nap, NULL);
	listen_for(VM_STOPPED, SOON_NS);
	ck_assert_int_eq(state, VM_STOPPED);
	ck_assert_uint_eq(starts, 1);
	listen_for(VM_NONE, 50 * NSEC_PER_MSEC);
	ck_assert_uint_eq(offs, 1);
	close_machine();
}
END_TEST

/* Every device there is has a slot of its own on the bus. */
START_TEST(all_devices_at_once)
{
	n_disks = OPTIONS_DISKS;
	open_machine(busy[0].code, busy[0].size);
	n_disks = 0;
	ck_assert_int_eq(machine_start(machine, true), 0);
	listen_for(VM_RUNNING, SOON_NS);
	ck_assert_int_eq(state, VM_RUNNING);
	close_machine();
}
END_TEST

static Suite *make_suite(void)
{
	Suite *s = suite_create("life");
	TCase *c = tcase_create("life");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, stop_is_prompt, 0, ARRAY_LEN(busy));
	tcase_add_test(c, rebooting_for_ever_is_paced_and_can_be_stopped);
	tcase_add_test(c, a_reboot_is_no_crash);
	tcase_add_test(c, a_stop_is_not_undone_by_a_reboot);
	tcase_add_test(c, a_full_link_hides_no_state);
	tcase_add_test(c, all_devices_at_once);
	suite_add_tcase(s, c);
	return s;
}

int main(void)
{
	log_set_level(LOG_ERROR);
	return payload_main(make_suite);
}
