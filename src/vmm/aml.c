#include "vmm/aml.h"

#include <string.h>

/* Opcodes, ACPI 6.4, 20.3. */
#define OP_NAME 0x08
#define OP_BYTE 0x0a
#define OP_WORD 0x0b
#define OP_DWORD 0x0c
#define OP_STRING 0x0d
#define OP_QWORD 0x0e
#define OP_SCOPE 0x10
#define OP_BUFFER 0x11
#define OP_PACKAGE 0x12
#define OP_METHOD 0x14
#define OP_EXT 0x5b
#define OP_EXT_DEVICE 0x82

void aml_raw(struct aml *aml, const void *bytes, size_t size)
{
	if (aml->full || size > aml->size - aml->used) {
		aml->full = true;
		return;
	}
	memcpy(aml->bytes + aml->used, bytes, size);
	aml->used += size;
}

void aml_u8(struct aml *aml, uint8_t value)
{
	aml_raw(aml, &value, 1);
}

void aml_u16(struct aml *aml, uint16_t value)
{
	aml_raw(aml, &value, 2);
}

void aml_u32(struct aml *aml, uint32_t value)
{
	aml_raw(aml, &value, 4);
}

void aml_u64(struct aml *aml, uint64_t value)
{
	aml_raw(aml, &value, 8);
}

void aml_segment(struct aml *aml, const char *name)
{
	char segment[4] = { '_', '_', '_', '_' };
	memcpy(segment, name, strnlen(name, 4));
	aml_raw(aml, segment, 4);
}

void aml_integer(struct aml *aml, uint64_t value)
{
	if (value <= 1) {
		aml_u8(aml, (uint8_t)value); /* ZeroOp, OneOp */
	} else if (value <= UINT8_MAX) {
		aml_u8(aml, OP_BYTE);
		aml_u8(aml, (uint8_t)value);
	} else if (value <= UINT16_MAX) {
		aml_u8(aml, OP_WORD);
		aml_u16(aml, (uint16_t)value);
	} else if (value <= UINT32_MAX) {
		aml_u8(aml, OP_DWORD);
		aml_u32(aml, (uint32_t)value);
	} else {
		aml_u8(aml, OP_QWORD);
		aml_u64(aml, value);
	}
}

/* Room for a PkgLength, always in its three-byte form: nothing has to move when the length is known. */
static size_t begin(struct aml *aml)
{
	size_t mark = aml->used;
	aml_raw(aml, "\0\0", 3);
	return mark;
}

void aml_end(struct aml *aml, size_t mark)
{
	if (aml->full)
		return;
	size_t length = aml->used - mark; /* counts its own bytes; 20 bits */
	aml->bytes[mark] = (uint8_t)(0x80 | (length & 0xf));
	aml->bytes[mark + 1] = (uint8_t)(length >> 4);
	aml->bytes[mark + 2] = (uint8_t)(length >> 12);
}

size_t aml_scope(struct aml *aml, const char *name)
{
	aml_u8(aml, OP_SCOPE);
	size_t mark = begin(aml);
	aml_u8(aml, '\\');
	aml_segment(aml, name);
	return mark;
}

size_t aml_device(struct aml *aml, const char *name)
{
	aml_u8(aml, OP_EXT);
	aml_u8(aml, OP_EXT_DEVICE);
	size_t mark = begin(aml);
	aml_segment(aml, name);
	return mark;
}

size_t aml_method(struct aml *aml, const char *name, uint8_t arguments)
{
	aml_u8(aml, OP_METHOD);
	size_t mark = begin(aml);
	aml_segment(aml, name);
	aml_u8(aml, arguments & 7);
	return mark;
}

size_t aml_package(struct aml *aml, uint8_t elements)
{
	aml_u8(aml, OP_PACKAGE);
	size_t mark = begin(aml);
	aml_u8(aml, elements);
	return mark;
}

void aml_name(struct aml *aml, const char *name)
{
	aml_u8(aml, OP_NAME);
	aml_segment(aml, name);
}

void aml_name_integer(struct aml *aml, const char *name, uint64_t value)
{
	aml_name(aml, name);
	aml_integer(aml, value);
}

void aml_name_string(struct aml *aml, const char *name, const char *text)
{
	aml_name(aml, name);
	aml_u8(aml, OP_STRING);
	aml_raw(aml, text, strlen(text) + 1);
}

