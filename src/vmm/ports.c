/* Legacy ports: who answers which. Reads of nothing give all ones, writes to nothing vanish, both at once. */
#include <errno.h>
#include <string.h>
#include <time.h>

#define LOG_MODULE "vm"
#include "base/base.h"
#include "base/console.h"
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

/* COM1's output for who is attached to it. */
static void com1_copy(void *data, uint8_t byte)
{
	struct vm *vm = data;
	if (console_end_put(vm->config.console, &byte, 1))
		vm_io_wake(vm);
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

/* --- kept writes ------------------------------------------------------------------------------------------------------- */

/*
 * An index port is written before its data port is touched, and does nothing else: KVM keeps such writes in a ring, and only
 * the data port's access leaves the guest. That halves the exits of a kernel that looks through config space or reads the clock.
 *
 * Beside 0xcf8 stands the reset register, 0xcf9, which KVM cannot tell apart. So writes there are kept only while the
 * guest boots and looks for devices, and are looked after meanwhile: a reset waits a tenth of a second at most, and any other end that
 * the guest may have comes after what was kept. That ends some seconds after the last of them, and begins anew at the next start.
 */
#define KEPT_PERIOD_NS (100 * NSEC_PER_MSEC)
#define KEPT_QUIET_PERIODS 50 /* a kernel looks early in its boot and again when it sets its devices up */
#define KEPT_WAIT_PERIODS 300 /* for the first one: unpacking a kernel can take long */

#define KEPT_MAX ((GUEST_PAGE - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio)) /* the ring is a page */

static void port_access(struct vm *vm, uint16_t port, void *data, uint32_t size, bool write);

/* kept_lock held. */
static void drain_kept(struct vm *vm)
{
	struct kvm_coalesced_mmio_ring *ring = vm->kept;
	uint32_t last;
	if (!ring)
		return;
	while (ring->first != (last = __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE))) {
		if (last >= KEPT_MAX)
			return;
		struct kvm_coalesced_mmio *entry = &ring->coalesced_mmio[ring->first];
		port_access(vm, (uint16_t)entry->phys_addr, entry->data, min_u32(entry->len, sizeof(entry->data)), true);
		vm->kept_configs += entry->phys_addr == PORT_PCI_ADDRESS;
		__atomic_store_n(&ring->first, (ring->first + 1) % KEPT_MAX, __ATOMIC_RELEASE);
	}
}

void vm_ports_keep_writes(struct vm *vm)
{
	pthread_mutex_lock(&vm->kept_lock);
	vm->kept = kvm_coalesced_ring(&vm->kvm, vm->vcpu[0].run);
	vm->keeps_config = vm->kept && kvm_coalesce_port(&vm->kvm, PORT_PCI_ADDRESS, 4, true) == 0;
	vm->quiet_periods = vm->kept_configs = 0;
	vm->looked_configs = 0;
	vm->kept_look_ns = clock_now_ns() + KEPT_PERIOD_NS;
	if (vm->kept && kvm_coalesce_port(&vm->kvm, PORT_RTC, 1, true) < 0)
		log_debug("writes to index ports are not kept: %s", strerror(errno));
	pthread_mutex_unlock(&vm->kept_lock);
}

void vm_ports_take_kept(struct vm *vm)
{
	pthread_mutex_lock(&vm->kept_lock);
	drain_kept(vm);
	pthread_mutex_unlock(&vm->kept_lock);
}

int vm_ports_poll(struct vm *vm)
{
	pthread_mutex_lock(&vm->kept_lock);
	uint64_t now = clock_now_ns();
	if (vm->keeps_config && now >= vm->kept_look_ns) {
		drain_kept(vm);
		vm->kept_look_ns = now + KEPT_PERIOD_NS;
		vm->quiet_periods = vm->kept_configs != vm->looked_configs ? 0 : vm->quiet_periods + 1;
		vm->looked_configs = vm->kept_configs;
		if (vm->quiet_periods >= (vm->kept_configs ? KEPT_QUIET_PERIODS : KEPT_WAIT_PERIODS)) {
			kvm_coalesce_port(&vm->kvm, PORT_PCI_ADDRESS, 4, false);
			drain_kept(vm);
			vm->keeps_config = false;
		}
	}
	int next = vm->keeps_config ? (int)((vm->kept_look_ns - now) / NSEC_PER_MSEC) + 1 : -1;
	pthread_mutex_unlock(&vm->kept_lock);
	return next;
}

/* --- all ports ----------------------------------------------------------------------------------------------------------- */

void vm_ports_init(struct vm *vm)
{
	pthread_mutex_init(&vm->kept_lock, NULL);
	serial_init(&vm->serial, &(struct serial_host){ com1_irq, com1_wake, vm, vm->config.console != NULL ? com1_copy : NULL }, vm->config.serial_out >= 0);
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
	/* The vCPUs whose ring it is go. */
	pthread_mutex_lock(&vm->kept_lock);
	vm->kept = NULL;
	vm->keeps_config = false;
	pthread_mutex_unlock(&vm->kept_lock);
}

void vm_ports_finish(struct vm *vm)
{
	serial_finish(&vm->serial);
	rtc_finish(&vm->rtc);
	acpi_pm_finish(&vm->pm);
	pthread_mutex_destroy(&vm->ports_lock);
	pthread_mutex_destroy(&vm->kept_lock);
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
	case PORT_PANIC:
		value = PANIC_PANICKED | PANIC_CRASH_LOADED; /* what may be told */
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
	bool power = write && port >= PORT_PM && port < PORT_PM + PORT_PM_SIZE;
	/*
	 * The data ports of indexes that may have been kept, and the indexes themselves when the ring was full. And what may switch the machine off: a
	 * reset that was written before comes first.
	 */
	if ((port >= PORT_RTC && port <= PORT_RTC + 1) || (port >= PORT_PCI_ADDRESS && port < PORT_PCI_DATA + 4) || power)
		vm_ports_take_kept(vm);
	port_access(vm, port, data, size, write);
}

static void port_access(struct vm *vm, uint16_t port, void *data, uint32_t size, bool write)
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
