#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"
#include "vmm/layout.h"
#include "vmm/pci.h"

#define WINDOW64 0x4000000000ull

/* The hypervisor's side, recorded. */
static struct {
	unsigned routes, unroutes;
	uint64_t address;
	uint32_t data, gsi;
	int fd;
	bool fail;
} host;

static int msi_route(void *opaque, uint32_t gsi, uint64_t address, uint32_t data, int event_fd)
{
	(void)opaque;
	if (host.fail) {
		errno = ENOSPC;
		return -1;
	}
	host.routes++;
	host.gsi = gsi;
	host.address = address;
	host.data = data;
	host.fd = event_fd;
	return 0;
}

static int msi_unroute(void *opaque, uint32_t gsi, int event_fd)
{
	(void)opaque, (void)gsi, (void)event_fd;
	host.unroutes++;
	return 0;
}

static const struct pci_host_ops host_ops = { .msi_route = msi_route, .msi_unroute = msi_unroute };

struct test_device {
	struct pci_device pci;
	uint64_t moved_to[PCI_BARS];
	unsigned moves;
	uint64_t last_offset;
	uint32_t last_size;
	unsigned reads, writes;
};

static void bar_read(struct pci_device *pci, int bar, uint64_t offset, void *data, uint32_t size)
{
	struct test_device *device = (struct test_device *)pci;
	(void)bar;
	device->reads++;
	device->last_offset = offset;
	device->last_size = size;
	memset(data, 0xa5, size);
}

static void bar_write(struct pci_device *pci, int bar, uint64_t offset, const void *data, uint32_t size)
{
	struct test_device *device = (struct test_device *)pci;
	(void)bar, (void)data;
	device->writes++;
	device->last_offset = offset;
	device->last_size = size;
}

static void bar_moved(struct pci_device *pci, int bar, uint64_t gpa)
{
	struct test_device *device = (struct test_device *)pci;
	device->moved_to[bar] = gpa;
	device->moves++;
}

static const struct pci_device_ops device_ops = { .bar_read = bar_read, .bar_write = bar_write, .bar_moved = bar_moved };

static struct pci_bus *bus;
static struct test_device a, b;

static void init_device(struct test_device *device, const char *name)
{
	memset(device, 0, sizeof(*device));
	pci_device_init(&device->pci, &device_ops, name, 0x1af4, 0x1050, 0x038000, 1, 0x1af4, 0x1100);
	pci_add_bar(&device->pci, 0, 0x4000, true, false);
	pci_add_bar(&device->pci, 2, 0x1000, false, false);
	ck_assert_int_eq(msix_init(&device->pci, 0, 0x2000, 0x3000, 4), 0);
}

static void setup(void)
{
	memset(&host, 0, sizeof(host));
	struct pci_windows windows = {
		.mmio32_base = LAYOUT_MMIO32, .mmio32_size = LAYOUT_MMIO32_SIZE, .mmio64_base = WINDOW64,
		.mmio64_size = 1ull << 34, .ecam_base = LAYOUT_ECAM, .ecam_size = LAYOUT_ECAM_SIZE,
	};
	bus = pci_bus_create(&host_ops, NULL, &windows);
	ck_assert_ptr_nonnull(bus);
	init_device(&a, "a");
	init_device(&b, "b");
	ck_assert_int_eq(pci_attach(bus, &a.pci, 3), 0);
	ck_assert_int_eq(pci_attach(bus, &b.pci, 4), 0);
}

static void teardown(void)
{
	pci_detach(&a.pci);
	pci_detach(&b.pci);
	pci_bus_destroy(bus);
}

static uint32_t ecam_read(uint32_t slot, uint32_t reg, uint32_t size)
{
	uint32_t value = 0;
	ck_assert(pci_mmio(bus, LAYOUT_ECAM + (slot << 15) + reg, &value, size, false));
	return value;
}

static void ecam_write(uint32_t slot, uint32_t reg, uint32_t value, uint32_t size)
{
	ck_assert(pci_mmio(bus, LAYOUT_ECAM + (slot << 15) + reg, &value, size, true));
}

static uint32_t port_read(uint32_t slot, uint32_t reg)
{
	uint32_t address = 0x80000000u | slot << 11 | (reg & 0xfc), value = 0;
	ck_assert(pci_port(bus, 0xcf8, &address, 4, true));
	ck_assert(pci_port(bus, (uint16_t)(0xcfc + (reg & 3)), &value, 4 - (reg & 3), false));
	return value;
}

