#include "base/late.h"

#include <string.h>
#include <time.h>

#include "base/base.h"

_Static_assert(sizeof(struct late_toggle) % sizeof(uint64_t) == 0, "copied as words");

void late_record(struct late_toggles *late, const struct late_toggle *toggle)
{
	uint64_t word[LATE_WORDS], number = atomic_load_explicit(&late->count, memory_order_relaxed);
	memcpy(word, toggle, sizeof word);
	for (uint32_t i = 0; i < LATE_WORDS; i++)
		atomic_store_explicit(&late->word[number % LATE_KEPT][i], word[i], memory_order_relaxed);
	atomic_store(&late->count, number + 1);
}

uint32_t late_read(const struct late_toggles *late, struct late_toggle out[LATE_KEPT], uint64_t *first)
{
	uint64_t end = atomic_load(&late->count), word[LATE_WORDS];
	uint64_t begin = end > LATE_KEPT - 1 ? end - (LATE_KEPT - 1) : 0;
	for (uint64_t n = begin; n < end; n++) {
		for (uint32_t i = 0; i < LATE_WORDS; i++)
			word[i] = atomic_load_explicit(&late->word[n % LATE_KEPT][i], memory_order_relaxed);
		memcpy(&out[n - begin], word, sizeof word);
	}
	/* Those that were written over meanwhile, the one being written included. */
	uint64_t now = atomic_load(&late->count);
	uint64_t whole = now < end ? end : now > LATE_KEPT - 1 ? now - (LATE_KEPT - 1) : 0; /* less: reset */
	if (whole > end)
		whole = end;
	uint32_t lost = whole > begin ? (uint32_t)(whole - begin) : 0, n = (uint32_t)(end - begin) - lost;
	memmove(out, out + lost, n * sizeof *out);
	*first = begin + lost;
	return n;
}

void late_reset(struct late_toggles *late)
{
	atomic_store(&late->count, 0);
}

static uint64_t cpu_now(void)
{
	struct timespec used = { 0 };
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * NSEC_PER_SEC + (uint64_t)used.tv_nsec;
}

void turn_begins(struct turns *turns, uint64_t now_ns)
{
	turns->began_ns = now_ns;
}

bool turn_ends(struct turns *turns, uint64_t now_ns, uint64_t limit_ns)
{
	uint64_t took = now_ns - turns->began_ns;
	bool stalled = took > limit_ns;
	turns->unseen_ns += took;
	if (!stalled && turns->unseen_ns < TURN_LOOK_NS)
		return false;
	uint64_t cpu = cpu_now(), used = cpu - turns->cpu_ns;
	turns->cpu_ns = cpu;
	turns->unseen_ns = 0;
	if (stalled) {
		turns->stall_ns = turns->began_ns;
		turns->stall_end_ns = now_ns;
		turns->stall_cpu_ns = used < took ? used : took;
	}
	return stalled;
}
