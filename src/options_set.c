#define LOG_MODULE "options"
#include "options_private.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "rayvm-config.h"

#define MEMORY_MIN (64ull << 20)
#define MEMORY_MAX (1ull << 40)
#define CPUS_MAX 254u
#define SHUTDOWN_TIMEOUT_MAX 3600u
#define BLANK_AFTER_MAX 604800u /* seconds: a week */

void options_complain(const struct origin *origin, const char *format, ...)
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

bool options_number(const char **text, uint32_t max, uint32_t *out)
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
	if (!options_number(&text, 16384, width) || *text++ != 'x' || !options_number(&text, 16384, height) || *width < 64 || *height < 64)
		return false;
	if (*text == '@') {
		text++;
		if (!options_number(&text, 1000, &hz) || hz == 0)
			return false;
	}
	*mhz = hz * 1000;
	return *text == '\0';
}

bool options_set_text(char **where, const char *value)
{
	char *copy = strdup(value);
	if (copy == NULL)
		return false;
	free(*where);
	*where = copy;
	return true;
}

bool options_set_features(struct options *options, const struct origin *origin, const char *list)
{
	bool hypervisor = false, input = false, scanout = false, legacy = false, gbm = false;
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
		} else if (strcmp(name, "gbm_buffers") == 0) {
			gbm = true;
		} else if (length > 0) {
			options_complain(origin, "unknown feature '%s': known are vmm_hypervisor, vmm_virtio_input, dev_scanout, legacy_kms, gbm_buffers", name);
			return false;
		}
		list += length + (list[length] == ',');
	}
	if ((hypervisor && !RAYVM_VMM_HYPERVISOR) || (input && !RAYVM_VMM_VIRTIO_INPUT) || (scanout && !RAYVM_DEV_SCANOUT)) {
		options_complain(origin, "this rayvm was built without %s: rebuild it with meson -D%s=true",
			scanout && !RAYVM_DEV_SCANOUT ? "dev_scanout" : hypervisor && !RAYVM_VMM_HYPERVISOR ? "vmm_hypervisor" : "vmm_virtio_input",
			scanout && !RAYVM_DEV_SCANOUT ? "dev_scanout" : hypervisor && !RAYVM_VMM_HYPERVISOR ? "vmm_hypervisor" : "vmm_virtio_input");
		return false;
	}
	if (gbm && !RAYVM_GBM) {
		options_complain(origin, "this rayvm was built without libgbm: rebuild it with meson -Dgbm=enabled");
		return false;
	}
	if (hypervisor && scanout) {
		options_complain(origin, "vmm_hypervisor and dev_scanout exclude each other: one of them is the guest");
		return false;
	}
	if ((legacy || gbm) && !hypervisor && !input && !scanout) {
		/* They are about the card alone and take no guest away. */
		hypervisor = RAYVM_VMM_HYPERVISOR;
		input = RAYVM_VMM_VIRTIO_INPUT;
	}
	options->vmm_hypervisor = hypervisor;
	options->vmm_virtio_input = input;
	options->dev_scanout = scanout;
	options->legacy_kms = legacy;
	options->gbm_buffers = gbm;
	return true;
}

/* One of some words; *which: its number. */
static bool set_word(uint32_t *which, const char *const *words, uint32_t n, const struct origin *origin, const char *value)
{
	char list[80] = "";
	for (uint32_t i = 0; i < n; i++) {
		if (strcmp(value, words[i]) == 0) {
			*which = i;
			return true;
		}
		size_t used = strlen(list);
		snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", words[i]);
	}
	options_complain(origin, "'%s' is none of %s", value, list);
	return false;
}

static bool set_policy(enum policy *policy, const struct origin *origin, const char *value)
{
	static const char *const words[] = { "exit", "restart", "stay" };
	uint32_t which;
	if (!set_word(&which, words, ARRAY_LEN(words), origin, value))
		return false;
	*policy = (enum policy)(POLICY_EXIT + which);
	return true;
}

static bool set_display(enum display_kind *kind, const struct origin *origin, const char *value)
{
	static const char *const words[] = { [DISPLAY_KMS] = "kms", [DISPLAY_HEADLESS] = "headless", [DISPLAY_NONE] = "none" };
	uint32_t which;
	if (!set_word(&which, words, ARRAY_LEN(words), origin, value))
		return false;
	*kind = (enum display_kind)which;
	return true;
}

/* A setting that is one of some words, into the enum of that order. */
static bool set_choice(const char *name, struct options *options, const struct origin *origin, const char *value, bool *known)
{
	static const char *const power_key[] = { "key", "powerdown", "ignore" }, *const lid[] = { "ignore", "blank", "powerdown" },
			  *const strip[] = { "off", "top", "bottom" }, *const outputs[] = { "mirror", "extend" };
	uint32_t which = 0;
	bool good = true;
	*known = true;
	if (strcmp(name, "power-key") == 0) {
		if ((good = set_word(&which, power_key, ARRAY_LEN(power_key), origin, value)))
			options->power_key = (enum power_key)which;
	} else if (strcmp(name, "lid") == 0) {
		if ((good = set_word(&which, lid, ARRAY_LEN(lid), origin, value)))
			options->lid = (enum lid_policy)which;
	} else if (strcmp(name, "trusted-strip") == 0) {
		if ((good = set_word(&which, strip, ARRAY_LEN(strip), origin, value)))
			options->strip = (enum panel_strip)which;
	} else if (strcmp(name, "outputs") == 0) {
		if ((good = set_word(&which, outputs, ARRAY_LEN(outputs), origin, value)))
			options->outputs = (enum outputs)which;
	} else {
		*known = false;
	}
	return good;
}

