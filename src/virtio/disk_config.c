/* The text after --disk. */
#include "virtio/disk.h"

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512ull
#define SERIAL_MAX 20 /* bytes of virtio-blk's id (virtio 1.2, section 5.2.6) */
#define KNOWN "readonly, serial=TEXT, cache=writeback|writethrough|direct, overlay=mem[:SIZE], queues=N, aio=io_uring|threads, format=raw"

/* Whole sectors, and not too many for a file. */
static bool parse_size(const char *text, uint64_t *size)
{
	return size_parse(text, size) && *size >= SECTOR && *size % SECTOR == 0 && *size <= INT64_MAX;
}

/* Index of text in names, or -1. */
static int one_of(const char *text, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(text, names[i]) == 0)
			return i;
	return -1;
}

/* What follows `name` in option; NULL when it does not begin so. */
static const char *value_of(const char *option, const char *name)
{
	size_t length = strlen(name);
	return strncmp(option, name, length) == 0 ? option + length : NULL;
}

/* NULL, or what is wrong with the option. */
static const char *parse_option(struct disk_config *config, const char *option)
{
	static const char *const caches[] = { "writeback", "writethrough", "direct" };
	static const char *const aios[] = { "io_uring", "threads" };
	const char *value;
	if (strcmp(option, "readonly") == 0) {
		config->readonly = true;
	} else if ((value = value_of(option, "serial=")) != NULL) {
		if (strlen(value) > SERIAL_MAX)
			return "the serial has more than 20 characters";
		strcpy(config->serial, value);
	} else if ((value = value_of(option, "format=")) != NULL) {
		if (strcmp(value, "raw") != 0)
			return "only format=raw is known; convert it with: qemu-img convert -O raw";
	} else if ((value = value_of(option, "cache=")) != NULL) {
		int cache = one_of(value, caches, ARRAY_LEN(caches));
		if (cache < 0)
			return "cache= is writeback, writethrough or direct";
		config->cache = (enum disk_cache)cache;
	} else if ((value = value_of(option, "aio=")) != NULL) {
		int aio = one_of(value, aios, ARRAY_LEN(aios));
		if (aio < 0)
			return "aio= is io_uring or threads";
		config->aio = aio == 0 ? DISK_AIO_URING : DISK_AIO_THREADS;
	} else if ((value = value_of(option, "queues=")) != NULL) {
		if (value[0] < '1' || value[0] > '0' + DISK_QUEUES_MAX || value[1] != '\0')
			return "queues= is a number from 1 to 8";
		config->queues = (uint32_t)(value[0] - '0');
	} else if ((value = value_of(option, "overlay=")) != NULL) {
		const char *size = value_of(value, "mem:");
		config->overlay = true;
		if (strcmp(value, "mem") != 0 && (size == NULL || !parse_size(size, &config->overlay_limit)))
			return "overlay= is mem or mem:SIZE, for example overlay=mem:2G";
	} else {
		return "";
	}
	return NULL;
}

int disk_parse(const char *spec, struct disk_config *config, char *copy, char *error, size_t error_size)
{
	memset(config, 0, sizeof(*config));
	strcpy(copy, spec);
	char *rest = copy;
	const char *what = strsep(&rest, ",");
	if (what[0] == '\0') {
		snprintf(error, error_size, "disk \"%s\": no file given; write FILE or mem:SIZE", spec);
		return -1;
	}
	if (strncmp(what, "mem:", 4) != 0) {
		config->path = what;
	} else if (!parse_size(what + 4, &config->memory_size)) {
		snprintf(error, error_size, "disk \"%s\": not a size; write for example mem:512M", spec);
		return -1;
	}
	for (const char *option; (option = strsep(&rest, ",")) != NULL;) {
		const char *wrong = parse_option(config, option);
		if (wrong == NULL)
			continue;
		if (wrong[0] == '\0')
			snprintf(error, error_size, "disk \"%s\": unknown option \"%s\"; known are " KNOWN, spec, option);
		else
			snprintf(error, error_size, "disk \"%s\": %s", spec, wrong);
		return -1;
	}
	if (config->overlay && (config->path == NULL || config->readonly)) {
		snprintf(error, error_size, "disk \"%s\": overlay=mem is for files that the guest writes; leave it out for memory and with readonly", spec);
		return -1;
	}
	if (config->path == NULL && config->cache != DISK_WRITEBACK) {
		snprintf(error, error_size, "disk \"%s\": memory has no cache; leave cache= out", spec);
		return -1;
	}
	return 0;
}
