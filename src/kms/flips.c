#include "kms/flips.h"

void flips_begin(struct flips *flips, uint32_t epoch, uint32_t outputs)
{
	*flips = (struct flips){.epoch = epoch, .waiting = outputs};
}

bool flips_event(struct flips *flips, uint32_t epoch, bool main, uint64_t time_ns)
{
	if (flips->waiting == 0 || flips->epoch != epoch)
		return false;
	if (flips->time_ns == 0 || main)
		flips->time_ns = time_ns;
	return --flips->waiting == 0;
}
