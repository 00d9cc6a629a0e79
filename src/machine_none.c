/* The machine of a program built without vmm_hypervisor: there is none. */
#include "machine.h"

#include <stdio.h>

#include "options.h"

struct machine *machine_create(const struct options *options, struct status_board *board, struct stats *stats, char *error, size_t error_size, int *exit_status)
{
	(void)options;
	(void)board;
	(void)stats;
	snprintf(error, error_size, "this rayvm was built without vmm_hypervisor: rebuild it with meson -Dvmm_hypervisor=true");
	*exit_status = EXIT_USAGE;
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
