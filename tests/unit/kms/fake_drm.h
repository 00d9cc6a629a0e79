/*
 * A display card below the real libdrm: its device file is a pipe that page-flip events are read from, and ioctl(), mmap() and open() of the program
 * come here first (fake_drm_calls.c). Connectors, CRTCs, planes, properties, blobs, framebuffers, PRIME handles and the DRM master behave as Linux'
 * drivers/gpu/drm does, errors included. One card, started by fake_drm_reset(); what the test writes into it is heeded at the next ioctl.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <libudev.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

/* Objects of the card. CRTC 1 and the second connector have nothing of ours unless a test lights them. */
enum fake_object {
	FAKE_CONNECTOR,
	FAKE_CONNECTOR_1,
	FAKE_CRTC,
	FAKE_CRTC_1,
	FAKE_PRIMARY,
	FAKE_PRIMARY_1,
	FAKE_OVERLAY,
	FAKE_CURSOR,
	FAKE_OBJECTS
};

#define FAKE_ID(object) (10u + (uint32_t)(object))

enum fake_prop {
	FAKE_TYPE, /* what comes before FAKE_ROTATION (but this one) is shown to atomic clients only */
	FAKE_FB_ID,
	FAKE_CRTC_ID,
	FAKE_SRC_X,
	FAKE_SRC_Y,
	FAKE_SRC_W,
	FAKE_SRC_H,
	FAKE_CRTC_X,
	FAKE_CRTC_Y,
	FAKE_CRTC_W,
	FAKE_CRTC_H,
	FAKE_DAMAGE_CLIPS,
	FAKE_MODE_ID,
	FAKE_ACTIVE,
	FAKE_ROTATION,
	FAKE_GAMMA_LUT,
	FAKE_DPMS,
	FAKE_LINK_STATUS,
	FAKE_PROPS
};

/* The next `count` ioctls of a kind fail, the first `skip` of them left out. */
struct fake_script {
	unsigned long request; /* DRM_IOCTL_... */
	int error;
	uint32_t skip, count;
	bool tests;    /* atomic: TEST_ONLY commits count too; else only real ones do */
	uint32_t with; /* atomic: only commits that set something of this object (FAKE_ID); 0: all */
	bool shows;    /* and those only that show something on it, if it is a plane */
	bool imported; /* atomic: only commits of framebuffers over other memory */
};

struct fake_drm {
	/* What the card is. */
	const char *driver;
	bool no_dumb, no_atomic, no_page_flip, no_vblank, no_prime, no_udmabuf, no_overlay, no_clips;
	bool clears;           /* a modeset clears all dumb buffers, as QEMU's VGA does with bochs-drm */
	bool dirty;            /* DRM_IOCTL_MODE_DIRTYFB works */
	bool uploads;          /* what is committed or told by DIRTYFB is sent to the screen, no more, as virtio_gpu does */
	uint64_t parameters;   /* bit per DRM_IOCTL_VIRTGPU_GETPARAM that is 1 */
	bool scales;           /* planes may scale */
	bool small_primary;    /* the primary plane need not cover its CRTC */
	bool connected;        /* the first connector has a monitor */
	bool second;           /* and the second one has one like it */
	uint16_t width, height; /* of its mode, 60 Hz */
	uint16_t second_width, second_height; /* of the second one's; 0: as the first one's */
	bool no_crtc_id;        /* flip events do not say of which CRTC they are: before Linux 4.12 */
	uint32_t overlay_format;

	/* What goes wrong. */
	struct fake_script script[4];
	bool inactive;     /* another program is master: EACCES */
	bool gone;         /* the card was taken out: ENODEV. By fake_drm_take_out(). */
	int gone_error;    /* another errno for that; 0: ENODEV */
	bool hold_flips;   /* until fake_drm_flip() */
	bool hold_second;  /* those of CRTC 1 alone */
	bool lose_flips;   /* never reported */
	void (*before)(unsigned long request); /* called ahead of every ioctl, unlocked */
	void (*sync)(int dmabuf, uint64_t flags); /* DMA_BUF_IOCTL_SYNC on any file; NULL: there is none */

