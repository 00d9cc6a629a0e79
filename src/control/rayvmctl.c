/* rayvmctl - one command to a running rayvm. See rayvmctl(1). */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/rayvmctl_console.h"

#define ANSWER_TIMEOUT_S 30 /* of every command but wait */

static const char *const help =
	"Usage: rayvmctl [-s SOCKET] COMMAND\n"
	"\n"
	"  status [--json]                       what runs, what is shown\n"
	"  stats [--json] [--reset]              counters and latencies\n"
	"  show ui|guest|toggle                  change what is on the panel\n"
	"  display on|off                        switch the screen on or off; keys and mouse switch it on, too\n"
	"  press [--guest] KEY[+KEY...] ...      press and release keys: KEY_A, KEY_LEFTCTRL+KEY_C\n"
	"  type [--guest] TEXT                   type text (US layout)\n"
	"  pointer [--guest] X Y                 move the pointer, in pixels\n"
	"  click [--guest] left|right|middle     press and release a button\n"
	"  screenshot FILE.png [--face ui|guest|screen] [--output NAME]\n"
	"  vm [main] start|pause|resume|powerdown|reset|stop|resize-disk N\n"
	"  wait STATE [--timeout S]              ui, guest, scanout, first-frame, display:off, vm:running ...\n"
	"  console [com1|hvc0|agent] [--escape ^C|none]\n"
	"                                        this terminal joined to the guest's; Ctrl-] leaves\n"
	"  events                                print what happens until interrupted, one JSON object a line\n"
	"  quit                                  end rayvm\n"
	"\n"
	"--guest sends to the guest whatever is shown, and never toggles.\n"
	"SOCKET: default /run/rayvm.sock, for a user $XDG_RUNTIME_DIR/rayvm.sock.\n";

static int usage(const char *what)
{
	fprintf(stderr, "rayvmctl: %s; rayvmctl --help lists the commands\n", what);
	return 2;
}

static int dial(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof address.sun_path) {
		fprintf(stderr, "rayvmctl: socket path %s is too long\n", path);
		return -1;
	}
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		int error = errno;
		fprintf(stderr, "rayvmctl: cannot reach %s: %s%s\n", path, strerror(error),
			error == ENOENT || error == ECONNREFUSED ? "; is rayvm running there? (-s SOCKET names another place)" : "");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* One line from the socket, without newline; malloc'ed. NULL with a message. */
static char *read_line(FILE *in)
{
	char *line = NULL;
	size_t size = 0;
	errno = 0;
	ssize_t length = getline(&line, &size, in);
	if (length <= 0) {
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			fputs("rayvmctl: no answer in time\n", stderr);
		else
			fputs("rayvmctl: rayvm closed the connection\n", stderr);
		free(line);
		return NULL;
	}
	if (line[length - 1] == '\n')
		line[length - 1] = '\0';
	return line;
}

static const char *text_at(json_object *object, const char *name)
{
	json_object *value;
	return json_object_object_get_ex(object, name, &value) ? json_object_get_string(value) : "";
}

static void print_status(json_object *status)
{
	json_object *value, *scanout, *scanouts, *lines;
	printf("presentation  %s\n", text_at(status, "presentation"));
	printf("vm            %s\n", text_at(status, "vm"));
	printf("desktop       %s\n", text_at(status, "desktop"));
	printf("session       %s\n", text_at(status, "session"));
	if (json_object_object_get_ex(status, "scanout", &scanout))
		printf("scanout       %sx%s\n", text_at(scanout, "width"), text_at(scanout, "height"));
	if (json_object_object_get_ex(status, "scanouts", &scanouts))
		for (size_t i = 1; i < json_object_array_length(scanouts); i++)
			if (strcmp(text_at(scanout = json_object_array_get_idx(scanouts, i), "width"), "0") != 0)
				printf("scanout %zu     %sx%s\n", i + 1, text_at(scanout, "width"), text_at(scanout, "height"));
	printf("screen        %s\n", text_at(status, "display"));
	printf("path          %s\n", text_at(status, "path"));
	printf("scaling       %s\n", text_at(status, "scaling"));
	printf("keyboards     %s\n", text_at(status, "keyboards"));
	if (json_object_object_get_ex(status, "outputs", &value))
		for (size_t i = 0; i < json_object_array_length(value); i++) {
			json_object *output = json_object_array_get_idx(value, i);
			printf("output        %s %sx%s %s Hz\n", text_at(output, "name"), text_at(output, "width"), text_at(output, "height"), text_at(output, "refresh"));
		}
	if (json_object_object_get_ex(status, "lines", &lines)) {
		json_object_object_foreach(lines, name, line)
			printf("%-13s %s %s\n", name, text_at(line, "tag"), text_at(line, "text"));
	}
}

