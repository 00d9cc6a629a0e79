/* Copying pictures: formats, damage, scatter lists, scaling. Every pixel of the target is compared. */
#include "kms/blit.h"
#include "kms/pagecopy.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include <drm_fourcc.h>

#define TW 64
#define TH 48
#define PITCH (TW * 4 + 32)
#define CANARY 0xdeadbeefu

static uint8_t memory[1 << 20];
static uint32_t target_pixels[PITCH / 4 * TH];
static struct blit_scratch scratch;
static const struct blit_target target = {(uint8_t *)target_pixels, PITCH, TW, TH};

static uint32_t pixel(uint32_t x, uint32_t y)
{
	return (x * 7 + 1) % 256 << 16 | (y * 5 + 2) % 256 << 8 | (x + y * 3) % 256;
}

static uint32_t encode(uint32_t rgb, uint32_t format)
{
	uint32_t r = rgb >> 16 & 255, g = rgb >> 8 & 255, b = rgb & 255;
	switch (format) {
	case DRM_FORMAT_XRGB8888:
		return rgb;
	case DRM_FORMAT_ARGB8888:
		return rgb | 0x80000000u;
	case DRM_FORMAT_XBGR8888:
	case DRM_FORMAT_ABGR8888:
		return b << 16 | g << 8 | r;
	case DRM_FORMAT_RGBX8888:
	case DRM_FORMAT_RGBA8888:
		return r << 24 | g << 16 | b << 8 | 0x55;
	case DRM_FORMAT_BGRX8888:
	case DRM_FORMAT_BGRA8888:
		return b << 24 | g << 16 | r << 8 | 0x55;
	}
	return 0;
}

/* A buffer whose bytes lie backwards in memory, cut into segments of `cut` bytes (the last shorter). */
static struct link_segment segments[LINK_MAX_SEGMENTS];

static struct link_buffer make(uint32_t width, uint32_t height, uint32_t stride, uint32_t format, uint64_t offset, uint64_t cut)
{
	static uint8_t plain[1 << 19];
	struct link_buffer buffer = {.width = width, .height = height, .stride = stride, .format = format, .offset = offset, .segment = segments};
	uint64_t size = offset + (uint64_t)stride * height;
	ck_assert_uint_le(size, sizeof(plain));
	memset(plain, 0xee, sizeof(plain));
	for (uint32_t y = 0; y < height; y++) {
		for (uint32_t x = 0; x < width; x++) {
			uint32_t p = encode(pixel(x, y), format);
			memcpy(plain + offset + (uint64_t)y * stride + x * 4, &p, 4);
		}
	}
	memset(memory, 0xcc, sizeof(memory));
	uint64_t at = sizeof(memory);
	for (uint64_t done = 0; done < size;) {
		uint64_t length = size - done < cut ? size - done : cut;
		at -= length;
		memcpy(memory + at, plain + done, length);
		segments[buffer.n_segments++] = (struct link_segment){at, length};
		done += length;
	}
	for (uint32_t i = 0; i < ARRAY_LEN(target_pixels); i++)
		target_pixels[i] = CANARY;
	return buffer;
}

static uint32_t at(uint32_t x, uint32_t y)
{
	return target_pixels[y * (PITCH / 4) + x];
}

static bool in(struct rect r, uint32_t x, uint32_t y)
{
	return x >= r.x && y >= r.y && x - r.x < r.w && y - r.y < r.h;
}

