#include "kms/lend.h"

enum { NOTHING, OFFERED, DRAWN_INTO };

static uint64_t word(uint64_t number, uint64_t state)
{
	return number << 2 | state;
}

uint64_t lend_offer(struct lend *lend)
{
	uint64_t number = (atomic_load_explicit(&lend->word, memory_order_relaxed) >> 2) + 1;
	atomic_store_explicit(&lend->word, word(number, OFFERED), memory_order_release);
	return number;
}

bool lend_back(struct lend *lend)
{
	uint64_t old = atomic_load_explicit(&lend->word, memory_order_acquire);
	if ((old & 3) == OFFERED && atomic_compare_exchange_strong(&lend->word, &old, word(old >> 2, NOTHING)))
		return true;
	return (old & 3) == NOTHING;
}

void lend_ended(struct lend *lend)
{
	uint64_t number = atomic_load_explicit(&lend->word, memory_order_relaxed) >> 2;
	atomic_store_explicit(&lend->word, word(number, NOTHING), memory_order_relaxed);
}

bool lend_take(struct lend *lend, uint64_t number)
{
	uint64_t offered = word(number, OFFERED);
	return atomic_compare_exchange_strong(&lend->word, &offered, word(number, DRAWN_INTO));
}

enum lend_choice lend_choose(const struct lend_case *c, uint64_t *until_ns)
{
	if (c->other_free && c->other <= c->shown && c->shown >= c->picture - c->picture / 4)
		return LEND_OTHER;
	uint64_t begin_ns = c->at_ns > c->draw_ns ? c->at_ns - c->draw_ns : 0;
	*until_ns = !c->offered ? c->patience_ns : begin_ns > c->soonest_ns ? begin_ns : c->soonest_ns;
	if (c->now_ns < *until_ns)
		return LEND_WAIT;
	return c->offered ? LEND_SHOWN : LEND_OTHER;
}

uint64_t lend_at(uint64_t committed_ns, uint64_t refresh_ns)
{
	return committed_ns + refresh_ns - refresh_ns / 8;
}

uint64_t lend_soonest(uint64_t committed_ns, uint64_t refresh_ns)
{
	return committed_ns + refresh_ns / 2;
}
