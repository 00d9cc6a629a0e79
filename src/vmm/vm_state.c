/* The table of the VM's own devices, and the state of those that are too small for a file. See state.h. */
#include "vmm/vm_internal.h"

#include <string.h>

#define PORTS_STATE_VERSION 1
#define RESET_CONTROL_BITS 0x0e

struct ports_state {
	struct state_head head;
	uint8_t i8042_command, i8042_output;
	uint8_t i8042_full, i8042_expects_byte; /* 0 or 1 */
	uint8_t reset_control;
	uint8_t zero[3];
};

static uint32_t ports_save(void *data, void *to, uint32_t size)
{
	struct vm *vm = data;
	pthread_mutex_lock(&vm->ports_lock);
	struct ports_state state = {
		.i8042_command = vm->i8042.command_byte, .i8042_output = vm->i8042.output, .i8042_full = vm->i8042.full,
		.i8042_expects_byte = vm->i8042.expects_byte, .reset_control = vm->reset_control,
	};
	pthread_mutex_unlock(&vm->ports_lock);
	return state_put(to, size, &state, sizeof(state), STATE_PORTS, PORTS_STATE_VERSION);
}

static void ports_reset(void *data)
{
	struct vm *vm = data;
	pthread_mutex_lock(&vm->ports_lock);
	i8042_reset(&vm->i8042);
	vm->reset_control = 0;
	pthread_mutex_unlock(&vm->ports_lock);
}

static bool ports_load(void *data, const void *from, uint32_t size)
{
	struct vm *vm = data;
	struct ports_state untrusted;
	ports_reset(vm);
	if (!state_get(&untrusted, sizeof(untrusted), STATE_PORTS, PORTS_STATE_VERSION, from, size) || untrusted.i8042_full > 1 ||
	    untrusted.i8042_expects_byte > 1 || (untrusted.reset_control & ~RESET_CONTROL_BITS) || !state_is_zero(untrusted.zero, sizeof(untrusted.zero)))
		return false;
	pthread_mutex_lock(&vm->ports_lock);
	vm->i8042 = (struct i8042){
		.command_byte = untrusted.i8042_command, .output = untrusted.i8042_output, .full = untrusted.i8042_full,
		.expects_byte = untrusted.i8042_expects_byte,
	};
	vm->reset_control = untrusted.reset_control;
	pthread_mutex_unlock(&vm->ports_lock);
	return true;
}

/* The table's functions take any device. */
#define ROW(name, type) \
	static uint32_t name##_row_save(void *device, void *to, uint32_t size) { return name##_save((type *)device, to, size); } \
	static bool name##_row_load(void *device, const void *from, uint32_t size) { return name##_load((type *)device, from, size); }
ROW(serial, struct serial)
ROW(rtc, struct rtc)
ROW(acpi_pm, struct acpi_pm)
ROW(pci, struct pci_bus)

static void serial_row_reset(void *device)
{
	serial_reset(device);
}

static void rtc_row_reset(void *device)
{
	rtc_reset(device);
}

static void acpi_pm_row_reset(void *device)
{
	acpi_pm_reset(device);
}

static void pci_row_reset(void *device)
{
	pci_bus_reset(device);
}

bool vm_state_table(struct vm *vm, struct state_table *table)
{
	/* The bus first: interrupts of the devices behind it have to find their vectors. */
	return state_table_add(table, (struct state_device){ "pci", vm->pci, pci_row_save, pci_row_load, pci_row_reset }) &&
	       state_table_add(table, (struct state_device){ "serial", &vm->serial, serial_row_save, serial_row_load, serial_row_reset }) &&
	       state_table_add(table, (struct state_device){ "rtc", &vm->rtc, rtc_row_save, rtc_row_load, rtc_row_reset }) &&
	       state_table_add(table, (struct state_device){ "acpi-pm", &vm->pm, acpi_pm_row_save, acpi_pm_row_load, acpi_pm_row_reset }) &&
	       state_table_add(table, (struct state_device){ "ports", vm, ports_save, ports_load, ports_reset });
}
