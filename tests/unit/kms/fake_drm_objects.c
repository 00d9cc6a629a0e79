/* Connectors, CRTCs and planes, what their properties are and which blobs those may name: the card's state. */
#include "fake_drm_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOBS 64
#define FIRST_PROP 100u
#define FIRST_BLOB 1000u

#define PLANE_PROPS \
	(BIT(FAKE_TYPE) | BIT(FAKE_FB_ID) | BIT(FAKE_CRTC_ID) | BIT(FAKE_SRC_X) | BIT(FAKE_SRC_Y) | BIT(FAKE_SRC_W) | BIT(FAKE_SRC_H) | BIT(FAKE_CRTC_X) | \
		BIT(FAKE_CRTC_Y) | BIT(FAKE_CRTC_W) | BIT(FAKE_CRTC_H) | BIT(FAKE_DAMAGE_CLIPS) | BIT(FAKE_ROTATION))

struct fake_state fake_state[FAKE_OBJECTS];

static const char *const prop_name[FAKE_PROPS] = {
	"type", "FB_ID", "CRTC_ID", "SRC_X", "SRC_Y", "SRC_W", "SRC_H", "CRTC_X", "CRTC_Y", "CRTC_W", "CRTC_H", "FB_DAMAGE_CLIPS", "MODE_ID", "ACTIVE", "rotation",
	"GAMMA_LUT", "DPMS", "link-status",
};
static struct {
	void *data;
	bool used, pinned; /* by the state: outlives its id */
} blob[BLOBS];

_Static_assert(FAKE_NO_BLOB == FIRST_BLOB + BLOBS, "the first id that is no blob's");

void fake_objects_reset(void)
{
	memset(fake_state, 0, sizeof(fake_state));
	for (uint32_t i = 0; i < BLOBS; i++)
		blob[i].used = blob[i].pinned = false;
	for (uint32_t i = 0; i < FAKE_OBJECTS; i++) {
		struct fake_state *o = &fake_state[i];
		if (i <= FAKE_CONNECTOR_1)
			*o = (struct fake_state){.type = DRM_MODE_OBJECT_CONNECTOR, .has = BIT(FAKE_CRTC_ID) | BIT(FAKE_DPMS) | BIT(FAKE_LINK_STATUS)};
		else if (i <= FAKE_CRTC_1)
			*o = (struct fake_state){.type = DRM_MODE_OBJECT_CRTC, .has = BIT(FAKE_MODE_ID) | BIT(FAKE_ACTIVE) | BIT(FAKE_GAMMA_LUT)};
		else
			*o = (struct fake_state){.type = DRM_MODE_OBJECT_PLANE, .has = PLANE_PROPS};
		o->value[FAKE_ROTATION] = DRM_MODE_ROTATE_0;
	}
	fake_state[FAKE_PRIMARY].value[FAKE_TYPE] = fake_state[FAKE_PRIMARY_1].value[FAKE_TYPE] = DRM_PLANE_TYPE_PRIMARY;
	fake_state[FAKE_CURSOR].value[FAKE_TYPE] = DRM_PLANE_TYPE_CURSOR;
}

int fake_object_of(uint64_t id, uint32_t type)
{
	uint32_t i = (uint32_t)id - FAKE_ID(0);
	return id >= FAKE_ID(0) && i < FAKE_OBJECTS && (type == DRM_MODE_OBJECT_ANY || fake_state[i].type == type) ? (int)i : -1;
}

bool fake_prop_visible(uint32_t o, uint32_t prop)
{
	if (!(fake_state[o].has & BIT(prop)) || (prop == FAKE_DAMAGE_CLIPS && card.no_clips))
		return false;
	return fake_client.atomic || prop == FAKE_TYPE || prop >= FAKE_ROTATION;
}

int fake_prop_of(uint32_t o, uint32_t id)
{
	uint32_t prop = id - FIRST_PROP;
	return id >= FIRST_PROP && prop < FAKE_PROPS && fake_prop_visible(o, prop) ? (int)prop : -1;
}

uint32_t fake_prop_id(uint32_t prop)
{
	return FIRST_PROP + prop;
}

const char *fake_prop_name(uint32_t id)
{
	return id >= FIRST_PROP && id < FIRST_PROP + FAKE_PROPS ? prop_name[id - FIRST_PROP] : NULL;
}

uint32_t fake_possible_crtcs(uint32_t plane)
{
	return plane == FAKE_PRIMARY ? 1 : plane == FAKE_PRIMARY_1 ? 2 : 3;
}

uint32_t fake_primary_of(uint32_t crtc)
{
	return crtc == FAKE_CRTC ? FAKE_PRIMARY : FAKE_PRIMARY_1;
}

void fake_mode_size(const struct fake_state *state, uint32_t crtc, uint32_t *width, uint32_t *height)
{
	uint64_t id = state[crtc].value[FAKE_MODE_ID];
	const struct drm_mode_modeinfo *mode = fake_blob_exists(id) ? fake_blob_data(id) : NULL;
	*width = mode ? mode->hdisplay : card.width;
	*height = mode ? mode->vdisplay : card.height;
}

void fake_plane_shows(struct fake_state *plane, uint64_t crtc, uint64_t framebuffer, uint64_t w, uint64_t h)
{
	uint64_t *v = plane->value;
	v[FAKE_FB_ID] = framebuffer;
	v[FAKE_CRTC_ID] = framebuffer ? crtc : 0;
	v[FAKE_SRC_X] = v[FAKE_SRC_Y] = v[FAKE_CRTC_X] = v[FAKE_CRTC_Y] = 0;
	v[FAKE_SRC_W] = w << 16;
	v[FAKE_SRC_H] = h << 16;
	v[FAKE_CRTC_W] = w;
	v[FAKE_CRTC_H] = h;
}

int fake_create_blob(struct drm_mode_create_blob *b)
{
	for (uint32_t i = 0; i < BLOBS; i++) {
		if (blob[i].used || blob[i].pinned)
			continue;
		free(blob[i].data);
		blob[i].data = malloc(b->length);
		memcpy(blob[i].data, (const void *)(uintptr_t)b->data, b->length);
		blob[i].used = true;
		b->blob_id = FIRST_BLOB + i;
		card.blobs++;
		return 0;
	}
	return ENOMEM;
}

int fake_destroy_blob(uint32_t id)
{
	if (id < FIRST_BLOB || id >= FIRST_BLOB + BLOBS || !blob[id - FIRST_BLOB].used) {
		card.strays++;
		return ENOENT;
	}
	blob[id - FIRST_BLOB].used = false;
	return 0;
}

bool fake_blob_exists(uint64_t id)
{
	return id >= FIRST_BLOB && id < FIRST_BLOB + BLOBS && (blob[id - FIRST_BLOB].used || blob[id - FIRST_BLOB].pinned);
}

const void *fake_blob_data(uint64_t id)
{
	return blob[id - FIRST_BLOB].data;
}

void fake_blobs_pin(void)
{
	for (uint32_t b = 0; b < BLOBS; b++) {
		blob[b].pinned = false;
		for (uint32_t i = FAKE_CRTC; i <= FAKE_CRTC_1; i++)
			blob[b].pinned |= fake_state[i].value[FAKE_MODE_ID] == FIRST_BLOB + b;
	}
}

uint32_t fake_blobs_held(void)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < BLOBS; i++)
		n += blob[i].used;
	return n;
}

void fake_blobs_forget(void)
{
	for (uint32_t i = 0; i < BLOBS; i++)
		blob[i].used = blob[i].pinned = false;
}
