/*
 * What every device's save and load have to do (vmm/state.h), for a row of the table:
 * what was saved loads into a fresh device and is saved again as the same bytes; what is no state of the device is refused and
 * leaves it as after a reset; and whatever is accepted is taken whole, because it is saved again as it was.
 */
#pragma once

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/state.h"

#define STATE_UNUSED __attribute__((unused))

struct state_bytes {
	uint8_t *at;
	uint32_t size;
};

STATE_UNUSED static struct state_bytes state_bytes_of(const struct state_device *device)
{
	struct state_bytes bytes = { .size = device->save(device->device, NULL, 0) };
	if (bytes.size < sizeof(struct state_head))
		ck_abort_msg("%s cannot be saved", device->name);
	bytes.at = malloc(bytes.size + 8);
	/* No more is written than the state. */
	memset(bytes.at + bytes.size, 0xa5, 8);
	if (device->save(device->device, bytes.at, bytes.size + 8) != bytes.size || memcmp(bytes.at + bytes.size, "\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5", 8) != 0)
		ck_abort_msg("%s: its size is not what it writes", device->name);
	return bytes;
}

STATE_UNUSED static void state_assert_same(const struct state_device *device, const void *bytes, uint32_t size, const char *when)
{
	struct state_bytes now = state_bytes_of(device);
	if (now.size != size)
		ck_abort_msg("%s: %u bytes instead of %u %s", device->name, now.size, size, when);
	uint32_t i = 0;
	while (i < size && now.at[i] == ((const uint8_t *)bytes)[i])
		i++;
	if (i < size)
		ck_abort_msg("%s: byte %u is %#x instead of %#x %s", device->name, i, now.at[i], ((const uint8_t *)bytes)[i], when);
	free(now.at);
}

/* The device was just refused something: a reset changes nothing more. */
STATE_UNUSED static void state_assert_reset(const struct state_device *device)
{
	struct state_bytes now = state_bytes_of(device);
	device->reset(device->device);
	state_assert_same(device, now.at, now.size, "after a refused load");
	free(now.at);
}

/*
 * `fresh` is another device of the kind. exact: accepted bytes are saved again as they are; else (a load that sends a pending
 * interrupt) the second time. Returns how many changed files were refused.
 */
STATE_UNUSED static unsigned state_check(const struct state_device *saved, const struct state_device *fresh, bool exact)
{
	static const uint8_t flips[] = { 0x01, 0x10, 0x80, 0xff };
	struct state_bytes file = state_bytes_of(saved);
	/* Into too little room nothing is written. */
	uint8_t *little = malloc(file.size - 1);
	ck_assert_uint_eq(saved->save(saved->device, little, file.size - 1), file.size);
	free(little);
	struct state_bytes empty = state_bytes_of(fresh);
	ck_assert_msg(empty.size != file.size || memcmp(empty.at, file.at, file.size) != 0, "%s: nothing to save", saved->name);
	free(empty.at);
	ck_assert_msg(fresh->load(fresh->device, file.at, file.size), "%s: what was saved is refused", saved->name);
	state_assert_same(fresh, file.at, file.size, "after load");

	/* Cut off, or with something behind it. */
	for (uint32_t size = 0; size < file.size; size += size < 64 || size + 64 >= file.size ? 1 : 61) {
		uint8_t *cut = malloc(size + 1); /* a byte behind it is a sanitizer's */
		memcpy(cut, file.at, size);
		ck_assert_msg(!fresh->load(fresh->device, cut, size), "%s: %u bytes of %u accepted", saved->name, size, file.size);
		free(cut);
		state_assert_reset(fresh);
	}
	ck_assert(!fresh->load(fresh->device, file.at, file.size + 1));
	/* Every byte, several ways. */
	unsigned refused = 0;
	for (uint32_t i = 0; i < file.size; i++) {
		/* Of long stretches of zeros (empty slots, an empty buffer) a few bytes tell as much as all. */
		if (file.size > 2048 && i >= 32 && i + 32 < file.size && i % 37 != 0 && state_is_zero(file.at + i - 32, 64))
			continue;
		for (uint32_t k = 0; k < sizeof(flips); k++) {
			file.at[i] ^= flips[k];
			if (!fresh->load(fresh->device, file.at, file.size)) {
				refused++;
				state_assert_reset(fresh);
			} else {
				if (i < sizeof(struct state_head))
					ck_abort_msg("%s: another head accepted", saved->name);
				struct state_bytes again = state_bytes_of(fresh);
				if (exact)
					state_assert_same(fresh, file.at, file.size, "after loading changed bytes");
				if (!fresh->load(fresh->device, again.at, again.size))
					ck_abort_msg("%s: refuses what it saved", saved->name);
				state_assert_same(fresh, again.at, again.size, "after loading it again");
				free(again.at);
			}
			file.at[i] ^= flips[k];
		}
	}
	ck_assert(fresh->load(fresh->device, file.at, file.size));
	state_assert_same(fresh, file.at, file.size, "at last");
	free(file.at);
	return refused;
}

/* All devices of a table together, into an equal table; one bad section resets them all. */
STATE_UNUSED static void state_check_table(const struct state_table *saved, const struct state_table *fresh)
{
	const char *refused;
	uint64_t size = state_save(saved, NULL, 0);
	ck_assert_uint_gt(size, 0);
	uint8_t *file = malloc(size), *again = malloc(size);
	ck_assert_uint_eq(state_save(saved, file, size), size);
	ck_assert_msg(state_load(fresh, file, size, &refused), "%s refused", refused);
	ck_assert_uint_eq(state_save(fresh, again, size), size);
	ck_assert_mem_eq(file, again, size);
	/* Names, sizes and the number of devices. */
	for (uint64_t i = 0; i < 16 + 32; i++) {
		file[i] ^= 0x40;
		ck_assert_msg(!state_load(fresh, file, size, &refused), "byte %u", (unsigned)i);
		file[i] ^= 0x40;
	}
	for (uint64_t cut = 0; cut < size; cut += cut < 256 ? 1 : 997)
		ck_assert(!state_load(fresh, file, cut, &refused));
	/* The last device refuses: the first is reset as well. */
	ck_assert(state_load(fresh, file, size, &refused));
	struct state_bytes last = state_bytes_of(&saved->device[saved->n - 1]);
	file[size - last.size] ^= 1;
	ck_assert(!state_load(fresh, file, size, &refused));
	ck_assert_str_eq(refused, saved->device[saved->n - 1].name);
	for (uint32_t i = 0; i < fresh->n; i++)
		state_assert_reset(&fresh->device[i]);
	free(last.at);
	free(file);
	free(again);
}
