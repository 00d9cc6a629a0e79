#define LOG_MODULE "session"
#include "kms/session.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <libseat.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "base/exit_status.h"
#include "base/log.h"
#include "base/thread.h"

#define DEVICES 128
#define ACTIVATION_NS (10 * NSEC_PER_SEC)
#define LOOK_MS 250 /* how long a request to end may wait */

/*
 * libseat is for one thread at a time: the front's, and the card thread's while it opens or closes a card, which may take long. The front does not wait for that
 * to hear of the seat or to switch terminals: it does so when the lock is free. Devices that come and go meanwhile wait in the seat manager in any case, which has
 * one thread.
 */
struct session {
	struct session_config config;
	struct wl_event_loop *loop;
	pthread_mutex_t lock; /* guards libseat and the devices; taken again by callbacks */
	int free_fd;          /* eventfd: whoever had the lock has let go */
	struct wl_event_source *free_source;
	_Atomic bool late; /* the front waits for that */
	bool news_late;    /* libseat's socket is not listened to until then: source is NULL */
	int switch_late;   /* this terminal is to be switched to; 0: none */
	struct libseat *seat;
	struct wl_event_source *source;
	bool active;
	bool opened; /* session_open() is done: the callbacks count from then on */
	struct {
		int fd, id;
	} device[DEVICES];
	uint32_t n_devices;
};

static void on_enable(struct libseat *seat, void *data)
{
	(void)seat;
	struct session *session = data;
	session->active = true;
	if (session->opened) {
		log_info("the seat is ours again");
		session->config.active(session->config.data, true);
	}
}

static void on_disable(struct libseat *seat, void *data)
{
	struct session *session = data;
	session->active = false;
	if (session->opened) {
		log_info("the seat was given to somebody else");
		session->config.active(session->config.data, false);
	}
	libseat_disable_seat(seat);
}

static const struct libseat_seat_listener listener = {
	.enable_seat = on_enable,
	.disable_seat = on_disable,
};

static void on_log(enum libseat_log_level level, const char *format, va_list args)
{
	char line[300];
	vsnprintf(line, sizeof(line), format, args);
	/* Backends that are tried and not there are no errors of ours; session_open() says what is missing. */
	log_debug("libseat%s: %s", level == LIBSEAT_LOG_LEVEL_ERROR ? " (error)" : "", line);
}

static void unlock(struct session *session)
{
	pthread_mutex_unlock(&session->lock);
	if (atomic_exchange(&session->late, false))
		eventfd_write(session->free_fd, 1);
}

/* Front. False: another thread has it, and on_free() is called when that lets go. */
static bool try_lock(struct session *session)
{
	if (pthread_mutex_trylock(&session->lock) == 0)
		return true;
	atomic_store(&session->late, true);
	/* Who still has it now will see that. */
	return pthread_mutex_trylock(&session->lock) == 0;
}

static void lose(struct session *session)
{
	log_error("connection to the seat lost (%s): display and input stay off; restart when the seat manager runs", strerror(errno));
	if (session->source)
		wl_event_source_remove(session->source);
	session->source = NULL;
	if (session->active) {
		session->active = false;
		session->config.active(session->config.data, false);
	}
}

static int on_readable(int fd, uint32_t mask, void *data)
{
	(void)fd;
	struct session *session = data;
	if (!try_lock(session)) {
		/* With an empty mask a hangup would still turn the loop (epoll_ctl(2), EPOLLHUP). */
		wl_event_source_remove(session->source);
		session->source = NULL;
		session->news_late = true;
		return 0;
	}
	if (libseat_dispatch(session->seat, 0) < 0 || mask & (WL_EVENT_HANGUP | WL_EVENT_ERROR))
		lose(session);
	unlock(session);
	return 0;
}

static bool listen_to_seat(struct session *session)
{
	session->source = wl_event_loop_add_fd(session->loop, libseat_get_fd(session->seat), WL_EVENT_READABLE, on_readable, session);
	return session->source != NULL;
}

static int on_free(int fd, uint32_t mask, void *data)
{
	(void)mask;
	struct session *session = data;
	eventfd_t n;
	eventfd_read(fd, &n);
	if (session->news_late && !listen_to_seat(session))
		lose(session);
	session->news_late = false;
	int vt = session->switch_late;
	session->switch_late = 0;
	if (vt && session_switch(session, vt) != 0)
		log_warn("cannot switch to virtual terminal %d: %s", vt, strerror(errno));
	return 0;
}

/*
 * The builtin backend forks a helper that gives the console back when this program dies. It inherits the signal mask:
 * ^C on the console must not end it, VT switching (SIGUSR1, SIGUSR2) and SIGTERM must reach it.
 */
