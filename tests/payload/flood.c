/*
 * A kernel that floods one device, for what happens beside it (tests/bench): an ELF file entered in 64-bit mode with 4 GiB mapped one to one, as rayvm boots
 * a vmlinux. Its only CPU never rests. Hand-made because a whole kernel is too much where ring 0 is emulated.
 *
 *   FLOOD_IMPORTS   virtio-gpu: a new blob of another size, bound and flushed, for each frame; the one before it goes (P3 in docs/hostile-guest.md)
 *   FLOOD_DISK      virtio-blk: 32 requests of 64 KiB in flight for ever, every second one a write, all over 32 MiB
 */
#include <stdint.h>

#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_gpu.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#ifdef FLOOD_DISK
#define SLOT 5
#else
#define SLOT 1
#endif
#define CONFIG (0xe0000000ul + (SLOT << 15)) /* the function's configuration space */
#define BAR 0xd0000000ul
#define NOTIFY (BAR + 0x3000)
#define QUEUE 128

/* All RAM that is used; the kernel is at 2 MiB. */
#define DESC 0x400000ul
#define AVAIL 0x401000ul
#define USED 0x402000ul
#define HEADERS 0x410000ul
#define DATA 0x1000000ul

static void put8(uintptr_t at, uint8_t value) { *(volatile uint8_t *)at = value; }
static void put16(uintptr_t at, uint16_t value) { *(volatile uint16_t *)at = value; }
static void put32(uintptr_t at, uint32_t value) { *(volatile uint32_t *)at = value; }

static volatile struct vring_desc *const desc = (void *)DESC;
static volatile struct vring_avail *const avail = (void *)AVAIL;
static volatile struct vring_used *const used = (void *)USED;
static uint16_t made; /* available index */

