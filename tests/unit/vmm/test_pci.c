/* The PCI bus: configuration space by both ways, BARs that are sized, decoded and moved (row P1), reset, attaching. */
#include "pci_fixture.h"
#include "unit.h"

static void setup(void)
{
	open_bus(&host_ops);
}

static uint32_t port_read(uint32_t slot, uint32_t reg)
{
	uint32_t address = 0x80000000u | slot << 11 | (reg & 0xfc), value = 0;
	ck_assert(pci_port(bus, 0xcf8, &address, 4, true));
	ck_assert(pci_port(bus, (uint16_t)(0xcfc + (reg & 3)), &value, 4 - (reg & 3), false));
	return value;
}

static void set_bar0(uint32_t slot, uint64_t gpa)
{
	ecam_write(slot, 0x10, (uint32_t)gpa, 4);
	ecam_write(slot, 0x14, (uint32_t)(gpa >> 32), 4);
}

START_TEST(config_space)
{
	ck_assert_uint_eq(ecam_read(0, 0, 4), 0x29c08086);
	ck_assert_uint_eq(port_read(0, 0), 0x29c08086);
	ck_assert_uint_eq(ecam_read(0, 0x60, 4), LAYOUT_ECAM | 1);
	ck_assert_uint_eq(ecam_read(3, 0, 4), 0x10501af4);
	ck_assert_uint_eq(ecam_read(3, 8, 4), 0x03800001);
	ck_assert_uint_eq(port_read(3, 2), 0x1050);
	/* nobody there, other functions, extended space, the LPC bridge's place */
	ck_assert_uint_eq(ecam_read(5, 0, 4), 0xffffffff);
	ck_assert_uint_eq(ecam_read(31, 0, 4), 0xffffffff);
	ck_assert_uint_eq(ecam_read(3, 0x1000, 4), 0xffffffff);
	ck_assert_uint_eq(ecam_read(3, 0x100, 4), 0);
	/* ids, revision and capability pointer do not change */
	ecam_write(3, 0, 0, 4);
	ecam_write(3, 8, 0, 4);
	ecam_write(3, 0x34, 0, 4);
	ck_assert_uint_eq(ecam_read(3, 0, 4), 0x10501af4);
	ck_assert_uint_eq(ecam_read(3, 0x34, 1), 0x40);
	ck_assert_uint_eq(ecam_read(3, 0x06, 2) & 0x10, 0x10);
	ck_assert_uint_eq(ecam_read(3, 0x40, 1), 0x11);
	/* a disabled 0xcf8 answers nothing */
	uint32_t address = 3 << 11, value = 0;
	ck_assert(pci_port(bus, 0xcf8, &address, 4, true));
	ck_assert(pci_port(bus, 0xcfc, &value, 4, false));
	ck_assert_uint_eq(value, 0xffffffff);
	/* accesses past the end of the data port or bytes of the address port are nobody's */
	ck_assert(!pci_port(bus, 0xcfe, &value, 4, false));
	ck_assert(!pci_port(bus, 0xcf8, &value, 1, false));
	/* unaligned, at the end of config space */
	ck_assert_uint_eq(ecam_read(3, 0xfe, 4), 0);
	ecam_write(3, 0xffe, 0, 4);
}
END_TEST

START_TEST(sizing_and_default_addresses)
{
	uint64_t first = bar0(3), second = bar0(4);
	ck_assert_uint_ge(first, WINDOW64);
	ck_assert_uint_ne(first, second);
	ck_assert_uint_eq(first % 0x4000, 0);
	ck_assert_uint_eq(ecam_read(3, 0x10, 4) & 0xf, 4);
	ck_assert_uint_ge(ecam_read(3, 0x18, 4), LAYOUT_MMIO32);
	ck_assert_uint_eq(a.moves, 0);
	set_bar0(3, UINT64_MAX);
	ck_assert_uint_eq(bar0(3), ~0x3fffull);
	ecam_write(3, 0x18, 0xffffffff, 4);
	ck_assert_uint_eq(ecam_read(3, 0x18, 4), 0xfffff000);
	ecam_write(3, 0x1c, 0xffffffff, 4);
	ck_assert_uint_eq(ecam_read(3, 0x1c, 4), 0);
}
END_TEST

START_TEST(decode_and_access)
{
	uint64_t gpa = bar0(3);
	uint32_t value = 0;
	ck_assert(!pci_mmio(bus, gpa, &value, 4, false));
	ck_assert_uint_eq(value, 0xffffffff);
	ecam_write(3, 4, 6, 2);
	ck_assert_uint_eq(a.moved_to[0], gpa);
	ck_assert(pci_mmio(bus, gpa + 0x10, &value, 4, false));
	ck_assert_uint_eq(value, 0xa5a5a5a5);
	ck_assert_uint_eq(a.last_offset, 0x10);
	ck_assert(pci_mmio(bus, gpa + 0x1001, &value, 2, true));
	ck_assert_uint_eq(a.last_offset, 0x1001);
	/* across the end: nobody's */
	uint64_t wide = 0;
	ck_assert(!pci_mmio(bus, gpa + 0x3ffc, &wide, 8, false));
	ck_assert_uint_eq(wide, UINT64_MAX);
	ecam_write(3, 4, 0, 2);
	ck_assert_uint_eq(a.moved_to[0], PCI_BAR_UNMAPPED);
	ck_assert(!pci_mmio(bus, gpa, &value, 4, false));
}
END_TEST

