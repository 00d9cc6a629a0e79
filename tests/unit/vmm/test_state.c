/* Save and load of the bus and the legacy devices, through the table that a VM gives. */
#include <errno.h>
#include <stdio.h>

#include "state_check.h"
#include "unit.h"
#include "vmm/layout.h"
#include "vmm/vm_internal.h"

#define WINDOW64 0x4000000000ull

static int msi_route(void *host, uint32_t gsi, uint64_t address, uint32_t data, int event_fd)
{
	(void)host, (void)gsi, (void)address, (void)data, (void)event_fd;
	return 0;
}

static int msi_unroute(void *host, uint32_t gsi, int event_fd)
{
	(void)host, (void)gsi, (void)event_fd;
	return 0;
}

static int msi_send(void *host, uint64_t address, uint32_t data)
{
	(void)host, (void)address, (void)data;
	return 0;
}

static const struct pci_host_ops host_ops = { .msi_route = msi_route, .msi_unroute = msi_unroute, .msi_send = msi_send };

/* A VM without a KVM: interrupts go nowhere. */
struct machine {
	struct vm *vm;
	struct pci_device device[2];
	struct state_table table;
};

static struct machine one, two;

static void make(struct machine *machine)
{
	const struct pci_windows windows = {
		.mmio32_base = LAYOUT_MMIO32, .mmio32_size = LAYOUT_MMIO32_SIZE, .mmio64_base = WINDOW64,
		.mmio64_size = 1ull << 34, .ecam_base = LAYOUT_ECAM, .ecam_size = LAYOUT_ECAM_SIZE,
	};
	memset(machine, 0, sizeof(*machine));
	machine->vm = calloc(1, sizeof(*machine->vm));
	machine->vm->kvm.vm_fd = machine->vm->event_fd = -1;
	machine->vm->io_wake_fd = machine->vm->io_timer_fd = machine->vm->io_stop_fd = -1;
	vm_ports_init(machine->vm);
	machine->vm->pci = pci_bus_create(&host_ops, NULL, &windows);
	for (uint8_t i = 0; i < 2; i++) {
		struct pci_device *device = &machine->device[i];
		pci_device_init(device, NULL, "test", 0x1af4, 0x1050, 0x038000, 1, 0x1af4, 0x1100);
		pci_add_bar(device, 0, 0x4000, true, false);
		pci_add_bar(device, 2, 0x1000, false, false);
		ck_assert_int_eq(msix_init(device, 0, 0x2000, 0x3000, 3), 0);
		ck_assert_int_eq(pci_attach(machine->vm->pci, device, (uint8_t)(3 + i)), 0);
	}
	ck_assert(vm_state_table(machine->vm, &machine->table));
}

static void destroy(struct machine *machine)
{
	for (int i = 0; i < 2; i++)
		pci_detach(&machine->device[i]);
	pci_bus_destroy(machine->vm->pci);
	vm_ports_finish(machine->vm);
	free(machine->vm);
}

static void port(uint16_t number, uint8_t value)
{
	vm_port(one.vm, number, &value, 1, true);
}

static void ecam(uint32_t slot, uint32_t reg, uint32_t value, uint32_t size)
{
	ck_assert(pci_mmio(one.vm->pci, LAYOUT_ECAM + (slot << 15) + reg, &value, size, true));
}

static void mmio(uint64_t gpa, uint32_t value)
{
	ck_assert(pci_mmio(one.vm->pci, gpa, &value, 4, true));
}

/* Every device far from its power-on state. */
static void setup(void)
{
	make(&one);
	make(&two);
	/* COM1: loopback sends what the guest writes back to it; interrupts on. */
	port(PORT_COM1 + 3, 0x80);
	port(PORT_COM1, 0x0c);
	port(PORT_COM1 + 1, 0x02);
	port(PORT_COM1 + 3, 0x03);
	port(PORT_COM1 + 2, 0x01);
	port(PORT_COM1 + 1, 0x03);
	port(PORT_COM1 + 4, 0x1b);
	port(PORT_COM1 + 7, 0x5a);
	for (int i = 0; i < 100; i++)
		port(PORT_COM1, (uint8_t)(i * 7));
	/* The clock: set to another year, an alarm, a byte of memory. */
	const uint8_t clock[][2] = { { 0x0b, 0xa6 }, { 0x09, 0x31 }, { 0x01, 0xc0 }, { 0x03, 0xc0 }, { 0x05, 0xff }, { 0x0b, 0x26 }, { 0x40, 0x77 } };
	for (size_t i = 0; i < sizeof(clock) / sizeof(clock[0]); i++) {
		port(PORT_RTC, clock[i][0]);
		port(PORT_RTC + 1, clock[i][1]);
	}
	rtc_tick(&one.vm->rtc, 1000000000);
	/* ACPI: a button pressed and asked for. */
	uint32_t enable = 0x0100;
	vm_port(one.vm, PORT_PM + 2, &enable, 2, true);
	acpi_pm_power_button(&one.vm->pm);
	/* Keyboard controller in the middle of a command, with an answer that waits. */
	port(PORT_I8042_COMMAND, 0xaa);
	port(PORT_I8042_COMMAND, 0x60);
	port(PORT_RESET, 0x02);
	/* BARs moved; one decoded, one that waits for the place of the other; vectors with messages, one pending. */
	for (uint32_t slot = 3; slot < 5; slot++) {
		ecam(slot, 0x10, LAYOUT_MMIO32 + 0x100000, 4);
		ecam(slot, 0x14, 0, 4);
		ecam(slot, 4, slot == 3 ? 6 : 2, 2);
		ecam(slot, 0x3c, 0x50 + slot, 1);
	}
	ecam(3, 0x42, 0x8000, 2);
	for (uint32_t i = 0; i < 3; i++) {
		mmio(LAYOUT_MMIO32 + 0x102000 + 16 * i, 0xfee00000 + 0x1000 * i);
		mmio(LAYOUT_MMIO32 + 0x102008 + 16 * i, 0x40 + i);
		mmio(LAYOUT_MMIO32 + 0x10200c + 16 * i, i == 1);
	}
	msix_signal(&one.device[0], 1);
	uint32_t address = 0x80001804;
	vm_port(one.vm, PORT_PCI_ADDRESS, &address, 4, true);
}

