/* SPDX-License-Identifier: MIT */
/* virtio disks: what is there, and whether what is written is what is read. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* After <sys/ioctl.h>: BLKGETSIZE64. */
#include <linux/fs.h>

#include "tiny.h"

#define PIECE 4096		/* bytes */
#define PLACE 0			/* where the test writes: byte offset, restored afterwards */

void disk_scan(void)
{
	static bool named[26];

	for (int i = 0; i < 26; i++) {
		char path[] = "/dev/vda";
		unsigned long long size = 0;
		int fd;

		path[7] = (char)('a' + i);
		fd = named[i] ? -1 : open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (ioctl(fd, BLKGETSIZE64, &size) == 0) {
			say("DISK %s %llu", path + 5, size);
			named[i] = true;
		}
		close(fd);
	}
}

void disk_test(void)
{
	/* O_DIRECT, so that the disk is asked and not the page cache; it wants aligned memory. */
	static char before[PIECE] __attribute__((aligned(PIECE)));
	static char wrote[PIECE] __attribute__((aligned(PIECE)));
	static char found[PIECE] __attribute__((aligned(PIECE)));
	const char *step = "open";
	int fd = open("/dev/vda", O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		goto fail;
	step = "read";
	if (pread(fd, before, PIECE, PLACE) != PIECE)
		goto fail;
	for (int i = 0; i < PIECE; i++)
		wrote[i] = (char)(before[i] ^ (i * 7 + 0x5a));
	step = "write";
	if (pwrite(fd, wrote, PIECE, PLACE) != PIECE)
		goto fail;
	step = "flush";
	if (fsync(fd) < 0)
		goto fail;
	step = "reread";
	if (pread(fd, found, PIECE, PLACE) != PIECE)
		goto fail;
	step = "compare";
	errno = EILSEQ;
	if (memcmp(found, wrote, PIECE) != 0)
		goto fail;
	step = "restore";
	if (pwrite(fd, before, PIECE, PLACE) != PIECE || fsync(fd) < 0)
		goto fail;
	close(fd);
	say("DISKTEST ok");
	return;

fail:
	say("DISKTEST fail %s: %s", step, strerror(errno));
	if (fd >= 0)
		close(fd);
}
