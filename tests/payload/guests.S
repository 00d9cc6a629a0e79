/* The guests of test_machine.c. AT&T syntax; each is copied to PAYLOAD_CODE and runs there. */
#include "payload.h"

.section .rodata
.section .note.GNU-stack, "", @progbits
.section .rodata

.macro power_off
	mov $0x604, %dx
	mov $0x3400, %ax /* SLP_EN, sleep type 5 */
	out %ax, %dx
9:	hlt
	jmp 9b
.endm

.code16

/* Sends "ok" and what is read from a port nobody has, then powers off. ds = 0. */
GUEST(guest_port_io)
	mov $0x3f8, %dx
	mov $'o', %al
	out %al, %dx
	mov $'k', %al
	out %al, %dx
	mov $0x510, %dx
	xor %ax, %ax
	in %dx, %ax
	mov %ax, PAYLOAD_RESULTS
	in %dx, %al
	inc %dx
	mov $0x1234, %ax
	out %ax, %dx
	/* string output, four bytes at once */
	mov $0x6162, %ax
	mov %ax, 0x7800
	mov $0x6364, %ax
	mov %ax, 0x7802
	mov $0x7800, %si
	mov $4, %cx
	mov $0x3f8, %dx
	cld
	rep outsb
	/* a string read of nothing */
	mov $(PAYLOAD_RESULTS + 4), %di
	mov $2, %cx
	mov $0x51a, %dx
	rep insw
	power_off
GUEST_END(guest_port_io)

.code32

/* Config space by both ways, MMIO to nothing, PM timer. */
GUEST(guest_config)
	mov $0xcf8, %dx
	mov $0x80000000, %eax
	out %eax, %dx
	mov $0xcfc, %dx
	in %dx, %eax
	RESULT(0)
	mov 0xe0000000, %eax
	RESULT(1)
	movzwl 0xe0000002, %eax
	RESULT(2)
	mov 0xe00f8000, %eax /* slot 31: nobody */
	RESULT(3)
	mov $0x12345678, %eax
	mov %eax, 0xd0000000 /* nobody's either */
	mov 0xd0000000, %eax
	RESULT(4)
	movzbl 0xd0000001, %eax
	RESULT(5)
	mov $0x608, %dx
	in %dx, %eax
	RESULT(6)
	mov $1000, %ecx
1:	dec %ecx
	jnz 1b
	in %dx, %eax
	RESULT(7)
	power_off
GUEST_END(guest_config)

/* Test device in slot 5: BAR 0 of 64 bits, BAR 2 of 32. Moves BAR 2 about; result n: dword read at BAR 2's place. */
#define SLOT5 0xe0028000
GUEST(guest_bars)
	mov SLOT5 + 0x18, %eax
	and $~0xf, %eax
	mov %eax, %ebx
	RESULT(0)
	mov (%ebx), %eax /* not decoded yet */
	RESULT(1)
	movw $6, SLOT5 + 4
	mov (%ebx), %eax
	RESULT(2)
	/* onto RAM: RAM stays RAM */
	movl $0xfeedf00d, 0x200000
	movl $0x200000, SLOT5 + 0x18
	mov 0x200000, %eax
	RESULT(3)
	mov (%ebx), %eax /* and the old place is empty */
	RESULT(4)
	/* onto ECAM: config space still answers */
	movl $0xe0000000, SLOT5 + 0x18
	mov 0xe0000000, %eax
	RESULT(5)
	/* onto the local APIC: its version register still answers */
	movl $0xfee00000, SLOT5 + 0x18
	mov 0xfee00030, %eax
	RESULT(6)
	/* somewhere good */
	movl $0xd1230000, SLOT5 + 0x18
	mov 0xd1230000, %eax
	RESULT(7)
	power_off
GUEST_END(guest_bars)

/*
 * Interrupts by MSI-X, vector 0x40: BAR 2 of slot 5 has the table at 0x1000; a write to its offset 0 makes the device signal
 * vector 0 of MSI-X. Result 0 counts in the handler.
 */
GUEST(guest_msix)
	/* interrupt gate 0x40 */
	mov $AT(guest_msix, msix_handler), %eax
	mov %eax, %ecx
	and $0xffff, %eax
	or $(PAYLOAD_CS32 << 16), %eax
	mov %eax, PAYLOAD_IDT + 0x40 * 8
	and $0xffff0000, %ecx
	or $0x8e00, %ecx
	mov %ecx, PAYLOAD_IDT + 0x40 * 8 + 4
	movw $0x7ff, 0x5ff0
	movl $PAYLOAD_IDT, 0x5ff2
	lidt 0x5ff0
	/* local APIC on */
	movl $0x1ff, 0xfee000f0
	/* the device: decode, bus master; MSI-X on */
	mov SLOT5 + 0x18, %ebx
	and $~0xf, %ebx
	movw $6, SLOT5 + 4
	movw $0x8000, SLOT5 + 0x42
	movl $0xfee00000, 0x1000(%ebx)
	movl $0, 0x1004(%ebx)
	movl $0x40, 0x1008(%ebx)
	/* signalled while masked: pending, not delivered */
	sti
	movl $1, (%ebx)
	mov $200, %ecx
