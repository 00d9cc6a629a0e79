/* The machine of a program built without vmm_hypervisor: there is none. */
#include <stdio.h>

#include "machine.h"
#include "machine_child.h"
#include "machine_files.h"

int machine_files_open(const struct options *options, struct machine_files *files, char *error, size_t error_size, int *exit_status)
{
	(void)options;
	(void)files;
	snprintf(error, error_size, "this rayvm was built without vmm_hypervisor: rebuild it with meson -Dvmm_hypervisor=true");
	*exit_status = EXIT_USAGE;
	return -1;
}

void machine_files_close(struct machine_files *files)
{
	(void)files;
}

struct machine *machine_create(const struct machine_config *config, char *error, size_t error_size, int *exit_status)
{
	(void)config;
	(void)error;
	(void)error_size;
	(void)exit_status;
	return NULL;
}

struct link *machine_link(struct machine *machine)
{
	(void)machine;
	return NULL;
}

void machine_preload(struct machine *machine)
{
	(void)machine;
}

int machine_start(struct machine *machine, bool autoboot)
{
	(void)machine;
	(void)autoboot;
	return -1;
}

void machine_stop(struct machine *machine)
{
	(void)machine;
}

void machine_destroy(struct machine *machine)
{
	(void)machine;
}

struct machine_child *machine_child_create(const struct machine_child_config *config)
{
	(void)config;
	return NULL;
}

void machine_child_destroy(struct machine_child *machine)
{
	(void)machine;
}

int machine_child_open(void *machine_child, char *error, size_t error_size, int *exit_status)
{
	(void)machine_child;
	return machine_files_open(NULL, NULL, error, error_size, exit_status);
}

int machine_child_run(void *machine_child, struct spawner_child *child)
{
	(void)machine_child;
	(void)child;
	return EXIT_FAILED;
}
