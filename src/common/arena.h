/*
 * arena.h - an arena and a growing buffer
 *
 * An arena hands out memory that is freed all at once; what a call needs, and what a result holds, comes from one. A buffer
 * grows at its end and remembers that memory ran out, so that a writer checks once, at the end. Pure: no process, no lock, no
 * global.
 */
#ifndef CLO_ARENA_H
#define CLO_ARENA_H

#include <stdbool.h>
#include <stddef.h>

typedef struct clo_chunk clo_chunk;

typedef struct clo_arena {
    clo_chunk *chunks; /* the newest first */
    bool secret;       /* wiped before it is freed */
} clo_arena;

/* Zeroed memory is an empty arena. NULL when memory runs out. */
void *clo_arena_allocate(clo_arena *arena, size_t size);
char *clo_arena_copy(clo_arena *arena, const char *text, size_t length);
/* Forgets everything but keeps a chunk for the next time. */
void clo_arena_reset(clo_arena *arena);
void clo_arena_free(clo_arena *arena);

typedef struct clo_buffer {
    char *data;
    size_t length;
    size_t capacity;
    bool failed; /* memory ran out; what was written since is missing */
} clo_buffer;

void clo_buffer_append(clo_buffer *buffer, const char *data, size_t length);
void clo_buffer_text(clo_buffer *buffer, const char *text);
void clo_buffer_byte(clo_buffer *buffer, char byte);
/* Ends the data with a zero that does not count. False when memory ran out at some time. */
bool clo_buffer_finish(clo_buffer *buffer);
void clo_buffer_free(clo_buffer *buffer);

#endif
