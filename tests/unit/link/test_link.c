#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link/link.h"
#include "link/synthetic.h"
#include "link/table.h"
#include "smaps.h"
#include "unit.h"

#define XRGB 0x34325258u
#define PIXELS (1u << 20)

static int pixels(void)
{
	int fd = memfd_create("pixels", MFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, PIXELS), 0);
	return fd;
}

START_TEST(ring_keeps_order_and_refuses_when_full)
{
	int fd = pixels();
	struct link *link = link_create(fd, PIXELS);
	struct link_message message = { .type = LINK_LEDS };
	uint32_t sent = 0;
	for (; link_send_to_panel(link, &message); sent++)
		message.leds.leds = sent + 1;
	ck_assert_uint_eq(sent, LINK_RING_SLOTS);
	ck_assert_uint_eq(link_room_to_panel(link), 0);
	for (uint32_t i = 0; i < sent; i++) {
		ck_assert(link_receive_for_panel(link, &message));
		ck_assert_uint_eq(message.leds.leds, i);
	}
	ck_assert(!link_receive_for_panel(link, &message));
	ck_assert_uint_eq(link_room_to_panel(link), LINK_RING_SLOTS);
	link_destroy(link);
	close(fd);
}
END_TEST

START_TEST(buffer_is_sent_whole_or_not_at_all)
{
	int fd = pixels();
	struct link *link = link_create(fd, PIXELS);
	struct link_segment segment[13];
	for (int i = 0; i < 13; i++)
		segment[i] = (struct link_segment){ (uint64_t)i * 8192, 4096 };
	struct link_message filler = { .type = LINK_LEDS }, message;
	while (link_room_to_panel(link) > 3)
		link_send_to_panel(link, &filler);
	ck_assert_uint_eq(link_buffer_messages(13), 4);
	ck_assert(!link_send_buffer(link, (struct link_buffer_id){ 1, 1 }, 64, 64, 256, XRGB, 0, segment, 13));
	ck_assert_uint_eq(link_room_to_panel(link), 3);
	while (link_receive_for_panel(link, &message))
		ck_assert_uint_eq(message.type, LINK_LEDS);
	ck_assert(link_send_buffer(link, (struct link_buffer_id){ 1, 1 }, 64, 64, 256, XRGB, 0, segment, 13));
	struct link_table *table = link_table_create(PIXELS);
	const char *why;
	while (link_receive_for_panel(link, &message))
		ck_assert_int_eq(link_table_take(table, &message, &why), LINK_CHANGE_NONE);
	message = (struct link_message){ .type = LINK_FRAME, .frame = { { 1, 1 }, 1, { 0, 0, 64, 64 }, { 0, 0, 64, 64 } } };
	ck_assert_int_eq(link_table_take(table, &message, &why), LINK_CHANGE_FRAME);
	ck_assert_uint_eq(link_table_head(table, 0)->buffer->segment[12].offset, 12 * 8192);
	link_table_destroy(table);
	link_destroy(link);
	close(fd);
}
END_TEST

/* Announces a buffer with one segment; returns what the table said. */
static enum link_change announce(struct link_table *table, uint32_t id, uint32_t generation, uint32_t width, uint32_t height,
	uint32_t stride, uint64_t offset, struct link_segment segment)
{
	const char *why;
	struct link_message message = {
		.type = LINK_BUFFER,
		.buffer = { { id, generation }, width, height, stride, XRGB, offset, 1 },
	};
	enum link_change change = link_table_take(table, &message, &why);
	if (change != LINK_CHANGE_NONE)
		return change;
	message = (struct link_message){ .type = LINK_SEGMENTS, .segments = { .buffer = { id, generation }, .count = 1, .segment = { segment } } };
	return link_table_take(table, &message, &why);
}

static enum link_change frame(struct link_table *table, uint32_t id, uint32_t generation, uint64_t sequence, struct rect source, struct rect damage)
{
	const char *why;
	struct link_message message = { .type = LINK_FRAME, .frame = { { id, generation }, sequence, source, damage } };
	return link_table_take(table, &message, &why);
}

