/*
 * A bare evdev reader: how long after its time stamp a program reads a key. Opens the device of this name and says "ready"; prints one JSON object,
 * microseconds, when it was read so many presses and releases.
 *
 *   keyread NAME KEYS [raised]       raised: with the priority that rayvm's front thread has
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/thread.h"
#include "summary.h"

#define DEVICES 64

static int open_named(const char *wanted)
{
	for (int i = 0; i < DEVICES; i++) {
		char path[32], name[128] = "";
		int clock = CLOCK_MONOTONIC;
		snprintf(path, sizeof(path), "/dev/input/event%d", i);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (ioctl(fd, EVIOCGNAME(sizeof(name) - 1), name) >= 0 && strcmp(name, wanted) == 0 && ioctl(fd, EVIOCSCLOCKID, &clock) == 0)
			return fd;
		close(fd);
	}
	return -1;
}

int main(int argc, char **argv)
{
	static struct histogram us;
	unsigned long left = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	int fd = left > 0 ? open_named(argv[1]) : -1;

	if (fd < 0) {
		fprintf(stderr, left > 0 ? "keyread: no input device is called %s\n" : "usage: keyread NAME KEYS [raised]\n", argv[1]);
		return left > 0 ? 1 : 2;
	}
	int priority = argc > 3 && strcmp(argv[3], "raised") == 0 ? thread_raise_self() : 0;
	printf("ready\n");
	fflush(stdout);
	while (left > 0) {
		struct input_event event[64];
		ssize_t got = read(fd, event, sizeof(event));
		uint64_t now = clock_now_ns();

		if (got < 0 && errno != EINTR) {
			fprintf(stderr, "keyread: %s: %s\n", argv[1], strerror(errno));
			return 1;
		}
		for (size_t i = 0; i < (got > 0 ? (size_t)got / sizeof(event[0]) : 0) && left > 0; i++) {
			if (event[i].type != EV_KEY || event[i].value > 1)
				continue;
			uint64_t stamp = (uint64_t)event[i].input_event_sec * NSEC_PER_SEC + (uint64_t)event[i].input_event_usec * NSEC_PER_USEC;
			histogram_record_us(&us, now > stamp ? (now - stamp) / NSEC_PER_USEC : 0);
			left--;
		}
	}
	printf("{\"priority\":%d,", priority);
	print_summary(&us);
	printf("}\n");
	return 0;
}
