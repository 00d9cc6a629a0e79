/* Draws both faces of the native UI as they stand after some typing and writes PNG files: [UI_POINTER=X,Y] [UI_HINT=TEXT] [UI_NO_KEYBOARD=1] ui-snapshot DIR WIDTHxHEIGHT [LINE...] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <png.h>

#include "fake_panel.h"

static bool write_png(const char *path, const uint32_t *pixels, uint32_t width, uint32_t height)
{
	png_image image = { .version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_BGRA };
	uint32_t *opaque = malloc((size_t)width * height * 4);
	if (!opaque)
		return false;
	for (size_t i = 0; i < (size_t)width * height; i++)
		opaque[i] = pixels[i] | 0xff000000u;
	bool written = png_image_write_to_file(&image, path, 0, opaque, 0, NULL) != 0;
	free(opaque);
	return written;
}

static void no_keyboard(struct status *status, void *data)
{
	(void)data;
	status->plugged = true;
	status->session = SESSION_ACTIVE;
}

int main(int argc, char **argv)
{
	unsigned width, height;
	if (argc < 3 || sscanf(argv[2], "%ux%u", &width, &height) != 2) {
		fprintf(stderr, "usage: %s DIR WIDTHxHEIGHT [LINE...]\n", argv[0]);
		return 2;
	}
	struct fake_panel panel;
	fake_panel_open(&panel, width, height, getenv("UI_HINT"));
	status_board_line(panel.board, STATUS_VM, STATUS_OK, "running: 4 CPUs, 2 GiB, Debian 6.12.48");
	status_board_line(panel.board, STATUS_DISPLAY, STATUS_OK, "HDMI-A-1 %ux%u 60.00 Hz, virtio_gpu, atomic", width, height);
	status_board_line(panel.board, STATUS_INPUT, STATUS_BUSY, "2 keyboards, waiting for a pointer");
	status_board_line(panel.board, STATUS_DISK, STATUS_OFF, "none: --disk FILE gives the machine one");
	status_board_line(panel.board, STATUS_MEMORY, STATUS_BAD, "2048 MiB for the machine, 310 MiB left for everything else on this computer");
	if (getenv("UI_NO_KEYBOARD")) {
		status_board_line(panel.board, STATUS_INPUT, STATUS_OFF, "no keyboard: plug one in");
		status_board_update(panel.board, no_keyboard, NULL);
	}
	fake_panel_vm(&panel, VM_STARTING);
	fake_panel_display(&panel, width, height);
	if (!getenv("UI_HINT"))
		fake_panel_vm(&panel, VM_RUNNING);
	else
		fake_panel_vm(&panel, VM_NONE);
	fake_panel_wait_size(&panel, width, height);
	for (int i = 3; i < argc; i++) {
		fake_panel_type(&panel, argv[i]);
		if (i < argc - 1)
			fake_panel_tap(&panel, KEY_ENTER);
		fake_panel_settle(&panel);
	}
	int x, y;
	if (getenv("UI_POINTER") && sscanf(getenv("UI_POINTER"), "%d,%d", &x, &y) == 2) {
		fake_panel_visible(&panel, 0, true);
		fake_panel_packet(&panel, LINK_POINTER_RELATIVE, (struct link_event[]){ { EV_REL, REL_X, -100000 }, { EV_REL, REL_Y, -100000 } }, 2);
		fake_panel_packet(&panel, LINK_POINTER_RELATIVE, (struct link_event[]){ { EV_REL, REL_X, x }, { EV_REL, REL_Y, y } }, 2);
		fake_panel_settle(&panel);
	}
	for (uint32_t head = 0; head < 2; head++) {
		char path[512];
		uint32_t w, h, *pixels = head == 0 ? fake_panel_pointed_picture(&panel, &w, &h) : fake_panel_picture(&panel, head, &w, &h);
		snprintf(path, sizeof(path), "%s/%s-%ux%u.png", argv[1], head == 0 ? "ui" : "placeholder", width, height);
		if (!pixels || !write_png(path, pixels, w, h)) {
			fprintf(stderr, "cannot write %s\n", path);
			return 1;
		}
		free(pixels);
	}
	fake_panel_close(&panel);
	return 0;
}
