#include "preflight.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#include "base/sandbox.h"
#include "kms/card.h"
#include "options.h"
#include "virtio/disk.h"
#include "virtio/disk_plan.h"
#include "vmm/backing.h"
#include "virtio/net.h"
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

static int check_guest(const struct options *options)
{
	char text[512];
	struct vm_config config = {
		.kernel = options->kernel, .initrd = options->initrd, .cmdline = options->cmdline, .memory = options->memory, .cpus = options->cpus,
		.hugepages = options->hugepages,
	};
	if (!vm_check(&config, text, sizeof text)) {
		say(BAD, "guest", text);
		return EXIT_USAGE;
	}
	snprintf(text, sizeof text, "%s, %llu MiB, %u CPU%s", options->kernel, (unsigned long long)options->memory >> 20, options->cpus,
		options->cpus == 1 ? "" : "s");
	say(GOOD, "guest", text);
	struct backing_host host;
	backing_read(options->hugepages, &host);
	say(backing_judge(&host, options->memory, options->hugepages, text, sizeof text) == BACKING_GOOD ? GOOD : WARNING, "memory", text);
	return 0;
}

/* Bytes, without opening it; 0 when they cannot be told. */
static uint64_t block_device_size(dev_t device)
{
	char path[64];
	unsigned long long sectors = 0;
	snprintf(path, sizeof path, "/sys/dev/block/%u:%u/size", major(device), minor(device));
	FILE *file = fopen(path, "re");
	if (file != NULL) {
		if (fscanf(file, "%llu", &sectors) != 1)
			sectors = 0;
		fclose(file);
	}
	return sectors * 512;
}

/* Looked at, not opened: opening would take its lock. */
static int check_disk(const char *spec, struct disk_plan *plan)
{
	char text[512], *copy = malloc(strlen(spec) + 1);
	struct disk_config config;
	struct stat info;
	int result = EXIT_USAGE;
	if (copy == NULL || disk_parse(spec, &config, copy, text, sizeof text) < 0) {
		say(BAD, "disk", copy != NULL ? text : "out of memory");
		goto out;
	}
	if (config.path != NULL && (access(config.path, config.readonly || config.overlay ? R_OK : R_OK | W_OK) < 0 || stat(config.path, &info) < 0)) {
		snprintf(text, sizeof text, "%s: %s", config.path, strerror(errno));
		say(BAD, "disk", text);
		goto out;
	}
	if (config.path != NULL && !S_ISBLK(info.st_mode) && (!S_ISREG(info.st_mode) || info.st_size < 512)) {
		snprintf(text, sizeof text, "%s: neither a disk image of at least a sector nor a block device", config.path);
		say(BAD, "disk", text);
		goto out;
	}
	say(GOOD, "disk", spec);
	uint64_t size = config.path == NULL ? config.memory_size : S_ISBLK(info.st_mode) ? block_device_size(info.st_rdev) : (uint64_t)info.st_size;
	disk_plan_add(plan, size, config.path == NULL, config.overlay, config.overlay_limit);
	result = 0;
out:
	free(copy);
	return result;
}

/* As machine_files.c judges it. */
static int check_disk_memory(const struct disk_plan *plan)
{
	char text[256], line[400];
	if (plan->disks == 0 && plan->unsized == 0)
		return 0;
	bool fits = disk_plan_judge(plan, text, sizeof text);
	int n = snprintf(line, sizeof line, "disks: %s", text);
	if (fits && plan->unsized > 0)
		snprintf(line + n, sizeof line - (size_t)n, ", and %llu MiB for each overlay without a size", (unsigned long long)disk_plan_share(plan) >> 20);
	say(fits ? GOOD : BAD, "memory", line);
	return fits ? 0 : EXIT_USAGE;
}

