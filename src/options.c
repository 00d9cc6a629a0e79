#define LOG_MODULE "options"
#include "options_private.h"

#include <errno.h>
#include <getopt.h>
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "rayvm-config.h"

#define SETTINGS_FILE RAYVM_SYSCONFDIR "/rayvm/rayvm.ini"
#define SHUTDOWN_TIMEOUT 30u /* seconds: shorter than systemd's patience, longer than a desktop needs */
#define PROBE_SECONDS 30u
#define PROBE_SECONDS_MAX 600u

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "kernel", required_argument, NULL, 'k' },
	{ "initrd", required_argument, NULL, 'i' },
	{ "append", required_argument, NULL, 'a' },
	{ "memory", required_argument, NULL, 'm' },
	{ "hugepages", optional_argument, NULL, 0 },
	{ "cpus", required_argument, NULL, 's' },
	{ "disk", required_argument, NULL, 'd' },
	{ "net", required_argument, NULL, 0 },
	{ "display", required_argument, NULL, 0 },
	{ "card", required_argument, NULL, 0 },
	{ "connector", required_argument, NULL, 0 },
	{ "outputs", required_argument, NULL, 0 },
	{ "mode", required_argument, NULL, 0 },
	{ "scaling", required_argument, NULL, 0 },
	{ "serial", required_argument, NULL, 0 },
	{ "features", required_argument, NULL, 0 },
	{ "present-on-boot", no_argument, NULL, 'P' },
	{ "toggle-key", required_argument, NULL, 0 },
	{ "show-key", required_argument, NULL, 0 },
	{ "hide-key", required_argument, NULL, 0 },
	{ "stats-chord", required_argument, NULL, 0 },
	{ "pass-key", required_argument, NULL, 0 },
	{ "vt-switch", required_argument, NULL, 0 },
	{ "power-key", required_argument, NULL, 0 },
	{ "lid", required_argument, NULL, 0 },
	{ "trusted-strip", required_argument, NULL, 0 },
	{ "on-poweroff", required_argument, NULL, 0 },
	{ "on-reboot", required_argument, NULL, 0 },
	{ "on-crash", required_argument, NULL, 0 },
	{ "shutdown-timeout", required_argument, NULL, 0 },
	{ "blank-after", required_argument, NULL, 0 },
	{ "control", required_argument, NULL, 0 },
	{ "markers", required_argument, NULL, 0 },
	{ "log-level", required_argument, NULL, 0 },
	{ "sandbox", required_argument, NULL, 0 },
	{ "isolate", no_argument, NULL, 'I' },
	{ "check", no_argument, NULL, 'C' },
	{ "probe-panel", optional_argument, NULL, 'B' },
	{ "json", no_argument, NULL, 'J' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static const char short_options[] = "+:c:k:i:a:m:s:d:hV";

static void print_help(void)
{
	fputs("Usage: rayvm [OPTIONS]\n"
	      "One key flips the panel between the native UI and the Linux desktop in a virtual machine.\n"
	      "\n"
	      "  -c, --config FILE        settings file (default " SETTINGS_FILE " when it exists); options override it\n"
	      "  -k, --kernel FILE        Linux kernel of the guest (bzImage or vmlinux)\n"
	      "  -i, --initrd FILE        its initial ramdisk\n"
	      "  -a, --append STRING      its command line\n"
	      "  -m, --memory SIZE        guest memory: 512M, 4G ... (default 2G)\n"
	      "      --hugepages[=SIZE]   make it of huge pages of 2M (default) or 1G from the host's pool\n"
	      "  -s, --cpus N             guest CPUs (default: those online, at most 4)\n"
	      "  -d, --disk SPEC          FILE | mem:SIZE, then ,readonly ,overlay=mem ,cache=direct ...: see rayvm(1); repeatable\n"
	      "      --net SPEC           tap=NAME | fd:N, then ,mac=XX:XX:XX:XX:XX:XX; none (default)\n"
	      "      --display KIND       kms (default), headless (in memory, for rayvmctl screenshot), none\n"
	      "      --card PATH          DRM device (default: the boot display)\n"
	      "      --connector NAME     show it there, HDMI-A-1 for example, while that is connected (default: the first)\n"
	      "      --outputs WHAT       further monitors mirror that one (default), or extend the guest's desktop\n"
	      "      --mode WxH[@HZ]      size for headless; wish for kms\n"
	      "      --scaling FILTER     nearest (default) or bilinear, for pictures that are not of the panel's size\n"
	      "      --trusted-strip WHERE\n"
	      "                           top or bottom: a strip of the host's that says whose picture the rest is (default off)\n"
	      "      --serial KIND        guest's COM1: stdio, file:PATH, none (default none; stdio with --display none)\n"
	      "      --features LIST      of vmm_hypervisor, vmm_virtio_input (both the default), dev_scanout (a test pattern\n"
	      "                           instead of a VM), legacy_kms (no atomic commits), gbm_buffers\n"
	      "                           (framebuffers by libgbm); RAYOS_KERNEL_FEATURES in the\n"
	      "                           environment holds the same list\n"
	      "      --present-on-boot    start with the guest on the panel\n"
	      "      --toggle-key, --show-key, --hide-key NAME\n"
	      "                           evdev key names (default KEY_GRAVE, KEY_F11, KEY_F12), or chords: KEY_LEFTMETA+KEY_TAB\n"
	      "      --stats-chord CHORD  shows figures over the picture, and hides them: ctrl+alt+s (default none)\n"
	      "      --pass-key NAME      held, these three are keys like others (default KEY_RIGHTCTRL; none)\n"
	      "      --power-key WHAT     key (for the side shown, default), powerdown (presses the guest's power button), ignore\n"
	      "      --lid WHAT           ignore (default), blank (the screen is off while it is closed), powerdown\n"
	      "      --vt-switch on|off   Ctrl+Alt+F1 ... F12 switch virtual terminals (default on; off for a kiosk)\n"
	      "      --on-poweroff, --on-reboot, --on-crash ACTION\n"
	      "                           exit, restart or stay (default stay, restart, stay; without a display exit, restart, exit)\n"
	      "      --shutdown-timeout S seconds that SIGTERM gives the guest to power off (default 30; 0: none)\n"
	      "      --blank-after S      switch the screen off after S seconds without input (default 0: never)\n"
	      "      --control PATH       control socket (default /run/rayvm.sock, for a user $XDG_RUNTIME_DIR/rayvm.sock)\n"
	      "      --markers WHERE      PATH or fd:N for the marker lines (default: standard error)\n"
	      "      --isolate            run the VM in a process of its own: whatever becomes of it, the panel stays\n"
	      "      --log-level LEVEL    error, warn, info, debug (default info)\n"
	      "      --sandbox on|off     give up what rayvm does not need once it runs (default on; off is for debugging)\n"
	      "      --check              say what this machine offers and whether rayvm would start; change nothing\n"
	      "      --probe-panel[=S]    measure the panel for S seconds (default 30): flips, toggles, copies; says it and ends\n"
	      "      --json               as JSON, for a bug report\n"
	      "  -h, --help               this text\n"
	      "  -V, --version            the version\n"
	      "\n"
	      "Keys: ` toggles, F11 shows the Linux desktop, F12 returns. Manual: rayvm(1), rayvmctl(1), rayvm.ini(5).\n",
		stdout);
}

static bool defaults(struct options *options)
{
	*options = (struct options){
		.memory = 2ull << 30,
		.vmm_hypervisor = RAYVM_VMM_HYPERVISOR,
		.vmm_virtio_input = RAYVM_VMM_VIRTIO_INPUT,
		.keys = router_keys_default,
		.vt_switch = true,
		.log_level = LOG_INFO,
		.sandbox = true,
		.shutdown_timeout = SHUTDOWN_TIMEOUT,
	};
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	options->cpus = online < 1 ? 1 : online > 4 ? 4 : (uint32_t)online;

	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char path[512];
	if (geteuid() != 0 && runtime != NULL)
		snprintf(path, sizeof path, "%s/rayvm.sock", runtime);
	else
		snprintf(path, sizeof path, "/run/rayvm.sock");
	return options_set_text(&options->control, path);
}

static bool set_probe(struct options *options, const char *value)
{
	struct origin origin = { NULL, 0, "probe-panel" };
	options->probe_seconds = PROBE_SECONDS;
	if (value == NULL)
		return true;
	if (options_number(&value, PROBE_SECONDS_MAX, &options->probe_seconds) && *value == '\0' && options->probe_seconds != 0)
		return true;
	options_complain(&origin, "needs a number of seconds between 1 and %u, as in --probe-panel=%u", PROBE_SECONDS_MAX, PROBE_SECONDS);
	return false;
}

/* What is measured is the panel, with the test pattern on it: no guest, whatever the settings file says of one. */
static bool resolve_probe(struct options *options)
{
	if (options->json && options->probe_seconds == 0) {
		fputs("rayvm: --json is a form of the report of --probe-panel\n", stderr);
		return false;
	}
	if (options->probe_seconds == 0)
		return true;
	if (options->display == DISPLAY_NONE) {
		fputs("rayvm: --probe-panel: there is no panel with --display none: it needs kms or headless\n", stderr);
		return false;
	}
	options->vmm_hypervisor = options->isolate = false;
	options->dev_scanout = options->present_on_boot = true;
	options->blank_after = 0;
	/* What it says belongs to people. */
	if (!options->log_level_given)
		options->log_level = LOG_WARN;
	return true;
}

static void resolve_defaults(struct options *options)
{
	if (options->net != NULL && strcmp(options->net, "none") == 0) {
		free(options->net);
		options->net = NULL;
	}
	bool none = options->display == DISPLAY_NONE;
	if (options->serial == SERIAL_DEFAULT)
		options->serial = none ? SERIAL_STDIO : SERIAL_NONE;
	if (options->on_poweroff == POLICY_DEFAULT)
		options->on_poweroff = none ? POLICY_EXIT : POLICY_STAY;
	if (options->on_reboot == POLICY_DEFAULT)
		options->on_reboot = POLICY_RESTART;
	if (options->on_crash == POLICY_DEFAULT)
		options->on_crash = none ? POLICY_EXIT : POLICY_STAY;
}

int options_parse(struct options *options, int argc, char **argv, int *exit_status)
{
	*exit_status = EXIT_USAGE;
	if (!defaults(options)) {
		fputs("rayvm: out of memory\n", stderr);
		*exit_status = EXIT_FAILED;
		return -1;
	}

	/* The file first, wherever -c stands: options override it. */
	const char *file = NULL;
	int c, index;
	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, short_options, long_options, NULL)) != -1)
		if (c == 'c')
			file = optarg;
	if (file == NULL && access(SETTINGS_FILE, F_OK) == 0)
		file = SETTINGS_FILE;
	if (file != NULL && !options_read_file(options, file))
		return -1;

	const char *environment = getenv("RAYOS_KERNEL_FEATURES");
	struct origin from_environment = { "environment", 0, "RAYOS_KERNEL_FEATURES" };
	if (environment != NULL && *environment != '\0' && !options_set_features(options, &from_environment, environment))
		return -1;

	bool disks_from_options = false;
	optind = 1;
	while ((c = getopt_long(argc, argv, short_options, long_options, &index)) != -1) {
		struct origin origin = { NULL, 0, NULL };
		const char *value = optarg;
		switch (c) {
		case 'h':
			print_help();
			*exit_status = EXIT_ASKED;
			return -1;
		case 'V':
			puts("rayvm " RAYVM_VERSION);
			*exit_status = EXIT_ASKED;
			return -1;
		case 'C':
			options->check = true;
			continue;
		case 'B':
			if (!set_probe(options, value))
				return -1;
			continue;
		case 'J':
			options->json = true;
			continue;
		case 'c':
			continue;
		case 'I':
			options->isolate = true;
			continue;
		case 'P':
			options->present_on_boot = true;
			continue;
		case ':':
			fprintf(stderr, "rayvm: %s needs a value; rayvm --help lists the options\n", argv[optind - 1]);
			return -1;
		case '?':
			fprintf(stderr, "rayvm: unknown option %s; rayvm --help lists those that exist\n", argv[optind - 1]);
			return -1;
		case 0:
			origin.name = long_options[index].name;
			break;
		default:
			for (const struct option *o = long_options; o->name != NULL; o++)
				if (o->val == c)
					origin.name = o->name;
			break;
		}
		if (c == 'd' && !disks_from_options) {
			/* Disks on the command line replace those of the file; they do not add to them. */
			while (options->n_disks > 0) {
				free(options->disk[--options->n_disks]);
				options->disk[options->n_disks] = NULL;
			}
			disks_from_options = true;
		}
		if (!options_set(options, &origin, value))
			return -1;
	}
	if (optind < argc) {
		fprintf(stderr, "rayvm: '%s' is no option; the kernel is given with -k, a disk with -d\n", argv[optind]);
		return -1;
	}
	char error[200];
	if (router_keys_check(&options->keys, options->vt_switch, error, sizeof error) < 0) {
		fprintf(stderr, "rayvm: --toggle-key, --show-key, --hide-key, --pass-key, --stats-chord: %s\n", error);
		return -1;
	}
	bool power = options->keys.pass == KEY_POWER;
	for (uint32_t i = 0; i < ROUTER_ACTS; i++)
		power |= options->keys.act[i].code == KEY_POWER;
	if (power && options->power_key != POWER_KEY_KEY) {
		fputs("rayvm: --power-key: KEY_POWER has a role already; leave --power-key at key, or choose another key for that role\n", stderr);
		return -1;
	}
	if (!options->check && !resolve_probe(options))
		return -1;
	resolve_defaults(options);
	return 0;
}

void options_finish(struct options *options)
{
	free(options->kernel);
	free(options->initrd);
	free(options->cmdline);
	free(options->net);
	free(options->card);
	free(options->connector);
	free(options->serial_path);
	free(options->control);
	free(options->markers);
	for (uint32_t i = 0; i < options->n_disks; i++)
		free(options->disk[i]);
}
