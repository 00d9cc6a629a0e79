/* virtio-input (virtio 1.2, section 5.8): keyboard, relative pointer, absolute pointer. Machine thread. */
#pragma once

#include <stdint.h>

#include "link/link.h"
#include "virtio/device.h"

struct stats;
struct vinput;

struct vinput *vinput_create(const struct guest_memory *memory, enum link_device kind, struct stats *stats);
void vinput_destroy(struct vinput *input);
struct virtio_device *vinput_device(struct vinput *input);
/* Delivers one LINK_INPUT packet, whole or not at all; a packet with releases waits for room instead of being lost. */
void vinput_packet(struct vinput *input, const struct link_message *message);
/* LEDs the guest asked for since the last call (bit per LED_*); false when nothing changed. */
bool vinput_take_leds(struct vinput *input, uint32_t *leds);
