#include "kms/choose.h"

#include <stdio.h>
#include <string.h>

#define REFRESH_ENOUGH_MHZ 1000 /* 59.94 Hz is what people mean by 60 */

uint32_t choose_refresh_mhz(const drmModeModeInfo *mode)
{
	uint64_t total = (uint64_t)mode->htotal * mode->vtotal;
	if (total == 0)
		return 60000;
	uint64_t mhz = ((uint64_t)mode->clock * 1000000 + total / 2) / total;
	if (mode->flags & DRM_MODE_FLAG_INTERLACE)
		mhz *= 2;
	if (mode->flags & DRM_MODE_FLAG_DBLSCAN)
		mhz /= 2;
	if (mode->vscan > 1)
		mhz /= mode->vscan;
	return (uint32_t)mhz;
}

static uint32_t apart(uint32_t a, uint32_t b)
{
	return a > b ? a - b : b - a;
}

static const drmModeModeInfo *main_mode(const struct choose_connector *connector, const struct choose_wish *wish, bool *missing)
{
	const drmModeModeInfo *best = NULL, *preferred = &connector->modes[0];
	uint32_t best_off = UINT32_MAX;
	for (uint32_t i = connector->n_modes; i-- > 0;) {
		const drmModeModeInfo *mode = &connector->modes[i];
		if (mode->type & DRM_MODE_TYPE_PREFERRED)
			preferred = mode;
		if (wish->width == 0 || mode->hdisplay != wish->width || mode->vdisplay != wish->height)
			continue;
		/* Without a wish for it the highest refresh. */
		uint32_t off = apart(choose_refresh_mhz(mode), wish->refresh_mhz ? wish->refresh_mhz : UINT32_MAX);
		if (off <= best_off) {
			best_off = off;
			best = mode;
		}
	}
	*missing = wish->width != 0 && (!best || (wish->refresh_mhz && best_off > REFRESH_ENOUGH_MHZ));
	return best ? best : preferred;
}

/*
 * A mode that shows the same pixels. A commit is done when all outputs have flipped: a slower one would slow down the main one, whatever the phase of its
 * vblanks a quicker one does not.
 */
static const drmModeModeInfo *mirror_mode(const struct choose_connector *connector, const drmModeModeInfo *like)
{
	const drmModeModeInfo *best = NULL;
	uint32_t mhz = choose_refresh_mhz(like);
	for (uint32_t i = 0; i < connector->n_modes; i++) {
		const drmModeModeInfo *mode = &connector->modes[i];
		if (mode->hdisplay != like->hdisplay || mode->vdisplay != like->vdisplay || choose_refresh_mhz(mode) + mhz / 100 < mhz)
			continue;
		if (!best || apart(choose_refresh_mhz(mode), mhz) < apart(choose_refresh_mhz(best), mhz))
			best = mode;
	}
	return best;
}

/* The CRTC it has, which spares a flash, else the first it can have. -1: none is free. */
static int free_crtc(const struct choose_connector *connector, uint32_t taken)
{
	uint32_t possible = connector->crtcs & ~taken;
	if (connector->crtc >= 0 && connector->crtc < 32 && possible & 1u << connector->crtc)
		return connector->crtc;
	return possible ? __builtin_ctz(possible) : -1;
}

static bool can_be_main(const struct choose_connector *connector)
{
	return connector->usable && connector->n_modes > 0 && free_crtc(connector, 0) >= 0;
}

/* Index, or n: none. */
static uint32_t main_connector(const struct choose_connector *connector, uint32_t n, const struct choose_wish *wish)
{
	for (uint32_t i = 0; i < n; i++)
		if (can_be_main(&connector[i]) && wish->connector && strcmp(connector[i].name, wish->connector) == 0)
			return i;
	for (uint32_t i = 0; i < n; i++)
		if (can_be_main(&connector[i]) && connector[i].id == wish->keep)
			return i;
	for (uint32_t i = 0; i < n; i++)
		if (can_be_main(&connector[i]))
			return i;
	return n;
}

static uint32_t crtcs_of(const struct choice *choice)
{
	uint32_t taken = 0;
	for (uint32_t i = 0; i < choice->n; i++)
		taken |= 1u << choice->head[i].crtc;
	return taken;
}

