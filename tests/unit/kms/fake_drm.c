#include "fake_drm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <drm_fourcc.h>
#include <linux/udmabuf.h>

#include "base/base.h"

#define BLOBS 64
#define FBS 64
#define HANDLES 64
#define DMABUFS 64
#define MAPPINGS 64
#define PIECES 64
#define FIRST_PROP 100u
#define FIRST_FB 200u
#define FIRST_BLOB 1000u
#define PAGE 4096u
#define FOREIGN 199u /* the framebuffer of another program */

struct fake_drm card;

struct object {
	uint32_t type; /* DRM_MODE_OBJECT_... */
	uint32_t has;  /* bit per property */
	uint64_t value[FAKE_PROPS];
};

static const char *const prop_name[FAKE_PROPS] = {
	"type", "FB_ID", "CRTC_ID", "SRC_X", "SRC_Y", "SRC_W", "SRC_H", "CRTC_X", "CRTC_Y", "CRTC_W", "CRTC_H", "FB_DAMAGE_CLIPS", "MODE_ID", "ACTIVE", "rotation",
	"GAMMA_LUT", "DPMS",
};

/* A piece of a file. */
struct piece {
	int fd;
	uint64_t offset, size;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards everything below, and card's counters */
static struct object object[FAKE_OBJECTS];
static struct {
	void *data;
	uint32_t length;
	bool used, pinned; /* by the state: outlives its id */
} blob[BLOBS];
static struct {
	bool used;
	uint32_t width, height, pitch, offset, format, n;
	struct piece piece[PIECES]; /* as of the handle, which may be closed */
} fb[FBS];
static struct {
	bool used;
	uint32_t n;
	struct piece piece[PIECES];
} handle[HANDLES];
static struct {
	ino_t inode;
	uint32_t n;
	struct piece piece[PIECES];
} dmabuf[DMABUFS];
static uint32_t n_dmabufs;
static void *mapping[MAPPINGS];
static int device = -1, events = -1, udmabuf = -1, memory = -1;
static uint64_t memory_end;
static bool atomic_client, universal_client, master;
static bool pending;
static uint64_t pending_data;

#define BIT(x) (1u << (x))
#define PLANE_PROPS \
	(BIT(FAKE_TYPE) | BIT(FAKE_FB_ID) | BIT(FAKE_CRTC_ID) | BIT(FAKE_SRC_X) | BIT(FAKE_SRC_Y) | BIT(FAKE_SRC_W) | BIT(FAKE_SRC_H) | BIT(FAKE_CRTC_X) | \
		BIT(FAKE_CRTC_Y) | BIT(FAKE_CRTC_W) | BIT(FAKE_CRTC_H) | BIT(FAKE_DAMAGE_CLIPS) | BIT(FAKE_ROTATION))

void fake_drm_reset(void)
{
	memset(&card, 0, sizeof(card));
	memset(object, 0, sizeof(object));
	memset(fb, 0, sizeof(fb));
	memset(handle, 0, sizeof(handle));
	memset(mapping, 0, sizeof(mapping));
	for (uint32_t i = 0; i < BLOBS; i++)
		blob[i].used = blob[i].pinned = false;
	while (n_dmabufs > 0)
		for (n_dmabufs--; dmabuf[n_dmabufs].n > 0; dmabuf[n_dmabufs].n--)
			close(dmabuf[n_dmabufs].piece[dmabuf[n_dmabufs].n - 1].fd);
	if (memory >= 0)
		close(memory);
	if (events >= 0)
		close(events);
	events = device = udmabuf = -1;
	card.driver = "fakedrm";
	card.connected = true;
	card.width = 64;
	card.height = 48;
	card.overlay_format = DRM_FORMAT_XRGB8888;
	for (uint32_t i = 0; i < FAKE_OBJECTS; i++) {
		struct object *o = &object[i];
		if (i <= FAKE_CONNECTOR_1)
			*o = (struct object){.type = DRM_MODE_OBJECT_CONNECTOR, .has = BIT(FAKE_CRTC_ID) | BIT(FAKE_DPMS)};
		else if (i <= FAKE_CRTC_1)
			*o = (struct object){.type = DRM_MODE_OBJECT_CRTC, .has = BIT(FAKE_MODE_ID) | BIT(FAKE_ACTIVE) | BIT(FAKE_GAMMA_LUT)};
		else
			*o = (struct object){.type = DRM_MODE_OBJECT_PLANE, .has = PLANE_PROPS};
		o->value[FAKE_ROTATION] = DRM_MODE_ROTATE_0;
	}
	object[FAKE_PRIMARY].value[FAKE_TYPE] = object[FAKE_PRIMARY_1].value[FAKE_TYPE] = DRM_PLANE_TYPE_PRIMARY;
	object[FAKE_CURSOR].value[FAKE_TYPE] = DRM_PLANE_TYPE_CURSOR;
	memory = memfd_create("card", MFD_CLOEXEC);
	memory_end = 0;
}

int fake_drm_open(void)
{
	int ends[2];
	if (card.gone) {
		errno = ENODEV;
		return -1;
	}
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return -1;
	atomic_client = universal_client = pending = false;
	master = !card.inactive;
	device = ends[0];
	events = ends[1];
	return device;
}

void fake_drm_close(void)
{
	close(device);
	close(events);
	device = events = -1;
}

static uint32_t type_of(uint32_t o)
{
	return object[o].type;
}

static uint32_t possible_crtcs(uint32_t plane)
{
	return plane == FAKE_PRIMARY ? 1 : plane == FAKE_PRIMARY_1 ? 2 : 3;
}

static bool visible_prop(uint32_t o, uint32_t prop)
{
	if (!(object[o].has & BIT(prop)) || (prop == FAKE_DAMAGE_CLIPS && card.no_clips))
		return false;
	return atomic_client || prop == FAKE_TYPE || prop >= FAKE_ROTATION;
}

static int index_of(uint64_t id, uint32_t type)
{
	uint32_t i = (uint32_t)id - FAKE_ID(0);
	return id >= FAKE_ID(0) && i < FAKE_OBJECTS && type_of(i) == type ? (int)i : -1;
}

static bool fb_exists(uint64_t id)
{
	return id == FOREIGN || (id >= FIRST_FB && id < FIRST_FB + FBS && fb[id - FIRST_FB].used);
}

static bool blob_exists(uint64_t id)
{
	return id >= FIRST_BLOB && id < FIRST_BLOB + BLOBS && (blob[id - FIRST_BLOB].used || blob[id - FIRST_BLOB].pinned);
}

static void fill_mode(struct drm_mode_modeinfo *mode)
{
	*mode = (struct drm_mode_modeinfo){.hdisplay = card.width, .vdisplay = card.height, .htotal = (uint16_t)(card.width + 16), .vtotal = (uint16_t)(card.height + 12),
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

static void deliver(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	struct drm_event_vblank event = {.base = {.type = DRM_EVENT_FLIP_COMPLETE, .length = sizeof(event)}, .user_data = pending_data, .tv_sec = (uint32_t)now.tv_sec,
		.tv_usec = (uint32_t)(now.tv_nsec / 1000), .crtc_id = FAKE_ID(FAKE_CRTC)};
	pending = false;
	if (write(events, &event, sizeof(event)) != sizeof(event))
		abort();
}

static void begin_flip(uint64_t data)
{
	pending = true;
	pending_data = data;
	if (!card.hold_flips && !card.lose_flips)
		deliver();
}

/* --- what is on the planes ---------------------------------------------------------------------------------------- */

static int check_plane(const struct object *state, uint32_t i)
{
	const uint64_t *v = state[i].value;
	if (!v[FAKE_FB_ID] != !v[FAKE_CRTC_ID])
		return EINVAL;
	if (!v[FAKE_FB_ID])
		return 0;
	int crtc = index_of(v[FAKE_CRTC_ID], DRM_MODE_OBJECT_CRTC);
	if (crtc < 0 || !fb_exists(v[FAKE_FB_ID]) || !(possible_crtcs(i) & BIT(crtc - FAKE_CRTC)))
		return EINVAL;
	if (v[FAKE_FB_ID] == FOREIGN)
		return 0;
	uint32_t f = (uint32_t)v[FAKE_FB_ID] - FIRST_FB;
	if (i == FAKE_OVERLAY ? fb[f].format != card.overlay_format : fb[f].format != (i == FAKE_CURSOR ? DRM_FORMAT_ARGB8888 : DRM_FORMAT_XRGB8888))
		return EINVAL;
	uint64_t w = v[FAKE_SRC_W] >> 16, h = v[FAKE_SRC_H] >> 16, x = v[FAKE_SRC_X] >> 16, y = v[FAKE_SRC_Y] >> 16;
	if (x + w > fb[f].width || y + h > fb[f].height)
		return ENOSPC;
	if (!card.scales && (w != v[FAKE_CRTC_W] || h != v[FAKE_CRTC_H]))
		return ERANGE;
	bool covers = v[FAKE_CRTC_X] == 0 && v[FAKE_CRTC_Y] == 0 && v[FAKE_CRTC_W] == card.width && v[FAKE_CRTC_H] == card.height;
	if ((i == FAKE_PRIMARY || i == FAKE_PRIMARY_1) && !card.small_primary && !covers)
		return EINVAL;
	return 0;
}

static int check(const struct object *state, bool modeset)
{
	for (uint32_t i = FAKE_PRIMARY; i < FAKE_OBJECTS; i++) {
		int error = check_plane(state, i);
		if (error)
			return error;
	}
	for (uint32_t i = FAKE_CRTC; i <= FAKE_CRTC_1; i++) {
		const uint64_t *v = state[i].value, *old = object[i].value;
		if (v[FAKE_ACTIVE] && !v[FAKE_MODE_ID])
			return EINVAL;
		if (!modeset && (v[FAKE_ACTIVE] != old[FAKE_ACTIVE] || v[FAKE_MODE_ID] != old[FAKE_MODE_ID]))
			return EINVAL;
	}
	for (uint32_t i = FAKE_CONNECTOR; i <= FAKE_CONNECTOR_1; i++)
		if (!modeset && state[i].value[FAKE_CRTC_ID] != object[i].value[FAKE_CRTC_ID])
			return EINVAL;
	return 0;
}

static void take(const struct object *state)
{
	memcpy(object, state, sizeof(object));
	for (uint32_t i = FAKE_PRIMARY; i < FAKE_OBJECTS; i++)
		object[i].value[FAKE_DAMAGE_CLIPS] = 0;
	for (uint32_t b = 0; b < BLOBS; b++) {
		blob[b].pinned = false;
		for (uint32_t i = FAKE_CRTC; i <= FAKE_CRTC_1; i++)
			blob[b].pinned |= object[i].value[FAKE_MODE_ID] == FIRST_BLOB + b;
	}
}

static int atomic_commit(const struct drm_mode_atomic *a)
{
	static struct object state[FAKE_OBJECTS]; /* the lock is held */
	const uint32_t *ids = (const uint32_t *)(uintptr_t)a->objs_ptr, *counts = (const uint32_t *)(uintptr_t)a->count_props_ptr;
	const uint32_t *props = (const uint32_t *)(uintptr_t)a->props_ptr;
	const uint64_t *values = (const uint64_t *)(uintptr_t)a->prop_values_ptr;
	bool test = a->flags & DRM_MODE_ATOMIC_TEST_ONLY, modeset = a->flags & DRM_MODE_ATOMIC_ALLOW_MODESET;
	bool clipped = false;
	struct drm_mode_rect clip = {0};
	if (!atomic_client || (test && a->flags & DRM_MODE_PAGE_FLIP_EVENT))
		return EINVAL;
	memcpy(state, object, sizeof(state));
	for (uint32_t o = 0, at = 0; o < a->count_objs; o++) {
		uint32_t i = ids[o] - FAKE_ID(0);
		if (ids[o] < FAKE_ID(0) || i >= FAKE_OBJECTS)
			return ENOENT;
		for (uint32_t p = 0; p < counts[o]; p++, at++) {
			uint32_t prop = props[at] - FIRST_PROP;
			if (props[at] < FIRST_PROP || prop >= FAKE_PROPS || !visible_prop(i, prop))
				return ENOENT;
			if (((prop == FAKE_MODE_ID || prop == FAKE_DAMAGE_CLIPS || prop == FAKE_GAMMA_LUT) && values[at] && !blob_exists(values[at])) || prop == FAKE_TYPE)
				return EINVAL;
			state[i].value[prop] = values[at];
			if (prop == FAKE_DAMAGE_CLIPS && values[at]) {
				memcpy(&clip, blob[values[at] - FIRST_BLOB].data, sizeof(clip));
				clipped = true;
			}
		}
	}
	int error = check(state, modeset);
	if (error)
		return error;
	if (test) {
		card.tests++;
		return 0;
	}
	if (a->flags & DRM_MODE_PAGE_FLIP_EVENT && !state[FAKE_CRTC].value[FAKE_ACTIVE])
		return EINVAL;
	if (pending && a->flags & DRM_MODE_ATOMIC_NONBLOCK)
		return EBUSY;
	pending = false; /* a blocking commit waits for it */
	take(state);
	card.commits++;
	card.modesets += modeset;
	card.clipped = clipped;
	card.clip = clip;
	if (a->flags & DRM_MODE_PAGE_FLIP_EVENT)
		begin_flip(a->user_data);
	return 0;
}

/* --- the old calls, in terms of the same state --------------------------------------------------------------------- */

static void plane_shows(struct object *plane, uint64_t crtc, uint64_t framebuffer, uint64_t w, uint64_t h)
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

static int set_crtc(const struct drm_mode_crtc *c)
{
	static struct object state[FAKE_OBJECTS];
	int crtc = index_of(c->crtc_id, DRM_MODE_OBJECT_CRTC);
	if (crtc < 0)
		return ENOENT;
	memcpy(state, object, sizeof(state));
	uint32_t primary = (uint32_t)(crtc == FAKE_CRTC ? FAKE_PRIMARY : FAKE_PRIMARY_1);
	if (c->mode_valid) {
		if (c->count_connectors == 0 || !fb_exists(c->fb_id))
			return c->count_connectors ? ENOENT : EINVAL;
		if (c->mode.hdisplay != card.width || c->mode.vdisplay != card.height)
			return EINVAL;
		int connector = index_of(*(const uint32_t *)(uintptr_t)c->set_connectors_ptr, DRM_MODE_OBJECT_CONNECTOR);
		if (connector < 0)
			return ENOENT;
		state[connector].value[FAKE_CRTC_ID] = c->crtc_id;
		state[crtc].value[FAKE_ACTIVE] = 1;
		state[crtc].value[FAKE_MODE_ID] = FIRST_BLOB + BLOBS; /* the kernel's own */
		plane_shows(&state[primary], c->crtc_id, c->fb_id, c->mode.hdisplay, c->mode.vdisplay);
	} else {
		state[crtc].value[FAKE_ACTIVE] = state[crtc].value[FAKE_MODE_ID] = 0;
		plane_shows(&state[primary], 0, 0, 0, 0);
		for (uint32_t i = FAKE_CONNECTOR; i <= FAKE_CONNECTOR_1; i++)
			if (state[i].value[FAKE_CRTC_ID] == c->crtc_id)
				state[i].value[FAKE_CRTC_ID] = 0;
	}
	int error = check(state, true);
	if (error)
		return error;
	pending = false;
	take(state);
	card.set_crtc++;
	return 0;
}

static int page_flip(const struct drm_mode_crtc_page_flip *f)
{
	if (index_of(f->crtc_id, DRM_MODE_OBJECT_CRTC) != FAKE_CRTC || !fb_exists(f->fb_id))
		return ENOENT;
	if (card.no_page_flip || !object[FAKE_CRTC].value[FAKE_ACTIVE])
		return EINVAL;
	if (pending)
		return EBUSY;
	if (f->fb_id != FOREIGN && (fb[f->fb_id - FIRST_FB].width < card.width || fb[f->fb_id - FIRST_FB].height < card.height))
		return ENOSPC;
	object[FAKE_PRIMARY].value[FAKE_FB_ID] = f->fb_id;
	card.page_flips++;
	card.clipped = false;
	if (f->flags & DRM_MODE_PAGE_FLIP_EVENT)
		begin_flip(f->user_data);
	return 0;
}

static int set_plane(const struct drm_mode_set_plane *p)
{
	static struct object state[FAKE_OBJECTS];
	int i = index_of(p->plane_id, DRM_MODE_OBJECT_PLANE);
	if (i < 0)
		return ENOENT;
	memcpy(state, object, sizeof(state));
	plane_shows(&state[i], p->crtc_id, p->fb_id, p->crtc_w, p->crtc_h);
	int error = check(state, false);
	if (error == 0)
		take(state);
	return error;
}

static int dirty_fb(const struct drm_mode_fb_dirty_cmd *d)
{
	if (!card.dirty)
		return ENOSYS;
	if (!fb_exists(d->fb_id))
		return ENOENT;
	card.dirties++;
	card.clipped = d->num_clips != 0;
	if (d->num_clips) {
		struct drm_clip_rect clip;
		memcpy(&clip, (const void *)(uintptr_t)d->clips_ptr, sizeof(clip));
		card.clip = (struct drm_mode_rect){clip.x1, clip.y1, clip.x2, clip.y2};
	}
	return 0;
}

/* --- memory -------------------------------------------------------------------------------------------------------- */

static int new_handle(const struct piece *piece, uint32_t n, uint32_t *id)
{
	for (uint32_t i = 0; i < HANDLES; i++) {
		if (handle[i].used)
			continue;
		handle[i].used = true;
		handle[i].n = n;
		memcpy(handle[i].piece, piece, n * sizeof(*piece));
		*id = i + 1;
		return 0;
	}
	return ENOMEM;
}

static int close_handle(uint32_t id)
{
	if (id == 0 || id > HANDLES || !handle[id - 1].used)
		return EINVAL;
	handle[id - 1].used = false;
	return 0;
}

static int add_fb(struct drm_mode_fb_cmd2 *f)
{
	uint32_t h = f->handles[0];
	uint64_t size = 0;
	if (h == 0 || h > HANDLES || !handle[h - 1].used)
		return ENOENT;
	for (uint32_t i = 0; i < handle[h - 1].n; i++)
		size += handle[h - 1].piece[i].size;
	if (f->width == 0 || f->height == 0 || f->pitches[0] < f->width * 4 || f->offsets[0] + (uint64_t)(f->height - 1) * f->pitches[0] + f->width * 4 > size)
		return EINVAL;
	for (uint32_t i = 0; i < FBS; i++) {
		if (fb[i].used)
			continue;
		fb[i].used = true;
		fb[i].width = f->width;
		fb[i].height = f->height;
		fb[i].pitch = f->pitches[0];
		fb[i].offset = f->offsets[0];
		fb[i].format = f->pixel_format;
		fb[i].n = handle[h - 1].n;
		memcpy(fb[i].piece, handle[h - 1].piece, sizeof(fb[i].piece));
		f->fb_id = FIRST_FB + i;
		return 0;
	}
	return ENOMEM;
}

static int rm_fb(uint32_t id)
{
	if (id < FIRST_FB || !fb_exists(id))
		return ENOENT;
	fb[id - FIRST_FB].used = false;
	/* drm_framebuffer_remove(): a plane that shows it goes off, and the CRTC of a primary plane with it. */
	for (uint32_t i = FAKE_PRIMARY; i < FAKE_OBJECTS; i++) {
		if (object[i].value[FAKE_FB_ID] != id)
			continue;
		plane_shows(&object[i], 0, 0, 0, 0);
		if (i == FAKE_PRIMARY)
			object[FAKE_CRTC].value[FAKE_ACTIVE] = 0;
		card.pulled++;
	}
	return 0;
}

static int make_udmabuf(const struct udmabuf_create_list *list)
{
	struct stat st;
	int fd = memfd_create("dmabuf", MFD_CLOEXEC);
	if (fd < 0 || n_dmabufs == DMABUFS || list->count == 0 || list->count > PIECES || fstat(fd, &st) != 0) {
		if (fd >= 0)
			close(fd);
		errno = EINVAL;
		return -1;
	}
	uint32_t d = n_dmabufs++;
	dmabuf[d].inode = st.st_ino;
	dmabuf[d].n = list->count;
	for (uint32_t i = 0; i < list->count; i++) {
		int seals = fcntl((int)list->list[i].memfd, F_GET_SEALS);
		if (list->list[i].offset % PAGE || list->list[i].size % PAGE || seals < 0 || !(seals & F_SEAL_SHRINK)) {
			close(fd);
			errno = EINVAL;
			return -1;
		}
		dmabuf[d].piece[i] = (struct piece){fcntl((int)list->list[i].memfd, F_DUPFD_CLOEXEC, 0), list->list[i].offset, list->list[i].size};
	}
	return fd;
}

static int prime(struct drm_prime_handle *p)
{
	struct stat st;
	if (card.no_prime)
		return ENOSYS;
	if (fstat(p->fd, &st) == 0)
		for (uint32_t i = 0; i < n_dmabufs; i++)
			if (dmabuf[i].inode == st.st_ino)
				return new_handle(dmabuf[i].piece, dmabuf[i].n, &p->handle);
	return EBADF;
}

static uint32_t fb_pixel(uint64_t id, uint64_t x, uint64_t y)
{
	uint32_t pixel = 0;
	if (id < FIRST_FB)
		return 0xf0e16e;
	uint64_t at = fb[id - FIRST_FB].offset + y * fb[id - FIRST_FB].pitch + x * 4;
	for (uint32_t i = 0; i < fb[id - FIRST_FB].n; i++) {
		const struct piece *piece = &fb[id - FIRST_FB].piece[i];
		if (at < piece->size) {
			if (pread(piece->fd, &pixel, 4, (off_t)(piece->offset + at)) != 4)
				abort();
			break;
		}
		at -= piece->size;
	}
	return pixel & 0xffffff;
}

/* --- questions ------------------------------------------------------------------------------------------------------ */

static void get_resources(struct drm_mode_card_res *r)
{
	const uint32_t crtcs[] = {FAKE_ID(FAKE_CRTC), FAKE_ID(FAKE_CRTC_1)}, connectors[] = {FAKE_ID(FAKE_CONNECTOR), FAKE_ID(FAKE_CONNECTOR_1)}, encoders[] = {50, 51};
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
		if (!visible_prop(o, p))
			continue;
		ids[n] = FIRST_PROP + p;
		values[n++] = object[o].value[p];
	}
	give(ids_to, count, ids, n, 4);
	give(values_to, &room, values, n, 8);
}

static int get_connector(struct drm_mode_get_connector *c)
{
	int i = index_of(c->connector_id, DRM_MODE_OBJECT_CONNECTOR);
	if (i < 0)
		return ENOENT;
	bool connected = i == FAKE_CONNECTOR && card.connected;
	struct drm_mode_modeinfo mode;
	uint32_t encoder = 50 + (uint32_t)i;
	fill_mode(&mode);
	c->connection = connected ? DRM_MODE_CONNECTED : DRM_MODE_DISCONNECTED;
	c->connector_type = DRM_MODE_CONNECTOR_HDMIA;
	c->connector_type_id = (uint32_t)i + 1;
	c->encoder_id = object[i].value[FAKE_CRTC_ID] ? encoder : 0;
	give(c->encoders_ptr, &c->count_encoders, &encoder, 1, 4);
	give(c->modes_ptr, &c->count_modes, &mode, connected ? 1 : 0, sizeof(mode));
	list_props((uint32_t)i, c->props_ptr, c->prop_values_ptr, &c->count_props);
	return 0;
}

static int get_plane(struct drm_mode_get_plane *p)
{
	int i = index_of(p->plane_id, DRM_MODE_OBJECT_PLANE);
	if (i < 0)
		return ENOENT;
	uint32_t format = i == FAKE_OVERLAY ? card.overlay_format : i == FAKE_CURSOR ? DRM_FORMAT_ARGB8888 : DRM_FORMAT_XRGB8888;
	p->crtc_id = (uint32_t)object[i].value[FAKE_CRTC_ID];
	p->fb_id = (uint32_t)object[i].value[FAKE_FB_ID];
	p->possible_crtcs = possible_crtcs((uint32_t)i);
	give(p->format_type_ptr, &p->count_format_types, &format, 1, 4);
	return 0;
}

static void get_planes(struct drm_mode_get_plane_res *r)
{
	uint32_t ids[FAKE_OBJECTS], n = 0;
	for (uint32_t i = FAKE_PRIMARY; i < FAKE_OBJECTS; i++)
		if (!(i == FAKE_OVERLAY && card.no_overlay) && (universal_client || object[i].value[FAKE_TYPE] == DRM_PLANE_TYPE_OVERLAY))
			ids[n++] = FAKE_ID(i);
	give(r->plane_id_ptr, &r->count_planes, ids, n, 4);
}

static int get_cap(struct drm_get_cap *c)
{
	switch (c->capability) {
	case DRM_CAP_DUMB_BUFFER:
		c->value = 1;
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

static int set_client_cap(const struct drm_set_client_cap *c)
{
	switch (c->capability) {
	case DRM_CLIENT_CAP_UNIVERSAL_PLANES:
		universal_client = c->value;
		return 0;
	case DRM_CLIENT_CAP_ATOMIC:
		if (card.no_atomic)
			return EOPNOTSUPP;
		atomic_client = universal_client = c->value != 0;
		return 0;
	default:
		return EINVAL;
	}
}

static int create_blob(struct drm_mode_create_blob *b)
{
	for (uint32_t i = 0; i < BLOBS; i++) {
		if (blob[i].used || blob[i].pinned)
			continue;
		free(blob[i].data);
		blob[i].data = malloc(b->length);
		memcpy(blob[i].data, (const void *)(uintptr_t)b->data, b->length);
		blob[i].length = b->length;
		blob[i].used = true;
		b->blob_id = FIRST_BLOB + i;
		return 0;
	}
	return ENOMEM;
}

static int destroy_blob(uint32_t id)
{
	if (id < FIRST_BLOB || id >= FIRST_BLOB + BLOBS || !blob[id - FIRST_BLOB].used)
		return ENOENT;
	blob[id - FIRST_BLOB].used = false;
	return 0;
}

static void give_text(char *to, __kernel_size_t *length, const char *text)
{
	size_t n = strlen(text);
	if (to && *length)
		memcpy(to, text, n < *length ? n : *length);
	*length = n;
}

static void get_version(struct drm_version *v)
{
	v->version_major = 1;
	give_text(v->name, &v->name_len, card.driver);
	give_text(v->date, &v->date_len, "20200101");
	give_text(v->desc, &v->desc_len, "a card of the tests");
}

static int get_sequence(struct drm_crtc_get_sequence *s)
{
	if (card.no_vblank)
		return EOPNOTSUPP;
	s->active = 1;
	return 0;
}

static int get_property(struct drm_mode_get_property *p)
{
	if (p->prop_id < FIRST_PROP || p->prop_id >= FIRST_PROP + FAKE_PROPS)
		return ENOENT;
	memset(p->name, 0, sizeof(p->name));
	strcpy(p->name, prop_name[p->prop_id - FIRST_PROP]);
	p->flags = DRM_MODE_PROP_RANGE;
	p->count_values = p->count_enum_blobs = 0;
	return 0;
}

static int set_property(uint32_t id, uint32_t prop, uint64_t value)
{
	uint32_t i = id - FAKE_ID(0), p = prop - FIRST_PROP;
	if (id < FAKE_ID(0) || i >= FAKE_OBJECTS || prop < FIRST_PROP || p >= FAKE_PROPS || !visible_prop(i, p))
		return ENOENT;
	object[i].value[p] = value;
	return 0;
}

static int get_crtc(struct drm_mode_crtc *c)
{
	int i = index_of(c->crtc_id, DRM_MODE_OBJECT_CRTC);
	if (i < 0)
		return ENOENT;
	c->fb_id = (uint32_t)object[i == FAKE_CRTC ? FAKE_PRIMARY : FAKE_PRIMARY_1].value[FAKE_FB_ID];
	c->mode_valid = object[i].value[FAKE_ACTIVE] != 0;
	if (c->mode_valid)
		fill_mode(&c->mode);
	return 0;
}

static int create_dumb(struct drm_mode_create_dumb *d)
{
	d->pitch = d->width * 4;
	d->size = ((uint64_t)d->pitch * d->height + PAGE - 1) / PAGE * PAGE;
	struct piece piece = {memory, memory_end, d->size};
	memory_end += d->size;
	return ftruncate(memory, (off_t)memory_end) == 0 ? new_handle(&piece, 1, &d->handle) : ENOMEM;
}

static int map_dumb(struct drm_mode_map_dumb *m)
{
	if (m->handle == 0 || m->handle > HANDLES || !handle[m->handle - 1].used)
		return ENOENT;
	m->offset = handle[m->handle - 1].piece[0].offset;
	return 0;
}

/* Ioctls that only the master may do (DRM_MASTER in drm_ioctl.c); whoever else gets EACCES. */
static bool masters_only(unsigned long request)
{
	return request == DRM_IOCTL_MODE_ATOMIC || request == DRM_IOCTL_MODE_SETCRTC || request == DRM_IOCTL_MODE_PAGE_FLIP || request == DRM_IOCTL_MODE_SETPLANE ||
	       request == DRM_IOCTL_MODE_CURSOR || request == DRM_IOCTL_MODE_DIRTYFB || request == DRM_IOCTL_MODE_OBJ_SETPROPERTY ||
	       request == DRM_IOCTL_MODE_SETPROPERTY;
}

static bool commits(unsigned long request)
{
	return request == DRM_IOCTL_MODE_ATOMIC || request == DRM_IOCTL_MODE_SETCRTC || request == DRM_IOCTL_MODE_PAGE_FLIP;
}

static bool names(const struct drm_mode_atomic *a, uint32_t id)
{
	for (uint32_t i = 0; i < a->count_objs; i++)
		if (((const uint32_t *)(uintptr_t)a->objs_ptr)[i] == id)
			return true;
	return false;
}

static int scripted(unsigned long request, const void *arg)
{
	bool test = request == DRM_IOCTL_MODE_ATOMIC && ((const struct drm_mode_atomic *)arg)->flags & DRM_MODE_ATOMIC_TEST_ONLY;
	for (uint32_t i = 0; i < ARRAY_LEN(card.script); i++) {
		struct fake_script *s = &card.script[i];
		if (s->request != request || s->count == 0 || (test && !s->tests) ||
			(request == DRM_IOCTL_MODE_ATOMIC && s->with && !names(arg, s->with)))
			continue;
		if (s->skip > 0) {
			s->skip--;
			continue;
		}
		s->count--;
		return s->error;
	}
	return 0;
}

static int serve(unsigned long request, void *arg)
{
	card.ioctls++;
	if (card.gone)
		return ENODEV;
	int error = scripted(request, arg);
	if (error)
		return error;
	if (card.inactive && masters_only(request))
		return EACCES;
	switch (request) {
	case DRM_IOCTL_VERSION:
		get_version(arg);
		return 0;
	case DRM_IOCTL_AUTH_MAGIC: /* how libdrm asks who is master */
		return master && !card.inactive ? EINVAL : EACCES;
	case DRM_IOCTL_SET_MASTER:
		master = !card.inactive;
		return master ? 0 : EBUSY;
	case DRM_IOCTL_DROP_MASTER:
		master = false;
		return 0;
	case DRM_IOCTL_GET_CAP:
		return get_cap(arg);
	case DRM_IOCTL_SET_CLIENT_CAP:
		return set_client_cap(arg);
	case DRM_IOCTL_MODE_GETRESOURCES:
		get_resources(arg);
		return 0;
	case DRM_IOCTL_MODE_GETCONNECTOR:
		return get_connector(arg);
	case DRM_IOCTL_MODE_GETENCODER: {
		struct drm_mode_get_encoder *e = arg;
		if (e->encoder_id < 50 || e->encoder_id > 51)
			return ENOENT;
		e->possible_crtcs = 3;
		e->crtc_id = (uint32_t)object[e->encoder_id - 50].value[FAKE_CRTC_ID];
		return 0;
	}
	case DRM_IOCTL_MODE_GETPLANERESOURCES:
		get_planes(arg);
		return 0;
	case DRM_IOCTL_MODE_GETPLANE:
		return get_plane(arg);
	case DRM_IOCTL_MODE_OBJ_GETPROPERTIES: {
		struct drm_mode_obj_get_properties *p = arg;
		uint32_t i = p->obj_id - FAKE_ID(0);
		if (p->obj_id < FAKE_ID(0) || i >= FAKE_OBJECTS)
			return ENOENT;
		list_props(i, p->props_ptr, p->prop_values_ptr, &p->count_props);
		return 0;
	}
	case DRM_IOCTL_MODE_GETPROPERTY:
		return get_property(arg);
	case DRM_IOCTL_MODE_OBJ_SETPROPERTY: {
		const struct drm_mode_obj_set_property *p = arg;
		return set_property(p->obj_id, p->prop_id, p->value);
	}
	case DRM_IOCTL_MODE_SETPROPERTY: {
		const struct drm_mode_connector_set_property *p = arg;
		return set_property(p->connector_id, p->prop_id, p->value);
	}
	case DRM_IOCTL_MODE_CREATEPROPBLOB:
		return create_blob(arg);
	case DRM_IOCTL_MODE_DESTROYPROPBLOB:
		return destroy_blob(((struct drm_mode_destroy_blob *)arg)->blob_id);
	case DRM_IOCTL_MODE_ATOMIC:
		return atomic_commit(arg);
	case DRM_IOCTL_MODE_GETCRTC:
		return get_crtc(arg);
	case DRM_IOCTL_MODE_SETCRTC:
		return set_crtc(arg);
	case DRM_IOCTL_MODE_PAGE_FLIP:
		return page_flip(arg);
	case DRM_IOCTL_MODE_SETPLANE:
		return set_plane(arg);
	case DRM_IOCTL_MODE_DIRTYFB:
		return dirty_fb(arg);
	case DRM_IOCTL_MODE_CURSOR: {
		const struct drm_mode_cursor *c = arg;
		if (c->flags == DRM_MODE_CURSOR_BO && c->handle == 0)
			plane_shows(&object[FAKE_CURSOR], 0, 0, 0, 0);
		return 0;
	}
	case DRM_IOCTL_CRTC_GET_SEQUENCE:
		return get_sequence(arg);
	case DRM_IOCTL_MODE_CREATE_DUMB:
		return create_dumb(arg);
	case DRM_IOCTL_MODE_MAP_DUMB:
		return map_dumb(arg);
	case DRM_IOCTL_MODE_DESTROY_DUMB:
		return close_handle(((struct drm_mode_destroy_dumb *)arg)->handle);
	case DRM_IOCTL_GEM_CLOSE:
		return close_handle(((struct drm_gem_close *)arg)->handle);
	case DRM_IOCTL_MODE_ADDFB2:
		return add_fb(arg);
	case DRM_IOCTL_MODE_RMFB:
		return rm_fb(*(const uint32_t *)arg);
	case DRM_IOCTL_PRIME_FD_TO_HANDLE:
		return prime(arg);
	default:
		return EINVAL;
	}
}

/* --- what the program calls instead of the C library's ---------------------------------------------------------------- */

int ioctl(int fd, unsigned long request, ...);
int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	va_start(args, request);
	void *arg = va_arg(args, void *);
	va_end(args);
	if (fd < 0 || (fd != device && (fd != udmabuf || request != UDMABUF_CREATE_LIST)))
		return (int)syscall(SYS_ioctl, fd, request, arg);
	if (fd == device && card.before)
		card.before(request);
	pthread_mutex_lock(&lock);
	int result = 0, error = 0;
	if (fd == device)
		error = serve(request, arg);
	else
		result = make_udmabuf(arg);
	card.refused += error && commits(request);
	pthread_mutex_unlock(&lock);
	if (error) {
		errno = error;
		return -1;
	}
	return result;
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	if (fd < 0 || fd != device)
		return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
	void *at = (void *)syscall(SYS_mmap, address, length, protection, flags, memory, offset);
	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; at != MAP_FAILED && i < MAPPINGS; i++) {
		if (mapping[i] == NULL) {
			mapping[i] = at;
			break;
		}
	}
	pthread_mutex_unlock(&lock);
	return at;
}

int munmap(void *address, size_t length)
{
	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; address && i < MAPPINGS; i++)
		if (mapping[i] == address)
			mapping[i] = NULL;
	pthread_mutex_unlock(&lock);
	return (int)syscall(SYS_munmap, address, length);
}

int open(const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
	va_end(args);
	if (strcmp(path, "/dev/udmabuf") != 0)
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	if (card.no_udmabuf) {
		errno = ENOENT;
		return -1;
	}
	udmabuf = eventfd(0, EFD_CLOEXEC);
	return udmabuf;
}

/* --- for tests ---------------------------------------------------------------------------------------------------------- */

bool fake_drm_pending(void)
{
	pthread_mutex_lock(&lock);
	bool is = pending;
	pthread_mutex_unlock(&lock);
	return is;
}

bool fake_drm_flip(void)
{
	pthread_mutex_lock(&lock);
	bool was = pending;
	if (was)
		deliver();
	pthread_mutex_unlock(&lock);
	return was;
}

bool fake_drm_lit(void)
{
	pthread_mutex_lock(&lock);
	bool lit = card.connected && !card.gone && object[FAKE_CRTC].value[FAKE_ACTIVE] && object[FAKE_CONNECTOR].value[FAKE_CRTC_ID] == FAKE_ID(FAKE_CRTC) &&
		   object[FAKE_CONNECTOR].value[FAKE_DPMS] == DRM_MODE_DPMS_ON && object[FAKE_PRIMARY].value[FAKE_FB_ID];
	pthread_mutex_unlock(&lock);
	return lit;
}

uint32_t fake_drm_pixel(uint32_t x, uint32_t y)
{
	const enum fake_object over[] = {FAKE_OVERLAY, FAKE_PRIMARY};
	uint32_t pixel = 0;
	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < ARRAY_LEN(over); i++) {
		const uint64_t *v = object[over[i]].value;
		if (v[FAKE_FB_ID] && v[FAKE_CRTC_ID] == FAKE_ID(FAKE_CRTC) && x >= v[FAKE_CRTC_X] && x < v[FAKE_CRTC_X] + v[FAKE_CRTC_W] && y >= v[FAKE_CRTC_Y] &&
			y < v[FAKE_CRTC_Y] + v[FAKE_CRTC_H]) {
			pixel = fb_pixel(v[FAKE_FB_ID], (v[FAKE_SRC_X] >> 16) + x - v[FAKE_CRTC_X], (v[FAKE_SRC_Y] >> 16) + y - v[FAKE_CRTC_Y]);
			break;
		}
	}
	pthread_mutex_unlock(&lock);
	return pixel;
}

