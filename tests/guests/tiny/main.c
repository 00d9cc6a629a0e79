/* SPDX-License-Identifier: MIT */
/* /init of the tiny guest: start, options, commands, the loop. */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "modules.h"
#include "tiny.h"

/* The text console would set a mode and fill a frame before we do: off, unless the kernel command line asks for it. */
#define MODULE_DEFAULTS "drm_kms_helper.fbdev_emulation=0"

struct tiny {
	struct screen *screen;	/* NULL: no card yet */
	struct input input;
	struct painted painted;
	int news;		/* netlink socket for kernel events, -1: none */
	char command[256];
	size_t command_length;
	bool eof;		/* the serial port has nothing more for us */

	unsigned int fps;	/* 0: static */
	uint32_t wish_width, wish_height; /* mode asked for; 0: the preferred one */
	bool flip, cursor, hang, disktest;
	bool back_to_back;	/* flip again the moment a flip has completed, whatever fps says */
	unsigned int flips;	/* completed since flips_ms, while back to back */
	uint64_t flips_ms;
	bool said_painted;
	unsigned long after;	/* end when the counter is here; 0: at the first picture */
	char end[16];		/* what to do then: poweroff, reboot, panic; empty: nothing */
};

static int serial = 1;

void say(const char *format, ...)
{
	char line[512] = "TINY:";
	va_list arguments;
	size_t length, done = 0;

	va_start(arguments, format);
	vsnprintf(line + 5, sizeof(line) - 6, format, arguments);
	va_end(arguments);
	length = strlen(line);
	line[length++] = '\n';
	while (done < length) {
		ssize_t n = write(serial, line + done, length - done);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0)
			done += (size_t)n;
	}
}

void complain(const char *what, int error)
{
	say("ERROR %s: %s", what, strerror(error));
}

uint64_t uptime_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void say_time(const char *what)
{
	const uint64_t now = uptime_ms();

	say("%s uptime=%llu.%03u", what, (unsigned long long)(now / 1000), (unsigned int)(now % 1000));
}

/* COM1, else the virtio console, else what the kernel gave us. Raw: no echo of commands, no carriage returns. */
static void open_serial(void)
{
	static const char *const paths[] = {"/dev/ttyS0", "/dev/hvc0"};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct termios settings;
		int fd = open(paths[i], O_RDWR | O_NOCTTY | O_CLOEXEC);

		if (fd < 0)
			continue;
		/* A port that is not there opens, and fails here. */
		if (tcgetattr(fd, &settings) < 0) {
			close(fd);
			continue;
		}
		cfmakeraw(&settings);
		cfsetspeed(&settings, B115200);
		tcsetattr(fd, TCSANOW, &settings);
		serial = fd;
		return;
	}
}

/* Touches all memory there is. What the kernel then does to its first process is the end, if the host has not made one before. */
static void eat(void)
{
	for (;;) {
		void *page = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (page != MAP_FAILED)
			memset(page, 0x5a, 1 << 20);
	}
}

static void end(const char *how)
{
	say("END %s", how);
	tcdrain(serial);
	if (!strcmp(how, "reboot")) {
		reboot(RB_AUTOBOOT);
	} else if (!strcmp(how, "panic")) {
		int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

		if (fd < 0 || write(fd, "c", 1) < 0)
			complain("panic", errno);
	} else if (!strcmp(how, "eat")) {
		eat();
	} else {
		reboot(RB_POWER_OFF);
	}
}

static void set_flip(struct tiny *tiny, unsigned int how)
{
	tiny->flip = how > 0;
	tiny->back_to_back = how > 1;
	tiny->flips = 0;
	tiny->flips_ms = uptime_ms();
}

static void read_options(struct tiny *tiny)
{
	char line[4096] = "", *save = NULL;
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, line, sizeof(line) - 1) < 0)
		complain("/proc/cmdline", errno);
	if (fd >= 0)
		close(fd);

	tiny->fps = 5;
	for (char *word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		const char *value = strchr(word, '=');

		if (strncmp(word, "tiny.", 5) != 0 || !value)
			continue;
		value++;
		if (!strncmp(word, "tiny.fps=", 9))
			tiny->fps = (unsigned int)strtoul(value, NULL, 10);
		else if (!strncmp(word, "tiny.flip=", 10))
			set_flip(tiny, (unsigned int)strtoul(value, NULL, 10));
		else if (!strncmp(word, "tiny.mode=", 10))
			sscanf(value, "%ux%u", &tiny->wish_width, &tiny->wish_height);
		else if (!strncmp(word, "tiny.cursor=", 12))
			tiny->cursor = *value == '1';
		else if (!strncmp(word, "tiny.syn=", 9))
			tiny->input.syn = *value == '1';
		else if (!strncmp(word, "tiny.exit=", 10))
			snprintf(tiny->end, sizeof(tiny->end), "%s", value);
		else if (!strncmp(word, "tiny.after=", 11))
			tiny->after = strtoul(value, NULL, 10);	/* "painted" is 0 */
		else if (!strncmp(word, "tiny.disktest=", 14))
			tiny->disktest = *value == '1';
		else
			say("ERROR unknown option %s", word);
	}
	if (tiny->fps > 1000)
		tiny->fps = 1000;
}