static bool set_flag(bool *flag, const struct origin *origin, const char *value)
{
	bool yes = strcmp(value, "true") == 0 || strcmp(value, "yes") == 0 || strcmp(value, "1") == 0;
	if (!yes && strcmp(value, "false") != 0 && strcmp(value, "no") != 0 && strcmp(value, "0") != 0) {
		options_complain(origin, "'%s' is neither true nor false", value);
		return false;
	}
	*flag = yes;
	return true;
}

/* A key that acts, which may be a chord. */
static bool set_chord(struct router_chord *chord, bool may_be_none, const struct origin *origin, const char *value)
{
	char error[320];
	if (may_be_none && strcmp(value, "none") == 0) {
		*chord = (struct router_chord){ KEY_RESERVED };
		return true;
	}
	if (key_chord_from_name(value, chord, error, sizeof error) == 0)
		return true;
	options_complain(origin, "%s", error);
	return false;
}

static bool set_pass_key(uint16_t *key, const struct origin *origin, const char *value)
{
	struct router_chord chord;
	if (!set_chord(&chord, true, origin, value))
		return false;
	if (chord.with[0] != KEY_RESERVED) {
		options_complain(origin, "'%s' is more than one key: the pass key is held together with a toggle key", value);
		return false;
	}
	*key = chord.code;
	return true;
}

static bool set_switch(bool *on, const struct origin *origin, const char *value)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0) {
		options_complain(origin, "'%s' is neither on nor off", value);
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
		return options_set_text(&options->serial_path, value + 5);
	} else {
		options_complain(origin, "'%s' is none of stdio, file:PATH, none", value);
		return false;
	}
	return true;
}

/* The settings that are one value of one kind. */
static const struct {
	const char *name;
	enum { FIELD_PATH, FIELD_TEXT, FIELD_CHORD, FIELD_POLICY } kind;
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
	{ "toggle-key", FIELD_CHORD, offsetof(struct options, keys.act[ROUTER_TOGGLE]) },
	{ "show-key", FIELD_CHORD, offsetof(struct options, keys.act[ROUTER_SHOW]) },
	{ "hide-key", FIELD_CHORD, offsetof(struct options, keys.act[ROUTER_HIDE]) },
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
		options_complain(origin, "'%s' is none of 2M, 1G, none", value);
		return false;
	}
	return true;
}

static bool set_seconds(uint32_t *seconds, uint32_t max, const struct origin *origin, const char *value)
{
	const char *end = value;
	if (options_number(&end, max, seconds) && *end == '\0')
		return true;
	options_complain(origin, "'%s' is no number of seconds between 0 and %u", value, max);
	return false;
}

bool options_set(struct options *options, const struct origin *origin, const char *value)
{
	const char *name = origin->name;

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		if (strcmp(name, fields[i].name) != 0)
			continue;
		void *where = (char *)options + fields[i].offset;
		switch (fields[i].kind) {
		case FIELD_PATH:
			if (*value == '\0') {
				options_complain(origin, "needs the path of a file");
				return false;
			}
			return options_set_text(where, value);
		case FIELD_TEXT:
			return options_set_text(where, value);
		case FIELD_CHORD:
			return set_chord(where, false, origin, value);
		case FIELD_POLICY:
			return set_policy(where, origin, value);
		}
	}
	if (strcmp(name, "stats-chord") == 0)
		return set_chord(&options->keys.act[ROUTER_STATS], true, origin, value);
	if (strcmp(name, "pass-key") == 0)
		return set_pass_key(&options->keys.pass, origin, value);
	bool known, good = set_choice(name, options, origin, value, &known);
	if (known)
		return good;
	if (strcmp(name, "vt-switch") == 0)
		return set_switch(&options->vt_switch, origin, value);
	if (strcmp(name, "features") == 0)
		return options_set_features(options, origin, value);
	if (strcmp(name, "serial") == 0)
		return set_serial(options, origin, value);
	if (strcmp(name, "memory") == 0) {
		if (!size_parse(value, &options->memory) || options->memory < MEMORY_MIN || options->memory > MEMORY_MAX) {
			options_complain(origin, "'%s' is no memory size between 64M and 1T: write it as 512M or 4G", value);
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
		if (!options_number(&end, UINT32_MAX, &options->cpus) || *end != '\0' || options->cpus < 1 || options->cpus > CPUS_MAX) {
			options_complain(origin, "'%s' is no number of CPUs between 1 and %u", value, CPUS_MAX);
			return false;
		}
		return true;
	}
	if (strcmp(name, "disk") == 0) {
		if (options->n_disks == OPTIONS_DISKS) {
			options_complain(origin, "more than %d disks", OPTIONS_DISKS);
			return false;
		}
		return options_set_text(&options->disk[options->n_disks++], value);
	}
	if (strcmp(name, "display") == 0)
		return set_display(&options->display, origin, value);
	if (strcmp(name, "mode") == 0) {
		if (!mode_parse(value, &options->mode_width, &options->mode_height, &options->mode_mhz)) {
			options_complain(origin, "'%s' is no mode: write it as 1920x1080 or 1920x1080@60", value);
			return false;
		}
		return true;
	}
	if (strcmp(name, "scaling") == 0) {
		options->bilinear = strcmp(value, "bilinear") == 0;
		if (!options->bilinear && strcmp(value, "nearest") != 0) {
			options_complain(origin, "'%s' is neither nearest nor bilinear", value);
			return false;
		}
		return true;
	}
	if (strcmp(name, "log-level") == 0) {
		int level = log_level_from_name(value);
		if (level < 0) {
			options_complain(origin, "'%s' is none of error, warn, info, debug", value);
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
	options_complain(origin, "unknown setting; rayvm.ini(5) lists those that exist");
	return false;
}

/* Feeds the parser line by line: it may have been built without line numbers, and cuts long lines silently. */
