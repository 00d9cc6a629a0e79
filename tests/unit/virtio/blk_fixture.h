/* A disk under the driver of driver.h: a file of 1 MiB whose sectors hold their number, and requests to it. One disk a test. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "driver.h"
#include "base/base.h"
#include "base/stats.h"
#include "virtio/blk.h"

#define BLK_UNUSED __attribute__((unused))
#define DISK_SIZE (1u << 20)
#define SEGMENTS 510u /* of a request, as the driver is told */
#define IN 0
#define OUT 1
#define FLUSH 4
#define GET_ID 8
#define DISCARD 11
#define WRITE_ZEROES 13
#define OK 0
#define IOERR 1
#define UNSUPP 2
#define NOTHING 0xee /* the status byte before the request */

static struct driver d;
static struct disk disk;
static struct blk *blk;
static struct stats stats;
static char path[64];
static uint64_t header, data, status;

BLK_UNUSED static void make_file(void)
{
	strcpy(path, "/tmp/rayvm-test-disk-XXXXXX");
	int fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	uint8_t sector[512];
	for (uint32_t i = 0; i < DISK_SIZE / 512; i++) {
		memset(sector, (int)(i & 0xff), sizeof(sector));
		ck_assert_int_eq(write(fd, sector, sizeof(sector)), sizeof(sector));
	}
	close(fd);
}

/* The engine that every disk of a test gets, and what blk_create() is to find changed in the open disk. */
static enum disk_aio aio;
static uint32_t ring_entries, drain_ms;

BLK_UNUSED static void start(const struct disk_config *wanted, uint64_t features)
{
	char error[256] = "";
	struct disk_config config = *wanted;
	config.aio = aio;
	memset(&stats, 0, sizeof(stats));
	driver_init(&d, 16 << 20);
	ck_assert_msg(disk_open(&disk, &config, error, sizeof(error)) == 0, "%s", error);
	disk.ring_entries = ring_entries;
	disk.drain_ms = drain_ms;
	blk = blk_create(&d.memory, &disk, &stats, error, sizeof(error));
	ck_assert_msg(blk != NULL, "%s", error);
	driver_attach(&d, blk_device(blk), 0x010000);
	header = driver_alloc(&d, 16);
	data = driver_alloc(&d, 65536);
	status = driver_alloc(&d, 1);
	driver_start(&d, features, 64);
}

BLK_UNUSED static void stop(void)
{
	driver_detach(&d);
	blk_destroy(blk);
	disk_close(&disk);
	driver_finish(&d);
}

/* Sends prepared buffers and returns the status byte. */
BLK_UNUSED static uint8_t send_chain(const struct driver_buf *bufs, uint32_t n_out, uint32_t n_in)
{
	uint32_t id;
	*(uint8_t *)driver_ptr(&d, status) = NOTHING;
	uint16_t head = driver_add(&d, 0, bufs, n_out, n_in);
	driver_kick(&d, 0);
	ck_assert(driver_wait(&d, 0, &id, NULL, 5000));
	ck_assert_uint_eq(id, head);
	return *(uint8_t *)driver_ptr(&d, status);
}

BLK_UNUSED static void set_header(uint32_t type, uint64_t sector)
{
	memcpy(driver_ptr(&d, header), &(struct { uint32_t type, reserved; uint64_t sector; }){ type, 0, sector }, 16);
}

/* A request with `length` bytes of data at `data`, in the direction of the type. */
BLK_UNUSED static uint8_t request(uint32_t type, uint64_t sector, uint32_t length)
{
	set_header(type, sector);
	const struct driver_buf bufs[] = { { header, 16 }, { data, length }, { status, 1 } };
	if (length == 0)
		return send_chain((const struct driver_buf[]){ bufs[0], bufs[2] }, 1, 1);
	bool in = type == IN || type == GET_ID;
	return send_chain(bufs, in ? 1 : 2, in ? 2 : 1);
}

BLK_UNUSED static uint8_t ranges(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	memcpy(driver_ptr(&d, data), &(struct { uint64_t sector; uint32_t sectors, flags; }){ sector, sectors, flags }, 16);
	return request(type, 0, 16);
}

/* Byte of the file behind the disk. */
BLK_UNUSED static uint8_t file_byte(uint64_t offset)
{
	uint8_t byte = 0;
	int fd = open(path, O_RDONLY);
	ck_assert_int_eq(pread(fd, &byte, 1, (off_t)offset), 1);
	close(fd);
	return byte;
}

BLK_UNUSED static uint64_t file_size(void)
{
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

/* What the disk has said on stderr, which is this file meanwhile. */
static FILE *caught;
static int old_stderr;

BLK_UNUSED static void catch_log(void)
{
	caught = tmpfile();
	old_stderr = dup(STDERR_FILENO);
	dup2(fileno(caught), STDERR_FILENO);
}

BLK_UNUSED static void caught_text(char *text, size_t size)
{
	dup2(old_stderr, STDERR_FILENO);
	close(old_stderr);
	rewind(caught);
	text[fread(text, 1, size - 1, caught)] = '\0';
	fclose(caught);
}

BLK_UNUSED static uint32_t count_text(const char *text, const char *what)
{
	uint32_t n = 0;
	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}
