/* What the kernel tells of cards that come and go, and of their connectors. */
#include "kms/card.h"

#include <string.h>
#include <sys/sysmacros.h>

/* Connectors are added and removed, too, but have no node. */
static uint64_t card_bit(dev_t devnum)
{
	return major(devnum) == DRM_MAJOR && minor(devnum) < 64 ? UINT64_C(1) << minor(devnum) : 0;
}

uint32_t drm_news(struct drm_present *present, const char *action, dev_t devnum)
{
	bool ours = present->here && devnum == present->devnum;
	if (!action)
		return 0;
	if (strcmp(action, "change") == 0)
		return ours ? BACKEND_OUTPUTS : 0;
	if (strcmp(action, "remove") == 0) {
		if (!present->here)
			present->removed |= card_bit(devnum);
		if (!ours)
			return 0;
		drm_news_left(present);
		return BACKEND_LOST;
	}
	if (strcmp(action, "add") == 0 && !present->here && major(devnum) == DRM_MAJOR) {
		present->removed &= ~card_bit(devnum);
		return BACKEND_CAME;
	}
	return 0;
}

uint32_t drm_news_opened(struct drm_present *present, dev_t devnum)
{
	bool went = present->removed & card_bit(devnum);
	*present = (struct drm_present){.here = !went, .devnum = went ? 0 : devnum};
	return went ? BACKEND_LOST : 0;
}

void drm_news_left(struct drm_present *present)
{
	*present = (struct drm_present){0};
}
