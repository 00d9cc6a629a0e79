#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"

#define GUARD 0x100000ull
#define BAR_SIZE 0x8000ull
#define NOTIFY_AT 0x3000ull
#define MSIX_TABLE_AT 0x4000ull
#define STALL_NS (4 * NSEC_PER_SEC)
#define RUNS 100000 /* of a device without a thread, before it counts as stalled */

/* Common configuration (virtio 1.2, section 4.1.4.3) and status (2.1). */
enum { DRIVER_FEATURE_SELECT = 8, DRIVER_FEATURE = 12, STATUS = 20, QUEUE_SELECT = 22, QUEUE_SIZE = 24, QUEUE_VECTOR = 26, QUEUE_ENABLE = 28, QUEUE_DESC = 32 };
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };

const uint64_t guest_values[GUEST_N_VALUES] = {
	GUEST_LOW_SIZE, GUEST_LOW_SIZE - 1, GUEST_LOW_SIZE - 512, GUEST_HIGH, GUEST_HIGH + GUEST_HIGH_SIZE, GUEST_HIGH + GUEST_HIGH_SIZE - 512,
	GUEST_RINGS, GUEST_RINGS + GUEST_AVAIL, GUEST_RINGS + GUEST_USED, GUEST_SCRATCH, GUEST_DATA, GUEST_ECAM, GUEST_ECAM + 0x18000, GUEST_ECAM + 0xfffff,
	GUEST_WINDOW32, GUEST_WINDOW32 + GUEST_WINDOW_SIZE - BAR_SIZE, GUEST_WINDOW64, GUEST_WINDOW64 + BAR_SIZE, GUEST_WINDOW64 + 2 * BAR_SIZE,
	GUEST_WINDOW64 + GUEST_WINDOW_SIZE - BAR_SIZE, 0xfee00000, 0xfec00000, 0x3000, 0x4000, 0x4800, 0x80001800,
	1ull << 29, 1ull << 32, 1ull << 28, 1ull << 34, 1ull << 40,
};

/* --- RAM ------------------------------------------------------------------------------------------------------------ */

/* One mapping for all inputs: two regions of a memfd with inaccessible pages before, between and after them. */
static struct guest_memory ram = { .fd = -1 };

