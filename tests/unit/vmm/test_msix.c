/* MSI-X: masks, pending bits and messages, and which of these become routes of the hypervisor's (row P2). */
#include "pci_fixture.h"
#include "unit.h"

static void setup(void)
{
	open_msix(&host_ops);
}

START_TEST(msix_delivery)
{
	ck_assert_uint_eq(ecam_read(3, 0x42, 2), 0x8003);
	ck_assert_uint_eq(msix_read(0x1c, 4), 1);
	msix_write(0x10, 0xfee01000, 4);
	msix_write(0x14, 0, 4);
	msix_write(0x18, 0x41, 4);
	msix_signal(&a.pci, 1);
	ck_assert_uint_eq(taken(1), 0);
	ck_assert_uint_eq(host.routes, 0);
	ck_assert_uint_eq(msix_read(0x1000, 8), 2);
	msix_write(0x1c, 0, 4);
	ck_assert_uint_eq(msix_read(0x1000, 8), 0);
	ck_assert_uint_eq(taken(1), 1);
	ck_assert_uint_eq(host.address, 0xfee01000);
	ck_assert_uint_eq(host.data, 0x41);
	ck_assert_int_eq(host.fd, a.pci.msix.vector[1].event_fd);
	msix_signal(&a.pci, 1);
	ck_assert_uint_eq(taken(1), 1);
	ck_assert_uint_eq(host.routes, 1);
	/* a new message becomes one route, at the next interrupt */
	for (unsigned i = 0; i < 1000; i++)
		msix_write(0x18, i, 4);
	ck_assert_uint_eq(host.routes, 1);
	msix_signal(&a.pci, 1);
	ck_assert_uint_eq(host.routes, 2);
	ck_assert_uint_eq(host.data, 999);
	/* masking in the function holds everything back, unmasking lets it go */
	taken(1);
	ecam_write(3, 0x42, 0xc000, 2);
	msix_signal(&a.pci, 1);
	msix_signal(&a.pci, 1);
	ck_assert_uint_eq(taken(1), 0);
	ecam_write(3, 0x42, 0x8000, 2);
	ck_assert_uint_eq(taken(1), 1);
	ecam_write(3, 0x42, 0, 2);
	msix_signal(&a.pci, 1);
	ecam_write(3, 0x42, 0x8000, 2);
	ck_assert_uint_eq(taken(1), 0);
	/* out of range */
	msix_signal(&a.pci, 4);
	msix_signal(&a.pci, UINT32_MAX);
	ck_assert_uint_eq(a.reads + a.writes, 0);
}
END_TEST

/* A host that also sends single messages: only a message that stays becomes a route. */
static unsigned sends;

static int msi_send(void *opaque, uint64_t address, uint32_t data)
{
	(void)opaque;
	host.address = address;
	host.data = data;
	sends++;
	return 0;
}

static const struct pci_host_ops sending_ops = { .msi_route = msi_route, .msi_unroute = msi_unroute, .msi_send = msi_send };

START_TEST(msix_routes_are_few) /* P2 */
{
	teardown();
	open_msix(&sending_ops);
	sends = 0;
	msix_write(0x14, 0, 4);
	msix_write(0x1c, 0, 4);
	/* A new message before every interrupt: never a change of routes, and the message is always the newest. */
	for (unsigned i = 0; i < 1000; i++) {
		msix_write(0x10, 0xfee00000 | (i & 0xff) << 12, 4);
		msix_write(0x18, i, 4);
		msix_signal(&a.pci, 1);
		ck_assert_uint_eq(host.data, i);
		ck_assert_uint_eq(host.address, 0xfee00000 | (i & 0xff) << 12);
	}
	ck_assert_uint_eq(host.routes, 0);
	ck_assert_uint_eq(sends, 1000);
	ck_assert_uint_eq(taken(1), 0);
	/* One that stays becomes a route. */
	for (unsigned i = 0; i < 100; i++)
		msix_signal(&a.pci, 1);
	ck_assert_uint_eq(host.routes, 1);
	ck_assert_uint_eq(sends + taken(1), 1100);
	ck_assert_uint_lt(sends, 1010);
	/* After a change the old route is not used, and writing what is there already is no change. */
	sends = 0;
	msix_write(0x18, 7, 4);
	msix_signal(&a.pci, 1);
	ck_assert_uint_eq(taken(1), 0);
	ck_assert_uint_eq(sends, 1);
	for (unsigned i = 0; i < 100; i++) {
		msix_write(0x18, 7, 4);
		msix_signal(&a.pci, 1);
	}
	ck_assert_uint_eq(host.routes, 2);
	ck_assert_uint_eq(host.data, 7);
	ck_assert_uint_eq(sends + taken(1), 101);
}
END_TEST

