/*
 * What all fuzz targets share: an input of fixed-size operations, a mutator that keeps them whole, and checks that end the
 * process. A target is one file with fuzz_one(); libFuzzer drives it. README.md tells how to run, add and read them.
 *
 * An input of operations is a sequence of struct fuzz_op, 16 bytes each; what is left at the end is ignored. Fixed size
 * lets the fuzzer move, repeat and splice them without losing the meaning of those behind. Targets that read a file or a text
 * take the bytes as they are.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fuzz_op {
	uint8_t op, a;
	uint16_t b;
	uint32_t c;
	uint64_t d;
};
_Static_assert(sizeof(struct fuzz_op) == 16, "an input is an array of these");

#define FUZZ_MAX_OPS 256 /* of one input: what comes behind is ignored */

/* How a target wants its inputs changed. Each target defines one. */
struct fuzz_target {
	bool operations;      /* the input is operations, not bytes */
	const uint8_t *ops;   /* those it knows */
	uint32_t n_ops;
	const uint64_t *values; /* numbers worth trying in c and d beside the usual ones; may be NULL */
	uint32_t n_values;
};
extern const struct fuzz_target fuzz_target;

/* Once, before all inputs. */
void fuzz_start(void);
/* One input: makes everything, uses it, takes everything down. */
void fuzz_one(const uint8_t *data, size_t size);

/* Operation i of the input; false behind the last. */
bool fuzz_op_at(const uint8_t *data, size_t size, uint32_t i, struct fuzz_op *op);

/* What must hold whatever the input is. Says what and where, and ends the process so that the fuzzer keeps the input. */
#define FUZZ_CHECK(condition, ...) \
	do { \
		if (!(condition)) \
			fuzz_fail(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)
void fuzz_fail(const char *file, int line, const char *format, ...) __attribute__((noreturn, format(printf, 3, 4)));

/* The lowest free descriptor number: the same before and after when nothing leaked. */
int fuzz_next_fd(void);
