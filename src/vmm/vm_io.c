/*
 * The I/O thread: writes what COM1 sent, reads what is typed into it, for its descriptors and for who is attached to its
 * console; ticks the clock. The descriptors are borrowed and may be a terminal shared with other programs, so their flags are left alone: poll() first, then small pieces.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define LOG_MODULE "vm"
#include "base/base.h"
#include "base/console.h"
#include "base/thread.h"
#include "vmm/vm_internal.h"

#define FULL_RETRY_MS 50
#define BACKGROUND_RETRY_MS 500 /* a terminal that is somebody else's at the moment */
#define PIECE 256 /* a writable terminal or pipe takes this many bytes without blocking */

static void drain_counter(int fd)
{
	uint64_t count;
	if (read(fd, &count, sizeof(count)) < 0)
		return; /* nothing was there */
}

/* False: the descriptor is dead. */
static bool write_output(struct vm *vm)
{
	char piece[PIECE];
	uint32_t n = serial_peek(&vm->serial, piece, sizeof(piece));
	if (n == 0)
		return true;
	ssize_t done = write(vm->config.serial_out, piece, n);
	if (done > 0)
		serial_sent(&vm->serial, (uint32_t)done);
	return done >= 0 || errno == EINTR || errno == EAGAIN;
}

/* False: end of input or dead. *retry_ns: a terminal that another program reads now (EIO, as SIGTTIN is ignored) is not asked before. */
static bool read_input(struct vm *vm, uint64_t *retry_ns)
{
	char piece[PIECE];
	uint32_t room = min_u32(serial_input_room(&vm->serial), sizeof(piece));
	ssize_t n = read(vm->config.serial_in, piece, room);
	if (n > 0)
		serial_input(&vm->serial, piece, (uint32_t)n);
	if (n < 0 && errno == EIO)
		*retry_ns = clock_now_ns() + BACKGROUND_RETRY_MS * NSEC_PER_MSEC;
	return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EIO));
}

static void serve_console(struct vm *vm)
{
	struct console_end *console = vm->config.console;
	console_end_serve(console);
	if (console->in_size > 0)
		console_end_taken(console, serial_input(&vm->serial, console->in, console->in_size));
}

static void *io_thread(void *data)
{
	struct vm *vm = data;
	int in = vm->config.serial_in, out = vm->config.serial_out;
	struct console_end *console = vm->config.console;
	enum { STOP, WAKE, TICK, OUT, IN, CONSOLE, N };
	uint64_t retry_ns = 0;
	for (;;) {
		char one;
		bool waiting = out >= 0 && serial_peek(&vm->serial, &one, 1) > 0;
		bool full = serial_input_room(&vm->serial) == 0, background = retry_ns > clock_now_ns();
		struct pollfd fds[N] = {
			[STOP] = { vm->io_stop_fd, POLLIN, 0 },
			[WAKE] = { vm->io_wake_fd, POLLIN, 0 },
			[TICK] = { vm->io_timer_fd, POLLIN, 0 },
			[OUT] = { waiting ? out : -1, POLLOUT, 0 },
			[IN] = { full || background ? -1 : in, POLLIN, 0 },
			[CONSOLE] = { console != NULL ? console->fd : -1, POLLIN, 0 },
		};
		bool held = console != NULL && console->in_size > 0;
		if (console != NULL)
			fds[CONSOLE].events = console_end_events(console);
		/* With a full backlog nobody tells when the guest reads: look again soon. */
		int timeout = vm_ports_poll(vm);
		if (((full && in >= 0) || held) && (timeout < 0 || timeout > FULL_RETRY_MS))
			timeout = FULL_RETRY_MS;
		if (background && in >= 0 && (timeout < 0 || timeout > BACKGROUND_RETRY_MS))
			timeout = BACKGROUND_RETRY_MS;
		if (poll(fds, N, timeout) < 0)
			continue;
		if (fds[STOP].revents) {
			/* The last words, as far as the reader takes them at once. */
			struct pollfd last = { out, POLLOUT, 0 };
			while (out >= 0 && serial_peek(&vm->serial, &one, 1) > 0 && poll(&last, 1, 0) > 0 && (last.revents & POLLOUT) &&
			       write_output(vm))
				continue;
			return NULL;
		}
		if (fds[WAKE].revents)
			drain_counter(vm->io_wake_fd);
		if (fds[TICK].revents) {
			drain_counter(vm->io_timer_fd);
			rtc_tick(&vm->rtc, time(NULL));
		}
		if (fds[OUT].revents && (!(fds[OUT].revents & POLLOUT) || !write_output(vm))) {
			log_warn("%s: COM1's output is gone; what the guest sends is dropped from here on", vm->name);
			out = -1;
		}
		if (fds[IN].revents && !read_input(vm, &retry_ns))
			in = -1;
		if (fds[CONSOLE].revents || held)
			serve_console(vm);
	}
}

int vm_io_start(struct vm *vm)
{
	vm->io_stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vm->io_wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vm->io_timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (vm->io_stop_fd < 0 || vm->io_wake_fd < 0 || vm->io_timer_fd < 0)
		return -1;
	if (thread_start(&vm->io_thread, "vm-io", 0, io_thread, vm) < 0)
		return -1;
	vm->io_started = true;
	return 0;
}

void vm_io_stop(struct vm *vm)
{
	if (vm->io_started) {
		uint64_t one = 1;
		if (write(vm->io_stop_fd, &one, sizeof(one)) == sizeof(one))
			pthread_join(vm->io_thread, NULL);
		vm->io_started = false;
	}
	int *fds[] = { &vm->io_stop_fd, &vm->io_wake_fd, &vm->io_timer_fd };
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

void vm_io_wake(struct vm *vm)
{
	uint64_t one = 1;
	if (write(vm->io_wake_fd, &one, sizeof(one)) < 0)
		return; /* full: it is awake */
}

void vm_io_tick(struct vm *vm, bool wanted)
{
	struct itimerspec when = { .it_value.tv_sec = wanted, .it_interval.tv_sec = wanted };
	if (vm->io_timer_fd >= 0)
		timerfd_settime(vm->io_timer_fd, 0, &when, NULL);
}
