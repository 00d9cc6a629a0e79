/* Outputs beside the main one: those that mirror it, and those that show pictures of their own. What belongs to them is no leftover of another program's. */
#include "kms/card.h"

#include <string.h>

static bool is_part(const struct drm_output *output, uint32_t object)
{
	return object == output->connector || object == output->crtc || object == output->primary.id;
}

/* Of what is to be cleared, only what is a part of `part`, or (but) only the rest. */
static void keep(struct drm_output *output, const struct drm_output *part, bool but)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < output->n_clear; i++)
		if (is_part(part, output->clear[i].object) != but)
			output->clear[n++] = output->clear[i];
	output->n_clear = n;
}

bool drm_add_mirror(struct drm_output *output)
{
	struct drm_output *mirror = &output[1 + output->base.n_mirrors];
	for (uint32_t i = 0; i <= output->base.n_mirrors; i++)
		if (output[i].primary.id == mirror->primary.id)
			return false;
	keep(output, mirror, true);
	keep(mirror, mirror, false);
	for (uint32_t i = 0; i < mirror->n_clear && output->n_clear < DRM_CLEAR_MAX; i++)
		output->clear[output->n_clear++] = mirror->clear[i];
	mirror->n_clear = 0;
	output->base.link_lost |= mirror->base.link_lost;
	memcpy(output->base.mirror[output->base.n_mirrors++], mirror->base.name, sizeof(mirror->base.name));
	return true;
}

bool drm_add_further(struct drm_output *output, uint32_t place, bool stays)
{
	struct drm_output *further = &output[place];
	for (uint32_t i = 0; i <= OUTPUT_MIRRORS; i++)
		if (i != place && output[i].primary.id == further->primary.id)
			return false;
	if (stays)
		keep(output, further, true);
	keep(further, further, false);
	/* They are the main one's, or nobody's. */
	further->overlay = further->cursor = (struct drm_plane){0};
	further->base.cursor = false;
	output->base.further[place - 1] = &further->base;
	return true;
}

bool drm_is_further(const struct drm_output *output, uint32_t object)
{
	for (uint32_t i = 0; i < OUTPUT_MIRRORS; i++)
		if (output->base.further[i] && is_part(&output[1 + i], object))
			return true;
	return false;
}
