/*
 * A kernel that gives each virtio-input device eight event buffers, never looks at them again, and spins with interrupts off: nothing gets it off its CPU, and
 * its event queues stay full after eight events. An ELF file entered in 64-bit mode with 4 GiB mapped one to one, as rayvm boots a vmlinux.
 * "w" on COM1: it is there. Numbers after (%rbx) are PCI's (linux/pci_regs.h), after (%rsi) virtio's (VIRTIO_PCI_COMMON_* in linux/virtio_pci.h), as in flood.c.
 */
#define ECAM 0xe0000000
#define SLOT_SIZE 0x8000
#define BARS 0xd0000000
#define RINGS 0x400000
#define EACH 0x10000 /* a BAR, a device's rings */
#define VIRTIO_INPUT 0x10521af4
#define BUFFERS 8
#define COM1 0x3f8

.section .note.GNU-stack, "", @progbits
.text
.globl _start
.code64
_start:
	mov $ECAM, %ebx
	mov $BARS, %esi
	mov $RINGS, %edi
	mov $32, %ebp
1:	cmpl $VIRTIO_INPUT, (%rbx)
	jne 3f
	movl %esi, 0x10(%rbx)
	movl $0, 0x14(%rbx)
	movw $6, 4(%rbx) /* memory, bus master */
	movb $0, 20(%rsi)
	movb $1, 20(%rsi)
	movb $3, 20(%rsi)
	movl $1, 8(%rsi)
	movl $1, 12(%rsi) /* VIRTIO_F_VERSION_1 alone */
	movb $11, 20(%rsi)
	movw $0, 22(%rsi) /* the event queue */
	movw $BUFFERS, 24(%rsi)
	movl %edi, 32(%rsi)
	lea 0x1000(%rdi), %eax
	movl %eax, 40(%rsi)
	lea 0x2000(%rdi), %eax
	movl %eax, 48(%rsi)
	movw $1, 28(%rsi)
	xor %ecx, %ecx
2:	mov %ecx, %edx
	shl $4, %edx
	add %edi, %edx
	lea 0x3000(%rdi,%rcx,8), %rax
	mov %rax, (%rdx)
	movl $8, 8(%rdx)
	movl $2, 12(%rdx) /* WRITE */
	movw %cx, 0x1004(%rdi,%rcx,2)
	inc %ecx
	cmp $BUFFERS, %ecx
	jb 2b
	movw $BUFFERS, 0x1002(%rdi)
	movb $15, 20(%rsi)
	add $EACH, %esi
	add $EACH, %edi
3:	add $SLOT_SIZE, %ebx
	dec %ebp
	jnz 1b
	mov $COM1, %dx
	mov $'w', %al
	out %al, %dx
4:	jmp 4b
