/*
 * How fast the worker's copy of a whole frame is against one memcpy() of as many bytes between the same two pieces of memory, in turn:
 *
 *     copyspeed [PAIRS [COPIES]]
 *
 * prints for each way that a frame lies, and for each pair, its name and the nanoseconds of CPU time that COPIES frames took both ways. CPU time:
 * what other processes take between is not the copy's.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <drm_fourcc.h>

#include "kms/blit.h"

#define WIDTH 1920u
#define HEIGHT 1080u
#define ROW (WIDTH * 4)
#define BYTES ((uint64_t)ROW * HEIGHT)
#define PAGE 4096u
#define PAGES ((uint32_t)((BYTES + PAGE - 1) / PAGE))
#define PADDED 7936u /* bytes: the next pitch that many cards take, multiples of 256 */

struct way {
	const char *name;
	uint32_t pitch;  /* of the framebuffer, bytes */
	uint32_t pieces; /* of the guest's memory, neighbouring pages each */
};

static uint64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* Shared memory as guest RAM and a framebuffer in system memory are, with all of its pages there. */
static uint8_t *shared(uint64_t size)
{
	int fd = memfd_create("copyspeed", MFD_CLOEXEC);
	void *at = fd >= 0 && ftruncate(fd, (off_t)size) == 0 ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (at == MAP_FAILED) {
		perror("copyspeed");
		exit(1);
	}
	close(fd);
	memset(at, 0x5a, size);
	return at;
}

/* The picture in `pieces` equal runs of pages, of which no two neighbours follow each other in memory. */
static void scatter(struct link_buffer *buffer, struct link_segment *segment, uint32_t pieces)
{
	uint32_t each = (PAGES + pieces - 1) / pieces, n = (PAGES + each - 1) / each;
	buffer->n_segments = n;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t place = (uint32_t)((uint64_t)i * 7919 % n); /* a prime larger than the number of pages: each once */
		segment[i] = (struct link_segment){(uint64_t)place * each * PAGE, (uint64_t)each * PAGE};
	}
}

int main(int argc, char **argv)
{
	static const struct way ways[] = {{"whole", ROW, 1}, {"rows", PADDED, 1}, {"huge-pages", ROW, PAGES / 512 + 1}, {"pages", ROW, PAGES}};
	static struct link_segment segment[PAGES];
	static struct blit_scratch scratch;
	uint32_t pairs = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 10, copies = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 20;
	uint8_t *from = shared((uint64_t)(PAGES + 1024) * PAGE), *to = shared((uint64_t)PADDED * HEIGHT);
	const struct rect whole = {0, 0, WIDTH, HEIGHT};

	for (uint64_t i = 0; i < BYTES / 4; i++)
		((uint32_t *)(void *)from)[i] = (uint32_t)i * 2654435761u;
	for (uint32_t pair = 0; pair < pairs; pair++) {
		for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
			const struct blit_target target = {to, ways[w].pitch, WIDTH, HEIGHT};
			struct link_buffer buffer = {.width = WIDTH, .height = HEIGHT, .stride = ROW, .format = DRM_FORMAT_XRGB8888, .segment = segment};
			uint64_t ours = 0, plain = 0;
			scatter(&buffer, segment, ways[w].pieces);
			for (uint32_t i = 0; i < 2 * copies; i++) {
				uint64_t begin = cpu_ns();
				if ((i + pair) % 2) {
					struct rect touched;
					if (blit_picture(&target, whole, from, &buffer, whole, whole, BLIT_NEAREST, NULL, &scratch, &touched) != BYTES)
						return 1;
					ours += cpu_ns() - begin;
				} else {
					memcpy(to, from, BYTES);
					plain += cpu_ns() - begin;
				}
			}
			printf("%s %" PRIu64 " %" PRIu64 "\n", ways[w].name, ours, plain);
			fflush(stdout);
		}
	}
	return 0;
}
