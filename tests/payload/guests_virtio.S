/* The guests of test_virtio.c: a virtio driver in a few dozen instructions. */
#include "payload.h"

#define SLOT5 0xe0028000
#define BAR 0xd0000000
#define COMMON(offset) BAR + (offset)
#define NOTIFY BAR + 0x3000
#define VECTOR0 BAR + 0x4000
#define VECTOR1 BAR + 0x4010
#define DESC 0x200000
#define AVAIL 0x201000
#define USED 0x202000
#define HEADER 0x203000
#define OUT_DATA 0x204000
#define IN_DATA 0x205000
#define STATUS 0x206000
#define ROUNDS 100
#define DRIVERS 3

.section .note.GNU-stack, "", @progbits
.section .rodata
.code32

/*
 * virtio-blk in slot 5: writes a sector, then reads it ROUNDS times, each time notifying and sleeping until the interrupt.
 * Results: 0 interrupts, 1 status after FEATURES_OK, 2 used index, 3 the last request's status, 4 the first dword read, 5 device status.
 */
GUEST(guest_virtqueue)
	/* interrupt gate 0x40 */
	mov $AT(guest_virtqueue, handler), %eax
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
	movl $0x1ff, 0xfee000f0 /* local APIC on */

	/* the BAR to where 32 bits reach; decode, bus master */
	movl $BAR, SLOT5 + 0x10
	movl $0, SLOT5 + 0x14
	movw $6, SLOT5 + 4
	/* MSI-X on: its capability is somewhere in the list */
	movzbl SLOT5 + 0x34, %esi
1:	movzwl SLOT5(%esi), %eax
	cmp $0x11, %al
	je 2f
	movzbl %ah, %esi
	jmp 1b
2:	movw $0x8000, SLOT5 + 2(%esi)
	movl $0xfee00000, VECTOR1
	movl $0, VECTOR1 + 4
	movl $0x40, VECTOR1 + 8
	movl $0, VECTOR1 + 12

	/* the handshake, with VIRTIO_F_VERSION_1 alone */
	movb $0, COMMON(20)
	movb $1, COMMON(20)
	movb $3, COMMON(20)
	movl $1, COMMON(8)
	movl $1, COMMON(12)
	movb $11, COMMON(20)
	movzbl COMMON(20), %eax
	RESULT(1)
	/* queue 0 */
	movw $0, COMMON(22)
	movw $8, COMMON(24)
	movw $1, COMMON(26)
	movl $DESC, COMMON(32)
	movl $AVAIL, COMMON(40)
	movl $USED, COMMON(48)
	movw $1, COMMON(28)
	movb $15, COMMON(20)

	/* header, data, status; the first request writes */
	movl $HEADER, DESC
	movl $16, DESC + 8
	movl $0x00010001, DESC + 12 /* NEXT; next 1 */
	movl $OUT_DATA, DESC + 16
	movl $512, DESC + 24
	movl $0x00020001, DESC + 28
	movl $STATUS, DESC + 32
	movl $1, DESC + 40
	movl $0x00000002, DESC + 44 /* WRITE */
	movl $1, HEADER
	movl $3, HEADER + 8 /* sector */
	movl $0x5aa5c33c, OUT_DATA
	mov $(ROUNDS + 1), %esi
3:	movb $0xee, STATUS
	cli
	incw AVAIL + 2 /* all ring entries are 0, the head */
	movw $0, NOTIFY
	sti
	hlt
	/* from now on it reads */
	movl $0, HEADER
	movl $IN_DATA, DESC + 16
	movl $0x00020003, DESC + 28
	dec %esi
	jnz 3b

	movzwl USED + 2, %eax
	RESULT(2)
	movzbl STATUS, %eax
	RESULT(3)
	mov IN_DATA, %eax
	RESULT(4)
	movzbl COMMON(20), %eax
	RESULT(5)
	mov $0x604, %dx
	mov $0x3400, %ax /* SLP_EN, sleep type 5 */
	out %ax, %dx
4:	hlt
	jmp 4b
handler:
	incl PAYLOAD_RESULTS
	movl $0, 0xfee000b0
	/* IRET by hand: KVM's emulator knows it in real mode only */
	pop %eax
	add $4, %esp
	popf
	jmp *%eax
GUEST_END(guest_virtqueue)

/* Interrupt gate `n` to a label of the guest. */
.macro GATE guest, label, n
	mov $AT(\guest, \label), %eax
	mov %eax, %ecx
	and $0xffff, %eax
	or $(PAYLOAD_CS32 << 16), %eax
	mov %eax, PAYLOAD_IDT + \n * 8
	and $0xffff0000, %ecx
	or $0x8e00, %ecx
	mov %ecx, PAYLOAD_IDT + \n * 8 + 4