/* P1: a move is done whole or not at all. */
START_TEST(moves)
{
	uint32_t value;
	static const uint64_t bad[] = {
		0, 0x100000, LAYOUT_ECAM, LAYOUT_ECAM - 0x4000 + 0x8000, LAYOUT_LAPIC, LAYOUT_IOAPIC, LAYOUT_HIGH_RAM,
		WINDOW64 - 0x4000, WINDOW64 + (1ull << 34), UINT64_MAX, 0xfffffffffffc000ull, LAYOUT_TSS & ~0x3fffull,
	};
	ecam_write(3, 4, 2, 2);
	ecam_write(4, 4, 2, 2);
	uint64_t other = bar0(4);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set_bar0(3, bad[i]);
		ck_assert_msg(a.moved_to[0] == PCI_BAR_UNMAPPED, "row %zu: decoded at %#llx", i, (unsigned long long)a.moved_to[0]);
		ck_assert_msg(!pci_mmio(bus, bar0(3), &value, 4, false) || (bar0(3) >= LAYOUT_ECAM && bar0(3) < LAYOUT_ECAM + LAYOUT_ECAM_SIZE),
			"row %zu", i);
	}
	/* good: 32-bit window, then back above */
	set_bar0(3, LAYOUT_MMIO32 + 0x100000);
	ck_assert_uint_eq(a.moved_to[0], LAYOUT_MMIO32 + 0x100000);
	set_bar0(3, WINDOW64 + 0x40000000);
	ck_assert_uint_eq(a.moved_to[0], WINDOW64 + 0x40000000);
	/* onto another BAR: the one there stays, ours waits */
	set_bar0(3, other);
	ck_assert_uint_eq(a.moved_to[0], PCI_BAR_UNMAPPED);
	ck_assert_uint_eq(b.moved_to[0], other);
	ck_assert(pci_mmio(bus, other, &value, 4, false));
	ck_assert_uint_eq(b.reads, 1);
	ck_assert_uint_eq(a.reads, 0);
	/* the place becomes free: ours is decoded there */
	set_bar0(4, WINDOW64 + 0x10000000);
	ck_assert_uint_eq(a.moved_to[0], other);
	ck_assert_uint_eq(b.moved_to[0], WINDOW64 + 0x10000000);
	/* two BARs of one device collide */
	ecam_write(3, 0x18, LAYOUT_MMIO32 + 0x200000, 4);
	set_bar0(3, LAYOUT_MMIO32 + 0x200000);
	ck_assert_uint_eq(a.moved_to[2], LAYOUT_MMIO32 + 0x200000);
	ck_assert_uint_eq(a.moved_to[0], PCI_BAR_UNMAPPED);
	/* partial writes of a register are evaluated like any other */
	ecam_write(3, 0x1b, 0xd0, 1);
	ck_assert_uint_eq(a.moved_to[2], 0xd0200000);
	ck_assert_uint_eq(a.moved_to[0], LAYOUT_MMIO32 + 0x200000);
}
END_TEST

START_TEST(reset_restores)
{
	uint64_t gpa = bar0(3);
	ecam_write(3, 4, 6, 2);
	set_bar0(3, LAYOUT_MMIO32 + 0x100000);
	ecam_write(3, 0x42, 0x8000, 2);
	ecam_write(3, 0x3c, 0x55, 1);
	pci_bus_reset(bus);
	ck_assert_uint_eq(bar0(3), gpa);
	ck_assert_uint_eq(ecam_read(3, 4, 2), 0);
	ck_assert_uint_eq(ecam_read(3, 0x3c, 1), 0);
	ck_assert_uint_eq(ecam_read(3, 0x42, 2), 3);
	ck_assert_uint_eq(a.moved_to[0], PCI_BAR_UNMAPPED);
	msix_signal(&a.pci, 0);
	ck_assert(!a.pci.msix.vector[0].pending);
}
END_TEST

START_TEST(attach_rules)
{
	struct test_device c;
	init_device(&c, "c");
	ck_assert_int_eq(pci_attach(bus, &c.pci, 3), -1);
	ck_assert_int_eq(errno, EBUSY);
	ck_assert_int_eq(pci_attach(bus, &c.pci, 0), -1);
	ck_assert_int_eq(pci_attach(bus, &c.pci, 32), -1);
	pci_detach(&a.pci);
	ck_assert_uint_eq(ecam_read(3, 0, 4), 0xffffffff);
	ck_assert_int_eq(pci_attach(bus, &c.pci, 3), 0);
	pci_detach(&c.pci);
	/* a BAR that fits nowhere */
	pci_device_init(&c.pci, &device_ops, "big", 1, 2, 0, 0, 0, 0);
	pci_add_bar(&c.pci, 0, 1ull << 30, false, false);
	ck_assert_int_eq(pci_attach(bus, &c.pci, 5), -1);
	ck_assert_int_eq(errno, ENOSPC);
	/* capabilities run out of room instead of over the end */
	uint8_t body[62] = { 0 };
	unsigned n = 0;
	while (pci_add_capability(&c.pci, 9, body, 64))
		n++;
	ck_assert_uint_eq(n, 3);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pci");
	TCase *c = tcase_create("bus");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, config_space);
	tcase_add_test(c, sizing_and_default_addresses);
	tcase_add_test(c, decode_and_access);
	tcase_add_test(c, moves);
	tcase_add_test(c, reset_restores);
	tcase_add_test(c, attach_rules);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
