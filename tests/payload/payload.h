/*
 * A harness for tiny guests: hand-made machine code, run instead of a kernel. Also included by the guests' assembly.
 *
 * A guest leaves dwords at PAYLOAD_RESULTS and powers off; the test looks at them. Guests avoid instructions that KVM cannot
 * emulate (cmpxchg16b, XSAVE, BMI), so that they run where ring 0 is emulated, some million instructions a second.
 */
#pragma once

#define PAYLOAD_CODE 0x10000    /* where a guest is loaded */
#define PAYLOAD_RESULTS 0x8000  /* dwords for the test */
#define PAYLOAD_IDT 0x6000
#define PAYLOAD_CS32 0x20       /* flat 32-bit code, for interrupt gates */
#define PAYLOAD_MEMORY 0x1000000 /* bytes of RAM */

#ifdef __ASSEMBLER__

/* GUEST(name): code follows, until GUEST_END(name). Addresses of labels: AT(name, label). */
#define GUEST(name) .globl name; .balign 16; name:
#define GUEST_END(name) .globl name##_end; name##_end:
#define AT(name, label) ((label) - name + PAYLOAD_CODE)

/* Leaves eax as result number n (32-bit code). */
#define RESULT(n) mov %eax, PAYLOAD_RESULTS + 4 * (n)

#else

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "../unit/unit.h"
#include "base/stats.h"
#include "vmm/vm.h"
#include "vmm/vm_internal.h"

struct payload_machine {
	struct vm *vm;
	struct vm_payload payload;
	struct stats stats;
	int serial[2]; /* what the guest sent comes out of [0] */
};

/* Fails the test when the VM cannot be made. The caller attaches devices, then starts. */
void payload_open(struct payload_machine *machine, const void *code, const void *end, enum vm_payload_mode mode, uint32_t cpus);
#define PAYLOAD_OPEN(machine, name, mode, cpus) payload_open(machine, name, name##_end, mode, cpus)
void payload_close(struct payload_machine *machine);
void payload_start(struct payload_machine *machine);
/* Waits for an event, at most 20 s; then the vCPUs are joined. VM_EVENT_NONE: none came. */
enum vm_event payload_wait(struct payload_machine *machine);
/* Starts, and fails the test unless the guest powers off. */
void payload_run(struct payload_machine *machine);
uint32_t payload_result(struct payload_machine *machine, uint32_t n);
/* Reads exactly `size` bytes that the guest sent, or what came within 5 s; returns how many. */
uint32_t payload_serial(struct payload_machine *machine, void *to, uint32_t size);

/* main() of a payload test: skips all with a reason where there is no usable KVM. */
int payload_main(Suite *(*make_suite)(void));

#endif
