/* The card's memory and others': dumb buffers, dma-bufs over other memory, handles of either, framebuffers over handles. */
#include "fake_drm_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FBS 64
#define HANDLES 64
#define DMABUFS 64
#define FIRST_FB 200u
#define NUMBERS 1000u /* a card */
#define PAGE 4096u

static struct fake_fb fb[FBS];
static struct {
	bool used;
	int exported; /* file of a dma-buf of it; -1: none can be made */
	uint32_t n;
	struct fake_piece piece[FAKE_PIECES];
} handle[HANDLES];
static struct {
	ino_t inode;
	uint32_t n;
	struct fake_piece piece[FAKE_PIECES];
} dmabuf[DMABUFS];
static uint32_t n_dmabufs;
static uint32_t base; /* numbers of handles and framebuffers begin behind it: no two cards have one in common */
static int dumb = -1; /* the file of all dumb buffers, one behind the other */
static uint64_t dumb_end;

void fake_memory_reset(void)
{
	memset(fb, 0, sizeof(fb));
	memset(handle, 0, sizeof(handle));
	while (n_dmabufs > 0)
		for (n_dmabufs--; dmabuf[n_dmabufs].n > 0; dmabuf[n_dmabufs].n--)
			close(dmabuf[n_dmabufs].piece[dmabuf[n_dmabufs].n - 1].fd);
	if (dumb >= 0)
		close(dumb);
	dumb = memfd_create("card", MFD_CLOEXEC);
	dumb_end = 0;
	base = 0;
}

void fake_memory_forget(void)
{
	memset(fb, 0, sizeof(fb));
	memset(handle, 0, sizeof(handle));
	base += NUMBERS;
}

/* Where it is in the table; -1: there is none of that number. */
static int handle_of(uint32_t id)
{
	uint32_t i = id - base - 1;
	return i < HANDLES && handle[i].used ? (int)i : -1;
}

static int new_handle(const struct fake_piece *piece, uint32_t n, uint32_t *id)
{
	for (uint32_t i = 0; i < HANDLES; i++) {
		if (handle[i].used)
			continue;
		handle[i].used = true;
		handle[i].exported = -1;
		handle[i].n = n;
		memcpy(handle[i].piece, piece, n * sizeof(*piece));
		*id = base + i + 1;
		return 0;
	}
	return ENOMEM;
}

int fake_close_handle(uint32_t id)
{
	int i = handle_of(id);
	if (i < 0) {
		card.strays++;
		return EINVAL;
	}
	handle[i].used = false;
	return 0;
}

int fake_make_udmabuf(const struct udmabuf_create_list *list)
{
	struct stat st;
	int fd = memfd_create("dmabuf", MFD_CLOEXEC);
	if (fd < 0 || n_dmabufs == DMABUFS || list->count == 0 || list->count > FAKE_PIECES || fstatat(fd, "", &st, AT_EMPTY_PATH) != 0) {
		if (fd >= 0)
			close(fd);
		errno = EINVAL;
		return -1;
	}
	uint32_t d = n_dmabufs++;
	dmabuf[d].inode = st.st_ino;
	dmabuf[d].n = 0; /* as far as it got: fake_memory_reset() closes so many */
	for (uint32_t i = 0; i < list->count; i++) {
		int seals = fcntl((int)list->list[i].memfd, F_GET_SEALS);
		if (list->list[i].offset % PAGE || list->list[i].size % PAGE || seals < 0 || !(seals & F_SEAL_SHRINK)) {
			close(fd);
			errno = EINVAL;
			return -1;
		}
		dmabuf[d].piece[dmabuf[d].n++] = (struct fake_piece){fcntl((int)list->list[i].memfd, F_DUPFD_CLOEXEC, 0), list->list[i].offset, list->list[i].size};
	}
	return fd;
}

int fake_prime(struct drm_prime_handle *p)
{
	struct stat st;
	if (card.no_prime)
		return ENOSYS;
	if (fstatat(p->fd, "", &st, AT_EMPTY_PATH) == 0)
		for (uint32_t i = 0; i < n_dmabufs; i++)
			if (dmabuf[i].inode == st.st_ino)
				return new_handle(dmabuf[i].piece, dmabuf[i].n, &p->handle);
	return EBADF;
}

int fake_export(struct drm_prime_handle *p)
{
	int i = handle_of(p->handle);
	if (i < 0)
		return ENOENT;
	if (handle[i].exported < 0 || p->flags != (DRM_CLOEXEC | DRM_RDWR))
		return ENOSYS;
	p->fd = fcntl(handle[i].exported, F_DUPFD_CLOEXEC, 0);
	return p->fd < 0 ? errno : 0;
}