START_TEST(nonsense_is_refused)
{
	struct link_table *table = link_table_create(PIXELS);
	struct link_segment all = { 0, PIXELS };
	ck_assert_int_eq(announce(table, 1, 1, 0, 10, 40, 0, all), LINK_CHANGE_REFUSED);
	ck_assert_int_eq(announce(table, 1, 1, 10, 10, 36, 0, all), LINK_CHANGE_REFUSED);          /* stride too small */
	ck_assert_int_eq(announce(table, 1, 1, 0x40000001, 1, 4, 0, all), LINK_CHANGE_REFUSED);    /* width * 4 wraps */
	ck_assert_int_eq(announce(table, 1, 1, 512, 513, 2048, 0, all), LINK_CHANGE_REFUSED);      /* larger than its segments */
	ck_assert_int_eq(announce(table, 1, 1, 512, 512, 2048, 4, all), LINK_CHANGE_REFUSED);      /* offset pushes it over the end */
	ck_assert_int_eq(announce(table, 1, 1, 10, 10, 40, 0, (struct link_segment){ 4, PIXELS }), LINK_CHANGE_REFUSED);
	ck_assert_int_eq(announce(table, 1, 1, 10, 10, 40, 0, (struct link_segment){ UINT64_MAX - 3, 8 }), LINK_CHANGE_REFUSED);
	ck_assert_int_eq(announce(table, 1, 1, 512, 512, 2048, 0, all), LINK_CHANGE_NONE);
	ck_assert_int_eq(announce(table, 1, 1, 512, 512, 2048, 0, all), LINK_CHANGE_REFUSED);      /* twice */
	struct rect whole = { 0, 0, 512, 512 };
	ck_assert_int_eq(frame(table, 1, 2, 1, whole, whole), LINK_CHANGE_REFUSED);                /* another generation */
	ck_assert_int_eq(frame(table, 1, 1, 1, (struct rect){ 1, 0, 512, 512 }, whole), LINK_CHANGE_REFUSED);
	ck_assert_int_eq(frame(table, 1, 1, 1, (struct rect){ 8, 0, UINT32_MAX, 4 }, whole), LINK_CHANGE_REFUSED);
	ck_assert_int_eq(frame(table, 1, 1, 5, whole, whole), LINK_CHANGE_FRAME);
	ck_assert_int_eq(frame(table, 1, 1, 5, whole, whole), LINK_CHANGE_REFUSED);                /* old sequence */
	struct link_message message = { .type = LINK_FRAME, .head = LINK_MAX_HEADS, .frame = { { 1, 1 }, 9, whole, whole } };
	const char *why;
	ck_assert_int_eq(link_table_take(table, &message, &why), LINK_CHANGE_REFUSED);
	message = (struct link_message){ .type = 9999 };
	ck_assert_int_eq(link_table_take(table, &message, &why), LINK_CHANGE_REFUSED);
	ck_assert_ptr_nonnull(why);
	link_table_destroy(table);
}
END_TEST

/* The producer of a refused buffer learns that nothing of it is kept, or it could never use the id again. */
START_TEST(refused_buffer_is_released)
{
	struct link_table *table = link_table_create(PIXELS);
	const char *why;
	struct link_buffer_id released;
	for (uint32_t i = 1; i <= 2 * LINK_MAX_BUFFERS; i++) {
		struct link_message message = { .type = LINK_BUFFER, .buffer = { { i, 7 }, 64, 64, 256, XRGB, PIXELS + 4, 1 } };
		ck_assert_int_eq(link_table_take(table, &message, &why), LINK_CHANGE_REFUSED);
		ck_assert(!link_table_next_released(table, &released));
		message = (struct link_message){ .type = LINK_BUFFER_DEAD, .dead = { i, 7 } };
		ck_assert_int_eq(link_table_take(table, &message, &why), LINK_CHANGE_REFUSED);
		/* A flood that nobody collects is bounded. */
		for (int again = 0; i == 1 && again < 2 * LINK_MAX_BUFFERS; again++)
			link_table_take(table, &message, &why);
		ck_assert(link_table_next_released(table, &released));
		ck_assert_uint_eq(released.id, i);
		ck_assert_uint_eq(released.generation, 7);
		while (i == 1 && link_table_next_released(table, &released))
			continue;
	}
	link_table_destroy(table);
}
END_TEST