/* Looked at, not attached to: that would make a tap that is not there. */
static int check_net(const char *spec)
{
	char text[512], path[64];
	struct net_config config;
	struct stat info;
	if (net_parse(spec, &config, text, sizeof text) < 0) {
		say(BAD, "net", text);
		return EXIT_USAGE;
	}
	if (config.tap[0] == '\0') {
		if (fcntl(config.fd, F_GETFD) >= 0) {
			say(GOOD, "net", spec);
			return 0;
		}
		snprintf(text, sizeof text, "%s: not open; open the tap before the start, or name it: tap=NAME", spec);
		say(BAD, "net", text);
		return EXIT_USAGE;
	}
	if (access("/dev/net/tun", R_OK | W_OK) < 0) {
		snprintf(text, sizeof text, "/dev/net/tun: %s; load the driver: modprobe tun (as root)", strerror(errno));
		say(BAD, "net", text);
		return EXIT_USAGE;
	}
	snprintf(path, sizeof path, "/sys/class/net/%s", config.tap);
	if (stat(path, &info) < 0) {
		snprintf(text, sizeof text, "%s is not there: it would be made (by root) and be down; or make it: ip tuntap add dev %s mode tap user %u", config.tap,
			config.tap, (unsigned int)geteuid());
		say(WARNING, "net", text);
		return 0;
	}
	say(GOOD, "net", spec);
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
	int usable = 0, denied = 0, taken = 0, connected = 0;
	char missing[400] = "";
	bool found = false;
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
		/* Who opens a card without a master becomes it: that tells whether there is one, and is given back at once. */
		bool free_card = drmIsMaster(fd);
		if (free_card)
			drmDropMaster(fd);
		drmVersion *version = drmGetVersion(fd);
		int outputs = connected_outputs(fd);
		snprintf(text, sizeof text, "%s: %s, %d connected output%s%s", path, version != NULL ? version->name : "?", outputs < 0 ? 0 : outputs,
			outputs == 1 ? "" : "s", free_card ? "" : ", held by another program");
		say(outputs > 0 && free_card ? GOOD : WARNING, "card", text);
		usable += outputs >= 0 && free_card;
		taken += outputs >= 0 && !free_card;
		connected += outputs > 0 ? outputs : 0;
		if (options->connector != NULL && outputs >= 0 && (options->card == NULL || strcmp(options->card, path) == 0))
			found |= drm_output_exists(fd, options->connector, missing, sizeof missing);
		drmFreeVersion(version);
		close(fd);
	}
	if (directory != NULL)
		closedir(directory);
	if (usable == 0) {
		say(BAD, "display", taken > 0 ? "another program holds the display: end it (a display server?), or use --display headless"
			: denied > 0 ? "no right to a card: run as root, from a local login, or with seatd running"
			: "no DRM card: load the graphics driver, or use --display headless");
		return taken == 0 && denied > 0 ? EXIT_INPUT : EXIT_DISPLAY;
	}
	if (missing[0] != '\0' && !found) {
		say(BAD, "display", missing);
		return EXIT_DISPLAY;
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

static void check_sandbox(const struct options *options)
{
	char text[256];
	bool all = sandbox_describe(options->sandbox, text, sizeof text);
	say(all ? GOOD : WARNING, "sandbox", text);
}

int check_machine(const struct options *options)
{
	int result = 0, status;
#define CHECK(call) do { if ((status = (call)) != 0 && result == 0) result = status; } while (0)
	if (options->vmm_hypervisor) {
		CHECK(check_kvm());
		if (options->kernel != NULL)
			CHECK(check_guest(options));
		else
			say(WARNING, "guest", "no kernel given (-k): the UI would start without a guest");
		struct backing_host host;
		backing_read(0, &host);
		struct disk_plan plan = { .available = host.available != 0 ? host.available : host.total, .guest = options->hugepages != 0 ? 0 : options->memory };
		for (uint32_t i = 0; i < options->n_disks; i++)
			CHECK(check_disk(options->disk[i], &plan));
		CHECK(check_disk_memory(&plan));
		if (options->net != NULL)
			CHECK(check_net(options->net));
	}
	CHECK(check_display(options));
	CHECK(check_input(options));
	check_sandbox(options);
#undef CHECK
	puts(result == 0 ? "rayvm would start." : "rayvm would not start.");
	return result;
}
