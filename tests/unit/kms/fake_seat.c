/* The session that the fake card is opened through, and what udev says of it: instead of kms/session.c, libseat and netlink. */
#include "fake_drm.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kms/session.h"

struct session {
	int unused;
};

static struct session seat;
static int news = -1;
static int monitor, change; /* their addresses stand for udev's objects */

struct session *fake_seat(void)
{
	return &seat;
}

void fake_hotplug(void)
{
	eventfd_write(news, 1);
}

struct session *session_open(struct wl_event_loop *loop, const struct session_config *config, char *error, size_t error_size, int *exit_status)
{
	(void)loop, (void)config, (void)error, (void)error_size, (void)exit_status;
	return &seat;
}

void session_close(struct session *session)
{
	(void)session;
}

bool session_active(const struct session *session)
{
	(void)session;
	return true;
}

const char *session_seat(const struct session *session)
{
	(void)session;
	return "seat0";
}

int session_open_device(struct session *session, const char *path)
{
	(void)session, (void)path;
	return fake_drm_open();
}

void session_close_device(struct session *session, int fd)
{
	(void)session, (void)fd;
	fake_drm_close();
}

int session_switch(struct session *session, int vt)
{
	(void)session, (void)vt;
	errno = ENOSYS;
	return -1;
}

struct udev_monitor *udev_monitor_new_from_netlink(struct udev *udev, const char *name)
{
	(void)udev, (void)name;
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
	return eventfd_read(news, &n) == 0 ? (struct udev_device *)&change : NULL;
}

const char *udev_device_get_action(struct udev_device *device)
{
	(void)device;
	return "change";
}

dev_t udev_device_get_devnum(struct udev_device *device)
{
	(void)device;
	return 0; /* a pipe's */
}

struct udev_device *udev_device_unref(struct udev_device *device)
{
	(void)device;
	return NULL;
}
