#define LOG_MODULE "drm"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <drm_fourcc.h>

#include "base/log.h"
#include "kms/card.h"

uint32_t drm_property_id(int fd, drmModeObjectProperties *properties, const char *name, uint64_t *value)
{
	for (uint32_t i = 0; properties && i < properties->count_props; i++) {
		drmModePropertyRes *p = drmModeGetProperty(fd, properties->props[i]);
		if (!p)
			continue;
		bool found = strcmp(p->name, name) == 0;
		uint32_t id = p->prop_id;
		drmModeFreeProperty(p);
		if (found) {
			if (value)
				*value = properties->prop_values[i];
			return id;
		}
	}
	return 0;
}

static void clear(struct drm_output *output, int fd, drmModeObjectProperties *properties, uint32_t object, const char *name, uint64_t value)
{
	uint64_t present;
	uint32_t id = drm_property_id(fd, properties, name, &present);
	if (id && output->n_clear < DRM_CLEAR_MAX)
		output->clear[output->n_clear++] = (struct drm_property){object, id, value};
}

/* Blob ids of two reads differ even when nothing is set: only what is set is cleared, so that a plain driver gets a plain commit. */
static void clear_if_set(struct drm_output *output, int fd, drmModeObjectProperties *properties, uint32_t object, const char *name, uint64_t value)
{
	uint64_t present;
	if (drm_property_id(fd, properties, name, &present) && present != value)
		clear(output, fd, properties, object, name, value);
}

static bool non_desktop(int fd, const drmModeConnector *connector)
{
	uint64_t value = 0;
	drmModeObjectProperties *properties = drmModeObjectGetProperties(fd, connector->connector_id, DRM_MODE_OBJECT_CONNECTOR);
	drm_property_id(fd, properties, "non-desktop", &value);
	drmModeFreeObjectProperties(properties);
	return value != 0;
}

/* The CRTCs it can have, and by index the one it has. */
static uint32_t possible_crtcs(int fd, const drmModeRes *resources, const drmModeConnector *connector, int *present)
{
	uint32_t possible = 0;
	*present = -1;
	for (int i = 0; i < connector->count_encoders; i++) {
		drmModeEncoder *encoder = drmModeGetEncoder(fd, connector->encoders[i]);
		if (!encoder)
			continue;
		possible |= encoder->possible_crtcs;
		for (int c = 0; c < resources->count_crtcs && c < 32; c++)
			if (encoder->encoder_id == connector->encoder_id && resources->crtcs[c] == encoder->crtc_id)
				*present = c;
		drmModeFreeEncoder(encoder);
	}
	return resources->count_crtcs < 32 ? possible & ((1u << resources->count_crtcs) - 1) : possible;
}

/* What other planes show, and what the primary one must lose. A full commit sets the output's own planes in any case. */
static void note_planes(int fd, struct drm_output *output)
{
	drmModePlaneRes *planes = drmModeGetPlaneResources(fd);
	for (uint32_t i = 0; planes && i < planes->count_planes; i++) {
		uint32_t id = planes->planes[i];
		drmModePlane *plane = drmModeGetPlane(fd, id);
		drmModeObjectProperties *properties = drmModeObjectGetProperties(fd, id, DRM_MODE_OBJECT_PLANE);
		if (id == output->primary.id) {
			clear_if_set(output, fd, properties, id, "rotation", DRM_MODE_ROTATE_0);
			clear_if_set(output, fd, properties, id, "alpha", 0xffff);
		} else if (plane && plane->fb_id && id != output->overlay.id && id != output->cursor.id) {
			clear(output, fd, properties, id, "FB_ID", 0);
			clear(output, fd, properties, id, "CRTC_ID", 0);
		}
		drmModeFreeObjectProperties(properties);
		drmModeFreePlane(plane);
	}
	drmModeFreePlaneResources(planes);
}