uint64_t fake_drm_value(enum fake_object o, enum fake_prop prop)
{
	pthread_mutex_lock(&lock);
	uint64_t value = object[o].value[prop];
	pthread_mutex_unlock(&lock);
	return value;
}

void fake_drm_leave(enum fake_object o, enum fake_prop prop, uint64_t value)
{
	object[o].value[prop] = value;
}

uint32_t fake_drm_foreign(enum fake_object plane)
{
	plane_shows(&object[plane], FAKE_ID(plane == FAKE_PRIMARY_1 ? FAKE_CRTC_1 : FAKE_CRTC), FOREIGN, card.width, card.height);
	return FOREIGN;
}

uint32_t fake_drm_leaks(void)
{
	uint32_t blobs = 0, fbs = 0, handles = 0, mappings = 0;
	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < BLOBS; i++)
		blobs += blob[i].used;
	for (uint32_t i = 0; i < FBS; i++)
		fbs += fb[i].used;
	for (uint32_t i = 0; i < HANDLES; i++)
		handles += handle[i].used;
	for (uint32_t i = 0; i < MAPPINGS; i++)
		mappings += mapping[i] != NULL;
	pthread_mutex_unlock(&lock);
	return blobs + 10 * fbs + 100 * handles + 1000 * mappings;
}
