#include "fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

/* The contract with libFuzzer; its headers are C++'s. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size, const uint8_t *two, size_t two_size, uint8_t *out, size_t max_size, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static int report_fd = STDERR_FILENO;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	/* -close_fd_mask takes stderr away from the log; failures are to be read all the same. */
	int fd = dup(STDERR_FILENO);
	if (fd >= 0)
		report_fd = fd;
	fuzz_start();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_one(data, size);
	return 0;
}

void fuzz_fail(const char *file, int line, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	dprintf(report_fd, "%s:%d: CHECK FAILED: %s\n", file, line, text);
	abort();
}

int fuzz_next_fd(void)
{
	int fd = dup(report_fd);
	if (fd >= 0)
		close(fd);
	return fd;
}

bool fuzz_op_at(const uint8_t *data, size_t size, uint32_t i, struct fuzz_op *op)
{
	if (i >= FUZZ_MAX_OPS || (size_t)i * sizeof(*op) + sizeof(*op) > size)
		return false;
	memcpy(op, data + (size_t)i * sizeof(*op), sizeof(*op));
	return true;
}

/* --- mutation of operations ---------------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" */
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 2685821657736338717ull) >> 32) % n;
}

static void seed_random(unsigned int seed)
{
	random_state = 0x9e3779b97f4a7c15ull ^ ((uint64_t)seed << 17 | seed);
	random_below(2);
}

/* A number at which sums wrap, sizes end, or signs change, or one of the target's, or one near it. */
static uint64_t interesting(void)
{
	static const uint64_t usual[] = {
		0, 1, 2, 3, 4, 7, 8, 15, 16, 255, 256, 511, 512, 513, 4095, 4096, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000,
		0xfffffff0, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, 0xfffffffffffffff0, 0xffffffffffffffff,
	};
	uint32_t n = (uint32_t)ARRAY_LEN(usual) + fuzz_target.n_values, i = random_below(n);
	uint64_t value = i < ARRAY_LEN(usual) ? usual[i] : fuzz_target.values[i - ARRAY_LEN(usual)];
	switch (random_below(8)) {
	case 0:
		return value + random_below(33);
	case 1:
		return value - random_below(33);
	default:
		return value;
	}
}

static void change_op(struct fuzz_op *op)
{
	switch (random_below(9)) {
	case 0:
		op->op = fuzz_target.ops[random_below(fuzz_target.n_ops)];
		break;
	case 1:
		op->a = (uint8_t)random_below(256);
		break;
	case 2:
		op->b = (uint16_t)interesting();
		break;
	case 3:
		op->b = (uint16_t)random_below(64);
		break;
	case 4:
		op->c = (uint32_t)interesting();
		break;
	case 5:
		op->d = interesting();
		break;
	case 6:
		op->a ^= (uint8_t)(1u << random_below(8));
		break;
	case 7:
		op->d ^= 1ull << random_below(64);
		break;
	default:
		op->c ^= 1u << random_below(32);
		break;
	}
}

static struct fuzz_op new_op(void)
{
	return (struct fuzz_op){
		.op = fuzz_target.ops[random_below(fuzz_target.n_ops)],
		.a = (uint8_t)random_below(random_below(2) ? 8 : 256),
		.b = (uint16_t)random_below(random_below(2) ? 16 : 65536),
		.c = (uint32_t)interesting(),
		.d = interesting(),
	};
}

static size_t mutate_operations(uint8_t *data, size_t size, size_t max_size)
{
	static struct fuzz_op ops[FUZZ_MAX_OPS];
	size_t most = max_size / sizeof(ops[0]);
	if (most > FUZZ_MAX_OPS)
		most = FUZZ_MAX_OPS;
	size_t n = size / sizeof(ops[0]);
	if (n > most)
		n = most;
	memcpy(ops, data, n * sizeof(ops[0]));
	for (uint32_t rounds = 1 + random_below(4); rounds > 0; rounds--) {
		uint32_t at = n > 0 ? random_below((uint32_t)n) : 0;
		switch (n == 0 ? 0 : random_below(8)) {
		case 0: /* insert a new one, or a copy of another */
		case 1:
			if (n == most)
				break;
			memmove(&ops[at + 1], &ops[at], (n - at) * sizeof(ops[0]));
			if (n == 0 || random_below(2))
				ops[at] = new_op();
			else
				ops[at] = ops[random_below((uint32_t)n)];
			n++;
			break;
		case 2: /* remove */
			memmove(&ops[at], &ops[at + 1], (n - at - 1) * sizeof(ops[0]));
			n--;
			break;
		case 3: { /* swap */
			uint32_t other = random_below((uint32_t)n);
			struct fuzz_op op = ops[at];
			ops[at] = ops[other];
			ops[other] = op;
			break;
		}
		case 4: /* any bits of one */
			LLVMFuzzerMutate((uint8_t *)&ops[at], sizeof(ops[0]), sizeof(ops[0]));
			break;
		default:
			change_op(&ops[at]);
		}
	}
	memcpy(data, ops, n * sizeof(ops[0]));
	return n * sizeof(ops[0]);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	if (!fuzz_target.operations)
		return LLVMFuzzerMutate(data, size, max_size);
	seed_random(seed);
	return mutate_operations(data, size, max_size);
}

/* The start of one and the end of the other, cut between operations. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size, const uint8_t *two, size_t two_size, uint8_t *out, size_t max_size, unsigned int seed)
{
	size_t unit = fuzz_target.operations ? sizeof(struct fuzz_op) : 1;
	seed_random(seed);
	size_t head = one_size / unit, tail = two_size / unit;
	head = head > 0 ? random_below((uint32_t)head + 1) : 0;
	size_t skip = tail > 0 ? random_below((uint32_t)tail + 1) : 0;
	tail -= skip;
	if (head * unit > max_size)
		head = max_size / unit;
	if ((head + tail) * unit > max_size)
		tail = max_size / unit - head;
	memcpy(out, one, head * unit);
	memcpy(out + head * unit, two + skip * unit, tail * unit);
	return (head + tail) * unit;
}
