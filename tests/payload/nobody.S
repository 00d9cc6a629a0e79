/*
 * A kernel that touches what nobody has, as fast as it can, and nothing else: the first CPU memory, all others ports. Every 256 rounds each
 * sends a letter to COM1, "m" or "p". An ELF file entered in 64-bit mode with 4 GiB mapped one to one, as rayvm boots a vmlinux.
 * The tests in guests.S look at the values; this one is for what happens beside it.
 */
#define NOBODY 0xd0000000
#define AP_PAGE 0x10 /* where the others start, in real mode; the page tables are at 9 to 0xe */
#define COM1 0x3f8

.section .note.GNU-stack, "", @progbits
.text
.globl _start
.code64
_start:
	lea others(%rip), %rsi
	mov $(AP_PAGE << 12), %edi
	mov $(others_end - others), %ecx
	cld
	rep movsb
	mov $0xfee00000, %ebx
	movl $0x1ff, 0xf0(%rbx)
	movl $0x000c4500, 0x300(%rbx) /* INIT to all others */
	movl $(0x000c4600 | AP_PAGE), 0x300(%rbx) /* start-up */
	mov $NOBODY, %ebx
1:	mov $256, %ebp
2:	mov (%rbx), %al
	mov 1(%rbx), %ax
	mov 0xffe(%rbx), %eax /* across pages */
	mov (%rbx), %rax
	mov %al, (%rbx)
	mov %ax, 0xfff(%rbx)
	mov %rax, 5(%rbx)
	mov %ebx, %edi
	mov $4, %ecx
	rep stosl
	dec %ebp
	jnz 2b
	mov $COM1, %dx
	mov $'m', %al
	out %al, %dx
	jmp 1b

.code16
others:
	xor %ax, %ax
	mov %ax, %es
	cld
1:	mov $256, %bp
2:	mov $0x1234, %dx
	in %dx, %al
	in %dx, %ax
	in %dx, %eax
	out %eax, %dx
	mov $0xffff, %dx /* past the last port */
	in %dx, %eax
	out %eax, %dx
	mov $0x123, %dx
	out %al, %dx
	mov $0x7800, %di
	mov $16, %cx
	rep insw
	dec %bp
	jnz 2b
	mov $COM1, %dx
	mov $'p', %al
	out %al, %dx
	jmp 1b
others_end:
