/*
 * rayvm-console-restore TTY - text mode, a working keyboard and automatic VT switching on a terminal that a killed
 * program left in graphics mode. For ExecStopPost= of the unit; harmless where nothing is to be mended.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kd.h>
#include <linux/vt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 2 || argv[1][0] == '-') {
		fputs("Usage: rayvm-console-restore TTY, such as /dev/tty1\n", stderr);
		return 2;
	}
	int fd = open(argv[1], O_RDWR | O_CLOEXEC | O_NOCTTY), mode = KD_TEXT, keyboard;
	if (fd < 0 || ioctl(fd, KDGETMODE, &mode) < 0) {
		fprintf(stderr, "rayvm-console-restore: %s is no virtual terminal that may be opened: %s\n", argv[1], strerror(errno));
		return 1;
	}
	struct vt_mode automatic = { .mode = VT_AUTO };
	bool failed = false;
	if (ioctl(fd, KDGKBMODE, &keyboard) == 0 && keyboard == K_OFF)
		failed |= ioctl(fd, KDSKBMODE, K_UNICODE) < 0;
	if (mode == KD_GRAPHICS)
		failed |= ioctl(fd, KDSETMODE, KD_TEXT) < 0;
	failed |= ioctl(fd, VT_SETMODE, &automatic) < 0;
	if (failed)
		fprintf(stderr, "rayvm-console-restore: cannot restore %s: %s\n", argv[1], strerror(errno));
	close(fd);
	return failed ? 1 : 0;
}
