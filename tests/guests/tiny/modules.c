/* SPDX-License-Identifier: MIT */
/* Loading kernel modules without modprobe: the order was computed when the initramfs was made. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "modules.h"

static char list[8192];
static char cmdline[4096];
static char *next;

static void read_all(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n;

	while (fd >= 0 && used < size - 1 && (n = read(fd, text + used, size - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = 0;
	if (fd >= 0)
		close(fd);
}

/* The kernel takes - and _ in module names for the same character; so do we. */
static bool same_name(const char *a, const char *b, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if ((a[i] == '-' ? '_' : a[i]) != (b[i] == '-' ? '_' : b[i]))
			return false;
	}
	return true;
}

/* Appends to `out` every "parameter=value" of the words "name.parameter=value" in `words`. */
static void collect(const char *words, const char *name, char *out, size_t size)
{
	const size_t length = strlen(name);

	for (const char *word = words; *word; ) {
		const size_t n = strcspn(word, " \n");

		if (n > length + 1 && word[length] == '.' && same_name(word, name, length)) {
			const size_t used = strlen(out);

			snprintf(out + used, size - used, "%.*s ", (int)(n - length - 1), word + length + 1);
		}
		word += n;
		word += strspn(word, " \n");
	}
}

void modules_load(const char *last, const char *defaults, void (*complain)(const char *name, int error))
{
	if (!next) {
		read_all("/modules", list, sizeof(list));
		read_all("/proc/cmdline", cmdline, sizeof(cmdline));
		next = list;
	}

	while (*next) {
		char *path = next, name[64], parameters[512] = "";
		const char *base;
		size_t length;
		int fd;

		next += strcspn(path, "\n");
		if (*next)
			*next++ = 0;
		base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
		length = strcspn(base, ".");
		if (length >= sizeof(name))
			continue;
		memcpy(name, base, length);
		name[length] = 0;

		if (defaults)
			collect(defaults, name, parameters, sizeof(parameters));
		collect(cmdline, name, parameters, sizeof(parameters));
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, parameters, 0) < 0 && errno != EEXIST))
			complain(name, errno);
		if (fd >= 0)
			close(fd);
		if (last && strlen(last) == length && same_name(name, last, length))
			return;
	}
}
