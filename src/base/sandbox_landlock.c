/*
 * Landlock by its system calls: the C library has none for it, and the headers of the oldest kernel we build on lack its newer parts
 * (Documentation/userspace-api/landlock.rst has the versions). A right that is handled and not granted is refused.
 */
#include "base/sandbox_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"

/* include/uapi/linux/landlock.h */
#define CREATE_VERSION 1u
#define RULE_PATH_BENEATH 1
#define FS_WRITE_FILE (1ull << 1)
#define FS_READ_FILE (1ull << 2)
#define FS_READ_DIR (1ull << 3)
#define FS_REMOVE_FILE (1ull << 5)
#define FS_IOCTL_DEV (1ull << 15)
#define SCOPE_ABSTRACT_UNIX (1ull << 0)
#define SCOPE_SIGNAL (1ull << 1)

struct ruleset_attr {
	uint64_t handled_access_fs, handled_access_net, scoped;
};

struct path_beneath_attr {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));

int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
	return abi > 0 ? (int)abi : 0;
}

/* All rights of files that this version knows: 13 in the first, then REFER, TRUNCATE, and from version 5 IOCTL_DEV. */
static uint64_t all_file_rights(int abi)
{
	return abi >= 5 ? (1ull << 16) - 1 : abi >= 3 ? (1ull << 15) - 1 : abi >= 2 ? (1ull << 14) - 1 : (1ull << 13) - 1;
}

static int create(int abi, bool signals)
{
	struct ruleset_attr attr = {
		.handled_access_fs = all_file_rights(abi),
		.handled_access_net = abi >= 4 ? 3 : 0, /* TCP: bind and connect */
		.scoped = abi >= 6 ? SCOPE_ABSTRACT_UNIX | (signals ? SCOPE_SIGNAL : 0) : 0,
	};
	/* Fields that an older kernel does not know may follow as long as they are zero. */
	return (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0u);
}

/* What is not there needs no rule. */
static void grant(int ruleset, int abi, const char *path, uint64_t rights)
{
	struct path_beneath_attr attr = { .parent_fd = open(path, O_PATH | O_CLOEXEC) };
	struct stat info;
	if (attr.parent_fd < 0)
		return;
	attr.allowed_access = rights & all_file_rights(abi);
	/* Rights on folders are refused for a rule about a file. */
	if (fstat(attr.parent_fd, &info) == 0 && !S_ISDIR(info.st_mode))
		attr.allowed_access &= FS_WRITE_FILE | FS_READ_FILE | FS_IOCTL_DEV;
	syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &attr, 0u);
	close(attr.parent_fd);
}

/* A user's own folder: $variable/name, or else $HOME/otherwise/name. */
static void grant_own(int ruleset, int abi, const char *variable, const char *otherwise, const char *name)
{
	char path[4096];
	const char *base = variable != NULL ? getenv(variable) : NULL, *home = getenv("HOME");
	if (base != NULL && base[0] == '/')
		snprintf(path, sizeof path, "%s/%s", base, name);
	else if (home != NULL && home[0] == '/')
		snprintf(path, sizeof path, "%s/%s%s", home, otherwise, name);
	else
		return;
	grant(ruleset, abi, path, FS_READ_FILE | FS_READ_DIR);
}

int landlock_nothing(int abi, bool signals)
{
	return create(abi, signals);
}

int landlock_panel(int abi, const char *remove_in, bool devices)
{
	static const char *const readable[] = {
		"/sys", "/run/udev",                         /* hot-plug: libudev */
		"/etc/udev", "/etc/libinput", "/etc/libwacom", /* quirks of devices */
		"/run/systemd/seats", "/run/systemd/sessions", "/run/systemd/users", /* logind's word on whose turn it is */
		"/dev/input",                                /* the list of what is there; the seat manager opens the devices */
		"/usr", "/nix/store", "/gnu/store",          /* fonts, keymaps, quirks, time zones: what distributions ship */
		"/etc/fonts", "/etc/xkb", "/etc/X11/xkb", "/etc/localtime", "/etc/timezone",
		"/var/cache/fontconfig", "/var/lib/fontconfig",
	};
	int ruleset = create(abi, false);
	if (ruleset < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(readable); i++)
		grant(ruleset, abi, readable[i], FS_READ_FILE | FS_READ_DIR);
	grant_own(ruleset, abi, "XDG_DATA_HOME", ".local/share/", "fonts");
	grant_own(ruleset, abi, "XDG_CONFIG_HOME", ".config/", "fontconfig");
	grant_own(ruleset, abi, "XDG_CONFIG_HOME", ".config/", "xkb");
	grant_own(ruleset, abi, "XDG_CACHE_HOME", ".cache/", "fontconfig");
	grant_own(ruleset, abi, NULL, "", ".fonts");
	grant_own(ruleset, abi, NULL, "", ".XCompose");
	if (devices) {
		grant(ruleset, abi, "/dev/input", FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_IOCTL_DEV);
		grant(ruleset, abi, "/dev/dri", FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_IOCTL_DEV);
	}
	if (remove_in != NULL)
		grant(ruleset, abi, remove_in, FS_REMOVE_FILE);
	return ruleset;
}

int landlock_enter(int ruleset)
{
	return (int)syscall(SYS_landlock_restrict_self, ruleset, 0u);
}
