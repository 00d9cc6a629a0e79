/* Drawing into framebuffers that hold older pictures: whatever was drawn before, the result is that of a new framebuffer. */
#include "kms/worker_private.h"
#include "pixels.h"

#include <stdlib.h>
#include <string.h>

#include <drm_fourcc.h>

#include "base/stats.h"

#define SIDE 90 /* of the producer's buffer */

static struct stats stats;
static struct worker *worker;
static const struct backend_ops ops;
static struct backend backend = {.ops = &ops};
static uint32_t *pixels; /* the producer's */
static struct link_segment segment = {0, SIDE * SIDE * 4};
static struct link_buffer buffer = {.width = SIDE, .height = SIDE, .stride = SIDE * 4, .format = DRM_FORMAT_XRGB8888, .segment = &segment, .n_segments = 1};

static uint32_t below(uint32_t n)
{
	return (uint32_t)rand() % n;
}

static void setup(void)
{
	int fd;
	pixels = pixels_make(SIDE * SIDE * 4, &fd);
	worker = calloc(1, sizeof(*worker));
	worker->config.stats = &stats;
	worker->config.backend = &backend;
	worker->producer[1].link = link_create(fd, SIDE * SIDE * 4);
	ck_assert_ptr_nonnull(worker->producer[1].link);
	worker->producer[1].table = link_table_create(SIDE * SIDE * 4);
	ck_assert_ptr_nonnull(worker->producer[1].table);
	worker->face[PANEL_FACE_GUEST] = (struct face){.producer = 1, .present = true};
	worker->visible = 1u << PANEL_FACE_GUEST;
	close(fd);
	for (uint32_t i = 0; i < LINK_CURSOR_SIDE * LINK_CURSOR_SIDE; i++)
		worker->face[PANEL_FACE_GUEST].cursor.picture.image[i] = i % 5 == 0 ? 0 : 0x80402010u;
}

static void teardown(void)
{
	link_table_destroy(worker->producer[1].table);
	link_destroy(worker->producer[1].link);
	free(worker);
	munmap(pixels, SIDE * SIDE * 4);
}

static struct framebuffer blank(uint32_t width, uint32_t height)
{
	struct framebuffer fb = {.buffer = {.pitch = width * 4, .width = width, .height = height}, .made = true};
	fb.buffer.pixels = malloc((size_t)width * height * 4);
	memset(fb.buffer.pixels, 0xaa, (size_t)width * height * 4);
	return fb;
}

/* The producer draws somewhere, or the pointer moves, comes or goes. */
static void change(struct framebuffer *fb)
{
	struct face *face = &worker->face[PANEL_FACE_GUEST];
	if (below(3) == 0) {
		face->cursor.visible = below(4) != 0;
		face->cursor.loaded = true;
		face->cursor.x = (int32_t)below(SIDE + 64) - 64;
		face->cursor.y = (int32_t)below(SIDE + 64) - 64;
		face->cursor.serial++;
		return;
	}
	struct rect damage = {below(SIDE), below(SIDE), 1, 1};
	damage.w = 1 + below(min_u32(SIDE - damage.x, 20));
	damage.h = 1 + below(min_u32(SIDE - damage.y, 20));
	for (uint32_t y = damage.y; y < damage.y + damage.h; y++)
		for (uint32_t x = damage.x; x < damage.x + damage.w; x++)
			pixels[y * SIDE + x] = (uint32_t)rand() & 0xffffff;
	damage_add(&fb->damage, damage);
}

/* Whatever the producer did, the figures are on top when they are there. */
static void check_figures(const struct framebuffer *fb)
{
	struct rect place = figures_place(fb->buffer.width, fb->buffer.height);
	uint32_t *alone = malloc((size_t)fb->buffer.pitch * fb->buffer.height), differ = 0;
	figures_draw(&(struct blit_target){(uint8_t *)alone, fb->buffer.pitch, fb->buffer.width, fb->buffer.height}, &worker->figures.text);
	for (uint32_t y = 0; y < place.h; y++)
		differ += memcmp((uint8_t *)alone + y * fb->buffer.pitch + place.x * 4, fb->buffer.pixels + y * fb->buffer.pitch + place.x * 4, place.w * 4) != 0;
	ck_assert_msg(worker->figures.on ? differ == 0 : differ > place.h / 4, "figures %s, %u of %u lines are not its", worker->figures.on ? "on" : "off",
		differ, place.h);
	free(alone);
}

START_TEST(older_framebuffer)
{
	static const struct rect screens[] = {{0, 0, 120, 115}, {0, 0, 64, 50}, {0, 0, 90, 90}, {0, 0, 200, 170}};
	for (uint32_t n = 0; n < 2 * ARRAY_LEN(screens); n++) {
		struct rect screen = screens[n / 2];
		worker->config.bilinear = n & 1;
		struct framebuffer old = blank(screen.w, screen.h);
		for (uint32_t i = 0; i < 150; i++) {
			struct link_head head = {.buffer = &buffer, .source = {0, 0, SIDE, SIDE}};
			if (i > 100)
				head.source = (struct rect){10, 20, 50, 60};
			change(&old);
			if (below(2))
				change(&old);
			if (below(12) == 0)
				worker_show_figures(worker, !worker->figures.on, i * NSEC_PER_SEC);
			else if (below(5) == 0)
				worker_refresh_figures(worker, i * NSEC_PER_SEC);
			stats.commits += below(50);
			worker_draw(worker, PANEL_FACE_GUEST, &head, &old);
			check_figures(&old);
			struct framebuffer fresh = blank(screen.w, screen.h);
			worker_draw(worker, PANEL_FACE_GUEST, &head, &fresh);
			ck_assert_msg(memcmp(old.buffer.pixels, fresh.buffer.pixels, (size_t)screen.w * screen.h * 4) == 0, "screen %u, step %u", n, i);
			free(fresh.buffer.pixels);
		}
		free(old.buffer.pixels);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-draw");
	TCase *c = tcase_create("framebuffers");
	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, older_framebuffer);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
