#define LOG_MODULE "drm"
#include "kms/card.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <drm_fourcc.h>

#include "base/exit_status.h"
#include "base/log.h"
#include "kms/flips.h"
#include "kms/session.h"

#define CURSOR_SIDE_DEFAULT 64 /* of drivers that do not tell: drivers/gpu/drm/drm_ioctl.c */

struct drm {
	struct backend base;
	struct session *session;
	struct udev *udev;
	struct udev_monitor *monitor;
	struct choose_wish wish;
	_Atomic uint32_t lit[1 + OUTPUT_MIRRORS];  /* connectors, as in struct choose_wish; for the worker */
	_Atomic uint32_t further[OUTPUT_MIRRORS]; /* connectors that have or had these places; for the worker; 0: none yet */
	_Atomic uint32_t main; /* connector of `output`, or of the one before it fell asleep; for the worker; 0: none */
	bool asleep;           /* switched off since the last full commit */
	struct drm_output *output; /* adopted, and its mirrors or further ones behind it; NULL or not connected: nothing can be committed. Front. */
	struct flips flips[1 + OUTPUT_MIRRORS];        /* of the main output, and of further ones */
	struct drm_card card;
	char driver[32], text[56];
	dev_t devnum;
	struct drm_present present; /* as the kernel's news have it. Front. */
	bool gbm_wanted; /* also where there are dumb buffers */
	struct drm_gbm *gbm; /* NULL: dumb buffers */
	bool known; /* what it does with others' memory was said */
	int udmabuf, udmabuf_error; /* -1: there is none, why */
	struct drm_atomic atomic[1 + OUTPUT_MIRRORS]; /* the same */
	struct drm_legacy legacy;
};

static struct drm *from(struct backend *backend)
{
	return container_of(backend, struct drm, base);
}

static struct output *drm_probe(struct backend *backend)
{
	struct drm *drm = from(backend);
	struct choose_wish wish = drm->wish;
	bool legacy = drm->card.legacy;
	wish.keep = drm->main;
	wish.extend &= !legacy; /* each output would need flips and modes of its own, in calls that wait */
	for (uint32_t i = 0; i < OUTPUT_MIRRORS; i++)
		wish.further[i] = drm->further[i];
	for (uint32_t i = 0; i <= OUTPUT_MIRRORS; i++)
		wish.lit[i] = drm->lit[i];
	struct drm_output *output = drm_output_probe(backend->fd, &wish);
	if (output && legacy)
		output->base.n_mirrors = 0; /* no commit is for several CRTCs */
	if (output && (legacy || output->base.n_mirrors > 0))
		output->base.cursor = false; /* nor moves a pointer with a flip; mirrors have no plane of their own for it */
	return output ? &output->base : NULL;
}

static void drm_adopt(struct backend *backend, struct output *output)
{
	struct drm *drm = from(backend);
	struct drm_output *old = drm->output;
	drm->output = output ? container_of(output, struct drm_output, base) : NULL;
	bool connected = drm->output && drm->output->base.connected;
	/* Another card is awake, and knows nothing of what was on this one. */
	if (!output)
		drm->asleep = false;
	drm_atomic_adopt(&drm->atomic[0], backend->fd, connected && !drm->card.legacy ? drm->output : NULL);
	for (uint32_t i = 0; i < OUTPUT_MIRRORS; i++) {
		struct drm_output *further = connected && drm->output->base.further[i] ? &drm->output[1 + i] : NULL;
		drm_atomic_adopt(&drm->atomic[1 + i], backend->fd, further);
		if (further || !output)
			drm->further[i] = further ? further->connector : 0; /* another card's are others */
		else if (connected && drm->further[i] == drm->output->connector)
			drm->further[i] = 0; /* it is the main one now */
	}
	for (uint32_t i = 0; i <= OUTPUT_MIRRORS; i++)
		drm->atomic[i].in_place = backend->single;
	for (uint32_t i = 0; i <= OUTPUT_MIRRORS && !output; i++)
		drm->lit[i] = 0;
	free(old);
	drm->legacy = (struct drm_legacy){0};
	/* Mirrors have the primary plane's picture alone. */
	backend->overlay = drm->output && drm->output->overlay.id && drm->output->base.n_mirrors == 0 && !drm->card.legacy;
	/* A monitor that leaves while it sleeps comes back when it is woken, and is the main one still. */
	if (!drm->asleep)
		drm->main = connected ? drm->output->connector : 0;
	if (connected && drm->output->notice[0])
		log_warn("%s", drm->output->notice);
}

