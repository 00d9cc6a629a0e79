#include "control/rayvmctl_console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define PIECE 256 /* what a writable terminal or pipe takes without blocking */

struct console {
	int socket, signals, escape;
	bool terminal; /* standard input is one */
	struct termios before;
	bool input_over;
	bool detached; /* by the escape key */
	uint8_t in[4096], out[4096]; /* typed and not sent; said and not shown */
	size_t in_size, out_size;
};

bool console_parse_escape(const char *text, int *escape)
{
	if (strcmp(text, "none") == 0) {
		*escape = CONSOLE_NO_ESCAPE;
		return true;
	}
	if (text[0] != '^' || text[1] == '\0' || text[2] != '\0')
		return false;
	int letter = text[1] >= 'a' && text[1] <= 'z' ? text[1] - 'a' + 'A' : text[1];
	if (letter < '@' || letter > '_')
		return false;
	*escape = letter - '@';
	return true;
}

static bool make_raw(struct console *console)
{
	struct termios raw = console->before;
	cfmakeraw(&raw);
	return tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

/* True: go on. False: the socket is closed. */
static bool from_socket(struct console *console)
{
	ssize_t got = read(console->socket, console->out + console->out_size, sizeof console->out - console->out_size);
	if (got > 0)
		console->out_size += (size_t)got;
	return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool to_socket(struct console *console)
{
	ssize_t sent = send(console->socket, console->in, console->in_size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return errno == EAGAIN || errno == EINTR;
	console->in_size -= (size_t)sent;
	memmove(console->in, console->in + sent, console->in_size);
	return true;
}

/* False: nobody takes standard output any more. */
static bool to_screen(struct console *console)
{
	ssize_t done = write(STDOUT_FILENO, console->out, console->out_size < PIECE ? console->out_size : PIECE);
	if (done < 0)
		return errno == EAGAIN || errno == EINTR;
	console->out_size -= (size_t)done;
	memmove(console->out, console->out + done, console->out_size);
	return true;
}

static void from_keyboard(struct console *console)
{
	uint8_t *at = console->in + console->in_size;
	ssize_t got = read(STDIN_FILENO, at, sizeof console->in - console->in_size);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		console->input_over = true;
		return;
	}
	uint8_t *key = console->terminal && console->escape >= 0 ? memchr(at, console->escape, (size_t)got) : NULL;
	if (key != NULL) {
		got = key - at;
		console->detached = true;
	}
	console->in_size += (size_t)got;
}

/* The signal that asks to end, 0: none does. */
static int take_signal(struct console *console)
{
	struct signalfd_siginfo info;
	if (read(console->signals, &info, sizeof info) != sizeof info)
		return 0;
	if (info.ssi_signo != SIGCONT)
		return (int)info.ssi_signo;
	/* Stopped and continued: the shell has set the terminal up for itself meanwhile. */
	if (console->terminal)
		make_raw(console);
	return 0;
}

static int run(struct console *console)
{
	enum { SIGNALS, SOCKET, KEYBOARD, SCREEN, N };
	bool told = false;
	for (;;) {
		/* What was typed before the end goes out first; then the other side closes, after its last words. */
		if (console->input_over && console->in_size == 0 && !told) {
			shutdown(console->socket, SHUT_WR);
			told = true;
		}
		if (console->detached && console->in_size == 0 && console->out_size == 0)
			return 0;
		bool reads = !console->input_over && !console->detached && console->in_size < sizeof console->in;
		struct pollfd fds[N] = {
			[SIGNALS] = { console->signals, POLLIN, 0 },
			[SOCKET] = { console->socket, (short)((console->out_size < sizeof console->out ? POLLIN : 0) | (console->in_size > 0 ? POLLOUT : 0)), 0 },
			[KEYBOARD] = { reads ? STDIN_FILENO : -1, POLLIN, 0 },
			[SCREEN] = { console->out_size > 0 ? STDOUT_FILENO : -1, POLLOUT, 0 },
		};
		/* Whoever typed the escape key does not wait for a guest that takes no input. */
		int ready = poll(fds, N, console->detached ? 200 : -1);
		if (ready == 0)
			return 0;
		if (ready < 0)
			continue;
		if (fds[SIGNALS].revents != 0) {
			int signal = take_signal(console);
			if (signal != 0)
				return 128 + signal;
		}
		if (fds[SCREEN].revents != 0 && (!(fds[SCREEN].revents & POLLOUT) || !to_screen(console)))
			return 1;
		if ((fds[SOCKET].revents & POLLOUT) != 0 && !to_socket(console) && !told)
			return -1;
		if ((fds[SOCKET].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && console->out_size < sizeof console->out && !from_socket(console)) {
			while (console->out_size > 0 && to_screen(console))
				continue;
			return told ? 0 : -1;
		}
		if (fds[KEYBOARD].revents != 0)
			from_keyboard(console);
	}
}

int console_join(int socket, const char *port, int escape)
{
	struct console console = { .socket = socket, .escape = escape };
	static const int ends[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCONT };
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		sigaddset(&set, ends[i]);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	console.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (console.signals < 0) {
		perror("rayvmctl: cannot take signals");
		return 1;
	}
	console.terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &console.before) == 0;
	if (console.terminal) {
		char key[48] = "no key leaves; end it with a signal";
		if (escape >= 0)
			snprintf(key, sizeof key, "Ctrl-%c leaves", escape + '@');
		fprintf(stderr, "rayvmctl: attached to %s; %s\n", port, key);
		if (!make_raw(&console)) {
			perror("rayvmctl: cannot make the terminal raw");
			close(console.signals);
			return 1;
		}
	}
	int status = run(&console);
	if (console.terminal) {
		/* Not waiting for output to drain: a terminal that stands still must not keep this from ending. */
		tcsetattr(STDIN_FILENO, TCSANOW, &console.before);
		fprintf(stderr, "\nrayvmctl: detached from %s\n", port);
	}
	close(console.signals);
	if (status < 0) {
		fputs("rayvmctl: rayvm closed the connection\n", stderr);
		status = 1;
	}
	return status;
}