1:	dec %ecx
	jnz 1b
	mov PAYLOAD_RESULTS, %eax
	RESULT(1)
	mov 0x1800(%ebx), %eax /* PBA */
	RESULT(2)
	/* unmasked: delivered */
	cli
	movl $0, 0x100c(%ebx)
	sti
	hlt
	mov PAYLOAD_RESULTS, %eax
	RESULT(3)
	/* three more */
	mov $3, %esi
2:	cli
	movl $1, (%ebx)
	sti
	hlt
	dec %esi
	jnz 2b
	mov PAYLOAD_RESULTS, %eax
	RESULT(4)
	power_off
msix_handler:
	incl PAYLOAD_RESULTS
	movl $0, 0xfee000b0
	/* IRET by hand: KVM's emulator knows it in real mode only */
	pop %eax
	add $4, %esp
	popf
	jmp *%eax
GUEST_END(guest_msix)

/* Notifies a doorbell at BAR 2 + 0x10 100 times, with writes of several widths, moves the BAR, notifies 10 times more. */
GUEST(guest_doorbell)
	mov SLOT5 + 0x18, %ebx
	and $~0xf, %ebx
	movw $6, SLOT5 + 4
	mov $50, %ecx
1:	movw $0, 0x10(%ebx)
	movl $0, 0x10(%ebx)
	dec %ecx
	jnz 1b
	movl $0xd4560000, SLOT5 + 0x18
	movl $1, 0x10(%ebx) /* the old place is nobody's now */
	mov $0xd4560000, %ebx
	mov $10, %ecx
2:	movw $0, 0x10(%ebx)
	dec %ecx
	jnz 2b
	power_off
GUEST_END(guest_doorbell)

GUEST(guest_triple_fault)
	movw $0, 0x5ff0
	movl $0, 0x5ff2
	lidt 0x5ff0
	mov $0xdead, %eax
	ud2
GUEST_END(guest_triple_fault)

/* Resets through port 0xcf9 unless RAM says that this is not the first time; RAM is fresh each time, so it always does. */
GUEST(guest_reset)
	mov 0x300000, %eax
	RESULT(0)
	movl $1, 0x300000
	mov $0xcf9, %dx
	mov $0x02, %al
	out %al, %dx
	mov $0x06, %al
	out %al, %dx
1:	hlt
	jmp 1b
GUEST_END(guest_reset)

/* A kernel that reboots tries one way after the other: 0xcf9, whose write KVM keeps while the guest boots, then a triple fault. */
GUEST(guest_reset_then_fault)
	mov $0xcf9, %dx
	mov $0x02, %al
	out %al, %dx
	mov $0x06, %al
	out %al, %dx
	movw $0, 0x5ff0
	movl $0, 0x5ff2
	lidt 0x5ff0
	ud2
GUEST_END(guest_reset_then_fault)

/* The same, and then it powers off. */
GUEST(guest_reset_then_power_off)
	mov $0xcf9, %dx
	mov $0x06, %al
	out %al, %dx
	power_off
GUEST_END(guest_reset_then_power_off)

/* 1000 times vendor and device of the host bridge by ports, each time checked; then the address register as it reads. */
GUEST(guest_many_configs)
	mov $1000, %ecx
	xor %ebx, %ebx
1:	mov $0xcf8, %dx
	mov $0x80000000, %eax
	out %eax, %dx
	mov $0xcfc, %dx
	in %dx, %eax
	cmp $0x29c08086, %eax
	jne 2f
	mov $0xcf8, %dx
	mov $0x80000008, %eax
	out %eax, %dx
	mov $0xcff, %dx /* class code */
	in %dx, %al
	cmp $6, %al
	jne 2f
	inc %ebx
2:	dec %ecx
	jnz 1b
	mov %ebx, %eax
	RESULT(0)
	/* more than the ring holds, without anything that reads: the last one counts */
	mov $0xcf8, %dx
	mov $400, %ecx
	mov $0x80000000, %eax
3:	out %eax, %dx
	add $4, %eax
	dec %ecx
	jnz 3b
	in %dx, %eax
	RESULT(1)
	mov $1, %eax
	RESULT(2)