static void print_stats(json_object *stats)
{
	json_object_object_foreach(stats, name, value) {
		if (!json_object_is_type(value, json_type_object)) {
			printf("%-18s %s\n", name, json_object_get_string(value));
			continue;
		}
		printf("%-18s count %s  p50 %s  p95 %s  p99 %s  max %s\n", name, text_at(value, "count"), text_at(value, "p50"),
			text_at(value, "p95"), text_at(value, "p99"), text_at(value, "max"));
	}
}

/* What the command line asks for. */
struct request {
	const char *command;
	json_object *arguments;
	bool json, endless, slow;
	const char *file;    /* of a screenshot, or NULL */
	char part[PATH_MAX]; /* where it is written first: a reader never sees half a picture */
	int fd;
};

/* The flags that commands have, as they stand on the line. */
struct flags {
	bool guest, reset;
	const char *face, *output, *timeout; /* NULL: not there */
};

static void add(json_object *object, const char *name, const char *value)
{
	json_object_object_add(object, name, json_object_new_string(value));
}

static bool whole_number(const char *text, long *value)
{
	char *end;
	errno = 0;
	*value = strtol(text, &end, 10);
	return errno == 0 && end != text && *end == '\0';
}

/* Fills the request from words and flags. 0, or an exit status after a message. */
static int parse(struct request *request, char **word, int n, const struct flags *flags)
{
	const char *name = word[0];
	json_object *arguments = request->arguments;
	request->command = name;
	if (flags->guest)
		json_object_object_add(arguments, "guest", json_object_new_boolean(1));

	if (strcmp(name, "status") == 0 || strcmp(name, "quit") == 0)
		return n == 1 ? 0 : usage("this command takes no argument");
	if (strcmp(name, "stats") == 0) {
		if (flags->reset)
			json_object_object_add(arguments, "reset", json_object_new_boolean(1));
		return n == 1 ? 0 : usage("stats takes only --json and --reset");
	}
	if (strcmp(name, "events") == 0) {
		request->command = "subscribe";
		request->endless = true;
		return n == 1 ? 0 : usage("events takes no argument");
	}
	if (strcmp(name, "show") == 0) {
		if (n != 2)
			return usage("show needs ui, guest or toggle");
		add(arguments, "what", word[1]);
		return 0;
	}
	if (strcmp(name, "display") == 0) {
		if (n != 2)
			return usage("display needs on or off");
		add(arguments, "state", word[1]);
		return 0;
	}
	if (strcmp(name, "press") == 0) {
		if (n < 2)
			return usage("press needs key names");
		json_object *keys = json_object_new_array();
		for (int i = 1; i < n; i++)
			json_object_array_add(keys, json_object_new_string(word[i]));
		json_object_object_add(arguments, "keys", keys);
		return 0;
	}
	if (strcmp(name, "type") == 0) {
		if (n != 2)
			return usage("type needs one text; quote it");
		add(arguments, "text", word[1]);
		return 0;
	}
	if (strcmp(name, "pointer") == 0) {
		long x, y;
		if (n != 3 || !whole_number(word[1], &x) || !whole_number(word[2], &y))
			return usage("pointer needs X and Y in pixels");
		json_object_object_add(arguments, "x", json_object_new_int64(x));
		json_object_object_add(arguments, "y", json_object_new_int64(y));
		return 0;
	}
	if (strcmp(name, "click") == 0) {
		if (n != 2)
			return usage("click needs left, right or middle");
		add(arguments, "button", word[1]);
		return 0;
	}
	if (strcmp(name, "screenshot") == 0) {
		if (n != 2)
			return usage("screenshot needs a file name");
		if (flags->face != NULL)
			add(arguments, "face", flags->face);
		if (flags->output != NULL)
			add(arguments, "output", flags->output);
		request->file = word[1];
		return 0;
	}
	if (strcmp(name, "console") == 0) {
		if (n > 2)
			return usage("console needs at most one of com1, hvc0, agent");
		if (n == 2)
			add(arguments, "port", word[1]);
		return 0;
	}
	if (strcmp(name, "vm") == 0) {
		int disk = 0;
		if (n > 2 && strcmp(word[n - 2], "resize-disk") == 0) {
			char *end;
			long number = strtol(word[--n], &end, 10);
			if (*end != '\0' || number < 1 || number > 1000)
				return usage("vm resize-disk needs the number of a disk, from 1");
			disk = (int)number;
		}
		if ((n != 2 && n != 3) || (strcmp(word[n - 1], "resize-disk") == 0 && disk == 0))
			return usage("vm needs start, pause, resume, powerdown, reset, stop or resize-disk N");
		if (disk != 0)
			json_object_object_add(arguments, "disk", json_object_new_int(disk));
		if (n == 3)
			add(arguments, "name", word[1]);
		add(arguments, "action", word[n - 1]);
		return 0;
	}
	if (strcmp(name, "wait") == 0) {
		if (n != 2)
			return usage("wait needs a state");
		add(arguments, "state", word[1]);
		request->slow = true;
		if (flags->timeout != NULL) {
			char *end;
			double seconds = strtod(flags->timeout, &end);
			if (end == flags->timeout || *end != '\0' || !(seconds >= 0))
				return usage("--timeout is in seconds");
			json_object_object_add(arguments, "timeout", json_object_new_double(seconds));
		}
		return 0;
	}
	fprintf(stderr, "rayvmctl: unknown command '%s'; rayvmctl --help lists those that exist\n", name);
	return 2;
}

