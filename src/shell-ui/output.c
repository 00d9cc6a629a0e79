#define LOG_MODULE "ui"
#include "shell-ui/output.h"

#include <string.h>

#include <drm_fourcc.h>

#include "base/log.h"

static uint32_t stride_of(uint32_t width)
{
	return (width * 4 + 63) & ~63u; /* rows begin on cache lines */
}

uint64_t output_slot_size(uint32_t width, uint32_t height)
{
	if (width == 0 || height == 0 || width > LINK_MAX_SIDE || height > LINK_MAX_SIDE)
		return 0;
	return ((uint64_t)stride_of(width) * height + 4095) & ~4095ull;
}

void output_init(struct output *output, struct link *link, uint32_t head, uint8_t *pixels, uint64_t offset, uint64_t slot_size)
{
	memset(output, 0, sizeof(*output));
	output->link = link;
	output->head = head;
	output->pixels = pixels;
	output->slot_size = slot_size;
	for (uint32_t i = 0; i < OUTPUT_SLOTS; i++) {
		output->slot[i].id.id = head * OUTPUT_SLOTS + i;
		output->slot[i].offset = offset + i * slot_size;
		pixman_region32_init(&output->slot[i].stale);
	}
}

void output_finish(struct output *output)
{
	for (uint32_t i = 0; i < OUTPUT_SLOTS; i++) {
		struct output_slot *slot = &output->slot[i];
		if (slot->image)
			pixman_image_unref(slot->image);
		slot->image = NULL;
		pixman_region32_fini(&slot->stale);
	}
}

bool output_resize(struct output *output, uint32_t width, uint32_t height)
{
	if (output->width == width && output->height == height)
		return true;
	if (link_room_to_panel(output->link) < OUTPUT_SLOTS + 1)
		return false;
	if (width == 0 || height == 0) {
		struct link_message none = { .type = LINK_NO_FRAME, .head = output->head };
		link_send_to_panel(output->link, &none);
		width = height = 0;
	}
	for (uint32_t i = 0; i < OUTPUT_SLOTS; i++) {
		struct output_slot *slot = &output->slot[i];
		if (slot->announced && !slot->dying) {
			struct link_message dead = { .type = LINK_BUFFER_DEAD, .head = output->head, .dead = slot->id };
			link_send_to_panel(output->link, &dead);
			slot->dying = true;
		}
		if (slot->image)
			pixman_image_unref(slot->image);
		slot->image = NULL;
	}
	output->width = width;
	output->height = height;
	output->stride = stride_of(width);
	return true;
}

/* A slot that may be painted: never shown, or replaced on the screen by a later frame. The one painted longest ago comes first. */
static struct output_slot *free_slot(struct output *output)
{
	struct output_slot *best = NULL;
	for (uint32_t i = 0; i < OUTPUT_SLOTS; i++) {
		struct output_slot *slot = &output->slot[i];
		if (slot->dying)
			continue;
		if (slot->announced && slot->sequence != 0 && output->presented <= slot->sequence)
			continue;
		if (!best || slot->sequence < best->sequence)
			best = slot;
	}
	return best;
}

static bool announce(struct output *output, struct output_slot *slot)
{
	uint64_t bytes = (uint64_t)output->stride * output->height;
	if (!slot->image)
		slot->image = pixman_image_create_bits_no_clear(PIXMAN_x8r8g8b8, (int)output->width, (int)output->height,
			(uint32_t *)(void *)(output->pixels + slot->offset), (int)output->stride);
	if (!slot->image)
		return false;
	slot->id.generation++;
	struct link_segment segment = { .offset = slot->offset, .length = bytes };
	if (!link_send_buffer(output->link, slot->id, output->width, output->height, output->stride, DRM_FORMAT_XRGB8888, 0, &segment, 1))
		return false;
	slot->announced = true;
	slot->sequence = 0;
	pixman_region32_fini(&slot->stale);
	pixman_region32_init_rect(&slot->stale, 0, 0, output->width, output->height);
	return true;
}

enum output_result output_draw(struct output *output, struct scene *scene)
{
	pixman_region32_t *damage = (pixman_region32_t *)scene_damage(scene);
	if (output->width == 0 || !pixman_region32_not_empty(damage))
		return OUTPUT_NOTHING;
	struct output_slot *slot = free_slot(output);
	if (!slot)
		return OUTPUT_WAIT;
	if (link_room_to_panel(output->link) < 1 + link_buffer_messages(1))
		return OUTPUT_FULL;
	if (!slot->announced && !announce(output, slot))
		return OUTPUT_FULL;

	for (uint32_t i = 0; i < OUTPUT_SLOTS; i++) {
		if (output->slot[i].announced && !output->slot[i].dying)
			pixman_region32_union(&output->slot[i].stale, &output->slot[i].stale, damage);
	}
	scene_render(scene, slot->image, &slot->stale);
	pixman_region32_clear(&slot->stale);

	const pixman_box32_t *box = pixman_region32_extents(damage);
	struct link_message frame = {
		.type = LINK_FRAME,
		.head = output->head,
		.frame = {
			.buffer = slot->id,
			.sequence = ++output->sequence,
			.source = { 0, 0, output->width, output->height },
			.damage = { (uint32_t)box->x1, (uint32_t)box->y1, (uint32_t)(box->x2 - box->x1), (uint32_t)(box->y2 - box->y1) },
		},
	};
	slot->sequence = output->sequence;
	link_send_to_panel(output->link, &frame); /* room was made sure of above: this thread is the only sender */
	scene_clear_damage(scene);
	return OUTPUT_DRAWN;
}

void output_presented(struct output *output, uint64_t sequence)
{
	if (sequence > output->presented && sequence <= output->sequence)
		output->presented = sequence;
}

bool output_released(struct output *output, struct link_buffer_id id)
{
	for (uint32_t i = 0; i < OUTPUT_SLOTS; i++) {
		struct output_slot *slot = &output->slot[i];
		if (slot->id.id != id.id || slot->id.generation != id.generation || !slot->dying)
			continue;
		slot->announced = slot->dying = false;
		return true;
	}
	return false;
}
