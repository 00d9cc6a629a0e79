/* SPDX-License-Identifier: MIT */
/*
 * /init of the fio guest: loads the modules of the initramfs, names the disks, and then does what the serial port says, one
 * line a job. It paints nothing and has no clock of its own: between jobs the guest is idle, which is itself measured.
 * README.md in the folder above lists the commands and what they print.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* After <sys/ioctl.h>: BLKGETSIZE64. */
#include <linux/fs.h>

#include "../tiny/modules.h"
#include "record.h"

#define WORDS_MAX 64
#define DISKS_MAX 8

static int serial = 1;

void say(const char *format, ...)
{
	char line[512] = "FIO:";
	va_list arguments;
	size_t length, done = 0;

	va_start(arguments, format);
	vsnprintf(line + 4, sizeof(line) - 5, format, arguments);
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

static void complain(const char *what, int error)
{
	say("ERROR %s: %s", what, strerror(error));
}

static double uptime(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* COM1, raw: no echo of commands, no carriage returns. */
static void open_serial(void)
{
	struct termios settings;
	int fd = open("/dev/ttyS0", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || tcgetattr(fd, &settings) < 0)
		return;
	cfmakeraw(&settings);
	cfsetspeed(&settings, B115200);
	tcsetattr(fd, TCSANOW, &settings);
	serial = fd;
}

static void name_disks(void)
{
	for (int i = 0; i < DISKS_MAX; i++) {
		char path[] = "/dev/vda";
		unsigned long long size = 0;
		int fd;

		path[7] = (char)('a' + i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (ioctl(fd, BLKGETSIZE64, &size) == 0)
			say("DISK %s %llu", path + 5, size);
		close(fd);
	}
}

/* Requests that all disks have completed so far, by the kernel's own count: reads, writes, flushes (Documentation/block/stat.rst). */
static void count_requests(unsigned long long counts[3])
{
	memset(counts, 0, 3 * sizeof(*counts));
	for (int i = 0; i < DISKS_MAX; i++) {
		char path[] = "/sys/block/vda/stat";
		unsigned long long field[17] = {0};
		FILE *file;
		int n = 0;

		path[13] = (char)('a' + i);
		file = fopen(path, "re");
		if (!file)
			continue;
		while (n < 17 && fscanf(file, "%llu", &field[n]) == 1)
			n++;
		fclose(file);
		counts[0] += field[0];
		counts[1] += field[4];
		counts[2] += field[15];
	}
}

/* Runs /bin/fio with these words; what it prints goes to the serial port as it is. Returns its exit status, or -1. */
static int run_fio(char **words)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		dup2(serial, 1);
		dup2(serial, 2);
		execv("/bin/fio", words);
		_exit(127);
	}
	if (child < 0)
		return -1;
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void job(char **words)
{
	unsigned long long before[3], after[3];
	double begin;
	int status;

	count_requests(before);
	begin = uptime();
	status = run_fio(words);
	count_requests(after);
	say("DONE status=%d seconds=%.3f reads=%llu writes=%llu flushes=%llu", status, uptime() - begin,
	    after[0] - before[0], after[1] - before[1], after[2] - before[2]);
}

/* fio's words for region `number` of `device`: 1 MiB of blocks that say where and when they were written, flushed now and then. */
static int run_region(const char *device, unsigned long number, const char *mode)
{
	char filename[80], offset[48], seed[48];
	char *words[] = {"fio", "--name=region", filename, offset, seed, "--size=1m", "--rw=randwrite", "--bs=4k", "--ioengine=io_uring",
			 "--iodepth=8", "--direct=1", "--thread", "--verify=crc32c", "--verify_fatal=1", "--fdatasync=32", "--end_fsync=1",
			 "--output=/tmp/out", (char *)mode, NULL};

	snprintf(filename, sizeof(filename), "--filename=%s", device);
	snprintf(offset, sizeof(offset), "--offset=%lum", number);
	snprintf(seed, sizeof(seed), "--randseed=%lu", 1000 + number);
	return run_fio(words);
}

/* Region after region until the machine ends; each is named when fio has ended well, its last flush done. */
static void write_regions(const char *device, unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		if (run_region(device, i, "--do_verify=0") != 0) {
			say("ERROR region %lu", i);
			return;
		}
		say("REGION %lu", i);
	}
	say("REGIONS written=%lu", count);
}

static void check_regions(const char *device, unsigned long count)
{
	unsigned long good = 0;

	for (unsigned long i = 0; i < count; i++) {
		if (run_region(device, i, "--verify_only=1") == 0)
			good++;
		else
			say("BROKEN region %lu", i);
	}
	say("REGIONS good=%lu of=%lu", good, count);
}

static void end(const char *how)
{
	say("END %s", how);
	tcdrain(serial);
	reboot(!strcmp(how, "reboot") ? RB_AUTOBOOT : RB_POWER_OFF);
}

static void obey(char *line)
{
	char *words[WORDS_MAX], *save = NULL;
	int count = 0;

	for (char *word = strtok_r(line, " ", &save); word && count < WORDS_MAX - 1; word = strtok_r(NULL, " ", &save))
		words[count++] = word;
	words[count] = NULL;
	if (count == 0)
		return;
	if (!strcmp(words[0], "ping"))
		say("PONG");
	else if (!strcmp(words[0], "fio"))
		job(words);
	else if (!strcmp(words[0], "record") && count == 4)
		record_write(words[1], strtoul(words[2], NULL, 10), strtoul(words[3], NULL, 10));
	else if (!strcmp(words[0], "verify") && count == 2)
		record_verify(words[1]);
	else if (!strcmp(words[0], "regions") && count == 3)
		write_regions(words[1], strtoul(words[2], NULL, 10));
	else if (!strcmp(words[0], "check-regions") && count == 3)
		check_regions(words[1], strtoul(words[2], NULL, 10));
	else if (!strcmp(words[0], "poweroff") || !strcmp(words[0], "reboot"))
		end(words[0]);
	else
		say("ERROR %s: unknown command", words[0]);
}

/* fio.do=COMMAND:WORD:WORD on the kernel command line is a command, too. */
static void obey_kernel_line(void)
{
	char line[4096] = "", *word;
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, line, sizeof(line) - 1) < 0)
		complain("/proc/cmdline", errno);
	if (fd >= 0)
		close(fd);
	word = strstr(line, "fio.do=");
	if (!word)
		return;
	word += strlen("fio.do=");
	word[strcspn(word, " \n")] = 0;
	for (char *c = word; *c; c++) {
		if (*c == ':')
			*c = ' ';
	}
	obey(word);
}

int main(void)
{
	char line[1024];
	size_t length = 0;

	mount("dev", "/dev", "devtmpfs", MS_NOSUID, NULL);
	open_serial();
	say("INIT uptime=%.3f", uptime());
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	mount("tmp", "/tmp", "tmpfs", 0, NULL);
	modules_load(NULL, NULL, complain);
	name_disks();
	say("READY uptime=%.3f cpus=%d", uptime(), get_nprocs());
	obey_kernel_line();

	for (;;) {
		char text[128];
		ssize_t n = read(serial, text, sizeof(text));

		if (n <= 0) {
			/* The other end is closed: nothing will come any more. */
			if (n == 0 || (errno != EINTR && errno != EAGAIN))
				pause();
			continue;
		}
		for (ssize_t i = 0; i < n; i++) {
			if (text[i] != '\n' && text[i] != '\r') {
				if (length < sizeof(line) - 1)
					line[length++] = text[i];
				continue;
			}
			line[length] = 0;
			length = 0;
			obey(line);
		}
	}
}