static void check_copy(const struct link_buffer *buffer, struct rect dest, struct rect source, struct rect damage)
{
	struct rect touched, hit = rect_intersect(damage, source);
	uint64_t bytes = blit_picture(&target, dest, memory, buffer, source, damage, BLIT_NEAREST, NULL, &scratch, &touched);
	ck_assert_uint_eq(bytes, (uint64_t)hit.w * hit.h * 4);
	struct rect want = {dest.x + hit.x - source.x, dest.y + hit.y - source.y, hit.w, hit.h};
	if (!rect_empty(&hit))
		ck_assert_mem_eq(&touched, &want, sizeof(want));
	for (uint32_t y = 0; y < TH; y++)
		for (uint32_t x = 0; x < PITCH / 4; x++) {
			if (!rect_empty(&hit) && in(want, x, y))
				ck_assert_uint_eq(at(x, y) & 0xffffff, pixel(x - dest.x + source.x, y - dest.y + source.y));
			else
				ck_assert_uint_eq(at(x, y), CANARY);
		}
}

START_TEST(every_format)
{
	static const uint32_t formats[] = {DRM_FORMAT_XRGB8888, DRM_FORMAT_ARGB8888, DRM_FORMAT_XBGR8888, DRM_FORMAT_ABGR8888, DRM_FORMAT_RGBX8888,
		DRM_FORMAT_RGBA8888, DRM_FORMAT_BGRX8888, DRM_FORMAT_BGRA8888};
	for (uint32_t i = 0; i < ARRAY_LEN(formats); i++) {
		ck_assert(blit_format_supported(formats[i]));
		struct link_buffer buffer = make(40, 30, 160, formats[i], 0, 4096);
		check_copy(&buffer, (struct rect){5, 6, 40, 30}, (struct rect){0, 0, 40, 30}, (struct rect){3, 4, 20, 10});
	}
	ck_assert(!blit_format_supported(DRM_FORMAT_RGB565));
	struct rect touched;
	struct link_buffer buffer = make(40, 30, 160, DRM_FORMAT_RGB565, 0, 4096);
	ck_assert_uint_eq(blit_picture(&target, (struct rect){0, 0, 40, 30}, memory, &buffer, (struct rect){0, 0, 40, 30}, (struct rect){0, 0, 40, 30}, BLIT_NEAREST, NULL, &scratch, &touched), 0);
	ck_assert_uint_eq(at(0, 0), CANARY);
}
END_TEST

/* Segments that end inside rows, strides with padding, an offset, part of a buffer as the picture. */
START_TEST(scatter)
{
	static const uint64_t cuts[] = {4, 36, 100, 4096, 1 << 18};
	for (uint32_t c = 0; c < ARRAY_LEN(cuts); c++) {
		for (uint32_t f = 0; f < 2; f++) {
			uint32_t format = f ? DRM_FORMAT_XBGR8888 : DRM_FORMAT_XRGB8888;
			struct link_buffer buffer = make(50, 40, 232, format, 12, cuts[c]);
			check_copy(&buffer, (struct rect){7, 3, 50, 40}, (struct rect){0, 0, 50, 40}, (struct rect){0, 0, 50, 40});
			buffer = make(50, 40, 232, format, 12, cuts[c]);
			check_copy(&buffer, (struct rect){1, 2, 30, 20}, (struct rect){10, 15, 30, 20}, (struct rect){0, 0, 25, 25});
			buffer = make(50, 40, 232, format, 12, cuts[c]);
			check_copy(&buffer, (struct rect){1, 2, 30, 20}, (struct rect){10, 15, 30, 20}, (struct rect){45, 15, 5, 5});
		}
	}
}
END_TEST

/* Strides match and the damage is full width: one piece, also over segments. */
START_TEST(one_piece)
{
	struct link_buffer buffer = make(TW, TH, TW * 4, DRM_FORMAT_XRGB8888, 0, 1000);
	static uint32_t tight[TW * TH];
	struct blit_target t = {(uint8_t *)tight, TW * 4, TW, TH};
	struct rect all = {0, 0, TW, TH}, touched;
	ck_assert_uint_eq(blit_picture(&t, all, memory, &buffer, all, (struct rect){0, 10, TW, 20}, BLIT_NEAREST, NULL, &scratch, &touched), TW * 20 * 4);
	for (uint32_t y = 0; y < TH; y++)
		for (uint32_t x = 0; x < TW; x++)
			ck_assert_uint_eq(tight[y * TW + x], y >= 10 && y < 30 ? pixel(x, y) : 0);
}
END_TEST

