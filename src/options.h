/* Settings: command line over environment over file over defaults. Runs before any thread exists. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/exit_status.h"
#include "base/log.h"
#include "kms/panel.h"
#include "toggle/lid.h"
#include "toggle/router.h"

#define OPTIONS_DISKS 16

enum display_kind { DISPLAY_KMS, DISPLAY_HEADLESS, DISPLAY_NONE };
enum serial_kind { SERIAL_DEFAULT, SERIAL_NONE, SERIAL_STDIO, SERIAL_FILE };
enum power_key { POWER_KEY_KEY, POWER_KEY_POWERDOWN, POWER_KEY_IGNORE };
/* What monitors beside the main one are: copies of it, or outputs of the guest's own. */
enum outputs { OUTPUTS_MIRROR, OUTPUTS_EXTEND };
enum policy { POLICY_DEFAULT, POLICY_EXIT, POLICY_RESTART, POLICY_STAY };

struct options {
	char *kernel, *initrd, *cmdline;
	uint64_t memory; /* bytes */
	uint64_t hugepages; /* size of the huge pages that guest memory is made of, bytes; 0: as the kernel gives */
	uint32_t cpus;
	char *disk[OPTIONS_DISKS]; /* specifications, see disk_parse() */
	uint32_t n_disks;
	char *net; /* specification, see net_parse(); NULL: no network device */
	enum display_kind display;
	char *card;
	char *connector; /* name; NULL: any */
	enum outputs outputs;
	uint32_t mode_width, mode_height, mode_mhz; /* 0: not asked for */
	bool bilinear; /* pictures of another size than the panel's are interpolated */
	enum serial_kind serial;
	char *serial_path;
	bool vmm_hypervisor, vmm_virtio_input, dev_scanout, legacy_kms, gbm_buffers;
	bool present_on_boot;
	uint32_t blank_after; /* seconds without input after which the screen goes off; 0: never */
	struct router_keys keys;
	enum power_key power_key; /* what this machine's power key is */
	enum lid_policy lid; /* what its lid does when it is closed */
	enum panel_strip strip; /* rows that say whose picture the rest is */
	bool vt_switch; /* Ctrl+Alt+Fn switches virtual terminals */
	char *control;
	char *markers;
	enum policy on_poweroff, on_reboot, on_crash;
	uint32_t shutdown_timeout; /* seconds that the guest has between SIGTERM and the end; 0: none */
	enum log_level log_level;
	bool log_level_given;
	bool check;
	uint32_t probe_seconds; /* --probe-panel; 0: not asked for */
	bool json;
	bool sandbox;
	bool isolate; /* the machine in a process of its own */
};

/* 0: go on. Otherwise the program ends with *exit_status; what was to be said has been printed. */
int options_parse(struct options *options, int argc, char **argv, int *exit_status);
void options_finish(struct options *options);

/* How many outputs the guest has, with a monitor or without. */
static inline uint32_t options_scanouts(const struct options *options)
{
	return options->outputs == OUTPUTS_EXTEND ? LINK_MAX_HEADS : 1;
}

/* "1280x800" or "1280x800@60": false when it is not a mode. */
bool mode_parse(const char *text, uint32_t *width, uint32_t *height, uint32_t *mhz);
