#include "kms/imports.h"

#include <errno.h>
#include <string.h>

bool import_allowed(struct import_budget *budget, uint64_t now)
{
	uint64_t burst = (IMPORT_BURST - 1) * IMPORT_EVERY_NS;
	uint64_t least = now > burst ? now - burst : 0;
	if (budget->at_ns < least)
		budget->at_ns = least;
	if (budget->at_ns > now)
		return false;
	budget->at_ns += IMPORT_EVERY_NS;
	return true;
}

static bool same_name(struct link_buffer_id a, struct link_buffer_id b)
{
	return a.id == b.id && a.generation == b.generation;
}

static void drop(struct import *import, struct backend *backend)
{
	if (import->state == IMPORT_GOOD)
		backend->ops->free_buffer(backend, &import->buffer);
	memset(import, 0, sizeof(*import));
}

/* A free slot, or the one not used for longest that nobody holds or waits for. */
static struct import *make_room(struct imports *imports, struct backend *backend)
{
	struct import *oldest = NULL;
	for (uint32_t i = 0; i < IMPORTS; i++) {
		struct import *import = &imports->slot[i];
		if (import->state == IMPORT_NONE)
			return import;
		if (!import->held && !import->dead && (!oldest || import->used < oldest->used))
			oldest = import;
	}
	if (oldest)
		drop(oldest, backend);
	return oldest;
}

struct import *imports_find(struct imports *imports, struct backend *backend, uint32_t set, const struct backend_pages *pages, uint64_t now, int *why)
{
	*why = 0;
	for (uint32_t i = 0; i < IMPORTS; i++) {
		struct import *import = &imports->slot[i];
		if (import->state == IMPORT_NONE || import->dead || import->set != set || !same_name(import->name, pages->buffer->name) ||
			memcmp(&import->source, &pages->source, sizeof(import->source)) != 0)
			continue;
		if (import->state == IMPORT_BAD && now >= import->until_ns) {
			drop(import, backend);
			break;
		}
		import->used = ++imports->count;
		return import->state == IMPORT_GOOD && !import->refused ? import : NULL;
	}
	if (!import_allowed(&imports->budget, now))
		return NULL;
	struct import *import = make_room(imports, backend);
	if (!import)
		return NULL;
	import->name = pages->buffer->name;
	import->set = set;
	import->source = import->stale = pages->source;
	import->used = ++imports->count;
	import->state = IMPORT_GOOD;
	if (backend->ops->import_buffer(backend, pages, &import->buffer) == 0)
		return import;
	*why = errno ? errno : EINVAL;
	import->state = IMPORT_BAD;
	import->until_ns = now + IMPORT_BAD_NS;
	return NULL;
}

void imports_damage(struct imports *imports, struct rect damage)
{
	for (uint32_t i = 0; i < IMPORTS; i++)
		imports->slot[i].stale = rect_union(imports->slot[i].stale, damage);
}

void import_let_go(struct import *import, struct backend *backend, uint64_t now)
{
	import->held = false;
	if (import->state != IMPORT_GOOD || !import->refused)
		return;
	backend->ops->free_buffer(backend, &import->buffer);
	import->state = IMPORT_BAD;
	import->until_ns = now + IMPORT_BAD_NS;
	import->refused = false;
}

bool imports_orphaned(const struct imports *imports)
{
	for (uint32_t i = 0; i < IMPORTS; i++)
		if (imports->slot[i].state != IMPORT_NONE && imports->slot[i].name.id == 0)
			return true;
	return false;
}

/* Whether any slot has to do with this buffer. */
static bool left_of(const struct imports *imports, struct link_buffer_id name)
{
	for (uint32_t i = 0; i < IMPORTS; i++)
		if (imports->slot[i].state != IMPORT_NONE && same_name(imports->slot[i].name, name))
			return true;
	return false;
}

bool imports_dead(struct imports *imports, struct link_buffer_id name)
{
	for (uint32_t i = 0; i < IMPORTS; i++)
		if (same_name(imports->slot[i].name, name))
			imports->slot[i].dead = imports->slot[i].state != IMPORT_NONE;
	return left_of(imports, name);
}

bool imports_settle(struct imports *imports, struct backend *backend, struct link_buffer_id *name)
{
	for (uint32_t i = 0; i < IMPORTS; i++) {
		struct import *import = &imports->slot[i];
		if (import->state == IMPORT_NONE || !import->dead || import->held)
			continue;
		*name = import->name;
		drop(import, backend);
		if (name->id != 0 && !left_of(imports, *name))
			return true;
	}
	return false;
}

void imports_orphan(struct imports *imports)
{
	for (uint32_t i = 0; i < IMPORTS; i++) {
		imports->slot[i].name = (struct link_buffer_id){0};
		imports->slot[i].dead = imports->slot[i].state != IMPORT_NONE;
	}
}

void imports_drop_sets(struct imports *imports, struct backend *backend, uint32_t before)
{
	for (uint32_t i = 0; i < IMPORTS; i++) {
		struct import *import = &imports->slot[i];
		if (import->state == IMPORT_NONE || import->set >= before)
			continue;
		import->held = false;
		if (!import->dead)
			drop(import, backend); /* the producer still has the buffer, and no answer is owed */
	}
}

void imports_lose(struct imports *imports, struct backend *backend)
{
	for (uint32_t i = 0; i < IMPORTS; i++) {
		struct import *import = &imports->slot[i];
		if (!import->dead) {
			drop(import, backend);
			continue;
		}
		if (import->state == IMPORT_GOOD)
			backend->ops->free_buffer(backend, &import->buffer);
		import->state = IMPORT_BAD;
		import->held = false;
	}
}

void imports_free(struct imports *imports, struct backend *backend)
{
	for (uint32_t i = 0; i < IMPORTS; i++)
		drop(&imports->slot[i], backend);
}
