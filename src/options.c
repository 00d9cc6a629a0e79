#define LOG_MODULE "options"
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <linux/input-event-codes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "rayvm-config.h"

#define SETTINGS_FILE RAYVM_SYSCONFDIR "/rayvm/rayvm.ini"
#define MEMORY_MIN (64ull << 20)
#define MEMORY_MAX (1ull << 40)
#define CPUS_MAX 254u
#define SHUTDOWN_TIMEOUT 30u /* seconds: shorter than systemd's patience, longer than a desktop needs */
#define SHUTDOWN_TIMEOUT_MAX 3600u
#define BLANK_AFTER_MAX 604800u /* seconds: a week */
#define PROBE_SECONDS 30u
#define PROBE_SECONDS_MAX 600u

/* Where a value comes from, for messages: "--memory", or "/etc/rayvm/rayvm.ini:12: memory". */
struct origin {
	const char *file; /* NULL: the command line */
	int line; /* 0: it has none, as the environment */
	const char *name;
};

static void complain(const struct origin *origin, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void complain(const struct origin *origin, const char *format, ...)
{
	char text[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (origin->file != NULL && origin->line > 0)
		fprintf(stderr, "rayvm: %s:%d: %s: %s\n", origin->file, origin->line, origin->name, text);
	else if (origin->file != NULL)
		fprintf(stderr, "rayvm: %s: %s: %s\n", origin->file, origin->name, text);
	else
		fprintf(stderr, "rayvm: --%s: %s\n", origin->name, text);
}

static bool number(const char **text, uint32_t max, uint32_t *out)
{
	uint64_t value = 0;
	const char *at = *text;
	if (*at < '0' || *at > '9')
		return false;
	while (*at >= '0' && *at <= '9') {
		value = value * 10 + (uint64_t)(*at++ - '0');
		if (value > max)
			return false;
	}
	*text = at;
	*out = (uint32_t)value;
	return true;
}

bool mode_parse(const char *text, uint32_t *width, uint32_t *height, uint32_t *mhz)
{
	uint32_t hz = 0;
	if (!number(&text, 16384, width) || *text++ != 'x' || !number(&text, 16384, height) || *width < 64 || *height < 64)
		return false;
	if (*text == '@') {
		text++;
		if (!number(&text, 1000, &hz) || hz == 0)
			return false;
	}
	*mhz = hz * 1000;
	return *text == '\0';
}

static bool set_text(char **where, const char *value)
{
	char *copy = strdup(value);
	if (copy == NULL)
		return false;
	free(*where);
	*where = copy;
	return true;
}

static bool set_features(struct options *options, const struct origin *origin, const char *list)
{
	bool hypervisor = false, input = false, scanout = false, legacy = false;
	while (*list != '\0') {
		size_t length = strcspn(list, ",");
		char name[32];
		snprintf(name, sizeof name, "%.*s", (int)(length < 31 ? length : 31), list);
		if (strcmp(name, "vmm_hypervisor") == 0) {
			hypervisor = true;
		} else if (strcmp(name, "vmm_virtio_input") == 0) {
			input = true;
		} else if (strcmp(name, "dev_scanout") == 0) {
			scanout = true;
		} else if (strcmp(name, "legacy_kms") == 0) {
			legacy = true;
		} else if (length > 0) {
			complain(origin, "unknown feature '%s': known are vmm_hypervisor, vmm_virtio_input, dev_scanout, legacy_kms", name);
			return false;
		}
		list += length + (list[length] == ',');
	}
	if ((hypervisor && !RAYVM_VMM_HYPERVISOR) || (input && !RAYVM_VMM_VIRTIO_INPUT) || (scanout && !RAYVM_DEV_SCANOUT)) {
		complain(origin, "this rayvm was built without %s: rebuild it with meson -D%s=true",
			scanout && !RAYVM_DEV_SCANOUT ? "dev_scanout" : hypervisor && !RAYVM_VMM_HYPERVISOR ? "vmm_hypervisor" : "vmm_virtio_input",
			scanout && !RAYVM_DEV_SCANOUT ? "dev_scanout" : hypervisor && !RAYVM_VMM_HYPERVISOR ? "vmm_hypervisor" : "vmm_virtio_input");
		return false;
	}
	if (hypervisor && scanout) {
		complain(origin, "vmm_hypervisor and dev_scanout exclude each other: one of them is the guest");
		return false;
	}
	if (legacy && !hypervisor && !input && !scanout) {
		/* It is about the card alone and takes no guest away. */
		hypervisor = RAYVM_VMM_HYPERVISOR;
		input = RAYVM_VMM_VIRTIO_INPUT;
	}
	options->vmm_hypervisor = hypervisor;
	options->vmm_virtio_input = input;
	options->dev_scanout = scanout;
	options->legacy_kms = legacy;
	return true;
}

static bool set_policy(enum policy *policy, const struct origin *origin, const char *value)
{
	static const char *const names[] = { NULL, "exit", "restart", "stay" };
	for (int i = 1; i < (int)ARRAY_LEN(names); i++) {
		if (strcmp(value, names[i]) == 0) {
			*policy = (enum policy)i;
			return true;
		}
	}
	complain(origin, "'%s' is none of exit, restart, stay", value);
	return false;
}

static bool set_flag(bool *flag, const struct origin *origin, const char *value)
{
	bool yes = strcmp(value, "true") == 0 || strcmp(value, "yes") == 0 || strcmp(value, "1") == 0;
	if (!yes && strcmp(value, "false") != 0 && strcmp(value, "no") != 0 && strcmp(value, "0") != 0) {
		complain(origin, "'%s' is neither true nor false", value);
		return false;
	}
	*flag = yes;
	return true;
}

/* A key that acts, which may be a chord; `with` NULL: the pass key, which is one key. */
static bool set_key(uint16_t *key, uint16_t *with, bool may_be_none, const struct origin *origin, const char *value)
{
	uint16_t code, held[ROUTER_CHORD_HELD];
	char error[320];
	if (strcmp(value, "none") == 0 && may_be_none) {
		*key = KEY_RESERVED;
		return true;
	}
	if (key_chord_from_name(value, &code, held, error, sizeof error) < 0) {
		complain(origin, "%s", error);
		return false;
	}
	if (with == NULL && held[0] != KEY_RESERVED) {
		complain(origin, "'%s' is more than one key: the pass key is held together with a toggle key", value);
		return false;
	}
	*key = code;
	if (with != NULL)
		memcpy(with, held, sizeof held);
	return true;
}

static bool set_power_key(enum power_key *key, const struct origin *origin, const char *value)
{
	static const char *const names[] = { "key", "powerdown", "ignore" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(value, names[i]) == 0) {
			*key = (enum power_key)i;
			return true;
		}
	}
	complain(origin, "'%s' is none of key, powerdown, ignore", value);
	return false;
}

static bool set_switch(bool *on, const struct origin *origin, const char *value)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0) {
		complain(origin, "'%s' is neither on nor off", value);
		return false;
	}
	*on = strcmp(value, "on") == 0;
	return true;
}