4:	mov PAYLOAD_RESULTS + 4 * 3, %eax
	test %eax, %eax
	jz 4b
	power_off
GUEST_END(guest_many_configs)

/* Reads the TSC all the time; result 0: how often, 1: the largest difference between two readings. */
GUEST(guest_clock)
	xor %esi, %esi
	xor %edi, %edi
	rdtsc
	mov %eax, %ebx
1:	rdtsc
	mov %eax, %ecx
	sub %ebx, %eax
	mov %ecx, %ebx
	cmp %edi, %eax
	jbe 2f
	mov %eax, %edi
	RESULT(1)
2:	inc %esi
	mov %esi, %eax
	RESULT(0)
	jmp 1b
GUEST_END(guest_clock)

/*
 * The local APIC's timer in TSC-deadline mode, vector 0x40: once for a moment to come, once for one that is past, once disarmed before it comes.
 * The TSC is read as an MSR: where ring 0 is interpreted, RDTSC gives the host's. Results: 0 interrupts; 1 CPUID 1 ecx; 2, 3 interrupts
 * after the first and the second; 4 the deadline's low half as it reads while armed, 5 as it reads after; 6 how late the first came, TSC cycles, high half.
 */
#define TSC 0x10
#define TSC_DEADLINE 0x6e0
#define AHEAD 20000000
GUEST(guest_tsc_deadline)
	mov $1, %eax
	cpuid
	mov %ecx, PAYLOAD_RESULTS + 4
	mov $AT(guest_tsc_deadline, deadline_handler), %eax
	mov %eax, %ecx
	and $0xffff, %eax
	or $(PAYLOAD_CS32 << 16), %eax
	mov %eax, PAYLOAD_IDT + 0x40 * 8
	and $0xffff0000, %ecx
	or $0x8e00, %ecx
	mov %ecx, PAYLOAD_IDT + 0x40 * 8 + 4
	movw $0x7ff, 0x5ff0
	movl $PAYLOAD_IDT, 0x5ff2
	lidt 0x5ff0
	movl $0x1ff, 0xfee000f0
	movl $0x40040, 0xfee00320 /* LVT timer: TSC-deadline, not masked */
	/* to come */
	mov $TSC, %ecx
	rdmsr
	add $AHEAD, %eax
	adc $0, %edx
	mov %eax, %esi
	mov %edx, %edi
	mov $TSC_DEADLINE, %ecx
	wrmsr
	rdmsr
	sub %esi, %eax
	RESULT(4)
	sti
	hlt
	cli
	mov $TSC, %ecx
	rdmsr
	sub %esi, %eax
	sbb %edi, %edx
	mov %edx, PAYLOAD_RESULTS + 4 * 6
	mov $TSC_DEADLINE, %ecx
	rdmsr
	RESULT(5)
	mov PAYLOAD_RESULTS, %eax
	RESULT(2)
	/* past */
	mov $1, %eax
	xor %edx, %edx
	wrmsr
	sti
	hlt
	cli
	mov PAYLOAD_RESULTS, %eax
	RESULT(3)
	/* disarmed: waited for twice as long by the clock */
	mov $TSC, %ecx
	rdmsr
	add $AHEAD, %eax
	adc $0, %edx
	mov %eax, %esi
	mov $TSC_DEADLINE, %ecx
	wrmsr
	xor %eax, %eax
	xor %edx, %edx
	wrmsr
	sti
1:	mov $TSC, %ecx
	rdmsr
	sub %esi, %eax
	sub $AHEAD, %eax
	js 1b
	cli
	power_off
deadline_handler:
	incl PAYLOAD_RESULTS
	movl $0, 0xfee000b0
	pop %eax
	add $4, %esp
	popf
	jmp *%eax
GUEST_END(guest_tsc_deadline)

GUEST(guest_keyboard_reset)
	mov $0x64, %dx
1:	in %dx, %al
	test $2, %al
	jnz 1b
	mov $0xfe, %al
	out %al, %dx
2:	hlt
	jmp 2b
GUEST_END(guest_keyboard_reset)

/* Sends back what it receives on COM1, until a 'q'. */
GUEST(guest_echo)
	mov $0x3fd, %dx
1:	in %dx, %al
	test $1, %al
	jz 1b
	mov $0x3f8, %dx
	in %dx, %al
	cmp $'q', %al
	je 2f
	out %al, %dx
	mov $0x3fd, %dx
	jmp 1b
2:	power_off
GUEST_END(guest_echo)

/* Sends 200000 bytes that nobody reads. */
GUEST(guest_flood)
	mov $0x3f8, %dx
	mov $200000, %ecx
	mov $0x100000, %esi
	cld
	rep outsb
	power_off