static void note_crtcs(int fd, struct drm_output *output, const drmModeRes *resources)
{
	for (int i = 0; i < resources->count_crtcs; i++) {
		uint32_t crtc = resources->crtcs[i];
		drmModeObjectProperties *properties = drmModeObjectGetProperties(fd, crtc, DRM_MODE_OBJECT_CRTC);
		if (!properties)
			continue;
		if (crtc == output->crtc) {
			output->prop.mode_id = drm_property_id(fd, properties, "MODE_ID", NULL);
			output->prop.active = drm_property_id(fd, properties, "ACTIVE", NULL);
			clear_if_set(output, fd, properties, crtc, "GAMMA_LUT", 0);
			clear_if_set(output, fd, properties, crtc, "DEGAMMA_LUT", 0);
			clear_if_set(output, fd, properties, crtc, "CTM", 0);
			clear_if_set(output, fd, properties, crtc, "VRR_ENABLED", 0);
		} else {
			/* One that sleeps has a mode all the same, and without a connector may not keep it. */
			uint64_t active = 0, mode = 0;
			drm_property_id(fd, properties, "ACTIVE", &active);
			drm_property_id(fd, properties, "MODE_ID", &mode);
			if (active || mode) {
				clear(output, fd, properties, crtc, "ACTIVE", 0);
				clear(output, fd, properties, crtc, "MODE_ID", 0);
			}
		}
		drmModeFreeObjectProperties(properties);
	}
	for (int i = 0; i < resources->count_connectors; i++) {
		uint32_t connector = resources->connectors[i];
		drmModeObjectProperties *properties = drmModeObjectGetProperties(fd, connector, DRM_MODE_OBJECT_CONNECTOR);
		if (connector == output->connector) {
			uint64_t link = 0;
			output->prop.connector_crtc_id = drm_property_id(fd, properties, "CRTC_ID", NULL);
			output->prop.link_status = drm_property_id(fd, properties, "link-status", &link);
			output->base.link_lost = link != 0;
			clear_if_set(output, fd, properties, connector, "HDR_OUTPUT_METADATA", 0);
			clear_if_set(output, fd, properties, connector, "Colorspace", 0);
		} else {
			clear_if_set(output, fd, properties, connector, "CRTC_ID", 0);
		}
		drmModeFreeObjectProperties(properties);
	}
}

/* The name a monitor gives itself: EDID display descriptor FC (VESA E-EDID 1.4, 3.10.3). */
static void monitor_name(int fd, uint32_t connector, char *name, size_t size)
{
	drmModeObjectProperties *properties = drmModeObjectGetProperties(fd, connector, DRM_MODE_OBJECT_CONNECTOR);
	uint64_t blob_id = 0;
	drm_property_id(fd, properties, "EDID", &blob_id);
	drmModeFreeObjectProperties(properties);
	drmModePropertyBlobRes *blob = blob_id ? drmModeGetPropertyBlob(fd, (uint32_t)blob_id) : NULL;
	if (!blob)
		return;
	const uint8_t *edid = blob->data;
	for (uint32_t at = 54; blob->length >= 128 && at <= 108; at += 18) {
		const uint8_t *d = edid + at;
		if (d[0] || d[1] || d[3] != 0xfc)
			continue;
		size_t n = 0;
		while (n < 13 && n + 1 < size && d[5 + n] >= ' ' && d[5 + n] < 127) {
			name[n] = (char)d[5 + n];
			n++;
		}
		name[n] = '\0';
	}
	drmModeFreePropertyBlob(blob);
}

static bool fill(int fd, struct drm_output *output, const drmModeRes *resources, const drmModeConnector *connector, const char *name,
	const struct choose_head *head)
{
	output->n_clear = 0;
	output->connector = connector->connector_id;
	output->crtc = resources->crtcs[head->crtc];
	if (!drm_planes_choose(fd, head->crtc, output))
		return false;
	note_planes(fd, output);
	note_crtcs(fd, output, resources);
	output->mode = *head->mode;

	snprintf(output->base.name, sizeof(output->base.name), "%s", name);
	snprintf(output->base.monitor, sizeof(output->base.monitor), "%.15s", output->base.name);
	monitor_name(fd, output->connector, output->base.monitor, sizeof(output->base.monitor));
	output->base.width = output->mode.hdisplay;
	output->base.height = output->mode.vdisplay;
	output->base.refresh_mhz = choose_refresh_mhz(&output->mode);
	output->base.width_mm = connector->mmWidth;
	output->base.height_mm = connector->mmHeight;
	/* Drivers without a vblank say EOPNOTSUPP; others may refuse while the CRTC is off. */
	uint64_t sequence, ns;
	output->base.vblank = drmCrtcGetSequence(fd, output->crtc, &sequence, &ns) == 0 || errno != EOPNOTSUPP;
	output->base.cursor = output->cursor.id != 0;
	output->base.connected = true;
	return true;
}