static bool set_serial(struct options *options, const struct origin *origin, const char *value)
{
	if (strcmp(value, "none") == 0) {
		options->serial = SERIAL_NONE;
	} else if (strcmp(value, "stdio") == 0) {
		options->serial = SERIAL_STDIO;
	} else if (strncmp(value, "file:", 5) == 0 && value[5] != '\0') {
		options->serial = SERIAL_FILE;
		return set_text(&options->serial_path, value + 5);
	} else {
		complain(origin, "'%s' is none of stdio, file:PATH, none", value);
		return false;
	}
	return true;
}

/* The settings that are one value of one kind. */
static const struct {
	const char *name;
	enum { FIELD_PATH, FIELD_TEXT, FIELD_POLICY } kind;
	size_t offset;
} fields[] = {
	{ "kernel", FIELD_PATH, offsetof(struct options, kernel) },
	{ "initrd", FIELD_PATH, offsetof(struct options, initrd) },
	{ "append", FIELD_TEXT, offsetof(struct options, cmdline) },
	{ "net", FIELD_TEXT, offsetof(struct options, net) },
	{ "card", FIELD_PATH, offsetof(struct options, card) },
	{ "connector", FIELD_TEXT, offsetof(struct options, connector) },
	{ "control", FIELD_PATH, offsetof(struct options, control) },
	{ "markers", FIELD_PATH, offsetof(struct options, markers) },
	{ "on-poweroff", FIELD_POLICY, offsetof(struct options, on_poweroff) },
	{ "on-reboot", FIELD_POLICY, offsetof(struct options, on_reboot) },
	{ "on-crash", FIELD_POLICY, offsetof(struct options, on_crash) },
};

static bool set_hugepages(struct options *options, const struct origin *origin, const char *value)
{
	if (value == NULL || strcmp(value, "2M") == 0 || strcmp(value, "2m") == 0) {
		options->hugepages = 2ull << 20;
	} else if (strcmp(value, "1G") == 0 || strcmp(value, "1g") == 0) {
		options->hugepages = 1ull << 30;
	} else if (strcmp(value, "none") == 0) {
		options->hugepages = 0;
	} else {
		complain(origin, "'%s' is none of 2M, 1G, none", value);
		return false;
	}
	return true;
}

static bool set_seconds(uint32_t *seconds, uint32_t max, const struct origin *origin, const char *value)
{
	const char *end = value;
	if (number(&end, max, seconds) && *end == '\0')
		return true;
	complain(origin, "'%s' is no number of seconds between 0 and %u", value, max);
	return false;
}

