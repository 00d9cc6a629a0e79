/* SPDX-License-Identifier: MIT */
/* The driver of the input devices: taken away and brought back, or made deaf. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tiny.h"

#define DRIVER "virtio_input"
#define DEVICES "/sys/bus/virtio/drivers/" DRIVER
#define PCI_CAPABILITIES 0x34
#define PCI_CAP_MSIX 0x11
#define MSIX_FLAGS 2
#define MSIX_FUNCTION_MASK 0x40	/* in the upper byte of the flags */

bool driver_unload(void)
{
	return syscall(SYS_delete_module, DRIVER, O_NONBLOCK) == 0;
}

bool driver_load(void)
{
	int fd = open("/lib/" DRIVER ".ko", O_RDONLY | O_CLOEXEC);
	bool loaded = fd >= 0 && syscall(SYS_finit_module, fd, "", 0) == 0;
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return loaded;
}

/* Masks all interrupts of one device: its driver then never learns of a used buffer, and so gives none back. */
static bool mask(const char *name, bool on)
{
	char path[320];
	uint8_t at = PCI_CAPABILITIES, head[2] = {0}, flags;
	bool done = false;
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/../config", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	for (unsigned int n = 0; n < 48 && !done && pread(fd, &head[1], 1, at) == 1 && head[1] != 0; n++) {
		const uint8_t place = head[1];

		if (pread(fd, head, 2, place) != 2)
			break;
		at = place + 1;
		if (head[0] != PCI_CAP_MSIX || pread(fd, &flags, 1, place + MSIX_FLAGS + 1) != 1)
			continue;
		flags = (uint8_t)(on ? flags | MSIX_FUNCTION_MASK : flags & ~MSIX_FUNCTION_MASK);
		done = pwrite(fd, &flags, 1, place + MSIX_FLAGS + 1) == 1;
	}
	close(fd);
	return done;
}

int driver_deaf(bool deaf)
{
	DIR *folder = opendir(DEVICES);
	struct dirent *entry;
	int count = 0;

	while (folder && (entry = readdir(folder)))
		count += !strncmp(entry->d_name, "virtio", 6) && mask(entry->d_name, deaf);
	if (folder)
		closedir(folder);
	return count;
}