GUEST_END(guest_flood)

/* Counts for ever. */
GUEST(guest_counter)
1:	incl PAYLOAD_RESULTS
	jmp 1b
GUEST_END(guest_counter)

/* Stops with interrupts off and nothing to wake it: only the host can end this. */
GUEST(guest_halt)
	cli
	movl $1, PAYLOAD_RESULTS
1:	hlt
	jmp 1b
GUEST_END(guest_halt)

/* Waits until the power button's status bit shows, clears it, powers off. */
GUEST(guest_button)
	movl $1, PAYLOAD_RESULTS
	mov $0x600, %dx
1:	in %dx, %ax
	test $0x100, %ax
	jz 1b
	mov $0x100, %ax
	out %ax, %dx
	xor %eax, %eax
	in %dx, %ax
	RESULT(1)
	power_off
GUEST_END(guest_button)

/* Starts the second CPU at 0x9000 by INIT and SIPI; that one leaves its APIC id (from CPUID) + 1 as result 1. */
GUEST(guest_smp)
	mov $AT(guest_smp, second_cpu), %esi
	mov $0x9000, %edi
	mov $(second_cpu_end - second_cpu), %ecx
	cld
	rep movsb
	movl $0x1ff, 0xfee000f0
	movl $0x01000000, 0xfee00310
	movl $0x00004500, 0xfee00300 /* INIT */
	movl $0x01000000, 0xfee00310
	movl $0x00004609, 0xfee00300 /* start-up at page 9 */
1:	pause
	mov PAYLOAD_RESULTS + 4, %eax
	test %eax, %eax
	jz 1b
	mov $1, %eax
	cpuid
	shr $24, %ebx
	mov %ebx, PAYLOAD_RESULTS
	power_off
.code16
second_cpu:
	xor %ax, %ax
	mov %ax, %ds
	mov $1, %eax
	cpuid
	shr $24, %ebx
	inc %ebx
	mov %ebx, PAYLOAD_RESULTS + 4
2:	cli
	hlt
	jmp 2b
second_cpu_end:
GUEST_END(guest_smp)

/*
 * Reads and writes what nobody has, all widths, aligned and not, on all CPUs for ever: the first one memory, the others ports.
 * Results: 0 rounds of the first, 1 other CPUs, 2 their rounds, 3 answers that were not all ones.
 */
.code32
#define NOBODY 0xd0000000
GUEST(guest_nobody)
	mov $AT(guest_nobody, port_cpu), %esi
	mov $0x9000, %edi
	mov $(port_cpu_end - port_cpu), %ecx
	cld
	rep movsb
	movl $0x1ff, 0xfee000f0
	movl $0x000c4500, 0xfee00300 /* INIT to all others */
	movl $0x000c4609, 0xfee00300 /* start-up at page 9 */
1:	xor %eax, %eax
	mov NOBODY, %al
	cmp $0xff, %al
	jne 8f
	mov NOBODY + 1, %ax
	cmp $0xffff, %ax
	jne 8f
	mov NOBODY + 3, %eax
	cmp $-1, %eax
	jne 8f
	mov NOBODY + 0xffe, %eax /* across pages */
	cmp $-1, %eax
	jne 8f
	mov NOBODY - 2, %eax
	mov %al, NOBODY
	mov %ax, NOBODY + 0xfff
	mov %eax, NOBODY + 5
	mov $NOBODY, %edi
	mov $4, %ecx
	rep stosl
	incl PAYLOAD_RESULTS
	jmp 1b
8:	incl PAYLOAD_RESULTS + 12
	jmp 1b
.code16
port_cpu:
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	lock incl PAYLOAD_RESULTS + 4
	cld
1:	mov $0x1234, %dx
	in %dx, %al
	cmp $0xff, %al
	jne 8f
	in %dx, %ax
	cmp $0xffff, %ax
	jne 8f
	in %dx, %eax
	cmp $-1, %eax
	jne 8f
	mov $0xffff, %dx /* past the last port */
	in %dx, %eax
	out %eax, %dx
	mov $0x123, %dx
	in %dx, %eax
	cmp $-1, %eax
	jne 8f
	out %al, %dx
	out %ax, %dx
	out %eax, %dx
	mov $0x7800, %di
	mov $16, %cx
	rep insw
	cmpl $-1, 0x7804
	jne 8f
	lock incl PAYLOAD_RESULTS + 8
	jmp 1b
8:	lock incl PAYLOAD_RESULTS + 12
	jmp 1b
port_cpu_end:
GUEST_END(guest_nobody)
