#include "fake_card.h"

static struct fake *from(struct backend *backend)
{
	return container_of(backend, struct fake, base);
}

struct output *fake_probe(struct backend *backend)
{
	struct output *output = calloc(1, sizeof(*output));
	output->connected = from(backend)->connected;
	if (output->connected)
		*output = (struct output){.connected = true, .name = "Fake-1", .width = from(backend)->width, .height = H, .refresh_mhz = 200000,
			.n_mirrors = from(backend)->mirrors, .mirror = {"Fake-2", "Fake-3"}, .leftovers = from(backend)->leftovers, .cursor = from(backend)->cursor};
	return output;
}

static void fake_adopt(struct backend *backend, struct output *output)
{
	from(backend)->adopted = output && output->connected;
	free(output);
}

/* What is on the screen is never written. */
static void fake_check_plane(const struct fake *fake)
{
	const struct scanout_buffer *buffer = fake->plane.buffer;
	for (uint32_t y = 0; buffer && y < 64; y++)
		ck_assert_mem_eq(buffer->pixels + (size_t)y * buffer->pitch, fake->plane_pixels + (size_t)y * 64, 64 * 4);
}

static void fake_take_cursor(struct fake *fake, const struct commit *commit)
{
	fake->cursor_commits++;
	fake->cursor_alone += commit->buffer == NULL;
	fake->plane = *commit->cursor;
	const struct scanout_buffer *buffer = fake->plane.buffer;
	for (uint32_t y = 0; buffer && y < 64; y++)
		memcpy(fake->plane_pixels + (size_t)y * 64, buffer->pixels + (size_t)y * buffer->pitch, 64 * 4);
}

static int fake_commit(struct backend *backend, const struct commit *commit)
{
	struct fake *fake = from(backend);
	ck_assert(fake->adopted);
	ck_assert(commit->buffer || (commit->cursor && !commit->full));
	ck_assert(fake->cursor || !commit->cursor);
	ck_assert(commit->cursor || !fake->cursor || !commit->full); /* full is the whole state */
	if (commit->buffer) {
		ck_assert_uint_ne(commit->buffer->fb, 0);
		ck_assert_uint_eq(commit->buffer->width, fake->width);
	}
	fake_check_plane(fake);
	if (fake->fail_count > 0) {
		fake->fail_count--;
		fake->failed++;
		errno = fake->fail;
		return -1;
	}
	if (fake->refuse_cursor && commit->cursor && commit->cursor->buffer) {
		fake->cursor_refused++;
		errno = EINVAL;
		return -1;
	}
	if (fake->refuse_imported && commit->buffer && commit->buffer->imported) {
		fake->failed++;
		errno = EINVAL;
		return -1;
	}
	ck_assert(commit->full || !fake->pending); /* one flip in flight */
	ck_assert(commit->full || !fake->dark);    /* and none on a screen that is off */
	fake->dark = false;
	fake->commits++;
	fake->full += commit->full;
	fake->last = *commit;
	if (commit->buffer)
		fake->shown = *commit->buffer;
	if (commit->cursor)
		fake_take_cursor(fake, commit);
	fake->epoch = commit->epoch;
	fake->pending = !commit->full;
	if (fake->look)
		fake->look();
	if (!commit->full && !fake->hold_flips)
		eventfd_write(backend->fd, 1);
	return 0;
}

static int fake_blank(struct backend *backend)
{
	struct fake *fake = from(backend);
	if (fake->fail_blanks > 0) {
		fake->fail_blanks--;
		fake->failed++;
		errno = fake->fail_blank;
		return -1;
	}
	fake->blanks++;
	fake->dark = true;
	return 0;
}

static void fake_dispatch(struct backend *backend)
{
	struct fake *fake = from(backend);
	eventfd_t n;
	eventfd_read(backend->fd, &n);
	fake_check_plane(fake);
	fake->pending = false;
	backend->flipped(backend->data, 0, fake->epoch, clock_now_ns());
}

static uint32_t fake_hotplug(struct backend *backend, bool card_here)
{
	eventfd_t n;
	return card_here && eventfd_read(backend->hotplug_fd, &n) == 0 ? BACKEND_OUTPUTS : 0;
}

static const char *fake_describe(const struct backend *backend)
{
	(void)backend;
	return "fake";
}

static int fake_make_buffer(struct backend *backend, uint32_t width, uint32_t height, struct scanout_buffer *buffer)
{
	struct fake *fake = from(backend);
	*buffer = (struct scanout_buffer){.pixels = calloc(height, width * 4), .pitch = width * 4, .width = width, .height = height, .readable = true};
	buffer->fb = ++fake->made;
	return 0;
}

static void fake_free_buffer(struct backend *backend, struct scanout_buffer *buffer)
{
	if (buffer->imported)
		from(backend)->imported--;
	if (buffer->handle == FAKE_CURSOR)
		from(backend)->cursor_buffers--;
	free(buffer->pixels);
	memset(buffer, 0, sizeof(*buffer));
	from(backend)->freed++;
}

static int fake_make_cursor(struct backend *backend, struct scanout_buffer *buffer)
{
	struct fake *fake = from(backend);
	if (fake->refuse_cursor_buffer) {
		errno = ENOMEM;
		return -1;
	}
	fake_make_buffer(backend, backend->cursor_width, backend->cursor_height, buffer);
	memset(buffer->pixels, 0xa5, (size_t)buffer->pitch * buffer->height); /* as memory that others used */
	buffer->handle = FAKE_CURSOR;
	fake->cursor_buffers++;
	return 0;
}

static void fake_draw(struct backend *backend, const struct scanout_buffer *buffer, bool begins)
{
	if (from(backend)->draw)
		from(backend)->draw(buffer, begins);
}

static int fake_import_buffer(struct backend *backend, const struct backend_pages *pages, struct scanout_buffer *buffer)
{
	struct fake *fake = from(backend);
	ck_assert_int_ge(pages->fd, 0);
	fake->imports++;
	if (fake->refuse_import) {
		errno = fake->refuse_import;
		return -1;
	}
	*buffer = (struct scanout_buffer){.pitch = pages->buffer->stride, .width = pages->source.w, .height = pages->source.h, .imported = true,
		.handle = pages->buffer->name.id};
	buffer->fb = ++fake->made;
	fake->imported++;
	return 0;
}

static void fake_destroy(struct backend *backend)
{
	close(backend->fd);
	close(backend->hotplug_fd);
	from(backend)->destroyed = true;
}

const struct backend_ops fake_ops = {
	.probe = fake_probe,
	.adopt = fake_adopt,
	.commit = fake_commit,
	.blank = fake_blank,
	.dispatch = fake_dispatch,
	.hotplug = fake_hotplug,
	.describe = fake_describe,
	.make_buffer = fake_make_buffer,
	.free_buffer = fake_free_buffer,
	.make_cursor = fake_make_cursor,
	.draw = fake_draw,
	.import_buffer = fake_import_buffer,
	.destroy = fake_destroy,
};

void fake_init(struct fake *fake, const struct backend_ops *ops)
{
	fake->base = (struct backend){.ops = ops, .single = fake->base.single, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .hotplug_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.cursor_width = fake->base.cursor_width, .cursor_height = fake->base.cursor_height};
	fake->width = W;
}
