/* What the kernel tells of cards that come and go, and of their connectors. */
#include "kms/card.h"

#include <string.h>
#include <sys/sysmacros.h>

uint32_t drm_news(const struct drm_present *present, const char *action, dev_t devnum)
{
	bool node = major(devnum) == DRM_MAJOR, ours = present->here && devnum == present->devnum;
	if (!action)
		return 0;
	if (strcmp(action, "change") == 0)
		return ours ? BACKEND_OUTPUTS : 0;
	if (strcmp(action, "remove") == 0)
		return ours ? BACKEND_LOST : 0;
	/* Connectors are added, too, but have no node. */
	if (strcmp(action, "add") == 0)
		return node && !present->here ? BACKEND_CAME : 0;
	return 0;
}
