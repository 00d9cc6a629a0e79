/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096u	/* bytes */
#define MAGIC "RAYVMREC"
/* Odd, so number * STEP visits every place once a round when the number of blocks is a power of two. */
#define STEP 40503u

/* Repeated through the whole block: a block of which only some sectors arrived is seen. */
struct stamp {
	char magic[8];
	uint64_t number;
	uint64_t place;		/* in blocks */
	uint64_t blocks;
};

void record_write(const char *device, unsigned long blocks, unsigned long every)
{
	static struct stamp block[BLOCK / sizeof(struct stamp)] __attribute__((aligned(BLOCK)));
	int fd = open(device, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || blocks == 0 || (blocks & (blocks - 1)) != 0 || every == 0) {
		say("ERROR record %s: %s", device, fd < 0 ? strerror(errno) : "blocks must be a power of two, flushes not 0");
		if (fd >= 0)
			close(fd);
		return;
	}
	for (uint64_t number = 1;; number++) {
		const uint64_t place = number * STEP % blocks;

		for (size_t i = 0; i < sizeof(block) / sizeof(block[0]); i++) {
			memcpy(block[i].magic, MAGIC, sizeof(block[i].magic));
			block[i].number = number;
			block[i].place = place;
			block[i].blocks = blocks;
		}
		/* Through the page cache, so that several requests are on their way when the flush comes, as with a file system. */
		if (pwrite(fd, block, BLOCK, (off_t)(place * BLOCK)) != (ssize_t)BLOCK) {
			say("ERROR record write: %s", strerror(errno));
			break;
		}
		if (number % every != 0)
			continue;
		if (fdatasync(fd) < 0) {
			say("ERROR record flush: %s", strerror(errno));
			break;
		}
		say("FLUSHED %llu", (unsigned long long)number);
	}
	close(fd);
}

void record_verify(const char *device)
{
	static struct stamp block[BLOCK / sizeof(struct stamp)] __attribute__((aligned(BLOCK)));
	unsigned long long newest = 0, broken = 0, empty = 0;
	uint64_t blocks = 1;
	int fd = open(device, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		say("ERROR verify %s: %s", device, strerror(errno));
		return;
	}
	for (uint64_t place = 0; place < blocks; place++) {
		if (pread(fd, block, BLOCK, (off_t)(place * BLOCK)) != (ssize_t)BLOCK) {
			say("ERROR verify read: %s", strerror(errno));
			break;
		}
		if (memcmp(block[0].magic, MAGIC, sizeof(block[0].magic)) != 0) {
			/* Nothing is known of the size until the first stamp: look at 4096 blocks. */
			blocks = blocks == 1 ? 4096 : blocks;
			empty++;
			continue;
		}
		blocks = block[0].blocks;
		newest = block[0].number > newest ? block[0].number : newest;
		for (size_t i = 0; i < sizeof(block) / sizeof(block[0]); i++) {
			if (memcmp(&block[i], &block[0], sizeof(block[0])) != 0 || block[i].place != place) {
				broken++;
				break;
			}
		}
	}
	close(fd);
	say("RECORD newest=%llu broken=%llu empty=%llu", newest, broken, empty);
}
