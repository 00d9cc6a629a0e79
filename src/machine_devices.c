#include "machine_devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/console.h"
#include "base/status.h"
#include "machine_files.h"

/* Class codes of the PCI Code and ID Assignment Specification, as pci_device takes them. */
#define CLASS_DISPLAY 0x038000u
#define CLASS_STORAGE 0x010000u
#define CLASS_COMMUNICATION 0x078000u
#define CLASS_NETWORK 0x020000u
#define CLASS_INPUT 0x098000u
#define CLASS_OTHER 0x00ff00u

/* One device of a kind, `index` counted from 0. NULL with errno or, better, with a line in error (which is empty before). */
typedef struct virtio_device *create_device(struct machine_devices *devices, const struct machine_parts *parts, uint32_t index, char *error, size_t error_size);

static uint32_t displays(const struct options *options)
{
	return options->display != DISPLAY_NONE;
}

static struct virtio_device *create_display(struct machine_devices *devices, const struct machine_parts *parts, uint32_t index, char *error, size_t error_size)
{
	(void)index;
	(void)error;
	(void)error_size;
	devices->gpu = gpu_create(parts->memory, parts->link, options_scanouts(parts->options), parts->stats);
	return devices->gpu != NULL ? gpu_device(devices->gpu) : NULL;
}

static void destroy_display(struct machine_devices *devices)
{
	if (devices->gpu != NULL)
		gpu_destroy(devices->gpu);
}

static uint32_t inputs(const struct options *options)
{
	return options->vmm_virtio_input && options->display != DISPLAY_NONE ? MACHINE_INPUTS : 0;
}

static struct virtio_device *create_input(struct machine_devices *devices, const struct machine_parts *parts, uint32_t index, char *error, size_t error_size)
{
	static const enum link_device kinds[MACHINE_INPUTS] = { LINK_KEYBOARD, LINK_POINTER_RELATIVE, LINK_POINTER_ABSOLUTE, LINK_TOUCH };
	(void)error;
	(void)error_size;
	devices->n_inputs = index + 1;
	devices->input[index] = vinput_create(parts->memory, kinds[index], parts->stats);
	if (devices->input[index] == NULL)
		return NULL;
	devices->backlog[index] = vinput_backlog_create(devices->input[index]);
	return devices->backlog[index] != NULL ? vinput_device(devices->input[index]) : NULL;
}

static void destroy_inputs(struct machine_devices *devices)
{
	for (uint32_t i = 0; i < devices->n_inputs; i++) {
		vinput_backlog_destroy(devices->backlog[i]);
		vinput_destroy(devices->input[i]);
	}
}

static uint32_t disks(const struct options *options)
{
	return options->n_disks;
}

static struct virtio_device *create_disk(struct machine_devices *devices, const struct machine_parts *parts, uint32_t index, char *error, size_t error_size)
{
	devices->disk[index] = blk_create(parts->memory, &parts->files->disk[index], parts->stats, error, error_size);
	return devices->disk[index] != NULL ? blk_device(devices->disk[index]) : NULL;
}

static void destroy_disks(struct machine_devices *devices)
{
	for (uint32_t i = 0; i < OPTIONS_DISKS; i++)
		blk_begin_destroy(devices->disk[i]);
	for (uint32_t i = 0; i < OPTIONS_DISKS; i++)
		blk_destroy(devices->disk[i]);
}

static uint32_t one(const struct options *options)
{
	(void)options;
	return 1;
}

static struct virtio_device *create_rng(struct machine_devices *devices, const struct machine_parts *parts, uint32_t index, char *error, size_t error_size)
{
	(void)index;
	(void)error;
	(void)error_size;
	devices->rng = rng_create(parts->memory);
	return devices->rng != NULL ? rng_device(devices->rng) : NULL;
}

static void destroy_rng(struct machine_devices *devices)
{
	rng_destroy(devices->rng);
}

static struct virtio_device *create_console(struct machine_devices *devices, const struct machine_parts *parts, uint32_t index, char *error, size_t error_size)
{
	const int *machine = parts->consoles != NULL ? parts->consoles->machine : NULL;
	const int fd[CONSOLE_PORTS] = {
		[CONSOLE_PORT_HVC0] = machine != NULL ? machine[CONSOLE_HVC0] : -1,
		[CONSOLE_PORT_AGENT] = machine != NULL ? machine[CONSOLE_AGENT] : -1,
	};
	(void)index;
	(void)error;
	(void)error_size;
	devices->console = console_create(parts->memory, fd, parts->stats);
	return devices->console != NULL ? console_device(devices->console) : NULL;
}

