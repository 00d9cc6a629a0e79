/*
 * What the machine stands on that is opened by path: /dev/kvm, kernel, initrd, disks, the tap, the serial port's other end. Opened before the machine
 * is made, by whoever may open things; machine_create() opens nothing by path.
 */
#pragma once

#include <stddef.h>

#include "options.h"
#include "virtio/disk.h"
#include "virtio/net.h"
#include "vmm/boot.h"

#define MACHINE_NAME "main" /* of the one VM there is */

struct machine_files {
	int kvm;
	struct boot_files boot;
	int serial_in, serial_out; /* -1: none */
	struct disk disk[OPTIONS_DISKS];
	uint32_t n_disks;
	struct net_tap net; /* fd -1: none */
};

/*
 * Opens all that the options name and checks it, in an order that reports the user's mistakes first. 0; or -1, nothing left open, a line
 * naming thing and remedy in error, and the program's exit status.
 */
int machine_files_open(const struct options *options, struct machine_files *files, char *error, size_t error_size, int *exit_status);
void machine_files_close(struct machine_files *files);
