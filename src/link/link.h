/*
 * link - what passes between a producer of pictures (guest, UI, synthetic scanout) and the panel.
 *
 * A link is one shared memory object with two single-producer single-consumer rings of fixed-size messages and two
 * eventfds, plus the producer's pixel memory (a memfd: guest RAM, or the UI's buffers) that the panel maps read-only.
 * Messages hold no pointers, so the same code serves a thread and a forked child. No pixel is ever a message.
 *
 *            to_panel ring  (producer writes, the panel's worker reads)
 *   producer ------------------------------------------------------------> panel
 *            <------------------------------------------------------------
 *            to_producer ring (the panel's front thread writes, producer reads)
 *
 * The other side is not trusted: what is read from a ring is copied once, and link_table checks every field.
 * May include base. Knows neither KMS nor virtio.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

#define LINK_MESSAGE_SIZE 128
#define LINK_RING_SLOTS 2048 /* 256 KiB each way */
#define LINK_SEGMENTS_PER_MESSAGE 6
#define LINK_EVENTS_PER_MESSAGE 12
#define LINK_MAX_HEADS 4
#define LINK_MAX_BUFFERS 256       /* buffers alive at once on one link */
#define LINK_MAX_SEGMENTS 12000     /* segments of one buffer: with its header they fit into an empty ring */
#define LINK_MAX_SIDE 16384        /* pixels */
#define LINK_CURSOR_SIDE 64        /* pixels, both ways; virtio 1.2, section 5.7.6.10 */

enum link_type {
	/* producer -> panel */
	LINK_BUFFER = 1,  /* a new buffer; its segments follow */
	LINK_SEGMENTS,    /* the next segments of the buffer announced last */
	LINK_BUFFER_DEAD, /* the producer will not use it again; answered by LINK_RELEASED */
	LINK_FRAME,       /* show this buffer from now on, with this damage */
	LINK_NO_FRAME,    /* the head has no picture */
	LINK_VM_STATE,    /* the machine's life changed */
	LINK_ACTION,      /* the UI, or a machine that is off, asks for something */
	LINK_LEDS,        /* keyboard lights wanted by this side */
	LINK_CURSOR,      /* the head's pointer picture: moved, changed, shown or hidden */

	/* panel -> producer */
	LINK_PRESENTED = 64, /* frame `sequence` (and all before) was shown, or would have been */
	LINK_RELEASED,       /* the panel keeps nothing of this buffer */
	LINK_DISPLAY,        /* size and name of the panel behind this head */
	LINK_VISIBLE,        /* this producer's head is on / off the screen */
	LINK_INPUT,          /* one whole evdev packet */
	LINK_COMMAND,        /* to the machine: start, pause ... */
};

enum link_action {
	LINK_ACTION_SHOW, LINK_ACTION_HIDE, LINK_ACTION_TOGGLE, LINK_ACTION_VM, LINK_ACTION_QUIT, LINK_ACTION_GUEST_KEY,
	LINK_ACTION_OFF, /* the machine: stopped or crashed, and nothing but a command starts it */
};
enum link_vm_command { LINK_VM_START, LINK_VM_PAUSE, LINK_VM_RESUME, LINK_VM_POWERDOWN, LINK_VM_RESET, LINK_VM_STOP, LINK_VM_RESIZE_DISK };
enum link_device { LINK_KEYBOARD, LINK_POINTER_RELATIVE, LINK_POINTER_ABSOLUTE, LINK_TOUCH };

/* A buffer's name: the id may be used again with another generation while the panel still holds the old one. */
struct link_buffer_id {
	uint32_t id;
	uint32_t generation;
};

/* A run of bytes of the producer's pixel memory. */
struct link_segment {
	uint64_t offset; /* bytes from the start of the memfd */
	uint64_t length; /* bytes */
};

struct link_event {
	uint16_t type, code; /* evdev */
	int32_t value;
};

