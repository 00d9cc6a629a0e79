/* SPDX-License-Identifier: MIT */
/*
 * The tiny guest: one static program that is /init of an initramfs. It paints an exact picture on the first DRM card,
 * counts frames in it, and tells the serial port what it sees. README.md in the folder above describes the picture and the lines.
 *
 * main.c     start, options, commands, the loop
 * picture.c  the pixels, nothing else
 * screen.c   the card: modes, buffers, flips, by DRM ioctls
 * input.c    event devices
 * driver.c   their driver
 * disk.c     virtio disks
 * modules.c  kernel modules (shared with root.c, the /init of the desktop guest)
 *
 * One thread. Nothing here is freed at exit: the program never exits.
 */
#ifndef TINY_H
#define TINY_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- main.c: what goes to the serial port ---- */

/* Writes "TINY:", the text and a newline as one write. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Writes TINY:ERROR <what>: <text of the error number>. */
void complain(const char *what, int error);
/* Milliseconds since the kernel started (CLOCK_BOOTTIME, the clock of /proc/uptime). */
uint64_t uptime_ms(void);

/* ---- picture.c ---- */

struct picture {
	uint32_t *pixels;	/* XRGB8888 */
	uint32_t width, height;	/* pixels */
	uint32_t stride;	/* pixels */
};

/* What of the picture changes. */
struct painted {
	uint32_t counter;
	uint16_t key;		/* last key code seen */
	bool key_down;
};

struct rectangle {
	uint32_t x1, y1, x2, y2;	/* ends exclusive */
};

/* Paints everything. */
void picture_paint(struct picture *picture, const struct painted *painted);
/* Paints only what changes. Returns the rectangle that holds it all. */
struct rectangle picture_update(struct picture *picture, const struct painted *painted);

/* ---- screen.c ---- */

struct screen;

/* Opens /dev/dri/card0. NULL with errno when there is none (yet). */
struct screen *screen_open(void);
int screen_fd(const struct screen *screen);
/*
 * Looks at the connector again, takes its preferred mode (or the wish, when it offers it), and makes and shows new buffers when
 * that is a change. True when something was put on the screen.
 */
bool screen_update(struct screen *screen, const struct painted *painted);
/* Wishes for a mode; 0x0 means the preferred one. */
void screen_wish(struct screen *screen, uint32_t width, uint32_t height);
/* Shows the counter of `painted`: by a flip to the other buffer when `flip`, else in place with a dirty rectangle. False: not now. */
bool screen_show(struct screen *screen, const struct painted *painted, bool flip);
/* Takes events off the card; true when a flip has completed. */
bool screen_event(struct screen *screen);
bool screen_flipping(const struct screen *screen);
/* Switches the CRTC off, or on again with a full repaint. */
bool screen_blank(struct screen *screen, bool blank, const struct painted *painted);
/* A 64x64 cursor image, a 16x16 magenta square in its corner and else transparent; moved in pixels. */
void screen_cursor(struct screen *screen, bool on);
void screen_cursor_move(struct screen *screen, uint32_t x, uint32_t y);
uint32_t screen_width(const struct screen *screen);
uint32_t screen_height(const struct screen *screen);

/* ---- input.c ---- */

#define INPUT_MAX 32

struct input {
	struct input_device {
		int fd;		/* -1: free */
		int number;	/* of /dev/input/eventN */
		int max_x, max_y;	/* of ABS_X and ABS_Y; 0: none */
		bool power;	/* the ACPI power button */
	} devices[INPUT_MAX];
	bool syn;		/* also print SYN_REPORT */
	uint16_t key;
	bool key_down;
	bool key_news;		/* a key changed since this was last cleared */
	int x, y;		/* last ABS_X, ABS_Y in thousandths of the range */
	bool pointer_news;
	bool leds_on;
	bool power;		/* the machine was asked to go down */
};

void input_init(struct input *input);
/* Opens what is new under /dev/input. */
void input_scan(struct input *input);
/* Reads one device until it is empty; drops it when it is gone. */
void input_read(struct input *input, struct input_device *device);
/* Turns the keyboards' LEDs over by writing EV_LED to them. */
void input_leds(struct input *input);
/* Prints the keys and buttons that the kernel counts as down, "eventN:CODE" each. */
void input_keys(const struct input *input);

/* ---- driver.c: virtio_input ---- */

/* As rmmod and insmod do. False with errno. */
bool driver_unload(void);
bool driver_load(void);
/* Its devices' interrupts off, or on again: off, it never refills an event queue. Returns the number of devices. */
int driver_deaf(bool deaf);

/* ---- disk.c ---- */

/* Prints a TINY:DISK line for each virtio disk that was not named before. */
void disk_scan(void);
/* Writes, reads back and restores 4 KiB of /dev/vda, and says TINY:DISKTEST. */
void disk_test(void);

#endif