static void teardown(void)
{
	destroy(&one);
	destroy(&two);
}

START_TEST(each_device)
{
	ck_assert_uint_eq(one.table.n, 5);
	const struct state_device *device = &one.table.device[_i];
	unsigned refused = state_check(device, &two.table.device[_i], strcmp(device->name, "pci") != 0);
	/* Fields of a few values are not all there is: but each has some. */
	ck_assert_uint_gt(refused, 64);
}
END_TEST

START_TEST(whole_table)
{
	state_check_table(&one.table, &two.table);
}
END_TEST

static void raise_line(void *data, bool level)
{
	*(int *)data += level ? 1 : 100;
}

/* What is loaded works as it did, not only looks so. */
START_TEST(loaded_devices_work)
{
	static uint8_t file[65536];
	const char *refused;
	uint64_t size = state_save(&one.table, file, sizeof(file));
	ck_assert(size > 0 && size <= sizeof(file));
	ck_assert(!two.vm->serial.irq_level && !two.vm->pm.sci_level && !two.vm->rtc.irq_level);
	int lines = 0;
	two.vm->serial.host.irq = two.vm->pm.host.sci = two.vm->rtc.host.irq = raise_line;
	two.vm->serial.host.data = two.vm->pm.host.data = &lines;
	two.vm->rtc.host.tick = raise_line; /* and the tick is wanted */
	two.vm->rtc.host.data = &lines;
	ck_assert(state_load(&two.table, file, size, &refused));
	ck_assert_int_eq(lines, 4);
	/* Lines that were up are up, and the clock ticks on. */
	ck_assert(two.vm->serial.irq_level && two.vm->pm.sci_level && two.vm->rtc.irq_level && two.vm->rtc.ticking);
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(serial_read(&two.vm->serial, 0), (uint8_t)(i * 7));
	ck_assert_uint_eq(serial_read(&two.vm->serial, 5) & 1, 0);
	ck_assert_int_eq(two.vm->rtc.offset_s, one.vm->rtc.offset_s);
	/* The second BAR still waits, and takes the place when it is free. */
	ck_assert_uint_eq(two.device[0].bar[0].gpa, LAYOUT_MMIO32 + 0x100000);
	ck_assert_uint_eq(two.device[1].bar[0].gpa, PCI_BAR_UNMAPPED);
	uint32_t value = 0;
	ck_assert(pci_mmio(two.vm->pci, LAYOUT_MMIO32 + 0x103000, &value, 4, false));
	ck_assert_uint_eq(value, 2);
	ck_assert(pci_mmio(two.vm->pci, LAYOUT_MMIO32 + 0x10201c, &(uint32_t){ 0 }, 4, true));
	ck_assert(!two.device[0].msix.vector[1].pending);
	ck_assert(pci_mmio(two.vm->pci, LAYOUT_ECAM + (3 << 15) + 4, &(uint32_t){ 0 }, 2, true));
	ck_assert_uint_eq(two.device[1].bar[0].gpa, LAYOUT_MMIO32 + 0x100000);
}
END_TEST

/* A BAR that is said to be decoded where it cannot be, MSI-X of another size, a slot without a device. */
START_TEST(bus_that_cannot_be)
{
	const struct state_device *row = &two.table.device[0];
	struct state_bytes file = state_bytes_of(&one.table.device[0]);
	const uint32_t slot_size = 8 + 256 + 16 * MSIX_VECTORS, slot3 = 24 + 3 * slot_size;
	const struct {
		uint32_t at;
		uint8_t value;
	} bad[] = {
		{ slot3 + slot_size + 1, 5 },  /* slot 4: decoded on top of slot 3 */
		{ slot3 + 1, 2 },              /* a BAR that there is not */
		{ slot3 + 1, 0x40 },           /* nor this one */
		{ slot3 + 8 + 0x13, 0x01 },    /* decoded in RAM */
		{ slot3 + 8 + 4, 0 },          /* decoded without being enabled */
		{ slot3 + 8 + 0x42, 7 },       /* eight vectors */
		{ slot3 + 4, 4 },
		{ slot3, 0 }, { slot3, 2 },
		{ 24 + 7 * slot_size, 1 },     /* nobody is there */
		{ slot3 + 8 + 256 + 3 * 16, 1 }, /* nor has anybody so many vectors */
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t was = file.at[bad[i].at];
		ck_assert_uint_ne(was, bad[i].value);
		file.at[bad[i].at] = bad[i].value;
		ck_assert_msg(!row->load(row->device, file.at, file.size), "row %zu", i);
		state_assert_reset(row);
		file.at[bad[i].at] = was;
	}
	ck_assert(row->load(row->device, file.at, file.size));
	free(file.at);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("state");
	TCase *tc = tcase_create("state");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, each_device, 0, 5);
	tcase_add_test(tc, whole_table);
	tcase_add_test(tc, loaded_devices_work);
	tcase_add_test(tc, bus_that_cannot_be);
	suite_add_tcase(suite, tc);
	return suite;
}

UNIT_MAIN(make_suite)
