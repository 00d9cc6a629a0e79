/*
 * What people write: settings file, command line, disk specifications, sizes, modes, key names. The first byte of an input
 * says which, the rest is the text.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "fuzz.h"
#include "options.h"
#include "virtio/disk.h"

const struct fuzz_target fuzz_target = { .operations = false };

#define ARGUMENTS 64

static int file_fd;
static char file_path[32];

void fuzz_start(void)
{
	log_set_level(LOG_WARN);
	file_fd = memfd_create("settings", MFD_CLOEXEC);
	FUZZ_CHECK(file_fd >= 0, "no file");
	snprintf(file_path, sizeof(file_path), "/proc/self/fd/%d", file_fd);
}

/* getopt() remembers where it was in an argument that is gone. */
static void forget_arguments(void)
{
	char *none[] = { (char *)(uintptr_t)"x", NULL };
	optind = 0;
	getopt(1, none, "");
}

static void check_options(const struct options *options)
{
	FUZZ_CHECK(options->cpus >= 1 && options->cpus <= 254, "%u CPUs", options->cpus);
	FUZZ_CHECK(options->memory >= 64 << 20 && options->memory % 4096 == 0, "%llu bytes of memory", (unsigned long long)options->memory);
	FUZZ_CHECK(options->n_disks <= OPTIONS_DISKS, "%u disks", options->n_disks);
	for (uint32_t i = 0; i < options->n_disks; i++)
		FUZZ_CHECK(options->disk[i] != NULL, "disk %u is nothing", i);
	FUZZ_CHECK((options->mode_width == 0) == (options->mode_height == 0), "a mode of %ux%u", options->mode_width, options->mode_height);
}

static void parse(int argc, char **argv)
{
	struct options options;
	int status = -1;
	if (options_parse(&options, argc, argv, &status) == 0)
		check_options(&options);
	else
		FUZZ_CHECK(status == EXIT_USAGE || status == EXIT_ASKED, "refused with exit status %d", status);
	options_finish(&options);
	forget_arguments();
}

static void from_file(const char *text, size_t size)
{
	char *argv[] = { (char *)(uintptr_t)"rayvm", (char *)(uintptr_t)"-c", file_path, NULL };
	FUZZ_CHECK(ftruncate(file_fd, 0) == 0 && pwrite(file_fd, text, size, 0) == (ssize_t)size, "no file");
	parse(3, argv);
}

/* Arguments are separated by zero bytes. None may name a settings file of the machine's. */
static void from_arguments(char *text, size_t size)
{
	char *argv[ARGUMENTS + 1] = { (char *)(uintptr_t)"rayvm" };
	int argc = 1;
	for (char *at = text; at < text + size && argc < ARGUMENTS; at += strlen(at) + 1)
		argv[argc++] = at;
	parse(argc, argv);
}

static void disk_spec(const char *text)
{
	struct disk_config config;
	char error[256] = "", *copy = malloc(strlen(text) + 1);
	FUZZ_CHECK(copy != NULL, "no memory");
	if (disk_parse(text, &config, copy, error, sizeof(error)) == 0) {
		FUZZ_CHECK(memchr(config.serial, '\0', sizeof(config.serial)) != NULL, "a serial without end");
		FUZZ_CHECK(config.path != NULL ? strlen(config.path) <= strlen(text) : config.memory_size > 0 && config.memory_size % 512 == 0, "a disk of nothing");
		FUZZ_CHECK(config.queues <= DISK_QUEUES_MAX, "%u queues", config.queues);
	} else {
		FUZZ_CHECK(error[0] != '\0', "refused without a word");
	}
	free(copy);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	if (size == 0)
		return;
	int fds = fuzz_next_fd();
	char *text = malloc(size);
	FUZZ_CHECK(text != NULL, "no memory");
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	uint64_t bytes;
	uint32_t width, height, mhz;
	switch (data[0] % 6) {
	case 0:
		from_file(text, size - 1);
		break;
	case 1:
		from_arguments(text, size);
		break;
	case 2:
		disk_spec(text);
		break;
	case 3:
		size_parse(text, &bytes);
		break;
	case 4:
		if (mode_parse(text, &width, &height, &mhz))
			FUZZ_CHECK(width > 0 && height > 0, "a mode of %ux%u", width, height);
		break;
	default:
		key_code_from_name(text);
		break;
	}
	free(text);
	FUZZ_CHECK(fuzz_next_fd() == fds, "a descriptor leaked");
}
