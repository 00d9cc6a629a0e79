/* SPDX-License-Identifier: MIT */
/*
 * /init of the desktop guest: loads the modules of the initramfs, mounts root= read-write as ext4, and becomes its
 * /sbin/init. It takes the place of a distribution's initramfs, which runs udev and a shell first: several seconds
 * on a machine that is emulated.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "modules.h"

static void complain(const char *name, int error)
{
	/* ENODEV: a driver for what this processor or machine does not have. */
	if (error != ENODEV)
		fprintf(stderr, "init: module %s: %s\n", name, strerror(error));
}

int main(void)
{
	char device[64] = "/dev/vda", line[4096] = "";
	FILE *file;
	int tries = 0;

	mount("dev", "/dev", "devtmpfs", MS_NOSUID, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);

	modules_load(NULL, NULL, complain);

	file = fopen("/proc/cmdline", "re");
	if (file && fgets(line, sizeof(line), file)) {
		char *word = strstr(line, "root=/");

		if (word)
			snprintf(device, sizeof(device), "%.*s", (int)strcspn(word + 5, " \n"), word + 5);
	}
	if (file)
		fclose(file);

	/* virtio-blk probes while its module loads, so the disk is there at once or was never given; wait 10 s to be told so. */
	while (mount(device, "/root", "ext4", MS_NOATIME, NULL) < 0) {
		if (errno != ENOENT && errno != ENXIO && errno != ENODEV && errno != ENOTBLK) {
			fprintf(stderr, "init: cannot mount %s: %s\n", device, strerror(errno));
			return 1;
		}
		if (++tries == 100) {
			fprintf(stderr, "init: no disk %s: give the guest disk.img as its first virtio-blk disk\n", device);
			return 1;
		}
		usleep(100000);
	}

	mount("/dev", "/root/dev", NULL, MS_MOVE, NULL);
	mount("/proc", "/root/proc", NULL, MS_MOVE, NULL);
	mount("/sys", "/root/sys", NULL, MS_MOVE, NULL);
	if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0) {
		fprintf(stderr, "init: cannot enter %s: %s\n", device, strerror(errno));
		return 1;
	}
	execl("/sbin/init", "/sbin/init", NULL);
	fprintf(stderr, "init: cannot start /sbin/init of %s: %s\n", device, strerror(errno));
	return 1;
}