START_TEST(scaling)
{
	static const struct rect dests[] = {{2, 1, 60, 45}, {0, 0, 31, 22}, {5, 5, 1, 1}, {0, 0, TW, TH}};
	for (uint32_t d = 0; d < ARRAY_LEN(dests); d++) {
		struct rect dest = dests[d], source = {4, 2, 20, 15}, touched;
		struct link_buffer buffer = make(30, 20, 120, d & 1 ? DRM_FORMAT_BGRX8888 : DRM_FORMAT_XRGB8888, 0, 52);
		blit_picture(&target, dest, memory, &buffer, source, (struct rect){0, 0, 30, 20}, BLIT_NEAREST, NULL, &scratch, &touched);
		ck_assert_mem_eq(&touched, &dest, sizeof(dest));
		for (uint32_t y = 0; y < TH; y++)
			for (uint32_t x = 0; x < PITCH / 4; x++) {
				uint32_t sx = 4 + (2 * (x - dest.x) + 1) * 20 / (2 * dest.w), sy = 2 + (2 * (y - dest.y) + 1) * 15 / (2 * dest.h);
				if (in(dest, x, y))
					ck_assert_uint_eq(at(x, y) & 0xffffff, pixel(sx, sy));
				else
					ck_assert_uint_eq(at(x, y), CANARY);
			}
		/* Damage in pieces gives the same picture as all at once, and bars none. */
		static uint32_t whole[ARRAY_LEN(target_pixels)];
		memcpy(whole, target_pixels, sizeof(whole));
		for (uint32_t i = 0; i < ARRAY_LEN(target_pixels); i++)
			target_pixels[i] = CANARY;
		for (uint32_t y = 0; y < 20; y += 3)
			for (uint32_t x = 0; x < 30; x += 7)
				blit_picture(&target, dest, memory, &buffer, source, (struct rect){x, y, 7, 3}, BLIT_NEAREST, NULL, &scratch, &touched);
		ck_assert_mem_eq(whole, target_pixels, sizeof(whole));
	}
}
END_TEST

/* What a channel of the target is, from the definition: the four pixels around its centre, in each direction by 256ths, rounded twice. */
static uint32_t interpolated(const struct rect *dest, const struct rect *source, uint32_t x, uint32_t y, uint32_t shift)
{
	double u = (x - dest->x + 0.5) * source->w / dest->w - 0.5, v = (y - dest->y + 0.5) * source->h / dest->h - 0.5;
	int32_t left = (int32_t)(u + 1e-9 + 1) - 1, top = (int32_t)(v + 1e-9 + 1) - 1;
	uint32_t wx = (uint32_t)((u - left) * 256 + 1e-6), wy = (uint32_t)((v - top) * 256 + 1e-6), row[2];
	for (int32_t i = 0; i < 2; i++) {
		uint32_t c[2];
		for (int32_t j = 0; j < 2; j++) {
			int32_t sx = left + j, sy = top + i;
			sx = sx < 0 ? 0 : sx >= (int32_t)source->w ? (int32_t)source->w - 1 : sx;
			sy = sy < 0 ? 0 : sy >= (int32_t)source->h ? (int32_t)source->h - 1 : sy;
			c[j] = pixel(source->x + (uint32_t)sx, source->y + (uint32_t)sy) >> shift & 255;
		}
		row[i] = (c[0] * (256 - wx) + c[1] * wx + 128) / 256;
	}
	return (row[0] * (256 - wy) + row[1] * wy + 128) / 256;
}

