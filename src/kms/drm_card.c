#define LOG_MODULE "drm"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "kms/card.h"
#include "kms/session.h"

#define CARDS 16
#define WAIT_NS (10 * NSEC_PER_SEC)
#define LOOK_MS 250

struct card {
	char path[DRM_CARD_PATH];
	int rank; /* higher is tried first */
};

static bool is_one(struct udev_device *device, const char *attribute)
{
	const char *value = device ? udev_device_get_sysattr_value(device, attribute) : NULL;
	return value && strcmp(value, "1") == 0;
}

/* The seat's cards, the one that firmware and kernel showed the boot on first. */
static uint32_t list_cards(const char *seat, struct card *cards)
{
	uint32_t n = 0;
	/* Its own: one is for one thread. */
	struct udev *udev = udev_new();
	struct udev_enumerate *enumerate = udev ? udev_enumerate_new(udev) : NULL;
	if (!enumerate) {
		if (udev)
			udev_unref(udev);
		return 0;
	}
	udev_enumerate_add_match_subsystem(enumerate, "drm");
	udev_enumerate_add_match_sysname(enumerate, "card[0-9]*");
	udev_enumerate_scan_devices(enumerate);
	for (struct udev_list_entry *entry = udev_enumerate_get_list_entry(enumerate); entry && n < CARDS; entry = udev_list_entry_get_next(entry)) {
		struct udev_device *device = udev_device_new_from_syspath(udev, udev_list_entry_get_name(entry));
		if (!device)
			continue;
		const char *node = udev_device_get_devnode(device), *its_seat = udev_device_get_property_value(device, "ID_SEAT");
		/* Connectors are called card0-..., and have no node. */
		if (node && strchr(udev_device_get_sysname(device), '-') == NULL && strcmp(its_seat ? its_seat : "seat0", seat) == 0 &&
		    strlen(node) < sizeof(cards[0].path)) {
			struct udev_device *pci = udev_device_get_parent_with_subsystem_devtype(device, "pci", NULL);
			struct card card = {.rank = is_one(device, "boot_display") || is_one(pci, "boot_display") ? 2 : is_one(pci, "boot_vga") ? 1 : 0};
			memcpy(card.path, node, strlen(node) + 1);
			uint32_t at = n++;
			for (; at > 0 && cards[at - 1].rank < card.rank; at--)
				cards[at] = cards[at - 1];
			cards[at] = card;
		}
		udev_device_unref(device);
	}
	udev_enumerate_unref(enumerate);
	udev_unref(udev);
	return n;
}

/* -1 with the reason in why. *final: waiting will not change it. */
static int try_card(struct session *session, const char *path, bool *no_atomic, bool *dumb, char *why, size_t why_size, bool *final)
{
	*final = false;
	struct stat st;
	if (stat(path, &st) == 0 && (!S_ISCHR(st.st_mode) || major(st.st_rdev) != DRM_MAJOR)) {
		snprintf(why, why_size, "%.120s: is no display card: name one of /dev/dri, or leave --card out", path);
		*final = true;
		return -1;
	}
	int fd = session_open_device(session, path);
	if (fd < 0) {
		*final = errno == EACCES || errno == EPERM;
		snprintf(why, why_size, "%.120s: %s%s", path, strerror(errno), *final ? ": run as root, from a local login, or with seatd running" : "");
		return -1;
	}
	uint64_t has_dumb = 0;
	*dumb = drmGetCap(fd, DRM_CAP_DUMB_BUFFER, &has_dumb) == 0 && has_dumb != 0;
	drmModeRes *resources = drmModeGetResources(fd);
	if (!resources || resources->count_crtcs == 0 || resources->count_connectors == 0)
		snprintf(why, why_size, "%.120s: has no outputs", path);
	else if (!*dumb && !RAYVM_GBM)
		snprintf(why, why_size, "%.120s: makes no dumb buffers, and this rayvm was built without libgbm (meson -Dgbm=enabled)", path);
	else if (drmSetClientCap(fd, DRM_CLIENT_CAP_UNIVERSAL_PLANES, 1) != 0)
		snprintf(why, why_size, "%.120s: its driver shows no planes", path);
	else if (!drmIsMaster(fd) && drmSetMaster(fd) != 0) {
		/* libseat hands the card out all the same. */
		snprintf(why, why_size, "%.120s: another program holds the display: end it (a display server?) or give another --card", path);
		*final = true;
	} else {
		*no_atomic = *no_atomic || drmSetClientCap(fd, DRM_CLIENT_CAP_ATOMIC, 1) != 0;
		drmSetClientCap(fd, DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT, 1); /* refused by older kernels, which show the plane anyway */
		drmModeFreeResources(resources);
		int flags = fcntl(fd, F_GETFL);
		if (flags >= 0)
			fcntl(fd, F_SETFL, flags | O_NONBLOCK);
		return fd;
	}
	if (resources)
		drmModeFreeResources(resources);
	session_close_device(session, fd);
	return -1;
}

/* Adds the cards that there are besides the one that was named. */
static void list_others(struct session *session, const char *named, char *error, size_t error_size)
{
	struct card others[CARDS];
	uint32_t found = list_cards(session_seat(session), others), n = 0;
	size_t used = strlen(error);
	for (uint32_t i = 0; i < found && used < error_size; i++)
		if (strcmp(others[i].path, named) != 0)
			used += (size_t)snprintf(error + used, error_size - used, "%s%s", n++ ? ", " : "; there is ", others[i].path);
	if (found == 0 && used < error_size)
		snprintf(error + used, error_size - used, "; there is none");
}

int drm_card_open(struct session *session, struct drm_card *card, char *why, size_t why_size, bool *final)
{
	struct card cards[CARDS];
	size_t length = 0;
	uint32_t n = 1;
	why[0] = '\0';
	*final = false;
	if (card->wanted)
		snprintf(cards[0].path, sizeof(cards[0].path), "%s", card->wanted);
	else
		n = list_cards(session_seat(session), cards);
	for (uint32_t i = 0; i < n; i++) {
		char reason[256];
		bool this_final, no_atomic = card->legacy_wanted;
		int fd = try_card(session, cards[i].path, &no_atomic, &card->dumb, reason, sizeof(reason), &this_final);
		if (fd >= 0) {
			memcpy(card->path, cards[i].path, sizeof(card->path));
			card->legacy = no_atomic;
			return fd;
		}
		*final |= this_final;
		if (length < why_size)
			length += (size_t)snprintf(why + length, why_size - length, "%s%s", length ? "; " : "", reason);
	}
	return -1;
}

int drm_card_await(struct session *session, struct drm_card *card, char *error, size_t error_size)
{
	uint64_t start = clock_now_ns();
	for (bool said = false;; said = true) {
		char why[512];
		bool final;
		int fd = drm_card_open(session, card, why, sizeof(why), &final);
		if (fd >= 0)
			return fd;
		if (final || thread_end_asked() || clock_now_ns() - start >= WAIT_NS) {
			if (why[0] == '\0')
				snprintf(error, error_size, "no display: no card in /dev/dri within 10 s; load its kernel driver, or use --display headless");
			else
				snprintf(error, error_size, "no usable display: %s%s", why,
					final ? "" : "; load the card's kernel driver, name another with --card, or use --display headless");
			if (card->wanted)
				list_others(session, card->wanted, error, error_size);
			return -1;
		}
		/* Whoever looks at the terminal for so long wants to know why nothing happens. */
		if (!said)
			log_at_once(LOG_INFO, LOG_MODULE, "waiting for a display card%s%s", why[0] ? ": " : "", why);
		poll(NULL, 0, LOOK_MS);
	}
}
