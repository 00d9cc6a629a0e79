/*
 * How late a thread that does nothing else wakes, at the front thread's priority, on this machine at this time: what of a latency is the machine's. Waits on a timer that
 * is due 60 times a second, and on an eventfd that a thread of ordinary priority writes now and then. Until standard input ends; then one
 * JSON object, microseconds. `late`: times the timer was later than the latch's margin, so that a commit would have missed its vblank.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/base.h"
#include "base/thread.h"
#include "kms/latch.h"
#include "summary.h"

#define TICK_NS 16666667ull
#define PAUSE_MS 37 /* between events, and so in no step with the timer */

static int event;
static _Atomic uint64_t written_ns;
static atomic_bool over;

static void *writer(void *data)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	while (poll(&in, 1, PAUSE_MS) == 0) {
		atomic_store(&written_ns, clock_now_ns());
		eventfd_write(event, 1);
	}
	atomic_store(&over, true);
	return data;
}

int main(void)
{
	static struct histogram timer_us, event_us;
	unsigned long late = 0;
	pthread_t thread;
	struct pollfd ready[2] = { { .events = POLLIN }, { .events = POLLIN } };

	event = ready[0].fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int timer = ready[1].fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	uint64_t due = clock_now_ns() + TICK_NS;
	const struct itimerspec grid = { .it_value = { .tv_sec = (time_t)(due / NSEC_PER_SEC), .tv_nsec = (long)(due % NSEC_PER_SEC) }, .it_interval = { .tv_nsec = TICK_NS } };
	if (event < 0 || timer < 0 || timerfd_settime(timer, TFD_TIMER_ABSTIME, &grid, NULL) < 0 || thread_start(&thread, "writer", 0, writer, NULL) < 0) {
		perror("barewake");
		return 1;
	}
	int priority = thread_raise_self();
	while (!atomic_load(&over)) {
		uint64_t count;
		if (poll(ready, 2, 100) <= 0)
			continue;
		uint64_t now = clock_now_ns();
		if (ready[0].revents != 0 && eventfd_read(event, &count) == 0)
			histogram_record_us(&event_us, (now - atomic_load(&written_ns)) / NSEC_PER_USEC);
		if (ready[1].revents != 0 && read(timer, &count, sizeof(count)) == sizeof(count)) {
			/* The first of those that have come: it waited longest. */
			histogram_record_us(&timer_us, (now - due) / NSEC_PER_USEC);
			late += now - due > LATCH_MARGIN_NS;
			due += count * TICK_NS;
		}
	}
	pthread_join(thread, NULL);
	printf("{\"priority\":%d,\"late\":%lu,\"timer\":{", priority, late);
	print_summary(&timer_us);
	printf("},\"event\":{");
	print_summary(&event_us);
	printf("}}\n");
	return 0;
}