static uint64_t bar0(uint32_t slot)
{
	return (ecam_read(slot, 0x10, 4) & ~0xfull) | (uint64_t)ecam_read(slot, 0x14, 4) << 32;
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

/* --- MSI-X --- */

static uint64_t table;

static void msix_write(uint32_t offset, uint64_t value, uint32_t size)
{
	ck_assert(pci_mmio(bus, table + offset, &value, size, true));
}

static uint64_t msix_read(uint32_t offset, uint32_t size)
{
	uint64_t value = 0;
	ck_assert(pci_mmio(bus, table + offset, &value, size, false));
	return value;
}

/* Interrupts injected for `vector` since the last call. */
static uint64_t taken(uint32_t vector)
{
	uint64_t n = 0;
	return read(a.pci.msix.vector[vector].event_fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void msix_setup(void)
{
	setup();
	ecam_write(3, 4, 6, 2);
	table = bar0(3) + 0x2000;
	ecam_write(3, 0x42, 0x8000, 2);
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

static void replace_bus(const struct pci_host_ops *ops)
{
	const struct pci_windows windows = {
		.mmio32_base = LAYOUT_MMIO32, .mmio32_size = LAYOUT_MMIO32_SIZE, .mmio64_base = WINDOW64,
		.mmio64_size = 1ull << 34, .ecam_base = LAYOUT_ECAM, .ecam_size = LAYOUT_ECAM_SIZE,
	};
	teardown();
	bus = pci_bus_create(ops, NULL, &windows);
	init_device(&a, "a");
	init_device(&b, "b");
	ck_assert_int_eq(pci_attach(bus, &a.pci, 3), 0);
	ck_assert_int_eq(pci_attach(bus, &b.pci, 4), 0);
	ecam_write(3, 4, 6, 2);
	table = bar0(3) + 0x2000;
	ecam_write(3, 0x42, 0x8000, 2);
}

START_TEST(msix_routes_are_few) /* P2 */
{
	replace_bus(&sending_ops);
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

/*
 * P2: vCPUs mask, rewrite and unmask vectors in a storm while the device signals. As a proper driver does, a vector is rewritten only while
 * masked, so that each interrupt must carry a message that belongs together; vector 3 is rewritten without manners. Each
 * signal waits for its interrupt: none is lost, none comes twice or from nowhere, and none arrives while the vector is masked.
 */
#define STORM_VECTORS 3
#define STORM_REWRITES 10000

static struct {
	pthread_mutex_t lock[STORM_VECTORS]; /* the guest's, around a rewrite */
	atomic_uint sent[STORM_VECTORS], taken[STORM_VECTORS], signalled[STORM_VECTORS];
	atomic_uint torn, routes, while_masked, rewrites;
	atomic_bool stop;
} storm;

static void check_message(uint64_t address, uint32_t data)
{
	if ((data & 0xff) < STORM_VECTORS && ((address >> 12) & 0xff) != ((data >> 8) & 0xff))
		storm.torn++;
}

static int storm_send(void *opaque, uint64_t address, uint32_t data)
{
	(void)opaque;
	check_message(address, data);
	if ((data & 0xff) < STORM_VECTORS)
		storm.sent[data & 0xff]++;
	return 0;
}

static int storm_route(void *opaque, uint32_t gsi, uint64_t address, uint32_t data, int event_fd)
{
	(void)opaque, (void)gsi, (void)event_fd;
	check_message(address, data);
	storm.routes++;
	return 0;
}

static const struct pci_host_ops storm_ops = { .msi_route = storm_route, .msi_unroute = msi_unroute, .msi_send = storm_send };

/* Interrupts of `vector` so far. */
static unsigned arrived(uint32_t vector)
{
	storm.taken[vector] += (unsigned)taken(vector);
	return storm.sent[vector] + storm.taken[vector];
}

static void pause_ns(long ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

static void *storm_vcpu(void *data)
{
	uint32_t seed = (uint32_t)(uintptr_t)data;
	while (!storm.stop) {
		seed = seed * 1664525 + 1013904223;
		uint32_t vector = (seed >> 16) % STORM_VECTORS, value = seed >> 24;
		uint64_t word = 0xfee00000ull | value << 12, message = vector | value << 8, one = 1, zero = 0;
		pthread_mutex_lock(&storm.lock[vector]);
		pci_mmio(bus, table + 16 * vector + 12, &one, 4, true);
		unsigned before = arrived(vector);
		/* Half of the time the message stays as it is. */
		if (seed & 0x8000) {
			pci_mmio(bus, table + 16 * vector, &word, 8, true);
			pci_mmio(bus, table + 16 * vector + 8, &message, 4, true);
		}
		if (arrived(vector) != before)
			storm.while_masked++;
		pci_mmio(bus, table + 16 * vector + 12, &zero, 4, true);
		pthread_mutex_unlock(&storm.lock[vector]);
		storm.rewrites++;
		if ((seed >> 8 & 15) == 0)
			pause_ns(100000); /* long enough for a message to become a route now and then */
	}
	return NULL;
}

static void *storm_rude(void *data)
{
	uint32_t seed = 99;
	(void)data;
	while (!storm.stop) {
		seed = seed * 1664525 + 1013904223;
		uint64_t value = seed & 0x100 ? 0xfee00003ull : (uint64_t)seed << 32 | seed;
		uint16_t control = 0x8000 | (uint16_t)(seed >> 17 & 0x4000);
		value = (value & ~0xffull) | 0xff; /* no vector of the others */
		pci_mmio(bus, table + 48 + (seed >> 20 & 8), &value, 8, true);
		pci_mmio(bus, LAYOUT_ECAM + (3 << 15) + 0x42, &control, 2, true);
		pci_mmio(bus, table + 0x1000, &value, 8, false);
		msix_signal(&a.pci, 3);
	}
	uint16_t control = 0x8000;
	pci_mmio(bus, LAYOUT_ECAM + (3 << 15) + 0x42, &control, 2, true);
	return NULL;
}

static void *storm_device(void *data)
{
	uint32_t vector = (uint32_t)(uintptr_t)data;
	for (unsigned i = 1; storm.rewrites < STORM_REWRITES; i++) {
		storm.signalled[vector] = i;
		msix_signal(&a.pci, vector);
		for (unsigned waits = 0;; waits++) {
			pthread_mutex_lock(&storm.lock[vector]);
			unsigned count = arrived(vector);
			pthread_mutex_unlock(&storm.lock[vector]);
			if (count >= i)
				break;
			if (waits == 50000)
				return "lost";
			pause_ns(20000);
		}
	}
	return NULL;
}

START_TEST(msix_storm) /* P2 */
{
	replace_bus(&storm_ops);
	memset(&storm, 0, sizeof(storm));
	for (uint32_t i = 0; i < STORM_VECTORS; i++) {
		pthread_mutex_init(&storm.lock[i], NULL);
		msix_write(16 * i, 0xfee00000, 8);
		msix_write(16 * i + 8, i, 4);
		msix_write(16 * i + 12, 0, 4);
	}
	msix_write(60, 0, 4);
	pthread_t vcpu[3], device[STORM_VECTORS];
	pthread_create(&vcpu[0], NULL, storm_vcpu, (void *)1);
	pthread_create(&vcpu[1], NULL, storm_vcpu, (void *)2);
	pthread_create(&vcpu[2], NULL, storm_rude, NULL);
	for (uint32_t i = 0; i < STORM_VECTORS; i++)
		pthread_create(&device[i], NULL, storm_device, (void *)(uintptr_t)i);
	for (uint32_t i = 0; i < STORM_VECTORS; i++) {
		void *how;
		pthread_join(device[i], &how);
		ck_assert_msg(how == NULL, "vector %u: interrupt %u was lost", i, storm.signalled[i]);
	}
	storm.stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(vcpu[i], NULL);
	for (uint32_t i = 0; i < STORM_VECTORS; i++)
		ck_assert_uint_eq(arrived(i), storm.signalled[i]);
	ck_assert_uint_eq(storm.torn, 0);
	ck_assert_uint_eq(storm.while_masked, 0);
	/* Bounded by what the device does, not by what the guest does; and vector 3's nonsense counts too. */
	unsigned signals = storm.signalled[0] + storm.signalled[1] + storm.signalled[2];
	ck_assert_uint_gt(signals, 100);
	ck_assert_uint_le(storm.routes, signals / 8 + 1);
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
	c = tcase_create("msix");
	tcase_add_checked_fixture(c, msix_setup, teardown);
	tcase_add_test(c, msix_delivery);
	tcase_add_test(c, msix_routes_are_few);
	tcase_add_test(c, msix_storm);
	tcase_add_test(c, msix_refused_by_the_host_stays_pending);
	tcase_add_test(c, msix_access_widths);
	tcase_add_test(c, msix_init_limits);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