/* Up, down, both, to and from single pixels and lines, in every format; pixels beside the source are never in it. */
START_TEST(bilinear)
{
	static const struct rect dests[] = {{2, 1, 59, 46}, {0, 0, 31, 22}, {5, 5, 1, 1}, {0, 0, TW, TH}, {3, 0, 7, TH}, {1, 2, TW - 1, 3}};
	static const struct rect sources[] = {{4, 2, 20, 15}, {0, 0, 30, 20}, {29, 19, 1, 1}, {7, 0, 1, 20}, {0, 9, 29, 1}};
	static const uint32_t formats[] = {DRM_FORMAT_XRGB8888, DRM_FORMAT_ABGR8888, DRM_FORMAT_RGBX8888, DRM_FORMAT_BGRA8888};
	for (uint32_t n = 0; n < ARRAY_LEN(dests) * ARRAY_LEN(sources) * ARRAY_LEN(formats); n++) {
		struct rect dest = dests[n % ARRAY_LEN(dests)], source = sources[n / ARRAY_LEN(dests) % ARRAY_LEN(sources)], touched;
		struct link_buffer buffer = make(30, 20, 132, formats[n / ARRAY_LEN(dests) / ARRAY_LEN(sources)], 8, 52);
		bool whole = dest.w % source.w == 0 && dest.h % source.h == 0;
		blit_picture(&target, dest, memory, &buffer, source, source, BLIT_BILINEAR, NULL, &scratch, &touched);
		ck_assert_mem_eq(&touched, &dest, sizeof(dest));
		for (uint32_t y = 0; y < TH; y++)
			for (uint32_t x = 0; x < PITCH / 4; x++) {
				uint32_t want = 0;
				for (uint32_t shift = 0; in(dest, x, y) && !whole && shift < 24; shift += 8)
					want |= interpolated(&dest, &source, x, y, shift) << shift;
				if (in(dest, x, y) && whole)
					want = pixel(source.x + (x - dest.x) * source.w / dest.w, source.y + (y - dest.y) * source.h / dest.h);
				if (in(dest, x, y) ? (at(x, y) & 0xffffff) != want : at(x, y) != CANARY)
					ck_abort_msg("%ux%u to %ux%u: %08x at %u,%u, not %08x", source.w, source.h, dest.w, dest.h, at(x, y), x, y, want);
			}
	}
}
END_TEST

/* A picture that changes in random rectangles and is drawn there only, is what drawing all of it gives, byte by byte. */
START_TEST(partial_is_whole)
{
	static uint32_t partial[ARRAY_LEN(target_pixels)];
	for (uint32_t n = 0; n < 400; n++) {
		enum blit_filter filter = n & 1 ? BLIT_BILINEAR : BLIT_NEAREST;
		struct rect source = {(uint32_t)rand() % 10, (uint32_t)rand() % 10, 1 + (uint32_t)rand() % 40, 1 + (uint32_t)rand() % 40}, touched;
		struct rect dest = {(uint32_t)rand() % 4, (uint32_t)rand() % 4, 1 + (uint32_t)rand() % (TW - 3), 1 + (uint32_t)rand() % (TH - 3)};
		struct link_buffer buffer = make(50, 50, 200, DRM_FORMAT_XRGB8888, 0, 1 << 18);
		uint32_t *pixels = (uint32_t *)(void *)(memory + sizeof(memory) - 50 * 200);
		blit_picture(&target, dest, memory, &buffer, source, source, filter, NULL, &scratch, &touched);
		for (uint32_t i = 0; i < 20; i++) {
			struct rect damage = {(uint32_t)rand() % 50, (uint32_t)rand() % 50, 1 + (uint32_t)rand() % 12, 1 + (uint32_t)rand() % 12};
			for (uint32_t y = damage.y; y < damage.y + damage.h && y < 50; y++)
				for (uint32_t x = damage.x; x < damage.x + damage.w && x < 50; x++)
					pixels[y * 50 + x] = (uint32_t)rand();
			blit_picture(&target, dest, memory, &buffer, source, damage, filter, NULL, &scratch, &touched);
			struct rect inside = rect_intersect(touched, dest);
			ck_assert(rect_empty(&touched) || memcmp(&inside, &touched, sizeof(inside)) == 0);
		}
		memcpy(partial, target_pixels, sizeof(partial));
		blit_picture(&target, dest, memory, &buffer, source, source, filter, NULL, &scratch, &touched);
		ck_assert_mem_eq(partial, target_pixels, sizeof(partial));
	}
}
END_TEST