static struct libseat *open_seat(struct session *session)
{
	sigset_t block, allow, old;
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigemptyset(&allow);
	sigaddset(&allow, SIGUSR1);
	sigaddset(&allow, SIGUSR2);
	sigaddset(&allow, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, &old);
	sigprocmask(SIG_UNBLOCK, &allow, NULL);
	struct libseat *seat = libseat_open_seat(&listener, session);
	int error = errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	errno = error;
	return seat;
}

struct session *session_open(struct wl_event_loop *loop, const struct session_config *config, char *error, size_t error_size, int *exit_status)
{
	*exit_status = EXIT_INPUT;
	struct session *session = calloc(1, sizeof(*session));
	if (!session) {
		snprintf(error, error_size, "seat: out of memory");
		return NULL;
	}
	session->config = *config;
	session->loop = loop;
	pthread_mutexattr_t again;
	pthread_mutexattr_init(&again);
	pthread_mutexattr_settype(&again, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&session->lock, &again);
	pthread_mutexattr_destroy(&again);
	session->free_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	libseat_set_log_handler(on_log);
	libseat_set_log_level(LIBSEAT_LOG_LEVEL_INFO);
	session->seat = open_seat(session);
	if (!session->seat) {
		const char *backend = getenv("LIBSEAT_BACKEND");
		snprintf(error, error_size, "no seat (%s%s%s): run on a text console as root, or start seatd, or log in through logind", strerror(errno),
			backend ? ", LIBSEAT_BACKEND=" : "", backend ? backend : "");
		session_close(session);
		return NULL;
	}
	uint64_t deadline = clock_now_ns() + ACTIVATION_NS;
	while (!session->active && !thread_end_asked() && clock_now_ns() < deadline) {
		if (libseat_dispatch(session->seat, LOOK_MS) < 0 && errno != EINTR)
			break;
	}
	if (!session->active) {
		/* The builtin backend opens for anybody; only then does its helper find that it may not touch the console. */
		snprintf(error, error_size, "no seat: %s did not become active within 10 s: %s", libseat_seat_name(session->seat),
			geteuid() == 0 ? "switch to this console and try again" : "run as root on a text console, start seatd, or log in through logind");
		session_close(session);
		return NULL;
	}
	session->free_source = session->free_fd >= 0 ? wl_event_loop_add_fd(loop, session->free_fd, WL_EVENT_READABLE, on_free, session) : NULL;
	if (!listen_to_seat(session) || !session->free_source) {
		snprintf(error, error_size, "seat: event loop: %s", strerror(errno));
		session_close(session);
		return NULL;
	}
	session->opened = true;
	log_info("seat %s is ours", libseat_seat_name(session->seat));
	*exit_status = EXIT_ASKED;
	return session;
}

void session_close(struct session *session)
{
	if (!session)
		return;
	session->opened = false;
	if (session->source)
		wl_event_source_remove(session->source);
	if (session->free_source)
		wl_event_source_remove(session->free_source);
	while (session->n_devices > 0)
		session_close_device(session, session->device[session->n_devices - 1].fd);
	if (session->seat)
		libseat_close_seat(session->seat);
	if (session->free_fd >= 0)
		close(session->free_fd);
	pthread_mutex_destroy(&session->lock);
	free(session);
}

bool session_active(const struct session *session)
{
	return session->active;
}

const char *session_seat(const struct session *session)
{
	return libseat_seat_name(session->seat);
}

int session_open_device(struct session *session, const char *path)
{
	int fd = -1, id = -1;
	pthread_mutex_lock(&session->lock);
	errno = EMFILE;
	if (session->n_devices < DEVICES)
		id = libseat_open_device(session->seat, path, &fd);
	if (id >= 0) {
		session->device[session->n_devices].fd = fd;
		session->device[session->n_devices++].id = id;
	}
	int error = errno;
	unlock(session);
	errno = error;
	return id >= 0 ? fd : -1;
}

void session_close_device(struct session *session, int fd)
{
	pthread_mutex_lock(&session->lock);
	for (uint32_t i = 0; i < session->n_devices; i++) {
		if (session->device[i].fd != fd)
			continue;
		libseat_close_device(session->seat, session->device[i].id);
		session->device[i] = session->device[--session->n_devices];
		break;
	}
	unlock(session);
	close(fd); /* a card's last one may wait for its hardware, and nobody else with it */
}

int session_switch(struct session *session, int vt)
{
	if (!try_lock(session)) {
		session->switch_late = vt;
		return 0;
	}
	int result = libseat_switch_session(session->seat, vt), error = errno;
	unlock(session);
	errno = error;
	return result;
}