static int drm_blank(struct backend *backend)
{
	struct drm *drm = from(backend);
	if (!drm->output || !drm->output->base.connected)
		return 0;
	if ((drm->card.legacy ? drm_legacy_blank(backend->fd, drm->output) : drm_atomic_blank(&drm->atomic[0])) != 0)
		return -1;
	drm->asleep = true;
	return 0;
}

static int drm_commit(struct backend *backend, const struct commit *commit)
{
	struct drm *drm = from(backend);
	uint32_t which = commit->output;
	if (!drm->output || !drm->output->base.connected || (which && !drm->output->base.further[which - 1])) {
		errno = EINVAL;
		return -1;
	}
	/* Composed when the output had a plane for it: refused, and so copied. */
	if (commit->overlay && !backend->overlay) {
		errno = EINVAL;
		return -1;
	}
	int result = drm->card.legacy ? drm_legacy_commit(backend->fd, drm->output, &drm->legacy, commit)
				      : drm_atomic_commit(&drm->atomic[which], commit, drm->driver);
	if (result == 0 && (!commit->full || (which && commit->buffer)))
		flips_begin(&drm->flips[which], commit->epoch, drm->card.legacy ? 1 : drm_atomic_outputs(&drm->atomic[which]));
	if (result >= 0 && commit->full)
		drm->lit[which] = commit->buffer ? drm->output[which].connector : 0;
	if (result >= 0 && commit->full && which == 0)
		drm->asleep = false;
	return result;
}

static void drm_dispatch(struct backend *backend)
{
	struct drm *drm = from(backend);
	uint64_t data[128]; /* aligned for the events in it; the kernel returns whole ones */
	ssize_t length = read(backend->fd, data, sizeof(data));
	const uint8_t *bytes = (const uint8_t *)data;
	for (ssize_t at = 0; at + (ssize_t)sizeof(struct drm_event) <= length;) {
		struct drm_event event;
		memcpy(&event, bytes + at, sizeof(event));
		if (event.length < sizeof(event) || at + (ssize_t)event.length > length)
			break;
		if (event.type == DRM_EVENT_FLIP_COMPLETE && event.length >= sizeof(struct drm_event_vblank)) {
			struct drm_event_vblank flip;
			memcpy(&flip, bytes + at, sizeof(flip));
			uint64_t time = (uint64_t)flip.tv_sec * NSEC_PER_SEC + (uint64_t)flip.tv_usec * NSEC_PER_USEC;
			/* The CRTC is 0 where the kernel does not tell. */
			uint32_t which = (uint32_t)(flip.user_data >> 32);
			bool main = which || flip.crtc_id == 0 || (drm->output && flip.crtc_id == drm->output->crtc);
			struct flips *flips = &drm->flips[which < ARRAY_LEN(drm->flips) ? which : 0];
			if (flips_event(flips, (uint32_t)flip.user_data, main, time ? time : clock_now_ns()))
				backend->flipped(backend->data, which, flips->epoch, flips->time_ns);
		}
		at += event.length;
	}
}

static uint32_t drm_hotplug(struct backend *backend, bool card_here)
{
	struct drm *drm = from(backend);
	struct drm_present *present = &drm->present;
	uint32_t news = 0;
	if (card_here && !present->here)
		news = drm_news_opened(present, drm->devnum);
	else if (!card_here && present->here)
		drm_news_left(present);
	struct udev_device *device;
	while ((device = udev_monitor_receive_device(drm->monitor))) {
		news |= drm_news(present, udev_device_get_action(device), udev_device_get_devnum(device));
		udev_device_unref(device);
	}
	return news;
}

static const char *drm_describe(const struct backend *backend)
{
	return container_of(backend, struct drm, base)->text;
}

static void drm_free_buffer(struct backend *backend, struct scanout_buffer *buffer)
{
	if (buffer->imported) {
		drm_forget_import(backend->fd, buffer);
		return;
	}
	if (buffer->bo) {
		drm_gbm_free(from(backend)->gbm, buffer);
		return;
	}
	if (buffer->pixels)
		munmap(buffer->pixels, buffer->size);
	if (buffer->fb)
		drmModeRmFB(backend->fd, buffer->fb);
	if (buffer->handle)
		drmModeDestroyDumbBuffer(backend->fd, buffer->handle);
	memset(buffer, 0, sizeof(*buffer));
}

int drm_add_framebuffer(int fd, uint32_t format, uint32_t offset, struct scanout_buffer *buffer)
{
	uint32_t handles[4] = {buffer->handle}, pitches[4] = {buffer->pitch}, offsets[4] = {offset};
	int result = drmModeAddFB2(fd, buffer->width, buffer->height, format, handles, pitches, offsets, &buffer->fb, 0);
	if (result == 0)
		return 0;
	errno = -result;
	return -1;
}

