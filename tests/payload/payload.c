#include "payload.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sandbox.h"

void payload_open(struct payload_machine *machine, const void *code, const void *end, enum vm_payload_mode mode, uint32_t cpus)
{
	memset(machine, 0, sizeof(*machine));
	machine->payload = (struct vm_payload){
		.code = code, .size = (uint32_t)((const char *)end - (const char *)code), .gpa = PAYLOAD_CODE, .mode = mode,
	};
	ck_assert_int_eq(pipe2(machine->serial, O_CLOEXEC), 0);
	struct vm_config config = {
		.name = "payload", .memory = PAYLOAD_MEMORY, .cpus = cpus, .serial_in = -1, .serial_out = machine->serial[1],
		.stats = &machine->stats, .payload = &machine->payload,
	};
	char error[256] = "";
	int status = 0;
	machine->vm = vm_create(&config, error, sizeof(error), &status);
	ck_assert_msg(machine->vm != NULL, "%s", error);
}

void payload_close(struct payload_machine *machine)
{
	vm_destroy(machine->vm);
	close(machine->serial[0]);
	close(machine->serial[1]);
}

void payload_start(struct payload_machine *machine)
{
	char error[256] = "";
	ck_assert_msg(vm_start(machine->vm, error, sizeof(error)) == 0, "%s", error);
}

enum vm_event payload_wait(struct payload_machine *machine)
{
	struct pollfd fd = { .fd = vm_event_fd(machine->vm), .events = POLLIN };
	poll(&fd, 1, 20000);
	vm_halt(machine->vm);
	char detail[160];
	return vm_take_event(machine->vm, detail, sizeof(detail));
}

void payload_run(struct payload_machine *machine)
{
	payload_start(machine);
	ck_assert_int_eq(payload_wait(machine), VM_EVENT_POWEROFF);
}

uint32_t payload_result(struct payload_machine *machine, uint32_t n)
{
	uint32_t value = 0;
	ck_assert(guest_memory_read(vm_memory(machine->vm), PAYLOAD_RESULTS + 4ull * n, &value, sizeof(value)));
	return value;
}

uint32_t payload_serial(struct payload_machine *machine, void *to, uint32_t size)
{
	uint32_t done = 0;
	struct pollfd fd = { .fd = machine->serial[0], .events = POLLIN };
	while (done < size && poll(&fd, 1, 5000) > 0) {
		ssize_t n = read(machine->serial[0], (char *)to + done, size - done);
		if (n <= 0)
			break;
		done += (uint32_t)n;
	}
	return done;
}

int payload_main(Suite *(*make_suite)(void))
{
	char error[256];
	if (vm_probe(error, sizeof(error), NULL) < 0) {
		printf("1..0 # SKIP %s\n", error);
		return 0;
	}
	/* Threads as in the program; what their filters refuse fails the test. */
	struct sandbox_config sandbox = { .on = true, .strict = true };
	sandbox_prepare(&sandbox);
	return unit_run(make_suite(), CK_ENV);
}
