/* What the card says of itself, of its objects and of their properties. */
#include "fake_drm_private.h"

#include <errno.h>
#include <string.h>

#include <drm_fourcc.h>

#define FIRST_ENCODER 50u /* one a connector */

static void fill_mode(struct drm_mode_modeinfo *mode, bool second)
{
	uint16_t width = second && card.second_width ? card.second_width : card.width, height = second && card.second_height ? card.second_height : card.height;
	*mode = (struct drm_mode_modeinfo){.hdisplay = width, .vdisplay = height, .htotal = (uint16_t)(width + 16), .vtotal = (uint16_t)(height + 12),
		.vrefresh = 60, .type = DRM_MODE_TYPE_PREFERRED | DRM_MODE_TYPE_DRIVER, .name = "only"};
	mode->clock = (uint32_t)mode->htotal * mode->vtotal * 60 / 1000;
}

/* As the kernel answers a list: all of it when there is room for it, and how many there are. */
static void give(uint64_t to, uint32_t *count, const void *items, uint32_t n, size_t size)
{
	if (to && *count >= n)
		memcpy((void *)(uintptr_t)to, items, n * size);
	*count = n;
}

static void give_text(char *to, __kernel_size_t *length, const char *text)
{
	size_t n = strlen(text);
	if (to && *length)
		memcpy(to, text, n < *length ? n : *length);
	*length = n;
}

void fake_get_version(struct drm_version *v)
{
	v->version_major = 1;
	give_text(v->name, &v->name_len, card.driver);
	give_text(v->date, &v->date_len, "20200101");
	give_text(v->desc, &v->desc_len, "a card of the tests");
}

int fake_get_cap(struct drm_get_cap *c)
{
	switch (c->capability) {
	case DRM_CAP_DUMB_BUFFER:
		c->value = !card.no_dumb;
		return 0;
	case DRM_CAP_PRIME:
		c->value = card.no_prime ? 0 : DRM_PRIME_CAP_IMPORT | DRM_PRIME_CAP_EXPORT;
		return 0;
	case DRM_CAP_CURSOR_WIDTH:
	case DRM_CAP_CURSOR_HEIGHT:
		c->value = 64;
		return 0;
	case DRM_CAP_TIMESTAMP_MONOTONIC:
	case DRM_CAP_CRTC_IN_VBLANK_EVENT:
		c->value = 1;
		return 0;
	default:
		c->value = 0;
		return 0;
	}
}

int fake_set_client_cap(const struct drm_set_client_cap *c)
{
	switch (c->capability) {
	case DRM_CLIENT_CAP_UNIVERSAL_PLANES:
		fake_client.universal = c->value;
		return 0;
	case DRM_CLIENT_CAP_ATOMIC:
		if (card.no_atomic)
			return EOPNOTSUPP;
		fake_client.atomic = fake_client.universal = c->value != 0;
		return 0;
	default:
		return EINVAL;
	}
}

int fake_get_sequence(struct drm_crtc_get_sequence *s)
{
	if (card.no_vblank)
		return EOPNOTSUPP;
	s->active = 1;
	return 0;
}

void fake_get_resources(struct drm_mode_card_res *r)
{
	const uint32_t crtcs[] = {FAKE_ID(FAKE_CRTC), FAKE_ID(FAKE_CRTC_1)}, connectors[] = {FAKE_ID(FAKE_CONNECTOR), FAKE_ID(FAKE_CONNECTOR_1)};
	const uint32_t encoders[] = {FIRST_ENCODER, FIRST_ENCODER + 1};
	r->count_fbs = 0;
	give(r->crtc_id_ptr, &r->count_crtcs, crtcs, 2, 4);
	give(r->connector_id_ptr, &r->count_connectors, connectors, 2, 4);
	give(r->encoder_id_ptr, &r->count_encoders, encoders, 2, 4);
	r->max_width = r->max_height = 8192;
}

static void list_props(uint32_t o, uint64_t ids_to, uint64_t values_to, uint32_t *count)
{
	uint32_t ids[FAKE_PROPS], n = 0, room = *count;
	uint64_t values[FAKE_PROPS];
	for (uint32_t p = 0; p < FAKE_PROPS; p++) {
		if (!fake_prop_visible(o, p))
			continue;
		ids[n] = fake_prop_id(p);
		values[n++] = fake_state[o].value[p];
	}
	give(ids_to, count, ids, n, 4);
	give(values_to, &room, values, n, 8);
}

