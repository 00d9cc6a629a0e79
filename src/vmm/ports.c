/* Legacy ports: who answers which. Reads of nothing give all ones, writes to nothing vanish, both at once. */
#include <string.h>
#include <time.h>

#define LOG_MODULE "vm"
#include "base/base.h"
#include "vmm/layout.h"
#include "vmm/vm_internal.h"

#define RESET_CPU 0x04

static void com1_irq(void *data, bool level)
{
	kvm_irq_line(&((struct vm *)data)->kvm, IRQ_COM1, level);
}

static void com1_wake(void *data)
{
	vm_io_wake(data);
}

static void rtc_irq(void *data, bool level)
{
	kvm_irq_line(&((struct vm *)data)->kvm, IRQ_RTC, level);
}

static void rtc_wants_tick(void *data, bool wanted)
{
	vm_io_tick(data, wanted);
}

static void sci(void *data, bool level)
{
	kvm_irq_line(&((struct vm *)data)->kvm, IRQ_SCI, level);
}

static void power_off(void *data)
{
	vm_post_event(data, VM_EVENT_POWEROFF, "the guest powered off");
}

void vm_ports_init(struct vm *vm)
{
	serial_init(&vm->serial, &(struct serial_host){ com1_irq, com1_wake, vm }, vm->config.serial_out >= 0);
	rtc_init(&vm->rtc, &(struct rtc_host){ rtc_irq, rtc_wants_tick, vm });
	acpi_pm_init(&vm->pm, &(struct acpi_pm_host){ sci, power_off, vm });
	pthread_mutex_init(&vm->ports_lock, NULL);
	i8042_reset(&vm->i8042);
}

void vm_ports_reset(struct vm *vm)
{
	serial_reset(&vm->serial);
	rtc_reset(&vm->rtc);
	acpi_pm_reset(&vm->pm);
	i8042_reset(&vm->i8042);
	vm->reset_control = 0;
}

void vm_ports_finish(struct vm *vm)
{
	serial_finish(&vm->serial);
	rtc_finish(&vm->rtc);
	acpi_pm_finish(&vm->pm);
	pthread_mutex_destroy(&vm->ports_lock);
}

static uint8_t byte_read(struct vm *vm, uint32_t port)
{
	uint8_t value = 0xff;
	if (port >= PORT_COM1 && port < PORT_COM1 + 8)
		return serial_read(&vm->serial, port - PORT_COM1);
	switch (port) {
	case PORT_RTC + 1:
		value = rtc_read(&vm->rtc, time(NULL));
		break;
	case PORT_I8042_DATA:
	case PORT_I8042_COMMAND:
		pthread_mutex_lock(&vm->ports_lock);
		value = i8042_read(&vm->i8042, port == PORT_I8042_DATA);
		pthread_mutex_unlock(&vm->ports_lock);
		break;
	case PORT_RESET:
		pthread_mutex_lock(&vm->ports_lock);
		value = vm->reset_control;
		pthread_mutex_unlock(&vm->ports_lock);
		break;
	default:
		break;
	}
	return value;
}

static void byte_write(struct vm *vm, uint32_t port, uint8_t untrusted_value)
{
	bool reset = false;
	if (port >= PORT_COM1 && port < PORT_COM1 + 8) {
		serial_write(&vm->serial, port - PORT_COM1, untrusted_value);
		return;
	}
	switch (port) {
	case PORT_RTC:
		rtc_select(&vm->rtc, untrusted_value);
		break;
	case PORT_RTC + 1:
		rtc_write(&vm->rtc, untrusted_value, time(NULL));
		break;
	case PORT_I8042_DATA:
	case PORT_I8042_COMMAND:
		pthread_mutex_lock(&vm->ports_lock);
		reset = i8042_write(&vm->i8042, port == PORT_I8042_DATA, untrusted_value);
		pthread_mutex_unlock(&vm->ports_lock);
		break;
	case PORT_RESET:
		pthread_mutex_lock(&vm->ports_lock);
		/* Intel's reset control register: the reset happens when RST_CPU goes from 0 to 1. */
		reset = (untrusted_value & RESET_CPU) && !(vm->reset_control & RESET_CPU);
		vm->reset_control = untrusted_value & 0x0e;
		pthread_mutex_unlock(&vm->ports_lock);
		break;
	default:
		break;
	}
	if (reset)
		vm_post_event(vm, VM_EVENT_RESET, "the guest reset the machine");
}

void vm_port(struct vm *vm, uint16_t port, void *data, uint32_t size, bool write)
{
	if (port >= PORT_PCI_ADDRESS && port < PORT_PCI_DATA + 4 && pci_port(vm->pci, port, data, size, write))
		return;
	if (port >= PORT_PM && port < PORT_PM + PORT_PM_SIZE) {
		acpi_pm_access(&vm->pm, port - PORT_PM, data, size, write, vm_time_ns(vm));
		return;
	}
	/* Everything else is eight bits wide: the bus splits wider accesses. */
	uint8_t *bytes = data;
	for (uint32_t i = 0; i < size; i++) {
		if (write)
			byte_write(vm, port + i, bytes[i]);
		else
			bytes[i] = byte_read(vm, port + i);
	}
}
