/*
 * What is left of a keyboard controller: it answers its own commands at once and has nothing attached, so that a system that probes
 * it regardless of the ACPI tables loses no time; command 0xfe resets the machine.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct i8042 {
	uint8_t command_byte;
	uint8_t output;   /* waiting for a read of port 0x60 */
	bool full;
	bool expects_byte; /* next data write is the command byte */
};

void i8042_reset(struct i8042 *controller);
/* data: port 0x60, else 0x64. */
uint8_t i8042_read(struct i8042 *controller, bool data);
/* True: the guest pulled the reset line. */
bool i8042_write(struct i8042 *controller, bool data, uint8_t value);