START_TEST(msix_refused_by_the_host_stays_pending)
{
	msix_write(0x10, 0xfee00000, 8);
	msix_write(0x1c, 0, 4);
	host.fail = true;
	msix_signal(&a.pci, 1);
	ck_assert_uint_eq(msix_read(0x1000, 8), 2);
	host.fail = false;
	msix_write(0x1c, 0, 4);
	ck_assert_uint_eq(taken(1), 1);
	ck_assert_uint_eq(msix_read(0x1000, 8), 0);
}
END_TEST

START_TEST(msix_access_widths)
{
	msix_write(0, 0x12345678fee02003ull, 8);
	ck_assert_uint_eq(msix_read(0, 8), 0x12345678fee02000ull);
	ck_assert_uint_eq(msix_read(4, 4), 0x12345678);
	msix_write(8, 0x0000000000000033ull, 8);
	ck_assert_uint_eq(msix_read(8, 8), 0x33);
	/* bytes, words and unaligned accesses change nothing and read zero */
	msix_write(8, 0xff, 1);
	msix_write(8, 0xffff, 2);
	msix_write(6, 0xffffffff, 4);
	msix_write(4, UINT64_MAX, 8);
	ck_assert_uint_eq(msix_read(8, 4), 0x33);
	ck_assert_uint_eq(msix_read(4, 4), 0x12345678);
	ck_assert_uint_eq(msix_read(6, 4), 0);
	ck_assert_uint_eq(msix_read(8, 1), 0);
	/* the PBA is read-only */
	msix_write(0x1000, UINT64_MAX, 8);
	ck_assert_uint_eq(msix_read(0x1000, 8), 0);
	/* an address outside the APICs' range, or a route that fails, injects nothing */
	msix_signal(&a.pci, 0);
	ck_assert_uint_eq(taken(0), 0);
	ck_assert_uint_eq(host.routes, 0);
	msix_write(0, 0xfee00000, 8);
	host.fail = true;
	msix_signal(&a.pci, 0);
	ck_assert_uint_eq(taken(0), 0);
	host.fail = false;
	msix_signal(&a.pci, 0);
	ck_assert_uint_eq(taken(0), 1);
	/* past the table it is the device's again */
	uint32_t value = 0;
	ck_assert(pci_mmio(bus, table + 4 * 16, &value, 4, false));
	ck_assert_uint_eq(a.reads, 1);
}
END_TEST

START_TEST(msix_init_limits)
{
	struct pci_device device;
	pci_device_init(&device, &device_ops, "c", 1, 2, 0, 0, 0, 0);
	pci_add_bar(&device, 0, 0x1000, false, false);
	ck_assert_int_eq(msix_init(&device, 0, 0xff8, 0, 1), -1);
	ck_assert_int_eq(msix_init(&device, 0, 0, 0x1000, 1), -1);
	ck_assert_int_eq(msix_init(&device, 0, 0, 0x800, 0), -1);
	ck_assert_int_eq(msix_init(&device, 0, 0, 0x800, MSIX_VECTORS + 1), -1);
	ck_assert_int_eq(msix_init(&device, 1, 0, 0x800, 1), -1);
	ck_assert_int_eq(msix_init(&device, 0, 0, 0x800, MSIX_VECTORS), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("msix");
	TCase *c = tcase_create("msix");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, msix_delivery);
	tcase_add_test(c, msix_routes_are_few);
	tcase_add_test(c, msix_refused_by_the_host_stays_pending);
	tcase_add_test(c, msix_access_widths);
	tcase_add_test(c, msix_init_limits);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