int fake_create_dumb(struct drm_mode_create_dumb *d)
{
	if (card.no_dumb)
		return ENOSYS;
	d->pitch = d->width * 4;
	d->size = ((uint64_t)d->pitch * d->height + PAGE - 1) / PAGE * PAGE;
	struct fake_piece piece = {dumb, dumb_end, d->size};
	dumb_end += d->size;
	return ftruncate(dumb, (off_t)dumb_end) == 0 ? new_handle(&piece, 1, &d->handle) : ENOMEM;
}

int fake_map_dumb(struct drm_mode_map_dumb *m)
{
	int i = handle_of(m->handle);
	if (i < 0)
		return ENOENT;
	m->offset = handle[i].piece[0].offset;
	return 0;
}

void fake_clear_dumb(void)
{
	if (dumb_end > 0 && fallocate(dumb, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)dumb_end) != 0)
		abort();
}

int fake_dumb_file(void)
{
	return dumb;
}

int fake_add_fb(struct drm_mode_fb_cmd2 *f)
{
	int h = handle_of(f->handles[0]);
	uint64_t size = 0;
	if (h < 0)
		return ENOENT;
	for (uint32_t i = 0; i < handle[h].n; i++)
		size += handle[h].piece[i].size;
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
		fb[i].n = handle[h].n;
		memcpy(fb[i].piece, handle[h].piece, sizeof(fb[i].piece));
		f->fb_id = FIRST_FB + base + i;
		return 0;
	}
	return ENOMEM;
}

int fake_rm_fb(uint32_t id)
{
	if (id < FIRST_FB || !fake_fb_exists(id)) {
		card.strays++;
		return ENOENT;
	}
	fb[id - FIRST_FB - base].used = false;
	/* drm_framebuffer_remove(): a plane that shows it goes off, and the CRTC of a primary plane with it. */
	for (uint32_t i = FAKE_PRIMARY; i < FAKE_OBJECTS; i++) {
		if (fake_state[i].value[FAKE_FB_ID] != id)
			continue;
		bool seen = fake_state[i].value[FAKE_CRTC_ID] == fake_state[FAKE_CONNECTOR].value[FAKE_CRTC_ID];
		card.pulled += seen;
		card.pulled_beside += !seen;
		fake_plane_shows(&fake_state[i], 0, 0, 0, 0);
		if (i == FAKE_PRIMARY || i == FAKE_PRIMARY_1)
			fake_state[FAKE_CRTC + i - FAKE_PRIMARY].value[FAKE_ACTIVE] = 0;
	}
	return 0;
}

bool fake_fb_exists(uint64_t id)
{
	uint64_t first = FIRST_FB + base;
	return id == FAKE_FOREIGN || (id >= first && id < first + FBS && fb[id - first].used);
}

const struct fake_fb *fake_fb(uint64_t id)
{
	return id < FIRST_FB ? NULL : &fb[id - FIRST_FB - base];
}

bool fake_fb_is_import(uint64_t id)
{
	const struct fake_fb *of = fake_fb_exists(id) ? fake_fb(id) : NULL;
	return of && of->piece[0].fd != dumb;
}

uint32_t fake_fb_pixel(uint64_t id, uint64_t x, uint64_t y)
{
	uint32_t pixel = 0;
	const struct fake_fb *from = fake_fb(id);
	if (from == NULL)
		return 0xf0e16e;
	uint64_t at = from->offset + y * from->pitch + x * 4;
	for (uint32_t i = 0; i < from->n; i++) {
		const struct fake_piece *piece = &from->piece[i];
		if (at < piece->size) {
			if (pread(piece->fd, &pixel, 4, (off_t)(piece->offset + at)) != 4)
				abort();
			break;
		}
		at -= piece->size;
	}
	return pixel & 0xffffff;
}

int fake_drm_adopt(int shown, int file, uint64_t size, uint32_t *id)
{
	pthread_mutex_lock(&fake_lock);
	int error = new_handle(&(struct fake_piece){shown, 0, size}, 1, id);
	if (error == 0)
		handle[handle_of(*id)].exported = file;
	pthread_mutex_unlock(&fake_lock);
	return error;
}

void fake_drm_disown(uint32_t id)
{
	pthread_mutex_lock(&fake_lock);
	if (!card.gone && !fake_client.lost)
		fake_close_handle(id);
	pthread_mutex_unlock(&fake_lock);
}

uint32_t fake_fbs_held(void)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < FBS; i++)
		n += fb[i].used;
	return n;
}

uint32_t fake_handles_held(void)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < HANDLES; i++)
		n += handle[i].used;
	return n;
}
