/* Numbers that look random and are the same each time: xorshift64*. */
#pragma once

#include <stdint.h>
#include <stdlib.h>

struct random {
	uint64_t state; /* never 0 */
};

static inline uint64_t random_next(struct random *random)
{
	random->state ^= random->state >> 12;
	random->state ^= random->state << 25;
	random->state ^= random->state >> 27;
	return random->state * 0x2545f4914f6cdd1dull;
}

static inline uint32_t random_below(struct random *random, uint32_t n)
{
	return (uint32_t)(random_next(random) >> 33) % n;
}

/* One of many series that neighbouring seeds give, which have nothing in common. */
static inline struct random random_series(uint64_t seed)
{
	return (struct random){ seed * 0x9e3779b97f4a7c15ull | 1 };
}

/* The seed that the environment asks for, or the usual one. */
static inline uint64_t random_seed(const char *variable, uint64_t usual)
{
	const char *text = getenv(variable);
	return text != NULL ? strtoull(text, NULL, 0) : usual;
}
