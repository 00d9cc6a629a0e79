/*
 * For developers: boots a kernel with nothing but COM1 on this terminal.
 *   boot_linux KERNEL [INITRD [COMMAND-LINE [CPUS [MIB]]]]
 * Ends with 0 after the guest powered off, 1 after a crash; a reboot starts it again.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_MODULE "boot"
#include "base/base.h"
#include "base/log.h"
#include "base/stats.h"
#include "vmm/vm.h"

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: boot_linux KERNEL [INITRD [COMMAND-LINE [CPUS [MIB]]]]\n");
		return 2;
	}
	static struct stats stats;
	log_start(LOG_DEBUG, STDERR_FILENO);
	struct vm_config config = {
		.name = "linux",
		.kernel = argv[1],
		.initrd = argc > 2 && *argv[2] ? argv[2] : NULL,
		.cmdline = argc > 3 ? argv[3] : "console=ttyS0",
		.cpus = argc > 4 ? (uint32_t)atoi(argv[4]) : 1,
		.memory = (argc > 5 ? (uint64_t)atoi(argv[5]) : 512) << 20,
		.serial_in = STDIN_FILENO,
		.serial_out = STDOUT_FILENO,
		.stats = &stats,
	};
	char error[256];
	int status = 0;
	bool slow = false;
	if (vm_probe(error, sizeof(error), &slow) < 0) {
		fprintf(stderr, "boot_linux: %s\n", error);
		return 3;
	}
	if (slow)
		log_warn("KVM emulates ring 0 here: this will take very long");
	struct vm *vm = vm_create(&config, error, sizeof(error), &status);
	if (!vm) {
		fprintf(stderr, "boot_linux: %s\n", error);
		return status;
	}
	enum vm_event event = VM_EVENT_RESET;
	while (event == VM_EVENT_RESET) {
		uint64_t began = clock_now_ns();
		if (vm_start(vm, error, sizeof(error)) < 0) {
			fprintf(stderr, "boot_linux: %s\n", error);
			status = 1;
			break;
		}
		log_info("loaded in %llu us", (unsigned long long)((clock_now_ns() - began) / NSEC_PER_USEC));
		struct pollfd fd = { .fd = vm_event_fd(vm), .events = POLLIN };
		while (poll(&fd, 1, -1) < 0)
			continue;
		char detail[160];
		event = vm_take_event(vm, detail, sizeof(detail));
		log_info("%s after %llu ms and %llu exits", detail, (unsigned long long)((clock_now_ns() - began) / NSEC_PER_MSEC),
			(unsigned long long)atomic_load(&stats.vcpu_exits));
		vm_halt(vm);
		status = event == VM_EVENT_CRASH ? 1 : 0;
	}
	vm_destroy(vm);
	log_stop();
	return status;
}
