/* What udev says of the fake card, instead of libudev: uevents of the kernel's, and the list of cards with their attributes. */
#include "fake_drm_private.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/base.h"

#define EVENTS 16 /* unread at most */

static int news = -1;
static struct {
	const char *action;
	dev_t devnum;
} event[EVENTS];
static uint32_t n_events, n_read;
static int monitor, list; /* their addresses stand for udev's objects, as do those of the events and of the card */

void fake_uevent(const char *action, dev_t devnum)
{
	event[n_events % EVENTS].action = action;
	event[n_events++ % EVENTS].devnum = devnum;
	eventfd_write(news, 1);
}

void fake_hotplug(void)
{
	fake_uevent("change", makedev(226, card.cards));
}

void fake_removed(void)
{
	fake_uevent("remove", makedev(226, card.taken));
}

void fake_added(void)
{
	fake_uevent("add", makedev(226, card.cards));
}

struct udev_monitor *udev_monitor_new_from_netlink(struct udev *udev, const char *name)
{
	(void)udev, (void)name;
	n_events = n_read = 0;
	news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return (struct udev_monitor *)&monitor;
}

int udev_monitor_filter_add_match_subsystem_devtype(struct udev_monitor *of, const char *subsystem, const char *devtype)
{
	(void)of, (void)subsystem, (void)devtype;
	return 0;
}

int udev_monitor_enable_receiving(struct udev_monitor *of)
{
	(void)of;
	return 0;
}

int udev_monitor_get_fd(struct udev_monitor *of)
{
	(void)of;
	return news;
}

struct udev_monitor *udev_monitor_unref(struct udev_monitor *of)
{
	(void)of;
	close(news);
	return NULL;
}

struct udev_device *udev_monitor_receive_device(struct udev_monitor *of)
{
	(void)of;
	eventfd_t n;
	eventfd_read(news, &n);
	return n_read == n_events ? NULL : (struct udev_device *)&event[n_read++ % EVENTS];
}

static uint32_t event_of(struct udev_device *device)
{
	for (uint32_t i = 0; i < EVENTS; i++)
		if (device == (struct udev_device *)&event[i])
			return i;
	return 0;
}

const char *udev_device_get_action(struct udev_device *device)
{
	return event[event_of(device)].action;
}

dev_t udev_device_get_devnum(struct udev_device *device)
{
	return event[event_of(device)].devnum;
}

struct udev_device *udev_device_unref(struct udev_device *device)
{
	(void)device;
	return NULL;
}

/* --- the list of cards: by the card thread ------------------------------------------------------------------------------- */

struct udev_enumerate *udev_enumerate_new(struct udev *udev)
{
	(void)udev;
	return (struct udev_enumerate *)&list;
}

struct udev_enumerate *udev_enumerate_unref(struct udev_enumerate *of)
{
	(void)of;
	return NULL;
}

int udev_enumerate_add_match_subsystem(struct udev_enumerate *of, const char *subsystem)
{
	(void)of, (void)subsystem;
	return 0;
}

int udev_enumerate_add_match_sysname(struct udev_enumerate *of, const char *sysname)
{
	(void)of, (void)sysname;
	return 0;
}

int udev_enumerate_scan_devices(struct udev_enumerate *of)
{
	(void)of;
	return 0;
}

struct udev_list_entry *udev_enumerate_get_list_entry(struct udev_enumerate *of)
{
	(void)of;
	pthread_mutex_lock(&fake_lock);
	bool there = !card.gone;
	pthread_mutex_unlock(&fake_lock);
	return there ? (struct udev_list_entry *)&list : NULL;
}

struct udev_list_entry *udev_list_entry_get_next(struct udev_list_entry *entry)
{
	(void)entry;
	return NULL;
}

const char *udev_list_entry_get_name(struct udev_list_entry *entry)
{
	(void)entry;
	return "the card";
}

struct udev_device *udev_device_new_from_syspath(struct udev *udev, const char *path)
{
	(void)udev, (void)path;
	return (struct udev_device *)&card;
}

const char *udev_device_get_devnode(struct udev_device *device)
{
	static char node[32];
	(void)device;
	snprintf(node, sizeof(node), "/dev/dri/card%u", card.cards);
	return node;
}

const char *udev_device_get_sysname(struct udev_device *device)
{
	return strrchr(udev_device_get_devnode(device), '/') + 1;
}

const char *udev_device_get_property_value(struct udev_device *device, const char *key)
{
	(void)device, (void)key;
	return NULL;
}

const char *udev_device_get_sysattr_value(struct udev_device *device, const char *attribute)
{
	(void)device, (void)attribute;
	return NULL;
}

struct udev_device *udev_device_get_parent_with_subsystem_devtype(struct udev_device *device, const char *subsystem, const char *devtype)
{
	(void)device, (void)subsystem, (void)devtype;
	return NULL;
}