START_TEST(damage_is_united_never_dropped)
{
	struct link_table *table = link_table_create(PIXELS);
	struct rect whole = { 0, 0, 100, 100 };
	announce(table, 1, 1, 100, 100, 400, 0, (struct link_segment){ 0, 40000 });
	announce(table, 2, 1, 100, 100, 400, 0, (struct link_segment){ 40000, 40000 });
	frame(table, 1, 1, 1, whole, (struct rect){ 0 });
	struct rect damage = link_table_take_damage(table, 0);
	ck_assert_uint_eq(damage.w, 100); /* the first frame is all new */
	frame(table, 2, 1, 2, whole, (struct rect){ 10, 10, 5, 5 });
	frame(table, 1, 1, 3, whole, (struct rect){ 90, 90, 50, 50 });
	damage = link_table_take_damage(table, 0);
	ck_assert_uint_eq(damage.x, 10);
	ck_assert_uint_eq(damage.w, 90);
	damage = link_table_take_damage(table, 0);
	ck_assert(rect_empty(&damage));
	frame(table, 1, 1, 4, (struct rect){ 0, 0, 50, 50 }, (struct rect){ 0 });
	damage = link_table_take_damage(table, 0);
	ck_assert_uint_eq(damage.w, 50); /* another part of the buffer is all new */
	link_table_destroy(table);
}
END_TEST

START_TEST(dead_buffer_lives_until_its_successor)
{
	struct link_table *table = link_table_create(PIXELS);
	struct rect whole = { 0, 0, 100, 100 };
	struct link_segment segment = { 0, 40000 };
	struct link_buffer_id released;
	const char *why;
	announce(table, 1, 1, 100, 100, 400, 0, segment);
	frame(table, 1, 1, 1, whole, whole);
	struct link_message dead = { .type = LINK_BUFFER_DEAD, .dead = { 1, 1 } };
	ck_assert_int_eq(link_table_take(table, &dead, &why), LINK_CHANGE_NONE);
	ck_assert(!link_table_next_released(table, &released));
	ck_assert_ptr_nonnull(link_table_head(table, 0)->buffer);
	ck_assert_int_eq(announce(table, 1, 2, 100, 100, 400, 0, segment), LINK_CHANGE_NONE); /* the id is free at once */
	frame(table, 1, 2, 2, whole, whole);
	ck_assert(link_table_next_released(table, &released));
	ck_assert_uint_eq(released.generation, 1);
	ck_assert(!link_table_next_released(table, &released));
	link_table_destroy(table);
}
END_TEST

struct total {
	uint64_t bytes, runs, first;
};

static void count_run(void *data, uint64_t offset, uint64_t length)
{
	struct total *total = data;
	if (total->runs++ == 0)
		total->first = offset;
	total->bytes += length;
}

START_TEST(runs_cross_segments)
{
	struct link_segment segment[3] = { { 4096, 100 }, { 0, 200 }, { 8192, 300 } };
	struct link_buffer buffer = { .n_segments = 3, .segment = segment };
	struct total total = { 0 };
	ck_assert(link_buffer_runs(&buffer, NULL, 50, 300, count_run, &total));
	ck_assert_uint_eq(total.bytes, 300);
	ck_assert_uint_eq(total.runs, 3);
	ck_assert_uint_eq(total.first, 4146);
	ck_assert(!link_buffer_runs(&buffer, NULL, 500, 101, count_run, &total));
}
END_TEST

/* A walk that goes on where the last one was finds what one from the beginning finds, also backwards and past the end. */
START_TEST(runs_from_a_place)
{
	enum { SEGMENTS = 500 };
	struct link_segment segment[SEGMENTS];
	struct link_buffer buffer = { .n_segments = SEGMENTS, .segment = segment };
	struct link_place place = { 0 };
	uint64_t size = 0;
	srandom(1);
	for (uint32_t i = 0; i < SEGMENTS; i++) {
		segment[i] = (struct link_segment){ (uint64_t)i * 4096, 4 * (1 + (uint64_t)random() % 64) };
		size += segment[i].length;
	}
	for (uint32_t i = 0; i < 10000; i++) {
		uint64_t offset = (uint64_t)random() % (size + 100), length = 4 + (uint64_t)random() % 1000;
		struct total from_start = { 0 }, from_place = { 0 };
		ck_assert_int_eq(link_buffer_runs(&buffer, NULL, offset, length, count_run, &from_start),
			link_buffer_runs(&buffer, &place, offset, length, count_run, &from_place));
		ck_assert_mem_eq(&from_start, &from_place, sizeof from_start);
	}
	/* And it does go on: what lies before is not looked at again. */
	uint64_t last = size - segment[SEGMENTS - 1].length;
	link_buffer_runs(&buffer, &place, last, 4, count_run, &(struct total){ 0 });
	ck_assert_uint_eq(place.segment, SEGMENTS - 1);
	ck_assert_uint_eq(place.offset, last);
}
END_TEST

#define W 1280u
#define H 200u
#define FRAMES 50