/* All connectors of the card; connector[i] stays as long as read[i], which read_free() frees. */
static uint32_t read_connectors(int fd, const drmModeRes *resources, struct choose_connector *connector, drmModeConnector **read)
{
	uint32_t n = 0;
	for (int i = 0; i < resources->count_connectors && n < CHOOSE_CONNECTORS; i++) {
		drmModeConnector *c = drmModeGetConnector(fd, resources->connectors[i]);
		if (!c)
			continue;
		struct choose_connector *to = &connector[n];
		*to = (struct choose_connector){.id = c->connector_id, .modes = c->modes, .n_modes = c->count_modes > 0 ? (uint32_t)c->count_modes : 0};
		const char *type = drmModeGetConnectorTypeName(c->connector_type);
		snprintf(to->name, sizeof(to->name), "%.20s-%u", type ? type : "Unknown", c->connector_type_id);
		to->crtcs = possible_crtcs(fd, resources, c, &to->crtc);
		to->usable = c->connection == DRM_MODE_CONNECTED && c->count_modes > 0 && !non_desktop(fd, c);
		read[n++] = c;
	}
	return n;
}

static void read_free(drmModeConnector **read, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		drmModeFreeConnector(read[i]);
}

/* It shows framebuffers of an output that it is not any more, which are to be freed. */
static bool lit_by_another(const struct choose_wish *wish, uint32_t connector, uint32_t place)
{
	for (uint32_t i = 0; i <= OUTPUT_MIRRORS; i++)
		if (i != place && wish->lit[i] == connector)
			return true;
	return false;
}

struct drm_output *drm_output_probe(int fd, const struct choose_wish *wish)
{
	struct choose_connector connector[CHOOSE_CONNECTORS];
	drmModeConnector *read[CHOOSE_CONNECTORS];
	drmModeRes *resources = drmModeGetResources(fd);
	struct drm_output *output = calloc(1 + OUTPUT_MIRRORS, sizeof(*output));
	if (!resources || !output) {
		int error = errno;
		if (resources)
			drmModeFreeResources(resources);
		free(output);
		errno = error;
		return NULL;
	}
	uint32_t n = read_connectors(fd, resources, connector, read);
	struct choice choice;
	for (;;) {
		choose(connector, n, wish, &choice);
		uint32_t main = choice.head[0].connector;
		if (choice.n == 0 || fill(fd, output, resources, read[main], connector[main].name, &choice.head[0]))
			break;
		log_warn("%s has no plane that could show XRGB8888", connector[main].name);
		connector[main].usable = false;
	}
	for (uint32_t i = 1; i < choice.n; i++) {
		uint32_t at = choice.head[i].connector;
		uint32_t place = choice.head[i].place;
		struct drm_output *beside = &output[place ? place : 1 + output->base.n_mirrors];
		bool stays = connector[at].crtc == (int)choice.head[i].crtc && !lit_by_another(wish, connector[at].id, place);
		if (!fill(fd, beside, resources, read[at], connector[at].name, &choice.head[i]) ||
		    !(place ? drm_add_further(output, place, stays) : drm_add_mirror(output)))
			memset(beside, 0, sizeof(*beside));
	}
	for (uint32_t i = 0; i <= OUTPUT_MIRRORS; i++)
		output->base.leftovers += output[i].n_clear;
	if (choice.mode_missing) {
		char modes[360], hz[16] = "";
		choose_list_modes(&connector[choice.head[0].connector], modes, sizeof(modes));
		if (wish->refresh_mhz)
			snprintf(hz, sizeof(hz), "@%u", wish->refresh_mhz / 1000);
		snprintf(output->notice, sizeof(output->notice), "--mode %ux%u%s: %s has no such mode, taking %ux%u@%u; it has %s", wish->width, wish->height, hz,
			output->base.name, output->base.width, output->base.height, (output->base.refresh_mhz + 500) / 1000, modes);
	}
	read_free(read, n);
	drmModeFreeResources(resources);
	return output;
}

