/* The seat, with libseat's place taken by the test: what the front does while the card thread has the lock. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libseat.h>
#include <wayland-server-core.h>

#include "base/base.h"
#include "kms/session.h"

static const struct libseat_seat_listener *listener;
static void *listener_data;
static int manager, ours; /* ends of libseat's connection */
static bool disable_comes; /* the next dispatch has news */
static uint32_t dispatches, switched;
static _Atomic bool opening, may_open; /* a device, which the seat manager takes its time for */

struct libseat *libseat_open_seat(const struct libseat_seat_listener *l, void *data)
{
	listener = l;
	listener_data = data;
	return (struct libseat *)&listener;
}

int libseat_close_seat(struct libseat *seat)
{
	(void)seat;
	return 0;
}

int libseat_disable_seat(struct libseat *seat)
{
	(void)seat;
	return 0;
}

int libseat_open_device(struct libseat *seat, const char *path, int *fd)
{
	(void)seat, (void)path;
	opening = true;
	while (!may_open)
		usleep(1000);
	*fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return 1;
}

int libseat_close_device(struct libseat *seat, int id)
{
	(void)seat, (void)id;
	return 0;
}

const char *libseat_seat_name(struct libseat *seat)
{
	(void)seat;
	return "seat0";
}

int libseat_switch_session(struct libseat *seat, int vt)
{
	(void)seat;
	switched = (uint32_t)vt;
	return 0;
}

int libseat_get_fd(struct libseat *seat)
{
	(void)seat;
	return ours;
}

int libseat_dispatch(struct libseat *seat, int timeout)
{
	(void)timeout;
	char bytes[16];
	dispatches++;
	if (dispatches == 1) {
		listener->enable_seat(seat, listener_data);
		return 1;
	}
	ssize_t n = recv(ours, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n == 0) {
		errno = EPIPE;
		return -1;
	}
	if (disable_comes) {
		disable_comes = false;
		listener->disable_seat(seat, listener_data);
	}
	return n > 0;
}

void libseat_set_log_handler(libseat_log_func handler)
{
	(void)handler;
}

void libseat_set_log_level(enum libseat_log_level level)
{
	(void)level;
}

/* --- */

static struct wl_event_loop *loop;
static struct session *session;
static pthread_t thread;
static uint32_t lost;

static void on_active(void *data, bool active)
{
	(void)data;
	lost += !active;
}

static void start(void)
{
	char error[200];
	int status, ends[2];
	const struct session_config config = {.active = on_active};
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	manager = ends[0];
	ours = ends[1];
	loop = wl_event_loop_create();
	session = session_open(loop, &config, error, sizeof(error), &status);
	ck_assert_msg(session != NULL, "%s", error);
	ck_assert(session_active(session));
}

static void end(void)
{
	session_close(session);
	wl_event_loop_destroy(loop);
	close(ours);
}

static void *open_card(void *arg)
{
	(void)arg;
	session_close_device(session, session_open_device(session, "/dev/dri/card0"));
	return NULL;
}

/* A card is being opened, and libseat locked, until card_opened(). */
static void card_opens(void)
{
	ck_assert_int_eq(pthread_create(&thread, NULL, open_card, NULL), 0);
	while (!opening)
		usleep(1000);
}

static void card_opened(void)
{
	may_open = true;
	pthread_join(thread, NULL);
}

/* Turns of the front's loop within 50 ms, each of which ends when something is to be done. */
static uint32_t turns(void)
{
	uint32_t n = 0;
	uint64_t end_ns = clock_now_ns() + 50 * NSEC_PER_MSEC;
	for (; clock_now_ns() < end_ns; n++)
		wl_event_loop_dispatch(loop, 10);
	return n;
}

/* News of the seat wait for the lock, asleep, and are heard when it is free; so do switches. */
START_TEST(news_while_a_card_is_opened)
{
	start();
	card_opens();
	uint32_t before = dispatches;
	disable_comes = true;
	ck_assert_int_eq(write(manager, "x", 1), 1);
	ck_assert_uint_le(turns(), 10);
	ck_assert_int_eq(session_switch(session, 3), 0);
	ck_assert_uint_eq(switched, 0);
	ck_assert_uint_eq(dispatches, before);
	card_opened();
	turns();
	ck_assert_uint_eq(lost, 1);
	ck_assert_uint_eq(switched, 3);
	/* And those after. */
	before = dispatches;
	ck_assert_int_eq(write(manager, "x", 1), 1);
	turns();
	ck_assert_uint_gt(dispatches, before);
	close(manager);
	end();
}
END_TEST

/* The seat manager dies meanwhile: the front does not spin until the lock is free, and then the seat is lost. */
START_TEST(hangup_while_a_card_is_opened)
{
	start();
	card_opens();
	close(manager);
	ck_assert_uint_le(turns(), 10);
	ck_assert_uint_eq(lost, 0);
	card_opened();
	turns();
	ck_assert_uint_eq(lost, 1);
	ck_assert(!session_active(session));
	ck_assert_uint_le(turns(), 10);
	ck_assert_uint_eq(lost, 1);
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-session");
	TCase *c = tcase_create("seat");
	tcase_add_test(c, news_while_a_card_is_opened);
	tcase_add_test(c, hangup_while_a_card_is_opened);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