START_TEST(nonsense_writes_nothing)
{
	struct rect touched;
	struct link_buffer buffer = make(40, 30, 160, DRM_FORMAT_XRGB8888, 0, 4096);
	struct rect all = {0, 0, 40, 30};
	ck_assert_uint_eq(blit_picture(&target, (struct rect){30, 0, 40, 30}, memory, &buffer, all, all, BLIT_NEAREST, NULL, &scratch, &touched), 0);
	ck_assert_uint_eq(blit_picture(&target, (struct rect){UINT32_MAX, 0, 40, 30}, memory, &buffer, all, all, BLIT_NEAREST, NULL, &scratch, &touched), 0);
	ck_assert_uint_eq(blit_picture(&target, all, memory, &buffer, (struct rect){1, 0, 40, 30}, all, BLIT_NEAREST, NULL, &scratch, &touched), 0);
	ck_assert_uint_eq(blit_picture(&target, all, memory, &buffer, all, (struct rect){40, 0, 9, 9}, BLIT_NEAREST, NULL, &scratch, &touched), 0);
	ck_assert_uint_eq(blit_picture(&target, (struct rect){0}, memory, &buffer, all, all, BLIT_NEAREST, NULL, &scratch, &touched), 0);
	for (uint32_t i = 0; i < ARRAY_LEN(target_pixels); i++)
		ck_assert_uint_eq(target_pixels[i], CANARY);
}
END_TEST

/* The cursor is blended over what is copied, also across edges and scaled; around it the picture is untouched. */
START_TEST(cursor)
{
	static struct blit_cursor c;
	static const struct {
		int64_t x, y;
	} places[] = {{5, 6}, {-60, -61}, {38, 29}, {INT32_MIN, 0}, {0, INT32_MAX}, {-30, 10}};
	for (uint32_t i = 0; i < LINK_CURSOR_SIDE * LINK_CURSOR_SIDE; i++)
		c.image[i] = i % 3 == 0 ? 0 : i % 3 == 1 ? 0xff123456 : 0x80402010;
	for (uint32_t p = 0; p < ARRAY_LEN(places); p++) {
		for (uint32_t scaled = 0; scaled < 2; scaled++) {
			struct rect all = {0, 0, 40, 30}, dest = scaled ? (struct rect){0, 0, 60, 45} : (struct rect){3, 2, 40, 30}, touched;
			struct link_buffer buffer = make(40, 30, 160, DRM_FORMAT_XRGB8888, 0, 100);
			c.x = places[p].x;
			c.y = places[p].y;
			blit_picture(&target, dest, memory, &buffer, all, all, BLIT_NEAREST, &c, &scratch, &touched);
			for (uint32_t y = 0; y < dest.h; y++)
				for (uint32_t x = 0; x < dest.w; x++) {
					uint32_t sx = (2 * x + 1) * 40 / (2 * dest.w), sy = (2 * y + 1) * 30 / (2 * dest.h);
					int64_t cx = sx - c.x, cy = sy - c.y;
					uint32_t want = pixel(sx, sy), image = 0;
					if (cx >= 0 && cx < LINK_CURSOR_SIDE && cy >= 0 && cy < LINK_CURSOR_SIDE)
						image = c.image[cy * LINK_CURSOR_SIDE + cx];
					uint32_t got = at(dest.x + x, dest.y + y);
					for (uint32_t shift = 0; shift < 24; shift += 8) {
						double v = (image >> shift & 255) + (want >> shift & 255) * (255 - (image >> 24)) / 255.0;
						ck_assert(v - (got >> shift & 255) <= 1 && (got >> shift & 255) - v <= 1);
					}
				}
		}
	}
}
END_TEST