/* rayvm opens no files: it gets this one, made with the rights of who asks, beside the place where it will be. -1 after a message. */
static int open_picture(struct request *request)
{
	int length = snprintf(request->part, sizeof request->part, "%s.XXXXXX", request->file);
	request->fd = length < (int)sizeof request->part ? mkostemp(request->part, O_CLOEXEC) : (errno = ENAMETOOLONG, -1);
	if (request->fd < 0) {
		fprintf(stderr, "rayvmctl: cannot write %s: %s\n", request->file, strerror(errno));
		return -1;
	}
	/* Not only for its owner, as mkostemp() makes it, but as any new file. */
	mode_t mask = umask(0);
	umask(mask);
	fchmod(request->fd, 0666 & ~mask);
	return 0;
}

/* Puts the picture in its place, or takes it away. -1 after a message. */
static int close_picture(const struct request *request, bool good)
{
	if (close(request->fd) < 0)
		good = false;
	if (good && rename(request->part, request->file) == 0)
		return 0;
	if (good)
		fprintf(stderr, "rayvmctl: cannot write %s: %s\n", request->file, strerror(errno));
	unlink(request->part);
	return -1;
}

/* Sends the line, and with it the descriptor where the request has one. -1 with errno. */
static int send_line(int fd, const struct request *request, const char *text)
{
	char line[2] = "\n";
	struct iovec parts[2] = { { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) }, { .iov_base = line, .iov_len = 1 } };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} rights = { .head = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) } };
	memcpy(CMSG_DATA(&rights.head), &request->fd, sizeof(int));
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	if (request->file != NULL) {
		message.msg_control = &rights;
		message.msg_controllen = sizeof rights.room;
	}
	size_t left = parts[0].iov_len + 1;
	while (left > 0) {
		ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -1;
		left -= (size_t)sent;
		message.msg_control = NULL; /* once */
		message.msg_controllen = 0;
		for (size_t i = 0; i < 2; i++) {
			size_t part = (size_t)sent < parts[i].iov_len ? (size_t)sent : parts[i].iov_len;
			parts[i].iov_base = (char *)parts[i].iov_base + part;
			parts[i].iov_len -= part;
			sent -= (ssize_t)part;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' }, { "json", no_argument, NULL, 'j' }, { "reset", no_argument, NULL, 'r' },
		{ "guest", no_argument, NULL, 'g' },        { "face", required_argument, NULL, 'f' },
		{ "output", required_argument, NULL, 'o' }, { "timeout", required_argument, NULL, 't' },
		{ "escape", required_argument, NULL, 'e' },   { "help", no_argument, NULL, 'h' },         { "version", no_argument, NULL, 'V' },    { NULL, 0, NULL, 0 },
	};
	char default_socket[512];
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	if (geteuid() != 0 && runtime != NULL)
		snprintf(default_socket, sizeof default_socket, "%s/rayvm.sock", runtime);
	else
		snprintf(default_socket, sizeof default_socket, "/run/rayvm.sock");
	const char *socket_path = default_socket;
	struct flags flags = { 0 };
	struct request request = { 0 };
	int escape = CONSOLE_ESCAPE;

	int c;
	while ((c = getopt_long(argc, argv, "s:jhV", options, NULL)) != -1) {
		switch (c) {
		case 's': socket_path = optarg; break;
		case 'j': request.json = true; break;
		case 'r': flags.reset = true; break;
		case 'g': flags.guest = true; break;
		case 'f': flags.face = optarg; break;
		case 'o': flags.output = optarg; break;
		case 't': flags.timeout = optarg; break;
		case 'e':
			if (!console_parse_escape(optarg, &escape))
				return usage("--escape is a control key such as ^] or ^A, or none");
			break;
		case 'h': fputs(help, stdout); return 0;
		case 'V': puts("rayvmctl " RAYVM_VERSION); return 0;
		default: fputs("rayvmctl --help lists the options\n", stderr); return 2;
		}
	}
	if (optind == argc)
		return usage("no command");
	request.arguments = json_object_new_object();
	int status = parse(&request, argv + optind, argc - optind, &flags);
	if (status != 0) {
		json_object_put(request.arguments);
		return status;
	}

	int fd = dial(socket_path);
	if (fd < 0) {
		json_object_put(request.arguments);
		return 1;
	}
	if (!request.endless && !request.slow) {
		struct timeval limit = { .tv_sec = ANSWER_TIMEOUT_S };
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	}
	json_object *message = json_object_new_object();
	json_object_object_add(message, "id", json_object_new_int(1));
	add(message, "command", request.command);
	json_object_object_add(message, "arguments", request.arguments);
	if (request.file != NULL && open_picture(&request) < 0) {
		json_object_put(message);
		return 1;
	}
	if (send_line(fd, &request, json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN)) < 0) {
		perror("rayvmctl: cannot send");
		if (request.file != NULL)
			close_picture(&request, false);
		json_object_put(message);
		return 1;
	}
	json_object_put(message);

	bool is_console = strcmp(request.command, "console") == 0;
	FILE *in = fdopen(fd, "r");
	if (is_console)
		setvbuf(in, NULL, _IONBF, 0); /* what follows the answer is no line */
	char *line = read_line(in);
	json_object *answer = line != NULL ? json_tokener_parse(line) : NULL, *value;
	free(line);
	if (request.file != NULL) {
		bool good = answer != NULL && json_object_object_get_ex(answer, "ok", &value) && json_object_get_boolean(value);
		if (close_picture(&request, good) < 0 && good)
			return 1;
	}
	if (answer == NULL)
		return 1;
	status = 0;
	if (!json_object_object_get_ex(answer, "ok", &value) || !json_object_get_boolean(value)) {
		fprintf(stderr, "rayvmctl: %s\n", text_at(answer, "error"));
		status = 1;
	} else if (json_object_object_get_ex(answer, "result", &value)) {
		bool is_status = strcmp(request.command, "status") == 0, is_stats = strcmp(request.command, "stats") == 0;
		if ((is_status || is_stats) && request.json)
			puts(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN));
		else if (is_status)
			print_status(value);
		else if (is_stats)
			print_stats(value);
		else if (is_console)
			status = console_join(fd, text_at(value, "port"), escape);
	}
	json_object_put(answer);
	while (status == 0 && request.endless && (line = read_line(in)) != NULL) {
		puts(line);
		fflush(stdout);
		free(line);
	}
	fclose(in);
	return status;
}