static void start_device(uint32_t features)
{
	const uint8_t found = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER, agreed = found | VIRTIO_CONFIG_S_FEATURES_OK;
	put32(CONFIG + PCI_BASE_ADDRESS_0, BAR);
	put32(CONFIG + PCI_BASE_ADDRESS_1, 0);
	put16(CONFIG + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	put8(BAR + VIRTIO_PCI_COMMON_STATUS, 0);
	put8(BAR + VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	put8(BAR + VIRTIO_PCI_COMMON_STATUS, found);
	put32(BAR + VIRTIO_PCI_COMMON_GFSELECT, 0);
	put32(BAR + VIRTIO_PCI_COMMON_GF, features);
	put32(BAR + VIRTIO_PCI_COMMON_GFSELECT, 1);
	put32(BAR + VIRTIO_PCI_COMMON_GF, 1u << (VIRTIO_F_VERSION_1 - 32));
	put8(BAR + VIRTIO_PCI_COMMON_STATUS, agreed);
	put16(BAR + VIRTIO_PCI_COMMON_Q_SELECT, 0);
	put16(BAR + VIRTIO_PCI_COMMON_Q_SIZE, QUEUE);
	put32(BAR + VIRTIO_PCI_COMMON_Q_DESCLO, DESC);
	put32(BAR + VIRTIO_PCI_COMMON_Q_AVAILLO, AVAIL);
	put32(BAR + VIRTIO_PCI_COMMON_Q_USEDLO, USED);
	put16(BAR + VIRTIO_PCI_COMMON_Q_ENABLE, 1);
	put8(BAR + VIRTIO_PCI_COMMON_STATUS, agreed | VIRTIO_CONFIG_S_DRIVER_OK);
}

static void describe(uint32_t n, uint64_t at, uint32_t size, uint16_t flags)
{
	desc[n].addr = at;
	desc[n].len = size;
	desc[n].flags = flags;
	desc[n].next = (uint16_t)(n + 1);
}

static void offer(uint16_t head)
{
	avail->ring[made % QUEUE] = head;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	avail->idx = ++made;
}

#ifdef FLOOD_DISK
#define DEPTH 32
#define BYTES 65536u

static void flood(void)
{
	uint32_t seed = 1;
	uint16_t seen = 0;
	start_device(0);
	for (uint32_t i = 0; i < DEPTH; i++) {
		volatile struct virtio_blk_outhdr *header = (void *)(HEADERS + 32ul * i);
		header->type = i % 2 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
		header->sector = i * BYTES / 512;
		describe(3 * i, (uintptr_t)header, 16, VRING_DESC_F_NEXT);
		describe(3 * i + 1, DATA + (uint64_t)BYTES * i, BYTES, VRING_DESC_F_NEXT | (i % 2 ? 0 : VRING_DESC_F_WRITE));
		describe(3 * i + 2, (uintptr_t)header + 16, 1, VRING_DESC_F_WRITE);
		offer((uint16_t)(3 * i));
	}
	put16(NOTIFY, 0);
	for (;;) {
		while (used->idx == seen)
			__builtin_ia32_pause();
		while (used->idx != seen) {
			uint32_t head = used->ring[seen++ % QUEUE].id;
			seed = seed * 1664525 + 1013904223;
			((volatile struct virtio_blk_outhdr *)(uintptr_t)desc[head].addr)->sector = (seed >> 16) % 512 * (BYTES / 512);
			offer((uint16_t)head);
		}
		put16(NOTIFY, 0);
	}
}
#else
#define ROOM 512u /* of a command; its answer is behind it */

struct create {
	struct virtio_gpu_resource_create_blob blob;
	struct virtio_gpu_mem_entry entry;
};

static uint32_t n_commands;

static void *command(uint32_t type, uint32_t size)
{
	uint64_t at = HEADERS + (uint64_t)n_commands * 2 * ROOM;
	volatile uint64_t *words = (void *)at;
	for (uint32_t i = 0; i < ROOM / 8; i++)
		words[i] = 0;
	((volatile struct virtio_gpu_ctrl_hdr *)at)->type = type;
	describe(2 * n_commands, at, size, VRING_DESC_F_NEXT);
	describe(2 * n_commands + 1, at + ROOM, ROOM, VRING_DESC_F_WRITE);
	offer((uint16_t)(2 * n_commands++));
	return (void *)at;
}

static void flood(void)
{
	start_device(1u << VIRTIO_GPU_F_RESOURCE_BLOB);
	for (uint32_t frame = 1;; frame++) {
		uint32_t width = 640 + frame % 40 * 16, height = 400 + frame * 7 % 400;
		uint16_t before = made;
		n_commands = 0;
		volatile struct create *create = command(VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, sizeof(*create));
		create->blob.resource_id = frame;
		create->blob.blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST;
		create->blob.blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE;
		create->blob.nr_entries = 1;
		create->blob.size = width * height * 4;
		create->entry.addr = DATA + frame % 4 * 0x500000;
		create->entry.length = (width * height * 4 + 4095) & ~4095u;
		volatile struct virtio_gpu_set_scanout_blob *scanout = command(VIRTIO_GPU_CMD_SET_SCANOUT_BLOB, sizeof(*scanout));
		scanout->r.width = scanout->width = width;
		scanout->r.height = scanout->height = height;
		scanout->resource_id = frame;
		scanout->format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM;
		scanout->strides[0] = width * 4;
		volatile struct virtio_gpu_resource_flush *flush = command(VIRTIO_GPU_CMD_RESOURCE_FLUSH, sizeof(*flush));
		flush->r.width = width;
		flush->r.height = height;
		flush->resource_id = frame;
		if (frame > 1) {
			volatile struct virtio_gpu_resource_unref *unref = command(VIRTIO_GPU_CMD_RESOURCE_UNREF, sizeof(*unref));
			unref->resource_id = frame - 1;
		}
		put16(NOTIFY, 0);
		while (used->idx == before || used->idx != made)
			__builtin_ia32_pause();
	}
}
#endif

__asm__(".globl _start\n_start: mov $0x3ff000, %esp\n\tjmp start\n");
void start(void);
void start(void)
{
	flood();
}
