#define LOG_MODULE "synthetic"
#include "link/synthetic.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/stats.h"

#define FORMAT_XRGB8888 0x34325258u /* fourcc "XR24", drm_fourcc.h */
#define CORNER 64u
#define COUNTER_X 100u
#define COUNTER_Y 100u
#define COUNTER_BLOCK 16u
#define MOVER 48u

/* Of one head. */
struct producer {
	const struct synthetic_config *config;
	uint32_t head;
	uint8_t *pixels;
	uint32_t width, height; /* 0: no display yet */
	bool announced;
	uint32_t generation;
	uint64_t sequence, presented;
	uint64_t next_ns;    /* no frame before */
	uint64_t painted[2]; /* frame in each buffer; 0: none */
};

int synthetic_memory(uint32_t max_width, uint32_t max_height, uint64_t *size)
{
	*size = ((uint64_t)max_width * max_height * 4 * 2 + 4095) & ~4095ull;
	int fd = memfd_create("rayvm-synthetic", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)*size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static struct rect mover(uint32_t width, uint32_t height, uint64_t frame)
{
	uint32_t span = width > MOVER ? width - MOVER : 1;
	uint32_t y = height > 2 * MOVER ? height / 2 : 0;
	return (struct rect){ (uint32_t)(frame * 8 % span), y, MOVER, MOVER };
}

static bool inside(struct rect r, uint32_t x, uint32_t y)
{
	return x >= r.x && x - r.x < r.w && y >= r.y && y - r.y < r.h;
}

uint32_t synthetic_pixel_on(uint32_t head, uint32_t width, uint32_t height, uint64_t frame, uint32_t x, uint32_t y)
{
	static const uint32_t bars[8] = { 0x202830, 0x28303c, 0x303c4c, 0x384858, 0x405464, 0x385058, 0x30444c, 0x283840 };
	static const uint32_t tint[LINK_MAX_HEADS] = { 0, 0x600000, 0x006000, 0x000060 };

	if (inside((struct rect){ COUNTER_X, COUNTER_Y, 32 * COUNTER_BLOCK, COUNTER_BLOCK }, x, y)) {
		uint32_t bit = 31 - (x - COUNTER_X) / COUNTER_BLOCK;
		return frame >> bit & 1 ? 0xffffff : 0x000000;
	}
	bool left = x < CORNER, right = x + CORNER >= width, top = y < CORNER, bottom = y + CORNER >= height;
	if (left && top)
		return 0xff0000;
	if (right && top)
		return 0x00ff00;
	if (left && bottom)
		return 0x0000ff;
	if (right && bottom)
		return 0xffff00;
	if (inside(mover(width, height, frame), x, y))
		return 0xffffff;
	return bars[(uint64_t)x * 8 / width] + tint[head];
}

uint32_t synthetic_pixel(uint32_t width, uint32_t height, uint64_t frame, uint32_t x, uint32_t y)
{
	return synthetic_pixel_on(0, width, height, frame, x, y);
}

static struct rect clip(const struct producer *producer, struct rect r)
{
	return rect_intersect(r, (struct rect){ 0, 0, producer->width, producer->height });
}

static uint32_t heads_of(const struct synthetic_config *config)
{
	return config->heads != 0 ? config->heads : 1;
}

/* Room of one buffer. */
static uint64_t slot_bytes(const struct synthetic_config *config)
{
	return config->pixels_size / (2 * heads_of(config));
}

static uint64_t slot_offset(const struct producer *producer, uint32_t index)
{
	return (2 * producer->head + index) * slot_bytes(producer->config);
}

static struct link_buffer_id buffer_name(const struct producer *producer, uint32_t index)
{
	return (struct link_buffer_id){ 2 * producer->head + index + 1, producer->generation };
}

static uint64_t buffer_bytes(const struct producer *producer)
{
	return (uint64_t)producer->width * producer->height * 4;
}

static void paint(struct producer *producer, uint32_t index, uint64_t frame, struct rect r)
{
	uint32_t *base = (uint32_t *)(void *)(producer->pixels + slot_offset(producer, index));
	r = clip(producer, r);
	for (uint32_t y = r.y; y < r.y + r.h; y++)
		for (uint32_t x = r.x; x < r.x + r.w; x++)
			base[(uint64_t)y * producer->width + x] = synthetic_pixel_on(producer->head, producer->width, producer->height, frame, x, y);
}

static struct rect counter_rect(void)
{
	return (struct rect){ COUNTER_X, COUNTER_Y, 32 * COUNTER_BLOCK, COUNTER_BLOCK };
}

static bool announce(struct producer *producer)
{
	if (link_room_to_panel(producer->config->link) < 2 * link_buffer_messages(1))
		return false;
	for (uint32_t i = 0; i < 2; i++) {
		struct link_segment segment = { slot_offset(producer, i), buffer_bytes(producer) };
		link_send_buffer(producer->config->link, buffer_name(producer, i), producer->width,
			producer->height, producer->width * 4, FORMAT_XRGB8888, 0, &segment, 1);
		producer->painted[i] = 0;
	}
	producer->announced = true;
	return true;
}

static void retire(struct producer *producer)
{
	if (!producer->announced)
		return;
	for (uint32_t i = 0; i < 2; i++) {
		struct link_message message = { .type = LINK_BUFFER_DEAD, .dead = buffer_name(producer, i) };
		if (!link_send_to_panel(producer->config->link, &message))
			log_warn("the panel does not take messages: a buffer stays announced");
	}
	producer->generation++;
	producer->announced = false;
}

/* Paints the next frame into the buffer that is not shown and publishes it. False: not now. */
static bool publish(struct producer *producer)
{
	/* The buffer to paint was shown until the last frame's flip. */
	if (producer->width == 0 || producer->presented < producer->sequence)
		return false;
	if (!producer->announced && !announce(producer))
		return false;

	uint64_t frame = producer->sequence + 1;
	uint32_t index = (uint32_t)(frame & 1);
	uint64_t old = producer->painted[index];
	if (old == 0) {
		paint(producer, index, frame, (struct rect){ 0, 0, producer->width, producer->height });
	} else {
		paint(producer, index, frame, mover(producer->width, producer->height, old));
		paint(producer, index, frame, mover(producer->width, producer->height, frame));
		paint(producer, index, frame, counter_rect());
	}
	producer->painted[index] = frame;

	struct rect whole = { 0, 0, producer->width, producer->height }, damage = whole;
	if (old != 0) {
		damage = rect_union(mover(producer->width, producer->height, frame), mover(producer->width, producer->height, frame - 1));
		damage = clip(producer, rect_union(damage, counter_rect()));
	}
	struct link_message message = {
		.type = LINK_FRAME,
		.head = producer->head,
		.frame = { .buffer = buffer_name(producer, index), .sequence = frame, .source = whole, .damage = damage },
	};
	if (!link_send_to_panel(producer->config->link, &message))
		return false;
	producer->sequence = frame;
	if (producer->config->stats != NULL && producer->head == 0)
		atomic_fetch_add(&producer->config->stats->frames_flushed, 1);
	return true;
}

static void resize(struct producer *producer, uint32_t width, uint32_t height)
{
	if (width == producer->width && height == producer->height)
		return;
	retire(producer);
	if ((uint64_t)width * height * 4 > slot_bytes(producer->config)) {
		log_error("display of %ux%u is larger than the pattern's memory", width, height);
		width = height = 0;
	}
	if (width == 0) {
		struct link_message none = { .type = LINK_NO_FRAME, .head = producer->head };
		link_send_to_panel(producer->config->link, &none);
	}
	producer->width = width;
	producer->height = height;
}

static void presented(struct producer *producer, const struct link_message *message)
{
	if (message->presented.sequence <= producer->presented || message->presented.sequence > producer->sequence)
		return;
	producer->presented = message->presented.sequence;
	if (producer->config->presented != NULL && producer->head == 0)
		producer->config->presented(producer->config->data, message->presented.time_ns);
}

static void take_messages(const struct synthetic_config *config, struct producer *producer)
{
	struct link_message message;
	link_ack_producer(config->link);
	while (link_receive_for_producer(config->link, &message)) {
		bool ours = message.head < heads_of(config);
		switch (message.type) {
		case LINK_DISPLAY:
			if (ours)
				resize(&producer[message.head], message.display.width, message.display.height);
			break;
		case LINK_PRESENTED:
			if (ours)
				presented(&producer[message.head], &message);
			break;
		case LINK_INPUT:
			for (uint32_t i = 0; i < message.input.count && i < LINK_EVENTS_PER_MESSAGE; i++)
				log_debug("input device %u type %u code %u value %d", message.input.device, message.input.event[i].type,
					message.input.event[i].code, message.input.event[i].value);
			break;
		default:
			break;
		}
	}
}

/* Milliseconds until one of them has something to paint; -1: until the panel says something. */
static int wait_ms(const struct producer *producer, uint32_t n, uint64_t now)
{
	int ms = -1;
	for (uint32_t h = 0; h < n; h++) {
		const struct producer *p = &producer[h];
		/* No display, or the last frame not shown yet. */
		if (p->width == 0 || p->presented < p->sequence)
			continue;
		int due = p->next_ns > now ? (int)((p->next_ns - now) / NSEC_PER_MSEC) + 1 : 1;
		if (ms < 0 || due < ms)
			ms = due;
	}
	return ms;
}

uint64_t synthetic_run(const struct synthetic_config *config)
{
	struct producer producer[LINK_MAX_HEADS] = { 0 };
	uint32_t n = heads_of(config);
	void *map = mmap(NULL, config->pixels_size, PROT_READ | PROT_WRITE, MAP_SHARED, config->pixels_fd, 0);
	if (map == MAP_FAILED) {
		log_error("cannot map the pattern's memory: %s", strerror(errno));
		return 0;
	}
	for (uint32_t h = 0; h < n; h++)
		producer[h] = (struct producer){ .config = config, .head = h, .pixels = map, .generation = 1, .next_ns = clock_now_ns() };

	uint64_t interval = NSEC_PER_SEC / (config->fps != 0 ? config->fps : 60);
	while (config->frames == 0 || producer[0].sequence < config->frames) {
		uint64_t now = clock_now_ns();
		for (uint32_t h = 0; h < n; h++)
			if (now >= producer[h].next_ns && publish(&producer[h]))
				producer[h].next_ns = now + interval;
		struct pollfd fds[2] = {
			{ .fd = config->stop_fd, .events = POLLIN },
			{ .fd = link_producer_fd(config->link), .events = POLLIN },
		};
		if (poll(fds, 2, wait_ms(producer, n, clock_now_ns())) < 0 && errno != EINTR)
			break;
		if (fds[0].revents != 0)
			break;
		if (fds[1].revents != 0)
			take_messages(config, producer);
	}
	for (uint32_t h = 0; h < n; h++) {
		struct link_message none = { .type = LINK_NO_FRAME, .head = h };
		link_send_to_panel(config->link, &none);
		retire(&producer[h]);
	}
	munmap(map, config->pixels_size);
	return producer[0].sequence;
}