struct link_message {
	uint32_t type; /* enum link_type */
	uint32_t head; /* which scanout of the producer; 0 where it means nothing */
	union {
		struct {
			struct link_buffer_id buffer;
			uint32_t width, height; /* pixels */
			uint32_t stride;        /* bytes */
			uint32_t format;        /* DRM fourcc, 32 bits a pixel */
			uint64_t offset;        /* bytes from the start of the segments to the first pixel */
			uint32_t n_segments;
		} buffer;
		struct {
			struct link_buffer_id buffer;
			uint32_t count;
			uint32_t pad;
			struct link_segment segment[LINK_SEGMENTS_PER_MESSAGE];
		} segments;
		struct link_buffer_id dead;     /* also LINK_RELEASED */
		struct {
			struct link_buffer_id buffer;
			uint64_t sequence;   /* counts up per head, from 1 */
			struct rect source;  /* part of the buffer that is the picture */
			struct rect damage;  /* within source, in source coordinates of the buffer; what changed since the last frame of this head */
		} frame;
		struct {
			/*
			 * id 0: the picture stays what it was. Else a LINK_CURSOR_SIDE x LINK_CURSOR_SIDE buffer (DRM_FORMAT_ARGB8888 or
			 * another with alpha, premultiplied) that is copied while this message is handled: it may be dead a message later.
			 */
			struct link_buffer_id buffer;
			int32_t x, y;           /* of the picture's top left corner on the head, pixels; may lie outside */
			uint32_t hot_x, hot_y;  /* the pointing pixel within the picture: for information, (x, y) is not shifted by it */
			uint32_t visible;
		} cursor;
		struct {
			uint32_t state;      /* enum vm_state */
			uint32_t reason;     /* errno-like detail, 0 if none */
			char text[96];       /* NUL-terminated, for people */
		} vm_state;
		struct {
			uint32_t action;     /* enum link_action */
			uint32_t argument;   /* enum link_vm_command, or a key code */
			uint32_t held[3];    /* GUEST_KEY: keys held down meanwhile, in this order, 0: none */
		} action;
		struct {
			uint32_t leds;       /* bit per evdev LED_* */
		} leds;
		struct {
			uint64_t sequence;
			uint64_t time_ns;    /* CLOCK_MONOTONIC of the flip */
		} presented;
		struct {
			uint32_t width, height;   /* pixels; 0: head disabled */
			uint32_t refresh_mhz;
			uint32_t width_mm, height_mm;
			char name[16];            /* monitor name, NUL-terminated */
		} display;
		struct {
			uint32_t visible;
		} visible;
		struct {
			uint64_t time_ns;    /* of the physical event, CLOCK_MONOTONIC */
			uint32_t device;     /* enum link_device */
			uint32_t count;
			struct link_event event[LINK_EVENTS_PER_MESSAGE]; /* ends with SYN_REPORT */
		} input;
		struct {
			uint32_t command;    /* enum link_vm_command */
			uint32_t argument;   /* RESIZE_DISK: which, from 1 */
		} command;
		uint8_t raw[LINK_MESSAGE_SIZE - 8];
	};
};
_Static_assert(sizeof(struct link_message) == LINK_MESSAGE_SIZE, "a message is one slot");

struct link; /* both ends' shared part: fds and the mapping */

/*
 * Creates a link over `pixels_fd` (memfd; borrowed, must outlive the link) of pixels_size bytes. The panel's read-only
 * mapping of the pixels is made here. Returns NULL with errno. May be used across fork(): the child uses the producer's calls only.
 */
struct link *link_create(int pixels_fd, uint64_t pixels_size);
void link_destroy(struct link *link);

/* What the panel's half of a link between two processes is made of; -1: none. Passed over a socket. */
struct link_handles {
	int rings;  /* memfd of the rings */
	int pixels; /* the producer's memory, an opening of its own that cannot write */
	int wake;   /* one end of a socket pair: bytes are wake-ups, the end of file is the other side's end */
};

/*
 * A link whose other half is another process: returns the producer's half and fills the panel's handles, which the caller passes
 * on and closes. Nothing is shared but the rings and the pixels: eventfds would be, and who shares an open description can make
 * the other's writes block (O_NONBLOCK belongs to it). pixels_fd as in link_create(). NULL with errno; needs /proc.
 */
struct link *link_create_apart(int pixels_fd, uint64_t pixels_size, struct link_handles *panel);
/*
 * The panel's half of such a link. The handles belong to it now, also after a failure. NULL with errno: EPERM when the memory could shrink under the panel, EINVAL when it is not what the other half made.
 */
struct link *link_open(const struct link_handles *handles);
void link_handles_close(struct link_handles *handles);

/* The panel's mapping of the producer's pixel memory: read only, pixels_size bytes. */
const uint8_t *link_pixels(const struct link *link);
uint64_t link_pixels_size(const struct link *link);
/* Its memfd, for handing pages of it to a display driver; in the panel's half of a link between processes an opening that cannot write. Owned by the link. -1 in the producer's half. */
int link_pixels_fd(const struct link *link);
/* Whether the producer is another process. */
bool link_is_apart(const struct link *link);
/* Nobody needs that descriptor: closes it. The mapping stays. */
void link_forget_pixels_fd(struct link *link);

/* Readable when the named side has messages; owned by the link. -1 once the other process is gone, and for the half that is not here. */
int link_panel_fd(const struct link *link);
int link_producer_fd(const struct link *link);

/* Sending: false when the ring is full (nothing sent). One thread per side and direction. Wakes the other side. */
bool link_send_to_panel(struct link *link, const struct link_message *message);
bool link_send_to_producer(struct link *link, const struct link_message *message);
/* Free slots now, as a sender sees it: what is asked for first will fit. */
uint32_t link_room_to_panel(struct link *link);
uint32_t link_room_to_producer(struct link *link);
/* Receiving: copies one message; false when empty. A peer that corrupts its indices yields false and is logged once. */
bool link_receive_for_panel(struct link *link, struct link_message *message);
bool link_receive_for_producer(struct link *link, struct link_message *message);
/* Clear what woke this side, before draining. */
void link_ack_panel(struct link *link);
void link_ack_producer(struct link *link);

/*
 * Sends LINK_BUFFER and all LINK_SEGMENTS, or nothing at all (false) when there is no room for the whole.
 * segments: n_segments runs in order; n_segments 1..LINK_MAX_SEGMENTS.
 */
bool link_send_buffer(struct link *link, struct link_buffer_id buffer, uint32_t width, uint32_t height, uint32_t stride,
	uint32_t format, uint64_t offset, const struct link_segment *segments, uint32_t n_segments);
/* Messages that link_send_buffer needs for n_segments. */
uint32_t link_buffer_messages(uint32_t n_segments);