START_TEST(cursor_formats)
{
	static uint32_t image[LINK_CURSOR_SIDE * LINK_CURSOR_SIDE];
	struct link_buffer buffer = make(64, 64, 256, DRM_FORMAT_ARGB8888, 0, 60);
	ck_assert(blit_read_cursor(image, memory, &buffer));
	ck_assert_uint_eq(image[64 * 5 + 9], pixel(9, 5) | 0x80000000u);
	buffer = make(64, 64, 256, DRM_FORMAT_BGRA8888, 0, 4096);
	ck_assert(blit_read_cursor(image, memory, &buffer));
	ck_assert_uint_eq(image[64 * 5 + 9], pixel(9, 5) | 0x55000000u);
	buffer = make(64, 64, 256, DRM_FORMAT_XBGR8888, 0, 4096);
	ck_assert(blit_read_cursor(image, memory, &buffer));
	ck_assert_uint_eq(image[64 * 5 + 9], pixel(9, 5) | 0xff000000u);
	buffer = make(63, 64, 256, DRM_FORMAT_ARGB8888, 0, 4096);
	ck_assert(!blit_read_cursor(image, memory, &buffer));
}
END_TEST

START_TEST(bars)
{
	static const struct rect holes[] = {{10, 5, 40, 30}, {0, 5, TW, 30}, {10, 0, 40, TH}, {0, 0, TW, TH}, {0, 0, 0, 0}};
	for (uint32_t h = 0; h < ARRAY_LEN(holes); h++) {
		for (uint32_t i = 0; i < ARRAY_LEN(target_pixels); i++)
			target_pixels[i] = CANARY;
		blit_bars(&target, holes[h]);
		for (uint32_t y = 0; y < TH; y++)
			for (uint32_t x = 0; x < PITCH / 4; x++)
				ck_assert_uint_eq(at(x, y), x >= TW || in(holes[h], x, y) ? CANARY : 0);
	}
}
END_TEST

/* Each length and place of both ends: what is between them arrives, nothing beside it is touched, with a next page to fetch and without, by vectors of either size. */
START_TEST(pages)
{
	static uint8_t from[2048], to[2048], ahead[2048];
	static const size_t sizes[] = {0, 1, 63, 511, 512, 513, 575, 640, 1000, 1536};
	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i * 7 + i / 256 + 1);
	bool wide = _i;
	if (wide && !pagecopy_can_wide())
		UNIT_SKIP("this CPU has no AVX");
	for (size_t n = 0; n < ARRAY_LEN(sizes); n++)
		for (size_t place = 0; place < 70; place++) {
			size_t size = sizes[n], in = place * 5 % 71;
			memset(to, 0, sizeof(to));
			pagecopy_by(wide, to + 64 + place, from + in, size, place % 2 ? ahead : NULL);
			ck_assert_mem_eq(to + 64 + place, from + in, size);
			for (size_t i = 0; i < sizeof(to); i++)
				ck_assert(to[i] == 0 || (i >= 64 + place && i < 64 + place + size));
		}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kms-blit");
	TCase *c = tcase_create("pixels");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, pages, 0, 2);
	tcase_add_test(c, every_format);
	tcase_add_test(c, scatter);
	tcase_add_test(c, one_piece);
	tcase_add_test(c, scaling);
	tcase_add_test(c, bilinear);
	tcase_add_test(c, partial_is_whole);
	tcase_add_test(c, nonsense_writes_nothing);
	tcase_add_test(c, cursor);
	tcase_add_test(c, cursor_formats);
	tcase_add_test(c, bars);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