bool drm_output_exists(int fd, const char *name, char *error, size_t error_size)
{
	struct choose_connector connector[CHOOSE_CONNECTORS];
	drmModeConnector *read[CHOOSE_CONNECTORS];
	drmModeRes *resources = drmModeGetResources(fd);
	uint32_t n = resources ? read_connectors(fd, resources, connector, read) : 0;
	bool found = false;
	for (uint32_t i = 0; i < n; i++)
		found |= strcmp(connector[i].name, name) == 0;
	if (!found) {
		char list[300];
		choose_list_connectors(connector, n, list, sizeof(list));
		snprintf(error, error_size, "--connector %.40s: the card has no such connector; it has %s", name, n ? list : "none");
	}
	read_free(read, n);
	drmModeFreeResources(resources);
	return found;
}

/* Adds a plane to those of its type. crtcs: which of them the output may have. */
static void survey_plane(int fd, uint32_t id, uint32_t crtcs, struct survey *survey)
{
	drmModePlane *plane = drmModeGetPlane(fd, id);
	drmModeObjectProperties *properties = drmModeObjectGetProperties(fd, id, DRM_MODE_OBJECT_PLANE);
	uint64_t type = DRM_PLANE_TYPE_OVERLAY;
	drm_property_id(fd, properties, "type", &type);
	enum survey_plane kind = type == DRM_PLANE_TYPE_PRIMARY ? SURVEY_PRIMARY : type == DRM_PLANE_TYPE_CURSOR ? SURVEY_CURSOR : SURVEY_OVERLAY;
	if (plane && plane->possible_crtcs & crtcs) {
		survey->plane[kind].count++;
		for (uint32_t i = 0; i < plane->count_formats; i++) {
			uint32_t known = 0, n = survey->plane[kind].n_formats;
			while (known < n && survey->plane[kind].format[known] != plane->formats[i])
				known++;
			if (known == n && n < SURVEY_FORMATS)
				survey->plane[kind].format[survey->plane[kind].n_formats++] = plane->formats[i];
		}
	}
	drmModeFreeObjectProperties(properties);
	drmModeFreePlane(plane);
}

static bool has(int fd, uint64_t capability)
{
	uint64_t value = 0;
	return drmGetCap(fd, capability, &value) == 0 && value != 0;
}

void drm_output_survey(int fd, const struct drm_output *output, struct survey *survey)
{
	drmModeRes *resources = drmModeGetResources(fd);
	drmModePlaneRes *planes = drmModeGetPlaneResources(fd);
	uint32_t crtcs = 0;
	/* Without an output all planes count. */
	for (int i = 0; resources && i < resources->count_crtcs && i < 32; i++)
		if (!output->base.connected || resources->crtcs[i] == output->crtc)
			crtcs |= 1u << i;
	for (uint32_t i = 0; planes && i < planes->count_planes; i++)
		survey_plane(fd, planes->planes[i], crtcs, survey);
	drmModeFreePlaneResources(planes);
	drmModeFreeResources(resources);
	uint64_t side = 0;
	survey->damage_clips = output->primary.prop[PLANE_CLIPS] != 0;
	survey->async_flip = has(fd, DRM_CAP_ASYNC_PAGE_FLIP);
	survey->atomic_async_flip = has(fd, DRM_CAP_ATOMIC_ASYNC_PAGE_FLIP);
	survey->cursor_hotspot = drmSetClientCap(fd, DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT, 1) == 0; /* as it is set already where there is one */
	if (drmGetCap(fd, DRM_CAP_CURSOR_WIDTH, &side) == 0)
		survey->cursor_width = (uint32_t)side;
	if (drmGetCap(fd, DRM_CAP_CURSOR_HEIGHT, &side) == 0)
		survey->cursor_height = (uint32_t)side;
}
