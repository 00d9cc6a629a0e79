/* The session that the fake card is opened through: instead of kms/session.c and libseat. */
#include "fake_drm.h"

#include <errno.h>

#include "kms/session.h"

struct session {
	int unused;
};

static struct session seat;

struct session *fake_seat(void)
{
	return &seat;
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