.endm

/* Counts in result n. IRET by hand: KVM's emulator knows it in real mode only. */
.macro COUNTING_HANDLER n
	incl PAYLOAD_RESULTS + 4 * \n
	movl $0, 0xfee000b0
	pop %eax
	add $4, %esp
	popf
	jmp *%eax
.endm

/*
 * The same disk, three drivers one after the other. Each reads ROUNDS times, and moves its interrupt to another vector every 16 requests (P2).
 * Then it makes a head available that does not exist (Q5), sleeps until the device says so, and the next one begins with a reset.
 * Results: 0 and 1 interrupts by vector, 2 configuration interrupts, 3 the last request's status, 4 sum of the used indexes,
 * 5 device status after the last break, 6 after the last start.
 */
GUEST(guest_broken_ring)
	GATE guest_broken_ring, on_40, 0x40
	GATE guest_broken_ring, on_41, 0x41
	GATE guest_broken_ring, on_config, 0x42
	movw $0x7ff, 0x5ff0
	movl $PAYLOAD_IDT, 0x5ff2
	lidt 0x5ff0
	movl $0x1ff, 0xfee000f0 /* local APIC on */
	movl $BAR, SLOT5 + 0x10
	movl $0, SLOT5 + 0x14
	movw $6, SLOT5 + 4
	movzbl SLOT5 + 0x34, %esi
1:	movzwl SLOT5(%esi), %eax
	cmp $0x11, %al
	je 2f
	movzbl %ah, %esi
	jmp 1b
2:	movw $0x8000, SLOT5 + 2(%esi)
	movl $0xfee00000, VECTOR0
	movl $0, VECTOR0 + 4
	movl $0x42, VECTOR0 + 8
	movl $0, VECTOR0 + 12
	movl $0xfee00000, VECTOR1
	movl $0, VECTOR1 + 4
	movl $0x40, VECTOR1 + 8
	movl $0, VECTOR1 + 12
	mov $0x40, %ebx
	mov $DRIVERS, %edi

3:	movl $0, AVAIL
	movl $0, AVAIL + 4
	movl $0, AVAIL + 8
	movl $0, AVAIL + 12
	movl $0, AVAIL + 16
	movl $0, USED
	movb $0, COMMON(20)
	movb $1, COMMON(20)
	movb $3, COMMON(20)
	movl $1, COMMON(8)
	movl $1, COMMON(12)
	movb $11, COMMON(20)
	movw $0, COMMON(16)
	movw $0, COMMON(22)
	movw $8, COMMON(24)
	movw $1, COMMON(26)
	movl $DESC, COMMON(32)
	movl $AVAIL, COMMON(40)
	movl $USED, COMMON(48)
	movw $1, COMMON(28)
	movb $15, COMMON(20)
	movzbl COMMON(20), %eax
	RESULT(6)
	movl $HEADER, DESC
	movl $16, DESC + 8
	movl $0x00010001, DESC + 12
	movl $IN_DATA, DESC + 16
	movl $512, DESC + 24
	movl $0x00020003, DESC + 28
	movl $STATUS, DESC + 32
	movl $1, DESC + 40
	movl $0x00000002, DESC + 44
	movl $0, HEADER

	mov $ROUNDS, %esi
4:	test $15, %esi
	jnz 5f
	/* masked, rewritten, unmasked, as Linux does */
	movl $1, VECTOR1 + 12
	xor $1, %ebx
	movl %ebx, VECTOR1 + 8
	movl $0, VECTOR1 + 12
5:	movb $0xee, STATUS
	cli
	incw AVAIL + 2
	movw $0, NOTIFY
	sti
	hlt
	dec %esi
	jnz 4b
	movzwl USED + 2, %eax
	add %eax, PAYLOAD_RESULTS + 4 * 4
	movzbl STATUS, %eax
	RESULT(3)

	movl $0x00630063, AVAIL + 4
	movl $0x00630063, AVAIL + 8
	movl $0x00630063, AVAIL + 12
	movl $0x00630063, AVAIL + 16
	cli
	incw AVAIL + 2
	movw $0, NOTIFY
	sti
	hlt
	movzbl COMMON(20), %eax
	RESULT(5)
	dec %edi
	jnz 3b
	mov $0x604, %dx
	mov $0x3400, %ax
	out %ax, %dx
6:	hlt
	jmp 6b
on_40:
	COUNTING_HANDLER 0
on_41:
	COUNTING_HANDLER 1
on_config:
	COUNTING_HANDLER 2
GUEST_END(guest_broken_ring)