static uint32_t hex(char digit)
{
	return (uint32_t)(digit <= '9' ? digit - '0' : digit - 'A' + 10);
}

void aml_name_eisaid(struct aml *aml, const char *name, const char *id)
{
	/* Three letters of five bits and four hex digits, big-endian (ACPI 6.4, 19.3.4). */
	uint32_t value = 0;
	for (int i = 0; i < 3; i++)
		value = value << 5 | ((uint32_t)(id[i] - '@') & 0x1f);
	for (int i = 3; i < 7; i++)
		value = value << 4 | hex(id[i]);
	aml_name(aml, name);
	aml_u8(aml, OP_DWORD);
	aml_u32(aml, __builtin_bswap32(value));
}

/* --- resource descriptors, ACPI 6.4, 6.4 ------------------------------------------------------------------------- */

void aml_resources_begin(struct aml *aml, struct aml_resources *resources)
{
	aml_name(aml, "_CRS");
	aml_u8(aml, OP_BUFFER);
	resources->package = begin(aml);
	aml_u8(aml, OP_WORD);
	resources->length_at = aml->used;
	aml_u16(aml, 0);
	resources->start = aml->used;
}

void aml_resources_end(struct aml *aml, const struct aml_resources *resources)
{
	aml_u16(aml, 0x0079); /* end tag; checksum 0: not computed, allowed */
	if (aml->full)
		return;
	uint16_t length = (uint16_t)(aml->used - resources->start);
	memcpy(aml->bytes + resources->length_at, &length, sizeof(length));
	aml_end(aml, resources->package);
}

void aml_io(struct aml *aml, uint16_t base, uint8_t size)
{
	aml_u8(aml, 0x47);
	aml_u8(aml, 1); /* decodes 16 bits */
	aml_u16(aml, base);
	aml_u16(aml, base);
	aml_u8(aml, 1);
	aml_u8(aml, size);
}

void aml_irq(struct aml *aml, uint8_t irq)
{
	aml_u8(aml, 0x22); /* edge, active high, exclusive */
	aml_u16(aml, (uint16_t)(1u << irq));
}

void aml_memory32(struct aml *aml, uint32_t base, uint32_t size)
{
	aml_u8(aml, 0x86);
	aml_u16(aml, 9);
	aml_u8(aml, 1);
	aml_u32(aml, base);
	aml_u32(aml, size);
}

/* Flags of an address space descriptor: producer, positive decode, both ends fixed. */
#define SPACE_FLAGS 0x0c
/* Type flags: memory read-write and not cached (a window for registers); all I/O ranges. */
static uint8_t space_specific(uint8_t type)
{
	return type == 0 ? 0x01 : type == 1 ? 0x03 : 0x00;
}

void aml_word_space(struct aml *aml, uint8_t type, uint16_t base, uint16_t last)
{
	aml_u8(aml, 0x88);
	aml_u16(aml, 13);
	aml_u8(aml, type);
	aml_u8(aml, SPACE_FLAGS);
	aml_u8(aml, space_specific(type));
	aml_u16(aml, 0);
	aml_u16(aml, base);
	aml_u16(aml, last);
	aml_u16(aml, 0);
	aml_u16(aml, (uint16_t)(last - base + 1));
}

void aml_dword_memory(struct aml *aml, uint32_t base, uint32_t last)
{
	aml_u8(aml, 0x87);
	aml_u16(aml, 23);
	aml_u8(aml, 0);
	aml_u8(aml, SPACE_FLAGS);
	aml_u8(aml, space_specific(0));
	aml_u32(aml, 0);
	aml_u32(aml, base);
	aml_u32(aml, last);
	aml_u32(aml, 0);
	aml_u32(aml, last - base + 1);
}

void aml_qword_memory(struct aml *aml, uint64_t base, uint64_t last)
{
	aml_u8(aml, 0x8a);
	aml_u16(aml, 43);
	aml_u8(aml, 0);
	aml_u8(aml, SPACE_FLAGS);
	aml_u8(aml, space_specific(0));
	aml_u64(aml, 0);
	aml_u64(aml, base);
	aml_u64(aml, last);
	aml_u64(aml, 0);
	aml_u64(aml, last - base + 1);
}
