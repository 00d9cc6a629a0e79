/* ACPI fixed hardware: PM1a event and control blocks, PM timer, SCI, power button, sleep state S5. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/state.h"

#define ACPI_PM_STATE_VERSION 1

struct acpi_pm_host {
	void (*sci)(void *data, bool level); /* under the lock */
	void (*power_off)(void *data);       /* the guest entered S5; vCPU thread, no lock held */
	void *data;
};

struct acpi_pm {
	pthread_mutex_t lock; /* guards all below */
	struct acpi_pm_host host;
	uint16_t status, enable, control;
	bool sci_level;
};

struct acpi_pm_state {
	struct state_head head;
	uint16_t status, enable, control, zero;
};

void acpi_pm_init(struct acpi_pm *pm, const struct acpi_pm_host *host);
void acpi_pm_finish(struct acpi_pm *pm);
void acpi_pm_reset(struct acpi_pm *pm);
/*
 * Access at `offset` into the block at port 0x600, 1, 2 or 4 bytes; a read's data is filled completely. guest_ns: the
 * machine's running time in nanoseconds, for the timer. vCPU threads.
 */
void acpi_pm_access(struct acpi_pm *pm, uint32_t offset, void *data, uint32_t size, bool write, uint64_t guest_ns);
void acpi_pm_power_button(struct acpi_pm *pm);
/* See state.h. */
uint32_t acpi_pm_save(struct acpi_pm *pm, void *to, uint32_t size);
bool acpi_pm_load(struct acpi_pm *pm, const void *from, uint32_t size);
/* The 3.579545 MHz timer's 32-bit value. */
uint32_t acpi_pm_timer(uint64_t guest_ns);