static int make_framebuffer(struct backend *backend, uint32_t width, uint32_t height, uint32_t format, struct scanout_buffer *buffer)
{
	if (from(backend)->gbm)
		return drm_gbm_make(from(backend)->gbm, width, height, format, buffer);
	memset(buffer, 0, sizeof(*buffer));
	buffer->width = width;
	buffer->height = height;
	if (drmModeCreateDumbBuffer(backend->fd, width, height, 32, 0, &buffer->handle, &buffer->pitch, &buffer->size) != 0)
		return -1;
	uint64_t offset;
	if (drm_add_framebuffer(backend->fd, format, 0, buffer) != 0 || drmModeMapDumbBuffer(backend->fd, buffer->handle, &offset) != 0)
		goto fail;
	void *pixels = mmap(NULL, buffer->size, PROT_READ | PROT_WRITE, MAP_SHARED, backend->fd, (off_t)offset);
	if (pixels == MAP_FAILED)
		goto fail;
	buffer->pixels = pixels;
	return 0;
fail:;
	int error = errno;
	drm_free_buffer(backend, buffer);
	errno = error;
	return -1;
}

static int drm_make_buffer(struct backend *backend, uint32_t width, uint32_t height, struct scanout_buffer *buffer)
{
	return make_framebuffer(backend, width, height, DRM_FORMAT_XRGB8888, buffer);
}

static int drm_make_cursor(struct backend *backend, struct scanout_buffer *buffer)
{
	return make_framebuffer(backend, backend->cursor_width, backend->cursor_height, DRM_FORMAT_ARGB8888, buffer);
}

static void drm_draw(struct backend *backend, const struct scanout_buffer *buffer, bool begins)
{
	(void)backend;
	if (buffer->bo)
		drm_gbm_draw(buffer, begins);
}

static int drm_import(struct backend *backend, const struct backend_pages *pages, struct scanout_buffer *buffer)
{
	return drm_import_buffer(backend->fd, from(backend)->udmabuf, pages, buffer);
}

static void drm_survey(struct backend *backend, const struct output *output, struct survey *survey)
{
	const struct drm *drm = from(backend);
	snprintf(survey->driver, sizeof(survey->driver), "%s", drm->driver);
	snprintf(survey->path, sizeof(survey->path), "%s", drm->card.path);
	drm_output_survey(backend->fd, container_of(output, struct drm_output, base), survey);
}

/* Of the pointer pictures that the card takes: a size that all drivers take, which for some is the largest (DRM_CAP_CURSOR_WIDTH in drm.h). */
static uint32_t cursor_side(int fd, uint64_t cap)
{
	uint64_t side = 0;
	return drmGetCap(fd, cap, &side) == 0 && side ? (uint32_t)side : CURSOR_SIDE_DEFAULT;
}

/*
 * bochs-drm switches QEMU's VGA on without VBE_DISPI_NOCLEARMEM (drivers/gpu/drm/tiny/bochs.c, bochs_hw_setmode()), and the device clears its memory from the start
 * on, a screen long (hw/display/vga.c). Before Linux 6.13 framebuffers lie there: as a rule the console's is the first, but a card that has just come may be ours
 * before the console has drawn anything, and the picture that was committed is gone.
 */
static bool modeset_clears(const char *driver)
{
	return strcmp(driver, "bochs-drm") == 0;
}

/* What is to be known of a card that was opened. Card thread, or at creation. False: it cannot be used, why. */
static bool take_card(struct drm *drm, int fd, char *why, size_t why_size)
{
	struct backend *backend = &drm->base;
	struct stat st;
	backend->fd = fd;
	drm->devnum = fstat(fd, &st) == 0 ? st.st_rdev : 0;
	drmVersion *version = drmGetVersion(fd);
	snprintf(drm->driver, sizeof(drm->driver), "%.31s", version ? version->name : "unknown driver");
	drmFreeVersion(version);
	if (drm->gbm_wanted || !drm->card.dumb) {
		drm->gbm = drm_gbm_open(fd);
		if (!drm->gbm) {
			snprintf(why, why_size, "%s: no framebuffers of %s by libgbm (%s): install Mesa's driver for it%s", drm->card.path, drm->driver, strerror(errno),
				drm->card.dumb ? ", or leave gbm_buffers out" : "");
			return false;
		}
	}
	snprintf(drm->text, sizeof(drm->text), "%s, %s%s", drm->driver, drm->card.legacy ? "legacy calls" : "atomic", drm->gbm ? ", gbm" : "");
	char before[sizeof(backend->copies)];
	memcpy(before, backend->copies, sizeof(before));
	backend->copies[0] = '\0';
	drm_import_probe(fd, drm->driver, drm->udmabuf, drm->udmabuf_error, backend->copies, sizeof(backend->copies));
	backend->cursor_width = cursor_side(fd, DRM_CAP_CURSOR_WIDTH);
	backend->cursor_height = cursor_side(fd, DRM_CAP_CURSOR_HEIGHT);
	backend->modeset_clears = modeset_clears(drm->driver);
	backend->flush = !drm_sees_caches(drm->driver);
	backend->single = !drm->gbm && drm_single_probe(fd, drm->driver);
	log_info("card %s: %s", drm->card.path, drm->text);
	if (drm->known && strcmp(before, backend->copies) == 0)
		return true;
	drm->known = true;
	if (!backend->copies[0])
		log_info("zero-copy: the guest's own pages are shown where size and format fit%s", backend->flush ? ", flushed from the CPU's caches" : "");
	else
		log_info("zero-copy: no, pictures are copied once: %s", backend->copies);
	return true;
}