static void *run_thread(void *arg)
{
	return (void *)(uintptr_t)synthetic_run(arg);
}

/* The panel's side: takes frames, checks pixels, answers PRESENTED, until all came. */
static void be_panel(struct link *link)
{
	struct link_table *table = link_table_create(link_pixels_size(link));
	struct link_message message = { .type = LINK_DISPLAY, .display = { .width = W, .height = H, .refresh_mhz = 60000 } };
	ck_assert(link_send_to_producer(link, &message));
	uint64_t last = 0;
	while (last < FRAMES) {
		struct pollfd ready = { .fd = link_panel_fd(link), .events = POLLIN };
		ck_assert_int_eq(poll(&ready, 1, 10000), 1);
		link_ack_panel(link);
		while (link_receive_for_panel(link, &message)) {
			const char *why;
			enum link_change change = link_table_take(table, &message, &why);
			ck_assert_msg(change != LINK_CHANGE_REFUSED, "%s", why != NULL ? why : "");
			if (change != LINK_CHANGE_FRAME)
				continue;
			const struct link_head *head = link_table_head(table, 0);
			ck_assert_uint_eq(head->sequence, last + 1);
			last = head->sequence;
			const uint32_t *picture = (const uint32_t *)(const void *)(link_pixels(link) + head->buffer->segment[0].offset);
			for (uint32_t x = 0; x < W; x += 7)
				for (uint32_t y = 0; y < H; y += 3)
					ck_assert_uint_eq(picture[y * W + x], synthetic_pixel(W, H, last, x, y));
			struct link_message shown = { .type = LINK_PRESENTED, .presented = { last, 0 } };
			ck_assert(link_send_to_producer(link, &shown));
		}
	}
	link_table_destroy(table);
}

START_TEST(synthetic_in_a_thread)
{
	uint64_t size;
	int fd = synthetic_memory(W, H, &size);
	struct link *link = link_create(fd, size);
	struct synthetic_config config = { .link = link, .pixels_fd = fd, .pixels_size = size, .fps = 1000, .stop_fd = eventfd(0, EFD_CLOEXEC), .frames = FRAMES };
	pthread_t thread;
	ck_assert_int_eq(pthread_create(&thread, NULL, run_thread, &config), 0);
	be_panel(link);
	void *frames;
	pthread_join(thread, &frames);
	ck_assert_uint_eq((uintptr_t)frames, FRAMES);
	link_destroy(link);
	close(fd);
	close(config.stop_fd);
}
END_TEST

START_TEST(synthetic_in_a_forked_child)
{
	uint64_t size;
	int fd = synthetic_memory(W, H, &size);
	struct link *link = link_create(fd, size);
	struct synthetic_config config = { .link = link, .pixels_fd = fd, .pixels_size = size, .fps = 1000, .stop_fd = eventfd(0, EFD_CLOEXEC), .frames = FRAMES };
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0)
		_exit(synthetic_run(&config) == FRAMES ? 0 : 1);
	be_panel(link);
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	link_destroy(link);
	close(fd);
	close(config.stop_fd);
}
END_TEST

START_TEST(pointer_picture_must_be_known_and_64x64)
{
	struct link_table *table = link_table_create(PIXELS);
	const char *why;
	announce(table, 1, 1, LINK_CURSOR_SIDE, LINK_CURSOR_SIDE, 256, 0, (struct link_segment){ 0, 16384 });
	announce(table, 2, 1, 32, 32, 128, 0, (struct link_segment){ 0, 16384 });
	struct link_message message = { .type = LINK_CURSOR, .cursor = { .buffer = { 1, 1 }, .visible = 1 } };
	ck_assert_int_eq(link_table_take(table, &message, &why), LINK_CHANGE_OTHER);
	ck_assert_ptr_nonnull(link_table_find(table, (struct link_buffer_id){ 1, 1 }));
	message.cursor.buffer.id = 2;
	ck_assert_int_eq(link_table_take(table, &message, &why), LINK_CHANGE_REFUSED);
	message.cursor.buffer.id = 3;
	ck_assert_int_eq(link_table_take(table, &message, &why), LINK_CHANGE_REFUSED);
	message.cursor.buffer.id = 0; /* moved only */
	ck_assert_int_eq(link_table_take(table, &message, &why), LINK_CHANGE_OTHER);
	message.head = LINK_MAX_HEADS;
	ck_assert_int_eq(link_table_take(table, &message, &why), LINK_CHANGE_REFUSED);
	message = (struct link_message){ .type = LINK_BUFFER_DEAD, .dead = { 1, 1 } };
	ck_assert_int_eq(link_table_take(table, &message, &why), LINK_CHANGE_NONE);
	ck_assert_ptr_null(link_table_find(table, (struct link_buffer_id){ 1, 1 }));
	link_table_destroy(table);
}
END_TEST

