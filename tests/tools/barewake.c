/*
 * How late a thread that does nothing else wakes, at the front thread's priority, on this machine at this time: what of a latency is the machine's. Waits on a timer that
 * is due 60 times a second, and on an eventfd that a thread of ordinary priority writes now and then. Until standard input ends; then one
 * JSON object, microseconds. `late`: times the timer was later than the latch's margin, so that a commit would have missed its vblank.
 *
 * Beside it a watch on each CPU, of a priority above the front thread's, that looks at the clock a thousand times a second: `holes` are the times, [CPU, from, for how long] in
 * nanoseconds of CLOCK_MONOTONIC and microseconds, in which that CPU ran nobody whom it should have: its kernel does not preempt, or whoever runs this machine did not run it.
 */
#include <pthread.h>
#include <poll.h>
#include <sched.h>
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
#define WATCHES 64
#define WATCH_NS NSEC_PER_MSEC
#define WATCH_PRIORITY 3 /* above thread_raise_self()'s */
#define HOLE_NS (NSEC_PER_MSEC / 2)
#define HOLES 16384

struct watch {
	pthread_t thread;
	uint32_t cpu, holes;
	bool raised;
	uint64_t lost; /* holes beyond HOLES */
	struct { uint64_t from_ns, ns; } hole[HOLES];
};

static int event;
static _Atomic uint64_t written_ns;
static atomic_bool over;
static struct watch watch[WATCHES];

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

/* A timer each period_ns from *due on; -1: none. */
static int ticking(uint64_t period_ns, uint64_t *due)
{
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	*due = clock_now_ns() + period_ns;
	const struct itimerspec grid = { .it_value = { .tv_sec = (time_t)(*due / NSEC_PER_SEC), .tv_nsec = (long)(*due % NSEC_PER_SEC) },
		.it_interval = { .tv_nsec = (long)period_ns } };
	return timer >= 0 && timerfd_settime(timer, TFD_TIMER_ABSTIME, &grid, NULL) == 0 ? timer : -1;
}

static void *watcher(void *data)
{
	struct watch *mine = data;
	struct sched_param parameter = { .sched_priority = WATCH_PRIORITY };
	cpu_set_t where;
	uint64_t due, count;
	CPU_ZERO(&where);
	CPU_SET(mine->cpu, &where);
	mine->raised = sched_setaffinity(0, sizeof where, &where) == 0 && sched_setscheduler(0, SCHED_FIFO, &parameter) == 0;
	int timer = ticking(WATCH_NS, &due);
	while (timer >= 0 && !atomic_load(&over) && read(timer, &count, sizeof count) == sizeof count) {
		uint64_t late = clock_now_ns() - due;
		if (late > HOLE_NS && mine->holes < HOLES) {
			mine->hole[mine->holes].from_ns = due;
			mine->hole[mine->holes++].ns = late;
		} else if (late > HOLE_NS) {
			mine->lost++;
		}
		due += count * WATCH_NS;
	}
	return data;
}

/* One for each CPU that may be used. Returns how many. */
static uint32_t start_watches(void)
{
	cpu_set_t all;
	uint32_t n = 0;
	if (sched_getaffinity(0, sizeof all, &all) < 0)
		return 0;
	for (uint32_t cpu = 0; cpu < CPU_SETSIZE && n < WATCHES; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		watch[n].cpu = cpu;
		n += thread_start(&watch[n].thread, "watch", 0, watcher, &watch[n]) == 0;
	}
	return n;
}

static void print_watches(uint32_t n)
{
	uint64_t lost = 0;
	const char *comma = "";
	bool raised = n > 0;
	printf("\"holes\":[");
	for (uint32_t i = 0; i < n; i++) {
		pthread_join(watch[i].thread, NULL);
		raised &= watch[i].raised;
		lost += watch[i].lost;
		for (uint32_t h = 0; h < watch[i].holes; h++, comma = ",")
			printf("%s[%u,%" PRIu64 ",%" PRIu64 "]", comma, watch[i].cpu, watch[i].hole[h].from_ns, (uint64_t)(watch[i].hole[h].ns / NSEC_PER_USEC));
	}
	printf("],\"holes_lost\":%" PRIu64 ",\"watched\":%s", lost, raised ? "true" : "false");
}

int main(void)
{
	static struct histogram timer_us, event_us;
	unsigned long late = 0;
	uint64_t due;
	pthread_t thread;
	struct pollfd ready[2] = { { .events = POLLIN }, { .events = POLLIN } };

	event = ready[0].fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int timer = ready[1].fd = ticking(TICK_NS, &due);
	if (event < 0 || timer < 0 || thread_start(&thread, "writer", 0, writer, NULL) < 0) {
		perror("barewake");
		return 1;
	}
	uint32_t watches = start_watches();
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
	printf("},");
	print_watches(watches);
	printf("}\n");
	return 0;
}