/* Card thread, or at the end. */
static void close_card(struct drm *drm)
{
	drm_gbm_close(drm->gbm);
	drm->gbm = NULL;
	if (drm->base.fd >= 0)
		session_close_device(drm->session, drm->base.fd);
	drm->base.fd = -1;
}

static bool drm_open_card(struct backend *backend, bool look, char *why, size_t size)
{
	struct drm *drm = from(backend);
	bool final;
	close_card(drm);
	why[0] = '\0';
	int fd = look ? drm_card_open(drm->session, &drm->card, why, size, &final) : -1;
	if (fd < 0)
		return false;
	if (take_card(drm, fd, why, size))
		return true;
	/* The sandbox lets nobody load a driver of Mesa's any more. */
	snprintf(why + strlen(why), size - strlen(why), "; if it is there, start rayvm again");
	close_card(drm);
	return false;
}

static void drm_destroy(struct backend *backend)
{
	struct drm *drm = from(backend);
	if (backend->fd >= 0)
		drm_adopt(backend, NULL);
	close_card(drm);
	if (drm->udmabuf >= 0)
		close(drm->udmabuf);
	if (drm->monitor)
		udev_monitor_unref(drm->monitor);
	if (drm->udev)
		udev_unref(drm->udev);
	free(drm);
}

static const struct backend_ops drm_ops = {
	.probe = drm_probe,
	.adopt = drm_adopt,
	.commit = drm_commit,
	.blank = drm_blank,
	.dispatch = drm_dispatch,
	.hotplug = drm_hotplug,
	.open_card = drm_open_card,
	.describe = drm_describe,
	.make_buffer = drm_make_buffer,
	.free_buffer = drm_free_buffer,
	.make_cursor = drm_make_cursor,
	.draw = drm_draw,
	.import_buffer = drm_import,
	.survey = drm_survey,
	.destroy = drm_destroy,
};

struct backend *drm_create(struct session *session, const char *card, bool legacy, bool gbm, const struct choose_wish *wish, char *error, size_t error_size,
	int *exit_status)
{
	*exit_status = EXIT_DISPLAY;
	struct drm *drm = calloc(1, sizeof(*drm));
	if (!drm) {
		snprintf(error, error_size, "display: out of memory");
		return NULL;
	}
	drm->base = (struct backend){.ops = &drm_ops, .fd = -1, .hotplug_fd = -1};
	drm->session = session;
	drm->card = (struct drm_card){.wanted = card, .legacy_wanted = legacy};
	drm->gbm_wanted = gbm;
	drm->wish = *wish;
	drm->udmabuf = drm_import_open();
	drm->udmabuf_error = errno;
	drm->udev = udev_new();
	if (!drm->udev) {
		snprintf(error, error_size, "display: udev: %s", strerror(errno));
		goto fail;
	}
	/* Uevents of the kernel, not of udevd: they come also where none runs. From before the card is there, so that none is missed. */
	drm->monitor = udev_monitor_new_from_netlink(drm->udev, "kernel");
	if (drm->monitor && udev_monitor_filter_add_match_subsystem_devtype(drm->monitor, "drm", NULL) >= 0 &&
	    udev_monitor_enable_receiving(drm->monitor) >= 0)
		drm->base.hotplug_fd = udev_monitor_get_fd(drm->monitor);
	else
		log_warn("no news of monitors and cards plugged in later: %s", strerror(errno));
	int fd = drm_card_await(session, &drm->card, error, error_size);
	if (fd < 0 || !take_card(drm, fd, error, error_size))
		goto fail;
	if (wish->extend && drm->card.legacy)
		log_warn("--outputs extend: %s makes no atomic commits, further monitors stay dark", drm->driver);
	if (wish->connector && !drm_output_exists(fd, wish->connector, error, error_size))
		goto fail;
	return &drm->base;
fail:
	drm_destroy(&drm->base);
	return NULL;
}