static void open_news(struct tiny *tiny)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};

	tiny->news = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	if (tiny->news >= 0 && bind(tiny->news, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(tiny->news);
		tiny->news = -1;
	}
	if (tiny->news < 0)
		complain("kernel events", errno);
}

/* The picture is on the screen for the first time, or anew. */
static void shown(struct tiny *tiny)
{
	if (!tiny->said_painted) {
		tiny->said_painted = true;
		say_time("PAINTED");
		if (tiny->end[0] && tiny->after == 0)
			end(tiny->end);
	}
	if (tiny->cursor)
		screen_cursor(tiny->screen, true);
}

static void look_at_screen(struct tiny *tiny)
{
	if (!tiny->screen) {
		tiny->screen = screen_open();
		if (tiny->screen)
			screen_wish(tiny->screen, tiny->wish_width, tiny->wish_height);
	}
	if (tiny->screen && screen_update(tiny->screen, &tiny->painted))
		shown(tiny);
}

static void read_news(struct tiny *tiny)
{
	char text[8192];
	bool card = false, hotplug = false, input = false, block = false;
	ssize_t n;

	while ((n = recv(tiny->news, text, sizeof(text) - 1, 0)) > 0) {
		text[n] = 0;
		for (const char *word = text; word < text + n; word += strlen(word) + 1) {
			card |= !strcmp(word, "SUBSYSTEM=drm");
			hotplug |= !strcmp(word, "HOTPLUG=1");
			input |= !strcmp(word, "SUBSYSTEM=input");
			block |= !strcmp(word, "SUBSYSTEM=block");
		}
	}
	if (input)
		input_scan(&tiny->input);
	if (block)
		disk_scan();
	if (hotplug && tiny->screen) {
		say("HOTPLUG");
		screen_wish(tiny->screen, tiny->wish_width, tiny->wish_height);
	}
	if (hotplug || (card && !tiny->screen))
		look_at_screen(tiny);
}

static void obey(struct tiny *tiny, const char *command)
{
	unsigned int width, height, number;

	if (!strcmp(command, "ping")) {
		say("PONG");
	} else if (!strcmp(command, "poweroff") || !strcmp(command, "reboot") || !strcmp(command, "panic")) {
		end(command);
	} else if (!strcmp(command, "leds")) {
		input_leds(&tiny->input);
	} else if (!strcmp(command, "keys")) {
		input_keys(&tiny->input);
	} else if (!strcmp(command, "unload") || !strcmp(command, "load")) {
		if (!(command[0] == 'u' ? driver_unload() : driver_load()))
			complain(command, errno);
		else
			say(command[0] == 'u' ? "UNLOADED" : "LOADED");
	} else if (!strcmp(command, "deaf") || !strcmp(command, "hear")) {
		say("%s %d", command[0] == 'd' ? "DEAF" : "HEAR", driver_deaf(command[0] == 'd'));
	} else if (!strcmp(command, "disktest")) {
		disk_test();
	} else if (!strcmp(command, "hang")) {
		tiny->hang = true;
		say("HANG");
	} else if (!strcmp(command, "go")) {
		tiny->hang = false;
		say("GO");
	} else if (sscanf(command, "fps %u", &number) == 1) {
		tiny->fps = number < 1000 ? number : 1000;
		say("FPS %u", tiny->fps);
	} else if (sscanf(command, "flip %u", &number) == 1) {
		set_flip(tiny, number);
		say("FLIP %u", number);
	} else if (!tiny->screen) {
		say("ERROR %s: unknown, or there is no screen", command);
	} else if (!strcmp(command, "blank") || !strcmp(command, "unblank")) {
		if (screen_blank(tiny->screen, command[0] == 'b', &tiny->painted))
			say(command[0] == 'b' ? "BLANK" : "UNBLANK");
	} else if (sscanf(command, "mode %ux%u", &width, &height) == 2) {
		screen_wish(tiny->screen, width, height);
		look_at_screen(tiny);
	} else if (sscanf(command, "cursor %u", &number) == 1) {
		tiny->cursor = number != 0;
		screen_cursor(tiny->screen, tiny->cursor);
	} else {
		say("ERROR %s: unknown command", command);
	}
}

