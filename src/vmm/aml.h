/* A small AML writer (ACPI 6.4, chapter 20). Overflow of the buffer sets `full` and writes nothing more. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *bytes;
	size_t used, size;
	bool full;
};

void aml_raw(struct aml *aml, const void *bytes, size_t size);
void aml_u8(struct aml *aml, uint8_t value);
void aml_u16(struct aml *aml, uint16_t value);
void aml_u32(struct aml *aml, uint32_t value);
void aml_u64(struct aml *aml, uint64_t value);
/* One name segment, padded with '_' to four characters. */
void aml_segment(struct aml *aml, const char *name);
/* An integer object in its shortest form. */
void aml_integer(struct aml *aml, uint64_t value);

/* An object with a PkgLength: returns a mark for aml_end(). */
size_t aml_scope(struct aml *aml, const char *name);  /* \name */
size_t aml_device(struct aml *aml, const char *name);
size_t aml_method(struct aml *aml, const char *name, uint8_t arguments);
size_t aml_package(struct aml *aml, uint8_t elements);
void aml_end(struct aml *aml, size_t mark);

/* Name(name, ...): the object follows. */
void aml_name(struct aml *aml, const char *name);
void aml_name_integer(struct aml *aml, const char *name, uint64_t value);
void aml_name_string(struct aml *aml, const char *name, const char *text);
/* Name(name, EISAID("PNP0A08")). */
void aml_name_eisaid(struct aml *aml, const char *name, const char *id);

/* Name(_CRS, ResourceTemplate { ... }): descriptors between begin and end. */
struct aml_resources {
	size_t package, length_at, start;
};
void aml_resources_begin(struct aml *aml, struct aml_resources *resources);
void aml_resources_end(struct aml *aml, const struct aml_resources *resources);
/* Fixed ports [base, base + size), 16-bit decode. */
void aml_io(struct aml *aml, uint16_t base, uint8_t size);
void aml_irq(struct aml *aml, uint8_t irq);
/* Memory32Fixed, read-write. */
void aml_memory32(struct aml *aml, uint32_t base, uint32_t size);
/* Address spaces a bridge passes on. type: 0 memory, 1 I/O, 2 bus numbers. */
void aml_word_space(struct aml *aml, uint8_t type, uint16_t base, uint16_t last);
void aml_dword_memory(struct aml *aml, uint32_t base, uint32_t last);
void aml_qword_memory(struct aml *aml, uint64_t base, uint64_t last);