	/* What was asked of it. */
	uint32_t ioctls;
	uint32_t commits, tests, modesets; /* atomic commits that were taken, TEST_ONLY ones apart; those that may set the mode */
	uint32_t set_crtc, page_flips, dirties;
	uint32_t refused;                  /* commits of all kinds that failed */
	uint64_t uploaded;                 /* pixels */
	bool clipped;                      /* the last commit (or DIRTYFB) carried damage: clip */
	struct drm_mode_rect clip;
	uint32_t blobs;                    /* made */
	_Atomic uint32_t cards;            /* put in after the first one: the present one's minor number */
	_Atomic uint32_t taken;            /* that of the last one taken out */
	_Atomic uint32_t opens;            /* attempts */
	uint32_t overtaken;                /* flips that were asked for while one was in flight on the same CRTC that its program waits for */
	uint32_t strays;                   /* framebuffers and handles freed that this card does not have */
	uint32_t closed_mapped;            /* mappings that were there when it was closed: they keep the file open */
	uint32_t pulled;                   /* framebuffers removed while they were on the first connector's screen: it goes dark */
	uint32_t pulled_beside;            /* or elsewhere */
};

extern struct fake_drm card;

/* Around what a test writes into `card` while the panel runs, where nothing else orders that and what its threads read. */
void fake_drm_lock(void);
void fake_drm_unlock(void);
/* A new card with a monitor of 64x48, nothing on the screen. Ends what was there before. */
void fake_drm_reset(void);
/* Its device file, made new; the session's open. -1 with errno. */
int fake_drm_open(void);
void fake_drm_close(void);
/* The card is gone, for whoever has it open too; another one is there, with nothing on it. The kernel says nothing of either by itself. */
void fake_drm_take_out(void);
void fake_drm_put_in(void);
/* The flip in flight is done now, on one of its CRTCs. False: there is none. */
bool fake_drm_flip(void);
/* The same of one CRTC (0 or 1). */
bool fake_drm_flip_of(uint32_t crtc);
bool fake_drm_pending(void);
/* Whether a picture is to be seen, and its pixel as XRGB: primary, overlay over it. On the first connector, or on one of the two. */
bool fake_drm_lit(void);
uint32_t fake_drm_pixel(uint32_t x, uint32_t y);
bool fake_drm_lit_on(enum fake_object connector);
uint32_t fake_drm_pixel_on(enum fake_object connector, uint32_t x, uint32_t y);
uint64_t fake_drm_value(enum fake_object object, enum fake_prop prop);
/* As another program left it. */
void fake_drm_leave(enum fake_object object, enum fake_prop prop, uint64_t value);
/* A picture of another program's on an object, so that it is seen. Returns its framebuffer. */
uint32_t fake_drm_foreign(enum fake_object plane);
/*
 * Memory of the card's that another library made: the first `size` bytes of the file `shown`; exported as `dmabuf` (-1: it cannot be). Both stay the
 * caller's. 0, or an errno.
 */
int fake_drm_adopt(int shown, int dmabuf, uint64_t size, uint32_t *handle);
void fake_drm_disown(uint32_t handle);
/* What is still held: blobs, framebuffers, handles, mappings, each in its decimal place from the right. 0: nothing. */
uint32_t fake_drm_leaks(void);

/* fake_seat.c: struct session of this program. */
struct session *fake_seat(void);

/* fake_udev.c: the kernel's news, and the list of cards: one, while it is there, /dev/dri/card0 or, of others put in later, card1 and so on. */
void fake_uevent(const char *action, dev_t devnum);
/* Connectors changed; the card is gone; a card is there. */
void fake_hotplug(void);
void fake_removed(void);
void fake_added(void);