/* Both halves in this process, as two processes would have them. */
static struct link *open_apart(int fd, struct link **producer)
{
	struct link_handles handles;
	*producer = link_create_apart(fd, PIXELS, &handles);
	ck_assert_ptr_nonnull(*producer);
	struct link *panel = link_open(&handles);
	ck_assert_ptr_nonnull(panel);
	return panel;
}

static int sealed_pixels(void)
{
	int fd = memfd_create("pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, PIXELS), 0);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	return fd;
}

static bool readable(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	return poll(&ready, 1, 0) == 1;
}

START_TEST(halves_of_two_processes)
{
	struct link *producer, *panel;
	struct link_message message = { .type = LINK_LEDS };
	int fd = sealed_pixels();
	panel = open_apart(fd, &producer);
	ck_assert_int_eq(link_producer_fd(panel), -1);
	ck_assert_int_eq(link_panel_fd(producer), -1);
	ck_assert_uint_eq(link_pixels_size(panel), PIXELS);
	ck_assert_int_eq(pwrite(fd, "picture", 7, 4096), 7);
	ck_assert_mem_eq(link_pixels(panel) + 4096, "picture", 7);
	/* It is the guest's memory, which is for no core file. */
	ck_assert(smaps_not_dumped(link_pixels(panel), PIXELS));

	ck_assert(!readable(link_panel_fd(panel)));
	ck_assert(link_send_to_panel(producer, &message));
	ck_assert(readable(link_panel_fd(panel)));
	link_ack_panel(panel);
	ck_assert(!readable(link_panel_fd(panel)));
	ck_assert(link_receive_for_panel(panel, &message));
	ck_assert_uint_eq(message.type, LINK_LEDS);
	ck_assert(!link_receive_for_panel(panel, &message));

	message.type = LINK_VISIBLE;
	ck_assert(link_send_to_producer(panel, &message));
	ck_assert(readable(link_producer_fd(producer)));
	link_ack_producer(producer);
	ck_assert(link_receive_for_producer(producer, &message));
	ck_assert_uint_eq(message.type, LINK_VISIBLE);

	/* The panel reads what was sent before the end, and then waits for nothing. */
	ck_assert(link_send_to_panel(producer, &message));
	link_destroy(producer);
	signal(SIGPIPE, SIG_IGN);
	ck_assert(link_send_to_producer(panel, &message));
	link_ack_panel(panel);
	link_ack_panel(panel);
	ck_assert_int_eq(link_panel_fd(panel), -1);
	ck_assert(link_receive_for_panel(panel, &message));
	link_destroy(panel);
	close(fd);
}
END_TEST

START_TEST(panel_cannot_write_the_producers_pixels)
{
	struct link *producer, *panel;
	int fd = sealed_pixels();
	panel = open_apart(fd, &producer);
	void *pixels = (void *)(uintptr_t)link_pixels(panel);
	/* The mapping comes from an opening that cannot write: not even the panel itself can make it writable. */
	ck_assert_int_lt(mprotect(pixels, PIXELS, PROT_READ | PROT_WRITE), 0);
	link_destroy(panel);
	link_destroy(producer);
	close(fd);
}
END_TEST

/* The other process floods its end and makes it blocking: the panel's sends and acks must return all the same. */
START_TEST(wake_ups_never_block_whatever_the_other_side_does)
{
	struct link *producer, *panel;
	struct link_message message = { .type = LINK_VISIBLE };
	char junk[4096] = "";
	int fd = sealed_pixels();
	panel = open_apart(fd, &producer);
	int end = link_producer_fd(producer);
	uint64_t flood = 0;
	for (ssize_t sent; (sent = write(end, junk, sizeof junk)) > 0;)
		flood += (uint64_t)sent;
	ck_assert_uint_gt(flood, sizeof junk);
	ck_assert_int_eq(fcntl(end, F_SETFL, 0), 0);
	alarm(20);
	for (uint64_t got = 0; got < flood; got += 1024)
		link_ack_panel(panel);
	link_ack_panel(panel); /* nothing left, and not waited for */
	ck_assert(!readable(link_panel_fd(panel)));
	/* Nobody reads at the far end: the ring says when it is full, the socket never does. */
	uint32_t sent = 0;
	while (link_send_to_producer(panel, &message))
		sent++;
	ck_assert_uint_eq(sent, LINK_RING_SLOTS);
	alarm(0);
	ck_assert_int_ge(link_panel_fd(panel), 0);
	link_destroy(panel);
	link_destroy(producer);
	close(fd);
}
END_TEST

START_TEST(memory_that_is_not_there_reads_as_zeros)
{
	struct link *producer, *panel, *other_producer, *other;
	struct link_message message;
	int fd = sealed_pixels(), other_fd = sealed_pixels();
	panel = open_apart(fd, &producer);
	other = open_apart(other_fd, &other_producer);
	ck_assert_int_eq(pwrite(fd, "here", 4, 0), 4);
	ck_assert_int_eq(pwrite(other_fd, "here", 4, 0), 4);
	volatile const uint8_t *pixels = link_pixels(panel);
	ck_assert_uint_eq(pixels[0], 'h');
	/* Half of it faults now, as where no memory is left for a page: an empty file is mapped there. */
	int empty = memfd_create("empty", MFD_CLOEXEC);
	ck_assert_ptr_ne(mmap((void *)(uintptr_t)(link_pixels(panel) + PIXELS / 2), PIXELS / 2, PROT_READ, MAP_SHARED | MAP_FIXED, empty, 0), MAP_FAILED);
	close(empty);
	ck_assert_uint_eq(pixels[0], 'h');
	ck_assert_uint_eq(pixels[PIXELS / 2], 0); /* would be the end of the program */
	ck_assert_uint_eq(pixels[0], 0);          /* and nothing half old, half new */
	ck_assert(!link_receive_for_panel(panel, &message));
	ck_assert_uint_eq(link_pixels(other)[0], 'h');
	link_destroy(panel);
	link_destroy(producer);
	link_destroy(other);
	link_destroy(other_producer);
	close(fd);
	close(other_fd);
}
END_TEST

START_TEST(memory_that_could_shrink_is_refused)
{
	struct link_handles handles, bad;
	int fd = sealed_pixels(), open_ended = pixels();
	struct link *producer = link_create_apart(fd, PIXELS, &handles);
	ck_assert_ptr_nonnull(producer);
	bad = (struct link_handles){ dup(handles.rings), dup(open_ended), dup(handles.wake) };
	ck_assert_ptr_null(link_open(&bad));
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_lt(fcntl(bad.wake, F_GETFD), 0); /* taken over all the same */
	bad = (struct link_handles){ dup(open_ended), dup(handles.pixels), dup(handles.wake) };
	ck_assert_ptr_null(link_open(&bad));
	ck_assert_int_eq(errno, EPERM);
	bad = (struct link_handles){ dup(handles.pixels), dup(handles.pixels), dup(handles.wake) }; /* not the rings' size */
	ck_assert_ptr_null(link_open(&bad));
	ck_assert_int_eq(errno, EINVAL);
	bad = (struct link_handles){ dup(handles.wake), dup(handles.pixels), dup(handles.rings) }; /* no memory at all */
	ck_assert_ptr_null(link_open(&bad));
	link_handles_close(&handles);
	link_destroy(producer);
	close(open_ended);
	close(fd);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("link");
	TCase *c = tcase_create("link");
	tcase_add_test(c, ring_keeps_order_and_refuses_when_full);
	tcase_add_test(c, buffer_is_sent_whole_or_not_at_all);
	tcase_add_test(c, nonsense_is_refused);
	tcase_add_test(c, refused_buffer_is_released);
	tcase_add_test(c, damage_is_united_never_dropped);
	tcase_add_test(c, dead_buffer_lives_until_its_successor);
	tcase_add_test(c, runs_cross_segments);
	tcase_add_test(c, runs_from_a_place);
	tcase_add_test(c, pointer_picture_must_be_known_and_64x64);
	tcase_add_test(c, halves_of_two_processes);
	tcase_add_test(c, panel_cannot_write_the_producers_pixels);
	tcase_add_test(c, wake_ups_never_block_whatever_the_other_side_does);
	tcase_add_test(c, memory_that_is_not_there_reads_as_zeros);
	tcase_add_test(c, memory_that_could_shrink_is_refused);
	tcase_add_test(c, synthetic_in_a_thread);
	tcase_add_test(c, synthetic_in_a_forked_child);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