static void destroy_console(struct machine_devices *devices)
{
	console_destroy(devices->console);
}

static uint32_t nets(const struct options *options)
{
	return options->net != NULL;
}

static struct virtio_device *create_net(struct machine_devices *devices, const struct machine_parts *parts, uint32_t index, char *error, size_t error_size)
{
	(void)index;
	(void)error;
	(void)error_size;
	devices->net = net_create(parts->memory, &parts->files->net, parts->stats);
	return devices->net != NULL ? net_device(devices->net) : NULL;
}

static void destroy_net(struct machine_devices *devices)
{
	net_destroy(devices->net);
}

/*
 * Slots are device numbers on bus 0 and stay as they are: a guest finds its devices where they were at its last boot. 0 is the
 * host bridge; 0x1f stays free for a chipset that firmware expects there.
 */
static const uint8_t input_slots[MACHINE_INPUTS] = { 2, 3, 4, 24 }; /* the touch screen came when the disks had theirs */

static const struct {
	const char *name;
	uint8_t slot;          /* of the first; the others follow */
	const uint8_t *slots;  /* of each, where they do not follow; NULL: they do */
	uint32_t class_code;
	bool own_thread;
	int exit_status; /* when one cannot be made: whose fault that is */
	uint32_t (*count)(const struct options *options);
	create_device *create;
	void (*destroy)(struct machine_devices *devices);
} kinds[] = {
	{ "display", 1, NULL, CLASS_DISPLAY, false, EXIT_FAILED, displays, create_display, destroy_display },
	{ "input", 0, input_slots, CLASS_INPUT, false, EXIT_FAILED, inputs, create_input, destroy_inputs },
	{ "disk", 5, NULL, CLASS_STORAGE, true, EXIT_USAGE, disks, create_disk, destroy_disks },
	{ "random number", 21, NULL, CLASS_OTHER, false, EXIT_FAILED, one, create_rng, destroy_rng },
	{ "console", 22, NULL, CLASS_COMMUNICATION, true, EXIT_FAILED, one, create_console, destroy_console },
	{ "network", 23, NULL, CLASS_NETWORK, true, EXIT_FAILED, nets, create_net, destroy_net },
};

static void tell_disks(const struct machine_devices *devices, const struct machine_parts *parts)
{
	uint32_t n = parts->options->n_disks;
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < n; i++)
		bytes += blk_size(devices->disk[i]);
	if (n > 0)
		status_board_line(parts->board, STATUS_DISK, STATUS_OK, "%u disk%s, %.1f GiB", n, n == 1 ? "" : "s", (double)bytes / (1 << 30));
	else
		status_board_line(parts->board, STATUS_DISK, STATUS_OFF, "none");
}

int machine_devices_create(struct machine_devices *devices, const struct machine_parts *parts, char *error, size_t error_size, int *exit_status)
{
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		*exit_status = kinds[k].exit_status;
		uint32_t n = kinds[k].count(parts->options);
		for (uint32_t i = 0; i < n; i++) {
			error[0] = '\0';
			struct virtio_device *device = kinds[k].create(devices, parts, i, error, error_size);
			if (device == NULL) {
				if (error[0] == '\0')
					snprintf(error, error_size, "cannot make the %s device: %s", kinds[k].name, strerror(errno));
				return -1;
			}
			uint8_t slot = kinds[k].slots != NULL ? kinds[k].slots[i] : (uint8_t)(kinds[k].slot + i);
			struct virtio_pci *transport = virtio_pci_create(device, parts->bus, slot, kinds[k].class_code);
			if (transport == NULL) {
				snprintf(error, error_size, "cannot put device %s on the bus: %s", device->name, strerror(errno));
				return -1;
			}
			devices->device[devices->n++] = (struct machine_device){ device, transport, kinds[k].own_thread };
		}
	}
	tell_disks(devices, parts);
	return 0;
}

/* However many disks the host does not answer for: this lasts as long as the wait for one, which those who wait for the machine count on. */
static void begin_reset(struct machine_devices *devices)
{
	for (uint32_t i = 0; i < devices->n; i++)
		virtio_pci_begin_reset(devices->device[i].transport);
}

void machine_devices_reset(struct machine_devices *devices)
{
	begin_reset(devices);
	for (uint32_t i = 0; i < devices->n; i++)
		virtio_pci_reset(devices->device[i].transport);
}

void machine_devices_destroy(struct machine_devices *devices)
{
	begin_reset(devices);
	while (devices->n > 0)
		virtio_pci_destroy(devices->device[--devices->n].transport);
	for (size_t k = ARRAY_LEN(kinds); k-- > 0;)
		kinds[k].destroy(devices);
}
