#include "toggle/lid.h"

void lid_lost(struct lid *lid)
{
	*lid = (struct lid){ .learning = true };
}

void lid_learned(struct lid *lid)
{
	lid->learning = false;
}

bool lid_heard(struct lid *lid, bool closed)
{
	bool changed = closed != lid->closed;
	lid->closed = closed;
	return changed && !lid->learning;
}
