#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kms/backend.h"

struct backend *drm_create(struct session *session, const char *card, uint32_t wish_width, uint32_t wish_height, uint32_t wish_refresh_mhz,
	char *error, size_t error_size, int *exit_status)
{
	(void)session; (void)card; (void)wish_width; (void)wish_height; (void)wish_refresh_mhz;
	snprintf(error, error_size, "cards are not supported: use --display headless");
	*exit_status = 4;
	return NULL;
}
