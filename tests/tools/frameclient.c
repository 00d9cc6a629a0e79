/*
 * A Wayland client for the desktop guest: covers the screen with one colour a frame, as fast as the compositor asks for frames. Static, and speaks the protocol itself
 * (wayland.xml, xdg-shell.xml), so that it runs in any guest without being part of its image.
 *
 *   frameclient SECONDS TTY      prints FRAMES ready on TTY before the first frame, which is number 1, and FRAMES last=N WxH before it ends
 *
 * The colour of frame n is n * 0x9e3779 in the lower 24 bits: no two of 16 million frames are alike, and neighbours differ in every channel.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BUFFERS 3

/* Objects, by the number that we gave them: one after the other, as the protocol wants it. */
enum { DISPLAY = 1, REGISTRY, CALLBACK, FIRST_GLOBAL, SURFACE = FIRST_GLOBAL + 3, XDG_SURFACE, TOPLEVEL, POOL, BUFFER };

static int wayland = -1;
static uint32_t compositor, shm, wm, globals; /* in whatever order they are announced */
static uint32_t width, height, frame;
static bool configured, free_buffer[BUFFERS];
static bool due; /* the compositor wants a frame */
static uint32_t *pixels;

static void listen_once(void);

static void die(const char *what)
{
	fprintf(stderr, "frameclient: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* One request: n words; fd goes with it unless it is -1. */
static void request(uint32_t object, uint32_t opcode, const uint32_t *words, uint32_t n, int fd)
{
	uint32_t message[64] = { object, (8 + 4 * n) << 16 | opcode };
	memcpy(message + 2, words, 4 * n);
	struct iovec data = { message, 8 + 4 * n };
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr header = { .msg_iov = &data, .msg_iovlen = 1 };
	if (fd >= 0) {
		header.msg_control = control.room;
		header.msg_controllen = sizeof(control.room);
		struct cmsghdr *c = CMSG_FIRSTHDR(&header);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (sendmsg(wayland, &header, MSG_NOSIGNAL) == (ssize_t)data.iov_len)
		return;
	for (;;)
		listen_once(); /* it has said why, before it hung up */
}
#define REQUEST(object, opcode, ...) request(object, opcode, (const uint32_t[]){ __VA_ARGS__ }, sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4, -1)

/* wl_registry.bind: the interface's name goes along, with its length and a zero. */
static void bind_global(uint32_t name, const char *interface, uint32_t version, uint32_t id)
{
	uint32_t words[32] = { name, (uint32_t)strlen(interface) + 1 }, n = 2 + (words[1] + 3) / 4;
	memcpy(words + 2, interface, words[1]);
	words[n++] = version;
	words[n++] = id;
	request(REGISTRY, 0, words, n, -1);
}

static void global(const uint32_t *words)
{
	static const struct {
		const char *name;
		uint32_t version, *id;
	} wanted[] = { { "wl_compositor", 4, &compositor }, { "wl_shm", 1, &shm }, { "xdg_wm_base", 1, &wm } };
	for (uint32_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (strcmp((const char *)(words + 2), wanted[i].name) == 0 && *wanted[i].id == 0) {
			*wanted[i].id = FIRST_GLOBAL + globals++;
			bind_global(words[0], wanted[i].name, wanted[i].version, *wanted[i].id);
		}
}

static void event(uint32_t object, uint32_t opcode, const uint32_t *words)
{
	if (object == DISPLAY && opcode == 0) {
		fprintf(stderr, "frameclient: the compositor refuses: object %u, error %u, %s\n", words[0], words[1], (const char *)(words + 3));
		exit(1);
	} else if (object == REGISTRY && opcode == 0) {
		global(words);
	} else if (object == wm) {
		REQUEST(wm, 3, words[0]); /* pong */
	} else if (object == TOPLEVEL && opcode == 0 && words[0] > 0) {
		width = words[0];
		height = words[1];
	} else if (object == XDG_SURFACE) {
		REQUEST(XDG_SURFACE, 4, words[0]); /* ack_configure */
		configured = true;
	} else if (object >= BUFFER && object < BUFFER + BUFFERS) {
		free_buffer[object - BUFFER] = true;
	} else if (object == CALLBACK) {
		due = true;
	}
}

/* Takes what the compositor has sent; waits for it. */
static void listen_once(void)
{
	static uint32_t data[16384];
	static uint32_t have; /* bytes */
	ssize_t got = read(wayland, (char *)data + have, sizeof(data) - have);
	if (got <= 0)
		die("the compositor");
	have += (uint32_t)got;
	uint32_t at = 0;
	while (have - at >= 8 && have - at >= data[at / 4 + 1] >> 16) {
		uint32_t size = data[at / 4 + 1] >> 16;
		event(data[at / 4], data[at / 4 + 1] & 0xffff, data + at / 4 + 2);
		at += size;
	}
	memmove(data, (char *)data + at, have - at);
	have -= at;
}

static void connect_display(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", getenv("XDG_RUNTIME_DIR"), getenv("WAYLAND_DISPLAY"));
	wayland = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (wayland < 0 || connect(wayland, (struct sockaddr *)&address, sizeof(address)) < 0)
		die(address.sun_path);
	REQUEST(DISPLAY, 1, REGISTRY);
	REQUEST(DISPLAY, 0, CALLBACK); /* sync: all globals are known when it comes */
	while (!due)
		listen_once();
	if (globals != 3) {
		fprintf(stderr, "frameclient: the compositor lacks wl_compositor, wl_shm or xdg_wm_base\n");
		exit(1);
	}
}

static void make_surface(void)
{
	REQUEST(compositor, 0, SURFACE);
	REQUEST(wm, 2, XDG_SURFACE, SURFACE);
	REQUEST(XDG_SURFACE, 1, TOPLEVEL);
	REQUEST(TOPLEVEL, 11, 0); /* set_fullscreen */
	request(SURFACE, 6, NULL, 0, -1);
	while (!configured || width == 0)
		listen_once();
}

static void make_buffers(void)
{
	uint32_t each = width * height * 4;
	int fd = memfd_create("frames", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)each * BUFFERS) < 0)
		die("memory");
	pixels = mmap(NULL, (size_t)each * BUFFERS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (pixels == MAP_FAILED)
		die("memory");
	request(shm, 0, (const uint32_t[]){ POOL, each * BUFFERS }, 2, fd);
	for (uint32_t i = 0; i < BUFFERS; i++) {
		REQUEST(POOL, 0, BUFFER + i, i * each, width, height, width * 4, 1); /* XRGB8888 */
		free_buffer[i] = true;
	}
}

static bool draw(void)
{
	uint32_t i = 0;
	while (i < BUFFERS && !free_buffer[i])
		i++;
	if (i == BUFFERS)
		return false;
	uint32_t *at = pixels + (size_t)i * width * height, colour = ++frame * 0x9e3779u & 0xffffff;
	for (uint32_t n = 0; n < width * height; n++)
		at[n] = colour;
	free_buffer[i] = due = false;
	REQUEST(SURFACE, 1, BUFFER + i, 0, 0);
	REQUEST(SURFACE, 9, 0, 0, width, height); /* damage_buffer */
	REQUEST(SURFACE, 3, CALLBACK);
	request(SURFACE, 6, NULL, 0, -1);
	return true;
}

int main(int argc, char **argv)
{
	struct timespec begin, now;
	FILE *tty = argc == 3 ? fopen(argv[2], "w") : NULL;
	if (tty == NULL)
		return 2;
	connect_display();
	make_surface();
	make_buffers();
	clock_gettime(CLOCK_MONOTONIC, &begin);
	fprintf(tty, "FRAMES ready\r\n");
	fflush(tty);
	do {
		while (!due || !draw())
			listen_once();
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - begin.tv_sec < atol(argv[1]));
	fprintf(tty, "FRAMES last=%u %ux%u\r\n", frame, width, height);
	return 0;
}
