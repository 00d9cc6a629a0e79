#include "preflight.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#include "options.h"
#include "vmm/vm.h"

enum verdict { GOOD, WARNING, BAD };

static void say(enum verdict verdict, const char *what, const char *text)
{
	static const char *const tags[] = { "[OK]", "[--]", "[!!]" };
	printf("%s %-10s %s\n", tags[verdict], what, text);
}

static int check_kvm(void)
{
	char error[256];
	bool slow = false;
	if (vm_probe(error, sizeof error, &slow) < 0) {
		say(BAD, "kvm", error);
		return EXIT_KVM;
	}
	if (slow)
		say(WARNING, "kvm", "works, but runs the guest's kernel by emulation: Linux would take very long to boot");
	else
		say(GOOD, "kvm", "hardware virtualisation");
	return 0;
}

static int check_file(const char *what, const char *path)
{
	char text[512];
	struct stat info;
	if (access(path, R_OK) < 0 || stat(path, &info) < 0) {
		snprintf(text, sizeof text, "cannot read %s: %s", path, strerror(errno));
		say(BAD, what, text);
		return EXIT_USAGE;
	}
	snprintf(text, sizeof text, "%s, %lld KiB", path, (long long)info.st_size / 1024);
	say(GOOD, what, text);
	return 0;
}

/* Connected outputs of a card, -1 when it cannot set modes. */
static int connected_outputs(int fd)
{
	drmModeRes *resources = drmModeGetResources(fd);
	if (resources == NULL)
		return -1;
	int connected = 0;
	for (int i = 0; i < resources->count_connectors; i++) {
		drmModeConnector *connector = drmModeGetConnectorCurrent(fd, resources->connectors[i]);
		if (connector != NULL && connector->connection == DRM_MODE_CONNECTED)
			connected++;
		drmModeFreeConnector(connector);
	}
	drmModeFreeResources(resources);
	return connected;
}

static int check_display(const struct options *options)
{
	if (options->display != DISPLAY_KMS) {
		say(GOOD, "display", options->display == DISPLAY_HEADLESS ? "headless" : "none");
		return 0;
	}
	DIR *directory = opendir("/dev/dri");
	int usable = 0, denied = 0, connected = 0;
	for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
		if (strncmp(entry->d_name, "card", 4) != 0)
			continue;
		char path[280], text[400];
		snprintf(path, sizeof path, "/dev/dri/%s", entry->d_name);
		int fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0) {
			snprintf(text, sizeof text, "%s: %s", path, strerror(errno));
			say(WARNING, "card", text);
			denied++;
			continue;
		}
		/* The first opener becomes master: give that back at once. */
		drmDropMaster(fd);
		drmVersion *version = drmGetVersion(fd);
		int outputs = connected_outputs(fd);
		snprintf(text, sizeof text, "%s: %s, %d connected output%s", path, version != NULL ? version->name : "?", outputs < 0 ? 0 : outputs,
			outputs == 1 ? "" : "s");
		say(outputs > 0 ? GOOD : WARNING, "card", text);
		usable += outputs >= 0;
		connected += outputs > 0 ? outputs : 0;
		drmFreeVersion(version);
		close(fd);
	}
	if (directory != NULL)
		closedir(directory);
	if (usable == 0) {
		say(BAD, "display", denied > 0 ? "no right to a card: run as root, from a local login, or with seatd running"
		                               : "no DRM card: load the graphics driver, or use --display headless");
		return denied > 0 ? EXIT_INPUT : EXIT_DISPLAY;
	}
	if (connected == 0)
		say(WARNING, "display", "no connected output: rayvm would wait for one");
	return 0;
}

static int check_input(const struct options *options)
{
	if (options->display != DISPLAY_KMS)
		return 0;
	DIR *directory = opendir("/dev/input");
	int devices = 0, readable = 0;
	for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
		if (strncmp(entry->d_name, "event", 5) != 0)
			continue;
		char path[280];
		snprintf(path, sizeof path, "/dev/input/%s", entry->d_name);
		devices++;
		int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		readable += fd >= 0;
		if (fd >= 0)
			close(fd);
	}
	if (directory != NULL)
		closedir(directory);
	char text[120];
	snprintf(text, sizeof text, "%d devices, %d open to this user directly (the seat may open more)", devices, readable);
	say(readable > 0 ? GOOD : WARNING, "input", devices == 0 ? "no input device: rayvm would wait for a keyboard" : text);
	return 0;
}

int check_machine(const struct options *options)
{
	int result = 0, status;
#define CHECK(call) do { if ((status = (call)) != 0 && result == 0) result = status; } while (0)
	if (options->vmm_hypervisor) {
		CHECK(check_kvm());
		if (options->kernel != NULL)
			CHECK(check_file("kernel", options->kernel));
		else
			say(WARNING, "kernel", "none given (-k): the UI would start without a guest");
		if (options->initrd != NULL)
			CHECK(check_file("initrd", options->initrd));
	}
	CHECK(check_display(options));
	CHECK(check_input(options));
#undef CHECK
	puts(result == 0 ? "rayvm would start." : "rayvm would not start.");
	return result;
}