/* One setting by its long name; a value may be missing (NULL) where the option's table says so. False: complained. */
static bool set(struct options *options, const struct origin *origin, const char *value)
{
	const char *name = origin->name;

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		if (strcmp(name, fields[i].name) != 0)
			continue;
		void *where = (char *)options + fields[i].offset;
		switch (fields[i].kind) {
		case FIELD_PATH:
			if (*value == '\0') {
				complain(origin, "needs the path of a file");
				return false;
			}
			return set_text(where, value);
		case FIELD_TEXT:
			return set_text(where, value);
		case FIELD_POLICY:
			return set_policy(where, origin, value);
		}
	}
	if (strcmp(name, "toggle-key") == 0)
		return set_key(&options->keys.toggle, options->keys.with[0], false, origin, value);
	if (strcmp(name, "show-key") == 0)
		return set_key(&options->keys.show, options->keys.with[1], false, origin, value);
	if (strcmp(name, "hide-key") == 0)
		return set_key(&options->keys.hide, options->keys.with[2], false, origin, value);
	if (strcmp(name, "stats-chord") == 0)
		return set_key(&options->keys.stats, options->keys.with[3], true, origin, value);
	if (strcmp(name, "pass-key") == 0)
		return set_key(&options->keys.pass, NULL, true, origin, value);
	if (strcmp(name, "power-key") == 0)
		return set_power_key(&options->power_key, origin, value);
	if (strcmp(name, "vt-switch") == 0)
		return set_switch(&options->vt_switch, origin, value);
	if (strcmp(name, "features") == 0)
		return set_features(options, origin, value);
	if (strcmp(name, "serial") == 0)
		return set_serial(options, origin, value);
	if (strcmp(name, "memory") == 0) {
		if (!size_parse(value, &options->memory) || options->memory < MEMORY_MIN || options->memory > MEMORY_MAX) {
			complain(origin, "'%s' is no memory size between 64M and 1T: write it as 512M or 4G", value);
			return false;
		}
		options->memory &= ~4095ull;
		return true;
	}
	if (strcmp(name, "hugepages") == 0)
		return set_hugepages(options, origin, value);
	if (strcmp(name, "shutdown-timeout") == 0)
		return set_seconds(&options->shutdown_timeout, SHUTDOWN_TIMEOUT_MAX, origin, value);
	if (strcmp(name, "blank-after") == 0)
		return set_seconds(&options->blank_after, BLANK_AFTER_MAX, origin, value);
	if (strcmp(name, "cpus") == 0) {
		const char *end = value;
		if (!number(&end, UINT32_MAX, &options->cpus) || *end != '\0' || options->cpus < 1 || options->cpus > CPUS_MAX) {
			complain(origin, "'%s' is no number of CPUs between 1 and %u", value, CPUS_MAX);
			return false;
		}
		return true;
	}
	if (strcmp(name, "disk") == 0) {
		if (options->n_disks == OPTIONS_DISKS) {
			complain(origin, "more than %d disks", OPTIONS_DISKS);
			return false;
		}
		return set_text(&options->disk[options->n_disks++], value);
	}
	if (strcmp(name, "display") == 0) {
		if (strcmp(value, "kms") == 0) {
			options->display = DISPLAY_KMS;
		} else if (strcmp(value, "headless") == 0) {
			options->display = DISPLAY_HEADLESS;
		} else if (strcmp(value, "none") == 0) {
			options->display = DISPLAY_NONE;
		} else {
			complain(origin, "'%s' is none of kms, headless, none", value);
			return false;
		}
		return true;
	}
	if (strcmp(name, "mode") == 0) {
		if (!mode_parse(value, &options->mode_width, &options->mode_height, &options->mode_mhz)) {
			complain(origin, "'%s' is no mode: write it as 1920x1080 or 1920x1080@60", value);
			return false;
		}
		return true;
	}
	if (strcmp(name, "scaling") == 0) {
		options->bilinear = strcmp(value, "bilinear") == 0;
		if (!options->bilinear && strcmp(value, "nearest") != 0) {
			complain(origin, "'%s' is neither nearest nor bilinear", value);
			return false;
		}
		return true;
	}
	if (strcmp(name, "log-level") == 0) {
		int level = log_level_from_name(value);
		if (level < 0) {
			complain(origin, "'%s' is none of error, warn, info, debug", value);
			return false;
		}
		options->log_level = (enum log_level)level;
		options->log_level_given = true;
		return true;
	}
	if (strcmp(name, "sandbox") == 0)
		return set_switch(&options->sandbox, origin, value);
	if (strcmp(name, "isolate") == 0)
		return set_flag(&options->isolate, origin, value);
	if (strcmp(name, "present-on-boot") == 0)
		return set_flag(&options->present_on_boot, origin, value);
	complain(origin, "unknown setting; rayvm.ini(5) lists those that exist");
	return false;
}

