/* The file: {magic, version, number of devices}, then for each {name, bytes} and its state, all little-endian and packed. */
#include "vmm/state.h"

#include <stddef.h>
#include <string.h>

#define MAGIC 0x3174735f6d767972ull /* "ryvm_st1" */
#define NAME_SIZE 24

struct file_head {
	uint64_t magic;
	uint32_t n, zero;
};

struct section_head {
	char name[NAME_SIZE]; /* padded with NUL, one at least */
	uint32_t size, zero;
};

bool state_table_add(struct state_table *table, struct state_device device)
{
	if (table->n == STATE_DEVICES)
		return false;
	table->device[table->n++] = device;
	return true;
}

uint32_t state_put(void *to, uint32_t size, void *state, uint32_t state_size, enum state_kind kind, uint32_t version)
{
	struct state_head head = { .kind = (uint32_t)kind, .version = version, .size = state_size };
	memcpy(state, &head, sizeof(head));
	if (size >= state_size)
		memcpy(to, state, state_size);
	return state_size;
}

bool state_get(void *state, uint32_t state_size, enum state_kind kind, uint32_t version, const void *from, uint32_t size)
{
	const struct state_head head = { .kind = (uint32_t)kind, .version = version, .size = state_size };
	if (size != state_size || memcmp(from, &head, sizeof(head)) != 0)
		return false;
	memcpy(state, from, state_size);
	return true;
}

bool state_is_zero(const void *bytes, uint64_t size)
{
	const uint8_t *byte = bytes;
	uint8_t any = 0;
	for (uint64_t i = 0; i < size; i++)
		any |= byte[i];
	return any == 0;
}

static struct section_head section_of(const struct state_device *device, uint32_t size)
{
	struct section_head head = { .size = size };
	strncpy(head.name, device->name, NAME_SIZE - 1);
	return head;
}

uint64_t state_save(const struct state_table *table, void *to, uint64_t size)
{
	const struct file_head file = { .magic = MAGIC, .n = table->n };
	uint8_t *at = to;
	uint64_t used = sizeof(file);
	if (size >= used)
		memcpy(at, &file, sizeof(file));
	for (uint32_t i = 0; i < table->n; i++) {
		const struct state_device *device = &table->device[i];
		uint64_t body = used + sizeof(struct section_head), room = size > body ? size - body : 0;
		uint32_t needed = device->save(device->device, room > 0 ? at + body : NULL, room < UINT32_MAX ? (uint32_t)room : UINT32_MAX);
		if (needed == 0)
			return 0;
		const struct section_head head = section_of(device, needed);
		if (size >= body)
			memcpy(at + used, &head, sizeof(head));
		used = body + needed;
	}
	return used;
}

static const char *load_all(const struct state_table *table, const uint8_t *at, uint64_t size)
{
	const struct file_head file = { .magic = MAGIC, .n = table->n };
	if (size < sizeof(file) || memcmp(at, &file, sizeof(file)) != 0)
		return "file";
	uint64_t used = sizeof(file);
	for (uint32_t i = 0; i < table->n; i++) {
		const struct state_device *device = &table->device[i];
		struct section_head untrusted;
		if (size - used < sizeof(untrusted))
			return device->name;
		memcpy(&untrusted, at + used, sizeof(untrusted));
		used += sizeof(untrusted);
		const struct section_head expected = section_of(device, untrusted.size);
		if (memcmp(&untrusted, &expected, sizeof(expected)) != 0 || untrusted.size > size - used ||
			!device->load(device->device, at + used, untrusted.size))
			return device->name;
		used += untrusted.size;
	}
	return used == size ? NULL : "file";
}

bool state_load(const struct state_table *table, const void *from, uint64_t size, const char **refused)
{
	*refused = load_all(table, from, size);
	for (uint32_t i = 0; *refused != NULL && i < table->n; i++)
		table->device[i].reset(table->device[i].device);
	return *refused == NULL;
}