static void read_commands(struct tiny *tiny)
{
	char text[128];
	ssize_t n = read(serial, text, sizeof(text));

	if (n <= 0) {
		/* Hung up: a port that polls readable for ever would keep us busy. */
		tiny->eof = n == 0 || (errno != EINTR && errno != EAGAIN);
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (text[i] != '\n' && text[i] != '\r') {
			if (tiny->command_length < sizeof(tiny->command) - 1)
				tiny->command[tiny->command_length++] = text[i];
			continue;
		}
		tiny->command[tiny->command_length] = 0;
		tiny->command_length = 0;
		if (tiny->command[0])
			obey(tiny, tiny->command);
	}
}

/* One more frame. False: it could not be shown now. */
static bool count(struct tiny *tiny)
{
	tiny->painted.key = tiny->input.key;
	tiny->painted.key_down = tiny->input.key_down;
	tiny->painted.counter++;
	if (!screen_show(tiny->screen, &tiny->painted, tiny->flip)) {
		tiny->painted.counter--;
		return false;
	}
	tiny->input.key_news = false;
	if (tiny->end[0] && tiny->after && tiny->painted.counter == tiny->after)
		end(tiny->end);
	return true;
}

static void loop(struct tiny *tiny)
{
	uint64_t next_frame = uptime_ms(), next_line = next_frame + 1000;

	for (;;) {
		struct pollfd fds[3 + INPUT_MAX];
		const bool runs = tiny->screen && !tiny->hang && (tiny->fps > 0 || tiny->back_to_back);
		uint64_t now = uptime_ms(), wake = next_line;

		/* A flip takes as long as it takes: its event, not the clock, asks for the next one. */
		if (runs && !screen_flipping(tiny->screen) && next_frame < wake)
			wake = next_frame;

		fds[0] = (struct pollfd){.fd = tiny->eof ? -1 : serial, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = tiny->news, .events = POLLIN};
		fds[2] = (struct pollfd){.fd = tiny->screen ? screen_fd(tiny->screen) : -1, .events = POLLIN};
		for (unsigned int i = 0; i < INPUT_MAX; i++)
			fds[3 + i] = (struct pollfd){.fd = tiny->input.devices[i].fd, .events = POLLIN};
		if (poll(fds, 3 + INPUT_MAX, wake > now ? (int)(wake - now) : 0) < 0)
			continue;

		for (unsigned int i = 0; i < INPUT_MAX; i++) {
			if (fds[3 + i].revents)
				input_read(&tiny->input, &tiny->input.devices[i]);
		}
		if (tiny->input.power)
			end("poweroff");
		if (fds[0].revents)
			read_commands(tiny);
		if (fds[1].revents)
			read_news(tiny);
		if (fds[2].revents && screen_event(tiny->screen))
			tiny->flips++;

		now = uptime_ms();
		if (tiny->screen && tiny->input.pointer_news && tiny->cursor) {
			screen_cursor_move(tiny->screen, screen_width(tiny->screen) * (uint32_t)tiny->input.x / 1000,
					   screen_height(tiny->screen) * (uint32_t)tiny->input.y / 1000);
			tiny->input.pointer_news = false;
		}
		if (runs && !screen_flipping(tiny->screen) && now >= next_frame) {
			const bool counted = count(tiny);

			next_frame += tiny->back_to_back ? !counted : 1000 / tiny->fps;
			if (next_frame < now)
				next_frame = now;
		} else if (tiny->screen && !tiny->hang && tiny->input.key_news && !screen_flipping(tiny->screen)) {
			/* A key is seen at once, as a frame of its own. */
			count(tiny);
			tiny->input.key_news = false;
		}
		if (now >= next_line) {
			say("COUNT %u", tiny->painted.counter);
			if (tiny->back_to_back) {
				say("FLIPS %u ms=%u", tiny->flips, (unsigned int)(now - tiny->flips_ms));
				tiny->flips = 0;
				tiny->flips_ms = now;
			}
			next_line = now + 1000;
		}
	}
}

int main(void)
{
	static struct tiny tiny;

	mount("dev", "/dev", "devtmpfs", MS_NOSUID, NULL);
	open_serial();
	say_time("INIT");
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	input_init(&tiny.input);
	read_options(&tiny);
	open_news(&tiny);

	/* What is needed for the first picture comes first. */
	modules_load("virtio_gpu", MODULE_DEFAULTS, complain);
	look_at_screen(&tiny);
	modules_load(NULL, NULL, complain);
	input_scan(&tiny.input);
	disk_scan();
	if (tiny.disktest)
		disk_test();
	say_time("READY");
	loop(&tiny);
}