static void make_ram(void)
{
	if (ram.fd >= 0) {
		memset(ram.region[0].host, 0, GUEST_LOW_SIZE);
		memset(ram.region[1].host, 0, GUEST_HIGH_SIZE);
		return;
	}
	uint8_t *space = mmap(NULL, 3 * GUARD + GUEST_LOW_SIZE + GUEST_HIGH_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int fd = memfd_create("fuzz-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	FUZZ_CHECK(space != MAP_FAILED && fd >= 0 && ftruncate(fd, (off_t)(GUEST_LOW_SIZE + GUEST_HIGH_SIZE)) == 0 &&
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0, "no memory for the guest: %s", strerror(errno));
	uint8_t *low = space + GUARD, *high = low + GUEST_LOW_SIZE + GUARD;
	FUZZ_CHECK(mmap(low, GUEST_LOW_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0) == low &&
		mmap(high, GUEST_HIGH_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, (off_t)GUEST_LOW_SIZE) == high,
		"no memory for the guest: %s", strerror(errno));
	ram.fd = fd;
	ram.size = GUEST_LOW_SIZE + GUEST_HIGH_SIZE;
	ram.n_regions = 2;
	ram.region[0] = (struct guest_region){ .gpa = 0, .size = GUEST_LOW_SIZE, .fd_offset = 0, .host = low };
	ram.region[1] = (struct guest_region){ .gpa = GUEST_HIGH, .size = GUEST_HIGH_SIZE, .fd_offset = GUEST_LOW_SIZE, .host = high };
}

void guest_put(struct guest *guest, uint64_t gpa, const void *bytes, uint64_t size)
{
	guest_memory_write(&guest->memory, gpa, bytes, size);
}

/* --- the fake KVM ----------------------------------------------------------------------------------------------------- */

static bool refuses(struct guest *guest)
{
	if (guest->refuse == 0)
		return false;
	guest->refuse--;
	guest->refused++;
	errno = ENOSPC;
	return true;
}

static int msi_route(void *host, uint32_t gsi, uint64_t address, uint32_t data, int fd)
{
	struct guest *guest = host;
	(void)data;
	FUZZ_CHECK(address >> 20 == 0xfee, "an interrupt message to 0x%llx", (unsigned long long)address);
	FUZZ_CHECK(gsi >= 24 && fd >= 0, "route of interrupt %u, descriptor %d", gsi, fd);
	pthread_mutex_lock(&guest->lock);
	bool refused = refuses(guest);
	guest->injected++;
	pthread_mutex_unlock(&guest->lock);
	return refused ? -1 : 0;
}

static int msi_send(void *host, uint64_t address, uint32_t data)
{
	struct guest *guest = host;
	(void)data;
	FUZZ_CHECK(address >> 20 == 0xfee, "an interrupt message to 0x%llx", (unsigned long long)address);
	pthread_mutex_lock(&guest->lock);
	bool refused = refuses(guest);
	guest->injected++;
	pthread_mutex_unlock(&guest->lock);
	return refused ? -1 : 0;
}

static int msi_unroute(void *host, uint32_t gsi, int fd)
{
	(void)host;
	FUZZ_CHECK(gsi >= 24 && fd >= 0, "no route of interrupt %u, descriptor %d", gsi, fd);
	return 0;
}

static int ioeventfd(void *host, uint64_t gpa, uint32_t size, int fd, bool add)
{
	struct guest *guest = host;
	(void)size;
	int result = 0;
	pthread_mutex_lock(&guest->lock);
	uint32_t at = 0;
	while (at < guest->n_ioeventfds && !(guest->ioeventfd[at].gpa == gpa && guest->ioeventfd[at].fd == fd))
		at++;
	if (add) {
		FUZZ_CHECK(at == guest->n_ioeventfds, "the ioeventfd at 0x%llx is added twice", (unsigned long long)gpa);
		for (uint32_t i = 0; i < guest->n_ioeventfds; i++)
			FUZZ_CHECK(guest->ioeventfd[i].gpa != gpa, "two queues share the notification at 0x%llx", (unsigned long long)gpa);
		FUZZ_CHECK(gpa >= GUEST_WINDOW32 && gpa - GUEST_WINDOW32 < GUEST_WINDOW_SIZE ? true :
			gpa >= GUEST_WINDOW64 && gpa - GUEST_WINDOW64 < GUEST_WINDOW_SIZE, "an ioeventfd at 0x%llx, outside the windows", (unsigned long long)gpa);
		FUZZ_CHECK(guest->n_ioeventfds < GUEST_IOEVENTFDS, "too many ioeventfds");
		if (refuses(guest)) {
			result = -1;
		} else {
			guest->ioeventfd[at].gpa = gpa;
			guest->ioeventfd[at].fd = fd;
			guest->n_ioeventfds++;
		}
	} else if (at < guest->n_ioeventfds) {
		guest->ioeventfd[at] = guest->ioeventfd[--guest->n_ioeventfds];
	} else {
		/* One that was refused before may be taken back. */
		FUZZ_CHECK(guest->refused > 0, "no ioeventfd at 0x%llx to take back", (unsigned long long)gpa);
		result = -1;
		errno = ENOENT;
	}
	pthread_mutex_unlock(&guest->lock);
	return result;
}

static const struct pci_host_ops host_ops = { .msi_route = msi_route, .msi_send = msi_send, .msi_unroute = msi_unroute, .ioeventfd = ioeventfd };

void guest_init(struct guest *guest)
{
	memset(guest, 0, sizeof(*guest));
	make_ram();
	guest->memory = ram;
	guest->fds = fuzz_next_fd();
	pthread_mutex_init(&guest->lock, NULL);
	const struct pci_windows windows = {
		.mmio32_base = GUEST_WINDOW32, .mmio32_size = GUEST_WINDOW_SIZE, .mmio64_base = GUEST_WINDOW64, .mmio64_size = GUEST_WINDOW_SIZE,
		.ecam_base = GUEST_ECAM, .ecam_size = 0x100000,
	};
	guest->bus = pci_bus_create(&host_ops, guest, &windows);
	FUZZ_CHECK(guest->bus != NULL, "no bus");
}

void guest_finish(struct guest *guest)
{
	pci_bus_destroy(guest->bus);
	pthread_mutex_destroy(&guest->lock);
	int fd = fuzz_next_fd();
	FUZZ_CHECK(fd == guest->fds, "a descriptor leaked: the next is %d, was %d", fd, guest->fds);
}

/* --- accesses ------------------------------------------------------------------------------------------------------------ */

void guest_write(struct guest *guest, uint64_t gpa, uint64_t value, uint32_t size)
{
	pthread_mutex_lock(&guest->lock);
	for (uint32_t i = 0; i < guest->n_ioeventfds; i++) {
		if (guest->ioeventfd[i].gpa == gpa) {
			uint64_t one = 1;
			ssize_t n = write(guest->ioeventfd[i].fd, &one, sizeof(one));
			(void)n;
			pthread_mutex_unlock(&guest->lock);
			return;
		}
	}
	pthread_mutex_unlock(&guest->lock);
	pci_mmio(guest->bus, gpa, &value, size, true);
}

uint64_t guest_read(struct guest *guest, uint64_t gpa, uint32_t size)
{
	uint64_t value = 0;
	pci_mmio(guest->bus, gpa, &value, size, false);
	return value;
}

static uint64_t ecam(const struct guest *guest, uint32_t reg)
{
	return GUEST_ECAM + ((uint64_t)guest->slot << 15) + reg;
}

uint64_t guest_bar(struct guest *guest)
{
	return (guest_read(guest, ecam(guest, 0x10), 4) & ~0xfull) | guest_read(guest, ecam(guest, 0x14), 4) << 32;
}

static void set(struct guest *guest, uint32_t reg, uint64_t value, uint32_t size)
{
	guest_write(guest, guest_bar(guest) + reg, value, size);
}

/* The capability of this id in config space; 0: none. The guest may not change the list. */
static uint32_t capability(struct guest *guest, uint32_t id)
{
	uint32_t at = (uint32_t)guest_read(guest, ecam(guest, 0x34), 1);
	for (int i = 0; at != 0 && i < 48; i++) {
		if (guest_read(guest, ecam(guest, at), 1) == id)
			return at;
		at = (uint32_t)guest_read(guest, ecam(guest, at + 1), 1);
	}
	return 0;
}

static void enable_msix(struct guest *guest)
{
	uint32_t cap = capability(guest, 0x11);
	FUZZ_CHECK(cap != 0, "no MSI-X capability");
	for (uint32_t i = 0; i <= guest->device->n_queues; i++) {
		set(guest, (uint32_t)MSIX_TABLE_AT + 16 * i, 0xfee00000, 8);
		set(guest, (uint32_t)MSIX_TABLE_AT + 16 * i + 8, 0x40 + i, 8);
	}
	guest_write(guest, ecam(guest, cap + 2), 0x8000, 2);
}

void guest_attach(struct guest *guest, struct virtio_device *device, uint8_t slot)
{
	guest->device = device;
	guest->slot = slot;
	guest->transport = virtio_pci_create(device, guest->bus, slot, 0x00ff00);
	FUZZ_CHECK(guest->transport != NULL, "no transport");
	guest_write(guest, ecam(guest, 4), 0x6, 2);
	enable_msix(guest);
}

void guest_detach(struct guest *guest)
{
	virtio_pci_destroy(guest->transport);
	guest->transport = NULL;
	for (uint32_t q = 0; q < guest->device->n_queues; q++)
		for (uint32_t i = 0; i < guest->n_ioeventfds; i++)
			FUZZ_CHECK(guest->ioeventfd[i].fd != guest->device->kick_fd[q], "an ioeventfd stays behind");
}

/* --- rings --------------------------------------------------------------------------------------------------------------- */

static uint64_t rings_of(uint32_t queue)
{
	return GUEST_RINGS + queue * GUEST_RING_STRIDE;
}

static void *ring_at(struct guest *guest, uint64_t gpa)
{
	return guest_memory_at(&guest->memory, gpa, 16, GUEST_WRITE);
}

static uint16_t ring_size(struct guest *guest, uint32_t queue)
{
	uint16_t size = queue < guest->device->n_queues ? guest->device->queue[queue].size : 0;
	return size != 0 ? size : 1;
}

/* The guest's own CPUs may do this while the device reads. */
static void put_desc(struct guest *guest, uint32_t queue, uint16_t index, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	uint8_t *desc = ring_at(guest, rings_of(queue) + 16ull * (index % VIRTQ_MAX_SIZE));
	__atomic_store_n((uint64_t *)(void *)desc, addr, __ATOMIC_RELAXED);
	__atomic_store_n((uint32_t *)(void *)(desc + 8), len, __ATOMIC_RELAXED);
	__atomic_store_n((uint16_t *)(void *)(desc + 12), flags, __ATOMIC_RELAXED);
	__atomic_store_n((uint16_t *)(void *)(desc + 14), next, __ATOMIC_RELAXED);
}

static void offer(struct guest *guest, uint32_t queue, uint16_t head)
{
	uint16_t *avail = ring_at(guest, rings_of(queue) + GUEST_AVAIL);
	uint16_t index = __atomic_load_n(&avail[1], __ATOMIC_RELAXED);
	__atomic_store_n(&avail[2 + index % ring_size(guest, queue)], head, __ATOMIC_RELAXED);
	__atomic_store_n(&avail[1], (uint16_t)(index + 1), __ATOMIC_RELEASE);
}

void guest_add(struct guest *guest, uint32_t queue, const struct guest_buffer *buffers, uint32_t n)
{
	uint16_t size = ring_size(guest, queue), head = guest->next_desc[queue] % size;
	for (uint32_t i = 0; i < n; i++) {
		uint16_t at = guest->next_desc[queue] % size;
		guest->next_desc[queue] = (uint16_t)((at + 1) % size);
		put_desc(guest, queue, at, buffers[i].gpa, buffers[i].size, (uint16_t)((i + 1 < n ? 1 : 0) | (buffers[i].write ? 2 : 0)), guest->next_desc[queue]);
	}
	offer(guest, queue, head);
}

void guest_kick(struct guest *guest, uint32_t queue, uint32_t size)
{
	guest_write(guest, guest_bar(guest) + NOTIFY_AT + 4ull * queue, queue, size);
}

void guest_handshake(struct guest *guest, uint64_t features, uint16_t size, uint8_t without)
{
	const struct virtio_device *device = guest->device;
	memset(guest->next_desc, 0, sizeof(guest->next_desc));
	set(guest, STATUS, 0, 1);
	set(guest, STATUS, ACKNOWLEDGE | DRIVER, 1);
	uint64_t offered = device->device_features | 1ull << 29 | 1ull << 32;
	for (uint32_t half = 0; half < 2; half++) {
		set(guest, DRIVER_FEATURE_SELECT, half, 4);
		set(guest, DRIVER_FEATURE, (uint32_t)((features & offered) >> (32 * half)), 4);
	}
	set(guest, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK, 1);
	for (uint32_t q = 0; q < device->n_queues; q++) {
		if (q >= 8 || without & 1u << q)
			continue;
		memset(ring_at(guest, rings_of(q)), 0, GUEST_RING_STRIDE);
		set(guest, QUEUE_SELECT, q, 2);
		set(guest, QUEUE_SIZE, size, 2);
		set(guest, QUEUE_VECTOR, q + 1, 2);
		set(guest, QUEUE_DESC, rings_of(q), 8);
		set(guest, QUEUE_DESC + 8, rings_of(q) + GUEST_AVAIL, 8);
		set(guest, QUEUE_DESC + 16, rings_of(q) + GUEST_USED, 8);
		set(guest, QUEUE_ENABLE, 1, 2);
	}
	set(guest, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK, 1);
}

/* --- until nothing moves ---------------------------------------------------------------------------------------------------- */

static bool queue_quiet(const struct virtq *queue)
{
	if (!queue->enabled || queue->broken)
		return true;
	if (virtq_available(queue) > 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(queue->in_flight); i++)
		if (queue->in_flight[i] != 0)
			return false;
	return true;
}

/* Under the device's lock. Every chain that was taken is answered once. */
static bool quiet(struct guest *guest)
{
	const struct virtio_device *device = guest->device;
	if (!device->live || guest->paused)
		return true;
	for (uint32_t q = 0; q < device->n_queues; q++) {
		const struct virtq *queue = &device->queue[q];
		if (q < 32 && guest->lazy & 1u << q)
			continue;
		if (!queue_quiet(queue))
			return false;
		if (queue->enabled && !queue->broken)
			FUZZ_CHECK(queue->next_used == queue->next_avail, "queue %u: %u chains taken, %u answered", q, queue->next_avail, queue->next_used);
	}
	return true;
}

/* Under the device's lock. A notification, when the available index is another than at the last one. */
static void tell(struct virtio_device *device, uint32_t index, uint32_t *told)
{
	const struct virtq *queue = &device->queue[index];
	if (!queue->enabled || queue->broken)
		return;
	uint32_t now = __atomic_load_n((const uint16_t *)queue->avail + 1, __ATOMIC_RELAXED);
	if (now == *told)
		return;
	*told = now;
	uint64_t one = 1;
	ssize_t n = write(device->kick_fd[index], &one, sizeof(one));
	(void)n;
}

void guest_settle(struct guest *guest)
{
	struct virtio_device *device = guest->device;
	if (!guest->own_thread) {
		for (uint32_t q = 0; q < device->n_queues; q++) {
			uint64_t count;
			ssize_t n = read(device->kick_fd[q], &count, sizeof(count));
			if (n != sizeof(count))
				continue;
			uint32_t runs = 0;
			while (device->ops->run(device, q))
				FUZZ_CHECK(++runs < RUNS, "queue %u never ends", q);
		}
		return;
	}
	/*
	 * What was made available without a notification may wait for ever: notify all. So may what the device itself made available, when a request has it
	 * write into the ring: nobody tells it of that, so here each new index of a ring is told once.
	 */
	uint32_t told[VIRTIO_MAX_QUEUES];
	memset(told, 0xff, sizeof(told));
	uint64_t deadline = clock_now_ns() + STALL_NS;
	for (uint32_t turn = 0;; turn++) {
		pthread_mutex_lock(&device->lock);
		bool done = quiet(guest);
		for (uint32_t q = 0; !done && q < device->n_queues; q++)
			tell(device, q, &told[q]);
		pthread_mutex_unlock(&device->lock);
		if (done)
			return;
		FUZZ_CHECK(clock_now_ns() < deadline, "%s does not come to an end", device->name);
		if (turn < 20)
			sched_yield();
		else
			usleep(20);
	}
}

/* --- operations -------------------------------------------------------------------------------------------------------------- */

static void put_event(struct guest *guest, uint32_t queue, uint16_t event, uint32_t used)
{
	uint16_t *avail = ring_at(guest, rings_of(queue) + GUEST_AVAIL), size = ring_size(guest, queue);
	__atomic_store_n(&avail[2 + size], event, __ATOMIC_RELAXED);
	if (used != 0)
		__atomic_store_n((uint32_t *)ring_at(guest, rings_of(queue) + GUEST_USED), used, __ATOMIC_RELAXED);
}

static void do_msix(struct guest *guest, const struct fuzz_op *op)
{
	uint32_t entry = (uint32_t)MSIX_TABLE_AT + 16u * (op->a & 31);
	set(guest, entry, op->c, 4);
	set(guest, entry + 4, op->d >> 32, 4);
	set(guest, entry + 8, (uint32_t)op->d | (uint64_t)(op->b & 1) << 32, 8);
	if (op->b & 8)
		guest_write(guest, ecam(guest, capability(guest, 0x11) + 2), (op->b & 2 ? 0x8000u : 0) | (op->b & 4 ? 0x4000u : 0), 2);
}

static void do_move(struct guest *guest, const struct fuzz_op *op)
{
	if (op->a & 1)
		guest_write(guest, ecam(guest, 4), 0, 2);
	if (op->a & 2)
		guest_write(guest, ecam(guest, 0x10), op->d, 8);
	else {
		guest_write(guest, ecam(guest, 0x10), (uint32_t)op->d, 4);
		guest_write(guest, ecam(guest, 0x14), op->d >> 32, 4);
	}
	if (op->a & 1)
		guest_write(guest, ecam(guest, 4), 6, 2);
}

static void do_pause(struct guest *guest, bool pause)
{
	if (pause == guest->paused)
		return;
	guest->paused = pause;
	if (pause)
		virtio_pci_pause(guest->transport);
	else
		virtio_pci_resume(guest->transport);
}

static uint32_t state_save_one(struct guest *guest, bool bus, void *to, uint32_t size)
{
	return bus ? pci_save(guest->bus, to, size) : virtio_pci_save(guest->transport, to, size);
}

static bool state_load_one(struct guest *guest, bool bus, const void *from, uint32_t size)
{
	/* Of exactly its size, so that a byte too many is seen. */
	void *copy = malloc(size > 0 ? size : 1);
	FUZZ_CHECK(copy != NULL, "no memory");
	memcpy(copy, from, size);
	bool loaded = bus ? pci_load(guest->bus, copy, size) : virtio_pci_load(guest->transport, copy, size);
	free(copy);
	return loaded;
}

/* What was saved loads, and saves as the same bytes; anything else is refused or leaves a device that works. */
static void do_state(struct guest *guest, const struct fuzz_op *op)
{
	static uint8_t room[GUEST_STATE_MAX], again[GUEST_STATE_MAX];
	bool bus = op->a & 16;
	if (!guest->paused)
		return;
	guest->state = room;
	if (op->a & 1) {
		uint32_t size = state_save_one(guest, bus, room, sizeof(room));
		if (size == 0 || size > sizeof(room))
			return;
		guest->state_size = size;
		FUZZ_CHECK(state_load_one(guest, bus, room, size), "a state of %u bytes is refused by the device that saved it", size);
		FUZZ_CHECK(state_save_one(guest, bus, again, sizeof(again)) == size, "a state of %u bytes has another size once it was loaded", size);
		if (guest->refused > 0) {
			/* An interrupt that the hypervisor refused waits for the next occasion, and a load is one: what is left after it stays. */
			guest->refuse = 0;
			FUZZ_CHECK(state_load_one(guest, bus, again, size) && state_save_one(guest, bus, room, sizeof(room)) == size,
				"a state is refused that was saved after a load");
			FUZZ_CHECK(state_load_one(guest, bus, room, size) && state_save_one(guest, bus, again, sizeof(again)) == size,
				"a state is refused the second time");
		}
		FUZZ_CHECK(memcmp(again, room, size) == 0, "another state is saved than was loaded");
		FUZZ_CHECK(state_save_one(guest, bus, again, size - 1) == size, "the state has another size when there is no room");
	}
	if (op->a & 2) {
		uint32_t most = guest->state_size > 8 ? guest->state_size - 8 : 1;
		memcpy(room + (op->a & 32 ? most - op->c % most : op->c % most), &op->d, 8);
	}
	if (op->a & 4)
		guest->state_size = op->b % sizeof(room);
	if (op->a & 8)
		state_load_one(guest, bus, room, guest->state_size);
}

static void do_reset(struct guest *guest, bool system)
{
	if (!system) {
		set(guest, STATUS, 0, 1);
		return;
	}
	virtio_pci_reset(guest->transport);
	pci_bus_reset(guest->bus);
	guest_write(guest, ecam(guest, 4), 6, 2);
	enable_msix(guest);
}

static void do_port(struct guest *guest, const struct fuzz_op *op, bool write)
{
	uint32_t address = op->c, size = 1u << (op->a & 3);
	uint64_t value = op->d;
	if (!(op->a & 0x80))
		pci_port(guest->bus, 0xcf8, &address, 4, true);
	pci_port(guest->bus, (uint16_t)(0xcfc + (op->a >> 2 & 7) - (op->a & 0x40 ? 4 : 0)), &value, size > 4 ? 4 : size, write);
}

bool guest_do(struct guest *guest, const struct fuzz_op *op)
{
	uint32_t queue = op->a & 7, size = 1u << (op->a & 3);
	switch ((enum guest_op)op->op) {
	case OP_RAM:
		guest_put(guest, op->c + (op->a & 0x80 ? GUEST_HIGH : 0), &op->d, size);
		return true;
	case OP_DESC:
		put_desc(guest, queue, op->b, op->d, op->c, op->a >> 3 & 7, (uint16_t)(op->b + 1));
		return true;
	case OP_DESC_NEXT: {
		uint8_t *desc = ring_at(guest, rings_of(queue) + 16ull * (op->b % VIRTQ_MAX_SIZE));
		__atomic_fetch_or((uint16_t *)(void *)(desc + 12), (uint16_t)op->d, __ATOMIC_RELAXED);
		__atomic_store_n((uint16_t *)(void *)(desc + 14), (uint16_t)op->c, __ATOMIC_RELAXED);
		return true;
	}
	case OP_AVAIL:
		for (uint32_t i = 0; i <= (op->c & 255); i++)
			offer(guest, queue, op->b);
		return true;
	case OP_AVAIL_INDEX: {
		uint16_t *avail = ring_at(guest, rings_of(queue) + GUEST_AVAIL);
		__atomic_store_n(&avail[0], (uint16_t)op->c, __ATOMIC_RELAXED);
		__atomic_fetch_add(&avail[1], op->b, __ATOMIC_RELEASE);
		return true;
	}
	case OP_KICK:
		guest_kick(guest, queue, 1u << (op->a >> 3 & 3));
		if (!(op->b & 1))
			guest_settle(guest);
		return true;
	case OP_COMMON_WRITE:
		set(guest, op->a, op->d, 1u << (op->b & 3));
		return true;
	case OP_COMMON_READ:
		guest_read(guest, guest_bar(guest) + op->a, 1u << (op->b & 3));
		return true;
	case OP_BAR_WRITE:
		set(guest, op->c & 0xffff, op->d, size);
		return true;
	case OP_BAR_READ:
		guest_read(guest, guest_bar(guest) + (op->c & 0xffff), size);
		return true;
	case OP_CONFIG_WRITE:
		guest_write(guest, GUEST_ECAM + ((uint64_t)(op->a & 0x80 ? op->a >> 2 & 31 : guest->slot) << 15) + (op->b & 0x7fff), op->d, size);
		return true;
	case OP_CONFIG_READ:
		guest_read(guest, GUEST_ECAM + ((uint64_t)(op->a & 0x80 ? op->a >> 2 & 31 : guest->slot) << 15) + (op->b & 0x7fff), size);
		return true;
	case OP_PORT_WRITE:
		do_port(guest, op, true);
		return true;
	case OP_PORT_READ:
		do_port(guest, op, false);
		return true;
	case OP_MMIO_WRITE:
		guest_write(guest, op->d, op->c, size);
		return true;
	case OP_MMIO_READ:
		guest_read(guest, op->d, size);
		return true;
	case OP_HANDSHAKE:
		guest_handshake(guest, op->d, op->b, op->a);
		return true;
	case OP_RESET:
		do_reset(guest, op->a & 1);
		return true;
	case OP_PAUSE:
		do_pause(guest, !(op->a & 1));
		return true;
	case OP_SETTLE:
		guest_settle(guest);
		return true;
	case OP_MSIX:
		do_msix(guest, op);
		return true;
	case OP_EVENT:
		put_event(guest, queue, op->b, op->c);
		return true;
	case OP_REFUSE:
		guest->refuse = op->a & 15;
		return true;
	case OP_MOVE_BAR:
		do_move(guest, op);
		return true;
	case OP_SELECT:
		set(guest, QUEUE_SELECT, op->b, 2);
		return true;
	case OP_STATE:
		do_state(guest, op);
		return true;
	case GUEST_OPS:
	case OP_DEVICE:
		break;
	}
	return false;
}