int fake_get_connector(struct drm_mode_get_connector *c)
{
	int i = fake_object_of(c->connector_id, DRM_MODE_OBJECT_CONNECTOR);
	if (i < 0)
		return ENOENT;
	bool connected = i == FAKE_CONNECTOR ? card.connected : card.second;
	struct drm_mode_modeinfo mode;
	uint32_t encoder = FIRST_ENCODER + (uint32_t)i;
	fill_mode(&mode, i == FAKE_CONNECTOR_1);
	c->connection = connected ? DRM_MODE_CONNECTED : DRM_MODE_DISCONNECTED;
	c->connector_type = DRM_MODE_CONNECTOR_HDMIA;
	c->connector_type_id = (uint32_t)i + 1;
	c->encoder_id = fake_state[i].value[FAKE_CRTC_ID] ? encoder : 0;
	give(c->encoders_ptr, &c->count_encoders, &encoder, 1, 4);
	give(c->modes_ptr, &c->count_modes, &mode, connected ? 1 : 0, sizeof(mode));
	list_props((uint32_t)i, c->props_ptr, c->prop_values_ptr, &c->count_props);
	return 0;
}

int fake_get_encoder(struct drm_mode_get_encoder *e)
{
	if (e->encoder_id < FIRST_ENCODER || e->encoder_id > FIRST_ENCODER + FAKE_CONNECTOR_1)
		return ENOENT;
	e->possible_crtcs = 3;
	e->crtc_id = (uint32_t)fake_state[e->encoder_id - FIRST_ENCODER].value[FAKE_CRTC_ID];
	return 0;
}

int fake_get_crtc(struct drm_mode_crtc *c)
{
	int i = fake_object_of(c->crtc_id, DRM_MODE_OBJECT_CRTC);
	if (i < 0)
		return ENOENT;
	c->fb_id = (uint32_t)fake_state[fake_primary_of((uint32_t)i)].value[FAKE_FB_ID];
	c->mode_valid = fake_state[i].value[FAKE_ACTIVE] != 0;
	if (c->mode_valid)
		fill_mode(&c->mode, false);
	return 0;
}

void fake_get_planes(struct drm_mode_get_plane_res *r)
{
	uint32_t ids[FAKE_OBJECTS], n = 0;
	for (uint32_t i = FAKE_PRIMARY; i < FAKE_OBJECTS; i++)
		if (!(i == FAKE_OVERLAY && card.no_overlay) && (fake_client.universal || fake_state[i].value[FAKE_TYPE] == DRM_PLANE_TYPE_OVERLAY))
			ids[n++] = FAKE_ID(i);
	give(r->plane_id_ptr, &r->count_planes, ids, n, 4);
}

int fake_get_plane(struct drm_mode_get_plane *p)
{
	int i = fake_object_of(p->plane_id, DRM_MODE_OBJECT_PLANE);
	if (i < 0)
		return ENOENT;
	uint32_t format = i == FAKE_OVERLAY ? card.overlay_format : i == FAKE_CURSOR ? DRM_FORMAT_ARGB8888 : DRM_FORMAT_XRGB8888;
	p->crtc_id = (uint32_t)fake_state[i].value[FAKE_CRTC_ID];
	p->fb_id = (uint32_t)fake_state[i].value[FAKE_FB_ID];
	p->possible_crtcs = fake_possible_crtcs((uint32_t)i);
	give(p->format_type_ptr, &p->count_format_types, &format, 1, 4);
	return 0;
}

int fake_get_properties(struct drm_mode_obj_get_properties *p)
{
	int i = fake_object_of(p->obj_id, DRM_MODE_OBJECT_ANY);
	if (i < 0)
		return ENOENT;
	list_props((uint32_t)i, p->props_ptr, p->prop_values_ptr, &p->count_props);
	return 0;
}

int fake_get_property(struct drm_mode_get_property *p)
{
	const char *name = fake_prop_name(p->prop_id);
	if (name == NULL)
		return ENOENT;
	memset(p->name, 0, sizeof(p->name));
	strcpy(p->name, name);
	p->flags = DRM_MODE_PROP_RANGE;
	p->count_values = p->count_enum_blobs = 0;
	return 0;
}
