#include "machine_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "virtio/disk_plan.h"
#include "vmm/backing.h"
#include "vmm/vm.h"

static int open_serial(const struct options *options, struct machine_files *files, char *error, size_t error_size)
{
	switch (options->serial) {
	case SERIAL_STDIO:
		files->serial_in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
		files->serial_out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		return 0;
	case SERIAL_FILE:
		files->serial_out = open(options->serial_path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
		if (files->serial_out < 0) {
			snprintf(error, error_size, "cannot open %s for the guest's serial port: %s; choose another place with --serial", options->serial_path, strerror(errno));
			return -1;
		}
		return 0;
	default:
		return 0;
	}
}

static int open_disk(struct disk *disk, const char *spec, uint32_t cpus, char *error, size_t error_size)
{
	struct disk_config config;
	char *copy = malloc(strlen(spec) + 1);
	if (copy == NULL) {
		snprintf(error, error_size, "disk: out of memory");
		return -1;
	}
	int result = disk_parse(spec, &config, copy, error, error_size);
	if (result == 0) {
		if (config.queues == 0)
			config.queues = min_u32(cpus, 4);
		result = disk_open(disk, &config, error, error_size);
	}
	free(copy);
	return result;
}

/* A guest that fills all it was given takes no more than the host has. Here and not in disk_open(): it is about the disks together, and the guest's memory. */
static int plan_memory(const struct options *options, struct machine_files *files, char *error, size_t error_size)
{
	struct backing_host host;
	char text[256];
	backing_read(0, &host);
	struct disk_plan plan = { .available = host.available != 0 ? host.available : host.total, .guest = options->hugepages != 0 ? 0 : options->memory };
	for (uint32_t i = 0; i < files->n_disks; i++)
		disk_plan_add(&plan, files->disk[i].size, files->disk[i].fd < 0, files->disk[i].overlay, files->disk[i].overlay_limit);
	if (!disk_plan_judge(&plan, text, sizeof text)) {
		snprintf(error, error_size, "disks: %s", text);
		return -1;
	}
	for (uint32_t i = 0; i < files->n_disks; i++)
		if (files->disk[i].overlay && files->disk[i].overlay_limit == 0)
			files->disk[i].overlay_limit = disk_plan_share(&plan);
	return 0;
}

static int open_net(const char *spec, struct net_tap *tap, char *error, size_t error_size)
{
	struct net_config config;
	if (net_parse(spec, &config, error, error_size) < 0)
		return -1;
	return net_tap_open(&config, MACHINE_NAME, tap, error, error_size);
}

int machine_files_open(const struct options *options, struct machine_files *files, char *error, size_t error_size, int *exit_status)
{
	*files = (struct machine_files){ .kvm = -1, .boot = { -1, -1 }, .serial_in = -1, .serial_out = -1, .net = { .fd = -1 } };
	*exit_status = EXIT_USAGE;
	if (open_serial(options, files, error, error_size) < 0)
		goto fail;
	struct boot_request request = { .kernel = options->kernel, .initrd = options->initrd };
	if (!boot_files_open(&request, &files->boot, error, error_size))
		goto fail;
	struct vm_files vm_files = { .kvm = -1, .boot = &files->boot };
	struct vm_config config = {
		.kernel = options->kernel, .initrd = options->initrd, .cmdline = options->cmdline, .files = &vm_files,
		.memory = options->memory, .hugepages = options->hugepages, .cpus = options->cpus,
	};
	if (!vm_check(&config, error, error_size))
		goto fail;
	vm_log_memory(&config);
	*exit_status = EXIT_KVM;
	files->kvm = vm_open_kvm(error, error_size);
	if (files->kvm < 0)
		goto fail;
	*exit_status = EXIT_USAGE;
	for (; files->n_disks < options->n_disks; files->n_disks++)
		if (open_disk(&files->disk[files->n_disks], options->disk[files->n_disks], options->cpus, error, error_size) < 0)
			goto fail;
	if (plan_memory(options, files, error, error_size) < 0)
		goto fail;
	if (options->net != NULL && open_net(options->net, &files->net, error, error_size) < 0)
		goto fail;
	return 0;
fail:
	machine_files_close(files);
	return -1;
}

void machine_files_close(struct machine_files *files)
{
	int *fds[] = { &files->kvm, &files->serial_in, &files->serial_out };
	boot_files_close(&files->boot);
	net_tap_close(&files->net);
	while (files->n_disks > 0)
		disk_close(&files->disk[--files->n_disks]);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