static void add_mirrors(const struct choose_connector *connector, uint32_t n, uint32_t main, struct choice *choice)
{
	for (uint32_t i = 0; i < n && choice->n <= OUTPUT_MIRRORS; i++) {
		int crtc = free_crtc(&connector[i], crtcs_of(choice));
		const drmModeModeInfo *mode = i != main && connector[i].usable ? mirror_mode(&connector[i], choice->head[0].mode) : NULL;
		if (mode && crtc >= 0)
			choice->head[choice->n++] = (struct choose_head){.connector = i, .crtc = (uint32_t)crtc, .mode = mode};
	}
}

static bool place_taken(const struct choice *choice, uint32_t place)
{
	for (uint32_t i = 1; i < choice->n; i++)
		if (choice->head[i].place == place)
			return true;
	return false;
}

/* The place that a connector had; 0: none. */
static uint32_t old_place(const struct choose_wish *wish, uint32_t connector)
{
	for (uint32_t p = 1; p <= OUTPUT_MIRRORS; p++)
		if (wish->further[p - 1] == connector)
			return p;
	return 0;
}

/* One that nobody ever had, else one whose connector is not there; 0: none. */
static uint32_t new_place(const struct choose_wish *wish, const struct choice *choice)
{
	uint32_t place = 0;
	for (uint32_t p = OUTPUT_MIRRORS; p >= 1; p--)
		if (!place_taken(choice, p) && (!place || wish->further[p - 1] == 0 || wish->further[place - 1] != 0))
			place = p;
	return place;
}

/* Those that had a place first: it is theirs. */
static void add_further(const struct choose_connector *connector, uint32_t n, const struct choose_wish *wish, uint32_t main, struct choice *choice)
{
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < n; i++) {
			uint32_t old = old_place(wish, connector[i].id), place = round == 0 ? old : old ? 0 : new_place(wish, choice);
			int crtc = free_crtc(&connector[i], crtcs_of(choice));
			bool missing;
			if (i == main || !connector[i].usable || connector[i].n_modes == 0 || crtc < 0 || !place)
				continue;
			const drmModeModeInfo *mode = main_mode(&connector[i], &(struct choose_wish){0}, &missing);
			choice->head[choice->n++] = (struct choose_head){.connector = i, .crtc = (uint32_t)crtc, .mode = mode, .place = place};
		}
	}
}

void choose(const struct choose_connector *connector, uint32_t n, const struct choose_wish *wish, struct choice *choice)
{
	*choice = (struct choice){0};
	uint32_t main = main_connector(connector, n, wish);
	if (main == n)
		return;
	struct choose_head *head = &choice->head[choice->n++];
	head->connector = main;
	head->crtc = (uint32_t)free_crtc(&connector[main], 0);
	head->mode = main_mode(&connector[main], wish, &choice->mode_missing);
	if (wish->extend)
		add_further(connector, n, wish, main, choice);
	else
		add_mirrors(connector, n, main, choice);
}

/* Appends to a list; false when it is full, which "..." then says. */
static bool append(char *text, size_t size, const char *item)
{
	size_t used = strlen(text);
	const char *comma = used ? ", " : "";
	if (used + strlen(comma) + strlen(item) + sizeof(", ...") > size) {
		if (used + sizeof(", ...") <= size)
			strcpy(text + used, ", ...");
		return false;
	}
	sprintf(text + used, "%s%s", comma, item);
	return true;
}

void choose_list_modes(const struct choose_connector *connector, char *text, size_t size)
{
	char item[40];
	text[0] = '\0';
	for (uint32_t i = 0; i < connector->n_modes; i++) {
		const drmModeModeInfo *mode = &connector->modes[i];
		uint32_t hz = (choose_refresh_mhz(mode) + 500) / 1000;
		bool twice = false;
		for (uint32_t j = 0; j < i && !twice; j++)
			twice = connector->modes[j].hdisplay == mode->hdisplay && connector->modes[j].vdisplay == mode->vdisplay &&
				(choose_refresh_mhz(&connector->modes[j]) + 500) / 1000 == hz;
		snprintf(item, sizeof(item), "%ux%u@%u", mode->hdisplay, mode->vdisplay, hz);
		if (!twice && !append(text, size, item))
			return;
	}
}

void choose_list_connectors(const struct choose_connector *connector, uint32_t n, char *text, size_t size)
{
	char item[60];
	text[0] = '\0';
	for (uint32_t i = 0; i < n; i++) {
		snprintf(item, sizeof(item), "%s%s", connector[i].name, connector[i].usable ? " (connected)" : "");
		if (!append(text, size, item))
			return;
	}
}