/* Feeds the parser line by line: it may have been built without line numbers, and cuts long lines silently. */
struct file_reader {
	struct options *options;
	const char *path;
	FILE *file;
	int line;
	bool too_long;
	bool failed;
	int error; /* errno of reading; 0: none */
};

static char *read_settings_line(char *text, int size, void *data)
{
	struct file_reader *reader = data;
	errno = 0;
	if (fgets(text, size, reader->file) == NULL) {
		reader->error = ferror(reader->file) ? errno : 0;
		return NULL;
	}
	reader->line++;
	size_t length = strlen(text);
	if (length > 0 && text[length - 1] != '\n' && !feof(reader->file)) {
		reader->too_long = true;
		return NULL;
	}
	return text;
}

static int from_file(void *data, const char *section, const char *name, const char *value)
{
	struct file_reader *reader = data;
	struct origin origin = { reader->path, reader->line, name };
	if (strcmp(section, "rayvm") != 0) {
		complain(&origin, "settings belong into the section [rayvm], this one stands in [%s]", section);
		reader->failed = true;
		return 0;
	}
	if (!set(reader->options, &origin, value))
		reader->failed = true;
	return reader->failed ? 0 : 1;
}

static bool read_file(struct options *options, const char *path)
{
	struct file_reader reader = { .options = options, .path = path };
	reader.file = fopen(path, "re");
	if (reader.file == NULL) {
		fprintf(stderr, "rayvm: cannot read the settings file %s: %s; name another with -c\n", path, strerror(errno));
		return false;
	}
	int result = ini_parse_stream(read_settings_line, &reader, from_file, &reader);
	fclose(reader.file);
	if (reader.failed)
		return false; /* complained with file and line */
	if (reader.error != 0) {
		fprintf(stderr, "rayvm: cannot read the settings file %s: %s; name another with -c\n", path, strerror(reader.error));
		return false;
	}
	if (reader.too_long) {
		fprintf(stderr, "rayvm: %s:%d: the line is too long; give this setting on the command line\n", path, reader.line);
		return false;
	}
	if (result != 0)
		fprintf(stderr, "rayvm: %s:%d: neither a [section] nor name = value\n", path, result);
	return result == 0;
}

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
	      "      --mode WxH[@HZ]      size for headless; wish for kms\n"
	      "      --scaling FILTER     nearest (default) or bilinear, for pictures that are not of the panel's size\n"
	      "      --serial KIND        guest's COM1: stdio, file:PATH, none (default none; stdio with --display none)\n"
	      "      --features LIST      of vmm_hypervisor, vmm_virtio_input (both the default), dev_scanout (a test pattern\n"
	      "                           instead of a VM), legacy_kms (no atomic commits); RAYOS_KERNEL_FEATURES in the\n"
	      "                           environment holds the same list\n"
	      "      --present-on-boot    start with the guest on the panel\n"
	      "      --toggle-key, --show-key, --hide-key NAME\n"
	      "                           evdev key names (default KEY_GRAVE, KEY_F11, KEY_F12), or chords: KEY_LEFTMETA+KEY_TAB\n"
	      "      --stats-chord CHORD  shows figures over the picture, and hides them: ctrl+alt+s (default none)\n"
	      "      --pass-key NAME      held, these three are keys like others (default KEY_RIGHTCTRL; none)\n"
	      "      --power-key WHAT     key (for the side shown, default), powerdown (presses the guest's power button), ignore\n"
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
		.keys = { .toggle = KEY_GRAVE, .show = KEY_F11, .hide = KEY_F12, .pass = KEY_RIGHTCTRL },
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
	return set_text(&options->control, path);
}

static bool set_probe(struct options *options, const char *value)
{
	struct origin origin = { NULL, 0, "probe-panel" };
	options->probe_seconds = PROBE_SECONDS;
	if (value == NULL)
		return true;
	if (number(&value, PROBE_SECONDS_MAX, &options->probe_seconds) && *value == '\0' && options->probe_seconds != 0)
		return true;
	complain(&origin, "needs a number of seconds between 1 and %u, as in --probe-panel=%u", PROBE_SECONDS_MAX, PROBE_SECONDS);
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
	if (file != NULL && !read_file(options, file))
		return -1;

	const char *environment = getenv("RAYOS_KERNEL_FEATURES");
	struct origin from_environment = { "environment", 0, "RAYOS_KERNEL_FEATURES" };
	if (environment != NULL && *environment != '\0' && !set_features(options, &from_environment, environment))
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
		if (!set(options, &origin, value))
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
	const struct router_keys *keys = &options->keys;
	bool power = keys->toggle == KEY_POWER || keys->show == KEY_POWER || keys->hide == KEY_POWER || keys->stats == KEY_POWER || keys->pass == KEY_POWER;
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
