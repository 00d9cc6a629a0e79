/*
 * The UI's pointer: where it is, and whether it is seen. Pure; pixels of the UI's face, CLOCK_MONOTONIC nanoseconds.
 *
 * Nobody has used it: there is none. Motion, buttons and the wheel show it; POINTER_HIDE_NS without those, or a key that is typed, hide it. When its
 * face leaves the screen it is set to be seen where it is, so that the toggle back shows it from its first picture on, and the time begins then.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define POINTER_HIDE_NS 5000000000ull

struct ui_pointer {
	uint32_t width, height; /* of the face; 0: none */
	int32_t x, y;           /* the pixel pointed at; in the face */
	bool used;
	bool face;              /* its face is on the screen */
	bool shown;
	uint64_t hide_ns;       /* it is hidden then; 0: not by time */
};

/* The face has another size: the pointer keeps its place in proportion, and begins in the middle. */
void ui_pointer_resize(struct ui_pointer *pointer, uint32_t width, uint32_t height);
/* By that much, to the edges at most. Any number will do. */
void ui_pointer_move(struct ui_pointer *pointer, int32_t dx, int32_t dy, uint64_t now);
/* One axis to 0..65535 across the face; what is beyond is at the edge. */
void ui_pointer_place(struct ui_pointer *pointer, bool vertical, int32_t at, uint64_t now);
/* A button, or the wheel. */
void ui_pointer_used(struct ui_pointer *pointer, uint64_t now);
void ui_pointer_typed(struct ui_pointer *pointer);
/* Its face came or went. */
void ui_pointer_face(struct ui_pointer *pointer, bool visible, uint64_t now);
/* Time has passed. Returns when to be called again; 0: never. */
uint64_t ui_pointer_time(struct ui_pointer *pointer, uint64_t now);
